/*
 * What the MQTT programs have in common: the client's bytes over the serial line, a turn of its
 * loop.
 */
#ifndef STREAM_H
#define STREAM_H

#include <trefoil/mqtt_client.h>

#include "board.h"

/* Says `ready` and asks the bridge to connect; returns when it has. */
void stream_open(void);

/*
 * Makes a client in this memory, lends it the output. NULL: it is too little, which is said.
 */
struct tf_mqtt_client *stream_client(const struct tf_mqtt_client_config *config, void *memory,
                                     size_t length, void *output, size_t output_length);

/*
 * One turn: takes what has come in, with `on_event` for each event, lets time pass and sends what
 * is to be sent. False: the connection has ended; why is said, `done` if this side wanted it.
 */
bool stream_turn(struct tf_mqtt_client *client,
                 void (*on_event)(struct tf_mqtt_client *client,
                                  const struct tf_mqtt_client_event *event));

#endif
