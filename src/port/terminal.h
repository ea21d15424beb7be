/*
 * Is somebody looking? For colour, progress and line width of the command line.
 */
#ifndef TF_PORT_TERMINAL_H
#define TF_PORT_TERMINAL_H

#include <stdbool.h>

/* True if the descriptor is a terminal. */
bool tf_terminal_is(int fd);

/* True if the descriptor is a terminal, NO_COLOR is unset or empty and TERM is not "dumb". */
bool tf_terminal_colour(int fd);

/* Columns of the terminal at the descriptor; 80 if it is none or does not know. */
unsigned tf_terminal_width(int fd);

#endif
