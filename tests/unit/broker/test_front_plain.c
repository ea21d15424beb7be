/*
 * What AMQP published as sections, seen through the other fronts: MQTT subscribers and CoAP's
 * reads, observers, links and patches have its plain form (docs/mapping.md).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <trefoil/amqp_message.h>

#include "unit/broker/coap_driver.h"

#define ITEMS 2000u /* of a list whose JSON goes out by reference */

static struct driver *start(unsigned shards)
{
    struct driver *driver = malloc(sizeof(*driver));
    coap_driver_init(driver, shards);
    driver_start(driver);
    return driver;
}

static void stop(struct driver *driver)
{
    coap_driver_expect_idle(driver);
    driver_stop(driver);
    free(driver);
}

/* Publishes whole body sections as a retained message of AMQP's. */
static void publish(struct driver *driver, const char *address, const char *type,
                    struct tf_bytes body)
{
    struct tf_publication publication = {.envelope = {.address = tf_bytes_str(address),
                                                      .content_type = tf_bytes_str(type),
                                                      .origin = TF_PROTOCOL_AMQP,
                                                      .payload_format = TF_PAYLOAD_TEXT,
                                                      .body_format = TF_BODY_SECTIONS,
                                                      .qos = 1,
                                                      .retain = true,
                                                      .expires = TF_TIME_NEVER},
                                         .body = &body,
                                         .body_count = 1};
    struct tf_published result;
    enum tf_err err = tf_shard_publish(&driver->nodes[0].shard, &publication, NULL, 0, &result);
    assert_int_equal(err, TF_OK);
    tf_publication_release(&publication);
    driver_run(driver);
}

/* {"n":number} */
static struct tf_bytes number_map(uint8_t *buffer, size_t size, int32_t number)
{
    struct tf_writer writer = tf_writer_of(buffer, size);
    tf_amqp_write_section(&writer, TF_AMQP_AMQP_VALUE);
    size_t at = tf_amqp_write_map_begin(&writer);
    tf_amqp_write_string(&writer, tf_bytes_str("n"));
    tf_amqp_write_int(&writer, number);
    tf_amqp_write_map_end(&writer, at, 2);
    return tf_bytes_of(buffer, tf_writer_length(&writer));
}

/* A list that grows too much to be shown. */
static struct tf_bytes endless(uint8_t *buffer, size_t size)
{
    struct tf_writer writer = tf_writer_of(buffer, size);
    tf_amqp_write_section(&writer, TF_AMQP_AMQP_VALUE);
    size_t at = tf_amqp_write_list_begin(&writer);
    for (unsigned i = 0; i < 8; i++) {
        size_t array = tf_amqp_write_array_begin(&writer);
        tf_write_u8(&writer, TF_AMQP_CODE_NULL);
        tf_amqp_write_array_end(&writer, array, TF_AMQP_EMPTY_ITEMS_MAX);
    }
    tf_amqp_write_list_end(&writer, at, 8);
    assert_false(writer.failed);
    return tf_bytes_of(buffer, tf_writer_length(&writer));
}

static void test_mqtt(void **state)
{
    (void)state;
    for (unsigned shards = 1; shards <= 3; shards += 2) {
        struct driver *driver = start(shards);
        struct client client, late;
        uint8_t buffer[8 * ITEMS], id = 0;
        peer_connect(&client, driver, 0, "c", (struct hello){.clean = true});
        peer_subscribe(&client, "a/#", 1);
        publish(driver, "a/b", "application/json", number_map(buffer, sizeof(buffer), 5));
        id = (uint8_t)peer_expect_publish(&client, "a/b", "{\"n\":5}", 2);
        assert_int_not_equal(id, 0);
        peer_acknowledge(&client, PUBACK, id);
        peer_connect(&late, driver, 0, "l", (struct hello){.clean = true});
        peer_subscribe(&late, "a/#", 0);
        struct reply reply = peer_expect(&late, PUBLISH); /* the retained one */
        assert_true(reply.retain);
        assert_int_equal(reply.payload.length, 7);
        assert_memory_equal(reply.payload.data, "{\"n\":5}", 7);
        assert_non_null(reply_property(reply.properties, TF_MQTT_CONTENT_TYPE));
        assert_non_null(reply_property(reply.properties, TF_MQTT_PAYLOAD_FORMAT));
        stop(driver);
    }
}

/* JSON that is long goes out by reference, and to several. */
static void test_mqtt_large(void **state)
{
    struct driver *driver = start(3);
    struct client clients[2];
    uint8_t buffer[8 * ITEMS];
    struct tf_writer writer = tf_writer_of(buffer, sizeof(buffer));
    (void)state;
    tf_amqp_write_section(&writer, TF_AMQP_AMQP_SEQUENCE);
    size_t at = tf_amqp_write_list_begin(&writer);
    for (unsigned i = 0; i < ITEMS; i++) {
        tf_amqp_write_uint(&writer, 12345);
    }
    tf_amqp_write_list_end(&writer, at, ITEMS);
    for (unsigned i = 0; i < 2; i++) {
        peer_connect(&clients[i], driver, i, i ? "one" : "two", (struct hello){.clean = true});
        peer_subscribe(&clients[i], "a", i);
    }
    publish(driver, "a", "application/json", tf_bytes_of(buffer, tf_writer_length(&writer)));
    for (unsigned i = 0; i < 2; i++) {
        struct reply reply = peer_expect(&clients[i], PUBLISH);
        assert_int_equal(reply.payload.length, 6 * ITEMS + 1);
        assert_memory_equal(reply.payload.data, "[12345,12345,", 13);
        assert_memory_equal(reply.payload.data + reply.payload.length - 6, "12345]", 6);
        if (i) {
            peer_acknowledge(&clients[i], PUBACK, reply.id);
        }
    }
    stop(driver);
}

static void test_coap(void **state)
{
    (void)state;
    for (unsigned shards = 1; shards <= 3; shards += 2) {
        struct driver *driver = start(shards);
        struct coap_peer *peer = coap_peer_new(driver, 0), *observer = coap_peer_new(driver, 0);
        uint8_t buffer[64];
        publish(driver, "a", "application/json", number_map(buffer, sizeof(buffer), 5));
        struct coap_ask ask = {.code = TF_COAP_GET, .path = "a"};
        const struct tf_coap_message *answer = coap_ask(peer, &ask, TF_COAP_CONTENT);
        assert_true(coap_body_is(answer, "{\"n\":5}"));
        assert_int_equal(coap_number(answer, TF_COAP_CONTENT_FORMAT), TF_COAP_FORMAT_JSON);
        struct coap_ask observe = {.code = TF_COAP_GET, .path = "a", .observe = 1, .token = 77};
        assert_true(coap_body_is(coap_ask(observer, &observe, TF_COAP_CONTENT), "{\"n\":5}"));
        publish(driver, "a", "application/json", number_map(buffer, sizeof(buffer), 6));
        assert_true(coap_body_is(coap_expect(observer, TF_COAP_CONTENT), "{\"n\":6}"));
        /* the size of what is not made before it is read is not told */
        struct coap_ask core = {.code = TF_COAP_GET, .path = ".well-known/core"};
        assert_true(coap_body_is(coap_ask(peer, &core, TF_COAP_CONTENT), "</a>;ct=50;obs"));
        /* JSON can be patched, whoever wrote it */
        struct coap_ask patch = {.code = TF_COAP_IPATCH,
                                 .path = "a",
                                 .text = "{\"m\":1}",
                                 .format = COAP_FORMAT(TF_COAP_FORMAT_MERGE_PATCH)};
        coap_ask(peer, &patch, TF_COAP_CHANGED);
        coap_expect_value(peer, "a", "{\"n\":6,\"m\":1}");
        assert_true(coap_body_is(coap_expect(observer, TF_COAP_CONTENT), "{\"n\":6,\"m\":1}"));
        stop(driver);
    }
}

/* What nobody can be shown harms nobody: MQTT goes on, CoAP is told. */
static void test_what_cannot_be_shown(void **state)
{
    struct driver *driver = start(1);
    struct coap_peer *peer = coap_peer_new(driver, 0), *observer = coap_peer_new(driver, 0);
    struct client client;
    uint8_t buffer[512];
    (void)state;
    peer_connect(&client, driver, 0, "c", (struct hello){.clean = true});
    peer_subscribe(&client, "a", 1);
    publish(driver, "a", "application/json", number_map(buffer, sizeof(buffer), 1));
    peer_acknowledge(&client, PUBACK, peer_expect_publish(&client, "a", "{\"n\":1}", 2));
    struct coap_ask observe = {.code = TF_COAP_GET, .path = "a", .observe = 1, .token = 77};
    coap_ask(observer, &observe, TF_COAP_CONTENT);
    publish(driver, "a", "application/json", endless(buffer, sizeof(buffer)));
    peer_expect_nothing(&client);
    coap_expect(observer, TF_COAP_UNAVAILABLE); /* RFC 7641 3.2: which ends it */
    assert_true(tf_list_empty(&coap_driver_channel(driver, 0)->observers));
    coap_ask(peer, &(struct coap_ask){.code = TF_COAP_GET, .path = "a"}, TF_COAP_UNAVAILABLE);
    coap_ask(peer, &observe, TF_COAP_UNAVAILABLE);
    assert_true(tf_list_empty(&coap_driver_channel(driver, 0)->observers));
    struct coap_ask patch = {.code = TF_COAP_IPATCH,
                             .path = "a",
                             .text = "{\"m\":1}",
                             .format = COAP_FORMAT(TF_COAP_FORMAT_MERGE_PATCH)};
    coap_ask(peer, &patch, TF_COAP_UNAVAILABLE);
    publish(driver, "a", "application/json", number_map(buffer, sizeof(buffer), 2));
    peer_acknowledge(&client, PUBACK, peer_expect_publish(&client, "a", "{\"n\":2}", 2));
    stop(driver);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mqtt),
        cmocka_unit_test(test_mqtt_large),
        cmocka_unit_test(test_coap),
        cmocka_unit_test(test_what_cannot_be_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
