/*
 * A peer for AMQP clients: a process of its own that speaks by the library's machine and does as it
 * is told.
 */
#ifndef TF_TEST_AMQP_PEER_H
#define TF_TEST_AMQP_PEER_H

#include <sys/types.h>

#include <trefoil/amqp_connection.h>
#include <trefoil/amqp_message.h>

#define PEER_MESSAGES 8

/* Zeroed: all are let in, links are attached, messages accepted, none sent. */
struct peer_script {
    const char *user, *password;             /* must be given; else ANONYMOUS is taken */
    struct tf_amqp_error open_error;         /* it closes instead of opening */
    struct tf_amqp_error link_error;         /* links are refused */
    struct tf_amqp_error detach_error;       /* the link is detached once it has credit */
    struct tf_amqp_state outcome;            /* of messages; NONE: accepted */
    uint32_t max_frame_size;                 /* 0: 65536 */
    bool silent;                             /* nothing is ever said */
    bool hang_up;                            /* the transport ends after open */
    struct tf_bytes messages[PEER_MESSAGES]; /* to whoever receives */
    size_t message_count;
    bool settled;          /* they are sent settled */
    int status;            /* of the management node's answers; 0: it is no management node */
    const char *operation; /* that it must be asked for */
    /* Checks a message that has come; false fails the test. */
    bool (*check)(const struct tf_amqp_message *message, bool settled);
    unsigned more;   /* connections that follow the first */
    size_t expected; /* messages that must have come, or (sent) been accepted, until the close */
};

struct peer {
    pid_t pid;
    uint16_t port;
};

/* Starts one. */
void peer_start(struct peer *peer, const struct peer_script *script);

/* Waits for its end: 0, or the line of amqp_peer.c where it was not content. */
int peer_end(const struct peer *peer);

#endif
