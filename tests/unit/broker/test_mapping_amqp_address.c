/*
 * AMQP's addresses: the forms that say what kind of node they name. The rows of docs/mapping.md.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "broker/mapping.h"
#include "route/table.h"

static void assert_bytes(struct tf_bytes bytes, const char *wanted)
{
    assert_int_equal(bytes.length, strlen(wanted));
    assert_memory_equal(bytes.data, wanted, bytes.length);
}

static void test_addresses(void **state)
{
    static const struct {
        const char *text, *address; /* NULL: it is none */
        enum tf_mapping_node node;
    } rows[] = {
        {"x", "x", TF_NODE_PLAIN},
        {"/examples", "examples", TF_NODE_PLAIN},
        {"a/b/c", "a/b/c", TF_NODE_PLAIN},
        {"//a", "/a", TF_NODE_PLAIN},
        {"a%20b", "a%20b", TF_NODE_PLAIN},
        {"/queue/x", "queue/x", TF_NODE_PLAIN},
        {"queue://x", "x", TF_NODE_QUEUE},
        {"queue://a/b%2F", "a/b%2F", TF_NODE_QUEUE},
        {"queue:///a", "/a", TF_NODE_QUEUE},
        {"topic://a/b", "a/b", TF_NODE_TOPIC},
        {"/queues/x", "x", TF_NODE_QUEUE},
        {"/queues/a%2Fb%c3%A9", "a/b\xc3\xa9", TF_NODE_QUEUE},
        {"/topics/a/b", "a/b", TF_NODE_TOPIC},
        {"/topics/%2Fa", "/a", TF_NODE_TOPIC},
        {"$SYS/x", "$SYS/x", TF_NODE_PLAIN},
        {"", NULL, 0},
        {"/", NULL, 0},
        {"queue://", NULL, 0},
        {"/topics/", NULL, 0},
        {"/queues/%2", NULL, 0},
        {"/queues/%zz", NULL, 0},
        {"/queues/%ff", NULL, 0},
        {"/queues/a%00", NULL, 0},
        {"queue://a/+", NULL, 0},
        {"a/#", NULL, 0},
        {"topic://a/#", NULL, 0},
        {"\xc3", NULL, 0},
    };
    uint8_t buffer[64];
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        enum tf_mapping_node node = 99;
        struct tf_bytes address;
        enum tf_err err =
            tf_mapping_amqp_address(tf_bytes_str(rows[i].text), false, buffer, &node, &address);
        if (err != (rows[i].address ? TF_OK : TF_PROTOCOL)) {
            fail_msg("%s", rows[i].text);
        }
        if (!err) {
            assert_int_equal(node, rows[i].node);
            assert_bytes(address, rows[i].address);
        }
    }
}

/* What a receiver may name: filters, but not of queues. */
static void test_filters(void **state)
{
    static const struct {
        const char *text;
        bool good;
    } rows[] = {{"topic://sensors/#", true},
                {"/topics/+/b", true},
                {"a/+/c", true},
                {"#", true},
                {"queue://a/#", false},
                {"/queues/%23", false},
                {"topic://a#", false},
                {"a/#/b", false},
                {"topic://a/+b", false}};
    uint8_t buffer[64];
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        enum tf_mapping_node node;
        struct tf_bytes address;
        enum tf_err err =
            tf_mapping_amqp_address(tf_bytes_str(rows[i].text), true, buffer, &node, &address);
        if (err != (rows[i].good ? TF_OK : TF_PROTOCOL)) {
            fail_msg("%s", rows[i].text);
        }
    }
}

static void test_long_addresses(void **state)
{
    static uint8_t text[70000], buffer[70000];
    enum tf_mapping_node node;
    struct tf_bytes address;
    (void)state;
    memset(text, 'x', sizeof(text));
    assert_int_equal(
        tf_mapping_amqp_address(tf_bytes_of(text, 65535), false, buffer, &node, &address), TF_OK);
    assert_int_equal(
        tf_mapping_amqp_address(tf_bytes_of(text, 65536), false, buffer, &node, &address),
        TF_PROTOCOL);
    for (size_t i = 1; i < 2 * TF_LEVELS_MAX; i += 2) {
        text[i] = '/';
    }
    assert_int_equal(tf_mapping_amqp_address(tf_bytes_of(text, 2 * TF_LEVELS_MAX - 1), false,
                                             buffer, &node, &address),
                     TF_OK);
    assert_int_equal(tf_mapping_amqp_address(tf_bytes_of(text, 2 * TF_LEVELS_MAX), false, buffer,
                                             &node, &address),
                     TF_PROTOCOL);
}

static void test_names(void **state)
{
    uint8_t buffer[32];
    struct tf_writer writer = tf_writer_of(buffer, sizeof(buffer));
    (void)state;
    tf_mapping_amqp_name(TF_NODE_QUEUE, tf_bytes_str("a/b"), &writer);
    tf_mapping_amqp_name(TF_NODE_TOPIC, tf_bytes_str("c"), &writer);
    tf_mapping_amqp_name(TF_NODE_PLAIN, tf_bytes_str("d"), &writer);
    assert_bytes(tf_bytes_of(buffer, tf_writer_length(&writer)), "queue://a/btopic://cd");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_long_addresses),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
