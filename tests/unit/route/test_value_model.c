/*
 * Several shards write, publish, clear, expire, read and watch a few addresses at random, with mail
 * late at random, against what must be true whatever the order: a watcher's versions grow; one
 * version of an address is one value; a conditional write that was accepted changed what it named;
 * and when all is quiet everybody was told last what a read gives.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/util.h"
#include "unit/route/route_rig.h"

#define ADDRESSES 3u
#define WATCHERS 12u
#define VERSIONS 4096u /* that a run may see of one address */

struct model;

struct watcher {
    struct tf_watcher watcher;
    struct model *m;
    unsigned shard;
    unsigned address;
    uint64_t version;
    char text[16];
};

struct model {
    struct rig rig;
    struct tf_random random;
    uint64_t seed;
    struct watcher watchers[WATCHERS];
    struct tf_ticket_owner writer;
    struct tf_read_owner reader;
    bool full; /* no output has room */
    unsigned next;
    unsigned asked, answered;
    unsigned reads, read;
    uint64_t last[ADDRESSES]; /* version that was seen of each */
    struct {
        char text[16];
    } values[ADDRESSES][VERSIONS]; /* by version; empty: not seen */
};

static bool chance(struct model *m, unsigned count, unsigned of)
{
    return tf_random_chance(&m->random, count, of);
}

static unsigned below(struct model *m, unsigned bound)
{
    return (unsigned)tf_random_below(&m->random, bound);
}

static struct tf_bytes address_of(unsigned number)
{
    static const char *const names[ADDRESSES] = {"m/0", "m/one", "m/2"};
    return tf_bytes_str(names[number]);
}

/* Somebody has seen a value with its version. */
static void saw(struct model *m, unsigned address, struct tf_message *message, uint64_t version,
                char ret_text[16])
{
    rig_text(message, ret_text, 16);
    assert_true(version < VERSIONS);
    char *known = m->values[address][version].text;
    if (message && known[0] && strcmp(known, ret_text) != 0) {
        fail_msg("seed %u: version %u of %u is %s and %s", (unsigned)m->seed, (unsigned)version,
                 address, known, ret_text);
    }
    if (message) {
        memcpy(known, ret_text, 16);
    }
    m->last[address] = TF_MAX(m->last[address], version);
}

static enum tf_err deliver(struct tf_watcher *base, struct tf_message *message, uint64_t version)
{
    struct watcher *watcher = tf_container_of(base, struct watcher, watcher);
    struct model *m = watcher->m;
    if (m->full) {
        return TF_LIMIT;
    }
    if (chance(m, 1, 4)) {
        return TF_AGAIN;
    }
    if (version <= watcher->version) {
        fail_msg("seed %u: version %u after %u", (unsigned)m->seed, (unsigned)version,
                 (unsigned)watcher->version);
    }
    watcher->version = version;
    saw(m, watcher->address, message, version, watcher->text);
    if (chance(m, 1, 20)) {
        struct watcher *other = &m->watchers[below(m, WATCHERS)];
        if (other->shard == watcher->shard) {
            tf_shard_unwatch(&m->rig.shards[other->shard], &other->watcher);
        }
    }
    return TF_OK;
}

static void failed(struct tf_watcher *base)
{
    struct watcher *watcher = tf_container_of(base, struct watcher, watcher);
    fail_msg("seed %u: a watcher failed", (unsigned)watcher->m->seed);
}

static const struct tf_watcher_ops ops = {.deliver = deliver, .failed = failed};

static void on_written(struct tf_ticket_owner *owner, uint64_t tag,
                       const struct tf_published *result)
{
    struct model *m = tf_container_of(owner, struct model, writer);
    (void)tag;
    m->answered++;
    assert_false(result->refused);
}

static void on_read(struct tf_read_owner *owner, uint64_t tag, const struct tf_value_view *value)
{
    struct model *m = tf_container_of(owner, struct model, reader);
    char text[16];
    m->read++;
    saw(m, (unsigned)tag, value->message, value->version, text);
}

static void publish(struct model *m)
{
    char body[16];
    struct tf_bytes bytes;
    struct tf_published result;
    unsigned address = below(m, ADDRESSES);
    struct tf_shard *shard = &m->rig.shards[below(m, m->rig.count)];
    bool write = chance(m, 1, 2);
    bool retain = write || chance(m, 1, 2);
    bool clear = retain && chance(m, 1, 4);
    uint64_t version = m->last[address];
    struct tf_condition condition = {.versions = &version, .version_count = chance(m, 1, 3)};
    condition.exists = chance(m, 1, 6);
    condition.absent = chance(m, 1, 6);
    snprintf(body, sizeof(body), "b%u", m->next++);
    struct tf_publication publication =
        rig_publication(address_of(address), clear ? NULL : body, 1, retain, &bytes);
    if (chance(m, 1, 3)) {
        publication.envelope.expires = m->rig.now + (1 + below(m, 5)) * TF_SECOND;
    }
    bool waits = chance(m, 1, 2);
    struct tf_ticket_owner *owner = waits ? &m->writer : NULL;
    enum tf_err err = write ? tf_shard_write(shard, &publication, &condition, owner, 0, &result)
                            : tf_shard_publish(shard, &publication, owner, 0, &result);
    assert_true(err == TF_OK || (err == TF_AGAIN && waits));
    m->asked += err == TF_AGAIN;
    if (err == TF_OK && write && result.taken && condition.version_count) {
        assert_true(result.version > version && result.existed);
    }
    tf_publication_release(&publication);
}

static void read_one(struct model *m)
{
    struct tf_value_view view;
    char text[16];
    unsigned address = below(m, ADDRESSES);
    struct tf_shard *shard = &m->rig.shards[below(m, m->rig.count)];
    enum tf_err err = tf_shard_read(shard, address_of(address), &m->reader, address, &view);
    if (err == TF_OK) {
        saw(m, address, view.message, view.version, text);
    } else {
        assert_int_equal(err, TF_AGAIN);
        m->reads++;
    }
}

static void toggle(struct model *m)
{
    struct watcher *watcher = &m->watchers[below(m, WATCHERS)];
    struct tf_shard *shard = &m->rig.shards[watcher->shard];
    if (watcher->watcher.cell) {
        tf_shard_unwatch(shard, &watcher->watcher);
    } else {
        watcher->version = 0;
        watcher->address = below(m, ADDRESSES);
        assert_int_equal(tf_shard_watch(shard, &watcher->watcher, address_of(watcher->address)),
                         TF_OK);
    }
}

static void act(struct model *m)
{
    struct watcher *watcher = &m->watchers[below(m, WATCHERS)];
    switch (below(m, 10)) {
    case 0:
    case 1:
    case 2:
        publish(m);
        return;
    case 3:
        read_one(m);
        return;
    case 4:
        toggle(m);
        return;
    case 5:
        tf_watcher_ready(&m->rig.shards[watcher->shard], &watcher->watcher);
        return;
    case 6:
        m->full = chance(m, 1, 3);
        return;
    case 7:
        rig_time(&m->rig, m->rig.now + below(m, 2) * TF_SECOND);
        return;
    default:
        rig_step(&m->rig, &m->random);
    }
}

/* What a read at home gives. */
static struct tf_value_view present(struct model *m, unsigned address)
{
    struct tf_value_view view = {NULL, 0};
    unsigned home = tf_shard_home(&m->rig.shards[0], address_of(address));
    enum tf_err err =
        tf_shard_read(&m->rig.shards[home], address_of(address), &m->reader, 0, &view);
    assert_int_equal(err, TF_OK);
    return view;
}

/* Everybody has credit until all is quiet. */
static void settle(struct model *m)
{
    m->full = false;
    for (bool waiting = true; waiting;) {
        rig_settle(&m->rig);
        rig_check(&m->rig);
        waiting = false;
        for (unsigned address = 0; address < ADDRESSES; address++) {
            (void)present(m, address); /* drops what has expired, though its timer be late */
        }
        for (unsigned i = 0; i < m->rig.count; i++) {
            waiting |= tf_shard_busy(&m->rig.shards[i]);
        }
        for (unsigned i = 0; i < WATCHERS; i++) {
            struct watcher *watcher = &m->watchers[i];
            waiting |= watcher->watcher.waiting;
            tf_watcher_ready(&m->rig.shards[watcher->shard], &watcher->watcher);
        }
    }
}

static void check_all(struct model *m)
{
    for (unsigned address = 0; address < ADDRESSES; address++) {
        struct tf_value_view view = present(m, address);
        char text[16];
        saw(m, address, view.message, view.version, text);
        for (unsigned i = 0; i < WATCHERS; i++) {
            const struct watcher *watcher = &m->watchers[i];
            if (watcher->watcher.cell && watcher->address == address &&
                (watcher->version != view.version || strcmp(watcher->text, text) != 0)) {
                fail_msg("seed %u: watcher %u knows %s (%u), a read gives %s (%u)",
                         (unsigned)m->seed, i, watcher->text, (unsigned)watcher->version, text,
                         (unsigned)view.version);
            }
        }
    }
    assert_int_equal(m->asked, m->answered);
    assert_int_equal(m->reads, m->read);
}

static unsigned run(uint64_t seed)
{
    struct model *m = calloc(1, sizeof(*m));
    m->seed = seed;
    tf_random_init(&m->random, seed);
    rig_start(&m->rig, 1 + below(m, RIG_SHARDS), (size_t)1 << below(m, 4));
    m->writer.done = on_written;
    m->reader.done = on_read;
    tf_list_init(&m->writer.tickets);
    tf_list_init(&m->reader.reads);
    for (unsigned i = 0; i < WATCHERS; i++) {
        m->watchers[i] =
            (struct watcher){.watcher = {.ops = &ops}, .m = m, .shard = i % m->rig.count};
    }
    unsigned watching = 0;
    for (unsigned part = 0; part < 4; part++) {
        for (unsigned i = 1 + below(m, 200); i; i--) {
            act(m);
        }
        settle(m);
        check_all(m);
        for (unsigned i = 0; i < WATCHERS; i++) {
            watching += m->watchers[i].watcher.cell != NULL;
        }
    }
    for (unsigned i = 0; i < WATCHERS; i++) {
        tf_shard_unwatch(&m->rig.shards[m->watchers[i].shard], &m->watchers[i].watcher);
    }
    settle(m);
    check_all(m); /* and no version means two values after the watch */
    for (unsigned i = 0; i < m->rig.count; i++) {
        assert_int_equal(m->rig.shards[i].routes.route_count, 0);
    }
    rig_stop(&m->rig);
    free(m);
    return watching;
}

static void test_model(void **state)
{
    (void)state;
    unsigned watching = 0;
    for (uint64_t seed = 0; seed < 2000; seed++) {
        watching += run(seed);
    }
    assert_true(watching > 2000); /* else nothing was looked at */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
