"""What comes before an acknowledgement: seen from outside, by strace, for one message of each protocol.

The bytes are written to a segment file, fdatasync of that file returns 0, and only then is there a
write of the acknowledgement to the client's socket.
"""

import os
import unittest

import amqp
import coap
import raw
import strace
import wire
from broker import BrokerCase, main
from stored import StoredBroker


class Order(BrokerCase):
    """All clients first, then the broker ends, then each test looks at its part of the trace."""

    @classmethod
    def setUpClass(cls):
        why = strace.missing()
        if why:
            raise unittest.SkipTest(why)
        cls.broker = StoredBroker()
        cls.trace = os.path.join(cls.broker.folder, "trace")
        cls.broker.wrap = strace.tracing(cls.trace)
        cls.broker.start(env=strace.ENVIRONMENT)
        cls.said = {}
        cls.away("away-1", "order/mqtt/#", 1)
        cls.away("away-2", "order/exact/#", 2)
        for version in (4, 5):
            cls.mqtt_once(version)
            cls.mqtt_exactly_once(version)
            cls.mqtt_retained(version)
        cls.mqtt_delivery()
        cls.amqp_unsettled()
        cls.coap_put()
        status = cls.broker.terminate()
        if status:
            raise AssertionError("the broker ended with %d: %s" % (status, cls.broker.log()[-4000:]))
        cls.calls = strace.calls(cls.trace)

    @classmethod
    def tearDownClass(cls):
        cls.broker.remove()

    # --- the clients ---

    @classmethod
    def client(cls, name, version=4, **fields):
        made = raw.Raw(cls.broker, version)
        properties = {"session_expiry": 3600} if version == 5 else None
        made.connect(name, clean=False, properties=properties, **fields)
        return made

    @staticmethod
    def port(client):
        return client.socket.getsockname()[1]

    @classmethod
    def away(cls, name, topic, qos):
        """A session that is not there when its messages come."""
        with cls.client(name) as made:
            made.subscribe(topic, qos=qos)

    @classmethod
    def mqtt_once(cls, version):
        with cls.client("once-%d" % version, version) as made:
            made.send(wire.publish("order/mqtt/a", b"once-%d-marker" % version, 1, 4711, version=version))
            made.expect(wire.PUBACK, packet_id=4711)
            cls.said["once-%d" % version] = cls.port(made)

    @classmethod
    def mqtt_exactly_once(cls, version):
        with cls.client("exact-%d" % version, version) as made:
            made.send(wire.publish("order/exact/a", b"exact-%d-marker" % version, 2, 4712,
                                   version=version))
            made.expect(wire.PUBREC, packet_id=4712)
            made.send(wire.ack(wire.PUBREL, 4712))
            made.expect(wire.PUBCOMP, packet_id=4712)
            cls.said["exact-%d" % version] = cls.port(made)

    @classmethod
    def mqtt_retained(cls, version):
        with cls.client("kept-%d" % version, version) as made:
            made.send(wire.publish("order/kept", b"kept-%d-marker" % version, 1, 4713, retain=True,
                                   version=version))
            made.expect(wire.PUBACK, packet_id=4713)
            cls.said["kept-%d" % version] = cls.port(made)

    @classmethod
    def mqtt_delivery(cls):
        """To a session that is there: nobody sees what is not on disk."""
        with cls.client("there") as taker, cls.client("giver") as giver:
            taker.subscribe("order/there", qos=1)
            cls.said["subscribe"] = cls.said["there"] = cls.port(taker)
            giver.publish("order/there", b"there-marker", 1)
            taker.message()

    @classmethod
    def amqp_unsettled(cls):
        with amqp.Raw(cls.broker) as made:
            made.open("order")
            link = made.begin().sender("/queues/order")
            outcome = link.send(amqp.message(b"amqp-marker"))
            assert outcome.name == "accepted", outcome
            cls.said["amqp"] = cls.port(made)

    @classmethod
    def coap_put(cls):
        with coap.Client(cls.broker.coap_port) as made:
            request = made.message(coap.PUT, "order/coap", b"coap-marker")
            answer = made.exchange(request)
            assert answer.code == coap.CREATED, answer
            cls.said["coap"], cls.said["token"] = cls.port(made), request.token

    # --- the trace ---

    @staticmethod
    def ack(kind, packet_id):
        """An acknowledgement with any reason code: 5.0 may leave it out."""
        return lambda call: any(bytes([kind, size]) + wire.u16(packet_id) in call.data for size in (2, 3, 4))

    def stored(self, marker):
        """The write of these bytes to a segment, and the sync after it."""
        written = [call for call in self.calls if call.name in strace.WRITES and
                   call.path.startswith(self.broker.data) and marker in call.data]
        self.assertTrue(written, "%r was never written to a file of %s" % (marker, self.broker.data))
        first = written[0]
        self.assertTrue(first.path.endswith(".log"), first)
        self.assertGreater(first.result, 0)
        synced = [call for call in self.calls if call.name in strace.SYNCS and
                  call.path == first.path and call.begin > first.end]
        self.assertTrue(synced, "no sync after %s" % first)
        self.assertEqual(synced[0].result, 0)
        return first, synced[0]

    def sends(self, port, what):
        """Writes to the client's socket for which `what` holds of the bytes."""
        return [call for call in self.calls if call.name in strace.WRITES + strace.SENDS and
                call.goes_to(port) and what(call)]

    def in_order(self, marker, port, what):
        written, synced = self.stored(marker)
        told = self.sends(port, what)
        self.assertTrue(told, "nothing like that was sent to port %d" % port)
        self.assertGreater(told[0].begin, synced.end, "%s\n%s\n%s" % (written, synced, told[0]))

    def test_puback_after_the_sync(self):
        for version in (4, 5):
            with self.subTest(version=version):
                self.in_order(b"once-%d-marker" % version, self.said["once-%d" % version],
                              self.ack(0x40, 4711))

    def test_pubrec_after_the_sync(self):
        for version in (4, 5):
            with self.subTest(version=version):
                self.in_order(b"exact-%d-marker" % version, self.said["exact-%d" % version],
                              self.ack(0x50, 4712))

    def test_pubcomp_after_the_id_is_released_on_disk(self):
        for version in (4, 5):
            with self.subTest(version=version):
                port = self.said["exact-%d" % version]
                received = self.sends(port, self.ack(0x50, 4712))[0]
                complete = self.sends(port, self.ack(0x70, 4712))[0]
                between = [call for call in self.calls if received.end < call.begin and
                           call.end < complete.begin and call.path.startswith(self.broker.data)]
                written = [call for call in between if call.name in strace.WRITES]
                self.assertTrue(written, "nothing was written between PUBREC and PUBCOMP")
                self.assertTrue([call for call in between if call.name in strace.SYNCS and
                                 call.result == 0 and call.begin > written[0].end], between)

    def test_retained_after_the_sync(self):
        for version in (4, 5):
            with self.subTest(version=version):
                self.in_order(b"kept-%d-marker" % version, self.said["kept-%d" % version],
                              self.ack(0x40, 4713))

    def test_delivery_after_the_sync(self):
        self.in_order(b"there-marker", self.said["there"], lambda call: b"there-marker" in call.data)

    def test_suback_after_the_sync(self):
        self.in_order(b"order/there", self.said["subscribe"], lambda call: b"\x90\x03" in call.data)

    def test_accepted_after_the_sync(self):
        self.in_order(b"amqp-marker", self.said["amqp"], lambda call: b"\x00\x53\x15" in call.data)

    def test_created_after_the_sync(self):
        def response(call):
            for piece in call.pieces:
                try:
                    got = coap.decode(piece)
                except coap.CoapError:
                    continue
                if got.token == self.said["token"] and got.code >= 64:
                    return True
            return False
        self.in_order(b"coap-marker", self.said["coap"], response)


if __name__ == "__main__":
    main()
