/*
 * A store on the disk in memory with up to three clients, and messages of which each tells its
 * number: its head is the number, its body follows from it.
 */
#ifndef TF_TESTS_STORE_RIG_H
#define TF_TESTS_STORE_RIG_H

#include <stdatomic.h>

#include "model.h"
#include "sim_disk.h"
#include "store/store.h"

#define RIG_CLIENTS 3u
#define RIG_ITEMS 256u

struct rig {
    struct sim_disk sim;
    struct heap heap;
    struct tf_alloc alloc;
    struct tf_store_config config;
    struct tf_journal_report report;
    uint64_t holder;
    struct tf_store *store;
    struct tf_store_client clients[RIG_CLIENTS];
    unsigned count;
    tf_time now, until;
    unsigned wakes, shard_wakes[RIG_CLIENTS];
    atomic_uint owners; /* that live */
    enum tf_store_state state;
    enum tf_err err;
    int error;
    unsigned changes;
    /* what the last read gave */
    struct tf_store_read read;
    unsigned reads;
    enum tf_err read_err;
    bool read_end;
    size_t items;
    uint64_t positions[RIG_ITEMS], numbers[RIG_ITEMS]; /* number 0: damaged */
    uint8_t attributes[RIG_ITEMS];                     /* the first byte */
};

/* The owner of a message. */
struct rig_owner {
    struct rig *rig;
    atomic_uint refs;
    uint64_t id, number;
    uint8_t head[8];
    struct tf_bytes pieces[2];
    size_t length;
    uint8_t body[];
};

/* A disk and a store on it. */
void rig_init(struct rig *rig, unsigned clients);
/* Makes the store; the clients too, if that is TF_OK. */
enum tf_err rig_open(struct rig *rig);
/* Ends clients and store; checks that nothing is left. */
void rig_close(struct rig *rig);
void rig_release(struct rig *rig);
/* The power is cut: the store ends, the disk is what is left of it. */
void rig_power_cut(struct rig *rig, uint64_t seed, unsigned keep);

/* A message, held once; `length` of its body. */
struct rig_owner *rig_message(struct rig *rig, uint64_t number, size_t length);
void rig_let_go(void *owner);
struct tf_store_message rig_message_of(struct rig_owner *owner);

/* Reserves, and records an entry with a new message; false: it was refused. */
bool rig_entry(struct rig *rig, unsigned client, enum tf_store_level level, uint64_t queue,
               uint64_t position, uint64_t number, size_t length);
/* Turns until there is nothing to do at once; receives and submits. */
void rig_run(struct rig *rig);
/* Reads from the first entry of a queue that is not below `from`; runs. */
void rig_read(struct rig *rig, unsigned client, uint64_t queue, uint64_t from, uint32_t entries,
              uint32_t bytes);
/* True if `bytes` are a whole message; its number. */
bool rig_number(struct tf_bytes bytes, uint64_t *ret_number);

#endif
