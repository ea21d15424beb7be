/*
 * The system's clocks.
 */
#include "port/clock.h"

#include <time.h>

#include "base/assert.h"
#include "base/mem.h"

static uint64_t read_clock(clockid_t clock)
{
    struct timespec time;
    int failed = clock_gettime(clock, &time);
    tf_assert(!failed);
    return (uint64_t)time.tv_sec * TF_SECOND + (uint64_t)time.tv_nsec / 1000;
}

tf_time tf_clock_now(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t tf_clock_wall(void)
{
    return read_clock(CLOCK_REALTIME);
}

/* Writes `value` in `digits` decimal digits, the lowest ones if it has more. */
static void put(char *at, unsigned digits, unsigned value)
{
    while (digits--) {
        at[digits] = (char)('0' + value % 10);
        value /= 10;
    }
}

void tf_clock_format(char ret_text[TF_CLOCK_TEXT], uint64_t wall_us)
{
    static const char pattern[] = "0000-00-00T00:00:00.000Z";
    struct tm tm;
    time_t seconds = (time_t)(wall_us / TF_SECOND);
    gmtime_r(&seconds, &tm); /* 2^64 microseconds end in the year 586,554: it cannot fail */
    memcpy(ret_text, pattern, sizeof(pattern));
    put(ret_text, 4, (unsigned)(tm.tm_year + 1900));
    put(ret_text + 5, 2, (unsigned)(tm.tm_mon + 1));
    put(ret_text + 8, 2, (unsigned)tm.tm_mday);
    put(ret_text + 11, 2, (unsigned)tm.tm_hour);
    put(ret_text + 14, 2, (unsigned)tm.tm_min);
    put(ret_text + 17, 2, (unsigned)tm.tm_sec);
    put(ret_text + 20, 3, (unsigned)(wall_us / TF_MILLISECOND % 1000));
}
