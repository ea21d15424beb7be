/*
 * A shard's part of /.well-known/core: links of its addresses, so many a turn. What is done with
 * the parts is in coap_front_listing.c.
 */
#include "base/mem.h"
#include "broker/coap_front_internal.h"

#include <trefoil/coap_link.h>
#include <trefoil/coap_uri.h>

#define LOOK_RUN 512u           /* addresses that are looked at for one part in a turn, */
#define LOOK_BYTES 64u          /* of address and query, beyond which it counts as several */
#define LISTING_MAX (16u << 20) /* bytes of a part: above, a reader has to filter */

struct tf_message *tf_coap_front_listing_text(struct coap_front *front)
{
    static const uint8_t format[2] = {0, TF_COAP_FORMAT_LINK};
    struct tf_envelope envelope = {.address = tf_bytes_str(".well-known/core"),
                                   .content_type = tf_bytes_str("application/link-format"),
                                   .encoded = tf_bytes_of(format, sizeof(format)),
                                   .expires = TF_TIME_NEVER,
                                   .origin = TF_PROTOCOL_COAP};
    return tf_message_new(&envelope, front->shard->config.alloc);
}

/* Writes the link of a value. RFC 7252 7.2.1, RFC 7641 6. */
static void link_write(struct tf_writer *out, const struct tf_message *message)
{
    const struct tf_envelope *envelope = &message->publication.envelope;
    struct tf_bytes segment;
    size_t offset = 0;
    uint16_t format;
    tf_write_u8(out, '<');
    while (tf_mapping_coap_segment(envelope->address, &offset, &segment)) {
        tf_coap_segment_write(out, segment);
    }
    tf_write_u8(out, '>');
    if (tf_mapping_format_of(envelope, &format)) {
        tf_coap_attribute_write_uint(out, tf_bytes_str("ct"), format);
    }
    size_t size = tf_publication_length(&message->publication);
    /* what a body of sections is to CoAP is not known before it is read */
    if (envelope->body_format == TF_BODY_PLAIN && size <= UINT32_MAX) {
        tf_coap_attribute_write_uint(out, tf_bytes_str("sz"), (uint32_t)size);
    }
    tf_coap_attribute_write_flag(out, tf_bytes_str("obs"));
}

/* Adds a value's link to a part, if it is wanted. */
static void add_link(struct coap_front *front, struct coap_gather *gather,
                     const struct tf_message *message)
{
    struct tf_bytes address = message->publication.envelope.address;
    struct tf_writer out = tf_writer_of(front->scratch, COAP_SCRATCH_SIZE);
    struct tf_coap_link link;
    if (!tf_mapping_coap_has_form(address)) {
        return;
    }
    tf_write_u8(&out, ',');
    link_write(&out, message);
    if (out.failed) {
        return; /* an address that percent-encoding makes longer than a datagram */
    }
    struct tf_bytes text = tf_bytes_of(front->scratch + 1, tf_writer_length(&out) - 1);
    struct tf_coap_links links = tf_coap_links_of(text);
    if (gather->query_length &&
        (tf_coap_link_next(&links, &link) ||
         !tf_coap_link_wanted(&link, tf_bytes_of(gather->query, gather->query_length)))) {
        return;
    }
    if (!gather->text) {
        gather->text = tf_coap_front_listing_text(front);
    } else {
        text = tf_bytes_of(front->scratch, tf_writer_length(&out));
    }
    while (front->listing_bytes + text.length > COAP_LISTING_BYTES_MAX &&
           tf_coap_front_listing_drop(front)) {
    }
    if (!gather->text || gather->length + text.length > LISTING_MAX ||
        front->listing_bytes + text.length > COAP_LISTING_BYTES_MAX ||
        tf_message_append(gather->text, text)) {
        gather->failed = true;
        return;
    }
    gather->length += text.length;
    front->listing_bytes += text.length;
}

bool tf_coap_front_gather_some(struct coap_front *front, struct coap_gather *gather, size_t *budget)
{
    size_t run = TF_MIN(*budget, LOOK_RUN), looked = 0;
    bool more = true;
    while (more && !gather->failed && looked < run) {
        const struct tf_value *value =
            tf_values_next(&front->shard->values, &gather->cursor, run - looked, &more);
        if (!value) {
            looked = run;
            break;
        }
        size_t bytes = value->message->publication.envelope.address.length + gather->query_length;
        add_link(front, gather, value->message);
        looked += 1 + bytes / LOOK_BYTES;
        more = true;
    }
    *budget -= TF_MIN(*budget, looked);
    return gather->failed || !more;
}

void tf_coap_front_gather_free(struct coap_front *front, struct coap_gather *gather)
{
    tf_value_cursor_release(&gather->cursor, front->shard->config.alloc);
    if (gather->text) {
        tf_message_unref(gather->text);
    }
    tf_coap_front_free(front, gather, sizeof(*gather) + gather->query_length);
}

struct coap_gather *tf_coap_front_gather_new(struct coap_front *front, uint64_t listing,
                                             struct tf_bytes query)
{
    struct coap_gather *gather = tf_coap_front_alloc(front, sizeof(*gather) + query.length);
    if (gather) {
        memset(gather, 0, sizeof(*gather));
        gather->listing = listing;
        gather->from = front->shard->config.number;
        gather->cursor.filter = tf_bytes_str("#");
        gather->query_length = query.length;
        if (query.length) {
            memcpy(gather->query, query.data, query.length);
        }
    }
    return gather;
}
