/*
 * What the files of a shard share: mail between shards, and the bind protocol's request.
 */
#ifndef TF_ROUTE_INTERNAL_H
#define TF_ROUTE_INTERNAL_H

#include "route/shard.h"

enum tf_shard_mail {
    TF_MAIL_MESSAGE = 1, /* object: a counted message; tag: the ticket, 0 none; flags below */
    TF_MAIL_TICKET,      /* tag: the ticket; count: matched; value: taken; reason: refused */
    TF_MAIL_BIND,        /* object: a counted bind. To every shard */
    TF_MAIL_BOUND,       /* object: a counted bind. From every shard to each home */
    TF_MAIL_MARK,        /* object: a counted bind. From every other shard to the binding one */
    TF_MAIL_READY,       /* object: a counted bind; value: the first page, or 0; count: 1 if more */
    TF_MAIL_READ,        /* object: a counted bind; count: how many values at most */
    TF_MAIL_VALUES,      /* object: a page, which holds a count of its bind */
    TF_MAIL_CANCEL,      /* object: a counted bind. To homes that have values to read */
    TF_MAIL_UNBIND       /* object: a counted bind that names the filter */
};

#define TF_MAIL_ROUTE 1u  /* MESSAGE: give it to the queues that match */
#define TF_MAIL_VALUE 2u  /* MESSAGE: it is the value of its address */
#define TF_MAIL_FAILED 4u /* BOUND, READY: a shard had no memory for it */

/* What one home knows of a bind; only the home's thread touches it. */
struct tf_bind_home {
    struct tf_value_cursor cursor;
    struct tf_message *made_last; /* the one made when read that was given last */
    unsigned bound_count;
    bool open;                /* there may be values left to read */
    bool failed;              /* a shard could not bind */
    uint64_t *bound_versions; /* this home's version when it heard from shard n */
};

struct tf_bind_page;

struct tf_bind {
    atomic_uint refs;
    const struct tf_alloc *alloc;
    size_t size;
    /* the same for all, never changed */
    struct tf_bytes filter;
    unsigned shard;
    bool values;
    unsigned home_count; /* 1, or as many as there are shards */
    unsigned first_home;
    struct tf_bind_home *homes;
    /* the binding shard's own */
    struct tf_list_node node;    /* owner->binds */
    struct tf_list_node drawing; /* shard->drawing */
    struct tf_bind_owner *owner; /* NULL: cancelled */
    struct tf_queue *queue;
    struct tf_binding *binding;   /* while it awaits MARKs */
    struct tf_bind_page *pages;   /* values that came before the first draw */
    struct tf_binding *reads_for; /* while values are to come; NULL: none are, or it is gone */
    struct tf_bind *next_reader;  /* of the same binding */
    struct tf_map live; /* of tf_bind_live: what has come live meanwhile and makes values stale */
    uint64_t tag;
    uint64_t open;    /* homes with values to read; bit n is shard n */
    unsigned waiting; /* homes that are not ready */
    bool reading;     /* a READ is under way */
    bool failed;
};

/* Takes a mail of the bind protocol. */
void tf_bind_mail(struct tf_shard *shard, const struct tf_mail *mail, unsigned from);

/* Reads values for those who have asked, a bounded number. True: there is more to do. */
bool tf_bind_work(struct tf_shard *shard);

/*
 * Notes that a publication of shard `from`, that is to become a value, goes to a binding: whatever
 * value of the same address and shard is still to come for that binding is older.
 */
void tf_bind_saw(struct tf_shard *shard, struct tf_binding *binding,
                 const struct tf_publication *publication, unsigned from);

/* Tells every shard that this one has no binding of a filter any more. */
void tf_bind_withdraw(struct tf_shard *shard, struct tf_bytes filter);

/* Lets go of what a mail carries that nobody will read. */
void tf_mail_discard(const struct tf_mail *mail);

#endif
