/*
 * The event loop over epoll.
 *
 * The state says whether a wake-up needs a system call:
 *     AWAKE  --wait-->  ASLEEP            the loop is in the kernel
 *     AWAKE  --wake-->  WOKEN             nothing else: the next wait sees it and does not sleep
 *     ASLEEP --wake-->  WOKEN             and the waker writes to the eventfd
 *     any    --wait returns-->  AWAKE
 * Every change is an exchange on one atomic, so whatever a waker wrote before is seen by the loop
 * after the wait that the wake-up ended. A waker that was slow to write to the eventfd at worst
 * ends a later wait without need.
 */
#include "port/loop.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"

#define BATCH 256 /* events of one wait; sources that are ready beyond it come with the next */

enum { AWAKE, ASLEEP, WOKEN };

struct tf_loop {
    int epoll;
    int wake;           /* eventfd */
    bool coarse;        /* the kernel knows milliseconds only */
    size_t next, count; /* events[next] up to events[count] are not yet pulled */
    struct epoll_event events[BATCH];
    atomic_int state;
};

static enum tf_err error_of(int number)
{
    switch (number) {
    case EMFILE:
    case ENFILE:
    case ENOSPC:
        return TF_LIMIT;
    case ENOMEM:
        return TF_NO_MEMORY;
    case EPERM:
        return TF_UNSUPPORTED;
    default:
        return TF_IO;
    }
}

static uint32_t mask_of(unsigned interest)
{
    uint32_t mask = 0;
    if (interest & TF_LOOP_READ)
        mask |= EPOLLIN;
    if (interest & TF_LOOP_WRITE)
        mask |= EPOLLOUT;
    return mask;
}

enum tf_err tf_loop_new(struct tf_loop **ret_loop)
{
    enum tf_err err;
    struct epoll_event event = {.events = EPOLLIN};
    struct tf_loop *loop = calloc(1, sizeof(*loop));
    if (!loop)
        return TF_NO_MEMORY;
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    loop->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->epoll < 0 || loop->wake < 0 ||
        epoll_ctl(loop->epoll, EPOLL_CTL_ADD, loop->wake, &event)) {
        err = error_of(errno);
        tf_loop_free(loop);
        return err;
    }
    atomic_init(&loop->state, AWAKE);
    *ret_loop = loop;
    return TF_OK;
}

void tf_loop_free(struct tf_loop *loop)
{
    if (!loop)
        return;
    int number = errno;
    if (loop->epoll >= 0)
        close(loop->epoll);
    if (loop->wake >= 0)
        close(loop->wake);
    free(loop);
    errno = number;
}

enum tf_err tf_loop_add(struct tf_loop *loop, struct tf_loop_source *source, int fd,
                        unsigned interest)
{
    struct epoll_event event = {.events = mask_of(interest), .data.ptr = source};
    if (source->added)
        return TF_MISUSE;
    if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event))
        return error_of(errno);
    source->fd = fd;
    source->interest = interest;
    source->pending = 0;
    source->added = true;
    return TF_OK;
}

void tf_loop_change(struct tf_loop *loop, struct tf_loop_source *source, unsigned interest)
{
    struct epoll_event event = {.events = mask_of(interest), .data.ptr = source};
    tf_assert(source->added);
    if (source->interest == interest)
        return;
    int failed = epoll_ctl(loop->epoll, EPOLL_CTL_MOD, source->fd, &event);
    tf_assert(!failed); /* of a descriptor that is open and was added, the kernel refuses nothing */
    source->interest = interest;
}

void tf_loop_remove(struct tf_loop *loop, struct tf_loop_source *source)
{
    if (!source->added)
        return;
    int failed = epoll_ctl(loop->epoll, EPOLL_CTL_DEL, source->fd, NULL);
    tf_assert(!failed); /* it was closed first: the kernel could report what nobody can remove */
    if (source->pending)
        loop->events[source->pending - 1].data.ptr = NULL;
    source->pending = 0;
    source->added = false;
}

/* The span until the deadline, for a kernel that takes nanoseconds or, rounded up, milliseconds. */
static int sleep_until(struct tf_loop *loop, tf_time span)
{
    if (!loop->coarse) {
        struct timespec time = {(time_t)(span / TF_SECOND), (long)(span % TF_SECOND) * 1000};
        int count = epoll_pwait2(loop->epoll, loop->events, BATCH,
                                 span == TF_TIME_NEVER ? NULL : &time, NULL);
        if (count >= 0 || errno != ENOSYS)
            return count;
        loop->coarse = true;
    }
    int timeout_ms = -1;
    if (span != TF_TIME_NEVER) {
        tf_time rounded = span / TF_MILLISECOND + (span % TF_MILLISECOND != 0);
        timeout_ms = rounded < INT32_MAX ? (int)rounded : INT32_MAX;
    }
    return epoll_wait(loop->epoll, loop->events, BATCH, timeout_ms);
}

/* Drops the wake-up's own event, and tells each source where its event is. */
static void take_events(struct tf_loop *loop, size_t count)
{
    loop->next = loop->count = 0;
    for (size_t i = 0; i < count; i++) {
        struct tf_loop_source *source = loop->events[i].data.ptr;
        if (!source) {
            uint64_t value;
            ssize_t length = read(loop->wake, &value, sizeof(value));
            tf_assert(length == sizeof(value) || errno == EAGAIN);
            continue;
        }
        loop->events[loop->count] = loop->events[i];
        source->pending = (unsigned)++loop->count;
    }
}

size_t tf_loop_wait(struct tf_loop *loop, tf_time deadline, tf_time now)
{
    tf_time span = deadline <= now ? 0 : deadline == TF_TIME_NEVER ? deadline : deadline - now;
    int expected = AWAKE;
    tf_assert(loop->next == loop->count);
    /* Woken meanwhile: see what is ready, do not sleep. Who does not sleep needs no waking. */
    if (span && !atomic_compare_exchange_strong(&loop->state, &expected, ASLEEP))
        span = 0;
    int count = sleep_until(loop, span);
    int number = errno;
    atomic_exchange(&loop->state, AWAKE);
    tf_assert(count >= 0 || number == EINTR);
    take_events(loop, count > 0 ? (size_t)count : 0);
    return loop->count;
}

bool tf_loop_next(struct tf_loop *loop, struct tf_loop_event *ret_event)
{
    while (loop->next < loop->count) {
        const struct epoll_event *event = &loop->events[loop->next++];
        struct tf_loop_source *source = event->data.ptr;
        if (!source)
            continue; /* removed */
        source->pending = 0;
        unsigned ready = 0;
        if (event->events & EPOLLIN)
            ready |= TF_LOOP_READ;
        if (event->events & EPOLLOUT)
            ready |= TF_LOOP_WRITE;
        if (event->events & (EPOLLHUP | EPOLLERR))
            ready |= TF_LOOP_HANGUP | (source->interest & (TF_LOOP_READ | TF_LOOP_WRITE));
        *ret_event = (struct tf_loop_event){source, ready};
        return true;
    }
    return false;
}

void tf_loop_wake(struct tf_loop *loop)
{
    if (atomic_exchange(&loop->state, WOKEN) != ASLEEP)
        return;
    const uint64_t one = 1;
    int number = errno; /* a signal handler must leave it alone */
    ssize_t length;
    do
        length = write(loop->wake, &one, sizeof(one));
    while (length < 0 && errno == EINTR);
    errno = number; /* EAGAIN: 2^64 wake-ups are pending, which will do */
}
