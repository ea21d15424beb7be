/*
 * The process as the system sees it.
 */
#include "port/process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

uint64_t tf_process_raise_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return 0;
    if (limit.rlim_cur < limit.rlim_max) {
        struct rlimit raised = {limit.rlim_max, limit.rlim_max};
        if (!setrlimit(RLIMIT_NOFILE, &raised))
            limit = raised;
    }
    return limit.rlim_cur;
}

enum tf_err tf_process_memory(uint64_t *ret_bytes)
{
    char text[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return TF_IO;
    ssize_t length = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (length <= 0)
        return TF_IO;
    text[length] = 0;
    char *end;
    strtoull(text, &end, 10); /* the whole size comes first: proc(5) */
    char *second = end;
    unsigned long long pages = strtoull(second, &end, 10);
    if (end == second)
        return TF_IO;
    *ret_bytes = (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
    return TF_OK;
}

uint64_t tf_process_cpu_us(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage))
        return 0;
    return ((uint64_t)usage.ru_utime.tv_sec + (uint64_t)usage.ru_stime.tv_sec) * 1000000 +
           (uint64_t)usage.ru_utime.tv_usec + (uint64_t)usage.ru_stime.tv_usec;
}

enum tf_err tf_process_drop(const char *user)
{
    if (geteuid() != 0)
        return TF_OK;
    errno = 0;
    const struct passwd *entry = getpwnam(user);
    if (!entry)
        return errno ? TF_IO : TF_NOT_FOUND;
    if (initgroups(user, entry->pw_gid) || setgid(entry->pw_gid) || setuid(entry->pw_uid))
        return TF_IO;
    if (entry->pw_uid != 0 && !setuid(0)) {
        errno = EPERM; /* the way back is still open: it was not for good */
        return TF_IO;
    }
    return TF_OK;
}

enum tf_err tf_process_write_pid(const char *path)
{
    FILE *file = fopen(path, "we");
    if (!file)
        return TF_IO;
    int written = fprintf(file, "%ld\n", (long)getpid());
    int closed = fclose(file);
    return written < 0 || closed ? TF_IO : TF_OK;
}
