/*
 * The listening sockets: see listen.h.
 */
#include "broker/listen.h"

#include "base/util.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PART "broker"

/* What cannot be, and what to do about it. */
static const char *advice(enum tf_err err, int reason)
{
    if (err == TF_EXISTS || reason == EADDRINUSE) {
        return "the port is in use: end the program that has it, or choose another port";
    }
    if (err == TF_LIMIT) {
        return "no file descriptor is free: raise the limit of open files (ulimit -n)";
    }
    switch (reason) {
    case EACCES:
    case EPERM:
        return "ports below 1024 need privileges: start as root with `user`, or choose another";
    case EADDRNOTAVAIL:
        return "this is no address of this machine";
    case EAFNOSUPPORT:
        return "this machine does not speak that version of IP";
    default:
        return strerror(reason);
    }
}

/* True if the listener's `socket_domain` has this address. */
static bool in_domain(const struct tf_config_listener *listener, const char *text)
{
    bool six = text[0] == '[';
    return listener->domain == TF_CONFIG_DOMAIN_ANY ||
           six == (listener->domain == TF_CONFIG_DOMAIN_IPV6);
}

/* True if another address of the same name may make up for this one: a family that is not there. */
static bool dispensable(int reason)
{
    return reason == EAFNOSUPPORT || reason == EADDRNOTAVAIL;
}

static void url_of(const struct tf_socket_address *address, const char *scheme, char *ret_url)
{
    char text[TF_SOCKET_TEXT];
    tf_socket_text(address, text);
    snprintf(ret_url, TF_LISTEN_URL, "%s://%s", scheme, text);
}

static enum tf_err open_one(const struct tf_socket_address *address, const char *scheme,
                            struct tf_listen_socket *ret)
{
    struct tf_socket_address local;
    enum tf_err err = tf_socket_listen(address, false, &ret->fd);
    if (err) {
        return err;
    }
    err = tf_socket_local(ret->fd, &local);
    if (err) {
        tf_socket_close(ret->fd);
        return err;
    }
    ret->port = tf_socket_port(&local);
    url_of(&local, scheme, ret->url);
    return TF_OK;
}

/* The addresses of a listener; says why there are none. */
static enum tf_err resolve(const struct tf_config_listener *listener, uint16_t port,
                           struct tf_log *log, struct tf_socket_address *ret, size_t *ret_count)
{
    enum tf_err err =
        tf_socket_resolve(listener->host, port, true, ret, TF_LISTEN_ADDRESSES, ret_count);
    if (err && !listener->may_fail) {
        tf_log_text(log, TF_LOG_ERROR, PART, "cannot listen on host %s: %s",
                    listener->host ? listener->host : "*",
                    err == TF_NOT_FOUND ? "there is no such host, or it has no address"
                    : err == TF_AGAIN   ? "the name server does not answer"
                                        : "the name cannot be looked up");
    }
    return err;
}

enum tf_err tf_listen_open(const struct tf_config *config, size_t index, const char *scheme,
                           struct tf_log *log, struct tf_listen_socket *sockets, size_t *count)
{
    const struct tf_config_listener *listener = &config->listeners[index];
    struct tf_socket_address addresses[TF_LISTEN_ADDRESSES];
    size_t address_count, first = *count;
    enum tf_err err, failure = TF_NOT_FOUND;
    int reason = 0;
    bool fatal = false;
    char url[TF_LISTEN_URL] = "";

    err = resolve(listener, listener->port, log, addresses, &address_count);
    if (err) {
        return listener->may_fail ? TF_OK : err;
    }
    for (size_t i = 0; i < address_count; i++) {
        char text[TF_SOCKET_TEXT];
        tf_socket_text(&addresses[i], text);
        if (!in_domain(listener, text)) {
            continue;
        }
        err = open_one(&addresses[i], scheme, &sockets[*count]);
        if (!err) {
            sockets[*count].listener = index;
            ++*count;
            if (listener->port == 0) {
                break; /* a free port of one address need not be free on another */
            }
            continue;
        }
        failure = err;
        reason = errno;
        url_of(&addresses[i], scheme, url);
        fatal = !dispensable(reason);
        if (fatal) {
            break;
        }
    }
    if (*count > first && !fatal) {
        return TF_OK;
    }
    while (*count > first) {
        tf_socket_close(sockets[--*count].fd);
    }
    tf_log_text(log, listener->may_fail ? TF_LOG_INFO : TF_LOG_ERROR, PART,
                "cannot listen on %s: %s", url[0] ? url : "any address",
                url[0] ? advice(failure, reason) : "socket_domain leaves none");
    return listener->may_fail ? TF_OK : failure;
}
