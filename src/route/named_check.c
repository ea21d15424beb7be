/*
 * The invariants of named queues, walked. For tests and the simulator. See named_internal.h.
 */
#include "route/named_internal.h"

struct sum {
    uint64_t count, bytes, acquired;
};

static const struct tf_named_entry *entry_of(struct tf_list_node *node)
{
    return tf_container_of(node, struct tf_named_entry, entry.node);
}

/* Walks one list of entries in a state; adds them up. */
static bool check_list(const struct tf_named_queue *named, const struct tf_list *list,
                       uint8_t state, const struct tf_named_member *holder, bool ordered,
                       struct sum *sum)
{
    struct tf_list_node *node = tf_list_first(list);
    uint64_t least = 0;
    for (; node; node = tf_list_next(list, node)) {
        const struct tf_named_entry *entry = entry_of(node);
        bool timed = state == TF_ENTRY_AVAILABLE && entry->timer.deadline != TF_TIME_NEVER;
        if (entry->entry.state != state || entry->holder != holder ||
            entry->entry.queue != &named->queue || (ordered && entry->entry.position < least) ||
            (timed && !tf_timer_armed(&entry->timer)) ||
            (state == TF_ENTRY_ACQUIRED &&
             (entry->entry.marked || tf_timer_armed(&entry->timer)))) {
            return false;
        }
        least = entry->entry.position + 1;
        sum->count++;
        sum->bytes += tf_named_charge(entry);
        sum->acquired += state == TF_ENTRY_ACQUIRED;
    }
    return true;
}

static bool check_member(const struct tf_named_queue *named, const struct tf_named_member *member,
                         struct sum *sum)
{
    bool ready = member->credit && !member->blocked && member->attached;
    bool good = member->queue == named && ready == tf_list_linked(&member->ready);
    if (member->after) {
        good &= member->after->entry.marked && member->after->entry.state == TF_ENTRY_AVAILABLE &&
                tf_list_linked(&member->cursor) &&
                (!member->browse || member->after->entry.position < member->seen);
    }
    return good && check_list(named, &member->acquired, TF_ENTRY_ACQUIRED, member, false, sum);
}

static bool choosing(const struct tf_named_member *member)
{
    return !member->browse && tf_list_linked(&member->cursor);
}

static bool check_queue(const struct tf_named_queue *named)
{
    struct sum sum = {0};
    uint32_t consumers = 0;
    uint32_t choosers = 0;
    uint32_t producers = 0;
    bool good = check_list(named, &named->queue.available, TF_ENTRY_AVAILABLE, NULL, true, &sum) &&
                check_list(named, &named->returned, TF_ENTRY_AVAILABLE, NULL, false, &sum) &&
                check_list(named, &named->moving, TF_ENTRY_ACQUIRED, NULL, false, &sum);
    struct tf_list_node *node = tf_list_first(&named->consumers);
    for (; node && good; node = tf_list_next(&named->consumers, node)) {
        good = check_member(named, tf_container_of(node, struct tf_named_member, in_queue), &sum);
        choosers += choosing(tf_container_of(node, struct tf_named_member, in_queue));
        consumers++;
    }
    node = tf_list_first(&named->producers);
    for (; node; node = tf_list_next(&named->producers, node)) {
        producers++;
    }
    /* what is returned, or dead, is looked at before the turn ends */
    bool settled = (tf_list_empty(&named->returned) &&
                    (tf_list_empty(&named->letters) || tf_list_linked(&named->unstored))) ||
                   tf_list_linked(&named->dirty);
    return good && settled && tf_kept_check(&named->queue, (uint32_t)sum.count, sum.bytes) &&
           sum.acquired == named->acquired && choosers == named->choosers &&
           consumers == named->status.consumers && producers == named->status.producers &&
           (!named->dying || consumers + producers == 0);
}

bool tf_named_check(const struct tf_shard *shard)
{
    const struct tf_named_shard *all = &shard->named;
    struct tf_list_node *node = tf_list_first(&all->all);
    for (; node; node = tf_list_next(&all->all, node)) {
        if (!check_queue(tf_container_of(node, struct tf_named_queue, in_all))) {
            return false;
        }
    }
    return tf_tree_check(&all->queues) && tf_timers_check(&all->entries) &&
           tf_timers_check(&all->idle);
}
