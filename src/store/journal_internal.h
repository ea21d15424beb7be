/*
 * What the files of the journal share. See journal.c for the invariants.
 */
#ifndef TF_STORE_JOURNAL_INTERNAL_H
#define TF_STORE_JOURNAL_INTERNAL_H

#include "store/index.h"
#include "store/journal.h"
#include "store/record.h"

#define TF_SECTOR 512u           /* groups begin at multiples of it */
#define TF_GROUP_HEAD 56u        /* bytes */
#define TF_FILE_ASIDE ".damaged" /* ends the name of a file that no start reads */
#define TF_FILE_NAME 32u         /* room for any name of a file of a journal */
#define TF_WORK_BYTES 131072u    /* that a piece of upkeep reads or writes */
#define TF_WORK_ITEMS 8192u      /* that a piece of upkeep looks at */

/* The kinds of files, with their endings. */
enum tf_file_kind { TF_FILE_LOG, TF_FILE_INDEX, TF_FILE_INDEX_NEW };

struct tf_segment {
    uint32_t number;
    uint32_t used; /* where the next group goes, a multiple of TF_SECTOR */
    uint64_t size; /* of the file */
    int file;
    bool damaged; /* when it's done with it is set aside, not removed */
};

/* The head of a group, decoded. */
struct tf_group {
    uint64_t sequence; /* one more than the group before it */
    uint64_t synced;   /* the last group that was known to be on the disk when this was written */
    uint32_t records;  /* bytes */
    uint64_t bodies;   /* bytes */
    uint32_t crc;      /* of the records */
};

/* The first sector of a file of the journal. */
struct tf_file_head {
    uint32_t version;
    uint32_t number;
    uint64_t id; /* of the journal */
    /* Of a snapshot: the group from which the log must be read on top of it. */
    uint32_t segment, offset;
    uint64_t sequence;
};

/* The snapshot that is being written. */
struct tf_snapshot {
    bool active;
    int file;
    uint32_t number;
    uint32_t part; /* objects, queues, the end */
    uint32_t next; /* number in the slab of that part */
    uint64_t position;
    uint32_t segment; /* that the last record was told to lie in */
    uint64_t offset, sequence;
};

/* The emptying of the oldest segment. */
struct tf_compact {
    bool active;
    uint32_t part, next;
    uint64_t position;
};

/* Bodies that were read to be written again; given back after the commit. */
struct tf_loan {
    struct tf_loan *next;
    size_t size;
};

struct tf_journal {
    struct tf_journal_config config;
    struct tf_disk *disk;
    struct tf_alloc alloc; /* counts into memory_bytes */
    uint64_t memory_bytes;
    struct tf_index index;
    uint64_t id;
    uint64_t sequence; /* of the last group written */
    uint64_t synced;   /* of the last group known to be on the disk */
    bool broken;       /* a sync has failed */
    bool locked;
    bool dirty;  /* a write has failed: the head of a group may be at the end of the last segment */
    bool failed; /* a write to the last segment has failed, and none has succeeded since */
    bool unsettled; /* names were removed and not synced */
    bool lent;      /* what grows may use up the spare segment */
    bool wait;      /* upkeep has failed: again after the next commit */
    /* Files: the last segment is the one that is written. */
    struct tf_segment *segments;
    size_t segment_count, segment_capacity;
    struct tf_segment spare;
    bool has_spare;
    uint64_t file_bytes;
    uint32_t snapshot_number; /* of the newest that there is; 0: there is none */
    uint64_t snapshot_size;
    uint64_t since_snapshot; /* bytes of log */
    /* The group. `group` begins with room for its head. */
    struct tf_buffer group;
    struct tf_bytes *spans; /* [0] is `group`, then bodies */
    size_t span_count, span_capacity;
    uint64_t bodies;
    struct tf_loan *loans;
    bool foreign; /* something in the group is the caller's */
    bool grows;   /* something in the group takes space for longer than a settlement */
    struct tf_buffer ids, scratch;
    struct tf_snapshot snapshot;
    struct tf_compact compact;
    struct tf_journal_stats stats;
};

/* ---- files (segment.c) ---- */

void tf_file_name(char ret_name[TF_FILE_NAME], uint32_t number, enum tf_file_kind kind);
/* True if `name` is one of those; files that were set aside are not. */
bool tf_file_parse(const char *name, uint32_t *ret_number, enum tf_file_kind *ret_kind);
/* A sector of TF_SECTOR bytes. */
void tf_file_head_write(uint8_t *sector, const struct tf_file_head *head, enum tf_file_kind kind);
/* False: the bytes are not such a head. */
bool tf_file_head_read(const uint8_t *sector, enum tf_file_kind kind, struct tf_file_head *ret);

/* TF_GROUP_HEAD bytes. */
void tf_group_head_write(uint8_t *at, const struct tf_group *group, uint64_t id, uint32_t file,
                         uint64_t offset);
/* False: there is no head of a group of this journal (id 0: of any), file and place. */
bool tf_group_head_read(const uint8_t *at, uint64_t *id, uint32_t file, uint64_t offset,
                        struct tf_group *ret);
/* Bytes from the beginning of a group to that of the next. */
uint64_t tf_group_size(const struct tf_group *group);

struct tf_segment *tf_segment_find(const struct tf_journal *journal, uint32_t number);
struct tf_segment *tf_segment_last(const struct tf_journal *journal);
/* Room in the tables for one more. */
TF_MUST_USE enum tf_err tf_segment_add(struct tf_journal *journal, const struct tf_segment *add);
/* Makes the spare segment, of at least `size` bytes. TF_LIMIT, TF_IO; TF_CLOSED: a sync failed. */
TF_MUST_USE enum tf_err tf_segment_make_spare(struct tf_journal *journal, uint64_t size);
/* Makes the spare, which is there, the one that is written. TF_CLOSED, TF_NO_MEMORY. */
TF_MUST_USE enum tf_err tf_segment_switch(struct tf_journal *journal);
/* Syncs what was written. TF_CLOSED: it failed, the journal is broken. */
TF_MUST_USE enum tf_err tf_journal_sync(struct tf_journal *journal);
/* Makes sure that nothing of a failed group can be found. */
TF_MUST_USE enum tf_err tf_segment_wipe(struct tf_journal *journal);
/* Removes the oldest segment, in which nothing lives. TF_IO, TF_CLOSED. */
TF_MUST_USE enum tf_err tf_segment_drop(struct tf_journal *journal);
/* Reads exactly `length` bytes; TF_PROTOCOL: the file ends before. */
TF_MUST_USE enum tf_err tf_file_read(struct tf_journal *journal, int file, uint64_t offset,
                                     void *to, size_t length);

/* ---- the group (journal.c) ---- */

/* Encodes a record into the group. TF_NO_MEMORY, TF_LIMIT: it isn't there. */
TF_MUST_USE enum tf_err tf_journal_append(struct tf_journal *journal,
                                          const struct tf_record *record);
/* Adds a span to the bodies. */
TF_MUST_USE enum tf_err tf_journal_body(struct tf_journal *journal, struct tf_bytes body);
/* Takes back what the last append has encoded. */
void tf_journal_take_back(struct tf_journal *journal, size_t length);
/* Forgets the group. */
void tf_journal_reset_group(struct tf_journal *journal);
/* The size of the group's records so far, without the head. */
size_t tf_journal_records(const struct tf_journal *journal);
/* Reads and checks a message's bytes. */
TF_MUST_USE enum tf_err tf_journal_read_body(struct tf_journal *journal,
                                             const struct tf_index_message *message, void *to);

/* ---- recover.c, snapshot.c, compact.c ---- */

TF_MUST_USE enum tf_err tf_journal_recover(struct tf_journal *journal,
                                           struct tf_journal_report *report);
/*
 * Tells the index, which is loading, what the records of a group say. TF_PROTOCOL: they make no
 * sense, and nothing of them was told.
 */
TF_MUST_USE enum tf_err tf_journal_replay(struct tf_journal *journal, struct tf_bytes records,
                                          uint64_t bodies, bool *ret_end, uint64_t *ret_last);
/* Loads a snapshot into the empty index. TF_PROTOCOL: it is damaged. TF_UNSUPPORTED, TF_IO, ... */
TF_MUST_USE enum tf_err tf_snapshot_load(struct tf_journal *journal, uint32_t number,
                                         struct tf_file_head *ret_head, uint64_t *ret_last,
                                         uint64_t *ret_size);
/* A piece of the snapshot that is due, or being written. False: none is. */
bool tf_snapshot_work(struct tf_journal *journal, bool due);
/* Gives up the snapshot that is being written. */
void tf_snapshot_abandon(struct tf_journal *journal);
/* A piece of the emptying of the oldest segment. False: nothing to do. */
bool tf_compact_work(struct tf_journal *journal);

#endif
