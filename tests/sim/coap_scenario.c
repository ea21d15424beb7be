/*
 * A run with CoAP: clients that read, write, observe and race over a bad network, while two MQTT
 * clients write to the same addresses and one watches what is published.
 *
 * Phases: operations with faults; calm; each address is read, and the oracle judges the whole; the
 * broker ends, in some runs under load; nothing must be left.
 */
#include "sim/coap.h"
#include "sim/store.h"

#include "base/assert.h"

#include <stdlib.h>
#include <string.h>

#define SUBSCRIBER 0u
#define PUBLISHERS 2u           /* MQTT clients after the subscriber */
#define QUIET (400 * TF_SECOND) /* within which the last call, body and observer has ended */
#define READ_TIME (TF_SECOND)   /* for an answer, or a notification, when all is well */
#define DRAIN_TIME (TF_SECOND)  /* for the end of all channels */

static const struct tf_sim_weather fine = {.delay_least = 50, .delay_most = 2000};

/* ---- beginning and end ---- */

void tf_sim_coap_start(struct tf_sim *sim)
{
    struct tf_sim_coap *coap = calloc(1, sizeof(*coap));
    struct tf_config *config = &sim->config;
    tf_assert(coap);
    sim->coap = coap;
    tf_sim_coap_oracle_init(&coap->oracle);
    memset(coap->mqtt_ops, 0xFF, sizeof(coap->mqtt_ops));
    sim->client_count = 1 + PUBLISHERS;
    coap->client_count = (unsigned)tf_sim_draw(sim, 4, TF_SIM_COAP_CLIENTS);
    coap->trusted = tf_sim_chance(sim, 1, 2);
    coap->up = coap->down = fine;
    config->coap_max_peers = 600;
    config->coap_max_replies = 3000;
    config->coap_max_bodies = 50;
    config->listeners[1].coap_max_observers = 200;
    config->listeners[1].coap_notify_con = tf_sim_chance(sim, 1, 4);
    for (unsigned i = 0; i < coap->client_count; i++) {
        tf_sim_coap_client_init(sim, &coap->clients[i], i);
    }
}

void tf_sim_coap_end(struct tf_sim *sim)
{
    for (unsigned i = 0; sim->coap && i < sim->coap->client_count; i++) {
        tf_sim_coap_client_release(&sim->coap->clients[i]);
    }
    free(sim->coap);
    sim->coap = NULL;
}

bool tf_sim_coap_silent(const struct tf_sim *sim)
{
    return sim->options.starve || sim->options.success;
}

void tf_sim_coap_judge(struct tf_sim *sim)
{
    if (sim->coap->oracle.failed && !tf_sim_coap_silent(sim)) {
        tf_sim_fail(sim, "%s", sim->coap->oracle.failure);
    }
}

/* ---- MQTT ---- */

/* A value that ends by itself is like one that somebody deletes, then or later. */
static void hear_expiry(struct tf_sim *sim, const struct tf_sim_event *event)
{
    struct tf_sim_coap_oracle *oracle = &sim->coap->oracle;
    struct tf_sim_coap_op op = {.kind = TF_SIM_COAP_CLEAR,
                                .client = TF_SIM_COAP_MQTT + event->client,
                                .address = event->info->topic,
                                .message = TF_SIM_NONE,
                                .ephemeral = true};
    uint32_t number = tf_sim_coap_begin(oracle, &op, sim->now);
    if (number != TF_SIM_NONE) {
        oracle->ops[number].start += event->info->expiry_s * TF_SECOND;
    }
}

void tf_sim_coap_hear(struct tf_sim *sim, const struct tf_sim_event *event)
{
    struct tf_sim_coap *coap = sim->coap;
    uint32_t *op = event->message < TF_SIM_MESSAGES ? &coap->mqtt_ops[event->message] : NULL;
    if (event->kind == TF_SIM_PUBLISH && event->info) {
        *op = tf_sim_coap_begin(&coap->oracle,
                                &(struct tf_sim_coap_op){.kind = event->info->length
                                                                     ? TF_SIM_COAP_WRITE
                                                                     : TF_SIM_COAP_CLEAR,
                                                         .client = TF_SIM_COAP_MQTT + event->client,
                                                         .address = event->info->topic,
                                                         .message = event->message,
                                                         .confirmable = event->info->qos != 0},
                                sim->now);
        if (event->info->expiry_s != UINT32_MAX) {
            hear_expiry(sim, event);
        }
    } else if (event->kind == TF_SIM_ACCEPTED && op && *op != TF_SIM_NONE) {
        tf_sim_coap_answered(&coap->oracle, *op, &(struct tf_sim_coap_answer){.last = true},
                             sim->now);
    } else if (event->kind == TF_SIM_RECEIVE && event->client == SUBSCRIBER) {
        tf_sim_coap_delivered(&coap->oracle, event->message, event->topic,
                              event->dup || event->repeat);
    }
    tf_sim_coap_judge(sim);
}

/* The subscriber's session outlives a crash, if anything does. */
static void mqtt_connect(struct tf_sim_client *client, bool resume)
{
    bool kept = client->sim->store && client->number == SUBSCRIBER;
    struct tf_sim_connect c = {.version = TF_MQTT_5,
                               .clean = !kept || !resume,
                               .expiry_s = kept ? UINT32_MAX : 0,
                               .receive_maximum = UINT16_MAX,
                               .max_packet = UINT32_MAX,
                               .will = TF_SIM_NONE};
    tf_sim_client_connect(client, &c);
}

/* Those that a crash has disconnected come back. */
static void mqtt_tend(struct tf_sim *sim)
{
    for (unsigned i = 0; sim->store && i < sim->client_count; i++) {
        if (sim->clients[i].state == TF_SIM_OFFLINE) {
            mqtt_connect(&sim->clients[i], true);
        }
    }
}

void tf_sim_coap_crash(struct tf_sim *sim, tf_time since)
{
    tf_sim_coap_crashed(&sim->coap->oracle, since, sim->now);
}

static void mqtt_start(struct tf_sim *sim)
{
    struct tf_sim_event all = {.filter = "#", .qos = 2, .message = TF_SIM_NONE};
    for (unsigned i = 0; i < sim->client_count; i++) {
        mqtt_connect(&sim->clients[i], false);
    }
    tf_sim_run_for(sim, 5 * TF_SECOND);
    for (unsigned i = 0; i < sim->client_count && !sim->failed; i++) {
        if (sim->clients[i].state != TF_SIM_ONLINE) {
            tf_sim_fail(sim, "MQTT client %u is not let in", i);
        }
    }
    if (!sim->failed) {
        tf_sim_client_subscribe(&sim->clients[SUBSCRIBER], &all, 1);
        tf_sim_run_for(sim, 5 * TF_SECOND);
    }
}

/* ---- operations ---- */

static unsigned draw_address(struct tf_sim *sim)
{
    unsigned address = (unsigned)tf_sim_draw(sim, 0, TF_SIM_COAP_ADDRESSES - 1);
    if (tf_sim_chance(sim, 1, 2)) {
        address = (unsigned)tf_sim_draw(sim, 0, 2); /* enough of one to meet others */
    }
    return address == TF_SIM_COAP_LOG ? 0 : address;
}

static void mqtt_publish(struct tf_sim *sim)
{
    struct tf_sim_client *client = &sim->clients[1 + tf_sim_draw(sim, 0, PUBLISHERS - 1)];
    struct tf_sim_message message = {.length = (uint32_t)tf_sim_draw(sim, 8, 60),
                                     .expiry_s = UINT32_MAX,
                                     .topic = (uint8_t)draw_address(sim),
                                     .qos = (uint8_t)tf_sim_draw(sim, 0, 2),
                                     .retain = true};
    message.retain = message.topic != TF_SIM_COAP_LOOSE || tf_sim_chance(sim, 1, 3);
    if (message.retain && tf_sim_chance(sim, 1, 6)) {
        message.length = 0;
    } else if (tf_sim_chance(sim, 1, 8)) {
        message.length = (uint32_t)tf_sim_draw(sim, 500, 4000);
    } else if (tf_sim_chance(sim, 1, 6)) {
        message.expiry_s = (uint32_t)tf_sim_draw(sim, 1, 60);
    }
    if (client->state == TF_SIM_ONLINE && tf_sim_client_can_publish(client)) {
        tf_sim_client_publish(client, message);
    }
}

static struct tf_sim_coap_wish draw_write(struct tf_sim *sim)
{
    static const uint16_t blocks[] = {0, 0, 0, 16, 64, 256};
    struct tf_sim_coap_wish wish = {.kind = TF_SIM_COAP_WRITE,
                                    .method = tf_sim_chance(sim, 1, 5) ? TF_COAP_POST : TF_COAP_PUT,
                                    .address = draw_address(sim),
                                    .non = tf_sim_chance(sim, 1, 6),
                                    .length = (uint32_t)tf_sim_draw(sim, 8, 60)};
    wish.block_size = blocks[tf_sim_draw(sim, 0, TF_COUNT(blocks) - 1)];
    wish.typed = tf_sim_chance(sim, 1, 15);
    if (tf_sim_chance(sim, 1, 8)) {
        wish.length = (uint32_t)tf_sim_draw(sim, 61, wish.block_size == 16 ? 300 : 4000);
    }
    return wish;
}

static void write_value(struct tf_sim_coap_client *client)
{
    struct tf_sim *sim = client->sim;
    struct tf_sim_coap_wish wish = draw_write(sim);
    if (tf_sim_chance(sim, 1, 4)) {
        wish.match = client->versions[wish.address];
        wish.condition =
            wish.match && tf_sim_chance(sim, 2, 3) ? TF_SIM_COAP_MATCH : TF_SIM_COAP_ABSENT;
    }
    (void)tf_sim_coap_client_ask(client, &wish);
}

/* Several clients want to replace the same version. */
static void race(struct tf_sim *sim, const struct tf_sim_coap_client *client)
{
    struct tf_sim_coap_wish wish = draw_write(sim);
    wish.match = client->versions[wish.address];
    wish.condition = wish.match ? TF_SIM_COAP_MATCH : TF_SIM_COAP_ABSENT;
    wish.length = (uint32_t)tf_sim_draw(sim, 8, 40);
    sim->seen[TF_SIM_COAP_RACE]++;
    for (unsigned i = 0; i + 1 < sim->coap->client_count; i++) {
        if (tf_sim_chance(sim, 2, 3)) {
            (void)tf_sim_coap_client_ask(&sim->coap->clients[i], &wish);
        }
    }
}

static void ask(struct tf_sim_coap_client *client, enum tf_sim_coap_kind kind, uint8_t method,
                unsigned address)
{
    static const uint16_t blocks[] = {0, 0, 32, 128};
    struct tf_sim *sim = client->sim;
    struct tf_sim_coap_wish wish = {.kind = kind, .method = method, .address = address};
    wish.non = kind != TF_SIM_COAP_OBSERVE && tf_sim_chance(sim, 1, 5);
    wish.etag = kind == TF_SIM_COAP_READ && tf_sim_chance(sim, 1, 3);
    wish.block_size = kind == TF_SIM_COAP_READ ? blocks[tf_sim_draw(sim, 0, 3)] : 0;
    (void)tf_sim_coap_client_ask(client, &wish);
}

/* A request for /.well-known/core. */
static void ask_core(struct tf_sim_coap_client *client, enum tf_sim_coap_kind kind)
{
    struct tf_sim_coap_wish wish = {.kind = kind, .method = TF_COAP_GET, .core = true};
    (void)tf_sim_coap_client_ask(client, &wish);
}

static void act(struct tf_sim_coap_client *client)
{
    struct tf_sim *sim = client->sim;
    unsigned which = (unsigned)tf_sim_draw(sim, 0, 99);
    if (which < 24) {
        ask(client, TF_SIM_COAP_READ, TF_COAP_GET, draw_address(sim));
    } else if (which < 50) {
        write_value(client);
    } else if (which < 56) {
        ask(client, TF_SIM_COAP_CLEAR, TF_COAP_DELETE, draw_address(sim));
    } else if (which < 68) {
        ask(client, TF_SIM_COAP_OBSERVE, TF_COAP_GET, draw_address(sim));
    } else if (which < 73) {
        tf_sim_coap_client_cancel(client, tf_sim_chance(sim, 1, 2));
    } else if (which < 77) {
        race(sim, client);
    } else if (which < 83) {
        ask(client, TF_SIM_COAP_APPEND, tf_sim_chance(sim, 1, 2) ? TF_COAP_PATCH : TF_COAP_IPATCH,
            TF_SIM_COAP_LOG);
    } else if (which < 86) {
        ask(client, TF_SIM_COAP_READ, TF_COAP_GET, TF_SIM_COAP_LOG);
    } else if (which < 88) {
        ask_core(client, TF_SIM_COAP_READ);
    } else if (which < 91) {
        tf_sim_coap_client_move(client);
    } else if (which < 93) {
        sim->seen[TF_SIM_COAP_DARK]++;
        tf_sim_trace(sim, "u%u is cut off", client->number);
        client->dark_until = sim->now + tf_sim_draw(sim, 1, 120) * TF_SECOND;
    } else {
        mqtt_publish(sim);
    }
}

static void operate(struct tf_sim *sim)
{
    if (tf_sim_store_operate(sim)) {
        return;
    }
    mqtt_tend(sim);
    if (tf_sim_chance(sim, 1, 40)) {
        struct tf_sim_node *node = &sim->nodes[tf_sim_draw(sim, 0, sim->shards - 1)];
        node->paused_until =
            TF_MAX(node->paused_until, sim->now + tf_sim_draw(sim, 1, 300) * TF_MILLISECOND);
    }
    if (!tf_sim_store_doomed(sim) && tf_sim_chance(sim, 1, 60)) {
        tf_sim_run_for(sim, tf_sim_draw(sim, 1, 150) * TF_SECOND);
    }
    act(&sim->coap->clients[tf_sim_draw(sim, 0, sim->coap->client_count - 2)]);
}

static void draw_weather(struct tf_sim *sim, struct tf_sim_weather *ret)
{
    static const unsigned lost[] = {0, 50, 150, 300}, doubled[] = {0, 50, 250};
    static const tf_time delays[] = {300, 5 * TF_MILLISECOND, 400 * TF_MILLISECOND};
    *ret = fine;
    ret->lost = lost[tf_sim_draw(sim, 0, TF_COUNT(lost) - 1)];
    ret->doubled = doubled[tf_sim_draw(sim, 0, TF_COUNT(doubled) - 1)];
    ret->late = tf_sim_chance(sim, 1, 2) ? (unsigned)tf_sim_draw(sim, 1, 100) : 0;
    ret->late_most = tf_sim_draw(sim, 1, 20) * TF_SECOND;
    ret->delay_most = delays[tf_sim_draw(sim, 0, TF_COUNT(delays) - 1)];
}

/* ---- the end of a run ---- */

static void calm(struct tf_sim *sim)
{
    tf_sim_calm(sim);
    sim->coap->up = sim->coap->down = fine;
    for (unsigned i = 0; i < sim->coap->client_count; i++) {
        sim->coap->clients[i].dark_until = 0;
    }
    mqtt_tend(sim);
    tf_sim_run_for(sim, QUIET);
    for (unsigned i = 0; i < sim->coap->client_count && !sim->failed; i++) {
        unsigned busy = tf_sim_coap_client_busy(&sim->coap->clients[i]);
        if (busy) {
            tf_sim_fail(sim, "client %u still waits for %u answers, though all is calm", i, busy);
        }
    }
    for (unsigned i = 0; i < sim->shards && !sim->failed; i++) {
        tf_sim_coap_node_check_empty(&sim->nodes[i]);
    }
}

/* Waits for all answers that the last client is to get. */
static void await_reader(struct tf_sim *sim)
{
    tf_sim_run_for(sim, READ_TIME);
    if (tf_sim_coap_client_busy(&sim->coap->clients[sim->coap->client_count - 1])) {
        tf_sim_fail(sim, "a new client gets no answer");
    }
}

/* Some values change once more: observers are told at once, not when theirs has gone stale. */
static void change_some(struct tf_sim *sim, struct tf_sim_coap_client *client)
{
    for (unsigned i = 0; i < TF_SIM_COAP_ADDRESSES && !sim->failed; i++) {
        if (i != TF_SIM_COAP_LOG && tf_sim_chance(sim, 1, 2)) {
            struct tf_sim_coap_wish wish = draw_write(sim);
            wish.address = i;
            wish.non = false;
            if (tf_sim_chance(sim, 1, 3)) {
                wish.kind = TF_SIM_COAP_CLEAR;
                wish.method = TF_COAP_DELETE;
                wish.block_size = 0;
            }
            (void)tf_sim_coap_client_ask(client, &wish);
        }
    }
    await_reader(sim);
}

static void read_everything(struct tf_sim *sim)
{
    struct tf_sim_coap_client *reader = &sim->coap->clients[sim->coap->client_count - 1];
    change_some(sim, reader);
    for (unsigned i = 0; i < TF_SIM_COAP_ADDRESSES && !sim->failed; i++) {
        sim->coap->oracle.final[i].read = false;
        (void)tf_sim_coap_client_ask(reader, &(struct tf_sim_coap_wish){.kind = TF_SIM_COAP_READ,
                                                                        .method = TF_COAP_GET,
                                                                        .address = i});
        await_reader(sim);
    }
    ask_core(reader, TF_SIM_COAP_READ);
    await_reader(sim);
    if (sim->failed) {
        return;
    }
    if (!reader->has_listed) {
        tf_sim_fail(sim, "/.well-known/core cannot be read");
    }
    tf_sim_coap_listed(&sim->coap->oracle, reader->listed);
    for (unsigned i = 0; i + 1 < sim->coap->client_count; i++) {
        const struct tf_sim_coap_client *client = &sim->coap->clients[i];
        for (unsigned j = 0; j < TF_SIM_COAP_CALLS; j++) {
            const struct tf_sim_coap_call *call = &client->calls[j];
            if (call->used && call->core && client->listed != reader->listed) {
                tf_sim_fail(sim, "client %u, who observes /.well-known/core, was told %x, not %x",
                            i, client->listed, reader->listed);
            }
        }
    }
    tf_sim_coap_audit(&sim->coap->oracle);
    tf_sim_coap_judge(sim);
}

/* The broker ends: its channels must be gone soon, whatever clients still want. */
static void drain(struct tf_sim *sim)
{
    if (tf_sim_chance(sim, 1, 2)) {
        sim->seen[TF_SIM_COAP_DRAINED_BUSY]++;
        for (unsigned i = 0; i < 20; i++) {
            act(&sim->coap->clients[tf_sim_draw(sim, 0, sim->coap->client_count - 2)]);
        }
        tf_sim_run_for(sim, tf_sim_draw(sim, 1, 10 * TF_MILLISECOND));
    }
    tf_sim_trace(sim, "the broker ends");
    for (unsigned i = 0; i < sim->shards && !sim->failed; i++) {
        tf_sim_coap_node_drain(&sim->nodes[i]);
        tf_sim_run_for(sim, tf_sim_draw(sim, 1, TF_MILLISECOND));
    }
    tf_sim_run_for(sim, DRAIN_TIME);
    for (unsigned i = 0; i < sim->shards && !sim->failed; i++) {
        if (sim->nodes[i].channel) {
            tf_sim_fail(sim, "shard %u does not close its CoAP channel", i);
        }
    }
}

/* Before anything goes wrong: the log begins, and somebody observes the listing. */
static void first_requests(struct tf_sim *sim)
{
    struct tf_sim_coap_client *client = &sim->coap->clients[0];
    (void)tf_sim_coap_client_ask(client, &(struct tf_sim_coap_wish){.kind = TF_SIM_COAP_WRITE,
                                                                    .method = TF_COAP_PUT,
                                                                    .address = TF_SIM_COAP_LOG,
                                                                    .length = 2});
    if (tf_sim_chance(sim, 1, 2)) {
        ask_core(client, TF_SIM_COAP_OBSERVE);
    }
    tf_sim_run_for(sim, 10 * TF_SECOND);
}

static void operations(struct tf_sim *sim)
{
    unsigned count = (unsigned)tf_sim_draw(sim, 150, 300);
    count = sim->options.operations ? sim->options.operations : count;
    draw_weather(sim, &sim->coap->up);
    draw_weather(sim, &sim->coap->down);
    sim->memory.starving = sim->options.starve != 0;
    while (count-- && !sim->failed) {
        tf_time most = tf_sim_chance(sim, 1, 10) ? 5 * TF_SECOND : 50 * TF_MILLISECOND;
        tf_sim_run_for(sim, tf_sim_chance(sim, 1, 3) ? 1 : tf_sim_draw(sim, 1, most));
        operate(sim);
    }
    sim->memory.starving = false;
}

void tf_sim_coap_run(struct tf_sim *sim)
{
    mqtt_start(sim);
    if (!sim->failed) {
        first_requests(sim);
    }
    if (sim->options.success) {
        sim->calm = true;
        tf_sim_coap_exchange(sim);
    } else {
        operations(sim);
        tf_sim_store_calm(sim);
    }
    if (!sim->failed) {
        calm(sim);
    }
    if (!sim->failed && !tf_sim_coap_silent(sim)) {
        read_everything(sim);
    }
    if (!sim->failed) {
        drain(sim);
    }
    if (sim->options.starve) {
        tf_sim_drop_all(sim);
    }
    if (!sim->failed) {
        tf_sim_end_sessions(sim);
    }
    if (!sim->failed) {
        tf_sim_nodes_check_empty(sim);
    }
}
