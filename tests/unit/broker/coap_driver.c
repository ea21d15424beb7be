/*
 * CoAP fronts without sockets. See coap_driver.h.
 */
#include "unit/broker/coap_driver.h"

#include "base/assert.h"
#include "base/util.h"

#include <stdio.h>

#define BATCH 16u

/* A datagram for the broker. */
struct packet {
    struct tf_list_node node;
    struct tf_datagram_path path;
    uint8_t flags;
    size_t length;
    uint8_t data[];
};

/* A shard's channel, and who talks to it. */
struct socket {
    struct tf_channel *channel; /* NULL: closed */
    struct tf_list inbox;
    struct tf_list peers;
    bool stuck;
};

static struct socket *socket_of(const struct driver *driver, unsigned shard)
{
    return driver->nodes[shard].transports;
}

struct coap_front *coap_driver_front(struct driver *driver, unsigned shard)
{
    return tf_container_of(driver->nodes[shard].beside, struct coap_front, front);
}

struct coap_channel *coap_driver_channel(struct driver *driver, unsigned shard)
{
    return tf_container_of(socket_of(driver, shard)->channel, struct coap_channel, channel);
}

/* ---- the transport ---- */

static void started(struct driver_node *node)
{
    struct socket *socket = calloc(1, sizeof(*socket));
    tf_assert(socket);
    tf_list_init(&socket->inbox);
    tf_list_init(&socket->peers);
    node->transports = socket;
    socket->channel = node->beside->ops->bind(node->beside, 1);
    tf_assert(socket->channel);
    socket->channel->transport = socket;
}

/* Hands a datagram to the peer that it is for. */
static void arrive(struct socket *socket, const struct tf_datagram *datagram)
{
    struct tf_list_node *node = tf_list_first(&socket->peers);
    for (; node; node = tf_list_next(&socket->peers, node)) {
        struct coap_peer *peer = tf_container_of(node, struct coap_peer, node);
        if (memcmp(&peer->path, datagram->path, sizeof(peer->path)) == 0) {
            struct coap_got *got = malloc(sizeof(*got) + datagram->bytes.length);
            tf_assert(got);
            memset(got, 0, sizeof(*got));
            got->length = datagram->bytes.length;
            memcpy(got->data, datagram->bytes.data, got->length);
            enum tf_err err = tf_coap_decode(&got->message, tf_bytes_of(got->data, got->length));
            tf_assert(!err);
            tf_list_push_back(&peer->came, &got->node);
            return;
        }
    }
    tf_assert(!"a datagram for nobody");
}

/* Sends what there is; how many went. */
static size_t send_out(struct socket *socket)
{
    struct tf_datagram out[BATCH];
    size_t count, sent = 0;
    while (!socket->stuck && (count = socket->channel->ops->output(socket->channel, out, BATCH))) {
        for (size_t i = 0; i < count; i++) {
            arrive(socket, &out[i]);
        }
        socket->channel->ops->sent(socket->channel, count);
        sent += count;
    }
    return sent;
}

/* As worker_channel.c does it: what is not taken although output was sent is lost. */
static bool read_socket(struct driver_node *node)
{
    struct socket *socket = node->transports;
    struct tf_list_node *first;
    bool read = false;
    while (!socket->stuck && (first = tf_list_pop_front(&socket->inbox))) {
        struct packet *packet = tf_container_of(first, struct packet, node);
        struct tf_datagram in = {.path = &packet->path,
                                 .bytes = tf_bytes_of(packet->data, packet->length),
                                 .flags = packet->flags};
        while (socket->channel && !socket->channel->ops->input(socket->channel, &in, 1) &&
               send_out(socket)) {
        }
        memset(packet->data, 0xDD, packet->length);
        free(packet);
        read = true;
    }
    return read;
}

static void write_socket(struct driver_node *node)
{
    struct socket *socket = node->transports;
    if (socket->channel && !socket->stuck) {
        (void)send_out(socket);
        tf_list_unlink(&socket->channel->dirty);
    }
}

static void close_socket(struct socket *socket)
{
    if (socket->channel) {
        tf_list_unlink(&socket->channel->dirty);
        socket->channel->ops->close(socket->channel);
        socket->channel = NULL;
    }
}

static void stop(struct driver_node *node)
{
    struct socket *socket = node->transports;
    struct tf_list_node *i;
    close_socket(socket);
    while ((i = tf_list_pop_front(&socket->inbox))) {
        free(tf_container_of(i, struct packet, node));
    }
    while ((i = tf_list_pop_front(&socket->peers))) {
        struct coap_peer *peer = tf_container_of(i, struct coap_peer, node);
        while ((i = tf_list_pop_front(&peer->came))) {
            free(tf_container_of(i, struct coap_got, node));
        }
        free(peer->last);
        free(peer);
    }
    free(socket);
    node->transports = NULL;
}

static void check(struct driver_node *node)
{
    const struct coap_front *front = tf_container_of(node->beside, struct coap_front, front);
    struct socket *socket = node->transports;
    uint64_t charged = 0;
    if (!socket->channel) {
        return;
    }
    const struct coap_channel *channel =
        tf_container_of(socket->channel, struct coap_channel, channel);
    tf_assert(tf_coap_endpoint_check(channel->endpoint));
    struct tf_list_node *i = tf_list_first(&channel->works);
    for (; i; i = tf_list_next(&channel->works, i)) {
        const struct coap_work *work = tf_container_of(i, struct coap_work, in_channel);
        tf_assert(work->channel == channel && work->front == front);
        charged += work->charged;
    }
    tf_assert(charged == front->body_bytes);
}

static const struct driver_beside beside = {.type = &tf_coap_front_type,
                                            .started = started,
                                            .read = read_socket,
                                            .write = write_socket,
                                            .check = check,
                                            .stop = stop};

/* ---- the driver ---- */

void coap_driver_init(struct driver *driver, unsigned shards)
{
    driver_init(driver, shards);
    driver->beside = &beside;
    driver->config.coap_max_peers = 2000;
    driver->config.coap_max_replies = 200;
    driver->config.coap_max_bodies = 16;
    driver->config.listeners[1].coap_max_observers = 1200;
}

void coap_driver_stick(struct driver *driver, unsigned shard, bool stuck)
{
    struct socket *socket = socket_of(driver, shard);
    socket->stuck = stuck;
}

void coap_driver_close(struct driver *driver, unsigned shard)
{
    close_socket(socket_of(driver, shard));
}

void coap_driver_expect_idle(struct driver *driver)
{
    for (unsigned i = 0; i < driver->count; i++) {
        const struct coap_front *front = coap_driver_front(driver, i);
        tf_assert(tf_list_empty(&front->orphans) && tf_list_empty(&front->gathers));
        tf_assert(tf_list_empty(&front->tickets.tickets) && tf_list_empty(&front->reads.reads));
        tf_assert(front->body_bytes == 0);
        if (socket_of(driver, i)->channel) {
            tf_assert(tf_list_empty(&coap_driver_channel(driver, i)->works));
            tf_assert(tf_list_empty(&coap_driver_channel(driver, i)->answers));
            tf_assert(
                tf_coap_endpoint_counters(coap_driver_channel(driver, i)->endpoint)->requests == 0);
        }
    }
}

const char *coap_name(struct driver *driver, char *buffer, const char *prefix, unsigned home)
{
    for (unsigned i = 0;; i++) {
        sprintf(buffer, "%s%u", prefix, i);
        if (driver_home(driver, buffer) == home) {
            return buffer;
        }
    }
}

/* ---- peers ---- */

struct coap_peer *coap_peer_new(struct driver *driver, unsigned shard)
{
    struct socket *socket = socket_of(driver, shard);
    struct coap_peer *peer = calloc(1, sizeof(*peer));
    tf_assert(peer);
    const struct coap_peer *newest =
        tf_list_empty(&socket->peers)
            ? NULL
            : tf_container_of(tf_list_last(&socket->peers), struct coap_peer, node);
    peer->driver = driver;
    peer->shard = shard;
    peer->path.port = newest ? (uint16_t)(newest->path.port + 1) : 20000;
    peer->path.family = 4;
    peer->flags = TF_DATAGRAM_TRUSTED;
    peer->id = 1;
    tf_list_init(&peer->came);
    tf_list_push_back(&socket->peers, &peer->node);
    return peer;
}

void coap_send_bytes(struct coap_peer *peer, struct tf_bytes bytes)
{
    struct socket *socket = socket_of(peer->driver, peer->shard);
    struct packet *packet = malloc(sizeof(*packet) + bytes.length);
    tf_assert(packet);
    memset(&packet->node, 0, sizeof(packet->node));
    packet->path = peer->path;
    packet->flags = peer->flags;
    packet->length = bytes.length;
    memcpy(packet->data, bytes.data, bytes.length);
    tf_list_push_back(&socket->inbox, &packet->node);
}

/* Options from Observe to Uri-Path. */
static void put_path(struct tf_coap_encoder *out, const struct coap_ask *ask)
{
    struct tf_bytes address = tf_bytes_str(ask->path ? ask->path : ""), segment;
    size_t offset = 0;
    if (ask->observe) {
        tf_coap_encode_uint(out, TF_COAP_OBSERVE, ask->observe - 1);
    }
    if (ask->raw.data) {
        tf_coap_encode_option(out, TF_COAP_URI_PATH, ask->raw);
    }
    while (ask->path && tf_mapping_coap_segment(address, &offset, &segment)) {
        tf_coap_encode_option(out, TF_COAP_URI_PATH, segment);
    }
}

uint32_t coap_send(struct coap_peer *peer, const struct coap_ask *ask)
{
    static const struct tf_bytes nothing = {NULL, 0};
    struct tf_coap_encoder out;
    uint8_t buffer[70000], token[4];
    uint32_t number = ask->token ? ask->token : 0x10000u + peer->id;
    for (unsigned i = 0; i < 4; i++) {
        token[i] = (uint8_t)(number >> 8 * i);
    }
    tf_coap_encode(&out, buffer, sizeof(buffer), ask->non ? TF_COAP_NON : TF_COAP_CON, ask->code,
                   peer->id++, tf_bytes_of(token, sizeof(token)));
    for (size_t i = 0; i < ask->if_match_count; i++) {
        tf_coap_encode_option(&out, TF_COAP_IF_MATCH, ask->if_match[i]);
    }
    if (ask->etag.length) {
        tf_coap_encode_option(&out, TF_COAP_ETAG, ask->etag);
    }
    if (ask->if_none_match) {
        tf_coap_encode_option(&out, TF_COAP_IF_NONE_MATCH, nothing);
    }
    put_path(&out, ask);
    if (ask->format) {
        tf_coap_encode_uint(&out, TF_COAP_CONTENT_FORMAT, ask->format - 1);
    }
    if (ask->query) {
        tf_coap_encode_option(&out, TF_COAP_URI_QUERY, tf_bytes_str(ask->query));
    }
    if (ask->accept) {
        tf_coap_encode_uint(&out, TF_COAP_ACCEPT, ask->accept - 1);
    }
    if (ask->block2) {
        tf_coap_encode_uint(&out, TF_COAP_BLOCK2, ask->block2 - 1);
    }
    if (ask->block1) {
        tf_coap_encode_uint(&out, TF_COAP_BLOCK1, ask->block1 - 1);
    }
    tf_coap_encode_payload(&out, ask->text ? tf_bytes_str(ask->text) : ask->body);
    struct tf_bytes datagram = tf_coap_encoded(&out);
    tf_assert(datagram.length);
    coap_send_bytes(peer, datagram);
    return number;
}

static void acknowledge(struct coap_peer *peer, uint16_t id)
{
    const uint8_t ack[] = {0x60, 0, (uint8_t)(id >> 8), (uint8_t)id};
    coap_send_bytes(peer, tf_bytes_of(ack, sizeof(ack)));
}

const struct tf_coap_message *coap_take(struct coap_peer *peer)
{
    struct tf_list_node *node;
    driver_run(peer->driver);
    while ((node = tf_list_pop_front(&peer->came))) {
        free(peer->last);
        peer->last = tf_container_of(node, struct coap_got, node);
        const struct tf_coap_message *message = &peer->last->message;
        if (message->type == TF_COAP_CON && !peer->mute) {
            acknowledge(peer, message->message_id);
        }
        if (message->code != TF_COAP_EMPTY || message->type != TF_COAP_ACK) {
            return message;
        }
    }
    return NULL;
}

const struct tf_coap_message *coap_expect(struct coap_peer *peer, uint8_t code)
{
    const struct tf_coap_message *message = coap_take(peer);
    if (!message || message->code != code) {
        fprintf(stderr, "expected %u.%02u, got %u.%02u\n", code >> 5, code & 31u,
                message ? message->code >> 5 : 0, message ? message->code & 31u : 0);
        tf_assert(!"the wrong answer");
    }
    return message;
}

void coap_expect_nothing(struct coap_peer *peer)
{
    tf_assert(coap_take(peer) == NULL);
}

const struct tf_coap_message *coap_ask(struct coap_peer *peer, const struct coap_ask *ask,
                                       uint8_t code)
{
    uint32_t token = coap_send(peer, ask), got = 0;
    const struct tf_coap_message *message = coap_expect(peer, code);
    for (size_t i = message->token.length; i--;) {
        got = got << 8 | message->token.data[i];
    }
    tf_assert(got == token);
    return message;
}

void coap_put(struct coap_peer *peer, const char *path, const char *text)
{
    coap_send(peer, &(struct coap_ask){.code = TF_COAP_PUT, .path = path, .text = text});
    const struct tf_coap_message *message = coap_take(peer);
    tf_assert(message && (message->code == TF_COAP_CREATED || message->code == TF_COAP_CHANGED));
}

void coap_expect_value(struct coap_peer *peer, const char *path, const char *text)
{
    const struct tf_coap_message *message =
        coap_ask(peer, &(struct coap_ask){.code = TF_COAP_GET, .path = path},
                 text ? TF_COAP_CONTENT : TF_COAP_NOT_FOUND);
    tf_assert(!text || coap_body_is(message, text));
}

int64_t coap_number(const struct tf_coap_message *message, uint16_t number)
{
    struct tf_bytes value;
    return tf_coap_option_find(message->options, number, &value) ? (int64_t)tf_coap_uint(value)
                                                                 : -1;
}

struct tf_bytes coap_etag(const struct tf_coap_message *message, uint8_t buffer[8])
{
    struct tf_bytes value = {NULL, 0};
    if (tf_coap_option_find(message->options, TF_COAP_ETAG, &value)) {
        memcpy(buffer, value.data, value.length);
        value.data = buffer;
    }
    return value;
}

bool coap_body_is(const struct tf_coap_message *message, const char *text)
{
    return tf_bytes_equal(message->payload, tf_bytes_str(text));
}
