/*
 * The AMQP front: opening, moving to the container's home, termini, link stealing, and the end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "unit/broker/amqp_driver.h"

#include <trefoil/amqp_message.h>

static const struct tf_bytes none = {NULL, 0};

static struct driver *start(unsigned shards)
{
    struct driver *driver = malloc(sizeof(*driver));
    amqp_driver_init(driver, shards);
    driver_start(driver);
    return driver;
}

static void stop(struct driver *driver)
{
    driver_stop(driver);
    free(driver);
}

static void test_open(void **state)
{
    (void)state;
    for (unsigned shards = 1; shards <= 3; shards += 2) {
        struct driver *driver = start(shards);
        for (unsigned at = 0; at < shards; at++) {
            char id[16];
            sprintf(id, "container-%u", at);
            struct far_session *session = far_open(driver, at, id);
            unsigned home = driver_home(driver, id);
            assert_int_equal(session->far->conn->shard, home);
            assert_int_equal(session->far->answer.max_frame_size,
                             driver->config.listeners[AMQP_LISTENER].amqp_max_frame_size);
            assert_int_equal(session->far->answer.channel_max,
                             driver->config.listeners[AMQP_LISTENER].amqp_max_sessions - 1);
            assert_non_null(amqp_driver_conn(driver, id));
            assert_int_equal(amqp_driver_conns(driver), at + 1);
        }
        stop(driver);
    }
}

/* SASL before the open, whose connection then moves with what is behind it. */
static void test_sasl(void **state)
{
    (void)state;
    static const struct tf_amqp_sasl_mechanism *const mechanisms[] = {&tf_amqp_sasl_anonymous,
                                                                      &tf_amqp_sasl_plain};
    struct driver *driver = start(3);
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned home = 0; home < 3; home++) {
            struct tf_amqp_sasl sasl = {.mechanisms = mechanisms + i,
                                        .mechanism_count = 1,
                                        .user = tf_bytes_str("u"),
                                        .password = tf_bytes_str("p")};
            struct tf_amqp_config config = far_config();
            char id[32];
            config.sasl = &sasl;
            amqp_name(driver, id, i ? "plain" : "anonymous", home);
            struct far *far = far_new(driver, 0, id, &config);
            far_run(driver);
            struct far_session *session = far_begin(far);
            assert_true(far->opened);
            assert_int_equal(far->conn->shard, home);
            struct far_link *link = far_sender(session, "q", NULL);
            assert_true(far_text(link, "x"));
            far_run(driver);
            assert_int_equal(link->accepted, 1);
        }
    }
    assert_int_equal(driver->moves, 4);
    stop(driver);
}

static void test_sasl_refused(void **state)
{
    (void)state;
    static const struct tf_amqp_sasl_mechanism *const mechanisms[] = {&tf_amqp_sasl_plain};
    struct driver *driver = malloc(sizeof(*driver));
    amqp_driver_init(driver, 1);
    driver->config.listeners[AMQP_LISTENER].access.allow_anonymous = false;
    driver_start(driver);
    struct tf_amqp_sasl sasl = {.mechanisms = mechanisms,
                                .mechanism_count = 1,
                                .user = tf_bytes_str("u"),
                                .password = tf_bytes_str("p")};
    struct tf_amqp_config config = far_config();
    config.sasl = &sasl;
    struct far *far = far_new(driver, 0, "c", &config);
    struct far *bare = far_new(driver, 0, "bare", NULL); /* without SASL at all */
    far_run(driver);
    assert_false(far->opened || bare->opened);
    assert_true(far->conn->ended && bare->conn->ended);
    stop(driver);
}

/* Everything in one piece, or byte by byte, the whole way to the answers. */
static void test_pipelined(void **state)
{
    (void)state;
    for (unsigned mode = 0; mode < 4; mode++) {
        struct driver *driver = start(3);
        char id[32];
        amqp_name(driver, id, "container", 2);
        struct driver_conn *conn = raw_open(driver, 1, id, true);
        conn->read_most = mode == 1 ? 1 : mode == 2 ? 7 : SIZE_MAX;
        conn->write_most = mode == 3 ? 1 : SIZE_MAX;
        raw_attach(conn, 0, "out", TF_AMQP_SENDER, "topic://t");
        raw_attach(conn, 1, "in", TF_AMQP_RECEIVER, "topic://t");
        raw_frame(conn, 0,
                  &(struct tf_amqp_performative){.type = TF_AMQP_FLOW_FRAME,
                                                 .flow = {.incoming_window = 1000,
                                                          .outgoing_window = 1000,
                                                          .has_handle = true,
                                                          .handle = 1,
                                                          .has_delivery_count = true,
                                                          .has_link_credit = true,
                                                          .link_credit = 10}},
                  none);
        assert_int_equal(raw_expect(conn, TF_AMQP_OPEN).type, TF_AMQP_OPEN);
        assert_int_equal(raw_expect(conn, TF_AMQP_BEGIN_FRAME).type, TF_AMQP_BEGIN_FRAME);
        assert_int_equal(raw_expect(conn, TF_AMQP_ATTACH_FRAME).attach.handle, 0);
        struct tf_amqp_performative performative;
        bool granted = false, attached = false;
        while (raw_take(conn, &performative, NULL)) {
            granted |= performative.type == TF_AMQP_FLOW_FRAME && performative.flow.link_credit;
            attached |= performative.type == TF_AMQP_ATTACH_FRAME;
        }
        assert_true(granted && attached);
        static const uint8_t body[] = {0, 0x53, 0x75, 0xA0, 1, 'x'};
        raw_transfer(conn, 0, 0, false, true, tf_bytes_of(body, 3));
        raw_transfer(conn, 0, 0, false, false, tf_bytes_of(body + 3, 3));
        bool came = false, accepted = false;
        while (raw_take(conn, &performative, NULL)) {
            came |= performative.type == TF_AMQP_TRANSFER_FRAME;
            accepted |= performative.type == TF_AMQP_DISPOSITION &&
                        performative.disposition.state.type == TF_AMQP_STATE_ACCEPTED;
        }
        assert_true(came && accepted);
        assert_int_equal(conn->shard, 2);
        assert_int_equal(driver->moves, 1);
        stop(driver);
    }
}

static void test_no_container_id(void **state)
{
    (void)state;
    struct driver *driver = start(1);
    struct driver_conn *conn = raw_open(driver, 0, "", false);
    struct tf_amqp_performative performative = raw_expect(conn, TF_AMQP_CLOSE);
    assert_int_equal(performative.ending.error.condition, TF_AMQP_INVALID_FIELD);
    assert_true(conn->ended);
    stop(driver);
}

/* ---- termini ---- */

/* A link by an attach that is changed a little; NULL: refused by the client machine. */
static struct far_link *attach(struct far_session *session, enum tf_amqp_role role,
                               const char *address, const char *capability)
{
    static unsigned number;
    uint8_t symbols[32];
    char name[32];
    struct tf_writer writer = tf_writer_of(symbols, sizeof(symbols));
    struct tf_amqp_attach attach = role == TF_AMQP_SENDER ? far_to(address) : far_from(address);
    if (capability) {
        tf_amqp_write_symbol(&writer, tf_bytes_str(capability));
        (role == TF_AMQP_SENDER ? &attach.target : &attach.source)->capabilities =
            tf_bytes_of(symbols, tf_writer_length(&writer));
    }
    sprintf(name, "l%u", number++);
    return far_attach(session, name, &attach);
}

struct terminus_case {
    const char *address;
    const char *capability;
    bool queue, topic;                     /* of the answer */
    const char *named;                     /* a queue that there is then */
    enum tf_amqp_condition sender, source; /* what it is refused with as a target and as a source */
};

static const struct terminus_case terminus_cases[] = {
    {.address = "plain", .named = "plain"},
    {.address = "/slash", .named = "slash"},
    {.address = "a/b/c", .named = "a/b/c"},
    {.address = "queue://q1", .named = "q1"},
    {.address = "/queues/q%32", .named = "q2"},
    {.address = "q3", .capability = "queue", .queue = true, .named = "q3"},
    {.address = "topic://t1"},
    {.address = "/topics/t%2F1"},
    {.address = "t2", .capability = "topic", .topic = true},
    {.address = "called/a/topic"},
    {.address = "unknown", .capability = "strange", .named = "unknown"},
    {.address = "x/+/y", .sender = TF_AMQP_INVALID_FIELD},
    {.address = "topic://x/#", .sender = TF_AMQP_INVALID_FIELD},
    {.address = "queue://x/#", .sender = TF_AMQP_INVALID_FIELD, .source = TF_AMQP_INVALID_FIELD},
    {.address = "a+b", .sender = TF_AMQP_INVALID_FIELD, .source = TF_AMQP_INVALID_FIELD},
    {.address = "#/a", .sender = TF_AMQP_INVALID_FIELD, .source = TF_AMQP_INVALID_FIELD},
    {.address = "", .sender = TF_AMQP_INVALID_FIELD, .source = TF_AMQP_INVALID_FIELD},
    {.address = "/", .sender = TF_AMQP_INVALID_FIELD, .source = TF_AMQP_INVALID_FIELD},
    {.address = "queue://", .sender = TF_AMQP_INVALID_FIELD, .source = TF_AMQP_INVALID_FIELD},
    {.address = "/queues/%zz", .sender = TF_AMQP_INVALID_FIELD, .source = TF_AMQP_INVALID_FIELD},
    {.address = "/queues/%00", .sender = TF_AMQP_INVALID_FIELD, .source = TF_AMQP_INVALID_FIELD},
    {.address = "/queues/%FF", .sender = TF_AMQP_INVALID_FIELD, .source = TF_AMQP_INVALID_FIELD},
    {.address = "queue://$x",
     .sender = TF_AMQP_UNAUTHORIZED_ACCESS,
     .source = TF_AMQP_UNAUTHORIZED_ACCESS},
    {.address = "$SYS/x", .sender = TF_AMQP_UNAUTHORIZED_ACCESS},
    {.address = "topic://$SYS/x", .sender = TF_AMQP_UNAUTHORIZED_ACCESS},
    {.address = "$x",
     .capability = "queue",
     .sender = TF_AMQP_UNAUTHORIZED_ACCESS,
     .source = TF_AMQP_UNAUTHORIZED_ACCESS},
};

static void check_terminus(struct driver *driver, struct far_session *session,
                           const struct terminus_case *c, enum tf_amqp_role role)
{
    enum tf_amqp_condition refused = role == TF_AMQP_SENDER ? c->sender : c->source;
    unsigned before = amqp_driver_links(driver);
    struct far_link *link = attach(session, role, c->address, c->capability);
    assert_non_null(session->machine);
    if (link->attached != !refused || (refused && link->condition != refused)) {
        fail_msg("%s, role %d: attached %d, condition %d", c->address, (int)role, link->attached,
                 (int)link->condition);
    }
    if (refused) {
        assert_true(link->detached && link->closed);
        assert_int_equal(amqp_driver_links(driver), before);
        return;
    }
    assert_false(link->detached);
    assert_string_equal(link->address, c->address);
    assert_int_equal(link->queue, c->queue);
    assert_int_equal(link->topic, c->topic);
    assert_int_equal(c->named && amqp_driver_queue(driver, c->named), c->named != NULL);
    if (role == TF_AMQP_SENDER) {
        assert_true(link->credit > 0);
    }
    far_detach(link, true);
    assert_null(link->machine);
    assert_int_equal(amqp_driver_links(driver), before);
}

static void test_termini(void **state)
{
    (void)state;
    for (unsigned shards = 1; shards <= 3; shards += 2) {
        struct driver *driver = malloc(sizeof(*driver));
        char filter[] = "called/#", *topics[] = {filter};
        amqp_driver_init(driver, shards);
        driver->config.topics = topics;
        driver->config.topic_count = 1;
        driver_start(driver);
        struct far_session *session = far_open(driver, 0, "container");
        for (size_t i = 0; i < TF_COUNT(terminus_cases); i++) {
            check_terminus(driver, session, &terminus_cases[i], TF_AMQP_SENDER);
            check_terminus(driver, session, &terminus_cases[i], TF_AMQP_RECEIVER);
        }
        driver->config.topics = NULL;
        driver->config.topic_count = 0;
        stop(driver);
    }
}

/* Termini that are not addresses. */
static void test_special_termini(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    struct far_session *session = far_open(driver, 0, "container");
    struct tf_amqp_attach wish = far_to(NULL); /* anonymous */
    struct far_link *link = far_attach(session, "anonymous", &wish);
    assert_true(link->attached && link->credit > 0);
    wish = far_from(NULL);
    link = far_attach(session, "nothing", &wish);
    assert_int_equal(link->condition, TF_AMQP_INVALID_FIELD);
    wish = far_to("x");
    wish.target = (struct tf_amqp_terminus){0};
    link = far_attach(session, "no target", &wish);
    assert_int_equal(link->condition, TF_AMQP_INVALID_FIELD);
    wish = far_from("x");
    wish.source = (struct tf_amqp_terminus){0};
    link = far_attach(session, "no source", &wish);
    assert_int_equal(link->condition, TF_AMQP_INVALID_FIELD);
    wish = far_to(NULL);
    wish.target.type = TF_AMQP_COORDINATOR;
    link = far_attach(session, "coordinator", &wish);
    assert_int_equal(link->condition, TF_AMQP_NOT_IMPLEMENTED);
    wish = far_to("$management");
    link = far_attach(session, "management", &wish);
    assert_true(link->attached && link->credit > 0);
    assert_int_equal(amqp_driver_links(driver), 2);
    stop(driver);
}

/* A dynamic node (3.5.3) has a name of the broker's, takes messages from anybody, and goes with its
 * link. */
static void test_dynamic(void **state)
{
    (void)state;
    for (unsigned lost = 0; lost < 2; lost++) {
        struct driver *driver = start(3);
        struct far_session *session = far_open(driver, 0, "container");
        struct far_session *other = far_open(driver, 0, "another");
        struct tf_amqp_attach wish = far_from(NULL);
        wish.source.dynamic = true;
        struct far_link *link = far_attach(session, "dynamic", &wish);
        assert_true(link->attached && link->dynamic);
        assert_non_null(amqp_driver_queue(driver, link->address));
        far_credit(link, 10, false);
        struct far_link *sender = far_sender(other, link->address, NULL);
        assert_true(far_text(sender, "answer"));
        far_expect(link, "answer");
        assert_int_equal(sender->accepted, 1);
        char name[256];
        strcpy(name, link->address);
        if (lost) {
            far_cut(session->far);
        } else {
            far_detach(link, true);
        }
        assert_null(amqp_driver_queue(driver, name));
        assert_true(far_text(sender, "to nobody"));
        far_run(driver);
        assert_int_equal(sender->released, 1);
        wish = far_to(NULL);
        wish.target.dynamic = true;
        link = far_attach(other, "dynamic too", &wish);
        assert_true(link->attached && link->dynamic && link->credit > 0);
        assert_true(far_text(link, "x"));
        far_run(driver);
        assert_int_equal(link->accepted, 1);
        assert_int_equal(amqp_driver_status(driver, link->address).messages, 1);
        stop(driver);
    }
}

/* ---- stealing (2.6.1) ---- */

static void test_stealing(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    struct far_session *session = far_open(driver, 0, "container");
    struct far_session *second = far_begin(session->far);
    struct far_session *other = far_open(driver, 1, "container"); /* the same, anew */
    assert_int_equal(amqp_driver_front(driver, driver_home(driver, "container"))->containers.count,
                     1);
    struct tf_amqp_attach wish = far_from("queue://q");
    struct far_link *first = far_attach(session, "name", &wish);
    assert_true(first->attached);
    struct far_link *thief = far_attach(second, "name", &wish); /* another session of it */
    assert_true(thief->attached);
    assert_true(first->detached);
    assert_int_equal(first->condition, TF_AMQP_STOLEN);
    first = thief;
    thief = far_attach(other, "name", &wish); /* another connection of it */
    assert_true(thief->attached && first->detached);
    assert_int_equal(first->condition, TF_AMQP_STOLEN);
    wish = far_to("queue://q"); /* the other direction is another name */
    struct far_link *sender = far_attach(session, "name", &wish);
    assert_true(sender->attached && !thief->detached);
    struct far_session *stranger = far_open(driver, 0, "another container");
    struct far_link *own = far_attach(stranger, "name", &wish);
    assert_true(own->attached && !sender->detached);
    far_credit(thief, 5, false);
    assert_true(far_text(sender, "x"));
    far_expect(thief, "x");
    assert_int_equal(amqp_driver_links(driver), 3);
    far_cut(other->far); /* the container stays as long as one connection names it */
    assert_int_equal(amqp_driver_links(driver), 2);
    assert_true(far_text(sender, "y"));
    far_run(driver);
    assert_int_equal(sender->accepted, 2);
    stop(driver);
}

/* A link that is stolen before its attach was answered. */
static void test_stolen_while_it_waits(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    char id[32], queue[40] = "queue://";
    amqp_name(driver, id, "container", 0);
    amqp_name(driver, queue + 8, "q", 2); /* whose answer takes a while */
    struct driver_conn *first = raw_open(driver, 0, id, true);
    raw_attach(first, 0, "name", TF_AMQP_RECEIVER, queue);
    driver_turn(driver, 0);
    driver_turn(driver, 0);
    struct driver_conn *thief = raw_open(driver, 0, id, true);
    raw_attach(thief, 0, "name", TF_AMQP_RECEIVER, queue);
    driver_turn(driver, 0);
    struct tf_amqp_performative lost = raw_expect(first, TF_AMQP_ATTACH_FRAME);
    assert_int_equal(lost.attach.source.type, TF_AMQP_TERMINUS_NONE);
    lost = raw_expect(first, TF_AMQP_DETACH);
    assert_int_equal(lost.detach.error.condition, TF_AMQP_STOLEN);
    lost = raw_expect(thief, TF_AMQP_ATTACH_FRAME);
    assert_int_equal(lost.attach.source.type, TF_AMQP_SOURCE);
    assert_int_equal(amqp_driver_status(driver, queue + 8).consumers, 1);
    stop(driver);
}

/* Detached, ended, closed or lost before the routing has said whether there is a node. */
static void test_gone_while_it_waits(void **state)
{
    (void)state;
    for (unsigned how = 0; how < 8; how++) {
        struct driver *driver = start(3);
        char id[32], queue[40] = "queue://";
        bool sends = how >= 4;
        amqp_name(driver, id, "container", 0);
        amqp_name(driver, queue + 8, "q", 2);
        struct driver_conn *conn = raw_open(driver, 0, id, true);
        raw_attach(conn, 0, "name", sends ? TF_AMQP_SENDER : TF_AMQP_RECEIVER, queue);
        static const struct tf_amqp_performative ends[] = {
            {.type = TF_AMQP_DETACH, .detach = {.closed = true}},
            {.type = TF_AMQP_END},
            {.type = TF_AMQP_CLOSE}};
        if (how % 4 < 3) {
            raw_frame(conn, 0, &ends[how % 4], none);
        } else {
            driver_turn(driver, 0);
            driver_cut(conn);
        }
        far_run(driver);
        if (how % 4 < 3) {
            assert_int_equal(raw_expect(conn, ends[how % 4].type).type, ends[how % 4].type);
        }
        assert_int_equal(amqp_driver_links(driver), 0);
        struct tf_named_queue *named = amqp_driver_queue(driver, queue + 8);
        if (named) {
            assert_int_equal(amqp_driver_status(driver, queue + 8).consumers, 0);
            assert_int_equal(amqp_driver_status(driver, queue + 8).producers, 0);
        }
        stop(driver);
    }
}

/* ---- the broker's end, and its configuration ---- */

static void test_drain(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    struct far_session *sessions[3];
    for (unsigned i = 0; i < 3; i++) {
        char id[16];
        sprintf(id, "c%u", i);
        sessions[i] = far_open(driver, i, id);
        (void)far_receiver(sessions[i], "q", 10, NULL);
    }
    struct far *early = far_new(driver, 0, "early", NULL); /* has said nothing yet */
    for (unsigned i = 0; i < 3; i++) {
        driver->nodes[i].beside->ops->drain(driver->nodes[i].beside);
    }
    far_run(driver);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(sessions[i]->far->closed && sessions[i]->far->conn->ended);
        assert_int_equal(sessions[i]->far->condition, TF_AMQP_CONNECTION_FORCED);
    }
    assert_true(early->conn->ended);
    assert_int_equal(amqp_driver_conns(driver), 0);
    assert_true(driver_open_beside(driver, 0, AMQP_LISTENER)->ended);
    stop(driver);
}

/* Another configuration holds for new connections; the former ones keep theirs. */
static void test_reload(void **state)
{
    (void)state;
    struct driver *driver = start(1);
    struct far_session *old = far_open(driver, 0, "old");
    driver->config.listeners[AMQP_LISTENER].amqp_max_frame_size = 700;
    driver->config.listeners[AMQP_LISTENER].amqp_max_links = 1;
    struct amqp_front *front = amqp_driver_front(driver, 0);
    test_alloc_fail(&driver->memory, 1);
    front->front.ops->reload(&front->front, &driver->config); /* no memory: nothing changes */
    test_alloc_fail(&driver->memory, 0);
    assert_int_not_equal(far_open(driver, 0, "between")->far->answer.max_frame_size, 700);
    front->front.ops->reload(&front->front, &driver->config);
    struct far_session *new = far_open(driver, 0, "new");
    assert_int_equal(new->far->answer.max_frame_size, 700);
    (void)far_sender(new, "q", NULL);
    (void)far_sender(old, "q", NULL);
    (void)far_sender(old, "q", NULL);
    struct tf_amqp_attach wish = far_to("q");
    struct far_link *second = far_attach(new, "one more", &wish);
    assert_false(second->attached);
    stop(driver);
}

/* A peer that says nothing is gone after the listener's time; one that is heard stays. */
static void test_idle(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    struct far_session *session = far_open(driver, 1, "container");
    struct far_link *link = far_receiver(session, "q", 5, NULL);
    far_advance(driver, 10 * 60 * TF_SECOND); /* both say "alive" in time */
    assert_false(session->far->conn->ended);
    assert_true(link->attached && !link->detached);
    far_advance_mute(driver, 61 * TF_SECOND);
    assert_true(session->far->conn->ended);
    assert_int_equal(session->far->condition, TF_AMQP_RESOURCE_LIMIT_EXCEEDED);
    assert_int_equal(amqp_driver_conns(driver), 0);
    assert_int_equal(amqp_driver_status(driver, "q").consumers, 0);
    struct driver_conn *silent = driver_open_beside(driver, 0, AMQP_LISTENER);
    far_advance_mute(driver, 11 * TF_SECOND); /* connect_timeout */
    assert_true(silent->ended);
    stop(driver);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_sasl),
        cmocka_unit_test(test_sasl_refused),
        cmocka_unit_test(test_pipelined),
        cmocka_unit_test(test_no_container_id),
        cmocka_unit_test(test_termini),
        cmocka_unit_test(test_special_termini),
        cmocka_unit_test(test_dynamic),
        cmocka_unit_test(test_stealing),
        cmocka_unit_test(test_stolen_while_it_waits),
        cmocka_unit_test(test_gone_while_it_waits),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_idle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
