/*
 * A folder that is to hold a new store: it appears when all of it is there, or not at all.
 */
#ifndef TF_CLI_STORE_FOLDER_H
#define TF_CLI_STORE_FOLDER_H

/*
 * Below 0: nothing is in `folder`, or a store with nothing in it that no broker has, or it is not
 * there. Else the exit code, and stderr tells why.
 */
int tf_cli_store_folder_vacant(const char *folder);

/*
 * Makes the folder that is written first: `folder` with `ending` behind it; what an earlier attempt
 * has left there is removed. Its name is for free(). As tf_cli_store_folder_vacant.
 */
int tf_cli_store_folder_begin(const char *folder, const char *ending, char **ret_temporary);

/*
 * `code` below 0: gives it the name `folder`, in place of what has been found vacant; the exit
 * code. Else removes it, and returns `code`.
 */
int tf_cli_store_folder_finish(const char *folder, const char *temporary, int code);

#endif
