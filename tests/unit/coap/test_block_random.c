/*
 * Bodies in blocks and observers under random steps, both roles at once: good and bad messages of a
 * few peers, answers now, later or never, tables with room for hardly anything. After each step
 * the invariants hold; in the end nothing is left, what was lent has come back once, and each
 * observer has ended once.
 */
#include "unit/coap/probe.h"

#include "base/random.h"
#include "base/util.h"

#define SEEDS 400
#define STEPS 300
#define MAX 64

struct world {
    struct tf_random random;
    uint64_t open[MAX], observers[MAX], calls[MAX]; /* what is live, as far as is known */
    size_t open_count, observer_count, call_count;
    uint64_t lent, returned, observed, ended;
    struct tf_bytes pieces[STEPS][2]; /* of lent bodies */
    size_t piece_count;
};

static uint8_t bytes[5000];

static uint32_t below(struct world *world, uint32_t count)
{
    return (uint32_t)tf_random_below(&world->random, count);
}

static uint64_t take(uint64_t *list, size_t *count, size_t place)
{
    uint64_t handle = list[place];

    list[place] = list[--*count];
    return handle;
}

static struct tf_bytes *some_body(struct world *world, uint32_t length)
{
    struct tf_bytes *pieces = world->pieces[world->piece_count++ % STEPS];

    pieces[0] = tf_bytes_of(bytes, length / 2);
    pieces[1] = tf_bytes_of(bytes, length - length / 2);
    return pieces;
}

static void respond(struct probe *probe, uint64_t request)
{
    static const uint8_t codes[] = {TF_COAP_CONTENT, TF_COAP_CONTENT,   TF_COAP_CONTENT,
                                    TF_COAP_VALID,   TF_COAP_NOT_FOUND, TF_COAP_CREATED};
    struct world *world = probe->user;
    uint8_t number = (uint8_t)below(world, 3);
    struct tf_coap_option etag = {TF_COAP_ETAG, tf_bytes_of(&number, 1)};
    struct tf_coap_response response = {
        .code = codes[below(world, 6)],
        .options = &etag,
        .option_count = below(world, 2),
        .body = some_body(world, below(world, below(world, 3) ? 200 : sizeof(bytes))),
        .body_count = below(world, 3) ? 2 : 0,
        .owner = below(world, 4) ? world->lent + 1 : 0,
        .observe = below(world, 8) != 0,
    };
    uint64_t observer = 0;
    bool borrowed = false;

    if (tf_coap_respond(probe->endpoint, request, &response, &observer, &borrowed, probe->now)) {
        tf_coap_ignore(probe->endpoint, request, probe->now);
        return;
    }
    world->lent += borrowed;
    world->observed += observer != 0;
    if (observer && world->observer_count < MAX) {
        world->observers[world->observer_count++] = observer;
    } else if (observer) {
        tf_coap_unobserve(probe->endpoint, observer);
        world->ended++;
    }
}

static void on_event(struct probe *probe, const struct tf_coap_event *event)
{
    struct world *world = probe->user;

    if (probe->seen_count > PROBE_EVENTS - 10 || probe->sent_count > PROBE_SENT - 10)
        probe_clear(probe);
    if (event->type == TF_COAP_EVENT_REQUEST && !below(world, 4) && world->open_count < MAX)
        world->open[world->open_count++] = event->handle;
    else if (event->type == TF_COAP_EVENT_REQUEST ||
             (event->type == TF_COAP_EVENT_BODY && (!event->more || !below(world, 5))))
        respond(probe, event->handle);
    else if (event->type == TF_COAP_EVENT_RETURNED)
        world->returned++;
    else if (event->type == TF_COAP_EVENT_OBSERVER_GONE)
        world->ended++;
    for (size_t i = 0; i < world->observer_count; i++) {
        if (event->type == TF_COAP_EVENT_OBSERVER_GONE && world->observers[i] == event->handle)
            (void)take(world->observers, &world->observer_count, i);
    }
}

static void step_notify(struct probe *probe)
{
    struct world *world = probe->user;

    if (!world->observer_count)
        return;
    size_t place = below(world, (uint32_t)world->observer_count);
    struct tf_coap_response response = {
        .code = below(world, 20) ? TF_COAP_CONTENT : TF_COAP_NOT_FOUND,
        .body = some_body(world, below(world, below(world, 3) ? 60 : 4000)),
        .body_count = 2,
        .sequence = (uint32_t)world->piece_count,
    };
    enum tf_err err =
        tf_coap_notify(probe->endpoint, world->observers[place], &response, probe->now);
    if (!err && response.code != TF_COAP_CONTENT) {
        (void)take(world->observers, &world->observer_count, place);
        world->ended++;
    } else if (!below(world, 8)) {
        tf_coap_unobserve(probe->endpoint, take(world->observers, &world->observer_count, place));
        world->ended++;
    }
    probe_run(probe);
}

static void step_call(struct probe *probe, uint32_t peer)
{
    struct world *world = probe->user;
    uint64_t handle;
    struct tf_coap_request request = {
        .method = (uint8_t)(1 + below(world, 7)),
        .non = !below(world, 3),
        .observe = !below(world, 3),
        .block_size = (uint16_t)(below(world, 2) ? 0 : 16u << below(world, 7)),
        .body = some_body(world, below(world, 3000)),
        .body_count = below(world, 2) ? 2 : 0,
    };

    if (world->call_count < MAX &&
        tf_coap_call(probe->endpoint, &peer, &request, &handle, probe->now) == TF_OK)
        world->calls[world->call_count++] = handle;
    if (world->call_count && !below(world, 3))
        tf_coap_cancel(
            probe->endpoint,
            take(world->calls, &world->call_count, below(world, (uint32_t)world->call_count)),
            below(world, 2) != 0, probe->now);
    probe_run(probe);
}

/* Answers one of the last messages that the endpoint sent, more or less to the point. */
static void step_answer(struct probe *probe, uint32_t peer)
{
    static const uint8_t codes[] = {TF_COAP_CONTENT, TF_COAP_CONTENT,    TF_COAP_CONTINUE,
                                    TF_COAP_CHANGED, TF_COAP_INCOMPLETE, TF_COAP_TOO_LARGE};
    struct world *world = probe->user;
    size_t last = TF_MIN(probe->sent_count, 8);
    struct packet packet;

    if (!last)
        return;
    const struct probe_sent *sent =
        &probe->sent[probe->sent_count - 1 - below(world, (uint32_t)last)];
    int64_t block1 = probe_uint(&sent->message, TF_COAP_BLOCK1);
    int64_t block2 = probe_uint(&sent->message, TF_COAP_BLOCK2);
    uint32_t size = block2 >= 0 ? 16u << (block2 & 7) : 16u << below(world, 7);
    uint32_t value = block2 >= 0 ? (uint32_t)block2 & ~8u : below(world, 7);
    bool more = below(world, 2) != 0;
    packet_start_id(&packet, below(world, 2) ? TF_COAP_ACK : (enum tf_coap_type)below(world, 2),
                    codes[below(world, 6)], sent->message.message_id, sent->message.token);
    if (below(world, 2))
        packet_uint(&packet, TF_COAP_ETAG, 1 + below(world, 2));
    if (!below(world, 3))
        packet_uint(&packet, TF_COAP_OBSERVE, below(world, 1 << 24));
    if (below(world, 3))
        packet_uint(&packet, TF_COAP_BLOCK2,
                    below(world, 10) ? value | (uint32_t)more << 3 : below(world, 1 << 24));
    if (below(world, 3))
        packet_uint(&packet, TF_COAP_BLOCK1,
                    block1 >= 0 && below(world, 10) ? (uint32_t)block1 : below(world, 1 << 24));
    packet_payload(&packet, bytes, TF_MIN(more ? size : below(world, size), 1500u));
    packet_feed(probe, below(world, 8) ? sent->peer : peer, &packet);
}

static void step_request(struct probe *probe, uint32_t peer)
{
    struct world *world = probe->user;
    uint8_t method = below(world, 2) ? TF_COAP_GET : (uint8_t)(1 + below(world, 7));
    uint32_t szx = below(world, 3) ? 1 : below(world, 8), size = 16u << szx;
    bool more = below(world, 2) != 0, blocks = method != TF_COAP_GET && below(world, 2);
    struct packet packet;

    packet_start(probe, &packet, below(world, 3) ? TF_COAP_CON : TF_COAP_NON, method,
                 below(world, 4));
    if (!below(world, 3))
        packet_uint(&packet, TF_COAP_OBSERVE, below(world, 2));
    if (below(world, 2))
        packet_text(&packet, TF_COAP_URI_PATH, "a");
    if (!below(world, 3))
        packet_block(&packet, TF_COAP_BLOCK2, below(world, below(world, 3) ? 4 : 1 << 20), false,
                     szx);
    if (blocks)
        packet_block(&packet, TF_COAP_BLOCK1, below(world, below(world, 9) ? 4 : 1 << 20), more,
                     szx);
    if (!below(world, 6))
        packet_uint(&packet, TF_COAP_SIZE1, below(world, 4000));
    if (!below(world, 6))
        packet_text(&packet, TF_COAP_REQUEST_TAG, below(world, 2) ? "x" : "");
    if (!blocks)
        size = below(world, 40);
    else if (!more || !below(world, 20))
        size = below(world, size + 2);
    packet_payload(&packet, bytes, TF_MIN(size, 1200u));
    for (uint32_t times = below(world, 5) ? 1 : 2; times; times--)
        packet_feed(probe, peer, &packet);
}

static void step(struct probe *probe)
{
    struct world *world = probe->user;
    uint32_t peer = 1 + below(world, 4), choice = below(world, 12);

    if (choice == 0) {
        probe_pass(probe, below(world, 5) ? below(world, 3000) * TF_MILLISECOND
                                          : below(world, 300) * TF_SECOND);
    } else if (choice == 1 && probe->sent_count) {
        const struct probe_sent *sent = &probe->sent[below(world, (uint32_t)probe->sent_count)];
        probe_feed_empty(probe, peer, below(world, 2) ? TF_COAP_ACK : TF_COAP_RST,
                         sent->message.message_id);
    } else if (choice <= 3) {
        step_notify(probe);
    } else if (choice == 4 && world->open_count) {
        respond(probe,
                take(world->open, &world->open_count, below(world, (uint32_t)world->open_count)));
        probe_run(probe);
    } else if (choice == 5) {
        step_call(probe, peer);
    } else if (choice <= 7) {
        step_answer(probe, peer);
    } else {
        step_request(probe, peer);
    }
}

static struct probe *start(struct world *world)
{
    struct tf_coap_endpoint_config config = probe_config();

    config.transfers = 1 + below(world, 4);
    config.observers = 1 + below(world, 6);
    config.requests = 1 + below(world, 6);
    config.peers = 4 + below(world, 6);
    config.exchanges = 1 + below(world, 6);
    config.calls = 1 + below(world, 5);
    config.buffers = 20 + below(world, 60);
    config.replies = 1 + below(world, 10);
    config.block_szx = (uint8_t)below(world, 7);
    config.nstart = (uint16_t)below(world, 3);
    config.notify_con = below(world, 2) != 0;
    config.notify_con_after = below(world, 4);
    config.body_max = below(world, 2) ? below(world, 3000) : 0;
    if (!below(world, 3))
        config.features.deduplication = NULL;
    struct probe *probe = probe_new(&config, on_event);
    probe->user = world;
    return probe;
}

static void run(uint64_t seed)
{
    struct world *world = calloc(1, sizeof(*world));

    tf_random_init(&world->random, seed);
    struct probe *probe = start(world);
    for (unsigned i = 0; i < STEPS; i++)
        step(probe);
    while (world->open_count)
        respond(probe, take(world->open, &world->open_count, 0));
    while (world->call_count)
        tf_coap_cancel(probe->endpoint, take(world->calls, &world->call_count, 0), false,
                       probe->now);
    for (; world->observer_count; world->ended++)
        tf_coap_unobserve(probe->endpoint, take(world->observers, &world->observer_count, 0));
    probe_clear(probe);
    probe_pass(probe, 2000 * TF_SECOND);
    const struct tf_coap_counters *now = tf_coap_endpoint_counters(probe->endpoint);
    if (now->requests || now->calls || now->exchanges || now->transfers || now->observers ||
        world->lent != world->returned || world->observed != world->ended)
        fail_msg("seed %u leaves something behind", (unsigned)seed);
    probe_free(probe);
    free(world);
}

static void test_random(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
