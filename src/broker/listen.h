/*
 * The listening sockets of a configuration. Private to the broker.
 */
#ifndef TF_BROKER_LISTEN_H
#define TF_BROKER_LISTEN_H

#include "broker/config.h"
#include "broker/log.h"
#include "port/socket.h"

#define TF_LISTEN_URL (TF_SOCKET_TEXT + 16)
#define TF_LISTEN_ADDRESSES 8u /* of one host name, at most */

/* One socket: a listener of the configuration may have several, one an address. */
struct tf_listen_socket {
    int fd;
    size_t listener; /* place in config->listeners */
    uint16_t port;
    char url[TF_LISTEN_URL];
};

/*
 * Opens the sockets of one listener: appends to `sockets`, of which *count are in use and which has
 * room for TF_LISTEN_ADDRESSES more. `scheme` is that of its protocol. On failure the log says what
 * to do and what was opened is closed: TF_EXISTS, TF_NOT_FOUND, TF_AGAIN, TF_LIMIT, TF_IO,
 * TF_NO_MEMORY. TF_OK without a socket: it may fail, and has.
 */
TF_MUST_USE enum tf_err tf_listen_open(const struct tf_config *config, size_t listener,
                                       const char *scheme, struct tf_log *log,
                                       struct tf_listen_socket *sockets, size_t *count);

#endif
