/*
 * trefoil-sim: runs seeds and says which failed and how to repeat them. See
 * docs/internals/simulator.md.
 *
 *   trefoil-sim [--seed N | --seeds FIRST-LAST] [--seconds S] [--shards N] [--operations N]
 *               [--starve N] [--coap | --amqp] [--store] [--trace]
 *   trefoil-sim --self-test
 *   trefoil-sim --success
 */
#include "sim/amqp.h"
#include "sim/coap.h"

#include "port/clock.h"

#include <stdlib.h>
#include <string.h>

#define TWICE_EVERY 16u /* seeds: one of them is run again and must give the same trace */
#define FAILED_MOST 20u

static const char *const kind_names[TF_SIM_KINDS] = {
    [TF_SIM_CUT] = "connection cut",
    [TF_SIM_CUT_SHORT] = "bytes lost with a cut",
    [TF_SIM_HALF_OPEN] = "half-open connection",
    [TF_SIM_STALL_UP] = "stall towards the server",
    [TF_SIM_STALL_DOWN] = "stall towards the client",
    [TF_SIM_DELAY] = "slow network",
    [TF_SIM_SPLIT] = "bytes one by one",
    [TF_SIM_SHORT_WRITE] = "short write",
    [TF_SIM_MAIL_SPILLED] = "mailbox full",
    [TF_SIM_MAIL_LATE] = "mail late",
    [TF_SIM_SHARD_PAUSED] = "shard paused",
    [TF_SIM_MOVED] = "connection moved",
    [TF_SIM_TAKEN_OVER] = "session taken over",
    [TF_SIM_SLOW_READER] = "slow reader",
    [TF_SIM_ACK_LATE] = "late acknowledgement",
    [TF_SIM_SILENT] = "silent client",
    [TF_SIM_KEEP_ALIVE_ENDED] = "keep-alive time-out",
    [TF_SIM_TIME_JUMP] = "time jump",
    [TF_SIM_SESSION_RESUMED] = "session resumed",
    [TF_SIM_SESSION_EXPIRED] = "session expired",
    [TF_SIM_CLIENT_RESENT] = "resent by a client",
    [TF_SIM_SERVER_RESENT] = "resent by the server",
    [TF_SIM_WILL_SEEN] = "will received",
    [TF_SIM_WILL_CANCELLED] = "will cancelled",
    [TF_SIM_GOODBYE_WITH_WILL] = "goodbye with will",
    [TF_SIM_RETAINED_SEEN] = "retained message received",
    [TF_SIM_RETAINED_CLEARED] = "retained message cleared",
    [TF_SIM_EXPIRY_SEEN] = "message with expiry received",
    [TF_SIM_OVERLAP_SEEN] = "overlapping subscriptions merged",
    [TF_SIM_LARGE_BODY] = "large body",
    [TF_SIM_HUGE_BODY] = "body in runs",
    [TF_SIM_PIPELINED] = "packets behind CONNECT",
    [TF_SIM_CREDIT_SPENT] = "Receive Maximum reached",
    [TF_SIM_STARVED] = "allocation failed",
    [TF_SIM_CRASHED] = "crash",
    [TF_SIM_DISK_FAILED] = "call of the disk failed",
    [TF_SIM_TAIL] = "queue with a tail, at a turn",
    [TF_SIM_COAP_LOST] = "datagram lost",
    [TF_SIM_COAP_DOUBLED] = "datagram doubled",
    [TF_SIM_COAP_LATE] = "datagram late",
    [TF_SIM_COAP_NOBODY] = "datagram to a former path",
    [TF_SIM_COAP_STUCK] = "socket full",
    [TF_SIM_COAP_MOVED] = "client with another address",
    [TF_SIM_COAP_DARK] = "client cut off",
    [TF_SIM_COAP_TIMED_OUT] = "request timed out",
    [TF_SIM_COAP_BLOCKS] = "answer in blocks",
    [TF_SIM_COAP_BEGUN_ANEW] = "value changed between blocks",
    [TF_SIM_COAP_VALID_SEEN] = "2.03",
    [TF_SIM_COAP_RACE] = "race for one version",
    [TF_SIM_COAP_CONDITION_FAILED] = "4.12",
    [TF_SIM_COAP_NOTIFIED] = "notification",
    [TF_SIM_COAP_OBSERVED_GONE] = "observed value gone",
    [TF_SIM_COAP_FORMAT_CHANGED] = "observed value of another format",
    [TF_SIM_COAP_CANCELLED] = "observation cancelled",
    [TF_SIM_COAP_DRAINED_BUSY] = "end of the broker under load",
    [TF_SIM_AMQP_CUT] = "AMQP connection cut",
    [TF_SIM_AMQP_HALF_OPEN] = "AMQP connection half open",
    [TF_SIM_AMQP_SILENT] = "idle time-out",
    [TF_SIM_AMQP_SLOW] = "slow AMQP reader",
    [TF_SIM_AMQP_STALL] = "AMQP link stalled",
    [TF_SIM_AMQP_STOLEN] = "link stolen",
    [TF_SIM_AMQP_SESSION_ENDED] = "session ended",
    [TF_SIM_AMQP_DETACHED] = "link detached",
    [TF_SIM_AMQP_DELETED] = "link of a deleted queue",
    [TF_SIM_AMQP_MANAGED] = "request to $management",
    [TF_SIM_AMQP_FRAMES] = "frame of a longer delivery",
    [TF_SIM_AMQP_REFUSAL] = "message refused",
    [TF_SIM_AMQP_OUTCOMES] = "outcome other than accepted",
    [TF_SIM_AMQP_SECOND] = "settled after the receiver's answer",
    [TF_SIM_AMQP_AGAIN] = "delivery-count above zero",
    [TF_SIM_AMQP_LETTER] = "dead letter",
    [TF_SIM_AMQP_BROWSED] = "message browsed",
    [TF_SIM_AMQP_DRAINED] = "credit drained",
    [TF_SIM_AMQP_CREDIT_BACK] = "credit taken back",
    [TF_SIM_AMQP_ENDED_BUSY] = "end of the broker, links attached"};

struct command {
    struct tf_sim_options options;
    uint64_t first, last;
    uint64_t seconds; /* 0: no limit */
    bool range;
    bool self_test;
    bool success;
};

static int usage(void)
{
    fputs("usage: trefoil-sim [--seed N | --seeds FIRST-LAST] [--seconds S] [--shards 1..5]\n"
          "                   [--operations N] [--starve N] [--coap | --amqp] [--store] [--trace]\n"
          "       trefoil-sim --self-test | --success\n",
          stderr);
    return 2;
}

static bool number(const char *text, uint64_t *ret)
{
    char *end;
    if (!text || *text < '0' || *text > '9') {
        return false;
    }
    *ret = strtoull(text, &end, 10);
    return *end == 0;
}

static bool range(const char *text, struct command *command)
{
    char *end;
    if (!text || *text < '0' || *text > '9') {
        return false;
    }
    command->first = strtoull(text, &end, 10);
    command->range = true;
    return *end == '-' && number(end + 1, &command->last) && command->last >= command->first;
}

static bool read_command(int argc, char **argv, struct command *command)
{
    *command = (struct command){.first = 1, .last = 1};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        uint64_t n = 0;
        if (!strcmp(argv[i], "--trace")) {
            command->options.trace = true;
            continue;
        }
        if (!strcmp(argv[i], "--coap")) {
            command->options.coap = true;
            continue;
        }
        if (!strcmp(argv[i], "--amqp")) {
            command->options.amqp = true;
            continue;
        }
        if (!strcmp(argv[i], "--store")) {
            command->options.store = true;
            continue;
        }
        if (!strcmp(argv[i], "--self-test") || !strcmp(argv[i], "--success")) {
            command->self_test |= argv[i][3] == 'e';
            command->success |= argv[i][3] == 'u';
            continue;
        }
        i++;
        if (!strcmp(argv[i - 1], "--seeds")) {
            if (!range(value, command)) {
                return false;
            }
        } else if (!number(value, &n)) {
            return false;
        } else if (!strcmp(argv[i - 1], "--seed")) {
            command->first = command->last = n;
        } else if (!strcmp(argv[i - 1], "--seconds")) {
            command->seconds = n;
        } else if (!strcmp(argv[i - 1], "--shards") && n >= 1 && n <= TF_SIM_SHARDS) {
            command->options.shards = (unsigned)n;
        } else if (!strcmp(argv[i - 1], "--starve") && n >= 1 && n <= 1000000) {
            command->options.starve = (unsigned)n;
        } else if (!strcmp(argv[i - 1], "--operations") && n >= 1 && n <= 100000) {
            command->options.operations = (unsigned)n;
        } else {
            return false;
        }
    }
    return !command->options.coap || !command->options.amqp;
}

/* Runs one seed, now and then twice. */
static bool run_seed(struct tf_sim *sim, const struct command *command, uint64_t seed,
                     uint64_t *seen)
{
    struct tf_sim_options options = command->options;
    options.seed = seed;
    options.fill = 0xA5;
    bool passed = tf_sim_run(sim, &options, seen);
    uint64_t hash = sim->hash;
    if (passed && (seed % TWICE_EVERY == 0 || !command->range)) {
        options.fill = 0x5A; /* so that memory that was never written shows */
        options.trace = false;
        passed = tf_sim_run(sim, &options, seen);
        if (passed && sim->hash != hash) {
            snprintf(sim->failure, sizeof(sim->failure),
                     "the same seed gave two traces, %016llx and %016llx", (unsigned long long)hash,
                     (unsigned long long)sim->hash);
            passed = false;
        }
    }
    if (!passed) {
        printf("seed %llu failed %s\n  repeat it with: trefoil-sim --seed %llu --trace",
               seed + 0ull, sim->failure, seed + 0ull);
        if (options.shards) {
            printf(" --shards %u", options.shards);
        }
        if (options.coap) {
            printf(" --coap");
        }
        if (options.amqp) {
            printf(" --amqp");
        }
        if (options.store) {
            printf(" --store");
        }
        if (options.starve) {
            printf(" --starve %u", options.starve);
        }
        if (options.operations) {
            printf(" --operations %u", options.operations);
        }
        puts("");
    } else if (!command->range) {
        printf("seed %llu: %u shards, %llu steps, %u messages, trace %016llx\n", seed + 0ull,
               sim->shards, (unsigned long long)sim->steps, sim->message_count,
               (unsigned long long)hash);
    }
    fflush(stdout);
    return passed;
}

/* True if such runs are to see this kind of fault. */
static bool of_these_runs(const struct command *command, unsigned kind)
{
    if (kind == TF_SIM_DISK_FAILED && !command->options.starve) {
        return false;
    }
    if (kind == TF_SIM_CRASHED || kind == TF_SIM_DISK_FAILED) {
        return command->options.store;
    }
    if (kind == TF_SIM_TAIL) {
        return command->options.store && !command->options.coap;
    }
    if (command->options.coap) {
        return kind == TF_SIM_STARVED || (kind >= TF_SIM_MQTT_KINDS && kind < TF_SIM_COAP_KINDS);
    }
    if (command->options.amqp) {
        return kind == TF_SIM_STARVED || kind >= TF_SIM_COAP_KINDS;
    }
    return kind < TF_SIM_MQTT_KINDS;
}

/* Prints what has happened how often. True: something never has. */
static bool tell_kinds(const struct command *command, const uint64_t *seen)
{
    bool missing = false;
    for (unsigned i = 0; i < TF_SIM_KINDS; i++) {
        if (!of_these_runs(command, i)) {
            continue;
        }
        printf("  %-34s %llu\n", kind_names[i], (unsigned long long)seen[i]);
        missing |= seen[i] == 0 && (i != TF_SIM_STARVED || command->options.starve);
    }
    return missing;
}

int main(int argc, char **argv)
{
    struct command command;
    uint64_t seen[TF_SIM_KINDS] = {0};
    uint64_t passed = 0, failed = 0;
    if (!read_command(argc, argv, &command)) {
        return usage();
    }
    if (command.self_test) {
        unsigned wrong = tf_sim_self_test(stdout) + tf_sim_coap_self_test(stdout) +
                         tf_sim_amqp_self_test(stdout);
        return wrong ? 1 : 0;
    }
    struct tf_sim *sim = malloc(sizeof(*sim));
    tf_time end = command.seconds ? tf_clock_now() + command.seconds * TF_SECOND : TF_TIME_NEVER;
    if (!sim) {
        return 1;
    }
    if (command.success) {
        bool good = tf_sim_coap_success(sim, seen);
        free(sim);
        return good ? 0 : 1;
    }
    for (uint64_t seed = command.first; seed <= command.last && tf_clock_now() < end; seed++) {
        if (run_seed(sim, &command, seed, seen)) {
            passed++;
        } else if (++failed == FAILED_MOST) {
            puts("enough have failed");
            break;
        }
    }
    free(sim);
    bool missing = command.range && tell_kinds(&command, seen);
    if (missing) {
        puts("some kind of fault never happened");
    }
    printf("%llu passed, %llu failed\n", (unsigned long long)passed, (unsigned long long)failed);
    return failed || missing || !passed ? 1 : 0;
}
