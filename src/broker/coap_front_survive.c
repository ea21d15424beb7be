/*
 * Observers that asked to survive a restart of the broker, by the query `survive` in their
 * registration. RFC 7641 has no word for it: to the protocol they are observers like all others.
 *
 * What the store has of one is an object, from before its registration is answered until it ends:
 *
 *   registration --> the first value is known --> put, on disk --> answered --> told, ... --> ends:
 *                                                                                          removed
 *   restart: restored --> RETURNING --> its listener's channel in this shard: observes again, and
 *   is told the present value by a CON. No such channel, another number of shards: removed
 *
 * Home is the shard whose socket the registration came by: the system gives a peer's datagrams to
 * the same socket of a listener as long as there are as many (SO_REUSEPORT), so this shard will
 * hear its acknowledgements. After a restart of the machine the system may choose otherwise: then
 * the CON is acknowledged to another shard, which knows nothing of it, and after its time-out the
 * observation ends as if the peer had gone.
 *
 * Invariants: of one key there is one survivor in front->survivors, the one that the store has; who
 * registers anew takes the object over. A survivor has an observer, or is RETURNING.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "base/util.h"
#include "broker/address.h"
#include "broker/coap_front_internal.h"

#include <string.h>

#define STORED_VERSION 1u
#define FLAG_TRUSTED 1u
#define RETURN_BUDGET 64u /* observers of an earlier broker in a turn */
#define PATH_SIZE sizeof(struct tf_datagram_path)

/*
 * Key: shard 2, shards 2, the listener's host (2, n) and port 2, the peer's path, token.
 * Value: version 1, flags 1, block size 1, Content-Format 4, address.
 */
#define KEY_HEAD 4u
#define VALUE_HEAD 7u

struct coap_survivor {
    struct tf_tree_node by_key;     /* front->survivors, while `saved` */
    struct tf_list_node in_front;   /* front->unsaved, or front->returning */
    struct coap_observer *observer; /* NULL: RETURNING */
    struct coap_front *front;
    uint64_t batch; /* that it was put with; 0: not by this broker */
    uint32_t format;
    uint8_t level; /* enum tf_store_level */
    bool saved;    /* the store has it */
    size_t key_length, value_length;
    size_t path;    /* where it begins in the key */
    uint8_t data[]; /* key and value */
};

static struct tf_bytes key_of(const struct coap_survivor *survivor)
{
    return tf_bytes_of(survivor->data, survivor->key_length);
}

static struct tf_bytes value_of(const struct coap_survivor *survivor)
{
    return tf_bytes_of(survivor->data + survivor->key_length, survivor->value_length);
}

static struct tf_bytes address_of(const struct coap_survivor *survivor)
{
    struct tf_bytes value = value_of(survivor);
    return tf_bytes_of(value.data + VALUE_HEAD, value.length - VALUE_HEAD);
}

static struct coap_survivor *survivor_of(struct tf_list_node *node)
{
    return tf_container_of(node, struct coap_survivor, in_front);
}

/* How a listener is found again: by its place on the network, not in the configuration. */
static size_t listener_size(const struct tf_config_listener *listener)
{
    return 4 + (listener->host ? strlen(listener->host) : 0);
}

static void listener_write(struct tf_writer *writer, const struct tf_config_listener *listener)
{
    struct tf_bytes host = tf_bytes_str(listener->host ? listener->host : "");
    tf_write_u16(writer, (uint16_t)host.length);
    tf_write_bytes(writer, host);
    tf_write_u16(writer, listener->port);
}

static struct coap_survivor *survivor_alloc(struct coap_front *front, size_t key, size_t value)
{
    struct coap_survivor *survivor = tf_coap_front_alloc(front, sizeof(*survivor) + key + value);
    if (survivor) {
        memset(survivor, 0, sizeof(*survivor));
        survivor->front = front;
        survivor->key_length = key;
        survivor->value_length = value;
    }
    return survivor;
}

/* ---- registration ---- */

static bool asks_to_survive(struct tf_bytes options)
{
    struct tf_coap_cursor cursor = tf_coap_options(options);
    struct tf_coap_option option;
    while (tf_coap_option_next(&cursor, &option) && option.number <= TF_COAP_URI_QUERY) {
        if (option.number == TF_COAP_URI_QUERY &&
            tf_bytes_equal(option.value, tf_bytes_str("survive"))) {
            return true;
        }
    }
    return false;
}

/* The block size that notifications are to have; above 6: none was asked for. */
static uint8_t block_size(struct tf_bytes options)
{
    struct tf_coap_block block;
    struct tf_bytes value;
    return tf_coap_option_find(options, TF_COAP_BLOCK2, &value) && tf_coap_block_read(value, &block)
               ? block.szx
               : UINT8_MAX;
}

enum tf_err tf_coap_front_survivor_new(const struct coap_channel *channel,
                                       const struct tf_coap_event *event, struct tf_bytes address,
                                       struct coap_survivor **ret)
{
    struct coap_front *front = channel->front;
    const struct tf_config *config = front->context.config;
    const struct tf_config_listener *listener = &config->listeners[channel->listener];
    enum tf_store_level level = tf_durability_of_listener(config, channel->listener);
    *ret = NULL;
    if (!front->shard->config.store || level == TF_STORE_MEMORY ||
        !asks_to_survive(event->message.options)) {
        return TF_OK;
    }
    size_t path = KEY_HEAD + listener_size(listener);
    struct coap_survivor *survivor = survivor_alloc(
        front, path + PATH_SIZE + event->message.token.length, VALUE_HEAD + address.length);
    if (!survivor) {
        return TF_NO_MEMORY;
    }
    survivor->level = (uint8_t)level;
    survivor->path = path;
    struct tf_writer writer =
        tf_writer_of(survivor->data, survivor->key_length + survivor->value_length);
    tf_write_u16(&writer, (uint16_t)front->shard->config.number);
    tf_write_u16(&writer, (uint16_t)front->shard->count);
    listener_write(&writer, listener);
    tf_write_bytes(&writer, tf_bytes_of(event->path, PATH_SIZE));
    tf_write_bytes(&writer, event->message.token);
    tf_write_u8(&writer, STORED_VERSION);
    tf_write_u8(&writer, event->flags & TF_DATAGRAM_TRUSTED ? FLAG_TRUSTED : 0);
    tf_write_u8(&writer, block_size(event->message.options));
    tf_write_u32(&writer, TF_COAP_NO_FORMAT);
    tf_write_bytes(&writer, address);
    tf_assert(!writer.failed && writer.next == writer.end);
    *ret = survivor;
    return TF_OK;
}

static uint32_t format_of(const struct coap_reply *reply)
{
    for (size_t i = 0; i < reply->response.option_count; i++) {
        if (reply->options[i].number == TF_COAP_CONTENT_FORMAT) {
            return tf_coap_uint(reply->options[i].value);
        }
    }
    return TF_COAP_NO_FORMAT;
}

/* The store has it no more, or has another's in its place. */
static void unsave(struct coap_survivor *survivor)
{
    if (survivor->saved) {
        tf_tree_remove(&survivor->front->survivors, &survivor->by_key);
        survivor->saved = false;
    }
}

/* It takes the place of whoever registered with the same token before. */
static void take_over(struct coap_survivor *survivor)
{
    struct tf_tree *survivors = &survivor->front->survivors;
    struct tf_tree_node *node = tf_tree_find(survivors, key_of(survivor));
    if (node) {
        struct coap_survivor *other = tf_container_of(node, struct coap_survivor, by_key);
        unsave(other);
        if (!other->observer) {
            tf_coap_front_survivor_free(other, false);
        }
    }
    (void)tf_tree_insert(survivors, &survivor->by_key, key_of(survivor));
    survivor->saved = true;
}

static enum tf_err put(struct coap_survivor *survivor, uint32_t format)
{
    struct tf_store_client *store = survivor->front->shard->config.store;
    struct tf_bytes key = key_of(survivor);
    enum tf_err err = tf_store_reserve(store, key.length + survivor->value_length);
    if (err) {
        return err;
    }
    struct tf_writer writer = tf_writer_of(survivor->data + key.length + 3, 4);
    tf_write_u32(&writer, format);
    survivor->format = format;
    tf_store_put(store, (enum tf_store_level)survivor->level, TF_STORED_OBSERVER, key,
                 value_of(survivor), NULL);
    return TF_OK;
}

enum tf_err tf_coap_front_survivor_save(struct coap_observer *observer,
                                        const struct coap_reply *reply)
{
    struct coap_survivor *survivor = observer->survivor;
    struct coap_front *front = survivor->front;
    uint32_t format = format_of(reply);
    if (survivor->batch) {
        if (!tf_store_done(front->shard->config.store, survivor->batch)) {
            return TF_AGAIN;
        }
        /* The value has got another format meanwhile. Nobody waits for this: should it be lost, the
         * observation ends by 4.06 after the restart. */
        return survivor->format == format || !survivor->saved ? TF_OK : put(survivor, format);
    }
    enum tf_err err = put(survivor, format);
    if (err) {
        return err;
    }
    survivor->observer = observer;
    survivor->batch = tf_shard_recorded(front->shard);
    take_over(survivor);
    tf_list_push_back(&front->unsaved, &survivor->in_front);
    return TF_AGAIN;
}

void tf_coap_front_survivor_free(struct coap_survivor *survivor, bool forget)
{
    if (!survivor) {
        return;
    }
    struct coap_front *front = survivor->front;
    if (survivor->saved && forget) {
        tf_store_remove(front->shard->config.store, TF_STORE_OS, TF_STORED_OBSERVER,
                        key_of(survivor));
    }
    unsave(survivor);
    tf_list_unlink(&survivor->in_front);
    tf_coap_front_free(front, survivor,
                       sizeof(*survivor) + survivor->key_length + survivor->value_length);
}

/* ---- after a restart ---- */

enum tf_err tf_coap_front_restore(struct coap_front *front, const struct tf_stored_object *object)
{
    struct tf_reader reader = tf_reader_of(object->key);
    unsigned shard = tf_read_u16(&reader), shards = tf_read_u16(&reader);
    (void)tf_read_bytes16(&reader); /* the listener's host */
    (void)tf_read_u16(&reader);
    size_t path = object->key.length - tf_reader_left(&reader);
    (void)tf_read_bytes(&reader, PATH_SIZE);
    if (reader.failed || tf_reader_left(&reader) > TF_COAP_TOKEN_MAX ||
        object->value.length <= VALUE_HEAD || object->value.data[0] != STORED_VERSION ||
        !tf_address_valid(
            tf_bytes_of(object->value.data + VALUE_HEAD, object->value.length - VALUE_HEAD))) {
        return TF_PROTOCOL;
    }
    if (shards != front->shard->count || shard != front->shard->config.number) {
        /* the system will give its datagrams to another shard */
        tf_store_remove(front->shard->config.store, TF_STORE_OS, TF_STORED_OBSERVER, object->key);
        return TF_NOT_FOUND;
    }
    struct coap_survivor *survivor =
        survivor_alloc(front, object->key.length, object->value.length);
    if (!survivor) {
        return TF_NO_MEMORY;
    }
    survivor->path = path;
    memcpy(survivor->data, object->key.data, object->key.length);
    memcpy(survivor->data + object->key.length, object->value.data, object->value.length);
    survivor->saved = tf_tree_insert(&front->survivors, &survivor->by_key, key_of(survivor));
    tf_list_push_back(&front->returning, &survivor->in_front);
    return TF_OK;
}

/* The channel that a survivor's registration came by; NULL: its listener is there no more, or lets
 * nobody in. */
static struct coap_channel *channel_of(const struct coap_survivor *survivor)
{
    struct coap_front *front = survivor->front;
    struct tf_list_node *node = tf_list_first(&front->channels);
    struct tf_bytes place = tf_bytes_of(survivor->data + KEY_HEAD, survivor->path - KEY_HEAD);
    for (; node; node = tf_list_next(&front->channels, node)) {
        struct coap_channel *channel = tf_container_of(node, struct coap_channel, in_front);
        const struct tf_config_listener *listener =
            &front->context.config->listeners[channel->listener];
        struct tf_reader reader = tf_reader_of(place);
        struct tf_bytes host = tf_read_bytes16(&reader);
        if (tf_bytes_equal(host, tf_bytes_str(listener->host ? listener->host : "")) &&
            tf_read_u16(&reader) == listener->port) {
            /* the first of a listener is that of its address: groups come behind */
            return listener->access.allow_anonymous ? channel : NULL;
        }
    }
    return NULL;
}

/* Has a survivor observe again. TF_NO_MEMORY: try again later. Else it is dealt with. */
static enum tf_err observe_again(struct coap_survivor *survivor)
{
    struct coap_channel *channel = channel_of(survivor);
    struct tf_bytes key = key_of(survivor), value = value_of(survivor);
    struct tf_reader reader = tf_reader_of(value);
    enum tf_err err = TF_NOT_FOUND;
    (void)tf_read_u8(&reader); /* the version */
    struct tf_coap_registration registration = {
        .path = key.data + survivor->path,
        .token = tf_bytes_of(key.data + survivor->path + PATH_SIZE,
                             key.length - survivor->path - PATH_SIZE)};
    registration.trusted = (tf_read_u8(&reader) & FLAG_TRUSTED) != 0;
    registration.block_szx = tf_read_u8(&reader);
    registration.format = tf_read_u32(&reader);
    if (channel) {
        err = tf_coap_front_observe_again(channel, &registration, address_of(survivor),
                                          &survivor->observer);
    }
    if (err == TF_NO_MEMORY) {
        return err;
    }
    if (err) {
        tf_coap_front_survivor_free(survivor, true);
    } else {
        tf_list_remove(&survivor->in_front);
        survivor->observer->survivor = survivor;
    }
    return TF_OK;
}

void tf_coap_front_survivors(struct coap_front *front)
{
    struct tf_list_node *node;
    unsigned budget = RETURN_BUDGET;
    while ((node = tf_list_first(&front->unsaved)) &&
           tf_store_done(front->shard->config.store, survivor_of(node)->batch)) {
        tf_list_remove(node);
        tf_coap_front_observer_ready(survivor_of(node)->observer);
    }
    while ((node = tf_list_first(&front->returning)) && !front->draining) {
        if (budget-- == 0) {
            front->front.again = true;
            return;
        }
        if (observe_again(survivor_of(node))) {
            return; /* no memory: in a later turn */
        }
    }
}

void tf_coap_front_survivors_release(struct coap_front *front)
{
    struct tf_list_node *node;
    while ((node = tf_list_first(&front->returning))) {
        tf_coap_front_survivor_free(survivor_of(node), false);
    }
    tf_assert(front->survivors.count == 0 && tf_list_empty(&front->unsaved));
}
