/*
 * The smallest CoAP server: one callback for each path, and replies made by hand from the message
 * id and the token of the request, with nothing of the library but its codec:
 *
 *     example-coap_minimal_server [PORT]
 *
 * GET and PUT of /led, GET of /hello, on 127.0.0.1; port 0 takes a free one. It remembers nothing,
 * so a request that comes twice runs twice; GET and PUT bear that. For one that must not, for
 * answers that take time, for observers and large values there is coap_endpoint.h; for many
 * resources, coap_server.h: see coap_demo_server.c.
 */
#include <trefoil/coap_message.h>

#include "udp.h"

/* What a callback says: a code, and a text that lasts. */
struct reply {
    uint8_t code;
    struct tf_bytes text;
};

typedef struct reply callback(const struct tf_coap_message *request);

/* ---- the paths ---- */

static struct reply on_hello(const struct tf_coap_message *request)
{
    if (request->code != TF_COAP_GET)
        return (struct reply){.code = TF_COAP_METHOD_NOT_ALLOWED};
    return (struct reply){TF_COAP_CONTENT, tf_bytes_str("hello, world")};
}

static struct reply on_led(const struct tf_coap_message *request)
{
    static bool lit;

    switch (request->code) {
    case TF_COAP_GET:
        return (struct reply){TF_COAP_CONTENT, tf_bytes_str(lit ? "ON" : "OFF")};
    case TF_COAP_PUT:
        lit = tf_bytes_equal(request->payload, tf_bytes_str("ON"));
        return (struct reply){.code = TF_COAP_CHANGED};
    default:
        return (struct reply){.code = TF_COAP_METHOD_NOT_ALLOWED};
    }
}

static const struct {
    const char *path; /* one segment is enough here */
    callback *callback;
} paths[] = {
    {"hello", on_hello},
    {"led", on_led},
};

/* ---- CoAP ---- */

/* Finds the callback and runs it. */
static struct reply serve(const struct tf_coap_message *request)
{
    struct tf_coap_cursor cursor = tf_coap_options(request->options);
    struct tf_bytes path = {NULL, 0};
    struct tf_coap_option option;
    unsigned segments = 0;

    while (tf_coap_option_next(&cursor, &option)) {
        if (option.number == TF_COAP_URI_PATH) {
            path = option.value;
            segments++;
        } else if (tf_coap_option_critical(option.number) && option.number != TF_COAP_URI_HOST &&
                   option.number != TF_COAP_URI_PORT) {
            return (struct reply){.code = TF_COAP_BAD_OPTION}; /* RFC 7252 5.4.1 */
        }
    }
    for (size_t i = 0; segments == 1 && i < sizeof paths / sizeof *paths; i++) {
        if (tf_bytes_equal(path, tf_bytes_str(paths[i].path)))
            return paths[i].callback(request);
    }
    return (struct reply){.code = TF_COAP_NOT_FOUND};
}

/* Answers a datagram; empty: it deserves none. */
static struct tf_bytes answer(struct tf_bytes datagram, void *buffer, size_t length)
{
    static uint16_t own_id; /* of NON answers */
    struct tf_bytes no_token = {NULL, 0};
    struct tf_coap_encoder encoder;
    struct tf_coap_message request;

    enum tf_err err = tf_coap_decode(&request, datagram);
    if (err == TF_UNSUPPORTED)
        return no_token; /* not CoAP at all */
    bool is_request = !err && request.code != TF_COAP_EMPTY && tf_coap_class(request.code) == 0;
    if (!is_request && request.type == TF_COAP_CON) {
        /* Broken, or a ping: a reset names it by its message id (RFC 7252 4.2, 4.3). */
        tf_coap_encode(&encoder, buffer, length, TF_COAP_RST, TF_COAP_EMPTY, request.message_id,
                       no_token);
        return tf_coap_encoded(&encoder);
    }
    if (!is_request || request.type > TF_COAP_NON)
        return no_token;

    struct reply reply = serve(&request);
    /* In the acknowledgement of a CON, which has its message id; to a NON, a NON with our own. The
     * token is always the request's: by it the client knows what this is the answer to. */
    bool con = request.type == TF_COAP_CON;
    tf_coap_encode(&encoder, buffer, length, con ? TF_COAP_ACK : TF_COAP_NON, reply.code,
                   con ? request.message_id : own_id++, request.token);
    if (reply.text.length)
        tf_coap_encode_uint(&encoder, TF_COAP_CONTENT_FORMAT, TF_COAP_FORMAT_TEXT);
    tf_coap_encode_payload(&encoder, reply.text);
    return tf_coap_encoded(&encoder);
}

int main(int argc, char **argv)
{
    static struct udp udp;
    uint8_t output[128];
    union udp_path path = {.v4 = {.sin_family = AF_INET}};
    socklen_t size = sizeof path.v4;
    struct tf_datagram in;

    uint16_t port = argc > 1 ? (uint16_t)atoi(argv[1]) : TF_COAP_PORT;
    path.v4.sin_port = htons(port);
    path.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (!udp_open(&udp, &path, true) || getsockname(udp.fd, &path.any, &size))
        return 3;
    printf("listening coap://127.0.0.1:%u\n", ntohs(path.v4.sin_port));
    fflush(stdout);
    for (;;) {
        udp_wait(&udp, 1, TF_TIME_NEVER);
        while (udp_receive(&udp, &in)) {
            struct tf_bytes out = answer(in.bytes, output, sizeof output);
            if (out.length)
                udp_send(&udp, in.path, out);
        }
    }
}
