/*
 * Carries out one line of a configuration: what its key does, and where that goes.
 *
 * Which listener an option belongs to is mosquitto's rule, checked against mosquitto 2.0.11: the
 * last `listener` line of the same file; before any, the default listener, which opens if it was
 * given a port, an address, or one of a few options. It must not know how lines are cut from files.
 */
#include "broker/config_keys.h"

#include <string.h>

#include "base/assert.h"
#include "base/utf8.h"
#include "base/util.h"
#include "broker/address.h"

#define SHOWN_MAX 48

static bool bit_test(const uint8_t *bits, size_t i)
{
    return bits[i / 8] >> (i % 8) & 1;
}

static void bit_set(uint8_t *bits, size_t i)
{
    bits[i / 8] |= (uint8_t)(1u << (i % 8));
}

/* The place of the value of the line at hand. */
static struct tf_config_place value_place(const struct tf_config_build *build)
{
    struct tf_config_place place = build->place;

    place.column = build->value_column;
    return place;
}

/* Splits the first word off `text`; `ret_rest` is what follows, without blanks before it. */
static struct tf_config_text word_split(struct tf_config_text text, struct tf_config_text *ret_rest)
{
    size_t length = 0, next;

    while (length < text.length && text.data[length] != ' ' && text.data[length] != '\t')
        length++;
    next = length;
    while (next < text.length && (text.data[next] == ' ' || text.data[next] == '\t'))
        next++;
    *ret_rest = (struct tf_config_text){text.data + next, text.length - next};
    return (struct tf_config_text){text.data, length};
}

/* The listener that options go to. */
static struct tf_config_listener *listener_at_hand(struct tf_config_build *build)
{
    return build->current > 0 ? &build->config->listeners[build->current - 1] : &build->plain;
}

/* ---- keys that are not done ---- */

static void answer_unknown(struct tf_config_build *build, struct tf_config_text name)
{
    const struct tf_config_key *nearest;
    char shown[SHOWN_MAX];
    bool close;

    nearest = tf_config_key_nearest(name, &close);
    tf_config_text_show(name, shown, sizeof(shown));
    tf_config_report_add(build->report, TF_CONFIG_ERROR, build->place,
                         close ? "unknown key `%s`: did you mean `%s`?"
                               : "unknown key `%s`; the nearest known key is `%s`",
                         shown, nearest->name);
}

static void answer_not_done(struct tf_config_build *build, const struct tf_config_key *key,
                            struct tf_config_text value)
{
    struct tf_config_text rest;
    enum tf_config_severity severity = key->answer == TF_CONFIG_REFUSED   ? TF_CONFIG_ERROR
                                       : key->answer == TF_CONFIG_MISSING ? TF_CONFIG_WARNING
                                                                          : TF_CONFIG_NOTE;

    if (key->harmless && tf_config_text_is(word_split(value, &rest), key->harmless))
        severity = TF_CONFIG_NOTE;
    tf_config_report_add(build->report, severity, build->place, "`%s`: %s", key->name, key->help);
}

/* ---- lines with a meaning of their own ---- */

/* What was wrong with a value, in one form for all kinds. */
static void answer_bad_value(struct tf_config_build *build, const struct tf_config_key *key,
                             struct tf_config_text value, const char *why)
{
    char shown[SHOWN_MAX];

    tf_config_report_add(build->report, TF_CONFIG_ERROR, value_place(build), "`%s` %s, not `%s`",
                         key->name, why, tf_config_text_show(value, shown, sizeof(shown)));
}

static void answer_extra(struct tf_config_build *build, const struct tf_config_key *key,
                         struct tf_config_text rest)
{
    char shown[SHOWN_MAX];

    if (rest.length > 0)
        tf_config_report_add(
            build->report, TF_CONFIG_WARNING, value_place(build),
            "`%s` takes no more words: `%s` is not read (a comment needs a line of "
            "its own)",
            key->name, tf_config_text_show(rest, shown, sizeof(shown)));
}

/* A port number. False: it was none, and the report says so. */
static bool parse_port(struct tf_config_build *build, const struct tf_config_key *key,
                       struct tf_config_text text, uint16_t *ret_port)
{
    uint64_t number;

    if (tf_config_number(text, UINT16_MAX, &number)) {
        answer_bad_value(build, key, text, "must begin with a port from 0 to 65535");
        return false;
    }
    *ret_port = (uint16_t)number;
    return true;
}

/* A host. `*ret_failed`: it was none, and the report says so. */
static enum tf_err parse_host(struct tf_config_build *build, const struct tf_config_key *key,
                              struct tf_config_text text, char **ret_host, bool *ret_failed)
{
    enum tf_err err;

    *ret_failed = true;
    if (text.length > 0 && text.data[0] == '/') {
        answer_bad_value(build, key, text,
                         "must name an address: Unix sockets are not available in this version");
        return TF_OK;
    }
    err = tf_config_host_parse(text, ret_host);
    if (err == TF_PROTOCOL) {
        answer_bad_value(build, key, text, "must name an address, a host or nothing");
        return TF_OK;
    }
    *ret_failed = err != TF_OK;
    return err;
}

static enum tf_err apply_listener(struct tf_config_build *build, const struct tf_config_key *key,
                                  struct tf_config_text value)
{
    struct tf_config_listener listener;
    struct tf_config_text port, host, rest;
    bool failed;
    enum tf_err err;

    tf_config_listener_init(&listener);
    port = word_split(value, &rest);
    host = word_split(rest, &rest);
    answer_extra(build, key, rest);
    tf_config_apply_section(build);
    /* A section begins even if its head is wrong, so that its options blame nobody else. */
    if (!parse_port(build, key, port, &listener.port))
        listener.port = 0;
    err = parse_host(build, key, host, &listener.host, &failed);
    if (err)
        return err;
    err = tf_config_listener_add(build->config, &listener);
    if (err)
        tf_config_listener_release(&listener);
    if (err == TF_LIMIT) {
        tf_config_report_add(build->report, TF_CONFIG_ERROR, build->place,
                             "there are more than %d listeners", TF_CONFIG_LISTENER_MAX);
        return TF_OK;
    }
    build->current = build->config->listener_count;
    build->queue = build->address = 0;
    build->bridge = false;
    return err;
}

static enum tf_err apply_bind_address(struct tf_config_build *build,
                                      const struct tf_config_key *key, struct tf_config_text value)
{
    struct tf_config_listener fresh = {0};
    bool failed;
    enum tf_err err = parse_host(build, key, value, &fresh.host, &failed);
    char *old = build->plain.host;

    if (failed)
        return err;
    build->plain.host = fresh.host;
    build->plain_bound = true;
    fresh.host = old;
    tf_config_listener_release(&fresh);
    return TF_OK;
}

static void apply_protocol(struct tf_config_build *build, const struct tf_config_key *key,
                           struct tf_config_text value)
{
    static const char *const known[] = {"websockets", "coaps", "coap+tcp", "amqps",
                                        "mqtts",      "http",  "https"};
    enum tf_config_protocol protocol = tf_config_protocol_find(value);

    if (protocol != TF_CONFIG_PROTOCOL_COUNT) {
        listener_at_hand(build)->protocol = protocol;
        return;
    }
    for (size_t i = 0; i < TF_COUNT(known); i++) {
        if (tf_config_text_is(value, known[i])) {
            tf_config_report_add(build->report, TF_CONFIG_ERROR, value_place(build),
                                 "`protocol %s` is not available in this version; it serves mqtt, "
                                 "coap and amqp",
                                 known[i]);
            return;
        }
    }
    answer_bad_value(build, key, value, "must be mqtt, coap or amqp");
}

/* Each line adds a place; the first replaces the default. */
static enum tf_err apply_log_dest(struct tf_config_build *build, const struct tf_config_key *key,
                                  struct tf_config_text value)
{
    struct tf_config *config = build->config;
    struct tf_config_text rest, word = word_split(value, &rest);
    unsigned before = tf_config_key_given(config, key) ? config->log_dests : 0;
    char why[TF_CONFIG_WHY_MAX];

    if (tf_config_text_is(word, "file")) {
        if (rest.length == 0) {
            answer_bad_value(build, key, value, "file needs a path");
            return TF_OK;
        }
        config->log_dests = before | TF_CONFIG_LOG_TO_FILE;
        return tf_config_value_parse(&tf_config_log_file, rest, config, why);
    }
    answer_extra(build, key, rest);
    if (tf_config_text_is(word, "none")) {
        config->log_dests = 0;
    } else if (tf_config_text_is(word, "stderr")) {
        config->log_dests = before | TF_CONFIG_LOG_TO_STDERR;
    } else if (tf_config_text_is(word, "stdout")) {
        config->log_dests = before | TF_CONFIG_LOG_TO_STDOUT;
    } else if (tf_config_text_is(word, "syslog") || tf_config_text_is(word, "topic") ||
               tf_config_text_is(word, "dlt")) {
        config->log_dests = before | TF_CONFIG_LOG_TO_STDERR;
        tf_config_report_add(build->report, TF_CONFIG_WARNING, value_place(build),
                             "`log_dest %.*s` is not available: the log goes to stderr",
                             (int)word.length, word.data);
    } else {
        answer_bad_value(build, key, word, "must be stderr, stdout, file or none");
    }
    return TF_OK;
}

/* Each line adds a kind of message; the first replaces the default. */
static void apply_log_type(struct tf_config_build *build, const struct tf_config_key *key,
                           struct tf_config_text value)
{
    static const struct {
        const char *word;
        unsigned bits;
    } types[] = {
        {"error", TF_CONFIG_LOG_ERROR},
        {"warning", TF_CONFIG_LOG_WARNING},
        {"notice", TF_CONFIG_LOG_NOTICE},
        {"information", TF_CONFIG_LOG_INFORMATION},
        {"debug", TF_CONFIG_LOG_DEBUG},
        {"subscribe", TF_CONFIG_LOG_SUBSCRIBE},
        {"unsubscribe", TF_CONFIG_LOG_UNSUBSCRIBE},
        {"websockets", 0},
        {"internal", 0},
        {"all", 127},
    };
    struct tf_config *config = build->config;
    unsigned before = tf_config_key_given(config, key) ? config->log_types : 0;

    if (tf_config_text_is(value, "none")) {
        config->log_types = 0;
        return;
    }
    for (size_t i = 0; i < TF_COUNT(types); i++) {
        if (tf_config_text_is(value, types[i].word)) {
            config->log_types = before | types[i].bits;
            return;
        }
    }
    answer_bad_value(build, key, value,
                     "must be error, warning, notice, information, debug, subscribe, unsubscribe, "
                     "none or all");
}

/* ---- queues and topics ---- */

static struct tf_bytes bytes_of(struct tf_config_text text)
{
    return tf_bytes_of(text.data, text.length);
}

/* Forgets which keys of a queue or an address were said: another one begins. */
static void forget_block(struct tf_config_build *build, enum tf_config_scope scope)
{
    for (size_t i = 0; i < tf_config_key_count; i++)
        if (tf_config_keys[i].scope == scope)
            build->said[i / 8] &= (uint8_t) ~(1u << (i % 8));
}

static enum tf_err apply_queue(struct tf_config_build *build, const struct tf_config_key *key,
                               struct tf_config_text value)
{
    char shown[SHOWN_MAX];
    enum tf_err err;

    forget_block(build, TF_CONFIG_SCOPE_QUEUE);
    build->address = 0;
    build->bridge = false;
    if (!tf_address_valid(bytes_of(value)) || value.data[0] == '$')
        answer_bad_value(build, key, value,
                         "must be a name without + and #, of at most 128 levels, that does not "
                         "begin with $");
    /* A block begins even if its head is wrong, so that its options blame nobody else. */
    err = tf_config_queue_add(build->config, value);
    if (err == TF_EXISTS)
        tf_config_report_add(build->report, TF_CONFIG_ERROR, value_place(build),
                             "there is a queue `%s` already",
                             tf_config_text_show(value, shown, sizeof(shown)));
    else if (err == TF_LIMIT)
        tf_config_report_add(build->report, TF_CONFIG_ERROR, build->place,
                             "there are more than %d queues", TF_CONFIG_QUEUE_MAX);
    build->queue = build->config->queue_count;
    return err == TF_NO_MEMORY ? err : TF_OK;
}

/* A filter, into a list. */
static enum tf_err apply_filter(struct tf_config_build *build, const struct tf_config_key *key,
                                struct tf_config_text value, char ***items, size_t *count)
{
    enum tf_err err;

    if (!tf_filter_valid(bytes_of(value))) {
        answer_bad_value(build, key, value,
                         "must be an address or a filter of at most 128 levels, with + for a level "
                         "and # for the last ones");
        return TF_OK;
    }
    err = tf_config_texts_add(items, count, value);
    if (err == TF_LIMIT)
        tf_config_report_add(build->report, TF_CONFIG_ERROR, build->place,
                             "there are more than %d of `%s`", TF_CONFIG_TOPIC_MAX, key->name);
    return err == TF_NO_MEMORY ? err : TF_OK;
}

/* A key that is a bridge's here. */
static enum tf_err answer_bridge(struct tf_config_build *build, const struct tf_config_key *key)
{
    const char *bridge = "connection";

    tf_config_report_add(build->report, TF_CONFIG_WARNING, build->place, "`%s`: %s", key->name,
                         tf_config_key_find((struct tf_config_text){bridge, strlen(bridge)})->help);
    return TF_OK;
}

/* `topic filter` is Trefoil's; mosquitto's stands in a bridge, or has more words. */
static enum tf_err apply_topic(struct tf_config_build *build, const struct tf_config_key *key,
                               struct tf_config_text value)
{
    struct tf_config_text rest, first = word_split(value, &rest);

    if (build->bridge || rest.length > 0)
        return answer_bridge(build, key);
    return apply_filter(build, key, first, &build->config->topics, &build->config->topic_count);
}

static enum tf_err apply_address(struct tf_config_build *build, const struct tf_config_key *key,
                                 struct tf_config_text value)
{
    char shown[SHOWN_MAX];
    enum tf_err err;

    if (build->bridge)
        return answer_bridge(build, key);
    forget_block(build, TF_CONFIG_SCOPE_ADDRESS);
    if (!tf_filter_valid(bytes_of(value)))
        answer_bad_value(build, key, value,
                         "must be an address or a filter of at most 128 levels, with + for a level "
                         "and # for the last ones");
    /* A block begins even if its head is wrong, so that its options blame nobody else. */
    err = tf_config_address_add(build->config, value);
    if (err == TF_EXISTS)
        tf_config_report_add(build->report, TF_CONFIG_ERROR, value_place(build),
                             "there is an address block `%s` already",
                             tf_config_text_show(value, shown, sizeof(shown)));
    else if (err == TF_LIMIT)
        tf_config_report_add(build->report, TF_CONFIG_ERROR, build->place,
                             "there are more than %d address blocks", TF_CONFIG_ADDRESS_MAX);
    build->address = build->config->address_count;
    build->queue = 0;
    return err == TF_NO_MEMORY ? err : TF_OK;
}

/* `durability` after a `listener` line is that listener's: the same choice, another field. */
static enum tf_err apply_durability(struct tf_config_build *build, const struct tf_config_key *key,
                                    struct tf_config_text value)
{
    struct tf_config_key own = *key;
    void *base = build->config;
    char why[TF_CONFIG_WHY_MAX];

    if (build->current > 0) {
        own.offset = offsetof(struct tf_config_listener, durability);
        base = listener_at_hand(build);
    }
    enum tf_err err = tf_config_value_parse(&own, value, base, why);
    if (err == TF_PROTOCOL) {
        answer_bad_value(build, key, value, why);
        return TF_OK;
    }
    return err;
}

/* ---- one line ---- */

/* The struct that holds the field of `key` for the line at hand. */
static void *base_at_hand(struct tf_config_build *build, const struct tf_config_key *key)
{
    switch (key->scope) {
    case TF_CONFIG_SCOPE_LISTENER:
        return listener_at_hand(build);
    case TF_CONFIG_SCOPE_QUEUE:
        return &build->config->queues[build->queue - 1];
    case TF_CONFIG_SCOPE_ADDRESS:
        return &build->config->addresses[build->address - 1];
    case TF_CONFIG_SCOPE_ACCESS:
        build->access_said = true;
        if (build->config->per_listener_settings && build->current > 0)
            return &build->config->listeners[build->current - 1].access;
        return &build->config->access;
    default:
        return build->config;
    }
}

/* What a value of a plain kind means beyond being stored. */
static void apply_consequences(struct tf_config_build *build, const struct tf_config_key *key,
                               void *base)
{
    struct tf_config_listener preset;

    if (key->scope == TF_CONFIG_SCOPE_ACCESS &&
        key->offset == offsetof(struct tf_config_access, allow_anonymous))
        ((struct tf_config_access *)base)->allow_anonymous_given = true;
    if (key->scope == TF_CONFIG_SCOPE_QUEUE &&
        key->offset == offsetof(struct tf_config_queue, dead_letter)) {
        const char *address = ((struct tf_config_queue *)base)->dead_letter;
        struct tf_config_text value = {address, strlen(address)};

        if (!tf_address_valid(bytes_of(value)) || address[0] == '$')
            answer_bad_value(build, key, value,
                             "must be an address without + and # that does not begin with $");
    }
    if (base == &build->plain && !build->opener && key->flags & TF_CONFIG_OPENS) {
        tf_config_listener_init(&preset);
        if (!tf_config_value_equal(key, base, &preset))
            build->opener = key;
    }
}

static enum tf_err apply_field(struct tf_config_build *build, const struct tf_config_key *key,
                               struct tf_config_text value)
{
    bool switches = key->scope == TF_CONFIG_SCOPE_GLOBAL &&
                    key->offset == offsetof(struct tf_config, per_listener_settings);
    void *base = base_at_hand(build, key);
    char why[TF_CONFIG_WHY_MAX];
    enum tf_err err = tf_config_value_parse(key, value, base, why);

    if (err == TF_PROTOCOL) {
        answer_bad_value(build, key, value, why);
        return TF_OK;
    }
    if (err)
        return err;
    if (switches && build->access_said && build->config->per_listener_settings)
        tf_config_report_add(build->report, TF_CONFIG_ERROR, build->place,
                             "`%s` must stand before the keys that it makes a listener's own, "
                             "such as allow_anonymous",
                             key->name);
    apply_consequences(build, key, base);
    return TF_OK;
}

/* True if the value of a key is the rest of the line, or is split by whoever applies it. */
static bool takes_words(const struct tf_config_key *key)
{
    static const uint32_t kinds = 1u << TF_CONFIG_KIND_TEXT | 1u << TF_CONFIG_KIND_LISTENER |
                                  1u << TF_CONFIG_KIND_LOG_DEST | 1u << TF_CONFIG_KIND_INCLUDE_DIR |
                                  1u << TF_CONFIG_KIND_QUEUE | 1u << TF_CONFIG_KIND_QUEUE_BIND |
                                  1u << TF_CONFIG_KIND_TOPIC | 1u << TF_CONFIG_KIND_ADDRESS;

    return kinds >> key->kind & 1;
}

static enum tf_err apply_done(struct tf_config_build *build, const struct tf_config_key *key,
                              struct tf_config_text value, struct tf_config_text *ret_include)
{
    struct tf_config_text rest = {0};

    if (key->scope == TF_CONFIG_SCOPE_QUEUE && build->queue == 0) {
        tf_config_report_add(build->report, TF_CONFIG_ERROR, build->place,
                             "`%s` stands after no `queue` line", key->name);
        return TF_OK;
    }
    if (key->scope == TF_CONFIG_SCOPE_ADDRESS && build->address == 0) {
        tf_config_report_add(build->report, TF_CONFIG_ERROR, build->place,
                             "`%s` stands after no `address` line", key->name);
        return TF_OK;
    }
    if (!takes_words(key)) {
        value = word_split(value, &rest);
        answer_extra(build, key, rest);
    }
    switch (key->kind) {
    case TF_CONFIG_KIND_LISTENER:
        return apply_listener(build, key, value);
    case TF_CONFIG_KIND_PORT:
        if (parse_port(build, key, value, &build->plain.port))
            build->plain_bound = build->plain_port = true;
        return TF_OK;
    case TF_CONFIG_KIND_BIND_ADDRESS:
        return apply_bind_address(build, key, value);
    case TF_CONFIG_KIND_PROTOCOL:
        apply_protocol(build, key, value);
        return TF_OK;
    case TF_CONFIG_KIND_LOG_DEST:
        return apply_log_dest(build, key, value);
    case TF_CONFIG_KIND_LOG_TYPE:
        apply_log_type(build, key, value);
        return TF_OK;
    case TF_CONFIG_KIND_INCLUDE_DIR:
        if (build->nested)
            tf_config_report_add(build->report, TF_CONFIG_WARNING, build->place,
                                 "`include_dir` is read in the main file only");
        else
            *ret_include = value;
        return TF_OK;
    case TF_CONFIG_KIND_QUEUE:
        return apply_queue(build, key, value);
    case TF_CONFIG_KIND_QUEUE_BIND: {
        struct tf_config_queue *queue = base_at_hand(build, key);

        return apply_filter(build, key, value, &queue->binds, &queue->bind_count);
    }
    case TF_CONFIG_KIND_TOPIC:
        return apply_topic(build, key, value);
    case TF_CONFIG_KIND_ADDRESS:
        return apply_address(build, key, value);
    case TF_CONFIG_KIND_DURABILITY:
        return apply_durability(build, key, value);
    default:
        return apply_field(build, key, value);
    }
}

enum tf_err tf_config_apply(struct tf_config_build *build, struct tf_config_text name,
                            struct tf_config_text value, struct tf_config_text *ret_include)
{
    const struct tf_config_key *key = tf_config_key_find(name);
    size_t i, errors = build->report->errors;
    enum tf_err err;

    *ret_include = (struct tf_config_text){0};
    if (!key) {
        answer_unknown(build, name);
        return TF_OK;
    }
    if (key->answer != TF_CONFIG_DONE) {
        build->bridge |= strcmp(key->name, "connection") == 0;
        answer_not_done(build, key, value);
        return TF_OK;
    }
    if (value.length == 0) {
        tf_config_report_add(build->report, TF_CONFIG_ERROR, value_place(build),
                             "`%s` has no value", key->name);
        return TF_OK;
    }
    if (!tf_utf8_valid(tf_bytes_of(value.data, value.length))) {
        tf_config_report_add(build->report, TF_CONFIG_ERROR, value_place(build),
                             "the value of `%s` is not UTF-8", key->name);
        return TF_OK;
    }
    i = tf_config_key_index(key);
    if (bit_test(build->said, i) && !(key->flags & TF_CONFIG_MANY))
        tf_config_report_add(build->report, TF_CONFIG_WARNING, build->place,
                             "`%s` was said before: the last one counts", key->name);
    err = apply_done(build, key, value, ret_include);
    bit_set(build->said, i);
    build->said_line[i] = build->place.line;
    if (!tf_config_report_worse(build->report, errors))
        bit_set(build->config->given, i);
    return err;
}

/* Options of the listener at hand that its protocol has no use for. */
static void warn_of_protocol(struct tf_config_build *build)
{
    enum tf_config_protocol protocol = listener_at_hand(build)->protocol;
    struct tf_config_place place = {.file = build->place.file, .column = 1};

    if (build->current == 0 && !build->plain_bound && !build->opener)
        return; /* there is no such listener, which is said in the end */
    for (size_t i = 0; i < tf_config_key_count; i++) {
        const struct tf_config_key *key = &tf_config_keys[i];

        if (!key->protocols || key->protocols >> protocol & 1 || !bit_test(build->said, i))
            continue;
        place.line = build->said_line[i];
        tf_config_report_add(build->report, TF_CONFIG_WARNING, place,
                             "`%s` has no effect on a listener with `protocol %s`", key->name,
                             tf_config_protocol_info(protocol)->name);
    }
}

void tf_config_apply_section(struct tf_config_build *build)
{
    warn_of_protocol(build);
    for (size_t i = 0; i < tf_config_key_count; i++)
        if (tf_config_keys[i].scope != TF_CONFIG_SCOPE_GLOBAL)
            build->said[i / 8] &= (uint8_t) ~(1u << (i % 8));
}

/* An option stood before any `listener` where it changes nothing: say so. */
static void warn_without_effect(struct tf_config_build *build)
{
    struct tf_config_place place = {.file = build->place.file};
    struct tf_config_listener preset;

    tf_config_listener_init(&preset);
    for (size_t i = 0; i < tf_config_key_count; i++) {
        const struct tf_config_key *key = &tf_config_keys[i];

        if (key->scope == TF_CONFIG_SCOPE_LISTENER && key->answer == TF_CONFIG_DONE &&
            !(key->flags & TF_CONFIG_ALIAS) && !tf_config_value_equal(key, &build->plain, &preset))
            tf_config_report_add(build->report, TF_CONFIG_WARNING, place,
                                 "`%s` stands before any `listener`, so it has no effect",
                                 key->name);
    }
}

enum tf_err tf_config_apply_end(struct tf_config_build *build)
{
    struct tf_config_place place = {.file = build->place.file};
    enum tf_err err;

    tf_config_apply_section(build);
    if (!build->plain_bound && !build->opener) {
        warn_without_effect(build);
        tf_config_listener_release(&build->plain);
        return TF_OK;
    }
    if (!build->plain_port)
        build->plain.port = tf_config_protocol_info(build->plain.protocol)->port;
    if (!build->plain_bound)
        tf_config_report_add(build->report, TF_CONFIG_WARNING, place,
                             "`%s` stands before any `listener`: as in mosquitto, that opens the "
                             "default listener, port %u of all interfaces",
                             build->opener->name, build->plain.port);
    err = tf_config_access_copy(&build->plain.access, &build->config->access);
    if (!err)
        err = tf_config_listener_add(build->config, &build->plain);
    if (err)
        tf_config_listener_release(&build->plain);
    if (err == TF_LIMIT) {
        tf_config_report_add(build->report, TF_CONFIG_ERROR, place,
                             "there are more than %d listeners", TF_CONFIG_LISTENER_MAX);
        return TF_OK;
    }
    return err;
}
