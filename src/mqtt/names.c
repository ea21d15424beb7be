/*
 * Packet types and reason codes by name, and which codes may stand in which packet (MQTT 5.0 2.4).
 */
#include "mqtt/codec.h"

const char *tf_mqtt_type_name(unsigned type)
{
    static const char *const names[16] = {
        "RESERVED", "CONNECT",  "CONNACK",    "PUBLISH", "PUBACK",      "PUBREC",
        "PUBREL",   "PUBCOMP",  "SUBSCRIBE",  "SUBACK",  "UNSUBSCRIBE", "UNSUBACK",
        "PINGREQ",  "PINGRESP", "DISCONNECT", "AUTH",
    };

    return names[type < 16 ? type : 0];
}

/* One code: its name, and bit t for a packet of type t that may have it. */
struct reason {
    uint8_t code;
    uint16_t packets;
    const char *name;
};

#define IN(type) (1u << TF_MQTT_##type)
#define IN_PUB (IN(PUBACK) | IN(PUBREC))
#define IN_REL (IN(PUBREL) | IN(PUBCOMP))
#define IN_SUB (IN(SUBACK) | IN(UNSUBACK))
#define IN_ENDS (IN(CONNACK) | IN(DISCONNECT))

/* The codes from 0x80 up, which have no gaps; those below it follow in reason_of. */
static const struct reason failures[] = {
    {0x80, IN_ENDS | IN_PUB | IN_SUB, "Unspecified error"},
    {0x81, IN_ENDS, "Malformed Packet"},
    {0x82, IN_ENDS, "Protocol Error"},
    {0x83, IN_ENDS | IN_PUB | IN_SUB, "Implementation specific error"},
    {0x84, IN(CONNACK), "Unsupported Protocol Version"},
    {0x85, IN(CONNACK), "Client Identifier not valid"},
    {0x86, IN(CONNACK), "Bad User Name or Password"},
    {0x87, IN_ENDS | IN_PUB | IN_SUB, "Not authorized"},
    {0x88, IN(CONNACK), "Server unavailable"},
    {0x89, IN_ENDS, "Server busy"},
    {0x8A, IN(CONNACK), "Banned"},
    {0x8B, IN(DISCONNECT), "Server shutting down"},
    {0x8C, IN_ENDS, "Bad authentication method"},
    {0x8D, IN(DISCONNECT), "Keep Alive timeout"},
    {0x8E, IN(DISCONNECT), "Session taken over"},
    {0x8F, IN_SUB | IN(DISCONNECT), "Topic Filter invalid"},
    {0x90, IN_ENDS | IN_PUB, "Topic Name invalid"},
    {0x91, IN_PUB | IN_SUB, "Packet Identifier in use"},
    {0x92, IN_REL, "Packet Identifier not found"},
    {0x93, IN(DISCONNECT), "Receive Maximum exceeded"},
    {0x94, IN(DISCONNECT), "Topic Alias invalid"},
    {0x95, IN_ENDS, "Packet too large"},
    {0x96, IN(DISCONNECT), "Message rate too high"},
    {0x97, IN_ENDS | IN_PUB | IN(SUBACK), "Quota exceeded"},
    {0x98, IN(DISCONNECT), "Administrative action"},
    {0x99, IN_ENDS | IN_PUB, "Payload format invalid"},
    {0x9A, IN_ENDS, "Retain not supported"},
    {0x9B, IN_ENDS, "QoS not supported"},
    {0x9C, IN_ENDS, "Use another server"},
    {0x9D, IN_ENDS, "Server moved"},
    {0x9E, IN(SUBACK) | IN(DISCONNECT), "Shared Subscriptions not supported"},
    {0x9F, IN_ENDS, "Connection rate exceeded"},
    {0xA0, IN(DISCONNECT), "Maximum connect time"},
    {0xA1, IN(SUBACK) | IN(DISCONNECT), "Subscription Identifiers not supported"},
    {0xA2, IN(SUBACK) | IN(DISCONNECT), "Wildcard Subscriptions not supported"},
};

/* The codes below 0x80: few, and far apart. */
static const struct reason successes[] = {
    {0x00, IN_ENDS | IN_PUB | IN_REL | IN_SUB | IN(AUTH), "Success"},
    {0x01, IN(SUBACK), "Granted QoS 1"},
    {0x02, IN(SUBACK), "Granted QoS 2"},
    {0x04, IN(DISCONNECT), "Disconnect with Will Message"},
    {0x10, IN_PUB, "No matching subscribers"},
    {0x11, IN(UNSUBACK), "No subscription existed"},
    {0x18, IN(AUTH), "Continue authentication"},
    {0x19, IN(AUTH), "Re-authenticate"},
};

/* The entry of a code; NULL for those that do not exist. */
static const struct reason *reason_of(unsigned code)
{
    if (code >= 0x80) {
        size_t index = code - 0x80;

        return index < sizeof failures / sizeof *failures ? &failures[index] : NULL;
    }
    for (size_t i = 0; i < sizeof successes / sizeof *successes; i++) {
        if (successes[i].code == code)
            return &successes[i];
    }
    return NULL;
}

const char *tf_mqtt_reason_name(unsigned reason)
{
    const struct reason *entry = reason_of(reason);

    return entry ? entry->name : "Unknown";
}

bool tf_mqtt_reason_allowed(unsigned type, unsigned reason)
{
    const struct reason *entry = reason_of(reason);

    return entry && type <= TF_MQTT_AUTH && entry->packets >> type & 1;
}
