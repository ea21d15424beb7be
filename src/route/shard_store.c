/*
 * A shard and its store: what is recorded is handed over, and whatever answers because of it waits
 * until it is safe.
 *
 * What waits here are answers to other shards, and tickets of writes. They wait in the order of
 * their batches (shard->held), since batches are done in order. The output of connections waits
 * elsewhere: whoever makes it is told the number (tf_published.stored, tf_shard_recorded).
 *
 * A mail is read only when there is memory to hold its answer in (tf_held_ready): a shard that
 * stopped reading until the store is done could wait for one that waits for it, since batches may
 * join.
 *
 * When the store is broken, what waits will never be on disk: it is let go as a refusal.
 *
 * Invariants: `held` is in order of numbers. No number in it is 0. Nothing in it is known to be
 * done at the end of tf_held_work, unless `held_left`.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "route/internal.h"

#define HELD_BUDGET 4096u   /* let go in one turn */
#define SCRATCH_KEPT 65536u /* bytes of scratch that outlast a turn */

/* A mail that waits; its held.ticket is NULL. */
struct held_mail {
    struct tf_held held;
    struct tf_mail mail;
    unsigned to;
};

void tf_shard_wall(struct tf_shard *shard, tf_time wall)
{
    /* a clock that nobody has set may be behind: then times are kept as if the run began in 1970 */
    shard->wall = wall > shard->now ? wall - shard->now : 0;
}

uint64_t tf_shard_recorded(const struct tf_shard *shard)
{
    return shard->config.store ? tf_store_current(shard->config.store) : 0;
}

void tf_shard_submit(struct tf_shard *shard)
{
    struct tf_store_client *store = shard->config.store;
    if (!store) {
        return;
    }
    tf_kept_page(shard);
    if (store->batch && !store->wanted && shard->config.linger && shard->now < shard->submit_at) {
        if (shard->submit_at == TF_TIME_NEVER) {
            shard->submit_at = tf_time_add(shard->now, shard->config.linger);
        }
    } else {
        shard->submit_at = TF_TIME_NEVER;
        tf_store_submit(store);
    }
    if (shard->scratch_size > SCRATCH_KEPT) {
        tf_stored_room_release(shard);
    }
}

/* Puts it behind all that wait for the same batch or earlier ones: mostly the last place. */
static void hold(struct tf_shard *shard, struct tf_held *held, uint64_t number)
{
    struct tf_list_node *where = tf_list_last(&shard->held);
    held->number = number;
    while (where && tf_container_of(where, struct tf_held, node)->number > number) {
        where = tf_list_prev(&shard->held, where);
    }
    tf_list_insert_after(where ? where : &shard->held.head, &held->node);
}

/* The store will never have it. */
static void refuse_ticket(struct tf_ticket *ticket)
{
    ticket->result.refused = true;
    ticket->result.taken = 0;
}

void tf_refuse_mail(struct tf_mail *mail)
{
    mail->reason = true;
    mail->value = 0;
}

void tf_ticket_end(struct tf_shard *shard, struct tf_ticket *ticket)
{
    if (tf_shard_done(shard, ticket->held.number)) {
        tf_ticket_finish(shard, ticket);
    } else if (tf_shard_broken(shard)) {
        refuse_ticket(ticket);
        tf_ticket_finish(shard, ticket);
    } else {
        ticket->held.ticket = ticket;
        hold(shard, &ticket->held, ticket->held.number);
    }
}

bool tf_held_ready(struct tf_shard *shard)
{
    const struct tf_alloc *alloc = shard->config.alloc;
    if (!shard->held_spare) {
        struct held_mail *spare = alloc->alloc(alloc->ctx, sizeof(*spare));
        shard->held_spare = spare ? &spare->held : NULL;
    }
    return shard->held_spare != NULL;
}

bool tf_shard_hold(struct tf_shard *shard, unsigned to, const struct tf_mail *mail, uint64_t number)
{
    if (tf_shard_done(shard, number)) {
        return tf_shard_post(shard, to, mail);
    }
    if (tf_shard_broken(shard)) {
        struct tf_mail refusal = *mail;
        tf_refuse_mail(&refusal);
        return tf_shard_post(shard, to, &refusal);
    }
    if (!tf_held_ready(shard)) {
        return false;
    }
    struct held_mail *held = tf_container_of(shard->held_spare, struct held_mail, held);
    shard->held_spare = NULL;
    *held = (struct held_mail){.mail = *mail, .to = to};
    hold(shard, &held->held, number);
    return true;
}

static void free_mail(struct tf_shard *shard, struct held_mail *mail)
{
    shard->config.alloc->free(shard->config.alloc->ctx, mail, sizeof(*mail));
}

/* Lets go of one. False: it finds no memory, and stays. */
static bool let_go(struct tf_shard *shard, struct tf_held *held)
{
    if (held->ticket) {
        tf_list_remove(&held->node);
        tf_ticket_finish(shard, held->ticket);
        return true;
    }
    struct held_mail *waiting = tf_container_of(held, struct held_mail, held);
    if (!tf_shard_post(shard, waiting->to, &waiting->mail)) {
        return false;
    }
    tf_list_remove(&held->node);
    free_mail(shard, waiting);
    return true;
}

/* It waits for what will never be on disk. */
static void refuse(struct tf_held *held)
{
    if (held->ticket) {
        refuse_ticket(held->ticket);
    } else {
        tf_refuse_mail(&tf_container_of(held, struct held_mail, held)->mail);
    }
}

void tf_held_work(struct tf_shard *shard)
{
    struct tf_list_node *node;
    unsigned left = HELD_BUDGET;
    bool broken = tf_shard_broken(shard); /* before what is done is looked at */
    (void)tf_store_receive(shard->config.store);
    shard->held_left = false;
    while ((node = tf_list_first(&shard->held))) {
        struct tf_held *held = tf_container_of(node, struct tf_held, node);
        if (!tf_shard_done(shard, held->number)) {
            if (!broken) {
                return;
            }
            refuse(held);
        }
        if (left-- == 0 || !let_go(shard, held)) {
            shard->held_left = true;
            return;
        }
    }
}

void tf_held_release(struct tf_shard *shard)
{
    struct tf_list_node *node;
    if (shard->held_spare) {
        free_mail(shard, tf_container_of(shard->held_spare, struct held_mail, held));
        shard->held_spare = NULL;
    }
    while ((node = tf_list_pop_front(&shard->held))) {
        struct tf_held *held = tf_container_of(node, struct tf_held, node);
        if (!held->ticket) {
            struct held_mail *waiting = tf_container_of(held, struct held_mail, held);
            tf_mail_discard(&waiting->mail);
            free_mail(shard, waiting);
        }
    }
}
