/*
 * What the CoAP front does when there is no memory: whatever was begun ends, all is given back, and
 * the next request is answered.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "unit/broker/coap_driver.h"

#define MERGE COAP_FORMAT(TF_COAP_FORMAT_MERGE_PATCH)
#define RUN "{\"123456789\":12}" /* a block of the smallest size */

static struct driver *start(unsigned shards)
{
    struct driver *driver = malloc(sizeof(*driver));
    coap_driver_init(driver, shards);
    driver->config.coap_max_peers = 100;
    driver->config.coap_max_replies = 20;
    driver->config.listeners[1].coap_max_observers = 30;
    driver_start(driver);
    return driver;
}

/* The peers of a run, and the addresses that they ask for: one at each shard. */
struct cast {
    struct driver *driver;
    struct coap_peer *peers[3];
    char paths[3][32];
    unsigned step;
};

static void cast_init(struct cast *cast, struct driver *driver)
{
    memset(cast, 0, sizeof(*cast));
    cast->driver = driver;
    for (unsigned i = 0; i < driver->count; i++) {
        cast->peers[i] = coap_peer_new(driver, i);
        coap_name(driver, cast->paths[i], "m/", i);
    }
}

/* Everybody asks for every address. */
static void all_ask(struct cast *cast, struct coap_ask ask)
{
    for (unsigned i = 0; i < cast->driver->count; i++) {
        for (unsigned j = 0; j < cast->driver->count; j++) {
            ask.path = cast->paths[j];
            ask.token = ask.observe ? 1000 + j : 0;
            coap_send(cast->peers[i], &ask);
        }
    }
    driver_run(cast->driver);
    for (unsigned i = 0; i < cast->driver->count; i++) {
        while (coap_take(cast->peers[i])) {
        }
    }
}

/* A bit of all that the front does; answers may be missing. */
static void use(struct cast *cast)
{
    struct driver *driver = cast->driver;
    struct coap_ask core = {.code = TF_COAP_GET, .path = ".well-known/core", .observe = 1};
    all_ask(cast, (struct coap_ask){.code = TF_COAP_PUT, .text = RUN});
    all_ask(cast, (struct coap_ask){.code = TF_COAP_GET, .observe = 1});
    for (unsigned i = 0; i < driver->count; i++) {
        coap_send(cast->peers[i], &core);
    }
    all_ask(cast, (struct coap_ask){.code = TF_COAP_POST, .text = "[]", .format = COAP_FORMAT(50)});
    all_ask(cast, (struct coap_ask){.code = TF_COAP_PATCH, .text = RUN, .format = MERGE});
    all_ask(cast,
            (struct coap_ask){.code = TF_COAP_PUT, .text = RUN, .block1 = COAP_BLOCK(0, 1, 0)});
    all_ask(cast,
            (struct coap_ask){.code = TF_COAP_PUT, .text = " ", .block1 = COAP_BLOCK(1, 0, 0)});
    coap_send(cast->peers[0], &(struct coap_ask){.code = TF_COAP_PUT, .path = "new", .text = "x"});
    driver_advance(driver, 3 * TF_SECOND);
    core.observe = 0;
    core.query = "href=/m*";
    coap_send(cast->peers[0], &core);
    all_ask(cast, (struct coap_ask){.code = TF_COAP_GET, .observe = 2});
    all_ask(cast, (struct coap_ask){.code = TF_COAP_GET});
    all_ask(cast, (struct coap_ask){.code = TF_COAP_DELETE});
}

/* The front is whole: a good client is served by every shard. */
static void serve(struct cast *cast)
{
    struct driver *driver = cast->driver;
    for (unsigned i = 0; i < driver->count; i++) {
        struct coap_peer *peer = coap_peer_new(driver, i);
        for (unsigned j = 0; j < driver->count; j++) {
            struct coap_ask ask = {.code = TF_COAP_GET, .path = cast->paths[j], .observe = 1};
            coap_put(peer, cast->paths[j], "after");
            const struct tf_coap_message *message = coap_ask(peer, &ask, TF_COAP_CONTENT);
            assert_true(coap_body_is(message, "after"));
            assert_true(coap_number(message, TF_COAP_OBSERVE) >= 0);
            coap_send(peer, &(struct coap_ask){.code = TF_COAP_DELETE, .path = cast->paths[j]});
            assert_non_null(coap_take(peer));
            assert_non_null(coap_take(peer)); /* that, and what the observer is told */
        }
        struct coap_ask core = {.code = TF_COAP_GET, .path = ".well-known/core"};
        coap_ask(peer, &core, TF_COAP_CONTENT);
    }
}

/* Ends a run: nothing is left under way. */
static void stop(struct cast *cast)
{
    struct driver *driver = cast->driver;
    driver_advance(driver, 250 * TF_SECOND); /* bodies that were begun are given up */
    coap_driver_expect_idle(driver);
    driver_stop(driver);
    free(driver);
}

static void test_every_allocation_failed(void **state)
{
    (void)state;
    for (unsigned shards = 1; shards <= 3; shards += 2) {
        size_t nth = 1;
        for (bool failed = true; failed; nth++) {
            struct driver *driver = start(shards);
            struct cast cast;
            cast_init(&cast, driver);
            test_alloc_fail(&driver->memory, nth);
            use(&cast);
            failed = driver->memory.failed != 0;
            test_alloc_fail(&driver->memory, 0);
            serve(&cast);
            stop(&cast);
        }
        assert_true(nth > 60);
    }
}

/* Asks all at once and turns the shards a while, so that something is under way everywhere. */
static void use_while(struct cast *cast, unsigned turns)
{
    struct coap_ask ask = {.code = TF_COAP_PATCH, .text = RUN, .format = MERGE};
    for (unsigned i = 0; i < cast->driver->count; i++) {
        for (unsigned j = 0; j < cast->driver->count; j++) {
            ask.path = cast->paths[j];
            ask.code = TF_COAP_PATCH;
            coap_send(cast->peers[i], &ask);
            ask.code = TF_COAP_GET;
            ask.observe = 1;
            coap_send(cast->peers[i], &ask);
            ask.observe = 0;
            ask.code = TF_COAP_POST;
            coap_send(cast->peers[i], &ask);
        }
        ask.path = ".well-known/core";
        ask.code = TF_COAP_GET;
        ask.observe = i & 1;
        coap_send(cast->peers[i], &ask);
        coap_send(cast->peers[i], &ask);
        ask.observe = 0;
    }
    for (unsigned i = 0; i < turns; i++) {
        (void)driver_turn(cast->driver, i % cast->driver->count);
    }
}

/* Nothing is to be had for a while, from the nth allocation on. */
static void test_no_memory_for_a_while(void **state)
{
    (void)state;
    for (unsigned shards = 1; shards <= 3; shards += 2) {
        for (size_t nth = 1; nth < 120; nth += 1 + nth / 16) {
            struct driver *driver = start(shards);
            struct cast cast;
            cast_init(&cast, driver);
            use_while(&cast, (unsigned)nth % 5);
            driver->memory.fail_on = true;
            test_alloc_fail(&driver->memory, nth);
            use_while(&cast, 30);
            for (unsigned i = 0; i < 5; i++) {
                driver->now += TF_SECOND / 2;
                use_while(&cast, 10);
            }
            driver->memory.fail_on = false;
            test_alloc_fail(&driver->memory, 0);
            driver_run(driver);
            serve(&cast);
            stop(&cast);
        }
    }
}

/* A request that meets a lack of memory is answered, at the latest when it comes again. */
static void test_answered_all_the_same(void **state)
{
    (void)state;
    static const struct coap_ask asks[] = {
        {.code = TF_COAP_GET},
        {.code = TF_COAP_GET, .observe = 1},
        {.code = TF_COAP_PUT, .text = "x"},
        {.code = TF_COAP_POST, .text = "x"},
        {.code = TF_COAP_DELETE},
        {.code = TF_COAP_PATCH, .text = "{}", .format = MERGE},
        {.code = TF_COAP_PUT, .text = RUN, .block1 = COAP_BLOCK(0, 1, 0)},
        {.code = TF_COAP_GET, .path = ".well-known/core"},
        {.code = TF_COAP_GET, .path = ".well-known/core", .observe = 1},
    };
    for (unsigned a = 0; a < TF_COUNT(asks); a++) {
        for (unsigned home = 0; home < 2; home++) {
            for (size_t nth = 1; nth < 19; nth++) {
                struct driver *driver = start(3);
                struct cast cast;
                struct coap_ask ask = asks[a];
                cast_init(&cast, driver);
                coap_put(cast.peers[2], cast.paths[home], "{}");
                ask.path = ask.path ? ask.path : cast.paths[home];
                driver->memory.fail_on = nth % 2;
                test_alloc_fail(&driver->memory, (nth + 1) / 2);
                coap_send(cast.peers[0], &ask);
                for (unsigned i = 0; i < 12; i++) {
                    (void)driver_turn(driver, i % 3);
                }
                driver->memory.fail_on = false;
                test_alloc_fail(&driver->memory, 0);
                const struct tf_coap_message *answer = coap_take(cast.peers[0]);
                if (!answer) {
                    coap_send(cast.peers[0], &ask);
                    answer = coap_take(cast.peers[0]);
                }
                assert_non_null(answer);
                stop(&cast);
            }
        }
    }
}

/* What an observer costs, beside the machine's memory, which is had at the start. */
static void test_observer_cost(void **state)
{
    (void)state;
    struct driver *driver = start(1);
    struct coap_peer *peer = coap_peer_new(driver, 0);
    size_t before;
    coap_put(peer, "a", "x");
    for (unsigned i = 0; i < 21; i++) {
        struct coap_ask ask = {.code = TF_COAP_GET, .path = "a", .observe = 1, .token = i + 1};
        coap_ask(peer, &ask, TF_COAP_CONTENT);
        if (i == 0) {
            driver_run(driver);
            before = driver->memory.bytes;
        }
    }
    driver_run(driver);
    size_t each = (driver->memory.bytes - before) / 20;
    printf("an observer: %zu bytes beside the machine's\n", each);
    assert_true(each <= 200);
    driver_stop(driver);
    free(driver);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation_failed),
        cmocka_unit_test(test_no_memory_for_a_while),
        cmocka_unit_test(test_answered_all_the_same),
        cmocka_unit_test(test_observer_cost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
