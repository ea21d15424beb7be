/*
 * The bare echo: what receiving and sending datagrams costs when nobody looks at them.
 *
 * script/bench measures CoAP servers beside it, so it does what none can do without: wait, receive
 * in batches, send back in batches. With `trains` it takes and gives what the kernel couples
 * (UDP_GRO, UDP_SEGMENT), as a server may whose peers send several datagrams at once.
 *
 * usage: bare-echo PORT [trains]; port 0 takes a free one. Prints `listening udp://127.0.0.1:PORT`
 * and `ready`. It makes system calls itself, being no part of Trefoil.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BATCH = 64, PIECE = 65536, BUFFER = 4 * 1024 * 1024 };

static uint8_t memory[BATCH][PIECE];
static struct sockaddr_in peers[BATCH];
static struct iovec spans[BATCH];
static union {
    char room[CMSG_SPACE(sizeof(int))];
    struct cmsghdr header;
} controls[BATCH];
static struct mmsghdr messages[BATCH];

static int die(const char *what)
{
    perror(what);
    return 1;
}

static void prepare(bool trains)
{
    for (int i = 0; i < BATCH; i++) {
        spans[i] = (struct iovec){memory[i], PIECE};
        messages[i].msg_hdr = (struct msghdr){.msg_name = &peers[i],
                                              .msg_namelen = sizeof peers[i],
                                              .msg_iov = &spans[i],
                                              .msg_iovlen = 1};
        if (trains) {
            messages[i].msg_hdr.msg_control = &controls[i];
            messages[i].msg_hdr.msg_controllen = sizeof controls[i];
        }
    }
}

/* Makes what was received what is sent: the same bytes, cut as they were. */
static void turn_round(struct mmsghdr *message, struct iovec *span)
{
    struct msghdr *head = &message->msg_hdr;
    struct cmsghdr *control = head->msg_controllen ? CMSG_FIRSTHDR(head) : NULL;
    int size = 0;
    span->iov_len = message->msg_len;
    if (control && control->cmsg_level == SOL_UDP && control->cmsg_type == UDP_GRO)
        memcpy(&size, CMSG_DATA(control), sizeof size);
    head->msg_controllen = 0;
    if (size && (unsigned)size < message->msg_len) {
        uint16_t segment = (uint16_t)size;
        head->msg_controllen = CMSG_SPACE(sizeof segment);
        control = CMSG_FIRSTHDR(head);
        control->cmsg_level = SOL_UDP;
        control->cmsg_type = UDP_SEGMENT;
        control->cmsg_len = CMSG_LEN(sizeof segment);
        memcpy(CMSG_DATA(control), &segment, sizeof segment);
    }
}

static int serve(int fd, int epoll, bool trains)
{
    for (;;) {
        struct epoll_event event;
        if (epoll_wait(epoll, &event, 1, -1) < 0 && errno != EINTR)
            return die("epoll_wait");
        for (;;) {
            prepare(trains);
            int count = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
            if (count <= 0)
                break;
            for (int i = 0; i < count; i++)
                turn_round(&messages[i], &spans[i]);
            for (int sent = 0; sent < count;) {
                int now = sendmmsg(fd, messages + sent, (unsigned)(count - sent), 0);
                sent += now > 0 ? now : 1;
            }
            if (count < BATCH)
                break;
        }
    }
}

int main(int argc, char **argv)
{
    bool trains = argc > 2 && strcmp(argv[2], "trains") == 0;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    struct epoll_event event = {.events = EPOLLIN};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), epoll = epoll_create1(0), on = 1;
    int size = BUFFER;
    if (argc < 2 || fd < 0 || epoll < 0)
        return die("usage: bare-echo PORT [trains]");
    address.sin_port = htons((uint16_t)atoi(argv[1]));
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size))
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (trains && setsockopt(fd, SOL_UDP, UDP_GRO, &on, sizeof on))
        return die("UDP_GRO");
    if (bind(fd, (struct sockaddr *)&address, sizeof address) ||
        getsockname(fd, (struct sockaddr *)&address, &length) ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
        return die("bind");
    printf("listening udp://127.0.0.1:%u\nready\n", ntohs(address.sin_port));
    fflush(stdout);
    return serve(fd, epoll, trains);
}
