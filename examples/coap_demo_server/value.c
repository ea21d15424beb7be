/*
 * Values in memory, as resources.
 */
#include <string.h>

#include "value.h"

void value_set(struct value *value, const void *data, size_t length, int32_t format)
{
    value->present = true;
    value->format = format;
    value->length = (uint32_t)(length < VALUE_MAX ? length : VALUE_MAX);
    if (length)
        memmove(value->data, data, value->length);
    value->version++;
    memcpy(value->etag, &value->version, sizeof value->etag);
}

void value_set_text(struct value *value, const char *text)
{
    value_set(value, text, strlen(text), TF_COAP_FORMAT_TEXT);
}

bool value_exists(const struct tf_coap_server_request *request, struct tf_bytes *ret_etag)
{
    const struct value *value = request->resource->user;

    *ret_etag = tf_bytes_of(value->etag, sizeof value->etag);
    return value->present;
}

uint8_t value_get(const struct tf_coap_server_request *request, struct tf_coap_answer *answer)
{
    const struct value *value = request->resource->user;

    if (!value->present)
        return TF_COAP_NOT_FOUND;
    tf_coap_answer_option(answer, TF_COAP_ETAG, tf_bytes_of(value->etag, sizeof value->etag));
    if (value->format != VALUE_NO_FORMAT)
        tf_coap_answer_uint(answer, TF_COAP_CONTENT_FORMAT, (uint32_t)value->format);
    answer->body = tf_bytes_of(value->data, value->length);
    return TF_COAP_CONTENT;
}

uint8_t value_put(const struct tf_coap_server_request *request, struct tf_coap_answer *answer)
{
    struct value *value = request->resource->user;
    bool was_present = value->present;

    (void)answer;
    value_set(value, request->body.data, request->body.length, request->format);
    tf_coap_resource_changed(request->server, request->resource);
    return was_present ? TF_COAP_CHANGED : TF_COAP_CREATED;
}

uint8_t value_patch(const struct tf_coap_server_request *request, struct tf_coap_answer *answer)
{
    struct value *value = request->resource->user;

    return value->present ? value_put(request, answer) : TF_COAP_NOT_FOUND;
}

uint8_t value_delete(const struct tf_coap_server_request *request, struct tf_coap_answer *answer)
{
    struct value *value = request->resource->user;

    (void)answer;
    value->present = false;
    tf_coap_resource_changed(request->server, request->resource);
    return TF_COAP_DELETED;
}
