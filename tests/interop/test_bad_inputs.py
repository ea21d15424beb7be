"""What must be refused: the table of tests/vectors/mqtt-bad-inputs.txt, and the rows that are made
by rule (truncations, flags, properties) or need more than bytes. After each of them a client that
was connected all the time publishes and receives at once, and nobody has got anything else.
"""

import os
import socket
import time
import unittest

import vectors
import wire
from broker import DEADLINE, PEER, SANITIZED, SLOW, Broker, BrokerCase, main
from raw import Closed, Raw

DEVIATIONS = (
    ("it accepts lengths that are not the shortest", """
        test_row02_v5_remaining_length_of_three_bytes_for_five
        test_row02_v5_remaining_length_of_two_bytes_for_zero
    """),
    ("it ignores what follows", """
        test_row03_v4_bytes_after_the_end_of_PINGREQ
        test_row03_v4_bytes_after_the_end_of_PUBACK
        test_row03_v5_bytes_after_the_end_of_PINGREQ
        test_row03_v5_bytes_after_the_properties_of_PUBACK
    """),
    ("it does not look at most reserved flags", """
        test_row05_flags_v4
        test_row05_flags_v5
        test_violation_in_a_burst
    """),
    ("it has no packet limit by default", """
        test_row06_v4_CONNECT_of_100_000_bytes_announced_in_the_header_only
        test_row06_v4_larger_than_the_maximum_announced_in_the_header_only
        test_row06_v5_CONNECT_of_256_MiB_with_the_start_of_a_body
        test_row06_v5_larger_than_the_maximum_announced_in_the_header_only
        test_row06_v5_one_byte_more_than_the_maximum_announced_in_the_header_only
    """),
    ("it ignores them, as a bridge would get them", """
        test_row07_v4_PINGRESP_from_a_client
        test_row07_v4_SUBACK_from_a_client
        test_row07_v4_UNSUBACK_from_a_client
        test_row07_v5_PINGRESP_from_a_client
        test_row07_v5_SUBACK_from_a_client
        test_row07_v5_UNSUBACK_from_a_client
    """),
    ("its CONNACK is that of 3.1.1", """
        test_row11_v5_version_255
        test_row11_v5_version_6
    """),
    ("accepted", """
        test_row23_v5_authentication_data_without_a_method
        test_row27_v4_DUP_with_QoS_0
        test_row27_v5_DUP_with_QoS_0
        test_row33_v5_subscription_identifier_in_a_client_s_PUBLISH
        test_row38_v5_hash_in_the_response_topic
        test_row38_v5_plus_in_the_response_topic_QoS_1
    """),
    ("it drops clients later, by their keep alive", """
        test_row24_connect_never_completes
    """),
    ("PUBREC 0x97 instead", """
        test_row34_over_receive_maximum
    """),
    ("a repeated PUBLISH on one connection is an error to it", """
        test_row35_repeated_qos2_id_v4
        test_row35_repeated_qos2_id_v5
    """),
    ("success for an unknown id", """
        test_row36_released_twice
        test_row36_v5_PUBREC_for_an_unknown_id
        test_row36_v5_PUBREL_for_an_unknown_id
    """),
    ("it does not look at payloads", """
        test_row37_text_is_not_delivered
        test_row37_v5_text_that_is_not_UTF_8_QoS_0
        test_row37_v5_text_that_is_not_UTF_8_QoS_1
        test_row37_v5_text_that_is_not_UTF_8_QoS_2
        test_row37_v5_will_that_is_not_UTF_8
    """),
    ("it has shared subscriptions, and takes these for plain filters", """
        test_row45_v5_no_local_on_a_shared_subscription
        test_row45_v5_share_and_nothing
        test_row45_v5_share_with_a_name_and_no_filter
        test_row45_v5_share_with_an_empty_filter
        test_row45_v5_share_with_an_empty_name
    """),
)
MOSQUITTO_DEVIATES = {name: reason for reason, names in DEVIATIONS for name in names.split()}

SHARED = {}
TIME_TO_CONNECT = 10


def setUpModule():
    """One broker for the whole file. Three connections that never complete are begun at once."""
    broker = SHARED["broker"] = Broker().start()
    SHARED["start"] = time.monotonic()
    for name, data in (("silent", b""), ("half", wire.connect("half", 5)[:9]),
                       ("drip", wire.frame(wire.CONNECT, 0, b"\0\4MQTT\4\2\0\0" +
                                           wire.binary("d" * 60000))[:12])):
        SHARED[name] = Raw(broker)
        SHARED[name].send(data)


def tearDownModule():
    SHARED.pop("broker").stop()


class Good:
    """The good client. It sees every message there is, and alone publishes its marks."""

    def __init__(self, broker):
        self.raw, self.count = Raw(broker, 5), 0
        self.raw.connect("good", keep_alive=0)
        self.raw.subscribe("#", qos=1)

    def works(self):
        """Publishes and receives; returns what else was received, as topics."""
        self.count += 1
        mark = b"good %d" % self.count
        self.raw.publish("good", mark, 1)
        topics = []
        while True:
            packet = self.raw.message()
            if packet.payload == mark:
                return topics
            topics.append(packet.topic)


class Bad(BrokerCase):
    @classmethod
    def setUpClass(cls):
        cls.broker = SHARED["broker"]
        cls.good = Good(cls.broker)

    @classmethod
    def tearDownClass(cls):
        cls.good.raw.drop()

    def setUp(self):
        super().setUp()
        self.good.works()

    def raw(self, version, **fields):
        made = Raw(self.broker, version)
        self.addCleanup(made.drop)
        made.connack = made.connect(**fields)
        return made

    def unhurt(self, *topics):
        """The good client still works and gets these, however late, and nothing else."""
        got = self.good.works()
        while len(got) < len(topics):
            got.append(self.good.raw.message().topic)
        self.assertEqual(got, list(topics))
        try:
            SHARED["drip"].socket.send(b"d")
        except OSError:
            pass

    def refused(self, raw, *codes):
        """5.0: DISCONNECT with one of codes, and the end. 3.1.1: the end."""
        if PEER == "mosquitto":
            try:
                raw.expect(wire.DISCONNECT)
            except Closed:
                return
            raw.closed()
        else:
            raw.disconnected(*codes)

    def not_connected(self, raw, *codes):
        """CONNACK with one of codes (5.0 only), or nothing, and the end."""
        try:
            packet = raw.expect(wire.CONNACK)
        except Closed:
            return
        if raw.version == 4 or (PEER != "mosquitto" and packet.code not in codes):
            self.fail("unexpected %s" % packet)
        raw.closed()


def answer(raw, wanted):
    """Checks one answer against one alternative; raises AssertionError if it is another one."""
    word, *values = wanted.split()
    codes = list(bytes.fromhex("".join(values)))
    if word == "close":
        raw.closed()
    elif word in ("disconnect", "connack"):
        packet = raw.expect(wire.DISCONNECT if word == "disconnect" else wire.CONNACK)
        if packet.code != codes[0]:
            raise AssertionError("%s instead of %s" % (packet, wanted))
        raw.closed()
    elif word == "connected":
        raw.expect(wire.CONNACK, code=0)
    elif word == "bytes":
        packet = raw.packet()
        if packet.raw != bytes(codes):
            raise AssertionError("%s instead of %s" % (packet.raw.hex(), wanted))
    elif word in ("suback", "unsuback"):
        raw.expect(wire.NAMES.index(word.upper()), codes=codes)
    elif word != "open":
        raw.expect(wire.NAMES.index(word.upper()), code=codes[0])


def one_of(raw, alternatives):
    """Reads one answer (or the end) and compares it with each alternative."""
    if "open" in alternatives:
        raw.send(wire.pingreq())
    try:
        first = raw.packet()
    except Closed:
        if "close" in alternatives or PEER == "mosquitto":
            return False
        raise AssertionError("closed instead of %s" % " or ".join(alternatives)) from None
    if "open" in alternatives and first.type == wire.PINGRESP:
        return True
    if PEER == "mosquitto" and first.type == wire.DISCONNECT:
        return False
    for wanted in alternatives:
        raw.inbox.insert(0, first)
        try:
            answer(raw, wanted)
            alive = wanted.split()[0] not in ("disconnect", "connack", "close")
            if alive and "open" in alternatives:
                raw.expect(wire.PINGRESP)
            return alive
        except AssertionError:
            raw.inbox.clear()
    raise AssertionError("%s instead of %s" % (first, " or ".join(alternatives)))


def play(broker, case):
    """One case of the table on a connection of its own."""
    with Raw(broker, case.version) as raw:
        if case.state == "connected":
            raw.connect("bad")
        raw.send(*case.sent)
        alive = True
        for alternatives in case.answers:
            alive = one_of(raw, alternatives)
        if alive:
            raw.ping()
            raw.leave()


class Table(Bad):
    """The table. Each case becomes a test of its own below."""

    def one(self, case):
        play(self.broker, case)
        self.unhurt(*case.delivered)


def add_cases():
    for case in vectors.bad_inputs():
        def test(self, case=case):
            self.one(case)
        test.__doc__ = "%s: %s" % (case, case.clause)
        setattr(Table, "test_" + case.slug, test)


add_cases()


def full_packets(version):
    """Every kind of packet a client sends, with every field; name -> (bytes, legal cuts)."""
    user = [("user", ("k", "v"))]
    both = (lambda pairs: pairs + user) if version == 5 else (lambda pairs: None)
    ack = {"code": 0x80, "properties": [("reason", "r")] + user} if version == 5 else {}
    publish = wire.publish("t/t", "payload", 2, 7, version=version, properties=both(
        [("payload_format", 0), ("message_expiry", 9), ("content_type", "c"),
         ("response_topic", "r"), ("correlation_data", b"d"), ("topic_alias", 1)]))
    subscribe = wire.subscribe(7, [("a", 0), ("b/+", 1)], version,
                               both([("subscription_id", 300)]))
    unsubscribe = wire.unsubscribe(7, ["a", "b/+"], version, both([]))
    packets = {
        "PUBLISH": (publish, range(len(publish) - 2 - 7, len(publish))),
        "SUBSCRIBE": (subscribe, (len(subscribe) - 2 - 6,)),
        "UNSUBSCRIBE": (unsubscribe, (len(unsubscribe) - 2 - 5,)),
    }
    for kind in wire.PUBACK, wire.PUBREC, wire.PUBREL, wire.PUBCOMP:
        packets[wire.NAMES[kind]] = (wire.ack(kind, 7, **ack), (2, 3) if version == 5 else ())
    if version == 5:
        pairs = [("session_expiry", 0), ("reason", "r")] + user
        packets["DISCONNECT"] = (wire.disconnect(4, pairs), (0, 1))
    return packets


def full_connect(version):
    user = [("user", ("k", "v"))]
    return wire.connect("trunc", version, True, 60, {
        "topic": "w", "payload": "w", "qos": 1, "retain": True, "properties": [
            ("will_delay", 1), ("payload_format", 0), ("message_expiry", 9), ("content_type", "c"),
            ("response_topic", "r"), ("correlation_data", b"d")] + user}, "user", "pass",
        [("session_expiry", 0), ("receive_maximum", 9), ("maximum_packet_size", 999),
         ("topic_alias_maximum", 1), ("request_response", 0), ("request_problem", 1)] + user)


class Generated(Bad):
    """Rows that follow a rule."""

    def test_row03_truncated_at_every_field_v4(self):
        self.truncated(4)

    def test_row03_truncated_at_every_field_v5(self):
        self.truncated(5)

    def truncated(self, version):
        """5.0 4.13, 3.1.1 4.8. A packet cut short whose length says so. A SUBSCRIBE that is left
        without a filter is a protocol error (5.0 3.8.3)."""
        for name, (packet, legal) in full_packets(version).items():
            body = packet[2:]
            self.assertEqual(packet[1], len(body))
            for cut in range(len(body)):
                if cut in legal:
                    continue
                with self.subTest(name, cut=cut), Raw(self.broker, version) as raw:
                    raw.connect("truncated")
                    raw.send(bytes([packet[0]]) + wire.var(cut) + body[:cut])
                    if name.endswith("SUBSCRIBE") and cut in self.without_filters(version, name):
                        self.refused(raw, 0x82, 0x81)
                    else:
                        self.refused(raw, 0x81)
            self.unhurt()

    @staticmethod
    def without_filters(version, name):
        if version == 4:
            return (2,)
        return (2 + 11,) if name == "SUBSCRIBE" else (2 + 8,)

    def test_row03_truncated_connect_v4(self):
        self.truncated_connect(4)

    def test_row03_truncated_connect_v5(self):
        self.truncated_connect(5)

    def truncated_connect(self, version):
        packet = full_connect(version)
        body = packet[len(packet) - self.remaining(packet):]
        for cut in range(len(body)):
            with self.subTest(cut=cut), Raw(self.broker, version) as raw:
                raw.send(b"\x10" + wire.var(cut) + body[:cut])
                self.not_connected(raw, 0x81)
        self.unhurt()

    @staticmethod
    def remaining(packet):
        """The remaining length that the packet's header says."""
        return wire.Cursor(packet[1:]).var()

    def test_row03_cut_off_v4(self):
        self.cut_off(4)

    def test_row03_cut_off_v5(self):
        self.cut_off(5)

    def cut_off(self, version):
        """The connection ends inside a packet: nothing happens but that it ends."""
        for packet, _ in full_packets(version).values():
            for cut in range(1, len(packet)):
                with Raw(self.broker, version) as raw:
                    raw.connect("cut off")
                    raw.send(packet[:cut])
                    raw.socket.shutdown(socket.SHUT_WR)
                    raw.closed()
        self.unhurt()

    def test_row05_flags_v4(self):
        self.flags(4)

    def test_row05_flags_v5(self):
        self.flags(5)

    def flags(self, version):
        """5.0 2.1.3, 3.1.1 2.2.2: reserved flags"""
        packets = {name: packet for name, (packet, _) in full_packets(version).items()
                   if name != "PUBLISH"}
        packets["PINGREQ"], packets["DISCONNECT"] = wire.pingreq(), wire.disconnect()
        for name, packet in packets.items():
            right = packet[0] & 15
            for flags in range(16):
                if flags == right:
                    continue
                with self.subTest(name, flags=flags), Raw(self.broker, version) as raw:
                    raw.connect("flags")
                    raw.send(bytes([packet[0] & 0xF0 | flags]) + packet[1:])
                    self.refused(raw, 0x81)
            self.unhurt()
        for flags in range(1, 16):
            with self.subTest("CONNECT", flags=flags), Raw(self.broker, version) as raw:
                raw.send(bytes([0x10 | flags]) + wire.connect("flags", version)[1:])
                self.not_connected(raw, 0x81)
        self.unhurt()

    values = {"u8": 0, "u16": 1, "u32": 1, "var": 1, "str": "s", "bin": b"s", "pair": ("k", "v")}

    def properties(self, wanted, codes):
        """Sends each packet with the property lists that wanted(kind) yields."""
        makers = {
            wire.PUBLISH: lambda p: wire.publish("p", "x", 0, version=5, properties=p),
            wire.SUBSCRIBE: lambda p: wire.subscribe(1, [("p", 0)], 5, p),
            wire.UNSUBSCRIBE: lambda p: wire.unsubscribe(1, ["p"], 5, p),
            wire.DISCONNECT: lambda p: wire.disconnect(0, p),
        }
        for kind in wire.PUBACK, wire.PUBREC, wire.PUBREL, wire.PUBCOMP:
            makers[kind] = lambda p, kind=kind: wire.ack(kind, 1, 0, p)
        for kind, make in makers.items():
            for pairs in wanted(kind):
                with self.subTest(wire.NAMES[kind], pairs=pairs), Raw(self.broker, 5) as raw:
                    raw.connect("properties")
                    raw.send(make(pairs))
                    self.refused(raw, *codes)
            self.unhurt()
        will = {"topic": "w", "payload": "w"}
        for kind, make in (
                (wire.CONNECT, lambda p: wire.connect("p", 5, properties=p)),
                (wire.WILL, lambda p: wire.connect("p", 5, will=dict(will, properties=p)))):
            for pairs in wanted(kind):
                with self.subTest(kind=kind, pairs=pairs), Raw(self.broker, 5) as raw:
                    raw.send(make(pairs))
                    self.not_connected(raw, *codes)
        self.unhurt()

    def test_row18_property_not_allowed(self):
        """5.0 2.2.2.2: each property in each packet that may not carry it"""
        def wanted(kind):
            for name, value_kind, where in wire.PROPERTIES.values():
                # Row 33 has the subscription identifier of PUBLISH.
                if kind not in where:
                    yield [(name, self.values[value_kind])]
        self.properties(wanted, (0x81,))

    def test_row19_property_twice(self):
        """5.0 3.1.2.11, 3.3.2.3 and so on: each property that may be there once"""
        def wanted(kind):
            for name, value_kind, where in wire.PROPERTIES.values():
                if kind in where and name not in ("user", "server_reference") and \
                        not (kind == wire.PUBLISH and name == "subscription_id"):
                    value = 0 if name == "session_expiry" else self.values[value_kind]
                    yield [(name, value), (name, value)]
        self.properties(wanted, (0x82,))

    def test_row21_many_user_properties(self):
        """100,000 of them in a packet below the limit: delivered or refused, and in linear time"""
        took = []
        for count in 10000, 100000:
            raw = self.raw(5)
            start = time.monotonic()
            raw.send(wire.publish("many", "x", 1, 1, version=5,
                                  properties=[("user", ("", ""))] * count))
            packet = raw.packet()
            took.append(time.monotonic() - start)
            if packet.type == wire.PUBACK and packet.code < 0x80:
                got = self.good.raw.message()
                self.assertEqual(len(got.props["user"]), count)
            else:
                self.assertIn(packet.code, (0x95, 0x97))
            self.unhurt()
        self.assertLess(took[1], 10 * took[0] + 2 * SLOW)

    def test_row21_many_user_properties_in_connect(self):
        with Raw(self.broker, 5) as raw:
            raw.send(wire.connect("many", 5, properties=[("user", ("", ""))] * 12000))
            self.assertIn(raw.expect(wire.CONNACK).code, (0, 0x95, 0x97))
        self.unhurt()


class State(Bad):
    """Rows that need a history."""

    def test_row25_take_over_v4(self):
        old = self.raw(4, client_id="twin")
        self.raw(4, client_id="twin").ping()
        old.closed()
        self.unhurt()

    def test_row25_take_over_v5(self):
        """5.0 3.1.4 [MQTT-3.1.4-3]"""
        old = self.raw(5, client_id="twin")
        self.raw(5, client_id="twin").ping()
        self.refused(old, 0x8E)
        self.unhurt()

    def test_row25_take_over_storm(self):
        """Twenty connections with one client id: the last one stays, between versions too."""
        storm = [Raw(self.broker, 4 + n % 2) for n in range(20)]
        for n, raw in enumerate(storm):
            raw.send(wire.connect("storm", 4 + n % 2), wire.subscribe(
                1, [("storm", 0)], 4 + n % 2))
        survivors = 0
        for raw in storm:
            self.addCleanup(raw.drop)
            try:
                raw.wait(wire.SUBACK)
            except Closed:
                continue
        last = self.raw(5, client_id="storm")
        for raw in storm:
            try:
                while True:
                    raw.packet()
            except Closed:
                survivors += 1
        self.assertEqual(survivors, 20)
        last.ping()
        self.unhurt()

    def test_row33_subscription_still_works(self):
        """The id of a subscription comes with deliveries to it, not with the publisher's packet."""
        raw = self.raw(5)
        raw.subscribe("own", qos=1, properties={"subscription_id": 5})
        raw.publish("own", "x", 1)
        self.assertEqual(raw.message().props["subscription_id"], [5])
        self.unhurt("own")

    def test_row34_over_receive_maximum(self):
        """5.0 3.3.4 [MQTT-3.3.4-8], 4.9"""
        raw = self.raw(5)
        window = raw.connack.props.get("receive_maximum", 65535)
        raw.send(*[wire.publish("over", "x", 2, n, version=5) for n in range(1, window + 2)])
        packet, taken = raw.packet(), 0
        while packet.type == wire.PUBREC and taken < window:
            taken += 1
            self.assertEqual(packet.packet_id, taken)
            packet = raw.packet()
        self.assertEqual((packet.type, packet.code), (wire.DISCONNECT, 0x93))
        raw.closed()
        # What was acknowledged is delivered; the rest of the window may be.
        got = []
        self.eventually(lambda: got.extend(self.good.works()) or len(got) >= taken, "lost")
        self.assertLessEqual(set(got), {"over"})

    def test_row35_repeated_qos2_id_v4(self):
        self.repeated(4)

    def test_row35_repeated_qos2_id_v5(self):
        self.repeated(5)

    def repeated(self, version):
        """3.1.1 and 5.0 4.3.3"""
        raw = self.raw(version)
        packet = wire.publish("twice", "x", 2, 9, dup=True, version=version)
        for _ in range(3):
            raw.send(packet)
            raw.expect(wire.PUBREC, packet_id=9, code=0)
        raw.send(wire.ack(wire.PUBREL, 9))
        raw.expect(wire.PUBCOMP, packet_id=9, code=0)
        self.unhurt("twice")

    def test_row36_released_twice(self):
        """5.0 3.7.2.1: the second PUBREL finds nothing"""
        raw = self.raw(5)
        raw.publish("once", "x", 2)
        packet_id = next(raw.ids) - 1
        raw.send(wire.ack(wire.PUBREL, packet_id))
        raw.expect(wire.PUBCOMP, packet_id=packet_id, code=0x92)
        self.unhurt("once")

    def test_row36_wrong_kind_of_acknowledgement(self):
        """PUBACK for a QoS 2 delivery, PUBREC for a QoS 1 delivery, PUBCOMP before PUBREC: whatever
        the answer, nobody else is hurt and nothing is delivered twice."""
        for version in 4, 5:
            for qos, kind in ((2, wire.PUBACK), (1, wire.PUBREC), (2, wire.PUBCOMP)):
                raw = self.raw(version)
                raw.subscribe("wrong", qos=qos)
                sender = self.raw(4)
                sender.publish("wrong", "x", qos)
                packet = raw.expect(wire.PUBLISH, qos=qos)
                raw.send(wire.ack(kind, packet.packet_id), wire.pingreq())
                try:
                    while raw.packet().type not in (wire.PINGRESP, wire.DISCONNECT):
                        pass
                except Closed:
                    pass
                raw.drop()
                self.unhurt("wrong")

    def test_row37_text_is_not_delivered(self):
        """A refused payload changes no retained message either."""
        raw = self.raw(5)
        raw.publish("text", "good", 1, retain=True)
        self.unhurt("text")
        raw.send(wire.publish("text", b"\xff", 1, 99, retain=True, version=5,
                              properties={"payload_format": 1}))
        self.assertEqual(raw.packet().code, 0x99)
        reader = self.raw(5)
        reader.subscribe("text")
        self.assertEqual(reader.message().payload, b"good")
        reader.publish("text", "", 1, retain=True)
        self.unhurt("text")

    def test_row47_wildcards_and_dollar(self):
        """3.1.1 and 5.0 4.7.2. The good client has `#` and must get nothing of `$`."""
        for version in 4, 5:
            raw = self.raw(version)
            raw.subscribe("#", "+/#", "+/broker/#", "+/broker/version")
            raw.publish("mark", "mark", 1)
            self.assertEqual([p.topic for p in raw.until("mark") if p.topic.startswith("$")], [])
            raw.drop()
            self.unhurt("mark")

    def test_row48_many_levels_are_cheap(self):
        """The deepest legal filters, many of them, and a topic that walks along all."""
        raw = self.raw(5)
        filters = ["/".join(["+"] * n + ["x"] * (60 - n)) for n in range(60)]
        self.assertEqual(set(raw.subscribe(*filters, qos=0)) - {0}, set())
        raw.publish("/".join(["x"] * 60), "deep", 1)
        self.assertEqual(raw.message().payload, b"deep")
        self.unhurt("/".join(["x"] * 60))

    def test_row49_will_is_published(self):
        """5.0 3.14.2.2.2: it does not count as a DISCONNECT, so the will goes out"""
        raw = self.raw(5, will={"topic": "will49", "payload": "w"})
        raw.send(wire.disconnect(0, {"session_expiry": 10}))
        self.refused(raw, 0x82)
        self.eventually(lambda: "will49" in self.good.works(), "no will")

    def test_violation_in_a_burst(self):
        """What came before the violation is done, what comes after it is not."""
        raw = self.raw(5)
        raw.send(wire.publish("before", "x", 1, 1, version=5), b"\xc1\x00",
                 wire.publish("after", "x", 1, 2, version=5))
        packet = raw.packet()
        if packet.type == wire.DISCONNECT:
            # An acknowledgement that other shards still owe may be lost with the connection.
            raw.inbox.append(packet)
        else:
            self.assertEqual((packet.type, packet.packet_id), (wire.PUBACK, 1))
        self.refused(raw, 0x81)
        self.unhurt("before")


class Retain(Bad):
    """Row 40, on a broker without retained messages."""

    @classmethod
    def setUpClass(cls):
        cls.broker = Broker(["retain_available false"]).start()
        cls.good = Good(cls.broker)

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.broker.stop()

    def test_row40_retain_not_available_v5(self):
        """5.0 3.2.2.3.5 [MQTT-3.2.2-14]"""
        raw = self.raw(5)
        raw.send(wire.publish("a", "m", retain=True, version=5))
        self.refused(raw, 0x9A)
        self.unhurt()

    def test_row40_will_retain_not_available_v5(self):
        """5.0 3.2.2.3.5 [MQTT-3.2.2-13]"""
        with Raw(self.broker, 5) as raw:
            raw.send(wire.connect("x", 5, will={"topic": "a", "payload": "", "retain": True}))
            self.not_connected(raw, 0x9A)
        self.unhurt()


class Table20(Bad):
    """Memory: the whole table again and again."""

    @unittest.skipIf(SANITIZED, "the memory of a sanitizer build says nothing")
    def test_no_memory_is_kept(self):
        cases = [case for case in vectors.bad_inputs()
                 if not (PEER == "mosquitto" and "test_" + case.slug in MOSQUITTO_DEVIATES)]
        sizes = []
        for times in 3, 20:
            for _ in range(times):
                for case in cases:
                    play(self.broker, case)
                self.good.works()
            sizes.append(self.broker.resident())
        grown = sizes[1] - sizes[0]
        self.assertLess(grown, 1 << 20, "%d bytes more after %d cases" % (grown, 20 * len(cases)))


class TimeToConnect(Bad):
    """Row 24; last, so that the time has passed with the other tests."""

    def test_row24_connect_never_completes(self):
        """3.1.1 and 5.0 3.1.4: a CONNECT within a reasonable time"""
        for name in "silent", "half", "drip":
            with self.subTest(name):
                left = SHARED["start"] + (TIME_TO_CONNECT + 5) * SLOW - time.monotonic()
                raw = SHARED[name]
                raw.closed(max(left, DEADLINE / 10))
        self.unhurt()


if __name__ == "__main__":
    if os.environ.get("TREFOIL_BAD_INPUTS") == "list":
        for entry in vectors.bad_inputs():
            print(entry, "|", " / ".join(data.hex()[:64] for data in entry.sent))
    else:
        main()
