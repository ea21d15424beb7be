#!/usr/bin/env python3
"""The CoAP servers on a board, with libcoap's client: GET, PUT, Observe, blocks both ways, strangers."""

import os
import socket
import subprocess
import tempfile
import unittest

from boards import Board, DEADLINE
from broker import Process

CLIENT = "coap-client-notls"


def client(*args, data=None):
    """Runs libcoap's client to its end; its output and what it said of errors."""
    done = subprocess.run(["stdbuf", "-oL", CLIENT, "-B", str(DEADLINE), *args], input=data,
                          capture_output=True, timeout=2 * DEADLINE, check=False)
    return done.stdout, done.stderr.decode("utf-8", "replace")


class Minimal(unittest.TestCase):
    PROGRAM = "coap_minimal"

    @classmethod
    def setUpClass(cls):
        cls.board = Board("udp", cls.PROGRAM)

    @classmethod
    def tearDownClass(cls):
        cls.board.stop()

    def get(self, path, *args):
        return client(*args, "-m", "get", self.board.url(path))

    def test_get_and_put(self):
        for text in ("on", "off", "blinking", ""):
            out, err = client("-m", "put", "-e", text, self.board.url("led"))
            self.assertEqual((out, err), (b"", ""))
            self.assertEqual(self.get("led")[0].strip(), text.encode())

    def test_non(self):
        client("-N", "-m", "put", "-e", "non", self.board.url("led"))
        self.assertEqual(self.get("led", "-N")[0].strip(), b"non")

    def test_refusals(self):
        self.assertIn("4.04", self.get("nothing")[1])
        self.assertIn("4.04", self.get("led/more")[1])
        self.assertIn("4.05", client("-m", "delete", self.board.url("led"))[1])
        self.assertIn("4.13", client("-m", "put", "-e", "x" * 33, self.board.url("led"))[1])
        self.assertIn("4.02", self.get("led", "-O", "65001,x")[1])

    def exchange(self, *datagrams):
        """Sends datagrams from one socket, the last one a ping: what comes until its reset."""
        answers = []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
            line.settimeout(DEADLINE)
            line.connect(("127.0.0.1", self.board.port))
            for datagram in datagrams:
                line.send(datagram)
            line.send(bytes.fromhex("40007fff"))
            while not answers or answers[-1] != bytes.fromhex("70007fff"):
                answers.append(line.recv(2048))
        return answers[:-1]

    def test_piggybacked(self):
        answers = self.exchange(bytes.fromhex("41010001aa") + b"\xb3led")
        self.assertEqual([answer[:5] for answer in answers], [bytes.fromhex("61450001aa")])

    def test_garbage(self):
        answers = self.exchange(b"\xc0", b"\xdb" * 9, b"\xff" * 40, bytes(3), bytes.fromhex("4f010002"),
                                bytes.fromhex("40010003f1"), bytes.fromhex("40010004ff"))
        resets = [bytes.fromhex("7000%04x" % number) for number in (2, 3, 4)]
        self.assertEqual(answers, resets)

    def test_many_peers(self):
        for number in range(20):
            answers = self.exchange(bytes.fromhex("4101%04xbb" % number) + b"\xb3led")
            self.assertEqual(answers[0][:5], bytes.fromhex("6145%04xbb" % number))


class Observe(Minimal):
    PROGRAM = "coap_observe"

    def watch(self):
        return Process(["stdbuf", "-oL", CLIENT, "-w", "-s", str(DEADLINE), "-B", str(DEADLINE),
                        self.board.url("count")])

    def test_observe(self):
        watcher = self.watch()
        self.assertTrue(watcher.out.find(r"^\d+$", 5, DEADLINE))
        watcher.kill()
        numbers = [int(line) for line in watcher.out.text().split()]
        self.assertEqual(numbers, sorted(set(numbers)))
        self.assertGreaterEqual(int(self.get("count")[0]), numbers[-1])

    def test_gone(self):
        said = len([line for line in self.board.process.out.lines if line == "board: observer gone"])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
            line.settimeout(DEADLINE)
            line.connect(("127.0.0.1", self.board.port))
            line.send(bytes.fromhex("41010005cc60") + b"\x55count")
            self.assertEqual(line.recv(2048)[:5], bytes.fromhex("61450005cc"))
            told = line.recv(2048)
            self.assertEqual((told[0] & 0xCF, told[1], told[4]), (0x41, 0x45, 0xCC))
            line.send(b"\x70\x00" + told[2:4])
            self.board.expect("^board: observer gone$", said + 1)


class Full(Observe):
    PROGRAM = "coap_full"

    LARGE = bytes(ord("a") + i % 26 for i in range(1500))

    def test_large(self):
        for size in ("16", "32", "64", "1024"):
            self.assertEqual(self.get("large", "-b", size)[0].strip(), self.LARGE)
        self.assertEqual(self.get("large")[0].strip(), self.LARGE)

    def test_store(self):
        with tempfile.TemporaryDirectory() as folder:
            name = os.path.join(folder, "body")
            for length, size in ((10, "16"), (700, "64"), (700, "16"), (333, "1024"), (64, "64")):
                body = bytes(ord("A") + (i * 7 + length) % 26 for i in range(length))
                with open(name, "wb") as file:
                    file.write(body)
                self.assertEqual(client("-m", "put", "-b", size, "-f", name, self.board.url("store")), (b"", ""))
                self.assertEqual(self.get("store")[0].strip(), body)
            with open(name, "wb") as file:
                file.write(b"y" * 701)
            self.assertIn("4.13", client("-m", "put", "-b", "64", "-f", name, self.board.url("store"))[1])


class All(Full):
    PROGRAM = "coap_all"


class Client(unittest.TestCase):
    """A board as a client of libcoap's server."""

    def test_calls(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = Process(["coap-server-notls", "-A", "127.0.0.1", "-p", str(port), "-d", "10", "-v", "7"])
        try:
            # Its first words come when it is bound; until a request is answered the board repeats it.
            board = Board("udp", "coap_client", port)
            board.expect("^board: 2.01 $")
            board.expect("^board: 2.05 from a board$")
            board.expect(r"^board: 2.05 \w{3} \d\d ", 3)
            board.expect("^board: done$")
            board.stop()
        finally:
            server.kill()


if __name__ == "__main__":
    unittest.main()
