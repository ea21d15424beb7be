/*
 * `trefoil store`, verb by verb, on stores that are made here: what is told of them, that nothing
 * is changed in them, that what is exported comes back to the last byte, and that what cannot be
 * imported leaves nothing behind.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/hash.h"
#include "base/random.h"
#include "cli/alloc.h"
#include "cli/base64.h"
#include "cli/body.h"
#include "cli/cli.h"
#include "cli/data_folder.h"
#include "cli/store.h"
#include "command_rig.h"
#include "port/folder.h"
#include "route/stored.h"

#define QUEUE_ID 77u
#define SESSION_ID UINT64_C(0xfedcba9876543210)
#define BODIES 6u

/* A folder of folders, and the names of two in it. */
struct fixture {
    char base[64], store[96], other[96], text[96];
    struct command_run run;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    strcpy(f->base, "/tmp/trefoil-store-XXXXXX");
    assert_non_null(mkdtemp(f->base));
    snprintf(f->store, sizeof(f->store), "%s/store", f->base);
    snprintf(f->other, sizeof(f->other), "%s/other/deep", f->base);
    snprintf(f->text, sizeof(f->text), "%s/text", f->base);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    snprintf(command, sizeof(command), "rm -r '%s'", f->base);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

/* Runs `trefoil store WORDS --data FOLDER`. */
static const struct command_run *store(struct fixture *f, const char *words, const char *folder)
{
    char line[512];
    snprintf(line, sizeof(line), "store %s --data %s", words, folder);
    command_run(&f->run, tf_cli_store, line, 0);
    return &f->run;
}

static void expect(struct fixture *f, const char *words, const char *folder, int code)
{
    const struct command_run *run = store(f, words, folder);
    if (run->code != code) {
        fail_msg("%s: %d instead of %d\n%s%s", words, run->code, code, run->output, run->errors);
    }
}

/* ---- a store ---- */

struct making {
    struct tf_disk_file file;
    struct tf_journal *journal;
};

static void making_begin(struct making *making, const char *folder)
{
    struct tf_journal_report report;
    uint64_t holder;
    assert_int_equal(tf_folder_make(folder), TF_OK);
    assert_int_equal(tf_disk_file_init(&making->file, folder), TF_OK);
    const struct tf_journal_config config = {.disk = &making->file.disk,
                                             .alloc = tf_cli_alloc(),
                                             .seed = 5,
                                             .segment_size = TF_JOURNAL_SEGMENT_MIN,
                                             .snapshot_interval = UINT64_C(1) << 20,
                                             .compact_percent = 50};
    assert_int_equal(tf_journal_open(&config, &making->journal, &report, &holder), TF_OK);
}

static void making_end(struct making *making)
{
    tf_journal_close(making->journal);
    tf_disk_file_release(&making->file);
}

static struct tf_bytes body_of(unsigned i)
{
    static const uint8_t odd[] = {0xff, 0, 1, '"', '\\', '\n'};
    static const char *const texts[] = {"", "plain", "{\"a\" : 1.00}", "z\xC3\xBC\x01", NULL, "x"};
    return texts[i] ? tf_bytes_str(texts[i]) : tf_bytes_of(odd, sizeof(odd));
}

/* A message as the broker writes one; its bytes last until the next. */
static struct tf_bytes message_of(uint8_t *buffer, unsigned i)
{
    const struct tf_envelope envelope = {.address = tf_bytes_str("a/b"),
                                         .content_type =
                                             i % 2 ? tf_bytes_str("text/plain") : tf_bytes_str(""),
                                         .expires = i == 3 ? 1000000 : TF_TIME_NEVER,
                                         .origin = TF_PROTOCOL_MQTT,
                                         .qos = 1};
    struct tf_writer writer = tf_writer_of(buffer, 512);
    tf_stored_head_write(&writer, &envelope, 1700000000000000);
    tf_write_bytes(&writer, body_of(i));
    assert_false(writer.failed);
    return tf_bytes_of(buffer, tf_writer_length(&writer));
}

static void put(struct making *making, uint8_t kind, struct tf_bytes key, struct tf_bytes value,
                uint64_t message)
{
    assert_int_equal(tf_journal_put(making->journal, kind, key, value, &message, message ? 1 : 0),
                     TF_OK);
}

static void put_objects(struct making *making)
{
    const struct tf_queue_spec spec = {.limits = {100, 1000, TF_OVERFLOW_REFUSE},
                                       .message_ttl = TF_TIME_NEVER,
                                       .idle = 5 * TF_SECOND,
                                       .dead_letter = tf_bytes_str("dead"),
                                       .durability = TF_STORE_DISK};
    const struct tf_binding_options options = {.subscription_id = 9, .qos = 2, .no_local = true};
    uint8_t buffer[1024], key[64], session[10] = {1, 2};
    struct tf_writer writer = tf_writer_of(buffer, sizeof(buffer));
    tf_write_u64(&writer, 3);
    put(making, 0, tf_bytes_str("run"), tf_bytes_of(buffer, 8), 0);
    writer = tf_writer_of(buffer, sizeof(buffer));
    tf_stored_queue_write(&writer, QUEUE_ID, &spec);
    put(making, TF_STORED_QUEUE, tf_bytes_str("orders"),
        tf_bytes_of(buffer, tf_writer_length(&writer)), 0);
    writer = tf_writer_of(key, sizeof(key));
    tf_write_u64(&writer, QUEUE_ID);
    tf_write_bytes(&writer, tf_bytes_str("a/#"));
    struct tf_writer value = tf_writer_of(buffer, sizeof(buffer));
    tf_stored_binding_write(&value, &options);
    put(making, TF_STORED_BINDING, tf_bytes_of(key, tf_writer_length(&writer)),
        tf_bytes_of(buffer, tf_writer_length(&value)), 0);
    value = tf_writer_of(session + 2, 8);
    tf_write_u64(&value, SESSION_ID);
    put(making, TF_STORED_SESSION, tf_bytes_str("c\xC3\xBC"), tf_bytes_of(session, 10), 2);
    writer = tf_writer_of(key, sizeof(key));
    tf_write_u64(&writer, SESSION_ID);
    tf_write_u16(&writer, 17);
    put(making, TF_STORED_RECEIVED, tf_bytes_of(key, 10), tf_bytes_str(""), 0);
}

/* One that is inside the object, one that it refers to. */
static void put_values(struct making *making)
{
    uint8_t buffer[1024], message[512];
    struct tf_writer writer = tf_writer_of(buffer, sizeof(buffer));
    tf_stored_value_write(&writer, 4, 4);
    put(making, TF_STORED_VALUE, tf_bytes_str("large"), tf_bytes_of(buffer, 17), 3);
    tf_write_bytes(&writer, message_of(message, 2));
    put(making, TF_STORED_VALUE, tf_bytes_str("small"),
        tf_bytes_of(buffer, tf_writer_length(&writer)), 0);
    put(making, 200, tf_bytes_of("\xfe", 1), tf_bytes_of("\0\1", 2), 0); /* of a later version */
}

/* What a broker could have left: all kinds, all sorts of bodies, several entries of a message. */
static void make_store(const char *folder, unsigned dead)
{
    struct making making;
    uint8_t buffers[BODIES][512], attributes[TF_JOURNAL_ATTRIBUTES_MAX];
    making_begin(&making, folder);
    for (unsigned i = 0; i < BODIES; i++) {
        struct tf_bytes bytes = message_of(buffers[i], i);
        assert_int_equal(tf_journal_message(making.journal, i + 1, &bytes, 1), TF_OK);
    }
    put_objects(&making);
    put_values(&making);
    for (unsigned i = 0; i < 2 * BODIES; i++) {
        const struct tf_stored_entry entry = {.charge = 100 + i, .qos = 1, .tag = i == 3 ? 9 : 0};
        const uint32_t id = 300;
        const struct tf_subscription_ids ids = {&id, i % 2};
        size_t length = tf_stored_entry_write(attributes, &entry, &ids);
        assert_int_equal(tf_journal_entry(making.journal, i < BODIES ? QUEUE_ID : SESSION_ID,
                                          100 + i * 3, i % BODIES + 1,
                                          tf_bytes_of(attributes, length)),
                         TF_OK);
    }
    assert_int_equal(tf_journal_commit(making.journal), TF_OK);
    for (uint64_t i = 0; i < dead; i++) {
        static const uint8_t much[60000];
        struct tf_bytes bytes = tf_bytes_of(much, sizeof(much));
        assert_int_equal(tf_journal_message(making.journal, 1000 + i, &bytes, 1), TF_OK);
        assert_int_equal(tf_journal_entry(making.journal, 5, i + 1, 1000 + i, tf_bytes_str("")),
                         TF_OK);
        assert_int_equal(tf_journal_commit(making.journal), TF_OK);
        assert_int_equal(tf_journal_settle(making.journal, 5, 1, i + 1), TF_OK);
        assert_int_equal(tf_journal_commit(making.journal), TF_OK);
    }
    making_end(&making);
}

/* ---- files ---- */

static char *read_file(const char *path, size_t *ret_length)
{
    FILE *in = fopen(path, "rb");
    assert_non_null(in);
    assert_int_equal(fseek(in, 0, SEEK_END), 0);
    long length = ftell(in);
    char *data = malloc((size_t)length + 1);
    assert_non_null(data);
    rewind(in);
    assert_int_equal(fread(data, 1, (size_t)length, in), length);
    data[length] = 0;
    assert_int_equal(fclose(in), 0);
    *ret_length = (size_t)length;
    return data;
}

struct digest {
    const char *folder;
    uint64_t sum;
    unsigned files;
    char segment[200]; /* the path of the first segment */
};

static enum tf_err add_file(void *ctx, const char *name)
{
    struct digest *digest = ctx;
    char path[160];
    size_t length;
    if (name[0] == '.') {
        return TF_OK;
    }
    snprintf(path, sizeof(path), "%s/%s", digest->folder, name);
    char *data = read_file(path, &length);
    struct tf_hash_key key = {tf_hash_home(tf_bytes_str(name)), 1};
    digest->sum += tf_hash(tf_bytes_of(data, length), &key);
    digest->files++;
    if (strstr(name, ".log") && (!digest->segment[0] || strcmp(path, digest->segment) < 0)) {
        strcpy(digest->segment, path);
    }
    free(data);
    return TF_OK;
}

static struct digest digest_of(const char *folder)
{
    struct digest digest = {.folder = folder};
    assert_int_equal(tf_folder_list(folder, add_file, &digest), TF_OK);
    return digest;
}

/* Changes a byte of a file where `text` is. */
static void damage(const char *path, const char *text)
{
    size_t length;
    char *data = read_file(path, &length);
    char *at = memmem(data, length, text, strlen(text));
    assert_non_null(at);
    *at ^= 1;
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(data, 1, length, out), length);
    assert_int_equal(fclose(out), 0);
    free(data);
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* ---- the tests ---- */

static void the_default_folder(void **state)
{
    char *path;
    (void)state;
    assert_int_equal(setenv("HOME", "/home/of", 1), 0);
    assert_int_equal(setenv("XDG_STATE_HOME", "relative", 1), 0);
    assert_int_equal(tf_cli_data_folder(NULL, &path), TF_OK);
    assert_string_equal(path, "/home/of/.local/state/trefoil");
    free(path);
    assert_int_equal(setenv("XDG_STATE_HOME", "/state", 1), 0);
    assert_int_equal(tf_cli_data_folder(NULL, &path), TF_OK);
    assert_string_equal(path, "/state/trefoil");
    free(path);
    assert_int_equal(tf_cli_data_folder("given", &path), TF_OK);
    assert_string_equal(path, "given");
    free(path);
    assert_int_equal(unsetenv("XDG_STATE_HOME"), 0);
    assert_int_equal(unsetenv("HOME"), 0);
    assert_int_equal(tf_cli_data_folder(NULL, &path), TF_NOT_FOUND);
}

static void base64(void **state)
{
    static const char *const bad[] = {"a",    "ab==c===", "====", "a===", "ab=c",
                                      "abc!", "YR==",     "YWJ=", "Y W="};
    uint8_t *data, bytes[64];
    size_t length;
    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(i * 89);
        json_t *text = tf_cli_body_base64(tf_bytes_of(bytes, i));
        assert_int_equal(
            tf_cli_base64_read(json_string_value(text), json_string_length(text), &data, &length),
            TF_OK);
        assert_int_equal(length, i);
        assert_memory_equal(data, bytes, i);
        free(data);
        json_decref(text);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(tf_cli_base64_read(bad[i], strlen(bad[i]), &data, &length), TF_PROTOCOL);
    }
}

static void arguments(void **state)
{
    struct fixture *f = *state;
    expect(f, "", f->store, TF_EXIT_USAGE);
    expect(f, "chekc", f->store, TF_EXIT_USAGE);
    expect(f, "check more", f->store, TF_EXIT_USAGE);
    expect(f, "backup", f->store, TF_EXIT_USAGE);
    expect(f, "check -f x", f->store, TF_EXIT_USAGE);
    expect(f, "export -n 3", f->store, TF_EXIT_USAGE);
    expect(f, "check -o xml", f->store, TF_EXIT_USAGE);
    expect(f, "check", f->store, TF_EXIT_USAGE); /* there is none */
    assert_non_null(strstr(f->run.errors, "there is no store in"));
    assert_false(exists(f->store));
    expect(f, "export", f->base, TF_EXIT_USAGE); /* a folder with something else */
}

static void check_and_stats(void **state)
{
    struct fixture *f = *state;
    make_store(f->store, 40);
    struct digest before = digest_of(f->store);
    expect(f, "check", f->store, TF_EXIT_DONE);
    assert_non_null(strstr(f->run.output, "8 objects, 6 messages, 12 entries"));
    assert_non_null(strstr(f->run.output, "\nclean\n"));
    expect(f, "check -o json", f->store, TF_EXIT_DONE);
    json_t *told = json_loads(f->run.output, 0, NULL);
    assert_true(json_is_false(json_object_get(told, "damaged")));
    assert_int_equal(json_integer_value(json_object_get(told, "groups")), 81);
    assert_int_equal(json_array_size(json_object_get(told, "findings")), 0);
    json_decref(told);
    expect(f, "stats -n 1", f->store, TF_EXIT_DONE);
    assert_non_null(strstr(f->run.output, "6 messages, 12 entries, 8 objects: run 1, queue 1, "));
    assert_non_null(strstr(f->run.output, "and 1 more\n"));
    expect(f, "stats -o json", f->store, TF_EXIT_DONE);
    told = json_loads(f->run.output, 0, NULL);
    const json_t *queues = json_object_get(told, "queues");
    assert_int_equal(json_array_size(queues), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(queues, 0), "name")),
                        "orders");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(queues, 0), "entries")), 6);
    assert_string_equal(json_string_value(json_object_get(json_array_get(queues, 1), "kind")),
                        "session");
    json_decref(told);
    struct digest after = digest_of(f->store);
    assert_true(before.sum == after.sum && before.files == after.files);
}

static void export_and_import(void **state)
{
    struct fixture *f = *state;
    char words[256], again[160];
    size_t length, length_again;
    make_store(f->store, 3);
    struct digest before = digest_of(f->store);
    snprintf(words, sizeof(words), "export -f %s", f->text);
    expect(f, words, f->store, TF_EXIT_DONE);
    struct digest after = digest_of(f->store);
    assert_true(before.sum == after.sum);
    snprintf(words, sizeof(words), "import -f %s", f->text);
    expect(f, words, f->other, TF_EXIT_DONE);
    snprintf(again, sizeof(again), "%s-again", f->text);
    snprintf(words, sizeof(words), "export -f %s", again);
    expect(f, words, f->other, TF_EXIT_DONE);
    char *first = read_file(f->text, &length), *second = read_file(again, &length_again);
    assert_string_equal(first, second);
    assert_non_null(strstr(first, "\"filter\":\"a/#\""));
    assert_non_null(strstr(first, "\"body\":\"{\\\"a\\\" : 1.00}\""));
    assert_non_null(strstr(first, "\"body_base64\":\"/wABIlwK\""));
    free(first);
    free(second);
    expect(f, "check", f->other, TF_EXIT_DONE);
    /* Not over one that has something; but over one that has nothing. */
    snprintf(words, sizeof(words), "import -f %s", f->text);
    expect(f, words, f->other, TF_EXIT_REFUSED);
    expect(f, "check", f->other, TF_EXIT_DONE);
    struct making making;
    snprintf(f->other, sizeof(f->other), "%s/empty", f->base);
    making_begin(&making, f->other);
    put(&making, 0, tf_bytes_str("run"), tf_bytes_str("12345678"), 0);
    assert_int_equal(tf_journal_commit(making.journal), TF_OK);
    making_end(&making);
    expect(f, words, f->other, TF_EXIT_DONE);
    expect(f, "check", f->other, TF_EXIT_DONE);
    assert_non_null(strstr(f->run.output, "8 objects, 6 messages, 12 entries"));
}

/* Lines that are no export, and what is said. */
static void bad_lines(void **state)
{
#define BEGIN "{\"type\":\"trefoil-store\",\"format\":1}\n"
#define MESSAGE "{\"type\":\"message\",\"id\":\"1\",\"data_base64\":\"AAAA\"}\n"
    static const struct {
        const char *text, *place;
    } lines[] = {
        {"", ":1:1:"},
        {"{\"type\":\"trefoil-store\",\"format\":2}\n", ":1:25:"},
        {MESSAGE, ":1:1:"},
        {BEGIN, ":2:1:"},
        {BEGIN "{\"type\":\"queue\",\n", ":2:"},
        {BEGIN "[]\n", ":2:1:"},
        {BEGIN "{\"type\":5}\n", ":2:2:"},
        {BEGIN "{\"type\":\"message\",\"id\":1}\n", ":2:19: id:"},
        {BEGIN "{\"type\":\"message\",\"id\":\"1x\"}\n", ":2:19: id:"},
        {BEGIN MESSAGE MESSAGE, ":3:19: id: there is such a message already"},
        {BEGIN "{\"type\":\"message\",\"id\":\"1\",\"head_base64\":\"!\"}\n",
         ":2:28: head_base64:"},
        {BEGIN "{\"type\":\"message\",\"id\":\"1\",\"head_base64\":\"\"}\n",
         ": body_base64: is missing"},
        {BEGIN "{\"type\":\"queue\",\"kind\":256}\n", ":2:17: kind:"},
        {BEGIN "{\"type\":\"queue\",\"kind\":1,\"key_base64\":\"\",\"value_base64\":\"\","
               "\"messages\":[\"7\"]}\n",
         ":2:60: messages:"},
        {BEGIN "{\"type\":\"entry\",\"queue\":\"1\",\"position\":\"1\",\"message\":\"1\","
               "\"attributes_base64\":\"\"}\n",
         ": message: stands nowhere before"},
        {BEGIN MESSAGE "{\"type\":\"entry\",\"queue\":\"1\",\"position\":\"5\",\"message\":\"1\","
                       "\"attributes_base64\":\"\"}\n"
                       "{\"type\":\"entry\",\"queue\":\"1\",\"position\":\"5\",\"message\":\"1\","
                       "\"attributes_base64\":\"\"}\n",
         ":4:29: position:"},
        {BEGIN "{\"type\":\"end\",\"objects\":0,\"entries\":0}\n{\"type\":\"entry\"}\n", ":3:1:"},
    };
    struct fixture *f = *state;
    char words[160], left[160];
    snprintf(words, sizeof(words), "import -f %s", f->text);
    snprintf(left, sizeof(left), "%s.import", f->store);
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        FILE *out = fopen(f->text, "w");
        assert_non_null(out);
        fputs(lines[i].text, out);
        assert_int_equal(fclose(out), 0);
        expect(f, words, f->store, TF_EXIT_USAGE);
        if (!strstr(f->run.errors, lines[i].place)) {
            fail_msg("line %zu: %s", i, f->run.errors);
        }
        assert_false(exists(f->store));
        assert_false(exists(left));
    }
}

/* An export with something changed anywhere: it is refused with a place, or it makes a store. */
static void mangled(void **state)
{
    struct fixture *f = *state;
    struct tf_random random;
    char words[160];
    size_t length;
    unsigned refused = 0;
    make_store(f->store, 0);
    snprintf(words, sizeof(words), "export -f %s", f->text);
    expect(f, words, f->store, TF_EXIT_DONE);
    char *text = read_file(f->text, &length);
    snprintf(words, sizeof(words), "import -f %s", f->text);
    tf_random_init(&random, 7);
    for (unsigned i = 0; i < 40; i++) {
        size_t at = (size_t)tf_random_below(&random, length);
        size_t cut = tf_random_chance(&random, 1, 4) ? at : length;
        char was = text[at];
        text[at] = tf_random_chance(&random, 1, 2) ? "\"{}[]0:,=\n"[tf_random_below(&random, 10)]
                                                   : (char)tf_random_below(&random, 256);
        FILE *out = fopen(f->text, "wb");
        assert_non_null(out);
        assert_int_equal(fwrite(text, 1, cut, out), cut);
        assert_int_equal(fclose(out), 0);
        text[at] = was;
        snprintf(f->other, sizeof(f->other), "%s/new%u", f->base, i);
        if (store(f, words, f->other)->code == TF_EXIT_USAGE) {
            refused++;
            assert_false(exists(f->other));
            assert_non_null(strstr(f->run.errors, f->text));
        } else {
            assert_int_equal(f->run.code, TF_EXIT_DONE);
            const struct command_run *run = store(f, "check", f->other);
            assert_true(run->code == TF_EXIT_DONE || strstr(run->output, "make no sense"));
        }
    }
    assert_true(refused > 8 && refused < 40);
    free(text);
}

static void one_that_is_held(void **state)
{
    struct fixture *f = *state;
    struct making making;
    char words[160], who[64];
    make_store(f->store, 0);
    making_begin(&making, f->store);
    snprintf(who, sizeof(who), "in use by process %ld:", (long)getpid());
    expect(f, "check", f->store, TF_EXIT_REFUSED);
    assert_non_null(strstr(f->run.errors, who));
    expect(f, "stats", f->store, TF_EXIT_REFUSED);
    expect(f, "export", f->store, TF_EXIT_REFUSED);
    snprintf(words, sizeof(words), "import -f %s", f->text);
    expect(f, words, f->store, TF_EXIT_REFUSED);
    /* But it can be copied. */
    snprintf(words, sizeof(words), "backup %s", f->other);
    expect(f, words, f->store, TF_EXIT_DONE);
    making_end(&making);
    expect(f, "check", f->other, TF_EXIT_DONE);
    expect(f, "check", f->store, TF_EXIT_DONE);
}

/* Two at once do not take away each other's files. */
static void two_at_once(void **state)
{
    struct fixture *f = *state;
    struct making making;
    char words[256], part[160];
    make_store(f->store, 0);
    snprintf(words, sizeof(words), "export -f %s", f->text);
    expect(f, words, f->store, TF_EXIT_DONE);
    snprintf(part, sizeof(part), "%s.import", f->other);
    making_begin(&making, part);
    snprintf(words, sizeof(words), "import -f %s", f->text);
    expect(f, words, f->other, TF_EXIT_REFUSED);
    making_end(&making);
    expect(f, "check", part, TF_EXIT_DONE);
    expect(f, words, f->other, TF_EXIT_DONE); /* what was left is replaced */
    assert_false(exists(part));
    snprintf(f->other, sizeof(f->other), "%s/copy", f->base);
    snprintf(part, sizeof(part), "%s.part", f->other);
    making_begin(&making, part);
    snprintf(words, sizeof(words), "backup %s", f->other);
    expect(f, words, f->store, TF_EXIT_REFUSED);
    making_end(&making);
    expect(f, words, f->store, TF_EXIT_DONE);
    assert_false(exists(part));
}

static void a_backup(void **state)
{
    struct fixture *f = *state;
    char words[256], left[160];
    size_t length, length_copy;
    make_store(f->store, 60);
    struct digest before = digest_of(f->store);
    snprintf(words, sizeof(words), "backup %s -o json", f->other);
    expect(f, words, f->store, TF_EXIT_DONE);
    json_t *told = json_loads(f->run.output, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(told, "entries")), 12);
    assert_int_equal(json_integer_value(json_object_get(told, "objects")), 8);
    json_decref(told);
    assert_true(before.sum == digest_of(f->store).sum);
    expect(f, words, f->store, TF_EXIT_REFUSED); /* it is there now */
    snprintf(left, sizeof(left), "%s.part", f->other);
    assert_false(exists(left));
    snprintf(words, sizeof(words), "export -f %s", f->text);
    expect(f, words, f->store, TF_EXIT_DONE);
    char *original = read_file(f->text, &length);
    expect(f, words, f->other, TF_EXIT_DONE);
    char *copy = read_file(f->text, &length_copy);
    assert_int_equal(length, length_copy);
    free(original);
    free(copy);
    snprintf(words, sizeof(words), "backup %s", f->text);
    expect(f, words, f->store, TF_EXIT_USAGE); /* a file */
    snprintf(words, sizeof(words), "backup %s/new", f->base);
    expect(f, words, f->base, TF_EXIT_USAGE); /* no store */
    snprintf(left, sizeof(left), "%s/new", f->base);
    assert_false(exists(left));
}

static void damage_is_told(void **state)
{
    struct fixture *f = *state;
    make_store(f->store, 3);
    struct digest before = digest_of(f->store);
    damage(before.segment, "orders"); /* the queue's name, in the records of a group */
    expect(f, "check", f->store, TF_EXIT_VERIFY);
    assert_non_null(strstr(f->run.output, "\ndamaged\n"));
    assert_non_null(strstr(f->run.output, "0000000001.log: 512 to "));
    assert_true(before.files == digest_of(f->store).files);
    damage(before.segment, "nrders"); /* as it was */
    expect(f, "check", f->store, TF_EXIT_DONE);
    assert_true(before.sum == digest_of(f->store).sum);
}

/* A body: found by check, left out by export. */
static void a_damaged_body(void **state)
{
    struct fixture *f = *state;
    char words[160];
    size_t length;
    make_store(f->store, 0);
    struct digest digest = digest_of(f->store);
    damage(digest.segment, "text/plainplain");
    expect(f, "check -o json", f->store, TF_EXIT_VERIFY);
    json_t *told = json_loads(f->run.output, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(told, "unreadable_messages")), 1);
    const json_t *finding = json_array_get(json_object_get(told, "findings"), 0);
    assert_string_equal(json_string_value(json_object_get(finding, "what")), "bodies");
    json_decref(told);
    snprintf(words, sizeof(words), "export -f %s", f->text);
    expect(f, words, f->store, TF_EXIT_VERIFY);
    char *text = read_file(f->text, &length);
    assert_null(strstr(text, "\"body\":\"plain\""));
    free(text);
    snprintf(words, sizeof(words), "import -f %s", f->text);
    expect(f, words, f->other, TF_EXIT_DONE);
    expect(f, "check", f->other, TF_EXIT_DONE);
    assert_non_null(strstr(f->run.output, "8 objects, 5 messages, 10 entries"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_default_folder),
        cmocka_unit_test(base64),
        cmocka_unit_test_setup_teardown(arguments, setup, teardown),
        cmocka_unit_test_setup_teardown(check_and_stats, setup, teardown),
        cmocka_unit_test_setup_teardown(export_and_import, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(mangled, setup, teardown),
        cmocka_unit_test_setup_teardown(one_that_is_held, setup, teardown),
        cmocka_unit_test_setup_teardown(two_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_backup, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_body, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
