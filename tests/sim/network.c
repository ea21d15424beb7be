/*
 * The network: links of two pipes that delay, split, stall, lose and end.
 *
 * A pipe keeps the order of its bytes, as TCP does; what a fault may do is what TCP lets happen:
 * bytes come late, in pieces of any size, not at all with everything after them, or the writer is
 * told that the reader has gone. It knows no packet.
 */
#include "sim/sim.h"

#include "base/assert.h"

#include <stdlib.h>
#include <string.h>

struct tf_sim_chunk {
    struct tf_sim_chunk *next;
    tf_time arrives;
    size_t length, offset;
    uint8_t data[];
};

static void pipe_clear(struct tf_sim_pipe *pipe)
{
    while (pipe->first) {
        struct tf_sim_chunk *chunk = pipe->first;
        pipe->first = chunk->next;
        free(chunk);
    }
    pipe->last = NULL;
    pipe->queued = 0;
}

static void pipe_init(struct tf_sim *sim, struct tf_sim_pipe *pipe)
{
    memset(pipe, 0, sizeof(*pipe));
    pipe->window = 1u << tf_sim_draw(sim, 9, 18);
    pipe->pieces = 1500;
    pipe->delay_least = 10;
    pipe->delay_most = 200;
    pipe->end_at = TF_TIME_NEVER;
    if (sim->calm) {
        return;
    }
    if (tf_sim_chance(sim, 1, 3)) {
        pipe->delay_most = tf_sim_draw(sim, 1, 300) * TF_MILLISECOND;
        sim->seen[TF_SIM_DELAY]++;
    }
    if (tf_sim_chance(sim, 1, 4)) {
        pipe->piece = tf_sim_chance(sim, 1, 2) ? 1 : tf_sim_draw(sim, 2, 40);
        sim->seen[TF_SIM_SPLIT] += pipe->piece == 1;
    }
}

struct tf_sim_link *tf_sim_link_open(struct tf_sim *sim, struct tf_sim_client *client)
{
    struct tf_sim_link *link = calloc(1, sizeof(*link));
    tf_assert(link);
    pipe_init(sim, &link->up);
    pipe_init(sim, &link->down);
    link->client = client;
    link->number = ++sim->link_count;
    link->shard = (unsigned)tf_sim_draw(sim, 0, sim->shards - 1);
    tf_list_push_back(&sim->links, &link->node);
    return link;
}

void tf_sim_link_free(struct tf_sim *sim, struct tf_sim_link *link)
{
    (void)sim;
    pipe_clear(&link->up);
    pipe_clear(&link->down);
    tf_list_remove(&link->node);
    free(link);
}

void tf_sim_link_unused(struct tf_sim *sim, struct tf_sim_link *link)
{
    if (!link->client && !link->amqp && link->server_gone) {
        tf_sim_link_free(sim, link);
    }
}

size_t tf_sim_pipe_room(const struct tf_sim_pipe *pipe)
{
    return pipe->queued < pipe->window ? pipe->window - pipe->queued : 0;
}

bool tf_sim_pipe_writable(const struct tf_sim_pipe *pipe)
{
    return pipe->refused || tf_sim_pipe_room(pipe) >= pipe->window / 3;
}

bool tf_sim_pipe_write(struct tf_sim *sim, struct tf_sim_pipe *pipe, struct tf_bytes bytes,
                       size_t *ret_written)
{
    size_t length = TF_MIN(bytes.length, tf_sim_pipe_room(pipe));
    *ret_written = 0;
    if (pipe->refused) {
        return false;
    }
    if (length < bytes.length) {
        sim->seen[TF_SIM_SHORT_WRITE]++;
    }
    if (length == 0) {
        return true;
    }
    struct tf_sim_chunk *chunk = malloc(sizeof(*chunk) + length);
    tf_assert(chunk);
    tf_time arrives = sim->now + tf_sim_draw(sim, pipe->delay_least, pipe->delay_most);
    pipe->arrival = TF_MAX(pipe->arrival, arrives);
    *chunk = (struct tf_sim_chunk){.arrives = pipe->arrival, .length = length};
    memcpy(chunk->data, bytes.data, length);
    *(pipe->last ? &pipe->last->next : &pipe->first) = chunk;
    pipe->last = chunk;
    pipe->queued += length;
    *ret_written = length;
    return true;
}

tf_time tf_sim_pipe_next(const struct tf_sim_pipe *pipe)
{
    tf_time at = pipe->first ? pipe->first->arrives : pipe->end_at;
    if (pipe->hole || at == TF_TIME_NEVER) {
        return TF_TIME_NEVER;
    }
    return TF_MAX(at, pipe->stalled_until);
}

size_t tf_sim_pipe_read(struct tf_sim *sim, struct tf_sim_pipe *pipe, uint8_t *data, size_t size,
                        bool *ret_end)
{
    size_t done = 0;
    *ret_end = false;
    if (tf_sim_pipe_next(pipe) > sim->now) {
        return 0;
    }
    if (pipe->piece) {
        size = TF_MIN(size, pipe->piece);
        /* byte by byte through large bodies would tell no more and take for ever */
        pipe->piece = --pipe->pieces ? pipe->piece : 0;
    } else if (!sim->calm && tf_sim_chance(sim, 1, 4)) {
        size = TF_MIN(size, tf_sim_draw(sim, 1, 2000));
    }
    while (done < size && pipe->first && pipe->first->arrives <= sim->now) {
        struct tf_sim_chunk *chunk = pipe->first;
        size_t length = TF_MIN(size - done, chunk->length - chunk->offset);
        memcpy(data + done, chunk->data + chunk->offset, length);
        done += length;
        chunk->offset += length;
        pipe->queued -= length;
        if (chunk->offset == chunk->length) {
            pipe->first = chunk->next;
            pipe->last = pipe->first ? pipe->last : NULL;
            free(chunk);
        }
    }
    *ret_end = !pipe->first && pipe->end_at <= sim->now;
    return done;
}

void tf_sim_pipe_end(struct tf_sim *sim, struct tf_sim_pipe *pipe)
{
    tf_time at = sim->now + tf_sim_draw(sim, pipe->delay_least, pipe->delay_most);
    if (pipe->end_at == TF_TIME_NEVER) {
        pipe->end_at = TF_MAX(pipe->arrival, at);
    }
}

void tf_sim_pipe_lose(struct tf_sim *sim, struct tf_sim_pipe *pipe)
{
    struct tf_sim_chunk *chunk = pipe->first;
    if (chunk && tf_sim_chance(sim, 1, 2)) { /* the first bytes come through, and no more */
        size_t left = (size_t)tf_sim_draw(sim, 1, chunk->length - chunk->offset);
        size_t lost = chunk->length - chunk->offset - left;
        struct tf_sim_pipe rest = {.first = chunk->next};
        sim->seen[TF_SIM_CUT_SHORT] += rest.first || lost;
        pipe_clear(&rest);
        chunk->length -= lost;
        chunk->next = NULL;
        pipe->last = chunk;
        pipe->queued = left;
    } else {
        sim->seen[TF_SIM_CUT_SHORT] += chunk != NULL;
        pipe_clear(pipe);
        pipe->arrival = sim->now;
    }
    tf_sim_pipe_end(sim, pipe);
}

void tf_sim_pipe_stall(struct tf_sim *sim, struct tf_sim_pipe *pipe, tf_time until)
{
    (void)sim;
    pipe->stalled_until = TF_MAX(pipe->stalled_until, until);
}
