"""Labs M1 to M9 of the MQTT course, as a reader would try them, with each of the real clients."""

import os
import socket
import unittest

import wire
from broker import Broker, BrokerCase, free_port, main
from clients import MosquittoClients, MqttJs, Paho, until
from raw import Raw

MOSQUITTO_DEVIATES = {
    "test_M8_auth_v5": "it closes without the DISCONNECT",
}


class Labs:
    """M1 to M7, for one kind of client and one version."""

    client = None
    version = 4

    def setUp(self):
        super().setUp()
        self.topic = "lab/%s/%s" % (type(self).__name__, self._testMethodName)
        self.name = "%s-%s" % (type(self).__name__, self._testMethodName)
        self.running = []

    def tearDown(self):
        for subscriber in self.running:
            subscriber.abandon()

    def publish(self, payload, qos=0, retain=False, topic=None):
        self.client.publish(self.broker, topic or self.topic, payload, qos, retain, self.version)

    def subscriber(self, qos=0, **options):
        made = self.client.Subscriber(self.broker, self.topic, qos, version=self.version, **options)
        self.running.append(made)
        return made

    def leave(self, subscriber):
        self.running.remove(subscriber)
        subscriber.leave()

    def away(self, sub_qos, pub_qos):
        """What a persistent session gets of a message that was published while it was away."""
        first = self.subscriber(sub_qos, client_id=self.name, clean=False)
        self.publish("here", sub_qos)
        self.assertEqual(first.next().payload, "here")
        self.leave(first)
        with Raw(self.broker) as witness:
            witness.connect()
            witness.subscribe(self.topic)
            self.publish("away", pub_qos)
            self.assertEqual(witness.message().payload, b"away")
        again = self.subscriber(sub_qos, client_id=self.name, clean=False)
        self.publish("fence", sub_qos)
        got = until(again, "fence")
        self.leave(again)
        return [(m.payload, m.qos) for m in got]

    def test_M1_nobody_subscribed(self):
        self.publish("early")
        with Raw(self.broker) as fence:
            fence.connect()
            fence.publish("fence/raw", qos=1)
        subscriber = self.subscriber()
        self.publish("fence")
        self.assertEqual(until(subscriber, "fence"), [])
        self.leave(subscriber)

    def test_M2_persistent_qos0(self):
        self.assertEqual(self.away(sub_qos=0, pub_qos=0), [])

    def test_M3_persistent_qos1(self):
        self.assertEqual(self.away(sub_qos=1, pub_qos=1), [("away", 1)])

    def test_M3_persistent_qos2(self):
        self.assertEqual(self.away(sub_qos=2, pub_qos=2), [("away", 2)])

    def test_M4_publisher_qos1_subscriber_qos0(self):
        self.assertEqual(self.away(sub_qos=0, pub_qos=1), [])

    def test_M5_publisher_qos0_subscriber_qos1(self):
        self.assertEqual(self.away(sub_qos=1, pub_qos=0), [])

    def test_M6_retained(self):
        self.publish("one", 1, retain=True)
        self.publish("two", 1, retain=True)
        self.publish("elsewhere", 1, retain=True, topic=self.topic + "/else")
        late = self.subscriber(1)
        got = late.next()
        self.assertEqual((got.payload, got.retain), ("two", True))
        self.publish("three", 1, retain=True)
        got = late.next()
        # MQTT 3.1.1 3.3.1.3, 5.0 3.3.1.3: to an established subscription RETAIN is 0.
        self.assertEqual((got.payload, got.retain), ("three", False))
        self.leave(late)
        self.publish("", 1, retain=True)
        later = self.subscriber(1)
        self.publish("fence", 1)
        self.assertEqual(until(later, "fence"), [])
        self.leave(later)

    def test_M7_same_client_id(self):
        first = self.subscriber(client_id=self.name)
        second = self.subscriber(client_id=self.name)
        self.publish("for the second", 1)
        self.assertEqual(second.next().payload, "for the second")
        self.running.remove(first)
        first.dropped()


class MosquittoClients311(Labs, BrokerCase):
    client = MosquittoClients


class MosquittoClients5(Labs, BrokerCase):
    client, version = MosquittoClients, 5


class Paho311(Labs, BrokerCase):
    client = Paho


class Paho5(Labs, BrokerCase):
    client, version = Paho, 5


class MqttJs311(Labs, BrokerCase):
    client = MqttJs


class MqttJs5(Labs, BrokerCase):
    client, version = MqttJs, 5


class LabM8(BrokerCase):
    """The packets themselves: what goes in and out, byte by byte. Answers whose properties are
    the broker's choice (CONNACK of 5.0) are decoded, all others compared whole."""

    def exchange(self, raw, sent, expected):
        raw.send(bytes.fromhex(sent))
        packet = raw.packet()
        self.assertEqual(packet.raw.hex(" "), bytes.fromhex(expected).hex(" "))

    def pair(self, version):
        """A subscriber of m8/# at QoS 2, and a publisher."""
        both = []
        for role in "sub", "pub":
            raw = Raw(self.broker, version)
            self.addCleanup(raw.drop)
            raw.connect("m8-%s-%d" % (role, version))
            both.append(raw)
        self.assertEqual(both[0].subscribe("m8/#", qos=2), [2])
        return both

    def test_M8_connect_and_connack_v4(self):
        with Raw(self.broker) as raw:
            self.exchange(raw, "10 0e 00 04 4d515454 04 02 00 3c 00 02 6d 38", "20 02 00 00")
            raw.leave()

    def test_M8_session_present_v4(self):
        for expected in "20 02 00 00", "20 02 01 00":
            with Raw(self.broker) as raw:
                self.exchange(raw, "10 0e 00 04 4d515454 04 00 00 3c 00 02 6d 39", expected)
                raw.leave()

    def test_M8_connect_and_connack_v5(self):
        with Raw(self.broker, 5) as raw:
            raw.send(bytes.fromhex("10 0f 00 04 4d515454 05 02 00 3c 00 00 02 6d 3a"))
            packet = raw.expect(wire.CONNACK, code=0, session_present=False)
            self.assertEqual(packet.raw[0], 0x20)
            raw.leave(0)

    def test_M8_ping_v4(self):
        self.ping(4)

    def test_M8_ping_v5(self):
        self.ping(5)

    def ping(self, version):
        with Raw(self.broker, version) as raw:
            raw.connect()
            self.exchange(raw, "c0 00", "d0 00")
            raw.leave()

    def test_M8_subscribe_and_unsubscribe_v4(self):
        with Raw(self.broker) as raw:
            raw.connect()
            self.exchange(raw, "82 0e 00 0a  00 01 61 00  00 01 62 01  00 01 63 02",
                          "90 05 00 0a 00 01 02")
            self.exchange(raw, "a2 0a 12 34  00 01 61  00 03 622f63", "b0 02 12 34")
            raw.leave()

    def test_M8_subscribe_and_unsubscribe_v5(self):
        with Raw(self.broker, 5) as raw:
            raw.connect()
            self.exchange(raw, "82 0f 00 0a 00  00 01 61 00  00 01 62 01  00 01 63 02",
                          "90 06 00 0a 00 00 01 02")
            self.exchange(raw, "a2 0b 12 34 00  00 01 61  00 03 622f63", "b0 05 12 34 00 00 11")
            raw.leave()

    def test_M8_qos0_v4(self):
        subscriber, publisher = self.pair(4)
        publisher.send(bytes.fromhex("30 07 00 04 6d382f61 78"))
        self.assertEqual(subscriber.packet().raw.hex(), "3007" "0004" "6d382f61" "78")

    def test_M8_qos0_v5(self):
        subscriber, publisher = self.pair(5)
        publisher.send(bytes.fromhex("30 08 00 04 6d382f61 00 78"))
        self.assertEqual(subscriber.packet().raw.hex(), "3008" "0004" "6d382f61" "00" "78")

    def test_M8_qos1_v4(self):
        subscriber, publisher = self.pair(4)
        self.exchange(publisher, "32 09 00 04 6d382f61 00 07 78", "40 02 00 07")
        packet = subscriber.packet()
        self.assertEqual(packet.raw.hex(), "3209" "0004" "6d382f61" "%04x" "78" % packet.packet_id)
        subscriber.send(wire.ack(wire.PUBACK, packet.packet_id))
        subscriber.ping()

    def test_M8_qos1_v5(self):
        subscriber, publisher = self.pair(5)
        # The reason code 0 may be left out together with the properties (3.4.2.1).
        self.exchange(publisher, "32 0a 00 04 6d382f61 00 07 00 78", "40 02 00 07")
        packet = subscriber.packet()
        self.assertEqual(packet.raw.hex(),
                         "320a" "0004" "6d382f61" "%04x" "00" "78" % packet.packet_id)
        subscriber.send(wire.ack(wire.PUBACK, packet.packet_id, 0, {}))
        subscriber.ping()

    def test_M8_qos2_v4(self):
        self.qos2(4)

    def test_M8_qos2_v5(self):
        self.qos2(5)

    def qos2(self, version):
        subscriber, publisher = self.pair(version)
        gap = "00" if version == 5 else ""
        publisher.send(wire.publish("m8/a", "x", 2, 8, version=version))
        self.assertEqual(publisher.packet().raw.hex(), "50020008")
        self.exchange(publisher, "62 02 00 08", "70 02 00 08")
        packet = subscriber.packet()
        number = "%04x" % packet.packet_id
        self.assertEqual(packet.raw.hex(), "34%02x" % (9 + len(gap) // 2) + "0004" "6d382f61" +
                         number + gap + "78")
        self.exchange(subscriber, "50 02" + number, "62 02" + number)
        subscriber.send(bytes.fromhex("70 02" + number))
        subscriber.ping()

    def test_M8_retain_flag_v4(self):
        self.retain(4)

    def test_M8_retain_flag_v5(self):
        self.retain(5)

    def retain(self, version):
        subscriber, publisher = self.pair(version)
        gap = "00" if version == 5 else ""
        size = "%02x" % (7 + len(gap) // 2)
        publisher.publish("m8/r", "x", 1, retain=True)
        self.assertEqual(subscriber.message().raw[0], 0x32)
        with Raw(self.broker, version) as late:
            late.connect()
            late.subscribe("m8/r")
            self.assertEqual(late.packet().raw.hex(), "31" + size + "0004" "6d382f72" + gap + "78")
        publisher.publish("m8/r", "", 1, retain=True)

    def test_M8_dup_flag_v4(self):
        self.duplicate(4)

    def test_M8_dup_flag_v5(self):
        self.duplicate(5)

    def duplicate(self, version):
        """What was not acknowledged comes again with DUP and the same packet id, after CONNACK."""
        expiry = {"session_expiry": 60} if version == 5 else None
        name = "m8-dup-%d" % version
        raw = Raw(self.broker, version)
        raw.connect(name, clean=True, properties=expiry)
        raw.leave()
        raw = Raw(self.broker, version)
        raw.connect(name, clean=False, properties=expiry)
        raw.subscribe("m8dup/%d" % version, qos=2)
        with Raw(self.broker, version) as publisher:
            publisher.connect()
            publisher.publish("m8dup/%d" % version, "x", 1)
            publisher.publish("m8dup/%d" % version, "y", 2)
        first, second = raw.packet(), raw.packet()
        self.assertEqual((first.raw[0], second.raw[0]), (0x32, 0x34))
        raw.drop()
        raw = Raw(self.broker, version)
        raw.connect(name, clean=False, properties=expiry)
        for before in first, second:
            again = raw.packet()
            self.assertEqual(again.raw[0], before.raw[0] | 8)
            self.assertEqual(again.raw[1:], before.raw[1:])
        raw.drop()
        raw = Raw(self.broker, version)
        raw.connect(name, clean=True)
        raw.leave()

    def test_M8_remaining_length(self):
        """One, two and three bytes of remaining length, at each edge."""
        subscriber, publisher = self.pair(4)
        for total, head in ((127, "307f"), (128, "308001"), (16383, "30ff7f"),
                            (16384, "30808001")):
            publisher.publish("m8/a", b"p" * (total - 6))
            raw = subscriber.packet().raw
            self.assertEqual((raw[:len(head) // 2].hex(), len(raw)),
                             (head, total + len(head) // 2))

    def test_M8_disconnect_v4(self):
        with Raw(self.broker) as raw:
            raw.connect()
            raw.send(bytes.fromhex("e0 00")).closed()

    def test_M8_disconnect_v5(self):
        for packet in "e0 00", "e0 01 00", "e0 02 04 00":
            with Raw(self.broker, 5) as raw:
                raw.connect()
                raw.send(bytes.fromhex(packet)).closed()

    def test_M8_auth_v5(self):
        """The fifteenth type: without an authentication method in CONNECT it is an error (4.12)."""
        with Raw(self.broker, 5) as raw:
            raw.connect()
            raw.send(bytes.fromhex("f0 00")).disconnected(0x82)


class LabM9(unittest.TestCase):
    """A mosquitto.conf as it is."""

    def test_M9_mosquitto_conf(self):
        port = 1883
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except OSError:
                port = free_port()
                print("port 1883 is taken, %d instead" % port)
        broker = Broker(file="mosquitto.conf", port=port)
        path = os.path.join(broker.folder, "mosquitto.conf")
        broker.arguments[broker.arguments.index("mosquitto.conf")] = path
        with open(path, "w", encoding="utf-8") as out:
            out.write("allow_anonymous true\nlistener %d\n" % port)
        broker.start()
        try:
            for client in MosquittoClients, Paho, MqttJs:
                with self.subTest(client.name):
                    subscriber = client.Subscriber(broker, "m9/#", 1)
                    client.publish(broker, "m9/" + client.name, "started", 1)
                    self.assertEqual(subscriber.next().payload, "started")
                    subscriber.leave()
        finally:
            broker.stop()


if __name__ == "__main__":
    main()
