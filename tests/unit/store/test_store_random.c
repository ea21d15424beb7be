/*
 * Random load by three clients, power cuts at any call of the disk, and a comparison with what the
 * clients know: every client's batches are there up to one of them, that one is not before what was
 * done, and transactions are there whole or not at all. TF_LONG in the environment makes it as
 * many states as the issue asks for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "store_rig.h"

#define QUEUES 2u /* of each client */
#define ENTRIES 400u
#define BATCHES 80u
#define OPS 24u /* of a batch */
#define JOINS 6u
#define MARK 9u /* kind of the object that tells a client's last batch */

enum kind { ENTRY, CHANGE, SETTLE };

struct op {
    enum kind kind;
    unsigned queue;
    uint64_t first, last, number; /* CHANGE: number is the attribute */
};

struct entry {
    uint64_t position, number;
    uint8_t attribute;
};

struct queue {
    struct entry entries[ENTRIES];
    size_t count;
};

struct batch {
    uint64_t number;
    bool disk;
    struct op ops[OPS];
    size_t count;
    uint64_t joins[JOINS];
    size_t join_count;
};

struct expected {
    struct queue queues[QUEUES];   /* as of the last start */
    struct queue live[QUEUES];     /* with all batches */
    struct batch batches[BATCHES]; /* since then */
    size_t count;                  /* the last is being filled while `open` */
    bool open;
    uint64_t position;      /* the last */
    uint64_t wanted[JOINS]; /* transactions that it has to join */
    size_t wanted_count;
};

struct world {
    struct rig rig;
    struct expected models[RIG_CLIENTS];
    struct tf_random random;
    uint64_t number; /* the last message */
    uint64_t batch;  /* the last batch, of all runs */
};

static unsigned below(struct world *world, unsigned bound)
{
    return (unsigned)tf_random_below(&world->random, bound);
}

/* ---- the model ---- */

static void apply(struct queue *queues, const struct op *op)
{
    struct queue *queue = &queues[op->queue];
    size_t kept = 0;

    if (op->kind == ENTRY) {
        assert_true(queue->count < ENTRIES);
        queue->entries[queue->count++] = (struct entry){op->first, op->number, (uint8_t)op->number};
        return;
    }
    for (size_t i = 0; i < queue->count; i++) {
        struct entry *entry = &queue->entries[i];
        bool hit = entry->position >= op->first && entry->position <= op->last;
        if (hit && op->kind == CHANGE)
            entry->attribute = (uint8_t)op->number;
        if (!hit || op->kind == CHANGE)
            queue->entries[kept++] = *entry;
    }
    queue->count = kept;
}

static struct batch *batch_of(struct world *world, unsigned c)
{
    struct expected *model = &world->models[c];

    if (!model->open) {
        model->open = true;
        assert_true(model->count < BATCHES);
        model->batches[model->count++] = (struct batch){.number = ++world->batch};
    }
    return &model->batches[model->count - 1];
}

static void record(struct world *world, unsigned c, enum tf_store_level level, const struct op *op)
{
    struct batch *batch = batch_of(world, c);

    batch->disk = batch->disk || level == TF_STORE_DISK;
    assert_true(batch->count < OPS);
    batch->ops[batch->count++] = *op;
    apply(world->models[c].live, op);
}

/* ---- the load ---- */

static uint64_t queue_id(unsigned client, unsigned queue)
{
    return 1000 + client * 10 + queue;
}

static void add_entry(struct world *world, unsigned c, enum tf_store_level level)
{
    struct expected *model = &world->models[c];
    unsigned queue = below(world, QUEUES);
    struct op op = {ENTRY, queue, 0, 0, 0};

    if (model->live[queue].count > ENTRIES / 2)
        return;
    op.first = op.last = model->position + 1 + below(world, 3);
    op.number = world->number + 1;
    if (!rig_entry(&world->rig, c, level, queue_id(c, queue), op.first, op.number,
                   below(world, 10) ? below(world, 300) : below(world, 30000)))
        return;
    world->number++;
    model->position = op.first;
    record(world, c, level, &op);
}

static void change_some(struct world *world, unsigned c, enum tf_store_level level, enum kind kind)
{
    struct expected *model = &world->models[c];
    struct queue *queue = &model->live[below(world, QUEUES)];
    struct tf_store_client *client = &world->rig.clients[c];
    struct op op = {kind, (unsigned)(queue - model->live), 0, 0, 0};
    uint8_t attributes[3];
    size_t first, last;

    if (!queue->count)
        return;
    first = below(world, (unsigned)TF_MIN(queue->count, 6));
    last = first + (kind == CHANGE ? 0 : below(world, 4) * below(world, 4));
    last = TF_MIN(last, queue->count - 1);
    op.first = queue->entries[first].position;
    op.last = queue->entries[last].position;
    op.number = below(world, 256);
    memset(attributes, (int)op.number, sizeof(attributes));
    if (kind == CHANGE)
        tf_store_change(client, level, queue_id(c, op.queue), op.first,
                        tf_bytes_of(attributes, 1 + op.number % 3));
    else
        tf_store_settle(client, level, queue_id(c, op.queue), op.first, op.last);
    record(world, c, level, &op);
}

static void join(struct world *world, unsigned c, uint64_t transaction, uint32_t parts)
{
    struct batch *batch = batch_of(world, c);

    tf_store_join(&world->rig.clients[c], transaction, parts);
    batch->joins[batch->join_count++] = transaction;
}

/* A new transaction of this client and some others, who join it when it suits them. */
static void begin_transaction(struct world *world, unsigned c)
{
    uint64_t transaction = tf_store_transaction(&world->rig.clients[c]);
    uint32_t parts = 1;

    if (batch_of(world, c)->join_count == JOINS)
        return;
    for (unsigned i = 0; i < RIG_CLIENTS; i++) {
        struct expected *other = &world->models[i];
        if (i == c || other->wanted_count == JOINS || below(world, 2))
            continue;
        other->wanted[other->wanted_count++] = transaction;
        parts++;
    }
    join(world, c, transaction, parts);
}

static void act(struct world *world, unsigned c)
{
    struct expected *model = &world->models[c];
    enum tf_store_level level = below(world, 5) ? TF_STORE_DISK : TF_STORE_OS;

    for (unsigned i = 1 + below(world, 5); i; i--) {
        unsigned what = below(world, 12);
        if (what < 6)
            add_entry(world, c, level);
        else if (what < 8)
            change_some(world, c, level, CHANGE);
        else if (what < 11)
            change_some(world, c, level, SETTLE);
        else
            begin_transaction(world, c);
    }
    while (model->wanted_count && batch_of(world, c)->join_count < JOINS && below(world, 3))
        join(world, c, model->wanted[--model->wanted_count], 0);
}

static void submit(struct world *world, unsigned c)
{
    struct tf_store_client *client = &world->rig.clients[c];
    struct expected *model = &world->models[c];
    uint8_t key = (uint8_t)c, value[8];
    struct tf_writer writer = tf_writer_of(value, sizeof(value));

    if (!model->open)
        return;
    /* What tells after a start how far this client has come. */
    tf_write_u64(&writer, model->batches[model->count - 1].number);
    if (tf_store_reserve(client, 32) == TF_OK || client->batch)
        tf_store_put(client, TF_STORE_OS, MARK, tf_bytes_of(&key, 1),
                     tf_bytes_of(value, sizeof(value)), NULL);
    if (!client->batch && tf_store_state(client) != TF_STORE_BROKEN) {
        model->count--; /* there was nothing in it but the mark, which was refused */
        model->open = false;
        return;
    }
    if (tf_store_state(client) != TF_STORE_BROKEN)
        assert_int_equal(tf_store_current(client), model->count);
    tf_store_submit(client);
    model->open = false;
}

static bool batch_full(const struct expected *model)
{
    return model->open && model->batches[model->count - 1].count > OPS - 6;
}

static void run(struct world *world, unsigned turns)
{
    struct rig *rig = &world->rig;

    for (unsigned i = 0; i < turns; i++) {
        for (unsigned c = 0; c < RIG_CLIENTS; c++) {
            if (world->models[c].count < BATCHES - 1 && below(world, 3))
                act(world, c);
            if (below(world, 4) || batch_full(&world->models[c]))
                submit(world, c);
        }
        if (below(world, 3))
            (void)tf_store_turn(rig->store, rig->now, &rig->until);
        for (unsigned c = 0; c < RIG_CLIENTS; c++)
            if (below(world, 2))
                (void)tf_store_receive(&rig->clients[c]);
        rig->now += below(world, 100) * TF_MILLISECOND;
    }
    for (unsigned c = 0; c < RIG_CLIENTS; c++)
        (void)tf_store_receive(&rig->clients[c]);
}

/* ---- after a start ---- */

/* The last batch of each client that is there. */
static void read_marks(struct world *world, uint64_t marks[RIG_CLIENTS])
{
    struct tf_journal *journal = tf_store_journal(world->rig.store);
    struct tf_journal_cursor cursor = {{0}};
    struct tf_journal_object object;

    while (tf_journal_next_object(journal, &cursor, &object)) {
        struct tf_reader reader = tf_reader_of(object.value);
        if (object.kind == MARK)
            marks[object.key.data[0]] = tf_read_u64(&reader);
    }
}

/* All batches that have joined a transaction are there, or none is. */
static void check_transactions(const struct world *world, const uint64_t marks[RIG_CLIENTS])
{
    for (unsigned c = 0; c < RIG_CLIENTS; c++)
        for (size_t i = 0; i < world->models[c].count; i++)
            for (size_t j = 0; j < world->models[c].batches[i].join_count; j++) {
                uint64_t transaction = world->models[c].batches[i].joins[j];
                if (world->models[c].batches[i].number > marks[c])
                    continue;
                for (unsigned d = 0; d < RIG_CLIENTS; d++) {
                    const struct expected *other = &world->models[d];
                    for (size_t k = 0; k < other->wanted_count; k++)
                        assert_int_not_equal(other->wanted[k], transaction);
                    for (size_t k = 0; k < other->count; k++)
                        for (size_t l = 0; l < other->batches[k].join_count; l++)
                            if (other->batches[k].joins[l] == transaction)
                                assert_true(other->batches[k].number <= marks[d]);
                }
            }
}

static void check_queue(struct world *world, unsigned c, unsigned q)
{
    const struct queue *queue = &world->models[c].queues[q];
    struct rig *rig = &world->rig;
    uint64_t from = 0;
    size_t seen = 0;

    do {
        rig_read(rig, below(world, RIG_CLIENTS), queue_id(c, q), from, 1 + below(world, 200),
                 below(world, 100000));
        assert_int_equal(rig->read_err, TF_OK);
        for (size_t i = 0; i < rig->items; i++, seen++) {
            assert_true(seen < queue->count);
            assert_int_equal(rig->positions[i], queue->entries[seen].position);
            assert_int_equal(rig->numbers[i], queue->entries[seen].number);
            assert_int_equal(rig->attributes[i], queue->entries[seen].attribute);
            from = rig->positions[i] + 1;
        }
    } while (!rig->read_end);
    assert_int_equal(seen, queue->count);
}

/* What is there is what it should be; goes on from there. `clean`: nothing was cut off. */
static void recover(struct world *world, const uint64_t done[RIG_CLIENTS])
{
    uint64_t marks[RIG_CLIENTS] = {0};

    assert_int_equal(rig_open(&world->rig), TF_OK);
    assert_int_equal(world->rig.report.damaged_groups, 0);
    assert_int_equal(world->rig.report.lost_messages, 0);
    read_marks(world, marks);
    check_transactions(world, marks);
    for (unsigned c = 0; c < RIG_CLIENTS; c++) {
        struct expected *model = &world->models[c];
        for (size_t i = 0; i < model->count; i++) {
            const struct batch *batch = &model->batches[i];
            /* Batches have numbers from 1 in each run, as `i` has from 0. */
            if (i + 1 <= done[c])
                assert_true(batch->number <= marks[c]);
            for (size_t j = 0; j < batch->count && batch->number <= marks[c]; j++)
                apply(model->queues, &batch->ops[j]);
        }
        memcpy(model->live, model->queues, sizeof(model->live));
        model->count = model->wanted_count = 0;
        model->open = false;
        model->position = tf_store_first_position(&world->rig.clients[c]);
        for (unsigned q = 0; q < QUEUES; q++)
            check_queue(world, c, q);
    }
    assert_true(tf_journal_check(tf_store_journal(world->rig.store)));
}

/* The batches of each client that have to be there after a power cut: the last that was to be
 * synced, of those that are done, and all before it. */
static void must_be_there(struct world *world, bool power, uint64_t ret_done[RIG_CLIENTS])
{
    for (unsigned c = 0; c < RIG_CLIENTS; c++) {
        const struct expected *model = &world->models[c];
        uint64_t done = world->rig.clients[c].done;
        assert_true(done <= model->count);
        while (power && done && !model->batches[done - 1].disk)
            done--;
        ret_done[c] = done;
    }
}

static struct world *world_new(uint64_t seed)
{
    struct world *world = calloc(1, sizeof(*world));

    assert_non_null(world);
    rig_init(&world->rig, RIG_CLIENTS);
    world->rig.config.journal.snapshot_interval = seed % 3 ? 65536 : 1 << 20;
    tf_random_init(&world->random, seed);
    assert_int_equal(rig_open(&world->rig), TF_OK);
    for (unsigned c = 0; c < RIG_CLIENTS; c++)
        world->models[c].position = tf_store_first_position(&world->rig.clients[c]);
    return world;
}

static void world_free(struct world *world)
{
    rig_release(&world->rig);
    free(world);
}

static void power_cuts(void **state)
{
    unsigned states = getenv("TF_LONG") ? 10000 : 300;
    uint64_t done[RIG_CLIENTS], total = 0;

    (void)state;
    for (unsigned seed = 1; states; seed++) {
        struct world *world = world_new(seed);
        for (unsigned i = 0; i < 20 && states; i++, states--) {
            struct rig *rig = &world->rig;
            run(world, below(world, 20));
            if (below(world, 2)) {
                /* In the middle of something. */
                rig->sim.fail_at = rig->sim.calls + 1 + below(world, 12);
                rig->sim.fail_on = true;
                rig->sim.fail_with = TF_IO;
            }
            run(world, 1 + below(world, 4));
            must_be_there(world, true, done);
            total += done[0] + done[1] + done[2];
            rig_power_cut(rig, tf_random_next(&world->random), below(world, 9));
            recover(world, done);
        }
        world_free(world);
    }
    assert_true(total > 2000);
}

/* The process dies: what was written is there, synced or not. */
static void killed(void **state)
{
    uint64_t done[RIG_CLIENTS];

    (void)state;
    for (unsigned seed = 1; seed < (getenv("TF_LONG") ? 200 : 10); seed++) {
        struct world *world = world_new(seed + 70000);
        for (unsigned i = 0; i < 10; i++) {
            run(world, below(world, 25));
            must_be_there(world, false, done);
            rig_power_cut(&world->rig, 1, 8); /* all of it is there */
            recover(world, done);
        }
        world_free(world);
    }
}

/* Writes and memory fail now and then; in the end all of it is there. */
static void trouble(void **state)
{
    uint64_t done[RIG_CLIENTS];

    (void)state;
    for (unsigned seed = 1; seed < (getenv("TF_LONG") ? 500 : 25); seed++) {
        struct world *world = world_new(seed + 90000);
        struct rig *rig = &world->rig;
        for (unsigned i = 0; i < 5; i++) {
            run(world, below(world, 5));
            if (below(world, 2)) {
                rig->heap.fail_at = rig->heap.calls + 1 + below(world, 40);
                rig->heap.fail_on = below(world, 2);
            }
            if (below(world, 2)) {
                rig->sim.fail_at = rig->sim.calls + 1 + below(world, 10);
                rig->sim.fail_with = below(world, 2) ? TF_IO : TF_LIMIT;
            }
            run(world, below(world, 8));
            rig->heap.fail_at = rig->sim.fail_at = 0;
            rig->heap.fail_on = false;
        }
        for (unsigned c = 0; c < RIG_CLIENTS; c++) {
            struct expected *model = &world->models[c];
            for (; model->wanted_count; submit(world, c))
                join(world, c, model->wanted[--model->wanted_count], 0);
            submit(world, c);
        }
        rig->now += TF_SECOND;
        rig_run(rig);
        must_be_there(world, false, done);
        if (tf_store_state(&rig->clients[0]) != TF_STORE_BROKEN)
            for (unsigned c = 0; c < RIG_CLIENTS; c++)
                assert_int_equal(done[c], world->models[c].count);
        rig_close(rig);
        recover(world, done);
        world_free(world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(power_cuts),
        cmocka_unit_test(killed),
        cmocka_unit_test(trouble),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
