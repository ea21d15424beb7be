/*
 * Hosts for AMQP connections in tests: two machines joined by a wire, or one machine and a raw
 * peer, which is the test itself. Bytes arrive in one of four ways; events are answered at once
 * unless the test says otherwise, and are logged as text; what a raw peer receives is logged as
 * text too. The machine's invariants are checked after every step.
 */
#ifndef TESTS_AMQP_RIG_H
#define TESTS_AMQP_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <trefoil/amqp_connection.h>

enum rig_way {
    RIG_WHOLE, /* all that is there */
    RIG_BYTES, /* one byte at a time */
    RIG_SPLIT, /* runs of random length */
    RIG_TINY   /* the smallest output buffer, drained by one byte */
};

/* The four ways; a test's state points to one. */
extern enum rig_way rig_ways[4];
#define RIG_TESTS(test)                                    \
    {#test ", whole", test, NULL, NULL, &rig_ways[0]},     \
        {#test ", bytes", test, NULL, NULL, &rig_ways[1]}, \
        {#test ", split", test, NULL, NULL, &rig_ways[2]}, \
    {                                                      \
#test ", tiny", test, NULL, NULL, &rig_ways[3]     \
    }

struct rig;
struct rig_end;

/* True: the event was dealt with; false: as if there was no such function. It is logged before. */
typedef bool rig_on_event(struct rig *rig, struct rig_end *end, const struct tf_amqp_event *event);

struct rig_text {
    char *bytes; /* NUL at the end */
    size_t length, room;
};

struct rig_end {
    struct tf_amqp_config config;
    struct tf_amqp_open open;
    struct tf_amqp_connection *connection; /* NULL: a raw peer, or not started yet */
    void *buffer;
    size_t buffer_size;
    uint8_t *in; /* arrived and not taken */
    size_t in_length, shown;
    uint8_t *raw; /* of a raw peer: bytes that are no whole frame yet */
    size_t raw_length;
    bool raw_sasl; /* of a raw peer: the next frames */
    struct rig_text log;
    enum tf_err err;   /* the last of tf_amqp_input */
    bool quiet;        /* do not log TRANSFER, OUTCOME, FLOW, RETURNED, NEEDS */
    bool refuse_needs; /* answer NEEDS with a close */
    bool ignore_needs; /* do not answer them */
    bool frees;        /* what the machine is done with is freed at once; there is one session */
    bool reject;       /* answer AUTHENTICATE with no */
    /* what is not answered by the rig */
    bool hold_authenticate, hold_open, hold_begin, hold_attach, hold_detach;
    uint32_t credit;           /* for links that the peer attaches where we receive; 0: none */
    struct tf_bytes unsettled; /* in the answers to its attaches */
    rig_on_event *on_event;
    struct tf_amqp_session *session; /* the newest that was begun or accepted */
    struct tf_amqp_link *link;       /* the newest that was attached or accepted */
    struct tf_amqp_link **links;     /* in the order of their attaching; NULL: gone */
    unsigned link_count;
    unsigned needs, ended, detached, closed; /* how many of these events */
    struct tf_amqp_error error;              /* of the last of the latter three */
    void *user;
    void **memory; /* blocks to be freed at the end */
    size_t memory_count;
};

struct rig {
    enum rig_way way;
    uint64_t seed;
    tf_time now;
    size_t buffer_size; /* of both, but in RIG_TINY */
    struct rig_end client, server;
    void *user;
    bool cut;       /* the wire takes nothing: output stays in the machines */
    bool unchecked; /* invariants are not walked at each step */
};

/* ---- life ---- */

/*
 * Zeroes a rig and fills configs and opens with defaults: SASL none, frames of 4,096 bytes, 8
 * channels, 64 handles and links, windows of 16, 64 unsettled, no time-outs. Change them, then
 * start.
 */
void rig_init(struct rig *rig, enum rig_way way);

/* A config with room for everything. */
struct tf_amqp_config rig_config(void);

/* Makes the machine of an end, and lends its buffer. */
void rig_start(struct rig *rig, struct rig_end *end);

/* Both machines, joined, until nothing moves: opened. */
void rig_pair(struct rig *rig);

/*
 * For tests of deliveries: both machines, opened, and a session of the client's. The rig is zero
 * but for what is to be other than usual: configs (by default rig_config), seed, user, on_event.
 * The ends are quiet, and free what the machines are done with.
 */
void rig_join(struct rig *rig, enum rig_way way, size_t buffer_size);

/* A server against a raw client: header and open exchanged, wire and log cleared. */
void rig_raw_client(struct rig *rig);

/* A client against a raw server: likewise. */
void rig_raw_server(struct rig *rig);

/* Frees all. Abandons the machines first: every owner must be returned. */
void rig_release(struct rig *rig);

/* A block that is freed with the rig, if not before. */
void *rig_alloc(struct rig_end *end, size_t size);

/* ---- motion ---- */

/* Moves bytes and answers events until nothing moves. */
void rig_run(struct rig *rig);

/* Pulls the events of one end; true: there were some. */
bool rig_pull(struct rig *rig, struct rig_end *end);

/* The steps of rig_run: bytes move from an end to the other, which does not look at them yet; an
 * end takes what has arrived, and its events are pulled. True: something has happened. */
bool rig_flush(struct rig *rig, struct rig_end *end);
bool rig_take(struct rig *rig, struct rig_end *end);

/* Bytes arrive at an end. */
void rig_arrive(struct rig_end *end, const void *bytes, size_t length);

/* Time passes, in milliseconds; tick when it is due. Then as rig_run. */
void rig_sleep(struct rig *rig, uint32_t ms);

/* ---- the application's part ---- */

/* Begins a session at an end; attaches a link. Both run the rig; NEEDS are answered. */
struct tf_amqp_session *rig_begin(struct rig *rig, struct rig_end *end);
struct tf_amqp_link *rig_attach(struct rig *rig, struct rig_end *end,
                                struct tf_amqp_session *session, const char *name,
                                enum tf_amqp_role role, const char *address);

/* Attaches a link of the client's of the session of rig_join; its place in `links` of both. */
unsigned rig_line(struct rig *rig, enum tf_amqp_role role, enum tf_amqp_rcv_settle_mode mode);

/* The place of a link in the end's `links`. */
unsigned rig_index(const struct rig_end *end, const struct tf_amqp_link *link);

/* ---- a raw peer ---- */

/* Sends bytes in hexadecimal; a frame; a transfer with a payload. Then as rig_run. */
void rig_send_hex(struct rig *rig, const char *hex);
void rig_send(struct rig *rig, uint16_t channel, const struct tf_amqp_performative *performative);
void rig_send_payload(struct rig *rig, uint16_t channel,
                      const struct tf_amqp_performative *performative, struct tf_bytes payload);

/* Short forms of frames. */
void rig_send_begin(struct rig *rig, uint16_t channel, int remote_channel);
void rig_send_attach(struct rig *rig, uint16_t channel, const char *name, uint32_t handle,
                     enum tf_amqp_role role, const char *address);
void rig_send_detach(struct rig *rig, uint16_t channel, uint32_t handle, bool closed);
void rig_send_end(struct rig *rig, uint16_t channel);
void rig_send_close(struct rig *rig);

/* ---- what is expected ---- */

/* The log of events at an end since the last call is exactly `lines`; clear: forgets it. */
void rig_expect(struct rig_end *end, const char *lines);
void rig_clear(struct rig_end *end);

/* The same for frames that a raw peer has received. */
void rig_expect_frames(struct rig *rig, const char *lines);

/* The machine has nothing unsent and no owner to return. */
void rig_expect_idle(struct rig_end *end);

/* The machine is closing with this condition. */
void rig_expect_closing(const struct rig_end *end, enum tf_amqp_condition condition);
void rig_expect_open(const struct rig_end *end);

/* Bytes of hexadecimal digits (spaces between are skipped); the count. */
size_t rig_hex(const char *hex, uint8_t *ret, size_t length);

#endif
