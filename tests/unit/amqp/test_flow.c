/*
 * Windows and credit (2.5.6, 2.6.7, 2.7.4).
 */
#include "rig.h"

/* A raw client with a session on channel 0, and a link on handle 0 of the role that it has. */
static void start_raw(struct rig *rig, enum rig_way way, enum tf_amqp_role role)
{
    rig_init(rig, way);
    rig_raw_client(rig);
    rig_send_begin(rig, 0, -1);
    rig_send_attach(rig, 0, "l", 0, role, "q");
    rig_clear(&rig->client);
    rig_clear(&rig->server);
}

/* A link's flow from the raw peer, which has seen `count` deliveries. */
static void send_credit(struct rig *rig, uint32_t count, uint32_t credit, bool drain, bool echo)
{
    struct tf_amqp_performative flow = {.type = TF_AMQP_FLOW_FRAME,
                                        .flow = {.has_next_incoming_id = true,
                                                 .incoming_window = 100,
                                                 .has_handle = true,
                                                 .has_delivery_count = true,
                                                 .delivery_count = count,
                                                 .has_link_credit = true,
                                                 .link_credit = credit,
                                                 .drain = drain,
                                                 .echo = echo}};

    rig_send(rig, 0, &flow);
}

static void send_transfer(struct rig *rig, uint32_t id, bool settled)
{
    struct tf_amqp_performative transfer = {.type = TF_AMQP_TRANSFER_FRAME,
                                            .transfer = {.has_delivery_id = true,
                                                         .delivery_id = id,
                                                         .has_delivery_tag = true,
                                                         .delivery_tag = tf_bytes_str("t"),
                                                         .has_settled = true,
                                                         .settled = settled}};

    rig_send_payload(rig, 0, &transfer, tf_bytes_str("abc"));
}

/* Sends one pre-settled message from the machine. */
static enum tf_err send_one(struct rig *rig, struct tf_amqp_link *link)
{
    struct tf_bytes body = tf_bytes_str("x");
    struct tf_amqp_sending sending = {
        .tag = tf_bytes_str("t"), .body = &body, .body_count = 1, .settled = true};
    bool borrowed;
    uint64_t delivery;
    enum tf_err err = tf_amqp_send(link, &sending, &borrowed, &delivery);

    rig_run(rig);
    return err;
}

static void credit_of_the_peer(void **state)
{
    struct rig rig;

    start_raw(&rig, *(enum rig_way *)*state, TF_AMQP_RECEIVER);
    assert_int_equal(send_one(&rig, rig.server.link), TF_AGAIN);
    send_credit(&rig, 0, 2, false, false);
    rig_expect(&rig.server, "flow sender credit=2\n");
    send_credit(&rig, 0, 2, false, false); /* nothing has changed */
    rig_expect(&rig.server, "");
    assert_int_equal(send_one(&rig, rig.server.link), TF_OK);
    assert_int_equal(tf_amqp_link_credit_left(rig.server.link), 1);
    send_credit(&rig, 0, 2, false, false); /* it has not seen the first */
    rig_expect(&rig.server, "");
    send_credit(&rig, 1, 2, false, false);
    rig_expect(&rig.server, "flow sender credit=2\n");
    assert_int_equal(send_one(&rig, rig.server.link), TF_OK);
    assert_int_equal(send_one(&rig, rig.server.link), TF_OK);
    assert_int_equal(send_one(&rig, rig.server.link), TF_AGAIN);
    send_credit(&rig, 1, 1, false, false); /* taken back, too late */
    rig_expect(&rig.server, "");
    assert_int_equal(tf_amqp_link_credit_left(rig.server.link), 0);
    send_credit(&rig, 3, UINT32_MAX, false, false);
    rig_expect(&rig.server, "flow sender credit=4294967295\n");
    send_credit(&rig, 2, UINT32_MAX, false, false);
    rig_expect(&rig.server, "flow sender credit=4294967294\n");
    send_credit(&rig, 4, 10, false, false); /* it counts what was not sent */
    rig_expect(&rig.server, "flow sender credit=0\n");
    rig_release(&rig);
}

static void count_left_out(void **state)
{
    struct rig rig;
    struct tf_amqp_performative flow = {
        .type = TF_AMQP_FLOW_FRAME,
        .flow = {
            .incoming_window = 50, .has_handle = true, .has_link_credit = true, .link_credit = 3}};

    start_raw(&rig, *(enum rig_way *)*state, TF_AMQP_RECEIVER);
    rig_send(&rig, 0, &flow);
    rig_expect(&rig.server, "flow sender credit=3\n");
    assert_int_equal(send_one(&rig, rig.server.link), TF_OK);
    rig_send(&rig, 0, &flow); /* counts from the start */
    rig_expect(&rig.server, "");
    assert_int_equal(tf_amqp_link_credit_left(rig.server.link), 2);
    rig_release(&rig);
}

static void drained(void **state)
{
    struct rig rig;

    start_raw(&rig, *(enum rig_way *)*state, TF_AMQP_RECEIVER);
    send_credit(&rig, 0, 5, true, false);
    rig_expect(&rig.server, "flow sender credit=5 drain\n");
    assert_int_equal(send_one(&rig, rig.server.link), TF_OK);
    rig_clear(&rig.client);
    tf_amqp_link_drained(rig.server.link);
    rig_run(&rig);
    rig_expect_frames(&rig,
                      "flow 0 next-in=0 in=16 next-out=1 handle=0 count=5 credit=0 available=0 "
                      "drain\n");
    assert_int_equal(tf_amqp_link_credit_left(rig.server.link), 0);
    send_credit(&rig, 5, 2, true, false); /* and again */
    rig_expect(&rig.server, "flow sender credit=2 drain\n");
    send_credit(&rig, 5, 2, false, false);
    rig_expect(&rig.server, "flow sender credit=2\n");
    tf_amqp_link_drained(rig.server.link); /* not asked for any more */
    rig_run(&rig);
    assert_int_equal(tf_amqp_link_credit_left(rig.server.link), 2);
    rig_release(&rig);
}

static void echoes(void **state)
{
    struct rig rig;
    struct tf_amqp_performative flow = {
        .type = TF_AMQP_FLOW_FRAME,
        .flow = {.has_next_incoming_id = true, .incoming_window = 9, .echo = true}};

    start_raw(&rig, *(enum rig_way *)*state, TF_AMQP_RECEIVER);
    tf_amqp_link_available(rig.server.link, 7);
    send_credit(&rig, 0, 0, false, true);
    rig_expect(&rig.server, "flow sender credit=0 echo\n");
    rig_expect_frames(&rig, "flow 0 next-in=0 in=16 next-out=0 handle=0 count=0 credit=0 "
                            "available=7\n");
    rig_send(&rig, 0, &flow);
    rig_expect(&rig.server, "");
    rig_expect_frames(&rig, "flow 0 next-in=0 in=16 next-out=0\n");
    rig_release(&rig);
}

static void changes_of_credit_are_told_once(void **state)
{
    struct rig rig;

    start_raw(&rig, *(enum rig_way *)*state, TF_AMQP_SENDER);
    for (uint32_t i = 1; i < 10; i++)
        tf_amqp_link_credit(rig.server.link, i, false);
    rig_run(&rig);
    rig_expect_frames(&rig, "flow 0 next-in=0 in=16 next-out=0 handle=0 count=0 credit=9\n");
    tf_amqp_link_credit(rig.server.link, 9, false);
    rig_run(&rig);
    rig_expect_frames(&rig, "");
    rig_release(&rig);
}

static void credit_taken_back(void **state)
{
    struct rig rig;

    start_raw(&rig, *(enum rig_way *)*state, TF_AMQP_SENDER);
    tf_amqp_link_credit(rig.server.link, 3, false);
    rig_run(&rig);
    tf_amqp_link_credit(rig.server.link, 0, false);
    rig_run(&rig);
    rig_expect_frames(&rig, "flow 0 next-in=0 in=16 next-out=0 handle=0 count=0 credit=3\n"
                            "flow 0 next-in=0 in=16 next-out=0 handle=0 count=0 credit=0\n");
    /* what was under way is no violation */
    for (uint32_t i = 0; i < 3; i++)
        send_transfer(&rig, i, true);
    rig_expect(&rig.server, "transfer id=0 tag=t settled bytes=3\n"
                            "transfer id=1 tag=t settled bytes=3\n"
                            "transfer id=2 tag=t settled bytes=3\n");
    send_transfer(&rig, 3, true); /* this one is */
    rig_expect(&rig.server, "detached receiver closed local amqp:link:transfer-limit-exceeded\n");
    rig_release(&rig);
}

static void errant_link(void **state)
{
    struct rig rig;
    uint32_t id = 1;

    start_raw(&rig, *(enum rig_way *)*state, TF_AMQP_SENDER);
    send_transfer(&rig, 0, true);
    rig_expect(&rig.server, "detached receiver closed local amqp:link:transfer-limit-exceeded\n");
    rig_expect_frames(&rig, "detach 0 handle=0 closed amqp:link:transfer-limit-exceeded\n");
    /* what the peer may have sent before it was told is ignored */
    for (; id < 16; id++)
        send_transfer(&rig, id, true);
    rig_expect(&rig.server, "");
    /* the window it uses now came after the detach */
    send_transfer(&rig, id, true);
    rig_expect(&rig.server, "ended local amqp:session:errant-link\n");
    rig_release(&rig);
}

static void drain_of_ours(void **state)
{
    struct rig rig;
    struct tf_amqp_performative flow = {.type = TF_AMQP_FLOW_FRAME,
                                        .flow = {.has_next_incoming_id = true,
                                                 .incoming_window = 100,
                                                 .has_handle = true,
                                                 .has_delivery_count = true,
                                                 .delivery_count = 4,
                                                 .has_link_credit = true,
                                                 .drain = true,
                                                 .has_available = true}};

    start_raw(&rig, *(enum rig_way *)*state, TF_AMQP_SENDER);
    tf_amqp_link_credit(rig.server.link, 4, true);
    rig_run(&rig);
    rig_expect_frames(&rig, "flow 0 next-in=0 in=16 next-out=0 handle=0 count=0 credit=4 drain\n");
    send_transfer(&rig, 0, true);
    rig_clear(&rig.server);
    rig_send(&rig, 0, &flow);
    rig_expect(&rig.server, "flow receiver credit=0 available=0\n");
    assert_int_equal(tf_amqp_link_credit_left(rig.server.link), 0);
    tf_amqp_link_credit(rig.server.link, 1, false);
    rig_run(&rig);
    rig_expect_frames(&rig, "flow 0 next-in=1 in=16 next-out=0 handle=0 count=4 credit=1\n");
    flow.flow.delivery_count = 400; /* more than it may use up */
    rig_send(&rig, 0, &flow);
    rig_expect(&rig.server, "flow receiver credit=0 available=0\n");
    rig_release(&rig);
}

static void credit_before_the_answer(void **state)
{
    struct rig rig;
    struct tf_amqp_attach attach = {.name = tf_bytes_str("l"),
                                    .role = TF_AMQP_RECEIVER,
                                    .source = {.type = TF_AMQP_SOURCE},
                                    .target = {.type = TF_AMQP_TARGET}};
    struct tf_amqp_performative answer = {
        .type = TF_AMQP_ATTACH_FRAME,
        .attach = {.name = tf_bytes_str("l"),
                   .handle = 4,
                   .role = TF_AMQP_SENDER,
                   .source = {.type = TF_AMQP_SOURCE},
                   .target = {.type = TF_AMQP_TARGET},
                   .has_initial_delivery_count = true,
                   .initial_delivery_count = UINT32_C(0xfffffffe)}};
    size_t size;

    rig_init(&rig, *(enum rig_way *)*state);
    rig_raw_server(&rig);
    rig_begin(&rig, &rig.client);
    rig_send_begin(&rig, 0, 0);
    rig_clear(&rig.client);
    rig_clear(&rig.server);
    size = tf_amqp_link_size(&rig.client.config);
    while (tf_amqp_link_attach(rig.client.session, rig_alloc(&rig.client, size), size, NULL,
                               &attach, &rig.client.link))
        rig_run(&rig);
    tf_amqp_link_credit(rig.client.link, 3, false);
    rig_run(&rig);
    rig_expect_frames(&rig, "attach 0 name=l handle=0 receiver source= target=\n"
                            "flow 0 next-in=0 in=16 next-out=0 handle=0 credit=3\n");
    rig_send(&rig, 0, &answer);
    rig_clear(&rig.client);
    for (uint32_t i = 0; i < 4; i++) {
        struct tf_amqp_performative transfer = {.type = TF_AMQP_TRANSFER_FRAME,
                                                .transfer = {.handle = 4,
                                                             .has_delivery_id = true,
                                                             .delivery_id = i,
                                                             .has_delivery_tag = true,
                                                             .delivery_tag = tf_bytes_str("t"),
                                                             .has_settled = true,
                                                             .settled = true}};
        rig_send_payload(&rig, 0, &transfer, tf_bytes_str("abc"));
    }
    rig_expect(&rig.client, "transfer id=0 tag=t settled bytes=3\n"
                            "transfer id=1 tag=t settled bytes=3\n"
                            "transfer id=2 tag=t settled bytes=3\n"
                            "detached receiver closed local amqp:link:transfer-limit-exceeded\n");
    rig_release(&rig);
}

/* ---- windows ---- */

static void window_of_ours(void **state)
{
    struct rig rig;

    start_raw(&rig, *(enum rig_way *)*state, TF_AMQP_SENDER);
    rig.server.quiet = true;
    tf_amqp_link_credit(rig.server.link, 1000, false);
    rig_run(&rig);
    rig_clear(&rig.client);
    for (uint32_t i = 0; i < 7; i++)
        send_transfer(&rig, i, true);
    rig_expect_frames(&rig, "");
    send_transfer(&rig, 7, true); /* half of it is used */
    rig_expect_frames(&rig, "flow 0 next-in=8 in=16 next-out=0\n");
    tf_amqp_session_window(rig.server.session, 0);
    rig_run(&rig);
    rig_expect_frames(&rig, "flow 0 next-in=8 in=0 next-out=0\n");
    /* what was under way is no violation */
    for (uint32_t i = 8; i < 24; i++)
        send_transfer(&rig, i, true);
    rig_expect_frames(&rig, "");
    tf_amqp_session_window(rig.server.session, 1);
    tf_amqp_session_window(rig.server.session, 1000); /* the config's is the most */
    rig_run(&rig);
    rig_expect_frames(&rig, "flow 0 next-in=24 in=16 next-out=0\n");
    tf_amqp_session_window(rig.server.session, 0);
    rig_run(&rig);
    rig_clear(&rig.client);
    for (uint32_t i = 24; i < 40; i++)
        send_transfer(&rig, i, true);
    rig_expect(&rig.server, "");
    send_transfer(&rig, 40, true);
    rig_expect(&rig.server, "ended local amqp:session:window-violation\n");
    rig_expect_frames(&rig, "end 0 amqp:session:window-violation\n");
    rig_release(&rig);
}

/* A session's flow from the raw peer. */
static void send_window(struct rig *rig, bool seen, uint32_t next, uint32_t window)
{
    struct tf_amqp_performative flow = {.type = TF_AMQP_FLOW_FRAME,
                                        .flow = {.has_next_incoming_id = seen,
                                                 .next_incoming_id = next,
                                                 .incoming_window = window}};

    rig_send(rig, 0, &flow);
}

static void window_of_the_peer(void **state)
{
    struct rig rig;

    start_raw(&rig, *(enum rig_way *)*state, TF_AMQP_RECEIVER);
    send_credit(&rig, 0, 1000, false, false);
    send_window(&rig, true, 0, 2);
    assert_int_equal(send_one(&rig, rig.server.link), TF_OK);
    assert_int_equal(send_one(&rig, rig.server.link), TF_OK);
    assert_int_equal(send_one(&rig, rig.server.link), TF_AGAIN);
    send_window(&rig, true, 1, 2);
    assert_int_equal(send_one(&rig, rig.server.link), TF_OK);
    assert_int_equal(send_one(&rig, rig.server.link), TF_AGAIN);
    send_window(&rig, false, 0, 4); /* from the start */
    assert_int_equal(send_one(&rig, rig.server.link), TF_OK);
    assert_int_equal(send_one(&rig, rig.server.link), TF_AGAIN);
    send_window(&rig, true, 900, 4); /* it counts what was not sent */
    assert_int_equal(send_one(&rig, rig.server.link), TF_AGAIN);
    send_window(&rig, true, 4, UINT32_MAX);
    assert_int_equal(send_one(&rig, rig.server.link), TF_OK);
    rig_release(&rig);
}

static void flows_for_nothing(void **state)
{
    struct rig rig;
    struct tf_amqp_performative flow = {.type = TF_AMQP_FLOW_FRAME,
                                        .flow = {.has_handle = true, .handle = 5}};

    start_raw(&rig, *(enum rig_way *)*state, TF_AMQP_RECEIVER);
    rig_send(&rig, 0, &flow);
    rig_expect(&rig.server, "ended local amqp:session:unattached-handle\n");
    rig_release(&rig);
}

/* A drain that ends before the attach is answered is told behind the answer. */
static void drained_before_the_answer(void **state)
{
    struct rig rig;
    struct tf_amqp_attach reply = {.name = tf_bytes_str("l"),
                                   .source = {.type = TF_AMQP_SOURCE},
                                   .target = {.type = TF_AMQP_TARGET}};

    rig_init(&rig, *(enum rig_way *)*state);
    rig.server.hold_attach = true;
    rig_raw_client(&rig);
    rig_send_begin(&rig, 0, -1);
    rig_send_attach(&rig, 0, "l", 0, TF_AMQP_RECEIVER, "q");
    size_t size = tf_amqp_link_size(&rig.server.config);
    struct tf_amqp_link *link;
    assert_int_equal(
        tf_amqp_link_accept(rig.server.session, rig_alloc(&rig.server, size), size, NULL, &link),
        TF_OK);
    send_credit(&rig, 0, 5, true, false);
    tf_amqp_link_drained(link);
    rig_clear(&rig.client);
    rig_clear(&rig.server);
    while (tf_amqp_link_attach_reply(link, &reply))
        rig_run(&rig);
    rig_run(&rig);
    rig_expect_frames(
        &rig, "attach 0 name=l handle=0 sender source= target=\n"
              "flow 0 next-in=0 in=16 next-out=0 handle=0 count=5 credit=0 available=0 drain\n");
    rig_release(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TESTS(credit_of_the_peer),
        RIG_TESTS(count_left_out),
        RIG_TESTS(drained),
        RIG_TESTS(echoes),
        RIG_TESTS(changes_of_credit_are_told_once),
        RIG_TESTS(credit_taken_back),
        RIG_TESTS(errant_link),
        RIG_TESTS(drain_of_ours),
        RIG_TESTS(credit_before_the_answer),
        RIG_TESTS(drained_before_the_answer),
        RIG_TESTS(window_of_ours),
        RIG_TESTS(window_of_the_peer),
        RIG_TESTS(flows_for_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
