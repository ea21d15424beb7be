#!/usr/bin/python3
"""What was once wrong and can be seen from outside, a test each.

Most of these were ways for one client to stop or starve the others, so they ask that a good client
is served meanwhile, within the usual deadline.
"""

import wire
from broker import BrokerCase, main
from raw import Raw

QUOTA_EXCEEDED = 0x97


class Regressions(BrokerCase):

    def connected(self, client_id=None, **fields):
        client = Raw(self.broker, 5)
        self.addCleanup(client.drop)
        client.connect(client_id, **fields)
        return client

    def subscribe(self, client, filters, qos=0):
        """SUBSCRIBE and SUBACK of many filters, while another client is served; the codes."""
        good = self.connected()
        client.send(wire.subscribe(9, [(f, qos) for f in filters], 5))
        good.ping()
        codes = client.wait(wire.SUBACK).codes
        self.assertEqual(len(codes), len(filters))
        self.connected().ping()
        return codes

    def retain(self, topics):
        """Retained messages, all of them there when this returns."""
        client = self.connected()
        for topic in topics:
            client.send(wire.publish(topic, b"value", version=5, retain=True))
        client.publish(topics[-1], b"value", qos=1, retain=True)

    def absent_sessions(self, count, prefix):
        for number in range(count):
            with Raw(self.broker, 5) as client:
                client.connect("%s-%d" % (prefix, number), properties={"session_expiry": 3600})


class Collections(Regressions):
    """$SYS/sessions and its like, which are made when they are read."""

    def test_client_id_too_long_for_an_address(self):
        """Percent-encoded it has more than 65,535 bytes; it held up all that came after it."""
        self.connected("/" * 30000)
        watcher = self.connected("watcher")
        watcher.subscribe("$SYS/sessions/#")
        self.assertEqual(watcher.message().topic, "$SYS/sessions/watcher")
        watcher.subscribe("after")
        watcher.publish("after", b"end")
        self.assertEqual(watcher.until(b"end"), [])

    def test_filters_by_level(self):
        with Raw(self.broker, 5) as client:
            client.connect("by/level +#é", properties={"session_expiry": 3600})
        name = "by%2Flevel%20%2B%23%C3%A9"
        reader = self.connected("reader")
        for pattern, topics in (("$SYS/sessions/" + name, {"sessions/"}),
                                ("$SYS/sessions/%s/#" % name, {"sessions/"}),
                                ("$SYS/+/" + name, {"sessions/"}),
                                ("$SYS/queues/+/" + name, {"queues/mqtt/"}),
                                ("$SYS/+/+/" + name, {"queues/mqtt/"}),
                                ("$SYS/connections/" + name, set()),
                                ("$SYS/sessions/%zz", set()),
                                ("+/sessions/" + name, set())):
            with self.subTest(filter=pattern):
                reader.subscribe(pattern)
                # $SYS values come in pages after SUBACK; those of one name in the first.
                reader.subscribe("end")
                reader.publish("end", b"end")
                got = {m.topic for m in reader.until(b"end")}
                self.assertEqual(got, {"$SYS/" + t + name for t in topics})
                reader.unsubscribe(pattern, "end")

    def test_filters_that_match_no_session_walk_none(self):
        """Each filter below $SYS, and each `#`, went through all sessions, in every shard."""
        self.absent_sessions(1000, "walk")
        client = self.connected()
        self.assertEqual(set(self.subscribe(client, ["$SYS/a"] * 10000)), {0})
        self.assertEqual(set(self.subscribe(client, ["$SYS/sessions/nobody"] * 10000)), {0})
        self.assertEqual(set(self.subscribe(client, ["#"] * 10000)), {0})


class Subscribing(Regressions):

    def test_one_filter_a_hundred_thousand_times(self):
        """max_subscriptions (10,000) bounds a SUBSCRIBE that names one filter again and again."""
        codes = self.subscribe(self.connected(), ["#"] * 100000)
        self.assertEqual(codes[0], 0)
        self.assertEqual(codes[-1], QUOTA_EXCEEDED)

    def test_retained_of_many_filters(self):
        """More values at once than a session's queue takes (1,000): the rest was dropped."""
        for qos in (0, 1):
            with self.subTest(qos=qos):
                topics = ["many%d/%d/%d" % (qos, i, j) for i in range(100) for j in range(30)]
                self.retain(topics)
                client = self.connected()
                self.subscribe(client, ["many%d/%d/#" % (qos, i) for i in range(100)], qos)
                left = set(topics)
                while left:
                    left.discard(client.message().topic)

    def test_filters_against_long_topics(self):
        """A page's budget counted addresses, not bytes: two thousand filters took minutes."""
        self.retain(["%d" % i + "x" * 60000 for i in range(600)])
        client = self.connected()
        self.assertEqual(set(self.subscribe(client, ["+/%d" % i for i in range(2000)])), {0})


class Wills(Regressions):

    def test_no_will_without_a_connection(self):
        """The CONNACK is larger than the client takes, so there never was a connection (3.1.4)."""
        watcher = self.connected()
        watcher.subscribe("will", "end")
        with Raw(self.broker, 5) as client:
            client.send(wire.connect("", 5, will={"topic": "will", "payload": "lost"},
                                     properties={"maximum_packet_size": 8}))
            client.closed()
        watcher.subscribe("all/shards")  # has asked every shard, so what they had is here
        watcher.publish("end", b"end")
        self.assertEqual(watcher.until(b"end"), [])


if __name__ == "__main__":
    main()
