"""What is there again after the broker was killed, or ended in order, and started on the same folder.

Each test runs both ways: SIGKILL and SIGTERM.
"""

import functools
import select
import time
import unittest

import amqp
import coap
import proton.reactor
import raw
import wire
from amqp_clients import Proton
from broker import SLOW, main
from stored import StoredBroker

DURABLE = {"durable": 2, "expiry_policy": "never"}
WEEK = 7 * 24 * 3600


def both(test):
    """Runs a test with each way to end a broker, which is `self.again()`."""
    @functools.wraps(test)
    def run(self):
        for way in "kill", "terminate":
            with self.subTest(way=way):
                self.way = way
                test(self)
    return run


def wait_until(moment):
    """For what the wall clock decides while no broker is there to tell."""
    while time.monotonic() < moment:
        select.select([], [], [], moment - time.monotonic())


class StoredCase(unittest.TestCase):
    """With a broker for each run of a test."""

    GENERAL, OPTIONS = (), None
    way = "kill"

    def begin(self, **more):
        more.setdefault("general", self.GENERAL)
        more.setdefault("options", self.OPTIONS)
        self.broker = StoredBroker(**more)
        self.addCleanup(self.broker.remove)
        return self.broker.start()

    def end(self):
        """Ends the broker in this run's way."""
        if self.way == "kill":
            self.broker.kill()
        else:
            status = self.broker.terminate()
            self.assertEqual(status, 0, self.broker.log()[-4000:])

    def again(self):
        self.end()
        self.broker.start()

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before and getattr(self, "broker", None):
            print("--- the broker's last log in %s\n%s\n---" % (self.id(), self.broker.log()[-4000:]))

    # Clients.

    def session(self, name, present=None, version=5, expiry=3600, clean=False, **fields):
        """A raw client of a session that lasts."""
        made = raw.Raw(self.broker, version)
        self.addCleanup(made.drop)
        if version == 5:
            fields.setdefault("properties", {})["session_expiry"] = expiry
        made.connect(name, present=present, clean=clean, **fields)
        return made

    def away(self, name, topic, qos=1, **more):
        """A session that has subscribed and left in order: what comes for it waits."""
        made = self.session(name, **more)
        made.subscribe(topic, qos=qos)
        made.leave()

    def client(self, version=5, **fields):
        """A raw client with nothing to keep."""
        made = raw.Raw(self.broker, version)
        self.addCleanup(made.drop)
        made.connect(**fields)
        return made

    def publish(self, topic, *payloads, qos=1, **fields):
        with raw.Raw(self.broker, 5) as made:
            made.connect()
            for payload in payloads:
                self.assertLess(made.publish(topic, payload, qos, **fields), 0x80)

    def fence(self):
        """What clients have said up to now, which nobody acknowledges, is on disk: this is later."""
        self.publish("elsewhere", b"fence", retain=True)

    def nothing(self, client):
        """Nothing waits for this client: what is published to it now comes first."""
        client.subscribe("fence/#", qos=1)
        self.publish("fence/x", b"fence")
        self.assertEqual([packet.payload for packet in client.until(b"fence")], [])

    def came(self, client, *payloads):
        self.assertEqual([client.message().payload for _ in payloads], list(payloads))

    def amqp(self, container=None):
        made = amqp.Raw(self.broker)
        self.addCleanup(made.drop)
        made.open(container)
        return made

    def coap(self):
        made = coap.Client(self.broker.coap_port)
        self.addCleanup(made.close)
        return made


class Mqtt(StoredCase):
    @both
    def test_subscriptions(self):
        self.begin()
        one = self.session("one")
        self.assertEqual(one.subscribe("a/+", qos=2, properties={"subscription_id": 7}), [2])
        one.subscribe("b/#", qos=1)
        one.subscribe("c", options=2 | 4 | 8)     # QoS 2, no local, retain as published
        one.subscribe("gone", qos=1)
        one.unsubscribe("gone")
        one.drop()
        self.again()
        one = self.session("one", present=True)
        self.publish("gone", b"no")
        self.publish("a/x", b"1", qos=2)
        self.publish("b/x/y", b"2", qos=2)
        self.publish("c", b"3", retain=True)
        one.publish("c", b"mine", 1)
        first, second, third = one.message(), one.message(), one.message()
        self.assertEqual((first.payload, first.qos, first.props.get("subscription_id")), (b"1", 2, [7]))
        self.assertEqual((second.payload, second.qos, second.props.get("subscription_id")),
                         (b"2", 1, None))
        self.assertEqual((third.payload, third.qos, third.retain), (b"3", 1, True))
        self.nothing(one)
        self.broker.stop()

    @both
    def test_queued_messages_with_all_they_carry(self):
        self.begin()
        self.away("one", "q/#", 2)
        given = {"payload_format": 1, "content_type": "text/plain", "response_topic": "re/ply",
                 "correlation_data": b"\x00\xff", "user": ("key", "value")}
        self.publish("q/props", b"text", properties=given)
        self.publish("q/large", b"L" * 300000, qos=2)
        for n in range(50):
            self.publish("q/n", b"%d" % n, qos=1 + n % 2)
        self.again()
        one = self.session("one", present=True)
        got = one.message()
        self.assertEqual(got.payload, b"text")
        self.assertEqual(got.props, dict(given, user=[given["user"]]))
        self.assertEqual(one.message().payload, b"L" * 300000)
        numbers = [one.message() for _ in range(50)]
        self.assertEqual([packet.payload for packet in numbers], [b"%d" % n for n in range(50)])
        self.assertEqual([packet.qos for packet in numbers], [1 + n % 2 for n in range(50)])
        self.nothing(one)
        self.again()
        self.nothing(self.session("one", present=True))
        self.broker.stop()

    def delivered(self, qos, version, count=3):
        """A session with unacknowledged deliveries: (client, packets)."""
        one = self.session("one", version=version)
        one.subscribe("f/#", qos=qos)
        self.publish("f/x", *[b"%d" % n for n in range(count)], qos=qos)
        packets = [one.wait(wire.PUBLISH) for _ in range(count)]
        self.assertEqual([packet.dup for packet in packets], [False] * count)
        return one, packets

    @both
    def test_qos_1_on_its_way_out_has_its_packet_id_and_dup(self):
        for version in (4, 5):
            self.begin()
            one, sent = self.delivered(1, version)
            one.send(wire.ack(wire.PUBACK, sent[1].packet_id))
            one.ping()
            one.drop()
            self.fence()
            self.again()
            one = self.session("one", present=True, version=version)
            for packet in (sent[0], sent[2]):
                one.expect(wire.PUBLISH, packet_id=packet.packet_id, dup=True, payload=packet.payload)
                one.send(wire.ack(wire.PUBACK, packet.packet_id))
            self.nothing(one)
            self.again()
            self.nothing(self.session("one", present=True, version=version))
            self.broker.stop()

    @both
    def test_qos_2_on_its_way_out_goes_on_where_it_was(self):
        for version in (4, 5):
            self.begin()
            one, sent = self.delivered(2, version)
            one.send(wire.ack(wire.PUBREC, sent[0].packet_id))
            one.expect(wire.PUBREL, packet_id=sent[0].packet_id)
            one.drop()
            self.again()
            one = self.session("one", present=True, version=version)
            got = [one.packet() for _ in sent]
            self.assertEqual(sorted((p.type, p.packet_id) for p in got),
                             sorted([(wire.PUBREL, sent[0].packet_id),
                                     (wire.PUBLISH, sent[1].packet_id),
                                     (wire.PUBLISH, sent[2].packet_id)]))
            again = [p for p in got if p.type == wire.PUBLISH]
            self.assertEqual([(p.payload, p.dup) for p in again], [(b"1", True), (b"2", True)])
            one.send(wire.ack(wire.PUBCOMP, sent[0].packet_id))
            for packet in again:
                one.send(wire.ack(wire.PUBREC, packet.packet_id))
                one.expect(wire.PUBREL, packet_id=packet.packet_id)
                one.send(wire.ack(wire.PUBCOMP, packet.packet_id))
            self.nothing(one)
            self.again()
            self.nothing(self.session("one", present=True, version=version))
            self.broker.stop()

    @both
    def test_qos_2_on_its_way_in_is_known_by_its_packet_id(self):
        for version in (4, 5):
            self.begin()
            self.away("taker", "in/#", 2)
            giver = self.session("giver", version=version)
            for packet_id in (7, 8, 9):
                giver.send(wire.publish("in/x", b"%d" % packet_id, 2, packet_id, version=version))
                giver.expect(wire.PUBREC, packet_id=packet_id)
            giver.send(wire.ack(wire.PUBREL, 7))
            giver.expect(wire.PUBCOMP, packet_id=7)
            self.again()
            giver = self.session("giver", present=True, version=version)
            giver.send(wire.ack(wire.PUBREL, 8))    # PUBREC had come
            giver.expect(wire.PUBCOMP, packet_id=8)
            giver.send(wire.publish("in/x", b"9", 2, 9, dup=True, version=version))     # it had not
            giver.expect(wire.PUBREC, packet_id=9)
            giver.send(wire.ack(wire.PUBREL, 9))
            giver.expect(wire.PUBCOMP, packet_id=9)
            giver.send(wire.publish("in/x", b"new", 2, 7, version=version))     # that id is free again
            giver.expect(wire.PUBREC, packet_id=7)
            giver.send(wire.ack(wire.PUBREL, 7))
            giver.expect(wire.PUBCOMP, packet_id=7)
            taker = self.session("taker", present=True)
            self.came(taker, b"7", b"8", b"9", b"new")
            self.nothing(taker)
            self.broker.stop()

    @both
    def test_the_will_of_a_client_that_was_there(self):
        self.begin()
        self.away("watcher", "will/#")
        will = {"topic": "will/one", "payload": b"gone", "qos": 1, "retain": True,
                "properties": {"content_type": "text/plain"}}
        self.session("one", will=will)
        self.session("orderly", will=dict(will, topic="will/orderly")).leave()
        self.fence()
        self.again()
        watcher = self.session("watcher", present=True)
        got = watcher.message()
        self.assertEqual((got.topic, got.payload, got.props.get("content_type")),
                         ("will/one", b"gone", "text/plain"))
        self.nothing(watcher)
        late = self.client()
        late.subscribe("will/#", qos=1)
        self.came(late, b"gone")
        self.again()
        self.nothing(self.session("watcher", present=True))
        self.broker.stop()

    @both
    def test_a_will_with_a_delay_waits_for_its_client(self):
        self.begin()
        self.away("watcher", "will/#")
        for name, delay in (("returns", WEEK), ("stays-away", 1)):
            self.session(name, expiry=WEEK, will={"topic": "will/" + name, "payload": name.encode(), "qos": 1,
                                                 "properties": {"will_delay": delay}}).drop()
        self.again()
        self.session("returns", present=True)
        watcher = self.session("watcher", present=True)
        self.came(watcher, b"stays-away")
        self.nothing(watcher)
        self.broker.stop()

    @both
    def test_sessions_expire_while_no_broker_runs(self):
        self.begin()
        for name, expiry in (("short", 1), ("long", 3600), ("never", 0xFFFFFFFF)):
            self.away(name, "e/#", expiry=expiry)
        left = time.monotonic()
        self.end()
        wait_until(left + 2.1)
        self.broker.start()
        self.publish("e/x", b"1")
        self.session("short", present=False)
        for name in "long", "never":
            self.came(self.session(name, present=True), b"1")
        self.broker.stop()

    @both
    def test_what_was_ended_stays_ended(self):
        self.begin()
        self.session("clean").subscribe("x/#", qos=1)
        self.session("clean", clean=True, expiry=0).leave()
        self.session("ended").leave(0, {"session_expiry": 0})
        made = self.session("volatile", expiry=0)
        made.subscribe("x/#", qos=1)
        self.again()
        for name in "clean", "ended", "volatile":
            self.session(name, present=False)
        self.broker.stop()

    @both
    def test_expiry_of_messages(self):
        self.begin()
        self.away("one", "e/#")
        self.publish("e/short", b"short", properties={"message_expiry": 1})
        self.publish("e/long", b"long", properties={"message_expiry": 3600})
        self.publish("e/kept", b"kept short", retain=True, properties={"message_expiry": 1})
        self.publish("e/kept/long", b"kept long", retain=True, properties={"message_expiry": 3600})
        sent = time.monotonic()
        self.end()
        wait_until(sent + 2.1)
        self.broker.start()
        one = self.session("one", present=True)
        for payload in b"long", b"kept long":
            got = one.message()
            self.assertEqual(got.payload, payload)
            self.assertLessEqual(3600 - 60 * SLOW, got.props["message_expiry"])
            self.assertLess(got.props["message_expiry"], 3600)
        self.nothing(one)
        late = self.client()
        late.subscribe("e/#", qos=1)
        self.came(late, b"kept long")
        self.nothing(late)
        self.broker.stop()

    @both
    def test_order_goes_on_across_restarts(self):
        self.begin()
        self.away("one", "o")
        for part in range(3):
            self.publish("o", *[b"%d" % n for n in range(part * 20, part * 20 + 20)])
            if part < 2:
                self.again()
        one = self.session("one", present=True)
        self.came(one, *[b"%d" % n for n in range(60)])
        self.broker.stop()


class Amqp(StoredCase):
    GENERAL = ["queue configured", "queue_bind bound/#"]

    def send(self, name, *bodies):
        link = self.amqp().begin().sender(name)
        for body in bodies:
            self.assertEqual(link.send(body).name, "accepted")

    def rest(self, name, *bodies):
        """What a queue holds, to the last; settled."""
        link = self.amqp().begin().receiver(name)
        link.flow(len(bodies) + 5)
        self.assertEqual(link.bodies(len(bodies)), [body.encode() for body in bodies])
        link.nothing()
        link.detach()

    @both
    def test_queues_in_order_without_what_was_settled(self):
        self.begin()
        for name in "/queues/configured", "declared":
            self.send(name, *map(str, range(20)))
            session = self.amqp().begin()
            link = session.receiver(name, credit=8)
            got = [link.receive() for _ in range(8)]
            link.settle(got[0])
            link.settle(got[4])
            session.fence()
        self.fence()
        self.again()
        for name in "/queues/configured", "declared":
            self.send(name, "20")
            self.rest(name, *[str(n) for n in range(21) if n not in (0, 4)])
        self.fence()
        self.again()
        for name in "/queues/configured", "declared":
            self.rest(name)
        self.broker.stop()

    @both
    def test_a_configured_queue_gets_by_its_binding(self):
        self.begin()
        self.publish("bound/x", b"1", b"2")
        self.again()
        self.publish("bound/x", b"3")
        self.rest("/queues/configured", "1", "2", "3")
        self.broker.stop()

    @both
    def test_a_declared_queue_is_still_bound_to_its_address(self):
        self.begin()
        self.send("declared", "1")
        self.again()
        self.publish("declared", b"2")
        self.rest("/queues/declared", "1", "2")
        self.broker.stop()

    @both
    def test_a_message_bit_for_bit(self):
        self.begin()
        whole = amqp.message(b"body", b"another", properties={"message_id": "id", "subject": "subject"},
                             application=[("key", "value")], footer={"foot": "note"})
        link = self.amqp().begin().sender("/queues/configured")
        self.assertEqual(link.send(whole).name, "accepted")
        self.again()
        link = self.amqp().begin().receiver("/queues/configured", credit=1)
        self.assertEqual(link.take()[0].message.bare, amqp.Message(whole).bare)
        self.broker.stop()

    @both
    def test_a_durable_subscription(self):
        self.begin()

        def subscribe():
            made = self.amqp("container")
            return made, made.begin().receiver("topic://news", name="subscription", source=DURABLE)
        made, _ = subscribe()
        made.drop()
        self.publish("news", b"1", b"2")
        self.again()
        self.publish("news", b"3")
        _, link = subscribe()
        link.flow(10)
        self.assertEqual(link.bodies(3), [b"1", b"2", b"3"])
        link.nothing()
        link.detach(closed=True)
        self.fence()
        self.again()
        self.publish("news", b"4")
        _, link = subscribe()
        link.nothing()
        self.broker.stop()

    @both
    def test_a_durable_subscription_of_proton(self):
        self.begin()

        class Named:
            def __init__(self, port):
                self.amqp_port = port

        def client():
            container = proton.reactor.Container()
            container.container_id = "durable-proton"
            return Proton(Named(self.broker.amqp_port), container=container)
        options = [proton.reactor.DurableSubscription()]
        first = client()
        first.receiver("topic://news", name="subscription", options=options).link.detach()
        first.close()
        self.publish("news", b"kept")
        self.again()
        second = client()
        got = second.receiver("topic://news", name="subscription", options=options, credit=1).receive()
        self.assertEqual(bytes(got.body), b"kept")
        second.close()
        self.broker.stop()

    @both
    def test_attempts_are_counted(self):
        self.begin()
        self.send("tried", "1")
        link = self.amqp().begin().receiver("tried", credit=1)
        link.settle(link.receive(), "modified", delivery_failed=True)
        link.detach()
        self.fence()
        self.again()
        link = self.amqp().begin().receiver("tried", credit=1)
        self.assertEqual(link.receive().count, 1)
        self.broker.stop()


class Values(StoredCase):
    @both
    def test_values_with_content_type_and_version(self):
        self.begin()
        client = self.coap()
        put = client.put("v/json", b'{"a":1}', form=coap.JSON)
        before = client.get("v/json")
        self.publish("v/mqtt", b"text", retain=True, properties={"content_type": "text/plain",
                                                                 "user": ("key", "value")})
        client.put("v/gone", b"x")
        client.delete("v/gone")
        client.put("v/empty", b"")
        client.put_large("v/large", b"0123456789abcdef" * 1000)
        self.assertIn(put.code, (coap.CREATED, coap.CHANGED))
        self.again()
        client = self.coap()
        after = client.get("v/json")
        self.assertEqual((after.payload, after.uint(coap.CONTENT_FORMAT), after.option(coap.ETAG)),
                         (b'{"a":1}', coap.JSON, before.option(coap.ETAG)))
        self.assertIsNotNone(after.option(coap.ETAG))
        client.get("v/json", want=coap.VALID, options=[(coap.ETAG, before.option(coap.ETAG))])
        client.get("v/gone", want=coap.NOT_FOUND)
        self.assertEqual(client.get("v/empty").payload, b"")
        self.assertEqual(client.get_large("v/large")[0], b"0123456789abcdef" * 1000)
        self.assertEqual(client.get("v/mqtt").uint(coap.CONTENT_FORMAT) or 0, coap.TEXT)
        client.put("v/json", b"2", want=coap.PRECONDITION, options=[(coap.IF_MATCH, b"\x01\x02\x03")])
        client.put("v/json", b"2", want=coap.CHANGED,
                   options=[(coap.IF_MATCH, before.option(coap.ETAG))])
        changed = client.get("v/json").option(coap.ETAG)
        self.assertNotEqual(changed, before.option(coap.ETAG))
        late = self.client()
        late.subscribe("v/mqtt", qos=1)
        got = late.message()
        self.assertEqual((got.payload, got.retain, got.props.get("content_type"), got.props.get("user")),
                         (b"text", True, "text/plain", [("key", "value")]))
        self.broker.stop()

    @both
    def test_retained_messages_by_wildcard_and_the_cleared_ones(self):
        self.begin()
        for n in range(100):
            self.publish("r/%d" % n, b"%d" % n, retain=True)
        self.publish("r/7", b"", retain=True)
        self.publish("r/8", b"again", retain=True)
        self.again()
        late = self.client()
        late.subscribe("r/#", qos=1)
        got = {packet.topic: packet.payload for packet in (late.message() for _ in range(99))}
        wanted = {"r/%d" % n: b"%d" % n for n in range(100) if n != 7}
        wanted["r/8"] = b"again"
        self.assertEqual(got, wanted)
        self.nothing(late)
        self.broker.stop()

    @both
    def test_no_two_values_have_the_same_version(self):
        self.begin()
        seen = set()
        for n in range(5):
            client = self.coap()
            client.put("v/x", b"%d" % n)
            seen.add(client.get("v/x").option(coap.ETAG))
            self.again()
        self.assertEqual(len(seen), 5)
        self.broker.stop()


class Shards(StoredCase):
    @both
    def test_any_number_of_shards_serves_what_another_has_kept(self):
        self.begin(shards=1)
        names = ["s%d" % n for n in range(20)]
        for name in names:
            self.away(name, name + "/#", 2)
            self.amqp_send(name, "first of " + name)
            self.publish("value/" + name, name.encode(), retain=True)
        for shards in (3, 2, 5, 1):
            for name in names:
                self.publish(name + "/x", b"%d" % shards, qos=2)
            self.end()
            self.broker.shards = shards
            self.broker.start()
        late = self.client()
        late.subscribe("value/#", qos=1)
        self.assertEqual({late.message().payload for _ in names}, {name.encode() for name in names})
        for name in names:
            self.came(self.session(name, present=True), b"3", b"2", b"5", b"1")
            link = self.amqp().begin().receiver("/queues/" + name, credit=1)
            self.assertEqual(link.bodies(1), [b"first of " + name.encode()])
        self.broker.stop()

    def amqp_send(self, name, body):
        self.assertEqual(self.amqp().begin().sender("/queues/" + name).send(body).name, "accepted")


if __name__ == "__main__":
    main()
