/*
 * The listening sockets: see listen.h.
 */
#include "broker/listen.h"

#include "base/util.h"
#include "port/datagram.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PART "broker"
#define INTERFACES_MAX 32u /* that a group is heard on, at most */

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

void tf_listen_close(struct tf_listen_socket *socket)
{
    int number = errno;
    for (unsigned i = 0; i < socket->fd_count; i++) {
        tf_socket_close(socket->fds[i]);
    }
    free(socket->fds);
    socket->fds = NULL;
    socket->fd_count = 0;
    errno = number;
}

/* ---- groups ---- */

/* The groups of All CoAP Nodes: RFC 7252 12.8. */
static const char *const coap_groups[] = {"224.0.1.187", "ff02::fd", "ff05::fd"};

static bool is_six(const struct tf_socket_address *address)
{
    char text[TF_SOCKET_TEXT];
    tf_socket_text(address, text);
    return text[0] == '[';
}

/* True for the address that stands for all interfaces. */
static bool is_any(const struct tf_socket_address *address)
{
    char text[TF_SOCKET_TEXT];
    tf_socket_text(address, text);
    return strncmp(text, "0.0.0.0:", 8) == 0 || strncmp(text, "[::]:", 5) == 0;
}

/* Has a socket hear a group on some interfaces; one that has no groups is passed over. */
static enum tf_err join(int fd, const struct tf_socket_address *group, const unsigned *interfaces,
                        size_t count)
{
    enum tf_err err = TF_NOT_FOUND;
    bool heard = false;
    for (size_t i = 0; i < count; i++) {
        err = tf_datagram_join(fd, group, interfaces[i]);
        heard = heard || !err || err == TF_EXISTS;
    }
    return heard ? TF_OK : err;
}

/*
 * Has the first of the sockets at `local` hear the groups, on each interface of that address. What
 * is bound to one address hears none, so there each group gets a socket of its own.
 */
static enum tf_err open_groups(const struct tf_socket_address *local, struct tf_listen_socket *ret)
{
    unsigned interfaces[INTERFACES_MAX] = {0}; /* by default, the system's choice */
    size_t found = tf_datagram_interfaces(local, interfaces, INTERFACES_MAX);
    for (size_t i = 0; i < TF_COUNT(coap_groups); i++) {
        struct tf_socket_address group;
        size_t count;
        enum tf_err err = tf_socket_resolve(coap_groups[i], ret->port, true, &group, 1, &count);
        if (err) {
            return err;
        }
        if (is_six(&group) != is_six(local)) {
            continue;
        }
        int fd = ret->fds[0];
        if (!is_any(local)) {
            err = tf_datagram_bind_group(&group, interfaces[0], &fd);
            if (err) {
                return err;
            }
            ret->fds[ret->fd_count++] = fd;
        }
        err = join(fd, &group, interfaces, TF_MAX(found, 1u));
        if (err) {
            return err;
        }
    }
    return TF_OK;
}

/* ---- sockets ---- */

/* Opens the first socket of an address: that of connections, or of datagrams in shard 0. */
static enum tf_err open_first(const struct tf_socket_address *address, bool datagrams,
                              struct tf_listen_socket *ret)
{
    enum tf_err err = datagrams ? tf_datagram_bind(address, true, &ret->fds[0])
                                : tf_socket_listen(address, false, &ret->fds[0]);
    if (!err) {
        ret->fd_count = 1;
    }
    return err;
}

/* Opens what an address has. On failure nothing of it is left open. */
static enum tf_err open_one(const struct tf_socket_address *address, const char *scheme,
                            const struct tf_config_listener *listener, unsigned shards,
                            struct tf_listen_socket *ret)
{
    bool datagrams = tf_config_protocol_info(listener->protocol)->datagrams;
    unsigned count = datagrams ? shards : 1;
    struct tf_socket_address local;
    enum tf_err err;
    *ret = (struct tf_listen_socket){.fds = calloc(count + TF_LISTEN_GROUPS, sizeof(int)),
                                     .shard_fds = datagrams ? shards : 0};
    if (!ret->fds) {
        return TF_NO_MEMORY;
    }
    err = open_first(address, datagrams, ret);
    while (!err && ret->fd_count < count) {
        err = tf_datagram_share(ret->fds[0], true, &ret->fds[ret->fd_count]);
        ret->fd_count += !err;
    }
    if (!err) {
        err = tf_socket_local(ret->fds[0], &local);
    }
    if (!err) {
        ret->port = tf_socket_port(&local);
        url_of(&local, scheme, ret->url);
    }
    if (!err && datagrams && listener->coap_multicast) {
        err = open_groups(&local, ret);
    }
    if (err) {
        tf_listen_close(ret);
    }
    return err;
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
                           unsigned shards, struct tf_log *log, struct tf_listen_socket *sockets,
                           size_t *count)
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
        err = open_one(&addresses[i], scheme, listener, shards, &sockets[*count]);
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
        tf_listen_close(&sockets[--*count]);
    }
    tf_log_text(log, listener->may_fail ? TF_LOG_INFO : TF_LOG_ERROR, PART,
                "cannot listen on %s: %s", url[0] ? url : "any address",
                url[0] ? advice(failure, reason) : "socket_domain leaves none");
    return listener->may_fail ? TF_OK : failure;
}
