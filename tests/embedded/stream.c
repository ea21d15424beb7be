/*
 * An MQTT client on the serial line; see stream.h.
 */
#include "stream.h"

static uint8_t input[512];
static size_t input_length;

void stream_open(void)
{
    struct tf_bytes data;
    uint8_t path = 0;

    board_say("ready");
    board_send(BOARD_OPEN, NULL, 0);
    while (!board_receive(&path, &data) || path != BOARD_OPEN)
        board_wait();
}

struct tf_mqtt_client *stream_client(const struct tf_mqtt_client_config *config, void *memory,
                                     size_t length, void *output, size_t output_length)
{
    struct tf_mqtt_client *client;

    if (tf_mqtt_client_init(&client, memory, length, config, board_now()) ||
        tf_mqtt_client_lend(client, output, output_length)) {
        board_say("too little memory");
        return NULL;
    }
    return client;
}

/* Gives the machine what has come in, as far as it takes it. */
static void feed(struct tf_mqtt_client *client,
                 void (*on_event)(struct tf_mqtt_client *client,
                                  const struct tf_mqtt_client_event *event))
{
    struct tf_mqtt_client_event event;
    size_t at = 0, used = 0, need;
    enum tf_err err;

    do {
        while (tf_mqtt_client_event(client, &event))
            on_event(client, &event);
        err = tf_mqtt_client_input(client, tf_bytes_of(input + at, input_length - at), &used, &need,
                                   board_now());
        at += err ? 0 : used;
    } while (!err);
    while (tf_mqtt_client_event(client, &event))
        on_event(client, &event);
    for (size_t i = at; i < input_length; i++)
        input[i - at] = input[i];
    input_length -= at;
}

/* Sends what the machine has to send. */
static void flush(struct tf_mqtt_client *client)
{
    struct tf_bytes spans[2];
    size_t count;

    while ((count = tf_mqtt_client_output(client, spans, 2)) > 0) {
        size_t length = spans[0].length + (count > 1 ? spans[1].length : 0);
        board_send(BOARD_STREAM, spans, count);
        tf_mqtt_client_sent(client, length, board_now());
    }
}

bool stream_turn(struct tf_mqtt_client *client,
                 void (*on_event)(struct tf_mqtt_client *client,
                                  const struct tf_mqtt_client_event *event))
{
    struct tf_bytes data;
    uint8_t path, reason;

    while (board_receive(&path, &data)) {
        if (path == BOARD_CLOSE) {
            board_say("lost");
            return false;
        }
        if (path != BOARD_STREAM)
            continue;
        if (data.length > sizeof input - input_length) {
            board_say("input is full");
            return false;
        }
        for (size_t i = 0; i < data.length; i++)
            input[input_length++] = data.data[i];
        feed(client, on_event);
        flush(client);
    }
    if (board_now() >= tf_mqtt_client_deadline(client))
        tf_mqtt_client_tick(client, board_now());
    flush(client);
    if (tf_mqtt_client_closing(client, &reason)) {
        board_send(BOARD_CLOSE, NULL, 0);
        board_say(reason ? "cut off" : "done");
        return false;
    }
    board_wait();
    return true;
}
