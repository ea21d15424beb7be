/*
 * Commands run inside a test: what they print and say is caught.
 */
#ifndef TF_TEST_COMMAND_RIG_H
#define TF_TEST_COMMAND_RIG_H

#include <stdint.h>

struct command_run {
    int code;
    char errors[4096];
    char output[65536];
};

/* Runs `words`, parted by spaces, in which %u (at most once) is the port. */
void command_run(struct command_run *ret_run, int (*command)(int argc, char **argv),
                 const char *words, uint16_t port);

#endif
