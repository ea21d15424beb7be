/*
 * Fuzz target: the journal's files. The input is the beginning of a segment, or of a snapshot, laid
 * over one of a journal that was made for it; sums are put right where the first byte says so, so
 * that what is behind them is reached. Whatever the bytes are, a start ends, the invariants hold,
 * what is there can be walked, read, added to and closed, and no more memory is asked for at once
 * than a small multiple of what is in the files.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/util.h"
#include "store/journal.h"
#include "unit/store/sim_disk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

#define CHECK(condition) ((condition) ? (void)0 : fail(#condition, __LINE__))
#define INPUT_MAX 65536u
#define BLOCK_MAX (8u << 20) /* of memory */

/* Ends the run with what went wrong. */
static _Noreturn void fail(const char *what, int line)
{
    fprintf(stderr, "fuzz_journal.c:%d: %s\n", line, what);
    abort();
}

static void *heap_get(void *ctx, size_t size)
{
    (void)ctx;
    CHECK(size && size <= BLOCK_MAX);
    return malloc(size);
}

static void heap_put(void *ctx, void *memory, size_t size)
{
    (void)ctx;
    (void)size;
    free(memory);
}

static const struct tf_alloc heap = {.alloc = heap_get, .free = heap_put};

static enum tf_err start(struct sim_disk *sim, struct tf_journal **ret)
{
    struct tf_journal_config config = {.disk = &sim->disk,
                                       .alloc = &heap,
                                       .seed = 1,
                                       .segment_size = TF_JOURNAL_SEGMENT_MIN,
                                       .snapshot_interval = 1 << 20,
                                       .compact_percent = 50};
    struct tf_journal_report report;
    uint64_t holder;

    return tf_journal_open(&config, ret, &report, &holder);
}

/* Something of everything, so that the input finds what it can refer to. */
static void fill(struct tf_journal *journal)
{
    struct tf_bytes body = tf_bytes_str("a body of some length");

    for (uint64_t id = 1; id < 9; id++) {
        CHECK(!tf_journal_message(journal, id, &body, 1));
        CHECK(!tf_journal_entry(journal, id % 2, id, id, tf_bytes_str("at")));
        CHECK(!tf_journal_put(journal, 1, tf_bytes_of(&id, 1), body, &id, 1));
        CHECK(!tf_journal_commit(journal));
    }
}

static void put_u32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* Makes heads' and records' sums, file, place and number right, wherever a group seems to be. */
static void mend(uint8_t *file, size_t length, uint32_t number)
{
    uint32_t sequence = 0;

    if (length >= 512)
        put_u32(file + 44, tf_crc32c(0, file, 44));
    for (size_t at = 512; at + 56 <= length; at += 512) {
        uint8_t *head = file + at;
        uint32_t records = get_u32(head + 40);
        if (memcmp(head, "TFGR", 4))
            continue;
        put_u32(head + 4, number);
        memcpy(head + 8, file + 16, 8);
        put_u32(head + 16, 0);
        put_u32(head + 20, (uint32_t)at);
        put_u32(head + 24, 0);
        put_u32(head + 28, ++sequence);
        if (records > length - at - 56)
            put_u32(head + 40, records = (uint32_t)(length - at - 56) % (records | 1));
        put_u32(head + 48, tf_crc32c(0, head + 56, records));
        put_u32(head + 52, tf_crc32c(0, head, 52));
    }
}

/* The journal as it is, walked, used and closed. */
static void use(struct sim_disk *sim)
{
    struct tf_journal_cursor cursor = {{0}};
    struct tf_journal_place place;
    struct tf_journal_object object;
    struct tf_journal *journal;
    uint8_t body[4096];
    size_t length;

    if (start(sim, &journal))
        return;
    CHECK(tf_journal_check(journal));
    while (tf_journal_next_object(journal, &cursor, &object))
        for (size_t i = 0; i < object.messages; i++)
            (void)tf_journal_object_message(journal, &object, i);
    cursor = (struct tf_journal_cursor){{0}};
    while (tf_journal_next_entry(journal, &cursor, &place))
        if (!tf_journal_length(journal, place.message, &length) && length <= sizeof(body)) {
            enum tf_err damaged = tf_journal_read(journal, place.message, body, length);
            CHECK(!damaged || damaged == TF_PROTOCOL);
        }
    CHECK(!tf_journal_settle(journal, 1, 0, 4));
    CHECK(!tf_journal_put(journal, 9, tf_bytes_str("k"), tf_bytes_str("v"), NULL, 0));
    enum tf_err err = tf_journal_commit(journal);
    CHECK(!err || err == TF_LIMIT);
    for (int i = 0; i < 50 && tf_journal_work(journal); i++)
        ;
    CHECK(tf_journal_check(journal));
    tf_journal_close(journal);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    struct sim_disk sim;
    struct tf_journal *journal;
    const char *name;
    uint8_t *file;
    size_t there;

    if (!length || length > INPUT_MAX)
        return 0;
    sim_disk_init(&sim, 1);
    CHECK(!start(&sim, &journal));
    fill(journal);
    tf_journal_close(journal);
    name = data[0] & 1 ? "0000000001.index" : "0000000001.log";
    file = sim_disk_content(&sim, name, &there);
    CHECK(file);
    /* Behind the head: the first group, or all of the file. */
    length = TF_MIN(length - 1, there - 512);
    for (size_t i = 0; i < length; i++)
        file[512 + i] ^= data[1 + i];
    if (data[0] & 2)
        mend(file, there, 1);
    if (data[0] & 4)
        sim_disk_cut(&sim, name, (size_t)(data[0] >> 3) * 256);
    use(&sim);
    use(&sim);
    sim_disk_release(&sim);
    return 0;
}
