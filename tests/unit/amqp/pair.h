/*
 * Two machines, a client and a server, that talk over a wire in memory: whole, byte by byte or in
 * pieces of any size, with an output buffer as small as it may be. What an application has to
 * answer is answered here; what deliveries need is passed on.
 */
#ifndef TESTS_UNIT_AMQP_PAIR_H
#define TESTS_UNIT_AMQP_PAIR_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <trefoil/amqp_connection.h>

enum { PAIR_LINKS = 8 };

enum pair_split { PAIR_WHOLE, PAIR_BYTES, PAIR_RANDOM };

struct pair;
struct side;

/* An event that the pair does not answer by itself. */
typedef void pair_event(struct pair *pair, struct side *side, const struct tf_amqp_event *event);

struct side {
    struct tf_amqp_config config;
    struct tf_amqp_connection *machine;
    struct tf_amqp_session *session;
    struct tf_amqp_link *links[PAIR_LINKS]; /* in the order of their attaching; NULL: gone */
    unsigned link_count;
    uint8_t *buffer;
    size_t buffer_size;
    uint8_t *wire; /* what has come and was not taken */
    size_t wire_length, wire_seen;
    pair_event *on_event;
    bool refuse_needs; /* NEEDS stay unanswered, and are counted */
    unsigned needs, ended, detached, closed;
    struct tf_amqp_error error; /* of the last of them */
};

struct pair {
    struct side a, b; /* client and server */
    enum pair_split split;
    uint64_t seed;
    tf_time now;
    void *user;
};

/* A config with room for everything. */
struct tf_amqp_config pair_config(void);

/* Opens a connection and a session. The configs of the sides are to be set; zero: pair_config. */
void pair_open(struct pair *pair, enum pair_split split, size_t buffer_size);

/* Attaches a link of the client's in `role`; both sides have it at the same place of `links`. */
unsigned pair_attach(struct pair *pair, enum tf_amqp_role role, enum tf_amqp_rcv_settle_mode mode);

/* Moves bytes both ways until nothing moves any more. */
void pair_run(struct pair *pair);

/* Moves some bytes of one side's output to the other; what has come there is not looked at. */
void pair_flush(struct pair *pair, struct side *side);

/* Lets a side take what has come, and tells its events. True: something has happened. */
bool pair_take(struct pair *pair, struct side *side);

/* The place of a link in the side's `links`. */
unsigned pair_index(const struct side *side, const struct tf_amqp_link *link);

/* Frees everything, after a look at the invariants. */
void pair_close(struct pair *pair);

#endif
