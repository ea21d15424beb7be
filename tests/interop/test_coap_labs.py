"""Labs C1 to C12 of the CoAP course, as a reader would try them on the broker, with libcoap's
coap-client and with node-coap. C8 and FETCH are shown by the example server (test_coap_etsi.py);
X1 and all that joins CoAP and MQTT is in test_coap_mqtt.py.
"""

import json
import os
import statistics

import coap
from broker import SLOW, main
from coap import (ACCEPT, ACK, BAD_FORMAT, BLOCK1, BLOCK2, CHANGED, CON, CONFLICT, CONTENT,
                  CONTENT_FORMAT, CREATED, DELETE, DELETED, ETAG, GET, IF_MATCH, IF_NONE_MATCH,
                  IPATCH, JSON, JSON_PATCH, LINKS, LOCATION_PATH, MERGE_PATCH, NO_RESPONSE, NON,
                  NOT_ACCEPTABLE, NOT_ALLOWED, NOT_FOUND, OBSERVE, PATCH, POST, PRECONDITION, PUT,
                  SIZE2, TEXT, VALID, CoapCase, Message, block, decode, newer)
from coap_clients import Libcoap, Node, format_of
from coap_relay import DOWN, UP, Fate, Relay
from raw import Raw

CON_NOTES = ["coap_notify con"]


def links(text):
    """Link format (RFC 6690) as {target: {attribute: value}}, strictly enough for a test."""
    found, at = {}, 0
    while at < len(text):
        if text[at] != "<":
            raise coap.CoapError("no link at %r" % text[at:])
        end = text.index(">", at)
        target, attributes, at = text[at + 1:end], {}, end + 1
        while at < len(text) and text[at] == ";":
            at += 1
            end = at
            while end < len(text) and text[end] not in "=;,":
                end += 1
            name, value, at = text[at:end], True, end
            if at < len(text) and text[at] == "=":
                if text[at + 1] == '"':
                    end = at + 2
                    while text[end] != '"':
                        end += 2 if text[end] == "\\" else 1
                    value, at = text[at + 2:end].replace('\\"', '"'), end + 1
                else:
                    end = at + 1
                    while end < len(text) and text[end] not in ";,":
                        end += 1
                    value, at = text[at + 1:end], end
            attributes[name] = value
        if target in found:
            raise coap.CoapError("%s is there twice" % target)
        found[target] = attributes
        if at < len(text):
            if text[at] != ",":
                raise coap.CoapError("no comma at %r" % text[at:])
            at += 1
    return found


class Labs:
    """C1 to C6 and C9 with one real client."""

    client = None

    def ask(self, method, path, payload=None, **more):
        return self.client.request(self.broker.coap_port, method, path, payload, **more)

    def observer(self, path, **more):
        made = self.client.Observer(self.broker.coap_port, path, **more)
        self.addCleanup(made.vanish)
        return made

    def test_C1_get(self):
        good = self.coap()
        for name in "temp", "humidity":
            good.put(self.address("/" + name), "21 " + name, form=TEXT)
            got = self.ask("GET", self.address("/" + name))
            self.assertEqual((got.code, got.text, format_of(got)), ("2.05", "21 " + name, TEXT))
        self.assertEqual(self.ask("GET", self.address("/none")).code, "4.04")

    def test_C1_get_by_NON(self):
        self.coap().put(self.address(), "x")
        self.assertEqual(self.ask("GET", self.address(), kind="NON").text, "x")
        self.assertEqual(self.ask("GET", self.address("/none"), kind="NON").code, "4.04")

    def test_C2_post_creates(self):
        made = self.ask("POST", self.address(), "{temp:100}")
        self.assertEqual(made.code, "2.01")
        self.assertEqual(made.options.get("Location-Path"), self.address().split("/"))
        self.assertEqual(self.ask("GET", self.address()).text, "{temp:100}")
        self.assertEqual(self.ask("POST", self.address(), "{temp:99}").code, "2.04")
        self.assertEqual(self.ask("GET", self.address()).text, "{temp:99}")

    def test_C3_put_changes(self):
        self.assertEqual(self.ask("PUT", self.address(), "ON", form=TEXT).code, "2.01")
        for value in "OFF", "ON":
            self.assertEqual(self.ask("PUT", self.address(), value, form=TEXT).code, "2.04")
            self.assertEqual(self.ask("GET", self.address()).text, value)

    def test_C3_put_by_NON(self):
        self.assertEqual(self.ask("PUT", self.address(), "ON", kind="NON").code, "2.01")
        self.assertEqual(self.ask("PUT", self.address(), "OFF", kind="NON").code, "2.04")

    def test_C3_every_observer_is_told(self):
        self.ask("PUT", self.address(), "OFF", form=TEXT)
        raw = self.coap().observe(self.address())
        real = [self.observer(self.address()) for _ in range(2)]
        for each in real:
            self.assertEqual(each.next()[2], "OFF")
        self.ask("PUT", self.address(), "ON", form=TEXT)
        raw.until("ON")
        for each in real:
            each.until("ON")

    def test_C4_delete(self):
        self.ask("PUT", self.address(), "x")
        seen = self.coap().observe(self.address())
        self.assertEqual(self.ask("DELETE", self.address()).code, "2.02")
        self.assertEqual(self.ask("GET", self.address()).code, "4.04")
        final = seen.next(want=NOT_FOUND)
        self.assertFalse(final.has(OBSERVE))
        self.assertEqual(self.ask("DELETE", self.address()).code, "2.02")

    def test_C5_discover(self):
        self.coap().put(self.address("/a"), "text", form=TEXT)
        self.coap().put(self.address("/b"), "{}", form=JSON)
        got = self.ask("GET", ".well-known/core")
        self.assertEqual((got.code, format_of(got)), ("2.05", LINKS))
        found = links(got.text)["/" + self.address("/a")]
        self.assertIn("obs", found)
        self.assertEqual((found["ct"], found["sz"]), ("0", "4"))
        self.assertEqual(links(got.text)["/" + self.address("/b")]["ct"], "50")

    def test_C5_discover_with_a_filter(self):
        self.coap().put(self.address("/a"), "text", form=TEXT)
        self.coap().put(self.address("/b"), "{}", form=JSON)
        got = self.ask("GET", ".well-known/core", queries=("href=/%s/*" % self.address(),))
        self.assertEqual(set(links(got.text)), {"/" + self.address(x) for x in ("/a", "/b")})
        got = self.ask("GET", ".well-known/core", queries=("href=/" + self.address("/a"),))
        self.assertEqual(set(links(got.text)), {"/" + self.address("/a")})

    def test_C6_observe(self):
        """The first value is the present one, numbers grow, and the last value arrives."""
        good = self.coap()
        good.put(self.address(), "0", form=TEXT)
        seen = self.observer(self.address())
        self.assertEqual(seen.next()[2], "0")
        for value in range(1, 6):
            good.put(self.address(), str(value), form=TEXT)
        numbers = [int(m[1]["Observe"][0] if isinstance(m[1]["Observe"], list)
                       else m[1]["Observe"]) for m in seen.until("5")]
        for old, new in zip(numbers, numbers[1:]):
            self.assertTrue(newer(old, new), numbers)
        seen.leave()
        good.put(self.address(), "6", form=TEXT)

    def test_C9_large_get(self):
        body = os.urandom(5000)
        self.coap().put_large(self.address(), body)
        for szx in None, 6, 4, 0:
            got = self.ask("GET", self.address(), szx=szx)
            self.assertEqual((got.code, got.payload == body), ("2.05", True), "szx %s" % szx)

    def test_C9_large_put_and_post(self):
        for method, codes in ("PUT", ("2.01", "2.04")), ("POST", ("2.01", "2.04")):
            for szx in 6, 3:
                body = os.urandom(3000 + szx)
                address = self.address("/" + method)
                self.assertIn(self.ask(method, address, body, szx=szx).code, codes)
                self.assertEqual(self.coap().get_large(address)[0], body)

    def test_C11_patch(self):
        good = self.coap()
        good.put(self.address(), '{"a":1,"b":2}', form=JSON)
        for method in "PATCH", "iPATCH":
            self.assertEqual(self.ask(method, self.address(), '{"b":null,"c":[3]}',
                                      form=MERGE_PATCH).code, "2.04")
            got = good.get(self.address())
            self.assertEqual((json.loads(got.text), got.uint(CONTENT_FORMAT)),
                             ({"a": 1, "c": [3]}, JSON))


class LabsLibcoap(Labs, CoapCase):
    client = Libcoap

    def test_C7_the_first_datagram_is_lost(self):
        """coap-client's own loss: it repeats after two to three seconds."""
        got = Libcoap.run(self.broker.coap_port, self.address(), "put", "x", "-l", "1")
        self.assertEqual(got.code, "2.01")

    def test_C6_observe_and_vanish(self):
        """A client that is killed costs nobody anything."""
        good = self.coap()
        good.put(self.address(), "0")
        gone, seen = self.observer(self.address()), good.observe(self.address())
        gone.next()
        gone.vanish()
        for value in "1", "2", "3":
            good.put(self.address(), value)
        seen.until("3")


class LabsNode(Labs, CoapCase):
    client = Node

    def test_C12_many_at_once(self):
        """node-coap sends all of them before it has any answer."""
        good = self.coap()
        for index in range(40):
            good.put(self.address("/%d" % index), "value %d" % index)
        node = Node()
        try:
            begun = [node.begin(self.broker.coap_port, "GET", self.address("/%d" % index))
                     for index in range(40)]
            for index, handle in reversed(list(enumerate(begun))):
                self.assertEqual(node.end(handle).text, "value %d" % index)
        finally:
            node.quit()


class OnTheWire(CoapCase):
    """What the course has its readers see in the packets, with a raw client."""

    OPTIONS = CON_NOTES

    def test_C1_the_answer_is_piggybacked(self):
        client = self.coap()
        client.put(self.address(), "21", form=TEXT)
        for where, code in (self.address(), CONTENT), (self.address("/none"), NOT_FOUND):
            request = client.message(GET, where)
            client.send(request)
            answer = client.expect(ACK, code)
            self.assertEqual((answer.mid, answer.token), (request.mid, request.token))

    def test_C1_tokens_of_each_length(self):
        client = self.coap()
        client.put(self.address(), "21")
        for length in range(9):
            answer = client.get(self.address(), token=bytes(range(length)))
            self.assertEqual(answer.token, bytes(range(length)))

    def test_C1_Uri_Host_and_Uri_Port_are_taken(self):
        client = self.coap()
        client.put(self.address(), "21")
        options = [(coap.URI_HOST, b"localhost"), (coap.URI_PORT, coap.uint(self.broker.coap_port))]
        self.assertEqual(client.get(self.address(), options=options).text, "21")

    def test_C2_location_path_of_POST_only(self):
        client = self.coap()
        made = client.post(self.address("/é and more"), "x", want=CREATED)
        self.assertEqual(made.texts(LOCATION_PATH), self.address("/é and more").split("/"))
        self.assertFalse(client.post(self.address("/é and more"), "y", want=CHANGED).payload)
        self.assertEqual(client.put(self.address("/put"), "x", want=CREATED).all(LOCATION_PATH), [])

    def test_C3_an_empty_body_is_an_empty_value(self):
        client = self.coap()
        client.put(self.address(), "", want=CREATED)
        self.assertEqual(client.get(self.address()).payload, b"")
        client.put(self.address(), "", want=CHANGED)

    def test_C4_each_observer_gets_a_last_404_and_no_more(self):
        client, watchers = self.coap(), [self.coap() for _ in range(3)]
        client.put(self.address(), "x")
        seen = [watcher.observe(self.address()) for watcher in watchers]
        client.delete(self.address())
        for each in seen:
            self.assertFalse(each.next(want=NOT_FOUND).has(OBSERVE))
        client.put(self.address(), "y", want=CREATED)
        for watcher in watchers:
            watcher.silent(self.address())

    def test_C5_filters(self):
        client = self.coap()
        base = "/" + self.address()
        client.put(self.address("/a"), "text", form=TEXT)
        client.put(self.address("/ab"), "{}", form=JSON)
        client.put(self.address("/none"), "?")

        def ask(*queries):
            got = client.get_large(".well-known/core", queries=queries)[0].decode()
            return {target for target in links(got) if target.startswith(base)}

        every = {base + "/a", base + "/ab", base + "/none"}
        self.assertEqual(ask(), every)
        self.assertEqual(ask("href=%s/a*" % base), {base + "/a", base + "/ab"})
        self.assertEqual(ask("href=%s/a" % base), {base + "/a"})
        self.assertEqual(ask("href=%s/x" % base), set())
        self.assertEqual(ask("ct=50"), {base + "/ab"})
        self.assertEqual(ask("ct=5*"), {base + "/ab"})
        self.assertEqual(ask("ct=0"), {base + "/a"})
        self.assertEqual(ask("sz=4"), {base + "/a"})
        self.assertEqual(ask("obs=*") | ask("href=*"), every)
        for query in "rt=*", "rt=none", "if=*", "if=none", "unheard=*":
            self.assertEqual(ask(query), set(), query)

    def test_C5_discovery_is_observable(self):
        """A link comes and goes; the value itself may change without a word."""
        client, watcher = self.coap(), self.coap()
        base = "/" + self.address()
        seen = watcher.observe(".well-known/core", queries=("href=%s*" % base,))
        self.assertTrue(seen.active)
        self.assertEqual(seen.response.uint(CONTENT_FORMAT), LINKS)
        client.put(self.address(), "x")
        while base not in links(seen.next().text):
            pass
        client.delete(self.address())
        while base in links(seen.next().text):
            pass
        self.assertFalse(seen.cancel().has(OBSERVE))

    def test_C5_a_long_list_is_one_snapshot(self):
        """Block-wise, with one ETag, and nothing is lost or twice while links come and go."""
        client, other = self.coap(), self.coap()
        names = {"/" + self.address("/%03d" % index) for index in range(100)}
        for name in names:
            client.put(name, "x")
        for szx in 6, 2:
            query = ("href=/%s*" % self.address(),)
            first = client.get(".well-known/core", options=[(BLOCK2, block(0, False, szx))],
                               queries=query)
            other.put(self.address("/zzz"), "new")
            other.delete(self.address("/zzz"))
            whole, parts = client.get_large(".well-known/core", szx, first=first, queries=query)
            self.assertEqual(set(links(whole.decode())), names)
            self.assertEqual(len({part.option(ETAG) for part in parts}), 1)

    def test_C6_stop_by_Observe_1(self):
        client, watcher = self.coap(), self.coap()
        client.put(self.address(), "0")
        seen = watcher.observe(self.address())
        client.put(self.address(), "1")
        seen.until("1")
        last = seen.cancel()
        self.assertEqual((last.code, last.text, last.has(OBSERVE)), (CONTENT, "1", False))
        client.put(self.address(), "2")
        watcher.silent(self.address())

    def test_C6_stop_by_RST(self):
        client, watcher = self.coap(), self.coap()
        client.put(self.address(), "0")
        seen = watcher.observe(self.address())
        client.put(self.address(), "1")
        watcher.reset(seen.next(ack=False))
        client.put(self.address(), "2")
        watcher.silent(self.address())

    def test_C6_another_GET_stops_nothing(self):
        client, watcher = self.coap(), self.coap()
        client.put(self.address(), "0")
        seen = watcher.observe(self.address())
        watcher.get(self.address())
        client.put(self.address(), "1")
        seen.until("1")
        seen.cancel()

    def test_C6_where_nothing_is(self):
        """4.04, no registration: a value that comes later is not told."""
        client, watcher = self.coap(), self.coap()
        seen = watcher.observe(self.address(), want=NOT_FOUND)
        self.assertFalse(seen.active)
        client.put(self.address(), "1")
        watcher.silent(self.address())

    def test_C6_registered_again_with_the_same_token(self):
        """RFC 7641 4.1: one registration, not two."""
        client, watcher = self.coap(), self.coap()
        client.put(self.address(), "0")
        watcher.observe(self.address(), token=b"one")
        seen = watcher.observe(self.address(), token=b"one")
        client.put(self.address(), "1")
        seen.until("1")
        watcher.silent(self.address())
        seen.cancel()

    def test_C6_the_value_that_is_told_is_the_newest(self):
        """While a notification waits for its ACK newer values replace each other (4.5)."""
        client, watcher = self.coap(), self.coap()
        client.put(self.address(), "0")
        seen = watcher.observe(self.address())
        client.put(self.address(), "1")
        first = seen.next(ack=False)
        self.assertEqual(first.text, "1")
        for value in range(2, 30):
            client.put(self.address(), str(value))
        watcher.ack(first)
        told = [m.text for m in seen.until("29")]
        self.assertLessEqual(len(told), 2, told)
        self.assertEqual(client.get(self.address()).text, "29")
        seen.cancel()

    def test_C6_another_content_format_ends_it(self):
        """RFC 7641 4.2: where Accept cannot be kept, 4.06 and removed; without Accept, either a
        notification in the new format or that."""
        client, watcher = self.coap(), self.coap()
        client.put(self.address(), "0", form=TEXT)
        seen = watcher.observe(self.address(), options=[(ACCEPT, b"")])
        client.put(self.address(), "{}", form=JSON)
        self.assertFalse(seen.next(want=NOT_ACCEPTABLE).has(OBSERVE))
        client.put(self.address(), "1", form=TEXT)
        watcher.silent(self.address())

    def test_C7_a_lost_request_and_a_lost_reply(self):
        """The reply to a duplicate is the same, and MQTT saw one publication of each."""
        with Raw(self.broker, 5) as witness, Relay(
                self.broker.coap_port, Fate(1, plan=["drop"]), Fate(2, plan=["drop", "twice"])
                ) as relay, coap.Client(relay.port) as client:
            witness.connect()
            witness.subscribe(self.address("/#"), qos=1)
            client.post(self.address("/a"), "once", want=CREATED)
            client.put(self.address("/a"), "then", want=CHANGED)
            client.put(self.address("/fence"), "fence")
            got = [m.payload for m in witness.until("fence")]
            self.assertEqual(got, [b"once", b"then"])
            self.assertEqual((relay.count(UP, "drop"), relay.count(DOWN, "drop")), (1, 1))

    def test_C7_loss_repetition_and_disorder(self):
        """A hundred writes over a bad network: each done once, in the order they were made."""
        with Raw(self.broker, 5) as witness, Relay(
                self.broker.coap_port, Fate(11, 0.1, 0.1, 0.1), Fate(12, 0.1, 0.1, 0.1)
                ) as relay, coap.Client(relay.port) as client:
            witness.connect()
            witness.subscribe(self.address(), qos=1)
            client.patience = 0.1 * SLOW
            for index in range(100):
                client.put(self.address(), str(index))
            client.put(self.address(), "fence")
            self.assertEqual([m.payload for m in witness.until("fence")],
                             [str(index).encode() for index in range(100)])
            self.assertGreater(relay.count(UP, "drop") + relay.count(DOWN, "drop"), 5)

    def test_C7_NON_is_not_repeated(self):
        """Neither a request's answer nor what comes for it: one datagram, then silence."""
        client = self.coap()
        client.put(self.address(), "x")
        request = client.message(GET, self.address(), kind=NON)
        client.send(request)
        answer = client.expect(NON, CONTENT)
        self.assertEqual(answer.token, request.token)
        client.silent(self.address())

    def test_C7_no_response_wanted(self):
        """RFC 7967: 2 suppresses what went well, 8 and 16 the errors; a CON gets its ACK."""
        client = self.coap()
        client.send(client.message(PUT, self.address(), "x", kind=NON,
                                   options=[(NO_RESPONSE, b"\x02")]))
        client.silent(self.address())
        client.send(client.message(GET, self.address("/none"), kind=NON,
                                   options=[(NO_RESPONSE, b"\x08")]))
        client.silent(self.address())
        request = client.message(PUT, self.address(), "y", options=[(NO_RESPONSE, b"\x02")])
        client.send(request)
        answer = client.expect(ACK)
        self.assertEqual((answer.raw, client.get(self.address()).text),
                         (bytes([0x60, 0]) + request.mid.to_bytes(2, "big"), "y"))

    def test_C9_each_size_each_way(self):
        """Every block size both ways, and values around the edges of blocks."""
        client = self.coap()
        for szx in range(7):
            size = 16 << szx
            for length in (1, size - 1, size, size + 1, 3 * size, 3 * size + 1):
                body = bytes((i * 7 + szx) & 0xff for i in range(length))
                client.put_large(self.address(), body, szx)
                got, parts = client.get_large(self.address(), szx)
                self.assertEqual(got, body, "szx %d, %d bytes" % (szx, length))
                self.assertEqual(len({part.option(ETAG) for part in parts}), 1)

    def test_C9_late_negotiation(self):
        """No Block2 in the request: the server begins with what it likes; then smaller ones."""
        client = self.coap()
        body = os.urandom(4000)
        client.put_large(self.address(), body)
        first = client.get(self.address())
        num, more, szx = first.block(BLOCK2)
        self.assertEqual((num, more, len(first.payload)), (0, True, 16 << szx))
        at = len(first.payload) // 64
        rest = client.get_large(self.address(), 2, start=at)[0]
        self.assertEqual(first.payload + rest, body)

    def test_C9_random_access(self):
        client = self.coap()
        body = os.urandom(5000)
        client.put_large(self.address(), body)
        for szx, num in (0, 311), (6, 4), (3, 0), (5, 7), (0, 312), (2, 50):
            got = client.get(self.address(), options=[(BLOCK2, block(num, False, szx))])
            size = 16 << szx
            self.assertEqual(got.payload, body[num * size:(num + 1) * size])
            self.assertEqual(got.block(BLOCK2), (num, (num + 1) * size < 5000, szx))

    def test_C9_the_size_is_told_when_asked_for(self):
        client = self.coap()
        client.put_large(self.address(), b"z" * 3000)
        options = [(BLOCK2, block(0, False, 4)), (SIZE2, b"")]
        self.assertEqual(client.get(self.address(), options=options).uint(SIZE2), 3000)

    def test_C9_a_transfer_is_one_representation(self):
        """The value changes between two blocks: the ETag tells, so no body is a mixture."""
        client, other = self.coap(), self.coap()
        client.put_large(self.address(), b"1" * 2000)
        first = client.get(self.address(), options=[(BLOCK2, block(0, False, 5))])
        other.put_large(self.address(), b"2" * 2000)
        second = client.request(GET, self.address(), options=[(BLOCK2, block(1, False, 5))])
        if second.code == CONTENT and second.option(ETAG) == first.option(ETAG):
            self.assertEqual(second.payload, b"1" * 512)
        elif second.code == CONTENT:
            self.assertEqual(second.payload, b"2" * 512)

    def test_C9_a_large_put_answers_with_its_block(self):
        """RFC 7959 2.3, 2.5: 2.31 for each, and the last response has the option of the last."""
        client = self.coap()
        response = client.put_large(self.address(), b"b" * 100, 1, want=CREATED)
        self.assertEqual(response.block(BLOCK1), (3, False, 1))
        client.get(self.address("/other"), want=NOT_FOUND)

    def test_C9_observers_of_a_large_value(self):
        """RFC 7959 2.6: the notification is block 0, the rest is fetched by GET."""
        client, watcher = self.coap(), self.coap()
        client.put_large(self.address(), b"a" * 3000)
        seen = watcher.observe(self.address(), options=[(BLOCK2, block(0, False, 6))])
        self.assertEqual(seen.response.block(BLOCK2)[:2], (0, True))
        body = os.urandom(2500)
        client.put_large(self.address(), body)
        told = seen.next()
        got, parts = watcher.get_large(self.address(), first=told)
        self.assertEqual(got, body)
        self.assertEqual(len({part.option(ETAG) for part in parts}), 1)
        seen.cancel()

    def test_C10_ping(self):
        client = self.coap()
        for _ in range(3):
            client.ping()

    def test_C11_patches(self):
        """RFC 8132: what each format does, and the codes of what cannot be done (3.4)."""
        client = self.coap()
        where = self.address()

        def patch(text, form, want, what=PATCH, **more):
            return client.request(what, where, text, form=form, want=want, **more)

        patch('{"a":1}', MERGE_PATCH, (NOT_FOUND, CREATED))
        client.put(where, '{"a":{"b":1,"c":2},"l":[1,2]}', form=JSON)
        patch('{"a":{"b":null,"d":3}}', MERGE_PATCH, CHANGED)
        self.assertEqual(json.loads(client.get(where).text), {"a": {"c": 2, "d": 3}, "l": [1, 2]})
        patch('[{"op":"test","path":"/a/c","value":2},{"op":"add","path":"/l/-","value":9},'
              '{"op":"remove","path":"/a/d"},{"op":"replace","path":"/a/c","value":"x"},'
              '{"op":"copy","from":"/a/c","path":"/e"},{"op":"move","from":"/l/0","path":"/m"}]',
              JSON_PATCH, CHANGED, IPATCH)
        now = {"a": {"c": "x"}, "l": [2, 9], "e": "x", "m": 1}
        self.assertEqual(json.loads(client.get(where).text), now)
        for text, codes in (
                ('[{"op":"test","path":"/m","value":2},{"op":"remove","path":"/m"}]',
                 (CONFLICT, coap.UNPROCESSABLE)),
                ('[{"op":"remove","path":"/none"}]', (CONFLICT, coap.UNPROCESSABLE)),
                ('[{"op":"unheard","path":"/m"}]', (coap.BAD_REQUEST, coap.UNPROCESSABLE)),
                ('{"op":', (coap.BAD_REQUEST,))):
            patch(text, JSON_PATCH, codes)
        patch('{"a":', MERGE_PATCH, coap.BAD_REQUEST)
        for form in TEXT, JSON, 60, 65000:
            patch("{}", form, BAD_FORMAT)
        client.request(PATCH, where, "{}", want=BAD_FORMAT)
        self.assertEqual(json.loads(client.get(where).text), now)
        patch('{"m":2}', MERGE_PATCH, PRECONDITION, options=[(IF_MATCH, b"other")])
        patch('{"m":2}', MERGE_PATCH, CHANGED, options=[(IF_MATCH, client.get(where).option(ETAG))])

    def test_C11_a_patch_of_what_is_no_JSON(self):
        client = self.coap()
        client.put(self.address(), "text", form=TEXT)
        client.request(PATCH, self.address(), '{"a":1}', form=MERGE_PATCH,
                       want=(CONFLICT, coap.UNPROCESSABLE, BAD_FORMAT))
        self.assertEqual(client.get(self.address()).text, "text")

    def test_C11_fetch_is_not_for_values(self):
        client = self.coap()
        client.put(self.address(), "x")
        client.request(coap.FETCH, self.address(), "x", form=TEXT, want=(NOT_ALLOWED, BAD_FORMAT))

    def test_C12_many_at_once(self):
        """200 requests of all kinds before an answer is read."""
        client = self.coap()
        for index in range(50):
            client.put(self.address("/%d" % index), "value %d" % index)
        asked = {}
        for index in range(200):
            at, kind = index % 50, CON if index % 3 else NON
            if index % 7 == 0:
                request, wanted = client.message(GET, self.address("/none"), kind=kind), NOT_FOUND
            elif index % 5 == 0:
                request, wanted = client.message(PUT, self.address("/new%d" % index), "x",
                                                 kind=kind), CREATED
            else:
                request, wanted = client.message(GET, self.address("/%d" % at), kind=kind), \
                    "value %d" % at
            asked[request.token] = (request, wanted)
            client.send(request)
        while asked:
            answer = client.receive()
            if answer.code == coap.EMPTY:
                continue
            request, wanted = asked.pop(answer.token)
            client.ack(answer)
            self.assertEqual(answer.text if answer.code == CONTENT else answer.code, wanted)
            if answer.type == ACK:
                self.assertEqual(answer.mid, request.mid)

    def test_C12_many_clients(self):
        clients = [self.coap() for _ in range(60)]
        for index, client in enumerate(clients):
            client.send(client.message(PUT, self.address("/%d" % index), str(index)))
        for client in clients:
            client.wait(lambda m: m.code == CREATED)
        for index, client in enumerate(reversed(clients)):
            self.assertEqual(client.get(self.address("/%d" % index)).text, str(index))


class Conditions(CoapCase):
    """ETag, If-Match, If-None-Match: conditional reads and writes."""

    def test_etag_and_203(self):
        client = self.coap()
        client.put(self.address(), "x", form=TEXT)
        tag = client.get(self.address()).option(ETAG)
        self.assertIsNotNone(tag)
        valid = client.get(self.address(), want=VALID, options=[(ETAG, b"no"), (ETAG, tag)])
        self.assertEqual((valid.option(ETAG), valid.payload), (tag, b""))
        self.assertEqual(client.get(self.address(), options=[(ETAG, b"no")]).text, "x")
        client.put(self.address(), "x", form=TEXT)
        again = client.get(self.address(), options=[(ETAG, tag)])
        self.assertNotEqual(again.option(ETAG), tag)
        client.delete(self.address())
        client.get(self.address(), want=NOT_FOUND, options=[(ETAG, again.option(ETAG))])

    def test_if_match(self):
        client = self.coap()
        client.put(self.address(), "1", want=PRECONDITION, options=[(IF_MATCH, b"")])
        client.get(self.address(), want=NOT_FOUND)
        client.put(self.address(), "1", want=CREATED)
        tag = client.get(self.address()).option(ETAG)
        client.put(self.address(), "2", want=CHANGED, options=[(IF_MATCH, b"no"), (IF_MATCH, tag)])
        client.put(self.address(), "3", want=PRECONDITION, options=[(IF_MATCH, tag)])
        self.assertEqual(client.get(self.address()).text, "2")
        client.put(self.address(), "4", want=CHANGED, options=[(IF_MATCH, b"")])
        client.request(DELETE, self.address(), want=PRECONDITION, options=[(IF_MATCH, tag)])
        tag = client.get(self.address()).option(ETAG)
        client.request(POST, self.address(), "5", want=CHANGED, options=[(IF_MATCH, tag)])
        tag = client.get(self.address()).option(ETAG)
        client.request(DELETE, self.address(), want=DELETED, options=[(IF_MATCH, tag)])

    def test_if_none_match(self):
        client = self.coap()
        client.put(self.address(), "1", want=CREATED, options=[(IF_NONE_MATCH, b"")])
        client.put(self.address(), "2", want=PRECONDITION, options=[(IF_NONE_MATCH, b"")])
        self.assertEqual(client.get(self.address()).text, "1")

    def test_one_of_many_creates(self):
        """Twenty clients at once: If-None-Match lets one in."""
        clients = [self.coap() for _ in range(20)]
        for index, client in enumerate(clients):
            client.send(client.message(PUT, self.address(), str(index),
                                       options=[(IF_NONE_MATCH, b"")]))
        codes = [client.wait(lambda m: m.code >= 64).code for client in clients]
        self.assertEqual(sorted(codes), [CREATED] + [PRECONDITION] * 19)
        self.assertEqual(clients[0].get(self.address()).text, str(codes.index(CREATED)))

    def test_a_conditional_large_write(self):
        client = self.coap()
        client.put(self.address(), "1")
        client.put_large(self.address(), b"l" * 3000, want=PRECONDITION,
                         options=[(IF_MATCH, b"other")])
        self.assertEqual(client.get(self.address()).text, "1")
        tag = client.get(self.address()).option(ETAG)
        client.put_large(self.address(), b"l" * 3000, want=CHANGED, options=[(IF_MATCH, tag)])
        self.assertEqual(client.get_large(self.address())[0], b"l" * 3000)


class Quick(CoapCase):
    """C7 from the broker's side: its own retransmissions."""

    OPTIONS = CON_NOTES + ["coap_ack_timeout_ms 200"]

    def test_C7_back_off_of_a_notification(self):
        """4.2: the first time-out in 1 to 1.5 times ACK_TIMEOUT, then doubled each time; same
        bytes. Upper bounds are loose, since a machine may be busy."""
        with Relay(self.broker.coap_port) as relay, coap.Client(relay.port) as watcher:
            client = self.coap()
            client.put(self.address(), "0")
            watcher.observe(self.address())
            before = len(relay.log(DOWN))
            client.put(self.address(), "1")
            copies = [watcher.datagram(8 * SLOW) for _ in range(4)]
            self.assertEqual(len(set(copies)), 1)
            self.assertEqual(decode(copies[0]).type, CON)
            times = [entry[0] for entry in relay.log(DOWN)[before:before + 4]]
            gaps = [b - a for a, b in zip(times, times[1:])]
            for index, gap in enumerate(gaps):
                self.assertGreater(gap, 0.2 * 2 ** index - 0.03)
                self.assertLess(gap, 0.3 * 2 ** index + 0.5 * SLOW)

    def test_C7_the_first_time_out_is_random(self):
        """4.8: ACK_RANDOM_FACTOR; that ten of them be within 5 ms would be chance of 1 to 10^9."""
        gaps = []
        for index in range(10):
            with Relay(self.broker.coap_port) as relay, coap.Client(relay.port) as watcher:
                client = self.coap()
                where = self.address("/%d" % index)
                client.put(where, "0")
                seen = watcher.observe(where)
                before = len(relay.log(DOWN))
                client.put(where, "1")
                seen.next(ack=False)
                watcher.datagram(8 * SLOW)
                times = [entry[0] for entry in relay.log(DOWN)[before:before + 2]]
                gaps.append(times[1] - times[0])
        self.assertGreater(statistics.pstdev(gaps), 0.005, gaps)

    def test_C6_a_lost_notification_is_sent_again(self):
        with Relay(self.broker.coap_port, down=Fate(5, 0.4)) as relay, \
                coap.Client(relay.port) as watcher:
            client = self.coap()
            client.put(self.address(), "0")
            relay.fates[DOWN].drop = 0.0
            seen = watcher.observe(self.address())
            relay.fates[DOWN].drop = 0.4
            for value in range(1, 6):
                client.put(self.address(), str(value))
            seen.until("5", deadline=20 * SLOW)


class Notes(CoapCase):
    """Notifications as they are by default: NON, with a CON now and then."""

    def test_C6_NON_notifications(self):
        client, watcher = self.coap(), self.coap()
        client.put(self.address(), "0")
        seen = watcher.observe(self.address())
        client.put(self.address(), "1")
        told = seen.until("1")
        self.assertIn(told[0].type, (NON, CON))
        watcher.send(Message(coap.RST, coap.EMPTY, told[-1].mid))
        watcher.silent()
        client.put(self.address(), "2")
        watcher.silent(self.address())


if __name__ == "__main__":
    main()
