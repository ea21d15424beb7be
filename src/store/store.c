/*
 * The store's thread as a machine: takes batches and reads, writes groups, completes them, reads,
 * keeps the journal up.
 *
 *   taken --choose--> group --apply--> journal --commit--> done
 *     ^                          |               |
 *     |                          |               |- sync failed: BROKEN, for good
 *     |                          |               `- write failed: FULL; nothing of it happened
 *     `---- smaller next time <--' no memory, or over the journal's largest group
 *
 * Full: new records are refused by the shards (tf_store_reserve), what they had submitted may use
 * up the spare segment, and if that does not do, what only settles and removes is written as far as
 * the order of batches allows. Everything else is tried again every TF_STORE_RETRY, and when
 * upkeep has removed a segment. It ends when nothing that failed is left and there is a spare
 * segment again.
 *
 * Broken: by a failed sync, or by a shard that had no memory for what it must record. What was
 * submitted is given back without being done, so that it takes no memory; reads are served.
 *
 * Ids of messages and positions begin at the run's number << 40. The number is an object of kind
 * 0. Where that was lost, or is below what lives, it is taken from what lives.
 *
 * Invariants:
 *   1. end->done is the number of the last batch of that client that the journal has committed.
 *   2. Batches in `first`..`last` of an end have ascending numbers, above end->done.
 *   3. Exactly the joins of those batches are in `joins`.
 */
#include "store/store_internal.h"

#include <string.h>

#include "base/assert.h"

#define KIND 0u
#define RUN_BYTES 9u
#define RUN_VERSION 1u
#define RUN_SHIFT 40u
#define RUN_MAX ((UINT64_C(1) << (64 - RUN_SHIFT)) - 1)
#define UPKEEP_BYTES ((uint64_t)128 << 10) /* that a piece of upkeep may cost */
#define CREDIT_MAX (8 * UPKEEP_BYTES)

/* ---- the run ---- */

static struct tf_bytes run_key(void)
{
    return tf_bytes_str("run");
}

/* The number of the last run, 0 if there is none. */
static uint64_t last_run(struct tf_journal *journal)
{
    struct tf_journal_object object;
    struct tf_reader reader;
    uint64_t run;

    if (!tf_journal_find_object(journal, KIND, run_key(), &object))
        return 0;
    reader = tf_reader_of(object.value);
    if (tf_read_u8(&reader) != RUN_VERSION)
        return 0;
    run = tf_read_u64(&reader);
    return reader.failed ? 0 : run;
}

/* Begins a run, above all others and above all that lives, whatever the record says. TF_LIMIT:
 * there is no higher one. */
static enum tf_err begin_run(struct tf_store *store)
{
    struct tf_journal *journal = store->journal;
    uint8_t value[RUN_BYTES];
    struct tf_writer writer = tf_writer_of(value, sizeof(value));
    uint64_t run = last_run(journal), highest = tf_journal_highest(journal) >> RUN_SHIFT;
    enum tf_err err;

    if (run < highest || run >= RUN_MAX)
        run = highest;
    if (run >= RUN_MAX)
        return TF_LIMIT;
    store->run = run + 1;
    store->message = store->run << RUN_SHIFT;
    tf_write_u8(&writer, RUN_VERSION);
    tf_write_u64(&writer, store->run);
    /* A full disk must not keep a broker from starting: it is how it is emptied. */
    tf_journal_lend(journal, true);
    err = tf_journal_put(journal, KIND, run_key(), tf_bytes_of(value, sizeof(value)), NULL, 0);
    if (!err)
        err = tf_journal_commit(journal);
    tf_journal_lend(journal, false);
    return err;
}

/* ---- state ---- */

static void publish_stats(struct tf_store *store)
{
    struct tf_journal_stats stats;
    uint64_t values[TF_STORE_STATS];

    tf_journal_stats(store->journal, &stats);
    memcpy(values, &stats, sizeof(values));
    for (size_t i = 0; i < TF_STORE_STATS; i++)
        atomic_store_explicit(&store->stats[i], values[i], memory_order_relaxed);
}

void tf_store_stats(struct tf_store *store, struct tf_journal_stats *ret)
{
    uint64_t values[TF_STORE_STATS];

    for (size_t i = 0; i < TF_STORE_STATS; i++)
        values[i] = atomic_load_explicit(&store->stats[i], memory_order_relaxed);
    memcpy(ret, values, sizeof(values));
}

/* Tells everybody the state that follows from what is known. */
static void publish_state(struct tf_store *store)
{
    struct tf_journal_stats stats;
    enum tf_store_state state = TF_STORE_READY;
    int before = atomic_load_explicit(&store->state, memory_order_relaxed);

    tf_journal_stats(store->journal, &stats);
    if (store->broken)
        state = TF_STORE_BROKEN;
    else if (store->full)
        state = TF_STORE_FULL;
    else if (store->config.soft_limit && stats.file_bytes >= store->config.soft_limit)
        state = TF_STORE_SLOW;
    /* A shard may break it at any moment. */
    while (before != TF_STORE_BROKEN && before != (int)state &&
           !atomic_compare_exchange_weak_explicit(&store->state, &before, (int)state,
                                                  memory_order_release, memory_order_relaxed))
        ;
    if (state == store->told)
        return;
    store->told = state;
    for (unsigned i = 0; i < store->config.shards; i++)
        store->config.wake_shard(store->config.ctx, i); /* who is heard depends on it */
    store->config.changed(store->config.ctx, state, state >= TF_STORE_FULL ? store->err : TF_OK,
                          state >= TF_STORE_FULL ? store->error : 0);
}

static void set_broken(struct tf_store *store, enum tf_err err)
{
    store->broken = true;
    store->err = err;
    store->error = err == TF_CLOSED ? store->config.journal.disk->error : 0;
    tf_store_break(store);
}

static void set_full(struct tf_store *store, enum tf_err err, tf_time now)
{
    struct tf_journal_stats stats;

    tf_journal_stats(store->journal, &stats);
    store->full = true;
    store->err = err;
    store->error = err == TF_IO ? store->config.journal.disk->error : 0;
    store->segments = stats.segments;
    store->retry = tf_time_add(now, TF_STORE_RETRY);
}

/* ---- groups ---- */

static void take_all(struct tf_store *store)
{
    for (unsigned i = 0; i < store->config.shards; i++) {
        struct tf_store_end *end = &store->ends[i];
        struct tf_store_batch *batch = NULL, *list = NULL;
        struct tf_store_page *page = NULL, *pages = NULL;
        if (atomic_load_explicit(&end->submitted, memory_order_relaxed))
            batch = atomic_exchange_explicit(&end->submitted, NULL, memory_order_acquire);
        while (batch) {
            struct tf_store_batch *next = batch->next;
            batch->next = list;
            list = batch;
            batch = next;
        }
        tf_store_group_take(store, end, list);
        if (atomic_load_explicit(&end->asked, memory_order_relaxed))
            page = atomic_exchange_explicit(&end->asked, NULL, memory_order_acquire);
        while (page) {
            struct tf_store_page *next = page->next;
            page->next = pages;
            pages = page;
            page = next;
        }
        tf_store_page_take(end, pages);
    }
}

/* The largest group within the budget, or a larger one if a transaction needs it. Batches in it. */
static size_t choose(struct tf_store *store, bool thrifty)
{
    size_t count;

    store->only = store->config.shards;
    store->budget = TF_STORE_GROUP_BYTES / store->config.shards;
    store->batches = TF_STORE_GROUP_BATCHES / store->config.shards + 1;
    count = tf_store_group_choose(store, thrifty);
    while (!count && store->batches < store->pending) {
        store->budget = SIZE_MAX;
        store->batches *= 2;
        count = tf_store_group_choose(store, thrifty);
    }
    return count;
}

/* A group of fewer batches than `before`; then of one client after the other. 0: there is none. */
static size_t choose_smaller(struct tf_store *store, bool thrifty, size_t before)
{
    size_t count = before;

    while (store->batches > 1 && count >= before) {
        store->batches = TF_MAX(TF_MIN(store->batches, before) / 2, 1);
        count = tf_store_group_choose(store, thrifty);
    }
    if (count && count < before)
        return count;
    store->only = store->only == store->config.shards ? 0 : store->only + 1;
    for (; store->only < store->config.shards; store->only++) {
        count = tf_store_group_choose(store, thrifty);
        if (count)
            return count;
    }
    return 0;
}

/*
 * Writes one group, as large as may be. TF_AGAIN: there is none. TF_CLOSED: the sync failed. Other
 * errors: nothing has happened.
 */
static enum tf_err write_group(struct tf_store *store, bool thrifty)
{
    size_t count = choose(store, thrifty), bytes;
    bool sync = false;
    enum tf_err err;

    if (!count)
        return TF_AGAIN;
    while ((err = tf_store_group_apply(store, &sync)) != TF_OK) {
        count = choose_smaller(store, thrifty, count);
        if (!count)
            return err;
    }
    bytes = tf_journal_pending(store->journal);
    err = sync ? tf_journal_commit(store->journal) : tf_journal_write(store->journal);
    if (err)
        return err;
    store->credit = TF_MIN(store->credit + bytes, CREDIT_MAX);
    tf_store_group_end(store, true);
    return TF_OK;
}

/* Gives back what will never be done. */
static void discard(struct tf_store *store)
{
    for (unsigned i = 0; i < store->config.shards; i++)
        store->ends[i].cut = NULL;
    tf_store_group_end(store, false);
}

/* True: what failed may be tried again. */
static bool try_again(const struct tf_store *store, tf_time now)
{
    struct tf_journal_stats stats;

    tf_journal_stats(store->journal, &stats);
    return now >= store->retry || stats.segments < store->segments;
}

static bool failed(enum tf_err err)
{
    return err && err != TF_AGAIN && err != TF_CLOSED;
}

/* Tries to write everything. */
static enum tf_err write_all(struct tf_store *store, tf_time now)
{
    enum tf_err err = write_group(store, false);

    if (failed(err) && !store->full) {
        /* From now on shards refuse; what they have submitted may take the last room. */
        set_full(store, err, now);
        publish_state(store);
        tf_journal_lend(store->journal, true);
        err = write_group(store, false);
    }
    if (failed(err))
        set_full(store, err, now);
    store->stuck = failed(err);
    store->blocked = false;
    return err;
}

/* Writes what can be written. Returns true if there may be more. */
static bool write_some(struct tf_store *store, tf_time now)
{
    enum tf_err err = TF_AGAIN;

    if (!store->pending) {
        store->stuck = false;
        return false;
    }
    if (!store->stuck || try_again(store, now))
        err = write_all(store, now);
    if (store->stuck && !store->blocked) {
        err = write_group(store, true);
        store->blocked = failed(err);
    }
    if (err == TF_CLOSED)
        set_broken(store, err);
    return err == TF_OK;
}

/* ---- upkeep ---- */

/*
 * Pieces of upkeep: as many as what was written has earned, and one if nothing waits. Returns true
 * if there is more to do at once.
 */
static bool upkeep(struct tf_store *store, bool busy)
{
    bool more = true;

    while (more && (store->credit >= UPKEEP_BYTES || !busy)) {
        store->credit -= TF_MIN(store->credit, UPKEEP_BYTES);
        more = tf_journal_work(store->journal);
        if (!busy)
            break;
    }
    if (!more)
        store->credit = 0;
    if (tf_journal_broken(store->journal))
        set_broken(store, TF_CLOSED);
    return more;
}

/* Full: is it over? If not, another try. */
static void look_full(struct tf_store *store, tf_time now)
{
    if (!store->stuck && tf_journal_roomy(store->journal)) {
        store->full = false;
        tf_journal_lend(store->journal, false);
    } else if (now >= store->retry) {
        store->retry = tf_time_add(now, TF_STORE_RETRY);
        /* Upkeep that has failed goes on after a commit. */
        if (!store->pending && tf_journal_commit(store->journal) == TF_CLOSED)
            set_broken(store, TF_CLOSED);
    }
}

bool tf_store_turn(struct tf_store *store, tf_time now, tf_time *ret_until)
{
    bool more = false;

    take_all(store);
    if (!store->broken &&
        atomic_load_explicit(&store->state, memory_order_acquire) == TF_STORE_BROKEN)
        set_broken(store, TF_NO_MEMORY);
    if (!store->broken)
        more = write_some(store, now);
    if (store->broken)
        discard(store);
    more = tf_store_page_serve(store) || more;
    if (!store->broken && upkeep(store, more))
        more = true;
    if (store->full && !store->broken)
        look_full(store, now);
    publish_state(store);
    publish_stats(store);
    *ret_until = store->full && !store->broken ? store->retry : TF_TIME_NEVER;
    return more;
}

bool tf_store_idle(struct tf_store *store)
{
    for (unsigned i = 0; i < store->config.shards; i++) {
        struct tf_store_end *end = &store->ends[i];
        if (end->first || end->pages ||
            atomic_load_explicit(&end->submitted, memory_order_acquire) ||
            atomic_load_explicit(&end->asked, memory_order_acquire))
            return false;
    }
    return true;
}

/* ---- the ends ---- */

static size_t store_size(unsigned shards)
{
    return sizeof(struct tf_store) + shards * sizeof(struct tf_store_end);
}

enum tf_err tf_store_new(const struct tf_store_config *config, struct tf_store **ret,
                         struct tf_journal_report *ret_report, uint64_t *ret_holder)
{
    const struct tf_alloc *alloc = config->alloc;
    struct tf_journal_report report;
    struct tf_store *store;
    enum tf_err err;

    if (!config->shards)
        return TF_MISUSE;
    store = alloc->alloc(alloc->ctx, store_size(config->shards));
    if (!store)
        return TF_NO_MEMORY;
    memset(store, 0, store_size(config->shards));
    store->config = *config;
    tf_map_init(&store->joins, alloc);
    for (unsigned i = 0; i < config->shards; i++)
        store->ends[i].shard = i;
    err = tf_journal_open(&config->journal, &store->journal, &report, ret_holder);
    if (!err)
        err = begin_run(store);
    if (err) {
        tf_journal_close(store->journal);
        alloc->free(alloc->ctx, store, store_size(config->shards));
        return err;
    }
    publish_stats(store);
    *ret_report = report;
    *ret = store;
    return TF_OK;
}

struct tf_journal *tf_store_journal(struct tf_store *store)
{
    return store->journal;
}

/* Frees what has come back and was not received. */
static void end_release(struct tf_store *store, struct tf_store_end *end)
{
    const struct tf_alloc *alloc = store->config.alloc;
    struct tf_store_batch *batch = atomic_load_explicit(&end->returned, memory_order_acquire);
    struct tf_store_page *page = atomic_load_explicit(&end->answered, memory_order_acquire);

    while (batch) {
        struct tf_store_batch *next = batch->next;
        tf_store_batch_free(batch, alloc);
        batch = next;
    }
    while (page) {
        struct tf_store_page *next = page->next;
        tf_store_page_free(page, alloc);
        page = next;
    }
    while (end->pages) {
        page = end->pages;
        end->pages = page->next;
        tf_store_page_free(page, alloc);
    }
}

/* There are no shards any more. */
static void nobody(void *ctx, unsigned shard)
{
    (void)ctx;
    (void)shard;
}

void tf_store_free(struct tf_store *store)
{
    const struct tf_alloc *alloc;

    if (!store)
        return;
    alloc = store->config.alloc;
    store->config.wake_shard = nobody;
    take_all(store);
    discard(store);
    for (unsigned i = 0; i < store->config.shards; i++)
        end_release(store, &store->ends[i]);
    tf_map_release(&store->joins);
    tf_journal_close(store->journal);
    if (store->pieces)
        alloc->free(alloc->ctx, store->pieces, store->piece_capacity * sizeof(*store->pieces));
    alloc->free(alloc->ctx, store, store_size(store->config.shards));
}
