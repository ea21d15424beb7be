/*
 * Ledgers: what senders with a durable terminus have been told, or should have been (2.6.13).
 *
 * A sender whose connection is lost does not know what became of its last deliveries. If it asked
 * for a terminus that keeps unsettled state, this broker notes by their tags those that it has, for
 * as long as the sender may not know, and for a while after the link is gone. When the sender comes
 * back with its own map of unsettled deliveries, the answer says which of them are accepted; it
 * settles these, and sends the others again. So nothing is lost and nothing is twice.
 *
 *            came                 taken                         the sender knows, or settles, or
 *  (nothing) ----> PENDING ---------------------> ACCEPTED ---> does not come back: (nothing)
 *                     +-- not taken: (nothing)
 *
 * The note of what is accepted is recorded in the batch that the message is in, where its queues
 * are this shard's, so both are there after a restart, or neither. Where other shards have them, it
 * is recorded when they have answered: what a crash in between leaves is a message without a note,
 * which may come again; never a note without its message.
 *
 * How it is known what a sender knows. Mode second: it settles. Mode first: we have settled, and no
 * word follows; but whoever has used credit that was given after the outcome has seen the outcome,
 * which came before it. A sender never has more than AMQP_CREDIT, so twice as many deliveries later
 * the note can go.
 *
 * Invariants:
 *  1. A note is in `notes` or `told` of its ledger, in by_tag while `tagged`, in by_delivery while
 *     it has a delivery. One that is not tagged is PENDING: it only waits for its ticket.
 *  2. A ledger has a link, or it is in front->away, in order of `until`, and has a tagged note.
 *  3. front->notes_away is the sum of their away_count.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "broker/amqp_front_internal.h"

#include <trefoil/amqp_value.h>

#define GRACE_S 60u             /* that a link may be away */
#define AWAY_MAX 65536u         /* notes of links that are away, of a shard; then the oldest go */
#define HEARD (2 * AMQP_CREDIT) /* deliveries after which an outcome is known to have been seen */
#define STORED_VERSION 1u
#define FRAME_REST 512u /* of an attach without names, addresses and map, at most */

enum note_state { PENDING, ACCEPTED };

/* A delivery, by its tag. */
struct amqp_note {
    struct tf_tree_node by_tag;      /* ledger->by_tag, while `tagged` */
    struct tf_tree_node by_delivery; /* ledger->by_delivery, while `delivery` is not 0 */
    struct tf_list_node in_ledger; /* ledger->notes, or ledger->told: accepted and settled by us */
    struct amqp_ledger *ledger;
    uint64_t delivery; /* by which it is to be answered; 0: not now */
    uint32_t told_at;  /* ledger->received when it was answered */
    uint8_t state;     /* enum note_state */
    uint8_t kind;      /* enum amqp_answer, or-ed */
    bool tagged;       /* false: the sender has settled it; it only waits for its ticket */
    bool asked;        /* there was a ticket for it */
    bool open;         /* which counts for the link's connection */
    bool stored;       /* the store has it */
    bool listed;       /* in the map of the sender that attaches */
    uint8_t number[8]; /* `delivery`, as a key */
    uint8_t tag_length;
    uint8_t tag[TF_AMQP_TAG_MAX];
};

static struct amqp_note *note_of(struct tf_list_node *node)
{
    return tf_container_of(node, struct amqp_note, in_ledger);
}

static struct tf_bytes tag_of(const struct amqp_note *note)
{
    return tf_bytes_of(note->tag, note->tag_length);
}

/* ---- notes ---- */

/* The key of a note in the store, in the front's scratch. Empty: no memory. */
static struct tf_bytes stored_key(const struct amqp_note *note)
{
    const struct amqp_ledger *ledger = note->ledger;
    size_t length = ledger->key_length + note->tag_length;
    uint8_t *key = tf_amqp_front_scratch(ledger->front, AMQP_SCRATCH_NOTES, length);
    if (!key) {
        return (struct tf_bytes){NULL, 0};
    }
    memcpy(key, ledger->key, ledger->key_length);
    memcpy(key + ledger->key_length, note->tag, note->tag_length);
    return tf_bytes_of(key, length);
}

/*
 * Records an accepted delivery, if its message is recorded. Without room it is known until the
 * broker ends, and no longer.
 */
static void record(struct amqp_note *note, const struct tf_published *result)
{
    static const uint8_t value[] = {STORED_VERSION, TF_AMQP_STATE_ACCEPTED};
    struct amqp_ledger *ledger = note->ledger;
    struct tf_store_client *store = ledger->front->shard->config.store;
    struct tf_bytes key = {NULL, 0};
    if (ledger->level != TF_STORE_MEMORY && (result->stored || note->asked)) {
        key = stored_key(note);
    }
    if (key.length == 0 || tf_store_reserve(store, key.length + sizeof(value))) {
        return;
    }
    tf_store_put(store, (enum tf_store_level)ledger->level, TF_STORED_TRANSFER, key,
                 tf_bytes_of(value, sizeof(value)), NULL);
    note->stored = true;
}

static void unbind(struct amqp_note *note)
{
    if (note->delivery) {
        tf_tree_remove(&note->ledger->by_delivery, &note->by_delivery);
        note->delivery = 0;
    }
}

static void bind(struct amqp_note *note, uint64_t delivery)
{
    unbind(note);
    for (size_t i = 0; i < sizeof(note->number); i++) {
        note->number[i] = (uint8_t)(delivery >> (56 - 8 * i));
    }
    note->delivery = delivery;
    (void)tf_tree_insert(&note->ledger->by_delivery, &note->by_delivery,
                         tf_bytes_of(note->number, sizeof(note->number)));
}

/* Its tag means it no longer. */
static void untag(struct amqp_note *note)
{
    struct amqp_ledger *ledger = note->ledger;
    if (!note->tagged) {
        return;
    }
    if (note->stored) {
        struct tf_bytes key = stored_key(note);
        if (key.length) { /* else it goes when its ledger does, after a restart */
            tf_store_remove(ledger->front->shard->config.store, TF_STORE_OS, TF_STORED_TRANSFER,
                            key);
        }
        note->stored = false;
    }
    tf_tree_remove(&ledger->by_tag, &note->by_tag);
    note->tagged = false;
}

static void note_free(struct amqp_note *note)
{
    if (note->tagged) {
        tf_tree_remove(&note->ledger->by_tag, &note->by_tag);
    }
    unbind(note);
    tf_list_unlink(&note->in_ledger);
    tf_amqp_front_free(note->ledger->front, note, sizeof(*note));
}

/* The sender knows, or wants to know no more. */
static void forget(struct amqp_note *note)
{
    untag(note);
    unbind(note);
    if (note->state == ACCEPTED) {
        note_free(note);
    }
}

static struct amqp_note *note_find(const struct amqp_ledger *ledger, struct tf_bytes tag)
{
    struct tf_tree_node *node = tf_tree_find(&ledger->by_tag, tag);
    return node ? tf_container_of(node, struct amqp_note, by_tag) : NULL;
}

static struct amqp_note *note_new(struct amqp_ledger *ledger, struct tf_bytes tag)
{
    struct amqp_note *note = tf_amqp_front_alloc(ledger->front, sizeof(*note));
    if (!note) {
        return NULL;
    }
    memset(note, 0, sizeof(*note));
    note->ledger = ledger;
    note->tagged = true;
    note->tag_length = (uint8_t)tag.length;
    if (tag.length) {
        memcpy(note->tag, tag.data, tag.length);
    }
    (void)tf_tree_insert(&ledger->by_tag, &note->by_tag, tag_of(note));
    tf_list_push_back(&ledger->notes, &note->in_ledger);
    return note;
}

/* ---- ledgers ---- */

/* The key of a link's ledger; `writer` NULL: its length alone. */
static size_t write_key(struct tf_bytes container, struct tf_bytes name, struct tf_writer *writer)
{
    if (writer) {
        tf_write_u16(writer, (uint16_t)container.length);
        tf_write_bytes(writer, container);
        tf_write_u16(writer, (uint16_t)name.length);
        tf_write_bytes(writer, name);
    }
    return 4 + container.length + name.length;
}

static struct amqp_ledger *ledger_find(struct amqp_front *front, struct tf_bytes key)
{
    struct tf_tree_node *node = tf_tree_find(&front->ledgers, key);
    return node ? tf_container_of(node, struct amqp_ledger, by_key) : NULL;
}

static void answered(struct tf_ticket_owner *owner, uint64_t tag,
                     const struct tf_published *result);

static struct amqp_ledger *ledger_new(struct amqp_front *front, struct tf_bytes key)
{
    struct amqp_ledger *ledger = tf_amqp_front_alloc(front, sizeof(*ledger) + key.length);
    if (!ledger) {
        return NULL;
    }
    memset(ledger, 0, sizeof(*ledger));
    ledger->front = front;
    ledger->tickets.done = answered;
    ledger->key_length = (uint32_t)key.length;
    memcpy(ledger->key, key.data, key.length);
    tf_list_init(&ledger->tickets.tickets);
    tf_list_init(&ledger->notes);
    tf_list_init(&ledger->told);
    tf_tree_init(&ledger->by_tag, front->ledgers.random ^ (uintptr_t)ledger);
    tf_tree_init(&ledger->by_delivery, front->ledgers.random + (uintptr_t)ledger);
    (void)tf_tree_insert(&front->ledgers, &ledger->by_key,
                         tf_bytes_of(ledger->key, ledger->key_length));
    return ledger;
}

/* Frees a ledger; what the store has of it stays there. */
static void ledger_free(struct amqp_ledger *ledger)
{
    struct amqp_front *front = ledger->front;
    struct tf_list_node *node;
    tf_ticket_owner_release(&ledger->tickets);
    while ((node = tf_list_first(&ledger->notes)) || (node = tf_list_first(&ledger->told))) {
        note_free(note_of(node));
    }
    if (tf_list_linked(&ledger->away)) {
        tf_list_remove(&ledger->away);
        front->notes_away -= ledger->away_count;
    }
    tf_tree_remove(&front->ledgers, &ledger->by_key);
    tf_amqp_front_free(front, ledger, sizeof(*ledger) + ledger->key_length);
}

/* Forgets all that is noted. */
static void ledger_drop(struct amqp_ledger *ledger)
{
    struct tf_tree_node *node;
    while ((node = tf_tree_first(&ledger->by_tag))) {
        forget(tf_container_of(node, struct amqp_note, by_tag));
    }
    ledger_free(ledger);
}

/* Nobody is attached: it waits for a while. */
static void wait_for_sender(struct amqp_ledger *ledger)
{
    struct amqp_front *front = ledger->front;
    struct tf_list_node *node;
    ledger->until = tf_time_add(amqp_now(front), GRACE_S * TF_SECOND);
    ledger->away_count = ledger->by_tag.count;
    front->notes_away += ledger->away_count;
    tf_list_push_back(&front->away, &ledger->away);
    while (front->notes_away > AWAY_MAX && (node = tf_list_first(&front->away)) != &ledger->away) {
        ledger_drop(tf_container_of(node, struct amqp_ledger, away));
    }
    if (!tf_timer_armed(&front->grace.timer)) {
        tf_timers_arm(&front->shard->timers, &front->grace.timer, ledger->until);
    }
}

void tf_amqp_front_ledgers_expire(struct amqp_front *front)
{
    struct tf_list_node *node;
    while ((node = tf_list_first(&front->away))) {
        struct amqp_ledger *ledger = tf_container_of(node, struct amqp_ledger, away);
        if (ledger->until > amqp_now(front)) {
            tf_timers_arm(&front->shard->timers, &front->grace.timer, ledger->until);
            return;
        }
        ledger_drop(ledger);
    }
}

void tf_amqp_front_ledgers_release(struct amqp_front *front)
{
    struct tf_tree_node *node;
    while ((node = tf_tree_first(&front->ledgers))) {
        ledger_free(tf_container_of(node, struct amqp_ledger, by_key));
    }
    tf_timers_cancel(&front->shard->timers, &front->grace.timer);
}

/* Its ticket is no longer the connection's affair. */
static void discount(struct amqp_note *note, struct amqp_conn *conn)
{
    if (note->open) {
        note->open = false;
        conn->open_tickets--;
    }
}

void tf_amqp_front_ledger_leave(struct amqp_link *link, bool closed)
{
    struct amqp_ledger *ledger = link->ledger;
    struct tf_list_node *node, *next;
    if (!ledger) {
        return;
    }
    link->ledger = NULL;
    ledger->link = NULL;
    while ((node = tf_list_pop_front(&ledger->told))) {
        tf_list_push_back(&ledger->notes, node);
    }
    for (node = tf_list_first(&ledger->notes); node; node = next) {
        next = tf_list_next(&ledger->notes, node);
        discount(note_of(node), amqp_link_conn(link));
        unbind(note_of(node));
    }
    if (!amqp_link_conn(link)->leaving) {
        tf_amqp_front_tickets_less(amqp_link_conn(link));
    }
    if (closed || ledger->by_tag.count == 0) {
        ledger_drop(ledger);
    } else {
        wait_for_sender(ledger);
    }
}

/* ---- the attach ---- */

/* Forgets what the sender does not list: it has settled that, or sends it as new. */
static void compare(struct amqp_ledger *ledger, const struct tf_amqp_attach *attach)
{
    struct tf_amqp_value map, key, value;
    struct tf_tree_node *node, *next;
    if (attach->unsettled.length && tf_amqp_value_of(attach->unsettled, &map) == TF_OK) {
        struct tf_amqp_items items = tf_amqp_items_of(&map);
        while (tf_amqp_pair_next(&items, &key, &value)) {
            struct amqp_note *note =
                key.type == TF_AMQP_BINARY ? note_find(ledger, key.bytes) : NULL;
            if (note) {
                note->listed = true;
            }
        }
    }
    for (node = tf_tree_first(&ledger->by_tag); node; node = next) {
        struct amqp_note *note = tf_container_of(node, struct amqp_note, by_tag);
        next = tf_tree_next(node);
        if (!note->listed && !attach->incomplete_unsettled) {
            forget(note);
        } else {
            note->listed = false;
        }
    }
}

/*
 * Writes what is noted: null for what is under way, which the sender may send again, to be answered
 * when it is known. False: not all of it had room.
 */
static bool write_map(const struct amqp_ledger *ledger, struct tf_writer *writer)
{
    static const struct tf_amqp_state accepted = {.type = TF_AMQP_STATE_ACCEPTED};
    const size_t longest = 2 + TF_AMQP_TAG_MAX + 8;
    size_t begin = tf_amqp_write_map_begin(writer);
    struct tf_tree_node *node = tf_tree_first(&ledger->by_tag);
    uint32_t count = 0;
    for (; node && (size_t)(writer->end - writer->next) >= longest + 8; node = tf_tree_next(node)) {
        const struct amqp_note *note = tf_container_of(node, struct amqp_note, by_tag);
        tf_amqp_write_binary(writer, tag_of(note));
        if (note->state == ACCEPTED) {
            tf_amqp_state_write(writer, &accepted);
        } else {
            tf_amqp_write_null(writer);
        }
        count += 2;
    }
    tf_amqp_write_map_end(writer, begin, count);
    return !node;
}

size_t tf_amqp_front_ledger_map(const struct amqp_link *link, uint8_t *buffer, size_t size,
                                bool *ret_incomplete)
{
    struct tf_writer writer = tf_writer_of(buffer, size);
    *ret_incomplete = !write_map(link->ledger, &writer);
    return writer.failed ? 0 : tf_writer_length(&writer);
}

size_t tf_amqp_front_ledger_room(const struct amqp_link *link, const struct tf_amqp_attach *attach)
{
    size_t frame = tf_amqp_peer_max_frame_size(amqp_link_conn(link)->machine);
    size_t rest = FRAME_REST + attach->name.length + attach->source.address.length +
                  attach->target.address.length;
    size_t all = 16 + link->ledger->by_tag.count * (TF_AMQP_TAG_MAX + 10) + TF_AMQP_TAG_MAX + 18;
    return link->ledger->by_tag.count == 0 || frame <= rest ? 0 : TF_MIN(all, frame - rest);
}

void tf_amqp_front_ledger_attach(struct amqp_link *link, const struct tf_amqp_attach *attach)
{
    struct amqp_conn *conn = amqp_link_conn(link);
    struct amqp_front *front = conn->front;
    struct tf_bytes container = {conn->container->id, conn->container->id_length};
    bool wanted = (attach->target.durable == TF_AMQP_DURABLE_UNSETTLED_STATE ||
                   attach->source.durable == TF_AMQP_DURABLE_UNSETTLED_STATE) &&
                  attach->snd_settle_mode != TF_AMQP_SND_SETTLED;
    size_t length = write_key(container, attach->name, NULL);
    if (attach->name.length > UINT16_MAX || (!wanted && front->ledgers.count == 0)) {
        return;
    }
    uint8_t *scratch = tf_amqp_front_scratch(front, AMQP_SCRATCH_NOTES, length);
    if (!scratch) {
        return;
    }
    struct tf_writer writer = tf_writer_of(scratch, length);
    (void)write_key(container, attach->name, &writer);
    struct tf_bytes key = tf_bytes_of(scratch, length);
    struct amqp_ledger *ledger = ledger_find(front, key);
    tf_assert(!ledger || !ledger->link); /* its name was taken from who had it */
    if (!wanted) {
        if (ledger) {
            ledger_drop(ledger);
        }
        return;
    }
    if (!ledger) {
        ledger = ledger_new(front, key);
    } else {
        tf_list_remove(&ledger->away);
        front->notes_away -= ledger->away_count;
        compare(ledger, attach);
    }
    if (ledger) {
        bool fits = length + TF_AMQP_TAG_MAX <= TF_JOURNAL_KEY_MAX;
        ledger->level = TF_STORE_MEMORY;
        if (front->shard->config.store && fits) {
            ledger->level = tf_durability_of_listener(front->context.config, conn->listener);
        }
        ledger->link = link;
        link->ledger = ledger;
    }
}

/* Says in the answer what the link's terminus is. */
void tf_amqp_front_ledger_describe(const struct amqp_link *link, struct tf_amqp_terminus *target)
{
    bool kept = link->ledger->level != TF_STORE_MEMORY;
    target->durable = kept ? TF_AMQP_DURABLE_UNSETTLED_STATE : TF_AMQP_DURABLE_NONE;
    target->expiry_policy = TF_AMQP_EXPIRY_LINK_DETACH;
    target->timeout_s = GRACE_S;
}

/* ---- deliveries ---- */

/* The sender has been told, and has settled or will not say a word about it. */
static void told(struct amqp_note *note)
{
    struct amqp_ledger *ledger = note->ledger;
    if (note->kind & AMQP_ANSWER_SECOND) {
        return; /* it will settle */
    }
    unbind(note);
    note->told_at = ledger->received;
    tf_list_remove(&note->in_ledger);
    tf_list_push_back(&ledger->told, &note->in_ledger);
}

/* Tells the sender that it is accepted. */
static void tell_accepted(struct amqp_note *note)
{
    static const struct tf_amqp_state accepted = {.type = TF_AMQP_STATE_ACCEPTED};
    struct amqp_conn *conn = amqp_link_conn(note->ledger->link);
    if (note->stored) {
        tf_stream_need(&conn->stream, tf_shard_recorded(conn->front->shard));
    }
    tf_amqp_front_dispose(conn, note->delivery, &accepted, note->kind);
    told(note);
}

struct amqp_note *tf_amqp_front_note(struct amqp_link *link, uint64_t delivery, uint8_t kind)
{
    struct tf_bytes tag = {link->tag, link->tag_length};
    struct amqp_note *note = note_find(link->ledger, tag);
    if (note) { /* the tag is used again, so the sender has settled what it was before */
        forget(note);
    }
    note = note_new(link->ledger, tag);
    if (note) {
        note->kind = kind;
        bind(note, delivery);
    }
    return note;
}

void tf_amqp_front_note_waits(struct amqp_note *note)
{
    note->asked = note->open = true;
}

void tf_amqp_front_noted(struct amqp_note *note, const struct tf_published *result)
{
    struct amqp_ledger *ledger = note->ledger;
    struct tf_amqp_state state;
    bool accepted = tf_amqp_front_outcome(note->kind, result, &state);
    if (accepted) {
        note->state = ACCEPTED;
        if (!note->tagged) {
            note_free(note);
            return;
        }
        record(note, result);
        if (note->delivery) {
            tf_stream_need(&amqp_link_conn(ledger->link)->stream, result->stored);
            tell_accepted(note);
        }
        return;
    }
    if (note->delivery) {
        struct amqp_conn *conn = amqp_link_conn(ledger->link);
        tf_stream_need(&conn->stream, result->stored);
        tf_amqp_front_dispose(conn, note->delivery, &state, note->kind);
    }
    note_free(note);
}

/* tf_ticket_owner.done. */
static void answered(struct tf_ticket_owner *owner, uint64_t tag, const struct tf_published *result)
{
    struct amqp_note *note = (struct amqp_note *)(uintptr_t)tag;
    struct amqp_ledger *ledger = tf_container_of(owner, struct amqp_ledger, tickets);
    struct amqp_conn *conn = ledger->link ? amqp_link_conn(ledger->link) : NULL;
    if (!conn) {
        tf_amqp_front_noted(note, result);
        if (ledger->by_tag.count == 0) {
            ledger_drop(ledger);
        }
        return;
    }
    bool counted = note->open;
    discount(note, conn);
    (void)tf_amqp_front_conn_lend(conn, TF_FRONT_BUFFER_SIZE);
    tf_amqp_front_noted(note, result);
    if (counted) {
        tf_amqp_front_tickets_less(conn);
    }
}

bool tf_amqp_front_ledger_knows(const struct amqp_link *link)
{
    return note_find(link->ledger, tf_bytes_of(link->tag, link->tag_length)) != NULL;
}

void tf_amqp_front_ledger_resumed(struct amqp_link *link, uint64_t delivery, bool settled)
{
    struct amqp_conn *conn = amqp_link_conn(link);
    struct amqp_note *note = note_find(link->ledger, tf_bytes_of(link->tag, link->tag_length));
    if (!note) {
        return; /* between its first frame and the last */
    }
    if (settled) {
        forget(note);
        return;
    }
    note->kind = link->answer;
    bind(note, delivery);
    if (note->state == ACCEPTED) {
        tell_accepted(note);
    } else if (!note->open) {
        note->open = true;
        conn->open_tickets++;
    }
}

void tf_amqp_front_ledger_came(struct amqp_link *link)
{
    struct amqp_ledger *ledger = link->ledger;
    struct tf_list_node *node;
    ledger->received++;
    while ((node = tf_list_first(&ledger->told)) &&
           ledger->received - note_of(node)->told_at > HEARD) {
        forget(note_of(node));
    }
}

void tf_amqp_front_ledger_settled(struct amqp_link *link, uint64_t delivery)
{
    uint8_t number[8];
    for (size_t i = 0; i < sizeof(number); i++) {
        number[i] = (uint8_t)(delivery >> (56 - 8 * i));
    }
    struct tf_tree_node *node =
        tf_tree_find(&link->ledger->by_delivery, tf_bytes_of(number, sizeof(number)));
    if (node) {
        forget(tf_container_of(node, struct amqp_note, by_delivery));
    }
}

uint32_t tf_amqp_front_ledger_open(const struct amqp_link *link)
{
    uint32_t open = 0;
    struct tf_list_node *node = link->ledger ? tf_list_first(&link->ledger->notes) : NULL;
    for (; node; node = tf_list_next(&link->ledger->notes, node)) {
        open += note_of(node)->open;
    }
    return open;
}

/* ---- at the start ---- */

enum tf_err tf_amqp_front_ledger_restore(struct amqp_front *front,
                                         const struct tf_stored_object *object)
{
    struct tf_reader reader = tf_reader_of(object->key);
    (void)tf_read_bytes16(&reader); /* container and link */
    (void)tf_read_bytes16(&reader);
    if (object->value.length != 2 || object->value.data[0] != STORED_VERSION ||
        object->value.data[1] != TF_AMQP_STATE_ACCEPTED || reader.failed ||
        tf_reader_left(&reader) > TF_AMQP_TAG_MAX) {
        return TF_PROTOCOL;
    }
    struct tf_bytes tag = tf_read_bytes(&reader, tf_reader_left(&reader));
    struct tf_bytes key = {object->key.data, object->key.length - tag.length};
    struct amqp_ledger *ledger = ledger_find(front, key);
    if (!ledger) {
        ledger = ledger_new(front, key);
        if (!ledger) {
            return TF_NO_MEMORY;
        }
        wait_for_sender(ledger);
    }
    struct amqp_note *note = note_find(ledger, tag) ? NULL : note_new(ledger, tag);
    if (!note) {
        return TF_NO_MEMORY;
    }
    note->state = ACCEPTED;
    note->stored = true;
    ledger->away_count++;
    front->notes_away++;
    return TF_OK;
}
