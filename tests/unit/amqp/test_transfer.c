/*
 * Deliveries from one machine to another: of any length in frames of any size, by copy and by
 * reference, within credit and windows, cut off, aborted, and with ids that pass 2^32.
 */
#include "seen.h"

#include <stdlib.h>

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
    for (enum rig_way way = RIG_WHOLE; way <= RIG_SPLIT; way++) {
        struct rig rig = {.seed = 1};
        struct tf_bytes body = tf_bytes_str("hello");
        struct tf_amqp_sending sending = seen_sending(&body, 1);
        const struct tf_amqp_state accepted = {.type = TF_AMQP_STATE_ACCEPTED};
        uint64_t delivery;
        struct seen *a, *b;
        bool borrowed = true;

        seen_open(&rig, way, 1024);
        a = seen_of(&rig, &rig.client);
        b = seen_of(&rig, &rig.server);
        seen_sender(&rig, 2);
        sending.head = tf_bytes_str("head,");
        sending.prefix = tf_bytes_str("prefix,");
        delivery = seen_send(&rig, 0, &sending, &borrowed);
        assert_false(borrowed);
        assert_int_equal(tf_amqp_link_credit_left(rig.client.links[0]), 1);
        rig_run(&rig);
        assert_int_equal(b->complete, 1);
        assert_int_equal(b->runs, 1);
        assert_int_equal(b->length, 17);
        assert_memory_equal(b->body, "head,prefix,hello", 17);
        assert_int_equal(b->message_format, 9);
        assert_memory_equal(b->tag, "tag", 3);
        assert_false(b->last_settled);
        assert_int_equal(tf_amqp_link_credit_left(rig.server.links[0]), 1);
        assert_int_equal(tf_amqp_dispose(rig.server.connection, b->delivery, &accepted, true),
                         TF_OK);
        assert_int_equal(tf_amqp_dispose(rig.server.connection, b->delivery, &accepted, true),
                         TF_NOT_FOUND);
        rig_run(&rig);
        assert_int_equal(a->outcomes, 1);
        assert_int_equal(a->state.type, TF_AMQP_STATE_ACCEPTED);
        assert_true(a->outcome_settled);
        assert_int_equal(tf_amqp_settle(rig.client.connection, delivery, NULL), TF_NOT_FOUND);
        assert_int_equal(a->returned, 0);
        seen_close(&rig);
    }
    (void)state;
}

static void pre_settled_leaves_no_record(void **state)
{
    struct rig rig = {.seed = 1};
    struct tf_bytes body = tf_bytes_str("x");
    struct tf_amqp_sending sending = seen_sending(&body, 1);
    struct seen *b;

    (void)state;
    rig.client.ignore_needs = rig.server.ignore_needs = false;
    seen_open(&rig, RIG_WHOLE, 1024);
    b = seen_of(&rig, &rig.server);
    seen_sender(&rig, 10);
    sending.settled = true;
    seen_send(&rig, 0, &sending, NULL);
    rig_run(&rig);
    assert_int_equal(b->complete, 1);
    assert_true(b->last_settled);
    assert_int_equal(rig.client.session->deliveries.tables[0].capacity, 0);
    assert_int_equal(rig.server.session->deliveries.tables[1].capacity, 0);
    assert_int_equal(tf_amqp_dispose(rig.server.connection, b->delivery, NULL, true), TF_NOT_FOUND);
    seen_close(&rig);
}

static void an_empty_message(void **state)
{
    struct rig rig = {.seed = 1};
    struct tf_amqp_sending sending = seen_sending(NULL, 0);

    (void)state;
    seen_open(&rig, RIG_BYTES, 1024);
    seen_sender(&rig, 10);
    sending.owner = 5;
    seen_send(&rig, 0, &sending, NULL);
    rig_run(&rig);
    assert_int_equal(seen_of(&rig, &rig.server)->complete, 1);
    assert_int_equal(seen_of(&rig, &rig.server)->length, 0);
    seen_close(&rig);
}

/* ---- any length ---- */

/* A body in pieces of many sizes, with owner, by copy or reference: arrives, and is returned. */
static void send_length(uint32_t frame, size_t buffer, uint32_t reference_from, size_t length,
                        enum rig_way way)
{
    struct rig rig = {.seed = length + frame};
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
    rig.client.config = rig.server.config = rig_config();
    rig.server.config.max_frame_size = frame;
    rig.client.config.reference_from = reference_from;
    seen_open(&rig, way, buffer);
    a = seen_of(&rig, &rig.client);
    b = seen_of(&rig, &rig.server);
    seen_sender(&rig, 1);
    sending = seen_sending(pieces, count);
    sending.head = tf_bytes_of(data, 200);
    sending.prefix = tf_bytes_of(data + 200, 100);
    sending.owner = 4242;
    seen_send(&rig, 0, &sending, &borrowed);
    rig_run(&rig);
    assert_int_equal(b->complete, 1);
    assert_int_equal(b->length, length);
    assert_memory_equal(b->body, data, length);
    if (a->returned != borrowed)
        fail_msg("frame %u, buffer %zu, from %u, length %zu: returned %u, borrowed %d", frame,
                 buffer, reference_from, length, a->returned, borrowed);
    if (borrowed)
        assert_int_equal(a->owner, 4242);
    rig_expect_idle(&rig.client);
    seen_close(&rig);
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
                send_length(frames[f], 1024, references[r], lengths[l], RIG_WHOLE);
                send_length(frames[f], 5000, references[r], lengths[l], RIG_SPLIT);
            }
        }
    }
    send_length(512, 1024, 1, 3000, RIG_BYTES);
    send_length(4096, 1024, 0, 9000, RIG_BYTES);
}

static void ten_mebibytes(void **state)
{
    (void)state;
    send_length(512, 65536, 1024, 10 << 20, RIG_WHOLE);
    send_length(65536, 65536, 1024, 10 << 20, RIG_WHOLE);
    send_length(1 << 20, 4096, 1024, 10 << 20, RIG_WHOLE);
}

/* Every frame but the last is as long as the peer allows. */
static void frames_are_full(void **state)
{
    static uint8_t data[5000];
    struct rig rig = {.seed = 3};
    struct tf_bytes body = tf_bytes_of(data, sizeof(data)), out;
    struct tf_amqp_sending sending = seen_sending(&body, 1);
    struct tf_amqp_frame frame;
    struct tf_bytes spans[1];
    size_t need, frames = 0;

    (void)state;
    rig.client.config = rig.server.config = rig_config();
    rig.server.config.max_frame_size = 700;
    seen_open(&rig, RIG_WHOLE, 65536);
    seen_sender(&rig, 1);
    sending.owner = 1;
    sending.settled = true;
    seen_send(&rig, 0, &sending, NULL);
    assert_int_equal(tf_amqp_output(rig.client.connection, spans, 1), 1);
    for (out = spans[0]; out.length > 0;
         out = tf_bytes_of(out.data + frame.size, out.length - frame.size)) {
        assert_int_equal(tf_amqp_frame_read(out, 700, &frame, &need), TF_OK);
        assert_true(frame.size == 700 || frame.size == out.length);
        frames++;
    }
    assert_true(frames >= 8);
    rig_run(&rig);
    assert_int_equal(seen_of(&rig, &rig.server)->length, 5000);
    seen_close(&rig);
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
        struct rig rig = {.seed = 3};
        struct tf_amqp_sending sending = seen_sending(&body, 1);
        uint8_t again[200];
        struct tf_writer writer;

        rig.server.config = rig_config();
        rig.server.config.max_frame_size = 600;
        seen_open(&rig, RIG_WHOLE, 8192);
        seen_sender(&rig, 1);
        rig.client.session->deliveries.next_outgoing = i & 1 ? 0 : i & 2 ? 255 : 256;
        sending.settled = true;
        sending.batchable = i & 4;
        sending.message_format = i & 8 ? 0 : i & 16 ? 200 : 70000;
        sending.tag = tf_bytes_of(data, i & 32 ? 1 : 32);
        sending.owner = 1;
        seen_send(&rig, 0, &sending, NULL);
        assert_int_equal(tf_amqp_output(rig.client.connection, spans, 1), 1);
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
        rig_run(&rig);
        assert_int_equal(seen_of(&rig, &rig.server)->length, sizeof(data));
        seen_close(&rig);
    }
}

/* ---- what stands against it ---- */

static void refusals(void **state)
{
    static uint8_t data[3000];
    struct rig rig = {.seed = 3};
    struct tf_bytes body = tf_bytes_of(data, 700);
    struct tf_amqp_sending sending = seen_sending(&body, 1);
    struct tf_amqp_link *link;

    (void)state;
    rig.client.config = rig.server.config = rig_config();
    rig.server.config.max_frame_size = 2000;
    rig.server.config.max_message_size = 2500;
    seen_open(&rig, RIG_WHOLE, 1024);
    rig_line(&rig, TF_AMQP_SENDER, TF_AMQP_RCV_FIRST);
    rig_line(&rig, TF_AMQP_RECEIVER, TF_AMQP_RCV_FIRST);
    link = rig.client.links[0];
    assert_int_equal(tf_amqp_send(rig.client.links[1], &sending, NULL, NULL), TF_MISUSE);
    assert_int_equal(tf_amqp_send(link, &sending, NULL, NULL), TF_AGAIN); /* no credit */
    tf_amqp_link_credit(rig.server.links[0], 5, false);
    rig_run(&rig);
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
    body.length = 700;
    assert_int_equal(tf_amqp_send(link, &sending, NULL, NULL), TF_OK);
    assert_int_equal(tf_amqp_send(link, &sending, NULL, NULL), TF_AGAIN); /* the output is full */
    rig_run(&rig);
    assert_int_equal(tf_amqp_send(link, &sending, NULL, NULL), TF_OK);
    assert_int_equal(tf_amqp_link_credit_left(link), 3);
    tf_amqp_link_detach(link, true, NULL);
    assert_int_equal(tf_amqp_send(link, &sending, NULL, NULL), TF_CLOSED);
    rig_run(&rig);
    assert_int_equal(seen_of(&rig, &rig.server)->complete, 2);
    seen_close(&rig);
}

/* Without memory for a record nothing is sent, and nothing is taken in. */
static void needs_refused(void **state)
{
    struct rig rig = {.seed = 3};
    struct tf_bytes body = tf_bytes_str("x");
    struct tf_amqp_sending sending = seen_sending(&body, 1);

    (void)state;
    seen_open(&rig, RIG_WHOLE, 1024);
    seen_sender(&rig, 5);
    rig.client.ignore_needs = true;
    rig.client.needs = 0;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(tf_amqp_send(rig.client.links[0], &sending, NULL, NULL), TF_AGAIN);
        rig_run(&rig);
    }
    assert_true(rig.client.needs >= 1);
    assert_int_equal(seen_of(&rig, &rig.server)->runs, 0);
    rig.client.ignore_needs = false;
    rig.server.ignore_needs = true;
    rig.server.needs = 0;
    seen_send(&rig, 0, &sending, NULL);
    rig_flush(&rig, &rig.client);
    rig_take(&rig, &rig.server);
    rig_take(&rig, &rig.server);
    assert_true(rig.server.needs >= 1);
    assert_int_equal(seen_of(&rig, &rig.server)->runs, 0);
    rig.server.ignore_needs = false;
    rig_run(&rig);
    assert_int_equal(seen_of(&rig, &rig.server)->runs, 1);
    seen_close(&rig);
}

static void no_more_unsettled_than_the_most(void **state)
{
    struct rig rig = {.seed = 3};
    struct tf_bytes body = tf_bytes_str("x");
    struct tf_amqp_sending sending = seen_sending(&body, 1);
    const struct tf_amqp_state released = {.type = TF_AMQP_STATE_RELEASED};
    uint64_t first = 0;

    (void)state;
    rig.client.config = rig.server.config = rig_config();
    rig.client.config.max_unsettled = 20;
    seen_open(&rig, RIG_WHOLE, 4096);
    seen_sender(&rig, 100);
    for (unsigned i = 0; i < 20; i++) {
        seen_send(&rig, 0, &sending, NULL);
        rig_run(&rig);
        if (i == 0)
            first = seen_of(&rig, &rig.server)->delivery;
    }
    assert_int_equal(tf_amqp_send(rig.client.links[0], &sending, NULL, NULL), TF_AGAIN);
    assert_int_equal(rig.client.session->deliveries.tables[0].capacity, 20);
    assert_int_equal(tf_amqp_dispose(rig.server.connection, first, &released, true), TF_OK);
    rig_run(&rig);
    assert_int_equal(tf_amqp_send(rig.client.links[0], &sending, NULL, NULL), TF_OK);
    seen_close(&rig);
}

/* ---- windows ---- */

/* A window of one frame, opened a frame at a time: never more under way than that. */
static void a_window_of_one(void **state)
{
    static uint8_t data[4000];
    struct rig rig = {.seed = 3};
    struct tf_bytes body = tf_bytes_of(data, sizeof(data));
    struct tf_amqp_sending sending = seen_sending(&body, 1);
    struct seen *b;

    (void)state;
    fill(data, sizeof(data), 1);
    rig.client.config = rig.server.config = rig_config();
    rig.server.config.max_frame_size = 512;
    rig.server.config.incoming_window = 1;
    seen_open(&rig, RIG_WHOLE, 65536);
    b = seen_of(&rig, &rig.server);
    seen_sender(&rig, 1);
    sending.owner = 8;
    seen_send(&rig, 0, &sending, NULL);
    rig_flush(&rig, &rig.client);
    assert_true(rig.server.in_length <= 512);
    rig_run(&rig);
    assert_int_equal(b->complete, 1);
    assert_true(b->runs >= 9);
    assert_int_equal(b->length, sizeof(data));
    assert_memory_equal(b->body, data, sizeof(data));
    seen_close(&rig);
}

/* A window that is closed stops a delivery in the middle; opened again it goes on. */
static void a_window_closed_and_opened(void **state)
{
    static uint8_t data[4000];
    struct rig rig = {.seed = 3};
    struct tf_bytes body = tf_bytes_of(data, sizeof(data));
    struct tf_amqp_sending sending = seen_sending(&body, 1);
    struct seen *b;

    (void)state;
    rig.client.config = rig.server.config = rig_config();
    rig.server.config.max_frame_size = 512;
    rig.server.config.incoming_window = 4;
    seen_open(&rig, RIG_WHOLE, 65536);
    b = seen_of(&rig, &rig.server);
    seen_sender(&rig, 1);
    tf_amqp_session_window(rig.server.session, 0);
    rig_run(&rig);
    assert_int_equal(tf_amqp_send(rig.client.links[0], &sending, NULL, NULL), TF_AGAIN);
    assert_int_equal(seen_of(&rig, &rig.client)->opened, 0);
    tf_amqp_session_window(rig.server.session, 2);
    rig_run(&rig);
    assert_int_equal(seen_of(&rig, &rig.client)->opened, 1);
    sending.owner = 8;
    seen_send(&rig, 0, &sending, NULL);
    tf_amqp_session_window(rig.server.session, 0);
    rig_flush(&rig, &rig.server);
    rig_run(&rig);
    assert_int_equal(b->complete, 0);
    assert_int_equal(b->runs, 2);
    tf_amqp_session_window(rig.server.session, 4);
    rig_run(&rig);
    assert_int_equal(b->complete, 1);
    assert_int_equal(b->length, sizeof(data));
    seen_close(&rig);
}

/* Long deliveries on several links: all go on, a frame each. */
static void links_take_turns(void **state)
{
    static uint8_t data[4000];
    struct rig rig = {.seed = 3};
    struct tf_bytes body = tf_bytes_of(data, sizeof(data));
    struct tf_amqp_sending sending = seen_sending(&body, 1);
    struct seen *b;

    (void)state;
    rig.client.config = rig.server.config = rig_config();
    rig.server.config.max_frame_size = 512;
    rig.server.config.incoming_window = 2;
    seen_open(&rig, RIG_WHOLE, 65536);
    b = seen_of(&rig, &rig.server);
    for (unsigned i = 0; i < 3; i++) {
        rig_line(&rig, TF_AMQP_SENDER, TF_AMQP_RCV_FIRST);
        tf_amqp_link_credit(rig.server.links[i], 1, false);
    }
    rig_run(&rig);
    tf_amqp_session_window(rig.server.session, 1);
    sending.settled = true;
    for (unsigned i = 0; i < 3; i++) {
        sending.owner = i + 1;
        seen_send(&rig, i, &sending, NULL);
        rig_flush(&rig, &rig.client);
        rig_take(&rig, &rig.server);
        rig_flush(&rig, &rig.server);
        rig_take(&rig, &rig.client);
    }
    assert_int_equal(b->begun, 3);
    while (b->complete == 0) {
        rig_flush(&rig, &rig.client);
        rig_take(&rig, &rig.server);
        rig_flush(&rig, &rig.server);
        rig_take(&rig, &rig.client);
    }
    assert_true(b->runs >= 3 * 6); /* the others are not far behind */
    rig_run(&rig);
    assert_int_equal(b->complete, 3);
    assert_int_equal(seen_of(&rig, &rig.client)->returned, 3);
    seen_close(&rig);
}

/* The receiver settles while we are still sending: what follows is sent as settled. */
static void settled_on_its_way(void **state)
{
    static uint8_t data[4000];
    struct rig rig = {.seed = 3};
    struct tf_bytes body = tf_bytes_of(data, sizeof(data));
    struct tf_amqp_sending sending = seen_sending(&body, 1);
    struct tf_amqp_performative performative = {.type = TF_AMQP_DISPOSITION};
    struct tf_writer writer;
    uint8_t bytes[100];
    struct seen *b;

    (void)state;
    rig.client.config = rig.server.config = rig_config();
    rig.server.config.max_frame_size = 512;
    rig.server.config.incoming_window = 4;
    seen_open(&rig, RIG_WHOLE, 4096);
    b = seen_of(&rig, &rig.server);
    seen_sender(&rig, 1);
    sending.owner = 8;
    seen_send(&rig, 0, &sending, NULL);
    rig_flush(&rig, &rig.client);
    performative.disposition = (struct tf_amqp_disposition){
        .role = TF_AMQP_RECEIVER, .settled = true, .state = {.type = TF_AMQP_STATE_RELEASED}};
    writer = tf_writer_of(bytes, sizeof bytes);
    tf_amqp_frame_write(&writer, 0, &performative, 0);
    rig_arrive(&rig.client, bytes, tf_writer_length(&writer));
    rig_take(&rig, &rig.client);
    assert_int_equal(seen_of(&rig, &rig.client)->outcomes, 1);
    rig_run(&rig);
    assert_int_equal(b->complete, 1);
    assert_true(b->last_settled);
    assert_int_equal(rig.server.session->deliveries.tables[1].live, 0);
    seen_close(&rig);
}

/* So it is when the sender itself does. */
static void settled_before_its_end(void **state)
{
    static uint8_t data[4000];
    struct rig rig = {.seed = 3};
    struct tf_bytes body = tf_bytes_of(data, sizeof(data));
    struct tf_amqp_sending sending = seen_sending(&body, 1);
    uint64_t delivery;

    (void)state;
    rig.client.config = rig.server.config = rig_config();
    rig.server.config.max_frame_size = 512;
    rig.server.config.incoming_window = 4;
    seen_open(&rig, RIG_WHOLE, 4096);
    seen_sender(&rig, 1);
    sending.owner = 8;
    delivery = seen_send(&rig, 0, &sending, NULL);
    rig_flush(&rig, &rig.client);
    rig_take(&rig, &rig.server);
    assert_int_equal(tf_amqp_settle(rig.client.connection, delivery, NULL), TF_OK);
    assert_int_equal(tf_amqp_settle(rig.client.connection, delivery, NULL), TF_NOT_FOUND);
    rig_run(&rig);
    assert_int_equal(seen_of(&rig, &rig.server)->complete, 1);
    assert_true(seen_of(&rig, &rig.server)->last_settled);
    assert_int_equal(rig.server.session->deliveries.tables[1].live, 0);
    seen_close(&rig);
}

/* ---- cut off ---- */

/* A delivery on its way when link, session or connection ends: the owner is told once. */
static void cut_off(void **state)
{
    static uint8_t data[4000];

    for (unsigned how = 0; how < 12; how++) {
        struct rig rig = {.seed = how};
        struct tf_bytes body = tf_bytes_of(data, sizeof(data));
        struct tf_amqp_sending sending = seen_sending(&body, 1);
        struct tf_amqp_error error = tf_amqp_error_of(TF_AMQP_INTERNAL_ERROR, "enough");
        bool refer = how / 6 == 1, borrowed = false;
        struct tf_bytes spans[4];
        struct seen *a;

        rig.client.config = rig.server.config = rig_config();
        rig.server.config.max_frame_size = 512;
        rig.server.config.incoming_window = 2;
        rig.client.config.reference_from = refer ? 1 : 0;
        seen_open(&rig, RIG_WHOLE, 65536);
        a = seen_of(&rig, &rig.client);
        seen_sender(&rig, 1);
        tf_amqp_session_window(rig.server.session, 0);
        sending.owner = 99;
        sending.settled = true; /* no record, so no NEEDS before */
        seen_send(&rig, 0, &sending, &borrowed);
        assert_true(borrowed);
        if (how % 6 > 2) {
            rig_run(&rig);
            assert_int_equal(a->returned, 0);
        }
        if (how % 3 == 0)
            tf_amqp_link_detach(rig.client.links[0], true, NULL);
        else if (how % 3 == 1)
            tf_amqp_session_end(rig.server.session, &error);
        else
            tf_amqp_close(rig.client.connection, &error);
        assert_true(tf_amqp_check(rig.client.connection));
        if (refer && how % 6 <= 2 && how % 3 != 1) {
            (void)tf_amqp_output(rig.client.connection, spans, 4);
            rig_take(&rig, &rig.client);
            assert_int_equal(a->returned, 0); /* what is in the output is in use still */
        }
        rig_run(&rig);
        assert_int_equal(a->returned, 1);
        assert_int_equal(a->owner, 99);
        assert_int_equal(seen_of(&rig, &rig.server)->complete, 0);
        seen_close(&rig);
    }
    (void)state;
}

/* ---- serial numbers ---- */

static void ids_pass_2_to_the_32(void **state)
{
    struct rig rig = {.seed = 3};
    struct tf_bytes body = tf_bytes_str("x");
    struct tf_amqp_sending sending = seen_sending(&body, 1);
    const struct tf_amqp_state accepted = {.type = TF_AMQP_STATE_ACCEPTED};
    uint64_t deliveries[20];
    struct seen *a, *b;

    (void)state;
    seen_open(&rig, RIG_WHOLE, 4096);
    a = seen_of(&rig, &rig.client);
    b = seen_of(&rig, &rig.server);
    seen_sender(&rig, 20);
    rig.client.session->deliveries.next_outgoing = UINT32_MAX - 9;
    for (unsigned i = 0; i < 20; i++) {
        seen_send(&rig, 0, &sending, NULL);
        rig_run(&rig);
        deliveries[i] = b->delivery;
    }
    assert_int_equal(b->complete, 20);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(tf_amqp_dispose(rig.server.connection, deliveries[i], &accepted, true),
                         TF_OK);
    assert_int_equal(rig.server.session->deliveries.sayings[1].first, UINT32_MAX - 9);
    assert_int_equal(rig.server.session->deliveries.sayings[1].last, 9);
    rig_run(&rig);
    assert_int_equal(a->outcomes, 20);
    assert_int_equal(rig.client.session->deliveries.tables[0].live, 0);
    seen_close(&rig);
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
