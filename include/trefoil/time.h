/*
 * Time as the machines know it: an input, never read from a clock.
 *
 * Two clocks (docs/adr): the monotonic one for every deadline, in microseconds from an origin that
 * only the caller knows; and wall time, only where something that outlives the process is dated.
 */
#ifndef TREFOIL_TIME_H
#define TREFOIL_TIME_H

#include <stdint.h>

typedef uint64_t tf_time; /* monotonic microseconds */

#define TF_TIME_NEVER UINT64_MAX
#define TF_MILLISECOND ((tf_time)1000)
#define TF_SECOND ((tf_time)1000000)

/* `now` and `span` later, or never when that passes the end of time. */
static inline tf_time tf_time_add(tf_time now, tf_time span)
{
    return span >= TF_TIME_NEVER - now ? TF_TIME_NEVER : now + span;
}

#endif
