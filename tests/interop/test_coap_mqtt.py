"""Lab X1 between CoAP and MQTT: one address space, seen by libcoap, node-coap and a raw client on
one side, mosquitto's clients, paho, mqtt.js and a raw client on the other.
"""

import os
import threading

import coap
from broker import DEADLINE, main
from clients import CLIENTS, MosquittoClients, Paho
from coap import (CBOR, CHANGED, CONTENT, CONTENT_FORMAT, CREATED, DELETE, ETAG, GET, JSON, LINKS,
                  MAX_AGE, NON, NOT_FOUND, OBSERVE, OCTETS, POST, PUT, TEXT, XML, CoapCase)
from coap_clients import Libcoap, Node
from raw import Raw
from test_coap_labs import CON_NOTES, links

TYPES = {JSON: "application/json", OCTETS: "application/octet-stream", XML: "application/xml",
         CBOR: "application/cbor", LINKS: "application/link-format"}


class Mixed(CoapCase):
    """Everything here may use both listeners."""

    def mqtt(self, *filters, version=5, qos=1):
        made = Raw(self.broker, version)
        self.addCleanup(made.drop)
        made.connect()
        if filters:
            made.subscribe(*filters, qos=qos)
        return made


class X1(Mixed):
    def test_X1_a_device_puts_and_all_have_it(self):
        """The lab itself, with each pair of clients."""
        for device in Libcoap, Node:
            for consumer in CLIENTS:
                with self.subTest("%s to %s" % (device.name, consumer.name)):
                    base = self.address("/%s-%s" % (device.name, consumer.name))
                    place = base + "/kitchen/temp"
                    device.request(self.broker.coap_port, "PUT", place, "20.0", form=TEXT)
                    subscriber = consumer.Subscriber(self.broker, base + "/#", 1)
                    self.assertEqual(subscriber.next()[:2], (place, "20.0"))
                    watchers = [kind.Observer(self.broker.coap_port, place)
                                for kind in (Libcoap, Node)]
                    for watcher in watchers:
                        self.addCleanup(watcher.vanish)
                        self.assertEqual(watcher.next()[2], "20.0")
                    device.request(self.broker.coap_port, "PUT", place, "21.5", form=TEXT)
                    got = subscriber.next()
                    self.assertEqual(got[:2] + (got.retain,), (place, "21.5", False))
                    for watcher in watchers:
                        watcher.until("21.5")
                    subscriber.leave()

    def test_X1_mqtt_publishes_and_coap_reads(self):
        for producer in CLIENTS:
            for reader in Libcoap, Node:
                with self.subTest("%s to %s" % (producer.name, reader.name)):
                    topic = self.address("/%s-%s" % (producer.name, reader.name))
                    producer.publish(self.broker, topic, "42", 1, retain=True)
                    got = reader.request(self.broker.coap_port, "GET", topic)
                    self.assertEqual((got.code, got.text), ("2.05", "42"))
                    producer.publish(self.broker, topic, "", 1, retain=True)
                    got = reader.request(self.broker.coap_port, "GET", topic)
                    self.assertEqual(got.code, "4.04")

    def test_X1_content_types_to_mqtt(self):
        client, subscriber = self.coap(), self.mqtt(self.address("/#"))
        for form, name in TYPES.items():
            client.put(self.address("/%d" % form), b"body", form=form)
            message = subscriber.message()
            self.assertEqual(message.props.get("content_type"), name)
        client.put(self.address("/0"), "text", form=TEXT)
        message = subscriber.message()
        self.assertRegex(message.props.get("content_type"), r"^text/plain(; ?charset=utf-8)?$")
        client.put(self.address("/none"), "what")
        self.assertNotIn("content_type", subscriber.message().props)
        client.put(self.address("/65000"), "own", form=65000)
        self.assertEqual(client.get(self.address("/65000")).uint(CONTENT_FORMAT), 65000)
        self.assertIn("65000", subscriber.message().props.get("content_type"))

    def test_X1_content_types_from_mqtt(self):
        client, publisher = self.coap(), self.mqtt()
        cases = dict(TYPES)
        cases[TEXT] = "text/plain;charset=utf-8"
        for form, name in cases.items():
            topic = self.address("/%d" % form)
            publisher.publish(topic, "body", 1, retain=True, properties={"content_type": name})
            got = client.get(topic)
            self.assertEqual((got.uint(CONTENT_FORMAT), got.text), (form, "body"))
        for name in "text/plain", "text/plain; charset=utf-8", "TEXT/PLAIN;charset=UTF-8":
            publisher.publish(self.address("/t"), "body", 1, retain=True,
                              properties={"content_type": name})
            self.assertEqual(client.get(self.address("/t")).uint(CONTENT_FORMAT), TEXT, name)
        publisher.publish(self.address("/u"), "body", 1, retain=True,
                          properties={"content_type": "application/x-unheard"})
        self.assertIsNone(client.get(self.address("/u")).uint(CONTENT_FORMAT))

    def test_X1_a_content_type_comes_back_as_it_was(self):
        """MQTT to MQTT nothing is changed by CoAP's being there."""
        publisher, subscriber = self.mqtt(), self.mqtt(self.address())
        self.coap().put(self.address(), "x", form=JSON)
        subscriber.message()
        for name in "text/plain; charset=utf-8", "application/x-unheard":
            publisher.publish(self.address(), "x", 1, retain=True,
                              properties={"content_type": name})
            self.assertEqual(subscriber.message().props["content_type"], name)

    def test_X1_paho_reads_the_content_type(self):
        self.coap().put(self.address(), "{}", form=JSON)
        subscriber = Paho.Subscriber(self.broker, self.address(), 1, version=5)
        got = Paho.event(subscriber.client, "message")
        self.assertEqual((got.properties.ContentType, got.retain), ("application/json", 1))
        subscriber.leave()

    def test_X1_expiry_becomes_max_age(self):
        client, publisher = self.coap(), self.mqtt()
        publisher.publish(self.address(), "x", 1, retain=True, properties={"message_expiry": 300})
        got = client.get(self.address())
        self.assertLessEqual(got.uint(MAX_AGE), 300)
        self.assertGreater(got.uint(MAX_AGE), 300 - DEADLINE)

    def test_X1_max_age_of_a_request_says_nothing(self):
        """It is defined for responses (5.10.5); elective, so it is ignored."""
        client, subscriber = self.coap(), self.mqtt(self.address())
        client.put(self.address(), "x", options=[(MAX_AGE, coap.uint(1))])
        self.assertNotIn("message_expiry", subscriber.message().props)
        self.assertIsNone(client.get(self.address()).uint(MAX_AGE))

    def test_X1_an_expired_value_is_gone(self):
        """A second of expiry; observers get 4.04, a GET too, and it is listed no more."""
        client, watcher, publisher = self.coap(), self.coap(), self.mqtt()
        publisher.publish(self.address(), "x", 1, retain=True, properties={"message_expiry": 1})
        seen = watcher.observe(self.address())
        self.assertFalse(seen.next(want=NOT_FOUND).has(OBSERVE))
        client.get(self.address(), want=NOT_FOUND)
        self.assertNotIn("/" + self.address(), client.get_large(".well-known/core")[0].decode())

    def test_X1_put_is_retained_and_delete_clears(self):
        client, subscriber = self.coap(), self.mqtt(self.address())
        client.put(self.address(), "kept")
        self.assertFalse(subscriber.message().retain)
        late = self.mqtt(self.address())
        message = late.message()
        self.assertEqual((message.payload, message.retain), (b"kept", 1))
        client.delete(self.address())
        self.assertEqual([m.message().payload for m in (subscriber, late)], [b"", b""])
        later = self.mqtt(self.address())
        later.publish(self.address("/fence"), "x", 1)
        client.post(self.address(), "again", want=CREATED)
        message = later.message()
        self.assertEqual((message.payload, message.retain), (b"again", 0))

    def test_X1_an_empty_body(self):
        """CoAP: an empty value. MQTT cannot say that: a retained empty message clears."""
        client, subscriber = self.coap(), self.mqtt(self.address())
        client.put(self.address(), "", want=CREATED)
        self.assertEqual(subscriber.message().payload, b"")
        self.assertEqual(client.get(self.address()).payload, b"")
        subscriber.publish(self.address(), "", 1, retain=True)
        client.get(self.address(), want=NOT_FOUND)

    def test_X1_quality_of_service(self):
        """CON is at least once, NON at most once."""
        client, subscriber = self.coap(), self.mqtt(self.address(), qos=2)
        client.put(self.address(), "con")
        self.assertEqual(subscriber.message().qos, 1)
        client.put(self.address(), "non", kind=NON)
        self.assertEqual(subscriber.message().qos, 0)

    def test_X1_large_both_ways(self):
        client = self.coap()
        subscriber = self.mqtt(self.address("/#"))
        body = os.urandom(200000)
        client.put_large(self.address("/c"), body)
        self.assertEqual(subscriber.message().payload, body)
        subscriber.publish(self.address("/m"), body[::-1], 1, retain=True)
        got, parts = client.get_large(self.address("/m"))
        self.assertEqual(got, body[::-1])
        self.assertEqual(len({part.option(ETAG) for part in parts}), 1)
        for reader in Libcoap, Node:
            got = reader.request(self.broker.coap_port, "GET", self.address("/m"), szx=6)
            self.assertTrue(got.payload == body[::-1], reader.name)

    def test_X1_half_a_body_is_no_message(self):
        client, subscriber = self.coap(), self.mqtt(self.address())
        client.request(coap.PUT, self.address(), b"h" * 64, want=coap.CONTINUE,
                       options=[(coap.BLOCK1, coap.block(0, True, 2))])
        client.get(self.address(), want=NOT_FOUND)
        subscriber.publish(self.address(), "fence", 1)
        self.assertEqual(subscriber.message().payload, b"fence")

    def test_X1_the_list_has_what_mqtt_retains(self):
        client, publisher = self.coap(), self.mqtt()
        publisher.publish(self.address("/a"), "12345", 1, retain=True,
                          properties={"content_type": "application/json"})
        publisher.publish(self.address("/b"), "x", 1)
        found = links(client.get_large(".well-known/core")[0].decode())
        self.assertEqual(found["/" + self.address("/a")],
                         {"ct": "50", "sz": "5", "obs": True})
        self.assertNotIn("/" + self.address("/b"), found)
        publisher.publish(self.address("/a"), "", 1, retain=True)
        found = links(client.get_large(".well-known/core")[0].decode())
        self.assertNotIn("/" + self.address("/a"), found)


class Names(Mixed):
    """MQTT topic a/b = CoAP path /a/b."""

    def test_names_that_both_have(self):
        client, subscriber = self.coap(), self.mqtt("N/#", "/N/#")
        for topic in ("N/ä/ö 1", "N//double", "N/end/", "/N/start", "N/a?b&c=d", "N/100%",
                      "N/" + "l" * 255, "N/€/日本", "N/...", "N/~'\"<>"):
            options = [(coap.URI_PATH, part.encode()) for part in topic.split("/")]
            client.put(options, "c", want=CREATED)
            self.assertEqual(subscriber.message().topic, topic)
            subscriber.publish(topic, "m", 1, retain=True)
            self.assertEqual(subscriber.message().topic, topic)
            self.assertEqual(client.get(options).text, "m", topic)
            client.delete(options)
            subscriber.message()

    def test_names_that_coap_cannot_say(self):
        """Levels `.`, `..` and those over 255 bytes; and what is reserved on CoAP."""
        client, publisher = self.coap(), self.mqtt()
        topics = ("N/./a", "N/..", "N/" + "l" * 256, ".well-known/core", "rd", "ps")
        for topic in topics:
            publisher.publish(topic, "m", 1, retain=True)
        found = client.get_large(".well-known/core")[0].decode()
        self.assertEqual([t for t in links(found) if t.startswith(("/N/", "/.well", "/rd"))], [])
        self.assertEqual(client.get(".well-known/core").uint(CONTENT_FORMAT), LINKS)
        for topic in topics:
            publisher.publish(topic, "", 1, retain=True)

    def test_odd_names_are_escaped_in_the_list(self):
        """RFC 6690 2, 3986: percent-encoded in the target; a reader that decodes finds it again."""
        client = self.coap()
        client.put([(coap.URI_PATH, self.address().split("/")[0].encode()),
                    (coap.URI_PATH, "a b>\"ü,;?%".encode())], "x")
        found = links(client.get_large(".well-known/core")[0].decode())
        mine = [t for t in found if t.startswith("/Names/a")]
        self.assertEqual(len(mine), 1)
        self.assertNotRegex(mine[0], r'[ >"?]')

    def test_mosquitto_sub_sees_a_coap_name(self):
        subscriber = MosquittoClients.Subscriber(self.broker, self.address("/+/temp"))
        Libcoap.request(self.broker.coap_port, "PUT", self.address("/k%C3%BCche/temp"), "7")
        got = subscriber.next()
        self.assertEqual((got.topic, got.payload), (self.address("/küche/temp"), "7"))
        subscriber.leave()


class Observers(Mixed):
    """While an address is observed its last publication, retained or not, is its value."""

    OPTIONS = CON_NOTES

    def test_retained_and_not(self):
        client, watcher, publisher = self.coap(), self.coap(), self.mqtt()
        publisher.publish(self.address(), "kept", 1, retain=True)
        seen = watcher.observe(self.address())
        self.assertEqual(seen.response.text, "kept")
        publisher.publish(self.address(), "passing", 1)
        seen.until("passing")
        self.assertEqual(client.get(self.address()).text, "passing")
        publisher.publish(self.address(), "kept too", 1, retain=True)
        seen.until("kept too")
        publisher.publish(self.address(), "passing too", 0)
        seen.until("passing too")
        seen.cancel()
        self.eventually(lambda: client.get(self.address()).text == "kept too",
                        "the retained value did not come back")
        self.assertEqual(self.mqtt(self.address()).message().payload, b"kept too")

    def test_the_etag_changes_with_the_value(self):
        client, watcher, publisher = self.coap(), self.coap(), self.mqtt()
        publisher.publish(self.address(), "a", 1, retain=True)
        seen = watcher.observe(self.address())
        tags = [seen.response.option(ETAG)]
        for text in "b", "c":
            publisher.publish(self.address(), text, 1)
            tags.append(seen.until(text)[-1].option(ETAG))
        self.assertEqual(len(set(tags)), 3, tags)
        self.assertEqual(client.get(self.address()).option(ETAG), tags[-1])
        seen.cancel()

    def test_content_type_of_a_notification(self):
        watcher, publisher = self.coap(), self.mqtt()
        publisher.publish(self.address(), "{}", 1, retain=True,
                          properties={"content_type": "application/json"})
        seen = watcher.observe(self.address())
        self.assertEqual(seen.response.uint(CONTENT_FORMAT), JSON)
        publisher.publish(self.address(), "[]", 1, properties={"content_type": "application/json"})
        self.assertEqual(seen.until("[]")[-1].uint(CONTENT_FORMAT), JSON)
        seen.cancel()

    def test_an_empty_retained_message_ends_it(self):
        watcher, publisher = self.coap(), self.mqtt()
        publisher.publish(self.address(), "x", 1, retain=True)
        seen = watcher.observe(self.address())
        publisher.publish(self.address(), "", 1, retain=True)
        self.assertFalse(seen.next(want=NOT_FOUND).has(OBSERVE))
        publisher.publish(self.address(), "y", 1, retain=True)
        watcher.silent(self.address())

    def test_real_observers_of_mqtt(self):
        topic = self.address()
        MosquittoClients.publish(self.broker, topic, "0", 1, retain=True)
        watchers = [kind.Observer(self.broker.coap_port, topic) for kind in (Libcoap, Node)]
        for watcher in watchers:
            self.addCleanup(watcher.vanish)
            self.assertEqual(watcher.next()[2], "0")
        for value in "1", "2", "3":
            Paho.publish(self.broker, topic, value, 1)
        for watcher in watchers:
            watcher.until("3")

    def test_all_end_with_the_same_value(self):
        """Writers of both kinds at once; each observer ends with what a GET gives, and so does the
        retained message."""
        topic = self.address()
        self.coap().put(topic, "start")
        seen = [self.coap().observe(topic) for _ in range(8)]
        failures = []

        def by_coap(name):
            try:
                with coap.Client(self.broker.coap_port) as writer:
                    for index in range(50):
                        writer.put(topic, "%s%d" % (name, index), want=CHANGED)
            except AssertionError as error:
                failures.append(error)

        def by_mqtt(name):
            try:
                with Raw(self.broker, 5) as writer:
                    writer.connect()
                    for index in range(50):
                        writer.publish(topic, "%s%d" % (name, index), 1, retain=True)
            except AssertionError as error:
                failures.append(error)

        threads = [threading.Thread(target=target, args=(name,))
                   for target, name in ((by_coap, "c"), (by_coap, "d"), (by_mqtt, "m"),
                                        (by_mqtt, "n"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(4 * DEADLINE)
        self.assertEqual(failures, [])
        final = self.coap().get(topic)
        for each in seen:
            if each.response.text != final.text:
                got = each.until(final.text, deadline=2 * DEADLINE)[-1]
                self.assertEqual(got.option(ETAG), final.option(ETAG))
        self.assertEqual(self.mqtt(topic).message().payload, final.payload)

    def test_many_observers(self):
        """A thousand of them, of twenty endpoints, are told of the last value."""
        topic = self.address()
        self.coap().put(topic, "0")
        clients = [self.coap() for _ in range(20)]
        for client in clients:
            client.prompt = True
        seen = [client.observe(topic) for client in clients for _ in range(50)]
        publisher = self.mqtt()
        for value in range(1, 4):
            publisher.publish(topic, str(value), 1, retain=True)
        for each in seen:
            each.until("3", deadline=10 * DEADLINE)
        publisher.publish(topic, "", 1, retain=True)
        for each in seen:
            each.next(want=NOT_FOUND, deadline=10 * DEADLINE)

    def test_many_values(self):
        """One client that observes 200 addresses; each is told of its own."""
        watcher, publisher = self.coap(), self.mqtt()
        watcher.prompt = True
        for index in range(200):
            publisher.publish(self.address("/%d" % index), "old", 1, retain=True)
        seen = [watcher.observe(self.address("/%d" % index)) for index in range(200)]
        for index in range(200):
            publisher.publish(self.address("/%d" % index), "new %d" % index, 1, retain=True)
        for index, each in enumerate(seen):
            self.assertEqual(each.until("new %d" % index, deadline=4 * DEADLINE)[-1].code, CONTENT)


class Closed(Mixed):
    """A listener without `allow_anonymous true`: as with MQTT, nobody gets in."""

    OPTIONS = ["allow_anonymous false"]

    def test_nobody_gets_in(self):
        client = self.coap()
        for method in (GET, PUT, POST, DELETE):
            answer = client.request(method, self.address(), b"x" if method in (PUT, POST) else b"")
            self.assertEqual(answer.code, coap.code("4.01"))
        self.assertEqual(client.request(GET, ".well-known/core").code, coap.code("4.01"))


if __name__ == "__main__":
    main()
