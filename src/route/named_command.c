/*
 * Management of named queues: commands, in the home of the queue, a part each turn.
 *
 *      asking shard                home of the queue                home of the queue `to`
 *        |---- COMMAND -------------->|  in shard->named.commands          |
 *        |                            |---- MOVE: a batch of messages ---->|  takes some of
 *        |                            |                                    |  them, the first ones
 *        |                            |<----------------------- MOVED -----|
 *        |<------------------- DONE --|
 *
 * What is moved stays in its queue, acquired by the command, until the other queue has taken it; a
 * batch is taken in order until one finds no room, so the order of what has moved and of what has
 * not is kept. One batch is under way at a time; the other queue's home answers when its batch is
 * on disk, so that nothing is in the store of neither.
 *
 * What a queue has in the store alone (its tail) is forgotten by a purge at once, and read by pages
 * for a move. DONE waits for the store only if that was asked for (`recorded`): else a queue that
 * was declared, deleted, purged or moved from may be as before if the power fails at that moment.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "base/views.h"
#include "route/named_internal.h"

#define BUDGET 1024u /* entries in one turn */
#define BATCH_MAX 64u

struct tf_queue_work {
    struct tf_unsent unsent;
    const struct tf_alloc *alloc;
    size_t size;
    struct tf_list_node in_owner;
    struct tf_command_owner *owner; /* NULL: gone */
    uint64_t tag;
    unsigned from, home;
    struct tf_queue_command command; /* its views are behind the struct */
    struct tf_queue_spec spec;
    enum tf_err err;
    uint64_t count;
    struct tf_queue_status status;
    /* the home's own */
    struct tf_shard *shard;
    struct tf_list_node node; /* commands, asleep or moved */
    struct tf_named_opening opening;
    uint64_t number; /* of the queue */
    uint64_t left;   /* entries to go through, of so many at first */
    uint64_t all;
    bool begun;
    bool paging;   /* asleep until a page has come */
    bool finished; /* in `moved`: it is answered when `stored` is done */
    /* one batch, there and back */
    uint32_t batch_count, batch_taken;
    enum tf_err batch_err;
    struct tf_shard *taker; /* the other home, and its batch in the store */
    uint64_t stored;
    struct tf_message *batch[BATCH_MAX]; /* counted, on the way there */
};

static struct tf_named_entry *entry_of(struct tf_list_node *node)
{
    return tf_container_of(node, struct tf_named_entry, entry.node);
}

void tf_queue_work_free(struct tf_queue_work *work)
{
    for (uint32_t i = 0; i < work->batch_count; i++) {
        tf_message_unref(work->batch[i]);
    }
    tf_list_unlink(&work->in_owner);
    work->alloc->free(work->alloc->ctx, work, work->size);
}

/* Back in the asking shard. */
static void tell_owner(struct tf_queue_work *work)
{
    struct tf_command_owner *owner = work->owner;
    tf_list_unlink(&work->in_owner);
    if (owner) {
        owner->done(owner, work->tag, work->err, work->count, &work->status);
    }
    tf_queue_work_free(work);
}

static void answer(struct tf_queue_work *work)
{
    if (work->from == work->home) {
        tell_owner(work);
    } else {
        struct tf_mail mail = {.type = TF_MAIL_DONE, .object = work};
        tf_named_post(work->shard, work->from, &mail, &work->unsent);
    }
}

static void finish(struct tf_queue_work *work, struct tf_named_queue *named, enum tf_err err)
{
    tf_list_unlink(&work->node);
    work->err = err;
    if (named) {
        tf_named_queue_status(named, &work->status);
    }
    work->stored = work->command.recorded ? tf_shard_recorded(work->shard) : 0;
    work->finished = work->stored != 0;
    if (work->finished && tf_shard_broken(work->shard)) {
        work->err = TF_CLOSED;
        answer(work);
    } else if (work->finished) {
        tf_list_push_back(&work->shard->named.moved, &work->node);
    } else {
        answer(work);
    }
}

/* ---- each command ---- */

/* The bindings of a declared queue stand, or never will. */
static void opened(struct tf_named_opening *opening, enum tf_err err)
{
    struct tf_queue_work *work = tf_container_of(opening, struct tf_queue_work, opening);
    struct tf_named_queue *named = tf_named_queue_find(work->shard, work->command.name);
    if (named && err == TF_OK) {
        named->fresh = false;
        tf_named_consider_idle(named);
    } else if (named) {
        tf_named_forsake(named);
        named = NULL;
    }
    finish(work, named, err);
}

static void declare(struct tf_queue_work *work)
{
    const struct tf_queue_declaration declaration = {.name = work->command.name,
                                                     .filter = work->command.filter,
                                                     .options = work->command.options,
                                                     .spec = work->command.spec};
    struct tf_named_queue *named;
    uint64_t numbers = work->shard->named.numbers;
    enum tf_err err =
        declaration.name.length ? tf_named_obtain(work->shard, &declaration, &named) : TF_MISUSE;
    if (err) {
        finish(work, NULL, err);
        return;
    }
    if (work->command.spec && named->number <= numbers) { /* it was there */
        err = tf_named_configure(named, work->command.spec);
    }
    if (err == TF_OK) {
        work->opening.opened = opened;
        err = tf_named_open(named, &work->opening, &declaration);
    }
    if (err == TF_AGAIN) {
        tf_list_remove(&work->node);
        tf_list_push_back(&work->shard->named.asleep, &work->node);
        return;
    }
    opened(&work->opening, err);
}

static void delete_queue(struct tf_queue_work *work, struct tf_named_queue *named)
{
    const struct tf_queue_command *command = &work->command;
    bool used = named->status.consumers || named->status.producers;
    if (named->spec.configured) {
        finish(work, named, TF_MISUSE);
    } else if ((command->if_unused && used) || (command->if_empty && named->queue.count)) {
        finish(work, named, TF_EXISTS);
    } else {
        work->count = named->queue.count;
        tf_named_delete(named);
        finish(work, NULL, TF_OK);
    }
}

static struct tf_named_entry *first_available(struct tf_named_queue *named)
{
    tf_named_tidy(named);
    struct tf_list_node *node = tf_list_first(&named->queue.available);
    return node ? entry_of(node) : NULL;
}

/* True: there is more in the store alone, and the command goes on when a page of it has come. */
static bool sleep_for_page(struct tf_queue_work *work, struct tf_named_queue *named)
{
    if (!tf_named_tail(named)) {
        return false;
    }
    work->paging = true;
    tf_list_remove(&work->node);
    tf_list_push_back(&work->shard->named.asleep, &work->node);
    tf_kept_fill(&named->queue);
    return true;
}

void tf_queue_work_wake(struct tf_named_queue *named)
{
    struct tf_named_shard *all = &named->queue.shard->named;
    struct tf_list_node *node = tf_list_first(&all->asleep);
    while (node) {
        struct tf_queue_work *work = tf_container_of(node, struct tf_queue_work, node);
        node = tf_list_next(&all->asleep, node);
        if (work->paging && work->number == named->number) {
            work->paging = false;
            tf_list_remove(&work->node);
            tf_list_push_back(&all->commands, &work->node);
        }
    }
}

static void purge(struct tf_queue_work *work, struct tf_named_queue *named, uint64_t *budget)
{
    struct tf_named_entry *entry;
    if (work->left == work->all) { /* at first: what comes to the tail later stays */
        uint32_t tail = tf_kept_drop_tail(&named->queue);
        named->status.dropped += tail;
        work->count += tail;
        work->left -= tail;
        tf_named_changed(named);
    }
    while (*budget && work->left && (entry = first_available(named))) {
        named->status.dropped++;
        tf_named_drop(named, entry);
        work->count++;
        work->left--;
        --*budget;
    }
    if (!work->left || !first_available(named)) {
        finish(work, named, TF_OK);
    }
}

/* To a queue of this shard. */
static void move_here(struct tf_queue_work *work, struct tf_named_queue *named, uint64_t *budget)
{
    struct tf_named_queue *to = tf_named_queue_find(work->shard, work->command.to);
    struct tf_named_entry *entry;
    enum tf_err err = to ? TF_OK : TF_NOT_FOUND;
    while (!err && *budget && work->left && to != named && (entry = first_available(named))) {
        /* acquired, so that a consumer which is called meanwhile cannot be given it too */
        tf_named_acquire(named, entry, NULL, &named->moving);
        err = tf_named_push(to, &entry->entry.message->publication, false, TF_WAY_MOVED);
        if (err) {
            tf_named_return(named, entry);
            break;
        }
        tf_named_settle_entry(named, entry);
        work->count++;
        work->left--;
        --*budget;
    }
    bool done = err || !work->left || to == named;
    if (done || (!first_available(named) && !sleep_for_page(work, named))) {
        finish(work, named, err == TF_LIMIT ? TF_OK : err);
    }
}

/* To a queue of another shard. */
static void move_away(struct tf_queue_work *work, struct tf_named_queue *named, unsigned to,
                      uint64_t *budget)
{
    struct tf_named_entry *entry;
    if (!tf_list_empty(&named->moving)) {
        return; /* another command's batch is under way */
    }
    work->batch_taken = 0;
    work->batch_err = TF_OK;
    while (*budget && work->left > work->batch_count && work->batch_count < BATCH_MAX &&
           (entry = first_available(named))) {
        tf_named_acquire(named, entry, NULL, &named->moving);
        work->batch[work->batch_count++] = tf_message_ref(entry->entry.message);
        --*budget;
    }
    if (work->batch_count) {
        struct tf_mail mail = {.type = TF_MAIL_MOVE, .object = work};
        tf_list_remove(&work->node);
        tf_named_post(work->shard, to, &mail, &work->unsent);
    } else if (*budget && (!work->left || !sleep_for_page(work, named))) {
        finish(work, named, TF_OK);
    }
}

/* Sends a batch back to where it came from. */
static void send_back(struct tf_queue_work *work)
{
    struct tf_mail mail = {.type = TF_MAIL_MOVED, .object = work};
    tf_named_post(work->taker, work->home, &mail, &work->unsent);
}

/* MOVE, in the home of the other queue. */
static void take_batch(struct tf_shard *shard, struct tf_queue_work *work)
{
    struct tf_named_queue *to = tf_named_queue_find(shard, work->command.to);
    uint64_t appended = tf_shard_appended(shard);
    work->batch_err = to ? TF_OK : TF_NOT_FOUND;
    for (uint32_t i = 0; i < work->batch_count; i++) {
        if (!work->batch_err) {
            work->batch_err = tf_named_push(to, &work->batch[i]->publication, false, TF_WAY_MOVED);
            work->batch_taken += work->batch_err == TF_OK;
        }
        tf_message_unref(work->batch[i]);
    }
    work->batch_count = 0;
    work->taker = shard;
    work->stored = tf_shard_recorded_since(shard, appended);
    if (work->stored) {
        tf_list_push_back(&shard->named.moved, &work->node);
    } else {
        send_back(work);
    }
}

/* Answers for batches, and commands, that are on disk now, or never will be. */
static void answer_moved(struct tf_shard *shard)
{
    struct tf_list_node *node;
    while ((node = tf_list_first(&shard->named.moved))) {
        struct tf_queue_work *work = tf_container_of(node, struct tf_queue_work, node);
        bool done = tf_store_done(shard->config.store, work->stored);
        if (!done && !tf_shard_broken(shard)) {
            return;
        }
        tf_list_remove(node);
        if (!done) { /* nor will it ever be */
            *(work->finished ? &work->err : &work->batch_err) = TF_CLOSED;
        }
        if (work->finished) {
            answer(work);
        } else {
            send_back(work);
        }
    }
}

/* MOVED, back in the home of the first. */
static void batch_returned(struct tf_queue_work *work)
{
    struct tf_named_queue *named = tf_named_queue_find(work->shard, work->command.name);
    struct tf_list_node *node;
    work->count += work->batch_taken;
    work->left -= work->batch_taken;
    if (!named || named->number != work->number) {
        finish(work, NULL, TF_NOT_FOUND); /* deleted, with what has moved already */
        return;
    }
    while ((node = tf_list_first(&named->moving))) {
        if (work->batch_taken) {
            work->batch_taken--;
            tf_named_settle_entry(named, entry_of(node));
        } else {
            tf_named_return(named, entry_of(node));
        }
    }
    if (work->batch_err) {
        finish(work, named, work->batch_err == TF_LIMIT ? TF_OK : work->batch_err);
    } else {
        tf_list_push_back(&work->shard->named.commands, &work->node);
    }
}

/* ---- running ---- */

static void run(struct tf_queue_work *work, uint64_t *budget)
{
    const struct tf_queue_command *command = &work->command;
    if (command->type == TF_QUEUE_DECLARE) {
        declare(work);
        return;
    }
    struct tf_named_queue *named = tf_named_queue_find(work->shard, command->name);
    if (!named || (work->begun && named->number != work->number)) {
        finish(work, NULL, TF_NOT_FOUND);
        return;
    }
    if (!work->begun) {
        work->begun = true;
        work->number = named->number;
        work->left = named->queue.count - named->acquired; /* what comes later stays */
        if (command->type == TF_QUEUE_MOVE) {
            work->left = TF_MIN(work->left, command->limit);
        }
        work->all = work->left;
    }
    if (command->type == TF_QUEUE_DELETE) {
        delete_queue(work, named);
    } else if (command->type == TF_QUEUE_PURGE) {
        purge(work, named, budget);
    } else if (command->type == TF_QUEUE_MOVE) {
        unsigned to = tf_shard_home(work->shard, command->to);
        if (to == work->home) {
            move_here(work, named, budget);
        } else {
            move_away(work, named, to, budget);
        }
    } else {
        finish(work, named, TF_OK);
    }
}

void tf_queue_work_run(struct tf_shard *shard)
{
    struct tf_list now;
    struct tf_list_node *node;
    uint64_t budget = BUDGET;
    answer_moved(shard);
    tf_list_init(&now);
    tf_list_splice_back(&now, &shard->named.commands);
    while (budget && (node = tf_list_first(&now))) {
        /* at the end of those of the next turn; run takes it out when it is done */
        tf_list_remove(node);
        tf_list_push_back(&shard->named.commands, node);
        run(tf_container_of(node, struct tf_queue_work, node), &budget);
    }
    tf_list_splice_back(&now, &shard->named.commands);
    tf_list_splice_back(&shard->named.commands, &now);
}

void tf_queue_work_mail(struct tf_shard *shard, const struct tf_mail *mail)
{
    struct tf_queue_work *work = mail->object;
    switch (mail->type) {
    case TF_MAIL_COMMAND:
        work->shard = shard;
        tf_list_push_back(&shard->named.commands, &work->node);
        return;
    case TF_MAIL_MOVE:
        take_batch(shard, work);
        return;
    case TF_MAIL_MOVED:
        batch_returned(work);
        return;
    default: /* DONE */
        tell_owner(work);
        return;
    }
}

void tf_queue_work_release(struct tf_shard *shard)
{
    struct tf_list_node *node;
    while ((node = tf_list_pop_front(&shard->named.commands)) ||
           (node = tf_list_pop_front(&shard->named.asleep)) ||
           (node = tf_list_pop_front(&shard->named.moved))) {
        struct tf_queue_work *work = tf_container_of(node, struct tf_queue_work, node);
        tf_list_unlink(&work->opening.node);
        tf_queue_work_free(work);
    }
}

enum tf_err tf_shard_queue_command(struct tf_shard *shard, const struct tf_queue_command *command,
                                   struct tf_command_owner *owner, uint64_t tag)
{
    const struct tf_alloc *alloc = shard->config.alloc;
    const struct tf_queue_spec *spec = command->spec;
    size_t size = sizeof(struct tf_queue_work) + command->name.length + command->filter.length +
                  command->to.length + (spec ? spec->dead_letter.length : 0);
    struct tf_queue_work *work = alloc->alloc(alloc->ctx, size);
    if (!work) {
        return TF_NO_MEMORY;
    }
    memset(work, 0, sizeof(*work));
    work->alloc = alloc;
    work->size = size;
    work->tag = tag;
    work->from = shard->config.number;
    work->home = tf_shard_home(shard, command->name);
    uint8_t *next = (uint8_t *)(work + 1);
    work->command = *command;
    work->command.name = tf_bytes_put(&next, command->name);
    work->command.filter = tf_bytes_put(&next, command->filter);
    work->command.to = tf_bytes_put(&next, command->to);
    if (spec) {
        work->spec = *spec;
        work->spec.dead_letter = tf_bytes_put(&next, spec->dead_letter);
        work->command.spec = &work->spec;
    }
    struct tf_mail mail = {.type = TF_MAIL_COMMAND, .object = work};
    bool ordered = !command->recorded || tf_list_empty(&shard->named.unsent);
    if (work->home == work->from) {
        tf_queue_work_mail(shard, &mail);
    } else if (!ordered || !tf_shard_post(shard, work->home, &mail)) {
        alloc->free(alloc->ctx, work, size);
        return TF_NO_MEMORY;
    }
    work->owner = owner;
    tf_list_push_back(&owner->commands, &work->in_owner);
    return TF_OK;
}

void tf_command_owner_release(struct tf_command_owner *owner)
{
    struct tf_list_node *node;
    while ((node = tf_list_pop_front(&owner->commands))) {
        tf_container_of(node, struct tf_queue_work, in_owner)->owner = NULL;
    }
}
