/* Threads: they run, are named, take no signals, and stay where they are pinned. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "port/thread.h"

struct seen {
    char name[16];
    sigset_t mask;
    unsigned cpus, cpus_pinned;
    enum tf_err pinned;
    int ran;
};

static void look(void *argument)
{
    struct seen *seen = argument;
    /* The name is set by the starter, perhaps after this has begun. */
    for (int i = 0; i < 1000000 && strncmp(seen->name, "shard-with-a-", 13) != 0; i++) {
        pthread_getname_np(pthread_self(), seen->name, sizeof(seen->name));
        sched_yield();
    }
    pthread_sigmask(SIG_SETMASK, NULL, &seen->mask);
    seen->cpus = tf_thread_cpus();
    seen->pinned = tf_thread_pin(seen->cpus + 1);
    seen->cpus_pinned = tf_thread_cpus();
    seen->ran++;
}

static void test_start_and_join(void **state)
{
    (void)state;
    struct tf_thread thread;
    struct seen seen = {0};
    unsigned cpus = tf_thread_cpus();
    assert_true(cpus >= 1);
    assert_int_equal(tf_thread_start(&thread, "shard-with-a-long-name", look, &seen), TF_OK);
    tf_thread_join(&thread);
    assert_int_equal(seen.ran, 1);
    assert_string_equal(seen.name, "shard-with-a-lo");
    assert_true(sigismember(&seen.mask, SIGTERM));
    assert_true(sigismember(&seen.mask, SIGHUP));
    assert_false(sigismember(&seen.mask, SIGSEGV));
    assert_int_equal(seen.cpus, cpus);
    assert_int_equal(seen.pinned, TF_OK);
    assert_int_equal(seen.cpus_pinned, 1);
    assert_int_equal(tf_thread_cpus(), cpus); /* the others are not concerned */
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    assert_false(sigismember(&mask, SIGTERM));
}

static void count(void *argument)
{
    ++*(int *)argument;
}

static void test_many(void **state)
{
    (void)state;
    struct tf_thread threads[16];
    int counts[16] = {0};
    for (int i = 0; i < 16; i++)
        assert_int_equal(tf_thread_start(&threads[i], "t", count, &counts[i]), TF_OK);
    for (int i = 0; i < 16; i++) {
        tf_thread_join(&threads[i]);
        assert_int_equal(counts[i], 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start_and_join),
        cmocka_unit_test(test_many),
    };
    alarm(60);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
