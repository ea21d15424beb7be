/*
 * A store, opened to be read.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/util.h"
#include "cli/alloc.h"
#include "cli/cli.h"
#include "cli/store.h"
#include "cli/table.h"
#include "port/clock.h"
#include "port/entropy.h"
#include "port/terminal.h"
#include "store/inspect.h"

#define STDERR 2
#define PROGRESS_EVERY (100 * TF_MILLISECOND)

void tf_cli_store_say(const char *format, ...)
{
    va_list arguments;
    fputs("trefoil store: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

int tf_cli_store_failed(const char *folder, enum tf_err err, int error)
{
    switch (err) {
    case TF_NO_MEMORY:
        tf_cli_store_say("no memory");
        return TF_EXIT_INTERNAL;
    case TF_NOT_FOUND:
        tf_cli_store_say("there is no store in %s", folder);
        return TF_EXIT_USAGE;
    case TF_EXISTS:
        tf_cli_store_say("%s is in use by another process", folder);
        return TF_EXIT_REFUSED;
    case TF_UNSUPPORTED:
        tf_cli_store_say("%s was written by a newer version of Trefoil, which must be used",
                         folder);
        return TF_EXIT_VERIFY;
    case TF_LIMIT:
        tf_cli_store_say("%s: %s", folder, error ? strerror(error) : "the disk is full");
        return TF_EXIT_INTERNAL;
    default:
        tf_cli_store_say("%s: %s", folder, error ? strerror(error) : tf_err_name(err));
        return TF_EXIT_INTERNAL;
    }
}

/* ---- opening ---- */

static int say_held(const char *folder, uint64_t holder)
{
    char who[48] = "another process";
    if (holder) {
        snprintf(who, sizeof(who), "process %llu", (unsigned long long)holder);
    }
    tf_cli_store_say("%s is in use by %s: stop that broker first, or copy the store while it runs "
                     "(trefoil store backup) and look at the copy",
                     folder, who);
    return TF_EXIT_REFUSED;
}

static void look_for_log(void *ctx, const char *name)
{
    bool *found = ctx;
    *found = *found || tf_inspect_file_of(name) == TF_INSPECT_LOG;
}

int tf_cli_store_open(struct tf_cli_store_reader *reader, const char *folder, bool lock)
{
    uint64_t holder = 0;
    bool found = false;
    struct tf_disk *disk = &reader->file.disk;
    *reader = (struct tf_cli_store_reader){.folder = folder};
    enum tf_err err = tf_disk_file_look(&reader->file, folder);
    if (err) {
        return tf_cli_store_failed(folder, err, disk->error);
    }
    err = lock ? tf_disk_file_share(&reader->file, &holder) : TF_OK;
    if (err == TF_NOT_FOUND) {
        err = TF_OK; /* no broker has ever used it, as it is with a copy */
    }
    if (!err) {
        err = disk->ops->list(disk, look_for_log, &found);
    }
    if (!err && !found) {
        err = TF_NOT_FOUND;
    }
    if (err) {
        int code = err == TF_EXISTS ? say_held(folder, holder)
                                    : tf_cli_store_failed(folder, err, disk->error);
        tf_disk_file_release(&reader->file);
        return code;
    }
    tf_cli_store_disk_init(&reader->disk, disk);
    return -1;
}

int tf_cli_store_start(struct tf_cli_store_reader *reader, bool snapshots)
{
    uint64_t holder = 0, seed;
    tf_entropy_fill(&seed, sizeof(seed));
    reader->disk.closed = false;
    reader->disk.hide_snapshots = !snapshots;
    const struct tf_journal_config config = {.disk = &reader->disk.disk,
                                             .alloc = tf_cli_alloc(),
                                             .seed = seed,
                                             .segment_size = TF_JOURNAL_SEGMENT_MIN};
    enum tf_err err = tf_journal_open(&config, &reader->journal, &reader->report, &holder);
    reader->disk.closed = true;
    if (err) {
        reader->journal = NULL;
        return tf_cli_store_failed(reader->folder, err, reader->disk.disk.error);
    }
    return -1;
}

void tf_cli_store_end(struct tf_cli_store_reader *reader)
{
    tf_journal_close(reader->journal);
    reader->journal = NULL;
}

void tf_cli_store_close(struct tf_cli_store_reader *reader)
{
    tf_cli_store_end(reader);
    tf_disk_file_release(&reader->file);
}

/* ---- what is in it ---- */

enum tf_err tf_cli_store_message(struct tf_cli_store_reader *reader, uint64_t id,
                                 uint8_t **ret_data, size_t *ret_length)
{
    size_t length = 0;
    enum tf_err err = tf_journal_length(reader->journal, id, &length);
    if (err) {
        return err;
    }
    uint8_t *data = malloc(length + 1);
    if (!data) {
        return TF_NO_MEMORY;
    }
    err = tf_journal_read(reader->journal, id, data, length);
    if (err) {
        free(data);
        return err;
    }
    *ret_data = data;
    *ret_length = length;
    return TF_OK;
}

/* A message is looked at when it is met first. */
struct look {
    struct tf_cli_store_reader *reader;
    struct tf_cli_store_content *content;
    struct tf_cli_store_set seen;
    bool messages;
};

static uint64_t digest(uint64_t seed, struct tf_bytes bytes)
{
    const struct tf_hash_key key = {.k0 = seed, .k1 = 1};
    return tf_hash(bytes, &key);
}

static enum tf_err look_at_message(struct look *look, uint64_t id)
{
    bool fresh = false;
    uint8_t *data = NULL;
    size_t length = 0;
    enum tf_err err = tf_cli_store_set_add(&look->seen, id, &fresh);
    if (err || !fresh) {
        return err;
    }
    look->content->messages++;
    if (!look->messages) {
        return TF_OK;
    }
    err = tf_cli_store_message(look->reader, id, &data, &length);
    if (err == TF_NOT_FOUND || err == TF_PROTOCOL) {
        look->content->unreadable++;
        return TF_OK;
    }
    if (err) {
        return err;
    }
    json_t *json =
        tf_cli_store_message_json(id, tf_bytes_of(data, length), &look->content->strange);
    err = json ? TF_OK : TF_NO_MEMORY;
    json_decref(json);
    free(data);
    return err;
}

static enum tf_err look_at_objects(struct look *look)
{
    struct tf_journal *journal = look->reader->journal;
    struct tf_cli_store_content *content = look->content;
    struct tf_journal_cursor cursor = {{0}};
    struct tf_journal_object object;
    enum tf_err err = TF_OK;
    while (!err && tf_journal_next_object(journal, &cursor, &object)) {
        uint64_t sum = digest(digest(object.kind, object.key), object.value);
        for (size_t i = 0; i < object.messages && !err; i++) {
            uint64_t id = tf_journal_object_message(journal, &object, i);
            sum = sum * 31 + id;
            err = look_at_message(look, id);
        }
        json_t *json = tf_cli_store_object_json(journal, &object, &content->strange);
        err = err || json ? err : TF_NO_MEMORY;
        json_decref(json);
        content->digest += sum;
        content->objects++;
    }
    return err;
}

static enum tf_err look_at_entries(struct look *look)
{
    struct tf_journal *journal = look->reader->journal;
    struct tf_cli_store_content *content = look->content;
    struct tf_journal_cursor cursor = {{0}};
    struct tf_journal_place place;
    enum tf_err err = TF_OK;
    while (!err && tf_journal_next_entry(journal, &cursor, &place)) {
        const uint64_t numbers[] = {place.queue, place.position, place.message};
        json_t *json = tf_cli_store_entry_json(&place, &content->strange);
        err = json ? look_at_message(look, place.message) : TF_NO_MEMORY;
        json_decref(json);
        content->digest +=
            digest(digest(2, tf_bytes_of(numbers, sizeof(numbers))), place.attributes);
        content->entries++;
    }
    return err;
}

enum tf_err tf_cli_store_look(struct tf_cli_store_reader *reader, bool messages,
                              struct tf_cli_store_content *ret)
{
    struct tf_cli_store_content content = {0};
    struct look look = {.reader = reader, .content = &content, .messages = messages};
    enum tf_err err = look_at_objects(&look);
    if (!err) {
        err = look_at_entries(&look);
    }
    tf_cli_store_set_release(&look.seen);
    if (!err) {
        *ret = content;
    }
    return err;
}

/* ---- a set of numbers: open addressing, 0 apart ---- */

static size_t slot_of(const struct tf_cli_store_set *set, uint64_t number)
{
    size_t at = (size_t)(number * UINT64_C(0x9E3779B97F4A7C15) >> 17) & (set->capacity - 1);
    while (set->numbers[at] && set->numbers[at] != number) {
        at = (at + 1) & (set->capacity - 1);
    }
    return at;
}

static enum tf_err grow(struct tf_cli_store_set *set)
{
    struct tf_cli_store_set larger = {.capacity = set->capacity ? set->capacity * 2 : 1024};
    larger.numbers = calloc(larger.capacity, sizeof(uint64_t));
    if (!larger.numbers) {
        return TF_NO_MEMORY;
    }
    for (size_t i = 0; i < set->capacity; i++) {
        if (set->numbers[i]) {
            larger.numbers[slot_of(&larger, set->numbers[i])] = set->numbers[i];
        }
    }
    free(set->numbers);
    set->numbers = larger.numbers;
    set->capacity = larger.capacity;
    return TF_OK;
}

enum tf_err tf_cli_store_set_add(struct tf_cli_store_set *set, uint64_t number, bool *ret_new)
{
    if (!number) {
        *ret_new = !set->zero;
        set->zero = true;
        return TF_OK;
    }
    if (2 * (set->count + 1) > set->capacity && grow(set)) {
        return TF_NO_MEMORY;
    }
    uint64_t *slot = &set->numbers[slot_of(set, number)];
    *ret_new = !*slot;
    set->count += !*slot;
    *slot = number;
    return TF_OK;
}

void tf_cli_store_set_release(struct tf_cli_store_set *set)
{
    free(set->numbers);
    *set = (struct tf_cli_store_set){0};
}

/* ---- output ---- */

void tf_cli_store_progress(struct tf_cli_store_progress *progress, uint64_t done, uint64_t total)
{
    tf_time now = tf_clock_now();
    if (now < progress->next || !total || !tf_terminal_is(STDERR)) {
        return;
    }
    /* Nothing for what is done at once. */
    if (progress->next) {
        fprintf(stderr, "\r%s %3u %%", progress->what, (unsigned)(done * 100.0 / (double)total));
        (void)fflush(stderr);
        progress->shown = true;
    }
    progress->next = tf_time_add(now, PROGRESS_EVERY);
}

void tf_cli_store_progress_end(struct tf_cli_store_progress *progress)
{
    if (progress->shown) {
        fputs("\r\033[K", stderr);
    }
    progress->shown = false;
}

int tf_cli_store_print_json(json_t *object)
{
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    if (!text) {
        tf_cli_store_say("no memory, or the folder's name is no UTF-8");
        return TF_EXIT_INTERNAL;
    }
    puts(text);
    free(text);
    return -1;
}

const char *tf_cli_store_plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

const char *tf_cli_store_bytes(uint64_t bytes, char text[TF_CLI_STORE_BYTES])
{
    static const struct tf_cli_column column = {"bytes", "", TF_CLI_CELL_BYTES};
    char cell[TF_CLI_CELL_MAX] = "?";
    json_t *row = json_pack("{s:I}", "bytes", (json_int_t)bytes);
    tf_cli_cell_text(row, &column, cell);
    json_decref(row);
    snprintf(text, TF_CLI_STORE_BYTES, "%s", cell);
    return text;
}
