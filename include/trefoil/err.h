/*
 * Errors of every Trefoil library.
 *
 * Four things that a caller must tell apart, each with its own next step: the caller's own mistake
 * (TF_MISUSE), a violation by the peer (TF_PROTOCOL), a limit that was reached (TF_LIMIT) and
 * "not now" (TF_MORE, TF_AGAIN). What exactly the peer did wrong is kept where it happened: the
 * machines keep the protocol's own reason code.
 */
#ifndef TREFOIL_ERR_H
#define TREFOIL_ERR_H

#if defined(__GNUC__)
#define TF_MUST_USE __attribute__((warn_unused_result))
#else
#define TF_MUST_USE
#endif

enum tf_err {
    TF_OK = 0,
    TF_MISUSE = -1,      /* the caller broke a precondition: a bug to mend, nothing has changed */
    TF_PROTOCOL = -2,    /* the peer broke the protocol: flush the output, then close */
    TF_LIMIT = -3,       /* a limit would be passed: answer the peer, or raise the limit */
    TF_MORE = -4,        /* more input is needed: call again when it has arrived */
    TF_AGAIN = -5,       /* no credit, no room or an event waits: call again after it changed */
    TF_NO_MEMORY = -6,   /* no memory, or the memory given is too small; nothing changed */
    TF_NOT_FOUND = -7,   /* there is no such thing */
    TF_EXISTS = -8,      /* there is one already */
    TF_CLOSED = -9,      /* the connection has ended: release it */
    TF_IO = -10,         /* the operating system refused: errno tells why */
    TF_UNSUPPORTED = -11 /* legal, but not offered here */
};

/* The name of an error as it stands above ("TF_MORE"); "TF_UNKNOWN" for other numbers. Static. */
const char *tf_err_name(enum tf_err err);

#endif
