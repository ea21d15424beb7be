/*
 * Answers.
 */
#include "cli/coap_answer.h"

#include <stdlib.h>
#include <string.h>

#include <trefoil/coap_names.h>

#include "base/utf8.h"
#include "cli/body.h"
#include "port/clock.h"

#define TEXT_MAX 2048

/* ---- what an answer says ---- */

const char *tf_cli_coap_media_type(struct tf_bytes options, int *ret_format)
{
    struct tf_bytes value;
    const char *coding = NULL;
    int format = -1;
    if (tf_coap_option_find(options, TF_COAP_CONTENT_FORMAT, &value)) {
        format = (int)tf_coap_uint(value);
    }
    if (ret_format) {
        *ret_format = format;
    }
    const char *name = format < 0 ? NULL : tf_coap_format_name((uint16_t)format, &coding);
    return coding ? NULL : name; /* with a coding, the name would be another format's */
}

static bool says_json(const struct tf_cli_coap_answer *answer)
{
    const char *type = tf_cli_coap_media_type(answer->options, NULL);
    return type && tf_cli_body_says_json(tf_bytes_str(type));
}

static bool says_links(const struct tf_cli_coap_answer *answer)
{
    int format;
    (void)tf_cli_coap_media_type(answer->options, &format);
    return format == TF_COAP_FORMAT_LINK;
}

static bool refused(const struct tf_cli_coap_answer *answer)
{
    return tf_coap_class(answer->code) >= 4;
}

/* "coap://host:port" of whoever answered, for what links are relative to; a view of `memory`. */
static struct tf_bytes base_of(const struct tf_cli_coap_target *target,
                               const struct tf_cli_coap_answer *answer, char memory[TEXT_MAX])
{
    const struct tf_coap_uri *uri = &target->uri;
    int length;
    if (answer->from[0]) {
        length = snprintf(memory, TEXT_MAX, "coap://%s/", answer->from);
    } else {
        struct tf_bytes path = uri->path.length ? uri->path : tf_bytes_str("/");
        length =
            snprintf(memory, TEXT_MAX, "coap://%s%.*s%s:%u%.*s", uri->brackets ? "[" : "",
                     (int)uri->host.length, (const char *)uri->host.data, uri->brackets ? "]" : "",
                     uri->port, (int)path.length, (const char *)path.data);
    }
    return tf_bytes_of(memory, length > 0 && length < TEXT_MAX ? (size_t)length : 0);
}

void tf_cli_coap_answer_refusal(const char *command, const struct tf_cli_coap_target *target,
                                const struct tf_cli_coap_answer *answer)
{
    uint8_t text[64];
    struct tf_writer writer = tf_writer_of(text, sizeof(text));
    struct tf_bytes words = answer->body, format;
    tf_coap_code_write(&writer, answer->code);
    fprintf(stderr, "trefoil %s: %s: %s%s%.*s", command, target->text, answer->from,
            answer->from[0] ? " says " : "", (int)tf_writer_length(&writer), (const char *)text);
    /* RFC 7252 5.5.2: text for people, where there is no format. */
    if (words.length && !tf_coap_option_find(answer->options, TF_COAP_CONTENT_FORMAT, &format) &&
        tf_utf8_valid(words)) {
        fputs(": ", stderr);
        tf_cli_body_shown(words, stderr);
    }
    fputc('\n', stderr);
}

/* ---- text ---- */

static void print_head(const struct tf_cli_coap_style *style,
                       const struct tf_cli_coap_target *target,
                       const struct tf_cli_coap_answer *answer, FILE *out)
{
    char time[TF_CLOCK_TEXT];
    if (style->time) {
        tf_clock_format(time, answer->wall_us);
        fprintf(out, "%s ", time);
    }
    if (style->url || answer->from[0]) {
        fputs(style->colour ? "\033[36m" : "", out);
        tf_cli_body_shown(
            tf_bytes_str(answer->from[0] && !style->url ? answer->from : target->text), out);
        if (answer->from[0] && style->url) {
            fprintf(out, " %s", answer->from);
        }
        fputs(style->colour ? "\033[0m " : " ", out);
    }
}

/* Where what was created is (RFC 7252 5.8.2). False: it does not say. */
static bool print_location(const struct tf_cli_coap_target *target,
                           const struct tf_cli_coap_answer *answer, FILE *out)
{
    char base[TEXT_MAX];
    uint8_t location[TEXT_MAX], uri[TEXT_MAX];
    struct tf_writer writer = tf_writer_of(location, sizeof(location));
    struct tf_writer whole = tf_writer_of(uri, sizeof(uri));
    if (tf_coap_location_write(&writer, answer->options) || !tf_writer_length(&writer) ||
        tf_coap_uri_resolve(&whole, base_of(target, answer, base),
                            tf_bytes_of(location, tf_writer_length(&writer)))) {
        return false;
    }
    tf_cli_body_shown(tf_bytes_of(uri, tf_writer_length(&whole)), out);
    fputc('\n', out);
    return true;
}

static void print_text(const struct tf_cli_coap_style *style,
                       const struct tf_cli_coap_target *target,
                       const struct tf_cli_coap_answer *answer, FILE *out)
{
    char base[TEXT_MAX];
    struct tf_bytes body = answer->body;
    if (style->links || (style->pretty && says_links(answer))) {
        tf_cli_coap_links_print(
            body, answer->from[0] ? base_of(target, answer, base) : tf_bytes_of(NULL, 0), out);
        return;
    }
    if (!body.length && answer->code != TF_COAP_CONTENT) {
        if (answer->code == TF_COAP_CREATED) {
            (void)print_location(target, answer, out);
        }
        return;
    }
    print_head(style, target, answer, out);
    if (style->pretty && says_json(answer) && tf_cli_body_pretty(body, out)) {
        return;
    }
    if (style->terminal) {
        tf_cli_body_shown(body, out);
    } else if (body.length) {
        fwrite(body.data, 1, body.length, out);
    }
    fputc('\n', out);
}

/* ---- JSON ---- */

/* An option's value: a number where it is one, else text. */
static json_t *option_json(const struct tf_coap_option *option)
{
    const struct tf_coap_option_rule *rule = tf_coap_option_rule(option->number);
    uint8_t text[3 * 1034 + 8];
    struct tf_writer writer = tf_writer_of(text, sizeof(text));
    bool block = option->number == TF_COAP_BLOCK1 || option->number == TF_COAP_BLOCK2;
    if (rule && rule->kind == TF_COAP_OPTION_EMPTY) {
        return json_true();
    }
    if (rule && rule->kind == TF_COAP_OPTION_UINT && !block && option->value.length <= 4) {
        return json_integer(tf_coap_uint(option->value));
    }
    tf_coap_option_write(&writer, option);
    return tf_cli_body_text(tf_bytes_of(text, tf_writer_length(&writer)));
}

/* By their names; a repeated one has an array. */
static json_t *options_json(struct tf_bytes options)
{
    struct tf_coap_cursor cursor = tf_coap_options(options);
    struct tf_coap_option option;
    json_t *object = json_object();
    while (object && tf_coap_option_next(&cursor, &option)) {
        const struct tf_coap_option_rule *rule = tf_coap_option_rule(option.number);
        char digits[8];
        const char *name = tf_coap_option_name(option.number);
        snprintf(digits, sizeof(digits), "%u", option.number);
        name = name ? name : digits;
        json_t *value = option_json(&option), *list = json_object_get(object, name);
        int failed;
        if (list) {
            failed = json_array_append_new(list, value);
        } else if (rule && !rule->repeatable) {
            failed = json_object_set_new(object, name, value);
        } else {
            list = json_array();
            failed = json_array_append_new(list, value) | json_object_set_new(object, name, list);
        }
        if (failed) {
            json_decref(object);
            object = NULL;
        }
    }
    return object;
}

static int set_format(json_t *object, const struct tf_cli_coap_answer *answer)
{
    int format, failed = 0;
    const char *type = tf_cli_coap_media_type(answer->options, &format);
    if (format >= 0) {
        failed = json_object_set_new(object, "content_format", json_integer(format));
    }
    if (type) {
        failed |= json_object_set_new(object, "content_type", json_string(type));
    }
    return failed;
}

/* All but the body. NULL: no memory. */
static json_t *envelope_of(const struct tf_cli_coap_target *target,
                           const struct tf_cli_coap_answer *answer)
{
    json_t *object = json_object();
    char time[TF_CLOCK_TEXT], code[8];
    const char *name = tf_coap_code_name(answer->code);
    tf_clock_format(time, answer->wall_us);
    snprintf(code, sizeof(code), "%u.%02u", tf_coap_class(answer->code), answer->code & 31u);
    int failed = json_object_set_new(object, "timestamp", json_string(time)) |
                 json_object_set_new(object, "url", tf_cli_body_text(tf_bytes_str(target->text)));
    if (answer->from[0]) {
        failed |= json_object_set_new(object, "from", json_string(answer->from));
    }
    failed |= json_object_set_new(object, "code", json_string(code)) |
              json_object_set_new(object, "code_name", json_string(name ? name : "")) |
              set_format(object, answer) |
              json_object_set_new(object, "options", options_json(answer->options)) |
              json_object_set_new(object, "round_trip_ms",
                                  json_real((double)answer->round_trip_us / 1000)) |
              json_object_set_new(object, "retransmissions", json_integer(answer->retransmissions));
    if (answer->observe) {
        failed |= json_object_set_new(object, "observe", json_integer(answer->sequence));
    }
    if (failed) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static enum tf_err print_json(const struct tf_cli_coap_style *style,
                              const struct tf_cli_coap_target *target,
                              const struct tf_cli_coap_answer *answer, FILE *out)
{
    char base[TEXT_MAX];
    json_t *object = envelope_of(target, answer);
    if (object && style->links && !refused(answer) &&
        json_object_set_new(object, "links",
                            tf_cli_coap_links_json(answer->body, base_of(target, answer, base)))) {
        json_decref(object);
        object = NULL;
    }
    enum tf_err err = tf_cli_body_json(object, answer->body, says_json(answer), out);
    fputc('\n', out);
    return err;
}

/* ---- the whole ---- */

enum tf_err tf_cli_coap_answer_print(const struct tf_cli_coap_style *style,
                                     const struct tf_cli_coap_target *target,
                                     const struct tf_cli_coap_answer *answer, FILE *out)
{
    if (style->output == TF_CLI_JSON) {
        return print_json(style, target, answer, out);
    }
    if (refused(answer)) {
        return TF_OK;
    }
    if (style->output == TF_CLI_RAW) {
        if (answer->body.length) {
            fwrite(answer->body.data, 1, answer->body.length, out);
        }
    } else if (style->output == TF_CLI_HEX) {
        if (answer->body.length || answer->code == TF_COAP_CONTENT) {
            print_head(style, target, answer, out);
            tf_cli_body_hex(answer->body, false, out);
            fputc('\n', out);
        }
    } else {
        print_text(style, target, answer, out);
    }
    return TF_OK;
}
