/*
 * Observes a resource and prints what it is told, one line a notification, until it is interrupted,
 * the server ends the observation, or COUNT have come:
 *
 *     example-coap_observe_client coap://HOST[:PORT]/PATH[?QUERY] [COUNT]
 *
 * The endpoint sees to tokens, acknowledgements, retransmission, notifications that come late, and
 * to registering anew when a server has fallen silent. A representation in several blocks comes in
 * runs.
 */
#include <signal.h>

#include <trefoil/coap_uri.h>

#include "udp.h"

#define OPTIONS 16

static uint64_t memory[4096];
static uint8_t output[4096];
static struct tf_coap_endpoint *endpoint;
static struct udp udp;
static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

/* Where to send to, and which options ask for the resource. `text`: memory for decoded values. */
static bool take_url(const char *url, union udp_path *ret_path, struct tf_coap_option *options,
                     size_t *ret_count, struct tf_writer *text)
{
    struct tf_coap_uri uri;
    char host[256], port[8];
    size_t offset;

    if (tf_coap_uri_split(&uri, tf_bytes_str(url), &offset) || uri.scheme != TF_COAP_SCHEME_COAP ||
        tf_coap_uri_options(&uri, false, options, OPTIONS, ret_count, text)) {
        fprintf(stderr, "%s: no coap:// URL\n", url);
        return false;
    }
    snprintf(host, sizeof host, "%.*s", (int)uri.host.length, (const char *)uri.host.data);
    snprintf(port, sizeof port, "%u", uri.port);
    return udp_resolve(ret_path, host, port);
}

/* Prints a run of a representation, the last one with the end of the line. */
static void print(const struct tf_coap_event *event)
{
    if (event->offset == 0 && event->observe)
        printf("%u: ", event->sequence);
    fwrite(event->body.data, 1, event->body.length, stdout);
    if (!event->more)
        putchar('\n');
    fflush(stdout);
}

/* Runs until the observation has ended; the exit status. */
static int run(uint64_t call, long left)
{
    struct tf_coap_event event;
    struct tf_datagram in;
    bool cancelled = false;

    for (;;) {
        while (tf_coap_endpoint_event(endpoint, &event)) {
            if (event.type == TF_COAP_EVENT_FAILED) {
                fprintf(stderr, "%s\n",
                        event.err == TF_AGAIN ? "no answer" : tf_err_name(event.err));
                return event.err == TF_AGAIN ? 6 : 3;
            }
            if (event.type != TF_COAP_EVENT_RESPONSE)
                continue;
            if (tf_coap_class(event.message.code) != 2) {
                fprintf(stderr, "%u.%02u\n", tf_coap_class(event.message.code),
                        event.message.code & 31u);
                return 5;
            }
            if (!cancelled)
                print(&event);
            if (event.last && !event.more)
                return 0;
            if (!event.more && left > 0 && --left == 0)
                stopped = 1;
        }
        if (stopped && !cancelled) {
            cancelled = true; /* the server answers once more, and that is the last */
            tf_coap_cancel(endpoint, call, true, udp_now());
        }
        udp_flush(&udp, endpoint);
        udp_wait(&udp, 1, tf_coap_endpoint_deadline(endpoint));
        if (udp_receive(&udp, &in))
            (void)!tf_coap_endpoint_input(endpoint, &in, udp_now());
        else
            tf_coap_endpoint_tick(endpoint, udp_now());
    }
}

int main(int argc, char **argv)
{
    static const struct tf_coap_endpoint_config config = {
        .features = {.separate = &tf_coap_separate,
                     .client = &tf_coap_client,
                     .observe_client = &tf_coap_observe_client,
                     .block_client = &tf_coap_block_client},
        .path_size = sizeof(union udp_path),
        .peers = 2,
        .requests = 1,
        .calls = 4,
        .exchanges = 4,
        .transfers = 2,
        .buffers = 32,
        .block_szx = TF_COAP_BLOCK_SZX_MAX,
        .random = udp_random,
    };
    const struct sigaction action = {.sa_handler = on_signal};
    struct tf_coap_option options[OPTIONS];
    struct tf_coap_request request = {
        .method = TF_COAP_GET, .observe = true, .options = options, .timeout_ms = 30000};
    char decoded[1024];
    struct tf_writer text = tf_writer_of(decoded, sizeof decoded);
    union udp_path server;
    uint64_t call;

    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: %s coap://HOST[:PORT]/PATH[?QUERY] [COUNT]\n", argv[0]);
        return 2;
    }
    if (!take_url(argv[1], &server, options, &request.option_count, &text))
        return 2;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (!udp_open(&udp, &server, false) ||
        tf_coap_endpoint_init(&endpoint, memory, sizeof memory, &config, udp_now()) ||
        tf_coap_endpoint_lend(endpoint, output, sizeof output) ||
        tf_coap_call(endpoint, &server, &request, &call, udp_now()))
        return 3;
    return run(call, argc > 2 ? atol(argv[2]) : -1);
}
