/*
 * Folders: what is in one, and making, moving and removing them.
 */
#ifndef TF_PORT_FOLDER_H
#define TF_PORT_FOLDER_H

#include <trefoil/err.h>

/*
 * Calls `each` with every name in the folder at `path`, in the order the system has them, `.` and
 * `..` included, until that returns an error, which is passed on. A name is borrowed for its call.
 * TF_NOT_FOUND: there is no such folder. TF_IO: errno; some names may have been told.
 */
TF_MUST_USE enum tf_err tf_folder_list(const char *path,
                                       enum tf_err (*each)(void *ctx, const char *name), void *ctx);

/*
 * Makes the folder at `path`, and the ones above it that are missing, for this user alone. TF_OK
 * too if something of that name is there. TF_IO: errno; some of those above may have been made.
 */
TF_MUST_USE enum tf_err tf_folder_make(const char *path);

/* Removes an empty folder. TF_NOT_FOUND: there is none. TF_IO: errno. */
TF_MUST_USE enum tf_err tf_folder_remove(const char *path);

/*
 * Gives a folder another name, where nothing or an empty folder is, and syncs the folder that it
 * is in: TF_OK is for good. TF_EXISTS: something is there. TF_IO: errno.
 */
TF_MUST_USE enum tf_err tf_folder_rename(const char *from, const char *to);

#endif
