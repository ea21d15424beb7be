/* The loop: readiness, removal of what is pending, deadlines, and wake-ups from other threads. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "port/clock.h"
#include "port/loop.h"

#define LONG (20 * TF_SECOND) /* far longer than anything here may take */

static struct tf_loop *new_loop(void)
{
    struct tf_loop *loop;
    assert_int_equal(tf_loop_new(&loop), TF_OK);
    return loop;
}

/* Waits a long time for exactly one event. */
static struct tf_loop_event wait_one(struct tf_loop *loop)
{
    struct tf_loop_event event, second;
    tf_time now = tf_clock_now();
    assert_int_equal(tf_loop_wait(loop, now + LONG, now), 1);
    assert_true(tf_loop_next(loop, &event));
    assert_false(tf_loop_next(loop, &second));
    return event;
}

/* What is ready at this moment. */
static size_t poll_now(struct tf_loop *loop)
{
    return tf_loop_wait(loop, 0, 1);
}

static void test_readiness(void **state)
{
    (void)state;
    struct tf_loop *loop = new_loop();
    struct tf_loop_source source = {0};
    int pair[2];
    char byte;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    assert_int_equal(tf_loop_add(loop, &source, pair[0], TF_LOOP_READ), TF_OK);
    assert_int_equal(tf_loop_add(loop, &source, pair[0], TF_LOOP_READ), TF_MISUSE);
    assert_int_equal(poll_now(loop), 0);

    assert_int_equal(write(pair[1], "x", 1), 1);
    for (int i = 0; i < 2; i++) { /* level triggered: again until it is read */
        struct tf_loop_event event = wait_one(loop);
        assert_ptr_equal(event.source, &source);
        assert_int_equal(event.ready, TF_LOOP_READ);
    }
    tf_loop_change(loop, &source, TF_LOOP_READ | TF_LOOP_WRITE);
    assert_int_equal(wait_one(loop).ready, TF_LOOP_READ | TF_LOOP_WRITE);
    tf_loop_change(loop, &source, TF_LOOP_WRITE);
    assert_int_equal(wait_one(loop).ready, TF_LOOP_WRITE);
    tf_loop_change(loop, &source, 0);
    assert_int_equal(poll_now(loop), 0);
    tf_loop_change(loop, &source, TF_LOOP_READ);
    assert_int_equal(read(pair[0], &byte, 1), 1);
    assert_int_equal(poll_now(loop), 0);

    assert_int_equal(shutdown(pair[1], SHUT_WR), 0); /* the end of input is something to read */
    assert_int_equal(wait_one(loop).ready, TF_LOOP_READ);
    tf_loop_change(loop, &source, 0);
    close(pair[1]); /* and a hang-up is told to those who asked for nothing */
    assert_int_equal(wait_one(loop).ready, TF_LOOP_HANGUP);
    tf_loop_remove(loop, &source);
    assert_int_equal(poll_now(loop), 0);
    tf_loop_remove(loop, &source);
    assert_int_equal(tf_loop_add(loop, &source, pair[0], TF_LOOP_READ), TF_OK);
    tf_loop_remove(loop, &source);
    close(pair[0]);
    tf_loop_free(loop);
    tf_loop_free(NULL);
}

static void test_regular_file(void **state)
{
    (void)state;
    struct tf_loop *loop = new_loop();
    struct tf_loop_source source = {0};
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(tf_loop_add(loop, &source, fd, TF_LOOP_READ), TF_UNSUPPORTED);
    close(fd);
    assert_int_equal(tf_loop_add(loop, &source, fd, TF_LOOP_READ), TF_IO);
    assert_false(source.added);
    tf_loop_free(loop);
}

/* The first event's owner removes others whose events are pending: those never come. */
static void test_remove_pending(void **state)
{
    (void)state;
    enum { COUNT = 10 };
    struct tf_loop *loop = new_loop();
    struct tf_loop_source sources[COUNT];
    int pipes[COUNT][2];
    memset(sources, 0, sizeof(sources));
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(pipe(pipes[i]), 0);
        assert_int_equal(tf_loop_add(loop, &sources[i], pipes[i][0], TF_LOOP_READ), TF_OK);
        assert_int_equal(write(pipes[i][1], "x", 1), 1);
    }
    tf_time now = tf_clock_now();
    assert_int_equal(tf_loop_wait(loop, now + LONG, now), COUNT);
    struct tf_loop_event event;
    bool seen[COUNT] = {false};
    size_t count = 0;
    while (tf_loop_next(loop, &event)) {
        size_t index = (size_t)(event.source - sources), other = index ^ 1;
        assert_true(index < COUNT);
        assert_false(seen[index]);
        seen[index] = true;
        count++;
        if (count == 1)
            tf_loop_remove(loop, event.source);
        assert_false(seen[other]);
        tf_loop_remove(loop, &sources[other]);
        memset(&sources[other], 0xA5, sizeof(sources[other])); /* as if freed */
    }
    assert_int_equal(count, COUNT / 2);
    assert_int_equal(poll_now(loop), COUNT / 2 - 1);
    while (tf_loop_next(loop, &event))
        tf_loop_remove(loop, event.source);
    for (size_t i = 0; i < COUNT; i++) {
        close(pipes[i][0]);
        close(pipes[i][1]);
    }
    tf_loop_free(loop);
}

/* More are ready than fit in one wait: all come in a few. */
static void test_many(void **state)
{
    (void)state;
    enum { COUNT = 400 };
    struct tf_loop *loop = new_loop();
    static struct tf_loop_source sources[COUNT];
    int pipes[COUNT][2];
    size_t seen = 0;
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(pipe(pipes[i]), 0);
        assert_int_equal(tf_loop_add(loop, &sources[i], pipes[i][0], TF_LOOP_READ), TF_OK);
        assert_int_equal(write(pipes[i][1], "x", 1), 1);
    }
    for (unsigned round = 0; round < 10 && seen < COUNT; round++) {
        struct tf_loop_event event;
        poll_now(loop);
        while (tf_loop_next(loop, &event)) {
            tf_loop_remove(loop, event.source);
            close(event.source->fd);
            seen++;
        }
    }
    assert_int_equal(seen, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        close(pipes[i][1]);
    tf_loop_free(loop);
}

static void test_deadline(void **state)
{
    (void)state;
    struct tf_loop *loop = new_loop();
    static const tf_time spans[] = {0, 1, 300, 1000, 2500};
    for (size_t i = 0; i < sizeof(spans) / sizeof(spans[0]); i++) {
        tf_time start = tf_clock_now();
        assert_int_equal(tf_loop_wait(loop, start + spans[i], start), 0);
        assert_true(tf_clock_now() - start >= spans[i]);
    }
    tf_time start = tf_clock_now();
    assert_int_equal(tf_loop_wait(loop, start - 1, start), 0); /* has passed */
    assert_true(tf_clock_now() - start < LONG);
    tf_loop_free(loop);
}

/* A wake-up before the wait ends that wait, one alone, and many are one. */
static void test_wake_before_wait(void **state)
{
    (void)state;
    struct tf_loop *loop = new_loop();
    for (int i = 0; i < 3; i++)
        tf_loop_wake(loop);
    tf_time start = tf_clock_now();
    assert_int_equal(tf_loop_wait(loop, TF_TIME_NEVER, start), 0);
    start = tf_clock_now();
    assert_int_equal(tf_loop_wait(loop, start + 2000, start), 0);
    assert_true(tf_clock_now() - start >= 2000); /* nothing was left of it */
    tf_loop_free(loop);
}

struct exchange {
    struct tf_loop *loops[2];
    atomic_uint turn;
    unsigned value[2];
};

enum { ROUNDS = 20000 };

/* Each waits without a deadline for its turn, so a wake-up that is lost hangs the test. */
static void play(struct exchange *exchange, unsigned self)
{
    for (unsigned round = self; round < ROUNDS; round += 2) {
        while (exchange->turn != round)
            tf_loop_wait(exchange->loops[self], TF_TIME_NEVER, 0);
        if (exchange->value[self] != round)
            return; /* the main thread sees that the turns end early */
        exchange->value[!self] = round + 1;
        exchange->turn = round + 1;
        tf_loop_wake(exchange->loops[!self]);
    }
}

static void *play_other(void *argument)
{
    play(argument, 1);
    return NULL;
}

static void test_wake_from_thread(void **state)
{
    (void)state;
    struct exchange exchange = {.loops = {new_loop(), new_loop()}};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, play_other, &exchange), 0);
    play(&exchange, 0);
    pthread_join(thread, NULL);
    assert_int_equal(exchange.turn, ROUNDS);
    tf_loop_free(exchange.loops[0]);
    tf_loop_free(exchange.loops[1]);
}

static struct tf_loop *interrupted;

static void on_signal(int number)
{
    (void)number;
    tf_loop_wake(interrupted);
}

static void *send_signals(void *argument)
{
    pthread_kill(*(pthread_t *)argument, SIGUSR1);
    return NULL;
}

/* From a handler: whether it runs before the wait or within it, the wait ends. */
static void test_wake_from_signal(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, before;
    pthread_t self = pthread_self(), thread;
    interrupted = new_loop();
    assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(pthread_create(&thread, NULL, send_signals, &self), 0);
        assert_int_equal(tf_loop_wait(interrupted, TF_TIME_NEVER, 0), 0);
        pthread_join(thread, NULL);
    }
    assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
    tf_loop_free(interrupted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_readiness),        cmocka_unit_test(test_regular_file),
        cmocka_unit_test(test_remove_pending),   cmocka_unit_test(test_many),
        cmocka_unit_test(test_deadline),         cmocka_unit_test(test_wake_before_wait),
        cmocka_unit_test(test_wake_from_thread), cmocka_unit_test(test_wake_from_signal),
    };
    alarm(60); /* whatever hangs ends */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
