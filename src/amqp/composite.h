/*
 * Composite types (1.4) by table: what a type's fields are and where they lie in the caller's
 * struct is written down once, and one reader and one writer serve all types.
 *
 * A field of a composite type of its own (a link's source, a delivery's state) lies inside the
 * struct of the outer one; its type is told by a number there.
 */
#ifndef TF_AMQP_COMPOSITE_H
#define TF_AMQP_COMPOSITE_H

#include "amqp/codec.h"

enum tf_amqp_field_kind {
    /* numbers of `size` bytes in the struct */
    TF_AMQP_FIELD_BOOL,
    TF_AMQP_FIELD_UBYTE,
    TF_AMQP_FIELD_USHORT,
    TF_AMQP_FIELD_UINT,
    TF_AMQP_FIELD_ULONG,
    TF_AMQP_FIELD_TIMESTAMP,
    TF_AMQP_FIELD_CHOICE, /* a symbol that stands for a number */
    /* views of the content */
    TF_AMQP_FIELD_BINARY,
    TF_AMQP_FIELD_STRING,
    TF_AMQP_FIELD_SYMBOL,
    TF_AMQP_FIELD_ADDRESS, /* a string; of another type it is an invalid field */
    /* views of the encoded value */
    TF_AMQP_FIELD_MAP,
    TF_AMQP_FIELD_SYMBOLS, /* one or an array */
    TF_AMQP_FIELD_ID,      /* of a message (3.2.11 to 3.2.14) */
    TF_AMQP_FIELD_DESCRIBED,
    TF_AMQP_FIELD_NESTED
};

#define TF_AMQP_FIELD_MANDATORY 1u
#define TF_AMQP_FIELD_HAS 2u /* a bool tells whether it was there */

/* In the order of the type's definition. Whatever is zero need not be written. */
struct tf_amqp_field {
    uint8_t kind;
    uint8_t size; /* of the number in the struct */
    uint8_t flags;
    uint8_t limit;  /* the highest number, or most bytes; 0: any */
    uint8_t preset; /* the default; 0xFF: the highest of the size */
    uint8_t which;  /* CHOICE, NESTED: which of the type's */
    uint16_t offset;
    uint16_t has; /* offset of the bool */
};

/* `name` of `type` as a field; further settings may follow in the initializer. */
#define TF_AMQP_FIELD_AT(field_kind, type, name)                           \
    .kind = TF_AMQP_FIELD_##field_kind, .size = sizeof(((type *)0)->name), \
    .offset = offsetof(type, name)
#define TF_AMQP_FIELD_IF(type, name) .flags = TF_AMQP_FIELD_HAS, .has = offsetof(type, name)

/* The symbols of a field's numbers. */
struct tf_amqp_choice {
    const char *const *names; /* by number; NULL: no symbol stands for it */
    uint8_t count;
    uint8_t other;   /* the number of any other symbol; 0xFF: it is an invalid field */
    uint16_t symbol; /* offset of a view for the symbol of `other` */
};

struct tf_amqp_set;

struct tf_amqp_composite {
    uint8_t code;  /* of the descriptor; the domain is 0 */
    uint8_t value; /* what tells the type in the struct */
    uint8_t count;
    uint16_t size; /* of the struct; 0: a part of one */
    const char *symbol;
    const struct tf_amqp_field *fields;
    const struct tf_amqp_set *const *nested;
    const struct tf_amqp_choice *choices;
};

/* What may stand in one place: composite types, and where in the struct the type is told. */
struct tf_amqp_set {
    const struct tf_amqp_composite *types;
    uint8_t count;
    uint8_t type_size; /* 0: it isn't told */
    uint8_t other;     /* the type of what is none of them; 0: that is an error */
    uint8_t unknown;   /* enum tf_amqp_condition: which */
    uint16_t type_offset;
    uint16_t raw; /* `other`: offset of a view */
};

/*
 * Reads a composite of the set into `base`, which is zeroed first if its type has a size. *ret_type
 * (may be NULL) is what it is; NULL: `other`. TF_PROTOCOL: *ret_condition; `base` is in disorder.
 */
TF_MUST_USE enum tf_err tf_amqp_composite_read(struct tf_reader *reader,
                                               const struct tf_amqp_set *set, void *base,
                                               const struct tf_amqp_composite **ret_type,
                                               enum tf_amqp_condition *ret_condition);

/* The type of this descriptor code, or symbol; NULL: none. */
const struct tf_amqp_composite *tf_amqp_composite_find(const struct tf_amqp_set *set,
                                                       uint64_t value);

/* Writes the composite of `set` whose `value` is this, from `base`. */
void tf_amqp_composite_write(struct tf_writer *writer, const struct tf_amqp_set *set,
                             const void *base, unsigned value);

struct tf_amqp_performative;

/* As tf_amqp_performative_read, which leaves to it what it does not read by hand. */
TF_MUST_USE enum tf_err tf_amqp_performative_by_table(struct tf_bytes body, uint8_t frame_type,
                                                      struct tf_amqp_performative *ret,
                                                      struct tf_bytes *ret_payload,
                                                      enum tf_amqp_condition *ret_condition);

/* A number of 1, 2, 4 or 8 bytes in a struct. */
static inline uint64_t tf_amqp_load(const uint8_t *at, size_t size)
{
    uint16_t half;
    uint32_t word;
    uint64_t number;

    switch (size) {
    case 1:
        return *at;
    case 2:
        memcpy(&half, at, sizeof(half));
        return half;
    case 4:
        memcpy(&word, at, sizeof(word));
        return word;
    default:
        memcpy(&number, at, sizeof(number));
        return number;
    }
}

static inline void tf_amqp_store(uint8_t *at, size_t size, uint64_t number)
{
    uint16_t half = (uint16_t)number;
    uint32_t word = (uint32_t)number;

    switch (size) {
    case 1:
        *at = (uint8_t)number;
        break;
    case 2:
        memcpy(at, &half, sizeof(half));
        break;
    case 4:
        memcpy(at, &word, sizeof(word));
        break;
    default:
        memcpy(at, &number, sizeof(number));
    }
}

/* A field's default. */
static inline uint64_t tf_amqp_preset(const struct tf_amqp_field *field)
{
    return field->preset == 0xFF ? UINT64_MAX >> (64 - 8 * field->size) : field->preset;
}

/* The sets that several files need. */
extern const struct tf_amqp_set tf_amqp_error_set;
extern const struct tf_amqp_set tf_amqp_state_set;
extern const char *const tf_amqp_condition_names[TF_AMQP_CONDITION_COUNT];

#endif
