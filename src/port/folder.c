/*
 * Folders, read name by name.
 */
#include "port/folder.h"

#include <dirent.h>
#include <errno.h>

enum tf_err tf_folder_list(const char *path, enum tf_err (*each)(void *ctx, const char *name),
                           void *ctx)
{
    DIR *folder = opendir(path);
    struct dirent *entry;
    enum tf_err err = TF_OK;
    int failed;

    if (!folder)
        return errno == ENOENT || errno == ENOTDIR ? TF_NOT_FOUND : TF_IO;
    errno = 0;
    while (!err && (entry = readdir(folder))) {
        err = each(ctx, entry->d_name);
        errno = 0;
    }
    failed = errno;
    closedir(folder);
    errno = failed;
    return !err && failed ? TF_IO : err;
}
