/*
 * What is in a folder.
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

#endif
