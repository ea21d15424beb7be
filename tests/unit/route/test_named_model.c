/*
 * Several shards enqueue, publish, consume, browse, settle, drain, move, come and go at random,
 * with mail late at random, against what must be true whatever the order: nobody is handed more
 * than his credit; a message is in one hand at a time; what was accepted is never handed out again;
 * what a queue took is accepted, rejected or left in the end, once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/util.h"
#include "unit/route/named_rig.h"

#define CONSUMERS 7u
#define QUEUES 2u
#define MESSAGES 2000u
#define HELD_MAX 64u
#define STEPS 6000u

struct model;

struct consumer {
    struct tf_named_consumer consumer;
    struct model *m;
    unsigned shard;
    bool attached, blocked, draining;
    uint32_t credit;
    unsigned held_count;
    struct {
        unsigned message;
        uint64_t handle;
    } held[HELD_MAX];
    unsigned last; /* browsers: what was seen last */
};

struct model {
    struct rig rig;
    struct tf_random random;
    unsigned seed, shards;
    bool strict; /* nothing expires or is deleted, so nothing may vanish */
    struct consumer consumers[CONSUMERS];
    struct tf_ticket_owner tickets;
    struct tf_command_owner commands;
    struct tf_queue_spec spec;
    char names[QUEUES][16];
    unsigned next;
    unsigned asked, answered, commanded, done;
    struct {
        bool taken;              /* a queue has it */
        bool ended;              /* accepted or rejected */
        struct consumer *holder; /* in whose hand it is */
    } messages[MESSAGES];
};

static bool chance(struct model *m, unsigned count, unsigned of)
{
    return tf_random_chance(&m->random, count, of);
}

static unsigned below(struct model *m, unsigned bound)
{
    return (unsigned)tf_random_below(&m->random, bound);
}

#define MUST(m, condition)                                                          \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fail_msg("seed %u, %u shards: %s", (m)->seed, (m)->shards, #condition); \
        }                                                                           \
    } while (0)

static unsigned number_of(const struct tf_publication *publication)
{
    unsigned number = 0;
    const struct tf_bytes body = publication->body[0];
    for (size_t i = 0; i < body.length; i++) {
        number = 10 * number + (body.data[i] - '0');
    }
    return number;
}

static void drop_held(struct consumer *consumer, unsigned i)
{
    consumer->m->messages[consumer->held[i].message].holder = NULL;
    consumer->held[i] = consumer->held[--consumer->held_count];
}

static void drop_all(struct consumer *consumer)
{
    while (consumer->held_count) {
        drop_held(consumer, 0);
    }
    consumer->attached = consumer->draining = false;
    consumer->credit = 0;
}

static void on_attached(struct tf_named_consumer *base, enum tf_err err)
{
    struct consumer *consumer = tf_container_of(base, struct consumer, consumer);
    MUST(consumer->m, err == TF_OK || err == TF_NOT_FOUND || err == TF_EXISTS);
    MUST(consumer->m, (base->attachment != NULL) == (err == TF_OK));
    consumer->attached = err == TF_OK;
}

/* Settles what is held in one place, somehow. */
static void settle(struct consumer *consumer, unsigned i)
{
    struct model *m = consumer->m;
    struct tf_outcome outcome = {.type = (uint8_t)below(m, 4),
                                 .failed = chance(m, 1, 2),
                                 .undeliverable_here = chance(m, 1, 8),
                                 .annotations = tf_bytes_str(chance(m, 1, 4) ? "note" : "")};
    unsigned message = consumer->held[i].message;
    uint64_t handle = consumer->held[i].handle;
    m->messages[message].ended =
        outcome.type == TF_OUTCOME_ACCEPTED || outcome.type == TF_OUTCOME_REJECTED;
    drop_held(consumer, i);
    tf_named_settle(&consumer->consumer, handle, &outcome);
}

static enum tf_err deliver(struct tf_named_consumer *base, const struct tf_named_delivery *delivery)
{
    struct consumer *consumer = tf_container_of(base, struct consumer, consumer);
    struct model *m = consumer->m;
    unsigned number = number_of(delivery->publication);
    MUST(m, consumer->attached);
    MUST(m, consumer->credit);
    MUST(m, number < m->next);
    if (consumer->blocked || consumer->held_count == HELD_MAX || chance(m, 1, 10)) {
        consumer->blocked = true;
        return TF_AGAIN;
    }
    if (chance(m, 1, 50) && !base->browse) {
        return TF_LIMIT;
    }
    consumer->credit--;
    if (base->browse) {
        MUST(m, delivery->handle == 0);
        return TF_OK;
    }
    MUST(m, !m->messages[number].ended);
    MUST(m, !m->messages[number].holder);
    if (base->settled) {
        MUST(m, delivery->handle == 0);
        m->messages[number].ended = true;
        return TF_OK;
    }
    MUST(m, delivery->handle);
    consumer->held[consumer->held_count].message = number;
    consumer->held[consumer->held_count++].handle = delivery->handle;
    m->messages[number].holder = consumer;
    if (chance(m, 1, 5)) {
        settle(consumer, consumer->held_count - 1);
    }
    return TF_OK;
}

static void on_drained(struct tf_named_consumer *base)
{
    struct consumer *consumer = tf_container_of(base, struct consumer, consumer);
    MUST(consumer->m, consumer->draining);
    consumer->draining = false;
    consumer->credit = 0;
}

static void on_deleted(struct tf_named_consumer *base)
{
    struct consumer *consumer = tf_container_of(base, struct consumer, consumer);
    MUST(consumer->m, !base->attachment);
    drop_all(consumer);
}

static const struct tf_named_consumer_ops ops = {
    .attached = on_attached, .deliver = deliver, .drained = on_drained, .deleted = on_deleted};

static void put_done(struct tf_ticket_owner *owner, uint64_t tag, const struct tf_published *result)
{
    struct model *m = tf_container_of(owner, struct model, tickets);
    m->answered++;
    m->messages[tag].taken = result->taken != 0;
}

static void command_done(struct tf_command_owner *owner, uint64_t tag, enum tf_err err,
                         uint64_t count, const struct tf_queue_status *status)
{
    (void)tag;
    (void)err;
    (void)count;
    (void)status;
    tf_container_of(owner, struct model, commands)->done++;
}

static void put(struct model *m)
{
    char text[16];
    struct tf_bytes body;
    struct tf_published result = {0};
    unsigned number = m->next;
    unsigned queue = below(m, QUEUES);
    struct tf_shard *shard = &m->rig.shards[below(m, m->shards)];
    if (number == MESSAGES) {
        return;
    }
    sprintf(text, "%u", number);
    m->next++;
    struct tf_publication publication =
        rig_publication(tf_bytes_str(queue ? "one" : "zero"), text, 1, false, &body);
    if (!m->strict && chance(m, 1, 8)) {
        publication.envelope.expires = shard->now + below(m, 50) * TF_MILLISECOND;
    }
    enum tf_err err = chance(m, 1, 2)
                          ? tf_shard_publish(shard, &publication, &m->tickets, number, &result)
                          : tf_shard_enqueue(shard, tf_bytes_str(m->names[queue]), &publication,
                                             &m->tickets, number, &result);
    tf_publication_release(&publication);
    MUST(m, err == TF_OK || err == TF_AGAIN);
    m->asked += err == TF_AGAIN;
    m->messages[number].taken |= result.taken != 0;
}

static void attach(struct model *m, struct consumer *consumer)
{
    unsigned queue = below(m, QUEUES);
    struct tf_queue_declaration declaration = {.name = tf_bytes_str(m->names[queue]),
                                               .filter = tf_bytes_str(queue ? "one" : "zero"),
                                               .spec = &m->spec};
    consumer->blocked = false;
    consumer->credit = 0;
    enum tf_err err =
        tf_shard_consume(&m->rig.shards[consumer->shard], &consumer->consumer, &declaration);
    MUST(m, err == TF_OK || err == TF_AGAIN || err == TF_EXISTS);
    consumer->attached = err == TF_OK;
}

static void command(struct model *m)
{
    unsigned from = below(m, QUEUES);
    struct tf_queue_command command = {.type = TF_QUEUE_MOVE,
                                       .name = tf_bytes_str(m->names[from]),
                                       .to = tf_bytes_str(m->names[!from]),
                                       .limit = below(m, 100)};
    if (!m->strict && chance(m, 1, 3)) {
        command.type = chance(m, 1, 2) ? TF_QUEUE_DELETE : TF_QUEUE_PURGE;
    }
    enum tf_err err =
        tf_shard_queue_command(&m->rig.shards[below(m, m->shards)], &command, &m->commands, 0);
    MUST(m, err == TF_OK);
    m->commanded++;
}

static void act_on(struct model *m, struct consumer *consumer)
{
    switch (below(m, 8)) {
    case 0:
        consumer->credit = below(m, 20);
        tf_named_credit(&consumer->consumer, consumer->credit);
        return;
    case 1:
        consumer->draining = true;
        tf_named_drain(&consumer->consumer);
        return;
    case 2:
        if (chance(m, 1, 3)) {
            struct tf_named_consumer *base = &consumer->consumer;
            drop_all(consumer);
            tf_named_detach(base, chance(m, 1, 2));
        }
        return;
    case 3:
        consumer->blocked = false;
        tf_named_ready(&consumer->consumer);
        return;
    default:
        if (consumer->held_count) {
            settle(consumer, below(m, consumer->held_count));
        }
        return;
    }
}

static void step(struct model *m)
{
    struct consumer *consumer = &m->consumers[below(m, CONSUMERS)];
    if (chance(m, 1, 2)) {
        rig_step(&m->rig, &m->random);
    } else if (chance(m, 1, 2)) {
        if (consumer->attached) {
            act_on(m, consumer);
        } else if (!consumer->consumer.attachment) {
            attach(m, consumer);
        } else if (chance(m, 1, 20)) { /* not attached yet */
            tf_named_detach(&consumer->consumer, true);
        }
    } else if (chance(m, 2, 3)) {
        put(m);
    } else if (chance(m, 1, 20)) {
        command(m);
    } else if (chance(m, 1, 10)) {
        rig_time(&m->rig, m->rig.now + below(m, 20) * TF_MILLISECOND);
    }
    if (chance(m, 1, 16)) {
        rig_check(&m->rig);
    }
}

/* Takes what is left in a queue. */
static void take_rest(struct model *m, const char *name, unsigned left[MESSAGES])
{
    struct eater *all = calloc(1, sizeof(*all));
    struct tf_queue_declaration declaration = {.name = tf_bytes_str(name)};
    all->shard = &m->rig.shards[0];
    if (eater_attach(all, &m->rig, &declaration) == TF_OK) {
        tf_named_credit(&all->consumer, MESSAGES);
        all->accept_at_once = true;
        rig_settle(&m->rig);
        for (size_t i = 0; i < all->count; i++) {
            left[atoi(all->eaten[i].body)]++;
        }
        tf_named_detach(&all->consumer, false);
        rig_settle(&m->rig);
        named_delete(&m->rig, name);
    }
    free(all);
}

static void end(struct model *m)
{
    unsigned left[MESSAGES] = {0};
    rig_settle(&m->rig);
    rig_check(&m->rig);
    MUST(m, m->asked == m->answered);
    MUST(m, m->commanded == m->done);
    for (unsigned i = 0; i < CONSUMERS; i++) {
        struct consumer *consumer = &m->consumers[i];
        MUST(m, consumer->attached == (consumer->consumer.attachment != NULL));
        if (consumer->attached && !consumer->blocked) {
            MUST(m, !consumer->draining); /* it was answered */
        }
        drop_all(consumer);
        tf_named_detach(&consumer->consumer, chance(m, 1, 2));
    }
    rig_settle(&m->rig);
    rig_check(&m->rig);
    for (unsigned i = 0; i < QUEUES; i++) {
        take_rest(m, m->names[i], left);
    }
    for (unsigned i = 0; i < m->next; i++) {
        MUST(m, left[i] <= 1);
        MUST(m, !(left[i] && m->messages[i].ended));
        MUST(m, m->messages[i].taken || (!left[i] && !m->messages[i].ended));
        if (m->strict && m->messages[i].taken) {
            MUST(m, left[i] || m->messages[i].ended);
        }
    }
}

static void run(unsigned seed, unsigned shards)
{
    struct model *m = calloc(1, sizeof(*m));
    m->seed = seed;
    m->shards = shards;
    m->strict = seed % 2;
    tf_random_init(&m->random, seed);
    rig_start(&m->rig, shards, 4);
    m->spec = named_spec();
    m->spec.limits.entries = seed % 3 ? 1000 : 40;
    m->tickets.done = put_done;
    m->commands.done = command_done;
    tf_list_init(&m->tickets.tickets);
    tf_list_init(&m->commands.commands);
    rig_address(&m->rig, 0, "m", m->names[0], sizeof(m->names[0]));
    rig_address(&m->rig, shards - 1, "n", m->names[1], sizeof(m->names[1]));
    for (unsigned i = 0; i < CONSUMERS; i++) {
        struct consumer *consumer = &m->consumers[i];
        consumer->m = m;
        consumer->shard = i % shards;
        consumer->consumer.ops = &ops;
        consumer->consumer.browse = i == 4;
        consumer->consumer.settled = i == 5 || i == 6;
    }
    for (unsigned i = 0; i < STEPS; i++) {
        step(m);
    }
    end(m);
    rig_stop(&m->rig);
    free(m);
}

static void test_one_shard(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 12; seed++) {
        run(seed, 1);
    }
}

static void test_three_shards(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 24; seed++) {
        run(seed, RIG_SHARDS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_shard),
        cmocka_unit_test(test_three_shards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
