/*
 * PATCH and iPATCH (RFC 8132) of JSON values: JSON Patch (RFC 6902) and merge patch (RFC 7396).
 *
 * The value is read, changed here and written if it is still the one that was read; when somebody
 * else wrote meanwhile, the same again, a few times.
 */
#include "base/mem.h"
#include "base/util.h"
#include "broker/coap_front_internal.h"
#include "broker/json_patch.h"

/* Bytes of documents and patches that are read in a turn before others have theirs; and values of
 * other shards, of unknown size, that are asked for in one. */
#define PATCH_BUDGET (64u * 1024)
#define PATCHES_AWAY 4u

static void answer(struct coap_work *work, uint8_t code)
{
    work->state = COAP_WORK_ANSWER;
    work->result = (struct coap_result){.code = code};
    tf_coap_front_work_answer(work);
}

bool tf_coap_front_patch_format(uint16_t format)
{
    return format == TF_COAP_FORMAT_JSON_PATCH || format == TF_COAP_FORMAT_MERGE_PATCH;
}

/* Charges this turn with what is to be read. */
static void spend(struct coap_front *front, size_t bytes)
{
    front->patch_left -= TF_MIN(front->patch_left, bytes);
}

void tf_coap_front_patches(struct coap_front *front)
{
    struct tf_list_node *node;
    front->patch_left = PATCH_BUDGET;
    while (front->patch_left && (node = tf_list_pop_front(&front->patches))) {
        tf_coap_front_patch(tf_container_of(node, struct coap_work, in_queue));
    }
    front->front.again |= !tf_list_empty(&front->patches);
}

void tf_coap_front_patch(struct coap_work *work)
{
    struct coap_front *front = work->front;
    struct tf_value_view view;
    if (!front->patch_left) { /* others first */
        work->state = COAP_WORK_TURN;
        tf_list_push_back(&front->patches, &work->in_queue);
        front->front.again = true;
        return;
    }
    if (work->incoming) {
        if (work->patch) { /* what was tried last */
            tf_message_unref(work->incoming);
        } else {
            work->patch = work->incoming;
        }
        work->incoming = NULL;
    }
    if (work->attempts++ == COAP_PATCH_ATTEMPTS) {
        answer(work, TF_COAP_CONFLICT);
        return;
    }
    work->state = COAP_WORK_WAITING;
    enum tf_err err = tf_shard_read(front->shard, work->patch->publication.envelope.address,
                                    &front->reads, (uint64_t)(uintptr_t)work, &view);
    if (err == TF_OK) {
        tf_coap_front_patch_read(work, &view);
    } else if (err != TF_AGAIN) {
        answer(work, TF_COAP_UNAVAILABLE);
    } else {
        spend(front,
              PATCH_BUDGET / PATCHES_AWAY); /* it comes in a later turn, which has to bear it */
    }
}

/* A body in one piece: the message's own, or a copy of `size` bytes, which is to be freed. */
struct whole {
    struct tf_bytes bytes;
    uint8_t *copy;
    size_t size;
};

static bool whole_of(struct coap_front *front, struct tf_message *message, struct whole *ret)
{
    struct tf_plain_body plain;
    size_t at = 0;
    if (tf_mapping_plain(&message->publication, front->shard->config.alloc, &plain)) {
        return false;
    }
    if (plain.count <= 1) {
        ret->bytes = plain.count ? plain.body[0] : tf_bytes_of(NULL, 0);
        return true;
    }
    size_t size = tf_mapping_plain_length(&plain);
    uint8_t *copy = tf_coap_front_alloc(front, size);
    if (!copy) {
        return false;
    }
    for (size_t i = 0; i < plain.count; i++) {
        memcpy(copy + at, plain.body[i].data, plain.body[i].length);
        at += plain.body[i].length;
    }
    *ret = (struct whole){tf_bytes_of(copy, size), copy, size};
    return true;
}

/* RFC 8132 3.4: which code tells what went wrong. */
static uint8_t code_of(enum tf_json_patch_result result)
{
    switch (result) {
    case TF_JSON_PATCH_BAD_PATCH:
        return TF_COAP_BAD_REQUEST;
    case TF_JSON_PATCH_UNPROCESSABLE:
        return TF_COAP_UNPROCESSABLE;
    case TF_JSON_PATCH_NO_MEMORY:
        return TF_COAP_UNAVAILABLE;
    default:
        return TF_COAP_CONFLICT;
    }
}

/* The message that is to become the value; NULL: no memory. */
static struct tf_message *changed(struct coap_work *work, const struct tf_message *present,
                                  struct tf_bytes text)
{
    static const uint8_t json[2] = {0, TF_COAP_FORMAT_JSON};
    struct tf_envelope envelope = work->patch->publication.envelope;
    envelope.content_type = present && present->publication.envelope.content_type.length
                                ? present->publication.envelope.content_type
                                : tf_bytes_str("application/json");
    envelope.encoded = tf_bytes_of(json, sizeof(json));
    envelope.payload_format = TF_PAYLOAD_BYTES;
    envelope.expires = present ? present->publication.envelope.expires : TF_TIME_NEVER;
    struct tf_message *message = tf_message_new(&envelope, work->front->shard->config.alloc);
    if (message && tf_message_append(message, text)) {
        tf_message_unref(message);
        return NULL;
    }
    return message;
}

/* True if a value can be taken for JSON: it says so, or says nothing. */
static bool is_json(const struct tf_message *message)
{
    uint16_t format;
    return !tf_mapping_format_of(&message->publication.envelope, &format) ||
           format == TF_COAP_FORMAT_JSON;
}

/* Makes work->incoming. 0: done; else the code to answer with. */
static uint8_t apply(struct coap_work *work, const struct tf_value_view *view)
{
    struct coap_front *front = work->front;
    struct whole document = {.copy = NULL}, patch = {.copy = NULL};
    char *text = NULL;
    size_t length = 0;
    bool merge = work->format == TF_COAP_FORMAT_MERGE_PATCH;
    uint8_t code = TF_COAP_UNAVAILABLE;
    if (view->message && !is_json(view->message)) {
        return TF_COAP_CONFLICT;
    }
    if (!view->message && !merge) {
        return TF_COAP_NOT_FOUND;
    }
    if ((!view->message || whole_of(front, view->message, &document)) &&
        whole_of(front, work->patch, &patch)) {
        spend(front, document.bytes.length + patch.bytes.length);
        enum tf_json_patch_result result =
            merge ? tf_json_merge_patch(document.bytes, patch.bytes, &text, &length)
                  : tf_json_patch(document.bytes, patch.bytes, &text, &length);
        code = result == TF_JSON_PATCH_DONE ? 0 : code_of(result);
    }
    if (!code && length > work->channel->config.body_max) {
        code = TF_COAP_TOO_LARGE; /* RFC 8132 3.4: what it would become */
    }
    if (!code) {
        work->incoming = changed(work, view->message, tf_bytes_of(text, length));
        code = work->incoming ? 0 : TF_COAP_UNAVAILABLE;
    }
    tf_json_patch_free(text);
    if (document.copy) {
        tf_coap_front_free(front, document.copy, document.size);
    }
    if (patch.copy) {
        tf_coap_front_free(front, patch.copy, patch.size);
    }
    return code;
}

void tf_coap_front_patch_read(struct coap_work *work, const struct tf_value_view *view)
{
    struct coap_condition *condition = &work->condition;
    uint8_t code;
    if (!tf_condition_holds(tf_coap_front_condition(&work->wanted), view)) {
        answer(work, TF_COAP_PRECONDITION_FAILED);
        return;
    }
    code = apply(work, view);
    if (code) {
        answer(work, code);
        return;
    }
    memset(&condition->condition, 0, sizeof(condition->condition));
    condition->condition.absent = !view->message;
    condition->condition.version_count = view->message ? 1 : 0;
    condition->versions[0] = view->version;
    tf_coap_front_write(work);
}
