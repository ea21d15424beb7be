"""What the files of the classic list share: one broker a class, raw clients, and a clock.

Most of these tests speak raw packets, since only those show flags, ids and order. Time passes by
events: a client with a keep alive of one second, which the broker closes after one and a half, is
the clock.
"""

import time

from broker import BrokerCase
from raw import Raw

FOREVER = 0xFFFFFFFF

MOSQUITTO_DEVIATES = {
    "test_keep_alive_closes": "it looks only every few seconds, and sends no DISCONNECT",
    "test_will_on_keep_alive": "it sends no DISCONNECT",
    "test_will_on_violation": "it sends no DISCONNECT",
    "test_overlapping_subscriptions": "several deliveries, or one at the first QoS found",
    "test_qos2_exactly_once": "a repeated PUBLISH on one connection is an error to it",
    "test_subscribe_failure": "it closes for one bad filter",
    "test_connack_announces": "no packet limit by default, and it has shared subscriptions",
    "test_maximum_packet_size_of_server": "no packet limit by default",
    "test_maximum_packet_size_of_client_exact": "it sends a byte more than the maximum",
    "test_flow_control_to_client": "its count of credit goes wrong with QoS 1 and 2 mixed",
    "test_request_problem_information_zero": "PUBREL for an unknown id gets success",
    "test_shared_subscriptions_refused": "it has shared subscriptions",
    "test_take_over": "it closes the old connection without DISCONNECT",
    "test_take_over_keeps_the_session": "it closes the old connection without DISCONNECT",
    "test_will_delay_ends_with_clean_start": "the will is lost",
    "test_drain": "it sends no DISCONNECT",
    "test_drain_without_clients": "a signal right after the start is lost",
    "test_server_keep_alive_closes": "it looks only every few seconds, and sends no DISCONNECT",
}


class Base(BrokerCase):
    version = 5

    def raw(self, client_id=None, version=None, **fields):
        """A connected raw client, dropped at the end of the test."""
        made = Raw(self.broker, version or self.version)
        self.addCleanup(made.drop)
        made.connack = made.connect(client_id, **fields)
        return made

    def topic(self, rest=""):
        return "%s/%s%s" % (type(self).__name__, self._testMethodName, rest)

    def session(self, client_id, clean=False, expiry=FOREVER, **fields):
        """A client whose session outlives its connection."""
        if self.version == 5:
            fields["properties"] = dict(fields.get("properties") or {}, session_expiry=expiry)
        return self.raw(client_id, clean=clean, **fields)

    def fresh(self, client_id):
        """Removes whatever session there is."""
        self.raw(client_id, clean=True).leave()

    def let_pass(self, seconds):
        """Until the broker has closed enough silent clients (MQTT 3.1.1 and 5.0 3.1.2.10)."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            clock = Raw(self.broker, 4)
            clock.connect(keep_alive=1)
            clock.closed()

    def payloads(self, client, fence="fence"):
        return [p.payload for p in client.until(fence)]

    def will(self, end, expected, **fields):
        """What of a client's will arrives once its connection ended by `end`."""
        witness = self.raw()
        witness.subscribe(self.topic("/#"), qos=2)
        will = dict({"topic": self.topic("/will"), "payload": "last", "qos": 1}, **fields)
        client = self.raw(will=will, keep_alive=1)
        end(client)
        if expected:
            got = witness.message()
            self.assertEqual((got.topic, got.payload, got.qos, got.retain),
                             (self.topic("/will"), b"last", will["qos"], False))
        witness.publish(self.topic("/fence"), "fence", 1)
        self.assertEqual(self.payloads(witness), [])
