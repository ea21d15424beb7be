/*
 * The trace and its hash, failures, and the allocator that is counted.
 *
 * The hash covers every line of the trace, printed or not. No line may hold an address.
 */
#include "sim/amqp.h"
#include "sim/coap.h"

#include "base/assert.h"

#include <stdlib.h>
#include <string.h>

#define HEAD 16u /* in front of a block: its size, at the distance that keeps it aligned */

static void hash_text(struct tf_sim *sim, const char *text)
{
    for (; *text; text++) {
        sim->hash = (sim->hash ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
    }
}

void tf_sim_trace(struct tf_sim *sim, const char *format, ...)
{
    char line[400];
    va_list arguments;
    int length = snprintf(line, sizeof(line), "%11llu ", (unsigned long long)sim->now);
    va_start(arguments, format);
    vsnprintf(line + length, sizeof(line) - (size_t)length, format, arguments);
    va_end(arguments);
    hash_text(sim, line);
    if (sim->options.trace) {
        puts(line);
    }
}

static void fail(struct tf_sim *sim, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

static void fail(struct tf_sim *sim, const char *format, va_list arguments)
{
    if (sim->failed) {
        return;
    }
    sim->failed = true;
    int length =
        snprintf(sim->failure, sizeof(sim->failure), "at %llu us: ", (unsigned long long)sim->now);
    vsnprintf(sim->failure + length, sizeof(sim->failure) - (size_t)length, format, arguments);
    tf_sim_trace(sim, "FAILED %s", sim->failure);
}

void tf_sim_fail(struct tf_sim *sim, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fail(sim, format, arguments);
    va_end(arguments);
}

void tf_sim_blame(struct tf_sim *sim, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (!sim->options.starve) {
        fail(sim, format, arguments);
    }
    va_end(arguments);
}

static const char *const kinds[] = {
    "",         "connect", "connack", "subscribe",  "suback", "unsubscribe", "unsuback", "publish",
    "accepted", "receive", "settle",  "disconnect", "lost",   "read-all",    "crash"};

void tf_sim_tell(struct tf_sim *sim, struct tf_sim_event *event)
{
    const struct tf_sim_event *e = event;
    event->at = sim->now;
    event->crashed = sim->crashing;
    tf_sim_trace(sim, "c%u %s m%d id%u %s t%u q%u r%u code%02x%s%s%s%s%s%s%s exp%u size%u",
                 e->client, kinds[e->kind], (int)e->message, e->packet_id,
                 e->filter ? e->filter : "", e->topic, e->qos, e->retain, e->reason,
                 e->dup ? " dup" : "", e->repeat ? " repeat" : "", e->present ? " present" : "",
                 e->clean ? " clean" : "", e->told ? " told" : "", e->graceful ? " graceful" : "",
                 e->info && e->info->will ? " will" : "", e->expiry_s, e->size);
    if (sim->options.starve) {
        return; /* whatever may have been refused */
    }
    if (sim->coap) {
        tf_sim_coap_hear(sim, event);
        return;
    }
    if (sim->amqp) {
        tf_sim_amqp_hear(sim, event);
        return;
    }
    tf_sim_oracle_see(sim->oracle, event);
    const char *failure = tf_sim_oracle_failure(sim->oracle);
    if (failure) {
        tf_sim_fail(sim, "%s", failure);
    }
}

static void *memory_alloc(void *ctx, size_t size)
{
    struct tf_sim_memory *memory = ctx;
    if (memory->starving && tf_random_chance(&memory->random, 1, memory->sim->options.starve)) {
        memory->sim->seen[TF_SIM_STARVED]++;
        return NULL;
    }
    uint8_t *block = malloc(HEAD + size);
    tf_assert(block && size);
    memcpy(block, &size, sizeof(size));
    memset(block + HEAD, memory->fill, size);
    memory->blocks++;
    memory->bytes += size;
    return block + HEAD;
}

static void memory_free(void *ctx, void *pointer, size_t size)
{
    struct tf_sim_memory *memory = ctx;
    uint8_t *block = (uint8_t *)pointer - HEAD;
    size_t asked;
    memcpy(&asked, block, sizeof(asked));
    if (asked != size) {
        tf_sim_fail(memory->sim, "%zu bytes were allocated and are freed as %zu", asked, size);
    }
    memory->blocks--;
    memory->bytes -= asked;
    free(block);
}

void tf_sim_memory_init(struct tf_sim *sim)
{
    sim->memory = (struct tf_sim_memory){.alloc = {memory_alloc, memory_free, &sim->memory, NULL},
                                         .sim = sim,
                                         .fill = sim->options.fill};
    tf_random_init(&sim->memory.random, sim->options.seed + 2);
}
