/*
 * Watching an address: what watchers are told, in which order, how often and at what price.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/util.h"
#include "route/internal.h"
#include "unit/route/route_rig.h"

#define OBSERVERS 8u

struct fixture;

/* A watcher that writes down what it is told. */
struct observer {
    struct tf_watcher watcher;
    struct fixture *f;
    struct tf_shard *shard;
    enum tf_err says; /* what it answers; told only with TF_OK */
    unsigned told;
    unsigned asked; /* calls of deliver */
    unsigned failed;
    uint64_t version;
    char text[32];
    void (*within)(struct observer *observer); /* called from deliver, once */
};

struct fixture {
    struct rig rig;
    struct observer observers[OBSERVERS];
    struct tf_ticket_owner owner;
    unsigned done;
    struct tf_published result;
    char name[32];
    struct tf_bytes address;
    unsigned home;
    struct tf_random random;
    uint64_t known; /* by the first observer's cell when a ticket was done */
    bool starved;   /* there has been no memory */
};

static enum tf_err deliver(struct tf_watcher *watcher, struct tf_message *message, uint64_t version)
{
    struct observer *observer = tf_container_of(watcher, struct observer, watcher);
    void (*within)(struct observer *) = observer->within;
    observer->asked++;
    if (observer->says == TF_OK) {
        assert_true(version > observer->version);
        observer->told++;
        observer->version = version;
        rig_text(message, observer->text, sizeof(observer->text));
    }
    observer->within = NULL;
    if (within) {
        within(observer);
    }
    return observer->says;
}

static void failed(struct tf_watcher *watcher)
{
    struct observer *observer = tf_container_of(watcher, struct observer, watcher);
    assert_null(watcher->cell);
    observer->failed++;
}

static const struct tf_watcher_ops ops = {.deliver = deliver, .failed = failed};

static void on_done(struct tf_ticket_owner *owner, uint64_t tag, const struct tf_published *result)
{
    struct fixture *f = tf_container_of(owner, struct fixture, owner);
    (void)tag;
    f->done++;
    f->result = *result;
    if (f->observers[0].watcher.cell) {
        f->known = f->observers[0].watcher.cell->version;
    }
}

static void observer_start(struct fixture *f, struct observer *observer, unsigned shard)
{
    memset(observer, 0, sizeof(*observer));
    observer->watcher.ops = &ops;
    observer->f = f;
    observer->shard = &f->rig.shards[shard];
}

/* Observer n is in shard n % shards. */
static struct fixture *start(unsigned shards, size_t capacity, unsigned home)
{
    struct fixture *f = calloc(1, sizeof(*f));
    rig_start(&f->rig, shards, capacity);
    f->owner.done = on_done;
    tf_list_init(&f->owner.tickets);
    f->home = home;
    f->address = rig_address(&f->rig, home, "o/", f->name, sizeof(f->name));
    for (unsigned i = 0; i < OBSERVERS; i++) {
        observer_start(f, &f->observers[i], i % shards);
    }
    return f;
}

static void settle(struct fixture *f)
{
    rig_settle(&f->rig);
    rig_check(&f->rig);
}

static void stop(struct fixture *f)
{
    for (unsigned i = 0; i < OBSERVERS; i++) {
        tf_shard_unwatch(f->observers[i].shard, &f->observers[i].watcher);
    }
    settle(f);
    tf_ticket_owner_release(&f->owner);
    for (unsigned i = 0; i < f->rig.count; i++) {
        /* without memory a withdrawn filter may not be told to others (bind.c) */
        assert_true(f->rig.shards[i].routes.route_count == 0 || f->starved);
    }
    rig_stop(&f->rig);
    free(f);
}

static void watch(struct observer *observer)
{
    observer->version = 0;
    assert_int_equal(tf_shard_watch(observer->shard, &observer->watcher, observer->f->address),
                     TF_OK);
}

static void publish_for(struct fixture *f, unsigned shard, const char *body, bool retain,
                        tf_time lifetime)
{
    struct tf_bytes bytes;
    struct tf_published result;
    struct tf_publication publication = rig_publication(f->address, body, 1, retain, &bytes);
    publication.envelope.expires = lifetime ? f->rig.now + lifetime : TF_TIME_NEVER;
    enum tf_err err = tf_shard_publish(&f->rig.shards[shard], &publication, NULL, 0, &result);
    assert_true(err == TF_OK || err == TF_NO_MEMORY);
    tf_publication_release(&publication);
}

static void publish(struct fixture *f, unsigned shard, const char *body, bool retain)
{
    publish_for(f, shard, body, retain, 0);
}

static enum tf_err write_text(struct fixture *f, unsigned shard, const char *body,
                              const struct tf_condition *condition, struct tf_published *ret)
{
    struct tf_bytes bytes;
    struct tf_publication publication = rig_publication(f->address, body, 1, true, &bytes);
    enum tf_err err =
        tf_shard_write(&f->rig.shards[shard], &publication, condition, &f->owner, 1, ret);
    tf_publication_release(&publication);
    return err;
}

/* What a read at home gives. */
static uint64_t present(struct fixture *f, char *ret_text, size_t size)
{
    struct tf_value_view view = {NULL, 0};
    struct tf_read_owner owner = {.done = NULL};
    assert_int_equal(tf_shard_read(&f->rig.shards[f->home], f->address, &owner, 0, &view), TF_OK);
    rig_text(view.message, ret_text, size);
    return view.version;
}

/* An observer has been told `text`, which is what a read gives, in `told` calls so far. */
static void assert_told(struct fixture *f, unsigned number, const char *text, unsigned told)
{
    const struct observer *observer = &f->observers[number];
    char read[32];
    uint64_t version = present(f, read, sizeof(read));
    assert_string_equal(observer->text, text);
    assert_string_equal(read, text);
    assert_int_equal(observer->version, version);
    assert_int_equal(observer->told, told);
}

static void from_shards(unsigned shards, unsigned home)
{
    struct fixture *f = start(shards, 8, home);
    publish(f, 0, "0", true);
    settle(f);
    watch(&f->observers[0]);
    assert_int_equal(f->observers[0].asked, 0); /* never before it returns */
    settle(f);
    assert_told(f, 0, "0", 1);
    for (unsigned i = 1; i < OBSERVERS; i++) {
        watch(&f->observers[i]);
    }
    settle(f);
    for (unsigned shard = 0; shard < shards; shard++) {
        char body[8];
        sprintf(body, "v%u", shard);
        publish(f, shard, body, shard & 1);
        settle(f);
        for (unsigned i = 0; i < OBSERVERS; i++) {
            assert_told(f, i, body, 2 + shard);
        }
    }
    struct tf_published result;
    (void)write_text(f, 0, "w", NULL, &result);
    settle(f);
    assert_told(f, 7, "w", 2 + shards);
    publish(f, shards - 1, NULL, true);
    settle(f);
    assert_told(f, 0, "(none)", 3 + shards);
    publish(f, 0, NULL, true); /* nothing has changed */
    settle(f);
    assert_told(f, 0, "(none)", 3 + shards);
    stop(f);
}

static void test_told(void **state)
{
    (void)state;
    from_shards(1, 0);
    from_shards(3, 0);
    from_shards(3, 2);
}

/* No value: told so, and then the first. */
static void test_nothing_yet(void **state)
{
    (void)state;
    for (unsigned home = 0; home < 3; home++) {
        struct fixture *f = start(3, 8, home);
        watch(&f->observers[1]);
        settle(f);
        assert_told(f, 1, "(none)", 1);
        publish(f, 2, "", false); /* an empty value is one */
        settle(f);
        assert_told(f, 1, "", 2);
        stop(f);
    }
}

/* While watched the last publish counts; afterwards the retained one, and never an old version. */
static void test_live_and_back(void **state)
{
    (void)state;
    struct fixture *f = start(3, 8, 1);
    char text[32];
    struct tf_published result = {0};
    publish(f, 0, "kept", true);
    settle(f);
    uint64_t kept = present(f, text, sizeof(text));
    watch(&f->observers[0]);
    settle(f);
    assert_int_equal(f->observers[0].version, kept);
    publish(f, 2, "live", false);
    settle(f);
    assert_told(f, 0, "live", 2);
    /* conditions look at what readers see */
    struct tf_condition match = {.versions = &kept, .version_count = 1};
    assert_int_equal(write_text(f, 1, "no", &match, &result), TF_OK);
    assert_true(result.failed && result.existed);
    uint64_t live = f->observers[0].version;
    assert_int_equal(result.version, live);
    tf_shard_unwatch(f->observers[0].shard, &f->observers[0].watcher);
    settle(f);
    uint64_t back = present(f, text, sizeof(text));
    assert_string_equal(text, "kept");
    assert_true(back > live);
    assert_int_equal(f->rig.shards[1].values.live_bytes, 0);
    watch(&f->observers[0]);
    settle(f);
    assert_int_equal(f->observers[0].version, back);
    match.versions = &back;
    assert_true(write_text(f, 1, "yes", &match, &result) != TF_NO_MEMORY);
    assert_false(result.failed);
    settle(f);
    /* without a retained one nothing is left */
    publish(f, 0, NULL, true);
    publish(f, 0, "live", false);
    settle(f);
    assert_told(f, 0, "live", 5);
    struct tf_condition absent = {.absent = true};
    assert_int_equal(write_text(f, 1, "no", &absent, &result), TF_OK);
    assert_true(result.failed);
    tf_shard_unwatch(f->observers[0].shard, &f->observers[0].watcher);
    settle(f);
    assert_true(present(f, text, sizeof(text)) >= f->observers[0].version);
    assert_string_equal(text, "(none)");
    stop(f);
}

/* A retained publication reaches the home twice, as a value and by the binding, and counts once. */
static void test_once(void **state)
{
    (void)state;
    for (unsigned shard = 0; shard < 3; shard++) {
        struct fixture *f = start(3, 8, 1);
        struct tf_published result = {0};
        watch(&f->observers[2]);
        settle(f);
        uint64_t version = f->rig.shards[1].values.version;
        enum tf_err err =
            rig_publish(&f->rig, shard, f->address, "x", 1, true, &f->owner, 0, &result);
        settle(f);
        result = err == TF_AGAIN ? f->result : result;
        assert_int_equal(f->rig.shards[1].values.version, version + 1);
        assert_int_equal(result.matched, 1);
        assert_told(f, 2, "x", 2);
        stop(f);
    }
}

static void test_expiry(void **state)
{
    (void)state;
    for (unsigned shards = 1; shards <= 3; shards += 2) {
        struct fixture *f = start(shards, 8, 0);
        watch(&f->observers[0]);
        publish_for(f, 0, "kept", true, 10 * TF_SECOND);
        settle(f);
        assert_told(f, 0, "kept", 1);
        publish_for(f, shards - 1, "live", false, 2 * TF_SECOND);
        settle(f);
        assert_told(f, 0, "live", 2);
        rig_time(&f->rig, f->rig.now + 3 * TF_SECOND);
        settle(f);
        assert_told(f, 0, "kept", 3); /* the retained one is the value again */
        rig_time(&f->rig, f->rig.now + 10 * TF_SECOND);
        settle(f);
        assert_told(f, 0, "(none)", 4);
        /* the retained one goes first: what is live stays */
        publish_for(f, 0, "kept", true, TF_SECOND);
        publish_for(f, 0, "live", false, 5 * TF_SECOND);
        settle(f);
        rig_time(&f->rig, f->rig.now + 2 * TF_SECOND);
        settle(f);
        assert_told(f, 0, "live", 5);
        /* a read is never behind its timer */
        for (unsigned i = 0; i < shards; i++) {
            tf_shard_time(&f->rig.shards[i], f->rig.now + 5 * TF_SECOND);
        }
        char text[32];
        present(f, text, sizeof(text));
        assert_string_equal(text, "(none)");
        settle(f);
        assert_told(f, 0, "(none)", 6);
        stop(f);
    }
}

/* Who has no credit is told the newest only, and then once. */
static void test_conflation(void **state)
{
    (void)state;
    for (unsigned shards = 1; shards <= 3; shards += 2) {
        struct fixture *f = start(shards, 8, 0);
        struct observer *slow = &f->observers[shards - 1];
        struct observer *quick = &f->observers[shards == 1 ? 1 : 0];
        watch(slow);
        watch(quick);
        settle(f);
        slow->says = TF_AGAIN;
        for (unsigned i = 0; i < 5; i++) {
            char body[8];
            sprintf(body, "%u", i);
            publish(f, 0, body, i & 1);
            settle(f);
        }
        assert_int_equal(slow->told, 1);
        assert_int_equal(slow->asked, 2); /* and not again for each value */
        assert_int_equal(quick->told, 6);
        slow->says = TF_OK;
        tf_watcher_ready(slow->shard, &slow->watcher);
        tf_watcher_ready(slow->shard, &slow->watcher);
        settle(f);
        assert_told(f, shards - 1, "4", 2);
        tf_watcher_ready(slow->shard, &slow->watcher);
        settle(f);
        assert_int_equal(slow->told, 2);
        /* several in one turn are one */
        publish(f, 0, "a", false);
        publish(f, 0, "b", true);
        publish(f, 0, "c", false);
        settle(f);
        assert_told(f, shards - 1, "c", 3);
        stop(f);
    }
}

/* A full output ends the turn's walk; the next turn is wanted at once and begins there. */
static void test_output_full(void **state)
{
    (void)state;
    struct fixture *f = start(1, 8, 0);
    struct tf_shard *shard = &f->rig.shards[0];
    for (unsigned i = 0; i < 4; i++) {
        watch(&f->observers[i]);
    }
    settle(f);
    assert_false(tf_shard_busy(shard));
    f->observers[1].says = TF_LIMIT;
    publish(f, 0, "x", false);
    assert_true(tf_shard_busy(shard));
    assert_int_equal(tf_shard_deadline(shard), f->rig.now);
    for (unsigned turn = 0; turn < 3; turn++) {
        tf_shard_receive(shard);
        assert_true(tf_shard_busy(shard));
        assert_int_equal(f->observers[1].asked, 2 + turn);
        assert_int_equal(f->observers[0].told, 2);
        assert_int_equal(f->observers[2].asked, 1);
    }
    f->observers[1].says = TF_OK;
    publish(f, 0, "y", false);
    settle(f);
    assert_told(f, 0, "y", 3);
    assert_told(f, 1, "y", 2); /* not the one between */
    assert_told(f, 3, "y", 2);
    stop(f);
}

static void leave_within(struct observer *observer)
{
    tf_shard_unwatch(observer->shard, &observer->watcher);
}

static void leave_all_within(struct observer *observer)
{
    for (unsigned i = 0; i < OBSERVERS; i++) {
        tf_shard_unwatch(observer->shard, &observer->f->observers[i].watcher);
    }
}

static void again_within(struct observer *observer)
{
    leave_within(observer);
    watch(observer);
}

static void all_again_within(struct observer *observer)
{
    leave_all_within(observer);
    watch(observer);
}

static void ready_within(struct observer *observer)
{
    tf_watcher_ready(observer->shard, &observer->watcher); /* before it says that it waits */
}

static void publish_within(struct observer *observer)
{
    struct tf_published result;
    publish(observer->f, 0, "p", false);
    publish(observer->f, 0, "q", true);
    assert_int_equal(write_text(observer->f, 0, "r", NULL, &result), TF_OK);
}

/* Anything may be done from within deliver, whatever it answers then. */
static void test_within(void **state)
{
    (void)state;
    static void (*const acts[])(struct observer *) = {leave_within, leave_all_within,
                                                      again_within, all_again_within,
                                                      ready_within, publish_within};
    static const enum tf_err answers[] = {TF_OK, TF_AGAIN, TF_LIMIT};
    for (unsigned act = 0; act < TF_COUNT(acts); act++) {
        for (unsigned number = 0; number < 3 * TF_COUNT(answers); number++) {
            struct fixture *f = start(1, 8, 0);
            struct observer *observer = &f->observers[number % 3];
            for (unsigned i = 0; i < 3; i++) {
                watch(&f->observers[i]);
            }
            settle(f);
            publish(f, 0, "x", true);
            observer->within = acts[act];
            observer->says = answers[number / 3];
            tf_shard_receive(&f->rig.shards[0]);
            rig_check(&f->rig);
            if (acts[act] == ready_within && observer->says == TF_AGAIN) {
                assert_int_equal(observer->asked, 3); /* it was ready, so it was asked again */
            }
            observer->says = TF_OK;
            tf_watcher_ready(observer->shard, &observer->watcher);
            settle(f);
            for (unsigned i = 0; i < 3; i++) {
                if (f->observers[i].watcher.cell) {
                    assert_told(f, i, act == 5 ? "r" : "x", f->observers[i].told);
                }
            }
            assert_int_equal(f->rig.shards[0].access.cells.count, act == 1 ? 0 : 1);
            stop(f);
        }
    }
}

/* Who has been told anything misses nothing that is published afterwards, whoever does it. */
static void test_stands_when_told(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct fixture *f = start(3, 4, (unsigned)(seed % 3));
        struct observer *observer = &f->observers[seed / 3 % 3];
        tf_random_init(&f->random, seed);
        watch(observer);
        while (!observer->told) {
            rig_step(&f->rig, &f->random);
        }
        publish(f, (unsigned)tf_random_below(&f->random, 3), "x", false);
        settle(f);
        assert_told(f, (unsigned)(observer - f->observers), "x", 2);
        stop(f);
    }
}

/* Who has been acknowledged is told its own value, or a newer one, when it watches then. */
static void test_acknowledged_is_known(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct fixture *f = start(3, 4, 1);
        struct tf_published result;
        tf_random_init(&f->random, seed);
        watch(&f->observers[0]); /* so that shard 0 has a cell */
        settle(f);
        enum tf_err err =
            seed & 1 ? write_text(f, 0, "mine", NULL, &result)
                     : rig_publish(&f->rig, 0, f->address, "mine", 1, seed & 2, &f->owner, 0, NULL);
        assert_int_equal(err, TF_AGAIN);
        while (!f->done) {
            rig_step(&f->rig, &f->random);
        }
        watch(&f->observers[3]);
        tf_shard_receive(&f->rig.shards[0]);
        assert_told(f, 3, "mine", 1);
        assert_int_equal(f->known, f->observers[3].version); /* on the way before the answer */
        stop(f);
    }
}

/* A shard tells a bounded number a turn, all of them share one message, and who waits costs nil. */
static void test_ten_thousand(void **state)
{
    (void)state;
    enum { MANY = 10000 };
    struct fixture *f = start(1, 8, 0);
    struct observer *many = calloc(MANY, sizeof(*many));
    unsigned told = 0;
    watch(&f->observers[0]);
    settle(f);
    size_t blocks = f->rig.memory.blocks;
    for (unsigned i = 0; i < MANY; i++) {
        observer_start(f, &many[i], 0);
        watch(&many[i]);
    }
    settle(f);
    assert_int_equal(f->rig.memory.blocks, blocks);
    publish(f, 0, "1", false);
    tf_shard_receive(&f->rig.shards[0]);
    for (unsigned i = 0; i < MANY; i++) {
        told += many[i].told == 2;
    }
    assert_in_range(told, 1, 1024);
    assert_true(tf_shard_busy(&f->rig.shards[0]));
    publish(f, 0, "2", false); /* who has not heard of the first never will */
    settle(f);
    assert_int_equal(f->rig.memory.blocks, blocks + 1); /* the message */
    unsigned both = 0;
    for (unsigned i = 0; i < MANY; i++) {
        assert_string_equal(many[i].text, "2");
        both += many[i].told == 3;
    }
    assert_int_equal(both, told);
    for (unsigned i = 0; i < MANY; i++) {
        tf_shard_unwatch(many[i].shard, &many[i].watcher);
    }
    stop(f);
    free(many);
}

/* What is live counts against the limit of values, and what does not fit is no value. */
static void test_live_bytes(void **state)
{
    (void)state;
    struct fixture *f = start(1, 8, 0);
    struct tf_values *values = &f->rig.shards[0].values;
    struct tf_published result = {0};
    watch(&f->observers[0]);
    publish(f, 0, "1", false);
    settle(f);
    assert_true(values->live_bytes > 0);
    values->limits.bytes = values->live_bytes;
    publish(f, 0, "2", false); /* in the place of the first */
    settle(f);
    assert_told(f, 0, "2", 2);
    publish(f, 0, "a longer one that does not fit", false);
    settle(f);
    assert_told(f, 0, "2", 2);
    assert_int_equal(write_text(f, 0, "3", NULL, &result), TF_OK);
    assert_true(result.refused);
    settle(f);
    assert_told(f, 0, "2", 2);
    values->limits.bytes = 100000;
    assert_int_equal(write_text(f, 0, "3", NULL, &result), TF_OK);
    settle(f);
    assert_told(f, 0, "3", 3);
    assert_int_equal(values->live_bytes, 0);
    /* and the other way round: what is stored elsewhere has no room beside it */
    uint64_t stored = values->bytes;
    publish(f, 0, "4", false);
    values->limits.bytes = stored + values->live_bytes + stored / 2;
    rig_publish(&f->rig, 0, tf_bytes_str("o"), "5", 1, true, NULL, 0, &result);
    assert_true(result.refused);
    values->limits.bytes += stored;
    rig_publish(&f->rig, 0, tf_bytes_str("o"), "5", 1, true, NULL, 0, &result);
    assert_false(result.refused);
    stop(f);
}

/* With one allocation, or all from one on, failing: told of the failure, or of the value. */
static bool watch_with_failure(size_t nth, bool on, size_t capacity, unsigned home)
{
    struct fixture *f = start(3, capacity, home);
    unsigned watching = 0;
    f->starved = true;
    publish(f, 0, "old", true);
    settle(f);
    test_alloc_fail(&f->rig.memory, nth);
    f->rig.memory.fail_on = on;
    for (unsigned i = 0; i < 4; i++) {
        struct observer *observer = &f->observers[i];
        watching += tf_shard_watch(observer->shard, &observer->watcher, f->address) == TF_OK;
    }
    for (unsigned i = 0; i < 30; i++) {
        (void)tf_shard_flush(&f->rig.shards[i % 3]);
        tf_shard_receive(&f->rig.shards[i % 3]);
        rig_check(&f->rig);
    }
    publish(f, 2, "new", true);
    bool broke = f->rig.memory.failed != 0;
    settle(f);
    test_alloc_fail(&f->rig.memory, 0);
    f->rig.memory.fail_on = false;
    settle(f);
    unsigned left = 0;
    for (unsigned i = 0; i < 4; i++) {
        struct observer *observer = &f->observers[i];
        assert_true(observer->failed <= 1);
        if (observer->watcher.cell) {
            assert_told(f, i, observer->text, observer->told);
            left++;
        } else {
            assert_int_equal(observer->told, 0);
        }
        watching -= observer->failed;
    }
    assert_int_equal(left, watching);
    assert_true(broke || left == 4);
    publish(f, 1, "last", false);
    settle(f);
    for (unsigned i = 0; i < 4; i++) {
        if (f->observers[i].watcher.cell) {
            assert_told(f, i, "last", f->observers[i].told);
        }
    }
    stop(f);
    return !broke;
}

static void test_every_allocation_failed(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 12; kind++) {
        size_t nth = 1;
        while (!watch_with_failure(nth, kind & 1, kind & 2 ? 1 : 64, kind / 4)) {
            nth++;
        }
        assert_true(nth > 8);
    }
}

/* Fills the ring between two shards and the list behind it; from now on there is no memory. */
static void fill_ring(struct fixture *f, unsigned from, unsigned to)
{
    struct tf_mail mail = {.type = TF_MAIL_BROKER};
    test_alloc_fail(&f->rig.memory, 1);
    f->rig.memory.fail_on = true;
    while (tf_shard_post(&f->rig.shards[from], to, &mail)) {
    }
}

static void have_memory(struct fixture *f)
{
    test_alloc_fail(&f->rig.memory, 0);
    f->rig.memory.fail_on = false;
}

/* Mail that finds no memory is sent when there is some: nobody is left with an older value. */
static void test_mail_starved(void **state)
{
    (void)state;
    struct fixture *f = start(3, 1, 1);
    struct tf_published result;
    for (unsigned i = 0; i < 6; i++) {
        watch(&f->observers[i]);
    }
    settle(f);
    assert_int_equal(write_text(f, 1, "y", NULL, &result), TF_OK);
    fill_ring(f, 1, 0);
    for (unsigned i = 0; i < 3; i++) {
        tf_shard_receive(&f->rig.shards[1]);
        rig_check(&f->rig);
        assert_true(tf_shard_busy(&f->rig.shards[1]));
    }
    assert_string_equal(f->observers[1].text, "y"); /* at home nothing is needed */
    assert_string_equal(f->observers[0].text, "(none)");
    tf_shard_unwatch(f->observers[1].shard, &f->observers[1].watcher);
    tf_shard_unwatch(f->observers[4].shard, &f->observers[4].watcher);
    have_memory(f);
    settle(f);
    for (unsigned i = 0; i < 6; i++) {
        assert_string_equal(f->observers[i].text, "y");
    }
    /* and the last one to leave tells the home, however late */
    fill_ring(f, 0, 1);
    tf_shard_unwatch(f->observers[0].shard, &f->observers[0].watcher);
    tf_shard_unwatch(f->observers[3].shard, &f->observers[3].watcher);
    assert_true(tf_shard_busy(&f->rig.shards[0]));
    struct tf_watcher *watcher = &f->observers[0].watcher;
    assert_int_equal(tf_shard_watch(&f->rig.shards[0], watcher, f->address), TF_NO_MEMORY);
    assert_null(watcher->cell);
    tf_shard_receive(&f->rig.shards[0]); /* tries in vain */
    assert_true(tf_shard_busy(&f->rig.shards[0]));
    have_memory(f);
    settle(f);
    assert_int_equal(f->rig.shards[0].access.cells.count, 0);
    assert_int_equal(f->rig.shards[1].access.watched.count, 1); /* for shard 2 */
    watch(&f->observers[0]);
    settle(f);
    assert_told(f, 0, "y", 3);
    stop(f);
}

/* A shard ends while watches are under way. */
static void test_abandoned(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct fixture *f = start(3, 64, (unsigned)(seed % 3));
        tf_random_init(&f->random, seed);
        for (unsigned i = 0; i < 4; i++) {
            watch(&f->observers[i]);
            publish(f, i % 3, "x", i & 1);
            rig_step(&f->rig, &f->random);
        }
        for (unsigned i = 0; i < seed / 2; i++) {
            rig_step(&f->rig, &f->random);
        }
        for (unsigned i = 0; i < 4; i++) {
            tf_shard_unwatch(f->observers[i].shard, &f->observers[i].watcher);
        }
        rig_abandon(&f->rig);
        free(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_told),
        cmocka_unit_test(test_nothing_yet),
        cmocka_unit_test(test_live_and_back),
        cmocka_unit_test(test_once),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_conflation),
        cmocka_unit_test(test_output_full),
        cmocka_unit_test(test_within),
        cmocka_unit_test(test_stands_when_told),
        cmocka_unit_test(test_acknowledged_is_known),
        cmocka_unit_test(test_ten_thousand),
        cmocka_unit_test(test_live_bytes),
        cmocka_unit_test(test_every_allocation_failed),
        cmocka_unit_test(test_mail_starved),
        cmocka_unit_test(test_abandoned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
