/*
 * The output of a connection: bytes and references in one order, sent in pieces of any size,
 * compared with a plain byte string that holds what must come out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/output.h"
#include "base/random.h"

enum { MOST = 4096 };

struct model {
    struct tf_output output;
    uint8_t want[MOST], have[MOST]; /* put, and sent */
    size_t want_length, have_length;
    uint64_t owners, returned; /* counted up from 1, in order */
};

static const uint8_t body[300] = {1, 2, 3, 4, 5, 6, 7, 8, 9};

static void put(struct model *model, const uint8_t *data, size_t length, bool refer)
{
    if (refer) {
        tf_output_refer(&model->output, tf_bytes_of(data, length), ++model->owners);
    } else {
        memcpy(tf_output_next(&model->output), data, length);
        tf_output_wrote(&model->output, length);
    }
    memcpy(model->want + model->want_length, data, length);
    model->want_length += length;
    assert_true(tf_output_check(&model->output));
}

static void send(struct model *model, size_t most, size_t spans_count)
{
    struct tf_bytes spans[8];
    size_t count = tf_output_spans(&model->output, spans, spans_count), sum = 0;

    for (size_t i = 0; i < count && sum < most; i++) {
        size_t step = spans[i].length < most - sum ? spans[i].length : most - sum;
        assert_true(spans[i].length > 0);
        memcpy(model->have + model->have_length + sum, spans[i].data, step);
        sum += step;
    }
    model->have_length += sum;
    assert_true(model->have_length <= model->want_length);
    assert_memory_equal(model->have, model->want, model->have_length);
    tf_output_sent(&model->output, sum);
    assert_true(tf_output_check(&model->output));
}

static void pull(struct model *model)
{
    uint64_t owner;

    while (tf_output_returned(&model->output, &owner)) {
        assert_int_equal(owner, ++model->returned);
        assert_true(tf_output_check(&model->output));
    }
}

static void test_random(void **state)
{
    uint8_t *buffer = malloc(1024);

    (void)state;
    for (uint64_t round = 1; round <= 300; round++) {
        struct model *model = calloc(1, sizeof *model);
        size_t size = TF_OUTPUT_MIN + tf_random_split(&round) % 800, skew = round % 7;
        uint64_t seed = round;

        /* Any address and any length will do. */
        assert_int_equal(tf_output_lend(&model->output, buffer + skew, size), TF_OK);
        for (int step = 0; step < 60; step++) {
            size_t length = 1 + tf_random_split(&seed) % 60;
            bool refer = tf_random_split(&seed) % 3 == 0;
            if (model->want_length + length < MOST &&
                tf_output_room(&model->output, refer) >= (refer ? 0 : length) &&
                tf_output_could(&model->output, model->output.used, model->output.refs + 1))
                put(model, body + step, length, refer);
            if (tf_random_split(&seed) % 2)
                send(model, tf_random_split(&seed) % 100, 1 + tf_random_split(&seed) % 8);
            if (tf_random_split(&seed) % 4 == 0)
                pull(model);
        }
        while (tf_output_pending(&model->output))
            send(model, 1 + round % 40, 8);
        assert_int_equal(model->have_length, model->want_length);
        pull(model);
        assert_int_equal(model->returned, model->owners);
        assert_ptr_equal(tf_output_take(&model->output), buffer + skew);
        free(model);
    }
    free(buffer);
}

static void test_take(void **state)
{
    struct model *model = calloc(1, sizeof *model);
    uint64_t memory[32], owner = 0;

    (void)state;
    assert_null(tf_output_take(&model->output));
    assert_int_equal(tf_output_lend(&model->output, memory, 127), TF_MISUSE);
    assert_int_equal(tf_output_lend(&model->output, NULL, 256), TF_MISUSE);
    assert_int_equal(tf_output_lend(&model->output, memory, sizeof memory), TF_OK);
    assert_int_equal(tf_output_lend(&model->output, memory, sizeof memory), TF_MISUSE);
    put(model, body, 10, false);
    put(model, body, 100, true);
    assert_null(tf_output_take(&model->output));
    send(model, 109, 8);
    assert_false(tf_output_returned(&model->output, &owner));
    send(model, 1, 8);
    assert_null(tf_output_take(&model->output)); /* its owner is to be told first */
    pull(model);
    assert_int_equal(model->returned, 1);
    assert_ptr_equal(tf_output_take(&model->output), memory);
    free(model);
}

static void test_abandon(void **state)
{
    struct model *model = calloc(1, sizeof *model);
    uint64_t memory[32];

    (void)state;
    assert_int_equal(tf_output_lend(&model->output, memory, sizeof memory), TF_OK);
    put(model, body, 100, true);
    put(model, body, 10, false);
    put(model, body, 50, true);
    send(model, 20, 8);
    tf_output_abandon(&model->output);
    assert_false(tf_output_pending(&model->output));
    assert_true(tf_output_check(&model->output));
    pull(model);
    assert_int_equal(model->returned, 2);
    assert_ptr_equal(tf_output_take(&model->output), memory);
    free(model);
}

/* A slow reader does not cost the whole buffer: what is left moves to the front. */
static void test_compacts(void **state)
{
    struct model *model = calloc(1, sizeof *model);
    uint64_t memory[32];

    (void)state;
    assert_int_equal(tf_output_lend(&model->output, memory, sizeof memory), TF_OK);
    put(model, body, 200, false);
    send(model, 190, 8);
    assert_int_equal(tf_output_room(&model->output, 0), 246);
    put(model, body, 240, false);
    send(model, 250, 8);
    assert_int_equal(tf_output_room(&model->output, 0), 256);
    free(model);
}

/* An owner that comes later is told when the bytes that it is given to are sent, or not at all. */
static void test_adopt(void **state)
{
    uint8_t buffer[256];
    struct tf_output output = {0};
    uint64_t first, second, owner;

    (void)state;
    assert_int_equal(tf_output_lend(&output, buffer, sizeof(buffer)), TF_OK);
    tf_output_refer(&output, tf_bytes_of(body, 10), 0);
    first = tf_output_newest(&output);
    tf_output_refer(&output, tf_bytes_of(body, 10), 0);
    second = tf_output_newest(&output);
    tf_output_sent(&output, 10);
    assert_false(tf_output_adopt(&output, first, 1)); /* it is sent */
    assert_true(tf_output_adopt(&output, second, 2));
    assert_false(tf_output_returned(&output, &owner));
    tf_output_sent(&output, 10);
    assert_true(tf_output_returned(&output, &owner));
    assert_int_equal(owner, 2);
    tf_output_refer(&output, tf_bytes_of(body, 10), 0); /* the same place again */
    assert_false(tf_output_adopt(&output, first, 3));
    tf_output_sent(&output, 10);
    assert_ptr_equal(tf_output_take(&output), buffer);
    assert_int_equal(tf_output_lend(&output, buffer, sizeof(buffer)), TF_OK);
    tf_output_refer(&output, tf_bytes_of(body, 10), 0);
    assert_false(tf_output_adopt(&output, first, 4));
    tf_output_abandon(&output);
    assert_false(tf_output_returned(&output, &owner));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),  cmocka_unit_test(test_take),
        cmocka_unit_test(test_abandon), cmocka_unit_test(test_compacts),
        cmocka_unit_test(test_adopt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
