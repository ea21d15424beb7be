/*
 * One connection of a command to a broker: name resolution, addresses in turn, the client machine,
 * its memory, and what is said when something goes wrong.
 *
 *   CONNECTING --a socket--> GREETING --CONNACK--> UP --the run finishes--> LEAVING --> ENDED
 *       |  ^__next address, or 3.1.1__|            |
 *       +---------------- refused, lost, timed out-+------------------------> LEAVING or ENDED
 *
 * A connection that fails ends the run with the exit code that says why. It must not know what the
 * messages are for.
 */
#ifndef TF_CLI_CLIENT_H
#define TF_CLI_CLIENT_H

#include <trefoil/mqtt_client.h>

#include "cli/options.h"
#include "cli/run.h"
#include "cli/url.h"

struct tf_cli_client;

/* What a command does. What is NULL does not happen; `event` must not be. */
struct tf_cli_handler {
    /* The broker said yes. */
    void (*connected)(struct tf_cli_client *client, const struct tf_mqtt_client_event *event);
    /*
     * PUBLISH (acknowledged when this returns), SUBSCRIBED, UNSUBSCRIBED, SETTLED, LOST, RETURNED.
     * Not called any more once the run is finishing.
     */
    void (*event)(struct tf_cli_client *client, const struct tf_mqtt_client_event *event);
    /* Every turn while it is up and the run goes on: publish what there is to publish. */
    void (*ready)(struct tf_cli_client *client);
};

struct tf_cli_client_config {
    struct tf_cli_run *run;
    const struct tf_cli_url *url;
    const struct tf_cli_connection_options *options;
    const struct tf_cli_handler *handler;
    const char *needs_5; /* an option that 3.1.1 cannot do; NULL: there is none */
    void *ctx;           /* the command's; tf_cli_client_ctx */
};

/*
 * Starts a connection; what the config points to must outlive it. Failures of the network end the
 * run and are no error here. TF_NO_MEMORY.
 */
TF_MUST_USE enum tf_err tf_cli_client_new(struct tf_cli_client **ret_client,
                                          const struct tf_cli_client_config *config);

/* Closes and frees it. NULL is ignored. */
void tf_cli_client_free(struct tf_cli_client *client);

/* The command's own pointer. */
void *tf_cli_client_ctx(const struct tf_cli_client *client);

/* Its broker as it is shown: "localhost:1883". */
const char *tf_cli_client_peer(const struct tf_cli_client *client);

/* Its client id. */
const char *tf_cli_client_id(const struct tf_cli_client *client);

/* The version in use: TF_MQTT_3_1_1 or TF_MQTT_5. */
unsigned tf_cli_client_version(const struct tf_cli_client *client);

/* True once everything that was published has been handed to the system. */
bool tf_cli_client_written(const struct tf_cli_client *client);

/* As tf_mqtt_client_publish, with an output buffer that grows instead of TF_NO_MEMORY at first. */
TF_MUST_USE enum tf_err tf_cli_client_publish(struct tf_cli_client *client,
                                              const struct tf_mqtt_delivery *delivery,
                                              bool *ret_borrowed);

/* As tf_mqtt_client_subscribe, likewise. */
TF_MUST_USE enum tf_err tf_cli_client_subscribe(struct tf_cli_client *client, uint64_t handle,
                                                const struct tf_mqtt_subscription *subscriptions,
                                                size_t count, struct tf_bytes properties);

/*
 * Writes ` (0x87 Not authorized)` and the peer's own words if `properties` has some, cut to `size`.
 * Returns ret_text.
 */
const char *tf_cli_reason(uint8_t reason, struct tf_bytes properties, char *ret_text, size_t size);

#endif
