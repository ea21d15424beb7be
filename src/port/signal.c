/*
 * Signals by signalfd.
 */
#include "port/signal.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

static void watched(sigset_t *ret_set)
{
    sigemptyset(ret_set);
    sigaddset(ret_set, SIGTERM);
    sigaddset(ret_set, SIGINT);
    sigaddset(ret_set, SIGHUP);
}

enum tf_err tf_signal_open(int *ret_fd)
{
    sigset_t set;
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    watched(&set);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? TF_LIMIT : TF_IO;
    sigaction(SIGPIPE, &ignore, NULL);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    *ret_fd = fd;
    return TF_OK;
}

enum tf_err tf_signal_read(int fd, enum tf_signal *ret_signal)
{
    struct signalfd_siginfo info;
    ssize_t length;
    do
        length = read(fd, &info, sizeof(info));
    while (length < 0 && errno == EINTR);
    if (length != sizeof(info))
        return length < 0 && errno == EAGAIN ? TF_AGAIN : TF_IO;
    *ret_signal = info.ssi_signo == SIGHUP ? TF_SIGNAL_RELOAD : TF_SIGNAL_STOP;
    return TF_OK;
}

void tf_signal_close(int fd)
{
    sigset_t set;
    watched(&set);
    close(fd);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}
