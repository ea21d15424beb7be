/*
 * The event loop of one thread: which of its file descriptors are ready, until when to sleep.
 *
 * Level triggered: what is left unread or unwritten is reported again. Ready sources are pulled, so
 * the order of work is the caller's:
 *     tf_loop_wait(loop, deadline, now);
 *     while (tf_loop_next(loop, &event))
 *         ...                                 may add, change and remove any source
 * Only tf_loop_wake may be called by other threads. A deadline costs no system call of its own.
 * It knows descriptors only; what flows through them is the owner's affair.
 */
#ifndef TF_PORT_LOOP_H
#define TF_PORT_LOOP_H

#include <stdbool.h>
#include <stddef.h>

#include <trefoil/err.h>
#include <trefoil/time.h>

enum {
    TF_LOOP_READ = 1,  /* there is input, or its end, or an error that reading will tell */
    TF_LOOP_WRITE = 2, /* there is room for output, or an error that writing will tell */
    TF_LOOP_HANGUP = 4 /* only reported: both directions are over; read what is left, then close */
};

struct tf_loop;

/* Lies in the caller's struct, zeroed at first; fields are the loop's, `fd` may be read. */
struct tf_loop_source {
    int fd;
    unsigned interest; /* of TF_LOOP_READ and TF_LOOP_WRITE */
    unsigned pending;  /* 1 + its place among the events that are not yet pulled; 0: none */
    bool added;
};

/* One source that is ready, and for what. */
struct tf_loop_event {
    struct tf_loop_source *source;
    unsigned ready; /* TF_LOOP_READ, _WRITE, _HANGUP */
};

/* Makes a loop, on the heap. TF_NO_MEMORY. TF_LIMIT: no file descriptor is free. TF_IO: errno. */
TF_MUST_USE enum tf_err tf_loop_new(struct tf_loop **ret_loop);

/* Frees the loop; sources and their descriptors stay the caller's. NULL is ignored. */
void tf_loop_free(struct tf_loop *loop);

/*
 * Adds an open descriptor, reported by `source`, which must stay in place until it is removed.
 * `interest` may be 0: hang-ups are reported all the same. TF_MISUSE: the source is in a loop.
 * TF_NO_MEMORY or TF_LIMIT: the system has no room for it: refuse the connection.
 * TF_UNSUPPORTED: a file of a kind that is always ready (a regular file).
 */
TF_MUST_USE enum tf_err tf_loop_add(struct tf_loop *loop, struct tf_loop_source *source, int fd,
                                    unsigned interest);

/* Changes what a source that was added is watched for. No system call if nothing changes. */
void tf_loop_change(struct tf_loop *loop, struct tf_loop_source *source, unsigned interest);

/*
 * Ends watching, before the descriptor is closed; events of it that are not yet pulled are dropped,
 * so the source may be freed at once. No effect if it is in no loop.
 */
void tf_loop_remove(struct tf_loop *loop, struct tf_loop_source *source);

/*
 * Waits until a source is ready, `deadline` has come, or somebody called tf_loop_wake since the
 * last wait ended; `now` is the present. Returns how many events there are to be pulled, perhaps 0:
 * a signal ends the wait, too. Never returns much before the deadline, save for these reasons.
 * All events of the last wait must have been pulled. Deadlines have microsecond precision where the
 * kernel offers it, else they are rounded up to milliseconds.
 */
size_t tf_loop_wait(struct tf_loop *loop, tf_time deadline, tf_time now);

/* Pulls the next event; false: there are no more. */
bool tf_loop_next(struct tf_loop *loop, struct tf_loop_event *ret_event);

/*
 * Ends the present wait, or the next one, at once. From any thread and from signal handlers, while
 * the loop lives. What the caller wrote before is visible to the loop's thread after the wait. Many
 * calls before the loop gets round to it are one; while the loop is not asleep it is no system
 * call.
 */
void tf_loop_wake(struct tf_loop *loop);

#endif
