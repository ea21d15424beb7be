/*
 * The disk in memory.
 */
#include "sim_disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/util.h"

#define SECTOR 512u

/* Something that was done to a file since it was last synced. */
struct sim_op {
    struct sim_op *next;
    uint64_t offset; /* or the new length */
    size_t length;
    bool resize;
    uint8_t data[];
};

struct content {
    uint8_t *data;
    uint64_t capacity;
    uint64_t length; /* what is behind it up to `size` is zeros */
    uint64_t size;
};

struct sim_file {
    struct sim_file *next;
    struct content now, durable;
    struct sim_op *ops, **last;
    struct sim_file *copy; /* while a disk is copied */
};

struct sim_name {
    struct sim_name *next;
    struct sim_file *file;
    char name[48];
};

struct sim_change {
    struct sim_change *next;
    struct sim_file *file; /* created; NULL: removed, or renamed to `to` */
    char name[48], to[48];
};

static void *must(size_t size)
{
    void *memory = calloc(1, size ? size : 1);
    tf_assert(memory);
    return memory;
}

/* ---- contents ---- */

static void content_put(struct content *content, uint64_t offset, const uint8_t *data,
                        size_t length)
{
    if (offset + length > content->length) {
        if (offset + length > content->capacity) {
            content->capacity = (offset + length) * 2;
            content->data = realloc(content->data, content->capacity);
            tf_assert(content->data);
        }
        memset(content->data + content->length, 0, offset + length - content->length);
        content->length = offset + length;
    }
    if (length)
        memcpy(content->data + offset, data, length);
    content->size = TF_MAX(content->size, content->length);
}

static void content_resize(struct content *content, uint64_t size)
{
    content->length = TF_MIN(content->length, size);
    content->size = size;
}

static void content_copy(struct content *to, const struct content *from)
{
    free(to->data);
    *to = *from;
    to->capacity = from->length ? from->length : 1;
    to->data = must(to->capacity);
    if (from->length)
        memcpy(to->data, from->data, from->length);
}

/* ---- names ---- */

static struct sim_name **find(struct sim_name **names, const char *name)
{
    while (*names && strcmp((*names)->name, name))
        names = &(*names)->next;
    return names;
}

static void names_set(struct sim_name **names, const char *name, struct sim_file *file)
{
    struct sim_name **at = find(names, name);
    if (!file && *at) {
        struct sim_name *old = *at;
        *at = old->next;
        free(old);
    } else if (file) {
        if (!*at) {
            *at = must(sizeof(**at));
            tf_assert(strlen(name) < sizeof((*at)->name));
            strcpy((*at)->name, name);
        }
        (*at)->file = file;
    }
}

static void apply(struct sim_name **names, const struct sim_change *change)
{
    struct sim_name **from = find(names, change->name);
    if (change->to[0]) {
        if (*from) {
            names_set(names, change->to, (*from)->file);
            names_set(names, change->name, NULL);
        }
    } else {
        names_set(names, change->name, change->file);
    }
}

static void changed(struct sim_disk *sim, const char *name, const char *to, struct sim_file *file)
{
    struct sim_change *change = must(sizeof(*change)), **last = &sim->changes;
    strcpy(change->name, name);
    strcpy(change->to, to);
    change->file = file;
    while (*last)
        last = &(*last)->next;
    *last = change;
    apply(&sim->names, change);
}

static struct sim_file *file_new(struct sim_disk *sim)
{
    struct sim_file *file = must(sizeof(*file));
    file->next = sim->files;
    file->last = &file->ops;
    sim->files = file;
    return file;
}

static void ops_free(struct sim_file *file)
{
    while (file->ops) {
        struct sim_op *op = file->ops;
        file->ops = op->next;
        free(op);
    }
    file->last = &file->ops;
}

static void op_add(struct sim_file *file, bool resize, uint64_t offset, const uint8_t *data,
                   size_t length)
{
    struct sim_op *op = must(sizeof(*op) + length);
    op->resize = resize;
    op->offset = offset;
    op->length = length;
    if (length)
        memcpy(op->data, data, length);
    *file->last = op;
    file->last = &op->next;
}

/* ---- the calls ---- */

static enum tf_err called(struct sim_disk *sim, enum sim_call call)
{
    sim->calls++;
    sim->call_count[call]++;
    if (!sim->fail_at || (sim->fail_on ? sim->calls < sim->fail_at : sim->calls != sim->fail_at))
        return TF_OK;
    sim->disk.error = EIO;
    /* What has room already cannot be out of it. */
    return sim->fail_with == TF_LIMIT && call != SIM_RESERVE && call != SIM_OPEN &&
                   call != SIM_WRITE
               ? TF_IO
               : sim->fail_with;
}

static struct sim_disk *sim_of(struct tf_disk *disk)
{
    return tf_container_of(disk, struct sim_disk, disk);
}

static enum tf_err sim_open(struct tf_disk *disk, const char *name, enum tf_disk_open how,
                            int *ret_file)
{
    struct sim_disk *sim = sim_of(disk);
    struct sim_name *there = *find(&sim->names, name);
    enum tf_err err = called(sim, SIM_OPEN);

    if (err)
        return err;
    if (how == TF_DISK_CREATE ? there != NULL : !there)
        return there ? TF_EXISTS : TF_NOT_FOUND;
    for (int i = 0; i < (int)TF_COUNT(sim->open); i++)
        if (!sim->open[i]) {
            if (!there)
                changed(sim, name, "", file_new(sim));
            sim->open[i] = (*find(&sim->names, name))->file;
            *ret_file = i;
            return TF_OK;
        }
    return TF_LIMIT;
}

static void sim_close(struct tf_disk *disk, int file)
{
    tf_assert(sim_of(disk)->open[file]);
    sim_of(disk)->open[file] = NULL;
}

static enum tf_err sim_read(struct tf_disk *disk, int file, uint64_t offset, void *to,
                            size_t length, size_t *ret_length)
{
    struct sim_disk *sim = sim_of(disk);
    const struct content *content = &sim->open[file]->now;
    enum tf_err err = called(sim, SIM_READ);

    if (err)
        return err;
    if (offset >= content->size) {
        *ret_length = 0;
        return TF_OK;
    }
    length = (size_t)TF_MIN((uint64_t)length, content->size - offset);
    memset(to, 0, length);
    if (offset < content->length)
        memcpy(to, content->data + offset,
               (size_t)TF_MIN((uint64_t)length, content->length - offset));
    *ret_length = length;
    return TF_OK;
}

static enum tf_err sim_write(struct tf_disk *disk, int file, uint64_t offset,
                             const struct tf_bytes *spans, size_t count)
{
    struct sim_disk *sim = sim_of(disk);
    struct sim_file *at = sim->open[file];
    size_t total = 0, part;
    uint8_t *all;
    enum tf_err err = called(sim, SIM_WRITE);

    for (size_t i = 0; i < count; i++)
        total += spans[i].length;
    all = must(total);
    part = 0;
    for (size_t i = 0; i < count; i++) {
        if (spans[i].length)
            memcpy(all + part, spans[i].data, spans[i].length);
        part += spans[i].length;
    }
    if (err && tf_random_chance(&sim->random, 2, 3)) /* short; or all of it and an error */
        part = (size_t)tf_random_below(&sim->random, total + 1);
    content_put(&at->now, offset, all, part);
    op_add(at, false, offset, all, part);
    sim->written += part;
    free(all);
    return err;
}

static enum tf_err sim_sync(struct tf_disk *disk, int file)
{
    struct sim_disk *sim = sim_of(disk);
    struct sim_file *at = sim->open[file];
    enum tf_err err = called(sim, SIM_SYNC);

    if (err)
        return err;
    for (const struct sim_op *op = at->ops; op; op = op->next) {
        if (op->resize)
            content_resize(&at->durable, op->offset);
        else
            content_put(&at->durable, op->offset, op->data, op->length);
    }
    ops_free(at);
    return TF_OK;
}

static enum tf_err sim_sync_folder(struct tf_disk *disk)
{
    struct sim_disk *sim = sim_of(disk);
    enum tf_err err = called(sim, SIM_SYNC_FOLDER);

    if (err)
        return err;
    while (sim->changes) {
        struct sim_change *change = sim->changes;
        apply(&sim->durable, change);
        sim->changes = change->next;
        free(change);
    }
    return TF_OK;
}

static uint64_t used(const struct sim_disk *sim)
{
    uint64_t bytes = 0;
    for (const struct sim_name *name = sim->names; name; name = name->next)
        bytes += name->file->now.size;
    return bytes;
}

static enum tf_err sim_reserve(struct tf_disk *disk, int file, uint64_t length)
{
    struct sim_disk *sim = sim_of(disk);
    struct sim_file *at = sim->open[file];
    enum tf_err err = called(sim, SIM_RESERVE);

    if (err)
        return err;
    if (length <= at->now.size)
        return TF_OK;
    if (sim->space && used(sim) + length - at->now.size > sim->space)
        return TF_LIMIT;
    content_resize(&at->now, length);
    op_add(at, true, length, NULL, 0);
    return TF_OK;
}

static enum tf_err sim_size(struct tf_disk *disk, int file, uint64_t *ret_length)
{
    struct sim_disk *sim = sim_of(disk);
    enum tf_err err = called(sim, SIM_SIZE);

    if (!err)
        *ret_length = sim->open[file]->now.size;
    return err;
}

static enum tf_err sim_truncate(struct tf_disk *disk, int file, uint64_t length)
{
    struct sim_disk *sim = sim_of(disk);
    enum tf_err err = called(sim, SIM_TRUNCATE);

    if (err)
        return err;
    content_resize(&sim->open[file]->now, length);
    op_add(sim->open[file], true, length, NULL, 0);
    return TF_OK;
}

static enum tf_err sim_rename(struct tf_disk *disk, const char *from, const char *to)
{
    struct sim_disk *sim = sim_of(disk);
    enum tf_err err = called(sim, SIM_RENAME);

    if (err)
        return err;
    if (!*find(&sim->names, from))
        return TF_NOT_FOUND;
    changed(sim, from, to, NULL);
    return TF_OK;
}

static enum tf_err sim_remove(struct tf_disk *disk, const char *name)
{
    struct sim_disk *sim = sim_of(disk);
    enum tf_err err = called(sim, SIM_REMOVE);

    if (err)
        return err;
    if (!*find(&sim->names, name))
        return TF_NOT_FOUND;
    changed(sim, name, "", NULL);
    return TF_OK;
}

static enum tf_err sim_list(struct tf_disk *disk, void (*each)(void *ctx, const char *name),
                            void *ctx)
{
    struct sim_disk *sim = sim_of(disk);
    enum tf_err err = called(sim, SIM_LIST);

    if (!err)
        sim_disk_each(sim, each, ctx);
    return err;
}

static enum tf_err sim_lock(struct tf_disk *disk, uint64_t *ret_holder)
{
    struct sim_disk *sim = sim_of(disk);
    enum tf_err err = called(sim, SIM_LOCK);

    if (err)
        return err;
    if (sim->locked) {
        *ret_holder = 4711;
        return TF_EXISTS;
    }
    sim->locked = true;
    return TF_OK;
}

static void sim_unlock(struct tf_disk *disk)
{
    tf_assert(sim_of(disk)->locked);
    sim_of(disk)->locked = false;
}

static enum tf_err sim_space(struct tf_disk *disk, uint64_t *ret_free)
{
    const struct sim_disk *sim = sim_of(disk);
    *ret_free = sim->space ? sim->space - TF_MIN(sim->space, used(sim)) : UINT64_MAX;
    return TF_OK;
}

static const struct tf_disk_ops sim_ops = {sim_open,     sim_close,       sim_read,    sim_write,
                                           sim_sync,     sim_sync_folder, sim_reserve, sim_size,
                                           sim_truncate, sim_rename,      sim_remove,  sim_list,
                                           sim_lock,     sim_unlock,      sim_space};

/* ---- the disk ---- */

void sim_disk_init(struct sim_disk *sim, uint64_t seed)
{
    *sim = (struct sim_disk){.disk.ops = &sim_ops, .fail_with = TF_IO};
    tf_random_init(&sim->random, seed);
}

static void names_free(struct sim_name *names)
{
    while (names) {
        struct sim_name *name = names;
        names = name->next;
        free(name);
    }
}

void sim_disk_release(struct sim_disk *sim)
{
    while (sim->files) {
        struct sim_file *file = sim->files;
        sim->files = file->next;
        ops_free(file);
        free(file->now.data);
        free(file->durable.data);
        free(file);
    }
    while (sim->changes) {
        struct sim_change *change = sim->changes;
        sim->changes = change->next;
        free(change);
    }
    names_free(sim->names);
    names_free(sim->durable);
    sim->names = sim->durable = NULL;
}

/* What of the op is there after the cut: any of its sectors. */
static void crash_op(struct content *to, const struct sim_op *op, struct tf_random *random,
                     unsigned keep)
{
    if (op->resize) {
        if (tf_random_chance(random, keep, 8))
            content_resize(to, op->offset);
        return;
    }
    for (uint64_t at = op->offset; at < op->offset + op->length;) {
        uint64_t end = TF_MIN((at / SECTOR + 1) * SECTOR, op->offset + op->length);
        if (tf_random_chance(random, keep, 8))
            content_put(to, at, op->data + (at - op->offset), (size_t)(end - at));
        at = end;
    }
}

void sim_disk_crash(const struct sim_disk *sim, struct sim_disk *ret, uint64_t seed, unsigned keep)
{
    struct sim_name *names = NULL;

    sim_disk_init(ret, seed);
    for (const struct sim_name *name = sim->durable; name; name = name->next)
        names_set(&names, name->name, name->file);
    for (const struct sim_change *change = sim->changes; change; change = change->next)
        if (tf_random_chance(&ret->random, keep, 8))
            apply(&names, change);
    for (struct sim_file *file = sim->files; file; file = file->next)
        file->copy = NULL;
    for (struct sim_name *name = names; name; name = name->next) {
        struct sim_file *from = name->file;
        if (!from->copy) {
            from->copy = file_new(ret);
            content_copy(&from->copy->durable, &from->durable);
            for (const struct sim_op *op = from->ops; op; op = op->next)
                crash_op(&from->copy->durable, op, &ret->random, keep);
            content_copy(&from->copy->now, &from->copy->durable);
        }
        names_set(&ret->names, name->name, from->copy);
        names_set(&ret->durable, name->name, from->copy);
    }
    names_free(names);
    ret->space = sim->space;
}

uint8_t *sim_disk_content(struct sim_disk *sim, const char *name, size_t *ret_length)
{
    struct sim_name *at = *find(&sim->names, name);

    if (!at)
        return NULL;
    *ret_length = (size_t)at->file->now.length;
    return at->file->now.data;
}

void sim_disk_cut(struct sim_disk *sim, const char *name, size_t length)
{
    content_resize(&(*find(&sim->names, name))->file->now, length);
    content_resize(&(*find(&sim->names, name))->file->durable, length);
}

void sim_disk_each(struct sim_disk *sim, void (*each)(void *ctx, const char *name), void *ctx)
{
    for (const struct sim_name *name = sim->names; name; name = name->next)
        each(ctx, name->name);
}

void sim_disk_put(struct sim_disk *sim, const char *name, const void *data, size_t length)
{
    struct sim_file *file = file_new(sim);

    content_put(&file->now, 0, data, length);
    content_put(&file->durable, 0, data, length);
    names_set(&sim->names, name, file);
    names_set(&sim->durable, name, file);
}
