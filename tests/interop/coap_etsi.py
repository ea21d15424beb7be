"""The ETSI plugtest cases that any server with the right resources can show, the demo server of the
examples and the broker alike; test_coap_etsi.py runs them on both.
"""

import os

import coap
from broker import SLOW
from coap import (ACCEPT, ACK, BLOCK1, BLOCK2, CHANGED, CON, CONTENT, CONTENT_FORMAT, CREATED,
                  DELETE, DELETED, ETAG, GET, IF_MATCH, IF_NONE_MATCH, JSON, NON, NOT_ACCEPTABLE,
                  NOT_FOUND, OBSERVE, POST, PRECONDITION, PUT, TEXT, VALID, CoapError, block,
                  decode)
from coap_clients import Libcoap, Node
from coap_relay import DOWN, UP, Fate, Relay


class Cases:
    """The cases that any server with these resources can show. Whoever inherits gives `port`, and
    in setUp the resources /test, /seg1/seg2/seg3, /query, /validate, /large, /obs, observed by CON.
    """

    port = None
    large = None

    def client(self, port=None):
        made = coap.Client(port or self.port)
        self.addCleanup(made.close)
        return made

    def lossy(self, up=None, down=None):
        """A client behind a relay that loses datagrams."""
        relay = Relay(self.port, up, down)
        self.addCleanup(relay.close)
        client = self.client(relay.port)
        client.patience = 0.1 * SLOW
        return relay, client

    def direct(self, what, where, kind, wanted, payload=b"", form=None, client=None, **more):
        """One request and its one answer, piggybacked for a CON and NON for a NON."""
        client = client or self.client()
        request = client.message(what, where, payload, kind=kind, form=form, **more)
        client.send(request)
        answer = client.receive()
        self.assertEqual(answer.type, ACK if kind == CON else NON, answer)
        self.assertIn(answer.code, wanted, answer)
        self.assertEqual(answer.token, request.token)
        if kind == CON:
            self.assertEqual(answer.mid, request.mid)
        if answer.payload and answer.code < 128:
            self.assertIsNotNone(answer.uint(CONTENT_FORMAT), answer)
        return answer

    def change(self, text, form=TEXT):
        """Makes /obs change, as another client would."""
        self.client().put("obs", text, want=CHANGED, form=form)

    def told(self, seen, client=None):
        """The next notification of /obs: CON, 2.05, the same token and format."""
        message = seen.next(ack=client is None)
        self.assertEqual((message.type, message.code), (CON, CONTENT))
        self.assertEqual(message.uint(CONTENT_FORMAT), seen.response.uint(CONTENT_FORMAT))
        return message

    # CORE

    def test_CORE_01_get(self):
        self.assertTrue(self.direct(GET, "test", CON, (CONTENT,)).payload)
        got = Libcoap.request(self.port, "GET", "test")
        self.assertEqual(got.code, "2.05")
        self.assertEqual((got.exchanged[0][0], got.exchanged[-1][0]), ("CON", "ACK"))

    def test_CORE_02_delete(self):
        self.direct(DELETE, "test", CON, (DELETED,))
        self.assertEqual(Libcoap.request(self.port, "DELETE", "test").code, "2.02")

    def test_CORE_03_put(self):
        self.direct(PUT, "test", CON, (CREATED, CHANGED), "put", TEXT)
        self.assertIn(Libcoap.request(self.port, "PUT", "test", "x", form=TEXT).code,
                      ("2.01", "2.04"))
        self.assertEqual(self.client().get("test").text, "x")

    def test_CORE_04_post(self):
        self.direct(POST, "test", CON, (CREATED, CHANGED), "post", TEXT)
        self.assertIn(Libcoap.request(self.port, "POST", "test", "x", form=TEXT).code,
                      ("2.01", "2.04"))

    def test_CORE_05_get_non(self):
        self.assertTrue(self.direct(GET, "test", NON, (CONTENT,)).payload)
        got = Libcoap.request(self.port, "GET", "test", kind="NON")
        self.assertEqual((got.code, got.exchanged[-1][0]), ("2.05", "NON"))

    def test_CORE_06_delete_non(self):
        self.direct(DELETE, "test", NON, (DELETED,))
        self.assertEqual(Libcoap.request(self.port, "DELETE", "test", kind="NON").code, "2.02")

    def test_CORE_07_put_non(self):
        self.direct(PUT, "test", NON, (CREATED, CHANGED), "put", TEXT)
        got = Libcoap.request(self.port, "PUT", "test", "x", form=TEXT, kind="NON")
        self.assertIn(got.code, ("2.01", "2.04"))

    def test_CORE_08_post_non(self):
        self.direct(POST, "test", NON, (CREATED, CHANGED), "post", TEXT)
        got = Libcoap.request(self.port, "POST", "test", "x", form=TEXT, kind="NON")
        self.assertIn(got.code, ("2.01", "2.04"))

    def test_CORE_10_token(self):
        for length in range(1, 9):
            self.direct(GET, "test", CON, (CONTENT,), token=bytes(range(1, length + 1)))
        got = Libcoap.run(self.port, "test", "get", None, "-T", "ETSItokn")
        self.assertEqual([len(e[3]) for e in got.exchanged], [16, 16])
        self.assertEqual(got.exchanged[0][3], got.exchanged[-1][3])

    def test_CORE_12_empty_token(self):
        self.direct(GET, "test", CON, (CONTENT,), token=b"")

    def test_CORE_13_several_uri_path(self):
        self.direct(GET, "seg1/seg2/seg3", CON, (CONTENT,))
        self.assertEqual(Libcoap.request(self.port, "GET", "seg1/seg2/seg3").code, "2.05")

    def test_CORE_14_several_uri_query(self):
        queries = ("first=1", "second=2", "third=3")
        self.direct(GET, "query", CON, (CONTENT,), queries=queries)
        self.assertEqual(Libcoap.request(self.port, "GET", "query", queries=queries).code, "2.05")

    def test_CORE_15_lossy_piggybacked(self):
        """Until a request and a response were lost: each is sent again, and the answer comes."""
        relay, client = self.lossy(Fate(1, 0.3), Fate(2, 0.3))
        for _ in range(40):
            request = client.message(GET, "test")
            before = len(relay.log(UP))
            answer = client.exchange(request)
            self.assertEqual((answer.type, answer.mid, answer.code), (ACK, request.mid, CONTENT))
            sent = [entry for entry in relay.log(UP)[before:] if entry[3] == request.encode()]
            self.assertTrue(sent)
        self.assertTrue(relay.count(UP, "drop") and relay.count(DOWN, "drop"))

    def test_CORE_21_etag(self):
        client = self.client()
        first = self.direct(GET, "validate", CON, (CONTENT,), client=client)
        tag = first.option(ETAG)
        self.assertTrue(tag)
        valid = self.direct(GET, "validate", CON, (VALID,), client=client, options=[(ETAG, tag)])
        self.assertEqual((valid.option(ETAG), valid.payload), (tag, b""))
        self.client().put("validate", "another", form=TEXT)
        new = self.direct(GET, "validate", CON, (CONTENT,), client=client, options=[(ETAG, tag)])
        self.assertNotEqual(new.option(ETAG), tag)
        self.assertEqual(new.text, "another")

    def test_CORE_22_if_match(self):
        client = self.client()
        tag = client.get("validate").option(ETAG)
        self.direct(PUT, "validate", CON, (CHANGED,), "one", TEXT, options=[(IF_MATCH, tag)])
        second = client.get("validate")
        self.assertEqual(second.text, "one")
        client.put("validate", "two", want=CHANGED, form=TEXT)
        self.direct(PUT, "validate", CON, (PRECONDITION,), "three", TEXT,
                    options=[(IF_MATCH, second.option(ETAG))])
        self.assertEqual(client.get("validate").text, "two")

    def test_CORE_23_if_none_match(self):
        self.client().get("create1", want=NOT_FOUND)
        options = [(IF_NONE_MATCH, b"")]
        self.direct(PUT, "create1", CON, (CREATED,), "first", TEXT, options=options)
        self.direct(PUT, "create1", CON, (PRECONDITION,), "second", TEXT, options=options)
        self.assertEqual(self.client().get("create1").text, "first")
        self.client().delete("create1")
        got = Libcoap.request(self.port, "PUT", "create1", "x", form=TEXT, options=options)
        self.assertEqual(got.code, "2.01")
        got = Libcoap.request(self.port, "PUT", "create1", "x", form=TEXT, options=options)
        self.assertEqual(got.code, "4.12")

    def test_CORE_31_ping(self):
        client = self.client()
        mid = next(client.mids).to_bytes(2, "big")
        client.send(b"\x40\x00" + mid)
        self.assertEqual(client.datagram(), b"\x70\x00" + mid)

    # BLOCK

    def blocks(self, first, wanted):
        """Takes /large in blocks of one size; each response is checked as the case draws it."""
        client = self.client()
        body, num = b"", 0
        while True:
            answer = self.direct(GET, "large", CON, (CONTENT,), client=client,
                                 options=[(BLOCK2, block(num, False, first))])
            got_num, more, szx = answer.block(BLOCK2)
            self.assertEqual((got_num, szx), (num, wanted))
            size = 16 << wanted
            self.assertTrue(len(answer.payload) == size if more else len(answer.payload) <= size)
            body += answer.payload
            first, num = szx, num + 1
            if not more:
                self.assertEqual(body, self.large)
                return

    def test_BLOCK_01_get_early(self):
        self.blocks(6, 6)
        self.blocks(5, 5)
        got = Libcoap.request(self.port, "GET", "large", szx=5)
        self.assertEqual(got.payload, self.large)

    def test_BLOCK_02_get_late(self):
        client = self.client()
        first = self.direct(GET, "large", CON, (CONTENT,), client=client)
        num, more, szx = first.block(BLOCK2)
        self.assertEqual((num, more, len(first.payload)), (0, True, 16 << szx))
        for ours in range(szx + 1):
            rest = client.get_large("large", ours, start=1 << (szx - ours))[0]
            self.assertEqual(first.payload + rest, self.large)
        for real in Libcoap, Node:
            self.assertEqual(real.request(self.port, "GET", "large").payload, self.large)

    def test_BLOCK_03_put(self):
        for szx in range(7):
            body = os.urandom(1300 + szx)
            response = self.client().put_large("large-update", body, szx, form=TEXT)
            num, more, size = response.block(BLOCK1)
            self.assertEqual((num, more), ((len(body) - 1) // (16 << size), False))
            self.assertEqual(self.client().get_large("large-update")[0], body)
        for real in Libcoap, Node:
            got = real.request(self.port, "PUT", "large-update", b"%" * 1500, szx=4, form=TEXT)
            self.assertIn(got.code, ("2.04", "2.01"))
            self.assertEqual(self.client().get_large("large-update")[0], b"%" * 1500)

    def test_BLOCK_06_get_early_16_bytes(self):
        self.blocks(0, 0)
        self.assertEqual(Libcoap.request(self.port, "GET", "large", szx=0).payload, self.large)

    # OBS

    def test_OBS_01_con(self):
        seen = self.client().observe("obs")
        self.assertTrue(seen.active)
        self.assertEqual(seen.response.type, ACK)
        for text in "one", "two", "three":
            self.change(text)
            while self.told(seen).text != text:
                pass
        real = Libcoap.Observer(self.port, "obs")
        self.addCleanup(real.vanish)
        real.next()
        self.change("four")
        self.assertEqual(real.until("four")[-1][0], "2.05")

    def test_OBS_03_stop(self):
        """In the later editions 06 and 12 stand for it; here: node-coap's way to stop."""
        real = Node.Observer(self.port, "obs")
        self.addCleanup(real.vanish)
        real.next()
        self.change("one")
        real.until("one")
        real.leave()
        self.change("two")
        self.assertEqual(self.client().get("obs").text, "two")

    def test_OBS_06_reset(self):
        client = self.client()
        seen = client.observe("obs")
        self.change("one")
        while True:
            message = self.told(seen, client)
            if message.text == "one":
                break
            client.ack(message)
        client.reset(message)
        self.change("two")
        client.silent("obs")

    def test_OBS_07_delete(self):
        client = self.client()
        seen = client.observe("obs")
        self.change("one")
        while self.told(seen).text != "one":
            pass
        self.client().delete("obs")
        last = seen.next(want=NOT_FOUND)
        self.assertEqual((last.type, last.has(OBSERVE)), (CON, False))
        client.silent("obs")

    def test_OBS_08_format(self):
        """With Accept, which both servers have to keep: 4.06 and out."""
        client = self.client()
        seen = client.observe("obs", options=[(ACCEPT, b"")])
        self.change("one")
        while self.told(seen).text != "one":
            pass
        self.change('"two"', JSON)
        last = seen.next(want=NOT_ACCEPTABLE)
        self.assertEqual((last.type, last.has(OBSERVE)), (CON, False))
        self.change('"three"', JSON)
        client.silent("obs")

    def test_OBS_09_update(self):
        seen = self.client().observe("obs")
        self.change("new value")
        while self.told(seen).text != "new value":
            pass

    def test_OBS_10_get_does_not_cancel(self):
        client = self.client()
        seen = client.observe("obs")
        self.change("one")
        while self.told(seen).text != "one":
            pass
        request = client.message(GET, "obs")
        plain = client.exchange(request)
        self.assertEqual((plain.type, plain.code, plain.has(OBSERVE)), (ACK, CONTENT, False))
        self.change("two")
        while self.told(seen).text != "two":
            pass

    def test_OBS_11_lossy(self):
        """Never two notifications under way at once: until one is acknowledged, all that comes is
        its own repetition; or a newer one that takes its place (RFC 7641 4.5.2)."""
        relay, client = self.lossy(Fate(3, 0.25), Fate(4, 0.25))
        seen = client.observe("obs", token=b"lossy")
        for index in range(8):
            self.change("value %d" % index)
            seen.until("value %d" % index, deadline=60 * SLOW)
        flying, acknowledged = None, set()
        for _, direction, fate, data in relay.log():
            message = decode(data)
            if direction == UP and message.type == ACK and fate != "drop":
                acknowledged.add(message.mid)
            elif direction == DOWN and message.type == CON and message.token == b"lossy":
                if flying is not None and message.mid != flying.mid and \
                        flying.mid not in acknowledged:
                    if message.uint(OBSERVE) == flying.uint(OBSERVE):
                        raise CoapError("%s while %s is under way" % (message, flying))
                flying = message
        self.assertTrue(relay.count(DOWN, "drop"))

    def test_OBS_12_cancel(self):
        client = self.client()
        seen = client.observe("obs")
        self.change("one")
        while self.told(seen).text != "one":
            pass
        last = seen.cancel()
        self.assertEqual((last.type, last.code, last.token, last.has(OBSERVE), last.text),
                         (ACK, CONTENT, seen.token, False, "one"))
        self.change("two")
        client.silent("obs")
