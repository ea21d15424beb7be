/*
 * A message: what was published, immutable and counted.
 *
 * A publication is a message as it arrives, a set of views on the publisher's bytes that live for
 * one call. It becomes a counted message (tf_publication_keep) only when something must hold it
 * longer: a queue, a value, another shard. So what goes straight from one connection's input to
 * another's output allocates nothing.
 *
 * A message that several shards hold has atomic counts and is freed by whoever lets go last. What a
 * protocol makes of it for all receivers alike (an encoding) is attached once, by compare and
 * swap; the loser frees its own. (docs/adr/0003)
 *
 * This must not know any protocol: `encoded` is the origin's own form, opaque here.
 */
#ifndef TF_ROUTE_MESSAGE_H
#define TF_ROUTE_MESSAGE_H

#include "base/alloc.h"

#include <stdatomic.h>
#include <trefoil/bytes.h>
#include <trefoil/err.h>
#include <trefoil/time.h>

/* Whose protocol brought a message, and in whose form an encoding is. */
enum tf_protocol {
    TF_PROTOCOL_SYSTEM,
    TF_PROTOCOL_MQTT,
    TF_PROTOCOL_COAP,
    TF_PROTOCOL_AMQP,
    TF_PROTOCOL_PLAIN /* no origin: the encoding that is a body's plain form */
};

enum tf_payload_format { TF_PAYLOAD_BYTES, TF_PAYLOAD_TEXT };

/*
 * What a body is: the plain bytes that every protocol carries, or the origin's own sections, which
 * other protocols see in the plain form that the mapping makes of them (TF_PROTOCOL_PLAIN).
 */
enum tf_body_format { TF_BODY_PLAIN, TF_BODY_SECTIONS };

/* What is known of a message beside its body. */
struct tf_envelope {
    struct tf_bytes address;
    struct tf_bytes content_type;
    struct tf_bytes correlation;
    struct tf_bytes reply_to;
    struct tf_bytes encoded; /* the origin's properties that go on to every receiver alike */
    tf_time expires;         /* TF_TIME_NEVER: does not */
    uint64_t publisher;      /* the publishing session's number; 0: none */
    uint8_t origin;          /* enum tf_protocol */
    uint8_t qos;             /* 0 at most once, 1 at least once, 2 exactly once */
    uint8_t priority;
    uint8_t payload_format; /* enum tf_payload_format */
    uint8_t body_format;    /* enum tf_body_format */
    uint8_t slack;          /* levels below TF_STORE_DISK that its listener or address allows it */
    bool durable;           /* its producer wants it kept over a restart */
    bool retain;            /* becomes the value of its address, */
    bool clear;             /* or, with `retain`, leaves the address without one */
    uint16_t attempts;      /* failed deliveries that it brings along: of a dead letter */
    uint8_t deaths;         /* how often a queue has sent it to a dead-letter address */
};

struct tf_message;

/* A message on its way, held by nobody yet. */
struct tf_publication {
    struct tf_envelope envelope;
    const struct tf_bytes *body;
    size_t body_count;
    struct tf_message *kept; /* set once something keeps it; the publication holds one count */
    uint64_t transaction;    /* what is recorded of it becomes true together with what the publisher
                                records; 0: need not. See tf_store_join */
};

/* Another protocol's form of a message, attached to it and freed with it. */
struct tf_encoding {
    struct tf_encoding *next;
    size_t size; /* of the allocation */
    uint8_t protocol;
    struct tf_bytes bytes;
};

struct tf_message {
    struct tf_publication publication; /* what deliveries read; `kept` is the message itself */
    struct tf_bytes span;              /* the body, when it is in one piece */
    const struct tf_alloc *alloc;
    size_t size;             /* of the allocation: what an account is charged */
    struct tf_bytes *chunks; /* the body's pieces when it came in runs; each allocated */
    size_t chunk_capacity;
    size_t chunk_room; /* bytes that the last chunk has left; all others are full */
    uint64_t stored;   /* the store's own word about it: its thread alone uses it */
    _Atomic(struct tf_encoding *) encodings;
    atomic_uint refs;
};

/* The bytes of a publication's body. */
size_t tf_publication_length(const struct tf_publication *publication);

/*
 * The counted message of a publication, made at the first call by copying what it views, with one
 * count for the caller. NULL: no memory, nothing changed.
 */
struct tf_message *tf_publication_keep(struct tf_publication *publication,
                                       const struct tf_alloc *alloc);

/* Lets go of the publication's own count, if something kept it. To be called when it is done. */
void tf_publication_release(struct tf_publication *publication);

/*
 * Starts a message whose body comes in runs: envelope copied, no body yet, one count. NULL: no
 * memory. Append with tf_message_append before anybody else may see it.
 */
struct tf_message *tf_message_new(const struct tf_envelope *envelope, const struct tf_alloc *alloc);

/*
 * Appends a copy of `run` to the body; many short runs become few pieces. TF_NO_MEMORY: the body
 * has not changed.
 */
TF_MUST_USE enum tf_err tf_message_append(struct tf_message *message, struct tf_bytes run);

/* One count more. */
static inline struct tf_message *tf_message_ref(struct tf_message *message)
{
    atomic_fetch_add_explicit(&message->refs, 1, memory_order_relaxed);
    return message;
}

/* One count less; the last one frees it. Any thread. */
void tf_message_unref(struct tf_message *message);

/* The encoding attached for `protocol`; NULL if none is. It lives as long as the message. */
const struct tf_encoding *tf_message_encoding(struct tf_message *message, unsigned protocol);

/*
 * Attaches a copy of `bytes` as the encoding for `protocol`, or finds that another thread has.
 * NULL: no memory.
 */
const struct tf_encoding *tf_message_attach(struct tf_message *message, unsigned protocol,
                                            struct tf_bytes bytes);

#endif
