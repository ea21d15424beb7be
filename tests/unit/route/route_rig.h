/*
 * Shards in one process, turned by the test: nothing happens by itself, so a test chooses when each
 * shard reads its mail and moves on what it spilled.
 */
#ifndef TF_TEST_ROUTE_RIG_H
#define TF_TEST_ROUTE_RIG_H

#include "base/random.h"
#include "route/shard.h"
#include "unit/route/test_alloc.h"

#define RIG_SHARDS 3u

struct rig {
    struct test_alloc memory;
    struct tf_post_office *office;
    struct tf_shard shards[RIG_SHARDS];
    unsigned count;
    unsigned wakes[RIG_SHARDS];
    tf_time now;
    /* set by tests that want it */
    struct tf_message *(*virtual_next)(struct rig *rig, unsigned shard, struct tf_bytes filter,
                                       struct tf_bytes last);
    bool (*turn)(struct rig *rig); /* the store's part of rig_settle; true: something happened */
    struct tf_mail received;       /* the last mail that was the broker's */
    unsigned received_count;
    struct rig_part {
        struct rig *rig;
        unsigned number;
    } parts[RIG_SHARDS];
};

/* Starts `count` shards whose rings hold `capacity` records. */
void rig_start(struct rig *rig, unsigned count, size_t capacity);

/* The same, with another way to be woken: for shards on threads of their own. */
void rig_start_with(struct rig *rig, unsigned count, size_t capacity, struct tf_wake waker);

/* Frees all; fails if a block is left, or an account is not at 0. */
void rig_stop(struct rig *rig);

/* Frees all as it stands, mail under way and all; fails if a block is left. */
void rig_abandon(struct rig *rig);

/* The body of a message as text; "(none)" for NULL. */
void rig_text(const struct tf_message *message, char *ret, size_t size);

/* Lets every shard read and flush until no mail is under way and no shard has work left. */
void rig_settle(struct rig *rig);

/* One shard, drawn by `random`, reads or flushes. */
void rig_step(struct rig *rig, struct tf_random *random);

/* Checks every shard. */
void rig_check(const struct rig *rig);

/* Moves time on, and runs the timers. */
void rig_time(struct rig *rig, tf_time now);

/* An address whose home is `shard`: `stem` and a number. Static per call: copied into `ret`. */
struct tf_bytes rig_address(const struct rig *rig, unsigned shard, const char *stem, char *ret,
                            size_t size);

/* A publication of text; `body` NULL: none. Its views live as long as *ret_body. */
struct tf_publication rig_publication(struct tf_bytes address, const char *body, uint8_t qos,
                                      bool retain, struct tf_bytes *ret_body);

/* Publishes from a shard; the result when it is known at once. */
enum tf_err rig_publish(struct rig *rig, unsigned shard, struct tf_bytes address, const char *body,
                        uint8_t qos, bool retain, struct tf_ticket_owner *owner, uint64_t tag,
                        struct tf_published *ret_result);

#define SINK_SEEN_MAX 4096u

/* A queue with a consumer that writes down what comes. */
struct sink {
    struct tf_queue queue;
    struct tf_consumer consumer;
    struct tf_bind_owner owner;
    struct tf_queue_limits limits;
    struct tf_queue_counters counters;
    uint32_t credit;      /* deliveries above QoS 0 that it takes */
    uint32_t room;        /* deliveries of any kind that it takes */
    enum tf_err refuse;   /* what it says when it takes none; TF_AGAIN if unset */
    bool settle_at_once;  /* from within deliver */
    bool release_at_once; /* once */
    bool hold;            /* keep entries in `held`; else QoS 1 and 2 are settled by settle */
    unsigned drained;
    unsigned bound, bound_errors;
    enum tf_err bound_err;
    uint64_t bound_tag;
    size_t seen_count;
    struct seen {
        char address[32];
        char body[16];
        struct tf_entry *entry;
        uint64_t position;
        uint32_t ids[4];
        uint32_t id_count;
        uint16_t attempts;
        uint8_t qos;
        bool retain;
    } seen[SINK_SEEN_MAX];
};

/* A queue on a shard; its consumer is attached if `attend`. Deliveries are settled at once. */
void sink_start(struct sink *sink, struct tf_shard *shard, bool attend);
void sink_stop(struct sink *sink);

/* Binds a filter at QoS `qos`. */
void sink_bind(struct sink *sink, const char *filter, uint8_t qos, bool values, uint64_t tag);

/* How many seen deliveries have this address and body; NULL: any. */
size_t sink_count(const struct sink *sink, const char *address, const char *body);

#endif
