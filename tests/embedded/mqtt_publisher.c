/*
 * A sensor that publishes at QoS 0 and nothing else: counts up on `board/count`, is then silent
 * for longer than its keep-alive, says `over` and leaves.
 */
#include "stream.h"

#define COUNTS 3u
#define SILENCE (2500 * TF_MILLISECOND)

/* What the library is given; script/size adds up what is called ram_*. */
static uint64_t ram_machine[TF_MQTT_CLIENT_SIZE / 8];
static uint64_t ram_output[128 / 8];

static const struct tf_mqtt_client_config config = {
    .connect = {.version = TF_MQTT_3_1_1,
                .clean_start = true,
                .keep_alive_s = 1,
                .client_id = {(const uint8_t *)"board", 5}},
    .max_packet_size = 128,
    .connack_timeout_ms = 5000,
    .ping_timeout_ms = 5000,
};

static bool connected;

static void on_event(struct tf_mqtt_client *client, const struct tf_mqtt_client_event *event)
{
    (void)client;
    connected = event->type == TF_MQTT_CLIENT_CONNECTED;
}

/* Publishes one text. */
static bool publish(struct tf_mqtt_client *client, const char *text)
{
    struct tf_bytes body = tf_bytes_str(text);
    struct tf_mqtt_delivery delivery = {
        .topic = tf_bytes_str("board/count"), .body = &body, .body_count = 1};

    return tf_mqtt_client_publish(client, &delivery, NULL) == TF_OK;
}

void board_main(void)
{
    struct tf_mqtt_client *client;
    unsigned counted = 0;
    tf_time silent = TF_TIME_NEVER;
    char text[] = "0";

    stream_open();
    client = stream_client(&config, ram_machine, sizeof ram_machine, ram_output, sizeof ram_output);
    while (client && stream_turn(client, on_event)) {
        text[0] = (char)('0' + counted);
        if (connected && counted < COUNTS && publish(client, text) && ++counted == COUNTS)
            silent = tf_time_add(board_now(), SILENCE);
        if (board_now() >= silent && publish(client, "over"))
            tf_mqtt_client_disconnect(client, 0);
    }
    for (;;)
        board_wait();
}
