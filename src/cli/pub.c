/*
 * `trefoil pub`: publishes one message, or one for each line of standard input.
 *
 * It has done its work when every message has been handed to the system (QoS 0) or acknowledged by
 * the broker (QoS 1 and 2). Bodies that the client machine borrows live until it returns them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "cli/amqp_plain.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/coap_plain.h"
#include "cli/help.h"
#include "cli/lines.h"
#include "port/clock.h"
#include "port/input.h"

#define STDIN 0
#define READ_SIZE ((size_t)64 * 1024)
#define REFUSALS_SHOWN 10

enum key { KEY_EXPIRY = TF_CLI_KEY_OWN + 1, KEY_RESPONSE, KEY_CORRELATION, KEY_REPEAT, KEY_DELAY };

enum source { SOURCE_NONE, SOURCE_TEXT, SOURCE_FILE, SOURCE_STDIN, SOURCE_LINES, SOURCE_EMPTY };

/* What the command line says. */
struct arguments {
    struct tf_cli_connection_options connection;
    enum source source;
    const char *text; /* of SOURCE_TEXT and SOURCE_FILE */
    const char *content_type, *response, *correlation;
    const char **properties; /* NAME=VALUE */
    size_t property_count;
    uint64_t repeat;
    tf_time repeat_delay_us;
    uint32_t expiry_s;
    uint8_t qos;
    bool expiry_given, repeat_given, qos_given, retain;
};

struct pub {
    struct arguments arguments;
    struct tf_cli_url url;
    struct tf_cli_run run;
    struct tf_cli_client *client;
    uint8_t *properties; /* a section of PUBLISH */
    size_t property_length;
    uint8_t *body; /* the one message */
    size_t body_length, body_size;
    struct tf_cli_lines lines;
    uint64_t left; /* how often the one message is still to be sent */
    uint64_t sent, open, refused;
    tf_time next_at; /* --repeat-delay: when it may be sent again */
    bool input_over;
    bool warned;
};

/* ---- the manual ---- */

static const struct tf_cli_option message_options[] = {
    {'m', "message", "TEXT", "the body"},
    {'f', "file", "FILE", "the body is what FILE holds"},
    {'s', "stdin", NULL, "the body is all of standard input"},
    {'l', "lines", NULL, "a message for each line of standard input, as it comes"},
    {'n', "empty", NULL, "an empty body; with --retain it removes the retained message"},
    {'q', "qos", "0|1|2",
     "0 (default): at most once; 1: at least once; 2: exactly once. At 1 and 2 the broker's "
     "acknowledgement is waited for. CoAP: 0 NON, 1 (default) CON. AMQP: 0 pre-settled, 1 "
     "(default) the receiver settles first, 2 second; a message at 1 or 2 is durable"},
    {'r', "retain", NULL,
     "keep it as the value of the address, which CoAP does anyway; AMQP: the annotation "
     "x-opt-retain-message"},
    {'t', "type", "TYPE", "its content type, such as text/plain (5.0, CoAP, AMQP)"},
    {'P', "property", "NAME=VALUE",
     "a user property (5.0), an application property (AMQP); may be repeated"},
    {KEY_EXPIRY, "expiry", "SECONDS", "the broker drops it after that time (5.0, AMQP: ttl)"},
    {KEY_RESPONSE, "response", "ADDRESS", "where an answer is to go (5.0, AMQP: reply-to)"},
    {KEY_CORRELATION, "correlation", "TEXT",
     "what an answer is to repeat (5.0, AMQP: correlation-id)"},
};

static const struct tf_cli_option run_options[] = {
    {KEY_REPEAT, "repeat", "COUNT", "publish it COUNT times"},
    {KEY_DELAY, "repeat-delay", "SECONDS", "wait so long between two times; such as 0.5"},
    {'W', "timeout", "SECONDS",
     "give up when it is not done after that time; by default connecting may take 30, and the rest "
     "for ever"},
    {'v', "verbose", NULL, "say what happens, as --debug does"},
};

static const struct tf_cli_group message_group = {"Message", message_options,
                                                  TF_COUNT(message_options)};
static const struct tf_cli_group run_group = {"Run", run_options, TF_COUNT(run_options)};
static const struct tf_cli_group *const groups[] = {&message_group, &run_group,
                                                    &tf_cli_connection_group, &tf_cli_will_group};

static const struct tf_cli_example examples[] = {
    {"trefoil pub mqtt://localhost/home/kitchen/temperature -m 21.5 -r",
     "Sets the value of an address: the message is retained."},
    {"echo '{\"on\":true}' | trefoil pub mqtt://broker/lamp/1 -s -q 1 -t application/json",
     "Publishes what another program writes, and waits until the broker has it."},
    {"tail -f log | trefoil pub mqtt://broker/log -l", "A message a line, as they come."},
    {"trefoil pub mqtt://localhost/home/kitchen/temperature -n -r", "Removes the value."},
    {"trefoil pub coap://localhost/home/kitchen/temperature -m 21.5", "Sets it by CoAP, a PUT."},
    {"trefoil pub amqp://localhost/orders -f order.json -t application/json -P shop=7",
     "Puts a message into the queue `orders` by AMQP, and waits until it is accepted."},
};

const struct tf_cli_manual tf_cli_pub_manual = {
    .name = "pub",
    .usage = "URL (-m TEXT | -f FILE | -s | -l | -n) [OPTION]...",
    .summary = "publish messages",
    .text = "URL is mqtt://[USER[:PASSWORD]@]HOST[:PORT]/ADDRESS. What follows the slash is the "
            "address, literally and percent-decoded. Or it is coap://HOST[:PORT]/PATH[?QUERY], "
            "which is set with PUT; -n -r removes it with DELETE, and what only MQTT has is "
            "refused. `trefoil coap` does all the rest of CoAP. Or it is "
            "amqp://[USER[:PASSWORD]@]HOST[:PORT]/ADDRESS, an AMQP 1.0 broker's node: of Trefoil's "
            "`x` is the queue and address x, `queue://x` the queue alone, `topic://x` the address "
            "alone.",
    .groups = groups,
    .group_count = TF_COUNT(groups),
    .after = "Exit: 0 published; 1 internal; 2 command line; 3 network; 4 not let in; 5 refused by "
             "the broker, which says why; 6 time-out. AMQP: 0 only if all messages were accepted.",
    .examples = examples,
    .example_count = TF_COUNT(examples)};

#define MANUAL (&tf_cli_pub_manual)

/* ---- the command line ---- */

static int take_source(struct arguments *arguments, enum source source, const char *text)
{
    if (arguments->source != SOURCE_NONE) {
        return tf_cli_misuse(MANUAL, "only one of -m, -f, -s, -l and -n says what the body is");
    }
    arguments->source = source;
    arguments->text = text;
    return -1;
}

static int take_property(struct arguments *arguments, const char *value)
{
    const char *equals = strchr(value, '=');
    if (!equals || equals == value) {
        return tf_cli_misuse(MANUAL, "--property takes NAME=VALUE, not \"%.60s\"", value);
    }
    const char **properties =
        realloc(arguments->properties, (arguments->property_count + 1) * sizeof(*properties));
    if (!properties) {
        tf_cli_say("pub", "no memory");
        return TF_EXIT_INTERNAL;
    }
    properties[arguments->property_count++] = value;
    arguments->properties = properties;
    return -1;
}

static int take_number(struct arguments *arguments, int key, const char *value)
{
    unsigned long long number = 0;
    int code;
    switch (key) {
    case 'q':
        code = tf_cli_number(MANUAL, "--qos", value, 0, 2, &number);
        arguments->qos = (uint8_t)number;
        arguments->qos_given = true;
        return code;
    case KEY_EXPIRY:
        code = tf_cli_number(MANUAL, "--expiry", value, 0, UINT32_MAX, &number);
        arguments->expiry_s = (uint32_t)number;
        arguments->expiry_given = true;
        return code;
    case KEY_REPEAT:
        code = tf_cli_number(MANUAL, "--repeat", value, 1, UINT32_MAX, &number);
        arguments->repeat = number;
        arguments->repeat_given = true;
        return code;
    case KEY_DELAY:
        return tf_cli_seconds(MANUAL, "--repeat-delay", value, &arguments->repeat_delay_us);
    default:
        return tf_cli_seconds(MANUAL, "--timeout", value, &arguments->connection.timeout_us);
    }
}

static int take(void *ctx, int key, const char *value)
{
    struct arguments *arguments = ctx;
    switch (key) {
    case 'm':
        return take_source(arguments, SOURCE_TEXT, value);
    case 'f':
        return take_source(arguments, SOURCE_FILE, value);
    case 's':
        return take_source(arguments, SOURCE_STDIN, NULL);
    case 'l':
        return take_source(arguments, SOURCE_LINES, NULL);
    case 'n':
        return take_source(arguments, SOURCE_EMPTY, NULL);
    case 'r':
        arguments->retain = true;
        return -1;
    case 't':
        arguments->content_type = value;
        return -1;
    case 'P':
        return take_property(arguments, value);
    case KEY_RESPONSE:
        arguments->response = value;
        return -1;
    case KEY_CORRELATION:
        arguments->correlation = value;
        return -1;
    case 'v':
        arguments->connection.debug = true;
        return -1;
    case 'q':
    case 'W':
    case KEY_EXPIRY:
    case KEY_REPEAT:
    case KEY_DELAY:
        return take_number(arguments, key, value);
    default:
        return tf_cli_options_take(&arguments->connection, MANUAL, key, value);
    }
}

/* The first option that 3.1.1 has nothing for; NULL: none. */
static const char *needs_5(const struct arguments *arguments)
{
    return arguments->content_type     ? "--type"
           : arguments->property_count ? "--property"
           : arguments->expiry_given   ? "--expiry"
           : arguments->response       ? "--response"
           : arguments->correlation    ? "--correlation"
                                       : NULL;
}

static int check(const struct arguments *arguments)
{
    const char *needs = needs_5(arguments);
    if (arguments->source == SOURCE_NONE) {
        return tf_cli_misuse(MANUAL, "the body is missing: -m TEXT, -f FILE, -s, -l, or -n for an "
                                     "empty one");
    }
    if (arguments->source == SOURCE_LINES &&
        (arguments->repeat_given || arguments->repeat_delay_us)) {
        return tf_cli_misuse(MANUAL, "--repeat and --lines do not go together");
    }
    if (needs && arguments->connection.version < TF_MQTT_5) {
        return tf_cli_misuse(MANUAL, "MQTT 3.1.1 has no %s: leave it out, or --mqtt-version",
                             needs);
    }
    if (arguments->response && !tf_mqtt_topic_valid(tf_bytes_str(arguments->response))) {
        return tf_cli_misuse(MANUAL, "--response takes an address without + and #");
    }
    return tf_cli_options_check(&arguments->connection, MANUAL);
}

/* The URL, and that something can be published to it. */
static int take_url(struct pub *pub, const char *text)
{
    char why[TF_CLI_URL_WHY];
    enum tf_err err = tf_cli_url_parse(text, &pub->url, why);
    if (err) {
        return tf_cli_misuse(MANUAL, "%s", why);
    }
    if (!pub->url.address[0]) {
        return tf_cli_misuse(MANUAL, "the URL has no address: %s://HOST/ADDRESS", "mqtt");
    }
    if (!tf_mqtt_topic_valid(tf_bytes_str(pub->url.address))) {
        return tf_cli_misuse(MANUAL, "nothing can be published to \"%.100s\": %s", pub->url.address,
                             strpbrk(pub->url.address, "+#") ? "+ and # are for subscribing"
                                                             : "it is longer than 65535 bytes");
    }
    return -1;
}

/* ---- properties ---- */

static size_t list_properties(const struct arguments *arguments, struct tf_mqtt_property *ret_list)
{
    size_t count = 0;
    if (arguments->content_type) {
        ret_list[count++] = (struct tf_mqtt_property){
            .id = TF_MQTT_CONTENT_TYPE, .value = tf_bytes_str(arguments->content_type)};
    }
    if (arguments->response) {
        ret_list[count++] = (struct tf_mqtt_property){.id = TF_MQTT_RESPONSE_TOPIC,
                                                      .value = tf_bytes_str(arguments->response)};
    }
    if (arguments->correlation) {
        ret_list[count++] = (struct tf_mqtt_property){
            .id = TF_MQTT_CORRELATION_DATA, .value = tf_bytes_str(arguments->correlation)};
    }
    for (size_t i = 0; i < arguments->property_count; i++) {
        const char *equals = strchr(arguments->properties[i], '=');
        ret_list[count++] = (struct tf_mqtt_property){
            .id = TF_MQTT_USER_PROPERTY,
            .name =
                tf_bytes_of(arguments->properties[i], (size_t)(equals - arguments->properties[i])),
            .value = tf_bytes_str(equals + 1)};
    }
    return count;
}

static int make_properties(struct pub *pub)
{
    size_t length = 0, count;
    uint8_t reason = 0;
    struct tf_mqtt_property *list = calloc(pub->arguments.property_count + 3, sizeof(*list));
    if (!list) {
        return TF_EXIT_INTERNAL;
    }
    count = list_properties(&pub->arguments, list);
    for (size_t i = 0; i < count; i++) {
        length += tf_mqtt_property_size(&list[i]);
    }
    pub->properties = malloc(length + 1);
    if (!pub->properties) {
        free(list);
        return TF_EXIT_INTERNAL;
    }
    struct tf_writer writer = tf_writer_of(pub->properties, length);
    for (size_t i = 0; i < count; i++) {
        tf_mqtt_property_write(&writer, &list[i]);
    }
    free(list);
    pub->property_length = tf_writer_length(&writer);
    if (writer.failed ||
        tf_mqtt_properties_check(tf_bytes_of(pub->properties, length), TF_MQTT_PUBLISH, &reason)) {
        return tf_cli_misuse(MANUAL, "a --type, --property or --correlation is longer than 65535 "
                                     "bytes, or is no UTF-8");
    }
    return -1;
}

/* ---- the body ---- */

static enum tf_err reserve(struct pub *pub, size_t more)
{
    size_t size = TF_MAX(pub->body_size, READ_SIZE);
    if (pub->body_size - pub->body_length >= more) {
        return TF_OK;
    }
    while (size - pub->body_length < more) {
        size *= 2;
    }
    if (size > (size_t)2 * TF_MQTT_LENGTH_MAX) {
        return TF_LIMIT;
    }
    uint8_t *body = realloc(pub->body, size);
    if (!body) {
        return TF_NO_MEMORY;
    }
    pub->body = body;
    pub->body_size = size;
    return TF_OK;
}

static int read_file(struct pub *pub)
{
    FILE *file = fopen(pub->arguments.text, "rb");
    int code = -1;
    if (!file) {
        return tf_cli_misuse(MANUAL, "cannot read %.200s: %s", pub->arguments.text,
                             strerror(errno));
    }
    while (!feof(file) && code < 0) {
        if (reserve(pub, READ_SIZE)) {
            code = tf_cli_misuse(MANUAL, "%.200s is too large for a message", pub->arguments.text);
            break;
        }
        pub->body_length += fread(pub->body + pub->body_length, 1, READ_SIZE, file);
        if (ferror(file)) {
            code = tf_cli_misuse(MANUAL, "cannot read %.200s: %s", pub->arguments.text,
                                 strerror(errno));
        }
    }
    if (fclose(file)) {
        code = TF_EXIT_INTERNAL;
    }
    return code;
}

static int make_body(struct pub *pub)
{
    const struct arguments *arguments = &pub->arguments;
    pub->left = arguments->repeat_given ? arguments->repeat : 1;
    pub->input_over = arguments->source != SOURCE_STDIN && arguments->source != SOURCE_LINES;
    if (arguments->source == SOURCE_FILE) {
        return read_file(pub);
    }
    if (arguments->source == SOURCE_TEXT) {
        size_t length = strlen(arguments->text);
        if (reserve(pub, length)) {
            return TF_EXIT_INTERNAL;
        }
        memcpy(pub->body, arguments->text, length);
        pub->body_length = length;
    }
    return -1;
}

/* Standard input can be read. */
static void on_input(void *ctx)
{
    struct pub *pub = ctx;
    size_t got = 0;
    enum tf_err err;
    if (pub->arguments.source == SOURCE_LINES) {
        tf_cli_lines_input(&pub->lines, &pub->run);
        pub->input_over = pub->lines.over;
        return;
    }
    err = reserve(pub, READ_SIZE);
    if (!err) {
        err = tf_input_read(STDIN, pub->body + pub->body_length, READ_SIZE, &got);
    }
    pub->input_over = err == TF_CLOSED;
    pub->body_length += got;
    pub->run.touched = pub->run.touched || pub->input_over;
    if (err == TF_LIMIT || err == TF_NO_MEMORY) {
        tf_cli_run_fail(&pub->run, TF_EXIT_INTERNAL,
                        "standard input holds more than a message can");
    } else if (err && err != TF_AGAIN && err != TF_CLOSED) {
        tf_cli_run_fail(&pub->run, TF_EXIT_INTERNAL, "cannot read standard input: %s",
                        strerror(errno));
    }
}

/* ---- publishing ---- */

/* Publishes `body`; `owner` names it if it may be borrowed. False: not now, or the run has ended.
 */
static bool publish(struct pub *pub, struct tf_bytes body, uint64_t owner, bool *ret_borrowed)
{
    const struct arguments *arguments = &pub->arguments;
    struct tf_mqtt_delivery delivery = {.handle = pub->sent + 1,
                                        .owner = owner,
                                        .topic = tf_bytes_str(pub->url.address),
                                        .properties =
                                            tf_bytes_of(pub->properties, pub->property_length),
                                        .body = &body,
                                        .body_count = 1,
                                        .has_expiry = arguments->expiry_given,
                                        .expiry_s = arguments->expiry_s,
                                        .qos = arguments->qos,
                                        .retain = arguments->retain};
    *ret_borrowed = false;
    enum tf_err err = tf_cli_client_publish(pub->client, &delivery, ret_borrowed);
    switch (err) {
    case TF_OK:
        pub->sent++;
        pub->open += arguments->qos > 0;
        return true;
    case TF_AGAIN:
    case TF_CLOSED: /* the connection tells why */
        return false;
    case TF_LIMIT:
        tf_cli_run_fail(&pub->run, TF_EXIT_REFUSED, "%s does not take a message of %zu bytes",
                        tf_cli_client_peer(pub->client), body.length);
        return false;
    case TF_UNSUPPORTED:
        tf_cli_run_fail(&pub->run, TF_EXIT_REFUSED, "%s does not take %s",
                        tf_cli_client_peer(pub->client),
                        arguments->retain ? "retained messages, or not this QoS" : "this QoS");
        return false;
    default:
        tf_cli_run_fail(&pub->run, TF_EXIT_INTERNAL, "cannot publish: %s", tf_err_name(err));
        return false;
    }
}

/* A line lives on its own, for the machine may borrow it longer than the input stays in place. */
static bool publish_line(void *ctx, struct tf_bytes line)
{
    struct pub *pub = ctx;
    bool borrowed;
    uint8_t *copy = malloc(line.length + 1);
    if (!copy) {
        tf_cli_run_fail(&pub->run, TF_EXIT_INTERNAL, "no memory");
        return false;
    }
    if (line.length) {
        memcpy(copy, line.data, line.length);
    }
    bool done = publish(pub, tf_bytes_of(copy, line.length), (uint64_t)(uintptr_t)copy, &borrowed);
    if (!borrowed) {
        free(copy);
    }
    return done;
}

/* All lines that are there, as far as the broker takes them. True: nothing is left. */
static bool publish_lines(struct pub *pub)
{
    bool taken = tf_cli_lines_pass(&pub->lines, publish_line, pub);
    tf_cli_run_want_input(&pub->run, taken && !pub->input_over);
    return taken && pub->input_over;
}

/* The one message, as often as is wanted. True: nothing is left. */
static bool publish_one(struct pub *pub)
{
    bool borrowed;
    if (!pub->input_over) {
        tf_cli_run_want_input(&pub->run, true);
        return false;
    }
    tf_cli_run_want_input(&pub->run, false);
    while (pub->left) {
        if (pub->next_at > pub->run.now) {
            tf_cli_run_timer(&pub->run, pub->next_at);
            return false;
        }
        if (!publish(pub, tf_bytes_of(pub->body, pub->body_length), 1, &borrowed)) {
            return false;
        }
        pub->left--;
        if (pub->arguments.repeat_delay_us) {
            pub->next_at = tf_time_add(pub->run.now, pub->arguments.repeat_delay_us);
        }
    }
    return true;
}

static void on_ready(struct tf_cli_client *client)
{
    struct pub *pub = tf_cli_client_ctx(client);
    bool lines = pub->arguments.source == SOURCE_LINES;
    bool all = lines ? publish_lines(pub) : publish_one(pub);
    if (all && pub->open == 0 && tf_cli_client_written(client)) {
        if (pub->refused > REFUSALS_SHOWN) {
            tf_cli_say("pub", "%llu of %llu messages were refused",
                       (unsigned long long)pub->refused, (unsigned long long)pub->sent);
        }
        tf_cli_run_finish(&pub->run, pub->refused ? TF_EXIT_REFUSED : TF_EXIT_DONE);
    }
}

static void on_settled(struct pub *pub, const struct tf_mqtt_client_event *event)
{
    char why[512];
    pub->open--;
    if (event->reason >= 0x80) {
        pub->refused++;
        if (pub->refused <= REFUSALS_SHOWN) {
            tf_cli_say("pub", "%s refused message %llu: %s", tf_cli_client_peer(pub->client),
                       (unsigned long long)event->handle,
                       tf_cli_reason(event->reason, tf_bytes_of(NULL, 0), why, sizeof(why)));
        }
    } else if (event->reason == TF_MQTT_NO_MATCHING_SUBSCRIBERS &&
               pub->arguments.connection.debug && !pub->warned) {
        pub->warned = true;
        tf_cli_say("pub", "%s has no subscriber for %s", tf_cli_client_peer(pub->client),
                   pub->url.address);
    }
}

static void on_event(struct tf_cli_client *client, const struct tf_mqtt_client_event *event)
{
    struct pub *pub = tf_cli_client_ctx(client);
    if (event->type == TF_MQTT_CLIENT_SETTLED) {
        on_settled(pub, event);
    } else if (event->type == TF_MQTT_CLIENT_RETURNED && pub->arguments.source == SOURCE_LINES) {
        free((void *)(uintptr_t)event->owner);
    }
}

static void on_timer(void *ctx)
{
    (void)ctx; /* what it was set for is done in the turn that follows */
}

/* ---- the command ---- */

/* The first option that CoAP has nothing for; NULL: none. */
static const char *only_mqtt(const struct arguments *arguments)
{
    return arguments->property_count ? "--property"
           : arguments->expiry_given ? "--expiry"
           : arguments->response     ? "--response"
           : arguments->correlation  ? "--correlation"
           : arguments->qos == 2     ? "QoS 2"
                                     : tf_cli_options_only_mqtt(&arguments->connection);
}

static int run_coap(const struct arguments *arguments, const char *url)
{
    const char *only = only_mqtt(arguments);
    const struct tf_cli_coap_publish publish = {
        .plain = {.manual = MANUAL,
                  .timeout_us = arguments->connection.timeout_us,
                  .non = arguments->qos_given && arguments->qos == 0,
                  .trace = arguments->connection.debug},
        .source = {.text = arguments->source == SOURCE_TEXT ? arguments->text : NULL,
                   .file = arguments->source == SOURCE_FILE ? arguments->text : NULL,
                   .input = arguments->source == SOURCE_STDIN,
                   .empty = arguments->source == SOURCE_EMPTY},
        .content_type = arguments->content_type,
        .repeat = arguments->repeat_given ? arguments->repeat : 1,
        .repeat_delay_us = arguments->repeat_delay_us,
        .lines = arguments->source == SOURCE_LINES,
        .remove = arguments->source == SOURCE_EMPTY && arguments->retain};
    if (only) {
        return tf_cli_misuse(MANUAL, "CoAP has no %s: leave it out", only);
    }
    return tf_cli_coap_publish(&publish, url);
}

/* The address may be any text: what an AMQP broker calls its nodes is its own affair. */
static int run_amqp(const struct arguments *arguments, const char *url)
{
    const char *lacks = tf_cli_amqp_lacks(&arguments->connection);
    const struct tf_cli_amqp_publish publish = {
        .plain = {.manual = MANUAL,
                  .connection = &arguments->connection,
                  .qos = arguments->qos_given ? arguments->qos : 1},
        .source = {.text = arguments->source == SOURCE_TEXT ? arguments->text : NULL,
                   .file = arguments->source == SOURCE_FILE ? arguments->text : NULL,
                   .input = arguments->source == SOURCE_STDIN,
                   .empty = arguments->source == SOURCE_EMPTY},
        .content_type = arguments->content_type,
        .reply_to = arguments->response,
        .correlation = arguments->correlation,
        .properties = arguments->properties,
        .property_count = arguments->property_count,
        .repeat = arguments->repeat_given ? arguments->repeat : 1,
        .repeat_delay_us = arguments->repeat_delay_us,
        .expiry_s = arguments->expiry_s,
        .expiry_given = arguments->expiry_given,
        .lines = arguments->source == SOURCE_LINES,
        .retain = arguments->retain};
    if (lacks) {
        return tf_cli_misuse(MANUAL, "AMQP has no %s: leave it out", lacks);
    }
    return tf_cli_amqp_publish(&publish, url);
}

static int run(struct pub *pub)
{
    static const struct tf_cli_handler handler = {.event = on_event, .ready = on_ready};
    const struct tf_cli_task task = {.timer = on_timer, .input = on_input, .ctx = pub};
    const struct tf_cli_client_config config = {.run = &pub->run,
                                                .url = &pub->url,
                                                .options = &pub->arguments.connection,
                                                .handler = &handler,
                                                .needs_5 = needs_5(&pub->arguments),
                                                .ctx = pub};
    int code = TF_EXIT_INTERNAL;
    if (tf_cli_run_init(&pub->run, "pub", &task, pub->arguments.connection.timeout_us)) {
        tf_cli_say("pub", "the system has no event loop to give: %s", strerror(errno));
        return code;
    }
    if (tf_cli_client_new(&pub->client, &config)) {
        tf_cli_say("pub", "no memory");
    } else {
        code = tf_cli_run_loop(&pub->run);
    }
    tf_cli_client_free(pub->client);
    tf_cli_run_release(&pub->run);
    return code;
}

int tf_cli_pub(int argc, char **argv)
{
    struct pub pub = {0};
    int first = 0;
    tf_cli_options_init(&pub.arguments.connection);
    int code = tf_cli_manual_parse(MANUAL, argc, argv, take, &pub.arguments, &first);
    if (code < 0 && argc - first != 1) {
        code = argc == first ? tf_cli_misuse(MANUAL, "the URL is missing, such as "
                                                     "mqtt://localhost/ADDRESS")
                             : tf_cli_misuse(MANUAL, "one URL is enough: what is \"%.60s\"?",
                                             argv[first + 1]);
    }
    if (code < 0) {
        code = check(&pub.arguments);
    }
    if (code < 0 && tf_cli_coap_url(argv[first])) {
        code = run_coap(&pub.arguments, argv[first]);
    }
    if (code < 0 && tf_cli_url_is_amqp(argv[first])) {
        code = run_amqp(&pub.arguments, argv[first]);
    }
    if (code < 0) {
        code = take_url(&pub, argv[first]);
    }
    if (code < 0) {
        code = make_properties(&pub);
    }
    if (code < 0) {
        code = make_body(&pub);
    }
    if (code < 0) {
        code = run(&pub);
    }
    tf_cli_options_release(&pub.arguments.connection);
    tf_cli_url_release(&pub.url);
    free(pub.arguments.properties);
    free(pub.properties);
    free(pub.body);
    tf_cli_lines_release(&pub.lines);
    return code;
}
