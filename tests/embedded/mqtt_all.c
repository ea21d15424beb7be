/*
 * An MQTT client with everything: subscribes to `board/in` at QoS 2 and publishes what comes there
 * to `board/out` at the QoS that it came with; leaves after `over`.
 */
#include "stream.h"

#define IN_FLIGHT 4u
#define ALIASES 2u
#define ALIAS_BYTES 32u

/* What the library is given; script/size adds up what is called ram_*. */
static uint64_t ram_machine[TF_MQTT_CLIENT_SIZE / 8];
static uint64_t ram_output[512 / 8];
static uint64_t ram_sent[TF_MQTT_SENT_SIZE(IN_FLIGHT) / 8];
static uint64_t ram_received[TF_MQTT_RECEIVED_SIZE(IN_FLIGHT) / 8];
static uint64_t ram_pending[TF_MQTT_PENDING_SIZE(IN_FLIGHT) / 8];
static uint64_t ram_aliases[TF_MQTT_ALIASES_SIZE(ALIASES, ALIAS_BYTES) / 8];
static struct tf_mqtt_session ram_session;

static const struct tf_mqtt_client_config config = {
    .features = TF_MQTT_CLIENT_ALL,
    .connect = {.version = TF_MQTT_5,
                .clean_start = true,
                .keep_alive_s = 30,
                .client_id = {(const uint8_t *)"board", 5}},
    .session = &ram_session,
    .max_packet_size = 256,
    .topic_alias_bytes = ALIAS_BYTES,
    .connack_timeout_ms = 5000,
    .ping_timeout_ms = 5000,
    .receive_maximum = IN_FLIGHT,
    .topic_alias_maximum = ALIASES,
    .max_in_flight = IN_FLIGHT,
};

static bool over;
static unsigned unsettled;

/* Sends a message back. */
static void echo(struct tf_mqtt_client *client, const struct tf_mqtt_publish *publish)
{
    struct tf_mqtt_delivery delivery = {.topic = tf_bytes_str("board/out"),
                                        .body = &publish->payload,
                                        .body_count = 1,
                                        .qos = publish->qos};

    if (tf_mqtt_client_publish(client, &delivery, NULL))
        board_say("a message was not taken");
    else if (publish->qos > 0)
        unsettled++;
    if (tf_bytes_equal(publish->payload, tf_bytes_str("over")))
        over = true;
}

static void on_event(struct tf_mqtt_client *client, const struct tf_mqtt_client_event *event)
{
    struct tf_mqtt_subscription filter = {.filter = tf_bytes_str("board/in"), .qos = 2};

    switch (event->type) {
    case TF_MQTT_CLIENT_CONNECTED:
        if (tf_mqtt_client_subscribe(client, 1, &filter, 1, tf_bytes_of(NULL, 0)))
            board_say("cannot subscribe");
        break;
    case TF_MQTT_CLIENT_SUBSCRIBED:
        board_say("subscribed");
        break;
    case TF_MQTT_CLIENT_PUBLISH:
        echo(client, &event->publish);
        if (event->packet_id && tf_mqtt_client_ack(client, event->packet_id, 0))
            board_say("an acknowledgement was not taken");
        break;
    case TF_MQTT_CLIENT_SETTLED:
        unsettled--;
        break;
    case TF_MQTT_CLIENT_NEEDS:
        board_say("too little memory"); /* for all parts were given */
        break;
    default:
        break;
    }
    if (over && unsettled == 0)
        tf_mqtt_client_disconnect(client, 0);
}

/* Gives the client all of its parts. */
static bool give(struct tf_mqtt_client *client)
{
    void *old;

    return !tf_mqtt_client_give(client, TF_MQTT_PART_SENT, ram_sent, sizeof ram_sent, &old) &&
           !tf_mqtt_client_give(client, TF_MQTT_PART_RECEIVED, ram_received, sizeof ram_received,
                                &old) &&
           !tf_mqtt_client_give(client, TF_MQTT_PART_PENDING, ram_pending, sizeof ram_pending,
                                &old) &&
           !tf_mqtt_client_give(client, TF_MQTT_PART_ALIASES, ram_aliases, sizeof ram_aliases,
                                &old);
}

void board_main(void)
{
    struct tf_mqtt_client *client;

    stream_open();
    tf_mqtt_session_init(&ram_session);
    client = stream_client(&config, ram_machine, sizeof ram_machine, ram_output, sizeof ram_output);
    if (client && !give(client))
        board_say("too little memory");
    while (client && stream_turn(client, on_event))
        ;
    for (;;)
        board_wait();
}
