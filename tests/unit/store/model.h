/*
 * What a journal should hold, kept in plain arrays, and a source of random groups that are given to
 * both. Everything follows from the seed.
 */
#ifndef TF_TESTS_STORE_MODEL_H
#define TF_TESTS_STORE_MODEL_H

#include "base/alloc.h"
#include "base/random.h"
#include "store/journal.h"

#define MODEL_QUEUES 5u
#define MODEL_ENTRIES 600u
#define MODEL_OBJECTS 24u
#define MODEL_HISTORY 64u
#define MODEL_BODY_MAX 40000u
#define MODEL_LARGE 1000000u /* messages from this id on are large more often */

struct model_entry {
    uint64_t queue, position, message;
    uint8_t length, fill; /* of attributes */
};

struct model_object {
    bool there;
    uint8_t fill;
    uint16_t length;
    uint64_t message; /* 0: none */
};

struct model_state {
    struct model_entry entries[MODEL_ENTRIES];
    size_t count;
    struct model_object objects[MODEL_OBJECTS];
};

/* What may be there after a power cut: what was synced, and each state that was written after it.
 */
struct model {
    struct tf_random random;
    struct model_state states[MODEL_HISTORY]; /* [0] is synced, [known - 1] the newest */
    size_t known;
    struct model_state next; /* with the group that is being made */
    uint64_t positions[MODEL_QUEUES];
    uint64_t message; /* the last id */
    uint8_t *bodies[64];
    size_t body_count;
    uint64_t committed; /* groups */
};

/* An allocator that counts, and fails the call `fail_at`, or all after it. */
struct heap {
    uint64_t calls, fail_at, used;
    bool fail_on;
};

struct tf_alloc heap_alloc_of(struct heap *heap);

void model_init(struct model *model, uint64_t seed);
void model_release(struct model *model);

/* Appends a random group. Errors of the journal are answered with leaving things out. */
void model_group(struct model *model, struct tf_journal *journal);

/* Commits it, or writes it; returns what the journal says. */
enum tf_err model_commit(struct model *model, struct tf_journal *journal, bool sync);

/* True if the journal holds exactly this. `lost`: bodies may be unreadable. */
bool model_equals(struct tf_journal *journal, const struct model_state *state, bool lost);

/* True if the journal is one of the states that may be there; then that is the one from now on. */
bool model_recovered(struct model *model, struct tf_journal *journal);

/* How many things of the newest state the journal lacks, and has too many or wrong. */
void model_compare(const struct model *model, struct tf_journal *journal, size_t *ret_missing,
                   size_t *ret_foreign);

#endif
