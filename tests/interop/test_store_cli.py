"""`trefoil store`: a broker's store, checked, counted, exported, imported, and copied under load.

What is served from a copy or an import must be what clients were told is kept.
"""

import json
import os
import shutil
import subprocess
import tempfile
import threading
import unittest

import paho.mqtt.client as paho

from broker import DEADLINE, PEER, REPORT, Broker, binary, main

USAGE, REFUSED, VERIFY = 2, 5, 7


def setUpModule():
    if PEER != "trefoil":
        raise unittest.SkipTest("only Trefoil has such a store")


class Client:
    """A paho client of a persistent session; messages and acknowledgements are waited for."""

    def __init__(self, broker, client_id, clean=False):
        self.client = paho.Client(client_id, clean_session=clean)
        self.client.max_inflight_messages_set(50)
        self.changed = threading.Condition()
        self.connected, self.subscribed, self.resumed = False, False, False
        self.messages, self.acked, self.sent = [], set(), {}
        self.client.on_connect = self._on_connect
        self.client.on_subscribe = self._on_subscribe
        self.client.on_message = self._on_message
        self.client.on_publish = self._on_publish
        self.client.connect(broker.host, broker.port)
        self.client.loop_start()
        self.wait(lambda: self.connected, "CONNACK")

    def _set(self, change):
        with self.changed:
            change()
            self.changed.notify_all()

    def _on_connect(self, _client, _data, flags, _code):
        def change():
            self.connected, self.resumed = True, bool(flags["session present"])
        self._set(change)

    def _on_subscribe(self, *_):
        def change():
            self.subscribed = True
        self._set(change)

    def _on_message(self, _client, _data, message):
        self._set(lambda: self.messages.append((message.topic, message.payload, message.retain)))

    def _on_publish(self, _client, _data, mid):
        self._set(lambda: self.acked.add(mid))

    def wait(self, what, name):
        with self.changed:
            if not self.changed.wait_for(what, DEADLINE):
                raise AssertionError("no %s" % name)

    def subscribe(self, topic, qos=1):
        self.client.subscribe(topic, qos)
        self.wait(lambda: self.subscribed, "SUBACK")

    def publish(self, topic, payload, qos=1, retain=False):
        info = self.client.publish(topic, payload, qos, retain)
        with self.changed:
            self.sent[info.mid] = payload
        return info

    def acknowledged(self):
        with self.changed:
            return [self.sent[mid] for mid in self.acked if mid in self.sent]

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


class StoreCase(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="trefoil-store-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def broker(self, name, config=None):
        """A broker on a folder that outlives it."""
        broker = Broker(config)
        broker.data = self.path(name)
        at = broker.arguments.index("--data")
        broker.arguments[at + 1] = broker.data
        broker.start()
        self.addCleanup(broker.kill)
        return broker

    def client(self, broker, client_id, clean=False):
        client = Client(broker, client_id, clean)
        self.addCleanup(client.client.loop_stop)
        return client

    def store(self, verb, name, *more, status=0, stdin=None):
        done = subprocess.run([binary(), "store", verb, *more, "--data", self.path(name)],
                              input=stdin, capture_output=True, timeout=3 * DEADLINE, check=False)
        err = done.stderr.decode()
        self.assertIsNone(REPORT.search(err), err)
        self.assertEqual(done.returncode, status, (verb, done.stdout[-2000:], err))
        return done.stdout, err

    def fill(self, name):
        """A store with a session that has messages waiting, retained ones, and a named queue."""
        broker = self.broker(name)
        keeper = self.client(broker, "keep")
        keeper.subscribe("load/#")
        keeper.close()
        publisher = self.client(broker, "publisher", True)
        publisher.publish("value/text", "gr\u00fcn", retain=True)
        publisher.publish("value/bytes", bytes(range(256)) * 40, retain=True)
        publisher.wait(lambda: len(publisher.acked) == 2, "PUBACK of the values")
        for i in range(50):
            publisher.publish("load/%d" % (i % 3), b"%d" % i)
        publisher.wait(lambda: len(publisher.acked) == 52, "PUBACK of all")
        publisher.close()
        return broker

    def check_served(self, name):
        """What `fill` has left is delivered from that folder."""
        broker = self.broker(name)
        reader = self.client(broker, "reader", True)
        reader.subscribe("value/#")
        reader.wait(lambda: len(reader.messages) == 2, "two retained messages")
        self.assertEqual(sorted(reader.messages),
                         [("value/bytes", bytes(range(256)) * 40, True),
                          ("value/text", "gr\u00fcn".encode(), True)])
        reader.close()
        keeper = self.client(broker, "keep")
        self.assertTrue(keeper.resumed)
        keeper.wait(lambda: len(keeper.messages) >= 50, "50 messages")
        self.assertEqual([int(m[1]) for m in keeper.messages], list(range(50)))
        keeper.close()
        broker.stop()


class Offline(StoreCase):
    def test_check_and_stats(self):
        broker = self.fill("data")
        _, err = self.store("check", "data", status=REFUSED)
        self.assertIn("process %d" % broker.process.child.pid, err)
        self.store("stats", "data", status=REFUSED)
        broker.kill()
        told = json.loads(self.store("check", "data", "-o", "json")[0])
        self.assertFalse(told["damaged"])
        self.assertEqual(told["entries"], 50)
        stats = json.loads(self.store("stats", "data", "-o", "json")[0])
        self.assertEqual(stats["kinds"]["session"], 1)
        self.assertEqual(stats["kinds"]["value"], 2)
        self.assertEqual([q["entries"] for q in stats["queues"] if q["name"] == "keep"], [50])
        self.check_served("data")

    def test_export_and_import(self):
        broker = self.fill("data")
        broker.stop()
        out, _ = self.store("export", "data")
        lines = [json.loads(line) for line in out.decode().splitlines()]
        self.assertEqual([line["body"] for line in lines if line["type"] == "message"
                          and line["address"].startswith("load/")], [str(i) for i in range(50)])
        self.assertEqual({line["address"] for line in lines if line["type"] == "value"},
                         {"value/text", "value/bytes"})
        self.store("import", "new", stdin=out)
        self.assertEqual(self.store("export", "new")[0], out)
        self.store("import", "new", stdin=out, status=REFUSED)
        self.store("import", "bad", stdin=out[:-40], status=USAGE)
        self.assertFalse(os.path.exists(self.path("bad")))
        self.check_served("new")

    def test_damage(self):
        broker = self.fill("data")
        broker.kill()
        path = os.path.join(self.path("data"), "0000000001.log")
        with open(path, "r+b") as file:
            content = file.read()
            at = content.index(bytes(range(256)) * 40)
            file.seek(at + 5000)
            file.write(b"?!")
        names = sorted(os.listdir(self.path("data")))
        told = json.loads(self.store("check", "data", "-o", "json", status=VERIFY)[0])
        self.assertTrue(told["damaged"] and told["findings"])
        self.assertEqual(names, sorted(os.listdir(self.path("data"))))


class Backup(StoreCase):
    def test_a_stopped_one(self):
        self.fill("data").stop()
        out, _ = self.store("backup", "data", self.path("copy"))
        self.assertIn(b"50 entries", out)
        self.store("backup", "data", self.path("copy"), status=REFUSED)
        self.store("check", "copy")
        self.check_served("copy")

    def test_under_load(self):
        """All that was acknowledged before the backup began is in it, in order, once; while small
        segments come and go because of what another session takes."""
        broker = self.broker("data", ["store_segment_size 1048576"])
        keeper = self.client(broker, "keep")
        keeper.subscribe("load/#")
        keeper.close()
        eater = self.client(broker, "eat")
        eater.subscribe("churn/#")
        publisher = self.client(broker, "publisher", True)
        stop = threading.Event()

        def load():
            number = 0
            while not stop.is_set() and number < 800:
                publisher.publish("churn/x", b"-" * 30000)
                publisher.publish("load/x", b"%d %s" % (number, b"." * 2000)).wait_for_publish()
                number += 1

        thread = threading.Thread(target=load)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(stop.set)
        before = []
        for i in range(3):
            publisher.wait(lambda: len(publisher.acked) > 160 * (i + 1), "PUBACKs")
            before.append(publisher.acknowledged())
            self.store("backup", "data", self.path("copy%d" % i))
        stop.set()
        thread.join()
        publisher.close()
        eater.close()
        broker.kill()
        self.store("check", "data")
        self.assertNotIn("0000000001.log", os.listdir(self.path("data")), "no segment went")
        for i in range(3):
            self.store("check", "copy%d" % i)
            copy = self.broker("copy%d" % i)
            keeper = self.client(copy, "keep")
            wanted = {int(payload.split()[0]) for payload in before[i] if payload[0] != 45}
            self.assertTrue(keeper.resumed)
            keeper.wait(lambda: wanted <= {int(m[1].split()[0]) for m in keeper.messages},
                        "all that was acknowledged")
            numbers = [int(m[1].split()[0]) for m in keeper.messages]
            self.assertEqual(numbers, list(range(len(numbers))))
            keeper.close()
            copy.stop()


if __name__ == "__main__":
    main()
