/*
 * Reload: what differs between two configurations, and how much of it a running broker can take.
 *
 * Listeners are the same when they are bound the same (protocol, host, port, IP version). It must
 * not know who is running or how a change gets to the shards.
 */
#include "broker/config_keys.h"

#include <stdlib.h>
#include <string.h>

/* Where differences go. */
struct changes {
    struct tf_config_change *items;
    size_t capacity;
    size_t count;
};

static struct tf_config_change *changes_add(struct changes *changes, const char *key,
                                            bool reloadable)
{
    struct tf_config_change *change = NULL;

    if (changes->count < changes->capacity) {
        change = &changes->items[changes->count];
        *change = (struct tf_config_change){.key = key, .reloadable = reloadable};
    }
    changes->count++;
    return change;
}

/* The value of a key for a reader; what is secret is not shown. */
static void show_value(const struct tf_config_key *key, const void *base, char *ret_text,
                       size_t size)
{
    if (key->flags & TF_CONFIG_SECRET)
        snprintf(ret_text, size, "(secret)");
    else
        tf_config_value_print(key, base, ret_text, size);
}

/* True if the row has a field of its own that can be compared. */
static bool is_stored(const struct tf_config_key *key, enum tf_config_scope scope)
{
    return key->answer == TF_CONFIG_DONE && key->scope == scope && key->width > 0 &&
           !(key->flags & TF_CONFIG_ALIAS);
}

static void diff_scope(struct changes *changes, enum tf_config_scope scope, const void *old,
                       const void *fresh)
{
    for (size_t i = 0; i < tf_config_key_count; i++) {
        const struct tf_config_key *key = &tf_config_keys[i];
        struct tf_config_change *change;

        if (!is_stored(key, scope) || tf_config_value_equal(key, old, fresh))
            continue;
        change = changes_add(changes, key->name, key->flags & TF_CONFIG_RELOADABLE);
        if (!change)
            continue;
        show_value(key, old, change->old_text, sizeof(change->old_text));
        show_value(key, fresh, change->new_text, sizeof(change->new_text));
    }
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* The listener of `config` that is bound as `wanted` is; NULL: none. */
static const struct tf_config_listener *find_listener(const struct tf_config *config,
                                                      const struct tf_config_listener *wanted)
{
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct tf_config_listener *listener = &config->listeners[i];

        if (listener->protocol == wanted->protocol && listener->port == wanted->port &&
            listener->domain == wanted->domain && same_text(listener->host, wanted->host))
            return listener;
    }
    return NULL;
}

static void show_listener(const struct tf_config_listener *listener, char *ret_text, size_t size)
{
    bool mqtt = listener->protocol == TF_CONFIG_PROTOCOL_MQTT; /* the default goes unsaid */

    snprintf(ret_text, size, "%u%s%s%s%s", listener->port, listener->host ? " " : "",
             listener->host ? listener->host : "", mqtt ? "" : " protocol ",
             mqtt ? "" : tf_config_protocol_info(listener->protocol)->name);
}

/* What a listener keeps of what it gets: one key with the global one, so a field of its own. */
static void diff_durability(struct changes *changes, const struct tf_config_listener *old,
                            const struct tf_config_listener *now)
{
    static const char *const names[] = {"memory", "os", "disk"};
    struct tf_config_change *change;

    if (old->durability == now->durability)
        return;
    change = changes_add(changes, "durability", true);
    if (change) {
        snprintf(change->old_text, sizeof(change->old_text), "%s", names[old->durability]);
        snprintf(change->new_text, sizeof(change->new_text), "%s (of listener %u)",
                 names[now->durability], now->port);
    }
}

static void diff_listeners(struct changes *changes, const struct tf_config *running,
                           const struct tf_config *fresh)
{
    bool own = running->per_listener_settings || fresh->per_listener_settings;
    struct tf_config_change *change;

    for (size_t i = 0; i < running->listener_count; i++) {
        const struct tf_config_listener *old = &running->listeners[i];
        const struct tf_config_listener *now = find_listener(fresh, old);

        if (!now) {
            change = changes_add(changes, "listener", false);
            if (change)
                show_listener(old, change->old_text, sizeof(change->old_text));
            continue;
        }
        diff_scope(changes, TF_CONFIG_SCOPE_LISTENER, old, now);
        diff_durability(changes, old, now);
        if (own)
            diff_scope(changes, TF_CONFIG_SCOPE_ACCESS, &old->access, &now->access);
    }
    for (size_t i = 0; i < fresh->listener_count; i++) {
        if (find_listener(running, &fresh->listeners[i]))
            continue;
        change = changes_add(changes, "listener", false);
        if (change)
            show_listener(&fresh->listeners[i], change->new_text, sizeof(change->new_text));
    }
}

/* What differs between two queues of one name. */
static void diff_queue(struct changes *changes, const struct tf_config_queue *old,
                       const struct tf_config_queue *fresh)
{
    size_t first = changes->count;

    diff_scope(changes, TF_CONFIG_SCOPE_QUEUE, old, fresh);
    if (!tf_config_texts_equal(old->binds, old->bind_count, fresh->binds, fresh->bind_count))
        changes_add(changes, "queue_bind", true);
    for (size_t i = first; i < changes->count && i < changes->capacity; i++) {
        char value[sizeof(changes->items[i].new_text)];

        memcpy(value, changes->items[i].new_text, sizeof(value));
        snprintf(changes->items[i].new_text, sizeof(value), "%.30s (of queue %.30s)", value,
                 fresh->name);
    }
}

static void diff_queues(struct changes *changes, const struct tf_config *running,
                        const struct tf_config *fresh)
{
    struct tf_config_change *change;
    size_t i = 0, j = 0;

    while (i < running->queue_count || j < fresh->queue_count) { /* both are sorted */
        int order = i == running->queue_count ? 1
                    : j == fresh->queue_count
                        ? -1
                        : strcmp(running->queues[i].name, fresh->queues[j].name);

        if (order == 0) {
            diff_queue(changes, &running->queues[i++], &fresh->queues[j++]);
            continue;
        }
        change = changes_add(changes, "queue", order > 0); /* what waits in one is not dropped */
        if (change)
            snprintf(order < 0 ? change->old_text : change->new_text, sizeof(change->old_text),
                     "%.70s", order < 0 ? running->queues[i].name : fresh->queues[j].name);
        i += order < 0;
        j += order > 0;
    }
    if (!tf_config_texts_equal(running->topics, running->topic_count, fresh->topics,
                               fresh->topic_count)) {
        change = changes_add(changes, "topic", true);
        if (change) {
            snprintf(change->old_text, sizeof(change->old_text), "%zu filters",
                     running->topic_count);
            snprintf(change->new_text, sizeof(change->new_text), "%zu filters", fresh->topic_count);
        }
    }
}

size_t tf_config_diff(const struct tf_config *running, const struct tf_config *fresh,
                      struct tf_config_change *ret_changes, size_t capacity)
{
    struct changes changes = {.items = ret_changes, .capacity = capacity};
    struct tf_config_change *change;

    diff_scope(&changes, TF_CONFIG_SCOPE_GLOBAL, running, fresh);
    if (running->log_dests == fresh->log_dests && !same_text(running->log_file, fresh->log_file)) {
        change = changes_add(&changes, "log_dest", false);
        if (change) {
            snprintf(change->old_text, sizeof(change->old_text), "file %.70s",
                     running->log_file ? running->log_file : "");
            snprintf(change->new_text, sizeof(change->new_text), "file %.70s",
                     fresh->log_file ? fresh->log_file : "");
        }
    }
    if (!running->per_listener_settings && !fresh->per_listener_settings)
        diff_scope(&changes, TF_CONFIG_SCOPE_ACCESS, &running->access, &fresh->access);
    diff_listeners(&changes, running, fresh);
    diff_queues(&changes, running, fresh);
    if (!tf_config_addresses_equal(running, fresh)) {
        change = changes_add(&changes, "address", true);
        if (change) {
            snprintf(change->old_text, sizeof(change->old_text), "%zu blocks",
                     running->address_count);
            snprintf(change->new_text, sizeof(change->new_text), "%zu blocks",
                     fresh->address_count);
        }
    }
    return changes.count;
}

/* Copies from `from` what a reload changes, or what it does not. */
static enum tf_err copy_scope(enum tf_config_scope scope, bool reloadable, const void *from,
                              void *to)
{
    enum tf_err err = TF_OK;

    for (size_t i = 0; !err && i < tf_config_key_count; i++) {
        const struct tf_config_key *key = &tf_config_keys[i];

        if (is_stored(key, scope) && !(key->flags & TF_CONFIG_RELOADABLE) == !reloadable)
            err = tf_config_value_copy(key, from, to);
    }
    return err;
}

/* A copy of a running listener, with what a reload may change of it. */
static enum tf_err keep_listener(struct tf_config *to, const struct tf_config_listener *running,
                                 const struct tf_config *fresh)
{
    const struct tf_config_listener *now = find_listener(fresh, running);
    struct tf_config_listener copy;
    enum tf_err err = tf_config_listener_clone(&copy, running);

    if (err)
        return err;
    if (now) {
        copy.durability = now->durability;
        err = copy_scope(TF_CONFIG_SCOPE_LISTENER, true, now, &copy);
        if (!err)
            err = tf_config_access_copy(&copy.access, &now->access);
    } else if (fresh->access.allow_anonymous_given && !fresh->per_listener_settings) {
        /* It goes on listening until the restart; what holds for all holds for it too. */
        err = tf_config_access_copy(&copy.access, &fresh->access);
    }
    if (!err)
        err = tf_config_listener_add(to, &copy);
    if (err)
        tf_config_listener_release(&copy);
    return err;
}

enum tf_err tf_config_keep(struct tf_config *fresh, const struct tf_config *running)
{
    struct tf_config kept = {0}; /* its listeners only */
    enum tf_err err = TF_OK;

    for (size_t i = 0; !err && i < running->listener_count; i++)
        err = keep_listener(&kept, &running->listeners[i], fresh);
    if (!err)
        err = copy_scope(TF_CONFIG_SCOPE_GLOBAL, false, running, fresh);
    if (!err)
        err = tf_config_value_copy(&tf_config_log_file, running, fresh);
    if (!err) {
        struct tf_config_listener *listeners = fresh->listeners;
        size_t count = fresh->listener_count;

        fresh->listeners = kept.listeners;
        fresh->listener_count = kept.listener_count;
        kept.listeners = listeners;
        kept.listener_count = count;
    }
    tf_config_release(&kept);
    return err ? TF_NO_MEMORY : TF_OK;
}
