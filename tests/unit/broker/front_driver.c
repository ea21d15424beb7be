/*
 * Shards and fronts without sockets. See front_driver.h.
 */
#include "unit/broker/front_driver.h"

#include "base/assert.h"
#include "base/util.h"
#include "broker/stream_gate.h"
#include "broker/sys_collection.h"
#include "route/named_internal.h"

#define MAIL_ADOPT TF_MAIL_WORKER

static void wake(void *ctx, unsigned shard)
{
    struct driver *driver = ctx;
    driver->nodes[shard].mail = true;
}

static void append(uint8_t **data, size_t *length, size_t *capacity, struct tf_bytes bytes)
{
    if (*length + bytes.length > *capacity) {
        *capacity = 2 * (*length + bytes.length);
        *data = realloc(*data, *capacity);
        tf_assert(*data);
    }
    if (bytes.length) {
        memcpy(*data + *length, bytes.data, bytes.length);
    }
    *length += bytes.length;
}

static void end(struct driver_conn *conn)
{
    struct tf_stream *stream = conn->stream;
    conn->stream = NULL;
    conn->ended = true;
    if (stream) {
        tf_list_unlink(&stream->dirty);
        stream->ops->close(stream);
    }
}

/* ---- the store ---- */

static void wake_store(void *ctx)
{
    ((struct driver *)ctx)->store_woken = true;
}

static void changed(void *ctx, enum tf_store_state state, enum tf_err err, int error)
{
    (void)err;
    (void)error;
    ((struct driver *)ctx)->told = state;
}

static void store_open(struct driver *driver)
{
    struct tf_journal_report report;
    uint64_t holder;
    struct tf_store_config config = {.journal = {.disk = driver->disk,
                                                 .alloc = &driver->store_memory.alloc,
                                                 .seed = ++driver->store_seed,
                                                 .segment_size = UINT64_C(1) << 20,
                                                 .snapshot_interval = UINT64_C(1) << 18,
                                                 .compact_percent = 50},
                                     .shards = driver->count,
                                     .alloc = &driver->store_memory.alloc,
                                     .hold = tf_stored_hold,
                                     .let_go = tf_stored_let_go,
                                     .wake_shard = wake,
                                     .wake_store = wake_store,
                                     .changed = changed,
                                     .ctx = driver};
    enum tf_err err = tf_store_new(&config, &driver->store, &report, &holder);
    tf_assert(err == TF_OK);
    driver->store_woken = true;
    driver->store_rests = true; /* until all is restored */
    driver->told = TF_STORE_READY;
}

/* A turn of the store's thread, if it has something to do. True: it has taken one. */
static bool store_turn(struct driver *driver)
{
    tf_time until = TF_TIME_NEVER;
    if (!driver->store || driver->store_rests ||
        (!driver->store_woken && driver->store_until > driver->now)) {
        return false;
    }
    driver->store_woken = false;
    driver->store_woken |= tf_store_turn(driver->store, driver->now, &until);
    driver->store_until = until;
    return true;
}

/* Lets the output go that has waited for what is done now. */
static void ungate(struct driver_node *node)
{
    struct tf_list_node *i = tf_list_first(&node->driver->conns);
    for (; node->shard.config.store && i; i = tf_list_next(&node->driver->conns, i)) {
        struct driver_conn *conn = tf_container_of(i, struct driver_conn, node);
        if (conn->stream && conn->shard == node->shard.config.number &&
            tf_stream_gate_open(conn->stream, node->shard.config.store)) {
            tf_stream_touch(conn->stream);
        }
    }
}

static void settle_mail(void *ctx);

/* Gives shards and fronts what the store has kept. */
static void restore(struct driver *driver)
{
    struct tf_restore_shard shards[DRIVER_SHARDS];
    struct tf_front *fronts[DRIVER_SHARDS][2];
    for (unsigned i = 0; i < driver->count; i++) {
        fronts[i][0] = driver->nodes[i].front;
        fronts[i][1] = driver->nodes[i].beside;
        shards[i] = (struct tf_restore_shard){&driver->nodes[i].shard, fronts[i],
                                              driver->nodes[i].beside ? 2 : 1};
    }
    struct tf_restore_config config = {.journal = tf_store_journal(driver->store),
                                       .shards = shards,
                                       .count = driver->count,
                                       .alloc = &driver->store_memory.alloc,
                                       .settle = settle_mail,
                                       .ctx = driver};
    test_alloc_fail(&driver->memory, driver->restore_fails_at);
    driver->restore_err = tf_restore(&config, &driver->restored);
    driver->restore_starved = driver->memory.failed != 0;
    tf_assert(!driver->restore_err || driver->restore_starved);
    test_alloc_fail(&driver->memory, driver->restore_fails_at = 0);
    settle_mail(driver);
    driver->store_rests = false;
    for (unsigned i = 0; i < driver->count; i++) {
        for (size_t j = 0; j < shards[i].front_count; j++) {
            if (fronts[i][j]->ops->restored) {
                fronts[i][j]->ops->restored(fronts[i][j]);
            }
        }
    }
}

/* ---- connections ---- */

static void open_stream(struct driver_conn *conn, unsigned shard)
{
    struct driver_node *node = &conn->driver->nodes[shard];
    struct tf_front *front = conn->beside ? node->beside : node->front;
    conn->shard = shard;
    conn->stream = front->ops->open(front, conn->listener, tf_bytes_str("test"));
    if (conn->stream) {
        conn->stream->transport = conn;
    } else {
        conn->ended = true;
    }
}

/* Gives the stream a piece of memory of its own; `adopted`: what it had in another shard. */
static void input(struct driver_conn *conn, const void *data, size_t length, bool adopted)
{
    uint8_t *copy = malloc(length);
    tf_assert(copy);
    memcpy(copy, data, length);
    if (adopted) {
        tf_stream_adopt(conn->stream, tf_bytes_of(copy, length));
    } else {
        conn->stream->ops->input(conn->stream, tf_bytes_of(copy, length));
    }
    memset(copy, 0xDD, length);
    free(copy);
}

static void receive(void *ctx, const struct tf_mail *mail, unsigned from)
{
    struct driver_node *node = ctx;
    if (mail->type != MAIL_ADOPT) {
        bool taken = node->front->ops->mail(node->front, mail, from);
        if (!taken && node->beside) {
            taken = node->beside->ops->mail(node->beside, mail, from);
        }
        tf_assert(taken);
        return;
    }
    struct driver_conn *conn = (struct driver_conn *)(uintptr_t)mail->value;
    if (!conn->ended) {
        open_stream(conn, node->shard.config.number);
    }
    if (conn->stream) {
        input(conn, mail->object, (size_t)mail->tag, true);
    }
    test_alloc_give(&node->driver->memory, mail->object, (size_t)mail->tag);
}

static void expired(void *ctx, struct tf_timer *timer)
{
    struct tf_front *front = tf_container_of(timer, struct tf_front_timer, timer)->front;
    (void)ctx;
    front->ops->timer(front, timer);
}

static struct tf_message *virtual_next(void *ctx, struct tf_bytes filter, struct tf_bytes last)
{
    struct driver_node *node = ctx;
    struct tf_front *fronts[] = {node->front, node->beside};
    struct tf_message *first = NULL;
    for (size_t i = 0; i < TF_COUNT(fronts); i++) {
        struct tf_message *message = fronts[i] && fronts[i]->ops->virtual_next
                                         ? fronts[i]->ops->virtual_next(fronts[i], filter, last)
                                         : NULL;
        if (message && first &&
            tf_sys_address_compare(first->publication.envelope.address,
                                   message->publication.envelope.address) <= 0) {
            tf_message_unref(message);
        } else if (message) {
            if (first) {
                tf_message_unref(first);
            }
            first = message;
        }
    }
    return first;
}

static void entropy(void *ctx, void *data, size_t length)
{
    tf_random_fill(ctx, data, length);
}

void driver_init(struct driver *driver, unsigned shards)
{
    struct tf_config_report report;
    memset(driver, 0, sizeof(*driver));
    test_alloc_init(&driver->memory);
    test_alloc_init(&driver->store_memory);
    tf_random_init(&driver->random, 1);
    driver->count = shards;
    driver->now = 1000 * TF_SECOND;
    driver->wall = DRIVER_WALL;
    tf_list_init(&driver->conns);
    tf_config_report_init(&report);
    tf_config_init_default(&driver->config);
    enum tf_err err = tf_config_add_url(&driver->config, "mqtt://127.0.0.1:0", &report);
    tf_assert(err == TF_OK);
    err = tf_config_add_url(&driver->config, "coap://127.0.0.1:0", &report);
    tf_assert(err == TF_OK);
    err = tf_config_finish(&driver->config, &report);
    tf_assert(err == TF_OK);
    tf_config_report_release(&report);
}

void driver_keep(struct driver *driver, struct tf_disk *disk)
{
    driver->disk = disk;
    for (size_t i = 0; i < driver->config.listener_count; i++) {
        driver->config.listeners[i].durability = TF_CONFIG_DURABILITY_DISK;
    }
}

void driver_start(struct driver *driver)
{
    driver->office =
        tf_post_office_new(driver->count, 4, (struct tf_wake){wake, driver}, &driver->memory.alloc);
    tf_assert(driver->office);
    if (driver->disk) {
        store_open(driver);
    }
    for (unsigned i = 0; i < driver->count; i++) {
        struct driver_node *node = &driver->nodes[i];
        struct tf_shard_config config = {
            .number = i,
            .office = driver->office,
            .alloc = &driver->memory.alloc,
            .key = {8, 9},
            .random = i,
            .values = {driver->config.max_retained_messages, driver->config.max_retained_bytes},
            .receive = receive,
            .expired = expired,
            .virtual_next = virtual_next,
            .ctx = node};
        struct tf_front_context context = {.shard = &node->shard,
                                           .config = &driver->config,
                                           .random = entropy,
                                           .random_ctx = &driver->random};
        node->driver = driver;
        if (driver->disk) {
            enum tf_err kept = tf_store_client_init(&node->client, driver->store, i);
            tf_assert(kept == TF_OK);
            config.store = &node->client;
            config.first_version = tf_store_first_position(&node->client);
        }
        enum tf_err err = tf_shard_init(&node->shard, &config, driver->now);
        tf_assert(err == TF_OK);
        tf_shard_wall(&node->shard, driver->wall + driver->now);
        err = tf_mqtt_front_type.create(&context, &node->front);
        tf_assert(err == TF_OK);
        if (driver->beside) {
            err = driver->beside->type->create(&context, &node->beside);
            tf_assert(err == TF_OK);
            driver->beside->started(node);
        }
    }
    if (driver->disk) {
        restore(driver);
    }
}

static struct driver_conn *open_conn(struct driver *driver, unsigned shard, unsigned listener,
                                     bool beside)
{
    struct driver_conn *conn = calloc(1, sizeof(*conn));
    tf_assert(conn);
    conn->driver = driver;
    conn->listener = listener;
    conn->beside = beside;
    conn->window = conn->read_most = conn->write_most = SIZE_MAX;
    open_stream(conn, shard);
    tf_list_push_back(&driver->conns, &conn->node);
    return conn;
}

struct driver_conn *driver_open(struct driver *driver, unsigned shard)
{
    return open_conn(driver, shard, 0, false);
}

struct driver_conn *driver_open_beside(struct driver *driver, unsigned shard, unsigned listener)
{
    return open_conn(driver, shard, listener, true);
}

void driver_feed(struct driver_conn *conn, const void *data, size_t length)
{
    if (!conn->ended) {
        append(&conn->in, &conn->in_length, &conn->in_capacity, tf_bytes_of(data, length));
    }
}

/* Reads what was fed, as far as the stream may be read. True: it has read. */
static bool read_conn(struct driver_conn *conn)
{
    const struct tf_stream *stream = conn->stream;
    if (!stream || stream->paused || stream->closing || stream->move_to != TF_STREAM_STAYS ||
        conn->in_length == 0) {
        return false;
    }
    size_t length = TF_MIN(conn->in_length, conn->read_most);
    input(conn, conn->in, length, false);
    conn->in_length -= length;
    memmove(conn->in, conn->in + length, conn->in_length);
    return true;
}

/* Moves the connection to the shard that it names. */
static void move_conn(struct driver_conn *conn)
{
    struct driver *driver = conn->driver;
    struct tf_stream *stream = conn->stream;
    unsigned to = stream->move_to;
    uint8_t *data = NULL;
    size_t length = 0;
    stream->ops->detach(stream, &data, &length);
    conn->stream = NULL;
    driver->moves++;
    if (!data) {
        conn->ended = true; /* no memory */
        return;
    }
    struct tf_mail mail = {
        .type = MAIL_ADOPT, .object = data, .tag = length, .value = (uint64_t)(uintptr_t)conn};
    if (!tf_shard_post(&driver->nodes[conn->shard].shard, to, &mail)) {
        test_alloc_give(&driver->memory, data, length);
        conn->ended = true;
    }
}

static void write_conn(struct driver_conn *conn)
{
    const struct tf_store_client *store = conn->driver->nodes[conn->shard].shard.config.store;
    struct tf_stream *stream = conn->stream;
    struct tf_bytes spans[4];
    size_t count;
    while ((count = stream->ops->output(stream, spans, TF_COUNT(spans)))) {
        size_t done = 0;
        count = tf_stream_gate(stream, store, spans, count);
        for (size_t i = 0; i < count; i++) {
            size_t room = TF_MIN(conn->window, conn->write_most - done);
            struct tf_bytes part = {spans[i].data, TF_MIN(spans[i].length, room)};
            append(&conn->out, &conn->out_length, &conn->out_capacity, part);
            conn->window -= conn->window == SIZE_MAX ? 0 : part.length;
            done += part.length;
        }
        if (done == 0) {
            return; /* until driver_window, or until the store has done something */
        }
        tf_stream_gate_sent(stream, done);
    }
    (void)tf_stream_gate(stream, store, spans, 0);
    if (stream->closing) {
        end(conn);
    } else if (stream->move_to != TF_STREAM_STAYS) {
        move_conn(conn);
    }
}

static void write_all(struct tf_front *front)
{
    struct tf_list_node *dirty;
    while ((dirty = tf_list_pop_front(&front->dirty))) {
        write_conn(tf_container_of(dirty, struct tf_stream, dirty)->transport);
    }
}

bool driver_turn(struct driver *driver, unsigned shard)
{
    struct driver_node *node = &driver->nodes[shard];
    struct mqtt_front *front = driver_front(driver, shard);
    struct tf_list_node *i = tf_list_first(&driver->conns);
    bool read = false;
    tf_shard_time(&node->shard, driver->now);
    for (; i && !node->congested; i = tf_list_next(&driver->conns, i)) {
        struct driver_conn *conn = tf_container_of(i, struct driver_conn, node);
        read |= conn->shard == shard && read_conn(conn);
    }
    if (node->beside && !node->congested) {
        read |= driver->beside->read(node);
    }
    node->mail = false;
    tf_shard_receive(&node->shard);
    ungate(node);
    tf_shard_expire(&node->shard);
    node->front->ops->turn(node->front);
    if (node->beside) {
        node->beside->ops->turn(node->beside);
    }
    if (node->shard.config.store) {
        tf_shard_submit(&node->shard);
    }
    write_all(node->front);
    if (node->beside) {
        write_all(node->beside);
        driver->beside->write(node);
    }
    node->congested = tf_shard_flush(&node->shard);
    return read ||
           (node->beside && (node->beside->again || !tf_list_empty(&node->beside->dirty))) ||
           node->mail || node->congested || !tf_list_empty(&front->service) ||
           !tf_list_empty(&front->front.dirty) || tf_shard_deadline(&node->shard) <= driver->now;
}

void driver_run(struct driver *driver)
{
    bool busy = true;
    for (unsigned round = 0; busy; round++) {
        tf_assert(round < 100000); /* it would never come to rest */
        if (driver->memory.fail_on && round > 50) {
            break; /* who is short of memory tries again each turn */
        }
        busy = false;
        for (unsigned i = 0; i < driver->count; i++) {
            busy |= driver_turn(driver, i);
        }
        busy |= store_turn(driver);
        for (unsigned i = 0; i < driver->count; i++) {
            busy |= driver->nodes[i].mail;
        }
    }
    driver_check(driver);
}

void driver_advance(struct driver *driver, tf_time span)
{
    tf_time until = driver->now + span;
    driver_run(driver);
    while (driver->now < until) {
        tf_time next = until;
        if (driver->store && !driver->store_rests) {
            next = TF_MIN(next, TF_MAX(driver->store_until, driver->now + 1));
        }
        for (unsigned i = 0; i < driver->count; i++) {
            tf_time deadline = tf_shard_deadline(&driver->nodes[i].shard);
            next = TF_MIN(next, TF_MAX(deadline, driver->now + 1));
        }
        driver->now = next;
        driver_run(driver);
    }
}

void driver_cut(struct driver_conn *conn)
{
    end(conn);
    conn->in_length = 0;
}

void driver_window(struct driver_conn *conn, size_t length)
{
    conn->window = length == SIZE_MAX ? SIZE_MAX : conn->window + length;
    if (conn->stream) {
        tf_stream_touch(conn->stream);
    }
}

struct mqtt_front *driver_front(struct driver *driver, unsigned shard)
{
    return tf_container_of(driver->nodes[shard].front, struct mqtt_front, front);
}

unsigned driver_home(struct driver *driver, const char *name)
{
    return tf_shard_home(&driver->nodes[0].shard, tf_bytes_str(name));
}

struct mqtt_session *driver_session(struct driver *driver, const char *id)
{
    struct mqtt_front *front = driver_front(driver, driver_home(driver, id));
    struct tf_tree_node *node = tf_tree_find(&front->sessions, tf_bytes_str(id));
    return node ? tf_container_of(node, struct mqtt_session, by_id) : NULL;
}

/* What lies in named and private queues, in bytes and in entries. */
static void named_sums(const struct tf_shard *shard, uint64_t *ret_bytes, uint64_t *ret_count)
{
    const struct tf_list_node *node = tf_list_first(&shard->named.all);
    *ret_bytes = *ret_count = 0;
    for (; node; node = tf_list_next(&shard->named.all, node)) {
        const struct tf_named_queue *named = tf_container_of(node, struct tf_named_queue, in_all);
        *ret_bytes += named->queue.bytes;
        *ret_count += named->queue.count;
    }
}

void driver_check(struct driver *driver)
{
    for (unsigned n = 0; n < driver->count; n++) {
        const struct tf_shard *shard = &driver->nodes[n].shard;
        struct mqtt_front *front = driver_front(driver, n);
        uint64_t bytes, count;
        uint64_t bindings = 0;
        uint64_t attended = 0;
        struct tf_tree_node *i;
        struct tf_list_node *j;
        tf_assert(tf_shard_check(shard) && tf_tree_check(&front->sessions));
        named_sums(shard, &bytes, &count);
        for (i = tf_tree_first(&front->sessions); i; i = tf_tree_next(i)) {
            struct mqtt_session *session = tf_container_of(i, struct mqtt_session, by_id);
            tf_assert(tf_queue_check(&session->queue));
            tf_assert(tf_mqtt_session_check(&session->state));
            tf_assert(!session->conn || session->conn->session == session);
            bytes += session->queue.bytes;
            count += session->queue.count;
            bindings += session->queue.binding_count;
            attended += session->conn != NULL;
        }
        for (j = tf_list_first(&front->conns); j; j = tf_list_next(&front->conns, j)) {
            struct mqtt_conn *conn = tf_container_of(j, struct mqtt_conn, in_front);
            tf_assert(tf_mqtt_server_check(conn->server));
            tf_assert(!conn->session || conn->session->conn == conn);
            attended -= conn->session != NULL;
        }
        if (driver->nodes[n].beside) {
            driver->beside->check(&driver->nodes[n]);
        }
        tf_assert(attended == 0);
        tf_assert(bytes == shard->queued_bytes && count == shard->queued_count);
        tf_assert(front->sessions.count == front->front.counters.sessions);
        tf_assert(bindings == front->front.counters.subscriptions);
    }
}

/* Reads and posts until no mail is left. */
static void settle_mail(void *ctx)
{
    struct driver *driver = ctx;
    bool busy = true;
    while (busy) {
        busy = store_turn(driver);
        for (unsigned i = 0; i < driver->count; i++) {
            driver->nodes[i].mail = false;
            tf_shard_receive(&driver->nodes[i].shard);
            busy |= tf_shard_flush(&driver->nodes[i].shard);
        }
        for (unsigned i = 0; i < driver->count; i++) {
            busy |= driver->nodes[i].mail;
        }
    }
}

static void release_shard(struct driver_node *node)
{
    const struct tf_shard *shard = &node->shard;
    uint64_t bytes, count;
    named_sums(shard, &bytes, &count);
    tf_assert(shard->queue_count == 0);
    tf_assert(shard->queued_bytes == bytes && shard->queued_count == count);
    tf_assert(shard->bindings.count == 0 || !tf_list_empty(&shard->named.all));
    tf_assert(shard->counters.tickets == 0 || node->driver->told >= TF_STORE_FULL);
    tf_assert(tf_list_empty(&shard->drawing));
    tf_shard_release(&node->shard);
    if (node->driver->store) {
        tf_store_client_release(&node->client);
    }
}

void driver_end(struct driver *driver)
{
    struct tf_list_node *node;
    driver->store_rests = false;
    for (node = tf_list_first(&driver->conns); node; node = tf_list_next(&driver->conns, node)) {
        driver_cut(tf_container_of(node, struct driver_conn, node));
    }
    for (unsigned i = 0; i < driver->count; i++) {
        if (driver->nodes[i].beside) {
            driver->beside->stop(&driver->nodes[i]);
        }
    }
    settle_mail(driver);
    for (unsigned i = 0; i < driver->count; i++) {
        driver->nodes[i].front->ops->release(driver->nodes[i].front);
        if (driver->nodes[i].beside) {
            driver->nodes[i].beside->ops->release(driver->nodes[i].beside);
        }
    }
    settle_mail(driver);
    for (unsigned i = 0; i < driver->count; i++) {
        release_shard(&driver->nodes[i]);
        memset(&driver->nodes[i], 0, sizeof(driver->nodes[i]));
    }
    tf_post_office_free(driver->office);
    tf_store_free(driver->store);
    driver->store = NULL;
    tf_assert(driver->memory.blocks == 0 && driver->memory.bytes == 0);
    tf_assert(driver->store_memory.blocks == 0 && driver->store_memory.bytes == 0);
}

void driver_stop(struct driver *driver)
{
    struct tf_list_node *node;
    driver_end(driver);
    while ((node = tf_list_pop_front(&driver->conns))) {
        struct driver_conn *conn = tf_container_of(node, struct driver_conn, node);
        free(conn->out);
        free(conn->in);
        free(conn);
    }
    tf_config_release(&driver->config);
}
