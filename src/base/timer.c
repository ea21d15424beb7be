/*
 * The timing wheel. Invariants (tf_timers_check), with t the present tick:
 *   1. A timer that is not due has a tick above t, and lies on the level of the highest 6-bit digit
 *      in which the two differ, in the slot of its own digit there.
 *   2. Hence its digit is above t's on that level, and both agree on all higher levels: slots of a
 *      level in use are all later than t, and all of a level is earlier than all of the next.
 *   3. A bit in used[level] is set if and only if the slot has timers.
 * The present may move to anywhere before the first slot in use without touching a timer: it then
 * still agrees with all of them above their levels and is still below them on their level.
 */
#include "base/timer.h"

#include "base/assert.h"
#include "base/util.h"

#define TICK_BITS 10 /* 1,024 microseconds */
#define DIGIT_BITS 6
#define DUE (TF_TIMER_LEVELS * TF_TIMER_SLOTS)

/* The first tick that begins at or after `time`. */
static inline uint64_t tick_of(tf_time time)
{
    uint64_t low = time & ((UINT64_C(1) << TICK_BITS) - 1);
    return (time >> TICK_BITS) + (low != 0);
}

/* Where a timer of this tick belongs at present. */
static inline unsigned slot_of(const struct tf_timers *timers, uint64_t tick)
{
    if (tick <= timers->tick)
        return DUE;
    unsigned level = (unsigned)(63 - __builtin_clzll(tick ^ timers->tick)) / DIGIT_BITS;
    unsigned digit = (unsigned)(tick >> (level * DIGIT_BITS)) & (TF_TIMER_SLOTS - 1);
    return level * TF_TIMER_SLOTS + digit;
}

static inline void put(struct tf_timers *timers, struct tf_timer *timer)
{
    unsigned slot = slot_of(timers, tick_of(timer->deadline));
    tf_list_push_back(&timers->slots[slot], &timer->node);
    if (slot != DUE)
        timers->used[slot / TF_TIMER_SLOTS] |= UINT64_C(1) << (slot % TF_TIMER_SLOTS);
}

/* The first slot in use, and the tick at which it begins; false: none is. */
static bool first_slot(const struct tf_timers *timers, unsigned *ret_slot, uint64_t *ret_tick)
{
    for (unsigned level = 0; level < TF_TIMER_LEVELS; level++) {
        if (!timers->used[level])
            continue;
        unsigned digit = (unsigned)__builtin_ctzll(timers->used[level]);
        unsigned shift = level * DIGIT_BITS;
        uint64_t above = timers->tick >> shift >> DIGIT_BITS << DIGIT_BITS;
        *ret_slot = level * TF_TIMER_SLOTS + digit;
        *ret_tick = (above | digit) << shift;
        return true;
    }
    return false;
}

/* Brings the present to `tick`: what expires by then is due, what comes near moves down. */
static void advance(struct tf_timers *timers, uint64_t tick)
{
    unsigned slot;
    uint64_t begin;
    while (first_slot(timers, &slot, &begin) && begin <= tick) {
        timers->tick = begin;
        timers->used[slot / TF_TIMER_SLOTS] &= ~(UINT64_C(1) << (slot % TF_TIMER_SLOTS));
        if (slot < TF_TIMER_SLOTS) {
            tf_list_splice_back(&timers->slots[DUE], &timers->slots[slot]);
            continue;
        }
        /* By invariant 2 none of them goes back to this slot, so this ends. */
        struct tf_list_node *node;
        while ((node = tf_list_pop_front(&timers->slots[slot])))
            put(timers, tf_container_of(node, struct tf_timer, node));
    }
    timers->tick = tick;
}

void tf_timers_init(struct tf_timers *timers, tf_time now)
{
    timers->tick = now >> TICK_BITS;
    for (unsigned level = 0; level < TF_TIMER_LEVELS; level++)
        timers->used[level] = 0;
    for (unsigned slot = 0; slot < TF_COUNT(timers->slots); slot++)
        tf_list_init(&timers->slots[slot]);
}

void tf_timers_arm(struct tf_timers *timers, struct tf_timer *timer, tf_time deadline)
{
    tf_timers_cancel(timers, timer);
    timer->deadline = deadline;
    /* The last ticks of all time have no end within it. */
    if (deadline <= TF_TIME_NEVER - (UINT64_C(1) << TICK_BITS))
        put(timers, timer);
}

void tf_timers_cancel(struct tf_timers *timers, struct tf_timer *timer)
{
    struct tf_list_node *node = &timer->node;
    if (!tf_list_linked(node))
        return;
    struct tf_list_node *next = node->next;
    bool last = next == node->prev; /* then both are the head of its slot */
    tf_list_remove(node);
    if (!last)
        return;
    size_t slot = (size_t)(tf_container_of(next, struct tf_list, head) - timers->slots);
    tf_assert(slot <= DUE);
    if (slot < DUE)
        timers->used[slot / TF_TIMER_SLOTS] &= ~(UINT64_C(1) << (slot % TF_TIMER_SLOTS));
}

struct tf_timer *tf_timers_expire(struct tf_timers *timers, tf_time now)
{
    struct tf_list *due = &timers->slots[DUE];
    if (tf_list_empty(due) && now >> TICK_BITS > timers->tick)
        advance(timers, now >> TICK_BITS);
    struct tf_list_node *node = tf_list_pop_front(due);
    return node ? tf_container_of(node, struct tf_timer, node) : NULL;
}

tf_time tf_timers_next(const struct tf_timers *timers)
{
    unsigned slot;
    uint64_t begin;
    if (!tf_list_empty(&timers->slots[DUE]))
        return timers->tick << TICK_BITS;
    return first_slot(timers, &slot, &begin) ? begin << TICK_BITS : TF_TIME_NEVER;
}

bool tf_timers_check(const struct tf_timers *timers)
{
    for (unsigned slot = 0; slot < TF_COUNT(timers->slots); slot++) {
        const struct tf_list *list = &timers->slots[slot];
        uint64_t bit = UINT64_C(1) << (slot % TF_TIMER_SLOTS);
        if (slot != DUE && tf_list_empty(list) != !(timers->used[slot / TF_TIMER_SLOTS] & bit))
            return false;
        for (struct tf_list_node *node = tf_list_first(list); node;
             node = tf_list_next(list, node)) {
            const struct tf_timer *timer = tf_container_of(node, struct tf_timer, node);
            if (slot_of(timers, tick_of(timer->deadline)) != slot)
                return false;
        }
    }
    return true;
}
