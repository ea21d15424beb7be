/*
 * What the files of the client's machine share.
 */
#ifndef TF_MQTT_CLIENT_H
#define TF_MQTT_CLIENT_H

#include <trefoil/mqtt_client.h>

#include "mqtt/conn.h"

struct tf_mqtt_client {
    struct tf_mqtt_conn conn;
    const struct tf_mqtt_client_config *config;
    tf_time spoken;        /* when output was last sent */
    tf_time pinged;        /* when PINGREQ was written; TF_TIME_NEVER: none is unanswered */
    uint64_t answered;     /* handle of the request whose answer is in the slot */
    uint16_t keep_alive_s; /* in force */
    uint16_t losing;       /* the id at which LOST events are; 0: none are due */
    uint8_t requests;      /* SUBSCRIBE and UNSUBSCRIBE without an answer */
    uint8_t maximum_qos;   /* the server's, from here on */
    bool retain_available;
    bool wildcard_available;
    bool identifier_available;
    bool shared_available;
    bool ping_due; /* PINGREQ waits for room */
    bool lose_all; /* the server has no session: not only requests are lost */
};

/* --- client_connect.c
 * ------------------------------------------------------------------------------ */

/* Writes CONNECT to the buffer just lent. TF_NO_MEMORY: it does not fit. */
enum tf_err tf_mqtt_client_put_connect(struct tf_mqtt_client *client);

/* Take CONNACK and DISCONNECT. */
enum tf_err tf_mqtt_client_on_connack(struct tf_mqtt_client *client,
                                      const struct tf_mqtt_frame *frame);
enum tf_err tf_mqtt_client_on_disconnect(struct tf_mqtt_client *client,
                                         const struct tf_mqtt_frame *frame);

/* The next delivery or request that is lost, its handle in *ret; false: no more. */
bool tf_mqtt_client_lose(struct tf_mqtt_client *client, uint64_t *ret);

/* --- client_subscribe.c
 * ---------------------------------------------------------------------------- */

/* Takes SUBACK and UNSUBACK. */
enum tf_err tf_mqtt_client_on_suback(struct tf_mqtt_client *client,
                                     const struct tf_mqtt_frame *frame);

#endif
