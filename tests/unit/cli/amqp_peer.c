/*
 * A peer for AMQP clients.
 */
#include "amqp_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/util.h"
#include "port/clock.h"

#define BUFFER 131072u
#define LINKS 8
#define PATIENCE_MS 3000

/* A test's finding; exit codes hold eight bits. */
#define DEMAND(condition)              \
    do {                               \
        if (!(condition)) {            \
            _exit(1 + __LINE__ % 255); \
        }                              \
    } while (0)

struct peer_link {
    struct tf_amqp_link *link;
    void *memory;
    uint8_t *gathered;
    size_t length;
    size_t sent;
    bool management, dynamic, second;
};

struct session {
    const struct peer_script *script;
    int fd;
    struct tf_amqp_config config;
    struct tf_amqp_sasl sasl;
    struct tf_amqp_connection *machine;
    struct tf_amqp_session *session;
    void *memory, *session_memory;
    struct peer_link links[LINKS];
    size_t link_count, done;
    uint8_t in[BUFFER], out[BUFFER];
    size_t length;
    bool over, answer_due;
};

/* ---- what is sent ---- */

static void send_message(struct session *session, struct peer_link *link, struct tf_bytes message)
{
    uint8_t tag = (uint8_t)link->sent;
    bool borrowed;
    uint64_t delivery;
    const struct tf_amqp_sending sending = {.handle = link->sent + 1,
                                            .tag = tf_bytes_of(&tag, 1),
                                            .owner = 1,
                                            .body = &message,
                                            .body_count = 1,
                                            .settled = session->script->settled};
    /* The array is a view, too: it outlives this call in the script. */
    struct tf_amqp_sending lasting = sending;
    for (size_t i = 0; i < session->script->message_count; i++) {
        if (session->script->messages[i].data == message.data) {
            lasting.body = &session->script->messages[i];
        }
    }
    if (lasting.body == &message) {
        lasting.owner = 0;
    }
    if (tf_amqp_send(link->link, &lasting, &borrowed, &delivery) == TF_OK) {
        link->sent++;
        session->done += session->script->settled;
    }
}

static void answer(struct session *session);

static void send_what_there_is(struct session *session)
{
    if (session->answer_due) {
        answer(session);
    }
    for (size_t i = 0; i < session->link_count; i++) {
        struct peer_link *link = &session->links[i];
        bool sends = link->link && tf_amqp_link_role(link->link) == TF_AMQP_SENDER;
        while (sends && !link->dynamic && link->sent < session->script->message_count) {
            size_t before = link->sent;
            send_message(session, link, session->script->messages[link->sent]);
            if (link->sent == before) {
                break;
            }
        }
    }
}

/* The answer of a management node. */
static void answer(struct session *session)
{
    static uint8_t memory[512];
    struct tf_writer writer = tf_writer_of(memory, sizeof(memory));
    tf_amqp_write_section(&writer, TF_AMQP_APPLICATION_PROPERTIES);
    size_t begin = tf_amqp_write_map_begin(&writer);
    tf_amqp_write_string(&writer, tf_bytes_str("statusCode"));
    tf_amqp_write_int(&writer, session->script->status);
    tf_amqp_write_string(&writer, tf_bytes_str("statusDescription"));
    tf_amqp_write_string(&writer, tf_bytes_str("as the script says"));
    tf_amqp_write_map_end(&writer, begin, 4);
    tf_amqp_write_section(&writer, TF_AMQP_AMQP_VALUE);
    begin = tf_amqp_write_map_begin(&writer);
    tf_amqp_write_string(&writer, tf_bytes_str("count"));
    tf_amqp_write_ulong(&writer, 1000);
    tf_amqp_write_string(&writer, tf_bytes_str("messages"));
    tf_amqp_write_ulong(&writer, 7);
    tf_amqp_write_map_end(&writer, begin, 4);
    for (size_t i = 0; i < session->link_count; i++) {
        if (session->links[i].dynamic && session->links[i].link) {
            send_message(session, &session->links[i],
                         tf_bytes_of(memory, tf_writer_length(&writer)));
            session->answer_due = session->links[i].sent == 0;
        }
    }
}

/* ---- what comes ---- */

static struct peer_link *link_of(const struct tf_amqp_event *event)
{
    return tf_amqp_link_user(event->link);
}

static void on_attach(struct session *session, const struct tf_amqp_event *event)
{
    const struct peer_script *script = session->script;
    const struct tf_amqp_attach *attach = &event->attach;
    bool refused = script->link_error.condition != TF_AMQP_NO_ERROR;
    DEMAND(session->link_count < LINKS);
    struct peer_link *link = &session->links[session->link_count++];
    size_t size = tf_amqp_link_size(&session->config);
    link->memory = malloc(size);
    DEMAND(tf_amqp_link_accept(event->session, link->memory, size, link, &link->link) == TF_OK);
    struct tf_amqp_attach reply = {.name = attach->name,
                                   .role = attach->role == TF_AMQP_SENDER ? TF_AMQP_RECEIVER
                                                                          : TF_AMQP_SENDER,
                                   .snd_settle_mode = attach->snd_settle_mode,
                                   .rcv_settle_mode = attach->rcv_settle_mode,
                                   .source = attach->source,
                                   .target = attach->target};
    link->second = attach->rcv_settle_mode == TF_AMQP_RCV_SECOND;
    link->dynamic = attach->source.dynamic;
    if (link->dynamic) {
        reply.source.has_address = true;
        reply.source.address = tf_bytes_str("a-node-of-its-own");
    }
    link->management = attach->role == TF_AMQP_SENDER &&
                       tf_bytes_equal(attach->target.address, tf_bytes_str("$management"));
    if (refused) {
        reply.source.type = reply.target.type = TF_AMQP_TERMINUS_NONE;
    }
    DEMAND(tf_amqp_link_attach_reply(link->link, &reply) == TF_OK);
    if (refused) {
        tf_amqp_link_detach(link->link, true, &script->link_error);
    } else if (reply.role == TF_AMQP_RECEIVER) {
        tf_amqp_link_credit(link->link, 10, false);
        if (script->detach_error.condition) {
            tf_amqp_link_detach(link->link, true, &script->detach_error);
        }
    }
}

static void check_message(struct session *session, struct peer_link *link,
                          const struct tf_amqp_event *event)
{
    const struct peer_script *script = session->script;
    struct tf_amqp_message message;
    enum tf_amqp_condition condition;
    struct tf_amqp_value value;
    DEMAND(tf_amqp_message_read(tf_bytes_of(link->gathered, link->length), &message, &condition) ==
           TF_OK);
    if (link->management) {
        DEMAND(tf_amqp_map_find(message.application_properties, tf_bytes_str("operation"), &value));
        DEMAND(tf_bytes_equal(value.bytes, tf_bytes_str(script->operation)));
        DEMAND(tf_bytes_equal(message.properties.reply_to, tf_bytes_str("a-node-of-its-own")));
        session->answer_due = true;
    }
    DEMAND(!script->check || script->check(&message, event->settled));
}

static void on_transfer(struct session *session, const struct tf_amqp_event *event)
{
    struct peer_link *link = link_of(event);
    struct tf_amqp_state state = session->script->outcome;
    if (event->first) {
        link->length = 0;
    }
    link->gathered = realloc(link->gathered, link->length + event->payload.length + 1);
    DEMAND(link->gathered);
    if (event->payload.length) {
        memcpy(link->gathered + link->length, event->payload.data, event->payload.length);
    }
    link->length += event->payload.length;
    if (event->more) {
        return;
    }
    check_message(session, link, event);
    state.type = state.type ? state.type : TF_AMQP_STATE_ACCEPTED;
    if (!event->settled) {
        DEMAND(tf_amqp_dispose(session->machine, event->delivery, &state, !link->second) == TF_OK);
    }
    session->done += event->settled || !link->second;
    tf_amqp_link_credit(link->link, 10, false);
}

static void on_outcome(struct session *session, const struct tf_amqp_event *event)
{
    DEMAND(event->settled != link_of(event)->second);
    if (!event->settled) {
        DEMAND(tf_amqp_settle(session->machine, event->delivery, &event->state) == TF_OK);
    }
    session->done += event->state.type == TF_AMQP_STATE_ACCEPTED;
}

static void on_detached(const struct tf_amqp_event *event)
{
    struct peer_link *link = link_of(event);
    if (!event->gone) {
        tf_amqp_link_detach(link->link, true, NULL);
    }
    link->link = NULL;
}

static void authenticate(struct session *session, const struct tf_amqp_sasl_request *request)
{
    const struct peer_script *script = session->script;
    bool good =
        !script->user || (tf_bytes_equal(request->user, tf_bytes_str(script->user)) &&
                          tf_bytes_equal(request->password, tf_bytes_str(script->password)));
    tf_amqp_authenticated(session->machine, good);
}

static void on_opened(struct session *session)
{
    static const struct tf_amqp_open open = {.container_id = {(const uint8_t *)"peer", 4}};
    if (session->script->open_error.condition) {
        tf_amqp_close(session->machine, &session->script->open_error);
        return;
    }
    DEMAND(tf_amqp_open(session->machine, &open) == TF_OK);
    session->over = session->script->hang_up;
}

static void give(struct session *session, const struct tf_amqp_event *event)
{
    void *old = NULL, *memory = malloc(event->size);
    DEMAND(memory && tf_amqp_give(session->machine, event->session, event->part, memory,
                                  event->size, &old) == TF_OK);
    free(old);
}

static void on_event(struct session *session, const struct tf_amqp_event *event)
{
    size_t size = tf_amqp_session_size(&session->config);
    switch (event->type) {
    case TF_AMQP_AUTHENTICATE:
        authenticate(session, &event->sasl);
        break;
    case TF_AMQP_OPENED:
        on_opened(session);
        break;
    case TF_AMQP_BEGIN:
        session->session_memory = malloc(size);
        DEMAND(tf_amqp_session_accept(session->machine, session->session_memory, size, NULL,
                                      &session->session) == TF_OK);
        break;
    case TF_AMQP_ATTACH:
        on_attach(session, event);
        break;
    case TF_AMQP_DETACHED:
        on_detached(event);
        break;
    case TF_AMQP_FLOW:
        send_what_there_is(session);
        if (event->drain && link_of(event)->sent == session->script->message_count) {
            tf_amqp_link_drained(event->link);
        }
        break;
    case TF_AMQP_TRANSFER:
        on_transfer(session, event);
        break;
    case TF_AMQP_OUTCOME:
        on_outcome(session, event);
        break;
    case TF_AMQP_SETTLED:
        session->done++;
        break;
    case TF_AMQP_NEEDS:
        give(session, event);
        break;
    default:
        break;
    }
}

/* ---- the connection ---- */

static void write_all(struct session *session)
{
    struct tf_bytes span;
    while (tf_amqp_output(session->machine, &span, 1) > 0) {
        ssize_t sent = send(session->fd, span.data, span.length, MSG_NOSIGNAL);
        DEMAND(sent > 0);
        tf_amqp_sent(session->machine, (size_t)sent, tf_clock_now());
        send_what_there_is(session);
    }
}

static void pull_events(struct session *session)
{
    struct tf_amqp_event event;
    while (tf_amqp_event(session->machine, &event)) {
        on_event(session, &event);
        DEMAND(tf_amqp_check(session->machine));
    }
}

static void feed(struct session *session)
{
    enum tf_err err = TF_OK;
    size_t at = 0;
    while (at < session->length && !err) {
        size_t used = 0, need = 0;
        err = tf_amqp_input(session->machine, tf_bytes_of(session->in + at, session->length - at),
                            &used, &need, tf_clock_now());
        at += used;
        pull_events(session);
    }
    memmove(session->in, session->in + at, session->length - at);
    session->length -= at;
}

static void serve(struct session *session)
{
    const struct tf_amqp_error *error;
    while (!session->over) {
        struct pollfd watched = {.fd = session->fd, .events = POLLIN};
        size_t before;
        do { /* what had to wait for an answer's room */
            before = session->length;
            write_all(session);
            feed(session);
            send_what_there_is(session);
            pull_events(session); /* sending may need memory first */
            send_what_there_is(session);
        } while (session->length && session->length != before);
        write_all(session);
        if (tf_amqp_closing(session->machine, &error)) {
            return;
        }
        DEMAND(poll(&watched, 1, PATIENCE_MS) == 1);
        ssize_t got = recv(session->fd, session->in + session->length, BUFFER - session->length, 0);
        if (got <= 0) {
            return;
        }
        session->length += (size_t)got;
        feed(session);
    }
}

/* One connection; how many messages have come, or have been accepted. */
static size_t serve_one(int listener, const struct peer_script *script)
{
    static const struct tf_amqp_sasl_mechanism *const mechanisms[] = {&tf_amqp_sasl_plain,
                                                                      &tf_amqp_sasl_anonymous};
    struct session *session = calloc(1, sizeof(*session));
    DEMAND(session);
    session->script = script;
    session->fd = accept(listener, NULL, NULL);
    DEMAND(session->fd >= 0);
    session->sasl = (struct tf_amqp_sasl){.mechanisms = mechanisms + (script->user ? 0 : 1),
                                          .mechanism_count = 1};
    session->config = (struct tf_amqp_config){
        .end = TF_AMQP_SERVER,
        .max_frame_size = script->max_frame_size ? script->max_frame_size : 65536,
        .handle_max = LINKS,
        .max_links = LINKS,
        .max_unsettled = 100,
        .incoming_window = 1000,
        .reference_from = 1024,
        .sasl = &session->sasl};
    size_t size = tf_amqp_size(&session->config);
    session->memory = malloc(size);
    DEMAND(tf_amqp_init(&session->machine, session->memory, size, &session->config, NULL,
                        tf_clock_now()) == TF_OK);
    DEMAND(tf_amqp_lend(session->machine, session->out, BUFFER) == TF_OK);
    serve(session);
    shutdown(session->fd, SHUT_WR);
    while (!script->hang_up && recv(session->fd, session->in, BUFFER, 0) > 0) {
    }
    close(session->fd);
    return session->done; /* the process ends soon, and its memory with it */
}

static int run(int listener, const struct peer_script *script)
{
    size_t done = 0;
    if (script->silent) {
        uint8_t in[256];
        int fd = accept(listener, NULL, NULL);
        while (recv(fd, in, sizeof(in), 0) > 0) {
        }
        return 0;
    }
    for (unsigned i = 0; i <= script->more; i++) {
        done += serve_one(listener, script);
    }
    DEMAND(done == script->expected);
    return 0;
}

void peer_start(struct peer *peer, const struct peer_script *script)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&address, length) == 0 &&
                listen(fd, 1) == 0 && getsockname(fd, (struct sockaddr *)&address, &length) == 0);
    fflush(NULL);
    peer->port = ntohs(address.sin_port);
    peer->pid = fork();
    assert_true(peer->pid >= 0);
    if (peer->pid == 0) {
        _exit(run(fd, script));
    }
    close(fd);
}

int peer_end(const struct peer *peer)
{
    int status;
    assert_true(waitpid(peer->pid, &status, 0) == peer->pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
