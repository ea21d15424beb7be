/*
 * `trefoil sub`: prints what is published to addresses.
 *
 * URLs of one broker and one user are the filters of one connection; other brokers have their own.
 * A message is acknowledged once its output has been handed over.
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
#include "cli/print.h"

#define FILTERS_MAX 255 /* of one SUBSCRIBE of the client machine */

enum key { KEY_RETAINED_ONLY = TF_CLI_KEY_OWN + 1, KEY_NO_LOCAL, KEY_AS_PUBLISHED };

/* What the command line says. */
struct arguments {
    struct tf_cli_connection_options connection;
    struct tf_cli_style style;
    uint64_t count; /* 0: no limit */
    uint8_t qos;
    bool qos_given, verbose, new_only, retained_only, no_local, as_published;
};

/* One broker. */
struct target {
    struct sub *sub;
    struct tf_cli_client *client;
    const struct tf_cli_url *url; /* the first of them */
    struct tf_mqtt_subscription *filters;
    size_t filter_count;
    bool asked;
};

struct sub {
    struct arguments arguments;
    struct tf_cli_run run;
    struct tf_cli_url *urls;
    struct target *targets;
    size_t url_count, target_count;
    uint64_t printed;
};

/* ---- the manual ---- */

static const struct tf_cli_option sub_options[] = {
    {'q', "qos", "0|1|2",
     "the highest QoS that messages may come with; by default 0. CoAP: 0 asks by NON, 1 "
     "(default) by CON. AMQP: 0 asks for settled messages, 1 (default) settles each when it is "
     "printed, 2 settles after the sender"},
    {'n', "count", "COUNT", "end after COUNT messages"},
    {'W', "timeout", "SECONDS", "end after that time, with exit code 6"},
    {'v', "verbose", NULL,
     "print the address before the body; on a terminal that is done by itself if there are several "
     "URLs, or a + or #"},
    {'R', "new-only", NULL, "no retained messages, only what comes from now on"},
    {KEY_RETAINED_ONLY, "retained-only", NULL, "only retained messages"},
    {KEY_NO_LOCAL, "no-local", NULL, "nothing that this client id has published (5.0)"},
    {KEY_AS_PUBLISHED, "retain-as-published", NULL,
     "show the retain flag as the publisher had set it (5.0)"},
};

static const struct tf_cli_group sub_group = {"Messages", sub_options, TF_COUNT(sub_options)};
static const struct tf_cli_group *const groups[] = {&sub_group, &tf_cli_print_group,
                                                    &tf_cli_session_group, &tf_cli_connection_group,
                                                    &tf_cli_will_group};

static const struct tf_cli_example examples[] = {
    {"trefoil sub 'mqtt://localhost/home/#'",
     "Everything below home; on a terminal as `address body`."},
    {"trefoil sub mqtt://localhost/door mqtt://localhost/window -o json | jq .body",
     "Two addresses, for another program."},
    {"trefoil sub mqtt://broker/orders -i till-7 -c -q 1",
     "Goes on where the last one with this id ended; nothing in between is missing."},
    {"trefoil sub 'mqtt://broker/+/temperature' -F '@H:@M:@S %t %p'", "With a time before it."},
    {"trefoil sub mqtt://broker/photo -n 1 -o raw > photo.jpg", "One message, byte for byte."},
    {"trefoil sub coap://localhost/home/kitchen/temperature",
     "By CoAP: its value, and each new one."},
    {"trefoil sub amqp://localhost/orders -n 1 -o json",
     "By AMQP: takes one message out of the queue `orders`."},
};

static const char after[] =
    "A FORMAT holds, beside text:\n"
    "  %t address         %p body             %l bytes of the body\n"
    "  %x %X body, hex    %j all, as JSON     %q QoS (0, 1, 2)\n"
    "  %r retained (0, 1) %m packet id        %d repeated (0, 1)\n"
    "  %C content type    %R response address %D correlation data\n"
    "  %E expiry, seconds %F payload format   %P user properties, name:value\n"
    "  %S subscription ids                    %I time, ISO 8601\n"
    "  %U time, seconds since 1970            %% a percent sign\n"
    "  @c any conversion of strftime          @N nanoseconds, @@ an at sign\n"
    "  \\n \\t \\r \\a \\e \\v \\0 \\\\            as in C\n"
    "\n"
    "JSON objects have timestamp, address, qos, retain, what properties there are (content_type, "
    "user_properties, expiry_s, response_address, correlation, subscription_ids, payload_format) "
    "and the body: body_json if it is a JSON object or array, or JSON by its content type; body if "
    "it is text; else body_base64. Those of AMQP have also durable, priority, ttl_ms, "
    "delivery_count, message_id, user_id, to, subject, reply_to, content_encoding, expires, "
    "created, group_id, group_sequence, reply_to_group_id, and with what is in them annotations, "
    "delivery_annotations and footer; user_properties are the application properties with their "
    "types. A body that is a value or a sequence is shown as JSON, a string as text.\n"
    "\n"
    "It runs until --count, --timeout, or Ctrl-C. Exit: 0 done or interrupted; 1 internal; 2 "
    "command line; 3 network; 4 not let in; 5 refused by the broker, which says why; 6 time-out.";

const struct tf_cli_manual tf_cli_sub_manual = {
    .name = "sub",
    .usage = "URL... [OPTION]...",
    .summary = "print the messages of addresses",
    .text =
        "URL is mqtt://[USER[:PASSWORD]@]HOST[:PORT]/FILTER. What follows the slash is the "
        "address, literally and percent-decoded; + stands for one level of it, # at its end "
        "for all that follow. Quote # for your shell. Or all are coap://HOST[:PORT]/PATH[?QUERY], "
        "one address each, which are observed. Or all are "
        "amqp://[USER[:PASSWORD]@]HOST[:PORT]/ADDRESS: of Trefoil's brokers `x` and `queue://x` "
        "are queues, of which each message is taken, `topic://x` is an address, in which + and # "
        "stand for levels.",
    .groups = groups,
    .group_count = TF_COUNT(groups),
    .after = after,
    .examples = examples,
    .example_count = TF_COUNT(examples)};

#define MANUAL (&tf_cli_sub_manual)

/* ---- the command line ---- */

static int take_number(struct arguments *arguments, int key, const char *value)
{
    unsigned long long number = 0;
    int code;
    if (key == 'W') {
        return tf_cli_seconds(MANUAL, "--timeout", value, &arguments->connection.timeout_us);
    }
    if (key == 'q') {
        code = tf_cli_number(MANUAL, "--qos", value, 0, 2, &number);
        arguments->qos = (uint8_t)number;
        arguments->qos_given = true;
        return code;
    }
    code = tf_cli_number(MANUAL, "--count", value, 1, UINT32_MAX, &number);
    arguments->count = number;
    return code;
}

static int take(void *ctx, int key, const char *value)
{
    struct arguments *arguments = ctx;
    int code;
    switch (key) {
    case 'q':
    case 'n':
    case 'W':
        return take_number(arguments, key, value);
    case 'v':
        arguments->verbose = true;
        return -1;
    case 'R':
        arguments->new_only = true;
        return -1;
    case KEY_RETAINED_ONLY:
        arguments->retained_only = true;
        return -1;
    case KEY_NO_LOCAL:
        arguments->no_local = true;
        return -1;
    case KEY_AS_PUBLISHED:
        arguments->as_published = true;
        return -1;
    default:
        code = tf_cli_print_take(&arguments->style, MANUAL, key, value);
        return code == TF_CLI_KEY_OWN
                   ? tf_cli_options_take(&arguments->connection, MANUAL, key, value)
                   : code;
    }
}

/* The first option that 3.1.1 has nothing for; NULL: none. */
static const char *needs_5(const struct arguments *arguments)
{
    return arguments->no_local       ? "--no-local"
           : arguments->as_published ? "--retain-as-published"
                                     : NULL;
}

static int check(const struct arguments *arguments)
{
    const char *needs = needs_5(arguments);
    if (needs && arguments->connection.version < TF_MQTT_5) {
        return tf_cli_misuse(MANUAL, "MQTT 3.1.1 has no %s: leave it out, or --mqtt-version",
                             needs);
    }
    if (arguments->new_only && arguments->retained_only) {
        return tf_cli_misuse(MANUAL, "--new-only and --retained-only leave nothing to print");
    }
    return tf_cli_options_check(&arguments->connection, MANUAL);
}

/* The connection for a URL: one that there is already, or the next. */
static struct target *target_of(struct sub *sub, const struct tf_cli_url *url)
{
    for (size_t i = 0; i < sub->target_count; i++) {
        if (tf_cli_url_same_broker(sub->targets[i].url, url)) {
            return &sub->targets[i];
        }
    }
    struct target *target = &sub->targets[sub->target_count++];
    *target = (struct target){.sub = sub, .url = url};
    return target;
}

/* MQTT 5.0 3.8.3.1: a session that goes on does not want the retained messages once more. */
static uint8_t retain_handling(const struct arguments *arguments)
{
    return arguments->new_only ? 2 : arguments->connection.keep_session ? 1 : 0;
}

static int add_filter(struct sub *sub, const struct tf_cli_url *url)
{
    const struct arguments *arguments = &sub->arguments;
    struct target *target = target_of(sub, url);
    struct tf_bytes filter = tf_bytes_str(url->address);
    if (!url->address[0]) {
        return tf_cli_misuse(MANUAL, "the URL has no address: mqtt://HOST/FILTER; # is everything");
    }
    if (!tf_mqtt_filter_valid(filter)) {
        return tf_cli_misuse(
            MANUAL,
            "\"%.100s\" is no filter: + and # must each be a level of their own, # "
            "the last one, and 65535 bytes are the most",
            url->address);
    }
    if (target->filter_count == FILTERS_MAX) {
        return tf_cli_misuse(MANUAL, "%d addresses of one broker are the most", FILTERS_MAX);
    }
    struct tf_mqtt_subscription *filters =
        realloc(target->filters, (target->filter_count + 1) * sizeof(*filters));
    if (!filters) {
        tf_cli_say("sub", "no memory");
        return TF_EXIT_INTERNAL;
    }
    filters[target->filter_count++] =
        (struct tf_mqtt_subscription){.filter = filter,
                                      .qos = arguments->qos,
                                      .no_local = arguments->no_local,
                                      .retain_as_published = arguments->as_published,
                                      .retain_handling = retain_handling(arguments)};
    target->filters = filters;
    return -1;
}

static int take_urls(struct sub *sub, int count, char **texts)
{
    char why[TF_CLI_URL_WHY];
    bool wild = count > 1;
    if (count == 0) {
        return tf_cli_misuse(MANUAL, "the URL is missing, such as mqtt://localhost/ADDRESS");
    }
    sub->urls = calloc((size_t)count, sizeof(*sub->urls));
    sub->targets = calloc((size_t)count, sizeof(*sub->targets));
    if (!sub->urls || !sub->targets) {
        tf_cli_say("sub", "no memory");
        return TF_EXIT_INTERNAL;
    }
    for (int i = 0; i < count; i++) {
        struct tf_cli_url *url = &sub->urls[i];
        if (tf_cli_url_parse(texts[i], url, why)) {
            return tf_cli_misuse(MANUAL, "%s", why);
        }
        sub->url_count++;
        int code = add_filter(sub, url);
        if (code >= 0) {
            return code;
        }
        wild = wild || strpbrk(url->address, "+#") != NULL;
    }
    sub->arguments.style.address =
        sub->arguments.verbose || (wild && sub->arguments.style.terminal);
    return -1;
}

/* ---- what comes ---- */

static void on_ready(struct tf_cli_client *client)
{
    struct target *target = tf_cli_client_ctx(client);
    struct tf_cli_run *run = &target->sub->run;
    if (target->asked) {
        return;
    }
    enum tf_err err = tf_cli_client_subscribe(client, 1, target->filters, target->filter_count,
                                              tf_bytes_of(NULL, 0));
    target->asked = err != TF_AGAIN;
    if (err == TF_UNSUPPORTED) {
        tf_cli_run_fail(run, TF_EXIT_REFUSED, "%s does not offer such subscriptions",
                        tf_cli_client_peer(client));
    } else if (err == TF_LIMIT) {
        tf_cli_run_fail(run, TF_EXIT_REFUSED, "%s does not take so many filters at once",
                        tf_cli_client_peer(client));
    } else if (err && err != TF_AGAIN && err != TF_CLOSED) {
        tf_cli_run_fail(run, TF_EXIT_INTERNAL, "cannot subscribe: %s", tf_err_name(err));
    }
}

static void on_subscribed(struct target *target, const struct tf_mqtt_client_event *event)
{
    char why[512];
    const struct arguments *arguments = &target->sub->arguments;
    const char *peer = tf_cli_client_peer(target->client);
    for (size_t i = 0; i < event->reasons.length && i < target->filter_count; i++) {
        uint8_t reason = event->reasons.data[i];
        struct tf_bytes filter = target->filters[i].filter;
        if (reason >= 0x80) {
            tf_cli_run_fail(&target->sub->run, TF_EXIT_REFUSED, "%s refused the filter %.*s: %s",
                            peer, (int)TF_MIN(filter.length, 200u), (const char *)filter.data,
                            tf_cli_reason(reason, event->properties, why, sizeof(why)));
        } else if (reason < arguments->qos || arguments->connection.debug) {
            tf_cli_say("sub", "%s: subscribed to %.*s at QoS %u", peer,
                       (int)TF_MIN(filter.length, 200u), (const char *)filter.data, reason);
        }
    }
}

static void on_publish(struct sub *sub, const struct tf_mqtt_client_event *event)
{
    const struct arguments *arguments = &sub->arguments;
    bool retained = event->publish.retain;
    if ((retained && arguments->new_only && !arguments->as_published) ||
        (!retained && arguments->retained_only)) {
        return;
    }
    if (tf_cli_print(&arguments->style, event)) {
        tf_cli_run_fail(&sub->run, TF_EXIT_INTERNAL, "no memory");
        return;
    }
    sub->printed++;
    if (sub->printed == arguments->count) {
        tf_cli_run_finish(&sub->run, TF_EXIT_DONE);
    }
}

static void on_event(struct tf_cli_client *client, const struct tf_mqtt_client_event *event)
{
    struct target *target = tf_cli_client_ctx(client);
    if (event->type == TF_MQTT_CLIENT_PUBLISH) {
        on_publish(target->sub, event);
    } else if (event->type == TF_MQTT_CLIENT_SUBSCRIBED) {
        on_subscribed(target, event);
    }
}

/* ---- the command ---- */

enum protocol { MIXED = -1, MQTT, COAP, AMQP };

/* What all URLs are of; MIXED: stderr says so. */
static enum protocol protocol_of(int count, char **urls)
{
    int coap = 0, amqp = 0;
    for (int i = 0; i < count; i++) {
        coap += tf_cli_coap_url(urls[i]);
        amqp += tf_cli_url_is_amqp(urls[i]);
    }
    if (coap + amqp && coap < count && amqp < count) {
        tf_cli_misuse(MANUAL, "URLs of MQTT, of CoAP and of AMQP need a command each");
        return MIXED;
    }
    return coap ? COAP : amqp ? AMQP : MQTT;
}

static int run_coap(struct arguments *arguments, int count, char **urls)
{
    const char *only = arguments->no_local        ? "--no-local"
                       : arguments->as_published  ? "--retain-as-published"
                       : arguments->retained_only ? "--retained-only"
                       : arguments->qos == 2      ? "QoS 2"
                                             : tf_cli_options_only_mqtt(&arguments->connection);
    if (only) {
        return tf_cli_misuse(MANUAL, "CoAP has no %s: leave it out", only);
    }
    arguments->style.address = arguments->verbose || (count > 1 && arguments->style.terminal);
    const struct tf_cli_coap_subscribe subscribe = {
        .plain = {.manual = MANUAL,
                  .timeout_us = arguments->connection.timeout_us,
                  .non = arguments->qos_given && arguments->qos == 0,
                  .trace = arguments->connection.debug},
        .style = &arguments->style,
        .count = arguments->count,
        .new_only = arguments->new_only};
    return tf_cli_coap_subscribe(&subscribe, count, urls);
}

static int run_amqp(struct arguments *arguments, int count, char **urls)
{
    const char *lacks = arguments->no_local        ? "--no-local"
                        : arguments->as_published  ? "--retain-as-published"
                        : arguments->retained_only ? "--retained-only"
                        : arguments->new_only      ? "--new-only"
                                                   : tf_cli_amqp_lacks(&arguments->connection);
    if (lacks) {
        return tf_cli_misuse(MANUAL, "AMQP has no %s: leave it out", lacks);
    }
    arguments->style.address = arguments->verbose || (count > 1 && arguments->style.terminal);
    const struct tf_cli_amqp_subscribe subscribe = {
        .plain = {.manual = MANUAL,
                  .connection = &arguments->connection,
                  .qos = arguments->qos_given ? arguments->qos : 1},
        .style = &arguments->style,
        .count = arguments->count};
    return tf_cli_amqp_subscribe(&subscribe, count, urls);
}

static int run(struct sub *sub)
{
    static const struct tf_cli_handler handler = {.event = on_event, .ready = on_ready};
    int code = TF_EXIT_DONE;
    if (tf_cli_run_init(&sub->run, "sub", NULL, sub->arguments.connection.timeout_us)) {
        tf_cli_say("sub", "the system has no event loop to give: %s", strerror(errno));
        return TF_EXIT_INTERNAL;
    }
    for (size_t i = 0; i < sub->target_count && code == TF_EXIT_DONE; i++) {
        const struct tf_cli_client_config config = {.run = &sub->run,
                                                    .url = sub->targets[i].url,
                                                    .options = &sub->arguments.connection,
                                                    .handler = &handler,
                                                    .needs_5 = needs_5(&sub->arguments),
                                                    .ctx = &sub->targets[i]};
        if (tf_cli_client_new(&sub->targets[i].client, &config)) {
            tf_cli_say("sub", "no memory");
            code = TF_EXIT_INTERNAL;
        }
    }
    if (code == TF_EXIT_DONE) {
        code = tf_cli_run_loop(&sub->run);
    }
    for (size_t i = 0; i < sub->target_count; i++) {
        tf_cli_client_free(sub->targets[i].client);
    }
    tf_cli_run_release(&sub->run);
    return code;
}

int tf_cli_sub(int argc, char **argv)
{
    struct sub sub = {0};
    int first = 0;
    tf_cli_options_init(&sub.arguments.connection);
    int code = tf_cli_manual_parse(MANUAL, argc, argv, take, &sub.arguments, &first);
    if (code < 0) {
        code = check(&sub.arguments);
    }
    enum protocol protocol = code < 0 ? protocol_of(argc - first, argv + first) : MQTT;
    if (protocol == MIXED) {
        code = TF_EXIT_USAGE;
    }
    if (code < 0) {
        tf_cli_print_complete(&sub.arguments.style);
        code = protocol == COAP   ? run_coap(&sub.arguments, argc - first, argv + first)
               : protocol == AMQP ? run_amqp(&sub.arguments, argc - first, argv + first)
                                  : take_urls(&sub, argc - first, argv + first);
    }
    if (code < 0) {
        code = run(&sub);
    }
    tf_cli_options_release(&sub.arguments.connection);
    for (size_t i = 0; i < sub.url_count; i++) {
        tf_cli_url_release(&sub.urls[i]);
    }
    for (size_t i = 0; i < sub.target_count; i++) {
        free(sub.targets[i].filters);
    }
    free(sub.urls);
    free(sub.targets);
    return code;
}
