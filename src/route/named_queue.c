/*
 * A named queue's entries: how they come, who gets them, what becomes of them. The invariants are
 * in named_internal.h; limits, expiry and dead letters are in named_entry.c.
 *
 * Only tf_named_pump gives entries to members, but for one short way: what finds nothing waiting
 * and a ready consumer that settles at once goes to it without an entry. While a consumer is being
 * called `pumping` is set; whatever it does then waits in lists and is looked at again.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "route/named_internal.h"

static struct tf_named_entry *entry_of(struct tf_list_node *node)
{
    return tf_container_of(node, struct tf_named_entry, entry.node);
}

static struct tf_named_entry *first_available(const struct tf_named_queue *named)
{
    struct tf_list_node *node = tf_list_first(&named->queue.available);
    return node ? entry_of(node) : NULL;
}

static struct tf_named_entry *next_available(const struct tf_named_queue *named,
                                             const struct tf_named_entry *entry)
{
    struct tf_list_node *node = tf_list_next(&named->queue.available, &entry->entry.node);
    return node ? entry_of(node) : NULL;
}

bool tf_named_nothing(const struct tf_named_queue *named)
{
    return tf_list_empty(&named->queue.available) && tf_list_empty(&named->returned) &&
           !tf_named_tail(named);
}

/* ---- cursors ---- */

static void rest(struct tf_named_member *member, struct tf_named_entry *entry)
{
    member->after = entry;
    if (entry) {
        entry->entry.marked = true;
    }
}

static bool excluded(const struct tf_named_entry *entry, const struct tf_named_member *member)
{
    const struct tf_named_extra *extra = entry->extra;
    for (uint32_t i = 0; extra && i < extra->count; i++) {
        if (extra->not_for[i] == member->number) {
            return true;
        }
    }
    return false;
}

/* An entry on which cursors may rest leaves `available`. */
static void move_cursors(struct tf_named_queue *named, struct tf_named_entry *entry)
{
    struct tf_list_node *before = tf_list_prev(&named->queue.available, &entry->entry.node);
    struct tf_list_node *node = tf_list_first(&named->cursors);
    for (; node; node = tf_list_next(&named->cursors, node)) {
        struct tf_named_member *member = tf_container_of(node, struct tf_named_member, cursor);
        if (member->after == entry) {
            rest(member, before ? entry_of(before) : NULL);
        }
    }
    entry->entry.marked = false;
}

/*
 * An entry has come into `available`, perhaps before cursors that must not miss it. Those of
 * browsers, which may be many, cannot: they have seen all that is before them.
 */
static void look_back(struct tf_named_queue *named, struct tf_named_entry *entry)
{
    struct tf_list_node *before = tf_list_prev(&named->queue.available, &entry->entry.node);
    struct tf_list_node *node = tf_list_first(&named->cursors);
    for (; node; node = tf_list_next(&named->cursors, node)) {
        struct tf_named_member *member = tf_container_of(node, struct tf_named_member, cursor);
        if (!member->browse && member->after &&
            member->after->entry.position > entry->entry.position && !excluded(entry, member)) {
            rest(member, before ? entry_of(before) : NULL);
        }
    }
}

/* The next entry that a member may have; NULL: none is there. */
static struct tf_named_entry *candidate(const struct tf_named_queue *named,
                                        struct tf_named_member *member)
{
    if (!tf_list_linked(&member->cursor)) {
        return first_available(named);
    }
    struct tf_named_entry *entry =
        member->after ? next_available(named, member->after) : first_available(named);
    while (entry &&
           (member->browse ? entry->entry.position < member->seen : excluded(entry, member))) {
        rest(member, entry);
        entry = next_available(named, entry);
    }
    return entry;
}

/* ---- the lists of entries ---- */

static void show(struct tf_named_queue *named, struct tf_named_entry *entry)
{
    entry->entry.state = TF_ENTRY_AVAILABLE;
    if (entry->timer.deadline != TF_TIME_NEVER) {
        tf_timers_arm(&named->queue.shard->named.entries, &entry->timer, entry->timer.deadline);
    }
}

/* Takes an entry out of whatever list it is in. */
static void unlist(struct tf_named_queue *named, struct tf_named_entry *entry)
{
    if (entry->entry.state == TF_ENTRY_ACQUIRED) {
        named->acquired--;
    } else {
        if (entry->entry.marked) {
            move_cursors(named, entry);
        }
        tf_timers_cancel(&named->queue.shard->named.entries, &entry->timer);
    }
    entry->holder = NULL;
    tf_list_remove(&entry->entry.node);
}

void tf_named_acquire(struct tf_named_queue *named, struct tf_named_entry *entry,
                      struct tf_named_member *holder, struct tf_list *list)
{
    unlist(named, entry);
    entry->entry.state = TF_ENTRY_ACQUIRED;
    entry->holder = holder;
    named->acquired++;
    tf_list_push_back(list, &entry->entry.node);
}

void tf_named_return(struct tf_named_queue *named, struct tf_named_entry *entry)
{
    struct tf_list_node *last = tf_list_last(&named->returned);
    tf_assert(entry->entry.state == TF_ENTRY_ACQUIRED);
    unlist(named, entry);
    named->unsorted |= last && entry_of(last)->entry.position > entry->entry.position;
    tf_list_push_back(&named->returned, &entry->entry.node);
    show(named, entry);
    tf_named_touch(named);
}

/* Merges two chains of nodes, ordered by position and linked by `next` alone. */
static struct tf_list_node *merge(struct tf_list_node *a, struct tf_list_node *b)
{
    struct tf_list_node head = {NULL, NULL};
    struct tf_list_node *last = &head;
    while (a && b) {
        bool first = entry_of(a)->entry.position < entry_of(b)->entry.position;
        struct tf_list_node **from = first ? &a : &b;
        last->next = *from;
        last = *from;
        *from = last->next;
    }
    last->next = a ? a : b;
    return head.next;
}

/* Sorts `returned`: a merge sort from below, runs of 2^n nodes in slot n. */
static void sort(struct tf_named_queue *named)
{
    struct tf_list_node *runs[48] = {NULL};
    struct tf_list_node *node;
    while ((node = tf_list_pop_front(&named->returned))) {
        unsigned slot = 0;
        for (; runs[slot]; slot++) {
            node = merge(runs[slot], node);
            runs[slot] = NULL;
        }
        runs[slot] = node;
    }
    for (unsigned slot = 0; slot < TF_COUNT(runs); slot++) {
        node = runs[slot] ? merge(runs[slot], node) : node;
    }
    while (node) {
        struct tf_list_node *next = node->next;
        node->prev = node->next = NULL;
        tf_list_push_back(&named->returned, node);
        node = next;
    }
    named->unsorted = false;
}

/*
 * The first available entry behind `position`, looked for from `from` (NULL: the first) onwards
 * and from the end at once, whichever is nearer; the list's head if there is none.
 */
static struct tf_list_node *place(struct tf_named_queue *named, struct tf_list_node *from,
                                  uint64_t position)
{
    struct tf_list *list = &named->queue.available;
    struct tf_list_node *ahead = from ? from : list->head.next;
    struct tf_list_node *behind = &list->head;
    for (;;) {
        if (ahead == &list->head || entry_of(ahead)->entry.position > position) {
            return ahead;
        }
        ahead = ahead->next;
        if (behind->prev == &list->head || entry_of(behind->prev)->entry.position < position) {
            return behind;
        }
        behind = behind->prev;
    }
}

void tf_named_tidy(struct tf_named_queue *named)
{
    struct tf_list_node *where = NULL;
    struct tf_list_node *node;
    if (tf_list_empty(&named->returned)) {
        return;
    }
    if (named->unsorted) {
        sort(named);
    }
    while ((node = tf_list_pop_front(&named->returned))) {
        where = place(named, where, entry_of(node)->entry.position);
        tf_list_insert_before(where, node);
        if (named->choosers) {
            look_back(named, entry_of(node));
        }
    }
}

/* ---- coming and going ---- */

static size_t charge_of(const struct tf_named_entry *entry)
{
    size_t charge = sizeof(*entry) + entry->entry.message->size;
    if (entry->extra) {
        charge += sizeof(*entry->extra) + entry->extra->annotations.length +
                  entry->extra->capacity * sizeof(uint64_t);
    }
    return charge;
}

uint64_t tf_named_charge(const struct tf_named_entry *entry)
{
    return charge_of(entry);
}

static void charge(struct tf_named_queue *named, const struct tf_named_entry *entry)
{
    size_t bytes = charge_of(entry);
    named->queue.count++;
    named->queue.bytes += bytes;
    named->queue.shard->queued_count++;
    named->queue.shard->queued_bytes += bytes;
}

static void uncharge(struct tf_named_queue *named, const struct tf_named_entry *entry)
{
    size_t bytes = charge_of(entry);
    named->queue.count--;
    named->queue.bytes -= bytes;
    named->queue.shard->queued_count--;
    named->queue.shard->queued_bytes -= bytes;
}

void tf_named_changed(struct tf_named_queue *named)
{
    if (!tf_list_empty(&named->producers)) {
        const struct tf_queue_limits *limits = &named->spec.limits;
        bool full = tf_named_queue_room(named) == 0;
        if (named->full && !full) {
            full = named->queue.count > limits->entries - limits->entries / 4 ||
                   named->queue.bytes > limits->bytes - limits->bytes / 4;
        }
        if (full != named->full) {
            named->full = full;
            named->full_known = false;
            tf_named_touch(named);
        }
    }
    if (named->spec.idle != TF_TIME_NEVER && tf_list_empty(&named->consumers) &&
        tf_list_empty(&named->producers)) {
        tf_named_consider_idle(named);
    }
}

uint32_t tf_named_queue_room(const struct tf_named_queue *named)
{
    const struct tf_queue_limits *limits = &named->spec.limits;
    if (limits->overflow != TF_OVERFLOW_REFUSE) {
        return limits->entries; /* it drops: who had to wait for room would wait for ever */
    }
    if (named->queue.count >= limits->entries || named->queue.bytes >= limits->bytes) {
        return 0;
    }
    return limits->entries - named->queue.count;
}

void tf_named_entry_free(const struct tf_alloc *alloc, struct tf_named_entry *entry)
{
    struct tf_named_extra *extra = entry->extra;
    if (extra) {
        if (extra->annotations.length) {
            alloc->free(alloc->ctx, (void *)(uintptr_t)extra->annotations.data,
                        extra->annotations.length);
        }
        alloc->free(alloc->ctx, extra, sizeof(*extra) + extra->capacity * sizeof(uint64_t));
    }
    tf_message_unref(entry->entry.message);
    alloc->free(alloc->ctx, entry, sizeof(*entry));
}

void tf_named_remove(struct tf_named_queue *named, struct tf_named_entry *entry)
{
    unlist(named, entry);
    uncharge(named, entry);
    tf_named_changed(named);
}

void tf_named_drop(struct tf_named_queue *named, struct tf_named_entry *entry)
{
    if (entry->entry.stored) {
        tf_kept_gone(&entry->entry);
    }
    tf_named_remove(named, entry);
    tf_named_entry_free(named->queue.shard->config.alloc, entry);
}

void tf_named_append(struct tf_named_queue *named, struct tf_named_entry *entry)
{
    entry->entry.position = named->queue.next_position++;
    tf_list_push_back(&named->queue.available, &entry->entry.node);
    show(named, entry);
    charge(named, entry);
    named->status.enqueued++;
    named->queue.counters->enqueued++;
    tf_named_changed(named);
}

bool tf_named_load(struct tf_named_queue *named, struct tf_named_entry *entry,
                   struct tf_bytes annotations)
{
    const struct tf_alloc *alloc = named->queue.shard->config.alloc;
    if (annotations.length) {
        uint8_t *copy = alloc->alloc(alloc->ctx, annotations.length);
        struct tf_named_extra *extra = copy ? alloc->alloc(alloc->ctx, sizeof(*extra)) : NULL;
        if (!extra) {
            if (copy) {
                alloc->free(alloc->ctx, copy, annotations.length);
            }
            return false;
        }
        memcpy(copy, annotations.data, annotations.length);
        *extra = (struct tf_named_extra){.annotations = tf_bytes_of(copy, annotations.length)};
        entry->extra = extra;
    }
    tf_list_push_back(&named->queue.available, &entry->entry.node);
    show(named, entry);
    charge(named, entry);
    return true;
}

void tf_named_settle_entry(struct tf_named_queue *named, struct tf_named_entry *entry)
{
    named->status.settled++;
    named->queue.counters->settled++;
    tf_named_drop(named, entry);
}

/* ---- handing over ---- */

void tf_named_ready_again(struct tf_named_member *member)
{
    struct tf_named_queue *named = member->queue;
    bool ready = member->credit && !member->blocked && member->attached && !named->dying;
    if (ready == tf_list_linked(&member->ready)) {
        return;
    }
    if (ready) {
        tf_list_push_back(member->browse ? &named->browsers : &named->queue.consumers,
                          &member->ready);
        if (named->values) {
            tf_named_touch(named);
        }
    } else {
        tf_list_remove(&member->ready);
    }
}

/* Offers an entry, or with `entry` NULL a publication, to a member that has given a credit. */
static enum tf_err offer(struct tf_named_member *member, struct tf_named_entry *entry,
                         struct tf_publication *publication, bool retain, bool acquired_before)
{
    struct tf_named_consumer *consumer = member->consumer;
    if (member->link) {
        return tf_named_send(member, entry, acquired_before);
    }
    struct tf_named_delivery delivery = {
        .publication = publication, .acquired_before = acquired_before, .retain = retain};
    if (entry) {
        delivery.attempts = entry->entry.attempts;
        if (entry->extra) {
            delivery.annotations = entry->extra->annotations;
        }
        if (!member->settled && !member->browse) {
            delivery.handle = (uint64_t)(uintptr_t)entry;
        }
    }
    return consumer->ops->deliver(consumer, &delivery);
}

/* A credit is used, and it is the next one's turn. */
static void take_credit(struct tf_named_queue *named, struct tf_named_member *member)
{
    struct tf_list *list = member->browse ? &named->browsers : &named->queue.consumers;
    member->credit--;
    if (member->credit == 0) {
        tf_list_remove(&member->ready);
    } else if (tf_list_last(list) != &member->ready) {
        tf_list_remove(&member->ready);
        tf_list_push_back(list, &member->ready);
    }
}

/* It has not been used, and the member takes no more until it says so. */
static void give_back(struct tf_named_member *member, enum tf_err err)
{
    member->credit++;
    if (err != TF_LIMIT) {
        member->blocked = true;
    }
    if (err == TF_NO_MEMORY && !tf_list_linked(&member->starved)) {
        tf_list_push_back(&member->base.shard->named.starved, &member->starved);
    }
    tf_named_ready_again(member);
}

static void count_delivery(struct tf_named_queue *named)
{
    named->status.delivered++;
    named->queue.counters->delivered++;
}

/* Room for one number more in an entry's list. */
static struct tf_named_extra *extra_of(struct tf_named_queue *named, struct tf_named_entry *entry,
                                       uint32_t count)
{
    const struct tf_alloc *alloc = named->queue.shard->config.alloc;
    struct tf_named_extra *extra = entry->extra;
    if (extra && count <= extra->capacity) {
        return extra;
    }
    uint32_t capacity = count ? TF_MIN(TF_MAX(4, 2 * count), TF_NAMED_EXCLUDED_MAX) : 0;
    struct tf_named_extra *grown =
        alloc->alloc(alloc->ctx, sizeof(*grown) + capacity * sizeof(uint64_t));
    if (!grown) {
        return NULL;
    }
    *grown = (struct tf_named_extra){.capacity = capacity};
    uncharge(named, entry);
    if (extra) {
        grown->annotations = extra->annotations;
        grown->count = extra->count;
        memcpy(grown->not_for, extra->not_for, extra->count * sizeof(uint64_t));
        alloc->free(alloc->ctx, extra, sizeof(*extra) + extra->capacity * sizeof(uint64_t));
    }
    entry->extra = grown;
    charge(named, entry);
    return grown;
}

bool tf_named_annotate(struct tf_named_queue *named, struct tf_named_entry *entry,
                       struct tf_bytes annotations)
{
    const struct tf_alloc *alloc = named->queue.shard->config.alloc;
    size_t had = entry->extra ? entry->extra->annotations.length : 0;
    if (annotations.length > had &&
        named->queue.bytes + annotations.length - had > named->spec.limits.bytes) {
        return false;
    }
    uint8_t *copy = alloc->alloc(alloc->ctx, annotations.length);
    struct tf_named_extra *extra = copy ? extra_of(named, entry, 0) : NULL;
    if (!extra) {
        if (copy) {
            alloc->free(alloc->ctx, copy, annotations.length);
        }
        return false;
    }
    memcpy(copy, annotations.data, annotations.length);
    uncharge(named, entry);
    if (extra->annotations.length) {
        alloc->free(alloc->ctx, (void *)(uintptr_t)extra->annotations.data,
                    extra->annotations.length);
    }
    extra->annotations = tf_bytes_of(copy, annotations.length);
    charge(named, entry);
    return true;
}

/* Forgets those who are gone; the members of a queue are few beside its entries. */
static void forget_absent(const struct tf_named_queue *named, struct tf_named_extra *extra)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < extra->count; i++) {
        struct tf_list_node *node = tf_list_first(&named->consumers);
        for (; node; node = tf_list_next(&named->consumers, node)) {
            if (tf_container_of(node, struct tf_named_member, in_queue)->number ==
                extra->not_for[i]) {
                extra->not_for[kept++] = extra->not_for[i];
                break;
            }
        }
    }
    extra->count = kept;
}

/*
 * The entry is not for this member. TF_LIMIT: nor for too many others. TF_NO_MEMORY: that could not
 * be noted.
 */
static enum tf_err exclude(struct tf_named_queue *named, struct tf_named_entry *entry,
                           struct tf_named_member *member)
{
    if (excluded(entry, member)) {
        return TF_OK;
    }
    if (entry->extra && entry->extra->count == TF_NAMED_EXCLUDED_MAX) {
        forget_absent(named, entry->extra);
        if (entry->extra->count == TF_NAMED_EXCLUDED_MAX) {
            return TF_LIMIT;
        }
    }
    struct tf_named_extra *extra =
        extra_of(named, entry, entry->extra ? entry->extra->count + 1 : 1);
    if (!extra) {
        return TF_NO_MEMORY;
    }
    extra->not_for[extra->count++] = member->number;
    if (!tf_list_linked(&member->cursor)) {
        tf_list_push_back(&named->cursors, &member->cursor);
        named->choosers++;
    }
    return TF_OK;
}

void tf_named_never(struct tf_named_queue *named, struct tf_named_member *member,
                    struct tf_named_entry *entry)
{
    enum tf_err err = named->private ? TF_LIMIT : exclude(named, entry, member);
    if (err == TF_LIMIT) { /* nor will anybody else */
        tf_named_die(named, entry, TF_DEATH_DROPPED);
        return;
    }
    if (err == TF_NO_MEMORY && tf_list_linked(&member->ready)) { /* not again at once */
        member->blocked = true;
        tf_named_ready_again(member);
        if (!tf_list_linked(&member->starved)) {
            tf_list_push_back(&named->queue.shard->named.starved, &member->starved);
        }
    }
    tf_named_return(named, entry);
}

/* Gives an available entry to a member. */
static void hand(struct tf_named_queue *named, struct tf_named_member *member,
                 struct tf_named_entry *entry)
{
    bool before = entry->entry.acquired_before;
    bool handle = member->link || !member->settled;
    tf_named_acquire(named, entry, member, &member->acquired);
    entry->entry.acquired_before |= !member->link; /* else nobody has seen it yet */
    take_credit(named, member);
    enum tf_err err =
        offer(member, entry, &entry->entry.message->publication, entry->entry.retain, before);
    if (err == TF_OK) {
        count_delivery(named);
        if (!handle) {
            tf_named_settle_entry(named, entry);
        }
        return;
    }
    entry->entry.acquired_before = before;
    give_back(member, err);
    if (err == TF_LIMIT) {
        tf_named_never(named, member, entry);
    } else {
        tf_named_return(named, entry);
    }
    named->again = true;
}

/* The member whose turn it is, and its entry; NULL: nobody can take anything. */
static struct tf_named_member *taker(struct tf_named_queue *named, struct tf_named_entry **ret)
{
    struct tf_list_node *node = tf_list_first(&named->queue.consumers);
    if (tf_list_empty(&named->queue.available)) {
        return NULL;
    }
    for (; node; node = tf_list_next(&named->queue.consumers, node)) {
        struct tf_named_member *member = tf_container_of(node, struct tf_named_member, ready);
        *ret = candidate(named, member);
        if (*ret) {
            return member;
        }
    }
    return NULL;
}

bool tf_named_straight(struct tf_named_queue *named, struct tf_publication *publication,
                       bool retain)
{
    struct tf_list_node *node = tf_list_first(&named->queue.consumers);
    struct tf_named_member *member = tf_container_of(node, struct tf_named_member, ready);
    if (!member->settled || member->link || !tf_list_empty(&named->browsers) ||
        publication->envelope.expires <= named->queue.shard->now) {
        return false;
    }
    named->pumping = true;
    named->again = false;
    take_credit(named, member);
    enum tf_err err = offer(member, NULL, publication, retain, false);
    if (err == TF_OK) {
        named->status.enqueued++;
        named->status.settled++;
        named->queue.counters->enqueued++;
        named->queue.counters->settled++;
        count_delivery(named);
    } else {
        give_back(member, err);
    }
    named->pumping = false;
    if (err == TF_OK && (named->again || !tf_list_empty(&named->draining))) {
        tf_named_pump(named);
    }
    return err == TF_OK;
}

/* Shows each browser what it has not seen. */
static void browse(struct tf_named_queue *named)
{
    struct tf_list_node *node = tf_list_first(&named->browsers);
    tf_time now = named->queue.shard->now;
    while (node) {
        struct tf_list_node *next = tf_list_next(&named->browsers, node);
        struct tf_named_member *member = tf_container_of(node, struct tf_named_member, ready);
        struct tf_named_entry *entry;
        while (tf_list_linked(&member->ready) && (entry = candidate(named, member))) {
            enum tf_err err = TF_LIMIT;
            if (entry->timer.deadline > now) {
                member->credit--;
                tf_named_ready_again(member);
                err = offer(member, entry, &entry->entry.message->publication, entry->entry.retain,
                            entry->entry.acquired_before);
                if (err) {
                    give_back(member, err);
                }
            }
            if (err == TF_OK || err == TF_LIMIT) {
                member->seen = entry->entry.position + 1;
                rest(member, entry);
            }
        }
        node = next;
    }
}

/* Ends the drains of those for whom nothing is left. */
static void end_drains(struct tf_named_queue *named)
{
    struct tf_list_node *node = tf_list_first(&named->draining);
    while (node) {
        struct tf_named_member *member = tf_container_of(node, struct tf_named_member, draining);
        bool left =
            member->credit && (named->values || candidate(named, member) || tf_named_tail(named));
        node = tf_list_next(&named->draining, node);
        if (left) {
            continue;
        }
        tf_list_remove(&member->draining);
        if (member->link && member->credit == 0) {
            continue; /* the link has the count of its credit, and asks again */
        }
        member->credit = 0;
        tf_named_ready_again(member);
        if (member->link) {
            tf_named_tell(member, TF_TELL_DRAINED);
        } else {
            member->consumer->ops->drained(member->consumer);
        }
    }
}

void tf_named_pump(struct tf_named_queue *named)
{
    struct tf_named_member *member;
    struct tf_named_entry *entry;
    named->again = true;
    if (named->pumping || named->dying) {
        return;
    }
    named->pumping = true;
    while (named->again) {
        named->again = false;
        tf_named_tidy(named);
        if (!tf_list_empty(&named->browsers)) {
            browse(named);
        }
        while ((member = taker(named, &entry))) {
            if (entry->timer.deadline <= named->queue.shard->now) {
                tf_named_die(named, entry, TF_DEATH_EXPIRED);
            } else {
                hand(named, member, entry);
            }
            if (named->again) {
                tf_named_tidy(named);
            }
        }
        if (!named->again && !tf_list_empty(&named->draining)) {
            end_drains(named);
        }
    }
    named->pumping = false;
    if (named->queue.kept) {
        tf_named_page(named);
    }
}
