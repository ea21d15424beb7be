"""Wireshark's dissector as an independent reader of what the broker sends.

The conversation of tests/vectors/mqtt-conversation.txt is played once while dumpcap listens; then each
packet of the capture is compared with the fields that the file says. A packet id that the broker
chooses is the only thing taken from what was received.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import unittest
import xml.etree.ElementTree

import vectors
from broker import DEADLINE, PEER, Broker, main
from raw import Raw

END = b"the end of the capture"
MOSQUITTO = {"mqtt.pubcomp.reason_code=146", "mqtt.pubrel.reason_code=146",
             "mqtt.suback.reason_code=158", "mqtt.disconnect.reason_code=130",
             "mqtt.disconnect.reason_code=142"}


class Step:
    """One packet of the conversation and what must be seen of it."""

    def __init__(self, line, text):
        self.line, self.wanted = line, []
        self.name, version, self.what, *rest = text.split(None, 3)
        self.version, self.text = int(version), rest[0] if rest else ""

    def __str__(self):
        return "line %d: %s %s %s" % (self.line, self.name, self.what, self.text)


def conversation():
    steps = []
    for number, line in vectors.lines("mqtt-conversation.txt"):
        if line[0] in "=+":
            steps[-1].wanted.append(shlex.split(line[1:]))
        else:
            steps.append(Step(number, line))
    return steps


class Capture:
    """dumpcap on the loopback interface, for one port."""

    def __init__(self, port, path):
        self.seen, self.changed, self.path = b"", threading.Condition(), path
        self.child = subprocess.Popen(
            ["dumpcap", "-q", "-i", "lo", "-f", "tcp port %d" % port, "-w", "-"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.ready, self.complaint = threading.Event(), []
        threading.Thread(target=self._errors, daemon=True).start()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _errors(self):
        for line in self.child.stderr:
            self.complaint.append(line.decode())
            if line.startswith(b"File:"):
                self.ready.set()
        self.child.stderr.close()
        self.ready.set()

    def _read(self):
        with open(self.path, "wb") as file:
            while True:
                data = self.child.stdout.read1(65536)
                if not data:
                    break
                file.write(data)
                with self.changed:
                    self.seen += data
                    self.changed.notify_all()
        self.child.stdout.close()

    def until(self, mark):
        with self.changed:
            return self.changed.wait_for(lambda: mark in self.seen, DEADLINE)

    def stop(self):
        self.child.send_signal(signal.SIGINT)
        self.child.wait(DEADLINE)
        self.reader.join(DEADLINE)


def play(broker, steps):
    """The conversation; returns the client port of each name."""
    clients, last, ports = {}, {}, {}
    try:
        for step in steps:
            raw = clients.get(step.name)
            if raw is None:
                raw = clients[step.name] = Raw(broker, step.version)
                ports[step.name] = raw.socket.getsockname()[1]
            if step.what == ">":
                text = step.text.replace("$id", "%04x" % last.get(step.name, 0))
                raw.send(vectors.octets(text))
            elif step.what == "<":
                packet = raw.packet()
                last[step.name] = packet.packet_id or last.get(step.name, 0)
            else:
                raw.closed()
        with Raw(broker) as end:
            end.connect()
            end.publish("end", END, 0)
            end.ping()
    except AssertionError as error:
        raise AssertionError("%s: %s" % (step, error)) from error
    finally:
        for raw in clients.values():
            raw.drop()
    return ports


def dissect(path, port):
    """{(client port, direction): [fields of each MQTT packet]}, and what is malformed."""
    text = subprocess.run(["tshark", "-r", path, "-d", "tcp.port==%d,mqtt" % port, "-T", "pdml"],
                          capture_output=True, timeout=3 * DEADLINE, check=True).stdout
    packets, bad = {}, []
    for frame in xml.etree.ElementTree.fromstring(text).iter("packet"):
        ports = {f.get("name"): int(f.get("show")) for f in frame.iter("field")
                 if f.get("name") in ("tcp.srcport", "tcp.dstport")}
        for proto in frame.iter("proto"):
            if proto.get("name") == "_ws.malformed":
                bad.append(ports)
            if proto.get("name") != "mqtt":
                continue
            fields = [(f.get("name"), f.get("show")) for f in proto.iter("field")]
            bad += [f for f in fields if f[0] in ("_ws.malformed", "mqtt.prop_unknown",
                                                  "mqtt.unknown_version")]
            out = ports["tcp.dstport"] == port
            key = (ports["tcp.srcport" if out else "tcp.dstport"], ">" if out else "<")
            packets.setdefault(key, []).append(fields)
    return packets, bad


def lacking(fields, wanted):
    """The first wanted NAME=VALUE that does not follow the ones before it."""
    at = 0
    for item in wanted:
        name, _, value = item.partition("=")
        values = value.split(",")
        while at < len(fields) and not (fields[at][0] == name and same(fields[at][1], values)):
            at += 1
        if at == len(fields):
            return item
        at += 1
    return None


def same(shown, values):
    """Compares numbers as numbers, all else as text."""
    for value in values:
        if shown == value:
            return True
        if re.fullmatch(r"0x[0-9a-f]+|\d+", shown) and re.fullmatch(r"0x[0-9a-f]+|\d+", value):
            if int(shown, 0) == int(value, 0):
                return True
    return False


@unittest.skipUnless(shutil.which("dumpcap") and shutil.which("tshark"), "tshark is not installed")
class Tshark(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="trefoil-tshark-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def test_fields_of_every_packet(self):
        steps = conversation()
        if PEER == "mosquitto":
            steps = [s for s in steps if not any(MOSQUITTO & set(w) for w in s.wanted)
                     and not (s.what == "end" and s.name in ("sub5", "auth5b", "over5"))
                     and s.text not in ('62 02 1234', '50 02 1235') and "$share" not in s.text]
        broker = Broker().start()
        self.addCleanup(lambda: broker.process.child.poll() is None and broker.stop())
        path = os.path.join(self.folder, "mqtt.pcapng")
        capture = Capture(broker.port, path)
        self.addCleanup(lambda: capture.child.poll() is None and capture.child.kill())
        capture.ready.wait(DEADLINE)
        if capture.child.poll() is not None:
            self.skipTest("no capture is possible: %s" % "".join(capture.complaint))
        ports = play(broker, steps)
        self.assertTrue(capture.until(END), "the capture does not end")
        capture.stop()
        broker.stop()
        packets, bad = dissect(path, broker.port)
        self.assertEqual(bad, [])
        kinds = set()
        for step in steps:
            if step.what == "end":
                continue
            with self.subTest(str(step)):
                queue = packets.get((ports[step.name], step.what), [])
                self.assertTrue(queue, "not captured")
                fields = queue.pop(0)
                kinds.update(f for f in fields if f[0] == "mqtt.msgtype")
                for wanted in step.wanted:
                    self.assertIsNone(lacking(fields, wanted), show(fields))
        self.assertEqual(len(kinds), 15)
        left = {key: value for key, value in packets.items() if value and key[0] in ports.values()}
        self.assertEqual(left, {}, "packets that the conversation does not have")


def show(fields):
    return " ".join("%s=%s" % field for field in fields if field[0])


if __name__ == "__main__":
    main()
