"""Firmware on QEMU as a process, for the tests: the bridge with its output captured. EMBEDDED names the folder
of the firmware. Nothing sleeps: each wait is for an event, with a deadline."""

import os
import re
import signal
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "interop"))
from broker import Process  # noqa: E402

DEADLINE = 30


class Board:
    """A firmware that runs; `arguments` are those of bridge.py behind the firmware."""

    def __init__(self, kind, program, *arguments):
        firmware = os.path.join(os.environ["EMBEDDED"], program + ".elf")
        self.process = Process([sys.executable, os.path.join(HERE, "bridge.py"), kind, firmware,
                                *map(str, arguments)])
        self.expect("^board: ready$")
        found = self.process.out.find(r"^listening coap://127\.0\.0\.1:(\d+)$", deadline=0)
        self.port = int(found.group(1)) if found else None

    def expect(self, pattern, count=1):
        """Waits for a line of the bridge's output."""
        found = self.process.out.find(pattern, count, DEADLINE)
        if not found:
            text = self.process.out.text() + "\n" + self.process.err.text()
            self.process.kill()
            raise AssertionError("no line %r\n%s" % (pattern, text))
        return found

    def url(self, path):
        return "coap://127.0.0.1:%d/%s" % (self.port, path)

    def stop(self):
        """The firmware must still be running, without a fault."""
        status = self.process.stop(signal.SIGTERM)
        if status or re.search("fault", self.process.out.text()):
            raise AssertionError("the board ended with %d\n%s" % (status, self.process.out.text()))
