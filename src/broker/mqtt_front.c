/*
 * The MQTT front of one shard. See mqtt_front.h and, for how its files fit, mqtt_front_internal.h.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "broker/mqtt_front_internal.h"

void *tf_mqtt_front_alloc(struct mqtt_front *front, size_t size)
{
    const struct tf_alloc *alloc = front->shard->config.alloc;
    return alloc->alloc(alloc->ctx, size);
}

void tf_mqtt_front_free(struct mqtt_front *front, void *memory, size_t size)
{
    const struct tf_alloc *alloc = front->shard->config.alloc;
    alloc->free(alloc->ctx, memory, size);
}

static struct mqtt_front *front_of(struct tf_front *front)
{
    return tf_container_of(front, struct mqtt_front, front);
}

static void configure_server(struct tf_mqtt_server_config *server, const struct tf_config *config,
                             const struct tf_config_listener *listener)
{
    uint16_t in_flight = config->max_inflight_messages ? config->max_inflight_messages : 65535;
    *server = (struct tf_mqtt_server_config){
        .max_packet_size = config->max_packet_size,
        .max_connect_size = TF_MIN(config->connect_max_bytes, config->max_packet_size),
        .body_run = MQTT_BODY_RUN,
        .reference_from = MQTT_REFERENCE_FROM,
        .connect_timeout_ms = config->connect_timeout_s * 1000,
        .receive_maximum = in_flight,
        .topic_alias_bytes = MQTT_BODY_RUN,
        .topic_alias_maximum = listener->max_topic_alias,
        .max_in_flight = in_flight,
        .max_topic_levels = TF_MIN(config->max_topic_levels, TF_LEVELS_MAX),
        .max_keep_alive_s = config->max_keepalive_s,
        .maximum_qos = listener->max_qos,
        .retain_available = config->retain_available,
        .shared_available = false,
        .check_payload_format = true};
}

void tf_mqtt_front_servers_unref(struct mqtt_front *front, struct mqtt_servers *servers)
{
    if (servers && --servers->users == 0) {
        tf_mqtt_front_free(front, servers,
                           sizeof(*servers) + servers->count * sizeof(servers->configs[0]));
    }
}

/* Makes new connections go by `config`. TF_NO_MEMORY: they go by the former one. */
static enum tf_err configure(struct mqtt_front *front, const struct tf_config *config)
{
    size_t count = config->listener_count;
    struct mqtt_servers *servers =
        tf_mqtt_front_alloc(front, sizeof(*servers) + count * sizeof(servers->configs[0]));
    front->context.config = config;
    front->limits = (struct tf_queue_limits){.entries = config->max_queued_messages,
                                             .bytes = config->max_queued_bytes,
                                             .overflow = TF_OVERFLOW_DROP_NEW};
    if (!servers) {
        return TF_NO_MEMORY;
    }
    servers->users = 1;
    servers->count = count;
    for (size_t i = 0; i < count; i++) {
        configure_server(&servers->configs[i], config, &config->listeners[i]);
    }
    tf_mqtt_front_servers_unref(front, front->servers);
    front->servers = servers;
    return TF_OK;
}

static struct tf_stream *on_open(struct tf_front *base, unsigned listener, struct tf_bytes peer)
{
    struct mqtt_front *front = front_of(base);
    return front->draining ? NULL : tf_mqtt_front_conn_open(front, listener, peer);
}

static bool on_mail(struct tf_front *base, const struct tf_mail *mail, unsigned from)
{
    (void)base;
    (void)mail;
    (void)from;
    return false; /* sessions are served at home, so fronts have nothing to tell each other */
}

static void on_timer(struct tf_front *base, struct tf_timer *timer)
{
    struct tf_front_timer *mine = tf_container_of(timer, struct tf_front_timer, timer);
    (void)base;
    if (mine->kind == MQTT_TIMER_CONN) {
        tf_mqtt_front_conn_expire(tf_container_of(mine, struct mqtt_conn, timer));
    } else {
        tf_mqtt_front_session_expire(tf_container_of(mine, struct mqtt_session, timer));
    }
}

static void on_turn(struct tf_front *base)
{
    struct mqtt_front *front = front_of(base);
    struct tf_list_node *node;
    base->again = false;
    while ((node = tf_list_pop_front(&front->service))) {
        tf_mqtt_front_conn_service(tf_container_of(node, struct mqtt_conn, service));
    }
    if (front->stale) {
        tf_mqtt_front_store_stale(front);
    }
}

static void on_reload(struct tf_front *base, const struct tf_config *config)
{
    struct mqtt_front *front = front_of(base);
    if (configure(front, config)) {
        tf_log_text(front->context.log, TF_LOG_WARN, "mqtt",
                    "no memory to reload: new connections go by the former limits");
    }
}

static void on_drain(struct tf_front *base)
{
    struct mqtt_front *front = front_of(base);
    struct tf_list_node *node = tf_list_first(&front->conns);
    front->draining = true;
    for (; node; node = tf_list_next(&front->conns, node)) {
        tf_mqtt_front_conn_end(tf_container_of(node, struct mqtt_conn, in_front),
                               TF_MQTT_SERVER_SHUTTING_DOWN);
    }
}

static void on_release(struct tf_front *base)
{
    struct mqtt_front *front = front_of(base);
    struct tf_tree_node *node;
    tf_assert(tf_list_empty(&front->conns));
    while ((node = tf_tree_first(&front->sessions))) {
        tf_mqtt_front_session_free(tf_container_of(node, struct mqtt_session, by_id));
    }
    tf_front_buffers_release(&front->buffers, front->shard->config.alloc);
    if (front->scratch) {
        tf_mqtt_front_free(front, front->scratch, front->scratch_size);
    }
    if (front->key) {
        tf_mqtt_front_free(front, front->key, MQTT_KEY_MAX);
    }
    tf_mqtt_front_servers_unref(front, front->servers);
    tf_mqtt_front_free(front, front, sizeof(*front));
}

static const struct tf_front_ops ops = {.open = on_open,
                                        .mail = on_mail,
                                        .timer = on_timer,
                                        .turn = on_turn,
                                        .reload = on_reload,
                                        .drain = on_drain,
                                        .virtual_next = tf_mqtt_front_virtual_next,
                                        .restore = tf_mqtt_front_restore,
                                        .restore_part = tf_mqtt_front_restore_part,
                                        .restore_entry = tf_mqtt_front_restore_entry,
                                        .restored = tf_mqtt_front_restored,
                                        .release = on_release};

static enum tf_err create(const struct tf_front_context *context, struct tf_front **ret_front)
{
    const struct tf_alloc *alloc = context->shard->config.alloc;
    struct mqtt_front *front = alloc->alloc(alloc->ctx, sizeof(*front));
    if (!front) {
        return TF_NO_MEMORY;
    }
    memset(front, 0, sizeof(*front));
    front->front.ops = &ops;
    front->context = *context;
    front->shard = context->shard;
    tf_list_init(&front->front.dirty);
    tf_list_init(&front->front.dirty_channels);
    tf_list_init(&front->conns);
    tf_list_init(&front->service);
    uint64_t seed;
    context->random(context->random_ctx, &seed, sizeof(seed));
    tf_tree_init(&front->sessions, seed);
    front->key = mqtt_store(front) ? tf_mqtt_front_alloc(front, MQTT_KEY_MAX) : NULL;
    if ((mqtt_store(front) && !front->key) || configure(front, context->config)) {
        if (front->key) {
            tf_mqtt_front_free(front, front->key, MQTT_KEY_MAX);
        }
        alloc->free(alloc->ctx, front, sizeof(*front));
        return TF_NO_MEMORY;
    }
    if (front->servers->count) {
        front->machine_size = tf_mqtt_server_size(&front->servers->configs[0]);
    }
    *ret_front = &front->front;
    return TF_OK;
}

const struct tf_front_type tf_mqtt_front_type = {
    .name = "mqtt", .scheme = "mqtt", .protocol = TF_CONFIG_PROTOCOL_MQTT, .create = create};
