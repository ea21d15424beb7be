/*
 * What becomes of deliveries, told from one machine to the other: ranges, out of order, twice, in
 * two steps, by either side first, and when there is no room to say it.
 */
#include "pair.h"

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

static void on_event(struct pair *pair, struct side *side, const struct tf_amqp_event *event)
{
    struct story *story = pair->user;
    size_t i = (size_t)event->handle;

    if (event->type == TF_AMQP_TRANSFER && !event->more && !event->aborted) {
        story->arrived[story->count++] = event->delivery;
    } else if (event->type == TF_AMQP_OUTCOME) {
        assert_ptr_equal(side, &pair->a);
        assert_ptr_equal(event->session, side->session);
        assert_int_equal(event->delivery, story->sent[i]);
        story->outcomes[i]++;
        story->finals[i] += event->settled;
        story->states[i] = event->state;
        story->order[story->told++] = (unsigned)i;
        if (story->settle_at_once) {
            tf_amqp_settle(side->machine, event->delivery, &event->state);
            tf_amqp_settle(side->machine, story->sent[i + 1], &event->state);
        }
    } else if (event->type == TF_AMQP_SETTLED) {
        for (i = 0; i < story->count && story->arrived[i] != event->delivery; i++)
            ;
        assert_true(i < story->count);
        story->settled[i]++;
    }
}

/* A pair with `count` unsettled deliveries on link 0, all of which have arrived. */
static struct story *begin(struct pair *pair, unsigned count, size_t buffer,
                           enum tf_amqp_rcv_settle_mode mode)
{
    struct story *story = calloc(1, sizeof(*story));
    struct tf_bytes body = tf_bytes_str("x");

    assert_non_null(story);
    pair->user = story;
    pair->a.on_event = pair->b.on_event = on_event;
    pair_open(pair, PAIR_WHOLE, buffer);
    pair_attach(pair, TF_AMQP_SENDER, mode);
    tf_amqp_link_credit(pair->b.links[0], MOST, false);
    pair_run(pair);
    for (unsigned i = 0; i < count; i++) {
        struct tf_amqp_sending sending = {
            .handle = i, .tag = tf_bytes_str("t"), .body = &body, .body_count = 1};
        while (tf_amqp_send(pair->a.links[0], &sending, NULL, &story->sent[i]))
            pair_run(pair);
    }
    pair_run(pair);
    assert_int_equal(story->count, count);
    return story;
}

static void end(struct pair *pair)
{
    free(pair->user);
    pair_close(pair);
}

static const struct tf_amqp_state accepted = {.type = TF_AMQP_STATE_ACCEPTED};
static const struct tf_amqp_state released = {.type = TF_AMQP_STATE_RELEASED};

static void dispose(struct pair *pair, unsigned i, const struct tf_amqp_state *state, bool settled)
{
    const struct story *story = pair->user;

    assert_int_equal(tf_amqp_dispose(pair->b.machine, story->arrived[i], state, settled), TF_OK);
    assert_true(tf_amqp_check(pair->b.machine));
}

/* The frames that a side has to send, all dispositions; their number, the first in *ret. */
static size_t dispositions(struct side *side, struct tf_amqp_disposition *ret, size_t most)
{
    struct tf_bytes spans[1], payload, out;
    size_t count = 0, need;

    if (tf_amqp_output(side->machine, spans, 1) == 0)
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
    struct pair pair = {.seed = 1};
    struct tf_amqp_disposition said[8];
    struct story *story = begin(&pair, 20, 4096, TF_AMQP_RCV_FIRST);

    (void)state;
    for (unsigned i = 0; i < 10; i++)
        dispose(&pair, i, &accepted, true);
    for (unsigned i = 10; i < 15; i++)
        dispose(&pair, i, &released, true);
    for (unsigned i = 15; i < 18; i++)
        dispose(&pair, i, &released, false);
    dispose(&pair, 19, &released, false);
    assert_int_equal(dispositions(&pair.b, said, 8), 4);
    assert_true(said[0].first == 0 && said[0].last == 9 && said[0].settled);
    assert_true(said[1].first == 10 && said[1].last == 14 && said[1].settled);
    assert_true(said[2].first == 15 && said[2].last == 17 && !said[2].settled);
    assert_true(said[3].first == 19 && !said[3].has_last);
    assert_int_equal(said[0].role, TF_AMQP_RECEIVER);
    assert_int_equal(said[1].state.type, TF_AMQP_STATE_RELEASED);
    pair_run(&pair);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(story->outcomes[i], i != 18);
        assert_int_equal(story->finals[i], i < 15);
    }
    assert_int_equal(story->states[9].type, TF_AMQP_STATE_ACCEPTED);
    assert_int_equal(story->states[10].type, TF_AMQP_STATE_RELEASED);
    end(&pair);
}

static void out_of_order(void **state)
{
    struct pair pair = {.seed = 1};
    struct story *story = begin(&pair, 30, 1024, TF_AMQP_RCV_FIRST);

    (void)state;
    for (unsigned i = 30; i-- > 0;)
        dispose(&pair, i * 7 % 30, &accepted, true);
    pair_run(&pair);
    for (unsigned i = 0; i < 30; i++)
        assert_int_equal(story->finals[i], 1);
    assert_int_equal(pair.a.session->deliveries.tables[0].live, 0);
    assert_int_equal(pair.b.session->deliveries.tables[1].live, 0);
    end(&pair);
}

/* Modified with its flags, and a rejection with its reason, come over whole. */
static void states_with_more(void **state)
{
    struct pair pair = {.seed = 1};
    struct story *story = begin(&pair, 4, 1024, TF_AMQP_RCV_FIRST);
    struct tf_amqp_state modified = {.type = TF_AMQP_STATE_MODIFIED, .delivery_failed = true};
    struct tf_amqp_state annotated = {.type = TF_AMQP_STATE_MODIFIED, .undeliverable_here = true};
    struct tf_amqp_state rejected = {.type = TF_AMQP_STATE_REJECTED,
                                     .error =
                                         tf_amqp_error_of(TF_AMQP_RESOURCE_LIMIT_EXCEEDED, "full")};
    static const uint8_t map[] = {0xc1, 0x07, 0x02, 0xa3, 0x01, 'k', 0xa1, 0x01, 'v'};

    (void)state;
    annotated.annotations = tf_bytes_of(map, sizeof(map));
    dispose(&pair, 0, &modified, true);
    dispose(&pair, 1, &annotated, true);
    dispose(&pair, 2, &rejected, true);
    rejected.error.description.length = 0;
    dispose(&pair, 3, &rejected, true);
    pair_flush(&pair, &pair.b);
    assert_int_equal(story->outcomes[0], 0);
    pair_run(&pair);
    assert_true(story->states[0].delivery_failed && !story->states[0].undeliverable_here);
    assert_true(!story->states[1].delivery_failed && story->states[1].undeliverable_here);
    assert_int_equal(story->states[1].annotations.length, sizeof(map));
    assert_int_equal(story->states[2].error.condition, TF_AMQP_RESOURCE_LIMIT_EXCEEDED);
    assert_int_equal(story->states[2].error.description.length, 4);
    assert_int_equal(story->states[3].error.condition, TF_AMQP_RESOURCE_LIMIT_EXCEEDED);
    end(&pair);
}

/* Fills the output of a side up to the last byte. */
static void fill_output(struct side *side)
{
    struct tf_output *output = &side->machine->output;

    while (tf_output_room(output, 0) >= 8) {
        struct tf_writer writer = tf_writer_of(tf_output_next(output), 8);
        tf_amqp_frame_write_empty(&writer);
        tf_output_wrote(output, 8);
    }
}

static void without_room_nothing_is_lost(void **state)
{
    struct pair pair = {.seed = 1};
    struct story *story = begin(&pair, 40, 1024, TF_AMQP_RCV_FIRST);
    struct tf_amqp_state rejected = {.type = TF_AMQP_STATE_REJECTED,
                                     .error = tf_amqp_error_of(TF_AMQP_NOT_FOUND, "no such")};
    struct tf_amqp_state annotated = {.type = TF_AMQP_STATE_MODIFIED};
    static const uint8_t map[] = {0xc1, 0x07, 0x02, 0xa3, 0x01, 'k', 0xa1, 0x01, 'v'};

    (void)state;
    annotated.annotations = tf_bytes_of(map, sizeof(map));
    fill_output(&pair.b);
    for (unsigned i = 0; i < 30; i++)
        dispose(&pair, i * 7 % 30, i % 2 ? &accepted : &released, i % 3 != 0);
    dispose(&pair, 30, &rejected, true);
    assert_int_equal(tf_amqp_dispose(pair.b.machine, story->arrived[31], &annotated, true),
                     TF_AGAIN);
    assert_int_equal(tf_amqp_dispose(pair.b.machine, story->arrived[7], &accepted, true),
                     TF_NOT_FOUND); /* said already, if not sent */
    assert_true(pair.b.session->deliveries.unsent[1] > 0);
    tf_amqp_link_detach(pair.b.links[0], true, NULL);
    pair_run(&pair);
    for (unsigned i = 0; i < 30; i++) {
        /* what was not settled is forgotten with the link */
        if (i % 3 != 0)
            assert_int_equal(story->finals[i * 7 % 30], 1);
    }
    assert_int_equal(story->finals[30], 1);
    assert_int_equal(story->states[30].error.condition, TF_AMQP_NOT_FOUND);
    assert_int_equal(pair.b.session->deliveries.tables[1].live, 0);
    end(&pair);
}

static void what_waited_goes_out_in_ranges(void **state)
{
    struct pair pair = {.seed = 1};
    struct tf_amqp_disposition said[8];
    struct story *story = begin(&pair, 40, 1024, TF_AMQP_RCV_FIRST);

    (void)state;
    fill_output(&pair.b);
    dispose(&pair, 39, &released, true); /* the saying */
    for (unsigned i = 30; i-- > 0;)
        dispose(&pair, i, &accepted, true); /* in their records */
    assert_int_equal(pair.b.session->deliveries.unsent[1], 30);
    pair_flush(&pair, &pair.b);
    assert_int_equal(dispositions(&pair.b, said, 8), 2);
    assert_true(said[1].first == 0 && said[1].last == 29);
    pair_run(&pair);
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(story->finals[i], i < 30 || i == 39);
    end(&pair);
}

/* rcv-settle-mode second: the outcome, then the sender settles, then the receiver forgets. */
static void in_two_steps(void **state)
{
    struct pair pair = {.seed = 1};
    struct story *story = begin(&pair, 5, 1024, TF_AMQP_RCV_SECOND);

    (void)state;
    for (unsigned i = 0; i < 5; i++)
        dispose(&pair, i, &accepted, false);
    pair_run(&pair);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(story->outcomes[i], 1);
        assert_int_equal(story->finals[i], 0);
        assert_int_equal(tf_amqp_settle(pair.a.machine, story->sent[i], NULL), TF_OK);
    }
    pair_run(&pair);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(story->settled[i], 1);
        assert_int_equal(tf_amqp_dispose(pair.b.machine, story->arrived[i], &accepted, true),
                         TF_NOT_FOUND);
    }
    assert_int_equal(pair.a.session->deliveries.tables[0].live, 0);
    assert_int_equal(pair.b.session->deliveries.tables[1].live, 0);
    end(&pair);
}

static void the_sender_settles_first(void **state)
{
    struct pair pair = {.seed = 1};
    struct story *story = begin(&pair, 3, 1024, TF_AMQP_RCV_FIRST);

    (void)state;
    dispose(&pair, 0, &accepted, true); /* at the same time */
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(tf_amqp_settle(pair.a.machine, story->sent[i], NULL), TF_OK);
    pair_run(&pair);
    assert_int_equal(story->told, 0);
    assert_int_equal(story->settled[0], 0);
    assert_int_equal(story->settled[1], 1);
    assert_int_equal(story->settled[2], 1);
    assert_int_equal(pair.a.session->deliveries.tables[0].live, 0);
    assert_int_equal(pair.b.session->deliveries.tables[1].live, 0);
    end(&pair);
}

/* The same state again is no news; another is; settled at last. */
static void news_only(void **state)
{
    struct pair pair = {.seed = 1};
    struct story *story = begin(&pair, 1, 1024, TF_AMQP_RCV_FIRST);

    (void)state;
    dispose(&pair, 0, &accepted, false);
    pair_run(&pair);
    dispose(&pair, 0, &accepted, false);
    pair_run(&pair);
    assert_int_equal(story->outcomes[0], 1);
    dispose(&pair, 0, &released, false);
    pair_run(&pair);
    assert_int_equal(story->outcomes[0], 2);
    dispose(&pair, 0, &(struct tf_amqp_state){.type = TF_AMQP_STATE_NONE}, true);
    pair_run(&pair);
    assert_int_equal(story->outcomes[0], 3);
    assert_int_equal(story->finals[0], 1);
    assert_int_equal(story->states[0].type, TF_AMQP_STATE_RELEASED);
    end(&pair);
}

/* A disposition as a peer might send it that has another machine. */
static void raw(struct pair *pair, struct side *side, enum tf_amqp_role role, uint32_t first,
                uint32_t last, const struct tf_amqp_state *state, bool settled)
{
    struct tf_amqp_performative performative = {.type = TF_AMQP_DISPOSITION};
    struct tf_writer writer = tf_writer_of(side->wire + side->wire_length, 1000);

    performative.disposition = (struct tf_amqp_disposition){.role = role,
                                                            .first = first,
                                                            .has_last = true,
                                                            .last = last,
                                                            .settled = settled,
                                                            .state = *state};
    tf_amqp_frame_write(&writer, 0, &performative, 0);
    assert_false(writer.failed);
    side->wire_length += tf_writer_length(&writer);
    while (pair_take(pair, side))
        ;
}

static void any_range_at_the_cost_of_what_lives(void **state)
{
    struct pair pair = {.seed = 1};
    struct story *story = begin(&pair, 10, 4096, TF_AMQP_RCV_FIRST);

    (void)state;
    raw(&pair, &pair.a, TF_AMQP_RECEIVER, 20, 4000000000u, &accepted, true);
    raw(&pair, &pair.a, TF_AMQP_SENDER, 0, UINT32_MAX, &accepted, true); /* we got nothing */
    raw(&pair, &pair.b, TF_AMQP_RECEIVER, 0, UINT32_MAX, &accepted, true);
    assert_int_equal(story->told, 0);
    raw(&pair, &pair.a, TF_AMQP_RECEIVER, 3, 4, &accepted, true);
    assert_int_equal(story->told, 2);
    raw(&pair, &pair.a, TF_AMQP_RECEIVER, 3, 4, &accepted, true);
    assert_int_equal(story->told, 2);
    raw(&pair, &pair.a, TF_AMQP_RECEIVER, 0, UINT32_MAX, &released, false);
    assert_int_equal(story->told, 10);
    for (unsigned i = 0; i < 100; i++)
        raw(&pair, &pair.a, TF_AMQP_RECEIVER, 0, UINT32_MAX, &accepted, true);
    assert_int_equal(story->told, 18);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(story->finals[i], 1);
    raw(&pair, &pair.b, TF_AMQP_SENDER, UINT32_MAX - 5, 100, &accepted, true);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(story->settled[i], 1);
    assert_int_equal(pair.a.closed + pair.b.closed + pair.a.ended + pair.b.ended, 0);
    end(&pair);
}

/* The application settles, within the walk of a range, what the walk stands on and goes to. */
static void settling_within_a_walk(void **state)
{
    struct pair pair = {.seed = 1};
    struct story *story = begin(&pair, 11, 4096, TF_AMQP_RCV_FIRST);

    (void)state;
    story->settle_at_once = true;
    raw(&pair, &pair.a, TF_AMQP_RECEIVER, 0, UINT32_MAX, &accepted, false);
    assert_int_equal(story->told, 6);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(story->order[i], 2 * i);
    assert_int_equal(pair.a.session->deliveries.tables[0].live, 0);
    pair_run(&pair);
    for (unsigned i = 0; i < 11; i++)
        assert_int_equal(story->settled[i], 1);
    end(&pair);
}

/* We have settled, but had no room to say it: the peer's word is no news any more. */
static void a_word_that_comes_too_late(void **state)
{
    struct pair pair = {.seed = 1};
    struct story *story = begin(&pair, 10, 1024, TF_AMQP_RCV_FIRST);

    (void)state;
    fill_output(&pair.a);
    for (unsigned i = 10; i-- > 0;)
        assert_int_equal(tf_amqp_settle(pair.a.machine, story->sent[i], NULL), TF_OK);
    assert_int_equal(pair.a.session->deliveries.unsent[0], 9);
    tf_output_sent(&pair.a.machine->output, /* behind the machine's back: there is room again */
                   pair.a.machine->output.used - pair.a.machine->output.sent);
    raw(&pair, &pair.a, TF_AMQP_RECEIVER, 0, UINT32_MAX, &released, false);
    assert_int_equal(pair.a.session->deliveries.unsent[0], 9);
    raw(&pair, &pair.a, TF_AMQP_RECEIVER, 0, UINT32_MAX, &accepted, true);
    assert_int_equal(story->told, 0);
    assert_int_equal(pair.a.session->deliveries.tables[0].live, 0);
    end(&pair);
}

/* A state that is no outcome, and a sender's word that does not settle, say nothing. */
static void words_of_no_use(void **state)
{
    struct pair pair = {.seed = 1};
    struct story *story = begin(&pair, 2, 4096, TF_AMQP_RCV_FIRST);
    const struct tf_amqp_state received = {.type = TF_AMQP_STATE_RECEIVED}, none = {0};

    (void)state;
    raw(&pair, &pair.a, TF_AMQP_RECEIVER, 0, 1, &received, false);
    raw(&pair, &pair.a, TF_AMQP_RECEIVER, 0, 1, &none, false);
    raw(&pair, &pair.b, TF_AMQP_SENDER, 0, 1, &accepted, false);
    assert_int_equal(story->told + story->settled[0], 0);
    assert_int_equal(pair.b.session->deliveries.tables[1].live, 2);
    end(&pair);
}

/* The number of a delivery whose session is over is never another's. */
static void stale_numbers(void **state)
{
    struct pair pair = {.seed = 1};
    struct story *story = begin(&pair, 2, 4096, TF_AMQP_RCV_FIRST);
    uint64_t old = story->arrived[0], sent = story->sent[0];
    size_t size = tf_amqp_session_size(&pair.a.config);
    struct tf_bytes body = tf_bytes_str("x");
    struct tf_amqp_sending sending = {
        .handle = 9, .tag = tf_bytes_str("t"), .body = &body, .body_count = 1};

    (void)state;
    assert_int_equal(tf_amqp_dispose(pair.b.machine, old ^ UINT64_C(1) << 63, &accepted, true),
                     TF_NOT_FOUND);
    assert_int_equal(tf_amqp_dispose(pair.b.machine, old ^ UINT64_C(1) << 32, &accepted, true),
                     TF_NOT_FOUND);
    tf_amqp_session_end(pair.a.session, NULL);
    assert_int_equal(tf_amqp_settle(pair.a.machine, sent, NULL), TF_NOT_FOUND);
    pair_run(&pair);
    pair.a.link_count = pair.b.link_count = 0;
    assert_int_equal(
        tf_amqp_session_begin(pair.a.machine, malloc(size), size, NULL, &pair.a.session), TF_OK);
    pair_run(&pair);
    pair_attach(&pair, TF_AMQP_SENDER, TF_AMQP_RCV_FIRST);
    tf_amqp_link_credit(pair.b.links[0], 9, false);
    pair_run(&pair);
    while (tf_amqp_send(pair.a.links[0], &sending, NULL, &story->sent[9]))
        pair_run(&pair);
    pair_run(&pair);
    assert_int_equal(story->count, 3);
    assert_int_equal((uint32_t)story->arrived[2], (uint32_t)old);
    assert_int_equal(tf_amqp_dispose(pair.b.machine, old, &accepted, true), TF_NOT_FOUND);
    assert_int_equal(tf_amqp_settle(pair.a.machine, sent, NULL), TF_NOT_FOUND);
    dispose(&pair, 2, &accepted, true);
    pair_run(&pair);
    assert_int_equal(story->finals[9], 1);
    tf_amqp_close(pair.b.machine, NULL);
    assert_int_equal(tf_amqp_dispose(pair.b.machine, story->arrived[2], &accepted, true),
                     TF_NOT_FOUND);
    end(&pair);
}

/* With a link go its deliveries, and no other's. */
static void a_link_takes_its_deliveries_along(void **state)
{
    struct pair pair = {.seed = 1};
    struct story *story = begin(&pair, 3, 4096, TF_AMQP_RCV_FIRST);
    struct tf_bytes body = tf_bytes_str("x");
    struct tf_amqp_sending sending = {.tag = tf_bytes_str("t"), .body = &body, .body_count = 1};

    (void)state;
    pair_attach(&pair, TF_AMQP_SENDER, TF_AMQP_RCV_FIRST);
    tf_amqp_link_credit(pair.b.links[1], 9, false);
    pair_run(&pair);
    for (unsigned i = 3; i < 8; i++) {
        sending.handle = i;
        assert_int_equal(tf_amqp_send(pair.a.links[i % 2], &sending, NULL, &story->sent[i]), TF_OK);
    }
    pair_run(&pair);
    assert_int_equal(story->count, 8);
    tf_amqp_link_detach(pair.a.links[0], true, NULL);
    pair_run(&pair);
    assert_int_equal(pair.a.session->deliveries.tables[0].live, 3);
    assert_int_equal(pair.b.session->deliveries.tables[1].live, 3);
    assert_int_equal(tf_amqp_dispose(pair.b.machine, story->arrived[4], &accepted, true),
                     TF_NOT_FOUND);
    raw(&pair, &pair.a, TF_AMQP_RECEIVER, 0, UINT32_MAX, &accepted, true);
    assert_int_equal(story->told, 3);
    assert_int_equal(story->finals[3] + story->finals[5] + story->finals[7], 3);
    end(&pair);
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
        cmocka_unit_test(stale_numbers),
        cmocka_unit_test(a_link_takes_its_deliveries_along),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
