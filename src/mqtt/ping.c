/*
 * PINGREQ and PINGRESP (MQTT 5.0 3.12 and 3.13): a fixed header and nothing else.
 */
#include "mqtt/codec.h"

enum tf_err tf_mqtt_ping_read(const struct tf_mqtt_frame *frame, uint8_t *ret_reason)
{
    return frame->body.length ? tf_mqtt_reject(ret_reason, TF_MQTT_MALFORMED_PACKET) : TF_OK;
}

void tf_mqtt_ping_write(struct tf_writer *writer, unsigned type)
{
    tf_mqtt_put_start(writer, type << 4, 0, 0);
}
