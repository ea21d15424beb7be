/*
 * Consumers and producers of named queues, as a front calls them: in the queue's own shard they
 * are members of it, else links (named_remote.c).
 */
#include "base/assert.h"
#include "base/mem.h"
#include "route/named_internal.h"

static struct tf_named_member *member_of(struct tf_named_attachment *attachment)
{
    return tf_container_of(attachment, struct tf_named_member, base);
}

static struct tf_named_link *link_of(struct tf_named_attachment *attachment)
{
    return tf_container_of(attachment, struct tf_named_link, base);
}

/* Attaches one of the two. */
static enum tf_err attach(struct tf_shard *shard, struct tf_named_consumer *consumer,
                          struct tf_named_producer *producer,
                          const struct tf_queue_declaration *declaration)
{
    if (declaration->name.length &&
        tf_shard_home(shard, declaration->name) != shard->config.number) {
        return tf_named_link_open(shard, consumer, producer, declaration);
    }
    struct tf_named_member *member = tf_named_member_new(shard, consumer, producer, NULL);
    if (!member) {
        return TF_NO_MEMORY;
    }
    enum tf_err err = tf_named_enter(shard, member, declaration);
    if (err == TF_OK || err == TF_AGAIN) {
        *(consumer ? &consumer->attachment : &producer->attachment) = &member->base;
    } else {
        tf_named_leave(member, false);
    }
    return err;
}

static void detach(struct tf_named_attachment *attachment, bool lost)
{
    if (attachment->linked) {
        tf_named_link_leave(link_of(attachment), lost);
    } else {
        tf_named_leave(member_of(attachment), lost);
    }
}

enum tf_err tf_shard_consume(struct tf_shard *shard, struct tf_named_consumer *consumer,
                             const struct tf_queue_declaration *declaration)
{
    tf_assert(!consumer->attachment);
    return attach(shard, consumer, NULL, declaration);
}

void tf_named_credit(struct tf_named_consumer *consumer, uint32_t credit)
{
    if (!consumer->attachment) {
        return;
    }
    if (consumer->attachment->linked) {
        tf_named_link_credit(link_of(consumer->attachment), credit);
        return;
    }
    struct tf_named_member *member = member_of(consumer->attachment);
    member->credit = credit;
    member->blocked = false;
    tf_named_ready_again(member);
    tf_named_pump(member->queue);
}

void tf_named_drain(struct tf_named_consumer *consumer)
{
    if (!consumer->attachment) {
        return;
    }
    if (consumer->attachment->linked) {
        tf_named_link_drain(link_of(consumer->attachment));
        return;
    }
    struct tf_named_member *member = member_of(consumer->attachment);
    if (!tf_list_linked(&member->draining)) {
        tf_list_push_back(&member->queue->draining, &member->draining);
    }
    tf_named_pump(member->queue);
}

void tf_named_ready(struct tf_named_consumer *consumer)
{
    if (!consumer->attachment) {
        return;
    }
    if (consumer->attachment->linked) {
        tf_named_link_ready(link_of(consumer->attachment));
        return;
    }
    struct tf_named_member *member = member_of(consumer->attachment);
    if (member->blocked) {
        member->blocked = false;
        tf_named_ready_again(member);
        tf_named_pump(member->queue);
    }
}

uint32_t tf_named_available(const struct tf_named_consumer *consumer)
{
    if (!consumer->attachment) {
        return 0;
    }
    if (consumer->attachment->linked) {
        const struct tf_named_link *link = link_of(consumer->attachment);
        return link->known + link->waiting_count;
    }
    const struct tf_named_queue *named = member_of(consumer->attachment)->queue;
    return named->queue.count - named->acquired;
}

struct tf_bytes tf_named_annotations(const struct tf_named_consumer *consumer, uint64_t handle)
{
    if (consumer->attachment->linked) {
        return ((const struct tf_named_parcel *)(uintptr_t)handle)->annotations;
    }
    const struct tf_named_entry *entry = (const struct tf_named_entry *)(uintptr_t)handle;
    return entry->extra ? entry->extra->annotations : (struct tf_bytes){NULL, 0};
}

void tf_named_settle(struct tf_named_consumer *consumer, uint64_t handle,
                     const struct tf_outcome *outcome)
{
    if (!consumer->attachment) {
        return;
    }
    if (consumer->attachment->linked) {
        tf_named_link_settle(link_of(consumer->attachment), handle, outcome);
    } else {
        tf_named_outcome(member_of(consumer->attachment),
                         (struct tf_named_entry *)(uintptr_t)handle, outcome);
    }
}

void tf_named_detach(struct tf_named_consumer *consumer, bool lost)
{
    if (consumer->attachment) {
        struct tf_named_attachment *attachment = consumer->attachment;
        consumer->attachment = NULL;
        detach(attachment, lost);
    }
}

enum tf_err tf_shard_produce(struct tf_shard *shard, struct tf_named_producer *producer,
                             const struct tf_queue_declaration *declaration)
{
    tf_assert(!producer->attachment);
    return attach(shard, NULL, producer, declaration);
}

uint32_t tf_named_room(const struct tf_named_producer *producer)
{
    if (!producer->attachment) {
        return 0;
    }
    if (producer->attachment->linked) {
        return link_of(producer->attachment)->known;
    }
    return tf_named_queue_room(member_of(producer->attachment)->queue);
}

void tf_named_producer_detach(struct tf_named_producer *producer)
{
    if (producer->attachment) {
        struct tf_named_attachment *attachment = producer->attachment;
        producer->attachment = NULL;
        detach(attachment, false);
    }
}

/* ---- to a queue alone ---- */

enum tf_err tf_named_put(struct tf_named_queue *named, struct tf_publication *publication,
                         struct tf_published *result)
{
    struct tf_shard *shard = named->queue.shard;
    uint64_t appended = tf_shard_appended(shard);
    enum tf_err err = tf_named_push(named, publication, false, TF_WAY_DIRECT);
    *result = (struct tf_published){
        .matched = 1, .taken = err == TF_OK, .stored = tf_shard_recorded_since(shard, appended)};
    shard->counters.published++;
    if (err == TF_OK) {
        shard->counters.routed++;
    } else {
        shard->counters.dropped++;
        result->refused = err == TF_NO_MEMORY || named->spec.limits.overflow == TF_OVERFLOW_REFUSE;
    }
    return err == TF_NO_MEMORY ? err : TF_OK;
}

/* Mails what has been kept to a queue's home, with a ticket if somebody waits. */
static enum tf_err mail_home(struct tf_shard *shard, unsigned home, struct tf_mail *mail,
                             struct tf_ticket_owner *owner, uint64_t tag,
                             struct tf_published *ret_result)
{
    struct tf_ticket *ticket = owner ? tf_ticket_new(shard, owner, tag) : NULL;
    if (owner && !ticket) {
        return TF_NO_MEMORY;
    }
    mail->tag = (uint64_t)(uintptr_t)ticket;
    if (!tf_shard_post(shard, home, mail)) {
        if (ticket) {
            tf_ticket_free(shard, ticket);
        }
        return TF_NO_MEMORY;
    }
    *ret_result = (struct tf_published){0};
    if (!ticket) {
        return TF_OK;
    }
    ticket->waiting = 1;
    return TF_AGAIN;
}

enum tf_err tf_named_produce(struct tf_named_producer *producer, struct tf_publication *publication,
                             struct tf_ticket_owner *owner, uint64_t tag,
                             struct tf_published *ret_result)
{
    if (!producer->attachment) {
        *ret_result = (struct tf_published){0};
        return TF_OK;
    }
    if (!producer->attachment->linked) {
        struct tf_published result;
        enum tf_err err =
            tf_named_put(member_of(producer->attachment)->queue, publication, &result);
        if (err == TF_OK) {
            *ret_result = result;
        }
        return err;
    }
    struct tf_named_link *link = link_of(producer->attachment);
    struct tf_shard *shard = link->base.shard;
    struct tf_message *message = tf_publication_keep(publication, shard->config.alloc);
    if (!message) {
        return TF_NO_MEMORY;
    }
    struct tf_mail mail = {
        .type = TF_MAIL_PRODUCE, .object = message, .value = (uint64_t)(uintptr_t)link};
    enum tf_err err = mail_home(shard, link->home, &mail, owner, tag, ret_result);
    if (err == TF_NO_MEMORY) {
        tf_message_unref(message);
    }
    return err;
}

void tf_named_letter_free(struct tf_named_letter *letter)
{
    tf_message_unref(letter->message);
    letter->alloc->free(letter->alloc->ctx, letter, letter->size);
}

static struct tf_named_letter *new_letter(struct tf_shard *shard, struct tf_bytes name,
                                          struct tf_publication *publication)
{
    const struct tf_alloc *alloc = shard->config.alloc;
    size_t size = sizeof(struct tf_named_letter) + name.length;
    struct tf_message *message = tf_publication_keep(publication, alloc);
    struct tf_named_letter *letter = message ? alloc->alloc(alloc->ctx, size) : NULL;
    if (!letter) {
        if (message) {
            tf_message_unref(message);
        }
        return NULL;
    }
    memcpy(letter + 1, name.data, name.length);
    *letter = (struct tf_named_letter){.alloc = alloc,
                                       .size = size,
                                       .message = message,
                                       .name = tf_bytes_of(letter + 1, name.length)};
    return letter;
}

enum tf_err tf_shard_enqueue(struct tf_shard *shard, struct tf_bytes name,
                             struct tf_publication *publication, struct tf_ticket_owner *owner,
                             uint64_t tag, struct tf_published *ret_result)
{
    unsigned home = tf_shard_home(shard, name);
    if (home == shard->config.number) {
        struct tf_published result = {0};
        struct tf_named_queue *named = tf_named_queue_find(shard, name);
        enum tf_err err = named ? tf_named_put(named, publication, &result) : TF_OK;
        if (err == TF_OK) {
            *ret_result = result;
        }
        return err;
    }
    struct tf_named_letter *letter = new_letter(shard, name, publication);
    if (!letter) {
        return TF_NO_MEMORY;
    }
    struct tf_mail mail = {.type = TF_MAIL_ENQUEUE, .object = letter};
    enum tf_err err = mail_home(shard, home, &mail, owner, tag, ret_result);
    if (err == TF_NO_MEMORY) {
        tf_named_letter_free(letter);
    }
    return err;
}
