/*
 * An MPS2 board (AN386: Cortex-M4 at 25 MHz) as a firmware sees it: a clock, and a serial line that
 * carries frames. A frame is SLIP (RFC 1055): one byte that names the path, then the data. What a
 * path is, the bridge at the other end of the line says (bridge.py): a peer for datagrams; for a
 * stream see the three names below. It must not know a protocol.
 */
#ifndef BOARD_H
#define BOARD_H

#include <trefoil/bytes.h>
#include <trefoil/time.h>

/* The longest frame either way, path included. */
#define BOARD_FRAME_MAX 1280u

/* Paths of a stream. */
#define BOARD_STREAM 0x00u /* bytes of the open connection */
#define BOARD_OPEN 0x01u   /* to the bridge: connect; from it: connected */
#define BOARD_CLOSE 0x02u  /* either way: it has ended */

/* Text for whoever watches. "ready" comes first: the bridge waits for it. */
#define BOARD_TEXT 0xffu

/* Microseconds since the start. To be called at least once in 20 minutes. */
tf_time board_now(void);

/* The next whole frame; false: none yet. *ret_data is valid until the next call. */
bool board_receive(uint8_t *ret_path, struct tf_bytes *ret_data);

/* Sends one frame of `count` spans; waits for the line. */
void board_send(uint8_t path, const struct tf_bytes *spans, size_t count);

/* Sends a text. */
void board_say(const char *text);

/* Sleeps until something has come in, or a millisecond is over. */
void board_wait(void);

/* An unpredictable number. This board has no source of it: good enough for a test only. */
uint32_t board_random(void);

/* The firmware: called once by the start-up code; does not return. */
void board_main(void);

#endif
