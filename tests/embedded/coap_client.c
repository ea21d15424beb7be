/*
 * A CoAP client: puts a text on the server that is path 0, gets it back, observes `time` until
 * three notifications have come, and says what it saw.
 */
#include "serve.h"

#define DATAGRAM_MAX 128u
#define NOTIFICATIONS 3u

static const struct tf_coap_endpoint_config config = {
    .features = {.separate = &tf_coap_separate,
                 .client = &tf_coap_client,
                 .observe_client = &tf_coap_observe_client},
    .path_size = 1,
    .peers = 1,
    .requests = 1,
    .calls = 2,
    .exchanges = 2,
    .buffers = 4,
    .datagram_max = DATAGRAM_MAX,
    .random = serve_random,
};

/* What the library is given; script/size adds up what is called ram_*. */
static uint64_t
    ram_machine[(TF_COAP_ENDPOINT_SIZE + TF_COAP_REQUEST_SIZE(1) + TF_COAP_PEER_SIZE(1) +
                 2 * TF_COAP_CALL_SIZE + 2 * TF_COAP_EXCHANGE_SIZE + 4 * TF_COAP_BUFFER_SIZE +
                 TF_COAP_CLIENT_SIZE(DATAGRAM_MAX)) /
                8];
static uint64_t ram_output[TF_COAP_OUTPUT_SIZE(1, DATAGRAM_MAX, 2) / 8];

enum step { PUT, GET, OBSERVE, DONE };

static enum step step;
static bool called; /* the call of this step is under way */
static unsigned notifications;

/* Makes the call of the present step; without room, on a later turn. */
static void turn(struct tf_coap_endpoint *endpoint, tf_time now)
{
    static const uint8_t path = 0;
    struct tf_bytes body = tf_bytes_str("from a board");
    struct tf_coap_option option = {TF_COAP_URI_PATH,
                                    step == OBSERVE ? tf_bytes_str("time") : tf_bytes_str("board")};
    struct tf_coap_request request = {.method = step == PUT ? TF_COAP_PUT : TF_COAP_GET,
                                      .observe = step == OBSERVE,
                                      .options = &option,
                                      .option_count = 1,
                                      .body = &body,
                                      .body_count = step == PUT ? 1 : 0};
    uint64_t call;

    if (!called && step != DONE)
        called = tf_coap_call(endpoint, &path, &request, &call, now) == TF_OK;
}

/* Says a code and a body: `2.05 text`. */
static void say(const struct tf_coap_event *event)
{
    char text[64];
    size_t length = 5;

    text[0] = (char)('0' + (event->message.code >> 5));
    text[1] = '.';
    text[2] = (char)('0' + (event->message.code & 31) / 10);
    text[3] = (char)('0' + (event->message.code & 31) % 10);
    text[4] = ' ';
    for (size_t i = 0; i < event->body.length && length + 1 < sizeof text; i++)
        text[length++] = (char)event->body.data[i];
    text[length] = '\0';
    board_say(text);
}

static void on_event(struct tf_coap_endpoint *endpoint, const struct tf_coap_event *event,
                     tf_time now)
{
    if (event->type == TF_COAP_EVENT_FAILED) {
        board_say("failed");
        step = DONE;
    }
    if (event->type != TF_COAP_EVENT_RESPONSE)
        return;
    say(event);
    if (step == OBSERVE) {
        if (++notifications < NOTIFICATIONS)
            return;
        tf_coap_cancel(endpoint, event->handle, false, now);
        board_say("done");
    }
    step++;
    called = false;
}

void board_main(void)
{
    static const struct service service = {.event = on_event, .turn = turn};

    serve(&config, ram_machine, sizeof ram_machine, ram_output, sizeof ram_output, &service);
}
