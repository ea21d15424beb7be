/*
 * The options of a connection.
 */
#include "cli/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <trefoil/mqtt_packet.h>

#include "base/util.h"
#include "cli/cli.h"
#include "port/entropy.h"

enum key {
    KEY_USER = 256,
    KEY_PASSWORD,
    KEY_PASSWORD_FILE,
    KEY_WILL_TOPIC,
    KEY_WILL_PAYLOAD,
    KEY_WILL_QOS,
    KEY_WILL_RETAIN,
    KEY_WILL_DELAY
};

#define KEEP_ALIVE_S 60
#define PASSWORD_MAX 65535

static const struct tf_cli_option connection_options[] = {
    {'i', "id", "ID",
     "the client id, in AMQP the container id; by default one is made of the command and a random "
     "number"},
    {'V', "mqtt-version", "VERSION",
     "5 or 4 (which is 3.1.1). By default 5, and 4 if the broker does not speak that and nothing "
     "that was asked for needs it"},
    {KEY_USER, "user", "NAME", "the user's name, instead of the URL's"},
    {KEY_PASSWORD, "password", "TEXT", "the password, instead of the URL's; `ps` shows it"},
    {KEY_PASSWORD_FILE, "password-file", "FILE", "the password is the first line of FILE"},
    {'k', "keep-alive", "SECONDS",
     "the keep-alive, in AMQP the idle time-out; by default 60, 0: none"},
    {'d', "debug", NULL, "say on stderr what happens on the connection"},
};

static const struct tf_cli_option will_options[] = {
    {KEY_WILL_TOPIC, "will-topic", "ADDRESS",
     "leave a will: a message that the broker publishes when this connection breaks"},
    {KEY_WILL_PAYLOAD, "will-payload", "TEXT", "its body; by default empty"},
    {KEY_WILL_QOS, "will-qos", "0|1|2", "its QoS; by default 0"},
    {KEY_WILL_RETAIN, "will-retain", NULL, "it is to be retained"},
    {KEY_WILL_DELAY, "will-delay", "SECONDS", "how long the broker waits with it (5.0)"},
};

static const struct tf_cli_option session_options[] = {
    {'c', "keep-session", NULL,
     "resume the session of the client id, and leave it behind: what comes meanwhile at QoS 1 and "
     "2 is kept. AMQP: the subscription to a topic is durable. Needs --id"},
    {'x', "session-expiry", "SECONDS",
     "how long the broker shall keep the session after the end (5.0); with -c for ever by default"},
};

const struct tf_cli_group tf_cli_connection_group = {"Connection", connection_options,
                                                     TF_COUNT(connection_options)};
const struct tf_cli_group tf_cli_will_group = {"Will", will_options, TF_COUNT(will_options)};
const struct tf_cli_group tf_cli_session_group = {"Session", session_options,
                                                  TF_COUNT(session_options)};

void tf_cli_options_init(struct tf_cli_connection_options *options)
{
    *options =
        (struct tf_cli_connection_options){.version = TF_MQTT_5, .keep_alive_s = KEEP_ALIVE_S};
}

void tf_cli_options_release(struct tf_cli_connection_options *options)
{
    free(options->password);
    options->password = NULL;
}

/* ---- values ---- */

int tf_cli_seconds(const struct tf_cli_manual *manual, const char *option, const char *text,
                   tf_time *ret_us)
{
    tf_time us = 0, unit = 0;
    bool digits = false;
    for (const char *at = text; *at; at++) {
        bool digit = *at >= '0' && *at <= '9';
        if (digit && (unit != 1) && us < UINT64_MAX / 100) {
            us = us * 10 + (tf_time)(*at - '0');
            unit /= 10;
        } else if (*at == '.' && unit == 0) {
            unit = TF_SECOND;
        } else {
            digits = false;
            break;
        }
        digits = true;
    }
    us *= unit ? unit : TF_SECOND;
    if (!digits || us == 0 || us > 1000000000 * TF_SECOND || strlen(text) > 17) {
        return tf_cli_misuse(manual, "%s takes seconds above 0, such as 5 or 0.5, not \"%.40s\"",
                             option, text);
    }
    *ret_us = us;
    return -1;
}

static int take_number(const struct tf_cli_manual *manual, const char *option, const char *value,
                       uint32_t most, uint32_t *ret_number)
{
    unsigned long long number;
    int code = tf_cli_number(manual, option, value, 0, most, &number);
    if (code < 0) {
        *ret_number = (uint32_t)number;
    }
    return code;
}

/* The names that other tools have for the versions are taken, too. */
static int take_version(struct tf_cli_connection_options *options,
                        const struct tf_cli_manual *manual, const char *value)
{
    static const struct {
        const char *name;
        uint8_t version;
    } names[] = {{"5", TF_MQTT_5},           {"5.0", TF_MQTT_5},       {"mqttv5", TF_MQTT_5},
                 {"4", TF_MQTT_3_1_1},       {"3.1.1", TF_MQTT_3_1_1}, {"311", TF_MQTT_3_1_1},
                 {"mqttv311", TF_MQTT_3_1_1}};
    for (size_t i = 0; i < TF_COUNT(names); i++) {
        if (strcmp(value, names[i].name) == 0) {
            options->version = names[i].version;
            options->version_given = true;
            return -1;
        }
    }
    return tf_cli_misuse(manual, "--mqtt-version takes 5 or 4, not \"%.40s\"", value);
}

static int read_password(struct tf_cli_connection_options *options,
                         const struct tf_cli_manual *manual, const char *path)
{
    FILE *file = fopen(path, "r");
    char *line = malloc(PASSWORD_MAX + 2);
    int code = -1;
    if (!file || !line || !fgets(line, PASSWORD_MAX + 2, file)) {
        code = tf_cli_misuse(manual, "--password-file %.200s cannot be read, or is empty", path);
        free(line);
    } else {
        line[strcspn(line, "\r\n")] = 0;
        free(options->password);
        options->password = line;
    }
    if (file && fclose(file)) {
        return TF_EXIT_INTERNAL;
    }
    return code;
}

static int set_password(struct tf_cli_connection_options *options, const char *value)
{
    char *copy = strdup(value);
    if (!copy) {
        fputs("trefoil: no memory\n", stderr);
        return TF_EXIT_INTERNAL;
    }
    free(options->password);
    options->password = copy;
    return -1;
}

static int take_will(struct tf_cli_connection_options *options, const struct tf_cli_manual *manual,
                     int key, const char *value)
{
    uint32_t number = 0;
    int code = -1;
    options->will_given = true;
    switch (key) {
    case KEY_WILL_TOPIC:
        options->will_topic = value;
        break;
    case KEY_WILL_PAYLOAD:
        options->will_payload = value;
        break;
    case KEY_WILL_QOS:
        code = take_number(manual, "--will-qos", value, 2, &number);
        options->will_qos = (uint8_t)number;
        break;
    case KEY_WILL_RETAIN:
        options->will_retain = true;
        break;
    default:
        code = take_number(manual, "--will-delay", value, UINT32_MAX, &options->will_delay_s);
    }
    return code;
}

int tf_cli_options_take(struct tf_cli_connection_options *options,
                        const struct tf_cli_manual *manual, int key, const char *value)
{
    uint32_t number = 0;
    int code;
    switch (key) {
    case 'i':
        options->client_id = value;
        return -1;
    case 'V':
        return take_version(options, manual, value);
    case KEY_USER:
        options->user = value;
        return -1;
    case KEY_PASSWORD:
        return set_password(options, value);
    case KEY_PASSWORD_FILE:
        return read_password(options, manual, value);
    case 'k':
        code = take_number(manual, "--keep-alive", value, UINT16_MAX, &number);
        options->keep_alive_s = (uint16_t)number;
        return code;
    case 'd':
        options->debug = true;
        return -1;
    case 'c':
        options->keep_session = true;
        return -1;
    case 'x':
        options->expiry_given = true;
        return take_number(manual, "--session-expiry", value, UINT32_MAX,
                           &options->session_expiry_s);
    case KEY_WILL_TOPIC:
    case KEY_WILL_PAYLOAD:
    case KEY_WILL_QOS:
    case KEY_WILL_RETAIN:
    case KEY_WILL_DELAY:
        return take_will(options, manual, key, value);
    default:
        return TF_CLI_KEY_OWN;
    }
}

int tf_cli_options_check(const struct tf_cli_connection_options *options,
                         const struct tf_cli_manual *manual)
{
    bool old = options->version_given && options->version < TF_MQTT_5;
    if (options->keep_session && !options->client_id) {
        return tf_cli_misuse(manual, "--keep-session needs the --id whose session is to be kept");
    }
    if (options->client_id && !options->client_id[0] && options->keep_session) {
        return tf_cli_misuse(manual, "an empty --id has no session that could be kept");
    }
    if (options->client_id && strlen(options->client_id) > UINT16_MAX) {
        return tf_cli_misuse(manual, "the --id is longer than 65535 bytes");
    }
    if (options->will_given && !options->will_topic) {
        return tf_cli_misuse(manual, "a will needs its --will-topic");
    }
    if (options->will_topic && !tf_mqtt_topic_valid(tf_bytes_str(options->will_topic))) {
        return tf_cli_misuse(manual, "--will-topic cannot be published to: it is empty, has + or "
                                     "#, or is no UTF-8");
    }
    if (options->will_payload && strlen(options->will_payload) > UINT16_MAX) {
        return tf_cli_misuse(manual, "--will-payload is longer than 65535 bytes");
    }
    if (old && (options->expiry_given || options->will_delay_s)) {
        return tf_cli_misuse(manual, "MQTT 3.1.1 has no %s: leave it out, or --mqtt-version",
                             options->expiry_given ? "--session-expiry" : "--will-delay");
    }
    return -1;
}

const char *tf_cli_options_only_mqtt(const struct tf_cli_connection_options *options)
{
    return options->client_id                      ? "--id"
           : options->user                         ? "--user"
           : options->password                     ? "--password"
           : options->will_given                   ? "a will"
           : options->version_given                ? "--mqtt-version"
           : options->keep_session                 ? "--keep-session"
           : options->expiry_given                 ? "--session-expiry"
           : options->keep_alive_s != KEEP_ALIVE_S ? "--keep-alive"
                                                   : NULL;
}

const char *tf_cli_options_user(const struct tf_cli_connection_options *options,
                                const struct tf_cli_url *url)
{
    return options->user ? options->user : url->user;
}

const char *tf_cli_options_password(const struct tf_cli_connection_options *options,
                                    const struct tf_cli_url *url)
{
    return options->password ? options->password : url->password;
}

void tf_cli_make_id(const char *command, char ret_id[TF_CLI_ID])
{
    uint32_t number;
    tf_entropy_fill(&number, sizeof(number));
    snprintf(ret_id, TF_CLI_ID, "trefoil-%s-%08lx", command, (unsigned long)number);
}
