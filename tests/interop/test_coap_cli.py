"""Trefoil's own CoAP client: `trefoil coap ...` against libcoap's server, node-coap's and the
broker, and `trefoil pub|sub|get coap://...` on the broker.

Wording is left free; what is checked is data, exit codes, and that a diagnosis names the thing.
"""

import base64
import json
import os
import re
import signal
import tempfile
import time
import unittest

import coap
from broker import DEADLINE, SHARDS, SLOW, main
from clients import Paho
from coap import JSON, TEXT, Client, CoapCase
from coap_clients import LibcoapServer, NodeServer, free_udp_port
from coap_relay import Fate, Relay
from raw import Raw
from test_cli import NETWORK, REFUSED, TIMEOUT, USAGE, Cli

JSON_BODIES = ("body", "body_json", "body_base64")


def body_of(entry):
    """The body of an object of -o json, as bytes or, of JSON, as the value."""
    found = [name for name in JSON_BODIES if name in entry]
    if len(found) != 1:
        raise AssertionError("one of %s in %s" % (JSON_BODIES, entry))
    if found[0] == "body_base64":
        return base64.b64decode(entry["body_base64"])
    return entry[found[0]]


class Usage(Cli):
    def test_help(self):
        done = self.run_it("coap", "--help")
        for word in ("get", "put", "post", "delete", "fetch", "patch", "ipatch", "observe",
                     "discover", "ping", "-m", "-f", "-s", "-t", "-A", "-N", "-b", "-o", "-v", "-W",
                     "-n"):
            self.assertIn(word, done.out)
        self.assertEqual(done.err, "")

    def test_usage_errors(self):
        url = "coap://127.0.0.1/a"
        for args in ((), ("unheard", url), ("get",), ("get", "mqtt://127.0.0.1/a"),
                     ("get", "127.0.0.1/a"), ("get", "coap://127.0.0.1:99999/a"),
                     ("get", url, "--unheard"), ("get", url, "-b", "17"),
                     ("get", url, "-b", "2048"),
                     ("get", url, "-b", "x"), ("get", url, "-A", "no/such-format"),
                     ("get", url, "-A", "65536"), ("put", url, "-m", "x", "-t", "no/such-format"),
                     ("put", url, "-m", "x", "-f", "/dev/null"), ("put", url, "-m", "x", "-s"),
                     ("get", url, "-W", "x"), ("observe", url, "-n", "-1"),
                     ("get", url, "-o", "unheard"), ("get", url + "#fragment"),
                     ("get", url, "-m", "x"), ("delete", url, "-f", "/dev/null"),
                     ("ping", url, "-N"), ("ping", url, "-A", "0"), ("get", url, "-n", "2"),
                     ("get", url, "-O", "Unheard=1"), ("get", url, "-O", "Max-Age=x"),
                     ("get", url, "-O", "Observe=0"), ("get", url, "--etag", "xyz"),
                     ("put", url, "--if-match", "0"), ("get", url, "--max-retransmit", "21"),
                     ("get", url, "--ack-timeout", "0"), ("get", url, "--nstart", "0"),
                     ("get", "coaps://127.0.0.1/a"), ("get", "coap+tcp://127.0.0.1/a")):
            with self.subTest(args):
                done = self.run_it("coap", *args, status=USAGE)
                self.assertEqual(done.out, "")
                self.assertNotEqual(done.err, "")

    def test_did_you_mean(self):
        self.assertIn("observe", self.run_it("coap", "obserf", "coap://127.0.0.1/a",
                                             status=USAGE).err)

    def test_a_file_that_is_not_there(self):
        done = self.run_it("coap", "put", "coap://127.0.0.1/a", "-f", "/no/such/file",
                           status=(1, USAGE))
        self.assertIn("/no/such/file", done.err)

    def test_nobody_there(self):
        """The port is closed, and the kernel says so: exit 3, at once."""
        url = "coap://127.0.0.1:%d/a" % free_udp_port()
        for args in (("get", url), ("put", url, "-m", "x"), ("delete", url), ("observe", url),
                     ("ping", url[:-2]), ("discover", url[:-2])):
            with self.subTest(args):
                self.assertEqual(self.run_it("coap", *args, status=NETWORK).out, "")
        for args in (("get", url), ("pub", url, "-m", "x"), ("sub", url, "-n", "1")):
            with self.subTest(args):
                self.assertEqual(self.run_it(*args, status=NETWORK).out, "")

    def test_what_coap_has_not(self):
        """pub, sub and get name the option that only MQTT has."""
        url = "coap://127.0.0.1/a"
        for word, args in (("QoS 2", ("pub", url, "-m", "x", "-q", "2")),
                           ("--property", ("pub", url, "-m", "x", "-P", "a=b")),
                           ("--expiry", ("pub", url, "-m", "x", "--expiry", "5")),
                           ("--id", ("pub", url, "-m", "x", "-i", "me")),
                           ("a will", ("sub", url, "--will-topic", "w")),
                           ("--no-local", ("sub", url, "--no-local")),
                           ("--user", ("get", url, "--user", "me")),
                           ("MQTT", ("sub", url, "mqtt://127.0.0.1/a")),
                           ("coap", ("get", "coaps://127.0.0.1/a"))):
            with self.subTest(args):
                done = self.run_it(*args, status=USAGE)
                self.assertIn(word, done.err)
                self.assertEqual(done.out, "")

    def test_the_first_of_several_codes_stays(self):
        url = "coap://127.0.0.1:%d/a" % free_udp_port()
        self.run_it("coap", "get", url, "coap://no-such-host.invalid/b", status=NETWORK)

    def test_transmission_parameters(self):
        """One retransmission after a tenth of a second, then it is given up: no -W is needed."""
        with Relay(1, up=Fate(0, drop=1.0)) as hole:
            url = "coap://127.0.0.1:%d/a" % hole.port
            done = self.run_it("coap", "get", url, "--ack-timeout", "0.1", "--max-retransmit", "1",
                               status=TIMEOUT)
            self.assertIn("1 retransmission", done.err)
            self.assertEqual(len(hole.log("up")), 2)
            self.run_it("coap", "get", url, "--ack-timeout", "0.1", "--max-retransmit", "0",
                        status=TIMEOUT)
            self.assertEqual(len(hole.log("up")), 3)

    def test_how_many_are_under_way(self):
        """NSTART is 1 unless another is wanted."""
        for args, count in ((), 1), (("--nstart", "3"), 3):
            with Relay(1, up=Fate(0, drop=1.0)) as hole:
                urls = ["coap://127.0.0.1:%d/%d" % (hole.port, index) for index in range(4)]
                self.run_it("coap", "get", *urls, *args, "-W", "0.5", status=TIMEOUT)
                self.assertEqual(len({entry[3] for entry in hole.log("up")}), count)

    def test_an_unknown_host(self):
        self.run_it("coap", "get", "coap://no-such-host.invalid/a", status=NETWORK)

    def test_no_answer(self):
        """Somebody there who says nothing: exit 6, when -W is over."""
        with Relay(1, up=Fate(0, drop=1.0)) as hole:
            url = "coap://127.0.0.1:%d/a" % hole.port
            for args in (("get", url), ("get", url, "-N"), ("put", url, "-m", "x"),
                         ("ping", url[:-2]), ("observe", url)):
                with self.subTest(args):
                    done = self.run_it("coap", *args, "-W", "1", status=TIMEOUT)
                    self.assertEqual(done.out, "")
                    self.assertNotEqual(done.err, "")


class Verbs:
    """What works the same against each server: `port`, and `value`, a path that can be PUT."""

    port = None
    value = "value"
    smallest = "16"

    def url(self, path=""):
        return "coap://127.0.0.1:%d/%s" % (self.port, path)

    def coap_it(self, *args, **more):
        return self.run_it("coap", *args, **more)

    def raw(self):
        made = Client(self.port)
        self.addCleanup(made.close)
        return made

    def test_put_get_delete(self):
        url = self.url(self.value)
        self.coap_it("put", url, "-m", "hello", "-t", "text/plain")
        self.assertEqual(self.coap_it("get", url).out.rstrip("\n"), "hello")
        self.assertEqual(self.raw().get(self.value).text, "hello")
        self.coap_it("delete", url)
        done = self.coap_it("get", url, status=REFUSED)
        self.assertEqual(done.out, "")
        self.assertIn("4.04", done.err)

    def test_raw_is_the_bytes(self):
        body = os.urandom(300) + b"\n\0\xff"
        with tempfile.NamedTemporaryFile() as file:
            file.write(body)
            file.flush()
            self.coap_it("put", self.url(self.value), "-f", file.name)
        self.assertEqual(self.coap_it("get", self.url(self.value), "-o", "raw").raw, body)
        self.coap_it("put", self.url(self.value), "-s", stdin=b"from stdin")
        self.assertEqual(self.coap_it("get", self.url(self.value), "-o", "raw").raw, b"from stdin")
        self.coap_it("delete", self.url(self.value))

    def test_non(self):
        url = self.url(self.value)
        self.coap_it("put", url, "-m", "non", "-N")
        self.assertEqual(self.coap_it("get", url, "-N", "-o", "raw").raw, b"non")
        self.coap_it("delete", url, "-N")

    def test_large_both_ways(self):
        body = os.urandom(5000)
        url = self.url(self.value)
        for size in "16", "64", "512", "1024":
            with tempfile.NamedTemporaryFile() as file:
                file.write(body)
                file.flush()
                self.coap_it("put", url, "-f", file.name, "-b", size)
            self.assertEqual(self.raw().get_large(self.value)[0], body)
            read = max(size, self.smallest, key=int)
            self.assertEqual(self.coap_it("get", url, "-o", "raw", "-b", read).raw, body)
        self.assertEqual(self.coap_it("get", url, "-o", "raw").raw, body)
        self.coap_it("delete", url)

    def test_ping(self):
        self.coap_it("ping", self.url()[:-1])

    def test_json_output(self):
        url = self.url(self.value)
        self.coap_it("put", url, "-m", "text", "-t", "0")
        entry = json.loads(self.coap_it("get", url, "-o", "json").out)
        self.assertEqual(body_of(entry), "text")
        self.assertEqual(entry["code"], "2.05")
        self.coap_it("put", url, "-f", "/bin/true", "-t", "application/octet-stream")
        with open("/bin/true", "rb") as file:
            self.assertEqual(body_of(json.loads(self.coap_it("get", url, "-o", "json").out)),
                             file.read())
        self.coap_it("delete", url)
        done = self.coap_it("get", url, "-o", "json", status=REFUSED)
        self.assertEqual(json.loads(done.out)["code"] if done.out else "4.04", "4.04")

    def test_several_at_once(self):
        """Each URL has its answer, in the order given; one that is refused makes the exit 5."""
        raw = self.raw()
        for index in range(5):
            raw.put("many%d" % index, "body %d" % index, form=TEXT)
        urls = [self.url("many%d" % index) for index in range(5)]
        self.assertEqual(self.coap_it("get", *urls).out.split("\n")[:5],
                         ["body %d" % index for index in range(5)])
        done = self.coap_it("get", urls[0], self.url("none"), urls[1], status=REFUSED)
        for text in "body 0", "body 1":
            self.assertIn(text, done.out)
        self.assertIn("none", done.err)
        done = self.coap_it("get", *urls, "-o", "json")
        found = [json.loads(line) for line in done.out.splitlines()]
        self.assertEqual([body_of(entry) for entry in found],
                         ["body %d" % index for index in range(5)])

    def test_verbose(self):
        """What goes in and out on stderr, with times; stdout stays data."""
        self.raw().put(self.value, "v", form=TEXT)
        done = self.coap_it("get", self.url(self.value), "-v")
        self.assertEqual(done.out.rstrip("\n"), "v")
        self.assertRegex(done.err, r"CON.*GET|GET.*CON")
        self.assertIn("2.05", done.err)
        self.assertRegex(done.err, r"\d+(\.\d+)? ?(ms|us|µs|s)\b")

    def test_retransmissions_are_told(self):
        """The first datagram is lost: it is repeated after two to three seconds, and -v says so."""
        self.raw().put(self.value, "v", form=TEXT)
        with Relay(self.port, up=Fate(0, plan=["drop"])) as relay:
            done = self.coap_it("get", "coap://127.0.0.1:%d/%s" % (relay.port, self.value), "-v")
            self.assertEqual(done.out.rstrip("\n"), "v")
            self.assertRegex(done.err, r"(?i)retrans|repeat|again")
            self.assertEqual(len({entry[3] for entry in relay.log("up")}), 1)

    def test_discover(self):
        done = self.coap_it("discover", self.url()[:-1])
        self.assertIn(self.listed, done.out)
        found = json.loads(self.coap_it("discover", self.url()[:-1], "-o", "json").out)
        self.assertIn(self.listed, json.dumps(found))


class AgainstLibcoap(Verbs, Cli):
    value, listed = "value", "/time"

    @classmethod
    def setUpClass(cls):
        if SHARDS != "1":
            raise unittest.SkipTest("no shards of ours: once is enough")
        cls.server = LibcoapServer()
        cls.port = cls.server.port
        with Client(cls.port) as probe:
            end = time.monotonic() + DEADLINE
            while time.monotonic() < end:
                probe.send(coap.Message(coap.CON, coap.EMPTY, next(probe.mids)))
                if probe.datagram(0.1):
                    return
        raise AssertionError("coap-server does not answer")

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def test_separate_response(self):
        """Its /async answers after a while."""
        self.assertEqual(self.coap_it("get", self.url("async?1")).out.rstrip("\n"), "done")

    def test_observe(self):
        done = self.coap_it("observe", self.url("time"), "-n", "3", "-o", "json")
        found = [json.loads(line) for line in done.out.splitlines()]
        self.assertEqual(len(found), 3)
        self.assertEqual(len({body_of(entry) for entry in found}), 3)

    def test_a_method_it_does_not_have(self):
        for verb in "patch", "ipatch":
            done = self.coap_it(verb, self.url("time"), "-m", "x", "-t", "52", status=REFUSED)
            self.assertIn("4.05", done.err)

    def test_discover_with_a_filter(self):
        done = self.coap_it("discover", self.url(".well-known/core?rt=ticks"))
        self.assertIn("/time", done.out)
        self.assertNotIn("/async", done.out)


class AgainstNode(Verbs, Cli):
    value, listed = "value", "/hello"
    # node-coap takes the empty Block2 that asks for 16 bytes (RFC 7959 2.2) for a block of none.
    smallest = "32"

    @classmethod
    def setUpClass(cls):
        if SHARDS != "1":
            raise unittest.SkipTest("no shards of ours: once is enough")
        cls.server = NodeServer()
        cls.port = cls.server.port

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def test_large_get(self):
        self.assertEqual(self.coap_it("get", self.url("large"), "-o", "raw").out,
                         "node-coap " * 500)

    def test_separate_response(self):
        self.assertEqual(self.coap_it("get", self.url("slow")).out.rstrip("\n"), "at last")

    def test_fetch_patch_ipatch(self):
        for verb, name in ("fetch", "FETCH"), ("patch", "PATCH"), ("ipatch", "iPATCH"), \
                ("post", "POST"):
            done = self.coap_it(verb, self.url("echo"), "-m", "body", "-t", "text/plain")
            self.assertEqual(done.out.rstrip("\n"), name + " BODY")

    def test_observe(self):
        process = self.start_it("coap", "observe", self.url("clock"), "-n", "3")
        self.assertTrue(process.out.find(r"\S"), process.err.text())
        for value in "one", "two":
            self.server.set("/clock", value)
            self.assertTrue(process.out.find(value), process.out.text() + process.err.text())
        self.assertEqual(process.wait(), 0)
        self.assertEqual(len(process.out.lines), 3)

    def test_json_is_readable(self):
        entry = json.loads(self.coap_it("get", self.url("json"), "-o", "json").out)
        self.assertEqual(body_of(entry), {"a": 1})


class AgainstTheBroker(Verbs, CoapCase, Cli):
    OPTIONS = ["coap_notify con"]
    listed = "/listed"

    def setUp(self):
        super().setUp()
        self.port = self.broker.coap_port
        self.value = self.address()
        self.raw().put("listed", "x")

    def mqtt(self, *filters):
        made = Raw(self.broker, 5)
        self.addCleanup(made.drop)
        made.connect()
        if filters:
            made.subscribe(*filters, qos=2)
        return made

    def test_formats_by_name_and_number(self):
        raw = self.raw()
        for name, form in (("application/json", JSON), ("50", JSON), ("text/plain", TEXT),
                           ("0", TEXT), ("60", 60), ("application/cbor", 60), ("65000", 65000)):
            self.coap_it("put", self.url(self.value), "-m", "x", "-t", name)
            self.assertEqual(raw.get(self.value).uint(coap.CONTENT_FORMAT), form, name)

    def test_accept(self):
        self.raw().put(self.value, "{}", form=JSON)
        self.coap_it("get", self.url(self.value), "-A", "application/json")
        done = self.coap_it("get", self.url(self.value), "-A", "60", status=REFUSED)
        self.assertIn("4.06", done.err)

    def test_post_says_where(self):
        done = self.coap_it("post", self.url(self.value), "-m", "x", "-v")
        self.assertIn("2.01", done.err)
        self.assertIn(self.value.split("/")[-1], done.err + done.out)

    def test_names_are_percent_decoded(self):
        with Raw(self.broker, 5) as witness:
            witness.connect()
            witness.subscribe(self.address("/#"))
            self.coap_it("put", self.url(self.value + "/a%20b/%C3%A4"), "-m", "x")
            self.assertEqual(witness.message().topic, self.value + "/a b/ä")

    def test_patch_of_json(self):
        self.raw().put(self.value, '{"a":1}', form=JSON)
        for verb in "patch", "ipatch":
            self.coap_it(verb, self.url(self.value), "-m", '{"%s":2}' % verb, "-t",
                         "application/merge-patch+json")
        self.assertEqual(json.loads(self.raw().get(self.value).text),
                         {"a": 1, "patch": 2, "ipatch": 2})
        self.coap_it("patch", self.url(self.value), "-m", "x", "-t", "text/plain", status=REFUSED)

    def test_conditions(self):
        url = self.url(self.value)
        self.coap_it("put", url, "-m", "one", "--if-none-match")
        done = self.coap_it("put", url, "-m", "two", "--if-none-match", status=REFUSED)
        self.assertIn("4.12", done.err)
        entry = json.loads(self.coap_it("get", url, "-o", "json").out)
        etag = entry["options"]["ETag"][0]
        valid = json.loads(self.coap_it("get", url, "--etag", etag, "-o", "json").out)
        self.assertEqual((valid["code"], body_of(valid)), ("2.03", ""))
        self.coap_it("put", url, "-m", "two", "--if-match", etag)
        self.coap_it("put", url, "-m", "three", "--if-match", etag, status=REFUSED)
        self.coap_it("put", url, "-m", "three", "--if-match", "")
        self.assertEqual(self.raw().get(self.value).text, "three")

    def test_json_says_all(self):
        self.raw().put(self.value, '{"a":1}', form=JSON)
        url = self.url(self.value)
        entry = json.loads(self.coap_it("get", url, "-o", "json").out)
        self.assertEqual(entry["url"], url)
        self.assertEqual((entry["code"], entry["code_name"]), ("2.05", "Content"))
        self.assertEqual((entry["content_format"], entry["content_type"]),
                         (JSON, "application/json"))
        self.assertEqual(entry["options"]["Content-Format"], JSON)
        self.assertGreater(entry["round_trip_ms"], 0)
        self.assertEqual(entry["retransmissions"], 0)
        self.assertRegex(entry["timestamp"], r"^\d{4}-\d\d-\d\dT.*Z$")
        self.assertEqual(entry["body_json"], {"a": 1})
        entry = json.loads(self.coap_it("observe", url, "-o", "json", "-n", "1").out)
        self.assertIsInstance(entry["observe"], int)

    def test_forms_of_output(self):
        self.raw().put(self.value, b"\x01\xffz", form=42)
        url = self.url(self.value)
        self.assertEqual(self.coap_it("get", url, "-o", "hex").out, "01ff7a\n")
        self.assertEqual(self.coap_it("get", url, "-o", "raw").raw, b"\x01\xffz")
        self.raw().put(self.value, '{"a":[1,2]}', form=JSON)
        self.assertEqual(self.coap_it("get", url).out, '{"a":[1,2]}\n')
        self.assertEqual(self.coap_it("get", url, "--pretty").out,
                         '{\n  "a": [\n    1,\n    2\n  ]\n}\n')
        self.assertRegex(self.coap_it("get", url, "-T", "-u").out,
                         r"^\d{4}-\S+Z " + re.escape(url) + " {")

    def test_one_block(self):
        """Block2 by hand is random access: one message each way."""
        body = os.urandom(1000)
        with tempfile.NamedTemporaryFile() as file:
            file.write(body)
            file.flush()
            self.coap_it("put", self.url(self.value), "-f", file.name)
        done = self.coap_it("get", self.url(self.value), "-O", "Block2=3/0/64", "-o", "raw", "-v")
        self.assertEqual(done.raw, body[192:256])
        self.assertEqual(done.err.count("> "), 1)

    def test_ping_several_times(self):
        done = self.coap_it("ping", self.url()[:-1], "-n", "2")
        self.assertEqual(len(re.findall(r"[\d.]+ ms$", done.out, re.M)), 2)

    def test_discover_as_json(self):
        raw = self.raw()
        raw.put(self.address("/x"), "12345", form=TEXT)
        done = self.coap_it("discover", self.url("?href=/" + self.address("/*")), "-o", "json")
        links = json.loads(done.out)["links"]
        self.assertEqual([link["target"] for link in links], ["/" + self.address("/x")])
        self.assertEqual(links[0]["uri"], self.url(self.address("/x")))
        self.assertEqual((links[0]["attributes"]["sz"], links[0]["attributes"]["ct"]), ("5", "0"))
        self.assertTrue(links[0]["attributes"]["obs"])

    def test_observe_when_the_format_changes(self):
        """The server must end it with 4.06 (RFC 7641 4.2.3); who takes any format goes on."""
        raw = self.raw()
        raw.put(self.value, "text", form=TEXT)
        process = self.start_it("coap", "observe", self.url(self.value), "-n", "2")
        self.assertTrue(process.out.find("text"), process.err.text())
        raw.put(self.value, '{"a":1}', form=JSON)
        self.assertTrue(process.out.find('{"a":1}'), process.err.text())
        self.assertEqual(process.wait(), 0)
        raw.put(self.value, "text", form=TEXT)
        process = self.start_it("coap", "observe", self.url(self.value), "-A", "0")
        self.assertTrue(process.out.find("text"), process.err.text())
        raw.put(self.value, '{"a":1}', form=JSON)
        self.assertEqual(process.wait(), REFUSED)
        self.assertIn("4.06", process.err.text())

    def test_observe_something_large(self):
        raw = self.raw()
        body = "x" * 3000
        self.run_it("pub", self.url(self.value), "-m", body)
        process = self.start_it("coap", "observe", self.url(self.value), "-n", "2", "-b", "256")
        self.assertTrue(process.out.find("x{3000}"), process.err.text())
        self.run_it("pub", self.url(self.value), "-m", "y" * 2500)
        self.assertTrue(process.out.find("y{2500}"), process.err.text())
        self.assertEqual(process.wait(), 0)
        self.assertEqual(raw.get_large(self.value)[0], b"y" * 2500)

    def test_observe_until_it_is_gone(self):
        """A final 4.04 ends it with exit 5."""
        raw = self.raw()
        raw.put(self.value, "first", form=TEXT)
        process = self.start_it("coap", "observe", self.url(self.value))
        self.assertTrue(process.out.find("first"), process.err.text())
        raw.put(self.value, "second", form=TEXT)
        self.assertTrue(process.out.find("second"))
        raw.delete(self.value)
        self.assertEqual(process.wait(), REFUSED)
        self.assertIn("4.04", process.err.text())

    def test_observe_ends_on_a_signal(self):
        """It deregisters, and nothing is sent to it any more."""
        raw = self.raw()
        raw.put(self.value, "first", form=TEXT)
        with Relay(self.port) as relay:
            url = "coap://127.0.0.1:%d/%s" % (relay.port, self.value)
            process = self.start_it("coap", "observe", url)
            self.assertTrue(process.out.find("first"), process.err.text())
            process.stop(signal.SIGINT)
            sent = [coap.decode(entry[3]) for entry in relay.log("up")]
            self.assertEqual(sent[-1].uint(coap.OBSERVE), 1)
            before = len(relay.log("down"))
            raw.put(self.value, "second", form=TEXT)
            raw.get(self.value)
            self.assertLessEqual(len(relay.log("down")), before + 1)

    def test_observe_two(self):
        raw = self.raw()
        for name in "a", "b":
            raw.put(self.address("/" + name), "first " + name, form=TEXT)
        process = self.start_it("coap", "observe", self.url(self.address("/a")),
                                self.url(self.address("/b")), "-o", "json")
        for name in "a", "b":
            self.assertTrue(process.out.find("first " + name), process.err.text())
            raw.put(self.address("/" + name), "then " + name, form=TEXT)
            self.assertTrue(process.out.find("then " + name))
        process.stop(signal.SIGTERM)

    def test_discover_what_mqtt_retains(self):
        self.mqtt().publish(self.value, "x", 1, retain=True)
        done = self.coap_it("discover", self.url()[:-1])
        self.assertIn("/" + self.value, done.out)

    # pub, sub and get

    def test_pub(self):
        witness = self.mqtt(self.value)
        self.run_it("pub", self.url(self.value), "-m", "one")
        self.run_it("pub", self.url(self.value), "-m", "two", "-q", "1", "-t", "application/json")
        self.run_it("pub", self.url(self.value), "-m", "three", "-q", "0")
        got = [witness.message() for _ in range(3)]
        self.assertEqual([m.payload for m in got], [b"one", b"two", b"three"])
        self.assertEqual((got[1].qos, got[1].props["content_type"]), (1, "application/json"))
        self.assertEqual(got[2].qos, 0)
        self.assertEqual(self.run_it("get", self.url(self.value)).out.rstrip("\n"), "three")

    def test_pub_a_file_and_stdin_and_lines(self):
        body = os.urandom(3000)
        witness = self.mqtt(self.value)
        with tempfile.NamedTemporaryFile() as file:
            file.write(body)
            file.flush()
            self.run_it("pub", self.url(self.value), "-f", file.name)
        self.assertEqual(witness.message().payload, body)
        self.run_it("pub", self.url(self.value), "-s", stdin=b"all\nof it\n")
        self.assertEqual(witness.message().payload, b"all\nof it\n")
        self.run_it("pub", self.url(self.value), "-l", stdin=b"a\nb\nc\n")
        self.assertEqual([witness.message().payload for _ in range(3)], [b"a", b"b", b"c"])

    def test_pub_removes(self):
        self.run_it("pub", self.url(self.value), "-m", "x")
        self.run_it("pub", self.url(self.value), "-n")
        self.assertEqual(self.run_it("get", self.url(self.value), "-o", "raw").raw, b"")
        self.run_it("pub", self.url(self.value), "-n", "-r")
        self.run_it("get", self.url(self.value), status=REFUSED)

    def test_pub_again_and_again(self):
        witness = self.mqtt(self.value)
        self.run_it("pub", self.url(self.value), "-m", "x", "--repeat", "40")
        self.assertEqual([witness.message().payload for _ in range(40)], [b"x"] * 40)

    def test_pub_many_lines(self):
        """Their order is that of the input, however slow the way is."""
        lines = [b"%d" % index for index in range(300)]
        witness = self.mqtt(self.value)
        self.run_it("pub", self.url(self.value), "-l", stdin=b"\n".join(lines))
        self.assertEqual([witness.message().payload for _ in lines], lines)

    def test_pub_refused(self):
        """A name that no address can have."""
        self.run_it("pub", self.url("a/%23/b"), "-m", "x", status=(REFUSED, USAGE))

    def test_get(self):
        self.mqtt().publish(self.value, "kept", 1, retain=True)
        self.assertEqual(self.run_it("get", self.url(self.value)).out.rstrip("\n"), "kept")
        done = self.run_it("get", self.url(self.address("/none")), status=REFUSED)
        self.assertEqual(done.out, "")

    def test_sub(self):
        self.raw().put(self.value, "0", form=TEXT)
        process = self.start_it("sub", self.url(self.value), "-n", "3")
        self.assertTrue(process.out.find("0"), process.err.text())
        for value in "one", "two":
            Paho.publish(self.broker, self.value, value, 1, retain=True)
            self.assertTrue(process.out.find(value), process.out.text() + process.err.text())
        self.assertEqual(process.wait(), 0)

    def test_sub_json(self):
        self.raw().put(self.value, '{"a":1}', form=JSON)
        done = self.run_it("sub", self.url(self.value), "-n", "1", "-o", "json")
        entry = json.loads(done.out)
        self.assertEqual(body_of(entry), {"a": 1})

    def test_sub_prints_as_for_mqtt(self):
        self.raw().put(self.value, "v", form=TEXT)
        done = self.run_it("sub", self.url(self.value), "-n", "1", "-v", "-F", "%t %p %C %r")
        self.assertEqual(done.out, self.value + " v text/plain; charset=utf-8 1\n")
        entry = json.loads(self.run_it("get", self.url(self.value), "-o", "json").out)
        self.assertEqual((entry["address"], entry["body"], entry["retain"]),
                         (self.value, "v", True))

    def test_sub_only_what_is_new(self):
        self.raw().put(self.value, "old", form=TEXT)
        process = self.start_it("sub", self.url(self.value), "-R", "-n", "1", "-d")
        self.assertTrue(process.err.find("2.05"), process.err.text())
        self.raw().put(self.value, "new", form=TEXT)
        self.assertEqual(process.wait(), 0)
        self.assertEqual(process.out.text().strip(), "new")

    def test_sub_that_hears_nothing(self):
        self.raw().put(self.value, "x", form=TEXT)
        self.run_it("sub", self.url(self.value), "-n", "2", "-W", "1", status=TIMEOUT)

    def test_a_lossy_way(self):
        """A body of 20 blocks each way, one datagram of ten lost: it arrives whole."""
        body = os.urandom(1280)
        with Relay(self.port, Fate(1, 0.1, 0.05, 0.05), Fate(2, 0.1, 0.05, 0.05)) as relay, \
                tempfile.NamedTemporaryFile() as file:
            file.write(body)
            file.flush()
            url = "coap://127.0.0.1:%d/%s" % (relay.port, self.value)
            process = self.start_it("coap", "put", url, "-f", file.name, "-b", "256", "-W", "60")
            self.assertEqual(process.child.wait(60 * SLOW), 0, process.err.text())
            self.assertEqual(self.raw().get_large(self.value)[0], body)


class AGroup(CoapCase, Cli):
    OPTIONS = ["coap_multicast true"]

    def ask(self, verb, path, *more):
        url = "coap://224.0.1.187:%d/%s" % (self.broker.coap_port, path)
        done = self.run_it("coap", verb, url, "--from", "127.0.0.1", *more,
                           status=(0, NETWORK, TIMEOUT))
        if done.status == NETWORK:
            self.skipTest("no multicast here: " + done.err)
        return done

    def test_discover(self):
        """Who answers is said; what does not fit into one message is fetched from each member."""
        raw = self.coap()
        for index in range(40):
            raw.put(self.address("/a-long-name/%d" % index), "x", form=TEXT)
        done = self.ask("discover", "")
        for index in range(40):
            self.assertIn("coap://127.0.0.1:%d/%s " % (
                self.broker.coap_port, self.address("/a-long-name/%d" % index)), done.out)

    def test_get(self):
        self.coap().put(self.address(), "here", form=TEXT)
        entry = json.loads(self.ask("get", self.address(), "-o", "json").out)
        self.assertEqual((entry["body"], entry["from"]),
                         ("here", "127.0.0.1:%d" % self.broker.coap_port))

    def test_nobody_has_it(self):
        done = self.ask("get", self.address("/none"), "-W", "6")
        self.assertEqual((done.status, done.out), (TIMEOUT, ""))

    def test_a_group_is_not_observed(self):
        self.run_it("coap", "observe", "coap://224.0.1.187/a", status=USAGE)


class Bench(CoapCase, Cli):
    def test_bench(self):
        """It runs, and prints figures."""
        done = self.run_it("bench", "coap", self.broker.coap_url, "-W", "1", status=(0, USAGE))
        if done.status == USAGE:
            done = self.run_it("bench", "coap", self.broker.coap_url)
        self.assertTrue(re.search(r"\d", done.out), done)


if __name__ == "__main__":
    main()
