/*
 * The least that is a CoAP server: GET and PUT of a short value, answered in the acknowledgement.
 * Both are idempotent, so a duplicate may run again (RFC 7252 4.5) and no reply is kept.
 */
#include "serve.h"

#define DATAGRAM_MAX 128u

static const struct tf_coap_endpoint_config config = {
    .path_size = 1,
    .requests = 1,
    .datagram_max = DATAGRAM_MAX,
    .random = serve_random,
};

/* What the library is given; script/size adds up what is called ram_*. */
static uint64_t ram_machine[(TF_COAP_ENDPOINT_SIZE + TF_COAP_REQUEST_SIZE(1)) / 8];
static uint64_t ram_output[TF_COAP_OUTPUT_SIZE(1, DATAGRAM_MAX, 1) / 8];

static void on_event(struct tf_coap_endpoint *endpoint, const struct tf_coap_event *event,
                     tf_time now)
{
    struct tf_bytes none = {NULL, 0};

    if (!serve_led(endpoint, event, now) && event->type == TF_COAP_EVENT_REQUEST)
        serve_answer(endpoint, event->handle, TF_COAP_NOT_FOUND, none, now);
}

void board_main(void)
{
    static const struct service service = {.event = on_event};

    serve(&config, ram_machine, sizeof ram_machine, ram_output, sizeof ram_output, &service);
}
