/*
 * The accounts of bench_ledger.h. Numbers are 32 bits and do not wrap: at a million messages a
 * second of one publisher that is more than an hour, and the engine ends a run before.
 */
#include "cli/bench_ledger.h"

#include <stdlib.h>

#include "base/assert.h"

static uint32_t fan_out(const struct tf_bench_ledger *ledger, uint32_t publisher)
{
    uint32_t topic = publisher % ledger->topics;
    return ledger->subscribers / ledger->topics + (topic < ledger->subscribers % ledger->topics);
}

bool tf_bench_ledger_init(struct tf_bench_ledger *ret, uint32_t publishers, uint32_t subscribers,
                          uint32_t topics, uint32_t window)
{
    tf_assert(topics > 0 && topics <= publishers && topics <= subscribers);
    *ret = (struct tf_bench_ledger){.publishers = publishers,
                                    .subscribers = subscribers,
                                    .topics = topics,
                                    .window = window,
                                    .slots = (publishers + topics - 1) / topics};
    ret->senders = calloc(publishers, sizeof *ret->senders);
    ret->left = calloc((size_t)publishers * (window ? window : 1), sizeof *ret->left);
    ret->pairs = calloc((size_t)subscribers * ret->slots, sizeof *ret->pairs);
    return ret->senders && ret->left && ret->pairs;
}

void tf_bench_ledger_release(struct tf_bench_ledger *ledger)
{
    free(ledger->senders);
    free(ledger->left);
    free(ledger->pairs);
}

bool tf_bench_ledger_open(const struct tf_bench_ledger *ledger, uint32_t publisher)
{
    const struct tf_bench_sender *sender = &ledger->senders[publisher];
    if (sender->sent == UINT32_MAX)
        return false;
    return !ledger->window || sender->sent - sender->done < ledger->window;
}

uint32_t tf_bench_ledger_send(struct tf_bench_ledger *ledger, uint32_t publisher)
{
    tf_assert(tf_bench_ledger_open(ledger, publisher));
    struct tf_bench_sender *sender = &ledger->senders[publisher];
    uint32_t fan = fan_out(ledger, publisher);
    if (ledger->window)
        ledger->left[publisher * ledger->window + sender->sent % ledger->window] = fan;
    ledger->sent++;
    ledger->expected += fan;
    return sender->sent++;
}

/* One subscriber will no more bring `number`: it has it, or has skipped it. */
static void settle(struct tf_bench_ledger *ledger, uint32_t publisher, uint32_t number)
{
    struct tf_bench_sender *sender = &ledger->senders[publisher];
    uint32_t *left = &ledger->left[publisher * ledger->window];
    left[number % ledger->window]--;
    while (sender->done < sender->sent && left[sender->done % ledger->window] == 0)
        sender->done++;
}

static enum tf_bench_arrival arrive_old(struct tf_bench_ledger *ledger, struct tf_bench_pair *pair,
                                        uint32_t number)
{
    uint32_t back = pair->next - 1 - number;
    uint64_t bit = back < 64 ? (uint64_t)1 << back : 0;
    if (!bit || (pair->seen & bit)) {
        ledger->duplicates++;
        return TF_BENCH_DUPLICATE;
    }
    pair->seen |= bit;
    ledger->late++;
    ledger->arrived++;
    return TF_BENCH_LATE;
}

enum tf_bench_arrival tf_bench_ledger_arrive(struct tf_bench_ledger *ledger, uint32_t subscriber,
                                             uint32_t publisher, uint32_t number)
{
    if (publisher >= ledger->publishers || number >= ledger->senders[publisher].sent ||
        publisher % ledger->topics != subscriber % ledger->topics) {
        ledger->aliens++;
        return TF_BENCH_ALIEN;
    }
    struct tf_bench_pair *pair =
        &ledger->pairs[(size_t)subscriber * ledger->slots + publisher / ledger->topics];
    if (number < pair->next)
        return arrive_old(ledger, pair, number);
    uint32_t step = number - pair->next + 1;
    for (uint32_t skipped = pair->next; ledger->window && skipped <= number; skipped++)
        settle(ledger, publisher, skipped);
    pair->seen = (step < 64 ? pair->seen << step : 0) | 1;
    pair->next = number + 1;
    ledger->arrived++;
    return TF_BENCH_NEW;
}
