/* The service manager is told, by a path and by an abstract name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "port/notify.h"

static void check_notify(const struct sockaddr_un *address, socklen_t length, const char *name)
{
    char seen[64] = {0};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)(const void *)address, length), 0);
    setenv("NOTIFY_SOCKET", name, 1);
    assert_int_equal(tf_notify("READY=1"), TF_OK);
    assert_int_equal(recv(fd, seen, sizeof(seen), 0), 7);
    assert_string_equal(seen, "READY=1");
    close(fd);
    assert_int_equal(tf_notify("READY=1"), TF_IO);
    unsetenv("NOTIFY_SOCKET");
}

static void test_notify(void **state)
{
    (void)state;
    char folder[] = "/tmp/trefoil-test-XXXXXX", name[64];
    unsetenv("NOTIFY_SOCKET");
    assert_int_equal(tf_notify("READY=1"), TF_NOT_FOUND);
    setenv("NOTIFY_SOCKET", "relative", 1);
    assert_int_equal(tf_notify("READY=1"), TF_MISUSE);

    struct sockaddr_un address = {.sun_family = AF_UNIX};
    assert_non_null(mkdtemp(folder));
    snprintf(name, sizeof(name), "%s/notify", folder);
    memcpy(address.sun_path, name, strlen(name));
    check_notify(&address, sizeof(address), name);
    unlink(name);
    rmdir(folder);

    snprintf(name, sizeof(name), "@trefoil-test-%ld", (long)getpid());
    memset(address.sun_path, 0, sizeof(address.sun_path));
    memcpy(address.sun_path + 1, name + 1, strlen(name + 1));
    check_notify(&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name)),
                 name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_notify),
    };
    alarm(60);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
