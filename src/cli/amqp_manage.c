/*
 * Requests to a broker's management node.
 *
 *   the receiver's dynamic node is there --> sender to $management --> request --> answer
 */
#include "cli/amqp_manage.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <trefoil/amqp_message.h>

#include "base/util.h"
#include "cli/amqp_json.h"
#include "cli/cli.h"

#define NODE "$management"
#define ROOM 512u /* of a request, beside its texts */
#define ANSWERS 10u
#define ANSWER_TIMEOUT (30 * TF_SECOND)
#define STATUS_OK 200

struct manage {
    const struct tf_cli_amqp_request *request;
    struct tf_cli_run run;
    struct tf_cli_amqp_client *client;
    struct tf_cli_amqp_link *receiver, *sender;
    json_t *answer;
    bool sent;
};

/* ---- the request ---- */

static void write_text(struct tf_writer *writer, const char *name, const char *value,
                       uint32_t *items)
{
    if (value) {
        tf_amqp_write_string(writer, tf_bytes_str(name));
        tf_amqp_write_string(writer, tf_bytes_str(value));
        *items += 2;
    }
}

static void write_flag(struct tf_writer *writer, const char *name, bool value, uint32_t *items)
{
    if (value) {
        tf_amqp_write_string(writer, tf_bytes_str(name));
        tf_amqp_write_bool(writer, true);
        *items += 2;
    }
}

static void write_request(const struct manage *manage, struct tf_writer *writer)
{
    const struct tf_cli_amqp_request *request = manage->request;
    uint8_t id[16];
    uint32_t items = 0;
    struct tf_writer value = tf_writer_of(id, sizeof(id));
    tf_amqp_write_ulong(&value, 1);
    const struct tf_amqp_properties properties = {
        .message_id = tf_bytes_of(id, tf_writer_length(&value)),
        .has_to = true,
        .to = tf_bytes_str(NODE),
        .has_reply_to = true,
        .reply_to = tf_bytes_str(tf_cli_amqp_link_address(manage->receiver))};
    tf_amqp_write_properties(writer, &properties);
    tf_amqp_write_section(writer, TF_AMQP_APPLICATION_PROPERTIES);
    size_t begin = tf_amqp_write_map_begin(writer);
    write_text(writer, "operation", request->operation, &items);
    write_text(writer, "type", "queue", &items);
    write_text(writer, "name", request->name, &items);
    write_text(writer, "to", request->to, &items);
    if (request->limit) {
        tf_amqp_write_string(writer, tf_bytes_str("limit"));
        tf_amqp_write_ulong(writer, request->limit);
        items += 2;
    }
    write_flag(writer, "if-empty", request->if_empty, &items);
    write_flag(writer, "if-unused", request->if_unused, &items);
    tf_amqp_write_map_end(writer, begin, items);
    tf_amqp_write_section(writer, TF_AMQP_AMQP_VALUE);
    tf_amqp_write_null(writer);
}

static void on_ready(struct tf_cli_amqp_client *client)
{
    struct manage *manage = tf_cli_amqp_ctx(client);
    const struct tf_cli_amqp_request *request = manage->request;
    bool borrowed;
    if (!manage->sender || manage->sent) {
        return;
    }
    size_t size = ROOM + strlen(request->name) + strlen(request->to ? request->to : "") +
                  strlen(tf_cli_amqp_link_address(manage->receiver));
    uint8_t *memory = malloc(size);
    struct tf_writer writer = tf_writer_of(memory, memory ? size : 0);
    if (memory) {
        write_request(manage, &writer);
    }
    struct tf_bytes body = tf_bytes_of(memory, tf_writer_length(&writer));
    const struct tf_amqp_sending sending = {.handle = 1, .body = &body, .body_count = 1};
    enum tf_err err = !memory || writer.failed
                          ? TF_NO_MEMORY
                          : tf_cli_amqp_send(manage->sender, &sending, &borrowed);
    free(memory);
    manage->sent = err == TF_OK;
    if (err && err != TF_AGAIN && err != TF_CLOSED) {
        tf_cli_run_fail(&manage->run, TF_EXIT_INTERNAL, "cannot ask: %s", tf_err_name(err));
    }
}

/* ---- what comes ---- */

static void on_up(struct tf_cli_amqp_client *client)
{
    struct manage *manage = tf_cli_amqp_ctx(client);
    const struct tf_cli_amqp_terms terms = {.role = TF_AMQP_RECEIVER,
                                            .snd_settle_mode = TF_AMQP_SND_SETTLED,
                                            .dynamic = true,
                                            .ctx = manage};
    if (tf_cli_amqp_attach(client, &terms, &manage->receiver)) {
        tf_cli_run_fail(&manage->run, TF_EXIT_INTERNAL, "no memory");
        return;
    }
    tf_cli_amqp_credit(manage->receiver, ANSWERS, false);
}

static void on_attached(struct tf_cli_amqp_link *link, const struct tf_amqp_attach *attach)
{
    struct manage *manage = tf_cli_amqp_link_ctx(link);
    const struct tf_cli_amqp_terms terms = {.address = NODE, .role = TF_AMQP_SENDER, .ctx = manage};
    (void)attach;
    if (link == manage->receiver && tf_cli_amqp_attach(manage->client, &terms, &manage->sender)) {
        tf_cli_run_fail(&manage->run, TF_EXIT_INTERNAL, "no memory");
    }
}

static void on_detached(struct tf_cli_amqp_link *link, const struct tf_amqp_error *error)
{
    struct manage *manage = tf_cli_amqp_link_ctx(link);
    char why[TF_CLI_AMQP_WHY];
    tf_cli_run_fail(&manage->run, TF_EXIT_REFUSED, "%s lets nobody manage its queues by %s: %s",
                    tf_cli_amqp_peer(manage->client), NODE,
                    tf_cli_amqp_why(error, why, sizeof(why)));
}

static void on_outcome(struct tf_cli_amqp_link *link, uint64_t handle,
                       const struct tf_amqp_state *state)
{
    struct manage *manage = tf_cli_amqp_link_ctx(link);
    char why[TF_CLI_AMQP_WHY];
    (void)handle;
    if (state->type != TF_AMQP_STATE_ACCEPTED) {
        tf_cli_run_fail(&manage->run, TF_EXIT_REFUSED, "%s did not take the request: %s",
                        tf_cli_amqp_peer(manage->client),
                        tf_cli_amqp_why(&state->error, why, sizeof(why)));
    }
}

/* The answer's status; below 0: it has none. */
static int64_t status_of(const struct tf_amqp_message *message, struct tf_bytes *ret_words)
{
    struct tf_bytes map = message->application_properties;
    struct tf_amqp_value code, words;
    *ret_words = tf_bytes_of(NULL, 0);
    if (tf_amqp_map_find(map, tf_bytes_str("statusDescription"), &words) &&
        words.type == TF_AMQP_STRING) {
        *ret_words = words.bytes;
    }
    if (!tf_amqp_map_find(map, tf_bytes_str("statusCode"), &code) || code.type < TF_AMQP_UBYTE ||
        code.type > TF_AMQP_LONG) {
        return -1;
    }
    return code.integer;
}

static void on_message(struct tf_cli_amqp_link *link, const struct tf_cli_amqp_delivery *delivery)
{
    static const struct tf_amqp_state accepted = {.type = TF_AMQP_STATE_ACCEPTED};
    struct manage *manage = tf_cli_amqp_link_ctx(link);
    struct tf_amqp_message message;
    enum tf_amqp_condition condition;
    struct tf_amqp_value value;
    struct tf_bytes words;
    if (!delivery->settled) {
        tf_cli_amqp_dispose(manage->client, delivery->number, &accepted, true);
    }
    bool read = tf_amqp_message_read(delivery->message, &message, &condition) == TF_OK;
    int64_t status = read ? status_of(&message, &words) : -1;
    if (status < 0) {
        tf_cli_run_fail(&manage->run, TF_EXIT_REFUSED, "%s has sent no answer that can be read",
                        tf_cli_amqp_peer(manage->client));
        return;
    }
    if (status != STATUS_OK) {
        struct tf_amqp_error error = {.condition = TF_AMQP_OTHER_ERROR, .symbol = words};
        char why[TF_CLI_AMQP_WHY];
        const char *to = manage->request->to;
        tf_cli_run_fail(&manage->run, TF_EXIT_REFUSED, "%s%s%s: %s (%lld)", manage->request->name,
                        to ? " to " : "", to ? to : "", tf_cli_amqp_why(&error, why, sizeof(why)),
                        (long long)status);
        return;
    }
    bool map = message.body_type == TF_AMQP_BODY_VALUE &&
               !tf_amqp_value_of(message.value, &value) && value.type == TF_AMQP_MAP;
    manage->answer = map ? tf_cli_amqp_json(&value) : json_object();
    tf_cli_run_finish(&manage->run, manage->answer ? TF_EXIT_DONE : TF_EXIT_INTERNAL);
}

/* ---- the whole ---- */

int tf_cli_amqp_manage(const struct tf_cli_amqp_plain *plain, const struct tf_cli_url *url,
                       const struct tf_cli_amqp_request *request, json_t **ret_answer)
{
    static const struct tf_cli_amqp_handler handler = {.up = on_up,
                                                       .attached = on_attached,
                                                       .detached = on_detached,
                                                       .message = on_message,
                                                       .outcome = on_outcome,
                                                       .ready = on_ready};
    struct manage manage = {.request = request};
    const char *name = plain->manual->name;
    const struct tf_cli_amqp_client_config config = {.run = &manage.run,
                                                     .url = url,
                                                     .options = plain->connection,
                                                     .handler = &handler,
                                                     .ctx = &manage};
    tf_time given = plain->connection->timeout_us;
    int code = TF_EXIT_INTERNAL;
    if (tf_cli_run_init(&manage.run, name, NULL, given ? given : ANSWER_TIMEOUT)) {
        tf_cli_say(name, "the system has no event loop to give: %s", strerror(errno));
        return code;
    }
    if (tf_cli_amqp_client_new(&manage.client, &config)) {
        tf_cli_say(name, "no memory");
    } else {
        code = tf_cli_run_loop(&manage.run);
    }
    tf_cli_amqp_client_free(manage.client);
    tf_cli_run_release(&manage.run);
    if (code == TF_EXIT_DONE && !manage.answer) { /* it was interrupted */
        tf_cli_say(name, "%s: there was no answer yet", request->name);
        code = TF_EXIT_NETWORK;
    }
    if (code != TF_EXIT_DONE) {
        json_decref(manage.answer);
        return code;
    }
    *ret_answer = manage.answer;
    return code;
}
