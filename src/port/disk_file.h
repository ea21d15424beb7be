/*
 * A real folder of files, behind base/disk.h.
 *
 * The folder is made if it isn't there. Only names without a slash that do not begin with a dot are
 * let through; the lock is on a file `lock` in the folder, with the holder's process number in it.
 */
#ifndef TF_PORT_DISK_FILE_H
#define TF_PORT_DISK_FILE_H

#include "base/disk.h"

#define TF_DISK_FILE_LOCK "lock"

struct tf_disk_file {
    struct tf_disk disk;
    int folder, lock; /* descriptors; -1: none */
};

/*
 * Opens the folder at `path`; its parent is there. TF_IO: `disk.error`, nothing is open.
 */
TF_MUST_USE enum tf_err tf_disk_file_init(struct tf_disk_file *disk, const char *path);

/*
 * The same of a folder that is there, of which nothing will be changed. TF_NOT_FOUND: it is not
 * there. TF_IO likewise.
 */
TF_MUST_USE enum tf_err tf_disk_file_look(struct tf_disk_file *disk, const char *path);

/*
 * Locks the folder against those who would write, without writing a byte: any number of readers
 * may. TF_EXISTS: somebody has it (*ret_holder, 0: not known). TF_NOT_FOUND: it has never been
 * locked, so there is nothing to lock. TF_IO.
 */
TF_MUST_USE enum tf_err tf_disk_file_share(struct tf_disk_file *disk, uint64_t *ret_holder);

/* Closes the folder, and ends the lock. All files of it are closed. */
void tf_disk_file_release(struct tf_disk_file *disk);

#endif
