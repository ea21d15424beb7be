/*
 * Fuzz target: what a start makes of a journal whose sums are right, whatever its records say. The
 * input is a script that writes objects, messages and entries, some as a broker would, some of raw
 * bytes; then shards with their fronts start from it, sessions are taken over, time passes until
 * everything has expired, and all of it starts once more from what that has left.
 *
 * No start may fail, but for a limit; of what was not understood nothing may be gone when it has
 * ended; and after each step the driver checks the invariants, and that no memory is left.
 */
#include <stdlib.h>

#include "unit/broker/front_driver.c"

#include "broker/amqp_front_internal.h"
#include "route/stored.h"
#include "unit/store/sim_disk.h"

#define STEPS_MAX 200u
#define RAW_MAX 300u
#define UNKNOWN 7u /* the first kind that nobody knows */

struct script {
    const uint8_t *next, *end;
};

struct writer {
    struct tf_journal *journal;
    uint64_t position, message; /* the last ones */
    uint8_t heads[STEPS_MAX][RAW_MAX + 600];
    unsigned head_count;
};

/* The next byte of the script; 0 at its end. */
static uint8_t take(struct script *script)
{
    return script->next < script->end ? *script->next++ : 0;
}

static struct tf_bytes take_raw(struct script *script)
{
    size_t length = take(script);
    length = TF_MIN(length, (size_t)(script->end - script->next));
    script->next += length;
    return tf_bytes_of(script->next - length, length);
}

static uint64_t take_number(struct script *script)
{
    uint64_t number = 0;
    uint8_t choice = take(script);
    if (choice < 250) {
        return 1 + choice % 4;
    }
    for (unsigned i = 0; i < 8; i++) {
        number = number << 8 | take(script);
    }
    return number;
}

/* ---- the front beside MQTT's ---- */

static void started_here(struct driver_node *node)
{
    node->transports = NULL;
}

static bool read_nothing(struct driver_node *node)
{
    (void)node;
    return false; /* streams are read by the driver itself */
}

static void nothing(struct driver_node *node)
{
    (void)node;
}

static const struct driver_beside amqp_beside = {.type = &tf_amqp_front_type,
                                                 .started = started_here,
                                                 .read = read_nothing,
                                                 .write = nothing,
                                                 .check = nothing,
                                                 .stop = nothing};

/* ---- records ---- */

static const char *const names[] = {"x", "y", "a/b", "a/+", "#", "$SYS/x", "q", ""};

static struct tf_bytes take_name(struct script *script)
{
    uint8_t choice = take(script);
    return choice & 128 ? take_raw(script) : tf_bytes_str(names[choice % TF_COUNT(names)]);
}

/* Flips what the script says in bytes that were as they should be. */
static void spoil(struct script *script, uint8_t *data, size_t *length)
{
    for (unsigned left = take(script) % 4; left; left--) {
        uint8_t at = take(script), with = take(script);
        if (at == 255) {
            *length = TF_MIN(*length, (size_t)with);
        } else if (*length) {
            data[at % *length] = with;
        }
    }
}

static struct tf_envelope take_envelope(struct script *script)
{
    uint8_t choice = take(script);
    return (struct tf_envelope){.address = take_name(script),
                                .expires =
                                    choice & 64 ? take_number(script) * TF_SECOND : TF_TIME_NEVER,
                                .origin = (enum tf_protocol)(choice % 3),
                                .qos = choice / 4 % 3,
                                .retain = choice & 16,
                                .durable = choice & 32,
                                .slack = choice & 128 ? 1 : 0};
}

/* A message's bytes in the writer's memory. */
static struct tf_bytes take_message(struct writer *writer, struct script *script)
{
    uint8_t *to = writer->heads[writer->head_count++];
    size_t length;
    if (take(script) % 8 == 0) {
        struct tf_bytes raw = take_raw(script);
        memcpy(to, raw.data, raw.length);
        length = raw.length;
    } else {
        struct tf_envelope envelope = take_envelope(script);
        struct tf_writer head = tf_writer_of(to, sizeof(writer->heads[0]));
        tf_stored_head_write(&head, &envelope, 0);
        tf_write_bytes(&head, take_raw(script));
        tf_assert(!head.failed);
        length = tf_writer_length(&head);
        spoil(script, to, &length);
    }
    return tf_bytes_of(to, length);
}

static void add_message(struct writer *writer, struct script *script)
{
    struct tf_bytes bytes = take_message(writer, script);
    enum tf_err err = tf_journal_message(writer->journal, ++writer->message, &bytes, 1);
    tf_assert(err == TF_OK);
    /* something has to refer to it in the same group: an entry, of any queue */
    struct tf_stored_entry stored = {.charge = take(script), .qos = take(script) % 3};
    uint8_t attributes[TF_JOURNAL_ATTRIBUTES_MAX];
    uint64_t queue = take_number(script), tag = take(script);
    stored.tag = (uint32_t)((tag & 3) << 16 | tag >> 2);
    size_t length = tf_stored_entry_write(attributes, &stored, &(struct tf_subscription_ids){0});
    spoil(script, attributes, &length);
    writer->position += 1 + (tag & 128 ? take_number(script) : 0);
    err = tf_journal_entry(writer->journal, queue, writer->position, writer->message,
                           tf_bytes_of(attributes, length));
    tf_assert(err == TF_OK || err == TF_MISUSE);
}

static void put(struct writer *writer, struct script *script, uint8_t kind, struct tf_bytes key,
                struct tf_bytes value)
{
    uint64_t refers = writer->message;
    bool with = writer->message && take(script) % 2;
    enum tf_err err =
        tf_journal_put(writer->journal, kind, key, value, with ? &refers : NULL, with);
    tf_assert(err == TF_OK || err == TF_NOT_FOUND);
}

static void add_raw(struct writer *writer, struct script *script)
{
    uint8_t kind = take(script) % 9, key[8 + RAW_MAX];
    struct tf_writer to = tf_writer_of(key, sizeof(key));
    if (kind == TF_STORED_BINDING || kind == TF_STORED_RECEIVED) {
        tf_write_u64(&to, take_number(script));
    }
    tf_write_bytes(&to, take_name(script));
    put(writer, script, kind, tf_bytes_of(key, tf_writer_length(&to)), take_raw(script));
}

static void add_session(struct writer *writer, struct script *script)
{
    uint8_t value[30];
    size_t length = sizeof(value);
    struct tf_writer to = tf_writer_of(value, sizeof(value));
    uint64_t id = take_number(script);
    tf_write_u8(&to, 1);
    tf_write_u8(&to, TF_STORE_DISK);
    tf_write_u64(&to, id);
    tf_write_u32(&to, take(script) * 10u);
    tf_write_u64(&to, take(script) ? DRIVER_WALL : 0);
    tf_write_u32(&to, take(script));
    tf_write_u32(&to, take(script) ? UINT32_MAX : 5);
    spoil(script, value, &length);
    put(writer, script, TF_STORED_SESSION, tf_bytes_str(id % 2 ? "x" : "y"),
        tf_bytes_of(value, length));
}

static void add_queue(struct writer *writer, struct script *script)
{
    uint8_t value[300];
    struct tf_writer to = tf_writer_of(value, sizeof(value));
    uint8_t choice = take(script);
    struct tf_queue_spec spec = {.limits = {.entries = 1 + choice % 8, .bytes = 100000},
                                 .message_ttl = choice & 16 ? TF_SECOND : TF_TIME_NEVER,
                                 .idle = choice & 32 ? TF_SECOND : TF_TIME_NEVER,
                                 .max_attempts = choice & 64 ? 1 : 0,
                                 .dead_letter = tf_bytes_str(choice & 128 ? "a/b" : ""),
                                 .durability = TF_STORE_DISK};
    tf_stored_queue_write(&to, take_number(script), &spec);
    tf_assert(!to.failed);
    size_t length = tf_writer_length(&to);
    spoil(script, value, &length);
    put(writer, script, TF_STORED_QUEUE, take_name(script), tf_bytes_of(value, length));
}

static void add_part(struct writer *writer, struct script *script)
{
    uint8_t key[8 + RAW_MAX], value[TF_STORED_BINDING_BYTES];
    struct tf_writer to = tf_writer_of(key, sizeof(key)), in = tf_writer_of(value, sizeof(value));
    struct tf_binding_options options = {.qos = take(script) % 3};
    size_t length = sizeof(value);
    tf_write_u64(&to, take_number(script));
    uint8_t choice = take(script);
    if (choice & 1) {
        tf_write_u16(&to, choice);
        put(writer, script, TF_STORED_RECEIVED, tf_bytes_of(key, tf_writer_length(&to)),
            tf_bytes_of("\1", 1));
        return;
    }
    tf_write_bytes(&to, take_name(script));
    tf_stored_binding_write(&in, &options);
    spoil(script, value, &length);
    put(writer, script, TF_STORED_BINDING, tf_bytes_of(key, tf_writer_length(&to)),
        tf_bytes_of(value, length));
}

static void add_value(struct writer *writer, struct script *script)
{
    uint8_t value[RAW_MAX + 700];
    struct tf_writer to = tf_writer_of(value, sizeof(value));
    uint64_t version = take_number(script);
    tf_stored_value_write(&to, version, take(script) ? version : take_number(script));
    struct tf_bytes message = take_message(writer, script);
    if (take(script) % 4) {
        tf_write_bytes(&to, message);
    }
    tf_assert(!to.failed);
    size_t length = tf_writer_length(&to);
    spoil(script, value, &length);
    put(writer, script, TF_STORED_VALUE, take_name(script), tf_bytes_of(value, length));
}

/* The number of the last run: what the store itself goes by. */
static void add_run(struct writer *writer, struct script *script)
{
    uint8_t value[9];
    size_t length = sizeof(value);
    struct tf_writer to = tf_writer_of(value, sizeof(value));
    tf_write_u8(&to, 1);
    tf_write_u64(&to, take_number(script));
    spoil(script, value, &length);
    put(writer, script, 0, tf_bytes_str("run"), tf_bytes_of(value, length));
}

static void step(struct writer *writer, struct script *script)
{
    switch (take(script) % 8) {
    case 0:
        add_raw(writer, script);
        break;
    case 1:
        add_session(writer, script);
        break;
    case 2:
        add_queue(writer, script);
        break;
    case 3:
        add_part(writer, script);
        break;
    case 4:
        add_value(writer, script);
        break;
    case 5:
        add_run(writer, script);
        break;
    default:
        add_message(writer, script);
    }
}

/* ---- the journal ---- */

static struct tf_journal *journal_open(struct driver *driver)
{
    struct tf_journal_config config = {.disk = driver->disk,
                                       .alloc = &driver->store_memory.alloc,
                                       .seed = 1,
                                       .segment_size = TF_JOURNAL_SEGMENT_MIN,
                                       .snapshot_interval = 1 << 20,
                                       .compact_percent = 50};
    struct tf_journal_report report;
    struct tf_journal *journal = NULL;
    uint64_t holder;
    enum tf_err err = tf_journal_open(&config, &journal, &report, &holder);
    tf_assert(err == TF_OK);
    return journal;
}

static void fill(struct driver *driver, struct script *script)
{
    static struct writer writer;
    writer = (struct writer){.journal = journal_open(driver)};
    for (unsigned i = 0; i < STEPS_MAX && script->next < script->end; i++) {
        step(&writer, script);
    }
    enum tf_err err = tf_journal_commit(writer.journal);
    tf_assert(err == TF_OK);
    tf_journal_close(writer.journal);
}

struct content {
    unsigned owners, sessions, parts, unknown;
    uint64_t entries;
};

/* What lives in a journal. */
static struct content look(struct tf_journal *journal)
{
    struct tf_journal_cursor cursor = {{0}};
    struct tf_journal_object object;
    struct tf_journal_place place;
    struct content content = {0};
    while (tf_journal_next_object(journal, &cursor, &object)) {
        content.owners += object.kind == TF_STORED_QUEUE || object.kind == TF_STORED_SESSION;
        content.sessions += object.kind == TF_STORED_SESSION;
        content.parts += object.kind == TF_STORED_BINDING || object.kind == TF_STORED_RECEIVED;
        content.unknown += object.kind >= UNKNOWN;
    }
    cursor = (struct tf_journal_cursor){{0}};
    while (tf_journal_next_entry(journal, &cursor, &place)) {
        content.entries++;
    }
    return content;
}

/* ---- a broker that uses it ---- */

static void use(struct driver *driver)
{
    static const char *const packets[] = {"\x10\x13\0\4MQTT\5\0\0\0\5\x11\0\0\0\x64\0\1x",
                                          "\x10\x13\0\4MQTT\5\0\0\0\5\x11\0\0\0\x64\0\1y",
                                          "\x10\x0e\0\4MQTT\5\2\0\0\0\0\1z"};
    struct driver_conn *conns[TF_COUNT(packets)];
    for (size_t i = 0; i < TF_COUNT(packets); i++) {
        conns[i] = driver_open(driver, (unsigned)i % driver->count);
        driver_feed(conns[i], packets[i], i == 2 ? 16 : 21);
    }
    driver_feed(conns[2], "\x82\x07\0\1\0\0\1#\2", 9);
    driver_feed(conns[0], "\x82\x07\0\1\0\0\1#\2", 9);
    driver_run(driver);
    driver_feed(conns[2], "\x34\x0a\0\3a/b\0\2\0hi", 12);
    driver_run(driver);
    driver_advance(driver, 2 * TF_SECOND);
    driver_cut(conns[0]);
    driver_cut(conns[1]);
    driver_advance(driver, 200 * TF_SECOND);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct driver driver;
    static struct sim_disk disk;
    struct script script = {data, data + size};
    uint8_t options = take(&script);
    sim_disk_init(&disk, 1);
    driver_init(&driver, 1 + options % DRIVER_SHARDS);
    driver.beside = &amqp_beside;
    driver_keep(&driver, &disk.disk);
    fill(&driver, &script);
    struct tf_journal *journal = journal_open(&driver);
    struct content before = look(journal);
    tf_journal_close(journal);
    driver_start(&driver);
    struct content after = look(tf_store_journal(driver.store));
    tf_assert(after.unknown == before.unknown && after.owners == before.owners);
    if (driver.restored.sessions < before.sessions) { /* what belongs to whom is not known */
        tf_assert(after.parts == before.parts && after.entries == before.entries);
    }
    use(&driver);
    driver_end(&driver);
    driver_start(&driver);
    use(&driver);
    driver_stop(&driver);
    sim_disk_release(&disk);
    return 0;
}
