/*
 * Reading the value of one address: at once in its home, by a mail there and back elsewhere. See
 * value_access.h.
 */
#include "base/mem.h"
#include "route/internal.h"

/* Drops of one address what has expired, should its timer be late. True: it has changed. */
static bool drop_expired(struct tf_shard *shard, struct tf_value *stored,
                         struct tf_watched *watched)
{
    bool changed = false;
    if (stored && stored->message->publication.envelope.expires <= shard->now) {
        tf_value_expire(shard, &stored->timer);
        changed = true;
    }
    /* after it, for what it reverts to is looked at as it stands */
    if (watched && watched->live &&
        watched->now.message->publication.envelope.expires <= shard->now) {
        tf_watched_revert(watched);
        changed = true;
    }
    return changed;
}

void tf_value_present(struct tf_shard *shard, struct tf_bytes address, struct tf_value_view *ret)
{
    uint64_t hash = tf_hash(address, &shard->values.key);
    struct tf_watched *watched = tf_watched_find(shard, address, hash);
    struct tf_value *stored = tf_values_find(&shard->values, address, hash);
    if (drop_expired(shard, stored, watched)) {
        stored = tf_values_find(&shard->values, address, hash);
    }
    if (watched) {
        *ret = (struct tf_value_view){watched->now.message, watched->now.version};
    } else if (stored) {
        *ret = (struct tf_value_view){stored->message, stored->shown};
    } else {
        *ret = (struct tf_value_view){NULL, shard->values.version};
    }
}

void tf_value_expire(struct tf_shard *shard, struct tf_timer *timer)
{
    struct tf_value *value = tf_container_of(timer, struct tf_value, timer);
    if (value->writer == TF_WRITER_LIVE) {
        tf_watched_revert(tf_container_of(value, struct tf_watched, now));
        return;
    }
    struct tf_watched *watched =
        tf_watched_find(shard, value->message->publication.envelope.address, value->node.hash);
    tf_value_forget(shard, value, TF_STORE_OS);
    tf_values_expire(&shard->values, timer);
    if (watched && !watched->live) {
        tf_watched_revert(watched);
    }
}

void tf_read_free(struct tf_read *read)
{
    tf_list_unlink(&read->in_owner);
    if (read->message) {
        tf_message_unref(read->message);
    }
    read->alloc->free(read->alloc->ctx, read, read->size);
}

enum tf_err tf_shard_read(struct tf_shard *shard, struct tf_bytes address,
                          struct tf_read_owner *owner, uint64_t tag, struct tf_value_view *ret)
{
    const struct tf_alloc *alloc = shard->config.alloc;
    unsigned home = tf_shard_home(shard, address);
    if (home == shard->config.number) {
        tf_value_present(shard, address, ret);
        return TF_OK;
    }
    size_t size = sizeof(struct tf_read) + address.length;
    struct tf_read *read = alloc->alloc(alloc->ctx, size);
    if (!read) {
        return TF_NO_MEMORY;
    }
    memset(read, 0, sizeof(*read));
    memcpy(read + 1, address.data, address.length);
    read->alloc = alloc;
    read->size = size;
    read->owner = owner;
    read->tag = tag;
    read->shard = shard->config.number;
    read->address = tf_bytes_of(read + 1, address.length);
    tf_list_push_back(&owner->reads, &read->in_owner);
    struct tf_mail mail = {.type = TF_MAIL_GET, .object = read};
    if (!tf_shard_post(shard, home, &mail)) {
        tf_read_free(read);
        return TF_NO_MEMORY;
    }
    return TF_AGAIN;
}

void tf_read_arrived(struct tf_shard *shard, struct tf_read *read)
{
    struct tf_value_view present;
    tf_value_present(shard, read->address, &present);
    read->message = present.message ? tf_message_ref(present.message) : NULL;
    read->version = present.version;
    struct tf_mail mail = {.type = TF_MAIL_GOT, .object = read};
    tf_access_post(shard, read->shard, &mail, &read->unsent);
}

void tf_read_returned(struct tf_shard *shard, struct tf_read *read)
{
    struct tf_value_view view = {read->message, read->version};
    struct tf_read_owner *owner = read->owner;
    (void)shard;
    tf_list_unlink(&read->in_owner);
    if (owner) {
        owner->done(owner, read->tag, &view);
    }
    tf_read_free(read);
}

void tf_read_owner_release(struct tf_read_owner *owner)
{
    struct tf_list_node *node;
    while ((node = tf_list_pop_front(&owner->reads))) {
        tf_container_of(node, struct tf_read, in_owner)->owner = NULL;
    }
}
