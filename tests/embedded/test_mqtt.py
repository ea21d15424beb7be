#!/usr/bin/env python3
"""The MQTT publisher on a board: its messages arrive, it stays alive through silence, and leaves as it should."""

import os
import unittest

from boards import Board, DEADLINE
from broker import Broker, Process


class Publisher:
    """The same against each broker."""

    PEER = None

    def setUp(self):
        self.broker = Broker(peer=self.PEER).start()

    def tearDown(self):
        self.broker.stop()

    def subscribe(self, count):
        watcher = Process(["stdbuf", "-oL", "mosquitto_sub", "-h", "127.0.0.1", "-p", str(self.broker.port), "-t", "board/#",
                           "-v", "-d", "-C", str(count), "-W", str(DEADLINE)])
        self.assertTrue(watcher.out.find("^Subscribed "))
        return watcher

    def test_publishes(self):
        watcher = self.subscribe(4)
        board = Board("tcp", "mqtt_publisher", "127.0.0.1", self.broker.port)
        board.expect("^board: done$")
        self.assertEqual(watcher.wait(), 0, watcher.err.text())
        lines = [line for line in watcher.out.text().splitlines() if line.startswith("board/count ")]
        self.assertEqual(lines, ["board/count 0", "board/count 1", "board/count 2", "board/count over"])
        self.check_log()
        board.stop()

    def check_log(self):
        """What the broker knows of it."""

    def test_echoes(self):
        watcher = self.subscribe(8)
        board = Board("tcp", "mqtt_all", "127.0.0.1", self.broker.port)
        board.expect("^board: subscribed$")
        texts = ["0 x", "1 y", "2 z", "2 over"]
        for text in texts:
            qos, body = text.split()
            sent = Process(["mosquitto_pub", "-h", "127.0.0.1", "-p", str(self.broker.port), "-V", "5",
                            "-t", "board/in", "-q", qos, "-m", body])
            self.assertEqual(sent.wait(), 0, sent.err.text())
        board.expect("^board: done$")
        self.assertEqual(watcher.wait(), 0, watcher.err.text())
        lines = [line.split()[1] for line in watcher.out.text().splitlines() if line.startswith("board/out ")]
        self.assertEqual(lines, [text.split()[1] for text in texts])
        board.stop()


class OnMosquitto(Publisher, unittest.TestCase):
    PEER = "mosquitto"

    def check_log(self):
        self.assertTrue(self.broker.process.err.find("Received PINGREQ from board"))
        self.assertTrue(self.broker.process.err.find("Received DISCONNECT from board"))

    def test_broker_goes(self):
        board = Board("tcp", "mqtt_publisher", "127.0.0.1", self.broker.port)
        self.assertTrue(self.broker.process.err.find(r"New client connected from .* as board"))
        self.broker.process.stop()
        board.expect("^board: lost$")
        board.stop()


@unittest.skipUnless(os.environ.get("TREFOIL"), "TREFOIL names no binary")
class OnTrefoil(Publisher, unittest.TestCase):
    PEER = "trefoil"


if __name__ == "__main__":
    unittest.main()
