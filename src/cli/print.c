/*
 * The options of how messages are printed.
 */
#include "cli/print.h"

#include <string.h>

#include "base/util.h"
#include "cli/options.h"
#include "port/clock.h"
#include "port/terminal.h"

#define STDOUT 1

static const struct tf_cli_option options[] = {
    {'o', "output", "text|json|raw|hex",
     "text (default): the body and a newline; json: an object a line; raw: the body only; hex: its "
     "hexadecimal digits"},
    {'F', "format", "FORMAT", "print by a format, see below"},
    {'N', "no-newline", NULL, "no newline after a message"},
};

const struct tf_cli_group tf_cli_print_group = {"Output", options, TF_COUNT(options)};

static int take_output(struct tf_cli_style *style, const struct tf_cli_manual *manual,
                       const char *value)
{
    static const char *const names[] = {
        [TF_CLI_TEXT] = "text", [TF_CLI_JSON] = "json", [TF_CLI_RAW] = "raw", [TF_CLI_HEX] = "hex"};
    for (size_t i = 0; i < TF_COUNT(names); i++) {
        if (strcmp(value, names[i]) == 0) {
            style->output = (enum tf_cli_output)i;
            return -1;
        }
    }
    return tf_cli_misuse(manual, "--output takes text, json, raw or hex, not \"%.40s\"", value);
}

int tf_cli_print_take(struct tf_cli_style *style, const struct tf_cli_manual *manual, int key,
                      const char *value)
{
    char why[TF_CLI_FORMAT_WHY];
    switch (key) {
    case 'o':
        return take_output(style, manual, value);
    case 'F':
        if (!tf_cli_format_check(value, why)) {
            return tf_cli_misuse(manual, "%s", why);
        }
        style->output = TF_CLI_FORMAT;
        style->format = value;
        return -1;
    case 'N':
        style->no_newline = true;
        return -1;
    default:
        return TF_CLI_KEY_OWN;
    }
}

void tf_cli_print_complete(struct tf_cli_style *style)
{
    style->terminal = tf_terminal_is(STDOUT);
    style->colour = tf_terminal_colour(STDOUT);
}

enum tf_err tf_cli_print(const struct tf_cli_style *style, const struct tf_mqtt_client_event *event)
{
    const struct tf_mqtt_publish *publish = &event->publish;
    const struct tf_cli_message message = {.address = publish->topic,
                                           .body = publish->payload,
                                           .properties = publish->properties,
                                           .wall_us = tf_clock_wall(),
                                           .packet_id = publish->packet_id,
                                           .qos = publish->qos,
                                           .retain = publish->retain,
                                           .dup = publish->dup};
    return tf_cli_message_print(style, &message, stdout);
}
