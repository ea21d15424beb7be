"""Queues by AMQP: credit, settlement in every way, counting, limits, dead letters, expiry; a named test
for each, by a raw client that sees every frame. Names and topics are in test_amqp_names.py.
"""

import time

from amqp import (RECEIVER, SECOND, SENDER, SETTLED, AmqpCase, Symbol, composite,
                  condition, frame, message)
from broker import SLOW, main

QUEUES = """
    queue dead
    queue_bind dead/#
    queue letters
    queue_dead_letter dead/letters
    queue attempts
    queue_max_attempts 3
    queue_dead_letter dead/attempts
    queue aged
    queue_message_ttl 1
    queue_dead_letter dead/aged
    queue small
    queue_max_messages 3
    queue_overflow refuse
    queue heavy
    queue_max_bytes 5000
    queue_overflow refuse
    queue newest
    queue_bind newest/#
    queue_max_messages 3
    queue_overflow drop_old
    queue oldest
    queue_bind oldest/#
    queue_max_messages 3
    queue_overflow drop_new
"""


class Queues(AmqpCase):
    GENERAL = [line.strip() for line in QUEUES.strip().splitlines()]

    def setUp(self):
        super().setUp()
        self.name = self.address()

    def filled(self, count, name=None):
        """A session, with so many messages "0", "1", ... in the queue."""
        session = self.session()
        link = session.sender(name or self.name)
        for n in range(count):
            self.assertEqual(link.send("%d" % n).name, "accepted")
        link.detach()
        return session

    def reads(self, link, *wanted, counts=None):
        """The next messages of a link, unsettled."""
        got = [link.receive() for _ in wanted]
        self.assertEqual([each.body.decode() for each in got], [str(each) for each in wanted])
        if counts is not None:
            self.assertEqual([each.count for each in got], counts)
        return got

    def rest(self, *wanted, counts=None):
        """What another client finds in the queue, in order; it waits for each."""
        link = self.session().receiver(self.name, credit=len(wanted))
        got = self.reads(link, *wanted, counts=counts)
        link.nothing()
        link.session.dispose(RECEIVER, got[0].id, got[-1].id)
        link.detach()

    @staticmethod
    def silent(session, *names):
        """A few round trips; there must be no frame of these names."""
        for _ in range(3):
            session.fence()
        seen = [got for got in session.raw.inbox if got.name in names]
        if seen:
            raise AssertionError("unexpected %s" % seen)


class Credit(Queues):
    def test_drain_without_messages(self):
        link = self.session().receiver(self.name)
        self.assertEqual(link.drain(5), [])
        self.assertEqual(link.drain(1), [])

    def test_drain_with_messages(self):
        link = self.filled(3).receiver(self.name)
        got = link.drain(10)
        self.assertEqual([each.body for each in got], [b"0", b"1", b"2"])
        self.assertEqual(link.drain(2), [])

    def test_drain_with_as_many_messages_as_credit(self):
        link = self.filled(4).receiver(self.name)
        self.assertEqual(len(link.drain(2)), 2)
        self.assertEqual(len(link.drain(2)), 2)
        self.assertEqual(link.drain(2), [])

    def test_drain_of_credit_that_was_there(self):
        """2.6.7: drain makes what is left of the credit be used up."""
        link = self.session().receiver(self.name, credit=100)
        link.session.fence()
        self.assertEqual(link.drain(100), [])
        sender = link.session.sender(self.name)
        sender.send("later")
        self.silent(link.session, "transfer")
        link.flow(1)
        self.reads(link, "later")

    def test_credit_topped_up(self):
        session = self.filled(6)
        link = session.receiver(self.name, credit=2)
        self.reads(link, 0, 1)
        self.silent(session, "transfer")
        link.flow(1)
        self.reads(link, 2)
        link.flow(10)
        self.reads(link, 3, 4, 5)

    def test_credit_topped_up_before_it_is_used(self):
        """Credit is a total from a delivery-count, not an increment."""
        session = self.session()
        link = session.receiver(self.name, credit=2)
        link.flow(2)
        link.flow(2)
        sender = session.sender(self.name)
        for n in range(4):
            sender.send("%d" % n)
        self.reads(link, 0, 1)
        self.silent(session, "transfer")

    def test_credit_taken_back(self):
        session = self.session()
        link = session.receiver(self.name, credit=5)
        link.flow(0)
        session.fence()
        sender = session.sender(self.name)
        for n in range(3):
            sender.send("%d" % n)
        self.silent(session, "transfer")
        link.flow(1)
        self.reads(link, 0)
        self.silent(session, "transfer")

    def test_credit_from_an_old_delivery_count(self):
        """2.6.7: link-credit counts from the receiver's delivery-count, so what was sent meanwhile
        is taken off."""
        session = self.filled(5)
        link = session.receiver(self.name, credit=2)
        self.reads(link, 0, 1)
        link.count -= 2
        link.flow(3)
        link.count += 2
        self.reads(link, 2)
        self.silent(session, "transfer")

    def test_echo_of_a_link(self):
        session = self.filled(3)
        link = session.receiver(self.name)
        link.flow(0, echo=True)
        got = session.wait("flow", where=lambda got: got.handle == link.theirs)
        self.assertEqual((got.link_credit, got.delivery_count), (0, link.count))
        self.assertIn(got.available, (None, 3))

    def test_a_sender_is_given_credit_again(self):
        link = self.session().sender(self.name)
        first = link.credited()
        for n in range(min(first, 2000) + 10):
            link.credited()
            link.transfer(message(b"%d" % n), settled=True)
        self.depth(self.name, min(first, 2000) + 10)

    def test_several_consumers_share_fairly(self):
        sessions = [self.session() for _ in range(3)]
        links = [session.receiver(self.name, credit=90) for session in sessions]
        for session in sessions:
            session.fence()
        self.depth(self.name, 0)
        sender = self.session().sender(self.name)
        for n in range(90):
            sender.send("%d" % n)
        shares, seen = [], []
        for link in links:
            got = link.drain(link.credit)
            seen += [int(each.body) for each in got]
            shares.append(len(got))
        self.assertEqual(sorted(seen), list(range(90)))
        self.assertGreaterEqual(min(shares), 20, shares)

    def test_several_consumers_of_one_connection_share_fairly(self):
        session = self.session()
        links = [session.receiver(self.name, credit=30) for _ in range(3)]
        sender = session.sender(self.name)
        for n in range(30):
            sender.send("%d" % n)
        shares = [len(link.drain(link.credit)) for link in links]
        self.assertEqual(sum(shares), 30)
        self.assertGreaterEqual(min(shares), 8, shares)

    def test_a_consumer_without_credit_holds_nobody_up(self):
        session = self.session()
        idle, busy = session.receiver(self.name), session.receiver(self.name, credit=10)
        sender = session.sender(self.name)
        for n in range(5):
            sender.send("%d" % n)
        self.reads(busy, 0, 1, 2, 3, 4)
        self.assertEqual(idle.drain(5), [])


class Windows(Queues):
    def test_window_closed_and_opened(self):
        filler = self.filled(5)
        session = filler.raw.begin(1, incoming_window=2)
        link = session.receiver(self.name, credit=10)
        self.reads(link, 0, 1)
        session.window = 0
        self.silent(session, "transfer")
        session.window = 2
        session.flow()
        self.reads(link, 2, 3)
        session.window = 0
        self.silent(session, "transfer")
        session.window = 10
        session.flow()
        self.reads(link, 4)

    def test_window_in_the_middle_of_a_delivery(self):
        raw = self.amqp(max_frame_size=512)
        sender = raw.begin(0).sender(self.name)
        sender.send(message(b"x" * 5000))
        session = raw.begin(1, incoming_window=1)
        session.receiver(self.name, credit=1)
        got, more = [], True
        while more:
            part = session.wait("transfer")
            got.append(part.payload)
            session.next_in += 1
            more = part.more
            session.window = 0
            session.fence()
            self.assertEqual([each for each in raw.inbox if each.name == "transfer"], [])
            session.window = 1
            session.flow()
        self.assertGreater(len(got), 9)
        self.assertTrue(b"".join(got).endswith(b"x" * 5000))

    def test_window_of_one_session_does_not_close_another(self):
        raw = self.filled(4).raw
        shut = raw.begin(5, incoming_window=0)
        shut.receiver(self.name, credit=2)
        shut.window = 0
        shut.fence()
        other = self.session()
        sender = other.sender(self.name + "/other")
        link = other.receiver(self.name + "/other", credit=1)
        sender.send("x")
        self.reads(link, "x")

    def test_the_broker_s_window_is_opened_again(self):
        """A delivery of more frames than the window: it is said how far one may go."""
        session = self.session()
        link = session.sender(self.name)
        link.credited()
        window = session.remote.incoming_window
        self.assertLessEqual(window, 1 << 16, "a window that never closes")
        limit, sent, total = session.remote.incoming_window, 0, window + 100
        said = {"delivery_id": 0, "delivery_tag": b"t"}
        head = bytes.fromhex("005375b0") + (total - 1).to_bytes(4, "big")
        while sent < total:
            while sent >= limit:
                got = session.wait("flow")
                if got.next_incoming_id is not None:
                    limit = got.next_incoming_id + got.incoming_window
            batch = []
            while sent < min(limit, total):
                batch.append(frame(0, composite("transfer", handle=0, more=sent + 1 < total, **said),
                                   b"x" if sent else head))
                said, sent = {}, sent + 1
            session.raw.send(*batch)
        self.assertEqual(link.outcome(0).name, "accepted")
        session.next_out = total
        got = session.receiver(self.name, credit=1).take()[0]
        self.assertEqual(got.body, b"x" * (total - 1))


class Settlement(Queues):
    def test_dispositions_in_ranges(self):
        session = self.filled(10)
        link = session.receiver(self.name, credit=10)
        got = self.reads(link, *range(10))
        session.dispose(RECEIVER, got[0].id, got[3].id)
        session.dispose(RECEIVER, got[6].id, got[8].id)
        session.fence()
        session.raw.drop()
        self.rest(4, 5, 9, counts=[1, 1, 1])

    def test_dispositions_out_of_order(self):
        session = self.filled(6)
        link = session.receiver(self.name, credit=6)
        got = self.reads(link, *range(6))
        for n in 5, 2, 0:
            link.settle(got[n])
        session.fence()
        session.raw.drop()
        self.rest(1, 3, 4)

    def test_disposition_over_two_links(self):
        """Delivery-ids belong to the session: a range may be about several links."""
        session = self.filled(4)
        first = session.receiver(self.name, credit=2)
        self.reads(first, 0, 1)
        second = session.receiver(self.name, credit=2)
        got = self.reads(second, 2, 3)
        session.dispose(RECEIVER, got[0].id - 2, got[1].id)
        self.depth(self.name, 0)
        first.nothing()

    def test_disposition_that_is_not_settled_yet(self):
        """The outcome counts when it is settled, by whichever side; mode first settles at once."""
        session = self.filled(1)
        link = session.receiver(self.name, credit=1)
        got = self.reads(link, 0)[0]
        link.settle(got, settled=False)
        session.fence()
        link.settle(got)
        self.depth(self.name, 0)

    def test_settled_without_an_outcome(self):
        """3.5.3: no state, settled: the default outcome of the source, released unless one was named."""
        session = self.filled(1)
        link = session.receiver(self.name, credit=1)
        link.settle(self.reads(link, 0)[0], state=None)
        link.flow(1)
        again = self.reads(link, 0, counts=[0])[0]
        link.settle(again)
        self.depth(self.name, 0)

    def test_release_keeps_order(self):
        session = self.filled(5)
        link = session.receiver(self.name, credit=5)
        got = self.reads(link, *range(5))
        for each in reversed(got):
            link.settle(each, "released")
        session.fence()
        link.flow(5)
        self.reads(link, 0, 1, 2, 3, 4, counts=[0] * 5)

    def test_release_of_some_keeps_order(self):
        session = self.filled(8)
        link = session.receiver(self.name, credit=5)
        got = self.reads(link, *range(5))
        link.settle(got[3], "released")
        link.settle(got[1], "released")
        session.fence()
        link.flow(10)
        self.reads(link, 1, 3, 5, 6, 7)

    def test_detach_requeues(self):
        session = self.filled(3)
        link = session.receiver(self.name, credit=3)
        link.settle(self.reads(link, 0, 1, 2)[0])
        link.detach()
        self.rest(1, 2)

    def test_end_requeues(self):
        session = self.filled(3)
        link = session.receiver(self.name, credit=3)
        link.settle(self.reads(link, 0, 1, 2)[1])
        session.end()
        self.rest(0, 2)

    def test_close_requeues(self):
        session = self.filled(2)
        self.reads(session.receiver(self.name, credit=3), 0, 1)
        session.raw.leave()
        self.rest(0, 1)

    def test_lost_connection_requeues_and_counts(self):
        session = self.filled(3)
        self.reads(session.receiver(self.name, credit=2), 0, 1)
        session.raw.drop()
        self.rest(0, 1, 2, counts=[1, 1, 0])

    def test_lost_connection_loses_no_order(self):
        session = self.filled(20)
        for step in range(3):
            session = self.session()
            self.reads(session.receiver(self.name, credit=20), *range(20), counts=[step] * 20)
            session.raw.drop()
        self.rest(*range(20))

    def test_modified_counts_when_it_failed(self):
        session = self.filled(1)
        link = session.receiver(self.name, credit=1)
        got = self.reads(link, 0, counts=[0])[0]
        self.assertIsNot(got.message.header.first_acquirer, False)
        for fields, count in (({"delivery_failed": True}, 1), ({}, 1), ({"delivery_failed": False}, 1),
                              ({"delivery_failed": True}, 2)):
            link.settle(got, composite("modified", **fields))
            link.flow(1)
            got = self.reads(link, 0, counts=[count])[0]
        link.settle(got, "released")
        link.flow(1)
        got = self.reads(link, 0, counts=[2])[0]
        self.assertFalse(got.message.header.first_acquirer)

    def test_modified_with_annotations(self):
        session = self.session()
        sender = session.sender(self.name)
        sent = message(b"x", annotations={"x-opt-a": "one", "x-opt-b": "two"},
                       application={"k": "v"}, properties={"subject": "s"})
        sender.send(sent)
        link = session.receiver(self.name, credit=1)
        got = link.receive()
        bare = got.message.bare
        link.settle(got, "modified", delivery_failed=True,
                    annotations={Symbol("x-opt-b"): "three", Symbol("x-opt-c"): 4})
        link.flow(1)
        got = link.receive()
        self.assertEqual(got.message.annotations.dict(),
                         {"x-opt-a": "one", "x-opt-b": "three", "x-opt-c": 4})
        self.assertEqual((got.count, got.message.bare), (1, bare))
        link.settle(got, "modified", annotations={Symbol("x-opt-c"): 5})
        link.flow(1)
        got = link.receive()
        self.assertEqual(got.message.annotations.dict(),
                         {"x-opt-a": "one", "x-opt-b": "three", "x-opt-c": 5})

    def test_modified_undeliverable_here(self):
        session = self.filled(2)
        link = session.receiver(self.name, credit=1)
        link.settle(self.reads(link, 0)[0], "modified", undeliverable_here=True)
        link.flow(5)
        self.reads(link, 1)
        link.nothing()
        other = session.receiver(self.name, credit=1)
        self.reads(other, 0)

    def test_rejected_without_a_dead_letter_address_is_gone(self):
        session = self.filled(2)
        link = session.receiver(self.name, credit=1)
        link.settle(self.reads(link, 0)[0], "rejected")
        session.fence()
        self.depth(self.name, 1)
        link.flow(5)
        self.reads(link, 1)
        link.nothing()

    def test_pre_settled_to_the_broker(self):
        session = self.session()
        link = session.sender(self.name, snd_settle_mode=SETTLED)
        self.assertEqual(link.remote.snd_settle_mode, SETTLED)
        for n in range(5):
            link.send("%d" % n, settled=True)
        self.silent(session, "disposition")
        self.rest(*range(5))

    def test_pre_settled_from_the_broker(self):
        session = self.filled(5)
        link = session.receiver(self.name, credit=5, snd_settle_mode=SETTLED)
        self.assertEqual(link.remote.snd_settle_mode, SETTLED)
        got = self.reads(link, *range(5))
        self.assertEqual([each.settled for each in got], [True] * 5)
        self.depth(self.name, 0)
        session.raw.drop()
        self.session().receiver(self.name).nothing()

    def test_mixed_settlement_on_one_link(self):
        session = self.session()
        link = session.sender(self.name)
        self.assertIsNone(link.send("0", settled=True))
        self.assertEqual(link.send("1").name, "accepted")
        self.assertIsNone(link.send("2", settled=True))
        self.rest(0, 1, 2)

    def test_second_handshake_to_the_broker(self):
        """2.6.12: transfer, accepted unsettled, settled by the sender."""
        session = self.session()
        link = session.sender(self.name, rcv_settle_mode=SECOND)
        self.assertEqual(link.remote.rcv_settle_mode, SECOND)
        link.credited()
        number = link.transfer(message(b"x"))
        self.assertEqual(link.outcome(number, settled=False).name, "accepted")
        session.dispose(SENDER, number)
        session.fence()
        self.rest("x")

    def test_second_handshake_from_the_broker(self):
        """2.6.12: transfer, accepted unsettled, the broker settles, then the receiver."""
        session = self.filled(2)
        link = session.receiver(self.name, credit=2, rcv_settle_mode=SECOND)
        self.assertEqual(link.remote.rcv_settle_mode, SECOND)
        got = self.reads(link, 0, 1)
        self.assertEqual([bool(each.settled) for each in got], [False, False])
        link.settle(got[0], settled=False)
        done = session.wait("disposition", where=lambda got: got.role == SENDER)
        self.assertEqual((done.first, done.settled), (got[0].id, True))
        link.settle(got[0])
        self.depth(self.name, 1)
        session.raw.drop()
        self.rest(1)

    def test_a_delivery_that_is_aborted_never_was(self):
        session = self.session()
        link = session.sender(self.name)
        link.credited(2)
        session.put("transfer", b"\0\x53\x75\xb0\0\0\0\x09half", handle=0, delivery_id=0,
                    delivery_tag=b"a", more=True)
        session.put("transfer", handle=0, aborted=True)
        next(session.deliveries)
        session.next_out, link.count = 2, 1
        self.assertEqual(link.send("whole").name, "accepted")
        self.rest("whole")

    def test_half_a_delivery_is_lost_with_the_connection(self):
        session = self.session()
        session.sender(self.name).credited()
        session.put("transfer", b"\0\x53\x75\xb0\0\0\0\x09half", handle=0, delivery_id=0,
                    delivery_tag=b"a", more=True)
        session.fence()
        session.raw.drop()
        self.session().receiver(self.name).nothing()


class DeadLetters(Queues):
    def dead(self, wanted, name="dead"):
        link = self.session().receiver("queue://" + name, credit=1)
        got = link.take()[0]
        self.assertEqual(got.body, wanted)
        link.detach()
        return got

    def test_dead_letter_of_a_rejected_message(self):
        session = self.filled(1, "letters")
        link = session.receiver("letters", credit=1)
        got = link.receive()
        link.settle(got, "rejected", error=composite("error", condition="amqp:decode-error",
                                                     description="cannot read this"))
        dead = self.dead(b"0")
        self.assertEqual(dead.count, 1)
        self.assertEqual(dead.message.bare, got.message.bare)
        self.depth("letters", 0)

    def test_dead_letter_after_so_many_attempts(self):
        session = self.filled(1, "attempts")
        link = session.receiver("attempts", credit=1)
        for count in range(3):
            got = self.reads(link, 0, counts=[count])[0]
            link.settle(got, "modified", delivery_failed=True)
            link.flow(1)
        self.assertEqual(self.dead(b"0").count, 3)
        link.nothing()

    def test_released_messages_may_come_for_ever(self):
        session = self.filled(1, "attempts")
        link = session.receiver("attempts", credit=1)
        for _ in range(10):
            link.settle(self.reads(link, 0, counts=[0])[0], "released")
            link.flow(1)
        link.settle(self.reads(link, 0)[0])
        self.depth("attempts", 0)

    def test_time_to_live_of_a_message(self):
        """3.2.1: ttl, in milliseconds. What is over is not delivered."""
        session = self.session()
        sender = session.sender(self.name)
        sender.send(message(b"short", header={"ttl": 20}))
        sender.send(message(b"long", header={"ttl": 600000}))
        end = time.monotonic() + 0.03
        while time.monotonic() < end:
            session.fence()
        link = session.receiver(self.name, credit=5)
        got = link.take()[0]
        self.assertEqual(got.body, b"long")
        self.assertTrue(590000 - 10000 * SLOW < got.message.header.ttl <= 600000,
                        got.message.header)
        link.nothing()

    def test_time_to_live_of_an_expired_message_with_a_dead_letter_address(self):
        sender = self.session().sender("letters")
        sender.send(message(b"expired", header={"ttl": 1}))
        self.depth("letters", 0)
        self.dead(b"expired")

    def test_time_to_live_of_a_queue(self):
        self.filled(1, "aged")
        self.depth("aged", 0)
        self.dead(b"0")


class Limits(Queues):
    def test_length_limit_is_refused_with_the_right_error(self):
        link, late = [self.session().sender("queue://small") for _ in range(2)]
        late.credited()
        for n in range(3):
            self.assertEqual(link.send("%d" % n).name, "accepted")
        state = late.send("3")
        self.assertEqual((state.name, condition(state)),
                         ("rejected", "amqp:resource-limit-exceeded"))
        receiver = self.session().receiver("queue://small", credit=1)
        receiver.take()
        self.depth("small", 2)
        self.assertEqual(late.send("4").name, "accepted")
        receiver.flow(10)
        self.assertEqual(receiver.bodies(3), [b"1", b"2", b"4"])

    def test_limit_of_bytes_is_refused(self):
        link = self.session().sender("queue://heavy")
        self.assertEqual(link.send(message(b"x" * 2000)).name, "accepted")
        self.assertEqual(link.send(message(b"y" * 2000)).name, "accepted")
        state = link.send(message(b"z" * 2000))
        self.assertEqual((state.name, condition(state)),
                         ("rejected", "amqp:resource-limit-exceeded"))
        self.session().receiver("queue://heavy", credit=2).take(2)
        self.depth("heavy", 0)
        self.assertEqual(link.send(message(b"z" * 2000)).name, "accepted")

    def test_pre_settled_beyond_the_limit_is_dropped(self):
        link, late = [self.session().sender("queue://small") for _ in range(2)]
        late.credited()
        for n in range(3):
            self.assertEqual(link.send("%d" % n).name, "accepted")
        late.send("lost", settled=True)
        late.session.fence()
        self.depth("small", 3)
        self.assertEqual(self.session().receiver("queue://small", credit=5).bodies(3),
                         [b"0", b"1", b"2"])

    def test_drop_old(self):
        link = self.session().sender("topic://newest/x")
        for n in range(5):
            self.assertEqual(link.send("%d" % n).name, "accepted")
        self.depth("newest", 3)
        self.assertEqual(self.session().receiver("queue://newest", credit=5).bodies(3),
                         [b"2", b"3", b"4"])

    def test_drop_new(self):
        link = self.session().sender("topic://oldest/x")
        for n in range(5):
            link.send("%d" % n)
        self.depth("oldest", 3)
        self.assertEqual(self.session().receiver("queue://oldest", credit=5).bodies(3),
                         [b"0", b"1", b"2"])

    def tearDown(self):
        for name in "small", "heavy", "newest", "oldest":
            link = self.session().receiver("queue://" + name, snd_settle_mode=SETTLED)
            link.drain(100)
            self.depth(name, 0)
        super().tearDown()


class Browsing(Queues):
    copy = {"distribution_mode": "copy"}

    def test_browsing_takes_nothing(self):
        session = self.filled(4)
        for state in "accepted", "released", "rejected":
            link = session.receiver(self.name, source=self.copy)
            self.assertEqual(link.remote.source.distribution_mode, "copy")
            got = link.drain(10)
            self.assertEqual([each.body for each in got], [b"0", b"1", b"2", b"3"])
            for each in got:
                if not each.settled:
                    link.settle(each, state)
            link.detach()
        self.rest(0, 1, 2, 3, counts=[0] * 4)

    def test_browsing_goes_on(self):
        session = self.filled(2)
        link = session.receiver(self.name, source=self.copy, credit=10)
        self.reads(link, 0, 1)
        sender = session.sender(self.name)
        sender.send("2")
        self.reads(link, 2)

    def test_browsing_beside_a_consumer(self):
        session = self.filled(3)
        consumer = session.receiver(self.name, credit=1)
        self.reads(consumer, 0)
        link = session.receiver(self.name, source=self.copy)
        got = [each.body for each in link.drain(10)]
        self.assertEqual(got[-2:], [b"1", b"2"])
        consumer.flow(2)
        self.reads(consumer, 1, 2)


class ManyLinks(AmqpCase):
    OPTIONS = ["amqp_max_links 20000"]
    count = 10000

    def test_a_connection_of_10000_links(self):
        raw = self.amqp()
        session = raw.begin()
        self.assertGreaterEqual(session.remote.handle_max, self.count - 1)
        source, target = composite("source"), composite("target", address="topic://many/links")
        for start in range(0, self.count, 1000):
            raw.send(*[frame(0, composite("attach", name="link-%d" % n, handle=n, role=SENDER,
                                          source=source, target=target, initial_delivery_count=0))
                       for n in range(start, start + 1000)])
            seen, credits = 0, 0
            while seen < 1000 or credits < 1000:
                got = raw.frame()
                if got.name == "attach":
                    self.assertIsNotNone(got.performative.target)
                    seen += 1
                elif got.name == "flow" and got.performative.link_credit:
                    credits += 1
                elif got.name != "flow":
                    self.fail("after %d links: %r" % (start + seen, got))
        receiver = self.session().receiver("topic://many/#", credit=3)
        for number, handle in enumerate((0, self.count // 2, self.count - 1)):
            raw.put(0, "transfer", message(b"%d" % handle), handle=handle, delivery_id=number,
                    delivery_tag=b"t")
            self.assertEqual(receiver.bodies(1), [b"%d" % handle])
        raw.put(0, "end")
        raw.wait("end")
        raw.leave()
        self.assertEqual(self.session().sender("after").send("x").name, "accepted")


class FewLinks(AmqpCase):
    OPTIONS = ["amqp_max_links 3", "amqp_max_sessions 2"]

    def test_one_link_too_many(self):
        raw = self.amqp()
        sessions = raw.begin(0), raw.begin(1)
        links = [sessions[at].sender(name) for at, name in ((0, "a"), (1, "b"), (0, "c"))]
        sessions[1].sender("d", refused="amqp:resource-limit-exceeded")
        self.assertEqual(links[1].send("lives").name, "accepted")
        links[2].detach()
        self.assertEqual(sessions[1].sender("d").send("in its place").name, "accepted")

    def test_channel_max_is_told(self):
        raw = self.amqp()
        self.assertEqual(raw.remote.channel_max, 1)
        raw.begin(0)
        raw.begin(1)
        raw.put(2, "begin", next_outgoing_id=0, incoming_window=1, outgoing_window=1)
        raw.closed("amqp:connection:framing-error")


class ShortLived(AmqpCase):
    GENERAL = ["queue_idle_timeout 1"]

    def test_an_auto_declared_queue_goes_when_it_is_unused(self):
        session = self.session()
        sender = session.sender(self.address())
        sender.send("x")
        session.receiver(self.address("/kept")).session.fence()
        sender.detach()
        empty = session.sender(self.address("/empty"))
        empty.detach()
        self.eventually(lambda: self.address("/empty") not in self.queues(), "the queue stays")
        self.assertIn(self.address(), self.queues(), "it is not empty")
        self.assertIn(self.address("/kept"), self.queues(), "it is used")


if __name__ == "__main__":
    main()
