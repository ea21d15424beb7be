/*
 * The oracle's own tests, more of them: of messages that are sent again, and of crashes of a broker
 * that has a store.
 */
#include "sim/oracle_trace.h"

/* ---- what is sent again ---- */

static void publish_again(struct trace *trace, uint32_t number)
{
    see(trace, (struct tf_sim_event){.kind = TF_SIM_PUBLISH, .client = 0, .message = number});
}

static void disorder_again(struct trace *t)
{
    start(t, "a", 1);
    publish(t, 0, A, 1, false);
    publish(t, 1, A, 1, false);
    publish_again(t, 0);
    take(t, 1, A, 1);
    take(t, 0, A, 1);
}

/* Its first time it came at QoS 0, and was lost so. */
static void again_at_last(struct trace *t)
{
    start(t, "a", 0);
    publish(t, 0, A, 1, false);
    subscribe(t, "a", 1);
    deposit(t, 1, A, 1, false);
    publish_again(t, 0);
    take(t, 1, A, 1);
    take(t, 0, A, 1);
}

static void again_expired(struct trace *t)
{
    start(t, "a", 1);
    publish_full(t, (struct tf_sim_message){.number = 0, .topic = A, .qos = 1, .expiry_s = 1});
    deposit(t, 1, A, 1, false);
    t->at += 3 * TF_SECOND;
    publish_again(t, 0);
    take(t, 1, A, 1);
    struct tf_sim_event event = delivery(0, A, 1);
    event.has_expiry = true;
    event.expiry_s = 1;
    see(t, event);
}

/* ---- crashes ---- */

/* The broker is no more, with the subscriber's connection, and the publisher's if it has one. */
static void crash(struct trace *t, bool publisher)
{
    for (unsigned i = publisher ? 0 : 1; i < 2; i++) {
        see(t,
            (struct tf_sim_event){.kind = TF_SIM_LOST, .client = i, .told = true, .crashed = true});
    }
    see(t, (struct tf_sim_event){.kind = TF_SIM_CRASH, .since = t->at});
    connect(t, 1, false, 600, true);
}

static void crash_loses(struct trace *t)
{
    start(t, "a", 1);
    deposit(t, 0, A, 1, false);
    crash(t, true);
    drain(t);
}

static void crash_forgets(struct trace *t)
{
    start(t, "a", 1);
    crash(t, true);
    connect(t, 0, false, 600, false);
}

static void crash_repeats(struct trace *t)
{
    start(t, "a", 2);
    deposit(t, 0, A, 2, false);
    take(t, 0, A, 2);
    crash(t, true);
    take(t, 0, A, 2);
}

static void say_goodbye(struct trace *t)
{
    connect(t, 1, true, 600, false);
    subscribe(t, "a", 1);
    connect_with_will(t, 0, 0);
    see(t, (struct tf_sim_event){.kind = TF_SIM_DISCONNECT, .client = 0, .expiry_s = 600});
    lose(t, 0, true);
}

static void crash_undoes_goodbye(struct trace *t)
{
    say_goodbye(t);
    t->at += 20 * TF_SECOND;
    crash(t, false);
    take(t, 0, A, 1);
}

/* That it had said goodbye was not on disk yet. */
static void crash_after_goodbye(struct trace *t)
{
    say_goodbye(t);
    crash(t, false);
    take(t, 0, A, 1);
}

static void lose_will(struct trace *t, tf_time pause)
{
    connect(t, 1, true, 600, false);
    subscribe(t, "a", 1);
    connect_with_will(t, 0, 0);
    lose(t, 0, false);
    take(t, 0, A, 1);
    t->at += pause;
    crash(t, false);
    take(t, 0, A, 1);
}

static void crash_repeats_will(struct trace *t)
{
    lose_will(t, 20 * TF_SECOND);
}

static void crash_after_will(struct trace *t)
{
    lose_will(t, 0);
}

static const struct trace_case traces[] = {
    {"out of order, though sent again", disorder_again, "of one publisher"},
    {"a crash that loses what was accepted", crash_loses, "never came"},
    {"a crash that forgets a session", crash_forgets, "session present"},
    {"a crash that brings QoS 2 again", crash_repeats, "2 times"},
    {"a crash that undoes a goodbye", crash_undoes_goodbye, "said goodbye"},
    {"a crash that brings a will again", crash_repeats_will, "2 times"},
    {"sent again, and lost at QoS 0 before", again_at_last, NULL},
    {"sent again, and expired before", again_expired, NULL},
    {"a crash just after a goodbye", crash_after_goodbye, NULL},
    {"a crash just after a will", crash_after_will, NULL}};

unsigned tf_sim_crash_self_test(FILE *out)
{
    return tf_sim_traces_run(out, traces, TF_COUNT(traces));
}
