/*
 * What the store has kept, given back to shards and fronts before any of them takes a turn.
 *
 * It walks the journal: queues and sessions first, each in the home of its name; then what names
 * them by their id (bindings, packet ids) and the values; then the entries, of which only counts
 * are taken and those that were under way with a consumer, which are loaded. What belongs to
 * nothing is forgotten, and told. Who calls it settles the mail that follows from bindings (until
 * none is under way), declares what the configuration names, and then says `restored` to all
 * fronts.
 *
 * It knows shards and fronts, but no threads, files or sockets: the simulator restarts by it, too.
 */
#ifndef TF_BROKER_RESTORE_H
#define TF_BROKER_RESTORE_H

#include "broker/front.h"
#include "broker/log.h"
#include "store/store.h"

/* A shard and its fronts. */
struct tf_restore_shard {
    struct tf_shard *shard;
    struct tf_front *const *fronts;
    size_t front_count;
};

struct tf_restore_config {
    struct tf_journal *journal; /* tf_store_journal, before the first turn of the store */
    const struct tf_restore_shard *shards;
    unsigned count;
    const struct tf_alloc *alloc;
    struct tf_log *log; /* may be NULL */
    bool damaged;       /* the journal has lost something: what belongs to nothing is kept */
    /* Called now and then: takes the mail of all shards, so that rings do not fill up. */
    void (*settle)(void *ctx);
    void *ctx;
};

/* What there was. */
struct tf_restored {
    uint64_t queues, sessions, bindings, values, entries, under_way;
    uint64_t orphans; /* that belonged to nothing, or made no sense */
};

/*
 * Gives it all back. TF_NO_MEMORY, TF_LIMIT (more than the configuration allows), TF_IO, TF_CLOSED:
 * the broker cannot start with this store; nothing that was kept has been removed.
 */
TF_MUST_USE enum tf_err tf_restore(const struct tf_restore_config *config,
                                   struct tf_restored *ret_restored);

#endif
