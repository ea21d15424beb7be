/*
 * Binding, and reading values, between shards whose mail is late at random.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/util.h"
#include "unit/route/route_rig.h"

#define ADDRESSES 8u

struct fixture {
    struct rig rig;
    struct sink sink;       /* the one that binds */
    struct sink companion;  /* of the same shard; may have bound before */
    struct tf_random random;
    unsigned next[RIG_SHARDS];             /* what each shard publishes next */
    unsigned value[ADDRESSES];             /* the number of the last publication accepted, by home */
    bool drawn;
};

static struct fixture *start(unsigned shards, size_t capacity, unsigned shard)
{
    struct fixture *f = calloc(1, sizeof(*f));
    rig_start(&f->rig, shards, capacity);
    sink_start(&f->sink, &f->rig.shards[shard], true);
    sink_start(&f->companion, &f->rig.shards[shard], true);
    return f;
}

static void stop(struct fixture *f)
{
    sink_stop(&f->companion);
    sink_stop(&f->sink);
    rig_settle(&f->rig);
    rig_check(&f->rig);
    for (unsigned i = 0; i < f->rig.count; i++) {
        assert_int_equal(f->rig.shards[i].routes.route_count, 0);
        assert_true(tf_list_empty(&f->rig.shards[i].drawing));
    }
    rig_stop(&f->rig);
    free(f);
}

/* Numbers grow within a shard; the hundred thousands name it. */
static void publish(struct fixture *f, unsigned shard, unsigned address, bool clear)
{
    char name[16];
    char body[16];
    sprintf(name, "t/%u", address);
    sprintf(body, "%u", (shard + 1) * 100000 + f->next[shard]++);
    rig_publish(&f->rig, shard, tf_bytes_str(name), clear ? NULL : body, 1, true, NULL, 0, NULL);
}

static void draw(struct fixture *f)
{
    if (f->sink.bound && !f->drawn && tf_random_chance(&f->random, 1, 2)) {
        f->drawn = true; /* as a front does, once SUBACK has gone out */
        (void)tf_bind_draw(f->sink.queue.shard, &f->sink.owner);
    }
}

static void steps(struct fixture *f, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        rig_step(&f->rig, &f->random);
        draw(f);
    }
}

static void settle(struct fixture *f)
{
    rig_settle(&f->rig);
    while (f->sink.bound && !f->drawn) {
        draw(f);
    }
    rig_settle(&f->rig);
}

/* What a shard publishes on an address comes in order and at most once. */
static void check_order(const struct fixture *f, uint64_t seed)
{
    unsigned last[RIG_SHARDS + 1][ADDRESSES] = {{0}};
    for (size_t i = 0; i < f->sink.seen_count; i++) {
        const struct seen *seen = &f->sink.seen[i];
        unsigned number = (unsigned)atoi(seen->body);
        unsigned address = (unsigned)atoi(seen->address + 2);
        unsigned *before = &last[number / 100000][address];
        if (seen->body[0] && number <= *before) {
            fail_msg("seed %u: %s has %u%s after %u", (unsigned)seed, seen->address, number,
                     seen->retain ? "" : " (live)", *before);
        }
        if (seen->body[0]) {
            *before = number;
        }
    }
}

/* Every value that there is at the end has been seen. */
static void check_complete(struct fixture *f, const char *filter, uint64_t seed)
{
    for (unsigned shard = 0; shard < f->rig.count; shard++) {
        struct tf_value_cursor cursor = {.filter = tf_bytes_str(filter)};
        const struct tf_value *value;
        bool more = true;
        while (more) {
            value = tf_values_next(&f->rig.shards[shard].values, &cursor, 100, &more);
            if (value) {
                char body[16] = {0};
                struct tf_bytes bytes = value->message->publication.body[0];
                memcpy(body, bytes.data, bytes.length);
                if (sink_count(&f->sink, NULL, body) != 1) {
                    fail_msg("seed %u: %s came %zu times", (unsigned)seed, body,
                             sink_count(&f->sink, NULL, body));
                }
            }
        }
        tf_value_cursor_release(&cursor, &f->rig.memory.alloc);
    }
}

/*
 * Values are written before, during and after a bind, by all shards, with mail late at random. Each
 * value comes exactly once or is live, and never an older one after a newer one of the same shard.
 */
static void one_bind(uint64_t seed)
{
    static const char *const filters[] = {"t/#", "t/+", "t/3", "#"};
    struct tf_random random;
    tf_random_init(&random, seed);
    unsigned shards = 1 + (unsigned)tf_random_below(&random, RIG_SHARDS);
    unsigned shard = (unsigned)tf_random_below(&random, shards);
    struct fixture *f = start(shards, (size_t)1 << tf_random_below(&random, 3), shard);
    const char *filter = filters[tf_random_below(&random, TF_COUNT(filters))];
    f->random = random;
    if (!getenv("NOCOMP") && tf_random_chance(&f->random, 1, 2)) {
        sink_bind(&f->companion, filters[tf_random_below(&f->random, TF_COUNT(filters))], 1, true,
                  0);
    }
    unsigned count = (unsigned)tf_random_below(&f->random, 40);
    for (unsigned i = 0; i < count; i++) {
        publish(f, (unsigned)tf_random_below(&f->random, shards),
                (unsigned)tf_random_below(&f->random, ADDRESSES),
                tf_random_chance(&f->random, 1, 10));
        steps(f, (unsigned)tf_random_below(&f->random, 6));
    }
    sink_bind(&f->sink, filter, 1, true, 1);
    for (unsigned i = 0; i < 30; i++) {
        steps(f, (unsigned)tf_random_below(&f->random, 8));
        publish(f, (unsigned)tf_random_below(&f->random, shards),
                (unsigned)tf_random_below(&f->random, ADDRESSES),
                tf_random_chance(&f->random, 1, 10));
        if (tf_random_chance(&f->random, 1, 20) && f->companion.queue.binding_count) {
            tf_shard_unbind_all(f->companion.queue.shard, &f->companion.queue);
        }
    }
    settle(f);
    assert_int_equal(f->sink.bound, 1);
    assert_int_equal(f->sink.bound_err, TF_OK);
    assert_true(tf_list_empty(&f->sink.owner.binds));
    if (getenv("ORDER")) check_order(f, seed);
    check_complete(f, filter, seed);
    stop(f);
}

static void test_values_once_or_live(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        one_bind(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_once_or_live),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
