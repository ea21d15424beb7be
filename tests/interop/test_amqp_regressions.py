"""Faults of AMQP that were found by attacking the broker, each with a test of its own."""

import select
import signal

from amqp import RECEIVER, AmqpBroker, AmqpCase, composite, frame, message, sym
from broker import main

QUEUES = """
    queue ring
    queue_max_messages 3
    queue_overflow drop_old
    queue newcomers
    queue_max_messages 3
    queue_overflow drop_new
"""


class Regressions(AmqpCase):
    GENERAL = [line.strip() for line in QUEUES.strip().splitlines()]

    def fill(self, session, name, count):
        """So many small messages into a queue, settled, in few writes."""
        link, body = session.sender(name), message(b"x")
        while count:
            now = min(link.credited(), count)
            session.raw.send(*(frame(session.channel, composite(
                "transfer", handle=link.handle, delivery_id=next(session.deliveries),
                delivery_tag=b"t", message_format=0, settled=True), body) for _ in range(now)))
            session.next_out += now
            link.count, link.credit, count = link.count + now, link.credit - now, count - now
        session.fence()
        link.detach()

    def held(self, count):
        """A session and a link with so many deliveries of its queue, unsettled."""
        session = self.session()
        self.fill(session, self.address(), count)
        link = session.receiver(self.address(), credit=count)
        for n in range(count):
            link.receive()
            if n % 1000 == 0:
                session.flow()
        return session, link

    def test_a_queue_that_drops_gives_credit(self):
        """It was full for its senders for ever, and never dropped anything."""
        for name, wanted in (("ring", [b"7", b"8", b"9"]), ("newcomers", [b"0", b"1", b"2"])):
            session = self.session()
            link = session.sender("queue://" + name)
            for n in range(10):
                link.credited()
                link.outcome(link.transfer(message(b"%d" % n)))
            self.assertEqual(session.receiver("queue://" + name, credit=10).bodies(3), wanted)

    def test_dispositions_that_find_nothing_stop_nobody(self):
        """Each cost a look at all that was unsettled, all of them in one turn of the shard."""
        session, _ = self.held(20000)
        mqtt = self.mqtt()
        frames = frame(0, composite("disposition", role=RECEIVER, first=100000, last=119000,
                                    settled=True, state=composite("accepted"))) * 2000
        session.raw.send(frames)
        session.raw.put(9, "begin", next_outgoing_id=0, incoming_window=1, outgoing_window=1)
        answered = 0
        while not select.select([session.raw.socket], [], [], 0)[0]:
            mqtt.ping()
            answered += 1
        self.assertGreater(answered, 10, "MQTT waited for AMQP")

    def test_annotations_are_not_multiplied(self):
        """`modified` of all that is unsettled kept 100,000 bytes with each message."""
        session, link = self.held(1000)
        session.dispose(RECEIVER, 0, 999, state=composite(
            "modified", annotations=[(sym("x-opt-large"), bytes(100000))]))
        self.depth(self.address(), 1000)
        session.fence()
        self.assertLess(self.sys(self.address())["bytes"], 1000 * 5000)
        link.flow(1)
        self.assertEqual(link.receive().message.annotations.dict(), {})
        session.dispose(RECEIVER, 1000, state=composite(
            "modified", annotations=[(sym("x-opt-small"), "kept")]))
        link.flow(1)
        self.assertEqual(link.receive().message.annotations.dict(), {"x-opt-small": "kept"})

    def durable(self, container, link, address):
        """A durable subscription, attached, with some credit."""
        return self.session(container).receiver(address, link, credit=5, source={
            "durable": 1, "expiry_policy": sym("never"), "capabilities": sym("topic")})

    def test_names_of_subscriptions_are_apart(self):
        """Container a/b with link c had the queue of container a with link b/c."""
        slash, level = self.address("/s"), self.address()
        first = self.durable(slash, "c", self.address("/1"))
        second = self.durable(level, "s/c", self.address("/2"))
        sender = self.session().sender(None)
        for n in "12":
            number = sender.transfer(message(n.encode(), properties={
                "to": "topic://" + self.address("/" + n)}))
            self.assertEqual(sender.outcome(number).name, "accepted")
        self.assertEqual(first.take()[0].body, b"1")
        self.assertEqual(second.take()[0].body, b"2")
        for link in first, second:
            link.nothing()
            link.detach(closed=True)

    def test_subscription_to_another_address(self):
        """It had both addresses then, and each one that was ever asked for."""
        name = self.address()
        self.durable(name, "link", self.address("/old")).detach(closed=False)
        link = self.durable(name, "link", self.address("/new"))
        sender = self.session().sender(None)
        for which in "old", "new":
            sender.credited()
            sender.outcome(sender.transfer(message(which.encode(), properties={
                "to": "topic://" + self.address("/" + which)})))
        self.assertEqual(link.take()[0].body, b"new")
        link.nothing()
        link.detach(closed=True)

    def test_window_that_opens_by_the_flow_of_another_link(self):
        """Links that found the session's window closed waited on, if the flow named a link."""
        filler = self.session()
        for name in "/a", "/b":
            self.fill(filler, self.address(name), 1)
        session = self.amqp().begin(incoming_window=0)
        first = session.receiver(self.address("/a"), credit=1)
        session.fence()
        second = session.receiver(self.address("/empty"))
        session.window = 100
        second.flow(5)
        self.assertEqual(first.receive().body, b"x")


class Reload(AmqpCase):
    @classmethod
    def setUpClass(cls):
        cls.broker = AmqpBroker([], ["queue small", "queue_max_messages 2"]).start()

    def configure(self, before, after):
        path = self.broker.arguments[self.broker.arguments.index("-c") + 1]
        with open(path, encoding="utf-8") as file:
            text = file.read()
        self.assertIn(before, text)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace(before, after))
        self.broker.process.child.send_signal(signal.SIGHUP)

    def test_a_sender_that_waits_hears_of_a_raised_limit(self):
        """It waited until something was taken from the queue."""
        link = self.session().sender("queue://small")
        for n in range(2):
            self.assertEqual(link.send("%d" % n).name, "accepted")
        link.session.fence()
        link.look()
        self.configure("queue_max_messages 2", "queue_max_messages 20")
        link.credit = 0
        link.credited()
        self.assertEqual(link.send("3").name, "accepted")


class Memory(AmqpCase):
    GENERAL = ["queue full", "queue_durability memory",     # else the disk takes what memory does not
               "memory_limit %d" % (64 << 20), "coap_max_peers 64", "coap_max_replies 64",
               "queue_default_max_bytes 1000000000"]

    def test_a_full_memory_can_be_emptied(self):
        """Messages took all of it, and a consumer could not be told what it takes."""
        link, sent = self.session().sender("full"), 0
        while sent < 40000:
            link.credited()
            state = link.outcome(link.transfer(message(b"x" * 20000)))
            if state.name == "rejected":
                break
            sent += 1
        self.assertIn(sent, range(100, 40000))
        consumer, taken = self.session().receiver("full"), 0
        while taken < sent:
            now = min(500, sent - taken)
            consumer.flow(now)
            taken += len(consumer.take(now))
            consumer.session.flow()
        self.assertEqual(taken, sent)


if __name__ == "__main__":
    main()
