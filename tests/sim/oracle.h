/*
 * What the files of the oracle share: what it remembers of sessions, subscriptions and messages.
 *
 * Everything here follows from events of clients alone (struct tf_sim_event). Where clients cannot
 * know (was a CONNECT without an answer processed?) the oracle keeps bounds and judges only what
 * lies outside them.
 */
#ifndef TF_SIM_ORACLE_H
#define TF_SIM_ORACLE_H

#include "sim/sim.h"

#define TF_SIM_SUBSCRIPTIONS 512u /* of one session; older ones that have ended make room */
#define TF_SIM_TOPICS 16u

/* One SUBSCRIBE's filter, from when it was sent until nothing can come by it any more. */
struct tf_sim_subscription {
    const char *filter;
    uint32_t id;
    uint16_t packet_id;
    uint8_t qos, handling;
    bool no_local, as_published;
    bool unsubscribed;     /* else it was replaced by a newer one */
    tf_time sent, granted; /* TF_TIME_NEVER: no SUBACK */
    tf_time left;          /* UNSUBSCRIBE, or a newer SUBSCRIBE, was sent */
    tf_time gone;          /* and answered */
};

struct tf_sim_session {
    uint32_t lineage; /* counts sessions under this client id */
    bool online;      /* CONNACK was seen, and no end since */
    bool connecting;
    bool may_exist, may_lack;
    tf_time lacks_from, exists_to; /* bounds of its expiry while it is away */
    tf_time connect_sent, proof;   /* the server had the connection at `proof` */
    tf_time connack_at;
    struct tf_sim_event connect; /* the last */
    uint32_t expiry_least, expiry_most;
    unsigned connections; /* of this lineage */
    unsigned unsettled;   /* what credit is spent on */
    uint32_t least_max_packet;
    bool goodbye, goodbye_with_will;
    struct tf_sim_subscription subscriptions[TF_SIM_SUBSCRIPTIONS];
    unsigned subscription_count;
    uint32_t values[TF_SIM_TOPICS]; /* retained messages by topic, the last one */
    unsigned value_counts[TF_SIM_TOPICS];
    /* the last message of each publisher, topic, its QoS and the delivery's, plus one */
    uint32_t last[TF_SIM_CLIENTS][TF_SIM_TOPICS][3][3];
};

enum tf_sim_will {
    TF_SIM_WILL_NONE,
    TF_SIM_WILL_ALIVE,
    TF_SIM_WILL_MAY,
    TF_SIM_WILL_NEVER,
    TF_SIM_WILL_DUE
};

struct tf_sim_record {
    struct tf_sim_message info;
    bool known;
    uint8_t will; /* enum tf_sim_will */
    unsigned publisher;
    uint32_t publisher_lineage;
    unsigned times_sent;
    uint32_t will_delay_s;
    tf_time first_sent, accepted, will_deadline;
    struct {
        uint32_t lineage;
        uint16_t first, again; /* receipts without and with DUP */
    } seen[TF_SIM_CLIENTS];
};

struct tf_sim_oracle {
    struct tf_sim_session sessions[TF_SIM_CLIENTS];
    struct tf_sim_record records[TF_SIM_MESSAGES];
    uint32_t record_count;
    bool failed;
    char failure[400];
};

/* Notes what is wrong; the first stays. */
void tf_sim_oracle_fail(struct tf_sim_oracle *oracle, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The oracle's own matching of filters, in no way the broker's. */
bool tf_sim_matches(const char *filter, const char *topic);

/* A client got a PUBLISH. */
void tf_sim_oracle_receive(struct tf_sim_oracle *oracle, const struct tf_sim_event *event);

/* True if the subscription cannot apply to what its own session publishes. */
bool tf_sim_oracle_is_own(const struct tf_sim_oracle *oracle, unsigned client,
                          const struct tf_sim_record *record);

/* The reader has read all retained messages. */
void tf_sim_oracle_read_all(struct tf_sim_oracle *oracle, const struct tf_sim_event *event);

#endif
