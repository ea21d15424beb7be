/*
 * The oracle of runs with AMQP: what must hold of what clients saw, told as it happens. Knows no
 * broker and no network. What can only be said of a whole run is in amqp_audit.c.
 *
 * A message has one address, so at most one copy of it is in queues: that of a plain name or queue,
 * which may move on to the dead letters. It is FREE until it is delivered, HELD until its receiver
 * answers, and DONE when it was accepted. A connection that breaks takes back what nobody has
 * confirmed: then a message that was DONE is free again, doubtful.
 *
 * A crash of the broker is all connections that break, and more: what is not known to be on disk
 * is as it was before, and what dies or is moved at that moment may be in two places. Such a
 * message has `extra` copies; of those it is only counted how many were taken.
 *
 * Topic receivers have queues of their own; of those only their receiver is asked.
 */
#include "sim/amqp.h"

#include "base/assert.h"
#include "route/table.h"

#include <stdlib.h>
#include <string.h>

#define APART (10 * TF_SECOND)    /* since the last receiver left: what it had has come back */
#define RECORDED (10 * TF_SECOND) /* within which what the broker knows is on disk */
#define GIVEN_UP (60 * TF_SECOND) /* within which it has noticed that a receiver is gone */

void tf_sim_amqp_oracle_init(struct tf_sim_amqp_oracle *oracle)
{
    memset(oracle, 0, sizeof(*oracle));
}

void tf_sim_amqp_oracle_release(struct tf_sim_amqp_oracle *oracle)
{
    for (uint32_t i = 0; i < oracle->receiver_count; i++) {
        free(oracle->receivers[i].seen);
        free(oracle->receivers[i].last);
    }
    oracle->receiver_count = 0;
}

void tf_sim_amqp_wrong(struct tf_sim_amqp_oracle *oracle, const char *format, ...)
{
    va_list arguments;
    if (oracle->failed) {
        return;
    }
    oracle->failed = true;
    va_start(arguments, format);
    vsnprintf(oracle->failure, sizeof(oracle->failure), format, arguments);
    va_end(arguments);
}

/* ---- senders ---- */

void tf_sim_amqp_sent(struct tf_sim_amqp_oracle *oracle, uint32_t message,
                      const struct tf_sim_amqp_track *track)
{
    struct tf_sim_amqp_track *to = &oracle->tracks[message];
    *to = *track;
    to->sent = true;
    to->at = oracle->now;
    to->holder = to->not_for = TF_SIM_NONE;
}

void tf_sim_amqp_told(struct tf_sim_amqp_oracle *oracle, uint32_t message,
                      enum tf_sim_amqp_fate fate)
{
    struct tf_sim_amqp_track *track = &oracle->tracks[message];
    if (track->fate != TF_SIM_AMQP_UNTOLD || track->settled) {
        tf_sim_amqp_wrong(oracle, "m%u is answered twice, or was sent settled", message);
    }
    track->fate = (uint8_t)fate;
    if (fate == TF_SIM_AMQP_REFUSED && track->deliveries) {
        tf_sim_amqp_wrong(oracle, "m%u is refused, but has been delivered", message);
    }
}

/* ---- receivers ---- */

/* Other receivers of its queue are, or were, there at the same time. */
static void mark_company(struct tf_sim_amqp_oracle *oracle, uint32_t receiver)
{
    struct tf_sim_amqp_receiver *mine = &oracle->receivers[receiver];
    mine->alone = mine->place < TF_SIM_AMQP_PLACES
                      ? oracle->left_at[mine->place] + APART <= oracle->now
                      : true;
    for (uint32_t i = 0; i < receiver; i++) {
        struct tf_sim_amqp_receiver *other = &oracle->receivers[i];
        if (other->live && !other->browse && other->place == mine->place &&
            mine->place < TF_SIM_AMQP_PLACES) {
            other->alone &= mine->browse;
            mine->alone = false;
        }
    }
}

uint32_t tf_sim_amqp_receiver_new(struct tf_sim_amqp_oracle *oracle,
                                  const struct tf_sim_amqp_receiver *receiver)
{
    uint32_t instance = oracle->receiver_count;
    if (instance == TF_SIM_AMQP_INSTANCES) {
        return TF_SIM_NONE;
    }
    struct tf_sim_amqp_receiver *to = &oracle->receivers[oracle->receiver_count++];
    *to = *receiver;
    to->live = true;
    to->since = TF_TIME_NEVER;
    to->seen = calloc(TF_SIM_MESSAGES, 1);
    to->last = calloc(TF_SIM_AMQP_INSTANCES, sizeof(*to->last));
    tf_assert(to->seen && to->last);
    if (to->settled && to->place < TF_SIM_AMQP_PLACES) {
        oracle->lossy[to->place] = true;
    }
    mark_company(oracle, instance);
    return instance;
}

void tf_sim_amqp_receiver_attached(struct tf_sim_amqp_oracle *oracle, uint32_t receiver)
{
    oracle->receivers[receiver].since = oracle->now;
}

void tf_sim_amqp_receiver_end(struct tf_sim_amqp_oracle *oracle, uint32_t receiver, bool told)
{
    struct tf_sim_amqp_receiver *mine = &oracle->receivers[receiver];
    if (!mine->live) {
        return;
    }
    mine->live = false;
    if (mine->place < TF_SIM_AMQP_PLACES && !mine->browse) {
        oracle->left_at[mine->place] = oracle->now;
    }
    for (uint32_t i = 0; i < TF_SIM_MESSAGES; i++) {
        struct tf_sim_amqp_track *track = &oracle->tracks[i];
        if (track->holder == receiver && track->copy == TF_SIM_AMQP_HELD_COPY) {
            track->copy = TF_SIM_AMQP_FREE;
            track->failed_most += !told;
            track->touched = oracle->now;
        }
    }
}

static void make_certain(const struct tf_sim_amqp_oracle *oracle, struct tf_sim_amqp_track *track)
{
    if (!track->certain) {
        track->certain = true;
        track->touched = oracle->now;
    }
}

void tf_sim_amqp_receiver_sure(struct tf_sim_amqp_oracle *oracle, uint32_t receiver)
{
    for (uint32_t i = 0; i < TF_SIM_MESSAGES && !oracle->receivers[receiver].loose; i++) {
        if (oracle->tracks[i].sent && oracle->tracks[i].holder == receiver) {
            make_certain(oracle, &oracle->tracks[i]);
        }
    }
}

/* What was answered for good, and may not have been heard. */
static void doubt(struct tf_sim_amqp_track *track)
{
    if (!track->certain) {
        if (track->copy == TF_SIM_AMQP_DONE) {
            track->copy = TF_SIM_AMQP_FREE;
            track->doubtful = true;
        }
        track->dead_only = false;
        track->note = 0;
        track->not_for = TF_SIM_NONE;
        track->failed_least = 0;
        track->failed_most++;
    }
}

void tf_sim_amqp_receiver_loosen(struct tf_sim_amqp_oracle *oracle, uint32_t receiver)
{
    oracle->receivers[receiver].loose = true;
    oracle->breaks++;
    for (uint32_t i = 0; i < TF_SIM_MESSAGES; i++) {
        if (oracle->tracks[i].holder == receiver) {
            doubt(&oracle->tracks[i]);
        }
    }
}

void tf_sim_amqp_broke(struct tf_sim_amqp_oracle *oracle, unsigned client)
{
    oracle->breaks++;
    for (uint32_t i = 0; i < TF_SIM_MESSAGES; i++) {
        struct tf_sim_amqp_track *track = &oracle->tracks[i];
        if (track->holder != TF_SIM_NONE && track->sent &&
            oracle->receivers[track->holder].client == client) {
            doubt(track);
        }
    }
}

void tf_sim_amqp_closed(struct tf_sim_amqp_oracle *oracle, unsigned client)
{
    for (uint32_t i = 0; i < TF_SIM_MESSAGES; i++) {
        struct tf_sim_amqp_track *track = &oracle->tracks[i];
        if (track->sent && track->holder != TF_SIM_NONE &&
            oracle->receivers[track->holder].client == client) {
            make_certain(oracle, track);
        }
    }
}

/* True if a message may be on its way from one queue to another. */
static bool in_transit(const struct tf_sim_amqp_oracle *oracle,
                       const struct tf_sim_amqp_track *track)
{
    if (track->place < TF_SIM_AMQP_WORK || track->place >= TF_SIM_AMQP_PLACES) {
        return false;
    }
    bool dies = track->expires || track->place == TF_SIM_AMQP_SHORT ||
                track->place == TF_SIM_AMQP_RING ||
                (track->touched && track->touched + GIVEN_UP >= oracle->now);
    return oracle->moved || (tf_sim_amqp_nodes[track->place].mourned && dies);
}

static void crashed(const struct tf_sim_amqp_oracle *oracle, struct tf_sim_amqp_track *track,
                    tf_time since)
{
    bool old = track->touched + RECORDED <= since;
    bool sure = track->recorded || (track->certain && old);
    if (track->fate == TF_SIM_AMQP_UNTOLD) {
        track->doubtful = true; /* nobody has said that it would be kept */
    }
    if (in_transit(oracle, track) && !(track->copy == TF_SIM_AMQP_DONE && sure && old)) {
        track->extra++;
    }
    if (!sure) {
        track->certain = false;
        doubt(track);
    } else if (!old) {
        track->dead_only = false; /* its letter may not have been on disk */
    }
}

void tf_sim_amqp_crashed(struct tf_sim_amqp_oracle *oracle, tf_time since)
{
    oracle->breaks++;
    for (uint32_t i = 0; i < TF_SIM_MESSAGES; i++) {
        if (oracle->tracks[i].sent) {
            crashed(oracle, &oracle->tracks[i], since);
        }
    }
    memset(oracle->left_at, 0, sizeof(oracle->left_at)); /* all has come back, in order */
}

void tf_sim_amqp_repeated(struct tf_sim_amqp_oracle *oracle, uint32_t message)
{
    oracle->tracks[message].extra++;
}

void tf_sim_amqp_purged(struct tf_sim_amqp_oracle *oracle, enum tf_sim_amqp_place place)
{
    oracle->purged_at[place] = oracle->now;
}

/* ---- deliveries ---- */

/* What its publisher sent in a row comes so. */
static void check_order(struct tf_sim_amqp_oracle *oracle, uint32_t receiver, uint32_t message)
{
    const struct tf_sim_amqp_track *track = &oracle->tracks[message];
    struct tf_sim_amqp_receiver *mine = &oracle->receivers[receiver];
    bool direct = mine->place == TF_SIM_AMQP_NOWHERE || mine->place == track->place;
    if (track->sender == TF_SIM_NONE || !direct || oracle->moved || track->extra) {
        return;
    }
    uint32_t *last = &mine->last[track->sender];
    if (mine->alone && *last > message + 1) {
        tf_sim_amqp_wrong(oracle, "m%u of sender %u comes to receiver %u after m%u", message,
                          track->sender, receiver, *last - 1);
    }
    *last = TF_MAX(*last, message + 1);
}

/* True if a queue may give this message away, by where it was sent. */
static bool belongs(const struct tf_sim_amqp_oracle *oracle, uint8_t place,
                    const struct tf_sim_amqp_track *track)
{
    if (track->dead_only && !track->extra) {
        return place == TF_SIM_AMQP_DEAD;
    }
    return place == track->place ||
           (oracle->moved && place >= TF_SIM_AMQP_WORK && track->place >= TF_SIM_AMQP_WORK &&
            track->place < TF_SIM_AMQP_PLACES) ||
           (place == TF_SIM_AMQP_DEAD && track->place < TF_SIM_AMQP_PLACES &&
            tf_sim_amqp_nodes[track->place].mourned);
}

/* A delivery's header and annotations fit what has happened to the message. */
static void check_history(struct tf_sim_amqp_oracle *oracle, uint32_t receiver,
                          const struct tf_sim_amqp_delivery *delivery)
{
    const struct tf_sim_amqp_track *track = &oracle->tracks[delivery->message];
    bool here = oracle->receivers[receiver].place == track->place && !oracle->moved;
    if (delivery->delivery_count > track->failed_most + oracle->breaks) {
        tf_sim_amqp_wrong(oracle, "m%u comes with delivery-count %u; at most %u could have failed",
                          delivery->message, delivery->delivery_count,
                          track->failed_most + oracle->breaks);
    }
    if (!here) {
        return; /* dead letters and what was moved begin anew */
    }
    if (delivery->delivery_count < track->failed_least) {
        tf_sim_amqp_wrong(oracle, "m%u comes with delivery-count %u; %u have failed",
                          delivery->message, delivery->delivery_count, track->failed_least);
    }
    if (delivery->first_acquirer && track->deliveries) {
        tf_sim_amqp_wrong(oracle, "m%u comes as if nobody had seen it", delivery->message);
    }
    if (track->note && delivery->note != track->note) {
        tf_sim_amqp_wrong(oracle, "m%u comes with annotation %u, not with %u", delivery->message,
                          delivery->note, track->note);
    }
}

/* One copy's state says nothing about the others'. */
static void check_one(struct tf_sim_amqp_oracle *oracle, uint32_t receiver,
                      const struct tf_sim_amqp_delivery *delivery)
{
    uint32_t message = delivery->message;
    const struct tf_sim_amqp_track *track = &oracle->tracks[message];
    const struct tf_sim_amqp_receiver *mine = &oracle->receivers[receiver];
    if (track->copy == TF_SIM_AMQP_DONE) {
        tf_sim_amqp_wrong(oracle, "m%u comes to receiver %u again; receiver %u has accepted it",
                          message, receiver, track->holder);
    } else if (track->copy == TF_SIM_AMQP_HELD_COPY && !oracle->receivers[track->holder].loose) {
        tf_sim_amqp_wrong(oracle, "m%u comes to receiver %u; receiver %u has it", message, receiver,
                          track->holder);
    } else if (track->not_for == receiver && !oracle->moved) {
        tf_sim_amqp_wrong(oracle, "m%u comes to receiver %u, who cannot take it", message,
                          receiver);
    }
    if (!mine->loose) {
        check_history(oracle, receiver, delivery);
    }
    if (track->deliveries == 0 && !mine->loose) {
        check_order(oracle, receiver, message);
    }
}

static void from_queue(struct tf_sim_amqp_oracle *oracle, uint32_t receiver,
                       const struct tf_sim_amqp_delivery *delivery)
{
    uint32_t message = delivery->message;
    struct tf_sim_amqp_track *track = &oracle->tracks[message];
    const struct tf_sim_amqp_receiver *mine = &oracle->receivers[receiver];
    if (mine->loose && track->copy != TF_SIM_AMQP_FREE) {
        /* It may have been on its way when the broker took it back, or the one who has it was
         * robbed and does not know yet: then this one's answer is what counts, and may have been
         * heard. */
        track->doubtful |= track->copy == TF_SIM_AMQP_HELD_COPY;
        return;
    }
    if (!belongs(oracle, mine->place, track)) {
        tf_sim_amqp_wrong(oracle, "m%u comes from %s, where it does not belong", message,
                          tf_sim_amqp_nodes[mine->place].name);
    } else if (track->fate == TF_SIM_AMQP_REFUSED) {
        tf_sim_amqp_wrong(oracle, "m%u comes, though it was refused", message);
    } else if (track->extra == 0) {
        check_one(oracle, receiver, delivery);
    } else if (track->ended > track->extra) {
        tf_sim_amqp_wrong(oracle, "m%u comes to receiver %u; all %u copies have been taken",
                          message, receiver, track->ended);
    }
    track->deliveries++;
    track->holder = receiver;
    track->touched = oracle->now;
    track->taken |= mine->settled;
    track->recorded = false;
    track->certain = mine->settled && !mine->loose;
    track->copy = !mine->settled ? TF_SIM_AMQP_HELD_COPY
                  : mine->loose  ? TF_SIM_AMQP_FREE
                                 : TF_SIM_AMQP_DONE;
    track->doubtful |= mine->loose;
}

static void from_topic(struct tf_sim_amqp_oracle *oracle, uint32_t receiver, uint32_t message)
{
    const struct tf_sim_amqp_track *track = &oracle->tracks[message];
    const struct tf_sim_amqp_receiver *mine = &oracle->receivers[receiver];
    struct tf_bytes filter = tf_bytes_str(mine->filter);
    bool matches = (track->topic >= 0 &&
                    tf_filter_matches(filter, tf_bytes_str(tf_sim_topics[track->topic]))) ||
                   (track->place < TF_SIM_AMQP_PLACES &&
                    (tf_sim_amqp_nodes[track->place].mourned || oracle->moved) &&
                    tf_filter_matches(filter, tf_bytes_str("dead")));
    if (!matches) {
        tf_sim_amqp_wrong(oracle, "m%u comes to receiver %u of %s", message, receiver,
                          mine->filter);
    } else if (mine->seen[message] == 1 && !track->extra) {
        tf_sim_amqp_wrong(oracle, "m%u comes to receiver %u of %s twice", message, receiver,
                          mine->filter);
    }
    if (mine->seen[message] == 0 && track->topic >= 0) {
        check_order(oracle, receiver, message);
    }
    mine->seen[message] = 1;
}

void tf_sim_amqp_delivered(struct tf_sim_amqp_oracle *oracle, uint32_t receiver,
                           const struct tf_sim_amqp_delivery *delivery)
{
    const struct tf_sim_amqp_receiver *mine = &oracle->receivers[receiver];
    uint32_t message = delivery->message;
    if (message >= TF_SIM_MESSAGES || !oracle->tracks[message].sent || delivery->changed) {
        tf_sim_amqp_wrong(oracle, "receiver %u gets what nobody sent (as m%d)", receiver,
                          (int)message);
        return;
    }
    if (mine->place == TF_SIM_AMQP_NOWHERE) {
        from_topic(oracle, receiver, message);
    } else if (!mine->browse) {
        from_queue(oracle, receiver, delivery);
    } else {
        if (mine->seen[message] && !oracle->moved && !oracle->tracks[message].extra) {
            tf_sim_amqp_wrong(oracle, "m%u is shown to browser %u twice", message, receiver);
        } else if (!belongs(oracle, mine->place, &oracle->tracks[message]) &&
                   !oracle->tracks[message].dead_only) {
            tf_sim_amqp_wrong(oracle, "m%u is shown in %s, where it does not belong", message,
                              tf_sim_amqp_nodes[mine->place].name);
        }
        mine->seen[message] = 1;
    }
}

/* ---- answers ---- */

/* `rejected`, `released`, `modified` of what a queue gave. */
static void give_back(struct tf_sim_amqp_oracle *oracle, uint32_t receiver,
                      struct tf_sim_amqp_track *track, const struct tf_amqp_state *state,
                      uint32_t note)
{
    const struct tf_sim_amqp_receiver *mine = &oracle->receivers[receiver];
    track->copy = TF_SIM_AMQP_FREE;
    track->certain = false;
    track->touched = oracle->now;
    if (state->type == TF_AMQP_STATE_REJECTED) {
        bool mourned = tf_sim_amqp_nodes[mine->place].mourned;
        track->copy = mourned ? TF_SIM_AMQP_FREE : TF_SIM_AMQP_DONE;
        track->dead_only = mourned;
        track->failed_most++;
    } else if (state->type == TF_AMQP_STATE_MODIFIED) {
        track->failed_least += state->delivery_failed;
        track->failed_most += state->delivery_failed;
        track->not_for = state->undeliverable_here ? receiver : track->not_for;
        track->note = note ? note : track->note;
    }
    if (mine->loose) {
        doubt(track);
    }
}

void tf_sim_amqp_answered(struct tf_sim_amqp_oracle *oracle, uint32_t receiver, uint32_t message,
                          const struct tf_amqp_state *state, uint32_t note)
{
    struct tf_sim_amqp_track *track = &oracle->tracks[message];
    struct tf_sim_amqp_receiver *mine = &oracle->receivers[receiver];
    bool accepted = state->type == TF_AMQP_STATE_ACCEPTED;
    if (mine->place == TF_SIM_AMQP_NOWHERE) {
        bool again = !accepted && state->type != TF_AMQP_STATE_REJECTED;
        mine->seen[message] = again ? 2 : mine->seen[message];
        return;
    }
    if (track->holder != receiver || track->copy != TF_SIM_AMQP_HELD_COPY) {
        return; /* another one has it: this link is over for the broker */
    }
    track->taken |= accepted;
    if (!accepted) {
        give_back(oracle, receiver, track, state, note);
    } else if (mine->loose) {
        track->copy = TF_SIM_AMQP_FREE;
        track->doubtful = true;
    } else {
        track->copy = TF_SIM_AMQP_DONE;
        track->certain = false;
        track->touched = oracle->now;
    }
}

void tf_sim_amqp_settled(struct tf_sim_amqp_oracle *oracle, uint32_t receiver, uint32_t message)
{
    struct tf_sim_amqp_track *track = &oracle->tracks[message];
    if (track->holder == receiver && !oracle->receivers[receiver].loose &&
        track->copy != TF_SIM_AMQP_HELD_COPY && !track->recorded) {
        track->certain = track->recorded = true;
        track->touched = oracle->now;
        track->ended += track->copy == TF_SIM_AMQP_DONE;
    }
}
