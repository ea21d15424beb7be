/*
 * The table of keys, searched: by name, and by the nearest name for "did you mean".
 *
 * Why apart from the table: that is data, and long. It must not know any single key.
 */
#include "broker/config_keys.h"

#include <string.h>

const char *tf_config_group_title(enum tf_config_group group)
{
    static const char *const titles[TF_CONFIG_GROUP_COUNT] = {
        [TF_CONFIG_GROUP_PROCESS] = "The process",
        [TF_CONFIG_GROUP_STORE] = "What is kept on disk",
        [TF_CONFIG_GROUP_LISTENER] = "Listeners",
        [TF_CONFIG_GROUP_ACCESS] = "Who may connect",
        [TF_CONFIG_GROUP_CONNECTION] = "Connections and packets",
        [TF_CONFIG_GROUP_SESSION] = "Sessions",
        [TF_CONFIG_GROUP_QUEUE] = "Retained messages and memory",
        [TF_CONFIG_GROUP_COAP] = "CoAP",
        [TF_CONFIG_GROUP_AMQP] = "AMQP",
        [TF_CONFIG_GROUP_NAMED] = "Queues",
        [TF_CONFIG_GROUP_LOG] = "Log and $SYS",
        [TF_CONFIG_GROUP_MEANINGLESS] = "Of mosquitto, with nothing to do here",
        [TF_CONFIG_GROUP_BRIDGE] = "Of mosquitto's bridges, which are not available",
        [TF_CONFIG_GROUP_MISSING] = "Of mosquitto, not done: Trefoil warns and starts without",
        [TF_CONFIG_GROUP_SECURITY] = "Not done, and unsafe to leave out: Trefoil refuses to start",
    };

    return titles[group];
}

/* True if `name` is the row's, the `*` at its end included. */
static bool key_matches(const struct tf_config_key *key, struct tf_config_text name)
{
    size_t length;

    if (name.length == 0 || name.data[0] != key->name[0]) /* a file may have a million lines */
        return false;
    length = strlen(key->name);
    if (key->name[length - 1] == '*')
        return name.length >= length && memcmp(name.data, key->name, length - 1) == 0;
    return name.length == length && memcmp(name.data, key->name, length) == 0;
}

const struct tf_config_key *tf_config_key_find(struct tf_config_text name)
{
    for (size_t i = 0; i < tf_config_key_count; i++)
        if (key_matches(&tf_config_keys[i], name))
            return &tf_config_keys[i];
    return NULL;
}

#define NAME_MAX_ 48 /* longer than any key; a longer name is compared by its beginning */

/* Lower case, and `-` as `_`: what a slip of the hand does not count as a letter. */
static char key_fold(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c - 'A' + 'a');
    return c == '-' ? '_' : c;
}

static unsigned least_of(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/*
 * How many letters to insert, leave out, replace or swap with a neighbour to get from a to b;
 * `most` if it is that or more. Two rows in turn all at `most` can only lead to more, so it stops
 * there.
 */
static unsigned edit_distance(const char *a, size_t a_length, const char *b, size_t b_length,
                              unsigned most)
{
    unsigned rows[3][NAME_MAX_ + 1];
    unsigned *before = rows[0], *last = rows[1], *row = rows[2];
    unsigned low_before, low = 0;

    if (a_length >= b_length + most || b_length >= a_length + most)
        return most;

    for (size_t j = 0; j <= b_length; j++)
        last[j] = (unsigned)j;
    for (size_t i = 1; i <= a_length; i++) {
        row[0] = (unsigned)i;
        low_before = low;
        low = row[0];
        for (size_t j = 1; j <= b_length; j++) {
            char from = key_fold(a[i - 1]), to = key_fold(b[j - 1]);

            row[j] = least_of(least_of(last[j], row[j - 1]) + 1, last[j - 1] + (from != to));
            if (i > 1 && j > 1 && from == key_fold(b[j - 2]) && key_fold(a[i - 2]) == to)
                row[j] = least_of(row[j], before[j - 2] + 1);
            low = least_of(low, row[j]);
        }
        if (low >= most && low_before >= most)
            return most;
        unsigned *spare = before;
        before = last;
        last = row;
        row = spare;
    }
    return least_of(last[b_length], most);
}

const struct tf_config_key *tf_config_key_nearest(struct tf_config_text name, bool *ret_close)
{
    const struct tf_config_key *nearest = &tf_config_keys[0];
    size_t length = name.length < NAME_MAX_ ? name.length : NAME_MAX_;
    unsigned best = NAME_MAX_ + 1;

    for (size_t i = 0; i < tf_config_key_count; i++) {
        const char *known = tf_config_keys[i].name;
        size_t known_length = strlen(known);
        unsigned distance;

        if (known_length > NAME_MAX_)
            known_length = NAME_MAX_;
        distance = edit_distance(name.data, length, known, known_length, best);
        if (distance < best) {
            best = distance;
            nearest = &tf_config_keys[i];
        }
    }
    *ret_close = best <= 2 || best * 3 <= length;
    return nearest;
}

bool tf_config_key_given(const struct tf_config *config, const struct tf_config_key *key)
{
    size_t i;

    if (!key)
        return false;
    i = tf_config_key_index(key);
    return config->given[i / 8] >> (i % 8) & 1;
}
