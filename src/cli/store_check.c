/*
 * `trefoil store check`: is all of it readable?
 *
 * Three readings. All bytes of all files, as they lie there. Then a start as the next one would be;
 * and where that was helped by a snapshot, one without it, which must come to the same. Then all
 * that lives: its records must make sense, its messages must have the bytes that they had.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cli/alloc.h"
#include "cli/cli.h"
#include "cli/store.h"
#include "store/inspect.h"

struct check {
    const struct tf_cli_store *store;
    struct tf_cli_store_reader reader;
    struct tf_cli_store_progress progress;
    struct tf_inspection files;
    struct tf_journal_report report;
    struct tf_journal_stats stats;
    struct tf_cli_store_content content;
    json_t *findings;
    bool snapshot_differs;
};

static const char *const whats[] = {
    [TF_INSPECT_HEAD] = "head",         [TF_INSPECT_VERSION] = "newer version",
    [TF_INSPECT_GAP] = "missing",       [TF_INSPECT_RECORDS] = "records",
    [TF_INSPECT_BODIES] = "bodies",     [TF_INSPECT_TORN] = "torn",
    [TF_INSPECT_SNAPSHOT] = "snapshot", [TF_INSPECT_ASIDE] = "set aside"};

static const char *const meanings[] = {
    [TF_INSPECT_HEAD] = "the head of the file is damaged; its groups are used",
    [TF_INSPECT_VERSION] = "of a newer version of Trefoil, not looked at",
    [TF_INSPECT_GAP] = "groups that were acknowledged are missing here",
    [TF_INSPECT_RECORDS] = "the records of a group are damaged, it is lost",
    [TF_INSPECT_BODIES] = "a message in a group is damaged",
    [TF_INSPECT_TORN] = "the end of the log, never acknowledged; the next start cuts it off",
    [TF_INSPECT_SNAPSHOT] = "damaged; the next start reads all of the log, nothing is lost",
    [TF_INSPECT_ASIDE] = "set aside by an earlier start, for whoever can make sense of it"};

static void found(void *ctx, const struct tf_inspect_finding *finding)
{
    struct check *check = ctx;
    json_array_append_new(check->findings,
                          json_pack("{s:s, s:s, s:I, s:I, s:s}", "what", whats[finding->what],
                                    "file", finding->file, "from", (json_int_t)finding->from, "to",
                                    (json_int_t)finding->to, "means", meanings[finding->what]));
}

static void progress(void *ctx, uint64_t done, uint64_t total)
{
    struct check *check = ctx;
    tf_cli_store_progress(&check->progress, done, total);
}

/* ---- the readings ---- */

static int failed(struct check *check, enum tf_err err)
{
    return tf_cli_store_failed(check->store->folder, err, check->reader.file.disk.error);
}

static int read_files(struct check *check)
{
    const struct tf_inspect_config config = {.disk = &check->reader.file.disk,
                                             .alloc = tf_cli_alloc(),
                                             .found = found,
                                             .progress = progress,
                                             .ctx = check};
    check->progress = (struct tf_cli_store_progress){.what = "checking"};
    enum tf_err err = tf_inspect(&config, &check->files);
    tf_cli_store_progress_end(&check->progress);
    return err ? failed(check, err) : -1;
}

static int read_content(struct check *check)
{
    struct tf_cli_store_content without = {0};
    int code = tf_cli_store_start(&check->reader, true);
    if (code >= 0) {
        return code;
    }
    check->report = check->reader.report;
    tf_journal_stats(check->reader.journal, &check->stats);
    enum tf_err err = tf_cli_store_look(&check->reader, true, &check->content);
    tf_cli_store_end(&check->reader);
    if (err) {
        return failed(check, err);
    }
    if (!check->report.from_snapshot || check->files.damaged) {
        return -1;
    }
    code = tf_cli_store_start(&check->reader, false);
    if (code >= 0) {
        return code;
    }
    err = tf_cli_store_look(&check->reader, false, &without);
    tf_cli_store_end(&check->reader);
    if (err) {
        return failed(check, err);
    }
    check->snapshot_differs = without.digest != check->content.digest ||
                              without.objects != check->content.objects ||
                              without.entries != check->content.entries;
    return -1;
}

/* ---- what is told ---- */

static bool is_damaged(const struct check *check)
{
    return check->files.damaged || check->report.damaged_groups || check->report.lost_messages ||
           check->report.snapshot_damaged || check->content.unreadable || check->content.strange ||
           check->snapshot_differs;
}

static void print_findings(const struct check *check)
{
    for (size_t i = 0; i < json_array_size(check->findings); i++) {
        const json_t *finding = json_array_get(check->findings, i);
        printf("%s: %lld to %lld: %s\n", json_string_value(json_object_get(finding, "file")),
               (long long)json_integer_value(json_object_get(finding, "from")),
               (long long)json_integer_value(json_object_get(finding, "to")),
               json_string_value(json_object_get(finding, "means")));
    }
}

static void print_text(const struct check *check)
{
    char bytes[TF_CLI_STORE_BYTES], live[TF_CLI_STORE_BYTES];
    const struct tf_inspection *files = &check->files;
    printf("%s: version %u, %llu segment%s (%u to %u), %llu snapshot%s, %s\n", check->store->folder,
           files->version, (unsigned long long)files->segments,
           tf_cli_store_plural(files->segments), files->oldest, files->newest,
           (unsigned long long)files->snapshots, tf_cli_store_plural(files->snapshots),
           tf_cli_store_bytes(files->file_bytes, bytes));
    printf("read: %llu groups (%llu to %llu), %llu records\n", (unsigned long long)files->groups,
           (unsigned long long)files->first, (unsigned long long)files->last,
           (unsigned long long)files->records);
    printf("there: %llu objects, %llu messages, %llu entries, %s\n",
           (unsigned long long)check->content.objects, (unsigned long long)check->content.messages,
           (unsigned long long)check->content.entries,
           tf_cli_store_bytes(check->stats.live_bytes, live));
    print_findings(check);
    if (check->content.unreadable) {
        printf("%llu messages cannot be read any more\n",
               (unsigned long long)check->content.unreadable);
    }
    if (check->content.strange) {
        printf("%llu records make no sense to this version\n",
               (unsigned long long)check->content.strange);
    }
    if (check->snapshot_differs) {
        puts("the snapshot does not say what the log says: remove the .index file");
    }
    puts(is_damaged(check) ? "damaged" : "clean");
}

static int print_json(struct check *check)
{
    const struct tf_inspection *files = &check->files;
    json_t *object = json_pack(
        "{s:s, s:b, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:I, s:O}",
        "folder", check->store->folder, "damaged", is_damaged(check), "version",
        (int)files->version, "segments", (json_int_t)files->segments, "snapshots",
        (json_int_t)files->snapshots, "file_bytes", (json_int_t)files->file_bytes, "groups",
        (json_int_t)files->groups, "records", (json_int_t)files->records, "objects",
        (json_int_t)check->content.objects, "messages", (json_int_t)check->content.messages,
        "entries", (json_int_t)check->content.entries, "live_bytes",
        (json_int_t)check->stats.live_bytes, "torn_bytes", (json_int_t)files->torn_bytes,
        "unreadable_messages", (json_int_t)check->content.unreadable, "snapshot_differs",
        check->snapshot_differs, "strange_records", (json_int_t)check->content.strange, "findings",
        check->findings);
    return tf_cli_store_print_json(object);
}

int tf_cli_store_check(const struct tf_cli_store *store)
{
    struct check check = {.store = store, .findings = json_array()};
    int code = tf_cli_store_open(&check.reader, store->folder, true);
    if (code >= 0) {
        json_decref(check.findings);
        return code;
    }
    code = read_files(&check);
    if (code < 0) {
        code = read_content(&check);
    }
    tf_cli_store_close(&check.reader);
    /* Of a newer version there is something to be told as well. */
    if (code < 0 && store->json) {
        code = print_json(&check);
    } else if (code < 0) {
        print_text(&check);
    }
    if (code < 0) {
        code = is_damaged(&check) ? TF_EXIT_VERIFY : TF_EXIT_DONE;
    }
    json_decref(check.findings);
    return fflush(stdout) && code == TF_EXIT_DONE ? TF_EXIT_INTERNAL : code;
}
