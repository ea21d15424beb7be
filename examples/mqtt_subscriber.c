/*
 * Prints what is published to a filter, one line a message, until it is interrupted or COUNT
 * messages have come:
 *
 *     example-mqtt_subscriber HOST PORT FILTER [QOS [COUNT]]
 *
 * Everything is static, as in mqtt_publisher.c; bodies larger than the input buffer come in runs.
 */
#include <stdlib.h>

#include "tcp.h"

#define MESSAGES 8 /* that may be unacknowledged at once */

static uint64_t memory[TF_MQTT_CLIENT_SIZE / 8];
static uint64_t sent_ids[TF_MQTT_SENT_SIZE(TF_MQTT_CLIENT_REQUESTS) / 8];
static uint64_t received_ids[TF_MQTT_RECEIVED_SIZE(MESSAGES) / 8];
static uint64_t pending[TF_MQTT_PENDING_SIZE(MESSAGES) / 8];
static uint8_t output[1024];
static struct tf_mqtt_session session;
static struct tcp tcp;

static struct tf_mqtt_subscription subscription;
static uint16_t packet_id; /* of the message whose body is arriving; 0: QoS 0 */
static long left;          /* messages to come; -1: no limit */

/* Prints a run of a body; acknowledges the message at its end. */
static bool on_body(struct tf_mqtt_client *client, struct tf_bytes run, size_t payload_left)
{
    fwrite(run.data, 1, run.length, stdout);
    if (payload_left > 0)
        return true;
    putchar('\n');
    fflush(stdout);
    if (packet_id && tf_mqtt_client_ack(client, packet_id, TF_MQTT_SUCCESS))
        return false;
    if (left > 0 && --left == 0)
        tf_mqtt_client_disconnect(client, TF_MQTT_SUCCESS);
    return true;
}

/* False: it went wrong. */
static bool on_event(struct tf_mqtt_client *client, const struct tf_mqtt_client_event *event)
{
    struct tf_bytes none = {0};

    switch (event->type) {
    case TF_MQTT_CLIENT_CONNECTED:
        return !tf_mqtt_client_subscribe(client, 1, &subscription, 1, none);
    case TF_MQTT_CLIENT_SUBSCRIBED:
        fprintf(stderr, "subscribed: %s\n", tf_mqtt_reason_name(event->reasons.data[0]));
        return event->reasons.data[0] < TF_MQTT_UNSPECIFIED_ERROR;
    case TF_MQTT_CLIENT_PUBLISH:
        packet_id = event->publish.packet_id;
        printf("%.*s ", (int)event->publish.topic.length, (const char *)event->publish.topic.data);
        return on_body(client, event->publish.payload, event->payload_left);
    case TF_MQTT_CLIENT_BODY:
        return on_body(client, event->body, event->payload_left);
    case TF_MQTT_CLIENT_REFUSED:
    case TF_MQTT_CLIENT_DISCONNECT:
        fprintf(stderr, "the broker says: %s\n", tf_mqtt_reason_name(event->reason));
        return false;
    default:
        return true;
    }
}

/* The loop; true if it ended as it should. */
static bool run(struct tf_mqtt_client *client)
{
    struct tf_mqtt_client_event event;
    bool open = true, fine = true;

    while (open && fine &&
           !(tf_mqtt_client_closing(client, NULL) &&
             tf_mqtt_client_output(client, &(struct tf_bytes){0}, 1) == 0)) {
        open = tcp_write(&tcp, client) && tcp_wait(&tcp, client, tf_mqtt_client_deadline(client));
        tf_mqtt_client_tick(client, tcp_now());
        while (fine && tcp_feed(&tcp, client)) {
            while (fine && tf_mqtt_client_event(client, &event))
                fine = on_event(client, &event);
        }
        open = open && tcp_write(&tcp, client);
    }
    return open && fine;
}

int main(int argc, char **argv)
{
    struct tf_mqtt_client_config config = {
        .features = TF_MQTT_CLIENT_ALL,
        .connect = {.version = TF_MQTT_5, .clean_start = true, .keep_alive_s = 30},
        .session = &session,
        .max_packet_size = 1 << 20,
        .body_run = TCP_INPUT_MAX / 2,
        .connack_timeout_ms = 10000,
        .ping_timeout_ms = 10000,
        .receive_maximum = MESSAGES,
        .max_in_flight = 1,
    };
    struct tf_mqtt_client *client;
    void *old;

    if (argc < 4 || argc > 6) {
        fprintf(stderr, "usage: %s HOST PORT FILTER [QOS [COUNT]]\n", argv[0]);
        return 2;
    }
    subscription.filter = tf_bytes_str(argv[3]);
    subscription.qos = argc > 4 ? (uint8_t)atoi(argv[4]) : 1;
    left = argc > 5 ? atol(argv[5]) : -1;
    tf_mqtt_session_init(&session);
    if (subscription.qos > 2 || !tf_mqtt_filter_valid(subscription.filter) ||
        tf_mqtt_session_give_sent(&session, sent_ids, sizeof sent_ids, &old) ||
        tf_mqtt_session_give_received(&session, received_ids, sizeof received_ids, &old) ||
        tf_mqtt_client_init(&client, memory, sizeof memory, &config, tcp_now()) ||
        tf_mqtt_client_give(client, TF_MQTT_PART_PENDING, pending, sizeof pending, &old) ||
        tf_mqtt_client_lend(client, output, sizeof output)) {
        fprintf(stderr, "no such filter or QoS\n");
        return 2;
    }
    if (!tcp_open(&tcp, argv[1], argv[2]))
        return 3;
    return run(client) ? 0 : 5;
}
