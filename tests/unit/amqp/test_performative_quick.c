/*
 * Transfers and dispositions read by hand are what the table reads: over the encodings of each
 * field, cut short everywhere, and with bytes changed at random. Parts 1 (1.6) and 2 (2.7.5, 2.7.6)
 * of AMQP 1.0.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <trefoil/amqp_performative.h>

#include "amqp/composite.h"
#include "base/random.h"
#include "base/util.h"

enum { FIELDS_MAX = 11, CHOICES_MAX = 10, PAYLOAD = 3 };

/* A piece of encoding. */
struct piece {
    const char *bytes;
    size_t length;
};
#define PIECE(text)            \
    {                          \
        text, sizeof(text) - 1 \
    }

#define NOTHING PIECE("\x40")
#define UINTS                                                                                    \
    NOTHING, PIECE("\x43"), PIECE("\x52\x00"), PIECE("\x52\xFF"), PIECE("\x70\x12\x34\x56\x78"), \
        PIECE("\x70\xFF\xFF\xFF\xFF"), PIECE("\x44"), PIECE("\x53\x01"), PIECE("\x00\x53\x01\x43")
#define BOOLS                                                                    \
    NOTHING, PIECE("\x41"), PIECE("\x42"), PIECE("\x56\x00"), PIECE("\x56\x01"), \
        PIECE("\x56\x02"), PIECE("\x50\x01")
#define STATES                                                                      \
    NOTHING, PIECE("\x00\x53\x24\x45"), PIECE("\x00\x53\x26\x45"),                  \
        PIECE("\x00\x53\x24\xC0\x01\x00"), PIECE("\x00\x80\0\0\0\0\0\0\0\x24\x45"), \
        PIECE("\x00\xA3\x12\x61mqp:accepted:list\x45"),                             \
        PIECE("\x00\x53\x23\xC0\x04\x02\x52\x07\x44"), PIECE("\x00\x53\x24\x40"),   \
        PIECE("\x00\x53\x99\x45"), PIECE("\x24")

/* How each field may be written, legal and not. */
struct shape {
    uint8_t code;
    unsigned count;
    struct piece fields[FIELDS_MAX][CHOICES_MAX];
};

static const struct shape transfer = {
    .code = TF_AMQP_TRANSFER_FRAME,
    .count = 11,
    .fields = {{UINTS},
               {UINTS},
               {NOTHING, PIECE("\xA0\x00"), PIECE("\xA0\x01t"),
                PIECE("\xA0\x20"
                      "0123456789abcdef0123456789abcdef"),
                PIECE("\xA0\x21"
                      "0123456789abcdef0123456789abcdef!"),
                PIECE("\xB0\x00\x00\x00\x01t"), PIECE("\xA1\x01t"), PIECE("\xA0\xFF")},
               {UINTS},
               {BOOLS},
               {BOOLS},
               {NOTHING, PIECE("\x50\x00"), PIECE("\x50\x01"), PIECE("\x50\x02"), PIECE("\x43")},
               {STATES},
               {BOOLS},
               {BOOLS},
               {BOOLS}}};

static const struct shape disposition = {
    .code = TF_AMQP_DISPOSITION,
    .count = 6,
    .fields = {{BOOLS}, {UINTS}, {UINTS}, {BOOLS}, {STATES}, {BOOLS}}};

/* What the parts around the fields are. */
struct dress {
    struct piece descriptor; /* its code is appended, unless it is a symbol */
    uint8_t list;
    int count, size; /* added to the true ones */
};

static const struct dress dresses[] = {
    {PIECE("\x00\x53"), 0xC0, 0, 0},
    {PIECE("\x00\x53"), 0xD0, 0, 0},
    {PIECE("\x00\x80\0\0\0\0\0\0\0"), 0xC0, 0, 0},
    {PIECE("\x00\x53"), 0xC0, 1, 0},
    {PIECE("\x00\x53"), 0xC0, -1, 0},
    {PIECE("\x00\x53"), 0xC0, 0, 1},
    {PIECE("\x00\x53"), 0xC0, 0, -1},
    {PIECE("\x00\x53"), 0xD0, 1, 0},
    {PIECE("\x00\x53"), 0xD0, 0, -1},
    {PIECE("\x00\x53"), 0xD0, 0, PAYLOAD + 1},
};

struct body {
    uint8_t bytes[256];
    size_t length;
};

static void put(struct body *body, const char *bytes, size_t length)
{
    assert_true(body->length + length <= sizeof body->bytes);
    memcpy(body->bytes + body->length, bytes, length);
    body->length += length;
}

static void put_number(struct body *body, bool wide, size_t number)
{
    const char bytes[4] = {(char)(number >> 24), (char)(number >> 16), (char)(number >> 8),
                           (char)number};

    put(body, wide ? bytes : bytes + 3, wide ? 4 : 1);
}

/* A body with the choices of the first `count` fields, and a payload if it is a transfer. */
static struct body body_of(const struct shape *shape, const struct dress *dress,
                           const unsigned *choices, unsigned count)
{
    struct body body = {.length = 0}, fields = {.length = 0};
    bool wide = dress->list == 0xD0;
    const char code = (char)shape->code, list = (char)dress->list;

    for (unsigned i = 0; i < count; i++)
        put(&fields, shape->fields[i][choices[i]].bytes, shape->fields[i][choices[i]].length);
    put(&body, dress->descriptor.bytes, dress->descriptor.length);
    put(&body, &code, 1);
    put(&body, &list, 1);
    put_number(&body, wide, fields.length + (wide ? 4 : 1) + (size_t)dress->size);
    put_number(&body, wide, count + (size_t)dress->count);
    put(&body, (const char *)fields.bytes, fields.length);
    if (shape->code == TF_AMQP_TRANSFER_FRAME)
        put(&body, "pay", PAYLOAD);
    return body;
}

static unsigned choices_of(const struct shape *shape, unsigned field)
{
    unsigned count = 0;

    while (count < CHOICES_MAX && shape->fields[field][count].length > 0)
        count++;
    return count;
}

/* ---- both readers ---- */

static unsigned read_count, by_hand_count;

static void same_view(struct tf_bytes a, struct tf_bytes b)
{
    assert_ptr_equal(a.data, b.data);
    assert_int_equal(a.length, b.length);
}

static void same_state(const struct tf_amqp_state *a, const struct tf_amqp_state *b)
{
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->section_number, b->section_number);
    assert_int_equal(a->section_offset, b->section_offset);
    assert_int_equal(a->error.condition, b->error.condition);
    assert_int_equal(a->delivery_failed, b->delivery_failed);
    assert_int_equal(a->undeliverable_here, b->undeliverable_here);
    same_view(a->error.symbol, b->error.symbol);
    same_view(a->error.description, b->error.description);
    same_view(a->error.info, b->error.info);
    same_view(a->annotations, b->annotations);
    same_view(a->txn_id, b->txn_id);
    same_view(a->outcome, b->outcome);
    same_view(a->raw, b->raw);
}

static void same_transfer(const struct tf_amqp_transfer *a, const struct tf_amqp_transfer *b)
{
    assert_int_equal(a->handle, b->handle);
    assert_int_equal(a->has_delivery_id, b->has_delivery_id);
    assert_int_equal(a->has_delivery_tag, b->has_delivery_tag);
    assert_int_equal(a->has_message_format, b->has_message_format);
    assert_int_equal(a->has_settled, b->has_settled);
    assert_int_equal(a->has_rcv_settle_mode, b->has_rcv_settle_mode);
    assert_int_equal(a->delivery_id, b->delivery_id);
    same_view(a->delivery_tag, b->delivery_tag);
    assert_int_equal(a->message_format, b->message_format);
    assert_int_equal(a->settled, b->settled);
    assert_int_equal(a->more, b->more);
    assert_int_equal(a->rcv_settle_mode, b->rcv_settle_mode);
    assert_int_equal(a->state.type, b->state.type);
    if (a->state.type != TF_AMQP_STATE_NONE) /* else the rest is not set */
        same_state(&a->state, &b->state);
    assert_int_equal(a->resume, b->resume);
    assert_int_equal(a->aborted, b->aborted);
    assert_int_equal(a->batchable, b->batchable);
}

static void same_disposition(const struct tf_amqp_disposition *a,
                             const struct tf_amqp_disposition *b)
{
    assert_int_equal(a->role, b->role);
    assert_int_equal(a->first, b->first);
    assert_int_equal(a->has_last, b->has_last);
    assert_int_equal(a->last, b->last);
    assert_int_equal(a->settled, b->settled);
    same_state(&a->state, &b->state);
    assert_int_equal(a->batchable, b->batchable);
}

/* True if the padding behind the fields is as it was: the table clears it. */
static bool by_hand(const struct tf_amqp_performative *read)
{
    const uint8_t *fields = (const uint8_t *)&read->transfer;
    size_t size =
        read->type == TF_AMQP_TRANSFER_FRAME ? sizeof read->transfer : sizeof read->disposition;

    return fields[size - 1] == 0xA5;
}

/* Reads it both ways; true: by hand too. The bytes lie in a block of just their length. */
static bool compare(const uint8_t *bytes, size_t length)
{
    struct tf_amqp_performative quick, table;
    enum tf_amqp_condition quick_condition = TF_AMQP_NO_ERROR, table_condition = TF_AMQP_NO_ERROR;
    struct tf_bytes quick_payload = {NULL, 7}, table_payload = {NULL, 7};
    uint8_t *block = malloc(length ? length : 1);
    struct tf_bytes body = tf_bytes_of(block, length);
    enum tf_err quick_err, table_err;
    bool hand = false;

    if (length > 0)
        memcpy(block, bytes, length);
    memset(&quick, 0xA5, sizeof quick);
    memset(&table, 0xA5, sizeof table);
    quick_err =
        tf_amqp_performative_read(body, TF_AMQP_FRAME, &quick, &quick_payload, &quick_condition);
    table_err = tf_amqp_performative_by_table(body, TF_AMQP_FRAME, &table, &table_payload,
                                              &table_condition);
    assert_int_equal(quick_err, table_err);
    assert_int_equal(quick_condition, table_condition);
    same_view(quick_payload, table_payload);
    if (!quick_err) {
        assert_int_equal(quick.type, table.type);
        if (quick.type == TF_AMQP_TRANSFER_FRAME)
            same_transfer(&quick.transfer, &table.transfer);
        if (quick.type == TF_AMQP_DISPOSITION)
            same_disposition(&quick.disposition, &table.disposition);
        hand = by_hand(&quick);
        read_count++;
        by_hand_count += hand;
    }
    free(block);
    return hand;
}

/* The same for all that it begins with, and with a byte more. */
static void compare_cut(const struct body *body)
{
    assert_true(body->length < sizeof body->bytes);
    for (size_t length = 0; length <= body->length + 1; length++)
        (void)compare(body->bytes, length);
}

/* ---- what is compared ---- */

/* Every choice of fields `from` to `to`, with the first choice but nothing of the others. */
static void all_choices(const struct shape *shape, unsigned from, unsigned to, unsigned count)
{
    unsigned choices[FIELDS_MAX] = {0}, runs = 0;

    for (unsigned i = 0; i < from; i++)
        choices[i] = 1;
    for (unsigned at = from; at <= to; runs++) {
        for (size_t i = 0; i < TF_COUNT(dresses); i++) {
            struct body body = body_of(shape, &dresses[i], choices, count);

            if (runs % 29 == 0)
                compare_cut(&body);
            else if (i == runs % TF_COUNT(dresses) || i < 2)
                (void)compare(body.bytes, body.length);
        }
        for (at = from; at <= to && ++choices[at] == choices_of(shape, at); at++)
            choices[at] = 0;
    }
    assert_true(runs > 100);
}

static void transfers(void **state)
{
    (void)state;
    read_count = by_hand_count = 0;
    all_choices(&transfer, 0, 3, 4);
    all_choices(&transfer, 2, 5, 6);
    all_choices(&transfer, 4, 7, 8);
    all_choices(&transfer, 5, 8, 9);
    all_choices(&transfer, 7, 10, 11);
    assert_true(by_hand_count > 1000);
    assert_true(read_count - by_hand_count > 1000);
}

static void dispositions(void **state)
{
    (void)state;
    read_count = by_hand_count = 0;
    all_choices(&disposition, 0, 3, 4);
    all_choices(&disposition, 1, 4, 5);
    all_choices(&disposition, 2, 5, 6);
    assert_true(by_hand_count > 1000);
    assert_true(read_count - by_hand_count > 1000);
}

/* Every number of fields, each of them written in its shortest form. */
static void counts(void **state)
{
    static const struct shape *const shapes[] = {&transfer, &disposition};
    unsigned choices[FIELDS_MAX] = {1, 1, 2, 1, 1, 1, 1, 0, 2, 2, 2};

    (void)state;
    for (int i = 0; i < 2; i++) {
        for (unsigned count = 0; count <= shapes[i]->count; count++) {
            struct body body = body_of(shapes[i], &dresses[0], choices, count);
            compare_cut(&body);
        }
    }
}

/* Bytes of one that is right, changed at random. */
static void mutations(void **state)
{
    static const unsigned plain[2][FIELDS_MAX] = {{2, 3, 2, 1, 1, 2, 1, 0, 2, 2, 1},
                                                  {1, 3, 4, 1, 1, 1}};
    uint64_t seed = 20;

    (void)state;
    for (int i = 0; i < 300000; i++) {
        const struct shape *shape = i % 3 ? &transfer : &disposition;
        unsigned count = 1 + (unsigned)(tf_random_split(&seed) % shape->count);
        struct body body = body_of(shape, &dresses[i / 3 % 2], plain[i % 3 == 0], count);

        for (uint64_t changes = 1 + tf_random_split(&seed) % 3; changes > 0; changes--) {
            uint64_t random = tf_random_split(&seed);
            static const uint8_t codes[] = {0x00, 0x40, 0x41, 0x42, 0x43, 0x45, 0x50, 0x52,
                                            0x53, 0x56, 0x70, 0xA0, 0xB0, 0xC0, 0xD0, 0xFF};
            body.bytes[random % body.length] =
                random >> 40 & 1 ? codes[random >> 32 & 15] : (uint8_t)(random >> 48);
        }
        (void)compare(body.bytes, body.length);
    }
}

/* As senders write them: none takes the table. */
static void senders(void **state)
{
    static const struct shape frames[] = {
        /* what is set, and no more */
        {TF_AMQP_TRANSFER_FRAME, 5, {{PIECE("\x43\x52\x07\xA0\x01t\x43\x41")}}},
        {TF_AMQP_TRANSFER_FRAME, 6, {{PIECE("\x43\x52\x07\xA0\x01t\x43\x42\x41")}}},
        {TF_AMQP_TRANSFER_FRAME, 6, {{PIECE("\x43\x40\x40\x40\x42\x41")}}},
        /* all fields, most of them null or false */
        {TF_AMQP_TRANSFER_FRAME,
         11,
         {{PIECE("\x43\x52\x07\xA0\x01t\x43\x42\x42\x40\x40\x42\x42\x42")}}},
        {TF_AMQP_TRANSFER_FRAME,
         11,
         {{PIECE("\x70\0\0\0\1\x70\0\0\1\0\xA0\x01t\x70\0\0\0\0\x42\x40\x40\x40\x40\x40\x41")}}},
        /* booleans with a byte */
        {TF_AMQP_TRANSFER_FRAME, 7, {{PIECE("\x43\x52\x07\xA0\x01t\x43\x56\x01\x56\x00\x40")}}},
        {TF_AMQP_DISPOSITION, 5, {{PIECE("\x41\x43\x40\x41\x00\x53\x24\x45")}}},
        {TF_AMQP_DISPOSITION, 6, {{PIECE("\x41\x52\x05\x52\x09\x41\x00\x53\x24\x45\x40")}}},
        {TF_AMQP_DISPOSITION, 4, {{PIECE("\x42\x70\0\0\1\5\x40\x41")}}},
    };

    (void)state;
    for (size_t i = 0; i < TF_COUNT(frames); i++) {
        for (int wide = 0; wide < 2; wide++) {
            struct dress dress = dresses[wide];
            unsigned choice = 0;
            dress.count = (int)frames[i].count - 1;
            struct body body = body_of(&frames[i], &dress, &choice, 1);
            if (!compare(body.bytes, body.length))
                fail_msg("frame %zu is not read by hand", i);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transfers), cmocka_unit_test(dispositions), cmocka_unit_test(counts),
        cmocka_unit_test(mutations), cmocka_unit_test(senders),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
