"""The classic list of interoperability, one named test each: what 5.0 has beyond 3.1.1. Some of it
is done once more with Paho and mqtt.js.
"""

import time

import wire
from broker import SLOW, main
from classic import MOSQUITTO_DEVIATES, Base
from clients import Js, Paho
from raw import Raw

__all__ = ["MOSQUITTO_DEVIATES"]


class Only5(Base):
    """What 5.0 has beyond 3.1.1."""

    def test_connack_announces(self):
        """MQTT 5.0 3.2.2.3"""
        props = self.raw().connack.props
        self.assertEqual(props.get("maximum_packet_size"), 1048576)
        self.assertEqual(props.get("shared_available"), 0)
        self.assertGreater(props.get("topic_alias_maximum", 0), 0)
        self.assertNotEqual(props.get("receive_maximum", 65535), 0)
        self.assertNotIn("maximum_qos", props)
        for name in "retain_available", "wildcard_available", "subscription_id_available":
            self.assertEqual(props.get(name, 1), 1, name)
        self.assertNotIn("assigned_id", props)

    def test_session_expiry_zero(self):
        """MQTT 5.0 3.1.2.11.2: absent or 0, the session ends with the connection"""
        client = self.raw(self.topic(), clean=False)
        client.subscribe(self.topic(), qos=1)
        client.drop()
        self.assertFalse(self.raw(self.topic(), clean=False).connack.session_present)

    def test_session_expiry_passes(self):
        """The will, whose delay is longer, tells that the session ended (3.1.3.2.2)."""
        witness = self.raw()
        witness.subscribe(self.topic("/will"), qos=1)
        client = self.session(self.topic(), expiry=1, will={
            "topic": self.topic("/will"), "payload": "over", "properties": {"will_delay": 3600}})
        client.subscribe(self.topic("/a"), qos=1)
        client.ping()
        start = time.monotonic()
        client.drop()
        self.assertEqual(witness.message().payload, b"over")
        self.assertGreater(time.monotonic() - start, 0.9)
        self.assertFalse(self.session(self.topic()).connack.session_present)
        self.fresh(self.topic())

    def test_session_expiry_not_yet(self):
        client = self.session(self.topic(), expiry=3600)
        client.drop()
        self.let_pass(1.1)
        self.assertTrue(self.session(self.topic()).connack.session_present)
        self.fresh(self.topic())

    def test_session_expiry_changed_by_disconnect(self):
        """MQTT 5.0 3.14.2.2.2"""
        client = self.session(self.topic(), expiry=3600)
        client.leave(0, {"session_expiry": 0})
        client = self.session(self.topic(), expiry=1)
        self.assertFalse(client.connack.session_present)
        client.leave(0, {"session_expiry": 3600})
        self.let_pass(1.6)
        self.assertTrue(self.session(self.topic()).connack.session_present)
        self.fresh(self.topic())

    def test_session_clean_start_with_expiry(self):
        """Clean Start removes what was before and says nothing of what is kept (3.1.2.4)."""
        client = self.session(self.topic(), clean=True)
        client.subscribe(self.topic(), qos=1)
        client.drop()
        client = self.session(self.topic())
        self.assertTrue(client.connack.session_present)
        client.publish(self.topic(), "still subscribed", 1)
        self.assertEqual(client.message().payload, b"still subscribed")
        self.fresh(self.topic())

    def test_user_properties(self):
        """Kept, all of them, in their order (MQTT 5.0 3.3.2.3.7)"""
        client = self.raw()
        client.subscribe(self.topic(), qos=1)
        pairs = [("b", "2"), ("a", "1"), ("b", "2"), ("", ""), ("\u20ac", "x" * 500)]
        client.publish(self.topic(), "m", 1, properties=[("user", pair) for pair in pairs])
        self.assertEqual(client.message().props, {"user": pairs})

    def test_payload_format_and_content_type(self):
        client = self.raw()
        client.subscribe(self.topic(), qos=1)
        for properties in ({"payload_format": 1, "content_type": "text/plain"},
                           {"payload_format": 0}, {"content_type": ""}):
            client.publish(self.topic(), "\u00fc", 1, properties=properties)
            got = dict(client.message().props)
            if properties.get("payload_format") == 0:
                got.setdefault("payload_format", 0)
            self.assertEqual(got, properties)

    def test_retained_keeps_properties(self):
        client = self.raw()
        properties = {"payload_format": 1, "content_type": "t", "response_topic": "r",
                      "correlation_data": b"c", "user": ("k", "v")}
        client.publish(self.topic(), "m", 1, retain=True, properties=properties)
        client.subscribe(self.topic(), qos=1)
        self.assertEqual(client.message().props, dict(properties, user=[("k", "v")]))
        client.publish(self.topic(), "", 1, retain=True)

    def test_will_keeps_properties(self):
        client = self.raw()
        client.subscribe(self.topic(), qos=1)
        properties = {"payload_format": 1, "content_type": "t", "response_topic": "r",
                      "correlation_data": b"c", "user": ("k", "v")}
        self.raw(will={"topic": self.topic(), "payload": "w", "qos": 1,
                       "properties": properties}).drop()
        self.assertEqual(client.message().props, dict(properties, user=[("k", "v")]))

    def test_message_expiry_passes(self):
        """MQTT 5.0 3.3.2.3.3: an expired message is not delivered, the rest of the time is told"""
        name = self.topic()
        client = self.session(name)
        client.subscribe(self.topic("/a"), qos=1)
        client.leave()
        publisher = self.raw()
        for payload, expiry in (("short", 1), ("long", 100)):
            publisher.publish(self.topic("/a"), payload, 1,
                              properties={"message_expiry": expiry})
        publisher.publish(self.topic("/a"), "never", 1)
        self.let_pass(1.1)
        client = self.session(name)
        publisher.publish(self.topic("/a"), "fence", 1)
        got = client.until("fence")
        self.assertEqual([p.payload for p in got], [b"long", b"never"])
        self.assertLess(got[0].props["message_expiry"], 100)
        self.assertGreater(got[0].props["message_expiry"], 100 - 20 * SLOW)
        self.assertNotIn("message_expiry", got[1].props)
        self.fresh(name)

    def test_message_expiry_of_retained(self):
        publisher = self.raw()
        publisher.publish(self.topic("/short"), "m", 1, retain=True,
                          properties={"message_expiry": 1})
        publisher.publish(self.topic("/long"), "m", 1, retain=True,
                          properties={"message_expiry": 100})
        self.let_pass(1.1)
        client = self.raw()
        client.subscribe(self.topic("/#"), qos=1)
        got = client.message()
        self.assertEqual(got.topic, self.topic("/long"))
        self.assertLess(got.props["message_expiry"], 100)
        publisher.publish(self.topic("/fence"), "fence", 1)
        self.assertEqual(self.payloads(client), [])

    def test_message_expiry_forwarded(self):
        client = self.raw()
        client.subscribe(self.topic(), qos=1)
        client.publish(self.topic(), "m", 1, properties={"message_expiry": 100})
        self.assertIn(client.message().props["message_expiry"], (99, 100))

    def test_no_local(self):
        """MQTT 5.0 3.8.3.1"""
        client, other = self.raw(), self.raw()
        client.subscribe(self.topic(), options=1 | 4)
        client.publish(self.topic(), "mine", 1)
        other.publish(self.topic(), "fence", 1)
        self.assertEqual(self.payloads(client), [])

    def test_no_local_by_client_id(self):
        """It is the client id that publishes, in whatever connection (3.8.3.1)."""
        name = self.topic()
        client = self.session(name, clean=True)
        client.subscribe(self.topic(), options=1 | 4)
        client.leave()
        client = self.session(name)
        client.publish(self.topic(), "mine", 1)
        self.raw().publish(self.topic(), "fence", 1)
        self.assertEqual(self.payloads(client), [])
        self.fresh(name)

    def test_retain_as_published(self):
        """MQTT 5.0 3.3.1.3"""
        client, plain = self.raw(), self.raw()
        client.subscribe(self.topic(), options=1 | 8)
        plain.subscribe(self.topic(), options=1)
        client.publish(self.topic(), "r", 1, retain=True)
        client.publish(self.topic(), "n", 1, retain=False)
        self.assertEqual([client.message().retain, client.message().retain], [True, False])
        self.assertEqual([plain.message().retain, plain.message().retain], [False, False])
        client.publish(self.topic(), "", 1, retain=True)

    def test_retain_handling(self):
        """MQTT 5.0 3.8.3.1: 0 always, 1 only if the subscription is new, 2 never"""
        publisher = self.raw()
        publisher.publish(self.topic(), "kept", 1, retain=True)
        for handling, expected in ((0, (True, True)), (1, (True, False)), (2, (False, False))):
            client = self.raw()
            for number, comes in enumerate(expected):
                client.subscribe(self.topic(), options=1 | handling << 4)
                fence = "fence %d" % number
                publisher.publish(self.topic(), fence, 1)
                self.assertEqual(self.payloads(client, fence), [b"kept"] * comes, handling)
            client.leave()
        publisher.publish(self.topic(), "", 1, retain=True)

    def test_assigned_client_id(self):
        """MQTT 5.0 3.1.3.1, 3.2.2.3.7: usable to resume"""
        client = self.session("", clean=True)
        name = client.connack.props["assigned_id"]
        client.subscribe(self.topic(), qos=1)
        client.leave()
        again = self.session(name)
        self.assertTrue(again.connack.session_present)
        again.publish(self.topic(), "mine", 1)
        self.assertEqual(again.message().payload, b"mine")
        self.fresh(name)

    def test_assigned_client_id_without_clean_start(self):
        self.assertTrue(self.session("", clean=False, expiry=0).connack.props["assigned_id"])

    def test_subscription_identifiers(self):
        """MQTT 5.0 3.3.4: all identifiers of the subscriptions that match"""
        client = self.raw()
        for filter_, number in (("/#", 1), ("/+", 268435455), ("/a", 128), ("/b", 7)):
            client.subscribe(self.topic(filter_), qos=1, properties={"subscription_id": number})
        client.subscribe(self.topic("/a/#"), qos=1)
        got = []
        client.publish(self.topic("/a"), "m", 1)
        client.publish(self.topic("/b"), "fence", 1)
        while True:
            packet = client.message()
            got += packet.props.get("subscription_id", []) if packet.payload == b"m" else []
            if packet.payload == b"fence":
                break
        self.assertEqual(sorted(got), [1, 128, 268435455])

    def test_subscription_identifier_replaced(self):
        client = self.raw()
        for number in 5, 6, None:
            client.subscribe(self.topic(), qos=1,
                             properties=number and {"subscription_id": number})
            client.publish(self.topic(), "m", 1)
            self.assertEqual(client.message().props.get("subscription_id"), number and [number])

    def test_subscription_identifier_with_retained(self):
        client = self.raw()
        client.publish(self.topic(), "kept", 1, retain=True)
        client.subscribe(self.topic(), qos=1, properties={"subscription_id": 9})
        self.assertEqual(client.message().props["subscription_id"], [9])
        client.publish(self.topic(), "", 1, retain=True)

    def test_subscription_identifier_in_session(self):
        """It is part of the subscription and so of the session (4.1)."""
        client = self.session(self.topic(), clean=True)
        client.subscribe(self.topic(), qos=1, properties={"subscription_id": 11})
        client.leave()
        self.raw().publish(self.topic(), "queued", 1)
        client = self.session(self.topic())
        self.assertEqual(client.message().props["subscription_id"], [11])
        self.fresh(self.topic())

    def test_request_response(self):
        """MQTT 5.0 4.10"""
        requester, responder = self.raw(), self.raw()
        requester.subscribe(self.topic("/replies"), qos=1)
        responder.subscribe(self.topic("/requests"), qos=1)
        requester.publish(self.topic("/requests"), "?", 1, properties={
            "response_topic": self.topic("/replies"), "correlation_data": b"\0\x01\xff"})
        got = responder.message()
        responder.publish(got.props["response_topic"], "!", 1, properties={
            "correlation_data": got.props["correlation_data"]})
        got = requester.message()
        self.assertEqual((got.payload, got.props), (b"!", {"correlation_data": b"\0\x01\xff"}))

    def test_client_topic_alias(self):
        """MQTT 5.0 3.3.2.3.4"""
        witness, client = self.raw(), self.raw()
        witness.subscribe(self.topic("/#"), qos=1)
        top = client.connack.props["topic_alias_maximum"]
        for topic, alias, expected in (("/a", 1, "/a"), ("", 1, "/a"), ("/b", top, "/b"),
                                       ("", top, "/b"), ("", 1, "/a"), ("/c", 1, "/c"),
                                       ("", 1, "/c")):
            client.publish(topic and self.topic(topic), "m", 1,
                           properties={"topic_alias": alias})
            got = witness.message()
            self.assertEqual((got.topic, got.props), (self.topic(expected), {}))

    def test_client_topic_alias_ends_with_connection(self):
        client = self.session(self.topic(), clean=True)
        client.publish(self.topic("/a"), "m", 1, properties={"topic_alias": 1})
        client.leave()
        client = self.session(self.topic())
        client.send(wire.publish("", "m", 0, version=5, properties={"topic_alias": 1}))
        client.disconnected(0x82)
        self.fresh(self.topic())

    def test_server_topic_alias(self):
        """The broker may use aliases up to the client's maximum, and none without (3.1.2.11.5)."""
        with_alias = self.raw(properties={"topic_alias_maximum": 2})
        without = self.raw()
        topics = [self.topic("/%d" % number) for number in (1, 2, 3, 1, 2, 3)]
        for client in with_alias, without:
            client.subscribe(self.topic("/#"), qos=1)
        for topic in topics:
            without.publish(topic, topic, 1)
        for client, top in ((with_alias, 2), (without, 0)):
            for topic in topics:
                got = client.message()
                self.assertEqual((got.topic, got.payload), (topic, topic.encode()))
                self.assertLessEqual(got.props.get("topic_alias", 0), top)

    def test_maximum_packet_size_of_client(self):
        """MQTT 5.0 3.1.2.11.4: what is too large for it is dropped, and the rest goes on"""
        for qos in 0, 1, 2:
            client = self.raw(properties={"maximum_packet_size": 100})
            client.subscribe(self.topic("/%d" % qos), qos=qos)
            publisher = self.raw()
            for payload in "small", "x" * 100, "fence":
                publisher.publish(self.topic("/%d" % qos), payload, qos)
            self.assertEqual(self.payloads(client), [b"small"])

    def test_maximum_packet_size_of_client_exact(self):
        """A packet of exactly the maximum goes through."""
        topic = self.topic()
        size = len(wire.publish(topic, b"x" * 30, 0, version=5))
        client, publisher = self.raw(properties={"maximum_packet_size": size}), self.raw()
        client.subscribe(topic)
        publisher.publish(topic, b"x" * 31)
        publisher.publish(topic, b"x" * 30)
        self.assertEqual(len(client.packet().raw), size)

    def test_maximum_packet_size_of_server(self):
        client = self.raw()
        limit = client.connack.props["maximum_packet_size"]
        client.subscribe(self.topic())
        some = limit - 200
        room = some + limit - len(wire.publish(self.topic(), b"x" * some, 0, version=5))
        client.publish(self.topic(), b"x" * room)
        self.assertEqual(len(client.message().payload), room)
        client.send(wire.publish(self.topic(), b"x" * (room + 1), version=5))
        client.disconnected(0x95)

    def test_flow_control_to_client(self):
        """MQTT 5.0 4.9: never more than Receive Maximum without PUBACK or PUBCOMP"""
        client = self.raw(properties={"receive_maximum": 2})
        client.subscribe(self.topic(), qos=2)
        publisher = self.raw()
        for number in range(6):
            publisher.publish(self.topic(), "%d" % number, 1 + number % 2)
        got = []
        for _ in range(3):
            pair = [client.wait(wire.PUBLISH), client.wait(wire.PUBLISH)]
            client.ping()
            self.assertEqual([p for p in client.inbox if p.type == wire.PUBLISH], [])
            for packet in pair:
                got.append(packet.payload)
                if packet.qos == 1:
                    client.send(wire.ack(wire.PUBACK, packet.packet_id))
                    continue
                client.send(wire.ack(wire.PUBREC, packet.packet_id))
                client.wait(wire.PUBREL)
                client.send(wire.ack(wire.PUBCOMP, packet.packet_id))
        self.assertEqual(got, [b"%d" % number for number in range(6)])

    def test_flow_control_pubrec_keeps_the_credit(self):
        """PUBREC gives no credit back, except with an error code (4.9)."""
        client = self.raw(properties={"receive_maximum": 1})
        client.subscribe(self.topic(), qos=2)
        publisher = self.raw()
        for payload in "one", "two", "three":
            publisher.publish(self.topic(), payload, 2)
        packet = client.expect(wire.PUBLISH, payload=b"one")
        client.send(wire.ack(wire.PUBREC, packet.packet_id))
        client.expect(wire.PUBREL)
        client.send(wire.pingreq())
        client.expect(wire.PINGRESP)
        client.send(wire.ack(wire.PUBCOMP, packet.packet_id))
        packet = client.expect(wire.PUBLISH, payload=b"two")
        client.send(wire.ack(wire.PUBREC, packet.packet_id, 0x83))
        client.expect(wire.PUBLISH, payload=b"three")

    def test_flow_control_qos0_is_free(self):
        client = self.raw(properties={"receive_maximum": 1})
        client.subscribe(self.topic("/#"), qos=1)
        publisher = self.raw()
        publisher.publish(self.topic("/1"), "held", 1)
        client.expect(wire.PUBLISH, payload=b"held")
        publisher.publish(self.topic("/0"), "free", 0)
        client.expect(wire.PUBLISH, payload=b"free", qos=0)

    def test_flow_control_to_server(self):
        """A full window of QoS 2 messages is accepted, and again after its release (4.9)."""
        client = self.raw()
        window = min(client.connack.props.get("receive_maximum", 65535), 200)
        ids = range(1, window + 1)
        for _ in range(2):
            client.send(*[wire.publish(self.topic(), "m", 2, n, version=5) for n in ids])
            for number in ids:
                client.expect(wire.PUBREC, packet_id=number)
            client.send(*[wire.ack(wire.PUBREL, n) for n in ids])
            for number in ids:
                client.expect(wire.PUBCOMP, packet_id=number)

    def test_will_delay(self):
        """MQTT 5.0 3.1.3.2.2"""
        witness = self.raw()
        witness.subscribe(self.topic(), qos=1)
        start = time.monotonic()
        self.session(self.topic(), will={"topic": self.topic(), "payload": "late", "qos": 1,
                                         "properties": {"will_delay": 1}}).drop()
        got = witness.message()
        self.assertEqual((got.payload, got.props), (b"late", {}))
        self.assertGreater(time.monotonic() - start, 0.9)
        self.fresh(self.topic())

    def test_will_delay_cancelled_by_return(self):
        """A new connection of the session before the delay is over: no will (3.1.3.2.2)."""
        witness = self.raw()
        witness.subscribe(self.topic(), qos=1)
        self.session(self.topic(), will={"topic": self.topic(), "payload": "never", "qos": 1,
                                         "properties": {"will_delay": 1}}).drop()
        back = self.session(self.topic())
        self.let_pass(1.2)
        back.publish(self.topic(), "fence", 1)
        self.assertEqual(self.payloads(witness), [])
        self.fresh(self.topic())

    def test_will_delay_ends_with_clean_start(self):
        """Clean Start ends the session, and so the delay (3.1.3.2.2)."""
        witness = self.raw()
        witness.subscribe(self.topic(), qos=1)
        client = self.session(self.topic(), will={"topic": self.topic(), "payload": "now", "qos": 1,
                                                  "properties": {"will_delay": 3600}})
        client.drop()
        self.fresh(self.topic())
        self.assertEqual(witness.message().payload, b"now")

    def test_will_on_disconnect_with_will(self):
        """MQTT 5.0 3.14.2.1: reason 0x04"""
        self.will(lambda client: client.leave(4), True)

    def test_shared_subscriptions_refused(self):
        """MQTT 5.0 3.9.3: 0x9E"""
        client = self.raw()
        self.assertEqual(client.subscribe("$share/group/" + self.topic(), self.topic(), qos=1),
                         [0x9E, 1])

    def test_auth_method_refused(self):
        """MQTT 5.0 4.12: 0x8C"""
        client = Raw(self.broker, 5)
        client.connect(code=0x8C, properties={"auth_method": "SCRAM-SHA-1", "auth_data": b"x"})
        client.closed()

    def test_request_problem_information_zero(self):
        """MQTT 5.0 3.1.2.11.7: no reason string nor user property except in three packets"""
        client = self.raw(properties={"request_problem": 0})
        client.send(wire.subscribe(1, [("$share/g/" + self.topic(), 0)], 5))
        client.expect(wire.SUBACK, props={})
        client.send(wire.ack(wire.PUBREL, 1234))
        client.expect(wire.PUBCOMP, code=0x92, props={})

    def test_puback_without_subscribers(self):
        """MQTT 5.0 3.4.2.1: 0x00, or 0x10 from a server that tells"""
        self.assertIn(self.raw().publish(self.topic(), "m", 1), (0, 0x10))

    def test_paho_user_properties(self):
        client = Paho.client(version=5, connect=self.broker)
        client.subscribe(self.topic(), 1)
        Paho.event(client, "subscribe")
        client.publish(self.topic(), "m", 1, properties=Paho.properties(
            "PUBLISH", UserProperty=[("a", "1"), ("a", "2")], ContentType="text/plain",
            ResponseTopic="r", CorrelationData=b"c", PayloadFormatIndicator=1))
        got = Paho.event(client, "message").properties
        self.assertEqual((got.UserProperty, got.ContentType, got.ResponseTopic,
                          got.CorrelationData), ([("a", "1"), ("a", "2")], "text/plain", "r", b"c"))
        Paho.close(client)

    def test_mqttjs_request_response(self):
        js = Js()
        self.addCleanup(js.quit)
        js.connect(self.broker, version=5, properties={"requestResponseInformation": True})
        js.ask("subscribe", "subscribed", filter=self.topic(), options={"qos": 1})
        js.ask("publish", "published", topic=self.topic(), payload="m", options={
            "qos": 1, "properties": {"responseTopic": "r", "correlationData": "c",
                                     "userProperties": {"k": "v"}}})
        got = js.event("message")["properties"]
        self.assertEqual([got[name] for name in ("responseTopic", "correlationData",
                                                 "userProperties")], ["r", "c", {"k": "v"}])
        js.ask("end", "ended")


if __name__ == "__main__":
    main()
