/*
 * The CoAP oracle's own tests: traces made by hand, each of which breaks one rule and must be
 * rejected for it, and some that look odd and must not be.
 *
 * Every event comes a millisecond after the one before it. Client 0 writes, 1 reads and observes,
 * 2 is another writer; all is about address A unless a trace says otherwise.
 */
#include "sim/coap.h"

#include <stdlib.h>
#include <string.h>

enum { A = 0, B = 1 };

struct trace {
    struct tf_sim_coap_oracle *oracle;
    tf_time at;
    uint32_t messages;
};

/* ---- what happens, in short ---- */

static uint32_t begin(struct trace *t, struct tf_sim_coap_op op)
{
    return tf_sim_coap_begin(t->oracle, &op, t->at += TF_MILLISECOND);
}

static uint32_t start_write(struct trace *t, unsigned client)
{
    return begin(t, (struct tf_sim_coap_op){.kind = TF_SIM_COAP_WRITE,
                                            .client = client,
                                            .address = A,
                                            .message = t->messages++,
                                            .confirmable = true});
}

static uint32_t start_if(struct trace *t, unsigned client, uint64_t version)
{
    return begin(
        t, (struct tf_sim_coap_op){.kind = TF_SIM_COAP_WRITE,
                                   .client = client,
                                   .address = A,
                                   .message = t->messages++,
                                   .confirmable = true,
                                   .condition = version ? TF_SIM_COAP_MATCH : TF_SIM_COAP_ABSENT,
                                   .match = version});
}

static uint32_t start(struct trace *t, enum tf_sim_coap_kind kind, unsigned client)
{
    return begin(t, (struct tf_sim_coap_op){.kind = kind,
                                            .client = client,
                                            .address = A,
                                            .message = TF_SIM_NONE,
                                            .confirmable = true});
}

static void answer(struct trace *t, uint32_t op, uint8_t code, uint64_t version, uint32_t message)
{
    t->at += TF_MILLISECOND;
    tf_sim_coap_answered(
        t->oracle, op,
        &(struct tf_sim_coap_answer){
            .code = code, .version = version, .message = message, .last = true, .begun = t->at},
        t->at);
}

static void notify(struct trace *t, uint32_t op, uint64_t version, uint32_t message)
{
    t->at += TF_MILLISECOND;
    tf_sim_coap_answered(t->oracle, op,
                         &(struct tf_sim_coap_answer){.code = TF_COAP_CONTENT,
                                                      .version = version,
                                                      .message = message,
                                                      .notification = true,
                                                      .sequence = (uint32_t)version,
                                                      .begun = t->at},
                         t->at);
}

/* A message is written and seen by the subscriber: its number. */
static uint32_t put(struct trace *t, uint8_t code, uint64_t version)
{
    uint32_t op = start_write(t, 0), message = t->messages - 1;
    tf_sim_coap_delivered(t->oracle, message, A, false);
    answer(t, op, code, version, TF_SIM_NONE);
    return message;
}

static void delete (struct trace *t)
{
    uint32_t op = start(t, TF_SIM_COAP_CLEAR, 0);
    tf_sim_coap_delivered(t->oracle, TF_SIM_NONE, A, false);
    answer(t, op, TF_COAP_DELETED, 0, TF_SIM_NONE);
}

static void get(struct trace *t, uint8_t code, uint64_t version, uint32_t message)
{
    answer(t, start(t, TF_SIM_COAP_READ, 1), code, version, message);
}

static uint32_t observe(struct trace *t, uint64_t version, uint32_t message)
{
    uint32_t op = start(t, TF_SIM_COAP_OBSERVE, 1);
    notify(t, op, version, message);
    return op;
}

static void append(struct trace *t, uint8_t code)
{
    uint32_t op = begin(t, (struct tf_sim_coap_op){.kind = TF_SIM_COAP_APPEND,
                                                   .client = 0,
                                                   .address = TF_SIM_COAP_LOG,
                                                   .message = TF_SIM_NONE});
    answer(t, op, code, 0, TF_SIM_NONE);
}

static void read_log(struct trace *t, const uint32_t *entries, size_t count)
{
    uint32_t op = begin(t, (struct tf_sim_coap_op){.kind = TF_SIM_COAP_READ,
                                                   .client = 1,
                                                   .address = TF_SIM_COAP_LOG,
                                                   .message = TF_SIM_NONE});
    tf_sim_coap_log_read(t->oracle, op, entries, count, t->at += TF_MILLISECOND);
    answer(t, op, 0, 0, TF_SIM_NONE);
}

/* All is quiet: what is there is read, and the run is judged. */
static void end(struct trace *t, uint8_t code, uint64_t version, uint32_t message)
{
    get(t, code, version, message);
    tf_sim_coap_audit(t->oracle);
}

/* ---- traces that must be rejected ---- */

static void published_twice(struct trace *t)
{
    uint32_t message = put(t, TF_COAP_CREATED, 5);
    tf_sim_coap_delivered(t->oracle, message, A, false);
}

static void written_twice(struct trace *t)
{
    uint32_t message = put(t, TF_COAP_CREATED, 5);
    get(t, TF_COAP_CONTENT, 6, message);
}

static void cleared_twice(struct trace *t)
{
    (void)put(t, TF_COAP_CREATED, 5);
    delete (t);
    tf_sim_coap_delivered(t->oracle, TF_SIM_NONE, A, false);
    end(t, TF_COAP_NOT_FOUND, 0, TF_SIM_NONE);
}

static void never_published(struct trace *t)
{
    uint32_t op = start_write(t, 0);
    answer(t, op, TF_COAP_CREATED, 5, TF_SIM_NONE);
    end(t, TF_COAP_CONTENT, 5, 0);
}

static void other_address(struct trace *t)
{
    uint32_t message = put(t, TF_COAP_CREATED, 5);
    uint32_t op =
        begin(t, (struct tf_sim_coap_op){
                     .kind = TF_SIM_COAP_READ, .client = 1, .address = B, .message = TF_SIM_NONE});
    answer(t, op, TF_COAP_CONTENT, 5, message);
}

static void mixture(struct trace *t)
{
    uint32_t op;
    (void)put(t, TF_COAP_CREATED, 5);
    op = start(t, TF_SIM_COAP_READ, 1);
    tf_sim_coap_answered(
        t->oracle, op,
        &(struct tf_sim_coap_answer){
            .code = TF_COAP_CONTENT, .version = 5, .message = TF_SIM_NONE, .strange = true},
        t->at);
}

static void second_answer(struct trace *t)
{
    uint32_t op = start_write(t, 0);
    answer(t, op, TF_COAP_CREATED, 5, TF_SIM_NONE);
    answer(t, op, TF_COAP_CREATED, 5, TF_SIM_NONE);
}

static void stale_read(struct trace *t)
{
    uint32_t message = put(t, TF_COAP_CREATED, 5);
    (void)put(t, TF_COAP_CHANGED, 6);
    get(t, TF_COAP_CONTENT, 5, message);
}

static void stale_behind_mqtt(struct trace *t)
{
    uint32_t message = put(t, TF_COAP_CREATED, 5);
    uint32_t op = start_write(t, TF_SIM_COAP_MQTT);
    answer(t, op, 0, 0, TF_SIM_NONE);
    get(t, TF_COAP_CONTENT, 5, message);
}

static void read_after_delete(struct trace *t)
{
    uint32_t message = put(t, TF_COAP_CREATED, 5);
    delete (t);
    get(t, TF_COAP_CONTENT, 5, message);
}

static void lost_write(struct trace *t)
{
    (void)put(t, TF_COAP_CREATED, 5);
    get(t, TF_COAP_NOT_FOUND, 0, TF_SIM_NONE);
}

static void back_in_version(struct trace *t)
{
    (void)put(t, TF_COAP_CREATED, 5);
    (void)put(t, TF_COAP_CHANGED, 4);
}

static void one_version_for_two(struct trace *t)
{
    (void)put(t, TF_COAP_CREATED, 5);
    uint32_t op = start_write(t, 2);
    get(t, TF_COAP_CONTENT, 5, t->messages - 1);
    (void)op;
}

static void created_over_value(struct trace *t)
{
    (void)put(t, TF_COAP_CREATED, 5);
    (void)put(t, TF_COAP_CREATED, 6);
}

static void both_created(struct trace *t)
{
    uint32_t a = start_if(t, 0, 0), b = start_if(t, 2, 0);
    tf_sim_coap_delivered(t->oracle, 0, A, false);
    tf_sim_coap_delivered(t->oracle, 1, A, false);
    answer(t, a, TF_COAP_CREATED, 5, TF_SIM_NONE);
    answer(t, b, TF_COAP_CREATED, 6, TF_SIM_NONE);
    end(t, TF_COAP_CONTENT, 6, 1);
}

static void changed_nothing(struct trace *t)
{
    (void)put(t, TF_COAP_CHANGED, 5);
}

static void both_matched(struct trace *t)
{
    (void)put(t, TF_COAP_CREATED, 5);
    uint32_t a = start_if(t, 0, 5), b = start_if(t, 2, 5);
    tf_sim_coap_delivered(t->oracle, 1, A, false);
    tf_sim_coap_delivered(t->oracle, 2, A, false);
    answer(t, a, TF_COAP_CHANGED, 6, TF_SIM_NONE);
    answer(t, b, TF_COAP_CHANGED, 7, TF_SIM_NONE);
    end(t, TF_COAP_CONTENT, 7, 2);
}

static void none_matched(struct trace *t)
{
    (void)put(t, TF_COAP_CREATED, 5);
    uint32_t a = start_if(t, 0, 5), b = start_if(t, 2, 5);
    answer(t, a, TF_COAP_PRECONDITION_FAILED, 0, TF_SIM_NONE);
    answer(t, b, TF_COAP_PRECONDITION_FAILED, 0, TF_SIM_NONE);
}

static void absent_refused(struct trace *t)
{
    answer(t, start_if(t, 0, 0), TF_COAP_PRECONDITION_FAILED, 0, TF_SIM_NONE);
}

static void refused_and_published(struct trace *t)
{
    (void)put(t, TF_COAP_CREATED, 5);
    uint32_t a = start_if(t, 0, 0);
    tf_sim_coap_delivered(t->oracle, 1, A, false);
    answer(t, a, TF_COAP_PRECONDITION_FAILED, 0, TF_SIM_NONE);
    end(t, TF_COAP_CONTENT, 5, 0);
}

static void refused_and_read(struct trace *t)
{
    (void)put(t, TF_COAP_CREATED, 5);
    answer(t, start_if(t, 0, 0), TF_COAP_PRECONDITION_FAILED, 0, TF_SIM_NONE);
    get(t, TF_COAP_CONTENT, 6, 1);
}

static void unconditional_refused(struct trace *t)
{
    answer(t, start_write(t, 0), TF_COAP_PRECONDITION_FAILED, 0, TF_SIM_NONE);
}

static void observer_goes_back(struct trace *t)
{
    uint32_t first = put(t, TF_COAP_CREATED, 5), second = put(t, TF_COAP_CHANGED, 6);
    notify(t, observe(t, 6, second), 5, first);
}

static void observer_is_behind(struct trace *t)
{
    uint32_t first = put(t, TF_COAP_CREATED, 5);
    (void)observe(t, 5, first);
    uint32_t second = put(t, TF_COAP_CHANGED, 6);
    end(t, TF_COAP_CONTENT, 6, second);
}

static void observer_outlives(struct trace *t)
{
    (void)observe(t, 5, put(t, TF_COAP_CREATED, 5));
    delete (t);
    end(t, TF_COAP_NOT_FOUND, 0, TF_SIM_NONE);
}

static void observer_starts_stale(struct trace *t)
{
    uint32_t first = put(t, TF_COAP_CREATED, 5);
    (void)put(t, TF_COAP_CHANGED, 6);
    (void)observe(t, 5, first);
}

static void observer_is_told_gone(struct trace *t)
{
    uint32_t op = observe(t, 5, put(t, TF_COAP_CREATED, 5));
    answer(t, op, TF_COAP_NOT_FOUND, 0, TF_SIM_NONE);
}

static void still_waiting(struct trace *t)
{
    (void)start(t, TF_SIM_COAP_CLEAR, 0);
    end(t, TF_COAP_NOT_FOUND, 0, TF_SIM_NONE);
}

static void strange_code(struct trace *t)
{
    get(t, TF_COAP_BAD_OPTION, 0, TF_SIM_NONE);
}

static void log_twice(struct trace *t)
{
    append(t, TF_COAP_CHANGED);
    read_log(t, (const uint32_t[]){0, 0}, 2);
}

static void log_lost(struct trace *t)
{
    append(t, TF_COAP_CHANGED);
    read_log(t, NULL, 0);
}

static void log_strange(struct trace *t)
{
    append(t, TF_COAP_CONFLICT);
    read_log(t, (const uint32_t[]){0}, 1);
}

static void listed_and_gone(struct trace *t)
{
    end(t, TF_COAP_NOT_FOUND, 0, TF_SIM_NONE);
    tf_sim_coap_listed(t->oracle, 1u << A);
}

static void there_and_not_listed(struct trace *t)
{
    (void)put(t, TF_COAP_CREATED, 5);
    end(t, TF_COAP_CONTENT, 5, 0);
    tf_sim_coap_listed(t->oracle, 0);
}

/* ---- traces that look odd and are not ---- */

static void plain(struct trace *t)
{
    uint32_t first = put(t, TF_COAP_CREATED, 5);
    uint32_t op = observe(t, 5, first);
    uint32_t second = put(t, TF_COAP_CHANGED, 6);
    get(t, TF_COAP_CONTENT, 6, second);
    notify(t, op, 6, second);
    end(t, TF_COAP_CONTENT, 6, second);
    tf_sim_coap_listed(t->oracle, 1u << A);
}

static void unanswered(struct trace *t)
{
    uint32_t first = put(t, TF_COAP_CREATED, 5);
    uint32_t op = start_write(t, 2);
    tf_sim_coap_lost(t->oracle, op, t->at);
    get(t, TF_COAP_CONTENT, 5, first); /* not yet, or never */
    get(t, TF_COAP_CONTENT, 6, 1);     /* then after all */
    tf_sim_coap_delivered(t->oracle, 1, A, false);
    end(t, TF_COAP_CONTENT, 6, 1);
}

static void moved_writer(struct trace *t)
{
    uint32_t op = start_write(t, 0);
    tf_sim_coap_moved(t->oracle, 0);
    tf_sim_coap_delivered(t->oracle, 0, A, false);
    tf_sim_coap_delivered(t->oracle, 0, A, false);
    answer(t, op, TF_COAP_CHANGED, 6, TF_SIM_NONE); /* it had written it itself */
    end(t, TF_COAP_CONTENT, 6, 0);
}

static void concurrent_delete(struct trace *t)
{
    uint32_t first = put(t, TF_COAP_CREATED, 5);
    uint32_t op = start(t, TF_SIM_COAP_CLEAR, 2);
    get(t, TF_COAP_CONTENT, 5, first);
    get(t, TF_COAP_NOT_FOUND, 0, TF_SIM_NONE);
    tf_sim_coap_delivered(t->oracle, TF_SIM_NONE, A, false);
    answer(t, op, TF_COAP_DELETED, 0, TF_SIM_NONE);
    uint32_t second = put(t, TF_COAP_CREATED, 6);
    end(t, TF_COAP_CONTENT, 6, second);
}

static void one_matched(struct trace *t)
{
    (void)put(t, TF_COAP_CREATED, 5);
    uint32_t a = start_if(t, 0, 5), b = start_if(t, 2, 5);
    tf_sim_coap_delivered(t->oracle, 1, A, false);
    answer(t, b, TF_COAP_PRECONDITION_FAILED, 0, TF_SIM_NONE);
    answer(t, a, TF_COAP_CHANGED, 6, TF_SIM_NONE);
    end(t, TF_COAP_CONTENT, 6, 1);
}

/* ---- crashes ---- */

static void crash(struct trace *t)
{
    t->at += TF_MILLISECOND;
    tf_sim_coap_crashed(t->oracle, t->at, t->at);
}

static void crash_loses(struct trace *t)
{
    (void)put(t, TF_COAP_CREATED, 5);
    crash(t);
    get(t, TF_COAP_NOT_FOUND, 0, TF_SIM_NONE);
}

static void crash_goes_back(struct trace *t)
{
    uint32_t first = put(t, TF_COAP_CREATED, 5);
    (void)put(t, TF_COAP_CHANGED, 6);
    crash(t);
    get(t, TF_COAP_CONTENT, 5, first);
}

static void crash_revives(struct trace *t)
{
    uint32_t first = put(t, TF_COAP_CREATED, 5);
    delete (t);
    crash(t);
    get(t, TF_COAP_CONTENT, 5, first);
}

static void crash_changes_version(struct trace *t)
{
    uint32_t first = put(t, TF_COAP_CREATED, 5);
    crash(t);
    get(t, TF_COAP_CONTENT, 6, first);
}

/* A write without an answer that somebody has read: it may go, but its version may not come again.
 */
static uint32_t read_unanswered(struct trace *t)
{
    uint32_t op = start_write(t, 2), message = t->messages - 1;
    get(t, TF_COAP_CONTENT, 7, message);
    return op;
}

static void crash_reuses_version(struct trace *t)
{
    (void)read_unanswered(t);
    crash(t);
    (void)put(t, TF_COAP_CREATED, 7);
}

static void crash_lowers_version(struct trace *t)
{
    (void)read_unanswered(t);
    crash(t);
    (void)put(t, TF_COAP_CREATED, 6);
}

static void crash_executes_again(struct trace *t)
{
    uint32_t message = put(t, TF_COAP_CREATED, 5);
    crash(t);
    tf_sim_coap_delivered(t->oracle, message, A, false);
}

static void crash_executes_thrice(struct trace *t)
{
    uint32_t op = start_write(t, 0);
    tf_sim_coap_delivered(t->oracle, 0, A, false);
    crash(t);
    tf_sim_coap_delivered(t->oracle, 0, A, false);
    tf_sim_coap_delivered(t->oracle, 0, A, false);
    answer(t, op, TF_COAP_CHANGED, 6, TF_SIM_NONE);
}

static void crash_loses_log(struct trace *t)
{
    uint32_t op = begin(t, (struct tf_sim_coap_op){.kind = TF_SIM_COAP_APPEND,
                                                   .address = TF_SIM_COAP_LOG,
                                                   .message = TF_SIM_NONE,
                                                   .confirmable = true});
    answer(t, op, TF_COAP_CHANGED, 0, TF_SIM_NONE);
    crash(t);
    read_log(t, NULL, 0);
}

static void crash_turns_observer(struct trace *t)
{
    uint32_t first = put(t, TF_COAP_CREATED, 5), second = put(t, TF_COAP_CHANGED, 6);
    crash(t);
    uint32_t op = observe(t, 6, second);
    notify(t, op, 5, first);
}

static void crash_spares_clear(struct trace *t)
{
    uint32_t first = put(t, TF_COAP_CREATED, 5);
    uint32_t op = observe(t, 5, first);
    crash(t);
    answer(t, op, TF_COAP_NOT_FOUND, 0, TF_SIM_NONE); /* the value was confirmed */
}

static void crash_undoes(struct trace *t)
{
    uint32_t first = put(t, TF_COAP_CREATED, 5);
    uint32_t op = read_unanswered(t);
    tf_sim_coap_lost(t->oracle, op, t->at);
    crash(t);
    get(t, TF_COAP_CONTENT, 5, first);
    uint32_t third = put(t, TF_COAP_CHANGED, 8);
    end(t, TF_COAP_CONTENT, 8, third);
}

static void crash_undoes_non(struct trace *t)
{
    uint32_t op = begin(t, (struct tf_sim_coap_op){
                               .kind = TF_SIM_COAP_WRITE, .address = A, .message = t->messages++});
    answer(t, op, TF_COAP_CREATED, 5, TF_SIM_NONE);
    crash(t);
    end(t, TF_COAP_NOT_FOUND, 0, TF_SIM_NONE);
}

static void crash_executes_twice(struct trace *t)
{
    uint32_t op = start_write(t, 0);
    tf_sim_coap_delivered(t->oracle, 0, A, false);
    crash(t);
    tf_sim_coap_delivered(t->oracle, 0, A, true); /* what it had not acknowledged */
    tf_sim_coap_delivered(t->oracle, 0, A, false);
    answer(t, op, TF_COAP_CHANGED, 6, TF_SIM_NONE);
    end(t, TF_COAP_CONTENT, 6, 0);
}

static void crash_numbers_anew(struct trace *t)
{
    uint32_t first = put(t, TF_COAP_CREATED, 5);
    uint32_t op = observe(t, 5, first);
    uint32_t other = read_unanswered(t);
    notify(t, op, 7, 1);
    crash(t);
    tf_sim_coap_lost(t->oracle, other, t->at);
    notify(t, op, 5, first);
    end(t, TF_COAP_CONTENT, 5, first);
}

/* It registers anew when its value is stale, long after that has been undone. */
static void crash_undoes_observed(struct trace *t)
{
    uint32_t first = put(t, TF_COAP_CREATED, 5);
    uint32_t op = observe(t, 5, first), other = read_unanswered(t);
    notify(t, op, 7, 1);
    crash(t);
    tf_sim_coap_lost(t->oracle, other, t->at);
    t->at += 300 * TF_SECOND;
    notify(t, op, 5, first);
    end(t, TF_COAP_CONTENT, 5, first);
}

/* What was confirmed stays, however long that takes. */
static void crash_turns_old_observer(struct trace *t)
{
    uint32_t first = put(t, TF_COAP_CREATED, 5), second = put(t, TF_COAP_CHANGED, 6);
    uint32_t op = observe(t, 6, second);
    crash(t);
    t->at += 300 * TF_SECOND;
    notify(t, op, 5, first);
}

/* An answer of the former broker's that comes late proves nothing of the next one. */
static void crash_overtakes(struct trace *t)
{
    uint32_t write = start_write(t, 2), read = start(t, TF_SIM_COAP_READ, 1);
    crash(t);
    answer(t, read, TF_COAP_CONTENT, 7, 0);
    tf_sim_coap_lost(t->oracle, write, t->at);
    end(t, TF_COAP_NOT_FOUND, 0, TF_SIM_NONE);
}

static const struct {
    const char *name;
    void (*run)(struct trace *trace);
    const char *why; /* part of what must be said; NULL: nothing */
} traces[] = {{"a PUT that is published twice", published_twice, "published 2 times"},
              {"a PUT with two versions", written_twice, "written twice"},
              {"a DELETE that is published twice", cleared_twice, "was cleared 2 times"},
              {"a PUT that is accepted and not published", never_published, "never published"},
              {"an answer to a request for another address", other_address, "which is of"},
              {"a body made of two", mixture, "nobody wrote"},
              {"a second answer", second_answer, "second answer"},
              {"a GET that is answered with an older value", stale_read, "older than"},
              {"a GET with a value that MQTT replaced", stale_behind_mqtt, "had replaced"},
              {"a GET with a value that was deleted", read_after_delete, "had replaced"},
              {"a write that is lost", lost_write, "and it has"},
              {"a version below the one before", back_in_version, "not above"},
              {"one version of two messages", one_version_for_two, "is that of"},
              {"2.01 where there was a value", created_over_value, "had a value"},
              {"two that were both the first", both_created, "was there"},
              {"2.04 where there was none", changed_nothing, "had no value"},
              {"two If-Match of one version that both win", both_matched, "had replaced"},
              {"two If-Match of one version that both lose", none_matched, "nobody else wrote"},
              {"If-None-Match that fails without a value", absent_refused, "there was no value"},
              {"a write that is refused and published", refused_and_published, "and published"},
              {"a write that is refused and read", refused_and_read, "was refused"},
              {"4.12 without a condition", unconditional_refused, "4.12"},
              {"an observer who goes back", observer_goes_back, "went back"},
              {"an observer who stays behind", observer_is_behind, "ends with version"},
              {"an observer of what was deleted", observer_outlives, "which is gone"},
              {"an observer who begins with an old value", observer_starts_stale, "older than"},
              {"an observer who is told 4.04 for nothing", observer_is_told_gone, "nobody cleared"},
              {"a request that is never answered", still_waiting, "still waits"},
              {"an answer that makes no sense", strange_code, "4.02"},
              {"an iPATCH that is executed twice", log_twice, "2 times"},
              {"an iPATCH that is lost", log_lost, "has lost"},
              {"an iPATCH that is refused and executed", log_strange, "nobody made"},
              {"a link to what is not there", listed_and_gone, "lists"},
              {"no link to what is there", there_and_not_listed, "does not list"},
              {"a crash that loses a write", crash_loses, "and it has"},
              {"a crash that brings an old value back", crash_goes_back, "older than"},
              {"a crash that revives a value", crash_revives, "had replaced"},
              {"a crash that changes a version", crash_changes_version, "written twice"},
              {"a crash after which a version comes again", crash_reuses_version, "is that of"},
              {"a crash after which versions go back", crash_lowers_version, "not above"},
              {"a crash that executes what was answered", crash_executes_again, "2 times"},
              {"a write three times in two lives", crash_executes_thrice, "3 times"},
              {"a crash that loses an iPATCH", crash_loses_log, "has lost"},
              {"a new observer after a crash who goes back", crash_turns_observer, "went back"},
              {"an observer who is turned back by a crash", crash_turns_old_observer, "went back"},
              {"a crash that ends a confirmed value", crash_spares_clear, "nobody cleared"},
              {"writes, reads and an observer", plain, NULL},
              {"a write without an answer", unanswered, NULL},
              {"a write by two paths", moved_writer, NULL},
              {"a DELETE meanwhile", concurrent_delete, NULL},
              {"If-Match of which one wins", one_matched, NULL},
              {"a crash that undoes what was not answered", crash_undoes, NULL},
              {"a crash that undoes a NON", crash_undoes_non, NULL},
              {"a write twice in two lives", crash_executes_twice, NULL},
              {"an observer who is told anew", crash_numbers_anew, NULL},
              {"an observer of what was undone", crash_undoes_observed, NULL},
              {"an answer that outlives its broker", crash_overtakes, NULL}};

unsigned tf_sim_coap_self_test(FILE *out)
{
    struct tf_sim_coap_oracle *oracle = malloc(sizeof(*oracle));
    unsigned wrong = 0;
    for (size_t i = 0; i < TF_COUNT(traces) && oracle; i++) {
        struct trace trace = {oracle, TF_SECOND, 0};
        tf_sim_coap_oracle_init(oracle);
        traces[i].run(&trace);
        const char *said = oracle->failed ? oracle->failure : NULL;
        bool good = traces[i].why ? said && strstr(said, traces[i].why) : !said;
        fprintf(out, "%s %s\n", good ? "ok  " : "FAIL", traces[i].name);
        if (!good) {
            fprintf(out, "     the oracle said: %s\n", said ? said : "nothing");
            wrong++;
        }
    }
    free(oracle);
    fprintf(out, "CoAP: %zu passed, %u failed\n", TF_COUNT(traces) - wrong, wrong);
    return wrong;
}
