"""The CoAP examples: labs C15 (a client on a modem, with callbacks and a poll loop) and C16 (one
callback for each path, replies made by hand), the observing client, and the demo server's group.

TREFOIL_EXAMPLES  the folder of the examples; by default that of the broker's binary
"""

import os
import signal
import socket
import unittest

from broker import REPORT, SHARDS, Process, binary, main
from coap import ACK, CON, CONTENT, GET, NON, URI_PATH, Client, Message, decode
from coap_clients import Libcoap, Node


def example(name):
    folder = os.environ.get("TREFOIL_EXAMPLES") or os.path.dirname(binary())
    return os.path.join(folder, "example-coap_" + name)


class Examples(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if SHARDS != "1":
            raise unittest.SkipTest("examples have no shards: once is enough")

    def serve(self, name, *arguments):
        """Starts a server; its port."""
        process = Process([example(name), "0", *arguments])
        self.addCleanup(self.finish, process)
        found = process.out.find(r"^listening coap://127\.0\.0\.1:(\d+)")
        self.assertTrue(found, process.err.text())
        return int(found.group(1))

    def finish(self, process):
        process.stop(signal.SIGTERM)
        self.assertFalse(REPORT.search(process.err.text()), process.err.text())

    def run_to_end(self, name, *arguments):
        """Runs a client to its end; status, standard output, standard error."""
        process = Process([example(name), *map(str, arguments)])
        self.addCleanup(process.kill)
        status = process.wait()
        self.assertFalse(REPORT.search(process.err.text()), process.err.text())
        return status, process.out.text(), process.err.text()


class Modem(Examples):
    """Lab C15."""

    def test_get_put_post(self):
        port = self.serve("demo_server", "200")
        status, out, err = self.run_to_end(
            "modem_client", "127.0.0.1", port, "get", "temp", "put", "alarm", "ON", "get", "alarm",
            "post", "test", "anything")
        self.assertEqual((status, out.split("\n")[:4], err.strip()),
                         (0, ["2.05 21.5", "2.04 ", "2.05 ON", "2.01 "], ""))

    def test_bodies_longer_than_its_datagrams(self):
        port = self.serve("demo_server", "200")
        text = "".join(chr(97 + i % 26) for i in range(1500))
        status, out, _ = self.run_to_end("modem_client", "127.0.0.1", port, "put", "large-update",
                                         text, "get", "large-update")
        self.assertEqual((status, out.strip().split("\n")[-1]), (0, "2.05 " + text))

    def test_debug_output(self):
        port = self.serve("demo_server", "200")
        status, out, err = self.run_to_end("modem_client", "-d", "127.0.0.1", port, "get", "temp")
        sent, got = err.strip().split("\n")
        request = decode(bytes.fromhex(sent[2:].replace(" ", "")))
        answer = decode(bytes.fromhex(got[2:].replace(" ", "")))
        self.assertEqual((status, out.strip(), sent[0], got[0]), (0, "2.05 21.5", ">", "<"))
        self.assertEqual((request.code, answer.type, answer.mid), (GET, ACK, request.mid))

    def test_refused(self):
        port = self.serve("demo_server", "200")
        self.assertEqual(self.run_to_end("modem_client", "127.0.0.1", port, "get", "nothing")[:2],
                         (5, "4.04 "))
        self.assertEqual(self.run_to_end("modem_client", "127.0.0.1", port, "eat", "nothing")[0], 2)


class Minimal(Examples):
    """Lab C16."""

    def setUp(self):
        self.port = self.serve("minimal_server")

    def finish(self, process):
        process.kill()

    def test_real_clients(self):
        for real in Libcoap, Node:
            self.assertEqual(real.request(self.port, "GET", "hello").text, "hello, world")
            self.assertEqual(real.request(self.port, "PUT", "led", "ON").code, "2.04")
            self.assertEqual(real.request(self.port, "GET", "led").text, "ON")
            self.assertEqual(real.request(self.port, "PUT", "led", "OFF").code, "2.04")
            self.assertEqual(real.request(self.port, "GET", "led", kind="NON").text, "OFF")
            self.assertEqual(real.request(self.port, "POST", "hello", "x").code, "4.05")
            self.assertEqual(real.request(self.port, "GET", "nothing").code, "4.04")
            self.assertEqual(real.request(self.port, "GET", "hello/there").code, "4.04")

    def test_by_hand(self):
        client = Client(self.port)
        self.addCleanup(client.close)
        request = client.message(GET, "hello", kind=CON, token=b"12345678")
        client.send(request)
        answer = client.expect(ACK, CONTENT, token=b"12345678")
        self.assertEqual(answer.mid, request.mid)
        request = client.message(GET, "hello", kind=NON, token=b"")
        client.send(request)
        client.expect(NON, CONTENT, token=b"")
        for bad, answer in (("40000007", "70000007"),      # a ping
                            ("4f010008", "70000008"),      # a broken one
                            ("4e010009ff", "70000009"),
                            ("4001000a61", "7000000a")):
            client.send(bytes.fromhex(bad))
            self.assertEqual(client.datagram().hex(), answer)
        for silent in "00", "8001000b", "5f01000c", "6045000d", "7000000e":
            client.send(bytes.fromhex(silent))
        client.silent("hello")


class Observer(Examples):
    def test_time_goes_on(self):
        port = self.serve("demo_server", "200")
        status, out, err = self.run_to_end("observe_client", "coap://127.0.0.1:%d/time" % port, 3)
        values = [int(line.split(": ")[1]) for line in out.strip().split("\n")]
        self.assertEqual((status, len(values), err.strip()), (0, 3, ""))
        self.assertEqual(values, list(range(values[0], values[0] + 3)))

    def test_large_ones_are_whole(self):
        port = self.serve("demo_server", "200")
        status, out, _ = self.run_to_end("observe_client",
                                         "coap://127.0.0.1:%d/obs-large" % port, 2)
        for line in out.strip().split("\n"):
            text = line.split(": ")[1]
            self.assertEqual((status, len(text), len({text[i:i + 8] for i in range(0, 1696, 8)})),
                             (0, 1700, 1))

    def test_refused(self):
        port = self.serve("demo_server", "200")
        status, out, err = self.run_to_end("observe_client", "coap://127.0.0.1:%d/none" % port)
        self.assertEqual((status, out.strip(), err.strip()), (5, "", "4.04"))
        self.assertEqual(self.run_to_end("observe_client", "http://127.0.0.1/")[0], 2)


class Group(Examples):
    """The demo server as a member of 224.0.1.187 (RFC 7252 8)."""

    def test_only_those_that_have_something_to_say(self):
        port = self.serve("demo_server", "200", "--group", "--leisure", "100")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF,
                              socket.inet_aton("127.0.0.1"))
            client.bind(("127.0.0.1", 0))
            client.settimeout(20)
            try:
                client.sendto(Message(NON, GET, 1, b"A", [(URI_PATH, b"nothing")]).encode(),
                              ("224.0.1.187", port))
            except OSError as error:
                self.skipTest("no multicast here: %s" % error)
            client.sendto(Message(NON, GET, 2, b"B", [(URI_PATH, b"temp")]).encode(),
                          ("224.0.1.187", port))
            data, source = client.recvfrom(2048)
        answer = decode(data)
        self.assertEqual((answer.type, answer.code, answer.token, answer.payload, source[1]),
                         (NON, CONTENT, b"B", b"21.5", port))


if __name__ == "__main__":
    main()
