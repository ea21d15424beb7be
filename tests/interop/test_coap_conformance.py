"""What RFC 7252 and RFC 7641 ask of a server and no other test looks at, on the broker.
docs/coap-conformance.md lists all requirements, each with its test.
"""

import time

from broker import main
from coap import (ACCEPT, ACK, CONTENT_FORMAT, DELETE, DELETED, ETAG, FETCH, GET, IF_MATCH, JSON,
                  MERGE_PATCH, NON, NOT_FOUND, PATCH, PUT, TEXT, CoapCase)
from test_coap_labs import links


class Conformance(CoapCase):
    OPTIONS = ["coap_notify con"]

    def test_a_payload_that_means_nothing_is_ignored(self):
        """RFC 7252 5.5: GET and DELETE are not defined to have one."""
        client, where = self.coap(), self.address()
        client.put(where, "value", form=TEXT)
        self.assertEqual(client.request(GET, where, "noise").text, "value")
        client.request(DELETE, where, "noise", want=DELETED)
        client.request(GET, where, "noise", want=NOT_FOUND)

    def test_what_an_error_says_is_for_people(self):
        """RFC 7252 5.5.2: a diagnostic is text in UTF-8, and has no Content-Format."""
        client, where = self.coap(), self.address()
        client.put(where, "text", form=TEXT)
        for request in (client.message(GET, where + "/none"),
                        client.message(GET, where, options=[(ACCEPT, b"\x32")]),
                        client.message(GET, where, options=[(9, b"")]),
                        client.message(GET, where + "/#"),
                        client.message(31, where),
                        client.message(FETCH, where, "x", form=TEXT),
                        client.message(PATCH, where, "{", form=MERGE_PATCH),
                        client.message(PATCH, where, "{}", form=MERGE_PATCH),
                        client.message(PATCH, where, "{}", form=JSON),
                        client.message(PUT, where, "x", options=[(IF_MATCH, b"none")]),
                        client.message(PUT, ".well-known/core", "x", form=TEXT)):
            response = client.exchange(request)
            self.assertIn(response.code >> 5, (4, 5), request)
            self.assertFalse(response.has(CONTENT_FORMAT), response)
            self.assertTrue(response.payload.decode().isprintable(), response)

    def test_safe_methods_change_nothing(self):
        """RFC 7252 5.1: GET only retrieves; PUT and DELETE twice are as once."""
        client, where = self.coap(), self.address()
        first = client.put(where, "value", form=TEXT)
        tags = {client.get(where).option(ETAG) for _ in range(5)}
        self.assertEqual(len(tags), 1, first)
        client.put(where, "value", form=TEXT)
        self.assertEqual(client.get(where).text, "value")
        for _ in range(2):
            client.delete(where)
            client.request(GET, where, want=NOT_FOUND)

    def test_the_formats_in_the_list(self):
        """RFC 7252 7.2.1: ct is a decimal number of 16 bits."""
        client = self.coap()
        for number in 0, 50, 11542, 65535:
            client.put(self.address("/%d" % number), "x", form=number)
        found = links(client.get_large(".well-known/core")[0].decode())
        for number in 0, 50, 11542, 65535:
            target = "/" + self.address("/%d" % number)
            self.assertEqual(found[target].get("ct"), str(number), found[target])

    def test_the_format_is_that_of_the_whole_body(self):
        """RFC 7959 2.3: each block says it, of a part that alone would be none."""
        client, where = self.coap(), self.address()
        client.put_large(where, b'{"a":"%s"}' % (b"x" * 200), szx=1, form=JSON)
        body, parts = client.get_large(where, szx=1)
        self.assertEqual(len(body), 208)
        self.assertEqual([part.uint(CONTENT_FORMAT) for part in parts], [JSON] * 7)

    def test_the_type_of_a_response(self):
        """RFC 7252 5.2.1, 5.2.3: in the ACK of a CON, in a NON to a NON, success or not."""
        client, where = self.coap(), self.address()
        client.put(where, "x")
        for path in where, where + "/none":
            request = client.message(GET, path)
            response = client.exchange(request)
            self.assertEqual((response.type, response.mid), (ACK, request.mid))
            self.assertEqual(client.exchange(client.message(GET, path, kind=NON)).type, NON)

    def test_observe_numbers_grow_slowly(self):
        """RFC 7641 4.4: by at most 2^23 in 256 s; those of one moment count singly."""
        writer, observer, where = self.coap(), self.coap(), self.address()
        writer.put(where, "start")
        begun = time.monotonic()
        seen = observer.observe(where)
        first, told = seen.sequence, 0
        for number in range(200):
            writer.put(where, str(number))
            told += len(seen.until(str(number)))
        spent = time.monotonic() - begun
        grown = (seen.sequence - first) & 0xffffff
        self.assertLessEqual(grown, spent * 2 ** 23 / 256 + told)
        self.assertGreaterEqual(grown, told)


if __name__ == "__main__":
    main()
