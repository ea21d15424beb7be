/* Signals arrive at the descriptor, and act as usual once it is closed. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "port/signal.h"

static void test_signals(void **state)
{
    (void)state;
    enum tf_signal got;
    int fd, pipes[2];
    assert_int_equal(tf_signal_open(&fd), TF_OK);
    assert_int_equal(tf_signal_read(fd, &got), TF_AGAIN);
    static const struct {
        int number;
        enum tf_signal signal;
    } cases[] = {{SIGTERM, TF_SIGNAL_STOP}, {SIGINT, TF_SIGNAL_STOP}, {SIGHUP, TF_SIGNAL_RELOAD}};
    for (size_t i = 0; i < 3; i++) {
        kill(getpid(), cases[i].number);
        assert_int_equal(tf_signal_read(fd, &got), TF_OK);
        assert_int_equal(got, cases[i].signal);
        assert_int_equal(tf_signal_read(fd, &got), TF_AGAIN);
    }
    assert_int_equal(pipe(pipes), 0);
    close(pipes[0]);
    assert_int_equal(write(pipes[1], "x", 1), -1); /* and SIGPIPE did not end us */
    assert_int_equal(errno, EPIPE);
    close(pipes[1]);
    tf_signal_close(fd);
    assert_int_equal(tf_signal_read(fd, &got), TF_IO);

    pid_t child = fork();
    if (!child) { /* after closing, SIGTERM acts as usual */
        raise(SIGTERM);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signals),
    };
    alarm(60);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
