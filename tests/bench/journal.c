/*
 * What the journal costs, beside the bare limit: the same bytes in as many groups, appended to
 * reserved files and synced, with no index and no sums.
 *
 *     bench-journal FOLDER [scale]
 *
 * FOLDER is made, must be new or a bench's, and should lie on the disk that is meant. Each message
 * has a body of 256 bytes, one entry, and is settled: by the group after its own, or when 100,000
 * newer ones are there (backlog). CPU is the program's own; bytes are all that was written to
 * files.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/util.h"
#include "port/crc32c.h"
#include "port/disk_file.h"
#include "store/journal.h"

#define BODY 256u
#define SEGMENT (UINT64_C(64) << 20)

#define CHECK(err) check((err), #err, __LINE__)

static void check(enum tf_err err, const char *what, int line)
{
    if (!err)
        return;
    fprintf(stderr, "journal.c:%d: %s: %s\n", line, what, tf_err_name(err));
    exit(1);
}

static void *heap_get(void *ctx, size_t size)
{
    (void)ctx;
    return malloc(size);
}

static void heap_put(void *ctx, void *memory, size_t size)
{
    (void)ctx;
    (void)size;
    free(memory);
}

static const struct tf_alloc heap = {.alloc = heap_get, .free = heap_put};

static double seconds(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

struct store {
    struct tf_disk_file disk;
    struct tf_journal *journal;
    struct tf_journal_report report;
    double start, start_cpu; /* seconds */
};

static void remove_each(void *ctx, const char *name)
{
    struct tf_disk *disk = ctx;
    (void)disk->ops->remove(disk, name);
}

static void store_open(struct store *store, const char *folder, bool fresh)
{
    struct tf_journal_config config = {.alloc = &heap,
                                       .seed = 42,
                                       .segment_size = SEGMENT,
                                       .snapshot_interval = UINT64_C(64) << 20,
                                       .crc32c = tf_crc32c_best(),
                                       .compact_percent = 50};
    uint64_t holder;

    CHECK(tf_disk_file_init(&store->disk, folder));
    if (fresh)
        CHECK(store->disk.disk.ops->list(&store->disk.disk, remove_each, &store->disk.disk));
    config.disk = &store->disk.disk;
    store->start = seconds(CLOCK_MONOTONIC);
    store->start_cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    CHECK(tf_journal_open(&config, &store->journal, &store->report, &holder));
    store->start = seconds(CLOCK_MONOTONIC) - store->start;
    store->start_cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - store->start_cpu;
}

static void store_close(struct store *store)
{
    tf_journal_close(store->journal);
    tf_disk_file_release(&store->disk);
}

/* The bare limit: `groups` of `size` bytes, in pieces like the journal's. */
static double bare(const char *folder, uint64_t groups, size_t size)
{
    char name[4096];
    struct iovec vectors[256];
    uint8_t *bytes = calloc(1, size);
    off_t at = 0;
    double start;
    int fd = -1, count = 0;

    if (!bytes)
        exit(1);
    start = seconds(CLOCK_MONOTONIC);
    for (uint64_t i = 0; i < groups; i++) {
        if (fd < 0 || (uint64_t)at + size > SEGMENT) {
            if (fd >= 0)
                close(fd);
            snprintf(name, sizeof(name), "%s/bare.%d", folder, count++ % 2);
            unlink(name);
            fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
            if (fd < 0 || posix_fallocate(fd, 0, (off_t)SEGMENT) || fsync(fd))
                exit(1);
            at = 0;
        }
        for (size_t done = 0; done < size;) {
            int n = 0;
            size_t from = done;
            for (; n < 256 && done < size; n++) {
                size_t part = TF_MIN(size - done, (size_t)BODY);
                vectors[n] = (struct iovec){bytes + done, part};
                done += part;
            }
            if (pwritev(fd, vectors, n, at + (off_t)from) != (ssize_t)(done - from))
                exit(1);
        }
        at += (off_t)size;
        if (fdatasync(fd))
            exit(1);
    }
    start = seconds(CLOCK_MONOTONIC) - start;
    close(fd);
    free(bytes);
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof(name), "%s/bare.%d", folder, i);
        unlink(name);
    }
    return start;
}

/* `count` messages to `queues` queues by turns, in groups; each settled when `lag` are newer. */
static void feed(struct tf_journal *journal, uint64_t from, uint64_t count, uint64_t group,
                 uint64_t queues, uint64_t lag)
{
    static const uint8_t body[BODY] = "a body";
    static const uint8_t attributes[8] = "attribs";
    struct tf_bytes piece = tf_bytes_of(body, BODY);

    for (uint64_t i = from; i < from + count; i++) {
        CHECK(tf_journal_message(journal, i, &piece, 1));
        CHECK(tf_journal_entry(journal, i % queues, i, i, tf_bytes_of(attributes, 8)));
        if (i > lag)
            CHECK(tf_journal_settle(journal, (i - lag) % queues, i - lag, i - lag));
        if (i % group == group - 1) {
            CHECK(tf_journal_commit(journal));
            (void)tf_journal_work(journal);
        }
    }
    CHECK(tf_journal_commit(journal));
}

static void measure(const char *folder, uint64_t group, uint64_t count, uint64_t queues,
                    uint64_t lag)
{
    struct store store;
    struct tf_journal_stats before, after;
    uint64_t bytes, per_group;
    double wall, cpu, limit;

    store_open(&store, folder, true);
    if (lag > group)
        feed(store.journal, 1, lag, 4096, queues, lag);
    tf_journal_stats(store.journal, &before);
    wall = seconds(CLOCK_MONOTONIC);
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    feed(store.journal, (lag > group ? lag : 0) + 1, count, group, queues, lag);
    wall = seconds(CLOCK_MONOTONIC) - wall;
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    tf_journal_stats(store.journal, &after);
    store_close(&store);
    per_group = (after.groups_bytes - before.groups_bytes) / (after.commits - before.commits);
    bytes = after.groups_bytes - before.groups_bytes + after.snapshot_bytes - before.snapshot_bytes;
    limit = bare(folder, count / group, per_group);
    printf("%6" PRIu64 " %7" PRIu64 " %8" PRIu64 " %10.0f %10.0f %6.2f %8.2f %8.0f %6" PRIu64
           " %6" PRIu64 "\n",
           group, queues, lag, (double)count / wall, (double)count / limit, limit / wall,
           cpu / (double)count * 1e6, (double)bytes / (double)count,
           (after.copied_bytes - before.copied_bytes) >> 20, after.file_bytes >> 20);
    fflush(stdout);
}

/* A start with a million messages in 1,000 queues and 100,000 objects. */
static void starts(const char *folder, uint64_t messages, uint64_t objects)
{
    struct store store;
    uint8_t value[200] = "a value";

    store_open(&store, folder, true);
    feed(store.journal, 1, messages, 256, 1000, UINT64_MAX);
    for (uint64_t i = 0; i < objects; i++) {
        char key[40];
        int length = snprintf(key, sizeof(key), "session/of/client-%" PRIu64, i);
        CHECK(tf_journal_put(store.journal, 1, tf_bytes_of(key, (size_t)length),
                             tf_bytes_of(value, sizeof(value)), NULL, 0));
        if (i % 256 == 255)
            CHECK(tf_journal_commit(store.journal));
    }
    CHECK(tf_journal_commit(store.journal));
    store_close(&store);
    for (int round = 0; round < 2; round++) {
        struct tf_journal_stats stats;
        store_open(&store, folder, false);
        tf_journal_stats(store.journal, &stats);
        printf("start %s: %.3f s (CPU %.3f), %" PRIu64 " messages, %" PRIu64 " entries, %" PRIu64
               " objects, index %" PRIu64 " MB, files %" PRIu64 " MB\n",
               store.report.from_snapshot ? "from a snapshot" : "from the whole log", store.start,
               store.start_cpu, store.report.messages, store.report.entries, store.report.objects,
               stats.index_bytes >> 20, stats.file_bytes >> 20);
        store_close(&store);
        if (!round) { /* away with the snapshot */
            char name[40];
            CHECK(tf_disk_file_init(&store.disk, folder));
            for (unsigned i = 1; i < 1000; i++) {
                snprintf(name, sizeof(name), "%010u.index", i);
                (void)store.disk.disk.ops->remove(&store.disk.disk, name);
            }
            tf_disk_file_release(&store.disk);
        }
    }
}

int main(int argc, char **argv)
{
    uint64_t scale = argc > 2 ? strtoull(argv[2], NULL, 10) : 10;

    if (argc < 2 || !scale) {
        fprintf(stderr, "usage: bench-journal FOLDER [scale]\n");
        return 2;
    }
    printf(" group  queues  backlog messages/s     bare/s  ratio   CPU us  bytes/m copied files\n");
    measure(argv[1], 1, 500 * scale, 1, 1);
    measure(argv[1], 16, 8000 * scale, 1, 16);
    measure(argv[1], 256, 51200 * scale, 1, 256);
    measure(argv[1], 4096, 102400 * scale, 1, 4096);
    measure(argv[1], 256, 51200 * scale, 1000, 256);
    measure(argv[1], 256, 51200 * scale, 1000, 100000);
    starts(argv[1], 100000 * scale, 10000 * scale);
    return 0;
}
