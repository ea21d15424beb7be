/*
 * Topic aliases of the peer; see alias.h.
 */
#include "mqtt/alias.h"

#include "base/mem.h"

static uint8_t *topics(const struct tf_mqtt_aliases *aliases)
{
    return (uint8_t *)(uintptr_t)(aliases->entries + aliases->count);
}

struct tf_mqtt_aliases *tf_mqtt_aliases_init(void *memory, size_t length, size_t count,
                                             const struct tf_mqtt_aliases *old)
{
    struct tf_mqtt_aliases *aliases = memory;
    size_t least = tf_mqtt_aliases_size(count, old ? old->used : 0);

    if (!memory || length < least)
        return NULL;
    length -= tf_mqtt_aliases_size(count, 0);
    aliases->room = length < UINT32_MAX ? (uint32_t)length : UINT32_MAX;
    aliases->used = 0;
    aliases->count = (uint32_t)count;
    memset(aliases->entries, 0, count * sizeof *aliases->entries);
    if (old) {
        memcpy(aliases->entries, old->entries, count * sizeof *aliases->entries);
        memcpy(topics(aliases), topics(old), old->used);
        aliases->used = old->used;
    }
    return aliases;
}

struct tf_bytes tf_mqtt_aliases_get(const struct tf_mqtt_aliases *aliases, unsigned alias)
{
    const struct tf_mqtt_alias *entry = aliases->entries + alias - 1;

    return tf_bytes_of(topics(aliases) + entry->at, entry->length);
}

/* Takes the topic of an entry out; those behind it move up. */
static void unset(struct tf_mqtt_aliases *aliases, struct tf_mqtt_alias *entry)
{
    uint32_t end = entry->at + entry->length;

    memmove(topics(aliases) + entry->at, topics(aliases) + end, aliases->used - end);
    for (uint32_t i = 0; i < aliases->count; i++) {
        if (aliases->entries[i].at > entry->at)
            aliases->entries[i].at -= entry->length;
    }
    aliases->used -= entry->length;
    *entry = (struct tf_mqtt_alias){0};
}

bool tf_mqtt_aliases_set(struct tf_mqtt_aliases *aliases, unsigned alias, struct tf_bytes topic)
{
    struct tf_mqtt_alias *entry = aliases->entries + alias - 1;

    if (tf_bytes_equal(tf_mqtt_aliases_get(aliases, alias), topic))
        return true;
    if (topic.length > aliases->room - (aliases->used - entry->length))
        return false;
    if (entry->length > 0)
        unset(aliases, entry);
    *entry = (struct tf_mqtt_alias){aliases->used, (uint32_t)topic.length};
    memcpy(topics(aliases) + entry->at, topic.data, topic.length);
    aliases->used += entry->length;
    return true;
}

bool tf_mqtt_aliases_check(const struct tf_mqtt_aliases *aliases)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < aliases->count; i++) {
        const struct tf_mqtt_alias *entry = aliases->entries + i;
        if (entry->at > aliases->used || entry->length > aliases->used - entry->at)
            return false;
        sum += entry->length;
    }
    return sum == aliases->used && aliases->used <= aliases->room;
}
