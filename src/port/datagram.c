/*
 * UDP sockets and batches of datagrams over the system's.
 */
#include "port/datagram.h"

#include "base/assert.h"
#include "base/util.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONTROL_SIZE 128 /* of what comes or goes beside the bytes of a piece */
#define VIEWS 128u       /* datagrams that an inbox cuts at a time */
#define RETRIES 64u      /* of a call that told what ICMP messages told, and did nothing else */

/*
 * What may go as a train. A segment must fit into the packet of its path, and 1,280 bytes is what
 * every path of IPv6 has; the kernel takes so many of them in a piece.
 */
#define SEGMENT_MAX 1232u
#define SEGMENTS_MAX 64u

static const struct sockaddr *system_address(const struct tf_socket_address *address)
{
    return (const struct sockaddr *)(const void *)address->storage;
}

/* ---- sockets ---- */

static enum tf_err open_error(int number)
{
    switch (number) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        return TF_LIMIT;
    case EADDRINUSE:
        return TF_EXISTS;
    default:
        return TF_IO;
    }
}

static int set_option(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof(value));
}

/* Closes `fd`, keeps the errno of what went wrong before, and tells what that is. */
static enum tf_err close_failed(int fd)
{
    int number = errno;
    close(fd);
    errno = number;
    return open_error(number);
}

/* The kernel grants what it likes: any size will do, the greatest is wanted. */
static void set_buffers(int fd)
{
    if (set_option(fd, SOL_SOCKET, SO_RCVBUFFORCE, TF_DATAGRAM_BUFFER))
        set_option(fd, SOL_SOCKET, SO_RCVBUF, TF_DATAGRAM_BUFFER);
    if (set_option(fd, SOL_SOCKET, SO_SNDBUFFORCE, TF_DATAGRAM_BUFFER))
        set_option(fd, SOL_SOCKET, SO_SNDBUF, TF_DATAGRAM_BUFFER);
}

/* A socket of a family that tells where each datagram came to; closed again when it cannot. */
static enum tf_err open_socket(int family, bool trains, int *ret_fd)
{
    int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int failed;
    if (fd < 0)
        return open_error(errno);
    if (family == AF_INET6)
        failed = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) ||
                 set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    else
        failed = set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
    if (failed)
        return close_failed(fd);
    /* Without these (old kernels) it does more work, or hears groups that others have joined. */
    if (trains)
        set_option(fd, SOL_UDP, UDP_GRO, 1);
    if (family == AF_INET6)
        set_option(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0);
    else
        set_option(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0);
    set_buffers(fd);
    *ret_fd = fd;
    return TF_OK;
}

/* A bound socket; `sharing` an option under which it shares its address, 0: none. */
static enum tf_err open_bound(const struct tf_socket_address *address, int sharing, bool trains,
                              int *ret_fd)
{
    int fd;
    enum tf_err err = open_socket(system_address(address)->sa_family, trains, &fd);
    if (err)
        return err;
    if ((sharing && set_option(fd, SOL_SOCKET, sharing, 1)) ||
        bind(fd, system_address(address), address->length))
        return close_failed(fd);
    *ret_fd = fd;
    return TF_OK;
}

enum tf_err tf_datagram_bind(const struct tf_socket_address *address, bool trains, int *ret_fd)
{
    return open_bound(address, 0, trains, ret_fd);
}

enum tf_err tf_datagram_share(int first, bool trains, int *ret_fd)
{
    struct tf_socket_address address;
    enum tf_err err = tf_socket_local(first, &address);
    if (err)
        return err;
    if (set_option(first, SOL_SOCKET, SO_REUSEPORT, 1))
        return TF_IO;
    return open_bound(&address, SO_REUSEPORT, trains, ret_fd);
}

enum tf_err tf_datagram_bind_group(const struct tf_socket_address *group, unsigned interface,
                                   int *ret_fd)
{
    struct tf_socket_address address = *group;
    struct sockaddr_in6 six;
    memcpy(&six, group->storage, sizeof(six));
    if (six.sin6_family == AF_INET6 && IN6_IS_ADDR_MC_LINKLOCAL(&six.sin6_addr)) {
        six.sin6_scope_id = interface;
        memcpy(address.storage, &six, sizeof(six));
    }
    return open_bound(&address, SO_REUSEADDR, false, ret_fd);
}

enum tf_err tf_datagram_open(const struct tf_socket_address *peer, bool connected, int *ret_fd)
{
    int fd;
    enum tf_err err = open_socket(system_address(peer)->sa_family, false, &fd);
    if (err)
        return err;
    if (connected && connect(fd, system_address(peer), peer->length))
        return close_failed(fd);
    *ret_fd = fd;
    return TF_OK;
}

enum tf_err tf_datagram_join(int fd, const struct tf_socket_address *group, unsigned interface)
{
    struct group_req request = {.gr_interface = interface};
    int level = system_address(group)->sa_family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
    memcpy(&request.gr_group, group->storage, group->length);
    if (setsockopt(fd, level, MCAST_JOIN_GROUP, &request, sizeof(request)))
        return open_error(errno);
    return TF_OK;
}

int tf_datagram_error(int fd)
{
    int number = 0;
    socklen_t length = sizeof(number);
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &length) ? errno : number;
}

/* ---- addresses ---- */

static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff}; /* RFC 4291 2.5.5.2 */

/* True if two addresses of one family are the same, or `wanted` is that of all interfaces. */
static bool address_matches(const struct tf_socket_address *wanted, const struct sockaddr *own)
{
    const struct sockaddr *system = system_address(wanted);
    if (system->sa_family != own->sa_family)
        return false;
    if (own->sa_family == AF_INET) {
        struct sockaddr_in a, b;
        memcpy(&a, system, sizeof(a));
        memcpy(&b, own, sizeof(b));
        return a.sin_addr.s_addr == htonl(INADDR_ANY) || a.sin_addr.s_addr == b.sin_addr.s_addr;
    }
    struct sockaddr_in6 a, b;
    memcpy(&a, system, sizeof(a));
    memcpy(&b, own, sizeof(b));
    return IN6_IS_ADDR_UNSPECIFIED(&a.sin6_addr) || IN6_ARE_ADDR_EQUAL(&a.sin6_addr, &b.sin6_addr);
}

size_t tf_datagram_interfaces(const struct tf_socket_address *address, unsigned *ret_indexes,
                              size_t capacity)
{
    struct ifaddrs *list;
    size_t count = 0;
    if (getifaddrs(&list))
        return 0;
    for (const struct ifaddrs *item = list; item && count < capacity; item = item->ifa_next) {
        if (!item->ifa_addr || !(item->ifa_flags & IFF_UP) ||
            (item->ifa_addr->sa_family != AF_INET && item->ifa_addr->sa_family != AF_INET6) ||
            !address_matches(address, item->ifa_addr))
            continue;
        unsigned index = if_nametoindex(item->ifa_name);
        size_t i = 0;
        while (i < count && ret_indexes[i] != index)
            i++;
        if (index && i == count)
            ret_indexes[count++] = index;
    }
    freeifaddrs(list);
    return count;
}

/* Path and flags of where a datagram came from. */
static void path_from(const void *name, socklen_t length, struct tf_datagram_path *ret_path,
                      uint8_t *ret_flags)
{
    struct sockaddr_in6 six;
    struct sockaddr_in four;
    sa_family_t family = 0;
    if (length >= sizeof(family))
        memcpy(&family, name, sizeof(family));
    memset(ret_path, 0, sizeof(*ret_path));
    *ret_flags = 0;
    if (family == AF_INET) {
        memcpy(&four, name, sizeof(four));
        memcpy(ret_path->peer, mapped_prefix, sizeof(mapped_prefix));
        memcpy(ret_path->peer + sizeof(mapped_prefix), &four.sin_addr, 4);
        ret_path->port = ntohs(four.sin_port);
        ret_path->family = 4;
        if (ntohl(four.sin_addr.s_addr) >> 24 == 127)
            *ret_flags = TF_DATAGRAM_TRUSTED;
    } else if (family == AF_INET6) {
        memcpy(&six, name, sizeof(six));
        memcpy(ret_path->peer, &six.sin6_addr, 16);
        ret_path->scope = six.sin6_scope_id;
        ret_path->port = ntohs(six.sin6_port);
        ret_path->family = 6;
        if (IN6_IS_ADDR_LOOPBACK(&six.sin6_addr))
            *ret_flags = TF_DATAGRAM_TRUSTED;
    }
}

void tf_datagram_path_to(const struct tf_socket_address *peer, struct tf_datagram_path *ret_path)
{
    uint8_t flags;
    path_from(peer->storage, peer->length, ret_path, &flags);
}

/* Writes the peer of a path as the system wants it; returns its length. */
static socklen_t path_name(const struct tf_datagram_path *path, void *ret_name)
{
    if (path->family == 4) {
        struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(path->port)};
        memcpy(&four.sin_addr, path->peer + sizeof(mapped_prefix), 4);
        memcpy(ret_name, &four, sizeof(four));
        return sizeof(four);
    }
    struct sockaddr_in6 six = {
        .sin6_family = AF_INET6, .sin6_port = htons(path->port), .sin6_scope_id = path->scope};
    memcpy(&six.sin6_addr, path->peer, 16);
    memcpy(ret_name, &six, sizeof(six));
    return sizeof(six);
}

void tf_datagram_peer(const struct tf_datagram_path *path, struct tf_socket_address *ret_peer)
{
    memset(ret_peer, 0, sizeof(*ret_peer));
    ret_peer->length = path_name(path, ret_peer->storage);
}

/* ---- input ---- */

/* One piece as it was received: a datagram, or a train of them. */
struct piece {
    struct tf_datagram_path path;
    uint32_t length;
    uint32_t segment; /* bytes of each datagram but the last */
    uint8_t flags;
};

struct tf_datagram_inbox {
    size_t pieces;      /* there is room for */
    size_t size;        /* of a piece */
    size_t stride;      /* from one to the next */
    size_t count;       /* of those that came */
    size_t next;        /* that is not cut yet */
    size_t offset;      /* in it */
    size_t first, last; /* of `views`: cut and not taken */
    uint64_t truncated;
    uint8_t *data;
    struct mmsghdr headers[TF_DATAGRAM_BATCH];
    struct iovec vectors[TF_DATAGRAM_BATCH];
    struct sockaddr_in6 names[TF_DATAGRAM_BATCH];
    _Alignas(struct cmsghdr) uint8_t controls[TF_DATAGRAM_BATCH][CONTROL_SIZE];
    struct piece came[TF_DATAGRAM_BATCH];
    struct tf_datagram views[VIEWS];
};

struct tf_datagram_inbox *tf_datagram_inbox_new(size_t pieces, size_t size)
{
    tf_assert(pieces >= 1 && pieces <= TF_DATAGRAM_BATCH && size >= 1);
    /* Three lines more than whole pages: else all beginnings would want the same cache set. */
    size_t stride = (size + 63) / 64 * 64 + 192;
    struct tf_datagram_inbox *inbox = calloc(1, sizeof(*inbox));
    if (!inbox)
        return NULL;
    inbox->data = malloc(pieces * stride);
    if (!inbox->data) {
        free(inbox);
        return NULL;
    }
    inbox->pieces = pieces;
    inbox->size = size;
    inbox->stride = stride;
    for (size_t i = 0; i < pieces; i++) {
        inbox->vectors[i] = (struct iovec){inbox->data + i * stride, size};
        inbox->headers[i].msg_hdr = (struct msghdr){.msg_name = &inbox->names[i],
                                                    .msg_iov = &inbox->vectors[i],
                                                    .msg_iovlen = 1,
                                                    .msg_control = inbox->controls[i]};
    }
    return inbox;
}

void tf_datagram_inbox_free(struct tf_datagram_inbox *inbox)
{
    if (!inbox)
        return;
    free(inbox->data);
    free(inbox);
}

uint64_t tf_datagram_inbox_truncated(const struct tf_datagram_inbox *inbox)
{
    return inbox->truncated;
}

/* What to do about a failure of recvmmsg. TF_OK: call it again. */
static enum tf_err receive_error(int number)
{
    switch (number) {
    case EINTR:
        return TF_OK;
    case EAGAIN:
        return TF_AGAIN;
    case EBADF:
    case ENOTSOCK:
    case EFAULT:
    case EINVAL:
        return TF_IO;
    default:
        return TF_CLOSED;
    }
}

/* Where an IPv4 datagram came to: our address, or a group of receivers (a broadcast, too). */
static void local_four(const struct cmsghdr *control, struct piece *piece)
{
    struct in_pktinfo info;
    memcpy(&info, CMSG_DATA(control), sizeof(info));
    if (info.ipi_addr.s_addr != info.ipi_spec_dst.s_addr ||
        IN_MULTICAST(ntohl(info.ipi_addr.s_addr))) {
        piece->flags |= TF_DATAGRAM_MULTICAST; /* RFC 7252 8.2: a reply is sent from no group */
        return;
    }
    memcpy(piece->path.local, mapped_prefix, sizeof(mapped_prefix));
    memcpy(piece->path.local + sizeof(mapped_prefix), &info.ipi_addr, 4);
}

static void local_six(const struct cmsghdr *control, struct piece *piece)
{
    struct in6_pktinfo info;
    memcpy(&info, CMSG_DATA(control), sizeof(info));
    if (IN6_IS_ADDR_MULTICAST(&info.ipi6_addr))
        piece->flags |= TF_DATAGRAM_MULTICAST;
    else
        memcpy(piece->path.local, &info.ipi6_addr, 16);
}

/* Reads all about a piece but its bytes. */
static void read_piece(struct msghdr *header, size_t length, struct piece *piece)
{
    path_from(header->msg_name, header->msg_namelen, &piece->path, &piece->flags);
    piece->length = piece->segment = (uint32_t)length;
    for (struct cmsghdr *control = CMSG_FIRSTHDR(header); control;
         control = CMSG_NXTHDR(header, control)) {
        if (control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_PKTINFO) {
            local_four(control, piece);
        } else if (control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_PKTINFO) {
            local_six(control, piece);
        } else if (control->cmsg_level == SOL_UDP && control->cmsg_type == UDP_GRO) {
            int segment;
            memcpy(&segment, CMSG_DATA(control), sizeof(segment));
            if (segment > 0)
                piece->segment = (uint32_t)segment;
        }
    }
}

enum tf_err tf_datagram_receive(int fd, struct tf_datagram_inbox *inbox, bool *ret_full)
{
    enum tf_err err;
    int got;
    inbox->count = inbox->next = inbox->offset = inbox->first = inbox->last = 0;
    for (size_t i = 0; i < inbox->pieces; i++) {
        inbox->headers[i].msg_hdr.msg_namelen = sizeof(inbox->names[i]);
        inbox->headers[i].msg_hdr.msg_controllen = CONTROL_SIZE;
    }
    do {
        got = recvmmsg(fd, inbox->headers, (unsigned)inbox->pieces, MSG_DONTWAIT, NULL);
        err = got < 0 ? receive_error(errno) : TF_OK;
    } while (got < 0 && !err);
    if (err)
        return err;
    for (size_t i = 0; i < (size_t)got; i++) {
        struct msghdr *header = &inbox->headers[i].msg_hdr;
        if (header->msg_flags & MSG_TRUNC) {
            inbox->truncated++;
            inbox->came[i].length = 0;
            inbox->came[i].segment = UINT32_MAX; /* not to be handed out, unlike an empty one */
            continue;
        }
        read_piece(header, inbox->headers[i].msg_len, &inbox->came[i]);
    }
    inbox->count = (size_t)got;
    *ret_full = inbox->count == inbox->pieces;
    return TF_OK;
}

/* Cuts pieces into datagrams, as many as there is room for. */
static void cut(struct tf_datagram_inbox *inbox)
{
    inbox->first = inbox->last = 0;
    while (inbox->next < inbox->count && inbox->last < VIEWS) {
        const struct piece *piece = &inbox->came[inbox->next];
        size_t left = piece->length - inbox->offset;
        size_t length = TF_MIN(left, piece->segment);
        if (piece->segment != UINT32_MAX) {
            uint8_t *data = inbox->data + inbox->next * inbox->stride + inbox->offset;
            inbox->views[inbox->last++] =
                (struct tf_datagram){&piece->path, tf_bytes_of(data, length), piece->flags};
        }
        inbox->offset += length;
        if (length == left) {
            inbox->next++;
            inbox->offset = 0;
        }
    }
}

const struct tf_datagram *tf_datagram_inbox_peek(struct tf_datagram_inbox *inbox, size_t *ret_count)
{
    if (inbox->first == inbox->last)
        cut(inbox);
    if (inbox->first == inbox->last)
        return NULL;
    *ret_count = inbox->last - inbox->first;
    return &inbox->views[inbox->first];
}

void tf_datagram_inbox_take(struct tf_datagram_inbox *inbox, size_t count)
{
    tf_assert(count <= inbox->last - inbox->first);
    inbox->first += count;
}

/* ---- output ---- */

/* What one call of sendmmsg is made of. */
struct outbox {
    size_t count;  /* of pieces */
    size_t spans;  /* in use */
    bool segments; /* couple trains: not, after the kernel has refused one */
    int reason;    /* why the last one was given up */
    struct mmsghdr headers[TF_DATAGRAM_BATCH];
    struct iovec vectors[4 * TF_DATAGRAM_BATCH];
    struct sockaddr_in6 names[TF_DATAGRAM_BATCH];
    _Alignas(struct cmsghdr) uint8_t controls[TF_DATAGRAM_BATCH][CONTROL_SIZE];
};

/* Adds a control message of `length` bytes, and gives the place of those. */
static void *add_control(struct msghdr *header, uint8_t *controls, int level, int type,
                         size_t length)
{
    struct cmsghdr *control = (struct cmsghdr *)(void *)(controls + header->msg_controllen);
    tf_assert(header->msg_controllen + CMSG_SPACE(length) <= CONTROL_SIZE);
    control->cmsg_level = level;
    control->cmsg_type = type;
    control->cmsg_len = CMSG_LEN(length);
    header->msg_control = controls;
    header->msg_controllen += CMSG_SPACE(length);
    return CMSG_DATA(control);
}

/* Has a datagram leave from the address that the path names. */
static void add_local(struct msghdr *header, uint8_t *controls, const struct tf_datagram_path *path)
{
    static const uint8_t none[16];
    if (memcmp(path->local, none, sizeof(none)) == 0)
        return;
    if (path->family == 4) {
        struct in_pktinfo info = {0};
        memcpy(&info.ipi_spec_dst, path->local + sizeof(mapped_prefix), 4);
        memcpy(add_control(header, controls, IPPROTO_IP, IP_PKTINFO, sizeof(info)), &info,
               sizeof(info));
    } else {
        struct in6_pktinfo info = {.ipi6_ifindex = path->scope};
        memcpy(&info.ipi6_addr, path->local, 16);
        memcpy(add_control(header, controls, IPPROTO_IPV6, IPV6_PKTINFO, sizeof(info)), &info,
               sizeof(info));
    }
}

static bool same_path(const struct tf_datagram_path *a, const struct tf_datagram_path *b)
{
    return a == b || (a && b && memcmp(a, b, sizeof(*a)) == 0);
}

/* How many datagrams from `out` on are one train; 1: it goes alone. */
static size_t train_length(const struct outbox *box, const struct tf_datagram *out, size_t count)
{
    size_t segment = out->bytes.length, most = TF_COUNT(box->vectors) - box->spans, n = 1;
    if (!box->segments || segment == 0 || segment > SEGMENT_MAX)
        return 1;
    most = TF_MIN(TF_MIN(count, most), SEGMENTS_MAX);
    while (n < most && out[n].bytes.length <= segment && out[n].bytes.length > 0 &&
           (n + 1) * segment <= TF_DATAGRAM_MAX - 100 && same_path(out->path, out[n].path)) {
        if (out[n++].bytes.length < segment)
            break; /* a shorter one ends it */
    }
    return n;
}

/* Adds a piece of the first of `out`; returns how many datagrams it has. */
static size_t add_piece(struct outbox *box, const struct tf_datagram *out, size_t count)
{
    const struct tf_datagram_path *path = out->path;
    struct msghdr *header = &box->headers[box->count].msg_hdr;
    uint8_t *controls = box->controls[box->count];
    size_t length = train_length(box, out, count);
    *header = (struct msghdr){.msg_iov = &box->vectors[box->spans], .msg_iovlen = length};
    for (size_t i = 0; i < length; i++) {
        box->vectors[box->spans++] =
            (struct iovec){(void *)(uintptr_t)out[i].bytes.data, out[i].bytes.length};
    }
    if (path && path->family) {
        header->msg_name = &box->names[box->count];
        header->msg_namelen = path_name(path, header->msg_name);
        add_local(header, controls, path);
    }
    if (length > 1) {
        uint16_t segment = (uint16_t)out->bytes.length;
        memcpy(add_control(header, controls, SOL_UDP, UDP_SEGMENT, sizeof(segment)), &segment,
               sizeof(segment));
    }
    box->count++;
    return length;
}

/* What happened to the first of the pieces that were not sent. */
enum fate { REPEAT, WAIT, UNCOUPLE, GIVE_UP };

static enum fate fate_of(const struct msghdr *header, int number, unsigned *retries)
{
    switch (number) {
    case EAGAIN:
        return WAIT;
    case EINTR:
        return REPEAT;
    case ECONNREFUSED: /* of an earlier one: this one was not sent for it */
        return ++*retries < RETRIES ? REPEAT : GIVE_UP;
    default:
        /* A path, a device or a kernel that takes no trains: EIO, EINVAL, EMSGSIZE, ENOPROTOOPT. */
        return header->msg_iovlen > 1 ? UNCOUPLE : GIVE_UP;
    }
}

/*
 * Sends the pieces of an outbox. Adds to *ret_sent and *ret_lost what was done with. TF_AGAIN: the
 * rest waits. TF_UNSUPPORTED: the first that is left is a train, and must go as single datagrams.
 */
static enum tf_err send_pieces(int fd, struct outbox *box, size_t *ret_sent, size_t *ret_lost)
{
    unsigned retries = 0;
    size_t next = 0;
    while (next < box->count) {
        int got = sendmmsg(fd, &box->headers[next], (unsigned)(box->count - next), MSG_DONTWAIT);
        if (got > 0) {
            for (; got > 0; got--)
                *ret_sent += box->headers[next++].msg_hdr.msg_iovlen;
            continue;
        }
        switch (fate_of(&box->headers[next].msg_hdr, errno, &retries)) {
        case REPEAT:
            break;
        case WAIT:
            return TF_AGAIN;
        case UNCOUPLE:
            return TF_UNSUPPORTED;
        case GIVE_UP:
            ++*ret_lost;
            box->reason = errno;
            *ret_sent += box->headers[next++].msg_hdr.msg_iovlen;
        }
    }
    return TF_OK;
}

enum tf_err tf_datagram_send(int fd, const struct tf_datagram *out, size_t count, size_t *ret_sent,
                             size_t *ret_lost)
{
    struct outbox box; /* what is used of it is set */
    enum tf_err err = TF_OK;
    size_t sent = 0, lost = 0;
    box.segments = true;
    box.reason = 0;
    while (sent < count && err != TF_AGAIN) {
        size_t taken = sent;
        box.count = box.spans = 0;
        while (taken < count && box.count < TF_DATAGRAM_BATCH && box.spans < TF_COUNT(box.vectors))
            taken += add_piece(&box, &out[taken], count - taken);
        err = send_pieces(fd, &box, &sent, &lost);
        box.segments = err != TF_UNSUPPORTED; /* single ones this time, trains again after */
    }
    if (lost)
        errno = box.reason;
    *ret_sent = sent;
    *ret_lost = lost;
    return err == TF_AGAIN ? err : TF_OK;
}
