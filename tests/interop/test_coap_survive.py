"""CoAP observers that asked to survive, over kill -9 and SIGTERM: told by a CON with their token, by
the shard that hears them, and forgotten when they end."""

import time

import coap
from broker import main
from coap import CON, CONTENT, NON, NOT_FOUND, OBSERVE
from test_store_restart import StoredCase, both

CLIENTS = 8


def newer(before, now):
    """RFC 7641 3.4, without the clock."""
    return before != now and (now - before & 0xffffff) < 1 << 23


class Survive(StoredCase):
    OPTIONS = {"coap": ["coap_ack_timeout_ms 200", "coap_max_retransmit 2"]}

    def observer(self, where, token, queries=("survive",)):
        """A client that observes, and Observe's number of its answer."""
        client = self.coap()
        request = client.message(coap.GET, where, token=token, queries=queries,
                                 options=[(OBSERVE, b"")])
        response = client.exchange(request)
        self.assertEqual(response.code, CONTENT)
        return client, response.uint(OBSERVE)

    def told(self, client, token, what=CONTENT):
        return client.wait(lambda got: got.token == token and got.code == what,
                           what="a notification")

    def acknowledged(self, client, message):
        """Our ACK is heard by who has sent this: it does not come again."""
        client.ack(message)
        end = time.monotonic() + 2      # 0.2 s, at most half as much again, and so on
        while True:
            data = client.datagram(end - time.monotonic())
            if data is None:
                if time.monotonic() >= end:
                    return
                continue
            self.assertNotEqual(coap.decode(data).mid, message.mid)

    @both
    def test_all_are_told(self):
        self.begin(shards=4)
        self.coap().put("v", b"1")
        before = [self.observer("v", b"tok%d" % i) for i in range(CLIENTS)]
        plain, _ = self.observer("v", b"plain", queries=())
        self.again()
        for i, (client, number) in enumerate(before):
            message = self.told(client, b"tok%d" % i)
            self.assertEqual((message.type, message.payload), (CON, b"1"))
            self.assertTrue(newer(number, message.uint(OBSERVE)))
            client.ack(message)
            before[i] = client, message.uint(OBSERVE)
        self.acknowledged(before[0][0], message)    # the others have had as long
        self.coap().put("v", b"2")
        for i, (client, number) in enumerate(before):
            message = client.receive()
            self.assertEqual((message.token, message.type, message.payload),
                             (b"tok%d" % i, NON, b"2"))
            self.assertTrue(newer(number, message.uint(OBSERVE)))
        plain.silent("v")

    @both
    def test_the_end_is_remembered(self):
        self.begin()
        self.coap().put("v", b"1")
        reset, stopped, kept = (self.observer("v", token)[0] for token in (b"r", b"s", b"k"))
        self.again()
        answered = {}
        for client, token in (reset, b"r"), (stopped, b"s"), (kept, b"k"):
            message = self.told(client, token)
            answered[client] = message
            if client is reset:
                client.reset(message)
            else:
                client.ack(message)
        stopped.get("v", token=b"s", queries=("survive",), options=[(OBSERVE, b"\x01")])
        for client, message in answered.items():    # sent again before the answer was read
            while (data := client.datagram(0.5)) is not None:
                self.assertEqual(coap.decode(data).mid, message.mid)
                (client.reset if client is reset else client.ack)(message)
        reset.silent("v")
        self.fence()
        self.again()
        kept.ack(self.told(kept, b"k"))
        reset.silent("v")
        stopped.silent("v")

    @both
    def test_the_value_has_gone(self):
        self.begin()
        self.coap().put("v", b"1")
        client, _ = self.observer("v", b"t")
        self.again()
        client.ack(self.told(client, b"t"))
        self.coap().delete("v")
        message = self.told(client, b"t", NOT_FOUND)
        self.assertFalse(message.has(OBSERVE))
        client.ack(message)
        self.coap().put("v", b"2")
        client.silent("v")
        self.fence()
        self.again()
        client.silent("v")

    @both
    def test_nobody_there(self):
        """Who does not answer has ended; another restart tells nobody."""
        self.begin()
        self.coap().put("v", b"1")
        client, _ = self.observer("v", b"t")
        self.again()
        first = self.told(client, b"t")
        count = 1
        while count < 3:        # as often as coap_max_retransmit says
            data = client.datagram()
            self.assertIsNotNone(data)
            self.assertEqual(coap.decode(data).mid, first.mid)
            count += 1
        self.assertIsNone(client.datagram(2))
        self.fence()
        self.again()
        client.replies.clear()
        client.silent("v")

    @both
    def test_another_number_of_shards(self):
        self.begin(shards=2)
        self.coap().put("v", b"1")
        client, _ = self.observer("v", b"t")
        self.end()
        self.broker.shards = 3
        self.broker.start()
        client.silent("v")
        again, _ = self.observer("v", b"u")     # as ever
        self.again()
        again.ack(self.told(again, b"u"))
        client.silent("v")


if __name__ == "__main__":
    main()
