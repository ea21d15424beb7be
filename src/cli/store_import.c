/*
 * `trefoil store import`: a store, made of what `export` has written.
 *
 * It is written in a folder of its own beside the one that it will be, which gets its name when all
 * of it is there, so that nothing is ever left half. What is no line of an export ends it with
 * file, line and column.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "cli/alloc.h"
#include "cli/base64.h"
#include "cli/cli.h"
#include "cli/store.h"
#include "cli/store_folder.h"
#include "port/entropy.h"
#include "port/folder.h"

#define COMMIT_BYTES ((size_t)4 << 20)
#define SEGMENT ((uint64_t)16 << 20)
#define FORMAT 1

/* A message that waits for those who refer to it, or for the group to be written. */
struct held {
    struct held *next;
    uint8_t *head, *body; /* malloc */
};

struct import {
    const struct tf_cli_store *store;
    const char *name; /* of the input */
    FILE *in;
    char *line;
    size_t capacity;
    unsigned long long number; /* of the line */
    char *temporary;           /* the folder that is written */
    struct tf_disk_file file;
    struct tf_journal *journal;
    struct held *held;
    uint64_t objects, entries;
    bool begun, ended;
};

/* ---- what is wrong with a line ---- */

static int bad(const struct import *import, int column, const char *why)
{
    tf_cli_store_say("%s:%llu:%d: %s", import->name, import->number, column, why);
    return TF_EXIT_USAGE;
}

/* The same of a member: where its name stands. */
static int bad_member(const struct import *import, const char *member, const char *why)
{
    char quoted[64], text[160];
    snprintf(quoted, sizeof(quoted), "\"%s\"", member);
    const char *at = strstr(import->line, quoted);
    snprintf(text, sizeof(text), "%s: %s", member, at ? why : "is missing");
    return bad(import, at ? (int)(at - import->line) + 1 : 1, text);
}

static int failed(struct import *import, enum tf_err err)
{
    return tf_cli_store_failed(import->temporary, err, import->file.disk.error);
}

/* ---- members ---- */

static int take_number(const struct import *import, const json_t *value, const char *member,
                       uint64_t *ret)
{
    const char *text = json_string_value(value);
    char *end = NULL;
    errno = 0;
    unsigned long long number =
        text && text[0] >= '0' && text[0] <= '9' ? strtoull(text, &end, 10) : 0;
    if (!end || *end || errno) {
        return bad_member(import, member, "must be a number of 64 bits, as text");
    }
    *ret = number;
    return -1;
}

/* Bytes of a member in base64, for free(). */
static int take_base64(const struct import *import, const json_t *line, const char *member,
                       uint8_t **ret_data, size_t *ret_length)
{
    const json_t *value = json_object_get(line, member);
    enum tf_err err = json_is_string(value)
                          ? tf_cli_base64_read(json_string_value(value), json_string_length(value),
                                               ret_data, ret_length)
                          : TF_PROTOCOL;
    if (err == TF_NO_MEMORY) {
        tf_cli_store_say("no memory");
        return TF_EXIT_INTERNAL;
    }
    return err ? bad_member(import, member, "must be base64") : -1;
}

/* ---- lines ---- */

/* The body: text, or base64. */
static int take_body(const struct import *import, const json_t *line, uint8_t **ret_data,
                     size_t *ret_length)
{
    const json_t *text = json_object_get(line, "body");
    if (!json_is_string(text)) {
        return take_base64(import, line, text ? "body" : "body_base64", ret_data, ret_length);
    }
    size_t length = json_string_length(text);
    uint8_t *data = malloc(length + 1);
    if (!data) {
        tf_cli_store_say("no memory");
        return TF_EXIT_INTERNAL;
    }
    memcpy(data, json_string_value(text), length);
    *ret_data = data;
    *ret_length = length;
    return -1;
}

static int take_message(struct import *import, const json_t *line)
{
    bool whole = json_object_get(line, "data_base64") != NULL;
    size_t head = 0, body = 0;
    uint64_t id = 0;
    struct held *held = calloc(1, sizeof(*held));
    if (!held) {
        return failed(import, TF_NO_MEMORY);
    }
    held->next = import->held;
    import->held = held;
    int code = take_number(import, json_object_get(line, "id"), "id", &id);
    if (code < 0) {
        code = take_base64(import, line, whole ? "data_base64" : "head_base64", &held->head, &head);
    }
    if (code < 0 && !whole) {
        code = take_body(import, line, &held->body, &body);
    }
    if (code >= 0) {
        return code;
    }
    const struct tf_bytes pieces[] = {tf_bytes_of(held->head, head), tf_bytes_of(held->body, body)};
    enum tf_err err = tf_journal_message(import->journal, id, pieces, TF_COUNT(pieces));
    if (err == TF_MISUSE) {
        return bad_member(import, "id", "there is such a message already");
    }
    return err ? failed(import, err) : -1;
}

static int take_messages(const struct import *import, const json_t *line, uint64_t *ret_ids,
                         size_t count)
{
    int code = -1;
    for (size_t i = 0; i < count && code < 0; i++) {
        code = take_number(import, json_array_get(json_object_get(line, "messages"), i), "messages",
                           &ret_ids[i]);
    }
    return code;
}

static int take_object(struct import *import, const json_t *line)
{
    const json_t *kind = json_object_get(line, "kind"), *list = json_object_get(line, "messages");
    size_t count = json_array_size(list), key_length = 0, value_length = 0;
    uint8_t *key = NULL, *value = NULL;
    uint64_t *ids = calloc(count + 1, sizeof(*ids));
    int code = ids ? -1 : failed(import, TF_NO_MEMORY);
    if (code < 0 && (!json_is_integer(kind) || json_integer_value(kind) < 0 ||
                     json_integer_value(kind) > UINT8_MAX)) {
        code = bad_member(import, "kind", "must be a number up to 255");
    }
    if (code < 0 && !json_is_array(list)) {
        code = bad_member(import, "messages", "must be a list");
    }
    if (code < 0) {
        code = take_base64(import, line, "key_base64", &key, &key_length);
    }
    if (code < 0) {
        code = take_base64(import, line, "value_base64", &value, &value_length);
    }
    if (code < 0) {
        code = take_messages(import, line, ids, count);
    }
    if (code < 0) {
        enum tf_err err = tf_journal_put(import->journal, (uint8_t)json_integer_value(kind),
                                         tf_bytes_of(key, key_length),
                                         tf_bytes_of(value, value_length), ids, count);
        code = err == TF_NOT_FOUND ? bad_member(import, "messages", "one stands nowhere before")
               : err == TF_MISUSE  ? bad_member(import, "key_base64", "is too long")
               : err               ? failed(import, err)
                                   : -1;
        import->objects++;
    }
    free(ids);
    free(key);
    free(value);
    return code;
}

static int take_entry(struct import *import, const json_t *line)
{
    uint64_t queue = 0, position = 0, message = 0;
    uint8_t *attributes = NULL;
    size_t length = 0;
    int code = take_number(import, json_object_get(line, "queue"), "queue", &queue);
    if (code < 0) {
        code = take_number(import, json_object_get(line, "position"), "position", &position);
    }
    if (code < 0) {
        code = take_number(import, json_object_get(line, "message"), "message", &message);
    }
    if (code < 0) {
        code = take_base64(import, line, "attributes_base64", &attributes, &length);
    }
    if (code >= 0) {
        return code;
    }
    enum tf_err err = length > TF_JOURNAL_ATTRIBUTES_MAX
                          ? TF_LIMIT
                          : tf_journal_entry(import->journal, queue, position, message,
                                             tf_bytes_of(attributes, length));
    free(attributes);
    import->entries++;
    if (length > TF_JOURNAL_ATTRIBUTES_MAX) {
        return bad_member(import, "attributes_base64", "is too long");
    }
    return err == TF_NOT_FOUND ? bad_member(import, "message", "stands nowhere before")
           : err == TF_MISUSE  ? bad_member(import, "position", "must be above the one before")
           : err               ? failed(import, err)
                               : -1;
}

static int take_begin(struct import *import, const json_t *line, const char *type)
{
    if (strcmp(type, "trefoil-store") != 0) {
        return bad(import, 1, "this is no export of a store: its first line says what it is");
    }
    if (json_integer_value(json_object_get(line, "format")) != FORMAT) {
        return bad_member(import, "format", "is not 1: a newer version has written this");
    }
    import->begun = true;
    return -1;
}

static int take_end(struct import *import, const json_t *line)
{
    import->ended = true;
    if (json_integer_value(json_object_get(line, "objects")) < (json_int_t)import->objects ||
        json_integer_value(json_object_get(line, "entries")) < (json_int_t)import->entries) {
        return bad(import, 1, "there were more lines than it says");
    }
    return -1;
}

static void free_held(struct import *import)
{
    while (import->held) {
        struct held *held = import->held;
        import->held = held->next;
        free(held->head);
        free(held->body);
        free(held);
    }
}

/* What waits for the group is given back when it is written. */
static int commit(struct import *import)
{
    enum tf_err err = tf_journal_commit(import->journal);
    free_held(import);
    if (err) {
        return failed(import, err);
    }
    (void)tf_journal_work(import->journal);
    return -1;
}

static int take_line(struct import *import, const json_t *line)
{
    const char *type = json_string_value(json_object_get(line, "type"));
    int code;
    if (!type) {
        return bad_member(import, "type", "must be text");
    }
    if (!import->begun) {
        return take_begin(import, line, type);
    }
    if (import->ended) {
        return bad(import, 1, "there is something behind the end");
    }
    if (strcmp(type, "message") == 0) {
        return take_message(import, line);
    }
    if (strcmp(type, "end") == 0) {
        return take_end(import, line);
    }
    code = strcmp(type, "entry") == 0 ? take_entry(import, line) : take_object(import, line);
    /* A message must be in one group with who refers to it first. */
    if (code < 0 && tf_journal_pending(import->journal) >= COMMIT_BYTES) {
        code = commit(import);
    }
    return code;
}

static int read_lines(struct import *import)
{
    int code = -1;
    ssize_t length;
    while (code < 0 && (length = getline(&import->line, &import->capacity, import->in)) >= 0) {
        json_error_t error;
        import->number++;
        json_t *line = json_loadb(import->line, (size_t)length,
                                  JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
        if (!line) {
            code = bad(import, error.column > 0 ? error.column : 1, error.text);
        } else if (!json_is_object(line)) {
            code = bad(import, 1, "must be a JSON object");
        } else {
            code = take_line(import, line);
        }
        json_decref(line);
    }
    if (code < 0 && ferror(import->in)) {
        tf_cli_store_say("%s: %s", import->name, strerror(errno));
        return TF_EXIT_INTERNAL;
    }
    if (code < 0 && !import->ended) {
        import->number++;
        code = bad(import, 1, "the end is missing: something has been cut off");
    }
    return code < 0 ? commit(import) : code;
}

/* ---- the new store ---- */

static int write_store(struct import *import)
{
    uint64_t seed, holder = 0;
    struct tf_journal_report report;
    enum tf_err err = tf_disk_file_init(&import->file, import->temporary);
    if (err) {
        return failed(import, err);
    }
    tf_entropy_fill(&seed, sizeof(seed));
    const struct tf_journal_config config = {.disk = &import->file.disk,
                                             .alloc = tf_cli_alloc(),
                                             .seed = seed,
                                             .segment_size = SEGMENT,
                                             .snapshot_interval = UINT64_MAX / 2};
    err = tf_journal_open(&config, &import->journal, &report, &holder);
    int code = err ? failed(import, err) : read_lines(import);
    free_held(import);
    struct tf_journal_stats stats = {0};
    if (!err) {
        tf_journal_stats(import->journal, &stats);
        tf_journal_close(import->journal);
    }
    tf_disk_file_release(&import->file);
    if (code < 0 && (stats.objects != import->objects || stats.entries != import->entries)) {
        tf_cli_store_say("%s: something is there twice", import->name);
        return TF_EXIT_USAGE;
    }
    return code;
}

/* Writes the store beside where it is to be, and gives it its name. */
static int make_store(struct import *import)
{
    const char *folder = import->store->folder;
    int code = tf_cli_store_folder_begin(folder, ".import", &import->temporary);
    if (code >= 0) {
        return code;
    }
    code = write_store(import);
    code = tf_cli_store_folder_finish(folder, import->temporary, code);
    free(import->temporary);
    if (code == TF_EXIT_DONE) {
        fprintf(stderr, "%s: %llu objects, %llu entries\n", folder,
                (unsigned long long)import->objects, (unsigned long long)import->entries);
    }
    return code;
}

int tf_cli_store_import(const struct tf_cli_store *store)
{
    struct import import = {.store = store, .in = stdin, .name = "stdin"};
    int code = tf_cli_store_folder_vacant(store->folder);
    if (code >= 0) {
        return code;
    }
    if (store->file) {
        import.name = store->file;
        import.in = fopen(store->file, "r");
        if (!import.in) {
            tf_cli_store_say("%s: %s", store->file, strerror(errno));
            return TF_EXIT_USAGE;
        }
    }
    code = make_store(&import);
    free(import.line);
    if (store->file) {
        (void)fclose(import.in); /* it was read */
    }
    return code;
}
