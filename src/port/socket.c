/*
 * TCP sockets over the system's.
 */
#include "port/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* Connections that wait to be accepted; the kernel cuts it to its own limit. */
#define BACKLOG 4096
#define HOST_MAX 256

_Static_assert(sizeof(struct sockaddr_storage) <= sizeof((struct tf_socket_address){0}.storage),
               "an address fits");

static const struct sockaddr *system_address(const struct tf_socket_address *address)
{
    return (const struct sockaddr *)(const void *)address->storage;
}

/* ---- addresses ---- */

static enum tf_err resolver_error(int number)
{
    switch (number) {
    case EAI_NONAME:
    case EAI_NODATA:
    case EAI_ADDRFAMILY:
    case EAI_FAMILY:
        return TF_NOT_FOUND;
    case EAI_AGAIN:
        return TF_AGAIN;
    case EAI_MEMORY:
        return TF_NO_MEMORY;
    default:
        return TF_IO;
    }
}

/* Copies `host` without the brackets of an IPv6 address in a URL; false: no host is so long. */
static bool copy_host(char ret_copy[HOST_MAX], const char *host)
{
    size_t length = strlen(host);
    if (length >= 2 && host[0] == '[' && host[length - 1] == ']') {
        host++;
        length -= 2;
    }
    if (length >= HOST_MAX)
        return false;
    memcpy(ret_copy, host, length);
    ret_copy[length] = 0;
    return true;
}

enum tf_err tf_socket_resolve(const char *host, uint16_t port, bool listening,
                              struct tf_socket_address *ret_addresses, size_t capacity,
                              size_t *ret_count)
{
    char copy[HOST_MAX], service[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICSERV | (listening ? AI_PASSIVE : 0)};
    struct addrinfo *list;
    size_t count = 0;
    if (host && !copy_host(copy, host))
        return TF_NOT_FOUND;
    snprintf(service, sizeof(service), "%u", (unsigned)port);
    int failed = getaddrinfo(host && copy[0] ? copy : NULL, service, &hints, &list);
    if (failed && host &&
        strcmp(copy, "localhost") == 0) /* RFC 6761 6.3: without a hosts file too */
        failed = getaddrinfo("127.0.0.1", service, &hints, &list);
    if (failed)
        return resolver_error(failed);
    for (struct addrinfo *info = list; info && count < capacity; info = info->ai_next) {
        if (info->ai_family != AF_INET && info->ai_family != AF_INET6)
            continue;
        struct tf_socket_address *address = &ret_addresses[count++];
        memset(address, 0, sizeof(*address));
        memcpy(address->storage, info->ai_addr, info->ai_addrlen);
        address->length = info->ai_addrlen;
    }
    freeaddrinfo(list);
    if (!count)
        return TF_NOT_FOUND;
    *ret_count = count;
    return TF_OK;
}

void tf_socket_text(const struct tf_socket_address *address, char ret_text[TF_SOCKET_TEXT])
{
    char host[64] = "?", port[8] = "0";
    if (getnameinfo(system_address(address), address->length, host, sizeof(host), port,
                    sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV)) {
        snprintf(ret_text, TF_SOCKET_TEXT, "?");
        return;
    }
    bool brackets = system_address(address)->sa_family == AF_INET6;
    snprintf(ret_text, TF_SOCKET_TEXT, "%s%s%s:%s", brackets ? "[" : "", host, brackets ? "]" : "",
             port);
}

uint16_t tf_socket_port(const struct tf_socket_address *address)
{
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    memcpy(&in, address->storage, sizeof(in));
    memcpy(&in6, address->storage, sizeof(in6));
    if (in.sin_family == AF_INET)
        return ntohs(in.sin_port);
    return in.sin_family == AF_INET6 ? ntohs(in6.sin6_port) : 0;
}

bool tf_socket_loopback(const struct tf_socket_address *address)
{
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    memcpy(&in, address->storage, sizeof(in));
    memcpy(&in6, address->storage, sizeof(in6));
    if (in.sin_family == AF_INET)
        return ntohl(in.sin_addr.s_addr) >> 24 == 127;
    return in.sin_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr);
}

typedef int (*name_function)(int fd, struct sockaddr *address, socklen_t *length);

static enum tf_err ask_name(name_function function, int fd, struct tf_socket_address *ret_address)
{
    struct tf_socket_address address = {0};
    socklen_t length = sizeof(address.storage);
    if (function(fd, (struct sockaddr *)(void *)address.storage, &length))
        return errno == ENOTCONN ? TF_CLOSED : TF_IO;
    address.length = length;
    *ret_address = address;
    return TF_OK;
}

enum tf_err tf_socket_local(int fd, struct tf_socket_address *ret_address)
{
    return ask_name(getsockname, fd, ret_address);
}

enum tf_err tf_socket_peer(int fd, struct tf_socket_address *ret_address)
{
    return ask_name(getpeername, fd, ret_address);
}

/* ---- opening ---- */

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

static enum tf_err open_socket(const struct tf_socket_address *address, int *ret_fd)
{
    int fd =
        socket(system_address(address)->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return open_error(errno);
    *ret_fd = fd;
    return TF_OK;
}

static int set_option(int fd, int level, int option)
{
    const int on = 1;
    return setsockopt(fd, level, option, &on, sizeof(on));
}

/* Closes `fd` and keeps the errno of what went wrong before. */
static void close_failed(int fd)
{
    int number = errno;
    close(fd);
    errno = number;
}

enum tf_err tf_socket_listen(const struct tf_socket_address *address, bool shared, int *ret_fd)
{
    int fd;
    enum tf_err err = open_socket(address, &fd);
    if (err)
        return err;
    if (set_option(fd, SOL_SOCKET, SO_REUSEADDR) ||
        (shared && set_option(fd, SOL_SOCKET, SO_REUSEPORT)) ||
        (system_address(address)->sa_family == AF_INET6 &&
         set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY)) ||
        bind(fd, system_address(address), address->length) || listen(fd, BACKLOG)) {
        err = open_error(errno);
        close_failed(fd);
        return err;
    }
    *ret_fd = fd;
    return TF_OK;
}

enum tf_err tf_socket_accept(int listener, int *ret_fd, struct tf_socket_address *ret_peer)
{
    for (;;) {
        struct tf_socket_address peer = {0};
        socklen_t length = sizeof(peer.storage);
        int fd = accept4(listener, (struct sockaddr *)(void *)peer.storage, &length,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            peer.length = length;
            /* It fails only if the connection is gone, which reading will tell. */
            set_option(fd, IPPROTO_TCP, TCP_NODELAY);
            *ret_fd = fd;
            *ret_peer = peer;
            return TF_OK;
        }
        switch (errno) {
        case EAGAIN:
            return TF_AGAIN;
        case EINTR:
        case ECONNABORTED:
        /* Linux hands over errors that the new connection has met already: accept(2). */
        case EPROTO:
        case ENOPROTOOPT:
        case ENETDOWN:
        case ENETUNREACH:
        case EHOSTDOWN:
        case EHOSTUNREACH:
        case ENONET:
        case EPERM:
            continue;
        default:
            return open_error(errno);
        }
    }
}

enum tf_err tf_socket_connect(const struct tf_socket_address *address, int *ret_fd)
{
    int fd;
    enum tf_err err = open_socket(address, &fd);
    if (err)
        return err;
    if (set_option(fd, IPPROTO_TCP, TCP_NODELAY) ||
        (connect(fd, system_address(address), address->length) && errno != EINPROGRESS &&
         errno != EINTR)) {
        close_failed(fd);
        return TF_IO;
    }
    *ret_fd = fd;
    return TF_OK;
}

enum tf_err tf_socket_connected(int fd)
{
    int number = 0;
    socklen_t length = sizeof(number);
    struct tf_socket_address peer;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &length))
        return TF_IO;
    if (number) {
        errno = number;
        return TF_IO;
    }
    enum tf_err err = tf_socket_peer(fd, &peer);
    return err == TF_CLOSED ? TF_AGAIN : err;
}

/* ---- bytes ---- */

static enum tf_err transfer_error(int number)
{
    switch (number) {
    case EAGAIN:
        return TF_AGAIN;
    case ECONNRESET:
    case EPIPE:
    case ETIMEDOUT:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENOTCONN:
        return TF_CLOSED;
    default:
        return TF_IO;
    }
}

enum tf_err tf_socket_read(int fd, void *data, size_t length, size_t *ret_length)
{
    ssize_t got;
    do
        got = recv(fd, data, length, 0);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return transfer_error(errno);
    if (got == 0) {
        errno = 0;
        return TF_CLOSED;
    }
    *ret_length = (size_t)got;
    return TF_OK;
}

enum tf_err tf_socket_writev(int fd, const struct tf_bytes *spans, size_t count, size_t *ret_length)
{
    struct iovec vectors[TF_SOCKET_SPANS];
    struct msghdr message = {.msg_iov = vectors};
    if (count > TF_SOCKET_SPANS)
        count = TF_SOCKET_SPANS;
    for (size_t i = 0; i < count; i++)
        vectors[i] = (struct iovec){(void *)(uintptr_t)spans[i].data, spans[i].length};
    message.msg_iovlen = count;
    ssize_t sent;
    do /* one span is the usual case, and cheaper for the kernel to take over */
        sent = count == 1 ? send(fd, spans[0].data, spans[0].length, MSG_NOSIGNAL)
                          : sendmsg(fd, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0)
        return transfer_error(errno);
    *ret_length = (size_t)sent;
    return TF_OK;
}

/* ---- ending ---- */

void tf_socket_finish(int fd)
{
    shutdown(fd, SHUT_WR); /* fails only if the connection is gone, and then it is finished */
}

enum tf_err tf_socket_drain(int fd)
{
    /* A peer that sends without end must not keep the thread: the loop reports the rest again. */
    for (unsigned i = 0; i < 8; i++) {
        char dropped[16384];
        size_t length;
        enum tf_err err = tf_socket_read(fd, dropped, sizeof(dropped), &length);
        if (err)
            return err == TF_AGAIN ? err : TF_CLOSED;
    }
    return TF_AGAIN;
}

void tf_socket_close(int fd)
{
    close(fd);
}

void tf_socket_abort(int fd)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(fd);
}
