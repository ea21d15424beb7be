"""What an AMQP server must refuse: the table of tests/vectors/amqp-bad-inputs.txt, and the rows that
are made by rule or need more than bytes. After each of them a client that was connected all the
time sends and receives at once.
"""

import os
import time
import unittest

import amqp_vectors
from amqp import (HEADER, RECEIVER, SASL_HEADER, SETTLED, AmqpBroker, AmqpCase, AmqpError, Closed, Raw,
                  composite, condition, data, described, frame, mapping, message, plain, sym)
from broker import SANITIZED, main

SHARED = {}
PRECEDES = {"close": ("open",), "end": ("begin", "detach"), "detach": ("attach",),
            "outcome": ("challenge",)}


def setUpModule():
    SHARED["broker"] = AmqpBroker(["amqp_idle_timeout 60"]).start()
    SHARED["good"] = Good(SHARED["broker"])


def tearDownModule():
    SHARED["good"].raw.drop()
    SHARED.pop("broker").stop()


class Good:
    """The good client: a sender and a receiver of one queue."""

    def __init__(self, broker):
        self.raw, self.count = Raw(broker), 0
        self.raw.open("good")
        session = self.raw.begin()
        self.sender, self.receiver = session.sender("good"), session.receiver("good", credit=100000)

    def works(self):
        self.count += 1
        body = b"good %d" % self.count
        state = self.sender.send(message(body))
        got = self.receiver.take()[0]
        if (state.name, got.body) != ("accepted", body):
            raise AmqpError("the good client: %r, %r instead of %r" % (state, got.body, body))


class Player:
    """Plays one case on a connection of its own."""

    def __init__(self, broker, case):
        self.case, self.raw = case, Raw(broker)
        self.fence = 9
        try:
            self._prepare(case.state)
            self.raw.send(case.sent)
            for answers in case.answers:
                self._answer(answers)
        except (AmqpError, OSError) as error:
            raise AssertionError("%s (%s)\n%s" % (case, case.clause, error)) from error
        finally:
            self.raw.drop()

    def _prepare(self, state):
        raw = self.raw
        if state == "sasl":
            raw.start(SASL_HEADER)
            raw.expect("mechanisms")
        elif state == "header":
            raw.start(HEADER)
        elif state != "fresh":
            raw.open("bad")
        if state in ("begun", "sender", "receiver"):
            session = raw.begin(0, incoming_window=100, outgoing_window=100)
        if state == "sender":
            link = session.sender("bad/queue", name="bad", handle=0)
            link.credited(2)
        elif state == "receiver":
            session.receiver("bad/queue", name="bad", handle=0)

    def _fence(self):
        """Begins what will be answered if all lives."""
        self.fence += 1
        self.raw.put(self.fence, "begin", next_outgoing_id=0, incoming_window=1, outgoing_window=1)

    def _fenced(self, got):
        return got.name == "begin" and got.performative.remote_channel == self.fence

    def _answer(self, answers):
        kinds = [kind for kind, _ in answers]
        if kinds[0] == "header":
            got = self.raw.octets(8)
            wanted = {"amqp": HEADER, "sasl": SASL_HEADER}
            if got not in [wanted[which] for _, which in answers]:
                raise AmqpError("the header %s" % got.hex())
            self.raw.ended()
            return
        fenced = "lives" in kinds
        if fenced:
            self._fence()
        seen = []
        while True:
            try:
                got = self.raw.frame()
            except Closed:
                if "closed" in kinds:
                    return
                raise AmqpError("closed after %s" % seen) from None
            seen.append(got)
            if fenced and self._fenced(got):
                return
            if got.name == "flow":
                continue
            if self._matches(got, answers):
                self._after(got)
                return
            if not any(got.name in PRECEDES.get(kind, ()) for kind in kinds) and \
                    not (fenced and got.name == "open"):
                raise AmqpError("expected %s, got %s" % (answers, seen))

    @staticmethod
    def _matches(got, answers):
        for kind, argument in answers:
            if kind in ("close", "end", "detach") and got.name == kind and \
                    condition(got.performative) == argument:
                return True
            if kind == "outcome" and got.name == kind and got.performative.code == int(argument):
                return True
            if kind in ("attach", "begin") and got.name == kind:
                return True
            if kind in ("rejected", "accepted") and got.name == "disposition":
                state = got.performative.state
                return got.performative.role == RECEIVER and got.performative.settled is True and \
                    state.name == kind and (argument is None or condition(state) == argument)
        return False

    def _after(self, got):
        """What the answer left alive must live, and what it ended must end."""
        raw = self.raw
        if got.name == "outcome":
            raw.ended()
        elif got.name == "close":
            if not got.performative.error.description:
                raise AmqpError("an error that does not say why: %r" % got)
            try:
                raw.put(0, "close")
            except OSError:
                pass
            raw.ended()
        elif got.name == "end":
            raw.put(0, "end")
            self._fence()
            raw.pick(self._fenced)
        else:
            self._fence()
            raw.pick(self._fenced)


class Bad(AmqpCase):
    @classmethod
    def setUpClass(cls):
        cls.broker, cls.good = SHARED["broker"], SHARED["good"]

    @classmethod
    def tearDownClass(cls):
        pass

    def unhurt(self):
        self.good.works()


class Table(Bad):
    """A method for each row of the file; they are made below."""

    def play(self, case):
        Player(self.broker, case)
        self.unhurt()


def _fill_table():
    for case in amqp_vectors.bad_inputs():
        def method(self, case=case):
            self.play(case)
        method.__doc__ = "%s: %s" % (case.clause, case)
        setattr(Table, "test_" + case.slug, method)


_fill_table()


class Rules(Bad):
    """Rows that are made by rule."""

    def test_row094_open_cut_anywhere(self):
        """A frame whose last bytes are missing, its sizes as they were: decode-error, always."""
        whole = composite("open", container_id="c", hostname="h", max_frame_size=1000,
                          channel_max=10, desired=["a", "b"], properties={sym("k"): 1})
        for length in range(1, len(whole)):
            with Raw(self.broker) as raw:
                raw.start().send(frame(0, whole[:length]))
                raw.inbox = [raw.frame()]
                if raw.inbox[0].name == "open":
                    raw.inbox.clear()
                raw.closed("amqp:decode-error")
        self.unhurt()

    def test_row094_performatives_cut_anywhere(self):
        bodies = {
            "attach": composite("attach", name="x", handle=1, role=True, snd_settle_mode=0,
                                source=composite("source", address="bad/queue"),
                                target=composite("target", address="y")),
            "flow": composite("flow", next_incoming_id=0, incoming_window=100, next_outgoing_id=0,
                              outgoing_window=300, echo=True),
            "transfer": composite("transfer", handle=0, delivery_id=0, delivery_tag=b"tag"),
            "disposition": composite("disposition", role=True, first=0, last=300, settled=True,
                                     state=composite("modified", delivery_failed=True)),
            "detach": composite("detach", handle=0, closed=True,
                                error=composite("error", condition="amqp:internal-error"))}
        for name, body in bodies.items():
            for length in range(1, len(body), 3):
                with self.subTest("%s, %d bytes" % (name, length)), Raw(self.broker) as raw:
                    raw.open()
                    raw.begin()
                    raw.send(frame(0, body[:length]))
                    got = raw.frame()
                    self.assertIn(got.name, ("close", "end"))
                    self.assertEqual(condition(got.performative), "amqp:decode-error")
        self.unhurt()

    def test_row094_legal_alternatives(self):
        """1.4, 1.6: every encoding of a descriptor, a list and its fields means the same."""
        for body in ("005310 c00401a10163", "005310 c00e01b1000000086363636363636363",
                     "00800000000000000010 d00000000700000001a10163", "00a30e616d71703a6f70656e3a6c697374 "
                     "c00401a10163", "00b30000000e616d71703a6f70656e3a6c697374 c00401a10163",
                     "005310 c00c05a101634070000100004040",
                     "005310 d00000000c00000004a10163404060000a"):
            with Raw(self.broker) as raw:
                raw.start().send(frame(0, bytes.fromhex(body)))
                raw.expect("open")
                raw.leave()
        self.unhurt()

    def test_row094_zero_in_each_encoding(self):
        """uint0, smalluint, uint; ulong0, smallulong, ulong; boolean as one and two bytes."""
        for number in "43", "5200", "7000000000":
            for flag in "42", "5600":
                session = self.session()
                attach = bytes.fromhex("a1016c" + number + flag + "4040" + "00532845" +
                                       "005329c00c01a1096261642f7175657565" + "4040" + number)
                body = b"\0\x53\x12\xc0" + bytes((len(attach) + 1, 10)) + attach
                session.raw.send(frame(0, body))
                self.assertEqual(session.wait("attach").target.address, "bad/queue")
                session.raw.leave()
        self.unhurt()

    def test_row098_text_that_is_not_utf8_in_many_places(self):
        for bad in b"\x80", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc1\xbf", b"\xfe":
            session = self.session()
            link = session.sender("bad/queue")
            link.credited()
            state = link.send(message(b"x", properties={"subject": bad}))
            self.assertEqual((state.name, condition(state)), ("rejected", "amqp:decode-error"))
            session.raw.leave()
        self.unhurt()

    def test_row104_more_than_the_credit(self):
        """2.6.7: a full queue gives no more credit; who sends without is detached."""
        broker = AmqpBroker(general=["queue full", "queue_max_messages 3", "queue_overflow refuse"])
        broker.start()
        try:
            with Raw(broker) as raw:
                raw.open()
                link = raw.begin().sender("queue://full")
                link.credited()
                for _ in range(5000):
                    link.outcome(link.transfer(message(b"x")))
                    if link.look() <= 0:
                        for _ in range(5):
                            link.session.fence()
                        if link.look() <= 0:
                            break
                else:
                    self.fail("a full queue grants credit for ever")
                # Credit that was taken back may still be used by what was under way (2.6.7), and is
                # then refused by the queue; there is no more of it than had been given.
                for _ in range(1000):
                    link.transfer(message(b"one too many"))
                    got = raw.pick(lambda each: each.name in ("disposition", "detach")).performative
                    if got.name == "detach":
                        break
                    self.assertEqual(condition(got.state), "amqp:resource-limit-exceeded")
                self.assertEqual(condition(got), "amqp:link:transfer-limit-exceeded")
        finally:
            broker.stop()
        self.unhurt()

    def test_row105_message_larger_than_the_maximum(self):
        """2.7.3, 2.8.18: max-message-size is told, and what is larger detaches the link."""
        broker = AmqpBroker(general=["message_size_limit 100000"]).start()
        try:
            with Raw(broker) as raw:
                raw.open()
                session = raw.begin()
                link = session.sender("a")
                most = link.remote.max_message_size
                self.assertTrue(100000 <= most <= 200000, "max-message-size %s" % most)
                self.assertEqual(link.send(message(b"x" * 99000)).name, "accepted")
                link.credited()
                link.transfer(message(b"x" * (most + 1)))
                link.detached("amqp:link:message-size-exceeded")
                self.assertEqual(session.sender("b").send("x").name, "accepted")
        finally:
            broker.stop()
        self.unhurt()

    def test_row107_dispositions_of_everything_are_cheap(self):
        """2.7.6: 10,000 of them, each about all the ids there are, with some alive."""
        session = self.session()
        sender = session.sender(self.address())
        for n in range(5):
            sender.send("%d" % n)
        link = session.receiver(self.address(), credit=5)
        for _ in range(5):
            link.receive()
        body = frame(0, composite("disposition", role=True, first=100, last=99))
        start = time.monotonic()
        session.raw.send(body * 10000)
        session.fence()
        self.assertLess(time.monotonic() - start, 5, "10,000 dispositions")
        session.dispose(True, 0, 0xFFFFFFFF)
        session.fence()
        self.depth(self.address(), 0)
        self.unhurt()

    def test_row111_wrong_credentials(self):
        """5.3.3.6: outcome 1 (auth), and the end; without SASL the open is answered by a close."""
        broker = AmqpBroker(["allow_anonymous false"]).start()
        try:
            for mechanism, response in (("PLAIN", plain("user", "wrong")), ("ANONYMOUS", b"")):
                with Raw(broker) as raw:
                    raw.start(SASL_HEADER)
                    raw.expect("mechanisms")
                    raw.send(frame(0, composite("init", mechanism=mechanism, response=response), b"",
                                   1))
                    raw.expect("outcome", code=1)
                    raw.ended()
            with Raw(broker) as raw:
                raw.send(HEADER, frame(0, composite("open", container_id="c")))
                got = raw.octets(8)
                if got == HEADER:
                    raw.closed("amqp:unauthorized-access")
                else:
                    self.assertEqual(got, SASL_HEADER)
                    raw.ended()
        finally:
            broker.stop()

    def test_row112_sections_out_of_order_by_rule(self):
        """3.2: each pair of sections the wrong way round."""
        sections = [composite("header", durable=True), described(0x71, mapping({})),
                    described(0x72, mapping({})), composite("properties", subject="s"),
                    described(0x74, mapping({})), data(b"x"), described(0x78, mapping({}))]
        link = self.session().sender("bad/queue")
        for early, first in enumerate(sections):
            for late in range(early):
                state = link.send(bytes(first) + sections[late] + (data(b"x") if early < 5 else b""))
                self.assertEqual((state.name, condition(state)), ("rejected", "amqp:decode-error"),
                                 "%d before %d" % (early, late))
        self.assertEqual(link.send(b"".join(bytes(part) for part in sections)).name, "accepted")
        self.unhurt()


class Memory(Bad):
    """The whole table again and again."""

    @unittest.skipIf(SANITIZED, "the memory of a sanitizer build says nothing")
    def test_no_memory_is_kept(self):
        cases = amqp_vectors.bad_inputs()
        sizes = []
        for times in 2, 8:
            for _ in range(times):
                for case in cases:
                    Player(self.broker, case)
                self.session().receiver("bad/queue", snd_settle_mode=SETTLED).drain(1000)
                self.unhurt()
            sizes.append(self.broker.resident())
        self.assertLess(sizes[1] - sizes[0], 1 << 20,
                        "more bytes after %d cases" % (8 * len(cases)))


if __name__ == "__main__":
    if os.environ.get("TREFOIL_BAD_INPUTS") == "list":
        for entry in amqp_vectors.bad_inputs():
            print(entry, "|", entry.sent.hex()[:100])
    else:
        main()
