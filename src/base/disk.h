/*
 * A folder of files on a disk, as the store sees it: every call that reaches the disk is here, so
 * that a simulated disk can fail, tear or lose each of them.
 *
 * All calls block and are made by one thread, the store's. TF_IO: the operating system refused and
 * `error` of the disk is its number (errno), until the next call. Nothing is retried here.
 */
#ifndef TF_BASE_DISK_H
#define TF_BASE_DISK_H

#include <stddef.h>
#include <stdint.h>

#include <trefoil/bytes.h>
#include <trefoil/err.h>

struct tf_disk;

enum tf_disk_open {
    TF_DISK_READ,  /* TF_NOT_FOUND if it isn't there */
    TF_DISK_WRITE, /* read and write; TF_NOT_FOUND likewise */
    TF_DISK_CREATE /* read and write; TF_EXISTS if it is there */
};

struct tf_disk_ops {
    /* Opens a file of the folder by its name (no slash). *ret_file is a small number. */
    enum tf_err (*open)(struct tf_disk *disk, const char *name, enum tf_disk_open how,
                        int *ret_file);
    void (*close)(struct tf_disk *disk, int file);
    /* Reads up to `length` bytes at `offset`; *ret_length is less only at the end of the file. */
    enum tf_err (*read)(struct tf_disk *disk, int file, uint64_t offset, void *to, size_t length,
                        size_t *ret_length);
    /* Writes all spans one after the other at `offset`. After an error any part may be there. */
    enum tf_err (*write)(struct tf_disk *disk, int file, uint64_t offset,
                         const struct tf_bytes *spans, size_t count);
    /* What was written to the file is on the disk when this returns (fdatasync). After an error
     * nobody knows what is, now or after another sync. */
    enum tf_err (*sync)(struct tf_disk *disk, int file);
    /* Names that were created, renamed and removed are on the disk (fsync of the folder). */
    enum tf_err (*sync_folder)(struct tf_disk *disk);
    /* Takes space for `length` bytes up front; they read as zeros. TF_LIMIT: the disk is full. */
    enum tf_err (*reserve)(struct tf_disk *disk, int file, uint64_t length);
    enum tf_err (*size)(struct tf_disk *disk, int file, uint64_t *ret_length);
    enum tf_err (*truncate)(struct tf_disk *disk, int file, uint64_t length);
    enum tf_err (*rename)(struct tf_disk *disk, const char *from, const char *to);
    enum tf_err (*remove)(struct tf_disk *disk, const char *name);
    /* The names in the folder, in no order: calls `each` for every one. */
    enum tf_err (*list)(struct tf_disk *disk, void (*each)(void *ctx, const char *name), void *ctx);
    /*
     * Locks the folder for this process. TF_EXISTS: another one has it; *ret_holder is its process
     * number (0: not known). It ends with unlock, or with the process.
     */
    enum tf_err (*lock)(struct tf_disk *disk, uint64_t *ret_holder);
    void (*unlock)(struct tf_disk *disk);
    /* Bytes that are free for this process. */
    enum tf_err (*space)(struct tf_disk *disk, uint64_t *ret_free);
};

/* The head of each implementation's own struct. */
struct tf_disk {
    const struct tf_disk_ops *ops;
    int error; /* errno of the last TF_IO; 0: none */
};

#endif
