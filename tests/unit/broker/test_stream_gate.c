/*
 * The gate of a stream against a model: every byte knows which batch it needs. Appends, needs,
 * completions and short writes at random; the output shows a part of what is pending.
 */
#include "broker/stream_gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "base/util.h"

#define BYTES 200000u
#define SPANS 8u

struct model {
    struct tf_stream stream;
    struct tf_store_client client;
    struct tf_random random;
    size_t made, sent;       /* bytes, ever */
    size_t shown;            /* spans that the output gives at most */
    size_t span;             /* bytes of one at most */
    uint64_t need[BYTES];    /* of each byte */
    uint64_t made_at[BYTES]; /* the batch that was current */
};

static struct model *model_of(struct tf_stream *stream)
{
    return tf_container_of(stream, struct model, stream);
}

static size_t output(struct tf_stream *stream, struct tf_bytes *ret_spans, size_t count)
{
    struct model *model = model_of(stream);
    static const uint8_t bytes[BYTES];
    size_t at = model->sent, given = 0;
    count = TF_MIN(count, model->shown);
    for (; given < count && at < model->made; given++) {
        size_t length = TF_MIN(model->made - at, model->span);
        ret_spans[given] = tf_bytes_of(bytes + at, length);
        at += length;
    }
    return given;
}

static void sent(struct tf_stream *stream, size_t length)
{
    struct model *model = model_of(stream);
    for (size_t i = 0; i < length; i++) {
        if (model->need[model->sent + i] > model->client.done) {
            fail_msg("byte %zu went before batch %llu was done", model->sent + i,
                     (unsigned long long)model->need[model->sent + i]);
        }
    }
    model->sent += length;
}

static const struct tf_stream_ops ops = {.output = output, .sent = sent};

static struct model *model_new(uint64_t seed)
{
    struct model *model = calloc(1, sizeof(*model));
    assert_non_null(model);
    model->stream.ops = &ops;
    model->client.current = 1;
    model->shown = SPANS;
    model->span = BYTES;
    tf_random_init(&model->random, seed);
    return model;
}

static size_t draw(struct model *model, size_t below)
{
    return (size_t)tf_random_below(&model->random, below);
}

/* The front makes output; `needed`: it waits for what the shard records now. */
static void make(struct model *model, size_t length, bool needed)
{
    size_t before = model->made ? model->made - 1 : 0;
    uint64_t need = model->made > model->sent ? model->need[before] : 0;
    if (needed) {
        need = model->client.current;
        tf_stream_need(&model->stream, need);
    }
    for (size_t i = 0; i < length && model->made < BYTES; i++) {
        model->made_at[model->made] = model->client.current;
        model->need[model->made++] = need;
    }
}

/* Writes what may go, `room` bytes at most. */
static void write_out(struct model *model, size_t room)
{
    struct tf_bytes spans[SPANS];
    for (;;) {
        size_t count = output(&model->stream, spans, SPANS), total = 0;
        bool any = count > 0;
        count = tf_stream_gate(&model->stream, &model->client, spans, count);
        for (size_t i = 0; i < count; i++) {
            assert_true(spans[i].length > 0);
            total += spans[i].length;
        }
        if (count == 0) {
            assert_true(!any || tf_stream_gated(&model->stream));
            return;
        }
        total = TF_MIN(total, room);
        if (total == 0) {
            return;
        }
        room -= total;
        tf_stream_gate_sent(&model->stream, total);
    }
}

static void any_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct model *model = model_new(seed);
        model->shown = 1 + draw(model, SPANS);
        model->span = draw(model, 2) ? 1 + draw(model, 20) : BYTES;
        for (unsigned turn = 0; turn < 300; turn++) {
            while (draw(model, 3) == 0) {
                make(model, draw(model, 100), draw(model, 2) == 0);
            }
            if (draw(model, 4)) {
                write_out(model, draw(model, 3) ? SIZE_MAX : draw(model, 80));
            }
            model->client.current += draw(model, 2);
            if (draw(model, 3) == 0) {
                uint64_t open = model->client.current - 1 - model->client.done;
                model->client.done += open ? draw(model, open + 1) : 0;
            }
        }
        model->client.done = model->client.current;
        write_out(model, SIZE_MAX);
        assert_int_equal(model->sent, model->made);
        assert_false(tf_stream_gated(&model->stream));
        free(model);
    }
}

/* A stream that needs something in every turn goes on: nothing waits for what comes ever later. */
static void goes_on(void **state)
{
    enum { LAG = 3 };
    (void)state;
    for (size_t shown = 1; shown <= SPANS; shown++) {
        struct model *model = model_new(shown);
        model->shown = shown;
        model->span = 10;
        for (unsigned turn = 0; turn < 1000; turn++) {
            make(model, 10, true);
            write_out(model, SIZE_MAX);
            model->client.current++;
            if (model->client.current > LAG) {
                model->client.done = model->client.current - LAG;
            }
            write_out(model, SIZE_MAX);
            /* A part waits for the batch that was current when it began, and so does the next. */
            if (model->sent < model->made && shown > 2 * LAG) {
                assert_true(model->client.done <= model->made_at[model->sent] + 2 * LAG);
            }
        }
        assert_true(model->sent > 1000);
        model->client.done = model->client.current;
        write_out(model, SIZE_MAX);
        assert_int_equal(model->sent, model->made);
        free(model);
    }
}

static void one_sync_releases(void **state)
{
    struct model *model = model_new(1);
    (void)state;
    make(model, 10, false);
    write_out(model, 4); /* the peer is slow */
    assert_int_equal(model->sent, 4);
    assert_false(tf_stream_gated(&model->stream));
    make(model, 5, true);
    write_out(model, SIZE_MAX);
    assert_true(tf_stream_gated(&model->stream));
    assert_false(tf_stream_gate_open(&model->stream, &model->client));
    model->client.done = 1;
    model->client.current = 2;
    assert_true(tf_stream_gate_open(&model->stream, &model->client));
    write_out(model, SIZE_MAX);
    assert_int_equal(model->sent, 15);
    assert_false(tf_stream_gated(&model->stream));
    make(model, 5, true); /* what is done already holds nothing up */
    model->client.done = 2;
    write_out(model, SIZE_MAX);
    assert_int_equal(model->sent, 20);
    free(model);
}

static void without_a_store(void **state)
{
    struct model *model = model_new(1);
    struct tf_bytes spans[SPANS];
    (void)state;
    make(model, 10, true);
    size_t count = output(&model->stream, spans, SPANS);
    assert_int_equal(tf_stream_gate(&model->stream, NULL, spans, count), 1);
    assert_int_equal(spans[0].length, 10);
    free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_sync_releases),
        cmocka_unit_test(any_order),
        cmocka_unit_test(goes_on),
        cmocka_unit_test(without_a_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
