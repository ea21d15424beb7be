/*
 * Messages of runs with AMQP: what one of a number looks like, to the last byte, and what a
 * delivery is. By its number a message has one of several kinds of body, so nothing but the number
 * and the length need be remembered.
 */
#include "sim/amqp.h"

#include "base/assert.h"

#include <stdlib.h>
#include <string.h>

#define NOTE "x-opt-note"

/* ---- writing ---- */

/* The bare message: what must come out as it went in. */
static void write_bare(struct tf_writer *writer, const struct tf_sim_message *message,
                       const char *to)
{
    uint8_t id[16], *body = malloc(message->length + 1u);
    struct tf_writer encoded = tf_writer_of(id, sizeof(id));
    struct tf_bytes bytes = tf_bytes_of(body, message->length);
    tf_assert(body);
    tf_sim_client_body(message, body);
    tf_amqp_write_ulong(&encoded, message->number);
    struct tf_amqp_properties properties = {
        .message_id = tf_bytes_of(id, tf_writer_length(&encoded)),
        .subject = tf_bytes_of((const uint8_t *)"subject", message->number % 8),
        .has_to = to != NULL,
        .to = to ? tf_bytes_str(to) : (struct tf_bytes){NULL, 0}};
    tf_amqp_write_properties(writer, &properties);
    tf_amqp_write_section(writer, TF_AMQP_APPLICATION_PROPERTIES);
    size_t begin = tf_amqp_write_map_begin(writer);
    tf_amqp_write_string(writer, tf_bytes_str("n"));
    tf_amqp_write_uint(writer, message->number);
    tf_amqp_write_string(writer, tf_bytes_str("list"));
    size_t list = tf_amqp_write_list_begin(writer);
    tf_amqp_write_bool(writer, message->number & 1);
    tf_amqp_write_long(writer, -(int64_t)message->number);
    tf_amqp_write_list_end(writer, list, 2);
    tf_amqp_write_map_end(writer, begin, 4);
    size_t half = message->number % 5 == 1 ? message->length / 2 : 0;
    if (message->number % 5 == 2) {
        tf_amqp_write_value_string(writer, bytes);
    } else if (message->number % 5 == 3) {
        tf_amqp_write_section(writer, TF_AMQP_AMQP_SEQUENCE);
        list = tf_amqp_write_list_begin(writer);
        tf_amqp_write_null(writer);
        tf_amqp_write_binary(writer, bytes);
        tf_amqp_write_list_end(writer, list, 2);
    } else {
        if (half) {
            tf_amqp_write_data_head(writer, half);
            tf_write_bytes(writer, tf_bytes_of(body, half));
        }
        tf_amqp_write_data_head(writer, message->length - half);
        tf_write_bytes(writer, tf_bytes_of(body + half, message->length - half));
    }
    free(body);
}

void tf_sim_amqp_message_write(struct tf_writer *writer, const struct tf_sim_message *message,
                               const char *to)
{
    struct tf_amqp_header header = {.durable = message->number & 1,
                                    .priority = (uint8_t)(message->number % 10),
                                    .has_ttl = message->expiry_s != UINT32_MAX,
                                    .ttl_ms = message->expiry_s * 1000};
    tf_amqp_write_header(writer, &header);
    if (message->number % 3 == 0) {
        tf_amqp_write_section(writer, TF_AMQP_MESSAGE_ANNOTATIONS);
        size_t begin = tf_amqp_write_map_begin(writer);
        tf_amqp_write_symbol(writer, tf_bytes_str("x-opt-mine"));
        tf_amqp_write_uint(writer, message->number);
        tf_amqp_write_map_end(writer, begin, 2);
    }
    write_bare(writer, message, to);
}

/* ---- reading ---- */

static uint32_t number_in(struct tf_bytes map, const char *key, uint32_t absent)
{
    struct tf_amqp_value value;
    return tf_amqp_map_find(map, tf_bytes_str(key), &value) && value.type == TF_AMQP_UINT
               ? (uint32_t)value.number
               : absent;
}

/* The bare message of one that a client of AMQP sent: not as it should be? */
static bool bare_changed(const struct tf_amqp_message *message, const struct tf_sim_message *sent)
{
    size_t room = sent->length + TF_SIM_AMQP_MESSAGE_ROOM;
    uint8_t *memory = malloc(room);
    char to[80];
    tf_assert(memory && message->properties.to.length < sizeof(to));
    memcpy(to, message->properties.has_to ? (const char *)message->properties.to.data : "",
           message->properties.to.length);
    to[message->properties.to.length] = 0;
    struct tf_writer writer = tf_writer_of(memory, room);
    write_bare(&writer, sent, message->properties.has_to ? to : NULL);
    bool same = tf_bytes_equal(message->bare, tf_bytes_of(memory, tf_writer_length(&writer))) &&
                (sent->number % 3 ||
                 number_in(message->message_annotations, "x-opt-mine", 0) == sent->number) &&
                message->header.priority == sent->number % 10 &&
                message->header.durable == (sent->number & 1);
    free(memory);
    return !same;
}

/* One that came by MQTT: its body is all there is to it. */
static bool body_changed(const struct tf_amqp_message *message, const struct tf_sim_message *sent)
{
    uint8_t *memory = malloc(sent->length + 1u);
    tf_assert(memory);
    tf_sim_client_body(sent, memory);
    bool same = tf_bytes_equal(message->data, tf_bytes_of(memory, sent->length));
    free(memory);
    return !same;
}

void tf_sim_amqp_message_read(struct tf_sim *sim, struct tf_bytes in,
                              struct tf_sim_amqp_delivery *ret)
{
    struct tf_amqp_message message;
    enum tf_amqp_condition condition;
    char text[9] = "";
    *ret = (struct tf_sim_amqp_delivery){.message = TF_SIM_NONE, .changed = true};
    if (tf_amqp_message_read(in, &message, &condition)) {
        return;
    }
    uint32_t number = number_in(message.application_properties, "n", TF_SIM_NONE);
    bool mine = number != TF_SIM_NONE;
    if (!mine && message.body_type == TF_AMQP_BODY_DATA && message.data.length >= 8) {
        memcpy(text, message.data.data, 8);
        number = (uint32_t)strtoul(text, NULL, 16);
    }
    if (number >= sim->message_count) {
        return;
    }
    const struct tf_sim_message *sent = &sim->messages[number];
    *ret = (struct tf_sim_amqp_delivery){.message = number,
                                         .changed = mine ? bare_changed(&message, sent)
                                                         : body_changed(&message, sent),
                                         .first_acquirer = message.header.first_acquirer,
                                         .delivery_count = message.header.delivery_count,
                                         .note = number_in(message.message_annotations, NOTE, 0)};
}
