"""A raw AMQP 1.0 client whose every byte is the test's, written from the specification without a look
at Trefoil's own code, and the broker with an AMQP listener. Types and messages are in amqp_types.py.
"""

import itertools
import json
import socket
import struct
import subprocess
import time
import urllib.parse

import raw as mqtt
from amqp_types import *  # pylint: disable=wildcard-import,unused-wildcard-import
from broker import DEADLINE, Broker, BrokerCase, free_port
from broker import binary as trefoil

# --- a connection ----------------------------------------------------------------------------------

_names = itertools.count(1)


def invented(what="raw"):
    return "%s-%d" % (what, next(_names))


class Frame:
    """A frame that was read: performative (None: an empty one), channel, payload."""

    def __init__(self, raw):
        size, offset, self.kind, self.channel = struct.unpack(">IBBH", raw[:8])
        if offset < 2 or offset * 4 > size or self.kind > 1:
            raise AmqpError("bad frame %s" % raw[:64].hex())
        self.raw, self.performative, self.payload = raw, None, b""
        reader = Reader(raw, offset * 4)
        if reader.at < len(raw):
            self.performative = compose(reader.value())
            self.payload = raw[reader.at:]

    @property
    def name(self):
        return self.performative.name if self.performative else "empty"

    def __repr__(self):
        return "channel %d: %r%s" % (self.channel, self.performative,
                                     " +%d" % len(self.payload) if self.payload else "")


class Raw:
    """One TCP connection to a broker (host, amqp_port)."""

    def __init__(self, broker):
        self.socket = socket.create_connection((broker.host, broker.amqp_port), DEADLINE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer, self.inbox, self.empties = b"", [], 0
        self.remote = None
        self.max_frame = 512

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.drop()

    def drop(self):
        """Ends the connection without a word."""
        self.socket.close()

    def send(self, *pieces):
        self.socket.settimeout(DEADLINE)
        self.socket.sendall(b"".join(pieces))
        return self

    def put(self, channel, kind, payload=b"", **fields):
        """A performative."""
        return self.send(frame(channel, composite(kind, **fields), payload))

    def _fill(self, count, end):
        while len(self.buffer) < count:
            left = end - time.monotonic()
            if left <= 0:
                raise AmqpError("nothing within the deadline; inbox %s, bytes %s" %
                                (self.inbox, self.buffer[:64].hex()))
            self.socket.settimeout(left)
            try:
                got = self.socket.recv(32768)
            except socket.timeout:
                continue
            except ConnectionError:
                got = b""
            if not got:
                if self.buffer:
                    raise AmqpError("closed inside a frame: %s" % self.buffer[:64].hex())
                raise Closed("closed by the peer")
            self.buffer += got

    def octets(self, count, deadline=None):
        self._fill(count, time.monotonic() + (DEADLINE if deadline is None else deadline))
        out, self.buffer = self.buffer[:count], self.buffer[count:]
        return out

    def _next(self, deadline=None, empty=False):
        """The next frame; empty ones are only counted, unless they are wanted."""
        end = time.monotonic() + (DEADLINE if deadline is None else deadline)
        while True:
            self._fill(4, end)
            size = struct.unpack(">I", self.buffer[:4])[0]
            if not 8 <= size <= 1 << 28:
                raise AmqpError("a frame of %d bytes: %s" % (size, self.buffer[:32].hex()))
            self._fill(size, end)
            raw, self.buffer = self.buffer[:size], self.buffer[size:]
            got = Frame(raw)
            if got.performative is not None or empty:
                return got
            self.empties += 1

    def frame(self, deadline=None):
        """The next frame that says something."""
        return self.inbox.pop(0) if self.inbox else self._next(deadline)

    def empty(self, deadline=None):
        """Waits for an empty frame."""
        got = self._next(deadline, empty=True)
        if got.performative is not None:
            raise AmqpError("expected an empty frame, got %r" % got)

    def expect(self, name, channel=None, **fields):
        """The next frame, which must be this performative with these fields."""
        return self._checked(self.frame(), name, channel, fields)

    @staticmethod
    def _checked(got, name, channel, fields):
        if got.name != name or channel not in (None, got.channel):
            raise AmqpError("expected %s, got %r" % (name, got))
        for field, value in fields.items():
            if getattr(got.performative, field) != value:
                raise AmqpError("expected %s=%r in %r" % (field, value, got))
        got.performative.payload, got.performative.channel = got.payload, got.channel
        return got.performative

    def pick(self, where, deadline=None):
        """The next frame for which `where` holds; others stay in the inbox."""
        for index, got in enumerate(self.inbox):
            if where(got):
                return self.inbox.pop(index)
        while True:
            got = self._next(deadline)
            if where(got):
                return got
            self.inbox.append(got)
            if got.name in ("close", "end"):
                raise AmqpError("while waiting for something else: %r" % got)

    def wait(self, name, channel=None, deadline=None, where=None, **fields):
        """The next performative of this name (and channel, and for which `where` holds)."""
        got = self.pick(lambda got: got.name == name and channel in (None, got.channel) and
                        (where is None or where(got.performative)), deadline)
        return self._checked(got, name, channel, fields)

    def ended(self, deadline=None):
        """The TCP connection must end, with nothing more on it."""
        try:
            got = self.frame(deadline)
        except Closed:
            self.drop()
            return
        raise AmqpError("expected the end of the connection, got %r" % got)

    def closed(self, wanted=None, deadline=None):
        """A close with this condition, then the end. Our own close is sent in between."""
        got = self.wait("close", deadline=deadline)
        if wanted != "any" and condition(got) != wanted:
            raise AmqpError("expected close with %s, got %r" % (wanted, got))
        try:
            self.put(0, "close")
        except OSError:
            pass
        self.ended()
        return got

    # Whole exchanges.

    def start(self, protocol=HEADER):
        """Exchanges protocol headers."""
        self.send(protocol)
        got = self.octets(8)
        if got != protocol:
            raise AmqpError("expected the header %s, got %s" % (protocol.hex(), got.hex()))
        return self

    def sasl(self, mechanism="ANONYMOUS", response=None, outcome=0):
        """The SASL layer to its outcome."""
        self.start(SASL_HEADER)
        offered = self.expect("mechanisms").mechanisms
        self.send(frame(0, composite("init", mechanism=mechanism, response=response), kind=1))
        self.expect("outcome", code=outcome)
        return offered

    def open(self, container=None, header=True, **fields):
        """Protocol headers and open, both ways. Returns the peer's open."""
        if header:
            self.start()
        self.put(0, "open", container_id=container or invented(), **fields)
        self.remote = self.wait("open")
        self.max_frame = min(self.remote.max_frame_size or 0xFFFFFFFF, 1 << 20)
        return self.remote

    def begin(self, channel=0, **fields):
        return Session(self, channel, fields)

    def leave(self):
        """close, both ways."""
        self.put(0, "close")
        got = self.wait("close")
        if got.error is not None:
            raise AmqpError("close with %r" % got.error)
        self.inbox.clear()
        self.ended()


class Session:
    """A session that was begun. It counts transfer-ids; the test says the windows."""

    def __init__(self, raw, channel, fields):
        self.raw, self.channel, self.handles = raw, channel, itertools.count()
        self.next_out = fields.setdefault("next_outgoing_id", 0)
        fields.setdefault("incoming_window", 0x7FFFFFFF)
        fields.setdefault("outgoing_window", 0x7FFFFFFF)
        self.window = fields["incoming_window"]
        raw.put(channel, "begin", **fields)
        self.remote = raw.wait("begin", where=lambda got: got.remote_channel == channel)
        self.theirs, self.next_in = self.remote.channel, self.remote.next_outgoing_id
        self.deliveries = itertools.count()

    def put(self, kind, payload=b"", **fields):
        return self.raw.put(self.channel, kind, payload, **fields)

    def wait(self, name, **more):
        return self.raw.wait(name, self.theirs, **more)

    def attach(self, name, role, source, target, **fields):
        """Attach both ways; returns the Link."""
        handle = fields.pop("handle", None)
        link = Link(self, name or invented("link"), role,
                    next(self.handles) if handle is None else handle)
        if role == SENDER:
            fields.setdefault("initial_delivery_count", 0)
        self.put("attach", name=link.name, handle=link.handle, role=role, source=source,
                 target=target, **fields)
        link.remote = self.wait("attach", where=lambda got: got.link == link.name)
        link.theirs = link.remote.handle
        if link.remote.role == role:
            raise AmqpError("attach with our own role: %r" % link.remote)
        if role == RECEIVER:
            link.count = link.remote.initial_delivery_count
        return link

    def sender(self, address=None, name=None, refused=None, target=None, **fields):
        """A sender to address. refused: the condition with which it must be refused (2.6.3)."""
        link = self.attach(name, SENDER, composite("source", address=name),
                           composite("target", address=address, **target or {}), **fields)
        return link.answered(link.remote.target, refused)

    def receiver(self, address=None, name=None, refused=None, source=None, credit=0, **fields):
        link = self.attach(name, RECEIVER, composite("source", address=address, **source or {}),
                           composite("target", address=name), **fields)
        link = link.answered(link.remote.source, refused)
        if credit:
            link.flow(credit)
        return link

    def flow(self, **fields):
        """A flow of the session, or of a link of it."""
        self.put("flow", next_incoming_id=self.next_in, incoming_window=self.window,
                 next_outgoing_id=self.next_out, outgoing_window=0x7FFFFFFF, **fields)

    def dispose(self, role, first, last=None, state="accepted", settled=True):
        if isinstance(state, str):
            state = composite(state)
        self.put("disposition", role=role, first=first, last=last, settled=settled, state=state)

    def fence(self):
        """A round trip, with the session's state: all that was sent before has been handled, as far
        as this shard goes. It is another session that comes and goes, as a flow that answers an echo
        need not be told from others."""
        self.flow()
        raw, channel = self.raw, min(250, self.raw.remote.channel_max)
        raw.put(channel, "begin", next_outgoing_id=0, incoming_window=1, outgoing_window=1)
        theirs = raw.wait("begin", where=lambda got: got.remote_channel == channel).channel
        raw.put(channel, "end")
        raw.wait("end", theirs)

    def end(self):
        self.put("end")
        return self.wait("end", error=None)


class Delivery:
    def __init__(self, first, body):
        self.id, self.tag, self.settled = first.delivery_id, first.delivery_tag, first.settled
        self.first, self.message = first, Message(body)

    @property
    def body(self):
        return self.message.body

    @property
    def count(self):
        return self.message.count


class Link:
    """A link on a Session: as a sender and as a receiver."""

    def __init__(self, session, name, role, handle):
        self.session, self.name, self.role, self.handle = session, name, role, handle
        self.count, self.credit, self.remote, self.theirs = 0, 0, None, None

    def answered(self, terminus, refused):
        """Refusal is an attach with a null terminus, then detach with the reason (2.6.3)."""
        if refused is None:
            if terminus is None:
                raise AmqpError("refused: %r" % self.detached("any"))
            return self
        if terminus is not None:
            raise AmqpError("not refused: %r" % self.remote)
        self.detached(refused)
        return self

    def detached(self, wanted=None, deadline=None):
        """A detach by the peer with this condition, answered."""
        got = self.session.wait("detach", where=lambda got: got.handle == self.theirs,
                                deadline=deadline)
        if wanted != "any" and condition(got) != wanted:
            raise AmqpError("expected detach with %s, got %r" % (wanted, got))
        self.session.put("detach", handle=self.handle, closed=True)
        return got

    def detach(self, closed=True):
        self.session.put("detach", handle=self.handle, closed=closed)
        return self.session.wait("detach", where=lambda got: got.handle == self.theirs, error=None)

    # A sender's part.

    def _flowed(self, got):
        if got.link_credit is not None:
            left = ((got.delivery_count or 0) + got.link_credit - self.count) & 0xFFFFFFFF
            self.credit = left if left < 1 << 31 else 0  # taken back after it was used

    def credited(self, wanted=1, deadline=None):
        """Waits until there is this much credit."""
        while self.credit < wanted:
            self._flowed(self.session.wait("flow", where=lambda got: got.handle == self.theirs,
                                           deadline=deadline))
        return self.credit

    def look(self):
        """The credit by what has come so far."""
        mine = [got for got in self.session.raw.inbox
                if got.name == "flow" and got.performative.handle == self.theirs]
        for got in mine:
            self.session.raw.inbox.remove(got)
            self._flowed(got.performative)
        return self.credit

    def transfer(self, body, settled=False, tag=None, **fields):
        """A delivery in as many frames as it takes, whatever credit there is. Returns its id."""
        number = next(self.session.deliveries)
        body = bytes(body)
        room = fields.pop("room", self.session.raw.max_frame - 64)
        if tag is None:
            tag = b"%d" % number
        out, said = [], {"delivery_id": number, "delivery_tag": tag, "message_format": 0}
        head, last = [composite("transfer", handle=self.handle, settled=settled or None,
                                more=more or None, **fields) for more in (True, False)]
        for at in range(0, len(body) or 1, room):
            more = at + room < len(body)
            if not at:
                out.append(frame(self.session.channel, composite(
                    "transfer", handle=self.handle, settled=settled or None, more=more or None,
                    **said, **fields), body[:room]))
            else:
                out.append(frame(self.session.channel, head if more else last, body[at:at + room]))
        self.session.next_out = (self.session.next_out + len(out)) & 0xFFFFFFFF
        self.session.raw.send(*out)
        self.count, self.credit = self.count + 1, self.credit - 1
        return number

    def send(self, body, **fields):
        """transfer, when there is credit, and the outcome's name."""
        self.credited()
        if not isinstance(body, Enc) and not isinstance(body, bytes):
            body = message(body.encode())
        number = self.transfer(body, **fields)
        if fields.get("settled"):
            return None
        return self.outcome(number)

    def outcome(self, number, settled=True):
        """The disposition of a delivery that was sent; returns the state."""
        def about(got):
            last = got.first if got.last is None else got.last
            return got.role == RECEIVER and got.first <= number <= last
        for got in self.session.__dict__.setdefault("known", []):
            if about(got):
                return got.state
        got = self.session.wait("disposition", where=about)
        self.session.known.append(got)
        if bool(got.settled) != settled:
            raise AmqpError("expected settled=%s: %r" % (settled, got))
        return got.state

    # A receiver's part.

    def flow(self, credit, **fields):
        self.credit = credit
        self.session.flow(handle=self.handle, delivery_count=self.count, link_credit=credit,
                          **fields)

    def receive(self, deadline=None, begun=None):
        """The next delivery, whole. begun: its first transfer, if that has been taken already."""
        first, body = None, b""
        while True:
            got = begun or self.session.wait(
                "transfer", where=lambda got: got.handle == self.theirs, deadline=deadline)
            begun = None
            self.session.next_in = (self.session.next_in + 1) & 0xFFFFFFFF
            first, body = first or got, body + got.payload
            if not got.more:
                break
        self.count, self.credit = (self.count + 1) & 0xFFFFFFFF, self.credit - 1
        return Delivery(first, body)

    def take(self, count=1, state="accepted"):
        """So many deliveries, each settled."""
        out = []
        for _ in range(count):
            out.append(self.receive())
            if not out[-1].settled:
                self.settle(out[-1], state)
        return out

    def bodies(self, count, state="accepted"):
        return [each.body for each in self.take(count, state)]

    def settle(self, delivery, state="accepted", settled=True, **fields):
        if fields:
            state = composite(state, **fields)
        self.session.dispose(RECEIVER, delivery.id, state=state, settled=settled)

    def drain(self, credit=1):
        """Drains (2.6.7): returns what came before the credit was used up."""
        self.flow(credit, drain=True)
        got, end = [], (self.count + credit) & 0xFFFFFFFF
        while self.count != end:
            each = self.session.raw.pick(
                lambda each: each.channel == self.session.theirs and
                each.name in ("transfer", "flow") and each.performative.handle == self.theirs)
            state = each.performative
            if each.name == "transfer":
                state.payload = each.payload
                got.append(self.receive(begun=state))
            elif state.link_credit == 0 and state.delivery_count == end:
                self.count, self.credit = end, 0
        return got

    def nothing(self):
        """There must be nothing for this link: it is drained, so that nothing can be under way."""
        got = self.drain()
        if got:
            raise AmqpError("expected nothing, got %s" % [each.body for each in got])


# --- the broker ------------------------------------------------------------------------------------

class AmqpBroker(Broker):
    """A broker with listeners for AMQP, MQTT and CoAP on free ports.

    options: lines of configuration that belong to the AMQP listener; general: others, in front.
    """

    def __init__(self, options=None, general=()):
        self.amqp_port = self.coap_port = None
        if options is None and not general:
            super().__init__()
            self.arguments += ["--listen", "amqp://127.0.0.1:0", "--listen", "coap://127.0.0.1:0"]
            return
        options = list(options or ())
        super().__init__(list(general) + ["listener %d 127.0.0.1" % free_port(), "protocol coap",
                                          "listener %d 127.0.0.1" % free_port(),
                                          "protocol amqp"] + options, port=free_port())

    def start(self):
        super().start()
        for scheme in "amqp", "coap":
            found = self.process.out.find(r"^listening %s://127\.0\.0\.1:(\d+)" % scheme)
            if not found:
                self.process.kill()
                raise AssertionError("no %s listener: %s\n%s" %
                                     (scheme, self.process.out.text(), self.log()))
            setattr(self, scheme + "_port", int(found.group(1)))
        return self

    @property
    def amqp_url(self):
        return "amqp://127.0.0.1:%d" % self.amqp_port

    @property
    def coap_url(self):
        return "coap://127.0.0.1:%d" % self.coap_port


class Peer:
    """Another broker, that runs already."""

    def __init__(self, port):
        self.host, self.amqp_port = "127.0.0.1", port


class AmqpCase(BrokerCase):
    """Tests that share one broker with an AMQP listener."""

    OPTIONS = None
    GENERAL = ()

    @classmethod
    def setUpClass(cls):
        cls.broker = AmqpBroker(cls.OPTIONS, cls.GENERAL).start()

    def amqp(self, container=None, **fields):
        """A raw AMQP client with an open connection."""
        made = Raw(self.broker)
        self.addCleanup(made.drop)
        made.open(container, **fields)
        return made

    def session(self, container=None, **fields):
        return self.amqp(container, **fields).begin()

    def address(self, rest=""):
        """An address that no other test uses."""
        return "%s/%s%s" % (type(self).__name__, self._testMethodName, rest)
    def sys(self, name):
        """What `$SYS/queues/NAME` says of a queue, read by MQTT."""
        with mqtt.Raw(self.broker, 5) as reader:
            reader.connect()
            reader.subscribe("$SYS/queues/" + urllib.parse.quote(name, safe=""))
            return json.loads(reader.message().payload)

    def queues(self):
        """The named queues that there are, as `trefoil queues` says: {name: its row}."""
        out = subprocess.run([trefoil(), "queues", self.broker.url, "-o", "json"], check=True,
                             capture_output=True, timeout=DEADLINE).stdout.decode().strip()
        rows = json.loads(out) if out.startswith("[") else [json.loads(row)
                                                            for row in out.splitlines()]
        return {row["queue"]: row for row in rows if "queue" in row}

    def depth(self, name, wanted):
        """Waits until the queue holds so many messages; what other shards do may come later."""
        def right():
            seen.append(self.sys(name)["messages"])
            return seen[-1] == wanted
        seen = []
        try:
            self.eventually(right)
        except AssertionError:
            self.fail("queue %s: wanted %d messages, saw %s" % (name, wanted, seen[-5:]))

    def mqtt(self, *filters, version=5, qos=1):
        """A raw MQTT client that has subscribed."""
        made = mqtt.Raw(self.broker, version)
        self.addCleanup(made.drop)
        made.connect()
        if filters:
            made.subscribe(*filters, qos=qos)
        return made
