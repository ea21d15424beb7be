/*
 * `trefoil bench coap`: load on a CoAP server of any make.
 *
 * Like the MQTT generator it has a client of its own over the codec, because only speed and the
 * accounts matter: requests are made once and patched, sent in batches, and nothing is sent again:
 * what does not come back is lost, and says so.
 */
#ifndef TF_CLI_BENCH_COAP_H
#define TF_CLI_BENCH_COAP_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/bench_histogram.h"

#include <trefoil/err.h>

#define TF_BENCH_COAP_WINDOW_MAX 128u

struct tf_bench_coap_config {
    const char *host; /* numeric or a name */
    uint16_t port;
    const char *path;    /* "a/b", the resource; of a broker it is put there first */
    bool non;            /* NON; else CON */
    bool bare;           /* the peer is tests/bench/echo.c */
    bool given;          /* the resource is there already: put nothing */
    bool json;           /* how to report */
    uint32_t sockets;    /* each a peer of its own */
    uint32_t window;     /* requests under way of each, sent as one train */
    uint32_t strangers;  /* peers that ask once, before: the server remembers them */
    uint32_t observers;  /* instead of requests: so many observe, and the value changes */
    uint32_t size;       /* of the representation */
    uint32_t seconds;    /* of measuring; 0: `requests` decides */
    uint64_t requests;   /* of measuring; changes of the value with `observers` */
    uint32_t warm_up_ms; /* before measuring; 0: the first datagrams count */
    uint32_t stall_ms;   /* without an answer, then the rest is lost */
    uint32_t server_pid; /* whose CPU time to take as well; 0: nobody's */
};

struct tf_bench_coap_result {
    char why[128]; /* after a failure */
    uint64_t sent, answered;
    uint64_t lost;     /* never answered */
    uint64_t wrong;    /* answers with another code than 2.05 */
    uint64_t aliens;   /* answers to nothing that was asked */
    uint64_t measured; /* answers, or notifications, in the measured span */
    double seconds;    /* of that span */
    double own_load;   /* share of a core that the generator took in it */
    double server_us;  /* CPU time of `server_pid` in it; below 0: not known */
    struct tf_bench_histogram latency_us;
};

/*
 * Runs what `config` says and fills *ret. On a failure the reason is in ret->why. TF_IO: the
 * network. TF_PROTOCOL: the peer refused. TF_LIMIT: more sockets than this system allows.
 * TF_NO_MEMORY. TF_UNSUPPORTED: no such pid.
 */
TF_MUST_USE enum tf_err tf_bench_coap_run(const struct tf_bench_coap_config *config,
                                          struct tf_bench_coap_result *ret);

/* The command. `argv[0]` is "coap". Gives the exit code, as tf_cli_bench does. */
int tf_cli_bench_coap(int argc, char **argv);

/* What its --help shows. Static. */
extern const char tf_cli_bench_coap_text[];

#endif
