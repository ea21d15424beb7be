/*
 * `trefoil store`: what its verbs share: the arguments, a store that is opened to be read,
 * progress.
 *
 * Only `import` and `backup` write, and both only where nothing was before.
 */
#ifndef TF_CLI_STORE_H
#define TF_CLI_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "cli/manual.h"
#include "cli/store_disk.h"
#include "port/disk_file.h"
#include "store/journal.h"

/* The arguments. */
struct tf_cli_store {
    char *folder;       /* of the store */
    const char *target; /* backup: the folder to be made */
    const char *file;   /* export, import: instead of stdout, stdin; NULL: those */
    unsigned long long limit;
    bool json;
};

/* The verbs; each returns an exit code. */
int tf_cli_store_check(const struct tf_cli_store *store);
int tf_cli_store_stats(const struct tf_cli_store *store);
int tf_cli_store_export(const struct tf_cli_store *store);
int tf_cli_store_import(const struct tf_cli_store *store);
int tf_cli_store_backup(const struct tf_cli_store *store);

/* Says a sentence on stderr, with the command's name before it. */
void tf_cli_store_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Says why something of the store in `folder` has failed; the exit code. `error`: the disk's. */
int tf_cli_store_failed(const char *folder, enum tf_err err, int error);

/* ---- a store that is read, and not changed ---- */

struct tf_cli_store_reader {
    const char *folder;
    struct tf_disk_file file;
    struct tf_cli_store_disk disk;
    struct tf_journal *journal; /* NULL: not opened */
    struct tf_journal_report report;
};

/*
 * Opens the folder, and locks it against a broker if `lock`. Below 0: it is open; else the exit
 * code, and stderr tells why.
 */
int tf_cli_store_open(struct tf_cli_store_reader *reader, const char *folder, bool lock);

/* Opens the journal in it, with or without the help of a snapshot. As tf_cli_store_open. */
int tf_cli_store_start(struct tf_cli_store_reader *reader, bool snapshots);

/* Ends the reading of the journal, or of all. */
void tf_cli_store_end(struct tf_cli_store_reader *reader);
void tf_cli_store_close(struct tf_cli_store_reader *reader);

/*
 * The bytes of a message, for free(); at least one is allocated. TF_NOT_FOUND, TF_PROTOCOL: they
 * are gone or damaged. TF_IO, TF_NO_MEMORY.
 */
TF_MUST_USE enum tf_err tf_cli_store_message(struct tf_cli_store_reader *reader, uint64_t id,
                                             uint8_t **ret_data, size_t *ret_length);

/* Looks at all that the store keeps, to the last byte; what is wrong is counted. */
struct tf_cli_store_content {
    uint64_t objects, messages, entries;
    uint64_t unreadable; /* messages, damaged or gone */
    uint64_t strange;    /* records and messages that make no sense */
    uint64_t digest;     /* of it all, in no order */
};
/* `messages`: reads their bytes, too. TF_IO, TF_NO_MEMORY. */
TF_MUST_USE enum tf_err tf_cli_store_look(struct tf_cli_store_reader *reader, bool messages,
                                          struct tf_cli_store_content *ret);

/* ---- small things ---- */

/* A set of numbers; zero: empty. */
struct tf_cli_store_set {
    uint64_t *numbers;
    size_t count, capacity;
    bool zero;
};
/* Adds one; *ret_new: it was not there. TF_NO_MEMORY. */
TF_MUST_USE enum tf_err tf_cli_store_set_add(struct tf_cli_store_set *set, uint64_t number,
                                             bool *ret_new);
void tf_cli_store_set_release(struct tf_cli_store_set *set);

/* How far something has got, for who looks at stderr. */
struct tf_cli_store_progress {
    const char *what;
    uint64_t next; /* microseconds, of the clock */
    bool shown;
};
void tf_cli_store_progress(struct tf_cli_store_progress *progress, uint64_t done, uint64_t total);
void tf_cli_store_progress_end(struct tf_cli_store_progress *progress);

/*
 * Prints an object as a line, and takes it over; NULL: it could not be made. Below 0: done; else
 * the exit code, and stderr tells why.
 */
int tf_cli_store_print_json(json_t *object);

/* What makes a word plural: "s", or nothing for one. */
const char *tf_cli_store_plural(uint64_t count);

/* "1.2 MiB" */
#define TF_CLI_STORE_BYTES 200
const char *tf_cli_store_bytes(uint64_t bytes, char text[TF_CLI_STORE_BYTES]);

/* ---- what is kept, as JSON (store_json.c) ---- */

/* The name of a kind, and "object" of those that are not known. */
const char *tf_cli_store_kind(uint8_t kind);

/*
 * Each returns a new object, or NULL where there is no memory. What makes no sense is there in
 * base64 alone. *ret_strange is raised by one then.
 */
json_t *tf_cli_store_object_json(const struct tf_journal *journal,
                                 const struct tf_journal_object *object, uint64_t *strange);
json_t *tf_cli_store_entry_json(const struct tf_journal_place *place, uint64_t *strange);
json_t *tf_cli_store_message_json(uint64_t id, struct tf_bytes bytes, uint64_t *strange);

#endif
