/*
 * Conditions on bodies in blocks, on a resource server: RFC 7252 5.10.8, RFC 7959 2.10.
 */
#include "serving.h"

static bool is_there;
static unsigned calls;

static uint8_t put(const struct tf_coap_server_request *request, struct tf_coap_answer *answer)
{
    (void)request, (void)answer;
    calls++;
    return TF_COAP_CHANGED;
}

static bool there(const struct tf_coap_server_request *request, struct tf_bytes *ret_etag)
{
    (void)request, (void)ret_etag;
    return is_there;
}

/* If-None-Match comes with the first block only (RFC 7959 2.10), and holds at both ends. */
static void test_bodies_absent(void **state)
{
    /* Whether there is a value at the first block, at the last one; the answers to both. */
    static const uint8_t rows[][4] = {{0, 0, TF_COAP_CONTINUE, TF_COAP_CHANGED},
                                      {0, 1, TF_COAP_CONTINUE, TF_COAP_PRECONDITION_FAILED},
                                      {1, 1, TF_COAP_PRECONDITION_FAILED, TF_COAP_INCOMPLETE}};
    static const struct tf_coap_resource_type type = {.handlers[TF_COAP_PUT] = put,
                                                      .exists = there};
    uint8_t memory[64];
    struct tf_coap_server_body body = {.data = memory, .size = sizeof memory};
    struct tf_coap_resource value = node("v", &type);
    struct serving s;

    (void)state;
    calls = 0;
    serving_start(&s, NULL);
    add(&s.root, &value);
    tf_coap_server_give_bodies(&s.server, &body, 1);
    for (size_t i = 0; i < 6; i++) {
        bool last = i % 2 == 1;
        struct packet packet;
        is_there = rows[i / 2][last] != 0;
        packet_start(s.probe, &packet, TF_COAP_CON, TF_COAP_PUT, 1);
        if (!last)
            packet_text(&packet, TF_COAP_IF_NONE_MATCH, "");
        packet_path(&packet, "/v");
        packet_block(&packet, TF_COAP_BLOCK1, last, !last, 0);
        packet_payload(&packet, "sixteen bytes...", 16);
        assert_int_equal(feed(&s, &packet), rows[i / 2][2 + last]);
    }
    assert_int_equal(calls, 1);
    serving_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bodies_absent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
