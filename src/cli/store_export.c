/*
 * `trefoil store export`: all that a store keeps, as JSON, an object a line.
 *
 * The order is one in which it can be built again: the store's own mark, queues, bindings, values,
 * sessions, packet ids, then entries, queue by queue in their order; each message stands before the
 * first that refers to it. Numbers of 64 bits are text.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/store.h"
#include "route/stored.h"

struct export
{
    const struct tf_cli_store *store;
    struct tf_cli_store_reader reader;
    struct tf_cli_store_progress progress;
    struct tf_cli_store_set written, lost; /* messages */
    FILE *out;
    uint64_t done, total;
    uint64_t left_out; /* entries and values whose message is lost */
    uint64_t strange;
};

/* Writes an object, which it frees; NULL: there was no memory for it. */
static enum tf_err write_line(struct export *export, json_t *object)
{
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    if (!text) {
        return TF_NO_MEMORY;
    }
    fputs(text, export->out);
    fputc('\n', export->out);
    free(text);
    tf_cli_store_progress(&export->progress, export->done, export->total);
    return ferror(export->out) ? TF_IO : TF_OK;
}

/* A message, unless it is there already. TF_NOT_FOUND: it is lost. */
static enum tf_err write_message(struct export *export, uint64_t id)
{
    bool fresh = false, first = false;
    uint8_t *data = NULL;
    size_t length = 0;
    enum tf_err err = tf_cli_store_set_add(&export->written, id, &fresh);
    if (err) {
        return err;
    }
    if (!fresh) {
        for (size_t i = 0; i < export->lost.capacity && export->lost.count; i++) {
            if (export->lost.numbers[i] == id) {
                return TF_NOT_FOUND;
            }
        }
        return TF_OK;
    }
    err = tf_cli_store_message(&export->reader, id, &data, &length);
    if (err == TF_NOT_FOUND || err == TF_PROTOCOL) {
        err = tf_cli_store_set_add(&export->lost, id, &first);
        return err ? err : TF_NOT_FOUND;
    }
    if (err) {
        return err;
    }
    err = write_line(export,
                     tf_cli_store_message_json(id, tf_bytes_of(data, length), &export->strange));
    free(data);
    return err;
}

static enum tf_err write_object(struct export *export, const struct tf_journal_object *object)
{
    bool lost = false;
    for (size_t i = 0; i < object->messages; i++) {
        enum tf_err err =
            write_message(export, tf_journal_object_message(export->reader.journal, object, i));
        lost = lost || err == TF_NOT_FOUND;
        if (err && err != TF_NOT_FOUND) {
            return err;
        }
    }
    export->done++;
    json_t *json = tf_cli_store_object_json(export->reader.journal, object, &export->strange);
    if (!lost || !json) {
        return write_line(export, json);
    }
    export->left_out++;
    if (object->kind == TF_STORED_VALUE) {
        json_decref(json);
        return TF_OK;
    }
    /* It can do without: a session's will. */
    json_object_set_new(json, "messages", json_array());
    return write_line(export, json);
}

/* The kinds in the order of their numbers: the fewest first, sessions after what they read. */
static enum tf_err write_objects(struct export *export)
{
    bool there[256] = {false};
    struct tf_journal_cursor cursor = {{0}};
    struct tf_journal_object object;
    enum tf_err err = TF_OK;
    while (tf_journal_next_object(export->reader.journal, &cursor, &object)) {
        there[object.kind] = true;
    }
    for (unsigned kind = 0; kind < 256 && !err; kind++) {
        cursor = (struct tf_journal_cursor){{0}};
        while (there[kind] && !err &&
               tf_journal_next_object(export->reader.journal, &cursor, &object)) {
            if (object.kind == kind) {
                err = write_object(export, &object);
            }
        }
    }
    return err;
}

static enum tf_err write_entries(struct export *export)
{
    struct tf_journal_cursor cursor = {{0}};
    struct tf_journal_place place;
    enum tf_err err = TF_OK;
    while (!err && tf_journal_next_entry(export->reader.journal, &cursor, &place)) {
        export->done++;
        err = write_message(export, place.message);
        if (!err) {
            err = write_line(export, tf_cli_store_entry_json(&place, &export->strange));
        } else if (err == TF_NOT_FOUND) {
            export->left_out++;
            err = TF_OK;
        }
    }
    return err;
}

static enum tf_err write_all(struct export *export)
{
    const struct tf_journal_report *report = &export->reader.report;
    export->total = report->objects + report->entries;
    export->progress.what = "exporting";
    enum tf_err err = write_line(export, json_pack("{s:s, s:i, s:s}", "type", "trefoil-store",
                                                   "format", 1, "version", TREFOIL_VERSION));
    if (!err) {
        err = write_objects(export);
    }
    if (!err) {
        err = write_entries(export);
    }
    if (!err) {
        err = write_line(export, json_pack("{s:s, s:I, s:I}", "type", "end", "objects",
                                           (json_int_t)report->objects, "entries",
                                           (json_int_t)report->entries));
    }
    tf_cli_store_progress_end(&export->progress);
    return err;
}

static int finish(struct export *export, enum tf_err err)
{
    const char *name = export->store->file ? export->store->file : "stdout";
    int error = errno;
    if (export->store->file ? fclose(export->out) : fflush(export->out)) {
        error = errno;
        err = err ? err : TF_IO;
    }
    if (err == TF_NO_MEMORY) {
        tf_cli_store_say("no memory");
        return TF_EXIT_INTERNAL;
    }
    if (err) {
        int disk = export->reader.file.disk.error;
        tf_cli_store_say("%s: %s", disk ? export->store->folder : name,
                         strerror(disk ? disk : error));
        return TF_EXIT_INTERNAL;
    }
    if (export->left_out || export->reader.report.damaged_groups) {
        tf_cli_store_say("the store is damaged: %llu groups cannot be read, and %llu entries and "
                         "objects were left out because their messages are lost",
                         (unsigned long long)export->reader.report.damaged_groups,
                         (unsigned long long)export->left_out);
        return TF_EXIT_VERIFY;
    }
    return TF_EXIT_DONE;
}

int tf_cli_store_export(const struct tf_cli_store *store)
{
    struct export export = {.store = store, .out = stdout};
    int code = tf_cli_store_open(&export.reader, store->folder, true);
    if (code >= 0) {
        return code;
    }
    code = tf_cli_store_start(&export.reader, true);
    if (code < 0 && store->file) {
        export.out = fopen(store->file, "w");
        if (!export.out) {
            tf_cli_store_say("%s: %s", store->file, strerror(errno));
            code = TF_EXIT_USAGE;
        }
    }
    if (code < 0) {
        code = finish(&export, write_all(&export));
    }
    tf_cli_store_set_release(&export.written);
    tf_cli_store_set_release(&export.lost);
    tf_cli_store_close(&export.reader);
    return code;
}
