/*
 * The CoAP front's /.well-known/core: all shards' addresses as one text, in blocks, filtered,
 * observed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "unit/broker/coap_driver.h"

#include <trefoil/coap_link.h>

#define CORE ".well-known/core"

static struct driver *start(unsigned shards)
{
    struct driver *driver = malloc(sizeof(*driver));
    coap_driver_init(driver, shards);
    driver_start(driver);
    return driver;
}

static void stop(struct driver *driver)
{
    driver_advance(driver, 61 * TF_SECOND);
    coap_driver_expect_idle(driver);
    for (unsigned i = 0; i < driver->count; i++) { /* nothing is kept for ever */
        assert_int_equal(coap_driver_front(driver, i)->listing_bytes, 0);
        assert_int_equal(coap_driver_front(driver, i)->listing_count, 0);
    }
    driver_stop(driver);
    free(driver);
}

static struct coap_ask core(const char *query)
{
    return (struct coap_ask){.code = TF_COAP_GET, .path = CORE, .query = query};
}

/* A value, put where it belongs. */
static void set(struct driver *driver, const char *address)
{
    struct tf_bytes body = tf_bytes_str("x");
    struct tf_publication publication = {
        .envelope = {.address = tf_bytes_str(address), .expires = TF_TIME_NEVER, .retain = true},
        .body = &body,
        .body_count = 1};
    struct tf_published published;
    struct tf_shard *shard = &driver->nodes[driver_home(driver, address)].shard;
    assert_false(tf_shard_write(shard, &publication, NULL, NULL, 0, &published));
    tf_publication_release(&publication);
}

/* Values `prefix`0 and so on. */
static void fill(struct driver *driver, const char *prefix, unsigned count)
{
    char address[64];
    for (unsigned i = 0; i < count; i++) {
        sprintf(address, "%s%u", prefix, i);
        set(driver, address);
        if (i % 50 == 0) {
            driver_run(driver);
        }
    }
    driver_run(driver);
}

/* Links in a text, each of which begins with `<`. */
static unsigned links(struct tf_bytes text)
{
    unsigned count = 0;
    for (size_t i = 0; i < text.length; i++) {
        count += text.data[i] == '<';
    }
    return count;
}

/* Reads the whole, block by block; checks that it is one snapshot. The text is to be freed. */
static struct tf_bytes read_all(struct coap_peer *peer, const char *query)
{
    uint8_t first[8], other[8], *text = NULL;
    size_t length = 0;
    struct tf_bytes etag = {NULL, 0};
    struct coap_ask ask = core(query);
    struct tf_coap_block block = {.more = true};
    for (unsigned i = 0; block.more; i++) {
        ask.block2 = COAP_BLOCK(i, 0, 6);
        const struct tf_coap_message *answer = coap_ask(peer, &ask, TF_COAP_CONTENT);
        struct tf_bytes value;
        block.more = tf_coap_option_find(answer->options, TF_COAP_BLOCK2, &value) &&
                     tf_coap_block_read(value, &block) && block.more;
        assert_int_equal(coap_number(answer, TF_COAP_CONTENT_FORMAT), TF_COAP_FORMAT_LINK);
        text = realloc(text, length + answer->payload.length + 1);
        memcpy(text + length, answer->payload.data, answer->payload.length);
        length += answer->payload.length;
        if (i == 0) {
            etag = coap_etag(answer, first);
        }
        assert_true(tf_bytes_equal(etag, coap_etag(answer, other)));
    }
    return tf_bytes_of(text, length);
}

static void free_text(struct tf_bytes text)
{
    free((void *)(uintptr_t)text.data);
}

/* True if the text lists prefix0 to prefix(count - 1), each once, and nothing else. */
static bool lists(struct tf_bytes text, const char *prefix, unsigned count)
{
    struct tf_coap_links all = tf_coap_links_of(text);
    struct tf_coap_link link;
    bool *seen = calloc(count + 1, sizeof(bool)), good = true;
    unsigned found = 0;
    while (!tf_coap_link_next(&all, &link)) {
        char address[80];
        unsigned number;
        size_t length = TF_MIN(link.target.length, sizeof(address) - 1);
        memcpy(address, link.target.data, length);
        address[length] = 0;
        size_t skip = 1 + strlen(prefix);
        good &= address[0] == '/' && strncmp(address + 1, prefix, skip - 1) == 0 &&
                sscanf(address + skip, "%u", &number) == 1 && number < count && !seen[number];
        if (good) {
            seen[number] = true;
        }
        found++;
    }
    free(seen);
    return good && found == count;
}

/* ---- reading ---- */

static void test_read(void **state)
{
    (void)state;
    for (unsigned shards = 1; shards <= 3; shards += 2) {
        struct driver *driver = start(shards);
        struct coap_peer *peer = coap_peer_new(driver, 0);
        struct coap_ask ask = core(NULL);
        assert_int_equal(coap_ask(peer, &ask, TF_COAP_CONTENT)->payload.length, 0);
        fill(driver, "n/", 5);
        struct tf_bytes text = read_all(peer, NULL);
        assert_true(lists(text, "n/", 5));
        free_text(text);
        struct coap_ask put = {
            .code = TF_COAP_PUT, .path = "j \"s", .text = "{}", .format = COAP_FORMAT(50)};
        coap_ask(peer, &put, TF_COAP_CREATED);
        ask = core("ct=50");
        assert_true(
            coap_body_is(coap_ask(peer, &ask, TF_COAP_CONTENT), "</j%20%22s>;ct=50;sz=2;obs"));
        ask = core("href=/n/3");
        assert_true(coap_body_is(coap_ask(peer, &ask, TF_COAP_CONTENT), "</n/3>;sz=1;obs"));
        ask = core("href=/none*");
        assert_int_equal(coap_ask(peer, &ask, TF_COAP_CONTENT)->payload.length, 0);
        ask = core(NULL);
        ask.accept = COAP_FORMAT(50);
        coap_ask(peer, &ask, TF_COAP_NOT_ACCEPTABLE);
        stop(driver);
    }
}

/* What CoAP cannot name, what is the system's, and what is reserved is not listed. */
static void test_not_listed(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    struct coap_peer *peer = coap_peer_new(driver, 0);
    struct client client;
    char longer[300];
    memset(longer, 'l', 299);
    longer[299] = 0;
    const char *const topics[] = {"a/../b", ".", longer, "rd", "ps/x", ".well-known/core", "$x/y"};
    peer_connect(&client, driver, 0, "m", (struct hello){.clean = true});
    for (unsigned i = 0; i < TF_COUNT(topics); i++) {
        peer_publish(&client, topics[i], "x", 1, 0);
    }
    peer_publish(&client, "good0", "x", 1, 0);
    driver_run(driver);
    struct tf_bytes text = read_all(peer, NULL);
    assert_true(lists(text, "good", 1));
    free_text(text);
    stop(driver);
}

/* Many addresses: several turns to gather, one snapshot whatever changes meanwhile. */
static void test_snapshot(void **state)
{
    (void)state;
    enum { COUNT = 9000 };
    struct driver *driver = start(3);
    struct coap_peer *peer = coap_peer_new(driver, 0), *writer = coap_peer_new(driver, 1);
    fill(driver, "snapshot/", COUNT);
    struct coap_ask ask = core(NULL);
    coap_send(peer, &ask);
    unsigned turns = 0;
    while (tf_list_empty(&peer->came)) {
        (void)driver_turn(driver, turns++ % 3);
    }
    assert_true(turns > 6); /* of 3,000 addresses in a shard some 512 are looked at in a turn */
    const struct tf_coap_message *answer = coap_expect(peer, TF_COAP_CONTENT);
    uint8_t etag[8], other[8];
    struct tf_bytes first = coap_etag(answer, etag);
    int64_t size = coap_number(answer, TF_COAP_SIZE2);
    assert_true(size > COUNT * 20);
    coap_put(writer, "snapshot/new", "x");
    coap_send(writer, &(struct coap_ask){.code = TF_COAP_DELETE, .path = "snapshot/0"});
    coap_expect(writer, TF_COAP_DELETED);
    size_t length = answer->payload.length;
    for (unsigned i = 1; length < (size_t)size; i++) {
        ask.block2 = COAP_BLOCK(i, 0, 6);
        answer = coap_ask(peer, &ask, TF_COAP_CONTENT);
        assert_true(tf_bytes_equal(first, coap_etag(answer, other)));
        length += answer->payload.length;
    }
    assert_int_equal(length, size);
    struct tf_bytes text = read_all(writer, "href=/snapshot/1*");
    assert_int_equal(links(text), 1111);
    free_text(text);
    stop(driver);
}

/* More listings at once than there may be, of many readers: each is answered. */
static void test_many_readers(void **state)
{
    (void)state;
    enum { COUNT = 400 };
    struct driver *driver = start(3);
    struct coap_peer *peers[COUNT];
    unsigned answered = 0, refused = 0;
    fill(driver, "many/", 3000);
    for (unsigned i = 0; i < COUNT; i++) {
        peers[i] = coap_peer_new(driver, i % 3);
        struct coap_ask ask = core(i % 2 ? "href=/many/1*" : NULL);
        ask.observe = i % 5 == 0;
        coap_send(peers[i], &ask);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        const struct tf_coap_message *answer = coap_take(peers[i]);
        assert_non_null(answer);
        answered += answer->code == TF_COAP_CONTENT;
        refused += answer->code == TF_COAP_UNAVAILABLE;
    }
    assert_int_equal(answered + refused, COUNT);
    assert_true(answered >= 256);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(coap_driver_front(driver, i)->listing_count <= 256);
    }
    stop(driver);
}

/* Texts have a limit each, and together: readers who filter are served, what is kept gives way. */
static void test_bounded_memory(void **state)
{
    (void)state;
    enum { COUNT = 600, LENGTH = 30000, LEVEL = 200, MOST = 64u << 20 };
    struct driver *driver = start(1);
    struct coap_peer *peer = coap_peer_new(driver, 0);
    struct coap_front *front = coap_driver_front(driver, 0);
    char *prefix = malloc(LENGTH + 16), query[32];
    memset(prefix, 'x', LENGTH);
    for (unsigned i = LEVEL; i < LENGTH; i += LEVEL + 51) {
        prefix[i] = '/';
    }
    prefix[LENGTH] = 0;
    for (unsigned i = 0; i < COUNT; i++) {
        char name[8];
        sprintf(name, "%03u/", i);
        memcpy(prefix, name, 4);
        set(driver, prefix);
    }
    struct coap_ask ask = core(NULL);
    coap_ask(peer, &ask, TF_COAP_UNAVAILABLE); /* 18 MB */
    assert_int_equal(front->listing_bytes, 0);
    for (unsigned i = 0; i < 24; i++) {
        prefix[0] = (char)('0' + i % 6); /* one more, so that no two readers get the same text */
        prefix[1] = (char)('a' + i);
        set(driver, prefix);
        sprintf(query, "href=/%u*", i % 6); /* 3 MB */
        ask = core(query);
        const struct tf_coap_message *answer = coap_ask(peer, &ask, TF_COAP_CONTENT);
        assert_true(coap_number(answer, TF_COAP_SIZE2) > 100 * LENGTH);
        assert_true(front->listing_bytes <= MOST);
    }
    assert_true(front->listing_bytes > MOST / 2);
    free(prefix);
    stop(driver);
}

/* ---- observing ---- */

static void test_observed(void **state)
{
    (void)state;
    for (unsigned shards = 1; shards <= 3; shards += 2) {
        struct driver *driver = start(shards);
        struct coap_peer *peer = coap_peer_new(driver, 0);
        char address[32];
        unsigned told = 0;
        const struct tf_coap_message *message;
        struct coap_ask ask = core(NULL);
        ask.observe = 1;
        ask.token = 5;
        message = coap_ask(peer, &ask, TF_COAP_CONTENT);
        assert_true(coap_number(message, TF_COAP_OBSERVE) >= 0);
        for (unsigned home = 0; home < shards; home++) { /* changes anywhere */
            coap_name(driver, address, "o", home);
            set(driver, address);
            driver_advance(driver, 2 * TF_SECOND);
            message = coap_expect(peer, TF_COAP_CONTENT);
            assert_int_equal(links(message->payload), home + 1);
            assert_null(coap_take(peer));
        }
        set(driver, address); /* another value of the same address is no change */
        driver_advance(driver, 2 * TF_SECOND);
        assert_null(coap_take(peer));
        for (unsigned i = 0; i < 40; i++) { /* not more than one a second and shard */
            sprintf(address, "fast%u/", i);
            fill(driver, address, 1);
            driver_advance(driver, TF_SECOND / 20);
        }
        driver_advance(driver, 2 * TF_SECOND);
        while ((message = coap_take(peer))) {
            told++;
            assert_true(links(message->payload) <= shards + 40);
        }
        assert_true(told >= 1 && told <= 4 * shards);
        assert_int_equal(links(peer->last->message.payload), TF_MIN(shards + 40, 1024));
        ask.observe = 2;
        coap_ask(peer, &ask, TF_COAP_CONTENT);
        for (unsigned i = 0; i < shards; i++) {
            assert_int_equal(coap_driver_front(driver, i)->core_watchers, 0);
        }
        fill(driver, "after", 1);
        driver_advance(driver, 2 * TF_SECOND);
        assert_null(coap_take(peer));
        stop(driver);
    }
}

/* Who begins to listen takes no news from who listens already. */
static void test_second_listener(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    struct coap_peer *first = coap_peer_new(driver, 0), *second = coap_peer_new(driver, 1);
    char address[32];
    struct coap_ask ask = core(NULL);
    ask.observe = 1;
    coap_ask(first, &ask, TF_COAP_CONTENT);
    set(driver, coap_name(driver, address, "s", 2));
    assert_int_equal(links(coap_expect(first, TF_COAP_CONTENT)->payload), 1);
    set(driver, coap_name(driver, address, "t", 2)); /* within the quiet second: told after it */
    driver_run(driver);
    coap_ask(second, &ask, TF_COAP_CONTENT);
    driver_advance(driver, 2 * TF_SECOND);
    assert_int_equal(links(coap_expect(first, TF_COAP_CONTENT)->payload), 2);
    stop(driver);
}

/* A notification's later blocks are of the listing that it began. */
static void test_later_blocks_of_a_notification(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    struct coap_peer *peer = coap_peer_new(driver, 0);
    uint8_t etag[8], other[8];
    fill(driver, "block/", 200);
    struct coap_ask ask = core(NULL);
    ask.observe = 1;
    coap_ask(peer, &ask, TF_COAP_CONTENT);
    fill(driver, "more/", 1);
    driver_advance(driver, 2 * TF_SECOND);
    const struct tf_coap_message *message = coap_expect(peer, TF_COAP_CONTENT);
    struct tf_bytes first = coap_etag(message, etag);
    assert_int_equal(message->payload.length, 1024);
    ask = core(NULL);
    ask.block2 = COAP_BLOCK(1, 0, 6);
    message = coap_ask(peer, &ask, TF_COAP_CONTENT);
    assert_true(tf_bytes_equal(first, coap_etag(message, other)));
    stop(driver);
}

/* Observers beyond the limit get a plain answer; all others are told, however full the output. */
static void test_many_observers(void **state)
{
    (void)state;
    enum { COUNT = 80 };
    struct driver *driver = start(1);
    struct coap_peer *peers[COUNT];
    unsigned observers = 0, told = 0;
    fill(driver, "many/", 200);
    for (unsigned i = 0; i < COUNT; i++) {
        peers[i] = coap_peer_new(driver, 0);
        struct coap_ask ask = core(NULL);
        ask.observe = 1;
        const struct tf_coap_message *message = coap_ask(peers[i], &ask, TF_COAP_CONTENT);
        observers += coap_number(message, TF_COAP_OBSERVE) >= 0;
    }
    assert_int_equal(observers, 64);
    set(driver, "one");
    driver_run(driver); /* 64 blocks of 1,024 bytes are more than the output holds */
    for (unsigned i = 0; i < COUNT; i++) {
        told += !tf_list_empty(&peers[i]->came);
    }
    assert_int_equal(told, 64);
    /* one that has gone without a word goes in time, and makes room */
    peers[0]->mute = true;
    for (unsigned i = 0; i < 40; i++) {
        char prefix[16];
        sprintf(prefix, "t%u/", i);
        fill(driver, prefix, 1);
        driver_advance(driver, 1100 * TF_MILLISECOND);
        for (unsigned j = 0; j < COUNT; j++) {
            while (coap_take(peers[j])) {
            }
        }
    }
    driver_advance(driver, 120 * TF_SECOND);
    assert_int_equal(coap_driver_front(driver, 0)->core_count, 63);
    stop(driver);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_not_listed),
        cmocka_unit_test(test_snapshot),
        cmocka_unit_test(test_many_readers),
        cmocka_unit_test(test_bounded_memory),
        cmocka_unit_test(test_observed),
        cmocka_unit_test(test_second_listener),
        cmocka_unit_test(test_later_blocks_of_a_notification),
        cmocka_unit_test(test_many_observers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
