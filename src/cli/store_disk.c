/*
 * A disk that only reads.
 */
#include "cli/store_disk.h"

#include <limits.h>

#include "base/util.h"
#include "store/inspect.h"

#define NO_FILE INT_MAX /* the number of every file that was made: it is empty and stays so */

static struct tf_cli_store_disk *self_of(struct tf_disk *disk)
{
    return tf_container_of(disk, struct tf_cli_store_disk, disk);
}

static enum tf_err passed(struct tf_disk *disk, enum tf_err err)
{
    if (err) {
        disk->error = self_of(disk)->under->error;
    }
    return err;
}

static enum tf_err disk_open(struct tf_disk *disk, const char *name, enum tf_disk_open how,
                             int *ret_file)
{
    struct tf_cli_store_disk *self = self_of(disk);
    if (how == TF_DISK_CREATE && self->closed) {
        return TF_LIMIT;
    }
    if (how == TF_DISK_CREATE) {
        *ret_file = NO_FILE;
        return TF_OK;
    }
    return passed(disk, self->under->ops->open(self->under, name, TF_DISK_READ, ret_file));
}

static void disk_close(struct tf_disk *disk, int file)
{
    struct tf_disk *under = self_of(disk)->under;
    if (file != NO_FILE) {
        under->ops->close(under, file);
    }
}

static enum tf_err disk_read(struct tf_disk *disk, int file, uint64_t offset, void *to,
                             size_t length, size_t *ret_length)
{
    struct tf_disk *under = self_of(disk)->under;
    if (file == NO_FILE) {
        *ret_length = 0;
        return TF_OK;
    }
    return passed(disk, under->ops->read(under, file, offset, to, length, ret_length));
}

static enum tf_err disk_write(struct tf_disk *disk, int file, uint64_t offset,
                              const struct tf_bytes *spans, size_t count)
{
    (void)disk, (void)file, (void)offset, (void)spans, (void)count;
    return TF_OK;
}

static enum tf_err disk_sync(struct tf_disk *disk, int file)
{
    (void)disk, (void)file;
    return TF_OK;
}

static enum tf_err disk_sync_folder(struct tf_disk *disk)
{
    (void)disk;
    return TF_OK;
}

/* Of `reserve` and `truncate`. */
static enum tf_err disk_resize(struct tf_disk *disk, int file, uint64_t length)
{
    (void)disk, (void)file, (void)length;
    return TF_OK;
}

static enum tf_err disk_size(struct tf_disk *disk, int file, uint64_t *ret_length)
{
    struct tf_disk *under = self_of(disk)->under;
    if (file == NO_FILE) {
        *ret_length = 0;
        return TF_OK;
    }
    return passed(disk, under->ops->size(under, file, ret_length));
}

static enum tf_err disk_rename(struct tf_disk *disk, const char *from, const char *to)
{
    (void)disk, (void)from, (void)to;
    return TF_OK;
}

static enum tf_err disk_remove(struct tf_disk *disk, const char *name)
{
    (void)disk, (void)name;
    return TF_OK;
}

struct listing {
    void (*each)(void *ctx, const char *name);
    void *ctx;
};

static void pass_name(void *ctx, const char *name)
{
    const struct listing *listing = ctx;
    if (tf_inspect_file_of(name) != TF_INSPECT_INDEX) {
        listing->each(listing->ctx, name);
    }
}

static enum tf_err disk_list(struct tf_disk *disk, void (*each)(void *ctx, const char *name),
                             void *ctx)
{
    struct tf_cli_store_disk *self = self_of(disk);
    struct listing listing = {each, ctx};
    if (self->hide_snapshots) {
        return passed(disk, self->under->ops->list(self->under, pass_name, &listing));
    }
    return passed(disk, self->under->ops->list(self->under, each, ctx));
}

static enum tf_err disk_lock(struct tf_disk *disk, uint64_t *ret_holder)
{
    (void)disk, (void)ret_holder;
    return TF_OK;
}

static void disk_unlock(struct tf_disk *disk)
{
    (void)disk;
}

static enum tf_err disk_space(struct tf_disk *disk, uint64_t *ret_free)
{
    struct tf_disk *under = self_of(disk)->under;
    return passed(disk, under->ops->space(under, ret_free));
}

static const struct tf_disk_ops ops = {.open = disk_open,
                                       .close = disk_close,
                                       .read = disk_read,
                                       .write = disk_write,
                                       .sync = disk_sync,
                                       .sync_folder = disk_sync_folder,
                                       .reserve = disk_resize,
                                       .size = disk_size,
                                       .truncate = disk_resize,
                                       .rename = disk_rename,
                                       .remove = disk_remove,
                                       .list = disk_list,
                                       .lock = disk_lock,
                                       .unlock = disk_unlock,
                                       .space = disk_space};

void tf_cli_store_disk_init(struct tf_cli_store_disk *disk, struct tf_disk *under)
{
    *disk = (struct tf_cli_store_disk){.disk.ops = &ops, .under = under};
}
