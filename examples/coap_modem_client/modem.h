/*
 * A modem that does not exist: a serial line with commands on it, and a network behind it.
 *
 *     AT+SEND=<hexadecimal digits>\r      the device sends a datagram
 *     +RECV:<hexadecimal digits>\r        a datagram has come
 *     +BUSY\r                             it could not be sent; it is lost
 *
 * Here the line is a pair of local sockets and the network is UDP to one server. modem_work is what
 * a real one's own processor does.
 */
#ifndef EXAMPLES_MODEM_H
#define EXAMPLES_MODEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEM_DATAGRAM 256 /* the longest datagram it carries */
#define MODEM_LINE (2 * MODEM_DATAGRAM + 16)

/* Switches the modem on; false, with a word on stderr. *ret_line: the device's end of the line, not
 * blocking. */
bool modem_start(const char *host, const char *port, int *ret_line);

/* Carries what there is to carry, both ways. */
void modem_work(void);

/* Waits until the modem has something to do or the line has something to read, at most so long. */
void modem_wait(int line, int timeout_ms);

#endif
