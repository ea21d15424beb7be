/*
 * The far ends of AMQP connections: the library's client machine, and what it tells. See
 * amqp_driver.h.
 */
#include "unit/broker/amqp_far.h"

#include "base/assert.h"
#include "base/util.h"

#include <stdio.h>

#define BUFFER_SIZE 65536u

/* A body that the machine borrows. */
struct loan {
    struct tf_bytes body;
    uint8_t data[];
};

struct tf_amqp_config far_config(void)
{
    return (struct tf_amqp_config){.end = TF_AMQP_CLIENT,
                                   .max_frame_size = 65536,
                                   .channel_max = 300,
                                   .handle_max = 20000,
                                   .max_links = 20000,
                                   .max_unsettled = 100000,
                                   .incoming_window = 1000,
                                   .reference_from = 1024};
}

struct far *far_new(struct driver *driver, unsigned shard, const char *id,
                    const struct tf_amqp_config *config)
{
    struct far *far = calloc(1, sizeof(*far));
    tf_assert(far);
    far->driver = driver;
    far->config = config ? *config : far_config();
    strncpy(far->id, id, sizeof(far->id) - 1);
    far->open = (struct tf_amqp_open){.container_id = tf_bytes_str(far->id),
                                      .max_frame_size = far->config.max_frame_size,
                                      .channel_max = far->config.channel_max};
    tf_list_init(&far->sessions);
    far->conn = driver_open_beside(driver, shard, AMQP_LISTENER);
    far->buffer = malloc(BUFFER_SIZE);
    size_t size = tf_amqp_size(&far->config);
    tf_assert(size && far->buffer);
    enum tf_err err =
        tf_amqp_init(&far->machine, malloc(size), size, &far->config, &far->open, driver->now);
    tf_assert(err == TF_OK);
    err = tf_amqp_lend(far->machine, far->buffer, BUFFER_SIZE);
    tf_assert(err == TF_OK);
    tf_list_push_back(driver->nodes[0].transports, &far->node);
    return far;
}

/* ---- events ---- */

static void link_over(struct far_link *link)
{
    free(link->machine);
    link->machine = NULL;
    free(link->part);
    link->part = NULL;
    link->part_length = 0;
}

static void session_over(struct far_session *session)
{
    struct tf_list_node *node = tf_list_first(&session->links);
    void *part;
    for (; node; node = tf_list_next(&session->links, node)) {
        link_over(tf_container_of(node, struct far_link, node));
    }
    while (session->machine && (part = tf_amqp_session_reclaim(session->machine))) {
        free(part);
    }
    free(session->machine);
    session->machine = NULL;
}

static void on_attached(struct far_link *link, const struct tf_amqp_attach *attach)
{
    bool sending = tf_amqp_link_role(link->machine) == TF_AMQP_SENDER;
    const struct tf_amqp_terminus *terminus = sending ? &attach->target : &attach->source;
    tf_assert(tf_bytes_equal(attach->name, tf_bytes_str(link->name)));
    link->attached = terminus->type != TF_AMQP_TERMINUS_NONE;
    link->queue = tf_amqp_symbols_have(terminus->capabilities, tf_bytes_str("queue"));
    link->topic = tf_amqp_symbols_have(terminus->capabilities, tf_bytes_str("topic"));
    link->dynamic = terminus->dynamic;
    link->max_message_size = attach->max_message_size;
    size_t length = TF_MIN(terminus->address.length, sizeof(link->address) - 1);
    if (length) {
        memcpy(link->address, terminus->address.data, length);
    }
    link->address[length] = 0;
}

static void on_transfer(struct far_link *link, const struct tf_amqp_event *event)
{
    if (event->first) {
        link->part_length = 0;
    }
    if (event->aborted) {
        link->part_length = 0;
        link->aborted++;
        return;
    }
    if (event->payload.length) {
        link->part = realloc(link->part, link->part_length + event->payload.length);
        tf_assert(link->part);
        memcpy(link->part + link->part_length, event->payload.data, event->payload.length);
        link->part_length += event->payload.length;
    }
    if (event->more) {
        return;
    }
    struct far_message *message = malloc(sizeof(*message) + link->part_length);
    tf_assert(message);
    memset(message, 0, sizeof(*message));
    message->link = link;
    message->delivery = event->delivery;
    message->settled = event->settled;
    message->length = link->part_length;
    memcpy(message->data, link->part, link->part_length);
    enum tf_amqp_condition condition;
    enum tf_err err = tf_amqp_message_read(tf_bytes_of(message->data, message->length),
                                           &message->message, &condition);
    tf_assert(err == TF_OK);
    link->part_length = 0;
    tf_list_push_back(&link->came, &message->node);
    if (link->eager) {
        struct tf_amqp_state accepted = {.type = TF_AMQP_STATE_ACCEPTED};
        (void)tf_amqp_dispose(link->session->far->machine, event->delivery, &accepted, true);
        message->settled = true;
        tf_amqp_link_credit(link->machine, link->credit, false);
    }
}

static void on_outcome(struct far_link *link, const struct tf_amqp_event *event)
{
    switch (event->state.type) {
    case TF_AMQP_STATE_ACCEPTED:
        link->accepted++;
        break;
    case TF_AMQP_STATE_REJECTED:
        link->rejected++;
        link->reason = event->state.error.condition;
        break;
    case TF_AMQP_STATE_RELEASED:
        link->released++;
        break;
    case TF_AMQP_STATE_MODIFIED:
        link->modified++;
        break;
    default:
        tf_assert(!"an outcome of no kind");
    }
    if (event->settled) {
        link->settled++;
    } else {
        (void)tf_amqp_settle(link->session->far->machine, event->delivery, &event->state);
    }
}

static void on_detached(struct far_link *link, const struct tf_amqp_event *event)
{
    if (!event->local) {
        link->detached = true;
        link->closed = event->closed;
        link->condition = event->error.condition;
    }
    if (event->gone) {
        link_over(link);
    } else {
        tf_amqp_link_detach(event->link, event->closed, NULL);
    }
}

static void on_link_event(struct far_link *link, const struct tf_amqp_event *event)
{
    switch (event->type) {
    case TF_AMQP_ATTACHED:
        on_attached(link, &event->attach);
        break;
    case TF_AMQP_DETACHED:
        on_detached(link, event);
        break;
    case TF_AMQP_FLOW:
        if (tf_amqp_link_role(event->link) == TF_AMQP_SENDER) {
            link->credit = event->credit;
        } else {
            link->available = event->available;
            link->drained += event->credit == 0;
        }
        break;
    case TF_AMQP_TRANSFER:
        on_transfer(link, event);
        break;
    case TF_AMQP_OUTCOME:
        on_outcome(link, event);
        break;
    default:
        break;
    }
}

static void on_event(struct far *far, const struct tf_amqp_event *event)
{
    struct far_session *session = event->session ? tf_amqp_session_user(event->session) : NULL;
    void *old = NULL;
    switch (event->type) {
    case TF_AMQP_OPENED:
        far->opened = true;
        far->answer = event->open;
        break;
    case TF_AMQP_CLOSED:
        far->closed = true;
        far->condition = event->error.condition;
        break;
    case TF_AMQP_ENDED:
        session->ended = true;
        session->condition = event->error.condition;
        session_over(session);
        break;
    case TF_AMQP_NEEDS:
        if (tf_amqp_give(far->machine, event->session, event->part, malloc(event->size),
                         event->size, &old)) {
            tf_assert(!"a table was not taken");
        }
        free(old);
        break;
    case TF_AMQP_RETURNED:
        far->returned++;
        free((void *)(uintptr_t)event->owner);
        break;
    default:
        if (event->link) {
            on_link_event(tf_amqp_link_user(event->link), event);
        }
        break;
    }
}

static bool tell(struct far *far)
{
    struct tf_amqp_event event;
    bool any = false;
    while (tf_amqp_event(far->machine, &event)) {
        on_event(far, &event);
        any = true;
    }
    tf_assert(tf_amqp_check(far->machine));
    return any;
}

/* ---- bytes ---- */

static bool write_out(struct far *far)
{
    struct tf_bytes spans[4];
    size_t count;
    bool any = false;
    while ((count = tf_amqp_output(far->machine, spans, TF_COUNT(spans)))) {
        size_t sum = 0;
        for (size_t i = 0; i < count; i++) {
            driver_feed(far->conn, spans[i].data, spans[i].length);
            sum += spans[i].length;
        }
        tf_amqp_sent(far->machine, sum, far->driver->now);
        (void)tell(far);
        any |= sum > 0;
    }
    return any;
}

static bool read_in(struct far *far)
{
    struct driver_conn *conn = far->conn;
    bool any = false;
    while (conn->out_taken < conn->out_length) {
        size_t length = conn->out_length - conn->out_taken, used = 0, need = 0;
        uint8_t *copy = malloc(length);
        tf_assert(copy);
        memcpy(copy, conn->out + conn->out_taken, length);
        enum tf_err err = TF_OK;
        while (used < length && err == TF_OK) {
            size_t step = 0;
            err = tf_amqp_input(far->machine, tf_bytes_of(copy + used, length - used), &step, &need,
                                far->driver->now);
            used += step;
            bool moved = tell(far) || step;
            any |= moved;
            err = err == TF_AGAIN && moved ? TF_OK : err;
        }
        free(copy);
        if (err == TF_CLOSED || err == TF_PROTOCOL) {
            used = length;
        }
        conn->out_taken += used;
        if (conn->out_taken == conn->out_length) {
            conn->out_taken = conn->out_length = 0;
        }
        if (err == TF_MORE || used == 0) {
            break;
        }
    }
    return any;
}

bool far_exchange(struct far *far)
{
    bool any = tell(far);
    any |= read_in(far);
    any |= write_out(far);
    return any && !far->conn->ended;
}

void far_free(struct far *far)
{
    struct tf_list_node *node, *inner, *message;
    void *part;
    tf_amqp_abandon(far->machine);
    (void)tell(far);
    while ((node = tf_list_pop_front(&far->sessions))) {
        struct far_session *session = tf_container_of(node, struct far_session, node);
        session_over(session);
        while ((inner = tf_list_pop_front(&session->links))) {
            struct far_link *link = tf_container_of(inner, struct far_link, node);
            while ((message = tf_list_pop_front(&link->came))) {
                free(tf_container_of(message, struct far_message, node));
            }
            free(link);
        }
        free(session);
    }
    while ((part = tf_amqp_reclaim(far->machine))) {
        free(part);
    }
    free(far->machine);
    free(far->buffer);
    free(far);
}

/* ---- what a client does ---- */

struct far_session *far_begin(struct far *far)
{
    struct far_session *session = calloc(1, sizeof(*session));
    size_t size = tf_amqp_session_size(&far->config);
    void *memory = malloc(size);
    enum tf_err err;
    tf_assert(session && memory);
    session->far = far;
    tf_list_init(&session->links);
    for (unsigned tries = 0; tries < 5; tries++) {
        err = tf_amqp_session_begin(far->machine, memory, size, session, &session->machine);
        if (err != TF_AGAIN) {
            break;
        }
        far_run(far->driver);
    }
    if (err) {
        free(memory);
        session->ended = true;
    }
    tf_list_push_back(&far->sessions, &session->node);
    return session;
}

struct far_session *far_open(struct driver *driver, unsigned shard, const char *id)
{
    struct far *far = far_new(driver, shard, id, NULL);
    struct far_session *session = far_begin(far);
    far_run(driver);
    tf_assert(far->opened && !far->closed && session->machine);
    return session;
}

struct tf_amqp_attach far_to(const char *address)
{
    return (struct tf_amqp_attach){.role = TF_AMQP_SENDER,
                                   .snd_settle_mode = TF_AMQP_SND_MIXED,
                                   .source = {.type = TF_AMQP_SOURCE},
                                   .target = {.type = TF_AMQP_TARGET,
                                              .has_address = address != NULL,
                                              .address = tf_bytes_str(address ? address : "")}};
}

struct tf_amqp_attach far_from(const char *address)
{
    return (struct tf_amqp_attach){.role = TF_AMQP_RECEIVER,
                                   .snd_settle_mode = TF_AMQP_SND_MIXED,
                                   .source = {.type = TF_AMQP_SOURCE,
                                              .has_address = address != NULL,
                                              .address = tf_bytes_str(address ? address : "")},
                                   .target = {.type = TF_AMQP_TARGET}};
}

struct far_link *far_attach(struct far_session *session, const char *name,
                            const struct tf_amqp_attach *attach)
{
    struct far *far = session->far;
    struct far_link *link = calloc(1, sizeof(*link));
    size_t size = tf_amqp_link_size(&far->config);
    void *memory = malloc(size);
    struct tf_amqp_attach copy = *attach;
    enum tf_err err = TF_CLOSED;
    tf_assert(link && memory);
    link->session = session;
    tf_list_init(&link->came);
    strncpy(link->name, name, sizeof(link->name) - 1);
    copy.name = tf_bytes_str(link->name);
    for (unsigned tries = 0; session->machine && tries < 5; tries++) {
        err = tf_amqp_link_attach(session->machine, memory, size, link, &copy, &link->machine);
        if (err != TF_AGAIN) {
            break;
        }
        far_run(far->driver);
    }
    if (err) {
        free(memory);
        link->machine = NULL;
    }
    tf_list_push_back(&session->links, &link->node);
    far_run(far->driver);
    return link;
}

static struct far_link *simple(struct far_session *session, struct tf_amqp_attach *attach,
                               const char *how)
{
    bool sending = attach->role == TF_AMQP_SENDER;
    uint8_t symbols[32];
    char name[32];
    struct tf_writer writer = tf_writer_of(symbols, sizeof(symbols));
    unsigned count = 0;
    struct tf_list_node *node = tf_list_first(&session->links);
    for (; node; node = tf_list_next(&session->links, node)) {
        count++;
    }
    if (how) {
        tf_amqp_write_symbol(&writer, tf_bytes_str(how));
        (sending ? &attach->target : &attach->source)->capabilities =
            tf_bytes_of(symbols, tf_writer_length(&writer));
    }
    sprintf(name, "link%u", count);
    struct far_link *link = far_attach(session, name, attach);
    tf_assert(link->attached && !link->detached);
    return link;
}

struct far_link *far_sender(struct far_session *session, const char *address, const char *how)
{
    struct tf_amqp_attach attach = far_to(address);
    return simple(session, &attach, how);
}

struct far_link *far_receiver(struct far_session *session, const char *address, uint32_t credit,
                              const char *how)
{
    struct tf_amqp_attach attach = far_from(address);
    struct far_link *link = simple(session, &attach, how);
    if (credit) {
        far_credit(link, credit, false);
    }
    return link;
}

bool far_send(struct far_link *link, struct tf_bytes message, bool settled)
{
    struct loan *loan = malloc(sizeof(*loan) + message.length);
    uint8_t tag[4];
    struct tf_writer writer = tf_writer_of(tag, sizeof(tag));
    bool borrowed = false;
    uint64_t delivery;
    tf_assert(loan);
    memcpy(loan->data, message.data, message.length);
    loan->body = tf_bytes_of(loan->data, message.length);
    tf_write_u32(&writer, link->next_tag++);
    struct tf_amqp_sending sending = {.handle = 1,
                                      .tag = tf_bytes_of(tag, sizeof(tag)),
                                      .body = &loan->body,
                                      .body_count = 1,
                                      .owner = (uint64_t)(uintptr_t)loan,
                                      .settled = settled};
    enum tf_err err = TF_CLOSED;
    for (unsigned tries = 0; link->machine && tries < 6; tries++) {
        err = tf_amqp_send(link->machine, &sending, &borrowed, &delivery);
        if (err != TF_AGAIN) {
            break;
        }
        far_run(link->session->far->driver);
    }
    if (!borrowed) {
        free(loan);
    }
    return err == TF_OK;
}

static bool send_text(struct far_link *link, const char *text, bool settled)
{
    uint8_t buffer[4096];
    struct tf_writer writer = tf_writer_of(buffer, sizeof(buffer));
    tf_amqp_write_data_head(&writer, strlen(text));
    tf_write_bytes(&writer, tf_bytes_str(text));
    tf_assert(!writer.failed);
    return far_send(link, tf_bytes_of(buffer, tf_writer_length(&writer)), settled);
}

bool far_text(struct far_link *link, const char *text)
{
    return send_text(link, text, false);
}

bool far_text_settled(struct far_link *link, const char *text)
{
    return send_text(link, text, true);
}

void far_credit(struct far_link *link, uint32_t credit, bool drain)
{
    link->credit = credit;
    tf_amqp_link_credit(link->machine, credit, drain);
    far_run(link->session->far->driver);
}

struct far_message *far_take(struct far_link *link)
{
    far_run(link->session->far->driver);
    struct tf_list_node *node = tf_list_first(&link->came);
    if (!node) {
        return NULL;
    }
    tf_list_remove(node);
    return tf_container_of(node, struct far_message, node);
}

void far_drop(struct far_message *message)
{
    free(message);
}

bool far_is(const struct far_message *message, const char *text)
{
    return message && tf_bytes_equal(message->message.data, tf_bytes_str(text));
}

void far_settle_as(struct far_message *message, const struct tf_amqp_state *state)
{
    if (!message->settled) {
        (void)tf_amqp_dispose(message->link->session->far->machine, message->delivery, state, true);
    }
    far_drop(message);
}

void far_settle(struct far_message *message, enum tf_amqp_state_type type)
{
    far_settle_as(message, &(struct tf_amqp_state){.type = type});
}

void far_expect(struct far_link *link, const char *text)
{
    struct far_message *message = far_take(link);
    if (!far_is(message, text)) {
        fprintf(stderr, "expected \"%s\", got %s\n", text, message ? "another" : "nothing");
        tf_assert(!"the wrong message");
    }
    far_settle(message, TF_AMQP_STATE_ACCEPTED);
}

void far_expect_nothing(struct far_link *link)
{
    struct far_message *message = far_take(link);
    tf_assert(!message);
}

void far_detach(struct far_link *link, bool closed)
{
    tf_amqp_link_detach(link->machine, closed, NULL);
    far_run(link->session->far->driver);
}

void far_end(struct far_session *session)
{
    tf_amqp_session_end(session->machine, NULL);
    far_run(session->far->driver);
}

void far_close(struct far *far)
{
    tf_amqp_close(far->machine, NULL);
    far_run(far->driver);
}

void far_cut(struct far *far)
{
    driver_cut(far->conn);
    far_run(far->driver);
}
