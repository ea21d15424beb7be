/*
 * A message as text, raw bytes, hexadecimal digits, or by a format.
 */
#include "cli/message.h"

#include <string.h>
#include <time.h>

#include "cli/body.h"
#include "port/clock.h"

/* ---- pieces ---- */

static void write_bytes(struct tf_bytes bytes, FILE *out)
{
    if (bytes.length) {
        fwrite(bytes.data, 1, bytes.length, out);
    }
}

/* ---- formats ---- */

static const char conversions[] = "tpxXljqrmdCRDEFPSIU%";
static const char escapes[] = "ntraev0\\", escaped[] = "\n\t\r\a\033\v\0\\";
static const char time_conversions[] = "aAbBcCdDeFgGhHIjklmMnprRsStTuUVwWxXyYzZN@";

bool tf_cli_format_check(const char *format, char ret_why[TF_CLI_FORMAT_WHY])
{
    for (const char *at = format; *at; at++) {
        const char *allowed = *at == '%'    ? conversions
                              : *at == '@'  ? time_conversions
                              : *at == '\\' ? escapes
                                            : NULL;
        if (!allowed) {
            continue;
        }
        if (!at[1] || !strchr(allowed, at[1])) {
            snprintf(ret_why, TF_CLI_FORMAT_WHY,
                     "the format has %c%s%c, which means nothing; write %c%c for the sign itself",
                     *at, at[1] ? "" : " at its end", at[1] ? at[1] : ' ', *at, *at);
            return false;
        }
        at++;
    }
    return true;
}

static void write_user_properties(struct tf_bytes properties, FILE *out)
{
    struct tf_mqtt_property_cursor cursor = {properties, 0};
    struct tf_mqtt_property property;
    bool first = true;
    while (tf_mqtt_property_next(&cursor, &property)) {
        if (property.id == TF_MQTT_USER_PROPERTY) {
            fputs(first ? "" : " ", out);
            write_bytes(property.name, out);
            fputc(':', out);
            write_bytes(property.value, out);
            first = false;
        }
    }
}

static void write_subscription_ids(struct tf_bytes properties, FILE *out)
{
    struct tf_mqtt_property_cursor cursor = {properties, 0};
    struct tf_mqtt_property property;
    bool first = true;
    while (tf_mqtt_property_next(&cursor, &property)) {
        if (property.id == TF_MQTT_SUBSCRIPTION_ID) {
            fprintf(out, "%s%lu", first ? "" : " ", (unsigned long)property.number);
            first = false;
        }
    }
}

/* The value of one property; nothing if it is not there. */
static void write_property(struct tf_bytes properties, unsigned id, FILE *out)
{
    struct tf_mqtt_property property;
    if (!tf_mqtt_property_find(properties, id, &property)) {
        return;
    }
    if (id == TF_MQTT_MESSAGE_EXPIRY || id == TF_MQTT_PAYLOAD_FORMAT) {
        fprintf(out, "%lu", (unsigned long)property.number);
    } else {
        write_bytes(property.value, out);
    }
}

/* One of strftime's conversions, in local time. */
static void write_time(uint64_t wall_us, char conversion, FILE *out)
{
    if (conversion == 'N') {
        fprintf(out, "%09lu", (unsigned long)(wall_us % 1000000 * 1000));
        return;
    }
    if (conversion == '@') {
        fputc('@', out);
        return;
    }
    /* By a pointer: the format is one of time_conversions, which no compiler can see. */
    size_t (*const print)(char *, size_t, const char *, const struct tm *) = strftime;
    char format[3] = {'%', conversion, 0}, text[128];
    time_t seconds = (time_t)(wall_us / 1000000);
    struct tm parts;
    if (localtime_r(&seconds, &parts) && print(text, sizeof(text), format, &parts)) {
        fputs(text, out);
    }
}

/* Conversions that tell of the delivery. */
static enum tf_err write_delivery(const struct tf_cli_message *message, char conversion, FILE *out)
{
    char time[TF_CLOCK_TEXT];
    switch (conversion) {
    case 'I':
        tf_clock_format(time, message->wall_us);
        fputs(time, out);
        return TF_OK;
    case 'U':
        fprintf(out, "%llu.%06llu", (unsigned long long)(message->wall_us / 1000000),
                (unsigned long long)(message->wall_us % 1000000));
        return TF_OK;
    case 'j':
        return tf_cli_message_json(message, out);
    case 'q':
        fprintf(out, "%u", message->qos);
        return TF_OK;
    case 'r':
        fprintf(out, "%u", message->retain);
        return TF_OK;
    case 'd':
        fprintf(out, "%u", message->dup);
        return TF_OK;
    case 'm':
        fprintf(out, "%u", message->packet_id);
        return TF_OK;
    default:
        fputc('%', out);
        return TF_OK;
    }
}

static enum tf_err write_conversion(const struct tf_cli_message *message, char conversion,
                                    FILE *out)
{
    static const char names[] = "CRDEF";
    static const uint8_t ids[] = {TF_MQTT_CONTENT_TYPE, TF_MQTT_RESPONSE_TOPIC,
                                  TF_MQTT_CORRELATION_DATA, TF_MQTT_MESSAGE_EXPIRY,
                                  TF_MQTT_PAYLOAD_FORMAT};
    const char *name = strchr(names, conversion);
    if (name) {
        write_property(message->properties, ids[name - names], out);
        return TF_OK;
    }
    switch (conversion) {
    case 't':
        write_bytes(message->address, out);
        return TF_OK;
    case 'p':
        write_bytes(message->body, out);
        return TF_OK;
    case 'x':
        tf_cli_body_hex(message->body, false, out);
        return TF_OK;
    case 'X':
        tf_cli_body_hex(message->body, true, out);
        return TF_OK;
    case 'l':
        fprintf(out, "%zu", message->body.length);
        return TF_OK;
    case 'P':
        write_user_properties(message->properties, out);
        return TF_OK;
    case 'S':
        write_subscription_ids(message->properties, out);
        return TF_OK;
    default:
        return write_delivery(message, conversion, out);
    }
}

static enum tf_err write_format(const char *format, const struct tf_cli_message *message, FILE *out)
{
    enum tf_err err = TF_OK;
    for (const char *at = format; *at && !err; at++) {
        if (*at == '%') {
            err = write_conversion(message, *++at, out);
        } else if (*at == '@') {
            write_time(message->wall_us, *++at, out);
        } else if (*at == '\\') {
            fputc(escaped[strchr(escapes, *++at) - escapes], out);
        } else {
            fputc(*at, out);
        }
    }
    return err;
}

/* ---- the whole ---- */

static void write_address(const struct tf_cli_style *style, const struct tf_cli_message *message,
                          FILE *out)
{
    if (!style->address) {
        return;
    }
    fputs(style->colour ? "\033[36m" : "", out);
    if (style->terminal) {
        tf_cli_body_shown(message->address, out);
    } else {
        write_bytes(message->address, out);
    }
    fputs(style->colour ? "\033[0m " : " ", out);
}

enum tf_err tf_cli_message_print(const struct tf_cli_style *style,
                                 const struct tf_cli_message *message, FILE *out)
{
    enum tf_err err = TF_OK;
    switch (style->output) {
    case TF_CLI_RAW:
        write_bytes(message->body, out);
        return TF_OK;
    case TF_CLI_JSON:
        err = tf_cli_message_json(message, out);
        fputc('\n', out);
        return err;
    case TF_CLI_HEX:
        write_address(style, message, out);
        tf_cli_body_hex(message->body, false, out);
        break;
    case TF_CLI_FORMAT:
        err = write_format(style->format, message, out);
        break;
    default:
        write_address(style, message, out);
        if (style->terminal) {
            tf_cli_body_shown(message->body, out);
        } else {
            write_bytes(message->body, out);
        }
    }
    if (!style->no_newline) {
        fputc('\n', out);
    }
    return err;
}
