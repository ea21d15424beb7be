/*
 * The loop of a CoAP server over the serial line, and its resources; see serve.h.
 */
#include "serve.h"

#define DATAGRAMS 2u /* taken from the endpoint at once */

/* --- the loop ------------------------------------------------------------------------------------
 */

void serve_random(void *ctx, void *data, size_t length)
{
    uint8_t *to = data;

    (void)ctx;
    for (size_t i = 0; i < length; i++)
        to[i] = (uint8_t)(board_random() >> 8);
}

/* Sends what the endpoint has to send. */
static void flush(struct tf_coap_endpoint *endpoint)
{
    struct tf_datagram out[DATAGRAMS];
    size_t count;

    while ((count = tf_coap_endpoint_output(endpoint, out, DATAGRAMS)) > 0) {
        for (size_t i = 0; i < count; i++)
            board_send(*(const uint8_t *)out[i].path, &out[i].bytes, 1);
        tf_coap_endpoint_sent(endpoint, count, board_now());
    }
}

/* Takes events until there are none. */
static void pull(struct tf_coap_endpoint *endpoint, const struct service *service)
{
    struct tf_coap_event event;

    while (tf_coap_endpoint_event(endpoint, &event))
        service->event(endpoint, &event, board_now());
}

void serve(const struct tf_coap_endpoint_config *config, void *memory, size_t length, void *output,
           size_t output_length, const struct service *service)
{
    struct tf_coap_endpoint *endpoint;
    struct tf_bytes data;
    uint8_t path;

    if (tf_coap_endpoint_init(&endpoint, memory, length, config, board_now()) ||
        tf_coap_endpoint_lend(endpoint, output, output_length)) {
        board_say("too little memory");
        return;
    }
    board_say("ready");
    for (;;) {
        while (board_receive(&path, &data)) {
            struct tf_datagram in = {.path = &path, .bytes = data};

            /* Output is drained and events are pulled each time, so it is taken. */
            if (data.length > 0 && tf_coap_endpoint_input(endpoint, &in, board_now()))
                board_say("a datagram was not taken");
            pull(endpoint, service);
            flush(endpoint);
        }
        if (board_now() >= tf_coap_endpoint_deadline(endpoint))
            tf_coap_endpoint_tick(endpoint, board_now());
        pull(endpoint, service);
        if (service->turn)
            service->turn(endpoint, board_now());
        flush(endpoint);
        board_wait();
    }
}

bool serve_is(const struct tf_coap_event *event, const char *name)
{
    struct tf_coap_cursor cursor = tf_coap_options(event->message.options);
    struct tf_coap_option option;
    unsigned segments = 0;
    bool same = false;

    while (tf_coap_option_next(&cursor, &option)) {
        if (option.number != TF_COAP_URI_PATH)
            continue;
        same = segments++ == 0 && tf_bytes_equal(option.value, tf_bytes_str(name));
    }
    return same;
}

void serve_answer(struct tf_coap_endpoint *endpoint, uint64_t request, uint8_t code,
                  struct tf_bytes body, tf_time now)
{
    struct tf_coap_response response = {.code = code, .body = &body, .body_count = 1};

    if (tf_coap_respond(endpoint, request, &response, NULL, NULL, now))
        board_say("an answer was not taken");
}

/* --- /led ----------------------------------------------------------------------------------------
 */

static uint8_t led[32] = {'o', 'f', 'f'};
static size_t led_length = 3;

bool serve_led(struct tf_coap_endpoint *endpoint, const struct tf_coap_event *event, tf_time now)
{
    struct tf_bytes none = {NULL, 0};

    if (event->type != TF_COAP_EVENT_REQUEST || !serve_is(event, "led"))
        return false;
    if (event->message.code == TF_COAP_GET) {
        serve_answer(endpoint, event->handle, TF_COAP_CONTENT, tf_bytes_of(led, led_length), now);
    } else if (event->message.code != TF_COAP_PUT) {
        serve_answer(endpoint, event->handle, TF_COAP_METHOD_NOT_ALLOWED, none, now);
    } else if (event->body.length > sizeof led || event->more) {
        serve_answer(endpoint, event->handle, TF_COAP_TOO_LARGE, none, now);
    } else {
        led_length = event->body.length;
        for (size_t i = 0; i < led_length; i++)
            led[i] = event->body.data[i];
        serve_answer(endpoint, event->handle, TF_COAP_CHANGED, none, now);
    }
    return true;
}

/* --- /count --------------------------------------------------------------------------------------
 */

#define WATCHERS 4u
#define PERIOD (200 * TF_MILLISECOND)

static struct {
    uint32_t number;
    tf_time next;
    uint64_t watcher[WATCHERS]; /* observers; 0: free */
    uint32_t told[WATCHERS];
    bool waiting[WATCHERS]; /* for OBSERVER_READY */
} count;

/* The number as text, in `text`. */
static struct tf_bytes count_text(char text[10])
{
    uint32_t rest = count.number;
    size_t at = 10;

    do {
        text[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    return tf_bytes_of(text + at, 10 - at);
}

/* Answers a GET; an observer gets a place. */
static void count_get(struct tf_coap_endpoint *endpoint, const struct tf_coap_event *event,
                      tf_time now)
{
    char text[10];
    struct tf_bytes body = count_text(text);
    struct tf_coap_response response = {
        .code = TF_COAP_CONTENT, .body = &body, .body_count = 1, .sequence = count.number};
    uint64_t observer = 0;
    unsigned i = 0;

    while (i < WATCHERS && count.watcher[i])
        i++;
    response.observe = event->observe && i < WATCHERS;
    if (tf_coap_respond(endpoint, event->handle, &response, &observer, NULL, now))
        board_say("an answer was not taken");
    if (observer) {
        count.watcher[i] = observer;
        count.told[i] = count.number;
        count.waiting[i] = false;
    }
}

bool serve_count(struct tf_coap_endpoint *endpoint, const struct tf_coap_event *event, tf_time now)
{
    if (event->type == TF_COAP_EVENT_REQUEST && serve_is(event, "count") &&
        event->message.code == TF_COAP_GET) {
        count_get(endpoint, event, now);
        return true;
    }
    if (event->type != TF_COAP_EVENT_OBSERVER_GONE && event->type != TF_COAP_EVENT_OBSERVER_READY)
        return false;
    for (unsigned i = 0; i < WATCHERS; i++) {
        if (count.watcher[i] != event->handle)
            continue;
        count.waiting[i] = false;
        if (event->type == TF_COAP_EVENT_OBSERVER_GONE) {
            count.watcher[i] = 0;
            board_say("observer gone");
        }
    }
    return true;
}

void serve_count_turn(struct tf_coap_endpoint *endpoint, tf_time now)
{
    char text[10];
    struct tf_bytes body;
    struct tf_coap_response response = {.code = TF_COAP_CONTENT, .body = &body, .body_count = 1};

    if (now >= count.next) {
        count.next = tf_time_add(now, PERIOD);
        count.number++;
    }
    body = count_text(text);
    response.sequence = count.number;
    for (unsigned i = 0; i < WATCHERS; i++) {
        enum tf_err err;

        if (!count.watcher[i] || count.waiting[i] || count.told[i] == count.number)
            continue;
        err = tf_coap_notify(endpoint, count.watcher[i], &response, now);
        count.waiting[i] = err == TF_AGAIN;
        if (!err)
            count.told[i] = count.number;
    }
}

/* --- /large and /store ---------------------------------------------------------------------------
 */

static uint8_t large[1500];

bool serve_large(struct tf_coap_endpoint *endpoint, const struct tf_coap_event *event, tf_time now)
{
    if (event->type != TF_COAP_EVENT_REQUEST || !serve_is(event, "large") ||
        event->message.code != TF_COAP_GET)
        return false;
    for (size_t i = 0; i < sizeof large; i++)
        large[i] = (uint8_t)('a' + i % 26);
    serve_answer(endpoint, event->handle, TF_COAP_CONTENT, tf_bytes_of(large, sizeof large), now);
    return true;
}

static struct {
    uint8_t bytes[700];
    size_t length;
    uint64_t request; /* whose body is coming */
} store;

/* Takes a run of the body of a PUT, and answers after the last. */
static void store_take(struct tf_coap_endpoint *endpoint, const struct tf_coap_event *event,
                       tf_time now)
{
    struct tf_bytes none = {NULL, 0};

    if (event->offset + event->body.length > sizeof store.bytes) {
        store.request = 0;
        serve_answer(endpoint, event->handle, TF_COAP_TOO_LARGE, none, now);
        return;
    }
    for (size_t i = 0; i < event->body.length; i++)
        store.bytes[event->offset + i] = event->body.data[i];
    store.length = event->offset + event->body.length;
    store.request = event->more ? event->handle : 0;
    if (!event->more)
        serve_answer(endpoint, event->handle, TF_COAP_CHANGED, none, now);
}

bool serve_store(struct tf_coap_endpoint *endpoint, const struct tf_coap_event *event, tf_time now)
{
    if (event->type == TF_COAP_EVENT_BODY && event->handle == store.request) {
        store_take(endpoint, event, now);
        return true;
    }
    if (event->type != TF_COAP_EVENT_REQUEST || !serve_is(event, "store"))
        return false;
    if (event->message.code == TF_COAP_PUT)
        store_take(endpoint, event, now);
    else if (event->message.code == TF_COAP_GET)
        serve_answer(endpoint, event->handle, TF_COAP_CONTENT,
                     tf_bytes_of(store.bytes, store.length), now);
    else
        return false;
    return true;
}

void serve_everything(struct tf_coap_endpoint *endpoint, const struct tf_coap_event *event,
                      tf_time now)
{
    struct tf_bytes none = {NULL, 0};

    if (!serve_led(endpoint, event, now) && !serve_count(endpoint, event, now) &&
        !serve_large(endpoint, event, now) && !serve_store(endpoint, event, now) &&
        event->type == TF_COAP_EVENT_REQUEST)
        serve_answer(endpoint, event->handle, TF_COAP_NOT_FOUND, none, now);
}
