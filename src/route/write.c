/*
 * Writing a value under a condition: at its home, whichever shard asks.
 *
 *   writing shard                          home
 *       |---- WRITE ------------------------->|  looks at the condition, sets the value,
 *       |                                     |  publishes to all queues that match
 *       |                                     |<--- TICKET, from each shard it published to
 *       |<--------------------------- WRITTEN |
 *
 * The home publishes as if the writer were its own, so a new binding gets the value once by the
 * rules of bind.c. Everything that may lack memory is had before anything changes. Where there is a
 * store, the ticket in the home ends when what was recorded is safe, and WRITTEN goes then.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "route/internal.h"

bool tf_condition_holds(const struct tf_condition *condition, const struct tf_value_view *present)
{
    if (!condition) {
        return true;
    }
    bool good =
        (!condition->exists || present->message) && (!condition->absent || !present->message);
    if (!condition->version_count) {
        return good;
    }
    bool found = false;
    for (size_t i = 0; i < condition->version_count; i++) {
        found |= present->message && condition->versions[i] == present->version;
    }
    return good && found;
}

/* The write ends when `waiting` shards have answered and batch `number` (0: none) is done. */
static enum tf_err await(struct tf_shard *shard, struct tf_ticket *ticket, uint32_t waiting,
                         uint64_t number, struct tf_published *result)
{
    if (!waiting && !tf_shard_done(shard, number) && tf_shard_broken(shard)) {
        result->refused = true; /* it has broken in this very moment */
        result->taken = 0;
        return TF_OK;
    }
    ticket->waiting = waiting;
    ticket->held.number = number;
    ticket->result = *result;
    if (!waiting) {
        tf_ticket_end(shard, ticket);
    }
    return TF_AGAIN;
}

/* A write in the home of its address. TF_AGAIN, TF_NO_MEMORY: as tf_shard_write. */
static enum tf_err write_here(struct tf_shard *shard, struct tf_publication *publication,
                              const struct tf_condition *condition, struct tf_ticket_owner *owner,
                              uint64_t tag, struct tf_published *result)
{
    struct tf_value_view present;
    struct tf_ticket *ticket = NULL;
    tf_value_present(shard, publication->envelope.address, &present);
    result->existed = present.message != NULL;
    result->version = present.version;
    if (!tf_condition_holds(condition, &present)) {
        result->failed = true;
        return TF_OK;
    }
    struct tf_message *message = tf_publication_keep(publication, shard->config.alloc);
    if (!message) {
        return TF_NO_MEMORY;
    }
    if (owner && (shard->count > 1 || shard->config.store)) {
        ticket = tf_ticket_new(shard, owner, tag);
        if (!ticket) {
            tf_message_unref(message);
            return TF_NO_MEMORY;
        }
    }
    uint64_t appended = tf_shard_appended(shard);
    enum tf_err err = tf_value_set(shard, message, shard->config.number);
    if (err) {
        result->refused = true;
    } else {
        result->taken = 1;
        result->version = shard->values.version;
        tf_watched_stored(shard, message);
        uint32_t waiting = tf_shard_spread(shard, message, ticket, result);
        uint64_t number = ticket ? tf_shard_recorded_since(shard, appended) : 0;
        if (ticket && (waiting || number)) {
            err = await(shard, ticket, waiting, number, result);
        }
    }
    tf_message_unref(message);
    if (ticket && err != TF_AGAIN) {
        tf_ticket_free(shard, ticket);
    }
    return err == TF_LIMIT ? TF_OK : err;
}

void tf_write_free(struct tf_write *write)
{
    if (write->message) {
        tf_message_unref(write->message);
    }
    write->alloc->free(write->alloc->ctx, write, write->size);
}

static struct tf_write *new_write(struct tf_shard *shard, struct tf_publication *publication,
                                  const struct tf_condition *condition)
{
    const struct tf_alloc *alloc = shard->config.alloc;
    size_t count = condition ? condition->version_count : 0;
    size_t size = sizeof(struct tf_write) + count * sizeof(uint64_t);
    struct tf_message *message = tf_publication_keep(publication, alloc);
    struct tf_write *write = message ? alloc->alloc(alloc->ctx, size) : NULL;
    if (!write) {
        if (message) {
            tf_message_unref(message);
        }
        return NULL;
    }
    memset(write, 0, size);
    write->alloc = alloc;
    write->size = size;
    write->message = message;
    write->shard = shard->config.number;
    if (condition) {
        write->condition = *condition;
        write->condition.versions = write->versions;
    }
    if (count) {
        memcpy(write->versions, condition->versions, count * sizeof(uint64_t));
    }
    return write;
}

enum tf_err tf_shard_write(struct tf_shard *shard, struct tf_publication *publication,
                           const struct tf_condition *condition, struct tf_ticket_owner *owner,
                           uint64_t tag, struct tf_published *ret_result)
{
    struct tf_published result = {0};
    unsigned home = tf_shard_home(shard, publication->envelope.address);
    tf_assert(publication->envelope.retain);
    if (home == shard->config.number) {
        enum tf_err err = write_here(shard, publication, condition, owner, tag, &result);
        if (err != TF_NO_MEMORY) {
            *ret_result = result;
        }
        return err;
    }
    struct tf_write *write = new_write(shard, publication, condition);
    if (!write) {
        return TF_NO_MEMORY;
    }
    struct tf_ticket *ticket = owner ? tf_ticket_new(shard, owner, tag) : NULL;
    struct tf_mail mail = {.type = TF_MAIL_WRITE, .object = write};
    write->ticket = ticket;
    if ((owner && !ticket) || !tf_shard_post(shard, home, &mail)) {
        if (ticket) {
            tf_ticket_free(shard, ticket);
        }
        tf_write_free(write);
        return TF_NO_MEMORY;
    }
    *ret_result = result;
    if (!ticket) {
        return TF_OK;
    }
    ticket->waiting = 1;
    return TF_AGAIN;
}

/* Sends a write back, when it is known what became of it. */
static void answer(struct tf_shard *shard, struct tf_write *write,
                   const struct tf_published *result)
{
    if (!write->ticket) {
        tf_write_free(write);
        return;
    }
    write->result = *result;
    tf_message_unref(write->message);
    write->message = NULL;
    /* before the answer, on the same ring: who is answered finds the value in the cell */
    tf_watched_tell(shard);
    struct tf_mail mail = {.type = TF_MAIL_WRITTEN, .object = write};
    tf_access_post(shard, write->shard, &mail, &write->unsent);
}

void tf_write_arrived(struct tf_shard *shard, struct tf_write *write)
{
    struct tf_published result = {0};
    enum tf_err err = write_here(shard, &write->message->publication, &write->condition,
                                 write->ticket ? &shard->access.writes : NULL,
                                 (uint64_t)(uintptr_t)write, &result);
    if (err == TF_AGAIN) {
        return;
    }
    result.refused |= err == TF_NO_MEMORY;
    answer(shard, write, &result);
}

void tf_write_spread(struct tf_ticket_owner *owner, uint64_t tag, const struct tf_published *result)
{
    struct tf_shard *shard = tf_container_of(owner, struct tf_shard, access.writes);
    answer(shard, (struct tf_write *)(uintptr_t)tag, result);
}

void tf_write_returned(struct tf_shard *shard, struct tf_write *write)
{
    struct tf_ticket *ticket = write->ticket;
    ticket->result = write->result;
    tf_write_free(write);
    tf_ticket_finish(shard, ticket);
}
