/*
 * Hosts for AMQP connections in tests; see rig.h.
 */
#include "rig.h"

#include "rig_log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum rig_way rig_ways[4] = {RIG_WHOLE, RIG_BYTES, RIG_SPLIT, RIG_TINY};

/* Makes room for `more` elements after `count` of an array whose room doubles. */
static void *room_for(void *array, size_t count, size_t more, size_t size)
{
    size_t had = 16, want = 16;

    while (had < count)
        had *= 2;
    while (want < count + more)
        want *= 2;
    return array && want == had ? array : realloc(array, want * size);
}

/* ---- events answered ---- */

void *rig_alloc(struct rig_end *end, size_t size)
{
    void *memory = malloc(size);

    end->memory = room_for(end->memory, end->memory_count, 1, sizeof *end->memory);
    end->memory[end->memory_count++] = memory;
    memset(memory, 0xa5, size);
    return memory;
}

static void release(struct rig_end *end, void *memory)
{
    size_t i = 0;

    while (i < end->memory_count && end->memory[i] != memory)
        i++;
    assert_true(i < end->memory_count);
    end->memory[i] = end->memory[--end->memory_count];
    free(memory);
}

static void give(struct rig_end *end, const struct tf_amqp_event *event)
{
    void *memory, *old = NULL;

    end->needs++;
    if (end->ignore_needs)
        return;
    if (end->refuse_needs) {
        struct tf_amqp_error error = tf_amqp_error_of(TF_AMQP_RESOURCE_LIMIT_EXCEEDED, "no memory");
        tf_amqp_close(end->connection, &error);
        return;
    }
    memory = rig_alloc(end, event->size);
    assert_int_equal(
        tf_amqp_give(end->connection, event->session, event->part, memory, event->size, &old),
        TF_OK);
    if (old)
        release(end, old); /* nothing may look there any more */
}

static void add_link(struct rig_end *end, struct tf_amqp_link *link)
{
    end->links = room_for(end->links, end->link_count, 1, sizeof(*end->links));
    end->links[end->link_count++] = link;
    end->link = link;
}

/* The place of a link in `links`; link_count: it was attached behind the rig's back. */
static unsigned place_of(const struct rig_end *end, const struct tf_amqp_link *link)
{
    unsigned i = 0;

    while (i < end->link_count && end->links[i] != link)
        i++;
    return i;
}

unsigned rig_index(const struct rig_end *end, const struct tf_amqp_link *link)
{
    unsigned index = place_of(end, link);

    assert_true(index < end->link_count);
    return index;
}

/* A link is gone. */
static void drop_link(struct rig_end *end, struct tf_amqp_link *link)
{
    unsigned index = place_of(end, link);

    if (index < end->link_count)
        end->links[index] = NULL;
    if (end->frees)
        release(end, link);
}

/* The session has ended. */
static void drop_session(struct rig_end *end)
{
    void *memory;

    if (!end->frees || !end->session)
        return;
    for (unsigned i = 0; i < end->link_count; i++) {
        if (end->links[i])
            release(end, end->links[i]);
        end->links[i] = NULL;
    }
    while ((memory = tf_amqp_session_reclaim(end->session)) != NULL)
        release(end, memory);
    release(end, end->session);
    end->session = NULL;
}

static void accept_link(struct rig_end *end, const struct tf_amqp_event *event)
{
    size_t size = tf_amqp_link_size(&end->config);
    struct tf_amqp_attach reply = event->attach;
    struct tf_amqp_link *link;

    assert_int_equal(tf_amqp_link_accept(event->session, rig_alloc(end, size), size, NULL, &link),
                     TF_OK);
    add_link(end, link);
    reply.properties = (struct tf_bytes){0};
    reply.unsettled = end->unsettled;
    assert_int_equal(tf_amqp_link_attach_reply(end->link, &reply), TF_OK);
    if (end->credit && tf_amqp_link_role(end->link) == TF_AMQP_RECEIVER)
        tf_amqp_link_credit(end->link, end->credit, false);
}

static void answer(struct rig_end *end, const struct tf_amqp_event *event)
{
    size_t size;

    switch (event->type) {
    case TF_AMQP_AUTHENTICATE:
        if (!end->hold_authenticate)
            tf_amqp_authenticated(end->connection, !end->reject);
        break;
    case TF_AMQP_OPENED:
        if (end->config.end == TF_AMQP_SERVER && !end->hold_open)
            assert_int_equal(tf_amqp_open(end->connection, &end->open), TF_OK);
        break;
    case TF_AMQP_BEGIN:
        size = tf_amqp_session_size(&end->config);
        if (!end->hold_begin)
            assert_int_equal(tf_amqp_session_accept(end->connection, rig_alloc(end, size), size,
                                                    NULL, &end->session),
                             TF_OK);
        break;
    case TF_AMQP_ATTACH:
        if (!end->hold_attach)
            accept_link(end, event);
        break;
    case TF_AMQP_DETACHED:
        if (event->gone)
            drop_link(end, event->link);
        else if (!event->local && !end->hold_detach)
            tf_amqp_link_detach(event->link, event->closed, NULL);
        break;
    case TF_AMQP_ENDED:
        drop_session(end);
        break;
    case TF_AMQP_NEEDS:
        give(end, event);
        break;
    default:
        break;
    }
}

static void check(const struct rig *rig, const struct rig_end *end)
{
    if (!rig->unchecked)
        assert_true(tf_amqp_check(end->connection));
}

/* Counts the ends of things. */
static void count(struct rig_end *end, const struct tf_amqp_event *event)
{
    end->closed += event->type == TF_AMQP_CLOSED;
    end->ended += event->type == TF_AMQP_ENDED;
    end->detached += event->type == TF_AMQP_DETACHED;
    if (event->type == TF_AMQP_CLOSED || event->type == TF_AMQP_ENDED ||
        event->type == TF_AMQP_DETACHED)
        end->error = event->error;
}

bool rig_pull(struct rig *rig, struct rig_end *end)
{
    struct tf_amqp_event event;
    bool any = false;

    while (tf_amqp_event(end->connection, &event)) {
        check(rig, end);
        rig_log_event(end, &event);
        count(end, &event);
        if (!end->on_event || !end->on_event(rig, end, &event))
            answer(end, &event);
        check(rig, end);
        any = true;
    }
    return any;
}

/* ---- motion ---- */

static uint32_t rig_random(struct rig *rig, uint32_t below)
{
    rig->seed = rig->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(rig->seed >> 33) % below;
}

static void append(uint8_t **bytes, size_t *length, const void *more, size_t count)
{
    *bytes = realloc(*bytes, *length + count + 1);
    if (count)
        memcpy(*bytes + *length, more, count);
    *length += count;
}

/* How much of what has arrived the machine is shown, when it has been shown `shown` and wants
 * `need`. */
static size_t next_look(struct rig *rig, const struct rig_end *end, size_t shown, size_t need)
{
    size_t look = need > shown ? need : shown + 8192; /* not all of what may be much */

    if (rig->way == RIG_BYTES)
        look = shown < 64 ? shown + 1 : need > shown ? need : shown + 1;
    else if (rig->way == RIG_SPLIT)
        look = shown + 1 + rig_random(rig, 100);
    if (look < end->shown)
        look = end->shown; /* what it has seen it sees again */
    return look < end->in_length ? look : end->in_length;
}

/* Feeds what has arrived, each time an exact copy; true: something was taken. */
static bool feed(struct rig *rig, struct rig_end *end)
{
    size_t shown = 0, need = 0;
    bool moved = false;

    end->err = TF_OK;
    while (end->in_length > 0 && (!end->err || end->err == TF_MORE)) {
        size_t used = 0, look = next_look(rig, end, shown, need);
        uint8_t *copy;

        if (look == shown)
            break;
        copy = malloc(look);
        memcpy(copy, end->in, look);
        end->err = tf_amqp_input(end->connection, tf_bytes_of(copy, look), &used, &need, rig->now);
        check(rig, end);
        assert_true(end->err != TF_OK || used > 0);
        assert_true(end->err == TF_OK || used == 0);
        assert_true(end->err != TF_MORE || need > look);
        if (rig_pull(rig, end) || used > 0 || end->err == TF_PROTOCOL)
            moved = true;
        free(copy);
        shown = used > 0 ? 0 : look;
        need = used > 0 ? 0 : need;
        end->shown = look - used;
        end->in_length -= used;
        memmove(end->in, end->in + used, end->in_length);
    }
    return moved;
}

bool rig_take(struct rig *rig, struct rig_end *end)
{
    bool any = rig_pull(rig, end);

    return feed(rig, end) || any;
}

void rig_arrive(struct rig_end *end, const void *bytes, size_t length)
{
    append(&end->in, &end->in_length, bytes, length);
}

bool rig_flush(struct rig *rig, struct rig_end *end)
{
    struct rig_end *other = end == &rig->client ? &rig->server : &rig->client;
    struct tf_bytes spans[4];
    size_t count = rig->cut ? 0 : tf_amqp_output(end->connection, spans, 4);
    size_t sum = 0, most = rig->way == RIG_TINY    ? 1 + rig_random(rig, 40)
                           : rig->way == RIG_WHOLE ? SIZE_MAX
                                                   : 1 + rig_random(rig, 5000);

    if (count == 0)
        return false;
    check(rig, end);
    for (size_t i = 0; i < count && sum < most; i++) {
        size_t part = spans[i].length < most - sum ? spans[i].length : most - sum;
        if (other->connection)
            append(&other->in, &other->in_length, spans[i].data, part);
        else
            append(&other->raw, &other->raw_length, spans[i].data, part);
        sum += part;
    }
    tf_amqp_sent(end->connection, sum, rig->now);
    check(rig, end);
    return true;
}

/* Moves all output to the other end; true: there was some. */
static bool flush(struct rig *rig, struct rig_end *end, struct rig_end *other)
{
    bool moved = false;

    while (rig_flush(rig, end)) {
        rig_pull(rig, end);
        moved = true;
    }
    if (moved && !other->connection)
        rig_log_raw(other);
    return moved;
}

void rig_run(struct rig *rig)
{
    bool moved = true;

    for (int i = 0; moved; i++) {
        moved = false;
        assert_in_range(i, 0, 1000000);
        if (rig->client.connection) {
            moved |= rig_pull(rig, &rig->client);
            moved |= flush(rig, &rig->client, &rig->server);
        }
        if (rig->server.connection) {
            moved |= rig_pull(rig, &rig->server);
            moved |= flush(rig, &rig->server, &rig->client);
            moved |= feed(rig, &rig->server);
        }
        if (rig->client.connection)
            moved |= feed(rig, &rig->client);
    }
}

void rig_sleep(struct rig *rig, uint32_t ms)
{
    struct rig_end *ends[2] = {&rig->client, &rig->server};
    tf_time until = rig->now + ms * TF_MILLISECOND;

    while (rig->now < until) {
        tf_time next = until;

        for (int i = 0; i < 2; i++) {
            tf_time at = ends[i]->connection ? tf_amqp_deadline(ends[i]->connection) : until;
            assert_true(at > rig->now);
            next = at < next ? at : next;
        }
        rig->now = next;
        for (int i = 0; i < 2; i++) {
            if (ends[i]->connection && tf_amqp_deadline(ends[i]->connection) <= rig->now) {
                tf_amqp_tick(ends[i]->connection, rig->now);
                check(rig, ends[i]);
            }
        }
        rig_run(rig);
    }
}

/* ---- life ---- */

struct tf_amqp_config rig_config(void)
{
    return (struct tf_amqp_config){.max_frame_size = 4096,
                                   .channel_max = 7,
                                   .handle_max = 63,
                                   .max_links = 100,
                                   .max_unsettled = 1000,
                                   .incoming_window = 1000};
}

void rig_init(struct rig *rig, enum rig_way way)
{
    struct tf_amqp_config config = rig_config();

    config.max_links = config.max_unsettled = 64;
    config.incoming_window = 16;
    memset(rig, 0, sizeof *rig);
    rig->way = way;
    rig->seed = 1;
    rig->now = TF_SECOND;
    rig->buffer_size = 16384;
    rig->client.config = rig->server.config = config;
    rig->client.config.end = TF_AMQP_CLIENT;
    rig->server.config.end = TF_AMQP_SERVER;
    rig->client.open.container_id = tf_bytes_str("client");
    rig->server.open.container_id = tf_bytes_str("server");
}

void rig_start(struct rig *rig, struct rig_end *end)
{
    size_t size = tf_amqp_size(&end->config);
    size_t length = rig->way == RIG_TINY ? TF_AMQP_OUTPUT_MIN : rig->buffer_size;
    bool client = end->config.end == TF_AMQP_CLIENT;

    assert_true(size > 0);
    assert_int_equal(tf_amqp_init(&end->connection, rig_alloc(end, size), size, &end->config,
                                  client ? &end->open : NULL, rig->now),
                     TF_OK);
    end->buffer = malloc(length);
    end->buffer_size = length;
    assert_int_equal(tf_amqp_lend(end->connection, end->buffer, length), TF_OK);
    check(rig, end);
}

void rig_pair(struct rig *rig)
{
    rig_start(rig, &rig->client);
    rig_start(rig, &rig->server);
    rig_run(rig);
    rig_expect_open(&rig->client);
    rig_expect_open(&rig->server);
    rig_clear(&rig->client);
    rig_clear(&rig->server);
}

void rig_join(struct rig *rig, enum rig_way way, size_t buffer_size)
{
    struct rig_end *ends[2] = {&rig->client, &rig->server};

    rig->way = way;
    rig->now = TF_SECOND;
    rig->buffer_size = buffer_size;
    for (int i = 0; i < 2; i++) {
        if (ends[i]->config.max_frame_size == 0)
            ends[i]->config = rig_config();
        ends[i]->config.end = i == 0 ? TF_AMQP_CLIENT : TF_AMQP_SERVER;
        ends[i]->open.container_id = tf_bytes_str(i == 0 ? "client" : "server");
        ends[i]->quiet = ends[i]->frees = true;
        rig_start(rig, ends[i]);
    }
    rig_run(rig);
    rig_begin(rig, &rig->client);
    assert_non_null(rig->server.session);
}

/* What a raw peer opens with. */
static void send_open(struct rig *rig)
{
    struct tf_amqp_performative open = {
        .type = TF_AMQP_OPEN,
        .open = {.container_id = tf_bytes_str("raw"), .max_frame_size = 4096, .channel_max = 99}};

    rig_send_hex(rig, "414d515000010000");
    rig_send(rig, 0, &open);
}

void rig_raw_client(struct rig *rig)
{
    rig_start(rig, &rig->server);
    send_open(rig);
    rig_expect_open(&rig->server);
    rig_clear(&rig->client);
    rig_clear(&rig->server);
}

void rig_raw_server(struct rig *rig)
{
    rig_start(rig, &rig->client);
    rig_run(rig);
    send_open(rig);
    rig_expect_open(&rig->client);
    rig_clear(&rig->client);
    rig_clear(&rig->server);
}

static void release_end(struct rig *rig, struct rig_end *end)
{
    if (end->connection) {
        tf_amqp_abandon(end->connection);
        rig_pull(rig, end);
        assert_true(tf_amqp_closing(end->connection, NULL));
        assert_ptr_equal(tf_amqp_take(end->connection), end->buffer);
    }
    free(end->buffer);
    for (size_t i = 0; i < end->memory_count; i++)
        free(end->memory[i]);
    free(end->memory);
    free(end->links);
    free(end->in);
    free(end->raw);
    rig_text_clear(&end->log);
    end->connection = NULL;
}

void rig_release(struct rig *rig)
{
    release_end(rig, &rig->client);
    release_end(rig, &rig->server);
}

/* ---- the application's part ---- */

struct tf_amqp_session *rig_begin(struct rig *rig, struct rig_end *end)
{
    size_t size = tf_amqp_session_size(&end->config);
    void *memory = rig_alloc(end, size);
    struct tf_amqp_session *session = NULL;
    enum tf_err err;

    while ((err = tf_amqp_session_begin(end->connection, memory, size, NULL, &session)) == TF_AGAIN)
        rig_run(rig);
    assert_int_equal(err, TF_OK);
    end->session = session;
    rig_run(rig);
    return session;
}

static struct tf_amqp_link *attach_link(struct rig *rig, struct rig_end *end,
                                        struct tf_amqp_session *session,
                                        struct tf_amqp_attach *attach)
{
    size_t size = tf_amqp_link_size(&end->config);
    void *memory = rig_alloc(end, size);
    struct tf_amqp_link *link = NULL;
    enum tf_err err;

    attach->source.type = TF_AMQP_SOURCE;
    attach->target.type = TF_AMQP_TARGET;
    attach->snd_settle_mode = TF_AMQP_SND_MIXED;
    while ((err = tf_amqp_link_attach(session, memory, size, NULL, attach, &link)) == TF_AGAIN)
        rig_run(rig);
    assert_int_equal(err, TF_OK);
    add_link(end, link);
    rig_run(rig);
    return link;
}

struct tf_amqp_link *rig_attach(struct rig *rig, struct rig_end *end,
                                struct tf_amqp_session *session, const char *name,
                                enum tf_amqp_role role, const char *address)
{
    struct tf_amqp_attach attach = {.name = tf_bytes_str(name), .role = role};
    struct tf_amqp_terminus *terminus = role == TF_AMQP_SENDER ? &attach.target : &attach.source;

    terminus->has_address = true;
    terminus->address = tf_bytes_str(address);
    return attach_link(rig, end, session, &attach);
}

unsigned rig_line(struct rig *rig, enum tf_amqp_role role, enum tf_amqp_rcv_settle_mode mode)
{
    unsigned index = rig->client.link_count;
    char name[3] = {'l', (char)('0' + index), 0};
    struct tf_amqp_attach attach = {
        .name = tf_bytes_str(name), .role = role, .rcv_settle_mode = mode};

    attach_link(rig, &rig->client, rig->client.session, &attach);
    assert_int_equal(rig->server.link_count, index + 1);
    return index;
}

/* ---- a raw peer ---- */

/* The machine that a raw peer talks to. */
static struct rig_end *machine(struct rig *rig)
{
    return rig->server.connection ? &rig->server : &rig->client;
}

size_t rig_hex(const char *hex, uint8_t *ret, size_t length)
{
    size_t count = 0;

    for (; *hex; hex++) {
        unsigned byte;
        if (*hex == ' ')
            continue;
        assert_int_equal(sscanf(hex, "%2x", &byte), 1);
        assert_true(count < length);
        ret[count++] = (uint8_t)byte;
        hex++;
    }
    return count;
}

void rig_send_hex(struct rig *rig, const char *hex)
{
    struct rig_end *end = machine(rig);
    uint8_t bytes[4096];
    size_t count = rig_hex(hex, bytes, sizeof bytes);

    rig_arrive(end, bytes, count);
    rig_run(rig);
}

void rig_send_payload(struct rig *rig, uint16_t channel,
                      const struct tf_amqp_performative *performative, struct tf_bytes payload)
{
    struct rig_end *end = machine(rig);
    uint8_t bytes[4096];
    struct tf_writer writer = tf_writer_of(bytes, sizeof bytes);

    tf_amqp_frame_write(&writer, channel, performative, payload.length);
    assert_false(writer.failed);
    rig_arrive(end, bytes, tf_writer_length(&writer));
    rig_arrive(end, payload.data, payload.length);
    rig_run(rig);
}

void rig_send(struct rig *rig, uint16_t channel, const struct tf_amqp_performative *performative)
{
    rig_send_payload(rig, channel, performative, (struct tf_bytes){0});
}

void rig_send_begin(struct rig *rig, uint16_t channel, int remote_channel)
{
    struct tf_amqp_performative p = {.type = TF_AMQP_BEGIN_FRAME,
                                     .begin = {.has_remote_channel = remote_channel >= 0,
                                               .remote_channel = (uint16_t)remote_channel,
                                               .incoming_window = 16,
                                               .outgoing_window = 16,
                                               .handle_max = 1000}};

    rig_send(rig, channel, &p);
}

void rig_send_attach(struct rig *rig, uint16_t channel, const char *name, uint32_t handle,
                     enum tf_amqp_role role, const char *address)
{
    struct tf_amqp_performative p = {
        .type = TF_AMQP_ATTACH_FRAME,
        .attach = {.name = tf_bytes_str(name),
                   .handle = handle,
                   .role = role,
                   .snd_settle_mode = TF_AMQP_SND_MIXED,
                   .source = {.type = TF_AMQP_SOURCE},
                   .target = {.type = TF_AMQP_TARGET},
                   .has_initial_delivery_count = role == TF_AMQP_SENDER}};
    struct tf_amqp_terminus *terminus =
        role == TF_AMQP_SENDER ? &p.attach.target : &p.attach.source;

    terminus->has_address = true;
    terminus->address = tf_bytes_str(address);
    rig_send(rig, channel, &p);
}

void rig_send_detach(struct rig *rig, uint16_t channel, uint32_t handle, bool closed)
{
    struct tf_amqp_performative p = {.type = TF_AMQP_DETACH,
                                     .detach = {.handle = handle, .closed = closed}};

    rig_send(rig, channel, &p);
}

void rig_send_end(struct rig *rig, uint16_t channel)
{
    struct tf_amqp_performative p = {.type = TF_AMQP_END};

    rig_send(rig, channel, &p);
}

void rig_send_close(struct rig *rig)
{
    struct tf_amqp_performative p = {.type = TF_AMQP_CLOSE};

    rig_send(rig, 0, &p);
}

/* ---- what is expected ---- */

void rig_expect(struct rig_end *end, const char *lines)
{
    rig_text_expect(&end->log, lines);
}

void rig_clear(struct rig_end *end)
{
    rig_text_clear(&end->log);
}

void rig_expect_frames(struct rig *rig, const char *lines)
{
    rig_text_expect(rig->server.connection ? &rig->client.log : &rig->server.log, lines);
}

void rig_expect_idle(struct rig_end *end)
{
    assert_ptr_equal(tf_amqp_take(end->connection), end->buffer);
    assert_int_equal(tf_amqp_lend(end->connection, end->buffer, end->buffer_size), TF_OK);
}

void rig_expect_closing(const struct rig_end *end, enum tf_amqp_condition condition)
{
    const struct tf_amqp_error *error = NULL;

    assert_true(tf_amqp_closing(end->connection, &error));
    assert_int_equal(error->condition, condition);
}

void rig_expect_open(const struct rig_end *end)
{
    assert_false(tf_amqp_closing(end->connection, NULL));
    assert_true(tf_amqp_peer_max_frame_size(end->connection) > 512);
}
