/*
 * UDP sockets, and datagrams in batches: never blocking, closed on exec.
 *
 * Descriptors are plain integers that the caller owns and ends with tf_socket_close; names, texts
 * and ports of addresses are port/socket.h's, waiting is the loop's. Nothing that a peer or the
 * network does ends a socket: what an ICMP message tells is an answer to one call.
 *
 * A batch is one system call. The kernel may hand over and take trains: datagrams of one path and
 * of equal size, the last perhaps shorter, as one piece (UDP_GRO, UDP_SEGMENT). Trains are cut here
 * and coupled here; nobody above sees one.
 *
 *     tf_datagram_receive(fd, inbox, &count);
 *     while ((in = tf_datagram_inbox_peek(inbox, &count)))
 *         tf_datagram_inbox_take(inbox, use(in, count));
 */
#ifndef TF_PORT_DATAGRAM_H
#define TF_PORT_DATAGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <trefoil/datagram.h>
#include <trefoil/err.h>

#include "port/datagram_path.h"
#include "port/socket.h"

#define TF_DATAGRAM_MAX 65535u           /* bytes of a datagram, or of a train */
#define TF_DATAGRAM_BATCH 64u            /* pieces of one system call, at most */
#define TF_DATAGRAM_BUFFER (4096 * 1024) /* that a socket asks the kernel for, each way */

/* ---- sockets ---- */

/*
 * A socket on `address`; port 0 takes a free one, tf_socket_local tells which. It is bound alone,
 * so that a port that somebody has is an error even where he would share it; afterwards others may
 * join it with tf_datagram_share. An IPv6 socket takes no IPv4. The kernel is asked for
 * TF_DATAGRAM_BUFFER both ways and may grant less. `trains`: input may come in trains, so an inbox
 * must have room for TF_DATAGRAM_MAX in each piece. Groups that others have joined on this machine
 * are not heard. TF_EXISTS: somebody has the port. TF_LIMIT: out of descriptors. TF_IO: errno, as
 * of tf_socket_listen.
 */
TF_MUST_USE enum tf_err tf_datagram_bind(const struct tf_socket_address *address, bool trains,
                                         int *ret_fd);

/*
 * One more socket on the address that `first` is bound to, for another shard. The kernel spreads
 * peers over them, each always to the same one as long as none comes or goes: make all of them
 * before reading begins. Errors as above.
 */
TF_MUST_USE enum tf_err tf_datagram_share(int first, bool trains, int *ret_fd);

/*
 * A socket on the address of a group, for what a socket that is bound to one address does not hear;
 * tf_datagram_join comes after it. Other programs may have such a socket, too. `interface` is that
 * of a group which is one link's own (ff02::fd). Errors as above.
 */
TF_MUST_USE enum tf_err tf_datagram_bind_group(const struct tf_socket_address *group,
                                               unsigned interface, int *ret_fd);

/*
 * A client's socket, of the family of `peer`, on a free port. `connected`: it hears `peer` only,
 * and of its refusals (TF_CLOSED of tf_datagram_receive). No trains come. Errors as above.
 */
TF_MUST_USE enum tf_err tf_datagram_open(const struct tf_socket_address *peer, bool connected,
                                         int *ret_fd);

/*
 * Hears a group, whose port is not looked at, on the interface with that index; 0: the one by which
 * the group would be reached. TF_EXISTS: it does already. TF_LIMIT: too many groups. TF_IO: errno.
 */
TF_MUST_USE enum tf_err tf_datagram_join(int fd, const struct tf_socket_address *group,
                                         unsigned interface);

/*
 * The indexes of the interfaces that are up and have `address`, or any address of its family if it
 * is none in particular (0.0.0.0, ::). Returns how many were written, at most `capacity`.
 */
size_t tf_datagram_interfaces(const struct tf_socket_address *address, unsigned *ret_indexes,
                              size_t capacity);

/* The path to `peer`, from whatever address the system chooses. */
void tf_datagram_path_to(const struct tf_socket_address *peer, struct tf_datagram_path *ret_path);

/* The peer's address of a path that is not the zeroed one, for tf_socket_text. */
void tf_datagram_peer(const struct tf_datagram_path *path, struct tf_socket_address *ret_peer);

/*
 * Takes off the socket the error that an ICMP message left on it, which its loop goes on reporting
 * until somebody reads, writes or calls this. Returns its errno, 0: there is none.
 */
int tf_datagram_error(int fd);

/* ---- input ---- */

struct tf_datagram_inbox;

/*
 * Room for `pieces` (1 to TF_DATAGRAM_BATCH) of `size` bytes each, on the heap: only what is used
 * is touched. What is longer than `size` is dropped. NULL: no memory.
 */
struct tf_datagram_inbox *tf_datagram_inbox_new(size_t pieces, size_t size);

/* Frees it. NULL is ignored. */
void tf_datagram_inbox_free(struct tf_datagram_inbox *inbox);

/*
 * Fills the inbox, whatever is left in it, with what has come. *ret_full: as many pieces as there
 * is room for, so there may be more. TF_AGAIN: there is nothing. TF_CLOSED: an error that the
 * network told (errno; ECONNREFUSED: nobody listens there): the socket goes on. TF_IO: this is no
 * such socket.
 */
TF_MUST_USE enum tf_err tf_datagram_receive(int fd, struct tf_datagram_inbox *inbox,
                                            bool *ret_full);

/*
 * The datagrams that were not taken yet, or the first of them, oldest first; NULL: none. They have
 * flags, and stay until the inbox is filled anew. Each is one of the peer's, however it came.
 */
const struct tf_datagram *tf_datagram_inbox_peek(struct tf_datagram_inbox *inbox,
                                                 size_t *ret_count);

/* The first `count` of those last peeked at are done with. */
void tf_datagram_inbox_take(struct tf_datagram_inbox *inbox, size_t count);

/* How many pieces were too long for the inbox and were dropped, ever. */
uint64_t tf_datagram_inbox_truncated(const struct tf_datagram_inbox *inbox);

/* ---- output ---- */

/*
 * Sends datagrams in order, each to its path (struct tf_datagram_path; NULL or zeroed: the peer
 * that the socket is connected to). The first *ret_sent are done with when it returns: sent, or
 * given up; *ret_lost of them were given up, for the size, the route, a filter's rule or a lack of
 * memory, and errno tells why the last one was. TF_AGAIN: the socket takes no more now; keep the
 * rest until it is writable. TF_OK: *ret_sent is `count`.
 */
TF_MUST_USE enum tf_err tf_datagram_send(int fd, const struct tf_datagram *out, size_t count,
                                         size_t *ret_sent, size_t *ret_lost);

#endif
