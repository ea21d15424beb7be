#!/usr/bin/python3
"""Differential test: the packets of mqtt-tshark.txt, coap-tshark.txt and amqp-tshark.txt as Wireshark's dissectors
see them.

All packets of a protocol go into one capture, which tshark reads once; those of MQTT each in a TCP stream of its
own behind a CONNECT of its version (the dissector learns the version there), those of CoAP each in a datagram
between ports of its own, so that none is taken for an answer to another; those of AMQP each in a TCP stream of its
own behind a protocol header. The fields expected stand in the vector
file, written from the standard: nothing here comes from Trefoil's own decoder, which the unit test holds to the
same bytes.
"""

import os
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
BROKER_PORT = 1883
COAP_PORT = 5683
AMQP_PORT = 5672
PCAP_HEADER = bytes.fromhex("a1b2c3d4 0002 0004 00000000 00000000 00040000 00000001")
CONNECTS = {
    3: "10 0f 00 06 4d 51 49 73 64 70 03 02 00 3c 00 01 61",
    4: "10 0d 00 04 4d 51 54 54 04 02 00 3c 00 01 61",
    5: "10 0e 00 04 4d 51 54 54 05 02 00 3c 00 00 01 61",
}


def packet_bytes(text):
    """The bytes of `61 62*3`."""
    parts = [part.split("*") for part in text.split()]
    return b"".join(bytes.fromhex(part[0]) * int((part + [1])[1]) for part in parts)


def vectors_read(path):
    """Yields (name, version, sender, bytes, {field: [value...]}) of each vector with tshark lines."""
    with open(path, encoding="utf-8") as file:
        blocks = file.read().split("\n\n")
    for block in blocks:
        lines = block.splitlines()
        if not lines or not lines[0].startswith("vector "):
            continue
        _, name, version, sender = lines[0].split()
        data, fields = b"", {}
        for line in lines[1:]:
            key, _, rest = line.partition(" ")
            if key == "bytes":
                data = packet_bytes(rest)
            elif key == "tshark":
                field, _, value = rest.partition("=")
                fields[field] = value.split(" ")
        yield name, int(version), sender, data, fields


def frame(port, from_client, sequence, acknowledged, data, broker_port=BROKER_PORT):
    """An Ethernet frame with a TCP segment between a client's port and the broker's."""
    ports = (port, broker_port) if from_client else (broker_port, port)
    tcp = b"".join((
        ports[0].to_bytes(2, "big"), ports[1].to_bytes(2, "big"), sequence.to_bytes(4, "big"),
        acknowledged.to_bytes(4, "big"), bytes([0x50, 0x18, 0xFF, 0xFF, 0, 0, 0, 0])))
    addresses = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
    if not from_client:
        addresses = addresses[::-1]
    ip = (bytes([0x45, 0]) + (20 + len(tcp) + len(data)).to_bytes(2, "big") +
          bytes([0, 0, 0x40, 0, 64, 6, 0, 0]) + addresses[0] + addresses[1])
    return bytes(12) + bytes([8, 0]) + ip + tcp + data


def coap_vectors_read(path):
    """Yields (name, bytes, {field: [value...]}, numbers it must complain of) of each vector."""
    with open(path, encoding="utf-8") as file:
        blocks = file.read().split("\n\n")
    for block in blocks:
        lines = block.splitlines()
        if not lines or not lines[0].startswith("vector "):
            continue
        data, fields, unknown = b"", {}, []
        for line in lines[1:]:
            key, _, rest = line.partition(" ")
            if key == "bytes":
                data = packet_bytes(rest)
            elif key == "tshark":
                field, _, value = rest.partition("=")
                fields[field] = value.split(" | ")
            elif key == "tshark-unknown":
                unknown = [int(number) for number in rest.split()]
        yield lines[0].split()[1], data, fields, unknown


def datagram_frame(port, data):
    """An Ethernet frame with a UDP datagram to CoAP's port."""
    udp = port.to_bytes(2, "big") + COAP_PORT.to_bytes(2, "big") + (8 + len(data)).to_bytes(2, "big") + bytes(2)
    ip = (bytes([0x45, 0]) + (28 + len(data)).to_bytes(2, "big") +
          bytes([0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]))
    return bytes(12) + bytes([8, 0]) + ip + udp + data


def coap_capture_write(path, datagrams):
    """Writes a pcap file of one frame for each datagram."""
    with open(path, "wb") as file:
        file.write(PCAP_HEADER)
        for index, data in enumerate(datagrams):
            content = datagram_frame(20000 + index, data)
            file.write(index.to_bytes(4, "big") + bytes(4) + len(content).to_bytes(4, "big") * 2 + content)


def coap_dissect(path):
    """One tshark call: for each frame the list of (field, value) of its CoAP part, and what it complains of."""
    for malformed, fields in pdml_read(path, "udp.port==%d,coap" % COAP_PORT, "coap"):
        complaints = [show for name, show in fields if name == "_ws.expert.message"]
        # What it complains of it calls malformed as well.
        yield fields, complaints or ["malformed"] * malformed


def amqp_vectors_read(path):
    """Yields (text, bytes, {field: [value...]}) of each frame with tshark lines."""
    text, data, fields = "", b"", {}
    with open(path, encoding="utf-8") as file:
        lines = [line.rstrip("\n") for line in file if not line.startswith("#")]
    for line in lines + [""]:
        if line.startswith("tshark "):
            field, _, value = line[len("tshark "):].partition("=")
            fields[field] = value.split(" ")
        elif line:
            data, text = packet_bytes(line.split(" | ")[0]), line.split(" | ")[1]
        elif fields:
            yield text, data, fields
            fields = {}


def amqp_capture_write(path, frames):
    """Writes a pcap file; the frames of AMQP frame n are 2n + 1, a protocol header, and 2n + 2."""
    with open(path, "wb") as file:
        file.write(PCAP_HEADER)
        for index, data in enumerate(frames):
            header = b"AMQP" + (b"\3" if data[5] else b"\0") + b"\1\0\0"
            for number, (sequence, content) in enumerate(((1, header), (9, data))):
                whole = frame(20000 + index, True, sequence, 1, content, AMQP_PORT)
                file.write((index * 2 + number).to_bytes(4, "big") + bytes(4) + len(whole).to_bytes(4, "big") * 2)
                file.write(whole)


def amqp_dissect(path):
    """One tshark call: for each AMQP frame the list of (field, value), and what it complains of."""
    frames = list(pdml_read(path, "tcp.port==%d,amqp" % AMQP_PORT, "amqp"))
    for malformed, fields in frames[1::2]:
        yield fields, ["malformed"] * malformed + [show for name, show in fields if name == "_ws.expert.message"]


def capture_write(path, vectors):
    """Writes a pcap file; the frames of vector n are 2n + 1 and 2n + 2."""
    with open(path, "wb") as file:
        file.write(PCAP_HEADER)
        for index, (_, version, sender, data, _) in enumerate(vectors):
            port = 20000 + index
            connect = bytes.fromhex(CONNECTS[version])
            own = data[0] >> 4 == 1
            streams = [frame(port, True, 1, 1, data if own else connect)]
            if own:  # the stream begins with it; an answer keeps the count of frames
                streams.append(frame(port, False, 1, 1 + len(data), b"\xd0\x00"))
            elif sender == "client":
                streams.append(frame(port, True, 1 + len(connect), 1, data))
            else:
                streams.append(frame(port, False, 1, 1 + len(connect), data))
            for number, content in enumerate(streams):
                file.write((index * 2 + number).to_bytes(4, "big") + bytes(4) + len(content).to_bytes(4, "big") * 2)
                file.write(content)


def pdml_read(path, decode_as, protocol):
    """One tshark call: for each frame whether it is malformed, and the (field, value) of the protocol."""
    output = subprocess.run(
        ["tshark", "-n", "-r", path, "-d", decode_as, "-T", "pdml"],
        check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=100).stdout
    for packet in ElementTree.fromstring(output).iter("packet"):
        fields, malformed = [], False
        for proto in packet.iter("proto"):
            if proto.get("name") == protocol:
                fields = [(field.get("name"), field.get("show")) for field in proto.iter("field")]
            elif proto.get("name") == "_ws.malformed":
                malformed = True
        yield malformed, fields


def dissect(path):
    """One tshark call: for each frame the list of (field, value) of its MQTT part, and what it complains of."""
    for malformed, fields in pdml_read(path, "tcp.port==%d,mqtt" % BROKER_PORT, "mqtt"):
        complaints = ["malformed"] * malformed
        complaints += [name for name, _ in fields
                       if name.startswith(("mqtt.unknown", "mqtt.illegal", "mqtt.prop_unknown", "_ws.expert"))]
        yield fields, complaints


def normal(value):
    """Numbers alike, however they are written."""
    if value in ("True", "False"):
        return int(value == "True")
    try:
        return int(value, 0)
    except ValueError:
        return value


class Mqtt(unittest.TestCase):
    def test_vectors(self):
        vectors = list(vectors_read(os.path.join(HERE, "mqtt-tshark.txt")))
        self.assertGreaterEqual(len(vectors), 45)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "mqtt.pcap")
            capture_write(path, vectors)
            frames = list(dissect(path))
        self.assertEqual(len(frames), 2 * len(vectors))
        for index, (name, _, _, data, expected) in enumerate(vectors):
            fields, complaints = frames[2 * index + (data[0] >> 4 != 1)]
            with self.subTest(name):
                self.assertEqual(complaints, [])
                self.assertTrue(expected, "no tshark lines")
                for field, values in expected.items():
                    found = [normal(show) for each, show in fields if each == field]
                    self.assertEqual(found, [normal(value) for value in values], field)

    def test_a_wrong_value_is_seen(self):
        vectors = [("wrong", 4, "client", packet_bytes("30 03 00 01 62"), {})]
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "mqtt.pcap")
            capture_write(path, vectors)
            fields, complaints = list(dissect(path))[1]
        self.assertEqual(complaints, [])
        self.assertIn(("mqtt.topic", "b"), fields)
        self.assertNotIn(("mqtt.topic", "a"), fields)


class Coap(unittest.TestCase):
    def dissected(self, datagrams):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "coap.pcap")
            coap_capture_write(path, datagrams)
            frames = list(coap_dissect(path))
        self.assertEqual(len(frames), len(datagrams))
        return frames

    def test_vectors(self):
        vectors = list(coap_vectors_read(os.path.join(HERE, "coap-tshark.txt")))
        self.assertGreaterEqual(len(vectors), 35)
        frames = self.dissected([data for _, data, _, _ in vectors])
        for (name, _, expected, unknown), (fields, complaints) in zip(vectors, frames):
            with self.subTest(name):
                self.assertEqual(complaints, ["Invalid Option Number %d" % number for number in unknown])
                self.assertTrue(expected, "no tshark lines")
                for field, values in expected.items():
                    found = [normal(show) for each, show in fields if each == field]
                    self.assertEqual(found, [normal(value) for value in values], field)

    def test_a_wrong_value_is_seen(self):
        (fields, complaints), (_, complaints_cut) = self.dissected(
            [packet_bytes("40 01 00 01 b1 62"), packet_bytes("40 01 00 01 b2 62")])
        self.assertEqual(complaints, [])
        self.assertIn(("coap.opt.uri_path", "b"), fields)
        self.assertNotIn(("coap.opt.uri_path", "a"), fields)
        self.assertNotEqual(complaints_cut, [])


class Amqp(unittest.TestCase):
    def dissected(self, frames):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "amqp.pcap")
            amqp_capture_write(path, frames)
            found = list(amqp_dissect(path))
        self.assertEqual(len(found), len(frames))
        return found

    def test_vectors(self):
        vectors = list(amqp_vectors_read(os.path.join(HERE, "amqp-tshark.txt")))
        self.assertGreaterEqual(len(vectors), 20)
        frames = self.dissected([data for _, data, _ in vectors])
        for (text, _, expected), (fields, complaints) in zip(vectors, frames):
            with self.subTest(text):
                self.assertEqual(complaints, [])
                for field, values in expected.items():
                    found = [normal(show) for each, show in fields if each == field]
                    self.assertEqual(found, [normal(value) for value in values], field)

    def test_a_wrong_value_is_seen(self):
        (fields, complaints), (_, complaints_cut) = self.dissected([
            packet_bytes("00 00 00 11 02 00 00 00 00 53 10 c0 04 01 a1 01 62"),
            packet_bytes("00 00 00 11 02 00 00 00 00 53 10 c0 04 01 a1 09 62")])
        self.assertEqual(complaints, [])
        self.assertIn(("amqp.performative.arguments.containerId", "b"), fields)
        self.assertNotIn(("amqp.performative.arguments.containerId", "a"), fields)
        self.assertNotEqual(complaints_cut, [])


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    unittest.main(verbosity=2)
