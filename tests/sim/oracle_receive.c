/*
 * The oracle's judgement of one delivery, and of the retained messages at the end.
 */
#include "sim/oracle.h"

#include <string.h>

#define GRACE TF_SECOND /* by which a message may outlive its expiry on its way */

/* The subscriptions of a session that bear on one delivery. */
struct bearing {
    bool any, any_retained; /* may have brought it: live, or as a retained message */
    bool may_mark;          /* one of them may let the retain flag be set */
    bool must_mark;
    uint8_t qos_most;  /* of all that may */
    uint8_t qos_least; /* of those that must have matched */
    unsigned grants;   /* how often it may have come as a retained message */
};

bool tf_sim_oracle_is_own(const struct tf_sim_oracle *oracle, unsigned client,
                          const struct tf_sim_record *record)
{
    return record->publisher == client &&
           record->publisher_lineage == oracle->sessions[client].lineage;
}

/* True if the subscription has certainly been in force from the first sending of it until now. */
static bool sure(const struct tf_sim_subscription *s, const struct tf_sim_record *record,
                 unsigned client)
{
    return s->granted <= record->first_sent && s->left == TF_TIME_NEVER &&
           !(s->no_local && record->publisher == client);
}

/* True if it may have brought a message live. */
static bool may_live(const struct tf_sim_oracle *oracle, unsigned client,
                     const struct tf_sim_subscription *s, const struct tf_sim_record *record)
{
    return s->gone >= record->first_sent && record->accepted >= s->sent &&
           !(s->no_local && tf_sim_oracle_is_own(oracle, client, record));
}

/*
 * True if its options may be those of a message that came because it was retained: perhaps brought
 * by an older subscription with the same filter, which this one had replaced when it was delivered.
 */
static bool may_shape(const struct tf_sim_subscription *s, const struct tf_sim_record *record)
{
    return record->info.retain && record->info.length && s->gone >= record->first_sent;
}

/* True if it may have brought a message that was retained when it was made. */
static bool may_retained(const struct tf_sim_subscription *s, const struct tf_sim_record *record)
{
    return may_shape(s, record) && s->handling != 2;
}

static struct bearing weigh(const struct tf_sim_oracle *oracle, unsigned client,
                            const struct tf_sim_record *record)
{
    const struct tf_sim_session *session = &oracle->sessions[client];
    struct bearing sum = {0};
    for (unsigned i = 0; i < session->subscription_count; i++) {
        const struct tf_sim_subscription *s = &session->subscriptions[i];
        uint8_t qos = TF_MIN(s->qos, record->info.qos);
        if (!tf_sim_matches(s->filter, tf_sim_topics[record->info.topic])) {
            continue;
        }
        bool live = may_live(oracle, client, s, record), retained = may_retained(s, record);
        sum.any |= live;
        sum.any_retained |= retained;
        sum.grants += retained;
        sum.may_mark |= retained || (live && s->as_published);
        if (live || may_shape(s, record)) {
            sum.qos_most = TF_MAX(sum.qos_most, qos);
        }
        if (sure(s, record, client)) {
            sum.qos_least = TF_MAX(sum.qos_least, qos);
            sum.must_mark |= s->as_published;
        }
    }
    return sum;
}

/* Subscription identifiers: only of subscriptions that may have matched, and all of those that did.
 */
static void check_ids(struct tf_sim_oracle *oracle, const struct tf_sim_event *e,
                      const struct tf_sim_record *record, bool live)
{
    const struct tf_sim_session *session = &oracle->sessions[e->client];
    for (unsigned i = 0; i < e->id_count; i++) {
        bool found = false;
        for (unsigned j = 0; j < session->subscription_count && !found; j++) {
            const struct tf_sim_subscription *s = &session->subscriptions[j];
            found = s->id == e->ids[i] &&
                    tf_sim_matches(s->filter, tf_sim_topics[record->info.topic]) &&
                    (may_live(oracle, e->client, s, record) || may_shape(s, record));
        }
        if (!found) {
            tf_sim_oracle_fail(oracle,
                               "client %u got m%u with subscription identifier %u, which is "
                               "not of a subscription that matches",
                               e->client, e->message, e->ids[i]);
        }
    }
    for (unsigned j = 0; j < session->subscription_count && live; j++) {
        const struct tf_sim_subscription *s = &session->subscriptions[j];
        bool found = s->id == 0 || session->connect.version != TF_MQTT_5 ||
                     !tf_sim_matches(s->filter, tf_sim_topics[record->info.topic]) ||
                     !sure(s, record, e->client) || e->id_count == TF_COUNT(e->ids);
        for (unsigned i = 0; i < e->id_count; i++) {
            found |= e->ids[i] == s->id;
        }
        if (!found) {
            tf_sim_oracle_fail(oracle, "client %u got m%u without subscription identifier %u of %s",
                               e->client, e->message, s->id, s->filter);
        }
    }
}

/* How often it came: once for each time it was sent, and once more for each retained grant. */
static void check_count(struct tf_sim_oracle *oracle, const struct tf_sim_event *e,
                        struct tf_sim_record *record, unsigned grants)
{
    const struct tf_sim_session *session = &oracle->sessions[e->client];
    unsigned most = (record->info.qos == 2 ? 1 : record->times_sent) + grants;
    if (record->seen[e->client].lineage != session->lineage) {
        record->seen[e->client].lineage = session->lineage;
        record->seen[e->client].first = record->seen[e->client].again = 0;
    }
    if (e->dup && e->qos == 1) {
        record->seen[e->client].again++;
        return;
    }
    /* at QoS 2 a client knows a repetition by its id, so DUP or not it is another one */
    record->seen[e->client].first++;
    if (record->seen[e->client].first > most) {
        tf_sim_oracle_fail(oracle, "client %u got m%u (QoS %u, sent %u times) at QoS %u %u times",
                           e->client, e->message, record->info.qos, record->times_sent, e->qos,
                           record->seen[e->client].first);
    }
}

/* Order for each publisher, topic and QoS (MQTT 5.0 4.6), by what comes for the first time. */
static void check_order(struct tf_sim_oracle *oracle, const struct tf_sim_event *e,
                        const struct tf_sim_record *record, bool subscribed)
{
    struct tf_sim_session *session = &oracle->sessions[e->client];
    uint32_t *last =
        &session->last[record->publisher][record->info.topic][record->info.qos][e->qos];
    if (record->will || record->seen[e->client].first + record->seen[e->client].again != 1) {
        return;
    }
    /* what was sent again may come late to those who missed its first time: it was too large, it
     * came at QoS 0 then, or has expired since */
    bool bound =
        record->times_sent == 1 || (subscribed && record->info.expiry_s == UINT32_MAX &&
                                    record->info.length + 300 <= session->least_max_packet);
    if (e->message + 1 < *last && bound) {
        tf_sim_oracle_fail(oracle, "client %u got m%u after m%u: of one publisher, topic and QoS",
                           e->client, e->message, *last - 1);
    }
    *last = TF_MAX(*last, e->message + 1);
}

static void check_expiry(struct tf_sim_oracle *oracle, const struct tf_sim_event *e,
                         const struct tf_sim_record *record)
{
    const struct tf_sim_session *session = &oracle->sessions[e->client];
    bool has = record->info.expiry_s != UINT32_MAX;
    if (session->connect.version == TF_MQTT_5 &&
        (has != e->has_expiry || (has && e->expiry_s > record->info.expiry_s))) {
        tf_sim_oracle_fail(oracle, "client %u got m%u with a wrong message expiry, %u", e->client,
                           e->message, e->expiry_s);
    }
    if (has && !e->dup && record->accepted != TF_TIME_NEVER &&
        session->connect_sent > record->accepted + record->info.expiry_s * TF_SECOND + GRACE) {
        tf_sim_oracle_fail(oracle, "client %u got m%u, which had expired before it connected",
                           e->client, e->message);
    }
}

static void check_dup(struct tf_sim_oracle *oracle, const struct tf_sim_event *e,
                      tf_time first_sent)
{
    const struct tf_sim_session *session = &oracle->sessions[e->client];
    /* until CONNACK the server may have sent it to the connection before */
    if (e->dup && (session->connections < 2 || first_sent > session->connack_at)) {
        tf_sim_oracle_fail(oracle, "client %u got a PUBLISH marked DUP that cannot be one",
                           e->client);
    }
    if (e->repeat && !e->dup) {
        tf_sim_oracle_fail(oracle, "client %u got m%u again, not marked DUP", e->client,
                           e->message);
    }
}

/* A message without a body clears a retained one; such carry no number, so less can be said. */
static void receive_empty(struct tf_sim_oracle *oracle, const struct tf_sim_event *e)
{
    for (uint32_t i = 0; i < oracle->record_count; i++) {
        const struct tf_sim_record *record = &oracle->records[i];
        if (record->known && record->info.length == 0 && record->info.topic == e->topic &&
            record->info.qos >= e->qos) {
            struct bearing b = weigh(oracle, e->client, record);
            if (b.any && (!e->retain || b.may_mark) && b.qos_most >= e->qos) {
                return;
            }
        }
    }
    tf_sim_oracle_fail(oracle, "client %u got an empty message on %s that nobody sent it",
                       e->client, tf_sim_topics[e->topic]);
}

static void check_flags(struct tf_sim_oracle *oracle, const struct tf_sim_event *e,
                        const struct tf_sim_record *record, const struct bearing *b, bool live)
{
    if (e->qos > b->qos_most || e->qos > record->info.qos || (live && e->qos < b->qos_least)) {
        tf_sim_oracle_fail(oracle, "client %u got m%u (QoS %u) at QoS %u: %u to %u were granted",
                           e->client, e->message, record->info.qos, e->qos, b->qos_least,
                           b->qos_most);
    }
    if (e->retain ? !record->info.retain || !b->may_mark : record->info.retain && b->must_mark) {
        tf_sim_oracle_fail(oracle, "client %u got m%u with a wrong retain flag, %u", e->client,
                           e->message, e->retain);
    }
}

static void receive_known(struct tf_sim_oracle *oracle, const struct tf_sim_event *e,
                          struct tf_sim_record *record)
{
    struct tf_sim_session *session = &oracle->sessions[e->client];
    bool live = !(record->info.retain && e->retain);
    struct bearing b = weigh(oracle, e->client, record);
    check_dup(oracle, e, record->first_sent);
    if (e->repeat) {
        return;
    }
    if (!b.any && !(b.any_retained && e->retain)) {
        tf_sim_oracle_fail(oracle, "client %u got m%u on %s: no subscription of its brings that",
                           e->client, e->message, tf_sim_topics[e->topic]);
        return;
    }
    if (record->will == TF_SIM_WILL_NEVER) {
        tf_sim_oracle_fail(oracle, "client %u got the will m%u of client %u, which said goodbye",
                           e->client, e->message, record->publisher);
    }
    check_flags(oracle, e, record, &b, live);
    check_ids(oracle, e, record, live);
    check_count(oracle, e, record, b.grants);
    check_expiry(oracle, e, record);
    if (live) {
        check_order(oracle, e, record, b.qos_least > 0);
    } else {
        session->values[e->topic] = e->message;
        session->value_counts[e->topic]++;
    }
}

void tf_sim_oracle_receive(struct tf_sim_oracle *oracle, const struct tf_sim_event *e)
{
    struct tf_sim_session *session = &oracle->sessions[e->client];
    if (!session->online) {
        tf_sim_oracle_fail(oracle, "client %u got a PUBLISH before CONNACK", e->client);
        return;
    }
    if (e->size > session->connect.max_packet) {
        tf_sim_oracle_fail(oracle, "client %u got %u bytes, over its Maximum Packet Size %u",
                           e->client, e->size, session->connect.max_packet);
    }
    session->unsettled += e->qos > 0;
    if (e->qos && session->unsettled > session->connect.receive_maximum) {
        tf_sim_oracle_fail(oracle, "client %u got %u deliveries at once: its Receive Maximum is %u",
                           e->client, session->unsettled, session->connect.receive_maximum);
    }
    if (e->topic >= tf_sim_topic_count) {
        tf_sim_oracle_fail(oracle, "client %u got a topic that nobody published to", e->client);
    } else if (e->message == TF_SIM_NONE) {
        if (!e->repeat) {
            receive_empty(oracle, e);
        }
    } else if (e->message >= oracle->record_count || !oracle->records[e->message].known ||
               oracle->records[e->message].info.topic != e->topic ||
               oracle->records[e->message].info.length == 0) {
        tf_sim_oracle_fail(oracle, "client %u got m%u on %s, which nobody sent there", e->client,
                           e->message, tf_sim_topics[e->topic]);
    } else {
        receive_known(oracle, e, &oracle->records[e->message]);
    }
}

/* ---- retained messages at the end ---- */

/* True if `later` was written after `record` whatever the order in which the server did things. */
static bool supersedes(const struct tf_sim_record *later, const struct tf_sim_record *record)
{
    if (later == record || later->accepted == TF_TIME_NEVER) {
        return false;
    }
    if (record->accepted != TF_TIME_NEVER && later->first_sent > record->accepted) {
        return true;
    }
    /* one publisher's are in order, but QoS 1 that was sent again counts from its last arrival */
    bool ordered = record->times_sent == 1 || record->info.qos == 2 ||
                   (later->info.qos == 1 && later->times_sent > 1);
    return later->publisher == record->publisher && !record->will && ordered &&
           later->info.number > record->info.number;
}

static bool is_write(const struct tf_sim_record *record, unsigned topic)
{
    return record->known && record->info.retain && record->info.topic == topic &&
           record->will != TF_SIM_WILL_NEVER;
}

static bool superseded(const struct tf_sim_oracle *oracle, const struct tf_sim_record *record)
{
    for (uint32_t i = 0; i < oracle->record_count; i++) {
        if (is_write(&oracle->records[i], record->info.topic) &&
            supersedes(&oracle->records[i], record)) {
            return true;
        }
    }
    return false;
}

/* True if there may be no value: none was accepted, or the last one may be a clearing or expired.
 */
static bool may_be_none(const struct tf_sim_oracle *oracle, unsigned topic)
{
    bool accepted = false;
    for (uint32_t i = 0; i < oracle->record_count; i++) {
        const struct tf_sim_record *record = &oracle->records[i];
        if (!is_write(record, topic)) {
            continue;
        }
        accepted |= record->accepted != TF_TIME_NEVER;
        if ((record->info.length == 0 || record->info.expiry_s != UINT32_MAX) &&
            !superseded(oracle, record)) {
            return true;
        }
    }
    return !accepted;
}

void tf_sim_oracle_read_all(struct tf_sim_oracle *oracle, const struct tf_sim_event *event)
{
    const struct tf_sim_session *session = &oracle->sessions[event->client];
    for (unsigned topic = 0; topic < tf_sim_topic_count; topic++) {
        uint32_t value = session->values[topic];
        if (session->value_counts[topic] > 1) {
            tf_sim_oracle_fail(oracle, "%s has %u retained messages", tf_sim_topics[topic],
                               session->value_counts[topic]);
        } else if (value == TF_SIM_NONE && !may_be_none(oracle, topic)) {
            tf_sim_oracle_fail(oracle, "%s has no retained message: one was accepted last",
                               tf_sim_topics[topic]);
        } else if (value != TF_SIM_NONE && superseded(oracle, &oracle->records[value])) {
            tf_sim_oracle_fail(oracle,
                               "the retained message of %s is m%u: a later one was accepted",
                               tf_sim_topics[topic], value);
        }
    }
}
