/*
 * The folder that a broker keeps its store in, for `serve` and for who looks into it.
 */
#ifndef TF_CLI_DATA_FOLDER_H
#define TF_CLI_DATA_FOLDER_H

#include <trefoil/err.h>

/*
 * The folder to be used: `given`, if it is not NULL; else trefoil in $XDG_STATE_HOME (where that
 * is an absolute path, as its specification wants), else ~/.local/state/trefoil. Nothing is made.
 * *ret_path is for free(). TF_NOT_FOUND: neither XDG_STATE_HOME nor HOME is set. TF_NO_MEMORY.
 */
TF_MUST_USE enum tf_err tf_cli_data_folder(const char *given, char **ret_path);

#endif
