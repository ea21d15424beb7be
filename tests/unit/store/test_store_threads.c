/*
 * Two shards and the store, each on a thread of its own; the thread sanitizer looks on. Every batch
 * is done in the end, entries are there in order, and what was read was what had been written.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/util.h"
#include "store_rig.h"
#include "unit/route/test_alloc.h"

#define SHARDS 2u
#define TURNS 4000u
#define UNDER_WAY 60u /* batches */

/* Something that a thread waits for. */
struct bell {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool rung;
};

struct fixture;

struct shard {
    struct fixture *f;
    struct tf_store_client *client;
    struct bell bell;
    pthread_t id;
    struct tf_random random;
    struct tf_store_read read;
    bool reading;
    uint64_t position, settled, seen;
    unsigned pages;
};

struct fixture {
    struct rig rig;
    struct test_alloc memory;
    struct shard shards[SHARDS];
    struct bell bell;
    pthread_t id;
    atomic_bool first_ended, end;
    /* A transaction of both, from the first who begins it. */
    _Atomic(uint64_t) offered;
};

static void ring(struct bell *bell)
{
    pthread_mutex_lock(&bell->mutex);
    bell->rung = true;
    pthread_cond_signal(&bell->cond);
    pthread_mutex_unlock(&bell->mutex);
}

static void await(struct bell *bell)
{
    pthread_mutex_lock(&bell->mutex);
    while (!bell->rung)
        pthread_cond_wait(&bell->cond, &bell->mutex);
    bell->rung = false;
    pthread_mutex_unlock(&bell->mutex);
}

static void wake_shard(void *ctx, unsigned shard)
{
    struct fixture *f = tf_container_of(ctx, struct fixture, rig);
    ring(&f->shards[shard].bell);
}

static void wake_store(void *ctx)
{
    struct fixture *f = tf_container_of(ctx, struct fixture, rig);
    ring(&f->bell);
}

static void *run_store(void *ctx)
{
    struct fixture *f = ctx;
    tf_time until;

    for (;;) {
        if (tf_store_turn(f->rig.store, 0, &until))
            continue;
        if (atomic_load(&f->end))
            return NULL;
        await(&f->bell);
    }
}

static void on_read(struct tf_store_read *read, enum tf_err err, struct tf_store_page *page)
{
    struct shard *shard = tf_container_of(read, struct shard, read);
    struct tf_store_item item;
    uint64_t last = 0, number;

    tf_assert(err == TF_OK);
    shard->reading = false;
    shard->pages++;
    while (tf_store_page_next(page, &item)) {
        tf_assert(item.position > last && item.position <= shard->position);
        tf_assert(rig_number(item.message, &number) && number == item.position);
        last = item.position;
    }
    shard->seen = TF_MAX(shard->seen, last);
}

static void act(struct shard *shard, unsigned number)
{
    struct tf_store_client *client = shard->client;
    struct rig *rig = &shard->f->rig;
    uint64_t queue = number + 1, transaction;

    for (unsigned i = 0; i < 3; i++)
        if (rig_entry(rig, number, TF_STORE_DISK, queue, shard->position + 1, shard->position + 1,
                      (size_t)tf_random_below(&shard->random, 400)))
            shard->position++;
    if (shard->position > shard->settled + 500) {
        tf_store_settle(client, TF_STORE_DISK, queue, shard->settled + 1, shard->settled + 10);
        shard->settled += 10;
    }
    if (!shard->reading && tf_random_chance(&shard->random, 1, 8)) {
        shard->read = (struct tf_store_read){.queue = queue,
                                             .from = shard->settled + 1,
                                             .entries = 20,
                                             .bytes = 5000,
                                             .done = on_read};
        shard->reading = tf_store_read(client, &shard->read) == TF_OK;
    } else if (shard->reading && tf_random_chance(&shard->random, 1, 300)) {
        tf_store_read_cancel(client, &shard->read);
        shard->reading = false;
    }
    if (number == 0 && tf_random_chance(&shard->random, 1, 4) && !atomic_load(&shard->f->offered)) {
        transaction = tf_store_transaction(client);
        tf_store_join(client, transaction, 2);
        atomic_store(&shard->f->offered, transaction);
        ring(&shard->f->shards[1].bell);
    }
}

/* The second shard joins what the first has begun. */
static void join(struct shard *shard)
{
    uint64_t transaction = atomic_exchange(&shard->f->offered, 0);

    if (transaction)
        tf_store_join(shard->client, transaction, 0);
}

static void *run_shard(void *ctx)
{
    struct shard *shard = ctx;
    unsigned number = (unsigned)(shard - shard->f->shards);
    struct tf_store_client *client = shard->client;
    unsigned turn = 0;

    while (turn < TURNS || (number && !atomic_load(&shard->f->first_ended))) {
        if (turn < TURNS && client->current - client->done <= UNDER_WAY) {
            act(shard, number);
            turn++;
        } else {
            await(&shard->bell);
        }
        if (number)
            join(shard);
        tf_store_submit(client);
        (void)tf_store_receive(client);
    }
    if (!number) {
        atomic_store(&shard->f->first_ended, true);
        ring(&shard->f->shards[1].bell);
    }
    return NULL;
}

static void start(struct fixture *f)
{
    test_alloc_init(&f->memory);
    rig_init(&f->rig, SHARDS);
    f->rig.config.alloc = f->rig.config.journal.alloc = &f->memory.alloc;
    f->rig.config.wake_shard = wake_shard;
    f->rig.config.wake_store = wake_store;
    assert_int_equal(rig_open(&f->rig), TF_OK);
    assert_int_equal(pthread_mutex_init(&f->bell.mutex, NULL), 0);
    assert_int_equal(pthread_cond_init(&f->bell.cond, NULL), 0);
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *shard = &f->shards[i];
        shard->f = f;
        shard->client = &f->rig.clients[i];
        tf_random_init(&shard->random, i);
        assert_int_equal(pthread_mutex_init(&shard->bell.mutex, NULL), 0);
        assert_int_equal(pthread_cond_init(&shard->bell.cond, NULL), 0);
    }
    assert_int_equal(pthread_create(&f->id, NULL, run_store, f), 0);
    for (unsigned i = 0; i < SHARDS; i++)
        assert_int_equal(pthread_create(&f->shards[i].id, NULL, run_shard, &f->shards[i]), 0);
}

static void threads(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    (void)state;
    assert_non_null(f);
    start(f);
    for (unsigned i = 0; i < SHARDS; i++)
        assert_int_equal(pthread_join(f->shards[i].id, NULL), 0);
    join(&f->shards[1]);
    tf_store_submit(&f->rig.clients[1]);
    for (unsigned i = 0; i < SHARDS; i++)
        while (tf_store_current(&f->rig.clients[i]) || f->shards[i].reading) {
            await(&f->shards[i].bell);
            (void)tf_store_receive(&f->rig.clients[i]);
        }
    atomic_store(&f->end, true);
    ring(&f->bell);
    assert_int_equal(pthread_join(f->id, NULL), 0);
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *shard = &f->shards[i];
        assert_int_equal(f->rig.clients[i].done, f->rig.clients[i].current - 1);
        assert_int_equal(f->rig.clients[i].outstanding, 0);
        assert_true(shard->pages > 10 && shard->seen > 10);
        rig_read(&f->rig, i, i + 1, 0, 200, 50000);
        assert_int_equal(f->rig.positions[0], shard->settled + 1);
    }
    rig_release(&f->rig);
    assert_int_equal(f->memory.blocks, 0);
    free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
