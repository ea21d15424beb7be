/*
 * Three shards, each on a thread of its own, publish, write, read and watch a few addresses; the
 * thread sanitizer looks on. At the end everybody was told last what a read gives.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/util.h"
#include "unit/route/route_rig.h"

#define ADDRESSES 4u
#define WATCHERS 4u /* few, so that the first and the last come and go all the time */
#define TURNS 60000u

struct watcher {
    struct tf_watcher watcher;
    uint64_t version;
    unsigned address;
    struct tf_message *last; /* counted */
};

struct fixture;

struct thread {
    struct fixture *f;
    struct tf_shard *shard;
    pthread_t id;
    struct tf_random random;
    struct watcher watchers[WATCHERS];
    struct tf_ticket_owner writer;
    struct tf_read_owner reader;
    unsigned asked, answered;
};

struct fixture {
    struct rig rig;
    struct thread threads[RIG_SHARDS];
    atomic_uint wakes;
};

static struct tf_bytes address_of(unsigned number)
{
    static const char *const names[ADDRESSES] = {"a", "b/b", "c", "d/e/f"};
    return tf_bytes_str(names[number]);
}

static enum tf_err deliver(struct tf_watcher *base, struct tf_message *message, uint64_t version)
{
    struct watcher *watcher = tf_container_of(base, struct watcher, watcher);
    tf_assert(version > watcher->version);
    if (watcher->last) {
        tf_message_unref(watcher->last);
    }
    watcher->version = version;
    watcher->last = message ? tf_message_ref(message) : NULL;
    return TF_OK;
}

static void failed(struct tf_watcher *base)
{
    (void)base;
    tf_assert(false);
}

static const struct tf_watcher_ops ops = {.deliver = deliver, .failed = failed};

static void on_written(struct tf_ticket_owner *owner, uint64_t tag,
                       const struct tf_published *result)
{
    (void)tag;
    (void)result;
    tf_container_of(owner, struct thread, writer)->answered++;
}

static void on_read(struct tf_read_owner *owner, uint64_t tag, const struct tf_value_view *value)
{
    (void)tag;
    (void)value;
    tf_container_of(owner, struct thread, reader)->answered++;
}

static void act(struct thread *thread)
{
    char text[16];
    struct tf_published result;
    struct tf_value_view view;
    struct tf_random *random = &thread->random;
    struct tf_shard *shard = thread->shard;
    unsigned address = (unsigned)tf_random_below(random, ADDRESSES);
    unsigned kind = (unsigned)tf_random_below(random, 4); /* write, retain, live, clear */
    struct tf_bytes body =
        tf_bytes_of(text, (size_t)sprintf(text, "%u", (unsigned)tf_random_below(random, 100000)));
    struct tf_publication publication = {.envelope = {.address = address_of(address),
                                                      .expires = TF_TIME_NEVER,
                                                      .qos = 1,
                                                      .retain = kind != 2,
                                                      .clear = kind == 3},
                                         .body = &body,
                                         .body_count = kind != 3};
    enum tf_err err = kind == 0
                          ? tf_shard_write(shard, &publication, NULL, &thread->writer, 0, &result)
                          : tf_shard_publish(shard, &publication, &thread->writer, 0, &result);
    tf_publication_release(&publication);
    thread->asked += err == TF_AGAIN;
    err = tf_shard_read(shard, address_of(address), &thread->reader, 0, &view);
    thread->asked += err == TF_AGAIN;
    struct watcher *watcher = &thread->watchers[tf_random_below(random, WATCHERS)];
    if (!watcher->watcher.cell) {
        watcher->version = 0;
        watcher->address = address;
        err = tf_shard_watch(shard, &watcher->watcher, address_of(address));
        tf_assert(err == TF_OK);
    } else if (tf_random_chance(random, 1, 2)) {
        tf_shard_unwatch(shard, &watcher->watcher);
    }
}

static void *run(void *ctx)
{
    struct thread *thread = ctx;
    bool congested = false;
    for (unsigned turn = 0; turn < TURNS;) {
        if (!congested) {
            act(thread);
            turn++;
        }
        tf_shard_receive(thread->shard);
        congested = tf_shard_flush(thread->shard);
        /* others may have ended: what is spilled then goes when all have been joined */
        turn += congested && tf_random_chance(&thread->random, 1, 8);
    }
    return NULL;
}

static void check_thread(struct fixture *f, const struct thread *thread)
{
    assert_int_equal(thread->asked, thread->answered);
    for (unsigned i = 0; i < WATCHERS; i++) {
        const struct watcher *watcher = &thread->watchers[i];
        struct tf_value_view view = {NULL, 0};
        struct tf_read_owner nobody = {.done = NULL};
        struct tf_bytes address = address_of(watcher->address);
        if (watcher->watcher.cell) {
            struct tf_shard *home = &f->rig.shards[tf_shard_home(thread->shard, address)];
            assert_int_equal(tf_shard_read(home, address, &nobody, 0, &view), TF_OK);
            assert_ptr_equal(view.message, watcher->last);
            assert_int_equal(view.version, watcher->version);
        }
    }
}

/* Several threads may wake at once: the rig's own count is for one. */
static void wake(void *ctx, unsigned shard)
{
    struct fixture *f = ctx;
    atomic_fetch_or(&f->wakes, 1u << shard);
}

/* Without threads now: until nothing is under way. */
static void settle(struct fixture *f)
{
    for (bool busy = true; busy;) {
        atomic_store(&f->wakes, 0);
        busy = false;
        for (unsigned i = 0; i < f->rig.count; i++) {
            tf_shard_receive(&f->rig.shards[i]);
            busy |= tf_shard_flush(&f->rig.shards[i]) || tf_shard_busy(&f->rig.shards[i]);
        }
        busy |= atomic_load(&f->wakes) != 0;
    }
}

static void test_threads(void **state)
{
    (void)state;
    struct fixture *f = calloc(1, sizeof(*f));
    rig_start_with(&f->rig, RIG_SHARDS, 16, (struct tf_wake){wake, f});
    for (unsigned i = 0; i < RIG_SHARDS; i++) {
        struct thread *thread = &f->threads[i];
        thread->f = f;
        thread->shard = &f->rig.shards[i];
        thread->writer.done = on_written;
        thread->reader.done = on_read;
        tf_list_init(&thread->writer.tickets);
        tf_list_init(&thread->reader.reads);
        tf_random_init(&thread->random, i);
        for (unsigned j = 0; j < WATCHERS; j++) {
            thread->watchers[j].watcher.ops = &ops;
        }
    }
    for (unsigned i = 0; i < RIG_SHARDS; i++) {
        assert_int_equal(pthread_create(&f->threads[i].id, NULL, run, &f->threads[i]), 0);
    }
    for (unsigned i = 0; i < RIG_SHARDS; i++) {
        assert_int_equal(pthread_join(f->threads[i].id, NULL), 0);
    }
    settle(f);
    rig_check(&f->rig);
    for (unsigned i = 0; i < RIG_SHARDS; i++) {
        check_thread(f, &f->threads[i]);
    }
    for (unsigned i = 0; i < RIG_SHARDS * WATCHERS; i++) {
        struct watcher *watcher = &f->threads[i / WATCHERS].watchers[i % WATCHERS];
        tf_shard_unwatch(f->threads[i / WATCHERS].shard, &watcher->watcher);
        if (watcher->last) {
            tf_message_unref(watcher->last);
        }
    }
    settle(f);
    rig_stop(&f->rig);
    free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
