"""The command line, from its description: what goes to stdout, what to stderr, and exit codes.

Wording is left free; what is checked is data, exit codes, and that a diagnosis names the thing.
"""

import base64
import json
import os
import re
import signal
import subprocess
import tempfile
import time
import unittest

import wire
from broker import (DEADLINE, PEER, REPORT, SLOW, Broker, BrokerCase, Process, binary, free_port,
                    main)
from raw import Raw

USAGE, NETWORK, AUTH, REFUSED, TIMEOUT = 2, 3, 4, 5, 6


def setUpModule():
    if PEER == "mosquitto" and "TREFOIL" not in os.environ:
        raise unittest.SkipTest("there is no command line of mosquitto's to test")


class Result:
    """A finished run; output is bytes in `raw` and text in `out`."""

    def __init__(self, done):
        self.status, self.raw = done.returncode, done.stdout
        self.out = done.stdout.decode("utf-8", "replace")
        self.err = done.stderr.decode("utf-8", "replace")

    def __str__(self):
        return "exit %d\nstdout: %s\nstderr: %s" % (self.status, self.out, self.err)


class Cli(unittest.TestCase):
    def run_it(self, *args, status=0, stdin=None, env=None):
        """Runs trefoil to its end."""
        done = Result(subprocess.run([binary(), *args], input=stdin, capture_output=True,
                                     timeout=DEADLINE, check=False, env=env,
                                     stdin=None if stdin is not None else subprocess.DEVNULL))
        self.assertIsNone(REPORT.search(done.err), done)
        wanted = status if isinstance(status, tuple) else (status,)
        self.assertIn(done.status, wanted, done)
        return done

    def start_it(self, *args):
        """Starts trefoil with its output captured."""
        process = Process([binary(), *args])
        self.addCleanup(process.kill)
        return process


class Basics(Cli):
    def test_help(self):
        done = self.run_it("--help")
        for word in "serve", "pub", "sub", "get", "queues", "sessions", "connections", "bench":
            self.assertIn(word, done.out)
        self.assertEqual(done.err, "")

    def test_help_of_each_command(self):
        for word in "serve", "pub", "sub", "get", "queues", "sessions", "connections":
            with self.subTest(word):
                self.assertIn(word, self.run_it(word, "--help").out)

    def test_version(self):
        self.assertRegex(self.run_it("--version").out, r"^trefoil \d+\.\d+")

    def test_usage_errors(self):
        """They go to stderr, and the exit code is 2."""
        for args in ((), ("unheard",), ("--unheard",), ("pub",), ("sub",), ("get",),
                     ("pub", "mqtt://127.0.0.1/a", "--unheard"),
                     ("pub", "mqtt://127.0.0.1/a", "-q", "3", "-m", "x"),
                     ("pub", "mqtt://127.0.0.1/a", "-q", "x", "-m", "x"),
                     ("pub", "gopher://127.0.0.1/a", "-m", "x"),
                     ("pub", "127.0.0.1/a", "-m", "x"),
                     ("pub", "mqtt://127.0.0.1:99999/a", "-m", "x"),
                     ("pub", "mqtt://127.0.0.1/", "-m", "x"),
                     ("pub", "mqtt://127.0.0.1/a/#", "-m", "x"),
                     ("sub", "mqtt://127.0.0.1/a", "-o", "unheard"),
                     ("sub", "mqtt://127.0.0.1/a", "-n", "-1"),
                     ("serve", "--unheard"), ("serve", "--shards", "none"),
                     ("serve", "--listen", "unheard://127.0.0.1")):
            with self.subTest(args):
                done = self.run_it(*args, status=USAGE)
                self.assertEqual(done.out, "")
                self.assertNotEqual(done.err, "")

    def test_did_you_mean(self):
        self.assertIn("serve", self.run_it("serv", status=USAGE).err)

    def test_network_errors(self):
        """Nobody listens: exit 3."""
        url = "mqtt://127.0.0.1:%d/a" % free_port()
        for args in (("pub", url, "-m", "x"), ("sub", url, "-n", "1"), ("get", url),
                     ("queues", url[:-2]), ("sessions", url[:-2]), ("connections", url[:-2])):
            with self.subTest(args):
                self.assertEqual(self.run_it(*args, status=NETWORK).out, "")


class WithBroker(BrokerCase, Cli):
    """The client commands, on whatever broker the class has."""

    def url(self, rest="", topic=None):
        return "%s/%s%s" % (self.broker.url, topic or self.topic(), rest)

    def topic(self, rest=""):
        return "%s/%s%s" % (type(self).__name__, self._testMethodName, rest)

    def raw(self, *filters, version=5, **fields):
        """A raw client, subscribed to filters at QoS 2."""
        made = Raw(self.broker, version)
        self.addCleanup(made.drop)
        made.connect(**fields)
        if filters:
            made.subscribe(*filters, qos=2)
        return made

    def probe(self, process, topic, pattern="probe"):
        """Publishes to a running `sub` until it shows it, so that it is known to be subscribed."""
        publisher = self.raw(version=4)
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            publisher.publish(topic, "probe", 0)
            publisher.ping()
            if process.out.find(pattern, deadline=0.05):
                return publisher
        return self.fail("no probe came through: %s" % process.err.text())


class Clients(WithBroker):
    """pub, sub and get; a subclass runs them against mosquitto."""

    def test_pub_each_qos(self):
        witness = self.raw(self.topic())
        for qos in 0, 1, 2:
            self.run_it("pub", self.url(), "-q", str(qos), "-m", "text %d" % qos)
            got = witness.message()
            self.assertEqual((got.payload, got.qos, got.retain), (b"text %d" % qos, qos, False))

    def test_pub_says_nothing_on_stdout(self):
        self.assertEqual(self.run_it("pub", self.url(), "-m", "x").out, "")

    def test_pub_file(self):
        witness = self.raw(self.topic())
        data = bytes(range(256)) * 20
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            self.run_it("pub", self.url(), "-q", "1", "-f", file.name)
        self.assertEqual(witness.message().payload, data)

    def test_pub_file_missing(self):
        done = self.run_it("pub", self.url(), "-f", "/nonexistent/file", status=(1, USAGE))
        self.assertIn("/nonexistent/file", done.err)

    def test_pub_lines(self):
        witness = self.raw(self.topic())
        for qos in "0", "1", "2":
            self.run_it("pub", self.url(), "-q", qos, "-l", stdin=b"one\n\ntwo three\nlast")
            self.assertEqual([witness.message().payload for _ in range(4)],
                             [b"one", b"", b"two three", b"last"])

    def test_pub_many_lines(self):
        """More lines than any window, each acknowledged before the end."""
        witness = self.raw(self.topic())
        lines = [b"%d" % n for n in range(500)]
        self.run_it("pub", self.url(), "-q", "1", "-l", stdin=b"\n".join(lines) + b"\n")
        self.assertEqual([witness.message().payload for _ in lines], lines)

    def test_pub_stdin(self):
        witness = self.raw(self.topic())
        self.run_it("pub", self.url(), "-s", "-q", "1", stdin=b"one\ntwo\n\0\xff")
        self.assertEqual(witness.message().payload, b"one\ntwo\n\0\xff")

    def test_pub_null(self):
        witness = self.raw(self.topic())
        self.run_it("pub", self.url(), "-n", "-q", "1")
        self.assertEqual(witness.message().payload, b"")

    def test_pub_retain_and_get(self):
        self.run_it("pub", self.url(), "-r", "-q", "1", "-m", "kept")
        late = self.raw(self.topic())
        got = late.message()
        self.assertEqual((got.payload, got.retain), (b"kept", True))
        self.assertEqual(self.run_it("get", self.url()).out.rstrip("\n"), "kept")
        self.run_it("pub", self.url(), "-r", "-q", "1", "-n")
        done = self.run_it("get", self.url(), status=tuple(range(1, 8)))
        self.assertEqual(done.out, "")

    def test_pub_properties(self):
        witness = self.raw(self.topic())
        self.run_it("pub", self.url(), "-q", "1", "-m", "x", "-t", "text/plain", "-P", "a=1",
                    "-P", "b=2=3", "-P", "a=1")
        props = witness.message().props
        self.assertEqual(props["content_type"], "text/plain")
        self.assertEqual(props["user"], [("a", "1"), ("b", "2=3"), ("a", "1")])

    def test_pub_address(self):
        """What follows the slash is the address, percent-decoded, and `#?` mean nothing."""
        for rest, topic in (("/a%20b", "/a b"), ("/a?b", "/a?b"), ("/%C3%BC", "/\u00fc"),
                            ("/a//b/", "/a//b/"), ("/%2525", "/%25")):
            witness = self.raw(self.topic(topic))
            self.run_it("pub", self.url(rest), "-q", "1", "-m", "x")
            self.assertEqual(witness.message().topic, self.topic(topic))

    def test_pub_large(self):
        witness = self.raw(self.topic())
        self.run_it("pub", self.url(), "-q", "1", "-s", stdin=b"x" * 500000)
        self.assertEqual(len(witness.message().payload), 500000)

    def test_sub_count(self):
        process = self.start_it("sub", self.url("/#"), "-n", "3", "-F", "%t %p")
        publisher = self.raw()
        publisher.publish(self.topic("/kept"), "retained", 1, retain=True)
        self.assertTrue(process.out.find("retained") or self.probe(process, self.topic("/kept")))
        for _ in range(5):
            publisher.publish(self.topic("/a"), "more", 1)
        self.assertEqual(process.wait(), 0)
        self.assertEqual(len(process.out.lines), 3)
        publisher.publish(self.topic("/kept"), "", 1, retain=True)

    def sub_each_qos(self, qos):
        process = self.start_it("sub", self.url("/#"), "-q", str(qos))
        publisher = self.probe(process, self.topic("/probe"))
        for number in range(3):
            publisher.publish(self.topic("/a"), "at %d" % number, number)
        for number in range(3):
            self.assertTrue(process.out.find("^at %d$" % number), process.err.text())
        self.assertEqual(process.stop(signal.SIGINT) in (0, 130, -2), True)

    def test_sub_qos0(self):
        self.sub_each_qos(0)

    def test_sub_qos1(self):
        self.sub_each_qos(1)

    def test_sub_qos2(self):
        self.sub_each_qos(2)

    def retained(self, payload, **fields):
        """A retained message, so that `sub -n 1` gets it at once."""
        publisher = self.raw()
        publisher.publish(self.topic(), payload, 1, retain=True, **fields)
        self.addCleanup(lambda: self.raw().publish(self.topic(), "", 1, retain=True))

    def test_sub_text(self):
        self.retained("one line")
        self.assertEqual(self.run_it("sub", self.url(), "-n", "1").out, "one line\n")

    def test_sub_raw(self):
        data = bytes(range(256))
        self.retained(data)
        self.assertEqual(self.run_it("sub", self.url(), "-n", "1", "-o", "raw").raw, data)

    def test_sub_hex(self):
        self.retained(b"\0\x7f\xffabc")
        out = self.run_it("sub", self.url(), "-n", "1", "-o", "hex").out
        self.assertEqual(out.strip().replace(" ", "").lower(), "007fff616263")

    def test_sub_json(self):
        for payload in b"text \xc3\xbc\n\"quoted\"", b'{"a": [1, 2]}', b"\xff\xfe\0":
            self.retained(payload, properties=[("content_type", "a/b"), ("user", ("k", "v"))])
            out = self.run_it("sub", self.url(), "-n", "1", "-o", "json").out
            self.assertEqual(out.count("\n"), 1, out)
            got = json.loads(out)
            self.assertIn(self.topic(), got.values(), got)
            if "body_base64" in got:
                self.assertEqual(base64.b64decode(got["body_base64"]), payload)
            elif "body_json" in got:
                self.assertEqual(got["body_json"], json.loads(payload))
            else:
                self.assertEqual(got["body"].encode(), payload)
            self.assertIn("a/b", got.values(), got)

    def test_sub_format(self):
        self.retained("payload", properties=[("content_type", "a/b")])
        out = self.run_it("sub", self.url(), "-n", "1", "-q", "1", "-F", "<%t|%p|%q|%r|%%>").out
        self.assertEqual(out, "<%s|payload|1|1|%%>\n" % self.topic())

    def test_sub_address_with_wildcards(self):
        self.retained("found")
        for url in (self.url(topic=type(self).__name__ + "/+"), self.url("/#"),
                    self.url("/%23")):
            self.assertIn("found", self.run_it("sub", url, "-n", "1").out)

    def test_sub_several(self):
        process = self.start_it("sub", self.url("/a"), self.url("/b"), "-q", "1")
        publisher = self.probe(process, self.topic("/a"))
        publisher.publish(self.topic("/b"), "second", 1)
        self.assertTrue(process.out.find("^second$"))

    def test_sub_time_out(self):
        """Exit 6 when the time is up before the count."""
        start = time.monotonic()
        self.run_it("sub", self.url(), "-n", "1", "-W", "1", status=TIMEOUT)
        self.assertGreater(time.monotonic() - start, 0.9)
        self.assertLess(time.monotonic() - start, 5 * SLOW)

    def test_sub_persistent(self):
        name = self.topic().replace("/", "-")
        self.run_it("sub", self.url(), "-i", name, "-c", "-q", "1", "-W", "1", status=(0, TIMEOUT))
        self.raw().publish(self.topic(), "while away", 1)
        done = self.run_it("sub", self.url(), "-i", name, "-c", "-q", "1", "-n", "1")
        self.assertEqual(done.out, "while away\n")
        self.raw(client_id=name)

    def test_sub_client_id(self):
        """A second client of that id takes over; the first tells why and does not end with 0."""
        name = self.topic().replace("/", "-")
        process = self.start_it("sub", self.url(), "-i", name)
        self.probe(process, self.topic())
        self.raw(client_id=name)
        self.assertIn(process.wait(), (NETWORK, REFUSED))
        self.assertNotEqual(process.err.text(), "")

    def test_sub_broker_goes_away(self):
        broker = Broker(peer=self.broker.peer).start()
        process = self.start_it("sub", broker.url + "/a")
        here, self.broker = self.broker, broker
        try:
            self.probe(process, "a")
        finally:
            self.broker = here
            broker.process.kill()
        self.assertIn(process.wait(), (NETWORK, REFUSED))

    def test_output_ends_early(self):
        """`trefoil sub | head -1` ends without noise when its reader has gone."""
        process = subprocess.Popen([binary(), "sub", self.url()], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        publisher, end = self.raw(version=4), time.monotonic() + DEADLINE
        os.set_blocking(process.stdout.fileno(), False)
        while not process.stdout.read() and time.monotonic() < end:
            publisher.publish(self.topic(), "probe", 1)
        process.stdout.close()
        while process.poll() is None and time.monotonic() < end:
            publisher.publish(self.topic(), "probe", 1)
        ended = process.poll() is not None
        process.kill()
        error = process.stderr.read().decode()
        process.stderr.close()
        self.assertTrue(ended, "it does not notice that nobody reads")
        self.assertNotIn(process.wait(), (-signal.SIGSEGV, -signal.SIGABRT), error)

    def test_refused(self):
        """No anonymous access: the exit code is 4 (authentication) or 5 (refused)."""
        broker = Broker(["allow_anonymous false"], peer=self.broker.peer).start()
        self.addCleanup(broker.stop)
        for args in (("pub", broker.url + "/a", "-m", "x"), ("sub", broker.url + "/a"),
                     ("get", broker.url + "/a")):
            with self.subTest(args):
                self.assertEqual(self.run_it(*args, status=(AUTH, REFUSED)).out, "")


class AgainstMosquitto(Clients):
    """Trefoil's client and another broker."""

    @classmethod
    def setUpClass(cls):
        cls.broker = Broker(peer="mosquitto").start()

    def test_sub_each_version_of_broker_settings(self):
        """A broker with a small window and small packets is respected."""
        broker = Broker(["max_inflight_messages 1", "max_packet_size 2000"],
                        peer="mosquitto").start()
        self.addCleanup(broker.stop)
        with Raw(broker, 5) as witness:
            witness.connect()
            witness.subscribe("a", qos=2)
            lines = [b"%d" % n for n in range(50)]
            self.run_it("pub", broker.url + "/a", "-q", "2", "-l", stdin=b"\n".join(lines))
            self.assertEqual([witness.message().payload for _ in lines], lines)
            self.run_it("pub", broker.url + "/a", "-q", "1", "-s", stdin=b"x" * 3000,
                        status=(1, USAGE, NETWORK, REFUSED))
            witness.ping()
            self.assertEqual(witness.inbox, [])


class TrefoilOnly(WithBroker):
    def test_sub_refused_filter(self):
        """SUBACK with an error: exit 5."""
        self.run_it("sub", self.url(topic="$share/g/a"), "-n", "1", status=REFUSED)

    def test_connections(self):
        self.raw(client_id="shown-connection")
        self.assertIn("shown-connection", self.run_it("connections", self.broker.url).out)
        out = self.run_it("connections", self.broker.url, "-o", "json").out
        self.assertIn("shown-connection", out)
        self.assertTrue([json.loads(line) for line in out.splitlines()] if out.count("\n") > 1
                        and not out.startswith("[") else json.loads(out))

    def test_sessions_and_queues(self):
        raw = self.raw(client_id="shown-session", clean=False, properties={"session_expiry": 600})
        raw.subscribe("shown/#", qos=1)
        raw.leave()
        publisher = self.raw()
        for _ in range(7):
            publisher.publish("shown/a", "x", 1)
        for command in "sessions", "queues":
            with self.subTest(command):
                out = self.run_it(command, self.broker.url).out
                line = next((l for l in out.splitlines() if "shown-session" in l), "")
                self.assertRegex(line, r"\b7\b")
                out = self.run_it(command, self.broker.url, "-o", "json").out
                self.assertIn("shown-session", out)
                self.assertIn(7, numbers(out))
        self.raw(client_id="shown-session")

    def test_no_colour_into_a_pipe(self):
        for command in "connections", "sessions", "queues":
            self.assertNotIn("\x1b", self.run_it(command, self.broker.url).out)


def numbers(text):
    """Every number in a JSON document, or in one for each line."""
    found = set()
    documents = text.splitlines() if not text.lstrip().startswith("[") else [text]
    try:
        values = [json.loads(text)]
    except ValueError:
        values = [json.loads(document) for document in documents]
    while values:
        value = values.pop()
        if isinstance(value, dict):
            values += value.values()
        elif isinstance(value, list):
            values += value
        else:
            found.add(value)
    return found


class Serve(Cli):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "test.conf")

    def configure(self, *lines):
        with open(self.path, "w", encoding="utf-8") as file:
            file.write("".join(line + "\n" for line in lines))

    def check(self, *lines, status=0):
        self.configure(*lines)
        done = self.run_it("serve", "--check", "-c", self.path, status=status)
        return done.out + done.err

    def test_check_good(self):
        self.check("# a comment", "", "listener 18830 127.0.0.1", "allow_anonymous true",
                   "max_inflight_messages 30")

    def test_check_names_losing_defaults(self):
        """What mosquitto's defaults lose is named."""
        self.assertRegex(self.check("listener 18830 127.0.0.1"), r"max_queued_messages|persistence")

    def test_check_names_what_is_not_done(self):
        """Each key of mosquitto's that Trefoil does not do is answered by name."""
        text = self.check("listener 18830 127.0.0.1", "log_facility 5", status=(0, 1, USAGE))
        self.assertIn("log_facility", text)

    def test_check_unknown_key(self):
        """File, line, column and the nearest key."""
        for word in "serve --check", "serve":
            self.configure("listener 18830 127.0.0.1", "  alow_anonymous true")
            done = self.run_it(*word.split(), "-c", self.path, status=(1, USAGE))
            self.assertRegex(done.err + done.out, re.escape(self.path) + ":2:3")
            self.assertIn("allow_anonymous", done.err + done.out)

    def test_check_bad_values(self):
        for line, column in (("max_inflight_messages many", 23), ("allow_anonymous perhaps", 17),
                             ("listener 99999", 10), ("listener", 9), ("max_qos 3", 9),
                             ("max_packet_size -1", 17)):
            with self.subTest(line):
                text = self.check("# first", line, status=(1, USAGE))
                self.assertRegex(text, re.escape(self.path) + r":2:\d+")
                self.assertIn(line.split()[0], text)
                if line.count(" "):
                    self.assertIn("%s:2:%d" % (self.path, column), text)

    def test_check_hostile_files(self):
        """Cut anywhere, NUL, a line of a mebibyte: a diagnosis, never a crash."""
        for data in (b"listener 18830\0", b"allow_anonymous true\n\0\n", b"a" * (1 << 20),
                     b"max_packet_size " + b"9" * (1 << 20), b"\xff\xfe\n", b"listener 188", b""):
            with open(self.path, "wb") as file:
                file.write(data)
            self.run_it("serve", "--check", "-c", self.path, status=(0, 1, USAGE))

    def test_config_missing(self):
        done = self.run_it("serve", "-c", "/nonexistent/x.conf", status=(1, USAGE))
        self.assertIn("/nonexistent/x.conf", done.err)

    def test_include_dir(self):
        folder = os.path.join(os.path.dirname(self.path), "conf.d")
        os.mkdir(folder)
        with open(os.path.join(folder, "a.conf"), "w", encoding="utf-8") as file:
            file.write("max_inflight_messages many\n")
        text = self.check("include_dir " + folder, status=(1, USAGE))
        self.assertIn(os.path.join(folder, "a.conf") + ":1:23", text)

    def test_serve_says_where_it_stores(self):
        process = self.start_it("serve", "--memory", "--listen", "mqtt://127.0.0.1:0")
        self.assertTrue(process.out.find("^ready$"))
        self.assertTrue(process.err.find("store: memory, lost on exit"))
        self.assertEqual(process.stop(), 0)

    def test_serve_keeps_its_data(self):
        """In --data, by default in the user's state, never in two places at once."""
        folder = os.path.dirname(self.path)
        for args, env, data in (
                (("--data", os.path.join(folder, "own")), {}, "own"),
                ((), {"XDG_STATE_HOME": os.path.join(folder, "not/yet")}, "not/yet/trefoil"),
                ((), {"XDG_STATE_HOME": "", "HOME": folder}, ".local/state/trefoil")):
            with self.subTest(data):
                process = Process([binary(), "serve", "--listen", "mqtt://127.0.0.1:0", *args],
                                  env=dict(os.environ, **env))
                self.addCleanup(process.kill)
                self.assertTrue(process.out.find("^ready$"), process.err.text())
                path = os.path.join(folder, data)
                self.assertTrue(process.err.find(r"store %s: " % re.escape(path)))
                self.assertEqual(os.stat(path).st_mode & 0o777, 0o700)
                second = self.run_it("serve", "--data", path, "--listen", "mqtt://127.0.0.1:0",
                                     status=1)
                self.assertRegex(second.err, r"in use by process \d+")
                self.assertEqual(process.stop(), 0)

    def test_serve_data_that_cannot_be(self):
        self.configure("")
        for path, word in ((self.path, "folder"), ("/proc/trefoil/data", "make the folder")):
            done = self.run_it("serve", "--data", path, "--listen", "mqtt://127.0.0.1:0", status=1)
            self.assertIn(path, done.err)
            self.assertIn(word, done.err)
        done = self.run_it("serve", "--data", "x", "--memory", status=USAGE)
        self.assertIn("exclude", done.err)

    def test_serve_several_listeners(self):
        process = self.start_it("serve", "--memory", "--listen", "mqtt://127.0.0.1:0",
                                "--listen", "mqtt://[::1]:0")
        self.assertTrue(process.out.find("^ready$"))
        self.assertEqual(len(re.findall(r"(?m)^listening mqtt://\S+:\d+$", process.out.text())), 2)
        self.assertEqual(process.out.lines[-1], "ready")
        self.assertEqual(process.stop(), 0)

    def test_serve_port_taken(self):
        broker = Broker(peer="trefoil").start()
        self.addCleanup(broker.stop)
        done = self.run_it("serve", "--memory", "--listen", broker.url, status=(1, NETWORK))
        self.assertIn(str(broker.port), done.err)
        self.assertNotIn("ready", done.out)

    def test_serve_log_format(self):
        process = self.start_it("serve", "--memory", "--listen", "mqtt://127.0.0.1:0")
        self.assertTrue(process.out.find("^ready$"))
        self.assertEqual(process.stop(), 0)
        for line in process.err.lines:
            self.assertRegex(line, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [a-z]+ [a-z]+ ")

    def test_reload(self):
        """SIGHUP: a good file is taken, a bad one changes nothing, connections stay."""
        port = free_port()
        good = ["listener %d 127.0.0.1" % port, "allow_anonymous true", "max_packet_size 1000"]
        self.configure(*good)
        process = self.start_it("serve", "--memory", "-c", self.path)
        self.assertTrue(process.out.find("^ready$"), process.err.text())
        broker = Broker(port=port, peer="trefoil")
        broker.port = port
        kept = Raw(broker, 5)
        self.addCleanup(kept.drop)
        kept.connect()
        self.configure(*good, "unheard_key 1")
        process.child.send_signal(signal.SIGHUP)
        self.assertTrue(process.err.find("unheard_key"), process.err.text())
        kept.ping()
        self.configure(*good, "max_inflight_messages 7")
        seen = len(process.err.lines)
        process.child.send_signal(signal.SIGHUP)
        self.assertTrue(process.err.find("reload", deadline=DEADLINE) or
                        len(process.err.lines) > seen, process.err.text())
        kept.ping()
        kept.send(wire.disconnect())
        self.assertEqual(process.stop(), 0)


class Default(Cli):
    def test_default_url(self):
        """queues, sessions and connections ask mqtt://localhost when no URL is given."""
        broker = Broker(peer="trefoil", file=None, port=None)
        broker.arguments[-1] = "mqtt://127.0.0.1:1883"
        try:
            broker.start()
        except AssertionError:
            self.skipTest("port 1883 is taken")
        self.addCleanup(broker.stop)
        for command in "queues", "sessions", "connections":
            self.run_it(command)


if __name__ == "__main__":
    main()
