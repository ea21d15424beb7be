/*
 * The tables of a session: against a plain model, with random steps.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "mqtt/session.h"

static void give_sent(struct tf_mqtt_session *session, uint16_t capacity)
{
    size_t size = tf_mqtt_session_sent_size(capacity);
    void *old;

    assert_int_equal(tf_mqtt_session_give_sent(session, malloc(size), size, &old), TF_OK);
    free(old);
}

static void give_received(struct tf_mqtt_session *session, uint16_t capacity)
{
    size_t size = tf_mqtt_session_received_size(capacity);
    void *old;

    assert_int_equal(tf_mqtt_session_give_received(session, malloc(size), size, &old), TF_OK);
    free(old);
}

static void test_sent_order(void **state)
{
    struct tf_mqtt_session session;
    enum tf_mqtt_sent_state sent_state;
    uint32_t cursor = 0;
    uint64_t handle;

    (void)state;
    tf_mqtt_session_init(&session);
    assert_true(tf_mqtt_session_sent_full(&session));
    assert_null(tf_mqtt_session_sent(&session, 1));
    give_sent(&session, 3);
    for (uint64_t i = 1; i <= 3; i++)
        assert_int_equal(tf_mqtt_session_sent_add(&session, i, TF_MQTT_SENT_PUBACK), i);
    assert_true(tf_mqtt_session_sent_full(&session));
    tf_mqtt_session_sent_remove(&session, 2);
    /* The id is used again, but it is the youngest now. */
    assert_int_equal(tf_mqtt_session_sent_add(&session, 20, TF_MQTT_SENT_PUBREC), 2);
    give_sent(&session, 5);
    assert_int_equal(tf_mqtt_session_sent_add(&session, 4, TF_MQTT_SENT_PUBACK), 4);
    const uint64_t order[] = {1, 3, 20, 4};
    for (size_t i = 0; i < 4; i++) {
        assert_true(tf_mqtt_session_sent_next(&session, &cursor, &handle, &sent_state));
        assert_int_equal(handle, order[i]);
        assert_int_equal(sent_state, handle == 20 ? TF_MQTT_SENT_PUBREC : TF_MQTT_SENT_PUBACK);
    }
    assert_false(tf_mqtt_session_sent_next(&session, &cursor, &handle, &sent_state));
    assert_true(tf_mqtt_session_check(&session));
    assert_null(tf_mqtt_session_take_sent(&session));
    for (uint16_t id = 1; id <= 4; id++)
        tf_mqtt_session_sent_remove(&session, id);
    void *memory = tf_mqtt_session_take_sent(&session);
    assert_non_null(memory);
    free(memory);
    assert_true(tf_mqtt_session_check(&session));
    assert_true(tf_mqtt_session_sent_full(&session));
}

static void test_sent_random(void **state)
{
    enum { MOST = 64 };
    struct tf_mqtt_session session;
    uint64_t seed = 7, next = 1, handles[MOST + 1] = {0};
    uint16_t order[MOST], count = 0;

    (void)state;
    tf_mqtt_session_init(&session);
    give_sent(&session, 1);
    for (int step = 0; step < 20000; step++) {
        if (count < MOST && tf_random_split(&seed) % 2) {
            if (tf_mqtt_session_sent_full(&session))
                give_sent(&session, (uint16_t)(session.sent_capacity * 2));
            uint16_t id = tf_mqtt_session_sent_add(&session, next, TF_MQTT_SENT_PUBACK);
            assert_in_range(id, 1, MOST);
            assert_int_equal(handles[id], 0);
            handles[id] = next++;
            order[count++] = id;
        } else if (count > 0) {
            size_t at = tf_random_split(&seed) % count;
            uint16_t id = order[at];
            assert_int_equal(tf_mqtt_session_sent(&session, id)->handle, handles[id]);
            tf_mqtt_session_sent_remove(&session, id);
            assert_null(tf_mqtt_session_sent(&session, id));
            handles[id] = 0;
            memmove(order + at, order + at + 1, (count - at - 1) * sizeof *order);
            count--;
        }
        assert_true(tf_mqtt_session_check(&session));
        uint16_t id = session.sent_first;
        for (uint16_t i = 0; i < count; i++, id = session.sent[id - 1].next)
            assert_int_equal(id, order[i]);
        assert_int_equal(id, 0);
    }
    free(session.sent);
}

static void test_sent_misuse(void **state)
{
    struct tf_mqtt_session session;
    char memory[64];
    void *old = &session;

    (void)state;
    tf_mqtt_session_init(&session);
    assert_int_equal(tf_mqtt_session_give_sent(&session, memory, 0, &old), TF_MISUSE);
    assert_int_equal(tf_mqtt_session_give_sent(&session, NULL, 64, &old), TF_MISUSE);
    give_sent(&session, 4);
    assert_int_equal(
        tf_mqtt_session_give_sent(&session, memory, tf_mqtt_session_sent_size(3), &old), TF_MISUSE);
    assert_ptr_equal(old, &session);
    free(tf_mqtt_session_take_sent(&session));
}

/* Every id at once: the largest table is not sparse, and still every id is found. */
static void test_sent_all(void **state)
{
    struct tf_mqtt_session session;

    (void)state;
    tf_mqtt_session_init(&session);
    give_sent(&session, 65535);
    for (uint32_t i = 1; i <= 65535; i++)
        assert_int_equal(tf_mqtt_session_sent_add(&session, i, TF_MQTT_SENT_PUBACK), i);
    assert_true(tf_mqtt_session_sent_full(&session));
    assert_true(tf_mqtt_session_check(&session));
    for (uint32_t i = 65535; i >= 1; i--)
        tf_mqtt_session_sent_remove(&session, (uint16_t)i);
    assert_true(tf_mqtt_session_check(&session));
    free(tf_mqtt_session_take_sent(&session));
}

static void test_received_random(void **state)
{
    struct tf_mqtt_session session;
    uint8_t *model = calloc(65536, 1);
    uint64_t seed = 3;

    (void)state;
    tf_mqtt_session_init(&session);
    assert_true(tf_mqtt_session_received_full(&session));
    assert_null(tf_mqtt_session_received(&session, 5));
    for (int step = 0; step < 20000; step++) {
        /* Few distinct low bits, so that probes run into each other and around the end. */
        uint16_t id = (uint16_t)((tf_random_split(&seed) % 40) * 1024 +
                                 (tf_random_split(&seed) % 3 ? 1023 : 5));
        struct tf_mqtt_received *entry = tf_mqtt_session_received(&session, id);
        assert_int_equal(entry != NULL, model[id]);
        if (!entry) {
            if (tf_mqtt_session_received_full(&session))
                give_received(&session, (uint16_t)(session.received_count * 2 + 1));
            entry = tf_mqtt_session_received_add(&session, id);
            assert_int_equal(entry->packet_id, id);
            assert_int_equal(entry->state, TF_MQTT_RECEIVED_PENDING);
        } else {
            tf_mqtt_session_received_remove(&session, entry);
        }
        model[id] = !model[id];
        assert_true(tf_mqtt_session_check(&session));
    }
    free(session.received);
    free(model);
}

static void test_received_all(void **state)
{
    struct tf_mqtt_session session;

    (void)state;
    tf_mqtt_session_init(&session);
    give_received(&session, 32768);
    for (uint32_t id = 1; id <= 65535; id++)
        assert_non_null(tf_mqtt_session_received_add(&session, (uint16_t)id));
    assert_true(tf_mqtt_session_received_full(&session));
    assert_true(tf_mqtt_session_check(&session));
    assert_null(tf_mqtt_session_take_received(&session));
    for (uint32_t id = 1; id <= 65535; id++)
        tf_mqtt_session_received_remove(&session, tf_mqtt_session_received(&session, (uint16_t)id));
    assert_int_equal(session.received_count, 0);
    free(tf_mqtt_session_take_received(&session));
}

static void test_published(void **state)
{
    struct tf_mqtt_session session;

    (void)state;
    tf_mqtt_session_init(&session);
    tf_mqtt_session_published(&session, 1, 0);
    give_received(&session, 4);
    (void)tf_mqtt_session_received_add(&session, 1);
    (void)tf_mqtt_session_received_add(&session, 2);
    tf_mqtt_session_published(&session, 1, 0x10);
    tf_mqtt_session_published(&session, 1, 0x87); /* too late: it is accepted */
    tf_mqtt_session_published(&session, 2, 0x87);
    assert_int_equal(tf_mqtt_session_received(&session, 1)->state, TF_MQTT_RECEIVED_DONE);
    assert_null(tf_mqtt_session_received(&session, 2));
    tf_mqtt_session_received(&session, 1)->state = TF_MQTT_RECEIVED_RELEASED;
    tf_mqtt_session_received(&session, 1)->counted = true;
    tf_mqtt_session_reconnect(&session);
    assert_int_equal(tf_mqtt_session_received(&session, 1)->state, TF_MQTT_RECEIVED_DONE);
    assert_false(tf_mqtt_session_received(&session, 1)->counted);
    free(session.received);
}

static void test_restore_sent(void **state)
{
    struct tf_mqtt_session session;
    enum tf_mqtt_sent_state sent_state;
    uint32_t cursor = 0;
    uint64_t handle;

    (void)state;
    tf_mqtt_session_init(&session);
    assert_int_equal(tf_mqtt_session_youngest(&session), 0);
    assert_int_equal(tf_mqtt_session_restore_sent(&session, 1, 1, TF_MQTT_SENT_PUBACK),
                     TF_NO_MEMORY);
    give_sent(&session, 8);
    assert_int_equal(tf_mqtt_session_restore_sent(&session, 0, 1, TF_MQTT_SENT_PUBACK), TF_MISUSE);
    assert_int_equal(tf_mqtt_session_restore_sent(&session, 1, 1, TF_MQTT_SENT_FREE), TF_MISUSE);
    assert_int_equal(tf_mqtt_session_restore_sent(&session, 1, 1, TF_MQTT_SENT_RELEASE), TF_MISUSE);
    assert_int_equal(tf_mqtt_session_restore_sent(&session, 1, 1, TF_MQTT_SENT_SUBACK), TF_MISUSE);
    assert_int_equal(tf_mqtt_session_restore_sent(&session, 9, 1, TF_MQTT_SENT_PUBACK),
                     TF_NO_MEMORY);
    assert_int_equal(tf_mqtt_session_restore_sent(&session, 6, 60, TF_MQTT_SENT_PUBCOMP), TF_OK);
    assert_true(tf_mqtt_session_check(&session));
    assert_int_equal(tf_mqtt_session_restore_sent(&session, 6, 60, TF_MQTT_SENT_PUBACK), TF_MISUSE);
    assert_int_equal(tf_mqtt_session_restore_sent(&session, 3, 30, TF_MQTT_SENT_PUBREC), TF_OK);
    assert_int_equal(tf_mqtt_session_restore_sent(&session, 7, 70, TF_MQTT_SENT_PUBACK), TF_OK);
    assert_int_equal(tf_mqtt_session_restore_sent(&session, 4, 40, TF_MQTT_SENT_PUBACK), TF_OK);
    assert_int_equal(tf_mqtt_session_restore_sent(&session, 1, 10, TF_MQTT_SENT_PUBACK), TF_OK);
    assert_true(tf_mqtt_session_check(&session));
    assert_int_equal(tf_mqtt_session_youngest(&session), 1);
    const uint64_t order[] = {60, 30, 70, 40, 10};
    for (size_t i = 0; i < 5; i++) {
        assert_true(tf_mqtt_session_sent_next(&session, &cursor, &handle, &sent_state));
        assert_int_equal(handle, order[i]);
    }
    assert_false(tf_mqtt_session_sent_next(&session, &cursor, &handle, &sent_state));
    /* the gaps are what new deliveries get, then what was never used */
    assert_int_equal(tf_mqtt_session_sent_add(&session, 2, TF_MQTT_SENT_PUBACK), 2);
    assert_int_equal(tf_mqtt_session_sent_add(&session, 5, TF_MQTT_SENT_PUBACK), 5);
    assert_int_equal(tf_mqtt_session_sent_add(&session, 8, TF_MQTT_SENT_PUBACK), 8);
    assert_int_equal(tf_mqtt_session_youngest(&session), 8);
    assert_true(tf_mqtt_session_sent_full(&session));
    assert_true(tf_mqtt_session_check(&session));
    free(session.sent);
}

/* In any order, and mixed with ids that come and go; each is found and the lists are whole. */
static void test_restore_random(void **state)
{
    enum { MOST = 300 };
    struct tf_mqtt_session session;
    uint64_t seed = 11;
    uint16_t count = 0;
    bool used[MOST + 1] = {false};

    (void)state;
    tf_mqtt_session_init(&session);
    give_sent(&session, MOST);
    for (int step = 0; step < 5000; step++) {
        uint16_t id = (uint16_t)(tf_random_split(&seed) % MOST + 1);
        if (used[id]) {
            assert_int_equal(tf_mqtt_session_restore_sent(&session, id, id, TF_MQTT_SENT_PUBREC),
                             TF_MISUSE);
            tf_mqtt_session_sent_remove(&session, id);
            used[id] = false;
            count--;
        } else if (tf_random_split(&seed) % 4 == 0) {
            id = tf_mqtt_session_sent_add(&session, 1, TF_MQTT_SENT_PUBACK);
            assert_false(used[id]);
            used[id] = true;
            count++;
        } else {
            assert_int_equal(tf_mqtt_session_restore_sent(&session, id, id, TF_MQTT_SENT_PUBREC),
                             TF_OK);
            assert_int_equal(tf_mqtt_session_youngest(&session), id);
            used[id] = true;
            count++;
        }
        assert_int_equal(session.sent_count, count);
        assert_true(tf_mqtt_session_check(&session));
    }
    free(session.sent);
}

static void test_restore_received(void **state)
{
    struct tf_mqtt_session session;
    uint32_t cursor = 0, seen = 0;
    uint16_t id = 0;

    (void)state;
    tf_mqtt_session_init(&session);
    assert_false(tf_mqtt_session_received_next(&session, &cursor, &id));
    assert_int_equal(tf_mqtt_session_restore_received(&session, 7), TF_NO_MEMORY);
    give_received(&session, 4);
    assert_int_equal(tf_mqtt_session_restore_received(&session, 0), TF_MISUSE);
    for (uint16_t i = 1; i <= 4; i++)
        assert_int_equal(tf_mqtt_session_restore_received(&session, i * 8), TF_OK);
    assert_int_equal(tf_mqtt_session_restore_received(&session, 8), TF_MISUSE);
    assert_int_equal(tf_mqtt_session_restore_received(&session, 9), TF_NO_MEMORY);
    assert_true(tf_mqtt_session_check(&session));
    assert_int_equal(tf_mqtt_session_received(&session, 16)->state, TF_MQTT_RECEIVED_DONE);
    assert_false(tf_mqtt_session_received(&session, 16)->counted);
    while (tf_mqtt_session_received_next(&session, &cursor, &id)) {
        assert_true(id % 8 == 0 && id <= 32);
        seen += id;
    }
    assert_int_equal(seen, 80);
    free(session.received);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_restore_sent),     cmocka_unit_test(test_restore_random),
        cmocka_unit_test(test_restore_received), cmocka_unit_test(test_sent_order),
        cmocka_unit_test(test_sent_random),      cmocka_unit_test(test_sent_misuse),
        cmocka_unit_test(test_sent_all),         cmocka_unit_test(test_received_random),
        cmocka_unit_test(test_received_all),     cmocka_unit_test(test_published),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
