/*
 * Terminals.
 */
#include "port/terminal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

bool tf_terminal_is(int fd)
{
    return isatty(fd) == 1;
}

bool tf_terminal_colour(int fd)
{
    const char *refused = getenv("NO_COLOR");
    const char *kind = getenv("TERM");
    return tf_terminal_is(fd) && !(refused && refused[0]) && !(kind && !strcmp(kind, "dumb"));
}

unsigned tf_terminal_width(int fd)
{
    struct winsize size;
    if (ioctl(fd, TIOCGWINSZ, &size) || !size.ws_col)
        return 80;
    return size.ws_col;
}
