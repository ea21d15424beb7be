/*
 * Observers, the server's side (RFC 7641): registration and its end, what a notification is, the
 * rate, and who finds out that an observer has gone.
 */
#include "unit/coap/probe.h"

#define MAX_OBSERVERS 1000

struct app {
    bool observe;         /* observers are wanted */
    uint8_t code;         /* of answers; 0: 2.05 */
    uint32_t sequence;    /* of the resource */
    int format;           /* Content-Format of notifications; -1: none */
    size_t size;          /* of the representation */
    uint64_t observer;    /* the last one registered; 0: none */
    bool tell_when_ready; /* notify at OBSERVER_READY */
    size_t registered, gone, ready;
    uint64_t observers[MAX_OBSERVERS + 1];
};

static uint8_t representation[5000];

static struct tf_coap_response represent(struct app *app, uint8_t code,
                                         struct tf_coap_option *format, struct tf_bytes *piece,
                                         uint8_t buffer[4])
{
    pattern_fill(representation, app->size, app->sequence & 0xFF);
    *piece = tf_bytes_of(representation, app->size);
    format->number = TF_COAP_CONTENT_FORMAT;
    format->value = tf_coap_uint_value((uint32_t)app->format, buffer);
    return (struct tf_coap_response){
        .code = code,
        .options = format,
        .option_count = code == TF_COAP_CONTENT && app->format >= 0,
        .body = piece,
        .body_count = code == TF_COAP_CONTENT,
        .observe = app->observe,
        .sequence = app->sequence,
        .user = app,
    };
}

static enum tf_err notify(struct probe *probe, uint64_t observer, uint8_t code)
{
    struct tf_coap_option format;
    struct tf_bytes piece;
    uint8_t buffer[4];
    struct tf_coap_response response = represent(probe->user, code, &format, &piece, buffer);

    return tf_coap_notify(probe->endpoint, observer, &response, probe->now);
}

static void app_run(struct probe *probe, const struct tf_coap_event *event)
{
    struct app *app = probe->user;
    struct tf_coap_option format;
    struct tf_bytes piece;
    uint8_t buffer[4];

    if (event->type == TF_COAP_EVENT_REQUEST) {
        struct tf_coap_response response =
            represent(app, app->code ? app->code : TF_COAP_CONTENT, &format, &piece, buffer);
        assert_int_equal(tf_coap_respond(probe->endpoint, event->handle, &response, &app->observer,
                                         NULL, probe->now),
                         TF_OK);
        if (app->observer && app->registered < MAX_OBSERVERS)
            app->observers[app->registered++] = app->observer;
    } else if (event->type == TF_COAP_EVENT_OBSERVER_GONE) {
        assert_ptr_equal(event->user, app);
        assert_int_equal(notify(probe, event->handle, TF_COAP_CONTENT), TF_NOT_FOUND);
        app->gone++;
    } else if (event->type == TF_COAP_EVENT_OBSERVER_READY) {
        assert_ptr_equal(event->user, app);
        app->ready++;
        if (app->tell_when_ready)
            assert_true(notify(probe, event->handle, TF_COAP_CONTENT) != TF_NOT_FOUND);
    }
}

static struct probe *start(const struct tf_coap_endpoint_config *config)
{
    struct probe *probe = probe_new(config, app_run);
    struct app *app = calloc(1, sizeof(*app));

    app->observe = true;
    app->sequence = 100;
    app->size = 5;
    app->format = -1;
    probe->user = app;
    return probe;
}

static void finish(struct probe *probe)
{
    free(probe->user);
    probe_free(probe);
}

/* A GET with Observe `observe`; the answer. */
static const struct tf_coap_message *observe(struct probe *probe, uint32_t peer, uint32_t token,
                                             uint32_t value, int szx)
{
    struct packet packet;

    probe_clear(probe);
    packet_start(probe, &packet, TF_COAP_CON, TF_COAP_GET, token);
    packet_uint(&packet, TF_COAP_OBSERVE, value);
    packet_text(&packet, TF_COAP_URI_PATH, "alarm");
    if (szx >= 0)
        packet_block(&packet, TF_COAP_BLOCK2, 0, false, (unsigned)szx);
    packet_feed(probe, peer, &packet);
    return &probe_only(probe)->message;
}

/* The next state of the resource, told to one observer; the message, or NULL if it must wait. */
static const struct tf_coap_message *change(struct probe *probe, uint64_t observer)
{
    struct app *app = probe->user;
    enum tf_err err;

    probe_clear(probe);
    app->sequence++;
    err = notify(probe, observer, TF_COAP_CONTENT);
    probe_run(probe);
    if (err) {
        assert_int_equal(err, TF_AGAIN);
        assert_int_equal(probe->sent_count, 0);
        return NULL;
    }
    return &probe_only(probe)->message;
}

static void acknowledge(struct probe *probe, uint32_t peer, const struct tf_coap_message *message)
{
    probe_feed_empty(probe, peer, TF_COAP_ACK, message->message_id);
}

/* Registers a peer that is known to be there. */
static uint64_t register_proved(struct probe *probe, uint32_t peer, uint32_t token)
{
    struct app *app = probe->user;
    const struct tf_coap_message *message;

    assert_true(probe_uint(observe(probe, peer, token, 0, -1), TF_COAP_OBSERVE) >= 0);
    uint64_t observer = app->observer;
    message = change(probe, observer);
    if (message->type == TF_COAP_CON)
        acknowledge(probe, peer, message);
    probe_clear(probe);
    return observer;
}

static void test_register(void **state)
{
    struct probe *probe = start(NULL);
    struct app *app = probe->user;
    const struct tf_coap_message *message;

    (void)state;
    app->sequence = 0xABFFFFFE; /* only 24 bits count (4.4) */
    message = observe(probe, 1, 0x1234, 0, -1);
    assert_int_equal(message->code, TF_COAP_CONTENT);
    assert_int_equal(message->type, TF_COAP_ACK);
    assert_int_equal(probe_uint(message, TF_COAP_OBSERVE), 0xFFFFFE);
    assert_true(app->observer != 0);
    /* The address has not been proved: the first notification is a CON. */
    message = change(probe, app->observer);
    assert_int_equal(message->type, TF_COAP_CON);
    assert_int_equal(probe_uint(message, TF_COAP_OBSERVE), 0xFFFFFF);
    assert_true(tf_bytes_equal(message->token, tf_bytes_of("\x12\x34", 2)));
    assert_true(pattern_is(message->payload, 0, 0xFF));
    acknowledge(probe, 1, message);
    message = change(probe, app->observer);
    assert_int_equal(message->type, TF_COAP_NON);
    assert_int_equal(probe_uint(message, TF_COAP_OBSERVE), 0);
    assert_int_equal(app->gone, 0);
    finish(probe);
}

/* Who is not an observer: an unwilling server, an error, an unknown number, another method. */
static void test_plain(void **state)
{
    struct probe *probe = start(NULL);
    struct app *app = probe->user;
    struct packet packet;

    (void)state;
    app->observe = false;
    assert_int_equal(probe_uint(observe(probe, 1, 1, 0, -1), TF_COAP_OBSERVE), -1);
    assert_true(probe_event(probe, TF_COAP_EVENT_REQUEST)->observe);
    app->observe = true;
    app->code = TF_COAP_NOT_FOUND;
    assert_int_equal(probe_uint(observe(probe, 1, 1, 0, -1), TF_COAP_OBSERVE), -1);
    app->code = 0;
    assert_int_equal(probe_uint(observe(probe, 1, 1, 2, -1), TF_COAP_OBSERVE), -1);
    assert_false(probe_event(probe, TF_COAP_EVENT_REQUEST)->observe);
    probe_clear(probe);
    packet_start(probe, &packet, TF_COAP_CON, TF_COAP_POST, 1);
    packet_uint(&packet, TF_COAP_OBSERVE, 0);
    packet_feed(probe, 1, &packet);
    assert_false(probe_event(probe, TF_COAP_EVENT_REQUEST)->observe);
    /* The rest of a body is no registration (RFC 7959 2.6). */
    app->size = 100;
    probe_clear(probe);
    packet_start(probe, &packet, TF_COAP_CON, TF_COAP_GET, 1);
    packet_uint(&packet, TF_COAP_OBSERVE, 0);
    packet_block(&packet, TF_COAP_BLOCK2, 1, false, 0);
    packet_feed(probe, 1, &packet);
    assert_int_equal(probe_uint(&probe_only(probe)->message, TF_COAP_OBSERVE), -1);
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->observers, 0);
    finish(probe);
}

/* Observe 1 ends it, and so does a new registration of the same token: GONE, once. */
static void test_ask_again(void **state)
{
    struct probe *probe = start(NULL);
    struct app *app = probe->user;

    (void)state;
    observe(probe, 1, 7, 0, -1);
    uint64_t first = app->observer;
    observe(probe, 1, 8, 0, -1);
    observe(probe, 2, 7, 0, -1);
    assert_int_equal(app->gone, 0);
    observe(probe, 1, 7, 0, -1);
    assert_int_equal(app->gone, 1);
    assert_int_equal(probe_event(probe, TF_COAP_EVENT_OBSERVER_GONE)->handle, first);
    assert_true(app->observer != 0 && app->observer != first);
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->observers, 3);
    uint64_t second = app->observer;
    assert_int_equal(probe_uint(observe(probe, 1, 7, 1, -1), TF_COAP_OBSERVE), -1);
    assert_int_equal(app->gone, 2);
    assert_int_equal(probe_event(probe, TF_COAP_EVENT_OBSERVER_GONE)->handle, second);
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->observers, 2);
    /* Nothing to stop: a plain GET. */
    assert_int_equal(observe(probe, 1, 9, 1, -1)->code, TF_COAP_CONTENT);
    assert_int_equal(app->gone, 2);
    finish(probe);
}

/* No room: 2.05 without Observe (row 78). */
static void test_table_full(void **state)
{
    struct tf_coap_endpoint_config config = probe_config();

    (void)state;
    config.observers = 2;
    struct probe *probe = start(&config);
    struct app *app = probe->user;
    observe(probe, 1, 1, 0, -1);
    observe(probe, 2, 1, 0, -1);
    const struct tf_coap_message *message = observe(probe, 3, 1, 0, -1);
    assert_int_equal(message->code, TF_COAP_CONTENT);
    assert_int_equal(probe_uint(message, TF_COAP_OBSERVE), -1);
    assert_int_equal(app->observer, 0);
    /* One that asks again has its place. */
    assert_true(probe_uint(observe(probe, 2, 1, 0, -1), TF_COAP_OBSERVE) >= 0);
    tf_coap_unobserve(probe->endpoint, app->observer);
    assert_true(probe_uint(observe(probe, 3, 1, 0, -1), TF_COAP_OBSERVE) >= 0);
    assert_int_equal(app->gone, 1);
    finish(probe);
}

/* A burst of NON, then a CON, whose ACK allows the next burst; 3 s give one back (4.5.1). */
static void test_rate(void **state)
{
    struct probe *probe = start(NULL);
    struct app *app = probe->user;
    const struct tf_coap_message *message;

    (void)state;
    uint64_t observer = register_proved(probe, 1, 1);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 8; i++)
            assert_int_equal(change(probe, observer)->type, TF_COAP_NON);
        message = change(probe, observer);
        assert_int_equal(message->type, TF_COAP_CON);
        uint16_t id = message->message_id;
        /* Conflation: whatever happens meanwhile, one READY, and the newest goes. */
        assert_null(change(probe, observer));
        assert_null(change(probe, observer));
        assert_int_equal(app->ready, round);
        probe_clear(probe);
        probe_feed_empty(probe, 1, TF_COAP_ACK, id);
        assert_int_equal(app->ready, round + 1);
    }
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(change(probe, observer)->type, TF_COAP_NON);
    for (unsigned i = 0; i < 20; i++) {
        probe_pass(probe, 3 * TF_SECOND);
        assert_int_equal(change(probe, observer)->type, TF_COAP_NON);
    }
    assert_int_equal(change(probe, observer)->type, TF_COAP_CON);
    assert_int_equal(app->gone, 0);
    finish(probe);
}

/* While a CON is retransmitted nothing newer goes; then the newest (4.5.2). */
static void test_retransmission(void **state)
{
    struct tf_coap_endpoint_config config = probe_config();

    (void)state;
    config.notify_con = true;
    struct probe *probe = start(&config);
    struct app *app = probe->user;
    app->tell_when_ready = true;
    observe(probe, 1, 1, 0, -1);
    const struct tf_coap_message *message = change(probe, app->observer);
    uint16_t id = message->message_id;
    assert_int_equal(message->type, TF_COAP_CON);
    for (unsigned i = 0; i < 5; i++)
        assert_null(change(probe, app->observer));
    probe_pass(probe, 8 * TF_SECOND);
    assert_true(probe->sent_count >= 1);
    assert_int_equal(probe_last(probe)->message.message_id, id);
    probe_clear(probe);
    probe_feed_empty(probe, 1, TF_COAP_ACK, id);
    message = &probe_only(probe)->message;
    assert_int_equal(probe_uint(message, TF_COAP_OBSERVE), app->sequence);
    assert_int_equal(app->ready, 1);
    finish(probe);
}

/* Who registers anew gets the value with the answer: the notification before it is given up. */
static void test_again_under_way(void **state)
{
    struct tf_coap_endpoint_config config = probe_config();

    (void)state;
    config.notify_con = true;
    struct probe *probe = start(&config);
    struct app *app = probe->user;
    observe(probe, 1, 1, 0, -1);
    assert_int_equal(change(probe, app->observer)->type, TF_COAP_CON);
    observe(probe, 1, 1, 0, -1);
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->exchanges, 0);
    probe_clear(probe);
    probe_pass(probe, 100 * TF_SECOND);
    assert_int_equal(probe->sent_count, 0);
    assert_int_equal(change(probe, app->observer)->type, TF_COAP_CON);
    finish(probe);
}

/* It does not answer a CON any more. */
static void test_vanished(void **state)
{
    struct probe *probe = start(NULL);
    struct app *app = probe->user;

    (void)state;
    observe(probe, 1, 1, 0, -1);
    assert_int_equal(change(probe, app->observer)->type, TF_COAP_CON);
    assert_null(change(probe, app->observer));
    probe_pass(probe, 100 * TF_SECOND);
    assert_int_equal(app->gone, 1);
    assert_int_equal(app->ready, 0);
    assert_int_equal(probe->sent_count, 4);
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->observers, 0);
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->exchanges, 0);
    finish(probe);
}

/* With a CON that is not answered go all observers of the peer, and no other's. */
static void test_vanished_all(void **state)
{
    struct probe *probe = start(NULL);
    struct app *app = probe->user;

    (void)state;
    observe(probe, 2, 1, 0, -1);
    for (uint32_t token = 1; token < 6; token++)
        observe(probe, 1, token, 0, -1);
    assert_int_equal(change(probe, app->observer)->type, TF_COAP_CON);
    assert_null(change(probe, app->observers[1]));
    probe_pass(probe, 100 * TF_SECOND);
    assert_int_equal(app->gone, 5);
    assert_int_equal(app->ready, 0);
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->observers, 1);
    finish(probe);
}

/* It resets a notification, CON or NON (3.6). */
static void test_reset(void **state)
{
    struct probe *probe = start(NULL);
    struct app *app = probe->user;

    (void)state;
    observe(probe, 1, 1, 0, -1);
    probe_feed_empty(probe, 1, TF_COAP_RST, change(probe, app->observer)->message_id);
    assert_int_equal(app->gone, 1);
    uint64_t observer = register_proved(probe, 1, 1), other = register_proved(probe, 1, 2);
    uint16_t id = change(probe, observer)->message_id;
    probe_feed_empty(probe, 2, TF_COAP_RST, id);
    probe_feed_empty(probe, 1, TF_COAP_RST, (uint16_t)(id + 1));
    assert_int_equal(app->gone, 1);
    probe_feed_empty(probe, 1, TF_COAP_RST, id);
    assert_int_equal(app->gone, 2);
    assert_int_equal(probe_event(probe, TF_COAP_EVENT_OBSERVER_GONE)->handle, observer);
    assert_non_null(change(probe, other));
    finish(probe);
}

/* An error ends it, as a CON without Observe; the application knows already (4.2). */
static void test_error_ends(void **state)
{
    struct probe *probe = start(NULL);
    struct app *app = probe->user;

    (void)state;
    uint64_t observer = register_proved(probe, 1, 1);
    assert_int_equal(notify(probe, observer, TF_COAP_NOT_FOUND), TF_OK);
    probe_run(probe);
    assert_int_equal(probe_only(probe)->message.code, TF_COAP_NOT_FOUND);
    assert_int_equal(probe_only(probe)->message.type, TF_COAP_CON);
    assert_int_equal(probe_uint(&probe_only(probe)->message, TF_COAP_OBSERVE), -1);
    assert_int_equal(notify(probe, observer, TF_COAP_CONTENT), TF_NOT_FOUND);
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->observers, 0);
    probe_pass(probe, 100 * TF_SECOND);
    assert_int_equal(app->gone, 0);
    finish(probe);
}

/* Another format than at first: 4.06, and the end (4.2). */
static void test_format(void **state)
{
    struct probe *probe = start(NULL);
    struct app *app = probe->user;
    const struct tf_coap_message *message;

    (void)state;
    app->format = TF_COAP_FORMAT_JSON;
    uint64_t observer = register_proved(probe, 1, 1);
    assert_int_equal(change(probe, observer)->code, TF_COAP_CONTENT);
    app->format = TF_COAP_FORMAT_TEXT;
    message = change(probe, observer);
    assert_int_equal(message->code, TF_COAP_NOT_ACCEPTABLE);
    assert_int_equal(message->payload.length, 0);
    assert_int_equal(message->options.length, 0);
    assert_int_equal(app->gone, 1);
    observer = register_proved(probe, 2, 2);
    app->format = -1;
    assert_int_equal(change(probe, observer)->code, TF_COAP_NOT_ACCEPTABLE);
    finish(probe);
}

/* A CON now and then, by count and by time (4.5). */
static void test_con_at_times(void **state)
{
    struct tf_coap_endpoint_config config = probe_config();

    (void)state;
    config.notify_con_after = 3;
    config.notify_con_every_ms = 60000;
    struct probe *probe = start(&config);
    uint64_t observer = register_proved(probe, 1, 1);
    for (unsigned i = 0; i < 12; i++) {
        const struct tf_coap_message *message = change(probe, observer);
        assert_int_equal(message->type, i % 4 == 3 ? TF_COAP_CON : TF_COAP_NON);
        if (message->type == TF_COAP_CON)
            acknowledge(probe, 1, message);
    }
    probe_pass(probe, 59 * TF_SECOND);
    assert_int_equal(change(probe, observer)->type, TF_COAP_NON);
    probe_pass(probe, TF_SECOND);
    assert_int_equal(change(probe, observer)->type, TF_COAP_CON);
    finish(probe);
}

/* NSTART holds for all observers of a peer; each has its turn. */
static void test_turns(void **state)
{
    struct tf_coap_endpoint_config config = probe_config();
    uint32_t told[5] = {0};

    (void)state;
    config.notify_con = true;
    struct probe *probe = start(&config);
    struct app *app = probe->user;
    for (uint32_t token = 0; token < 5; token++)
        observe(probe, 1, token, 0, -1);
    observe(probe, 2, 9, 0, -1);
    app->sequence++;
    app->tell_when_ready = true;
    probe_clear(probe);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(notify(probe, app->observers[i], TF_COAP_CONTENT), i ? TF_AGAIN : TF_OK);
    /* Another peer is another matter. */
    assert_int_equal(notify(probe, app->observers[5], TF_COAP_CONTENT), TF_OK);
    /* One that waits goes away. */
    tf_coap_unobserve(probe->endpoint, app->observers[2]);
    for (unsigned i = 0; i < 4; i++) {
        const struct tf_coap_message *message = NULL;
        probe_run(probe);
        for (size_t j = 0; j < probe->sent_count; j++) {
            if (probe->sent[j].peer == 1)
                message = &probe->sent[j].message;
        }
        assert_non_null(message);
        told[tf_coap_uint(message->token)]++;
        uint16_t id = message->message_id;
        probe_clear(probe);
        probe_feed_empty(probe, 1, TF_COAP_ACK, id);
    }
    assert_int_equal(probe->sent_count, 0);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(told[i], i != 2);
    finish(probe);
}

/* With a larger NSTART an observer has one CON at a time all the same. */
static void test_one_each(void **state)
{
    struct tf_coap_endpoint_config config = probe_config();

    (void)state;
    config.notify_con = true;
    config.nstart = 3;
    struct probe *probe = start(&config);
    struct app *app = probe->user;
    observe(probe, 1, 1, 0, -1);
    uint64_t observer = app->observer;
    observe(probe, 1, 2, 0, -1);
    uint16_t id = change(probe, observer)->message_id;
    assert_null(change(probe, observer));
    assert_non_null(change(probe, app->observer));
    assert_int_equal(app->ready, 0);
    probe_feed_empty(probe, 1, TF_COAP_ACK, id);
    assert_int_equal(app->ready, 1);
    id = change(probe, observer)->message_id;
    probe_feed_empty(probe, 1, TF_COAP_RST, id);
    assert_int_equal(app->gone, 1);
    finish(probe);
}

/* No exchange is free: a NON rather than nothing. */
static void test_no_exchange(void **state)
{
    struct tf_coap_endpoint_config config = probe_config();

    (void)state;
    config.exchanges = 1;
    struct probe *probe = start(&config);
    struct app *app = probe->user;
    observe(probe, 1, 1, 0, -1);
    observe(probe, 2, 1, 0, -1);
    assert_int_equal(change(probe, app->observers[0])->type, TF_COAP_CON);
    for (unsigned i = 0; i < 12; i++)
        assert_int_equal(change(probe, app->observers[1])->type, TF_COAP_NON);
    probe_pass(probe, 100 * TF_SECOND);
    assert_int_equal(app->gone, 1);
    assert_int_equal(change(probe, app->observers[1])->type, TF_COAP_CON);
    finish(probe);
}

/* A turn that is not used goes to the next. */
static void test_turn_unused(void **state)
{
    struct tf_coap_endpoint_config config = probe_config();

    (void)state;
    config.notify_con = true;
    struct probe *probe = start(&config);
    struct app *app = probe->user;
    for (uint32_t token = 0; token < 5; token++)
        observe(probe, 1, token, 0, -1);
    probe_clear(probe);
    for (unsigned i = 0; i < 5; i++)
        (void)notify(probe, app->observers[i], TF_COAP_CONTENT);
    probe_run(probe);
    acknowledge(probe, 1, &probe_only(probe)->message);
    assert_int_equal(app->ready, 4);
    finish(probe);
}

/* The application forgets it while a CON is out: no event, whatever comes. */
static void test_unobserve(void **state)
{
    struct probe *probe = start(NULL);
    struct app *app = probe->user;

    (void)state;
    observe(probe, 1, 1, 0, -1);
    uint16_t id = change(probe, app->observer)->message_id;
    assert_null(change(probe, app->observer));
    tf_coap_unobserve(probe->endpoint, app->observer);
    tf_coap_unobserve(probe->endpoint, app->observer);
    probe_feed_empty(probe, 1, TF_COAP_RST, id);
    probe_pass(probe, 100 * TF_SECOND);
    assert_int_equal(app->gone, 0);
    assert_int_equal(app->ready, 0);
    /* Also when its end is still to be told. */
    observe(probe, 1, 1, 0, -1);
    id = change(probe, app->observer)->message_id;
    struct packet packet;
    uint32_t peer = 1;
    packet_start_id(&packet, TF_COAP_RST, TF_COAP_EMPTY, id, (struct tf_bytes){NULL, 0});
    struct tf_datagram in = {&peer, tf_coap_encoded(&packet.encoder), 0};
    assert_int_equal(tf_coap_endpoint_input(probe->endpoint, &in, probe->now), TF_OK);
    tf_coap_unobserve(probe->endpoint, app->observer);
    probe_run(probe);
    assert_int_equal(app->gone, 0);
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->observers, 0);
    finish(probe);
}

/* A large representation goes as its first block, of the size that the client asked for. */
static void test_block(void **state)
{
    struct probe *probe = start(NULL);
    struct app *app = probe->user;
    const struct tf_coap_message *message;

    (void)state;
    app->size = 3000;
    message = observe(probe, 1, 1, 0, -1);
    assert_int_equal(probe_uint(message, TF_COAP_BLOCK2), 8 | 6);
    uint64_t observer = app->observer;
    message = change(probe, observer);
    assert_int_equal(probe_uint(message, TF_COAP_BLOCK2), 8 | 6);
    assert_int_equal(probe_uint(message, TF_COAP_SIZE2), 3000);
    assert_int_equal(message->payload.length, 1024);
    message = observe(probe, 2, 1, 0, 2);
    assert_int_equal(probe_uint(message, TF_COAP_BLOCK2), 8 | 2);
    message = change(probe, app->observer);
    assert_int_equal(probe_uint(message, TF_COAP_BLOCK2), 8 | 2);
    assert_true(pattern_is(message->payload, 0, app->sequence & 0xFF));
    finish(probe);
}

/* 1,000 observers of one value, each told of each change; half of them vanish. */
static void test_many(void **state)
{
    struct tf_coap_endpoint_config config = probe_config();

    (void)state;
    config.peers = config.observers = config.exchanges = MAX_OBSERVERS;
    config.buffers = 4 * MAX_OBSERVERS;
    struct probe *probe = start(&config);
    struct app *app = probe->user;
    for (uint32_t i = 0; i < MAX_OBSERVERS; i++)
        observe(probe, 1 + i, i, 0, -1);
    assert_int_equal(app->registered, MAX_OBSERVERS);
    for (unsigned round = 0; round < 3; round++) {
        size_t told = 0;
        probe_clear(probe);
        app->sequence++;
        for (uint32_t i = 0; i < MAX_OBSERVERS; i++) {
            told += notify(probe, app->observers[i], TF_COAP_CONTENT) == TF_OK;
            probe_run(probe);
        }
        assert_int_equal(told, round ? MAX_OBSERVERS / 2 : MAX_OBSERVERS);
        assert_int_equal(probe->sent_count, told);
        for (uint32_t i = 0; i < MAX_OBSERVERS && !round; i += 2)
            probe_feed_empty(probe, 1 + i, TF_COAP_ACK, probe->sent[i].message.message_id);
    }
    probe_clear(probe);
    probe_pass(probe, 100 * TF_SECOND);
    assert_int_equal(app->gone, MAX_OBSERVERS / 2);
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->observers, MAX_OBSERVERS / 2);
    finish(probe);
}

/* ---- observers of an endpoint before this one ---- */

static enum tf_err again(struct probe *probe, uint32_t peer, const char *token, bool trusted)
{
    const struct tf_coap_registration registration = {.path = &peer,
                                                      .token = tf_bytes_str(token),
                                                      .format = TF_COAP_NO_FORMAT,
                                                      .block_szx = 1,
                                                      .trusted = trusted,
                                                      .user = probe->user};
    struct app *app = probe->user;

    return tf_coap_observe_again(probe->endpoint, &registration, &app->observer, probe->now);
}

static void test_again(void **state)
{
    struct probe *probe = start(NULL);
    struct app *app = probe->user;
    const struct tf_coap_message *message;

    (void)state;
    app->size = 100;
    assert_int_equal(again(probe, 1, "\x12\x34", false), TF_OK);
    assert_int_equal(again(probe, 1, "\x12\x34", false), TF_LIMIT); /* it is there already */
    assert_int_equal(again(probe, 1, "123456789", false), TF_MISUSE);
    message = change(probe, app->observer);
    assert_int_equal(message->type, TF_COAP_CON); /* its address has not been proved */
    assert_int_equal(message->payload.length, 32);
    assert_true(tf_bytes_equal(message->token, tf_bytes_of("\x12\x34", 2)));
    acknowledge(probe, 1, message);
    message = change(probe, app->observer);
    assert_int_equal(message->type, TF_COAP_NON);
    /* it is the one that a RST, or asking anew with its token, ends */
    probe_feed_empty(probe, 1, TF_COAP_RST, message->message_id);
    assert_int_equal(app->gone, 1);
    assert_int_equal(again(probe, 1, "\x12\x34", true), TF_OK);
    assert_int_equal(change(probe, app->observer)->type, TF_COAP_NON);
    observe(probe, 1, 0x1234, 0, -1);
    assert_int_equal(app->gone, 2);
    /* another Content-Format than it knows */
    assert_int_equal(again(probe, 2, "", true), TF_OK);
    app->format = 50;
    assert_int_equal(change(probe, app->observer)->code, TF_COAP_NOT_ACCEPTABLE);
    assert_int_equal(app->gone, 3);
    finish(probe);
}

static void test_again_without_room(void **state)
{
    struct tf_coap_endpoint_config config = probe_config();
    uint32_t count = 0;

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        config.observers = i ? 5 : 1000;
        config.peers = i ? 1000 : 5;
        struct probe *probe = start(&config);
        for (count = 0; again(probe, 100 + count, "t", true) == TF_OK; count++)
            probe_run(probe);
        assert_int_equal(count, 5);
        finish(probe);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_register),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_ask_again),
        cmocka_unit_test(test_table_full),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_retransmission),
        cmocka_unit_test(test_again_under_way),
        cmocka_unit_test(test_vanished),
        cmocka_unit_test(test_vanished_all),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_error_ends),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_con_at_times),
        cmocka_unit_test(test_turns),
        cmocka_unit_test(test_turn_unused),
        cmocka_unit_test(test_one_each),
        cmocka_unit_test(test_no_exchange),
        cmocka_unit_test(test_unobserve),
        cmocka_unit_test(test_block),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_again),
        cmocka_unit_test(test_again_without_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
