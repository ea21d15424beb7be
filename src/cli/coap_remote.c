/*
 * A remote: its addresses, socket and endpoint.
 */
#include "cli/coap_remote.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/coap_trace.h"
#include "port/clock.h"
#include "port/datagram.h"
#include "port/entropy.h"

#define ADDRESSES_MAX 8
#define CALLS_MIN 32u /* that there is room for */
#define MEMBERS_MAX 256u
#define GROUP_TIMEOUT_MS 6000u /* RFC 7252 8.2: DEFAULT_LEISURE, and the way */
#define SLACK_MS 1000u
#define PIECES 16u /* datagrams of one system call */
#define INBOX_SIZE 65536u
#define OUTPUT_SIZE 16384u
#define BUFFERS_PER_CALL 24u /* of 128 bytes: a datagram, and options */
#define TEXT_MAX (TF_URL_HOST_MAX + 16)

struct tf_cli_coap_remote {
    struct tf_cli_peer peer; /* its source's fd is the socket's while `up` */
    struct tf_cli_coap_run *run;
    const struct tf_cli_coap_target *target; /* the first */
    struct tf_socket_address addresses[ADDRESSES_MAX];
    size_t address_count, address_at;
    struct tf_list calls;
    struct tf_datagram_inbox *inbox;
    struct tf_coap_endpoint_config config;
    struct tf_coap_endpoint *endpoint; /* the start of its memory */
    uint8_t *output;
    struct tf_cli_coap_trace trace;
    char text[TEXT_MAX];
    uint64_t sent; /* of a body in blocks */
    bool resolved, up, heard;
    bool group;     /* the address is a multicast one */
    bool congested; /* the socket takes no more */
};

static void fill_random(void *ctx, void *data, size_t length)
{
    (void)ctx;
    tf_entropy_fill(data, length);
}

/* ---- the machine ---- */

static size_t open_calls(const struct tf_cli_coap_remote *remote)
{
    size_t count = 0;
    struct tf_list_node *node = tf_list_first(&remote->calls);
    for (; node; node = tf_list_next(&remote->calls, node)) {
        count++;
    }
    return count;
}

static enum tf_err start_machine(struct tf_cli_coap_remote *remote)
{
    const struct tf_cli_coap_run *run = remote->run;
    uint32_t calls = TF_MAX((uint32_t)open_calls(remote) + 1, CALLS_MIN);
    uint32_t peers = 1;
    if (remote->group) {
        calls += MEMBERS_MAX;
        peers += MEMBERS_MAX;
    }
    remote->config = (struct tf_coap_endpoint_config){
        .features = {.separate = &tf_coap_separate,
                     .client = &tf_coap_client,
                     .observe_client = &tf_coap_observe_client,
                     .block_client = &tf_coap_block_client},
        .transmission = run->transmission,
        .nstart = run->nstart,
        .path_size = remote->group ? sizeof(struct tf_datagram_path) : 0,
        .peers = peers,
        .requests = 1,
        .calls = calls,
        .exchanges = calls + 8,
        .transfers = calls,
        .buffers = calls * BUFFERS_PER_CALL,
        .block_szx = TF_COAP_BLOCK_SZX_MAX,
        .random = fill_random};
    size_t size = tf_coap_endpoint_size(&remote->config);
    void *memory = size ? malloc(size) : NULL;
    remote->output = malloc(OUTPUT_SIZE);
    enum tf_err err = TF_NO_MEMORY;
    if (memory && remote->output) {
        err =
            tf_coap_endpoint_init(&remote->endpoint, memory, size, &remote->config, run->base.now);
    }
    if (!err) {
        err = tf_coap_endpoint_lend(remote->endpoint, remote->output, OUTPUT_SIZE);
    }
    if (err) {
        free(memory);
        remote->endpoint = NULL;
    }
    return err;
}

static void close_down(struct tf_cli_coap_remote *remote)
{
    if (remote->up) {
        tf_loop_remove(remote->run->base.loop, &remote->peer.source);
        tf_socket_close(remote->peer.source.fd);
    }
    struct tf_list_node *node = tf_list_first(&remote->calls);
    for (; node; node = tf_list_next(&remote->calls, node)) {
        tf_container_of(node, struct tf_cli_coap_call, node)->called = false;
    }
    free(remote->endpoint);
    free(remote->output);
    remote->endpoint = NULL;
    remote->output = NULL;
    remote->up = remote->congested = false;
}

/* ---- addresses ---- */

/* RFC 5771 3, RFC 4291 2.7 */
static bool is_group(const struct tf_socket_address *address)
{
    struct tf_datagram_path path;
    tf_datagram_path_to(address, &path);
    return path.family == 6 ? path.peer[0] == 0xFF : path.peer[12] >> 4 == 14;
}

/* Fails all calls alike. */
static void fail_all(struct tf_cli_coap_remote *remote, int code, const char *why)
{
    struct tf_list_node *node;
    close_down(remote);
    while ((node = tf_list_first(&remote->calls))) {
        struct tf_cli_coap_call *call = tf_container_of(node, struct tf_cli_coap_call, node);
        tf_cli_coap_call_fail(remote->run, call, code, "%s", why);
    }
}

static enum tf_err call_now(struct tf_cli_coap_remote *remote, struct tf_cli_coap_call *call);

/* Opens a socket to the present address, and begins the calls that wait. */
static enum tf_err open_up(struct tf_cli_coap_remote *remote)
{
    const struct tf_socket_address *address = &remote->addresses[remote->address_at];
    int fd;
    remote->group = is_group(address);
    tf_socket_text(address, remote->text);
    enum tf_err err = tf_datagram_open(address, !remote->group, &fd);
    if (err) {
        return err;
    }
    err = tf_loop_add(remote->run->base.loop, &remote->peer.source, fd, TF_LOOP_READ);
    if (err) {
        tf_socket_close(fd);
        return err;
    }
    remote->up = true;
    remote->trace = (struct tf_cli_coap_trace){.next = 0};
    err = start_machine(remote);
    struct tf_list_node *node = tf_list_first(&remote->calls), *next;
    for (; node && !err; node = next) {
        struct tf_cli_coap_call *call = tf_container_of(node, struct tf_cli_coap_call, node);
        next = tf_list_next(&remote->calls, node);
        err = call->called ? TF_OK : call_now(remote, call);
    }
    if (err) {
        close_down(remote);
    } else if (remote->run->trace && !remote->target->uri.literal) {
        tf_cli_run_say(&remote->run->base, "%s is %s", remote->target->host, remote->text);
    }
    return err;
}

static const char *reason(int number)
{
    return number == ECONNREFUSED ? "nobody listens there" : strerror(number);
}

/* Goes on with the next address that can be opened; without one the calls fail. */
static void advance(struct tf_cli_coap_remote *remote, int number)
{
    char why[TEXT_MAX + 128];
    enum tf_err err = TF_IO;
    snprintf(why, sizeof(why), "cannot reach %s: %s", remote->text, reason(number));
    while (err && !remote->heard && ++remote->address_at < remote->address_count) {
        if (remote->run->trace) {
            tf_cli_run_say(&remote->run->base, "%s", why);
        }
        close_down(remote);
        err = open_up(remote);
        if (err == TF_NO_MEMORY || err == TF_LIMIT) {
            fail_all(remote, TF_EXIT_INTERNAL, "the system has no memory or no descriptor for it");
            return;
        }
        if (err) {
            snprintf(why, sizeof(why), "cannot reach %s: %s", remote->text, reason(errno));
        }
    }
    if (err) {
        remote->resolved = false; /* a later call begins anew */
        fail_all(remote, TF_EXIT_NETWORK, why);
    }
}

static void resolve(struct tf_cli_coap_remote *remote)
{
    const struct tf_cli_coap_target *target = remote->target;
    enum tf_err err = tf_socket_resolve(target->host, target->uri.port, false, remote->addresses,
                                        ADDRESSES_MAX, &remote->address_count);
    remote->resolved = true;
    remote->address_at = 0;
    if (err) {
        remote->resolved = false;
        fail_all(remote, TF_EXIT_NETWORK,
                 err == TF_NOT_FOUND ? "there is no such host, or it has no address"
                 : err == TF_AGAIN   ? "the name server does not answer"
                                     : "the name cannot be looked up");
        return;
    }
    err = open_up(remote);
    if (err == TF_NO_MEMORY || err == TF_LIMIT) {
        fail_all(remote, TF_EXIT_INTERNAL, "the system has no memory or no descriptor for it");
    } else if (err) {
        advance(remote, errno);
    }
}

/* ---- calls ---- */

static enum tf_err call_on(struct tf_cli_coap_remote *remote, struct tf_cli_coap_call *call,
                           const struct tf_datagram_path *path)
{
    struct tf_coap_request request = call->request;
    enum tf_err err;
    if (call->ping) {
        err = tf_coap_ping(remote->endpoint, path, call, &call->handle, remote->run->base.now);
    } else {
        request.options = call->target->options;
        request.option_count = call->target->option_count;
        request.body = &call->body;
        request.body_count = call->body.length > 0;
        request.user = call;
        err = tf_coap_call(remote->endpoint, path, &request, &call->handle, remote->run->base.now);
    }
    call->called = !err;
    return err;
}

/* TF_NO_MEMORY, TF_LIMIT: not now. Else it has been sent or has failed. */
static enum tf_err call_now(struct tf_cli_coap_remote *remote, struct tf_cli_coap_call *call)
{
    struct tf_datagram_path path;
    tf_datagram_path_to(&remote->addresses[remote->address_at], &path);
    if (remote->group && remote->run->from.length) {
        struct tf_datagram_path from; /* its interface is taken with it */
        tf_datagram_path_to(&remote->run->from, &from);
        memcpy(path.local, from.peer, sizeof(path.local));
    }
    call->request.multicast = remote->group && !call->ping;
    call->request.non = call->request.non || remote->group; /* RFC 7252 8.1 */
    if (!call->request.timeout_ms && remote->run->base.timeout_us && !call->request.observe) {
        tf_time span =
            remote->run->base.timeout_us / TF_MILLISECOND + SLACK_MS; /* the run ends it */
        call->request.timeout_ms = (uint32_t)TF_MIN(span, UINT32_MAX);
    } else if (!call->request.timeout_ms && remote->group) {
        call->request.timeout_ms = GROUP_TIMEOUT_MS;
    }
    if (remote->group && call->request.observe) {
        tf_cli_coap_call_fail(remote->run, call, TF_EXIT_USAGE,
                              "a group cannot be observed, only each of its members");
        return TF_OK;
    }
    enum tf_err err = call_on(remote, call, &path);
    if (err == TF_MISUSE) {
        tf_cli_coap_call_fail(remote->run, call, TF_EXIT_USAGE,
                              "path, query and options do not fit into a datagram%s",
                              remote->group ? ", nor does the body, or its options do not suit a "
                                              "group"
                                            : ", or the body is longer than its blocks can be");
        return TF_OK;
    }
    return err;
}

void tf_cli_coap_remote_free(struct tf_cli_coap_remote *remote)
{
    struct tf_list_node *node;
    close_down(remote);
    while ((node = tf_list_first(&remote->calls))) {
        struct tf_cli_coap_call *call = tf_container_of(node, struct tf_cli_coap_call, node);
        tf_cli_coap_call_close(call);
        if (call->heap) {
            free(call);
        }
    }
    tf_datagram_inbox_free(remote->inbox);
    tf_list_remove(&remote->peer.node);
    free(remote);
}

struct tf_cli_coap_remote *tf_cli_coap_remote_of(struct tf_cli_peer *peer)
{
    return tf_container_of(peer, struct tf_cli_coap_remote, peer);
}

/* Sockets are opened in the turn that follows, when all calls are known. */
enum tf_err tf_cli_coap_remote_call(struct tf_cli_coap_remote *remote,
                                    struct tf_cli_coap_call *call)
{
    call->remote = remote;
    call->called = call->cancelled = false;
    tf_list_init(&call->answers);
    tf_list_push_back(&remote->calls, &call->node);
    call->open = true;
    remote->run->base.touched = true;
    if (!remote->up) {
        return TF_OK;
    }
    enum tf_err err = call_now(remote, call);
    if (err) {
        tf_cli_coap_call_close(call);
    }
    return err;
}

void tf_cli_coap_remote_fetch(struct tf_cli_coap_remote *remote, struct tf_cli_coap_call *call,
                              const struct tf_datagram_path *member)
{
    struct tf_cli_coap_call *fetch = calloc(1, sizeof(*fetch));
    call->answered++;
    if (!fetch) {
        return;
    }
    fetch->target = call->target;
    fetch->request = call->request;
    fetch->request.multicast = fetch->request.non = false;
    fetch->body = call->body;
    fetch->fetched = fetch->heap = fetch->open = true;
    fetch->begun = remote->run->base.now;
    fetch->remote = remote;
    tf_list_init(&fetch->answers);
    tf_list_push_back(&remote->calls, &fetch->node);
    if (call_on(remote, fetch, member)) {
        tf_cli_coap_call_fail(remote->run, fetch, TF_EXIT_INTERNAL,
                              "no room to ask a member for the rest");
    }
}

void tf_cli_coap_remote_cancel(struct tf_cli_coap_remote *remote, struct tf_cli_coap_call *call,
                               bool tell)
{
    if (remote->endpoint && call->called && !call->cancelled) {
        tf_coap_cancel(remote->endpoint, call->handle, tell, remote->run->base.now);
    }
    call->cancelled = true;
}

struct tf_list *tf_cli_coap_remote_calls(struct tf_cli_coap_remote *remote)
{
    return &remote->calls;
}

/* ---- events ---- */

static void on_failed(struct tf_cli_coap_remote *remote, struct tf_cli_coap_call *call,
                      const struct tf_coap_event *event)
{
    struct tf_cli_coap_run *run = remote->run;
    tf_time span = run->base.now - call->begun;
    if (event->err == TF_AGAIN && call->request.multicast && call->answered) {
        tf_cli_coap_call_close(
            call); /* RFC 7252 8.2: nobody knows how many answers there will be */
    } else if (event->err == TF_AGAIN && call->request.multicast) {
        tf_cli_coap_call_fail(run, call, TF_EXIT_TIMEOUT, "no member of the group has answered");
    } else if (event->err == TF_AGAIN) {
        tf_cli_coap_call_fail(run, call, TF_EXIT_TIMEOUT, "%s does not answer: %.3g s, %u %s",
                              remote->text, (double)span / TF_SECOND, event->retransmissions,
                              event->retransmissions == 1 ? "retransmission" : "retransmissions");
    } else if (event->err == TF_CLOSED) {
        tf_cli_coap_call_fail(run, call, TF_EXIT_REFUSED, "%s has reset the request", remote->text);
    } else {
        tf_cli_coap_call_fail(run, call, TF_EXIT_NETWORK,
                              event->err == TF_LIMIT
                                  ? "the resource changes all the time while %s is asked for it"
                                  : "%s gives an answer that makes no sense",
                              remote->text);
    }
}

/* A peer asks us: there is nothing here. */
static void on_request(struct tf_cli_coap_remote *remote, const struct tf_coap_event *event)
{
    const struct tf_coap_response response = {.code = TF_COAP_NOT_FOUND};
    if (tf_coap_respond(remote->endpoint, event->handle, &response, NULL, NULL,
                        remote->run->base.now)) {
        tf_coap_ignore(remote->endpoint, event->handle, remote->run->base.now);
    }
}

static void on_event(struct tf_cli_coap_remote *remote, const struct tf_coap_event *event)
{
    struct tf_cli_coap_run *run = remote->run;
    struct tf_cli_coap_call *call = event->user;
    if (event->type == TF_COAP_EVENT_REQUEST) {
        on_request(remote, event);
        return;
    }
    if (!call || run->base.state != TF_CLI_RUNNING || call->cancelled || !call->open) {
        return;
    }
    switch (event->type) {
    case TF_COAP_EVENT_RESPONSE:
        tf_cli_coap_call_take(run, call, event);
        break;
    case TF_COAP_EVENT_FAILED:
        on_failed(remote, call, event);
        break;
    case TF_COAP_EVENT_PONG:
        tf_cli_coap_call_close(call);
        run->base.touched = true;
        if (run->task.pong) {
            run->task.pong(run->task.ctx, call, event->round_trip_us);
        }
        break;
    default:
        break;
    }
}

static void pull_events(struct tf_cli_coap_remote *remote)
{
    struct tf_coap_event event;
    while (remote->endpoint && tf_coap_endpoint_event(remote->endpoint, &event)) {
        on_event(remote, &event);
    }
}

/* ---- datagrams ---- */

static void trace(struct tf_cli_coap_remote *remote, bool outgoing,
                  const struct tf_datagram *datagram)
{
    char peer[TF_SOCKET_TEXT] = "";
    struct tf_socket_address address;
    if (!remote->run->trace) {
        return;
    }
    if (remote->group || remote->peer.node.prev != remote->peer.node.next) { /* there are several */
        if (datagram->path && (remote->group || !outgoing)) {
            tf_datagram_peer(datagram->path, &address);
            tf_socket_text(&address, peer);
        } else {
            snprintf(peer, sizeof(peer), "%.*s", TF_SOCKET_TEXT - 1, remote->text);
        }
    }
    tf_cli_coap_trace_line(&remote->trace, outgoing, datagram->bytes, peer[0] ? peer : NULL,
                           remote->run->base.now, tf_clock_wall(), stderr);
}

/* Looks how far a body has got. */
static void follow(struct tf_cli_coap_remote *remote, const struct tf_datagram *out)
{
    struct tf_coap_message message;
    struct tf_bytes value;
    struct tf_coap_block block;
    if (remote->run->follow && tf_coap_decode(&message, out->bytes) == TF_OK &&
        tf_coap_option_find(message.options, TF_COAP_BLOCK1, &value) &&
        tf_coap_block_read(value, &block)) {
        remote->sent = (block.number + UINT64_C(1)) * (16u << block.szx);
    }
}

/* Writes what there is; false: the remote is not to be reached that way, errno tells why. */
static bool send_output(struct tf_cli_coap_remote *remote)
{
    struct tf_datagram out[PIECES];
    size_t count, sent, lost;
    while ((count = tf_coap_endpoint_output(remote->endpoint, out, PIECES)) > 0) {
        for (size_t i = 0; i < count; i++) {
            out[i].path = remote->group ? out[i].path : NULL;
        }
        enum tf_err err = tf_datagram_send(remote->peer.source.fd, out, count, &sent, &lost);
        int number = errno;
        for (size_t i = 0; i < sent; i++) {
            trace(remote, true, &out[i]);
            follow(remote, &out[i]);
        }
        tf_coap_endpoint_sent(remote->endpoint, sent, remote->run->base.now);
        remote->congested = err == TF_AGAIN;
        errno = number;
        if (lost && number != ENOBUFS && number != ENOMEM) {
            return false;
        }
        if (err) {
            return err == TF_AGAIN;
        }
    }
    return true;
}

static void give(struct tf_cli_coap_remote *remote, const struct tf_datagram *in)
{
    struct tf_cli_coap_run *run = remote->run;
    enum tf_err err = TF_AGAIN;
    remote->heard = true;
    trace(remote, false, in);
    for (int tries = 0; tries < 3 && err == TF_AGAIN && remote->endpoint; tries++) {
        err = tf_coap_endpoint_input(remote->endpoint, in, run->base.now);
        pull_events(remote);
        if (remote->endpoint && err == TF_AGAIN && !send_output(remote)) {
            return;
        }
    }
}

static void on_io(struct tf_cli_peer *peer, unsigned ready)
{
    struct tf_cli_coap_remote *remote = tf_cli_coap_remote_of(peer);
    (void)ready;
    const struct tf_datagram *in;
    size_t count;
    bool full = true;
    remote->congested = false;
    while (remote->up && full) {
        enum tf_err err = tf_datagram_receive(remote->peer.source.fd, remote->inbox, &full);
        if (err == TF_AGAIN) {
            return;
        }
        if (err) {
            advance(remote, errno);
            return;
        }
        while (remote->up && (in = tf_datagram_inbox_peek(remote->inbox, &count))) {
            for (size_t i = 0; i < count && remote->up; i++) {
                give(remote, &in[i]);
            }
            tf_datagram_inbox_take(remote->inbox, count);
        }
    }
}

static void on_tick(struct tf_cli_peer *peer)
{
    struct tf_cli_coap_remote *remote = tf_cli_coap_remote_of(peer);
    if (remote->endpoint && remote->run->base.now >= tf_coap_endpoint_deadline(remote->endpoint)) {
        tf_coap_endpoint_tick(remote->endpoint, remote->run->base.now);
        remote->run->base.touched = true;
    }
    pull_events(remote);
}

static void on_flush(struct tf_cli_peer *peer)
{
    struct tf_cli_coap_remote *remote = tf_cli_coap_remote_of(peer);
    if (!remote->resolved && !tf_list_empty(&remote->calls)) {
        resolve(remote);
    }
    if (!remote->up) {
        return;
    }
    pull_events(remote);
    if (remote->up && !remote->congested && !send_output(remote)) {
        advance(remote, errno);
    }
    if (remote->up) {
        tf_loop_change(remote->run->base.loop, &remote->peer.source,
                       TF_LOOP_READ | (remote->congested ? (unsigned)TF_LOOP_WRITE : 0u));
    }
}

static tf_time deadline_of(const struct tf_cli_peer *peer)
{
    const struct tf_cli_coap_remote *remote = tf_cli_coap_remote_of((struct tf_cli_peer *)peer);
    return remote->endpoint && !remote->congested ? tf_coap_endpoint_deadline(remote->endpoint)
                                                  : TF_TIME_NEVER;
}

/* No server has to be told anything any more. */
static bool is_quiet(const struct tf_cli_peer *peer)
{
    const struct tf_cli_coap_remote *remote = tf_cli_coap_remote_of((struct tf_cli_peer *)peer);
    struct tf_datagram out;
    return !remote->endpoint || (tf_coap_endpoint_counters(remote->endpoint)->calls == 0 &&
                                 tf_coap_endpoint_output(remote->endpoint, &out, 1) == 0);
}

uint64_t tf_cli_coap_remote_sent(const struct tf_cli_coap_remote *remote)
{
    return remote->sent;
}

const char *tf_cli_coap_remote_text(const struct tf_cli_coap_remote *remote)
{
    return remote->text;
}

/* ---- birth ---- */

static const struct tf_cli_peer_ops peer_ops = {
    .io = on_io, .tick = on_tick, .flush = on_flush, .deadline = deadline_of, .ended = is_quiet};

struct tf_cli_coap_remote *tf_cli_coap_remote_get(struct tf_cli_coap_run *run,
                                                  const struct tf_cli_coap_target *target)
{
    struct tf_list_node *node = tf_list_first(&run->base.peers);
    for (; node; node = tf_list_next(&run->base.peers, node)) {
        struct tf_cli_coap_remote *remote =
            tf_cli_coap_remote_of(tf_container_of(node, struct tf_cli_peer, node));
        if (tf_cli_coap_target_same_peer(remote->target, target)) {
            return remote;
        }
    }
    struct tf_cli_coap_remote *remote = calloc(1, sizeof(*remote));
    struct tf_datagram_inbox *inbox = tf_datagram_inbox_new(PIECES, INBOX_SIZE);
    if (!remote || !inbox) {
        free(remote);
        tf_datagram_inbox_free(inbox);
        return NULL;
    }
    remote->peer.ops = &peer_ops;
    remote->run = run;
    remote->target = target;
    remote->inbox = inbox;
    tf_list_init(&remote->calls);
    snprintf(remote->text, sizeof(remote->text), "%s", target->host);
    tf_list_push_back(&run->base.peers, &remote->peer.node);
    return remote;
}
