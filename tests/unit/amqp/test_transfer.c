/*
 * Deliveries from one machine to another: of any length in frames of any size, by copy and by
 * reference, within credit and windows, cut off, aborted, and with ids that pass 2^32.
 */
#include "seen.h"

#include "amqp/connection.h"
#include "base/random.h"
#include "base/util.h"

static void fill(uint8_t *data, size_t length, uint64_t seed)
{
    for (size_t i = 0; i < length; i++)
        data[i] = (uint8_t)(seed + i * 7 + i / 251);
}

/* ---- one message ---- */

static void a_message_and_its_outcome(void **state)
{
    for (enum pair_split split = PAIR_WHOLE; split <= PAIR_RANDOM; split++) {
        struct pair pair = {.seed = 1};
        struct tf_bytes body = tf_bytes_str("hello");
        struct tf_amqp_sending sending = seen_sending(&body, 1);
        const struct tf_amqp_state accepted = {.type = TF_AMQP_STATE_ACCEPTED};
        uint64_t delivery;
        struct seen *a, *b;
        bool borrowed = true;

        seen_open(&pair, split, 1024);
        a = seen_of(&pair, &pair.a);
        b = seen_of(&pair, &pair.b);
        seen_sender(&pair, 2);
        sending.head = tf_bytes_str("head,");
        sending.prefix = tf_bytes_str("prefix,");
        delivery = seen_send(&pair, 0, &sending, &borrowed);
        assert_false(borrowed);
        assert_int_equal(tf_amqp_link_credit_left(pair.a.links[0]), 1);
        pair_run(&pair);
        assert_int_equal(b->complete, 1);
        assert_int_equal(b->runs, 1);
        assert_int_equal(b->length, 17);
        assert_memory_equal(b->body, "head,prefix,hello", 17);
        assert_int_equal(b->message_format, 9);
        assert_memory_equal(b->tag, "tag", 3);
        assert_false(b->last_settled);
        assert_int_equal(tf_amqp_link_credit_left(pair.b.links[0]), 1);
        assert_int_equal(tf_amqp_dispose(pair.b.machine, b->delivery, &accepted, true), TF_OK);
        assert_int_equal(tf_amqp_dispose(pair.b.machine, b->delivery, &accepted, true),
                         TF_NOT_FOUND);
        pair_run(&pair);
        assert_int_equal(a->outcomes, 1);
        assert_int_equal(a->state.type, TF_AMQP_STATE_ACCEPTED);
        assert_true(a->outcome_settled);
        assert_int_equal(tf_amqp_settle(pair.a.machine, delivery, NULL), TF_NOT_FOUND);
        assert_int_equal(a->returned, 0);
        seen_close(&pair);
    }
    (void)state;
}

static void pre_settled_leaves_no_record(void **state)
{
    struct pair pair = {.seed = 1};
    struct tf_bytes body = tf_bytes_str("x");
    struct tf_amqp_sending sending = seen_sending(&body, 1);
    struct seen *b;

    (void)state;
    pair.a.refuse_needs = pair.b.refuse_needs = false;
    seen_open(&pair, PAIR_WHOLE, 1024);
    b = seen_of(&pair, &pair.b);
    seen_sender(&pair, 10);
    sending.settled = true;
    seen_send(&pair, 0, &sending, NULL);
    pair_run(&pair);
    assert_int_equal(b->complete, 1);
    assert_true(b->last_settled);
    assert_int_equal(pair.a.session->deliveries.tables[0].capacity, 0);
    assert_int_equal(pair.b.session->deliveries.tables[1].capacity, 0);
    assert_int_equal(tf_amqp_dispose(pair.b.machine, b->delivery, NULL, true), TF_NOT_FOUND);
    seen_close(&pair);
}

static void an_empty_message(void **state)
{
    struct pair pair = {.seed = 1};
    struct tf_amqp_sending sending = seen_sending(NULL, 0);

    (void)state;
    seen_open(&pair, PAIR_BYTES, 1024);
    seen_sender(&pair, 10);
    sending.owner = 5;
    seen_send(&pair, 0, &sending, NULL);
    pair_run(&pair);
    assert_int_equal(seen_of(&pair, &pair.b)->complete, 1);
    assert_int_equal(seen_of(&pair, &pair.b)->length, 0);
    seen_close(&pair);
}

/* ---- any length ---- */

/* A body in pieces of many sizes, with owner, by copy or reference: arrives, and is returned. */
static void send_length(uint32_t frame, size_t buffer, uint32_t reference_from, size_t length,
                        enum pair_split split)
{
    struct pair pair = {.seed = length + frame};
    uint8_t *data = malloc(length + 1);
    struct tf_bytes pieces[40];
    size_t count = 0, at = 200 + 100;
    struct tf_amqp_sending sending;
    bool borrowed = false;
    struct seen *a, *b;

    assert_non_null(data);
    fill(data, length, frame);
    for (size_t step = 1; at < length; step = step * 3 + 1) {
        size_t size = count == 39 || step > length - at ? length - at : step;
        pieces[count++] = tf_bytes_of(data + at, size);
        at += size;
        if (count < 39)
            pieces[count++] = tf_bytes_of(NULL, 0);
    }
    pair.a.config = pair.b.config = pair_config();
    pair.b.config.max_frame_size = frame;
    pair.a.config.reference_from = reference_from;
    seen_open(&pair, split, buffer);
    a = seen_of(&pair, &pair.a);
    b = seen_of(&pair, &pair.b);
    seen_sender(&pair, 1);
    sending = seen_sending(pieces, count);
    sending.head = tf_bytes_of(data, 200);
    sending.prefix = tf_bytes_of(data + 200, 100);
    sending.owner = 4242;
    seen_send(&pair, 0, &sending, &borrowed);
    pair_run(&pair);
    assert_int_equal(b->complete, 1);
    assert_int_equal(b->length, length);
    assert_memory_equal(b->body, data, length);
    if (a->returned != borrowed)
        fail_msg("frame %u, buffer %zu, from %u, length %zu: returned %u, borrowed %d", frame,
                 buffer, reference_from, length, a->returned, borrowed);
    if (borrowed)
        assert_int_equal(a->owner, 4242);
    assert_ptr_equal(tf_amqp_take(pair.a.machine), pair.a.buffer);
    seen_close(&pair);
    free(data);
}

static void any_length_in_any_frames(void **state)
{
    static const uint32_t frames[] = {512, 513, 600, 4096, 65536, 1 << 20};
    static const size_t lengths[] = {300, 301, 440, 450, 460, 1000, 3000, 20000, 100001};
    static const uint32_t references[] = {0, 1, 100, 1024};

    (void)state;
    for (size_t f = 0; f < TF_COUNT(frames); f++) {
        for (size_t l = 0; l < TF_COUNT(lengths); l++) {
            for (size_t r = 0; r < TF_COUNT(references); r++) {
                send_length(frames[f], 1024, references[r], lengths[l], PAIR_WHOLE);
                send_length(frames[f], 5000, references[r], lengths[l], PAIR_RANDOM);
            }
        }
    }
    send_length(512, 1024, 1, 3000, PAIR_BYTES);
    send_length(4096, 1024, 0, 9000, PAIR_BYTES);
}

static void ten_mebibytes(void **state)
{
    (void)state;
    send_length(512, 65536, 1024, 10 << 20, PAIR_WHOLE);
    send_length(65536, 65536, 1024, 10 << 20, PAIR_WHOLE);
    send_length(1 << 20, 4096, 1024, 10 << 20, PAIR_WHOLE);
}

/* Every frame but the last is as long as the peer allows. */
static void frames_are_full(void **state)
{
    static uint8_t data[5000];
    struct pair pair = {.seed = 3};
    struct tf_bytes body = tf_bytes_of(data, sizeof(data)), out;
    struct tf_amqp_sending sending = seen_sending(&body, 1);
    struct tf_amqp_frame frame;
    struct tf_bytes spans[1];
    size_t need, frames = 0;

    (void)state;
    pair.a.config = pair.b.config = pair_config();
    pair.b.config.max_frame_size = 700;
    seen_open(&pair, PAIR_WHOLE, 65536);
    seen_sender(&pair, 1);
    sending.owner = 1;
    sending.settled = true;
    seen_send(&pair, 0, &sending, NULL);
    assert_int_equal(tf_amqp_output(pair.a.machine, spans, 1), 1);
    for (out = spans[0]; out.length > 0;
         out = tf_bytes_of(out.data + frame.size, out.length - frame.size)) {
        assert_int_equal(tf_amqp_frame_read(out, 700, &frame, &need), TF_OK);
        assert_true(frame.size == 700 || frame.size == out.length);
        frames++;
    }
    assert_true(frames >= 8);
    pair_run(&pair);
    assert_int_equal(seen_of(&pair, &pair.b)->length, 5000);
    seen_close(&pair);
}

/* The frames' heads are byte for byte what the codec writes of what it reads of them. */
static void heads_are_as_the_codec_writes_them(void **state)
{
    static uint8_t data[1200];
    struct tf_bytes body = tf_bytes_of(data, sizeof(data)), out, spans[1], payload;
    struct tf_amqp_performative performative;
    enum tf_amqp_condition condition;
    struct tf_amqp_frame frame;
    size_t need;

    (void)state;
    for (unsigned i = 0; i < 64; i++) {
        struct pair pair = {.seed = 3};
        struct tf_amqp_sending sending = seen_sending(&body, 1);
        uint8_t again[200];
        struct tf_writer writer;

        pair.b.config = pair_config();
        pair.b.config.max_frame_size = 600;
        seen_open(&pair, PAIR_WHOLE, 8192);
        seen_sender(&pair, 1);
        pair.a.session->deliveries.next_outgoing = i & 1 ? 0 : i & 2 ? 255 : 256;
        sending.settled = true;
        sending.batchable = i & 4;
        sending.message_format = i & 8 ? 0 : i & 16 ? 200 : 70000;
        sending.tag = tf_bytes_of(data, i & 32 ? 1 : 32);
        sending.owner = 1;
        seen_send(&pair, 0, &sending, NULL);
        assert_int_equal(tf_amqp_output(pair.a.machine, spans, 1), 1);
        for (out = spans[0]; out.length > 0;
             out = tf_bytes_of(out.data + frame.size, out.length - frame.size)) {
            assert_int_equal(tf_amqp_frame_read(out, 600, &frame, &need), TF_OK);
            assert_int_equal(tf_amqp_performative_read(frame.body, frame.type, &performative,
                                                       &payload, &condition),
                             TF_OK);
            writer = tf_writer_of(again, sizeof(again));
            tf_amqp_frame_write(&writer, frame.channel, &performative, payload.length);
            assert_int_equal(tf_writer_length(&writer), frame.size - payload.length);
            assert_memory_equal(again, out.data, tf_writer_length(&writer));
        }
        pair_run(&pair);
        assert_int_equal(seen_of(&pair, &pair.b)->length, sizeof(data));
        seen_close(&pair);
    }
}

/* ---- what stands against it ---- */

static void refusals(void **state)
{
    static uint8_t data[3000];
    struct pair pair = {.seed = 3};
    struct tf_bytes body = tf_bytes_of(data, 900);
    struct tf_amqp_sending sending = seen_sending(&body, 1);
    struct tf_amqp_link *link;

    (void)state;
    pair.a.config = pair.b.config = pair_config();
    pair.b.config.max_frame_size = 2000;
    pair.b.config.max_message_size = 2500;
    seen_open(&pair, PAIR_WHOLE, 1024);
    pair_attach(&pair, TF_AMQP_SENDER, TF_AMQP_RCV_FIRST);
    pair_attach(&pair, TF_AMQP_RECEIVER, TF_AMQP_RCV_FIRST);
    link = pair.a.links[0];
    assert_int_equal(tf_amqp_send(pair.a.links[1], &sending, NULL, NULL), TF_MISUSE);
    assert_int_equal(tf_amqp_send(link, &sending, NULL, NULL), TF_AGAIN); /* no credit */
    tf_amqp_link_credit(pair.b.links[0], 5, false);
    pair_run(&pair);
    sending.tag = tf_bytes_of(data, 33);
    assert_int_equal(tf_amqp_send(link, &sending, NULL, NULL), TF_MISUSE);
    sending.tag = tf_bytes_of(data, 0);
    assert_int_equal(tf_amqp_send(link, &sending, NULL, NULL), TF_MISUSE);
    sending.tag = tf_bytes_of(data, 32);
    sending.head = tf_bytes_of(data, 257);
    assert_int_equal(tf_amqp_send(link, &sending, NULL, NULL), TF_MISUSE);
    sending.head = tf_bytes_of(data, 0);
    sending.settled = true;
    body.length = 1000; /* more than the output */
    assert_int_equal(tf_amqp_send(link, &sending, NULL, NULL), TF_NO_MEMORY);
    body.length = 1980; /* more than a frame */
    assert_int_equal(tf_amqp_send(link, &sending, NULL, NULL), TF_LIMIT);
    body.length = 2501; /* more than the peer takes */
    sending.owner = 1;
    assert_int_equal(tf_amqp_send(link, &sending, NULL, NULL), TF_LIMIT);
    sending.owner = 0;
    body.length = 900;
    assert_int_equal(tf_amqp_send(link, &sending, NULL, NULL), TF_OK);
    assert_int_equal(tf_amqp_send(link, &sending, NULL, NULL), TF_AGAIN); /* the output is full */
    pair_run(&pair);
    assert_int_equal(tf_amqp_send(link, &sending, NULL, NULL), TF_OK);
    assert_int_equal(tf_amqp_link_credit_left(link), 3);
    tf_amqp_link_detach(link, true, NULL);
    assert_int_equal(tf_amqp_send(link, &sending, NULL, NULL), TF_CLOSED);
    pair_run(&pair);
    assert_int_equal(seen_of(&pair, &pair.b)->complete, 2);
    seen_close(&pair);
}

/* Without memory for a record nothing is sent, and nothing is taken in. */
static void needs_refused(void **state)
{
    struct pair pair = {.seed = 3};
    struct tf_bytes body = tf_bytes_str("x");
    struct tf_amqp_sending sending = seen_sending(&body, 1);

    (void)state;
    seen_open(&pair, PAIR_WHOLE, 1024);
    seen_sender(&pair, 5);
    pair.a.refuse_needs = true;
    pair.a.needs = 0;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(tf_amqp_send(pair.a.links[0], &sending, NULL, NULL), TF_AGAIN);
        pair_run(&pair);
    }
    assert_true(pair.a.needs >= 1);
    assert_int_equal(seen_of(&pair, &pair.b)->runs, 0);
    pair.a.refuse_needs = false;
    pair.b.refuse_needs = true;
    pair.b.needs = 0;
    seen_send(&pair, 0, &sending, NULL);
    pair_flush(&pair, &pair.a);
    pair_take(&pair, &pair.b);
    pair_take(&pair, &pair.b);
    assert_true(pair.b.needs >= 1);
    assert_int_equal(seen_of(&pair, &pair.b)->runs, 0);
    pair.b.refuse_needs = false;
    pair_run(&pair);
    assert_int_equal(seen_of(&pair, &pair.b)->runs, 1);
    seen_close(&pair);
}

static void no_more_unsettled_than_the_most(void **state)
{
    struct pair pair = {.seed = 3};
    struct tf_bytes body = tf_bytes_str("x");
    struct tf_amqp_sending sending = seen_sending(&body, 1);
    const struct tf_amqp_state released = {.type = TF_AMQP_STATE_RELEASED};
    uint64_t first = 0;

    (void)state;
    pair.a.config = pair.b.config = pair_config();
    pair.a.config.max_unsettled = 20;
    seen_open(&pair, PAIR_WHOLE, 4096);
    seen_sender(&pair, 100);
    for (unsigned i = 0; i < 20; i++) {
        seen_send(&pair, 0, &sending, NULL);
        pair_run(&pair);
        if (i == 0)
            first = seen_of(&pair, &pair.b)->delivery;
    }
    assert_int_equal(tf_amqp_send(pair.a.links[0], &sending, NULL, NULL), TF_AGAIN);
    assert_int_equal(pair.a.session->deliveries.tables[0].capacity, 20);
    assert_int_equal(tf_amqp_dispose(pair.b.machine, first, &released, true), TF_OK);
    pair_run(&pair);
    assert_int_equal(tf_amqp_send(pair.a.links[0], &sending, NULL, NULL), TF_OK);
    seen_close(&pair);
}

/* ---- windows ---- */

/* A window of one frame, opened a frame at a time: never more under way than that. */
static void a_window_of_one(void **state)
{
    static uint8_t data[4000];
    struct pair pair = {.seed = 3};
    struct tf_bytes body = tf_bytes_of(data, sizeof(data));
    struct tf_amqp_sending sending = seen_sending(&body, 1);
    struct seen *b;

    (void)state;
    fill(data, sizeof(data), 1);
    pair.a.config = pair.b.config = pair_config();
    pair.b.config.max_frame_size = 512;
    pair.b.config.incoming_window = 1;
    seen_open(&pair, PAIR_WHOLE, 65536);
    b = seen_of(&pair, &pair.b);
    seen_sender(&pair, 1);
    sending.owner = 8;
    seen_send(&pair, 0, &sending, NULL);
    pair_flush(&pair, &pair.a);
    assert_true(pair.b.wire_length <= 512);
    pair_run(&pair);
    assert_int_equal(b->complete, 1);
    assert_true(b->runs >= 9);
    assert_int_equal(b->length, sizeof(data));
    assert_memory_equal(b->body, data, sizeof(data));
    seen_close(&pair);
}

/* A window that is closed stops a delivery in the middle; opened again it goes on. */
static void a_window_closed_and_opened(void **state)
{
    static uint8_t data[4000];
    struct pair pair = {.seed = 3};
    struct tf_bytes body = tf_bytes_of(data, sizeof(data));
    struct tf_amqp_sending sending = seen_sending(&body, 1);
    struct seen *b;

    (void)state;
    pair.a.config = pair.b.config = pair_config();
    pair.b.config.max_frame_size = 512;
    pair.b.config.incoming_window = 4;
    seen_open(&pair, PAIR_WHOLE, 65536);
    b = seen_of(&pair, &pair.b);
    seen_sender(&pair, 1);
    tf_amqp_session_window(pair.b.session, 0);
    pair_run(&pair);
    assert_int_equal(tf_amqp_send(pair.a.links[0], &sending, NULL, NULL), TF_AGAIN);
    assert_int_equal(seen_of(&pair, &pair.a)->opened, 0);
    tf_amqp_session_window(pair.b.session, 2);
    pair_run(&pair);
    assert_int_equal(seen_of(&pair, &pair.a)->opened, 1);
    sending.owner = 8;
    seen_send(&pair, 0, &sending, NULL);
    tf_amqp_session_window(pair.b.session, 0);
    pair_flush(&pair, &pair.b);
    pair_run(&pair);
    assert_int_equal(b->complete, 0);
    assert_int_equal(b->runs, 2);
    tf_amqp_session_window(pair.b.session, 4);
    pair_run(&pair);
    assert_int_equal(b->complete, 1);
    assert_int_equal(b->length, sizeof(data));
    seen_close(&pair);
}

/* Long deliveries on several links: all go on, a frame each. */
static void links_take_turns(void **state)
{
    static uint8_t data[4000];
    struct pair pair = {.seed = 3};
    struct tf_bytes body = tf_bytes_of(data, sizeof(data));
    struct tf_amqp_sending sending = seen_sending(&body, 1);
    struct seen *b;

    (void)state;
    pair.a.config = pair.b.config = pair_config();
    pair.b.config.max_frame_size = 512;
    pair.b.config.incoming_window = 2;
    seen_open(&pair, PAIR_WHOLE, 65536);
    b = seen_of(&pair, &pair.b);
    for (unsigned i = 0; i < 3; i++) {
        pair_attach(&pair, TF_AMQP_SENDER, TF_AMQP_RCV_FIRST);
        tf_amqp_link_credit(pair.b.links[i], 1, false);
    }
    pair_run(&pair);
    tf_amqp_session_window(pair.b.session, 1);
    sending.settled = true;
    for (unsigned i = 0; i < 3; i++) {
        sending.owner = i + 1;
        seen_send(&pair, i, &sending, NULL);
        pair_flush(&pair, &pair.a);
        pair_take(&pair, &pair.b);
        pair_flush(&pair, &pair.b);
        pair_take(&pair, &pair.a);
    }
    assert_int_equal(b->begun, 3);
    while (b->complete == 0) {
        pair_flush(&pair, &pair.a);
        pair_take(&pair, &pair.b);
        pair_flush(&pair, &pair.b);
        pair_take(&pair, &pair.a);
    }
    assert_true(b->runs >= 3 * 6); /* the others are not far behind */
    pair_run(&pair);
    assert_int_equal(b->complete, 3);
    assert_int_equal(seen_of(&pair, &pair.a)->returned, 3);
    seen_close(&pair);
}

/* The receiver settles while we are still sending: what follows is sent as settled. */
static void settled_on_its_way(void **state)
{
    static uint8_t data[4000];
    struct pair pair = {.seed = 3};
    struct tf_bytes body = tf_bytes_of(data, sizeof(data));
    struct tf_amqp_sending sending = seen_sending(&body, 1);
    struct tf_amqp_performative performative = {.type = TF_AMQP_DISPOSITION};
    struct tf_writer writer;
    struct seen *b;

    (void)state;
    pair.a.config = pair.b.config = pair_config();
    pair.b.config.max_frame_size = 512;
    pair.b.config.incoming_window = 4;
    seen_open(&pair, PAIR_WHOLE, 4096);
    b = seen_of(&pair, &pair.b);
    seen_sender(&pair, 1);
    sending.owner = 8;
    seen_send(&pair, 0, &sending, NULL);
    pair_flush(&pair, &pair.a);
    performative.disposition = (struct tf_amqp_disposition){
        .role = TF_AMQP_RECEIVER, .settled = true, .state = {.type = TF_AMQP_STATE_RELEASED}};
    writer = tf_writer_of(pair.a.wire, 100);
    tf_amqp_frame_write(&writer, 0, &performative, 0);
    pair.a.wire_length = tf_writer_length(&writer);
    pair_take(&pair, &pair.a);
    assert_int_equal(seen_of(&pair, &pair.a)->outcomes, 1);
    pair_run(&pair);
    assert_int_equal(b->complete, 1);
    assert_true(b->last_settled);
    assert_int_equal(pair.b.session->deliveries.tables[1].live, 0);
    seen_close(&pair);
}

/* So it is when the sender itself does. */
static void settled_before_its_end(void **state)
{
    static uint8_t data[4000];
    struct pair pair = {.seed = 3};
    struct tf_bytes body = tf_bytes_of(data, sizeof(data));
    struct tf_amqp_sending sending = seen_sending(&body, 1);
    uint64_t delivery;

    (void)state;
    pair.a.config = pair.b.config = pair_config();
    pair.b.config.max_frame_size = 512;
    pair.b.config.incoming_window = 4;
    seen_open(&pair, PAIR_WHOLE, 4096);
    seen_sender(&pair, 1);
    sending.owner = 8;
    delivery = seen_send(&pair, 0, &sending, NULL);
    pair_flush(&pair, &pair.a);
    pair_take(&pair, &pair.b);
    assert_int_equal(tf_amqp_settle(pair.a.machine, delivery, NULL), TF_OK);
    assert_int_equal(tf_amqp_settle(pair.a.machine, delivery, NULL), TF_NOT_FOUND);
    pair_run(&pair);
    assert_int_equal(seen_of(&pair, &pair.b)->complete, 1);
    assert_true(seen_of(&pair, &pair.b)->last_settled);
    assert_int_equal(pair.b.session->deliveries.tables[1].live, 0);
    seen_close(&pair);
}

/* ---- cut off ---- */

/* A delivery on its way when link, session or connection ends: the owner is told once. */
static void cut_off(void **state)
{
    static uint8_t data[4000];

    for (unsigned how = 0; how < 12; how++) {
        struct pair pair = {.seed = how};
        struct tf_bytes body = tf_bytes_of(data, sizeof(data));
        struct tf_amqp_sending sending = seen_sending(&body, 1);
        struct tf_amqp_error error = tf_amqp_error_of(TF_AMQP_INTERNAL_ERROR, "enough");
        bool refer = how / 6 == 1, borrowed = false;
        struct tf_bytes spans[4];
        struct seen *a;

        pair.a.config = pair.b.config = pair_config();
        pair.b.config.max_frame_size = 512;
        pair.b.config.incoming_window = 2;
        pair.a.config.reference_from = refer ? 1 : 0;
        seen_open(&pair, PAIR_WHOLE, 65536);
        a = seen_of(&pair, &pair.a);
        seen_sender(&pair, 1);
        tf_amqp_session_window(pair.b.session, 0);
        sending.owner = 99;
        sending.settled = true; /* no record, so no NEEDS before */
        seen_send(&pair, 0, &sending, &borrowed);
        assert_true(borrowed);
        if (how % 6 > 2) {
            pair_run(&pair);
            assert_int_equal(a->returned, 0);
        }
        if (how % 3 == 0)
            tf_amqp_link_detach(pair.a.links[0], true, NULL);
        else if (how % 3 == 1)
            tf_amqp_session_end(pair.b.session, &error);
        else
            tf_amqp_close(pair.a.machine, &error);
        assert_true(tf_amqp_check(pair.a.machine));
        if (refer && how % 6 <= 2 && how % 3 != 1) {
            (void)tf_amqp_output(pair.a.machine, spans, 4);
            pair_take(&pair, &pair.a);
            assert_int_equal(a->returned, 0); /* what is in the output is in use still */
        }
        pair_run(&pair);
        assert_int_equal(a->returned, 1);
        assert_int_equal(a->owner, 99);
        assert_int_equal(seen_of(&pair, &pair.b)->complete, 0);
        seen_close(&pair);
    }
    (void)state;
}

/* ---- serial numbers ---- */

static void ids_pass_2_to_the_32(void **state)
{
    struct pair pair = {.seed = 3};
    struct tf_bytes body = tf_bytes_str("x");
    struct tf_amqp_sending sending = seen_sending(&body, 1);
    const struct tf_amqp_state accepted = {.type = TF_AMQP_STATE_ACCEPTED};
    uint64_t deliveries[20];
    struct seen *a, *b;

    (void)state;
    seen_open(&pair, PAIR_WHOLE, 4096);
    a = seen_of(&pair, &pair.a);
    b = seen_of(&pair, &pair.b);
    seen_sender(&pair, 20);
    pair.a.session->deliveries.next_outgoing = UINT32_MAX - 9;
    for (unsigned i = 0; i < 20; i++) {
        seen_send(&pair, 0, &sending, NULL);
        pair_run(&pair);
        deliveries[i] = b->delivery;
    }
    assert_int_equal(b->complete, 20);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(tf_amqp_dispose(pair.b.machine, deliveries[i], &accepted, true), TF_OK);
    assert_int_equal(pair.b.session->deliveries.sayings[1].first, UINT32_MAX - 9);
    assert_int_equal(pair.b.session->deliveries.sayings[1].last, 9);
    pair_run(&pair);
    assert_int_equal(a->outcomes, 20);
    assert_int_equal(pair.a.session->deliveries.tables[0].live, 0);
    seen_close(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_and_its_outcome),
        cmocka_unit_test(pre_settled_leaves_no_record),
        cmocka_unit_test(an_empty_message),
        cmocka_unit_test(any_length_in_any_frames),
        cmocka_unit_test(ten_mebibytes),
        cmocka_unit_test(frames_are_full),
        cmocka_unit_test(heads_are_as_the_codec_writes_them),
        cmocka_unit_test(refusals),
        cmocka_unit_test(needs_refused),
        cmocka_unit_test(no_more_unsettled_than_the_most),
        cmocka_unit_test(a_window_of_one),
        cmocka_unit_test(a_window_closed_and_opened),
        cmocka_unit_test(links_take_turns),
        cmocka_unit_test(settled_on_its_way),
        cmocka_unit_test(settled_before_its_end),
        cmocka_unit_test(cut_off),
        cmocka_unit_test(ids_pass_2_to_the_32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
