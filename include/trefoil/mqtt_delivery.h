/*
 * A message on its way out of a connection, and the parts of memory that client and server alike
 * ask for on the way. One description for both machines, because PUBLISH is the same both ways.
 */
#ifndef TREFOIL_MQTT_DELIVERY_H
#define TREFOIL_MQTT_DELIVERY_H

#include <trefoil/mqtt.h>

/* A message for the peer. Everything is read during the call, but for a body taken by reference. */
struct tf_mqtt_delivery {
    uint64_t handle;             /* the caller's name for it in later events (QoS 1 and 2) */
    uint64_t owner;              /* names the body for RETURNED; 0: copy the body in any case */
    struct tf_bytes topic;       /* valid by 4.7.3 */
    struct tf_bytes properties;  /* 5.0 application properties, checked, without those below */
    const struct tf_bytes *body; /* spans of the payload */
    size_t body_count;
    const uint32_t *subscription_ids; /* a server's only */
    size_t subscription_id_count;
    bool has_expiry;
    uint32_t expiry_s; /* what is left of it */
    uint8_t qos;
    bool retain;
};

/* Memory that a connection needs beyond its first part, asked for by a NEEDS event. */
enum tf_mqtt_part {
    TF_MQTT_PART_SENT = 1, /* the session's outbound table: a delivery above QoS 0 waits for it */
    TF_MQTT_PART_RECEIVED, /* the session's inbound table: a QoS 2 PUBLISH waits for it */
    TF_MQTT_PART_PENDING,  /* room for more PUBLISHes that are not yet answered */
    TF_MQTT_PART_ALIASES   /* topics of the peer's topic aliases */
};

#endif
