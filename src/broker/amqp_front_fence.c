/*
 * Outcomes that wait for the disk of another shard.
 *
 * A receiver in mode second (2.6.12) says what became of a delivery, hears that this is settled,
 * and forgets it. So it may hear that only when the settlement is on disk. Where the queue is this
 * shard's the stream's gate sees to it. Where it is another's, the outcome goes there by mail, and
 * behind it a question that the home answers when all that it has recorded before is on disk: one
 * for all outcomes of a link in a turn.
 */
#include "base/mem.h"
#include "broker/amqp_front_internal.h"

#define OUTCOMES 64u /* of one fence */

struct outcome {
    uint64_t delivery;
    uint8_t type; /* enum tf_amqp_state_type */
    bool failed, undeliverable_here;
};

struct amqp_fence {
    struct tf_list_node in_conn; /* conn->fence_list */
    struct amqp_conn *conn;
    struct amqp_link *link; /* that still fills it; NULL: it is under way */
    uint32_t count;
    struct outcome outcomes[OUTCOMES];
};

static void fence_free(struct amqp_fence *fence)
{
    tf_list_remove(&fence->in_conn);
    tf_amqp_front_free(fence->conn->front, fence, sizeof(*fence));
}

/* Tells the receiver that they are settled; those whose link has gone are nobody's. */
static void settle(struct amqp_fence *fence)
{
    struct amqp_conn *conn = fence->conn;
    (void)tf_amqp_front_conn_lend(conn, TF_FRONT_BUFFER_SIZE);
    for (uint32_t i = 0; i < fence->count; i++) {
        const struct outcome *outcome = &fence->outcomes[i];
        struct tf_amqp_state state = {.type = (enum tf_amqp_state_type)outcome->type,
                                      .delivery_failed = outcome->failed,
                                      .undeliverable_here = outcome->undeliverable_here};
        (void)tf_amqp_settle(conn->machine, outcome->delivery, &state);
    }
    fence_free(fence);
    if (!tf_list_empty(&conn->blocked)) {
        tf_amqp_front_conn_touch(conn); /* fewer are unsettled */
    }
    tf_stream_touch(&conn->stream);
}

/* Sends the question; without memory for it the next turn does. */
static void begin(struct amqp_fence *fence)
{
    struct amqp_conn *conn = fence->conn;
    struct amqp_link *link = fence->link;
    struct tf_queue_command command = {
        .type = TF_QUEUE_STATUS, .name = amqp_link_address(link), .recorded = true};
    if (tf_shard_queue_command(conn->front->shard, &command, &conn->fences,
                               (uint64_t)(uintptr_t)fence)) {
        tf_amqp_front_conn_starve(conn);
        return;
    }
    fence->link = NULL;
    link->fence = NULL;
}

bool tf_amqp_front_fence_add(struct amqp_link *link, uint64_t delivery,
                             const struct tf_amqp_state *state)
{
    struct amqp_conn *conn = amqp_link_conn(link);
    if (link->fence && link->fence->count == OUTCOMES) {
        begin(link->fence);
    }
    if (!link->fence) {
        link->fence = tf_amqp_front_alloc(conn->front, sizeof(*link->fence));
        if (!link->fence) {
            return false;
        }
        *link->fence = (struct amqp_fence){.conn = conn, .link = link};
        tf_list_push_back(&conn->fence_list, &link->fence->in_conn);
    }
    if (link->fence->count == OUTCOMES) {
        return false;
    }
    link->fence->outcomes[link->fence->count++] =
        (struct outcome){.delivery = delivery,
                         .type = (uint8_t)state->type,
                         .failed = state->delivery_failed,
                         .undeliverable_here = state->undeliverable_here};
    tf_amqp_front_conn_touch(conn);
    return true;
}

void tf_amqp_front_fences_begin(struct amqp_conn *conn)
{
    struct tf_list_node *node, *next;
    for (node = tf_list_first(&conn->fence_list); node; node = next) {
        struct amqp_fence *fence = tf_container_of(node, struct amqp_fence, in_conn);
        next = tf_list_next(&conn->fence_list, node);
        if (fence->link) {
            begin(fence);
        }
    }
}

void tf_amqp_front_fence_leave(struct amqp_link *link)
{
    if (link->fence) {
        fence_free(link->fence);
        link->fence = NULL;
    }
}

void tf_amqp_front_fences_drop(struct amqp_conn *conn)
{
    struct tf_list_node *node;
    tf_command_owner_release(&conn->fences);
    while ((node = tf_list_first(&conn->fence_list))) {
        fence_free(tf_container_of(node, struct amqp_fence, in_conn));
    }
}

void tf_amqp_front_fenced(struct tf_command_owner *owner, uint64_t tag, enum tf_err err,
                          uint64_t count, const struct tf_queue_status *status)
{
    struct amqp_conn *conn = tf_container_of(owner, struct amqp_conn, fences);
    struct amqp_fence *fence = (struct amqp_fence *)(uintptr_t)tag;
    (void)count;
    (void)status;
    if (err == TF_CLOSED) {
        fence_free(fence);
        tf_amqp_front_conn_end(conn, TF_AMQP_INTERNAL_ERROR, "the store is broken");
        return;
    }
    settle(fence); /* a queue that has gone has settled everything */
}
