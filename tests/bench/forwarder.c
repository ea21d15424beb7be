/*
 * The bare forwarder: what moving the same bytes costs when nobody looks at them.
 *
 * script/bench measures every broker beside it, so it does what no broker can do without: wait,
 * read, copy to each receiver, write. It has no protocol, no sessions and no limits but one, and is
 * as quick as one epoll loop gets: one read for each ready connection, one write for each touched
 * connection and turn.
 *
 * A connection opens with one line, `sub TOPIC` or `pub TOPIC FRAME` (numbers; FRAME is the length
 * of each of the publisher's frames), is answered `ok`, and from then on whatever a publisher sends
 * goes to all subscribers of its topic untouched. FRAME serves one purpose: a read that ended
 * within a frame must not let another publisher's bytes in between.
 *
 * With a FILE it appends as many bytes to that, in a turn in which it forwards any, and syncs it
 * before it writes to anybody: what a store costs whoever waits for it.
 *
 * It must not know what is in a frame. It makes system calls itself, being no part of Trefoil.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    MAX_EVENTS = 512,
    MAX_TOPICS = 65536,
    MAX_HELLO = 128,
    MAX_REPLY = 40,
    READ_SIZE = 256 * 1024,
    MAX_OUTPUT = 64 * 1024 * 1024, /* a subscriber that is further behind is cut off */
    FILE_SIZE = 64 * 1024 * 1024   /* reserved; then it begins again */
};

struct conn {
    int fd;
    bool publisher;
    bool greeted;
    bool touched; /* is on the turn's list */
    bool waiting; /* for EPOLLOUT */
    bool dead;    /* closed at the end of the turn */
    unsigned topic;
    size_t frame;
    uint8_t reply[MAX_REPLY];
    size_t reply_length;
    uint8_t *rest; /* publisher: the part of a frame that has arrived, `frame` bytes at most */
    size_t rest_length;
    uint8_t *out; /* subscriber: what is still to be written */
    size_t out_start;
    size_t out_end;
    size_t out_size;
    struct conn *next_touched;
    struct conn *next_in_topic;
};

struct forwarder {
    int epoll;
    int listener;
    struct conn *touched;
    int file;                             /* -1: none */
    size_t file_at;                       /* where it goes on */
    size_t owed;                          /* bytes forwarded that are not in it */
    uint8_t *buffer;                      /* READ_SIZE */
    struct conn *subscribers[MAX_TOPICS]; /* of each topic */
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void *must(void *memory)
{
    if (!memory)
        die("memory");
    return memory;
}

static void conn_touch(struct forwarder *forwarder, struct conn *conn)
{
    if (conn->touched)
        return;
    conn->touched = true;
    conn->next_touched = forwarder->touched;
    forwarder->touched = conn;
}

static void conn_kill(struct forwarder *forwarder, struct conn *conn)
{
    conn->dead = true;
    conn_touch(forwarder, conn);
}

static void conn_free(struct forwarder *forwarder, struct conn *conn)
{
    if (conn->greeted && !conn->publisher) {
        struct conn **at = &forwarder->subscribers[conn->topic];
        while (*at != conn)
            at = &(*at)->next_in_topic;
        *at = conn->next_in_topic;
    }
    close(conn->fd);
    free(conn->rest);
    free(conn->out);
    free(conn);
}

static void conn_append(struct forwarder *forwarder, struct conn *conn, const uint8_t *data,
                        size_t length)
{
    if (conn->out_end + length > conn->out_size && conn->out_start > 0) {
        memmove(conn->out, conn->out + conn->out_start, conn->out_end - conn->out_start);
        conn->out_end -= conn->out_start;
        conn->out_start = 0;
    }
    if (conn->out_end + length > conn->out_size) {
        if (conn->out_end + length > MAX_OUTPUT) {
            conn_kill(forwarder, conn);
            return;
        }
        conn->out_size = (conn->out_end + length) * 2;
        conn->out = must(realloc(conn->out, conn->out_size));
    }
    memcpy(conn->out + conn->out_end, data, length);
    conn->out_end += length;
    conn_touch(forwarder, conn);
}

static void conn_flush(struct forwarder *forwarder, struct conn *conn)
{
    if (conn->out_start < conn->out_end) {
        ssize_t sent = send(conn->fd, conn->out + conn->out_start, conn->out_end - conn->out_start,
                            MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR) {
            conn->dead = true;
            return;
        }
        if (sent > 0)
            conn->out_start += (size_t)sent;
    }
    bool left = conn->out_start < conn->out_end;
    if (!left)
        conn->out_start = conn->out_end = 0;
    if (left != conn->waiting) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
        if (left)
            event.events |= EPOLLOUT;
        if (epoll_ctl(forwarder->epoll, EPOLL_CTL_MOD, conn->fd, &event) < 0)
            die("epoll_ctl");
        conn->waiting = left;
    }
}

/* Whole frames, to everybody, and the replies for them. */
static void forward(struct forwarder *forwarder, struct conn *conn, const uint8_t *data,
                    size_t length)
{
    struct conn *subscriber = forwarder->subscribers[conn->topic];
    forwarder->owed += length;
    for (; length && subscriber; subscriber = subscriber->next_in_topic)
        conn_append(forwarder, subscriber, data, length);
    for (size_t frames = length / conn->frame; conn->reply_length && frames > 0; frames--)
        conn_append(forwarder, conn, conn->reply, conn->reply_length);
}

static void publisher_input(struct forwarder *forwarder, struct conn *conn, const uint8_t *data,
                            size_t length)
{
    if (conn->rest_length > 0) {
        size_t part = conn->frame - conn->rest_length;
        if (part > length)
            part = length;
        memcpy(conn->rest + conn->rest_length, data, part);
        conn->rest_length += part;
        data += part;
        length -= part;
        if (conn->rest_length < conn->frame)
            return;
        forward(forwarder, conn, conn->rest, conn->frame);
        conn->rest_length = 0;
    }
    size_t over = length % conn->frame;
    forward(forwarder, conn, data, length - over);
    if (over) {
        if (!conn->rest)
            conn->rest = must(malloc(conn->frame));
        memcpy(conn->rest, data + (length - over), over);
        conn->rest_length = over;
    }
}

/* The first line, which a generator sends in one piece and then waits for the answer. */
static void conn_greet(struct forwarder *forwarder, struct conn *conn, const uint8_t *data,
                       size_t length)
{
    char line[MAX_HELLO];
    if (length >= sizeof line || data[length - 1] != '\n') {
        conn_kill(forwarder, conn);
        return;
    }
    memcpy(line, data, length);
    line[length] = 0;
    unsigned topic;
    size_t frame;
    int end = 0;
    if (sscanf(line, "pub %u %zu %n", &topic, &frame, &end) == 2 && frame > 0) {
        conn->publisher = true;
        conn->frame = frame;
        unsigned byte;
        while (conn->reply_length < MAX_REPLY && sscanf(line + end, "%2x", &byte) == 1) {
            conn->reply[conn->reply_length++] = (uint8_t)byte;
            end += 2;
        }
    } else if (sscanf(line, "sub %u", &topic) != 1) {
        conn_kill(forwarder, conn);
        return;
    }
    if (topic >= MAX_TOPICS) {
        conn_kill(forwarder, conn);
        return;
    }
    conn->topic = topic;
    conn->greeted = true;
    if (!conn->publisher) {
        conn->next_in_topic = forwarder->subscribers[topic];
        forwarder->subscribers[topic] = conn;
    }
    conn_append(forwarder, conn, (const uint8_t *)"ok\n", 3);
}

static void conn_input(struct forwarder *forwarder, struct conn *conn)
{
    ssize_t got = recv(conn->fd, forwarder->buffer, READ_SIZE, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0)
        conn_kill(forwarder, conn);
    else if (!conn->greeted)
        conn_greet(forwarder, conn, forwarder->buffer, (size_t)got);
    else if (conn->publisher)
        publisher_input(forwarder, conn, forwarder->buffer, (size_t)got);
}

static void accept_all(struct forwarder *forwarder)
{
    for (;;) {
        int fd = accept4(forwarder->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        struct conn *conn = must(calloc(1, sizeof *conn));
        conn->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
        if (epoll_ctl(forwarder->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
            die("epoll_ctl");
    }
}

static unsigned listen_on(struct forwarder *forwarder, unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    forwarder->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (forwarder->listener < 0)
        die("socket");
    setsockopt(forwarder->listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(forwarder->listener, (struct sockaddr *)&address, sizeof address) < 0)
        die("bind");
    if (listen(forwarder->listener, 4096) < 0)
        die("listen");
    socklen_t length = sizeof address;
    if (getsockname(forwarder->listener, (struct sockaddr *)&address, &length) < 0)
        die("getsockname");
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(forwarder->epoll, EPOLL_CTL_ADD, forwarder->listener, &event) < 0)
        die("epoll_ctl");
    return ntohs(address.sin_port);
}

static void open_file(struct forwarder *forwarder, const char *name)
{
    forwarder->file = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (forwarder->file < 0)
        die(name);
    errno = posix_fallocate(forwarder->file, 0, FILE_SIZE);
    if (errno || fsync(forwarder->file))
        die(name);
}

/* As many bytes as were forwarded in this turn; which ones does not matter. */
static void keep(struct forwarder *forwarder)
{
    while (forwarder->owed > 0) {
        size_t part = forwarder->owed < READ_SIZE ? forwarder->owed : READ_SIZE;
        if (forwarder->file_at + part > FILE_SIZE)
            forwarder->file_at = 0;
        ssize_t put = pwrite(forwarder->file, forwarder->buffer, part, (off_t)forwarder->file_at);
        if (put <= 0)
            die("pwrite");
        forwarder->file_at += (size_t)put;
        forwarder->owed -= (size_t)put;
    }
    if (fdatasync(forwarder->file))
        die("fdatasync");
}

static void turn(struct forwarder *forwarder)
{
    struct epoll_event events[MAX_EVENTS];
    int count = epoll_wait(forwarder->epoll, events, MAX_EVENTS, -1);
    if (count < 0 && errno != EINTR)
        die("epoll_wait");
    for (int i = 0; i < count; i++) {
        struct conn *conn = events[i].data.ptr;
        if (!conn) {
            accept_all(forwarder);
            continue;
        }
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            conn_input(forwarder, conn);
        if (events[i].events & EPOLLOUT)
            conn_touch(forwarder, conn);
    }
    if (forwarder->file >= 0 && forwarder->owed > 0)
        keep(forwarder);
    while (forwarder->touched) {
        struct conn *conn = forwarder->touched;
        forwarder->touched = conn->next_touched;
        conn->touched = false;
        if (!conn->dead)
            conn_flush(forwarder, conn);
        if (conn->dead)
            conn_free(forwarder, conn);
    }
}

int main(int argc, char **argv)
{
    if (argc > 3 || (argc > 1 && argv[1][0] == '-')) {
        fprintf(stderr, "usage: bare-forwarder [PORT [FILE]]\n"
                        "Forwards on 127.0.0.1; 0 takes a free port.\n");
        return 2;
    }
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    struct forwarder *forwarder = must(calloc(1, sizeof *forwarder));
    forwarder->buffer = must(malloc(READ_SIZE));
    forwarder->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (forwarder->epoll < 0)
        die("epoll_create1");
    forwarder->file = -1;
    if (argc > 2)
        open_file(forwarder, argv[2]);
    unsigned port = listen_on(forwarder, argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 0);
    printf("listening 127.0.0.1:%u\nready\n", port);
    fflush(stdout);
    for (;;)
        turn(forwarder);
}
