"""Names by AMQP: what an address stands for, queues that come and go by themselves, topics, temporary
and durable subscriptions, the anonymous terminus, links that are stolen. Frames are seen by a raw client.
"""

import proton
import proton.reactor

from amqp import (HEADER, RECEIVER, SASL_HEADER, SENDER, AmqpCase, AmqpError, Raw, Symbol, composite,
                  condition, frame, message, plain)
from amqp_clients import Proton, Rhea
from broker import main

TOPIC, QUEUE = {"capabilities": [Symbol("topic")]}, {"capabilities": [Symbol("queue")]}
DURABLE = {"durable": 2, "expiry_policy": "never"}


class Names(AmqpCase):
    GENERAL = ["topic events/#", "queue work", "queue bound", "queue_bind bound/+/in"]

    def setUp(self):
        super().setUp()
        self.name = self.address()

    def fresh(self):
        """The name of this test, and a session."""
        return self.name, self.session()

    @staticmethod
    def came(link, *wanted):
        got = link.bodies(len(wanted))
        if got != [each.encode() for each in wanted]:
            raise AmqpError("expected %s, got %s" % (wanted, got))


class Plain(Names):
    def test_a_sender_declares_and_binds(self):
        name, session = self.fresh()
        link = session.sender(name)
        self.assertEqual(link.remote.target.address, name)
        self.assertEqual(link.send("by amqp").name, "accepted")
        self.mqtt().publish(name, "by mqtt", 1)
        self.depth(name, 2)
        self.came(session.receiver(name, credit=2), "by amqp", "by mqtt")

    def test_a_receiver_declares_and_binds(self):
        name, session = self.fresh()
        link = session.receiver(name, credit=2)
        self.assertEqual(link.remote.source.address, name)
        self.assertEqual(self.sys(name)["messages"], 0)
        self.mqtt().publish(name, "by mqtt", 1)
        self.came(link, "by mqtt")

    def test_a_sender_publishes_to_the_address(self):
        name, session = self.fresh()
        subscriber = self.mqtt(name)
        session.sender(name).send("for both")
        self.assertEqual(subscriber.message().payload, b"for both")
        self.depth(name, 1)

    def test_a_leading_slash(self):
        """amqp://host/examples: some clients give the address as /examples."""
        name, session = self.fresh()
        link = session.sender("/" + name)
        self.assertEqual(link.remote.target.address, "/" + name)
        link.send("x")
        self.came(session.receiver(name, credit=1), "x")

    def test_configured_topics_are_never_declared(self):
        session = self.session()
        first = session.receiver("events/door", credit=5)
        second = session.receiver("events/door", credit=5)
        session.sender("events/door").send("open")
        self.came(first, "open")
        self.came(second, "open")
        self.assertNotIn("events/door", self.queues())

    def test_system_names_are_not_declared(self):
        before = self.queues()
        for name in "$other", "$SYS/mine":
            for kind in "sender", "receiver":
                session = self.session()
                try:
                    getattr(session, kind)(name)
                except AmqpError:
                    pass
                session.raw.drop()
        self.assertEqual([name for name in self.queues() if "$" in name and name not in before], [])

    def test_system_names_are_not_written(self):
        session = self.session()
        link = session.attach(None, SENDER, composite("source"),
                              composite("target", address="topic://$SYS/mine", **TOPIC))
        if link.remote.target is None:
            self.assertIn(condition(link.detached("any")),
                          ("amqp:unauthorized-access", "amqp:not-allowed"))
        else:
            state = link.send("x")
            self.assertIn((state.name, condition(state)),
                          (("rejected", "amqp:unauthorized-access"),
                           ("rejected", "amqp:not-allowed")))

    def test_addresses_that_are_none(self):
        """What no protocol could say: amqp:invalid-field, and the session lives."""
        session = self.session()
        for bad in "a\0b", "a/+", "a/#", "a#b", "/".join("x" * 129), "queue://", "topic://", \
                "/queues/", "/topics/a%2", "/queues/%ff", "/queues/%00":
            with self.subTest(bad[:20]):
                session.sender(bad, refused="amqp:invalid-field")
        for bad in "a#b", "topic://a/#/b", "topic://a+", "queue://a/+", "a\0b", "queue://":
            with self.subTest(bad):
                session.receiver(bad, refused="amqp:invalid-field")
        session.fence()

    def test_a_name_of_many_languages(self):
        name = self.name + "/Zürich/東京/🙂"
        session = self.session()
        subscriber = self.mqtt(name)
        session.sender(name).send("x")
        self.assertEqual(subscriber.message().topic, name)
        self.came(session.receiver(name, credit=1), "x")


class Forms(Names):
    def test_queue_form_is_the_queue_alone(self):
        name, session = self.fresh()
        subscriber = self.mqtt(name, "fence")
        session.receiver(name).detach()
        self.assertEqual(session.sender("queue://" + name).send("one").name, "accepted")
        self.mqtt().publish("fence", "fence", 1)
        self.assertEqual(subscriber.message().payload, b"fence")
        self.depth(name, 1)

    def test_all_forms_of_a_queue(self):
        session = self.session()
        quoted = "/queues/work"
        for index, address in enumerate(("queue://work", quoted, "/queues/%77ork")):
            self.assertEqual(session.sender(address).send("%d" % index).name, "accepted")
        link = session.sender("work", target=QUEUE)
        link.send("3")
        self.came(session.receiver("queue://work", credit=1), "0")
        self.came(session.receiver(quoted, credit=1), "1")
        self.came(session.receiver("/queues/wor%6b", credit=1), "2")
        self.came(session.receiver("work", source=QUEUE, credit=1), "3")

    def test_percent_encoding(self):
        name, session = self.fresh()
        odd = name + "/100% a&b"
        session.sender(odd).send("one")
        self.came(session.receiver("/queues/" + odd.replace("%", "%25").replace("/", "%2F")
                                   .replace(" ", "%20"), credit=1), "one")
        watcher = session.receiver("/topics/" + name + "%2Fx%20y", credit=1)
        self.mqtt().publish(name + "/x y", "two", 1)
        self.came(watcher, "two")

    def test_all_forms_of_a_topic(self):
        name, session = self.fresh()
        links = [session.receiver("topic://" + name, credit=9),
                 session.receiver("/topics/" + name, credit=9),
                 session.receiver("/topics/" + name.replace("/", "%2F"), credit=9),
                 session.receiver(name, source=TOPIC, credit=9)]
        for address, more in (("topic://" + name, {}), ("/topics/" + name, {}),
                              (name, {"target": TOPIC})):
            self.assertEqual(session.sender(address, **more).send(address).name, "accepted")
            for link in links:
                self.came(link, address)
        self.assertNotIn(name, self.queues())

    def test_a_bound_queue(self):
        self.assertEqual(self.session().sender("topic://bound/x/in").send("x").name, "accepted")
        self.mqtt().publish("bound/y/in", "y", 1)
        self.mqtt().publish("bound/y/out", "no", 1)
        self.depth("bound", 2)
        self.came(self.session().receiver("queue://bound", credit=2), "x", "y")


class Topics(Names):
    def test_topic_both_ways(self):
        name, session = self.fresh()
        link = session.receiver("topic://" + name, credit=5)
        subscriber = self.mqtt(name)
        session.sender("topic://" + name).send("from amqp")
        self.mqtt().publish(name, "from mqtt", 1)
        self.came(link, "from amqp", "from mqtt")
        self.assertEqual([subscriber.message().payload for _ in range(2)],
                         [b"from amqp", b"from mqtt"])

    def test_wildcards(self):
        name, session = self.fresh()
        everything = session.receiver("topic://" + name + "/#", credit=9)
        one = session.receiver("topic://" + name + "/+/t", credit=9)
        coded = session.receiver("/topics/" + name + "/%2B/t", credit=9)
        able = session.receiver(name + "/+/t", source=TOPIC, credit=9)
        publisher = self.mqtt()
        for rest in "/a/t", "/a/u", "/b/t", "/b/c/t":
            publisher.publish(name + rest, rest, 1)
        got = everything.take(4)
        self.assertEqual([each.body for each in got], [b"/a/t", b"/a/u", b"/b/t", b"/b/c/t"])
        self.assertEqual([each.message.properties.to for each in got][:2],
                         ["topic://" + name + "/a/t", "topic://" + name + "/a/u"])
        for link in one, coded, able:
            self.came(link, "/a/t", "/b/t")

    def test_wildcards_do_not_match_system_names(self):
        session = self.session()
        link = session.receiver("topic://#", credit=50)
        session.sender("topic://" + self.name).send("mark")
        while True:
            got = link.take()[0]
            self.assertNotIn("$", got.message.properties.to or "")
            if got.body == b"mark":
                break

    def test_a_system_topic_is_read(self):
        got = self.session().receiver("topic://$SYS/broker/version", credit=1).take()[0]
        self.assertIn(b"refoil", got.body)

    def test_retained_is_given_to_a_new_receiver(self):
        name, session = self.fresh()
        self.mqtt().publish(name, "kept", 1, retain=True)
        self.came(session.receiver("topic://" + name, credit=1), "kept")
        sender = session.sender("topic://" + name)
        sender.send(message(b"newer", annotations={"x-opt-retain-message": True}))
        self.came(session.receiver("topic://" + name, credit=1), "newer")
        sender.send(message(b"passing"))
        self.came(session.receiver("topic://" + name, credit=1), "newer")
        sender.send(message(b"", annotations={"x-opt-retain-message": True}))
        session.receiver("topic://" + name).nothing()

    def test_released_when_nobody_is_there(self):
        name, session = self.fresh()
        link = session.sender("topic://" + name)
        self.assertEqual(link.send("nobody").name, "released")
        receiver = session.receiver("topic://" + name, credit=1)
        self.assertEqual(link.send("somebody").name, "accepted")
        self.came(receiver, "somebody")
        receiver.detach()
        self.assertEqual(link.send("nobody").name, "released")

    def test_accepted_when_nobody_is_there_with_the_capability(self):
        name, session = self.fresh()
        self.assertEqual(session.sender(name, target=TOPIC).send("nobody").name, "accepted")

    def test_accepted_when_it_is_kept_as_a_value(self):
        name, session = self.fresh()
        state = session.sender("topic://" + name).send(
            message(b"kept", annotations={"x-opt-retain-message": True}))
        self.assertEqual(state.name, "accepted")

    def test_a_slow_receiver_has_a_queue_of_its_own(self):
        name, session = self.fresh()
        link = session.receiver("topic://" + name)
        fast = session.receiver("topic://" + name, credit=10)
        sender = session.sender("topic://" + name)
        for n in range(5):
            sender.send("%d" % n)
        self.came(fast, *"01234")
        link.flow(10)
        self.came(link, *"01234")

    def test_a_topic_receiver_gets_released_ones_again(self):
        name, session = self.fresh()
        link = session.receiver("topic://" + name, credit=1)
        session.sender("topic://" + name).send("x")
        link.settle(link.receive(), "released")
        link.flow(1)
        self.came(link, "x")


class Durable(Names):
    def subscribe(self, container, **more):
        raw = self.amqp(container)
        link = raw.begin().receiver("topic://" + self.name, name="subscription",
                                    source=dict(DURABLE, **more))
        return raw, link

    def publish(self, *bodies):
        link = self.session().sender(self.name, target=TOPIC)
        for body in bodies:
            self.assertEqual(link.send(body).name, "accepted")

    def test_messages_are_kept_while_it_is_detached(self):
        raw, link = self.subscribe("durable-1")
        self.publish("early")
        link.flow(1)
        self.came(link, "early")
        link.detach(closed=False)
        raw.leave()
        self.publish("one", "two")
        raw, link = self.subscribe("durable-1")
        link.flow(5)
        self.came(link, "one", "two")
        self.publish("three")
        self.came(link, "three")

    def test_messages_are_kept_when_the_connection_is_lost(self):
        raw, link = self.subscribe("durable-2")
        self.publish("zero")
        link.flow(1)
        link.receive()
        raw.drop()
        self.publish("one")
        raw, link = self.subscribe("durable-2")
        link.flow(5)
        self.came(link, "zero", "one")

    def test_closing_ends_it(self):
        raw, link = self.subscribe("durable-3")
        self.publish("lost")
        link.detach(closed=True)
        self.publish("lost as well")
        raw.leave()
        raw, link = self.subscribe("durable-3")
        link.nothing()

    def test_it_belongs_to_container_and_name(self):
        raw, link = self.subscribe("durable-4")
        link.detach(closed=False)
        raw.leave()
        self.publish("for 4")
        other = self.subscribe("durable-5")[1]
        other.nothing()
        raw, link = self.subscribe("durable-4")
        link.flow(1)
        self.came(link, "for 4")

    def test_a_subscription_that_is_not_durable_goes_with_its_link(self):
        name, session = self.fresh()
        link = session.receiver("topic://" + name, name="passing")
        link.detach(closed=False)
        self.assertEqual(session.sender("topic://" + name).send("lost").name, "released")
        session.receiver("topic://" + name, name="passing").nothing()

    def test_durable_by_proton(self):
        topic = "topic://" + self.name
        options = [proton.reactor.DurableSubscription()]

        def client():
            container = proton.reactor.Container()
            container.container_id = "durable-proton"
            return Proton(self.broker, container=container)
        first = client()
        first.receiver(topic, name="subscription", options=options).link.detach()
        first.close()
        self.publish("kept")
        second = client()
        self.addCleanup(second.close)
        second.subscribe(topic, name="subscription", options=options)
        self.assertEqual(bytes(second.take(topic, 1)[0].body), b"kept")


class Dynamic(Names):
    def test_a_node_of_one_s_own(self):
        session = self.session()
        link = session.receiver(None, source={"dynamic": True}, credit=5)
        address = link.remote.source.address
        self.assertTrue(address)
        self.assertTrue(link.remote.source.dynamic)
        other = self.session()
        sender = other.sender(address)
        self.assertEqual(sender.send("reply").name, "accepted")
        self.came(link, "reply")
        second = session.receiver(None, source={"dynamic": True})
        self.assertNotEqual(second.remote.source.address, address)

    def test_it_goes_with_its_link(self):
        session = self.session()
        link = session.receiver(None, source={"dynamic": True})
        address = link.remote.source.address
        sender = self.session().sender(address)
        sender.send("x")
        link.detach()
        self.gone(address)

    def test_it_goes_with_its_connection(self):
        session = self.session()
        link = session.receiver(None, source={"dynamic": True})
        address = link.remote.source.address
        session.raw.drop()
        self.gone(address)

    def gone(self, address):
        """Nobody can attach to it, or nothing that is sent to it is taken."""
        def tried():
            session = self.session()
            link = session.attach(None, SENDER, composite("source"),
                                  composite("target", address=address))
            if link.remote.target is None:
                self.assertEqual(condition(link.detached("any")), "amqp:not-found")
                return True
            return link.send("lost").name == "released"
        self.eventually(tried, "the dynamic node stays")

    def test_a_dynamic_target(self):
        session = self.session()
        link = session.sender(None, target={"dynamic": True})
        address = link.remote.target.address
        self.assertTrue(address)
        self.assertEqual(link.send("x").name, "accepted")
        self.came(self.session().receiver(address, credit=1), "x")

    def test_request_and_reply_by_real_clients(self):
        """Each asks, and the other answers to the dynamic address that it finds in reply-to."""
        name = self.name
        rhea = Rhea(self.broker)
        self.addCleanup(rhea.quit)
        asker = Proton(self.broker)
        self.addCleanup(asker.close)
        replies = asker.connection.create_receiver(None, dynamic=True, credit=1)
        rhea.receiver(name)
        asker.send(name, proton.Message(body="ask", reply_to=replies.link.remote_source.address,
                                        correlation_id="7"))
        got = rhea.event("message")
        self.assertEqual(got["body"], "ask")
        self.assertEqual(rhea.send(got["reply_to"], rhea.message(["string", "told"], correlation_id="7")),
                         ["accepted"])
        self.assertEqual(replies.receive().body, "told")


class Anonymous(Names):
    def relay(self):
        session = self.session()
        return session, session.sender(None)

    def test_to_decides(self):
        name = self.name
        session, link = self.relay()
        queue = session.receiver(name + "/q", credit=5)
        topic = session.receiver("topic://" + name + "/t", credit=5)
        for to in name + "/q", "queue://" + name + "/q", "topic://" + name + "/t":
            self.assertEqual(link.send(message(to.encode(), properties={"to": to})).name, "accepted")
        self.came(queue, name + "/q", "queue://" + name + "/q")
        self.came(topic, "topic://" + name + "/t")

    def test_released_when_nothing_took_it(self):
        _, link = self.relay()
        state = link.send(message(b"x", properties={"to": "topic://" + self.name}))
        self.assertEqual(state.name, "released")

    def test_without_to_it_goes_nowhere(self):
        _, link = self.relay()
        for body in message(b"x"), message(b"x", properties={"subject": "s"}):
            self.assertIn(link.send(body).name, ("rejected", "released"))

    def test_an_impossible_to(self):
        _, link = self.relay()
        state = link.send(message(b"x", properties={"to": "a/#"}))
        self.assertEqual((state.name, condition(state)), ("rejected", "amqp:invalid-field"))

    def test_by_proton_and_rhea(self):
        link = self.session().receiver(self.name, credit=2)
        proton = Proton(self.broker)
        self.addCleanup(proton.close)
        self.assertEqual(proton.send(None, proton.message(data=b"p", address=self.name)),
                         ["accepted"])
        rhea = Rhea(self.broker)
        self.addCleanup(rhea.quit)
        self.assertEqual(rhea.send(None, rhea.message(data=b"r", to=self.name)), ["accepted"])
        self.came(link, "p", "r")


class Stealing(Names):
    def test_the_same_name_on_another_connection(self):
        """2.6.1: the same container and link name; the old one is detached, and the new one goes on."""
        old = self.amqp("thief")
        link = old.begin().receiver(self.name, name="the-link", credit=5)
        new = self.amqp("thief")
        again = new.begin().receiver(self.name, name="the-link", credit=5)
        link.detached("amqp:link:stolen")
        self.session().sender(self.name).send("x")
        self.came(again, "x")
        link.session.fence()

    def test_what_was_acquired_comes_to_the_new_link(self):
        self.session().sender(self.name).send("x")
        old = self.amqp("thief-2")
        link = old.begin().receiver(self.name, name="the-link", credit=5)
        link.receive()
        again = self.amqp("thief-2").begin().receiver(self.name, name="the-link", credit=5)
        link.detached("amqp:link:stolen")
        self.came(again, "x")

    def test_senders_too(self):
        old = self.amqp("thief-3")
        link = old.begin().sender(self.name, name="the-link")
        again = self.amqp("thief-3").begin().sender(self.name, name="the-link")
        link.detached("amqp:link:stolen")
        self.assertEqual(again.send("x").name, "accepted")

    def test_another_direction_or_container_steals_nothing(self):
        raw = self.amqp("honest")
        session = raw.begin()
        first = session.sender(self.name, name="the-link")
        second = session.receiver(self.name, name="the-link", credit=5)
        other = self.amqp("somebody-else").begin().sender(self.name, name="the-link")
        for index, link in enumerate((first, other)):
            self.assertEqual(link.send("%d" % index).name, "accepted")
        self.came(second, "0", "1")


class Layers(Names):
    def test_sasl_none(self):
        raw = self.amqp()
        raw.begin().fence()
        raw.leave()

    def test_sasl_anonymous(self):
        self._with("ANONYMOUS", b"trace")

    def test_sasl_anonymous_without_a_response(self):
        self._with("ANONYMOUS", None)

    def test_sasl_plain(self):
        """Without a password file every user is let in where allow_anonymous says so."""
        self._with("PLAIN", plain("user", "secret"))

    def _with(self, mechanism, response):
        with Raw(self.broker) as raw:
            self.assertIn(mechanism, raw.sasl(mechanism, response))
            raw.open()
            self.assertEqual(raw.begin().sender(self.name).send("x").name, "accepted")
            raw.leave()

    def test_everything_at_once(self):
        """A client need not wait: headers, SASL, open, begin, attach in one write (2.4.1)."""
        with Raw(self.broker) as raw:
            raw.send(SASL_HEADER, frame(0, composite("init", mechanism="ANONYMOUS"), kind=1), HEADER,
                     frame(0, composite("open", container_id="all")),
                     frame(0, composite("begin", next_outgoing_id=0, incoming_window=10,
                                        outgoing_window=10)),
                     frame(0, composite("attach", name="l", handle=0, role=RECEIVER,
                                        source=composite("source", address=self.name),
                                        target=composite("target"))),
                     frame(0, composite("close")))
            self.assertEqual(raw.octets(8), SASL_HEADER)
            raw.expect("mechanisms")
            raw.expect("outcome", code=0)
            self.assertEqual(raw.octets(8), HEADER)
            raw.wait("open")
            self.assertIsNone(raw.wait("close").error)

    def test_two_connections_of_one_container_live_together(self):
        first, second = self.amqp("twice"), self.amqp("twice")
        for raw in first, second:
            self.assertEqual(raw.begin().sender(self.name).send("x").name, "accepted")

    def test_sessions_apart(self):
        raw = self.amqp()
        sessions = [raw.begin(channel) for channel in (0, 7, 3)]
        for session in sessions:
            self.assertEqual(session.sender(self.name).send("%d" % session.channel).name, "accepted")
        sessions[1].end()
        again = raw.begin(7)
        self.came(again.receiver(self.name, credit=3), "0", "7", "3")

    def test_a_handle_is_used_again(self):
        session = self.session()
        for n in range(3):
            link = session.sender(self.name, handle=4)
            self.assertEqual(link.send("%d" % n).name, "accepted")
            link.detach()

    def test_an_end_with_an_error_is_answered(self):
        session = self.session()
        session.put("end", error=composite("error", condition="amqp:internal-error"))
        self.assertIsNone(session.wait("end").error)
        session.raw.begin(0).fence()

    def test_a_broken_connection_is_no_harm(self):
        for cut in range(0, 200, 7):
            raw = self.amqp()
            session = raw.begin()
            link = session.sender(self.name)
            link.credited()
            raw.send(frame(0, composite("transfer", handle=0, delivery_id=0, delivery_tag=b"t"),
                           message(b"x" * 300))[:cut])
            raw.drop()
        self.assertEqual(self.session().sender(self.name).send("x").name, "accepted")

    def test_the_broker_says_who_it_is(self):
        raw = self.amqp(hostname="localhost")
        self.assertTrue(raw.remote.container_id)
        self.assertIn("ANONYMOUS-RELAY", raw.remote.offered or [])
        self.assertEqual(str(dict(raw.remote.properties or []).get("product", "")).lower(), "trefoil")


if __name__ == "__main__":
    main()
