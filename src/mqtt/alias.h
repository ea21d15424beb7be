/*
 * The topics that the peer has given topic aliases (MQTT 5.0 3.3.2.3.4), in one part of memory with
 * a bound on all their bytes together: entries by number, behind them the topics without gaps.
 */
#ifndef TF_MQTT_ALIAS_H
#define TF_MQTT_ALIAS_H

#include <trefoil/bytes.h>

struct tf_mqtt_alias {
    uint32_t at;
    uint32_t length; /* 0: not set; a topic has at least one byte */
};

struct tf_mqtt_aliases {
    uint32_t room, used; /* bytes for topics */
    uint32_t count;      /* entries */
    struct tf_mqtt_alias entries[];
};

/* The bytes of a table of `count` aliases whose topics have `room` bytes together. */
static inline size_t tf_mqtt_aliases_size(size_t count, size_t room)
{
    return sizeof(struct tf_mqtt_aliases) + count * sizeof(struct tf_mqtt_alias) + room;
}

/*
 * Makes a table in `memory`, aligned as malloc aligns, with what `old` (may be NULL) holds of as
 * many aliases. NULL: `length` is too little.
 */
struct tf_mqtt_aliases *tf_mqtt_aliases_init(void *memory, size_t length, size_t count,
                                             const struct tf_mqtt_aliases *old);

/* The topic of alias 1 to count; empty: not set. Borrowed until the next set. */
struct tf_bytes tf_mqtt_aliases_get(const struct tf_mqtt_aliases *aliases, unsigned alias);

/* Sets alias 1 to count. False: there is no room, nothing changed. */
bool tf_mqtt_aliases_set(struct tf_mqtt_aliases *aliases, unsigned alias, struct tf_bytes topic);

/* Checks the invariants. */
bool tf_mqtt_aliases_check(const struct tf_mqtt_aliases *aliases);

#endif
