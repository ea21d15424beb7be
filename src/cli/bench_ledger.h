/*
 * Who has seen what: the accounts of a bench run.
 *
 * Publishers number their messages from 0; publisher p publishes to topic p % topics, subscriber s
 * has subscribed to topic s % topics. The ledger knows for each pair of the two what arrived, and
 * so tells new messages from repeated and reordered ones, counts what never came, and says when a
 * publisher's window is open. It must not know the protocol, connections or time.
 *
 * Windows slide: a publisher may be `window` messages ahead of its oldest message that not all
 * subscribers have seen. What a subscriber skipped counts as seen for that purpose, or one lost
 * message would stop the run.
 */
#ifndef TF_CLI_BENCH_LEDGER_H
#define TF_CLI_BENCH_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

enum tf_bench_arrival {
    TF_BENCH_NEW = 1,   /* in order */
    TF_BENCH_LATE,      /* new, but after a younger one of the same publisher */
    TF_BENCH_DUPLICATE, /* seen before, or too old to tell */
    TF_BENCH_ALIEN      /* nobody sent this to this subscriber */
};

/* What one subscriber has of one publisher. */
struct tf_bench_pair {
    uint32_t next; /* one above the highest number seen */
    uint64_t seen; /* bit i: number next - 1 - i has been seen */
};

struct tf_bench_sender {
    uint32_t sent; /* the next number */
    uint32_t done; /* all below have been seen by all */
};

struct tf_bench_ledger {
    uint32_t publishers;
    uint32_t subscribers;
    uint32_t topics;
    uint32_t window; /* 0: no windows are kept */
    uint32_t slots;  /* publishers of one topic, rounded up */
    struct tf_bench_sender *senders;
    uint32_t *left;              /* window for each publisher: who has still to see a message */
    struct tf_bench_pair *pairs; /* slots for each subscriber */
    uint64_t sent;
    uint64_t expected; /* arrivals, once everything sent has arrived everywhere */
    uint64_t arrived;  /* new and late */
    uint64_t late;
    uint64_t duplicates;
    uint64_t aliens;
};

/*
 * Opens the accounts; topics from 1 to the smaller of publishers and subscribers, so that each
 * topic has both. False: no memory. Release also after a failure.
 */
bool tf_bench_ledger_init(struct tf_bench_ledger *ret, uint32_t publishers, uint32_t subscribers,
                          uint32_t topics, uint32_t window);

/* Frees what init took. */
void tf_bench_ledger_release(struct tf_bench_ledger *ledger);

/* True when publisher `publisher` may send another message: always without windows. */
bool tf_bench_ledger_open(const struct tf_bench_ledger *ledger, uint32_t publisher);

/* Enters a message of `publisher`, whose window must be open, and gives its number. */
uint32_t tf_bench_ledger_send(struct tf_bench_ledger *ledger, uint32_t publisher);

/* Enters what `subscriber` got; any numbers may be given. */
enum tf_bench_arrival tf_bench_ledger_arrive(struct tf_bench_ledger *ledger, uint32_t subscriber,
                                             uint32_t publisher, uint32_t number);

#endif
