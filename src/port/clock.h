/*
 * The two clocks: the monotonic one that every deadline is in, and wall time for what is shown or
 * stored. Only the outermost layer reads them; everything below gets the time as an argument.
 */
#ifndef TF_PORT_CLOCK_H
#define TF_PORT_CLOCK_H

#include <stdint.h>

#include <trefoil/time.h>

#define TF_CLOCK_TEXT 32 /* enough for any text of tf_clock_format, NUL included */

/* Monotonic microseconds; starts anywhere, never goes back, does not count while suspended. */
tf_time tf_clock_now(void);

/* Microseconds since 1970-01-01T00:00:00Z; goes where the administrator sets it. */
uint64_t tf_clock_wall(void);

/*
 * Writes wall time as "2026-11-20T10:00:00.000Z" (UTC, milliseconds cut off; of a
 * year past 9999 the last four digits).
 */
void tf_clock_format(char ret_text[TF_CLOCK_TEXT], uint64_t wall_us);

#endif
