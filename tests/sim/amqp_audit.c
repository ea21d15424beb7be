/*
 * What the oracle of runs with AMQP says when all is calm: of topic receivers, and of the whole
 * run.
 */
#include "sim/amqp.h"

#include "route/table.h"

/* ---- topic receivers ---- */

void tf_sim_amqp_complete(struct tf_sim_amqp_oracle *oracle, uint32_t receiver)
{
    const struct tf_sim_amqp_receiver *mine = &oracle->receivers[receiver];
    if (mine->place != TF_SIM_AMQP_NOWHERE || mine->settled || !mine->live || mine->loose ||
        mine->since == TF_TIME_NEVER) {
        return;
    }
    for (uint32_t i = 0; i < TF_SIM_MESSAGES; i++) {
        const struct tf_sim_amqp_track *track = &oracle->tracks[i];
        if (track->sent && track->topic >= 0 && track->fate == TF_SIM_AMQP_ACCEPTED &&
            !track->expires && track->at > mine->since && !mine->seen[i] &&
            tf_filter_matches(tf_bytes_str(mine->filter),
                              tf_bytes_str(tf_sim_topics[track->topic]))) {
            tf_sim_amqp_wrong(oracle, "receiver %u of %s never got m%u", receiver, mine->filter, i);
        }
    }
}

/* ---- the whole ---- */

static bool purged(const struct tf_sim_amqp_oracle *oracle, unsigned place, tf_time since)
{
    return oracle->purged_at[place] >= since && oracle->purged_at[place] > 0;
}

/* True if a message may have gone without anybody having accepted it. */
static bool excused(const struct tf_sim_amqp_oracle *oracle, const struct tf_sim_amqp_track *track)
{
    bool mourned = tf_sim_amqp_nodes[track->place].mourned;
    bool any = track->doubtful || (track->extra && track->taken) || track->settled ||
               (track->expires && !mourned) || purged(oracle, track->place, track->at) ||
               oracle->lossy[track->place];
    if (mourned) {
        any |= purged(oracle, TF_SIM_AMQP_DEAD, track->at) || oracle->lossy[TF_SIM_AMQP_DEAD];
    }
    for (unsigned i = TF_SIM_AMQP_WORK; oracle->moved && i < TF_SIM_AMQP_PLACES; i++) {
        any |= purged(oracle, i, track->at) || oracle->lossy[i] || track->expires;
    }
    return any;
}

void tf_sim_amqp_audit(struct tf_sim_amqp_oracle *oracle)
{
    for (uint32_t i = 0; i < TF_SIM_MESSAGES && !oracle->failed; i++) {
        const struct tf_sim_amqp_track *track = &oracle->tracks[i];
        if (!track->sent || track->place >= TF_SIM_AMQP_PLACES) {
            continue;
        }
        if (track->copy == TF_SIM_AMQP_HELD_COPY) {
            tf_sim_amqp_wrong(oracle, "m%u is still with receiver %u", i, track->holder);
        } else if (track->copy == TF_SIM_AMQP_FREE &&
                   (track->deliveries || track->fate == TF_SIM_AMQP_ACCEPTED) &&
                   track->sender != TF_SIM_NONE && !excused(oracle, track)) {
            tf_sim_amqp_wrong(oracle, "m%u was accepted for %s, delivered %u times, and is lost", i,
                              tf_sim_amqp_nodes[track->place].name, track->deliveries);
        }
    }
}
