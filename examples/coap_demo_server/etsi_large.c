/*
 * The large resources of the ETSI plugtests: /large, /large-update, /large-create, /large-post.
 */
#include "etsi.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "value.h"

#define CREATED 4
#define LENT 17 /* one more than the endpoint has transfers, which make room for each other */
#define UPDATE 1280

/* ---- /large: only the block that is asked for is ever made ---- */

char etsi_large_byte(uint32_t offset)
{
    uint32_t line = offset / 50, column = offset % 50;
    char number[8];

    if (column == 49)
        return '\n';
    if (column >= 6)
        return (char)('a' + (line + column - 6) % 26);
    snprintf(number, sizeof number, "%04u: ", line % 10000);
    return number[column];
}

uint8_t etsi_generate(const struct tf_coap_server_request *request, struct tf_coap_answer *answer,
                      uint32_t total, char (*byte)(uint32_t offset))
{
    static char block[1024];
    struct tf_coap_run run = tf_coap_run_wanted(request);
    uint32_t length = 0;

    for (; length < run.length && run.offset + length < total; length++)
        block[length] = byte(run.offset + length);
    tf_coap_answer_text(answer, tf_bytes_of(block, length));
    answer->offset = run.offset;
    answer->total = total;
    return TF_COAP_CONTENT;
}

static uint8_t large_get(const struct tf_coap_server_request *request,
                         struct tf_coap_answer *answer)
{
    tf_coap_answer_option(answer, TF_COAP_ETAG, tf_bytes_str("always"));
    return etsi_generate(request, answer, ETSI_LARGE, etsi_large_byte);
}

/* ---- /large-create: each POST makes a resource ---- */

static struct value created_value[CREATED];
static struct tf_coap_resource created[CREATED];
static unsigned created_count;

static const struct tf_coap_resource_type created_type = {
    .handlers[TF_COAP_GET] = value_get,
    .handlers[TF_COAP_DELETE] = value_delete,
    .exists = value_exists,
};

static uint8_t large_create_post(const struct tf_coap_server_request *request,
                                 struct tf_coap_answer *answer)
{
    static const char *const names[CREATED] = {"1", "2", "3", "4"};
    size_t at = created_count++ % CREATED; /* the oldest makes room */
    const char *location[] = {"large-create", names[at]};

    if (!created[at].parent) {
        created[at] = (struct tf_coap_resource){
            .name = names[at], .type = &created_type, .user = &created_value[at]};
        if (tf_coap_resource_add(request->resource, &created[at]))
            return TF_COAP_INTERNAL_ERROR;
    }
    value_set(&created_value[at], request->body.data, request->body.length, request->format);
    etsi_locate(answer, location, 2);
    return TF_COAP_CREATED;
}

/* ---- /large-post: a large answer to a large request, lent until the client has it all ---- */

static struct {
    bool lent;
    struct tf_bytes body;
    char text[VALUE_MAX];
} upper[LENT];

static uint8_t large_post(const struct tf_coap_server_request *request,
                          struct tf_coap_answer *answer)
{
    size_t at = 0;

    while (at < LENT && upper[at].lent)
        at++;
    if (at == LENT || request->body.length > VALUE_MAX)
        return TF_COAP_UNAVAILABLE;
    for (size_t i = 0; i < request->body.length; i++)
        upper[at].text[i] = (char)toupper(request->body.data[i]);
    upper[at].body = tf_bytes_of(upper[at].text, request->body.length);
    answer->parts = &upper[at].body;
    answer->part_count = 1;
    answer->owner = at + 1;
    answer->borrowed = &upper[at].lent;
    tf_coap_answer_uint(answer, TF_COAP_CONTENT_FORMAT, TF_COAP_FORMAT_TEXT);
    return TF_COAP_CHANGED;
}

void etsi_event(const struct tf_coap_event *event)
{
    if (event->type == TF_COAP_EVENT_RETURNED)
        upper[event->owner - 1].lent = false;
}

/* ---- the tree ---- */

static const struct tf_coap_link_attributes large_link = {.ct = "0", .sz = ETSI_LARGE};
static const struct tf_coap_resource_type large_type = {.handlers[TF_COAP_GET] = large_get,
                                                        .link = &large_link},
                                          update_type = {.handlers[TF_COAP_GET] = value_get,
                                                         .handlers[TF_COAP_PUT] = value_put,
                                                         .exists = value_exists},
                                          create_type = {.handlers[TF_COAP_POST] =
                                                             large_create_post},
                                          post_type = {.handlers[TF_COAP_POST] = large_post};

static struct value update;
static struct tf_coap_resource resources[] = {
    {.name = "large", .type = &large_type},
    {.name = "large-update", .type = &update_type, .user = &update},
    {.name = "large-create", .type = &create_type},
    {.name = "large-post", .type = &post_type},
};

bool etsi_add_large(struct tf_coap_resource *root)
{
    char text[UPDATE];
    bool added = true;

    memset(text, 'u', sizeof text);
    value_set(&update, text, sizeof text, TF_COAP_FORMAT_TEXT);
    for (size_t i = 0; i < sizeof resources / sizeof *resources; i++)
        added &= !tf_coap_resource_add(root, &resources[i]);
    return added;
}
