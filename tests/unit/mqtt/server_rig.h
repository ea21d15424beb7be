/*
 * A host for the server's machine in tests: it feeds bytes in one of four ways, answers events at
 * once unless it is told to hold answers back, keeps a log of events and all output, and checks the
 * machine's invariants after every step. What a test expects is the same for all four ways.
 */
#ifndef TESTS_MQTT_SERVER_RIG_H
#define TESTS_MQTT_SERVER_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <trefoil/mqtt_server.h>

/* How bytes go in and out. */
enum rig_way {
    RIG_WHOLE, /* all input at once, roomy output drained after every step */
    RIG_BYTES, /* one byte more at a time */
    RIG_SPLIT, /* split at random */
    RIG_TINY   /* the smallest output buffer, drained by one byte and only when nothing else goes */
};

struct rig {
    enum rig_way way;
    uint64_t seed;
    struct tf_mqtt_server_config config;
    struct tf_mqtt_server *server;
    struct tf_mqtt_session session;
    tf_time now;
    size_t buffer_size; /* of the lent buffer; 0: as the way says */

    /* How events are answered. */
    uint8_t refuse;         /* CONNECT with this, if not 0 */
    enum tf_err accept_err; /* of tf_mqtt_server_accept */
    bool session_present;
    uint32_t expiry_s;      /* in force; UINT32_MAX - 1: as asked for */
    const char *assigned;   /* client id */
    uint8_t publish_reason; /* of published */
    uint8_t subscribe_reason;
    bool hold_published, hold_release, hold_complete, hold_subscribed;
    bool deny_memory; /* NEEDS is answered by closing */

    char log[65536]; /* a line for each event */
    size_t log_length;
    uint8_t *out; /* everything that was sent and not looked at yet */
    size_t out_length;
    uint8_t *body; /* of the PUBLISH under way */
    size_t body_length;
    char publish_head[512];
    uint8_t publish_qos;
    uint16_t publish_id;
    void *parts[5];  /* PENDING and ALIASES of the connection */
    size_t needs;    /* NEEDS events so far */
    enum tf_err err; /* of the last input */
    size_t left;     /* bytes of the last input that were not taken */
};

/* A rig with the defaults of a broker; `way` comes from the test's state. */
void rig_init(struct rig *rig, enum rig_way way);

/* Makes a new connection (the session stays). rig_init has made the first. */
void rig_connect_again(struct rig *rig);

/* Gives up the connection, its buffers and parts. */
void rig_disconnect(struct rig *rig);

/* Frees all; checks that nothing is left over. */
void rig_release(struct rig *rig);

/* Feeds packets in notation; rig->err and rig->left tell how it ended. */
void rig_send(struct rig *rig, const char *text);
void rig_send_bytes(struct rig *rig, struct tf_bytes bytes);

/* Pulls events and answers them; true if there was any. */
bool rig_pull(struct rig *rig);

/* Sends all output. */
void rig_drain(struct rig *rig);

/* Delivers `body` to `topic`; by reference when `owner` is not 0. */
enum tf_err rig_deliver(struct rig *rig, const char *topic, const char *body, uint8_t qos,
                        uint64_t handle, uint64_t owner);

/* The log since the last call is exactly `lines`. */
void rig_expect(struct rig *rig, const char *lines);

/* The output since the last call is exactly `text` in notation. */
void rig_expect_output(struct rig *rig, const char *text);

/* The output since the last call begins with `text`, and is forgotten. */
void rig_expect_output_begins(struct rig *rig, const char *text);

/* The machine is closing for `reason`. */
void rig_expect_closing(struct rig *rig, uint8_t reason);

/* CONNECT of 3.1.1 or 5.0 with client id `me`, answered, log and output cleared. */
void rig_handshake(struct rig *rig, unsigned version);

/* A test's entry for each of the four ways; the state is the way. */
extern enum rig_way rig_ways[4];
#define RIG_TESTS(test)                                    \
    {#test ", whole", test, NULL, NULL, &rig_ways[0]},     \
        {#test ", bytes", test, NULL, NULL, &rig_ways[1]}, \
        {#test ", split", test, NULL, NULL, &rig_ways[2]}, \
    {                                                      \
#test ", tiny", test, NULL, NULL, &rig_ways[3]     \
    }

#endif
