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
#define TF_LISTEN_GROUPS 2u    /* sockets of groups beside those of an address, at most */

/*
 * An address that is listened on: a listener of the configuration may have several. For connections
 * it has one socket, of any shard; for datagrams one for each shard, and behind those some that
 * hear groups, which one shard alone reads.
 */
struct tf_listen_socket {
    int *fds;
    unsigned fd_count;
    unsigned shard_fds; /* of the first fds: that of shard 0, 1...; 0: for connections */
    size_t listener;    /* place in config->listeners */
    uint16_t port;
    char url[TF_LISTEN_URL];
};

/*
 * Opens the sockets of one listener, for datagrams in `shards` shards, all before any is read:
 * appends to `sockets`, of which *count are in use and which has room for TF_LISTEN_ADDRESSES more.
 * `scheme` is that of its protocol. On failure the log says what to do and what was opened is
 * closed: TF_EXISTS, TF_NOT_FOUND, TF_AGAIN, TF_LIMIT, TF_IO, TF_NO_MEMORY. TF_OK without a
 * socket: it may fail, and has.
 */
TF_MUST_USE enum tf_err tf_listen_open(const struct tf_config *config, size_t listener,
                                       const char *scheme, unsigned shards, struct tf_log *log,
                                       struct tf_listen_socket *sockets, size_t *count);

/* Closes the sockets of an address. */
void tf_listen_close(struct tf_listen_socket *socket);

#endif
