/* What is a terminal, how wide, and whether it wants colour. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

#include "port/terminal.h"

static void test_terminal(void **state)
{
    (void)state;
    int pipes[2], leader, follower;
    assert_int_equal(pipe(pipes), 0);
    assert_false(tf_terminal_is(pipes[1]));
    assert_false(tf_terminal_colour(pipes[1]));
    assert_int_equal(tf_terminal_width(pipes[1]), 80);
    close(pipes[0]);
    close(pipes[1]);

    struct winsize size = {.ws_row = 24, .ws_col = 132};
    leader = posix_openpt(O_RDWR | O_NOCTTY);
    if (leader < 0)
        skip();
    assert_int_equal(grantpt(leader), 0);
    assert_int_equal(unlockpt(leader), 0);
    follower = open(ptsname(leader), O_RDWR | O_NOCTTY);
    assert_true(follower >= 0);
    assert_true(tf_terminal_is(follower));
    assert_int_equal(tf_terminal_width(follower), 80); /* it does not know its size */
    assert_int_equal(ioctl(follower, TIOCSWINSZ, &size), 0);
    assert_int_equal(tf_terminal_width(follower), 132);
    unsetenv("NO_COLOR");
    setenv("TERM", "xterm", 1);
    assert_true(tf_terminal_colour(follower));
    setenv("NO_COLOR", "", 1);
    assert_true(tf_terminal_colour(follower));
    setenv("NO_COLOR", "1", 1);
    assert_false(tf_terminal_colour(follower));
    unsetenv("NO_COLOR");
    setenv("TERM", "dumb", 1);
    assert_false(tf_terminal_colour(follower));
    close(follower);
    close(leader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_terminal),
    };
    alarm(60);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
