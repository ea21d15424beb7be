/*
 * The oracle's own tests: traces made by hand, each of which breaks one rule and must be rejected
 * for it, and some that look odd and must not be. An oracle that passes everything would pass these
 * not. Those of crashes are in oracle_crash_test.c.
 */
#include "sim/oracle_trace.h"

#include <stdlib.h>
#include <string.h>

/* ---- traces that must be rejected ---- */

static void lost_1(struct trace *t)
{
    start(t, "a", 1);
    deposit(t, 0, A, 1, false);
    drain(t);
}

static void lost_2(struct trace *t)
{
    start(t, "+/b", 2);
    deposit(t, 0, B, 2, false);
    drain(t);
}

static void lost_offline(struct trace *t)
{
    start(t, "a", 1);
    lose(t, 1, false);
    deposit(t, 0, A, 1, false);
    connect(t, 1, false, 600, true);
    drain(t);
}

static void twice_2(struct trace *t)
{
    start(t, "a", 2);
    deposit(t, 0, A, 2, false);
    take(t, 0, A, 2);
    take(t, 0, A, 2);
}

static void twice_overlapping(struct trace *t)
{
    start(t, "a", 1);
    subscribe(t, "#", 1);
    deposit(t, 0, A, 1, false);
    take(t, 0, A, 1);
    take(t, 0, A, 1);
}

static void disorder(struct trace *t)
{
    start(t, "a", 1);
    deposit(t, 0, A, 1, false);
    deposit(t, 1, A, 1, false);
    take(t, 1, A, 1);
    take(t, 0, A, 1);
}

static void credit(struct trace *t)
{
    start(t, "#", 1);
    for (uint32_t i = 0; i < 3; i++) {
        deposit(t, i, A, 1, false);
    }
    for (uint32_t i = 0; i < 3; i++) {
        see(t, delivery(i, A, 1));
    }
}

static void present_after_clean(struct trace *t)
{
    connect(t, 1, false, 600, false);
    lose(t, 1, false);
    connect(t, 1, true, 600, true);
}

static void present_at_first(struct trace *t)
{
    connect(t, 1, false, 600, true);
}

static void present_after_expiry(struct trace *t)
{
    connect(t, 1, false, 60, false);
    lose(t, 1, false);
    t->at += 100 * TF_SECOND;
    connect(t, 1, false, 60, true);
}

static void absent_before_expiry(struct trace *t)
{
    connect(t, 1, false, 60, false);
    lose(t, 1, false);
    connect(t, 1, false, 60, false);
}

static void retained_missing(struct trace *t)
{
    connect(t, 0, true, 0, false);
    deposit(t, 0, A, 1, true);
    read_retained(t, TF_SIM_NONE);
    read_all(t);
}

static void retained_old(struct trace *t)
{
    connect(t, 0, true, 0, false);
    deposit(t, 0, A, 1, true);
    deposit(t, 1, A, 1, true);
    read_retained(t, 0);
    read_all(t);
}

static void retained_cleared(struct trace *t)
{
    connect(t, 0, true, 0, false);
    deposit(t, 0, A, 1, true);
    struct tf_sim_message clear = {
        .number = 1, .topic = A, .qos = 1, .retain = true, .expiry_s = UINT32_MAX};
    see(t,
        (struct tf_sim_event){.kind = TF_SIM_PUBLISH, .client = 0, .message = 1, .info = &clear});
    accept(t, 1);
    read_retained(t, 0);
    read_all(t);
}

static void retained_twice(struct trace *t)
{
    connect(t, 0, true, 0, false);
    publish(t, 0, A, 1, true);
    deposit(t, 1, A, 1, true);
    read_retained(t, 0);
    struct tf_sim_event event = delivery(1, A, 1);
    event.client = 2;
    event.retain = true;
    see(t, event);
    read_all(t);
}

static void will_cancelled(struct trace *t)
{
    connect(t, 1, true, 600, false);
    subscribe(t, "a", 1);
    connect_with_will(t, 0, 0);
    see(t, (struct tf_sim_event){.kind = TF_SIM_DISCONNECT, .client = 0, .expiry_s = 600});
    lose(t, 0, true);
    take(t, 0, A, 1);
}

static void will_early(struct trace *t)
{
    connect(t, 1, true, 600, false);
    subscribe(t, "a", 1);
    connect_with_will(t, 0, 0);
    take(t, 0, A, 1);
    see(t, (struct tf_sim_event){.kind = TF_SIM_DISCONNECT, .client = 0, .expiry_s = 600});
    lose(t, 0, true);
}

static void will_twice(struct trace *t)
{
    connect(t, 1, true, 600, false);
    subscribe(t, "a", 1);
    connect_with_will(t, 0, 0);
    lose(t, 0, false);
    take(t, 0, A, 1);
    take(t, 0, A, 1);
}

static void will_never(struct trace *t)
{
    connect(t, 1, true, 600, false);
    subscribe(t, "a", 1);
    connect_with_will(t, 0, 5);
    lose(t, 0, false);
    drain(t);
}

static void nobody_sent(struct trace *t)
{
    start(t, "#", 1);
    take(t, 7, A, 1);
}

static void other_topic(struct trace *t)
{
    start(t, "#", 1);
    deposit(t, 0, A, 1, false);
    take(t, 0, B, 1);
}

static void outside(struct trace *t)
{
    start(t, "a/+", 1);
    deposit(t, 0, C, 1, false);
    take(t, 0, C, 1);
}

static void after_unsubscribe(struct trace *t)
{
    start(t, "a", 1);
    unsubscribe(t, "a");
    deposit(t, 0, A, 1, false);
    take(t, 0, A, 1);
}

static void before_subscribe(struct trace *t)
{
    connect(t, 0, true, 0, false);
    connect(t, 1, true, 600, false);
    deposit(t, 0, A, 1, false);
    subscribe(t, "a", 1);
    take(t, 0, A, 1);
}

static void after_clean_start(struct trace *t)
{
    start(t, "a", 1);
    lose(t, 1, false);
    connect(t, 1, true, 600, false);
    deposit(t, 0, A, 1, false);
    take(t, 0, A, 1);
}

static void own_message(struct trace *t)
{
    connect(t, 1, true, 600, false);
    see(t, (struct tf_sim_event){
               .kind = TF_SIM_SUBSCRIBE, .client = 1, .filter = "a", .qos = 1, .no_local = true});
    see(t, (struct tf_sim_event){.kind = TF_SIM_SUBACK, .client = 1, .filter = "a", .reason = 1});
    struct tf_sim_message own = {.length = 20, .topic = A, .qos = 1, .expiry_s = UINT32_MAX};
    see(t, (struct tf_sim_event){.kind = TF_SIM_PUBLISH, .client = 1, .info = &own});
    take(t, 0, A, 1);
}

static void retain_set(struct trace *t)
{
    start(t, "a", 1);
    deposit(t, 0, A, 1, false);
    struct tf_sim_event event = delivery(0, A, 1);
    event.retain = true;
    see(t, event);
}

static void retain_unset(struct trace *t)
{
    start(t, "b/x", 1);
    subscribe_as(t, "a", 1, 0, true);
    deposit(t, 0, A, 1, true);
    take(t, 0, A, 1);
}

static void wrong_id(struct trace *t)
{
    start(t, "a", 1);
    subscribe_as(t, "b/x", 1, 5, false);
    deposit(t, 0, A, 1, false);
    struct tf_sim_event event = delivery(0, A, 1);
    event.id_count = 1;
    event.ids[0] = 5;
    see(t, event);
}

static void missing_id(struct trace *t)
{
    start(t, "b/x", 1);
    subscribe_as(t, "a", 1, 5, false);
    deposit(t, 0, A, 1, false);
    take(t, 0, A, 1);
}

static void false_dup(struct trace *t)
{
    start(t, "a", 1);
    deposit(t, 0, A, 1, false);
    struct tf_sim_event event = delivery(0, A, 1);
    event.dup = true;
    see(t, event);
}

static void repeat_unmarked(struct trace *t)
{
    start(t, "a", 2);
    deposit(t, 0, A, 2, false);
    take(t, 0, A, 2);
    lose(t, 1, false);
    connect(t, 1, false, 600, true);
    struct tf_sim_event event = delivery(0, A, 2);
    event.repeat = true;
    see(t, event);
}

static void too_large(struct trace *t)
{
    start(t, "a", 1);
    deposit(t, 0, A, 1, false);
    struct tf_sim_event event = delivery(0, A, 1);
    event.size = 1001;
    see(t, event);
}

static void qos_above(struct trace *t)
{
    start(t, "a", 1);
    deposit(t, 0, A, 2, false);
    take(t, 0, A, 2);
}

static void qos_below(struct trace *t)
{
    start(t, "a", 1);
    deposit(t, 0, A, 1, false);
    take(t, 0, A, 0);
}

static void expired_message(struct trace *t)
{
    start(t, "a", 1);
    lose(t, 1, false);
    publish_full(t, (struct tf_sim_message){.topic = A, .qos = 1, .expiry_s = 10});
    accept(t, 0);
    t->at += 20 * TF_SECOND;
    connect(t, 1, false, 600, true);
    struct tf_sim_event event = delivery(0, A, 1);
    event.has_expiry = true;
    see(t, event);
}

static void expiry_missing(struct trace *t)
{
    start(t, "a", 1);
    publish_full(t, (struct tf_sim_message){.topic = A, .qos = 1, .expiry_s = 10});
    take(t, 0, A, 1);
}

static void wrong_suback(struct trace *t)
{
    connect(t, 1, true, 0, false);
    see(t, (struct tf_sim_event){.kind = TF_SIM_SUBSCRIBE, .client = 1, .filter = "a", .qos = 2});
    see(t, (struct tf_sim_event){.kind = TF_SIM_SUBACK, .client = 1, .filter = "a", .reason = 1});
}

static void refused(struct trace *t)
{
    connect(t, 0, true, 0, false);
    publish(t, 0, A, 1, false);
    see(t, (struct tf_sim_event){.kind = TF_SIM_ACCEPTED, .client = 0, .reason = 0x97});
}

static void before_connack(struct trace *t)
{
    see(t, connect_event(1, true, 0));
    take(t, 0, A, 0);
}

static void empty_from_nobody(struct trace *t)
{
    start(t, "a", 1);
    take(t, TF_SIM_NONE, A, 0);
}

/* ---- traces that must pass ---- */

static void plain(struct trace *t)
{
    start(t, "#", 2);
    for (uint32_t i = 0; i < 3; i++) {
        deposit(t, i, A, (uint8_t)i, false);
        take(t, i, A, (uint8_t)i);
    }
    drain(t);
}

static void resumed(struct trace *t)
{
    start(t, "a", 1);
    deposit(t, 0, A, 1, false);
    see(t, delivery(0, A, 1));
    lose(t, 1, false);
    connect(t, 1, false, 600, true);
    struct tf_sim_event event = delivery(0, A, 1);
    event.dup = true;
    see(t, event);
    drain(t);
}

static void unknown_goodbye(struct trace *t)
{
    connect(t, 1, false, 60, false);
    see(t, (struct tf_sim_event){.kind = TF_SIM_DISCONNECT, .client = 1, .expiry_s = 0});
    lose(t, 1, false);
    connect(t, 1, false, 60, true);
}

static void retained_race(struct trace *t)
{
    connect(t, 0, true, 0, false);
    publish(t, 0, A, 1, true); /* never acknowledged */
    deposit(t, 1, B, 1, true);
    read_retained(t, 0);
    struct tf_sim_event event = delivery(1, B, 1);
    event.client = 2;
    event.retain = true;
    see(t, event);
    read_all(t);
}

static void will_waits(struct trace *t)
{
    connect(t, 1, true, 600, false);
    subscribe(t, "a", 1);
    connect_with_will(t, 0, 5);
    lose(t, 0, false);
    connect(t, 0, false, 600, true);
    drain(t);
}

static void in_flight(struct trace *t)
{
    start(t, "a", 1);
    publish(t, 0, A, 1, false);
    unsubscribe(t, "a");
    take(t, 0, A, 1);
}

static const struct trace_case traces[] = {
    {"accepted QoS 1 is lost", lost_1, "never came"},
    {"accepted QoS 2 is lost", lost_2, "never came"},
    {"accepted for a session that is away, and lost", lost_offline, "never came"},
    {"QoS 2 comes twice", twice_2, "2 times"},
    {"overlapping subscriptions bring it twice", twice_overlapping, "2 times"},
    {"out of order", disorder, "of one publisher, topic and QoS"},
    {"credit exceeded", credit, "Receive Maximum"},
    {"session present after a clean start", present_after_clean, "session present"},
    {"session present at first", present_at_first, "session present"},
    {"session present after its expiry", present_after_expiry, "session present"},
    {"session gone before its expiry", absent_before_expiry, "session present"},
    {"retained message missing", retained_missing, "no retained message"},
    {"retained message not the last", retained_old, "a later one"},
    {"retained message after clearing", retained_cleared, "a later one"},
    {"two retained messages of a topic", retained_twice, "2 retained"},
    {"will after a goodbye", will_cancelled, "said goodbye"},
    {"will of a client that is still there", will_early, "said goodbye"},
    {"will twice", will_twice, "2 times"},
    {"will never", will_never, "never came"},
    {"message that nobody sent", nobody_sent, "nobody sent"},
    {"message under another topic", other_topic, "nobody sent"},
    {"message outside the filters", outside, "no subscription"},
    {"message after UNSUBACK", after_unsubscribe, "no subscription"},
    {"message from before SUBSCRIBE", before_subscribe, "no subscription"},
    {"message of a session that ended", after_clean_start, "no subscription"},
    {"own message despite No Local", own_message, "no subscription"},
    {"retain flag that was not set", retain_set, "retain flag"},
    {"retain flag not as published", retain_unset, "retain flag"},
    {"identifier of another subscription", wrong_id, "identifier"},
    {"subscription identifier missing", missing_id, "without subscription identifier"},
    {"DUP on the first delivery", false_dup, "DUP"},
    {"repeated delivery without DUP", repeat_unmarked, "not marked DUP"},
    {"packet over the maximum", too_large, "Maximum Packet Size"},
    {"QoS above the granted", qos_above, "were granted"},
    {"QoS below the granted", qos_below, "were granted"},
    {"message after its expiry", expired_message, "had expired"},
    {"message expiry missing", expiry_missing, "message expiry"},
    {"SUBACK with another QoS", wrong_suback, "and got 0x01"},
    {"publication refused", refused, "was refused"},
    {"PUBLISH before CONNACK", before_connack, "before CONNACK"},
    {"empty message from nobody", empty_from_nobody, "nobody sent"},
    {"all three QoS", plain, NULL},
    {"delivery again after a resumption", resumed, NULL},
    {"session after a goodbye that may be lost", unknown_goodbye, NULL},
    {"retained message without an answer", retained_race, NULL},
    {"will that a new connection holds back", will_waits, NULL},
    {"message in flight when unsubscribing", in_flight, NULL}};

/* What is freed under another size, or never, must be noticed. */
static bool test_memory(void)
{
    struct tf_sim *sim = calloc(1, sizeof(*sim));
    tf_sim_memory_init(sim);
    const struct tf_alloc *alloc = &sim->memory.alloc;
    void *block = alloc->alloc(alloc->ctx, 10);
    bool counted = sim->memory.blocks == 1 && sim->memory.bytes == 10;
    alloc->free(alloc->ctx, block, 11);
    bool good = counted && sim->failed && sim->memory.blocks == 0 && sim->memory.bytes == 0;
    free(sim);
    return good;
}

unsigned tf_sim_traces_run(FILE *out, const struct trace_case *cases, size_t count)
{
    unsigned wrong = 0;
    for (size_t i = 0; i < count; i++) {
        struct trace trace = {tf_sim_oracle_new(), TF_SECOND};
        cases[i].run(&trace);
        const char *said = tf_sim_oracle_failure(trace.oracle);
        bool good = cases[i].why ? said && strstr(said, cases[i].why) : !said;
        fprintf(out, "%s %s\n", good ? "ok  " : "FAIL", cases[i].name);
        if (!good) {
            fprintf(out, "     the oracle said: %s\n", said ? said : "nothing");
            wrong++;
        }
        tf_sim_oracle_free(trace.oracle);
    }
    fprintf(out, "%zu passed, %u failed\n", count - wrong, wrong);
    return wrong;
}

unsigned tf_sim_self_test(FILE *out)
{
    unsigned wrong = tf_sim_traces_run(out, traces, TF_COUNT(traces));
    bool memory = test_memory();
    fprintf(out, "%s %s\n", memory ? "ok  " : "FAIL", "memory freed under another size");
    return wrong + !memory + tf_sim_crash_self_test(out);
}
