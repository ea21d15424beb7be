/*
 * URLs and options of a CoAP request.
 */
#include "cli/coap_request.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <trefoil/coap_names.h>

#include "base/util.h"

/* Writes the sentence and gives the error back. */
static enum tf_err refuse(enum tf_err err, char ret_why[TF_CLI_COAP_WHY], const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum tf_err refuse(enum tf_err err, char ret_why[TF_CLI_COAP_WHY], const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(ret_why, TF_CLI_COAP_WHY, format, arguments);
    va_end(arguments);
    return err;
}

/* ---- options ---- */

bool tf_cli_coap_option_has(const struct tf_cli_coap_options *options, uint16_t number)
{
    for (size_t i = 0; i < options->count; i++) {
        if (options->list[i].number == number) {
            return true;
        }
    }
    return false;
}

/* The name of an option, or its number. */
static const char *name_of(uint16_t number, char digits[8])
{
    const char *name = tf_coap_option_name(number);
    snprintf(digits, 8, "%u", number);
    return name ? name : digits;
}

enum tf_err tf_cli_coap_option_add(struct tf_cli_coap_options *options, uint16_t number,
                                   struct tf_bytes value, char ret_why[TF_CLI_COAP_WHY])
{
    char digits[8];
    const struct tf_coap_option_rule *rule = tf_coap_option_rule(number);
    struct tf_coap_option option = {number, value};
    if (options->count == TF_CLI_COAP_OPTIONS_MAX ||
        value.length > sizeof(options->memory) - options->used) {
        return refuse(TF_LIMIT, ret_why, "so many options do not fit into a request");
    }
    if (rule && !tf_coap_option_valid(&option, false)) {
        return refuse(TF_PROTOCOL, ret_why, "the option %s takes %u to %u bytes, not %zu",
                      name_of(number, digits), rule->min, rule->max, value.length);
    }
    if (rule && !rule->repeatable && tf_cli_coap_option_has(options, number)) {
        return refuse(TF_PROTOCOL, ret_why, "the option %s can be given once only",
                      name_of(number, digits));
    }
    if (value.length) {
        memcpy(options->memory + options->used, value.data, value.length);
    }
    option.value.data = options->memory + options->used;
    options->used += value.length;
    options->list[options->count++] = option;
    return TF_OK;
}

enum tf_err tf_cli_coap_option_add_uint(struct tf_cli_coap_options *options, uint16_t number,
                                        uint32_t value, char ret_why[TF_CLI_COAP_WHY])
{
    uint8_t buffer[4];
    return tf_cli_coap_option_add(options, number, tf_coap_uint_value(value, buffer), ret_why);
}

enum tf_err tf_cli_coap_option_take(struct tf_cli_coap_options *options, const char *text,
                                    char ret_why[TF_CLI_COAP_WHY])
{
    uint8_t memory[2048];
    struct tf_writer writer = tf_writer_of(memory, sizeof(memory));
    struct tf_bytes value;
    uint16_t number;
    size_t name = strcspn(text, "=");
    if (!tf_coap_option_number(tf_bytes_of(text, name), &number)) {
        return refuse(TF_PROTOCOL, ret_why,
                      "there is no option \"%.*s\": give its name, such as Max-Age, or its number",
                      (int)TF_MIN(name, 40u), text);
    }
    if (tf_coap_option_read(&value, number, tf_bytes_str(text + name + (text[name] == '=')),
                            &writer)) {
        return refuse(TF_PROTOCOL, ret_why, "\"%.60s\" is no value that this option can have",
                      text);
    }
    return tf_cli_coap_option_add(options, number, value, ret_why);
}

enum tf_err tf_cli_coap_format_take(struct tf_cli_coap_options *options, uint16_t number,
                                    const char *text, char ret_why[TF_CLI_COAP_WHY])
{
    uint16_t format;
    if (!tf_coap_format_find(tf_bytes_str(text), &format)) {
        return refuse(TF_PROTOCOL, ret_why,
                      "\"%.60s\" is no content format: give a registered media type such as "
                      "application/json, a short form such as json, or a number up to 65535",
                      text);
    }
    return tf_cli_coap_option_add_uint(options, number, format, ret_why);
}

/* The value of a hexadecimal digit; -1: it is none. */
static int digit_of(char c)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)((at - digits) & 15) : -1;
}

enum tf_err tf_cli_coap_opaque_take(struct tf_cli_coap_options *options, uint16_t number,
                                    const char *text, char ret_why[TF_CLI_COAP_WHY])
{
    uint8_t value[TF_COAP_ECHO_MAX];
    const char *at = text[0] == '0' && (text[1] | 0x20) == 'x' ? text + 2 : text;
    size_t length = 0;
    while (at[0] && length < sizeof(value)) {
        int high = digit_of(at[0]), low = high < 0 ? -1 : digit_of(at[1]);
        if (low < 0) {
            break;
        }
        value[length++] = (uint8_t)(high << 4 | low);
        at += 2;
    }
    if (*at) {
        return refuse(TF_PROTOCOL, ret_why,
                      "\"%.60s\" is not in hexadecimal digits, two for each byte", text);
    }
    return tf_cli_coap_option_add(options, number, tf_bytes_of(value, length), ret_why);
}

/* ---- targets ---- */

bool tf_cli_coap_url(const char *text)
{
    enum tf_coap_scheme scheme;
    const char *colon = strchr(text, ':');
    return colon && tf_coap_scheme_find(tf_bytes_of(text, (size_t)(colon - text)), &scheme);
}

static enum tf_err split(struct tf_cli_coap_target *target, char ret_why[TF_CLI_COAP_WHY])
{
    size_t offset = 0;
    const char *text = target->text;
    int shown = (int)TF_MIN(strlen(text), 120u);
    enum tf_err err = tf_coap_uri_split(&target->uri, tf_bytes_str(text), &offset);
    if (err && !tf_cli_coap_url(text)) {
        return refuse(TF_PROTOCOL, ret_why,
                      "%.*s is no CoAP URL, which begins like coap://localhost/PATH", shown, text);
    }
    if (err && strchr(text, '#') == text + offset) {
        return refuse(err, ret_why,
                      "%.*s has a fragment, which CoAP does not send: write %%23 for a #", shown,
                      text);
    }
    if (err) {
        return refuse(err, ret_why,
                      "%.*s is no CoAP URL from its character %zu (\"%.10s\") on: "
                      "coap://HOST[:PORT]/PATH[?QUERY], with percent-encoding and with brackets "
                      "around an IPv6 address",
                      shown, text, offset + 1, text + offset);
    }
    if (target->uri.scheme != TF_COAP_SCHEME_COAP) {
        return refuse(TF_UNSUPPORTED, ret_why,
                      "%.*s has a scheme that is not available in this version, which speaks coap",
                      shown, text);
    }
    if (target->uri.port == 0) {
        return refuse(TF_PROTOCOL, ret_why, "%.*s has port 0, which nobody can have", shown, text);
    }
    return TF_OK;
}

static enum tf_err take_host(struct tf_cli_coap_target *target, char ret_why[TF_CLI_COAP_WHY])
{
    struct tf_bytes host;
    struct tf_writer writer = tf_writer_of(target->host, TF_URL_HOST_MAX);
    enum tf_err err = tf_coap_percent_decode(&host, target->uri.host, &writer);
    if (err || host.length > TF_URL_HOST_MAX || memchr(host.data, 0, host.length)) {
        return refuse(TF_PROTOCOL, ret_why, "%.120s has a host that is no name and no number",
                      target->text);
    }
    memmove(target->host, host.data, host.length);
    target->host[host.length] = 0;
    return TF_OK;
}

/* Puts an option behind those of the same number or a lower one. */
static enum tf_err insert(struct tf_cli_coap_target *target, const struct tf_coap_option *option)
{
    size_t at = target->option_count;
    if (at == TF_CLI_COAP_OPTIONS_MAX) {
        return TF_LIMIT;
    }
    while (at > 0 && target->options[at - 1].number > option->number) {
        target->options[at] = target->options[at - 1];
        at--;
    }
    target->options[at] = *option;
    target->option_count++;
    return TF_OK;
}

static enum tf_err collect(struct tf_cli_coap_target *target, const char *path,
                           const struct tf_cli_coap_options *options)
{
    size_t size = strlen(target->text) + 16;
    bool bare = target->uri.path.length == 0 ||
                (target->uri.path.length == 1 && target->uri.path.data[0] == '/');
    target->memory = malloc(size);
    if (!target->memory) {
        return TF_NO_MEMORY;
    }
    if (path && bare) {
        target->uri.path = tf_bytes_str(path);
    }
    struct tf_writer writer = tf_writer_of(target->memory, size);
    enum tf_err err = tf_coap_uri_options(&target->uri, false, target->options,
                                          TF_CLI_COAP_OPTIONS_MAX, &target->option_count, &writer);
    for (size_t i = 0; i < options->count && !err; i++) {
        err = insert(target, &options->list[i]);
    }
    return err;
}

enum tf_err tf_cli_coap_target_init(struct tf_cli_coap_target *target, const char *text,
                                    const char *path, const struct tf_cli_coap_options *options,
                                    char ret_why[TF_CLI_COAP_WHY])
{
    *target = (struct tf_cli_coap_target){.text = text};
    enum tf_err err = split(target, ret_why);
    if (!err) {
        err = take_host(target, ret_why);
    }
    if (err) {
        return err;
    }
    err = collect(target, path, options);
    if (err == TF_LIMIT) {
        refuse(err, ret_why,
               "%.120s has a name of more than 255 bytes between two slashes, or there are more "
               "than %d options in all",
               text, TF_CLI_COAP_OPTIONS_MAX);
    } else if (err) {
        refuse(err, ret_why, "%.120s %s", text,
               err == TF_NO_MEMORY ? "does not fit into memory"
                                   : "is not UTF-8 when it is percent-decoded");
    }
    if (err) {
        tf_cli_coap_target_release(target);
    }
    return err;
}

void tf_cli_coap_target_release(struct tf_cli_coap_target *target)
{
    free(target->memory);
    target->memory = NULL;
}

bool tf_cli_coap_target_same_peer(const struct tf_cli_coap_target *a,
                                  const struct tf_cli_coap_target *b)
{
    return a->uri.port == b->uri.port && strcmp(a->host, b->host) == 0;
}
