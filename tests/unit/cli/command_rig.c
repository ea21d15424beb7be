/*
 * Commands run inside a test.
 */
#include "command_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <unistd.h>

#include <cmocka.h>

#define WORDS_MAX 24

/* Sends a descriptor of this process to a file meanwhile; what to put back is returned. */
static int divert(int fd, FILE *file)
{
    int kept = dup(fd);
    assert_true(kept >= 0);
    assert_true(dup2(fileno(file), fd) == fd);
    return kept;
}

static void restore(int fd, int kept, FILE *file, char *ret_text, size_t size)
{
    assert_true(dup2(kept, fd) == fd);
    close(kept);
    rewind(file);
    ret_text[fread(ret_text, 1, size - 1, file)] = 0;
    fclose(file);
}

void command_run(struct command_run *ret_run, int (*command)(int argc, char **argv),
                 const char *words, uint16_t port)
{
    char line[1024], *argv[WORDS_MAX + 1];
    const char *mark = strstr(words, "%u");
    int argc = 0;
    snprintf(line, sizeof(line), "%.*s", (int)(mark ? mark - words : (int)strlen(words)), words);
    if (mark) {
        size_t length = strlen(line);
        snprintf(line + length, sizeof(line) - length, "%u%s", port, mark + 2);
    }
    for (char *word = strtok(line, " "); word && argc < WORDS_MAX; word = strtok(NULL, " ")) {
        argv[argc++] = word;
    }
    argv[argc] = NULL;
    fflush(stdout);
    fflush(stderr);
    FILE *errors = tmpfile(), *output = tmpfile();
    assert_true(errors && output);
    int kept_errors = divert(2, errors), kept_output = divert(1, output);
    ret_run->code = command(argc, argv);
    fflush(stdout);
    restore(1, kept_output, output, ret_run->output, sizeof(ret_run->output));
    restore(2, kept_errors, errors, ret_run->errors, sizeof(ret_run->errors));
}
