"""AMQP 1.0, written from the specification's parts 1 to 3 and 5 without a look at Trefoil's own codec:
types in any chosen encoding, performatives, frames, messages.

Values that are written are `Enc`, bytes with their constructor; values that are read are Python's:
Symbol, str, bytes, int, list, Map (pairs, as maps may have any key), Described.
"""

import struct

HEADER, SASL_HEADER = b"AMQP\0\1\0\0", b"AMQP\3\1\0\0"
SENDER, RECEIVER = False, True
UNSETTLED, SETTLED, MIXED = 0, 1, 2
FIRST, SECOND = 0, 1
SECTIONS = {0x70: "header", 0x71: "delivery_annotations", 0x72: "annotations", 0x73: "properties",
            0x74: "application", 0x75: "data", 0x76: "sequence", 0x77: "value", 0x78: "footer"}


class AmqpError(AssertionError):
    """What came is not what the specification allows, or not what was expected."""


class Closed(AmqpError):
    """The connection ended while a frame was expected."""


class Enc(bytes):
    """A value with its constructor."""

    def __add__(self, other):
        return Enc(bytes(self) + other)


class Symbol(str):
    pass


class Map(list):
    """Pairs, in order."""

    def get(self, key, default=None):
        for name, value in self:
            if name == key and type(name) is not bool:
                return value
        return default

    def dict(self):
        return dict(self)


class Described:
    def __init__(self, descriptor, value):
        self.descriptor, self.value = descriptor, value

    def __eq__(self, other):
        return isinstance(other, Described) and \
            (self.descriptor, self.value) == (other.descriptor, other.value)

    def __repr__(self):
        return "%r(%r)" % (self.descriptor, self.value)


class Array(list):
    def __init__(self, code, items):
        super().__init__(items)
        self.code = code


# --- writing (1.6) ---------------------------------------------------------------------------------

NULL = Enc(b"\x40")


def boolean(value, wide=False):
    return Enc(bytes((0x56, int(value))) if wide else b"\x41" if value else b"\x42")


def fixed(code, layout, *value):
    return Enc(bytes((code,)) + struct.pack(">" + layout, *value))


def ubyte(value):
    return fixed(0x50, "B", value)


def ushort(value):
    return fixed(0x60, "H", value)


def uint(value, wide=False):
    if wide or value > 255:
        return fixed(0x70, "I", value)
    return fixed(0x52, "B", value) if value else Enc(b"\x43")


def ulong(value, wide=False):
    if wide or value > 255:
        return fixed(0x80, "Q", value)
    return fixed(0x53, "B", value) if value else Enc(b"\x44")


def int32(value, wide=True):
    return fixed(0x71, "i", value) if wide else fixed(0x54, "b", value)


def int64(value, wide=True):
    return fixed(0x81, "q", value) if wide else fixed(0x55, "b", value)


def timestamp(value):
    return fixed(0x83, "q", value)


def variable(short, data, wide=False):
    data = bytes(data)
    if wide or len(data) > 255:
        return Enc(bytes((short | 0x10,)) + struct.pack(">I", len(data)) + data)
    return Enc(bytes((short, len(data))) + data)


def binary(data, wide=False):
    return variable(0xA0, data, wide)


def string(text, wide=False):
    return variable(0xA1, text.encode() if isinstance(text, str) else text, wide)


def sym(text, wide=False):
    return variable(0xA3, text.encode() if isinstance(text, str) else text, wide)


def _compound(short, count, body, wide):
    if wide or len(body) > 254 or count > 255:
        return Enc(bytes((short | 0x10,)) + struct.pack(">II", len(body) + 4, count) + body)
    return Enc(bytes((short, len(body) + 1, count)) + body)


def lst(items, wide=False):
    items = [enc(item) for item in items]
    if not items and not wide:
        return Enc(b"\x45")
    return _compound(0xC0, len(items), b"".join(items), wide)


def mapping(pairs, wide=False):
    pairs = list(pairs.items()) if isinstance(pairs, dict) else list(pairs)
    return _compound(0xC1, 2 * len(pairs), b"".join(enc(x) for pair in pairs for x in pair), wide)


def array(constructor, items, wide=False):
    """constructor: bytes of it; items: bytes without theirs."""
    body = b"".join(items)
    if wide or len(body) + len(constructor) > 254 or len(items) > 255:
        return Enc(b"\xf0" + struct.pack(">II", len(body) + 4 + len(constructor), len(items)) +
                   constructor + body)
    return Enc(bytes((0xE0, len(body) + 1 + len(constructor), len(items))) + constructor + body)


def described(descriptor, value):
    """descriptor: a small number, a name, or Enc."""
    if isinstance(descriptor, int):
        descriptor = ulong(descriptor)
    elif not isinstance(descriptor, Enc):
        descriptor = sym(descriptor)
    return Enc(b"\0" + descriptor + enc(value))


def enc(value):
    """The encoding that a plain Python value is given where the test does not care."""
    if isinstance(value, Enc):
        return value
    if value is None:
        return NULL
    if isinstance(value, bool):
        return boolean(value)
    if isinstance(value, int):
        return uint(value) if value >= 0 else int32(value)
    if isinstance(value, Symbol):
        return sym(value)
    if isinstance(value, str):
        return string(value)
    if isinstance(value, (bytes, bytearray)):
        return binary(value)
    if isinstance(value, float):
        return fixed(0x82, "d", value)
    if isinstance(value, (dict, Map)):
        return mapping(value)
    if isinstance(value, Described):
        return described(value.descriptor, value.value)
    return lst(value)


# --- reading ---------------------------------------------------------------------------------------

_FIXED = {0x40: ("", None), 0x41: ("", True), 0x42: ("", False), 0x43: ("", 0), 0x44: ("", 0),
          0x50: "B", 0x51: "b", 0x52: "B", 0x53: "B", 0x54: "b", 0x55: "b", 0x56: "?",
          0x60: "H", 0x61: "h", 0x70: "I", 0x71: "i", 0x72: "f", 0x73: "4s", 0x74: "4s",
          0x80: "Q", 0x81: "q", 0x82: "d", 0x83: "q", 0x84: "8s", 0x94: "16s", 0x98: "16s"}


class Reader:
    def __init__(self, data, at=0):
        self.data, self.at = bytes(data), at

    def take(self, count):
        if self.at + count > len(self.data):
            raise AmqpError("a value goes past the end: %s" % self.data.hex())
        self.at += count
        return self.data[self.at - count:self.at]

    def unpack(self, layout):
        return struct.unpack(">" + layout, self.take(struct.calcsize(">" + layout)))[0]

    def constructor(self):
        code = self.unpack("B")
        if code:
            return code
        descriptor = self.value()
        return descriptor, self.constructor()

    def value(self):
        return self.body(self.constructor())

    def body(self, code):
        if isinstance(code, tuple):
            return Described(code[0], self.body(code[1]))
        if code in _FIXED:
            known = _FIXED[code]
            return known[1] if isinstance(known, tuple) else self.unpack(known)
        kind, width = code & 0xEF, "I" if code & 0x10 else "B"
        if kind in (0xA0, 0xA1, 0xA3):
            data = self.take(self.unpack(width))
            try:
                return data if kind == 0xA0 else data.decode() if kind == 0xA1 else \
                    Symbol(data.decode("ascii"))
            except UnicodeDecodeError:
                raise AmqpError("text that is none: %s" % data.hex()) from None
        if code == 0x45:
            return []
        if kind not in (0xC0, 0xC1, 0xE0):
            raise AmqpError("constructor %#x" % code)
        size = self.unpack(width)
        end = self.at + size
        count = self.unpack(width)
        if kind == 0xE0:
            inner = self.constructor()
            value = Array(inner, [self.body(inner) for _ in range(count)])
        else:
            value = [self.value() for _ in range(count)]
        if self.at != end:
            raise AmqpError("a compound of %d bytes is read in %d" % (size, size + self.at - end))
        if kind == 0xC1:
            value = Map(zip(value[::2], value[1::2]))
        return value


def decode(data):
    """The one value that data is."""
    reader = Reader(data)
    value = reader.value()
    if reader.at != len(reader.data):
        raise AmqpError("more than a value: %s" % bytes(data).hex())
    return value


# --- performatives (2.7, 2.8.14, 3.4, 3.5, 5.3.3) ----------------------------------------------------

def _fields(text):
    return [tuple(field.split(":")) for field in text.split()]


LAYOUT = {
    0x10: ("open", _fields("container_id:string hostname:string max_frame_size:uint "
                           "channel_max:ushort idle_time_out:uint outgoing_locales:symbol "
                           "incoming_locales:symbol offered:symbol desired:symbol properties:map")),
    0x11: ("begin", _fields("remote_channel:ushort next_outgoing_id:uint incoming_window:uint "
                            "outgoing_window:uint handle_max:uint offered:symbol desired:symbol "
                            "properties:map")),
    0x12: ("attach", _fields("name:string handle:uint role:boolean snd_settle_mode:ubyte "
                             "rcv_settle_mode:ubyte source:any target:any unsettled:map "
                             "incomplete_unsettled:boolean initial_delivery_count:uint "
                             "max_message_size:ulong offered:symbol desired:symbol "
                             "properties:map")),
    0x13: ("flow", _fields("next_incoming_id:uint incoming_window:uint next_outgoing_id:uint "
                           "outgoing_window:uint handle:uint delivery_count:uint link_credit:uint "
                           "available:uint drain:boolean echo:boolean properties:map")),
    0x14: ("transfer", _fields("handle:uint delivery_id:uint delivery_tag:binary "
                               "message_format:uint settled:boolean more:boolean "
                               "rcv_settle_mode:ubyte state:any resume:boolean aborted:boolean "
                               "batchable:boolean")),
    0x15: ("disposition", _fields("role:boolean first:uint last:uint settled:boolean state:any "
                                  "batchable:boolean")),
    0x16: ("detach", _fields("handle:uint closed:boolean error:any")),
    0x17: ("end", _fields("error:any")),
    0x18: ("close", _fields("error:any")),
    0x1D: ("error", _fields("condition:symbol description:string info:map")),
    0x23: ("received", _fields("section_number:uint section_offset:ulong")),
    0x24: ("accepted", []),
    0x25: ("rejected", _fields("error:any")),
    0x26: ("released", []),
    0x27: ("modified", _fields("delivery_failed:boolean undeliverable_here:boolean "
                               "annotations:map")),
    0x28: ("source", _fields("address:string durable:uint expiry_policy:symbol timeout:uint "
                             "dynamic:boolean dynamic_node_properties:map distribution_mode:symbol "
                             "filter:map default_outcome:any outcomes:symbol "
                             "capabilities:symbol")),
    0x29: ("target", _fields("address:string durable:uint expiry_policy:symbol timeout:uint "
                             "dynamic:boolean dynamic_node_properties:map capabilities:symbol")),
    0x40: ("mechanisms", _fields("mechanisms:symbol")),
    0x41: ("init", _fields("mechanism:symbol response:binary hostname:string")),
    0x42: ("challenge", _fields("challenge:binary")),
    0x43: ("response", _fields("response:binary")),
    0x44: ("outcome", _fields("code:ubyte additional:binary")),
    0x70: ("header", _fields("durable:boolean priority:ubyte ttl:uint first_acquirer:boolean "
                             "delivery_count:uint")),
    0x73: ("properties", _fields("message_id:any user_id:binary to:string subject:string "
                                 "reply_to:string correlation_id:any content_type:symbol "
                                 "content_encoding:symbol absolute_expiry_time:timestamp "
                                 "creation_time:timestamp group_id:string group_sequence:uint "
                                 "reply_to_group_id:string")),
}
CODES = {name: code for code, (name, _) in LAYOUT.items()}
WRITERS = {"string": string, "uint": uint, "ushort": ushort, "ubyte": ubyte, "ulong": ulong,
           "symbol": sym, "binary": binary, "boolean": boolean, "map": mapping, "any": enc,
           "timestamp": timestamp}


def composite(name, /, **values):
    """A composite type with these fields; trailing fields that are not said are left out."""
    fields = LAYOUT[CODES[name]][1]
    unknown = set(values) - {field for field, _ in fields}
    if unknown:
        raise KeyError("%s has no %s" % (name, unknown))
    out = []
    for field, kind in fields:
        value = values.get(field)
        if value is None or isinstance(value, Enc):
            out.append(enc(value))
        elif kind == "symbol" and isinstance(value, (list, tuple)):
            out.append(array(b"\xa3", [bytes(sym(each))[1:] for each in value]))
        else:
            out.append(WRITERS[kind](value))
    while out and out[-1] == NULL:
        out.pop()
    return described(CODES[name], lst(out))


class Composite:
    """A composite type that was read; fields that are not there are None."""

    def __init__(self, name, values):
        self.name, fields = name, LAYOUT[CODES[name]][1]
        if len(values) > len(fields):
            raise AmqpError("%s with %d fields" % (name, len(values)))
        for index, (field, _) in enumerate(fields):
            value = values[index] if index < len(values) else None
            setattr(self, field, compose(value))

    def __repr__(self):
        said = {key: value for key, value in vars(self).items()
                if value is not None and key not in ("name", "raw")}
        return "%s%r" % (vars(self).get("name"), said)


class Attach(Composite):
    """Its first field is called name, as everything has one here: so it is `link`."""

    def __init__(self, name, values):
        super().__init__(name, values)
        self.link, self.name = self.name, name


def compose(value):
    """Described lists of known composite types as Composite."""
    if isinstance(value, Described) and value.descriptor in LAYOUT and isinstance(value.value, list):
        kind = LAYOUT[value.descriptor][0]
        return (Attach if kind == "attach" else Composite)(kind, value.value)
    return value


def condition(performative):
    """The condition of the error that a performative or state carries, or None."""
    error = getattr(performative, "error", None)
    return error.condition if error is not None else None


def frame(channel, body=b"", payload=b"", kind=0, extended=b""):
    """A frame; extended is the extended header, a multiple of four bytes."""
    size = 8 + len(extended) + len(body) + len(payload)
    return struct.pack(">IBBH", size, 2 + len(extended) // 4, kind, channel) + extended + body + \
        payload


def plain(user, password, authzid=""):
    return b"\0".join(x.encode() for x in (authzid, user, password))


# --- messages --------------------------------------------------------------------------------------

def data(body=b""):
    return described(0x75, binary(body))


def message(*body, header=None, delivery=None, annotations=None, properties=None, application=None,
            footer=None):
    """The bytes of a message. body: sections; bytes make one data section."""
    out = b""
    if header:
        out += composite("header", **header)
    for code, pairs in ((0x71, delivery), (0x72, annotations)):
        if pairs is not None:
            out += described(code, mapping([(Symbol(key), value) for key, value in pairs.items()]))
    if properties:
        out += composite("properties", **properties)
    if application is not None:
        out += described(0x74, mapping(application))
    for section in body:
        out += section if isinstance(section, Enc) else data(section)
    if footer is not None:
        out += described(0x78, mapping([(Symbol(key), value) for key, value in footer.items()]))
    return out


class Message:
    """A message that was read: sections by name, `bare` the bytes of the bare message."""

    def __init__(self, raw):
        self.raw, self.parts, last = raw, {}, -1
        reader, bare, foot = Reader(raw), None, len(raw)
        while reader.at < len(raw):
            start = reader.at
            section = reader.value()
            if not isinstance(section, Described) or section.descriptor not in SECTIONS:
                raise AmqpError("no section: %r" % section)
            code = section.descriptor
            if code < last or code == last and code not in (0x75, 0x76):
                raise AmqpError("sections out of order: %s" % raw.hex())
            last = code
            if code >= 0x73 and bare is None:
                bare = start
            if code == 0x78:
                foot = start
            self.parts.setdefault(SECTIONS[code], []).append(
                section if code in (0x70, 0x73) else section.value)
        self.bare = raw[bare if bare is not None else len(raw):foot]

    def _one(self, name):
        return self.parts.get(name, [None])[0]

    @property
    def header(self):
        return compose(self._one("header")) or Composite("header", [])

    @property
    def properties(self):
        return compose(self._one("properties")) or Composite("properties", [])

    @property
    def annotations(self):
        return self._one("annotations") or Map()

    @property
    def application(self):
        return self._one("application") or Map()

    @property
    def value(self):
        return self._one("value")

    @property
    def body(self):
        """The bytes of the data sections."""
        return b"".join(self.parts.get("data", []))

    @property
    def count(self):
        """delivery-count"""
        return self.header.delivery_count or 0
