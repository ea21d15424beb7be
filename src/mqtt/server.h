/*
 * What the files of the server's machine share.
 */
#ifndef TF_MQTT_SERVER_H
#define TF_MQTT_SERVER_H

#include <trefoil/mqtt_server.h>

#include "mqtt/conn.h"

/* SUBSCRIBEs and UNSUBSCRIBEs that may be unanswered at once. */
#define TF_MQTT_SERVER_ANSWERS 16u

struct tf_mqtt_server {
    struct tf_mqtt_conn conn;
    const struct tf_mqtt_server_config *config;
    uint32_t asked_expiry_s;   /* of the session, as CONNECT had it */
    uint32_t session_expiry_s; /* in force */
    uint16_t keep_alive_s;     /* in force; 0: none */
    uint16_t asked_keep_alive_s;
    uint8_t answers; /* SUBSCRIBE and UNSUBSCRIBE that the caller has not answered */
};

/* server_connect.c: take CONNECT and DISCONNECT. */
enum tf_err tf_mqtt_server_on_connect(struct tf_mqtt_server *server,
                                      const struct tf_mqtt_frame *frame);
enum tf_err tf_mqtt_server_on_disconnect(struct tf_mqtt_server *server,
                                         const struct tf_mqtt_frame *frame);

/* server_subscribe.c: take SUBSCRIBE and UNSUBSCRIBE. */
enum tf_err tf_mqtt_server_on_subscribe(struct tf_mqtt_server *server,
                                        const struct tf_mqtt_frame *frame);
enum tf_err tf_mqtt_server_on_unsubscribe(struct tf_mqtt_server *server,
                                          const struct tf_mqtt_frame *frame);

#endif
