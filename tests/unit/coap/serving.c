/*
 * A resource server on an endpoint under the lens; see serving.h.
 */
#include "unit/coap/serving.h"

#include <stdio.h>

static void on_event(struct probe *probe, const struct tf_coap_event *event)
{
    struct serving *serving = probe->user;

    if (!tf_coap_server_event(&serving->server, event, probe->now))
        serving->left++;
}

void serving_start(struct serving *serving, const struct tf_coap_endpoint_config *config)
{
    memset(serving, 0, sizeof *serving);
    serving->probe = probe_new(config, on_event);
    serving->probe->user = serving;
    tf_coap_server_init(&serving->server, serving->probe->endpoint, &serving->root);
}

void serving_end(struct serving *serving)
{
    probe_free(serving->probe);
}

struct tf_coap_resource node(const char *name, const struct tf_coap_resource_type *type)
{
    return (struct tf_coap_resource){.name = name, .type = type};
}

void add(struct tf_coap_resource *parent, struct tf_coap_resource *child)
{
    assert_int_equal(tf_coap_resource_add(parent, child), TF_OK);
}

void packet_path(struct packet *packet, const char *path)
{
    while (*path == '/') {
        size_t length = strcspn(path + 1, "/");
        tf_coap_encode_option(&packet->encoder, TF_COAP_URI_PATH, tf_bytes_of(path + 1, length));
        path += 1 + length;
    }
}

uint8_t feed(struct serving *serving, struct packet *packet)
{
    probe_clear(serving->probe);
    packet_feed(serving->probe, PEER, packet);
    return probe_only(serving->probe)->message.code;
}

uint8_t ask(struct serving *serving, uint8_t method, const char *path)
{
    struct packet packet;

    packet_start(serving->probe, &packet, TF_COAP_CON, method, 7);
    packet_path(&packet, path);
    return feed(serving, &packet);
}

const char *answer_text(struct serving *serving)
{
    static char text[2048];
    struct tf_bytes payload = probe_only(serving->probe)->message.payload;

    snprintf(text, sizeof text, "%.*s", (int)payload.length, (const char *)payload.data);
    return text;
}
