/*
 * One AMQP connection of a command to a broker.
 */
#include "cli/amqp_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "cli/amqp_link.h"
#include "cli/cli.h"

enum {
    OUTPUT_SIZE = 64 * 1024,
    OUTPUT_MAX = 8 * 1024 * 1024,
    FRAME_SIZE = 64 * 1024,
    LINKS_MAX = 255,
    UNSETTLED_MAX = 65536,
    WINDOW = 2048,
    REFERENCE_FROM = 1024
};

/* ---- what others ask ---- */

void *tf_cli_amqp_ctx(const struct tf_cli_amqp_client *client)
{
    return client->config.ctx;
}

const char *tf_cli_amqp_peer(const struct tf_cli_amqp_client *client)
{
    return client->dial.text;
}

const char *tf_cli_amqp_id(const struct tf_cli_amqp_client *client)
{
    const char *given = client->config.options->client_id;
    return given ? given : client->id;
}

bool tf_cli_amqp_written(const struct tf_cli_amqp_client *client)
{
    struct tf_bytes span;
    return client->state == TF_CLI_AMQP_UP && tf_amqp_output(client->machine, &span, 1) == 0;
}

const char *tf_cli_amqp_why(const struct tf_amqp_error *error, char *ret_text, size_t size)
{
    struct tf_bytes symbol = error->condition == TF_AMQP_OTHER_ERROR
                                 ? error->symbol
                                 : tf_amqp_condition_symbol(error->condition);
    struct tf_bytes words = error->description;
    if (error->condition == TF_AMQP_NO_ERROR) {
        symbol = tf_bytes_str("no reason was given");
    }
    snprintf(ret_text, size, "%.*s%s%.*s", (int)TF_MIN(symbol.length, 100u),
             symbol.length ? (const char *)symbol.data : "", words.length ? ": " : "",
             (int)TF_MIN(words.length, 400u), words.length ? (const char *)words.data : "");
    tf_cli_tame(ret_text);
    return ret_text;
}

static void debug(struct tf_cli_amqp_client *client, const char *what, const char *more)
{
    if (client->config.options->debug) {
        tf_cli_run_say(client->config.run, "%s: %s%s", client->dial.text, what, more);
    }
}

static struct tf_cli_amqp_client *client_of(struct tf_cli_peer *peer)
{
    return tf_container_of(peer, struct tf_cli_amqp_client, peer);
}

/* ---- the end ---- */

static void close_now(struct tf_cli_amqp_client *client)
{
    if (client->state != TF_CLI_AMQP_ENDED) {
        tf_cli_dial_close(&client->dial);
        client->state = TF_CLI_AMQP_ENDED;
        client->config.run->touched = true;
    }
}

/* Ends it because of something that has been said. */
static void fail(struct tf_cli_amqp_client *client, int code)
{
    tf_cli_run_finish(client->config.run, code);
    close_now(client);
}

void tf_cli_amqp_fail_memory(struct tf_cli_amqp_client *client)
{
    tf_cli_run_say(client->config.run, "no memory");
    fail(client, TF_EXIT_INTERNAL);
}

/* The transport has ended without a word. */
static void lost(struct tf_cli_amqp_client *client, int number)
{
    if (client->state == TF_CLI_AMQP_LEAVING) {
        close_now(client);
        return;
    }
    tf_cli_dial_say_lost(&client->dial, number);
    fail(client, TF_EXIT_NETWORK);
}

/* An error that ends the connection or its session; `what` has happened to it. */
static void ended_by_error(struct tf_cli_amqp_client *client, const struct tf_amqp_error *error,
                           bool local, const char *what)
{
    char why[TF_CLI_AMQP_WHY];
    bool early = client->state < TF_CLI_AMQP_UP;
    bool auth = error->condition == TF_AMQP_UNAUTHORIZED_ACCESS;
    bool away = error->condition == TF_AMQP_CONNECTION_FORCED ||
                error->condition == TF_AMQP_CONNECTION_REDIRECT ||
                error->condition == TF_AMQP_NO_ERROR;
    if (client->state >= TF_CLI_AMQP_LEAVING) {
        return;
    }
    tf_cli_run_say(client->config.run, "%s %s: %s%s", client->dial.text,
                   local && !auth ? "broke the protocol"
                   : early        ? "refused the connection"
                                  : what,
                   tf_cli_amqp_why(error, why, sizeof(why)),
                   auth && early ? ". --user and --password say who you are" : "");
    client->state = TF_CLI_AMQP_LEAVING;
    tf_cli_run_finish(client->config.run, auth            ? TF_EXIT_AUTH
                                          : local || away ? TF_EXIT_NETWORK
                                                          : TF_EXIT_REFUSED);
}

/* ---- the machine ---- */

enum tf_err tf_cli_amqp_grow(struct tf_cli_amqp_client *client)
{
    size_t size = client->out_size ? client->out_size * 2 : OUTPUT_SIZE;
    if (client->out && !tf_amqp_take(client->machine)) {
        return TF_AGAIN;
    }
    free(client->out);
    client->out = size > OUTPUT_MAX ? NULL : malloc(size);
    client->out_size = client->out ? size : 0;
    if (!client->out) {
        return size > OUTPUT_MAX ? TF_LIMIT : TF_NO_MEMORY;
    }
    return tf_amqp_lend(client->machine, client->out, size);
}

static void choose_mechanism(struct tf_cli_amqp_client *client)
{
    static const struct tf_amqp_sasl_mechanism *const plain[] = {&tf_amqp_sasl_plain};
    static const struct tf_amqp_sasl_mechanism *const anonymous[] = {&tf_amqp_sasl_anonymous};
    const struct tf_cli_connection_options *options = client->config.options;
    const struct tf_cli_url *url = client->config.url;
    const char *user = tf_cli_options_user(options, url);
    const char *password = tf_cli_options_password(options, url);
    client->sasl = (struct tf_amqp_sasl){.mechanisms = user || password ? plain : anonymous,
                                         .mechanism_count = 1,
                                         .user = tf_bytes_str(user ? user : ""),
                                         .password = tf_bytes_str(password ? password : ""),
                                         .hostname = tf_bytes_str(url->host)};
}

/* Makes the machine, with its protocol header in the output. */
static enum tf_err start_machine(struct tf_cli_amqp_client *client)
{
    choose_mechanism(client);
    client->open = (struct tf_amqp_open){.container_id = tf_bytes_str(tf_cli_amqp_id(client)),
                                         .hostname = tf_bytes_str(client->config.url->host)};
    client->machine_config =
        (struct tf_amqp_config){.end = TF_AMQP_CLIENT,
                                .max_frame_size = FRAME_SIZE,
                                .handle_max = LINKS_MAX,
                                .max_links = LINKS_MAX + 1,
                                .max_unsettled = UNSETTLED_MAX,
                                .incoming_window = WINDOW,
                                .idle_timeout_ms = client->config.options->keep_alive_s * 1000u,
                                .reference_from = REFERENCE_FROM,
                                .sasl = &client->sasl};
    size_t size = tf_amqp_size(&client->machine_config);
    client->memory = malloc(TF_MAX(size, 1u));
    if (!client->memory) {
        return TF_NO_MEMORY;
    }
    enum tf_err err = tf_amqp_init(&client->machine, client->memory, size, &client->machine_config,
                                   &client->open, client->config.run->now);
    if (err) {
        client->machine = NULL;
        return err;
    }
    return tf_cli_amqp_grow(client);
}

/* Memory for a table that the machine asks for. */
static void give_part(struct tf_cli_amqp_client *client, const struct tf_amqp_event *event)
{
    void *old = NULL;
    void *memory = malloc(event->size);
    if (!memory ||
        tf_amqp_give(client->machine, event->session, event->part, memory, event->size, &old)) {
        free(memory);
        tf_cli_amqp_fail_memory(client);
        return;
    }
    free(old);
}

static void free_machine(struct tf_cli_amqp_client *client)
{
    void *table;
    while (client->session && (table = tf_amqp_session_reclaim(client->session))) {
        free(table);
    }
    while (client->machine && (table = tf_amqp_reclaim(client->machine))) {
        free(table);
    }
    free(client->session_memory);
    free(client->memory);
    free(client->out);
}

/* ---- connecting ---- */

static void greet(struct tf_cli_amqp_client *client)
{
    enum tf_err err = start_machine(client);
    if (err) {
        tf_cli_run_say(client->config.run, "%s: open cannot be written: %s", client->dial.text,
                       err == TF_NO_MEMORY ? "no memory" : "the options do not go together");
        fail(client, err == TF_NO_MEMORY ? TF_EXIT_INTERNAL : TF_EXIT_USAGE);
        return;
    }
    client->state = TF_CLI_AMQP_GREETING;
}

/* Goes on with what has become of the dial. */
static void dialed(struct tf_cli_amqp_client *client, enum tf_cli_dial_state state)
{
    if (state == TF_CLI_DIAL_FAILED) {
        fail(client, client->dial.code);
    } else if (state == TF_CLI_DIALED) {
        greet(client);
    }
}

/* The one session; once it is there the command attaches its links. */
static void begin_session(struct tf_cli_amqp_client *client)
{
    size_t size = tf_amqp_session_size(&client->machine_config);
    if (!client->session_memory) {
        client->session_memory = malloc(TF_MAX(size, 1u));
    }
    if (!client->session_memory) {
        tf_cli_amqp_fail_memory(client);
        return;
    }
    enum tf_err err = tf_amqp_session_begin(client->machine, client->session_memory, size, client,
                                            &client->session);
    if (err == TF_OK) {
        if (client->config.handler->up) {
            client->config.handler->up(client);
        }
        return;
    }
    client->session = NULL;
    if (err != TF_AGAIN && err != TF_CLOSED) {
        tf_cli_run_say(client->config.run, "%s offers no session: %s", client->dial.text,
                       tf_err_name(err));
        fail(client, TF_EXIT_REFUSED);
    }
}

/* ---- events ---- */

static void on_event(struct tf_cli_amqp_client *client, const struct tf_amqp_event *event)
{
    static const struct tf_amqp_error unwanted = {.condition = TF_AMQP_NOT_ALLOWED};
    switch (event->type) {
    case TF_AMQP_OPENED:
        client->state = TF_CLI_AMQP_UP;
        client->opened = true;
        debug(client, "connected as ", tf_cli_amqp_id(client));
        break;
    case TF_AMQP_CLOSED:
        ended_by_error(client, &event->error, event->local, "ended the connection");
        break;
    case TF_AMQP_ENDED:
        client->session_over = true;
        ended_by_error(client, &event->error, event->local, "ended the session");
        break;
    case TF_AMQP_BEGIN:
    case TF_AMQP_ATTACH: /* a broker has no business to ask a client for one */
        tf_amqp_close(client->machine, &unwanted);
        break;
    case TF_AMQP_NEEDS:
        give_part(client, event);
        break;
    case TF_AMQP_RETURNED:
        if (client->config.handler->returned) {
            client->config.handler->returned(client, event->owner);
        }
        break;
    default:
        tf_cli_amqp_link_event(client, event);
    }
}

static bool is_connected(const struct tf_cli_amqp_client *client)
{
    return client->state == TF_CLI_AMQP_GREETING || client->state == TF_CLI_AMQP_UP ||
           client->state == TF_CLI_AMQP_LEAVING;
}

static void take_events(struct tf_cli_amqp_client *client)
{
    struct tf_amqp_event event;
    while (is_connected(client) && tf_amqp_event(client->machine, &event)) {
        client->config.run->touched = true; /* something that had to wait may now go on */
        on_event(client, &event);
    }
}

/* The machine has ended the connection: what the peer did, or did not do. */
static void look_at_end(struct tf_cli_amqp_client *client)
{
    static const struct tf_amqp_error none = {.condition = TF_AMQP_NO_ERROR};
    const struct tf_amqp_error *error = NULL;
    if (!is_connected(client) || !tf_amqp_closing(client->machine, &error)) {
        return;
    }
    client->closing = true;
    ended_by_error(client, error ? error : &none, error && error->condition != TF_AMQP_NO_ERROR,
                   "ended the connection");
}

/* ---- bytes ---- */

/* Feeds the machine with what has arrived, as far as it goes. */
static void feed(struct tf_cli_amqp_client *client)
{
    size_t at = 0;
    enum tf_err err = TF_OK;
    client->in.need = 0;
    while (at < client->in.length && !err && is_connected(client)) {
        size_t used = 0, need = 0;
        struct tf_bytes in = tf_bytes_of(client->in.bytes + at, client->in.length - at);
        err = tf_amqp_input(client->machine, in, &used, &need, client->config.run->now);
        at += used;
        client->in.need = err == TF_MORE ? need : 0;
        take_events(client);
    }
    tf_cli_input_take(&client->in, at);
    look_at_end(client);
}

static void read_some(struct tf_cli_amqp_client *client)
{
    if (client->finished) {
        if (tf_socket_drain(client->dial.fd) == TF_CLOSED) {
            close_now(client);
        }
        return;
    }
    enum tf_err err = tf_cli_dial_read(&client->dial, &client->in);
    if (err == TF_AGAIN) {
        return;
    }
    if (err == TF_NO_MEMORY) {
        tf_cli_amqp_fail_memory(client);
        return;
    }
    if (err) {
        lost(client, errno);
        return;
    }
    feed(client);
}

static void on_io(struct tf_cli_peer *peer, unsigned ready)
{
    struct tf_cli_amqp_client *client = client_of(peer);
    if (client->state == TF_CLI_AMQP_CONNECTING) {
        dialed(client, tf_cli_dial_ready(&client->dial));
    } else if (client->state != TF_CLI_AMQP_ENDED && (ready & (TF_LOOP_READ | TF_LOOP_HANGUP))) {
        read_some(client);
    }
}

static void on_turn(struct tf_cli_peer *peer)
{
    struct tf_cli_amqp_client *client = client_of(peer);
    const struct tf_cli_run *run = client->config.run;
    if (is_connected(client)) {
        take_events(client);
        if (client->in.length && is_connected(client)) {
            feed(client);
        }
    }
    if (client->state == TF_CLI_AMQP_UP && run->state == TF_CLI_RUNNING && !client->session) {
        begin_session(client);
    }
    if (client->state == TF_CLI_AMQP_UP && run->state == TF_CLI_RUNNING && client->session) {
        if (client->config.handler->ready) {
            client->config.handler->ready(client);
        }
        tf_cli_amqp_links_turn(client);
        take_events(client);
        look_at_end(client);
    }
}

/* Goodbye, once and for all that is up. */
static void leave(struct tf_cli_amqp_client *client)
{
    if (client->config.run->state == TF_CLI_RUNNING || client->said_goodbye ||
        client->state == TF_CLI_AMQP_ENDED) {
        return;
    }
    if (client->state < TF_CLI_AMQP_UP) {
        close_now(client);
        return;
    }
    client->said_goodbye = true;
    if (!client->closing) {
        client->asked = true;
        debug(client, "closing", "");
        tf_cli_amqp_links_leave(client);
        if (client->session && !client->session_over) {
            tf_amqp_session_end(client->session, NULL);
        }
        tf_amqp_close(client->machine, NULL);
    }
    client->state = TF_CLI_AMQP_LEAVING;
}

/* Both have said all: the socket may go, unless the peer has still to read our last word. */
static void finish(struct tf_cli_amqp_client *client)
{
    if (client->asked || !client->opened) {
        close_now(client);
    } else if (!client->finished) {
        tf_socket_finish(client->dial.fd);
        client->finished = true;
    }
}

static void on_flush(struct tf_cli_peer *peer)
{
    struct tf_cli_amqp_client *client = client_of(peer);
    struct tf_bytes spans[TF_SOCKET_SPANS];
    unsigned interest = TF_LOOP_READ;
    leave(client);
    while (is_connected(client)) {
        size_t sent = 0, count = tf_amqp_output(client->machine, spans, TF_SOCKET_SPANS);
        if (count == 0) {
            break;
        }
        enum tf_err err = tf_socket_writev(client->dial.fd, spans, count, &sent);
        if (err == TF_AGAIN) {
            interest |= TF_LOOP_WRITE;
            break;
        }
        if (err) { /* what the peer said before is still to be read, and tells more */
            if (client->state == TF_CLI_AMQP_LEAVING) {
                lost(client, errno);
            }
            break;
        }
        tf_amqp_sent(client->machine, sent, client->config.run->now);
        client->config.run->touched = true;
    }
    if (client->state == TF_CLI_AMQP_LEAVING && client->closing && interest == TF_LOOP_READ) {
        finish(client);
    }
    if (client->dial.fd >= 0 && client->state != TF_CLI_AMQP_CONNECTING) {
        tf_loop_change(client->config.run->loop, &client->peer.source, interest);
    }
}

/* ---- time ---- */

static tf_time deadline_of(const struct tf_cli_peer *peer)
{
    const struct tf_cli_amqp_client *client = client_of((struct tf_cli_peer *)peer);
    switch (client->state) {
    case TF_CLI_AMQP_CONNECTING:
        return TF_MIN(client->dial.end, client->dial.address_end);
    case TF_CLI_AMQP_GREETING:
        return client->dial.end;
    case TF_CLI_AMQP_UP:
        return tf_amqp_deadline(client->machine);
    default:
        return TF_TIME_NEVER;
    }
}

static void on_tick(struct tf_cli_peer *peer)
{
    struct tf_cli_amqp_client *client = client_of(peer);
    tf_time now = client->config.run->now;
    if (client->state <= TF_CLI_AMQP_GREETING && now >= client->dial.end) {
        tf_cli_dial_say_late(&client->dial,
                             client->state == TF_CLI_AMQP_CONNECTING ? "connection" : "open");
        fail(client, TF_EXIT_TIMEOUT);
    } else if (client->state == TF_CLI_AMQP_CONNECTING) {
        dialed(client, tf_cli_dial_tick(&client->dial));
    } else if (client->state == TF_CLI_AMQP_UP && now >= tf_amqp_deadline(client->machine)) {
        tf_amqp_tick(client->machine, now);
        client->config.run->touched = true;
        look_at_end(client);
    }
}

/* ---- from birth to death ---- */

static bool has_ended(const struct tf_cli_peer *peer)
{
    return client_of((struct tf_cli_peer *)peer)->state == TF_CLI_AMQP_ENDED;
}

static void on_abort(struct tf_cli_peer *peer)
{
    close_now(client_of(peer));
}

static const struct tf_cli_peer_ops peer_ops = {.io = on_io,
                                                .tick = on_tick,
                                                .turn = on_turn,
                                                .flush = on_flush,
                                                .abort = on_abort,
                                                .deadline = deadline_of,
                                                .ended = has_ended};

enum tf_err tf_cli_amqp_client_new(struct tf_cli_amqp_client **ret_client,
                                   const struct tf_cli_amqp_client_config *config)
{
    struct tf_cli_amqp_client *client = calloc(1, sizeof(*client));
    if (!client) {
        return TF_NO_MEMORY;
    }
    client->config = *config;
    client->peer.ops = &peer_ops;
    tf_list_init(&client->links);
    tf_cli_make_id(config->run->command, client->id);
    tf_cli_dial_init(&client->dial, config->run, &client->peer.source, config->url,
                     config->options->debug);
    tf_list_push_back(&config->run->peers, &client->peer.node);
    *ret_client = client;
    bool timed = !config->options->timeout_us; /* else the run's holds */
    dialed(client, tf_cli_dial_start(&client->dial, config->url, timed));
    return TF_OK;
}

void tf_cli_amqp_client_free(struct tf_cli_amqp_client *client)
{
    if (!client) {
        return;
    }
    close_now(client);
    tf_list_unlink(&client->peer.node);
    tf_cli_amqp_links_free(client);
    free_machine(client);
    free(client->in.bytes);
    free(client);
}
