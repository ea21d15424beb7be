/*
 * The AMQP front of one shard. See amqp_front.h and, for how its files fit, amqp_front_internal.h.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "broker/amqp_front_internal.h"

void *tf_amqp_front_alloc(struct amqp_front *front, size_t size)
{
    return amqp_alloc(front)->alloc(amqp_alloc(front)->ctx, size);
}

void tf_amqp_front_free(struct amqp_front *front, void *memory, size_t size)
{
    amqp_alloc(front)->free(amqp_alloc(front)->ctx, memory, size);
}

uint8_t *tf_amqp_front_scratch(struct amqp_front *front, enum amqp_scratch_kind kind, size_t size)
{
    struct amqp_scratch *scratch = &front->scratch[kind];
    if (size > scratch->size) {
        uint8_t *memory = tf_amqp_front_alloc(front, size);
        if (!memory) {
            return NULL;
        }
        if (scratch->memory) {
            tf_amqp_front_free(front, scratch->memory, scratch->size);
        }
        *scratch = (struct amqp_scratch){memory, size};
    }
    return scratch->memory;
}

static struct amqp_front *front_of(struct tf_front *front)
{
    return tf_container_of(front, struct amqp_front, front);
}

static const struct tf_amqp_sasl_mechanism *const mechanisms[] = {&tf_amqp_sasl_anonymous,
                                                                  &tf_amqp_sasl_plain};

/* A peer without SASL is nobody, so it is taken where nobody in particular is. */
static const struct tf_amqp_sasl open_sasl = {
    .mechanisms = mechanisms, .mechanism_count = TF_COUNT(mechanisms), .optional = true};
static const struct tf_amqp_sasl closed_sasl = {.mechanisms = mechanisms + 1,
                                                .mechanism_count = TF_COUNT(mechanisms) - 1};

static void configure_machine(struct tf_amqp_config *machine, const struct tf_config *config,
                              const struct tf_config_listener *listener)
{
    uint64_t limit = config->message_size_limit == TF_CONFIG_UNLIMITED ? config->max_packet_size
                                                                       : config->message_size_limit;
    *machine = (struct tf_amqp_config){
        .end = TF_AMQP_SERVER,
        .max_frame_size = listener->amqp_max_frame_size,
        .channel_max = (uint16_t)(TF_MIN(listener->amqp_max_sessions, 65536u) - 1),
        .handle_max = listener->amqp_max_links - 1,
        .max_links = listener->amqp_max_links,
        .max_unsettled = listener->amqp_max_unsettled,
        .incoming_window = AMQP_WINDOW,
        .open_timeout_ms = config->connect_timeout_s * 1000,
        .idle_timeout_ms = listener->amqp_idle_timeout_s * 1000,
        .reference_from = AMQP_REFERENCE_FROM,
        .max_message_size = limit,
        .sasl = listener->access.allow_anonymous ? &open_sasl : &closed_sasl};
}

void tf_amqp_front_servers_unref(struct amqp_front *front, struct amqp_servers *servers)
{
    if (servers && --servers->users == 0) {
        tf_amqp_front_free(front, servers,
                           sizeof(*servers) + servers->count * sizeof(servers->configs[0]));
    }
}

/* Makes new connections go by `config`. TF_NO_MEMORY: they go by the former one. */
static enum tf_err configure(struct amqp_front *front, const struct tf_config *config)
{
    size_t count = config->listener_count;
    struct amqp_servers *servers =
        tf_amqp_front_alloc(front, sizeof(*servers) + count * sizeof(servers->configs[0]));
    front->context.config = config;
    front->generation++;
    if (!servers) {
        return TF_NO_MEMORY;
    }
    servers->users = 1;
    servers->count = count;
    for (size_t i = 0; i < count; i++) {
        configure_machine(&servers->configs[i], config, &config->listeners[i]);
    }
    tf_amqp_front_servers_unref(front, front->servers);
    front->servers = servers;
    return TF_OK;
}

static struct amqp_container *new_container(struct amqp_front *front, struct tf_bytes id)
{
    struct amqp_container *container = tf_amqp_front_alloc(front, sizeof(*container) + id.length);
    if (!container) {
        return NULL;
    }
    memset(container, 0, sizeof(*container));
    container->id_length = (uint32_t)id.length;
    memcpy(container->id, id.data, id.length);
    tf_list_init(&container->conns);
    tf_tree_init(&container->links, front->containers.random ^ (uintptr_t)container);
    (void)tf_tree_insert(&front->containers, &container->by_id,
                         tf_bytes_of(container->id, id.length));
    front->front.counters.sessions++;
    return container;
}

bool tf_amqp_front_container_enter(struct amqp_conn *conn, struct tf_bytes id)
{
    struct tf_tree_node *node = tf_tree_find(&conn->front->containers, id);
    conn->container =
        node ? tf_container_of(node, struct amqp_container, by_id) : new_container(conn->front, id);
    if (conn->container) {
        tf_list_push_back(&conn->container->conns, &conn->in_container);
    }
    return conn->container != NULL;
}

void tf_amqp_front_container_leave(struct amqp_conn *conn)
{
    struct amqp_front *front = conn->front;
    struct amqp_container *container = conn->container;
    if (!container) {
        return;
    }
    conn->container = NULL;
    tf_list_remove(&conn->in_container);
    if (tf_list_empty(&container->conns)) {
        tf_assert(container->links.count == 0);
        tf_tree_remove(&front->containers, &container->by_id);
        tf_amqp_front_free(front, container, sizeof(*container) + container->id_length);
        front->front.counters.sessions--;
    }
}

static struct tf_stream *on_open(struct tf_front *base, unsigned listener, struct tf_bytes peer)
{
    struct amqp_front *front = front_of(base);
    return front->draining ? NULL : tf_amqp_front_conn_open(front, listener, peer);
}

static bool on_mail(struct tf_front *base, const struct tf_mail *mail, unsigned from)
{
    (void)base;
    (void)mail;
    (void)from;
    return false; /* containers are served at home, and queues are the routing's affair */
}

static void on_timer(struct tf_front *base, struct tf_timer *timer)
{
    struct tf_front_timer *mine = tf_container_of(timer, struct tf_front_timer, timer);
    if (mine->kind == AMQP_TIMER_GRACE) {
        tf_amqp_front_ledgers_expire(front_of(base));
        return;
    }
    tf_amqp_front_conn_expire(tf_container_of(mine, struct amqp_conn, timer));
}

/* Gives all senders the credit that they may have now. */
static void grant_all(struct amqp_front *front)
{
    struct tf_list_node *i, *j, *k;
    for (i = tf_list_first(&front->conns); i; i = tf_list_next(&front->conns, i)) {
        struct amqp_conn *conn = tf_container_of(i, struct amqp_conn, in_front);
        for (j = tf_list_first(&conn->sessions); j; j = tf_list_next(&conn->sessions, j)) {
            struct amqp_session *session = tf_container_of(j, struct amqp_session, in_conn);
            for (k = tf_list_first(&session->links); k; k = tf_list_next(&session->links, k)) {
                tf_amqp_front_link_grant(tf_container_of(k, struct amqp_link, in_session));
            }
        }
        tf_stream_touch(&conn->stream);
    }
}

/*
 * Looks at how the store is. Over its soft limit nobody may send; once it is full or broken they
 * may again, so that they hear that it refuses, and what needs no store goes on.
 */
static void watch_store(struct amqp_front *front)
{
    bool slow = tf_store_state(front->shard->config.store) == TF_STORE_SLOW;
    if (slow != front->slow) {
        front->slow = slow;
        grant_all(front);
    }
}

static void on_turn(struct tf_front *base)
{
    struct amqp_front *front = front_of(base);
    struct tf_list_node *node;
    struct tf_list now;
    base->again = false;
    if (front->shard->config.store) {
        watch_store(front);
    }
    tf_list_init(&now);
    tf_list_splice_back(&now, &front->service); /* what is touched meanwhile is for the next turn */
    while ((node = tf_list_pop_front(&now))) {
        tf_amqp_front_conn_service(tf_container_of(node, struct amqp_conn, service));
    }
}

static void on_reload(struct tf_front *base, const struct tf_config *config)
{
    struct amqp_front *front = front_of(base);
    if (configure(front, config)) {
        tf_log_text(front->context.log, TF_LOG_WARN, "amqp",
                    "no memory to reload: new connections go by the former limits");
    }
}

static void on_drain(struct tf_front *base)
{
    struct amqp_front *front = front_of(base);
    struct tf_list_node *node = tf_list_first(&front->conns);
    front->draining = true;
    for (; node; node = tf_list_next(&front->conns, node)) {
        tf_amqp_front_conn_end(tf_container_of(node, struct amqp_conn, in_front),
                               TF_AMQP_CONNECTION_FORCED, "the broker is shutting down");
    }
}

static enum tf_err on_restore(struct tf_front *base, const struct tf_stored_object *object,
                              struct tf_queue **ret_queue)
{
    if (object->kind != TF_STORED_TRANSFER) {
        return TF_PROTOCOL;
    }
    *ret_queue = NULL; /* it has none */
    return tf_amqp_front_ledger_restore(front_of(base), object);
}

static void on_release(struct tf_front *base)
{
    struct amqp_front *front = front_of(base);
    tf_assert(tf_list_empty(&front->conns));
    tf_assert(front->containers.count == 0);
    tf_amqp_front_ledgers_release(front);
    tf_front_buffers_release(&front->buffers, amqp_alloc(front));
    for (size_t i = 0; i < TF_COUNT(front->scratch); i++) {
        if (front->scratch[i].memory) {
            tf_amqp_front_free(front, front->scratch[i].memory, front->scratch[i].size);
        }
    }
    tf_amqp_front_servers_unref(front, front->servers);
    tf_amqp_front_free(front, front, sizeof(*front));
}

static const struct tf_front_ops ops = {.open = on_open,
                                        .mail = on_mail,
                                        .timer = on_timer,
                                        .turn = on_turn,
                                        .reload = on_reload,
                                        .drain = on_drain,
                                        .virtual_next = tf_amqp_front_virtual_next,
                                        .restore = on_restore,
                                        .release = on_release};

static enum tf_err create(const struct tf_front_context *context, struct tf_front **ret_front)
{
    const struct tf_alloc *alloc = context->shard->config.alloc;
    struct amqp_front *front = alloc->alloc(alloc->ctx, sizeof(*front));
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
    tf_list_init(&front->away);
    front->grace.front = &front->front;
    front->grace.kind = AMQP_TIMER_GRACE;
    uint64_t seed;
    context->random(context->random_ctx, &seed, sizeof(seed));
    tf_tree_init(&front->containers, seed);
    tf_tree_init(&front->ledgers, ~seed);
    if (configure(front, context->config)) {
        alloc->free(alloc->ctx, front, sizeof(*front));
        return TF_NO_MEMORY;
    }
    *ret_front = &front->front;
    return TF_OK;
}

const struct tf_front_type tf_amqp_front_type = {
    .name = "amqp", .scheme = "amqp", .protocol = TF_CONFIG_PROTOCOL_AMQP, .create = create};
