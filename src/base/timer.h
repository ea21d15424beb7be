/*
 * Timers: arm and cancel in O(1), for a hundred thousand connections.
 *
 * A hierarchical wheel: nine levels of 64 slots; a tick is 1,024 microseconds. A timer lies at the
 * level of the highest 6-bit digit in which its tick differs from the present one, so everything on
 * a lower level comes before everything on a higher one, and the next thing to happen is the first
 * slot in use of the first level in use: one bit scan a level, however far away it is. A jump of
 * days therefore costs no more than the slots in use on the way. When the present reaches a slot of
 * a higher level, the slot's timers move down once.
 *
 * Deadlines are rounded up to a tick: a timer never fires early, and up to 1,023 microseconds late.
 * Expired timers are pulled:
 *     while ((timer = tf_timers_expire(&timers, now)))
 *         ...                       which may arm, cancel or free any timer, this one included
 */
#ifndef TF_BASE_TIMER_H
#define TF_BASE_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#include <trefoil/time.h>

#include "base/list.h"

#define TF_TIMER_LEVELS 9
#define TF_TIMER_SLOTS 64

/* Lies in the caller's struct; zeroed before its first use. */
struct tf_timer {
    struct tf_list_node node; /* in one slot, or in the list of those that are due */
    tf_time deadline;         /* as it was armed; may be read while armed, and after it expired */
};

/* All timers of one thread, about 9 KB. Must not be moved in memory. */
struct tf_timers {
    uint64_t tick; /* the present; only ever grows */
    uint64_t used[TF_TIMER_LEVELS];
    struct tf_list slots[TF_TIMER_LEVELS * TF_TIMER_SLOTS + 1]; /* the last: those that are due */
};

/* Starts without timers, at `now`. */
void tf_timers_init(struct tf_timers *timers, tf_time now);

/*
 * Arms the timer for `deadline`, whether or not it was armed before. A deadline that has passed is
 * due at once. TF_TIME_NEVER, and the last 1,023 microseconds before it, disarm it.
 */
void tf_timers_arm(struct tf_timers *timers, struct tf_timer *timer, tf_time deadline);

/* Disarms the timer if it is armed; afterwards its memory may be freed. */
void tf_timers_cancel(struct tf_timers *timers, struct tf_timer *timer);

/* True from arming until the timer is cancelled or returned by tf_timers_expire. */
static inline bool tf_timer_armed(const struct tf_timer *timer)
{
    return tf_list_linked(&timer->node);
}

/*
 * Disarms and returns one timer whose deadline is not after `now`, earlier ticks first; NULL: none.
 * A `now` before the last one counts as the last one. A timer that is armed anew from the loop with
 * a deadline that has passed is returned again by the same loop.
 */
struct tf_timer *tf_timers_expire(struct tf_timers *timers, tf_time now);

/*
 * Until when nothing can expire: wait so long, then call tf_timers_expire, which may still return
 * NULL when timers only moved down a level. Never later than the first timer's rounded deadline;
 * TF_TIME_NEVER: no timer is armed.
 */
tf_time tf_timers_next(const struct tf_timers *timers);

/* Checks the invariants of every level; for tests and the simulator. O(timers). */
bool tf_timers_check(const struct tf_timers *timers);

#endif
