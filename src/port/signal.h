/*
 * Signals as input: they are read from a descriptor in the loop, nothing runs in a handler.
 */
#ifndef TF_PORT_SIGNAL_H
#define TF_PORT_SIGNAL_H

#include <trefoil/err.h>

enum tf_signal {
    TF_SIGNAL_STOP = 1, /* SIGTERM or SIGINT: end in good order */
    TF_SIGNAL_RELOAD    /* SIGHUP: read the configuration again */
};

/*
 * Ignores SIGPIPE, and blocks SIGTERM, SIGINT and SIGHUP so that they arrive at *ret_fd, which
 * becomes readable. Before any thread is started, or threads would still take them.
 * TF_LIMIT: no descriptor is free. TF_IO: errno.
 */
TF_MUST_USE enum tf_err tf_signal_open(int *ret_fd);

/* Takes the next signal. TF_AGAIN: there is none now. TF_IO: not a descriptor of tf_signal_open. */
TF_MUST_USE enum tf_err tf_signal_read(int fd, enum tf_signal *ret_signal);

/* Closes the descriptor and lets the three signals act as usual again; pending ones act now. */
void tf_signal_close(int fd);

#endif
