/*
 * The resources of the demo server.
 */
#include "demo.h"

#include <stdio.h>

#include "etsi.h"
#include "value.h"

#define DELAYED 8 /* answers that may be put off at once */

/* ---- /time: seconds since the start ---- */

static unsigned long seconds;

static uint8_t time_get(const struct tf_coap_server_request *request, struct tf_coap_answer *answer)
{
    static char text[24];

    (void)request;
    snprintf(text, sizeof text, "%lu", seconds);
    tf_coap_answer_text(answer, tf_bytes_str(text));
    return TF_COAP_CONTENT;
}

static const struct tf_coap_link_attributes text_link = {.ct = "0"};
static const struct tf_coap_resource_type time_type = {
    .handlers[TF_COAP_GET] = time_get,
    .flags = TF_COAP_OBSERVABLE,
    .link = &text_link,
};

/* ---- /temp, /humidity, /alarm: values that can be written ---- */

/* ON or OFF, and nothing else. */
static uint8_t alarm_put(const struct tf_coap_server_request *request,
                         struct tf_coap_answer *answer)
{
    if (!tf_bytes_equal(request->body, tf_bytes_str("ON")) &&
        !tf_bytes_equal(request->body, tf_bytes_str("OFF"))) {
        answer->body = tf_bytes_str("ON or OFF");
        return TF_COAP_BAD_REQUEST;
    }
    return value_put(request, answer);
}

static const uint16_t text_format[] = {TF_COAP_FORMAT_TEXT};
static const struct tf_coap_resource_type sensor_type = {
    .handlers[TF_COAP_GET] = value_get,
    .handlers[TF_COAP_PUT] = value_put,
    .handlers[TF_COAP_POST] = value_put,
    .flags = TF_COAP_OBSERVABLE,
    .exists = value_exists,
};
static const struct tf_coap_resource_type alarm_type = {
    .handlers[TF_COAP_GET] = value_get,
    .handlers[TF_COAP_PUT] = alarm_put,
    .flags = TF_COAP_OBSERVABLE,
    .format_count = 1,
    .formats = text_format,
    .exists = value_exists,
    .link = &text_link,
};

/* ---- /separate, /other/separate: an answer that takes its time ---- */

static struct {
    uint64_t request; /* 0: free */
    tf_time due;
} delayed[DELAYED];
static tf_time delay;

static uint8_t separate_get(const struct tf_coap_server_request *request,
                            struct tf_coap_answer *answer)
{
    (void)answer;
    for (size_t i = 0; i < DELAYED; i++) {
        if (delayed[i].request)
            continue;
        delayed[i].request = request->handle;
        delayed[i].due = tf_time_add(request->now, delay);
        return TF_COAP_LATER; /* the endpoint sends the empty ACK meanwhile */
    }
    return TF_COAP_UNAVAILABLE;
}

tf_time demo_answer(struct tf_coap_server *server, tf_time now)
{
    tf_time next = TF_TIME_NEVER;
    struct tf_coap_answer answer;

    for (size_t i = 0; i < DELAYED; i++) {
        if (!delayed[i].request)
            continue;
        if (delayed[i].due <= now) {
            tf_coap_answer_init(&answer);
            tf_coap_answer_text(&answer, tf_bytes_str("that took a while"));
            if (tf_coap_server_answer(server, delayed[i].request, TF_COAP_CONTENT, &answer, now) ==
                TF_AGAIN)
                delayed[i].due = tf_time_add(now, 10 * TF_MILLISECOND);
            else
                delayed[i].request = 0; /* answered, or nobody waits any more */
        }
        if (delayed[i].request && delayed[i].due < next)
            next = delayed[i].due;
    }
    return next;
}

static const struct tf_coap_resource_type separate_type = {
    .handlers[TF_COAP_GET] = separate_get,
    .link = &text_link,
};

/* ---- the tree ---- */

static const struct tf_coap_link_attributes block_link = {.sz = ETSI_LARGE};
static const struct tf_coap_resource_type block_type = {
    .handlers[TF_COAP_GET] = value_get,
    .handlers[TF_COAP_PUT] = value_put,
    .exists = value_exists,
    .link = &block_link,
};
static struct value temp, humidity, alarm_value, large;
static struct tf_coap_resource other = {.name = "other"};
static struct tf_coap_resource below_root[] = {
    {.name = "time", .type = &time_type},
    {.name = "temp", .type = &sensor_type, .user = &temp},
    {.name = "humidity", .type = &sensor_type, .user = &humidity},
    {.name = "alarm", .type = &alarm_type, .user = &alarm_value},
    {.name = "separate", .type = &separate_type},
};
static struct tf_coap_resource below_other[] = {
    {.name = "separate", .type = &separate_type},
    {.name = "block", .type = &block_type, .user = &large},
};

/* Adds `count` resources under one; false: some name is there already. */
static bool add(struct tf_coap_resource *parent, struct tf_coap_resource *resources, size_t count)
{
    bool added = true;

    for (size_t i = 0; i < count; i++)
        added &= !tf_coap_resource_add(parent, &resources[i]);
    return added;
}

bool demo_add(struct tf_coap_resource *root, tf_time separate_delay)
{
    char text[ETSI_LARGE];

    delay = separate_delay;
    for (uint32_t i = 0; i < ETSI_LARGE; i++)
        text[i] = etsi_large_byte(i);
    value_set(&large, text, sizeof text, TF_COAP_FORMAT_TEXT);
    value_set_text(&temp, "21.5");
    value_set_text(&humidity, "40");
    value_set_text(&alarm_value, "OFF");
    return add(root, below_root, sizeof below_root / sizeof *below_root) && add(root, &other, 1) &&
           add(&other, below_other, sizeof below_other / sizeof *below_other);
}

void demo_second(struct tf_coap_server *server)
{
    seconds++;
    tf_coap_resource_changed(server, &below_root[0]);
}
