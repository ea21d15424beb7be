/*
 * The parts of the resource server that a program may leave out: observers, collected bodies,
 * /.well-known/core.
 */
#include "unit/coap/serving.h"

#include <stdio.h>

#include <trefoil/coap_link.h>

#include "base/util.h"

/* ---- a resource whose value the tests set ---- */

static struct {
    uint8_t code;
    const char *text;
    uint16_t format;
    unsigned calls, notifications;
    bool changes; /* by being read */
    char body[256];
    uint32_t offset;
    bool more;
    char query[32];
} now_is;

static uint8_t value_get(const struct tf_coap_server_request *request,
                         struct tf_coap_answer *answer)
{
    struct tf_bytes query;

    now_is.calls++;
    now_is.notifications += request->handle == 0;
    now_is.query[0] = 0;
    if (now_is.changes)
        tf_coap_resource_changed(request->server, request->resource);
    if (tf_coap_option_find(request->options, TF_COAP_URI_QUERY, &query))
        snprintf(now_is.query, sizeof now_is.query, "%.*s", (int)query.length,
                 (const char *)query.data);
    if (now_is.text) {
        tf_coap_answer_uint(answer, TF_COAP_CONTENT_FORMAT, now_is.format);
        answer->body = tf_bytes_str(now_is.text);
    }
    return now_is.code;
}

/* Keeps what came; refuses a body that begins with '!'. */
static uint8_t value_put(const struct tf_coap_server_request *request,
                         struct tf_coap_answer *answer)
{
    (void)answer;
    now_is.calls++;
    now_is.offset = request->offset;
    now_is.more = request->more;
    snprintf(now_is.body, sizeof now_is.body, "%.*s", (int)request->body.length,
             (const char *)request->body.data);
    if (now_is.body[0] == '!')
        return TF_COAP_FORBIDDEN;
    if (request->more)
        return TF_COAP_CONTINUE;
    tf_coap_resource_changed(request->server, request->resource);
    return TF_COAP_CHANGED;
}

static const struct tf_coap_resource_type value_type = {.handlers[TF_COAP_GET] = value_get,
                                                        .handlers[TF_COAP_PUT] = value_put,
                                                        .handlers[TF_COAP_FETCH] = value_get,
                                                        .flags = TF_COAP_OBSERVABLE},
                                          plain_type = {.handlers[TF_COAP_GET] = value_get},
                                          chunk_type = {.handlers[TF_COAP_PUT] = value_put,
                                                        .flags = TF_COAP_CHUNKS};

/* ---- observers ---- */

#define WATCHES 3u

struct observed {
    struct serving s;
    struct tf_coap_watch watches[WATCHES];
    struct tf_coap_resource value, plain;
};

static void observed_start(struct observed *f)
{
    struct tf_coap_endpoint_config config = probe_config();

    memset(&now_is, 0, sizeof now_is);
    now_is.code = TF_COAP_CONTENT;
    now_is.text = "zero";
    config.notify_con = true;
    serving_start(&f->s, &config);
    f->value = node("v", &value_type);
    f->plain = node("p", &plain_type);
    add(&f->s.root, &f->value);
    add(&f->s.root, &f->plain);
    tf_coap_server_give_observers(&f->s.server, f->watches, WATCHES);
}

/* Sends GET with Observe; what the answer's Observe says, -1: there is none. */
static int64_t observe_as(struct observed *f, uint32_t peer, uint8_t method, const char *path,
                          uint32_t observe, uint32_t token)
{
    struct packet packet;

    packet_start(f->s.probe, &packet, TF_COAP_CON, method, token);
    packet_uint(&packet, TF_COAP_OBSERVE, observe);
    packet_path(&packet, path);
    probe_clear(f->s.probe);
    packet_feed(f->s.probe, peer, &packet);
    return probe_uint(&probe_only(f->s.probe)->message, TF_COAP_OBSERVE);
}

static size_t in_use(const struct observed *f)
{
    size_t count = 0;

    for (size_t i = 0; i < WATCHES; i++)
        count += f->watches[i].resource != NULL;
    return count;
}

/* Says that the value has changed, and lets the endpoint run; how many datagrams that made. */
static size_t change(struct observed *f, const char *text)
{
    now_is.text = text;
    tf_coap_resource_changed(&f->s.server, &f->value);
    probe_clear(f->s.probe);
    assert_false(tf_coap_server_notify(&f->s.server, f->s.probe->now));
    probe_run(f->s.probe);
    return f->s.probe->sent_count;
}

/* Acknowledges, or resets, all that was sent. */
static void answer_all(struct observed *f, enum tf_coap_type type)
{
    size_t count = f->s.probe->sent_count;

    for (size_t i = 0; i < count; i++) {
        const struct probe_sent *sent = &f->s.probe->sent[i];
        probe_feed_empty(f->s.probe, sent->peer, type, sent->message.message_id);
    }
}

static void test_observe(void **state)
{
    (void)state;
    struct observed f;

    observed_start(&f);
    int64_t first = observe_as(&f, 1, TF_COAP_GET, "/v", 0, 1);
    assert_true(first >= 0);
    assert_int_equal(in_use(&f), 1);
    int64_t second = observe_as(&f, 2, TF_COAP_GET, "/v", 0, 2);
    assert_true(second >= 0);
    assert_int_equal(in_use(&f), 2);

    /* Nothing has changed: nobody is told. */
    probe_clear(f.s.probe);
    assert_false(tf_coap_server_notify(&f.s.server, f.s.probe->now));
    probe_run(f.s.probe);
    assert_int_equal(f.s.probe->sent_count, 0);

    /* Each is told once, with its token, a higher number and the new state. */
    assert_int_equal(change(&f, "one"), 2);
    for (size_t i = 0; i < 2; i++) {
        const struct probe_sent *sent = &f.s.probe->sent[i];
        assert_int_equal(sent->message.code, TF_COAP_CONTENT);
        assert_int_equal(sent->message.type, TF_COAP_CON);
        assert_true(probe_uint(&sent->message, TF_COAP_OBSERVE) > first);
        assert_int_equal(sent->message.payload.length, 3);
        assert_memory_equal(sent->message.payload.data, "one", 3);
        assert_int_equal(sent->message.token.data[0], sent->peer);
    }
    assert_int_equal(now_is.notifications, 2);
    answer_all(&f, TF_COAP_ACK);
    assert_int_equal(in_use(&f), 2);

    /* A change of another resource is not their business. */
    tf_coap_resource_changed(&f.s.server, &f.plain);
    probe_clear(f.s.probe);
    (void)tf_coap_server_notify(&f.s.server, f.s.probe->now);
    probe_run(f.s.probe);
    assert_int_equal(f.s.probe->sent_count, 0);

    /* Observe 1 ends it. */
    assert_int_equal(observe_as(&f, 1, TF_COAP_GET, "/v", 1, 1), -1);
    assert_int_equal(in_use(&f), 1);
    assert_int_equal(change(&f, "two"), 1);
    assert_int_equal(f.s.probe->sent[0].peer, 2);
    answer_all(&f, TF_COAP_RST);
    assert_int_equal(in_use(&f), 0);
    assert_int_equal(change(&f, "three"), 0);
    serving_end(&f.s);
}

/* A PUT's handler says that the resource has changed: its answer goes first, then the news. */
static void test_observe_put(void **state)
{
    (void)state;
    struct observed f;
    struct packet packet;

    observed_start(&f);
    assert_true(observe_as(&f, 2, TF_COAP_GET, "/v", 0, 1) >= 0);
    packet_start(f.s.probe, &packet, TF_COAP_CON, TF_COAP_PUT, 5);
    packet_path(&packet, "/v");
    packet_payload(&packet, "x", 1);
    assert_int_equal(feed(&f.s, &packet), TF_COAP_CHANGED);
    probe_clear(f.s.probe);
    assert_false(tf_coap_server_notify(&f.s.server, f.s.probe->now));
    probe_run(f.s.probe);
    assert_int_equal(probe_only(f.s.probe)->peer, 2);
    serving_end(&f.s);
}

/* Changes while a notification is not acknowledged become one, with the newest state. */
static void test_observe_conflation(void **state)
{
    (void)state;
    struct observed f;

    observed_start(&f);
    assert_true(observe_as(&f, 1, TF_COAP_GET, "/v", 0, 1) >= 0);
    tf_coap_resource_changed(&f.s.server, &f.value);
    tf_coap_resource_changed(&f.s.server, &f.value);
    assert_int_equal(change(&f, "one"), 1);
    uint16_t id = f.s.probe->sent[0].message.message_id;
    int64_t number = probe_uint(&f.s.probe->sent[0].message, TF_COAP_OBSERVE);
    assert_int_equal(change(&f, "two"), 0);
    assert_int_equal(change(&f, "three"), 0);
    probe_feed_empty(f.s.probe, 1, TF_COAP_ACK, id);
    assert_int_equal(f.s.probe->sent_count, 0);
    assert_false(tf_coap_server_notify(&f.s.server, f.s.probe->now));
    probe_run(f.s.probe);
    const struct tf_coap_message *message = &probe_only(f.s.probe)->message;
    assert_memory_equal(message->payload.data, "three", 5);
    assert_true(probe_uint(message, TF_COAP_OBSERVE) > number);
    serving_end(&f.s);
}

/* Who cannot be an observer gets a plain answer. */
static void test_observe_refused(void **state)
{
    (void)state;
    struct observed f;
    struct packet packet;

    observed_start(&f);
    assert_int_equal(observe_as(&f, 1, TF_COAP_GET, "/p", 0, 1), -1);
    assert_int_equal(observe_as(&f, 1, TF_COAP_FETCH, "/v", 0, 1), -1);
    assert_int_equal(in_use(&f), 0);
    /* Options that are longer than what is kept of them. */
    packet_start(f.s.probe, &packet, TF_COAP_CON, TF_COAP_GET, 1);
    packet_uint(&packet, TF_COAP_OBSERVE, 0);
    packet_path(&packet, "/v");
    packet_text(&packet, TF_COAP_URI_QUERY,
                "a-query-that-is-longer-than-what-the-server-keeps-of-an-observer's-options");
    assert_int_equal(feed(&f.s, &packet), TF_COAP_CONTENT);
    assert_int_equal(probe_uint(&probe_only(f.s.probe)->message, TF_COAP_OBSERVE), -1);
    assert_int_equal(in_use(&f), 0);
    /* An answer that is no 2.05. */
    now_is.code = TF_COAP_NOT_FOUND;
    assert_int_equal(observe_as(&f, 1, TF_COAP_GET, "/v", 0, 1), -1);
    assert_int_equal(in_use(&f), 0);
    now_is.code = TF_COAP_CONTENT;
    /* No memory is left; one that registers anew still gets through, thanks to the spare one. */
    for (uint32_t i = 1; i <= WATCHES; i++)
        assert_true(observe_as(&f, i, TF_COAP_GET, "/v", 0, 1) >= 0);
    assert_int_equal(observe_as(&f, 9, TF_COAP_GET, "/v", 0, 1), -1);
    assert_int_equal(probe_only(f.s.probe)->message.code, TF_COAP_CONTENT);
    assert_int_equal(change(&f, "one"), WATCHES);
    answer_all(&f, TF_COAP_RST);
    assert_int_equal(in_use(&f), 0);
    for (uint32_t i = 1; i <= 20; i++)
        assert_true(observe_as(&f, 1, TF_COAP_GET, "/v", 0, 1) >= 0);
    assert_int_equal(in_use(&f), 1);
    assert_int_equal(change(&f, "two"), 1);
    /* Numbers grow with each answer too, though nothing has changed (RFC 7641 4.4). */
    int64_t number = probe_uint(&f.s.probe->sent[0].message, TF_COAP_OBSERVE);
    assert_true(observe_as(&f, 1, TF_COAP_GET, "/v", 0, 1) > number);
    serving_end(&f.s);
}

/* A resource that changes by being read: each notification is followed by one more, but there is no
 * end to wait for. */
static void test_observe_restless(void **state)
{
    (void)state;
    struct observed f;

    observed_start(&f);
    assert_true(observe_as(&f, 1, TF_COAP_GET, "/v", 0, 1) >= 0);
    now_is.changes = true;
    for (unsigned i = 0; i < 5; i++) {
        probe_clear(f.s.probe);
        if (!i)
            tf_coap_resource_changed(&f.s.server, &f.value);
        assert_false(tf_coap_server_notify(&f.s.server, f.s.probe->now));
        probe_run(f.s.probe);
        assert_int_equal(f.s.probe->sent_count, 1);
        answer_all(&f, TF_COAP_ACK);
    }
    serving_end(&f.s);
}

/* A resource may have its notifications in CON, though the config would have them in NON. */
static void test_observe_con(void **state)
{
    (void)state;
    static const struct tf_coap_resource_type types[] = {
        {.handlers[TF_COAP_GET] = value_get, .flags = TF_COAP_OBSERVABLE},
        {.handlers[TF_COAP_GET] = value_get, .flags = TF_COAP_OBSERVABLE | TF_COAP_NOTIFY_CON}};
    struct observed f;

    observed_start(&f);
    f.s.probe->config.notify_con = false;
    f.value.type = &types[0];
    assert_true(observe_as(&f, 1, TF_COAP_GET, "/v", 0, 1) >= 0);
    assert_int_equal(change(&f, "proves its address"), 1);
    answer_all(&f, TF_COAP_ACK);
    for (unsigned i = 0; i < 4; i++) {
        f.value.type = &types[i % 2];
        assert_int_equal(change(&f, "one"), 1);
        assert_int_equal(f.s.probe->sent[0].message.type, i % 2 ? TF_COAP_CON : TF_COAP_NON);
        if (i % 2)
            answer_all(&f, TF_COAP_ACK);
    }
    serving_end(&f.s);
}

/* A notification has the query of the registration; a code that is no success is the last. */
static void test_observe_ends(void **state)
{
    (void)state;
    struct observed f;
    struct packet packet;

    observed_start(&f);
    packet_start(f.s.probe, &packet, TF_COAP_CON, TF_COAP_GET, 1);
    packet_uint(&packet, TF_COAP_OBSERVE, 0);
    packet_path(&packet, "/v");
    packet_text(&packet, TF_COAP_URI_QUERY, "unit=k");
    assert_int_equal(feed(&f.s, &packet), TF_COAP_CONTENT);
    assert_int_equal(change(&f, "one"), 1);
    assert_string_equal(now_is.query, "unit=k");
    answer_all(&f, TF_COAP_ACK);

    now_is.code = TF_COAP_NOT_FOUND;
    assert_int_equal(change(&f, NULL), 1);
    assert_int_equal(f.s.probe->sent[0].message.code, TF_COAP_NOT_FOUND);
    assert_int_equal(probe_uint(&f.s.probe->sent[0].message, TF_COAP_OBSERVE), -1);
    answer_all(&f, TF_COAP_ACK);
    assert_int_equal(in_use(&f), 0);

    /* The same when the resource is taken out of the tree, */
    now_is.code = TF_COAP_CONTENT;
    now_is.text = "back";
    assert_true(observe_as(&f, 1, TF_COAP_GET, "/v", 0, 1) >= 0);
    tf_coap_resource_remove(&f.value);
    assert_int_equal(change(&f, "gone"), 1);
    assert_int_equal(f.s.probe->sent[0].message.code, TF_COAP_NOT_FOUND);
    answer_all(&f, TF_COAP_ACK);
    assert_int_equal(in_use(&f), 0);
    add(&f.s.root, &f.value);

    /* or when a handler cannot answer at once. */
    assert_true(observe_as(&f, 1, TF_COAP_GET, "/v", 0, 1) >= 0);
    now_is.code = TF_COAP_LATER;
    assert_int_equal(change(&f, "later"), 1);
    assert_int_equal(f.s.probe->sent[0].message.code, TF_COAP_INTERNAL_ERROR);
    answer_all(&f, TF_COAP_ACK);
    assert_int_equal(in_use(&f), 0);

    /* Another format than before: 4.06 (RFC 7641 4.2). */
    now_is.code = TF_COAP_CONTENT;
    assert_true(observe_as(&f, 1, TF_COAP_GET, "/v", 0, 1) >= 0);
    now_is.format = TF_COAP_FORMAT_JSON;
    assert_int_equal(change(&f, "{}"), 1);
    assert_int_equal(f.s.probe->sent[0].message.code, TF_COAP_NOT_ACCEPTABLE);
    answer_all(&f, TF_COAP_ACK);
    assert_int_equal(change(&f, "{}"), 0);
    assert_int_equal(in_use(&f), 0);

    /* Forgotten without a word. */
    assert_true(observe_as(&f, 1, TF_COAP_GET, "/v", 0, 1) >= 0);
    assert_true(observe_as(&f, 2, TF_COAP_GET, "/v", 0, 1) >= 0);
    tf_coap_resource_forget(&f.s.server, &f.value);
    assert_int_equal(in_use(&f), 0);
    assert_int_equal(change(&f, "one"), 0);
    serving_end(&f.s);
}

/* Output has room for one or two datagrams at a time: each is told all the same, and in turn. */
static void test_observe_room(void **state)
{
    (void)state;
    struct observed f;
    bool told[WATCHES + 1] = {false};
    unsigned rounds = 0;

    observed_start(&f);
    for (uint32_t i = 1; i <= WATCHES; i++)
        assert_true(observe_as(&f, i, TF_COAP_GET, "/v", 0, 1) >= 0);
    void *old = tf_coap_endpoint_take(f.s.probe->endpoint);
    size_t least = tf_coap_output_min(&f.s.probe->config);
    void *small = malloc(least);
    assert_non_null(old);
    assert_int_equal(tf_coap_endpoint_lend(f.s.probe->endpoint, small, least), TF_OK);
    tf_coap_resource_changed(&f.s.server, &f.value);
    probe_clear(f.s.probe);
    bool more = true;
    while (more) {
        more = tf_coap_server_notify(&f.s.server, f.s.probe->now);
        probe_run(f.s.probe);
        assert_true(++rounds < 10);
    }
    assert_true(rounds > 1);
    assert_int_equal(f.s.probe->sent_count, WATCHES);
    for (size_t i = 0; i < WATCHES; i++) {
        assert_false(told[f.s.probe->sent[i].peer]);
        told[f.s.probe->sent[i].peer] = true;
    }
    (void)tf_coap_endpoint_take(f.s.probe->endpoint);
    free(small);
    serving_end(&f.s);
}

/* Nobody acknowledges: the observer goes when the retransmissions are over. */
static void test_observe_silent(void **state)
{
    (void)state;
    struct observed f;

    observed_start(&f);
    assert_true(observe_as(&f, 1, TF_COAP_GET, "/v", 0, 1) >= 0);
    assert_int_equal(change(&f, "one"), 1);
    probe_pass(f.s.probe, 100 * TF_SECOND);
    assert_int_equal(f.s.probe->sent_count, 5);
    assert_int_equal(in_use(&f), 0);
    serving_end(&f.s);
}

/* ---- bodies in blocks ---- */

/* Sends one block of a body of 16-byte blocks; the code of the answer. */
static uint8_t put_block(struct serving *s, uint32_t peer, const char *path, const char *whole,
                         uint32_t number, uint32_t size1)
{
    size_t length = strlen(whole), offset = number * 16u;
    bool more = offset + 16 < length;
    struct packet packet;

    packet_start(s->probe, &packet, TF_COAP_CON, TF_COAP_PUT, 1);
    packet_path(&packet, path);
    packet_block(&packet, TF_COAP_BLOCK1, number, more, 0);
    if (size1)
        packet_uint(&packet, TF_COAP_SIZE1, size1);
    packet_payload(&packet, whole + offset, more ? 16 : length - offset);
    probe_clear(s->probe);
    packet_feed(s->probe, peer, &packet);
    return probe_only(s->probe)->message.code;
}

static const char three_blocks[] = "first block here second is there and third";

static void test_bodies(void **state)
{
    (void)state;
    struct serving s;
    uint8_t memory[2][64];
    struct tf_coap_server_body bodies[2];
    struct tf_coap_resource value = node("v", &value_type);

    memset(&now_is, 0, sizeof now_is);
    serving_start(&s, NULL);
    add(&s.root, &value);
    /* No memory was given: what fits into one message goes, nothing else. */
    assert_int_equal(put_block(&s, 1, "/v", three_blocks, 0, 0), TF_COAP_TOO_LARGE);
    assert_int_equal(put_block(&s, 1, "/v", "short", 0, 0), TF_COAP_CHANGED);
    assert_string_equal(now_is.body, "short");

    for (size_t i = 0; i < 2; i++)
        bodies[i] = (struct tf_coap_server_body){.data = memory[i], .size = sizeof memory[i]};
    tf_coap_server_give_bodies(&s.server, bodies, 2);
    now_is.calls = 0;
    assert_int_equal(put_block(&s, 1, "/v", three_blocks, 0, 0), TF_COAP_CONTINUE);
    /* Another client's meanwhile; and a third one finds no memory. */
    assert_int_equal(put_block(&s, 2, "/v", "!a body that is refused", 0, 0), TF_COAP_CONTINUE);
    assert_int_equal(put_block(&s, 3, "/v", three_blocks, 0, 0), TF_COAP_UNAVAILABLE);
    assert_int_equal(probe_uint(&probe_only(s.probe)->message, TF_COAP_MAX_AGE_OPTION), 1);
    assert_int_equal(put_block(&s, 1, "/v", three_blocks, 1, 0), TF_COAP_CONTINUE);
    assert_int_equal(now_is.calls, 0); /* handlers see it whole */
    assert_int_equal(put_block(&s, 2, "/v", "!a body that is refused", 1, 0), TF_COAP_FORBIDDEN);
    assert_int_equal(put_block(&s, 1, "/v", three_blocks, 2, 0), TF_COAP_CHANGED);
    assert_string_equal(now_is.body, three_blocks);
    assert_int_equal(now_is.offset, 0);
    assert_false(now_is.more);
    assert_int_equal(now_is.calls, 2);
    assert_int_equal(bodies[0].handle, 0);
    assert_int_equal(bodies[1].handle, 0);

    /* Too long, as Size1 says or as it turns out. */
    assert_int_equal(put_block(&s, 1, "/v", three_blocks, 0, 65), TF_COAP_TOO_LARGE);
    assert_int_equal(probe_uint(&probe_only(s.probe)->message, TF_COAP_SIZE1), 64);
    static const char long_text[] =
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde"
        "f0";
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(put_block(&s, 1, "/v", long_text, i, 0), TF_COAP_CONTINUE);
    assert_int_equal(put_block(&s, 1, "/v", long_text, 4, 0), TF_COAP_TOO_LARGE);
    assert_int_equal(probe_uint(&probe_only(s.probe)->message, TF_COAP_SIZE1), 64);
    assert_int_equal(bodies[0].handle, 0);
    /* One that just fits. */
    char fits[65];
    memset(fits, 'x', 64);
    fits[64] = 0;
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(put_block(&s, 1, "/v", fits, i, 64), TF_COAP_CONTINUE);
    assert_int_equal(put_block(&s, 1, "/v", fits, 3, 64), TF_COAP_CHANGED);
    assert_string_equal(now_is.body, fits);

    /* One that is given up makes room: by the peer's beginning anew, and by time. */
    assert_int_equal(put_block(&s, 1, "/v", three_blocks, 0, 0), TF_COAP_CONTINUE);
    assert_int_equal(put_block(&s, 1, "/v", three_blocks, 1, 0), TF_COAP_CONTINUE);
    assert_int_equal(put_block(&s, 1, "/v", fits, 0, 0), TF_COAP_CONTINUE);
    assert_int_equal((bodies[0].handle != 0) + (bodies[1].handle != 0), 1);
    probe_pass(s.probe, 300 * TF_SECOND);
    assert_int_equal(bodies[0].handle, 0);
    assert_int_equal(bodies[1].handle, 0);
    assert_int_equal(s.left, 0);
    serving_end(&s);
}

static void test_chunks(void **state)
{
    (void)state;
    struct serving s;
    struct tf_coap_resource chunks = node("c", &chunk_type);

    memset(&now_is, 0, sizeof now_is);
    serving_start(&s, NULL);
    add(&s.root, &chunks);
    assert_int_equal(put_block(&s, 1, "/c", three_blocks, 0, 0), TF_COAP_CONTINUE);
    assert_string_equal(now_is.body, "first block here");
    assert_true(now_is.more);
    assert_int_equal(put_block(&s, 1, "/c", three_blocks, 1, 0), TF_COAP_CONTINUE);
    assert_int_equal(now_is.offset, 16);
    assert_int_equal(put_block(&s, 1, "/c", three_blocks, 2, 0), TF_COAP_CHANGED);
    assert_int_equal(now_is.offset, 32);
    assert_false(now_is.more);
    assert_string_equal(now_is.body, " and third");
    assert_int_equal(now_is.calls, 3);

    /* An error ends it at once. */
    assert_int_equal(put_block(&s, 1, "/c", "!refused from the first block on", 0, 0),
                     TF_COAP_FORBIDDEN);
    assert_int_equal(
        tf_coap_class(put_block(&s, 1, "/c", "!refused from the first block on", 1, 0)), 4);
    /* One that is given up is told to the program. */
    assert_int_equal(put_block(&s, 1, "/c", three_blocks, 0, 0), TF_COAP_CONTINUE);
    probe_pass(s.probe, 300 * TF_SECOND);
    assert_int_equal(s.left, 1);
    assert_non_null(probe_event(s.probe, TF_COAP_EVENT_CANCELLED));
    serving_end(&s);
}

/* ---- /.well-known/core ---- */

static const struct tf_coap_link_attributes temp_link = {.rt = "temperature sensor",
                                                         .iface = "reading",
                                                         .ct = "0",
                                                         .title = "In the \"hall\"",
                                                         .sz = 2000},
                                            both_link = {.rt = "", .ct = "0 41"};
static const struct tf_coap_resource_type temp_type = {.handlers[TF_COAP_GET] = value_get,
                                                       .flags = TF_COAP_OBSERVABLE,
                                                       .link = &temp_link},
                                          both_type = {.handlers[TF_COAP_POST] = value_get,
                                                       .link = &both_link},
                                          hidden_type = {.handlers[TF_COAP_GET] = value_get,
                                                         .flags = TF_COAP_HIDDEN},
                                          nothing_type = {.flags = TF_COAP_OBSERVABLE};

struct listing {
    struct serving s;
    struct tf_coap_core core;
    uint8_t link[128], block[1024];
    struct tf_coap_resource temp, both, hidden, nothing, way, below, any, under_any, odd;
};

static void listing_start(struct listing *f)
{
    memset(&now_is, 0, sizeof now_is);
    serving_start(&f->s, NULL);
    f->temp = node("temp", &temp_type);
    f->both = node("both", &both_type);
    f->hidden = node("hidden", &hidden_type);
    f->nothing = node("nothing", &nothing_type);
    f->way = node("way", NULL);
    f->below = node("below", &plain_type);
    f->any = node(NULL, &plain_type);
    f->under_any = node("x", &plain_type);
    f->odd = node("a b/c", &plain_type);
    add(&f->s.root, &f->temp);
    add(&f->s.root, &f->hidden);
    add(&f->s.root, &f->nothing);
    add(&f->s.root, &f->way);
    add(&f->way, &f->below);
    add(&f->way, &f->any);
    add(&f->any, &f->under_any);
    add(&f->way, &f->odd);
    add(&f->s.root, &f->both);
    f->core = (struct tf_coap_core){.link = f->link,
                                    .link_size = sizeof f->link,
                                    .block = f->block,
                                    .block_size = sizeof f->block};
    assert_int_equal(tf_coap_server_add_core(&f->s.server, &f->core), TF_OK);
}

/* The text for a filter (NULL: none) in blocks of a size; the code must be 2.05 all along. */
static const char *listing_get(struct listing *f, const char *filter, unsigned szx)
{
    static char text[4096];
    size_t length = 0;
    struct tf_coap_block block = {0, true, (uint8_t)szx};
    struct tf_bytes etag = {NULL, 0};
    uint8_t first_etag[8];

    for (uint32_t number = 0; block.more; number++) {
        struct packet packet;
        packet_start(f->s.probe, &packet, TF_COAP_CON, TF_COAP_GET, 1);
        packet_path(&packet, "/.well-known/core");
        if (filter)
            packet_text(&packet, TF_COAP_URI_QUERY, filter);
        packet_block(&packet, TF_COAP_BLOCK2, number, false, szx);
        assert_int_equal(feed(&f->s, &packet), TF_COAP_CONTENT);
        const struct tf_coap_message *message = &probe_only(f->s.probe)->message;
        assert_int_equal(probe_uint(message, TF_COAP_CONTENT_FORMAT), TF_COAP_FORMAT_LINK);
        etag = probe_option(message, TF_COAP_ETAG);
        assert_in_range(etag.length, 1, 8);
        if (!number)
            memcpy(first_etag, etag.data, etag.length);
        assert_memory_equal(first_etag, etag.data, etag.length);
        block.more = false;
        (void)tf_coap_block_read(probe_option(message, TF_COAP_BLOCK2), &block);
        if (message->payload.length)
            memcpy(text + length, message->payload.data, message->payload.length);
        length += message->payload.length;
    }
    text[length] = 0;
    return text;
}

#define TEMP                                                                                      \
    "</temp>;rt=\"temperature sensor\";if=\"reading\";ct=0;sz=2000;title=\"In the \\\"hall\\\"\"" \
    ";obs"
#define BOTH "</both>;rt=\"\";ct=\"0 41\""
#define BELOW "</way/below>"
#define ODD "</way/a%20b%2Fc>"

static void test_core(void **state)
{
    (void)state;
    static const struct {
        const char *filter, *text;
    } rows[] = {
        {NULL, TEMP "," BELOW "," ODD "," BOTH},
        {"rt=temperature", TEMP},
        {"rt=sensor", TEMP},
        {"rt=sens", ""},
        {"rt=sens*", TEMP},
        {"if=reading", TEMP},
        {"ct=0", TEMP "," BOTH},
        {"ct=41", BOTH},
        {"sz=2000", TEMP},
        {"href=/way/below", BELOW},
        {"href=/way*", BELOW "," ODD},
        {"href=/nowhere", ""},
        {"obs", TEMP},
    };
    struct listing f;

    listing_start(&f);
    for (size_t i = 0; i < TF_COUNT(rows); i++) {
        for (unsigned szx = 0; szx <= TF_COAP_BLOCK_SZX_MAX; szx++)
            assert_string_equal(listing_get(&f, rows[i].filter, szx), rows[i].text);
    }
    assert_int_equal(ask(&f.s, TF_COAP_POST, "/.well-known/core"), TF_COAP_METHOD_NOT_ALLOWED);
    assert_int_equal(ask(&f.s, TF_COAP_GET, "/.well-known"), TF_COAP_NOT_FOUND);
    /* The root is a resource too, if it has a type. */
    f.s.root.type = &plain_type;
    assert_string_equal(listing_get(&f, "href=/", 6), "</>");
    serving_end(&f.s);
}

/* The ETag is another one when the tree is; the one that the client has gives 2.03. */
static void test_core_etag(void **state)
{
    (void)state;
    struct listing f;
    struct packet packet;
    uint8_t etag[8];

    listing_start(&f);
    (void)ask(&f.s, TF_COAP_GET, "/.well-known/core");
    struct tf_bytes first = probe_option(&probe_only(f.s.probe)->message, TF_COAP_ETAG);
    size_t length = first.length;
    assert_in_range(length, 1, sizeof etag);
    memcpy(etag, first.data, length);
    for (unsigned i = 0; i < 2; i++) {
        packet_start(f.s.probe, &packet, TF_COAP_CON, TF_COAP_GET, 1);
        tf_coap_encode_option(&packet.encoder, TF_COAP_ETAG, tf_bytes_of(etag, length));
        packet_path(&packet, "/.well-known/core");
        assert_int_equal(feed(&f.s, &packet), i ? TF_COAP_CONTENT : TF_COAP_VALID);
        tf_coap_resource_remove(&f.both);
    }
    serving_end(&f.s);
}

/* A link for which the buffer is too small is left out; the others are not. */
static void test_core_room(void **state)
{
    (void)state;
    struct listing f;

    listing_start(&f);
    f.core.link_size = strlen(TEMP);
    assert_string_equal(listing_get(&f, NULL, 6), TEMP "," BELOW "," ODD "," BOTH);
    f.core.link_size--;
    assert_string_equal(listing_get(&f, NULL, 6), BELOW "," ODD "," BOTH);
    f.core.link_size = 0;
    assert_string_equal(listing_get(&f, NULL, 6), "");
    serving_end(&f.s);
}

/* It finds its place beside what there is under /.well-known already. */
static void test_core_place(void **state)
{
    (void)state;
    struct serving s;
    struct tf_coap_resource well_known = node(".well-known", NULL),
                            edhoc = node("edhoc", &plain_type);
    struct tf_coap_core core = {0}, again = {0};
    uint8_t link[32], block[64];

    memset(&now_is, 0, sizeof now_is);
    serving_start(&s, NULL);
    add(&s.root, &well_known);
    add(&well_known, &edhoc);
    core.link = link;
    core.link_size = sizeof link;
    core.block = block;
    core.block_size = sizeof block;
    assert_int_equal(tf_coap_server_add_core(&s.server, &core), TF_OK);
    assert_int_equal(ask(&s, TF_COAP_GET, "/.well-known/core"), TF_COAP_CONTENT);
    assert_string_equal(answer_text(&s), "</.well-known/edhoc>");
    assert_int_equal(tf_coap_server_add_core(&s.server, &again), TF_EXISTS);
    serving_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_observe),
        cmocka_unit_test(test_observe_put),
        cmocka_unit_test(test_observe_conflation),
        cmocka_unit_test(test_observe_refused),
        cmocka_unit_test(test_observe_restless),
        cmocka_unit_test(test_observe_con),
        cmocka_unit_test(test_observe_ends),
        cmocka_unit_test(test_observe_room),
        cmocka_unit_test(test_observe_silent),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_core),
        cmocka_unit_test(test_core_etag),
        cmocka_unit_test(test_core_room),
        cmocka_unit_test(test_core_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
