/*
 * The queues and topics of a configuration: kept, copied, compared, completed.
 *
 * It must not know files or lines, nor what a queue is to those who run it.
 */
#include "broker/config_keys.h"

#include <stdlib.h>
#include <string.h>

/* ---- lists of texts ---- */

enum tf_err tf_config_texts_add(char ***items, size_t *count, struct tf_config_text text)
{
    char **grown, *copy;

    if (*count >= TF_CONFIG_TOPIC_MAX)
        return TF_LIMIT;
    grown = realloc(*items, (*count + 1) * sizeof(*grown));
    if (!grown)
        return TF_NO_MEMORY;
    *items = grown;
    copy = tf_config_text_copy(text);
    if (!copy)
        return TF_NO_MEMORY;
    grown[(*count)++] = copy;
    return TF_OK;
}

static void texts_release(char **items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(items[i]);
    free(items);
}

/* Copies of all, in a list of their own. TF_NO_MEMORY: what has been copied is in the list. */
static enum tf_err texts_clone(char ***ret_items, size_t *ret_count, char *const *items,
                               size_t count)
{
    enum tf_err err = TF_OK;

    *ret_items = NULL;
    *ret_count = 0;
    for (size_t i = 0; !err && i < count; i++)
        err = tf_config_texts_add(ret_items, ret_count,
                                  (struct tf_config_text){items[i], strlen(items[i])});
    return err;
}

bool tf_config_texts_equal(char *const *a, size_t a_count, char *const *b, size_t b_count)
{
    if (a_count != b_count)
        return false;
    for (size_t i = 0; i < a_count; i++)
        if (strcmp(a[i], b[i]) != 0)
            return false;
    return true;
}

/* ---- queues ---- */

static void queue_release(struct tf_config_queue *queue)
{
    free(queue->name);
    free(queue->dead_letter);
    texts_release(queue->binds, queue->bind_count);
}

/* Makes room for one more, all zero; NULL: no memory. */
static struct tf_config_queue *queue_push(struct tf_config *config)
{
    struct tf_config_queue *grown =
        realloc(config->queues, (config->queue_count + 1) * sizeof(*grown));

    if (!grown)
        return NULL;
    config->queues = grown;
    grown += config->queue_count++;
    *grown = (struct tf_config_queue){0};
    return grown;
}

enum tf_err tf_config_queue_add(struct tf_config *config, struct tf_config_text name)
{
    struct tf_config_queue *queue;

    for (size_t i = 0; i < config->queue_count; i++)
        if (tf_config_text_is(name, config->queues[i].name))
            return TF_EXISTS;
    if (config->queue_count >= TF_CONFIG_QUEUE_MAX)
        return TF_LIMIT;
    char *copy = tf_config_text_copy(name);
    queue = copy ? queue_push(config) : NULL;
    if (!queue) {
        free(copy);
        return TF_NO_MEMORY;
    }
    tf_config_value_defaults(TF_CONFIG_SCOPE_QUEUE, queue);
    queue->name = copy;
    return TF_OK;
}

static enum tf_err queue_clone(struct tf_config_queue *to, const struct tf_config_queue *from)
{
    *to = *from;
    to->name = strdup(from->name);
    to->dead_letter = from->dead_letter ? strdup(from->dead_letter) : NULL;
    if (texts_clone(&to->binds, &to->bind_count, from->binds, from->bind_count))
        return TF_NO_MEMORY;
    return to->name && (to->dead_letter || !from->dead_letter) ? TF_OK : TF_NO_MEMORY;
}

enum tf_err tf_config_queues_clone(struct tf_config *to, const struct tf_config *from)
{
    enum tf_err err;

    to->queues = NULL;
    to->queue_count = 0;
    err = texts_clone(&to->topics, &to->topic_count, from->topics, from->topic_count);
    for (size_t i = 0; !err && i < from->queue_count; i++) {
        struct tf_config_queue *queue = queue_push(to);

        err = queue ? queue_clone(queue, &from->queues[i]) : TF_NO_MEMORY;
    }
    return err;
}

void tf_config_queues_release(struct tf_config *config)
{
    for (size_t i = 0; i < config->queue_count; i++)
        queue_release(&config->queues[i]);
    free(config->queues);
    texts_release(config->topics, config->topic_count);
    config->queues = NULL;
    config->queue_count = 0;
    config->topics = NULL;
    config->topic_count = 0;
}

/* ---- finished ---- */

static int queue_compare(const void *a, const void *b)
{
    const struct tf_config_queue *left = a, *right = b;

    return strcmp(left->name, right->name);
}

void tf_config_queues_finish(struct tf_config *config)
{
    if (config->queue_count > 0)
        qsort(config->queues, config->queue_count, sizeof(*config->queues), queue_compare);
    for (size_t i = 0; i < config->queue_count; i++) {
        struct tf_config_queue *queue = &config->queues[i];

        if (queue->max_messages == 0)
            queue->max_messages = config->queue_default_max_messages;
        if (queue->max_bytes == 0)
            queue->max_bytes = config->queue_default_max_bytes;
        if (queue->durability == TF_CONFIG_DURABILITY_INHERIT)
            queue->durability = config->durability;
        if (!queue->durable)
            queue->durability = TF_CONFIG_DURABILITY_MEMORY;
    }
}

const struct tf_config_queue *tf_config_queue_find(const struct tf_config *config, const char *name,
                                                   size_t length)
{
    size_t low = 0, high = config->queue_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct tf_config_queue *queue = &config->queues[middle];
        size_t own = strlen(queue->name), common = own < length ? own : length;
        int order = common ? memcmp(queue->name, name, common) : 0;

        if (order == 0 && own == length)
            return queue;
        if (order < 0 || (order == 0 && own < length))
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}
