/*
 * Reading the value of one address, at home and from elsewhere.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/util.h"
#include "unit/route/route_rig.h"

struct fixture {
    struct rig rig;
    struct tf_read_owner owner;
    unsigned done;
    uint64_t tag;
    uint64_t version;
    char text[32];
    bool release; /* from within done */
    char name[32];
    struct tf_bytes address;
};

static void on_done(struct tf_read_owner *owner, uint64_t tag, const struct tf_value_view *value)
{
    struct fixture *f = tf_container_of(owner, struct fixture, owner);
    f->done++;
    f->tag = tag;
    f->version = value->version;
    if (f->release) {
        tf_read_owner_release(owner);
    }
    rig_text(value->message, f->text, sizeof(f->text));
}

static struct fixture *start(unsigned shards, size_t capacity, unsigned home)
{
    struct fixture *f = calloc(1, sizeof(*f));
    rig_start(&f->rig, shards, capacity);
    f->owner.done = on_done;
    tf_list_init(&f->owner.reads);
    f->address = rig_address(&f->rig, home, "r/", f->name, sizeof(f->name));
    return f;
}

static void stop(struct fixture *f)
{
    rig_settle(&f->rig);
    rig_check(&f->rig);
    tf_read_owner_release(&f->owner);
    rig_stop(&f->rig);
    free(f);
}

/* Reads and waits; what was read is in f->text and f->version. */
static void read_value(struct fixture *f, unsigned shard)
{
    struct tf_value_view view = {NULL, 0};
    unsigned done = f->done;
    enum tf_err err = tf_shard_read(&f->rig.shards[shard], f->address, &f->owner, 3, &view);
    if (err == TF_OK) {
        rig_text(view.message, f->text, sizeof(f->text));
        f->version = view.version;
        return;
    }
    assert_int_equal(err, TF_AGAIN);
    rig_settle(&f->rig);
    assert_int_equal(f->done, done + 1);
    assert_int_equal(f->tag, 3);
}

static void publish(struct fixture *f, unsigned shard, const char *body)
{
    rig_publish(&f->rig, shard, f->address, body, 1, true, NULL, 0, NULL);
    rig_settle(&f->rig);
}

static void read_from(unsigned shards, unsigned reader, unsigned home)
{
    struct fixture *f = start(shards, 8, home);
    read_value(f, reader);
    assert_string_equal(f->text, "(none)");
    uint64_t before = f->version;
    publish(f, reader, "1");
    read_value(f, reader);
    assert_string_equal(f->text, "1");
    assert_true(f->version > before);
    before = f->version;
    publish(f, home, "2");
    read_value(f, reader);
    assert_string_equal(f->text, "2");
    assert_true(f->version > before);
    before = f->version;
    publish(f, reader, NULL);
    read_value(f, reader);
    assert_string_equal(f->text, "(none)");
    assert_true(f->version >= before); /* without a value it only does not go back */
    rig_publish(&f->rig, reader, f->address, "", 1, false, NULL, 0, NULL);
    rig_settle(&f->rig);
    read_value(f, reader);
    assert_string_equal(f->text, "(none)"); /* nobody watches: only what is retained */
    assert_int_equal(f->done, reader == home ? 0 : 5);
    stop(f);
}

static void test_read(void **state)
{
    (void)state;
    read_from(1, 0, 0);
    read_from(3, 1, 1);
    read_from(3, 0, 2);
    read_from(3, 2, 1);
}

/* A value that has expired is not read, even if its timer is late. */
static void test_expired(void **state)
{
    (void)state;
    struct fixture *f = start(3, 8, 1);
    struct tf_bytes body;
    struct tf_published result;
    struct tf_publication publication = rig_publication(f->address, "x", 0, true, &body);
    publication.envelope.expires = f->rig.now + 10;
    assert_int_equal(tf_shard_publish(&f->rig.shards[1], &publication, NULL, 0, &result), TF_OK);
    tf_publication_release(&publication);
    read_value(f, 0);
    assert_string_equal(f->text, "x");
    tf_shard_time(&f->rig.shards[1], f->rig.now + 10);
    read_value(f, 0);
    assert_string_equal(f->text, "(none)");
    assert_int_equal(f->rig.shards[1].values.count, 0);
    stop(f);
}

/* What was read stays as it was, whatever happens to the value on the way. */
static void test_on_the_way(void **state)
{
    (void)state;
    struct fixture *f = start(3, 8, 1);
    struct tf_value_view view;
    publish(f, 1, "old");
    assert_int_equal(tf_shard_read(&f->rig.shards[0], f->address, &f->owner, 8, &view), TF_AGAIN);
    tf_shard_receive(&f->rig.shards[1]);
    rig_publish(&f->rig, 1, f->address, NULL, 1, true, NULL, 0, NULL);
    tf_shard_receive(&f->rig.shards[0]);
    assert_string_equal(f->text, "old");
    assert_int_equal(f->tag, 8);
    /* the owner goes: before the mail is read, after it, and from within */
    for (unsigned at = 0; at < 2; at++) {
        assert_int_equal(tf_shard_read(&f->rig.shards[0], f->address, &f->owner, 8, &view),
                         TF_AGAIN);
        if (at) {
            tf_shard_receive(&f->rig.shards[1]);
        }
        tf_read_owner_release(&f->owner);
        rig_settle(&f->rig);
        assert_int_equal(f->done, 1);
    }
    f->release = true;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(tf_shard_read(&f->rig.shards[2], f->address, &f->owner, 8, &view),
                         TF_AGAIN);
    }
    rig_settle(&f->rig);
    assert_int_equal(f->done, 2);
    stop(f);
}

/* One allocation, or all from one on, fail: each read that was taken is answered. */
static bool read_with_failure(size_t nth, bool on)
{
    struct fixture *f = start(3, 1, 1);
    struct tf_value_view view;
    unsigned taken = 0;
    publish(f, 0, "x");
    test_alloc_fail(&f->rig.memory, nth);
    f->rig.memory.fail_on = on;
    for (unsigned i = 0; i < 8; i++) {
        taken += tf_shard_read(&f->rig.shards[0], f->address, &f->owner, i, &view) == TF_AGAIN;
    }
    for (unsigned i = 0; i < 12; i++) {
        (void)tf_shard_flush(&f->rig.shards[i % 3]);
        tf_shard_receive(&f->rig.shards[i % 3]);
    }
    bool failed = f->rig.memory.failed != 0;
    test_alloc_fail(&f->rig.memory, 0);
    f->rig.memory.fail_on = false;
    rig_settle(&f->rig);
    assert_int_equal(f->done, taken);
    assert_true(failed || taken == 8);
    assert_true(taken == 0 || strcmp(f->text, "x") == 0);
    stop(f);
    return !failed;
}

static void test_every_allocation_failed(void **state)
{
    (void)state;
    for (unsigned on = 0; on < 2; on++) {
        size_t nth = 1;
        while (!read_with_failure(nth, on)) {
            nth++;
        }
        assert_true(nth > 9); /* the reads, and what did not fit in the rings both ways */
    }
}

static void test_abandoned(void **state)
{
    (void)state;
    for (unsigned received = 0; received < 2; received++) {
        struct fixture *f = start(3, 1, 1);
        struct tf_value_view view;
        publish(f, 1, "x");
        assert_int_equal(tf_shard_read(&f->rig.shards[0], f->address, &f->owner, 1, &view),
                         TF_AGAIN);
        if (received) {
            tf_shard_receive(&f->rig.shards[1]);
        }
        tf_read_owner_release(&f->owner);
        rig_abandon(&f->rig);
        free(f);
    }
}

/* It changes with the set of addresses that have a value, and not with their values. */
static void test_listing(void **state)
{
    (void)state;
    struct fixture *f = start(1, 8, 0);
    const struct tf_values *values = &f->rig.shards[0].values;
    uint64_t listing = values->listing;
    publish(f, 0, NULL);
    assert_int_equal(values->listing, listing);
    publish(f, 0, "1");
    assert_int_not_equal(values->listing, listing);
    listing = values->listing;
    publish(f, 0, "2");
    assert_int_equal(values->listing, listing);
    publish(f, 0, NULL);
    assert_int_not_equal(values->listing, listing);
    listing = values->listing;
    struct tf_bytes body;
    struct tf_published result;
    struct tf_publication publication = rig_publication(f->address, "x", 0, true, &body);
    publication.envelope.expires = f->rig.now + 10;
    assert_int_equal(tf_shard_publish(&f->rig.shards[0], &publication, NULL, 0, &result), TF_OK);
    tf_publication_release(&publication);
    assert_int_not_equal(values->listing, listing);
    listing = values->listing;
    rig_time(&f->rig, f->rig.now + TF_SECOND);
    assert_int_not_equal(values->listing, listing);
    /* a value that a limit refuses is none */
    listing = values->listing;
    f->rig.shards[0].values.limits.bytes = 1;
    publish(f, 0, "3");
    assert_int_equal(values->listing, listing);
    stop(f);
}

static void test_first_version(void **state)
{
    (void)state;
    struct fixture *f = start(1, 8, 0);
    struct tf_shard_config config = f->rig.shards[0].config;
    config.first_version = UINT64_C(1) << 60;
    tf_shard_release(&f->rig.shards[0]);
    assert_int_equal(tf_shard_init(&f->rig.shards[0], &config, f->rig.now), TF_OK);
    publish(f, 0, "x");
    read_value(f, 0);
    assert_int_equal(f->version, (UINT64_C(1) << 60) + 1);
    stop(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),          cmocka_unit_test(test_expired),
        cmocka_unit_test(test_on_the_way),    cmocka_unit_test(test_every_allocation_failed),
        cmocka_unit_test(test_abandoned),     cmocka_unit_test(test_listing),
        cmocka_unit_test(test_first_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
