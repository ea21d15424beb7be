/*
 * A CoAP server with all that the machine does for one: besides bodies and observers, 2.03 and 4.06
 * by itself, replies kept against duplicates, multicasts, and addresses that have to prove
 * themselves.
 */
#include "serve.h"

#define DATAGRAM_MAX 128u

static const struct tf_coap_endpoint_config config = {
    .features = {.negotiation = &tf_coap_negotiation,
                 .deduplication = &tf_coap_deduplication,
                 .separate = &tf_coap_separate,
                 .observe_server = &tf_coap_observe_server,
                 .block_server = &tf_coap_block_server,
                 .multicast_server = &tf_coap_multicast_server,
                 .echo_server = &tf_coap_echo_server},
    .path_size = 1,
    .peers = 4,
    .requests = 2,
    .exchanges = 4,
    .observers = 4,
    .transfers = 2,
    .replies = 4,
    .body_max = 700,
    .block_szx = 2,
    .buffers = 12,
    .datagram_max = DATAGRAM_MAX,
    .random = serve_random,
};

/* What the library is given; script/size adds up what is called ram_*. */
static uint64_t
    ram_machine[(TF_COAP_ENDPOINT_SIZE + 2 * TF_COAP_REQUEST_SIZE(1) + 4 * TF_COAP_PEER_SIZE(1) +
                 4 * TF_COAP_EXCHANGE_SIZE + 4 * TF_COAP_OBSERVER_SIZE + 4 * TF_COAP_REPLY_SIZE +
                 12 * TF_COAP_BUFFER_SIZE + 2 * TF_COAP_TRANSFER_SIZE) /
                8];
static uint64_t ram_output[TF_COAP_OUTPUT_SIZE(1, DATAGRAM_MAX, 2) / 8];

void board_main(void)
{
    static const struct service service = {.event = serve_everything, .turn = serve_count_turn};

    serve(&config, ram_machine, sizeof ram_machine, ram_output, sizeof ram_output, &service);
}
