"""The real CoAP clients of the tests: libcoap's coap-client and npm coap; and their servers."""

import json
import os
import re
import socket
import subprocess
import tempfile

from broker import DEADLINE, Lines, Process
from clients import Gone
from coap import BLOCK2, SIZE2, number

HERE = os.path.dirname(os.path.abspath(__file__))
CLIENT, SERVER = "coap-client-notls", "coap-server-notls"
PDU = re.compile(r"v:1 t:(CON|NON|ACK|RST) c:(\S+) i:([0-9a-f]{4}) \{([0-9a-f]*)\} \[ ?(.*?) ?\]"
                 r"(?: :: (.*))?$")


class Reply:
    """What a client says of a response: code "2.05", payload bytes, options {name: [text]}."""

    def __init__(self, code, payload, options, exchanged=()):
        self.code, self.payload, self.options = code, payload, options
        self.exchanged = exchanged

    @property
    def text(self):
        return self.payload.decode()

    def option(self, name):
        values = self.options.get(name, [])
        return values[0] if values else None

    def __str__(self):
        return "%s %s %r" % (self.code, self.options, self.payload[:100])


def _options(text):
    found = {}
    for part in text.split(", ") if text else []:
        name, _, value = part.partition(":")
        found.setdefault(name, []).append(value)
    return found


class Libcoap:
    """coap-client-notls, one process a request."""

    name = "libcoap"

    @staticmethod
    def run(port, path="", method="get", payload=None, *arguments, scheme="coap"):
        """Runs it to its end; a Reply with the last response, and all messages in `exchanged` as
        (type, code, mid, token, options)."""
        with tempfile.TemporaryDirectory(prefix="trefoil-libcoap-") as folder:
            body = os.path.join(folder, "body")
            args = [CLIENT, "-v", "6", "-m", method, "-o", body,
                    "-B", str(max(3, int(DEADLINE)))] + list(arguments)
            if payload is not None:
                data = os.path.join(folder, "payload")
                with open(data, "wb") as out:
                    out.write(payload.encode() if isinstance(payload, str) else payload)
                args += ["-f", data]
            process = Process(args + ["%s://127.0.0.1:%d/%s" % (scheme, port, path)])
            status = process.wait()
            said = process.out.text() + "\n" + process.err.text()
            exchanged = [(m[1], m[2], m[3], m[4], _options(m[5]))
                         for m in map(PDU.match, said.splitlines()) if m]
            answers = [e for e in exchanged if re.match(r"[245]\.\d\d$", e[1])]
            if status or not answers:
                raise Gone("coap-client ended with %d: %s" % (status, said))
            content = b""
            if os.path.exists(body):
                with open(body, "rb") as file:
                    content = file.read()
            return Reply(answers[-1][1], content, answers[-1][4], exchanged)

    @classmethod
    def request(cls, port, method, path, payload=None, form=None, accept=None, szx=None, kind="CON",
                options=(), queries=()):
        """options are (number, bytes)."""
        arguments = []
        size = None if szx is None else 16 << szx
        for flag, value in (("-t", form), ("-A", accept), ("-b", size)):
            if value is not None:
                arguments += [flag, str(value)]
        if kind == "NON":
            arguments.append("-N")
        for which, value in options:
            arguments += ["-O", "%d,0x%s" % (which, value.hex()) if value else "%d," % which]
        if queries:
            path += "?" + "&".join(queries)
        return cls.run(port, path, method.lower(), payload, *arguments)

    class Observer:
        """Runs until it is left; what it gets are lines."""

        def __init__(self, port, path, kind="CON"):
            args = ["stdbuf", "-oL", CLIENT, "-v", "6", "-w", "-s", "600", "-B", "600"]
            args += ["-N"] if kind == "NON" else []
            self.process = Process(args + ["coap://127.0.0.1:%d/%s" % (port, path)])
            self.taken = 0

        def next(self):
            """(code, options, text) of the next response or notification."""
            self.taken += 1
            # Requests are methods by name; an empty message is 0.00.
            found = self.process.out.find(r"v:1 t:(\S+) c:([245]\.\d\d) i:\S+ \{\S*\} \[ ?(.*?) ?\]"
                                          r"(?: :: '(.*)')?", self.taken)
            if not found:
                raise Gone("coap-client got no notification: %s" % self.process.out.text())
            return found[2], _options(found[3]), found[4] or ""

        def until(self, text):
            seen = []
            while not seen or seen[-1][2] != text:
                seen.append(self.next())
            return seen

        def leave(self):
            """SIGINT: it deregisters with Observe 1 where its version can do so, and ends."""
            self.process.child.send_signal(2)
            self.process.wait()

        def vanish(self):
            self.process.kill()


class Node:
    """node-coap in a process of its own; many requests at once."""

    name = "node-coap"

    def __init__(self):
        self.child = subprocess.Popen(["node", os.path.join(HERE, "coapjs.js")], cwd=HERE,
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, text=True)
        self.out, self.err, self.seen, self.last = Lines(self.child.stdout), \
            Lines(self.child.stderr), {}, 0

    def tell(self, what, **fields):
        self.child.stdin.write(json.dumps(dict(fields, do=what)) + "\n")
        self.child.stdin.flush()

    def event(self, pattern, key):
        """The next line that matches."""
        self.seen[key] = self.seen.get(key, 0) + 1
        found = self.out.find(pattern, self.seen[key])
        if not found:
            raise Gone("node-coap: no %s in %s\n%s" % (key, self.out.text()[-2000:],
                                                       self.err.text()))
        return json.loads(found.string)

    def begin(self, port, method, path, payload=None, form=None, accept=None, szx=None, kind="CON",
              options=None, queries=(), observe=False):
        """Starts a request and returns its handle."""
        self.last += 1
        given = dict(options or {})
        for name, value in (("Content-Format", form), ("Accept", accept)):
            if value is not None:
                given[name] = value
        if szx is not None and payload is not None:
            given["Block1"] = [szx]
        elif szx is not None:
            given["Block2"] = [szx]
        fields = {"query": "&".join(queries)} if queries else {}
        if payload is not None:
            fields["payload"] = payload.decode("latin-1") if isinstance(payload, bytes) else payload
        self.tell("request", id=self.last, port=port, method=method, path="/" + path, options=given,
                  confirmable=kind == "CON", observe=observe, **fields)
        return self.last

    def end(self, handle):
        """The Reply to a request that was begun."""
        event = self.event(r'^{"event":"(response|failed)","id":%d,.*$' % handle, handle)
        if event["event"] == "failed":
            raise Gone("node-coap: %s" % event["text"])
        options = {}
        for name, value in event["options"]:
            options.setdefault(name, []).append(value)
        return Reply(event["code"], event["payload"].encode("latin-1"), options)

    def ask(self, *arguments, **more):
        return self.end(self.begin(*arguments, **more))

    def quit(self):
        self.child.stdin.close()
        try:
            self.child.wait(DEADLINE)
        finally:
            self.child.kill()

    @classmethod
    def request(cls, port, method, path, payload=None, options=(), **more):
        names = {1: "If-Match", 4: "ETag", 5: "If-None-Match", BLOCK2: "Block2", SIZE2: "Size2"}
        node = cls()
        try:
            given = {names.get(which, str(which)): list(value) for which, value in options}
            return node.ask(port, method, path, payload, options=given, **more)
        finally:
            node.quit()

    class Observer:
        def __init__(self, port, path, kind="CON"):
            self.node = Node()
            self.handle = self.node.begin(port, "GET", path, kind=kind, observe=True)

        def next(self):
            event = self.node.event(r'^{"event":"(observing|notification|response)","id":%d,.*$' %
                                    self.handle, "notification")
            return event["code"], {"Observe": event.get("sequence")}, event["payload"]

        def until(self, text):
            seen = []
            while not seen or seen[-1][2] != text:
                seen.append(self.next())
            return seen

        def leave(self):
            self.node.tell("stop", id=self.handle)
            self.node.quit()

        def vanish(self):
            self.node.child.kill()
            self.node.child.wait()


def free_udp_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class LibcoapServer:
    """coap-server-notls on a free port."""

    def __init__(self, *arguments):
        self.port = free_udp_port()
        self.process = Process([SERVER, "-A", "127.0.0.1", "-p", str(self.port), "-d", "50",
                                "-v", "3", *arguments])

    def stop(self):
        self.process.kill()


class NodeServer:
    """The server of coapjs.js."""

    def __init__(self):
        self.node = Node()
        self.node.tell("serve")
        self.port = self.node.event(r'^{"event":"serving".*$', "serving")["port"]

    def set(self, path, payload):
        self.node.tell("set", path=path, payload=payload)
        self.node.event(r'^{"event":"changed".*$', "changed")

    def stop(self):
        self.node.quit()


def format_of(reply):
    """The Content-Format of a Reply as a number; each client has its own way to say it."""
    value = reply.option("Content-Format")
    known = {"text/plain": 0, "application/link-format": 40, "application/xml": 41,
             "application/octet-stream": 42, "application/json": 50, "application/cbor": 60}
    if value is None:
        return None
    if value in known:
        return known[value]
    return int(value) if value.isdigit() and len(value) != 2 else number(bytes.fromhex(value))
