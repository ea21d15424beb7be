/*
 * The mail of single values: to whom each is handed, and what is sent again when memory ran out.
 * Writes are in write.c, reads in read.c, watchers in watch.c, what a home knows of them in
 * watched.c. See value_access.h.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "route/internal.h"

void tf_access_init(struct tf_shard *shard)
{
    struct tf_value_access *access = &shard->access;
    tf_map_init(&access->cells, shard->config.alloc);
    tf_map_init(&access->watched, shard->config.alloc);
    tf_list_init(&access->walking);
    tf_list_init(&access->dirty);
    tf_list_init(&access->unsent);
    tf_list_init(&access->writes.tickets);
    access->writes.done = tf_write_spread;
}

static struct tf_mail mail_of(const struct tf_unsent *unsent)
{
    return (struct tf_mail){.type = unsent->type, .flags = unsent->flags, .object = unsent->object};
}

void tf_access_post(struct tf_shard *shard, unsigned to, const struct tf_mail *mail,
                    struct tf_unsent *unsent)
{
    *unsent = (struct tf_unsent){
        .object = mail->object, .type = mail->type, .flags = mail->flags, .to = (uint8_t)to};
    /* once it is sent the object may be another thread's */
    if (!tf_shard_post(shard, to, mail)) {
        tf_list_push_back(&shard->access.unsent, &unsent->node);
    }
}

void tf_access_mail(struct tf_shard *shard, const struct tf_mail *mail)
{
    switch (mail->type) {
    case TF_MAIL_WRITE:
        tf_write_arrived(shard, mail->object);
        return;
    case TF_MAIL_WRITTEN:
        tf_write_returned(shard, mail->object);
        return;
    case TF_MAIL_GET:
        tf_read_arrived(shard, mail->object);
        return;
    case TF_MAIL_GOT:
        tf_read_returned(shard, mail->object);
        return;
    case TF_MAIL_WATCH:
        tf_watched_add(shard, mail->object);
        return;
    case TF_MAIL_TOLD:
        tf_watch_told(shard, mail->object, (struct tf_message *)(uintptr_t)mail->tag, mail->value);
        return;
    case TF_MAIL_REFUSED:
        tf_watch_refused(shard, mail->object);
        return;
    default: /* UNWATCH */
        tf_watched_remove(shard, mail->object);
        return;
    }
}

void tf_access_discard(const struct tf_mail *mail)
{
    switch (mail->type) {
    case TF_MAIL_WRITE:
    case TF_MAIL_WRITTEN:
        tf_write_free(mail->object);
        return;
    case TF_MAIL_GET:
    case TF_MAIL_GOT:
        tf_read_free(mail->object);
        return;
    default:
        if (mail->type == TF_MAIL_TOLD && mail->tag) {
            tf_message_unref((struct tf_message *)(uintptr_t)mail->tag);
        }
        tf_watch_cell_unref(mail->object);
        return;
    }
}

/* Sends what found no memory before, as far as there is some. */
static void resend(struct tf_shard *shard)
{
    struct tf_list_node *node;
    while ((node = tf_list_pop_front(&shard->access.unsent))) {
        struct tf_unsent *unsent = tf_container_of(node, struct tf_unsent, node);
        struct tf_mail mail = mail_of(unsent);
        if (!tf_shard_post(shard, unsent->to, &mail)) {
            tf_list_push_front(&shard->access.unsent, node);
            return;
        }
    }
}

void tf_access_work(struct tf_shard *shard)
{
    resend(shard);
    tf_watched_tell(shard);
    tf_watch_walk(shard);
}

void tf_access_release(struct tf_shard *shard)
{
    struct tf_value_access *access = &shard->access;
    struct tf_map_cursor cursor;
    struct tf_map_node *found;
    struct tf_list_node *node;
    while ((node = tf_list_pop_front(&access->writes.tickets))) {
        struct tf_ticket *ticket = tf_container_of(node, struct tf_ticket, in_owner);
        ticket->owner = NULL;
        tf_write_free((struct tf_write *)(uintptr_t)ticket->tag);
    }
    while ((node = tf_list_pop_front(&access->unsent))) {
        struct tf_mail mail = mail_of(tf_container_of(node, struct tf_unsent, node));
        tf_mail_discard(&mail);
    }
    for (found = tf_map_first(&access->watched, &cursor); found;
         found = tf_map_next(&access->watched, &cursor)) {
        tf_watched_free(shard, tf_container_of(found, struct tf_watched, node));
    }
    tf_assert(access->cells.count == 0); /* the fronts' watchers are gone */
    tf_map_release(&access->watched);
    tf_map_release(&access->cells);
}

bool tf_access_check(const struct tf_shard *shard)
{
    const struct tf_value_access *access = &shard->access;
    struct tf_map_cursor cursor;
    struct tf_map_node *node;
    uint64_t live_bytes = 0;
    bool good = tf_map_check(&access->cells) && tf_map_check(&access->watched);
    for (node = tf_map_first(&access->cells, &cursor); node;
         node = tf_map_next(&access->cells, &cursor)) {
        good &= tf_watch_cell_check(tf_container_of(node, struct tf_watch_cell, node));
    }
    for (node = tf_map_first(&access->watched, &cursor); node;
         node = tf_map_next(&access->watched, &cursor)) {
        good &=
            tf_watched_check(shard, tf_container_of(node, struct tf_watched, node), &live_bytes);
    }
    return good && !access->telling && live_bytes == shard->values.live_bytes;
}
