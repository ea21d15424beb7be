"""A sender whose terminus keeps unsettled state comes back after its connection, or the broker, was lost (2.6.13)."""

import unittest

import amqp
from amqp_types import mapping
from broker import main
from stored import StoredBroker

LASTING = {"durable": 2}
ACCEPTED = 0x24


class Resume(unittest.TestCase):
    def setUp(self):
        self.broker = StoredBroker(shards=3)
        self.addCleanup(self.broker.remove)
        self.broker.start()

    def connect(self):
        raw = amqp.Raw(self.broker)
        self.addCleanup(raw.drop)
        raw.open("resuming")
        return raw

    def attach(self, address, *tags, **fields):
        """The link, and what the broker's map says of the tags that the sender has."""
        if tags:
            fields["unsettled"] = mapping({tag: None for tag in tags})
        raw = self.connect()
        link = raw.begin().sender(address, name="link", target=LASTING, **fields)
        self.assertEqual(link.remote.target.durable, 2)
        told = list(link.remote.unsettled or [])
        return raw, link, {bytes(tag): state and state.descriptor for tag, state in told}

    def bodies(self, address, count):
        link = self.connect().begin().receiver(address, credit=count + 1)
        got = link.bodies(count)
        link.nothing()
        return got

    def lose(self, raw, restart):
        if restart:
            self.broker.kill()
            self.broker.start()
        raw.drop()

    def test_what_was_accepted_is_told(self):
        for restart in False, True:
            for mode in 0, 1:
                with self.subTest(restart=restart, mode=mode):
                    address = "/queues/told%d%d" % (restart, mode)
                    raw, link, told = self.attach(address, rcv_settle_mode=mode)
                    self.assertEqual(told, {})
                    number = link.transfer(amqp.message(b"one"), tag=b"1")
                    self.assertEqual(link.outcome(number, settled=mode == 0).name, "accepted")
                    self.lose(raw, restart)
                    raw, link, told = self.attach(address, b"1", b"2", rcv_settle_mode=mode)
                    self.assertEqual(told, {b"1": ACCEPTED})
                    link.transfer(b"", tag=b"1", resume=True, settled=True)
                    number = link.transfer(amqp.message(b"two"), tag=b"2")
                    self.assertEqual(link.outcome(number, settled=mode == 0).name, "accepted")
                    raw.drop()
                    self.assertEqual(self.bodies(address, 2), [b"one", b"two"])

    def test_what_comes_again_is_there_once(self):
        address = "/queues/again"
        raw, link, told = self.attach(address)
        link.outcome(link.transfer(amqp.message(b"one"), tag=b"1"))
        self.lose(raw, True)
        raw, link, told = self.attach(address, b"1")
        self.assertEqual(told, {b"1": ACCEPTED})
        number = link.transfer(amqp.message(b"one"), tag=b"1", resume=True)
        self.assertEqual(link.outcome(number).name, "accepted")
        raw.drop()
        self.assertEqual(self.bodies(address, 1), [b"one"])


if __name__ == "__main__":
    main()
