/*
 * The bench's MQTT client: what it answers to which bytes, and the messages it makes. How the
 * functions are used is in bench_client.h.
 *
 *   GREETING --CONNACK--> READY (publishers)
 *   GREETING --CONNACK--> SUBSCRIBING --SUBACK--> READY (subscribers, idle ones)
 *   GREETING --"ok"--> READY (all, at the bare forwarder)
 */
#ifndef TF_CLI_BENCH_MQTT_H
#define TF_CLI_BENCH_MQTT_H

#include "cli/bench_client.h"

TF_MUST_USE enum tf_err tf_bench_mqtt_greet(struct tf_bench_world *world,
                                            struct tf_bench_client *client, tf_time now);
TF_MUST_USE enum tf_err tf_bench_mqtt_input(struct tf_bench_world *world,
                                            struct tf_bench_client *client, struct tf_bytes in,
                                            size_t *ret_used, tf_time now);
void tf_bench_mqtt_leave(struct tf_bench_world *world, struct tf_bench_client *client);
bool tf_bench_mqtt_open(const struct tf_bench_world *world, const struct tf_bench_client *client);
TF_MUST_USE enum tf_err tf_bench_mqtt_publish(struct tf_bench_world *world,
                                              struct tf_bench_client *client, tf_time sent);

#endif
