/*
 * A run of `trefoil bench coap`: see bench_coap.h.
 *
 * A request's token is its place: which socket, which slot of its window, and how often that slot
 * was used, so that an answer is matched by looking, and a late one is told from the one awaited.
 */
#include "cli/bench_coap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "cli/bench_cpu.h"
#include "port/clock.h"
#include "port/datagram.h"
#include "port/loop.h"
#include "port/process.h"
#include "port/socket.h"

#include <trefoil/coap_message.h>

#define REQUEST_MAX 512u
#define TOKEN_SIZE 8u
#define INBOX_SIZE 4096u
#define STRANGERS_WINDOW 64u
#define RAMP 64u /* peers that begin before the first answers are taken */
#define SETUP_TIMEOUT (2 * TF_SECOND)
#define LOOPBACK_HOSTS 0x7F010000u /* 127.1.0.0: where strangers come from */

struct slot {
    tf_time sent; /* 0: nothing is under way */
    uint32_t turn;
};

struct peer {
    struct tf_loop_source source;
    struct slot slots[TF_BENCH_COAP_WINDOW_MAX];
    uint32_t open; /* slots under way */
    uint16_t message_id;
};

struct engine {
    const struct tf_bench_coap_config *config;
    struct tf_bench_coap_result *result;
    struct tf_socket_address address;
    struct tf_loop *loop;
    struct tf_datagram_inbox *inbox;
    struct peer *peers;
    uint32_t peer_count;
    uint8_t requests[TF_BENCH_COAP_WINDOW_MAX][REQUEST_MAX];
    size_t request_length;
    uint64_t left; /* requests that may still begin; UINT64_MAX: time decides */
    bool measuring;
    bool observing;
    tf_time now, last_answer;
    tf_time changed;  /* observers: when the value was changed */
    uint64_t awaited; /* observers: who has not been told */
    uint32_t *told;   /* observers: the change they were told last */
    uint32_t change;  /* observers: the number of the change under way */
};

static enum tf_err fail(struct engine *engine, enum tf_err err, const char *what)
{
    snprintf(engine->result->why, sizeof engine->result->why, "%s%s%s", what,
             err == TF_IO ? ": " : "", err == TF_IO ? strerror(errno) : "");
    return err;
}

/* ---- requests ---- */

static uint8_t *put_u32(uint8_t *at, uint32_t value)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        *at++ = (uint8_t)(value >> shift);
    return at;
}

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* Writes a request with all its options; returns its length. */
static size_t make_request(const struct engine *engine, uint8_t *buffer, uint8_t method,
                           bool observe, struct tf_bytes body)
{
    static const uint8_t token[TOKEN_SIZE] = {0};
    struct tf_coap_encoder encoder;
    tf_coap_encode(&encoder, buffer, REQUEST_MAX,
                   engine->config->non && method == TF_COAP_GET ? TF_COAP_NON : TF_COAP_CON, method,
                   0, tf_bytes_of(token, sizeof token));
    if (observe)
        tf_coap_encode_uint(&encoder, TF_COAP_OBSERVE, 0);
    for (const char *path = engine->config->path; path;) {
        const char *end = strchr(path, '/');
        size_t length = end ? (size_t)(end - path) : strlen(path);
        tf_coap_encode_option(&encoder, TF_COAP_URI_PATH, tf_bytes_of(path, length));
        path = end ? end + 1 : NULL;
    }
    tf_coap_encode_payload(&encoder, body);
    return tf_coap_encoded(&encoder).length;
}

/* Makes a request of the template that lies in `buffer`. */
static void stamp(uint8_t *buffer, uint16_t message_id, uint32_t peer, uint32_t slot, uint32_t turn)
{
    buffer[2] = (uint8_t)(message_id >> 8);
    buffer[3] = (uint8_t)message_id;
    put_u32(put_u32(buffer + TF_COAP_HEADER, peer), slot << 24 | (turn & 0xFFFFFF));
}

/* Fills the free slots of a peer's window and sends them as one batch. */
static enum tf_err send_window(struct engine *engine, struct peer *peer)
{
    struct tf_datagram out[TF_BENCH_COAP_WINDOW_MAX];
    size_t count = 0, sent, lost;
    for (uint32_t i = 0; i < engine->config->window && engine->left; i++) {
        struct slot *slot = &peer->slots[i];
        if (slot->sent)
            continue;
        stamp(engine->requests[count], peer->message_id++, (uint32_t)(peer - engine->peers), i,
              ++slot->turn);
        slot->sent = engine->now;
        peer->open++;
        engine->left -= engine->left != UINT64_MAX;
        out[count] = (struct tf_datagram){
            .bytes = tf_bytes_of(engine->requests[count], engine->request_length)};
        count++;
    }
    engine->result->sent += count;
    if (count && tf_datagram_send(peer->source.fd, out, count, &sent, &lost) != TF_OK)
        return fail(engine, TF_IO, "cannot send");
    return TF_OK;
}

/* ---- answers ---- */

/* A notification, or the answer that makes an observer. */
static void observed(struct engine *engine, uint32_t index, const uint8_t *body, size_t length)
{
    uint32_t change = length >= 4 ? get_u32(body) : 0;
    if (index >= engine->config->observers || change > engine->change) {
        engine->result->aliens++;
        return;
    }
    if (change != engine->change || engine->told[index] == change)
        return; /* an older one, or the same again */
    engine->told[index] = change;
    engine->awaited--;
    engine->result->answered++;
    if (engine->measuring) {
        engine->result->measured++;
        tf_bench_histogram_add(&engine->result->latency_us, engine->now - engine->changed);
    }
}

/* Answers a CON with an empty ACK. */
static void acknowledge(struct peer *peer, const uint8_t *message)
{
    const uint8_t ack[TF_COAP_HEADER] = {0x40 | TF_COAP_ACK << 4, 0, message[2], message[3]};
    struct tf_datagram out = {.bytes = tf_bytes_of(ack, sizeof ack)};
    size_t sent, lost;
    if (tf_datagram_send(peer->source.fd, &out, 1, &sent, &lost) != TF_OK)
        return; /* it will come again */
}

static void take_answer(struct engine *engine, struct peer *peer, struct tf_bytes in)
{
    struct tf_bench_coap_result *result = engine->result;
    const uint8_t *data = in.data;
    if (in.length < TF_COAP_HEADER + TOKEN_SIZE || (data[0] & 0x0F) != TOKEN_SIZE) {
        result->aliens += in.length != TF_COAP_HEADER; /* an empty ACK comes before its answer */
        return;
    }
    engine->last_answer = engine->now;
    uint32_t index = get_u32(data + TF_COAP_HEADER);
    uint32_t place = get_u32(data + TF_COAP_HEADER + 4);
    if ((data[0] >> 4 & 3) == TF_COAP_CON && !engine->config->bare)
        acknowledge(peer, data);
    if (engine->observing) {
        struct tf_coap_message message;
        if (tf_coap_decode(&message, in) == TF_OK && message.code == TF_COAP_CONTENT)
            observed(engine, index, message.payload.data, message.payload.length);
        else
            result->wrong++;
        return;
    }
    struct slot *slot = place >> 24 < engine->config->window ? &peer->slots[place >> 24] : NULL;
    if (!slot || !slot->sent || (slot->turn & 0xFFFFFF) != (place & 0xFFFFFF)) {
        result->aliens++;
        return;
    }
    result->wrong += !engine->config->bare && data[1] != TF_COAP_CONTENT;
    result->answered++;
    if (engine->measuring) {
        result->measured++;
        tf_bench_histogram_add(&result->latency_us, engine->now - slot->sent);
    }
    slot->sent = 0;
    peer->open--;
}

/* Reads all that has come for a peer. */
static enum tf_err receive(struct engine *engine, struct peer *peer)
{
    bool full = true;
    while (full) {
        const struct tf_datagram *in;
        size_t count;
        enum tf_err err = tf_datagram_receive(peer->source.fd, engine->inbox, &full);
        if (err == TF_AGAIN)
            return TF_OK;
        if (err)
            return fail(engine, TF_IO, "cannot receive");
        while ((in = tf_datagram_inbox_peek(engine->inbox, &count))) {
            for (size_t i = 0; i < count; i++)
                take_answer(engine, peer, in[i].bytes);
            tf_datagram_inbox_take(engine->inbox, count);
        }
    }
    return TF_OK;
}

/* ---- one request at a time, for what comes before ---- */

/* Sends a datagram until it is answered; *ret_code is the answer's. */
static enum tf_err ask(struct engine *engine, int fd, struct tf_bytes request, uint8_t *ret_code)
{
    struct tf_loop_source source = {0};
    tf_time now = tf_clock_now(), until = now + SETUP_TIMEOUT, again = now;
    enum tf_err err = tf_loop_add(engine->loop, &source, fd, TF_LOOP_READ);
    if (err)
        return fail(engine, err, "no room to wait for a socket");
    for (err = TF_AGAIN; err == TF_AGAIN && now < until; now = tf_clock_now()) {
        struct tf_datagram out = {.bytes = request};
        struct tf_loop_event event;
        const struct tf_datagram *in;
        size_t sent, lost, count;
        bool full;
        if (now >= again) {
            if (tf_datagram_send(fd, &out, 1, &sent, &lost) == TF_IO)
                break;
            again = now + SETUP_TIMEOUT / 8;
        }
        tf_loop_wait(engine->loop, again, now);
        while (tf_loop_next(engine->loop, &event))
            continue;
        if (tf_datagram_receive(fd, engine->inbox, &full) != TF_OK)
            continue;
        in = tf_datagram_inbox_peek(engine->inbox, &count);
        if (in && in->bytes.length >= TF_COAP_HEADER) {
            *ret_code = in->bytes.data[1];
            err = TF_OK;
        }
    }
    tf_loop_remove(engine->loop, &source);
    return err == TF_OK ? TF_OK : fail(engine, TF_PROTOCOL, "the server does not answer");
}

/* Puts the representation in place; its first four bytes are the number of the change. */
static enum tf_err put(struct engine *engine, int fd, uint32_t number)
{
    uint8_t body[1024] = {0}, request[REQUEST_MAX], code = 0;
    size_t size = TF_MIN(engine->config->size, (uint32_t)sizeof body);
    memset(body, 'x', sizeof body);
    if (engine->observing)
        put_u32(body, number);
    size_t length = make_request(engine, request, TF_COAP_PUT, false, tf_bytes_of(body, size));
    if (!length)
        return fail(engine, TF_LIMIT, "path and size are too long for one datagram");
    stamp(request, (uint16_t)tf_clock_now(), UINT32_MAX, 0, number);
    enum tf_err err = ask(engine, fd, tf_bytes_of(request, length), &code);
    if (!err && tf_coap_class(code) != 2)
        return fail(engine, TF_PROTOCOL, "the server refused to be written to");
    return err;
}

/* ---- strangers ---- */

/*
 * Asks once from each of many addresses of this machine, so that the server remembers so many
 * peers: one socket, whose source address each datagram names.
 */
static enum tf_err meet_strangers(struct engine *engine)
{
    struct peer stranger = {0};
    struct tf_loop_source *source = &stranger.source;
    uint64_t begun = 0, before = engine->result->answered, aliens = engine->result->aliens;
    uint64_t count = engine->config->strangers, answered = 0;
    int fd;
    if (tf_datagram_open(&engine->address, false, &fd))
        return fail(engine, TF_IO, "cannot open a socket");
    enum tf_err err = tf_loop_add(engine->loop, source, fd, TF_LOOP_READ);
    tf_time until = tf_clock_now() + SETUP_TIMEOUT;
    while (!err && answered < count) {
        struct tf_loop_event event;
        for (; begun < count && begun < answered + STRANGERS_WINDOW; begun++) {
            struct tf_datagram_path path;
            struct tf_datagram out = {
                .path = &path, .bytes = tf_bytes_of(engine->requests[0], engine->request_length)};
            size_t sent, lost;
            tf_datagram_path_to(&engine->address, &path);
            memset(path.local + 10, 0xFF, 2);
            put_u32(path.local + 12, LOOPBACK_HOSTS + (uint32_t)begun);
            stamp(engine->requests[0], (uint16_t)begun, 0, 0xFF, 0);
            if (tf_datagram_send(fd, &out, 1, &sent, &lost) != TF_OK || lost)
                err =
                    fail(engine, TF_IO, "cannot send from many addresses (a server on 127.0.0.1?)");
        }
        tf_loop_wait(engine->loop, until, tf_clock_now());
        while (tf_loop_next(engine->loop, &event))
            continue;
        engine->now = tf_clock_now();
        if (!err)
            err = receive(engine, &stranger);
        answered = engine->result->aliens - aliens; /* nobody's slot: see place 0xFF */
        if (!err && engine->now >= until)
            err = fail(engine, TF_PROTOCOL, "the server does not answer strangers");
        until = engine->now + SETUP_TIMEOUT;
    }
    tf_loop_remove(engine->loop, source);
    tf_socket_close(fd);
    engine->result->aliens = aliens;
    engine->result->answered = before;
    return err;
}

/* ---- the run ---- */

static enum tf_err open_peers(struct engine *engine)
{
    const struct tf_bench_coap_config *config = engine->config;
    engine->peers = calloc(config->sockets, sizeof *engine->peers);
    if (!engine->peers)
        return fail(engine, TF_NO_MEMORY, "no memory");
    for (; engine->peer_count < config->sockets; engine->peer_count++) {
        struct peer *peer = &engine->peers[engine->peer_count];
        int fd;
        if (tf_datagram_open(&engine->address, true, &fd))
            return fail(engine, TF_LIMIT, "no more sockets: raise the limit of open files");
        if (tf_loop_add(engine->loop, &peer->source, fd, TF_LOOP_READ)) {
            tf_socket_close(fd);
            return fail(engine, TF_LIMIT, "no room to wait for a socket");
        }
        peer->message_id = (uint16_t)(engine->peer_count * 257);
    }
    return TF_OK;
}

/* Serves what is ready. */
static enum tf_err turn(struct engine *engine, tf_time until)
{
    struct tf_loop_event event;
    enum tf_err err = TF_OK;
    tf_loop_wait(engine->loop, until, engine->now);
    engine->now = tf_clock_now();
    while (tf_loop_next(engine->loop, &event)) {
        struct peer *peer = tf_container_of(event.source, struct peer, source);
        if (!err)
            err = receive(engine, peer);
        if (!err && !engine->observing)
            err = send_window(engine, peer);
    }
    return err;
}

/* What was there at one moment. */
struct mark {
    tf_time at;
    uint64_t own_us;
    double server_us;
};

static struct mark mark(const struct engine *engine)
{
    return (struct mark){.at = tf_clock_now(),
                         .own_us = tf_process_cpu_us(),
                         .server_us = tf_bench_cpu_us(engine->config->server_pid)};
}

static void measured(struct engine *engine, const struct mark *from)
{
    struct mark to = mark(engine);
    struct tf_bench_coap_result *result = engine->result;
    result->seconds = (double)(to.at - from->at) / 1e6;
    if (result->seconds > 0)
        result->own_load = (double)(to.own_us - from->own_us) / 1e6 / result->seconds;
    result->server_us = to.server_us < 0 ? -1 : to.server_us - from->server_us;
}

static uint64_t under_way(const struct engine *engine)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < engine->peer_count; i++)
        count += engine->peers[i].open;
    return count;
}

/* Serves until a time, or until nothing is under way and nothing may begin, or has stalled. */
static enum tf_err serve(struct engine *engine, tf_time until)
{
    enum tf_err err = TF_OK;
    tf_time stall = (tf_time)engine->config->stall_ms * TF_MILLISECOND;
    while (!err && engine->now < until) {
        tf_time patience = engine->last_answer + stall;
        if (engine->now >= patience || (engine->left == 0 && under_way(engine) == 0))
            break;
        err = turn(engine, TF_MIN(until, patience));
    }
    return err;
}

static enum tf_err run_requests(struct engine *engine)
{
    const struct tf_bench_coap_config *config = engine->config;
    struct mark from;
    enum tf_err err = TF_OK;
    engine->now = engine->last_answer = tf_clock_now();
    engine->left = config->requests ? config->requests : UINT64_MAX;
    if (!config->warm_up_ms) {
        engine->measuring = true;
        from = mark(engine);
    }
    for (uint32_t i = 0; !err && i < engine->peer_count; i++) {
        err = send_window(engine, &engine->peers[i]);
        if (!err && config->warm_up_ms && i % RAMP == RAMP - 1)
            err = turn(engine, tf_clock_now()); /* thousands at once are no load but a burst */
    }
    if (config->warm_up_ms) {
        if (!err)
            err = serve(engine, engine->now + config->warm_up_ms * TF_MILLISECOND);
        engine->measuring = true;
        from = mark(engine);
    }
    if (!err)
        err = serve(engine,
                    config->seconds ? engine->now + config->seconds * TF_SECOND : TF_TIME_NEVER);
    measured(engine, &from);
    engine->measuring = false;
    engine->left = 0;
    if (!err)
        err = serve(engine, TF_TIME_NEVER);
    engine->result->lost = under_way(engine);
    return err;
}

static enum tf_err run_observers(struct engine *engine)
{
    const struct tf_bench_coap_config *config = engine->config;
    tf_time stall = (tf_time)config->stall_ms * TF_MILLISECOND;
    enum tf_err err = TF_OK;
    struct mark from = {0};
    int writer;
    if (tf_datagram_open(&engine->address, true, &writer))
        return fail(engine, TF_LIMIT, "no more sockets");
    engine->told = malloc(config->observers * sizeof *engine->told);
    memset(engine->told, 0xFF, engine->told ? config->observers * sizeof *engine->told : 0);
    if (!engine->told)
        err = fail(engine, TF_NO_MEMORY, "no memory");
    uint64_t changes = config->requests ? config->requests : 10;
    for (uint64_t change = 0; !err && change <= changes; change++) {
        engine->awaited = config->observers;
        engine->change = (uint32_t)change;
        if (change == 1) {
            from = mark(engine);
            engine->measuring = true;
        }
        engine->changed = tf_clock_now();
        err = change ? put(engine, writer, engine->change) : TF_OK;
        uint32_t begun = change ? config->observers : 0;
        engine->now = engine->last_answer = tf_clock_now();
        while (!err && engine->awaited && engine->now < engine->last_answer + stall) {
            /* Registrations go out in a window: their answers come one by one. */
            uint32_t open = begun - (uint32_t)(config->observers - engine->awaited);
            for (; begun < config->observers && open < STRANGERS_WINDOW; begun++, open++) {
                struct peer *peer = &engine->peers[begun % engine->peer_count];
                struct tf_datagram out = {
                    .bytes = tf_bytes_of(engine->requests[0], engine->request_length)};
                size_t sent, lost;
                stamp(engine->requests[0], peer->message_id++, begun, 0, 0);
                engine->result->sent++;
                if (tf_datagram_send(peer->source.fd, &out, 1, &sent, &lost) != TF_OK)
                    err = fail(engine, TF_IO, "cannot send");
            }
            if (!err)
                err = turn(engine, engine->last_answer + stall);
        }
        engine->result->lost += engine->awaited;
    }
    measured(engine, &from);
    tf_socket_close(writer);
    return err;
}

static enum tf_err prepare(struct engine *engine)
{
    const struct tf_bench_coap_config *config = engine->config;
    size_t count;
    if (config->server_pid && tf_bench_cpu_us(config->server_pid) < 0)
        return fail(engine, TF_UNSUPPORTED, "no such process");
    if (tf_socket_resolve(config->host, config->port, false, &engine->address, 1, &count))
        return fail(engine, TF_PROTOCOL, "there is no such host");
    tf_process_raise_files();
    engine->inbox = tf_datagram_inbox_new(TF_DATAGRAM_BATCH, INBOX_SIZE);
    if (!engine->inbox || tf_loop_new(&engine->loop))
        return fail(engine, TF_NO_MEMORY, "no memory");
    engine->observing = config->observers > 0;
    engine->request_length = make_request(engine, engine->requests[0], TF_COAP_GET,
                                          engine->observing, tf_bytes_of(NULL, 0));
    if (!engine->request_length)
        return fail(engine, TF_LIMIT, "the path is too long");
    for (size_t i = 1; i < TF_BENCH_COAP_WINDOW_MAX; i++)
        memcpy(engine->requests[i], engine->requests[0], engine->request_length);
    enum tf_err err = TF_OK;
    if (!config->bare && !config->given) {
        int fd;
        if (tf_datagram_open(&engine->address, true, &fd))
            return fail(engine, TF_LIMIT, "no more sockets");
        err = put(engine, fd, 0);
        tf_socket_close(fd);
    }
    if (!err)
        err = open_peers(engine);
    if (!err && config->strangers)
        err = meet_strangers(engine);
    return err;
}

enum tf_err tf_bench_coap_run(const struct tf_bench_coap_config *config,
                              struct tf_bench_coap_result *ret)
{
    struct engine *engine = calloc(1, sizeof *engine);
    memset(ret, 0, sizeof *ret);
    ret->server_us = -1;
    if (!engine)
        return TF_NO_MEMORY;
    engine->config = config;
    engine->result = ret;
    enum tf_err err = prepare(engine);
    if (!err)
        err = engine->observing ? run_observers(engine) : run_requests(engine);
    for (uint32_t i = 0; i < engine->peer_count; i++) {
        tf_loop_remove(engine->loop, &engine->peers[i].source);
        tf_socket_close(engine->peers[i].source.fd);
    }
    tf_loop_free(engine->loop);
    tf_datagram_inbox_free(engine->inbox);
    free(engine->told);
    free(engine->peers);
    free(engine);
    return err;
}
