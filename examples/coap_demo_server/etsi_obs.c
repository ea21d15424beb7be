/*
 * The observable resources of the ETSI plugtests: counters that go up each second.
 */
#include "etsi.h"

#include <stdio.h>
#include <string.h>

#include "value.h"

/* ---- /obs and its like: counters that go up each second ---- */

static struct value obs, obs_non;
static bool obs_stopped, obs_non_stopped;
static unsigned count;
static char pumping; /* its address tells /obs-pumping from /obs-large */

/* As value_get, with a Max-Age. */
static uint8_t obs_get(const struct tf_coap_server_request *request, struct tf_coap_answer *answer)
{
    tf_coap_answer_uint(answer, TF_COAP_MAX_AGE_OPTION, 5);
    return value_get(request, answer);
}

/* Stops the counter; observers get the new value. */
static uint8_t obs_put(const struct tf_coap_server_request *request, struct tf_coap_answer *answer)
{
    *(request->resource->user == &obs ? &obs_stopped : &obs_non_stopped) = true;
    (void)value_put(request, answer);
    return TF_COAP_CHANGED;
}

/* Lets the counter go on. */
static uint8_t obs_delete(const struct tf_coap_server_request *request,
                          struct tf_coap_answer *answer)
{
    *(request->resource->user == &obs ? &obs_stopped : &obs_non_stopped) = false;
    return value_delete(request, answer);
}

/* Forgets all observers without a word, as after a restart. */
static uint8_t obs_post(const struct tf_coap_server_request *request, struct tf_coap_answer *answer)
{
    (void)answer;
    tf_coap_resource_forget(request->server, request->resource);
    return TF_COAP_CHANGED;
}

/* The counter in eight digits, again and again. */
static char digit(uint32_t offset)
{
    char text[16];

    snprintf(text, sizeof text, "%08u", count % 100000000u);
    return text[offset % 8];
}

static uint8_t obs_digits_get(const struct tf_coap_server_request *request,
                              struct tf_coap_answer *answer)
{
    static uint8_t etag[4];

    memcpy(etag, &count, sizeof etag);
    tf_coap_answer_option(answer, TF_COAP_ETAG, tf_bytes_of(etag, sizeof etag));
    if (request->resource->user == &pumping)
        return etsi_generate(request, answer, 8 * (count % 2 ? 3 : 200), digit);
    return etsi_generate(request, answer, ETSI_LARGE, digit);
}

/* ---- the tree ---- */

static const struct tf_coap_link_attributes digits_link = {.ct = "0"};
static const struct tf_coap_resource_type obs_type = {.handlers[TF_COAP_GET] = obs_get,
                                                      .handlers[TF_COAP_PUT] = obs_put,
                                                      .handlers[TF_COAP_POST] = obs_post,
                                                      .handlers[TF_COAP_DELETE] = obs_delete,
                                                      .flags =
                                                          TF_COAP_OBSERVABLE | TF_COAP_NOTIFY_CON,
                                                      .exists = value_exists},
                                          obs_non_type = {.handlers[TF_COAP_GET] = obs_get,
                                                          .handlers[TF_COAP_PUT] = obs_put,
                                                          .handlers[TF_COAP_POST] = obs_post,
                                                          .handlers[TF_COAP_DELETE] = obs_delete,
                                                          .flags = TF_COAP_OBSERVABLE,
                                                          .exists = value_exists},
                                          digits_type = {.handlers[TF_COAP_GET] = obs_digits_get,
                                                         .flags = TF_COAP_OBSERVABLE |
                                                                  TF_COAP_NOTIFY_CON,
                                                         .link = &digits_link};

static struct tf_coap_resource resources[] = {
    {.name = "obs", .type = &obs_type, .user = &obs},
    {.name = "obs-non", .type = &obs_non_type, .user = &obs_non},
    {.name = "obs-large", .type = &digits_type},
    {.name = "obs-pumping", .type = &digits_type, .user = &pumping},
};

void etsi_second(struct tf_coap_server *server)
{
    char text[16];

    snprintf(text, sizeof text, "%u", ++count);
    if (!obs_stopped)
        value_set_text(&obs, text);
    if (!obs_non_stopped)
        value_set_text(&obs_non, text);
    for (size_t i = 0; i < sizeof resources / sizeof *resources; i++) {
        bool stopped = (i == 0 && obs_stopped) || (i == 1 && obs_non_stopped);
        if (!stopped)
            tf_coap_resource_changed(server, &resources[i]);
    }
}

bool etsi_add_obs(struct tf_coap_resource *root)
{
    bool added = true;

    value_set_text(&obs, "0");
    value_set_text(&obs_non, "0");
    for (size_t i = 0; i < sizeof resources / sizeof *resources; i++)
        added &= !tf_coap_resource_add(root, &resources[i]);
    return added;
}
