/*
 * The links of a command's AMQP connection: what cli/amqp_client.c and cli/amqp_link.c share, and
 * nobody else needs.
 */
#ifndef TF_CLI_AMQP_LINK_H
#define TF_CLI_AMQP_LINK_H

#include "cli/amqp_client.h"
#include "cli/dial.h"

enum tf_cli_amqp_client_state {
    TF_CLI_AMQP_CONNECTING,
    TF_CLI_AMQP_GREETING,
    TF_CLI_AMQP_UP,
    TF_CLI_AMQP_LEAVING,
    TF_CLI_AMQP_ENDED
};

struct tf_cli_amqp_client {
    struct tf_cli_amqp_client_config config;
    struct tf_cli_peer peer; /* the run's */
    struct tf_cli_dial dial;
    struct tf_amqp_config machine_config;
    struct tf_amqp_sasl sasl;
    struct tf_amqp_open open;
    struct tf_amqp_connection *machine; /* lies in `memory` */
    struct tf_amqp_session *session;    /* lies in `session_memory`; NULL: not begun */
    void *memory, *session_memory;
    struct tf_list links; /* struct tf_cli_amqp_link */
    struct tf_cli_input in;
    uint8_t *out;
    size_t out_size;
    enum tf_cli_amqp_client_state state;
    unsigned link_count;
    bool session_over;
    bool opened; /* the peer's open has come */
    bool said_goodbye;
    bool asked;    /* it was us who asked to close */
    bool closing;  /* the machine says that it is the end */
    bool finished; /* the output has been ended */
    char id[TF_CLI_ID];
};

/* An event of a link. */
void tf_cli_amqp_link_event(struct tf_cli_amqp_client *client, const struct tf_amqp_event *event);

/* Attaches the links that wait for it, and gives back the credit that is to be given back. */
void tf_cli_amqp_links_turn(struct tf_cli_amqp_client *client);

/* Detaches all of them. */
void tf_cli_amqp_links_leave(struct tf_cli_amqp_client *client);

/* Frees all of them; the connection is closed. */
void tf_cli_amqp_links_free(struct tf_cli_amqp_client *client);

/* Lends a buffer twice as large as the last one. TF_AGAIN: that is in use. TF_LIMIT. TF_NO_MEMORY.
 */
TF_MUST_USE enum tf_err tf_cli_amqp_grow(struct tf_cli_amqp_client *client);

/* There is no memory: says so and ends it. */
void tf_cli_amqp_fail_memory(struct tf_cli_amqp_client *client);

#endif
