/*
 * Transfers from a peer that is not another machine of ours: aborted, settled late, interleaved,
 * and all that it must not do, each with the error that answers it.
 */
#include "seen.h"

#include <string.h>

#include "amqp/connection.h"

/* Sends a transfer frame as a peer might that has another machine. */
static void raw(struct rig *rig, const struct tf_amqp_transfer *transfer, const char *payload)
{
    struct tf_amqp_performative performative = {.type = TF_AMQP_TRANSFER_FRAME};
    uint8_t bytes[1000];
    struct tf_writer writer = tf_writer_of(bytes, sizeof bytes);

    performative.transfer = *transfer;
    tf_amqp_frame_write(&writer, 0, &performative, strlen(payload));
    tf_write_bytes(&writer, tf_bytes_str(payload));
    assert_false(writer.failed);
    rig_arrive(&rig->server, bytes, tf_writer_length(&writer));
    while (rig_take(rig, &rig->server))
        ;
}

static struct tf_amqp_transfer first(uint32_t id)
{
    return (struct tf_amqp_transfer){.has_delivery_id = true,
                                     .delivery_id = id,
                                     .has_delivery_tag = true,
                                     .delivery_tag = tf_bytes_str("t")};
}

static void an_aborted_delivery(void **state)
{
    struct rig rig = {.seed = 3};
    struct tf_amqp_transfer transfer = first(0), more = {.more = true},
                            abort_it = {.aborted = true};
    struct seen *b;

    (void)state;
    seen_open(&rig, RIG_WHOLE, 1024);
    b = seen_of(&rig, &rig.server);
    seen_sender(&rig, 3);
    transfer.more = true;
    raw(&rig, &transfer, "one");
    raw(&rig, &more, "two");
    assert_int_equal(rig.server.session->deliveries.tables[1].live, 1);
    assert_int_equal(tf_amqp_dispose(rig.server.connection, b->delivery, NULL, true), TF_MISUSE);
    raw(&rig, &abort_it, "");
    assert_int_equal(b->aborted, 1);
    assert_int_equal(b->complete, 0);
    assert_int_equal(rig.server.session->deliveries.tables[1].live, 0);
    transfer = first(1); /* aborted with its first frame */
    transfer.aborted = true;
    raw(&rig, &transfer, "");
    assert_int_equal(b->aborted, 2);
    assert_int_equal(rig.server.session->deliveries.tables[1].live, 0);
    transfer = first(2);
    raw(&rig, &transfer, "whole");
    assert_int_equal(b->complete, 1);
    assert_int_equal(b->length, 5);
    assert_int_equal(tf_amqp_link_credit_left(rig.server.links[0]), 0);
    seen_close(&rig);
}

static void settled_with_the_last_frame(void **state)
{
    struct rig rig = {.seed = 3};
    struct tf_amqp_transfer transfer = first(0), last = {.has_settled = true, .settled = true};

    (void)state;
    seen_open(&rig, RIG_WHOLE, 1024);
    seen_sender(&rig, 3);
    transfer.more = true;
    raw(&rig, &transfer, "one");
    raw(&rig, &last, "two");
    assert_true(seen_of(&rig, &rig.server)->last_settled);
    assert_int_equal(rig.server.session->deliveries.tables[1].live, 0);
    seen_close(&rig);
}

/* Deliveries of two links whose frames are mixed. */
static void interleaved(void **state)
{
    struct rig rig = {.seed = 3};
    struct tf_amqp_transfer one = first(0), two = first(1);
    struct seen *b;

    (void)state;
    seen_open(&rig, RIG_WHOLE, 1024);
    b = seen_of(&rig, &rig.server);
    seen_sender(&rig, 3);
    rig_line(&rig, TF_AMQP_SENDER, TF_AMQP_RCV_FIRST);
    tf_amqp_link_credit(rig.server.links[1], 3, false);
    rig_run(&rig);
    one.more = two.more = true;
    two.handle = 1;
    raw(&rig, &one, "1");
    raw(&rig, &two, "2");
    one = (struct tf_amqp_transfer){.has_delivery_id = true, .delivery_id = 0};
    raw(&rig, &one, "1");
    assert_int_equal(b->complete, 1);
    two = (struct tf_amqp_transfer){.handle = 1};
    raw(&rig, &two, "2");
    assert_int_equal(b->complete, 2);
    assert_int_equal(rig.server.ended + rig.server.detached + rig.server.closed, 0);
    seen_close(&rig);
}

/* A link that goes with a delivery half come leaves nothing. */
static void half_a_delivery(void **state)
{
    struct rig rig = {.seed = 3};
    struct tf_amqp_transfer transfer = first(0);

    (void)state;
    seen_open(&rig, RIG_WHOLE, 1024);
    seen_sender(&rig, 3);
    transfer.more = true;
    raw(&rig, &transfer, "one");
    tf_amqp_link_detach(rig.server.links[0], true, NULL);
    rig_run(&rig);
    assert_int_equal(rig.server.session->deliveries.tables[1].live, 0);
    assert_int_equal(rig.server.session->deliveries.partials, 0);
    assert_int_equal(seen_of(&rig, &rig.server)->complete, 0);
    seen_close(&rig);
}

enum fate { DETACHED, ENDED, CLOSED };

static void expect_fault(unsigned number, const struct tf_amqp_transfer *frames, size_t count,
                         enum fate fate, enum tf_amqp_condition condition)
{
    struct rig rig = {.seed = 3};
    const struct tf_amqp_error *error;

    rig.client.config = rig.server.config = rig_config();
    rig.server.config.max_message_size = 10;
    rig.server.config.incoming_window = 4;
    seen_open(&rig, RIG_WHOLE, 4096);
    seen_sender(&rig, 2);
    for (size_t i = 0; i < count; i++)
        raw(&rig, &frames[i], "123456");
    if (fate == CLOSED) {
        assert_true(tf_amqp_closing(rig.server.connection, &error));
        rig.server.error = *error;
    }
    if (rig.server.ended != (fate == ENDED) || rig.server.detached != (fate == DETACHED) ||
        rig.server.error.condition != condition)
        fail_msg("fault %u: ended %u, detached %u, condition %d", number, rig.server.ended,
                 rig.server.detached, rig.server.error.condition);
    assert_true(rig.server.error.description.length > 0);
    rig_flush(&rig, &rig.server);
    seen_close(&rig);
}

static void faults(void **state)
{
    struct tf_amqp_transfer frames[6];

    (void)state;
    frames[0] = first(0);
    frames[0].has_delivery_id = false;
    expect_fault(1, frames, 1, ENDED, TF_AMQP_INVALID_FIELD);
    frames[0] = first(0);
    frames[0].has_delivery_tag = false;
    expect_fault(2, frames, 1, DETACHED, TF_AMQP_INVALID_FIELD);
    frames[0] = first(0);
    frames[0].delivery_tag = tf_bytes_str("123456789012345678901234567890123");
    expect_fault(3, frames, 1, CLOSED, TF_AMQP_INVALID_FIELD);
    frames[0] = first(0);
    frames[1] = first(2);
    expect_fault(4, frames, 2, ENDED, TF_AMQP_INVALID_FIELD);
    frames[0].more = true;
    frames[1] = (struct tf_amqp_transfer){.has_delivery_id = true, .delivery_id = 1};
    expect_fault(5, frames, 2, ENDED, TF_AMQP_INVALID_FIELD);
    frames[1] = first(0);
    frames[1].delivery_tag = tf_bytes_str("u");
    expect_fault(6, frames, 2, DETACHED, TF_AMQP_INVALID_FIELD);
    frames[1] = (struct tf_amqp_transfer){.more = true};
    expect_fault(7, frames, 2, DETACHED, TF_AMQP_MESSAGE_SIZE_EXCEEDED);
    for (uint32_t i = 0; i < 3; i++)
        frames[i] = first(i);
    expect_fault(8, frames, 3, DETACHED, TF_AMQP_TRANSFER_LIMIT_EXCEEDED);
    frames[0].has_rcv_settle_mode = true;
    frames[0].rcv_settle_mode = TF_AMQP_RCV_SECOND;
    expect_fault(9, frames, 1, DETACHED, TF_AMQP_INVALID_FIELD);
    frames[0] = first(0);
    frames[0].handle = 1;
    expect_fault(10, frames, 1, ENDED, TF_AMQP_UNATTACHED_HANDLE);
    frames[0] = first(0);
    frames[0].resume = true;
    expect_fault(11, frames, 1, DETACHED, TF_AMQP_NOT_IMPLEMENTED);
}

/* 2.6.13: the answer to the attach has told of a delivery, which the sender goes on with. */
static void resumed(void **state)
{
    static const uint8_t unsettled[] = {0xC1, 0x05, 0x02, 0xA0, 0x01, 't', 0x40}; /* t: null */
    struct rig rig = {.seed = 3};
    struct tf_amqp_transfer transfer = first(0), more = {.resume = true};
    struct seen *b;

    (void)state;
    rig.server.unsettled = tf_bytes_of(unsettled, sizeof unsettled);
    seen_open(&rig, RIG_WHOLE, 1024);
    b = seen_of(&rig, &rig.server);
    seen_sender(&rig, 3);
    transfer.resume = transfer.more = true;
    raw(&rig, &transfer, "one");
    assert_int_equal(b->resumed, 1);
    raw(&rig, &more, "two");
    assert_int_equal(b->resumed, 1); /* it is said with the first frame */
    assert_int_equal(b->complete, 1);
    assert_int_equal(tf_amqp_dispose(rig.server.connection, b->delivery,
                                     &(struct tf_amqp_state){.type = TF_AMQP_STATE_ACCEPTED}, true),
                     TF_OK);
    transfer = first(1); /* one that is known to be accepted: settled, nothing more */
    transfer.resume = transfer.has_settled = transfer.settled = true;
    raw(&rig, &transfer, "");
    assert_int_equal(b->resumed, 2);
    assert_int_equal(b->complete, 2);
    assert_true(b->last_settled);
    transfer = first(2);
    raw(&rig, &transfer, "new");
    assert_int_equal(b->resumed, 2);
    assert_int_equal(rig.server.detached, 0);
    seen_close(&rig);
}

/* More frames than the window, all of one message. */
static void a_window_violated(void **state)
{
    struct rig rig = {.seed = 3};
    struct tf_amqp_transfer transfer = first(0), more = {.more = true};

    (void)state;
    rig.client.config = rig.server.config = rig_config();
    rig.server.config.incoming_window = 4;
    seen_open(&rig, RIG_WHOLE, 4096);
    seen_sender(&rig, 2);
    tf_amqp_session_window(rig.server.session, 0);
    rig_flush(&rig, &rig.server);
    transfer.more = true;
    raw(&rig, &transfer, "x");
    for (unsigned i = 0; i < 3; i++)
        raw(&rig, &more, "x");
    assert_int_equal(rig.server.ended, 0);
    raw(&rig, &more, "x");
    assert_int_equal(rig.server.ended, 1);
    assert_int_equal(rig.server.error.condition, TF_AMQP_WINDOW_VIOLATION);
    seen_close(&rig);
}

/* Frames for a link that has failed are dropped, but their ids count. */
static void ids_go_on_over_a_failed_link(void **state)
{
    struct rig rig = {.seed = 3};
    struct tf_amqp_transfer transfer = first(0);
    struct seen *b;

    (void)state;
    seen_open(&rig, RIG_WHOLE, 4096);
    b = seen_of(&rig, &rig.server);
    seen_sender(&rig, 2);
    rig_line(&rig, TF_AMQP_SENDER, TF_AMQP_RCV_FIRST);
    tf_amqp_link_credit(rig.server.links[1], 3, false);
    rig_run(&rig);
    tf_amqp_link_detach(rig.server.links[0], true, NULL);
    raw(&rig, &transfer, "x");
    transfer = first(1);
    raw(&rig, &transfer, "x");
    assert_int_equal(b->runs, 0);
    transfer = first(2);
    transfer.handle = 1;
    raw(&rig, &transfer, "x");
    assert_int_equal(b->complete, 1);
    assert_int_equal(rig.server.ended, 0);
    seen_close(&rig);
}

/* A sender may count a delivery when it has ended; then its flow in the middle takes no credit. */
static void a_sender_that_counts_late(void **state)
{
    struct rig rig = {.seed = 3};
    struct tf_amqp_transfer transfer = first(0);
    struct tf_amqp_performative flow = {.type = TF_AMQP_FLOW_FRAME};
    struct tf_writer writer;
    uint8_t bytes[1000];

    (void)state;
    seen_open(&rig, RIG_WHOLE, 4096);
    seen_sender(&rig, 5);
    transfer.more = true;
    raw(&rig, &transfer, "x");
    flow.flow = (struct tf_amqp_flow){.has_next_incoming_id = true,
                                      .incoming_window = 100,
                                      .outgoing_window = 100,
                                      .has_handle = true,
                                      .has_delivery_count = true,
                                      .has_link_credit = true,
                                      .link_credit = 5};
    writer = tf_writer_of(bytes, sizeof bytes);
    tf_amqp_frame_write(&writer, 0, &flow, 0);
    rig_arrive(&rig.server, bytes, tf_writer_length(&writer));
    while (rig_take(&rig, &rig.server))
        ;
    assert_int_equal(tf_amqp_link_credit_left(rig.server.links[0]), 4);
    seen_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_aborted_delivery),
        cmocka_unit_test(settled_with_the_last_frame),
        cmocka_unit_test(interleaved),
        cmocka_unit_test(half_a_delivery),
        cmocka_unit_test(faults),
        cmocka_unit_test(resumed),
        cmocka_unit_test(a_window_violated),
        cmocka_unit_test(ids_go_on_over_a_failed_link),
        cmocka_unit_test(a_sender_that_counts_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
