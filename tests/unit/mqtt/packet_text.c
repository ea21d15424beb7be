/*
 * A packet as lines of text. It goes through the public cursors only.
 */
#include "packet_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Appends what fits; a test that needs more must not pass. */
__attribute__((format(printf, 2, 3))) static void add(char *text, const char *format, ...)
{
    size_t length = strlen(text);
    va_list arguments;

    va_start(arguments, format);
    int count = vsnprintf(text + length, PACKET_TEXT_MAX - length, format, arguments);
    va_end(arguments);
    if (count < 0 || (size_t)count >= PACKET_TEXT_MAX - length)
        abort();
}

/* Appends bytes, escaped; a long run of one byte as <HH*count>. */
static void add_bytes(char *text, struct tf_bytes bytes)
{
    for (size_t i = 0, run; i < bytes.length; i += run) {
        uint8_t byte = bytes.data[i];

        for (run = 1; i + run < bytes.length && bytes.data[i + run] == byte;)
            run++;
        if (run > 24) {
            add(text, "<%02x*%zu>", byte, run);
            continue;
        }
        run = 1;
        if (byte < 0x20 || byte > 0x7e || byte == '\\' || byte == '<')
            add(text, "\\x%02x", byte);
        else
            add(text, "%c", byte);
    }
}

/* Appends a line with bytes. */
static void add_field(char *text, const char *name, struct tf_bytes value)
{
    add(text, "%s=", name);
    add_bytes(text, value);
    add(text, "\n");
}

const char *packet_text_property(unsigned id)
{
    static const char *const names[] = {
        [1] = "payload-format",       [2] = "message-expiry",
        [3] = "content-type",         [8] = "response-topic",
        [9] = "correlation-data",     [11] = "subscription-id",
        [17] = "session-expiry",      [18] = "assigned-client-id",
        [19] = "server-keep-alive",   [21] = "authentication-method",
        [22] = "authentication-data", [23] = "request-problem-info",
        [24] = "will-delay",          [25] = "request-response-info",
        [26] = "response-info",       [28] = "server-reference",
        [31] = "reason-string",       [33] = "receive-maximum",
        [34] = "topic-alias-maximum", [35] = "topic-alias",
        [36] = "maximum-qos",         [37] = "retain-available",
        [38] = "user-property",       [39] = "maximum-packet-size",
        [40] = "wildcard-available",  [41] = "subscription-id-available",
        [42] = "shared-available",
    };

    return id < sizeof names / sizeof *names ? names[id] : NULL;
}

/* Appends a section, each name behind `prefix`. */
static void add_properties(char *text, const char *prefix, struct tf_bytes section)
{
    static const uint8_t text_ids[] = {3, 8, 9, 18, 21, 22, 26, 28, 31};
    struct tf_mqtt_property_cursor cursor = {section, 0};
    struct tf_mqtt_property property;

    while (tf_mqtt_property_next(&cursor, &property)) {
        add(text, "%s%s=", prefix, packet_text_property(property.id));
        if (property.id == TF_MQTT_USER_PROPERTY) {
            add_bytes(text, property.name);
            add(text, ":");
            add_bytes(text, property.value);
        } else if (memchr(text_ids, property.id, sizeof text_ids)) {
            add_bytes(text, property.value);
        } else {
            add(text, "%u", (unsigned)property.number);
        }
        add(text, "\n");
    }
}

/* CONNECT */
static void add_connect(char *text, const struct tf_mqtt_connect *packet)
{
    add(text, "version=%u\nclean-start=%d\nkeep-alive=%u\n", packet->version, packet->clean_start,
        packet->keep_alive_s);
    add_properties(text, "", packet->properties);
    add_field(text, "client-id", packet->client_id);
    if (packet->has_will) {
        add(text, "will-qos=%u\nwill-retain=%d\n", packet->will.qos, packet->will.retain);
        add_properties(text, "will.", packet->will.properties);
        add_field(text, "will-topic", packet->will.topic);
        add_field(text, "will-payload", packet->will.payload);
    }
    if (packet->has_user_name)
        add_field(text, "user-name", packet->user_name);
    if (packet->has_password)
        add_field(text, "password", packet->password);
}

/* PUBLISH */
static void add_publish(char *text, const struct tf_mqtt_publish *packet)
{
    add(text, "dup=%d\nqos=%u\nretain=%d\n", packet->dup, packet->qos, packet->retain);
    add_field(text, "topic", packet->topic);
    if (packet->qos)
        add(text, "packet-id=%u\n", packet->packet_id);
    add_properties(text, "", packet->properties);
    add_field(text, "payload", packet->payload);
}

/* SUBSCRIBE */
static void add_subscribe(char *text, const struct any_packet *packet)
{
    struct tf_mqtt_subscription filter;
    size_t offset = 0;

    add(text, "packet-id=%u\n", packet->subscribe.packet_id);
    add_properties(text, "", packet->subscribe.properties);
    while (tf_mqtt_subscription_next(packet->subscribe.payload, &offset, &filter)) {
        add_field(text, "filter", filter.filter);
        add(text, "options=qos %u", filter.qos);
        if (packet->version >= TF_MQTT_5)
            add(text, ", no local %d, as published %d, handling %u", filter.no_local,
                filter.retain_as_published, filter.retain_handling);
        add(text, "\n");
    }
}

/* UNSUBSCRIBE */
static void add_unsubscribe(char *text, const struct tf_mqtt_unsubscribe *packet)
{
    struct tf_bytes filter;
    size_t offset = 0;

    add(text, "packet-id=%u\n", packet->packet_id);
    add_properties(text, "", packet->properties);
    while (tf_mqtt_filter_next(packet->payload, &offset, &filter))
        add_field(text, "filter", filter);
}

/* SUBACK and UNSUBACK */
static void add_suback(char *text, const struct tf_mqtt_suback *packet)
{
    add(text, "packet-id=%u\n", packet->packet_id);
    add_properties(text, "", packet->properties);
    for (size_t i = 0; i < packet->reasons.length; i++)
        add(text, "reason=0x%02x\n", packet->reasons.data[i]);
}

void packet_text(char *text, const struct any_packet *packet)
{
    *text = 0;
    add(text, "type=%s\n", tf_mqtt_type_name(packet->type));
    switch (packet->type) {
    case TF_MQTT_CONNECT:
        add_connect(text, &packet->connect);
        break;
    case TF_MQTT_CONNACK:
        add(text, "session-present=%d\nreason=0x%02x\n", packet->connack.session_present,
            packet->connack.reason);
        add_properties(text, "", packet->connack.properties);
        break;
    case TF_MQTT_PUBLISH:
        add_publish(text, &packet->publish);
        break;
    case TF_MQTT_SUBSCRIBE:
        add_subscribe(text, packet);
        break;
    case TF_MQTT_UNSUBSCRIBE:
        add_unsubscribe(text, &packet->unsubscribe);
        break;
    case TF_MQTT_SUBACK:
    case TF_MQTT_UNSUBACK:
        add_suback(text, &packet->suback);
        break;
    case TF_MQTT_PINGREQ:
    case TF_MQTT_PINGRESP:
        break;
    case TF_MQTT_DISCONNECT:
        add(text, "reason=0x%02x\n", packet->disconnect.reason);
        add_properties(text, "", packet->disconnect.properties);
        break;
    case TF_MQTT_AUTH:
        add(text, "reason=0x%02x\n", packet->auth.reason);
        add_properties(text, "", packet->auth.properties);
        break;
    default:
        add(text, "packet-id=%u\nreason=0x%02x\n", packet->ack.packet_id, packet->ack.reason);
        add_properties(text, "", packet->ack.properties);
    }
}
