/*
 * Requests: what they ask for, and how values are read and written for them.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "broker/address.h"
#include "broker/coap_front_internal.h"
#include "route/table.h"

/* ---- works ---- */

struct coap_work *tf_coap_front_work_new(struct coap_channel *channel,
                                         const struct tf_coap_event *event)
{
    struct coap_work *work = tf_coap_front_alloc(channel->front, sizeof(*work));
    if (!work) {
        return NULL;
    }
    memset(work, 0, sizeof(*work));
    work->front = channel->front;
    work->channel = channel;
    work->request = event->handle;
    work->method = event->message.code;
    tf_list_push_back(&channel->works, &work->in_channel);
    if (tf_coap_set_user(channel->endpoint, event->handle, work)) {
        tf_coap_front_work_free(work);
        return NULL;
    }
    return work;
}

static void uncharge(struct coap_work *work)
{
    work->front->body_bytes -= work->charged;
    work->charged = 0;
}

void tf_coap_front_work_free(struct coap_work *work)
{
    tf_list_unlink(&work->in_channel);
    tf_list_unlink(&work->in_queue);
    uncharge(work);
    if (work->incoming) {
        tf_message_unref(work->incoming);
    }
    if (work->patch) {
        tf_message_unref(work->patch);
    }
    if (work->result.message) {
        tf_message_unref(work->result.message);
    }
    tf_coap_front_free(work->front, work, sizeof(*work));
}

/* Nobody waits for the answer any more; what was asked of the routing goes on. */
static void work_orphan(struct coap_work *work)
{
    if (work->state != COAP_WORK_WAITING) {
        tf_coap_front_work_free(work);
        return;
    }
    work->channel = NULL;
    tf_list_remove(&work->in_channel);
    tf_list_push_back(&work->front->orphans, &work->in_channel);
}

void tf_coap_front_works_detach(struct coap_channel *channel)
{
    while (!tf_list_empty(&channel->works)) {
        work_orphan(tf_container_of(tf_list_first(&channel->works), struct coap_work, in_channel));
    }
}

/* ---- conditions ---- */

uint64_t tf_coap_front_version(struct tf_bytes etag)
{
    uint64_t version = 0;
    if (etag.length == 0 || etag.length > COAP_ETAG_SIZE || etag.data[0] == 0) {
        return 0;
    }
    for (size_t i = 0; i < etag.length; i++) {
        version = version << 8 | etag.data[i];
    }
    return version;
}

/* RFC 7252 5.10.8 */
static void read_condition(struct tf_bytes options, struct coap_condition *ret)
{
    struct tf_coap_cursor cursor = tf_coap_options(options);
    struct tf_coap_option option;
    bool any = false;
    memset(&ret->condition, 0, sizeof(ret->condition));
    while (tf_coap_option_next(&cursor, &option) && option.number <= TF_COAP_IF_NONE_MATCH) {
        if (option.number == TF_COAP_IF_NONE_MATCH) {
            ret->condition.absent = true;
        } else if (option.number == TF_COAP_IF_MATCH) {
            any |= option.value.length == 0;
            if (option.value.length && ret->condition.version_count < COAP_VERSIONS_MAX) {
                ret->versions[ret->condition.version_count++] = tf_coap_front_version(option.value);
            }
        }
    }
    if (any) { /* matches whatever there is, whatever the others say */
        ret->condition.exists = true;
        ret->condition.version_count = 0;
    }
}

const struct tf_condition *tf_coap_front_condition(struct coap_condition *condition)
{
    condition->condition.versions = condition->versions;
    return &condition->condition;
}

/* ---- reading ---- */

/* What a GET is answered with; the message is borrowed from the view. */
static struct coap_result read_result(struct coap_condition *condition,
                                      const struct tf_value_view *view)
{
    if (!tf_condition_holds(tf_coap_front_condition(condition), view)) {
        return (struct coap_result){.code = TF_COAP_PRECONDITION_FAILED};
    }
    if (!view->message) {
        return (struct coap_result){.code = TF_COAP_NOT_FOUND};
    }
    return (struct coap_result){
        .code = TF_COAP_CONTENT, .version = view->version, .message = view->message};
}

static void get(struct coap_channel *channel, const struct tf_coap_event *event,
                struct tf_bytes address)
{
    struct coap_front *front = channel->front;
    struct coap_condition condition;
    struct tf_value_view view;
    read_condition(event->message.options, &condition);
    if (tf_shard_home(front->shard, address) == front->shard->config.number) {
        if (tf_shard_read(front->shard, address, &front->reads, 0, &view) == TF_OK) {
            struct coap_result result = read_result(&condition, &view);
            enum tf_err err = tf_coap_front_respond(channel, event->handle, &result);
            tf_assert(!err);
        }
        return;
    }
    struct coap_work *work = tf_coap_front_work_new(channel, event);
    if (!work) {
        tf_coap_front_refuse(channel, event->handle, TF_COAP_UNAVAILABLE);
        return;
    }
    work->condition = condition;
    work->state = COAP_WORK_WAITING;
    if (tf_shard_read(front->shard, address, &front->reads, (uint64_t)(uintptr_t)work, &view) !=
        TF_AGAIN) {
        tf_coap_front_work_free(work);
        tf_coap_front_refuse(channel, event->handle, TF_COAP_UNAVAILABLE);
    }
}

void tf_coap_front_read(struct tf_read_owner *owner, uint64_t tag, const struct tf_value_view *view)
{
    struct coap_work *work = (struct coap_work *)(uintptr_t)tag;
    (void)owner;
    work->state = COAP_WORK_ANSWER;
    if (work->patch && work->channel) {
        tf_coap_front_patch_read(work, view);
        return;
    }
    work->result = read_result(&work->condition, view);
    if (work->result.message) {
        tf_message_ref(work->result.message);
    }
    tf_coap_front_work_answer(work);
}

/* ---- writing ---- */

/* What could not be written now, but may be later. */
static const struct coap_result unavailable = {.code = TF_COAP_UNAVAILABLE,
                                               .max_age = COAP_RETRY_S};

/* True: the store takes nothing new. */
static bool store_refuses(const struct coap_front *front)
{
    const struct tf_store_client *store = front->shard->config.store;
    return store && tf_store_state(store) >= TF_STORE_FULL;
}

static struct coap_result write_result(const struct coap_front *front, uint8_t method,
                                       const struct tf_published *published)
{
    struct coap_result result = {.version = published->version};
    if (published->failed) {
        result.code = TF_COAP_PRECONDITION_FAILED;
        result.version = 0;
    } else if (published->refused && published->taken == 0 && store_refuses(front)) {
        return unavailable;
    } else if (published->refused && published->taken == 0) {
        result.code = TF_COAP_TOO_LARGE; /* RFC 7252 5.9.2.9: no room for it */
        result.version = 0;
    } else if (method == TF_COAP_DELETE) {
        result.code = TF_COAP_DELETED; /* 5.8.4: whether or not there was one */
        result.version = 0;
    } else if (published->existed) {
        result.code = TF_COAP_CHANGED;
    } else {
        result.code = TF_COAP_CREATED;
        result.location = method == TF_COAP_POST;
    }
    return result;
}

void tf_coap_front_written(struct tf_ticket_owner *owner, uint64_t tag,
                           const struct tf_published *published)
{
    struct coap_work *work = (struct coap_work *)(uintptr_t)tag;
    (void)owner;
    work->state = COAP_WORK_ANSWER;
    if (work->patch && published->failed && work->channel) { /* somebody else wrote meanwhile */
        tf_coap_front_patch(work);
        return;
    }
    work->result = write_result(work->front, work->method, published);
    if (work->result.location) {
        work->result.message = tf_message_ref(work->incoming);
    }
    tf_coap_front_work_answer(work);
}

/* Hands a publication over. TF_AGAIN: the ticket's owner will hear of it. */
static enum tf_err write(struct coap_work *work, struct tf_publication *publication,
                         struct tf_published *ret)
{
    struct coap_front *front = work->front;
    work->state = COAP_WORK_WAITING;
    front->front.counters.publish_received++;
    front->front.counters.publish_bytes_received += tf_publication_length(publication);
    return tf_shard_write(front->shard, publication, tf_coap_front_condition(&work->condition),
                          &front->tickets, (uint64_t)(uintptr_t)work, ret);
}

void tf_coap_front_write(struct coap_work *work)
{
    struct tf_published published = {0};
    enum tf_err err = write(work, &work->incoming->publication, &published);
    if (err == TF_AGAIN) {
        return;
    }
    if (err) {
        work->front->front.counters.publish_dropped++;
        work->state = COAP_WORK_ANSWER;
        work->result = unavailable;
        tf_coap_front_work_answer(work);
        return;
    }
    tf_coap_front_written(&work->front->tickets, (uint64_t)(uintptr_t)work, &published);
}

/* The envelope of what a request publishes; `type` is where a format's number may be written. */
static struct tf_envelope envelope_of(const struct coap_channel *channel,
                                      const struct tf_coap_event *event, struct tf_bytes address,
                                      char type[TF_MAPPING_TYPE_MAX], uint8_t encoded[2])
{
    const struct coap_front *front = channel->front;
    struct tf_bytes value;
    struct tf_envelope envelope = {.address = address,
                                   .expires = TF_TIME_NEVER,
                                   .origin = TF_PROTOCOL_COAP,
                                   .qos = event->message.type == TF_COAP_CON ? 1 : 0,
                                   .durable = event->message.type == TF_COAP_CON,
                                   .retain = true,
                                   .clear = event->message.code == TF_COAP_DELETE};
    if (front->shard->config.store) {
        envelope.slack = tf_durability_slack(front->context.config, channel->listener, address);
    }
    if (!envelope.clear &&
        tf_coap_option_find(event->message.options, TF_COAP_CONTENT_FORMAT, &value)) {
        uint16_t format = (uint16_t)tf_coap_uint(value);
        envelope.content_type = tf_mapping_type_of_format(format, type);
        encoded[0] = (uint8_t)(format >> 8);
        encoded[1] = (uint8_t)format;
        envelope.encoded = tf_bytes_of(encoded, 2);
        if (format == TF_COAP_FORMAT_TEXT && !event->more && tf_utf8_valid_mqtt(event->body)) {
            envelope.payload_format = TF_PAYLOAD_TEXT;
        }
    }
    return envelope;
}

#define BODY_IDLE (8 * TF_SECOND) /* a body without a block for so long may give way */

/*
 * Gives up the body that has not been heard of for longest, to make room: its client learns it with
 * its next block, should one come. False: all are under way.
 */
static bool give_up_idle(struct coap_front *front)
{
    static const struct tf_coap_response sorry = {.code = TF_COAP_UNAVAILABLE};
    struct tf_list_node *first = tf_list_first(&front->bodies);
    if (!first) {
        return false;
    }
    struct coap_work *work = tf_container_of(first, struct coap_work, in_queue);
    if (coap_now(front) < tf_time_add(work->heard, BODY_IDLE)) {
        return false;
    }
    if (tf_coap_respond(work->channel->endpoint, work->request, &sorry, NULL, NULL,
                        coap_now(front)) == TF_OK) {
        tf_coap_front_work_free(work);
        return true;
    }
    tf_list_unlink(&work->in_queue); /* it has ended: its event frees it */
    uncharge(work);
    work->refused = true;
    return true;
}

/* Appends a run to a body in blocks, within what all of them may have. */
static void append(struct coap_work *work, struct tf_bytes run)
{
    struct coap_front *front = work->front;
    uint64_t limit = front->context.config->coap_max_body_bytes / front->shard->count;
    if (work->refused) {
        return;
    }
    work->heard = coap_now(front);
    tf_list_unlink(&work->in_queue);
    tf_list_push_back(&front->bodies, &work->in_queue);
    while (front->body_bytes + run.length > limit && give_up_idle(front)) {
    }
    if (front->body_bytes + run.length > limit || tf_message_append(work->incoming, run)) {
        work->refused = true;
        return;
    }
    front->body_bytes += run.length;
    work->charged += run.length;
}

static bool is_patch(uint8_t method)
{
    return method == TF_COAP_PATCH || method == TF_COAP_IPATCH;
}

/* The body is complete, or will not be: the rest need not come. */
static void body_done(struct coap_work *work)
{
    uncharge(work);
    tf_list_unlink(&work->in_queue);
    if (work->refused) {
        work->state = COAP_WORK_ANSWER;
        work->result = (struct coap_result){.code = TF_COAP_UNAVAILABLE};
        tf_coap_front_work_answer(work);
        return;
    }
    if (is_patch(work->method)) {
        tf_coap_front_patch(work);
    } else {
        tf_coap_front_write(work);
    }
}

/* A request that writes: PUT, POST, DELETE, PATCH, iPATCH. */
static void change(struct coap_channel *channel, const struct tf_coap_event *event,
                   struct tf_bytes address)
{
    char type[TF_MAPPING_TYPE_MAX];
    uint8_t encoded[2];
    struct tf_published published = {0};
    struct coap_work *work = tf_coap_front_work_new(channel, event);
    struct tf_envelope envelope = envelope_of(channel, event, address, type, encoded);
    if (!work) {
        tf_coap_front_refuse(channel, event->handle, TF_COAP_UNAVAILABLE);
        return;
    }
    bool patch = is_patch(work->method);
    if (patch && !tf_coap_front_patch_format(envelope.encoded.length
                                                 ? (uint16_t)(encoded[0] << 8 | encoded[1])
                                                 : UINT16_MAX)) {
        tf_coap_front_work_free(work);
        tf_coap_front_refuse(channel, event->handle, TF_COAP_UNSUPPORTED_FORMAT);
        return;
    }
    read_condition(event->message.options, patch ? &work->wanted : &work->condition);
    /* What comes in one piece and leaves no trace but the answer is written as it lies here. */
    if (!event->more && !patch && work->method != TF_COAP_POST) {
        struct tf_publication publication = {.envelope = envelope,
                                             .body = &event->body,
                                             .body_count = !envelope.clear &&
                                                           event->body.length !=
                                                               0}; /* of DELETE it means nothing */
        enum tf_err err = write(work, &publication, &published);
        tf_publication_release(&publication);
        if (err == TF_OK) {
            tf_coap_front_written(&channel->front->tickets, (uint64_t)(uintptr_t)work, &published);
        } else if (err != TF_AGAIN) {
            channel->front->front.counters.publish_dropped++;
            tf_coap_front_work_free(work);
            (void)tf_coap_front_respond(channel, event->handle, &unavailable);
        }
        return;
    }
    work->format =
        envelope.encoded.length ? (uint16_t)((unsigned)encoded[0] << 8 | encoded[1]) : UINT16_MAX;
    work->incoming = tf_message_new(&envelope, channel->front->shard->config.alloc);
    if (!work->incoming) {
        tf_coap_front_work_free(work);
        tf_coap_front_refuse(channel, event->handle, TF_COAP_UNAVAILABLE);
        return;
    }
    append(work, event->body);
    if (!event->more || work->refused) {
        body_done(work);
    }
}

static void body(const struct tf_coap_event *event)
{
    struct coap_work *work = event->user;
    if (work) {
        append(work, event->body);
        if (!event->more || work->refused) {
            body_done(work);
        }
    }
}

/* ---- dispatch ---- */

/* A request for what is no address. */
static void reserved(struct coap_channel *channel, const struct tf_coap_event *event,
                     struct tf_bytes address)
{
    if (!tf_bytes_equal(address, tf_bytes_str(".well-known/core"))) {
        tf_coap_front_refuse(channel, event->handle, TF_COAP_NOT_FOUND);
    } else if (event->message.code != TF_COAP_GET) {
        tf_coap_front_refuse(channel, event->handle, TF_COAP_METHOD_NOT_ALLOWED);
    } else {
        tf_coap_front_core(channel, event);
    }
}

/* True for the methods whose body means something here: others have none to come in blocks. */
static bool has_body(uint8_t method)
{
    return method == TF_COAP_PUT || method == TF_COAP_POST || is_patch(method);
}

static void request(struct coap_channel *channel, const struct tf_coap_event *event)
{
    struct coap_front *front = channel->front;
    struct tf_bytes address;
    if (front->draining) {
        tf_coap_front_refuse(channel, event->handle, TF_COAP_UNAVAILABLE);
        return;
    }
    if (!front->context.config->listeners[channel->listener].access.allow_anonymous) {
        tf_coap_front_refuse_why(channel, event->handle, TF_COAP_UNAUTHORIZED,
                                 "this listener lets nobody in (allow_anonymous)");
        return;
    }
    if (event->message.options.length > COAP_SCRATCH_SIZE ||
        tf_mapping_coap_address(event->message.options, front->scratch, &address)) {
        tf_coap_front_refuse_why(channel, event->handle, TF_COAP_BAD_REQUEST,
                                 "no address: a path of 1 to 128 segments without / + # . ..");
        return;
    }
    if (event->more && !has_body(event->message.code)) {
        tf_coap_front_refuse(channel, event->handle, TF_COAP_BAD_REQUEST);
        return;
    }
    if (tf_mapping_coap_reserved(address)) {
        reserved(channel, event, address);
        return;
    }
    switch (event->message.code) {
    case TF_COAP_GET:
        if (event->observe) {
            tf_coap_front_observe(channel, event, address);
        } else {
            get(channel, event, address);
        }
        break;
    case TF_COAP_FETCH: /* RFC 8132 2.3.1: a value can be asked for no part in any format */
        tf_coap_front_refuse(channel, event->handle, TF_COAP_UNSUPPORTED_FORMAT);
        break;
    default:
        if (!tf_address_open(address)) {
            tf_coap_front_refuse(channel, event->handle, TF_COAP_FORBIDDEN);
        } else {
            change(channel, event, address);
        }
    }
}

void tf_coap_front_request(struct coap_channel *channel, const struct tf_coap_event *event)
{
    if (event->type == TF_COAP_EVENT_REQUEST) {
        request(channel, event);
    } else if (event->type == TF_COAP_EVENT_BODY) {
        body(event);
    } else if (event->user) {
        work_orphan(event->user);
    }
}
