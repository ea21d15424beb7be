/*
 * What the files of named queues share: the queue, its entries, and both halves of whatever is
 * attached to it.
 *
 *      shard of the consumer                      home of the queue
 *      tf_named_consumer -> tf_named_member  --- the same shard: calls
 *      tf_named_consumer -> tf_named_link    --- mail --->  tf_named_member
 *
 * Each half is memory of its own shard. A link lives from ATTACH until GONE has come back, a member
 * of another shard's link from ATTACH to DETACH; both mails are the last on their rings, so neither
 * half is ever named to a shard that has forgotten it. A parcel belongs to whoever has its mail.
 *
 * Invariants (tf_named_check):
 *  1. An entry is in one list: `available`, in order; `returned`, to be put back in order; the
 *     `acquired` of one member; or `moving`.
 *  2. `queue.count` and `queue.bytes` are those of all of them, and of the tail, which the store
 *     alone has (kept.h); `acquired` of the last two.
 *  3. queue.consumers has the members with credit that take now, and no others.
 *  4. At the end of a turn `returned` is empty or the queue dirty, and no member of queue.consumers
 *     could take an available entry.
 *  5. A cursor (`after`) rests on an available entry, which is marked, or on none; a browser has
 *     seen that entry.
 *  6. Letters wait for the end of the turn, or, while the store takes nothing new, in
 *     shard->named.unstored.
 */
#ifndef TF_ROUTE_NAMED_INTERNAL_H
#define TF_ROUTE_NAMED_INTERNAL_H

#include "route/internal.h"
#include "route/kept.h"
#include "route/named.h"

#define TF_NAMED_EXCLUDED_MAX                                          \
    64u /* consumers that an entry is not for; one more and it is dead \
         */

/* What few entries have. */
struct tf_named_extra {
    struct tf_bytes annotations; /* allocated */
    uint32_t count, capacity;
    uint64_t not_for[]; /* numbers of members */
};

/* A message's place in a named queue. entry.consumer and .ids are not used. */
struct tf_named_entry {
    struct tf_entry entry;
    struct tf_named_member *holder; /* who has acquired it */
    struct tf_named_extra *extra;   /* mostly NULL */
    struct tf_timer timer; /* its deadline is when it expires; armed while it is available */
};

/* Who waits until a queue's bindings stand. */
struct tf_named_opening {
    struct tf_list_node node; /* queue->opening */
    uint64_t last;            /* bind to wait for */
    uint32_t waits;           /* binds to hear from */
    enum tf_err err;
    void (*opened)(struct tf_named_opening *opening, enum tf_err err); /* NULL: not yet */
};

struct tf_named_queue {
    struct tf_queue queue; /* its `consumers` are the members that are ready */
    struct tf_tree_node node;
    struct tf_list_node in_all;
    struct tf_list_node dirty;
    struct tf_list_node unstored; /* shard->named.unstored */
    struct tf_list consumers;     /* of tf_named_member.in_queue */
    struct tf_list producers;
    struct tf_list browsers; /* of tf_named_member.ready: browsers with credit */
    struct tf_list draining;
    struct tf_list cursors;
    struct tf_list opening;
    struct tf_list returned; /* available again, not yet in order */
    struct tf_list moving;   /* acquired by a command */
    struct tf_list letters;  /* dead, to be published; no part of the queue any more */
    struct tf_list posted;   /* letters that other shards have yet to answer for */
    struct tf_list unproven; /* of tf_named_bind: recorded bindings that do not stand yet */
    struct tf_bind_owner binds;
    struct tf_queue_spec spec; /* its dead_letter is allocated */
    struct tf_timer idle;
    struct tf_queue_status status; /* the counters alone are kept up */
    struct tf_bytes name;          /* behind the struct */
    size_t size;
    uint64_t number;
    uint64_t bind_tag;      /* of the last bind */
    uint32_t binds_waiting; /* that have not been heard of */
    uint32_t acquired;
    uint32_t fresh_letters; /* since letters were posted last */
    uint32_t choosers;      /* members of `cursors` that do not browse */
    bool unsorted;          /* `returned` */
    bool private;           /* of one consumer */
    bool values;            /* may still be drawn */
    bool exclusive;         /* its one consumer is */
    bool pumping, again;
    bool full; /* as its producers have been told, or will be */
    bool full_known;
    bool fresh; /* made by who is still opening it */
    bool dying; /* out of the directory and without members: being freed */
};

/* What the queue knows of a consumer or producer. */
struct tf_named_attachment {
    struct tf_shard *shard;
    bool linked; /* a tf_named_link; else a tf_named_member */
};

struct tf_named_member {
    struct tf_named_attachment base;
    struct tf_named_queue *queue; /* NULL: it has been deleted */
    struct tf_list_node in_queue;
    struct tf_named_consumer *consumer; /* of this shard */
    struct tf_named_producer *producer;
    struct tf_named_link *link; /* or of another */
    struct tf_named_opening opening;
    struct tf_list_node ready;    /* queue.consumers, or browsers */
    struct tf_list_node draining; /* queue->draining */
    struct tf_list_node cursor;   /* queue->cursors: browses, or some entries are not for it */
    struct tf_list_node starved;  /* shard->named.starved */
    struct tf_list acquired;      /* of tf_named_entry */
    struct tf_named_entry *after; /* the cursor: looked at, and all before it; NULL: none */
    uint64_t seen;                /* browsers: positions below it */
    uint64_t number;
    uint64_t sent;      /* parcels, ever */
    uint64_t drain_tag; /* of the link's drain */
    uint32_t credit;
    bool blocked; /* it said TF_AGAIN */
    bool producing, browse, settled, exclusive;
    bool attached;
    /* if it is a link's */
    struct tf_list_node guest;   /* shard->named.guests */
    struct tf_list_node telling; /* shard->named.telling */
    uint8_t tell;                /* what the link is to be told, of enum tf_named_tell */
    enum tf_err err;             /* how attaching ended */
};

enum tf_named_tell {
    TF_TELL_ATTACHED = 1,
    TF_TELL_ROOM = 2,
    TF_TELL_DRAINED = 4,
    TF_TELL_DELETED = 8
};

/* What a consumer's or producer's shard knows of it when its queue is elsewhere. */
struct tf_named_link {
    struct tf_named_attachment base;
    /* the same for both shards, never changed */
    const struct tf_alloc *alloc;
    size_t size;
    unsigned shard, home;
    bool producing, browse, settled, exclusive, has_spec;
    struct tf_queue_declaration declaration; /* its views are behind the struct */
    struct tf_queue_spec spec;
    /* the attaching shard's own */
    struct tf_list_node in_shard;       /* shard->named.links */
    struct tf_list_node stale;          /* shard->named.stale */
    struct tf_named_consumer *consumer; /* NULL: gone */
    struct tf_named_producer *producer;
    struct tf_list waiting; /* of tf_named_parcel: refused by TF_AGAIN */
    struct tf_list held;    /* with the consumer */
    struct tf_unsent leave; /* DETACH */
    uint64_t received;      /* parcels, ever */
    uint64_t told;          /* how many the home may send, ever */
    uint64_t drain;         /* the number of the last drain */
    uint32_t credit;
    uint32_t waiting_count;
    uint32_t known; /* available, or room, as last heard */
    bool attached;
    bool draining, home_drained;
    bool offering; /* its consumer is being called */
    uint64_t seen; /* `received`, when it left */
    /* the home's own */
    struct tf_named_member *member; /* NULL: none */
    struct tf_unsent answer;        /* ATTACHED without a member, GONE */
};

/* A delivery on its way to a link, and its settlement on the way back. */
struct tf_named_parcel {
    struct tf_unsent unsent;
    struct tf_list_node node; /* link->waiting or held */
    const struct tf_alloc *alloc;
    size_t size;
    struct tf_named_link *link;
    struct tf_named_entry *entry; /* the home's; NULL: browsing */
    struct tf_message *message;   /* counted */
    struct tf_bytes annotations;  /* behind the struct */
    struct tf_outcome outcome;    /* its annotations are allocated */
    uint32_t attempts;
    bool acquired_before, retain;
    bool untouched; /* comes back as it went: nobody has seen it */
};

/* A message for a queue by name, on its way home. */
struct tf_named_letter {
    const struct tf_alloc *alloc;
    size_t size;
    struct tf_message *message; /* counted */
    struct tf_bytes name;       /* behind the struct */
};

/* Why an entry is dead. */
enum tf_named_death {
    TF_DEATH_EXPIRED,
    TF_DEATH_REJECTED,
    TF_DEATH_DROPPED /* too many attempts, or no room */
};

/* How a message comes to a queue. */
enum tf_named_way {
    TF_WAY_BOUND,  /* by a binding, or as a value */
    TF_WAY_DIRECT, /* addressed to the queue */
    TF_WAY_MOVED   /* from another queue, which keeps it if there is no room */
};

/* ---- named.c ---- */

/* Something is to be done with it at the end of the turn. */
void tf_named_touch(struct tf_named_queue *named);

/*
 * The queue of a declaration, made if it isn't there. TF_NOT_FOUND, TF_LIMIT, TF_NO_MEMORY: nothing
 * has changed.
 */
TF_MUST_USE enum tf_err tf_named_obtain(struct tf_shard *shard,
                                        const struct tf_queue_declaration *declaration,
                                        struct tf_named_queue **ret);

/* Makes the queue of a declaration, in the directory; not kept yet. Errors as above. */
TF_MUST_USE enum tf_err tf_named_make(struct tf_shard *shard,
                                      const struct tf_queue_declaration *declaration,
                                      struct tf_named_queue **ret);

/* Frees a queue that has just been made. */
void tf_named_unmake(struct tf_named_queue *named);

/*
 * Binds the queue and waits until that stands. TF_OK: it does. TF_AGAIN: opening->opened follows.
 * TF_NO_MEMORY, TF_LIMIT: it is not bound.
 */
TF_MUST_USE enum tf_err tf_named_open(struct tf_named_queue *named,
                                      struct tf_named_opening *opening,
                                      const struct tf_queue_declaration *declaration);

/* `spec` is in force now; views are copied. TF_NO_MEMORY, TF_LIMIT: nothing has changed. */
TF_MUST_USE enum tf_err tf_named_configure(struct tf_named_queue *named,
                                           const struct tf_queue_spec *spec);

/* A member for a consumer, producer or link (two of them NULL); in no queue. NULL: no memory. */
struct tf_named_member *tf_named_member_new(struct tf_shard *shard,
                                            struct tf_named_consumer *consumer,
                                            struct tf_named_producer *producer,
                                            struct tf_named_link *link);

/*
 * Puts a member into the queue that `declaration` names. TF_OK: it is attached. TF_AGAIN: it will
 * be, tf_named_entered follows. Else the member is in no queue.
 */
TF_MUST_USE enum tf_err tf_named_enter(struct tf_shard *shard, struct tf_named_member *member,
                                       const struct tf_queue_declaration *declaration);

/* Takes a member out of its queue, if it is in one, and frees it. */
void tf_named_leave(struct tf_named_member *member, bool lost);

/* Out of the directory, its members told; its memory goes by and by. */
void tf_named_delete(struct tf_named_queue *named);

/* True: nobody uses it, so that its days are counted. */
bool tf_named_idle(const struct tf_named_queue *named);

/* The idle timer runs, or not, as is right now. */
void tf_named_consider_idle(struct tf_named_queue *named);

/* The queue's opening is over without its opener, who failed: it goes if nobody else uses it. */
void tf_named_forsake(struct tf_named_queue *named);

/* ---- named_queue.c ---- */

/* Gives what is available to who is ready. */
void tf_named_pump(struct tf_named_queue *named);

/* Puts what was returned in order among the available. */
void tf_named_tidy(struct tf_named_queue *named);

/* Takes an entry out of `available` or `returned`; the caller puts it elsewhere. */
void tf_named_acquire(struct tf_named_queue *named, struct tf_named_entry *entry,
                      struct tf_named_member *holder, struct tf_list *list);

/* An acquired entry becomes available again at its place, by and by. */
void tf_named_return(struct tf_named_queue *named, struct tf_named_entry *entry);

/* An entry in any state goes: its message is done with. */
void tf_named_drop(struct tf_named_queue *named, struct tf_named_entry *entry);

/* Its message is done with. */
void tf_named_settle_entry(struct tf_named_queue *named, struct tf_named_entry *entry);

/* A member will never take this entry, which it holds. */
void tf_named_never(struct tf_named_queue *named, struct tf_named_member *member,
                    struct tf_named_entry *entry);

/* Other annotations for an entry. False: no memory, or no room by the queue's limit: it keeps those
 * it has. */
bool tf_named_annotate(struct tf_named_queue *named, struct tf_named_entry *entry,
                       struct tf_bytes annotations);

/* A new entry, put at the end. */
void tf_named_append(struct tf_named_queue *named, struct tf_named_entry *entry);

/* An entry of the tail, with its position, put at the end. False: no memory for the annotations,
 * nothing has changed. */
bool tf_named_load(struct tf_named_queue *named, struct tf_named_entry *entry,
                   struct tf_bytes annotations);

/* Takes an entry out of the queue; it is the caller's to free. */
void tf_named_remove(struct tf_named_queue *named, struct tf_named_entry *entry);

/* Frees an entry that is in no queue. */
void tf_named_entry_free(const struct tf_alloc *alloc, struct tf_named_entry *entry);

/* The bytes that an entry counts for. */
uint64_t tf_named_charge(const struct tf_named_entry *entry);

/*
 * Hands a publication straight to the member whose turn it is, if that one settles at once and
 * nothing waits. False: nobody took it.
 */
bool tf_named_straight(struct tf_named_queue *named, struct tf_publication *publication,
                       bool retain);

/* How many messages its producers may send: what there is room for; a queue that drops takes all.
 */
uint32_t tf_named_queue_room(const struct tf_named_queue *named);

/* To be called when how much is in the queue, or its limits, have changed: its producers are told,
 * and the time that it may stay unused begins or ends. */
void tf_named_changed(struct tf_named_queue *named);

/* True: only acquired entries, or none, are in it; and there is no tail. */
bool tf_named_nothing(const struct tf_named_queue *named);

/* The member's credit and readiness have changed. */
void tf_named_ready_again(struct tf_named_member *member);

/* ---- named_entry.c ---- */

extern const struct tf_queue_ops tf_named_queue_ops;

/* Puts a publication into the queue. Returns like tf_queue_push. */
enum tf_err tf_named_push(struct tf_named_queue *named, struct tf_publication *publication,
                          bool retain, enum tf_named_way way);

/* An entry in any state goes to the dead-letter address, or is dropped. */
void tf_named_die(struct tf_named_queue *named, struct tf_named_entry *entry,
                  enum tf_named_death death);

/* A failed delivery more. True: it was one too many, and the entry is dead. */
bool tf_named_failed(struct tf_named_queue *named, struct tf_named_entry *entry);

/* What a member says of an entry that it has acquired. */
void tf_named_outcome(struct tf_named_member *member, struct tf_named_entry *entry,
                      const struct tf_outcome *outcome);

/* Publishes dead letters, a bounded number. False: some are left. */
bool tf_named_post_letters(struct tf_named_queue *named);

/* shard->named.letters.done: a letter's publication has been answered; `tag` is its entry. */
void tf_named_letter_answered(struct tf_ticket_owner *owner, uint64_t tag,
                              const struct tf_published *result);

/* Frees dead letters unpublished. */
void tf_named_drop_letters(struct tf_named_queue *named);

/* Drops the oldest of a queue that drops them, while it is over its limits and some are in memory;
 * and asks for more of them if that is not enough. */
void tf_named_trim(struct tf_named_queue *named);

/* ---- named_kept.c; without effect on a queue that is not kept ---- */

/* How many entries the store alone has. */
static inline uint32_t tf_named_tail(const struct tf_named_queue *named)
{
    return named->queue.kept ? named->queue.kept->tail_count : 0;
}

/* Begins to keep a new queue, if its spec wants that. TF_NO_MEMORY, TF_LIMIT: it is not. */
TF_MUST_USE enum tf_err tf_named_keep(struct tf_named_queue *named);

/*
 * `spec` will be in force: records it; begins to keep what is there. What is not to be kept any
 * more is until tf_named_end_keeping. TF_NO_MEMORY, TF_LIMIT: nothing has changed.
 */
TF_MUST_USE enum tf_err tf_named_keep_as(struct tf_named_queue *named,
                                         const struct tf_queue_spec *spec);

/* What is not to be kept any more is not, once all of it is in memory and no letter depends on it.
 */
void tf_named_end_keeping(struct tf_named_queue *named);

/* A queue that is dying: nothing of it comes back at a restart, but for letters on their way. */
void tf_named_forget(struct tf_named_queue *named);

/* Records a binding that is about to be made. TF_NO_MEMORY, TF_LIMIT: it must not be. */
TF_MUST_USE enum tf_err tf_named_keep_binding(struct tf_named_queue *named, struct tf_bytes filter,
                                              const struct tf_binding_options *options,
                                              uint64_t tag);

/* The bind with this tag has ended: what does not stand is not recorded. */
void tf_named_bound(struct tf_named_queue *named, uint64_t tag, enum tf_err err);

/* The bindings that there are will be removed. */
void tf_named_forget_bindings(struct tf_named_queue *named);

/* Records a new entry, for which room was reserved; it has its position. */
void tf_named_record(struct tf_named_queue *named, struct tf_named_entry *entry, uint8_t level);

/* Records what will be an entry of the tail. `entry` and its message stay with the caller. */
void tf_named_record_tail(struct tf_named_queue *named, struct tf_named_entry *entry,
                          uint8_t level);

/* Records what has found no room and will be a letter: whoever published it is told that it is. */
void tf_named_record_letter(struct tf_named_queue *named, struct tf_named_entry *entry,
                            uint8_t level);

/* An entry's attempts or annotations have changed. */
void tf_named_record_change(struct tf_named_queue *named, struct tf_named_entry *entry);

/* Reads the next page of the tail, if somebody would take it. */
void tf_named_page(struct tf_named_queue *named);

/* ---- named_consumer.c ---- */

/* Puts a publication into a queue that it was addressed to. TF_OK or TF_NO_MEMORY. */
enum tf_err tf_named_put(struct tf_named_queue *named, struct tf_publication *publication,
                         struct tf_published *result);

/* Frees a letter. */
void tf_named_letter_free(struct tf_named_letter *letter);

/* ---- named_remote.c ---- */

/* Mails an entry, or one that is browsed, to a link. TF_NO_MEMORY: not now. */
TF_MUST_USE enum tf_err tf_named_send(struct tf_named_member *member, struct tf_named_entry *entry,
                                      bool acquired_before);

/* The member's link is to be told something. */
void tf_named_tell(struct tf_named_member *member, unsigned what);

/* Attaches to a queue of another shard. */
TF_MUST_USE enum tf_err tf_named_link_open(struct tf_shard *shard,
                                           struct tf_named_consumer *consumer,
                                           struct tf_named_producer *producer,
                                           const struct tf_queue_declaration *declaration);

/* What the calls of named.h do when the queue is elsewhere. */
void tf_named_link_credit(struct tf_named_link *link, uint32_t credit);
void tf_named_link_drain(struct tf_named_link *link);
void tf_named_link_ready(struct tf_named_link *link);
void tf_named_link_settle(struct tf_named_link *link, uint64_t handle,
                          const struct tf_outcome *outcome);
void tf_named_link_leave(struct tf_named_link *link, bool lost);

/* Mails now, or when there is memory, in order with all that waits for it. */
void tf_named_post(struct tf_shard *shard, unsigned to, const struct tf_mail *mail,
                   struct tf_unsent *unsent);

/* Mails what waits for it. */
void tf_named_remote_work(struct tf_shard *shard);

/* Frees links, and parcels that wait. */
void tf_named_remote_release(struct tf_shard *shard);

/* Frees a parcel. */
void tf_named_parcel_free(struct tf_named_parcel *parcel);

/* ---- named_command.c ---- */

struct tf_queue_work;

/* COMMAND, DONE, MOVE, MOVED. */
void tf_queue_work_mail(struct tf_shard *shard, const struct tf_mail *mail);

/* Goes on with the commands of this shard, a bounded part. */
void tf_queue_work_run(struct tf_shard *shard);

/* A page of the queue's tail has come, or the queue is going: commands that wait for it go on. */
void tf_queue_work_wake(struct tf_named_queue *named);

/* Frees a command. */
void tf_queue_work_free(struct tf_queue_work *work);

/* Frees what waits in this shard. */
void tf_queue_work_release(struct tf_shard *shard);

#endif
