/*
 * The virtual network of rig.h.
 */
#include "rig.h"

#include <stdlib.h>
#include <string.h>

#include <trefoil/coap_message.h>

void rig_random(void *ctx, void *data, size_t length)
{
    tf_random_fill(ctx, data, length);
}

void rig_init(struct rig *rig, uint64_t seed)
{
    memset(rig, 0, sizeof(*rig));
    tf_random_init(&rig->random, seed);
    rig->now = 1000 * TF_SECOND;
    rig->delay = TF_MILLISECOND;
}

static void start(struct rig *rig, struct rig_node *node)
{
    size_t size = tf_coap_endpoint_size(&node->config);

    assert_true(size > 0);
    node->memory = malloc(size);
    memset(node->memory, 0xA5, size); /* nothing may count on zeros */
    assert_int_equal(
        tf_coap_endpoint_init(&node->endpoint, node->memory, size, &node->config, rig->now), TF_OK);
    node->buffer = malloc(node->buffer_size);
    assert_int_equal(tf_coap_endpoint_lend(node->endpoint, node->buffer, node->buffer_size), TF_OK);
    assert_true(tf_coap_endpoint_check(node->endpoint));
}

struct rig_node *rig_add(struct rig *rig, const struct tf_coap_endpoint_config *config,
                         rig_on_event *on_event)
{
    assert_true(rig->nodes < RIG_NODES);
    struct rig_node *node = &rig->node[rig->nodes++];
    node->id = rig->nodes;
    node->config = *config;
    tf_random_init(&node->random, tf_random_next(&rig->random));
    if (!node->config.random_ctx) {
        node->config.random = rig_random;
        node->config.random_ctx = &node->random;
    }
    node->on_event = on_event;
    node->buffer_size = 4 * tf_coap_output_min(&node->config);
    start(rig, node);
    return node;
}

static void stop(struct rig_node *node)
{
    free(node->memory);
    free(node->buffer);
}

void rig_restart(struct rig *rig, struct rig_node *node)
{
    stop(node);
    start(rig, node);
}

void rig_release(struct rig *rig)
{
    for (unsigned i = 0; i < rig->nodes; i++)
        stop(&rig->node[i]);
    for (size_t i = 0; i < rig->flight_count; i++)
        free(rig->flights[i].bytes);
    free(rig->flights);
}

/* ---- the network ---- */

static void fly(struct rig *rig, uint32_t from, uint32_t to, uint8_t flags, struct tf_bytes bytes)
{
    if (rig->flight_count == rig->flight_capacity) {
        rig->flight_capacity = 2 * rig->flight_capacity + 64;
        rig->flights = realloc(rig->flights, rig->flight_capacity * sizeof(*rig->flights));
    }
    struct rig_flight *flight = &rig->flights[rig->flight_count++];
    *flight = (struct rig_flight){rig->now + rig->delay,         rig->sent++,  from, to,
                                  (uint8_t)(flags | rig->flags), bytes.length, NULL};
    if (rig->jitter)
        flight->at += tf_random_below(&rig->random, rig->jitter);
    flight->bytes = malloc(bytes.length + 1);
    memcpy(flight->bytes, bytes.data, bytes.length);
}

static void transmit(struct rig *rig, uint32_t from, uint32_t to, struct tf_bytes bytes)
{
    if (rig->filter && !rig->filter(rig, from, to, bytes))
        return;
    if (to >= RIG_GROUP) {
        for (unsigned i = 0; i < rig->nodes; i++) {
            if (rig->node[i].id != from)
                fly(rig, from, rig->node[i].id, TF_DATAGRAM_MULTICAST, bytes);
        }
        return;
    }
    if (to == 0 || to > rig->nodes) {
        struct rig_captured *captured =
            &rig->captured[(rig->captured_first + rig->captured_count) % RIG_CAPTURED];
        assert_true(rig->captured_count < RIG_CAPTURED && bytes.length <= sizeof(captured->bytes));
        rig->captured_count++;
        *captured = (struct rig_captured){from, to, rig->now, bytes.length, {0}};
        memcpy(captured->bytes, bytes.data, bytes.length);
        return;
    }
    if (tf_random_chance(&rig->random, rig->loss_percent, 100))
        return;
    fly(rig, from, to, 0, bytes);
    if (tf_random_chance(&rig->random, rig->duplicate_percent, 100))
        fly(rig, from, to, 0, bytes);
}

static bool pull(struct rig *rig, struct rig_node *node)
{
    struct tf_coap_event event;
    bool any = false;

    while (tf_coap_endpoint_event(node->endpoint, &event)) {
        any = true;
        if (node->on_event)
            node->on_event(rig, node, &event);
        assert_true(tf_coap_endpoint_check(node->endpoint));
    }
    return any;
}

static bool send(struct rig *rig, struct rig_node *node)
{
    struct tf_datagram out[4];
    bool any = false;
    size_t count;

    while ((count = tf_coap_endpoint_output(node->endpoint, out, 4))) {
        any = true;
        for (size_t i = 0; i < count; i++) {
            uint32_t to;
            memcpy(&to, out[i].path, sizeof(to));
            if (!node->down)
                transmit(rig, node->id, to, out[i].bytes);
        }
        tf_coap_endpoint_sent(node->endpoint, count, rig->now);
        assert_true(tf_coap_endpoint_check(node->endpoint));
    }
    return any;
}

void rig_flush(struct rig *rig)
{
    bool any;

    do {
        any = false;
        for (unsigned i = 0; i < rig->nodes; i++) {
            any |= pull(rig, &rig->node[i]);
            any |= send(rig, &rig->node[i]);
        }
    } while (any);
}

/* Gives bytes to a node in memory of their exact size, so that a sanitizer sees what is read past
 * them; then takes the memory away. */
static void arrive(struct rig *rig, struct rig_node *node, uint32_t from, uint8_t flags,
                   const void *bytes, size_t length)
{
    uint8_t *exact = malloc(length ? length : 1);
    struct tf_datagram in = {&from, tf_bytes_of(exact, length), flags};

    memcpy(exact, bytes, length);
    if (!node->down) {
        while (tf_coap_endpoint_input(node->endpoint, &in, rig->now) == TF_AGAIN) {
            bool moved = pull(rig, node);
            moved |= send(rig, node);
            assert_true(moved);
        }
        assert_true(tf_coap_endpoint_check(node->endpoint));
        (void)pull(rig, node);
    }
    free(exact);
}

void rig_inject_flags(struct rig *rig, struct rig_node *node, uint32_t from, uint8_t flags,
                      const void *bytes, size_t length)
{
    arrive(rig, node, from, flags, bytes, length);
    rig_flush(rig);
}

void rig_inject(struct rig *rig, struct rig_node *node, uint32_t from, const void *bytes,
                size_t length)
{
    rig_inject_flags(rig, node, from, rig->flags, bytes, length);
}

/* ---- time ---- */

/* The flight that arrives first, or the count. */
static size_t first_flight(const struct rig *rig)
{
    size_t first = rig->flight_count;

    for (size_t i = 0; i < rig->flight_count; i++) {
        if (first == rig->flight_count || rig->flights[i].at < rig->flights[first].at ||
            (rig->flights[i].at == rig->flights[first].at &&
             rig->flights[i].order < rig->flights[first].order))
            first = i;
    }
    return first;
}

/* One step in time, not past `until`. False: nothing happens before. */
static bool step(struct rig *rig, tf_time until)
{
    size_t first = first_flight(rig);
    tf_time at = first < rig->flight_count ? rig->flights[first].at : TF_TIME_NEVER;
    struct rig_node *ticking = NULL;

    for (unsigned i = 0; i < rig->nodes; i++) {
        tf_time deadline = tf_coap_endpoint_deadline(rig->node[i].endpoint);
        if (deadline < at) {
            at = deadline;
            ticking = &rig->node[i];
        }
    }
    if (at > until || at == TF_TIME_NEVER)
        return false;
    if (at > rig->now)
        rig->now = at;
    if (ticking) {
        tf_coap_endpoint_tick(ticking->endpoint, rig->now);
        assert_true(tf_coap_endpoint_check(ticking->endpoint));
    } else {
        struct rig_flight flight = rig->flights[first];
        rig->flights[first] = rig->flights[--rig->flight_count];
        arrive(rig, &rig->node[flight.to - 1], flight.from, flight.flags, flight.bytes,
               flight.length);
        free(flight.bytes);
    }
    rig_flush(rig);
    return true;
}

void rig_run(struct rig *rig, tf_time until)
{
    rig_flush(rig);
    while (step(rig, until)) {
    }
    rig->now = until;
}

void rig_run_for(struct rig *rig, tf_time span)
{
    rig_run(rig, rig->now + span);
}

void rig_run_until(struct rig *rig, const bool *done, tf_time limit)
{
    tf_time until = rig->now + limit;

    rig_flush(rig);
    while (!*done)
        assert_true(step(rig, until));
}

/* ---- strangers ---- */

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 87 : -1;
}

/* The bytes of a text; *mask is 0 where any byte will do. */
static size_t from_hex(const char *hex, uint8_t *ret, uint8_t *mask)
{
    size_t length = 0;

    for (; *hex; hex++) {
        if (*hex == ' ')
            continue;
        if (*hex == '?') {
            mask[length] = 0;
            ret[length++] = 0;
        } else {
            mask[length] = 0xFF;
            ret[length++] = (uint8_t)(digit(hex[0]) << 4 | digit(hex[1]));
        }
        hex++;
    }
    return length;
}

void rig_inject_hex(struct rig *rig, struct rig_node *node, uint32_t from, const char *hex)
{
    uint8_t bytes[2048], mask[2048];
    size_t length = from_hex(hex, bytes, mask);

    rig_inject(rig, node, from, bytes, length);
}

const struct rig_captured *rig_take(struct rig *rig)
{
    if (!rig->captured_count)
        return NULL;
    const struct rig_captured *captured = &rig->captured[rig->captured_first];
    rig->captured_first = (rig->captured_first + 1) % RIG_CAPTURED;
    rig->captured_count--;
    return captured;
}

static void print(const char *what, const uint8_t *bytes, size_t length)
{
    print_error("%s:", what);
    for (size_t i = 0; i < length; i++)
        print_error(" %02x", bytes[i]);
    print_error("\n");
}

void rig_expect_hex_at(struct rig *rig, const char *hex, const char *file, int line)
{
    uint8_t bytes[2048], mask[2048];
    size_t length = from_hex(hex, bytes, mask);
    const struct rig_captured *captured = rig_take(rig);
    bool same = captured ? captured->length == length : !length;

    for (size_t i = 0; same && i < length; i++)
        same = (captured->bytes[i] & mask[i]) == bytes[i];
    if (same)
        return;
    print("wanted", bytes, length);
    print("got", captured ? captured->bytes : NULL, captured ? captured->length : 0);
    _fail(file, line);
}
