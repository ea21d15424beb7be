/*
 * `trefoil get`: prints the value of an address, which in MQTT is its retained message.
 *
 * MQTT has no way to ask whether there is one: a broker sends it after a subscription, or sends
 * nothing. So it is waited for, a short time from the confirmation of the subscription on.
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

#define WAIT TF_SECOND /* of MQTT and AMQP */

struct get {
    struct tf_cli_connection_options connection;
    struct tf_cli_style style;
    struct tf_cli_url url;
    struct tf_cli_run run;
    struct tf_cli_client *client;
    tf_time wait_us;
    bool asked;
};

/* ---- the manual ---- */

static const struct tf_cli_option get_options[] = {
    {'W', "timeout", "SECONDS",
     "how long to wait for the value once the broker has answered; by default 1. CoAP: for the "
     "answer; by default as long as the standard repeats the question"},
};

static const struct tf_cli_group get_group = {"Value", get_options, TF_COUNT(get_options)};
static const struct tf_cli_group *const groups[] = {&get_group, &tf_cli_print_group,
                                                    &tf_cli_connection_group};

static const struct tf_cli_example examples[] = {
    {"trefoil get mqtt://localhost/home/kitchen/temperature", "Prints 21.5, if that is the value."},
    {"trefoil get mqtt://localhost/settings -o json | jq .body_json.mode",
     "With all that is known of it."},
    {"trefoil get mqtt://localhost/photo -o raw > photo.jpg", "Byte for byte."},
    {"trefoil get coap://localhost/home/kitchen/temperature", "By CoAP."},
    {"trefoil get amqp://localhost/home/kitchen/temperature", "By AMQP."},
};

const struct tf_cli_manual tf_cli_get_manual = {
    .name = "get",
    .usage = "URL [OPTION]...",
    .summary = "print the value of an address",
    .text =
        "URL is mqtt://[USER[:PASSWORD]@]HOST[:PORT]/ADDRESS. The value of an address is its "
        "retained message. Or it is coap://HOST[:PORT]/PATH[?QUERY], which is read with GET, or "
        "amqp://[USER[:PASSWORD]@]HOST[:PORT]/ADDRESS, which is read as topic://ADDRESS. "
        "Formats and JSON are those of `trefoil sub`.",
    .groups = groups,
    .group_count = TF_COUNT(groups),
    .after = "Exit: 0 printed; 1 internal; 2 command line; 3 network; 4 not let in; 5 there is no "
             "value, or the broker refused; 6 the broker does not answer.",
    .examples = examples,
    .example_count = TF_COUNT(examples)};

#define MANUAL (&tf_cli_get_manual)

static int take(void *ctx, int key, const char *value)
{
    struct get *get = ctx;
    if (key == 'W') {
        return tf_cli_seconds(MANUAL, "--timeout", value, &get->wait_us);
    }
    int code = tf_cli_print_take(&get->style, MANUAL, key, value);
    return code == TF_CLI_KEY_OWN ? tf_cli_options_take(&get->connection, MANUAL, key, value)
                                  : code;
}

static int take_url(struct get *get, int count, char **texts)
{
    char why[TF_CLI_URL_WHY];
    if (count != 1) {
        return tf_cli_misuse(MANUAL, "one URL is needed, such as mqtt://localhost/ADDRESS");
    }
    if (tf_cli_url_parse(texts[0], &get->url, why)) {
        return tf_cli_misuse(MANUAL, "%s", why);
    }
    if (!tf_mqtt_topic_valid(tf_bytes_str(get->url.address))) {
        return tf_cli_misuse(MANUAL, "%s",
                             strpbrk(get->url.address, "+#")
                                 ? "it reads one address, without + and #: `trefoil sub "
                                   "--retained-only` reads many"
                                 : "the URL needs an address of at most 65535 bytes: "
                                   "mqtt://HOST/ADDRESS");
    }
    return -1;
}

/* ---- what comes ---- */

static void on_ready(struct tf_cli_client *client)
{
    struct get *get = tf_cli_client_ctx(client);
    struct tf_mqtt_subscription filter = {.filter = tf_bytes_str(get->url.address), .qos = 1};
    if (get->asked) {
        return;
    }
    enum tf_err err = tf_cli_client_subscribe(client, 1, &filter, 1, tf_bytes_of(NULL, 0));
    get->asked = err != TF_AGAIN;
    if (err && err != TF_AGAIN && err != TF_CLOSED) {
        tf_cli_run_fail(&get->run, TF_EXIT_REFUSED, "%s does not let it subscribe: %s",
                        tf_cli_client_peer(client), tf_err_name(err));
    }
}

static void on_event(struct tf_cli_client *client, const struct tf_mqtt_client_event *event)
{
    struct get *get = tf_cli_client_ctx(client);
    char why[512];
    if (event->type == TF_MQTT_CLIENT_SUBSCRIBED) {
        uint8_t reason = event->reasons.length ? event->reasons.data[0] : 0;
        if (reason >= 0x80) {
            tf_cli_run_fail(&get->run, TF_EXIT_REFUSED, "%s refused: %s",
                            tf_cli_client_peer(client),
                            tf_cli_reason(reason, event->properties, why, sizeof(why)));
            return;
        }
        tf_cli_run_timer(&get->run, tf_time_add(get->run.now, get->wait_us));
    } else if (event->type == TF_MQTT_CLIENT_PUBLISH && event->publish.retain) {
        bool failed = tf_cli_print(&get->style, event) != TF_OK;
        if (failed) {
            tf_cli_say("get", "no memory");
        }
        tf_cli_run_finish(&get->run, failed ? TF_EXIT_INTERNAL : TF_EXIT_DONE);
    }
}

static void on_timer(void *ctx)
{
    struct get *get = ctx;
    tf_cli_run_fail(&get->run, TF_EXIT_REFUSED, "%s has no value at %s",
                    tf_cli_client_peer(get->client), get->url.address);
}

/* ---- the command ---- */

static int run_coap(const struct get *get, const char *url)
{
    const char *only = tf_cli_options_only_mqtt(&get->connection);
    const struct tf_cli_coap_plain plain = {
        .manual = MANUAL, .timeout_us = get->wait_us, .trace = get->connection.debug};
    if (only) {
        return tf_cli_misuse(MANUAL, "CoAP has no %s: leave it out", only);
    }
    return tf_cli_coap_fetch(&plain, &get->style, url);
}

static int run_amqp(const struct get *get, const char *url)
{
    const char *lacks = tf_cli_amqp_lacks(&get->connection);
    const struct tf_cli_amqp_plain plain = {
        .manual = MANUAL, .connection = &get->connection, .qos = 1};
    if (lacks) {
        return tf_cli_misuse(MANUAL, "AMQP has no %s: leave it out", lacks);
    }
    return tf_cli_amqp_fetch(&plain, &get->style, get->wait_us ? get->wait_us : WAIT, url);
}

static int run(struct get *get)
{
    static const struct tf_cli_handler handler = {.event = on_event, .ready = on_ready};
    const struct tf_cli_task task = {.timer = on_timer, .ctx = get};
    const struct tf_cli_client_config config = {.run = &get->run,
                                                .url = &get->url,
                                                .options = &get->connection,
                                                .handler = &handler,
                                                .ctx = get};
    int code = TF_EXIT_INTERNAL;
    if (tf_cli_run_init(&get->run, "get", &task, 0)) {
        tf_cli_say("get", "the system has no event loop to give: %s", strerror(errno));
        return code;
    }
    if (tf_cli_client_new(&get->client, &config)) {
        tf_cli_say("get", "no memory");
    } else {
        code = tf_cli_run_loop(&get->run);
    }
    tf_cli_client_free(get->client);
    tf_cli_run_release(&get->run);
    return code;
}

int tf_cli_get(int argc, char **argv)
{
    struct get get = {.wait_us = 0};
    int first = 0;
    tf_cli_options_init(&get.connection);
    int code = tf_cli_manual_parse(MANUAL, argc, argv, take, &get, &first);
    if (code < 0) {
        code = tf_cli_options_check(&get.connection, MANUAL);
    }
    if (code < 0) {
        tf_cli_print_complete(&get.style);
    }
    if (code < 0 && argc - first == 1 && tf_cli_coap_url(argv[first])) {
        code = run_coap(&get, argv[first]);
    }
    if (code < 0 && argc - first == 1 && tf_cli_url_is_amqp(argv[first])) {
        code = run_amqp(&get, argv[first]);
    }
    if (code < 0) {
        code = take_url(&get, argc - first, argv + first);
    }
    if (code < 0) {
        get.wait_us = get.wait_us ? get.wait_us : WAIT;
        code = run(&get);
    }
    tf_cli_options_release(&get.connection);
    tf_cli_url_release(&get.url);
    return code;
}
