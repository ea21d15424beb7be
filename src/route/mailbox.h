/*
 * Mail between shards: one ring of fixed-size records for each pair, written by one thread and read
 * by one other.
 *
 * Nobody waits. What finds its ring full goes to a list of the sender's, behind which all later
 * mail to that shard queues up, so that order is kept; while such a list is not empty the sender is
 * congested and reads no more from its connections (docs/adr/0005). A shard that has sent mail
 * wakes its readers once, at the end of its turn.
 *
 * Order holds for each pair of shards and for nothing else: mail from A may overtake mail from B.
 */
#ifndef TF_ROUTE_MAILBOX_H
#define TF_ROUTE_MAILBOX_H

#include "base/alloc.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <trefoil/err.h>

#define TF_SHARDS_MAX 64u /* a set of shards is one 64-bit word */

struct tf_mail {
    uint8_t type; /* the shard's own, or from TF_MAIL_BROKER up the broker's */
    uint8_t flags;
    uint16_t reason;
    uint32_t count;
    void
        *object; /* what it points to belongs to the reader from now on, unless its type says not */
    uint64_t tag;
    uint64_t value;
};

struct tf_post_office;

/* How a sleeping shard is woken: from any thread, cheap when it is awake already. */
struct tf_wake {
    void (*wake)(void *ctx, unsigned shard);
    void *ctx;
};

/* Rings between `count` shards, each of `capacity` records (a power of two). NULL: no memory. */
struct tf_post_office *tf_post_office_new(unsigned count, size_t capacity, struct tf_wake wake,
                                          const struct tf_alloc *alloc);

/* Frees it; mail still inside is lost: drain it first. No thread may use it any more. */
void tf_post_office_free(struct tf_post_office *office);

/* The shards it was made for. */
unsigned tf_post_office_count(const struct tf_post_office *office);

/*
 * Sends a copy of `mail`. Only the thread of shard `from` may. TF_NO_MEMORY: the ring is full and
 * the list could not grow; the caller still owns what the mail carries.
 */
TF_MUST_USE enum tf_err tf_mail_send(struct tf_post_office *office, unsigned from, unsigned to,
                                     const struct tf_mail *mail);

/* The next mail for shard `to`, in turns from all senders; false when there is none. */
bool tf_mail_receive(struct tf_post_office *office, unsigned to, struct tf_mail *ret,
                     unsigned *ret_from);

/*
 * The end of a turn of shard `from`: moves spilled mail on as far as there is room and wakes those
 * that have mail. True while something is spilled: be congested.
 */
bool tf_mail_flush(struct tf_post_office *office, unsigned from);

/* Bytes of spilled mail of shard `from`. */
size_t tf_mail_spilled(const struct tf_post_office *office, unsigned from);

#endif
