/*
 * Reads configuration files and lists their folders from the real file system.
 *
 * Why behind struct tf_config_io: the parser is tested and fuzzed without a disk. It must not know
 * what is in a file.
 */
#include "broker/config.h"

#include "port/folder.h"

#include <errno.h>
#include <stdlib.h>

/* Reads all of `file` into memory that grows as bytes arrive: a size is not to be trusted. */
static enum tf_err read_all(FILE *file, char **ret_text, size_t *ret_length)
{
    size_t length = 0, capacity = 4096;
    char *text = malloc(capacity);
    enum tf_err err = TF_NO_MEMORY;

    while (text) {
        char *grown;

        length += fread(text + length, 1, capacity - length, file);
        if (length < capacity)
            break;
        if (capacity > TF_CONFIG_FILE_MAX) {
            err = TF_LIMIT;
            goto out;
        }
        grown = realloc(text, capacity * 2);
        if (!grown)
            goto out;
        text = grown;
        capacity *= 2;
    }
    if (!text)
        return TF_NO_MEMORY;
    err = ferror(file) ? TF_IO : length > TF_CONFIG_FILE_MAX ? TF_LIMIT : TF_OK;
out:
    if (err) {
        free(text);
        return err;
    }
    *ret_text = text;
    *ret_length = length;
    return TF_OK;
}

static enum tf_err files_read(void *context, const char *path, char **ret_text, size_t *ret_length)
{
    FILE *file;
    enum tf_err err;
    int saved;

    (void)context;
    file = fopen(path, "rb");
    if (!file)
        return errno == ENOENT || errno == ENOTDIR ? TF_NOT_FOUND : TF_IO;
    err = read_all(file, ret_text, ret_length);
    saved = errno;
    fclose(file);
    errno = saved;
    return err;
}

static enum tf_err files_list(void *context, const char *path,
                              enum tf_err (*each)(void *each_context, const char *name),
                              void *each_context)
{
    (void)context;
    return tf_folder_list(path, each, each_context);
}

const struct tf_config_io *tf_config_io_files(void)
{
    static const struct tf_config_io files = {.read = files_read, .list = files_list};

    return &files;
}
