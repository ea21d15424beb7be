/*
 * What becomes of the messages of a named queue: pushed within the limits, settled one way or the
 * other, expired, dead.
 *
 * A dead message is published to the queue's dead-letter address, at the end of a turn, because no
 * route may be walked while another is. It is a letter until then: in a list of the queue, but no
 * part of its count. What has come by the dead-letter address itself, or has died too often, is
 * dropped instead, so that queues that are each other's dead letters come to an end.
 *
 * What the store keeps of a dead message goes when its letter has been answered for: by then the
 * letter is on disk, or part of the same batch.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "route/named_internal.h"

#define DEATHS_MAX 16u
#define LETTER_BUDGET 256u  /* published in one turn, beside as many as have come since the last */
#define EXPIRE_BUDGET 4096u /* dropped in one turn */

static struct tf_named_entry *entry_of(struct tf_list_node *node)
{
    return tf_container_of(node, struct tf_named_entry, entry.node);
}

static void count_death(struct tf_named_queue *named, enum tf_named_death death)
{
    struct tf_queue_counters *totals = named->queue.counters;
    switch (death) {
    case TF_DEATH_EXPIRED:
        named->status.expired++;
        totals->dropped_expired++;
        return;
    case TF_DEATH_REJECTED:
        named->status.rejected++;
        totals->settled++;
        return;
    case TF_DEATH_DROPPED:
        named->status.dropped++;
        totals->dropped_full++;
        return;
    }
}

/* True if a message goes to the dead-letter address: there is one, and it leads on. */
static bool mourned(const struct tf_named_queue *named, const struct tf_envelope *envelope)
{
    return named->spec.dead_letter.length && envelope->deaths < DEATHS_MAX &&
           !tf_bytes_equal(envelope->address, named->spec.dead_letter);
}

/* An entry that is in no list becomes a letter. */
static void make_letter(struct tf_named_queue *named, struct tf_named_entry *entry)
{
    named->status.dead_lettered++;
    named->fresh_letters++;
    tf_list_push_back(&named->letters, &entry->entry.node);
    tf_named_touch(named);
}

void tf_named_die(struct tf_named_queue *named, struct tf_named_entry *entry,
                  enum tf_named_death death)
{
    count_death(named, death);
    tf_named_remove(named, entry);
    if (mourned(named, &entry->entry.message->publication.envelope)) {
        make_letter(named, entry);
    } else {
        tf_kept_gone(&entry->entry);
        tf_named_entry_free(named->queue.shard->config.alloc, entry);
    }
}

bool tf_named_failed(struct tf_named_queue *named, struct tf_named_entry *entry)
{
    entry->entry.attempts += entry->entry.attempts < UINT16_MAX;
    if (named->spec.max_attempts && entry->entry.attempts >= named->spec.max_attempts) {
        tf_named_die(named, entry, TF_DEATH_DROPPED);
        return true;
    }
    return false;
}

void tf_named_outcome(struct tf_named_member *member, struct tf_named_entry *entry,
                      const struct tf_outcome *outcome)
{
    struct tf_named_queue *named = member->queue;
    tf_assert(entry->holder == member);
    switch (outcome->type) {
    case TF_OUTCOME_ACCEPTED:
        tf_named_settle_entry(named, entry);
        return;
    case TF_OUTCOME_REJECTED:
        entry->entry.attempts += entry->entry.attempts < UINT16_MAX;
        tf_named_die(named, entry, TF_DEATH_REJECTED);
        return;
    case TF_OUTCOME_MODIFIED:
        if (outcome->failed && tf_named_failed(named, entry)) {
            return;
        }
        if (outcome->annotations.length) {
            (void)tf_named_annotate(named, entry, outcome->annotations);
        }
        if (outcome->annotations.length || outcome->failed) {
            tf_named_record_change(named, entry);
        }
        named->status.released++;
        named->queue.counters->released++;
        if (outcome->undeliverable_here) {
            tf_named_never(named, member, entry);
        } else {
            tf_named_return(named, entry);
        }
        return;
    default: /* RELEASED */
        named->status.released++;
        named->queue.counters->released++;
        tf_named_return(named, entry);
        return;
    }
}

/* ---- pushing ---- */

/* True if an entry of `bytes` fits, by dropping others if the policy says so. */
static bool make_room(struct tf_named_queue *named, size_t bytes)
{
    const struct tf_queue_limits *limits = &named->spec.limits;
    struct tf_queue *queue = &named->queue;
    if (queue->count < limits->entries && queue->bytes + bytes <= limits->bytes) {
        return true;
    }
    if (bytes > limits->bytes || limits->entries == 0 || limits->overflow != TF_OVERFLOW_DROP_OLD) {
        return false;
    }
    tf_named_tidy(named);
    while (queue->count >= limits->entries || queue->bytes + bytes > limits->bytes) {
        struct tf_list_node *oldest = tf_list_first(&queue->available);
        if (!oldest && tf_named_tail(named)) {
            tf_kept_fill(queue);
            return true; /* they are dropped as they come: tf_named_trim */
        }
        if (!oldest) {
            return false; /* consumers hold all there is */
        }
        tf_named_die(named, entry_of(oldest), TF_DEATH_DROPPED);
    }
    return true;
}

void tf_named_trim(struct tf_named_queue *named)
{
    const struct tf_queue_limits *limits = &named->spec.limits;
    const struct tf_queue *queue = &named->queue;
    if (limits->overflow != TF_OVERFLOW_DROP_OLD) {
        return;
    }
    tf_named_tidy(named);
    while (queue->count > limits->entries || queue->bytes > limits->bytes) {
        struct tf_list_node *oldest = tf_list_first(&queue->available);
        if (!oldest) {
            tf_kept_fill(&named->queue);
            return;
        }
        tf_named_die(named, entry_of(oldest), TF_DEATH_DROPPED);
    }
}

/* An entry in no list. NULL: no memory. */
static struct tf_named_entry *new_entry(struct tf_named_queue *named,
                                        struct tf_publication *publication, bool retain)
{
    struct tf_shard *shard = named->queue.shard;
    const struct tf_alloc *alloc = shard->config.alloc;
    struct tf_message *message = tf_publication_keep(publication, alloc);
    struct tf_named_entry *entry = message ? alloc->alloc(alloc->ctx, sizeof(*entry)) : NULL;
    if (!entry) {
        if (message) {
            tf_message_unref(message);
        }
        return NULL;
    }
    tf_time ttl = named->spec.message_ttl;
    tf_time expires = ttl < TF_TIME_NEVER - shard->now ? shard->now + ttl : TF_TIME_NEVER;
    memset(entry, 0, sizeof(*entry));
    entry->entry.queue = &named->queue;
    entry->entry.message = message;
    entry->entry.qos = 1;
    entry->entry.attempts = publication->envelope.attempts;
    entry->entry.retain = retain;
    entry->timer.deadline = TF_MIN(expires, publication->envelope.expires);
    return entry;
}

/* What becomes of a new entry that does not fit. Returns as tf_named_push does. */
static enum tf_err without_room(struct tf_named_queue *named, struct tf_named_entry *entry,
                                enum tf_named_way way, uint8_t level)
{
    bool refuses = named->spec.limits.overflow == TF_OVERFLOW_REFUSE;
    bool returned = way == TF_WAY_MOVED || (way == TF_WAY_DIRECT && refuses);
    if (!returned) {
        count_death(named, TF_DEATH_DROPPED);
        if (!refuses && mourned(named, &entry->entry.message->publication.envelope)) {
            tf_named_record_letter(named, entry, level);
            make_letter(named, entry);
            return TF_OK;
        }
    }
    tf_named_entry_free(named->queue.shard->config.alloc, entry);
    return TF_LIMIT;
}

enum tf_err tf_named_push(struct tf_named_queue *named, struct tf_publication *publication,
                          bool retain, enum tf_named_way way)
{
    struct tf_list *ready = &named->queue.consumers;
    if (!tf_list_empty(ready) && !named->pumping && tf_named_nothing(named) &&
        tf_named_straight(named, publication, retain)) {
        return TF_OK;
    }
    struct tf_named_entry *entry = new_entry(named, publication, retain);
    if (!entry) {
        return TF_NO_MEMORY;
    }
    uint8_t level = TF_STORE_MEMORY;
    if (named->queue.kept &&
        tf_kept_reserve(&named->queue, entry->entry.message, &level) != TF_OK) {
        tf_named_entry_free(named->queue.shard->config.alloc, entry);
        return TF_NO_MEMORY;
    }
    if (!make_room(named, tf_named_charge(entry))) {
        return without_room(named, entry, way, level);
    }
    if (named->queue.kept && tf_kept_beyond(&named->queue)) {
        tf_named_record_tail(named, entry, level);
        tf_named_entry_free(named->queue.shard->config.alloc, entry);
    } else {
        tf_named_append(named, entry);
        tf_named_record(named, entry, level);
    }
    if (!tf_list_empty(ready) || !tf_list_empty(&named->browsers)) {
        tf_named_pump(named);
    }
    return TF_OK;
}

static enum tf_err push(struct tf_queue *queue, struct tf_publication *publication, bool retain)
{
    return tf_named_push(tf_container_of(queue, struct tf_named_queue, queue), publication, retain,
                         TF_WAY_BOUND);
}

/* Values have been read, or there are no more: whoever drains may have waited for that. */
static void drawn(struct tf_queue *queue)
{
    tf_named_touch(tf_container_of(queue, struct tf_named_queue, queue));
}

const struct tf_queue_ops tf_named_queue_ops = {.push = push, .drawn = drawn};

/* ---- dead letters ---- */

/* If it was the store that took no letter, the others wait, too, until it does. */
static void wait_for_store(struct tf_named_queue *named)
{
    struct tf_shard *shard = named->queue.shard;
    if (shard->config.store && tf_store_state(shard->config.store) >= TF_STORE_FULL &&
        !tf_list_linked(&named->unstored)) {
        tf_list_push_back(&shard->named.unstored, &named->unstored);
    }
}

/* A letter has been published: it is somewhere, or nobody wants it; or there was no memory. */
static void letter_done(struct tf_named_entry *entry, const struct tf_published *result)
{
    struct tf_named_queue *named =
        tf_container_of(entry->entry.queue, struct tf_named_queue, queue);
    tf_list_remove(&entry->entry.node);
    if (result->refused && !result->taken) {
        tf_list_push_front(&named->letters, &entry->entry.node);
        wait_for_store(named);
    } else {
        tf_kept_gone(&entry->entry);
        tf_named_entry_free(named->queue.shard->config.alloc, entry);
    }
}

void tf_named_letter_answered(struct tf_ticket_owner *owner, uint64_t tag,
                              const struct tf_published *result)
{
    struct tf_named_entry *entry = (struct tf_named_entry *)(uintptr_t)tag;
    (void)owner;
    tf_named_touch(tf_container_of(entry->entry.queue, struct tf_named_queue, queue));
    letter_done(entry, result);
}

bool tf_named_post_letters(struct tf_named_queue *named)
{
    struct tf_shard *shard = named->queue.shard;
    struct tf_list_node *node;
    if (!named->spec.dead_letter.length) {
        tf_named_drop_letters(named); /* it has been configured away */
    }
    if (tf_list_linked(&named->unstored)) {
        return tf_list_empty(&named->letters);
    }
    /* letters count nowhere, so there must not be more and more of them */
    uint64_t budget = (uint64_t)LETTER_BUDGET + named->fresh_letters;
    named->fresh_letters = 0;
    for (uint64_t i = 0; i < budget && (node = tf_list_first(&named->letters)); i++) {
        struct tf_named_entry *entry = entry_of(node);
        const struct tf_publication *dead = &entry->entry.message->publication;
        struct tf_publication letter = {
            .envelope = dead->envelope, .body = dead->body, .body_count = dead->body_count};
        struct tf_published result = {0};
        letter.envelope.address = named->spec.dead_letter;
        letter.envelope.expires = TF_TIME_NEVER;
        letter.envelope.retain = letter.envelope.clear = false;
        letter.envelope.attempts = entry->entry.attempts;
        letter.envelope.deaths++;
        enum tf_err err = tf_shard_publish(shard, &letter, &shard->named.letters,
                                           (uint64_t)(uintptr_t)entry, &result);
        tf_publication_release(&letter);
        if (err == TF_AGAIN) {
            tf_list_remove(node);
            tf_list_push_back(&named->posted, node);
            continue;
        }
        result.refused |= err == TF_NO_MEMORY;
        letter_done(entry, &result);
        if (result.refused) {
            break; /* there may be memory in the next turn */
        }
    }
    return tf_list_empty(&named->letters);
}

void tf_named_drop_letters(struct tf_named_queue *named)
{
    struct tf_list_node *node;
    while ((node = tf_list_pop_front(&named->letters))) {
        tf_kept_gone(&entry_of(node)->entry);
        tf_named_entry_free(named->queue.shard->config.alloc, entry_of(node));
    }
}

/* ---- time ---- */

void tf_named_expire(struct tf_shard *shard)
{
    struct tf_timer *timer;
    unsigned left = EXPIRE_BUDGET;
    while (left && (timer = tf_timers_expire(&shard->named.entries, shard->now))) {
        struct tf_named_entry *entry = tf_container_of(timer, struct tf_named_entry, timer);
        tf_named_die(tf_container_of(entry->entry.queue, struct tf_named_queue, queue), entry,
                     TF_DEATH_EXPIRED);
        left--;
    }
    shard->named.expiring = left == 0;
    while ((timer = tf_timers_expire(&shard->named.idle, shard->now))) {
        struct tf_named_queue *named = tf_container_of(timer, struct tf_named_queue, idle);
        if (tf_named_idle(named)) { /* what a restart has brought may have come after its timer */
            tf_named_delete(named);
        }
    }
}
