/*
 * TCP sockets: never blocking, closed on exec, without Nagle's delay, no SIGPIPE.
 *
 * Descriptors are plain integers that the caller owns. Every function that fails leaves errno as
 * the system set it. Waiting is the loop's (port/loop.h); what to do about TF_AGAIN is: wait until
 * the loop reports the descriptor as ready, then call again.
 */
#ifndef TF_PORT_SOCKET_H
#define TF_PORT_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <trefoil/bytes.h>
#include <trefoil/err.h>

#define TF_SOCKET_TEXT 80  /* enough for any text of tf_socket_text, NUL included */
#define TF_SOCKET_SPANS 64 /* as many spans as one tf_socket_writev sends at most */

/* An IPv4 or IPv6 address with its port. Opaque; may be copied and compared as bytes. */
struct tf_socket_address {
    uint64_t storage[16];
    uint32_t length;
    uint32_t unused; /* 0, so that there is no padding */
};

/*
 * Looks up a host name, or reads a numeric address (IPv6 with or without brackets). `host` NULL or
 * empty: every local address if `listening`, else the loopback ones. `port`: 0 to 65,535. Writes up
 * to `capacity` (at least 1) addresses, best first, for the caller to try in turn; more are left
 * out. This one blocks while the resolver asks. TF_NOT_FOUND: no such host or it has no address.
 * TF_AGAIN: the name server does not answer now. TF_NO_MEMORY. TF_IO: something else in the
 * resolver.
 */
TF_MUST_USE enum tf_err tf_socket_resolve(const char *host, uint16_t port, bool listening,
                                          struct tf_socket_address *ret_addresses, size_t capacity,
                                          size_t *ret_count);

/* Writes "192.0.2.1:1883" or "[2001:db8::1]:1883". */
void tf_socket_text(const struct tf_socket_address *address, char ret_text[TF_SOCKET_TEXT]);

/* The port of an address; 0 for one that is zeroed. */
uint16_t tf_socket_port(const struct tf_socket_address *address);

/* True for 127.0.0.0/8 and ::1. */
bool tf_socket_loopback(const struct tf_socket_address *address);

/*
 * Listens on `address`; port 0 takes a free one, tf_socket_local tells which. An IPv6 address never
 * takes IPv4 connections, so both can be listened on. With `shared`, several descriptors (one a
 * shard) may listen on one address, and the kernel spreads connections over them; all of them must
 * say so. TF_EXISTS: somebody listens there already. TF_LIMIT: out of descriptors. TF_IO: errno
 * (EADDRNOTAVAIL: not an address of this machine; EACCES: a port that needs privileges).
 */
TF_MUST_USE enum tf_err tf_socket_listen(const struct tf_socket_address *address, bool shared,
                                         int *ret_fd);

/*
 * Takes a connection that has come in. TF_AGAIN: there is none now. TF_LIMIT: no descriptor or
 * memory is free: connections wait in the kernel; stop watching the listener until one is closed or
 * some time has passed, since it stays ready. TF_IO: the listener is broken. Connections that ended
 * before they were taken are passed over.
 */
TF_MUST_USE enum tf_err tf_socket_accept(int listener, int *ret_fd,
                                         struct tf_socket_address *ret_peer);

/*
 * Starts a connection. When the loop reports the descriptor as writable, tf_socket_connected tells
 * how it went. TF_LIMIT: out of descriptors. TF_IO: it failed at once; try the next address.
 */
TF_MUST_USE enum tf_err tf_socket_connect(const struct tf_socket_address *address, int *ret_fd);

/* TF_OK: connected. TF_AGAIN: not yet. TF_IO: it failed, errno tells why: close, try the next. */
TF_MUST_USE enum tf_err tf_socket_connected(int fd);

/*
 * Reads up to `length` bytes (not 0) into `data`; *ret_length is at least 1.
 * TF_AGAIN. TF_CLOSED: the peer has ended its output (errno 0) or the connection was lost (errno
 * tells how): close. TF_IO: anything else: close.
 */
TF_MUST_USE enum tf_err tf_socket_read(int fd, void *data, size_t length, size_t *ret_length);

/*
 * Sends as much of `spans` (not all empty) as there is room for, in order, and at most
 * TF_SOCKET_SPANS of them; *ret_length bytes were taken, perhaps fewer than all. Nothing is
 * borrowed after the call. TF_AGAIN: no room. TF_CLOSED: the connection was lost: close. TF_IO:
 * anything else: close.
 */
TF_MUST_USE enum tf_err tf_socket_writev(int fd, const struct tf_bytes *spans, size_t count,
                                         size_t *ret_length);

/* The address that a socket has on this side. TF_IO: it is none. */
TF_MUST_USE enum tf_err tf_socket_local(int fd, struct tf_socket_address *ret_address);

/* The address of the peer. TF_CLOSED: there is none any more. TF_IO: it is no socket. */
TF_MUST_USE enum tf_err tf_socket_peer(int fd, struct tf_socket_address *ret_address);

/*
 * Ends the output after what has been written. Closing a socket with input unread makes the kernel
 * reset the connection, which may destroy the last output on its way (a CONNACK, a DISCONNECT). So:
 * finish, then tf_socket_drain whenever it is readable until that says TF_CLOSED or a deadline of
 * the caller's has come, then close.
 */
void tf_socket_finish(int fd);

/* Reads and drops input. TF_AGAIN: more may come. TF_CLOSED: the peer has ended, or is lost. */
TF_MUST_USE enum tf_err tf_socket_drain(int fd);

/* Closes the descriptor; output that was written is still sent unless input is unread. */
void tf_socket_close(int fd);

/* Closes and resets the connection: unsent output is thrown away, and nothing lingers. */
void tf_socket_abort(int fd);

#endif
