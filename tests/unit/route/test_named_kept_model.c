/*
 * Two kept queues, one the other's dead-letter box, with consumers, moves and mail late at random,
 * and the power cut at any moment: what was acknowledged and has not been accepted is in one of
 * them. (In both, perhaps: it is moved, or dead, at least once.)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/util.h"
#include "unit/route/store_rig.h"

#define MESSAGES 1500u
#define HELD_MAX 64u
#define STEPS 2500u

struct hand {
    struct eater *eater;
    bool attached;
    size_t looked;
    unsigned count;
    uint64_t handles[HELD_MAX];
    unsigned numbers[HELD_MAX];
};

struct model {
    struct store_rig k;
    struct tf_random random;
    unsigned seed, next;
    char names[2][16];
    struct hand hands[2];
    struct tf_ticket_owner tickets;
    struct tf_command_owner commands;
    struct {
        bool taken;      /* acknowledged, when `stored` is done */
        bool ended;      /* accepted, or dead for good */
        bool dead;       /* has been a dead letter */
        uint64_t stored; /* of shard 0 */
    } messages[MESSAGES];
};

static struct model m;
static struct eater eaters[2], looker;

#define MUST(condition)                                                            \
    do {                                                                           \
        if (!(condition)) {                                                        \
            fail_msg("seed %u, %u shards: %s", m.seed, m.k.rig.count, #condition); \
        }                                                                          \
    } while (0)

static unsigned below(unsigned bound)
{
    return (unsigned)tf_random_below(&m.random, bound);
}

static void answered(struct tf_ticket_owner *owner, uint64_t tag, const struct tf_published *result)
{
    (void)owner;
    m.messages[tag].taken = result->taken == 1;
}

static void commanded(struct tf_command_owner *owner, uint64_t tag, enum tf_err err, uint64_t count,
                      const struct tf_queue_status *status)
{
    (void)owner;
    (void)tag;
    (void)count;
    (void)status;
    MUST(err == TF_OK);
}

static void put(void)
{
    struct tf_bytes bytes;
    struct tf_published result = {0};
    char body[16];
    snprintf(body, sizeof(body), "%u", m.next);
    struct tf_publication publication =
        rig_publication(tf_bytes_str("put"), body, 1, false, &bytes);
    enum tf_err err = tf_shard_enqueue(&m.k.rig.shards[0], tf_bytes_str(m.names[0]), &publication,
                                       &m.tickets, m.next, &result);
    tf_publication_release(&publication);
    if (err == TF_OK) {
        m.messages[m.next].taken = result.taken == 1;
        m.messages[m.next].stored = result.stored;
    } else {
        MUST(err == TF_AGAIN);
    }
    m.next++;
}

static void look(struct hand *hand)
{
    for (; hand->attached && hand->looked < hand->eater->count; hand->looked++) {
        const struct eaten *eaten = &hand->eater->eaten[hand->looked];
        MUST(hand->count < HELD_MAX);
        hand->numbers[hand->count] = (unsigned)atoi(eaten->body);
        hand->handles[hand->count++] = eaten->handle;
    }
}

static void leave(struct hand *hand)
{
    if (hand->attached) {
        tf_named_detach(&hand->eater->consumer, below(2));
    }
    *hand = (struct hand){.eater = hand->eater};
}

static void arrive(unsigned which)
{
    struct hand *hand = &m.hands[which];
    struct tf_queue_declaration declaration = {.name = tf_bytes_str(m.names[which])};
    leave(hand);
    memset(hand->eater, 0, sizeof(*hand->eater));
    hand->eater->shard = &m.k.rig.shards[below(m.k.rig.count)];
    MUST(eater_attach(hand->eater, &m.k.rig, &declaration) == TF_OK);
    hand->attached = true;
}

static void settle(unsigned which)
{
    struct hand *hand = &m.hands[which];
    look(hand);
    if (!hand->count) {
        return;
    }
    unsigned i = below(hand->count);
    struct tf_outcome outcome = {.type = (uint8_t)below(4), .failed = below(2)};
    unsigned number = hand->numbers[i];
    if (outcome.type == TF_OUTCOME_REJECTED) { /* what comes from the dead dies for good */
        m.messages[number].ended |= which || m.messages[number].dead;
        m.messages[number].dead = true;
    }
    m.messages[number].ended |= outcome.type == TF_OUTCOME_ACCEPTED;
    uint64_t handle = hand->handles[i];
    hand->count--;
    hand->handles[i] = hand->handles[hand->count];
    hand->numbers[i] = hand->numbers[hand->count];
    tf_named_settle(&hand->eater->consumer, handle, &outcome);
}

static void move(unsigned from)
{
    struct tf_queue_command command = {.type = TF_QUEUE_MOVE,
                                       .name = tf_bytes_str(m.names[from]),
                                       .to = tf_bytes_str(m.names[1 - from]),
                                       .limit = below(200)};
    MUST(tf_shard_queue_command(&m.k.rig.shards[0], &command, &m.commands, 0) == TF_OK);
}

/* Marks in `seen` what is in a queue. */
static void browse(unsigned which, bool *seen)
{
    struct tf_queue_declaration declaration = {.name = tf_bytes_str(m.names[which])};
    memset(&looker, 0, sizeof(looker));
    looker.consumer.browse = true;
    looker.shard = &m.k.rig.shards[below(m.k.rig.count)];
    MUST(eater_attach(&looker, &m.k.rig, &declaration) == TF_OK);
    tf_named_credit(&looker.consumer, UINT32_MAX);
    rig_settle(&m.k.rig);
    rig_check(&m.k.rig);
    for (size_t i = 0; i < looker.count; i++) {
        seen[atoi(looker.eaten[i].body)] = true;
    }
    MUST(looker.count == named_status(&m.k.rig, m.names[which]).messages);
    tf_named_detach(&looker.consumer, false);
    rig_settle(&m.k.rig);
}

static void crash(void)
{
    unsigned count = m.k.rig.count;
    tf_time now = m.k.rig.now;
    bool seen[MESSAGES] = {false};
    struct sim_disk after;
    for (unsigned i = 0; i < m.next; i++) {
        m.messages[i].taken &= tf_store_done(&m.k.clients[0], m.messages[i].stored);
        m.messages[i].stored = 0;
    }
    sim_disk_crash(&m.k.disk, &after, m.seed + m.next, below(9));
    for (unsigned i = 0; i < 2; i++) {
        m.hands[i] = (struct hand){.eater = &eaters[i]};
    }
    tf_ticket_owner_release(&m.tickets);
    tf_command_owner_release(&m.commands);
    store_rig_end(&m.k);
    sim_disk_release(&m.k.disk);
    m.k.disk = after;
    store_rig_again(&m.k, count, now);
    browse(0, seen);
    browse(1, seen);
    for (unsigned i = 0; i < m.next; i++) {
        MUST(seen[i] || !m.messages[i].taken || m.messages[i].ended);
        m.messages[i].taken = seen[i];
        m.messages[i].ended = !seen[i];
    }
}

static void step(void)
{
    struct rig *rig = &m.k.rig;
    struct tf_shard *shard = &rig->shards[below(rig->count)];
    struct hand *hand = &m.hands[below(2)];
    tf_time until;
    unsigned what = below(1000);
    if (what < 250 && m.next < MESSAGES) {
        put();
    } else if (what < 450) {
        settle(below(2));
    } else if (what < 550 && hand->attached) {
        look(hand);
        tf_named_credit(&hand->eater->consumer, hand->count < 32 ? below(16) : 0);
    } else if (what < 580) {
        arrive(below(2));
    } else if (what < 590) {
        move(below(2));
    } else if (what < 720) {
        tf_shard_receive(shard);
    } else if (what < 850) {
        tf_shard_submit(shard);
        (void)tf_shard_flush(shard);
    } else if (what < 980) {
        (void)tf_store_turn(m.k.store, rig->now, &until);
    } else if (what < 990) {
        rig_settle(rig);
    } else if (what < 995) {
        crash();
    }
}

static void test_model(void **state)
{
    struct tf_queue_spec spec = kept_spec();
    (void)state;
    for (unsigned seed = 1; seed <= 9; seed++) {
        memset(&m, 0, sizeof(m));
        m.seed = seed;
        m.hands[0].eater = &eaters[0];
        m.hands[1].eater = &eaters[1];
        m.tickets.done = answered;
        m.commands.done = commanded;
        tf_list_init(&m.tickets.tickets);
        tf_list_init(&m.commands.commands);
        tf_random_init(&m.random, seed);
        store_rig_start(&m.k, 1 + seed % 3);
        unsigned count = m.k.rig.count;
        (void)rig_address(&m.k.rig, seed % count, "a", m.names[0], sizeof(m.names[0]));
        (void)rig_address(&m.k.rig, (seed / 3 + 1) % count, "b", m.names[1], sizeof(m.names[1]));
        spec.dead_letter = tf_bytes_str("dead");
        MUST(kept_declare(&m.k, m.names[0], &spec, NULL) == TF_OK);
        spec.dead_letter = (struct tf_bytes){NULL, 0};
        MUST(kept_declare(&m.k, m.names[1], &spec, "dead") == TF_OK);
        rig_settle(&m.k.rig);
        for (unsigned i = 0; i < STEPS; i++) {
            step();
            rig_check(&m.k.rig);
        }
        crash();
        store_rig_stop(&m.k);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
