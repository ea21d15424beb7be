"""Types and sizes through the broker: every primitive with its edges in every encoding, compound ones
nested, messages of all sections, and of up to 10 MiB in frames of 512 bytes to 1 MiB. What proton, rhea
and a raw client send comes out as the same bytes, and as the same values in the other clients' eyes.
"""

import itertools
import math
import struct
import uuid

import proton
from proton import Array, Data, Described, char, symbol, timestamp

from amqp import (NULL, AmqpCase, Message, array, binary, boolean, data, described,
                  fixed, int32, int64, lst, mapping, message, string, sym, uint, ulong)
from amqp import timestamp as stamp
from amqp_clients import Proton, Rhea
from broker import main

UUID = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
BARE = proton.UNDESCRIBED


def integers():
    """(name, encodings, proton's value, rhea's)"""
    for kind, code, layout, make, low, high in (
            ("ubyte", 0x50, "B", proton.ubyte, 0, 255), ("ushort", 0x60, "H", proton.ushort, 0, 65535),
            ("byte", 0x51, "b", proton.byte, -128, 127),
            ("short", 0x61, "h", proton.short, -32768, 32767)):
        for value in sorted({low, -1 if low else 0, 0, 1, high}):
            yield "%s %d" % (kind, value), [fixed(code, layout, value)], make(value), [kind, value]
    for value in 0, 1, 127, 255, 256, 2**31, 2**32 - 1:
        both = [uint(value), uint(value, True)] + ([fixed(0x52, "B", 0)] if not value else [])
        yield "uint %d" % value, both, proton.uint(value), ["uint", value]
    for value in 0, 1, 255, 256, 2**53, 2**63, 2**64 - 1:
        both = [ulong(value), ulong(value, True)] + ([fixed(0x53, "B", 0)] if not value else [])
        yield "ulong %d" % value, both, proton.ulong(value), ["ulong", str(value)]
    for value in -2**31, -129, -128, -1, 0, 127, 128, 2**31 - 1:
        both = [int32(value)] + ([int32(value, False)] if -128 <= value < 128 else [])
        yield "int %d" % value, both, proton.int32(value), ["int", value]
    for value in -2**63, -2**53, -129, -128, -1, 0, 127, 128, 2**63 - 1:
        both = [int64(value)] + ([int64(value, False)] if -128 <= value < 128 else [])
        yield "long %d" % value, both, value, ["long", str(value)]


def scalars():
    yield "null", [NULL], None, ["null"]
    for value in True, False:
        yield "boolean %s" % value, [boolean(value), boolean(value, True)], value, ["boolean", value]
    yield from integers()
    for value in 0.0, -0.0, 1.5, math.inf, -math.inf, math.nan, 2.0**-149, 3.4028234663852886e38:
        told = ["float", value] if math.isfinite(value) else None
        yield "float %r" % value, [fixed(0x72, "f", value)], proton.float32(value), told
    for value in 0.0, -0.0, 0.1, math.inf, -math.inf, math.nan, 5e-324, 1.7976931348623157e308:
        told = ["double", value] if math.isfinite(value) else None
        yield "double %r" % value, [fixed(0x82, "d", value)], value, told
    # 1.6.13: no client computes with them, so they are only carried.
    yield "decimal32", [fixed(0x74, "4s", b"\x22\x50\0\1")], proton.decimal32(0x22500001), None
    yield "decimal64", [fixed(0x84, "8s", b"\x22\x38\0\0\0\0\0\1")], \
        proton.decimal64(0x2238000000000001), None
    yield "decimal128", [fixed(0x94, "16s", bytes(range(16)))], proton.decimal128(bytes(range(16))), None
    for text in "a", "\0", "ß", "東", "\U0010ffff":
        yield "char %x" % ord(text), [fixed(0x73, "I", ord(text))], char(text), ["char", ord(text)]
    for value in 0, 1, -1, 1763683200000, -2**63, 2**63 - 1:
        told = ["timestamp", value] if abs(value) < 2**53 else None
        yield "timestamp %d" % value, [stamp(value)], timestamp(value), told
    yield "uuid", [fixed(0x98, "16s", UUID.bytes)], UUID, ["uuid", UUID.hex]
    yield "uuid zero", [fixed(0x98, "16s", bytes(16))], uuid.UUID(int=0), ["uuid", "00" * 16]
    for body in b"", b"\0", bytes(range(256))[:255], bytes(range(256)), b"x" * 70000:
        yield "binary of %d" % len(body), [binary(body), binary(body, True)], body, \
            ["binary", body.hex()]
    for text in "", "a", "\0", "Zürich 東京 🙂", "x" * 255, "x" * 256, "ß" * 40000:
        yield "string of %d" % len(text), [string(text), string(text, True)], text, ["string", text]
    for text in "", "a", "amqp:accepted:list", "x" * 255, "x" * 256:
        yield "symbol of %d" % len(text), [sym(text), sym(text, True)], symbol(text), ["symbol", text]


def nested(depth, make, leaf):
    for _ in range(depth):
        leaf = make(leaf)
    return leaf


def compounds():
    yield "list empty", [lst([]), lst([], True), fixed(0xC0, "BB", 1, 0)], \
        [], ["list", []]
    inner = [1, "two", None, True]
    raw = [int64(1, False), string("two"), NULL, boolean(True)]
    told = [["long", "1"], ["string", "two"], ["null"], ["boolean", True]]
    yield "list", [lst(raw), lst(raw, True)], inner, ["list", told]
    yield "list of lists", [lst([lst(raw), lst([]), lst([lst(raw, True)])])], [inner, [], [inner]], \
        ["list", [["list", told], ["list", []], ["list", [["list", told]]]]]
    yield "list of 300", [lst([uint(5)] * 300)], [proton.uint(5)] * 300, ["list", [["uint", 5]] * 300]
    yield "lists 20 deep", [nested(20, lambda leaf: lst([leaf]), lst([]))], \
        nested(20, lambda leaf: [leaf], []), nested(20, lambda leaf: ["list", [leaf]], ["list", []])
    yield "map empty", [mapping({}), mapping({}, True)], {}, ["map", []]
    yield "map", [mapping({"a": int64(1, False), "b": NULL}), mapping({"a": int64(1), "b": NULL}, True)], \
        {"a": 1, "b": None}, ["map", [[["string", "a"], ["long", "1"]], [["string", "b"], ["null"]]]]
    yield "map with keys of many types", [mapping([
        (uint(1), string("uint")), (ulong(1), string("ulong")), (sym("1"), string("symbol")),
        (string("1"), string("string")), (binary(b"1"), string("binary")),
        (boolean(True), string("boolean"))])], None, None
    yield "maps in maps", [nested(10, lambda leaf: mapping({"k": leaf}), mapping({}))], \
        nested(10, lambda leaf: {"k": leaf}, {}), \
        nested(10, lambda leaf: ["map", [[["string", "k"], leaf]]], ["map", []])
    yield from arrays()
    yield "described by a number", [described(0x4711, string("x"))], \
        Described(proton.ulong(0x4711), "x"), None
    yield "described by a symbol", [described("my:type", lst([uint(1)]))], \
        Described(symbol("my:type"), [proton.uint(1)]), None
    yield "described twice", [described("a", described("b", string("x")))], \
        None, None
    yield "described by a list", [described(lst([uint(1)]), string("x"))], None, None
    yield "described in a list in a map", [mapping({"k": lst([described("d", NULL)])})], \
        {"k": [Described(symbol("d"), None)]}, None
    # rhea loses the descriptor of what is a body itself.
    yield "described in a list", [lst([described(5, string("x")), described("d", lst([uint(1)]))])], \
        [Described(proton.ulong(5), "x"), Described(symbol("d"), [proton.uint(1)])], \
        ["list", [["described", 5, ["string", "x"]], ["described", "d", ["list", [["uint", 1]]]]]]


def arrays():
    def words(items):
        return [struct.pack(">I", item) for item in items]
    yield "array empty", [array(b"\x70", []), array(b"\x70", [], True)], Array(BARE, Data.UINT), None
    yield "array of uint", [array(b"\x70", words([0, 1, 2**32 - 1])),
                            array(b"\x70", words([0, 1, 2**32 - 1]), True)], \
        Array(BARE, Data.UINT, proton.uint(0), proton.uint(1), proton.uint(2**32 - 1)), \
        ["array", "uint", [0, 1, 2**32 - 1]]
    yield "array of small uint", [array(b"\x52", [b"\0", b"\xff"])], \
        Array(BARE, Data.UINT, proton.uint(0), proton.uint(255)), None
    yield "array of symbols", [array(b"\xa3", [b"\1a", b"\2bc"])], \
        Array(BARE, Data.SYMBOL, symbol("a"), symbol("bc")), ["array", "symbol", ["a", "bc"]]
    yield "array of strings", [array(b"\xb1", [struct.pack(">I", 1) + b"a"])], \
        Array(BARE, Data.STRING, "a"), ["array", "string", ["a"]]
    yield "array of booleans", [array(b"\x56", [b"\0", b"\1"])], \
        Array(BARE, Data.BOOL, False, True), None
    yield "array of uuids", [array(b"\x98", [UUID.bytes] * 3)], Array(BARE, Data.UUID, *[UUID] * 3), None
    yield "array of nulls", [array(b"\x40", [b""] * 3)], None, None
    yield "array of lists", [array(b"\xc0", [bytes(lst([uint(1)]))[1:], b"\1\0"])], None, None
    yield "array of maps", [array(b"\xc1", [bytes(mapping({"a": uint(1)}))[1:]])], None, None
    yield "array of arrays", [array(b"\xe0", [bytes(array(b"\x52", [b"\1", b"\2"]))[1:]])], None, None
    yield "array of described", [array(b"\0" + sym("d") + b"\x52", [b"\1", b"\2"])], \
        Array(symbol("d"), Data.UINT, proton.uint(1), proton.uint(2)), None
    yield "array of 1000 longs", [array(b"\x81", [struct.pack(">q", n) for n in range(1000)])], \
        Array(BARE, Data.LONG, *range(1000)), None


CASES = list(itertools.chain(scalars(), compounds()))


def same(one, other):
    """Equal, and of the same type all the way down; NaN is equal to itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return struct.pack(">d", one) == struct.pack(">d", other)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return len(one) == len(other) and all(
            key in other and same(value, other[key]) for key, value in one.items())
    if isinstance(one, Described):
        return same(one.descriptor, other.descriptor) and same(one.value, other.value)
    if isinstance(one, Array):
        return one.type == other.type and one.descriptor == other.descriptor and \
            same(list(one.elements), list(other.elements))
    return one == other


class Through(AmqpCase):
    """A topic: what is sent is seen by all three receivers."""

    GENERAL = ["max_packet_size 33554432"]
    OPTIONS = ["amqp_max_frame_size 1048576"]

    def setUp(self):
        super().setUp()
        self.topic = "topic://" + self.address()

    def client(self, kind, **options):
        made = kind(self.broker, **options)
        self.addCleanup(made.quit if kind is Rhea else made.close)
        return made

    def receivers(self, count):
        raw = self.session().receiver(self.topic, credit=count)
        proton_, rhea = self.client(Proton), self.client(Rhea)
        proton_.subscribe(self.topic, credit=count)
        rhea.subscribe(self.topic, credit=count)
        return raw, proton_, rhea

    def compare(self, cases, bares, receivers):
        """cases: (name, proton's value or NotImplemented); bares: the bare messages as sent."""
        raw, proton_, rhea = receivers
        for (name, value), bare in zip(cases, bares):
            with self.subTest(name):
                self.assertEqual(raw.take()[0].message.bare.hex(), bare.hex())
        for (name, value), bare in zip(cases, bares):
            with self.subTest(name + ", by rhea"):
                self.assertEqual(rhea.take(self.topic, 1)[0].whole.bare.hex(), bare.hex())
        for name, value in cases:
            with self.subTest(name + ", by proton"):
                got = proton_.take(self.topic, 1)[0].body
                if value is not NotImplemented:
                    self.assertTrue(same(got, value), "%r instead of %r" % (got, value))


class Types(Through):
    def test_every_encoding_from_a_raw_client(self):
        cases, bares = [], []
        for name, encodings, value, told in CASES:
            for index, encoding in enumerate(encodings):
                known = value is not None or name == "null"
                cases.append(("%s, encoding %d" % (name, index), value if known else NotImplemented))
                bares.append(message(described(0x77, encoding)))
        receivers = self.receivers(len(cases))
        link = self.session().sender(self.topic)
        for bare in bares:
            self.assertEqual(link.send(bare).name, "accepted")
        self.compare(cases, bares, receivers)

    def test_every_type_from_proton(self):
        cases = [(name, value) for name, _, value, _ in CASES if value is not None or name == "null"]
        receivers = self.receivers(len(cases))
        sender = self.client(Proton)
        made = [sender.message(value) for _, value in cases]
        self.assertEqual(sender.send(self.topic, *made), ["accepted"] * len(made))
        self.compare(cases, [Message(bytes(each.encode())).bare for each in made], receivers)

    def test_every_type_from_rhea(self):
        known = [(name, value, told) for name, _, value, told in CASES if told is not None]
        receivers = self.receivers(len(known))
        sender = self.client(Rhea)
        states = sender.send(self.topic, *[sender.message(told) for _, _, told in known])
        self.assertEqual(states, ["accepted"] * len(known))
        self.compare([(name, value) for name, value, _ in known],
                     [Message(each).bare for each in sender.sent], receivers)

    def test_what_rhea_reads(self):
        """rhea's own reader of a few that were sent by proton: names of types and values."""
        sender, receiver = self.client(Proton), self.client(Rhea)
        which = receiver.receiver(self.topic, credit=9)
        wanted = ((proton.ulong(300), ["Ulong", "300"]), ("text", ["Str8", "text"]),
                  (proton.int32(-5), ["SmallInt", "-5"]), ([True, None], ["List8", [["True", "true"],
                                                                                 ["Null", None]]]))
        for value, tree in wanted:
            sender.send(self.topic, sender.message(value))
            got = receiver.next(which)
            body = got.whole.raw[got.whole.raw.index(b"\0\x53\x77") + 3:]
            receiver.tell("tree", hex=body.hex())
            seen = receiver.event("tree")["tree"]
            self.assertEqual(seen[0][:4], tree[0][:4], seen)
            if not isinstance(tree[1], list):
                self.assertEqual(seen[1], tree[1], seen)

    def test_application_properties_of_every_scalar_type(self):
        named = [(name, encodings[-1]) for name, encodings, _, _ in scalars() if len(encodings[-1]) < 999]
        sent = message(b"x", application=[(string("%d %s" % (index, name)), encoding)
                                          for index, (name, encoding) in enumerate(named)])
        raw = self.session().receiver(self.topic, credit=1)
        self.assertEqual(self.session().sender(self.topic).send(sent).name, "accepted")
        self.assertEqual(raw.take()[0].message.bare.hex(), sent.hex())


class Sections(Through):
    everything = {"message_id": ulong(2**64 - 1), "user_id": b"\0me", "to": "elsewhere",
                  "subject": "subject", "reply_to": "topic://r",
                  "correlation_id": fixed(0x98, "16s", b"u" * 16),
                  "content_type": "text/plain", "content_encoding": "gzip",
                  "absolute_expiry_time": 4102444800000, "creation_time": 1763683200000,
                  "group_id": "g", "group_sequence": 2**32 - 1, "reply_to_group_id": "rg"}

    def sent(self, body, bare=None):
        """Sends a message and returns what a receiver has; the bare message must be the same."""
        link = self.session().receiver(self.topic, credit=1)
        self.assertEqual(self.session().sender(self.topic).send(body).name, "accepted")
        got = link.take()[0].message
        self.assertEqual(got.bare.hex(), (Message(body).bare if bare is None else bare).hex())
        return got

    def test_all_sections(self):
        body = message(b"one", b"two", b"", header={"durable": True, "priority": 9, "ttl": 600000},
                       delivery={"x-hop": "mine"}, annotations={"x-opt-kept": lst([uint(1)])},
                       properties=self.everything, application={"k": "v", "n": ulong(7)},
                       footer={"x-sum": 5})
        got = self.sent(body)
        self.assertEqual(got.annotations.dict(), {"x-opt-kept": [1]})
        self.assertEqual((got.header.durable, got.header.priority), (True, 9))
        self.assertLessEqual(got.header.ttl, 600000)
        self.assertEqual(got.parts["footer"][0].dict(), {"x-sum": 5})
        self.assertEqual(got.parts["data"], [b"one", b"two", b""])
        self.assertNotIn("delivery_annotations", got.parts, "3.2.2: from here to the next hop only")

    def test_bodies_of_each_kind(self):
        for body in (message(b""), message(described(0x77, NULL)), message(b"a", b"b", b"c"),
                     message(described(0x76, lst([uint(1)])), described(0x76, lst([]))),
                     message(described(0x77, lst([string("x")], True)), footer={}),
                     message(data(b"x" * 300), application={}), message(b"x", footer={"x-f": "f"})):
            with self.subTest(body[:40].hex()):
                self.sent(body)

    def test_sections_in_their_longest_encoding(self):
        """Descriptors as ulong of eight bytes and as symbols, lists and maps of four-byte sizes."""
        for head in (b"\0\x80" + bytes(7) + b"\x73",
                     b"\0\xb3\0\0\0\x14amqp:properties:list"):
            body = head + lst([NULL, NULL, string("to", True)], True) + \
                b"\0\x80" + bytes(7) + b"\x74" + mapping({"k": string("v", True)}, True) + \
                b"\0\x80" + bytes(7) + b"\x75" + binary(b"body", True)
            link = self.session().receiver(self.topic, credit=1)
            self.assertEqual(self.session().sender(self.topic).send(bytes(body)).name, "accepted")
            got = link.session.wait("transfer")
            self.assertTrue(got.payload.endswith(body), got.payload.hex())
            self.topic += "/next"

    def test_header_defaults_are_left_out_or_said(self):
        got = self.sent(message(b"x"))
        self.assertIn(got.header.priority, (None, 4))
        self.assertIn(got.header.durable, (None, False))
        self.assertFalse(got.header.delivery_count)

    def test_properties_as_proton_and_rhea_see_them(self):
        receivers = self.client(Proton), self.client(Rhea)
        for receiver in receivers:
            receiver.subscribe(self.topic)
        sender = self.client(Proton)
        made = proton.Message(body="b", id=uuid.UUID(int=5), subject="s", reply_to="r",
                              correlation_id=7, content_type="text/x", group_id="g",
                              properties={"i": proton.int32(5), "s": "t", "b": True})
        sender.send(self.topic, made)
        got = receivers[0].receivers[self.topic].receive()
        for name in "id", "subject", "reply_to", "correlation_id", "content_type", "group_id", \
                "properties", "body":
            self.assertEqual(getattr(got, name), getattr(made, name), name)
        got = receivers[1].take(self.topic, 1)[0]
        self.assertEqual((got.content_type, got.application), ("text/x", {"i": 5, "s": "t", "b": True}))


class Sizes(Through):
    """Queues, so that the broker keeps the whole message."""

    def raw(self, size, mine, theirs):
        """A message of size bytes, sent in frames of `mine` and received in frames of `theirs`."""
        name = self.address("/%d-%d-%d" % (size, mine, theirs))
        body = (b"%d " % size * (size // 2 + 1))[:size]
        whole = message(body, properties={"subject": "large"})
        sender = self.session().sender(name)
        self.assertGreaterEqual(sender.remote.max_message_size or 2**64, size + 1000)
        sender.credited()
        number = sender.transfer(whole, room=mine - 60)
        self.assertEqual(sender.outcome(number).name, "accepted")
        session = self.session(max_frame_size=theirs)
        link = session.receiver(name, credit=1)
        sizes, parts, more = [], [], True
        while more:
            got = session.raw.pick(lambda each: each.name == "transfer")
            sizes.append(len(got.raw))
            parts.append(got.payload)
            more = got.performative.more
        self.assertLessEqual(max(sizes), theirs)
        if len(sizes) > 1:
            self.assertGreater(min(sizes[:-1]), theirs * 3 // 4, "frames are not filled")
        got = Message(b"".join(parts))
        self.assertTrue(got.bare == whole, "%d bytes instead of %d" % (len(got.bare), len(whole)))
        link.session.dispose(True, 0)
        self.depth(name, 0)

    def test_sizes_around_the_edges_of_a_frame(self):
        for size in 0, 1, 200, 400, 420, 440, 460, 480, 500, 512, 513, 1000, 1024, 65535, 65536:
            with self.subTest(size):
                self.raw(size, 512, 512)

    def test_1_MiB_at_each_frame_size(self):
        for mine, theirs in ((512, 4096), (4096, 512), (65536, 1 << 20), (1 << 20, 65536)):
            with self.subTest("%d to %d" % (mine, theirs)):
                self.raw(1 << 20, mine, theirs)

    def test_10_MiB_in_frames_of_512_bytes(self):
        self.raw(10 << 20, 512, 512)

    def test_10_MiB_in_frames_of_1_MiB(self):
        self.raw(10 << 20, 1 << 20, 1 << 20)

    def test_10_MiB_by_proton(self):
        body = bytes(range(256)) * (10 << 12)
        for frame_size in 512, 1 << 20:
            sender = self.client(Proton, max_frame_size=frame_size)
            receiver = self.client(Proton, max_frame_size=frame_size)
            name = self.address("/%d" % frame_size)
            self.assertEqual(sender.send(name, sender.message(data=body)), ["accepted"])
            got = receiver.take(name, 1)[0]
            self.assertTrue(bytes(got.body) == body)

    def test_4_MiB_by_rhea(self):
        """rhea opens its window of 2,048 frames between deliveries only, so at 512 bytes a delivery
        cannot have more."""
        for frame_size, size in ((512, 3 << 10), (4096, 4 << 12), (1 << 20, 4 << 12)):
            body = bytes(range(256)) * size
            client = self.client(Rhea, max_frame_size=frame_size)
            name = self.address("/%d" % frame_size)
            self.assertEqual(client.send(name, client.message(data=body)), ["accepted"])
            got = client.take(name, 1)[0]
            self.assertTrue(got.whole.body == body)
            self.assertTrue(got.whole.bare == Message(client.sent[0]).bare)

    def test_two_large_ones_at_once(self):
        """Deliveries of different links may lie between one another (2.6.14); each is whole."""
        session = self.session()
        links = [session.sender(self.address("/%d" % n)) for n in range(2)]
        for link in links:
            link.credited()
        bodies = [message(b"%d" % n * 50000) for n in range(2)]
        for at in range(0, len(bodies[0]), 1000):
            for n, link in enumerate(links):
                said = {"delivery_id": n, "delivery_tag": b"%d" % n} if not at else {}
                session.put("transfer", bodies[n][at:at + 1000], handle=link.handle,
                            more=at + 1000 < len(bodies[n]), **said)
        for n, link in enumerate(links):
            self.assertEqual(link.outcome(n).name, "accepted")
            got = self.session().receiver(self.address("/%d" % n), credit=1).take()[0]
            self.assertTrue(got.message.bare == bodies[n])


if __name__ == "__main__":
    main()
