/*
 * One connection of a command to a broker.
 */
#include "cli/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "cli/cli.h"
#include "cli/dial.h"

enum {
    OUTPUT_SIZE = 64 * 1024,
    OUTPUT_MAX = 8 * 1024 * 1024,
    REFERENCE_FROM = 1024,
    IN_FLIGHT = 1000,
    ALIAS_COUNT = 64,
    ALIAS_BYTES = 64 * 1024,
    PROPERTIES_MAX = 16
};

#define PING_TIMEOUT_MS 30000

enum state { CONNECTING, GREETING, UP, LEAVING, ENDED };

struct tf_cli_client {
    struct tf_cli_client_config config;
    struct tf_cli_peer run_peer; /* the run's */
    struct tf_mqtt_session session;
    struct tf_mqtt_client *machine; /* lies in `memory` */
    struct tf_mqtt_client_config machine_config;
    struct tf_cli_dial dial;
    struct tf_cli_input in;
    uint8_t *out;
    size_t out_size;
    void *memory;
    void *parts[TF_MQTT_PART_ALIASES + 1];
    enum state state;
    bool heard; /* something came from this broker */
    bool said_goodbye;
    bool finished; /* the output has been ended */
    uint8_t version;
    uint8_t properties[PROPERTIES_MAX];
    uint8_t will_properties[PROPERTIES_MAX];
    char id[TF_CLI_ID];
};

/* ---- what others ask ---- */

void *tf_cli_client_ctx(const struct tf_cli_client *client)
{
    return client->config.ctx;
}

const char *tf_cli_client_peer(const struct tf_cli_client *client)
{
    return client->dial.text;
}

const char *tf_cli_client_id(const struct tf_cli_client *client)
{
    const char *given = client->config.options->client_id;
    return given ? given : client->id;
}

unsigned tf_cli_client_version(const struct tf_cli_client *client)
{
    return client->version;
}

static struct tf_cli_client *client_of(struct tf_cli_peer *peer)
{
    return tf_container_of(peer, struct tf_cli_client, run_peer);
}

bool tf_cli_client_written(const struct tf_cli_client *client)
{
    struct tf_bytes span;
    return client->state == UP && tf_mqtt_client_output(client->machine, &span, 1) == 0;
}

const char *tf_cli_reason(uint8_t reason, struct tf_bytes properties, char *ret_text, size_t size)
{
    struct tf_mqtt_property words;
    int length = snprintf(ret_text, size, "%s (0x%02X)", tf_mqtt_reason_name(reason), reason);
    if (length > 0 && (size_t)length < size &&
        tf_mqtt_property_find(properties, TF_MQTT_REASON_STRING, &words) && words.value.length) {
        char *at = ret_text + length;
        snprintf(at, size - (size_t)length, ": %.*s", (int)TF_MIN(words.value.length, 400u),
                 (const char *)words.value.data);
        tf_cli_tame(at);
    }
    return ret_text;
}

static void debug(const struct tf_cli_client *client, const char *what, const char *more)
{
    if (client->config.options->debug) {
        tf_cli_say(client->config.run->command, "%s: %s%s", client->dial.text, what, more);
    }
}

/* ---- the end ---- */

/* The bodies that were lent come back as events, for the command to free. */
static void give_back(struct tf_cli_client *client)
{
    struct tf_mqtt_client_event event;
    if (!client->machine) {
        return;
    }
    tf_mqtt_client_abandon(client->machine);
    while (tf_mqtt_client_event(client->machine, &event)) {
        if (event.type == TF_MQTT_CLIENT_RETURNED) {
            client->config.handler->event(client, &event);
        }
    }
}

static void close_now(struct tf_cli_client *client)
{
    if (client->state != ENDED) {
        give_back(client);
        tf_cli_dial_close(&client->dial);
        client->state = ENDED;
        client->config.run->touched = true;
    }
}

/* Ends it because of something that has been said. */
static void fail(struct tf_cli_client *client, int code)
{
    tf_cli_run_finish(client->config.run, code);
    close_now(client);
}

static void fail_memory(struct tf_cli_client *client)
{
    tf_cli_say(client->config.run->command, "no memory");
    fail(client, TF_EXIT_INTERNAL);
}

/* The transport has ended without a word. */
static void lost(struct tf_cli_client *client, int number)
{
    if (client->state == LEAVING) {
        close_now(client);
        return;
    }
    tf_cli_dial_say_lost(&client->dial, number);
    fail(client, TF_EXIT_NETWORK);
}

/* ---- the machine ---- */

static void free_machine(struct tf_cli_client *client)
{
    for (size_t i = 0; i < TF_COUNT(client->parts); i++) {
        free(client->parts[i]);
        client->parts[i] = NULL;
    }
    free(client->memory);
    free(client->out);
    client->memory = NULL;
    client->out = NULL;
    client->out_size = 0;
    client->machine = NULL;
    client->in.length = 0;
    client->in.need = 0;
}

/* The properties of CONNECT, and of the will. */
static void write_properties(struct tf_cli_client *client, struct tf_mqtt_connect *connect)
{
    const struct tf_cli_connection_options *options = client->config.options;
    struct tf_writer writer = tf_writer_of(client->properties, sizeof(client->properties));
    if (options->expiry_given || options->keep_session) {
        struct tf_mqtt_property expiry = {
            .id = TF_MQTT_SESSION_EXPIRY,
            .number = options->expiry_given ? options->session_expiry_s : UINT32_MAX};
        tf_mqtt_property_write(&writer, &expiry);
    }
    connect->properties = tf_bytes_of(client->properties, tf_writer_length(&writer));
    writer = tf_writer_of(client->will_properties, sizeof(client->will_properties));
    if (options->will_delay_s) {
        struct tf_mqtt_property delay = {.id = TF_MQTT_WILL_DELAY, .number = options->will_delay_s};
        tf_mqtt_property_write(&writer, &delay);
    }
    connect->will.properties = tf_bytes_of(client->will_properties, tf_writer_length(&writer));
}

static struct tf_mqtt_connect make_connect(struct tf_cli_client *client)
{
    const struct tf_cli_connection_options *options = client->config.options;
    const struct tf_cli_url *url = client->config.url;
    const char *user = tf_cli_options_user(options, url);
    const char *password = tf_cli_options_password(options, url);
    struct tf_mqtt_connect connect = {
        .version = client->version,
        .clean_start = !options->keep_session,
        .keep_alive_s = options->keep_alive_s,
        .client_id = tf_bytes_str(tf_cli_client_id(client)),
        .has_user_name = user || password, /* 3.1.1 3.1.2.9: no password without a name */
        .has_password = password != NULL,
        .user_name = tf_bytes_str(user ? user : ""),
        .password = tf_bytes_str(password ? password : ""),
        .has_will = options->will_topic != NULL,
        .will = {.topic = tf_bytes_str(options->will_topic ? options->will_topic : ""),
                 .payload = tf_bytes_str(options->will_payload ? options->will_payload : ""),
                 .qos = options->will_qos,
                 .retain = options->will_retain}};
    if (client->version == TF_MQTT_5) {
        write_properties(client, &connect);
    }
    return connect;
}

/* Lends a buffer twice as large as the last one. TF_AGAIN: the last one is in use. TF_LIMIT. */
static enum tf_err grow_output(struct tf_cli_client *client)
{
    size_t size = client->out_size ? client->out_size * 2 : OUTPUT_SIZE;
    if (client->out && !tf_mqtt_client_take(client->machine)) {
        return TF_AGAIN;
    }
    free(client->out);
    client->out = size > OUTPUT_MAX ? NULL : malloc(size);
    client->out_size = client->out ? size : 0;
    if (!client->out) {
        return size > OUTPUT_MAX ? TF_LIMIT : TF_NO_MEMORY;
    }
    return tf_mqtt_client_lend(client->machine, client->out, size);
}

/* Makes the machine, with CONNECT in its output. */
static enum tf_err start_machine(struct tf_cli_client *client)
{
    free_machine(client);
    tf_mqtt_session_init(&client->session);
    client->machine_config =
        (struct tf_mqtt_client_config){.features = TF_MQTT_CLIENT_ALL,
                                       .connect = make_connect(client),
                                       .session = &client->session,
                                       .max_packet_size = TF_MQTT_LENGTH_MAX + 5,
                                       .reference_from = REFERENCE_FROM,
                                       .topic_alias_bytes = ALIAS_BYTES,
                                       .topic_alias_maximum = ALIAS_COUNT,
                                       .ping_timeout_ms = PING_TIMEOUT_MS,
                                       .receive_maximum = IN_FLIGHT,
                                       .max_in_flight = IN_FLIGHT};
    size_t size = tf_mqtt_client_size(&client->machine_config);
    client->memory = malloc(TF_MAX(size, 1u));
    if (!client->memory) {
        return TF_NO_MEMORY;
    }
    enum tf_err err = tf_mqtt_client_init(&client->machine, client->memory, size,
                                          &client->machine_config, client->config.run->now);
    if (err) {
        client->machine = NULL;
        return err;
    }
    do {
        free(client->out); /* the machine has refused it */
        client->out_size = client->out_size ? client->out_size * 2 : OUTPUT_SIZE;
        client->out = malloc(client->out_size);
        err = client->out ? tf_mqtt_client_lend(client->machine, client->out, client->out_size)
                          : TF_NO_MEMORY;
    } while (err == TF_NO_MEMORY && client->out && client->out_size < OUTPUT_MAX);
    return err;
}

/* Memory for a part that the machine asks for. */
static void give_part(struct tf_cli_client *client, const struct tf_mqtt_client_event *event)
{
    void *old = NULL;
    void *memory = malloc(event->size);
    if (!memory || tf_mqtt_client_give(client->machine, event->part, memory, event->size, &old)) {
        free(memory);
        fail_memory(client);
        return;
    }
    free(old);
    client->parts[event->part] = memory;
}

enum tf_err tf_cli_client_publish(struct tf_cli_client *client,
                                  const struct tf_mqtt_delivery *delivery, bool *ret_borrowed)
{
    enum tf_err err = tf_mqtt_client_publish(client->machine, delivery, ret_borrowed);
    while (err == TF_NO_MEMORY) {
        err = grow_output(client);
        if (err) {
            return err;
        }
        err = tf_mqtt_client_publish(client->machine, delivery, ret_borrowed);
    }
    return err;
}

enum tf_err tf_cli_client_subscribe(struct tf_cli_client *client, uint64_t handle,
                                    const struct tf_mqtt_subscription *subscriptions, size_t count,
                                    struct tf_bytes properties)
{
    enum tf_err err =
        tf_mqtt_client_subscribe(client->machine, handle, subscriptions, count, properties);
    while (err == TF_NO_MEMORY) {
        err = grow_output(client);
        if (err) {
            return err;
        }
        err = tf_mqtt_client_subscribe(client->machine, handle, subscriptions, count, properties);
    }
    return err;
}

/* ---- connecting ---- */

/* Goes on with what has become of the dial; false: it has ended. */
static bool dialed(struct tf_cli_client *client, enum tf_cli_dial_state state)
{
    client->state = CONNECTING;
    if (state == TF_CLI_DIAL_FAILED) {
        fail(client, client->dial.code);
    }
    return state == TF_CLI_DIALED;
}

static void start(struct tf_cli_client *client)
{
    bool timed = !client->config.options->timeout_us; /* else the run's holds */
    (void)dialed(client, tf_cli_dial_start(&client->dial, client->config.url, timed));
}

static void greet(struct tf_cli_client *client)
{
    enum tf_err err = start_machine(client);
    if (err) {
        tf_cli_say(client->config.run->command, "%s: CONNECT cannot be written: %s",
                   client->dial.text,
                   err == TF_NO_MEMORY ? "no memory" : "the options do not go together");
        fail(client, err == TF_NO_MEMORY ? TF_EXIT_INTERNAL : TF_EXIT_USAGE);
        return;
    }
    client->state = GREETING;
    client->heard = false;
}

/* Once more with 3.1.1, where that can do what is wanted. False: it cannot; nothing was said. */
static bool fall_back(struct tf_cli_client *client)
{
    const struct tf_cli_connection_options *options = client->config.options;
    if (client->version != TF_MQTT_5 || options->version_given) {
        return false;
    }
    if (client->config.needs_5 || options->expiry_given || options->will_delay_s) {
        tf_cli_say(client->config.run->command, "%s does not speak MQTT 5.0, which %s needs",
                   client->dial.text,
                   client->config.needs_5  ? client->config.needs_5
                   : options->expiry_given ? "--session-expiry"
                                           : "--will-delay");
        fail(client, TF_EXIT_REFUSED);
        return true;
    }
    debug(client, "no MQTT 5.0 there, once more with 3.1.1", "");
    client->version = TF_MQTT_3_1_1;
    give_back(client);
    (void)dialed(client, tf_cli_dial_again(&client->dial, ECONNRESET));
    return true;
}

/* ---- events ---- */

static void on_refused(struct tf_cli_client *client, const struct tf_mqtt_client_event *event)
{
    char why[512];
    bool auth = event->reason == TF_MQTT_BAD_USER_OR_PASSWORD ||
                event->reason == TF_MQTT_NOT_AUTHORIZED ||
                event->reason == TF_MQTT_BAD_AUTHENTICATION_METHOD;
    if (event->reason == TF_MQTT_UNSUPPORTED_VERSION && fall_back(client)) {
        return;
    }
    tf_cli_say(client->config.run->command, "%s refused the connection: %s%s", client->dial.text,
               tf_cli_reason(event->reason, event->connack.properties, why, sizeof(why)),
               auth ? ". --user and --password say who you are" : "");
    fail(client, auth ? TF_EXIT_AUTH : TF_EXIT_REFUSED);
}

/* DISCONNECT of the server (MQTT 5.0 3.14). */
static void on_disconnect(struct tf_cli_client *client, const struct tf_mqtt_client_event *event)
{
    char why[512];
    bool away = event->reason < 0x80 || event->reason == TF_MQTT_SERVER_SHUTTING_DOWN ||
                event->reason == TF_MQTT_USE_ANOTHER_SERVER ||
                event->reason == TF_MQTT_SERVER_MOVED;
    tf_cli_say(client->config.run->command, "%s ended the connection: %s", client->dial.text,
               tf_cli_reason(event->reason, event->properties, why, sizeof(why)));
    fail(client, away                                      ? TF_EXIT_NETWORK
                 : event->reason == TF_MQTT_NOT_AUTHORIZED ? TF_EXIT_AUTH
                                                           : TF_EXIT_REFUSED);
}

static void on_event(struct tf_cli_client *client, const struct tf_mqtt_client_event *event)
{
    const struct tf_cli_handler *handler = client->config.handler;
    switch (event->type) {
    case TF_MQTT_CLIENT_CONNECTED:
        client->state = UP;
        debug(client, "connected as ", tf_cli_client_id(client));
        if (handler->connected) {
            handler->connected(client, event);
        }
        break;
    case TF_MQTT_CLIENT_REFUSED:
        on_refused(client, event);
        break;
    case TF_MQTT_CLIENT_NEEDS:
        give_part(client, event);
        break;
    case TF_MQTT_CLIENT_DISCONNECT:
        on_disconnect(client, event);
        break;
    case TF_MQTT_CLIENT_PUBLISH:
        handler->event(client, event);
        if (event->publish.qos && client->state == UP &&
            tf_mqtt_client_ack(client->machine, event->publish.packet_id, 0)) {
            debug(client, "a message that nobody waits to be acknowledged", "");
        }
        break;
    default:
        handler->event(client, event);
    }
}

/* Pulls events while the run goes on; what comes after its end stays unacknowledged. */
static void take_events(struct tf_cli_client *client)
{
    struct tf_mqtt_client_event event;
    while (client->config.run->state == TF_CLI_RUNNING &&
           (client->state == GREETING || client->state == UP) &&
           tf_mqtt_client_event(client->machine, &event)) {
        client->config.run->touched = true; /* something that had to wait may now go on */
        on_event(client, &event);
    }
}

/* The machine has ended the connection: what the peer did, or did not do. */
static void on_closing(struct tf_cli_client *client)
{
    uint8_t reason = 0;
    char why[512];
    if (client->state >= LEAVING || !tf_mqtt_client_closing(client->machine, &reason) ||
        (client->state == GREETING && fall_back(client))) { /* an old broker answers in its form */
        return;
    }
    if (reason == TF_MQTT_KEEP_ALIVE_TIMEOUT) {
        tf_cli_say(client->config.run->command, "%s does not answer any more", client->dial.text);
    } else {
        tf_cli_say(client->config.run->command, "%s broke the protocol: %s", client->dial.text,
                   tf_cli_reason(reason, tf_bytes_of(NULL, 0), why, sizeof(why)));
    }
    client->said_goodbye = true;
    client->state = LEAVING;
    tf_cli_run_finish(client->config.run, TF_EXIT_NETWORK);
}

/* ---- bytes ---- */

/* Feeds the machine with what has arrived, as far as it goes. */
static void feed(struct tf_cli_client *client)
{
    size_t at = 0;
    enum tf_err err = TF_OK;
    client->in.need = 0;
    while (at < client->in.length && !err && client->config.run->state == TF_CLI_RUNNING &&
           (client->state == GREETING || client->state == UP)) {
        size_t used = 0, need = 0;
        struct tf_bytes in = tf_bytes_of(client->in.bytes + at, client->in.length - at);
        err = tf_mqtt_client_input(client->machine, in, &used, &need, client->config.run->now);
        at += used;
        client->in.need = err == TF_MORE ? need : 0;
        take_events(client);
    }
    if (client->dial.fd < 0 || client->state < GREETING) {
        return; /* it is another connection by now */
    }
    tf_cli_input_take(&client->in, at);
    if (err == TF_PROTOCOL || err == TF_CLOSED) {
        on_closing(client);
    }
}

static void read_some(struct tf_cli_client *client)
{
    if (client->state == LEAVING) {
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
        fail_memory(client);
        return;
    }
    if (err) {
        int number = errno;
        if (client->state == GREETING && !client->heard && fall_back(client)) {
            return; /* an old broker just closes */
        }
        lost(client, number);
        return;
    }
    client->heard = true;
    feed(client);
}

static void on_io(struct tf_cli_peer *peer, unsigned ready)
{
    struct tf_cli_client *client = client_of(peer);
    if (client->state == CONNECTING) {
        if (dialed(client, tf_cli_dial_ready(&client->dial))) {
            greet(client);
        }
    } else if (client->state != ENDED && (ready & (TF_LOOP_READ | TF_LOOP_HANGUP))) {
        read_some(client);
    }
}

static void on_turn(struct tf_cli_peer *peer)
{
    struct tf_cli_client *client = client_of(peer);
    if (client->state == GREETING || client->state == UP) {
        take_events(client);
        if (client->in.length && client->dial.fd >= 0) {
            feed(client);
        }
    }
    if (client->state == UP && client->config.handler->ready &&
        client->config.run->state == TF_CLI_RUNNING) {
        client->config.handler->ready(client);
        take_events(client);
    }
}

/* Goodbye, once and for all that is up. */
static void leave(struct tf_cli_client *client)
{
    if (client->config.run->state == TF_CLI_RUNNING || client->state >= LEAVING) {
        return;
    }
    if (client->state != UP) {
        close_now(client);
        return;
    }
    debug(client, "disconnecting", "");
    tf_mqtt_client_disconnect(client->machine, TF_MQTT_SUCCESS);
    client->said_goodbye = true;
    client->state = LEAVING;
}

static void on_flush(struct tf_cli_peer *peer)
{
    struct tf_cli_client *client = client_of(peer);
    struct tf_bytes spans[TF_SOCKET_SPANS];
    unsigned interest = TF_LOOP_READ;
    leave(client);
    while (client->state == GREETING || client->state == UP || client->state == LEAVING) {
        size_t sent = 0, count = tf_mqtt_client_output(client->machine, spans, TF_SOCKET_SPANS);
        if (count == 0) {
            break;
        }
        enum tf_err err = tf_socket_writev(client->dial.fd, spans, count, &sent);
        if (err == TF_AGAIN) {
            interest |= TF_LOOP_WRITE;
            break;
        }
        if (err) { /* what the peer said before is still to be read, and tells more */
            if (client->state == LEAVING) {
                lost(client, errno);
            }
            break;
        }
        tf_mqtt_client_sent(client->machine, sent, client->config.run->now);
        client->config.run->touched = true;
    }
    if (client->state == LEAVING && !client->finished && interest == TF_LOOP_READ) {
        tf_socket_finish(client->dial.fd);
        client->finished = true;
    }
    if (client->dial.fd >= 0 && client->state != CONNECTING) {
        tf_loop_change(client->config.run->loop, &client->run_peer.source, interest);
    }
}

/* ---- time ---- */

static tf_time deadline_of(const struct tf_cli_peer *peer)
{
    const struct tf_cli_client *client = client_of((struct tf_cli_peer *)peer);
    switch (client->state) {
    case CONNECTING:
        return TF_MIN(client->dial.end, client->dial.address_end);
    case GREETING:
        return client->dial.end;
    case UP:
        return tf_mqtt_client_deadline(client->machine);
    default:
        return TF_TIME_NEVER;
    }
}

static void on_tick(struct tf_cli_peer *peer)
{
    struct tf_cli_client *client = client_of(peer);
    tf_time now = client->config.run->now;
    if (client->state <= GREETING && now >= client->dial.end) {
        tf_cli_dial_say_late(&client->dial, client->state == CONNECTING ? "connection" : "CONNACK");
        fail(client, TF_EXIT_TIMEOUT);
    } else if (client->state == CONNECTING) {
        (void)dialed(client, tf_cli_dial_tick(&client->dial));
    } else if (client->state == UP && now >= tf_mqtt_client_deadline(client->machine)) {
        tf_mqtt_client_tick(client->machine, now);
        on_closing(client);
    }
}

/* ---- from birth to death ---- */

static bool has_ended(const struct tf_cli_peer *peer)
{
    return client_of((struct tf_cli_peer *)peer)->state == ENDED;
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

enum tf_err tf_cli_client_new(struct tf_cli_client **ret_client,
                              const struct tf_cli_client_config *config)
{
    struct tf_cli_client *client = calloc(1, sizeof(*client));
    if (!client) {
        return TF_NO_MEMORY;
    }
    client->config = *config;
    client->run_peer.ops = &peer_ops;
    client->version = config->options->version;
    tf_cli_make_id(config->run->command, client->id);
    tf_cli_dial_init(&client->dial, config->run, &client->run_peer.source, config->url,
                     config->options->debug);
    tf_list_push_back(&config->run->peers, &client->run_peer.node);
    *ret_client = client;
    start(client);
    return TF_OK;
}

void tf_cli_client_free(struct tf_cli_client *client)
{
    if (!client) {
        return;
    }
    close_now(client);
    tf_list_unlink(&client->run_peer.node);
    free_machine(client);
    free(client->in.bytes);
    free(client);
}
