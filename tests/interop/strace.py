"""A broker under strace, and its system calls as a list; or with a failure in one of them."""

import os
import re
import shutil
import subprocess

from broker import SLOW

WRITES = ("write", "writev", "pwrite64", "pwritev", "pwritev2")
SYNCS = ("fdatasync", "fsync")
SENDS = ("sendto", "sendmsg", "sendmmsg")
# LeakSanitizer is a tracer itself.
ENVIRONMENT = dict(os.environ, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0")


def missing():
    """Why strace cannot be used here; None if it can."""
    if not shutil.which("strace"):
        return "strace is not installed"
    tried = subprocess.run(["strace", "-f", "-o", os.devnull, "true"], stdin=subprocess.DEVNULL,
                           capture_output=True, text=True, timeout=30 * SLOW, check=False)
    return "strace may not trace here: " + tried.stderr.strip() if tried.returncode else None


def command(*options, output=os.devnull):
    """What to run a broker under; it ends when strace does."""
    kept = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    return ["strace", "-f", "-o", output, *options] + kept


def tracing(output):
    """The same, with all that is written, to whom, and when it was synced."""
    return command("-yy", "-xx", "-s", "1048576", "-e", "signal=none", "-e",
                   "trace=" + ",".join(WRITES + SYNCS + SENDS), output=output)


class Call:
    """One system call: when it began and ended, counted in lines of the trace."""

    def __init__(self, name, text, begin):
        self.name, self.text, self.begin, self.end, self.result = name, text, begin, None, None

    def finish(self, text, end):
        self.text += text
        self.end = end
        found = re.search(r"\) += (-?\d+)", text)
        self.result = int(found.group(1)) if found else None
        path = re.match(r"\d+<(.*?)> *[,)]", self.text)
        self.path = path.group(1) if path else ""
        strings = re.findall(r'"((?:\\x[0-9a-f]{2})*)"', self.text)
        # Paths and addresses are hex too.
        self.path = re.sub(r"(?:\\x[0-9a-f]{2})+", lambda m: bytes.fromhex(
            m.group(0).replace("\\x", "")).decode("utf-8", "replace"), self.path)
        self.pieces = [bytes.fromhex(each.replace("\\x", "")) for each in strings]
        self.data = b"".join(self.pieces)

    def goes_to(self, port):
        """Is it a write to this client's socket?"""
        return "->127.0.0.1:%d]" % port in self.path or "sin_port=htons(%d)" % port in self.text

    def __repr__(self):
        return "%s(%s) = %s, lines %d to %s" % (self.name, self.path, self.result, self.begin, self.end)


def calls(path):
    """All that a trace holds, in the order in which they began; unfinished ones left out."""
    found, open_calls = [], {}
    with open(path, encoding="ascii", errors="replace") as trace:
        for at, line in enumerate(trace):
            head = re.match(r"(\d+) +(.*)$", line)
            if not head:
                continue
            thread, text = head.groups()
            resumed = re.match(r"<\.\.\. (\w+) resumed>(.*)$", text)
            begun = re.match(r"(\w+)\((.*)$", text)
            if resumed and thread in open_calls:
                open_calls.pop(thread).finish(resumed.group(2), at)
            elif begun:
                call = Call(begun.group(1), "", at)
                found.append(call)
                rest = begun.group(2)
                if rest.endswith("<unfinished ...>"):
                    call.text = rest[:-len("<unfinished ...>")]
                    open_calls[thread] = call
                else:
                    call.finish(rest, at)
    return [call for call in found if call.end is not None]
