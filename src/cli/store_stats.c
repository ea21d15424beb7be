/*
 * `trefoil store stats`: what is in a store, and what takes the space.
 */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "cli/cli.h"
#include "cli/store.h"
#include "cli/table.h"
#include "port/terminal.h"
#include "route/stored.h"

#define STDOUT 1

/* A queue that has entries, or a name. */
struct queue {
    uint64_t id, entries, bytes;
    char *name; /* malloc; NULL: nobody's */
    const char *kind;
};

struct stats {
    const struct tf_cli_store *store;
    struct tf_cli_store_reader reader;
    uint64_t kinds[256];
    struct queue *queues; /* by id, after they have been collected */
    size_t count, capacity;
};

/* ---- collecting ---- */

static struct queue *add_queue(struct stats *stats, uint64_t id)
{
    if (stats->count == stats->capacity) {
        size_t capacity = stats->capacity ? stats->capacity * 2 : 64;
        struct queue *queues = realloc(stats->queues, capacity * sizeof(*queues));
        if (!queues) {
            return NULL;
        }
        stats->queues = queues;
        stats->capacity = capacity;
    }
    struct queue *queue = &stats->queues[stats->count++];
    *queue = (struct queue){.id = id};
    return queue;
}

/* The queue of a session: its id is behind version and level. */
static bool session_queue(struct tf_bytes value, uint64_t *ret_id)
{
    struct tf_reader reader = tf_reader_of(value);
    unsigned version = tf_read_u8(&reader);
    (void)tf_read_u8(&reader);
    *ret_id = tf_read_u64(&reader);
    return !reader.failed && version == 1;
}

static enum tf_err collect_objects(struct stats *stats)
{
    struct tf_journal_cursor cursor = {{0}};
    struct tf_journal_object object;
    while (tf_journal_next_object(stats->reader.journal, &cursor, &object)) {
        struct tf_queue_spec spec;
        uint64_t id = 0;
        bool named = object.kind == TF_STORED_QUEUE &&
                     tf_stored_queue_read(object.value, &id, &spec) == TF_OK;
        stats->kinds[object.kind]++;
        if (!named && !(object.kind == TF_STORED_SESSION && session_queue(object.value, &id))) {
            continue;
        }
        struct queue *queue = add_queue(stats, id);
        char *name = malloc(object.key.length + 1);
        if (!queue || !name) {
            free(name);
            return TF_NO_MEMORY;
        }
        if (object.key.length) {
            memcpy(name, object.key.data, object.key.length);
        }
        name[object.key.length] = 0;
        queue->name = name;
        queue->kind = named ? "queue" : "session";
    }
    return TF_OK;
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = ((const struct queue *)a)->id, y = ((const struct queue *)b)->id;
    return (x > y) - (x < y);
}

static int by_length(const void *a, const void *b)
{
    const struct queue *x = a, *y = b;
    return x->entries != y->entries ? (x->entries < y->entries) - (x->entries > y->entries)
                                    : by_id(a, b);
}

static struct queue *queue_of(struct stats *stats, size_t known, uint64_t id)
{
    const struct queue wanted = {.id = id};
    return known ? bsearch(&wanted, stats->queues, known, sizeof(wanted), by_id) : NULL;
}

static enum tf_err collect_entries(struct stats *stats)
{
    struct tf_journal_cursor cursor = {{0}};
    struct tf_journal_place place;
    struct queue *queue = NULL;
    size_t known = stats->count;
    if (known) {
        qsort(stats->queues, known, sizeof(*stats->queues), by_id);
    }
    while (tf_journal_next_entry(stats->reader.journal, &cursor, &place)) {
        size_t length = 0;
        if (!queue || queue->id != place.queue) {
            queue = queue_of(stats, known, place.queue);
        }
        if (!queue) {
            queue = add_queue(stats, place.queue);
        }
        if (!queue) {
            return TF_NO_MEMORY;
        }
        queue->entries++;
        if (!tf_journal_length(stats->reader.journal, place.message, &length)) {
            queue->bytes += length;
        }
    }
    if (stats->count) {
        qsort(stats->queues, stats->count, sizeof(*stats->queues), by_length);
    }
    return TF_OK;
}

/* ---- what is told ---- */

static json_t *queues_json(const struct stats *stats)
{
    size_t count = stats->count < stats->store->limit ? stats->count : (size_t)stats->store->limit;
    json_t *rows = json_array();
    for (size_t i = 0; i < count && rows; i++) {
        const struct queue *queue = &stats->queues[i];
        char id[24];
        snprintf(id, sizeof(id), "%llu", (unsigned long long)queue->id);
        json_t *row =
            json_pack("{s:s, s:s, s:s, s:I, s:I}", "name", queue->name ? queue->name : "-", "kind",
                      queue->kind ? queue->kind : "nobody's", "id", id, "entries",
                      (json_int_t)queue->entries, "bytes", (json_int_t)queue->bytes);
        if (!row) {
            row = json_pack("{s:s, s:s, s:s, s:I, s:I}", "name", "?", "kind",
                            queue->kind ? queue->kind : "nobody's", "id", id, "entries",
                            (json_int_t)queue->entries, "bytes", (json_int_t)queue->bytes);
        }
        if (json_array_append_new(rows, row)) {
            json_decref(rows);
            rows = NULL;
        }
    }
    return rows;
}

static int print_json(const struct stats *stats, const struct tf_journal_stats *all, json_t *rows)
{
    json_t *kinds = json_object();
    for (unsigned i = 0; i < TF_COUNT(stats->kinds); i++) {
        char name[16];
        snprintf(name, sizeof(name), "%u", i);
        const char *known = tf_cli_store_kind((uint8_t)i);
        if (stats->kinds[i]) {
            json_object_set_new(kinds, strcmp(known, "object") ? known : name,
                                json_integer((json_int_t)stats->kinds[i]));
        }
    }
    json_t *object = json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:O}", "folder", stats->store->folder,
        "segments", (json_int_t)all->segments, "file_bytes", (json_int_t)all->file_bytes,
        "live_bytes", (json_int_t)all->live_bytes, "objects", (json_int_t)all->objects, "messages",
        (json_int_t)all->messages, "entries", (json_int_t)all->entries, "kinds", kinds,
        "index_bytes", (json_int_t)all->index_bytes, "queues", rows);
    int code = tf_cli_store_print_json(object);
    return code < 0 ? TF_EXIT_DONE : code;
}

static void print_text(const struct stats *stats, const struct tf_journal_stats *all,
                       const json_t *rows)
{
    static const struct tf_cli_column columns[] = {{"name", "QUEUE", TF_CLI_CELL_TEXT},
                                                   {"kind", "KIND", TF_CLI_CELL_TEXT},
                                                   {"entries", "ENTRIES", TF_CLI_CELL_NUMBER},
                                                   {"bytes", "BYTES", TF_CLI_CELL_BYTES}};
    char files[TF_CLI_STORE_BYTES], live[TF_CLI_STORE_BYTES], index[TF_CLI_STORE_BYTES];
    printf("%s: %llu segment%s, %s in files, %s of it lives; %s of memory for the index\n",
           stats->store->folder, (unsigned long long)all->segments,
           tf_cli_store_plural(all->segments), tf_cli_store_bytes(all->file_bytes, files),
           tf_cli_store_bytes(all->live_bytes, live), tf_cli_store_bytes(all->index_bytes, index));
    printf("%llu messages, %llu entries, %llu objects", (unsigned long long)all->messages,
           (unsigned long long)all->entries, (unsigned long long)all->objects);
    for (unsigned i = 0, said = 0; i < TF_COUNT(stats->kinds); i++) {
        if (stats->kinds[i]) {
            printf("%s%s %llu", said++ ? ", " : ": ", tf_cli_store_kind((uint8_t)i),
                   (unsigned long long)stats->kinds[i]);
        }
    }
    putchar('\n');
    if (json_array_size(rows)) {
        putchar('\n');
        tf_cli_table_print(rows, columns, TF_COUNT(columns), tf_terminal_colour(STDOUT), stdout);
    }
    if (stats->count > json_array_size(rows)) {
        printf("and %zu more\n", stats->count - json_array_size(rows));
    }
}

static int tell(struct stats *stats)
{
    struct tf_journal_stats all;
    int code = TF_EXIT_DONE;
    json_t *rows = queues_json(stats);
    if (!rows) {
        tf_cli_store_say("no memory");
        return TF_EXIT_INTERNAL;
    }
    tf_journal_stats(stats->reader.journal, &all);
    if (stats->store->json) {
        code = print_json(stats, &all, rows);
    } else {
        print_text(stats, &all, rows);
    }
    json_decref(rows);
    return code;
}

int tf_cli_store_stats(const struct tf_cli_store *store)
{
    struct stats stats = {.store = store};
    int code = tf_cli_store_open(&stats.reader, store->folder, true);
    if (code >= 0) {
        return code;
    }
    code = tf_cli_store_start(&stats.reader, true);
    if (code < 0) {
        enum tf_err err = collect_objects(&stats);
        if (!err) {
            err = collect_entries(&stats);
        }
        code = err ? tf_cli_store_failed(store->folder, err, 0) : tell(&stats);
    }
    for (size_t i = 0; i < stats.count; i++) {
        free(stats.queues[i].name);
    }
    free(stats.queues);
    tf_cli_store_close(&stats.reader);
    return fflush(stdout) && code == TF_EXIT_DONE ? TF_EXIT_INTERNAL : code;
}
