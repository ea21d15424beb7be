/*
 * A copy of a journal, made while somebody else writes to it, without asking anybody.
 *
 * The files are read by their names and copied to another disk, in pieces, so that the caller can
 * tell how far it has got. When tf_backup_step says TF_OK the copy is whole and synced: a start on
 * it finds what one on the original would have found at a moment after tf_backup_new, so all that
 * was acknowledged before then is in it. Why this is so is at the head of backup.c.
 */
#ifndef TF_STORE_BACKUP_H
#define TF_STORE_BACKUP_H

#include <stdint.h>

#include <trefoil/err.h>

#include "base/alloc.h"
#include "base/disk.h"

struct tf_backup;

struct tf_backup_stats {
    uint64_t segments, groups, bytes; /* of the copy */
    uint64_t vanished; /* segments that went while they were copied: carried forward */
    uint64_t damaged;  /* places that cannot be read in the original; copied as they are */
    uint64_t total;    /* bytes of all segments when it was begun, about: for a progress */
};

/*
 * Begins a copy of the journal on `from` to `to`, where no file of a journal is; both outlive the
 * copy. TF_NO_MEMORY.
 */
TF_MUST_USE enum tf_err tf_backup_new(struct tf_disk *from, struct tf_disk *to,
                                      const struct tf_alloc *alloc, struct tf_backup **ret);

/*
 * Does a piece of it. TF_AGAIN: more is to be done. TF_OK: the copy is whole, and synced.
 * TF_NOT_FOUND: there is no journal. TF_UNSUPPORTED: one of a newer version. TF_IO, TF_LIMIT: a
 * disk's `error`, of `to` for writes. TF_NO_MEMORY. After an error it cannot go on.
 */
TF_MUST_USE enum tf_err tf_backup_step(struct tf_backup *backup);

/* What has been done so far. */
void tf_backup_stats(const struct tf_backup *backup, struct tf_backup_stats *ret);

/* Ends it; what was copied stays. NULL is ignored. */
void tf_backup_free(struct tf_backup *backup);

#endif
