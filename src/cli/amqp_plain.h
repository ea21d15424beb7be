/*
 * `trefoil pub`, `sub`, `get` and `queues peek` of amqp:// URLs: a sender, receivers.
 *
 * What they print is what they print of other protocols' messages. They must not know how those
 * commands take their options.
 */
#ifndef TF_CLI_AMQP_PLAIN_H
#define TF_CLI_AMQP_PLAIN_H

#include "cli/amqp_client.h"
#include "cli/coap_body.h"
#include "cli/message.h"

/* What all have in common. */
struct tf_cli_amqp_plain {
    const struct tf_cli_manual *manual;
    const struct tf_cli_connection_options *connection;
    uint8_t qos; /* 0 pre-settled, 1 the receiver settles first, 2 second */
};

struct tf_cli_amqp_publish {
    struct tf_cli_amqp_plain plain;
    struct tf_cli_coap_source source;                  /* the body; unless `lines` */
    const char *content_type, *reply_to, *correlation; /* NULL: none */
    const char *const *properties;                     /* NAME=VALUE */
    size_t property_count;
    uint64_t repeat; /* times, at least 1 */
    tf_time repeat_delay_us;
    uint32_t expiry_s;
    bool expiry_given;
    bool lines; /* a message for each line of standard input */
    bool retain;
};

struct tf_cli_amqp_subscribe {
    struct tf_cli_amqp_plain plain;
    const struct tf_cli_style *style;
    uint64_t count; /* 0: no limit */
};

/* The first option given that AMQP has nothing for; NULL: none. */
const char *tf_cli_amqp_lacks(const struct tf_cli_connection_options *options);

/* Publishes to a URL; the exit code. */
int tf_cli_amqp_publish(const struct tf_cli_amqp_publish *publish, const char *url);

/* Prints the messages of URLs; the exit code. */
int tf_cli_amqp_subscribe(const struct tf_cli_amqp_subscribe *subscribe, int count, char **urls);

/* Prints the value at a URL, for which it waits so long; the exit code. */
int tf_cli_amqp_fetch(const struct tf_cli_amqp_plain *plain, const struct tf_cli_style *style,
                      tf_time wait_us, const char *url);

/* Prints what is in a queue, `limit` messages at most (0: all), and leaves it there; the exit code.
 */
int tf_cli_amqp_peek(const struct tf_cli_amqp_plain *plain, const struct tf_cli_style *style,
                     uint64_t limit, const char *queue, const struct tf_cli_url *url);

#endif
