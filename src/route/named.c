/*
 * Named queues: which there are, how they come and how they go. See named.h; the invariants are in
 * named_internal.h.
 *
 *            declared, first            last consumer or producer leaves
 *   (nothing) -------> USED  ------------------------------------------> UNUSED
 *                       ^ |                                               |  |
 *                       | +-- deleted by a command --> DYING <-- idle ----+  |
 *                       +------------------- attached ----------------------+
 *
 * A dying queue has no name, no bindings and no members; its entries are dropped a part each turn.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "route/named_internal.h"

#define DROP_BUDGET 1024u  /* entries of dying queues in one turn */
#define DIRTY_BUDGET 4096u /* queues looked at in one turn */

static struct tf_named_queue *queue_of(struct tf_tree_node *node)
{
    return node ? tf_container_of(node, struct tf_named_queue, node) : NULL;
}

static struct tf_named_entry *entry_of(struct tf_list_node *node)
{
    return tf_container_of(node, struct tf_named_entry, entry.node);
}

static struct tf_named_member *member_of(struct tf_list_node *node)
{
    return tf_container_of(node, struct tf_named_member, in_queue);
}

void tf_named_init(struct tf_shard *shard)
{
    struct tf_named_shard *all = &shard->named;
    tf_tree_init(&all->queues, shard->config.random ^ UINT64_C(0x6e616d6564));
    tf_list_init(&all->all);
    tf_list_init(&all->dirty);
    tf_list_init(&all->links);
    tf_list_init(&all->stale);
    tf_list_init(&all->guests);
    tf_list_init(&all->telling);
    tf_list_init(&all->starved);
    tf_list_init(&all->unsent);
    tf_list_init(&all->commands);
    tf_list_init(&all->asleep);
    tf_list_init(&all->moved);
    tf_list_init(&all->unstored);
    tf_list_init(&all->letters.tickets);
    all->letters.done = tf_named_letter_answered;
    tf_timers_init(&all->entries, shard->now);
    tf_timers_init(&all->idle, shard->now);
}

void tf_named_touch(struct tf_named_queue *named)
{
    if (!tf_list_linked(&named->dirty)) {
        tf_list_push_back(&named->queue.shard->named.dirty, &named->dirty);
    }
}

/* ---- making and binding ---- */

static void copy_spec(struct tf_named_queue *named, const struct tf_queue_spec *spec, uint8_t *copy)
{
    const struct tf_alloc *alloc = named->queue.shard->config.alloc;
    if (named->spec.dead_letter.length) {
        alloc->free(alloc->ctx, (void *)(uintptr_t)named->spec.dead_letter.data,
                    named->spec.dead_letter.length);
    }
    named->spec = *spec;
    named->spec.dead_letter = tf_bytes_of(copy, spec->dead_letter.length);
    if (copy) {
        memcpy(copy, spec->dead_letter.data, spec->dead_letter.length);
    }
}

enum tf_err tf_named_configure(struct tf_named_queue *named, const struct tf_queue_spec *spec)
{
    const struct tf_alloc *alloc = named->queue.shard->config.alloc;
    size_t length = spec->dead_letter.length;
    uint8_t *copy = length ? alloc->alloc(alloc->ctx, length) : NULL;
    if (length && !copy) {
        return TF_NO_MEMORY;
    }
    enum tf_err err = tf_named_keep_as(named, spec);
    if (err) {
        if (copy) {
            alloc->free(alloc->ctx, copy, length);
        }
        return err;
    }
    copy_spec(named, spec, copy);
    if (!length) {
        tf_named_drop_letters(named); /* they have nowhere to go any more */
    }
    tf_timers_cancel(&named->queue.shard->named.idle, &named->idle); /* it may be another time */
    tf_named_consider_idle(named);
    tf_named_changed(named);
    tf_named_touch(named);
    return TF_OK;
}

/* Calls those who have heard of all their binds. They may leave, and delete what is private. */
static void open_ready(struct tf_named_queue *named)
{
    struct tf_list_node *node = tf_list_first(&named->opening);
    while (node) {
        struct tf_named_opening *opening = tf_container_of(node, struct tf_named_opening, node);
        node = tf_list_next(&named->opening, node);
        if (opening->waits == 0) {
            tf_list_remove(&opening->node);
            opening->opened(opening, opening->err);
            node = tf_list_first(&named->opening); /* whatever has happened to the list */
        }
    }
}

static void bound(struct tf_bind_owner *owner, uint64_t tag, enum tf_err err)
{
    struct tf_named_queue *named = tf_container_of(owner, struct tf_named_queue, binds);
    struct tf_list_node *node = tf_list_first(&named->opening);
    named->binds_waiting--;
    tf_named_bound(named, tag, err);
    for (; node; node = tf_list_next(&named->opening, node)) {
        struct tf_named_opening *opening = tf_container_of(node, struct tf_named_opening, node);
        if (opening->last >= tag) {
            opening->waits--;
            opening->err = err ? TF_NO_MEMORY : opening->err;
        }
    }
    named->values &= err == TF_OK;
    if (!named->dying) {
        open_ready(named);
    }
}

/* Binds it to what it is not bound to yet. */
static enum tf_err bind_queue(struct tf_named_queue *named,
                              const struct tf_queue_declaration *declaration,
                              const struct tf_binding_options *options)
{
    struct tf_shard *shard = named->queue.shard;
    uint64_t tag = named->bind_tag + 1;
    enum tf_err err = tf_named_keep_binding(named, declaration->filter, options, tag);
    if (err) {
        return err;
    }
    if (declaration->alone) {
        tf_named_forget_bindings(named);
        tf_shard_unbind_all(shard, &named->queue);
    }
    named->values = named->private && declaration->values;
    named->binds_waiting++;
    err = tf_shard_bind(shard, &named->queue, declaration->filter, options, named->values,
                        &named->binds, tag);
    if (err) {
        named->binds_waiting--;
        named->values = false;
        tf_named_bound(named, tag, err);
    }
    return err ? TF_NO_MEMORY : TF_OK;
}

enum tf_err tf_named_open(struct tf_named_queue *named, struct tf_named_opening *opening,
                          const struct tf_queue_declaration *declaration)
{
    struct tf_shard *shard = named->queue.shard;
    struct tf_binding_options options = declaration->options;
    opening->err = TF_OK;
    if (declaration->filter.length == 0) {
        return TF_OK;
    }
    if (!tf_shard_binding(shard, &named->queue, declaration->filter)) {
        options.qos = 1; /* every message is an entry; what it was published at stays with it */
        options.upgrade = true;
        options.retain_as_published = false;
        enum tf_err err = bind_queue(named, declaration, &options);
        if (err) {
            return err;
        }
        named->bind_tag++;
    }
    opening->last = named->bind_tag;
    opening->waits = named->binds_waiting;
    if (opening->waits == 0) {
        return TF_OK;
    }
    tf_list_push_back(&named->opening, &opening->node);
    return TF_AGAIN;
}

static struct tf_named_queue *new_queue(struct tf_shard *shard, struct tf_bytes name,
                                        const struct tf_queue_spec *spec)
{
    const struct tf_alloc *alloc = shard->config.alloc;
    size_t size = sizeof(struct tf_named_queue) + name.length;
    size_t length = spec->dead_letter.length;
    struct tf_named_queue *named = alloc->alloc(alloc->ctx, size);
    uint8_t *copy = named && length ? alloc->alloc(alloc->ctx, length) : NULL;
    if (!named || (length && !copy)) {
        if (named) {
            alloc->free(alloc->ctx, named, size);
        }
        return NULL;
    }
    memset(named, 0, sizeof(*named));
    named->size = size;
    named->name = tf_bytes_of(named + 1, name.length);
    if (name.length) {
        memcpy(named + 1, name.data, name.length);
    }
    tf_queue_init(&named->queue, shard, &named->spec.limits, &shard->queues);
    shard->queue_count--; /* which counts the queues of the fronts */
    named->queue.ops = &tf_named_queue_ops;
    named->number = ++shard->named.numbers;
    copy_spec(named, spec, copy);
    tf_list_init(&named->consumers);
    tf_list_init(&named->producers);
    tf_list_init(&named->browsers);
    tf_list_init(&named->draining);
    tf_list_init(&named->cursors);
    tf_list_init(&named->opening);
    tf_list_init(&named->returned);
    tf_list_init(&named->moving);
    tf_list_init(&named->letters);
    tf_list_init(&named->posted);
    tf_list_init(&named->unproven);
    tf_list_init(&named->binds.binds);
    named->binds.bound = bound;
    named->fresh = true;
    named->full_known = true;
    tf_list_push_back(&shard->named.all, &named->in_all);
    return named;
}

static void free_queue(struct tf_named_queue *named)
{
    const struct tf_alloc *alloc = named->queue.shard->config.alloc;
    tf_named_drop_letters(named);
    tf_queue_unkeep(&named->queue, false);
    if (named->spec.dead_letter.length) {
        alloc->free(alloc->ctx, (void *)(uintptr_t)named->spec.dead_letter.data,
                    named->spec.dead_letter.length);
    }
    tf_timers_cancel(&named->queue.shard->named.idle, &named->idle);
    tf_list_unlink(&named->dirty);
    tf_list_unlink(&named->unstored);
    tf_list_remove(&named->in_all);
    alloc->free(alloc->ctx, named, named->size);
}

enum tf_err tf_named_make(struct tf_shard *shard, const struct tf_queue_declaration *declaration,
                          struct tf_named_queue **ret)
{
    bool private = declaration->name.length == 0;
    if (!declaration->spec) {
        return TF_NOT_FOUND;
    }
    if (!private && shard->config.max_queues &&
        shard->named.queues.count >= shard->config.max_queues) {
        return TF_LIMIT;
    }
    struct tf_named_queue *named = new_queue(shard, declaration->name, declaration->spec);
    if (!named) {
        return TF_NO_MEMORY;
    }
    named->private = private;
    if (!private) {
        (void)tf_tree_insert(&shard->named.queues, &named->node, named->name);
    }
    *ret = named;
    return TF_OK;
}

void tf_named_unmake(struct tf_named_queue *named)
{
    if (!named->private) {
        tf_tree_remove(&named->queue.shard->named.queues, &named->node);
    }
    free_queue(named);
}

enum tf_err tf_named_obtain(struct tf_shard *shard, const struct tf_queue_declaration *declaration,
                            struct tf_named_queue **ret)
{
    struct tf_named_queue *named =
        declaration->name.length ? tf_named_queue_find(shard, declaration->name) : NULL;
    if (!named) {
        enum tf_err err = tf_named_make(shard, declaration, &named);
        if (err) {
            return err;
        }
        err = tf_named_keep(named);
        if (err) {
            tf_named_unmake(named);
            return err;
        }
    }
    *ret = named;
    return TF_OK;
}

/* ---- members ---- */

struct tf_named_member *tf_named_member_new(struct tf_shard *shard,
                                            struct tf_named_consumer *consumer,
                                            struct tf_named_producer *producer,
                                            struct tf_named_link *link)
{
    const struct tf_alloc *alloc = shard->config.alloc;
    struct tf_named_member *member = alloc->alloc(alloc->ctx, sizeof(*member));
    if (!member) {
        return NULL;
    }
    memset(member, 0, sizeof(*member));
    member->base.shard = shard;
    member->consumer = consumer;
    member->producer = producer;
    member->link = link;
    member->number = ++shard->named.numbers;
    tf_list_init(&member->acquired);
    if (link) {
        member->producing = link->producing;
        member->browse = link->browse;
        member->settled = link->settled;
        member->exclusive = link->exclusive;
        tf_list_push_back(&shard->named.guests, &member->guest);
    } else if (consumer) {
        member->browse = consumer->browse;
        member->settled = consumer->settled;
        member->exclusive = consumer->exclusive;
    } else {
        member->producing = true;
    }
    return member;
}

static void free_member(struct tf_named_member *member)
{
    const struct tf_alloc *alloc = member->base.shard->config.alloc;
    tf_list_unlink(&member->telling);
    tf_list_unlink(&member->guest);
    alloc->free(alloc->ctx, member, sizeof(*member));
}

/* Takes a member out of its queue; what it has acquired is available again, or dead. */
static void take_out(struct tf_named_member *member, bool lost)
{
    struct tf_named_queue *named = member->queue;
    struct tf_list_node *node;
    while ((node = tf_list_first(&member->acquired))) {
        named->status.released++;
        named->queue.counters->released++;
        entry_of(node)->entry.acquired_before = true;
        if (lost && tf_named_failed(named, entry_of(node))) {
            continue;
        }
        if (lost) {
            tf_named_record_change(named, entry_of(node));
        }
        tf_named_return(named, entry_of(node));
    }
    tf_list_unlink(&member->opening.node);
    tf_list_unlink(&member->ready);
    tf_list_unlink(&member->draining);
    named->choosers -= tf_list_linked(&member->cursor) && !member->browse;
    tf_list_unlink(&member->cursor);
    tf_list_unlink(&member->starved);
    tf_list_remove(&member->in_queue);
    if (member->producing) {
        named->status.producers--;
    } else {
        named->status.consumers--;
        named->exclusive = false;
    }
    member->queue = NULL;
}

void tf_named_forsake(struct tf_named_queue *named)
{
    bool unused = tf_list_empty(&named->consumers) && tf_list_empty(&named->producers) &&
                  tf_list_empty(&named->opening);
    if (unused && !named->dying && (named->private || (named->fresh && !named->queue.count))) {
        tf_named_delete(named);
    } else {
        tf_named_consider_idle(named);
    }
}

void tf_named_leave(struct tf_named_member *member, bool lost)
{
    struct tf_named_queue *named = member->queue;
    if (named) {
        take_out(member, lost);
        tf_named_forsake(named);
    }
    free_member(member);
}

/* Tells a member's owner how its attaching ended; an error ends the member. */
static void entered(struct tf_named_member *member, enum tf_err err)
{
    struct tf_named_consumer *consumer = member->consumer;
    struct tf_named_producer *producer = member->producer;
    if (member->link) {
        /* the link's DETACH ends it: see named_remote.c */
        member->attached = err == TF_OK;
        member->err = err;
        tf_named_tell(member, TF_TELL_ATTACHED);
        return;
    }
    if (err == TF_OK) {
        member->attached = true;
        if (member->credit) { /* given meanwhile */
            tf_named_ready_again(member);
            tf_named_touch(member->queue);
        }
    } else {
        *(consumer ? &consumer->attachment : &producer->attachment) = NULL;
        tf_named_leave(member, false);
    }
    if (consumer) {
        consumer->ops->attached(consumer, err);
    } else {
        producer->ops->attached(producer, err);
    }
}

/* The queue's bindings stand, or never will. */
static void opened(struct tf_named_opening *opening, enum tf_err err)
{
    struct tf_named_member *member = tf_container_of(opening, struct tf_named_member, opening);
    struct tf_named_queue *named = member->queue;
    if (err == TF_OK) {
        named->fresh = false;
    } else if (member->link) {
        take_out(member, false);
        tf_named_forsake(named);
    }
    entered(member, err);
}

enum tf_err tf_named_enter(struct tf_shard *shard, struct tf_named_member *member,
                           const struct tf_queue_declaration *declaration)
{
    struct tf_named_queue *named;
    enum tf_err err = tf_named_obtain(shard, declaration, &named);
    if (err) {
        return err;
    }
    if (!member->producing &&
        (named->exclusive || (member->exclusive && named->status.consumers))) {
        return TF_EXISTS;
    }
    member->queue = named;
    if (member->producing) {
        tf_list_push_back(&named->producers, &member->in_queue);
        named->status.producers++;
    } else {
        tf_list_push_back(&named->consumers, &member->in_queue);
        named->status.consumers++;
        named->exclusive = member->exclusive;
    }
    if (member->browse) {
        tf_list_push_back(&named->cursors, &member->cursor);
    }
    tf_named_consider_idle(named);
    member->opening.opened = opened;
    err = tf_named_open(named, &member->opening, declaration);
    if (err == TF_OK) {
        named->fresh = false;
        member->attached = true;
    } else if (err != TF_AGAIN) {
        take_out(member, false);
        tf_named_forsake(named);
    }
    return err;
}

/* ---- going ---- */

bool tf_named_idle(const struct tf_named_queue *named)
{
    return !named->private && !named->dying && named->spec.idle != TF_TIME_NEVER &&
           tf_list_empty(&named->consumers) && tf_list_empty(&named->producers) &&
           tf_list_empty(&named->opening) &&
           (!named->spec.idle_when_empty || named->queue.count == 0);
}

void tf_named_consider_idle(struct tf_named_queue *named)
{
    struct tf_timers *timers = &named->queue.shard->named.idle;
    tf_time now = named->queue.shard->now;
    if (!tf_named_idle(named)) {
        tf_timers_cancel(timers, &named->idle);
    } else if (!tf_timer_armed(&named->idle)) {
        tf_timers_arm(timers, &named->idle,
                      named->spec.idle < TF_TIME_NEVER - now ? now + named->spec.idle
                                                             : TF_TIME_NEVER);
    }
}

/* Puts a member's entries among those to be dropped, and the member out. */
static void dismiss(struct tf_named_member *member)
{
    struct tf_named_consumer *consumer = member->consumer;
    struct tf_named_producer *producer = member->producer;
    take_out(member, false);
    if (member->link) {
        tf_named_tell(member, TF_TELL_DELETED);
        return;
    }
    bool attached = member->attached;
    *(consumer ? &consumer->attachment : &producer->attachment) = NULL;
    free_member(member);
    if (consumer && attached) {
        consumer->ops->deleted(consumer);
    } else if (consumer) {
        consumer->ops->attached(consumer, TF_NOT_FOUND);
    } else if (attached) {
        producer->ops->deleted(producer);
    } else {
        producer->ops->attached(producer, TF_NOT_FOUND);
    }
}

void tf_named_delete(struct tf_named_queue *named)
{
    struct tf_shard *shard = named->queue.shard;
    struct tf_list_node *node;
    tf_assert(!named->dying);
    named->dying = true;
    if (!named->private) {
        tf_tree_remove(&shard->named.queues, &named->node);
    }
    tf_named_consider_idle(named);
    tf_named_forget(named);
    tf_bind_owner_release(shard, &named->binds);
    tf_shard_unbind_all(shard, &named->queue);
    tf_queue_work_wake(named);
    while ((node = tf_list_first(&named->consumers))) {
        dismiss(member_of(node));
    }
    while ((node = tf_list_first(&named->producers))) {
        dismiss(member_of(node));
    }
    while ((node = tf_list_pop_front(&named->opening))) { /* commands */
        struct tf_named_opening *opening = tf_container_of(node, struct tf_named_opening, node);
        opening->opened(opening, TF_NOT_FOUND);
    }
    tf_named_touch(named);
}

/* Drops at most `budget` entries of any state; how many. */
static uint64_t drop_some(struct tf_named_queue *named, uint64_t budget)
{
    struct tf_list *lists[] = {&named->queue.available, &named->returned, &named->moving};
    uint64_t dropped = 0;
    for (size_t i = 0; i < TF_COUNT(lists); i++) {
        struct tf_list_node *node;
        while (dropped < budget && (node = tf_list_first(lists[i]))) {
            tf_named_drop(named, entry_of(node));
            dropped++;
        }
    }
    return dropped;
}

static void tell_room(struct tf_named_queue *named)
{
    struct tf_list_node *node = tf_list_first(&named->producers);
    uint32_t room = tf_named_queue_room(named);
    named->full_known = true;
    for (; node; node = tf_list_next(&named->producers, node)) {
        struct tf_named_member *member = member_of(node);
        if (member->link) {
            tf_named_tell(member, TF_TELL_ROOM);
        } else if (member->attached) {
            member->producer->ops->room(member->producer, room);
        }
    }
}

/* Does what a dirty queue needs. *budget: entries to drop. */
static void attend(struct tf_named_queue *named, uint64_t *budget)
{
    bool again = !tf_named_post_letters(named) && !tf_list_linked(&named->unstored);
    tf_named_end_keeping(named);
    if (named->dying) {
        *budget -= drop_some(named, *budget);
        if (!named->queue.count && tf_list_empty(&named->letters)) {
            if (tf_list_empty(&named->posted)) {
                free_queue(named);
            }
            return;
        }
        again |= named->queue.count != 0;
    } else {
        tf_named_consider_idle(named);
        tf_named_pump(named);
        if (named->values && !tf_list_empty(&named->queue.consumers)) {
            /* here, for they are pushed at once: not while others are being pushed */
            named->values = tf_bind_draw(named->queue.shard, &named->binds);
            tf_named_pump(named);
        }
        if (!named->full_known) {
            tell_room(named);
        }
    }
    if (again) {
        tf_named_touch(named);
    }
}

void tf_named_work(struct tf_shard *shard)
{
    struct tf_named_shard *all = &shard->named;
    struct tf_list now;
    struct tf_list_node *node;
    uint64_t budget = DROP_BUDGET;
    tf_queue_work_run(shard);
    if (!tf_list_empty(&all->unstored) && tf_store_state(shard->config.store) < TF_STORE_FULL) {
        while ((node = tf_list_pop_front(&all->unstored))) {
            tf_named_touch(tf_container_of(node, struct tf_named_queue, unstored));
        }
    }
    while ((node = tf_list_pop_front(&all->starved))) {
        struct tf_named_member *member = tf_container_of(node, struct tf_named_member, starved);
        member->blocked = false;
        tf_named_ready_again(member);
        tf_named_touch(member->queue);
    }
    tf_list_init(&now);
    tf_list_splice_back(&now, &all->dirty);
    for (unsigned i = 0; i < DIRTY_BUDGET && (node = tf_list_pop_front(&now)); i++) {
        attend(tf_container_of(node, struct tf_named_queue, dirty), &budget);
    }
    tf_list_splice_back(&all->dirty, &now);
    tf_named_remote_work(shard);
}

bool tf_named_busy(const struct tf_shard *shard)
{
    const struct tf_named_shard *all = &shard->named;
    return !tf_list_empty(&all->dirty) || !tf_list_empty(&all->stale) ||
           !tf_list_empty(&all->telling) || !tf_list_empty(&all->starved) ||
           !tf_list_empty(&all->unsent) || !tf_list_empty(&all->commands) || all->expiring;
}

void tf_named_release(struct tf_shard *shard)
{
    struct tf_list_node *node;
    struct tf_list_node *inner;
    tf_ticket_owner_release(&shard->named.letters);
    tf_queue_work_release(shard);
    tf_named_remote_release(shard);
    while ((node = tf_list_first(&shard->named.all))) {
        struct tf_named_queue *named = tf_container_of(node, struct tf_named_queue, in_all);
        struct tf_list *members[] = {&named->consumers, &named->producers};
        named->dying = true;
        tf_queue_unkeep(&named->queue, false);
        tf_bind_owner_release(shard, &named->binds);
        tf_shard_unbind_all(shard, &named->queue);
        for (size_t i = 0; i < TF_COUNT(members); i++) {
            while ((inner = tf_list_first(members[i]))) {
                struct tf_named_member *member = member_of(inner);
                take_out(member, false);
                free_member(member);
            }
        }
        (void)drop_some(named, UINT64_MAX);
        tf_list_splice_back(&named->letters, &named->posted);
        free_queue(named);
    }
    while ((node = tf_list_first(&shard->named.guests))) {
        free_member(tf_container_of(node, struct tf_named_member, guest));
    }
}

/* ---- looking ---- */

struct tf_named_queue *tf_named_queue_find(struct tf_shard *shard, struct tf_bytes name)
{
    return queue_of(tf_tree_find(&shard->named.queues, name));
}

struct tf_named_queue *tf_named_queue_next(struct tf_shard *shard, struct tf_bytes name)
{
    return queue_of(tf_tree_seek_after(&shard->named.queues, name));
}

struct tf_bytes tf_named_queue_name(const struct tf_named_queue *queue)
{
    return queue->name;
}

const struct tf_queue_spec *tf_named_queue_spec(const struct tf_named_queue *queue)
{
    return &queue->spec;
}

void tf_named_queue_status(const struct tf_named_queue *queue, struct tf_queue_status *ret)
{
    *ret = queue->status;
    ret->messages = queue->queue.count;
    ret->bytes = queue->queue.bytes;
    ret->acquired = queue->acquired;
    ret->bindings = queue->queue.binding_count;
}
