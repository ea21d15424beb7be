"""Brokers that are configured: limits, what is not available, keep alive, load, and the end."""

import collections
import threading
import time

import wire
from broker import DEADLINE, SLOW, Broker, main
from classic import MOSQUITTO_DEVIATES, Base
from raw import Raw

__all__ = ["MOSQUITTO_DEVIATES"]

SHARED = {}


def setUpModule():
    """max_keepalive is at least 10 seconds: its test begins here and ends with the last class."""
    broker = SHARED["broker"] = Broker(["max_keepalive 10"]).start()
    SHARED["client"] = Raw(broker, 5)
    SHARED["start"] = time.monotonic()
    SHARED["connack"] = SHARED["client"].connect(keep_alive=600)


def tearDownModule():
    SHARED.pop("broker").stop()


class Load(Base):
    """Count and order under load."""

    CONFIG = ["max_queued_messages 100000"]
    version = 4
    publishers, each = 10, 1000

    def publish_all(self, number, failures):
        try:
            raw = Raw(self.broker)
            raw.connect("load-%d" % number)
            window = 50
            for start in range(0, self.each, window):
                ids = range(start + 1, start + window + 1)
                raw.send(*[wire.publish("load/%d" % number, "%d %d" % (number, n), 1, n)
                           for n in ids])
                for packet_id in ids:
                    raw.expect(wire.PUBACK, packet_id=packet_id)
            raw.leave()
        except Exception as error:  # pylint: disable=broad-except
            failures.append(error)

    def test_order_and_count_under_load(self):
        subscriber = self.raw()
        subscriber.subscribe("load/#", qos=1)
        failures = []
        threads = [threading.Thread(target=self.publish_all, args=(number, failures))
                   for number in range(self.publishers)]
        for thread in threads:
            thread.start()
        got = collections.defaultdict(list)
        for _ in range(self.publishers * self.each):
            number, value = subscriber.message().payload.split()
            got[int(number)].append(int(value))
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        for number in range(self.publishers):
            self.assertEqual(got[number], list(range(1, self.each + 1)), number)


CONFIGURATIONS = {
    "test_max_packet_size": ["max_packet_size 100"],
    "test_max_inflight_messages": ["max_inflight_messages 3"],
    "test_max_queued_messages": ["max_inflight_messages 3", "max_queued_messages 5"],
    "test_max_connections": ["max_connections 2"],
    "test_max_qos": ["max_qos 1"],
    "test_max_qos_of_will": ["max_qos 1"],
    "test_retain_not_available": ["retain_available false"],
    "test_max_topic_alias": ["max_topic_alias 3"],
    "test_topic_alias_off": ["max_topic_alias 0"],
    "test_anonymous_not_allowed": ["allow_anonymous false"],
    "test_other_keys": ["persistent_client_expiration 2d", "log_type error", "log_type warning",
                        "log_dest stderr", "set_tcp_nodelay true", "sys_interval 5"],
    "test_sys_interval": ["sys_interval 1"],
}


class Configured(Base):
    """A broker of its own for each test, with a configuration."""

    @classmethod
    def setUpClass(cls):
        pass

    @classmethod
    def tearDownClass(cls):
        pass

    def setUp(self):
        self.skip_for_peer()
        self.broker = None
        configuration = CONFIGURATIONS.get(self._testMethodName)
        broker = Broker(configuration).start()
        self.broker = broker
        super().setUp()
        self.addCleanup(lambda: broker.process.child.poll() is None and broker.stop())

    def test_max_packet_size(self):
        for version in 4, 5:
            client = self.raw(version=version)
            if version == 5:
                self.assertEqual(client.connack.props["maximum_packet_size"], 100)
            client.publish("a", b"x" * 80, 1)
            client.send(wire.publish("a", b"x" * 100, version=version))
            client.disconnected(0x95)

    def test_max_inflight_messages(self):
        """The window of a 3.1.1 client, and of a 5.0 client whose own is larger."""
        for version in 4, 5:
            client, publisher = self.raw(version=version), self.raw()
            client.subscribe("a", qos=1)
            for number in range(5):
                publisher.publish("a", "%d" % number, 1)
            first = [client.wait(wire.PUBLISH) for _ in range(3)]
            client.ping()
            self.assertEqual(client.inbox, [])
            for packet in first:
                client.send(wire.ack(wire.PUBACK, packet.packet_id))
            self.assertEqual([client.message().payload for _ in range(2)], [b"3", b"4"])
            client.leave()

    def test_max_queued_messages(self):
        """What a session may hold is limited; what it holds comes in order."""
        for version in 4, 5:
            self.version = version
            client = self.session("queued")
            client.subscribe("a", qos=1)
            client.leave()
            publisher = self.raw()
            for number in range(100):
                publisher.publish("a", "%d" % number, 1)
            client = self.session("queued")
            got, quiet = [], 0
            while quiet < 3:
                client.ping()
                quiet = 0 if client.inbox else quiet + 1
                while client.inbox:
                    got.append(int(client.message().payload))
            self.assertEqual(got, sorted(got))
            self.assertTrue(5 <= len(got) <= 5 + 3, got)
            publisher.publish("a", "fence", 1)
            self.assertEqual(self.payloads(client), [])
            self.fresh("queued")

    def test_max_connections(self):
        kept = [self.raw(version=4), self.raw(version=5)]
        for version in 4, 5:
            client = Raw(self.broker, version)
            self.addCleanup(client.drop)
            try:
                client.send(wire.connect("third", version))
                packet = client.expect(wire.CONNACK)
                self.assertIn(packet.code, (3,) if version == 4 else (0x88, 0x89, 0x97))
                client.closed()
            except (AssertionError, ConnectionError) as error:
                if "closed" not in str(error) and not isinstance(error, ConnectionError):
                    raise
        for client in kept:
            client.ping()
        kept.pop().leave()
        self.eventually(self.accepted, "no room after a client left")

    def accepted(self):
        try:
            with Raw(self.broker, 5) as client:
                client.connect()
        except (AssertionError, ConnectionError):
            return False
        return True

    def test_max_qos(self):
        """MQTT 5.0 3.2.2.3.4"""
        client = self.raw()
        self.assertEqual(client.connack.props["maximum_qos"], 1)
        self.assertEqual(client.subscribe("a", qos=2), [1])
        client.publish("a", "m", 1)
        self.assertEqual(client.message().qos, 1)
        client.send(wire.publish("a", "m", 2, 3, version=5)).disconnected(0x9B)

    def test_max_qos_of_will(self):
        client = Raw(self.broker, 5)
        client.connect(code=0x9B, will={"topic": "a", "payload": "w", "qos": 2})
        client.closed()

    def test_retain_not_available(self):
        """MQTT 5.0 3.2.2.3.5"""
        client = self.raw()
        self.assertEqual(client.connack.props["retain_available"], 0)
        client.send(wire.publish("a", "m", retain=True, version=5)).disconnected(0x9A)
        client = Raw(self.broker, 5)
        client.connect(code=0x9A, will={"topic": "a", "payload": "w", "retain": True})
        client.closed()

    def test_max_topic_alias(self):
        client = self.raw()
        self.assertEqual(client.connack.props["topic_alias_maximum"], 3)
        client.send(wire.publish("a", "m", version=5, properties={"topic_alias": 4}))
        client.disconnected(0x94)

    def test_topic_alias_off(self):
        client = self.raw()
        self.assertEqual(client.connack.props.get("topic_alias_maximum", 0), 0)
        client.send(wire.publish("a", "m", version=5, properties={"topic_alias": 1}))
        client.disconnected(0x94)

    def test_anonymous_not_allowed(self):
        """Without anonymous access, and with no other rights yet, nobody passes."""
        for version, codes in ((4, (4, 5)), (5, (0x86, 0x87))):
            for user in None, "somebody":
                client = Raw(self.broker, version)
                client.send(wire.connect("x", version, user=user, password=user))
                self.assertIn(client.expect(wire.CONNACK).code, codes)
                client.closed()

    def test_other_keys(self):
        """persistent_client_expiration, log_type, log_dest, set_tcp_nodelay, sys_interval"""
        self.raw().ping()

    def test_sys_interval(self):
        """A changed count is published again within the interval."""
        client = self.raw()
        client.subscribe("$SYS/broker/clients/connected")
        client.message()
        kept = [self.raw() for _ in range(3)]
        while int(client.message().payload) != 1 + len(kept):
            pass
        kept.pop().leave()
        while int(client.message().payload) != 1 + len(kept):
            pass

    def test_drain(self):
        """SIGTERM: 5.0 clients are told (0x8B), all are closed, the broker ends with 0."""
        old, new = self.raw(version=4), self.raw()
        new.subscribe("a", qos=1)
        old.publish("a", "acknowledged", 1)
        self.assertEqual(new.message().payload, b"acknowledged")
        self.broker.terminate()
        new.disconnected(0x8B)
        old.closed()
        self.broker.stop()

    def test_drain_without_clients(self):
        self.broker.stop()

    def test_drain_with_half_a_packet(self):
        client = Raw(self.broker, 5)
        client.send(wire.connect("x", 5)[:7])
        self.raw().ping()
        self.broker.stop()


class ServerKeepAlive(Base):
    """MQTT 5.0 3.2.2.3.14: max_keepalive replaces a longer keep alive. Runs last."""

    @classmethod
    def setUpClass(cls):
        cls.broker = SHARED["broker"]

    @classmethod
    def tearDownClass(cls):
        pass

    def test_server_keep_alive(self):
        self.assertEqual(SHARED["connack"].props["server_keep_alive"], 10)
        self.assertEqual(self.raw(keep_alive=0).connack.props["server_keep_alive"], 10)
        self.assertNotIn("server_keep_alive", self.raw(keep_alive=9).connack.props)

    def test_server_keep_alive_v4(self):
        """3.1.1 has no such word; a client with a longer keep alive must still get in."""
        self.raw(keep_alive=9, version=4).ping()

    def test_server_keep_alive_closes(self):
        left = SHARED["start"] + 16 * SLOW - time.monotonic()
        self.assertEqual(SHARED["client"].packet(max(left, DEADLINE / 10)).code, 0x8D)
        SHARED["client"].closed()
        self.assertGreater(time.monotonic() - SHARED["start"], 14)


if __name__ == "__main__":
    main()
