/*
 * The broker's core under a fuzzer: up to three AMQP clients, whose bytes come interleaved, in
 * pieces and with time between them, on one to three shards with their AMQP fronts over the real
 * routing. The input is a script of steps; frames that lead far into the protocol are made here, by
 * its bytes. After each step the invariants of shards, queues and machines are checked, and at the
 * end every byte must have come back to the allocator.
 */
#include <stdlib.h>

#include "unit/broker/front_driver.c"

#include "broker/amqp_front_internal.h"

#define CONNS 3u
#define LISTENER 2u
#define STEPS_MAX 600u

struct script {
    const uint8_t *next, *end;
};

struct host {
    struct driver driver;
    struct driver_conn *conns[CONNS];
    uint32_t ids[CONNS]; /* of deliveries */
};

/* The next byte of the script; 0 at its end. */
static uint8_t take(struct script *script)
{
    return script->next < script->end ? *script->next++ : 0;
}

/* ---- the front beside MQTT's ---- */

static void started_here(struct driver_node *node)
{
    node->transports = NULL;
}

static bool read_nothing(struct driver_node *node)
{
    (void)node;
    return false; /* streams are read by the driver itself */
}

static void nothing(struct driver_node *node)
{
    (void)node;
}

static void check_machines(struct driver_node *node)
{
    struct amqp_front *front = tf_container_of(node->beside, struct amqp_front, front);
    struct tf_list_node *i = tf_list_first(&front->conns);
    for (; i; i = tf_list_next(&front->conns, i)) {
        const struct amqp_conn *conn = tf_container_of(i, struct amqp_conn, in_front);
        tf_assert(tf_amqp_check(conn->machine));
    }
}

static const struct driver_beside amqp_beside = {.type = &tf_amqp_front_type,
                                                 .started = started_here,
                                                 .read = read_nothing,
                                                 .write = nothing,
                                                 .check = check_machines,
                                                 .stop = nothing};

/* ---- frames ---- */

static const char *const addresses[] = {
    "a",           "a/b",           "queue://q", "topic://a/b", "topic://#", "/queues/q%2fr",
    "$management", "queue://small", "+",         "$SYS/#",      "",          "topic://a/+"};

static struct tf_bytes address_of(struct script *script)
{
    return tf_bytes_str(addresses[take(script) % TF_COUNT(addresses)]);
}

static void feed_frame(struct driver_conn *conn, struct script *script,
                       const struct tf_amqp_performative *performative, struct tf_bytes payload)
{
    uint8_t buffer[1024];
    struct tf_writer writer = tf_writer_of(buffer, sizeof(buffer));
    uint16_t channel = take(script) % 8 == 7;
    tf_amqp_frame_write(&writer, channel, performative, payload.length);
    driver_feed(conn, buffer, tf_writer_length(&writer));
    driver_feed(conn, payload.data, payload.length);
}

static void feed_opening(struct driver_conn *conn, struct script *script)
{
    static const char sasl[] = "AMQP\3\1\0\0\0\0\0\x18\2\1\0\0\0\x53\x41\xc0\x0b\1\xa3\x08"
                               "ANONYMOUS";
    static const struct tf_bytes none = {NULL, 0};
    uint8_t choice = take(script);
    struct tf_amqp_performative open = {
        .type = TF_AMQP_OPEN,
        .open = {.container_id = tf_bytes_str(choice & 1 ? "x" : "y"),
                 .max_frame_size = choice & 2 ? 512 : 65536,
                 .channel_max = choice & 4 ? 0 : 10,
                 .idle_time_out_ms = choice & 8 ? 5000 : 0}};
    struct tf_amqp_performative begin = {.type = TF_AMQP_BEGIN_FRAME,
                                         .begin = {.incoming_window = choice & 16 ? 2 : 1000,
                                                   .outgoing_window = 1000,
                                                   .handle_max = choice & 32 ? 1 : 100}};
    if (choice & 64) {
        driver_feed(conn, sasl, sizeof(sasl) - 1);
    }
    driver_feed(conn, "AMQP\0\1\0\0", 8);
    feed_frame(conn, script, &open, none);
    feed_frame(conn, script, &begin, none);
}

static void fill_attach(struct script *script, struct tf_amqp_attach *ret)
{
    uint8_t choice = take(script), more = take(script);
    bool receive = choice & 1;
    struct tf_amqp_terminus node = {
        .type = receive ? TF_AMQP_SOURCE : TF_AMQP_TARGET,
        .has_address = more % 8 != 7,
        .address = address_of(script),
        .dynamic = (choice & 2) && (more & 1),
        .durable = choice & 4 ? TF_AMQP_DURABLE_UNSETTLED_STATE : TF_AMQP_DURABLE_NONE,
        .timeout_s = more,
        .distribution =
            receive && (choice & 8) ? TF_AMQP_DISTRIBUTION_COPY : TF_AMQP_DISTRIBUTION_NONE};
    *ret = (struct tf_amqp_attach){
        .name = tf_bytes_str(more & 16 ? "one" : "two"),
        .handle = (choice >> 4) & 3,
        .role = receive ? TF_AMQP_RECEIVER : TF_AMQP_SENDER,
        .snd_settle_mode = choice & 64 ? TF_AMQP_SND_SETTLED : TF_AMQP_SND_MIXED,
        .rcv_settle_mode = choice & 128 ? TF_AMQP_RCV_SECOND : TF_AMQP_RCV_FIRST,
        .source = {.type = TF_AMQP_SOURCE},
        .target = {.type = TF_AMQP_TARGET},
        .has_initial_delivery_count = !receive};
    if (receive) {
        ret->source = node;
    } else {
        ret->target = node;
    }
}

static void fill_state(struct script *script, struct tf_amqp_state *ret)
{
    uint8_t choice = take(script);
    *ret = (struct tf_amqp_state){.type = (enum tf_amqp_state_type)(choice % 6),
                                  .delivery_failed = choice & 8,
                                  .undeliverable_here = choice & 16};
    if (choice & 32) {
        ret->annotations = tf_bytes_str("\xc1\x07\2\xa3\1x\xa1\1y");
    }
}

static void feed_transfer(struct host *host, unsigned i, struct script *script)
{
    static const char *const ends[] = {"ordinary", "", "longer than most of what comes here"};
    uint8_t choice = take(script), body[512];
    struct tf_writer writer = tf_writer_of(body, sizeof(body));
    bool follows = choice & 8;
    struct tf_amqp_header header = {
        .priority = TF_AMQP_PRIORITY_DEFAULT, .has_ttl = choice & 16, .ttl_ms = 800};
    struct tf_amqp_properties properties = {.has_to = true,
                                            .to = address_of(script),
                                            .has_reply_to = true,
                                            .reply_to = tf_bytes_str("queue://q"),
                                            .message_id = tf_bytes_str("\x44")};
    tf_amqp_write_header(&writer, &header);
    tf_amqp_write_properties(&writer, &properties);
    tf_amqp_write_section(&writer, TF_AMQP_APPLICATION_PROPERTIES);
    size_t begin = tf_amqp_write_map_begin(&writer);
    static const char *const operations[] = {"READ", "PURGE", "MOVE", "DELETE", "CREATE"};
    const char *pairs[] = {"operation", operations[take(script) % TF_COUNT(operations)],
                           "type",      "queue",
                           "name",      choice & 32 ? "q" : "a",
                           "to",        "a/b"};
    for (size_t k = 0; k < TF_COUNT(pairs); k++) {
        tf_amqp_write_string(&writer, tf_bytes_str(pairs[k]));
    }
    tf_amqp_write_map_end(&writer, begin, TF_COUNT(pairs));
    tf_amqp_write_value_string(&writer, tf_bytes_str(ends[choice % 3]));
    struct tf_amqp_performative transfer = {.type = TF_AMQP_TRANSFER_FRAME,
                                            .transfer = {.handle = choice & 3,
                                                         .has_delivery_id = !follows,
                                                         .delivery_id = host->ids[i],
                                                         .has_delivery_tag = !follows,
                                                         .delivery_tag = tf_bytes_str("tag"),
                                                         .has_settled = true,
                                                         .settled = choice & 64,
                                                         .more = choice & 128,
                                                         .aborted = take(script) % 16 == 15}};
    host->ids[i] += !follows;
    feed_frame(host->conns[i], script, &transfer, tf_bytes_of(body, tf_writer_length(&writer)));
}

static void feed_known(struct host *host, unsigned i, struct script *script)
{
    static const struct tf_bytes none = {NULL, 0};
    struct tf_amqp_performative p;
    uint8_t kind = take(script), choice;
    memset(&p, 0, sizeof(p));
    switch (kind % 8) {
    case 0:
    case 1:
        p.type = TF_AMQP_ATTACH_FRAME;
        fill_attach(script, &p.attach);
        break;
    case 2:
    case 3:
        choice = take(script);
        p.type = TF_AMQP_FLOW_FRAME;
        p.flow = (struct tf_amqp_flow){.has_next_incoming_id = true,
                                       .next_incoming_id = take(script),
                                       .incoming_window = choice & 64 ? 3 : 5000,
                                       .outgoing_window = 100,
                                       .has_handle = choice % 16 != 15,
                                       .handle = choice & 3,
                                       .has_delivery_count = true,
                                       .delivery_count = take(script) % 8,
                                       .has_link_credit = true,
                                       .link_credit = take(script),
                                       .drain = choice & 4,
                                       .echo = choice & 8};
        break;
    case 4:
    case 5:
        p.type = TF_AMQP_DISPOSITION;
        choice = take(script);
        p.disposition =
            (struct tf_amqp_disposition){.role = choice & 1 ? TF_AMQP_SENDER : TF_AMQP_RECEIVER,
                                         .first = take(script) % 16,
                                         .has_last = choice & 2,
                                         .last = choice >> 4,
                                         .settled = choice & 4};
        fill_state(script, &p.disposition.state);
        break;
    case 6:
        p.type = TF_AMQP_DETACH;
        choice = take(script);
        p.detach = (struct tf_amqp_detach){.handle = choice & 3, .closed = choice & 4};
        break;
    default:
        choice = take(script);
        p.type = choice % 4 == 0   ? TF_AMQP_CLOSE
                 : choice % 4 == 1 ? TF_AMQP_BEGIN_FRAME
                                   : TF_AMQP_END;
        if (p.type == TF_AMQP_BEGIN_FRAME) {
            p.begin = (struct tf_amqp_begin){
                .incoming_window = 100, .outgoing_window = 100, .handle_max = 10};
        }
        break;
    }
    feed_frame(host->conns[i], script, &p, none);
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

/* ---- steps ---- */

static void reopen(struct host *host, unsigned i, struct script *script)
{
    if (host->conns[i]->ended) {
        host->conns[i] =
            driver_open_beside(&host->driver, take(script) % host->driver.count, LISTENER);
        host->ids[i] = 0;
        feed_opening(host->conns[i], script);
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
        feed_raw(conn, script);
        break;
    case 1:
    case 2:
    case 3:
    case 4:
        feed_known(host, i, script);
        break;
    case 5:
    case 6:
        feed_transfer(host, i, script);
        break;
    case 7:
        driver_advance(&host->driver, spans[(op >> 4) % TF_COUNT(spans)]);
        break;
    case 8:
        if (op & 128) {
            driver_cut(conn);
        }
        break;
    case 9:
    case 10:
        reopen(host, i, script);
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

static void configure(struct tf_config *config, uint8_t options)
{
    static const char text[] = "queue small\nqueue_max_messages 2\nqueue_dead_letter a\n"
                               "queue_max_attempts 2\nqueue_message_ttl 3\n";
    struct tf_config_report report;
    tf_config_report_init(&report);
    enum tf_err err = tf_config_parse_text(config, "fuzz", text, sizeof(text) - 1, NULL, &report);
    tf_assert(err == TF_OK);
    err = tf_config_add_url(config, "amqp://127.0.0.1:0", &report);
    tf_assert(err == TF_OK);
    err = tf_config_finish(config, &report);
    tf_assert(err == TF_OK);
    tf_config_report_release(&report);
    config->queue_idle_timeout_s = options & 8 ? 1 : 3600;
    config->queue_default_max_messages = options & 16 ? 3 : 1000;
    config->listeners[LISTENER].amqp_max_unsettled = options & 32 ? 2 : 1000;
    config->listeners[LISTENER].amqp_idle_timeout_s = options & 64 ? 10 : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct host host;
    struct script script = {data, data + size};
    uint8_t options = take(&script);
    memset(host.ids, 0, sizeof(host.ids));
    driver_init(&host.driver, 1 + options % DRIVER_SHARDS);
    host.driver.beside = &amqp_beside;
    configure(&host.driver.config, options);
    driver_start(&host.driver);
    for (unsigned i = 0; i < CONNS; i++) {
        host.conns[i] = driver_open_beside(&host.driver, i % host.driver.count, LISTENER);
        feed_opening(host.conns[i], &script);
    }
    for (unsigned i = 0; i < STEPS_MAX && script.next < script.end; i++) {
        step(&host, &script);
    }
    driver_run(&host.driver);
    driver_stop(&host.driver);
    return 0;
}
