/*
 * What becomes of deliveries, told from one machine to the other: ranges, out of order, twice, in
 * two steps, by either side first, and when there is no room to say it.
 */
#include "rig.h"

#include <stdlib.h>

#include "amqp/connection.h"
#include "base/util.h"

enum { MOST = 64 };

/* What both applications have been told; the number of a delivery is its handle. */
struct story {
    unsigned count;          /* deliveries that arrived at b */
    uint64_t sent[MOST];     /* numbers, of the sender */
    uint64_t arrived[MOST];  /* numbers, of the receiver */
    unsigned outcomes[MOST]; /* told to a */
    unsigned finals[MOST];   /* of them settled */
    struct tf_amqp_state states[MOST];
    unsigned settled[MOST];         /* told to b */
    unsigned order[4 * MOST], told; /* handles in the order of their outcomes */
    bool settle_at_once;            /* a settles what it is told, and the one after it */
};

static bool on_event(struct rig *rig, struct rig_end *end, const struct tf_amqp_event *event)
{
    struct story *story = rig->user;
    size_t i = (size_t)event->handle;

    if (event->type == TF_AMQP_TRANSFER && !event->more && !event->aborted) {
        story->arrived[story->count++] = event->delivery;
    } else if (event->type == TF_AMQP_OUTCOME) {
        assert_ptr_equal(end, &rig->client);
        assert_ptr_equal(event->session, end->session);
        assert_int_equal(event->delivery, story->sent[i]);
        story->outcomes[i]++;
        story->finals[i] += event->settled;
        story->states[i] = event->state;
        story->order[story->told++] = (unsigned)i;
        if (story->settle_at_once) {
            tf_amqp_settle(end->connection, event->delivery, &event->state);
            tf_amqp_settle(end->connection, story->sent[i + 1], &event->state);
        }
    } else if (event->type == TF_AMQP_SETTLED) {
        for (i = 0; i < story->count && story->arrived[i] != event->delivery; i++)
            ;
        assert_true(i < story->count);
        story->settled[i]++;
    }
    return false;
}

/* Two machines with `count` unsettled deliveries on link 0, all of which have arrived. */
static struct story *begin(struct rig *rig, unsigned count, size_t buffer,
                           enum tf_amqp_rcv_settle_mode mode)
{
    struct story *story = calloc(1, sizeof(*story));
    struct tf_bytes body = tf_bytes_str("x");

    assert_non_null(story);
    rig->user = story;
    rig->client.on_event = rig->server.on_event = on_event;
    rig_join(rig, RIG_WHOLE, buffer);
    rig_line(rig, TF_AMQP_SENDER, mode);
    tf_amqp_link_credit(rig->server.links[0], MOST, false);
    rig_run(rig);
    for (unsigned i = 0; i < count; i++) {
        struct tf_amqp_sending sending = {
            .handle = i, .tag = tf_bytes_str("t"), .body = &body, .body_count = 1};
        while (tf_amqp_send(rig->client.links[0], &sending, NULL, &story->sent[i]))
            rig_run(rig);
    }
    rig_run(rig);
    assert_int_equal(story->count, count);
    return story;
}

static void finish(struct rig *rig)
{
    rig_release(rig);
    free(rig->user);
}

static const struct tf_amqp_state accepted = {.type = TF_AMQP_STATE_ACCEPTED};
static const struct tf_amqp_state released = {.type = TF_AMQP_STATE_RELEASED};

static void dispose(struct rig *rig, unsigned i, const struct tf_amqp_state *state, bool settled)
{
    const struct story *story = rig->user;

    assert_int_equal(tf_amqp_dispose(rig->server.connection, story->arrived[i], state, settled),
                     TF_OK);
    assert_true(tf_amqp_check(rig->server.connection));
}

/* The frames that an end has to send, all dispositions; their number, the first in *ret. */
static size_t dispositions(struct rig_end *end, struct tf_amqp_disposition *ret, size_t most)
{
    struct tf_bytes spans[1], payload, out;
    size_t count = 0, need;

    if (tf_amqp_output(end->connection, spans, 1) == 0)
        return 0;
    for (out = spans[0]; out.length > 0;) {
        struct tf_amqp_frame frame;
        struct tf_amqp_performative performative;
        enum tf_amqp_condition condition;
        assert_int_equal(tf_amqp_frame_read(out, 4096, &frame, &need), TF_OK);
        assert_int_equal(
            tf_amqp_performative_read(frame.body, frame.type, &performative, &payload, &condition),
            TF_OK);
        if (performative.type == TF_AMQP_DISPOSITION && count < most)
            ret[count++] = performative.disposition;
        out = tf_bytes_of(out.data + frame.size, out.length - frame.size);
    }
    return count;
}

static void neighbours_are_one_range(void **state)
{
    struct rig rig = {.seed = 1};
    struct tf_amqp_disposition said[8];
    struct story *story = begin(&rig, 20, 4096, TF_AMQP_RCV_FIRST);

    (void)state;
    for (unsigned i = 0; i < 10; i++)
        dispose(&rig, i, &accepted, true);
    for (unsigned i = 10; i < 15; i++)
        dispose(&rig, i, &released, true);
    for (unsigned i = 15; i < 18; i++)
        dispose(&rig, i, &released, false);
    dispose(&rig, 19, &released, false);
    assert_int_equal(dispositions(&rig.server, said, 8), 4);
    assert_true(said[0].first == 0 && said[0].last == 9 && said[0].settled);
    assert_true(said[1].first == 10 && said[1].last == 14 && said[1].settled);
    assert_true(said[2].first == 15 && said[2].last == 17 && !said[2].settled);
    assert_true(said[3].first == 19 && !said[3].has_last);
    assert_int_equal(said[0].role, TF_AMQP_RECEIVER);
    assert_int_equal(said[1].state.type, TF_AMQP_STATE_RELEASED);
    rig_run(&rig);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(story->outcomes[i], i != 18);
        assert_int_equal(story->finals[i], i < 15);
    }
    assert_int_equal(story->states[9].type, TF_AMQP_STATE_ACCEPTED);
    assert_int_equal(story->states[10].type, TF_AMQP_STATE_RELEASED);
    finish(&rig);
}

static void out_of_order(void **state)
{
    struct rig rig = {.seed = 1};
    struct story *story = begin(&rig, 30, 1024, TF_AMQP_RCV_FIRST);

    (void)state;
    for (unsigned i = 30; i-- > 0;)
        dispose(&rig, i * 7 % 30, &accepted, true);
    rig_run(&rig);
    for (unsigned i = 0; i < 30; i++)
        assert_int_equal(story->finals[i], 1);
    assert_int_equal(rig.client.session->deliveries.tables[0].live, 0);
    assert_int_equal(rig.server.session->deliveries.tables[1].live, 0);
    finish(&rig);
}

/* Modified with its flags, and a rejection with its reason, come over whole. */
static void states_with_more(void **state)
{
    struct rig rig = {.seed = 1};
    struct story *story = begin(&rig, 4, 1024, TF_AMQP_RCV_FIRST);
    struct tf_amqp_state modified = {.type = TF_AMQP_STATE_MODIFIED, .delivery_failed = true};
    struct tf_amqp_state annotated = {.type = TF_AMQP_STATE_MODIFIED, .undeliverable_here = true};
    struct tf_amqp_state rejected = {.type = TF_AMQP_STATE_REJECTED,
                                     .error =
                                         tf_amqp_error_of(TF_AMQP_RESOURCE_LIMIT_EXCEEDED, "full")};
    static const uint8_t map[] = {0xc1, 0x07, 0x02, 0xa3, 0x01, 'k', 0xa1, 0x01, 'v'};

    (void)state;
    annotated.annotations = tf_bytes_of(map, sizeof(map));
    dispose(&rig, 0, &modified, true);
    dispose(&rig, 1, &annotated, true);
    dispose(&rig, 2, &rejected, true);
    rejected.error.description.length = 0;
    dispose(&rig, 3, &rejected, true);
    rig_flush(&rig, &rig.server);
    assert_int_equal(story->outcomes[0], 0);
    rig_run(&rig);
    assert_true(story->states[0].delivery_failed && !story->states[0].undeliverable_here);
    assert_true(!story->states[1].delivery_failed && story->states[1].undeliverable_here);
    assert_int_equal(story->states[1].annotations.length, sizeof(map));
    assert_int_equal(story->states[2].error.condition, TF_AMQP_RESOURCE_LIMIT_EXCEEDED);
    assert_int_equal(story->states[2].error.description.length, 4);
    assert_int_equal(story->states[3].error.condition, TF_AMQP_RESOURCE_LIMIT_EXCEEDED);
    finish(&rig);
}

/* Fills the output of an end up to the last byte. */
static void fill_output(struct rig_end *end)
{
    struct tf_output *output = &end->connection->output;

    while (tf_output_room(output, 0) >= 8) {
        struct tf_writer writer = tf_writer_of(tf_output_next(output), 8);
        tf_amqp_frame_write_empty(&writer);
        tf_output_wrote(output, 8);
    }
}

static void without_room_nothing_is_lost(void **state)
{
    struct rig rig = {.seed = 1};
    struct story *story = begin(&rig, 40, 1024, TF_AMQP_RCV_FIRST);
    struct tf_amqp_state rejected = {.type = TF_AMQP_STATE_REJECTED,
                                     .error = tf_amqp_error_of(TF_AMQP_NOT_FOUND, "no such")};
    struct tf_amqp_state annotated = {.type = TF_AMQP_STATE_MODIFIED};
    static const uint8_t map[] = {0xc1, 0x07, 0x02, 0xa3, 0x01, 'k', 0xa1, 0x01, 'v'};

    (void)state;
    annotated.annotations = tf_bytes_of(map, sizeof(map));
    fill_output(&rig.server);
    for (unsigned i = 0; i < 30; i++)
        dispose(&rig, i * 7 % 30, i % 2 ? &accepted : &released, i % 3 != 0);
    dispose(&rig, 30, &rejected, true);
    assert_int_equal(tf_amqp_dispose(rig.server.connection, story->arrived[31], &annotated, true),
                     TF_AGAIN);
    assert_int_equal(tf_amqp_dispose(rig.server.connection, story->arrived[7], &accepted, true),
                     TF_NOT_FOUND); /* said already, if not sent */
    assert_true(rig.server.session->deliveries.unsent[1] > 0);
    tf_amqp_link_detach(rig.server.links[0], true, NULL);
    rig_run(&rig);
    for (unsigned i = 0; i < 30; i++) {
        /* what was not settled is forgotten with the link */
        if (i % 3 != 0)
            assert_int_equal(story->finals[i * 7 % 30], 1);
    }
    assert_int_equal(story->finals[30], 1);
    assert_int_equal(story->states[30].error.condition, TF_AMQP_NOT_FOUND);
    assert_int_equal(rig.server.session->deliveries.tables[1].live, 0);
    finish(&rig);
}

static void what_waited_goes_out_in_ranges(void **state)
{
    struct rig rig = {.seed = 1};
    struct tf_amqp_disposition said[8];
    struct story *story = begin(&rig, 40, 1024, TF_AMQP_RCV_FIRST);

    (void)state;
    fill_output(&rig.server);
    dispose(&rig, 39, &released, true); /* the saying */
    for (unsigned i = 30; i-- > 0;)
        dispose(&rig, i, &accepted, true); /* in their records */
    assert_int_equal(rig.server.session->deliveries.unsent[1], 30);
    rig_flush(&rig, &rig.server);
    assert_int_equal(dispositions(&rig.server, said, 8), 2);
    assert_true(said[1].first == 0 && said[1].last == 29);
    rig_run(&rig);
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(story->finals[i], i < 30 || i == 39);
    finish(&rig);
}

/* rcv-settle-mode second: the outcome, then the sender settles, then the receiver forgets. */
static void in_two_steps(void **state)
{
    struct rig rig = {.seed = 1};
    struct story *story = begin(&rig, 5, 1024, TF_AMQP_RCV_SECOND);

    (void)state;
    for (unsigned i = 0; i < 5; i++)
        dispose(&rig, i, &accepted, false);
    rig_run(&rig);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(story->outcomes[i], 1);
        assert_int_equal(story->finals[i], 0);
        assert_int_equal(tf_amqp_settle(rig.client.connection, story->sent[i], NULL), TF_OK);
    }
    rig_run(&rig);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(story->settled[i], 1);
        assert_int_equal(tf_amqp_dispose(rig.server.connection, story->arrived[i], &accepted, true),
                         TF_NOT_FOUND);
    }
    assert_int_equal(rig.client.session->deliveries.tables[0].live, 0);
    assert_int_equal(rig.server.session->deliveries.tables[1].live, 0);
    finish(&rig);
}

static void the_sender_settles_first(void **state)
{
    struct rig rig = {.seed = 1};
    struct story *story = begin(&rig, 3, 1024, TF_AMQP_RCV_FIRST);

    (void)state;
    dispose(&rig, 0, &accepted, true); /* at the same time */
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(tf_amqp_settle(rig.client.connection, story->sent[i], NULL), TF_OK);
    rig_run(&rig);
    assert_int_equal(story->told, 0);
    assert_int_equal(story->settled[0], 0);
    assert_int_equal(story->settled[1], 1);
    assert_int_equal(story->settled[2], 1);
    assert_int_equal(rig.client.session->deliveries.tables[0].live, 0);
    assert_int_equal(rig.server.session->deliveries.tables[1].live, 0);
    finish(&rig);
}

/* The same state again is no news; another is; settled at last. */
static void news_only(void **state)
{
    struct rig rig = {.seed = 1};
    struct story *story = begin(&rig, 1, 1024, TF_AMQP_RCV_FIRST);

    (void)state;
    dispose(&rig, 0, &accepted, false);
    rig_run(&rig);
    dispose(&rig, 0, &accepted, false);
    rig_run(&rig);
    assert_int_equal(story->outcomes[0], 1);
    dispose(&rig, 0, &released, false);
    rig_run(&rig);
    assert_int_equal(story->outcomes[0], 2);
    dispose(&rig, 0, &(struct tf_amqp_state){.type = TF_AMQP_STATE_NONE}, true);
    rig_run(&rig);
    assert_int_equal(story->outcomes[0], 3);
    assert_int_equal(story->finals[0], 1);
    assert_int_equal(story->states[0].type, TF_AMQP_STATE_RELEASED);
    finish(&rig);
}

/* A disposition as a peer might send it that has another machine. */
static void raw(struct rig *rig, struct rig_end *end, enum tf_amqp_role role, uint32_t first,
                uint32_t last, const struct tf_amqp_state *state, bool settled)
{
    struct tf_amqp_performative performative = {.type = TF_AMQP_DISPOSITION};
    uint8_t bytes[1000];
    struct tf_writer writer = tf_writer_of(bytes, sizeof bytes);

    performative.disposition = (struct tf_amqp_disposition){.role = role,
                                                            .first = first,
                                                            .has_last = true,
                                                            .last = last,
                                                            .settled = settled,
                                                            .state = *state};
    tf_amqp_frame_write(&writer, 0, &performative, 0);
    assert_false(writer.failed);
    rig_arrive(end, bytes, tf_writer_length(&writer));
    while (rig_take(rig, end))
        ;
}

static void any_range_at_the_cost_of_what_lives(void **state)
{
    struct rig rig = {.seed = 1};
    struct story *story = begin(&rig, 10, 4096, TF_AMQP_RCV_FIRST);

    (void)state;
    raw(&rig, &rig.client, TF_AMQP_RECEIVER, 20, 4000000000u, &accepted, true);
    raw(&rig, &rig.client, TF_AMQP_SENDER, 0, UINT32_MAX, &accepted, true); /* we got nothing */
    raw(&rig, &rig.server, TF_AMQP_RECEIVER, 0, UINT32_MAX, &accepted, true);
    assert_int_equal(story->told, 0);
    raw(&rig, &rig.client, TF_AMQP_RECEIVER, 3, 4, &accepted, true);
    assert_int_equal(story->told, 2);
    raw(&rig, &rig.client, TF_AMQP_RECEIVER, 3, 4, &accepted, true);
    assert_int_equal(story->told, 2);
    raw(&rig, &rig.client, TF_AMQP_RECEIVER, 0, UINT32_MAX, &released, false);
    assert_int_equal(story->told, 10);
    for (unsigned i = 0; i < 100; i++)
        raw(&rig, &rig.client, TF_AMQP_RECEIVER, 0, UINT32_MAX, &accepted, true);
    assert_int_equal(story->told, 18);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(story->finals[i], 1);
    raw(&rig, &rig.server, TF_AMQP_SENDER, UINT32_MAX - 5, 100, &accepted, true);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(story->settled[i], 1);
    assert_int_equal(rig.client.closed + rig.server.closed + rig.client.ended + rig.server.ended,
                     0);
    finish(&rig);
}

/* The application settles, within the walk of a range, what the walk stands on and goes to. */
static void settling_within_a_walk(void **state)
{
    struct rig rig = {.seed = 1};
    struct story *story = begin(&rig, 11, 4096, TF_AMQP_RCV_FIRST);

    (void)state;
    story->settle_at_once = true;
    raw(&rig, &rig.client, TF_AMQP_RECEIVER, 0, UINT32_MAX, &accepted, false);
    assert_int_equal(story->told, 6);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(story->order[i], 2 * i);
    assert_int_equal(rig.client.session->deliveries.tables[0].live, 0);
    rig_run(&rig);
    for (unsigned i = 0; i < 11; i++)
        assert_int_equal(story->settled[i], 1);
    finish(&rig);
}

/* We have settled, but had no room to say it: the peer's word is no news any more. */
static void a_word_that_comes_too_late(void **state)
{
    struct rig rig = {.seed = 1};
    struct story *story = begin(&rig, 10, 1024, TF_AMQP_RCV_FIRST);

    (void)state;
    fill_output(&rig.client);
    for (unsigned i = 10; i-- > 0;)
        assert_int_equal(tf_amqp_settle(rig.client.connection, story->sent[i], NULL), TF_OK);
    assert_int_equal(rig.client.session->deliveries.unsent[0], 9);
    tf_output_sent(
        &rig.client.connection->output, /* behind the machine's back: there is room again */
        rig.client.connection->output.used - rig.client.connection->output.sent);
    raw(&rig, &rig.client, TF_AMQP_RECEIVER, 0, UINT32_MAX, &released, false);
    assert_int_equal(rig.client.session->deliveries.unsent[0], 9);
    raw(&rig, &rig.client, TF_AMQP_RECEIVER, 0, UINT32_MAX, &accepted, true);
    assert_int_equal(story->told, 0);
    assert_int_equal(rig.client.session->deliveries.tables[0].live, 0);
    finish(&rig);
}

/* A state that is no outcome, and a sender's word that does not settle, say nothing. */
static void words_of_no_use(void **state)
{
    struct rig rig = {.seed = 1};
    struct story *story = begin(&rig, 2, 4096, TF_AMQP_RCV_FIRST);
    const struct tf_amqp_state received = {.type = TF_AMQP_STATE_RECEIVED}, none = {0};

    (void)state;
    raw(&rig, &rig.client, TF_AMQP_RECEIVER, 0, 1, &received, false);
    raw(&rig, &rig.client, TF_AMQP_RECEIVER, 0, 1, &none, false);
    raw(&rig, &rig.server, TF_AMQP_SENDER, 0, 1, &accepted, false);
    assert_int_equal(story->told + story->settled[0], 0);
    assert_int_equal(rig.server.session->deliveries.tables[1].live, 2);
    finish(&rig);
}

/* What dispositions look for is counted, found or not: at most what lives, for each. */
static void effort_is_told(void **state)
{
    struct rig rig = {.seed = 1};
    uint64_t effort;

    (void)state;
    begin(&rig, 20, 4096, TF_AMQP_RCV_FIRST);
    effort = tf_amqp_effort(rig.client.connection);
    raw(&rig, &rig.client, TF_AMQP_RECEIVER, 100, 109, &accepted, true);
    assert_int_equal(tf_amqp_effort(rig.client.connection) - effort, 10);
    raw(&rig, &rig.client, TF_AMQP_RECEIVER, 100, UINT32_MAX, &accepted, true);
    assert_int_equal(tf_amqp_effort(rig.client.connection) - effort, 30);
    raw(&rig, &rig.client, TF_AMQP_RECEIVER, 0, 0, &accepted, true);
    effort = tf_amqp_effort(rig.client.connection) - effort;
    assert_true(effort > 30 && effort <= 33);
    finish(&rig);
}

/* The number of a delivery whose session is over is never another's. */
static void stale_numbers(void **state)
{
    struct rig rig = {.seed = 1};
    struct story *story = begin(&rig, 2, 4096, TF_AMQP_RCV_FIRST);
    uint64_t old = story->arrived[0], sent = story->sent[0];
    size_t size = tf_amqp_session_size(&rig.client.config);
    struct tf_bytes body = tf_bytes_str("x");
    struct tf_amqp_sending sending = {
        .handle = 9, .tag = tf_bytes_str("t"), .body = &body, .body_count = 1};

    (void)state;
    assert_int_equal(
        tf_amqp_dispose(rig.server.connection, old ^ UINT64_C(1) << 63, &accepted, true),
        TF_NOT_FOUND);
    assert_int_equal(
        tf_amqp_dispose(rig.server.connection, old ^ UINT64_C(1) << 32, &accepted, true),
        TF_NOT_FOUND);
    tf_amqp_session_end(rig.client.session, NULL);
    assert_int_equal(tf_amqp_settle(rig.client.connection, sent, NULL), TF_NOT_FOUND);
    rig_run(&rig);
    rig.client.link_count = rig.server.link_count = 0;
    assert_int_equal(tf_amqp_session_begin(rig.client.connection, rig_alloc(&rig.client, size),
                                           size, NULL, &rig.client.session),
                     TF_OK);
    rig_run(&rig);
    rig_line(&rig, TF_AMQP_SENDER, TF_AMQP_RCV_FIRST);
    tf_amqp_link_credit(rig.server.links[0], 9, false);
    rig_run(&rig);
    while (tf_amqp_send(rig.client.links[0], &sending, NULL, &story->sent[9]))
        rig_run(&rig);
    rig_run(&rig);
    assert_int_equal(story->count, 3);
    assert_int_equal((uint32_t)story->arrived[2], (uint32_t)old);
    assert_int_equal(tf_amqp_dispose(rig.server.connection, old, &accepted, true), TF_NOT_FOUND);
    assert_int_equal(tf_amqp_settle(rig.client.connection, sent, NULL), TF_NOT_FOUND);
    dispose(&rig, 2, &accepted, true);
    rig_run(&rig);
    assert_int_equal(story->finals[9], 1);
    tf_amqp_close(rig.server.connection, NULL);
    assert_int_equal(tf_amqp_dispose(rig.server.connection, story->arrived[2], &accepted, true),
                     TF_NOT_FOUND);
    finish(&rig);
}

/* With a link go its deliveries, and no other's. */
static void a_link_takes_its_deliveries_along(void **state)
{
    struct rig rig = {.seed = 1};
    struct story *story = begin(&rig, 3, 4096, TF_AMQP_RCV_FIRST);
    struct tf_bytes body = tf_bytes_str("x");
    struct tf_amqp_sending sending = {.tag = tf_bytes_str("t"), .body = &body, .body_count = 1};

    (void)state;
    rig_line(&rig, TF_AMQP_SENDER, TF_AMQP_RCV_FIRST);
    tf_amqp_link_credit(rig.server.links[1], 9, false);
    rig_run(&rig);
    for (unsigned i = 3; i < 8; i++) {
        sending.handle = i;
        assert_int_equal(tf_amqp_send(rig.client.links[i % 2], &sending, NULL, &story->sent[i]),
                         TF_OK);
    }
    rig_run(&rig);
    assert_int_equal(story->count, 8);
    tf_amqp_link_detach(rig.client.links[0], true, NULL);
    rig_run(&rig);
    assert_int_equal(rig.client.session->deliveries.tables[0].live, 3);
    assert_int_equal(rig.server.session->deliveries.tables[1].live, 3);
    assert_int_equal(tf_amqp_dispose(rig.server.connection, story->arrived[4], &accepted, true),
                     TF_NOT_FOUND);
    raw(&rig, &rig.client, TF_AMQP_RECEIVER, 0, UINT32_MAX, &accepted, true);
    assert_int_equal(story->told, 3);
    assert_int_equal(story->finals[3] + story->finals[5] + story->finals[7], 3);
    finish(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(neighbours_are_one_range),
        cmocka_unit_test(out_of_order),
        cmocka_unit_test(states_with_more),
        cmocka_unit_test(without_room_nothing_is_lost),
        cmocka_unit_test(what_waited_goes_out_in_ranges),
        cmocka_unit_test(in_two_steps),
        cmocka_unit_test(the_sender_settles_first),
        cmocka_unit_test(news_only),
        cmocka_unit_test(any_range_at_the_cost_of_what_lives),
        cmocka_unit_test(settling_within_a_walk),
        cmocka_unit_test(a_word_that_comes_too_late),
        cmocka_unit_test(words_of_no_use),
        cmocka_unit_test(effort_is_told),
        cmocka_unit_test(stale_numbers),
        cmocka_unit_test(a_link_takes_its_deliveries_along),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
