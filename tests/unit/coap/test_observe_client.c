/*
 * Observations, the client's side (RFC 7641): the test is the server.
 */
#include "unit/coap/probe.h"

#define SERVER 9u

static uint16_t message_id = 1000;
static uint8_t token[8]; /* of the observation */

static uint64_t observe(struct probe *probe)
{
    static const struct tf_coap_option path = {TF_COAP_URI_PATH, {(const uint8_t *)"x", 1}};
    uint32_t peer = SERVER;
    uint64_t handle = 0;
    struct tf_coap_request request = {.method = TF_COAP_GET,
                                      .observe = true,
                                      .options = &path,
                                      .option_count = 1,
                                      .user = &message_id};

    assert_int_equal(tf_coap_call(probe->endpoint, &peer, &request, &handle, probe->now), TF_OK);
    probe_run(probe);
    const struct tf_coap_message *message = &probe_only(probe)->message;
    assert_int_equal(probe_uint(message, TF_COAP_OBSERVE), 0);
    assert_int_equal(message->token.length, 8);
    memcpy(token, message->token.data, 8);
    return handle;
}

struct notification {
    enum tf_coap_type type;
    uint8_t code;
    int64_t sequence, max_age, block2; /* -1: none */
    const char *etag;
    size_t offset, length;
    unsigned seed;
};

/* A response with the observation's token; an ACK is to the last message. */
static void notify(struct probe *probe, struct notification what)
{
    uint8_t payload[4096];
    struct packet packet;
    uint16_t id = ++message_id;

    if (what.type == TF_COAP_ACK)
        id = probe_last(probe)->message.message_id;
    packet_start_id(&packet, what.type, what.code ? what.code : TF_COAP_CONTENT, id,
                    tf_bytes_of(token, 8));
    if (what.etag)
        packet_text(&packet, TF_COAP_ETAG, what.etag);
    if (what.sequence >= 0)
        packet_uint(&packet, TF_COAP_OBSERVE, (uint32_t)what.sequence);
    if (what.max_age >= 0)
        packet_uint(&packet, TF_COAP_MAX_AGE_OPTION, (uint32_t)what.max_age);
    if (what.block2 >= 0)
        packet_uint(&packet, TF_COAP_BLOCK2, (uint32_t)what.block2);
    pattern_fill(payload, sizeof(payload), what.seed);
    packet_payload(&packet, payload + what.offset, what.length);
    probe_clear(probe);
    packet_feed(probe, SERVER, &packet);
}

static void notify_plain(struct probe *probe, enum tf_coap_type type, int64_t sequence)
{
    notify(probe, (struct notification){type, 0, sequence, -1, -1, NULL, 0, 3, 0});
}

/* One RESPONSE of the observation since probe_clear. */
static const struct tf_coap_event *expect_notification(struct probe *probe, uint64_t handle,
                                                       uint32_t sequence)
{
    assert_int_equal(probe_count(probe, TF_COAP_EVENT_RESPONSE), 1);
    const struct tf_coap_event *event = probe_event(probe, TF_COAP_EVENT_RESPONSE);
    assert_int_equal(event->handle, handle);
    assert_ptr_equal(event->user, &message_id);
    assert_true(event->observe);
    assert_false(event->last);
    assert_int_equal(event->sequence, sequence);
    return event;
}

static void expect_end(struct probe *probe, uint64_t handle, uint8_t code)
{
    assert_int_equal(probe_count(probe, TF_COAP_EVENT_RESPONSE), 1);
    const struct tf_coap_event *event = probe_event(probe, TF_COAP_EVENT_RESPONSE);
    assert_int_equal(event->handle, handle);
    assert_int_equal(event->message.code, code);
    assert_true(event->last);
    assert_false(event->observe);
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->calls, 0);
}

static void test_notifications(void **state)
{
    struct probe *probe = probe_new(NULL, NULL);

    (void)state;
    uint64_t handle = observe(probe);
    notify_plain(probe, TF_COAP_ACK, 5);
    expect_notification(probe, handle, 5);
    assert_int_equal(probe->sent_count, 0);
    notify_plain(probe, TF_COAP_NON, 6);
    expect_notification(probe, handle, 6);
    assert_int_equal(probe->sent_count, 0);
    notify_plain(probe, TF_COAP_CON, 7);
    expect_notification(probe, handle, 7);
    assert_int_equal(probe_only(probe)->message.type, TF_COAP_ACK);
    assert_int_equal(probe_only(probe)->message.message_id, message_id);
    /* An error ends it. */
    notify(probe, (struct notification){TF_COAP_CON, TF_COAP_NOT_FOUND, -1, -1, -1, NULL, 0, 0, 0});
    expect_end(probe, handle, TF_COAP_NOT_FOUND);
    assert_int_equal(probe_only(probe)->message.type, TF_COAP_ACK);
    /* What comes now is nobody's. */
    notify_plain(probe, TF_COAP_CON, 8);
    assert_int_equal(probe_only(probe)->message.type, TF_COAP_RST);
    notify_plain(probe, TF_COAP_NON, 9);
    assert_int_equal(probe_only(probe)->message.type, TF_COAP_RST);
    assert_int_equal(probe->seen_count, 0);
    probe_free(probe);
}

/* 3.4: 24-bit serial numbers, and 128 s. */
static void test_order(void **state)
{
    struct probe *probe = probe_new(NULL, NULL);

    (void)state;
    uint64_t handle = observe(probe);
    notify_plain(probe, TF_COAP_ACK, 0xFFFFF0);
    notify_plain(probe, TF_COAP_NON, 0xFFFFF0); /* the same */
    assert_int_equal(probe->seen_count, 0);
    notify_plain(probe, TF_COAP_NON, 0xFFFFEF); /* older */
    assert_int_equal(probe->seen_count, 0);
    notify_plain(probe, TF_COAP_NON, 3); /* round the corner */
    expect_notification(probe, handle, 3);
    notify_plain(probe, TF_COAP_CON, 0xFFFFFF); /* late, and acknowledged all the same */
    assert_int_equal(probe->seen_count, 0);
    assert_int_equal(probe_only(probe)->message.type, TF_COAP_ACK);
    notify_plain(probe, TF_COAP_NON, 3 + 0x7FFFFF);
    expect_notification(probe, handle, 3 + 0x7FFFFF);
    notify_plain(probe, TF_COAP_NON, 2); /* half the circle: not newer */
    assert_int_equal(probe->seen_count, 0);
    notify(probe, (struct notification){TF_COAP_NON, 0, 4 + 0x7FFFFF, 1000, -1, NULL, 0, 0, 0});
    expect_notification(probe, handle, 4 + 0x7FFFFF);
    probe_clear(probe);
    probe_pass(probe, 128 * TF_SECOND);
    notify_plain(probe, TF_COAP_NON, 0x800000);
    assert_int_equal(probe->seen_count, 0);
    probe_pass(probe, TF_SECOND);
    notify_plain(probe, TF_COAP_NON, 0x800000); /* after so long all are newer */
    expect_notification(probe, handle, 0x800000);
    probe_free(probe);
}

/* The server does not want to: the answer is the last. */
/* A registration that was sent twice is answered twice: what the first copy met comes too late. */
static void test_late_answer(void **state)
{
    struct probe *probe = probe_new(NULL, NULL);
    struct packet packet;

    (void)state;
    uint64_t handle = observe(probe);
    uint16_t id = probe_last(probe)->message.message_id;
    notify_plain(probe, TF_COAP_ACK, 5);
    expect_notification(probe, handle, 5);
    packet_start_id(&packet, TF_COAP_ACK, TF_COAP_NOT_FOUND, id, tf_bytes_of(token, 8));
    probe_clear(probe);
    packet_feed(probe, SERVER, &packet);
    assert_int_equal(probe_count(probe, TF_COAP_EVENT_RESPONSE), 0);
    notify_plain(probe, TF_COAP_NON, 6);
    expect_notification(probe, handle, 6);
    probe_free(probe);
}

static void test_plain_answer(void **state)
{
    struct probe *probe = probe_new(NULL, NULL);

    (void)state;
    uint64_t handle = observe(probe);
    notify_plain(probe, TF_COAP_ACK, -1);
    expect_end(probe, handle, TF_COAP_CONTENT);
    handle = observe(probe);
    notify(probe, (struct notification){TF_COAP_ACK, TF_COAP_FORBIDDEN, -1, -1, -1, NULL, 0, 0, 0});
    expect_end(probe, handle, TF_COAP_FORBIDDEN);
    probe_free(probe);
}

/* 3.3.1: no notification while the last one was fresh: registered anew, with the same token. */
static void test_again(void **state)
{
    struct probe *probe = probe_new(NULL, NULL);

    (void)state;
    uint64_t handle = observe(probe);
    notify(probe, (struct notification){TF_COAP_ACK, 0, 50, 30, -1, NULL, 0, 0, 0});
    probe_clear(probe);
    probe_pass(probe, 20 * TF_SECOND);
    notify(probe, (struct notification){TF_COAP_NON, 0, 51, 30, -1, NULL, 0, 0, 0});
    probe_clear(probe);
    tf_time before = probe->now;
    probe_pass(probe, 34 * TF_SECOND);
    assert_int_equal(probe->sent_count, 0);
    probe_pass(probe, 11 * TF_SECOND);
    assert_true(probe->sent_count >= 1);
    assert_true(probe->sent[0].at >= before + 35 * TF_SECOND);
    assert_true(probe->sent[0].at <= before + 45 * TF_SECOND);
    assert_memory_equal(probe->sent[0].message.token.data, token, 8);
    assert_int_equal(probe_uint(&probe->sent[0].message, TF_COAP_OBSERVE), 0);
    /* The server has been started again and counts from 0: its answer counts. */
    notify(probe, (struct notification){TF_COAP_ACK, 0, 0, 30, -1, NULL, 0, 0, 0});
    expect_notification(probe, handle, 0);
    /* The default is 60 s. */
    notify_plain(probe, TF_COAP_NON, 1);
    probe_clear(probe);
    probe_pass(probe, 64 * TF_SECOND);
    assert_int_equal(probe->sent_count, 0);
    probe_pass(probe, 11 * TF_SECOND);
    assert_true(probe->sent_count >= 1);
    /* Nobody is there: that is the end. */
    probe_pass(probe, 100 * TF_SECOND);
    assert_int_equal(probe_event(probe, TF_COAP_EVENT_FAILED)->handle, handle);
    assert_int_equal(probe_event(probe, TF_COAP_EVENT_FAILED)->err, TF_AGAIN);
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->calls, 0);
    probe_free(probe);
}

/* A late notification while the registration anew is under way is no answer to it. */
static void test_again_crossed(void **state)
{
    struct probe *probe = probe_new(NULL, NULL);

    (void)state;
    uint64_t handle = observe(probe);
    notify(probe, (struct notification){TF_COAP_ACK, 0, 50, 1, -1, NULL, 0, 0, 0});
    probe_clear(probe);
    probe_pass(probe, 17 * TF_SECOND);
    assert_true(probe->sent_count >= 1);
    notify_plain(probe, TF_COAP_NON, 49);
    assert_int_equal(probe->seen_count, 0);
    probe_pass(probe, 16 * TF_SECOND);
    assert_true(probe->sent_count >= 1); /* it asks once more */
    notify_plain(probe, TF_COAP_ACK, 50);
    expect_notification(probe, handle, 50);
    probe_free(probe);
}

/* Told by Observe 1 with the same token (3.6). */
static void test_cancel_tell(void **state)
{
    struct probe *probe = probe_new(NULL, NULL);

    (void)state;
    uint64_t handle = observe(probe);
    notify_plain(probe, TF_COAP_ACK, 5);
    probe_clear(probe);
    tf_coap_cancel(probe->endpoint, handle, true, probe->now);
    probe_run(probe);
    assert_int_equal(probe_uint(&probe_only(probe)->message, TF_COAP_OBSERVE), 1);
    assert_memory_equal(probe_only(probe)->message.token.data, token, 8);
    assert_true(tf_bytes_equal(probe_option(&probe_only(probe)->message, TF_COAP_URI_PATH),
                               tf_bytes_str("x")));
    /* One that was on its way is not the answer. */
    notify_plain(probe, TF_COAP_NON, 6);
    assert_int_equal(probe->seen_count, 0);
    assert_int_equal(probe_uint(&probe_only(probe)->message, TF_COAP_OBSERVE), 1);
    notify_plain(probe, TF_COAP_ACK, -1);
    expect_end(probe, handle, TF_COAP_CONTENT);
    probe_free(probe);
}

/* Forgotten: the next notification is reset. */
static void test_cancel_forget(void **state)
{
    struct probe *probe = probe_new(NULL, NULL);

    (void)state;
    uint64_t handle = observe(probe);
    notify_plain(probe, TF_COAP_ACK, 5);
    probe_clear(probe);
    tf_coap_cancel(probe->endpoint, handle, false, probe->now);
    probe_run(probe);
    assert_int_equal(probe->sent_count, 0);
    notify_plain(probe, TF_COAP_CON, 6);
    assert_int_equal(probe_only(probe)->message.type, TF_COAP_RST);
    assert_int_equal(probe->seen_count, 0);
    probe_free(probe);
}

#define BLOCK(number, more, szx) ((int64_t)(number) << 4 | (more) << 3 | (szx))

/* Answers the fetch of a block, which is the last message sent. */
static void give(struct probe *probe, uint32_t number, bool more, const char *etag, unsigned seed)
{
    uint8_t observation[8];
    const struct tf_coap_message *message = &probe_last(probe)->message;

    assert_int_equal(probe_uint(message, TF_COAP_OBSERVE), -1);
    assert_int_equal(probe_uint(message, TF_COAP_BLOCK2), BLOCK(number, 0, 0));
    memcpy(observation, token, 8);
    memcpy(token, message->token.data, 8);
    assert_memory_not_equal(observation, token, 8);
    notify(probe, (struct notification){TF_COAP_ACK, 0, -1, -1, BLOCK(number, more, 0), etag,
                                        (size_t)number * 16, more ? 16 : 3, seed});
    memcpy(token, observation, 8);
}

static void notify_block(struct probe *probe, enum tf_coap_type type, uint32_t sequence,
                         const char *etag, unsigned seed)
{
    notify(probe, (struct notification){type, 0, sequence, -1, BLOCK(0, 1, 0), etag, 0, 16, seed});
}

/* The rest of a long notification is fetched with a token of its own (RFC 7959 2.6). */
static void test_block(void **state)
{
    struct probe *probe = probe_new(NULL, NULL);

    (void)state;
    uint64_t handle = observe(probe);
    for (uint32_t round = 0; round < 3; round++) {
        notify_block(probe, round ? TF_COAP_NON : TF_COAP_ACK, 10 + round, "a", round);
        const struct tf_coap_event *event = expect_notification(probe, handle, 10 + round);
        assert_true(event->more);
        assert_true(pattern_is(event->body, 0, round));
        for (uint32_t number = 1; number < 4; number++) {
            give(probe, number, number < 3, "a", round);
            event = expect_notification(probe, handle, 10 + round);
            assert_int_equal(event->offset, number * 16);
            assert_int_equal(event->more, number < 3);
            assert_true(pattern_is(event->body, number * 16, round));
        }
        assert_int_equal(probe->sent_count, 0);
        assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->calls, 1);
    }
    notify_plain(probe, TF_COAP_NON, -1);
    expect_end(probe, handle, TF_COAP_CONTENT);
    probe_free(probe);
}

/* A newer notification meanwhile: what is left of the old one is not fetched. */
static void test_block_newer(void **state)
{
    struct probe *probe = probe_new(NULL, NULL);

    (void)state;
    uint64_t handle = observe(probe);
    notify_block(probe, TF_COAP_ACK, 1, "a", 1);
    give(probe, 1, true, "a", 1);
    notify_block(probe, TF_COAP_CON, 2, "b", 2);
    assert_int_equal(expect_notification(probe, handle, 2)->offset, 0);
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->calls, 2);
    give(probe, 1, false, "b", 2);
    assert_false(expect_notification(probe, handle, 2)->more);
    /* A short one ends a fetch as well. */
    notify_block(probe, TF_COAP_NON, 3, "c", 3);
    notify_plain(probe, TF_COAP_NON, 4);
    assert_false(expect_notification(probe, handle, 4)->more);
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->calls, 1);
    probe_free(probe);
}

/* The rest is of another representation: from the beginning, as the same notification. */
static void test_block_changed(void **state)
{
    struct probe *probe = probe_new(NULL, NULL);

    (void)state;
    uint64_t handle = observe(probe);
    notify_block(probe, TF_COAP_ACK, 1, "a", 1);
    give(probe, 1, true, "b", 2);
    assert_int_equal(probe->seen_count, 0);
    give(probe, 0, true, "b", 2);
    assert_int_equal(expect_notification(probe, handle, 1)->offset, 0);
    give(probe, 1, false, "b", 2);
    assert_int_equal(expect_notification(probe, handle, 1)->offset, 16);
    /* It cannot be had: the observation goes on, and is registered anew soon. */
    notify_block(probe, TF_COAP_NON, 2, "a", 1);
    probe_clear(probe);
    probe_pass(probe, 50 * TF_SECOND);
    assert_int_equal(probe_count(probe, TF_COAP_EVENT_FAILED), 0);
    probe_clear(probe);
    probe_pass(probe, 50 * TF_SECOND);
    assert_true(probe->sent_count >= 1);
    assert_int_equal(probe_count(probe, TF_COAP_EVENT_FAILED), 0);
    /* The end takes the fetch along. */
    notify_block(probe, TF_COAP_NON, 3, "a", 1);
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->calls, 2);
    tf_coap_cancel(probe->endpoint, handle, false, probe->now);
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->calls, 0);
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->buffers, 0);
    probe_free(probe);
}

/* A path so long that a registration just fits a datagram, and no fetch of a block does. */
static void test_block_no_room(void **state)
{
    static const struct tf_coap_option path = {
        TF_COAP_URI_PATH,
        {(const uint8_t *)"a234567890b234567890c234567890d234567890e23456789", 49}};
    struct tf_coap_endpoint_config config = probe_config();
    struct tf_coap_request request = {.method = TF_COAP_GET,
                                      .observe = true,
                                      .options = &path,
                                      .option_count = 1,
                                      .user = &message_id};
    uint32_t peer = SERVER;
    uint64_t handles[8];

    (void)state;
    config.datagram_max = 64;
    config.nstart = 8;
    struct probe *probe = probe_new(&config, NULL);
    for (size_t i = 0; i < 8; i++) {
        probe_clear(probe);
        assert_int_equal(tf_coap_call(probe->endpoint, &peer, &request, &handles[i], probe->now),
                         TF_OK);
        probe_run(probe);
        memcpy(token, probe_only(probe)->message.token.data, 8);
        notify_block(probe, TF_COAP_ACK, 1, "a", 1);
        assert_true(expect_notification(probe, handles[i], 1)->more);
        /* Nothing follows: not even an event for the fetch, which nobody but the machine knows. */
        assert_int_equal(probe->seen_count, 1);
        assert_int_equal(probe->sent_count, 0);
        assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->calls, i + 1);
    }
    for (size_t i = 0; i < 8; i++)
        tf_coap_cancel(probe->endpoint, handles[i], false, probe->now);
    probe_run(probe);
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->calls, 0);
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->buffers, 0);
    probe_free(probe);
}

/* Observations end while the fetches of others wait behind NSTART: one pass, no way back. */
static void test_block_ends_behind_others(void **state)
{
    struct probe *probe = probe_new(NULL, NULL);
    uint64_t handles[8];
    uint8_t tokens[8][8];

    (void)state;
    for (size_t i = 0; i < 8; i++) {
        probe_clear(probe);
        handles[i] = observe(probe);
        memcpy(tokens[i], token, 8);
        notify_plain(probe, TF_COAP_ACK, 1);
    }
    for (size_t i = 0; i < 8; i++) {
        memcpy(token, tokens[i], 8);
        notify_block(probe, TF_COAP_NON, 2, "a", 1);
        assert_int_equal(probe->sent_count, i == 0);
    }
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->calls, 16);
    for (size_t i = 0; i < 8; i++) {
        probe_clear(probe);
        tf_coap_cancel(probe->endpoint, handles[i], false, probe->now);
        assert_true(tf_coap_endpoint_check(probe->endpoint));
        assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->calls, 14 - 2 * i);
        probe_run(probe);
        assert_int_equal(probe->sent_count, i < 7); /* the next fetch */
    }
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->buffers, 0);
    probe_free(probe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_notifications),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_late_answer),
        cmocka_unit_test(test_plain_answer),
        cmocka_unit_test(test_again),
        cmocka_unit_test(test_again_crossed),
        cmocka_unit_test(test_cancel_tell),
        cmocka_unit_test(test_cancel_forget),
        cmocka_unit_test(test_block),
        cmocka_unit_test(test_block_no_room),
        cmocka_unit_test(test_block_ends_behind_others),
        cmocka_unit_test(test_block_newer),
        cmocka_unit_test(test_block_changed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
