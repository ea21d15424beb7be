/*
 * The disk on the files of the operating system.
 *
 * Files are read and written at offsets, by pread and pwritev; a call that a signal has interrupted
 * goes on, and one that has written a part writes the rest. ENOSPC, EDQUOT and EFBIG are a full
 * disk.
 */
#include "port/disk_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/util.h"

#define SPANS 256 /* of one call */

static struct tf_disk_file *file_of(struct tf_disk *disk)
{
    return tf_container_of(disk, struct tf_disk_file, disk);
}

/* The error of the call that has just failed. */
static enum tf_err failed(struct tf_disk *disk)
{
    disk->error = errno;
    if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)
        return TF_LIMIT;
    if (errno == ENOENT)
        return TF_NOT_FOUND;
    if (errno == EEXIST)
        return TF_EXISTS;
    return TF_IO;
}

static bool name_valid(struct tf_disk *disk, const char *name)
{
    if (*name && *name != '.' && !strchr(name, '/') && strlen(name) <= NAME_MAX)
        return true;
    disk->error = EINVAL;
    return false;
}

static enum tf_err file_open(struct tf_disk *disk, const char *name, enum tf_disk_open how,
                             int *ret_file)
{
    int flags = O_CLOEXEC | O_NOFOLLOW | (how == TF_DISK_READ ? O_RDONLY : O_RDWR);
    int fd;

    if (!name_valid(disk, name))
        return TF_MISUSE;
    if (how == TF_DISK_CREATE)
        flags |= O_CREAT | O_EXCL;
    do
        fd = openat(file_of(disk)->folder, name, flags, 0600);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return failed(disk);
    *ret_file = fd;
    return TF_OK;
}

static void file_close(struct tf_disk *disk, int file)
{
    (void)disk;
    close(file); /* what matters has been synced */
}

static enum tf_err file_read(struct tf_disk *disk, int file, uint64_t offset, void *to,
                             size_t length, size_t *ret_length)
{
    size_t done = 0;

    while (done < length) {
        ssize_t got = pread(file, (uint8_t *)to + done, length - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return failed(disk);
        if (!got)
            break;
        done += (size_t)got;
    }
    *ret_length = done;
    return TF_OK;
}

/* Takes `done` bytes off the front of the vectors. */
static void advance(struct iovec **at, size_t *count, size_t done)
{
    while (*count && done >= (*at)->iov_len) {
        done -= (*at)->iov_len;
        ++*at;
        --*count;
    }
    if (*count) {
        (*at)->iov_base = (uint8_t *)(*at)->iov_base + done;
        (*at)->iov_len -= done;
    }
}

static enum tf_err write_some(struct tf_disk *disk, int file, uint64_t *offset,
                              const struct tf_bytes *spans, size_t count)
{
    struct iovec vectors[SPANS], *at = vectors;

    for (size_t i = 0; i < count; i++)
        vectors[i] = (struct iovec){(void *)(uintptr_t)spans[i].data, spans[i].length};
    while (count) {
        ssize_t done = pwritev(file, at, (int)count, (off_t)*offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return failed(disk);
        *offset += (uint64_t)done;
        advance(&at, &count, (size_t)done);
    }
    return TF_OK;
}

static enum tf_err file_write(struct tf_disk *disk, int file, uint64_t offset,
                              const struct tf_bytes *spans, size_t count)
{
    enum tf_err err = TF_OK;

    for (size_t i = 0; i < count && !err; i += SPANS)
        err = write_some(disk, file, &offset, spans + i, TF_MIN(count - i, (size_t)SPANS));
    return err;
}

/* After an error a second try may succeed without the data: so there is none. */
static enum tf_err file_sync(struct tf_disk *disk, int file)
{
    if (fdatasync(file)) {
        disk->error = errno;
        return TF_IO;
    }
    return TF_OK;
}

static enum tf_err file_sync_folder(struct tf_disk *disk)
{
    if (fsync(file_of(disk)->folder)) {
        disk->error = errno;
        return TF_IO;
    }
    return TF_OK;
}

static enum tf_err file_reserve(struct tf_disk *disk, int file, uint64_t length)
{
    int error;

    do
        error = posix_fallocate(file, 0, (off_t)length);
    while (error == EINTR);
    errno = error;
    return error ? failed(disk) : TF_OK;
}

static enum tf_err file_size(struct tf_disk *disk, int file, uint64_t *ret_length)
{
    struct stat status;

    if (fstat(file, &status))
        return failed(disk);
    *ret_length = (uint64_t)status.st_size;
    return TF_OK;
}

static enum tf_err file_truncate(struct tf_disk *disk, int file, uint64_t length)
{
    return ftruncate(file, (off_t)length) ? failed(disk) : TF_OK;
}

static enum tf_err file_rename(struct tf_disk *disk, const char *from, const char *to)
{
    int folder = file_of(disk)->folder;

    if (!name_valid(disk, from) || !name_valid(disk, to))
        return TF_MISUSE;
    return renameat(folder, from, folder, to) ? failed(disk) : TF_OK;
}

static enum tf_err file_remove(struct tf_disk *disk, const char *name)
{
    if (!name_valid(disk, name))
        return TF_MISUSE;
    return unlinkat(file_of(disk)->folder, name, 0) ? failed(disk) : TF_OK;
}

static enum tf_err file_list(struct tf_disk *disk, void (*each)(void *ctx, const char *name),
                             void *ctx)
{
    int fd = openat(file_of(disk)->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    enum tf_err err = TF_OK;

    if (!folder) {
        err = failed(disk);
        if (fd >= 0)
            close(fd);
        return err;
    }
    for (errno = 0; (entry = readdir(folder)); errno = 0)
        if (entry->d_name[0] != '.')
            each(ctx, entry->d_name);
    if (errno)
        err = failed(disk);
    closedir(folder);
    return err;
}

/* The number in the lock's file. */
static uint64_t holder_of(int fd)
{
    char text[24];
    ssize_t length = pread(fd, text, sizeof(text) - 1, 0);

    if (length <= 0)
        return 0;
    text[length] = 0;
    return strtoull(text, NULL, 10);
}

static enum tf_err file_lock(struct tf_disk *disk, uint64_t *ret_holder)
{
    struct tf_disk_file *self = file_of(disk);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char text[24];
    int fd =
        openat(self->folder, TF_DISK_FILE_LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int length;

    if (fd < 0)
        return failed(disk);
    /* Of the open file, not of the process: a second one in this process is refused as well. */
    if (fcntl(fd, F_OFD_SETLK, &lock)) {
        enum tf_err err = errno == EAGAIN || errno == EACCES ? TF_EXISTS : failed(disk);
        if (err == TF_EXISTS)
            *ret_holder = holder_of(fd);
        close(fd);
        return err;
    }
    length = snprintf(text, sizeof(text), "%lld\n", (long long)getpid());
    /* The number is for people; the lock holds without it, on a full disk too. */
    if (!ftruncate(fd, 0) && pwrite(fd, text, (size_t)length, 0) != length)
        disk->error = errno;
    self->lock = fd;
    return TF_OK;
}

static void file_unlock(struct tf_disk *disk)
{
    struct tf_disk_file *self = file_of(disk);

    if (self->lock >= 0)
        close(self->lock);
    self->lock = -1;
}

static enum tf_err file_space(struct tf_disk *disk, uint64_t *ret_free)
{
    struct statvfs status;

    if (fstatvfs(file_of(disk)->folder, &status))
        return failed(disk);
    *ret_free = (uint64_t)status.f_bavail * status.f_frsize;
    return TF_OK;
}

static const struct tf_disk_ops file_ops = {
    file_open,        file_close,   file_read, file_write,    file_sync,
    file_sync_folder, file_reserve, file_size, file_truncate, file_rename,
    file_remove,      file_list,    file_lock, file_unlock,   file_space};

enum tf_err tf_disk_file_init(struct tf_disk_file *disk, const char *path)
{
    enum tf_err err;

    if (mkdir(path, 0700) && errno != EEXIST) {
        *disk = (struct tf_disk_file){.disk.ops = &file_ops, .folder = -1, .lock = -1};
        disk->disk.error = errno;
        return TF_IO;
    }
    err = tf_disk_file_look(disk, path);
    return err ? TF_IO : TF_OK;
}

enum tf_err tf_disk_file_look(struct tf_disk_file *disk, const char *path)
{
    *disk = (struct tf_disk_file){.disk.ops = &file_ops, .folder = -1, .lock = -1};
    disk->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (disk->folder >= 0)
        return TF_OK;
    disk->disk.error = errno;
    return errno == ENOENT ? TF_NOT_FOUND : TF_IO;
}

enum tf_err tf_disk_file_share(struct tf_disk_file *disk, uint64_t *ret_holder)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    int fd = openat(disk->folder, TF_DISK_FILE_LOCK, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0)
        return failed(&disk->disk);
    if (fcntl(fd, F_OFD_SETLK, &lock)) {
        enum tf_err err = errno == EAGAIN || errno == EACCES ? TF_EXISTS : failed(&disk->disk);
        if (err == TF_EXISTS)
            *ret_holder = holder_of(fd);
        close(fd);
        return err;
    }
    disk->lock = fd;
    return TF_OK;
}

void tf_disk_file_release(struct tf_disk_file *disk)
{
    file_unlock(&disk->disk);
    if (disk->folder >= 0)
        close(disk->folder);
    disk->folder = -1;
}
