"""The classic list of interoperability, one named test each: what 3.1.1 and 5.0 have in common, for
both. What only 5.0 has is in test_classic5.py, what needs a configuration in test_configured.py.
"""

import select
import time

import wire
from broker import SLOW, main
from classic import MOSQUITTO_DEVIATES, Base
from raw import Raw

__all__ = ["MOSQUITTO_DEVIATES"]


class Both:
    """What applies to both versions."""

    def test_basic_qos_pairs(self):
        """At the lower of the publisher's and the subscriber's QoS (3.1.1 and 5.0 3.8.4)"""
        publisher = self.raw()
        for granted in 0, 1, 2:
            subscriber = self.raw()
            self.assertEqual(subscriber.subscribe(self.topic("/+"), qos=granted), [granted])
            for qos in 0, 1, 2:
                text = "%d to %d" % (qos, granted)
                publisher.publish(self.topic("/a"), text, qos)
                got = subscriber.message()
                self.assertEqual((got.topic, got.payload, got.qos, got.retain, got.dup),
                                 (self.topic("/a"), text.encode(), min(qos, granted), False, False))
            subscriber.leave()

    def test_basic_own_messages(self):
        client = self.raw()
        client.subscribe(self.topic(), qos=2)
        client.publish(self.topic(), "to myself", 2)
        self.assertEqual(client.message().payload, b"to myself")

    def test_basic_empty_and_binary_payload(self):
        client = self.raw()
        client.subscribe(self.topic(), qos=1)
        for payload in b"", bytes(range(256)), b"\0" * 70000:
            client.publish(self.topic(), payload, 1)
            self.assertEqual(client.message().payload, payload)

    def test_basic_wildcards(self):
        """MQTT 3.1.1 and 5.0 4.7.1"""
        client = self.raw()
        base = self.topic()
        for filter_, yes, no in (
                ("/+", ("/a", "/"), ("", "/a/b", "x/a")),
                ("/#", ("", "/a", "/a/b", "/"), ("x",)),
                ("/+/b", ("/a/b", "//b"), ("/b", "/a/b/c", "/a/c")),
                ("/a/+/#", ("/a/x", "/a/x/y/z"), ("/a", "/b/x")),
                ("/a", ("/a",), ("/A", "/a/", "/aa", "//a"))):
            client.subscribe(base + filter_, qos=1)
            for rest in yes + no:
                client.publish(base + rest, rest, 1)
            client.publish(base + (yes[0]), "fence", 1)
            self.assertEqual(self.payloads(client), [rest.encode() for rest in yes], filter_)
            client.unsubscribe(base + filter_)

    def test_basic_wildcards_at_the_top(self):
        """`/x` has an empty first level: `+/x` and `/+` match it, `+` does not (4.7.1.3)."""
        client = self.raw()
        rest = type(self).__name__ + "top"
        for filter_, count in (("+/" + rest, 1), ("/+", 1), ("+", 0)):
            client.subscribe(filter_, qos=1)
            client.publish("/" + rest, "m", 1)
            client.subscribe(self.topic(), qos=1)
            client.publish(self.topic(), "fence", 1)
            self.assertEqual(len([p for p in client.until("fence") if p.payload == b"m"]), count)
            client.unsubscribe(filter_)

    def test_retained(self):
        publisher = self.raw()
        for qos in 0, 1, 2:
            publisher.publish(self.topic("/%d" % qos), "old", qos, retain=True)
            publisher.publish(self.topic("/%d" % qos), "kept %d" % qos, qos, retain=True)
        publisher.publish(self.topic("/not"), "never retained", 1)
        late = self.raw()
        late.subscribe(self.topic("/+"), qos=2)
        got = sorted((late.message() for _ in range(3)), key=lambda p: p.payload)
        self.assertEqual([(p.payload, p.qos, p.retain) for p in got],
                         [(b"kept %d" % qos, qos, True) for qos in (0, 1, 2)])
        publisher.publish(self.topic("/1"), "fence", 1)
        self.assertEqual(self.payloads(late), [])

    def test_retained_cleared_by_empty(self):
        """MQTT 3.1.1 and 5.0 3.3.1.3"""
        publisher, present = self.raw(), self.raw()
        present.subscribe(self.topic(), qos=1)
        publisher.publish(self.topic(), "kept", 1, retain=True)
        publisher.publish(self.topic(), "", 1, retain=True)
        self.assertEqual([(p.payload, p.retain) for p in (present.message(), present.message())],
                         [(b"kept", False), (b"", False)])
        late = self.raw()
        late.subscribe(self.topic(), qos=1)
        publisher.publish(self.topic(), "fence", 1)
        self.assertEqual(self.payloads(late), [])

    def test_retained_again_on_each_subscribe(self):
        """MQTT 3.1.1 3.8.4, MQTT 5.0 3.3.1.3 with retain handling 0"""
        client = self.raw()
        client.publish(self.topic(), "kept", 1, retain=True)
        for _ in range(3):
            client.subscribe(self.topic(), qos=1)
            got = client.message()
            self.assertEqual((got.payload, got.retain), (b"kept", True))

    def test_retained_survives_its_publisher(self):
        publisher = self.raw()
        publisher.publish(self.topic(), "kept", 1, retain=True)
        publisher.leave()
        client = self.raw()
        client.subscribe(self.topic(), qos=1)
        self.assertEqual(client.message().payload, b"kept")

    def test_offline_queueing(self):
        """QoS 1 and 2 wait for their session, QoS 0 does not (3.1.1 3.1.2.4, 5.0 4.1)."""
        name = self.topic()
        self.fresh(name)
        client = self.session(name)
        client.subscribe(self.topic("/+"), qos=2)
        client.leave()
        publisher = self.raw()
        for qos in 0, 1, 2, 1, 2, 0:
            publisher.publish(self.topic("/a"), "q%d" % qos, qos)
        client = self.session(name)
        self.assertTrue(client.connack.session_present)
        publisher.publish(self.topic("/a"), "fence", 2)
        self.assertEqual([(p.payload, p.qos, p.dup) for p in client.until("fence")],
                         [(b"q1", 1, False), (b"q2", 2, False)] * 2)
        self.fresh(name)

    def test_offline_queueing_more_than_in_flight(self):
        """Hundreds of messages, well over the in-flight window, arrive in order."""
        name = self.topic()
        self.fresh(name)
        client = self.session(name)
        client.subscribe(self.topic(), qos=2)
        client.drop()
        publisher = self.raw()
        for number in range(300):
            publisher.publish(self.topic(), "%d" % number, 1 + number % 2)
        client = self.session(name)
        publisher.publish(self.topic(), "fence", 1)
        self.assertEqual(self.payloads(client), [b"%d" % number for number in range(300)])
        self.fresh(name)

    def test_overlapping_subscriptions(self):
        """One delivery, at the highest QoS of those that match (3.1.1 3.3.5, 5.0 3.3.4)."""
        client, publisher = self.raw(), self.raw()
        client.subscribe(self.topic("/#"), qos=1)
        client.subscribe(self.topic("/+"), qos=2)
        client.subscribe(self.topic("/a"), qos=0)
        publisher.publish(self.topic("/a"), "once", 2)
        publisher.publish(self.topic("/a"), "fence", 2)
        self.assertEqual([(p.payload, p.qos) for p in client.until("fence")], [(b"once", 2)])

    def test_subscription_replaced(self):
        """The same filter again replaces the subscription (3.1.1 and 5.0 3.8.4)."""
        client = self.raw()
        client.subscribe(self.topic(), qos=2)
        client.subscribe(self.topic(), qos=0)
        client.publish(self.topic(), "once", 2)
        client.publish(self.topic(), "fence", 2)
        self.assertEqual([(p.payload, p.qos) for p in client.until("fence")], [(b"once", 0)])

    def test_keep_alive_closes(self):
        """MQTT 3.1.1 and 5.0 3.1.2.10: after one and a half times the keep alive"""
        client = Raw(self.broker, self.version)
        start = time.monotonic()
        client.connect(keep_alive=1)
        if self.version == 5:
            client.disconnected(0x8D)
        else:
            client.closed()
        elapsed = time.monotonic() - start
        self.assertGreater(elapsed, 1.4)
        self.assertLess(elapsed, 3 * SLOW)

    def test_keep_alive_kept_by_ping(self):
        silent, alive = self.raw(keep_alive=1, version=4), self.raw(keep_alive=1)
        while not select.select([silent.socket], [], [], 0.4)[0]:
            alive.ping()
        silent.closed()
        alive.ping()

    def test_keep_alive_kept_by_publish(self):
        silent, alive = self.raw(keep_alive=1, version=4), self.raw(keep_alive=1)
        while not select.select([silent.socket], [], [], 0.4)[0]:
            alive.publish(self.topic(), "x", 0)
        silent.closed()
        alive.ping()

    def test_keep_alive_zero_never_closes(self):
        client = self.raw(keep_alive=0)
        self.let_pass(1.5)
        client.ping()

    def test_redelivery_on_reconnect_qos1(self):
        """MQTT 3.1.1 and 5.0 4.4: unacknowledged PUBLISH packets again, same ids, in order"""
        name = self.topic()
        self.fresh(name)
        client = self.session(name)
        client.subscribe(self.topic("/#"), qos=1)
        publisher = self.raw()
        for number in range(3):
            publisher.publish(self.topic("/a"), "%d" % number, 1)
        first = [client.wait(wire.PUBLISH) for _ in range(3)]
        client.send(wire.ack(wire.PUBACK, first[0].packet_id))
        client.ping()
        client.drop()
        client = self.session(name)
        again = [client.message() for _ in range(2)]
        self.assertEqual([(p.payload, p.dup, p.packet_id) for p in again],
                         [(p.payload, True, p.packet_id) for p in first[1:]])
        client.ping()
        client.leave()
        client = self.session(name)
        publisher.publish(self.topic("/a"), "fence", 1)
        self.assertEqual(self.payloads(client), [])
        self.fresh(name)

    def test_redelivery_on_reconnect_qos2(self):
        """An unreceived PUBLISH comes again; after PUBREC only PUBREL does (4.3.3, 4.4)."""
        name = self.topic()
        self.fresh(name)
        client = self.session(name)
        client.subscribe(self.topic("/#"), qos=2)
        publisher = self.raw()
        publisher.publish(self.topic("/a"), "once", 2)
        first = client.expect(wire.PUBLISH, dup=False, qos=2)
        client.drop()
        client = self.session(name)
        second = client.expect(wire.PUBLISH, dup=True, payload=b"once", packet_id=first.packet_id)
        client.send(wire.ack(wire.PUBREC, second.packet_id))
        client.expect(wire.PUBREL, packet_id=first.packet_id)
        client.drop()
        client = self.session(name)
        client.expect(wire.PUBREL, packet_id=first.packet_id)
        client.send(wire.ack(wire.PUBCOMP, first.packet_id))
        client.ping()
        client.drop()
        client = self.session(name)
        publisher.publish(self.topic("/a"), "fence", 2)
        self.assertEqual(self.payloads(client), [])
        self.fresh(name)

    def test_publisher_resends_qos2_after_reconnect(self):
        """The id of an unreleased QoS 2 message is part of the session (4.3.3)."""
        name = self.topic()
        self.fresh(name)
        witness = self.raw()
        witness.subscribe(self.topic(), qos=2)
        client = self.session(name)
        client.send(wire.publish(self.topic(), "once", 2, 77, version=self.version))
        client.expect(wire.PUBREC, packet_id=77)
        client.drop()
        client = self.session(name)
        client.send(wire.publish(self.topic(), "once", 2, 77, dup=True, version=self.version))
        client.expect(wire.PUBREC, packet_id=77)
        client.send(wire.ack(wire.PUBREL, 77))
        client.expect(wire.PUBCOMP, packet_id=77)
        client.publish(self.topic(), "fence", 2)
        self.assertEqual(self.payloads(witness), [b"once"])
        self.fresh(name)

    def test_qos2_exactly_once(self):
        """A repeated packet id before PUBREL is the same message, after it a new one (4.3.3)."""
        witness, client = self.raw(), self.raw()
        witness.subscribe(self.topic(), qos=2)
        for dup in False, True, True:
            client.send(wire.publish(self.topic(), "one", 2, 5, dup=dup, version=self.version))
            client.expect(wire.PUBREC, packet_id=5, code=0)
        client.send(wire.ack(wire.PUBREL, 5))
        client.expect(wire.PUBCOMP, packet_id=5, code=0)
        client.send(wire.publish(self.topic(), "two", 2, 5, version=self.version))
        client.expect(wire.PUBREC, packet_id=5)
        client.send(wire.ack(wire.PUBREL, 5))
        client.expect(wire.PUBCOMP, packet_id=5)
        client.publish(self.topic(), "fence", 2)
        self.assertEqual(self.payloads(witness), [b"one", b"two"])

    def test_subscribe_failure(self):
        """One bad filter of three is refused by its code, the others stand (3.9.3)."""
        client = self.raw()
        deep = self.topic("/") + "a/" * 400
        codes = client.subscribe(self.topic("/x"), deep, self.topic("/y"), qos=1)
        self.assertEqual((codes[0], codes[2]), (1, 1))
        self.assertIn(codes[1], (0x80,) if self.version == 4 else (0x80, 0x8F, 0x97))
        for rest in "/x", "/y":
            client.publish(self.topic(rest), rest, 1)
            self.assertEqual(client.message().payload, rest.encode())

    def test_dollar_topics(self):
        """MQTT 3.1.1 and 5.0 4.7.2: wildcards at the first level never match `$...`"""
        client = self.raw()
        client.subscribe("$SYS/broker/version")
        self.assertTrue(client.message().payload)
        client.unsubscribe("$SYS/broker/version")
        client.ping()
        client.inbox.clear()
        client.subscribe("#", "+/broker/version", "+/#")
        client.publish(self.topic(), "fence", 1)
        self.assertEqual([p.topic for p in client.until("fence") if p.topic.startswith("$")], [])

    def test_sys_topics(self):
        """mosquitto's names; what is counted is a number."""
        for rest in ("clients/connected", "clients/total", "messages/received", "messages/sent",
                     "bytes/received", "bytes/sent", "subscriptions/count",
                     "retained messages/count", "uptime"):
            with self.subTest(rest):
                client = self.raw()
                client.subscribe("$SYS/broker/" + rest)
                self.assertRegex(client.message().payload.decode(), r"^\d+( seconds)?$")
                client.leave()

    def test_sys_wildcard(self):
        client = self.raw()
        client.subscribe("$SYS/#")
        topics = set()
        while "$SYS/broker/version" not in topics:
            topics.add(client.message().topic)

    def test_unsubscribe(self):
        client = self.raw()
        client.subscribe(self.topic("/a"), self.topic("/b"), qos=1)
        codes = client.unsubscribe(self.topic("/a"), self.topic("/never"))
        if self.version == 5:
            self.assertEqual(codes, [0, 0x11])
        for rest in "/a", "/b":
            client.publish(self.topic(rest), rest, 1)
        client.publish(self.topic("/b"), "fence", 1)
        self.assertEqual(self.payloads(client), [b"/b"])

    def test_unsubscribe_compares_literally(self):
        """MQTT 3.1.1 and 5.0 3.10.4: character by character, `+` does not take `a`"""
        client = self.raw()
        client.subscribe(self.topic("/a"), qos=1)
        client.unsubscribe(self.topic("/+"), self.topic("/#"))
        client.publish(self.topic("/a"), "still", 1)
        self.assertEqual(client.message().payload, b"still")

    def test_take_over(self):
        """MQTT 3.1.1 and 5.0 3.1.4"""
        old = self.raw(self.topic())
        new = self.raw(self.topic())
        old.disconnected(0x8E)
        new.ping()

    def test_take_over_keeps_the_session(self):
        name = self.topic()
        self.fresh(name)
        old = self.session(name)
        old.subscribe(self.topic(), qos=1)
        publisher = self.raw()
        publisher.publish(self.topic(), "unacknowledged", 1)
        first = old.wait(wire.PUBLISH)
        new = self.session(name)
        self.assertTrue(new.connack.session_present)
        old.disconnected(0x8E)
        new.expect(wire.PUBLISH, payload=b"unacknowledged", dup=True, packet_id=first.packet_id)
        self.fresh(name)

    def test_take_over_publishes_the_will(self):
        """The old connection ended without DISCONNECT (3.1.1 3.1.2.5, 5.0 3.1.4)."""
        witness = self.raw()
        witness.subscribe(self.topic(), qos=1)
        self.raw(self.topic(), will={"topic": self.topic(), "payload": "taken over"})
        self.raw(self.topic())
        self.assertEqual(witness.message().payload, b"taken over")

    def test_session_present(self):
        name = self.topic()
        self.fresh(name)
        for clean, expected in ((False, False), (False, True), (False, True), (True, False),
                                (False, self.version == 5)):
            client = self.session(name, clean=clean)
            self.assertEqual(client.connack.session_present, expected, (clean, expected))
            client.leave()
        self.fresh(name)
        client = self.session(name)
        self.assertFalse(client.connack.session_present)
        client.leave()
        self.fresh(name)

    def test_session_present_after_drop(self):
        name = self.topic()
        self.fresh(name)
        for expected in False, True:
            client = self.session(name)
            self.assertEqual(client.connack.session_present, expected)
            client.ping()
            client.drop()
        self.fresh(name)

    def test_clean_discards_subscriptions(self):
        name = self.topic()
        client = self.session(name)
        client.subscribe(self.topic(), qos=1)
        client.leave()
        client = self.raw(name, clean=True)
        client.publish(self.topic(), "nobody", 1)
        client.subscribe(self.topic(), qos=1)
        client.publish(self.topic(), "fence", 1)
        self.assertEqual(self.payloads(client), [])

    def test_will_on_drop(self):
        self.will(lambda client: client.drop(), True)

    def test_will_qos2_on_drop(self):
        self.will(lambda client: client.drop(), True, qos=2)

    def test_will_on_keep_alive(self):
        def end(client):
            if self.version == 5:
                client.disconnected(0x8D)
            else:
                client.closed()
        self.will(end, True)

    def test_will_on_violation(self):
        def end(client):
            client.send(b"\xf1\x00" if self.version == 5 else b"\xf0\x00")
            client.disconnected(0x81, 0x82)
        self.will(end, True)

    def test_will_not_on_disconnect(self):
        self.will(lambda client: client.leave(), False)

    def test_will_retained(self):
        client = self.raw(will={"topic": self.topic(), "payload": "kept", "retain": True})
        witness = self.raw()
        witness.subscribe(self.topic())
        client.drop()
        self.assertFalse(witness.message().retain)
        late = self.raw()
        late.subscribe(self.topic())
        self.assertTrue(late.message().retain)
        late.publish(self.topic(), "", 1, retain=True)

    def test_zero_length_client_id(self):
        """MQTT 3.1.1 3.1.3.1, MQTT 5.0 3.1.3.1 and 3.2.2.3.7"""
        first, second = self.raw(""), self.raw("")
        for client in first, second:
            client.ping()
        if self.version == 5:
            names = [c.connack.props["assigned_id"] for c in (first, second)]
            self.assertNotEqual(*names)
            self.assertTrue(all(names))

    def test_client_ids_of_any_kind(self):
        """1 to 65535 bytes of UTF-8 (MQTT 5.0 3.1.3.1)"""
        for name in ("a", "0123456789abcdefghijklm", "with space", "\u00fc\u20ac\U0001F600",
                     "x" * 1000):
            client = self.raw(name)
            self.assertNotIn("assigned_id", client.connack.props)
            client.ping()

    def test_order_per_qos(self):
        """MQTT 3.1.1 and 5.0 4.6"""
        client, publisher = self.raw(), self.raw()
        for qos in 0, 1, 2:
            client.subscribe(self.topic(), qos=qos)
            for number in range(200):
                publisher.publish(self.topic(), "%d" % number, qos)
            publisher.publish(self.topic(), "fence", qos)
            self.assertEqual(self.payloads(client), [b"%d" % number for number in range(200)])

    def test_many_packets_in_one_segment(self):
        """CONNECT, SUBSCRIBE, PUBLISH and DISCONNECT without waiting for any answer."""
        client = Raw(self.broker, self.version)
        client.send(wire.connect(self.topic(), self.version),
                    wire.subscribe(1, [(self.topic(), 1)], self.version),
                    wire.publish(self.topic(), "x", 1, 9, version=self.version),
                    wire.pingreq())
        client.expect(wire.CONNACK)
        for kind in wire.SUBACK, wire.PUBLISH, wire.PUBACK, wire.PINGRESP:
            client.wait(kind)
        client.leave()

    def test_one_byte_at_a_time(self):
        client = Raw(self.broker, self.version)
        stream = (wire.connect(self.topic(), self.version) +
                  wire.subscribe(1, [(self.topic(), 1)], self.version) +
                  wire.publish(self.topic(), "x", 1, 9, version=self.version))
        for byte in stream:
            client.send(bytes([byte]))
        client.wait(wire.CONNACK)
        for kind in wire.SUBACK, wire.PUBLISH, wire.PUBACK:
            client.wait(kind)
        client.leave()

    def test_any_credentials_pass_when_anonymous(self):
        for user, password in (("u", None), ("u", "p"), ("", "")):
            self.raw(user=user, password=password).ping()

    def test_between_versions(self):
        """A 3.1.1 client and a 5.0 client understand each other; properties stay behind."""
        other = 9 - self.version
        here, there = self.raw(), self.raw(version=other)
        here.subscribe(self.topic(), qos=2)
        properties = {"user": ("a", "b"), "content_type": "t"} if other == 5 else None
        there.publish(self.topic(), "hello", 2, properties=properties)
        got = here.message()
        self.assertEqual((got.payload, got.qos), (b"hello", 2))
        if self.version == 5:
            self.assertEqual(got.props, {})


class Classic311(Both, Base):
    """All of it in 3.1.1."""

    version = 4

    def test_zero_length_client_id_persistent(self):
        """MQTT 3.1.1 3.1.3.1: refused with 0x02"""
        client = Raw(self.broker)
        client.connect("", code=2, clean=False)
        client.closed()


class Classic5(Both, Base):
    """All of it in 5.0."""


if __name__ == "__main__":
    main()
