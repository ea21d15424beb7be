/*
 * A host for the client's machine in tests, as server_rig.h is one for the server's: bytes in one
 * of four ways, events answered at once or held back, a log, all output, invariants after every
 * step.
 */
#ifndef TESTS_MQTT_CLIENT_RIG_H
#define TESTS_MQTT_CLIENT_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <trefoil/mqtt_client.h>

#include "server_rig.h"

struct client_rig {
    enum rig_way way;
    uint64_t seed;
    struct tf_mqtt_client_config config;
    struct tf_mqtt_client *client;
    struct tf_mqtt_session session;
    tf_time now;
    size_t buffer_size;
    bool hold_ack;
    uint8_t ack_reason;

    char log[65536];
    size_t log_length;
    uint8_t *out;
    size_t out_length;
    uint8_t *body;
    size_t body_length;
    char publish_head[512];
    uint8_t publish_qos;
    uint16_t publish_id;
    void *parts[5];
    enum tf_err err;
    size_t left;
};

/* A rig with the defaults of a client named `me`; not connected yet, so the config may be changed.
 */
void client_rig_init(struct client_rig *rig, enum rig_way way, unsigned version);

/* Makes a connection and lends its buffer: CONNECT goes out. */
void client_rig_connect(struct client_rig *rig);

/* The same, CONNACK without properties arrives, log and output are cleared. */
void client_rig_handshake(struct client_rig *rig);

/* Gives up the connection; the session stays. */
void client_rig_disconnect(struct client_rig *rig);

/* Frees all. */
void client_rig_release(struct client_rig *rig);

/* Feeds packets in notation. */
void client_rig_send(struct client_rig *rig, const char *text);

/* Pulls events; sends all output. */
bool client_rig_pull(struct client_rig *rig);
void client_rig_drain(struct client_rig *rig);

/* Publishes `body` to `topic`; by reference when `owner` is not 0. */
enum tf_err client_rig_publish(struct client_rig *rig, const char *topic, const char *body,
                               uint8_t qos, uint64_t handle, uint64_t owner);

/* Subscribes to one filter. */
enum tf_err client_rig_subscribe(struct client_rig *rig, const char *filter, uint8_t qos,
                                 uint64_t handle);

/* The log, or the output, since the last call is exactly that. */
void client_rig_expect(struct client_rig *rig, const char *lines);
void client_rig_expect_output(struct client_rig *rig, const char *text);
void client_rig_expect_closing(struct client_rig *rig, uint8_t reason);

#endif
