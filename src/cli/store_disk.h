/*
 * A disk that only reads: a journal that is opened on it finds what the next start would find, and
 * whatever that would change is believed to be done and is not.
 *
 * It must not know what the files are, but for snapshots, which it can hide.
 */
#ifndef TF_CLI_STORE_DISK_H
#define TF_CLI_STORE_DISK_H

#include <stdbool.h>

#include "base/disk.h"

struct tf_cli_store_disk {
    struct tf_disk disk;
    struct tf_disk *under;
    bool hide_snapshots; /* so that a start has to read all of the log */
    bool closed;         /* no file can be made any more: who wants to write gives it up early */
};

/* Starts; `under` outlives it. Who opens a journal on it has locked that. */
void tf_cli_store_disk_init(struct tf_cli_store_disk *disk, struct tf_disk *under);

#endif
