/*
 * Named queues without memory: each allocation of a whole story failed in turn. Whatever fails says
 * so or is done later; nothing hangs, and no message that was taken is lost or comes twice.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/util.h"
#include "unit/route/named_rig.h"

#define MESSAGES 12u

struct story {
    struct rig rig;
    struct eater a, b, dead;
    struct feeder feeder;
    struct tf_ticket_owner tickets;
    struct tf_command_owner commands;
    unsigned asked, answered;
    unsigned taken[MESSAGES]; /* messages that somebody has said to have */
    unsigned commanded, done;
    unsigned shards;
    char name[16], dead_name[16], to[16];
};

static void put_done(struct tf_ticket_owner *owner, uint64_t tag, const struct tf_published *result)
{
    struct story *s = tf_container_of(owner, struct story, tickets);
    s->answered++;
    s->taken[tag] = result->taken;
}

static void command_done(struct tf_command_owner *owner, uint64_t tag, enum tf_err err,
                         uint64_t count, const struct tf_queue_status *status)
{
    (void)tag;
    (void)err;
    (void)count;
    (void)status;
    tf_container_of(owner, struct story, commands)->done++;
}

/* True if `eater` is attached in the end. */
static bool attach(struct story *s, struct eater *eater, unsigned shard, const char *name,
                   const struct tf_queue_spec *spec, const char *filter)
{
    struct tf_queue_declaration declaration = {
        .name = tf_bytes_str(name), .filter = tf_bytes_str(filter), .spec = spec};
    eater->shard = &s->rig.shards[shard];
    enum tf_err err = eater_attach(eater, &s->rig, &declaration);
    assert_true(err == TF_OK || err == TF_NO_MEMORY);
    assert_int_equal(eater->consumer.attachment != NULL, err == TF_OK);
    return err == TF_OK;
}

static void put(struct story *s, unsigned number)
{
    char text[8];
    struct tf_bytes body;
    struct tf_published result = {0};
    sprintf(text, "%u", number);
    struct tf_publication publication = rig_publication(tf_bytes_str("p"), text, 1, false, &body);
    enum tf_err err;
    if (number % 2 && s->feeder.producer.attachment) {
        err = tf_named_produce(&s->feeder.producer, &publication, &s->tickets, number, &result);
    } else {
        err = tf_shard_enqueue(&s->rig.shards[number % s->shards], tf_bytes_str(s->name),
                               &publication, &s->tickets, number, &result);
    }
    tf_publication_release(&publication);
    s->taken[number] = result.taken;
    s->asked += err == TF_AGAIN;
    assert_true(err == TF_OK || err == TF_AGAIN || err == TF_NO_MEMORY);
}

static void command(struct story *s, enum tf_queue_command_type type, const char *name)
{
    struct tf_queue_spec spec = named_spec();
    struct tf_queue_command asked = {.type = (uint8_t)type,
                                     .name = tf_bytes_str(name),
                                     .to = tf_bytes_str(s->to),
                                     .spec = type == TF_QUEUE_DECLARE ? &spec : NULL,
                                     .filter = tf_bytes_str(type == TF_QUEUE_DECLARE ? "f" : ""),
                                     .limit = 3};
    s->commanded +=
        tf_shard_queue_command(&s->rig.shards[s->shards - 1], &asked, &s->commands, 0) == TF_OK;
    rig_settle(&s->rig);
    assert_int_equal(s->commanded, s->done);
}

/* One of each outcome, in turns. */
static void settle_all(struct story *s, struct eater *eater)
{
    static const struct tf_outcome outcomes[] = {
        {.type = TF_OUTCOME_ACCEPTED},
        {.type = TF_OUTCOME_RELEASED},
        {.type = TF_OUTCOME_MODIFIED, .undeliverable_here = true, .failed = true},
        {.type = TF_OUTCOME_REJECTED},
        {.type = TF_OUTCOME_MODIFIED, .annotations = {(const uint8_t *)"note", 4}},
    };
    for (size_t i = 0; i < eater->count && eater->consumer.attachment; i++) {
        if (eater->eaten[i].handle) {
            uint64_t handle = eater->eaten[i].handle;
            eater->eaten[i].handle = 0;
            tf_named_settle(&eater->consumer, handle,
                            &outcomes[((size_t)atoi(eater->eaten[i].body) + i) % 5]);
        }
    }
    rig_settle(&s->rig);
}

/* Takes all that is left in a queue; how often each message was in it. */
static void count_left(struct story *s, const char *name, unsigned left[MESSAGES])
{
    struct eater *all = calloc(1, sizeof(*all));
    struct tf_queue_declaration declaration = {.name = tf_bytes_str(name)};
    all->shard = &s->rig.shards[0];
    if (eater_attach(all, &s->rig, &declaration) == TF_OK) {
        tf_named_credit(&all->consumer, 1000);
        all->accept_at_once = true;
        rig_settle(&s->rig);
        for (size_t i = 0; i < all->count; i++) {
            left[atoi(all->eaten[i].body)]++;
        }
        tf_named_detach(&all->consumer, false);
        rig_settle(&s->rig);
        named_delete(&s->rig, name);
    }
    free(all);
}

static void tell(struct story *s)
{
    struct tf_queue_spec spec = named_spec();
    (void)attach(s, &s->dead, s->shards - 1, s->dead_name, &spec, "dlq");
    command(s, TF_QUEUE_DECLARE, s->to);
    spec.dead_letter = tf_bytes_str("dlq");
    bool a = attach(s, &s->a, s->shards - 1, s->name, &spec, "x/+");
    bool b = attach(s, &s->b, 0, s->name, &spec, "y");
    struct tf_queue_declaration declaration = {.name = tf_bytes_str(s->name), .spec = &spec};
    (void)feeder_attach(&s->feeder, &s->rig, s->shards / 2, &declaration);
    for (unsigned i = 0; i < MESSAGES; i++) {
        put(s, i);
    }
    rig_settle(&s->rig);
    assert_int_equal(s->asked, s->answered);
    if (a) {
        tf_named_credit(&s->a.consumer, 5);
    }
    if (b) {
        tf_named_credit(&s->b.consumer, 4);
    }
    rig_settle(&s->rig);
    rig_check(&s->rig);
    for (unsigned round = 0; round < 2; round++) {
        settle_all(s, &s->a);
        settle_all(s, &s->b);
        rig_check(&s->rig);
    }
    tf_named_drain(&s->a.consumer);
    rig_settle(&s->rig);
    if (a) {
        assert_int_equal(s->a.drained, 1);
    }
    tf_named_detach(&s->a.consumer, true);
    rig_settle(&s->rig);
    command(s, TF_QUEUE_MOVE, s->name);
    rig_check(&s->rig);
    tf_named_detach(&s->b.consumer, false);
    tf_named_detach(&s->dead.consumer, false);
    tf_named_producer_detach(&s->feeder.producer);
    rig_settle(&s->rig);
    rig_check(&s->rig);
}

static void account(struct story *s)
{
    unsigned left[MESSAGES] = {0};
    unsigned seen[MESSAGES] = {0};
    for (unsigned i = 0; i < 2; i++) {
        const struct eater *eater = i ? &s->b : &s->a;
        for (size_t j = 0; j < eater->count; j++) {
            seen[atoi(eater->eaten[j].body)]++;
        }
    }
    count_left(s, s->name, left);
    count_left(s, s->dead_name, left);
    count_left(s, s->to, left);
    for (unsigned i = 0; i < MESSAGES; i++) {
        assert_true(left[i] <= 1); /* once at most */
        if (s->taken[i]) {
            assert_true(left[i] || seen[i]); /* whoever settled it has seen it */
        }
        if (!s->taken[i]) {
            assert_int_equal(left[i] + seen[i], 0);
        }
    }
}

static void run(unsigned shards, size_t capacity)
{
    size_t failed = 1;
    for (size_t nth = 1; failed; nth++) {
        struct story *s = calloc(1, sizeof(*s));
        s->shards = shards;
        rig_start(&s->rig, shards, capacity);
        named_name(&s->rig, 0, s->name);
        rig_address(&s->rig, shards - 1, "dead", s->dead_name, sizeof(s->dead_name));
        rig_address(&s->rig, shards - 1, "to", s->to, sizeof(s->to));
        s->tickets.done = put_done;
        s->commands.done = command_done;
        tf_list_init(&s->tickets.tickets);
        tf_list_init(&s->commands.commands);
        test_alloc_fail(&s->rig.memory, nth);
        tell(s);
        failed = s->rig.memory.failed;
        test_alloc_fail(&s->rig.memory, 0);
        account(s);
        rig_stop(&s->rig);
        free(s);
        assert_true(!failed || nth < 10000);
    }
}

static void test_one_shard(void **state)
{
    (void)state;
    run(1, 16);
}

static void test_three_shards(void **state)
{
    (void)state;
    run(RIG_SHARDS, 16);
}

/* Rings of two records, so that every mail may find none to spill to. */
static void test_full_rings(void **state)
{
    (void)state;
    run(RIG_SHARDS, 2);
}

/* ---- the moments that a story seldom meets ---- */

struct moment {
    struct rig rig;
    struct eater a, b;
    char name[16]; /* at home in shard 0; a and b are in shard 1 */
};

static struct moment *moment_start(void)
{
    struct moment *m = calloc(1, sizeof(*m));
    rig_start(&m->rig, RIG_SHARDS, 2);
    named_name(&m->rig, 0, m->name);
    eater_start(&m->a, &m->rig, 1, m->name);
    return m;
}

static void moment_end(struct moment *m)
{
    rig_settle(&m->rig);
    rig_check(&m->rig);
    tf_named_detach(&m->a.consumer, false);
    tf_named_detach(&m->b.consumer, false);
    rig_settle(&m->rig);
    named_delete(&m->rig, m->name);
    rig_stop(&m->rig);
    free(m);
}

/* From now on nothing is to be had, or everything again. */
static void famine(struct moment *m, bool on)
{
    m->rig.memory.fail_on = on;
    test_alloc_fail(&m->rig.memory, on ? 1 : 0);
}

/* Settlements wait for memory; who leaves then must not come home before them. */
static void test_leaving_waits_behind(void **state)
{
    (void)state;
    struct moment *m = moment_start();
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(named_put(&m->rig, 0, m->name, "x").taken, 1);
    }
    tf_named_credit(&m->a.consumer, 6);
    rig_settle(&m->rig);
    assert_int_equal(m->a.count, 6);
    famine(m, true);
    for (unsigned i = 0; i < 4; i++) { /* two fit into the ring */
        eater_settle(&m->a, i, TF_OUTCOME_ACCEPTED);
    }
    tf_shard_receive(&m->rig.shards[0]);
    tf_named_detach(&m->a.consumer, true);
    tf_shard_receive(&m->rig.shards[0]);
    famine(m, false);
    rig_settle(&m->rig);
    assert_int_equal(named_status(&m->rig, m->name).settled, 4);
    assert_int_equal(named_status(&m->rig, m->name).messages, 2);
    assert_int_equal(named_status(&m->rig, m->name).acquired, 0);
    moment_end(m);
}

/* There is an entry, but nothing to send it in: it is sent when there is, to who still is there. */
static void test_parcel_later(void **state)
{
    (void)state;
    for (unsigned leaves = 0; leaves < 2; leaves++) {
        struct moment *m = moment_start();
        tf_named_credit(&m->a.consumer, 5);
        rig_settle(&m->rig);
        test_alloc_fail(&m->rig.memory, 3); /* message, entry, parcel */
        assert_int_equal(named_put(&m->rig, 0, m->name, "x").taken, 1);
        assert_int_equal(m->rig.memory.failed, 1);
        test_alloc_fail(&m->rig.memory, 0);
        rig_check(&m->rig);
        if (leaves) {
            tf_named_detach(&m->a.consumer, true);
        }
        rig_settle(&m->rig);
        assert_int_equal(m->a.count, !leaves);
        moment_end(m);
    }
}

/* There is no memory to attach it, nor to say so, and it has left before it can be told. */
static void test_gone_instead_of_attached(void **state)
{
    (void)state;
    struct moment *m = moment_start();
    struct tf_queue_declaration declaration = {.name = tf_bytes_str(m->name)};
    tf_named_credit(&m->a.consumer, 2);
    rig_settle(&m->rig);
    assert_int_equal(named_put(&m->rig, 0, m->name, "x").taken, 1);
    assert_int_equal(named_put(&m->rig, 0, m->name, "x").taken, 1); /* the ring is full */
    m->b.consumer.ops = m->a.consumer.ops;
    assert_int_equal(tf_shard_consume(&m->rig.shards[1], &m->b.consumer, &declaration), TF_AGAIN);
    famine(m, true);
    tf_shard_receive(&m->rig.shards[0]);
    tf_named_detach(&m->b.consumer, false);
    tf_shard_receive(&m->rig.shards[0]);
    famine(m, false);
    rig_settle(&m->rig);
    assert_int_equal(m->b.attached, 0);
    moment_end(m);
}

/* A dead letter waits until there is memory for it. */
static void test_letter_waits(void **state)
{
    (void)state;
    struct rig *rig = calloc(1, sizeof(*rig));
    struct eater *a = calloc(1, sizeof(*a));
    struct tf_queue_spec spec = named_spec();
    struct tf_queue_declaration declaration = {.name = tf_bytes_str("q"), .spec = &spec};
    struct tf_queue_command command = {.type = TF_QUEUE_DECLARE,
                                       .name = tf_bytes_str("dead"),
                                       .filter = tf_bytes_str("dlq"),
                                       .spec = &spec};
    rig_start(rig, 1, 2);
    assert_int_equal(named_command(rig, 0, &command, NULL), TF_OK);
    spec.dead_letter = tf_bytes_str("dlq");
    a->shard = &rig->shards[0];
    assert_int_equal(eater_attach(a, rig, &declaration), TF_OK);
    tf_named_credit(&a->consumer, 1);
    assert_int_equal(named_put(rig, 0, "q", "x").taken, 1);
    eater_settle(a, 0, TF_OUTCOME_REJECTED);
    rig->memory.fail_on = true;
    test_alloc_fail(&rig->memory, 1);
    tf_shard_receive(&rig->shards[0]);
    assert_true(tf_shard_busy(&rig->shards[0]));
    rig->memory.fail_on = false;
    test_alloc_fail(&rig->memory, 0);
    rig_settle(rig);
    assert_int_equal(named_status(rig, "dead").messages, 1);
    tf_named_detach(&a->consumer, false);
    named_delete(rig, "q");
    named_delete(rig, "dead");
    rig_stop(rig);
    free(a);
    free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_shard),    cmocka_unit_test(test_three_shards),
        cmocka_unit_test(test_full_rings),   cmocka_unit_test(test_leaving_waits_behind),
        cmocka_unit_test(test_parcel_later), cmocka_unit_test(test_gone_instead_of_attached),
        cmocka_unit_test(test_letter_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
