/*
 * How long the broker takes to be ready with what it has kept.
 *
 *     bench-start FOLDER TREFOIL [SHARDS [scale]]
 *
 * Makes a folder of the store as a broker leaves it, with scale * 100,000 messages of 256 bytes in
 * 1,000 named queues, and scale * 10,000 sessions with a subscription each, and as many retained
 * messages (scale 10 unless told otherwise); then runs `TREFOIL serve --data` on it until it says
 * `ready`, and kills it. What counts is the time from exec to `ready`, and CPU up to the kill:
 *
 *   empty      there is no folder yet
 *   clean      it was closed, so there is a snapshot
 *   killed     64 MiB of messages, published and settled, follow the last snapshot
 *   no index   there is no snapshot: all of the log is read
 *
 * FOLDER is made, must be new or a bench's, and should lie on the disk that is meant.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"
#include "port/crc32c.h"
#include "port/disk_file.h"
#include "route/stored.h"
#include "store/journal.h"

#define BODY 256u
#define QUEUES 1000u
#define GROUP 256u /* messages */
#define BEYOND (UINT64_C(64) << 20)
#define ROUNDS 3
#define RUN (UINT64_C(1) << 40) /* ids and positions of the first run are above it */

#define CHECK(err) check((err), #err, __LINE__)

static void check(enum tf_err err, const char *what, int line)
{
    if (err) {
        fprintf(stderr, "start.c:%d: %s: %s\n", line, what, tf_err_name(err));
        exit(1);
    }
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

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* ---- the folder ---- */

struct store {
    const char *folder;
    struct tf_disk_file disk;
    struct tf_journal *journal;
    uint64_t queues[QUEUES]; /* ids */
    uint64_t random, next;
};

static void remove_each(void *ctx, const char *name)
{
    struct tf_disk *disk = ctx;
    (void)disk->ops->remove(disk, name);
}

static void remove_index(void *ctx, const char *name)
{
    struct tf_disk *disk = ctx;
    if (strstr(name, ".index")) {
        (void)disk->ops->remove(disk, name);
    }
}

/* Removes files of the folder, while nobody has it open. */
static void sweep(const char *folder, void (*each)(void *ctx, const char *name))
{
    struct tf_disk_file disk;
    CHECK(tf_disk_file_init(&disk, folder));
    CHECK(disk.disk.ops->list(&disk.disk, each, &disk.disk));
    tf_disk_file_release(&disk);
}

static void store_open(struct store *store)
{
    struct tf_journal_config config = {.disk = &store->disk.disk,
                                       .alloc = &heap,
                                       .seed = 42,
                                       .segment_size = UINT64_C(64) << 20,
                                       .snapshot_interval = UINT64_C(64) << 20,
                                       .crc32c = tf_crc32c_best(),
                                       .compact_percent = 50};
    struct tf_journal_report report;
    uint64_t holder;
    CHECK(tf_disk_file_init(&store->disk, store->folder));
    CHECK(tf_journal_open(&config, &store->journal, &report, &holder));
}

static void group_end(struct store *store, uint64_t i)
{
    if (i % GROUP == GROUP - 1) {
        CHECK(i % (16 * GROUP) == 16 * GROUP - 1 ? tf_journal_commit(store->journal)
                                                 : tf_journal_write(store->journal));
        (void)tf_journal_work(store->journal);
    }
}

static void put(struct store *store, uint8_t kind, struct tf_bytes key,
                const struct tf_writer *value)
{
    CHECK(tf_journal_put(store->journal, kind, key,
                         tf_bytes_of(value->start, tf_writer_length(value)), NULL, 0));
}

/* A name of two parts with a number between them. */
static struct tf_bytes name(char buffer[64], const char *before, uint64_t number, const char *after)
{
    snprintf(buffer, 64, "%s%08" PRIu64 "%s", before, number, after);
    return tf_bytes_str(buffer);
}

static struct tf_envelope envelope(struct tf_bytes address)
{
    return (struct tf_envelope){.address = address,
                                .expires = TF_TIME_NEVER,
                                .origin = TF_PROTOCOL_MQTT,
                                .qos = 1,
                                .durable = true};
}

static void make_queue(struct store *store, unsigned i)
{
    static const struct tf_queue_spec spec = {
        .message_ttl = TF_TIME_NEVER, .idle = TF_TIME_NEVER, .durability = TF_STORE_DISK};
    uint8_t bytes[128];
    char text[64];
    struct tf_writer value = tf_writer_of(bytes, sizeof(bytes));
    store->queues[i] = tf_random_split(&store->random);
    tf_stored_queue_write(&value, store->queues[i], &spec);
    put(store, TF_STORED_QUEUE, name(text, "orders/region/", i, ""), &value);
}

/* A session that is away, as mqtt_front_store.c writes it, with a subscription. */
static void make_session(struct store *store, uint64_t i)
{
    static const struct tf_binding_options options = {.qos = 1};
    uint64_t queue = tf_random_split(&store->random);
    uint8_t bytes[128], key[128];
    char text[64];
    struct tf_writer value = tf_writer_of(bytes, sizeof(bytes));
    tf_write_u8(&value, 1);
    tf_write_u8(&value, TF_STORE_DISK);
    tf_write_u64(&value, queue);
    tf_write_u32(&value, UINT32_MAX);
    tf_write_u64(&value, (uint64_t)time(NULL) * 1000000);
    tf_write_u32(&value, 0);
    tf_write_u32(&value, UINT32_MAX);
    put(store, TF_STORED_SESSION, name(text, "device-", i, ""), &value);

    struct tf_writer at = tf_writer_of(key, sizeof(key));
    tf_write_u64(&at, queue);
    tf_write_bytes(&at, name(text, "devices/", i, "/commands"));
    value = tf_writer_of(bytes, sizeof(bytes));
    tf_stored_binding_write(&value, &options);
    put(store, TF_STORED_BINDING, tf_bytes_of(key, tf_writer_length(&at)), &value);
}

static void make_value(struct store *store, uint64_t i)
{
    uint8_t bytes[512], body[64] = "{\"temperature\": 21.5}";
    char text[64];
    struct tf_writer value = tf_writer_of(bytes, sizeof(bytes));
    struct tf_bytes address = name(text, "devices/", i, "/state");
    struct tf_envelope head = envelope(address);
    head.retain = true;
    tf_stored_value_write(&value, i + 1, i + 1);
    tf_stored_head_write(&value, &head, 0);
    tf_write_bytes(&value, tf_bytes_of(body, sizeof(body)));
    put(store, TF_STORED_VALUE, address, &value);
}

/* A message in one of the queues; `settle` of those before it are settled. */
static void make_message(struct store *store, uint64_t settle)
{
    static const uint8_t body[BODY] = "an order";
    uint8_t attributes[TF_JOURNAL_ATTRIBUTES_MAX], bytes[128];
    struct tf_stored_entry entry = {.charge = BODY + 400, .qos = 1};
    struct tf_writer writer = tf_writer_of(bytes, sizeof(bytes));
    uint64_t id = RUN + store->next;
    struct tf_envelope head = envelope(tf_bytes_str("orders/region"));
    size_t length = tf_stored_entry_write(attributes, &entry, NULL);
    tf_stored_head_write(&writer, &head, 0);
    struct tf_bytes pieces[2] = {tf_bytes_of(bytes, tf_writer_length(&writer)),
                                 tf_bytes_of(body, sizeof(body))};
    CHECK(tf_journal_message(store->journal, id, pieces, 2));
    CHECK(tf_journal_entry(store->journal, store->queues[store->next % QUEUES], id, id,
                           tf_bytes_of(attributes, length)));
    if (settle) {
        uint64_t old = id - settle;
        CHECK(tf_journal_settle(store->journal, store->queues[(old - RUN) % QUEUES], old, old));
    }
    store->next++;
}

static void make(struct store *store, uint64_t scale)
{
    uint8_t bytes[16];
    struct tf_writer value = tf_writer_of(bytes, sizeof(bytes));
    sweep(store->folder, remove_each);
    store_open(store);
    tf_write_u8(&value, 1);
    tf_write_u64(&value, 1);
    put(store, 0, tf_bytes_str("run"), &value); /* the store's own */
    for (unsigned i = 0; i < QUEUES; i++) {
        make_queue(store, i);
    }
    for (uint64_t i = 0; i < scale * 10000; i++) {
        make_session(store, i);
        make_value(store, i);
        group_end(store, i);
    }
    while (store->next < scale * 100000) {
        make_message(store, 0);
        group_end(store, store->next);
    }
    CHECK(tf_journal_commit(store->journal));
    tf_journal_close(store->journal);
    tf_disk_file_release(&store->disk);
}

/* As much log as there is between two snapshots, in a process that is killed. */
static void make_beyond(struct store *store, uint64_t scale)
{
    struct tf_journal_stats stats = {0};
    pid_t pid = fork();
    if (pid == 0) {
        store_open(store);
        while (stats.groups_bytes < BEYOND) {
            make_message(store, scale * 100000);
            group_end(store, store->next);
            tf_journal_stats(store->journal, &stats);
        }
        CHECK(tf_journal_commit(store->journal));
        _exit(0);
    }
    waitpid(pid, NULL, 0);
}

/* ---- starts ---- */

struct took {
    double wall, cpu;
};

static struct took start_once(const char *trefoil, const char *folder, const char *shards)
{
    struct took took = {0};
    struct rusage usage;
    char line[256];
    int ends[2], status;
    if (pipe(ends)) {
        exit(1);
    }
    sync(); /* else its first sync waits for all that the makers have written */
    took.wall = now();
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execl(trefoil, trefoil, "serve", "--data", folder, "--shards", shards, "--listen",
              "mqtt://127.0.0.1:0", (char *)NULL);
        perror(trefoil);
        _exit(127);
    }
    close(ends[1]);
    FILE *out = fdopen(ends[0], "r");
    bool ready = false;
    while (!ready && fgets(line, sizeof(line), out)) {
        ready = strcmp(line, "ready\n") == 0;
    }
    took.wall = now() - took.wall;
    kill(pid, SIGKILL);
    wait4(pid, &status, 0, &usage);
    fclose(out);
    if (!ready) {
        fprintf(stderr, "bench-start: %s did not become ready\n", trefoil);
        exit(1);
    }
    took.cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
               (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    return took;
}

/* The fastest of some rounds: what else the machine does only adds to it. */
static void measure(const char *what, char **argv, const char *shards)
{
    struct took best = {1e9, 1e9};
    for (int i = 0; i < ROUNDS; i++) {
        struct took took = start_once(argv[2], argv[1], shards);
        best.wall = took.wall < best.wall ? took.wall : best.wall;
        best.cpu = took.cpu < best.cpu ? took.cpu : best.cpu;
    }
    printf("%-10s %8.1f ms, %8.1f ms of CPU\n", what, best.wall * 1e3, best.cpu * 1e3);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    uint64_t scale = argc > 4 ? strtoull(argv[4], NULL, 10) : 10;
    const char *shards = argc > 3 ? argv[3] : "2";
    static struct store store;
    if (argc < 3 || !scale) {
        fprintf(stderr, "usage: bench-start FOLDER TREFOIL [SHARDS [scale]]\n");
        return 2;
    }
    store.folder = argv[1];
    store.random = 1;
    sweep(argv[1], remove_each);
    measure("empty", argv, shards);
    make(&store, scale);
    measure("clean", argv, shards);
    make_beyond(&store, scale);
    measure("killed", argv, shards);
    sweep(argv[1], remove_index);
    measure("no index", argv, shards);
    return 0;
}
