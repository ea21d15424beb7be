/*
 * The check of a whole value: everything in it, to a depth of 32, with a stack of its own.
 *
 * A described value is two values, one after the other: descriptor and value. It takes a level like
 * a compound of two. The constructor of an array may have descriptors too; they are checked once,
 * before the items.
 *
 * Time is linear in the bytes: items of no width are counted and not visited, and what is spent
 * for equal keys (keys.c) is bounded for each pair.
 */
#include "amqp/codec.h"

enum level_kind {
    LEVEL_ITEMS,       /* of a list or map */
    LEVEL_DESCRIBED,   /* a descriptor and its value: ends where they end */
    LEVEL_CONSTRUCTOR, /* of an array, to be read */
    LEVEL_ARRAY        /* its items */
};

struct level {
    const uint8_t *end;
    uint32_t left;
    uint8_t kind;
    uint8_t code; /* ARRAY: of all items; CONSTRUCTOR: descriptors so far */
};

struct check {
    struct tf_reader *reader; /* its end is the end of the level on top */
    const uint8_t *end;       /* of the whole input */
    uint32_t *empty_left;
    unsigned depth;
    struct level levels[TF_AMQP_DEPTH_MAX];
};

/* Goes into something. False: too deep. */
static bool enter(struct check *check, enum level_kind kind, uint32_t count, const uint8_t *end)
{
    if (check->depth == TF_AMQP_DEPTH_MAX)
        return false;
    check->levels[check->depth++] = (struct level){end, count, (uint8_t)kind, 0};
    check->reader->end = end;
    return true;
}

/* Checks what is behind a format code, or goes into it. */
static bool value_begin(struct check *check, uint8_t code)
{
    struct tf_amqp_value value;

    if (code == TF_AMQP_CODE_DESCRIBED)
        return enter(check, LEVEL_DESCRIBED, 2, check->reader->end);
    if (!tf_amqp_content_read(check->reader, code, &value))
        return false;
    if (value.type < TF_AMQP_LIST || code == TF_AMQP_CODE_LIST0)
        return true;
    if (value.type == TF_AMQP_MAP) {
        value.descriptors = 0;
        if (!tf_amqp_keys_differ(&value))
            return false;
    }
    const uint8_t *end = check->reader->next;
    check->reader->next = value.bytes.data;
    return enter(check, value.type == TF_AMQP_ARRAY ? LEVEL_CONSTRUCTOR : LEVEL_ITEMS, value.count,
                 end);
}

/* One step of an array's constructor: a descriptor, or the format code. */
static bool constructor_step(struct check *check, struct level *level)
{
    uint8_t code = tf_read_u8(check->reader);

    if (check->reader->failed)
        return false;
    if (code == TF_AMQP_CODE_DESCRIBED) {
        if (level->code++ == TF_AMQP_DEPTH_MAX)
            return false;
        code = tf_read_u8(check->reader);
        return !check->reader->failed && value_begin(check, code);
    }
    if (!tf_amqp_array_fits(code, level->left, tf_reader_left(check->reader)))
        return false;
    level->kind = LEVEL_ARRAY;
    level->code = code;
    if (code >> 4 == TF_AMQP_CATEGORY_EMPTY) {
        if (level->left > *check->empty_left)
            return false;
        *check->empty_left -= level->left;
        level->left = 0;
    }
    return true;
}

/* One step in the level on top. */
static bool step(struct check *check)
{
    struct level *level = &check->levels[check->depth - 1];

    if (level->kind == LEVEL_CONSTRUCTOR)
        return constructor_step(check, level);
    if (!level->left) {
        if (level->kind != LEVEL_DESCRIBED && check->reader->next != level->end)
            return false; /* bytes behind the last item */
        check->depth--;
        check->reader->end = check->depth ? check->levels[check->depth - 1].end : check->end;
        return true;
    }
    level->left--;
    uint8_t code = level->kind == LEVEL_ARRAY ? level->code : tf_read_u8(check->reader);
    return !check->reader->failed && value_begin(check, code);
}

enum tf_err tf_amqp_check_counted(struct tf_reader *reader, struct tf_bytes *ret_encoded,
                                  uint32_t *empty_items_left)
{
    struct check check = {
        .reader = reader, .end = reader->end, .empty_left = empty_items_left, .depth = 0};
    const uint8_t *begin = reader->next;
    uint8_t code = tf_read_u8(reader);

    if (reader->failed || !value_begin(&check, code))
        return tf_amqp_fail(reader);
    while (check.depth) {
        if (!step(&check))
            return tf_amqp_fail(reader);
    }
    *ret_encoded = tf_amqp_since(reader, begin);
    return TF_OK;
}

enum tf_err tf_amqp_value_check(struct tf_reader *reader, struct tf_bytes *ret_encoded)
{
    uint32_t left = TF_AMQP_EMPTY_ITEMS_MAX;

    return tf_amqp_check_counted(reader, ret_encoded, &left);
}
