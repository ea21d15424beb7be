"""rabbitmq-server with its AMQP 1.0 plug-in, on free ports, in a folder of its own, under a node name and
with a port mapper that nobody else has: it never meets the service that Debian would start.
"""

import os
import shutil
import signal
import subprocess
import tempfile

from broker import DEADLINE, Lines, free_port

PROGRAM = "/usr/lib/rabbitmq/bin/rabbitmq-server"


class Rabbit:
    """It takes some five seconds to start."""

    def __init__(self):
        self.host, self.amqp_port, mapper = "127.0.0.1", free_port(), free_port()
        self.folder = tempfile.mkdtemp(prefix="trefoil-rabbit-")
        with open(self._path("plugins"), "w", encoding="ascii") as file:
            file.write("[rabbitmq_amqp1_0].\n")
        with open(self._path("rabbitmq.conf"), "w", encoding="ascii") as file:
            file.write("listeners.tcp.1 = 127.0.0.1:%d\nlog.console = true\n" % self.amqp_port)
        env = dict(os.environ, HOME=self.folder, RABBITMQ_NODENAME="trefoil%d@localhost" % self.amqp_port,
                   RABBITMQ_DIST_PORT=str(free_port()), RABBITMQ_MNESIA_BASE=self._path("mnesia"),
                   RABBITMQ_LOG_BASE=self._path("log"), RABBITMQ_LOGS="-",
                   RABBITMQ_ENABLED_PLUGINS_FILE=self._path("plugins"),
                   RABBITMQ_CONFIG_FILE=self._path("rabbitmq.conf"),
                   RABBITMQ_PID_FILE=self._path("pid"),
                   ERL_EPMD_PORT=str(mapper), ERL_EPMD_ADDRESS="127.0.0.1")
        self.children = []
        # With one there already, none is started that would outlive us.
        self._start(["epmd", "-port", str(mapper), "-address", "127.0.0.1"], env)
        self.out = self._start([PROGRAM], env)
        if not self.out.find(r"Server startup complete", deadline=max(DEADLINE, 60)):
            said = self.out.text()
            self.stop()
            raise AssertionError("rabbitmq-server did not start:\n" + said)

    def _path(self, name):
        return os.path.join(self.folder, name)

    def _start(self, args, env):
        child = subprocess.Popen(args, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True, errors="replace",
                                 start_new_session=True)
        self.children.append(child)
        return Lines(child.stdout)

    @property
    def amqp_url(self):
        return "amqp://127.0.0.1:%d" % self.amqp_port

    def stop(self):
        for child in reversed(self.children):
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            child.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
