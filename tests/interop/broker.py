"""The broker under test as a process, and what every test file needs around it.

TREFOIL          path of the binary
TREFOIL_SHARDS   number of shards (default 1)
TREFOIL_SLOW     factor for all deadlines, for sanitizer builds
TREFOIL_PEER     "mosquitto" runs Debian's mosquitto instead, to test the tests

Nothing here sleeps: each wait is for an event, with a deadline.
"""

import atexit
import collections
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

SLOW = float(os.environ.get("TREFOIL_SLOW") or 1)
DEADLINE = 10 * SLOW
SHARDS = os.environ.get("TREFOIL_SHARDS") or "1"
PEER = os.environ.get("TREFOIL_PEER") or "trefoil"
SANITIZED = SLOW > 1
REPORT = re.compile(r"ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error:")


def binary():
    path = os.environ.get("TREFOIL")
    if not path:
        sys.exit("TREFOIL is not set: it names the trefoil binary to be tested")
    return os.path.abspath(path)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Lines:
    """The lines of a stream, read by a thread, waited for with a deadline."""

    def __init__(self, stream):
        self.lines = []
        self.ended = False
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self.thread.start()

    def _read(self, stream):
        for line in stream:
            with self.changed:
                self.lines.append(line.rstrip("\n"))
                self.changed.notify_all()
        stream.close()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def find(self, pattern, count=1, deadline=None):
        """The count-th match of pattern in any line; None if the stream ends or time is up."""
        def look():
            hits = [m for m in (re.search(pattern, line) for line in self.lines) if m]
            return hits[count - 1] if len(hits) >= count else None
        with self.changed:
            self.changed.wait_for(lambda: look() or self.ended,
                                  DEADLINE if deadline is None else deadline)
            return look()

    def end(self):
        """Waits for the end of the stream and returns its text."""
        self.thread.join(DEADLINE)
        return self.text()

    def text(self):
        with self.changed:
            return "\n".join(self.lines)


class Process:
    """A child with its output captured line by line."""

    def __init__(self, args, stdin=None, env=None, cwd=None):
        self.args = args
        if shutil.which("setpriv"):
            # So that nothing is left when the tests themselves are killed.
            args = ["setpriv", "--pdeathsig", "KILL"] + args
        self.child = subprocess.Popen(args, stdin=stdin or subprocess.DEVNULL, env=env, cwd=cwd,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                      errors="replace")
        self.out, self.err = Lines(self.child.stdout), Lines(self.child.stderr)

    def wait(self):
        """Exit status, once the process and its output have ended."""
        try:
            status = self.child.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            raise AssertionError("no end within the deadline: %s\n%s" %
                                 (self.args, self.err.text())) from None
        self.out.end()
        self.err.end()
        return status

    def stop(self, number=signal.SIGTERM):
        if self.child.poll() is None:
            self.child.send_signal(number)
        return self.wait()

    def kill(self):
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()


class Broker:
    """A broker on a free port of 127.0.0.1.

    config: lines in the language of mosquitto.conf that follow `listener PORT 127.0.0.1` and
    `allow_anonymous true`. Without it Trefoil runs as `serve --listen`.
    file: a complete configuration file instead, whose listener is at `port`.
    memory: `--memory`, where a test is about that, or measures what a disk would blur; else Trefoil
    keeps its data in a folder of its own, `data`, which survives kill and restart, but not stop.
    """

    def __init__(self, config=None, file=None, port=None, peer=None, memory=False):
        self.peer = peer or PEER
        self.folder = tempfile.mkdtemp(prefix="trefoil-interop-")
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)    # also when a test fails
        self.data = None if memory else os.path.join(self.folder, "data")
        self.host, self.port, self.process = "127.0.0.1", port, None
        self.arguments = self._arguments(config, file)

    def _arguments(self, config, file):
        if self.peer == "mosquitto" or config is not None:
            self.port = self.port or free_port()
        if file is None and (self.peer == "mosquitto" or config is not None):
            lines = ["listener %d 127.0.0.1" % self.port, "allow_anonymous true"]
            if self.peer == "mosquitto":
                lines += ["user root", "max_queued_messages 1000"]
            file = os.path.join(self.folder, "broker.conf")
            with open(file, "w", encoding="utf-8") as out:
                out.write("\n".join(lines + list(config or ())) + "\n")
        if self.peer == "mosquitto":
            return ["mosquitto", "-v", "-c", file]
        args = [binary(), "serve", "--shards", SHARDS]
        args += ["--data", self.data] if self.data else ["--memory"]
        return args + (["-c", file] if file else
                       ["--listen", "mqtt://127.0.0.1:%d" % (self.port or 0)])

    def start(self):
        self.process = Process(self.arguments)
        if self.peer == "mosquitto":
            ready = self.process.err.find(r"mosquitto version .* running")
        else:
            ready = self.process.out.find(r"^ready$")
        if not ready:
            self.process.kill()
            raise AssertionError("the broker did not start: %s\n%s\n%s" % (
                self.arguments, self.process.out.text(), self.log()))
        if not self.port:
            found = self.process.out.find(r"^listening mqtt://127\.0\.0\.1:(\d+)")
            self.port = int(found.group(1))
        return self

    @property
    def url(self):
        return "mqtt://127.0.0.1:%d" % self.port

    def log(self):
        return self.process.err.text() if self.process else ""

    def resident(self):
        """Resident bytes of the process."""
        with open("/proc/%d/status" % self.process.child.pid, encoding="ascii") as status:
            return 1024 * int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1))

    def kill(self):
        """SIGKILL: whatever it has not brought to the disk is lost."""
        self.process.kill()

    def restart(self):
        """Kills it, unless it has ended, and starts it on the same folder and ports."""
        self.kill()
        for i, argument in enumerate(self.arguments):
            free = re.fullmatch(r"(mqtt|amqp|coap)://127\.0\.0\.1:0", argument)
            if free:
                port = self.port if free[1] == "mqtt" else getattr(self, free[1] + "_port")
                self.arguments[i] = argument[:-1] + str(port)
        return self.start()

    def terminate(self):
        """Sends SIGTERM and returns at once."""
        self.process.child.send_signal(signal.SIGTERM)

    def stop(self):
        """SIGTERM; the broker must end with 0 and without a word from a sanitizer."""
        status = self.process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        report = REPORT.search(self.log())
        if status or report:
            start = report.start() if report else -4000
            raise AssertionError("the broker ended with %d\n%s" %
                                 (status, self.log()[start:][:8000]))


class BrokerCase(unittest.TestCase):
    """Tests that share one broker a class; its log is shown when one fails."""

    CONFIG = None
    broker = None

    @classmethod
    def setUpClass(cls):
        cls.broker = Broker(cls.CONFIG).start()

    @classmethod
    def tearDownClass(cls):
        cls.broker.stop()

    def setUp(self):
        self.skip_for_peer()
        self.mark = len(self.broker.process.err.lines)

    def skip_for_peer(self):
        """Skips what the other broker is known to do in its own way."""
        if PEER != "mosquitto":
            return
        table = getattr(sys.modules[type(self).__module__], "MOSQUITTO_DEVIATES", {})
        reason = table.get(self._testMethodName)
        if reason:
            self.skipTest("mosquitto: " + reason)

    def run(self, result=None):
        result = result if result is not None else self.defaultTestResult()
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before and self.broker:
            lines = self.broker.process.err.lines[getattr(self, "mark", 0):]
            print("--- broker log of %s\n%s\n---" % (self.id(), "\n".join(lines[-40:])),
                  file=sys.stderr)
        return result

    def eventually(self, condition, message="no such event"):
        """For the few events that only polling shows; each round is a round trip."""
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            value = condition()
            if value:
                return value
        return self.fail(message)


Message = collections.namedtuple("Message", "topic payload qos retain")


def main():
    if PEER != "mosquitto":
        binary()
    unittest.main()
