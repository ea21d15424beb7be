/*
 * The journal: objects, messages and entries of queues on a disk, such that what was committed
 * survives the process, the machine's power and a damaged byte.
 *
 * One append-only log in segment files. What is appended between two commits is a group: one write,
 * one sync. A group's head has the checksums; its records lie together, apart from the bodies of
 * its messages, so a start reads no bodies. Settlements are records. The index of what lives is in
 * memory, and a snapshot of it is written now and then so that a start need not read the whole log.
 * Segments are removed whole, the oldest first; what lives in one is copied forward before.
 *
 * What it keeps, without knowing what any of it means:
 *
 *   object      kind and key -> value, and the messages it refers to. Put replaces, remove forgets.
 *   message     id -> bytes, immutable; lives while an entry or an object refers to it.
 *   entry       queue and position -> message, attributes. Positions of a queue ascend.
 *   settlement  of an entry; or of all entries of a queue in a range of positions.
 *
 * Memory: an entry costs TF_JOURNAL_ENTRY_BYTES and its attributes, a message
 * TF_JOURNAL_MESSAGE_BYTES (its bytes stay on the disk), an object about 90 bytes, its key, its
 * value and 4 for each message; a queue that has entries about 150.
 *
 * Call protocol, by one thread (the store's; the caller's mailbox brings the work):
 *   1. tf_journal_open; walk what there was with the cursors; then again and again:
 *   2. tf_journal_put, _message, _entry, ... append;
 *   3. tf_journal_commit: now, and only now, it may be acknowledged;
 *   4. tf_journal_read for bodies, at any time after 1;
 *   5. tf_journal_work after each commit, and when idle until it has nothing to do. It does most of
 *      its work only while nothing has been appended since the last commit.
 *
 * Invariants, numbered, are at the head of journal.c. The file format is in
 * docs/internals/journal.md.
 *
 * Errors. A write that fails (TF_LIMIT: the disk is full; TF_IO) leaves the group unwritten:
 * nothing of it has happened, the index is as before it, and the next commit may succeed (a full
 * disk can be cleared). A sync that fails is for ever: the journal is broken (TF_CLOSED from then
 * on, reads still work): what is on the disk is not known, so nothing may be acknowledged any more.
 */
#ifndef TF_STORE_JOURNAL_H
#define TF_STORE_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <trefoil/bytes.h>
#include <trefoil/err.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "base/disk.h"

#define TF_JOURNAL_VERSION 1u
#define TF_JOURNAL_KEY_MAX 65535u
#define TF_JOURNAL_ATTRIBUTES_MAX 255u
#define TF_JOURNAL_GROUP_MAX (UINT32_C(1) << 30)   /* bytes of a group, bodies included */
#define TF_JOURNAL_SEGMENT_MIN (UINT64_C(1) << 20) /* bytes; and at most 2 GiB */
#define TF_JOURNAL_SEGMENT_MAX (UINT64_C(1) << 31)
#define TF_JOURNAL_ENTRY_BYTES 17u   /* of memory in a long queue; 42 in one of a single entry */
#define TF_JOURNAL_MESSAGE_BYTES 72u /* of memory, the hash table included */

struct tf_journal;

struct tf_journal_config {
    struct tf_disk *disk; /* outlives the journal */
    const struct tf_alloc *alloc;
    uint64_t seed;              /* random and secret: for hashes, and the id of a new journal */
    uint64_t segment_size;      /* bytes, reserved at once; TF_JOURNAL_SEGMENT_MIN to _MAX */
    uint64_t snapshot_interval; /* bytes of log after which the index is written anew; at least four
                                   times the last snapshot go by, so it never writes much */
    uint64_t limit;             /* bytes of all files; 0: none. Hard: TF_LIMIT */
    tf_crc32c_fn crc32c;        /* NULL: tf_crc32c */
    uint32_t compact_percent;   /* of the log, but for two segments, that lives at least: 50. Up to
                                   90: less space, more copies. 0: nothing is ever copied */
    /*
     * NULL, or called when a message that is read is found to be damaged: at `offset` of segment
     * `number`. `aside` is the file with a copy of its bytes; NULL: there is none, the segment is
     * kept as it is when it is done with.
     */
    void (*damaged)(void *ctx, uint32_t number, uint64_t offset, const char *aside);
    void *damaged_ctx;
};

/* What a start has found. */
struct tf_journal_report {
    uint64_t objects, messages, entries, bytes; /* that live */
    uint64_t groups_read, bytes_read;
    uint64_t torn_bytes;     /* after the last whole group, never acknowledged: cut off */
    uint64_t damaged_groups; /* set aside in files of their own, `*.damaged`; all else is served */
    uint64_t lost_messages;  /* that entries or objects refer to, but that are damaged or gone */
    bool from_snapshot;      /* false: all of the log was read */
    bool snapshot_damaged;   /* one was there, is set aside, and all of the log was read */
    uint64_t migrated_from;  /* the older version that it was; 0: none */
};

/*
 * Opens the journal of a folder, makes one where there is none. TF_MISUSE: the config. TF_EXISTS:
 * another process has it (*ret_holder, 0 where that is not known). TF_UNSUPPORTED: of a newer
 * version, nothing was changed. TF_IO (the disk's `error`), TF_NO_MEMORY: nothing was changed but
 * what the next start would do as well. TF_LIMIT: there is no room for a new journal.
 */
TF_MUST_USE enum tf_err tf_journal_open(const struct tf_journal_config *config,
                                        struct tf_journal **ret,
                                        struct tf_journal_report *ret_report, uint64_t *ret_holder);

/*
 * Closes it; what was not committed is lost. A clean close leaves a snapshot, so that the next
 * start is quick. NULL is ignored.
 */
void tf_journal_close(struct tf_journal *journal);

/*
 * ---- appending: part of the next commit ----
 * TF_NO_MEMORY: this one record is not part of it. TF_LIMIT: the group would pass
 * TF_JOURNAL_GROUP_MAX; commit, then again. TF_MISUSE: against the text of the function.
 */

/* An object. `messages`: ids that it refers to, of this group or living; else TF_NOT_FOUND. */
TF_MUST_USE enum tf_err tf_journal_put(struct tf_journal *journal, uint8_t kind,
                                       struct tf_bytes key, struct tf_bytes value,
                                       const uint64_t *messages, size_t count);
/* Forgets an object; nothing happens where there is none. */
TF_MUST_USE enum tf_err tf_journal_remove(struct tf_journal *journal, uint8_t kind,
                                          struct tf_bytes key);

/*
 * A message, in pieces that must last until the commit. Its id is the caller's and never used
 * twice. It must be referred to in the same group, else it is dead at once.
 */
TF_MUST_USE enum tf_err tf_journal_message(struct tf_journal *journal, uint64_t id,
                                           const struct tf_bytes *pieces, size_t count);

/*
 * An entry. `position` is above all that the queue ever had. TF_NOT_FOUND: the message is neither
 * of this group nor living.
 */
TF_MUST_USE enum tf_err tf_journal_entry(struct tf_journal *journal, uint64_t queue,
                                         uint64_t position, uint64_t message,
                                         struct tf_bytes attributes);

/*
 * Other attributes for an entry that lives or is of this group; its position stays. TF_NOT_FOUND:
 * there is none. TF_NO_MEMORY, too, after some hundred changes of neighbours in one group: commit.
 * Not of one that this group has settled: a start would take it for a new one.
 */
TF_MUST_USE enum tf_err tf_journal_change(struct tf_journal *journal, uint64_t queue,
                                          uint64_t position, struct tf_bytes attributes);

/* Settles entries `first` to `last` of a queue, those of them that live: costs what lives. */
TF_MUST_USE enum tf_err tf_journal_settle(struct tf_journal *journal, uint64_t queue,
                                          uint64_t first, uint64_t last);

/* Bytes that the group has so far; 0: nothing was appended. */
size_t tf_journal_pending(const struct tf_journal *journal);

/*
 * Writes the group and syncs it. See Errors above. An empty group costs nothing, unless there are
 * groups that tf_journal_write has written: they are synced.
 */
TF_MUST_USE enum tf_err tf_journal_commit(struct tf_journal *journal);

/* The same without sync: it survives the process, not the power (durability `os`). */
TF_MUST_USE enum tf_err tf_journal_write(struct tf_journal *journal);

/* Forgets what was appended since the last commit: nothing of it has happened. */
void tf_journal_abandon(struct tf_journal *journal);

/*
 * True: from now on what grows may use up the spare segment, too, when there is no room for another
 * one. For what cannot be refused any more, while new things are refused.
 */
void tf_journal_lend(struct tf_journal *journal, bool lend);
/* True: there is a spare segment, so the next group finds room. */
bool tf_journal_roomy(const struct tf_journal *journal);
/* True: a sync has failed. */
bool tf_journal_broken(const struct tf_journal *journal);

/* ---- reading ---- */

/* True: the message is of this group, or lives and its bytes are not known to be lost. */
bool tf_journal_has(const struct tf_journal *journal, uint64_t message);

/* The length of a living message. TF_NOT_FOUND; TF_PROTOCOL: its bytes are lost. */
TF_MUST_USE enum tf_err tf_journal_length(const struct tf_journal *journal, uint64_t message,
                                          size_t *ret_length);

/*
 * Reads a committed message's bytes, `length` of them, which is its length (else TF_MISUSE), and
 * checks them. TF_NOT_FOUND. TF_PROTOCOL: damaged on the disk; they are set aside in a file
 * `*.damaged`, and the message is lost. TF_IO.
 */
TF_MUST_USE enum tf_err tf_journal_read(struct tf_journal *journal, uint64_t message, void *to,
                                        size_t length);

/* One message of several to be read. */
struct tf_journal_want {
    uint64_t message;
    uint8_t *to;
    size_t length;   /* of the message */
    enum tf_err err; /* of tf_journal_read, as it turned out */
};

/* Reads them all; those that lie side by side, on the disk as in memory, by one call. */
void tf_journal_read_all(struct tf_journal *journal, struct tf_journal_want *wants, size_t count);

/* Walks what lives; nothing may be appended meanwhile. Views last until the next call. */
struct tf_journal_object {
    uint8_t kind;
    struct tf_bytes key, value;
    size_t messages; /* that it refers to; tf_journal_object_message tells which */
    const void *at;
};
struct tf_journal_place {
    uint64_t queue, position, message;
    struct tf_bytes attributes;
};
struct tf_journal_cursor {
    uint64_t state[4]; /* zero: from the start */
};

/* The next object, in no order; false: no more. */
bool tf_journal_next_object(struct tf_journal *journal, struct tf_journal_cursor *cursor,
                            struct tf_journal_object *ret);
/* The committed object of a key, at any time; false: there is none. Its views last until the next
 * commit. */
bool tf_journal_find_object(const struct tf_journal *journal, uint8_t kind, struct tf_bytes key,
                            struct tf_journal_object *ret);
/* The highest id of a message, or position of an entry, of all that live; 0: there are none. */
uint64_t tf_journal_highest(const struct tf_journal *journal);
/* The id of the `i`th message (from 0, below `messages`) of an object of a walk. */
uint64_t tf_journal_object_message(const struct tf_journal *journal,
                                   const struct tf_journal_object *object, size_t i);
/* The next entry: queue by queue, in no order; in a queue by position. False: no more. */
bool tf_journal_next_entry(struct tf_journal *journal, struct tf_journal_cursor *cursor,
                           struct tf_journal_place *ret);

/*
 * The first committed entry of a queue that is not below `from`; false: there is none. At any time;
 * the view lasts until the next call of any function that is not a reading one.
 */
bool tf_journal_entry_from(const struct tf_journal *journal, uint64_t queue, uint64_t from,
                           struct tf_journal_place *ret);

/* ---- upkeep ---- */

/*
 * Does a bounded piece of upkeep: reserves the next segment, copies forward, removes a segment,
 * writes a part of a snapshot. What it copies is part of the next commit, which it makes itself
 * when the caller does not. False: there is nothing to do, or it does not work now (a full disk),
 * or only after the next commit.
 */
bool tf_journal_work(struct tf_journal *journal);

struct tf_journal_stats {
    uint64_t objects, messages, entries;
    uint64_t live_bytes, file_bytes, segments;
    uint64_t commits;        /* groups written */
    uint64_t groups_bytes;   /* bytes of them, copies included */
    uint64_t copied_bytes;   /* copied forward */
    uint64_t snapshot_bytes; /* written for snapshots */
    uint64_t index_bytes;    /* of memory */
};
/* What there is, and what has been done since tf_journal_open. */
void tf_journal_stats(const struct tf_journal *journal, struct tf_journal_stats *ret);

/* Walks the invariants; for tests. */
bool tf_journal_check(const struct tf_journal *journal);

#endif
