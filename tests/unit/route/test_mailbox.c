/*
 * Mail between shards: order, spilling, waking, and two threads at it.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.h"
#include "route/mailbox.h"
#include "unit/route/test_alloc.h"

struct fixture {
    struct test_alloc memory;
    struct tf_post_office *office;
    atomic_uint wakes[4];
};

static void wake(void *ctx, unsigned shard)
{
    struct fixture *fixture = ctx;
    atomic_fetch_add(&fixture->wakes[shard], 1);
}

static struct fixture *start(unsigned count, size_t capacity)
{
    struct fixture *f = calloc(1, sizeof(*f));
    test_alloc_init(&f->memory);
    f->office = tf_post_office_new(count, capacity, (struct tf_wake){wake, f}, &f->memory.alloc);
    assert_non_null(f->office);
    assert_int_equal(tf_post_office_count(f->office), count);
    return f;
}

static void stop(struct fixture *f)
{
    tf_post_office_free(f->office);
    assert_int_equal(f->memory.blocks, 0);
    free(f);
}

static enum tf_err send(struct fixture *f, unsigned from, unsigned to, uint64_t tag)
{
    struct tf_mail mail = {.type = 1, .tag = tag, .value = ~tag};
    return tf_mail_send(f->office, from, to, &mail);
}

/* The tag of the next mail, which is to be from `from`. */
static uint64_t receive(struct fixture *f, unsigned to, unsigned wanted_from)
{
    struct tf_mail mail;
    unsigned from;
    assert_true(tf_mail_receive(f->office, to, &mail, &from));
    assert_int_equal(from, wanted_from);
    assert_true(mail.value == ~mail.tag);
    return mail.tag;
}

static void receive_nothing(struct fixture *f, unsigned to)
{
    struct tf_mail mail;
    unsigned from;
    assert_false(tf_mail_receive(f->office, to, &mail, &from));
}

static void test_order_and_wakes(void **state)
{
    (void)state;
    struct fixture *f = start(3, 8);
    receive_nothing(f, 0);
    for (uint64_t i = 0; i < 5; i++) {
        assert_int_equal(send(f, 0, 1, i), TF_OK);
    }
    assert_int_equal(send(f, 1, 1, 99), TF_OK); /* to itself */
    assert_int_equal(f->wakes[1], 0);
    assert_false(tf_mail_flush(f->office, 0));
    assert_int_equal(f->wakes[1], 1); /* once a turn, however many */
    assert_int_equal(f->wakes[2], 0);
    assert_false(tf_mail_flush(f->office, 0));
    assert_int_equal(f->wakes[1], 1);
    for (uint64_t i = 0; i < 5; i++) {
        assert_int_equal(receive(f, 1, 0), i);
    }
    assert_int_equal(receive(f, 1, 1), 99);
    receive_nothing(f, 1);
    receive_nothing(f, 0);
    stop(f);
}

static void test_spill(void **state)
{
    (void)state;
    struct fixture *f = start(2, 4);
    for (uint64_t i = 0; i < 300; i++) {
        assert_int_equal(send(f, 0, 1, i), TF_OK);
    }
    assert_int_equal(tf_mail_spilled(f->office, 0), 296 * sizeof(struct tf_mail));
    assert_int_equal(tf_mail_spilled(f->office, 1), 0);
    assert_true(tf_mail_flush(f->office, 0)); /* congested */
    assert_int_equal(f->wakes[1], 1);
    uint64_t next = 0;
    while (next < 300) {
        unsigned wakes = f->wakes[0];
        bool stranded = tf_mail_spilled(f->office, 0) != 0;
        for (unsigned i = 0; i < 4; i++) {
            assert_int_equal(receive(f, 1, 0), next++);
        }
        if (next == 12) { /* new mail goes behind what is spilled */
            assert_int_equal(send(f, 0, 1, 300), TF_OK);
        }
        receive_nothing(f, 1);
        receive_nothing(f, 1);
        assert_int_equal(f->wakes[0],
                         wakes + stranded); /* there is room: the writer is told once */
        bool congested = tf_mail_flush(f->office, 0);
        assert_int_equal(congested, tf_mail_spilled(f->office, 0) != 0);
    }
    (void)tf_mail_flush(f->office, 0);
    assert_int_equal(receive(f, 1, 0), 300);
    receive_nothing(f, 1);
    assert_false(tf_mail_flush(f->office, 0));
    assert_int_equal(tf_mail_spilled(f->office, 0), 0);
    stop(f);
}

static void test_no_memory(void **state)
{
    (void)state;
    struct fixture *f = start(2, 1);
    test_alloc_fail(&f->memory, 1);
    assert_int_equal(send(f, 0, 1, 0), TF_OK);
    assert_int_equal(send(f, 0, 1, 1), TF_NO_MEMORY);
    assert_int_equal(send(f, 0, 1, 1), TF_OK);
    for (uint64_t i = 2; i < 65; i++) {
        assert_int_equal(send(f, 0, 1, i), TF_OK);
    }
    test_alloc_fail(&f->memory, 1); /* the list would have to grow */
    assert_int_equal(send(f, 0, 1, 65), TF_NO_MEMORY);
    for (uint64_t i = 0; i < 65; i++) {
        assert_int_equal(receive(f, 1, 0), i);
        (void)tf_mail_flush(f->office, 0);
    }
    receive_nothing(f, 1);
    stop(f);
    struct test_alloc memory;
    test_alloc_init(&memory);
    test_alloc_fail(&memory, 1);
    assert_null(tf_post_office_new(2, 4, (struct tf_wake){wake, NULL}, &memory.alloc));
}

/* Order holds for each pair, whatever the mixture of sending, receiving and flushing. */
static void test_random_steps(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct tf_random random;
        struct tf_mail mail;
        unsigned from;
        uint64_t sent[3][3] = {{0}};
        uint64_t got[3][3] = {{0}};
        tf_random_init(&random, seed);
        struct fixture *f = start(3, (size_t)1 << tf_random_below(&random, 4));
        for (int step = 0; step < 3000; step++) {
            unsigned a = (unsigned)tf_random_below(&random, 3);
            unsigned b = (unsigned)tf_random_below(&random, 3);
            switch (tf_random_below(&random, 5)) {
            case 0:
            case 1:
                assert_int_equal(send(f, a, b, sent[a][b]++), TF_OK);
                break;
            case 2:
                (void)tf_mail_flush(f->office, a);
                break;
            default:
                if (tf_mail_receive(f->office, a, &mail, &from)) {
                    assert_int_equal(mail.tag, got[from][a]++);
                }
            }
        }
        bool busy = true;
        while (busy) {
            busy = false;
            for (unsigned i = 0; i < 3; i++) {
                busy |= tf_mail_flush(f->office, i);
                while (tf_mail_receive(f->office, i, &mail, &from)) {
                    assert_int_equal(mail.tag, got[from][i]++);
                    busy = true;
                }
            }
        }
        assert_memory_equal(sent, got, sizeof(sent));
        stop(f);
    }
}

#define MAILS 200000u

struct side {
    struct fixture *f;
    unsigned self;
    bool ordered;
};

/* One shard's thread: sends to the other, reads from it, and sleeps only when it may be woken. */
static void *run_side(void *argument)
{
    struct side *side = argument;
    struct tf_post_office *office = side->f->office;
    unsigned other = 1 - side->self;
    uint64_t sent = 0;
    uint64_t got = 0;
    bool congested = false;
    side->ordered = true;
    while (sent < MAILS || got < MAILS || congested) {
        unsigned wakes = atomic_load(&side->f->wakes[side->self]);
        struct tf_mail mail;
        unsigned from;
        bool idle = true;
        for (unsigned i = 0; i < 50 && sent < MAILS && !congested; i++) {
            side->ordered &= send(side->f, side->self, other, sent++) == TF_OK;
            idle = false;
        }
        while (tf_mail_receive(office, side->self, &mail, &from)) {
            side->ordered &= mail.tag == got++ && from == other;
            idle = false;
        }
        congested = tf_mail_flush(office, side->self);
        /* nothing to do: only a wake-up may end this wait, or the test hangs and fails */
        while (idle && (got < MAILS || congested) &&
               wakes == atomic_load(&side->f->wakes[side->self])) {
            sched_yield();
        }
    }
    return NULL;
}

static void test_two_threads(void **state)
{
    (void)state;
    struct fixture *f = start(2, 16);
    struct side sides[2] = {{f, 0, false}, {f, 1, false}};
    pthread_t threads[2];
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, run_side, &sides[i]), 0);
    }
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_true(sides[i].ordered);
    }
    stop(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_wakes), cmocka_unit_test(test_spill),
        cmocka_unit_test(test_no_memory),       cmocka_unit_test(test_random_steps),
        cmocka_unit_test(test_two_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
