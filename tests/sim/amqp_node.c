/*
 * A shard's AMQP front, and what must hold of it and of the shard's named queues.
 */
#include "sim/amqp.h"

#include "base/assert.h"
#include "broker/amqp_front_internal.h"
#include "route/named_internal.h"

#include <string.h>

bool tf_sim_amqp_node_start(struct tf_sim_node *node, const struct tf_front_context *context)
{
    tf_queues_init(&node->queues, &node->shard, context->config, NULL);
    return tf_amqp_front_type.create(context, &node->amqp) == TF_OK;
}

tf_time tf_sim_amqp_node_next(const struct tf_sim_node *node)
{
    bool now = node->amqp && (node->amqp->again || !tf_list_empty(&node->amqp->dirty));
    return now ? node->sim->now : TF_TIME_NEVER;
}

static struct amqp_front *front_of(const struct tf_sim_node *node)
{
    return tf_container_of(node->amqp, struct amqp_front, front);
}

/* ---- what must hold ---- */

static bool check_conns(const struct amqp_front *front)
{
    struct tf_list_node *node = tf_list_first(&front->conns);
    bool good = tf_tree_check(&front->containers);
    for (; node && good; node = tf_list_next(&front->conns, node)) {
        const struct amqp_conn *conn = tf_container_of(node, struct amqp_conn, in_front);
        good = tf_amqp_check(conn->machine) &&
               (!conn->container || tf_tree_check(&conn->container->links));
    }
    return good;
}

void tf_sim_amqp_node_check(struct tf_sim_node *node, uint64_t *bytes, uint64_t *count)
{
    struct tf_list_node *i;
    if (!node->amqp) {
        return;
    }
    if (!check_conns(front_of(node))) {
        tf_sim_fail(node->sim, "shard %u: an invariant of AMQP's connections is broken",
                    node->shard.config.number);
    }
    const struct tf_list *all = &node->shard.named.all;
    for (i = tf_list_first(all); i; i = tf_list_next(all, i)) {
        const struct tf_named_queue *named = tf_container_of(i, struct tf_named_queue, in_all);
        *bytes += named->queue.bytes;
        *count += named->queue.count;
        node->sim->seen[TF_SIM_TAIL] += named->queue.kept && named->queue.kept->tail_count;
    }
}

/* ---- rest ---- */

/* True if a consumer is ready for an entry of its queue. */
static bool stalls(const struct tf_named_queue *named)
{
    struct tf_list_node *node = tf_list_first(&named->consumers);
    struct tf_list_node *at = tf_list_first(&named->queue.available);
    bool excludes = false;
    for (; at; at = tf_list_next(&named->queue.available, at)) {
        excludes |= tf_container_of(at, struct tf_named_entry, entry.node)->extra != NULL;
    }
    if (excludes || tf_named_nothing(named)) {
        return false; /* some are not for everybody */
    }
    for (; node; node = tf_list_next(&named->consumers, node)) {
        const struct tf_named_member *member =
            tf_container_of(node, struct tf_named_member, in_queue);
        if (!member->browse) {
            return true; /* there is no consumer without credit when this is called */
        }
    }
    return false;
}

void tf_sim_amqp_node_check_rest(struct tf_sim_node *node)
{
    const struct tf_list *all = &node->shard.named.all;
    struct tf_list_node *i;
    for (i = tf_list_first(all); i; i = tf_list_next(all, i)) {
        const struct tf_named_queue *named = tf_container_of(i, struct tf_named_queue, in_all);
        int length = (int)TF_MIN(named->name.length, 40u);
        if (stalls(named)) {
            tf_sim_fail(node->sim, "shard %u: %u messages wait in %.*s, and %u consumers for them",
                        node->shard.config.number, (unsigned)named->queue.count, length,
                        named->name.length ? (const char *)named->name.data : "",
                        named->status.consumers);
        } else if (named->acquired && !named->status.consumers) {
            tf_sim_fail(node->sim, "shard %u: nobody holds %u messages of %.*s",
                        node->shard.config.number, named->acquired, length,
                        named->name.length ? (const char *)named->name.data : "");
        }
    }
}

static unsigned place_of(struct tf_bytes name)
{
    unsigned i = 0;
    while (i < TF_SIM_AMQP_PLACES &&
           !tf_bytes_equal(name, tf_bytes_str(tf_sim_amqp_nodes[i].name))) {
        i++;
    }
    return i;
}

void tf_sim_amqp_node_restored(struct tf_sim_node *node)
{
    const struct tf_list *all = &node->shard.named.all;
    struct tf_sim_amqp *amqp = node->sim->amqp;
    for (struct tf_list_node *i = tf_list_first(all); i; i = tf_list_next(all, i)) {
        const struct tf_named_queue *named = tf_container_of(i, struct tf_named_queue, in_all);
        unsigned place = place_of(named->name);
        if (place < TF_SIM_AMQP_PLACES && named->queue.kept) {
            amqp->restored[place].id = named->queue.kept->id;
            amqp->restored[place].count = named->queue.count;
        }
    }
}

/* What came in has gone somewhere. */
static void check_account(struct tf_sim_node *node, const struct tf_named_queue *named)
{
    unsigned place = place_of(named->name);
    struct tf_queue_status status;
    tf_named_queue_status(named, &status);
    if (place < TF_SIM_AMQP_PLACES && named->queue.kept &&
        named->queue.kept->id == node->sim->amqp->restored[place].id) {
        status.enqueued += node->sim->amqp->restored[place].count;
    }
    uint64_t gone = status.settled + status.rejected + status.expired + status.messages;
    bool exact = place < TF_SIM_AMQP_PLACES && tf_sim_amqp_nodes[place].exact &&
                 gone + status.dropped != status.enqueued;
    if (exact || gone > status.enqueued || gone + status.dropped < status.enqueued) {
        tf_sim_fail(node->sim,
                    "shard %u: %.*s took %llu messages; %llu settled, %llu rejected, %llu expired, "
                    "%llu dropped, %llu left",
                    node->shard.config.number, (int)named->name.length,
                    (const char *)named->name.data, (unsigned long long)status.enqueued,
                    (unsigned long long)status.settled, (unsigned long long)status.rejected,
                    (unsigned long long)status.expired, (unsigned long long)status.dropped,
                    (unsigned long long)status.messages);
    }
    if (status.messages || status.consumers || status.producers ||
        !tf_list_empty(&named->letters) || !tf_list_empty(&named->posted)) {
        tf_sim_fail(
            node->sim, "shard %u: %.*s has %llu messages, %u consumers, %u producers in the end",
            node->shard.config.number, (int)named->name.length, (const char *)named->name.data,
            (unsigned long long)status.messages, status.consumers, status.producers);
    }
}

void tf_sim_amqp_node_check_empty(struct tf_sim_node *node)
{
    const struct tf_named_shard *all = &node->shard.named;
    const struct tf_front_counters *counters = &node->amqp->counters;
    unsigned number = node->shard.config.number;
    struct tf_list_node *i;
    for (i = tf_list_first(&all->all); i; i = tf_list_next(&all->all, i)) {
        const struct tf_named_queue *named = tf_container_of(i, struct tf_named_queue, in_all);
        if (named->private || named->dying) {
            tf_sim_fail(node->sim, "shard %u: a queue of nobody is left", number);
        } else {
            check_account(node, named);
        }
    }
    if (!tf_list_empty(&all->links) || !tf_list_empty(&all->guests) ||
        !tf_list_empty(&all->unsent) || !tf_list_empty(&all->commands) ||
        !tf_list_empty(&all->asleep) || !tf_list_empty(&all->letters.tickets)) {
        tf_sim_fail(node->sim, "shard %u: links, guests, mail or commands are left", number);
    }
    if (counters->sessions || counters->connected || counters->subscriptions) {
        tf_sim_fail(node->sim, "shard %u counts %llu containers, %llu connected, %llu receivers",
                    number, (unsigned long long)counters->sessions,
                    (unsigned long long)counters->connected,
                    (unsigned long long)counters->subscriptions);
    }
}
