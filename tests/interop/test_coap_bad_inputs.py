"""What a CoAP listener must refuse: the table of tests/vectors/coap-bad-inputs.txt, and the rows
that are made by rule or need more than bytes. After each of them a client that was there all the
time is answered at once, and no value has changed.
"""

import os
import random
import socket
import unittest

import coap
import coap_vectors
import wire
from broker import DEADLINE, SANITIZED, SLOW, main
from coap import (ACCEPT, ACK, BLOCK1, CHANGED, CON, CONTENT, CONTINUE, CREATED, DELETED, EMPTY,
                  GET, INCOMPLETE, LINKS, NON, NOT_FOUND, OBSERVE, PUT, REQUEST_TAG, RST, SIZE1,
                  TEXT, TOO_LARGE, URI_PATH, CoapBroker, CoapCase, Message, block, decode)
from raw import Raw

GOOD = "good value"
MOST = 1 << 20      # the limit of a message, by default


class Bad(CoapCase):
    """A good client, and what must be so after each case."""

    def setUp(self):
        super().setUp()
        self.good = self.coap()
        self.good.put("good", GOOD, form=TEXT)
        self.etag = self.good.get("good").option(coap.ETAG)
        self.before = self.listing()

    def listing(self):
        """The addresses that have a value; as some other shard knows it, too."""
        return sorted(self.good.get(".well-known/core").text.split(","))

    def unhurt(self, *made):
        """The good client is answered at once, and nothing has a value but what had one."""
        self.good.ping()
        self.good.inbox.clear()
        response = self.good.exchange(self.good.message(GET, "good"), patience=DEADLINE)
        self.assertEqual((response.code, response.text, response.uint(coap.CONTENT_FORMAT)),
                         (CONTENT, GOOD, TEXT))
        self.assertEqual(response.option(coap.ETAG), self.etag)
        for path in made:
            self.good.delete(path)
        for path in "bad", "store", "time", "regular":
            self.good.get(path, want=NOT_FOUND)
        self.assertEqual(self.listing(), self.before)


def play(client, case):
    """Sends what a case sends, and has it answered as the case says."""
    for datagram, answers in case.steps:
        client.send(datagram)
        probe = Message(CON, EMPTY, next(client.mids))
        fence = bytes([0x70, 0]) + probe.mid.to_bytes(2, "big")
        if None in answers:
            client.send(probe)
        got = client.datagram()
        if got is None:
            raise AssertionError("%s: no answer to %s" % (case, datagram.hex()))
        if got == fence and None in answers:
            continue
        if not any(each and each.fullmatch(got) for each in answers):
            raise AssertionError("%s: %s got %s, none of %s" % (
                case, datagram.hex(" "), got.hex(" "), [e and e.pattern for e in answers]))
        decode(got)
        if None in answers and client.datagram() != fence:
            raise AssertionError("%s: more than one answer" % case)


class Table(Bad):
    """One test for each case of the table."""

    @classmethod
    def add(cls, case):
        def test(self):
            play(self.coap(), case)
            self.unhurt(*case.makes)
        test.__doc__ = "%s: %s" % (case.clause, case.name)
        setattr(cls, "test_" + case.slug, test)


for each in coap_vectors.bad_inputs():
    Table.add(each)


class Rules(Bad):
    """What is made by rule."""

    OPTIONS = ["coap_notify con"]

    def test_rows_54_to_59_every_prefix_of_a_request(self):
        """Each prefix is silence (no header), a rejection, or a request of method 0.31: 4.05."""
        client = self.coap()
        for kind in CON, NON:
            whole = client.message(31, "some/path/of/bad", "payload", kind=kind, queries=("a=b",),
                                   form=300, options=[(coap.URI_HOST, b"localhost"),
                                                      (coap.IF_MATCH, b"12345678"),
                                                      (65000, b"x" * 300)]).encode()
            for size in range(len(whole) + 1):
                mid = next(client.mids)
                piece = (whole[:2] + mid.to_bytes(2, "big") + whole[4:])[:size]
                client.send(piece)
                if size >= 4 and kind == CON:
                    answer = client.receive()
                    self.assertEqual(answer.mid, mid, "%d bytes" % size)
                    self.assertIn((answer.type, answer.code),
                                  [(RST, EMPTY), (ACK, coap.NOT_ALLOWED), (ACK, coap.BAD_OPTION)])
                elif size < 4:
                    client.silent()
                else:
                    probe = Message(CON, EMPTY, next(client.mids))
                    client.send(probe)
                    answer = client.receive()
                    if answer.mid != probe.mid:
                        self.assertIn((answer.type, answer.code),
                                      [(RST, EMPTY), (NON, coap.NOT_ALLOWED)])
                        self.assertEqual(client.receive().mid, probe.mid)
        self.unhurt()

    def test_rows_53_to_61_every_first_byte_and_code(self):
        """All 256 codes with each type; those that could write name no path that is legal."""
        client = self.coap()
        for kind in range(4):
            for what in range(256):
                mid = next(client.mids)
                client.send(Message(kind, what, mid, b"tok", [(URI_PATH, b"..")]).encode())
                client.send(Message(CON, EMPTY, next(client.mids)).encode())
                answers = [client.receive()]
                if answers[0].mid == mid or answers[0].token:
                    answers.append(client.receive())
                self.assertEqual(answers[-1].type, RST)
                if kind in (ACK, RST):
                    self.assertEqual(len(answers), 1, "%d %d" % (kind, what))
                elif kind == CON and not 1 <= what < 32:
                    self.assertEqual([a.type for a in answers], [RST, RST], "code %d" % what)
        self.unhurt()

    def test_mutations_of_requests(self):
        """Random bytes in well-formed reads; the seed is fixed. Never a word of a sanitizer, never
        an answer that is not well-formed."""
        dice = random.Random(7252)
        client = self.coap()
        for _ in range(60):
            for _ in range(50):
                data = bytearray(client.message(
                    dice.choice((GET, coap.FETCH, 31)), dice.choice(("good", "bad/x", "a/b/c/d")),
                    "p" * dice.randrange(20), options=[(ACCEPT, b""), (coap.BLOCK2, b"\x06"),
                                                       (coap.ETAG, b"1234")]).encode())
                for _ in range(dice.randrange(1, 4)):
                    at = dice.randrange(len(data))
                    if at != 1:     # the code stays: nothing shall be written
                        data[at] = dice.randrange(256)
                client.send(bytes(data[:dice.randrange(1, len(data) + 1)]))
            probe = Message(CON, EMPTY, next(client.mids))
            client.send(probe)
            while True:
                data = client.datagram()
                self.assertIsNotNone(data)
                answer = decode(data)
                if answer.type == RST and answer.mid == probe.mid:
                    break
        self.unhurt()

    def test_a_datagram_of_64_KiB(self):
        client = self.coap()
        client.send(client.message(PUT, "bad", b"x" * 65400))
        answer = client.receive()
        self.assertIn(answer.code, (TOO_LARGE, CREATED))
        self.unhurt(*(["bad"] if answer.code == CREATED else []))

    def test_ten_thousand_options(self):
        """Linear time: as many empty elective options as a datagram holds."""
        client = self.coap()
        request = client.message(GET, "good").encode() + b"\xd0\x4c" + b"\0" * 60000
        client.send(request)
        self.assertIn(client.receive().code, (CONTENT, TOO_LARGE, coap.BAD_REQUEST, EMPTY))
        self.unhurt()

    def test_row68_nothing_of_the_system_is_read(self):
        """No traversal: names of files, and of Trefoil's own reserved paths."""
        client = self.coap()
        for path in ("etc/passwd", "../../etc/passwd", "%2e%2e/etc/passwd", "good/../good"):
            response = client.request(GET, path)
            self.assertIn(response.code, (NOT_FOUND, coap.BAD_REQUEST, coap.BAD_OPTION), path)
        for path in ".well-known/core", ".well-known", "$SYS/broker/version", "rd", "ps":
            response = client.request(PUT, path, "x", want=None)
            self.assertGreaterEqual(response.code, 128, path)
        self.unhurt()

    def test_row71_a_duplicate_does_not_publish_twice(self):
        """4.5: the handler ran once; and the reply is the same, byte for byte."""
        with Raw(self.broker, 5) as subscriber:
            subscriber.connect()
            subscriber.subscribe("dup/#", qos=1)
            client = self.coap()
            for what, expected in (PUT, CREATED), (coap.POST, CHANGED), (coap.DELETE, DELETED):
                request = client.message(what, "dup/a", "" if what == coap.DELETE else "once")
                first = client.exchange(request)
                self.assertEqual(first.code, expected)
                for _ in range(3):
                    client.send(request)
                    self.assertEqual(client.receive().raw, first.raw)
            non = client.message(PUT, "dup/b", "once", kind=NON)
            client.exchange(non)
            client.send(non, non)
            client.ping()
            client.delete("dup/b")
            client.put("dup/fence", "fence")
            got = [(m.topic, m.payload) for m in subscriber.until("fence")]
            self.assertEqual([g for g in got if g[0] == "dup/a"],
                             [("dup/a", b"once"), ("dup/a", b"once"), ("dup/a", b"")])
            self.assertEqual([g for g in got if g[0] == "dup/b"],
                             [("dup/b", b"once"), ("dup/b", b"")])
            client.delete("dup/fence")
        self.unhurt()

    def test_row71_another_endpoint_with_the_same_bytes_is_no_duplicate(self):
        first, second = self.coap(), self.coap()
        request = first.message(PUT, "twice", "x")
        self.assertEqual(first.exchange(request).code, CREATED)
        self.assertEqual(second.exchange(request).code, CHANGED)
        self.unhurt("twice")

    def test_row74_a_body_that_grows_too_large(self):
        """RFC 7959 2.9.3: 4.13, with Size1 as a hint; the body is not kept."""
        client = self.coap()
        for num in range(2 * MOST // 1024):
            response = client.request(PUT, "bad", b"b" * 1024,
                                      options=[(BLOCK1, block(num, True, 6))])
            if response.code != CONTINUE:
                break
        self.assertEqual(response.code, TOO_LARGE)
        self.assertLessEqual((num - 1) * 1024, MOST)
        self.assertIsNotNone(response.uint(SIZE1))
        self.unhurt()

    def test_row77_interleaved_bodies_of_one_endpoint(self):
        """RFC 9175 3: kept apart by Request-Tag. Without one the older is dropped, never mixed."""
        client = self.coap()
        bodies = {tag: bytes([tag[0]]) * 64 for tag in (b"A", b"B")}
        for num in range(4):
            for tag, body in bodies.items():
                options = [(BLOCK1, block(num, num < 3, 0)), (REQUEST_TAG, tag)]
                response = client.request(PUT, "tags/" + tag.decode(), body[:16], options=options)
                self.assertEqual(response.code, CONTINUE if num < 3 else CREATED)
        for tag, body in bodies.items():
            self.assertEqual(client.get("tags/" + tag.decode()).payload, body)
        self.unhurt("tags/A", "tags/B")

    def test_row77_a_body_begun_again(self):
        """The same path without a Request-Tag: what begins at 0 again replaces what was begun."""
        client = self.coap()
        first = [(BLOCK1, block(0, True, 0))]
        client.request(PUT, "tags/c", b"1" * 16, options=first, want=CONTINUE)
        client.request(PUT, "tags/c", b"2" * 16, options=first, want=CONTINUE)
        client.request(PUT, "tags/c", b"3", options=[(BLOCK1, block(1, False, 0))], want=CREATED)
        self.assertEqual(client.get("tags/c").payload, b"2" * 16 + b"3")
        self.unhurt("tags/c")

    def test_row77_bodies_of_two_endpoints(self):
        clients = self.coap(), self.coap()
        for num in range(3):
            for index, client in enumerate(clients):
                client.request(PUT, "tags/d%d" % index, bytes([65 + index + num]) * 16,
                               options=[(BLOCK1, block(num, num < 2, 0))])
        for index in 0, 1:
            body = b"".join(bytes([65 + index + num]) * 16 for num in range(3))
            self.assertEqual(self.good.get("tags/d%d" % index).payload, body)
        self.unhurt("tags/d0", "tags/d1")

    def test_row76_a_block_of_another_endpoint_does_not_fit(self):
        first, second = self.coap(), self.coap()
        first.request(PUT, "bad", b"1" * 16, options=[(BLOCK1, block(0, True, 0))], want=CONTINUE)
        second.request(PUT, "bad", b"2", options=[(BLOCK1, block(1, False, 0))], want=INCOMPLETE)
        self.unhurt()

    def test_row76_another_content_format_does_not_fit(self):
        client = self.coap()
        client.request(PUT, "bad", b"1" * 16, form=TEXT, options=[(BLOCK1, block(0, True, 0))],
                       want=CONTINUE)
        client.request(PUT, "bad", b"2", form=LINKS, options=[(BLOCK1, block(1, False, 0))],
                       want=INCOMPLETE)
        self.unhurt()

    def test_row79_a_reset_ends_an_observation(self):
        observer = self.coap()
        seen = observer.observe("good")
        self.good.put("good", "other", form=TEXT)
        observer.reset(seen.next(ack=False))
        self.good.put("good", "another", form=TEXT)
        observer.silent("good")
        self.good.put("good", GOOD, form=TEXT)
        observer.silent("good")
        self.etag = self.good.get("good").option(coap.ETAG)
        self.unhurt()

    def test_row79_a_late_reset_ends_nothing_of_others(self):
        """RST and ACK for message ids that are another endpoint's business."""
        observer, stranger = self.coap(), self.coap()
        seen = observer.observe("good")
        self.good.put("good", "other", form=TEXT)
        message = seen.next(ack=False)
        stranger.send(Message(RST, EMPTY, message.mid), Message(ACK, EMPTY, message.mid))
        stranger.silent()
        observer.ack(message)
        self.good.put("good", GOOD, form=TEXT)
        seen.until(GOOD)
        self.assertFalse(seen.cancel().has(OBSERVE))
        self.etag = self.good.get("good").option(coap.ETAG)
        self.unhurt()


class FewObservers(Bad):
    """Row 78: one place for observers; a single shard's table, so one shard."""

    OPTIONS = ["coap_max_observers 1", "coap_notify con"]

    @classmethod
    def setUpClass(cls):
        cls.broker = CoapBroker(cls.OPTIONS)
        at = cls.broker.arguments.index("--shards")
        cls.broker.arguments[at + 1] = "1"
        cls.broker.start()

    def test_row78_the_table_is_full(self):
        """RFC 7641 4.1: answered as a plain GET."""
        first, second = self.coap(), self.coap()
        seen = first.observe("good")
        self.assertTrue(seen.active)
        late = second.observe("good")
        self.assertFalse(late.active)
        self.assertEqual(late.response.text, GOOD)
        self.good.put("good", "new", form=TEXT)
        seen.until("new")
        second.silent("good")
        seen.cancel()
        again = second.observe("good")
        self.assertTrue(again.active)
        again.cancel()
        self.good.put("good", GOOD, form=TEXT)
        self.etag = self.good.get("good").option(coap.ETAG)
        self.unhurt()

    def test_row78_the_same_token_again_takes_no_second_place(self):
        """RFC 7641 4.1: the registration is updated."""
        client = self.coap()
        for _ in range(3):
            seen = client.observe("good", token=b"same")
            self.assertTrue(seen.active)
        seen.cancel()
        self.unhurt()


class Impatient(Bad):
    """Row 79, with an acknowledgement time-out that is short enough to be waited for."""

    OPTIONS = ["coap_ack_timeout_ms 100", "coap_max_retransmit 2", "coap_notify con"]

    def test_row79_a_silent_observer_is_dropped(self):
        """RFC 7641 4.5: after the last retransmission; one that acknowledges stays."""
        silent, awake = self.coap(), self.coap()
        gone, seen = silent.observe("good"), awake.observe("good")
        self.good.put("good", "one", form=TEXT)
        seen.until("one")
        first = gone.next(ack=False)
        # 4.8: at most 0.15 + 0.3 + 0.6 s until it is given up; its repetitions count as one here.
        copies, last = 1, first
        while True:
            data = silent.datagram(1.5 * SLOW)
            if data is None:
                break
            last = decode(data)
            self.assertEqual((last.mid, last.token), (first.mid, first.token))
            copies += 1
        self.assertEqual(copies, 3)
        self.good.put("good", "two", form=TEXT)
        seen.until("two")
        silent.silent("good")
        seen.cancel()
        self.good.put("good", GOOD, form=TEXT)
        self.etag = self.good.get("good").option(coap.ETAG)
        self.unhurt()


class Multicast(Bad):
    """Row 73, where this machine can send to a group at all."""

    GROUP = "224.0.1.187"

    @classmethod
    def setUpClass(cls):
        cls.broker = CoapBroker(["coap_multicast true"])
        path = os.path.join(cls.broker.folder, "broker.conf")
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
        at = next(i for i, line in enumerate(lines) if line == "protocol coap")
        port = int(lines[at - 1].split()[1])
        lines[at - 1] = "listener %d 0.0.0.0" % port
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        cls.broker.coap_port = port
        start = CoapBroker.__mro__[1].start
        start(cls.broker)
        cls.broker.coap_port = port

    def group(self):
        """A socket that sends to the group and takes answers from anywhere."""
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(made.close)
        made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        made.settimeout(DEADLINE)
        return made

    def ask(self, *datagrams):
        """The first answer to the last of datagrams; the earlier ones must get none before it."""
        sender = self.group()
        try:
            for datagram in datagrams:
                sender.sendto(datagram, (self.GROUP, self.broker.coap_port))
        except OSError as error:
            self.skipTest("no multicast here: %s" % error)
        try:
            data, address = sender.recvfrom(65536)
        except socket.timeout:
            self.fail("no answer from the group")
        self.assertNotEqual(address[0], self.GROUP)
        return decode(data)

    def test_row73_errors_to_a_group_are_not_told(self):
        """RFC 7252 8.1, 8.2: CON is ignored, errors are suppressed; a GET that has a value answers,
        after its leisure (8.2)."""
        client = self.coap()
        found = self.ask(client.message(GET, "good", kind=CON).encode(),
                         client.message(GET, "none", kind=NON).encode(),
                         client.message(31, "good", kind=NON).encode(),
                         client.message(GET, "good", kind=NON, token=b"yes").encode())
        self.assertEqual((found.type, found.code, found.token, found.text),
                         (NON, CONTENT, b"yes", GOOD))
        self.unhurt()


class Table20(Bad):
    """Memory: the whole table again and again."""

    @unittest.skipIf(SANITIZED, "the memory of a sanitizer build says nothing")
    def test_no_memory_is_kept(self):
        cases = [case for case in coap_vectors.bad_inputs() if not case.makes]
        client = self.coap()
        sizes = []
        for times in 3, 20:
            for _ in range(times):
                for case in cases:
                    play(client, case)
            self.unhurt()
            sizes.append(self.broker.resident())
        grown = sizes[1] - sizes[0]
        self.assertLess(grown, 1 << 20, "%d bytes more after %d cases" % (grown, 20 * len(cases)))


class BesideMqtt(Bad):
    """MQTT goes on while CoAP gets rubbish."""

    def test_mqtt_lives_beside(self):
        with Raw(self.broker, 5) as raw:
            raw.connect()
            raw.subscribe("beside", qos=1)
            noise = self.coap()
            dice = random.Random(1)
            for _ in range(200):
                noise.send(bytes(dice.randrange(256) for _ in range(dice.randrange(3, 40)))
                           .replace(b"\x02", b"\x01").replace(b"\x03", b"\x01"))
            raw.send(wire.publish("beside", "x", 1, 7, version=5))
            self.assertEqual(raw.message().payload, b"x")


if __name__ == "__main__":
    if os.environ.get("TREFOIL_BAD_INPUTS") == "list":
        for entry in coap_vectors.bad_inputs():
            print(entry)
    else:
        main()
