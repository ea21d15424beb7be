/*
 * What both MQTT examples need of the operating system: a TCP connection, a clock, and one turn of
 * the loop that carries bytes between a socket and the client's machine. All memory is static; on a
 * microcontroller these functions are all that has to be replaced.
 */
#ifndef EXAMPLES_TCP_H
#define EXAMPLES_TCP_H

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <trefoil/mqtt_client.h>

#define TCP_INPUT_MAX 4096

/* What has arrived and was not taken yet. */
struct tcp {
    int fd;
    size_t length;
    uint8_t input[TCP_INPUT_MAX];
};

/* Monotonic microseconds. */
static inline tf_time tcp_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (tf_time)now.tv_sec * TF_SECOND + (tf_time)now.tv_nsec / 1000;
}

/* Connects; false, with a word on stderr, if nobody answers there. */
static inline bool tcp_open(struct tcp *tcp, const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    int status = getaddrinfo(host, port, &hints, &found);

    tcp->fd = -1;
    tcp->length = 0;
    if (status)
        fprintf(stderr, "%s: %s\n", host, gai_strerror(status));
    for (struct addrinfo *at = found; at && tcp->fd < 0; at = at->ai_next) {
        tcp->fd = socket(at->ai_family, at->ai_socktype, at->ai_protocol);
        if (tcp->fd >= 0 && connect(tcp->fd, at->ai_addr, at->ai_addrlen)) {
            fprintf(stderr, "%s:%s: %s\n", host, port, strerror(errno));
            close(tcp->fd);
            tcp->fd = -1;
        }
    }
    if (found)
        freeaddrinfo(found);
    if (tcp->fd < 0)
        return false;
    (void)fcntl(tcp->fd, F_SETFL, O_NONBLOCK);
    return true;
}

/* Writes what the machine has to say, as far as the socket takes it; false: it is broken. */
static inline bool tcp_write(struct tcp *tcp, struct tf_mqtt_client *client)
{
    struct tf_bytes spans[8];
    struct iovec iov[8];
    ssize_t sent = 1;

    while (sent > 0) {
        size_t count = tf_mqtt_client_output(client, spans, 8);
        for (size_t i = 0; i < count; i++)
            iov[i] = (struct iovec){(void *)(uintptr_t)spans[i].data, spans[i].length};
        if (count == 0)
            return true;
        sent = writev(tcp->fd, iov, (int)count);
        if (sent > 0)
            tf_mqtt_client_sent(client, (size_t)sent, tcp_now());
    }
    return sent < 0 && errno == EAGAIN;
}

/* Waits until something has arrived, the output may go on or `until` has come; false: it is broken.
 */
static inline bool tcp_wait(struct tcp *tcp, struct tf_mqtt_client *client, tf_time until)
{
    struct tf_bytes span;
    bool more = tf_mqtt_client_output(client, &span, 1) > 0;
    bool room = tcp->length < sizeof tcp->input;
    struct pollfd poll_fd = {.fd = tcp->fd,
                             .events = (short)((room ? POLLIN : 0) | (more ? POLLOUT : 0))};
    tf_time now = tcp_now();
    int timeout_ms = -1;
    ssize_t got = 0;

    if (until != TF_TIME_NEVER)
        timeout_ms = until <= now ? 0 : (int)((until - now + 999) / 1000);
    if (poll(&poll_fd, 1, timeout_ms) > 0 && room &&
        poll_fd.revents & (POLLIN | POLLHUP | POLLERR)) {
        got = read(tcp->fd, tcp->input + tcp->length, sizeof tcp->input - tcp->length);
        if (got == 0 || (got < 0 && errno != EAGAIN))
            return false;
        tcp->length += got > 0 ? (size_t)got : 0;
    }
    return true;
}

/*
 * Gives the machine one packet of what has arrived; false when it can take nothing now. Events are
 * to be pulled after every call: their views borrow the input until the next one.
 */
static inline bool tcp_feed(struct tcp *tcp, struct tf_mqtt_client *client)
{
    static size_t taken; /* of the packet before: its views were in use until now */
    size_t used = 0, need = 0;
    enum tf_err err;

    memmove(tcp->input, tcp->input + taken, tcp->length - taken);
    tcp->length -= taken;
    taken = 0;
    err =
        tf_mqtt_client_input(client, tf_bytes_of(tcp->input, tcp->length), &used, &need, tcp_now());
    if (err == TF_MORE && need > sizeof tcp->input)
        tf_mqtt_client_disconnect(client, TF_MQTT_PACKET_TOO_LARGE);
    if (!err)
        taken = used;
    return !err;
}

#endif
