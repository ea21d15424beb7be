/*
 * A shard: publishing, tickets, mail and time. Binding is in bind.c. See shard.h.
 *
 * What a consumer does when it is handed a delivery must not change routes, bindings or consumers:
 * the loops here walk them.
 */
#include "route/shard.h"

#include "base/assert.h"
#include "base/mem.h"
#include "route/internal.h"

#define MAIL_BUDGET 16384u /* of one turn, so that connections are read and written meanwhile */

enum tf_err tf_shard_init(struct tf_shard *shard, const struct tf_shard_config *config, tf_time now)
{
    memset(shard, 0, sizeof(*shard));
    shard->config = *config;
    shard->config.kept_window = config->kept_window ? config->kept_window : TF_KEPT_WINDOW;
    shard->config.kept_page = config->kept_page ? config->kept_page : TF_KEPT_PAGE;
    shard->count = tf_post_office_count(config->office);
    shard->now = now;
    shard->submit_at = TF_TIME_NEVER;
    tf_timers_init(&shard->timers, now);
    tf_timers_init(&shard->value_timers, now);
    tf_list_init(&shard->drawing);
    tf_list_init(&shard->tickets);
    tf_list_init(&shard->held);
    tf_list_init(&shard->paging);
    tf_list_init(&shard->starved);
    tf_map_init(&shard->bindings, config->alloc);
    tf_access_init(shard);
    tf_named_init(shard);
    enum tf_err err = tf_route_table_init(&shard->routes, config->alloc, &config->key);
    if (err) {
        return err;
    }
    err = tf_values_init(&shard->values, config->alloc, &shard->value_timers, &config->key,
                         config->values, config->random);
    shard->values.version = config->first_version;
    return err;
}

void tf_ticket_free(struct tf_shard *shard, struct tf_ticket *ticket)
{
    tf_list_unlink(&ticket->in_owner);
    tf_list_unlink(&ticket->held.node);
    tf_list_remove(&ticket->in_shard);
    shard->config.alloc->free(shard->config.alloc->ctx, ticket, sizeof(*ticket));
    shard->counters.tickets--;
}

void tf_shard_release(struct tf_shard *shard)
{
    struct tf_mail mail;
    unsigned from;
    shard->ending = true;
    while (tf_mail_receive(shard->config.office, shard->config.number, &mail, &from)) {
        tf_mail_discard(&mail);
    }
    tf_access_release(shard);
    tf_named_release(shard);
    tf_held_release(shard);
    while (!tf_list_empty(&shard->tickets)) {
        tf_ticket_free(shard,
                       tf_container_of(tf_list_first(&shard->tickets), struct tf_ticket, in_shard));
    }
    tf_values_release(&shard->values);
    tf_route_table_release(&shard->routes);
    tf_map_release(&shard->bindings);
    tf_stored_room_release(shard);
    const struct tf_alloc *alloc = shard->config.alloc;
    if (shard->ids) {
        alloc->free(alloc->ctx, shard->ids, shard->id_capacity * sizeof(*shard->ids));
    }
}

unsigned tf_shard_home(const struct tf_shard *shard, struct tf_bytes name)
{
    return shard->count == 1 ? 0 : tf_hash_shard(tf_hash_home(name), shard->count);
}

void tf_shard_time(struct tf_shard *shard, tf_time now)
{
    if (now > shard->now) {
        shard->now = now;
    }
}

/*
 * True if a binding wants this publication from a shard: if that shard knew of the binding when it
 * was published, for else it comes as a value (see bind.c), and not one's own (MQTT 5.0 3.8.3.1: No
 * Local).
 */
static bool wanted(const struct tf_binding *binding, const struct tf_publication *publication,
                   unsigned from)
{
    if (binding->awaited >> from & 1) {
        return false;
    }
    return !binding->options.no_local || publication->envelope.publisher == 0 ||
           publication->envelope.publisher != binding->queue->publisher;
}

static void count_push(struct tf_shard *shard, enum tf_err err, struct tf_published *result)
{
    result->matched++;
    if (err == TF_OK) {
        result->taken++;
        shard->counters.routed++;
    } else {
        result->refused |= err == TF_NO_MEMORY;
        shard->counters.dropped++;
    }
}

static void push_one(struct tf_shard *shard, struct tf_publication *publication, unsigned from,
                     struct tf_binding *binding, struct tf_published *result)
{
    const struct tf_binding_options *options = &binding->options;
    if (!wanted(binding, publication, from)) {
        return;
    }
    if (binding->readers && publication->envelope.retain) {
        tf_bind_saw(shard, binding, publication, from);
    }
    struct tf_subscription_ids ids = {&options->subscription_id, options->subscription_id != 0};
    count_push(shard,
               tf_queue_push(binding->queue, publication, &ids,
                             tf_binding_qos(options, publication->envelope.qos),
                             publication->envelope.retain && options->retain_as_published,
                             shard->now),
               result);
}

/* Notes the bindings of a route with their queues; *list strings together the queues. */
static void note_matches(const struct tf_route *route, const struct tf_publication *publication,
                         unsigned from, struct tf_queue **list)
{
    struct tf_list_node *node = tf_list_first(&route->bindings);
    for (; node; node = tf_list_next(&route->bindings, node)) {
        struct tf_binding *binding = tf_container_of(node, struct tf_binding, in_route);
        struct tf_queue *queue = binding->queue;
        if (!wanted(binding, publication, from)) {
            continue;
        }
        if (binding->readers && publication->envelope.retain) {
            tf_bind_saw(queue->shard, binding, publication, from);
        }
        if (!queue->match_first) {
            queue->match_next = *list;
            *list = queue;
        }
        binding->match_next = queue->match_first;
        queue->match_first = binding;
    }
}

/* One delivery for all the bindings of a queue that matched (MQTT 5.0 3.3.4). */
static void push_merged(struct tf_shard *shard, struct tf_publication *publication,
                        struct tf_queue *queue, struct tf_published *result)
{
    struct tf_subscription_ids ids = {shard->ids, 0};
    uint8_t qos = 0;
    bool retain = false;
    struct tf_binding *binding = queue->match_first;
    queue->match_first = NULL;
    for (; binding; binding = binding->match_next) {
        const struct tf_binding_options *options = &binding->options;
        qos = TF_MAX(qos, tf_binding_qos(options, publication->envelope.qos));
        retain |= options->retain_as_published;
        if (options->subscription_id) {
            tf_assert(ids.count < shard->id_capacity);
            shard->ids[ids.count++] = options->subscription_id;
        }
    }
    count_push(shard,
               tf_queue_push(queue, publication, &ids, qos, publication->envelope.retain && retain,
                             shard->now),
               result);
}

/*
 * Gives a publication that was made in shard `from` to the queues of this shard; returns the other
 * shards with bindings.
 */
static uint64_t route(struct tf_shard *shard, struct tf_publication *publication, unsigned from,
                      struct tf_published *result)
{
    struct tf_route_match match;
    struct tf_route *first = NULL;
    struct tf_route *found;
    struct tf_queue *queues = NULL;
    uint64_t shards = 0;
    bool several = false;
    tf_route_match_start(&match, &shard->routes, publication->envelope.address);
    while ((found = tf_route_match_next(&match))) {
        shards |= found->shards;
        if (tf_list_empty(&found->bindings)) {
            continue;
        }
        if (!first) {
            first = found;
            continue;
        }
        if (!several) {
            note_matches(first, publication, from, &queues);
            several = true;
        }
        note_matches(found, publication, from, &queues);
    }
    if (first && !several) {
        struct tf_list_node *node = tf_list_first(&first->bindings);
        for (; node; node = tf_list_next(&first->bindings, node)) {
            push_one(shard, publication, from, tf_container_of(node, struct tf_binding, in_route),
                     result);
        }
    }
    while (queues) {
        struct tf_queue *queue = queues;
        queues = queue->match_next;
        push_merged(shard, publication, queue, result);
    }
    return shards;
}

static void set_value(struct tf_shard *shard, struct tf_message *message, unsigned writer,
                      struct tf_published *result)
{
    if (tf_value_set(shard, message, writer)) {
        result->refused = true;
    } else {
        if (shard->access.watched.count) {
            tf_watched_stored(shard, message);
        }
        result->taken++;
    }
}

static void add_result(struct tf_published *sum, const struct tf_published *part)
{
    sum->matched += part->matched;
    sum->taken += part->taken;
    sum->refused |= part->refused;
}

struct tf_ticket *tf_ticket_new(struct tf_shard *shard, struct tf_ticket_owner *owner, uint64_t tag)
{
    const struct tf_alloc *alloc = shard->config.alloc;
    struct tf_ticket *ticket = alloc->alloc(alloc->ctx, sizeof(*ticket));
    if (ticket) {
        *ticket = (struct tf_ticket){.owner = owner, .tag = tag};
        tf_list_push_back(&owner->tickets, &ticket->in_owner);
        tf_list_push_back(&shard->tickets, &ticket->in_shard);
        shard->counters.tickets++;
    }
    return ticket;
}

/* Mails a message to the shards of a set; the number of replies to wait for. */
static uint32_t mail_message(struct tf_shard *shard, struct tf_message *message, uint64_t routed,
                             uint64_t valued, uint64_t transaction, struct tf_ticket *ticket,
                             struct tf_published *result)
{
    uint32_t sent = 0;
    for (uint64_t left = routed | valued; left; left &= left - 1) {
        unsigned to = (unsigned)__builtin_ctzll(left);
        uint64_t bit = UINT64_C(1) << to;
        struct tf_mail mail = {.type = TF_MAIL_MESSAGE,
                               .flags = (uint8_t)((routed & bit ? TF_MAIL_ROUTE : 0) |
                                                  (valued & bit ? TF_MAIL_VALUE : 0)),
                               .object = tf_message_ref(message),
                               .tag = (uint64_t)(uintptr_t)ticket,
                               .value = transaction};
        if (tf_mail_send(shard->config.office, shard->config.number, to, &mail)) {
            tf_message_unref(message);
            result->refused = true;
        } else {
            sent++;
        }
    }
    shard->counters.valued += valued != 0;
    if (transaction && sent) {
        tf_store_join(shard->config.store, transaction, sent + 1);
    }
    return sent;
}

/* Memory ran out after `result`: what has been taken stays taken, and the producer is told. */
static enum tf_err without_memory(const struct tf_shard *shard, uint64_t appended,
                                  struct tf_published result, struct tf_published *ret_result)
{
    if (result.taken == 0) {
        return TF_NO_MEMORY;
    }
    result.refused = true;
    result.stored = tf_shard_recorded_since(shard, appended);
    *ret_result = result;
    return TF_OK;
}

uint32_t tf_shard_spread(struct tf_shard *shard, struct tf_message *message,
                         struct tf_ticket *ticket, struct tf_published *result)
{
    uint64_t routed = route(shard, &message->publication, shard->config.number, result);
    shard->counters.published++;
    return routed ? mail_message(shard, message, routed, 0, 0, ticket, result) : 0;
}

enum tf_err tf_shard_publish(struct tf_shard *shard, struct tf_publication *publication,
                             struct tf_ticket_owner *owner, uint64_t tag,
                             struct tf_published *ret_result)
{
    struct tf_published result = {0};
    struct tf_message *message = NULL;
    struct tf_ticket *ticket = NULL;
    uint64_t valued = 0;
    uint64_t appended = tf_shard_appended(shard);
    uint64_t routed = route(shard, publication, shard->config.number, &result);
    shard->counters.published++;
    if (publication->envelope.retain) {
        valued = UINT64_C(1) << tf_shard_home(shard, publication->envelope.address);
    }
    if (routed | valued) {
        message = tf_publication_keep(publication, shard->config.alloc);
        if (!message) {
            return without_memory(shard, appended, result, ret_result);
        }
    }
    uint64_t self = UINT64_C(1) << shard->config.number;
    if (valued & self) {
        set_value(shard, message, shard->config.number, &result);
        valued = 0;
    }
    if (owner && (routed | valued)) {
        ticket = tf_ticket_new(shard, owner, tag);
        if (!ticket) {
            tf_message_unref(message);
            return without_memory(shard, appended, result, ret_result);
        }
    }
    uint32_t waiting = routed | valued ? mail_message(shard, message, routed, valued,
                                                      publication->transaction, ticket, &result)
                                       : 0;
    if (message) {
        tf_message_unref(message);
    }
    result.stored = tf_shard_recorded_since(shard, appended);
    *ret_result = result;
    if (!ticket) {
        return TF_OK;
    }
    ticket->waiting = waiting;
    ticket->result = result;
    if (waiting) {
        return TF_AGAIN;
    }
    tf_ticket_free(shard, ticket);
    return TF_OK;
}

void tf_ticket_owner_release(struct tf_ticket_owner *owner)
{
    struct tf_list_node *node;
    while ((node = tf_list_pop_front(&owner->tickets))) {
        tf_container_of(node, struct tf_ticket, in_owner)->owner = NULL;
    }
}

void tf_ticket_finish(struct tf_shard *shard, struct tf_ticket *ticket)
{
    struct tf_ticket_owner *owner = ticket->owner;
    struct tf_published result = ticket->result;
    uint64_t tag = ticket->tag;
    tf_ticket_free(shard, ticket);
    if (owner) {
        owner->done(owner, tag, &result);
    }
}

static void on_ticket(struct tf_shard *shard, const struct tf_mail *mail)
{
    struct tf_ticket *ticket = (struct tf_ticket *)(uintptr_t)mail->tag;
    struct tf_published part = {
        .matched = mail->count, .taken = (uint32_t)mail->value, .refused = mail->reason != 0};
    add_result(&ticket->result, &part);
    if (--ticket->waiting == 0) {
        tf_ticket_end(shard, ticket);
    }
}

void tf_shard_reply(struct tf_shard *shard, unsigned to, uint64_t ticket,
                    const struct tf_published *result)
{
    struct tf_mail reply = {.type = TF_MAIL_TICKET,
                            .count = result->matched,
                            .value = result->taken,
                            .reason = result->refused,
                            .tag = ticket};
    if (!tf_shard_hold(shard, to, &reply, result->stored)) {
        shard->reply = reply; /* whoever waits for it would wait for ever */
        shard->reply_to = to;
        shard->reply_number = result->stored;
        shard->reply_waits = true;
    }
}

static void on_message(struct tf_shard *shard, const struct tf_mail *mail, unsigned from)
{
    struct tf_message *message = mail->object;
    struct tf_published result = {0};
    if (mail->value) { /* first, so that who delivers it finds something to wait for */
        tf_store_join(shard->config.store, mail->value, 0);
    }
    uint64_t appended = tf_shard_appended(shard);
    if (mail->flags & TF_MAIL_ROUTE) {
        (void)route(shard, &message->publication, from, &result);
    }
    if (mail->flags & TF_MAIL_VALUE) {
        set_value(shard, message, from, &result);
    }
    result.stored = tf_shard_recorded_since(shard, appended);
    tf_message_unref(message);
    if (mail->tag) {
        /* before the reply, on the same ring: who is acknowledged finds the value in the cell */
        tf_watched_tell(shard);
        tf_shard_reply(shard, from, mail->tag, &result);
    }
}

/* Sends the reply that found no memory. False: there is still none. */
static bool send_reply(struct tf_shard *shard)
{
    bool broken = shard->reply_waits && tf_shard_broken(shard);
    if (shard->reply_waits && (broken || tf_shard_done(shard, shard->reply_number))) {
        if (broken) {
            tf_refuse_mail(&shard->reply);
        }
        shard->reply_waits = !tf_shard_post(shard, shard->reply_to, &shard->reply);
    }
    return !shard->reply_waits;
}

static void dispatch(struct tf_shard *shard, const struct tf_mail *mail, unsigned from)
{
    switch (mail->type) {
    case TF_MAIL_MESSAGE:
        on_message(shard, mail, from);
        return;
    case TF_MAIL_TICKET:
        on_ticket(shard, mail);
        return;
    default:
        if (mail->type <= TF_MAIL_UNBIND) {
            tf_bind_mail(shard, mail, from);
        } else if (mail->type <= TF_MAIL_UNWATCH) {
            tf_access_mail(shard, mail);
        } else if (mail->type < TF_MAIL_BROKER) {
            tf_named_mail(shard, mail, from);
        } else {
            shard->config.receive(shard->config.ctx, mail, from);
        }
    }
}

bool tf_shard_post(struct tf_shard *shard, unsigned to, const struct tf_mail *mail)
{
    if (to == shard->config.number) {
        dispatch(shard, mail, to);
        return true;
    }
    return tf_mail_send(shard->config.office, shard->config.number, to, mail) == TF_OK;
}

void tf_shard_receive(struct tf_shard *shard)
{
    struct tf_mail mail;
    unsigned from;
    unsigned left = MAIL_BUDGET;
    if (shard->config.store) {
        tf_held_work(shard);
    }
    bool ready = true;
    while (left && send_reply(shard) && (ready = !shard->config.store || tf_held_ready(shard)) &&
           tf_mail_receive(shard->config.office, shard->config.number, &mail, &from)) {
        dispatch(shard, &mail, from);
        left--;
    }
    /* while the reply waits for the store, the store wakes the shard */
    shard->mail_left =
        left == 0 || !ready || (shard->reply_waits && tf_shard_done(shard, shard->reply_number));
    (void)tf_bind_work(shard);
    tf_access_work(shard);
    tf_named_work(shard);
}

void tf_shard_expire(struct tf_shard *shard)
{
    struct tf_timer *timer;
    while ((timer = tf_timers_expire(&shard->value_timers, shard->now))) {
        tf_value_expire(shard, timer);
    }
    tf_named_expire(shard);
    tf_kept_retry(shard);
    while ((timer = tf_timers_expire(&shard->timers, shard->now))) {
        shard->config.expired(shard->config.ctx, timer);
    }
}

bool tf_shard_busy(const struct tf_shard *shard)
{
    const struct tf_value_access *access = &shard->access;
    return shard->mail_left || shard->held_left || !tf_list_empty(&shard->paging) ||
           !tf_list_empty(&shard->drawing) || !tf_list_empty(&access->walking) ||
           !tf_list_empty(&access->dirty) || !tf_list_empty(&access->unsent) ||
           tf_named_busy(shard);
}

tf_time tf_shard_deadline(const struct tf_shard *shard)
{
    if (tf_shard_busy(shard)) {
        return shard->now;
    }
    tf_time timers = tf_timers_next(&shard->timers);
    tf_time values = tf_timers_next(&shard->value_timers);
    tf_time entries = tf_timers_next(&shard->named.entries);
    tf_time idle = tf_timers_next(&shard->named.idle);
    timers = TF_MIN(timers, values);
    entries = TF_MIN(entries, idle);
    if (!tf_list_empty(&shard->starved)) {
        entries = TF_MIN(entries, shard->starved_until);
    }
    entries = TF_MIN(entries, shard->submit_at);
    return TF_MIN(timers, entries);
}

bool tf_shard_flush(struct tf_shard *shard)
{
    bool congested = tf_mail_flush(shard->config.office, shard->config.number);
    if (shard->config.store) {
        tf_shard_submit(shard);
        congested |= tf_store_overrun(shard->config.store);
    }
    return congested;
}

bool tf_shard_check(const struct tf_shard *shard)
{
    return tf_map_check(&shard->bindings) && tf_tree_check(&shard->values.ordered) &&
           tf_timers_check(&shard->timers) && tf_timers_check(&shard->value_timers) &&
           shard->values.count == shard->values.ordered.count &&
           shard->values.count == shard->values.map.count && tf_access_check(shard) &&
           tf_named_check(shard);
}
