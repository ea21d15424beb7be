/*
 * What the files of the CoAP front share.
 *
 *   coap_front.c          the front's life, channels: datagrams in and out, timers
 *   coap_front_request.c  a request: what it asks for, reading and writing values
 *   coap_front_answer.c   an answer: options and body of a value, now or when there is room
 *   coap_front_observe.c  observers
 *   coap_front_survive.c  observers that asked to survive a restart
 *   coap_front_patch.c    PATCH and iPATCH: read, change, write if nobody else did
 *   coap_front_listing.c  /.well-known/core
 *   coap_front_gather.c   a shard's part of it
 *
 * A request is answered while the machine's event is at hand where the home is this shard and no
 * other shard has to be asked. Else there is a `work` for it, which waits for what was asked:
 *
 *             a body in blocks         all of it          the shards have answered
 *   request ------------------> BODY ------------+------> WAITING --------------> ANSWER --> gone
 *      +------------------------------------------+          |    (no room for it)
 *                                                            +--> (ended by the peer or the
 * channel: `channel` NULL) ------> gone
 *
 * A patch of many is in TURN before it is in WAITING, until there is a turn that may bear it.
 */
#ifndef TF_BROKER_COAP_FRONT_INTERNAL_H
#define TF_BROKER_COAP_FRONT_INTERNAL_H

#include "base/tree.h"
#include "broker/config.h"
#include "broker/durability.h"
#include "broker/front.h"
#include "broker/log.h"
#include "broker/mapping.h"
#include "route/value_access.h"

#include <trefoil/coap_endpoint.h>

#define COAP_OUTPUT_SIZE (64u * 1024) /* of a channel's output buffer */
#define COAP_VERSIONS_MAX 8u          /* ETags of If-Match that are looked at */
#define COAP_RETRY_S 10u              /* when the store takes nothing new: try again after that */
#define COAP_PATCH_ATTEMPTS 4u        /* of PATCH, while others keep writing */

struct coap_front;
struct coap_reply;
struct coap_survivor;

/* A datagram socket with its endpoint. */
struct coap_channel {
    struct tf_channel channel;
    struct tf_list_node in_front; /* front->channels */
    struct coap_front *front;
    unsigned listener; /* place in config->listeners */
    struct tf_coap_endpoint_config config;
    struct tf_coap_endpoint *endpoint;
    size_t endpoint_size;
    uint8_t *output; /* lent to the endpoint, or NULL */
    struct tf_front_timer timer;
    struct tf_list works;            /* all of its requests that are under way */
    struct tf_list answers;          /* works that have an answer and found no room for it */
    struct tf_list observers;        /* coap_observer.in_channel */
    struct tf_coap_counters counted; /* what the front's counters have of it */
};

/* What a request may demand of the value it concerns. */
struct coap_condition {
    struct tf_condition condition; /* its versions point to the array below once it is used */
    uint64_t versions[COAP_VERSIONS_MAX];
};

/* What a request is answered with. */
struct coap_result {
    uint8_t code;
    bool location;              /* 2.01 of a POST: tell where */
    uint32_t max_age;           /* of 5.03: seconds after which to try again; 0: not told */
    uint64_t version;           /* ETag; 0: none */
    struct tf_message *message; /* the value, or what was written; NULL: none. Counted in a work */
};

enum coap_work_state { COAP_WORK_BODY, COAP_WORK_TURN, COAP_WORK_WAITING, COAP_WORK_ANSWER };

/* A request under way. */
struct coap_work {
    struct tf_list_node in_channel; /* channel->works, or front->orphans */
    struct tf_list_node in_queue;   /* channel->answers, front->bodies or front->patches */
    struct coap_front *front;
    struct coap_channel *channel; /* NULL: nobody waits for the answer any more */
    uint64_t request;
    uint8_t state; /* enum coap_work_state */
    uint8_t method;
    uint8_t attempts;
    bool refused;                    /* BODY: there was no room for all of it */
    uint16_t format;                 /* of a patch */
    uint64_t charged;                /* bytes of a body in blocks */
    tf_time heard;                   /* BODY: when its last block came */
    struct tf_message *incoming;     /* the message to be written */
    struct tf_message *patch;        /* of PATCH and iPATCH: the patch document */
    struct coap_condition condition; /* of PATCH: that nobody else has written meanwhile */
    struct coap_condition wanted;    /* of PATCH: the client's */
    struct coap_result result;
};

/* What the machine's observers point to: the head of each kind of observer. */
struct coap_observer {
    struct tf_list_node in_channel; /* channel->observers */
    struct coap_channel *channel;
    uint64_t request;  /* not answered yet */
    uint64_t observer; /* the machine's, afterwards */
    uint32_t sequence; /* Observe's number of the last notification */
    bool core;         /* of /.well-known/core, else of a value */
    bool again;        /* of a broker before this one, and not told anything by this one yet */
    struct coap_survivor *survivor; /* what the store has of it; NULL: it ends with the broker */
};

struct coap_listing;

struct coap_front {
    struct tf_front front;
    struct tf_front_context context;
    struct tf_shard *shard;
    struct tf_list channels;
    struct tf_list orphans;         /* works whose channel has gone */
    struct tf_ticket_owner tickets; /* tag: a work */
    struct tf_read_owner reads;     /* tag: a work */
    uint64_t body_bytes;            /* of bodies in blocks */
    struct tf_list bodies;          /* works in BODY; whose block came last is last */
    struct tf_list patches;         /* works in TURN */
    size_t patch_left;       /* bytes of patches and documents still to be read in this turn */
    uint8_t *scratch;        /* COAP_SCRATCH_SIZE bytes, for an address */
    struct tf_list listings; /* being gathered, or kept for their blocks; newest last */
    struct tf_list gathers;  /* what this shard has to list for others */
    size_t listing_count;
    size_t gathering;       /* of the listings */
    uint64_t listing_bytes; /* of the texts of listings and gathers */
    uint64_t listing_id;
    size_t core_count;          /* of core_observers */
    uint64_t core_watchers;     /* shards with observers of /.well-known/core; bit n is shard n */
    uint64_t listing_told;      /* shard->values.listing when they were told last */
    struct tf_front_timer tell; /* the next time they may be told */
    struct tf_list core_observers;
    tf_time wall;             /* what is added to the time for Observe's numbers */
    struct tf_tree survivors; /* coap_survivor.by_key: those that the store has */
    struct tf_list unsaved;   /* coap_survivor.in_front: wait for the disk, in order of batches */
    struct tf_list returning; /* and those of the last run, until they observe again */
    bool draining;
};

#define COAP_SCRATCH_SIZE (64u * 1024)

/* enum of front timers' kinds */
enum { COAP_TIMER_CHANNEL, COAP_TIMER_TELL, COAP_TIMER_LISTING };

/* Mail between CoAP fronts; the objects are coap_front_listing.c's. */
enum {
    TF_MAIL_COAP_LIST = TF_MAIL_COAP, /* object: a request for a part of the listing */
    TF_MAIL_COAP_LISTED,              /* object: the part */
    TF_MAIL_COAP_LISTEN,              /* count 1: tell `from` of changes; 0: no more */
    TF_MAIL_COAP_CHANGED              /* the set of addresses has changed */
};

static inline tf_time coap_now(const struct coap_front *front)
{
    return front->shard->now;
}

void *tf_coap_front_alloc(struct coap_front *front, size_t size);
void tf_coap_front_free(struct coap_front *front, void *memory, size_t size);

/* coap_front.c: gives the endpoint its output buffer, if it has none. False: no memory. */
bool tf_coap_front_lend(struct coap_channel *channel);

/* coap_front_request.c */

/* Deals with a REQUEST, BODY or CANCELLED event. */
void tf_coap_front_request(struct coap_channel *channel, const struct tf_coap_event *event);

/* A work for a request; NULL: no memory. */
struct coap_work *tf_coap_front_work_new(struct coap_channel *channel,
                                         const struct tf_coap_event *event);

/* Frees a work that waits for nothing, wherever it is linked. */
void tf_coap_front_work_free(struct coap_work *work);

/* The channel goes: its works that wait for the routing wait on without it, the others go. */
void tf_coap_front_works_detach(struct coap_channel *channel);

/* Writes `work->incoming` under the work's condition, answering when that is done. */
void tf_coap_front_write(struct coap_work *work);

/* For the ticket owner and the read owner. */
void tf_coap_front_written(struct tf_ticket_owner *owner, uint64_t tag,
                           const struct tf_published *published);
void tf_coap_front_read(struct tf_read_owner *owner, uint64_t tag,
                        const struct tf_value_view *view);

/* The condition, ready to be handed over: it must not move afterwards. */
const struct tf_condition *tf_coap_front_condition(struct coap_condition *condition);

/* The version that an ETag stands for; 0: none does. */
uint64_t tf_coap_front_version(struct tf_bytes etag);

/* coap_front_answer.c */

#define COAP_ETAG_SIZE 8u

/* A version as an ETag, written into `buffer`. */
struct tf_bytes tf_coap_front_etag(uint64_t version, uint8_t buffer[COAP_ETAG_SIZE]);

/* What a response about a value is made of; views on itself, so it must not move. */
struct coap_reply {
    struct tf_coap_response response;
    struct tf_coap_option options[TF_LEVELS_MAX + 4];
    uint8_t etag[COAP_ETAG_SIZE];
    uint8_t format[4], max_age[4];
};

/* Fills a reply with what `result` says. Views on its message last as long as that. */
void tf_coap_front_reply(struct coap_front *front, const struct coap_result *result,
                         struct coap_reply *ret);

/* Answers with a bare code; at once, while the request's event is at hand. */
void tf_coap_front_refuse(struct coap_channel *channel, uint64_t request, uint8_t code);

/* The same with words for a person to read (RFC 7252 5.5.2). */
void tf_coap_front_refuse_why(struct coap_channel *channel, uint64_t request, uint8_t code,
                              const char *diagnostic);

/* Answers a request with a result; the result's message is borrowed. TF_AGAIN: no room. */
enum tf_err tf_coap_front_respond(struct coap_channel *channel, uint64_t request,
                                  const struct coap_result *result);

/* Answers a work with work->result, now or when there is room, and then frees it. */
void tf_coap_front_work_answer(struct coap_work *work);

/* There may be room: answers those that found none. */
void tf_coap_front_answers(struct coap_channel *channel);

/* coap_front_observe.c */

/* Makes an observer of a request for an address. */
void tf_coap_front_observe(struct coap_channel *channel, const struct tf_coap_event *event,
                           struct tf_bytes address);

/*
 * The number of an observer's next notification: the time, as RFC 7641 4.4 has it, so that it is
 * above all before even if the client registers anew, and never moves by half of its range within
 * 128 seconds, which a version of a busy home would. The wall's time, which goes on while no broker
 * runs; a correction of the clock while this one runs is not followed.
 */
uint32_t tf_coap_front_sequence(struct coap_observer *observer);

/* The machine says that an observer may be notified again; or the store, that it has it. */
void tf_coap_front_observer_ready(struct coap_observer *observer);

/* Frees an observer, whose machine's side has ended. */
void tf_coap_front_observer_free(struct coap_observer *observer);

/* The same as its channel goes: it may survive that. */
void tf_coap_front_observer_leave(struct coap_observer *observer);

/*
 * Makes an observer of an earlier broker's again, which is notified of the present value. TF_LIMIT:
 * there is no room, or the client is an observer already. TF_NO_MEMORY: try again later.
 */
enum tf_err tf_coap_front_observe_again(struct coap_channel *channel,
                                        const struct tf_coap_registration *registration,
                                        struct tf_bytes address,
                                        struct coap_observer **ret_observer);

/* coap_front_survive.c */

/*
 * What is to be kept of an observer that registers with a request; *ret NULL: it has not asked to
 * survive, or this listener keeps nothing. TF_NO_MEMORY.
 */
enum tf_err tf_coap_front_survivor_new(const struct coap_channel *channel,
                                       const struct tf_coap_event *event, struct tf_bytes address,
                                       struct coap_survivor **ret);

/* TF_OK: it is on disk, with what `reply` has. TF_AGAIN: not yet; the observer is ready again when
 * it is. Else: the store takes nothing new. */
enum tf_err tf_coap_front_survivor_save(struct coap_observer *observer,
                                        const struct coap_reply *reply);

/* The observer ends: frees it; `forget`: the store is to forget it, too. NULL is ignored. */
void tf_coap_front_survivor_free(struct coap_survivor *survivor, bool forget);

/* A turn: goes on with observers that are on disk now, and with those of an earlier broker. */
void tf_coap_front_survivors(struct coap_front *front);

/* What the store has kept, before the first turn: see struct tf_front_ops. */
enum tf_err tf_coap_front_restore(struct coap_front *front, const struct tf_stored_object *object);

/* Frees all that have found no channel; the store keeps them. */
void tf_coap_front_survivors_release(struct coap_front *front);

/* coap_front_patch.c */

/* True for the formats of patches that are known. */
bool tf_coap_front_patch_format(uint16_t format);

/* A patch has arrived as work->incoming, or has met another's write: reads the value, changes it,
 * writes it. */
void tf_coap_front_patch(struct coap_work *work);

/* A turn: goes on with the patches that wait for one. */
void tf_coap_front_patches(struct coap_front *front);

/* The value that it is to change has been read. */
void tf_coap_front_patch_read(struct coap_work *work, const struct tf_value_view *view);

/* coap_front_gather.c */

#define COAP_LISTING_BYTES_MAX (64u << 20) /* of all texts in a shard: above, what is kept goes */

/* One shard's part: travels from who asks to who lists and back. */
struct coap_gather {
    struct tf_list_node node; /* front->gathers */
    uint64_t listing;         /* its id */
    unsigned from;
    struct tf_value_cursor cursor;
    struct tf_message *text; /* NULL: nothing yet */
    size_t length;
    bool failed;
    size_t query_length;
    uint8_t query[];
};

/* An empty listing, or a part; NULL: no memory. */
struct tf_message *tf_coap_front_listing_text(struct coap_front *front);

/* A part, not begun, of the listing with this id and query; NULL: no memory. */
struct coap_gather *tf_coap_front_gather_new(struct coap_front *front, uint64_t listing,
                                             struct tf_bytes query);
void tf_coap_front_gather_free(struct coap_front *front, struct coap_gather *gather);

/* Goes on with a part, within *budget. True: it is complete. */
bool tf_coap_front_gather_some(struct coap_front *front, struct coap_gather *gather,
                               size_t *budget);

/* coap_front_listing.c */

/* Frees a listing that is kept, the oldest, which may be wanted again. False: there is none. */
bool tf_coap_front_listing_drop(struct coap_front *front);

/* Answers a request for /.well-known/core, or makes an observer of it. */
void tf_coap_front_core(struct coap_channel *channel, const struct tf_coap_event *event);

/* True: it was mail between fronts. */
bool tf_coap_front_mail(struct coap_front *front, const struct tf_mail *mail, unsigned from);

/* A part of the work of listing; sets front.again while there is more. */
void tf_coap_front_list(struct coap_front *front);

/* The timers of listings, and of telling that the set of addresses has changed. */
void tf_coap_front_listing_timer(struct coap_front *front, struct tf_front_timer *timer);

/* The same as the two of coap_front_observe.c, for an observer of /.well-known/core. */
void tf_coap_front_core_ready(struct coap_observer *observer);
void tf_coap_front_core_free(struct coap_observer *observer);

/* The channel goes, with those who wait for listings by it. */
void tf_coap_front_listing_detach(struct coap_channel *channel);

/* Frees all listings. */
void tf_coap_front_listing_release(struct coap_front *front);

#endif
