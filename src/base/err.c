/*
 * The names of errors, for logs and messages.
 */
#include <trefoil/err.h>

const char *tf_err_name(enum tf_err err)
{
    switch (err) {
    case TF_OK:
        return "TF_OK";
    case TF_MISUSE:
        return "TF_MISUSE";
    case TF_PROTOCOL:
        return "TF_PROTOCOL";
    case TF_LIMIT:
        return "TF_LIMIT";
    case TF_MORE:
        return "TF_MORE";
    case TF_AGAIN:
        return "TF_AGAIN";
    case TF_NO_MEMORY:
        return "TF_NO_MEMORY";
    case TF_NOT_FOUND:
        return "TF_NOT_FOUND";
    case TF_EXISTS:
        return "TF_EXISTS";
    case TF_CLOSED:
        return "TF_CLOSED";
    case TF_IO:
        return "TF_IO";
    case TF_UNSUPPORTED:
        return "TF_UNSUPPORTED";
    }
    return "TF_UNKNOWN";
}
