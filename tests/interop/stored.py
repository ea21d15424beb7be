"""A broker that keeps what it is given in a folder, and may be killed and started again on the same
ports: all three protocols, with a configuration file.

TREFOIL_LAX=memory runs it with --memory instead: what is to survive then does not, which shows that
the tests can see that. With TREFOIL_LAX=alive it runs with --memory and is not even killed: whatever
fails then is a mistake of the test's.
"""

import os
import shutil
import signal
import tempfile
import time

from broker import DEADLINE, REPORT, SHARDS, Process, binary, free_port
from coap_clients import free_udp_port

LAX = os.environ.get("TREFOIL_LAX")


class StoredBroker:
    """general: lines of configuration in front; options: protocol -> lines of that listener.

    wrap: a command to run it under (strace). data: its folder, None for one of its own.
    """

    def __init__(self, general=(), options=None, shards=None, data=None, wrap=(), program=None):
        self.folder = tempfile.mkdtemp(prefix="trefoil-stored-")
        self.data = data or os.path.join(self.folder, "data")
        self.host, self.shards, self.wrap = "127.0.0.1", shards or SHARDS, list(wrap)
        self.port, self.amqp_port, self.coap_port = free_port(), free_port(), free_udp_port()
        self.program, self.process, self.pid, self.ready_s = program or binary(), None, None, None
        self.logs = []
        self.configure(general, options)

    def configure(self, general=(), options=None):
        """Writes the configuration of the next start."""
        options = options or {}
        lines = ["log_dest stderr", "sys_interval 1"] + list(general)
        for protocol, port in (("mqtt", self.port), ("amqp", self.amqp_port), ("coap", self.coap_port)):
            lines += ["listener %d 127.0.0.1" % port, "protocol %s" % protocol,
                      "allow_anonymous true"] + list(options.get(protocol, ()))
        with open(os.path.join(self.folder, "broker.conf"), "w", encoding="utf-8") as out:
            out.write("\n".join(lines) + "\n")

    def arguments(self):
        store = ["--memory"] if LAX else ["--data", self.data]
        return self.wrap + [self.program, "serve", "-c", os.path.join(self.folder, "broker.conf"),
                            "--shards", str(self.shards)] + store

    def launch(self, **more):
        """Starts it without waiting; for a start that must fail."""
        self.process = Process(self.arguments(), **more)
        self.logs.append(self.process)
        return self.process

    def start(self, **more):
        if self.alive():
            return self
        begin = time.monotonic()
        process = self.launch(**more)
        if not process.out.find(r"^ready$"):
            process.kill()
            raise AssertionError("the broker did not start: %s\n%s\n%s" % (
                process.args, process.out.text(), process.err.text()[-8000:]))
        self.ready_s = time.monotonic() - begin
        self.pid = process.child.pid    # setpriv becomes what it runs
        if self.wrap:
            with open("/proc/%d/task/%d/children" % (self.pid, self.pid), encoding="ascii") as children:
                self.pid = int(children.read().split()[0])
        return self

    def alive(self):
        return LAX == "alive" and self.process is not None

    def kill(self):
        """As a power cut is for a process: nothing of it runs any more."""
        if self.alive():
            return
        os.kill(self.pid, signal.SIGKILL)
        self.process.child.wait()
        self._reported()

    def restart(self):
        self.kill()
        return self.start()

    def terminate(self):
        """SIGTERM; the exit status."""
        if self.alive():
            return 0
        os.kill(self.pid, signal.SIGTERM)
        status = self.process.wait()
        self._reported()
        return status

    def stop(self):
        """The end of a test."""
        status = self.terminate()
        if status:
            raise AssertionError("the broker ended with %d\n%s" % (status, self.log()[-8000:]))
        self.remove()

    def remove(self):
        if self.process:
            self.process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _reported(self):
        self.process.err.end()
        report = REPORT.search(self.log())
        if report:
            raise AssertionError("a sanitizer:\n%s" % self.log()[report.start():][:8000])

    def log(self):
        return self.process.err.text() if self.process else ""

    def said(self, pattern, deadline=None):
        """A line of this run's log, waited for."""
        found = self.process.err.find(pattern, deadline=DEADLINE if deadline is None else deadline)
        if not found:
            raise AssertionError("no %r in the log:\n%s" % (pattern, self.log()[-4000:]))
        return found

    def files(self, ending=""):
        """Names in its folder."""
        return sorted(name for name in os.listdir(self.data) if name.endswith(ending))

    @property
    def url(self):
        return "mqtt://127.0.0.1:%d" % self.port

    @property
    def coap_url(self):
        return "coap://127.0.0.1:%d" % self.coap_port

    @property
    def amqp_url(self):
        return "amqp://127.0.0.1:%d" % self.amqp_port
