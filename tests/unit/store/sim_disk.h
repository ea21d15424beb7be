/*
 * A disk in memory that can fail at any call, and knows what of it would survive a power cut.
 *
 * What was written is read back at once, but lasts only when it was synced. `sim_disk_crash` makes
 * the disk that a power cut would leave: of each write since the last sync, any of the sectors; of
 * the names that came, went and changed since the last sync of the folder, any.
 */
#ifndef TF_TESTS_SIM_DISK_H
#define TF_TESTS_SIM_DISK_H

#include <stdbool.h>

#include "base/disk.h"
#include "base/random.h"

enum sim_call {
    SIM_OPEN,
    SIM_READ,
    SIM_WRITE,
    SIM_SYNC,
    SIM_SYNC_FOLDER,
    SIM_RESERVE,
    SIM_SIZE,
    SIM_TRUNCATE,
    SIM_RENAME,
    SIM_REMOVE,
    SIM_LIST,
    SIM_LOCK,
    SIM_CALLS
};

struct sim_file;
struct sim_name;

struct sim_disk {
    struct tf_disk disk; /* must be first */
    struct sim_file *files;
    struct sim_name *names, *durable; /* what is there, and what would be after a crash at best */
    struct sim_change *changes;       /* of names since the last sync of the folder */
    struct sim_file *open[64];
    uint64_t calls; /* of all kinds but close and unlock */
    uint64_t call_count[SIM_CALLS];
    uint64_t fail_at; /* this call fails; 0: none. All later ones too if `fail_on` */
    bool fail_on;
    enum tf_err fail_with;
    uint64_t space; /* bytes that can be reserved in all; 0: no end */
    bool locked;
    struct tf_random random;
    uint64_t written; /* bytes */
};

void sim_disk_init(struct sim_disk *sim, uint64_t seed);
void sim_disk_release(struct sim_disk *sim);

/* The disk after a power cut now: `keep` in 8 of what was not synced is there. */
void sim_disk_crash(const struct sim_disk *sim, struct sim_disk *ret, uint64_t seed, unsigned keep);

/* The content of a file that can be changed; NULL: there is none. */
uint8_t *sim_disk_content(struct sim_disk *sim, const char *name, size_t *ret_length);
/* Cuts a file off, as if by mistake. */
void sim_disk_cut(struct sim_disk *sim, const char *name, size_t length);
/* Calls `each` for each name. */
void sim_disk_each(struct sim_disk *sim, void (*each)(void *ctx, const char *name), void *ctx);
/* Makes a file with this content. */
void sim_disk_put(struct sim_disk *sim, const char *name, const void *data, size_t length);

#endif
