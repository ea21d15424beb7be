"""MQTT 3.1.1 and 5.0 packets, for tests that care about bytes.

Written from the two standards alone, so that it can disagree with the broker. The encoder writes
whatever it is asked to, legal or not; the decoder is strict and raises WireError for anything a
server must not send. It knows nothing about sockets.
"""

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = range(1, 8)
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT, AUTH = range(8, 16)
NAMES = ("RESERVED CONNECT CONNACK PUBLISH PUBACK PUBREC PUBREL PUBCOMP SUBSCRIBE SUBACK "
         "UNSUBSCRIBE UNSUBACK PINGREQ PINGRESP DISCONNECT AUTH").split()

# MQTT 5.0 2.2.2.2, table 2-4: identifier -> name, type, packets that may carry it.
WILL = 0
PROPERTIES = {
    0x01: ("payload_format", "u8", (PUBLISH, WILL)),
    0x02: ("message_expiry", "u32", (PUBLISH, WILL)),
    0x03: ("content_type", "str", (PUBLISH, WILL)),
    0x08: ("response_topic", "str", (PUBLISH, WILL)),
    0x09: ("correlation_data", "bin", (PUBLISH, WILL)),
    0x0B: ("subscription_id", "var", (PUBLISH, SUBSCRIBE)),
    0x11: ("session_expiry", "u32", (CONNECT, CONNACK, DISCONNECT)),
    0x12: ("assigned_id", "str", (CONNACK,)),
    0x13: ("server_keep_alive", "u16", (CONNACK,)),
    0x15: ("auth_method", "str", (CONNECT, CONNACK, AUTH)),
    0x16: ("auth_data", "bin", (CONNECT, CONNACK, AUTH)),
    0x17: ("request_problem", "u8", (CONNECT,)),
    0x18: ("will_delay", "u32", (WILL,)),
    0x19: ("request_response", "u8", (CONNECT,)),
    0x1A: ("response_info", "str", (CONNACK,)),
    0x1C: ("server_reference", "str", (CONNACK, DISCONNECT)),
    0x1F: ("reason", "str", (CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK,
                             DISCONNECT, AUTH)),
    0x21: ("receive_maximum", "u16", (CONNECT, CONNACK)),
    0x22: ("topic_alias_maximum", "u16", (CONNECT, CONNACK)),
    0x23: ("topic_alias", "u16", (PUBLISH,)),
    0x24: ("maximum_qos", "u8", (CONNACK,)),
    0x25: ("retain_available", "u8", (CONNACK,)),
    0x26: ("user", "pair", (CONNECT, CONNACK, PUBLISH, WILL, PUBACK, PUBREC, PUBREL, PUBCOMP,
                            SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, DISCONNECT, AUTH)),
    0x27: ("maximum_packet_size", "u32", (CONNECT, CONNACK)),
    0x28: ("wildcard_available", "u8", (CONNACK,)),
    0x29: ("subscription_id_available", "u8", (CONNACK,)),
    0x2A: ("shared_available", "u8", (CONNACK,)),
}
IDS = {name: identifier for identifier, (name, _, _) in PROPERTIES.items()}


class WireError(Exception):
    """The bytes are not what a server may send."""


def u16(value):
    return value.to_bytes(2, "big")


def var(value):
    """MQTT 5.0 1.5.5, MQTT 3.1.1 2.2.3"""
    out = bytearray()
    while True:
        value, digit = value >> 7, value & 0x7F
        out.append(digit | (0x80 if value else 0))
        if not value:
            return bytes(out)


def binary(value):
    value = value.encode() if isinstance(value, str) else bytes(value)
    return u16(len(value)) + value


def prop(key, value):
    """One property; key is a name of PROPERTIES or a bare identifier with encoded bytes."""
    if isinstance(key, int):
        return var(key) + value
    kind = PROPERTIES[IDS[key]][1]
    if kind in ("u8", "u16", "u32"):
        body = value.to_bytes(int(kind[1:]) // 8, "big")
    elif kind == "var":
        body = var(value)
    elif kind == "pair":
        body = binary(value[0]) + binary(value[1])
    else:
        body = binary(value)
    return var(IDS[key]) + body


def props(pairs):
    """A whole property block. pairs: None, a dict, or a list of (key, value)."""
    if isinstance(pairs, dict):
        pairs = list(pairs.items())
    body = b"".join(prop(key, value) for key, value in pairs or ())
    return var(len(body)) + body


def frame(packet_type, flags, body):
    return bytes([packet_type << 4 | flags]) + var(len(body)) + body


def connect(client_id="", version=4, clean=True, keep_alive=60, will=None, user=None,
            password=None, properties=None):
    """will: a dict with topic, payload, and optionally qos, retain, properties."""
    flags = 2 if clean else 0
    payload = binary(client_id)
    if will is not None:
        flags |= 4 | will.get("qos", 0) << 3 | (32 if will.get("retain") else 0)
        if version == 5:
            payload += props(will.get("properties"))
        payload += binary(will["topic"]) + binary(will["payload"])
    if user is not None:
        flags |= 128
        payload += binary(user)
    if password is not None:
        flags |= 64
        payload += binary(password)
    head = binary("MQTT") + bytes([version, flags]) + u16(keep_alive)
    if version == 5:
        head += props(properties)
    return frame(CONNECT, 0, head + payload)


def publish(topic, payload=b"", qos=0, packet_id=None, retain=False, dup=False, version=4,
            properties=None):
    payload = payload.encode() if isinstance(payload, str) else payload
    body = binary(topic)
    if packet_id is not None:
        body += u16(packet_id)
    if version == 5:
        body += props(properties)
    return frame(PUBLISH, (8 if dup else 0) | qos << 1 | (1 if retain else 0), body + payload)


def ack(packet_type, packet_id, code=None, properties=None):
    """PUBACK, PUBREC, PUBREL or PUBCOMP; code and properties only in 5.0."""
    body = u16(packet_id)
    if code is not None:
        body += bytes([code])
    if properties is not None:
        body += props(properties)
    return frame(packet_type, 2 if packet_type == PUBREL else 0, body)


def subscribe(packet_id, filters, version=4, properties=None):
    """filters: list of (filter, option byte)"""
    body = u16(packet_id) + (props(properties) if version == 5 else b"")
    return frame(SUBSCRIBE, 2, body + b"".join(binary(f) + bytes([o]) for f, o in filters))


def unsubscribe(packet_id, filters, version=4, properties=None):
    body = u16(packet_id) + (props(properties) if version == 5 else b"")
    return frame(UNSUBSCRIBE, 2, body + b"".join(binary(f) for f in filters))


def pingreq():
    return frame(PINGREQ, 0, b"")


def disconnect(code=None, properties=None):
    body = b"" if code is None else bytes([code])
    if properties is not None:
        body += props(properties)
    return frame(DISCONNECT, 0, body)


def auth(code=0x18, properties=None):
    return frame(AUTH, 0, bytes([code]) + props(properties))


class Cursor:
    """Reads fields, refusing to pass the end."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def left(self):
        return len(self.data) - self.at

    def take(self, count):
        if count > self.left():
            raise WireError("field runs past the end of the packet")
        self.at += count
        return self.data[self.at - count:self.at]

    def uint(self, size):
        return int.from_bytes(self.take(size), "big")

    def var(self):
        value = 0
        for index in range(4):
            byte = self.uint(1)
            value |= (byte & 0x7F) << 7 * index
            if not byte & 0x80:
                if index and not byte:
                    raise WireError("variable byte integer is not minimal")
                return value
        raise WireError("variable byte integer of five bytes")

    def bin(self):
        return self.take(self.uint(2))

    def str(self):
        try:
            text = self.bin().decode("utf-8")
        except UnicodeDecodeError as error:
            raise WireError("string is not UTF-8") from error
        if "\0" in text:
            raise WireError("string holds NUL")
        return text

    def props(self, packet_type):
        """dict; user is a list of pairs and subscription_id a list."""
        inner = Cursor(self.take(self.var()))
        out = {}
        while inner.left():
            identifier = inner.var()
            if identifier not in PROPERTIES:
                raise WireError("unknown property %#x" % identifier)
            name, kind, where = PROPERTIES[identifier]
            if packet_type not in where:
                raise WireError("%s in %s" % (name, NAMES[packet_type]))
            if kind in ("u8", "u16", "u32"):
                value = inner.uint(int(kind[1:]) // 8)
            elif kind == "var":
                value = inner.var()
            elif kind == "pair":
                value = (inner.str(), inner.str())
            else:
                value = getattr(inner, kind)()
            if name == "user" or (name == "subscription_id" and packet_type == PUBLISH):
                out.setdefault(name, []).append(value)
            elif name in out:
                raise WireError("property %s twice" % name)
            else:
                out[name] = value
        return out


class Packet:
    """One decoded packet from a server. raw holds its bytes."""

    def __init__(self, raw):
        self.raw = raw
        self.type, self.flags = raw[0] >> 4, raw[0] & 15
        self.props = {}
        self.packet_id = self.code = None

    def __getattr__(self, name):
        raise AttributeError("%s has no %s" % (self, name))

    def __repr__(self):
        text = {k: v for k, v in self.__dict__.items() if k not in ("raw", "type", "flags")
                and v not in (None, {})}
        return "%s(flags=%d %s)" % (NAMES[self.type], self.flags, text)


def length(buffer):
    """Whole length of the first packet in buffer, or None while the header is incomplete."""
    size = 0
    for index in range(4):
        if len(buffer) < index + 2:
            return None
        size |= (buffer[index + 1] & 0x7F) << 7 * index
        if not buffer[index + 1] & 0x80:
            if index and not buffer[index + 1]:
                raise WireError("remaining length is not minimal")
            return index + 2 + size
    raise WireError("remaining length of five bytes")


def decode(raw, version):
    """One whole packet, of a type that a server sends; strict."""
    packet = Packet(raw)
    if packet.type not in DECODERS or (packet.type in (DISCONNECT, AUTH) and version != 5):
        raise WireError("a server does not send %s" % NAMES[packet.type])
    if packet.type != PUBLISH and packet.flags != (2 if packet.type == PUBREL else 0):
        raise WireError("flags %d in %s" % (packet.flags, NAMES[packet.type]))
    start = 2
    while raw[start - 1] & 0x80:
        start += 1
    cursor = Cursor(raw[start:])
    DECODERS[packet.type](packet, cursor, version)
    if cursor.left():
        raise WireError("%d bytes after the end of %s" % (cursor.left(), packet))
    return packet


def _connack(packet, cursor, version):
    flags = cursor.uint(1)
    if flags & 0xFE:
        raise WireError("reserved CONNACK flags")
    packet.session_present = bool(flags)
    packet.code = cursor.uint(1)
    if packet.code and flags:
        raise WireError("session present with a refusal")
    if version == 5:
        packet.props = cursor.props(CONNACK)
    elif packet.code > 5:
        raise WireError("reserved CONNACK return code %d" % packet.code)


def _publish(packet, cursor, version):
    packet.dup, packet.retain = bool(packet.flags & 8), bool(packet.flags & 1)
    packet.qos = packet.flags >> 1 & 3
    if packet.qos == 3 or (packet.dup and not packet.qos):
        raise WireError("PUBLISH flags %d" % packet.flags)
    packet.topic = cursor.str()
    if "+" in packet.topic or "#" in packet.topic:
        raise WireError("wildcard in the topic of a PUBLISH")
    if packet.qos:
        packet.packet_id = cursor.uint(2)
        if not packet.packet_id:
            raise WireError("packet id 0")
    if version == 5:
        packet.props = cursor.props(PUBLISH)
    if not packet.topic and "topic_alias" not in packet.props:
        raise WireError("empty topic")
    packet.payload = cursor.take(cursor.left())


def _ack(packet, cursor, version):
    packet.packet_id = cursor.uint(2)
    packet.code = 0
    if version == 5 and cursor.left():
        packet.code = cursor.uint(1)
        if cursor.left():
            packet.props = cursor.props(packet.type)


def _suback(packet, cursor, version):
    packet.packet_id = cursor.uint(2)
    if version == 5:
        packet.props = cursor.props(packet.type)
    packet.codes = list(cursor.take(cursor.left()))
    if (packet.type == SUBACK or version == 5) != bool(packet.codes):
        raise WireError("wrong number of reason codes")
    if version == 4 and set(packet.codes) - {0, 1, 2, 0x80}:
        raise WireError("reserved SUBACK return code")


def _empty(packet, cursor, version):
    del packet, cursor, version


def _disconnect(packet, cursor, version):
    del version
    packet.code = cursor.uint(1) if cursor.left() else 0
    if cursor.left():
        packet.props = cursor.props(packet.type)
    # MQTT 5.0 3.14.2.2.2: the Session Expiry Interval must not be sent by the server.
    if packet.type == DISCONNECT and "session_expiry" in packet.props:
        raise WireError("session expiry in a server's DISCONNECT")


DECODERS = {CONNACK: _connack, PUBLISH: _publish, PUBACK: _ack, PUBREC: _ack, PUBREL: _ack,
            PUBCOMP: _ack, SUBACK: _suback, UNSUBACK: _suback, PINGRESP: _empty,
            DISCONNECT: _disconnect, AUTH: _disconnect}
