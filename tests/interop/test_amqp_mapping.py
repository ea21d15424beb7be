"""What crosses between AMQP, MQTT and CoAP, row by row of docs/mapping.md: bodies, content types, user
properties, correlation, reply-to, expiry, priority, the value of an address, order.
"""

import json
import struct
import uuid

from amqp import (NULL, AmqpCase, array, binary, boolean, described, fixed, int32, int64, lst,
                  mapping, message, string, sym, timestamp, uint, ulong)
from amqp_clients import Proton
from broker import main
from coap import (CBOR, CHANGED, CONTENT_FORMAT, CREATED, DELETED, JSON, MAX_AGE, NOT_FOUND, OCTETS, POST,
                  TEXT, XML, Client)

TYPES = {JSON: "application/json", OCTETS: "application/octet-stream", XML: "application/xml",
         CBOR: "application/cbor"}
PLAIN_TEXT = r"(?i)^text/plain(; ?charset=utf-8)?$"


def value(encoded):
    return message(described(0x77, encoded))


class Mixed(AmqpCase):
    def setUp(self):
        super().setUp()
        self.name = self.address()
        self.topic = "topic://" + self.name

    def coap(self):
        made = Client(self.broker.coap_port)
        self.addCleanup(made.close)
        return made

    def sender(self, **more):
        """A sender to the topic, whoever listens."""
        return self.session().sender(self.name, target={"capabilities": sym("topic")}, **more)

    def receiver(self, rest="", credit=50):
        return self.session().receiver(self.topic + rest, credit=credit)


class ToAmqp(Mixed):
    def test_mqtt_body_is_one_data_section(self):
        link, publisher = self.receiver(), self.mqtt()
        for body in b"", b"text", bytes(range(256)), b"x" * 100000:
            for qos in 0, 1, 2:
                publisher.publish(self.name, body, qos)
                got = link.take()[0].message
                self.assertEqual(got.parts["data"], [body])
                self.assertEqual(got.properties.to, self.topic)
                self.assertEqual(bool(got.header.durable), qos > 0)

    def test_mqtt_properties(self):
        link = self.receiver()
        self.mqtt().publish(self.name, "x", 1, properties=[
            ("content_type", "text/csv"), ("correlation_data", b"\0\xffc"),
            ("response_topic", "answers/here"), ("user", ("a", "1")), ("user", ("ü", "zwei")),
            ("message_expiry", 600)])
        got = link.take()[0].message
        self.assertEqual(got.properties.content_type, "text/csv")
        self.assertEqual(got.properties.correlation_id, b"\0\xffc")
        self.assertEqual(got.properties.reply_to, "topic://answers/here")
        self.assertEqual(got.application.dict(), {"a": "1", "ü": "zwei"})
        self.assertTrue(590000 < got.header.ttl <= 600000, got.header)
        self.assertIn(got.header.priority, (None, 4))

    def test_mqtt_user_property_twice(self):
        """A map has a key once; the message is legal all the same."""
        link = self.receiver()
        self.mqtt().publish(self.name, "x", 1, properties=[
            ("user", ("a", "1")), ("user", ("b", "2")), ("user", ("a", "3"))])
        got = link.take()[0].message.application
        self.assertEqual(sorted(key for key, _ in got), ["a", "b"])
        self.assertIn(got.get("a"), ("1", "3"))

    def test_mqtt_text(self):
        link = self.receiver()
        self.mqtt().publish(self.name, "Zürich", 1, properties={"payload_format": 1})
        got = link.take()[0].message
        self.assertEqual(got.body.decode(), "Zürich")

    def test_mqtt_3_1_1_has_no_properties(self):
        link = self.receiver()
        self.mqtt(version=4).publish(self.name, "x", 1)
        got = link.take()[0].message
        self.assertEqual(got.properties.content_type, None)
        self.assertEqual(got.application.dict(), {})

    def test_coap_content_formats(self):
        link, client = self.receiver("/#"), self.coap()
        for form, name in TYPES.items():
            client.put(self.name + "/%d" % form, b"body", form=form)
            got = link.take()[0].message
            self.assertEqual((got.properties.content_type, got.body), (name, b"body"))
            self.assertEqual(got.properties.to, self.topic + "/%d" % form)
        client.put(self.name + "/text", "text", form=TEXT)
        self.assertRegex(link.take()[0].message.properties.content_type, PLAIN_TEXT)
        client.put(self.name + "/none", b"what")
        self.assertIsNone(link.take()[0].message.properties.content_type)
        client.put(self.name + "/own", b"own", form=65000)
        self.assertEqual(link.take()[0].message.properties.content_type, "65000")

    def test_coap_post_and_delete(self):
        client = self.coap()
        self.assertEqual(client.request(POST, self.name, b"posted").code, CREATED)
        link = self.receiver()
        self.assertEqual(link.bodies(1), [b"posted"])
        self.assertEqual(client.put(self.name, b"changed").code, CHANGED)
        self.assertEqual(link.bodies(1), [b"changed"])
        self.assertEqual(client.delete(self.name).code, DELETED)
        self.receiver().nothing()

    def test_a_large_body_by_coap(self):
        link = self.receiver()
        body = b"0123456789abcdef" * 1000
        self.coap().put_large(self.name, body)
        self.assertTrue(link.bodies(1) == [body])


class ToMqtt(Mixed):
    def seen(self, body, **more):
        """What a subscriber has of an AMQP message."""
        subscriber = self.mqtt(self.name, **more)
        self.assertEqual(self.sender().send(body).name, "accepted")
        return subscriber.message()

    def test_data_sections_are_the_bytes(self):
        for body in b"", b"text", bytes(range(256)), b"x" * 100000:
            self.assertEqual(self.seen(message(body)).payload, body)
        self.assertEqual(self.seen(message(b"one, ", b"", b"two")).payload, b"one, two")

    def test_properties(self):
        got = self.seen(message(b"x", properties={
            "content_type": "text/csv", "correlation_id": "c-1", "reply_to": "topic://answers/here",
            "subject": "ignored"}, application={"a": "text", "n": ulong(7), "i": int32(-5),
                                                "t": boolean(True)}, header={"ttl": 600000}))
        self.assertEqual(got.props.get("content_type"), "text/csv")
        self.assertEqual(got.props.get("correlation_data"), b"c-1")
        self.assertEqual(got.props.get("response_topic"), "answers/here")
        self.assertEqual(sorted(got.props.get("user")), [("a", "text"), ("i", "-5"), ("n", "7"),
                                                         ("t", "true")])
        self.assertTrue(590 <= got.props.get("message_expiry") <= 600, got.props)

    def test_correlation_ids_of_each_type(self):
        one = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
        for sent, wanted in ((string("text"), b"text"), (binary(b"\0\xff"), b"\0\xff"),
                             (ulong(2**64 - 1), b"18446744073709551615"), (ulong(0), b"0"),
                             (fixed(0x98, "16s", one.bytes), str(one).encode())):
            got = self.seen(message(b"x", properties={"correlation_id": sent}))
            self.assertEqual(got.props.get("correlation_data"), wanted)

    def test_reply_to_of_each_form(self):
        for sent, wanted in (("plain/x", "plain/x"), ("topic://a/b", "a/b"), ("/topics/a%2Fb", "a/b")):
            got = self.seen(message(b"x", properties={"reply_to": sent}))
            self.assertEqual(got.props.get("response_topic"), wanted)
        got = self.seen(message(b"x", properties={"reply_to": "a/#"}))
        self.assertNotIn("response_topic", got.props)

    def test_a_value_string_is_text(self):
        got = self.seen(value(string("Zürich")))
        self.assertEqual(got.payload.decode(), "Zürich")
        self.assertRegex(got.props.get("content_type"), PLAIN_TEXT)

    def test_anything_else_is_json(self):
        one = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
        cases = ((NULL, None), (boolean(True), True), (boolean(False, True), False), (uint(7), 7),
                 (ulong(2**53 - 1), 2**53 - 1), (int32(-5), -5), (int64(-2**53 + 1), -2**53 + 1),
                 (fixed(0x82, "d", 1.5), 1.5), (fixed(0x72, "f", -0.25), -0.25), (sym("s"), "s"),
                 (fixed(0x73, "I", ord("ß")), "ß"), (fixed(0x98, "16s", one.bytes), str(one)),
                 (lst([]), []), (lst([uint(1), string("b"), NULL, lst([boolean(True)])]),
                                 [1, "b", None, [True]]),
                 (mapping({"a": uint(1), "b": mapping({"c": lst([])})}), {"a": 1, "b": {"c": []}}),
                 (mapping([(sym("s"), uint(1)), (uint(2), uint(3))]), {"s": 1, "2": 3}),
                 (array(b"\x52", [b"\1", b"\2"]), [1, 2]), (array(b"\x40", [b"", b""]), [None, None]),
                 (described("d", lst([uint(1)])), [1]),
                 (lst([string('"\\\n\x01/ü')]), ['"\\\n\x01/ü']),
                 (fixed(0x82, "d", float("nan")), None), (fixed(0x82, "d", float("-inf")), None))
        subscriber, link = self.mqtt(self.name), self.sender()
        for encoded, wanted in cases:
            with self.subTest(repr(wanted)):
                self.assertEqual(link.send(value(encoded)).name, "accepted")
                got = subscriber.message()
                found = json.loads(got.payload)
                self.assertEqual(found, wanted)
                self.assertIs(type(found), type(wanted))
                self.assertEqual(got.props.get("content_type"), "application/json")

    def test_json_of_what_json_has_not(self):
        """Whatever it becomes, it is legal JSON."""
        subscriber, link = self.mqtt(self.name), self.sender()
        for encoded in (binary(b"\0\xff\xfe"), timestamp(1763683200000), timestamp(-2**63),
                        ulong(2**64 - 1), int64(-2**63), fixed(0x74, "4s", b"\x22\x50\0\1"),
                        fixed(0x84, "8s", bytes(8)), fixed(0x94, "16s", bytes(16)),
                        mapping([(lst([]), uint(1)), (NULL, uint(2)), (binary(b"\xff"), uint(3))]),
                        array(b"\xa0", [b"\1\xff"]), fixed(0x82, "d", 1e300), fixed(0x72, "f", 1e-45),
                        fixed(0x73, "I", 0x10FFFF)):
            self.assertEqual(link.send(value(lst([encoded]))).name, "accepted")
            self.assertEqual(len(json.loads(subscriber.message().payload)), 1)
        link.send(value(lst([ulong(2**64 - 1)])))
        self.assertIn(b"18446744073709551615", subscriber.message().payload)
        link.send(value(lst([timestamp(1763683200000)])))
        self.assertIn(b"2025-11-21T00:00:00", subscriber.message().payload)

    def test_sequences(self):
        got = self.seen(message(described(0x76, lst([uint(1), string("a")]))))
        self.assertIn(json.loads(got.payload), ([1, "a"], [[1, "a"]]))
        got = self.seen(message(described(0x76, lst([uint(1)])), described(0x76, lst([uint(2)]))))
        self.assertIn(json.loads(got.payload), ([1, 2], [[1], [2]]))

    def test_a_subscriber_of_3_1_1(self):
        got = self.seen(value(lst([uint(1)])), version=4)
        self.assertEqual(json.loads(got.payload), [1])

    def test_quality(self):
        subscriber = self.mqtt(self.name, qos=2)
        link = self.sender()
        link.send(message(b"at least once", header={"durable": True}))
        self.assertEqual(subscriber.message().qos, 1)
        link.send(message(b"at most once"), settled=True)
        self.assertEqual(subscriber.message().qos, 0)

    def test_proton_s_own_kinds_of_bodies(self):
        subscriber = self.mqtt(self.name)
        client = Proton(self.broker)
        self.addCleanup(client.close)
        sender = client.connection.create_sender(self.topic)
        for body, wanted in (({"t": 21.5}, b'{"t":21.5}'), ("text", b"text"), (b"bytes", None)):
            sender.send(client.message(body))
            got = subscriber.message()
            if wanted:
                self.assertEqual(got.payload.replace(b" ", b""), wanted)


class ToCoap(Mixed):
    def kept(self, section, **more):
        """Sends a retained message of this body and GETs it."""
        body = message(section, annotations={"x-opt-retain-message": True}, **more)
        self.assertEqual(self.sender().send(body).name, "accepted")
        return self.coap().get(self.name)

    def test_content_types(self):
        for form, name in TYPES.items():
            got = self.kept(b"body", properties={"content_type": name})
            self.assertEqual((got.uint(CONTENT_FORMAT), got.payload), (form, b"body"))
        got = self.kept(b"body", properties={"content_type": "x/unregistered"})
        self.assertIsNone(got.uint(CONTENT_FORMAT))
        got = self.kept(b"body", properties={"content_type": "65000"})
        self.assertEqual(got.uint(CONTENT_FORMAT), 65000)
        got = self.kept(b"body", properties={"content_type": "text/plain; charset=utf-8"})
        self.assertEqual(got.uint(CONTENT_FORMAT), TEXT)

    def test_values(self):
        got = self.kept(described(0x77, string("text")))
        self.assertEqual((got.text, got.uint(CONTENT_FORMAT)), ("text", TEXT))
        got = self.kept(described(0x77, mapping({"a": uint(1)})))
        self.assertEqual((json.loads(got.payload), got.uint(CONTENT_FORMAT)), ({"a": 1}, JSON))

    def test_expiry_is_max_age(self):
        got = self.kept(b"body", header={"ttl": 600000})
        self.assertTrue(590 <= got.uint(MAX_AGE) <= 600)
        creation = 1763683200000
        got = self.kept(b"body", properties={"creation_time": creation,
                                             "absolute_expiry_time": creation + 300000})
        self.assertTrue(290 <= got.uint(MAX_AGE) <= 300)

    def test_an_empty_one_clears(self):
        self.kept(b"body")
        self.sender().send(message(b"", annotations={"x-opt-retain-message": True}))
        self.coap().get(self.name, want=NOT_FOUND)

    def test_an_observer_follows_what_is_sent(self):
        client = self.coap()
        self.kept(b"first")
        observation = client.observe(self.name)
        self.assertEqual(observation.response.payload, b"first")
        self.sender().send(message(b"passing"))
        self.assertEqual(observation.next().payload, b"passing")
        self.assertEqual(client.get(self.name).payload, b"passing")

    def test_the_annotation_must_be_true(self):
        self.sender().send(message(b"x", annotations={"x-opt-retain-message": False}))
        self.coap().get(self.name, want=NOT_FOUND)
        self.sender().send(message(b"x", annotations={"x-opt-retain-message": "yes"}))
        self.coap().get(self.name, want=NOT_FOUND)


class Order(Mixed):
    count = 300

    def test_mqtt_to_amqp(self):
        link, publisher = self.receiver(credit=self.count), self.mqtt()
        for n in range(self.count):
            publisher.publish(self.name, b"%d" % n, n % 3)
        self.assertEqual(link.bodies(self.count), [b"%d" % n for n in range(self.count)])

    def test_amqp_to_mqtt(self):
        subscriber, link = self.mqtt(self.name), self.sender()
        for n in range(self.count):
            link.credited()
            link.transfer(message(b"%d" % n), settled=n % 2 == 0)
        self.assertEqual([subscriber.message().payload for _ in range(self.count)],
                         [b"%d" % n for n in range(self.count)])

    def test_all_into_one_queue(self):
        """Each publisher's messages are in its order, wherever they came from."""
        session = self.session()
        session.receiver(self.name).detach()
        publisher, client, link = self.mqtt(), self.coap(), session.sender(self.name)
        for n in range(20):
            publisher.publish(self.name, struct.pack("cB", b"m", n), 1)
            client.put(self.name, struct.pack("cB", b"c", n))
            link.send(message(struct.pack("cB", b"a", n)))
        got = [tuple(body) for body in session.receiver(self.name, credit=60).bodies(60)]
        for kind in b"mca":
            self.assertEqual([n for which, n in got if which == kind], list(range(20)))

    def test_the_value_is_the_last_one(self):
        """Whoever wrote it: MQTT, CoAP and AMQP read the same."""
        client = self.coap()
        writers = (lambda body: self.mqtt().publish(self.name, body, 1, retain=True),
                   lambda body: client.put(self.name, body),
                   lambda body: self.sender().send(
                       message(body, annotations={"x-opt-retain-message": True})))
        for index, write in enumerate(writers * 2):
            body = b"value %d" % index
            write(body)
            self.assertEqual(client.get(self.name).payload, body)
            self.assertEqual(self.mqtt(self.name).message().payload, body)
            self.assertEqual(self.receiver().bodies(1), [body])


if __name__ == "__main__":
    main()
