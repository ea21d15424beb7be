"""A store that takes nothing new, or that is broken: nobody is left without a word, in any protocol.

What needs no disk is served; what needs it is refused, or its connection is ended; nothing of it is
acknowledged.
"""

import resource

import amqp
import coap
import raw
import test_store_faults as faults
import wire
from broker import SLOW, main
from test_store_restart import DURABLE, StoredCase

SOON = 5 * SLOW     # for an answer, whatever it is
ENDED = "ended"     # the connection, instead of an answer
KEPT = {"session_expiry": 3600}


class Trouble(StoredCase):
    GENERAL = faults.SMALL[1:]

    def prepare(self):
        for name in "taker", "other":
            self.away(name, "w/#")
        words = faults.Words(self)
        words.coap()
        self.assertEqual(words.each(), faults.ACCEPTED)
        for name in "stays", "goes":
            self.durable(name)[0].drop()
        self.kept = self.session("kept-on")
        self.kept.subscribe("k/#", qos=1)
        self.plain = self.client()
        self.plain.subscribe("passing/#", qos=1)
        return words

    def durable(self, name):
        made = self.amqp("container")
        return made, made.begin().receiver("topic://news", name=name, source=DURABLE)

    @staticmethod
    def word(call):
        """What is answered: ENDED, an AMQP condition, or what `call` returns."""
        try:
            return call()
        except (raw.Closed, amqp.Closed, OSError):
            return ENDED
        except amqp.AmqpError as refused:
            text = str(refused)
            return text[text.index("amqp:"):].split("'")[0] if "amqp:" in text else text

    def connect(self, name, clean):
        made = raw.Raw(self.broker, 5)
        self.addCleanup(made.drop)
        made.send(wire.connect(name, 5, clean=clean, properties=KEPT))
        return made, made.wait(wire.CONNACK, SOON).code

    def served(self):
        """What needs no disk."""
        self.assertEqual(self.plain.subscribe("more/#", qos=1), [1])
        self.assertEqual(self.client().publish("passing/x", b"by mqtt", 1), 0)
        self.assertEqual(self.plain.message().payload, b"by mqtt")
        outcome = self.amqp().begin().sender("topic://passing/x").send("by amqp")
        self.assertIn(outcome.name, ("accepted", "released"))
        self.assertEqual(self.plain.message().payload, b"by amqp")
        self.amqp().begin().receiver("topic://passing/#")
        self.assertEqual(faults.coap_value(self.broker, "w/coap"), b"coap")
        link = self.amqp().begin().receiver("/queues/words", credit=1)
        self.assertEqual(link.bodies(1), [b"amqp"])

    def refused(self, words):
        """What needs it, and is new."""
        self.assertEqual(words.each(), faults.REFUSED)
        self.assertEqual(self.connect("new", False)[1], 0x97)
        limit = "amqp:resource-limit-exceeded"
        self.assertEqual(self.word(lambda: self.amqp().begin().sender("fresh")), limit)
        self.assertEqual(self.word(lambda: self.durable("new")), limit)
        self.assertIn(self.word(lambda: self.kept.publish("w/x", b"x", 1)), (0x97, ENDED))
        self.assertIn(self.word(lambda: self.kept.subscribe("l/#", qos=1)), ([0x97], ENDED))

    def test_full(self):
        self.begin()
        words = self.prepare()
        resource.prlimit(self.broker.pid, resource.RLIMIT_FSIZE, (8 * faults.MEGA, resource.RLIM_INFINITY))
        faults.Full.fill(self, 0x97)
        self.refused(words)
        self.served()
        # What clears the disk gets through, and is acknowledged when it is on it.
        taker, code = self.connect("taker", False)
        self.assertEqual(code, 0)
        taker.message()
        taker.ping()
        self.durable("goes")[1].detach(closed=True)
        self.assertEqual(self.coap().request(coap.DELETE, "w/coap", b"").code, coap.DELETED)
        self.broker.kill()
        self.broker.start()
        self.assertIsNone(faults.coap_value(self.broker, "w/coap"))
        self.broker.stop()

    def test_broken(self):
        self.begin()
        words = self.prepare()
        faults.Traced.setUp(self)
        faults.Traced.attach(self, "fdatasync:error=EIO")
        waits, coaps = self.client(), self.coap()
        waits.send(wire.publish("w/never", b"x", 1, 77, retain=True, version=5))
        self.broker.said(r"(?i)could not be brought to the disk")
        self.assertIn(self.word(lambda: waits.wait(wire.PUBACK, SOON).code), (0x97, ENDED))
        self.assertEqual(coaps.request(coap.PUT, "w/coap", b"x").code, 0xA3)    # 5.03
        self.refused(words)
        self.served()
        for clean in False, True:
            self.assertEqual(self.connect("other", clean)[1], 0x88)
        self.assertEqual(self.word(lambda: self.durable("goes")[1].detach(closed=True)),
                         "amqp:internal-error")
        self.assertIn(self.word(lambda: self.kept.ping()), (None, ENDED))
        self.assertNotEqual(self.broker.terminate(), 0)


if __name__ == "__main__":
    main()
