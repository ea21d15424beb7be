/*
 * A kept queue against a model: pushes, deliveries, settlements, releases, purges of the tail,
 * restarts and memory that runs out, in any order. What was taken and not settled is there, once:
 * available, or with the consumer; and it is so after a restart.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/util.h"
#include "unit/route/kept_rig.h"

#define NUMBERS 6000u

enum fate { NEVER, WAITING, WITH_CONSUMER, GONE };

struct model {
    struct store_rig k;
    struct session a;
    struct tf_random random;
    uint8_t fate[NUMBERS];
    unsigned next, waiting, held;
    bool attended;
};

static unsigned number_of(const struct session_seen *seen)
{
    return (unsigned)strtoul(seen->body, NULL, 10);
}

/* Takes note of what has been delivered since the last time. */
static void look(struct model *m, size_t *from)
{
    for (; *from < m->a.seen_count; (*from)++) {
        unsigned number = number_of(&m->a.seen[*from]);
        assert_true(number < m->next);
        assert_int_equal(m->fate[number], WAITING);
        m->fate[number] = WITH_CONSUMER;
        m->waiting--;
        m->held++;
    }
    assert_int_equal(m->a.queue.count, m->waiting + m->held);
    assert_true(tf_queue_check(&m->a.queue));
}

/* One of those that the consumer has; SIZE_MAX: none. */
static size_t held_one(struct model *m)
{
    size_t count = m->a.seen_count;
    size_t start = count ? tf_random_below(&m->random, count) : 0;
    for (size_t i = 0; i < count; i++) {
        size_t at = (start + i) % count;
        if (m->a.seen[at].entry) {
            return at;
        }
    }
    return SIZE_MAX;
}

static void push(struct model *m)
{
    char body[16];
    for (unsigned i = (unsigned)tf_random_below(&m->random, 200); i && m->next < NUMBERS; i--) {
        snprintf(body, sizeof(body), "%u", m->next);
        m->fate[m->next] = WAITING;
        if (session_push(&m->a, body, 1, TF_TIME_NEVER) == TF_OK) {
            m->next++;
            m->waiting++;
        } else {
            m->fate[m->next] = NEVER;
        }
    }
}

static void restart(struct model *m, size_t *from)
{
    unsigned restored = 0;
    test_alloc_fail(&m->k.rig.memory, 0);
    rig_settle(&m->k.rig);
    look(m, from);
    session_pause(&m->a);
    store_rig_restart(&m->k);
    session_resume(&m->a, &m->k, 0);
    m->attended = false;
    for (size_t i = 0; i < m->a.seen_count; i++) {
        assert_int_equal(m->fate[number_of(&m->a.seen[i])], WITH_CONSUMER);
        restored++;
    }
    assert_int_equal(restored, m->held);
    *from = m->a.seen_count;
    look(m, from);
}

static void drop_tail(struct model *m)
{
    if (tf_random_below(&m->random, 8)) {
        return;
    }
    /* which numbers these are shows when the rest has been delivered: all that is in the tail is
     * above what is in memory, unless a restart has just been */
    uint32_t before = m->a.queue.count;
    uint32_t dropped = tf_kept_drop_tail(&m->a.queue);
    assert_int_equal(m->a.queue.count, before - dropped);
    uint32_t left = dropped;
    for (unsigned i = m->next; left && i-- > 0;) {
        if (m->fate[i] == WAITING) {
            m->fate[i] = GONE;
            m->waiting--;
            left--;
        }
    }
    assert_int_equal(left, 0);
}

static void step(struct model *m, size_t *from, bool releases)
{
    size_t at = held_one(m);
    switch (tf_random_below(&m->random, 10)) {
    case 0:
    case 1:
        push(m);
        break;
    case 2:
        if (m->attended) {
            session_leave(&m->a);
        } else {
            session_attend(&m->a);
        }
        m->attended = !m->attended;
        break;
    case 3:
    case 4:
    case 5:
        m->a.credit = (uint32_t)tf_random_below(&m->random, 150);
        session_pump(&m->a);
        break;
    case 6:
        rig_settle(&m->k.rig);
        rig_time(&m->k.rig, m->k.rig.now + TF_SECOND);
        break;
    case 7:
        if (releases && at != SIZE_MAX) {
            m->fate[number_of(&m->a.seen[at])] = WAITING;
            m->waiting++;
            m->held--;
            tf_entry_release(m->a.seen[at].entry);
            m->a.seen[at].entry = NULL;
        } else if (!releases) {
            drop_tail(m);
        }
        break;
    default:
        for (size_t i = tf_random_below(&m->random, 40); i && at != SIZE_MAX; i--) {
            m->fate[number_of(&m->a.seen[at])] = GONE;
            m->held--;
            session_settle(&m->a, at);
            at = held_one(m);
        }
        break;
    }
    look(m, from);
    if (m->a.seen_count + 200 > SESSION_SEEN_MAX || tf_random_below(&m->random, 40) == 0) {
        restart(m, from);
    }
}

/* Everything is delivered and settled in the end, and nothing is left in the store. */
static void drain(struct model *m, size_t *from)
{
    restart(m, from);
    session_attend(&m->a);
    do {
        for (size_t i = 0; i < m->a.seen_count; i++) {
            if (m->a.seen[i].entry) {
                m->fate[number_of(&m->a.seen[i])] = GONE;
                m->held--;
                session_settle(&m->a, i);
            }
        }
        m->a.seen_count = *from = 0;
        m->a.credit = 500;
        session_pump(&m->a);
        rig_settle(&m->k.rig);
        look(m, from);
    } while (m->a.seen_count);
    assert_int_equal(m->waiting, 0);
    assert_int_equal(m->a.queue.count, 0);
    assert_int_equal(m->a.queue.bytes, 0);
    assert_int_equal(store_rig_stats(&m->k).entries, 0);
    for (unsigned i = 0; i < m->next; i++) {
        assert_int_equal(m->fate[i], GONE);
    }
}

static void run(uint64_t seed, bool releases, bool starved)
{
    struct model *m = calloc(1, sizeof(*m));
    size_t from = 0;
    assert_non_null(m);
    tf_random_init(&m->random, seed);
    store_rig_start(&m->k, 1);
    session_start(&m->a, &m->k.rig.shards[0], false);
    for (unsigned i = 0; i < 300 && m->next < NUMBERS; i++) {
        if (starved && tf_random_below(&m->random, 3) == 0) {
            test_alloc_fail(&m->k.rig.memory, 1 + tf_random_below(&m->random, 300));
        }
        step(m, &from, releases);
    }
    drain(m, &from);
    session_end(&m->a);
    store_rig_stop(&m->k);
    free(m);
}

static void test_model(void **state)
{
    (void)state;
    unsigned count = getenv("TF_LONG") ? 1000 : 6;
    for (unsigned seed = 1; seed <= count; seed++) {
        print_message("seed %u\n", seed);
        run(seed, seed % 2, seed % 3 == 0);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
