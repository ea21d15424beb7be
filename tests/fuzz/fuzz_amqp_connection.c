/*
 * One AMQP machine under a fuzzer: the input is a script of steps. Bytes from the peer come in
 * pieces of any size, raw or as the bodies of frames whose heads are right; the host answers
 * events at once, later, with refusals or not at all, sends, settles, gives credit, detaches, ends,
 * sends output in pieces, lets time pass. After every step the machine's invariants must hold; the
 * sanitizers see the rest.
 */
#include <stdlib.h>
#include <string.h>

#include <trefoil/amqp_connection.h>

#include "base/assert.h"

#define HELD_MAX 32
#define STEP_MAX 4 /* of those held, a step may choose */
#define BLOCKS_MAX 4096

struct script {
    const uint8_t *next, *end;
};

struct host {
    struct tf_amqp_config config;
    struct tf_amqp_connection *connection;
    void *buffer;
    uint8_t *in; /* arrived and not taken */
    size_t in_length;
    struct tf_amqp_session *sessions[HELD_MAX];
    struct tf_amqp_link *links[HELD_MAX];
    uint64_t received[HELD_MAX], sent[HELD_MAX];
    unsigned received_count, sent_count;
    struct tf_amqp_session *asking; /* of an ATTACH that is not answered yet */
    uint8_t asked;                  /* enum tf_amqp_event_type that is not answered yet */
    void *blocks[BLOCKS_MAX];
    unsigned block_count;
    uint64_t owner;
    tf_time now;
    uint8_t mood;  /* bits that say how events are answered */
    long borrowed; /* bodies that are referred to */
    bool attaching;
};

static const char body_text[] =
    "0123456789abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRST"
    "0123456789abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRST";

static const struct tf_amqp_sasl_mechanism *const mechanisms[] = {&tf_amqp_sasl_plain,
                                                                  &tf_amqp_sasl_anonymous};
static const struct tf_amqp_sasl sasl = {.mechanisms = mechanisms,
                                         .mechanism_count = 2,
                                         .optional = true,
                                         .user = {(const uint8_t *)"u", 1},
                                         .password = {(const uint8_t *)"p", 1}};

/* The next byte of the script; 0 at its end. */
static uint8_t take(struct script *script)
{
    return script->next < script->end ? *script->next++ : 0;
}

static void check(const struct host *host)
{
    tf_assert(tf_amqp_check(host->connection));
}

/* A block that lives as long as the host; NULL: it has had enough. */
static void *block(struct host *host, size_t size)
{
    if (host->block_count == BLOCKS_MAX)
        return NULL;
    return host->blocks[host->block_count++] = malloc(size);
}

/* Reads every byte of a view, so that a sanitizer sees one that is wrong. */
static void touch(struct tf_bytes bytes)
{
    volatile uint8_t sum = 0;

    for (size_t i = 0; i < bytes.length; i++)
        sum = (uint8_t)(sum + bytes.data[i]);
}

static void fail(struct host *host)
{
    struct tf_amqp_error error = tf_amqp_error_of(TF_AMQP_RESOURCE_LIMIT_EXCEEDED, "no more");

    tf_amqp_close(host->connection, &error);
}

/* ---- what is asked ---- */

static void accept_session(struct host *host)
{
    size_t size = tf_amqp_session_size(&host->config);
    void *memory = block(host, size);
    struct tf_amqp_session *session;

    host->asked = 0;
    if (!memory || tf_amqp_session_accept(host->connection, memory, size, NULL, &session)) {
        fail(host);
        return;
    }
    for (unsigned i = 0; i < HELD_MAX; i++) {
        if (host->sessions[i])
            continue;
        host->sessions[i] = session;
        return;
    }
    tf_amqp_session_end(session, NULL);
}

static void keep_link(struct host *host, struct tf_amqp_link *link)
{
    for (unsigned i = 0; i < HELD_MAX; i++) {
        if (host->links[i])
            continue;
        host->links[i] = link;
        return;
    }
}

static void accept_link(struct host *host)
{
    size_t size = tf_amqp_link_size(&host->config);
    struct tf_amqp_error error = tf_amqp_error_of(TF_AMQP_NOT_FOUND, "no such node");
    struct tf_amqp_attach reply = {.name = tf_bytes_str("reply"),
                                   .source = {.type = TF_AMQP_SOURCE},
                                   .target = {.type = TF_AMQP_TARGET}};
    struct tf_amqp_link *link;
    void *memory;

    host->asked = 0;
    if (host->mood & 1) {
        if (tf_amqp_link_refuse(host->asking, &reply, &error))
            tf_amqp_session_end(host->asking, &error);
        return;
    }
    memory = block(host, size);
    if (!memory || tf_amqp_link_accept(host->asking, memory, size, NULL, &link)) {
        fail(host);
        return;
    }
    if (!(host->mood & 2) && !tf_amqp_link_attach_reply(link, &reply) && host->mood & 4)
        tf_amqp_link_credit(link, host->mood, host->mood & 8);
    if (host->mood & 16)
        tf_amqp_link_detach(link, host->mood & 1, &error);
    keep_link(host, link);
}

static void answer_asked(struct host *host)
{
    struct tf_amqp_open open = {.container_id = tf_bytes_str("fuzz")};

    switch (host->asked) {
    case TF_AMQP_AUTHENTICATE:
        host->asked = 0;
        tf_amqp_authenticated(host->connection, (host->mood & 7) != 7);
        break;
    case TF_AMQP_OPENED:
        host->asked = 0;
        if (tf_amqp_open(host->connection, &open))
            fail(host);
        break;
    case TF_AMQP_BEGIN:
        accept_session(host);
        break;
    case TF_AMQP_ATTACH:
        accept_link(host);
        break;
    default:
        break;
    }
}

/* ---- events ---- */

static void forget_link(struct host *host, const struct tf_amqp_link *link)
{
    for (unsigned i = 0; i < HELD_MAX; i++)
        if (host->links[i] == link)
            host->links[i] = NULL;
}

static void forget_session(struct host *host, const struct tf_amqp_session *session)
{
    for (unsigned i = 0; i < HELD_MAX; i++) {
        if (host->sessions[i] == session)
            host->sessions[i] = NULL;
        if (host->links[i] && tf_amqp_link_session(host->links[i]) == session)
            host->links[i] = NULL;
    }
    if (host->asking == session)
        host->asked = 0;
}

static void on_needs(struct host *host, const struct tf_amqp_event *event)
{
    void *memory = (host->mood & 0x70) == 0x70 ? NULL : block(host, event->size);
    void *old = NULL;

    if (!memory) {
        fail(host);
        return;
    }
    tf_assert(
        !tf_amqp_give(host->connection, event->session, event->part, memory, event->size, &old));
}

static void on_transfer(struct host *host, const struct tf_amqp_event *event)
{
    struct tf_amqp_state accepted = {.type = TF_AMQP_STATE_ACCEPTED};

    touch(event->payload);
    if (event->first)
        touch(event->tag);
    if (event->more || event->aborted || event->settled)
        return;
    if (host->mood & 32 && host->received_count < HELD_MAX)
        host->received[host->received_count++] = event->delivery;
    else
        tf_assert(!tf_amqp_dispose(host->connection, event->delivery, &accepted, host->mood & 1));
}

static void answer(struct host *host, const struct tf_amqp_event *event)
{
    switch (event->type) {
    case TF_AMQP_OPENED:
        touch(event->open.container_id);
        if (host->config.end == TF_AMQP_CLIENT)
            break;
        host->asked = TF_AMQP_OPENED;
        break;
    case TF_AMQP_AUTHENTICATE:
        touch(event->sasl.user);
        touch(event->sasl.password);
        host->asked = TF_AMQP_AUTHENTICATE;
        break;
    case TF_AMQP_ATTACH:
        touch(event->attach.name);
        touch(event->attach.source.address);
        host->asking = event->session;
        host->asked = TF_AMQP_ATTACH;
        break;
    case TF_AMQP_BEGIN:
        host->asked = TF_AMQP_BEGIN;
        break;
    case TF_AMQP_ENDED:
        touch(event->error.description);
        forget_session(host, event->session);
        break;
    case TF_AMQP_DETACHED:
        touch(event->error.description);
        if (event->gone)
            forget_link(host, event->link);
        else if (!(host->mood & 8))
            tf_amqp_link_detach(event->link, event->closed, NULL);
        break;
    case TF_AMQP_TRANSFER:
        on_transfer(host, event);
        break;
    case TF_AMQP_OUTCOME:
        if (!event->settled && host->mood & 4)
            (void)tf_amqp_settle(host->connection, event->delivery, &event->state);
        break;
    case TF_AMQP_RETURNED:
        host->borrowed--;
        break;
    case TF_AMQP_NEEDS:
        on_needs(host, event);
        break;
    default:
        break;
    }
    if (!(host->mood & 64))
        answer_asked(host);
}

static void pull(struct host *host)
{
    struct tf_amqp_event event;

    for (int i = 0; i < 10000 && tf_amqp_event(host->connection, &event); i++) {
        answer(host, &event);
        check(host);
    }
}

/* ---- steps ---- */

/* Gives what has arrived to the machine, each time an exact copy. */
static void feed(struct host *host)
{
    enum tf_err err = TF_OK;

    while (!err && host->in_length > 0) {
        size_t used = 0, need = 0;
        uint8_t *copy = malloc(host->in_length);

        memcpy(copy, host->in, host->in_length);
        err = tf_amqp_input(host->connection, tf_bytes_of(copy, host->in_length), &used, &need,
                            host->now);
        check(host);
        tf_assert(err || used > 0);
        tf_assert(!err || used == 0);
        tf_assert(err != TF_MORE || need > host->in_length);
        pull(host);
        free(copy);
        host->in_length -= used;
        memmove(host->in, host->in + used, host->in_length);
    }
}

static void send_some(struct host *host, size_t most)
{
    struct tf_bytes spans[4];
    size_t count = tf_amqp_output(host->connection, spans, 4), sum = 0;

    for (size_t i = 0; i < count; i++) {
        touch(spans[i]);
        sum += spans[i].length;
    }
    tf_amqp_sent(host->connection, sum < most ? sum : most, host->now);
    check(host);
    pull(host);
}

static void send_message(struct host *host, struct tf_amqp_link *link, uint8_t bits)
{
    struct tf_bytes body[2] = {tf_bytes_of(body_text, bits & 127),
                               tf_bytes_of(body_text, sizeof body_text)};
    static struct tf_bytes many[16];
    struct tf_amqp_sending sending = {.handle = bits,
                                      .tag = tf_bytes_of(body_text, 1 + bits % 32),
                                      .head = tf_bytes_of(body_text, bits % 7),
                                      .body = body,
                                      .body_count = bits % 3,
                                      .settled = bits & 128};
    uint64_t delivery;
    bool borrowed = false;

    if (bits & 64) {
        for (unsigned i = 0; i < 16; i++)
            many[i] = body[1];
        sending.body = many;
        sending.body_count = 16;
        sending.owner = ++host->owner;
    }
    if (tf_amqp_send(link, &sending, &borrowed, &delivery))
        return;
    host->borrowed += borrowed;
    if (!sending.settled && host->sent_count < HELD_MAX)
        host->sent[host->sent_count++] = delivery;
}

static void attach(struct host *host, struct tf_amqp_session *session, uint8_t bits)
{
    size_t size = tf_amqp_link_size(&host->config);
    void *memory = block(host, size);
    struct tf_amqp_attach request = {.name = tf_bytes_of(body_text, 1 + bits % 4),
                                     .role = (enum tf_amqp_role)(bits >> 7),
                                     .source = {.type = TF_AMQP_SOURCE},
                                     .target = {.type = TF_AMQP_TARGET}};
    struct tf_amqp_link *link;

    if (memory && !tf_amqp_link_attach(session, memory, size, NULL, &request, &link))
        keep_link(host, link);
}

static void begin(struct host *host, struct tf_amqp_session **place)
{
    size_t size = tf_amqp_session_size(&host->config);
    void *memory = block(host, size);

    if (memory && !*place)
        (void)!tf_amqp_session_begin(host->connection, memory, size, NULL, place);
}

static void step_link(struct host *host, struct tf_amqp_link *link, uint8_t op, uint8_t arg)
{
    struct tf_amqp_error error = tf_amqp_error_of(TF_AMQP_DETACH_FORCED, "enough");
    struct tf_amqp_attach reply = {.name = tf_bytes_str("late")};

    switch (op) {
    case 2:
        send_message(host, link, arg);
        break;
    case 3:
        tf_amqp_link_credit(link, arg & 31, arg & 128);
        break;
    case 4:
        (void)!tf_amqp_link_attach_reply(link, &reply);
        tf_amqp_link_detach(link, arg & 32, arg & 64 ? &error : NULL);
        break;
    case 5:
        tf_amqp_link_available(link, arg);
        tf_amqp_link_drained(link);
        break;
    default:
        break;
    }
}

static void step_delivery(struct host *host, uint8_t arg)
{
    struct tf_amqp_state state = {.type = (enum tf_amqp_state_type)(2 + arg % 4)};

    if (arg & 64 && host->sent_count > 0)
        (void)tf_amqp_settle(host->connection, host->sent[--host->sent_count], &state);
    else if (host->received_count > 0)
        (void)tf_amqp_dispose(host->connection, host->received[--host->received_count], &state,
                              arg & 128);
}

/* One step of the host's own. */
static void step(struct host *host, uint8_t op, uint8_t arg)
{
    struct tf_amqp_link *link = host->links[arg % STEP_MAX];
    struct tf_amqp_session **session = &host->sessions[arg % STEP_MAX];

    switch (op) {
    case 0:
        send_some(host, 1u + arg * 4u);
        break;
    case 1:
        host->mood = arg;
        answer_asked(host);
        break;
    case 6:
        step_delivery(host, arg);
        break;
    case 7:
        if (*session)
            tf_amqp_session_end(*session, NULL);
        break;
    case 8:
        if (*session)
            tf_amqp_session_window(*session, arg >> 5);
        break;
    case 9:
        host->now += arg * TF_MILLISECOND * 50;
        if (host->now >= tf_amqp_deadline(host->connection))
            tf_amqp_tick(host->connection, host->now);
        break;
    case 10:
        begin(host, session);
        break;
    case 11:
        if (*session)
            attach(host, *session, arg);
        break;
    case 12:
        if (arg == 0xff)
            tf_amqp_close(host->connection, NULL);
        break;
    default:
        if (link)
            step_link(host, link, op, arg);
        break;
    }
    check(host);
    pull(host);
    feed(host);
}

static void arrive(struct host *host, const void *bytes, size_t length)
{
    memcpy(host->in + host->in_length, bytes, length);
    host->in_length += length;
}

static void run(struct host *host, struct script *script)
{
    while (script->next < script->end) {
        uint8_t op = take(script);
        size_t left = (size_t)(script->end - script->next), count = op & 0x3f;

        if (op & 0x80) { /* so many bytes arrive; with a frame's head before them */
            count = count < left ? count : left;
            if (op & 0x40) {
                uint8_t head[8] = {0, 0, 0, (uint8_t)(count + 8), 2, 0, 0, 0};
                head[7] = count > 0 ? script->next[count - 1] & 1 : 0;
                arrive(host, head, 8);
            }
            arrive(host, script->next, count);
            script->next += count;
            feed(host);
        } else {
            step(host, op & 15, take(script));
        }
    }
}

static void stop(struct host *host)
{
    tf_amqp_abandon(host->connection);
    check(host);
    pull(host);
    tf_assert(tf_amqp_closing(host->connection, NULL));
    tf_assert(tf_amqp_take(host->connection) == host->buffer);
    tf_assert(host->borrowed == 0);
    free(host->buffer);
    for (unsigned i = 0; i < host->block_count; i++)
        free(host->blocks[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    static const uint8_t opening[] = "AMQP\0\1\0\0\0\0\0\x11\2\0\0\0\0\x53\x10\xc0\4\1\xa1\1x";
    static const uint8_t begun[] = "\0\0\0\x17\2\0\0\0\0\x53\x11\xc0\x0a\4\x40\x43\x70\0\0\xff\xff"
                                   "\x52\x64";
    struct script script = {data, data + length};
    uint8_t shape = take(&script);
    size_t size, buffer = TF_AMQP_OUTPUT_MIN + (shape & 3) * 600u;
    struct tf_amqp_open open = {.container_id = tf_bytes_str("fuzz")};
    struct host *host = calloc(1, sizeof *host);

    host->config = (struct tf_amqp_config){
        .end = shape & 4 ? TF_AMQP_CLIENT : TF_AMQP_SERVER,
        .max_frame_size = shape & 8 ? 512 : 5000,
        .channel_max = 7,
        .handle_max = shape & 16 ? UINT32_MAX : 5,
        .max_links = 20,
        .max_unsettled = shape & 32 ? 3 : 40,
        .incoming_window = 6,
        .open_timeout_ms = 5000,
        .idle_timeout_ms = 4000,
        .reference_from = shape & 32 ? 64 : 0,
        .max_message_size = shape & 16 ? 100 : 0,
        .sasl = shape & 64 ? &sasl : NULL,
    };
    host->in = malloc(length * 10 + 64);
    host->buffer = malloc(buffer);
    size = tf_amqp_size(&host->config);
    tf_assert(!tf_amqp_init(&host->connection, block(host, size), size, &host->config, &open, 0));
    tf_assert(!tf_amqp_lend(host->connection, host->buffer, buffer));
    host->mood = 4;
    if (shape & 128) { /* straight to what comes after open and begin */
        arrive(host, opening, sizeof opening - 1);
        arrive(host, begun, sizeof begun - 1);
        feed(host);
    }
    run(host, &script);
    stop(host);
    free(host->in);
    free(host);
    return 0;
}
