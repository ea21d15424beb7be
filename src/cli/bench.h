/*
 * `trefoil bench`: what a run is told, and what it tells.
 *
 * The load generator drives a broker of any make over loopback or a network, on one core, from one
 * epoll loop. For MQTT it has a client of its own over the codec instead of the client machine,
 * because here only speed and the accounts matter: reads and writes are coalesced, frames are made
 * once and patched, and nothing survives a connection. AMQP's machine is as quick, and is used.
 */
#ifndef TF_CLI_BENCH_H
#define TF_CLI_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/bench_histogram.h"

#include <trefoil/err.h>

/* What a message carries of its own: publisher, number and time of sending. */
enum { TF_BENCH_STAMP_SIZE = 16, TF_BENCH_SIZE_MAX = 16 * 1024 * 1024 };

struct tf_bench_protocol; /* bench_client.h */

struct tf_bench_config {
    const struct tf_bench_protocol *protocol;
    const char *host; /* numeric or a name */
    uint16_t port;
    const char *address;  /* AMQP: what the addresses begin with */
    const char *user;     /* AMQP: with a password, for PLAIN; NULL: ANONYMOUS */
    const char *password; /* AMQP */
    uint8_t version;      /* enum tf_mqtt_version, 4 or 5 */
    uint8_t qos;          /* AMQP: 0 settled, 1 unsettled, 2 and the receiver settles second */
    bool bare;            /* the peer is tests/bench/forwarder.c and not a broker */
    bool durable;         /* what is sent is to outlive the broker: see bench.c's help */
    bool json;            /* how to report */
    uint32_t publishers;  /* 0 with `idle` */
    uint32_t subscribers; /* 0 with `idle` */
    uint32_t topics;      /* at most the smaller of both; 0: just that */
    uint32_t window;      /* of each publisher, closed loop; 0: open loop at `rate` */
    uint32_t backlog;     /* AMQP: messages that wait in each queue all the time; 0: none */
    uint32_t rate;        /* messages a second of all publishers together; 0: closed loop */
    uint32_t size;        /* of a payload, TF_BENCH_STAMP_SIZE or more */
    uint32_t seconds;     /* of measuring; 0: `messages` decides. idle: of staying, 0 for ever */
    uint64_t messages;    /* of measuring, all publishers together; 0: `seconds` decides */
    uint32_t warm_up_ms;  /* before measuring */
    uint32_t stall_s;     /* without an arrival, then the rest counts as lost */
    uint32_t idle;        /* connections that subscribe and do nothing more; 0: a run with load */
    uint32_t server_pid;  /* whose CPU time to take as well; 0: nobody's */
};

struct tf_bench_result {
    char why[96]; /* after a failure */
    uint64_t sent;
    uint64_t expected; /* arrivals */
    uint64_t arrived;
    uint64_t late; /* of those, after a younger one of the same publisher */
    uint64_t duplicates;
    uint64_t aliens;                      /* messages that nobody sent to whom they reached */
    uint64_t refused;                     /* answered with a failure, 5.0 */
    bool stalled;                         /* ended early because nothing arrived any more */
    bool behind;                          /* open loop: the rate could not be kept */
    uint64_t measured;                    /* arrivals in the measured span */
    double seconds;                       /* of that span */
    double own_load;                      /* share of a core that the generator itself took in it */
    double server_us;                     /* CPU time of `server_pid` in it; below 0: not known */
    struct tf_bench_histogram latency_us; /* of the measured arrivals */
    struct tf_bench_histogram ack_us;     /* of acknowledgements, where one was awaited at a time */
};

/*
 * Runs what `config` says and fills *ret. `ready` is called once, when all connections are there
 * and subscribed. On a failure the reason is in ret->why.
 * TF_IO: the network or the peer's end. TF_PROTOCOL: the peer refused or broke the protocol.
 * TF_LIMIT: more connections than this system allows. TF_NO_MEMORY. TF_UNSUPPORTED: no such pid.
 */
TF_MUST_USE enum tf_err tf_bench_run(const struct tf_bench_config *config,
                                     void (*ready)(const struct tf_bench_config *config),
                                     struct tf_bench_result *ret);

/* Prints a result to stdout, as text or as one line of JSON. */
void tf_bench_report(const struct tf_bench_config *config, const struct tf_bench_result *result);

/*
 * The command. `argv[0]` is "bench". Gives the exit code: 0, 1 internal, 2 usage, 3 network,
 * 5 refused by the peer, 6 when nothing arrived any more, 7 if messages were lost, repeated or
 * reordered where the QoS forbids it.
 */
int tf_cli_bench(int argc, char **argv);

/* What its --help shows. Static. */
extern const char tf_cli_bench_text[];

#endif
