"""A client of raw packets: sends what it is told, decodes strictly what comes back."""

import itertools
import socket
import time

import wire
from broker import DEADLINE

_names = itertools.count(1)


class Closed(AssertionError):
    """The broker closed the connection while a packet was expected."""


class Raw:
    """One TCP connection. version: 4 (3.1.1) or 5."""

    def __init__(self, broker, version=4):
        self.version = version
        self.buffer = b""
        self.inbox = []
        self.ids = itertools.cycle(range(1, 65536))
        self.alias = {}
        self.socket = socket.create_connection((broker.host, broker.port), DEADLINE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.drop()

    def drop(self):
        """Closes the connection without a DISCONNECT."""
        self.socket.close()

    def send(self, *packets):
        self.socket.settimeout(DEADLINE)
        self.socket.sendall(b"".join(packets))
        return self

    def _receive(self, end):
        """More bytes into the buffer; False at the end of the connection."""
        left = end - time.monotonic()
        if left <= 0:
            raise AssertionError("nothing received within the deadline; inbox %s" % self.inbox)
        self.socket.settimeout(left)
        try:
            data = self.socket.recv(65536)
        except socket.timeout:
            raise AssertionError("nothing received within the deadline; inbox %s" %
                                 self.inbox) from None
        except ConnectionError:
            data = b""
        self.buffer += data
        return bool(data)

    def _next(self, deadline=None):
        end = time.monotonic() + (DEADLINE if deadline is None else deadline)
        while True:
            size = wire.length(self.buffer)
            if size is not None and len(self.buffer) >= size:
                raw, self.buffer = self.buffer[:size], self.buffer[size:]
                return wire.decode(raw, self.version)
            if not self._receive(end):
                if self.buffer:
                    raise wire.WireError("closed inside a packet: %s" % self.buffer.hex())
                raise Closed("closed by the broker")

    def packet(self, deadline=None):
        """The next packet, whatever it is."""
        return self.inbox.pop(0) if self.inbox else self._next(deadline)

    def expect(self, packet_type, **fields):
        """The next packet, which must be of this type and have these fields."""
        packet = self.packet()
        if packet.type != packet_type:
            raise AssertionError("expected %s, got %s" % (wire.NAMES[packet_type], packet))
        for name, value in fields.items():
            if getattr(packet, name) != value:
                raise AssertionError("expected %s=%r in %s" % (name, value, packet))
        return packet

    def wait(self, packet_type, deadline=None):
        """The next packet of this type; others stay in the inbox."""
        for index, packet in enumerate(self.inbox):
            if packet.type == packet_type:
                return self.inbox.pop(index)
        while True:
            packet = self._next(deadline)
            if packet.type == packet_type:
                return packet
            self.inbox.append(packet)

    def closed(self, deadline=None):
        """The connection must end, with nothing more on it."""
        try:
            packet = self.packet(deadline)
        except Closed:
            self.drop()
            return
        raise AssertionError("expected the end of the connection, got %s" % packet)

    def disconnected(self, *codes):
        """A DISCONNECT with one of codes (5.0), then the end; for 3.1.1 just the end."""
        if self.version == 5:
            packet = self.expect(wire.DISCONNECT)
            if packet.code not in codes:
                raise AssertionError("expected DISCONNECT %s, got %#x" %
                                     ([hex(c) for c in codes], packet.code))
        self.closed()

    # Whole exchanges.

    def connect(self, client_id=None, code=0, present=None, **fields):
        """CONNECT and CONNACK. A client id is invented if none is given."""
        if client_id is None:
            client_id = "raw-%d" % next(_names)
        self.send(wire.connect(client_id, self.version, **fields))
        packet = self.expect(wire.CONNACK, code=code)
        if present is not None and packet.session_present != present:
            raise AssertionError("session present is %s" % packet.session_present)
        return packet

    def subscribe(self, *filters, qos=0, options=None, properties=None):
        """SUBSCRIBE and SUBACK; returns the reason codes."""
        packet_id = next(self.ids)
        option = qos if options is None else options
        self.send(wire.subscribe(packet_id, [(f, option) for f in filters], self.version,
                                 properties))
        packet = self.wait(wire.SUBACK)
        if packet.packet_id != packet_id or len(packet.codes) != len(filters):
            raise AssertionError("wrong SUBACK %s" % packet)
        return packet.codes

    def unsubscribe(self, *filters):
        packet_id = next(self.ids)
        self.send(wire.unsubscribe(packet_id, filters, self.version))
        packet = self.wait(wire.UNSUBACK)
        if packet.packet_id != packet_id:
            raise AssertionError("wrong UNSUBACK %s" % packet)
        return getattr(packet, "codes", None)

    def publish(self, topic, payload=b"", qos=0, **fields):
        """A PUBLISH with its whole acknowledgement; returns the first reason code."""
        packet_id = next(self.ids) if qos else None
        self.send(wire.publish(topic, payload, qos, packet_id, version=self.version, **fields))
        if not qos:
            return None
        packet = self.wait(wire.PUBACK if qos == 1 else wire.PUBREC)
        if packet.packet_id != packet_id:
            raise AssertionError("expected packet id %d in %s" % (packet_id, packet))
        if qos == 2 and packet.code < 0x80:
            self.send(wire.ack(wire.PUBREL, packet_id))
            packet = self.wait(wire.PUBCOMP)
            if packet.packet_id != packet_id:
                raise AssertionError("expected packet id %d in %s" % (packet_id, packet))
        return packet.code

    def message(self, deadline=None):
        """The next PUBLISH, acknowledged as its QoS asks. Aliases are resolved."""
        packet = self.wait(wire.PUBLISH, deadline)
        alias = packet.props.get("topic_alias")
        if alias and packet.topic:
            self.alias[alias] = packet.topic
        elif alias:
            packet.topic = self.alias[alias]
        if packet.qos == 1:
            self.send(wire.ack(wire.PUBACK, packet.packet_id))
        elif packet.qos == 2:
            self.send(wire.ack(wire.PUBREC, packet.packet_id))
            released = self.wait(wire.PUBREL)
            if released.packet_id != packet.packet_id:
                raise AssertionError("expected PUBREL for %d" % packet.packet_id)
            self.send(wire.ack(wire.PUBCOMP, packet.packet_id))
        return packet

    def until(self, payload):
        """All messages up to the one with this payload, without it."""
        payload = payload.encode() if isinstance(payload, str) else payload
        messages = []
        while True:
            packet = self.message()
            if packet.payload == payload:
                return messages
            messages.append(packet)

    def ping(self):
        self.send(wire.pingreq())
        self.wait(wire.PINGRESP)

    def leave(self, code=None, properties=None):
        """DISCONNECT, then the broker's end of the connection."""
        self.send(wire.disconnect(code, properties))
        self.closed()
