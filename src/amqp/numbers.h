/*
 * Numbers of both ends for one kind of object: channels for sessions, handles for links.
 *
 * We choose our numbers, so they are dense and index an array of places; the peer chooses its own,
 * so they are keys of a small hash table that leads to a place. A table grows with what is in use,
 * whatever number the peer begins with. The memory is the caller's (NEEDS), one block.
 *
 * It must not know what the objects are. A place may be in use without an object: then the peer's
 * number is still taken, but what comes for it is dropped.
 */
#ifndef TF_AMQP_NUMBERS_H
#define TF_AMQP_NUMBERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TF_AMQP_NO_NUMBER UINT32_MAX

struct tf_amqp_place {
    void *object;    /* NULL: free, or in use without one */
    uint64_t remote; /* the peer's number; UINT64_MAX: not known yet */
    uint32_t next;   /* the next free place, TF_AMQP_PLACE_END; TF_AMQP_PLACE_USED */
};
#define TF_AMQP_PLACE_USED UINT32_MAX
#define TF_AMQP_PLACE_END (UINT32_MAX - 1)

struct tf_amqp_number {
    uint32_t remote;
    uint32_t local; /* TF_AMQP_NO_NUMBER: an empty bucket */
};

/* All zero: an empty table without memory. */
struct tf_amqp_numbers {
    struct tf_amqp_place *places;   /* `capacity`; the block */
    struct tf_amqp_number *buckets; /* 2 * `capacity`, in the same block */
    uint32_t capacity;              /* a power of two, or 0 */
    uint32_t used;                  /* places in use */
    uint32_t free;                  /* the first free place, if there is one */
};

/* True if there is no free place. */
static inline bool tf_amqp_numbers_full(const struct tf_amqp_numbers *numbers)
{
    return numbers->used == numbers->capacity;
}

/* The bytes of the next larger block; at least 2 places. */
size_t tf_amqp_numbers_next_size(const struct tf_amqp_numbers *numbers);

/* Moves over into `memory`, of tf_amqp_numbers_next_size bytes; returns the old block or NULL. */
void *tf_amqp_numbers_grow(struct tf_amqp_numbers *numbers, void *memory);

/* Takes a free place, which there must be: our number, less than how many were ever in use at once.
 */
uint32_t tf_amqp_numbers_add(struct tf_amqp_numbers *numbers, void *object);

/* Notes the peer's number, which is in no other place, of place `local`. */
void tf_amqp_numbers_bind(struct tf_amqp_numbers *numbers, uint32_t local, uint32_t remote);

/* Frees a place and the peer's number, if it has one. */
void tf_amqp_numbers_remove(struct tf_amqp_numbers *numbers, uint32_t local);

/* Our number for the peer's; TF_AMQP_NO_NUMBER: none. */
uint32_t tf_amqp_numbers_find(const struct tf_amqp_numbers *numbers, uint32_t remote);

/* The object at a place of ours; NULL: none, or no such place. */
static inline void *tf_amqp_numbers_at(const struct tf_amqp_numbers *numbers, uint32_t local)
{
    return local < numbers->capacity && numbers->places[local].next == TF_AMQP_PLACE_USED
               ? numbers->places[local].object
               : NULL;
}

/* Checks the invariants. */
bool tf_amqp_numbers_check(const struct tf_amqp_numbers *numbers);

#endif
