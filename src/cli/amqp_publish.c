/*
 * `pub` of amqp:// URLs: one link that sends.
 *
 * A message is the sections that all have in common, made once, and a data section of its own. It
 * has done its work when every message has been handed to the system (QoS 0) or has got its
 * outcome: only `accepted` is good.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <trefoil/amqp_message.h>

#include "base/util.h"
#include "cli/amqp_plain.h"
#include "cli/cli.h"
#include "cli/lines.h"

#define REFUSALS_SHOWN 10
#define DATA_HEAD 8u       /* bytes of a data section before its content */
#define SECTIONS_ROOM 512u /* of all that is not the user's, and of each property's head */
#define RETAIN "x-opt-retain-message"

/* A data section; lives until the machine has given it back. */
struct data {
    struct tf_list_node node;
    struct tf_bytes bytes;
    uint8_t memory[];
};

struct publisher {
    const struct tf_cli_amqp_publish *publish;
    struct tf_cli_url url;
    struct tf_cli_run run;
    struct tf_cli_amqp_client *client;
    struct tf_cli_amqp_link *link;
    struct tf_cli_lines lines;
    uint8_t *sections; /* what stands before the data */
    size_t sections_length;
    struct data *data;      /* the one message's */
    struct tf_list sending; /* data of lines */
    uint64_t left;          /* how often the one message is still to be sent */
    uint64_t sent, open, refused;
    tf_time next_at;
};

/* ---- the message ---- */

static void write_annotations(struct tf_writer *writer)
{
    tf_amqp_write_section(writer, TF_AMQP_MESSAGE_ANNOTATIONS);
    size_t begin = tf_amqp_write_map_begin(writer);
    tf_amqp_write_symbol(writer, tf_bytes_str(RETAIN));
    tf_amqp_write_bool(writer, true);
    tf_amqp_write_map_end(writer, begin, 2);
}

static void write_application_properties(const struct tf_cli_amqp_publish *publish,
                                         struct tf_writer *writer)
{
    tf_amqp_write_section(writer, TF_AMQP_APPLICATION_PROPERTIES);
    size_t begin = tf_amqp_write_map_begin(writer);
    for (size_t i = 0; i < publish->property_count; i++) {
        const char *property = publish->properties[i], *equals = strchr(property, '=');
        tf_amqp_write_string(writer, tf_bytes_of(property, (size_t)(equals - property)));
        tf_amqp_write_string(writer, tf_bytes_str(equals + 1));
    }
    tf_amqp_write_map_end(writer, begin, (uint32_t)(2 * publish->property_count));
}

static void write_sections(const struct tf_cli_amqp_publish *publish, const char *address,
                           struct tf_writer *writer)
{
    uint8_t buffer[16];
    struct tf_amqp_properties properties = {
        .has_to = true, /* whoever reads many addresses by one link sees which it was */
        .to = tf_bytes_str(address),
        .has_reply_to = publish->reply_to != NULL,
        .reply_to = tf_bytes_str(publish->reply_to ? publish->reply_to : ""),
        .content_type = tf_bytes_str(publish->content_type ? publish->content_type : "")};
    const struct tf_amqp_header header = {
        .durable = publish->plain.qos > 0,
        .priority = TF_AMQP_PRIORITY_DEFAULT,
        .has_ttl = publish->expiry_given,
        .ttl_ms = (uint32_t)TF_MIN(publish->expiry_s * UINT64_C(1000), (uint64_t)UINT32_MAX)};
    size_t length = strlen(publish->correlation ? publish->correlation : "");
    uint8_t *correlation = length + 8 > sizeof(buffer) ? malloc(length + 8) : buffer;
    if (!correlation) {
        writer->failed = true;
        return;
    }
    if (publish->correlation) { /* an encoded string (3.2.4) */
        struct tf_writer value = tf_writer_of(correlation, length + 8);
        tf_amqp_write_string(&value, tf_bytes_str(publish->correlation));
        properties.correlation_id = tf_bytes_of(correlation, tf_writer_length(&value));
    }
    if (header.durable || header.has_ttl) {
        tf_amqp_write_header(writer, &header);
    }
    if (publish->retain) {
        write_annotations(writer);
    }
    tf_amqp_write_properties(writer, &properties);
    if (publish->property_count) {
        write_application_properties(publish, writer);
    }
    if (correlation != buffer) {
        free(correlation);
    }
}

/* The sections that all messages have in common. */
static int make_sections(struct publisher *publisher)
{
    const struct tf_cli_amqp_publish *publish = publisher->publish;
    const char *const texts[] = {publish->content_type, publish->reply_to, publish->correlation,
                                 publisher->url.address};
    size_t size = SECTIONS_ROOM;
    for (size_t i = 0; i < TF_COUNT(texts); i++) {
        size += texts[i] ? strlen(texts[i]) : 0;
    }
    for (size_t i = 0; i < publish->property_count; i++) {
        size += strlen(publish->properties[i]) + SECTIONS_ROOM;
    }
    publisher->sections = malloc(size);
    struct tf_writer writer = tf_writer_of(publisher->sections, publisher->sections ? size : 0);
    write_sections(publish, publisher->url.address, &writer);
    publisher->sections_length = tf_writer_length(&writer);
    if (!publisher->sections || writer.failed) {
        tf_cli_run_say(&publisher->run, "no memory");
        return TF_EXIT_INTERNAL;
    }
    return -1;
}

/* A data section of these bytes; NULL: no memory. */
static struct data *data_new(struct tf_bytes content)
{
    struct data *data = calloc(1, sizeof(*data) + DATA_HEAD + content.length);
    if (!data) {
        return NULL;
    }
    struct tf_writer writer = tf_writer_of(data->memory, DATA_HEAD + content.length);
    tf_amqp_write_data_head(&writer, content.length);
    tf_write_bytes(&writer, content);
    data->bytes = tf_bytes_of(data->memory, tf_writer_length(&writer));
    return data;
}

/* ---- sending ---- */

/* Sends a message; `owner` names its data. False: not now, or the run has ended. */
static bool send(struct publisher *publisher, const struct data *data, bool *ret_borrowed)
{
    const struct tf_cli_amqp_publish *publish = publisher->publish;
    const struct tf_amqp_sending sending = {
        .handle = publisher->sent + 1,
        .owner = (uint64_t)(uintptr_t)data,
        .prefix = tf_bytes_of(publisher->sections, publisher->sections_length),
        .body = &data->bytes,
        .body_count = 1,
        .settled = publish->plain.qos == 0};
    *ret_borrowed = false;
    enum tf_err err = tf_cli_amqp_send(publisher->link, &sending, ret_borrowed);
    switch (err) {
    case TF_OK:
        publisher->sent++;
        publisher->open += publish->plain.qos > 0;
        return true;
    case TF_AGAIN:
    case TF_CLOSED: /* the connection tells why */
        return false;
    case TF_LIMIT:
        tf_cli_run_fail(&publisher->run, TF_EXIT_REFUSED, "%s does not take a message of %zu bytes",
                        tf_cli_amqp_peer(publisher->client), data->bytes.length);
        return false;
    default:
        tf_cli_run_fail(&publisher->run, TF_EXIT_INTERNAL, "cannot publish: %s", tf_err_name(err));
        return false;
    }
}

static bool send_line(void *ctx, struct tf_bytes line)
{
    struct publisher *publisher = ctx;
    bool borrowed;
    struct data *data = data_new(line);
    if (!data) {
        tf_cli_run_fail(&publisher->run, TF_EXIT_INTERNAL, "no memory");
        return false;
    }
    bool done = send(publisher, data, &borrowed);
    if (borrowed) {
        tf_list_push_back(&publisher->sending, &data->node);
    } else {
        free(data);
    }
    return done;
}

/* All lines that are there, as far as the broker takes them. True: nothing is left. */
static bool send_lines(struct publisher *publisher)
{
    bool taken = tf_cli_lines_pass(&publisher->lines, send_line, publisher);
    tf_cli_run_want_input(&publisher->run, taken && !publisher->lines.over);
    return taken && publisher->lines.over;
}

/* The one message, as often as is wanted. True: nothing is left. */
static bool send_repeats(struct publisher *publisher)
{
    bool borrowed;
    while (publisher->left) {
        if (publisher->next_at > publisher->run.now) {
            tf_cli_run_timer(&publisher->run, publisher->next_at);
            return false;
        }
        if (!send(publisher, publisher->data, &borrowed)) {
            return false;
        }
        publisher->left--;
        if (publisher->publish->repeat_delay_us) {
            publisher->next_at =
                tf_time_add(publisher->run.now, publisher->publish->repeat_delay_us);
        }
    }
    return true;
}

static void on_ready(struct tf_cli_amqp_client *client)
{
    struct publisher *publisher = tf_cli_amqp_ctx(client);
    bool all = publisher->publish->lines ? send_lines(publisher) : send_repeats(publisher);
    if (all && publisher->open == 0 && tf_cli_amqp_written(client)) {
        if (publisher->refused > REFUSALS_SHOWN) {
            tf_cli_run_say(&publisher->run, "%llu of %llu messages were refused",
                           (unsigned long long)publisher->refused,
                           (unsigned long long)publisher->sent);
        }
        tf_cli_run_finish(&publisher->run, publisher->refused ? TF_EXIT_REFUSED : TF_EXIT_DONE);
    }
}

/* ---- what comes ---- */

static void on_up(struct tf_cli_amqp_client *client)
{
    struct publisher *publisher = tf_cli_amqp_ctx(client);
    uint8_t qos = publisher->publish->plain.qos;
    const struct tf_cli_amqp_terms terms = {
        .address = publisher->url.address,
        .role = TF_AMQP_SENDER,
        .snd_settle_mode = qos ? TF_AMQP_SND_UNSETTLED : TF_AMQP_SND_SETTLED,
        .rcv_settle_mode = qos == 2 ? TF_AMQP_RCV_SECOND : TF_AMQP_RCV_FIRST};
    if (tf_cli_amqp_attach(client, &terms, &publisher->link)) {
        tf_cli_run_fail(&publisher->run, TF_EXIT_INTERNAL, "no memory");
    }
}

/* 3.4: what became of a message. */
static void on_outcome(struct tf_cli_amqp_link *link, uint64_t handle,
                       const struct tf_amqp_state *state)
{
    struct publisher *publisher = tf_cli_amqp_ctx(tf_cli_amqp_link_client(link));
    char why[TF_CLI_AMQP_WHY] = "";
    publisher->open--;
    if (state->type == TF_AMQP_STATE_ACCEPTED) {
        return;
    }
    const char *what = state->type == TF_AMQP_STATE_REJECTED ? "rejected: "
                       : state->type == TF_AMQP_STATE_RELEASED
                           ? "released: nothing takes messages of this address"
                       : state->type != TF_AMQP_STATE_MODIFIED ? "settled without an outcome"
                       : state->undeliverable_here             ? "modified: undeliverable here"
                                                               : "modified: the delivery failed";
    if (state->type == TF_AMQP_STATE_REJECTED) {
        tf_cli_amqp_why(&state->error, why, sizeof(why));
    }
    publisher->refused++;
    if (publisher->refused <= REFUSALS_SHOWN) {
        tf_cli_run_say(&publisher->run, "%s refused message %llu: %s%s",
                       tf_cli_amqp_peer(publisher->client), (unsigned long long)handle, what, why);
    }
}

static void on_returned(struct tf_cli_amqp_client *client, uint64_t owner)
{
    struct publisher *publisher = tf_cli_amqp_ctx(client);
    struct data *data = (struct data *)(uintptr_t)owner;
    if (data != publisher->data) {
        tf_list_remove(&data->node);
        free(data);
    }
}

static void on_input(void *ctx)
{
    struct publisher *publisher = ctx;
    tf_cli_lines_input(&publisher->lines, &publisher->run);
}

static void on_timer(void *ctx)
{
    (void)ctx; /* what it was set for is done in the turn that follows */
}

/* ---- the command ---- */

static int prepare(struct publisher *publisher, const char *url)
{
    const struct tf_cli_amqp_publish *publish = publisher->publish;
    const struct tf_cli_manual *manual = publish->plain.manual;
    char why[TF_CLI_URL_WHY];
    uint8_t *memory = NULL;
    struct tf_bytes body;
    if (tf_cli_url_parse_amqp(url, &publisher->url, why)) {
        return tf_cli_misuse(manual, "%s", why);
    }
    if (!publisher->url.address[0]) {
        return tf_cli_misuse(manual, "the URL has no address: amqp://HOST/ADDRESS");
    }
    publisher->left = publish->repeat;
    if (publish->lines) {
        return make_sections(publisher);
    }
    int code = tf_cli_coap_source_read(&publish->source, manual, &memory, &body);
    if (code < 0) {
        publisher->data = data_new(body);
        code = publisher->data ? make_sections(publisher) : TF_EXIT_INTERNAL;
    }
    free(memory);
    return code;
}

static int run_publisher(struct publisher *publisher)
{
    static const struct tf_cli_amqp_handler handler = {
        .up = on_up, .outcome = on_outcome, .returned = on_returned, .ready = on_ready};
    const struct tf_cli_task task = {.timer = on_timer, .input = on_input, .ctx = publisher};
    const struct tf_cli_amqp_client_config config = {.run = &publisher->run,
                                                     .url = &publisher->url,
                                                     .options =
                                                         publisher->publish->plain.connection,
                                                     .handler = &handler,
                                                     .ctx = publisher};
    int code = TF_EXIT_INTERNAL;
    if (tf_cli_run_init(&publisher->run, "pub", &task, config.options->timeout_us)) {
        tf_cli_say("pub", "the system has no event loop to give: %s", strerror(errno));
        return code;
    }
    if (tf_cli_amqp_client_new(&publisher->client, &config)) {
        tf_cli_say("pub", "no memory");
    } else {
        code = tf_cli_run_loop(&publisher->run);
    }
    tf_cli_amqp_client_free(publisher->client);
    tf_cli_run_release(&publisher->run);
    return code;
}

int tf_cli_amqp_publish(const struct tf_cli_amqp_publish *publish, const char *url)
{
    struct publisher publisher = {.publish = publish, .run = {.command = "pub"}};
    struct tf_list_node *node;
    tf_list_init(&publisher.sending);
    int code = prepare(&publisher, url);
    if (code < 0) {
        code = run_publisher(&publisher);
    }
    while ((node = tf_list_first(&publisher.sending))) {
        tf_list_remove(node);
        free(tf_container_of(node, struct data, node));
    }
    tf_cli_lines_release(&publisher.lines);
    tf_cli_url_release(&publisher.url);
    free(publisher.sections);
    free(publisher.data);
    return code;
}
