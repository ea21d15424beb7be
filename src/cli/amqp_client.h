/*
 * One AMQP connection of a command to a broker: the machine with its memory, SASL, one session, its
 * links, messages put together, and what is said when something goes wrong.
 *
 *   CONNECTING --a socket--> GREETING --open--> UP --the run finishes--> LEAVING --> ENDED
 *       |  ^__next address__|      |             |
 *       +----- refused, lost, timed out ---------+-------------------> LEAVING or ENDED
 *
 * A connection that fails ends the run with the exit code that says why. It must not know what the
 * messages are for.
 */
#ifndef TF_CLI_AMQP_CLIENT_H
#define TF_CLI_AMQP_CLIENT_H

#include <trefoil/amqp_connection.h>

#include "cli/options.h"
#include "cli/run.h"
#include "cli/url.h"

#define TF_CLI_AMQP_WHY 512

struct tf_cli_amqp_client;
struct tf_cli_amqp_link;

/* A whole message that has come; the views are lent for the call. */
struct tf_cli_amqp_delivery {
    uint64_t number; /* for tf_cli_amqp_dispose */
    struct tf_bytes message;
    bool settled; /* by the sender: there is nothing to answer */
};

/* What a command does. What is NULL does not happen. None is called once the run is finishing, but
 * for `returned`. */
struct tf_cli_amqp_handler {
    /* The broker said yes: tf_cli_amqp_attach. */
    void (*up)(struct tf_cli_amqp_client *client);
    /* The broker has attached a link. */
    void (*attached)(struct tf_cli_amqp_link *link, const struct tf_amqp_attach *attach);
    /* It refuses one, or has detached it; NULL: that is said, and the run fails. The link is still
     * there, but nothing can be done with it. */
    void (*detached)(struct tf_cli_amqp_link *link, const struct tf_amqp_error *error);
    /* Where we receive: the sender's state; credit 0 after a drain. */
    void (*flow)(struct tf_cli_amqp_link *link, uint32_t credit);
    /* A message: tf_cli_amqp_dispose, now or later, unless it is settled. */
    void (*message)(struct tf_cli_amqp_link *link, const struct tf_cli_amqp_delivery *delivery);
    /* The last word on a message that was sent with this handle. */
    void (*outcome)(struct tf_cli_amqp_link *link, uint64_t handle,
                    const struct tf_amqp_state *state);
    /* The sender has settled a message that was disposed of without settling. */
    void (*settled)(struct tf_cli_amqp_link *link);
    /* What was sent by reference is free again. */
    void (*returned)(struct tf_cli_amqp_client *client, uint64_t owner);
    /* Every turn while it is up: send what there is to be sent. */
    void (*ready)(struct tf_cli_amqp_client *client);
};

struct tf_cli_amqp_client_config {
    struct tf_cli_run *run;
    const struct tf_cli_url *url;
    const struct tf_cli_connection_options *options; /* id, user, password, keep-alive, debug */
    const struct tf_cli_amqp_handler *handler;
    void *ctx; /* the command's; tf_cli_amqp_ctx */
};

/* A link to be attached; what it views must last as long as the client. */
struct tf_cli_amqp_terms {
    const char *name;    /* NULL: one is made */
    const char *address; /* of the broker's node; NULL: see `dynamic` */
    enum tf_amqp_role role;
    enum tf_amqp_snd_settle_mode snd_settle_mode;
    enum tf_amqp_rcv_settle_mode rcv_settle_mode;
    bool dynamic; /* the broker is to make a node */
    bool copy;    /* browse */
    bool durable; /* outlives the connection: it is detached, not closed */
    void *ctx;    /* tf_cli_amqp_link_ctx */
};

/*
 * Starts a connection; what the config points to must outlive it. Failures of the network end the
 * run and are no error here. TF_NO_MEMORY.
 */
TF_MUST_USE enum tf_err tf_cli_amqp_client_new(struct tf_cli_amqp_client **ret_client,
                                               const struct tf_cli_amqp_client_config *config);

/* Closes and frees it with its links. NULL is ignored. */
void tf_cli_amqp_client_free(struct tf_cli_amqp_client *client);

/* The command's own pointer. */
void *tf_cli_amqp_ctx(const struct tf_cli_amqp_client *client);

/* Its broker as it is shown: "localhost:5672". */
const char *tf_cli_amqp_peer(const struct tf_cli_amqp_client *client);

/* Its container id. */
const char *tf_cli_amqp_id(const struct tf_cli_amqp_client *client);

/* True once everything that was sent has been handed to the system. */
bool tf_cli_amqp_written(const struct tf_cli_amqp_client *client);

/* Attaches a link, in this turn or a later one. It lives as long as the client. TF_NO_MEMORY. */
TF_MUST_USE enum tf_err tf_cli_amqp_attach(struct tf_cli_amqp_client *client,
                                           const struct tf_cli_amqp_terms *terms,
                                           struct tf_cli_amqp_link **ret_link);

/* What a link was attached for, whose it is, and the address of its node at the broker. */
void *tf_cli_amqp_link_ctx(const struct tf_cli_amqp_link *link);
struct tf_cli_amqp_client *tf_cli_amqp_link_client(const struct tf_cli_amqp_link *link);
const char *tf_cli_amqp_link_address(const struct tf_cli_amqp_link *link);

/* As tf_amqp_link_credit; may be called before the link is attached. */
void tf_cli_amqp_credit(struct tf_cli_amqp_link *link, uint32_t credit, bool drain);

/* What is left of the credit. */
uint32_t tf_cli_amqp_credit_left(const struct tf_cli_amqp_link *link);

/*
 * As tf_amqp_send, with an output buffer that grows instead of TF_NO_MEMORY at first. TF_AGAIN: not
 * now; `ready` is called when that may have changed.
 */
TF_MUST_USE enum tf_err tf_cli_amqp_send(struct tf_cli_amqp_link *link,
                                         const struct tf_amqp_sending *sending, bool *ret_borrowed);

/* Says what became of a message; `settled`: and forgets it. */
void tf_cli_amqp_dispose(struct tf_cli_amqp_client *client, uint64_t number,
                         const struct tf_amqp_state *state, bool settled);

/* Detaches a link: no message of it is reported any more. */
void tf_cli_amqp_detach(struct tf_cli_amqp_link *link);

/* Writes `amqp:not-found: the peer's words`, cut to `size`. Returns ret_text. */
const char *tf_cli_amqp_why(const struct tf_amqp_error *error, char *ret_text, size_t size);

#endif
