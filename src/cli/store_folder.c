/*
 * Folders for new stores.
 */
#include "cli/store_folder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/store.h"
#include "port/folder.h"
#include "store/inspect.h"

/* What is in a folder. */
struct content {
    struct tf_disk *disk;
    bool log, foreign; /* some segment; something that no journal has, or has set aside */
    enum tf_err err;   /* of the first that could not be removed */
};

/* True: a journal makes such a name, and makes it again. */
static bool is_own(const char *name)
{
    return strcmp(name, TF_DISK_FILE_LOCK) == 0 || tf_inspect_file_of(name) != TF_INSPECT_FOREIGN;
}

static enum tf_err look(void *ctx, const char *name)
{
    struct content *content = ctx;
    if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
        content->foreign = content->foreign || !is_own(name);
        content->log = content->log || tf_inspect_file_of(name) == TF_INSPECT_LOG;
    }
    return TF_OK;
}

/* A journal with nothing in it but its own mark. */
static int is_empty(const char *folder, bool *ret_empty)
{
    struct tf_cli_store_reader reader;
    struct tf_journal_cursor cursor = {{0}};
    struct tf_journal_object object;
    struct tf_journal_place place;
    int code = tf_cli_store_open(&reader, folder, true);
    if (code >= 0) {
        return code;
    }
    code = tf_cli_store_start(&reader, true);
    if (code < 0) {
        *ret_empty = !tf_journal_next_entry(reader.journal, &cursor, &place) &&
                     !reader.report.damaged_groups && !reader.report.torn_bytes;
        cursor = (struct tf_journal_cursor){{0}};
        while (*ret_empty && tf_journal_next_object(reader.journal, &cursor, &object)) {
            *ret_empty = object.kind == 0;
        }
    }
    tf_cli_store_close(&reader);
    return code;
}

int tf_cli_store_folder_vacant(const char *folder)
{
    struct content content = {0};
    bool empty = true;
    enum tf_err err = tf_folder_list(folder, look, &content);
    if (err == TF_NOT_FOUND && errno == ENOENT) {
        return -1;
    }
    if (err) {
        tf_cli_store_say("%s: %s", folder, strerror(errno));
        return TF_EXIT_USAGE;
    }
    if (!content.foreign && content.log) {
        int code = is_empty(folder, &empty);
        if (code >= 0) {
            return code;
        }
    }
    if (content.foreign || !empty) {
        tf_cli_store_say("%s is not empty: name a new folder", folder);
        return TF_EXIT_REFUSED;
    }
    return -1;
}

static void remove_own(void *ctx, const char *name)
{
    struct content *content = ctx;
    if (is_own(name)) {
        enum tf_err err = content->disk->ops->remove(content->disk, name);
        content->err = content->err ? content->err : err;
    }
}

/*
 * Removes what a journal has made in a folder that is there. TF_EXISTS: somebody has it. Else
 * errno.
 */
static enum tf_err empty_folder(const char *folder)
{
    struct tf_disk_file file;
    struct content content = {.disk = &file.disk};
    uint64_t holder;
    enum tf_err err = tf_disk_file_look(&file, folder);
    if (err) {
        errno = file.disk.error;
        return err;
    }
    err = file.disk.ops->lock(&file.disk, &holder);
    if (!err) {
        err = file.disk.ops->list(&file.disk, remove_own, &content);
    }
    err = err ? err : content.err;
    tf_disk_file_release(&file);
    errno = err == TF_EXISTS ? EBUSY : file.disk.error;
    return err;
}

int tf_cli_store_folder_begin(const char *folder, const char *ending, char **ret_temporary)
{
    size_t length = strlen(folder);
    while (length > 1 && folder[length - 1] == '/') {
        length--;
    }
    char *path = malloc(length + strlen(ending) + 1);
    if (!path) {
        tf_cli_store_say("no memory");
        return TF_EXIT_INTERNAL;
    }
    memcpy(path, folder, length);
    strcpy(path + length, ending);
    enum tf_err err = empty_folder(path);
    if (!err || err == TF_NOT_FOUND) {
        err = tf_folder_make(path);
    }
    if (err) {
        tf_cli_store_say("%s: %s", path, strerror(errno));
        free(path);
        return err == TF_EXISTS ? TF_EXIT_REFUSED : TF_EXIT_INTERNAL;
    }
    *ret_temporary = path;
    return -1;
}

int tf_cli_store_folder_finish(const char *folder, const char *temporary, int code)
{
    if (code >= 0) {
        /* Nobody minds what is left: the next attempt begins with this. */
        if (empty_folder(temporary) || tf_folder_remove(temporary)) {
            tf_cli_store_say("%s could not be removed", temporary);
        }
        return code;
    }
    enum tf_err err = empty_folder(folder);
    if (!err || err == TF_NOT_FOUND) {
        err = tf_folder_rename(temporary, folder);
    }
    if (err) {
        tf_cli_store_say("%s is complete, but cannot become %s: %s", temporary, folder,
                         strerror(errno));
        return TF_EXIT_INTERNAL;
    }
    return TF_EXIT_DONE;
}
