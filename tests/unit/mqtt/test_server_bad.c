/*
 * The server's machine and what must not be sent to it: bytes in, bytes out, closed or not. Each
 * row runs four ways and leaves nothing behind. The numbers are those of the project's list of bad
 * inputs; what only a broker can tell (rights, the validity of filters) is not here.
 */
#include "server_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "notation.h"

#define WAY(state) (*(enum rig_way *)*(state))

struct row {
    const char *name;
    const char *before; /* sent first; its output is not looked at. NULL: a 5.0 handshake */
    const char *bad;
    const char *output; /* up to where the reason string would begin */
    int reason;         /* of the close; -1: it stays open */
};

#define V5 NULL
#define V4 "10[<MQTT>04 02 003c <me>]"
#define NONE ""

static const struct row rows[] = {
    {"1 five-byte length", V5, "30 ffffffff 01", "e0[81", 0x81},
    {"2 length not minimal", V5, "c0 8000", "e0[81", 0x81},
    {"3 truncated PUBLISH", V5, "32[<a>00]", "e0[81", 0x81},
    {"3 truncated PUBLISH, 3.1.1", V4, "32[<a>00]", "", 0x81},
    {"3 topic past the end", V5, "30[0005 'a']", "e0[81", 0x81},
    {"4 type 0", V5, "00[]", "e0[81", 0x81},
    {"5 flags of SUBSCRIBE", V5, "80[0001 [] <a> 00]", "e0[81", 0x81},
    {"5 flags of PUBREL", V5, "60[0001]", "e0[81", 0x81},
    {"5 flags of PINGREQ, 3.1.1", V4, "c1[]", "", 0x81},
    {"6 over Maximum Packet Size", V5, "30 ffff7f", "e0[95", 0x95},
    {"7 CONNACK from a client", V5, "20[00 00 []]", "e0[82", 0x82},
    {"7 SUBACK from a client", V5, "90[0001 [] 00]", "e0[82", 0x82},
    {"7 UNSUBACK from a client", V5, "b0[0001 [] 00]", "e0[82", 0x82},
    {"7 PINGRESP from a client", V5, "d0[]", "e0[82", 0x82},
    {"8 PUBLISH first", NONE, "30[<a>]", "", 0x82},
    {"8 nonsense first", NONE, "'GET / HTTP/1.1'", "", 0x82},
    {"9 second CONNECT", V5, "10[<MQTT>05 02 003c [] <me>]", "e0[82", 0x82},
    {"9 second CONNECT, 3.1.1", V4, "10[<MQTT>04 02 003c <me>]", "", 0x82},
    {"10 protocol name", NONE, "10[<MQTX>05 02 003c [] <me>]", "", 0x84},
    {"10 protocol name, 3.1.1", NONE, "10[<MQTX>04 02 003c <me>]", "", 0x84},
    {"11 version 6", NONE, "10[<MQTT>06 02 003c [] <me>]", "20[00 84", 0x84},
    {"11 version 2", NONE, "10[<MQTT>02 02 003c <me>]", "20[00 01]", 0x84},
    {"12 reserved flag", NONE, "10[<MQTT>05 03 003c [] <me>]", "20[00 81", 0x81},
    {"12 reserved flag, 3.1.1", NONE, "10[<MQTT>04 03 003c <me>]", "", 0x81},
    {"13 will QoS 3", NONE, "10[<MQTT>05 1e 003c [] <me> [] <w> <p>]", "20[00 81", 0x81},
    {"13 will retain without will", NONE, "10[<MQTT>05 22 003c [] <me>]", "20[00 81", 0x81},
    {"14 password without user name, 3.1.1", NONE, "10[<MQTT>04 42 003c <me> <pw>]", "", 0x81},
    {"15 empty id without clean session", NONE, "10[<MQTT>04 00 003c <>]", "20[00 02]", 0x85},
    {"17 NUL in a topic", V5, "30[0001 00 []]", "e0[81", 0x81},
    {"17 surrogate in a topic", V5, "30[0003 eda080 []]", "e0[81", 0x81},
    {"17 overlong client id", NONE, "10[<MQTT>05 02 003c [] 0002 c0af]", "20[00 81", 0x81},
    {"18 property of another packet", V5, "30[<a> [11 00000000]]", "e0[81", 0x81},
    {"18 unknown property", V5, "30[<a> [7f 00]]", "e0[81", 0x81},
    {"19 property twice", V5, "30[<a> [01 00 01 00]]", "e0[82", 0x82},
    {"20 property length past the end", V5, "30[<a> 7f 01 00]", "e0[81", 0x81},
    {"22 Receive Maximum 0", NONE, "10[<MQTT>05 02 003c [21 0000] <me>]", "20[00 82", 0x82},
    {"22 Maximum Packet Size 0", NONE, "10[<MQTT>05 02 003c [27 00000000] <me>]", "20[00 82", 0x82},
    {"23 AUTH", V5, "f0[18 [15 <m>]]", "e0[82", 0x82},
    {"23 AUTH, 3.1.1", V4, "f0[]", "", 0x82},
    {"23 unknown method", NONE, "10[<MQTT>05 02 003c [15 <SCRAM>] <me>]", "20[00 8c", 0x8c},
    {"26 QoS 3", V5, "36[<a> 0001 []]", "e0[81", 0x81},
    {"27 DUP at QoS 0", V5, "38[<a> []]", "e0[81", 0x81},
    {"28 wildcard in a topic", V5, "30[<a/#> []]", "e0[90", 0x90},
    {"28 wildcard in a topic, 3.1.1", V4, "30[<+>]", "", 0x90},
    {"28 wildcard in the will's topic", NONE, "10[<MQTT>05 06 003c [] <me> [] <#> <p>]", "20[00 90",
     0x90},
    {"29 no topic, no alias", V5, "30[<> []]", "e0[82", 0x82},
    {"29 no topic, 3.1.1", V4, "30[<>]", "", 0x82},
    {"30 alias 0", V5, "30[<a> [23 0000]]", "e0[94", 0x94},
    {"30 alias over the maximum", V5, "30[<a> [23 000b]]", "e0[94", 0x94},
    {"31 alias never set", V5, "30[<> [23 0001]]", "e0[82", 0x82},
    {"31 alias never set beside one that is", "10[<MQTT>05 02 003c [] <me>] 30[<a> [23 0001]]",
     "30[<> [23 0002]]", "e0[82", 0x82},
    {"32 packet id 0 in PUBLISH", V5, "32[<a> 0000 []]", "e0[82", 0x82},
    {"32 packet id 0 in SUBSCRIBE", V5, "82[0000 [] <a> 00]", "e0[82", 0x82},
    {"32 packet id 0 in PUBREL", V5, "62[0000]", "e0[82", 0x82},
    {"33 subscription id in PUBLISH", V5, "30[<a> [0b 01]]", "e0[82", 0x82},
    {"36 PUBREC for an unknown id", V5, "50[0007]", "62[0007 92]", -1},
    {"36 PUBREL for an unknown id", V5, "62[0007]", "70[0007 92]", -1},
    {"36 PUBREL for an unknown id, 3.1.1", V4, "62[0007]", "70[0007]", -1},
    {"36 PUBACK and PUBCOMP for unknown ids", V5, "40[0007] 70[0007]", "", -1},
    {"37 payload format, QoS 0", V5, "30[<a> [01 01] ff]", "e0[99", 0x99},
    {"37 payload format, QoS 1", V5, "32[<a> 0001 [01 01] ff]", "40[0001 99]", -1},
    {"37 payload format, QoS 2", V5, "34[<a> 0001 [01 01] ff]", "50[0001 99]", -1},
    {"37 payload format of the will", NONE, "10[<MQTT>05 06 003c [] <me> [01 01] <w> 0001 ff]",
     "20[00 99", 0x99},
    {"38 wildcard in the response topic", V5, "30[<a> [08 <b/+>]]", "e0[82", 0x82},
    {"42 SUBSCRIBE without a filter", V5, "82[0001 []]", "e0[82", 0x82},
    {"42 UNSUBSCRIBE without a filter", V5, "a2[0001 []]", "e0[82", 0x82},
    {"43 reserved option bits", V5, "82[0001 [] <a> 40]", "e0[81", 0x81},
    {"43 option QoS 3", V5, "82[0001 [] <a> 03]", "e0[82", 0x82},
    {"43 retain handling 3", V5, "82[0001 [] <a> 30]", "e0[82", 0x82},
    {"43 options of 5.0 in 3.1.1", V4, "82[0001 <a> 04]", "", 0x81},
    {"45 no-local on a shared one", V5, "82[0001 [] <$share/g/a> 04]", "e0[82", 0x82},
    {"46 subscription id 0", V5, "82[0001 [0b 00] <a> 00]", "e0[82", 0x82},
    {"49 session expiry raised from 0", V5, "e0[00 [11 00000001]]", "e0[82", 0x82},
    {"PUBREL before PUBREC", "10[<MQTT>05 02 003c [] <me>] 34[<held> 0001 []]", "62[0001]", "e0[82",
     0x82},
};

/* The same rows where some things are not on offer. */
static const struct row poor_rows[] = {
    {"40 retain where not available", V5, "31[<a> []]", "e0[9a", 0x9a},
    {"40 retain where not available, 3.1.1", V4, "31[<a>]", "", 0x9a},
    {"40 will retain where not available", NONE, "10[<MQTT>05 26 003c [] <me> [] <w> <p>]",
     "20[00 9a", 0x9a},
    {"QoS where not available", V5, "34[<a> 0001 []]", "e0[9b", 0x9b},
    {"will QoS where not available", NONE, "10[<MQTT>05 16 003c [] <me> [] <w> <p>]", "20[00 9b",
     0x9b},
    {"too many levels", V5, "30[<a/b/c> []]", "e0[90", 0x90},
    {"as many levels as allowed", V5, "30[<a/b> []]", "", -1},
    {"too many levels in the will", NONE, "10[<MQTT>05 06 003c [] <me> [] <a/b/c> <p>]", "20[00 90",
     0x90},
    {"CONNECT too large", NONE, "10 7f", "", 0x95},
};

/* The output is `text`, which may stop within a packet that is then only as long as it likes. */
static void expect_begins(struct rig *rig, const char *text)
{
    char open[128], *bracket;

    bracket = strchr(text, '[');
    if (!bracket || strchr(text, ']')) {
        rig_expect_output(rig, text);
        return;
    }
    rig_drain(rig);
    assert_true(rig->out_length >= 2);
    assert_int_equal(rig->out[1], rig->out_length - 2); /* one whole packet */
    snprintf(open, sizeof open, "%.*s %02x %s", (int)(bracket - text), text, rig->out[1],
             bracket + 1);
    rig_expect_output_begins(rig, open);
}

static void run(const struct row *row, enum rig_way way, bool poor)
{
    struct rig rig;

    rig_init(&rig, way);
    if (poor) {
        rig_disconnect(&rig);
        rig.config.retain_available = false;
        rig.config.maximum_qos = 1;
        rig.config.max_topic_levels = 2;
        rig.config.max_connect_size = 100;
        rig_connect_again(&rig);
    }
    if (row->before && strstr(row->before, "held"))
        rig.hold_published = true;
    if (row->before)
        rig_send(&rig, row->before);
    else
        rig_handshake(&rig, 5);
    rig.out_length = 0;
    print_message("           %s\n", row->name);
    rig_send(&rig, row->bad);
    if (row->reason >= 0) {
        assert_true(rig.err == TF_PROTOCOL || rig.err == TF_CLOSED);
        rig_expect_closing(&rig, (uint8_t)row->reason);
    } else {
        assert_int_equal(rig.err, TF_OK);
        assert_false(tf_mqtt_server_closing(rig.server, NULL));
    }
    expect_begins(&rig, row->output);
    rig_release(&rig);
}

static void test_rows(void **state)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        run(&rows[i], WAY(state), false);
}

static void test_poor_rows(void **state)
{
    for (size_t i = 0; i < sizeof poor_rows / sizeof *poor_rows; i++)
        run(&poor_rows[i], WAY(state), true);
}

/* 21: a hundred thousand user properties take linear time; the test's own time limit is the judge.
 */
static void test_many_properties(void **state)
{
    size_t count = 100000, size = 5 * count, at = 0;
    uint8_t *packet = malloc(size + 32);
    struct rig rig;

    if (WAY(state) != RIG_WHOLE) { /* elsewhere only the frame is read again and again */
        free(packet);
        return;
    }
    rig_init(&rig, RIG_WHOLE);
    rig_handshake(&rig, 5);
    /* Remaining Length: topic 3, property length 3 */
    uint32_t remaining = (uint32_t)(size + 6);
    packet[at++] = 0x30;
    packet[at++] = (uint8_t)(remaining | 0x80);
    packet[at++] = (uint8_t)(remaining >> 7 | 0x80);
    packet[at++] = (uint8_t)(remaining >> 14);
    memcpy(packet + at, "\0\1a", 3);
    at += 3;
    packet[at++] = (uint8_t)(size | 0x80);
    packet[at++] = (uint8_t)(size >> 7 | 0x80);
    packet[at++] = (uint8_t)(size >> 14);
    for (size_t i = 0; i < count; i++, at += 5)
        memcpy(packet + at, "\x26\0\0\0\0", 5);
    rig_send_bytes(&rig, tf_bytes_of(packet, at));
    assert_int_equal(rig.err, TF_OK);
    rig_expect(&rig, "PUBLISH a q0 ''\n");
    free(packet);
    rig_release(&rig);
}

/* 6: the answer comes with the header, before any of the body is there. */
static void test_too_large_early(void **state)
{
    struct rig rig;
    uint8_t header[4] = {0x30, 0xff, 0xff, 0x7f};
    size_t used = 0, need = 0;

    rig_init(&rig, WAY(state));
    rig_handshake(&rig, 4);
    assert_int_equal(
        tf_mqtt_server_input(rig.server, tf_bytes_of(header, 4), &used, &need, rig.now),
        TF_PROTOCOL);
    rig_expect_closing(&rig, 0x95);
    rig_release(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TESTS(test_rows),
        RIG_TESTS(test_poor_rows),
        RIG_TESTS(test_many_properties),
        RIG_TESTS(test_too_large_early),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
