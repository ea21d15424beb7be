/*
 * Three shards, each on a thread of its own, consume from and produce to two named queues, come and
 * go; the thread sanitizer looks on. At the end everything that was taken has been accepted once or
 * is still there.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/util.h"
#include "route/named.h"
#include "unit/route/route_rig.h"

#define QUEUES 2u
#define TURNS 30000u
#define HELD_MAX 32u

struct fixture;
struct thread;

struct consumer {
    struct tf_named_consumer consumer;
    struct thread *thread;
};

struct thread {
    struct fixture *f;
    struct tf_shard *shard;
    pthread_t id;
    struct tf_random random;
    struct consumer consumers[QUEUES];
    struct tf_named_producer producers[QUEUES];
    struct tf_ticket_owner tickets;
    struct tf_command_owner commands;
    struct {
        struct tf_named_consumer *consumer;
        uint64_t handle;
    } held[HELD_MAX];
    unsigned held_count;
    unsigned asked, answered, taken, accepted, commanded, done;
};

struct fixture {
    struct rig rig;
    struct thread threads[RIG_SHARDS];
    atomic_uint wakes;
};

static const char *const names[QUEUES] = {"queue/a", "another"};

static void on_attached(struct tf_named_consumer *consumer, enum tf_err err)
{
    (void)consumer;
    tf_assert(err == TF_OK);
}

static enum tf_err deliver(struct tf_named_consumer *consumer,
                           const struct tf_named_delivery *delivery)
{
    struct thread *thread = tf_container_of(consumer, struct consumer, consumer)->thread;
    if (thread->held_count == HELD_MAX || tf_random_chance(&thread->random, 1, 20)) {
        return TF_AGAIN;
    }
    tf_assert(delivery->publication->body_count == 1);
    thread->held[thread->held_count].consumer = consumer;
    thread->held[thread->held_count++].handle = delivery->handle;
    return TF_OK;
}

static void on_drained(struct tf_named_consumer *consumer)
{
    (void)consumer;
}

static void on_deleted(struct tf_named_consumer *consumer)
{
    (void)consumer;
    tf_assert(false);
}

static const struct tf_named_consumer_ops consumer_ops = {
    .attached = on_attached, .deliver = deliver, .drained = on_drained, .deleted = on_deleted};

static void producer_attached(struct tf_named_producer *producer, enum tf_err err)
{
    (void)producer;
    tf_assert(err == TF_OK);
}

static void producer_room(struct tf_named_producer *producer, uint32_t room)
{
    (void)producer;
    (void)room;
}

static const struct tf_named_producer_ops producer_ops = {.attached = producer_attached,
                                                          .room = producer_room};

static void on_put(struct tf_ticket_owner *owner, uint64_t tag, const struct tf_published *result)
{
    struct thread *thread = tf_container_of(owner, struct thread, tickets);
    (void)tag;
    thread->answered++;
    thread->taken += result->taken;
}

static void on_done(struct tf_command_owner *owner, uint64_t tag, enum tf_err err, uint64_t count,
                    const struct tf_queue_status *status)
{
    (void)tag;
    (void)count;
    (void)status;
    tf_assert(err == TF_OK || err == TF_NOT_FOUND);
    tf_container_of(owner, struct thread, commands)->done++;
}

static void put(struct thread *thread)
{
    struct tf_random *random = &thread->random;
    struct tf_bytes body = tf_bytes_str("a message");
    struct tf_published result = {0};
    unsigned queue = (unsigned)tf_random_below(random, QUEUES);
    struct tf_publication publication = {
        .envelope = {.address = tf_bytes_str(names[queue]), .expires = TF_TIME_NEVER, .qos = 1},
        .body = &body,
        .body_count = 1};
    struct tf_named_producer *producer = &thread->producers[queue];
    enum tf_err err;
    if (producer->attachment && tf_random_chance(random, 1, 3)) {
        err = tf_named_produce(producer, &publication, &thread->tickets, 0, &result);
    } else if (tf_random_chance(random, 1, 2)) {
        err = tf_shard_enqueue(thread->shard, tf_bytes_str(names[queue]), &publication,
                               &thread->tickets, 0, &result);
    } else {
        err = tf_shard_publish(thread->shard, &publication, &thread->tickets, 0, &result);
    }
    tf_publication_release(&publication);
    tf_assert(err == TF_OK || err == TF_AGAIN);
    thread->asked += err == TF_AGAIN;
    if (err == TF_OK) {
        thread->taken += result.taken;
    }
}

static void settle(struct thread *thread, unsigned i)
{
    struct tf_outcome outcome = {.type = TF_OUTCOME_ACCEPTED};
    if (tf_random_chance(&thread->random, 1, 3)) {
        outcome.type = TF_OUTCOME_MODIFIED;
        outcome.annotations = tf_bytes_str("annotation");
    }
    thread->accepted += outcome.type == TF_OUTCOME_ACCEPTED;
    struct tf_named_consumer *consumer = thread->held[i].consumer;
    uint64_t handle = thread->held[i].handle;
    thread->held[i] = thread->held[--thread->held_count];
    tf_named_settle(consumer, handle, &outcome);
}

static void leave(struct thread *thread, struct tf_named_consumer *consumer)
{
    for (unsigned i = 0; i < thread->held_count;) {
        if (thread->held[i].consumer == consumer) {
            thread->held[i] = thread->held[--thread->held_count];
        } else {
            i++;
        }
    }
    tf_named_detach(consumer, true);
}

static void act(struct thread *thread)
{
    struct tf_random *random = &thread->random;
    unsigned queue = (unsigned)tf_random_below(random, QUEUES);
    struct tf_named_consumer *consumer = &thread->consumers[queue].consumer;
    struct tf_named_producer *producer = &thread->producers[queue];
    const struct tf_queue_spec spec = {.limits = {200, 1 << 20, TF_OVERFLOW_REFUSE},
                                       .message_ttl = TF_TIME_NEVER,
                                       .idle = TF_TIME_NEVER};
    const struct tf_queue_declaration declaration = {
        .name = tf_bytes_str(names[queue]), .filter = tf_bytes_str(names[queue]), .spec = &spec};
    const struct tf_queue_command command = {.type = TF_QUEUE_MOVE,
                                             .name = tf_bytes_str(names[queue]),
                                             .to = tf_bytes_str(names[!queue]),
                                             .limit = 50};
    enum tf_err err = TF_OK;
    if (!consumer->attachment) {
        err = tf_shard_consume(thread->shard, consumer, &declaration);
    } else if (tf_random_chance(random, 1, 50)) {
        leave(thread, consumer);
    } else if (tf_random_chance(random, 1, 10)) {
        tf_named_drain(consumer);
    } else {
        tf_named_credit(consumer, (uint32_t)tf_random_below(random, 10));
    }
    tf_assert(err == TF_OK || err == TF_AGAIN);
    if (!producer->attachment) {
        err = tf_shard_produce(thread->shard, producer, &declaration);
        tf_assert(err == TF_OK || err == TF_AGAIN);
    } else if (tf_random_chance(random, 1, 50)) {
        tf_named_producer_detach(producer);
    }
    put(thread);
    for (unsigned i = 0; i < 4 && thread->held_count; i++) {
        settle(thread, (unsigned)tf_random_below(random, thread->held_count));
    }
    if (tf_random_chance(random, 1, 100)) {
        err = tf_shard_queue_command(thread->shard, &command, &thread->commands, 0);
        tf_assert(err == TF_OK);
        thread->commanded++;
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

/* Several threads may wake at once: the rig's own count is for one. */
static void wake(void *ctx, unsigned shard)
{
    struct fixture *f = ctx;
    atomic_fetch_or(&f->wakes, 1u << shard);
}

/* Without threads now: until nothing is under way. */
static void quiet(struct fixture *f)
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

/* What is left in both queues, which are deleted. */
static uint64_t take_rest(struct fixture *f)
{
    uint64_t left = 0;
    for (unsigned i = 0; i < QUEUES; i++) {
        struct tf_bytes name = tf_bytes_str(names[i]);
        struct tf_shard *home = &f->rig.shards[tf_shard_home(&f->rig.shards[0], name)];
        struct tf_named_queue *named = tf_named_queue_find(home, name);
        struct tf_queue_status status;
        struct tf_queue_command command = {.type = TF_QUEUE_DELETE, .name = name};
        assert_non_null(named);
        tf_named_queue_status(named, &status);
        assert_int_equal(status.acquired, 0);
        left += status.messages;
        f->threads[0].commanded++;
        assert_int_equal(
            tf_shard_queue_command(f->threads[0].shard, &command, &f->threads[0].commands, 0),
            TF_OK);
    }
    quiet(f);
    return left;
}

static void test_threads(void **state)
{
    (void)state;
    struct fixture *f = calloc(1, sizeof(*f));
    uint64_t taken = 0;
    uint64_t accepted = 0;
    rig_start_with(&f->rig, RIG_SHARDS, 16, (struct tf_wake){wake, f});
    for (unsigned i = 0; i < RIG_SHARDS; i++) {
        struct thread *thread = &f->threads[i];
        thread->f = f;
        thread->shard = &f->rig.shards[i];
        thread->tickets.done = on_put;
        thread->commands.done = on_done;
        tf_list_init(&thread->tickets.tickets);
        tf_list_init(&thread->commands.commands);
        tf_random_init(&thread->random, i);
        for (unsigned j = 0; j < QUEUES; j++) {
            thread->consumers[j].thread = thread;
            thread->consumers[j].consumer.ops = &consumer_ops;
            thread->producers[j].ops = &producer_ops;
        }
    }
    for (unsigned i = 0; i < RIG_SHARDS; i++) {
        assert_int_equal(pthread_create(&f->threads[i].id, NULL, run, &f->threads[i]), 0);
    }
    for (unsigned i = 0; i < RIG_SHARDS; i++) {
        assert_int_equal(pthread_join(f->threads[i].id, NULL), 0);
    }
    quiet(f);
    rig_check(&f->rig);
    for (unsigned i = 0; i < RIG_SHARDS; i++) {
        struct thread *thread = &f->threads[i];
        for (unsigned j = 0; j < QUEUES; j++) {
            leave(thread, &thread->consumers[j].consumer);
            tf_named_producer_detach(&thread->producers[j]);
        }
    }
    quiet(f);
    rig_check(&f->rig);
    uint64_t left = take_rest(f);
    for (unsigned i = 0; i < RIG_SHARDS; i++) {
        const struct thread *thread = &f->threads[i];
        assert_int_equal(thread->asked, thread->answered);
        assert_int_equal(thread->commanded, thread->done);
        taken += thread->taken;
        accepted += thread->accepted;
    }
    assert_int_equal(taken, accepted + left);
    assert_true(accepted > 0);
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
