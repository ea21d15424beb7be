/*
 * The heap as an interface, for what of the library wants one from the command line.
 */
#ifndef TF_CLI_ALLOC_H
#define TF_CLI_ALLOC_H

#include "base/alloc.h"

/* malloc and free. Any thread; lasts for ever. */
const struct tf_alloc *tf_cli_alloc(void);

#endif
