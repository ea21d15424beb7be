/*
 * What the CoAP examples need of the operating system: UDP sockets, a clock, random bytes, and the
 * steps that carry datagrams between a socket and an endpoint. All memory is static; on a
 * microcontroller these functions are all that has to be replaced.
 */
#ifndef EXAMPLES_UDP_H
#define EXAMPLES_UDP_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <trefoil/coap_endpoint.h>

#define UDP_BATCH 8 /* datagrams that are sent in one go */

/* Where a datagram came from; endpoints keep and compare it, and need not know what is in it. */
union udp_path {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* A socket and the datagram that came last. */
struct udp {
    int fd;
    union udp_path from;
    uint8_t input[2048];
};

/* Monotonic microseconds. */
static inline tf_time udp_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (tf_time)now.tv_sec * TF_SECOND + (tf_time)now.tv_nsec / 1000;
}

/* Bytes that nobody can guess, for tf_coap_endpoint_config.random. */
static inline void udp_random(void *ctx, void *data, size_t length)
{
    int fd = open("/dev/urandom", O_RDONLY);

    (void)ctx;
    if (fd < 0 || read(fd, data, length) != (ssize_t)length) {
        perror("/dev/urandom");
        exit(1);
    }
    close(fd);
}

/* The bytes of a socket address. */
static inline socklen_t udp_path_size(const union udp_path *path)
{
    return path->any.sa_family == AF_INET6 ? sizeof path->v6 : sizeof path->v4;
}

/* Opens a socket for `path`, bound to it if `bind_it`; false, with a word on stderr. */
static inline bool udp_open(struct udp *udp, const union udp_path *path, bool bind_it)
{
    int one = 1;

    udp->fd = socket(path->any.sa_family, SOCK_DGRAM, 0);
    if (udp->fd < 0 || setsockopt(udp->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) ||
        (bind_it && bind(udp->fd, &path->any, udp_path_size(path)))) {
        perror("cannot open a socket");
        return false;
    }
    return fcntl(udp->fd, F_SETFL, O_NONBLOCK) == 0;
}

/* Finds the address of a host; false, with a word on stderr. */
static inline bool udp_resolve(union udp_path *ret, const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *found = NULL;
    int status = getaddrinfo(host, port, &hints, &found);

    if (status) {
        fprintf(stderr, "%s: %s\n", host, gai_strerror(status));
        return false;
    }
    memset(ret, 0, sizeof *ret);
    memcpy(ret, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return true;
}

/* The next datagram that has come, with its path; false: none. Lasts until the next one. */
static inline bool udp_receive(struct udp *udp, struct tf_datagram *ret)
{
    socklen_t size = sizeof udp->from;

    memset(&udp->from, 0, sizeof udp->from); /* two paths are the same when all bytes are */
    ssize_t got = recvfrom(udp->fd, udp->input, sizeof udp->input, 0, &udp->from.any, &size);
    if (got < 0)
        return false;
    *ret = (struct tf_datagram){.path = &udp->from, .bytes = tf_bytes_of(udp->input, (size_t)got)};
    return true;
}

/* Sends one datagram. Whether it arrives is the network's affair, so errors are too. */
static inline void udp_send(const struct udp *udp, const union udp_path *path,
                            struct tf_bytes bytes)
{
    (void)sendto(udp->fd, bytes.data, bytes.length, 0, &path->any, udp_path_size(path));
}

/* Sends all that the endpoint has to say. */
static inline void udp_flush(const struct udp *udp, struct tf_coap_endpoint *endpoint)
{
    struct tf_datagram out[UDP_BATCH];
    size_t count;

    while ((count = tf_coap_endpoint_output(endpoint, out, UDP_BATCH)) > 0) {
        for (size_t i = 0; i < count; i++)
            udp_send(udp, out[i].path, out[i].bytes);
        tf_coap_endpoint_sent(endpoint, count, udp_now());
    }
}

/* Waits until something can be read from one of the sockets, or `until` has come. */
static inline void udp_wait(const struct udp *sockets, size_t count, tf_time until)
{
    struct pollfd fds[2];
    tf_time now = udp_now();
    int timeout_ms = -1;

    for (size_t i = 0; i < count && i < 2; i++)
        fds[i] = (struct pollfd){.fd = sockets[i].fd, .events = POLLIN};
    if (until != TF_TIME_NEVER)
        timeout_ms = until <= now ? 0 : (int)((until - now + 999) / 1000);
    (void)poll(fds, count, timeout_ms);
}

#endif
