/*
 * The oracle: sessions, subscriptions, publications and wills as clients know them, and what is
 * owed when all is drained. See oracle.h; deliveries are judged in oracle_receive.c.
 */
#include "sim/oracle.h"

#include "base/assert.h"

#include <stdlib.h>
#include <string.h>

struct tf_sim_oracle *tf_sim_oracle_new(void)
{
    struct tf_sim_oracle *oracle = calloc(1, sizeof(*oracle));
    tf_assert(oracle);
    for (unsigned i = 0; i < TF_SIM_CLIENTS; i++) {
        struct tf_sim_session *session = &oracle->sessions[i];
        session->may_lack = true;
        memset(session->values, 0xFF, sizeof(session->values));
    }
    return oracle;
}

void tf_sim_oracle_free(struct tf_sim_oracle *oracle)
{
    free(oracle);
}

void tf_sim_oracle_fail(struct tf_sim_oracle *oracle, const char *format, ...)
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

const char *tf_sim_oracle_failure(const struct tf_sim_oracle *oracle)
{
    return oracle->failed ? oracle->failure : NULL;
}

/* MQTT 5.0 4.7: level by level; `#` also matches the level above it; `$` is not matched by either.
 */
bool tf_sim_matches(const char *filter, const char *topic)
{
    if (topic[0] == '$' && (filter[0] == '#' || filter[0] == '+')) {
        return false;
    }
    for (;;) {
        if (filter[0] == '#') {
            return true;
        }
        if (filter[0] == '+') {
            filter++;
            topic += strcspn(topic, "/");
        } else {
            while (*filter && *filter != '/' && *filter == *topic) {
                filter++;
                topic++;
            }
        }
        if (*topic == 0) {
            return *filter == 0 || !strcmp(filter, "/#");
        }
        if (*topic != '/' || *filter != '/') {
            return false;
        }
        topic++;
        filter++;
    }
}

/* ---- sessions ---- */

static tf_time span(uint32_t seconds)
{
    return seconds == UINT32_MAX ? TF_TIME_NEVER : seconds * TF_SECOND;
}

static struct tf_sim_record *record_of(struct tf_sim_oracle *oracle,
                                       const struct tf_sim_message *info, unsigned publisher,
                                       tf_time at)
{
    tf_assert(info->number < TF_SIM_MESSAGES);
    struct tf_sim_record *record = &oracle->records[info->number];
    record->info = *info;
    record->known = true;
    record->publisher = publisher;
    record->publisher_lineage = oracle->sessions[publisher].lineage;
    record->first_sent = at;
    record->accepted = TF_TIME_NEVER;
    oracle->record_count = TF_MAX(oracle->record_count, info->number + 1);
    return record;
}

/* A new connection may keep a will from going out that waits for its delay (MQTT 5.0 3.1.3.2.2). */
static void hold_wills(struct tf_sim_oracle *oracle, unsigned client, tf_time at)
{
    for (uint32_t i = 0; i < oracle->record_count; i++) {
        struct tf_sim_record *record = &oracle->records[i];
        if (record->will == TF_SIM_WILL_DUE && record->publisher == client &&
            record->will_delay_s && at < record->will_deadline) {
            record->will = TF_SIM_WILL_MAY;
        }
    }
}

static void on_connect(struct tf_sim_oracle *oracle, const struct tf_sim_event *event)
{
    struct tf_sim_session *session = &oracle->sessions[event->client];
    hold_wills(oracle, event->client, event->at);
    session->connect = *event;
    session->connect_sent = event->at;
    session->connecting = true;
    session->connections++;
    session->unsettled = 0;
    session->goodbye = session->goodbye_with_will = false;
    session->least_max_packet = TF_MIN(session->least_max_packet, event->max_packet);
    if (event->info) {
        struct tf_sim_record *record = record_of(oracle, event->info, event->client, event->at);
        record->times_sent = 1;
        record->will = TF_SIM_WILL_ALIVE;
        record->will_delay_s = event->will_delay_s;
    }
}

/* Another session has begun: nothing of the former one's holds any more. */
static void new_lineage(struct tf_sim_session *session)
{
    unsigned kept = 0;
    session->lineage++;
    session->connections = 1;
    session->least_max_packet = session->connect.max_packet;
    memset(session->last, 0, sizeof(session->last));
    memset(session->values, 0xFF, sizeof(session->values));
    memset(session->value_counts, 0, sizeof(session->value_counts));
    for (unsigned i = 0; i < session->subscription_count; i++) {
        if (session->subscriptions[i].sent >= session->connect_sent) {
            session->subscriptions[kept++] = session->subscriptions[i];
        }
    }
    session->subscription_count = kept;
}

static void on_connack(struct tf_sim_oracle *oracle, const struct tf_sim_event *event)
{
    struct tf_sim_session *session = &oracle->sessions[event->client];
    const struct tf_sim_event *connect = &session->connect;
    if (!session->connecting) {
        tf_sim_oracle_fail(oracle, "client %u got CONNACK without CONNECT", event->client);
        return;
    }
    session->connecting = false;
    if (event->reason) {
        tf_sim_oracle_fail(oracle, "client %u was refused with 0x%02x", event->client,
                           event->reason);
        return;
    }
    bool must = !connect->clean && !session->may_lack && event->at < session->lacks_from;
    bool must_not =
        connect->clean || !session->may_exist || session->connect_sent > session->exists_to;
    if ((must && !event->present) || (must_not && event->present)) {
        tf_sim_oracle_fail(oracle, "client %u: session present is %d, which is not true",
                           event->client, event->present);
        return;
    }
    if (!event->present) {
        new_lineage(session);
    }
    session->online = true;
    session->connack_at = event->at;
    session->may_exist = true;
    session->may_lack = false;
    session->proof = session->connect_sent;
    session->expiry_least = session->expiry_most = connect->expiry_s;
}

/* What becomes of the will of a connection that has ended. */
static void end_will(struct tf_sim_oracle *oracle, const struct tf_sim_event *event,
                     tf_time noticed)
{
    struct tf_sim_session *session = &oracle->sessions[event->client];
    if (!session->connect.info) {
        return;
    }
    struct tf_sim_record *record = &oracle->records[session->connect.message];
    bool forgotten = event->crashed && session->expiry_least == 0;
    record->will_deadline = tf_time_add(noticed, record->will_delay_s * TF_SECOND);
    if (!session->online || forgotten) {
        record->will = TF_SIM_WILL_MAY;
    } else if (session->goodbye && !session->goodbye_with_will) {
        record->will = event->graceful ? TF_SIM_WILL_NEVER : TF_SIM_WILL_MAY;
        const unsigned client = event->client;
        for (unsigned i = 0; i < TF_SIM_CLIENTS && event->graceful; i++) {
            if (record->seen[i].first || record->seen[i].again) {
                tf_sim_oracle_fail(oracle, "client %u said goodbye and its will m%u went out",
                                   client, record->info.number);
            }
        }
    } else {
        record->will = TF_SIM_WILL_DUE;
    }
}

static void on_lost(struct tf_sim_oracle *oracle, const struct tf_sim_event *event)
{
    struct tf_sim_session *session = &oracle->sessions[event->client];
    const struct tf_sim_event *connect = &session->connect;
    tf_time noticed = tf_time_add(event->at, TF_SIM_NOTICE);
    if (!event->told) {
        noticed = connect->keep_alive_s
                      ? event->at + connect->keep_alive_s * 3 * TF_SECOND / 2 + TF_SIM_NOTICE
                      : TF_TIME_NEVER;
    }
    end_will(oracle, event, noticed);
    if (session->online) {
        session->lacks_from =
            session->expiry_least ? tf_time_add(session->proof, span(session->expiry_least)) : 0;
        session->exists_to = tf_time_add(noticed, span(session->expiry_most));
    } else { /* it may have been processed or not */
        session->lacks_from =
            connect->clean ? 0
                           : TF_MIN(session->may_exist ? session->lacks_from : 0,
                                    tf_time_add(session->connect_sent, span(connect->expiry_s)));
        session->exists_to = TF_MAX(session->may_exist ? session->exists_to : 0,
                                    tf_time_add(noticed, span(connect->expiry_s)));
        session->may_lack |= connect->clean || !session->may_exist || connect->expiry_s == 0;
        session->may_exist = true;
    }
    session->online = session->connecting = false;
}

/*
 * A will whose session is not kept, and that has perhaps not gone out yet, may go with the broker.
 * One that is kept goes out again, if that it went out, or that there was a goodbye, was not on
 * disk yet: nobody had been told so.
 */
static void on_crash(struct tf_sim_oracle *oracle, const struct tf_sim_event *event)
{
    for (uint32_t i = 0; i < oracle->record_count; i++) {
        struct tf_sim_record *record = &oracle->records[i];
        bool recent = record->known && record->will && record->will_deadline >= event->since;
        bool kept = oracle->sessions[record->publisher].expiry_least != 0;
        if (recent &&
            (record->will == TF_SIM_WILL_DUE ? !kept : record->will == TF_SIM_WILL_NEVER)) {
            record->will = TF_SIM_WILL_MAY;
        }
        record->times_sent += recent && record->will != TF_SIM_WILL_ALIVE;
    }
    /* of a session that was lost when nothing came to the disk any more the next broker knows only
     * that it is lost by now */
    for (unsigned i = 0; i < TF_SIM_CLIENTS; i++) {
        struct tf_sim_session *session = &oracle->sessions[i];
        if (session->exists_to != TF_TIME_NEVER && session->exists_to >= event->since) {
            session->exists_to = tf_time_add(session->exists_to, event->at - event->since);
        }
    }
}

static void on_disconnect(struct tf_sim_oracle *oracle, const struct tf_sim_event *event)
{
    struct tf_sim_session *session = &oracle->sessions[event->client];
    session->goodbye = true;
    session->goodbye_with_will = event->reason != 0;
    session->expiry_least = TF_MIN(session->expiry_least, event->expiry_s);
    session->expiry_most = TF_MAX(session->expiry_most, event->expiry_s);
}

/* ---- subscriptions ---- */

static void on_subscribe(struct tf_sim_oracle *oracle, const struct tf_sim_event *event)
{
    struct tf_sim_session *session = &oracle->sessions[event->client];
    tf_assert(session->subscription_count < TF_SIM_SUBSCRIPTIONS);
    for (unsigned i = 0; i < session->subscription_count; i++) {
        struct tf_sim_subscription *s = &session->subscriptions[i];
        if (!strcmp(s->filter, event->filter) && s->left == TF_TIME_NEVER) {
            s->left = event->at;
        }
    }
    session->subscriptions[session->subscription_count++] =
        (struct tf_sim_subscription){.filter = event->filter,
                                     .id = event->id,
                                     .packet_id = event->packet_id,
                                     .qos = event->qos,
                                     .handling = event->handling,
                                     .no_local = event->no_local,
                                     .as_published = event->as_published,
                                     .sent = event->at,
                                     .granted = TF_TIME_NEVER,
                                     .left = TF_TIME_NEVER,
                                     .gone = TF_TIME_NEVER};
}

static void on_suback(struct tf_sim_oracle *oracle, const struct tf_sim_event *event)
{
    struct tf_sim_session *session = &oracle->sessions[event->client];
    unsigned i = session->subscription_count;
    while (i--) {
        struct tf_sim_subscription *s = &session->subscriptions[i];
        if (s->packet_id == event->packet_id && !strcmp(s->filter, event->filter) &&
            s->granted == TF_TIME_NEVER) {
            break;
        }
    }
    if (i >= session->subscription_count) {
        tf_sim_oracle_fail(oracle, "client %u got SUBACK for %s, which it did not ask for",
                           event->client, event->filter);
        return;
    }
    struct tf_sim_subscription *granted = &session->subscriptions[i];
    if (event->reason != granted->qos) {
        tf_sim_oracle_fail(oracle, "client %u asked for %s at QoS %u and got 0x%02x", event->client,
                           event->filter, granted->qos, event->reason);
    }
    granted->granted = event->at;
    session->proof = TF_MAX(session->proof, granted->sent);
    while (i--) { /* what it replaces is over now */
        struct tf_sim_subscription *s = &session->subscriptions[i];
        if (!strcmp(s->filter, event->filter)) {
            s->gone = TF_MIN(s->gone, event->at);
        }
    }
}

static void on_unsubscribe(struct tf_sim_oracle *oracle, const struct tf_sim_event *event)
{
    struct tf_sim_session *session = &oracle->sessions[event->client];
    for (unsigned i = 0; i < session->subscription_count; i++) {
        struct tf_sim_subscription *s = &session->subscriptions[i];
        if (!strcmp(s->filter, event->filter)) {
            s->left = TF_MIN(s->left, event->at);
            s->unsubscribed = true;
        }
    }
}

static void on_unsuback(struct tf_sim_oracle *oracle, const struct tf_sim_event *event)
{
    struct tf_sim_session *session = &oracle->sessions[event->client];
    for (unsigned i = 0; i < session->subscription_count; i++) {
        struct tf_sim_subscription *s = &session->subscriptions[i];
        if (!strcmp(s->filter, event->filter) && s->unsubscribed) {
            s->gone = TF_MIN(s->gone, event->at);
        }
    }
}

/* ---- publications ---- */

static void on_publish(struct tf_sim_oracle *oracle, const struct tf_sim_event *event)
{
    struct tf_sim_record *record = &oracle->records[event->message];
    if (event->info) {
        record = record_of(oracle, event->info, event->client, event->at);
    }
    record->times_sent++;
}

static void on_accepted(struct tf_sim_oracle *oracle, const struct tf_sim_event *event)
{
    struct tf_sim_record *record = &oracle->records[event->message];
    if (event->reason >= 0x80) {
        tf_sim_oracle_fail(oracle, "m%u of client %u was refused with 0x%02x", event->message,
                           event->client, event->reason);
    }
    record->accepted = TF_MIN(record->accepted, event->at);
}

void tf_sim_oracle_see(struct tf_sim_oracle *oracle, const struct tf_sim_event *event)
{
    static void (*const handlers[])(struct tf_sim_oracle *, const struct tf_sim_event *) = {
        [TF_SIM_CONNECT] = on_connect,
        [TF_SIM_CONNACK] = on_connack,
        [TF_SIM_SUBSCRIBE] = on_subscribe,
        [TF_SIM_SUBACK] = on_suback,
        [TF_SIM_UNSUBSCRIBE] = on_unsubscribe,
        [TF_SIM_UNSUBACK] = on_unsuback,
        [TF_SIM_PUBLISH] = on_publish,
        [TF_SIM_ACCEPTED] = on_accepted,
        [TF_SIM_RECEIVE] = tf_sim_oracle_receive,
        [TF_SIM_DISCONNECT] = on_disconnect,
        [TF_SIM_LOST] = on_lost,
        [TF_SIM_READ_ALL] = tf_sim_oracle_read_all,
        [TF_SIM_CRASH] = on_crash};
    struct tf_sim_session *session = &oracle->sessions[event->client];
    if (event->kind == TF_SIM_SETTLE) {
        session->unsettled -= session->unsettled > 0;
    } else {
        handlers[event->kind](oracle, event);
    }
}

/* ---- what is owed ---- */

/* When a message was certainly taken over by the server; TF_TIME_NEVER: perhaps not at all. */
static tf_time taken(const struct tf_sim_record *record, tf_time now)
{
    bool due = record->will == TF_SIM_WILL_DUE &&
               (record->will_delay_s == 0 || record->will_deadline < now);
    return due ? now : record->accepted;
}

/* True if this subscription alone obliges the server to deliver. */
static bool obliges(unsigned client, const struct tf_sim_subscription *s,
                    const struct tf_sim_record *record, tf_time at)
{
    return s->granted <= record->first_sent && s->qos && !s->unsubscribed &&
           (s->left == TF_TIME_NEVER || s->left > at) &&
           !(s->no_local && record->publisher == client) &&
           tf_sim_matches(s->filter, tf_sim_topics[record->info.topic]);
}

static void check_owed(struct tf_sim_oracle *oracle, const struct tf_sim_record *record, tf_time at)
{
    for (unsigned client = 0; client < TF_SIM_CLIENTS; client++) {
        const struct tf_sim_session *session = &oracle->sessions[client];
        bool owed = false;
        if (!session->online || record->info.length + 300 > session->least_max_packet) {
            continue;
        }
        for (unsigned i = 0; i < session->subscription_count; i++) {
            owed |= obliges(client, &session->subscriptions[i], record, at);
        }
        bool came = record->seen[client].lineage == session->lineage &&
                    record->seen[client].first + record->seen[client].again > 0;
        if (owed && !came) {
            tf_sim_oracle_fail(oracle,
                               "m%u (QoS %u, %s%s) of client %u was accepted and never came "
                               "to client %u, which was subscribed",
                               record->info.number, record->info.qos,
                               tf_sim_topics[record->info.topic], record->will ? ", a will" : "",
                               record->publisher, client);
        }
    }
}

void tf_sim_oracle_drained(struct tf_sim_oracle *oracle, tf_time now)
{
    for (uint32_t i = 0; i < oracle->record_count; i++) {
        const struct tf_sim_record *record = &oracle->records[i];
        if (record->known && record->info.qos && record->info.length &&
            record->info.expiry_s == UINT32_MAX && taken(record, now) != TF_TIME_NEVER) {
            check_owed(oracle, record, taken(record, now));
        }
    }
}
