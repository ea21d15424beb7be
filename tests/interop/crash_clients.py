#!/usr/bin/python3
"""One client of script/crash, a process of its own, with a ledger of what it was told.

Told by a JSON object as its one argument, and by lines on stdin: `stop` makes a publisher end its
topics and wait for what is under way, and a subscriber stay; `quit` makes anybody end now. It says `ready` once it has
subscribed or connected, and `ended`; then its ledger is in the file that it was told.

It outlives the broker: whenever the connection ends, it comes back, as the same client with all that
it remembers. What is under way is sent again as each protocol says: MQTT with its packet id and DUP
on the resumed session (that is paho's part), AMQP as new deliveries in the old order, CoAP as the same
datagram. Every body tells its publisher and number and can be checked to the last byte.
"""

import json
import os
import random
import select
import sys
import time

import paho.mqtt.client as paho
import proton
import proton.handlers
import proton.reactor

import coap
import raw

TOPICS = 3      # of each publisher, used by turns
PAUSE = 0.01


def body(name, number, last=False):
    """What publisher `name` sends as its message `number`."""
    dice = random.Random("%s %d" % (name, number))
    size = dice.choices((0, dice.randrange(400), dice.randrange(4000), 40000), (20, 60, 19.5, 0.5))[0]
    if name.startswith("coap"):
        size %= 600     # of one datagram; blocks are another test's
    head = "%s %d %s " % (name, number, "end" if last else "go")
    return (head + "".join(dice.choices("abcdefgh", k=16)) * (size // 16)).encode()


def parse(data):
    """(publisher, number, last) of a body that is just as it was sent; None for any other."""
    try:
        name, number, word, _ = bytes(data).decode("ascii").split(" ", 3)
        found = name, int(number), word == "end"
    except ValueError:
        return None
    return found if bytes(data) == body(*found) else None


class Client:
    """What all have in common: the orders, the ledger."""

    def __init__(self, told):
        self.told, self.name = told, told["name"]
        self.stopping = self.over = False
        self.held = b""
        self.ledger = {"name": self.name, "trouble": [], "connections": 0, "done": False}
        self.host = "127.0.0.1"
        self.port, self.amqp_port = told["mqtt"], told["amqp"]

    def trouble(self, what):
        if len(self.ledger["trouble"]) < 20:
            self.ledger["trouble"].append(what)

    def orders(self):
        """Reads what stdin says, without waiting."""
        while select.select([0], [], [], 0)[0]:
            got = os.read(0, 4096)
            if not got:
                self.over = True
                return
            self.held += got
            while b"\n" in self.held:
                line, self.held = self.held.split(b"\n", 1)
                self.stopping |= line == b"stop"
                self.over |= line == b"quit"

    @staticmethod
    def say(word):
        print(word, flush=True)

    def close(self):
        with open(self.told["ledger"], "w", encoding="ascii") as file:
            json.dump(self.ledger, file)
        self.say("ended")


class Publisher(Client):
    """Numbers: sent from 0 on; `acked` once the broker has taken responsibility."""

    def __init__(self, told):
        super().__init__(told)
        self.next = 0
        self.left = TOPICS      # messages that are still to be sent once it is to stop: the last of each topic
        self.acked, self.lasts = set(), set()
        self.begun = time.monotonic()

    def due(self, under_way):
        """May another message be sent now?"""
        if self.stopping:
            return self.left > 0
        return under_way < self.told["window"] and \
            self.next < (time.monotonic() - self.begun) * self.told["rate"]

    def make(self):
        """(number, topic's number, body) of the next message."""
        number, self.next = self.next, self.next + 1
        if self.stopping:
            self.left -= 1
            self.lasts.add(number)
        return number, number % TOPICS, self.again(number)

    def again(self, number):
        return body(self.name, number, number in self.lasts)

    def finished(self):
        return self.over or (self.stopping and not self.left and len(self.acked) == self.next)

    def close(self):
        self.ledger.update(sent=self.next, done=len(self.acked) == self.next and self.stopping,
                           unacked=[n for n in range(self.next) if n not in self.acked][:50])
        super().close()


class Arrivals:
    """What a subscriber has got, in order, by publisher."""

    def __init__(self, client):
        self.client, self.ended = client, set()
        client.ledger["got"] = self.got = {}

    def take(self, where, data):
        found = parse(data)
        if found is None:
            self.client.trouble("not a body that anybody sent, at %s: %r" % (where, bytes(data)[:80]))
            return
        name, number, last = found
        self.got.setdefault(name, []).append(number)
        if last:
            self.ended.add((name, number % TOPICS))

    def complete(self):
        wanted = {(name, k) for name in self.client.told["from"] for k in range(TOPICS)}
        return wanted <= self.ended


# --- MQTT by paho ------------------------------------------------------------------------------------


class Remembering(paho.Client):
    """paho 1.6 forgets a PUBREC when it has to try twice to come back, and publishes anew what the broker
    may have released: that would be a second message. This one remembers."""

    def _messages_reconnect_reset_out(self):
        released = [message for message in self._out_messages.values() if message.state in
                    (paho.mqtt_ms_wait_for_pubcomp, paho.mqtt_ms_resend_pubrel)]
        super()._messages_reconnect_reset_out()
        for message in released:
            message.state = paho.mqtt_ms_resend_pubrel


class Paho(Client):
    """paho, driven in this thread: so nothing is sent between its CONNECT and what it resends."""

    def __init__(self, told):
        super().__init__(told)
        self.client = Remembering(self.name, clean_session=False, protocol=paho.MQTTv311)
        self.client.max_inflight_messages_set(told.get("window", 20))
        self.client.max_queued_messages_set(0)
        self.client.on_connect = self.on_connect
        self.client.on_disconnect = self.on_disconnect
        self.client.connect_async(self.host, self.port)
        self.up = False
        self.known = False      # the broker has acknowledged our session

    def on_connect(self, _client, _context, flags, code):
        if code:
            self.trouble("CONNACK with %d" % code)
            return
        if self.known and not flags["session present"]:
            self.trouble("the session is gone")
        self.known = self.up = True
        self.ledger["connections"] += 1

    def on_disconnect(self, *_):
        self.up = False

    def turn(self):
        """Comes back if it must, and handles what there is."""
        self.orders()
        if self.client.socket() is None:
            self.up = False
            try:
                self.before()
                self.client.reconnect()
            except OSError:
                time.sleep(PAUSE)
                return
        self.client.loop(PAUSE)

    def before(self):
        """Before it connects."""


class PahoPublisher(Publisher, Paho):
    def __init__(self, told):
        super().__init__(told)
        self.numbers = {}       # by packet id
        self.client.on_publish = self.on_publish

    def on_publish(self, _client, _context, packet_id):
        self.acked.add(self.numbers.pop(packet_id))

    def run(self):
        said = False
        while not self.finished():
            self.turn()
            if self.up and not said:
                self.say("ready")
                said = True
            while self.up and self.due(len(self.numbers)):
                number, k, data = self.make()
                sent = self.client.publish("%s/%s/%d" % (self.told["topic"], self.name, k), data,
                                           self.told["qos"], self.told.get("retain", False))
                self.numbers[sent.mid] = number
        self.close()


class PahoKeeper(PahoPublisher):
    """Publishes retained messages, and looks before each connection whether what is kept is the last
    acknowledged one or one that was sent after it."""

    def before(self):
        if not self.known:
            return
        floor = {}
        for number in sorted(self.acked)[-10 * TOPICS:]:
            floor[number % TOPICS] = number
        for k, least in floor.items():
            value = retained(self, "%s/%s/%d" % (self.told["topic"], self.name, k))
            found = parse(value) if value else None
            self.ledger["looks"] = self.ledger.get("looks", 0) + 1
            if not found or not least <= found[1] < self.next:
                self.trouble("retained: acknowledged %d, sent %d, kept %s" % (
                    least, self.next, found or repr((value or b"nothing")[:60])))


def retained(broker, topic):
    """The retained message of a topic, None if there is none, by a client of its own. OSError."""
    try:
        with raw.Raw(broker) as reader:
            reader.connect()
            reader.subscribe(topic, "fence/crash", qos=1)
            reader.publish("fence/crash", b"fence", 1)
            for packet in reader.until(b"fence"):
                if packet.retain:
                    return packet.payload
            return None
    except (raw.Closed, AssertionError) as gone:
        raise OSError(str(gone)) from None


class PahoSubscriber(Paho):
    """Of a persistent session; with `away` it leaves every so many messages, for up to a second."""

    def __init__(self, told):
        super().__init__(told)
        self.arrivals = Arrivals(self)
        self.client.on_message = lambda _client, _context, message: \
            self.arrivals.take(message.topic, message.payload)
        self.client.on_subscribe = self.on_subscribe
        self.subscribed = self.asked = False
        self.leave_at = told.get("away", 0)

    def on_connect(self, *arguments):
        super().on_connect(*arguments)
        self.asked = False

    def on_subscribe(self, _client, _context, _id, granted):
        if tuple(granted) != (self.told["qos"],):
            self.trouble("granted %s" % (granted,))
        if not self.subscribed:
            self.say("ready")
        self.subscribed = True

    def run(self):
        while not self.over and not self.arrivals.complete():
            self.turn()
            if self.up and not self.subscribed and not self.asked:
                self.client.subscribe(self.told["topic"], self.told["qos"])
                self.asked = True
            taken = sum(map(len, self.arrivals.got.values()))
            if self.leave_at and taken >= self.leave_at and self.up and not self.stopping:
                self.leave_at = taken + self.told["away"]
                self.client.disconnect()
                while self.client.socket() is not None:
                    self.client.loop(PAUSE)
                time.sleep(random.uniform(0, 1))
        self.ledger["done"] = self.arrivals.complete()
        self.close()


# --- AMQP by proton ----------------------------------------------------------------------------------


class Amqp(proton.handlers.MessagingHandler):
    """One connection after the other, each in a container of its own with the same name."""

    def __init__(self, client, **options):
        super().__init__(**options)
        self.client, self.connection, self.failed, self.closed = client, None, False, False

    def on_start(self, event):
        url = "amqp://127.0.0.1:%d" % self.client.amqp_port
        self.connection = event.container.connect(url, reconnect=False, allowed_mechs="ANONYMOUS")
        self.link(event.container)
        event.container.schedule(PAUSE, self)

    def on_timer_task(self, event):
        self.client.orders()
        self.tick()
        if self.client.finished():
            self.closed = True
            self.connection.close()
        elif not self.failed:
            event.container.schedule(PAUSE, self)

    def on_link_error(self, event):
        self.client.trouble("link: %s" % event.link.remote_condition)
        super().on_link_error(event)

    def on_connection_error(self, event):
        self.client.trouble("connection: %s" % event.connection.remote_condition)
        super().on_connection_error(event)

    def on_transport_error(self, event):
        self.failed = True      # no broker just now

    on_transport_tail_closed = on_transport_error

    def on_connection_opened(self, event):
        self.client.ledger["connections"] += 1

    def tick(self):
        pass


def container(client, handler):
    made = proton.reactor.Container(handler)
    made.container_id = client.name
    made.run()
    time.sleep(PAUSE)


class AmqpSender(Publisher):
    """Unsettled deliveries; what was not settled is sent again first."""

    def __init__(self, told):
        super().__init__(told)
        self.repeat, self.said = [], False

    def run(self):
        while not self.finished():
            self.orders()
            flow = AmqpSending(self)
            container(self, flow)
            self.repeat = sorted(set(flow.under_way.values()) | set(self.repeat))
        self.close()


class AmqpSending(Amqp):
    def __init__(self, client):
        super().__init__(client, auto_settle=False)
        self.under_way, self.sender, self.tags = {}, None, 0

    def link(self, made):
        # An AMQP queue is one address.
        self.sender = made.create_sender(self.connection, self.client.told["address"])

    def on_sendable(self, event):
        if not self.client.said:
            self.client.say("ready")
        self.client.said = True
        self.tick()

    def tick(self):
        client = self.client
        while self.sender.credit > 0 and (client.repeat or client.due(len(self.under_way))):
            if client.repeat:
                number = client.repeat.pop(0)
                data = client.again(number)
            else:
                number, _, data = client.make()
            self.tags += 1
            self.under_way[str(self.tags)] = number
            self.sender.send(proton.Message(body=data, inferred=True, durable=True),
                             tag=str(self.tags))

    def on_accepted(self, event):
        self.client.acked.add(self.under_way.pop(event.delivery.tag))
        event.delivery.settle()

    def refused(self, event):
        self.client.trouble("%s: %s" % (event.delivery.remote_state,
                                        event.delivery.remote.condition))

    on_rejected = on_released = on_modified = refused


class AmqpReceiver(Client):
    def __init__(self, told):
        super().__init__(told)
        self.arrivals = Arrivals(self)
        self.said, self.leaving = False, False
        self.leave_at = told.get("away", 0)

    def finished(self):
        return self.over or self.arrivals.complete() or self.leaving

    def run(self):
        while not self.finished():
            self.orders()
            container(self, AmqpReceiving(self, prefetch=50))
            if self.leaving:
                self.leave_at += self.told["away"]
                time.sleep(random.uniform(0, 1))
                self.leaving = False
        self.ledger["done"] = self.arrivals.complete()
        self.close()


class AmqpReceiving(Amqp):
    def link(self, made):
        options = []
        if self.client.told.get("subscription"):
            options.append(proton.reactor.DurableSubscription())
        made.create_receiver(self.connection, self.client.told["address"],
                             name=self.client.told.get("subscription"), options=options)

    def on_link_opened(self, event):
        if not self.client.said:
            self.client.say("ready")
        self.client.said = True

    def on_message(self, event):
        client = self.client
        if self.closed:     # nobody knows whether a word on this one is still sent
            raise proton.handlers.Release()
        client.arrivals.take(client.told["address"], event.message.body)
        taken = sum(map(len, client.arrivals.got.values()))
        client.leaving = 0 < client.leave_at <= taken and not client.stopping


# --- CoAP ----------------------------------------------------------------------------------------------


class CoapPutter(Publisher):
    """CON PUT, one at a time; the same datagram again until it is answered. Now and then, and whenever
    the broker was gone, it reads back: its value is the one that was acknowledged last, or one sent
    after that."""

    def __init__(self, told):
        super().__init__(told)
        self.coap = coap.Client(told["coap"])
        self.coap.patience = 0.1
        self.last = {}          # topic -> the number that was acknowledged last

    def ask(self, what, where, payload=b"", options=()):
        """(response, the broker was silent)."""
        request = self.coap.message(what, where, payload, options=options)
        silent = False
        while not self.over:
            self.orders()
            try:
                self.coap.send(request)
                answer = self.coap.wait(lambda got: got.token == request.token and got.code, 0.3)
                return self.coap.ack(answer), silent
            except (OSError, AssertionError):
                silent = True
                time.sleep(PAUSE)
        return None, silent

    def look(self, k):
        answer, _ = self.ask(coap.GET, "%s/%s/%d" % (self.told["topic"], self.name, k))
        if answer is None:
            return
        data = answer.payload
        found = parse(data)
        self.ledger["looks"] = self.ledger.get("looks", 0) + 1
        if answer.code != coap.CONTENT or not found or not self.last[k] <= found[1] < self.next:
            self.trouble("CoAP: acknowledged %d, sent %d, kept %s" % (self.last[k], self.next,
                                                                      found or answer))

    def run(self):
        self.ask(coap.GET, "%s/%s" % (self.told["topic"], self.name))
        self.say("ready")
        while not self.finished():
            self.orders()
            if not self.due(0):
                time.sleep(PAUSE)
                continue
            number, k, data = self.make()
            answer, silent = self.ask(coap.PUT, "%s/%s/%d" % (self.told["topic"], self.name, k), data)
            if answer is None:
                break
            if answer.code not in (coap.CREATED, coap.CHANGED):
                self.trouble("PUT %d: %s" % (number, answer))
            if k in self.last and answer.code == coap.CREATED:
                self.trouble("PUT %d: created, where %d was acknowledged" % (number, self.last[k]))
            self.acked.add(number)
            self.last[k] = number
            if silent or number % 50 == 0:
                self.look(k)
        self.ledger["connections"] = 1
        self.close()


ROLES = {"publisher": PahoPublisher, "keeper": PahoKeeper, "subscriber": PahoSubscriber,
         "sender": AmqpSender, "receiver": AmqpReceiver, "putter": CoapPutter}


def main():
    told = json.loads(sys.argv[1])
    random.seed(told["seed"])
    ROLES[told["role"]](told).run()


if __name__ == "__main__":
    main()
