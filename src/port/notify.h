/*
 * Tells the service manager how the service is doing (systemd's datagram protocol, without its
 * library: one datagram to the socket that NOTIFY_SOCKET names).
 */
#ifndef TF_PORT_NOTIFY_H
#define TF_PORT_NOTIFY_H

#include <trefoil/err.h>

/*
 * Sends `state`: "READY=1", "STOPPING=1", "STATUS=...", several parted by newlines.
 * TF_NOT_FOUND: nobody wants to know (no NOTIFY_SOCKET): not a failure. TF_MISUSE: its value is no
 * path or abstract name. TF_IO: errno; the service goes on.
 */
TF_MUST_USE enum tf_err tf_notify(const char *state);

#endif
