/*
 * Sessions that the store keeps. See kept_rig.h.
 */
#include "unit/route/kept_rig.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/util.h"

static void note(struct session *session, const struct tf_publication *publication,
                 struct tf_entry *entry, uint32_t tag, uint32_t ids, uint8_t qos)
{
    tf_assert(session->seen_count < SESSION_SEEN_MAX);
    struct session_seen *seen = &session->seen[session->seen_count++];
    struct tf_bytes body = publication->body_count ? publication->body[0] : tf_bytes_str("");
    *seen = (struct session_seen){.entry = entry, .tag = tag, .ids = ids, .qos = qos};
    snprintf(seen->body, sizeof(seen->body), "%.*s", (int)TF_MIN(body.length, 20u),
             (const char *)body.data);
}

static enum tf_err deliver(struct tf_consumer *consumer, const struct tf_delivery *delivery)
{
    struct session *session = tf_container_of(consumer, struct session, consumer);
    struct tf_entry *entry = delivery->entry;
    if (session->credit == 0) {
        return TF_AGAIN;
    }
    session->credit--;
    note(session, delivery->publication, entry, entry ? ++session->next_tag : 0,
         delivery->ids.count, delivery->qos);
    if (entry && !session->untagged) {
        tf_entry_tag(entry, session->next_tag);
    }
    if (entry && session->settle_at_once) {
        session->seen[session->seen_count - 1].entry = NULL;
        tf_entry_settle(entry);
    }
    return TF_OK;
}

static void on_drained(struct tf_consumer *consumer)
{
    tf_container_of(consumer, struct session, consumer)->drained++;
}

static const struct tf_consumer_ops ops = {.deliver = deliver, .drained = on_drained};

static void bound(struct tf_bind_owner *owner, uint64_t tag, enum tf_err err)
{
    (void)tag;
    tf_container_of(owner, struct session, owner)->bound += err == TF_OK;
}

static void prepare(struct session *session, struct tf_shard *shard)
{
    session->consumer = (struct tf_consumer){.ops = &ops};
    session->owner.bound = bound;
    tf_list_init(&session->owner.binds);
    tf_queue_init(&session->queue, shard, &session->limits, &session->counters);
    if (shard->config.store) {
        enum tf_err err = tf_queue_keep(&session->queue, session->id, TF_STORE_DISK, NULL);
        tf_assert(err == TF_OK);
        session->id = session->queue.kept->id;
    }
}

void session_start(struct session *session, struct tf_shard *shard, bool attend)
{
    memset(session, 0, sizeof(*session));
    session->limits = (struct tf_queue_limits){100000, 1 << 30, TF_OVERFLOW_DROP_NEW};
    session->credit = UINT32_MAX;
    prepare(session, shard);
    if (attend) {
        session_attend(session);
    }
}

void session_attend(struct session *session)
{
    tf_consumer_attach(&session->consumer, &session->queue);
}

void session_leave(struct session *session)
{
    tf_consumer_detach(&session->consumer);
}

void session_pause(struct session *session)
{
    tf_bind_owner_release(session->queue.shard, &session->owner);
    session_leave(session);
    tf_queue_release(&session->queue);
}

void session_end(struct session *session)
{
    tf_queue_unkeep(&session->queue, true);
    session_pause(session);
}

static struct tf_message *load(struct store_rig *k, struct tf_shard *shard, uint64_t id)
{
    struct tf_journal *journal = tf_store_journal(k->store);
    struct tf_message *message;
    size_t length;
    enum tf_err err = tf_journal_length(journal, id, &length);
    tf_assert(err == TF_OK);
    uint8_t *bytes = malloc(length);
    tf_assert(bytes);
    err = tf_journal_read(journal, id, bytes, length);
    tf_assert(err == TF_OK);
    err = tf_stored_message_read(tf_bytes_of(bytes, length), shard->wall, shard->config.alloc,
                                 &message);
    tf_assert(err == TF_OK);
    free(bytes);
    return message;
}

void session_resume(struct session *session, struct store_rig *k, unsigned number)
{
    struct tf_shard *shard = &k->rig.shards[number];
    struct tf_journal_cursor cursor = {0};
    struct tf_journal_place place;
    uint64_t bytes = 0, first = 0;
    uint32_t count = 0;
    prepare(session, shard);
    session->seen_count = session->restored = 0;
    while (tf_journal_next_entry(tf_store_journal(k->store), &cursor, &place)) {
        struct tf_stored_entry stored;
        struct tf_entry *entry;
        if (place.queue != session->id) {
            continue;
        }
        enum tf_err err = tf_stored_entry_read(place.attributes, &stored);
        tf_assert(err == TF_OK);
        if (stored.tag) {
            struct tf_message *message = load(k, shard, place.message);
            err = tf_queue_restore_entry(&session->queue, place.position, &stored, message, &entry);
            tf_assert(err == TF_OK);
            note(session, &message->publication, entry, entry->tag, entry->ids.count, entry->qos);
            session->restored++;
            continue;
        }
        first = count++ ? first : place.position;
        bytes += stored.charge;
    }
    tf_queue_restore(&session->queue, count, bytes, first);
    tf_assert(tf_queue_check(&session->queue));
}

void session_settle(struct session *session, size_t i)
{
    struct tf_entry *entry = session->seen[i].entry;
    tf_assert(i < session->seen_count && entry);
    session->seen[i].entry = NULL;
    tf_entry_settle(entry);
}

enum tf_err session_push(struct session *session, const char *body, uint8_t qos, tf_time expires)
{
    static const uint32_t id = 300;
    struct tf_subscription_ids ids = {&id, 1};
    struct tf_bytes bytes;
    struct tf_publication publication =
        rig_publication(tf_bytes_str("a"), body, qos, false, &bytes);
    publication.envelope.expires = expires;
    enum tf_err err =
        tf_queue_push(&session->queue, &publication, &ids, qos, false, session->queue.shard->now);
    tf_publication_release(&publication);
    tf_assert(tf_queue_check(&session->queue));
    return err;
}

void session_pump(struct session *session)
{
    tf_queue_pump(&session->queue, session->queue.shard->now);
    tf_assert(tf_queue_check(&session->queue));
}
