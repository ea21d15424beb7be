/*
 * Traces made by hand for the oracle's own tests: what clients do, in short.
 *
 * Clients 0 and 1 are publisher and subscriber, 2 reads retained messages; every event comes a
 * millisecond after the one before it. Topics are given by their place: A, B and C below.
 */
#ifndef TF_SIM_ORACLE_TRACE_H
#define TF_SIM_ORACLE_TRACE_H

#include "sim/oracle.h"

enum { A = 0, B = 1, C = 2 }; /* tf_sim_topics: "a", "a/b", "a/b/c" */

struct trace {
    struct tf_sim_oracle *oracle;
    tf_time at;
};

static inline void see(struct trace *trace, struct tf_sim_event event)
{
    trace->at += TF_MILLISECOND;
    event.at = trace->at;
    tf_sim_oracle_see(trace->oracle, &event);
}

/* ---- what clients do, in short ---- */

static inline struct tf_sim_event connect_event(unsigned client, bool clean, uint32_t expiry_s)
{
    return (struct tf_sim_event){.kind = TF_SIM_CONNECT,
                                 .client = client,
                                 .message = TF_SIM_NONE,
                                 .version = TF_MQTT_5,
                                 .clean = clean,
                                 .expiry_s = expiry_s,
                                 .receive_maximum = 2,
                                 .max_packet = 1000};
}

static inline void connack(struct trace *trace, unsigned client, bool present)
{
    see(trace, (struct tf_sim_event){.kind = TF_SIM_CONNACK, .client = client, .present = present});
}

static inline void connect(struct trace *trace, unsigned client, bool clean, uint32_t expiry_s,
                           bool present)
{
    see(trace, connect_event(client, clean, expiry_s));
    connack(trace, client, present);
}

static inline void connect_with_will(struct trace *trace, uint32_t number, uint32_t delay_s)
{
    struct tf_sim_message will = {
        .number = number, .length = 9, .expiry_s = UINT32_MAX, .topic = A, .qos = 1, .will = true};
    struct tf_sim_event event = connect_event(0, true, 600);
    event.message = number;
    event.info = &will;
    event.will_delay_s = delay_s;
    see(trace, event);
    connack(trace, 0, false);
}

static inline void lose(struct trace *trace, unsigned client, bool graceful)
{
    see(trace, (struct tf_sim_event){
                   .kind = TF_SIM_LOST, .client = client, .told = true, .graceful = graceful});
}

static inline void subscribe_as(struct trace *trace, const char *filter, uint8_t qos, uint32_t id,
                                bool as_published)
{
    see(trace, (struct tf_sim_event){.kind = TF_SIM_SUBSCRIBE,
                                     .client = 1,
                                     .packet_id = 1,
                                     .filter = filter,
                                     .qos = qos,
                                     .id = id,
                                     .as_published = as_published});
    see(trace,
        (struct tf_sim_event){
            .kind = TF_SIM_SUBACK, .client = 1, .packet_id = 1, .filter = filter, .reason = qos});
}

static inline void subscribe(struct trace *trace, const char *filter, uint8_t qos)
{
    subscribe_as(trace, filter, qos, 0, false);
}

static inline void unsubscribe(struct trace *trace, const char *filter)
{
    see(trace, (struct tf_sim_event){
                   .kind = TF_SIM_UNSUBSCRIBE, .client = 1, .packet_id = 2, .filter = filter});
    see(trace, (struct tf_sim_event){
                   .kind = TF_SIM_UNSUBACK, .client = 1, .packet_id = 2, .filter = filter});
}

static inline void publish_full(struct trace *trace, struct tf_sim_message message)
{
    message.length = message.length ? message.length : 20;
    see(trace,
        (struct tf_sim_event){
            .kind = TF_SIM_PUBLISH, .client = 0, .message = message.number, .info = &message});
}

static inline void publish(struct trace *trace, uint32_t number, uint8_t topic, uint8_t qos,
                           bool retain)
{
    publish_full(trace, (struct tf_sim_message){.number = number,
                                                .topic = topic,
                                                .qos = qos,
                                                .retain = retain,
                                                .expiry_s = UINT32_MAX});
}

static inline void accept(struct trace *trace, uint32_t number)
{
    see(trace, (struct tf_sim_event){.kind = TF_SIM_ACCEPTED, .client = 0, .message = number});
}

/* Published and acknowledged. */
static inline void deposit(struct trace *trace, uint32_t number, uint8_t topic, uint8_t qos,
                           bool retain)
{
    publish(trace, number, topic, qos, retain);
    accept(trace, number);
}

static inline struct tf_sim_event delivery(uint32_t number, uint8_t topic, uint8_t qos)
{
    return (struct tf_sim_event){.kind = TF_SIM_RECEIVE,
                                 .client = 1,
                                 .message = number,
                                 .topic = topic,
                                 .qos = qos,
                                 .size = 40};
}

/* Received and settled. */
static inline void take(struct trace *trace, uint32_t number, uint8_t topic, uint8_t qos)
{
    see(trace, delivery(number, topic, qos));
    if (qos) {
        see(trace, (struct tf_sim_event){.kind = TF_SIM_SETTLE, .client = 1});
    }
}

static inline void start(struct trace *trace, const char *filter, uint8_t qos)
{
    connect(trace, 0, true, 600, false);
    connect(trace, 1, true, 600, false);
    subscribe(trace, filter, qos);
}

static inline void read_retained(struct trace *trace, uint32_t number)
{
    connect(trace, 2, true, 0, false);
    see(trace,
        (struct tf_sim_event){.kind = TF_SIM_SUBSCRIBE, .client = 2, .filter = "#", .qos = 2});
    see(trace,
        (struct tf_sim_event){.kind = TF_SIM_SUBACK, .client = 2, .filter = "#", .reason = 2});
    if (number != TF_SIM_NONE) {
        struct tf_sim_event event = delivery(number, A, 1);
        event.client = 2;
        event.retain = true;
        see(trace, event);
    }
}

static inline void read_all(struct trace *trace)
{
    see(trace, (struct tf_sim_event){.kind = TF_SIM_READ_ALL, .client = 2});
}

static inline void drain(struct trace *trace)
{
    trace->at += 60 * TF_SECOND;
    tf_sim_oracle_drained(trace->oracle, trace->at);
}

/* A trace, and what the oracle must say of it. */
struct trace_case {
    const char *name;
    void (*run)(struct trace *trace);
    const char *why; /* part of what must be said; NULL: nothing */
};

/* Runs them and says which were not judged as they should; the number of those. */
unsigned tf_sim_traces_run(FILE *out, const struct trace_case *cases, size_t count);
/* Those of crashes, and of what is sent again (oracle_crash_test.c). */
unsigned tf_sim_crash_self_test(FILE *out);

#endif
