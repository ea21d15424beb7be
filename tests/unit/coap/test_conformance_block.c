/*
 * Requirements of RFC 7959 that no other test looks at; see docs/coap-conformance.md.
 */
#include "unit/coap/probe.h"

static const uint8_t body[100];

/* Answers all that comes whole: GET with the body, others by 2.04. */
static void answer(struct probe *probe, const struct tf_coap_event *event)
{
    const struct tf_bytes piece = {body, sizeof(body)};
    struct tf_coap_response response = {.code = TF_COAP_CHANGED};

    if ((event->type != TF_COAP_EVENT_REQUEST && event->type != TF_COAP_EVENT_BODY) || event->more)
        return;
    if (event->message.code == TF_COAP_GET) {
        response.code = TF_COAP_CONTENT;
        response.body = &piece;
        response.body_count = 1;
    }
    assert_int_equal(
        tf_coap_respond(probe->endpoint, event->handle, &response, NULL, NULL, probe->now), TF_OK);
}

static const struct tf_coap_message *fed(struct probe *probe, struct packet *packet)
{
    probe_clear(probe);
    packet_feed(probe, 1, packet);
    return &probe_only(probe)->message;
}

/* 2.2, 2.4: M of a Block2 in a request says nothing. */
static void m_of_a_wish_says_nothing(void **state)
{
    struct probe *probe = probe_new(NULL, answer);
    struct packet packet;

    (void)state;
    for (unsigned more = 0; more < 2; more++) {
        packet_start(probe, &packet, TF_COAP_CON, TF_COAP_GET, 1);
        packet_block(&packet, TF_COAP_BLOCK2, 1, more, 2);
        const struct tf_coap_message *message = fed(probe, &packet);
        assert_int_equal(message->code, TF_COAP_CONTENT);
        assert_int_equal(message->payload.length, 36);
        assert_int_equal(probe_uint(message, TF_COAP_BLOCK2), 1 << 4 | 2);
    }
    probe_free(probe);
}

/* 2.3: 2.31 has no Block2, also when the client has said what it wants of the answer; and no
 * payload (2.9.1). */
static void continue_has_no_block2(void **state)
{
    struct probe *probe = probe_new(NULL, answer);
    struct packet packet;

    (void)state;
    packet_start(probe, &packet, TF_COAP_CON, TF_COAP_POST, 1);
    packet_block(&packet, TF_COAP_BLOCK2, 0, false, 2);
    packet_block(&packet, TF_COAP_BLOCK1, 0, true, 2);
    packet_payload(&packet, body, 64);
    const struct tf_coap_message *message = fed(probe, &packet);
    assert_int_equal(message->code, TF_COAP_CONTINUE);
    assert_int_equal(probe_uint(message, TF_COAP_BLOCK2), -1);
    assert_int_equal(probe_uint(message, TF_COAP_BLOCK1), 8 | 2);
    assert_int_equal(message->payload.length, 0);
    probe_free(probe);
}

/* 2.3: blocks of different Content-Formats make no body. */
static void blocks_of_two_formats(void **state)
{
    struct probe *probe = probe_new(NULL, answer);
    struct packet packet;

    (void)state;
    for (unsigned same = 0; same < 2; same++) {
        for (uint32_t number = 0; number < 2; number++) {
            bool json = number && !same;
            packet_start(probe, &packet, TF_COAP_CON, TF_COAP_PUT, 1);
            packet_uint(&packet, TF_COAP_CONTENT_FORMAT,
                        json ? TF_COAP_FORMAT_JSON : TF_COAP_FORMAT_TEXT);
            packet_block(&packet, TF_COAP_BLOCK1, number, !number, 0);
            packet_payload(&packet, body, 16);
            uint8_t expected = json ? TF_COAP_INCOMPLETE : TF_COAP_CHANGED;
            assert_int_equal(fed(probe, &packet)->code, number ? expected : TF_COAP_CONTINUE);
        }
    }
    probe_free(probe);
}

/* 2.10: a client sends If-None-Match with the first block only. */
static void if_none_match_is_sent_once(void **state)
{
    const struct tf_coap_option none = {TF_COAP_IF_NONE_MATCH, {NULL, 0}};
    const struct tf_bytes piece = {body, 40};
    const struct tf_coap_request request = {.method = TF_COAP_PUT,
                                            .block_size = 16,
                                            .options = &none,
                                            .option_count = 1,
                                            .body = &piece,
                                            .body_count = 1};
    struct probe *probe = probe_new(NULL, NULL);
    struct packet packet;
    uint32_t peer = 1;
    uint64_t call;

    (void)state;
    assert_int_equal(tf_coap_call(probe->endpoint, &peer, &request, &call, probe->now), TF_OK);
    probe_run(probe);
    for (uint32_t number = 0; number < 3; number++) {
        const struct tf_coap_message *message = &probe_only(probe)->message;
        assert_int_equal(probe_uint(message, TF_COAP_BLOCK1), number << 4 | (number < 2 ? 8u : 0));
        assert_int_equal(probe_uint(message, TF_COAP_IF_NONE_MATCH), number ? -1 : 0);
        packet_start_id(&packet, TF_COAP_ACK, number < 2 ? TF_COAP_CONTINUE : TF_COAP_CREATED,
                        message->message_id, message->token);
        packet_block(&packet, TF_COAP_BLOCK1, number, number < 2, 0);
        probe_clear(probe);
        packet_feed(probe, peer, &packet);
    }
    assert_int_equal(probe_event(probe, TF_COAP_EVENT_RESPONSE)->message.code, TF_COAP_CREATED);
    probe_free(probe);
}

/* 2.10: a server takes a body whose first block alone has it, and one in which each has. */
static void if_none_match_is_no_part_of_a_body(void **state)
{
    struct probe *probe = probe_new(NULL, answer);
    struct packet packet;

    (void)state;
    for (unsigned each = 0; each < 2; each++) {
        for (uint32_t number = 0; number < 3; number++) {
            packet_start(probe, &packet, TF_COAP_CON, TF_COAP_PUT, 1);
            if (!number || each)
                packet_text(&packet, TF_COAP_IF_NONE_MATCH, "");
            packet_block(&packet, TF_COAP_BLOCK1, number, number < 2, 0);
            packet_payload(&packet, body, number < 2 ? 16 : 8);
            assert_int_equal(fed(probe, &packet)->code,
                             number < 2 ? TF_COAP_CONTINUE : TF_COAP_CHANGED);
        }
    }
    probe_free(probe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(m_of_a_wish_says_nothing),
        cmocka_unit_test(continue_has_no_block2),
        cmocka_unit_test(blocks_of_two_formats),
        cmocka_unit_test(if_none_match_is_sent_once),
        cmocka_unit_test(if_none_match_is_no_part_of_a_body),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
