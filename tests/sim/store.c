/*
 * The store of a simulated broker: the real one, on a disk in memory, its thread an actor among the
 * others; and what a crash does to all of them.
 *
 * A crash ends every shard in the midst of whatever it does. What the disk is left with is drawn:
 * of each write that was not synced, any of the sectors. The broker starts again from that, with
 * another number of shards perhaps, and the clients come back. What was acknowledged to them before
 * is what the oracle holds it to.
 */
#include "sim/store.h"
#include "sim/amqp.h"
#include "sim/coap.h"

#include "base/assert.h"
#include "broker/restore.h"

#include <stdlib.h>
#include <string.h>

#define SEGMENT (UINT64_C(1) << 20)
#define SETTLE_ROUNDS 100000u

/* ---- the store's thread ---- */

static void wake_shard(void *ctx, unsigned shard)
{
    struct tf_sim *sim = ctx;
    sim->nodes[shard].mail = true;
}

static void wake_store(void *ctx)
{
    struct tf_sim *sim = ctx;
    struct tf_sim_store *store = sim->store;
    /* a disk takes its time, and now and then much of it */
    bool slow = !sim->calm && tf_sim_chance(sim, 1, 30);
    tf_time most = slow ? 50 * TF_MILLISECOND : 400;
    store->due = TF_MIN(store->due, sim->now + tf_sim_draw(sim, 1, most));
}

static void changed(void *ctx, enum tf_store_state state, enum tf_err err, int error)
{
    struct tf_sim *sim = ctx;
    tf_sim_trace(sim, "the store is in state %d: %d, %d", (int)state, (int)err, error);
    if (state == TF_STORE_BROKEN) {
        sim->store->broken = true;
        tf_sim_blame(sim, "the store broke, though no sync has failed");
    }
}

static bool open_store(struct tf_sim *sim)
{
    struct tf_sim_store *store = sim->store;
    struct tf_journal_report report;
    uint64_t holder;
    struct tf_store_config config = {.journal = {.disk = &store->disk.disk,
                                                 .alloc = &sim->memory.alloc,
                                                 .seed = sim->options.seed + store->crashes,
                                                 .segment_size = SEGMENT,
                                                 .snapshot_interval = 1u << 18,
                                                 .compact_percent = 50},
                                     .shards = sim->shards,
                                     .alloc = &sim->memory.alloc,
                                     .hold = tf_stored_hold,
                                     .let_go = tf_stored_let_go,
                                     .wake_shard = wake_shard,
                                     .wake_store = wake_store,
                                     .changed = changed,
                                     .ctx = sim};
    enum tf_err err = tf_store_new(&config, &store->store, &report, &holder);
    if (err) {
        tf_sim_fail(sim, "the store cannot be opened: %s", tf_err_name(err));
        return false;
    }
    if (report.damaged_groups || report.lost_messages) {
        tf_sim_fail(sim, "after a crash %llu groups are damaged, %llu messages lost",
                    (unsigned long long)report.damaged_groups,
                    (unsigned long long)report.lost_messages);
    }
    store->due = sim->now;
    return true;
}

tf_time tf_sim_store_next(const struct tf_sim *sim)
{
    return sim->store && !(sim->store->doomed && sim->store->still) ? sim->store->due
                                                                    : TF_TIME_NEVER;
}

void tf_sim_store_step(struct tf_sim *sim)
{
    struct tf_sim_store *store = sim->store;
    tf_time until = TF_TIME_NEVER;
    store->due = TF_TIME_NEVER; /* before the turn: what comes meanwhile wakes it again */
    bool more = tf_store_turn(store->store, sim->now, &until);
    store->due = TF_MIN(store->due, more ? sim->now : until);
}

/* ---- beginning and ending ---- */

bool tf_sim_store_open(struct tf_sim *sim)
{
    if (!sim->store) {
        return true;
    }
    return open_store(sim);
}

bool tf_sim_store_client(struct tf_sim_node *node, unsigned number)
{
    struct tf_sim *sim = node->sim;
    if (!sim->store) {
        return true;
    }
    if (tf_store_client_init(&node->client, sim->store->store, number)) {
        return false;
    }
    node->kept = &node->client;
    return true;
}

static void settle(void *ctx)
{
    struct tf_sim *sim = ctx;
    for (unsigned i = 0; i < sim->shards; i++) {
        sim->nodes[i].mail = false;
        tf_shard_receive(&sim->nodes[i].shard);
        (void)tf_shard_flush(&sim->nodes[i].shard);
    }
}

static bool any_mail(const struct tf_sim *sim)
{
    bool any = false;
    for (unsigned i = 0; i < sim->shards; i++) {
        any |= sim->nodes[i].mail || tf_shard_busy(&sim->nodes[i].shard);
    }
    return any;
}

bool tf_sim_store_restore(struct tf_sim *sim)
{
    struct tf_restore_shard shards[TF_SIM_SHARDS];
    struct tf_front *fronts[TF_SIM_SHARDS][3];
    struct tf_restored restored;
    if (!sim->store) {
        return true;
    }
    for (unsigned i = 0; i < sim->shards; i++) {
        struct tf_sim_node *node = &sim->nodes[i];
        size_t count = 0;
        fronts[i][count++] = node->front;
        if (node->coap) {
            fronts[i][count++] = node->coap;
        }
        if (node->amqp) {
            fronts[i][count++] = node->amqp;
        }
        shards[i] = (struct tf_restore_shard){&node->shard, fronts[i], count};
    }
    struct tf_restore_config config = {.journal = tf_store_journal(sim->store->store),
                                       .shards = shards,
                                       .count = sim->shards,
                                       .alloc = &sim->memory.alloc,
                                       .settle = settle,
                                       .ctx = sim};
    enum tf_err err = tf_restore(&config, &restored);
    if (err) {
        tf_sim_fail(sim, "the broker cannot start again: %s", tf_err_name(err));
        return false;
    }
    tf_sim_trace(
        sim,
        "restored %llu queues, %llu sessions, %llu values, %llu entries, %llu of them under way",
        (unsigned long long)restored.queues, (unsigned long long)restored.sessions,
        (unsigned long long)restored.values, (unsigned long long)restored.entries,
        (unsigned long long)restored.under_way);
    if (restored.orphans) {
        /* without memory the record of a binding may outlive its queue (named_kept.c) */
        tf_sim_blame(sim, "%llu things in the store belong to nothing",
                     (unsigned long long)restored.orphans);
    }
    unsigned round = 0;
    do {
        settle(sim);
    } while (any_mail(sim) && ++round < SETTLE_ROUNDS);
    for (unsigned i = 0; i < sim->shards; i++) {
        for (size_t j = 0; j < shards[i].front_count; j++) {
            if (fronts[i][j]->ops->restored) {
                fronts[i][j]->ops->restored(fronts[i][j]);
            }
        }
        tf_shard_submit(&sim->nodes[i].shard);
    }
    return round < SETTLE_ROUNDS;
}

void tf_sim_store_close(struct tf_sim *sim)
{
    if (sim->store && sim->store->store) {
        tf_store_free(sim->store->store);
        sim->store->store = NULL;
    }
}

void tf_sim_store_start(struct tf_sim *sim)
{
    sim->store = calloc(1, sizeof(*sim->store));
    tf_assert(sim->store);
    sim_disk_init(&sim->store->disk, sim->options.seed);
    sim->store->due = TF_TIME_NEVER;
    if (tf_sim_chance(sim, 1, 2)) { /* so that short queues have a tail, too */
        sim->store->window = (uint32_t)tf_sim_draw(sim, 1, 8);
        sim->store->page = (uint32_t)tf_sim_draw(sim, 1, 8);
    }
    sim->store->linger = tf_sim_chance(sim, 1, 2) ? TF_MILLISECOND : 0;
}

void tf_sim_store_end(struct tf_sim *sim)
{
    if (sim->store) {
        sim_disk_release(&sim->store->disk);
        free(sim->store);
        sim->store = NULL;
    }
}

/* ---- faults and crashes ---- */

void tf_sim_store_fault(struct tf_sim *sim)
{
    struct sim_disk *disk = &sim->store->disk;
    disk->fail_at = disk->calls + tf_sim_draw(sim, 1, 12);
    disk->fail_with = tf_sim_chance(sim, 1, 2) ? TF_IO : TF_LIMIT;
    sim->seen[TF_SIM_DISK_FAILED]++;
    tf_sim_trace(sim, "a call of the disk will fail");
}

bool tf_sim_store_broken(const struct tf_sim *sim)
{
    return sim->store && sim->store->broken;
}

void tf_sim_crash(struct tf_sim *sim)
{
    struct tf_sim_store *store = sim->store;
    struct sim_disk left;
    unsigned keep = (unsigned)tf_sim_draw(sim, 0, 8);
    tf_sim_trace(sim, "CRASH: %u in 8 of what was not synced is there", keep);
    sim->seen[TF_SIM_CRASHED]++;
    store->crashes++;
    tf_time since = store->doomed ? store->stands_since : sim->now;
    store->doomed = 0;
    sim->crashing = true;
    for (unsigned i = 0; i < sim->client_count; i++) {
        struct tf_sim_client *client = &sim->clients[i];
        if (client->link) {
            tf_sim_pipe_lose(sim, &client->link->up);
            client->link->harmed = true;
            tf_sim_client_drop(client, true, false);
        }
    }
    if (sim->amqp) {
        tf_sim_amqp_crash(sim, since);
    }
    if (sim->coap) {
        tf_sim_coap_crash(sim, since);
    }
    sim->crashing = false;
    tf_sim_tell(
        sim, &(struct tf_sim_event){.kind = TF_SIM_CRASH, .message = TF_SIM_NONE, .since = since});
    sim_disk_crash(&store->disk, &left, tf_sim_draw(sim, 0, UINT32_MAX), keep);
    /* a broker that cannot be taken apart, or cannot start, for want of memory proves nothing */
    bool starving = sim->memory.starving;
    sim->memory.starving = false;
    tf_sim_nodes_down(sim);
    sim_disk_release(&store->disk);
    store->disk = left;
    store->broken = false;
    sim->down = sim->failed;
    if (sim->failed) {
        return;
    }
    sim->shards =
        sim->options.shards ? sim->options.shards : (unsigned)tf_sim_draw(sim, 1, TF_SIM_SHARDS);
    sim->now += tf_sim_draw(sim, 1, TF_SECOND);
    if (!tf_sim_nodes_start(sim)) {
        sim->down = true;
        tf_sim_fail(sim, "the broker does not start again");
    }
    sim->memory.starving = starving;
}

bool tf_sim_store_operate(struct tf_sim *sim)
{
    struct tf_sim_store *store = sim->store;
    if (!store) {
        return false;
    }
    if (store->broken || store->doomed == 1) {
        tf_sim_crash(sim);
        return true;
    }
    store->doomed -= store->doomed > 0;
    if (!store->doomed && tf_sim_chance(sim, 1, 80)) {
        if (tf_sim_chance(sim, 1, 2)) {
            tf_sim_crash(sim);
            return true;
        }
        store->doomed = (unsigned)tf_sim_draw(sim, 2, 6);
        store->stands_since = sim->now;
        store->still = sim->shards == 1 || tf_sim_chance(sim, 1, 2);
        if (!store->still) {
            unsigned shard = (unsigned)tf_sim_draw(sim, 0, sim->shards - 1);
            sim->nodes[shard].paused_until = TF_TIME_NEVER;
        }
        tf_sim_trace(sim, "%s stands still", store->still ? "the disk" : "a shard");
    }
    if (sim->memory.starving && tf_sim_chance(sim, 1, 20)) {
        tf_sim_store_fault(sim);
    }
    return false;
}

bool tf_sim_store_doomed(const struct tf_sim *sim)
{
    return sim->store && sim->store->doomed;
}

void tf_sim_store_calm(struct tf_sim *sim)
{
    if (sim->store && !sim->failed &&
        (sim->store->doomed || sim->options.starve || tf_sim_chance(sim, 1, 2))) {
        tf_sim_crash(sim);
    }
}
