/*
 * Groups of files that nobody has opened as a journal: read one by one, and checked to the last
 * byte, bodies included. For who looks into a store or copies one; it changes nothing.
 */
#ifndef TF_STORE_WALK_H
#define TF_STORE_WALK_H

#include "store/scan.h"

/* Its fields are its own. */
struct tf_walk {
    struct tf_journal journal; /* no more of it than a scan needs */
    struct tf_scan scan;
    struct tf_buffer records;
    uint64_t size; /* of the file */
};

/* A group, looked into. */
struct tf_walk_group {
    struct tf_group head;
    uint64_t count;               /* records */
    bool records_bad, bodies_bad; /* their sums are wrong, or they make no sense */
    bool end;                     /* the last record is that of a snapshot's end */
    uint64_t last;                /* what that says */
};

/* Starts, with no file. TF_NO_MEMORY. */
TF_MUST_USE enum tf_err tf_walk_init(struct tf_walk *walk, struct tf_disk *disk,
                                     const struct tf_alloc *alloc);
void tf_walk_release(struct tf_walk *walk);

/* Turns to a file, or to the same one as it is now: nothing that was read is used again. TF_IO. */
TF_MUST_USE enum tf_err tf_walk_file(struct tf_walk *walk, int file, uint32_t number);

/* The first sector; false in *ret_valid: it is none. TF_IO. */
TF_MUST_USE enum tf_err tf_walk_head(struct tf_walk *walk, enum tf_file_kind kind,
                                     struct tf_file_head *ret, bool *ret_valid);

/* The group at `offset`. TF_NOT_FOUND: no head of one is there. TF_IO, TF_NO_MEMORY. */
TF_MUST_USE enum tf_err tf_walk_group(struct tf_walk *walk, uint64_t offset,
                                      struct tf_walk_group *ret);

/* As tf_scan_find. */
TF_MUST_USE enum tf_err tf_walk_find(struct tf_walk *walk, uint64_t offset, uint64_t after,
                                     uint64_t *ret_offset, struct tf_group *ret_group,
                                     uint64_t *ret_end);

/* The numbers of the files of a kind, ascending; the caller releases. TF_IO, TF_NO_MEMORY. */
TF_MUST_USE enum tf_err tf_walk_list(struct tf_walk *walk, enum tf_file_kind kind,
                                     struct tf_buffer *ret_numbers);
/* Number `i` of them. */
uint32_t tf_walk_number(const struct tf_buffer *numbers, size_t i);
/* How many there are. */
size_t tf_walk_count(const struct tf_buffer *numbers);

#endif
