/*
 * Calls: tokens, matching, piggybacked and separate responses, NSTART, PROBING_RATE, time-outs,
 * cancel, ping, Echo, multicast. Against a stranger by hand, and against a server on the virtual
 * network.
 */
#include "rig.h"

#include <string.h>

#define STRANGER 99u

struct seen {
    unsigned responses, failed, pongs, retransmitted, requests;
    enum tf_err err;
    uint64_t handle;
    uint8_t code;
    char body[64];
    bool last, done;
    uint8_t retransmissions;
    uint32_t round_trip_us;
    uint32_t from;
    void *user;
    bool reply; /* as a server: answer with the path's last character */
    tf_time answer_after;
};

static void copy_body(struct seen *seen, struct tf_bytes body)
{
    memcpy(seen->body, body.data, body.length);
    seen->body[body.length] = 0;
}

static void on_event(struct rig *rig, struct rig_node *node, const struct tf_coap_event *event)
{
    struct seen *seen = node->user;
    struct tf_coap_response response = {.code = TF_COAP_CONTENT};

    seen->handle = event->handle;
    seen->retransmissions = event->retransmissions;
    seen->round_trip_us = event->round_trip_us;
    seen->last = event->last;
    seen->user = event->user;
    switch (event->type) {
    case TF_COAP_EVENT_REQUEST:
        seen->requests++;
        response.body = &event->message.payload;
        response.body_count = 1;
        assert_int_equal(
            tf_coap_respond(node->endpoint, event->handle, &response, NULL, NULL, rig->now), TF_OK);
        break;
    case TF_COAP_EVENT_RESPONSE:
        seen->responses++;
        seen->code = event->message.code;
        memcpy(&seen->from, event->path, sizeof(seen->from));
        copy_body(seen, event->body);
        seen->done = true;
        break;
    case TF_COAP_EVENT_FAILED:
        seen->failed++;
        seen->err = event->err;
        seen->done = true;
        break;
    case TF_COAP_EVENT_PONG:
        seen->pongs++;
        seen->done = true;
        break;
    case TF_COAP_EVENT_RETRANSMITTED:
        seen->retransmitted++;
        break;
    default:
        break;
    }
}

struct fixture {
    struct rig rig;
    struct rig_node *client;
    struct seen seen;
    struct tf_coap_endpoint_config config;
};

static int setup(void **state)
{
    static struct fixture fixture;

    memset(&fixture.seen, 0, sizeof(fixture.seen));
    rig_init(&fixture.rig, 3);
    fixture.config = rig_config();
    fixture.config.nstart = 1;
    fixture.client = rig_add(&fixture.rig, &fixture.config, on_event);
    fixture.client->user = &fixture.seen;
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    rig_release(&((struct fixture *)*state)->rig);
    return 0;
}

static const struct tf_coap_option path_a = {TF_COAP_URI_PATH, {(const uint8_t *)"a", 1}};

/* A GET of /a to a stranger; the datagram that it makes is returned. */
static const struct rig_captured *get(struct fixture *f, bool non, uint64_t *ret_call)
{
    struct tf_coap_request request = {
        .method = TF_COAP_GET, .non = non, .options = &path_a, .option_count = 1, .trace = true};
    uint32_t to = STRANGER;

    assert_int_equal(tf_coap_call(f->client->endpoint, &to, &request, ret_call, f->rig.now), TF_OK);
    rig_flush(&f->rig);
    return rig_take(&f->rig);
}

/* Answers a captured request: type, code, message id (-1: that of the request), token, payload. */
static void answer_from(struct fixture *f, const struct rig_captured *request, uint32_t from,
                        unsigned type, uint8_t code, long id, const char *payload)
{
    uint8_t out[128];
    struct tf_coap_message message;
    struct tf_coap_encoder encoder;

    assert_int_equal(tf_coap_decode(&message, tf_bytes_of(request->bytes, request->length)), TF_OK);
    tf_coap_encode(&encoder, out, sizeof(out), (enum tf_coap_type)type, code,
                   id < 0 ? message.message_id : (uint16_t)id, message.token);
    tf_coap_encode_payload(&encoder, tf_bytes_str(payload));
    struct tf_bytes bytes = tf_coap_encoded(&encoder);
    rig_inject(&f->rig, f->client, from, bytes.data, bytes.length);
}

static void answer(struct fixture *f, const struct rig_captured *request, unsigned type,
                   uint8_t code, long id, const char *payload)
{
    answer_from(f, request, STRANGER, type, code, id, payload);
}

static void empty(struct fixture *f, const struct rig_captured *request, unsigned type)
{
    uint8_t out[4] = {(uint8_t)(0x40 | type << 4), 0, request->bytes[2], request->bytes[3]};

    rig_inject(&f->rig, f->client, STRANGER, out, 4);
}

static uint32_t live_calls(const struct fixture *f)
{
    return tf_coap_endpoint_counters(f->client->endpoint)->calls;
}

static void a_piggybacked_response(void **state)
{
    struct fixture *f = *state;
    uint64_t call;
    const struct rig_captured *sent = get(f, false, &call);

    assert_int_equal(sent->bytes[0], 0x48); /* CON, token of eight bytes */
    assert_int_equal(sent->length, 4 + 8 + 2);
    answer(f, sent, TF_COAP_ACK, TF_COAP_CONTENT, -1, "hello");
    assert_int_equal(f->seen.responses, 1);
    assert_int_equal(f->seen.handle, call);
    assert_true(f->seen.last);
    assert_string_equal(f->seen.body, "hello");
    rig_expect_hex(&f->rig, "");
    assert_int_equal(live_calls(f), 0);
    rig_run_for(&f->rig, 300 * TF_SECOND);
    rig_expect_hex(&f->rig, ""); /* nothing is sent again */
    assert_int_equal(tf_coap_endpoint_counters(f->client->endpoint)->exchanges, 0);
    assert_int_equal(tf_coap_endpoint_counters(f->client->endpoint)->buffers, 0);
}

static void what_does_not_match(void **state)
{
    struct fixture *f = *state;
    uint64_t call;
    struct rig_captured sent = *get(f, false, &call);
    struct rig_captured other = sent;

    other.bytes[5] ^= 1; /* another token */
    answer(f, &other, TF_COAP_CON, TF_COAP_CONTENT, 7, "x");
    rig_expect_hex(&f->rig, "70000007");
    answer(f, &other, TF_COAP_NON, TF_COAP_CONTENT, 7, "x");
    answer_from(f, &sent, 98, TF_COAP_CON, TF_COAP_CONTENT, 8, "x"); /* from elsewhere */
    rig_expect_hex(&f->rig, "70000008");
    answer_from(f, &sent, 98, TF_COAP_NON, TF_COAP_CONTENT, 8, "x");
    answer_from(f, &sent, 98, TF_COAP_ACK, TF_COAP_CONTENT, -1, "x");
    answer(f, &sent, TF_COAP_ACK, TF_COAP_CONTENT, sent.bytes[3] ^ 1, "x"); /* another id */
    rig_expect_hex(&f->rig, "");
    assert_int_equal(f->seen.responses, 0);
    answer(f, &sent, TF_COAP_NON, TF_COAP_CONTENT, 9, "right");
    assert_string_equal(f->seen.body, "right");
    rig_expect_hex(&f->rig, "");
}

static void a_separate_response(void **state)
{
    struct fixture *f = *state;
    uint64_t call;
    struct rig_captured sent = *get(f, false, &call);

    empty(f, &sent, TF_COAP_ACK);
    rig_run_for(&f->rig, 60 * TF_SECOND);
    rig_expect_hex(&f->rig, ""); /* acknowledged: not sent again */
    answer(f, &sent, TF_COAP_CON, TF_COAP_CONTENT, 0x55, "late");
    rig_expect_hex(&f->rig, "60000055");
    assert_string_equal(f->seen.body, "late");
    answer(f, &sent, TF_COAP_CON, TF_COAP_CONTENT, 0x55, "late"); /* our ACK was lost */
    rig_expect_hex(&f->rig, "60000055");
    assert_int_equal(f->seen.responses, 1);
    answer(f, &sent, TF_COAP_CON, TF_COAP_CONTENT, 0x56, "late");
    rig_expect_hex(&f->rig, "70000056");
}

static void retransmission_doubles(void **state)
{
    struct fixture *f = *state;
    uint64_t call;
    tf_time start = f->rig.now, last = start, first;
    struct rig_captured sent = *get(f, false, &call);

    rig_run_for(&f->rig, 100 * TF_SECOND);
    first = 0;
    for (unsigned i = 0; i < 4; i++) {
        const struct rig_captured *again = rig_take(&f->rig);
        assert_non_null(again);
        assert_int_equal(again->length, sent.length);
        assert_memory_equal(again->bytes, sent.bytes, sent.length);
        if (!i) {
            first = again->at - last;
            assert_in_range(first, 2 * TF_SECOND, 3 * TF_SECOND);
        } else {
            assert_int_equal(again->at - last, first << i);
        }
        last = again->at;
    }
    rig_expect_hex(&f->rig, "");
    assert_int_equal(f->seen.retransmitted, 4);
    assert_int_equal(f->seen.failed, 1);
    assert_int_equal(f->seen.err, TF_AGAIN);
    assert_int_equal(f->seen.retransmissions, 4);
    assert_int_equal(live_calls(f), 0);
}

static void a_reset_ends_a_call(void **state)
{
    struct fixture *f = *state;
    uint64_t call;
    struct rig_captured sent = *get(f, false, &call);

    empty(f, &sent, TF_COAP_RST);
    assert_int_equal(f->seen.failed, 1);
    assert_int_equal(f->seen.err, TF_CLOSED);
    rig_run_for(&f->rig, 100 * TF_SECOND);
    rig_expect_hex(&f->rig, "");
    assert_int_equal(live_calls(f), 0);
}

static void parameters_of_one_call(void **state)
{
    struct fixture *f = *state;
    struct tf_coap_transmission quick = {
        .ack_timeout_ms = 100, .ack_random_percent = 100, .max_retransmit = TF_COAP_NO_RETRANSMIT};
    struct tf_coap_request request = {.method = TF_COAP_GET, .transmission = &quick};
    uint32_t to = STRANGER;
    uint64_t call;
    tf_time start = f->rig.now;

    assert_int_equal(tf_coap_call(f->client->endpoint, &to, &request, &call, f->rig.now), TF_OK);
    rig_run_until(&f->rig, &f->seen.done, TF_SECOND);
    assert_int_equal(f->rig.now - start, 100 * TF_MILLISECOND);
    assert_int_equal(f->seen.err, TF_AGAIN);
    assert_non_null(rig_take(&f->rig));
    assert_null(rig_take(&f->rig));
}

static void nstart_is_kept(void **state)
{
    struct fixture *f = *state;
    uint64_t call[3];
    struct rig_captured first = *get(f, false, &call[0]);

    assert_null(get(f, false, &call[1]));
    assert_null(get(f, false, &call[2]));
    answer(f, &first, TF_COAP_ACK, TF_COAP_CONTENT, -1, "1");
    struct rig_captured second = *rig_take(&f->rig);
    rig_expect_hex(&f->rig, "");
    tf_coap_cancel(f->client->endpoint, call[2], false, f->rig.now); /* while it waits */
    empty(f, &second, TF_COAP_ACK);
    rig_expect_hex(&f->rig, ""); /* acknowledged, but the answer is to come: outstanding */
    answer(f, &second, TF_COAP_NON, TF_COAP_CONTENT, 1, "2");
    rig_expect_hex(&f->rig, "");
    assert_int_equal(f->seen.responses, 2);
    assert_int_equal(live_calls(f), 0);
}

static void nstart_is_for_each_peer(void **state)
{
    struct fixture *f = *state;
    struct tf_coap_request request = {.method = TF_COAP_GET};
    uint64_t call;

    for (uint32_t to = 50; to < 60; to++)
        assert_int_equal(tf_coap_call(f->client->endpoint, &to, &request, &call, f->rig.now),
                         TF_OK);
    rig_flush(&f->rig);
    for (unsigned i = 0; i < 10; i++)
        assert_non_null(rig_take(&f->rig));
}

static void a_non_call(void **state)
{
    struct fixture *f = *state;
    uint64_t call;
    struct rig_captured sent = *get(f, true, &call);

    assert_int_equal(sent.bytes[0], 0x58);
    rig_run_for(&f->rig, 100 * TF_SECOND);
    rig_expect_hex(&f->rig, "");
    answer(f, &sent, TF_COAP_NON, TF_COAP_CONTENT, 1, "x");
    assert_int_equal(f->seen.responses, 1);
    sent = *get(f, true, &call);
    rig_run_for(&f->rig, 144 * TF_SECOND);
    assert_int_equal(f->seen.failed, 0);
    rig_run_for(&f->rig, 2 * TF_SECOND); /* NON_LIFETIME: 145 s */
    assert_int_equal(f->seen.failed, 1);
    assert_int_equal(f->seen.err, TF_AGAIN);
}

static void probing_rate_is_kept(void **state)
{
    struct fixture *f = *state;
    struct tf_coap_request request = {.method = TF_COAP_GET, .non = true};
    struct seen seen = {0};
    uint32_t to = STRANGER;
    uint64_t call;

    f->config.nstart = 8;
    f->config.probing_rate = 12;
    struct rig_node *node = rig_add(&f->rig, &f->config, on_event);
    node->user = &seen;
    for (unsigned i = 0; i < 3; i++) /* twelve bytes each: one a second */
        assert_int_equal(tf_coap_call(node->endpoint, &to, &request, &call, f->rig.now), TF_OK);
    rig_flush(&f->rig);
    assert_non_null(rig_take(&f->rig));
    assert_null(rig_take(&f->rig));
    rig_run_for(&f->rig, 1100 * TF_MILLISECOND);
    struct rig_captured *second = (struct rig_captured *)(uintptr_t)rig_take(&f->rig);
    assert_non_null(second);
    assert_null(rig_take(&f->rig));
    rig_run_for(&f->rig, 1100 * TF_MILLISECOND);
    assert_non_null(rig_take(&f->rig));
    assert_null(rig_take(&f->rig));
}

static void cancelling(void **state)
{
    struct fixture *f = *state;
    uint64_t call;
    struct rig_captured sent = *get(f, false, &call);

    tf_coap_cancel(f->client->endpoint, call, false, f->rig.now);
    tf_coap_cancel(f->client->endpoint, call, false, f->rig.now);
    assert_int_equal(live_calls(f), 0);
    answer(f, &sent, TF_COAP_CON, TF_COAP_CONTENT, 3, "x");
    rig_expect_hex(&f->rig, "70000003");
    rig_run_for(&f->rig, 100 * TF_SECOND);
    rig_expect_hex(&f->rig, "");
    assert_int_equal(f->seen.responses + f->seen.failed, 0);
}

static void pings(void **state)
{
    struct fixture *f = *state;
    uint32_t to = STRANGER;
    uint64_t call;
    int here;

    assert_int_equal(tf_coap_ping(f->client->endpoint, &to, &here, &call, f->rig.now), TF_OK);
    rig_flush(&f->rig);
    struct rig_captured sent = *rig_take(&f->rig);
    assert_int_equal(sent.length, 4);
    assert_int_equal(sent.bytes[0], 0x40);
    rig_run_for(&f->rig, TF_SECOND);
    empty(f, &sent, TF_COAP_RST);
    assert_int_equal(f->seen.pongs, 1);
    assert_int_equal(f->seen.handle, call);
    assert_ptr_equal(f->seen.user, &here);
    assert_int_equal(f->seen.round_trip_us, TF_SECOND);
    assert_int_equal(live_calls(f), 0);
    assert_int_equal(tf_coap_ping(f->client->endpoint, &to, &here, &call, f->rig.now), TF_OK);
    rig_run_for(&f->rig, 100 * TF_SECOND);
    assert_int_equal(f->seen.failed, 1);
    assert_int_equal(f->seen.err, TF_AGAIN);
}

static void an_echo_is_given_back(void **state)
{
    struct fixture *f = *state;
    uint64_t call;
    struct rig_captured sent = *get(f, false, &call);
    uint8_t out[64] = {0x68, 0x81, sent.bytes[2], sent.bytes[3]};

    memcpy(out + 4, sent.bytes + 4, 8);
    memcpy(out + 12, "\xd3\xef\x01\x02\x03", 5); /* Echo 010203 */
    rig_inject(&f->rig, f->client, STRANGER, out, 17);
    assert_int_equal(f->seen.responses, 0);
    struct rig_captured again = *rig_take(&f->rig);
    assert_int_equal(again.length, sent.length + 5);
    assert_memory_not_equal(again.bytes + 2, sent.bytes + 2, 10); /* new id and token */
    assert_memory_equal(again.bytes + 14, "\xd3\xe4\x01\x02\x03", 5);
    memcpy(out + 2, again.bytes + 2, 10);
    rig_inject(&f->rig, f->client, STRANGER, out, 17); /* not for ever */
    assert_int_equal(f->seen.responses, 1);
    assert_int_equal(f->seen.code, TF_COAP_UNAUTHORIZED);
    rig_expect_hex(&f->rig, "");
}

static void a_critical_option_in_a_response(void **state)
{
    struct fixture *f = *state;
    uint64_t call;
    struct rig_captured sent = *get(f, false, &call);
    uint8_t out[64] = {0x48, 0x45, 0x00, 0x09};

    memcpy(out + 4, sent.bytes + 4, 8);
    memcpy(out + 12, "\xd0\x56", 2); /* option 99 */
    rig_inject(&f->rig, f->client, STRANGER, out, 14);
    rig_expect_hex(&f->rig, "70000009");
    assert_int_equal(f->seen.failed, 1);
    assert_int_equal(f->seen.err, TF_PROTOCOL);
    assert_int_equal(live_calls(f), 0);
}

static void a_group_answers(void **state)
{
    struct fixture *f = *state;
    struct seen servers[3];
    struct tf_bytes body = tf_bytes_str("who");
    struct tf_coap_request request = {.method = TF_COAP_GET,
                                      .multicast = true,
                                      .timeout_ms = 8000,
                                      .body = &body,
                                      .body_count = 1};
    uint32_t group = RIG_GROUP;
    uint64_t call;

    memset(servers, 0, sizeof(servers));
    for (unsigned i = 0; i < 3; i++)
        rig_add(&f->rig, &f->config, on_event)->user = &servers[i];
    assert_int_equal(tf_coap_call(f->client->endpoint, &group, &request, &call, f->rig.now), TF_OK);
    rig_run_for(&f->rig, 100 * TF_MILLISECOND);
    assert_in_range(f->seen.responses, 0, 2); /* leisure */
    rig_run_for(&f->rig, 5 * TF_SECOND);
    assert_int_equal(f->seen.responses, 3);
    assert_string_equal(f->seen.body, "who");
    assert_false(f->seen.last);
    assert_int_equal(live_calls(f), 1);
    rig_run_for(&f->rig, 3 * TF_SECOND);
    assert_int_equal(f->seen.failed, 1);
    assert_int_equal(live_calls(f), 0);
}

/* Empty results are not sent to a group (RFC 7252 8.2). */
static void a_group_has_nothing_to_say(void **state)
{
    struct fixture *f = *state;
    struct tf_coap_request request = {.method = TF_COAP_GET, .multicast = true, .timeout_ms = 8000};
    struct seen server = {0};
    uint32_t group = RIG_GROUP;
    uint64_t call;

    rig_add(&f->rig, &f->config, on_event)->user = &server;
    assert_int_equal(tf_coap_call(f->client->endpoint, &group, &request, &call, f->rig.now), TF_OK);
    rig_run_for(&f->rig, 10 * TF_SECOND);
    assert_int_equal(server.requests, 1);
    assert_int_equal(f->seen.responses, 0);
}

static void misuse(void **state)
{
    struct fixture *f = *state;
    struct tf_coap_option options[] = {path_a, {TF_COAP_ETAG, {(const uint8_t *)"a", 1}}};
    static uint8_t large[2000];
    struct tf_coap_option long_option = {TF_COAP_URI_PATH, {large, sizeof(large)}};
    struct tf_coap_request request = {.method = TF_COAP_GET, .options = options, .option_count = 2};
    uint32_t to = STRANGER;
    uint64_t call = 17;
    struct tf_coap_endpoint *endpoint = f->client->endpoint;

    assert_int_equal(tf_coap_call(endpoint, &to, &request, &call, f->rig.now), TF_MISUSE);
    request.options = &long_option;
    request.option_count = 1;
    assert_int_equal(tf_coap_call(endpoint, &to, &request, &call, f->rig.now), TF_MISUSE);
    request.option_count = 0;
    request.method = 0;
    assert_int_equal(tf_coap_call(endpoint, &to, &request, &call, f->rig.now), TF_MISUSE);
    request.method = TF_COAP_CONTENT;
    assert_int_equal(tf_coap_call(endpoint, &to, &request, &call, f->rig.now), TF_MISUSE);
    assert_int_equal(call, 17);
    assert_int_equal(live_calls(f), 0);
    assert_int_equal(tf_coap_endpoint_counters(endpoint)->buffers, 0);
    assert_true(tf_coap_endpoint_check(endpoint));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_piggybacked_response),
        TEST(what_does_not_match),
        TEST(a_separate_response),
        TEST(retransmission_doubles),
        TEST(a_reset_ends_a_call),
        TEST(parameters_of_one_call),
        TEST(nstart_is_kept),
        TEST(nstart_is_for_each_peer),
        TEST(a_non_call),
        TEST(probing_rate_is_kept),
        TEST(cancelling),
        TEST(pings),
        TEST(an_echo_is_given_back),
        TEST(a_critical_option_in_a_response),
        TEST(a_group_answers),
        TEST(a_group_has_nothing_to_say),
        TEST(misuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
