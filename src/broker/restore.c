/*
 * The store's content, given back: see restore.h.
 *
 *   objects, first walk    named queues, sessions        -> table: id -> queue and its front
 *   objects, second walk   bindings, other parts, values
 *   entries                counted queue by queue; what was under way is loaded
 *   then                   what belongs to nothing is removed, in one group
 *
 * Nothing may be appended during a walk, so what is to be removed is noted first.
 */
#include "broker/restore.h"

#include "base/mem.h"
#include "base/util.h"
#include "route/kept.h"
#include "route/stored.h"

#include <string.h>

#define PART "store"
#define SETTLE_OBJECTS 256u   /* objects between two calls of `settle`: each may be mail to all */
#define SETTLE_ENTRIES 65536u /* entries: those are no mail */
#define CACHE 512u            /* messages that several entries refer to */
#define REMOVALS 4096u        /* changes of a group */

/* A queue of the store. */
struct place {
    uint64_t id; /* 0: free */
    struct tf_queue *queue;
    struct tf_front *front; /* NULL: a named one */
};

/* What belongs to nothing: an object with its key, or, without one, all entries of a queue. */
struct removal {
    struct removal *next;
    size_t size; /* of the allocation */
    uint8_t kind;
    uint64_t queue;
    size_t length;
    uint8_t key[];
};

struct restore {
    const struct tf_restore_config *config;
    struct tf_restored *counts;
    struct place *places; /* a hash table: ids are random, and are their own hash */
    size_t capacity, used;
    struct removal *removals;
    struct {
        uint64_t id;
        struct tf_message *message;
    } cache[CACHE];
    uint8_t *buffer; /* a message as it lies in the store */
    size_t buffer_size;
    size_t bindings, values; /* seen by the first walk */
    unsigned since;          /* the last call of `settle` */
    bool nonsense;           /* a queue or a session could not be read: whose things are whose? */
    bool unknown;            /* a kind of object that nobody knows has been told of */
};

/* ---- the table of queues ---- */

static struct place *place_find(const struct restore *restore, uint64_t id)
{
    size_t at = id & (restore->capacity - 1);
    while (restore->places[at].id != 0 && restore->places[at].id != id) {
        at = (at + 1) & (restore->capacity - 1);
    }
    return &restore->places[at];
}

static enum tf_err places_grow(struct restore *restore)
{
    const struct tf_alloc *alloc = restore->config->alloc;
    struct restore grown = {.capacity = restore->capacity ? restore->capacity * 2 : 1024};
    size_t size = grown.capacity * sizeof(*grown.places);
    grown.places = alloc->alloc(alloc->ctx, size);
    if (!grown.places) {
        return TF_NO_MEMORY;
    }
    memset(grown.places, 0, size);
    for (size_t i = 0; i < restore->capacity; i++) {
        if (restore->places[i].id) {
            *place_find(&grown, restore->places[i].id) = restore->places[i];
        }
    }
    if (restore->places) {
        alloc->free(alloc->ctx, restore->places, restore->capacity * sizeof(*restore->places));
    }
    restore->places = grown.places;
    restore->capacity = grown.capacity;
    return TF_OK;
}

static enum tf_err place_add(struct restore *restore, struct tf_queue *queue,
                             struct tf_front *front)
{
    if (!queue->kept) {
        return TF_OK; /* it is not kept any more */
    }
    struct place *place = place_find(restore, queue->kept->id);
    restore->used += place->id == 0;
    *place = (struct place){.id = queue->kept->id, .queue = queue, .front = front};
    return 2 * restore->used >= restore->capacity ? places_grow(restore) : TF_OK;
}

/* The queue that a key begins with the id of; NULL: none is known. The id goes off the key. */
static const struct place *place_of_key(const struct restore *restore, struct tf_bytes *key)
{
    uint64_t id = tf_stored_key_read(key);
    const struct place *place = id ? place_find(restore, id) : NULL;
    return place && place->id ? place : NULL;
}

/* ---- what is to be removed ---- */

static enum tf_err orphan(struct restore *restore, uint8_t kind, struct tf_bytes key,
                          uint64_t queue)
{
    const struct tf_alloc *alloc = restore->config->alloc;
    struct removal *removal = alloc->alloc(alloc->ctx, sizeof(*removal) + key.length);
    if (!removal) {
        return TF_NO_MEMORY;
    }
    *removal = (struct removal){.next = restore->removals,
                                .size = sizeof(*removal) + key.length,
                                .kind = kind,
                                .queue = queue,
                                .length = key.length};
    if (key.length) {
        memcpy(removal->key, key.data, key.length);
    }
    restore->removals = removal;
    return TF_OK;
}

static enum tf_err remove_one(struct tf_journal *journal, const struct removal *removal)
{
    if (removal->kind == 0) {
        return tf_journal_settle(journal, removal->queue, 0, UINT64_MAX);
    }
    return tf_journal_remove(journal, removal->kind, tf_bytes_of(removal->key, removal->length));
}

/* A disk that is full is no reason not to start: they are orphans of the next start, too. */
static enum tf_err commit(const struct restore *restore)
{
    enum tf_err err = tf_journal_commit(restore->config->journal);
    return err == TF_LIMIT || err == TF_IO ? TF_OK : err;
}

static enum tf_err remove_orphans(const struct restore *restore)
{
    struct tf_journal *journal = restore->config->journal;
    bool keep = restore->nonsense || restore->config->damaged;
    unsigned count = 0;
    enum tf_err err = TF_OK;
    if (!restore->removals) {
        return TF_OK;
    }
    tf_log_text(restore->config->log, TF_LOG_NOTICE, PART,
                "%llu records belong to no queue or session that is there: %s",
                (unsigned long long)restore->counts->orphans,
                keep ? "left where they are, for something is damaged" : "removed");
    for (const struct removal *at = restore->removals; at && !keep && !err; at = at->next) {
        err = remove_one(journal, at);
        if (err == TF_LIMIT) {
            err = commit(restore);
            err = err ? err : remove_one(journal, at);
        }
        if (!err && ++count % REMOVALS == 0) {
            err = commit(restore);
        }
    }
    return err ? err : commit(restore);
}

/* ---- messages ---- */

static enum tf_err buffer_reserve(struct restore *restore, size_t size)
{
    const struct tf_alloc *alloc = restore->config->alloc;
    if (size <= restore->buffer_size) {
        return TF_OK;
    }
    uint8_t *buffer = alloc->alloc(alloc->ctx, size);
    if (!buffer) {
        return TF_NO_MEMORY;
    }
    if (restore->buffer) {
        alloc->free(alloc->ctx, restore->buffer, restore->buffer_size);
    }
    restore->buffer = buffer;
    restore->buffer_size = size;
    return TF_OK;
}

/* A message of the store, one count of it. TF_PROTOCOL, TF_NOT_FOUND: it is damaged or gone. */
static enum tf_err load(struct restore *restore, const struct tf_shard *shard, uint64_t id,
                        struct tf_message **ret)
{
    const struct tf_restore_config *config = restore->config;
    size_t slot = id % CACHE, length;
    if (restore->cache[slot].message && restore->cache[slot].id == id) {
        *ret = tf_message_ref(restore->cache[slot].message);
        return TF_OK;
    }
    enum tf_err err = tf_journal_length(config->journal, id, &length);
    if (!err) {
        err = buffer_reserve(restore, TF_MAX(length, 1));
    }
    if (!err) {
        err = tf_journal_read(config->journal, id, restore->buffer, length);
    }
    if (!err) {
        err = tf_stored_message_read(tf_bytes_of(restore->buffer, length), shard->wall,
                                     config->alloc, ret);
    }
    if (err) {
        return err;
    }
    if (restore->cache[slot].message) {
        tf_message_unref(restore->cache[slot].message);
    }
    restore->cache[slot].id = id;
    restore->cache[slot].message = tf_message_ref(*ret);
    return TF_OK;
}

static bool lost(enum tf_err err)
{
    return err == TF_PROTOCOL || err == TF_NOT_FOUND;
}

/* A message that is damaged on the disk: whose it is. */
static void say_lost(const struct restore *restore, const char *what, struct tf_bytes name)
{
    tf_log_text(restore->config->log, TF_LOG_ERROR, PART,
                "the message of a %s is damaged on the disk, and lost: %.*s", what,
                (int)TF_MIN(name.length, 200), (const char *)name.data);
}

/* ---- objects ---- */

static void settle(struct restore *restore, unsigned every)
{
    if (++restore->since >= every) {
        restore->since = 0;
        restore->config->settle(restore->config->ctx);
    }
}

/* The object as those see it who know what it means; with the message that it refers to. */
static enum tf_err view(struct restore *restore, const struct tf_shard *shard,
                        const struct tf_journal_object *from, struct tf_stored_object *ret)
{
    *ret = (struct tf_stored_object){.kind = from->kind, .key = from->key, .value = from->value};
    if (from->messages == 0) {
        return TF_OK;
    }
    uint64_t id = tf_journal_object_message(restore->config->journal, from, 0);
    enum tf_err err = load(restore, shard, id, &ret->message);
    if (lost(err)) {
        say_lost(restore,
                 from->kind == TF_STORED_VALUE     ? "retained message"
                 : from->kind == TF_STORED_SESSION ? "session (its will)"
                                                   : "record",
                 from->key);
        ret->message = NULL; /* whoever cannot do without it says that the object makes no sense */
        return TF_OK;
    }
    return err;
}

static void view_end(struct tf_stored_object *object)
{
    if (object->message) {
        tf_message_unref(object->message);
    }
}

static const struct tf_restore_shard *home(const struct restore *restore, struct tf_bytes name)
{
    return &restore->config->shards[tf_shard_home(restore->config->shards[0].shard, name)];
}

/* Gives an object to the front that knows what it is: the others find that it makes no sense. */
static enum tf_err restore_by_front(const struct tf_restore_shard *shard,
                                    const struct tf_stored_object *object, struct tf_queue **ret,
                                    struct tf_front **ret_front)
{
    enum tf_err err = TF_PROTOCOL;
    for (size_t i = 0; i < shard->front_count && err == TF_PROTOCOL; i++) {
        struct tf_front *front = shard->fronts[i];
        if (front && front->ops->restore) {
            *ret_front = front;
            err = front->ops->restore(front, object, ret);
        }
    }
    return err;
}

static void say_limit(const struct restore *restore, const char *key)
{
    tf_log_text(restore->config->log, TF_LOG_ERROR, PART,
                "what is kept is more than the configuration allows: raise %s", key);
}

static void say_nonsense(struct restore *restore, const char *what, struct tf_bytes name)
{
    restore->counts->orphans++;
    tf_log_text(restore->config->log, TF_LOG_ERROR, PART,
                "a %s makes no sense, and is left where it is: %.*s", what,
                (int)TF_MIN(name.length, 200), (const char *)name.data);
}

/* The first walk: what has a queue. */
static enum tf_err restore_owner(struct restore *restore, const struct tf_journal_object *from)
{
    bool session = from->kind == TF_STORED_SESSION;
    const struct tf_restore_shard *shard = home(restore, from->key);
    struct tf_stored_object object;
    struct tf_queue *queue = NULL;
    struct tf_front *front = NULL;
    enum tf_err err = view(restore, shard->shard, from, &object);
    if (err) {
        return err;
    }
    err = session ? restore_by_front(shard, &object, &queue, &front)
                  : tf_named_restore(shard->shard, &object, &queue);
    view_end(&object);
    switch (err) {
    case TF_OK:
        *(session ? &restore->counts->sessions : &restore->counts->queues) += 1;
        return place_add(restore, queue, front);
    case TF_NOT_FOUND:
        return TF_OK; /* expired: what it had belongs to nothing now */
    case TF_PROTOCOL:
        restore->nonsense = true;
        say_nonsense(restore, session ? "session" : "queue", from->key);
        return TF_OK;
    default:
        if (err == TF_LIMIT) {
            say_limit(restore, session ? "max_sessions" : "max_queues");
        }
        return err;
    }
}

static enum tf_err restore_part(struct restore *restore, const struct tf_journal_object *from)
{
    struct tf_bytes key = from->key;
    const struct place *place = place_of_key(restore, &key);
    struct tf_binding_options options;
    struct tf_stored_object object;
    if (!place) {
        restore->counts->orphans++;
        return orphan(restore, from->kind, from->key, 0);
    }
    enum tf_err err = view(restore, place->queue->shard, from, &object);
    if (err) {
        return err;
    }
    object.key = key;
    if (place->front) {
        err = place->front->ops->restore_part
                  ? place->front->ops->restore_part(place->front, place->queue, &object)
                  : TF_PROTOCOL;
    } else if (from->kind == TF_STORED_BINDING) {
        err = tf_stored_binding_read(object.value, &options);
        err = err ? err : tf_named_restore_binding(place->queue, key, &options);
    } else {
        err = TF_PROTOCOL;
    }
    view_end(&object);
    if (err == TF_PROTOCOL) {
        say_nonsense(restore, "part of a queue or session", key);
        return TF_OK;
    }
    restore->counts->bindings += !err && from->kind == TF_STORED_BINDING;
    return err;
}

static enum tf_err restore_value(struct restore *restore, const struct tf_journal_object *from)
{
    const struct tf_restore_shard *shard = home(restore, from->key);
    struct tf_stored_object object;
    enum tf_err err = view(restore, shard->shard, from, &object);
    if (err) {
        return err;
    }
    err = tf_shard_restore_value(shard->shard, &object);
    view_end(&object);
    if (err == TF_PROTOCOL) {
        say_nonsense(restore, "retained message", from->key);
        return TF_OK;
    }
    if (err == TF_LIMIT) {
        say_limit(restore, "max_retained_messages or max_retained_bytes");
    }
    restore->counts->values += !err;
    return err;
}

/* What a front keeps of a client that has no queue. */
static enum tf_err restore_client(const struct restore *restore,
                                  const struct tf_journal_object *from)
{
    const struct tf_restore_shard *shard;
    struct tf_reader reader = tf_reader_of(from->key);
    struct tf_stored_object object = {.kind = from->kind, .key = from->key, .value = from->value};
    struct tf_queue *queue;
    struct tf_front *front;
    if (from->kind == TF_STORED_OBSERVER) {
        shard = &restore->config->shards[tf_read_u16(&reader) % restore->config->count];
    } else {
        shard = home(restore, tf_read_bytes16(&reader)); /* the container's */
    }
    enum tf_err err =
        reader.failed ? TF_PROTOCOL : restore_by_front(shard, &object, &queue, &front);
    if (err == TF_PROTOCOL) { /* not known here, or damaged; nobody misses it */
        restore->counts->orphans++;
        return TF_OK;
    }
    return err == TF_NOT_FOUND ? TF_OK : err; /* it has gone, and its front has seen to that */
}

static bool is_owner(uint8_t kind)
{
    return kind == TF_STORED_QUEUE || kind == TF_STORED_SESSION;
}

static enum tf_err restore_other(struct restore *restore, const struct tf_journal_object *from)
{
    switch (from->kind) {
    case TF_STORED_BINDING:
    case TF_STORED_RECEIVED:
        return restore_part(restore, from);
    case TF_STORED_VALUE:
        return restore_value(restore, from);
    case TF_STORED_TRANSFER:
    case TF_STORED_OBSERVER:
        return restore_client(restore, from);
    case 0: /* the store's own */
        return TF_OK;
    default:
        if (!restore->unknown) {
            tf_log_text(restore->config->log, TF_LOG_WARN, PART,
                        "records of kind %u are not known here, and left where they are",
                        from->kind);
        }
        restore->unknown = true;
        return TF_OK;
    }
}

static enum tf_err walk_objects(struct restore *restore, bool owners)
{
    struct tf_journal_cursor cursor = {{0}};
    struct tf_journal_object object;
    enum tf_err err = TF_OK;
    while (!err && tf_journal_next_object(restore->config->journal, &cursor, &object)) {
        if (is_owner(object.kind) != owners) {
            restore->bindings += object.kind == TF_STORED_BINDING;
            restore->values += object.kind == TF_STORED_VALUE;
            continue;
        }
        err = owners ? restore_owner(restore, &object) : restore_other(restore, &object);
        settle(restore, SETTLE_OBJECTS);
    }
    return err;
}

/* ---- entries ---- */

/* What has been seen of the entries of one queue. */
struct run {
    uint64_t queue;
    const struct place *place; /* NULL: nobody knows the queue */
    uint32_t count;            /* of what stays in the store */
    uint64_t bytes, first;
};

static enum tf_err run_end(struct restore *restore, const struct run *run)
{
    restore->counts->entries += run->count;
    if (run->count == 0) {
        return TF_OK;
    }
    if (!run->place) {
        restore->counts->entries -= run->count;
        restore->counts->orphans += run->count;
        return orphan(restore, 0, tf_bytes_of(NULL, 0), run->queue);
    }
    tf_queue_restore(run->place->queue, run->count, run->bytes, run->first);
    return TF_OK;
}

/* An entry that was under way: in memory again, as its front left it. */
static enum tf_err restore_entry(struct restore *restore, const struct place *place,
                                 const struct tf_journal_place *from,
                                 const struct tf_stored_entry *stored)
{
    struct tf_queue *queue = place->queue;
    struct tf_message *message;
    struct tf_entry *entry;
    enum tf_err err = load(restore, queue->shard, from->message, &message);
    if (lost(err)) {
        restore->counts->orphans++;
        say_lost(restore, "delivery under way", tf_bytes_str("to a session"));
        return TF_OK;
    }
    if (err) {
        return err;
    }
    err = tf_queue_restore_entry(queue, from->position, stored, message, &entry);
    if (err) {
        tf_message_unref(message);
        return err;
    }
    restore->counts->under_way++;
    err = place->front->ops->restore_entry(place->front, entry);
    if (err == TF_PROTOCOL) {
        tf_entry_release(entry); /* once more from the start, then */
        return TF_OK;
    }
    return err;
}

static enum tf_err walk_entry(struct restore *restore, struct run *run,
                              const struct tf_journal_place *from)
{
    struct tf_stored_entry stored;
    if (!run->place) {
        run->count++;
        return TF_OK;
    }
    if (tf_stored_entry_read(from->attributes, &stored)) {
        stored = (struct tf_stored_entry){0}; /* who reads it will see */
        restore->counts->orphans++;
    }
    /* a named queue's is simply there again */
    if (stored.tag && run->place->front && run->place->front->ops->restore_entry) {
        return restore_entry(restore, run->place, from, &stored);
    }
    if (run->count == 0) {
        run->first = from->position;
    }
    run->count++;
    run->bytes += stored.charge;
    return TF_OK;
}

static enum tf_err walk_entries(struct restore *restore)
{
    struct tf_journal_cursor cursor = {{0}};
    struct tf_journal_place from;
    struct run run = {0};
    enum tf_err err = TF_OK;
    while (!err && tf_journal_next_entry(restore->config->journal, &cursor, &from)) {
        if (from.queue != run.queue) {
            err = run_end(restore, &run);
            run = (struct run){.queue = from.queue, .place = place_find(restore, from.queue)};
            if (run.place->id == 0) {
                run.place = NULL;
            }
        }
        if (!err) {
            err = walk_entry(restore, &run, &from);
        }
        settle(restore, SETTLE_ENTRIES);
    }
    return err ? err : run_end(restore, &run);
}

/* ---- all of it ---- */

static void release(struct restore *restore)
{
    const struct tf_alloc *alloc = restore->config->alloc;
    struct removal *removal;
    while ((removal = restore->removals)) {
        restore->removals = removal->next;
        alloc->free(alloc->ctx, removal, removal->size);
    }
    for (size_t i = 0; i < CACHE; i++) {
        if (restore->cache[i].message) {
            tf_message_unref(restore->cache[i].message);
        }
    }
    if (restore->buffer) {
        alloc->free(alloc->ctx, restore->buffer, restore->buffer_size);
    }
    if (restore->places) {
        alloc->free(alloc->ctx, restore->places, restore->capacity * sizeof(*restore->places));
    }
    alloc->free(alloc->ctx, restore, sizeof(*restore));
}

enum tf_err tf_restore(const struct tf_restore_config *config, struct tf_restored *ret_restored)
{
    struct tf_restored counts = {0};
    struct restore *restore = config->alloc->alloc(config->alloc->ctx, sizeof(*restore));
    if (!restore) {
        return TF_NO_MEMORY;
    }
    memset(restore, 0, sizeof(*restore));
    restore->config = config;
    restore->counts = &counts;
    enum tf_err err = places_grow(restore);
    if (!err) {
        err = walk_objects(restore, true);
    }
    for (unsigned i = 0; i < config->count && !err; i++) {
        tf_shard_restore_reserve(config->shards[i].shard, restore->bindings, restore->values);
    }
    if (!err) {
        err = walk_objects(restore, false);
    }
    if (!err) {
        err = walk_entries(restore);
    }
    if (!err) {
        err = remove_orphans(restore);
    }
    release(restore);
    if (!err) {
        *ret_restored = counts;
    }
    return err;
}
