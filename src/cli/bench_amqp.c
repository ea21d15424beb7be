/*
 * The bench's AMQP client: the library's connection machine with one session and one link, a sender
 * or a receiver. How the functions are used is in bench_client.h.
 *
 *   GREETING --open--> SUBSCRIBING --attach (senders: credit)--> READY
 *   GREETING --"ok"--> READY (all, at the bare forwarder)
 *
 * What the machine has to write is copied into the client's buffer when that is about to be
 * written, so the words on many deliveries leave as the ranges that the machine made of them. A
 * message is one data section. At the bare forwarder there is no machine: one transfer frame is
 * made by the codec, then copied and patched, as large as those that the machine makes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "cli/bench_client.h"

#include <trefoil/amqp_connection.h>
#include <trefoil/amqp_message.h>

enum {
    NAME_MAX = 320,
    FRAME_MAX = 64 * 1024,
    OUTPUT_SIZE = 128 * 1024,
    SPANS = 8,
    HEAD_MAX = 64,           /* the head of a data section, and the stamp */
    COPIED_MAX = 256,        /* larger payloads may go out by reference, and in several frames */
    REFERENCE_FROM = 4096,   /* and from here they do */
    OPEN_LOOP_CREDIT = 4096, /* without windows */
    OPEN_LOOP_UNSETTLED = 65536,
    FAR_ID = 1 << 24 /* a delivery id of five bytes, as nearly all of a run are */
};

struct tf_bench_amqp_client {
    struct tf_amqp_config config;
    struct tf_amqp_sasl sasl;
    struct tf_amqp_open open;
    struct tf_amqp_connection *connection; /* NULL: at the bare forwarder */
    struct tf_amqp_session *session;
    struct tf_amqp_link *link;
    void *connection_memory, *session_memory, *link_memory;
    void *output;   /* lent to the machine; NULL: none */
    uint8_t *body;  /* sender: of every message, behind its stamp */
    uint8_t *whole; /* receiver: of a message in several frames, what has come */
    size_t whole_length, whole_size;
    uint32_t credit; /* receiver: as much as the sender is given */
    bool opened;
    bool blocked;        /* sender: the machine takes no more before there is input */
    char name[NAME_MAX]; /* of container and link */
    char address[NAME_MAX];
};

static const struct tf_amqp_sasl_mechanism *const anonymous[] = {&tf_amqp_sasl_anonymous};
static const struct tf_amqp_sasl_mechanism *const plain[] = {&tf_amqp_sasl_plain};

static enum tf_err fail(struct tf_bench_world *world, const char *what,
                        const struct tf_amqp_error *error)
{
    struct tf_bytes symbol = tf_bytes_str(""), text = symbol;
    if (error && error->condition != TF_AMQP_NO_ERROR) {
        symbol = error->condition == TF_AMQP_OTHER_ERROR
                     ? error->symbol
                     : tf_amqp_condition_symbol(error->condition);
        text = error->description.length ? error->description : text;
    }
    snprintf(world->why, sizeof world->why, "%s%s%.*s%s%.*s", what, symbol.length ? ": " : "",
             (int)TF_MIN(symbol.length, 48u), (const char *)symbol.data, text.length ? ", " : "",
             (int)TF_MIN(text.length, 80u), (const char *)text.data);
    return TF_PROTOCOL;
}

/* ---- making the client ---- */

/*
 * Twice what may be on its way to a receiver, and it tops up when half is left: so the window is
 * what limits, and a server that reckons with a moment's older credit (rabbitmq 3.10 does) still
 * keeps to it.
 */
static uint32_t credit_of(const struct tf_bench_config *config)
{
    uint32_t topics = TF_MAX(config->topics, 1u);
    if (!config->window)
        return OPEN_LOOP_CREDIT;
    uint64_t senders = (TF_MAX(config->publishers, 1u) + topics - 1) / topics;
    return (uint32_t)TF_MIN(2 * senders * config->window, (uint64_t)1 << 20);
}

static void configure(struct tf_bench_world *world, struct tf_bench_client *client)
{
    static const char letters[] = {'s', 'r', 'i'};
    const struct tf_bench_config *config = world->config;
    struct tf_bench_amqp_client *amqp = client->amqp;
    client->in_flight_max = config->window ? config->window : OPEN_LOOP_UNSETTLED;
    amqp->credit = credit_of(config);
    snprintf(amqp->name, sizeof amqp->name, "bench-%04x-%c%u", (unsigned)world->run & 0xFFFF,
             letters[client->role], (unsigned)client->index);
    snprintf(amqp->address, sizeof amqp->address, "%.255s-%04x-%u", config->address,
             (unsigned)world->run & 0xFFFF, (unsigned)tf_bench_topic(world, client));
    amqp->sasl =
        (struct tf_amqp_sasl){.mechanisms = config->user ? plain : anonymous, .mechanism_count = 1};
    if (config->user) {
        amqp->sasl.user = tf_bytes_str(config->user);
        amqp->sasl.password = tf_bytes_str(config->password);
    }
    amqp->config = (struct tf_amqp_config){.end = TF_AMQP_CLIENT,
                                           .max_frame_size = FRAME_MAX,
                                           .max_links = 1,
                                           .max_unsettled =
                                               TF_MAX((uint32_t)OPEN_LOOP_UNSETTLED, amqp->credit),
                                           .incoming_window = OPEN_LOOP_UNSETTLED,
                                           .reference_from = REFERENCE_FROM,
                                           .sasl = &amqp->sasl};
    amqp->open = (struct tf_amqp_open){.container_id = tf_bytes_str(amqp->name),
                                       .hostname = tf_bytes_str(config->host)};
}

/* The first bytes of a message: a header if it is durable, the head of its data, and the stamp. */
static struct tf_bytes head_write(uint8_t at[HEAD_MAX], const struct tf_bench_config *config,
                                  uint32_t publisher, uint32_t number, tf_time sent)
{
    static const uint8_t header[] = {0x00, 0x53, 0x70, 0xC0, 0x02, 0x01, 0x41}; /* 3.2.1 */
    struct tf_writer writer = tf_writer_of(at, HEAD_MAX);
    if (config->durable)
        tf_write_bytes(&writer, tf_bytes_of(header, sizeof header));
    tf_amqp_write_data_head(&writer, config->size);
    size_t length = tf_writer_length(&writer);
    tf_bench_stamp_write(at + length, publisher, number, sent);
    return tf_bytes_of(at, length + TF_BENCH_STAMP_SIZE);
}

static enum tf_err make_machine(struct tf_bench_amqp_client *amqp, tf_time now)
{
    size_t size = tf_amqp_size(&amqp->config);
    amqp->connection_memory = malloc(size);
    amqp->session_memory = malloc(tf_amqp_session_size(&amqp->config));
    amqp->link_memory = malloc(tf_amqp_link_size(&amqp->config));
    if (!amqp->connection_memory || !amqp->session_memory || !amqp->link_memory)
        return TF_NO_MEMORY;
    return tf_amqp_init(&amqp->connection, amqp->connection_memory, size, &amqp->config,
                        &amqp->open, now);
}

/* Gives the machine room for output, if it has none. */
static enum tf_err lend(struct tf_bench_amqp_client *amqp)
{
    if (amqp->output)
        return TF_OK;
    amqp->output = malloc(OUTPUT_SIZE);
    return amqp->output ? tf_amqp_lend(amqp->connection, amqp->output, OUTPUT_SIZE) : TF_NO_MEMORY;
}

/* ---- the bare forwarder ---- */

/* Makes the transfer that will be patched. */
static enum tf_err make_frame(struct tf_bench_world *world, struct tf_bench_client *client)
{
    static const uint8_t tag[4] = {0};
    size_t size = world->config->size;
    uint8_t head[HEAD_MAX];
    struct tf_bytes first = head_write(head, world->config, 0, 0, 0);
    size_t message = first.length - TF_BENCH_STAMP_SIZE + size;
    struct tf_amqp_performative transfer = {.type = TF_AMQP_TRANSFER_FRAME};
    transfer.transfer = (struct tf_amqp_transfer){.has_delivery_id = true,
                                                  .delivery_id = FAR_ID,
                                                  .has_delivery_tag = true,
                                                  .delivery_tag = tf_bytes_of(tag, sizeof tag),
                                                  .has_message_format = true,
                                                  .has_settled = true,
                                                  .settled = world->config->qos == 0};
    client->frame = malloc(HEAD_MAX + message);
    if (!client->frame)
        return TF_NO_MEMORY;
    struct tf_writer writer = tf_writer_of(client->frame, HEAD_MAX + message);
    tf_amqp_frame_write(&writer, 0, &transfer, message);
    size_t length = tf_writer_length(&writer);
    memset(client->frame + length, 'x', message);
    memcpy(client->frame + length, first.data, first.length);
    client->stamp_offset = length + first.length - TF_BENCH_STAMP_SIZE;
    client->frame_length = length + message;
    return TF_OK;
}

/* A receiver's word on one message or on many. */
static size_t accepted_write(uint8_t *at, size_t size)
{
    struct tf_amqp_performative word = {.type = TF_AMQP_DISPOSITION};
    word.disposition = (struct tf_amqp_disposition){.role = TF_AMQP_RECEIVER,
                                                    .first = FAR_ID,
                                                    .settled = true,
                                                    .state = {.type = TF_AMQP_STATE_ACCEPTED}};
    struct tf_writer writer = tf_writer_of(at, size);
    tf_amqp_frame_write(&writer, 0, &word, 0);
    return tf_writer_length(&writer);
}

/* The forwarder gives a sender of unsettled messages this for each frame. */
static enum tf_err bare_greet(struct tf_bench_world *world, struct tf_bench_client *client)
{
    uint8_t word[HEAD_MAX];
    char reply[2 * HEAD_MAX + 1] = "";
    enum tf_err err = client->role == TF_BENCH_PUBLISHER ? make_frame(world, client) : TF_OK;
    if (err)
        return err;
    size_t length = world->config->qos ? accepted_write(word, sizeof word) : 0;
    for (size_t i = 0; i < length; i++)
        snprintf(reply + 2 * i, 3, "%02x", word[i]);
    return tf_bench_bare_greet(world, client, reply);
}

static enum tf_err bare_frame(struct tf_bench_world *world, struct tf_bench_client *client,
                              const struct tf_amqp_frame *frame, tf_time now)
{
    struct tf_amqp_performative performative;
    struct tf_amqp_message message;
    struct tf_bytes payload;
    enum tf_amqp_condition condition;
    if (tf_amqp_performative_read(frame->body, frame->type, &performative, &payload, &condition))
        return fail(world, "a bad frame from the bare forwarder", NULL);
    if (performative.type == TF_AMQP_DISPOSITION && client->unacked > 0) {
        tf_bench_acknowledged(world, client, now);
        return TF_OK;
    }
    if (performative.type != TF_AMQP_TRANSFER_FRAME ||
        tf_amqp_message_read(payload, &message, &condition))
        return fail(world, "a strange frame from the bare forwarder", NULL);
    tf_bench_arrived(world, client, message.data, now);
    return TF_OK;
}

static enum tf_err bare_input(struct tf_bench_world *world, struct tf_bench_client *client,
                              struct tf_bytes in, size_t *ret_used, tf_time now)
{
    size_t used = 0;
    if (client->state == TF_BENCH_GREETING) {
        enum tf_err err = tf_bench_bare_welcome(world, client, in, &used);
        if (err || !used) {
            *ret_used = 0;
            return err;
        }
    }
    uint64_t before = world->ledger.arrived;
    while (used < in.length) {
        struct tf_amqp_frame frame;
        size_t need;
        enum tf_err err = tf_amqp_frame_read(tf_bytes_of(in.data + used, in.length - used),
                                             UINT32_MAX, &frame, &need);
        if (err == TF_MORE)
            break;
        err = err ? fail(world, "a bad frame from the bare forwarder", NULL)
                  : bare_frame(world, client, &frame, now);
        if (err)
            return err;
        used += frame.size;
    }
    *ret_used = used;
    if (world->config->qos == 0 || world->ledger.arrived == before)
        return TF_OK;
    uint8_t *room = tf_bench_buffer_reserve(&client->out, HEAD_MAX);
    if (!room)
        return TF_NO_MEMORY;
    client->out.end += accepted_write(room, HEAD_MAX);
    return TF_OK;
}

static enum tf_err bare_publish(struct tf_bench_world *world, struct tf_bench_client *client,
                                tf_time sent)
{
    uint8_t *room = tf_bench_buffer_reserve(&client->out, client->frame_length);
    if (!room)
        return TF_NO_MEMORY;
    memcpy(room, client->frame, client->frame_length);
    uint32_t number = tf_bench_ledger_send(&world->ledger, client->index);
    tf_bench_stamp_write(room + client->stamp_offset, client->index, number, sent);
    client->unacked += world->config->qos > 0;
    client->sent = sent;
    client->out.end += client->frame_length;
    return TF_OK;
}

/* ---- events ---- */

static enum tf_err attach(struct tf_bench_world *world, struct tf_bench_client *client)
{
    struct tf_bench_amqp_client *amqp = client->amqp;
    bool sender = client->role == TF_BENCH_PUBLISHER;
    uint8_t qos = world->config->qos;
    struct tf_bytes address = tf_bytes_str(sender ? amqp->address : amqp->name);
    struct tf_amqp_attach attach = {
        .name = tf_bytes_str(amqp->name),
        .role = sender ? TF_AMQP_SENDER : TF_AMQP_RECEIVER,
        .snd_settle_mode = qos ? TF_AMQP_SND_UNSETTLED : TF_AMQP_SND_SETTLED,
        .rcv_settle_mode = qos == 2 ? TF_AMQP_RCV_SECOND : TF_AMQP_RCV_FIRST,
        .source = {.type = TF_AMQP_SOURCE, .has_address = true},
        .target = {.type = TF_AMQP_TARGET, .has_address = true, .address = address}};
    attach.source.address = tf_bytes_str(sender ? amqp->name : amqp->address);
    if (world->config->durable)
        attach.source.durable = attach.target.durable = TF_AMQP_DURABLE_UNSETTLED_STATE;
    return tf_amqp_link_attach(amqp->session, amqp->link_memory, tf_amqp_link_size(&amqp->config),
                               client, &attach, &amqp->link);
}

/* Goes on with what opened is, as far as it goes now. */
static enum tf_err set_up(struct tf_bench_world *world, struct tf_bench_client *client)
{
    struct tf_bench_amqp_client *amqp = client->amqp;
    enum tf_err err = TF_OK;
    if (!amqp->opened || amqp->link)
        return TF_OK;
    if (!amqp->session)
        err = tf_amqp_session_begin(amqp->connection, amqp->session_memory,
                                    tf_amqp_session_size(&amqp->config), client, &amqp->session);
    if (!err)
        err = attach(world, client);
    if (err == TF_LIMIT)
        return fail(world, "the server allows no session or no link", NULL);
    return err == TF_AGAIN ? TF_OK : err;
}

static void on_attached(struct tf_bench_world *world, struct tf_bench_client *client,
                        const struct tf_amqp_event *event)
{
    if (client->role == TF_BENCH_PUBLISHER || event->attach.source.type == TF_AMQP_TERMINUS_NONE)
        return; /* a refusal has its reason in the detach that follows (2.6.3) */
    if (!world->config->backlog)
        tf_amqp_link_credit(client->amqp->link, client->amqp->credit, false);
    client->state = TF_BENCH_READY;
}

/* With a backlog a receiver may take what is beyond it, however little. */
static void take_beyond(struct tf_bench_world *world, struct tf_bench_client *client)
{
    const struct tf_bench_ledger *ledger = &world->ledger;
    struct tf_bench_amqp_client *amqp = client->amqp;
    if (!world->config->backlog || client->role != TF_BENCH_SUBSCRIBER || !amqp->link ||
        client->state != TF_BENCH_READY)
        return;
    /* Its sender's index is its own. */
    uint32_t waiting = ledger->senders[client->index].sent - ledger->pairs[client->index].next;
    uint32_t credit = waiting > world->backlog ? waiting - world->backlog : 0;
    if (credit > 0 && tf_amqp_link_credit_left(amqp->link) == 0) /* never topped up: credit_of */
        tf_amqp_link_credit(amqp->link, credit, false);
}

/* Keeps a part of a message; what is kept is not read before it is whole. */
static enum tf_err keep(struct tf_bench_amqp_client *amqp, struct tf_bytes part)
{
    if (amqp->whole_length + part.length > amqp->whole_size) {
        size_t size = (amqp->whole_length + part.length) * 2;
        uint8_t *whole = realloc(amqp->whole, size);
        if (!whole)
            return TF_NO_MEMORY;
        amqp->whole = whole;
        amqp->whole_size = size;
    }
    if (part.length)
        memcpy(amqp->whole + amqp->whole_length, part.data, part.length);
    amqp->whole_length += part.length;
    return TF_OK;
}

static enum tf_err on_transfer(struct tf_bench_world *world, struct tf_bench_client *client,
                               const struct tf_amqp_event *event, tf_time now)
{
    struct tf_bench_amqp_client *amqp = client->amqp;
    struct tf_bytes all = event->payload;
    struct tf_amqp_message message;
    enum tf_amqp_condition condition;
    if (event->aborted) {
        amqp->whole_length = 0;
        return TF_OK;
    }
    if (event->more || amqp->whole_length) {
        enum tf_err err = keep(amqp, event->payload);
        if (err || event->more)
            return err;
        all = tf_bytes_of(amqp->whole, amqp->whole_length);
        amqp->whole_length = 0;
    }
    if (tf_amqp_message_read(all, &message, &condition))
        return fail(world, "a bad message", NULL);
    tf_bench_arrived(world, client, message.data, now);
    if (!event->settled) {
        struct tf_amqp_state accepted = {.type = TF_AMQP_STATE_ACCEPTED};
        enum tf_err err =
            tf_amqp_dispose(amqp->connection, event->delivery, &accepted, world->config->qos < 2);
        if (err && err != TF_NOT_FOUND)
            return fail(world, "a delivery cannot be settled", NULL);
    }
    if (!world->config->backlog && tf_amqp_link_credit_left(amqp->link) <= amqp->credit / 2)
        tf_amqp_link_credit(amqp->link, amqp->credit, false);
    return TF_OK;
}

/* 3.4: only accepted is a success. */
static void on_outcome(struct tf_bench_world *world, struct tf_bench_client *client,
                       const struct tf_amqp_event *event, tf_time now)
{
    if (!event->settled && event->state.type <= TF_AMQP_STATE_RECEIVED)
        return;
    world->refused += event->state.type != TF_AMQP_STATE_ACCEPTED;
    if (!event->settled)
        (void)tf_amqp_settle(client->amqp->connection, event->delivery, &event->state);
    tf_bench_acknowledged(world, client, now);
}

static enum tf_err on_needs(struct tf_bench_amqp_client *amqp, const struct tf_amqp_event *event)
{
    void *old = NULL;
    void *memory = malloc(event->size);
    if (!memory)
        return TF_NO_MEMORY;
    enum tf_err err =
        tf_amqp_give(amqp->connection, event->session, event->part, memory, event->size, &old);
    free(err ? memory : old);
    return err;
}

static enum tf_err on_event(struct tf_bench_world *world, struct tf_bench_client *client,
                            const struct tf_amqp_event *event, tf_time now)
{
    struct tf_bench_amqp_client *amqp = client->amqp;
    switch (event->type) {
    case TF_AMQP_OPENED:
        amqp->opened = true;
        client->state = TF_BENCH_SUBSCRIBING;
        return TF_OK;
    case TF_AMQP_ATTACHED:
        on_attached(world, client, event);
        return TF_OK;
    case TF_AMQP_FLOW:
        if (client->role == TF_BENCH_PUBLISHER && event->drain)
            tf_amqp_link_drained(amqp->link);
        else if (client->role == TF_BENCH_PUBLISHER && event->credit)
            client->state = TF_BENCH_READY;
        return TF_OK;
    case TF_AMQP_TRANSFER:
        return on_transfer(world, client, event, now);
    case TF_AMQP_OUTCOME:
        on_outcome(world, client, event, now);
        return TF_OK;
    case TF_AMQP_NEEDS:
        return on_needs(amqp, event);
    case TF_AMQP_CLOSED:
        return fail(world, "closed by the server", &event->error);
    case TF_AMQP_ENDED:
        return fail(world, "session ended", &event->error);
    case TF_AMQP_DETACHED:
        return fail(world, "link detached", &event->error);
    case TF_AMQP_BEGUN:
    case TF_AMQP_SETTLED:
    case TF_AMQP_RETURNED:
        return TF_OK;
    default:
        return fail(world, "the server wants what only clients do", NULL);
    }
}

static enum tf_err take_events(struct tf_bench_world *world, struct tf_bench_client *client,
                               tf_time now)
{
    struct tf_amqp_event event;
    while (tf_amqp_event(client->amqp->connection, &event)) {
        enum tf_err err = on_event(world, client, &event, now);
        if (err)
            return err;
    }
    return set_up(world, client);
}

/* ---- output ---- */

/* Copies what the machine has to write. */
static enum tf_err drain(struct tf_bench_client *client, tf_time now)
{
    struct tf_amqp_connection *connection = client->amqp->connection;
    struct tf_bytes spans[SPANS];
    for (size_t count; (count = tf_amqp_output(connection, spans, SPANS)) > 0;) {
        size_t length = 0;
        for (size_t i = 0; i < count; i++)
            length += spans[i].length;
        uint8_t *room = tf_bench_buffer_reserve(&client->out, length);
        if (!room)
            return TF_NO_MEMORY;
        for (size_t i = 0; i < count; i++) {
            memcpy(room, spans[i].data, spans[i].length);
            room += spans[i].length;
        }
        client->out.end += length;
        tf_amqp_sent(connection, length, now);
    }
    return TF_OK;
}

static enum tf_err amqp_flush(struct tf_bench_world *world, struct tf_bench_client *client,
                              tf_time now)
{
    struct tf_bench_amqp_client *amqp = client->amqp;
    if (!amqp || !amqp->connection)
        return TF_OK;
    enum tf_err err = lend(amqp);
    take_beyond(world, client);
    if (!err)
        err = drain(client, now);
    if (!err)
        err = take_events(world, client, now);
    if (!err)
        err = drain(client, now);
    if (!err && client->role == TF_BENCH_IDLE && tf_amqp_take(amqp->connection)) {
        free(amqp->output);
        amqp->output = NULL;
    }
    return err;
}

static void amqp_tick(struct tf_bench_client *client, tf_time now)
{
    if (client->amqp && client->amqp->connection && !lend(client->amqp))
        tf_amqp_tick(client->amqp->connection, now);
}

static void amqp_leave(struct tf_bench_world *world, struct tf_bench_client *client)
{
    (void)world;
    if (client->amqp && client->amqp->connection && !lend(client->amqp))
        tf_amqp_close(client->amqp->connection, NULL);
}

/* ---- in and out ---- */

static enum tf_err amqp_greet(struct tf_bench_world *world, struct tf_bench_client *client,
                              tf_time now)
{
    struct tf_bench_amqp_client *amqp = client->amqp = calloc(1, sizeof *client->amqp);
    if (!amqp)
        return TF_NO_MEMORY;
    configure(world, client);
    if (world->config->bare)
        return bare_greet(world, client);
    if (client->role == TF_BENCH_PUBLISHER) {
        amqp->body = malloc(world->config->size);
        if (!amqp->body)
            return TF_NO_MEMORY;
        memset(amqp->body, 'x', world->config->size);
    }
    enum tf_err err = make_machine(amqp, now);
    return err ? err : lend(amqp);
}

static enum tf_err ended(struct tf_bench_world *world, const struct tf_bench_amqp_client *amqp)
{
    const struct tf_amqp_error *error = NULL;
    (void)tf_amqp_closing(amqp->connection, &error);
    return fail(world, "the connection has ended", error);
}

static enum tf_err amqp_input(struct tf_bench_world *world, struct tf_bench_client *client,
                              struct tf_bytes in, size_t *ret_used, tf_time now)
{
    struct tf_bench_amqp_client *amqp = client->amqp;
    size_t used = 0;
    int refused = 0; /* in a row */
    if (!amqp->connection)
        return bare_input(world, client, in, ret_used, now);
    enum tf_err err = lend(amqp);
    amqp->blocked = false;
    while (!err && used < in.length) {
        size_t taken = 0, need = 0;
        struct tf_bytes left = tf_bytes_of(in.data + used, in.length - used);
        enum tf_err got = tf_amqp_input(amqp->connection, left, &taken, &need, now);
        used += taken;
        err = take_events(world, client, now);
        if (err || got == TF_MORE)
            break;
        refused = got == TF_AGAIN ? refused + 1 : 0;
        if (refused > 2)
            err = fail(world, "the machine takes no input", NULL);
        else if (refused)
            err = drain(client, now);
        else if (got)
            err = ended(world, amqp);
    }
    *ret_used = used;
    return err;
}

static bool amqp_open(const struct tf_bench_world *world, const struct tf_bench_client *client)
{
    const struct tf_bench_amqp_client *amqp = client->amqp;
    return tf_bench_ledger_open(&world->ledger, client->index) &&
           client->unacked < client->in_flight_max && !amqp->blocked &&
           (!amqp->connection || tf_amqp_link_credit_left(amqp->link) > 0);
}

static enum tf_err amqp_publish(struct tf_bench_world *world, struct tf_bench_client *client,
                                tf_time sent)
{
    struct tf_bench_amqp_client *amqp = client->amqp;
    if (!amqp->connection)
        return bare_publish(world, client, sent);
    uint32_t size = world->config->size;
    uint32_t number = world->ledger.senders[client->index].sent;
    uint8_t head[HEAD_MAX], tag[4] = {(uint8_t)(number >> 24), (uint8_t)(number >> 16),
                                      (uint8_t)(number >> 8), (uint8_t)number};
    struct tf_bytes body = tf_bytes_of(amqp->body, size - TF_BENCH_STAMP_SIZE);
    struct tf_amqp_sending sending = {
        .handle = number,
        .tag = tf_bytes_of(tag, sizeof tag),
        .head = head_write(head, world->config, client->index, number, sent),
        .body = &body,
        .body_count = 1,
        .settled = world->config->qos == 0};
    bool borrowed;
    uint64_t delivery;
    sending.owner = size > COPIED_MAX;
    enum tf_err err = tf_amqp_send(amqp->link, &sending, &borrowed, &delivery);
    for (int again = 0; err == TF_AGAIN && again < 2; again++) {
        err = drain(client, sent);
        if (!err)
            err = take_events(world, client, sent);
        if (!err)
            err = tf_amqp_send(amqp->link, &sending, &borrowed, &delivery);
    }
    amqp->blocked = err == TF_AGAIN;
    if (err)
        return err == TF_AGAIN || err == TF_NO_MEMORY || err == TF_PROTOCOL
                   ? err
                   : fail(world, "a message cannot be sent", NULL);
    tf_bench_ledger_send(&world->ledger, client->index);
    client->unacked += !sending.settled;
    client->sent = sent;
    return TF_OK;
}

static void amqp_release(struct tf_bench_client *client)
{
    struct tf_bench_amqp_client *amqp = client->amqp;
    if (!amqp)
        return;
    for (void *table; amqp->session && (table = tf_amqp_session_reclaim(amqp->session)) != NULL;)
        free(table);
    for (void *table; amqp->connection && (table = tf_amqp_reclaim(amqp->connection)) != NULL;)
        free(table);
    free(amqp->connection_memory);
    free(amqp->session_memory);
    free(amqp->link_memory);
    free(amqp->output);
    free(amqp->body);
    free(amqp->whole);
    free(amqp);
    client->amqp = NULL;
}

const struct tf_bench_protocol tf_bench_amqp = {
    .name = "amqp",
    .port = TF_AMQP_PORT,
    .greet = amqp_greet,
    .input = amqp_input,
    .leave = amqp_leave,
    .open = amqp_open,
    .publish = amqp_publish,
    .flush = amqp_flush,
    .tick = amqp_tick,
    .release = amqp_release,
};
