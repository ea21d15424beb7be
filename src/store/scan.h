/*
 * Reading a file of groups from its beginning to its end, by few reads: neighbours are read
 * together, and large bodies are skipped.
 */
#ifndef TF_STORE_SCAN_H
#define TF_STORE_SCAN_H

#include "store/journal_internal.h"

/* Its fields are its own. */
struct tf_scan {
    struct tf_journal *journal;
    uint8_t *window; /* TF_SCAN_WINDOW bytes */
    uint64_t start;  /* of what is in the window */
    size_t length;   /* of it */
    int file;
    uint32_t number;
    uint64_t size;  /* of the file */
    uint64_t bytes; /* read so far */
};

#define TF_SCAN_WINDOW 65536u

/* TF_NO_MEMORY. */
TF_MUST_USE enum tf_err tf_scan_init(struct tf_scan *scan, struct tf_journal *journal);
void tf_scan_release(struct tf_scan *scan);

/* Turns to another file. */
void tf_scan_file(struct tf_scan *scan, int file, uint32_t number, uint64_t size);

/* `length` bytes (at most the window) at `offset`: a view until the next call. TF_PROTOCOL: the
 * file ends before. */
TF_MUST_USE enum tf_err tf_scan_get(struct tf_scan *scan, uint64_t offset, size_t length,
                                    const uint8_t **ret);

/* The head of the group at `offset`, all of which is in the file. TF_NOT_FOUND: there is none. */
TF_MUST_USE enum tf_err tf_scan_group(struct tf_scan *scan, uint64_t offset, struct tf_group *ret);

/*
 * The next group whose head can be read, from `offset` on, of a number above `after`. TF_NOT_FOUND:
 * there is none, and *ret_end is where the last bytes end that are not 0 (`offset`: all are).
 */
TF_MUST_USE enum tf_err tf_scan_find(struct tf_scan *scan, uint64_t offset, uint64_t after,
                                     uint64_t *ret_offset, struct tf_group *ret_group,
                                     uint64_t *ret_end);

/* The records of a group: a view until the next call. TF_PROTOCOL: their sum is wrong. */
TF_MUST_USE enum tf_err tf_scan_records(struct tf_scan *scan, uint64_t offset,
                                        const struct tf_group *group, struct tf_bytes *ret);

/* Reads the bodies of a group's messages. TF_PROTOCOL: one is damaged. */
TF_MUST_USE enum tf_err tf_scan_bodies(struct tf_scan *scan, uint64_t offset,
                                       const struct tf_group *group, struct tf_bytes records);

#endif
