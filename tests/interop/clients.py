"""The three real clients of the tests behind one small face, so that a test is written once.

Each class has `publish(...)`, a whole publication by a client of its own, and `Subscriber`, a
client that has subscribed. `options` of a subscriber: filter, qos, client_id, clean, version.
"""

import json
import os
import queue
import subprocess
import time

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from broker import DEADLINE, Lines, Message, Process

HERE = os.path.dirname(os.path.abspath(__file__))
FOREVER = 0xFFFFFFFF


class Gone(AssertionError):
    """The client did not do what it was asked to."""


class MosquittoClients:
    """mosquitto_pub and mosquitto_sub"""

    name = "mosquitto-clients"
    versions = {4: "311", 5: "5"}

    @classmethod
    def publish(cls, broker, topic, payload, qos=0, retain=False, version=4):
        args = ["mosquitto_pub", "-h", broker.host, "-p", str(broker.port), "-t", topic,
                "-q", str(qos), "-V", cls.versions[version]]
        args += ["-m", payload] if payload else ["-n"]
        process = Process(args + (["-r"] if retain else []))
        status = process.wait()
        if status:
            raise Gone("mosquitto_pub ended with %d: %s" % (status, process.err.text()))

    class Subscriber:
        def __init__(self, broker, filter_, qos=0, client_id=None, clean=True, version=4):
            args = ["stdbuf", "-oL", "mosquitto_sub", "-h", broker.host, "-p", str(broker.port),
                    "-t", filter_, "-q", str(qos), "-V", MosquittoClients.versions[version], "-d",
                    "-F", "message: %t %q %r %p"]
            if client_id:
                args += ["-i", client_id]
            if not clean:
                args += ["-c"] + (["-x", str(FOREVER)] if version == 5 else [])
            self.taken = 0
            self.process = Process(args)
            if not self.process.out.find(r"^Subscribed \(mid"):
                self.process.kill()
                raise Gone("mosquitto_sub did not subscribe: %s" % self.process.out.text())

        def next(self):
            self.taken += 1
            found = self.process.out.find(r"^message: (\S+) (\d) (\d) ?(.*)$", self.taken)
            if not found:
                raise Gone("no message: %s" % self.process.out.text())
            return Message(found[1], found[4], int(found[2]), found[3] == "1")

        def dropped(self):
            """It says so (5.0), or reconnects by itself, which shows that it was dropped."""
            found = self.process.out.find(r"sending CONNECT|Received DISCONNECT \(142\)", 2)
            self.process.kill()
            if not found:
                raise Gone("the client was not dropped: %s" % self.process.out.text())

        def abandon(self):
            self.process.kill()

        def leave(self):
            """SIGINT makes mosquitto_sub disconnect in order."""
            self.process.stop(2)


class Paho:
    """python3-paho-mqtt"""

    name = "paho"

    @staticmethod
    def client(client_id="", clean=True, version=4, connect=None, properties=None):
        if version == 5:
            client = paho.Client(client_id, protocol=paho.MQTTv5)
        else:
            client = paho.Client(client_id, clean_session=clean, protocol=paho.MQTTv311)
        client.events = {kind: queue.Queue() for kind in
                         ("connect", "disconnect", "message", "subscribe", "unsubscribe")}
        client.on_connect = lambda *a: client.events["connect"].put(a[2:])
        client.on_disconnect = lambda *a: client.events["disconnect"].put(a[2:])
        client.on_message = lambda *a: client.events["message"].put(a[2])
        client.on_subscribe = lambda *a: client.events["subscribe"].put(a[2:])
        client.on_unsubscribe = lambda *a: client.events["unsubscribe"].put(a[2:])
        if connect:
            extra = {}
            if version == 5:
                extra = {"clean_start": clean, "properties": properties}
                if not clean and properties is None:
                    extra["properties"] = Paho.properties("CONNECT", SessionExpiryInterval=FOREVER)
            client.connect(connect.host, connect.port, **extra)
            client.loop_start()
            client.connack = Paho.event(client, "connect")
        return client

    @staticmethod
    def properties(packet, **values):
        out = Properties(getattr(PacketTypes, packet))
        for name, value in values.items():
            setattr(out, name, value)
        return out

    @staticmethod
    def event(client, kind):
        try:
            return client.events[kind].get(timeout=DEADLINE)
        except queue.Empty:
            raise Gone("paho: no %s within the deadline" % kind) from None

    @staticmethod
    def close(client):
        client.disconnect()
        Paho.event(client, "disconnect")
        client.loop_stop()

    @classmethod
    def publish(cls, broker, topic, payload, qos=0, retain=False, version=4):
        client = cls.client(version=version, connect=broker)
        client.publish(topic, payload or None, qos, retain).wait_for_publish(DEADLINE)
        if not qos:
            # What follows on the same connection is handled later.
            client.publish("fence/paho", "x", 1).wait_for_publish(DEADLINE)
        cls.close(client)

    class Subscriber:
        def __init__(self, broker, filter_, qos=0, client_id="", clean=True, version=4):
            self.client = Paho.client(client_id, clean, version, broker)
            self.client.subscribe(filter_, qos)
            Paho.event(self.client, "subscribe")

        def next(self):
            got = Paho.event(self.client, "message")
            return Message(got.topic, got.payload.decode(), got.qos, bool(got.retain))

        def dropped(self):
            reason = Paho.event(self.client, "disconnect")
            self.client.disconnect()
            self.client.loop_stop()
            if not reason[0]:
                raise Gone("paho: an orderly end, not a drop")

        def abandon(self):
            self.client.disconnect()
            self.client.loop_stop()

        def leave(self):
            Paho.close(self.client)


class Js:
    """mqtt.js in a process of its own"""

    def __init__(self):
        self.child = subprocess.Popen(["node", os.path.join(HERE, "mqttjs.js")], cwd=HERE,
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, text=True)
        self.out, self.err, self.seen = Lines(self.child.stdout), Lines(self.child.stderr), {}

    def tell(self, what, **fields):
        self.child.stdin.write(json.dumps(dict(fields, do=what)) + "\n")
        self.child.stdin.flush()

    def event(self, kind):
        """The next event of this kind."""
        self.seen[kind] = self.seen.get(kind, 0) + 1
        found = self.out.find(r'^{"event":"%s".*$' % kind, self.seen[kind])
        if not found:
            raise Gone("mqtt.js: no %s in %s\n%s" % (kind, self.out.text(), self.err.text()))
        return json.loads(found[0])

    def ask(self, what, reply, **fields):
        self.tell(what, **fields)
        event = self.event(reply)
        if event.get("error"):
            raise Gone("mqtt.js: %s: %s" % (what, event["error"]))
        return event

    def connect(self, broker, client_id=None, clean=True, version=4, **options):
        options.update(protocolVersion=version, clean=clean)
        if client_id:
            options["clientId"] = client_id
        if version == 5 and not clean:
            options.setdefault("properties", {"sessionExpiryInterval": FOREVER})
        return self.ask("connect", "connect", port=broker.port, options=options)

    def quit(self):
        self.child.stdin.close()
        try:
            self.child.wait(DEADLINE)
        finally:
            self.child.kill()


class MqttJs:
    """npm mqtt"""

    name = "mqtt.js"

    @staticmethod
    def publish(broker, topic, payload, qos=0, retain=False, version=4):
        js = Js()
        try:
            js.connect(broker, version=version)
            js.ask("publish", "published", topic=topic, payload=payload,
                   options={"qos": qos, "retain": retain})
            if not qos:
                # What follows on the same connection is handled later.
                js.ask("publish", "published", topic="fence/js", payload="", options={"qos": 1})
            js.ask("end", "ended")
        finally:
            js.quit()

    class Subscriber:
        def __init__(self, broker, filter_, qos=0, client_id=None, clean=True, version=4):
            self.js = Js()
            self.js.connect(broker, client_id, clean, version)
            self.js.ask("subscribe", "subscribed", filter=filter_, options={"qos": qos})

        def next(self):
            got = self.js.event("message")
            return Message(got["topic"], got["payload"], got["qos"], got["retain"])

        def dropped(self):
            self.js.event("close")
            self.js.quit()

        def abandon(self):
            self.js.quit()

        def leave(self):
            self.js.ask("end", "ended")
            self.js.quit()


CLIENTS = (MosquittoClients, Paho, MqttJs)


def until(subscriber, payload):
    """Messages of a Subscriber up to the one with this payload, without it."""
    messages = []
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        message = subscriber.next()
        if message.payload == payload:
            return messages
        messages.append(message)
    raise Gone("%r did not come, but %s" % (payload, messages))
