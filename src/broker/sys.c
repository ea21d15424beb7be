/*
 * $SYS/broker/...: see sys.h.
 *
 * One table of names; each row says where its number stands in `struct numbers`, which is filled
 * anew for each round. The loads are moving averages over 1, 5 and 15 minutes of what came to the
 * counters a minute, as mosquitto makes them.
 */
#include "broker/sys.h"

#include "base/util.h"
#include "broker/store_thread.h"
#include "port/process.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PREFIX "$SYS/broker/"
#define TEXT_MAX 64

struct numbers {
    struct tf_worker_totals totals;
    uint64_t inactive;
    uint64_t clients_maximum;
    uint64_t stored_count, stored_bytes;
    uint64_t heap, heap_maximum;
    struct tf_journal_stats journal;
};

struct row {
    const char *name;
    size_t offset; /* of a uint64_t in struct numbers */
};

#define AT(field) offsetof(struct numbers, field)
#define FRONT(field) AT(totals.fronts.field)

static const struct row rows[] = {
    {"clients/total", FRONT(sessions)},
    {"clients/connected", FRONT(connected)},
    {"clients/active", FRONT(connected)},
    {"clients/disconnected", AT(inactive)},
    {"clients/inactive", AT(inactive)},
    {"clients/maximum", AT(clients_maximum)},
    {"clients/expired", FRONT(sessions_expired)},
    {"messages/received", FRONT(packets_received)},
    {"messages/sent", FRONT(packets_sent)},
    {"messages/stored", AT(stored_count)},
    {"store/messages/count", AT(stored_count)},
    {"store/messages/bytes", AT(stored_bytes)},
    {"publish/messages/received", FRONT(publish_received)},
    {"publish/messages/sent", FRONT(publish_sent)},
    {"publish/messages/dropped", AT(totals.dropped)},
    {"publish/bytes/received", FRONT(publish_bytes_received)},
    {"publish/bytes/sent", FRONT(publish_bytes_sent)},
    {"bytes/received", FRONT(bytes_received)},
    {"bytes/sent", FRONT(bytes_sent)},
    {"subscriptions/count", FRONT(subscriptions)},
    {"retained messages/count", AT(totals.value_count)},
    {"heap/current", AT(heap)},
    {"heap/maximum", AT(heap_maximum)},
};

static const struct row load_rows[] = {
    {"messages/received", FRONT(packets_received)},
    {"messages/sent", FRONT(packets_sent)},
    {"publish/dropped", AT(totals.dropped)},
    {"publish/received", FRONT(publish_received)},
    {"publish/sent", FRONT(publish_sent)},
    {"bytes/received", FRONT(bytes_received)},
    {"bytes/sent", FRONT(bytes_sent)},
    {"sockets", AT(totals.sockets)},
    {"connections", FRONT(connects)},
};

/* Of a store that is on a disk. */
static const struct row store_rows[] = {
    {"store/disk/bytes", AT(journal.file_bytes)},
    {"store/disk/live bytes", AT(journal.live_bytes)},
    {"store/disk/segments", AT(journal.segments)},
    {"store/disk/objects", AT(journal.objects)},
    {"store/disk/messages", AT(journal.messages)},
    {"store/disk/entries", AT(journal.entries)},
    {"store/groups/count", AT(journal.commits)},
    {"store/groups/bytes", AT(journal.groups_bytes)},
    {"store/groups/copied bytes", AT(journal.copied_bytes)},
    {"store/snapshots/bytes", AT(journal.snapshot_bytes)},
    {"store/index/bytes", AT(journal.index_bytes)},
};

static const struct {
    const char *name;
    double minutes;
} windows[] = {{"1min", 1}, {"5min", 5}, {"15min", 15}};

#define ROWS TF_COUNT(rows)
#define LOADS TF_COUNT(load_rows)
#define WINDOWS TF_COUNT(windows)
#define STORES TF_COUNT(store_rows)

/* Where in `told` what begins. */
enum { VERSION, UPTIME, STATE, PLAIN, STORE = PLAIN + ROWS, LOAD = STORE + STORES };

struct load {
    uint64_t before; /* the counter at the round before */
    double average[WINDOWS];
};

struct tf_sys {
    const struct tf_worker *workers;
    unsigned count;
    const char *version;
    const struct tf_alloc *alloc;
    tf_time start;
    tf_time last; /* the round before; TF_TIME_NEVER: there was none */
    uint64_t clients_maximum, heap_maximum;
    struct load loads[LOADS];
    struct tf_store_thread *store; /* NULL: none */
    char told[LOAD + LOADS * WINDOWS][TEXT_MAX];
};

struct tf_sys *tf_sys_new(const struct tf_worker *workers, unsigned count, const char *version,
                          const struct tf_alloc *alloc, tf_time now)
{
    struct tf_sys *sys = alloc->alloc(alloc->ctx, sizeof(*sys));
    if (sys) {
        memset(sys, 0, sizeof(*sys));
        sys->workers = workers;
        sys->count = count;
        sys->version = version;
        sys->alloc = alloc;
        sys->start = now;
        sys->last = TF_TIME_NEVER;
    }
    return sys;
}

void tf_sys_set_store(struct tf_sys *sys, struct tf_store_thread *store)
{
    sys->store = store;
}

void tf_sys_free(struct tf_sys *sys)
{
    if (sys) {
        sys->alloc->free(sys->alloc->ctx, sys, sizeof(*sys));
    }
}

double tf_sys_decay(double x)
{
    /* e^-x = (1 / e^(x / 2^k))^(2^k), with k such that few terms of the series will do. */
    double sum = 1, term = 1;
    unsigned doublings = 0;
    if (x > 700) {
        return 0;
    }
    for (; x > 0.5; x /= 2) {
        doublings++;
    }
    for (unsigned i = 1; i < 16; i++) {
        term *= x / i;
        sum += term;
    }
    sum = 1 / sum;
    while (doublings-- > 0) {
        sum *= sum;
    }
    return sum;
}

/* Publishes `text` under a name if it is another one than the last time; `place` is where in told.
 */
static void tell(struct tf_sys *sys, struct tf_shard *shard, size_t place, const char *name,
                 const char *text)
{
    char address[128];
    if (strncmp(sys->told[place], text, TEXT_MAX - 1) == 0) {
        return;
    }
    int length = snprintf(address, sizeof(address), PREFIX "%s", name);
    struct tf_bytes body = tf_bytes_str(text);
    struct tf_publication publication = {
        .envelope = {.address = tf_bytes_of(address, (size_t)length),
                     .expires = TF_TIME_NEVER,
                     .origin = TF_PROTOCOL_SYSTEM,
                     .payload_format = TF_PAYLOAD_TEXT,
                     .retain = true},
        .body = &body,
        .body_count = 1,
    };
    struct tf_published result;
    enum tf_err err = tf_shard_publish(shard, &publication, NULL, 0, &result);
    if (!err || err == TF_AGAIN) { /* else once more in the next round */
        snprintf(sys->told[place], TEXT_MAX, "%s", text);
    }
    tf_publication_release(&publication);
}

static uint64_t number(const struct numbers *numbers, size_t offset)
{
    uint64_t value;
    memcpy(&value, (const char *)numbers + offset, sizeof(value));
    return value;
}

static void gather(struct tf_sys *sys, struct numbers *ret)
{
    memset(ret, 0, sizeof(*ret));
    tf_worker_sum(sys->workers, sys->count, &ret->totals);
    const struct tf_front_counters *fronts = &ret->totals.fronts;
    /* The shards' numbers are of different moments, so a difference could be below 0. */
    ret->inactive = fronts->sessions > fronts->connected ? fronts->sessions - fronts->connected : 0;
    sys->clients_maximum = TF_MAX(sys->clients_maximum, fronts->connected);
    ret->clients_maximum = sys->clients_maximum;
    ret->stored_count = ret->totals.queued_count + ret->totals.value_count;
    ret->stored_bytes = ret->totals.queued_bytes + ret->totals.value_bytes;
    if (tf_process_memory(&ret->heap)) {
        ret->heap = 0;
    }
    if (sys->store) {
        tf_store_stats(tf_store_thread_store(sys->store), &ret->journal);
    }
    sys->heap_maximum = TF_MAX(sys->heap_maximum, ret->heap);
    ret->heap_maximum = sys->heap_maximum;
}

static void tell_load(struct tf_sys *sys, struct tf_shard *shard, size_t index, uint64_t value,
                      double minutes)
{
    struct load *load = &sys->loads[index];
    /* Sums of several shards, read one after the other, may seem to go back a little. */
    double per_minute = value > load->before ? (double)(value - load->before) / minutes : 0;
    load->before = TF_MAX(load->before, value);
    for (size_t i = 0; i < WINDOWS; i++) {
        char name[64], text[TEXT_MAX];
        double keep = tf_sys_decay(minutes / windows[i].minutes);
        load->average[i] = per_minute + keep * (load->average[i] - per_minute);
        snprintf(name, sizeof(name), "load/%s/%s", load_rows[index].name, windows[i].name);
        snprintf(text, sizeof(text), "%.2f", load->average[i]);
        tell(sys, shard, LOAD + index * WINDOWS + i, name, text);
    }
}

static void tell_rows(struct tf_sys *sys, struct tf_shard *shard, size_t place,
                      const struct row *row, size_t count, const struct numbers *numbers)
{
    char text[TEXT_MAX];
    for (size_t i = 0; i < count; i++) {
        snprintf(text, sizeof(text), "%" PRIu64, number(numbers, row[i].offset));
        tell(sys, shard, place + i, row[i].name, text);
    }
}

static const char *store_state(const struct tf_sys *sys)
{
    static const char *const names[] = {
        [TF_STORE_READY] = "ready",
        [TF_STORE_SLOW] = "slow",
        [TF_STORE_FULL] = "full",
        [TF_STORE_BROKEN] = "broken",
    };
    return sys->store ? names[tf_store_thread_state(sys->store)] : "memory";
}

tf_time tf_sys_tick(void *ctx, struct tf_shard *shard, tf_time now)
{
    struct tf_sys *sys = ctx;
    tf_time interval = sys->workers[0].config.config->sys_interval_s * TF_SECOND;
    struct numbers numbers;
    char text[TEXT_MAX];
    if (interval == 0) {
        return TF_TIME_NEVER; /* a reload makes the worker ask again */
    }
    gather(sys, &numbers);
    snprintf(text, sizeof(text), "trefoil version %s", sys->version);
    tell(sys, shard, VERSION, "version", text);
    snprintf(text, sizeof(text), "%" PRIu64 " seconds", (now - sys->start) / TF_SECOND);
    tell(sys, shard, UPTIME, "uptime", text);
    tell(sys, shard, STATE, "store/state", store_state(sys));
    tell_rows(sys, shard, PLAIN, rows, ROWS, &numbers);
    if (sys->store) {
        tell_rows(sys, shard, STORE, store_rows, STORES, &numbers);
    }
    if (sys->last != TF_TIME_NEVER && now > sys->last) {
        double minutes = (double)(now - sys->last) / (60.0 * (double)TF_SECOND);
        for (size_t i = 0; i < LOADS; i++) {
            tell_load(sys, shard, i, number(&numbers, load_rows[i].offset), minutes);
        }
    } else if (sys->last == TF_TIME_NEVER) {
        for (size_t i = 0; i < LOADS; i++) {
            tell_load(sys, shard, i, 0, 1); /* all names are there from the start */
        }
    }
    sys->last = now;
    return tf_time_add(now, interval);
}
