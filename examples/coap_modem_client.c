/*
 * A CoAP client for a device without sockets: one poll loop, send and receive functions of its own
 * over the line to a modem, all memory static, and a callback for each request:
 *
 *     example-coap_modem_client [-d] HOST PORT {get|put|post} PATH [TEXT] [{get|put|post} ...]
 *
 * Each request is sent when the one before it was answered. -d prints each datagram. The modem is
 * made up (coap_modem_client/modem.h); to use a real one only line_send and line_receive change.
 *
 * The endpoint itself calls nobody: it gives events, and the few lines of client_poll make
 * callbacks of them. Retransmissions that come twice are dropped by it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "coap_modem_client/modem.h"
#include "udp.h"

#define CALLS 2
#define SEGMENTS 8
#define BLOCK 128 /* what fits into the modem's datagrams; see block_szx */

/* ---- the transport: datagrams over the line ---- */

static int line;
static bool debug;

/* Prints a datagram, if that is wanted. */
static void trace(const char *what, struct tf_bytes bytes)
{
    if (!debug)
        return;
    fprintf(stderr, "%s", what);
    for (size_t i = 0; i < bytes.length; i++)
        fprintf(stderr, " %02x", bytes.data[i]);
    fputc('\n', stderr);
}

/* Sends a datagram. It does not wait: what the line does not take is lost, and CoAP sends again. */
static void line_send(struct tf_bytes datagram)
{
    static const char digits[] = "0123456789abcdef";
    char text[MODEM_LINE] = "AT+SEND=";
    size_t length = strlen(text);

    trace(">", datagram);
    for (size_t i = 0; i < datagram.length; i++) {
        text[length++] = digits[datagram.data[i] >> 4];
        text[length++] = digits[datagram.data[i] & 15];
    }
    text[length++] = '\r';
    (void)!write(line, text, length);
}

/* The next datagram that has come as a whole; false: none yet. It lasts until the next call. */
static bool line_receive(struct tf_bytes *ret)
{
    static char text[MODEM_LINE];
    static uint8_t datagram[MODEM_DATAGRAM];
    static size_t have;
    size_t length = 0;
    unsigned byte;
    char next = 0;

    while (next != '\r' && read(line, &next, 1) == 1) {
        if (have < sizeof text)
            text[have++] = next;
    }
    if (next != '\r')
        return false;
    text[have - 1] = 0; /* if it was too long for `text` it is noise, and its end does not matter */
    have = 0;
    if (strncmp(text, "+RECV:", 6))
        return false;
    for (const char *at = text + 6; length < sizeof datagram && sscanf(at, "%2x", &byte) == 1;
         at += 2)
        datagram[length++] = (uint8_t)byte;
    *ret = tf_bytes_of(datagram, length);
    trace("<", *ret);
    return true;
}

/* ---- the client: requests with callbacks ---- */

/* Tells a run of an answer, or with NULL that there will be none; `err` says why. */
typedef void callback(enum tf_err err, const struct tf_coap_event *answer);

static uint64_t memory[2048];
static uint8_t output[512];
static struct tf_coap_endpoint *endpoint;
static callback *callbacks[CALLS];

static bool client_start(void)
{
    static const struct tf_coap_endpoint_config config = {
        .features = {.separate = &tf_coap_separate,
                     .client = &tf_coap_client,
                     .block_client = &tf_coap_block_client},
        .path_size = 0, /* there is one peer only: the other end of the line */
        .peers = 1,
        .requests = 1,
        .calls = CALLS,
        .exchanges = CALLS,
        .transfers = 1,
        .buffers = 16,
        .datagram_max = MODEM_DATAGRAM,
        .block_szx = 3,
        .random = udp_random,
    };

    return !tf_coap_endpoint_init(&endpoint, memory, sizeof memory, &config, udp_now()) &&
           !tf_coap_endpoint_lend(endpoint, output, sizeof output);
}

/* Sends a request; the text has to stay until the callback. False: not now. */
static bool client_request(uint8_t method, const char *path, const struct tf_bytes *text,
                           callback *on_answer)
{
    struct tf_coap_option options[SEGMENTS];
    struct tf_coap_request request = {.method = method, .options = options, .block_size = BLOCK};
    uint64_t call;
    size_t slot = 0;

    while (*path && request.option_count < SEGMENTS) {
        size_t length = strcspn(path, "/");
        if (length)
            options[request.option_count++] =
                (struct tf_coap_option){TF_COAP_URI_PATH, tf_bytes_of(path, length)};
        path += length + (path[length] == '/');
    }
    while (slot < CALLS && callbacks[slot])
        slot++;
    if (slot == CALLS)
        return false;
    request.user = &callbacks[slot];
    request.body = text;
    request.body_count = text->length > 0;
    if (tf_coap_call(endpoint, NULL, &request, &call, udp_now()))
        return false;
    callbacks[slot] = on_answer;
    return true;
}

/* One turn: takes what has come, calls back, sends what is to be sent. It never waits. */
static void client_poll(void)
{
    struct tf_datagram in = {NULL, {NULL, 0}, TF_DATAGRAM_TRUSTED}, out;
    struct tf_coap_event event;

    if (line_receive(&in.bytes))
        (void)!tf_coap_endpoint_input(endpoint, &in, udp_now());
    else
        tf_coap_endpoint_tick(endpoint, udp_now());
    while (tf_coap_endpoint_event(endpoint, &event)) {
        callback **slot = event.user;
        callback *on_answer = *slot;
        if (event.type == TF_COAP_EVENT_FAILED || event.last)
            *slot = NULL;
        if (event.type == TF_COAP_EVENT_RESPONSE || event.type == TF_COAP_EVENT_FAILED)
            on_answer(event.err, event.type == TF_COAP_EVENT_RESPONSE ? &event : NULL);
    }
    while (tf_coap_endpoint_output(endpoint, &out, 1)) {
        line_send(out.bytes);
        tf_coap_endpoint_sent(endpoint, 1, udp_now());
    }
}

/* How long nothing has to be done, unless something comes. */
static int client_idle_ms(void)
{
    tf_time now = udp_now(), deadline = tf_coap_endpoint_deadline(endpoint);

    if (deadline == TF_TIME_NEVER)
        return -1;
    return deadline <= now ? 0 : (int)((deadline - now + 999) / 1000);
}

/* ---- the program ---- */

static bool waiting;
static int status;

static void on_answer(enum tf_err err, const struct tf_coap_event *answer)
{
    waiting = answer && !answer->last;
    if (!answer) {
        fprintf(stderr, "%s\n", err == TF_AGAIN ? "no answer" : tf_err_name(err));
        status = err == TF_AGAIN ? 6 : 3;
        return;
    }
    if (answer->offset == 0)
        printf("%u.%02u ", tf_coap_class(answer->message.code), answer->message.code & 31u);
    fwrite(answer->body.data, 1, answer->body.length, stdout);
    if (!answer->more)
        putchar('\n');
    fflush(stdout);
    if (tf_coap_class(answer->message.code) != 2)
        status = 5;
}

/* The method of that name; 0: none. */
static uint8_t method_of(const char *name)
{
    return !strcmp(name, "get")    ? TF_COAP_GET
           : !strcmp(name, "put")  ? TF_COAP_PUT
           : !strcmp(name, "post") ? TF_COAP_POST
                                   : 0;
}

int main(int argc, char **argv)
{
    int at = 1;
    struct tf_bytes text;

    if (argc > 1 && !strcmp(argv[1], "-d")) {
        debug = true;
        at++;
    }
    if (argc - at < 4 || !method_of(argv[at + 2])) {
        fprintf(stderr, "usage: %s [-d] HOST PORT {get|put|post} PATH [TEXT] ...\n", argv[0]);
        return 2;
    }
    if (!modem_start(argv[at], argv[at + 1], &line) || !client_start())
        return 3;
    for (at += 2; at + 1 < argc && !status;) {
        uint8_t method = method_of(argv[at]);
        const char *path = argv[at + 1];
        at += 2;
        text = tf_bytes_str(at < argc && !method_of(argv[at]) ? argv[at++] : "");
        waiting = client_request(method, path, &text, on_answer);
        if (!method || !waiting)
            return 2;
        while (waiting) {
            client_poll();
            modem_work(); /* which a real one does by itself */
            if (waiting)
                modem_wait(line, client_idle_ms());
        }
    }
    return status;
}
