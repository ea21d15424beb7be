/*
 * AMQP sessions: begin, end, channels, and what breaks their rules (2.5).
 */
#include "rig.h"

static void both_ends_begin(void **state)
{
    struct rig rig;
    struct tf_amqp_session *first, *second;

    rig_init(&rig, *(enum rig_way *)*state);
    rig_pair(&rig);
    first = rig_begin(&rig, &rig.client);
    second = rig_begin(&rig, &rig.server);
    rig_expect(&rig.client, "begun\nbegin\n");
    rig_expect(&rig.server, "begin\nbegun\n");
    tf_amqp_session_end(first, NULL);
    tf_amqp_session_end(second, NULL);
    tf_amqp_session_end(second, NULL);
    rig_run(&rig);
    rig_expect(&rig.client, "ended\nended\n");
    rig_expect(&rig.server, "ended\nended\n");
    rig_release(&rig);
}

static void both_end_at_once(void **state)
{
    struct rig rig;
    struct tf_amqp_error error = tf_amqp_error_of(TF_AMQP_RESOURCE_DELETED, "gone");

    rig_init(&rig, *(enum rig_way *)*state);
    rig_pair(&rig);
    rig_begin(&rig, &rig.client);
    rig_clear(&rig.client);
    rig_clear(&rig.server);
    tf_amqp_session_end(rig.client.session, NULL);
    tf_amqp_session_end(rig.server.session, &error);
    rig_run(&rig);
    rig_expect(&rig.client, "ended amqp:resource-deleted\n");
    rig_expect(&rig.server, "ended local amqp:resource-deleted\n");
    rig_begin(&rig, &rig.client); /* the channel is free again */
    rig_expect(&rig.client, "begun\n");
    rig_release(&rig);
}

static void ended_before_it_was_answered(void **state)
{
    struct rig rig;
    size_t size;
    struct tf_amqp_session *session;

    rig_init(&rig, *(enum rig_way *)*state);
    rig_pair(&rig);
    rig_begin(&rig, &rig.client); /* so that there is a table */
    rig_clear(&rig.client);
    size = tf_amqp_session_size(&rig.client.config);
    assert_int_equal(tf_amqp_session_begin(rig.client.connection, rig_alloc(&rig.client, size),
                                           size, &rig, &session),
                     TF_OK);
    assert_ptr_equal(tf_amqp_session_user(session), &rig);
    assert_ptr_equal(tf_amqp_session_connection(session), rig.client.connection);
    tf_amqp_session_end(session, NULL);
    rig_run(&rig);
    rig_expect(&rig.client, "ended\n");
    rig_release(&rig);
}

static void no_more_channels(void **state)
{
    struct rig rig;
    size_t size;
    struct tf_amqp_session *session;

    rig_init(&rig, *(enum rig_way *)*state);
    rig.server.config.channel_max = 2;
    rig_pair(&rig);
    for (int i = 0; i < 3; i++)
        rig_begin(&rig, &rig.client);
    size = tf_amqp_session_size(&rig.client.config);
    assert_int_equal(tf_amqp_session_begin(rig.client.connection, rig_alloc(&rig.client, size),
                                           size, NULL, &session),
                     TF_LIMIT);
    assert_int_equal(tf_amqp_session_begin(rig.client.connection, rig_alloc(&rig.client, size), 8,
                                           NULL, &session),
                     TF_NO_MEMORY);
    rig_release(&rig);
}

static void numbers_of_the_peer(void **state)
{
    struct rig rig;

    rig_init(&rig, *(enum rig_way *)*state);
    rig.server.config.channel_max = 65535;
    rig_raw_client(&rig);
    rig_send_begin(&rig, 65535, -1);
    rig_expect_frames(&rig, "begin 0 remote=65535 next=0 in=16 handles=63\n");
    rig_send_begin(&rig, 7, -1);
    rig_send_begin(&rig, 0, -1);
    rig_expect_frames(&rig, "begin 1 remote=7 next=0 in=16 handles=63\n"
                            "begin 2 remote=0 next=0 in=16 handles=63\n");
    rig_send_end(&rig, 7);
    rig_expect_frames(&rig, "end 1\n");
    rig_send_begin(&rig, 9, -1);
    rig_expect_frames(&rig, "begin 1 remote=9 next=0 in=16 handles=63\n");
    rig_send_begin(&rig, 9, -1);
    rig_expect_closing(&rig.server, TF_AMQP_NOT_ALLOWED);
    rig_release(&rig);
}

static void answers_to_nothing(void **state)
{
    struct rig rig;

    rig_init(&rig, *(enum rig_way *)*state);
    rig_raw_client(&rig);
    rig_send_begin(&rig, 0, 3);
    rig_expect_closing(&rig.server, TF_AMQP_NOT_ALLOWED);
    rig_expect_frames(&rig, "close amqp:not-allowed\n");
    rig_release(&rig);
    rig_init(&rig, *(enum rig_way *)*state);
    rig_raw_server(&rig);
    rig_begin(&rig, &rig.client);
    rig_send_begin(&rig, 5, 0);
    rig_expect(&rig.client, "begun\n");
    rig_send_begin(&rig, 6, 0); /* again */
    rig_expect_closing(&rig.client, TF_AMQP_NOT_ALLOWED);
    rig_release(&rig);
}

static void after_an_error_all_is_dropped_until_the_end(void **state)
{
    struct rig rig;

    rig_init(&rig, *(enum rig_way *)*state);
    rig_raw_client(&rig);
    rig_send_begin(&rig, 4, -1);
    rig_clear(&rig.client);
    rig_clear(&rig.server);
    rig_send_detach(&rig, 4, 9, true);
    rig_expect(&rig.server, "ended local amqp:session:unattached-handle\n");
    rig_expect_frames(&rig, "end 0 amqp:session:unattached-handle\n");
    rig_send_attach(&rig, 4, "l", 0, TF_AMQP_SENDER, "q");
    rig_send_detach(&rig, 4, 9, true);
    rig_expect(&rig.server, "");
    rig_expect_frames(&rig, "");
    rig_send_begin(&rig, 5, -1); /* others go on; our number 0 is not free yet */
    rig_expect_frames(&rig, "begin 1 remote=5 next=0 in=16 handles=63\n");
    rig_send_end(&rig, 4);
    rig_expect_frames(&rig, "");
    rig_send_begin(&rig, 4, -1);
    rig_expect_frames(&rig, "begin 0 remote=4 next=0 in=16 handles=63\n");
    rig_release(&rig);
}

static void the_peer_is_asked_for_memory(void **state)
{
    struct rig rig;

    rig_init(&rig, *(enum rig_way *)*state);
    rig_raw_client(&rig);
    rig.server.refuse_needs = true;
    rig_send_begin(&rig, 0, -1);
    rig_expect_closing(&rig.server, TF_AMQP_RESOURCE_LIMIT_EXCEEDED);
    rig_expect_frames(&rig, "close amqp:resource-limit-exceeded\n");
    rig_release(&rig);
}

static void tables_grow_as_needed(void **state)
{
    struct rig rig;
    void *table;
    int tables = 0;

    rig_init(&rig, *(enum rig_way *)*state);
    rig.server.config.channel_max = rig.client.config.channel_max = 999;
    rig_pair(&rig);
    for (int i = 0; i < 100; i++)
        rig_begin(&rig, &rig.client);
    for (int i = 0; i < 100; i++)
        rig_begin(&rig, &rig.server);
    while ((table = tf_amqp_reclaim(rig.server.connection)))
        tables++;
    assert_int_equal(tables, 1);
    rig_release(&rig);
}

static void memory_may_be_late(void **state)
{
    struct rig rig;
    struct tf_amqp_event event;
    size_t size;
    struct tf_amqp_session *session, *first;
    void *old = NULL;

    rig_init(&rig, *(enum rig_way *)*state);
    rig_pair(&rig);
    first = rig_begin(&rig, &rig.client);
    rig_begin(&rig, &rig.client);
    size = tf_amqp_session_size(&rig.client.config);
    assert_int_equal(tf_amqp_session_begin(rig.client.connection, rig_alloc(&rig.client, size),
                                           size, NULL, &session),
                     TF_AGAIN);
    assert_true(tf_amqp_event(rig.client.connection, &event));
    assert_int_equal(event.type, TF_AMQP_NEEDS);
    /* meanwhile there is room again */
    tf_amqp_session_end(first, NULL);
    rig_run(&rig);
    assert_int_equal(tf_amqp_give(rig.client.connection, NULL, event.part,
                                  rig_alloc(&rig.client, event.size), event.size - 1, &old),
                     TF_MISUSE);
    assert_int_equal(tf_amqp_give(rig.client.connection, NULL, event.part,
                                  rig_alloc(&rig.client, event.size), event.size, &old),
                     TF_OK);
    assert_non_null(old);
    assert_int_equal(tf_amqp_give(rig.client.connection, NULL, event.part,
                                  rig_alloc(&rig.client, event.size), event.size, &old),
                     TF_MISUSE);
    rig_clear(&rig.client);
    for (int i = 0; i < 3; i++)
        rig_begin(&rig, &rig.client);
    rig_expect(&rig.client, "begun\nbegun\nbegun\n");
    rig_release(&rig);
}

static void the_answer_may_be_late(void **state)
{
    struct rig rig;
    size_t size;

    rig_init(&rig, *(enum rig_way *)*state);
    rig.server.hold_begin = true;
    rig_pair(&rig);
    rig_begin(&rig, &rig.client);
    rig_begin(&rig, &rig.client);
    rig_expect(&rig.server, "begin\n");
    size = tf_amqp_session_size(&rig.server.config);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(tf_amqp_session_accept(rig.server.connection, rig_alloc(&rig.server, size),
                                                size, NULL, &rig.server.session),
                         TF_OK);
        assert_int_equal(tf_amqp_session_accept(rig.server.connection, rig_alloc(&rig.server, size),
                                                size, NULL, &rig.server.session),
                         TF_MISUSE);
        rig_run(&rig);
    }
    rig_expect(&rig.client, "begun\nbegun\n");
    rig_release(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TESTS(both_ends_begin),
        RIG_TESTS(both_end_at_once),
        RIG_TESTS(ended_before_it_was_answered),
        RIG_TESTS(no_more_channels),
        RIG_TESTS(numbers_of_the_peer),
        RIG_TESTS(answers_to_nothing),
        RIG_TESTS(after_an_error_all_is_dropped_until_the_end),
        RIG_TESTS(the_peer_is_asked_for_memory),
        RIG_TESTS(tables_grow_as_needed),
        RIG_TESTS(the_answer_may_be_late),
        RIG_TESTS(memory_may_be_late),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
