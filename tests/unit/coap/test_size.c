/*
 * The constants of coap_size.h bound what the machine takes, and not by much: many configs, and the
 * arrays that they make hold a machine that works.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <trefoil/coap_endpoint.h>
#include <trefoil/coap_size.h>

#include "base/random.h"

static void fill(void *ctx, void *data, size_t length)
{
    (void)ctx;
    memset(data, 0x5a, length);
}

/* What the constants add up to. */
static size_t bound(const struct tf_coap_endpoint_config *config)
{
    return TF_COAP_ENDPOINT_SIZE + config->requests * TF_COAP_REQUEST_SIZE(config->path_size) +
           config->peers * TF_COAP_PEER_SIZE(config->path_size) +
           config->exchanges * TF_COAP_EXCHANGE_SIZE + config->calls * TF_COAP_CALL_SIZE +
           config->observers * TF_COAP_OBSERVER_SIZE + config->transfers * TF_COAP_TRANSFER_SIZE +
           config->replies * TF_COAP_REPLY_SIZE + config->buffers * TF_COAP_BUFFER_SIZE +
           (config->features.client ? TF_COAP_CLIENT_SIZE(config->datagram_max) : 0);
}

static void test_bounds(void **state)
{
    uint64_t seed = 1;

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        uint32_t most = round % 3 == 0 ? 3 : round % 3 == 1 ? 20 : 2000;
        struct tf_coap_endpoint_config config = {
            .features = {.separate = &tf_coap_separate,
                         .observe_server = &tf_coap_observe_server,
                         .block_server = &tf_coap_block_server,
                         .client = round & 1 ? &tf_coap_client : NULL},
            .path_size = tf_random_split(&seed) % 50,
            .requests = 1 + (uint32_t)(tf_random_split(&seed) % most),
            .peers = 1 + (uint32_t)(tf_random_split(&seed) % most),
            .exchanges = 1 + (uint32_t)(tf_random_split(&seed) % most),
            .calls = (uint32_t)(tf_random_split(&seed) % most),
            .observers = (uint32_t)(tf_random_split(&seed) % most),
            .transfers = (uint32_t)(tf_random_split(&seed) % most),
            .replies = (uint32_t)(tf_random_split(&seed) % most),
            .buffers = (uint32_t)(tf_random_split(&seed) % most),
            .datagram_max = 64 + (uint32_t)(tf_random_split(&seed) % 1400),
            .random = fill,
        };
        size_t size = tf_coap_endpoint_size(&config);

        assert_in_range(size, 1, bound(&config));
        assert_true(bound(&config) <= size + size / 3);
        assert_true(tf_coap_output_min(&config) <=
                    TF_COAP_OUTPUT_SIZE(config.path_size, config.datagram_max, 1));
    }
}

static void test_static_memory(void **state)
{
    static uint64_t memory[(TF_COAP_ENDPOINT_SIZE + TF_COAP_REQUEST_SIZE(1)) / 8];
    static uint64_t output[TF_COAP_OUTPUT_SIZE(1, 64, 1) / 8];
    static const struct tf_coap_endpoint_config config = {
        .path_size = 1, .requests = 1, .datagram_max = 64, .random = fill};
    struct tf_bytes ping = tf_bytes_of("\x40\x00\x12\x34", 4);
    struct tf_datagram in = {.path = "p", .bytes = ping}, out;
    struct tf_coap_endpoint *endpoint;

    (void)state;
    assert_int_equal(tf_coap_endpoint_init(&endpoint, memory, sizeof memory, &config, 0), TF_OK);
    assert_int_equal(tf_coap_endpoint_lend(endpoint, output, sizeof output), TF_OK);
    assert_int_equal(tf_coap_endpoint_input(endpoint, &in, 0), TF_OK);
    assert_int_equal(tf_coap_endpoint_output(endpoint, &out, 1), 1);
    assert_memory_equal(out.bytes.data, "\x70\x00\x12\x34", 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_static_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
