/*
 * The broker's core under a fuzzer: up to three clients, whose bytes come interleaved, in pieces
 * and with time between them, on one to three shards with their MQTT fronts. The input is a script
 * of steps; after each one the invariants of shards, queues, sessions and machines are checked, and
 * at the end every byte must have come back to the allocator.
 */
#include <stdlib.h>

#include "unit/broker/front_driver.c"

#define CONNS 3u
#define STEPS_MAX 600u

struct script {
    const uint8_t *next, *end;
};

struct host {
    struct driver driver;
    struct driver_conn *conns[CONNS];
};

/* The next byte of the script; 0 at its end. */
static uint8_t take(struct script *script)
{
    return script->next < script->end ? *script->next++ : 0;
}

/* Packets that lead far into the protocol; `?` stands for a byte of the script, made small. */
struct canned {
    uint8_t length;
    const char *bytes;
};

#define CANNED(text)           \
    {                          \
        sizeof(text) - 1, text \
    }

static const struct canned canned[] = {
    /* CONNECT: clean; with a session; with a will; 3.1.1; ids x and y */
    CANNED("\x10\x0e\0\4MQTT\5\2\0\0\0\0\1x"),
    CANNED("\x10\x13\0\4MQTT\5\0\0\0\5\x11\0\0\0\x64\0\1y"),
    CANNED("\x10\x16\0\4MQTT\5\0\0\0\x08\x21\0\2\x11\0\0\0\x64\0\1x"),
    CANNED("\x10\x20\0\4MQTT\5\x2c\0\5\5\x11\0\0\0\x64\0\1y\5\x18\0\0\0\1\0\1w\0\2hi"),
    CANNED("\x10\x0d\0\4MQTT\4\0\0\0\0\1x"),
    CANNED("\x10\x0d\0\4MQTT\5\2\0\0\0\0\0"),
    /* SUBSCRIBE and UNSUBSCRIBE */
    CANNED("\x82\x09\0?\0\0\3a/b?"),
    CANNED("\x82\x0b\0?\2\x0b?\0\3a/+?"),
    CANNED("\x82\x0d\0?\0\0\1#\1\0\3w/#\2"),
    CANNED("\x82\x0c\0?\0\0\6$SYS/#\0"),
    CANNED("\xa2\x08\0?\0\0\3a/b"),
    CANNED("\xa2\x08\0?\0\0\3a/+"),
    /* PUBLISH of each kind */
    CANNED("\x30\x08\0\3a/b\0hi"),
    CANNED("\x31\x08\0\3a/b\0hi"),
    CANNED("\x31\x06\0\3a/c\0"),
    CANNED("\x33\x0a\0\3a/c\0?\0hi"),
    CANNED("\x34\x0a\0\3a/b\0?\0hi"),
    CANNED("\x3d\x0a\0\3a/b\0?\0hi"),
    CANNED("\x32\x0f\0\3a/b\0?\5\2\0\0\0?hi"),
    CANNED("\x30\x0b\0\3a/b\3\x23\0?hi"),
    CANNED("\x30\x06\0\0\3\x23\0?"),
    /* acknowledgements and the rest */
    CANNED("\x40\2\0?"),
    CANNED("\x50\2\0?"),
    CANNED("\x50\3\0?\x80"),
    CANNED("\x62\2\0?"),
    CANNED("\x70\2\0?"),
    CANNED("\xc0\0"),
    CANNED("\xe0\0"),
    CANNED("\xe0\1\4"),
    CANNED("\xe0\7\0\5\x11\0\0\0?"),
};

static void feed_canned(struct driver_conn *conn, struct script *script)
{
    const struct canned *packet = &canned[take(script) % TF_COUNT(canned)];
    uint8_t bytes[64];
    memcpy(bytes, packet->bytes, packet->length);
    for (size_t i = 2; i < packet->length; i++) {
        if (bytes[i] == '?') {
            bytes[i] = 1 + take(script) % 4;
        }
    }
    driver_feed(conn, bytes, packet->length);
}

/* A PUBLISH whose body comes in runs, or goes out by reference. */
static void feed_large(struct driver_conn *conn, struct script *script)
{
    uint8_t choice = take(script);
    size_t length = choice == 255 ? 70000 : choice * 40u;
    uint8_t head[] = {0x30, 0, 0, 0, 0, 3, 'a', '/', 'b', 0};
    size_t left = 6 + length;
    for (size_t i = 1; i <= 3; i++, left >>= 7) {
        head[i] = (uint8_t)((left & 127) | (i < 3 ? 128 : 0));
    }
    uint8_t *body = calloc(1, length + 1);
    conn->read_most = TF_MAX(conn->read_most, 512u); /* else it takes too long */
    driver_feed(conn, head, sizeof(head));
    driver_feed(conn, body, length);
    free(body);
}

static void feed_raw(struct driver_conn *conn, struct script *script)
{
    size_t length = take(script);
    length = TF_MIN(length, (size_t)(script->end - script->next));
    if (length) {
        driver_feed(conn, script->next, length);
        script->next += length;
    }
}

static void reopen(struct host *host, unsigned i, uint8_t shard)
{
    if (host->conns[i]->ended) {
        host->conns[i] = driver_open(&host->driver, shard % host->driver.count);
    }
}

static void step(struct host *host, struct script *script)
{
    static const tf_time spans[] = {1, TF_SECOND / 2, TF_SECOND, 20 * TF_SECOND};
    uint8_t op = take(script);
    unsigned i = (op >> 4) % CONNS;
    struct driver_conn *conn = host->conns[i];
    switch (op & 15) {
    case 0:
    case 1:
        feed_raw(conn, script);
        break;
    case 2:
    case 3:
    case 4:
    case 5:
        feed_canned(conn, script);
        break;
    case 6:
        feed_large(conn, script);
        break;
    case 7:
        driver_advance(&host->driver, spans[(op >> 4) % TF_COUNT(spans)]);
        break;
    case 8:
        driver_cut(conn);
        break;
    case 9:
    case 10:
        reopen(host, i, take(script));
        break;
    case 11:
        conn->read_most = 1 + take(script) * 4u;
        break;
    case 12:
        conn->window = conn->window == SIZE_MAX ? take(script) : conn->window;
        driver_window(conn, op & 128 ? SIZE_MAX : 100);
        break;
    case 13:
        driver_run(&host->driver);
        break;
    default:
        (void)driver_turn(&host->driver, (op >> 4) % host->driver.count);
        driver_check(&host->driver);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct host host;
    struct script script = {data, data + size};
    uint8_t options = take(&script);
    driver_init(&host.driver, 1 + options % DRIVER_SHARDS);
    if (options & 8) {
        host.driver.config.max_queued_messages = 3;
        host.driver.config.max_inflight_messages = 2;
    }
    host.driver.config.max_retained_messages = options & 16 ? 1 : 1000;
    host.driver.config.queue_qos0_messages = options & 32;
    driver_start(&host.driver);
    for (unsigned i = 0; i < CONNS; i++) {
        host.conns[i] = driver_open(&host.driver, i % host.driver.count);
    }
    for (unsigned i = 0; i < STEPS_MAX && script.next < script.end; i++) {
        step(&host, &script);
    }
    driver_run(&host.driver);
    driver_stop(&host.driver);
    return 0;
}
