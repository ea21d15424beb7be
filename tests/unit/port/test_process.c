/* Limits, memory, processor time, the pid file, and giving up privileges. */
#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "port/process.h"

static void test_files_limit(void **state)
{
    (void)state;
    struct rlimit limit, before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    limit = before;
    limit.rlim_cur = limit.rlim_max < 64 ? limit.rlim_max : 64;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_true(tf_process_raise_files() == limit.rlim_max);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_true(limit.rlim_cur == limit.rlim_max);
    setrlimit(RLIMIT_NOFILE, &before);
}

static void test_memory_and_cpu(void **state)
{
    (void)state;
    enum { SIZE = 32 << 20 };
    uint64_t before, after, cpu = tf_process_cpu_us();
    assert_int_equal(tf_process_memory(&before), TF_OK);
    char *block = malloc(SIZE);
    memset(block, 1, SIZE);
    assert_int_equal(tf_process_memory(&after), TF_OK);
    assert_true(after >= before + SIZE / 2);
    assert_int_equal(block[SIZE - 1], 1);
    free(block);
    while (tf_process_cpu_us() < cpu + 10000)
        continue; /* asking takes time, too; what hangs is ended by the alarm */
}

static void test_pid_file(void **state)
{
    (void)state;
    char path[] = "/tmp/trefoil-test-XXXXXX";
    long number = 0;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "999999999999\nolder and longer\n", 30), 30);
    close(fd);
    assert_int_equal(tf_process_write_pid(path), TF_OK);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld", &number), 1);
    assert_int_equal(number, getpid());
    assert_int_equal(fgetc(file), '\n');
    assert_int_equal(fgetc(file), EOF);
    fclose(file);
    unlink(path);
    assert_int_equal(tf_process_write_pid("/nonexistent/folder/pid"), TF_IO);
    assert_int_equal(tf_process_write_pid("/dev/full"), TF_IO);
}

static void test_drop(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        assert_int_equal(tf_process_drop("nobody"), TF_OK); /* nothing to give up */
        return;
    }
    assert_int_equal(tf_process_drop("no-such-user-here"), TF_NOT_FOUND);
    assert_int_equal(geteuid(), 0);
    pid_t child = fork();
    if (!child) {
        gid_t groups[64] = {0};
        int count, wrong = setgroups(1, groups) || tf_process_drop("nobody") != TF_OK;
        wrong |= getuid() == 0 || geteuid() == 0 || getgid() == 0 || getegid() == 0;
        count = getgroups(64, groups);
        wrong |= count < 0;
        for (int i = 0; i < count; i++)
            wrong |= groups[i] == 0;
        _exit(wrong);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_limit),
        cmocka_unit_test(test_memory_and_cpu),
        cmocka_unit_test(test_pid_file),
        cmocka_unit_test(test_drop),
    };
    alarm(60);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
