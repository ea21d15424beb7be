/*
 * A CoAP client of the simulator: the library's endpoint machine, as any program would use it, and
 * what the oracle is told of each request and answer.
 *
 * Every body that it writes is one of a kind (tf_sim_client_body), so an answer that is put
 * together from two, or belongs to another request, shows.
 */
#include "base/assert.h"
#include "sim/coap.h"

#include <stdlib.h>
#include <string.h>
#include <trefoil/coap_link.h>

#define OPTIONS_MAX 20u
#define CORE ".well-known/core"

static void client_random(void *ctx, void *data, size_t length)
{
    tf_random_fill(ctx, data, length);
}

void tf_sim_coap_client_init(struct tf_sim *sim, struct tf_sim_coap_client *client, unsigned number)
{
    static const uint16_t nstarts[] = {1, 1, 2, 4};
    memset(client, 0, sizeof(*client));
    client->sim = sim;
    client->number = number;
    client->path.peer[0] = 0xFD;
    client->path.peer[15] = (uint8_t)(number + 1);
    client->path.port = (uint16_t)tf_sim_draw(sim, 1024, 60000);
    client->path.family = 6;
    tf_list_init(&client->inbox);
    tf_random_init(&client->entropy, tf_sim_draw(sim, 0, UINT32_MAX));
    client->config = (struct tf_coap_endpoint_config){
        .features = {.deduplication = &tf_coap_deduplication,
                     .separate = &tf_coap_separate,
                     .client = &tf_coap_client,
                     .observe_client = &tf_coap_observe_client,
                     .block_client = &tf_coap_block_client},
        .nstart = nstarts[tf_sim_draw(sim, 0, TF_COUNT(nstarts) - 1)],
        .probing_rate = 1000,
        .peers = 2,
        .requests = 2,
        .calls = TF_SIM_COAP_CALLS + 4,
        .exchanges = 32,
        .replies = 8,
        .transfers = TF_SIM_COAP_CALLS + 4,
        .buffers = 512,
        .body_max = 1u << 16,
        .block_szx = (uint8_t)tf_sim_draw(sim, 2, TF_COAP_BLOCK_SZX_MAX),
        .random = client_random,
        .random_ctx = &client->entropy};
    size_t size = tf_coap_endpoint_size(&client->config);
    size_t output = 4 * tf_coap_output_min(&client->config);
    tf_assert(size);
    client->memory = malloc(size);
    client->output = malloc(output);
    tf_assert(client->memory && client->output);
    memset(client->memory, sim->options.fill, size);
    enum tf_err err =
        tf_coap_endpoint_init(&client->endpoint, client->memory, size, &client->config, sim->now);
    tf_assert(!err);
    err = tf_coap_endpoint_lend(client->endpoint, client->output, output);
    tf_assert(!err);
}

void tf_sim_coap_client_release(struct tf_sim_coap_client *client)
{
    for (unsigned i = 0; i < TF_SIM_COAP_CALLS; i++) {
        free(client->calls[i].body);
        free(client->calls[i].got);
    }
    tf_sim_inbox_clear(&client->inbox);
    free(client->memory);
    free(client->output);
}

unsigned tf_sim_coap_client_busy(const struct tf_sim_coap_client *client)
{
    unsigned count = 0;
    for (unsigned i = 0; i < TF_SIM_COAP_CALLS; i++) {
        count += client->calls[i].used && client->calls[i].kind != TF_SIM_COAP_OBSERVE;
    }
    return count;
}

static void call_end(struct tf_sim_coap_call *call)
{
    free(call->body);
    free(call->got);
    memset(call, 0, sizeof(*call));
}

/* ---- asking ---- */

/* What a request is made of; views on itself. */
struct request_parts {
    struct tf_coap_request request;
    struct tf_coap_option options[OPTIONS_MAX];
    uint8_t etag[8], format[4];
};

static void add(struct request_parts *parts, uint16_t number, struct tf_bytes value)
{
    tf_assert(parts->request.option_count < OPTIONS_MAX);
    parts->options[parts->request.option_count++] =
        (struct tf_coap_option){.number = number, .value = value};
}

static void add_version(struct request_parts *parts, uint16_t number, uint64_t version)
{
    size_t at = sizeof(parts->etag);
    for (; version; version >>= 8) {
        parts->etag[--at] = (uint8_t)version;
    }
    add(parts, number, tf_bytes_of(parts->etag + at, sizeof(parts->etag) - at));
}

static void add_path(struct request_parts *parts, const char *path)
{
    const char *end;
    for (; (end = strchr(path, '/')); path = end + 1) {
        add(parts, TF_COAP_URI_PATH, tf_bytes_of(path, (size_t)(end - path)));
    }
    add(parts, TF_COAP_URI_PATH, tf_bytes_str(path));
}

static void fill(struct tf_sim_coap_call *call, const struct tf_sim_coap_wish *wish,
                 struct request_parts *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->request = (struct tf_coap_request){.method = wish->method,
                                            .non = wish->non,
                                            .observe = wish->kind == TF_SIM_COAP_OBSERVE,
                                            .block_size = wish->block_size,
                                            .options = ret->options,
                                            .body = &call->body_view,
                                            .body_count = call->body_view.length != 0,
                                            .user = call};
    if (wish->condition == TF_SIM_COAP_MATCH) {
        add_version(ret, TF_COAP_IF_MATCH, wish->match);
    }
    if (call->known) {
        add_version(ret, TF_COAP_ETAG, call->known);
    }
    if (wish->condition == TF_SIM_COAP_ABSENT) {
        add(ret, TF_COAP_IF_NONE_MATCH, tf_bytes_of(NULL, 0));
    }
    add_path(ret, wish->core ? CORE : tf_sim_topics[wish->address]);
    if (wish->address == TF_SIM_COAP_LOG && call->body_view.length) {
        uint16_t format =
            wish->kind == TF_SIM_COAP_APPEND ? TF_COAP_FORMAT_JSON_PATCH : TF_COAP_FORMAT_JSON;
        add(ret, TF_COAP_CONTENT_FORMAT, tf_coap_uint_value(format, ret->format));
    } else if (wish->typed) {
        add(ret, TF_COAP_CONTENT_FORMAT, tf_coap_uint_value(TF_COAP_FORMAT_OCTETS, ret->format));
    }
}

/* Makes the body of what is to be written. */
static void make_body(struct tf_sim_coap_call *call, const struct tf_sim_coap_wish *wish,
                      uint32_t message)
{
    char text[64];
    struct tf_sim *sim = call->client->sim;
    size_t length = wish->length;
    if (wish->address == TF_SIM_COAP_LOG) {
        snprintf(text, sizeof(text), "[{\"op\":\"add\",\"path\":\"/-\",\"value\":%u}]", call->op);
        length = strlen(text);
        if (wish->kind != TF_SIM_COAP_APPEND) {
            length = strlen(strcpy(text, "[]"));
        }
    }
    call->body = malloc(length);
    tf_assert(call->body);
    if (wish->address == TF_SIM_COAP_LOG) {
        memcpy(call->body, text, length);
    } else {
        tf_sim_client_body(&sim->messages[message], call->body);
    }
    call->body_view = tf_bytes_of(call->body, length);
}

/* Notes a request with the oracle, and its message with the run. */
static bool begin(struct tf_sim_coap_call *call, const struct tf_sim_coap_wish *wish)
{
    struct tf_sim *sim = call->client->sim;
    bool message = wish->kind == TF_SIM_COAP_WRITE && wish->address != TF_SIM_COAP_LOG;
    struct tf_sim_coap_op op = {.kind = wish->kind,
                                .client = call->client->number,
                                .address = wish->address,
                                .message = TF_SIM_NONE,
                                .condition = wish->condition,
                                .match = wish->match,
                                .confirmable = !wish->non};
    if (sim->message_count == TF_SIM_MESSAGES) {
        return false;
    }
    if (message) {
        op.message = sim->message_count++;
        sim->messages[op.message] = (struct tf_sim_message){.number = op.message,
                                                            .length = wish->length,
                                                            .expiry_s = UINT32_MAX,
                                                            .topic = (uint8_t)wish->address,
                                                            .retain = true};
    }
    bool plain =
        wish->core || (wish->address == TF_SIM_COAP_LOG && wish->kind == TF_SIM_COAP_WRITE);
    call->op = plain ? TF_SIM_NONE : tf_sim_coap_begin(&sim->coap->oracle, &op, sim->now);
    if (!plain && call->op == TF_SIM_NONE) {
        return false;
    }
    if (tf_sim_coap_changes(&op) && op.kind != TF_SIM_COAP_CLEAR) {
        make_body(call, wish, op.message);
    }
    tf_sim_trace(sim, "u%u op%d kind%u method%u %s m%d %u bytes condition%u%s", op.client,
                 (int)call->op, op.kind, wish->method,
                 wish->core ? CORE : tf_sim_topics[wish->address], (int)op.message, wish->length,
                 wish->condition, wish->non ? " non" : "");
    return true;
}

bool tf_sim_coap_client_ask(struct tf_sim_coap_client *client, const struct tf_sim_coap_wish *wish)
{
    struct tf_sim *sim = client->sim;
    struct tf_sim_coap_call *call = NULL;
    struct request_parts parts;
    for (unsigned i = 0; i < TF_SIM_COAP_CALLS && !call; i++) {
        call = client->calls[i].used ? NULL : &client->calls[i];
    }
    if (!call) {
        return false;
    }
    memset(call, 0, sizeof(*call));
    call->client = client;
    call->kind = wish->kind;
    call->method = wish->method;
    call->address = wish->address;
    call->core = wish->core;
    call->known = wish->etag ? client->versions[wish->address] : 0;
    if (!begin(call, wish)) {
        return false;
    }
    fill(call, wish, &parts);
    enum tf_err err = tf_coap_call(client->endpoint, NULL, &parts.request, &call->handle, sim->now);
    call->used = err == TF_OK;
    if (err) {
        tf_sim_fail(sim, "client %u cannot ask: error %d", client->number, err);
        call_end(call);
    }
    return !err;
}

void tf_sim_coap_client_cancel(struct tf_sim_coap_client *client, bool tell)
{
    struct tf_sim *sim = client->sim;
    for (unsigned i = 0; i < TF_SIM_COAP_CALLS; i++) {
        struct tf_sim_coap_call *call = &client->calls[i];
        if (call->used && call->kind == TF_SIM_COAP_OBSERVE) {
            tell = tell && call->told; /* else the server knows of nothing to be told */
            tf_sim_trace(sim, "u%u op%d is cancelled%s", client->number, (int)call->op,
                         tell ? ", telling" : "");
            sim->seen[TF_SIM_COAP_CANCELLED]++;
            if (!call->core) {
                tf_sim_coap_lost(&sim->coap->oracle, call->op, sim->now);
            }
            call->op = TF_SIM_NONE; /* what still comes means nothing */
            tf_coap_cancel(client->endpoint, call->handle, tell, sim->now);
            if (!tell) {
                call_end(call);
            } else {
                call->kind = TF_SIM_COAP_READ;
            }
            return;
        }
    }
}

void tf_sim_coap_client_move(struct tf_sim_coap_client *client)
{
    struct tf_sim *sim = client->sim;
    client->path.port++;
    sim->seen[TF_SIM_COAP_MOVED]++;
    tf_sim_trace(sim, "u%u moves to port %u", client->number, client->path.port);
    tf_sim_coap_moved(&sim->coap->oracle, client->number);
}

/* ---- what comes back ---- */

static uint64_t version_of(const struct tf_coap_message *message)
{
    struct tf_bytes etag;
    uint64_t version = 0;
    if (tf_coap_option_find(message->options, TF_COAP_ETAG, &etag)) {
        for (size_t i = 0; i < etag.length; i++) {
            version = version << 8 | etag.data[i];
        }
    }
    return version;
}

/* Which message a body is, to the last byte. */
static uint32_t message_of(const struct tf_sim *sim, const struct tf_sim_coap_call *call)
{
    char text[9] = {0};
    uint8_t *body;
    if (call->got_length < 8) {
        return TF_SIM_NONE;
    }
    memcpy(text, call->got, 8);
    unsigned long number = strtoul(text, NULL, 16);
    if (number >= sim->message_count || sim->messages[number].length != call->got_length) {
        return TF_SIM_NONE;
    }
    body = malloc(call->got_length);
    tf_assert(body);
    tf_sim_client_body(&sim->messages[number], body);
    bool same = memcmp(body, call->got, call->got_length) == 0;
    free(body);
    return same ? (uint32_t)number : TF_SIM_NONE;
}

static void read_listing(struct tf_sim_coap_call *call)
{
    struct tf_sim_coap_client *client = call->client;
    struct tf_coap_links links = tf_coap_links_of(tf_bytes_of(call->got, call->got_length));
    struct tf_coap_link link;
    enum tf_err err;
    client->listed = 0;
    client->has_listed = true;
    while (!(err = tf_coap_link_next(&links, &link))) {
        unsigned found = TF_SIM_COAP_ADDRESSES;
        for (unsigned i = 0; i < TF_SIM_COAP_ADDRESSES; i++) {
            const char *name = i == 9 ? "a/%C3%A4" : tf_sim_topics[i];
            if (link.target.length == strlen(name) + 1 &&
                memcmp(link.target.data + 1, name, strlen(name)) == 0) {
                found = i;
            }
        }
        if (found == TF_SIM_COAP_ADDRESSES || (client->listed >> found & 1)) {
            tf_sim_blame(client->sim, "/.well-known/core lists %.*s, %s", (int)link.target.length,
                         (const char *)link.target.data,
                         found == TF_SIM_COAP_ADDRESSES ? "which nobody wrote" : "twice");
            return;
        }
        client->listed |= 1u << found;
    }
    if (err != TF_NOT_FOUND) {
        tf_sim_blame(client->sim, "/.well-known/core is no link format");
    }
}

/* The numbers in a JSON array. */
static void read_log(struct tf_sim_coap_call *call)
{
    struct tf_sim *sim = call->client->sim;
    uint32_t entries[TF_SIM_COAP_OPS];
    size_t count = 0, i = 0;
    while (i < call->got_length && count < TF_SIM_COAP_OPS) {
        uint32_t number = 0;
        bool any = false;
        for (; i < call->got_length && call->got[i] >= '0' && call->got[i] <= '9'; i++) {
            number = number * 10 + call->got[i] - '0';
            any = true;
        }
        entries[count] = number;
        count += any;
        i++;
    }
    tf_sim_coap_log_read(&sim->coap->oracle, call->op, entries, count, sim->now);
}

/* 2.01 of a POST says where what it made is: there (RFC 7252 5.8.2), and no other answer does. */
static void check_location(struct tf_sim_coap_call *call, const struct tf_coap_message *message)
{
    struct tf_coap_cursor cursor = tf_coap_options(message->options);
    struct tf_coap_option option;
    char path[64];
    size_t length = 0;
    bool any = false;
    while (tf_coap_option_next(&cursor, &option)) {
        if (option.number == TF_COAP_LOCATION_PATH &&
            length + option.value.length + 2 < sizeof(path)) {
            path[length] = '/';
            length += any;
            memcpy(path + length, option.value.data, option.value.length);
            length += option.value.length;
            any = true;
        }
    }
    path[length] = 0;
    bool wanted = call->method == TF_COAP_POST && message->code == TF_COAP_CREATED;
    if (any != wanted || (any && strcmp(path, tf_sim_topics[call->address]) != 0)) {
        tf_sim_blame(call->client->sim, "client %u got %u.%02u with location \"%s\"",
                     call->client->number, message->code >> 5, message->code & 31, path);
    }
}

/* A representation is complete, or an answer without one. */
static void whole(struct tf_sim_coap_call *call, const struct tf_coap_event *event)
{
    struct tf_sim_coap_client *client = call->client;
    struct tf_sim *sim = client->sim;
    struct tf_sim_coap_answer answer = {.code = event->message.code,
                                        .version = version_of(&event->message),
                                        .message = TF_SIM_NONE,
                                        .notification = event->observe,
                                        .separate = event->message.type != TF_COAP_ACK,
                                        .last = event->last,
                                        .begun = call->begun,
                                        .newer = version_of(&event->message) != call->first_version,
                                        .sequence = event->sequence};
    bool content = answer.code == TF_COAP_CONTENT;
    if (call->core) {
        if (content) {
            read_listing(call);
        }
        return;
    }
    check_location(call, &event->message);
    if (call->op == TF_SIM_NONE) {
        return;
    }
    if (content && call->address == TF_SIM_COAP_LOG) {
        read_log(call);
        answer.code = 0;
    } else if (content) {
        answer.message = message_of(sim, call);
        answer.strange = answer.message == TF_SIM_NONE;
        client->versions[call->address] = answer.version;
        client->version_messages[call->address] = answer.message;
    } else if (answer.code == TF_COAP_VALID) { /* RFC 7252 5.9.1.3: what the ETag sent is of */
        sim->seen[TF_SIM_COAP_VALID_SEEN]++;
        answer.strange = answer.version != call->known;
        answer.message = client->versions[call->address] == answer.version
                             ? client->version_messages[call->address]
                             : TF_SIM_NONE;
        if (!answer.strange && answer.message == TF_SIM_NONE) {
            answer.code = 0; /* the client has another one by now */
        }
    }
    tf_sim_trace(sim, "u%u op%u is answered %u.%02u type%u version %llx m%d%s%s number%u",
                 client->number, call->op, event->message.code >> 5, event->message.code & 31,
                 event->message.type, answer.version + 0ull, (int)answer.message,
                 answer.notification ? " notification" : "", answer.last ? " last" : "",
                 answer.sequence);
    sim->seen[TF_SIM_COAP_FORMAT_CHANGED] += answer.code == TF_COAP_NOT_ACCEPTABLE;
    sim->seen[TF_SIM_COAP_NOTIFIED] += answer.notification;
    sim->seen[TF_SIM_COAP_CONDITION_FAILED] += answer.code == TF_COAP_PRECONDITION_FAILED;
    sim->seen[TF_SIM_COAP_OBSERVED_GONE] +=
        answer.code == TF_COAP_NOT_FOUND && call->kind == TF_SIM_COAP_OBSERVE && answer.last;
    if (!tf_sim_coap_silent(sim)) {
        tf_sim_coap_answered(&sim->coap->oracle, call->op, &answer, sim->now);
        tf_sim_coap_judge(sim);
    }
}

static void on_response(struct tf_sim_coap_call *call, const struct tf_coap_event *event)
{
    struct tf_sim *sim = call->client->sim;
    if (event->offset == 0) {
        sim->seen[TF_SIM_COAP_BEGUN_ANEW] +=
            call->got_length != 0 && event->body.length != 0 && call->kind == TF_SIM_COAP_READ;
        call->got_length = 0;
    }
    if (!call->began || event->sequence != call->sequence) {
        call->began = true;
        call->begun = sim->now;
        call->sequence = event->sequence;
        call->first_version = version_of(&event->message);
    }
    if (event->offset != call->got_length) {
        tf_sim_fail(sim, "client %u got a run at %u behind %zu bytes", call->client->number,
                    event->offset, call->got_length);
        return;
    }
    if (event->body.length) {
        if (call->got_length + event->body.length > call->got_size) {
            call->got_size = 2 * (call->got_length + event->body.length);
            call->got = realloc(call->got, call->got_size);
            tf_assert(call->got);
        }
        memcpy(call->got + call->got_length, event->body.data, event->body.length);
        call->got_length += event->body.length;
    }
    sim->seen[TF_SIM_COAP_BLOCKS] += event->more;
    call->told |= event->observe;
    if (!event->more) {
        whole(call, event);
        if (event->last) {
            call_end(call);
        }
    }
}

static void take_events(struct tf_sim_coap_client *client)
{
    struct tf_sim *sim = client->sim;
    struct tf_coap_event event;
    while (tf_coap_endpoint_event(client->endpoint, &event)) {
        struct tf_sim_coap_call *call = event.user;
        if (event.type != TF_COAP_EVENT_RESPONSE && event.type != TF_COAP_EVENT_FAILED) {
            tf_sim_fail(sim, "client %u got event %d", client->number, event.type);
        } else if (!call || !call->used || call->handle != event.handle) {
            tf_sim_fail(sim, "client %u got an event of a call that has ended", client->number);
        } else if (event.type == TF_COAP_EVENT_RESPONSE) {
            on_response(call, &event);
        } else {
            tf_sim_trace(sim, "u%u op%d failed: error %d", client->number, (int)call->op,
                         event.err);
            sim->seen[TF_SIM_COAP_TIMED_OUT] += event.err == TF_AGAIN;
            if (call->op != TF_SIM_NONE) {
                tf_sim_coap_lost(&sim->coap->oracle, call->op, sim->now);
            }
            call_end(call);
        }
        if (sim->failed) {
            return;
        }
    }
}

/* ---- steps ---- */

static void flush(struct tf_sim_coap_client *client)
{
    struct tf_datagram out[8];
    size_t count;
    while ((count = tf_coap_endpoint_output(client->endpoint, out, TF_COUNT(out)))) {
        for (size_t i = 0; i < count; i++) {
            tf_sim_datagram_up(client->sim, client, out[i].bytes);
        }
        tf_coap_endpoint_sent(client->endpoint, count, client->sim->now);
    }
}

static void input(struct tf_sim_coap_client *client, const struct tf_sim_packet *packet)
{
    struct tf_datagram in = {.bytes = tf_bytes_of(packet->data, packet->length),
                             .flags = packet->flags};
    for (unsigned i = 0; i < 3; i++) {
        if (tf_coap_endpoint_input(client->endpoint, &in, client->sim->now) == TF_OK) {
            take_events(client);
            return;
        }
        flush(client);
        take_events(client);
    }
    tf_sim_fail(client->sim, "client %u takes no datagram", client->number);
}

tf_time tf_sim_coap_client_next(const struct tf_sim_coap_client *client)
{
    tf_time at =
        TF_MIN(tf_coap_endpoint_deadline(client->endpoint), tf_sim_inbox_next(&client->inbox));
    struct tf_datagram out;
    return tf_coap_endpoint_output(client->endpoint, &out, 1) ? client->sim->now : at;
}

void tf_sim_coap_client_step(struct tf_sim_coap_client *client)
{
    struct tf_sim *sim = client->sim;
    struct tf_sim_packet *packet = tf_sim_inbox_pop(sim, &client->inbox);
    if (packet) {
        if (memcmp(&packet->path, &client->path, sizeof(client->path)) == 0) {
            input(client, packet);
        }
        free(packet);
    }
    if (!sim->failed && tf_coap_endpoint_deadline(client->endpoint) <= sim->now) {
        tf_coap_endpoint_tick(client->endpoint, sim->now);
        take_events(client);
    }
    flush(client);
    if (!tf_coap_endpoint_check(client->endpoint)) {
        tf_sim_fail(sim, "client %u: an invariant of its CoAP endpoint is broken", client->number);
    }
}
