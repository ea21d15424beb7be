/*
 * AMQP links: attach, detach, handles, and what breaks their rules (2.6).
 */
#include "rig.h"

#include <stdio.h>
#include <string.h>

/* A raw client with a session on channel 0. */
static void start_raw(struct rig *rig, enum rig_way way)
{
    rig_init(rig, way);
    rig_raw_client(rig);
    rig_send_begin(rig, 0, -1);
    rig_clear(&rig->client);
    rig_clear(&rig->server);
}

static void handles_of_the_peer(void **state)
{
    struct rig rig;

    rig_init(&rig, *(enum rig_way *)*state);
    rig.server.config.handle_max = UINT32_MAX;
    rig_raw_client(&rig);
    rig_send_begin(&rig, 0, -1);
    rig_clear(&rig.client);
    rig_send_attach(&rig, 0, "l", UINT32_MAX, TF_AMQP_SENDER, "q");
    rig_expect_frames(&rig, "attach 0 name=l handle=0 receiver source= target=q\n");
    rig_send_attach(&rig, 0, "m", 5, TF_AMQP_RECEIVER, "q");
    rig_expect_frames(&rig, "attach 0 name=m handle=1 sender source=q target=\n");
    rig_send_detach(&rig, 0, UINT32_MAX, false);
    rig_expect_frames(&rig, "detach 0 handle=0\n");
    rig_send_attach(&rig, 0, "n", 6, TF_AMQP_RECEIVER, "q");
    rig_expect_frames(&rig, "attach 0 name=n handle=0 sender source=q target=\n");
    rig_release(&rig);
}

static void handle_over_handle_max(void **state)
{
    struct rig rig;

    start_raw(&rig, *(enum rig_way *)*state);
    rig_send_attach(&rig, 0, "l", 64, TF_AMQP_SENDER, "q");
    rig_expect_closing(&rig.server, TF_AMQP_FRAMING_ERROR);
    rig_release(&rig);
    start_raw(&rig, *(enum rig_way *)*state);
    rig_send_detach(&rig, 0, 64, true);
    rig_expect_closing(&rig.server, TF_AMQP_FRAMING_ERROR);
    rig_release(&rig);
}

static void handle_in_use(void **state)
{
    struct rig rig;

    start_raw(&rig, *(enum rig_way *)*state);
    rig_send_attach(&rig, 0, "l", 1, TF_AMQP_SENDER, "q");
    rig_send_attach(&rig, 0, "m", 1, TF_AMQP_SENDER, "q");
    rig_expect(&rig.server, "attach name=l source= target=q\n"
                            "ended local amqp:session:handle-in-use\n");
    rig_expect_frames(&rig, "attach 0 name=l handle=0 receiver source= target=q\n"
                            "end 0 amqp:session:handle-in-use\n");
    rig_release(&rig);
}

static void a_sender_must_count(void **state)
{
    struct rig rig;
    struct tf_amqp_performative attach = {
        .type = TF_AMQP_ATTACH_FRAME,
        .attach = {.name = tf_bytes_str("l"), .role = TF_AMQP_SENDER}};

    start_raw(&rig, *(enum rig_way *)*state);
    rig_send(&rig, 0, &attach);
    rig_expect(&rig.server, "ended local amqp:invalid-field\n");
    rig_release(&rig);
}

static void both_detach_at_once(void **state)
{
    struct rig rig;
    struct tf_amqp_error error = tf_amqp_error_of(TF_AMQP_RESOURCE_DELETED, "gone");

    rig_init(&rig, *(enum rig_way *)*state);
    rig_pair(&rig);
    rig_begin(&rig, &rig.client);
    rig_attach(&rig, &rig.client, rig.client.session, "l", TF_AMQP_RECEIVER, "q");
    rig_clear(&rig.client);
    rig_clear(&rig.server);
    tf_amqp_link_detach(rig.client.link, false, NULL);
    tf_amqp_link_detach(rig.server.link, true, &error);
    tf_amqp_link_detach(rig.server.link, true, NULL);
    rig_run(&rig);
    rig_expect(&rig.client, "detached receiver closed gone amqp:resource-deleted\n");
    rig_expect(&rig.server, "detached sender gone local amqp:resource-deleted\n");
    rig_attach(&rig, &rig.client, rig.client.session, "l", TF_AMQP_RECEIVER, "q");
    rig_expect(&rig.client, "attached name=l source=q target=\n");
    rig_release(&rig);
}

static void refused(void **state)
{
    struct rig rig;
    struct tf_amqp_error error = tf_amqp_error_of(TF_AMQP_NOT_FOUND, "no such queue");
    struct tf_amqp_attach reply = {.name = tf_bytes_str("l"),
                                   .source = {.type = TF_AMQP_SOURCE},
                                   .target = {.type = TF_AMQP_TARGET}};

    start_raw(&rig, *(enum rig_way *)*state);
    rig.server.hold_attach = true;
    rig_send_attach(&rig, 0, "l", 3, TF_AMQP_RECEIVER, "q");
    assert_int_equal(tf_amqp_link_refuse(rig.server.session, &reply, &error), TF_OK);
    assert_int_equal(tf_amqp_link_refuse(rig.server.session, &reply, &error), TF_MISUSE);
    rig_run(&rig);
    rig_expect_frames(&rig, "attach 0 name=l handle=0 sender target=\n"
                            "detach 0 handle=0 closed amqp:not-found\n");
    rig_clear(&rig.server);
    rig_send_detach(&rig, 0, 3, true);
    rig_expect(&rig.server, "");
    rig_send_attach(&rig, 0, "l", 3, TF_AMQP_SENDER, "q");
    assert_int_equal(tf_amqp_link_refuse(rig.server.session, &reply, &error), TF_OK);
    rig_run(&rig);
    rig_expect_frames(&rig, "attach 0 name=l handle=0 receiver source=\n"
                            "detach 0 handle=0 closed amqp:not-found\n");
    rig_release(&rig);
}

static void refused_with_memory(void **state)
{
    struct rig rig;
    struct tf_amqp_error error = tf_amqp_error_of(TF_AMQP_NOT_FOUND, "no such queue");
    struct tf_amqp_attach reply = {.name = tf_bytes_str("l")};
    size_t size;

    rig_init(&rig, *(enum rig_way *)*state);
    rig_pair(&rig);
    rig.server.hold_attach = true;
    rig_begin(&rig, &rig.client);
    rig_attach(&rig, &rig.client, rig.client.session, "l", TF_AMQP_SENDER, "q");
    rig_clear(&rig.client);
    rig_clear(&rig.server);
    size = tf_amqp_link_size(&rig.server.config);
    assert_int_equal(tf_amqp_link_accept(rig.server.session, rig_alloc(&rig.server, size), size,
                                         &rig, &rig.server.link),
                     TF_OK);
    assert_ptr_equal(tf_amqp_link_user(rig.server.link), &rig);
    assert_ptr_equal(tf_amqp_link_session(rig.server.link), rig.server.session);
    rig_run(&rig);
    rig_expect(&rig.client, ""); /* the answer is to come */
    assert_int_equal(tf_amqp_link_attach_reply(rig.server.link, &reply), TF_OK);
    assert_int_equal(tf_amqp_link_attach_reply(rig.server.link, &reply), TF_MISUSE);
    tf_amqp_link_detach(rig.server.link, true, &error);
    rig_run(&rig);
    rig_expect(&rig.client, "attached name=l\ndetached sender closed amqp:not-found\n"
                            "detached sender closed gone local\n");
    rig_expect(&rig.server, "detached receiver closed gone local amqp:not-found\n");
    rig_release(&rig);
}

static void detached_before_the_answer(void **state)
{
    struct rig rig;
    struct tf_amqp_attach reply = {.name = tf_bytes_str("l")};
    size_t size;

    start_raw(&rig, *(enum rig_way *)*state);
    rig.server.hold_attach = rig.server.hold_detach = true;
    rig_send_attach(&rig, 0, "l", 3, TF_AMQP_SENDER, "q");
    size = tf_amqp_link_size(&rig.server.config);
    assert_int_equal(tf_amqp_link_accept(rig.server.session, rig_alloc(&rig.server, size), size,
                                         NULL, &rig.server.link),
                     TF_OK);
    rig_send_detach(&rig, 0, 3, true);
    assert_int_equal(tf_amqp_link_attach_reply(rig.server.link, &reply), TF_OK);
    tf_amqp_link_detach(rig.server.link, true, NULL);
    rig_run(&rig);
    rig_expect(&rig.server, "attach name=l source= target=q\ndetached receiver closed\n"
                            "detached receiver closed gone local\n");
    rig_expect_frames(&rig, "attach 0 name=l handle=0 receiver\ndetach 0 handle=0 closed\n");
    rig_release(&rig);
}

static void detach_again(void **state)
{
    struct rig rig;

    start_raw(&rig, *(enum rig_way *)*state);
    rig.server.hold_detach = true;
    rig_send_attach(&rig, 0, "l", 3, TF_AMQP_SENDER, "q");
    rig_send_detach(&rig, 0, 3, true);
    rig_clear(&rig.server);
    rig_send_detach(&rig, 0, 3, true);
    rig_expect(&rig.server, "ended local amqp:session:unattached-handle\n");
    rig_release(&rig);
}

static void too_many_links(void **state)
{
    struct rig rig;

    rig_init(&rig, *(enum rig_way *)*state);
    rig.server.config.max_links = 1;
    rig_pair(&rig);
    rig_begin(&rig, &rig.client);
    rig_attach(&rig, &rig.client, rig.client.session, "l", TF_AMQP_SENDER, "q");
    rig_clear(&rig.client);
    rig_clear(&rig.server);
    rig_attach(&rig, &rig.client, rig.client.session, "m", TF_AMQP_SENDER, "q");
    rig_expect(&rig.client, "attached name=m\n"
                            "detached sender closed amqp:resource-limit-exceeded\n"
                            "detached sender closed gone local\n");
    rig_expect(&rig.server, "");
    rig_release(&rig);
}

static void no_more_handles(void **state)
{
    struct rig rig;
    struct tf_amqp_attach attach = {.name = tf_bytes_str("x"), .role = TF_AMQP_SENDER};
    struct tf_amqp_link *link;
    size_t size;

    rig_init(&rig, *(enum rig_way *)*state);
    rig.server.config.handle_max = 1;
    rig_pair(&rig);
    rig_begin(&rig, &rig.client);
    rig_attach(&rig, &rig.client, rig.client.session, "l", TF_AMQP_SENDER, "q");
    rig_attach(&rig, &rig.client, rig.client.session, "m", TF_AMQP_SENDER, "q");
    size = tf_amqp_link_size(&rig.client.config);
    assert_int_equal(tf_amqp_link_attach(rig.client.session, rig_alloc(&rig.client, size), size,
                                         NULL, &attach, &link),
                     TF_LIMIT);
    rig_release(&rig);
}

static void an_attach_too_long(void **state)
{
    struct rig rig;
    char name[5000];
    struct tf_amqp_attach attach = {.role = TF_AMQP_SENDER};
    struct tf_amqp_link *link;
    size_t size;

    memset(name, 'n', sizeof name);
    attach.name = tf_bytes_of(name, sizeof name);
    rig_init(&rig, *(enum rig_way *)*state);
    rig_pair(&rig);
    rig_begin(&rig, &rig.client);
    rig_attach(&rig, &rig.client, rig.client.session, "l", TF_AMQP_SENDER, "q");
    size = tf_amqp_link_size(&rig.client.config);
    assert_int_equal(tf_amqp_link_attach(rig.client.session, rig_alloc(&rig.client, size), size,
                                         NULL, &attach, &link),
                     TF_NO_MEMORY);
    rig_release(&rig);
}

static void the_session_ends_with_links(void **state)
{
    struct rig rig;

    rig_init(&rig, *(enum rig_way *)*state);
    rig.server.credit = 5;
    rig_pair(&rig);
    rig_begin(&rig, &rig.client);
    for (int i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof name, "l%d", i);
        rig_attach(&rig, &rig.client, rig.client.session, name, TF_AMQP_SENDER, "q");
    }
    rig_clear(&rig.client);
    rig_clear(&rig.server);
    tf_amqp_link_detach(rig.client.link, true, NULL);
    tf_amqp_session_end(rig.client.session, NULL);
    rig_run(&rig);
    rig_expect(&rig.client, "ended\n");
    assert_non_null(tf_amqp_session_reclaim(rig.client.session));
    rig_release(&rig);
}

/* A connection of 10,000 links; they leave in another order. */
static void ten_thousand_links(void **state)
{
    enum { LINKS = 10000 };
    struct rig rig;
    size_t size;
    static struct tf_amqp_link *links[LINKS];

    (void)state;
    rig_init(&rig, RIG_WHOLE);
    rig.client.config.handle_max = rig.server.config.handle_max = LINKS - 1;
    rig.client.config.max_links = rig.server.config.max_links = LINKS;
    rig.buffer_size = 1 << 14;
    rig_pair(&rig);
    rig_begin(&rig, &rig.client);
    size = tf_amqp_link_size(&rig.client.config);
    rig.unchecked = true;
    for (int i = 0; i < LINKS; i++) {
        char name[16];
        struct tf_amqp_attach attach = {.role = TF_AMQP_SENDER};
        void *memory = rig_alloc(&rig.client, size);

        attach.name = tf_bytes_of(name, (size_t)snprintf(name, sizeof name, "link-%d", i));
        while (tf_amqp_link_attach(rig.client.session, memory, size, NULL, &attach, &links[i]))
            rig_run(&rig);
    }
    rig_run(&rig);
    assert_true(tf_amqp_check(rig.server.connection));
    rig_clear(&rig.client);
    for (unsigned i = 0; i < LINKS; i++)
        tf_amqp_link_detach(links[i * 7919 % LINKS], true, NULL);
    rig_run(&rig);
    rig.unchecked = false;
    rig_clear(&rig.client);
    rig_clear(&rig.server);
    rig_attach(&rig, &rig.client, rig.client.session, "l", TF_AMQP_SENDER, "q");
    rig_expect(&rig.client, "attached name=l source= target=q\n");
    rig_release(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TESTS(handles_of_the_peer),
        RIG_TESTS(handle_over_handle_max),
        RIG_TESTS(handle_in_use),
        RIG_TESTS(a_sender_must_count),
        RIG_TESTS(both_detach_at_once),
        RIG_TESTS(refused),
        RIG_TESTS(refused_with_memory),
        RIG_TESTS(detached_before_the_answer),
        RIG_TESTS(detach_again),
        RIG_TESTS(too_many_links),
        RIG_TESTS(no_more_handles),
        RIG_TESTS(an_attach_too_long),
        RIG_TESTS(the_session_ends_with_links),
        cmocka_unit_test(ten_thousand_links),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
