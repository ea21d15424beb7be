/*
 * CoAP messages as lines: what is told of retransmissions and times.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/coap_trace.h"

#define WALL_US 1795179910677963u /* 2026-11-20T13:05:10.677963Z */

static const uint8_t token_bytes[] = {1, 2, 3, 4};

/* Makes a message with a path, a query and a format. */
static struct tf_bytes make(uint8_t *buffer, size_t size, enum tf_coap_type type, uint8_t code,
                            uint16_t id, bool token, const char *payload)
{
    struct tf_coap_encoder encoder;
    tf_coap_encode(&encoder, buffer, size, type, code, id,
                   tf_bytes_of(token_bytes, token ? sizeof(token_bytes) : 0));
    if (tf_coap_class(code) == 0 && code) {
        tf_coap_encode_option(&encoder, TF_COAP_URI_PATH, tf_bytes_str("a b"));
        tf_coap_encode_option(&encoder, TF_COAP_URI_PATH, tf_bytes_str("c"));
        tf_coap_encode_option(&encoder, TF_COAP_URI_QUERY, tf_bytes_str("d=e"));
        tf_coap_encode_option(&encoder, TF_COAP_URI_QUERY, tf_bytes_str("f"));
    }
    if (payload) {
        tf_coap_encode_uint(&encoder, TF_COAP_CONTENT_FORMAT, 50);
        tf_coap_encode_payload(&encoder, tf_bytes_str(payload));
    }
    struct tf_bytes made = tf_coap_encoded(&encoder);
    assert_true(made.length > 0);
    return made;
}

static void check(struct tf_cli_coap_trace *trace, bool outgoing, struct tf_bytes datagram,
                  const char *peer, tf_time now, const char *wanted)
{
    char *text;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    assert_non_null(out);
    tf_cli_coap_trace_line(trace, outgoing, datagram, peer, now, WALL_US, out);
    assert_int_equal(fclose(out), 0);
    assert_string_equal(text, wanted);
    free(text);
}

static void test_request(void **state)
{
    struct tf_cli_coap_trace trace = {.next = 0};
    uint8_t get[64], answer[64];
    struct tf_bytes request = make(get, sizeof(get), TF_COAP_CON, TF_COAP_GET, 0x1A2B, true, NULL);
    (void)state;
    check(&trace, true, request, NULL, 1000,
          "> 13:05:10.677 CON GET /a%20b/c?d=e&f; id 1a2b, token 01020304\n");
    check(&trace, true, request, NULL, 2001000,
          "> 13:05:10.677 CON GET /a%20b/c?d=e&f; id 1a2b, token 01020304; retransmission 1\n");
    struct tf_bytes reply =
        make(answer, sizeof(answer), TF_COAP_ACK, TF_COAP_CONTENT, 0x1A2B, true, "{}");
    check(&trace, false, reply, "192.0.2.1:5683", 2513000,
          "< 13:05:10.677 from 192.0.2.1:5683 ACK 2.05 Content; Content-Format: application/json; "
          "2 bytes; id 1a2b, token 01020304; 2.51 s, 1 retransmission\n");
}

/* An empty ACK, the answer in a CON of its own, and a notification much later. */
static void test_separate_and_notification(void **state)
{
    struct tf_cli_coap_trace trace = {.next = 0};
    uint8_t buffer[64];
    (void)state;
    check(&trace, true, make(buffer, 64, TF_COAP_CON, TF_COAP_POST, 1, true, NULL), NULL, 0,
          "> 13:05:10.677 CON POST /a%20b/c?d=e&f; id 0001, token 01020304\n");
    check(&trace, false, make(buffer, 64, TF_COAP_ACK, 0, 1, false, NULL), NULL, 12300,
          "< 13:05:10.677 ACK; id 0001; 12.3 ms\n");
    check(&trace, false, make(buffer, 64, TF_COAP_CON, TF_COAP_CHANGED, 900, true, NULL), NULL,
          450000, "< 13:05:10.677 CON 2.04 Changed; id 0384, token 01020304; 450 ms\n");
    check(&trace, true, make(buffer, 64, TF_COAP_ACK, 0, 900, false, NULL), NULL, 450100,
          "> 13:05:10.677 ACK; id 0384\n");
    check(&trace, false, make(buffer, 64, TF_COAP_NON, TF_COAP_CONTENT, 901, true, NULL), NULL,
          9000000, "< 13:05:10.677 NON 2.05 Content; id 0385, token 01020304\n");
}

static void test_ping_and_what_is_no_message(void **state)
{
    struct tf_cli_coap_trace trace = {.next = 0};
    uint8_t buffer[64];
    (void)state;
    check(&trace, true, make(buffer, 64, TF_COAP_CON, 0, 7, false, NULL), NULL, 0,
          "> 13:05:10.677 CON ping; id 0007\n");
    check(&trace, false, make(buffer, 64, TF_COAP_RST, 0, 7, false, NULL), NULL, 400,
          "< 13:05:10.677 RST; id 0007; 0.4 ms\n");
    check(&trace, false, tf_bytes_of("\xFF\x01", 2), NULL, 500,
          "< 13:05:10.677 no CoAP message: ff01\n");
}

/* A repeated message is told by its token, too: ids come round. */
static void test_an_id_comes_round(void **state)
{
    struct tf_cli_coap_trace trace = {.next = 0};
    uint8_t buffer[64];
    (void)state;
    check(&trace, true, make(buffer, 64, TF_COAP_CON, TF_COAP_DELETE, 7, true, NULL), NULL, 0,
          "> 13:05:10.677 CON DELETE /a%20b/c?d=e&f; id 0007, token 01020304\n");
    check(&trace, true, make(buffer, 64, TF_COAP_CON, TF_COAP_DELETE, 7, false, NULL), NULL, 0,
          "> 13:05:10.677 CON DELETE /a%20b/c?d=e&f; id 0007\n");
    check(&trace, true, make(buffer, 64, TF_COAP_CON, TF_COAP_DELETE, 7, false, NULL), NULL, 0,
          "> 13:05:10.677 CON DELETE /a%20b/c?d=e&f; id 0007; retransmission 1\n");
    assert_int_equal(trace.next, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_separate_and_notification),
        cmocka_unit_test(test_ping_and_what_is_no_message),
        cmocka_unit_test(test_an_id_comes_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
