/*
 * The AMQP front against peers that say anything at any time: frames that are well formed each, in
 * an order that is not, from seeds, with a store and without. Only invariants are checked, and that
 * the next is served.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "unit/broker/amqp_driver.h"
#include "unit/store/sim_disk.h"

#include <trefoil/amqp_message.h>

enum { CONNS = 3, SEEDS = 120, STEPS = 150 };

static const struct tf_bytes none = {NULL, 0};

struct monkey {
    struct driver *driver;
    struct driver_conn *conns[CONNS];
    uint32_t ids[CONNS];
    uint32_t open[CONNS]; /* the handle of a message that is begun, and one more; 0: none */
    struct tf_random random;
    unsigned came; /* transfers */
};

static uint32_t some(struct monkey *monkey, uint32_t below)
{
    uint32_t number;
    tf_random_fill(&monkey->random, &number, sizeof(number));
    return number % below;
}

static const char *address_of(struct monkey *monkey)
{
    static const char *const addresses[] = {"a",           "b",         "queue://a", "queue://b",
                                            "queue://c",   "topic://a", "topic://#", "a/+",
                                            "$management", "$SYS/#",    "",          "queue://$x"};
    return addresses[some(monkey, TF_COUNT(addresses))];
}

/* Tags as raw_transfer makes them, of the first deliveries. */
static struct tf_bytes write_map(struct monkey *monkey, uint8_t *buffer, size_t size)
{
    struct tf_writer writer = tf_writer_of(buffer, size);
    size_t begin = tf_amqp_write_map_begin(&writer);
    uint32_t count = 0;
    for (uint8_t i = 0; i < 12; i++) {
        const uint8_t tag[4] = {0, 0, 0, i};
        if (some(monkey, 2)) {
            tf_amqp_write_binary(&writer, tf_bytes_of(tag, sizeof(tag)));
            tf_amqp_write_null(&writer);
            count += 2;
        }
    }
    tf_amqp_write_map_end(&writer, begin, count);
    return tf_bytes_of(buffer, tf_writer_length(&writer));
}

/* A sender that wants its terminus to keep what is unsettled. */
static void attach_lasting(struct monkey *monkey, unsigned at, uint32_t handle, const char *name,
                           const char *address)
{
    uint8_t map[256];
    struct tf_amqp_attach attach = far_to(address);
    attach.name = tf_bytes_str(name);
    attach.handle = handle;
    attach.role = TF_AMQP_SENDER;
    attach.has_initial_delivery_count = true;
    attach.rcv_settle_mode = some(monkey, 2) ? TF_AMQP_RCV_FIRST : TF_AMQP_RCV_SECOND;
    attach.target.durable = TF_AMQP_DURABLE_UNSETTLED_STATE;
    attach.incomplete_unsettled = !some(monkey, 4);
    attach.unsettled = write_map(monkey, map, sizeof(map));
    raw_frame(monkey->conns[at], 0,
              &(struct tf_amqp_performative){.type = TF_AMQP_ATTACH_FRAME, .attach = attach}, none);
}

/* A receiver that waits for the broker to settle. */
static void attach_second(struct monkey *monkey, unsigned at, uint32_t handle, const char *name,
                          const char *address)
{
    struct tf_amqp_attach attach = far_from(address);
    attach.name = tf_bytes_str(name);
    attach.handle = handle;
    attach.role = TF_AMQP_RECEIVER;
    attach.rcv_settle_mode = TF_AMQP_RCV_SECOND;
    raw_frame(monkey->conns[at], 0,
              &(struct tf_amqp_performative){.type = TF_AMQP_ATTACH_FRAME, .attach = attach}, none);
}

/* Links that can be used: senders on handles 0 to 2, receivers on 3 to 5. */
static void attach_some(struct monkey *monkey, unsigned at)
{
    static const char *const addresses[] = {"queue://a", "b", "topic://c",
                                            "queue://a", "b", "topic://#"};
    static const char *const names[] = {"s0", "s1", "s2", "r0", "r1", "r2"};
    monkey->ids[at] = monkey->open[at] = 0;
    for (uint32_t i = 0; i < TF_COUNT(addresses); i++) {
        if (i < 3 && some(monkey, 2)) {
            attach_lasting(monkey, at, i, names[i], addresses[i]);
            continue;
        }
        if (i >= 3 && some(monkey, 2)) {
            attach_second(monkey, at, i, names[i], addresses[i]);
            continue;
        }
        raw_attach(monkey->conns[at], i, names[i], i < 3 ? TF_AMQP_SENDER : TF_AMQP_RECEIVER,
                   addresses[i]);
    }
    far_run(monkey->driver); /* there is credit now */
}

static void connect(struct monkey *monkey, unsigned at)
{
    static const char *const ids[] = {"one", "two"};
    monkey->conns[at] =
        raw_open(monkey->driver, some(monkey, monkey->driver->count), ids[some(monkey, 2)], true);
    monkey->conns[at]->read_most = some(monkey, 3) ? SIZE_MAX : 1 + some(monkey, 100);
    attach_some(monkey, at);
}

static void send_attach(struct monkey *monkey, struct driver_conn *conn)
{
    static const char *const names[] = {"x", "y", "z", "s0", "r0"};
    const char *address = address_of(monkey);
    struct tf_amqp_attach attach = some(monkey, 2) ? far_to(address) : far_from(address);
    attach.name = tf_bytes_str(names[some(monkey, TF_COUNT(names))]);
    attach.handle = 6 + some(monkey, 50);
    attach.has_initial_delivery_count = attach.role == TF_AMQP_SENDER;
    attach.rcv_settle_mode = some(monkey, 4) ? TF_AMQP_RCV_FIRST : TF_AMQP_RCV_SECOND;
    attach.snd_settle_mode = (enum tf_amqp_snd_settle_mode)some(monkey, 3);
    attach.source.dynamic = attach.role == TF_AMQP_RECEIVER && !some(monkey, 6);
    attach.source.durable = (enum tf_amqp_durability)some(monkey, 3);
    attach.target.durable = (enum tf_amqp_durability)some(monkey, 3);
    attach.source.timeout_s = some(monkey, 2);
    attach.source.distribution = (enum tf_amqp_distribution)some(monkey, 3);
    if (!some(monkey, 12)) {
        attach.target = (struct tf_amqp_terminus){.type = TF_AMQP_COORDINATOR};
    }
    raw_frame(conn, 0,
              &(struct tf_amqp_performative){.type = TF_AMQP_ATTACH_FRAME, .attach = attach}, none);
}

static void send_flow(struct monkey *monkey, struct driver_conn *conn)
{
    struct tf_amqp_flow flow = {.has_next_incoming_id = true,
                                .next_incoming_id = some(monkey, 60) ? 0 : some(monkey, 20),
                                .incoming_window = some(monkey, 5) ? 1000 : some(monkey, 3),
                                .outgoing_window = 1000,
                                .has_handle = some(monkey, 8) != 0,

                                .handle = some(monkey, 20) ? 3 + some(monkey, 3) : some(monkey, 9),
                                .has_delivery_count = true,
                                .delivery_count = some(monkey, 5),
                                .has_link_credit = true,
                                .link_credit = some(monkey, 30),
                                .drain = !some(monkey, 4),
                                .echo = !some(monkey, 4)};
    if (!flow.has_handle) {
        flow.has_delivery_count = flow.has_link_credit = flow.drain = false;
    }
    raw_frame(conn, 0, &(struct tf_amqp_performative){.type = TF_AMQP_FLOW_FRAME, .flow = flow},
              none);
}

static void send_transfer(struct monkey *monkey, unsigned at)
{
    uint8_t data[1700];
    struct tf_writer writer = tf_writer_of(data, sizeof(data));
    struct tf_amqp_properties properties = {.has_to = true,
                                            .to = tf_bytes_str(address_of(monkey)),
                                            .has_reply_to = true,
                                            .reply_to = tf_bytes_str(address_of(monkey))};
    size_t length = some(monkey, 3) ? some(monkey, 20) : some(monkey, 1500);
    tf_amqp_write_properties(&writer, &properties);
    tf_amqp_write_data_head(&writer, length);
    memset(data + tf_writer_length(&writer), 'x', length);
    length += tf_writer_length(&writer);
    bool more = !some(monkey, 8);
    uint32_t handle = some(monkey, 40) ? some(monkey, 3) : some(monkey, 9);
    if (monkey->open[at]) { /* the rest of it, after which it may be no message */
        handle = monkey->open[at] - 1;
    }
    raw_transfer(monkey->conns[at], handle, monkey->ids[at], some(monkey, 2), more,
                 tf_bytes_of(data, some(monkey, 60) ? length : length / 2));
    monkey->open[at] = more ? handle + 1 : 0;
    monkey->ids[at] += !more;
}

/* A delivery that it may have sent on another connection. */
static void send_resumed(struct monkey *monkey, unsigned at)
{
    const uint8_t tag[4] = {0, 0, 0, (uint8_t)some(monkey, 12)};
    struct tf_amqp_transfer transfer = {.handle = some(monkey, 3),
                                        .has_delivery_id = true,
                                        .delivery_id = monkey->ids[at],
                                        .has_delivery_tag = true,
                                        .delivery_tag = tf_bytes_of(tag, sizeof(tag)),
                                        .has_settled = true,
                                        .settled = some(monkey, 2),
                                        .aborted = !some(monkey, 6),
                                        .resume = true};
    if (!monkey->open[at]) {
        monkey->ids[at]++;
        raw_frame(
            monkey->conns[at], 0,
            &(struct tf_amqp_performative){.type = TF_AMQP_TRANSFER_FRAME, .transfer = transfer},
            none);
    }
}

static void send_disposition(struct monkey *monkey, struct driver_conn *conn)
{
    uint8_t map[] = {0xC1, 6, 2, 0xA3, 1, 'k', 0x54, 1};
    struct tf_amqp_disposition disposition = {
        .role = some(monkey, 4) ? TF_AMQP_RECEIVER : TF_AMQP_SENDER,
        .first = some(monkey, 40),
        .has_last = true,
        .settled = some(monkey, 2),
        .state = {.type = (enum tf_amqp_state_type)some(monkey, TF_AMQP_STATE_DECLARED),
                  .delivery_failed = some(monkey, 2),
                  .undeliverable_here = some(monkey, 2)}};
    disposition.last = disposition.first + some(monkey, 5);
    if (disposition.state.type == TF_AMQP_STATE_MODIFIED && some(monkey, 2)) {
        disposition.state.annotations = tf_bytes_of(map, sizeof(map));
    }
    raw_frame(
        conn, 0,
        &(struct tf_amqp_performative){.type = TF_AMQP_DISPOSITION, .disposition = disposition},
        none);
}

static void send_end(struct monkey *monkey, unsigned at)
{
    struct driver_conn *conn = monkey->conns[at];
    uint32_t which = some(monkey, 60);
    struct tf_amqp_performative frame = {
        .type = TF_AMQP_DETACH,
        .detach = {.handle = some(monkey, 4) ? 6 + some(monkey, 50) : some(monkey, 6),
                   .closed = some(monkey, 2)}};
    if (which == 0) {
        frame = (struct tf_amqp_performative){.type = TF_AMQP_CLOSE};
    } else if (which < 4) {
        frame = (struct tf_amqp_performative){.type = TF_AMQP_END};
        raw_frame(conn, 0, &frame, none);
        frame = (struct tf_amqp_performative){
            .type = TF_AMQP_BEGIN_FRAME,
            .begin = {.incoming_window = 50, .outgoing_window = 50, .handle_max = UINT32_MAX}};
    }
    raw_frame(conn, 0, &frame, none);
    if (frame.type == TF_AMQP_BEGIN_FRAME) {
        attach_some(monkey, at);
    }
}

/* Begins anew when the broker has ended the session, or (mostly) one of its links. */
static void heed(struct monkey *monkey, unsigned at)
{
    struct driver_conn *conn = monkey->conns[at];
    struct tf_amqp_performative frame;
    bool renew = false;
    while (raw_next(conn, &frame, NULL)) {
        renew |= frame.type == TF_AMQP_END || (frame.type == TF_AMQP_DETACH && some(monkey, 4));
        monkey->came += frame.type == TF_AMQP_TRANSFER_FRAME;
    }
    if (renew && !conn->ended) {
        raw_frame(conn, 0, &(struct tf_amqp_performative){.type = TF_AMQP_END}, none);
        raw_frame(
            conn, 0,
            &(struct tf_amqp_performative){
                .type = TF_AMQP_BEGIN_FRAME,
                .begin = {.incoming_window = 50, .outgoing_window = 50, .handle_max = UINT32_MAX}},
            none);
        attach_some(monkey, at);
        while (raw_next(conn, &frame, NULL)) {
        }
    }
}

static void delete_queue(struct monkey *monkey)
{
    static const char *const names[] = {"a", "b", "c"};
    struct tf_command_owner owner = {.done = NULL};
    struct tf_queue_command command = {.type = TF_QUEUE_DELETE,
                                       .name = tf_bytes_str(names[some(monkey, 3)])};
    unsigned shard = some(monkey, monkey->driver->count);
    tf_list_init(&owner.commands);
    if (tf_shard_queue_command(&monkey->driver->nodes[shard].shard, &command, &owner, 0) == TF_OK) {
        tf_command_owner_release(&owner);
    }
}

static void step(struct monkey *monkey)
{
    unsigned at = some(monkey, CONNS);
    struct driver_conn *conn = monkey->conns[at];
    uint32_t what = some(monkey, 64);
    heed(monkey, at);
    if (conn->ended || what == 0) {
        driver_cut(conn);
        connect(monkey, at);
    } else if (what < 16) {
        send_attach(monkey, conn);
    } else if (what < 30) {
        send_flow(monkey, conn);
    } else if (what < 44) {
        send_transfer(monkey, at);
    } else if (what < 46) {
        send_resumed(monkey, at);
    } else if (what < 54) {
        send_disposition(monkey, conn);
    } else if (what < 58) {
        send_end(monkey, at);
    } else if (what == 58) {
        delete_queue(monkey);
    } else if (what == 59) {
        conn->window = some(monkey, 2) ? SIZE_MAX : some(monkey, 3000);
        driver_window(conn, conn->window);
    } else {
        driver_advance(monkey->driver, some(monkey, 3) * TF_SECOND);
    }
    for (uint32_t i = some(monkey, 4); i; i--) {
        (void)driver_turn(monkey->driver, some(monkey, monkey->driver->count));
    }
}

static unsigned play(uint64_t seed, unsigned shards, size_t fail)
{
    struct monkey monkey = {.driver = malloc(sizeof(*monkey.driver))};
    struct sim_disk disk;
    amqp_driver_init(monkey.driver, shards);
    sim_disk_init(&disk, seed);
    monkey.driver->disk = seed % 4 < 2 ? &disk.disk : NULL;
    monkey.driver->config.listeners[AMQP_LISTENER].amqp_max_unsettled = 8;
    driver_start(monkey.driver);
    tf_random_init(&monkey.random, seed);
    for (unsigned i = 0; i < CONNS; i++) {
        connect(&monkey, i);
    }
    for (unsigned i = 0; i < STEPS; i++) {
        if (fail && i % 10 == 0) {
            test_alloc_fail(&monkey.driver->memory, 1 + some(&monkey, (uint32_t)fail));
        }
        step(&monkey);
        monkey.driver->store_rests = !fail && !some(&monkey, 3);
    }
    monkey.driver->store_rests = false;
    test_alloc_fail(&monkey.driver->memory, 0);
    far_run(monkey.driver);
    struct far_session *session = far_open(monkey.driver, 0, "after");
    struct far_link *sender = far_sender(session, "queue://after", NULL);
    struct far_link *link = far_receiver(session, "queue://after", 5, NULL);
    assert_true(far_text(sender, "x"));
    far_expect(link, "x");
    driver_stop(monkey.driver);
    sim_disk_release(&disk);
    free(monkey.driver);
    return monkey.came;
}

static void test_anything(void **state)
{
    (void)state;
    unsigned came = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        came += play(seed, seed % 2 ? 3 : 1, 0);
    }
    assert_true(came > SEEDS * 2); /* it has not only been refused */
}

static void test_anything_with_little_memory(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        (void)play(seed, seed % 2 ? 3 : 1, 40);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_anything),
        cmocka_unit_test(test_anything_with_little_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
