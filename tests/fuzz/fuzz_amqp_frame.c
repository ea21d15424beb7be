/*
 * Fuzz target: AMQP frames and what is in them. What the reader accepts, the writer must write, no
 * longer than it came, and that must read and write the same again; what is read by hand is what
 * the tables read.
 */
#include <trefoil/amqp_performative.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "amqp/composite.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

#define CHECK(condition) ((condition) ? (void)0 : fail(#condition, __LINE__))

/* Ends the run with what went wrong. */
static _Noreturn void fail(const char *what, int line)
{
    fprintf(stderr, "fuzz_amqp_frame.c:%d: %s\n", line, what);
    abort();
}

/* Writes a performative and its payload into a block of this size. */
static uint8_t *written_new(const struct tf_amqp_performative *performative, uint16_t channel,
                            struct tf_bytes payload, size_t size, size_t *ret_length)
{
    uint8_t *block = malloc(size);
    struct tf_writer writer = tf_writer_of(block, size);

    CHECK(block);
    tf_amqp_frame_write(&writer, channel, performative, payload.length);
    tf_write_bytes(&writer, payload);
    CHECK(!writer.failed);
    *ret_length = tf_writer_length(&writer);
    return block;
}

static void body_fuzz(struct tf_bytes body, uint8_t type, uint16_t channel)
{
    struct tf_amqp_performative performative, by_table;
    enum tf_amqp_condition condition = TF_AMQP_NO_ERROR, table_condition = TF_AMQP_NO_ERROR;
    struct tf_amqp_frame frame;
    struct tf_bytes payload, table_payload;
    size_t length, length_again, need;
    enum tf_err err = tf_amqp_performative_read(body, type, &performative, &payload, &condition);

    CHECK(err ==
          tf_amqp_performative_by_table(body, type, &by_table, &table_payload, &table_condition));
    CHECK(condition == table_condition);
    if (err) {
        CHECK(condition == TF_AMQP_DECODE_ERROR || condition == TF_AMQP_INVALID_FIELD ||
              condition == TF_AMQP_NOT_IMPLEMENTED || condition == TF_AMQP_FRAMING_ERROR);
        return;
    }
    /* A symbolic descriptor becomes a number, a symbol of an error stays: never longer. */
    uint8_t *once = written_new(&performative, channel, payload, body.length + 64, &length);
    CHECK(length <= body.length + 8);
    uint8_t *table =
        written_new(&by_table, channel, table_payload, body.length + 64, &length_again);
    CHECK(length == length_again && !memcmp(once, table, length));
    free(table);
    CHECK(tf_amqp_frame_read(tf_bytes_of(once, length), UINT32_MAX, &frame, &need) == TF_OK);
    CHECK(frame.size == length && frame.channel == channel && frame.type == type);
    CHECK(!tf_amqp_performative_read(frame.body, type, &performative, &payload, &condition));
    uint8_t *twice = written_new(&performative, channel, payload, length + 64, &length_again);
    CHECK(length == length_again && !memcmp(once, twice, length));
    free(once);
    free(twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    struct tf_bytes input = tf_bytes_of(data, length);
    struct tf_amqp_frame frame;
    struct tf_amqp_state state;
    size_t need = 0;

    enum tf_err err = tf_amqp_frame_read(input, 1u << 20, &frame, &need);
    CHECK(err == TF_OK || err == TF_PROTOCOL || err == TF_LIMIT || err == TF_MORE);
    CHECK(err != TF_MORE || (need > length && need <= 1u << 20));
    if (!err)
        body_fuzz(frame.body, frame.type, frame.channel);
    body_fuzz(input, TF_AMQP_FRAME, 1);
    body_fuzz(input, TF_AMQP_FRAME_SASL, 0);
    if (!tf_amqp_state_read(input, &state)) {
        uint8_t *block = malloc(length + 16);
        struct tf_writer writer = tf_writer_of(block, length + 16);

        CHECK(block);
        tf_amqp_state_write(&writer, &state);
        CHECK(!writer.failed && tf_writer_length(&writer) <= length);
        CHECK(!tf_amqp_state_read(tf_bytes_of(block, tf_writer_length(&writer)), &state));
        free(block);
    }
    return 0;
}
