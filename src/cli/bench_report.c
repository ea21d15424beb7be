/*
 * What a bench run found, for people and for programs.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cli/bench.h"
#include "cli/bench_client.h"

static uint64_t lost(const struct tf_bench_result *result)
{
    return result->expected > result->arrived ? result->expected - result->arrived : 0;
}

static double rate(const struct tf_bench_result *result)
{
    return result->seconds > 0 ? (double)result->measured / result->seconds : 0;
}

/* CPU of the server for each delivered message. */
static double server_us_each(const struct tf_bench_result *result)
{
    return result->measured ? result->server_us / (double)result->measured : 0;
}

static void print_histogram(const char *name, const struct tf_bench_histogram *histogram)
{
    printf("\"%s\":{\"p50\":%" PRIu64 ",\"p90\":%" PRIu64 ",\"p99\":%" PRIu64 ",\"max\":%" PRIu64
           "}",
           name, tf_bench_histogram_at(histogram, 50), tf_bench_histogram_at(histogram, 90),
           tf_bench_histogram_at(histogram, 99), histogram->max);
}

static void report_json(const struct tf_bench_config *config, const struct tf_bench_result *result)
{
    printf("{\"protocol\":\"%s\",\"publishers\":%" PRIu32 ",\"subscribers\":%" PRIu32
           ",\"topics\":%" PRIu32 ",\"window\":%" PRIu32 ",\"rate\":%" PRIu32 ",\"size\":%" PRIu32
           ",\"qos\":%u,\"version\":%u,\"bare\":%s,",
           config->protocol->name, config->publishers, config->subscribers, config->topics,
           config->window, config->rate, config->size, config->qos, config->version,
           config->bare ? "true" : "false");
    printf("\"sent\":%" PRIu64 ",\"expected\":%" PRIu64 ",\"arrived\":%" PRIu64 ",\"lost\":%" PRIu64
           ",\"duplicates\":%" PRIu64 ",\"out_of_order\":%" PRIu64 ",\"foreign\":%" PRIu64
           ",\"refused\":%" PRIu64 ",\"stalled\":%s,\"behind\":%s,",
           result->sent, result->expected, result->arrived, lost(result), result->duplicates,
           result->late, result->aliens, result->refused, result->stalled ? "true" : "false",
           result->behind ? "true" : "false");
    printf("\"seconds\":%.6f,\"delivered\":%" PRIu64 ",\"delivered_per_second\":%.1f,",
           result->seconds, result->measured, rate(result));
    if (result->server_us >= 0)
        printf("\"server_cpu_us\":%.1f,\"server_cpu_us_per_message\":%.4f,", result->server_us,
               server_us_each(result));
    printf("\"generator_load\":%.3f,", result->own_load);
    print_histogram("latency_us", &result->latency_us);
    if (result->ack_us.total) {
        fputs(",", stdout);
        print_histogram("ack_us", &result->ack_us);
    }
    puts("}");
}

static void report_text(const struct tf_bench_config *config, const struct tf_bench_result *result)
{
    const struct tf_bench_histogram *latency = &result->latency_us;
    printf("%s, %" PRIu32 " to %" PRIu32 " over %" PRIu32 " topics, QoS %u, %" PRIu32 " bytes, ",
           config->protocol->name, config->publishers, config->subscribers, config->topics,
           config->qos, config->size);
    if (config->rate)
        printf("%" PRIu32 " a second\n", config->rate);
    else
        printf("window %" PRIu32 "\n", config->window);
    printf("delivered   %.0f a second (%" PRIu64 " in %.2f s)\n", rate(result), result->measured,
           result->seconds);
    printf("latency     p50 %" PRIu64 "  p90 %" PRIu64 "  p99 %" PRIu64 "  max %" PRIu64 " us\n",
           tf_bench_histogram_at(latency, 50), tf_bench_histogram_at(latency, 90),
           tf_bench_histogram_at(latency, 99), latency->max);
    if (result->ack_us.total)
        printf("acknowledged p50 %" PRIu64 "  p90 %" PRIu64 "  p99 %" PRIu64 "  max %" PRIu64
               " us, of a message alone\n",
               tf_bench_histogram_at(&result->ack_us, 50),
               tf_bench_histogram_at(&result->ack_us, 90),
               tf_bench_histogram_at(&result->ack_us, 99), result->ack_us.max);
    printf("lost        %" PRIu64 " of %" PRIu64 ", repeated %" PRIu64 ", out of order %" PRIu64
           ", foreign %" PRIu64 ", refused %" PRIu64 "\n",
           lost(result), result->expected, result->duplicates, result->late, result->aliens,
           result->refused);
    if (result->server_us >= 0)
        printf("server      %.3f us CPU a message\n", server_us_each(result));
    printf("generator   %.0f %% of a core\n", result->own_load * 100);
    if (result->behind)
        printf("the rate could not be kept: latencies count from when messages were due\n");
    if (result->stalled)
        printf("ended early: nothing arrived for %" PRIu32 " s\n", config->stall_s);
}

void tf_bench_report(const struct tf_bench_config *config, const struct tf_bench_result *result)
{
    if (config->json)
        report_json(config, result);
    else
        report_text(config, result);
}
