/*
 * The node $management: queues looked at and changed by messages, request and answer, in the manner
 * of OASIS AMQP Management 1.0 (working draft).
 *
 * Request: application properties `operation` (READ, CREATE, DELETE, PURGE, MOVE), `type`
 * (`queue`), `name`; DELETE: `if-unused`, `if-empty`; MOVE: `to`, `limit`. Answer, to the request's
 * reply-to with its message-id as correlation-id: application properties `statusCode`,
 * `statusDescription`; the body is a map: `count` of what was done, and the queue's numbers.
 */
#include "base/mem.h"
#include "broker/address.h"
#include "broker/amqp_front_internal.h"
#include "broker/queues.h"

#include <trefoil/amqp_value.h>

#define ANSWER_MAX 2048u

/* A request whose command is under way. */
struct request {
    struct tf_list_node node; /* conn->requests */
    size_t size;              /* of the allocation */
    struct tf_bytes reply_to;
    struct tf_bytes correlation; /* encoded; empty: none */
    uint8_t bytes[];
};

struct status {
    int code;
    const char *text;
};

static struct status status_of(enum tf_err err)
{
    switch (err) {
    case TF_OK:
        return (struct status){200, "OK"};
    case TF_NOT_FOUND:
        return (struct status){404, "there is no such queue"};
    case TF_EXISTS:
        return (struct status){409, "the queue is in use, or not empty"};
    case TF_MISUSE:
        return (struct status){403, "the configuration has this queue"};
    case TF_CLOSED:
        return (struct status){503, "the store is broken"};
    case TF_PROTOCOL:
        return (struct status){400, "this is not a request that $management knows"};
    default:
        return (struct status){500, "no memory, or a limit is reached"};
    }
}

static void write_number(struct tf_writer *writer, const char *name, uint64_t value)
{
    tf_amqp_write_string(writer, tf_bytes_str(name));
    tf_amqp_write_ulong(writer, value);
}

/* The body of an answer. */
static void write_body(struct tf_writer *writer, uint64_t count,
                       const struct tf_queue_status *status)
{
    tf_amqp_write_section(writer, TF_AMQP_AMQP_VALUE);
    size_t begin = tf_amqp_write_map_begin(writer);
    uint32_t items = 2;
    write_number(writer, "count", count);
    if (status) {
        write_number(writer, "messages", status->messages);
        write_number(writer, "bytes", status->bytes);
        write_number(writer, "acquired", status->acquired);
        write_number(writer, "enqueued", status->enqueued);
        write_number(writer, "delivered", status->delivered);
        write_number(writer, "settled", status->settled);
        write_number(writer, "expired", status->expired);
        write_number(writer, "dropped", status->dropped);
        write_number(writer, "dead-lettered", status->dead_lettered);
        write_number(writer, "consumers", status->consumers);
        write_number(writer, "producers", status->producers);
        write_number(writer, "bindings", status->bindings);
        items += 24;
    }
    tf_amqp_write_map_end(writer, begin, items);
}

/* What stands before the body of an answer. */
static void write_head(struct tf_writer *writer, const struct request *request, enum tf_err err)
{
    struct status status = status_of(err);
    struct tf_amqp_properties properties = {
        .has_to = true, .to = request->reply_to, .correlation_id = request->correlation};
    tf_amqp_write_properties(writer, &properties);
    tf_amqp_write_section(writer, TF_AMQP_APPLICATION_PROPERTIES);
    size_t begin = tf_amqp_write_map_begin(writer);
    tf_amqp_write_string(writer, tf_bytes_str("statusCode"));
    tf_amqp_write_int(writer, status.code);
    tf_amqp_write_string(writer, tf_bytes_str("statusDescription"));
    tf_amqp_write_string(writer, tf_bytes_str(status.text));
    tf_amqp_write_map_end(writer, begin, 4);
}

/* Sends an answer to where the request wants it; a bad reply-to has none. */
static void respond(struct amqp_conn *conn, const struct request *request, enum tf_err err,
                    uint64_t count, const struct tf_queue_status *status)
{
    struct amqp_front *front = conn->front;
    size_t room = ANSWER_MAX + 2 * request->size;
    uint8_t *scratch =
        tf_amqp_front_scratch(front, AMQP_SCRATCH_NAMES, room + request->reply_to.length);
    enum tf_mapping_node node;
    struct tf_bytes address;
    if (!scratch ||
        tf_mapping_amqp_address(request->reply_to, false, scratch + room, &node, &address) ||
        !tf_address_open(address)) {
        return;
    }
    struct tf_writer writer = tf_writer_of(scratch, room);
    write_head(&writer, request, err);
    size_t head = tf_writer_length(&writer);
    write_body(&writer, count, status);
    struct tf_bytes body = {scratch + head, tf_writer_length(&writer) - head};
    struct tf_publication publication = {
        .envelope = {.address = address,
                     .content_type = tf_bytes_str("application/json"),
                     .encoded = tf_bytes_of(scratch, head),
                     .expires = TF_TIME_NEVER,
                     .origin = TF_PROTOCOL_AMQP,
                     .priority = TF_AMQP_PRIORITY_DEFAULT,
                     .body_format = TF_BODY_SECTIONS,
                     .qos = 1},
        .body = &body,
        .body_count = 1};
    struct tf_published result;
    err = node == TF_NODE_QUEUE
              ? tf_shard_enqueue(front->shard, address, &publication, NULL, 0, &result)
              : tf_shard_publish(front->shard, &publication, NULL, 0, &result);
    if (err) {
        front->front.counters.publish_dropped++;
    }
    tf_publication_release(&publication);
}

static void request_free(struct amqp_conn *conn, struct request *request)
{
    tf_list_unlink(&request->node);
    conn->request_count--;
    tf_amqp_front_free(conn->front, request, request->size);
}

void tf_amqp_front_requests_drop(struct amqp_conn *conn)
{
    struct tf_list_node *node;
    while ((node = tf_list_first(&conn->requests))) {
        request_free(conn, tf_container_of(node, struct request, node));
    }
}

void tf_amqp_front_managed(struct tf_command_owner *owner, uint64_t tag, enum tf_err err,
                           uint64_t count, const struct tf_queue_status *status)
{
    struct amqp_conn *conn = tf_container_of(owner, struct amqp_conn, commands);
    struct request *request = (struct request *)(uintptr_t)tag;
    if (request) {
        respond(conn, request, err, count, status);
        request_free(conn, request);
    }
}

/* A text among the application properties; empty: there is none. */
static struct tf_bytes text_of(const struct tf_amqp_message *message, const char *name)
{
    struct tf_amqp_value value;
    if (!tf_amqp_map_find(message->application_properties, tf_bytes_str(name), &value) ||
        (value.type != TF_AMQP_STRING && value.type != TF_AMQP_SYMBOL)) {
        return (struct tf_bytes){NULL, 0};
    }
    return value.bytes;
}

static uint64_t number_of(const struct tf_amqp_message *message, const char *name, uint64_t absent)
{
    struct tf_amqp_value value;
    if (!tf_amqp_map_find(message->application_properties, tf_bytes_str(name), &value)) {
        return absent;
    }
    bool is_signed = value.type >= TF_AMQP_BYTE && value.type <= TF_AMQP_LONG;
    if (is_signed && value.integer < 0) {
        return absent;
    }
    return is_signed || (value.type >= TF_AMQP_BOOLEAN && value.type <= TF_AMQP_ULONG)
               ? value.number
               : absent;
}

static bool is_text(struct tf_bytes text, const char *name)
{
    return tf_bytes_equal(text, tf_bytes_str(name));
}

/* The command that a request asks for. TF_PROTOCOL: none that is known. */
static enum tf_err read_command(const struct amqp_conn *conn, const struct tf_amqp_message *message,
                                struct tf_queue_spec *spec, struct tf_queue_command *ret)
{
    static const struct {
        const char *operation;
        uint8_t type;
    } operations[] = {{"READ", TF_QUEUE_STATUS},
                      {"CREATE", TF_QUEUE_DECLARE},
                      {"DELETE", TF_QUEUE_DELETE},
                      {"PURGE", TF_QUEUE_PURGE},
                      {"MOVE", TF_QUEUE_MOVE}};
    struct tf_bytes operation = text_of(message, "operation");
    struct tf_queue_command command = {.name = text_of(message, "name"),
                                       .to = text_of(message, "to"),
                                       .limit = number_of(message, "limit", UINT64_MAX),
                                       .if_unused = number_of(message, "if-unused", 0) == 1,
                                       .if_empty = number_of(message, "if-empty", 0) == 1};
    size_t i = 0;
    while (i < TF_COUNT(operations) && !is_text(operation, operations[i].operation)) {
        i++;
    }
    if (i == TF_COUNT(operations) || !is_text(text_of(message, "type"), "queue") ||
        command.name.length == 0 || command.name.length > UINT16_MAX) {
        return TF_PROTOCOL;
    }
    command.type = operations[i].type;
    command.recorded = command.type != TF_QUEUE_STATUS;
    if (command.type == TF_QUEUE_MOVE && !tf_address_valid(command.to)) {
        return TF_PROTOCOL;
    }
    if (command.type == TF_QUEUE_DECLARE) {
        if (!tf_address_valid(command.name) || command.name.data[0] == '$') {
            return TF_PROTOCOL;
        }
        bool configured = tf_queues_spec_of(conn->front->context.config, command.name, spec);
        if (!configured) { /* it was asked for by name: it stays */
            spec->idle = TF_TIME_NEVER;
        }
        command.spec = spec;
        command.filter = command.name;
        command.options = (struct tf_binding_options){.qos = 1, .upgrade = true};
    }
    *ret = command;
    return TF_OK;
}

void tf_amqp_front_manage(struct amqp_link *link, uint64_t delivery, bool settled,
                          const struct tf_amqp_message *message)
{
    struct amqp_conn *conn = amqp_link_conn(link);
    struct tf_bytes reply_to = message->properties.reply_to;
    struct tf_bytes correlation = message->properties.correlation_id.length
                                      ? message->properties.correlation_id
                                      : message->properties.message_id;
    size_t size = sizeof(struct request) + reply_to.length + correlation.length;
    struct request *request =
        conn->request_count < AMQP_REQUESTS_MAX ? tf_amqp_front_alloc(conn->front, size) : NULL;
    struct tf_amqp_state state = {.type = TF_AMQP_STATE_ACCEPTED};
    if (!request) {
        state = (struct tf_amqp_state){
            .type = TF_AMQP_STATE_REJECTED,
            .error = tf_amqp_error_of(TF_AMQP_RESOURCE_LIMIT_EXCEEDED, "too many requests")};
    }
    if (!settled) {
        tf_amqp_front_dispose(conn, delivery, &state, link->answer);
    }
    if (!request) {
        return;
    }
    *request = (struct request){.size = size};
    struct tf_writer writer = tf_writer_of(request->bytes, reply_to.length + correlation.length);
    tf_write_bytes(&writer, reply_to);
    tf_write_bytes(&writer, correlation);
    request->reply_to = tf_bytes_of(request->bytes, reply_to.length);
    request->correlation = tf_bytes_of(request->bytes + reply_to.length, correlation.length);
    tf_list_push_back(&conn->requests, &request->node);
    conn->request_count++;
    struct tf_queue_spec spec;
    struct tf_queue_command command;
    enum tf_err err = read_command(conn, message, &spec, &command);
    if (err == TF_OK) {
        err = tf_shard_queue_command(conn->front->shard, &command, &conn->commands,
                                     (uint64_t)(uintptr_t)request);
    }
    if (err) {
        respond(conn, request, err, 0, NULL);
        request_free(conn, request);
    }
}
