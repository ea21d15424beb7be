/*
 * What the bench's clients have in common: see bench_client.h.
 */
#include "cli/bench_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

enum { FIRST_BUFFER = 512, LINE_MAX = 128 };

uint8_t *tf_bench_buffer_reserve(struct tf_bench_buffer *buffer, size_t length)
{
    if (buffer->end + length > buffer->size && buffer->start > 0) {
        memmove(buffer->data, buffer->data + buffer->start, buffer->end - buffer->start);
        buffer->end -= buffer->start;
        buffer->start = 0;
    }
    if (buffer->end + length > buffer->size) {
        size_t size = buffer->size ? buffer->size : FIRST_BUFFER;
        while (size < buffer->end + length)
            size *= 2;
        uint8_t *data = realloc(buffer->data, size);
        if (!data)
            return NULL;
        buffer->data = data;
        buffer->size = size;
    }
    return buffer->data + buffer->end;
}

void tf_bench_client_release(struct tf_bench_client *client)
{
    free(client->out.data);
    free(client->frame);
}

void tf_bench_stamp_write(uint8_t *at, uint32_t publisher, uint32_t number, tf_time sent)
{
    struct tf_writer writer = tf_writer_of(at, TF_BENCH_STAMP_SIZE);
    tf_write_u32(&writer, publisher);
    tf_write_u32(&writer, number);
    tf_write_u64(&writer, sent);
}

void tf_bench_arrived(struct tf_bench_world *world, const struct tf_bench_client *client,
                      struct tf_bytes payload, tf_time now)
{
    if (client->role != TF_BENCH_SUBSCRIBER || payload.length != world->config->size) {
        world->ledger.aliens++;
        return;
    }
    struct tf_reader reader = tf_reader_of(payload);
    uint32_t publisher = tf_read_u32(&reader);
    uint32_t number = tf_read_u32(&reader);
    tf_time sent = tf_read_u64(&reader);
    enum tf_bench_arrival arrival =
        tf_bench_ledger_arrive(&world->ledger, client->index, publisher, number);
    if (arrival == TF_BENCH_NEW || arrival == TF_BENCH_LATE) {
        if (world->latency_us)
            tf_bench_histogram_add(world->latency_us, now > sent ? now - sent : 0);
        world->arrived(world->context, publisher);
    }
}

void tf_bench_acknowledged(struct tf_bench_world *world, struct tf_bench_client *client,
                           tf_time now)
{
    /* With several under way nothing tells which one it was without a table. */
    if (client->unacked == 1 && world->ack_us)
        tf_bench_histogram_add(world->ack_us, now > client->sent ? now - client->sent : 0);
    client->unacked--;
}

uint32_t tf_bench_topic(const struct tf_bench_world *world, const struct tf_bench_client *client)
{
    uint32_t topics = world->config->topics;
    return topics ? client->index % topics : client->index;
}

enum tf_err tf_bench_bare_greet(struct tf_bench_world *world, struct tf_bench_client *client,
                                const char *reply)
{
    char *line = (char *)tf_bench_buffer_reserve(&client->out, LINE_MAX);
    if (!line)
        return TF_NO_MEMORY;
    unsigned topic = tf_bench_topic(world, client);
    int length = client->role == TF_BENCH_PUBLISHER
                     ? snprintf(line, LINE_MAX, "pub %u %zu%s%s\n", topic, client->frame_length,
                                *reply ? " " : "", reply)
                     : snprintf(line, LINE_MAX, "sub %u\n", topic);
    client->out.end += (size_t)length;
    return TF_OK;
}

enum tf_err tf_bench_bare_welcome(struct tf_bench_world *world, struct tf_bench_client *client,
                                  struct tf_bytes in, size_t *ret_used)
{
    static const char text[] = "ok\n";
    size_t length = sizeof text - 1;
    if (memcmp(in.data, text, TF_MIN(in.length, length)) != 0) {
        snprintf(world->why, sizeof world->why, "not the bare forwarder");
        return TF_PROTOCOL;
    }
    *ret_used = in.length < length ? 0 : length;
    if (*ret_used)
        client->state = TF_BENCH_READY;
    return TF_OK;
}
