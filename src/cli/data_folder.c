/*
 * Where the store is.
 */
#include "cli/data_folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *join(const char *folder, const char *rest)
{
    size_t size = strlen(folder) + strlen(rest) + 1;
    char *path = malloc(size);
    if (path) {
        snprintf(path, size, "%s%s", folder, rest);
    }
    return path;
}

enum tf_err tf_cli_data_folder(const char *given, char **ret_path)
{
    const char *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    char *path;
    if (given) {
        path = join(given, "");
    } else if (state && state[0] == '/') {
        path = join(state, "/trefoil");
    } else if (home && home[0]) {
        path = join(home, "/.local/state/trefoil");
    } else {
        return TF_NOT_FOUND;
    }
    if (!path) {
        return TF_NO_MEMORY;
    }
    *ret_path = path;
    return TF_OK;
}
