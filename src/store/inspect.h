/*
 * Reading all of a journal's files as they lie there, to the last byte, also of what does not live
 * any more: what a start does not read, because it has no need to.
 *
 * Nothing is changed. Nobody writes to the files meanwhile.
 */
#ifndef TF_STORE_INSPECT_H
#define TF_STORE_INSPECT_H

#include <stdint.h>

#include <trefoil/err.h>

#include "base/alloc.h"
#include "base/disk.h"

/* What a file in the folder of a journal is, by its name. */
enum tf_inspect_file {
    TF_INSPECT_FOREIGN, /* no journal reads it: set aside, its lock, or not a journal's at all */
    TF_INSPECT_LOG,     /* a segment */
    TF_INSPECT_INDEX    /* a snapshot, or one that was being written */
};
enum tf_inspect_file tf_inspect_file_of(const char *name);

enum tf_inspect_what {
    TF_INSPECT_HEAD,    /* the first sector of a file cannot be read */
    TF_INSPECT_VERSION, /* of a newer version: nothing else of the file was looked at */
    TF_INSPECT_GAP,     /* groups are missing: these bytes are where they lay; `to` may be `from` */
    TF_INSPECT_RECORDS, /* a group whose records are damaged: nothing of it can be used */
    TF_INSPECT_BODIES,  /* a group with a damaged body; its records are whole */
    TF_INSPECT_TORN,    /* the end of the log that was never acknowledged: no damage */
    TF_INSPECT_SNAPSHOT, /* a snapshot with something damaged; a start reads all of the log then */
    TF_INSPECT_ASIDE     /* a file that a start has set aside earlier */
};

struct tf_inspect_finding {
    enum tf_inspect_what what;
    const char *file;  /* its name, for the call */
    uint64_t from, to; /* bytes of it */
};

struct tf_inspect_config {
    struct tf_disk *disk;
    const struct tf_alloc *alloc;
    void (*found)(void *ctx, const struct tf_inspect_finding *finding);
    void (*progress)(void *ctx, uint64_t done, uint64_t total); /* bytes; often */
    void *ctx;
};

struct tf_inspection {
    uint64_t segments, snapshots, file_bytes; /* spare segments are segments */
    uint64_t groups, records;                 /* of the log */
    uint64_t first, last;                     /* numbers of groups; 0: there are none */
    uint64_t damaged;                         /* findings that are damage */
    uint64_t torn_bytes;
    uint64_t aside;          /* files */
    uint32_t oldest, newest; /* segments; 0: there are none */
    uint32_t version;        /* of the files; 0: no head could be read */
};

/* Reads all. TF_IO, TF_NO_MEMORY: it did not come to its end. */
TF_MUST_USE enum tf_err tf_inspect(const struct tf_inspect_config *config,
                                   struct tf_inspection *ret);

#endif
