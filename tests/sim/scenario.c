/*
 * What happens in a run: which operation comes next, which fault, and how a run is brought to rest.
 *
 * Phases: operations with faults; calm (no more faults, everybody comes back and takes what it is
 * owed); the retained messages are read; every session ends; nothing must be left.
 */
#include "sim/amqp.h"
#include "sim/coap.h"
#include "sim/store.h"

#include "base/assert.h"

#include <string.h>

#define STEPS_MOST 3000000u

const char *const tf_sim_topics[] = {
    "a", "a/b", "a/b/c", "b/x", "b/y", "/", "c//d", "$private/a", "d/e/f/g/h/i/j/k", "a/\xc3\xa4"};
const unsigned tf_sim_topic_count = TF_COUNT(tf_sim_topics);

static const char *const filters[] = {
    "#",   "a/#",   "a/+", "+/b",        "a/b",        "a",   "b/+",     "b/x",
    "+/+", "+",     "/",   "/#",         "c/+/d",      "+/#", "a/b/c",   "b/#",
    "c/#", "+/+/+", "b/y", "$private/#", "$private/a", "+/x", "d/+/f/#", "a/\xc3\xa4"};

static const uint32_t expiries[] = {0, 5, 60, 600, 86400, UINT32_MAX};
static const uint16_t keep_alives[] = {0, 0, 10, 30, 60};
static const uint16_t maxima[] = {1, 2, 5, 20, 65535, 65535};

/* ---- the schedule ---- */

static tf_time actor_next(struct tf_sim *sim, unsigned actor)
{
    if (actor < sim->shards) {
        return tf_sim_node_next(&sim->nodes[actor]);
    }
    actor -= sim->shards;
    if (actor < sim->client_count) {
        return tf_sim_client_next(&sim->clients[actor]);
    }
    actor -= sim->client_count;
    if (sim->store && actor-- == 0) {
        return tf_sim_store_next(sim);
    }
    return sim->coap ? tf_sim_coap_client_next(&sim->coap->clients[actor])
                     : tf_sim_amqp_client_next(&sim->amqp->clients[actor]);
}

static void actor_step(struct tf_sim *sim, unsigned actor)
{
    if (actor < sim->shards) {
        tf_sim_node_turn(&sim->nodes[actor]);
        return;
    }
    actor -= sim->shards;
    if (actor < sim->client_count) {
        tf_sim_client_step(&sim->clients[actor]);
        return;
    }
    actor -= sim->client_count;
    if (sim->store && actor-- == 0) {
        tf_sim_store_step(sim);
    } else if (sim->coap) {
        tf_sim_coap_client_step(&sim->coap->clients[actor]);
    } else {
        tf_sim_amqp_client_step(&sim->amqp->clients[actor]);
    }
}

static unsigned actor_count(const struct tf_sim *sim)
{
    unsigned others = sim->coap ? sim->coap->client_count : 0;
    others = sim->amqp ? sim->amqp->client_count : others;
    return sim->shards + sim->client_count + (sim->store != NULL) + others;
}

/* Lets one of those act who can; time passes if none can. False: nothing is left before `until`. */
static bool step(struct tf_sim *sim, tf_time until)
{
    unsigned actors = actor_count(sim);
    unsigned ready = 0;
    tf_time first = TF_TIME_NEVER, next;
    unsigned chosen = 0;
    if (sim->failed) {
        return false;
    }
    for (unsigned i = 0; i < actors; i++) {
        next = actor_next(sim, i);
        first = TF_MIN(first, next);
        if (next <= sim->now && tf_sim_chance(sim, 1, ++ready)) {
            chosen = i;
        }
    }
    if (!ready) {
        bool any = first <= until;
        sim->now = any ? first : until;
        return any;
    }
    actor_step(sim, chosen);
    sim->now += tf_sim_draw(sim, 0, 20);
    if (++sim->steps == STEPS_MOST) {
        tf_sim_fail(sim, "no rest after %u steps", STEPS_MOST);
    }
    return sim->now < until;
}

void tf_sim_run_for(struct tf_sim *sim, tf_time span)
{
    tf_time until = sim->now + span;
    while (step(sim, until)) {
    }
}

/* ---- operations ---- */

static struct tf_sim_message draw_message(struct tf_sim *sim)
{
    struct tf_sim_message message = {.length = (uint32_t)tf_sim_draw(sim, 8, 60),
                                     .expiry_s = UINT32_MAX,
                                     .topic = (uint8_t)tf_sim_draw(sim, 0, tf_sim_topic_count - 1),
                                     .qos = (uint8_t)tf_sim_draw(sim, 0, 2),
                                     .retain = tf_sim_chance(sim, 1, 6)};
    if (tf_sim_chance(sim, 1, 2)) {
        message.topic =
            (uint8_t)tf_sim_draw(sim, 0, 2); /* enough of one for order to mean something */
    }
    if (tf_sim_chance(sim, 1, 14)) {
        message.length = (uint32_t)tf_sim_draw(sim, 1000, 5000);
        sim->seen[TF_SIM_LARGE_BODY]++;
    } else if (tf_sim_chance(sim, 1, 80)) {
        message.length = (uint32_t)tf_sim_draw(sim, 65000, 150000);
        sim->seen[TF_SIM_HUGE_BODY]++;
    }
    if (tf_sim_chance(sim, 1, 8)) {
        message.expiry_s = (uint32_t)tf_sim_draw(sim, 1, 100);
    }
    return message;
}

static void publish(struct tf_sim_client *client, unsigned count)
{
    struct tf_sim *sim = client->sim;
    while (count-- && tf_sim_client_can_publish(client)) {
        struct tf_sim_message message = draw_message(sim);
        if (message.retain && tf_sim_chance(sim, 1, 4)) {
            message.length = 0;
            message.expiry_s = UINT32_MAX;
            sim->seen[TF_SIM_RETAINED_CLEARED]++;
        }
        tf_sim_client_publish(client, message);
    }
}

static void subscribe(struct tf_sim_client *client)
{
    struct tf_sim *sim = client->sim;
    struct tf_sim_event requests[3];
    unsigned count = (unsigned)tf_sim_draw(sim, 1, TF_COUNT(requests));
    uint32_t id = tf_sim_chance(sim, 1, 3) ? (uint32_t)tf_sim_draw(sim, 1, 300) : 0;
    memset(requests, 0, sizeof(requests));
    for (unsigned i = 0; i < count; i++) {
        requests[i].filter = filters[tf_sim_draw(sim, 0, TF_COUNT(filters) - 1)];
        requests[i].qos = (uint8_t)tf_sim_draw(sim, 0, 2);
        requests[i].no_local = tf_sim_chance(sim, 1, 5);
        requests[i].as_published = tf_sim_chance(sim, 1, 3);
        requests[i].handling = tf_sim_chance(sim, 1, 3) ? (uint8_t)tf_sim_draw(sim, 1, 2) : 0;
        requests[i].message = TF_SIM_NONE;
        requests[i].id = id;
        for (unsigned j = 0; j < i; j++) {
            if (requests[j].filter == requests[i].filter) {
                count = i; /* the same filter twice in one packet is a case of its own */
            }
        }
    }
    tf_sim_client_subscribe(client, requests, count);
}

static void connect(struct tf_sim_client *client)
{
    struct tf_sim *sim = client->sim;
    bool five = !tf_sim_chance(sim, 1, 3);
    if (client->outgoing_count || (client->machine && tf_sim_machine_busy(client))) {
        five = client->connect.version == TF_MQTT_5; /* else what is resent would lose properties */
    }
    struct tf_sim_connect c = {.version = five ? TF_MQTT_5 : TF_MQTT_3_1_1,
                               .clean = tf_sim_chance(sim, 1, 4),
                               .keep_alive_s = keep_alives[tf_sim_draw(sim, 0, 4)],
                               .receive_maximum = UINT16_MAX,
                               .max_packet = UINT32_MAX,
                               .will = TF_SIM_NONE};
    if (five) {
        c.expiry_s = expiries[tf_sim_draw(sim, 0, TF_COUNT(expiries) - 1)];
        c.receive_maximum = maxima[tf_sim_draw(sim, 0, TF_COUNT(maxima) - 1)];
        /* not on a resumption: what was under way and no longer fits would leave its id in doubt */
        c.max_packet = c.clean && tf_sim_chance(sim, 1, 4) ? (uint32_t)tf_sim_draw(sim, 300, 3000)
                                                           : UINT32_MAX;
    }
    if (tf_sim_chance(sim, 1, 4) && sim->message_count < TF_SIM_MESSAGES) {
        struct tf_sim_message will = draw_message(sim);
        will.length = TF_MIN(will.length, 400u);
        will.expiry_s = UINT32_MAX;
        will.will = true;
        will.number = sim->message_count++;
        sim->messages[will.number] = will;
        c.will = will.number;
        c.will_delay_s = five && tf_sim_chance(sim, 1, 2) ? (uint32_t)tf_sim_draw(sim, 1, 10) : 0;
    }
    tf_sim_client_connect(client, &c);
    if (client->connect.clean && !client->machine && tf_sim_chance(sim, 1, 3)) {
        sim->seen[TF_SIM_PIPELINED]++;
        subscribe(client);
        publish(client, 1);
    }
}

static void cut(struct tf_sim_client *client)
{
    struct tf_sim *sim = client->sim;
    client->link->harmed = true;
    sim->seen[TF_SIM_CUT]++;
    tf_sim_trace(sim, "link%u is cut", client->link->number);
    tf_sim_pipe_lose(sim, &client->link->up);
    tf_sim_client_drop(client, true, false);
}

static void stall(struct tf_sim *sim, struct tf_sim_link *link)
{
    bool up = tf_sim_chance(sim, 1, 2);
    tf_time until = sim->now + tf_sim_draw(sim, 1, 2000) * TF_MILLISECOND;
    tf_sim_trace(sim, "link%u stalls %s", link->number, up ? "up" : "down");
    link->harmed = true;
    sim->seen[up ? TF_SIM_STALL_UP : TF_SIM_STALL_DOWN]++;
    tf_sim_pipe_stall(sim, up ? &link->up : &link->down, until);
}

static void silence(struct tf_sim_client *client)
{
    struct tf_sim *sim = client->sim;
    if (client->connect.keep_alive_s && client->state == TF_SIM_ONLINE) {
        sim->seen[TF_SIM_SILENT]++;
        tf_sim_trace(sim, "c%u falls silent", client->number);
        client->was_silent = true;
        client->silent_until = sim->now + client->connect.keep_alive_s * 4 * TF_SECOND;
    }
}

static void leave(struct tf_sim_client *client)
{
    struct tf_sim *sim = client->sim;
    bool will = client->connect.version == TF_MQTT_5 && tf_sim_chance(sim, 1, 3);
    uint32_t expiry_s = client->connect.expiry_s;
    if (expiry_s && tf_sim_chance(sim, 1, 3)) {
        expiry_s = expiries[tf_sim_draw(sim, 0, TF_COUNT(expiries) - 1)];
    }
    sim->seen[TF_SIM_GOODBYE_WITH_WILL] += will && client->connect.will != TF_SIM_NONE;
    sim->seen[TF_SIM_WILL_CANCELLED] += !will && client->connect.will != TF_SIM_NONE;
    tf_sim_client_disconnect(client, will ? TF_MQTT_DISCONNECT_WITH_WILL : TF_MQTT_SUCCESS,
                             expiry_s);
}

/* What befalls the link of a client. */
static void fault(struct tf_sim_client *client, unsigned which)
{
    struct tf_sim *sim = client->sim;
    switch (which) {
    case 0:
    case 1:
    case 2:
        cut(client);
        break;
    case 3:
        sim->seen[TF_SIM_HALF_OPEN]++;
        tf_sim_client_drop(client, false, false);
        break;
    case 4:
        sim->seen[TF_SIM_TAKEN_OVER]++;
        tf_sim_client_drop(client, false, false);
        connect(client);
        break;
    case 5:
        silence(client);
        break;
    case 6:
    case 7:
        sim->seen[TF_SIM_SLOW_READER]++;
        client->read_after = sim->now + tf_sim_draw(sim, 1, 2500) * TF_MILLISECOND;
        client->link->harmed = true;
        break;
    default:
        stall(sim, client->link);
        break;
    }
}

/* What an online client does. */
static void act(struct tf_sim_client *client)
{
    struct tf_sim *sim = client->sim;
    unsigned which = (unsigned)tf_sim_draw(sim, 0, 99);
    if (which < 50) {
        publish(client, which < 40 ? 1 : (unsigned)tf_sim_draw(sim, 2, 12));
    } else if (which < 72) {
        subscribe(client);
    } else if (which < 78) {
        tf_sim_client_unsubscribe(client, filters[tf_sim_draw(sim, 0, TF_COUNT(filters) - 1)]);
    } else if (which < 83) {
        leave(client);
    } else {
        fault(client, (unsigned)tf_sim_draw(sim, 0, 10));
    }
}

static void operate(struct tf_sim *sim)
{
    if (tf_sim_store_operate(sim)) {
        return;
    }
    struct tf_sim_client *client = &sim->clients[tf_sim_draw(sim, 0, sim->client_count - 2)];
    if (tf_sim_chance(sim, 1, 40)) {
        struct tf_sim_node *node = &sim->nodes[tf_sim_draw(sim, 0, sim->shards - 1)];
        node->paused_until =
            TF_MAX(node->paused_until, sim->now + tf_sim_draw(sim, 1, 100) * TF_MILLISECOND);
        sim->seen[TF_SIM_SHARD_PAUSED]++;
    }
    if (!tf_sim_store_doomed(sim) && tf_sim_chance(sim, 1, 60)) {
        tf_time span = tf_sim_draw(sim, 1, 150) * TF_SECOND;
        tf_sim_trace(sim, "%llu s pass", (unsigned long long)(span / TF_SECOND));
        sim->seen[TF_SIM_TIME_JUMP]++;
        tf_sim_run_for(sim, span);
    }
    if (client->state == TF_SIM_OFFLINE) {
        if (client->connect_after <= sim->now) {
            connect(client);
        }
    } else if (client->state == TF_SIM_ONLINE && client->silent_until <= sim->now) {
        act(client);
    } else if (tf_sim_chance(sim, 1, 6)) {
        fault(client, tf_sim_chance(sim, 1, 2) ? 0 : 3);
    }
}

/* ---- the end of a run ---- */

void tf_sim_calm(struct tf_sim *sim)
{
    struct tf_list_node *node = tf_list_first(&sim->links);
    sim->calm = true;
    tf_sim_trace(sim, "calm");
    for (; node; node = tf_list_next(&sim->links, node)) {
        struct tf_sim_link *link = tf_container_of(node, struct tf_sim_link, node);
        link->up.stalled_until = link->down.stalled_until = 0;
        link->up.piece = link->down.piece = 0;
        link->up.window = link->down.window = 1u << 18;
        link->up.delay_most = link->down.delay_most = 200;
    }
    for (unsigned i = 0; i < sim->client_count; i++) {
        struct tf_sim_client *client = &sim->clients[i];
        client->read_after = 0;
        if (client->was_silent) {
            tf_sim_client_drop(client, true, false);
        }
    }
}

static bool all_quiet(struct tf_sim *sim)
{
    for (unsigned i = 0; i + 1 < sim->client_count; i++) {
        if (!tf_sim_client_quiet(&sim->clients[i])) {
            const struct tf_sim_client *c = &sim->clients[i];
            tf_sim_fail(sim,
                        "client %u still waits for something, though all is calm: state %d, %u of "
                        "its PUBLISHes, %u answers due, %u QoS 2 ids, %zu bytes out%s",
                        i, c->state, c->outgoing_count, c->answer_count, c->received_count,
                        c->out_length, c->machine ? ", on the client machine" : "");
            return false;
        }
    }
    return !sim->failed;
}

static bool rest(struct tf_sim *sim)
{
    if (tf_sim_chance(sim, 1, 2)) {
        tf_sim_run_for(sim, 15 * TF_SECOND);
    } else {
        tf_sim_run_for(sim, 3 * TF_SECOND);
    }
    for (unsigned i = 0; i + 1 < sim->client_count && !sim->failed; i++) {
        struct tf_sim_client *client = &sim->clients[i];
        struct tf_sim_connect c = client->connect;
        if (client->state == TF_SIM_LEAVING) {
            tf_sim_fail(sim, "client %u has said goodbye and is not let go", i);
        }
        if (client->state == TF_SIM_OFFLINE) {
            c.version = c.version ? c.version : TF_MQTT_5;
            c.clean = false;
            c.expiry_s = c.version == TF_MQTT_5 ? UINT32_MAX : 0;
            c.max_packet = UINT32_MAX;
            c.receive_maximum = c.version == TF_MQTT_5 ? 7 : UINT16_MAX;
            c.will = TF_SIM_NONE;
            c.will_delay_s = 0;
            tf_sim_client_connect(client, &c);
        }
    }
    tf_sim_run_for(sim, 30 * TF_SECOND);
    if (!all_quiet(sim)) {
        return false;
    }
    tf_sim_oracle_drained(sim->oracle, sim->now);
    if (tf_sim_oracle_failure(sim->oracle)) {
        tf_sim_fail(sim, "%s", tf_sim_oracle_failure(sim->oracle));
    }
    return !sim->failed;
}

/* After a run without enough memory some clients wait for what was never done. */
void tf_sim_drop_all(struct tf_sim *sim)
{
    for (unsigned i = 0; i < sim->client_count; i++) {
        tf_sim_client_drop(&sim->clients[i], true, false);
        sim->clients[i].must_clean = true;
    }
    tf_sim_run_for(sim, 15 * TF_SECOND);
}

static void read_retained(struct tf_sim *sim)
{
    struct tf_sim_client *reader = &sim->clients[sim->client_count - 1];
    struct tf_sim_connect c = {.version = TF_MQTT_5,
                               .clean = true,
                               .receive_maximum = 3,
                               .max_packet = UINT32_MAX,
                               .will = TF_SIM_NONE};
    struct tf_sim_event requests[2] = {{.filter = "#", .qos = 2, .message = TF_SIM_NONE},
                                       {.filter = "$private/#", .qos = 2, .message = TF_SIM_NONE}};
    tf_sim_client_connect(reader, &c);
    tf_sim_run_for(sim, TF_SECOND);
    if (reader->state != TF_SIM_ONLINE) {
        tf_sim_fail(sim, "a new client is not let in");
        return;
    }
    tf_sim_client_subscribe(reader, requests, 2);
    tf_sim_run_for(sim, 5 * TF_SECOND);
    if (!tf_sim_client_quiet(reader)) {
        tf_sim_fail(sim, "a new client's subscriptions are not answered");
        return;
    }
    tf_sim_tell(sim, &(struct tf_sim_event){.kind = TF_SIM_READ_ALL,
                                            .client = reader->number,
                                            .message = TF_SIM_NONE});
}

void tf_sim_end_sessions(struct tf_sim *sim)
{
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < sim->client_count && !sim->failed; i++) {
            struct tf_sim_client *client = &sim->clients[i];
            struct tf_sim_connect c = {.version = TF_MQTT_5,
                                       .clean = true,
                                       .receive_maximum = UINT16_MAX,
                                       .max_packet = UINT32_MAX,
                                       .will = TF_SIM_NONE};
            if (client->state == TF_SIM_ONLINE) {
                tf_sim_client_disconnect(client, 0, client->connect.expiry_s);
            } else if (client->state == TF_SIM_OFFLINE && round == 0) {
                tf_sim_client_connect(client, &c);
            }
        }
        tf_sim_run_for(sim, 3 * TF_SECOND);
        for (unsigned i = 0; i < sim->client_count && !sim->failed && round == 0; i++) {
            struct tf_sim_client *client = &sim->clients[i];
            struct tf_sim_connect c = {.version = TF_MQTT_5,
                                       .clean = true,
                                       .receive_maximum = UINT16_MAX,
                                       .max_packet = UINT32_MAX,
                                       .will = TF_SIM_NONE};
            if (client->state == TF_SIM_OFFLINE) {
                tf_sim_client_connect(client, &c);
            }
        }
        tf_sim_run_for(sim, 3 * TF_SECOND);
    }
    for (unsigned i = 0; i < sim->client_count && !sim->failed; i++) {
        if (sim->clients[i].state != TF_SIM_OFFLINE) {
            tf_sim_fail(sim, "client %u cannot leave", i);
        }
    }
}

/* ---- a run ---- */

static bool start(struct tf_sim *sim)
{
    struct tf_config_report report;
    unsigned shards = tf_sim_chance(sim, 3, 4) ? 3 : (unsigned)tf_sim_draw(sim, 1, 2);
    if (sim->options.coap || sim->options.amqp) {
        shards = (unsigned)tf_sim_draw(sim, 1, TF_SIM_SHARDS);
    }
    sim->shards = sim->options.shards ? sim->options.shards : shards;
    sim->now = tf_sim_draw(sim, 1, 1000000);
    tf_list_init(&sim->links);
    tf_random_init(&sim->entropy, sim->options.seed + 1);
    tf_sim_memory_init(sim);
    tf_config_report_init(&report);
    tf_config_init_default(&sim->config);
    bool good = !tf_config_add_url(&sim->config, "mqtt://127.0.0.1:1883", &report) &&
                (!sim->options.coap ||
                 !tf_config_add_url(&sim->config, "coap://127.0.0.1:5683", &report)) &&
                (!sim->options.amqp || tf_sim_amqp_configure(sim, &report)) &&
                !tf_config_finish(&sim->config, &report);
    tf_config_report_release(&report);
    static const uint16_t in_flight[] = {1, 3, 20, 20};
    sim->config.max_inflight_messages = in_flight[tf_sim_draw(sim, 0, 3)];
    sim->config.queue_qos0_messages = tf_sim_chance(sim, 1, 3);
    sim->client_count = (unsigned)tf_sim_draw(sim, 11, TF_SIM_CLIENTS);
    if (sim->options.coap) {
        tf_sim_coap_start(sim);
    }
    if (sim->options.amqp) {
        tf_sim_amqp_start(sim);
    }
    if (sim->options.store) {
        tf_sim_store_start(sim);
    }
    for (unsigned i = 0; i < sim->client_count; i++) {
        tf_sim_client_init(sim, &sim->clients[i], i);
    }
    return good && tf_sim_nodes_start(sim);
}

static void run_mqtt(struct tf_sim *sim)
{
    sim->memory.starving = sim->options.starve != 0;
    unsigned operations = (unsigned)tf_sim_draw(sim, 200, 320);
    operations = sim->options.operations ? sim->options.operations : operations;
    while (operations-- && !sim->failed) {
        tf_time most = tf_sim_chance(sim, 1, 10) ? 2 * TF_SECOND : 20 * TF_MILLISECOND;
        tf_sim_run_for(sim, tf_sim_chance(sim, 1, 3) ? 1 : tf_sim_draw(sim, 1, most));
        operate(sim);
    }
    tf_sim_calm(sim);
    sim->memory.starving = false;
    tf_sim_store_calm(sim);
    if (sim->options.starve) {
        tf_sim_run_for(sim, 15 * TF_SECOND);
        tf_sim_drop_all(sim);
    } else if (!sim->failed && rest(sim)) {
        read_retained(sim);
    }
    if (!sim->failed) {
        tf_sim_end_sessions(sim);
        if (!sim->failed) {
            tf_sim_nodes_check_empty(sim);
        }
    }
}

bool tf_sim_run(struct tf_sim *sim, const struct tf_sim_options *options, uint64_t *seen)
{
    memset(sim, 0, sizeof(*sim));
    sim->options = *options;
    sim->seen = seen;
    sim->hash = UINT64_C(0xcbf29ce484222325);
    tf_random_init(&sim->random, options->seed);
    sim->oracle = tf_sim_oracle_new();
    bool started = start(sim);
    tf_assert(started);
    if (options->coap) {
        tf_sim_coap_run(sim);
    } else if (options->amqp) {
        tf_sim_amqp_run(sim);
    } else {
        run_mqtt(sim);
    }
    for (unsigned i = 0; i < sim->client_count; i++) {
        tf_sim_client_release(&sim->clients[i]);
    }
    if (sim->failed) {
        sim->calm = true; /* what is left is freed all the same */
    }
    for (unsigned i = 0; sim->amqp && i < sim->amqp->client_count; i++) {
        tf_sim_amqp_client_release(&sim->amqp->clients[i]);
    }
    tf_sim_nodes_stop(sim);
    tf_config_release(&sim->config);
    tf_sim_oracle_free(sim->oracle);
    tf_sim_coap_end(sim);
    tf_sim_amqp_end(sim);
    tf_sim_store_end(sim);
    return !sim->failed;
}
