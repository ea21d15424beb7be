/*
 * The AMQP oracle's own tests: traces made by hand, each of which breaks one rule and must be
 * rejected for it, and some that look odd and must not be.
 *
 * Every event comes a millisecond after the one before it. Sender 0 sends; receivers are those of
 * clients 1 and 2, and everybody uses the queue `work` unless a trace says otherwise.
 */
#include "sim/amqp.h"

#include <stdlib.h>
#include <string.h>

struct trace {
    struct tf_sim_amqp_oracle *oracle;
    uint32_t messages;
};

/* ---- what happens, in short ---- */

static void tick(struct trace *t)
{
    t->oracle->now += TF_MILLISECOND;
}

static uint32_t send_to(struct trace *t, uint8_t place, int topic, bool expires)
{
    struct tf_sim_amqp_track track = {.place = place, .topic = topic, .expires = expires};
    tick(t);
    tf_sim_amqp_sent(t->oracle, t->messages, &track);
    return t->messages++;
}

/* A message to the queue, which is accepted. */
static uint32_t put(struct trace *t)
{
    uint32_t message = send_to(t, TF_SIM_AMQP_WORK, -1, false);
    tf_sim_amqp_told(t->oracle, message, TF_SIM_AMQP_ACCEPTED);
    return message;
}

static uint32_t receive_from(struct trace *t, unsigned client, uint8_t place, bool browse,
                             bool settled)
{
    struct tf_sim_amqp_receiver receiver = {.client = client,
                                            .place = place,
                                            .filter = place == TF_SIM_AMQP_NOWHERE ? "a/#" : NULL,
                                            .browse = browse,
                                            .settled = settled};
    tick(t);
    uint32_t instance = tf_sim_amqp_receiver_new(t->oracle, &receiver);
    tf_sim_amqp_receiver_attached(t->oracle, instance);
    return instance;
}

static uint32_t receive(struct trace *t, unsigned client)
{
    return receive_from(t, client, TF_SIM_AMQP_WORK, false, false);
}

static void get_as(struct trace *t, uint32_t receiver, struct tf_sim_amqp_delivery delivery)
{
    tick(t);
    tf_sim_amqp_delivered(t->oracle, receiver, &delivery);
}

static void get(struct trace *t, uint32_t receiver, uint32_t message)
{
    get_as(t, receiver, (struct tf_sim_amqp_delivery){.message = message});
}

static void say_more(struct trace *t, uint32_t receiver, uint32_t message,
                     struct tf_amqp_state state, uint32_t note)
{
    tick(t);
    tf_sim_amqp_answered(t->oracle, receiver, message, &state, note);
}

static void say(struct trace *t, uint32_t receiver, uint32_t message, enum tf_amqp_state_type type)
{
    say_more(t, receiver, message, (struct tf_amqp_state){.type = type}, 0);
}

static void lose(struct trace *t, uint32_t receiver)
{
    tick(t);
    tf_sim_amqp_receiver_end(t->oracle, receiver, false);
    tf_sim_amqp_broke(t->oracle, t->oracle->receivers[receiver].client);
}

static void detach(struct trace *t, uint32_t receiver)
{
    tick(t);
    tf_sim_amqp_receiver_end(t->oracle, receiver, true);
    tf_sim_amqp_receiver_sure(t->oracle, receiver);
}

/* The broker is no more; all that happened until `pause` ago is on disk. */
static void crash_after(struct trace *t, tf_time pause)
{
    t->oracle->now += pause;
    for (uint32_t i = 0; i < t->oracle->receiver_count; i++) {
        if (t->oracle->receivers[i].live) {
            lose(t, i);
        }
    }
    tf_sim_amqp_crashed(t->oracle, t->oracle->now);
}

static void crash(struct trace *t)
{
    crash_after(t, 0);
}

/* A message to a plain name, where nothing dies and nothing is moved from. */
static uint32_t put_plain(struct trace *t)
{
    uint32_t message = send_to(t, TF_SIM_AMQP_PLAIN_A, 0, false);
    tf_sim_amqp_told(t->oracle, message, TF_SIM_AMQP_ACCEPTED);
    return message;
}

static uint32_t receive_plain(struct trace *t, unsigned client)
{
    return receive_from(t, client, TF_SIM_AMQP_PLAIN_A, false, false);
}

/* Accepted, and the receiver knows that the broker knows. */
static void finish(struct trace *t, uint32_t receiver, uint32_t message)
{
    get(t, receiver, message);
    say(t, receiver, message, TF_AMQP_STATE_ACCEPTED);
    tf_sim_amqp_settled(t->oracle, receiver, message);
}

static void audit(struct trace *t)
{
    tick(t);
    tf_sim_amqp_audit(t->oracle);
}

/* ---- what must be rejected ---- */

static void accepted_twice(struct trace *t)
{
    uint32_t a = receive(t, 1), m = put(t);
    get(t, a, m);
    say(t, a, m, TF_AMQP_STATE_ACCEPTED);
    get(t, receive(t, 2), m);
}

static void two_holders(struct trace *t)
{
    uint32_t a = receive(t, 1), m = put(t);
    get(t, a, m);
    get(t, receive(t, 2), m);
}

static void settled_twice(struct trace *t)
{
    uint32_t a = receive_from(t, 1, TF_SIM_AMQP_WORK, false, true), m = put(t);
    get(t, a, m);
    lose(t, a);
    get(t, receive(t, 2), m);
}

static void second_then_lost(struct trace *t)
{
    uint32_t a = receive(t, 1), m = put(t);
    get(t, a, m);
    say(t, a, m, TF_AMQP_STATE_ACCEPTED);
    tf_sim_amqp_settled(t->oracle, a, m);
    lose(t, a);
    get(t, receive(t, 2), m);
}

static void detached_then_again(struct trace *t)
{
    uint32_t a = receive(t, 1), m = put(t);
    get(t, a, m);
    say(t, a, m, TF_AMQP_STATE_ACCEPTED);
    detach(t, a);
    tf_sim_amqp_broke(t->oracle, 1);
    get(t, receive(t, 2), m);
}

static void lost_message(struct trace *t)
{
    (void)put(t);
    audit(t);
}

static void released_and_lost(struct trace *t)
{
    uint32_t a = receive(t, 1), m = put(t);
    get(t, a, m);
    say(t, a, m, TF_AMQP_STATE_RELEASED);
    audit(t);
}

static void rejected_and_lost(struct trace *t)
{
    uint32_t a = receive(t, 1), m = put(t);
    get(t, a, m);
    say(t, a, m, TF_AMQP_STATE_REJECTED);
    audit(t);
}

static void rejected_and_again(struct trace *t)
{
    uint32_t a = receive(t, 1), m = put(t);
    get(t, a, m);
    say(t, a, m, TF_AMQP_STATE_REJECTED);
    get(t, a, m);
}

static void purged_before(struct trace *t)
{
    tf_sim_amqp_purged(t->oracle, TF_SIM_AMQP_WORK);
    lost_message(t);
}

static void still_held(struct trace *t)
{
    get(t, receive(t, 1), put(t));
    audit(t);
}

static void refused_and_delivered(struct trace *t)
{
    uint32_t m = send_to(t, TF_SIM_AMQP_WORK, -1, false);
    tf_sim_amqp_told(t->oracle, m, TF_SIM_AMQP_REFUSED);
    get(t, receive(t, 1), m);
}

static void delivered_and_refused(struct trace *t)
{
    uint32_t m = send_to(t, TF_SIM_AMQP_WORK, -1, false);
    get(t, receive(t, 1), m);
    tf_sim_amqp_told(t->oracle, m, TF_SIM_AMQP_REFUSED);
}

static void told_twice(struct trace *t)
{
    tf_sim_amqp_told(t->oracle, put(t), TF_SIM_AMQP_ACCEPTED);
}

static void wrong_queue(struct trace *t)
{
    get(t, receive_from(t, 1, TF_SIM_AMQP_RING, false, false), put(t));
}

static void out_of_order(struct trace *t)
{
    uint32_t a = receive(t, 1), m = put(t);
    get(t, a, put(t));
    get(t, a, m);
}

static void not_here(struct trace *t)
{
    uint32_t a = receive(t, 1), m = put(t);
    get(t, a, m);
    say_more(t, a, m,
             (struct tf_amqp_state){.type = TF_AMQP_STATE_MODIFIED, .undeliverable_here = true}, 0);
    get(t, a, m);
}

static void modify(struct trace *t, uint32_t receiver, uint32_t message)
{
    get(t, receiver, message);
    say_more(t, receiver, message,
             (struct tf_amqp_state){.type = TF_AMQP_STATE_MODIFIED, .delivery_failed = true}, 7);
}

static void uncounted(struct trace *t)
{
    uint32_t a = receive(t, 1), m = put(t);
    modify(t, a, m);
    get_as(t, a, (struct tf_sim_amqp_delivery){.message = m, .note = 7});
}

static void overcounted(struct trace *t)
{
    uint32_t a = receive(t, 1), m = put(t);
    modify(t, a, m);
    get_as(t, a, (struct tf_sim_amqp_delivery){.message = m, .note = 7, .delivery_count = 2});
}

static void annotation_lost(struct trace *t)
{
    uint32_t a = receive(t, 1), m = put(t);
    modify(t, a, m);
    get_as(t, a, (struct tf_sim_amqp_delivery){.message = m, .delivery_count = 1});
}

static void first_again(struct trace *t)
{
    uint32_t a = receive(t, 1), m = put(t);
    get(t, a, m);
    say(t, a, m, TF_AMQP_STATE_RELEASED);
    get_as(t, a, (struct tf_sim_amqp_delivery){.message = m, .first_acquirer = true});
}

static void changed(struct trace *t)
{
    get_as(t, receive(t, 1), (struct tf_sim_amqp_delivery){.message = put(t), .changed = true});
}

static void unknown(struct trace *t)
{
    get(t, receive(t, 1), 77);
}

static void shown_twice(struct trace *t)
{
    uint32_t a = receive_from(t, 1, TF_SIM_AMQP_WORK, true, false), m = put(t);
    get(t, a, m);
    get(t, a, m);
}

static void topic_twice(struct trace *t)
{
    uint32_t a = receive_from(t, 1, TF_SIM_AMQP_NOWHERE, false, false);
    uint32_t m = send_to(t, TF_SIM_AMQP_NOWHERE, 1, false);
    get(t, a, m);
    get(t, a, m);
}

static void other_topic(struct trace *t)
{
    get(t, receive_from(t, 1, TF_SIM_AMQP_NOWHERE, false, false),
        send_to(t, TF_SIM_AMQP_NOWHERE, 3, false));
}

static void topic_lost(struct trace *t)
{
    uint32_t a = receive_from(t, 1, TF_SIM_AMQP_NOWHERE, false, false);
    uint32_t m = send_to(t, TF_SIM_AMQP_NOWHERE, 1, false);
    tf_sim_amqp_told(t->oracle, m, TF_SIM_AMQP_ACCEPTED);
    tf_sim_amqp_complete(t->oracle, a);
}

/* ---- crashes that must be rejected ---- */

static void crash_loses(struct trace *t)
{
    (void)put_plain(t);
    crash(t);
    audit(t);
}

static void crash_undoes_settled(struct trace *t)
{
    uint32_t m = put_plain(t);
    finish(t, receive_plain(t, 1), m);
    crash(t);
    get(t, receive_plain(t, 2), m);
}

static void crash_undoes_old(struct trace *t)
{
    uint32_t a = receive(t, 1), m = put(t);
    get(t, a, m);
    say(t, a, m, TF_AMQP_STATE_ACCEPTED);
    detach(t, a);
    crash_after(t, 20 * TF_SECOND);
    get(t, receive(t, 2), m);
}

static void crash_doubles(struct trace *t)
{
    uint32_t m = put_plain(t);
    crash(t);
    get(t, receive_plain(t, 1), m);
    get(t, receive_plain(t, 2), m);
}

static void crash_disorders(struct trace *t)
{
    uint32_t m = put_plain(t), n = put_plain(t);
    (void)receive_plain(t, 1);
    crash(t);
    uint32_t b = receive_plain(t, 2);
    get(t, b, n);
    get(t, b, m);
}

static uint32_t modified_and_crashed(struct trace *t)
{
    uint32_t a = receive_plain(t, 1), m = put_plain(t);
    modify(t, a, m);
    tf_sim_amqp_settled(t->oracle, a, m);
    crash(t);
    return m;
}

static void crash_loses_annotation(struct trace *t)
{
    uint32_t m = modified_and_crashed(t);
    get_as(t, receive_plain(t, 2),
           (struct tf_sim_amqp_delivery){.message = m, .delivery_count = 1});
}

static void crash_loses_count(struct trace *t)
{
    uint32_t m = modified_and_crashed(t);
    get_as(t, receive_plain(t, 2), (struct tf_sim_amqp_delivery){.message = m, .note = 7});
}

static void crash_hides_acquirer(struct trace *t)
{
    uint32_t m = put_plain(t);
    get(t, receive_plain(t, 1), m);
    crash(t);
    get_as(t, receive_plain(t, 2),
           (struct tf_sim_amqp_delivery){.message = m, .first_acquirer = true});
}

/* A crash while a message dies leaves two of it; three are too many. */
static void crash_trebles(struct trace *t)
{
    uint32_t a = receive(t, 1), m = put(t);
    get(t, a, m);
    say(t, a, m, TF_AMQP_STATE_REJECTED);
    crash(t);
    finish(t, receive(t, 1), m);
    uint32_t d = receive_from(t, 2, TF_SIM_AMQP_DEAD, false, false);
    finish(t, d, m);
    get(t, d, m);
}

static void crash_loses_letter(struct trace *t)
{
    uint32_t a = receive(t, 1), m = put(t);
    get(t, a, m);
    say(t, a, m, TF_AMQP_STATE_REJECTED);
    crash(t);
    audit(t);
}

static void crash_revives_refused(struct trace *t)
{
    uint32_t m = send_to(t, TF_SIM_AMQP_PLAIN_A, 0, false);
    tf_sim_amqp_told(t->oracle, m, TF_SIM_AMQP_REFUSED);
    crash(t);
    get(t, receive_plain(t, 1), m);
}

static void crash_revives_rejected(struct trace *t)
{
    uint32_t a = receive(t, 1), m = put(t);
    get(t, a, m);
    say(t, a, m, TF_AMQP_STATE_REJECTED);
    tf_sim_amqp_settled(t->oracle, a, m);
    crash_after(t, 100 * TF_SECOND);
    get(t, receive(t, 1), m);
}

/* ---- what must not be ---- */

static void plain(struct trace *t)
{
    uint32_t a = receive(t, 1), m = put(t), n = put(t);
    modify(t, a, m);
    get(t, a, n);
    say(t, a, n, TF_AMQP_STATE_ACCEPTED);
    get_as(t, a, (struct tf_sim_amqp_delivery){.message = m, .note = 7, .delivery_count = 1});
    say(t, a, m, TF_AMQP_STATE_ACCEPTED);
    audit(t);
}

static void accepted_and_broken(struct trace *t)
{
    uint32_t a = receive(t, 1), m = put(t);
    get(t, a, m);
    say(t, a, m, TF_AMQP_STATE_ACCEPTED);
    lose(t, a);
    uint32_t b = receive(t, 2);
    get_as(t, b, (struct tf_sim_amqp_delivery){.message = m, .delivery_count = 1});
    say(t, b, m, TF_AMQP_STATE_ACCEPTED);
    audit(t);
}

static void rejected_letter(struct trace *t)
{
    uint32_t a = receive(t, 1), m = put(t);
    uint32_t d = receive_from(t, 2, TF_SIM_AMQP_DEAD, false, false);
    get(t, a, m);
    say(t, a, m, TF_AMQP_STATE_REJECTED);
    get(t, d, m);
    say(t, d, m, TF_AMQP_STATE_ACCEPTED);
    audit(t);
}

static void shared(struct trace *t)
{
    uint32_t a = receive(t, 1), b = receive(t, 2), m = put(t);
    get(t, b, put(t));
    get(t, a, put(t));
    get(t, a, m); /* it had been on its way to the other one */
}

static void stolen(struct trace *t)
{
    uint32_t a = receive(t, 1), m = put(t);
    get(t, a, m);
    tf_sim_amqp_receiver_loosen(t->oracle, a);
    uint32_t b = receive(t, 2);
    get(t, b, m);
    say(t, a, m, TF_AMQP_STATE_ACCEPTED);
    say(t, b, m, TF_AMQP_STATE_ACCEPTED);
    audit(t);
}

static void purged(struct trace *t)
{
    (void)put(t);
    tick(t);
    tf_sim_amqp_purged(t->oracle, TF_SIM_AMQP_WORK);
    audit(t);
}

static void expired(struct trace *t)
{
    uint32_t m = send_to(t, TF_SIM_AMQP_SPARE, -1, true);
    tf_sim_amqp_told(t->oracle, m, TF_SIM_AMQP_ACCEPTED);
    audit(t);
}

static void crash_unsettled(struct trace *t)
{
    uint32_t a = receive_plain(t, 1), m = put_plain(t), n = put_plain(t);
    get(t, a, m);
    say(t, a, m, TF_AMQP_STATE_ACCEPTED); /* nobody has said that this is on disk */
    detach(t, a);
    a = receive_from(t, 1, TF_SIM_AMQP_PLAIN_A, false, true);
    get(t, a, n); /* settled when it was sent, just now */
    crash(t);
    uint32_t b = receive_plain(t, 2);
    finish(t, b, m);
    finish(t, b, n);
    audit(t);
}

static void crash_unanswered(struct trace *t)
{
    uint32_t m = send_to(t, TF_SIM_AMQP_PLAIN_A, 0, false);
    (void)send_to(t, TF_SIM_AMQP_PLAIN_A, 0, false);
    get(t, receive_plain(t, 1), m); /* and was on no disk */
    crash(t);
    audit(t);
}

static void crash_in_two_places(struct trace *t)
{
    uint32_t a = receive(t, 1), m = put(t);
    get(t, a, m);
    say(t, a, m, TF_AMQP_STATE_REJECTED);
    crash(t);
    finish(t, receive_from(t, 2, TF_SIM_AMQP_DEAD, false, false), m);
    finish(t, receive(t, 1), m);
    audit(t);
}

static void crash_and_again(struct trace *t)
{
    uint32_t m = put_plain(t);
    tf_sim_amqp_repeated(t->oracle, m);
    finish(t, receive_plain(t, 1), m);
    finish(t, receive_plain(t, 2), m);
    audit(t);
}

static const struct {
    const char *name;
    void (*run)(struct trace *trace);
    const char *why; /* part of what the oracle must say; NULL: nothing */
} traces[] = {
    {"accepted, and delivered again", accepted_twice, "has accepted it"},
    {"with two receivers at once", two_holders, "has it"},
    {"settled when sent, and delivered again", settled_twice, "has accepted it"},
    {"settled by both, and delivered again", second_then_lost, "has accepted it"},
    {"accepted before a detach, and delivered again", detached_then_again, "has accepted it"},
    {"accepted by the broker and lost", lost_message, "is lost"},
    {"released and lost", released_and_lost, "is lost"},
    {"rejected, and no dead letter", rejected_and_lost, "is lost"},
    {"rejected, and delivered again", rejected_and_again, "does not belong"},
    {"lost after a purge that came before it", purged_before, "is lost"},
    {"held in the end", still_held, "is still with"},
    {"refused, and delivered", refused_and_delivered, "was refused"},
    {"delivered, and refused", delivered_and_refused, "has been delivered"},
    {"two outcomes for one message", told_twice, "answered twice"},
    {"from another queue", wrong_queue, "does not belong"},
    {"out of order", out_of_order, "after m"},
    {"delivered again to whom it is not for", not_here, "cannot take it"},
    {"a failure that is not counted", uncounted, "have failed"},
    {"a failure that nobody had", overcounted, "could have failed"},
    {"an annotation that is lost", annotation_lost, "not with 7"},
    {"the first again", first_again, "nobody had seen"},
    {"a message that is changed", changed, "nobody sent"},
    {"a message that nobody sent", unknown, "nobody sent"},
    {"a browser who sees it twice", shown_twice, "twice"},
    {"a topic receiver who gets it twice", topic_twice, "twice"},
    {"a topic receiver of another address", other_topic, "comes to receiver"},
    {"a topic receiver who misses it", topic_lost, "never got"},
    {"a crash that loses what was accepted", crash_loses, "is lost"},
    {"a crash that undoes what both had settled", crash_undoes_settled, "has accepted it"},
    {"a crash that undoes what is long over", crash_undoes_old, "has accepted it"},
    {"a crash after which two have it", crash_doubles, "has it"},
    {"a crash that mixes up a queue", crash_disorders, "after m"},
    {"a crash that loses an annotation", crash_loses_annotation, "not with 7"},
    {"a crash that loses a failure", crash_loses_count, "have failed"},
    {"a crash that hides who had it", crash_hides_acquirer, "nobody had seen"},
    {"a crash that makes three of one", crash_trebles, "copies have been taken"},
    {"a crash that loses a dead letter", crash_loses_letter, "is lost"},
    {"a crash that revives what was refused", crash_revives_refused, "was refused"},
    {"a crash that revives what is dead", crash_revives_rejected, "does not belong"},
    {"modified, accepted, in order but for that", plain, NULL},
    {"accepted on a connection that broke", accepted_and_broken, NULL},
    {"rejected, and a dead letter", rejected_letter, NULL},
    {"two receivers that share", shared, NULL},
    {"a link that was stolen", stolen, NULL},
    {"a queue that was purged", purged, NULL},
    {"a message that expired", expired, NULL},
    {"a crash before the answer was on disk", crash_unsettled, NULL},
    {"a crash before the sender was told", crash_unanswered, NULL},
    {"a crash while a letter is on its way", crash_in_two_places, NULL},
    {"a message that was sent twice", crash_and_again, NULL}};

unsigned tf_sim_amqp_self_test(FILE *out)
{
    struct tf_sim_amqp_oracle *oracle = malloc(sizeof(*oracle));
    unsigned wrong = 0;
    for (size_t i = 0; i < TF_COUNT(traces) && oracle; i++) {
        struct trace trace = {oracle, 0};
        tf_sim_amqp_oracle_init(oracle);
        oracle->now = 100 * TF_SECOND;
        traces[i].run(&trace);
        const char *said = oracle->failed ? oracle->failure : NULL;
        bool good = traces[i].why ? said && strstr(said, traces[i].why) : !said;
        fprintf(out, "%s %s\n", good ? "ok  " : "FAIL", traces[i].name);
        if (!good) {
            fprintf(out, "     the oracle said: %s\n", said ? said : "nothing");
            wrong++;
        }
        tf_sim_amqp_oracle_release(oracle);
    }
    free(oracle);
    fprintf(out, "AMQP: %zu passed, %u failed\n", TF_COUNT(traces) - wrong, wrong);
    return wrong;
}
