"""Trefoil's own AMQP client: `trefoil pub|sub|get amqp://...` on the broker and on rabbitmq-server, and
`trefoil queues` with its verbs.

Wording is left free; what is checked is data, exit codes, and that a diagnosis names the thing.
"""

import base64
import json
import shutil
import socket
import subprocess
import tempfile
import unittest

from amqp import (SETTLED, AmqpBroker, AmqpCase, array, binary, boolean, described, fixed, lst, mapping,
                  message, string, sym, uint, ulong)
from broker import DEADLINE, free_port, main
from broker import binary as trefoil
from rabbit import Rabbit
from test_cli import NETWORK, REFUSED, TIMEOUT, USAGE, Cli

AUTH = 4


def rows(out):
    """The objects of -o json: an array, or one a line."""
    return json.loads(out) if out.lstrip().startswith("[") else \
        [json.loads(line) for line in out.splitlines()]


def body_of(entry):
    found = [name for name in ("body", "body_json", "body_base64") if name in entry]
    if len(found) != 1:
        raise AssertionError("one body in %s" % entry)
    value = entry[found[0]]
    return base64.b64decode(value) if found[0] == "body_base64" else value


class Usage(Cli):
    def test_nobody_there(self):
        url = "amqp://127.0.0.1:%d/a" % free_port()
        for args in (("pub", url, "-m", "x"), ("sub", url, "-n", "1"), ("get", url),
                     ("queues", "peek", "a", url[:-2]), ("queues", url[:-2])):
            with self.subTest(args):
                self.assertEqual(self.run_it(*args, status=NETWORK).out, "")

    def test_usage_errors(self):
        url = "amqp://127.0.0.1/a"
        for args in (("pub", url), ("pub", url, "-q", "3", "-m", "x"), ("sub", url, "-o", "unheard"),
                     ("pub", "amqp://127.0.0.1:99999/a", "-m", "x"), ("pub", url, "-m", "x", "-f", "y"),
                     ("queues", "purge"), ("queues", "unheard", "a", "amqp://127.0.0.1"),
                     ("queues", "move", "a", "amqp://127.0.0.1"),
                     ("queues", "peek", "a", "amqp://127.0.0.1", "-n", "x"),
                     ("pub", url, "-m", "x", "-P", "novalue")):
            with self.subTest(args):
                done = self.run_it(*args, status=USAGE)
                self.assertEqual(done.out, "")
                self.assertNotEqual(done.err, "")

    def test_did_you_mean(self):
        self.assertIn("purge", self.run_it("queues", "purg", "a", status=USAGE).err)

    def test_help_names_the_verbs(self):
        out = self.run_it("queues", "--help").out
        for word in "purge", "delete", "peek", "move", "--if-empty", "--if-unused", "-n", "-o":
            self.assertIn(word, out)

    def test_a_peer_that_says_nothing(self):
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            url = "amqp://127.0.0.1:%d/a" % silent.getsockname()[1]
            self.run_it("pub", url, "-m", "x", "-W", "0.3", status=TIMEOUT)

    def test_a_peer_of_another_protocol(self):
        broker = AmqpBroker().start()
        try:
            url = "amqp://127.0.0.1:%d/a" % broker.port
            done = self.run_it("pub", url, "-m", "x", "-W", "5", status=(NETWORK, REFUSED, TIMEOUT))
            self.assertNotEqual(done.err, "")
        finally:
            broker.stop()


class Clients(AmqpCase, Cli):
    """pub and sub; a subclass runs them against rabbitmq-server."""

    prefix, qualities = "", ("0", "1", "2")

    def node(self, rest=""):
        return self.prefix + type(self).__name__ + "-" + self._testMethodName + rest

    def url(self, rest=""):
        return "%s/%s" % (self.broker.amqp_url, self.node(rest))

    def receiver(self, credit=10):
        return self.session().receiver(self.node(), credit=credit)

    def fill(self, *bodies):
        link = self.session().sender(self.node())
        for body in bodies:
            body = body if isinstance(body, bytes) else message(body.encode())
            self.assertEqual(link.send(body).name, "accepted")
        link.detach()

    def test_pub_each_quality(self):
        link = self.receiver()
        for quality in self.qualities:
            done = self.run_it("pub", self.url(), "-q", quality, "-m", "text " + quality)
            self.assertEqual(done.out, "")
            got = link.take()[0]
            self.assertEqual(got.body, b"text " + quality.encode())
            self.assertEqual(bool(got.message.header.durable), quality != "0")

    def test_pub_what_it_says_of_a_message(self):
        link = self.receiver()
        self.run_it("pub", self.url(), "-m", '{"a":1}', "-t", "application/json", "-P", "k=v",
                    "-P", "n=5", "--expiry", "600", "--response", "answers", "--correlation", "c-1")
        got = link.take()[0].message
        self.assertEqual(got.body, b'{"a":1}')
        self.assertEqual(got.properties.content_type, "application/json")
        self.assertEqual((got.application.get("k"), got.application.get("n")), ("v", "5"))
        self.assertIn(got.properties.correlation_id, ("c-1", b"c-1"))
        self.assertIn(got.properties.reply_to, ("answers", "topic://answers"))
        self.assertTrue(0 < got.header.ttl <= 600000, got.header)

    def test_pub_file_stdin_and_nothing(self):
        link = self.receiver()
        body = bytes(range(256)) * 2000
        with tempfile.NamedTemporaryFile() as file:
            file.write(body)
            file.flush()
            self.run_it("pub", self.url(), "-f", file.name)
        self.assertTrue(link.take()[0].body == body)
        self.run_it("pub", self.url(), "-s", stdin=b"one\ntwo\n\0\xff")
        self.assertEqual(link.take()[0].body, b"one\ntwo\n\0\xff")
        self.run_it("pub", self.url(), "-n")
        self.assertEqual(link.take()[0].body, b"")

    def test_pub_lines(self):
        for quality in self.qualities:
            link = self.receiver(credit=4)
            self.run_it("pub", self.url(), "-q", quality, "-l", stdin=b"one\n\ntwo three\nlast")
            self.assertEqual(link.bodies(4), [b"one", b"", b"two three", b"last"])
            link.detach()

    def test_pub_and_sub_many_lines(self):
        """More than any credit or window, each confirmed; then all of them, in order."""
        lines = ["line %d" % n for n in range(1500)]
        self.run_it("pub", self.url(), "-l", stdin="\n".join(lines).encode())
        done = self.run_it("sub", self.url(), "-n", "1500", "-W", str(DEADLINE))
        self.assertEqual(done.out.splitlines(), lines)

    def test_sub_takes_what_it_prints(self):
        self.fill(*["before " + quality for quality in self.qualities], "d", "e")
        for quality in self.qualities:
            done = self.run_it("sub", self.url(), "-n", "1", "-q", quality, "-W", str(DEADLINE))
            self.assertEqual(done.out.splitlines(), ["before " + quality])
        self.assertEqual(self.receiver().bodies(2), [b"d", b"e"])

    def test_sub_formats(self):
        self.fill(b"".join([bytes(message(b"\0\xff", properties={"content_type": "x/y"}))]),
                  "plain", "plain")
        out = self.run_it("sub", self.url(), "-n", "1", "-o", "json", "-W", str(DEADLINE)).out
        self.assertEqual(body_of(rows(out)[0]), b"\0\xff")
        self.assertIn("x/y", out)
        out = self.run_it("sub", self.url(), "-n", "1", "-o", "hex", "-W", str(DEADLINE)).out
        self.assertEqual(out.strip(), b"plain".hex())
        out = self.run_it("sub", self.url(), "-n", "1", "-o", "raw", "-W", str(DEADLINE)).out
        self.assertEqual(out.rstrip("\n"), "plain")

    def test_sub_properties(self):
        self.fill(bytes(message(b"text", application={"k": "v"},
                                properties={"subject": "s", "correlation_id": "c"})))
        entry = rows(self.run_it("sub", self.url(), "-n", "1", "-o", "json",
                                 "-W", str(DEADLINE)).out)[0]
        self.assertEqual(body_of(entry), "text")
        self.assertIn('"v"', json.dumps(entry))

    def test_sub_waits_no_longer_than_it_was_told(self):
        self.assertEqual(self.run_it("sub", self.url(), "-n", "1", "-W", "0.5", status=TIMEOUT).out, "")

    def test_sub_gets_what_comes_while_it_runs(self):
        process = self.start_it("sub", self.url(), "-n", "2", "-W", str(DEADLINE))
        for body in "one", "two":
            self.run_it("pub", self.url(), "-m", body)
        self.assertEqual(process.wait(), 0)
        self.assertEqual(process.out.text().splitlines(), ["one", "two"])

    def test_large_bodies(self):
        body = b"0123456789abcdef" * 60000
        self.run_it("pub", self.url(), "-s", stdin=body)
        done = subprocess.run([trefoil(), "sub", self.url(), "-n", "1", "-o", "raw",
                               "-W", str(DEADLINE)], capture_output=True, check=True,
                              timeout=2 * DEADLINE)
        self.assertTrue(done.stdout.rstrip(b"\n") == body)


@unittest.skipUnless(shutil.which("rabbitmq-server"), "rabbitmq-server: script/bootstrap test")
class OnRabbit(Clients):
    """The same with a broker of somebody else's. It has no rcv-settle-mode second, and says so."""

    prefix, qualities = "/queue/", ("0", "1")

    def test_what_it_does_not_do_is_told(self):
        done = self.run_it("pub", self.url(), "-q", "2", "-m", "x", status=REFUSED)
        self.assertIn("amqp:not-implemented", done.err)

    @classmethod
    def setUpClass(cls):
        cls.broker = Rabbit()
        cls.broker.process = None

    def setUp(self):
        self.mark = 0

    def run(self, result=None):
        return unittest.TestCase.run(self, result)


class OnTrefoil(Clients):
    def test_values_are_shown_as_json(self):
        values = ((string("text"), "text"), (lst([uint(1), string("b"), boolean(True)]), [1, "b", True]),
                  (mapping({"k": lst([])}), {"k": []}), (uint(7), 7), (sym("s"), "s"),
                  (fixed(0x82, "d", 1.5), 1.5), (ulong(2**53), 2**53), (boolean(False), False),
                  (array(b"\x52", [b"\1", b"\2"]), [1, 2]))
        self.fill(*[bytes(message(described(0x77, value))) for value, _ in values])
        done = self.run_it("sub", self.url(), "-n", str(len(values)), "-o", "json", "-W", str(DEADLINE))
        for entry, (_, wanted) in zip(rows(done.out), values):
            self.assertEqual(body_of(entry), wanted)

    def test_binary_value_and_sequences(self):
        self.fill(bytes(message(described(0x76, lst([uint(1)])), described(0x76, lst([uint(2)])))),
                  bytes(message(described(0x77, binary(b"\0\xff")))))
        done = self.run_it("sub", self.url(), "-n", "2", "-o", "json", "-W", str(DEADLINE))
        first, second = rows(done.out)
        self.assertIn(body_of(first), ([1, 2], [[1], [2]]))
        self.assertIn(body_of(second), (b"\0\xff", base64.b64encode(b"\0\xff").decode()))

    def test_pub_that_nobody_takes(self):
        done = self.run_it("pub", self.broker.amqp_url + "/topic://" + self.address(), "-m", "x",
                           status=REFUSED)
        self.assertIn("released", done.err)

    def test_pub_that_is_refused(self):
        done = self.run_it("pub", self.broker.amqp_url + "/topic://$SYS/mine", "-m", "x",
                           status=REFUSED)
        self.assertNotEqual(done.err, "")

    def test_retain_and_get(self):
        url = self.broker.amqp_url + "/topic://" + self.address()
        self.run_it("pub", url, "-r", "-m", "kept", "-t", "text/plain")
        self.assertEqual(self.run_it("get", url).out.rstrip("\n"), "kept")
        self.assertEqual(self.run_it("get", self.broker.url + "/" + self.address()).out.rstrip("\n"),
                         "kept")
        self.assertEqual(self.run_it("get", self.broker.coap_url + "/" + self.address())
                         .out.rstrip("\n"), "kept")
        self.run_it("pub", url, "-r", "-n")
        self.assertEqual(self.run_it("get", url, status=tuple(range(1, 8))).out, "")

    def test_across_the_protocols(self):
        watch = self.start_it("sub", self.broker.url + "/" + self.address("/#"), "-n", "2",
                              "-W", str(DEADLINE), "-d")
        self.assertTrue(watch.err.find(r"SUBACK|subscribed"))
        self.run_it("pub", self.broker.amqp_url + "/topic://" + self.address("/a"), "-m", "by amqp")
        self.run_it("pub", self.broker.coap_url + "/" + self.address("/b"), "-m", "by coap")
        self.assertEqual(watch.wait(), 0)
        self.assertEqual(watch.out.text().splitlines(), ["by amqp", "by coap"])

    def test_not_let_in(self):
        broker = AmqpBroker(["allow_anonymous false"]).start()
        try:
            url = broker.amqp_url + "/a"
            self.run_it("pub", url, "-m", "x", status=AUTH)
            self.run_it("sub", url.replace("://", "://me:wrong@"), "-n", "1", status=AUTH)
        finally:
            broker.stop()

    def test_a_user_and_a_password(self):
        self.run_it("pub", self.url().replace("://", "://me:secret@"), "-m", "x")
        self.assertEqual(self.receiver().bodies(1), [b"x"])


class Queues(AmqpCase, Cli):
    GENERAL = ["queue kept", "queue target"]

    def setUp(self):
        super().setUp()
        self.name = "q-" + self._testMethodName
        link = self.session().sender(self.name)
        for n in range(5):
            link.send("%d" % n)
        link.session.raw.leave()

    def queue(self, *args, **more):
        return self.run_it("queues", *args, self.broker.amqp_url, **more)

    def rest(self, name=None):
        """What is in a queue; it is taken."""
        session = self.session()
        link = session.receiver("queue://" + (name or self.name), snd_settle_mode=SETTLED)
        got = [each.body.decode() for each in link.drain(100)]
        session.raw.leave()
        return got

    def test_list_by_both_protocols(self):
        for url in self.broker.url, self.broker.amqp_url:
            with self.subTest(url):
                text = self.run_it("queues", url).out
                line = next((each for each in text.splitlines() if self.name in each), "")
                self.assertRegex(line, r"\b5\b", text)
                found = [row for row in rows(self.run_it("queues", url, "-o", "json").out)
                         if row.get("queue") == self.name]
                self.assertEqual([row["messages"] for row in found], [5])

    def test_show(self):
        out = self.queue("show", self.name, "-o", "json").out
        self.assertEqual(rows(out)[0]["messages"], 5)
        self.assertIn("5", self.queue("show", self.name).out)

    def test_peek_takes_nothing(self):
        self.assertEqual(self.queue("peek", self.name).out.splitlines(), list("01234"))
        self.assertEqual(self.queue("peek", self.name, "-n", "2").out.splitlines(), list("01"))
        found = rows(self.queue("peek", self.name, "-o", "json").out)
        self.assertEqual([str(body_of(row)) for row in found], list("01234"))
        self.assertEqual(self.rest(), list("01234"))

    def test_purge(self):
        self.assertIn("5", self.queue("purge", self.name).out)
        self.depth(self.name, 0)
        self.assertEqual(self.rest(), [])
        self.assertIn("0", self.queue("purge", self.name).out)

    def test_purge_leaves_what_somebody_has(self):
        link = self.session().receiver(self.name, credit=2)
        held = [link.receive() for _ in range(2)]
        self.assertIn("3", self.queue("purge", self.name).out)
        link.settle(held[0], "released")
        link.settle(held[1], "released")
        link.session.raw.leave()
        self.assertEqual(self.rest(), list("01"))

    def test_delete(self):
        self.queue("delete", self.name)
        self.assertNotIn(self.name, self.queues())

    def test_delete_if(self):
        self.queue("delete", self.name, "--if-empty", status=REFUSED)
        link = self.session().receiver(self.name)
        self.queue("delete", self.name, "--if-unused", status=REFUSED)
        link.detach()
        self.assertEqual(len(self.rest()), 5)
        self.queue("delete", self.name, "--if-empty", "--if-unused")
        self.assertNotIn(self.name, self.queues())

    def test_delete_detaches_who_consumes(self):
        link = self.session().receiver(self.name)
        self.queue("delete", self.name)
        link.detached("amqp:resource-deleted")

    def test_move(self):
        self.queue("move", self.name, "target", "-n", "2")
        self.assertEqual(self.rest("target"), list("01"))
        self.queue("move", self.name, "target")
        self.assertEqual(self.rest("target"), list("234"))
        self.depth(self.name, 0)

    def test_declare(self):
        self.queue("declare", self.name + "-new")
        self.assertIn(self.name + "-new", self.queues())

    def test_a_queue_that_is_not_there(self):
        for args in (("purge", "nowhere"), ("delete", "nowhere"), ("show", "nowhere"),
                     ("move", "nowhere", "target"), ("peek", "nowhere"),
                     ("move", self.name, "nowhere")):
            with self.subTest(args):
                done = self.queue(*args, status=REFUSED)
                self.assertIn("nowhere", done.err)
        self.assertNotIn("nowhere", self.queues())
        self.assertEqual(self.rest(), list("01234"))


if __name__ == "__main__":
    main()
