/*
 * Any packet of MQTT in one variable, with the codec's reader and writer for its type: what a test
 * or a fuzzer needs that walks over all types alike. No product code dispatches through it.
 */
#ifndef TF_TEST_ANY_PACKET_H
#define TF_TEST_ANY_PACKET_H

#include <trefoil/mqtt_packet.h>

struct any_packet {
    uint8_t type;
    uint8_t version;
    union {
        struct tf_mqtt_connect connect;
        struct tf_mqtt_connack connack;
        struct tf_mqtt_publish publish;
        struct tf_mqtt_ack ack;
        struct tf_mqtt_subscribe subscribe;
        struct tf_mqtt_unsubscribe unsubscribe;
        struct tf_mqtt_suback suback;
        struct tf_mqtt_disconnect disconnect;
        struct tf_mqtt_auth auth;
    };
};

/* Reads the packet in `frame`; what an AUTH below 5.0 gets is the machines' answer to it. */
static inline enum tf_err any_packet_read(const struct tf_mqtt_frame *frame, unsigned version,
                                          struct any_packet *ret, uint8_t *ret_reason)
{
    ret->type = frame->type;
    ret->version = (uint8_t)version;
    switch (frame->type) {
    case TF_MQTT_CONNECT: {
        enum tf_err err = tf_mqtt_connect_read(frame, &ret->connect, ret_reason);

        ret->version = ret->connect.version;
        return err;
    }
    case TF_MQTT_CONNACK:
        return tf_mqtt_connack_read(frame, version, &ret->connack, ret_reason);
    case TF_MQTT_PUBLISH:
        return tf_mqtt_publish_read(frame, version, &ret->publish, ret_reason);
    case TF_MQTT_SUBSCRIBE:
        return tf_mqtt_subscribe_read(frame, version, &ret->subscribe, ret_reason);
    case TF_MQTT_UNSUBSCRIBE:
        return tf_mqtt_unsubscribe_read(frame, version, &ret->unsubscribe, ret_reason);
    case TF_MQTT_SUBACK:
    case TF_MQTT_UNSUBACK:
        return tf_mqtt_suback_read(frame, version, &ret->suback, ret_reason);
    case TF_MQTT_PINGREQ:
    case TF_MQTT_PINGRESP:
        return tf_mqtt_ping_read(frame, ret_reason);
    case TF_MQTT_DISCONNECT:
        return tf_mqtt_disconnect_read(frame, version, &ret->disconnect, ret_reason);
    case TF_MQTT_AUTH:
        if (version >= TF_MQTT_5)
            return tf_mqtt_auth_read(frame, &ret->auth, ret_reason);
        *ret_reason = TF_MQTT_MALFORMED_PACKET;
        return TF_PROTOCOL;
    default:
        return tf_mqtt_ack_read(frame, version, &ret->ack, ret_reason);
    }
}

/* The length of what any_packet_write writes. */
static inline size_t any_packet_size(const struct any_packet *packet)
{
    switch (packet->type) {
    case TF_MQTT_CONNECT:
        return tf_mqtt_connect_size(&packet->connect);
    case TF_MQTT_CONNACK:
        return tf_mqtt_connack_size(&packet->connack, packet->version);
    case TF_MQTT_PUBLISH:
        return tf_mqtt_publish_size(&packet->publish, packet->version);
    case TF_MQTT_SUBSCRIBE:
        return tf_mqtt_subscribe_size(&packet->subscribe, packet->version);
    case TF_MQTT_UNSUBSCRIBE:
        return tf_mqtt_unsubscribe_size(&packet->unsubscribe, packet->version);
    case TF_MQTT_SUBACK:
    case TF_MQTT_UNSUBACK:
        return tf_mqtt_suback_size(&packet->suback, packet->version);
    case TF_MQTT_PINGREQ:
    case TF_MQTT_PINGRESP:
        return 2;
    case TF_MQTT_DISCONNECT:
        return tf_mqtt_disconnect_size(&packet->disconnect, packet->version);
    case TF_MQTT_AUTH:
        return tf_mqtt_auth_size(&packet->auth);
    default:
        return tf_mqtt_ack_size(&packet->ack, packet->version);
    }
}

/* Writes it. */
static inline void any_packet_write(struct tf_writer *writer, const struct any_packet *packet)
{
    switch (packet->type) {
    case TF_MQTT_CONNECT:
        tf_mqtt_connect_write(writer, &packet->connect);
        break;
    case TF_MQTT_CONNACK:
        tf_mqtt_connack_write(writer, &packet->connack, packet->version);
        break;
    case TF_MQTT_PUBLISH:
        tf_mqtt_publish_write(writer, &packet->publish, packet->version);
        break;
    case TF_MQTT_SUBSCRIBE:
        tf_mqtt_subscribe_write(writer, &packet->subscribe, packet->version);
        break;
    case TF_MQTT_UNSUBSCRIBE:
        tf_mqtt_unsubscribe_write(writer, &packet->unsubscribe, packet->version);
        break;
    case TF_MQTT_SUBACK:
    case TF_MQTT_UNSUBACK:
        tf_mqtt_suback_write(writer, &packet->suback, packet->version);
        break;
    case TF_MQTT_PINGREQ:
    case TF_MQTT_PINGRESP:
        tf_mqtt_ping_write(writer, packet->type);
        break;
    case TF_MQTT_DISCONNECT:
        tf_mqtt_disconnect_write(writer, &packet->disconnect, packet->version);
        break;
    case TF_MQTT_AUTH:
        tf_mqtt_auth_write(writer, &packet->auth);
        break;
    default:
        tf_mqtt_ack_write(writer, &packet->ack, packet->version);
        break;
    }
}

#endif
