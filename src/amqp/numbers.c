/*
 * Numbers of both ends for one kind of object; see numbers.h.
 *
 * The hash table has twice as many buckets as there are places, so it is at most half full; it is
 * probed linearly and closes up behind what is removed. A peer that chooses its numbers so that
 * they collide makes its own look-ups linear in what it has in use, which is limited.
 */
#include "amqp/numbers.h"

#include "base/assert.h"

#define PLACES_MIN 2u
#define UNMAPPED UINT64_MAX

/* The bucket that a number would like; the upper bits of the product are the well mixed ones. */
static uint32_t bucket_of(const struct tf_amqp_numbers *numbers, uint32_t remote)
{
    uint32_t mixed = remote * UINT32_C(0x9e3779b1);

    return (mixed >> 15 ^ remote) & (2 * numbers->capacity - 1);
}

/* The bucket that has `remote`, or the empty one where it would be. */
static uint32_t probe(const struct tf_amqp_numbers *numbers, uint32_t remote)
{
    uint32_t mask = 2 * numbers->capacity - 1, at = bucket_of(numbers, remote);

    while (numbers->buckets[at].local != TF_AMQP_NO_NUMBER && numbers->buckets[at].remote != remote)
        at = (at + 1) & mask;
    return at;
}

static size_t size_of(uint32_t capacity)
{
    return capacity * (sizeof(struct tf_amqp_place) + 2 * sizeof(struct tf_amqp_number));
}

size_t tf_amqp_numbers_next_size(const struct tf_amqp_numbers *numbers)
{
    return size_of(numbers->capacity ? 2 * numbers->capacity : PLACES_MIN);
}

void *tf_amqp_numbers_grow(struct tf_amqp_numbers *numbers, void *memory)
{
    struct tf_amqp_numbers old = *numbers;

    numbers->capacity = old.capacity ? 2 * old.capacity : PLACES_MIN;
    numbers->places = memory;
    numbers->buckets = (struct tf_amqp_number *)(void *)(numbers->places + numbers->capacity);
    for (uint32_t i = 0; i < 2 * numbers->capacity; i++)
        numbers->buckets[i].local = TF_AMQP_NO_NUMBER;
    for (uint32_t i = 0; i < numbers->capacity; i++)
        numbers->places[i] =
            i < old.capacity ? old.places[i] : (struct tf_amqp_place){NULL, UNMAPPED, 0};
    /* the lowest comes first, so that numbers stay below how many are in use at once */
    numbers->free = TF_AMQP_PLACE_END;
    for (uint32_t i = numbers->capacity; i-- > 0;) {
        struct tf_amqp_place *place = &numbers->places[i];
        if (place->next != TF_AMQP_PLACE_USED) {
            place->next = numbers->free;
            numbers->free = i;
        } else if (place->remote != UNMAPPED) {
            tf_amqp_numbers_bind(numbers, i, (uint32_t)place->remote);
        }
    }
    return old.places;
}

uint32_t tf_amqp_numbers_add(struct tf_amqp_numbers *numbers, void *object)
{
    uint32_t local = numbers->free;

    tf_assert(local < numbers->capacity);
    numbers->free = numbers->places[local].next;
    numbers->places[local] = (struct tf_amqp_place){object, UNMAPPED, TF_AMQP_PLACE_USED};
    numbers->used++;
    return local;
}

void tf_amqp_numbers_bind(struct tf_amqp_numbers *numbers, uint32_t local, uint32_t remote)
{
    uint32_t at = probe(numbers, remote);

    tf_assert(numbers->buckets[at].local == TF_AMQP_NO_NUMBER);
    numbers->buckets[at] = (struct tf_amqp_number){remote, local};
    numbers->places[local].remote = remote;
}

/* Empties bucket `hole`: what was pushed past it moves up. */
static void close_up(struct tf_amqp_numbers *numbers, uint32_t hole)
{
    uint32_t mask = 2 * numbers->capacity - 1, at = hole;

    for (;;) {
        at = (at + 1) & mask;
        if (numbers->buckets[at].local == TF_AMQP_NO_NUMBER)
            break;
        if (((at - bucket_of(numbers, numbers->buckets[at].remote)) & mask) >=
            ((at - hole) & mask)) {
            numbers->buckets[hole] = numbers->buckets[at];
            hole = at;
        }
    }
    numbers->buckets[hole].local = TF_AMQP_NO_NUMBER;
}

void tf_amqp_numbers_remove(struct tf_amqp_numbers *numbers, uint32_t local)
{
    struct tf_amqp_place *place = &numbers->places[local];

    tf_assert(local < numbers->capacity && place->next == TF_AMQP_PLACE_USED);
    if (place->remote != UNMAPPED)
        close_up(numbers, probe(numbers, (uint32_t)place->remote));
    *place = (struct tf_amqp_place){NULL, UNMAPPED, numbers->free};
    numbers->free = local;
    numbers->used--;
}

uint32_t tf_amqp_numbers_find(const struct tf_amqp_numbers *numbers, uint32_t remote)
{
    return numbers->capacity ? numbers->buckets[probe(numbers, remote)].local : TF_AMQP_NO_NUMBER;
}

bool tf_amqp_numbers_check(const struct tf_amqp_numbers *numbers)
{
    uint32_t used = 0, mapped = 0, bound = 0, free = 0;

    for (uint32_t i = 0; i < numbers->capacity; i++) {
        const struct tf_amqp_place *place = &numbers->places[i];
        if (place->next != TF_AMQP_PLACE_USED)
            continue;
        used++;
        if (place->remote == UNMAPPED)
            continue;
        mapped++;
        if (tf_amqp_numbers_find(numbers, (uint32_t)place->remote) != i)
            return false;
    }
    for (uint32_t i = 0; i < 2 * numbers->capacity; i++)
        bound += numbers->buckets[i].local != TF_AMQP_NO_NUMBER;
    for (uint32_t i = numbers->capacity ? numbers->free : TF_AMQP_PLACE_END; i != TF_AMQP_PLACE_END;
         i = numbers->places[i].next)
        if (i >= numbers->capacity || ++free > numbers->capacity)
            return false;
    return bound == mapped && used == numbers->used && used + free == numbers->capacity;
}
