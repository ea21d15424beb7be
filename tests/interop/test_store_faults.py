"""A store that cannot do what it is asked: folders that are held, newer, damaged or read-only; a disk
that is full; writes and syncs that fail, by strace.
"""

import os
import resource
import signal
import struct
import subprocess
import tempfile
import time

import amqp
import coap
import raw
import strace
import wire
from broker import DEADLINE, SLOW, Process, main
from stored import StoredBroker
from test_store_restart import StoredCase

MEGA = 1 << 20
SMALL = ["store_segment_size %d" % MEGA, "max_queued_messages 0", "max_queued_bytes 0", "queue words"]
HEAD = 44       # bytes of a segment's head that its sum is over (docs/internals/journal.md)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


class Folder(StoredCase):
    def refused(self, *patterns, wait=None):
        """A start that must fail; what it said."""
        process = self.other.launch()
        status = process.wait()
        self.assertNotEqual(status, 0)
        for pattern in patterns:
            self.assertRegex(process.err.text(), pattern)
        self.assertNotRegex(process.out.text(), "ready")
        return process.err.text()

    def second(self):
        """A broker of its own ports on the same folder, not started."""
        self.other = StoredBroker(data=self.broker.data)
        self.addCleanup(self.other.remove)
        return self.other

    def test_one_folder_one_broker(self):
        self.begin()
        self.publish("v", b"kept", retain=True)
        self.second()
        said = self.refused(r"\b%d\b" % self.broker.pid)
        self.assertIn(self.broker.data, said)
        self.publish("v", b"kept on", retain=True)
        self.broker.kill()
        self.other.start()      # who held it is gone
        self.assertEqual(coap_value(self.other, "v"), b"kept on")
        self.other.stop()

    def test_a_newer_version_is_refused_and_not_touched(self):
        self.begin()
        self.publish("v", b"kept", retain=True)
        self.assertEqual(self.broker.terminate(), 0)
        path = os.path.join(self.broker.data, self.broker.files(".log")[-1])
        with open(path, "r+b") as file:
            before = file.read(HEAD + 4)
            self.assertEqual(struct.unpack(">I", before[HEAD:])[0], crc32c(before[:HEAD]), "the head's sum")
            newer = before[:8] + struct.pack(">I", 1000) + before[12:HEAD]
            file.seek(0)
            file.write(newer + struct.pack(">I", crc32c(newer)))
        held = contents(self.broker.data)
        self.second()
        self.refused(r"(?i)newer version")
        self.assertEqual(contents(self.broker.data), held)
        with open(path, "r+b") as file:
            file.write(before)
        self.broker.start()
        self.assertEqual(coap_value(self.broker, "v"), b"kept")
        self.broker.stop()

    def test_a_folder_that_cannot_be_made(self):
        self.begin()
        self.broker.data = "/dev/null/data"
        self.broker.kill()
        self.other = self.broker
        self.refused("/dev/null/data")

    def test_a_read_only_folder(self):
        with Mounted(self, 64 * MEGA) as folder:
            self.begin(data=os.path.join(folder, "data"), general=SMALL)
            self.publish("v", b"kept", retain=True)
            self.assertEqual(self.broker.terminate(), 0)
            subprocess.run(["mount", "-o", "remount,ro", folder], check=True, timeout=DEADLINE)
            self.other = self.broker
            said = self.refused(r"(?i)read-only|permission|cannot be written")
            self.assertIn(self.broker.data, said)
            subprocess.run(["mount", "-o", "remount,rw", folder], check=True, timeout=DEADLINE)
            self.broker.start()
            self.assertEqual(coap_value(self.broker, "v"), b"kept")
            self.broker.stop()


def coap_value(broker, where):
    """None if there is none."""
    with coap.Client(broker.coap_port) as client:
        got = client.get(where, want=(coap.CONTENT, coap.NOT_FOUND))
        if got.code == coap.NOT_FOUND:
            return None
        return client.get_large(where, first=got)[0] if got.has(coap.BLOCK2) else got.payload


def contents(folder):
    """Name -> bytes of all files but the lock."""
    out = {}
    for name in sorted(os.listdir(folder)):
        if name != "lock":
            with open(os.path.join(folder, name), "rb") as file:
                out[name] = file.read()
    return out


class Damage(StoredCase):
    """The broker was killed, and its files are not what they were."""

    def values(self, count, size=200):
        """Values 0 to count - 1, each acknowledged, so each in a group of its own."""
        for n in range(count):
            self.publish("d/%d" % n, self.value(n, size), retain=True)

    @staticmethod
    def value(number, size=200):
        return (b"begin-%05d." % number + b"value-%05d." % number * (size // 12))[:size]

    def find(self, number):
        """(path, offset) of the last copy of that value in a segment."""
        for name in reversed(self.broker.files(".log")):
            path = os.path.join(self.broker.data, name)
            with open(path, "rb") as file:
                at = file.read().rfind(self.value(number)[:24])
            if at >= 0:
                return path, at
        raise AssertionError("value %d is in no segment" % number)

    def kept(self, count, size=200, missing=()):
        """All values are there but for those."""
        for n in range(count):
            wanted = None if n in missing else self.value(n, size)
            self.assertEqual(coap_value(self.broker, "d/%d" % n), wanted, "value %d" % n)

    def test_a_segment_cut_in_its_last_group(self):
        self.begin()
        self.values(10)
        self.broker.kill()
        path, at = self.find(9)
        os.truncate(path, at + 50)
        self.broker.start()
        self.kept(9)
        self.assertIn(coap_value(self.broker, "d/9"), (None, self.value(9)))
        self.publish("d/9", self.value(9), retain=True)
        self.broker.restart()
        self.kept(10)
        self.broker.stop()

    def test_a_byte_flipped_in_the_middle(self):
        self.begin()
        self.values(10)
        self.away("one", "m/#")
        self.publish("m/x", b"message")
        self.broker.kill()
        path, at = self.find(4)
        flip(path, at + 20)
        self.broker.start()
        self.set_aside()
        self.kept(10, missing=(4,))
        self.came(self.session("one", present=True), b"message")
        self.values(10)
        self.broker.restart()
        self.kept(10)
        self.assertTrue(self.broker.files(".damaged"), "removed")
        self.broker.stop()

    def test_a_byte_flipped_in_a_closed_segment(self):
        size, count = 20000, 150    # three segments
        self.begin(general=SMALL)
        self.values(count, size)
        self.broker.kill()
        path, at = self.find(3)
        self.assertNotEqual(os.path.basename(path), self.broker.files(".log")[-1])
        flip(path, at + 5000)
        self.broker.start()
        # Bodies are read when they are asked for, or at the start: found either way, and said.
        self.kept(count, size, missing=(3,))
        self.set_aside()
        self.broker.stop()

    def set_aside(self):
        """The damaged bytes are kept in a file of their own, and the log says so."""
        self.broker.said(r"(?i)damaged")
        self.assertTrue(self.broker.files(".damaged"), self.broker.files())

    def test_a_snapshot_or_a_segment_that_is_nothing_but_noise(self):
        self.begin()
        self.values(10)
        self.assertEqual(self.broker.terminate(), 0)
        for name in self.broker.files(".index"):
            path = os.path.join(self.broker.data, name)
            with open(path, "r+b") as file:
                file.write(os.urandom(os.path.getsize(path)))
        self.broker.start()
        self.kept(10)
        self.broker.stop()


def flip(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0x10]))


class Mounted:
    """A small file system in memory."""

    def __init__(self, case, size):
        self.folder = tempfile.mkdtemp(prefix="trefoil-mounted-")
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%d" % size, "none", self.folder],
                              capture_output=True, text=True, timeout=DEADLINE, check=False)
        if done.returncode:
            os.rmdir(self.folder)
            case.skipTest("nothing may be mounted here: " + done.stderr.strip())

    def __enter__(self):
        return self.folder

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", self.folder], check=True, timeout=DEADLINE)
        os.rmdir(self.folder)


class Words:
    """What the broker answers, in each protocol, to one publication that it is to keep."""

    def __init__(self, case):
        self.case, self.broker = case, case.broker

    def each(self, *leave_out):
        return {kind: getattr(self, kind)() for kind in ACCEPTED if kind not in leave_out}

    def mqtt5(self, payload=b"5", topic="w/kept"):
        client = self.case.client()
        try:
            return client.publish(topic, payload, 1)
        except raw.Closed:
            return "closed"
        finally:
            client.drop()

    def mqtt311(self):
        client = self.case.client(4)
        try:
            return client.publish("w/kept", b"4", 1)
        except raw.Closed:
            return "closed"
        finally:
            client.drop()

    def amqp(self):
        made = self.case.amqp()
        try:
            outcome = made.begin().sender("/queues/words").send("amqp")
            return outcome.name if outcome.name != "rejected" else outcome.error.condition
        except amqp.AmqpError as gone:
            return "closed" if isinstance(gone, amqp.Closed) else str(gone)
        finally:
            made.drop()

    def coap(self):
        answer = self.case.coap().request(coap.PUT, "w/coap", b"coap")
        return "%d.%02d" % (answer.code >> 5, answer.code & 31)


ACCEPTED = {"mqtt5": 0, "mqtt311": 0, "amqp": "accepted", "coap": "2.04"}
REFUSED = {"mqtt5": 0x97, "mqtt311": "closed", "amqp": "amqp:resource-limit-exceeded", "coap": "5.03"}


def without(words, kind):
    return {each: word for each, word in words.items() if each != kind}


class Full(StoredCase):
    GENERAL = SMALL

    def fill(self, word):
        """Publishes until one is refused; how many were not."""
        self.filler = self.session("filler")
        for n in range(2000):
            self.pending = n + 1
            self.filler.send(wire.publish("w/fill", b"%06d" % n + b"f" * 50000, 1, n + 1, version=5))
            try:
                got = self.filler.wait(wire.PUBACK, 2 * SLOW)
            except AssertionError:
                self.broker.said(r"(?i)no room|full")
                return n    # on its way to a disk that does not take it: nobody says anything yet
            if got.code >= 0x80:
                self.assertEqual(got.code, word)
                self.pending = None
                return n
        return self.fail("it takes everything")

    def prepare(self):
        """A session for w/#, values, and a first word of each."""
        self.away("taker", "w/#")
        words = Words(self)
        words.coap()
        self.assertEqual(words.each(), ACCEPTED)
        return words

    def still_served(self):
        """Reading and QoS 0."""
        with raw.Raw(self.broker, 5) as one:
            one.connect()
            one.subscribe("passing/#", qos=0)
            one.send(wire.publish("passing/x", b"qos 0", 0, version=5))
            self.assertEqual(one.message().payload, b"qos 0")
        self.assertEqual(coap_value(self.broker, "w/coap"), b"coap")

    def drained(self, least):
        """The taker gets at least so many of the filler's, in order."""
        taker = self.session("taker", present=True)
        self.publish("w/last", b"last")
        got = [packet.payload[:6] for packet in taker.until(b"last") if packet.topic == "w/fill"]
        taker.drop()
        self.assertEqual(got[:least], [b"%06d" % n for n in range(least)])

    def recovered(self, words):
        """Taken again, once there is room."""
        end = time.monotonic() + DEADLINE
        while True:
            said = words.each()
            if said == ACCEPTED:
                break
            self.assertLess(time.monotonic(), end, "still refused: %s" % said)
        if self.pending:
            self.filler.expect(wire.PUBACK, packet_id=self.pending)
            self.pending = None

    def test_a_full_disk(self):
        with Mounted(self, 16 * MEGA) as folder:
            self.begin(data=os.path.join(folder, "data"))
            words = self.prepare()
            filler = os.path.join(folder, "filler")
            with open(filler, "wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(4096))
                except OSError:
                    pass
            taken = self.fill(0x97)
            self.assertEqual(words.each(), REFUSED)
            self.still_served()
            self.broker.said(r"(?i)full|no space")
            os.unlink(filler)
            self.recovered(words)
            self.drained(taken)
            self.broker.restart()
            self.recovered(words)
            self.broker.stop()

    def taking_makes_room(self):
        words = self.prepare()
        taken = self.fill(0x97)
        self.assertGreater(taken, 50)
        self.assertEqual(words.each(), REFUSED)
        self.still_served()
        taker = self.session("taker", present=True)
        for n in range(taken):
            got = taker.message()
            while got.topic != "w/fill":
                got = taker.message()
            self.assertEqual(got.payload[:6], b"%06d" % n)
        self.recovered(words)
        self.broker.restart()
        self.recovered(words)
        self.broker.stop()

    def test_taking_from_a_full_disk_makes_room(self):
        with Mounted(self, 16 * MEGA) as folder:
            self.begin(data=os.path.join(folder, "data"))
            self.taking_makes_room()

    def test_the_limit_of_the_configuration(self):
        self.begin(general=["store_limit %d" % (8 * MEGA)] + SMALL)
        self.taking_makes_room()

    def test_the_soft_limit_takes_credit_away(self):
        self.begin(general=["store_soft_limit %d" % (6 * MEGA), "store_limit %d" % (64 * MEGA)] + SMALL)
        sender = self.amqp().begin().sender("/queues/words")
        sent = 0
        try:
            while sent < 2000:
                sender.credited(deadline=1 * SLOW)
                sender.transfer(amqp.message(b"f" * 50000))
                sent += 1
        except amqp.AmqpError:
            pass
        self.assertGreater(sent, 50)
        self.assertLess(sent, 1000, "there is always credit")
        receiver = self.amqp().begin().receiver("/queues/words", credit=sent)
        receiver.take(sent)
        sender.credited()
        self.broker.stop()

    def test_a_limit_on_the_size_of_files_is_a_full_disk(self):
        self.begin(general=SMALL[1:])
        words = self.prepare()
        resource.prlimit(self.broker.pid, resource.RLIMIT_FSIZE, (8 * MEGA, resource.RLIM_INFINITY))
        taken = self.fill(0x97)
        self.assertEqual(words.each("amqp"), without(REFUSED, "amqp"))
        self.still_served()
        resource.prlimit(self.broker.pid, resource.RLIMIT_FSIZE,
                         (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        self.recovered(words)
        self.drained(taken)
        self.broker.stop()

    def test_a_queue_that_is_there_can_be_used_while_a_write_waits(self):
        """A write is tried again and again: attaching to a queue needs no disk, sending is refused."""
        self.begin(general=SMALL[1:])
        words = self.prepare()
        resource.prlimit(self.broker.pid, resource.RLIMIT_FSIZE, (8 * MEGA, resource.RLIM_INFINITY))
        self.fill(0x97)
        self.assertEqual(self.amqp().begin().receiver("/queues/words", credit=1).receive().body, b"amqp")
        self.assertEqual(words.amqp(), REFUSED["amqp"])


class Traced(StoredCase):
    """strace is attached to the running broker and makes its calls fail."""

    GENERAL = ["queue words"]

    def setUp(self):
        why = strace.missing()
        if why:
            self.skipTest(why)

    def attach(self, inject):
        """From now on."""
        self.tracer = Process(["strace", "-f", "-p", str(self.broker.pid), "-o", os.devnull,
                               "-e", "trace=" + inject.split(":")[0], "-e", "inject=" + inject])
        self.addCleanup(self.tracer.kill)
        if not self.tracer.err.find("attached"):
            self.skipTest("strace may not attach here: " + self.tracer.err.text())

    def detach(self):
        self.tracer.stop(signal.SIGINT)

    def unanswered(self, client, *packets):
        """Sends them; there must be no acknowledgement, though others are served meanwhile."""
        client.send(*packets)
        for _ in range(5):
            Full.still_served(self)
        try:
            got = client.packet(0.2 * SLOW)
        except (AssertionError, raw.Closed):
            return
        if got.type in (wire.PUBACK, wire.PUBREC):
            self.assertGreaterEqual(got.code, 0x80, "acknowledged: %s" % got)
        else:
            self.assertEqual(got.type, wire.DISCONNECT)

    def test_a_sync_that_fails_ends_acknowledgements_for_good(self):
        for nth in 1, 3:
            with self.subTest(nth=nth):
                self.begin()
                words = Words(self)
                self.away("taker", "w/#")
                words.coap()
                self.assertEqual(words.each(), ACCEPTED)
                self.attach("fdatasync:error=EIO:when=%d" % nth)
                acknowledged = []
                for n in range(nth - 1):
                    self.publish("w/before", b"%d" % n)
                    acknowledged.append(b"%d" % n)
                self.unanswered(self.client(), wire.publish("w/never", b"x", 1, 77, version=5))
                self.broker.said(r"(?i)could not be brought to the disk")
                self.detach()   # the disk works again, and that changes nothing
                self.unanswered(self.client(), wire.publish("w/never", b"x", 1, 78, version=5))
                self.unanswered(self.client(4), wire.publish("w/never", b"x", 2, 79))
                Full.still_served(self)
                self.assertNotEqual(self.broker.terminate(), 0)
                self.broker.start()
                taker = self.session("taker", present=True)
                self.publish("w/last", b"last")
                got = [packet.payload for packet in taker.until(b"last")]
                self.assertEqual([each for each in got if each in acknowledged], acknowledged)
                self.assertEqual(words.each(), ACCEPTED)
                self.broker.stop()

    def test_refusals_after_a_failed_sync(self):
        self.begin()
        self.away("taker", "w/#")
        words = Words(self)
        words.coap()
        self.assertEqual(words.each(), ACCEPTED)
        self.attach("fdatasync:error=EIO")
        self.unanswered(self.client(), wire.publish("w/never", b"x", 1, 77, retain=True, version=5))
        self.broker.said(r"(?i)could not be brought to the disk")
        self.assertEqual(words.each("amqp"), without(REFUSED, "amqp"))
        self.detach()
        self.assertEqual(words.each("amqp"), without(REFUSED, "amqp"))
        self.assertNotEqual(self.broker.terminate(), 0)

    def test_refusals_by_amqp_after_a_failed_sync(self):
        self.begin()
        words = Words(self)
        words.coap()
        self.assertEqual(words.amqp(), "accepted")
        self.attach("fdatasync:error=EIO")
        self.unanswered(self.client(), wire.publish("w/never", b"x", 1, 77, retain=True, version=5))
        self.assertEqual(words.amqp(), REFUSED["amqp"])
        self.assertNotEqual(self.broker.terminate(), 0)

    def test_a_session_that_is_kept_gets_an_answer_after_a_failed_sync(self):
        """Whatever it is: nobody is left without a word for good."""
        self.begin()
        self.away("one", "w/#")
        Words(self).coap()
        self.attach("fdatasync:error=EIO")
        self.unanswered(self.client(), wire.publish("w/never", b"x", 1, 77, version=5))
        for name, clean in (("one", False), ("new", False), ("one", True)):
            client = raw.Raw(self.broker, 5)
            self.addCleanup(client.drop)
            client.send(wire.connect(name, 5, clean=clean, properties={"session_expiry": 3600}))
            try:
                self.assertEqual(client.packet().type, wire.CONNACK)
            except raw.Closed:
                pass
        self.assertNotEqual(self.broker.terminate(), 0)

    def test_a_write_that_fails_loses_nothing_that_was_acknowledged(self):
        for error in "EIO", "ENOSPC":
            for nth in 1, 2, 5:
                with self.subTest(error=error, nth=nth):
                    self.begin()
                    self.away("taker", "w/#")
                    self.attach("pwritev,pwritev2,pwrite64:error=%s:when=%d" % (error, nth))
                    client = self.session("giver")
                    acknowledged = []
                    end = time.monotonic() + DEADLINE
                    while len(acknowledged) < 10:
                        self.assertLess(time.monotonic(), end, "it did not go on")
                        number = b"%d" % len(acknowledged)
                        if client.publish("w/x", number, 1) < 0x80:
                            acknowledged.append(number)
                    self.detach()
                    self.broker.restart()
                    taker = self.session("taker", present=True)
                    self.publish("w/last", b"last")
                    got = [packet.payload for packet in taker.until(b"last")]
                    self.assertEqual([each for each in got if each in acknowledged], acknowledged)
                    self.broker.stop()


if __name__ == "__main__":
    main()
