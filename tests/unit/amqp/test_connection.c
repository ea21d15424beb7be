/*
 * AMQP connections: protocol headers, open, close, and what breaks their rules.
 */
#include "rig.h"

#include <string.h>

static void opens_and_closes(void **state)
{
    struct rig rig;

    rig_init(&rig, *(enum rig_way *)*state);
    rig.client.open.hostname = tf_bytes_str("example");
    rig_start(&rig, &rig.client);
    rig_start(&rig, &rig.server);
    rig_run(&rig);
    rig_expect(&rig.client, "opened container=server hostname=\n");
    rig_expect(&rig.server, "opened container=client hostname=example\n");
    tf_amqp_close(rig.client.connection, NULL);
    assert_false(tf_amqp_closing(rig.client.connection, NULL));
    rig_run(&rig);
    rig_expect(&rig.client, "closed\n");
    rig_expect(&rig.server, "closed\n");
    rig_expect_closing(&rig.client, TF_AMQP_NO_ERROR);
    rig_expect_closing(&rig.server, TF_AMQP_NO_ERROR);
    rig_release(&rig);
}

static void sessions_and_links_come_and_go(void **state)
{
    struct rig rig;
    struct tf_amqp_session *session;
    struct tf_amqp_link *link;

    rig_init(&rig, *(enum rig_way *)*state);
    rig_pair(&rig);
    session = rig_begin(&rig, &rig.client);
    rig_expect(&rig.client, "begun\n");
    rig_expect(&rig.server, "begin\n");
    link = rig_attach(&rig, &rig.client, session, "l", TF_AMQP_SENDER, "q");
    rig_expect(&rig.client, "attached name=l source= target=q\n");
    rig_expect(&rig.server, "attach name=l source= target=q\n");
    tf_amqp_link_credit(rig.server.link, 3, false);
    rig_run(&rig);
    rig_expect(&rig.client, "flow sender credit=3\n");
    assert_int_equal(tf_amqp_link_credit_left(link), 3);
    tf_amqp_link_detach(link, true, NULL);
    rig_run(&rig);
    rig_expect(&rig.server, "detached receiver closed\ndetached receiver closed gone local\n");
    rig_expect(&rig.client, "detached sender closed gone\n");
    tf_amqp_session_end(session, NULL);
    rig_run(&rig);
    rig_expect(&rig.server, "ended\n");
    rig_expect(&rig.client, "ended\n");
    rig_release(&rig);
}

/* ---- protocol headers (2.2) ---- */

static void other_headers_get_ours(void **state)
{
    static const char *const headers[] = {
        "414d515000000901",
        "414d515001010000",
        "414d515002010000",
        "414d515003010000",
        "414d515000010001",
        "47455420",
        "00",
    };

    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        struct rig rig;

        rig_init(&rig, *(enum rig_way *)*state);
        rig_start(&rig, &rig.server);
        rig_send_hex(&rig, headers[i]);
        rig_expect_closing(&rig.server, TF_AMQP_FRAMING_ERROR);
        rig_expect_frames(&rig, "header 0\n");
        rig_release(&rig);
    }
}

static void client_takes_no_other_header(void **state)
{
    struct rig rig;

    rig_init(&rig, *(enum rig_way *)*state);
    rig_start(&rig, &rig.client);
    rig_run(&rig);
    rig_expect_frames(&rig, "header 0\nopen max=4096 channels=7 idle=0\n");
    rig_send_hex(&rig, "414d515003010000");
    rig_expect_closing(&rig.client, TF_AMQP_FRAMING_ERROR);
    rig_release(&rig);
}

/* ---- frames that break the rules ---- */

static void bad_frames_close(void **state)
{
    static const struct {
        const char *hex;
        enum tf_amqp_condition condition;
    } frames[] = {
        {"0000000702000000", TF_AMQP_FRAMING_ERROR},        /* size under 8 */
        {"0000000801000000", TF_AMQP_FRAMING_ERROR},        /* data offset under 2 */
        {"0000000803000000", TF_AMQP_FRAMING_ERROR},        /* past the frame */
        {"00001001", TF_AMQP_FRAMING_ERROR},                /* over max-frame-size */
        {"ffffffff", TF_AMQP_FRAMING_ERROR},                /* far over */
        {"0000000802020000", TF_AMQP_FRAMING_ERROR},        /* a type that is none */
        {"0000000802010000", TF_AMQP_FRAMING_ERROR},        /* SASL after it */
        {"0000000802000008", TF_AMQP_FRAMING_ERROR},        /* channel over channel-max */
        {"0000000c02000000 00531745", TF_AMQP_NOT_ALLOWED}, /* end where none was begun */
        {"0000000c02000000 00539945", TF_AMQP_NOT_IMPLEMENTED},
        {"0000000b02000000 005314", TF_AMQP_DECODE_ERROR},            /* no list */
        {"0000000c02000000 00531145", TF_AMQP_DECODE_ERROR},          /* begin without its fields */
        {"0000001102000000 005310c00401a10178", TF_AMQP_NOT_ALLOWED}, /* open again */
    };

    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        struct rig rig;
        const struct tf_amqp_error *error;

        rig_init(&rig, *(enum rig_way *)*state);
        rig_raw_client(&rig);
        rig_send_hex(&rig, frames[i].hex);
        assert_true(tf_amqp_closing(rig.server.connection, &error));
        if (error->condition != frames[i].condition &&
            !(frames[i].condition == TF_AMQP_DECODE_ERROR &&
              error->condition == TF_AMQP_INVALID_FIELD) &&
            frames[i].condition != TF_AMQP_NOT_IMPLEMENTED)
            fail_msg("%s: condition %d", frames[i].hex, error->condition);
        assert_memory_equal(rig.client.log.bytes, "close amqp:", 11);
        rig_release(&rig);
    }
}

static void no_frame_over_512_before_open(void **state)
{
    struct rig rig;

    rig_init(&rig, *(enum rig_way *)*state);
    rig_start(&rig, &rig.server);
    rig_send_hex(&rig, "414d515000010000 00000201");
    rig_expect_closing(&rig.server, TF_AMQP_FRAMING_ERROR);
    rig_expect_frames(&rig, "header 0\nopen max=4096 channels=7 idle=0\n"
                            "close amqp:connection:framing-error\n");
    rig_release(&rig);
}

static void begin_before_open(void **state)
{
    struct rig rig;

    rig_init(&rig, *(enum rig_way *)*state);
    rig_start(&rig, &rig.server);
    rig_send_hex(&rig, "414d515000010000");
    rig_send_begin(&rig, 0, -1);
    rig_expect_closing(&rig.server, TF_AMQP_ILLEGAL_STATE);
    rig_expect_frames(&rig, "header 0\nopen max=4096 channels=7 idle=0\n"
                            "close amqp:illegal-state\n");
    rig_release(&rig);
}

static void close_instead_of_an_open(void **state)
{
    struct rig rig;

    rig_init(&rig, *(enum rig_way *)*state);
    rig_start(&rig, &rig.server);
    rig_send_hex(&rig, "414d515000010000");
    rig_send_close(&rig);
    rig_expect(&rig.server, "closed\n");
    rig_expect_closing(&rig.server, TF_AMQP_NO_ERROR);
    rig_expect_frames(&rig, "header 0\nopen max=4096 channels=7 idle=0\nclose\n");
    rig_release(&rig);
}

static void only_the_open_is_left(void **state)
{
    struct rig rig;

    rig_init(&rig, *(enum rig_way *)*state);
    rig_start(&rig, &rig.server);
    tf_amqp_expect_open(rig.server.connection);
    rig_send_hex(&rig, "0000001102000000 005310c00401a10178");
    rig_expect(&rig.server, "opened container=x hostname=\n");
    rig_expect_frames(&rig, "open max=4096 channels=7 idle=0\n");
    rig_send_begin(&rig, 0, -1);
    rig_expect(&rig.server, "begin\n");
    rig_release(&rig);
}

static void opens_that_are_refused(void **state)
{
    static const struct {
        uint32_t max_frame_size, idle_ms;
        enum tf_amqp_condition condition;
    } opens[] = {{511, 0, TF_AMQP_INVALID_FIELD}, {512, 99, TF_AMQP_NOT_ALLOWED}};

    for (size_t i = 0; i < 2; i++) {
        struct rig rig;
        struct tf_amqp_performative open = {.type = TF_AMQP_OPEN,
                                            .open = {.container_id = tf_bytes_str("raw"),
                                                     .max_frame_size = opens[i].max_frame_size,
                                                     .idle_time_out_ms = opens[i].idle_ms}};

        rig_init(&rig, *(enum rig_way *)*state);
        rig_start(&rig, &rig.server);
        rig_send_hex(&rig, "414d515000010000");
        rig_send(&rig, 0, &open);
        rig_expect_closing(&rig.server, opens[i].condition);
        rig_release(&rig);
    }
}

/* ---- the end ---- */

static void after_close_all_is_dropped(void **state)
{
    struct rig rig;

    rig_init(&rig, *(enum rig_way *)*state);
    rig_raw_client(&rig);
    rig_send_begin(&rig, 0, -1);
    rig_clear(&rig.server);
    rig_clear(&rig.client);
    tf_amqp_close(rig.server.connection, NULL);
    rig_run(&rig);
    rig_expect_frames(&rig, "close\n");
    rig_send_attach(&rig, 0, "l", 0, TF_AMQP_SENDER, "q");
    rig_send_begin(&rig, 3, -1);
    rig_send_hex(&rig, "0000000c02000000 00539945");
    rig_expect(&rig.server, "");
    assert_false(tf_amqp_closing(rig.server.connection, NULL));
    rig_send_close(&rig);
    rig_expect(&rig.server, "closed\n");
    rig_expect_closing(&rig.server, TF_AMQP_NO_ERROR);
    rig_expect_frames(&rig, "");
    rig_release(&rig);
}

static void close_with_an_error(void **state)
{
    struct rig rig;
    struct tf_amqp_error error = tf_amqp_error_of(TF_AMQP_CONNECTION_FORCED, "shutting down");

    rig_init(&rig, *(enum rig_way *)*state);
    rig_pair(&rig);
    tf_amqp_close(rig.server.connection, &error);
    rig_expect_closing(&rig.server, TF_AMQP_CONNECTION_FORCED);
    rig_run(&rig);
    rig_expect(&rig.client, "closed amqp:connection:forced\n");
    rig_expect_closing(&rig.client, TF_AMQP_CONNECTION_FORCED);
    rig_release(&rig);
}

static void close_instead_of_open(void **state)
{
    struct rig rig;
    struct tf_amqp_error error = tf_amqp_error_of(TF_AMQP_NOT_ALLOWED, "not you");

    rig_init(&rig, *(enum rig_way *)*state);
    rig.server.hold_open = true;
    rig_start(&rig, &rig.client);
    rig_start(&rig, &rig.server);
    rig_run(&rig);
    rig_expect(&rig.client, "");
    tf_amqp_close(rig.server.connection, &error);
    rig_run(&rig);
    rig_expect(&rig.client, "opened container= hostname=\nclosed amqp:not-allowed\n");
    rig_release(&rig);
}

static void what_comes_before_the_answer_waits(void **state)
{
    struct rig rig;

    rig_init(&rig, *(enum rig_way *)*state);
    rig.server.hold_open = true;
    rig_start(&rig, &rig.client);
    rig_start(&rig, &rig.server);
    rig_begin(&rig, &rig.client);
    rig_attach(&rig, &rig.client, rig.client.session, "l", TF_AMQP_SENDER, "q");
    rig_expect(&rig.server, "opened container=client hostname=\n");
    assert_int_equal(tf_amqp_open(rig.server.connection, &rig.server.open), TF_OK);
    assert_int_equal(tf_amqp_open(rig.server.connection, &rig.server.open), TF_MISUSE);
    rig_run(&rig);
    rig_expect(&rig.server, "begin\nattach name=l source= target=q\n");
    rig_expect(&rig.client,
               "opened container=server hostname=\nbegun\nattached name=l source= target=q\n");
    rig_release(&rig);
}

static void output_that_does_not_go(void **state)
{
    struct rig rig;

    /* the wire is cut: answers wait in the output, then input waits, nothing is lost */
    rig_init(&rig, *(enum rig_way *)*state);
    rig.server.config.channel_max = rig.client.config.channel_max = 60000;
    rig.buffer_size = TF_AMQP_OUTPUT_MIN;
    rig_raw_client(&rig);
    rig.cut = true;
    for (int i = 0; i < 90; i++)
        rig_send_begin(&rig, (uint16_t)(i * 7), -1);
    assert_int_equal(rig.server.err, TF_AGAIN);
    assert_true(rig.server.in_length > 0);
    rig.cut = false;
    rig_run(&rig);
    assert_int_equal(rig.server.in_length, 0);
    rig_send_close(&rig);
    rig_expect_closing(&rig.server, TF_AMQP_NO_ERROR);
    rig_release(&rig);
}

static void configs(void **state)
{
    struct rig rig;
    struct tf_amqp_connection *connection;
    uint8_t memory[2048];

    (void)state;
    rig_init(&rig, RIG_WHOLE);
    assert_in_range(tf_amqp_size(&rig.client.config), 1, 1024);
    assert_in_range(tf_amqp_session_size(&rig.client.config), 1, 640);
    assert_in_range(tf_amqp_link_size(&rig.client.config), 1, 448);
    assert_int_equal(tf_amqp_init(&connection, memory, 10, &rig.server.config, NULL, 0),
                     TF_NO_MEMORY);
    assert_int_equal(tf_amqp_init(&connection, memory, sizeof memory, &rig.client.config, NULL, 0),
                     TF_MISUSE);
    rig.client.config.max_frame_size = 511;
    assert_int_equal(tf_amqp_size(&rig.client.config), 0);
    rig_release(&rig);
}

static void an_open_that_never_fits(void **state)
{
    struct rig rig;
    char name[600];

    rig_init(&rig, *(enum rig_way *)*state);
    memset(name, 'n', sizeof name);
    rig.client.open.container_id = tf_bytes_of(name, sizeof name);
    rig_start(&rig, &rig.client);
    rig_run(&rig);
    rig_expect_closing(&rig.client, TF_AMQP_INTERNAL_ERROR);
    rig_release(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TESTS(opens_and_closes),
        RIG_TESTS(sessions_and_links_come_and_go),
        RIG_TESTS(other_headers_get_ours),
        RIG_TESTS(client_takes_no_other_header),
        RIG_TESTS(bad_frames_close),
        RIG_TESTS(no_frame_over_512_before_open),
        RIG_TESTS(begin_before_open),
        RIG_TESTS(opens_that_are_refused),
        RIG_TESTS(close_instead_of_an_open),
        RIG_TESTS(only_the_open_is_left),
        RIG_TESTS(after_close_all_is_dropped),
        RIG_TESTS(close_with_an_error),
        RIG_TESTS(close_instead_of_open),
        RIG_TESTS(what_comes_before_the_answer_waits),
        RIG_TESTS(output_that_does_not_go),
        RIG_TESTS(an_open_that_never_fits),
        cmocka_unit_test(configs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
