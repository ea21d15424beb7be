/*
 * What the store keeps of messages, entries, queues, bindings and values, as bytes. Fronts have
 * records of their own beside these (sessions); their kinds are listed here, so that no two are the
 * same. docs/internals/stored.md has the formats.
 *
 * Everything begins with a version of its own. Times are wall times: microseconds since 1970, 0:
 * never. Numbers are big-endian. What is read was checked by sums, but is not trusted: lengths are
 * looked at before use, and a record that makes no sense is TF_PROTOCOL.
 */
#ifndef TF_ROUTE_STORED_H
#define TF_ROUTE_STORED_H

#include "route/named.h"
#include "route/queue.h"
#include "store/store.h"

/* What an object is. Its key is what stands behind. */
enum tf_stored_kind {
    TF_STORED_QUEUE = 1, /* a named queue: its name */
    TF_STORED_BINDING,   /* of a queue of any kind: its id (8 bytes), the filter */
    TF_STORED_VALUE,     /* the value of an address: the address. Refers to its message if that is
                            large, else has it */
    TF_STORED_SESSION,   /* of the MQTT front: the client id. Refers to its will */
    TF_STORED_RECEIVED,  /* a QoS 2 packet id of a session: id of its queue (8 bytes), packet id */
    TF_STORED_TRANSFER,  /* of the AMQP front: a delivery that it has accepted and whose sender may
                            not know: container's id and link's name, each behind its length (2
                            bytes), then the delivery's tag. Home: that of the container's id */
    TF_STORED_OBSERVER   /* of the CoAP front: an observer that asked to survive: the shard (2
                            bytes), then the front's. Home: that shard, whose socket it came by */
};

/* An object as it is read at the start. Views of the store, for the call. */
struct tf_stored_object {
    uint8_t kind; /* enum tf_stored_kind */
    struct tf_bytes key, value;
    struct tf_message *message; /* that it refers to; NULL: none. Borrowed */
};

/* A time as it is stored, `wall` being what is added to it (tf_shard.wall); and back. */
static inline uint64_t tf_stored_time(tf_time time, tf_time wall)
{
    tf_time stored = tf_time_add(time, wall);
    return stored == TF_TIME_NEVER ? 0 : stored ? stored : 1;
}
static inline tf_time tf_stored_time_read(uint64_t stored, tf_time wall)
{
    return stored == 0 ? TF_TIME_NEVER : stored > wall ? stored - wall : 0;
}

/* How safe a message is kept where `level` is wanted: no safer than its listener or address asks.
 */
static inline enum tf_store_level tf_stored_level(enum tf_store_level level,
                                                  const struct tf_envelope *envelope)
{
    unsigned slack = envelope->slack < TF_STORE_DISK ? envelope->slack : TF_STORE_DISK;
    unsigned allowed = TF_STORE_DISK - slack;
    return level < allowed ? level : (enum tf_store_level)allowed;
}

/* What belongs to a queue (a binding, a packet id) has a key that begins with the queue's id. */
#define TF_STORED_ID_BYTES 8u
/* Writes such a key, TF_STORED_ID_BYTES and `rest`, into `buffer`. */
static inline struct tf_bytes tf_stored_key_write(uint8_t *buffer, uint64_t id,
                                                  struct tf_bytes rest)
{
    struct tf_writer writer = tf_writer_of(buffer, TF_STORED_ID_BYTES + rest.length);
    tf_write_u64(&writer, id);
    tf_write_bytes(&writer, rest);
    return tf_bytes_of(buffer, tf_writer_length(&writer));
}
/* Takes the id off a key, which is `rest` then; 0: there is none, nothing is taken off. */
static inline uint64_t tf_stored_key_read(struct tf_bytes *key)
{
    struct tf_reader reader = tf_reader_of(*key);
    uint64_t id = tf_read_u64(&reader);
    if (reader.failed || id == 0) {
        return 0;
    }
    *key = tf_read_rest(&reader);
    return id;
}

/* ---- messages ---- */

/* Bytes of the head of a message: all but its body. */
size_t tf_stored_head_size(const struct tf_envelope *envelope);
/* Writes it; `wall` is what is added to a tf_time to have the wall time. */
void tf_stored_head_write(struct tf_writer *writer, const struct tf_envelope *envelope,
                          tf_time wall);
/* A message from head and body in one piece, one count. TF_PROTOCOL, TF_NO_MEMORY. */
TF_MUST_USE enum tf_err tf_stored_message_read(struct tf_bytes bytes, tf_time wall,
                                               const struct tf_alloc *alloc,
                                               struct tf_message **ret);

/* ---- entries ---- */

/* What an entry has beside its message. */
struct tf_stored_entry {
    uint32_t charge; /* bytes that it counts for in its queue */
    uint32_t tag;    /* of its consumer: tf_entry.tag */
    tf_time expires; /* by its queue's time to live or its message's; wall; 0: never */
    uint16_t attempts;
    uint8_t qos;
    bool retain, acquired_before;
    struct tf_bytes ids;         /* subscription identifiers as written; see below */
    struct tf_bytes annotations; /* that `modified` has left */
};

/*
 * Writes attributes into `buffer` of TF_JOURNAL_ATTRIBUTES_MAX bytes; returns how many. Of the
 * identifiers as many as fit; annotations only if all of them do.
 */
size_t tf_stored_entry_write(uint8_t *buffer, const struct tf_stored_entry *entry,
                             const struct tf_subscription_ids *ids);
/* TF_PROTOCOL: it makes no sense. */
TF_MUST_USE enum tf_err tf_stored_entry_read(struct tf_bytes bytes, struct tf_stored_entry *ret);
/* The next identifier of `ids`, which moves on; false: no more. */
bool tf_stored_entry_id(struct tf_bytes *ids, uint32_t *ret);

/* ---- queues, bindings, values ---- */

/* The value of a QUEUE: its id in the store and what it was made as (but `configured`). */
size_t tf_stored_queue_size(const struct tf_queue_spec *spec);
void tf_stored_queue_write(struct tf_writer *writer, uint64_t id, const struct tf_queue_spec *spec);
TF_MUST_USE enum tf_err tf_stored_queue_read(struct tf_bytes value, uint64_t *ret_id,
                                             struct tf_queue_spec *ret_spec);

#define TF_STORED_BINDING_BYTES 8u
/* The value of a BINDING: its options. */
void tf_stored_binding_write(struct tf_writer *writer, const struct tf_binding_options *options);
TF_MUST_USE enum tf_err tf_stored_binding_read(struct tf_bytes value,
                                               struct tf_binding_options *ret);

/* The value of a VALUE: its version, and the message if the object refers to none. */
#define TF_STORED_VALUE_BYTES 17u
void tf_stored_value_write(struct tf_writer *writer, uint64_t version, uint64_t shown);
TF_MUST_USE enum tf_err tf_stored_value_read(struct tf_bytes value, uint64_t *ret_version,
                                             uint64_t *ret_shown, struct tf_bytes *ret_message);

/* ---- appending, for those who record ---- */

/* tf_store_reserve, for whoever is told in the route's words. TF_NO_MEMORY. TF_LIMIT: it is too
 * much, or the store takes nothing new, full or broken: refuse what was asked for. */
TF_MUST_USE enum tf_err tf_stored_reserve(struct tf_shard *shard, size_t bytes);

/* The store's tf_store_config.hold and let_go for the messages of tf_stored_message. */
void tf_stored_hold(void *owner);
void tf_stored_let_go(void *owner);

/*
 * What the store is given of a message, which is its owner; its head is written into the shard's
 * scratch, which lasts until the next call, unless the store has it already. TF_NO_MEMORY.
 */
TF_MUST_USE enum tf_err tf_stored_message(struct tf_shard *shard, struct tf_message *message,
                                          struct tf_store_message *ret);

#endif
