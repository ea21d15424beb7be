/*
 * AMQP fronts without sockets. See amqp_driver.h; the far ends are in amqp_far.c.
 */
#include "unit/broker/amqp_driver.h"

#include "base/assert.h"
#include "base/util.h"
#include "unit/broker/amqp_far.h"

#include <stdio.h>

static void started(struct driver_node *node)
{
    struct tf_list *fars = malloc(sizeof(*fars));
    tf_assert(fars);
    tf_list_init(fars);
    node->transports = fars;
}

static bool read_none(struct driver_node *node)
{
    (void)node;
    return false; /* streams are read by the driver itself */
}

static void write_none(struct driver_node *node)
{
    (void)node;
}

struct amqp_front *amqp_driver_front(struct driver *driver, unsigned shard)
{
    return tf_container_of(driver->nodes[shard].beside, struct amqp_front, front);
}

/* Checks a link; its bytes of an unfinished message are added up. */
static void check_link(const struct amqp_session *session, struct tf_list_node *node)
{
    const struct amqp_link *link = tf_container_of(node, struct amqp_link, in_session);
    tf_assert(link->session == session);
    tf_assert(!link->incoming || link->kind != AMQP_LINK_NONE);
    tf_assert(link->incoming_length <= link->incoming_capacity);
    tf_assert(!(link->consuming && link->producing));
    tf_assert(!link->consuming || link->consumer.attachment);
    tf_assert(!link->producing || link->producer.attachment);
    tf_assert(!tf_list_linked(&link->blocked) || link->consuming);
}

static void check_conn(const struct amqp_front *front, struct amqp_conn *conn)
{
    struct tf_list_node *i = tf_list_first(&conn->sessions), *j;
    tf_assert(conn->front == front && !conn->pulling);
    tf_assert(tf_amqp_check(conn->machine));
    for (; i; i = tf_list_next(&conn->sessions, i)) {
        struct amqp_session *session = tf_container_of(i, struct amqp_session, in_conn);
        tf_assert(session->conn == conn);
        for (j = tf_list_first(&session->links); j; j = tf_list_next(&session->links, j)) {
            check_link(session, j);
        }
    }
    uint32_t open = 0;
    for (size_t k = 0; k < TF_COUNT(conn->answers); k++) {
        struct tf_list *tickets = &conn->answers[k].tickets.tickets;
        for (i = tf_list_first(tickets); i; i = tf_list_next(tickets, i)) {
            open++;
        }
    }
    for (i = tf_list_first(&conn->sessions); i; i = tf_list_next(&conn->sessions, i)) {
        struct amqp_session *session = tf_container_of(i, struct amqp_session, in_conn);
        for (j = tf_list_first(&session->links); j; j = tf_list_next(&session->links, j)) {
            open += tf_amqp_front_ledger_open(tf_container_of(j, struct amqp_link, in_session));
        }
    }
    tf_assert(open == conn->open_tickets);
}

static void check(struct driver_node *node)
{
    struct amqp_front *front = tf_container_of(node->beside, struct amqp_front, front);
    uint64_t connected = 0;
    struct tf_list_node *i = tf_list_first(&front->conns);
    for (; i; i = tf_list_next(&front->conns, i)) {
        struct amqp_conn *conn = tf_container_of(i, struct amqp_conn, in_front);
        check_conn(front, conn);
        connected += conn->counted;
    }
    tf_assert(front->front.counters.connected == connected);
    tf_assert(front->front.counters.sessions == front->containers.count);
    tf_assert(tf_tree_check(&front->containers));
}

static void stop(struct driver_node *node)
{
    struct tf_list *fars = node->transports;
    struct tf_list_node *i;
    while ((i = tf_list_pop_front(fars))) {
        far_free(tf_container_of(i, struct far, node));
    }
    free(fars);
    node->transports = NULL;
}

static const struct driver_beside beside = {.type = &tf_amqp_front_type,
                                            .started = started,
                                            .read = read_none,
                                            .write = write_none,
                                            .check = check,
                                            .stop = stop};

void amqp_driver_init(struct driver *driver, unsigned shards)
{
    struct tf_config_report report;
    driver_init(driver, shards);
    driver->beside = &beside;
    tf_config_report_init(&report);
    enum tf_err err = tf_config_add_url(&driver->config, "amqp://127.0.0.1:0", &report);
    tf_assert(err == TF_OK);
    err = tf_config_finish(&driver->config, &report);
    tf_assert(err == TF_OK);
    tf_config_report_release(&report);
    tf_assert(driver->config.listeners[AMQP_LISTENER].protocol == TF_CONFIG_PROTOCOL_AMQP);
}

unsigned amqp_driver_conns(struct driver *driver)
{
    unsigned count = 0;
    for (unsigned i = 0; i < driver->count; i++) {
        struct tf_list *conns = &amqp_driver_front(driver, i)->conns;
        struct tf_list_node *node = tf_list_first(conns);
        for (; node; node = tf_list_next(conns, node)) {
            count++;
        }
    }
    return count;
}

unsigned amqp_driver_links(struct driver *driver)
{
    unsigned count = 0;
    for (unsigned i = 0; i < driver->count; i++) {
        struct amqp_front *front = amqp_driver_front(driver, i);
        struct tf_tree_node *node = tf_tree_first(&front->containers);
        for (; node; node = tf_tree_next(node)) {
            count += (unsigned)tf_container_of(node, struct amqp_container, by_id)->links.count;
        }
    }
    return count;
}

struct amqp_conn *amqp_driver_conn(struct driver *driver, const char *id)
{
    struct amqp_front *front = amqp_driver_front(driver, driver_home(driver, id));
    struct tf_tree_node *node = tf_tree_find(&front->containers, tf_bytes_str(id));
    if (!node) {
        return NULL;
    }
    struct amqp_container *container = tf_container_of(node, struct amqp_container, by_id);
    return tf_container_of(tf_list_first(&container->conns), struct amqp_conn, in_container);
}

struct tf_named_queue *amqp_driver_queue(struct driver *driver, const char *name)
{
    return tf_named_queue_find(&driver->nodes[driver_home(driver, name)].shard, tf_bytes_str(name));
}

struct tf_queue_status amqp_driver_status(struct driver *driver, const char *name)
{
    struct tf_named_queue *queue = amqp_driver_queue(driver, name);
    struct tf_queue_status status;
    tf_assert(queue);
    tf_named_queue_status(queue, &status);
    return status;
}

const char *amqp_name(struct driver *driver, char *buffer, const char *prefix, unsigned home)
{
    for (unsigned i = 0;; i++) {
        sprintf(buffer, "%s%u", prefix, i);
        if (driver_home(driver, buffer) == home) {
            return buffer;
        }
    }
}

/* ---- running ---- */

static bool exchange_all(struct driver *driver)
{
    struct tf_list *fars = driver->nodes[0].transports;
    struct tf_list_node *node = tf_list_first(fars);
    bool any = false;
    for (; node; node = tf_list_next(fars, node)) {
        any |= far_exchange(tf_container_of(node, struct far, node));
    }
    return any;
}

void far_run(struct driver *driver)
{
    unsigned round = 0;
    do {
        driver_run(driver);
        tf_assert(round++ < 200000);
    } while (exchange_all(driver));
}

static tf_time next_deadline(struct driver *driver, tf_time until, bool mute)
{
    struct tf_list *fars = driver->nodes[0].transports;
    struct tf_list_node *node = tf_list_first(fars);
    tf_time next = until;
    for (unsigned i = 0; i < driver->count; i++) {
        next = TF_MIN(next, tf_shard_deadline(&driver->nodes[i].shard));
    }
    for (; node && !mute; node = tf_list_next(fars, node)) {
        struct far *far = tf_container_of(node, struct far, node);
        next = TF_MIN(next, far->conn->ended ? until : tf_amqp_deadline(far->machine));
    }
    return TF_MAX(next, driver->now + 1);
}

static void advance(struct driver *driver, tf_time span, bool mute)
{
    struct tf_list *fars = driver->nodes[0].transports;
    tf_time until = driver->now + span;
    far_run(driver);
    while (driver->now < until) {
        driver->now = next_deadline(driver, until, mute);
        struct tf_list_node *node = tf_list_first(fars);
        for (; node && !mute; node = tf_list_next(fars, node)) {
            tf_amqp_tick(tf_container_of(node, struct far, node)->machine, driver->now);
        }
        far_run(driver);
    }
}

void far_advance(struct driver *driver, tf_time span)
{
    advance(driver, span, false);
}

void far_advance_mute(struct driver *driver, tf_time span)
{
    advance(driver, span, true);
}

/* ---- frames one by one ---- */

void raw_header(struct driver_conn *conn, uint8_t protocol)
{
    const uint8_t header[] = {'A', 'M', 'Q', 'P', protocol, 1, 0, 0};
    driver_feed(conn, header, sizeof(header));
}

void raw_frame(struct driver_conn *conn, uint16_t channel,
               const struct tf_amqp_performative *performative, struct tf_bytes payload)
{
    uint8_t buffer[2048];
    struct tf_writer writer = tf_writer_of(buffer, sizeof(buffer));
    tf_amqp_frame_write(&writer, channel, performative, payload.length);
    tf_assert(!writer.failed);
    driver_feed(conn, buffer, tf_writer_length(&writer));
    if (payload.length) {
        driver_feed(conn, payload.data, payload.length);
    }
}

struct driver_conn *raw_open(struct driver *driver, unsigned shard, const char *id, bool begun)
{
    static const struct tf_bytes none = {NULL, 0};
    struct driver_conn *conn = driver_open_beside(driver, shard, AMQP_LISTENER);
    raw_header(conn, 0);
    raw_frame(conn, 0,
              &(struct tf_amqp_performative){.type = TF_AMQP_OPEN,
                                             .open = {.container_id = tf_bytes_str(id),
                                                      .max_frame_size = 4096,
                                                      .channel_max = 65535}},
              none);
    if (begun) {
        raw_frame(conn, 0,
                  &(struct tf_amqp_performative){.type = TF_AMQP_BEGIN_FRAME,
                                                 .begin = {.incoming_window = 1000,
                                                           .outgoing_window = 1000,
                                                           .handle_max = UINT32_MAX}},
                  none);
    }
    return conn;
}

void raw_attach(struct driver_conn *conn, uint32_t handle, const char *name, enum tf_amqp_role role,
                const char *address)
{
    struct tf_amqp_attach attach = role == TF_AMQP_SENDER ? far_to(address) : far_from(address);
    attach.name = tf_bytes_str(name);
    attach.handle = handle;
    attach.role = role;
    attach.has_initial_delivery_count = role == TF_AMQP_SENDER;
    raw_frame(conn, 0,
              &(struct tf_amqp_performative){.type = TF_AMQP_ATTACH_FRAME, .attach = attach},
              (struct tf_bytes){NULL, 0});
}

void raw_transfer(struct driver_conn *conn, uint32_t handle, uint32_t id, bool settled, bool more,
                  struct tf_bytes payload)
{
    uint8_t tag[4] = {(uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id};
    struct tf_amqp_transfer transfer = {.handle = handle,
                                        .has_delivery_id = true,
                                        .delivery_id = id,
                                        .has_delivery_tag = true,
                                        .delivery_tag = tf_bytes_of(tag, sizeof(tag)),
                                        .has_settled = true,
                                        .settled = settled,
                                        .more = more};
    raw_frame(conn, 0,
              &(struct tf_amqp_performative){.type = TF_AMQP_TRANSFER_FRAME, .transfer = transfer},
              payload);
}

bool raw_take(struct driver_conn *conn, struct tf_amqp_performative *ret,
              struct tf_bytes *ret_payload)
{
    far_run(conn->driver);
    return raw_next(conn, ret, ret_payload);
}

bool raw_next(struct driver_conn *conn, struct tf_amqp_performative *ret,
              struct tf_bytes *ret_payload)
{
    enum tf_amqp_condition condition;
    struct tf_bytes payload;
    while (conn->out_taken < conn->out_length) {
        struct tf_bytes rest = {conn->out + conn->out_taken, conn->out_length - conn->out_taken};
        struct tf_amqp_frame frame;
        size_t need;
        if (rest.length >= 8 && memcmp(rest.data, "AMQP", 4) == 0) {
            conn->out_taken += 8;
            continue;
        }
        enum tf_err err = tf_amqp_frame_read(rest, UINT32_MAX, &frame, &need);
        if (err == TF_MORE) {
            return false; /* the transport's window is closed in the middle of it */
        }
        tf_assert(err == TF_OK);
        conn->out_taken += frame.size;
        if (frame.body.length) {
            err = tf_amqp_performative_read(frame.body, frame.type, ret, &payload, &condition);
            tf_assert(err == TF_OK);
            if (ret_payload) {
                *ret_payload = payload;
            }
            return true;
        }
    }
    return false;
}

struct tf_amqp_performative raw_expect(struct driver_conn *conn,
                                       enum tf_amqp_performative_type type)
{
    struct tf_amqp_performative performative;
    do {
        if (!raw_take(conn, &performative, NULL)) {
            tf_assert(!"a frame is missing");
        }
    } while (performative.type != type);
    return performative;
}
