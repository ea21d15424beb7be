/*
 * A CoAP server with what most have: a value that can be observed, bodies in blocks both ways.
 */
#include "serve.h"

#define DATAGRAM_MAX 128u

static const struct tf_coap_endpoint_config config = {
    .features = {.separate = &tf_coap_separate,
                 .observe_server = &tf_coap_observe_server,
                 .block_server = &tf_coap_block_server},
    .path_size = 1,
    .peers = 4,
    .requests = 2,
    .exchanges = 4,
    .observers = 4,
    .transfers = 2,
    .body_max = 700,
    .block_szx = 2,
    .buffers = 8,
    .datagram_max = DATAGRAM_MAX,
    .random = serve_random,
};

/* What the library is given; script/size adds up what is called ram_*. */
static uint64_t
    ram_machine[(TF_COAP_ENDPOINT_SIZE + 2 * TF_COAP_REQUEST_SIZE(1) + 4 * TF_COAP_PEER_SIZE(1) +
                 4 * TF_COAP_EXCHANGE_SIZE + 4 * TF_COAP_OBSERVER_SIZE + 8 * TF_COAP_BUFFER_SIZE +
                 2 * TF_COAP_TRANSFER_SIZE) /
                8];
static uint64_t ram_output[TF_COAP_OUTPUT_SIZE(1, DATAGRAM_MAX, 2) / 8];

void board_main(void)
{
    static const struct service service = {.event = serve_everything, .turn = serve_count_turn};

    serve(&config, ram_machine, sizeof ram_machine, ram_output, sizeof ram_output, &service);
}
