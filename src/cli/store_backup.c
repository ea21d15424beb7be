/*
 * `trefoil store backup`: a copy of a store, which a broker may be using.
 *
 * store/backup.h makes the copy; here it is read and checked, and then gets its name. The original
 * is neither locked nor asked.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/alloc.h"
#include "cli/cli.h"
#include "cli/store.h"
#include "cli/store_folder.h"
#include "port/folder.h"
#include "store/backup.h"

struct copy {
    const struct tf_cli_store *store;
    const char *temporary;
    struct tf_backup_stats stats;
    struct tf_cli_store_content content;
};

static int run(struct copy *copy, struct tf_cli_store_reader *from, struct tf_disk *to)
{
    struct tf_cli_store_progress progress = {.what = "copying"};
    struct tf_backup *backup = NULL;
    enum tf_err err = tf_backup_new(&from->file.disk, to, tf_cli_alloc(), &backup);
    if (err) {
        return tf_cli_store_failed(copy->store->folder, err, 0);
    }
    while ((err = tf_backup_step(backup)) == TF_AGAIN) {
        tf_backup_stats(backup, &copy->stats);
        tf_cli_store_progress(&progress, copy->stats.bytes, copy->stats.total);
    }
    tf_cli_store_progress_end(&progress);
    tf_backup_stats(backup, &copy->stats);
    tf_backup_free(backup);
    if (!err) {
        return -1;
    }
    return to->error ? tf_cli_store_failed(copy->temporary, err, to->error)
                     : tf_cli_store_failed(copy->store->folder, err, from->file.disk.error);
}

/* Reads the copy to the last byte. */
static int verify(struct copy *copy)
{
    struct tf_cli_store_reader reader;
    int code = tf_cli_store_open(&reader, copy->temporary, false);
    if (code >= 0) {
        return code;
    }
    code = tf_cli_store_start(&reader, false);
    if (code < 0) {
        enum tf_err err = tf_cli_store_look(&reader, true, &copy->content);
        code = err ? tf_cli_store_failed(copy->temporary, err, reader.file.disk.error) : -1;
    }
    tf_cli_store_close(&reader);
    return code;
}

static int make_copy(struct copy *copy)
{
    struct tf_cli_store_reader from;
    struct tf_disk_file to;
    int code = tf_cli_store_open(&from, copy->store->folder, false);
    if (code >= 0) {
        return code;
    }
    uint64_t holder;
    enum tf_err err = tf_disk_file_init(&to, copy->temporary);
    if (!err) {
        err = to.disk.ops->lock(&to.disk, &holder); /* against another backup to the same place */
    }
    code =
        err ? tf_cli_store_failed(copy->temporary, err, to.disk.error) : run(copy, &from, &to.disk);
    tf_disk_file_release(&to);
    tf_cli_store_close(&from);
    return code < 0 ? verify(copy) : code;
}

static bool is_damaged(const struct copy *copy)
{
    return copy->stats.damaged || copy->content.unreadable;
}

static int tell(const struct copy *copy)
{
    const struct tf_backup_stats *stats = &copy->stats;
    const struct tf_cli_store_content *content = &copy->content;
    char bytes[TF_CLI_STORE_BYTES];
    if (!copy->store->json) {
        printf("%s: %llu segment%s, %llu groups, %s; %llu objects, %llu messages, %llu entries\n",
               copy->store->target, (unsigned long long)stats->segments,
               tf_cli_store_plural(stats->segments), (unsigned long long)stats->groups,
               tf_cli_store_bytes(stats->bytes, bytes), (unsigned long long)content->objects,
               (unsigned long long)content->messages, (unsigned long long)content->entries);
    } else {
        json_t *object =
            json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "folder", copy->store->target,
                      "segments", (json_int_t)stats->segments, "groups", (json_int_t)stats->groups,
                      "bytes", (json_int_t)stats->bytes, "objects", (json_int_t)content->objects,
                      "messages", (json_int_t)content->messages, "entries",
                      (json_int_t)content->entries, "damaged", is_damaged(copy));
        int code = tf_cli_store_print_json(object);
        if (code >= 0) {
            return code;
        }
    }
    if (is_damaged(copy)) {
        tf_cli_store_say("the original is damaged, and so is the copy: %llu places, %llu messages",
                         (unsigned long long)stats->damaged,
                         (unsigned long long)content->unreadable);
        return TF_EXIT_VERIFY;
    }
    return TF_EXIT_DONE;
}

/* The target must not be there, or be an empty folder. */
static enum tf_err any_name(void *ctx, const char *name)
{
    (void)ctx;
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ? TF_OK : TF_EXISTS;
}

int tf_cli_store_backup(const struct tf_cli_store *store)
{
    struct copy copy = {.store = store};
    char *temporary = NULL;
    enum tf_err err = tf_folder_list(store->target, any_name, NULL);
    if (err == TF_EXISTS) {
        tf_cli_store_say("%s is not empty: name a new folder", store->target);
        return TF_EXIT_REFUSED;
    }
    if (err && !(err == TF_NOT_FOUND && errno == ENOENT)) {
        tf_cli_store_say("%s: %s", store->target, strerror(errno));
        return TF_EXIT_USAGE;
    }
    int code = tf_cli_store_folder_begin(store->target, ".part", &temporary);
    if (code >= 0) {
        return code;
    }
    copy.temporary = temporary;
    code = make_copy(&copy);
    code = tf_cli_store_folder_finish(store->target, temporary, code);
    free(temporary);
    if (code == TF_EXIT_DONE) {
        code = tell(&copy);
    }
    return fflush(stdout) && code == TF_EXIT_DONE ? TF_EXIT_INTERNAL : code;
}
