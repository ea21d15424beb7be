"""Labs A1, A2 and A5 of the AMQP course with proton and rhea, and X1 to X3 across the three protocols
with each kind of client, as a reader would try them.
"""

import json
import re
import threading

from amqp import AmqpBroker, AmqpCase, Message, Raw, condition, data, message
from broker import SLOW, main
from clients import CLIENTS as MQTT_CLIENTS
from clients import MosquittoClients, Paho
from amqp_clients import CLIENTS, Proton, Rhea
from coap_clients import Libcoap, format_of
from test_cli import Cli

JSON = 50


class Lab(AmqpCase):
    def client(self, kind, **options):
        made = kind(self.broker, **options)
        self.addCleanup(made.quit if kind is Rhea else made.close)
        return made


class A1A2(Lab, Cli):
    """100 messages are confirmed, shown, and taken in order."""

    count = 100

    def shown(self, name):
        """The depth in `trefoil queues`, as a table and as JSON."""
        text = self.run_it("queues", self.broker.url).out
        line = next((l for l in text.splitlines() if re.search(r"(^|\s)%s\s" % name, l)), "")
        out = self.run_it("queues", self.broker.url, "-o", "json").out.strip()
        rows = json.loads(out) if out.startswith("[") else \
            [json.loads(each) for each in out.splitlines()]
        rows = [row for row in rows if row.get("queue") == name]
        self.assertEqual(len(rows), 1, out)
        self.assertRegex(line, r"\b%d\b" % rows[0]["messages"], text)
        return rows[0]["messages"]

    def labs(self, sender, receiver):
        name = "examples-%s-%s" % (sender.name, receiver.name)
        number = "uint" if sender is Rhea else None
        client = self.client(sender)
        sent = []
        for index in range(self.count):
            body = ["map", [[["string", "sequence"], [number, index]]]] if number else \
                {"sequence": index}
            sent.append(client.message(body, application={"Divine": "Life"}))
        self.assertEqual(client.send(name, *sent), ["accepted"] * self.count)
        self.assertEqual(self.shown(name), self.count)
        self.assertEqual(self.sys(name)["messages"], self.count)
        taker = self.client(receiver)
        got = taker.take(name, self.count)
        self.assertEqual([each.body["sequence"] for each in got], list(range(self.count)))
        self.assertEqual([each.application for each in got], [{"Divine": "Life"}] * self.count)
        if sender is Rhea and receiver is Rhea:
            self.assertEqual([each.whole.bare for each in got],
                             [Message(each).bare for each in client.sent])
        self.depth(name, 0)
        self.assertEqual(self.shown(name), 0)

    def test_A1_A2_proton_to_proton(self):
        self.labs(Proton, Proton)

    def test_A1_A2_proton_to_rhea(self):
        self.labs(Proton, Rhea)

    def test_A1_A2_rhea_to_proton(self):
        self.labs(Rhea, Proton)

    def test_A1_A2_rhea_to_rhea(self):
        self.labs(Rhea, Rhea)

    def test_A2_bare_messages_are_the_same_bytes(self):
        """What each client wrote, as a raw receiver has it."""
        name = self.address()
        proton = self.client(Proton)
        made = [proton.message({"sequence": n}, application={"Divine": "Life"}, subject="lab")
                for n in range(10)]
        proton.send(name, *made)
        rhea = self.client(Rhea)
        rhea.send(name, *[rhea.message(["map", [[["string", "sequence"], ["ulong", str(n)]]]],
                                       application={"Divine": "Life"}) for n in range(10)])
        link = self.session().receiver(name, credit=20)
        got = [each.message.bare for each in link.take(20)]
        self.assertEqual([each.hex() for each in got[:10]],
                         [Message(bytes(each.encode())).bare.hex() for each in made])
        self.assertEqual([each.hex() for each in got[10:]],
                         [Message(each).bare.hex() for each in rhea.sent])
        self.depth(name, 0)


class A5(Lab):
    """The broker's own time-out is two seconds; what is silent for longer is dead."""

    OPTIONS = ["amqp_idle_timeout 2"]

    def test_A5_silent_peer_is_closed_and_live_ones_stay(self):
        """Proton and rhea say nothing either, but send their empty frames."""
        silent = self.amqp()
        self.assertTrue(0 < silent.remote.idle_time_out <= 2000, silent.remote)
        proton, rhea = self.client(Proton), self.client(Rhea)
        for client in proton, rhea:
            self.assertEqual(client.send(self.address("/" + client.name),
                                         client.message(data=b"before")), ["accepted"])
        seen = []

        def watch():
            try:
                seen.append(silent.wait("close", deadline=10 * SLOW))
            except AssertionError as error:
                seen.append(error)
        thread = threading.Thread(target=watch)
        thread.start()
        proton.connection.wait(lambda: seen, timeout=12 * SLOW)
        thread.join()
        self.assertIsNotNone(condition(seen[0]), seen)
        self.assertTrue(seen[0].error.description, "the error says why: %r" % seen[0].error)
        silent.ended()
        for client in proton, rhea:
            self.assertEqual(client.send(self.address("/" + client.name),
                                         client.message(data=b"after")), ["accepted"])
            self.assertEqual(len(client.take(self.address("/" + client.name), 2)), 2)

    def test_A5_empty_frames_keep_a_peer_content(self):
        """2.4.5: a peer that announces a time-out gets frames in time, whatever else there is."""
        peer = self.amqp(idle_time_out=400)
        for _ in range(3):
            peer.empty(deadline=0.4 * max(SLOW, 2))
            peer.send(bytes.fromhex("0000000802000000"))
        peer.leave()

    def test_A5_proton_with_a_time_out_of_its_own(self):
        """Proton closes if no frame comes within it; it waits for the broker to drop another."""
        proton = self.client(Proton, heartbeat=0.6)
        silent = self.amqp()
        seen = []
        thread = threading.Thread(target=lambda: seen.append(silent.wait(
            "close", deadline=10 * SLOW)))
        thread.start()
        proton.connection.wait(lambda: seen, timeout=12 * SLOW)
        thread.join()
        self.assertEqual(proton.send(self.address(), proton.message("alive")), ["accepted"])


class Across(Lab):
    GENERAL = ["queue x2/later", "queue_bind x2/kitchen/#", "queue_durable true"]

    def test_X1_a_device_puts_and_all_have_it(self):
        base = self.address("/sensors")
        place = base + "/kitchen/temp"
        port = self.broker.coap_port
        Libcoap.request(port, "PUT", place, '{"t":20}', form=JSON)
        receivers = []
        for kind in CLIENTS:
            client = self.client(kind)
            client.subscribe("topic://" + base + "/#")
            receivers.append(client)
            client.first = client.take("topic://" + base + "/#", 1)[0]
            self.assertEqual(body(client.first), b'{"t":20}', "the retained one")
        subscribers = [kind.Subscriber(self.broker, base + "/#", 1) for kind in MQTT_CLIENTS]
        for subscriber in subscribers:
            self.addCleanup(subscriber.abandon)
            self.assertEqual(subscriber.next().payload, '{"t":20}')
        witness = self.mqtt(base + "/#")
        self.assertEqual(witness.message().payload, b'{"t":20}')
        observer = Libcoap.Observer(port, place)
        self.addCleanup(observer.vanish)
        self.assertEqual(observer.next()[2], '{"t":20}')
        Libcoap.request(port, "PUT", place, '{"t":21}', form=JSON)
        for subscriber in subscribers:
            got = subscriber.next()
            self.assertEqual((got.topic, got.payload, got.retain), (place, '{"t":21}', False))
        got = witness.message()
        self.assertEqual(got.props.get("content_type"), "application/json")
        noted = observer.until('{"t":21}')[-1]
        self.assertEqual(noted[1].get("Content-Format"), ["application/json"], noted)
        for client in receivers:
            got = client.take("topic://" + base + "/#", 1)[0]
            self.assertEqual((body(got), str(got.content_type)), (b'{"t":21}', "application/json"))
            self.assertEqual(got.to, "topic://" + place)

    def test_X1_mosquitto_and_paho_publish_and_amqp_has_it(self):
        topic = self.address("/hall")
        receivers = [self.client(kind) for kind in CLIENTS]
        for client in receivers:
            client.subscribe("topic://" + topic)
        for kind in MosquittoClients, Paho:
            kind.publish(self.broker, topic, "from " + kind.name, 1)
            for client in receivers:
                self.assertEqual(body(client.take("topic://" + topic, 1)[0]),
                                 b"from " + kind.name.encode())

    def test_X1_amqp_publishes_and_mqtt_has_it(self):
        topic = self.address("/hall")
        subscribers = [kind.Subscriber(self.broker, topic, 1) for kind in MQTT_CLIENTS]
        for kind in CLIENTS:
            client = self.client(kind)
            text = "from " + kind.name
            self.assertEqual(client.send("topic://" + topic, client.message(data=text.encode())),
                             ["accepted"])
            for subscriber in subscribers:
                self.assertEqual(subscriber.next().payload, text)
        for subscriber in subscribers:
            subscriber.leave()

    def test_X2_mqtt_into_a_queue_and_amqp_takes_it_later(self):
        """Settled once: it is gone, for every client and protocol."""
        for index, kind in enumerate(MQTT_CLIENTS):
            kind.publish(self.broker, "x2/kitchen/%d" % index, "from " + kind.name, 1)
        self.depth("x2/later", len(MQTT_CLIENTS))
        first = Proton(self.broker)
        got = first.take("queue://x2/later", 1)
        self.assertEqual(body(got[0]), b"from mosquitto-clients")
        first.close()
        second = self.client(Rhea)
        got = second.take("/queues/x2%2Flater", len(MQTT_CLIENTS) - 1)
        self.assertEqual([body(each) for each in got],
                         [b"from " + kind.name.encode() for kind in MQTT_CLIENTS[1:]])
        self.depth("x2/later", 0)
        self.session().receiver("queue://x2/later").nothing()

    def test_X3_retained_by_amqp_and_read_by_coap(self):
        for kind in CLIENTS:
            with self.subTest(kind.name):
                topic = self.address("/" + kind.name)
                client = self.client(kind)
                made = client.message(data=b'{"kept":1}', content_type="application/json",
                                      annotations={"x-opt-retain-message": True})
                self.assertEqual(client.send("topic://" + topic, made), ["accepted"])
                got = Libcoap.request(self.broker.coap_port, "GET", topic)
                self.assertEqual((got.code, got.text, format_of(got)), ("2.05", '{"kept":1}', JSON))
                late = MosquittoClients.Subscriber(self.broker, topic, 1)
                self.assertEqual(late.next(), (topic, '{"kept":1}', 1, True))
                late.leave()

    def test_X3_without_the_annotation_nothing_is_kept(self):
        link = self.session().sender("topic://" + self.address())
        state = link.send(message(data(b"gone")))
        self.assertEqual(state.name, "released")
        got = Libcoap.request(self.broker.coap_port, "GET", self.address())
        self.assertEqual(got.code, "4.04")


def body(got):
    """The body of a message as bytes, whatever a client makes of a data section."""
    return got.body.encode("latin-1") if isinstance(got.body, str) else bytes(got.body)


class Default(Lab):
    """`trefoil serve` as it is started by --listen; a lab's first steps in their own broker."""

    def test_a_broker_that_is_not_configured(self):
        broker = AmqpBroker().start()
        try:
            with Raw(broker) as raw:
                raw.open()
                session = raw.begin()
                self.assertEqual(session.sender("a").send("x").name, "accepted")
                self.assertEqual(session.receiver("a", credit=1).bodies(1), [b"x"])
                raw.leave()
        finally:
            broker.stop()


if __name__ == "__main__":
    main()
