/*
 * Time-outs: the open that does not come, peers that are silent, peers that must hear us (2.4.5).
 */
#include "rig.h"

static void no_open_in_time(void **state)
{
    struct rig rig;

    rig_init(&rig, *(enum rig_way *)*state);
    rig.server.config.open_timeout_ms = 10000;
    rig_start(&rig, &rig.server);
    rig_sleep(&rig, 5000);
    rig_send_hex(&rig, "414d515000010000");
    rig_sleep(&rig, 4999);
    assert_false(tf_amqp_closing(rig.server.connection, NULL));
    rig_sleep(&rig, 1);
    rig_expect_closing(&rig.server, TF_AMQP_RESOURCE_LIMIT_EXCEEDED);
    rig_expect_frames(&rig, "header 0\nopen max=4096 channels=7 idle=0\n"
                            "close amqp:resource-limit-exceeded\n");
    rig_release(&rig);
    rig_init(&rig, *(enum rig_way *)*state);
    rig.server.config.open_timeout_ms = 10000;
    rig_start(&rig, &rig.server);
    rig_sleep(&rig, 10000); /* not a byte: there is nobody to talk to */
    rig_expect_closing(&rig.server, TF_AMQP_RESOURCE_LIMIT_EXCEEDED);
    rig_expect_frames(&rig, "");
    rig_release(&rig);
}

static void an_open_in_time(void **state)
{
    struct rig rig;

    rig_init(&rig, *(enum rig_way *)*state);
    rig.server.config.open_timeout_ms = rig.client.config.open_timeout_ms = 1000;
    rig_pair(&rig);
    assert_true(tf_amqp_deadline(rig.server.connection) == TF_TIME_NEVER ||
                tf_amqp_deadline(rig.server.connection) <= rig.now + 1000 * TF_MILLISECOND);
    rig_sleep(&rig, 100000);
    rig_expect_open(&rig.server);
    assert_true(tf_amqp_deadline(rig.server.connection) == TF_TIME_NEVER);
    rig_release(&rig);
}

static void a_silent_peer(void **state)
{
    struct rig rig;

    rig_init(&rig, *(enum rig_way *)*state);
    rig.server.config.idle_timeout_ms = 2000;
    rig_raw_client(&rig);
    rig_sleep(&rig, 1999);
    assert_false(tf_amqp_closing(rig.server.connection, NULL));
    rig_send_hex(&rig, "0000000802000000"); /* alive */
    rig_sleep(&rig, 1500);
    rig_send_hex(&rig, "000000"); /* a part of a frame is as good */
    rig_sleep(&rig, 1500);
    tf_amqp_alive(rig.server.connection, rig.now);
    rig_sleep(&rig, 1999);
    assert_false(tf_amqp_closing(rig.server.connection, NULL));
    rig_sleep(&rig, 1);
    rig_expect_closing(&rig.server, TF_AMQP_RESOURCE_LIMIT_EXCEEDED);
    rig_expect_frames(&rig, "close amqp:resource-limit-exceeded\n");
    rig_release(&rig);
}

static void half_of_it_is_announced(void **state)
{
    struct rig rig;

    rig_init(&rig, *(enum rig_way *)*state);
    rig.client.config.idle_timeout_ms = 2000;
    rig_start(&rig, &rig.client);
    rig_run(&rig);
    rig_expect_frames(&rig, "header 0\nopen max=4096 channels=7 idle=1000\n");
    rig_release(&rig);
}

static void both_keep_alive(void **state)
{
    struct rig rig;

    rig_init(&rig, *(enum rig_way *)*state);
    rig.client.config.idle_timeout_ms = 3000;
    rig.server.config.idle_timeout_ms = 200;
    rig_pair(&rig);
    rig_sleep(&rig, 60000);
    rig_expect_open(&rig.client);
    rig_expect_open(&rig.server);
    rig.cut = true;
    rig_sleep(&rig, 200);
    rig_expect_closing(&rig.server, TF_AMQP_RESOURCE_LIMIT_EXCEEDED);
    rig_expect_open(&rig.client);
    rig_sleep(&rig, 3000);
    rig_expect_closing(&rig.client, TF_AMQP_RESOURCE_LIMIT_EXCEEDED);
    rig_release(&rig);
}

static void a_peer_that_must_hear_us(void **state)
{
    struct rig rig;
    struct tf_amqp_performative open = {.type = TF_AMQP_OPEN,
                                        .open = {.container_id = tf_bytes_str("raw"),
                                                 .max_frame_size = 4096,
                                                 .channel_max = 9,
                                                 .idle_time_out_ms = 1000}};

    rig_init(&rig, *(enum rig_way *)*state);
    rig_start(&rig, &rig.server);
    rig_send_hex(&rig, "414d515000010000");
    rig_send(&rig, 0, &open);
    rig_clear(&rig.client);
    rig_sleep(&rig, 499);
    rig_expect_frames(&rig, "");
    rig_sleep(&rig, 1);
    rig_expect_frames(&rig, "empty\n");
    rig_sleep(&rig, 300);
    rig_send_begin(&rig, 0, -1); /* what we say anyhow is enough */
    rig_clear(&rig.client);
    rig_sleep(&rig, 499);
    rig_expect_frames(&rig, "");
    rig_sleep(&rig, 1001);
    rig_expect_frames(&rig, "empty\nempty\nempty\n");
    rig_release(&rig);
}

static void after_close_nothing_is_said(void **state)
{
    struct rig rig;

    rig_init(&rig, *(enum rig_way *)*state);
    rig.client.config.idle_timeout_ms = 1000;
    rig.server.config.idle_timeout_ms = 100000;
    rig_pair(&rig);
    tf_amqp_close(rig.server.connection, NULL);
    rig.cut = true; /* so that the answer does not come */
    rig_sleep(&rig, 900);
    rig_clear(&rig.client);
    rig.cut = false;
    rig_run(&rig);
    rig_expect(&rig.client, "closed\n");
    rig_expect_closing(&rig.server, TF_AMQP_NO_ERROR);
    rig_release(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TESTS(no_open_in_time),
        RIG_TESTS(an_open_in_time),
        RIG_TESTS(a_silent_peer),
        RIG_TESTS(half_of_it_is_announced),
        RIG_TESTS(both_keep_alive),
        RIG_TESTS(a_peer_that_must_hear_us),
        RIG_TESTS(after_close_nothing_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
