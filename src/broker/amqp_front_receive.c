/*
 * Messages that come by AMQP: transfers become publications, tickets become dispositions, room
 * becomes credit.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "broker/address.h"
#include "broker/amqp_front_internal.h"

void tf_amqp_front_link_grant(struct amqp_link *link)
{
    uint32_t want = AMQP_CREDIT;
    uint32_t left = tf_amqp_link_credit_left(link->machine);
    if (link->kind < AMQP_LINK_PUBLISHER || link->attaching) {
        return;
    }
    if (link->producing) {
        want = TF_MIN(want, tf_named_room(&link->producer));
    }
    if (amqp_link_conn(link)->front->slow && link->kind != AMQP_LINK_MANAGEMENT) {
        want = 0;
    }
    if (left > want || left <= want / 2) {
        tf_amqp_link_credit(link->machine, want, false);
    }
}

void tf_amqp_front_incoming_drop(struct amqp_link *link)
{
    if (link->incoming) {
        tf_amqp_front_free(amqp_link_conn(link)->front, link->incoming, link->incoming_capacity);
        amqp_link_conn(link)->incoming -= link->incoming_capacity;
        link->incoming = NULL;
    }
    link->incoming_length = link->incoming_capacity = 0;
}

void tf_amqp_front_dispose(struct amqp_conn *conn, uint64_t delivery,
                           const struct tf_amqp_state *state, uint8_t kind)
{
    /* TF_NOT_FOUND: its link has ended meanwhile, and nobody wants to know */
    (void)tf_amqp_dispose(conn->machine, delivery, state, !(kind & AMQP_ANSWER_SECOND));
    tf_stream_touch(&conn->stream);
}

static void reject(struct amqp_conn *conn, uint64_t delivery, uint8_t kind,
                   enum tf_amqp_condition condition, const char *text)
{
    struct tf_amqp_state state = {.type = TF_AMQP_STATE_REJECTED,
                                  .error = tf_amqp_error_of(condition, text)};
    tf_amqp_front_dispose(conn, delivery, &state, kind);
}

/* Design: `released` when nothing took or stored it. */
bool tf_amqp_front_outcome(uint8_t kind, const struct tf_published *result,
                           struct tf_amqp_state *ret)
{
    const char *why = NULL;
    bool taken = result->taken || (kind & AMQP_ANSWER_TOPIC);
    *ret = (struct tf_amqp_state){.type = TF_AMQP_STATE_ACCEPTED};
    if (result->refused) {
        why = "a limit is reached";
    } else if (!taken && result->matched && (kind & AMQP_ANSWER_QUEUE)) {
        why = "the queue is full";
    } else if (!taken) {
        ret->type = TF_AMQP_STATE_RELEASED;
    }
    if (why) {
        ret->type = TF_AMQP_STATE_REJECTED;
        ret->error = tf_amqp_error_of(TF_AMQP_RESOURCE_LIMIT_EXCEEDED, why);
    }
    return ret->type == TF_AMQP_STATE_ACCEPTED;
}

/* Says what became of a publication. */
static void tell(struct amqp_conn *conn, uint64_t delivery, uint8_t kind,
                 const struct tf_published *result)
{
    struct tf_amqp_state state;
    if (tf_amqp_front_outcome(kind, result, &state)) {
        tf_stream_need(&conn->stream, result->stored);
    }
    tf_amqp_front_dispose(conn, delivery, &state, kind);
}

/* Opens or closes the windows of all sessions: tickets are what we owe the peer. */
static void widen(struct amqp_conn *conn)
{
    bool narrow = conn->open_tickets >= (conn->narrow ? AMQP_TICKETS_MAX / 2 : AMQP_TICKETS_MAX);
    struct tf_list_node *node;
    if (narrow == conn->narrow) {
        return;
    }
    conn->narrow = narrow;
    for (node = tf_list_first(&conn->sessions); node; node = tf_list_next(&conn->sessions, node)) {
        tf_amqp_session_window(tf_container_of(node, struct amqp_session, in_conn)->machine,
                               narrow ? 0 : AMQP_WINDOW);
    }
}

void tf_amqp_front_tickets_less(struct amqp_conn *conn)
{
    widen(conn);
    if (conn->stalled) {
        tf_amqp_front_conn_touch(conn);
    }
}

void tf_amqp_front_answered(struct tf_ticket_owner *owner, uint64_t tag,
                            const struct tf_published *result)
{
    struct amqp_answers *answers = tf_container_of(owner, struct amqp_answers, tickets);
    struct amqp_conn *conn = answers->conn;
    conn->open_tickets--;
    (void)tf_amqp_front_conn_lend(conn, TF_FRONT_BUFFER_SIZE);
    tell(conn, tag, answers->kind, result);
    tf_amqp_front_tickets_less(conn);
}

/* Where a publication goes. */
struct destination {
    struct amqp_link *link;   /* by which it came */
    enum amqp_link_kind kind; /* PUBLISHER or PRODUCER */
    struct tf_named_producer *producer;
    struct tf_bytes queue; /* without a producer */
};

/* tf_envelope.slack of a message for an address that the link is attached to, or `to` names. */
static uint8_t slack_of(struct amqp_link *link, struct tf_bytes address)
{
    const struct amqp_conn *conn = amqp_link_conn(link);
    const struct amqp_front *front = conn->front;
    const struct tf_config *config = front->context.config;
    if (!front->shard->config.store || conn->listener >= config->listener_count) {
        return 0;
    }
    if (link->kind == AMQP_LINK_ANONYMOUS) {
        return tf_durability_slack(config, conn->listener, address);
    }
    if (link->slack_of != front->generation) {
        link->slack = tf_durability_slack(config, conn->listener, address);
        link->slack_of = front->generation;
    }
    return link->slack;
}

/* Hands a publication to the routing and answers it, now or when its ticket ends. */
static void publish(struct amqp_conn *conn, struct tf_publication *publication,
                    const struct destination *to, uint64_t delivery, bool settled, uint8_t kind)
{
    struct tf_shard *shard = conn->front->shard;
    struct tf_ticket_owner *owner = settled ? NULL : &conn->answers[kind].tickets;
    struct tf_published result = {0};
    struct amqp_note *note = NULL;
    uint64_t tag = delivery;
    enum tf_err err;
    if (!settled && to->link->ledger) {
        note = tf_amqp_front_note(to->link, delivery, kind);
        if (!note) {
            reject(conn, delivery, kind, TF_AMQP_RESOURCE_LIMIT_EXCEEDED, "no memory");
            return;
        }
        owner = &to->link->ledger->tickets;
        tag = (uint64_t)(uintptr_t)note;
    }
    if (to->kind == AMQP_LINK_PUBLISHER) {
        err = tf_shard_publish(shard, publication, owner, tag, &result);
    } else if (to->producer) {
        err = tf_named_produce(to->producer, publication, owner, tag, &result);
    } else {
        err = tf_shard_enqueue(shard, to->queue, publication, owner, tag, &result);
    }
    if (err == TF_AGAIN) {
        conn->open_tickets++;
        if (note) {
            tf_amqp_front_note_waits(note);
        }
        widen(conn);
        return;
    }
    if (err) {
        result = (struct tf_published){.refused = true};
        conn->front->front.counters.publish_dropped++;
    }
    if (note) {
        tf_amqp_front_noted(note, &result);
    } else if (!settled) {
        tell(conn, delivery, kind, &result);
    }
}

/* A message for whatever `to` says (anonymous terminus). False: it names nothing. */
static bool by_to(struct amqp_conn *conn, const struct tf_amqp_message *message,
                  struct destination *ret_to, struct tf_bytes *ret_address, uint8_t *ret_kind)
{
    struct tf_bytes text = message->properties.to;
    uint8_t *buffer = tf_amqp_front_scratch(conn->front, AMQP_SCRATCH_NAMES, text.length + 1);
    enum tf_mapping_node node;
    if (!buffer || !message->properties.has_to ||
        tf_mapping_amqp_address(text, false, buffer, &node, ret_address) ||
        !tf_address_open(*ret_address)) {
        return false;
    }
    bool queue = node == TF_NODE_QUEUE;
    *ret_to = (struct destination){.link = ret_to->link,
                                   .kind = queue ? AMQP_LINK_PRODUCER : AMQP_LINK_PUBLISHER,
                                   .queue = *ret_address};
    *ret_kind |= node == TF_NODE_TOPIC ? 0 : AMQP_ANSWER_QUEUE;
    return true;
}

/* A message has come whole. */
static void complete(struct amqp_link *link, uint64_t delivery, bool settled, struct tf_bytes in)
{
    struct amqp_conn *conn = amqp_link_conn(link);
    struct tf_front_counters *counters = &conn->front->front.counters;
    struct tf_amqp_message message;
    enum tf_amqp_condition condition;
    uint8_t scratch[TF_MAPPING_SCRATCH];
    uint8_t kind = link->answer;
    if (tf_amqp_message_read(in, &message, &condition)) {
        if (settled) { /* nobody would be told otherwise */
            tf_amqp_front_link_fail(link, condition, "the message is malformed");
        } else {
            reject(conn, delivery, kind, condition, "the message is malformed");
        }
        return;
    }
    if (link->kind == AMQP_LINK_MANAGEMENT) {
        tf_amqp_front_manage(link, delivery, settled, &message);
        return;
    }
    struct destination to = {.link = link, .kind = link->kind, .producer = &link->producer};
    struct tf_bytes address = amqp_link_address(link);
    if (link->kind == AMQP_LINK_ANONYMOUS && !by_to(conn, &message, &to, &address, &kind)) {
        if (!settled) {
            reject(conn, delivery, kind, TF_AMQP_INVALID_FIELD, "`to` is not an address");
        }
        return;
    }
    struct tf_bytes body;
    struct tf_publication publication = {.envelope = {.address = address,
                                                      .expires = TF_TIME_NEVER,
                                                      .qos = settled ? 0 : 1,
                                                      .slack = slack_of(link, address)},
                                         .body = &body,
                                         .body_count = 1};
    tf_mapping_from_amqp(&message, amqp_now(conn->front), scratch, &publication.envelope, &body);
    publication.body_count = body.length != 0;
    counters->publish_received++;
    counters->publish_bytes_received += body.length;
    publish(conn, &publication, &to, delivery, settled, kind);
    tf_publication_release(&publication);
}

/*
 * Appends a frame's payload to what has come of its message. False: no memory, or the connection
 * has too much of it: a peer may begin a message on each of its links.
 */
static bool append(struct amqp_link *link, struct tf_bytes payload)
{
    struct amqp_conn *conn = amqp_link_conn(link);
    struct amqp_front *front = conn->front;
    uint64_t longest = conn->servers->configs[conn->listener].max_message_size;
    size_t length = link->incoming_length + payload.length;
    if (length > link->incoming_capacity) {
        size_t capacity = TF_MAX(length, TF_MIN(2 * link->incoming_capacity, longest));
        uint64_t all = conn->incoming - link->incoming_capacity + capacity;
        uint8_t *incoming =
            all <= 2 * longest + AMQP_INCOMING_MORE ? tf_amqp_front_alloc(front, capacity) : NULL;
        if (!incoming) {
            return false;
        }
        if (link->incoming) {
            memcpy(incoming, link->incoming, link->incoming_length);
            tf_amqp_front_free(front, link->incoming, link->incoming_capacity);
        }
        link->incoming = incoming;
        link->incoming_capacity = capacity;
        conn->incoming = all;
    }
    if (payload.length) {
        memcpy(link->incoming + link->incoming_length, payload.data, payload.length);
    }
    link->incoming_length = length;
    return true;
}

static void on_part(struct amqp_link *link, const struct tf_amqp_event *event)
{
    if (event->first) {
        link->drop = false;
        tf_amqp_front_incoming_drop(link);
    }
    if (!link->drop && !append(link, event->payload)) {
        link->drop = true;
        tf_amqp_front_incoming_drop(link);
    }
    if (event->more) {
        return;
    }
    if (!link->drop) {
        complete(link, event->delivery, event->settled,
                 tf_bytes_of(link->incoming, link->incoming_length));
    } else if (!event->settled) {
        reject(amqp_link_conn(link), event->delivery, link->answer, TF_AMQP_RESOURCE_LIMIT_EXCEEDED,
               "too many messages at once");
    } else {
        amqp_link_conn(link)->front->front.counters.publish_dropped++;
    }
    tf_amqp_front_incoming_drop(link);
}

/* A delivery comes again that the ledger has: its payload is what came before. */
static void on_resumed(struct amqp_link *link, const struct tf_amqp_event *event)
{
    if (!event->more) {
        link->resuming = false;
        tf_amqp_front_ledger_resumed(link, event->delivery, event->settled || event->aborted);
    }
}

void tf_amqp_front_on_transfer(struct amqp_conn *conn, const struct tf_amqp_event *event)
{
    struct amqp_link *link = tf_amqp_link_user(event->link);
    (void)conn;
    if (link->kind == AMQP_LINK_NONE) {
        return; /* its link is ending */
    }
    if (link->ledger && event->first) {
        link->tag_length = (uint8_t)event->tag.length;
        if (event->tag.length) {
            memcpy(link->tag, event->tag.data, event->tag.length);
        }
        link->resuming = event->resume && tf_amqp_front_ledger_knows(link);
    }
    if (link->resuming) {
        on_resumed(link, event);
    } else if (event->aborted) {
        tf_amqp_front_incoming_drop(link);
    } else if (event->first && !event->more) {
        complete(link, event->delivery, event->settled, event->payload);
    } else {
        on_part(link, event);
    }
    if (!event->more && link->kind != AMQP_LINK_NONE) {
        if (link->ledger) {
            tf_amqp_front_ledger_came(link);
        }
        tf_amqp_front_link_grant(link);
    }
}

void tf_amqp_front_on_settled(const struct tf_amqp_event *event)
{
    struct amqp_link *link = tf_amqp_link_user(event->link);
    if (link->ledger) {
        tf_amqp_front_ledger_settled(link, event->delivery);
    }
}
