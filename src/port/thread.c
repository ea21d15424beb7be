/*
 * POSIX threads.
 */
#include "port/thread.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

/* What a new thread is told; it frees it. */
struct start {
    void (*run)(void *argument);
    void *argument;
};

static void *begin(void *argument)
{
    struct start start = *(struct start *)argument;
    free(argument);
    start.run(start.argument);
    return NULL;
}

enum tf_err tf_thread_start(struct tf_thread *ret_thread, const char *name,
                            void (*run)(void *argument), void *argument)
{
    struct tf_thread thread;
    sigset_t blocked, before;
    char label[16];
    struct start *start = malloc(sizeof(*start));
    if (!start)
        return TF_LIMIT;
    *start = (struct start){run, argument};
    sigfillset(&blocked);
    sigdelset(&blocked, SIGSEGV);
    sigdelset(&blocked, SIGBUS);
    sigdelset(&blocked, SIGFPE);
    sigdelset(&blocked, SIGILL);
    sigdelset(&blocked, SIGTRAP);
    sigdelset(&blocked, SIGABRT);
    pthread_sigmask(SIG_SETMASK, &blocked, &before); /* a new thread inherits the mask */
    int failed = pthread_create(&thread.handle, NULL, begin, start);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) {
        free(start);
        errno = failed;
        return TF_LIMIT;
    }
    size_t length = strnlen(name, sizeof(label) - 1);
    memcpy(label, name, length);
    label[length] = 0;
    pthread_setname_np(thread.handle, label); /* for the eye only: its failure changes nothing */
    *ret_thread = thread;
    return TF_OK;
}

void tf_thread_join(struct tf_thread *thread)
{
    int failed = pthread_join(thread->handle, NULL);
    tf_assert(!failed);
}

/* Some kernels have more processors than cpu_set_t has bits; then the first 1,024 count. */
static unsigned allowed(cpu_set_t *ret_set)
{
    CPU_ZERO(ret_set);
    if (sched_getaffinity(0, sizeof(*ret_set), ret_set))
        return 0;
    return (unsigned)CPU_COUNT(ret_set);
}

unsigned tf_thread_cpus(void)
{
    cpu_set_t set;
    unsigned count = allowed(&set);
    return count ? count : 1;
}

enum tf_err tf_thread_pin(unsigned index)
{
    cpu_set_t set, one;
    unsigned count = allowed(&set);
    if (!count)
        return TF_IO;
    index %= count;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &set) || index--)
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        return sched_setaffinity(0, sizeof(one), &one) ? TF_IO : TF_OK;
    }
    return TF_IO;
}
