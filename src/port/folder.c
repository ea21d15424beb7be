/*
 * Folders.
 */
#include "port/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

enum tf_err tf_folder_make(const char *path)
{
    char part[PATH_MAX];
    size_t length = strlen(path);

    if (!length || length >= sizeof(part)) {
        errno = length ? ENAMETOOLONG : ENOENT;
        return TF_IO;
    }
    memcpy(part, path, length + 1);
    for (char *at = part + 1; *at; at++) {
        if (*at != '/')
            continue;
        *at = 0;
        if (mkdir(part, 0700) && errno != EEXIST)
            return TF_IO;
        *at = '/';
    }
    return mkdir(path, 0700) && errno != EEXIST ? TF_IO : TF_OK;
}

enum tf_err tf_folder_remove(const char *path)
{
    if (!rmdir(path))
        return TF_OK;
    return errno == ENOENT ? TF_NOT_FOUND : TF_IO;
}

/* Syncs the folder that `path` is in. */
static enum tf_err sync_above(const char *path)
{
    char above[PATH_MAX];
    size_t length = strlen(path);
    int fd, failed;

    while (length && path[length - 1] == '/')
        length--;
    while (length && path[length - 1] != '/')
        length--;
    if (length >= sizeof(above)) {
        errno = ENAMETOOLONG;
        return TF_IO;
    }
    memcpy(above, length ? path : ".", length ? length : 1);
    above[length ? length : 1] = 0;
    fd = open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return TF_IO;
    failed = fsync(fd) ? errno : 0;
    close(fd);
    errno = failed;
    return failed ? TF_IO : TF_OK;
}

enum tf_err tf_folder_rename(const char *from, const char *to)
{
    if (rename(from, to))
        return errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR ? TF_EXISTS : TF_IO;
    return sync_above(to);
}
