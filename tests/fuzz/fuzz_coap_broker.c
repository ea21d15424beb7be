/*
 * The CoAP front under a fuzzer: datagrams from up to six paths, some of them made option by
 * option, some as the script has them, with time between them, on one to three shards, while an
 * MQTT client publishes. The input is a script of steps; after each one the invariants of shards,
 * fronts and machines are checked, and at the end every byte must have come back to the allocator.
 */
#include <stdlib.h>

#include "unit/broker/front_driver.c"

#include "unit/broker/coap_driver.c"

#define PEERS 6u
#define STEPS_MAX 400u
#define LARGE (1u << 20) /* bytes of a block */

struct script {
    const uint8_t *next, *end;
};

struct host {
    struct driver driver;
    struct coap_peer *peers[PEERS];
    struct driver_conn *mqtt;
};

/*
 * An endpoint's memory is megabytes, of which a script touches little: filling it with rubbish
 * would take more time than all the rest.
 */
static void *take_large(void *ctx, size_t size)
{
    struct test_alloc *memory = ctx;
    if (size < LARGE) {
        return test_alloc_take(ctx, size);
    }
    uint8_t *block = calloc(1, TEST_ALLOC_HEAD + size);
    tf_assert(block);
    memory->blocks++;
    memory->bytes += size;
    return block + TEST_ALLOC_HEAD;
}

static void give_large(void *ctx, void *data, size_t size)
{
    struct test_alloc *memory = ctx;
    if (size < LARGE) {
        test_alloc_give(ctx, data, size);
        return;
    }
    memory->blocks--;
    memory->bytes -= size;
    free((uint8_t *)data - TEST_ALLOC_HEAD);
}

/* The next byte of the script; 0 at its end. */
static uint8_t take(struct script *script)
{
    return script->next < script->end ? *script->next++ : 0;
}

static void send_raw(struct coap_peer *peer, struct script *script)
{
    size_t length = take(script);
    length = TF_MIN(length, (size_t)(script->end - script->next));
    coap_send_bytes(peer, tf_bytes_of(script->next, length));
    script->next += length;
}

/* An ETag: a small version, so that some are right. */
static struct tf_bytes etag_of(uint8_t *memory, struct script *script)
{
    memory[0] = take(script);
    return tf_bytes_of(memory, memory[0] % 3 ? 1 : 0);
}

/* A request that leads far into the front. */
static void send_request(struct coap_peer *peer, struct script *script)
{
    static const char *const paths[] = {"a", "a/b", "a/c", "$x", ".well-known/core", "rd", "a/b/c"};
    static const uint16_t formats[] = {TF_COAP_FORMAT_TEXT,       TF_COAP_FORMAT_JSON,
                                       TF_COAP_FORMAT_JSON_PATCH, TF_COAP_FORMAT_MERGE_PATCH,
                                       TF_COAP_FORMAT_LINK,       65000};
    static const char *const bodies[] = {"", "x", "[]", "{\"a\":1}",
                                         "[{\"op\":\"add\",\"path\":\"/-\",\"value\":1}]"};
    static const uint8_t run[1024] = {'0'};
    uint8_t what = take(script), with = take(script), how = take(script), etag;
    struct tf_bytes match;
    struct coap_ask ask = {.code = 1 + what % 7,
                           .non = what & 8,
                           .path = paths[(what >> 4) % TF_COUNT(paths)],
                           .token = how & 1 ? 1 + how % 3 : 0,
                           .text = bodies[(how >> 1) % TF_COUNT(bodies)]};
    ask.observe = with & 1 ? 1 + (how >> 6) % 3 : 0;
    ask.format = with & 2 ? COAP_FORMAT(formats[(how >> 2) % TF_COUNT(formats)]) : 0;
    ask.accept = with & 4 ? COAP_FORMAT(formats[(how >> 3) % TF_COUNT(formats)]) : 0;
    ask.if_none_match = with & 8;
    if (with & 16) {
        match = etag_of(&etag, script);
        ask.if_match = &match;
        ask.if_match_count = 1;
    }
    if (with & 32) { /* a block of a body: its place, whether more follow, its size */
        uint8_t block = take(script), szx = block % 7;
        bool more = block & 128;
        ask.text = NULL;
        ask.body = tf_bytes_of(run, more ? 16u << szx : block % 17);
        ask.block1 = COAP_BLOCK((block >> 3) % 4, more, szx);
    }
    if (with & 64) {
        uint8_t block = take(script);
        ask.block2 = COAP_BLOCK((block >> 3) % 32, 0, block % 8);
    }
    ask.query = with & 128 ? "href=/a*" : NULL;
    coap_send(peer, &ask);
}

/* Answers the last message that came, by ACK or RST, or forgets it. */
static void reply(struct coap_peer *peer, uint8_t how)
{
    struct tf_list_node *node = tf_list_pop_back(&peer->came);
    if (!node) {
        return;
    }
    struct coap_got *got = tf_container_of(node, struct coap_got, node);
    uint16_t id = got->message.message_id;
    const uint8_t empty[] = {how & 1 ? 0x60 : 0x70, 0, (uint8_t)(id >> 8), (uint8_t)id};
    if (how % 3 != 2) {
        coap_send_bytes(peer, tf_bytes_of(empty, sizeof(empty)));
    }
    free(got);
}

static void forget_all(struct coap_peer *peer)
{
    struct tf_list_node *node;
    while ((node = tf_list_pop_front(&peer->came))) {
        free(tf_container_of(node, struct coap_got, node));
    }
}

/* An MQTT client publishes: retained or not, a value or nothing. */
static void publish(struct host *host, uint8_t how)
{
    static const uint8_t connect[] = "\x10\x0e\0\4MQTT\5\2\0\0\0\0\1x";
    uint8_t packet[] = {0x30, 8, 0, 3, 'a', '/', 'b', 0, 'h', 'i'};
    if (!host->mqtt || host->mqtt->ended) {
        host->mqtt = driver_open(&host->driver, 0);
        driver_feed(host->mqtt, connect, sizeof(connect) - 1);
    }
    packet[0] |= how & 1;
    packet[6] = how & 2 ? 'b' : 'c';
    packet[1] = how & 4 ? 6 : 8;
    driver_feed(host->mqtt, packet, packet[1] + 2u);
}

static void step(struct host *host, struct script *script)
{
    static const tf_time spans[] = {1, TF_SECOND / 2, 3 * TF_SECOND, 300 * TF_SECOND};
    uint8_t op = take(script);
    struct coap_peer *peer = host->peers[(op >> 4) % PEERS];
    unsigned shard = (op >> 4) % host->driver.count;
    switch (op & 15) {
    case 0:
    case 1:
        send_raw(peer, script);
        break;
    case 2:
    case 3:
    case 4:
    case 5:
    case 6:
        send_request(peer, script);
        break;
    case 7:
        driver_advance(&host->driver, spans[(op >> 4) % TF_COUNT(spans)]);
        break;
    case 8:
        publish(host, op >> 4);
        break;
    case 9:
        reply(peer, take(script));
        break;
    case 10:
        peer->id -= 1 + (op >> 4) % 3; /* a duplicate, or an id that has been used */
        break;
    case 11:
        coap_driver_stick(&host->driver, shard, op & 128);
        break;
    case 12:
        if (take(script) == 255) {
            coap_driver_close(&host->driver, shard);
        }
        break;
    case 13:
        driver_run(&host->driver);
        forget_all(peer);
        break;
    default:
        (void)driver_turn(&host->driver, shard);
        driver_check(&host->driver);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct host host;
    struct script script = {data, data + size};
    uint8_t options = take(&script);
    coap_driver_init(&host.driver, 1 + options % DRIVER_SHARDS);
    host.driver.memory.alloc.alloc = take_large;
    host.driver.memory.alloc.free = give_large;
    host.driver.config.coap_max_peers = options & 16 ? 3 : 50;
    host.driver.config.coap_max_replies = options & 32 ? 2 : 50;
    host.driver.config.coap_max_bodies = 3;
    host.driver.config.listeners[1].coap_max_observers = options & 64 ? 2 : 30;
    host.driver.config.max_retained_messages = options & 128 ? 1 : 1000;
    driver_start(&host.driver);
    host.mqtt = NULL;
    for (unsigned i = 0; i < PEERS; i++) {
        host.peers[i] = coap_peer_new(&host.driver, i % host.driver.count);
        host.peers[i]->flags = options & 8 && i % 2 ? 0 : TF_DATAGRAM_TRUSTED;
    }
    for (unsigned i = 0; i < STEPS_MAX && script.next < script.end; i++) {
        step(&host, &script);
    }
    for (unsigned i = 0; i < host.driver.count; i++) {
        coap_driver_stick(&host.driver, i, false);
    }
    driver_run(&host.driver);
    driver_stop(&host.driver);
    return 0;
}
