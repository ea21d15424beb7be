/*
 * The links of a command's AMQP connection.
 *
 *   WAITING --attach sent--> ATTACHING --attach came--> ATTACHED --detach, either side--> OVER
 *                                 |                                                        |
 *                                 +------ refused: detach follows -------------------> OVER +
 */
#include "cli/amqp_link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "cli/cli.h"

enum { GATHER_FIRST = 64 * 1024 };

enum link_state { WAITING, ATTACHING, ATTACHED, OVER };

struct tf_cli_amqp_link {
    struct tf_cli_amqp_client *client;
    struct tf_list_node node; /* of the client's */
    struct tf_cli_amqp_terms terms;
    struct tf_amqp_link *link; /* lies in `memory` */
    void *memory;
    uint8_t *gathered; /* the message that is coming in more than one frame */
    size_t gathered_length, gathered_size;
    uint32_t credit; /* to be given when it is attached */
    uint32_t tag;
    enum link_state state;
    bool drain;
    bool refused; /* no terminus came: why comes with detach (2.6.3) */
    char name[96];
    char *address; /* malloc; as the broker says */
};

void *tf_cli_amqp_link_ctx(const struct tf_cli_amqp_link *link)
{
    return link->terms.ctx;
}

struct tf_cli_amqp_client *tf_cli_amqp_link_client(const struct tf_cli_amqp_link *link)
{
    return link->client;
}

const char *tf_cli_amqp_link_address(const struct tf_cli_amqp_link *link)
{
    return link->address ? link->address : link->terms.address ? link->terms.address : "";
}

static bool is_running(const struct tf_cli_amqp_client *client)
{
    return client->state == TF_CLI_AMQP_UP && client->config.run->state == TF_CLI_RUNNING;
}

/* ---- attaching ---- */

enum tf_err tf_cli_amqp_attach(struct tf_cli_amqp_client *client,
                               const struct tf_cli_amqp_terms *terms,
                               struct tf_cli_amqp_link **ret_link)
{
    struct tf_cli_amqp_link *link = calloc(1, sizeof(*link));
    size_t size = tf_amqp_link_size(&client->machine_config);
    void *memory = malloc(TF_MAX(size, 1u));
    if (!link || !memory) {
        free(link);
        free(memory);
        return TF_NO_MEMORY;
    }
    link->client = client;
    link->terms = *terms;
    link->memory = memory;
    snprintf(link->name, sizeof(link->name), "%s-%u", tf_cli_amqp_id(client), client->link_count++);
    tf_list_push_back(&client->links, &link->node);
    client->config.run->touched = true;
    *ret_link = link;
    return TF_OK;
}

/* The broker's end of the link: our source, or our target. */
static struct tf_amqp_terminus terminus_of(const struct tf_cli_amqp_terms *terms)
{
    bool receives = terms->role == TF_AMQP_RECEIVER;
    return (struct tf_amqp_terminus){
        .type = receives ? TF_AMQP_SOURCE : TF_AMQP_TARGET,
        .has_address = terms->address != NULL,
        .address = tf_bytes_str(terms->address ? terms->address : ""),
        .dynamic = terms->dynamic,
        .durable = terms->durable ? TF_AMQP_DURABLE_UNSETTLED_STATE : TF_AMQP_DURABLE_NONE,
        .expiry_policy = terms->durable ? TF_AMQP_EXPIRY_NEVER : TF_AMQP_EXPIRY_SESSION_END,
        .distribution = terms->copy ? TF_AMQP_DISTRIBUTION_COPY : TF_AMQP_DISTRIBUTION_NONE};
}

static enum tf_err send_attach(struct tf_cli_amqp_link *link)
{
    const struct tf_cli_amqp_terms *terms = &link->terms;
    struct tf_cli_amqp_client *client = link->client;
    const struct tf_amqp_terminus own = {.type = terms->role == TF_AMQP_RECEIVER ? TF_AMQP_TARGET
                                                                                 : TF_AMQP_SOURCE,
                                         .has_address = true,
                                         .address = tf_bytes_str(tf_cli_amqp_id(client))};
    const struct tf_amqp_attach attach = {
        .name = tf_bytes_str(terms->name ? terms->name : link->name),
        .role = terms->role,
        .snd_settle_mode = terms->snd_settle_mode,
        .rcv_settle_mode = terms->rcv_settle_mode,
        .source = terms->role == TF_AMQP_RECEIVER ? terminus_of(terms) : own,
        .target = terms->role == TF_AMQP_RECEIVER ? own : terminus_of(terms)};
    size_t size = tf_amqp_link_size(&client->machine_config);
    enum tf_err err =
        tf_amqp_link_attach(client->session, link->memory, size, link, &attach, &link->link);
    while (err == TF_NO_MEMORY) {
        err = tf_cli_amqp_grow(client);
        if (!err) {
            err = tf_amqp_link_attach(client->session, link->memory, size, link, &attach,
                                      &link->link);
        }
    }
    return err;
}

static void attach_now(struct tf_cli_amqp_link *link)
{
    struct tf_cli_amqp_client *client = link->client;
    enum tf_err err = send_attach(link);
    if (err == TF_OK) {
        link->state = ATTACHING;
        if (link->credit || link->drain) {
            tf_amqp_link_credit(link->link, link->credit, link->drain);
        }
    } else if (err != TF_AGAIN && err != TF_CLOSED) {
        tf_cli_run_fail(client->config.run, TF_EXIT_REFUSED, "%s takes no link to %.200s: %s",
                        client->dial.text, tf_cli_amqp_link_address(link), tf_err_name(err));
    }
}

void tf_cli_amqp_links_turn(struct tf_cli_amqp_client *client)
{
    struct tf_list_node *node = tf_list_first(&client->links);
    for (; node && is_running(client); node = tf_list_next(&client->links, node)) {
        struct tf_cli_amqp_link *link = tf_container_of(node, struct tf_cli_amqp_link, node);
        if (link->state == WAITING) {
            attach_now(link);
        } else if (link->state == ATTACHED && link->terms.role == TF_AMQP_SENDER && link->drain) {
            link->drain = false;
            tf_amqp_link_drained(link->link);
        }
    }
}

/* ---- what a command does with one ---- */

void tf_cli_amqp_credit(struct tf_cli_amqp_link *link, uint32_t credit, bool drain)
{
    link->credit = credit;
    link->drain = drain;
    if (link->state == ATTACHING || link->state == ATTACHED) {
        tf_amqp_link_credit(link->link, credit, drain);
    }
}

uint32_t tf_cli_amqp_credit_left(const struct tf_cli_amqp_link *link)
{
    return link->state == WAITING || link->state == OVER ? 0 : tf_amqp_link_credit_left(link->link);
}

/* A tag is a number that no other delivery of the link has. */
static struct tf_bytes next_tag(struct tf_cli_amqp_link *link, uint8_t buffer[4])
{
    uint32_t tag = link->tag;
    for (size_t i = 0; i < 4; i++) {
        buffer[i] = (uint8_t)(tag >> (24 - 8 * i));
    }
    return tf_bytes_of(buffer, 4);
}

enum tf_err tf_cli_amqp_send(struct tf_cli_amqp_link *link, const struct tf_amqp_sending *sending,
                             bool *ret_borrowed)
{
    uint8_t tag[4];
    uint64_t delivery;
    struct tf_amqp_sending tagged = *sending;
    if (link->state != ATTACHED || link->refused) {
        return TF_AGAIN;
    }
    if (!tagged.tag.length) {
        tagged.tag = next_tag(link, tag);
    }
    enum tf_err err = tf_amqp_send(link->link, &tagged, ret_borrowed, &delivery);
    while (err == TF_NO_MEMORY) {
        err = tf_cli_amqp_grow(link->client);
        if (!err) {
            err = tf_amqp_send(link->link, &tagged, ret_borrowed, &delivery);
        }
    }
    link->tag += err == TF_OK;
    return err;
}

void tf_cli_amqp_dispose(struct tf_cli_amqp_client *client, uint64_t number,
                         const struct tf_amqp_state *state, bool settled)
{
    (void)tf_amqp_dispose(client->machine, number, state, settled); /* its link may be gone */
}

void tf_cli_amqp_detach(struct tf_cli_amqp_link *link)
{
    if (link->state == ATTACHING || link->state == ATTACHED) {
        tf_amqp_link_detach(link->link, !link->terms.durable, NULL);
    }
    link->state = OVER;
    link->client->config.run->touched = true;
}

void tf_cli_amqp_links_leave(struct tf_cli_amqp_client *client)
{
    struct tf_list_node *node = tf_list_first(&client->links);
    for (; node && !client->session_over; node = tf_list_next(&client->links, node)) {
        tf_cli_amqp_detach(tf_container_of(node, struct tf_cli_amqp_link, node));
    }
}

void tf_cli_amqp_links_free(struct tf_cli_amqp_client *client)
{
    struct tf_list_node *node;
    while ((node = tf_list_first(&client->links))) {
        struct tf_cli_amqp_link *link = tf_container_of(node, struct tf_cli_amqp_link, node);
        tf_list_remove(node);
        free(link->memory);
        free(link->gathered);
        free(link->address);
        free(link);
    }
}

/* ---- events ---- */

static void on_attached(struct tf_cli_amqp_link *link, const struct tf_amqp_attach *attach)
{
    const struct tf_cli_amqp_handler *handler = link->client->config.handler;
    const struct tf_amqp_terminus *node =
        link->terms.role == TF_AMQP_RECEIVER ? &attach->source : &attach->target;
    if (link->state != ATTACHING) {
        return;
    }
    link->state = ATTACHED;
    link->refused = node->type == TF_AMQP_TERMINUS_NONE;
    if (link->refused) {
        return;
    }
    if (node->has_address && node->address.length) {
        link->address = malloc(node->address.length + 1);
        if (!link->address) {
            tf_cli_amqp_fail_memory(link->client);
            return;
        }
        memcpy(link->address, node->address.data, node->address.length);
        link->address[node->address.length] = 0;
    }
    if (handler->attached && is_running(link->client)) {
        handler->attached(link, attach);
    }
}

static void on_detached(struct tf_cli_amqp_link *link, const struct tf_amqp_event *event)
{
    struct tf_cli_amqp_client *client = link->client;
    const struct tf_cli_amqp_handler *handler = client->config.handler;
    char why[TF_CLI_AMQP_WHY];
    bool over = link->state == OVER;
    bool refused = link->refused || link->state == ATTACHING;
    link->state = OVER;
    if (!event->gone) {
        tf_amqp_link_detach(link->link, event->closed, NULL);
    }
    if (over || !is_running(client)) {
        return;
    }
    if (handler->detached) {
        handler->detached(link, &event->error);
        return;
    }
    tf_cli_run_fail(client->config.run, TF_EXIT_REFUSED, "%s %s %.200s: %s", client->dial.text,
                    event->local ? "broke the protocol of the link to"
                    : refused    ? "refuses the link to"
                                 : "ended the link to",
                    tf_cli_amqp_link_address(link),
                    tf_cli_amqp_why(&event->error, why, sizeof(why)));
}

static enum tf_err gather(struct tf_cli_amqp_link *link, struct tf_bytes run)
{
    size_t size = link->gathered_size, length = link->gathered_length + run.length;
    if (length > size) {
        size = TF_MAX(TF_MAX(2 * size, length), (size_t)GATHER_FIRST);
        uint8_t *memory = realloc(link->gathered, size);
        if (!memory) {
            return TF_NO_MEMORY;
        }
        link->gathered = memory;
        link->gathered_size = size;
    }
    if (run.length) {
        memcpy(link->gathered + link->gathered_length, run.data, run.length);
    }
    link->gathered_length = length;
    return TF_OK;
}

static void on_transfer(struct tf_cli_amqp_link *link, const struct tf_amqp_event *event)
{
    static const struct tf_amqp_state released = {.type = TF_AMQP_STATE_RELEASED};
    struct tf_cli_amqp_client *client = link->client;
    struct tf_cli_amqp_delivery delivery = {
        .number = event->delivery, .message = event->payload, .settled = event->settled};
    if (event->first) {
        link->gathered_length = 0;
    }
    if (event->aborted) {
        return;
    }
    if (link->state != ATTACHED || !is_running(client)) { /* nobody will look at it */
        if (!event->more && !event->settled) {
            tf_cli_amqp_dispose(client, event->delivery, &released, true);
        }
        return;
    }
    if (!event->first || event->more) {
        if (gather(link, event->payload)) {
            tf_cli_amqp_fail_memory(client);
            return;
        }
        delivery.message = tf_bytes_of(link->gathered, link->gathered_length);
    }
    if (!event->more && client->config.handler->message) {
        client->config.handler->message(link, &delivery);
    }
}

static void on_outcome(struct tf_cli_amqp_link *link, const struct tf_amqp_event *event)
{
    struct tf_cli_amqp_client *client = link->client;
    bool last = event->settled || event->state.type > TF_AMQP_STATE_RECEIVED;
    if (!last) {
        return;
    }
    if (!event->settled) { /* 2.6.12: the receiver waits for it */
        (void)tf_amqp_settle(client->machine, event->delivery, &event->state);
    }
    if (client->config.handler->outcome && is_running(client)) {
        client->config.handler->outcome(link, event->handle, &event->state);
    }
}

static void on_flow(struct tf_cli_amqp_link *link, const struct tf_amqp_event *event)
{
    struct tf_cli_amqp_client *client = link->client;
    if (link->terms.role == TF_AMQP_SENDER) {
        link->drain = event->drain; /* 2.6.7: what there is to be sent goes first */
    } else if (client->config.handler->flow && is_running(client)) {
        client->config.handler->flow(link, event->credit);
    }
}

void tf_cli_amqp_link_event(struct tf_cli_amqp_client *client, const struct tf_amqp_event *event)
{
    const struct tf_cli_amqp_handler *handler = client->config.handler;
    struct tf_cli_amqp_link *link = event->link ? tf_amqp_link_user(event->link) : NULL;
    if (!link) {
        return; /* BEGUN: links have been attached without waiting for it */
    }
    switch (event->type) {
    case TF_AMQP_ATTACHED:
        on_attached(link, &event->attach);
        break;
    case TF_AMQP_DETACHED:
        on_detached(link, event);
        break;
    case TF_AMQP_FLOW:
        on_flow(link, event);
        break;
    case TF_AMQP_TRANSFER:
        on_transfer(link, event);
        break;
    case TF_AMQP_OUTCOME:
        on_outcome(link, event);
        break;
    case TF_AMQP_SETTLED:
        if (handler->settled && is_running(client)) {
            handler->settled(link);
        }
        break;
    default:
        break;
    }
}
