/*
 * Kept queues when the disk is full, the power fails at any moment, or memory is short at any call.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/util.h"
#include "unit/route/store_rig.h"

#define MESSAGES 4000u
#define HELD_MAX 32u

static struct eater a, b;

struct asker {
    struct tf_command_owner owner;
    enum tf_err err;
    unsigned done;
};

static void command_done(struct tf_command_owner *owner, uint64_t tag, enum tf_err err,
                         uint64_t count, const struct tf_queue_status *status)
{
    struct asker *asker = tf_container_of(owner, struct asker, owner);
    (void)tag;
    (void)count;
    (void)status;
    asker->err = err;
    asker->done++;
}

/* Runs a command, which may fail. */
static enum tf_err run(struct store_rig *k, const struct tf_queue_command *command)
{
    struct asker asker = {.owner.done = command_done};
    tf_list_init(&asker.owner.commands);
    enum tf_err err = tf_shard_queue_command(&k->rig.shards[0], command, &asker.owner, 0);
    if (err) {
        return err;
    }
    rig_settle(&k->rig);
    assert_int_equal(asker.done, 1);
    return asker.err;
}

static enum tf_err declare(struct store_rig *k, const char *name, const struct tf_queue_spec *spec,
                           const char *filter)
{
    struct tf_queue_command command = {.type = TF_QUEUE_DECLARE,
                                       .name = tf_bytes_str(name),
                                       .spec = spec,
                                       .filter = tf_bytes_str(filter)};
    return run(k, &command);
}

/* ---- an answer ---- */

struct answer {
    struct tf_ticket_owner owner;
    struct tf_published result;
    unsigned done;
};

static void answered(struct tf_ticket_owner *owner, uint64_t tag, const struct tf_published *result)
{
    struct answer *answer = tf_container_of(owner, struct answer, owner);
    (void)tag;
    answer->result = *result;
    answer->done++;
}

/* True: it was taken, and is on disk. */
static bool put(struct store_rig *k, unsigned shard, const char *name, unsigned number)
{
    struct answer answer = {.owner.done = answered};
    struct tf_bytes bytes;
    char body[16];
    snprintf(body, sizeof(body), "%u", number);
    struct tf_publication publication =
        rig_publication(tf_bytes_str("put"), body, 1, false, &bytes);
    tf_list_init(&answer.owner.tickets);
    enum tf_err err = tf_shard_enqueue(&k->rig.shards[shard], tf_bytes_str(name), &publication,
                                       &answer.owner, 0, &answer.result);
    tf_publication_release(&publication);
    rig_settle(&k->rig);
    assert_int_equal(answer.done, err == TF_AGAIN);
    tf_ticket_owner_release(&answer.owner);
    return (err == TF_OK || err == TF_AGAIN) && answer.result.taken == 1;
}

/* ---- a full disk ---- */

static void test_full(void **state)
{
    struct store_rig k;
    struct tf_queue_spec spec = kept_spec();
    struct tf_queue_spec dead = kept_spec();
    (void)state;
    spec.dead_letter = tf_bytes_str("dead");
    store_rig_start(&k, 2);
    char name[16];
    char box[16];
    named_name(&k.rig, 0, name);
    named_name(&k.rig, 1, box);
    assert_int_equal(declare(&k, name, &spec, ""), TF_OK);
    assert_int_equal(declare(&k, box, &dead, "dead"), TF_OK);
    for (unsigned i = 0; i < 4; i++) {
        assert_true(put(&k, 1, name, i));
    }
    kept_eat(&k, &a, 1, name, 2);
    k.disk.fail_at = k.disk.calls + 1;
    k.disk.fail_on = true;
    k.disk.fail_with = TF_LIMIT;
    eater_settle(&a, 0, TF_OUTCOME_ACCEPTED); /* it is tried again until it succeeds */
    rig_settle(&k.rig);
    assert_int_equal(tf_store_state(&k.clients[0]), TF_STORE_FULL);
    assert_false(put(&k, 0, name, 10));
    assert_false(put(&k, 1, name, 11));
    assert_int_equal(declare(&k, "no", &spec, ""), TF_LIMIT);
    assert_int_equal(declare(&k, name, NULL, "no"), TF_LIMIT);
    assert_int_equal(named_status(&k.rig, name).bindings, 0);
    /* what is there is served; the dead wait, and nobody is busy with them */
    eater_settle(&a, 1, TF_OUTCOME_REJECTED);
    tf_named_credit(&a.consumer, 2);
    rig_settle(&k.rig);
    assert_int_equal(a.count, 4);
    rig_check(&k.rig);
    assert_int_equal(named_status(&k.rig, box).messages, 0);
    k.disk.fail_at = 0;
    k.disk.fail_on = false;
    rig_time(&k.rig, k.rig.now + 100 * TF_SECOND);
    k.woken++;
    rig_settle(&k.rig);
    assert_int_equal(tf_store_state(&k.clients[0]), TF_STORE_READY);
    assert_true(put(&k, 1, name, 12));
    assert_int_equal(named_status(&k.rig, box).messages, 1);
    rig_check(&k.rig);
    store_rig_crash(&k);
    kept_eat(&k, &a, 0, name, 10);
    assert_string_equal(eater_bodies(&a, 0), "2 3 12");
    kept_eat(&k, &b, 0, box, 10);
    assert_string_equal(eater_bodies(&b, 0), "1");
    store_rig_stop(&k);
}

/* What cannot be read is read again, and meanwhile nothing is drained and nobody is busy. */
static void test_read_fails(void **state)
{
    struct store_rig k;
    (void)state;
    store_rig_start(&k, 1);
    kept_make(&k, "q");
    kept_put(&k, "q", 0, 3);
    store_rig_crash(&k);
    k.disk.fail_at = k.disk.calls + 1;
    k.disk.fail_on = true;
    k.disk.fail_with = TF_IO;
    kept_eat(&k, &a, 0, "q", 10);
    tf_named_drain(&a.consumer);
    rig_settle(&k.rig);
    assert_int_equal(a.count, 0);
    assert_int_equal(a.drained, 0);
    assert_false(tf_shard_busy(&k.rig.shards[0]));
    assert_true(tf_shard_deadline(&k.rig.shards[0]) < TF_TIME_NEVER);
    k.disk.fail_at = 0;
    k.disk.fail_on = false;
    rig_time(&k.rig, tf_shard_deadline(&k.rig.shards[0]));
    rig_settle(&k.rig);
    assert_true(kept_row(&a, 0, 0, 3));
    assert_int_equal(a.drained, 1);
    store_rig_stop(&k);
}

/* ---- memory ---- */

struct outcome {
    unsigned taken, ended, rejected;
};

/* What a client might do, with every step free to fail. */
static void do_things(struct store_rig *k, const char *name, const char *box, struct outcome *ret)
{
    struct tf_queue_spec spec = kept_spec();
    struct tf_queue_spec dead = kept_spec();
    struct tf_outcome note = {
        .type = TF_OUTCOME_MODIFIED, .failed = true, .annotations = tf_bytes_str("note")};
    struct tf_queue_declaration declaration = {.name = tf_bytes_str(name)};
    spec.dead_letter = tf_bytes_str("dead");
    bool there = declare(k, name, &spec, "in") == TF_OK;
    there &= declare(k, box, &dead, "dead") == TF_OK;
    spec.max_attempts = 9;
    there &= declare(k, name, &spec, "") == TF_OK;
    for (unsigned i = 0; i < 5; i++) {
        ret->taken += put(k, i % 2, name, i);
    }
    memset(&a, 0, sizeof(a));
    a.shard = &k->rig.shards[1];
    if (eater_attach(&a, &k->rig, &declaration) == TF_OK) {
        tf_named_credit(&a.consumer, 3);
        rig_settle(&k->rig);
        if (a.count > 0) {
            eater_settle(&a, 0, TF_OUTCOME_ACCEPTED);
            ret->ended++;
        }
        if (a.count > 1 && there) {
            eater_settle(&a, 1, TF_OUTCOME_REJECTED);
            ret->rejected++;
        }
        if (a.count > 2) {
            tf_named_settle(&a.consumer, a.eaten[2].handle, &note);
        }
        rig_settle(&k->rig);
        tf_named_detach(&a.consumer, true);
        rig_settle(&k->rig);
    }
    rig_check(&k->rig);
}

static unsigned browse(struct store_rig *k, const char *name)
{
    struct tf_queue_declaration declaration = {.name = tf_bytes_str(name)};
    if (!tf_named_queue_find(&k->rig.shards[tf_shard_home(&k->rig.shards[0], declaration.name)],
                             declaration.name)) {
        return 0;
    }
    memset(&b, 0, sizeof(b));
    b.consumer.browse = true;
    b.shard = &k->rig.shards[0];
    if (eater_attach(&b, &k->rig, &declaration) != TF_OK) {
        return UINT32_MAX;
    }
    tf_named_credit(&b.consumer, 100000);
    rig_settle(&k->rig);
    for (unsigned i = 0; i < 10; i++) { /* what found no memory is read again */
        rig_time(&k->rig, k->rig.now + 10 * TF_SECOND);
        rig_settle(&k->rig);
    }
    rig_check(&k->rig);
    tf_named_detach(&b.consumer, false);
    rig_settle(&k->rig);
    return (unsigned)b.count;
}

/* Every allocation of the shards fails once; then of the store; and what was promised is there. */
static void short_of_memory(bool of_store)
{
    for (size_t nth = 1;; nth++) {
        struct store_rig k;
        struct outcome outcome = {0};
        char name[16];
        char box[16];
        store_rig_start(&k, 2);
        named_name(&k.rig, 0, name);
        named_name(&k.rig, 1, box);
        struct test_alloc *memory = of_store ? &k.memory : &k.rig.memory;
        test_alloc_fail(memory, nth);
        do_things(&k, name, box, &outcome);
        bool failed = memory->failed != 0;
        test_alloc_fail(memory, 0);
        rig_time(&k.rig, k.rig.now + 100 * TF_SECOND);
        k.woken++;
        rig_settle(&k.rig);
        rig_check(&k.rig);
        enum tf_store_state broken = tf_store_state(&k.clients[0]);
        uint32_t bindings = named_status(&k.rig, name).bindings;
        store_rig_crash(&k);
        unsigned here = browse(&k, name);
        unsigned there = browse(&k, box);
        if (broken != TF_STORE_BROKEN) {
            assert_int_equal(here, outcome.taken - outcome.ended - outcome.rejected);
            assert_int_equal(there, outcome.rejected);
            assert_int_equal(named_status(&k.rig, name).bindings, bindings);
        } else {
            assert_true(here + there >= outcome.taken - outcome.ended);
        }
        /* the same while it is read again */
        test_alloc_fail(of_store ? &k.memory : &k.rig.memory, nth);
        unsigned again = browse(&k, name);
        assert_true(again == here || again == UINT32_MAX);
        failed |= (of_store ? &k.memory : &k.rig.memory)->failed != 0;
        store_rig_stop(&k);
        if (!failed) {
            assert_true(nth > 10);
            return;
        }
    }
}

static void test_short_of_memory(void **state)
{
    (void)state;
    short_of_memory(false);
    short_of_memory(true);
}

/* What is there already begins to be kept as a whole, or not at all. */
static void test_kept_later(void **state)
{
    (void)state;
    for (size_t nth = 1;; nth++) {
        struct store_rig k;
        struct tf_queue_spec spec = kept_spec();
        store_rig_start(&k, 1);
        spec.durability = TF_STORE_MEMORY;
        assert_int_equal(declare(&k, "q", &spec, "in"), TF_OK);
        for (unsigned i = 0; i < 5; i++) {
            assert_true(put(&k, 0, "q", i));
        }
        kept_eat(&k, &a, 0, "q", 3);
        spec.durability = TF_STORE_DISK;
        test_alloc_fail(&k.rig.memory, nth);
        enum tf_err err = declare(&k, "q", &spec, "");
        bool failed = k.rig.memory.failed != 0;
        test_alloc_fail(&k.rig.memory, 0);
        assert_true(err == TF_OK || failed);
        rig_settle(&k.rig);
        rig_check(&k.rig);
        assert_int_equal(named_status(&k.rig, "q").messages, 5);
        store_rig_crash(&k);
        assert_int_equal(browse(&k, "q"), err ? 0 : 5);
        assert_int_equal(named_status(&k.rig, "q").bindings, err ? 0 : 1);
        store_rig_stop(&k);
        if (!failed) {
            return;
        }
    }
}

/* ---- a model ---- */

struct model {
    struct store_rig k;
    struct tf_random random;
    unsigned seed, next;
    char name[16];
    struct eater *eater; /* NULL: detached */
    size_t looked;       /* deliveries that have been looked at */
    struct {
        bool taken; /* and answered */
        bool ended; /* settled for good */
        bool sure;  /* and that is on disk */
    } messages[MESSAGES];
    uint64_t handles[HELD_MAX];
    unsigned numbers[HELD_MAX];
    unsigned held;
};

#define MUST(m, condition)                                  \
    do {                                                    \
        if (!(condition)) {                                 \
            fail_msg("seed %u: %s", (m)->seed, #condition); \
        }                                                   \
    } while (0)

static void leave(struct model *m, bool lost)
{
    if (m->eater) {
        tf_named_detach(&m->eater->consumer, lost);
        m->eater = NULL;
        m->held = 0;
    }
}

static void look(struct model *m)
{
    for (; m->eater && m->looked < a.count; m->looked++) {
        unsigned number = (unsigned)atoi(a.eaten[m->looked].body);
        MUST(m, !m->messages[number].ended);
        m->numbers[m->held] = number;
        m->handles[m->held++] = a.eaten[m->looked].handle;
    }
}

static void settle_one(struct model *m)
{
    look(m);
    if (!m->eater || !m->held) {
        return;
    }
    unsigned i = (unsigned)tf_random_below(&m->random, m->held);
    struct tf_outcome outcome = {.type = (uint8_t)tf_random_below(&m->random, 4),
                                 .failed = tf_random_chance(&m->random, 1, 2),
                                 .annotations =
                                     tf_bytes_str(tf_random_chance(&m->random, 1, 4) ? "x" : "")};
    m->messages[m->numbers[i]].ended =
        outcome.type == TF_OUTCOME_ACCEPTED || outcome.type == TF_OUTCOME_REJECTED;
    uint64_t handle = m->handles[i];
    m->held--;
    m->handles[i] = m->handles[m->held];
    m->numbers[i] = m->numbers[m->held];
    tf_named_settle(&m->eater->consumer, handle, &outcome);
}

static void arrive(struct model *m)
{
    struct tf_queue_declaration declaration = {.name = tf_bytes_str(m->name)};
    leave(m, tf_random_chance(&m->random, 1, 2));
    memset(&a, 0, sizeof(a));
    a.shard = &m->k.rig.shards[tf_random_below(&m->random, m->k.rig.count)];
    m->looked = 0;
    MUST(m, eater_attach(&a, &m->k.rig, &declaration) == TF_OK);
    m->eater = &a;
}

static void all_settled(struct model *m)
{
    rig_settle(&m->k.rig);
    rig_check(&m->k.rig);
    for (unsigned i = 0; i < m->next; i++) {
        m->messages[i].sure |= m->messages[i].ended;
    }
}

/* All that must be there is, once and in order. */
static void compare(struct model *m)
{
    size_t at = 0;
    unsigned count = browse(&m->k, m->name);
    for (unsigned i = 0; i < m->next; i++) {
        bool there = at < count && (unsigned)atoi(b.eaten[at].body) == i;
        MUST(m, there || !m->messages[i].taken || m->messages[i].ended);
        MUST(m, !there || !m->messages[i].sure);
        m->messages[i].taken |= there;
        m->messages[i].ended = !there;
        m->messages[i].sure |= !there;
        at += there;
    }
    MUST(m, at == count);
}

static void crash(struct model *m)
{
    unsigned count = m->k.rig.count;
    tf_time now = m->k.rig.now;
    if (tf_random_chance(&m->random, 1, 3)) {
        all_settled(m);
    }
    struct sim_disk after;
    sim_disk_crash(&m->k.disk, &after, m->seed + m->next, (unsigned)tf_random_below(&m->random, 9));
    m->eater = NULL;
    m->held = 0;
    store_rig_end(&m->k);
    sim_disk_release(&m->k.disk);
    m->k.disk = after;
    store_rig_again(&m->k, count, now);
    compare(m);
}

static void step(struct model *m)
{
    struct rig *rig = &m->k.rig;
    tf_time until;
    uint64_t what = tf_random_below(&m->random, 100);
    if (what < 30 && m->next < MESSAGES) {
        unsigned burst = tf_random_chance(&m->random, 1, 40) ? 300 : 1;
        for (unsigned i = 0; i < burst && m->next < MESSAGES; i++, m->next++) {
            m->messages[m->next].taken = put(&m->k, 0, m->name, m->next);
            MUST(m, m->messages[m->next].taken);
        }
        look(m);
    } else if (what < 60) {
        settle_one(m);
    } else if (what < 70) {
        look(m);
        if (m->eater && m->held + 8 < HELD_MAX) {
            tf_named_credit(&m->eater->consumer, (uint32_t)tf_random_below(&m->random, 8));
        }
    } else if (what < 74) {
        arrive(m);
    } else if (what < 84) {
        tf_shard_receive(&rig->shards[tf_random_below(&m->random, rig->count)]);
    } else if (what < 90) {
        struct tf_shard *shard = &rig->shards[tf_random_below(&m->random, rig->count)];
        tf_shard_submit(shard);
        (void)tf_shard_flush(shard);
    } else if (what < 96) {
        (void)tf_store_turn(m->k.store, rig->now, &until);
    } else if (what < 98) {
        all_settled(m);
    } else if (tf_random_chance(&m->random, 1, 5)) {
        crash(m);
    }
}

static void test_model(void **state)
{
    static struct model m;
    struct tf_queue_spec spec = kept_spec();
    (void)state;
    for (unsigned seed = 1; seed <= 5; seed++) {
        memset(&m, 0, sizeof(m));
        m.seed = seed;
        tf_random_init(&m.random, seed);
        store_rig_start(&m.k, 1 + seed % 3);
        named_name(&m.k.rig, seed % m.k.rig.count, m.name);
        MUST(&m, declare(&m.k, m.name, &spec, "") == TF_OK);
        all_settled(&m);
        for (unsigned i = 0; i < 1500; i++) {
            step(&m);
            rig_check(&m.k.rig);
        }
        crash(&m);
        store_rig_stop(&m.k);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_read_fails),
        cmocka_unit_test(test_short_of_memory),
        cmocka_unit_test(test_kept_later),
        cmocka_unit_test(test_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
