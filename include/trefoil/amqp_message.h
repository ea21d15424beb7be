/*
 * Messages (part 3, section 2): what a delivery's bytes are, section by section, and their writers.
 *
 * Nothing is copied: sections are views of the whole, so that a node can send on what it received
 * bit for bit, with a header and annotations of its own before it.
 */
#ifndef TREFOIL_AMQP_MESSAGE_H
#define TREFOIL_AMQP_MESSAGE_H

#include <trefoil/amqp_value.h>

#define TF_AMQP_PRIORITY_DEFAULT 4u /* 3.2.1 */

/* Descriptor codes of the sections, in the order in which they stand in a message (3.2). */
enum tf_amqp_section {
    TF_AMQP_HEADER = 0x70,
    TF_AMQP_DELIVERY_ANNOTATIONS,
    TF_AMQP_MESSAGE_ANNOTATIONS,
    TF_AMQP_PROPERTIES,
    TF_AMQP_APPLICATION_PROPERTIES,
    TF_AMQP_DATA,
    TF_AMQP_AMQP_SEQUENCE,
    TF_AMQP_AMQP_VALUE,
    TF_AMQP_FOOTER
};

/* 3.2.1 */
struct tf_amqp_header {
    bool durable;
    uint8_t priority; /* default TF_AMQP_PRIORITY_DEFAULT: set it before writing */
    bool has_ttl;
    uint32_t ttl_ms;
    bool first_acquirer;
    uint32_t delivery_count;
};

/* 3.2.4. A view that is empty was not there; `has_...` where an empty one would differ. */
struct tf_amqp_properties {
    struct tf_bytes message_id; /* encoded: a ulong, uuid, binary or string (tf_amqp_value_of) */
    struct tf_bytes user_id;
    bool has_to; /* an empty address is one */
    struct tf_bytes to;
    struct tf_bytes subject;
    bool has_reply_to;
    struct tf_bytes reply_to;
    struct tf_bytes correlation_id; /* encoded, as message_id */
    struct tf_bytes content_type;
    struct tf_bytes content_encoding;
    bool has_absolute_expiry_time, has_creation_time;
    int64_t absolute_expiry_time; /* ms since 1970 */
    int64_t creation_time;        /* ms since 1970 */
    bool has_group_id;
    struct tf_bytes group_id;
    bool has_group_sequence;
    uint32_t group_sequence;
    struct tf_bytes reply_to_group_id;
};

/* What the body is made of (3.2). */
enum tf_amqp_body_type {
    TF_AMQP_BODY_NONE,
    TF_AMQP_BODY_DATA,     /* one data section */
    TF_AMQP_BODY_DATAS,    /* several: one string of bytes in pieces */
    TF_AMQP_BODY_SEQUENCE, /* one list or several: one list in pieces */
    TF_AMQP_BODY_VALUE
};

/*
 * A message as it was read. `..._section` and `body` are encoded, with the sections' descriptors;
 * empty: not there. The maps are encoded maps, for tf_amqp_map_find and tf_amqp_value_of.
 */
struct tf_amqp_message {
    bool has_header;
    struct tf_amqp_header header; /* the defaults if there is none */
    struct tf_amqp_properties properties;
    struct tf_bytes header_section;
    struct tf_bytes delivery_annotations_section, delivery_annotations;
    struct tf_bytes message_annotations_section, message_annotations;
    struct tf_bytes properties_section;
    struct tf_bytes application_properties_section, application_properties;
    enum tf_amqp_body_type body_type;
    struct tf_bytes body;  /* all body sections */
    struct tf_bytes data;  /* BODY_DATA: the content, inside `body` */
    struct tf_bytes value; /* BODY_VALUE: the encoded value, inside `body` */
    struct tf_bytes footer_section, footer;
    struct tf_bytes bare; /* properties, application properties and body: immutable on the way */
};

/*
 * Reads a whole message: order and number of sections, every value in it. Without a body it is
 * taken all the same. TF_PROTOCOL: *ret_condition tells what to answer (DECODE_ERROR or
 * INVALID_FIELD); *ret is in disorder (it is large: nothing is copied). Views borrow `in`.
 */
TF_MUST_USE enum tf_err tf_amqp_message_read(struct tf_bytes in, struct tf_amqp_message *ret,
                                             enum tf_amqp_condition *ret_condition);

/*
 * The contents of the body one section after the other: a binary for each data section, a list for
 * each sequence, the value. False: no more. Start with tf_reader_of(message.body), of a message
 * that was read.
 */
bool tf_amqp_body_next(struct tf_reader *body, struct tf_amqp_value *ret);

/* ---- writing ---- */

/* The descriptor of a section; its content follows: a map, a list, a value. */
static inline void tf_amqp_write_section(struct tf_writer *writer, enum tf_amqp_section section)
{
    tf_amqp_write_descriptor(writer, (uint64_t)section);
}

/* Whole sections. What has its default, or is not there, is left out (1.4). */
void tf_amqp_write_header(struct tf_writer *writer, const struct tf_amqp_header *header);
void tf_amqp_write_properties(struct tf_writer *writer,
                              const struct tf_amqp_properties *properties);

/* A data section's head; `length` bytes of content are to follow, from wherever. */
void tf_amqp_write_data_head(struct tf_writer *writer, size_t length);

/* A body that is one string (amqp-value). */
void tf_amqp_write_value_string(struct tf_writer *writer, struct tf_bytes utf8);

#endif
