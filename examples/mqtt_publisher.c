/*
 * Publishes one message and leaves when the broker has acknowledged it:
 *
 *     example-mqtt_publisher HOST PORT TOPIC MESSAGE [QOS]
 *
 * Everything is static: the machine, the session's table of packet ids, the output buffer, the
 * input buffer. The library allocates nothing and calls nothing.
 */
#include <stdlib.h>

#include "tcp.h"

#define IN_FLIGHT 4

static uint64_t memory[TF_MQTT_CLIENT_SIZE / 8];
static uint64_t sent_ids[TF_MQTT_SENT_SIZE(IN_FLIGHT) / 8];
static uint8_t output[1024];
static struct tf_mqtt_session session;
static struct tcp tcp;

/* Publishes when connected, says goodbye when that has been acknowledged; false: it went wrong. */
static bool on_event(struct tf_mqtt_client *client, const struct tf_mqtt_client_event *event,
                     const struct tf_mqtt_delivery *message)
{
    enum tf_err err;

    switch (event->type) {
    case TF_MQTT_CLIENT_CONNECTED:
        err = tf_mqtt_client_publish(client, message, NULL);
        if (err) {
            fprintf(stderr, "cannot publish: %s\n", tf_err_name(err));
            return false;
        }
        if (message->qos == 0)
            tf_mqtt_client_disconnect(client, TF_MQTT_SUCCESS);
        return true;
    case TF_MQTT_CLIENT_SETTLED:
        if (event->reason >= TF_MQTT_UNSPECIFIED_ERROR)
            fprintf(stderr, "not accepted: %s\n", tf_mqtt_reason_name(event->reason));
        tf_mqtt_client_disconnect(client, TF_MQTT_SUCCESS);
        return event->reason < TF_MQTT_UNSPECIFIED_ERROR;
    case TF_MQTT_CLIENT_REFUSED:
    case TF_MQTT_CLIENT_DISCONNECT:
        fprintf(stderr, "the broker says: %s\n", tf_mqtt_reason_name(event->reason));
        return false;
    default:
        return true;
    }
}

/* The loop; true if the message was published. */
static bool run(struct tf_mqtt_client *client, const struct tf_mqtt_delivery *message)
{
    struct tf_mqtt_client_event event;
    bool open = true, done = true;

    while (open && !(tf_mqtt_client_closing(client, NULL) &&
                     tf_mqtt_client_output(client, &(struct tf_bytes){0}, 1) == 0)) {
        open = tcp_write(&tcp, client) && tcp_wait(&tcp, client, tf_mqtt_client_deadline(client));
        tf_mqtt_client_tick(client, tcp_now());
        while (tcp_feed(&tcp, client)) {
            while (tf_mqtt_client_event(client, &event))
                done &= on_event(client, &event, message);
        }
        open = open && tcp_write(&tcp, client);
    }
    return open && done;
}

int main(int argc, char **argv)
{
    struct tf_mqtt_client_config config = {
        .features = TF_MQTT_CLIENT_ALL,
        .connect = {.version = TF_MQTT_5, .clean_start = true, .keep_alive_s = 30},
        .session = &session,
        .max_packet_size = TCP_INPUT_MAX,
        .connack_timeout_ms = 10000,
        .ping_timeout_ms = 10000,
        .receive_maximum = 1,
        .max_in_flight = IN_FLIGHT,
    };
    struct tf_mqtt_delivery message = {.body_count = 1};
    struct tf_mqtt_client *client;
    struct tf_bytes body;
    void *old;

    if (argc < 5 || argc > 6) {
        fprintf(stderr, "usage: %s HOST PORT TOPIC MESSAGE [QOS]\n", argv[0]);
        return 2;
    }
    body = tf_bytes_str(argv[4]);
    message.topic = tf_bytes_str(argv[3]);
    message.body = &body;
    message.qos = argc > 5 ? (uint8_t)atoi(argv[5]) : 1;
    tf_mqtt_session_init(&session);
    if (message.qos > 2 || !tf_mqtt_topic_valid(message.topic) ||
        tf_mqtt_session_give_sent(&session, sent_ids, sizeof sent_ids, &old) ||
        tf_mqtt_client_init(&client, memory, sizeof memory, &config, tcp_now()) ||
        tf_mqtt_client_lend(client, output, sizeof output)) {
        fprintf(stderr, "no such topic or QoS\n");
        return 2;
    }
    if (!tcp_open(&tcp, argv[1], argv[2]))
        return 3;
    return run(client, &message) ? 0 : 5;
}
