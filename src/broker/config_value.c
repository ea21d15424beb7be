/*
 * Values of configuration keys by their row of the table, and the structs that hold them.
 *
 * Why here and not with the lines: defaults, parsing, comparing and copying are the same for a
 * file, the command line and a reload, and need no place in a file. It must not know sections or
 * reports.
 */
#include "broker/config_keys.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/util.h"

/* The fields that are texts, so that copying and freeing can't forget one. */
static const size_t config_texts[] = {
    offsetof(struct tf_config, access.auto_id_prefix),
    offsetof(struct tf_config, data),
    offsetof(struct tf_config, data_default),
    offsetof(struct tf_config, persistence_location),
    offsetof(struct tf_config, user),
    offsetof(struct tf_config, pid_file),
    offsetof(struct tf_config, clientid_prefixes),
    offsetof(struct tf_config, log_file),
    offsetof(struct tf_config, log_timestamp_format),
};
static const size_t listener_texts[] = {
    offsetof(struct tf_config_listener, host),
    offsetof(struct tf_config_listener, access.auto_id_prefix),
};

/* ---- texts ---- */

bool tf_config_text_is(struct tf_config_text text, const char *word)
{
    return text.length == strlen(word) && memcmp(text.data, word, text.length) == 0;
}

char *tf_config_text_copy(struct tf_config_text text)
{
    char *copy = malloc(text.length + 1);

    if (!copy)
        return NULL;
    if (text.length > 0)
        memcpy(copy, text.data, text.length);
    copy[text.length] = '\0';
    return copy;
}

const char *tf_config_text_show(struct tf_config_text text, char *ret_shown, size_t size)
{
    size_t n = text.length < size ? text.length : size - 1;

    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text.data[i];

        ret_shown[i] = c < 0x20 || c == 0x7f || c >= 0x80 ? '?' : (char)c;
    }
    ret_shown[n] = '\0';
    if (n < text.length && n >= 3)
        memcpy(ret_shown + n - 3, "...", 3);
    return ret_shown;
}

enum tf_err tf_config_number(struct tf_config_text text, uint64_t most, uint64_t *ret_number)
{
    uint64_t number = 0;
    bool over = false;

    if (text.length == 0)
        return TF_PROTOCOL;
    for (size_t i = 0; i < text.length; i++) {
        unsigned digit;

        if (text.data[i] < '0' || text.data[i] > '9')
            return TF_PROTOCOL;
        digit = (unsigned)(text.data[i] - '0');
        if (number > (UINT64_MAX - digit) / 10)
            over = true;
        else
            number = number * 10 + digit;
    }
    if (over || number > most)
        return TF_LIMIT;
    *ret_number = number;
    return TF_OK;
}

/* ---- one field ---- */

static void field_store(const struct tf_config_key *key, void *base, uint64_t number)
{
    unsigned char *field = (unsigned char *)base + key->offset;

    switch (key->width) {
    case 1:
        *(uint8_t *)field = (uint8_t)number;
        break;
    case 2: {
        uint16_t narrow = (uint16_t)number;

        memcpy(field, &narrow, sizeof(narrow));
        break;
    }
    case 4: {
        uint32_t narrow = (uint32_t)number;

        memcpy(field, &narrow, sizeof(narrow));
        break;
    }
    default:
        tf_assert(key->width == 8);
        memcpy(field, &number, sizeof(number));
    }
}

/* The greatest number of the field: what "no limit" is stored as. */
static uint64_t field_greatest(const struct tf_config_key *key)
{
    return key->width >= 8 ? UINT64_MAX : (UINT64_C(1) << (key->width * 8)) - 1;
}

static char *field_text(const struct tf_config_key *key, const void *base)
{
    char *text;

    memcpy(&text, (const char *)base + key->offset, sizeof(text));
    return text;
}

/* Puts a text that is the field's from now on, and frees what was there. */
static void field_replace(const struct tf_config_key *key, void *base, char *text)
{
    free(field_text(key, base));
    memcpy((char *)base + key->offset, &text, sizeof(text));
}

uint64_t tf_config_value_number(const struct tf_config_key *key, const void *base)
{
    const char *field = (const char *)base + key->offset;
    uint64_t wide;
    uint32_t middle;
    uint16_t narrow;

    switch (key->width) {
    case 1:
        return *(const uint8_t *)field;
    case 2:
        memcpy(&narrow, field, sizeof(narrow));
        return narrow;
    case 4:
        memcpy(&middle, field, sizeof(middle));
        return middle;
    default:
        memcpy(&wide, field, sizeof(wide));
        return wide;
    }
}

/* True if the field is a number of any kind, bits of log_dest and log_type included. */
static bool field_is_number(const struct tf_config_key *key)
{
    return key->width > 0 && key->kind != TF_CONFIG_KIND_TEXT;
}

void tf_config_value_defaults(enum tf_config_scope scope, void *base)
{
    for (size_t i = 0; i < tf_config_key_count; i++) {
        const struct tf_config_key *key = &tf_config_keys[i];

        if (key->answer == TF_CONFIG_DONE && key->scope == scope && field_is_number(key))
            field_store(key, base, key->initial);
    }
}

/* ---- parsing ---- */

static enum tf_err parse_number(const struct tf_config_key *key, struct tf_config_text value,
                                void *base, char *ret_why)
{
    const char *unit = key->unit ? key->unit : "";
    const char *space = key->unit ? " " : "";
    uint64_t number = 0;
    enum tf_err err = tf_config_number(value, key->most, &number);

    if ((key->flags & TF_CONFIG_MINUS_NONE && tf_config_text_is(value, "-1")) ||
        (key->flags & TF_CONFIG_ZERO_NONE && !err && number == 0)) {
        field_store(key, base, field_greatest(key));
        return TF_OK;
    }
    if (err || number < key->least) {
        snprintf(ret_why, TF_CONFIG_WHY_MAX,
                 "must be a whole number from %" PRIu64 " to %" PRIu64 "%s%s%s", key->least,
                 key->most, space, unit,
                 key->flags & TF_CONFIG_MINUS_NONE  ? ", or -1 for no limit"
                 : key->flags & TF_CONFIG_ZERO_NONE ? ", or 0 for no limit"
                                                    : "");
        return TF_PROTOCOL;
    }
    field_store(key, base, number);
    return TF_OK;
}

/* mosquitto takes these four and nothing else. */
static enum tf_err parse_bool(const struct tf_config_key *key, struct tf_config_text value,
                              void *base, char *ret_why)
{
    bool yes = tf_config_text_is(value, "true") || tf_config_text_is(value, "1");

    if (!yes && !tf_config_text_is(value, "false") && !tf_config_text_is(value, "0")) {
        snprintf(ret_why, TF_CONFIG_WHY_MAX, "must be true or false");
        return TF_PROTOCOL;
    }
    field_store(key, base, yes);
    return TF_OK;
}

static enum tf_err parse_duration(const struct tf_config_key *key, struct tf_config_text value,
                                  void *base, char *ret_why)
{
    static const struct {
        char letter;
        uint32_t seconds;
    } units[] = {{'h', 3600}, {'d', 86400}, {'w', 604800}, {'m', 2592000}, {'y', 31536000}};
    struct tf_config_text digits = {value.data, value.length ? value.length - 1 : 0};
    uint64_t number = 0, seconds = 0;
    enum tf_err err = tf_config_number(digits, UINT32_MAX, &number);

    if (err == TF_LIMIT) /* mosquitto takes any number: so long is never */
        number = UINT32_MAX;
    for (size_t i = 0; err != TF_PROTOCOL && i < TF_COUNT(units); i++)
        if (value.data[digits.length] == units[i].letter)
            seconds = number * units[i].seconds;
    if (seconds == 0) {
        snprintf(ret_why, TF_CONFIG_WHY_MAX,
                 "must be a number from 1 and one of h, d, w, m, y, such as 14d");
        return TF_PROTOCOL;
    }
    field_store(key, base, seconds < TF_CONFIG_UNLIMITED ? seconds : TF_CONFIG_UNLIMITED);
    return TF_OK;
}

static enum tf_err parse_choice(const struct tf_config_key *key, struct tf_config_text value,
                                void *base, char *ret_why)
{
    const char *word = key->words;

    for (unsigned i = 0;; i++) {
        size_t length = strcspn(word, " ");

        if (length == value.length && memcmp(word, value.data, length) == 0) {
            field_store(key, base, i);
            return TF_OK;
        }
        if (word[length] == '\0')
            break;
        word += length + 1;
    }
    snprintf(ret_why, TF_CONFIG_WHY_MAX, "must be one of: %s", key->words);
    return TF_PROTOCOL;
}

enum tf_err tf_config_value_parse(const struct tf_config_key *key, struct tf_config_text value,
                                  void *base, char *ret_why)
{
    char *text;

    switch (key->kind) {
    case TF_CONFIG_KIND_NUMBER:
        return parse_number(key, value, base, ret_why);
    case TF_CONFIG_KIND_BOOL:
        return parse_bool(key, value, base, ret_why);
    case TF_CONFIG_KIND_DURATION:
        return parse_duration(key, value, base, ret_why);
    case TF_CONFIG_KIND_CHOICE:
    case TF_CONFIG_KIND_DURABILITY:
        return parse_choice(key, value, base, ret_why);
    default:
        tf_assert(key->kind == TF_CONFIG_KIND_TEXT);
        if (key->most && value.length > key->most) {
            snprintf(ret_why, TF_CONFIG_WHY_MAX, "must have at most %" PRIu64 " bytes", key->most);
            return TF_PROTOCOL;
        }
        text = tf_config_text_copy(value);
        if (!text)
            return TF_NO_MEMORY;
        field_replace(key, base, text);
        return TF_OK;
    }
}

/* ---- showing, comparing, copying ---- */

/* Appends `text` to the text in `ret_text`, cut to `size`. */
static void append(char *ret_text, size_t size, const char *text)
{
    size_t length = strlen(ret_text);

    snprintf(ret_text + length, size - length, "%s", text);
}

static void print_bits(uint64_t bits, const char *const *names, size_t count, char *ret_text,
                       size_t size)
{
    ret_text[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        if (!(bits >> i & 1))
            continue;
        if (ret_text[0])
            append(ret_text, size, " ");
        append(ret_text, size, names[i]);
    }
    if (!ret_text[0])
        append(ret_text, size, "none");
}

static void print_choice(const struct tf_config_key *key, uint64_t number, char *ret_text,
                         size_t size)
{
    const char *word = key->words;

    while (number-- > 0)
        word += strcspn(word, " ") + 1;
    snprintf(ret_text, size, "%.*s", (int)strcspn(word, " "), word);
}

void tf_config_value_print(const struct tf_config_key *key, const void *base, char *ret_text,
                           size_t size)
{
    static const char *const dests[] = {"stderr", "stdout", "file"};
    static const char *const types[] = {"error", "warning",   "notice",     "information",
                                        "debug", "subscribe", "unsubscribe"};
    uint64_t number = field_is_number(key) ? tf_config_value_number(key, base) : 0;
    const char *text;

    switch (key->kind) {
    case TF_CONFIG_KIND_TEXT:
        text = field_text(key, base);
        snprintf(ret_text, size, "%s", text ? text : "");
        break;
    case TF_CONFIG_KIND_BOOL:
        snprintf(ret_text, size, "%s", number ? "true" : "false");
        break;
    case TF_CONFIG_KIND_CHOICE:
    case TF_CONFIG_KIND_DURABILITY:
        print_choice(key, number, ret_text, size);
        break;
    case TF_CONFIG_KIND_PROTOCOL:
        snprintf(ret_text, size, "%s", tf_config_protocol_info(number)->name);
        break;
    case TF_CONFIG_KIND_LOG_DEST:
        print_bits(number, dests, TF_COUNT(dests), ret_text, size);
        break;
    case TF_CONFIG_KIND_LOG_TYPE:
        print_bits(number, types, TF_COUNT(types), ret_text, size);
        break;
    case TF_CONFIG_KIND_DURATION:
        if (number == TF_CONFIG_UNLIMITED)
            snprintf(ret_text, size, "never");
        else
            snprintf(ret_text, size, "%" PRIu64 "h", number / 3600);
        break;
    default:
        if (number == field_greatest(key) && number > key->most)
            snprintf(ret_text, size, "no limit");
        else
            snprintf(ret_text, size, "%" PRIu64, number);
    }
}

static bool text_equal(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

bool tf_config_value_equal(const struct tf_config_key *key, const void *a, const void *b)
{
    if (key->kind == TF_CONFIG_KIND_TEXT)
        return text_equal(field_text(key, a), field_text(key, b));
    return !field_is_number(key) ||
           tf_config_value_number(key, a) == tf_config_value_number(key, b);
}

enum tf_err tf_config_value_copy(const struct tf_config_key *key, const void *from, void *to)
{
    char *text = NULL;

    if (key->kind == TF_CONFIG_KIND_TEXT) {
        if (field_text(key, from)) {
            text = strdup(field_text(key, from));
            if (!text)
                return TF_NO_MEMORY;
        }
        field_replace(key, to, text);
    } else if (field_is_number(key)) {
        field_store(key, to, tf_config_value_number(key, from));
    }
    return TF_OK;
}

/* ---- structs ---- */

/* Replaces the texts at `offsets` in `base`, which belong to another, by copies; or by nothing. */
static enum tf_err texts_own(void *base, const size_t *offsets, size_t count)
{
    enum tf_err err = TF_OK;

    for (size_t i = 0; i < count; i++) {
        char *text;

        memcpy(&text, (char *)base + offsets[i], sizeof(text));
        if (text) {
            text = err ? NULL : strdup(text);
            if (!text)
                err = TF_NO_MEMORY;
        }
        memcpy((char *)base + offsets[i], &text, sizeof(text));
    }
    return err;
}

static void texts_free(void *base, const size_t *offsets, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *text;

        memcpy(&text, (char *)base + offsets[i], sizeof(text));
        free(text);
    }
}

enum tf_err tf_config_access_copy(struct tf_config_access *to, const struct tf_config_access *from)
{
    struct tf_config_access copy = *from;

    if (from->auto_id_prefix) {
        copy.auto_id_prefix = strdup(from->auto_id_prefix);
        if (!copy.auto_id_prefix)
            return TF_NO_MEMORY;
    }
    free(to->auto_id_prefix);
    *to = copy;
    return TF_OK;
}

void tf_config_listener_init(struct tf_config_listener *listener)
{
    *listener =
        (struct tf_config_listener){.port = 1883, .durability = TF_CONFIG_DURABILITY_INHERIT};
    tf_config_value_defaults(TF_CONFIG_SCOPE_LISTENER, listener);
    tf_config_value_defaults(TF_CONFIG_SCOPE_ACCESS, &listener->access);
}

void tf_config_listener_release(struct tf_config_listener *listener)
{
    texts_free(listener, listener_texts, TF_COUNT(listener_texts));
    *listener = (struct tf_config_listener){0};
}

enum tf_err tf_config_listener_add(struct tf_config *config,
                                   const struct tf_config_listener *listener)
{
    struct tf_config_listener *grown;

    if (config->listener_count >= TF_CONFIG_LISTENER_MAX)
        return TF_LIMIT;
    grown = realloc(config->listeners, (config->listener_count + 1) * sizeof(*grown));
    if (!grown)
        return TF_NO_MEMORY;
    grown[config->listener_count++] = *listener;
    config->listeners = grown;
    return TF_OK;
}

enum tf_err tf_config_listener_clone(struct tf_config_listener *ret,
                                     const struct tf_config_listener *listener)
{
    struct tf_config_listener copy = *listener;

    if (texts_own(&copy, listener_texts, TF_COUNT(listener_texts))) {
        tf_config_listener_release(&copy);
        return TF_NO_MEMORY;
    }
    *ret = copy;
    return TF_OK;
}

enum tf_err tf_config_clone(struct tf_config *ret, const struct tf_config *config)
{
    struct tf_config copy = *config;
    enum tf_err err;

    copy.listeners = NULL;
    copy.listener_count = 0;
    copy.queues = NULL;
    copy.queue_count = 0;
    copy.addresses = NULL;
    copy.address_count = 0;
    copy.topics = NULL;
    copy.topic_count = 0;
    err = texts_own(&copy, config_texts, TF_COUNT(config_texts));
    if (!err)
        err = tf_config_queues_clone(&copy, config);
    if (!err)
        err = tf_config_addresses_clone(&copy, config);
    for (size_t i = 0; !err && i < config->listener_count; i++) {
        struct tf_config_listener listener;

        err = tf_config_listener_clone(&listener, &config->listeners[i]);
        if (err)
            break;
        err = tf_config_listener_add(&copy, &listener);
        if (err)
            tf_config_listener_release(&listener);
    }
    if (err) {
        tf_config_release(&copy);
        return TF_NO_MEMORY;
    }
    *ret = copy;
    return TF_OK;
}

void tf_config_init_default(struct tf_config *config)
{
    *config = (struct tf_config){0};
    tf_config_value_defaults(TF_CONFIG_SCOPE_GLOBAL, config);
    tf_config_value_defaults(TF_CONFIG_SCOPE_ACCESS, &config->access);
}

void tf_config_release(struct tf_config *config)
{
    for (size_t i = 0; i < config->listener_count; i++)
        tf_config_listener_release(&config->listeners[i]);
    free(config->listeners);
    tf_config_queues_release(config);
    tf_config_addresses_release(config);
    texts_free(config, config_texts, TF_COUNT(config_texts));
    *config = (struct tf_config){0};
}
