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

/* True if the session may be that of this connection: a clean start has an empty one. */
static inline bool tf_mqtt_client_session_fits(const struct tf_mqtt_client_config *config)
{
    return !config->connect.clean_start ||
           (config->session->sent_count == 0 && config->session->received_count == 0);
}

/* --- client_connect.c
 * ------------------------------------------------------------------------------ */

/*
 * Writes CONNECT to the buffer just lent, whose last `reserved` bytes it leaves alone.
 * TF_NO_MEMORY: it does not fit.
 */
enum tf_err tf_mqtt_client_write_connect(struct tf_mqtt_client *client,
                                         const struct tf_mqtt_connect *connect, size_t reserved);

/* Takes CONNACK. */
enum tf_err tf_mqtt_client_on_connack(struct tf_mqtt_client *client,
                                      const struct tf_mqtt_frame *frame);

/* --- client_event.c
 * -------------------------------------------------------------------------------- */

/* Tells what does not wait in the slot: of the parts receiving and reliable. */
bool tf_mqtt_client_next(struct tf_mqtt_client *client, struct tf_mqtt_client_event *ret);

/* --- client_subscribe.c
 * ---------------------------------------------------------------------------- */

/* Takes SUBACK and UNSUBACK. */
enum tf_err tf_mqtt_client_on_suback(struct tf_mqtt_client *client,
                                     const struct tf_mqtt_frame *frame);

#endif
