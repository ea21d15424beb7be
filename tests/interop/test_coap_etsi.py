"""The test cases of the ETSI CoAP plugtests, each by its name: CORE 01 to 23 and 31, LINK 01 to 09,
BLOCK 01 to 06, OBS 01 to 14, against the demo server of the examples, and against the broker where
its resources can do the same.

TREFOIL_EXAMPLES  the folder of example-coap_demo_server
"""

# What these tests expect of the demo server
# ------------------------------------------
#
# Start. `example-coap_demo_server [PORT [ACK_TIMEOUT_MS]]`: UDP on 127.0.0.1, port 0 (the default
# is 5683) takes a free one. It prints the line `listening coap://127.0.0.1:PORT`, flushed, when it
# is ready, and ends with 0 on SIGTERM or SIGINT. ACK_TIMEOUT_MS is its ACK_TIMEOUT (default 2000);
# all else stays as RFC 7252 4.8 has it (factor 1.5, MAX_RETRANSMIT 4). At least 16 peers, 16
# observers; block size up to 1024; a client that asks for a smaller one gets it, 16 included.
#
# Everywhere. Text is Content-Format 0, named in each response that has a payload. A path that is
# not in this list: 4.04. A method that a resource does not have: 4.05. An unknown critical option:
# 4.02. Accept of a format that a resource does not have: 4.06. A request in NON is answered in NON.
# Payloads are stored with their Content-Format, up to 4096 bytes; longer: 4.13 with Size1.
# Responses to POST, PUT, DELETE may have a payload or none.
#
#   resource            behaviour
#   /test               GET: 2.05, text, not empty, at most 64 bytes. PUT and POST: with a value
#                       there 2.04, else 2.01; POST instead always 2.01 with Location-Path
#                       location1, location2, location3 (three options). DELETE: 2.02, also when
#                       there was none; a GET then gives 4.04 until the next PUT.
#                       GET gives what was PUT last, with its Content-Format. POST stores nothing.
#                       FETCH: 2.05 with the request's payload and Content-Format as they came.
#                       PATCH and iPATCH: 2.04, the payload replaces the value (4.04 if none).
#   /seg1/seg2/seg3     GET: 2.05 text, not empty
#   /query              GET: 2.05 text: the Uri-Query options in their order, joined by `&`; "none"
#                       when there is none
#   /separate           GET: an empty ACK by the machine, then, 500 ms after the request, 2.05 text
#                       in a CON; for a NON request the response is NON, and no ACK before
#   /other/separate     the same as /separate
#   /large              GET: 2.05 text of exactly 1700 bytes, ETag, Size2 when it was asked for.
#                       Line k (k = 0, 1, ...) is `%04u: ` of k, then 43 characters
#                       chr(97 + (k + column) % 26), then "\n", 50 bytes a line, 34 lines
#   /other/block        GET as /large. PUT (2.04) replaces it, block-wise or not
#   /large-update       GET: 2.05, at first 1280 bytes of "u". PUT: 2.04, block-wise; atomic, so
#                       2.31 for all blocks but the last; GET then gives the new one and its format
#   /large-create       POST, block-wise: 2.01 with Location-Path large-create and a segment of the
#                       server's choice; GET there gives it back; GET /large-create: 4.05
#   /large-post         POST, block-wise: 2.04, response: the request's body with ASCII letters in
#                       upper case, block-wise (Block2) if it is large
#   /obs                GET, observable by CON: 2.05 text, a decimal counter that goes up each
#                       second. PUT: 2.04, the observers get the new value, and the counter stops;
#                       with another Content-Format than before the observers get 4.06 without
#                       Observe and are removed. DELETE: 2.02, observers get 4.04 without Observe
#                       and are removed; GET gives 4.04 until the counter, which goes on from where
#                       it was, brings it back with its next step, a second later. Max-Age 5.
#                       POST: 2.04, the server forgets all its observers without a word (as after a
#                       restart; OBS 04)
#   /obs-non            as /obs, notifications by NON
#   /obs-large          GET, observable by CON, each second another text of exactly 1700 bytes:
#                       the counter in eight digits, repeated
#   /obs-pumping        GET, observable by CON, each second another text: the counter in eight
#                       digits, repeated 200 times when it is even, 3 times when it is odd
#   /multi-format       GET: Accept 0 or none: 2.05 text; Accept 41: 2.05 with Content-Format 41,
#                       XML that begins with `<`; any other: 4.06
#   /validate           GET: 2.05 text with ETag; ETag in the request that is the present one: 2.03
#                       with that ETag, no payload. PUT: 2.04 and another ETag; If-Match that does
#                       not hold: 4.12. Never absent
#   /create1            GET 4.04 at first. PUT: 2.01, then 2.04; If-None-Match when there is a
#                       value: 4.12. DELETE: 2.02
#   /location-query     POST: 2.01 with Location-Path location-query, and Location-Query first=1 and
#                       second=2
#   /time               GET, observable: 2.05 text, seconds since start, in decimal
#   /temp, /humidity    GET, PUT, POST, observable: text; PUT and POST 2.04; initial "21.5" and "40"
#   /alarm              GET, PUT, observable: "OFF" at first; PUT of other text than ON or OFF: 4.00
#   /link1              GET: 2.05 text; link attributes rt="Type1 Type2" if="If1"
#   /link2              rt="Type2 Type3" if="If2"
#   /link3              rt="Type1 Type3" if="foo"
#   /link4              rt="" (that is: the attribute with an empty value), no if
#   /link5              neither rt nor if
#   /path               GET: 2.05, Content-Format 40: links </path/sub1>, </path/sub2>,
#                       </path/sub3>; in /.well-known/core with ct=40
#   /path/sub1 ... sub3 GET: 2.05 text that contains the resource's own path; not themselves in
#                       /.well-known/core
#   /.well-known/core   GET: 2.05, Content-Format 40, Block2 if large. All of the above: obs on what
#                       can be observed, sz on /large, /other/block (1700); ct where it is fixed
#                       (ct="0 41" for /multi-format). rt, if as given. Filters: one Uri-Query
#                       name=value, `*` at the end for a prefix; href, rt, if, ct, sz; nothing
#                       matches: 2.05 with an empty payload. No other resource has rt or if.
#
# Multicast, security and proxies: none. Values are in memory only.

import os
import signal
import unittest

import coap
from broker import DEADLINE, REPORT, SHARDS, SLOW, Process, binary, main
from coap import (ACCEPT, ACK, BLOCK1, BLOCK2, CHANGED, CON, CONTENT, CONTENT_FORMAT, CONTINUE,
                  CREATED, EMPTY, ETAG, GET, JSON, LINKS, LOCATION_PATH, LOCATION_QUERY, NON,
                  NOT_ACCEPTABLE, NOT_ALLOWED, NOT_FOUND, OBSERVE, POST, PUT, RST, TEXT, XML,
                  CoapCase, Message, block, decode)
from coap_clients import Libcoap, Node
from coap_etsi import Cases
from coap_relay import DOWN, UP, Fate
from test_coap_labs import links


def folder():
    return os.environ.get("TREFOIL_EXAMPLES") or os.path.dirname(binary())


LARGE = "".join("%04u: " % k + "".join(chr(97 + (k + c) % 26) for c in range(43)) + "\n"
                for k in range(34)).encode()


class DemoServer(Cases, unittest.TestCase):
    """All of them, against the example."""

    large = LARGE
    ACK_TIMEOUT = "200"

    @classmethod
    def setUpClass(cls):
        if SHARDS != "1":
            raise unittest.SkipTest("the example has no shards: once is enough")

    def setUp(self):
        path = os.path.join(folder(), "example-coap_demo_server")
        self.process = Process([path, "0", self.ACK_TIMEOUT])
        self.addCleanup(self.finish)
        found = self.process.out.find(r"^listening coap://127\.0\.0\.1:(\d+)")
        self.assertTrue(found, self.process.err.text())
        self.port = int(found.group(1))

    def finish(self):
        status = self.process.stop(signal.SIGTERM)
        said = self.process.err.text()
        self.assertFalse(status or REPORT.search(said), "it ended with %d: %s" % (status, said))

    def separate(self, kind, token=None):
        """GET /separate: an empty ACK (for a CON), then the response, of the request's type."""
        client = self.client()
        request = client.message(GET, "separate", kind=kind, token=token)
        client.send(request)
        if kind == CON:
            ack = client.expect(ACK, EMPTY)
            self.assertEqual((ack.mid, len(ack.raw)), (request.mid, 4))
        answer = client.expect(kind, CONTENT, token=request.token)
        self.assertTrue(answer.payload)
        self.assertEqual(answer.uint(CONTENT_FORMAT), TEXT)
        client.ack(answer)
        client.silent()

    def test_CORE_09_separate(self):
        self.separate(CON)
        got = Libcoap.request(self.port, "GET", "separate")
        self.assertEqual(got.exchanged[-1][:2], ("CON", "2.05"))

    def test_CORE_09_lab_C8(self):
        """Lab C8, with node-coap too."""
        for real in Libcoap, Node:
            self.assertEqual(real.request(self.port, "GET", "other/separate").code, "2.05")

    def test_CORE_11_separate_with_token(self):
        for length in 1, 8:
            self.separate(CON, b"separate"[:length])

    def test_CORE_12_separate_with_an_empty_token(self):
        self.separate(CON, b"")

    def test_CORE_14_the_server_has_the_queries(self):
        got = self.client().get("query", queries=("first=1", "second=2", "third=3"))
        self.assertEqual(got.text, "first=1&second=2&third=3")

    def losing(self, up, down):
        relay, client = self.lossy(Fate(1, plan=up), Fate(2, plan=down))
        request = client.message(GET, "separate")
        # The client's own repetitions must not use up the plan.
        quick = "drop" in up[:1] + down[:1]
        answer = client.exchange(request, patience=None if quick else DEADLINE)
        self.assertEqual((answer.type, answer.code), (CON, CONTENT))
        return relay, client, request, answer

    def test_CORE_16_lossy_separate_request_lost(self):
        relay, _, request, _ = self.losing(["drop"], [])
        self.assertGreaterEqual([e[3] for e in relay.log(UP)].count(request.encode()), 2)

    def test_CORE_16_lossy_separate_ack_lost(self):
        """The client repeats, the server acknowledges again; the CON response ends it anyway."""
        relay, client, request, _ = self.losing([], ["drop"])
        self.assertGreaterEqual([e[3] for e in relay.log(UP)].count(request.encode()), 2)
        client.silent()

    def test_CORE_16_lossy_separate_response_lost(self):
        relay, _, _, answer = self.losing([], ["pass", "drop"])
        self.assertEqual([e[3] for e in relay.log(DOWN)].count(answer.raw), 2)

    def test_CORE_16_lossy_separate_ack_of_the_response_lost(self):
        relay, client, _, answer = self.losing(["pass", "drop"], [])
        self.assertEqual(client.datagram(5 * SLOW), answer.raw)
        client.send(Message(ACK, EMPTY, answer.mid))
        client.silent()
        self.assertEqual([e[3] for e in relay.log(DOWN)].count(answer.raw), 2)

    def test_CORE_17_separate_non(self):
        self.separate(NON)

    def test_CORE_18_location_path(self):
        answer = self.direct(POST, "test", CON, (CREATED,), "new", TEXT)
        self.assertEqual(answer.texts(LOCATION_PATH), ["location1", "location2", "location3"])
        got = Libcoap.request(self.port, "POST", "test", "new", form=TEXT)
        self.assertEqual(got.options["Location-Path"], ["location1", "location2", "location3"])

    def test_CORE_19_location_query(self):
        answer = self.direct(POST, "location-query", CON, (CREATED,), "new", TEXT)
        self.assertEqual(answer.texts(LOCATION_QUERY), ["first=1", "second=2"])
        self.assertEqual(Libcoap.request(self.port, "POST", "location-query", "x").code, "2.01")

    def test_CORE_20_accept(self):
        text = self.direct(GET, "multi-format", CON, (CONTENT,), options=[(ACCEPT, b"")])
        self.assertEqual(text.uint(CONTENT_FORMAT), TEXT)
        xml = self.direct(GET, "multi-format", CON, (CONTENT,), options=[(ACCEPT, bytes([XML]))])
        self.assertEqual((xml.uint(CONTENT_FORMAT), xml.payload[:1]), (XML, b"<"))
        self.direct(GET, "multi-format", CON, (NOT_ACCEPTABLE,), options=[(ACCEPT, bytes([JSON]))])
        got = Libcoap.request(self.port, "GET", "multi-format", accept=XML)
        self.assertEqual(got.payload[:1], b"<")

    # LINK

    def core(self, *queries, where=".well-known/core"):
        client = self.client()
        whole, parts = client.get_large(where, queries=queries)
        self.assertTrue(all(part.uint(CONTENT_FORMAT) == LINKS for part in parts))
        return links(whole.decode())

    def test_LINK_01_discovery(self):
        found = self.core()
        for name in ("/test", "/seg1/seg2/seg3", "/query", "/separate", "/large", "/obs", "/link1",
                     "/link5", "/path", "/validate", "/time", "/temp", "/humidity", "/alarm",
                     "/other/separate", "/other/block"):
            self.assertIn(name, found)
        self.assertIn("obs", found["/obs"])
        self.assertNotIn("obs", found["/test"])
        for real in Libcoap, Node:
            got = real.request(self.port, "GET", ".well-known/core")
            self.assertEqual(set(links(got.text)), set(found))

    def test_LINK_02_filter_by_type(self):
        self.assertEqual(set(self.core("rt=Type1")), {"/link1", "/link3"})
        got = Libcoap.request(self.port, "GET", ".well-known/core", queries=("rt=Type1",))
        self.assertEqual(set(links(got.text)), {"/link1", "/link3"})

    def test_LINK_03_any_type(self):
        found = set(self.core("rt=*"))
        self.assertEqual(found - {"/link4"}, {"/link1", "/link2", "/link3"})

    def test_LINK_04_one_of_several_types(self):
        self.assertEqual(set(self.core("rt=Type2")), {"/link1", "/link2"})

    def test_LINK_05_interface_by_prefix(self):
        self.assertEqual(set(self.core("if=If*")), {"/link1", "/link2"})

    def test_LINK_06_any_size(self):
        found = self.core("sz=*")
        self.assertIn("/large", found)
        self.assertEqual([t for t, a in found.items() if "sz" not in a], [])
        self.assertEqual(set(found), {t for t, a in self.core().items() if "sz" in a})

    def test_LINK_07_whole_href(self):
        self.assertEqual(set(self.core("href=/link1")), {"/link1"})

    def test_LINK_08_href_by_prefix(self):
        self.assertEqual(set(self.core("href=/link*")), {"/link%d" % n for n in range(1, 6)})

    def test_LINK_09_hierarchy(self):
        self.assertEqual(self.core()["/path"]["ct"], "40")
        self.assertNotIn("/path/sub1", self.core())
        subs = {"/path/sub1", "/path/sub2", "/path/sub3"}
        self.assertEqual(set(self.core(where="path")), subs)
        for sub in subs:
            self.assertIn(sub, self.client().get(sub).text)

    # BLOCK

    def test_BLOCK_04_post_creates(self):
        for szx in range(7):
            body = os.urandom(1400)
            client = self.client()
            response = client.put_large("large-create", body, szx, what=POST, want=CREATED,
                                        form=TEXT)
            self.assertFalse(response.block(BLOCK1)[1])
            location = response.texts(LOCATION_PATH)
            self.assertEqual((len(location), location[0]), (2, "large-create"))
            self.assertEqual(client.get_large("/".join(location))[0], body)
        self.client().get("large-create", want=NOT_ALLOWED)
        for real in Libcoap, Node:
            got = real.request(self.port, "POST", "large-create", b"c" * 1500, szx=5, form=TEXT)
            self.assertEqual(got.code, "2.01")

    def test_BLOCK_05_post_both_ways(self):
        body = bytes(97 + i % 26 for i in range(1500))
        for szx in range(7):
            client = self.client()
            last = client.put_large("large-post", body, szx, what=POST, want=CHANGED, form=TEXT)
            first = last.block(BLOCK2)
            if first is None:
                self.assertEqual(last.payload, body.upper())
                continue
            self.assertEqual(first[0], 0)
            got, _ = client.get_large("large-post", first[2], what=POST, first=last, form=TEXT)
            self.assertEqual(got, body.upper())
        got = Libcoap.request(self.port, "POST", "large-post", body, szx=5, form=TEXT)
        self.assertEqual((got.code, got.payload), ("2.04", body.upper()))

    def test_BLOCK_03_atomic(self):
        """2.31 for all but the last; half a body changes nothing."""
        client = self.client()
        before = client.get_large("large-update")[0]
        for num in range(3):
            client.request(PUT, "large-update", b"x" * 64, form=TEXT, want=CONTINUE,
                           options=[(BLOCK1, block(num, True, 2))])
        self.assertEqual(client.get_large("large-update")[0], before)

    # OBS

    def test_OBS_01_it_changes_by_itself(self):
        seen = self.client().observe("obs")
        values = [int(seen.response.text)] + [int(self.told(seen).text) for _ in range(3)]
        self.assertEqual(values, sorted(set(values)))
        real = Libcoap.Observer(self.port, "obs")
        self.addCleanup(real.vanish)
        self.assertEqual([real.next()[0] for _ in range(3)], ["2.05"] * 3)

    def test_OBS_02_non(self):
        client = self.client()
        seen = client.observe("obs-non", kind=NON)
        self.assertEqual(seen.response.type, NON)
        kinds = [seen.next(deadline=20 * SLOW).type for _ in range(3)]
        self.assertIn(NON, kinds)
        real = Libcoap.Observer(self.port, "obs-non", kind="NON")
        self.addCleanup(real.vanish)
        self.assertEqual([real.next()[0] for _ in range(2)], ["2.05"] * 2)

    def test_OBS_04_registered_again(self):
        """The server has forgotten; after Max-Age (5 s here) the client registers again with the
        same token, and is told again."""
        client = self.client()
        seen = client.observe("obs", token=b"again")
        age = seen.response.uint(coap.MAX_AGE)
        self.assertEqual(age, 5)
        self.told(seen)
        self.client().post("obs", "forget", want=CHANGED)
        client.get("obs")
        client.inbox.clear()
        self.change("unseen")
        client.silent("obs")
        seen = client.observe("obs", token=b"again")
        self.assertEqual(seen.response.text, "unseen")
        self.change("seen")
        while self.told(seen).text != "seen":
            pass

    def test_OBS_05_client_off(self):
        """No ACK any more: after the last time-out (0.2 s, four repetitions) there is silence."""
        client = self.client()
        seen = client.observe("obs")
        self.told(seen)
        first = seen.next(ack=False)
        numbers = [first.uint(OBSERVE)]
        while True:
            # At most 0.2 * 1.5 * 2^4 s between the last two.
            data = client.datagram(5 + SLOW)
            if data is None:
                break
            message = decode(data)
            self.assertEqual((message.type, message.token), (CON, seen.token))
            numbers.append(message.uint(OBSERVE))
            self.assertLess(len(numbers), 30)
        self.assertGreaterEqual(len(numbers), 5)
        self.assertEqual(numbers, sorted(numbers))
        client.silent("obs")

    def test_OBS_13_large(self):
        client = self.client()
        seen = client.observe("obs-large")
        for response in seen.response, seen.next(), seen.next():
            self.assertEqual(response.block(BLOCK2)[:2], (0, True))
            try:
                body, parts = client.get_large("obs-large", first=response)
            except AssertionError as error:
                self.fail("the rest of a notification: %s" % error)
            if len({part.option(ETAG) for part in parts}) == 1:
                self.assertEqual((len(body), len(set(body[i:i + 8] for i in range(0, 1696, 8)))),
                                 (1700, 1))

    def test_OBS_14_pumping(self):
        """Sizes of one block and of several in turn."""
        client = self.client()
        seen = client.observe("obs-pumping")
        lengths = set()
        response = seen.response
        for _ in range(4):
            body, parts = client.get_large("obs-pumping", first=response) \
                if response.block(BLOCK2) else (response.payload, [response])
            if len({part.option(ETAG) for part in parts}) == 1:
                lengths.add(len(body))
                self.assertEqual(body, body[:8] * (len(body) // 8))
            response = seen.next()
        self.assertEqual(lengths, {24, 1600})

    # Lab C11 on the example

    def test_lab_C11_fetch_patch_ipatch(self):
        client = self.client()
        client.put("test", "old", form=TEXT)
        got = client.request(coap.FETCH, "test", "what", form=JSON, want=CONTENT)
        self.assertEqual((got.text, got.uint(CONTENT_FORMAT)), ("what", JSON))
        for what in coap.PATCH, coap.IPATCH:
            client.request(what, "test", "new %d" % what, form=TEXT, want=CHANGED)
            self.assertEqual(client.get("test").text, "new %d" % what)
        for real in Libcoap, Node:
            self.assertEqual(real.request(self.port, "FETCH", "test", "q", form=TEXT).text, "q")
            for method in "PATCH", "iPATCH":
                got = real.request(self.port, method, "test", method, form=TEXT)
                self.assertEqual(got.code, "2.04")
                self.assertEqual(client.get("test").text, method)

    def test_the_labs_of_the_course(self):
        """/time, /temp, /humidity, /alarm as the text has them."""
        for name in "time", "temp", "humidity":
            self.assertTrue(Libcoap.request(self.port, "GET", name).payload)
        client = self.client()
        seen = client.observe("alarm")
        self.assertEqual(seen.response.text, "OFF")
        client.put("alarm", "ON", want=CHANGED, form=TEXT)
        seen.until("ON")
        client.put("alarm", "MAYBE", want=coap.BAD_REQUEST, form=TEXT)
        self.assertEqual(client.get("alarm").text, "ON")
        got = Libcoap.request(self.port, "GET", "other/block", szx=4)
        self.assertEqual(got.payload, LARGE)
        client.put_large("other/block", b"b" * 2000, want=CHANGED, form=TEXT)
        self.assertEqual(client.get_large("other/block")[0], b"b" * 2000)

    def test_nothing_else_is_there(self):
        client = self.client()
        client.get("none", want=NOT_FOUND)
        client.put("seg1/seg2/seg3", "x", want=NOT_ALLOWED)
        client.send(Message(RST, EMPTY, 1))
        client.silent()


class OnTheBroker(Cases, CoapCase):
    """The cases that addresses with values can show."""

    OPTIONS = ["coap_notify con", "coap_ack_timeout_ms 200"]
    large = os.urandom(1700)

    def setUp(self):
        super().setUp()
        self.port = self.broker.coap_port
        client = self.client()
        for name in "test", "seg1/seg2/seg3", "query", "validate", "obs":
            client.put(name, "value of " + name, form=TEXT)
        client.put("large", self.large, form=TEXT)
        client.delete("create1")

    def test_CORE_18_location_path(self):
        client = self.client()
        client.delete("seg1/seg2/seg4")
        answer = self.direct(POST, "seg1/seg2/seg4", CON, (CREATED,), "new", TEXT)
        self.assertEqual(answer.texts(LOCATION_PATH), ["seg1", "seg2", "seg4"])

    def test_CORE_20_accept(self):
        for form, wanted in (TEXT, CONTENT), (XML, NOT_ACCEPTABLE):
            self.direct(GET, "test", CON, (wanted,), options=[(ACCEPT, coap.uint(form))])

    def test_LINK_01_07_08(self):
        def core(*queries):
            return links(self.client().get_large(".well-known/core", queries=queries)[0].decode())
        for name in "/test", "/seg1/seg2/seg3", "/obs":
            self.assertIn("obs", core()[name])
        self.assertEqual(set(core("href=/test")), {"/test"})
        self.assertEqual(set(core("href=/seg1*")) - {"/seg1/seg2/seg4"}, {"/seg1/seg2/seg3"})
        self.assertEqual({a["sz"] for a in core("sz=*").values()} & {"1700"}, {"1700"})


if __name__ == "__main__":
    main()
