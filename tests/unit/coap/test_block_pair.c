/*
 * Block-wise transfers and observations between two endpoints of ours, over a network that loses,
 * doubles and overtakes: bodies arrive whole and of one representation, unsafe requests run once,
 * what was lent comes back once, and an observer ends with the last value.
 */
#include "unit/coap/rig.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "unit/coap/probe.h"

#define BODY_MAX 12000u
#define CALLS 24u
#define OWNERS 256u

/* A body on its way in, at either end. */
struct incoming {
    bool used;
    unsigned seed;
    size_t length;
    uint32_t sequence;
    uint8_t bytes[BODY_MAX];
};

struct server {
    struct incoming bodies[64];
    unsigned version; /* of what GET gives */
    size_t size;
    unsigned change_permille; /* that it changes with a GET */
    uint8_t representation[BODY_MAX];
    struct tf_bytes piece;
    size_t runs[CALLS]; /* of each call's unsafe request */
    size_t lent[OWNERS], returned[OWNERS];
    uint8_t lent_bytes[OWNERS][BODY_MAX / 2];
    struct tf_bytes lent_piece[OWNERS];
    size_t owners, cancelled;
    uint64_t observer;
    bool due;
};

struct client {
    struct incoming answers[CALLS];
    uint8_t sent[CALLS][BODY_MAX];
    struct tf_bytes piece[CALLS];
    uint8_t method[CALLS];
    bool done[CALLS], failed[CALLS];
    unsigned value; /* the last that an observation gave */
    size_t ended;
    enum tf_err err;
    bool over;
};

static struct server *server;
static struct client *client;

/* The first byte of a body tells its seed: pattern_fill starts with seed * 31. */
static unsigned seed_of(struct tf_bytes body)
{
    unsigned seed = 0;

    while (body.length && (uint8_t)(seed * 31) != body.data[0])
        seed++;
    return seed;
}

static void take_run(struct incoming *incoming, const struct tf_coap_event *event)
{
    if (!event->offset)
        incoming->length = 0;
    assert_int_equal(event->offset, incoming->length);
    assert_true(incoming->length + event->body.length <= BODY_MAX);
    if (event->body.length)
        memcpy(incoming->bytes + incoming->length, event->body.data, event->body.length);
    incoming->length += event->body.length;
}

/* ---- the server ---- */

static void serve_get(struct rig *rig, struct rig_node *node, const struct tf_coap_event *event)
{
    uint8_t buffer[4];

    if (tf_random_chance(&rig->random, server->change_permille, 1000)) {
        server->version = (server->version + 1) % 200;
        server->size = 1 + tf_random_below(&rig->random, BODY_MAX - 1);
    }
    pattern_fill(server->representation, server->size, server->version);
    server->piece = tf_bytes_of(server->representation, server->size);
    struct tf_coap_option etag = {TF_COAP_ETAG, tf_coap_uint_value(server->version + 1, buffer)};
    struct tf_coap_response response = {.code = TF_COAP_CONTENT,
                                        .options = &etag,
                                        .option_count = 1,
                                        .body = &server->piece,
                                        .body_count = 1,
                                        .observe = event->observe,
                                        .sequence = server->version};
    assert_int_equal(tf_coap_respond(node->endpoint, event->handle, &response, &server->observer,
                                     NULL, rig->now),
                     TF_OK);
}

/* A POST gives its body back, lent; a PUT gives nothing. */
static void serve_body(struct rig *rig, struct rig_node *node, const struct tf_coap_event *event,
                       struct incoming *incoming)
{
    struct tf_coap_response response = {.code = TF_COAP_CHANGED};
    bool borrowed = false;
    size_t owner = server->owners;

    assert_true(pattern_is(tf_bytes_of(incoming->bytes, incoming->length), 0,
                           seed_of(tf_bytes_of(incoming->bytes, incoming->length))));
    server->runs[incoming->seed]++;
    if (event->message.code == TF_COAP_POST) {
        assert_true(owner < OWNERS);
        size_t length = TF_MIN(incoming->length, BODY_MAX / 2);
        memcpy(server->lent_bytes[owner], incoming->bytes, length);
        server->lent_piece[owner] = tf_bytes_of(server->lent_bytes[owner], length);
        response.code = TF_COAP_CONTENT;
        response.body = &server->lent_piece[owner];
        response.body_count = 1;
        response.owner = ++server->owners;
    }
    assert_int_equal(
        tf_coap_respond(node->endpoint, event->handle, &response, NULL, &borrowed, rig->now),
        TF_OK);
    server->lent[owner] = borrowed;
    incoming->used = false;
}

static void serve(struct rig *rig, struct rig_node *node, const struct tf_coap_event *event)
{
    struct incoming *incoming = event->user;
    struct tf_bytes query;

    switch (event->type) {
    case TF_COAP_EVENT_REQUEST:
        if (event->message.code == TF_COAP_GET) {
            serve_get(rig, node, event);
            return;
        }
        for (incoming = server->bodies; incoming->used; incoming++)
            assert_true(incoming < server->bodies + 63);
        incoming->used = true;
        assert_true(tf_coap_option_find(event->message.options, TF_COAP_URI_QUERY, &query));
        incoming->seed = query.data[0];
        assert_int_equal(tf_coap_set_user(node->endpoint, event->handle, incoming), TF_OK);
        /* fall through */
    case TF_COAP_EVENT_BODY:
        take_run(incoming, event);
        if (!event->more)
            serve_body(rig, node, event, incoming);
        return;
    case TF_COAP_EVENT_CANCELLED:
        server->cancelled++;
        if (incoming)
            incoming->used = false;
        return;
    case TF_COAP_EVENT_RETURNED:
        server->returned[event->owner - 1]++;
        return;
    case TF_COAP_EVENT_OBSERVER_READY:
        server->due = true;
        return;
    case TF_COAP_EVENT_OBSERVER_GONE:
        if (event->handle == server->observer)
            server->observer = 0;
        return;
    default:
        fail();
    }
}

/* ---- the client ---- */

static void on_client(struct rig *rig, struct rig_node *node, const struct tf_coap_event *event)
{
    size_t index = (size_t)(uintptr_t)event->user;

    (void)rig, (void)node;
    if (event->type == TF_COAP_EVENT_FAILED) {
        client->failed[index] = true;
        client->err = event->err;
    } else {
        assert_int_equal(event->type, TF_COAP_EVENT_RESPONSE);
        take_run(&client->answers[index], event);
        assert_false(client->done[index] || client->failed[index]);
        if (event->more && !event->last)
            return;
        struct tf_bytes body = {client->answers[index].bytes, client->answers[index].length};
        assert_true(pattern_is(body, 0, seed_of(body)));
        if (event->observe) {
            /* What was fetched may be newer than what the notification was of. */
            client->value = seed_of(body);
            assert_true(client->value >= event->sequence);
            return;
        }
        client->done[index] = tf_coap_class(event->message.code) == 2;
        client->failed[index] = !client->done[index];
    }
    client->ended++;
    client->over = client->ended == CALLS;
}

static void call(struct rig *rig, struct rig_node *node, size_t index, uint8_t method,
                 size_t length, uint16_t block_size)
{
    uint8_t name = (uint8_t)index;
    uint32_t to = 1;
    uint64_t handle;
    struct tf_coap_option query = {TF_COAP_URI_QUERY, {&name, 1}};
    struct tf_coap_request request = {
        .method = method,
        .non = false,
        .block_size = block_size,
        .options = &query,
        .option_count = 1,
        .body = &client->piece[index],
        .body_count = 1,
        .user = (void *)(uintptr_t)index,
    };

    client->method[index] = method;
    pattern_fill(client->sent[index], length, (unsigned)index + 1);
    client->piece[index] = tf_bytes_of(client->sent[index], length);
    assert_int_equal(tf_coap_call(node->endpoint, &to, &request, &handle, rig->now), TF_OK);
}

/* ---- the runs ---- */

static struct rig *network(uint64_t seed, unsigned loss, struct tf_coap_endpoint_config *config)
{
    struct rig *rig = malloc(sizeof(*rig));

    server = calloc(1, sizeof(*server));
    client = calloc(1, sizeof(*client));
    server->size = BODY_MAX;
    rig_init(rig, seed);
    rig->loss_percent = loss;
    rig->duplicate_percent = loss;
    rig->jitter = loss ? 200 * TF_MILLISECOND : 0;
    *config = rig_config();
    config->body_max = BODY_MAX;
    return rig;
}

static void done(struct rig *rig)
{
    rig_release(rig);
    free(rig);
    free(server);
    free(client);
}

static void check_empty(const struct rig_node *node)
{
    const struct tf_coap_counters *now = tf_coap_endpoint_counters(node->endpoint);

    assert_int_equal(now->requests, 0);
    assert_int_equal(now->calls, 0);
    assert_int_equal(now->exchanges, 0);
    assert_int_equal(now->transfers, 0);
}

static size_t run_mixed(uint64_t seed, unsigned loss, uint16_t nstart, uint32_t transfers)
{
    static const uint8_t methods[] = {TF_COAP_GET, TF_COAP_PUT, TF_COAP_POST};
    struct tf_coap_endpoint_config config;
    struct rig *rig = network(seed, loss, &config);
    size_t good = 0;

    config.transfers = transfers;
    config.block_szx = (uint8_t)(3 + seed % 4);
    config.buffers = 20000;
    config.replies = 10000; /* each block is kept against duplicates */
    config.calls = CALLS;
    config.requests = CALLS;
    config.exchanges = 2 * CALLS;
    config.nstart = nstart;
    server->change_permille = loss ? 1 : 0;
    rig_add(rig, &config, serve);
    config.block_szx = (uint8_t)(3 + seed / 4 % 4);
    struct rig_node *node = rig_add(rig, &config, on_client);
    for (size_t i = 0; i < CALLS; i++) {
        uint8_t method = methods[tf_random_below(&rig->random, 3)];
        size_t length = method == TF_COAP_GET ? 0 : tf_random_below(&rig->random, BODY_MAX);
        uint16_t block = (uint16_t)(16u << tf_random_below(&rig->random, 7));
        call(rig, node, i, method, length, tf_random_chance(&rig->random, 1, 2) ? 0 : block);
    }
    rig_run_until(rig, &client->over, 100000 * TF_SECOND);
    rig_run_for(rig, 1000 * TF_SECOND);
    for (size_t i = 0; i < CALLS; i++) {
        assert_true(client->done[i] != client->failed[i]);
        assert_true(server->runs[i] <= 1 || !client->done[i]);
        good += client->done[i];
        if (client->done[i] && client->method[i] == TF_COAP_POST)
            assert_true(client->answers[i].length == 0 ||
                        seed_of(tf_bytes_of(client->answers[i].bytes, client->answers[i].length)) ==
                            i + 1);
    }
    for (size_t i = 0; i < OWNERS; i++)
        assert_int_equal(server->lent[i], server->returned[i]);
    check_empty(&rig->node[0]);
    check_empty(&rig->node[1]);
    done(rig);
    return good;
}

/* Nothing is lost: all arrive. */
static void test_calm(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++)
        assert_int_equal(run_mixed(seed, 0, 1, CALLS), CALLS);
}

/* Several bodies at once between the same two, over a bad network. */
static void test_lossy(void **state)
{
    size_t good = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++)
        good += run_mixed(seed, 10, 4, CALLS);
    assert_true(good >= 6 * CALLS * 3 / 4);
}

/* Hardly room for transfers: some are refused; nothing leaks. */
static void test_scarce(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++)
        (void)run_mixed(seed, 5, 8, 2);
}

/* Registers for the representation and lets it change 40 times; then it stays. */
static void run_observe(uint64_t seed, unsigned loss, bool large)
{
    struct tf_coap_endpoint_config config;
    struct rig *rig = network(seed, loss, &config);
    struct tf_coap_request request = {.method = TF_COAP_GET, .observe = true};
    uint32_t to = 1;
    uint64_t handle;

    config.block_szx = 4;
    config.notify_con = seed % 2 == 0;
    config.notify_con_after = 3;
    struct rig_node *node = rig_add(rig, &config, serve);
    struct rig_node *observer = rig_add(rig, &config, on_client);
    server->size = large ? 1000 : 5;
    assert_int_equal(tf_coap_call(observer->endpoint, &to, &request, &handle, rig->now), TF_OK);
    rig_run_for(rig, 60 * TF_SECOND);
    for (unsigned change = 0; change < 400 && !client->ended; change++) {
        if (change < 40) {
            server->version++;
            server->due = true;
        }
        if (server->due && server->observer) {
            uint8_t buffer[4];
            pattern_fill(server->representation, server->size, server->version);
            server->piece = tf_bytes_of(server->representation, server->size);
            struct tf_coap_option etag = {TF_COAP_ETAG,
                                          tf_coap_uint_value(server->version + 1, buffer)};
            struct tf_coap_response response = {.code = TF_COAP_CONTENT,
                                                .options = &etag,
                                                .option_count = 1,
                                                .body = &server->piece,
                                                .body_count = 1,
                                                .sequence = server->version};
            server->due = false;
            assert_int_not_equal(
                tf_coap_notify(node->endpoint, server->observer, &response, rig->now), TF_MISUSE);
        }
        rig_run_for(rig, change < 40 ? 700 * TF_MILLISECOND : 10 * TF_SECOND);
    }
    if (client->ended) /* only if a message was lost all five times */
        assert_true(loss && client->err == TF_AGAIN);
    else
        assert_int_equal(client->value, server->version);
    tf_coap_cancel(observer->endpoint, handle, false, rig->now);
    rig_run_for(rig, 1000 * TF_SECOND);
    check_empty(observer);
    done(rig);
}

static void test_observe(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        run_observe(seed, 0, seed % 3 == 0);
        run_observe(seed, 20, false);
        run_observe(seed, 10, true);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calm),
        cmocka_unit_test(test_lossy),
        cmocka_unit_test(test_scarce),
        cmocka_unit_test(test_observe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
