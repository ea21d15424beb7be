/*
 * The echo front and the harness around workers: see harness.h.
 */
#include "harness.h"

#include "port/clock.h"
#include "port/datagram.h"
#include "port/socket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- the echo front ---- */

struct echo_stream {
    struct tf_stream stream;
    struct tf_list_node node;
    struct echo_front *front;
    uint8_t *input; /* what a move takes along */
    size_t input_length;
    uint8_t *output;
    size_t output_length, output_sent;
};

static struct echo_stream *echo_of(struct tf_stream *stream)
{
    return tf_container_of(stream, struct echo_stream, stream);
}

static void echo_add(struct echo_stream *echo, const void *data, size_t length)
{
    echo->output = realloc(echo->output, echo->output_length + length);
    assert_non_null(echo->output);
    memcpy(echo->output + echo->output_length, data, length);
    echo->output_length += length;
}

static void echo_flood(struct echo_stream *echo, unsigned to)
{
    struct tf_mail mail = {.type = TF_MAIL_MQTT};
    for (unsigned i = 0; i < ECHO_FLOOD; i++) {
        assert_true(tf_shard_post(echo->front->shard, to, &mail));
    }
}

static void echo_bulk(struct echo_stream *echo)
{
    uint8_t *bulk = malloc(ECHO_BULK);
    assert_non_null(bulk);
    for (size_t i = 0; i < ECHO_BULK; i++) {
        bulk[i] = (uint8_t)(i % 251);
    }
    echo_add(echo, bulk, ECHO_BULK);
    free(bulk);
}

/* Something that is to be kept: nobody reads it again. */
static void echo_record(struct echo_stream *echo)
{
    static const uint8_t key[] = "echo";
    struct tf_store_client *store = echo->front->shard->config.store;
    assert_non_null(store);
    enum tf_err err = tf_store_reserve(store, sizeof(key));
    assert_true(err == TF_OK || tf_store_state(store) == TF_STORE_BROKEN);
    tf_store_put(store, TF_STORE_DISK, 200, tf_bytes_of(key, sizeof(key)), tf_bytes_of(NULL, 0),
                 NULL);
    echo->front->front.counters.publish_received++;
    tf_stream_need(&echo->stream, tf_shard_recorded(echo->front->shard));
}

static void echo_input(struct tf_stream *stream, struct tf_bytes in)
{
    struct echo_stream *echo = echo_of(stream);
    echo->front->front.counters.bytes_received += in.length;
    for (size_t i = 0; i < in.length; i++) {
        switch (in.data[i]) {
        case 'Q':
            stream->closing = true;
            break;
        case 'P':
            stream->paused = true;
            break;
        case 'B':
            echo_bulk(echo);
            break;
        case 'F':
            echo_flood(echo, in.data[++i] - '0');
            break;
        case 'N':
            echo_record(echo);
            break;
        case 'M':
            stream->move_to = (uint32_t)(in.data[++i] - '0');
            echo->input_length = in.length - i - 1;
            if (echo->input_length) {
                echo->input = malloc(echo->input_length);
                assert_non_null(echo->input);
                memcpy(echo->input, in.data + i + 1, echo->input_length);
            }
            tf_stream_touch(stream);
            return;
        default:
            echo_add(echo, &in.data[i], 1);
        }
    }
    tf_stream_touch(stream);
}

static size_t echo_output(struct tf_stream *stream, struct tf_bytes *ret_spans, size_t count)
{
    struct echo_stream *echo = echo_of(stream);
    size_t left = echo->output_length - echo->output_sent;
    assert_true(count >= 1);
    if (left == 0) {
        return 0;
    }
    ret_spans[0] = tf_bytes_of(echo->output + echo->output_sent, left);
    return 1;
}

static void echo_sent(struct tf_stream *stream, size_t length)
{
    struct echo_stream *echo = echo_of(stream);
    echo->output_sent += length;
    assert_true(echo->output_sent <= echo->output_length);
    if (echo->output_sent == echo->output_length) {
        free(echo->output);
        echo->output = NULL;
        echo->output_length = echo->output_sent = 0;
    }
}

static void echo_free(struct echo_stream *echo)
{
    tf_list_unlink(&echo->stream.dirty);
    tf_list_remove(&echo->node);
    echo->front->stream_count--;
    free(echo->output);
    free(echo);
}

static void echo_detach(struct tf_stream *stream, uint8_t **ret_data, size_t *ret_length)
{
    struct echo_stream *echo = echo_of(stream);
    *ret_data = echo->input;
    *ret_length = echo->input_length;
    echo->front->moved++;
    echo_free(echo);
}

static void echo_close(struct tf_stream *stream)
{
    struct echo_stream *echo = echo_of(stream);
    echo->front->closed++;
    free(echo->input);
    echo_free(echo);
}

static const struct tf_stream_ops echo_stream_ops = {.input = echo_input,
                                                     .output = echo_output,
                                                     .sent = echo_sent,
                                                     .detach = echo_detach,
                                                     .close = echo_close};

static struct echo_front *front_of(struct tf_front *front)
{
    return tf_container_of(front, struct echo_front, front);
}

static struct tf_stream *echo_open(struct tf_front *front, unsigned listener, struct tf_bytes peer)
{
    struct echo_stream *echo = calloc(1, sizeof(*echo));
    assert_non_null(echo);
    assert_true(listener < front_of(front)->config->listener_count);
    assert_true(peer.length > strlen("127.0.0.1:"));
    echo->front = front_of(front);
    echo->stream.ops = &echo_stream_ops;
    echo->stream.dirty_list = &front->dirty;
    echo->stream.move_to = TF_STREAM_STAYS;
    tf_list_push_back(&echo->front->streams, &echo->node);
    echo->front->stream_count++;
    echo->front->opened++;
    return &echo->stream;
}

static bool echo_mail(struct tf_front *front, const struct tf_mail *mail, unsigned from)
{
    (void)from;
    if (mail->type != TF_MAIL_MQTT) {
        return false;
    }
    front_of(front)->mails++;
    return true;
}

static void echo_timer(struct tf_front *front, struct tf_timer *timer)
{
    (void)front;
    (void)timer;
}

static void echo_reload(struct tf_front *front, const struct tf_config *config)
{
    front_of(front)->config = config;
    front_of(front)->reloads++;
}

static void echo_drain(struct tf_front *front)
{
    struct echo_front *echo = front_of(front);
    struct tf_list_node *node = tf_list_first(&echo->streams);
    for (; node; node = tf_list_next(&echo->streams, node)) {
        struct echo_stream *stream = tf_container_of(node, struct echo_stream, node);
        echo_add(stream, "bye", 3);
        stream->stream.closing = true;
        tf_stream_touch(&stream->stream);
    }
    echo->drained = true;
}

static void echo_release(struct tf_front *front)
{
    assert_true(tf_list_empty(&front_of(front)->streams));
    free(front_of(front));
}

static const struct tf_front_ops echo_front_ops = {.open = echo_open,
                                                   .mail = echo_mail,
                                                   .timer = echo_timer,
                                                   .reload = echo_reload,
                                                   .drain = echo_drain,
                                                   .release = echo_release};

static enum tf_err echo_create(const struct tf_front_context *context, struct tf_front **ret_front)
{
    struct echo_front *echo = calloc(1, sizeof(*echo));
    if (!echo) {
        return TF_NO_MEMORY;
    }
    echo->front.ops = &echo_front_ops;
    tf_list_init(&echo->front.dirty);
    tf_list_init(&echo->front.dirty_channels);
    tf_list_init(&echo->streams);
    echo->shard = context->shard;
    echo->config = context->config;
    *ret_front = &echo->front;
    return TF_OK;
}

const struct tf_front_type echo_front_type = {
    .name = "echo", .scheme = "mqtt", .protocol = TF_CONFIG_PROTOCOL_MQTT, .create = echo_create};

void echo_resume(struct echo_front *front)
{
    struct tf_list_node *node = tf_list_first(&front->streams);
    for (; node; node = tf_list_next(&front->streams, node)) {
        struct echo_stream *stream = tf_container_of(node, struct echo_stream, node);
        stream->stream.paused = false;
        tf_stream_touch(&stream->stream);
    }
}

/* ---- the front of datagrams ---- */

static struct echo_channel *channel_of(struct tf_channel *channel)
{
    return tf_container_of(channel, struct echo_channel, channel);
}

static struct echo_datagram_front *datagrams_of(struct tf_front *front)
{
    return tf_container_of(front, struct echo_datagram_front, front);
}

static void echo_keep(struct echo_channel *echo, const struct tf_datagram_path *path,
                      struct tf_bytes bytes)
{
    struct echo_datagram *kept = &echo->ring[(echo->first + echo->count++) % ECHO_ROOM];
    assert_true(echo->count <= ECHO_ROOM && bytes.length <= ECHO_DATAGRAM_MAX);
    kept->path = *path;
    kept->length = bytes.length;
    if (bytes.length) {
        memcpy(kept->bytes, bytes.data, bytes.length);
    }
    tf_channel_touch(&echo->channel);
}

static size_t echo_take(struct tf_channel *channel, const struct tf_datagram *in, size_t count)
{
    struct echo_channel *echo = channel_of(channel);
    struct echo_datagram_front *front = echo->front;
    struct tf_mail mail = {.type = TF_MAIL_COAP};
    size_t taken = 0;
    for (; taken < count && echo->count < front->room; taken++) {
        struct tf_bytes bytes = in[taken].bytes;
        front->flags = in[taken].flags;
        front->front.counters.bytes_received += bytes.length;
        if (bytes.length == 2 && bytes.data[0] == 'F') {
            for (unsigned i = 0; i < ECHO_FLOOD; i++) {
                assert_true(tf_shard_post(front->shard, (unsigned)bytes.data[1] - '0', &mail));
            }
        } else {
            echo_keep(echo, in[taken].path, bytes);
        }
    }
    front->taken += taken;
    front->partial += taken < count;
    return taken;
}

static size_t echo_give(struct tf_channel *channel, struct tf_datagram *ret, size_t count)
{
    struct echo_channel *echo = channel_of(channel);
    size_t given = 0;
    for (; given < count && given < echo->count; given++) {
        const struct echo_datagram *kept = &echo->ring[(echo->first + given) % ECHO_ROOM];
        ret[given] = (struct tf_datagram){&kept->path, tf_bytes_of(kept->bytes, kept->length), 0};
    }
    return given;
}

static void echo_given(struct tf_channel *channel, size_t count)
{
    struct echo_channel *echo = channel_of(channel);
    assert_true(count <= echo->count);
    echo->first = (echo->first + count) % ECHO_ROOM;
    echo->count -= count;
}

static void echo_unbind(struct tf_channel *channel)
{
    struct echo_channel *echo = channel_of(channel);
    assert_false(tf_list_linked(&channel->dirty));
    tf_list_remove(&echo->node);
    free(echo);
}

static const struct tf_channel_ops echo_channel_ops = {
    .input = echo_take, .output = echo_give, .sent = echo_given, .close = echo_unbind};

static struct tf_channel *echo_bind(struct tf_front *front, unsigned listener)
{
    struct echo_channel *echo = calloc(1, sizeof(*echo));
    assert_non_null(echo);
    (void)listener;
    echo->front = datagrams_of(front);
    echo->channel.ops = &echo_channel_ops;
    echo->channel.dirty_list = &front->dirty_channels;
    tf_list_push_back(&echo->front->channels, &echo->node);
    return &echo->channel;
}

static bool echo_datagram_mail(struct tf_front *front, const struct tf_mail *mail, unsigned from)
{
    (void)front;
    (void)from;
    return mail->type == TF_MAIL_COAP;
}

static void echo_datagram_reload(struct tf_front *front, const struct tf_config *config)
{
    (void)front;
    (void)config;
}

/* Says "bye" to whom it owes an answer, in the longest of datagrams. */
static void echo_datagram_drain(struct tf_front *front)
{
    static const uint8_t bye[ECHO_DATAGRAM_MAX] = "bye";
    struct echo_datagram_front *echo = datagrams_of(front);
    struct tf_list_node *node = tf_list_first(&echo->channels);
    for (; node; node = tf_list_next(&echo->channels, node)) {
        struct echo_channel *channel = tf_container_of(node, struct echo_channel, node);
        struct tf_datagram_path last = channel->ring[channel->first].path;
        if (channel->count) {
            echo_keep(channel, &last, tf_bytes_of(bye, sizeof(bye)));
        }
    }
    echo->drained = true;
}

static void echo_datagram_release(struct tf_front *front)
{
    assert_true(tf_list_empty(&datagrams_of(front)->channels));
    free(datagrams_of(front));
}

static const struct tf_front_ops echo_datagram_front_ops = {.bind = echo_bind,
                                                            .mail = echo_datagram_mail,
                                                            .timer = echo_timer,
                                                            .reload = echo_datagram_reload,
                                                            .drain = echo_datagram_drain,
                                                            .release = echo_datagram_release};

static enum tf_err echo_datagram_create(const struct tf_front_context *context,
                                        struct tf_front **ret_front)
{
    struct echo_datagram_front *echo = calloc(1, sizeof(*echo));
    if (!echo) {
        return TF_NO_MEMORY;
    }
    echo->front.ops = &echo_datagram_front_ops;
    tf_list_init(&echo->front.dirty);
    tf_list_init(&echo->front.dirty_channels);
    tf_list_init(&echo->channels);
    echo->shard = context->shard;
    echo->room = ECHO_ROOM;
    *ret_front = &echo->front;
    return TF_OK;
}

const struct tf_front_type echo_datagram_front_type = {.name = "echo-datagram",
                                                       .scheme = "coap",
                                                       .protocol = TF_CONFIG_PROTOCOL_COAP,
                                                       .create = echo_datagram_create};

/* ---- the harness ---- */

static void *plain_alloc(void *ctx, size_t size)
{
    struct harness *harness = ctx;
    harness->allocations++;
    return malloc(size);
}

static void plain_free(void *ctx, void *memory, size_t size)
{
    (void)ctx;
    (void)size;
    free(memory);
}

static void wake(void *ctx, unsigned shard)
{
    struct harness *harness = ctx;
    tf_loop_wake(harness->loops[shard]);
}

static void changed(void *ctx)
{
    struct harness *harness = ctx;
    harness->changed++;
}

static void make_config(struct tf_config *config)
{
    struct tf_config_report report;
    tf_config_report_init(&report);
    tf_config_init_default(config);
    assert_int_equal(tf_config_add_url(config, "mqtt://127.0.0.1:0", &report), TF_OK);
    assert_int_equal(tf_config_add_url(config, "coap://127.0.0.1:0", &report), TF_OK);
    assert_int_equal(tf_config_finish(config, &report), TF_OK);
    tf_config_report_release(&report);
}

static void listen_on(struct harness *harness)
{
    struct tf_socket_address address;
    size_t count;
    assert_int_equal(tf_socket_resolve("127.0.0.1", 0, true, &address, 1, &count), TF_OK);
    assert_int_equal(tf_socket_listen(&address, false, &harness->listener), TF_OK);
    assert_int_equal(tf_socket_local(harness->listener, &address), TF_OK);
    harness->port = tf_socket_port(&address);
    assert_int_equal(tf_worker_listen(&harness->workers[0], 0, harness->listener), TF_OK);
}

static void no_owner(void *owner)
{
    (void)owner;
    fail_msg("nothing here has a message");
}

static void wake_store(void *ctx)
{
    (void)ctx; /* it takes a turn whenever the workers do */
}

static void store_changed(void *ctx, enum tf_store_state state, enum tf_err err, int error)
{
    (void)ctx;
    (void)state;
    (void)err;
    (void)error;
}

static void open_store(struct harness *harness, unsigned count, uint64_t soft_limit)
{
    struct tf_journal_report report;
    uint64_t holder;
    sim_disk_init(&harness->disk, 1);
    struct tf_store_config config = {.journal = {.disk = &harness->disk.disk,
                                                 .alloc = &harness->alloc,
                                                 .seed = 1,
                                                 .segment_size = TF_JOURNAL_SEGMENT_MIN,
                                                 .snapshot_interval = TF_JOURNAL_SEGMENT_MIN},
                                     .shards = count,
                                     .alloc = &harness->alloc,
                                     .soft_limit = soft_limit,
                                     .hold = no_owner,
                                     .let_go = no_owner,
                                     .wake_shard = wake,
                                     .wake_store = wake_store,
                                     .changed = store_changed,
                                     .ctx = harness};
    assert_int_equal(tf_store_new(&config, &harness->store, &report, &holder), TF_OK);
}

static void start(struct harness *harness, unsigned count, size_t ring, bool kept,
                  uint64_t soft_limit)
{
    static const struct tf_front_type *const types[] = {&echo_front_type,
                                                        &echo_datagram_front_type};
    struct tf_log_config log = {.types = 0, .wall_us = tf_clock_wall};
    memset(harness, 0, sizeof(*harness));
    assert_true(count <= HARNESS_WORKERS);
    harness->count = count;
    harness->alloc = (struct tf_alloc){plain_alloc, plain_free, harness, NULL};
    harness->shared.changed = changed;
    harness->shared.ctx = harness;
    atomic_init(&harness->shared.maximum, 1000);
    tf_log_init(&harness->log, &log);
    make_config(&harness->config);
    if (kept) {
        open_store(harness, count, soft_limit);
    }
    harness->office =
        tf_post_office_new(count, ring, (struct tf_wake){wake, harness}, &harness->alloc);
    harness->workers = aligned_alloc(64, count * sizeof(*harness->workers));
    assert_non_null(harness->office);
    assert_non_null(harness->workers);
    for (unsigned i = 0; i < count; i++) {
        struct tf_worker_config config = {.number = i,
                                          .office = harness->office,
                                          .config = &harness->config,
                                          .types = types,
                                          .type_count = TF_COUNT(types),
                                          .shared = &harness->shared,
                                          .log = &harness->log,
                                          .alloc = &harness->alloc,
                                          .store = harness->store};
        assert_int_equal(tf_loop_new(&harness->loops[i]), TF_OK);
        config.loop = harness->loops[i];
        assert_int_equal(tf_worker_init(&harness->workers[i], &config, tf_clock_now()), TF_OK);
    }
    listen_on(harness);
}

void harness_start(struct harness *harness, unsigned count, size_t ring)
{
    start(harness, count, ring, false, 0);
}

void harness_start_kept(struct harness *harness, unsigned count, uint64_t soft_limit)
{
    start(harness, count, 64, true, soft_limit);
}

void harness_bind(struct harness *harness)
{
    struct tf_socket_address address;
    int *fds = harness->datagram_fds;
    size_t count;
    assert_int_equal(tf_socket_resolve("127.0.0.1", 0, true, &address, 1, &count), TF_OK);
    assert_int_equal(tf_datagram_bind(&address, true, &fds[0]), TF_OK);
    assert_int_equal(tf_socket_local(fds[0], &address), TF_OK);
    harness->datagram_port = tf_socket_port(&address);
    for (unsigned i = 1; i < harness->count; i++) {
        assert_int_equal(tf_datagram_share(fds[0], true, &fds[i]), TF_OK);
    }
    for (unsigned i = 0; i < harness->count; i++) {
        assert_int_equal(tf_worker_bind(&harness->workers[i], 1, fds[i]), TF_OK);
    }
    harness->datagram_fd_count = harness->count;
}

void harness_stop(struct harness *harness)
{
    for (unsigned i = 0; i < harness->count; i++) {
        tf_worker_close(&harness->workers[i]);
    }
    for (unsigned round = 0; round < 16; round++) {
        for (unsigned i = 0; i < harness->count; i++) {
            tf_worker_settle(&harness->workers[i]);
        }
    }
    assert_int_equal(harness_connections(harness), 0);
    assert_int_equal(atomic_load(&harness->shared.connections), 0);
    assert_int_equal(atomic_load(&harness->shared.listener_connections[0]), 0);
    for (unsigned i = 0; i < harness->count; i++) {
        assert_int_equal(harness_front(harness, i)->stream_count, 0);
        tf_worker_release_fronts(&harness->workers[i]);
    }
    for (unsigned i = 0; i < harness->count; i++) {
        tf_worker_release(&harness->workers[i]);
        tf_loop_free(harness->loops[i]);
    }
    if (harness->store) {
        tf_store_free(harness->store);
        sim_disk_release(&harness->disk);
    }
    tf_post_office_free(harness->office);
    for (unsigned i = 0; i < harness->datagram_fd_count; i++) {
        tf_socket_close(harness->datagram_fds[i]);
    }
    tf_socket_close(harness->listener);
    tf_config_release(&harness->config);
    free(harness->workers);
}

struct echo_datagram_front *harness_datagrams(struct harness *harness, unsigned worker)
{
    return datagrams_of(harness->workers[worker].fronts[1]);
}

struct echo_front *harness_front(struct harness *harness, unsigned worker)
{
    return front_of(harness->workers[worker].fronts[0]);
}

void harness_turn(struct harness *harness)
{
    for (unsigned i = 0; i < harness->count; i++) {
        (void)tf_worker_turn(&harness->workers[i], tf_clock_now() + TF_MILLISECOND);
    }
    if (harness->store && !harness->store_rests) {
        tf_time until;
        (void)tf_store_turn(harness->store, tf_clock_now(), &until);
    }
}

void harness_until(struct harness *harness, bool (*condition)(struct harness *, void *), void *ctx)
{
    tf_time end = tf_clock_now() + HARNESS_DEADLINE;
    while (!condition(harness, ctx)) {
        assert_true(tf_clock_now() < end);
        harness_turn(harness);
    }
}

size_t harness_connections(const struct harness *harness)
{
    size_t count = 0;
    for (unsigned i = 0; i < harness->count; i++) {
        count += harness->workers[i].connection_count;
    }
    return count;
}

static bool so_many(struct harness *harness, void *ctx)
{
    return harness_connections(harness) == *(size_t *)ctx;
}

void harness_until_connections(struct harness *harness, size_t count)
{
    harness_until(harness, so_many, &count);
}

/* ---- clients ---- */

int client_open(uint16_t port)
{
    struct tf_socket_address address;
    size_t count;
    int fd = -1;
    assert_int_equal(tf_socket_resolve("127.0.0.1", port, false, &address, 1, &count), TF_OK);
    assert_int_equal(tf_socket_connect(&address, &fd), TF_OK);
    return fd;
}

void client_send(struct harness *harness, int fd, const char *text)
{
    struct tf_bytes span = tf_bytes_str(text);
    tf_time end = tf_clock_now() + HARNESS_DEADLINE;
    while (span.length) {
        size_t written = 0;
        enum tf_err err = tf_socket_connected(fd);
        if (!err) {
            err = tf_socket_writev(fd, &span, 1, &written);
        }
        assert_true(err == TF_OK || err == TF_AGAIN);
        assert_true(tf_clock_now() < end);
        span = tf_bytes_of(span.data + written, span.length - written);
        if (harness) {
            harness_turn(harness);
        }
    }
}

struct receiving {
    int fd;
    char *next;
    size_t left;
    bool ended;
};

static bool receive_some(struct harness *harness, void *ctx)
{
    struct receiving *receiving = ctx;
    char more[1];
    (void)harness;
    for (;;) {
        size_t length = 0;
        bool full = receiving->left == 0;
        if (full && receiving->next) {
            return true;
        }
        enum tf_err err = tf_socket_read(receiving->fd, full ? more : receiving->next,
                                         full ? sizeof(more) : receiving->left, &length);
        if (err == TF_AGAIN) {
            return false;
        }
        if (err) {
            receiving->ended = true;
            return true;
        }
        assert_false(full);
        receiving->next += length;
        receiving->left -= length;
    }
}

void client_receive(struct harness *harness, int fd, char *ret, size_t length)
{
    struct receiving receiving = {.fd = fd, .next = ret, .left = length};
    harness_until(harness, receive_some, &receiving);
    assert_false(receiving.ended);
}

void client_ended(struct harness *harness, int fd)
{
    struct receiving receiving = {.fd = fd};
    harness_until(harness, receive_some, &receiving);
    assert_true(receiving.ended);
}

void client_expect(struct harness *harness, int fd, const char *text)
{
    char got[256];
    size_t length = strlen(text);
    assert_true(length <= sizeof(got));
    client_receive(harness, fd, got, length);
    assert_memory_equal(got, text, length);
}
