/*
 * Messages that go by AMQP: deliveries of a queue become transfers, dispositions become outcomes.
 *
 * A transfer is a header of its own, then what is the same for every receiver (`encoded`, or what
 * the mapping made of another protocol's message), then the body. Large ones go by reference: the
 * message is held until the machine gives it back.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "broker/amqp_front_internal.h"

/* What is given to the machine by reference when it is not a message as it lies in memory. */
struct rewritten {
    struct tf_message *message;
    size_t size; /* of the allocation */
    struct tf_bytes prefix;
    uint8_t bytes[];
};

#define REWRITTEN_BIT UINT64_C(1) /* in an owner; allocations are aligned */

static struct amqp_link *link_of(struct tf_named_consumer *consumer)
{
    return tf_container_of(consumer, struct amqp_link, consumer);
}

/* The sections before the body that every receiver gets. False: no memory. */
static bool prefix_of(struct amqp_front *front, struct tf_publication *publication,
                      struct tf_bytes *ret)
{
    const struct tf_envelope *envelope = &publication->envelope;
    if (envelope->origin == TF_PROTOCOL_AMQP) {
        *ret = envelope->encoded;
        return true;
    }
    struct tf_message *message = tf_publication_keep(publication, amqp_alloc(front));
    if (!message) {
        return false;
    }
    const struct tf_encoding *encoding = tf_message_encoding(message, TF_PROTOCOL_AMQP);
    if (!encoding) {
        size_t room = tf_mapping_amqp_room(envelope);
        uint8_t *scratch = tf_amqp_front_scratch(front, AMQP_SCRATCH_SECTIONS, room);
        if (scratch) {
            struct tf_writer writer = tf_writer_of(scratch, room);
            tf_mapping_to_amqp(envelope, tf_publication_length(publication), &writer);
            encoding = tf_message_attach(message, TF_PROTOCOL_AMQP,
                                         tf_bytes_of(scratch, tf_writer_length(&writer)));
        }
    }
    tf_message_unref(message); /* the publication has a count of its own */
    if (!encoding) {
        return false;
    }
    *ret = encoding->bytes;
    return true;
}

/* The prefix with what `modified` has added. NULL: no memory. */
static struct rewritten *rewrite(struct amqp_front *front, struct tf_bytes prefix,
                                 struct tf_bytes annotations)
{
    size_t room = prefix.length + annotations.length + 16;
    struct rewritten *rewritten = tf_amqp_front_alloc(front, sizeof(*rewritten) + room);
    if (rewritten) {
        struct tf_writer writer = tf_writer_of(rewritten->bytes, room);
        tf_mapping_amqp_annotate(prefix, annotations, &writer);
        *rewritten =
            (struct rewritten){.size = sizeof(*rewritten) + room,
                               .prefix = tf_bytes_of(rewritten->bytes, tf_writer_length(&writer))};
    }
    return rewritten;
}

static void rewritten_free(struct amqp_front *front, struct rewritten *rewritten)
{
    if (rewritten->message) {
        tf_message_unref(rewritten->message);
    }
    tf_amqp_front_free(front, rewritten, rewritten->size);
}

static size_t weight(uint64_t owner)
{
    if (owner & REWRITTEN_BIT) {
        const struct rewritten *rewritten =
            (const struct rewritten *)(uintptr_t)(owner & ~REWRITTEN_BIT);
        return rewritten->size + (rewritten->message ? rewritten->message->size : 0);
    }
    return ((const struct tf_message *)(uintptr_t)owner)->size;
}

static void owner_free(struct amqp_front *front, uint64_t owner)
{
    if (owner & REWRITTEN_BIT) {
        rewritten_free(front, (struct rewritten *)(uintptr_t)(owner & ~REWRITTEN_BIT));
    } else if (owner) {
        tf_message_unref((struct tf_message *)(uintptr_t)owner);
    }
}

void tf_amqp_front_on_returned(struct amqp_conn *conn, uint64_t owner)
{
    conn->borrowed -= weight(owner);
    owner_free(conn->front, owner);
}

/* Keeps the message of what is to be sent by reference. False: no memory. */
static bool refer(struct amqp_front *front, struct tf_publication *publication,
                  struct rewritten *rewritten, struct tf_amqp_sending *out)
{
    struct tf_message *message = tf_publication_keep(publication, amqp_alloc(front));
    if (!message) {
        return false;
    }
    /* which has the body in other pieces than the publication, and its own `encoded` */
    out->body = message->publication.body;
    out->body_count = message->publication.body_count;
    if (rewritten) {
        rewritten->message = message;
        out->owner = (uint64_t)(uintptr_t)rewritten | REWRITTEN_BIT;
        return true;
    }
    if (publication->envelope.origin == TF_PROTOCOL_AMQP) {
        out->prefix = message->publication.envelope.encoded;
    }
    out->owner = (uint64_t)(uintptr_t)message;
    return true;
}

void tf_amqp_front_link_block(struct amqp_link *link)
{
    struct amqp_conn *conn = amqp_link_conn(link);
    if (!tf_list_linked(&link->blocked)) {
        tf_list_push_back(&conn->blocked, &link->blocked);
    }
}

static enum tf_err block(struct amqp_link *link)
{
    tf_amqp_front_link_block(link);
    return TF_AGAIN;
}

/* Hands a message to the machine, giving it what it asks for on the way. */
static enum tf_err send(struct amqp_link *link, const struct tf_amqp_sending *out, size_t length,
                        bool *ret_borrowed)
{
    struct amqp_conn *conn = amqp_link_conn(link);
    uint64_t delivery;
    bool lent = false;
    for (;;) {
        enum tf_err err = tf_amqp_send(link->machine, out, ret_borrowed, &delivery);
        if (err == TF_AGAIN && tf_amqp_front_conn_events(conn)) {
            continue; /* it had asked for a table, or told that a body is its owner's again */
        }
        if (err != TF_NO_MEMORY || lent) {
            return err;
        }
        lent = tf_amqp_front_conn_lend(conn, length + 1024);
        if (!lent) {
            tf_amqp_front_conn_starve(conn);
            return TF_AGAIN;
        }
    }
}

/* Fills what is to be sent of a delivery, but for what owns it. False: no memory. */
static bool prepare(struct amqp_link *link, const struct tf_named_delivery *delivery,
                    struct tf_writer *head, uint8_t tag[8], struct rewritten **ret_rewritten,
                    struct tf_amqp_sending *ret)
{
    struct amqp_front *front = amqp_link_conn(link)->front;
    struct tf_publication *publication = delivery->publication;
    struct tf_writer tag_writer = tf_writer_of(tag, 8);
    *ret_rewritten = NULL;
    if (!prefix_of(front, publication, &ret->prefix)) {
        return false;
    }
    if (delivery->annotations.length) {
        *ret_rewritten = rewrite(front, ret->prefix, delivery->annotations);
        if (!*ret_rewritten) {
            return false;
        }
        ret->prefix = (*ret_rewritten)->prefix;
    }
    tf_write_u64(&tag_writer, link->next_tag);
    tf_mapping_amqp_header(&publication->envelope, amqp_now(front), delivery->attempts,
                           !delivery->acquired_before, head);
    ret->handle = delivery->handle;
    ret->tag = tf_bytes_of(tag, 8);
    ret->head = tf_bytes_of(head->start, tf_writer_length(head));
    ret->body = publication->body;
    ret->body_count = publication->body_count;
    ret->settled = delivery->handle == 0;
    return true;
}

static enum tf_err deliver(struct tf_named_consumer *consumer,
                           const struct tf_named_delivery *delivery)
{
    struct amqp_link *link = link_of(consumer);
    struct amqp_conn *conn = amqp_link_conn(link);
    struct amqp_front *front = conn->front;
    struct tf_publication *publication = delivery->publication;
    uint8_t header[TF_MAPPING_HEADER_MAX], tag[8];
    struct tf_writer head = tf_writer_of(header, sizeof(header));
    struct tf_amqp_sending out = {.owner = 0};
    struct rewritten *rewritten;
    if (link->attaching || link->kind != AMQP_LINK_CONSUMER ||
        tf_amqp_link_credit_left(link->machine) == 0) {
        return TF_AGAIN; /* until a flow comes */
    }
    if (conn->leaving || conn->borrowed >= AMQP_BORROWED_MAX) {
        return block(link);
    }
    if (!tf_amqp_front_conn_lend(conn, TF_FRONT_BUFFER_SIZE) ||
        !prepare(link, delivery, &head, tag, &rewritten, &out)) {
        tf_amqp_front_conn_starve(conn);
        return block(link);
    }
    size_t length = tf_publication_length(publication) + out.prefix.length + out.head.length;
    bool fits = length < AMQP_REFERENCE_FROM && length + 64 <= TF_AMQP_MIN_MAX_FRAME_SIZE;
    enum tf_err err = TF_AGAIN;
    bool borrowed = false;
    if ((fits && out.body_count <= 1) || refer(front, publication, rewritten, &out)) {
        err = send(link, &out, length, &borrowed);
    } else {
        tf_amqp_front_conn_starve(conn);
    }
    if (borrowed) {
        conn->borrowed += weight(out.owner);
    } else if (out.owner) {
        owner_free(front, out.owner);
    } else if (rewritten) {
        rewritten_free(front, rewritten);
    }
    if (err == TF_OK) {
        link->next_tag++;
        front->front.counters.publish_sent++;
        front->front.counters.publish_bytes_sent += length;
        tf_stream_touch(&conn->stream);
        return TF_OK;
    }
    return err == TF_LIMIT ? TF_LIMIT : block(link);
}

/* 2.6.7: the credit that was not used is given back. */
static void drained(struct tf_named_consumer *consumer)
{
    struct amqp_link *link = link_of(consumer);
    struct amqp_conn *conn = amqp_link_conn(link);
    if (link->draining) {
        link->draining = false;
        tf_amqp_link_drained(link->machine);
        tf_stream_touch(&conn->stream);
    }
}

static void deleted(struct tf_named_consumer *consumer)
{
    struct amqp_link *link = link_of(consumer);
    link->consuming = false;
    tf_amqp_front_link_fail(link, TF_AMQP_RESOURCE_DELETED, "the queue was deleted");
}

const struct tf_named_consumer_ops tf_amqp_front_consumer_ops = {
    .attached = tf_amqp_front_consumer_attached,
    .deliver = deliver,
    .drained = drained,
    .deleted = deleted};

/* The peer's flow for a link where we send. */
static void on_credit(struct amqp_link *link, const struct tf_amqp_event *event)
{
    if (!link->consuming) {
        return;
    }
    tf_amqp_link_available(link->machine, tf_named_available(&link->consumer));
    tf_named_credit(&link->consumer, event->credit);
    link->draining = event->drain && link->consuming;
    if (link->draining) {
        tf_named_drain(&link->consumer);
    }
}

void tf_amqp_front_on_flow(struct amqp_conn *conn, const struct tf_amqp_event *event)
{
    if (!tf_list_empty(&conn->blocked)) {
        tf_amqp_front_conn_touch(conn); /* the session's window may have opened */
    }
    if (!event->link) {
        return;
    }
    struct amqp_link *link = tf_amqp_link_user(event->link);
    if (tf_amqp_link_role(event->link) == TF_AMQP_SENDER) {
        on_credit(link, event);
    }
}

/* `modified` as the routing has it; the annotations are what the entry shall have from now on. */
static void on_modified(struct amqp_link *link, const struct tf_amqp_event *event,
                        struct tf_outcome *outcome)
{
    const struct tf_amqp_state *state = &event->state;
    struct amqp_front *front = amqp_link_conn(link)->front;
    outcome->type = TF_OUTCOME_MODIFIED;
    outcome->failed = state->delivery_failed;
    outcome->undeliverable_here = state->undeliverable_here;
    if (state->annotations.length == 0) {
        return;
    }
    struct tf_bytes old = tf_named_annotations(&link->consumer, event->handle);
    size_t room = old.length + state->annotations.length + 10;
    uint8_t *scratch = tf_amqp_front_scratch(front, AMQP_SCRATCH_NAMES, room);
    if (scratch) {
        struct tf_writer writer = tf_writer_of(scratch, room);
        if (tf_mapping_annotations_merge(old, state->annotations, &writer) == TF_OK) {
            outcome->annotations = tf_bytes_of(scratch, tf_writer_length(&writer));
        }
    }
}

void tf_amqp_front_on_outcome(struct amqp_conn *conn, const struct tf_amqp_event *event)
{
    struct amqp_link *link = tf_amqp_link_user(event->link);
    struct tf_outcome outcome = {.type = TF_OUTCOME_RELEASED};
    if (!link->consuming || event->handle == 0) {
        return; /* it was sent settled, or the queue has it back */
    }
    switch (event->state.type) {
    case TF_AMQP_STATE_ACCEPTED:
        outcome.type = TF_OUTCOME_ACCEPTED;
        break;
    case TF_AMQP_STATE_REJECTED:
        outcome.type = TF_OUTCOME_REJECTED;
        break;
    case TF_AMQP_STATE_MODIFIED:
        on_modified(link, event, &outcome);
        break;
    case TF_AMQP_STATE_RECEIVED:
        if (!event->settled) {
            return; /* 3.4.1: not terminal */
        }
        break;
    case TF_AMQP_STATE_RELEASED:
        break;
    default: /* the default outcome that we told: released (3.5.3) */
        if (!event->settled) {
            return;
        }
        break;
    }
    tf_named_settle(&link->consumer, event->handle, &outcome);
    if (!event->settled) { /* 2.6.12: the receiver waits for us to settle, and forgets it then */
        struct tf_amqp_state state = event->state;
        state.annotations = (struct tf_bytes){NULL, 0}; /* for them there may be no room */
        state.error = (struct tf_amqp_error){.condition = TF_AMQP_NO_ERROR};
        if (!link->fenced || !tf_amqp_front_fence_add(link, event->delivery, &state)) {
            (void)tf_amqp_settle(conn->machine, event->delivery, &state);
            tf_stream_need(&conn->stream, tf_shard_recorded(conn->front->shard));
        }
    }
    if (!tf_list_empty(&conn->blocked)) {
        tf_amqp_front_conn_touch(conn); /* one unsettled delivery less */
    }
}

void tf_amqp_front_unblock(struct amqp_conn *conn)
{
    struct tf_list waiting;
    struct tf_list_node *node;
    tf_list_init(&waiting);
    tf_list_splice_back(&waiting, &conn->blocked);
    while ((node = tf_list_pop_front(&waiting))) {
        struct amqp_link *link = tf_container_of(node, struct amqp_link, blocked);
        if (conn->stream.closing) {
            continue;
        }
        if (link->answering) {
            tf_amqp_front_link_answer(link);
        } else if (link->consuming) {
            tf_named_ready(&link->consumer);
        }
    }
}
