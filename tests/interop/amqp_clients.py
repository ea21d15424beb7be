"""The real AMQP clients of the tests behind one small face: Qpid Proton for Python, and rhea."""

import json
import os
import subprocess

import proton
import proton.reactor
import proton.utils

from amqp import Message
from broker import DEADLINE, Lines
from clients import Gone

HERE = os.path.dirname(os.path.abspath(__file__))
STATES = {proton.Delivery.ACCEPTED: "accepted", proton.Delivery.REJECTED: "rejected",
          proton.Delivery.RELEASED: "released", proton.Delivery.MODIFIED: "modified"}


class Got:
    """A message that a client has received, in the client's own words."""

    def __init__(self, body, application=None, annotations=None, content_type=None, count=0, to=None,
                 settled=False, whole=None):
        self.body, self.application, self.annotations = body, application or {}, annotations or {}
        self.content_type, self.count, self.to, self.settled = content_type, count, to, settled
        self.whole = whole


class Proton:
    """Its blocking client: one connection."""

    name = "proton"

    def __init__(self, broker, **options):
        options.setdefault("allowed_mechs", "ANONYMOUS")
        self.connection = proton.utils.BlockingConnection(
            "amqp://127.0.0.1:%d" % broker.amqp_port, timeout=DEADLINE, **options)
        self.senders, self.receivers = {}, {}

    def sender(self, address, **options):
        return self.connection.create_sender(address, **options)

    def receiver(self, address, credit=None, **options):
        return self.connection.create_receiver(address, credit=credit, **options)

    @staticmethod
    def message(body=None, data=None, application=None, annotations=None, **properties):
        """data: bytes of a data section; body: a value."""
        made = proton.Message(**properties)
        if data is not None:
            made.inferred = True
            made.body = data
        else:
            made.body = body
        if application is not None:
            made.properties = application
        if annotations is not None:
            made.annotations = {proton.symbol(key): value for key, value in annotations.items()}
        return made

    def send(self, address, *messages):
        """Sends them, each when the one before is settled; the outcomes' names."""
        sender = self.senders.get(address)
        if sender is None:
            sender = self.senders[address] = self.sender(address)
        return [STATES.get(sender.send(each, error_states=[]).remote_state) for each in messages]

    def take(self, address, count, state=proton.Delivery.ACCEPTED):
        """So many messages of address, settled."""
        receiver = self.receivers.get(address)
        if receiver is None:
            receiver = self.receivers[address] = self.receiver(address, credit=count)
        out = []
        for _ in range(count):
            got = receiver.receive()
            out.append(Got(got.body, got.properties, got.annotations, got.content_type,
                           got.delivery_count, got.address))
            if receiver.fetcher.unsettled:
                receiver.settle(state)
        self.flush()
        return out

    def flush(self):
        """Its loop runs only while it is asked for something: let it write what it has."""
        transport = self.connection.conn.transport
        self.connection.wait(lambda: transport.pending() == 0)

    def subscribe(self, address, credit=10, **options):
        """Attaches a receiver that `take` will use."""
        self.receivers[address] = self.receiver(address, credit=credit, **options)
        return self.receivers[address]

    def close(self):
        self.connection.close()


class Rhea:
    """rhea in a process of its own, with one connection."""

    name = "rhea"

    def __init__(self, broker=None, **options):
        self.child = subprocess.Popen(["node", os.path.join(HERE, "amqpjs.js")], cwd=HERE,
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, text=True)
        self.out, self.err, self.seen = Lines(self.child.stdout), Lines(self.child.stderr), {}
        self.links = {}
        if broker is not None:
            options.setdefault("username", "anonymous")
            self.tell("connect", port=broker.amqp_port, options=options)
            self.event("connected")

    def tell(self, what, **fields):
        self.child.stdin.write(json.dumps(dict(fields, do=what)) + "\n")
        self.child.stdin.flush()

    def event(self, kind, which=None, rest=""):
        """The next event of this kind (and of this link)."""
        pattern = r'^\{"event":"%s"%s%s.*$' % (
            kind, r',"id":"%s"' % which if which else "", rest)
        self.seen[pattern] = self.seen.get(pattern, 0) + 1
        found = self.out.find(pattern, self.seen[pattern])
        if not found:
            raise Gone("rhea: no %s in %s\n%s" % (kind, self.out.text()[-3000:], self.err.text()))
        return json.loads(found.string)

    def _link(self, kind, address, options, **more):
        which = "%s-%s-%d" % (kind, self.child.pid, len(self.links))
        end = "source" if kind == "receiver" else "target"
        if isinstance(address, dict) or address is None:
            options[end] = address or {}
        else:
            options[end] = {"address": address}
        self.tell(kind, id=which, options=options, **more)
        self.links[kind, str(address)] = which
        self.event("attached", which)
        return which

    def sender(self, address, **options):
        return self._link("sender", address, options)

    def receiver(self, address, credit=10, **options):
        return self._link("receiver", address, options, credit=credit)

    subscribe = receiver

    @staticmethod
    def message(body=None, data=None, application=None, annotations=None, **properties):
        """body: typed, as amqpjs.js says; data: bytes."""
        made = dict(properties)
        made["body"] = {"data": data.hex()} if data is not None else body
        if application is not None:
            made["application_properties"] = application
        if annotations is not None:
            made["message_annotations"] = annotations
        return made

    def send(self, address, *messages):
        """Sends them all; the outcomes' names."""
        which = self.links.get(("sender", address)) or self.sender(address)
        self.tell("send", id=which, messages=messages)
        self.sent = [bytes.fromhex(self.event("sent", which)["hex"]) for _ in messages]
        return [self.event("settled")["state"] for _ in messages]

    def take(self, address, count, state="accepted"):
        which = self.links.get(("receiver", address)) or self.receiver(address, credit=count)
        return [self.next(which, state) for _ in range(count)]

    def next(self, which, state="accepted", **params):
        """The next message of a receiver, settled unless state is None."""
        got = self.event("message", which)
        if state:
            self.settle(which, state, **params)
        return Got(got["body"], got["application"], got["annotations"], got.get("content_type"),
                   got.get("delivery_count") or 0, got.get("to"), got["settled"],
                   Message(bytes.fromhex(got["hex"])))

    def settle(self, which, state="accepted", **params):
        self.tell("settle", id=which, state=state, params=params)

    def close(self):
        self.tell("close")
        self.event("closed")
        self.quit()

    def quit(self):
        self.child.stdin.close()
        try:
            self.child.wait(DEADLINE)
        finally:
            self.child.kill()


CLIENTS = (Proton, Rhea)
