/*
 * The server's core: rules of types and codes, piggybacked and NON answers, duplicates, content
 * negotiation, No-Response. Datagrams by hand from a stranger; RFC 7252.
 */
#include "rig.h"

#include <string.h>

#define STRANGER 99u

/* What the application does with a request, and what it has seen. */
struct app {
    unsigned requests, bodies, cancelled;
    uint64_t handle;
    bool hold, ignore;
    uint8_t code;
    struct tf_coap_option options[4];
    size_t option_count;
    const char *body;
    struct tf_coap_message message;
    uint8_t flags;
    enum tf_err err;
};

static void respond(struct rig *rig, struct rig_node *node, struct app *app)
{
    struct tf_bytes body = tf_bytes_str(app->body ? app->body : "");
    struct tf_coap_response response = {.code = app->code ? app->code : TF_COAP_CONTENT,
                                        .options = app->options,
                                        .option_count = app->option_count,
                                        .body = &body,
                                        .body_count = 1};

    app->err = tf_coap_respond(node->endpoint, app->handle, &response, NULL, NULL, rig->now);
}

static void on_event(struct rig *rig, struct rig_node *node, const struct tf_coap_event *event)
{
    struct app *app = node->user;

    if (event->type == TF_COAP_EVENT_CANCELLED)
        app->cancelled++;
    if (event->type == TF_COAP_EVENT_BODY)
        app->bodies++;
    if (event->type != TF_COAP_EVENT_REQUEST)
        return;
    app->requests++;
    app->handle = event->handle;
    app->message = event->message;
    app->flags = event->flags;
    if (app->ignore)
        tf_coap_ignore(node->endpoint, event->handle, rig->now);
    else if (!app->hold)
        respond(rig, node, app);
}

struct fixture {
    struct rig rig;
    struct rig_node *node;
    struct app app;
};

static void begin(struct fixture *fixture)
{
    struct tf_coap_endpoint_config config = rig_config();

    memset(&fixture->app, 0, sizeof(fixture->app));
    rig_init(&fixture->rig, 1);
    config.features = (struct tf_coap_features){.negotiation = &tf_coap_negotiation,
                                                .deduplication = &tf_coap_deduplication,
                                                .separate = &tf_coap_separate};
    fixture->node = rig_add(&fixture->rig, &config, on_event);
    fixture->node->user = &fixture->app;
}

static int setup(void **state)
{
    static struct fixture fixture;

    begin(&fixture);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    rig_release(&((struct fixture *)*state)->rig);
    return 0;
}

/* Sends one datagram and expects one, or none. */
static void exchange(struct fixture *fixture, const char *in, const char *out)
{
    rig_inject_hex(&fixture->rig, fixture->node, STRANGER, in);
    rig_expect_hex(&fixture->rig, out);
    rig_expect_hex(&fixture->rig, "");
}

static void get_is_answered_in_the_ack(void **state)
{
    struct fixture *f = *state;

    f->app.body = "22.5";
    exchange(f, "42 01 7d34 2021 b4 74656d70", "62 45 7d34 2021 ff 32322e35");
    assert_int_equal(f->app.requests, 1);
    assert_int_equal(f->app.message.code, TF_COAP_GET);
    assert_int_equal(tf_coap_endpoint_counters(f->node->endpoint)->peers, 0);
    assert_int_equal(tf_coap_endpoint_counters(f->node->endpoint)->requests, 0);
}

static void non_is_answered_by_a_non(void **state)
{
    struct fixture *f = *state;

    f->app.body = "x";
    exchange(f, "51 01 0001 aa b1 61", "51 45 ???? aa ff 78");
}

static void bad_datagrams(void **state)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"", ""},                                    /* 52 */
        {"400112", ""},                              /* 52 */
        {"80011234", ""},                            /* 52: version 2 */
        {"c0011234", ""},                            /* 52: version 3 */
        {"49011234 010203040506070809", "70001234"}, /* 53 */
        {"59011234 010203040506070809", ""},
        {"44011234 0102", "70001234"}, /* 54 */
        {"40011234 f1", "70001234"},   /* 55 */
        {"40011234 1f", "70001234"},   /* 55: length nibble 15 */
        {"50011234 f1", ""},
        {"40011234 d1", "70001234"},            /* 56 */
        {"40011234 e100", "70001234"},          /* 56 */
        {"40011234 e0ffff e0ffff", "70001234"}, /* 57 */
        {"40011234 b9 61", "70001234"},         /* 58 */
        {"40011234 b161 ff", "70001234"},       /* 59 */
        {"40001234 00", "70001234"},            /* 60 */
        {"50001234 00", ""},
        {"60001234 00", ""},
        {"40201234", "70001234"}, /* 61: class 1 */
        {"40601234", "70001234"}, /* class 3 */
        {"40c01234", "70001234"}, /* 61: class 6 */
        {"40e11234", "70001234"}, /* 61: class 7 */
        {"50e11234", ""},
        {"60e11234", ""},
        {"70e11234", ""},
        {"40001234", "70001234"}, /* 62: ping */
        {"50001234", ""},
        {"60001234", ""},      /* 63 */
        {"70001234", ""},      /* 63 */
        {"60011234 b161", ""}, /* a request in an ACK */
        {"70011234 b161", ""},
        {"41451234 aa", "70001234"}, /* 72 */
        {"51451234 aa", ""},
        {"61451234 aa", ""},
        {"71451234 aa", ""},
        {"40401234", "70001234"}, /* the list's first vector: 2.00, unknown token */
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        exchange(f, rows[i].in, rows[i].out);
        assert_int_equal(f->app.requests, i); /* nobody was disturbed */
        exchange(f, "41017777 bb b161", "61457777 bb");
    }
}

static void refused_requests(void **state)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"43036f11 66f302 b573746f7265 10 d14a01 ff61746c61732d637269746963616c2d42",
         "63826f11 66f302"},                                 /* 64 */
        {"53036f11 66f302 b573746f7265 10 d14a01 ff41", ""}, /* 64: NON */
        {"41010001 aa c0 50 00", "61820001 aa"},             /* Accept is known, option 17 twice */
        {"41010002 aa 33010203 ", "61450002 aa"},            /* Uri-Host of three bytes */
        {"41010003 aa 30", "61820003 aa"},                   /* 65: Uri-Host of no byte */
        {"41080005 aa", "61850005 aa"},                      /* 67 */
        {"411f0006 aa", "61850006 aa"},                      /* 67 */
        {"51080007 aa", "5185???? aa"},
        {"41010008 aa d116 61", "61a50008 aa"}, /* 69: Proxy-Uri */
        {"41010009 aa d11a 61", "61a50009 aa"}, /* 69: Proxy-Scheme */
        {"4101000a aa d103 00", "6180000a aa"}, /* Hop-Limit 0 */
        {"4101000b aa d103 01", "6145000b aa"},
        {"4101000c aa d00a", "6182000c aa"}, /* Block2 where there is no block-wise */
        {"4101000d aa 90", "6182000d aa"},   /* OSCORE */
        {"4101000e aa d006", "6182000e aa"}, /* Q-Block1 */
        {"4101000f aa d008", "6182000f aa"}, /* EDHOC */
        {"41010010 aa d012", "61820010 aa"}, /* Q-Block2 */
        {"41010011 aa 60", "61450011 aa"},   /* Observe without the feature: elective */
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        exchange(f, rows[i].in, rows[i].out);
}

/* The vector of the bad-inputs list: Accept twice. */
static void accept_twice_is_refused(void **state)
{
    struct fixture *f = *state;

    exchange(f, "4401e34f c854dea8 b7726567756c6172 6100 0132", "6482e34f c854dea8");
}

static void duplicates(void **state)
{
    struct fixture *f = *state;

    f->app.code = TF_COAP_CHANGED;
    exchange(f, "41031000 aa b161 ff 31", "61441000 aa");
    f->app.code = TF_COAP_CREATED; /* would show if it ran again */
    exchange(f, "41031000 aa b161 ff 31", "61441000 aa");
    assert_int_equal(f->app.requests, 1);
    exchange(f, "41031000 aa b161 ff 32", "61411000 aa"); /* other bytes: a new request */
    assert_int_equal(f->app.requests, 2);
    rig_inject_hex(&f->rig, f->node, 98, "41031000 aa b161 ff 31"); /* another endpoint */
    rig_expect_hex(&f->rig, "61411000 aa");
    assert_int_equal(f->app.requests, 3);
    exchange(f, "51031001 aa b161 ff 31", "5141???? aa");
    exchange(f, "51031001 aa b161 ff 31", ""); /* NON: silence */
    assert_int_equal(f->app.requests, 4);
    exchange(f, "41011002 aa b161", "61411002 aa"); /* GET runs again */
    exchange(f, "41011002 aa b161", "61411002 aa");
    assert_int_equal(f->app.requests, 6);
    rig_run_for(&f->rig, 248 * TF_SECOND); /* EXCHANGE_LIFETIME is over */
    exchange(f, "41031000 aa b161 ff 31", "61411000 aa");
    assert_int_equal(f->app.requests, 7);
}

static void ignored_requests(void **state)
{
    struct fixture *f = *state;

    f->app.ignore = true;
    exchange(f, "41031000 aa b161 ff 31", "60001000");
    exchange(f, "41031000 aa b161 ff 31", "60001000");
    exchange(f, "51031001 aa b161 ff 31", "");
    assert_int_equal(f->app.requests, 2);
}

static void an_etag_that_is_held(void **state)
{
    struct fixture *f = *state;

    f->app.body = "value";
    f->app.options[0] = (struct tf_coap_option){TF_COAP_ETAG, tf_bytes_str("ab")};
    f->app.options[1] = (struct tf_coap_option){TF_COAP_CONTENT_FORMAT, tf_bytes_str("2")};
    f->app.options[2] = (struct tf_coap_option){TF_COAP_MAX_AGE_OPTION, tf_bytes_str("\x05")};
    f->app.option_count = 3;
    exchange(f, "41010001 aa 426162", "61430001 aa 426162 a105");
    exchange(f, "41010001 aa 427879 026162", "61430001 aa 426162 a105");
    exchange(f, "41010001 aa 427879", "61450001 aa 426162 8132 2105 ff 76616c7565");
    exchange(f, "41010001 aa d10432", "61450001 aa 426162 8132 2105 ff 76616c7565");
    exchange(f, "41010001 aa d10433", "61860001 aa"); /* Accept 51 */
    f->app.code = TF_COAP_CHANGED;
    exchange(f, "41030001 aa 426162", "61440001 aa 426162 8132 2105 ff 76616c7565");
}

/* RFC 7967 2.1: 2 not 2.xx, 8 not 4.xx, 16 not 5.xx. */
static void no_response(void **state)
{
    struct fixture *f = *state;

    f->app.body = "x";
    exchange(f, "51010001 aa d1f502", ""); /* option 258 is 13 + 245 */
    exchange(f, "41010002 aa d1f502", "60000002");
    exchange(f, "41010003 aa d1f508", "61450003 aa ff78");
    f->app.code = TF_COAP_NOT_FOUND;
    exchange(f, "51010004 aa d1f508", "");
    exchange(f, "51010005 aa d1f502", "5184???? aa ff78");
    f->app.code = TF_COAP_INTERNAL_ERROR;
    exchange(f, "51010006 aa d1f51a", "");
    exchange(f, "51080007 aa d1f508", ""); /* 4.05 of the machine */
}

static void misuse(void **state)
{
    struct fixture *f = *state;
    uint8_t large[1400] = {0};
    struct tf_bytes body = {large, sizeof(large)};
    struct tf_coap_option options[] = {{TF_COAP_MAX_AGE_OPTION, {large, 1}},
                                       {TF_COAP_ETAG, {large, 1}}};
    struct tf_coap_response response = {.code = TF_COAP_CONTENT};
    struct tf_coap_endpoint *endpoint = f->node->endpoint;

    f->app.hold = true;
    rig_inject_hex(&f->rig, f->node, STRANGER, "41010001 aa b161");
    response.code = TF_COAP_GET;
    assert_int_equal(tf_coap_respond(endpoint, f->app.handle, &response, NULL, NULL, f->rig.now),
                     TF_MISUSE);
    response.code = TF_COAP_CONTENT;
    response.options = options;
    response.option_count = 2;
    assert_int_equal(tf_coap_respond(endpoint, f->app.handle, &response, NULL, NULL, f->rig.now),
                     TF_MISUSE);
    response.option_count = 1;
    response.body = &body;
    response.body_count = 1;
    assert_int_equal(tf_coap_respond(endpoint, f->app.handle, &response, NULL, NULL, f->rig.now),
                     TF_MISUSE);
    body.length = 3;
    assert_int_equal(tf_coap_respond(endpoint, f->app.handle, &response, NULL, NULL, f->rig.now),
                     TF_OK);
    assert_int_equal(tf_coap_respond(endpoint, f->app.handle, &response, NULL, NULL, f->rig.now),
                     TF_NOT_FOUND);
    assert_int_equal(tf_coap_respond(endpoint, 0, &response, NULL, NULL, f->rig.now), TF_NOT_FOUND);
    assert_int_equal(tf_coap_endpoint_input(endpoint, NULL, f->rig.now), TF_MISUSE);
    rig_flush(&f->rig);
    rig_expect_hex(&f->rig, "61450001 aa d10100 ff000000");
}

static void multicasts_are_ignored_without_the_feature(void **state)
{
    struct fixture *f = *state;

    rig_inject_flags(&f->rig, f->node, STRANGER, TF_DATAGRAM_MULTICAST, "\x50\x01\x00\x01", 4);
    rig_inject_flags(&f->rig, f->node, STRANGER, TF_DATAGRAM_MULTICAST, "\x40\x00\x00\x01", 4);
    rig_inject_flags(&f->rig, f->node, STRANGER, TF_DATAGRAM_MULTICAST, "\x40\x20\x00\x01", 4);
    rig_expect_hex(&f->rig, "");
    assert_int_equal(f->app.requests, 0);
}

/* The least server: no features, one peer, one request. Nothing is kept between datagrams. */
static void a_server_without_features(void **state)
{
    struct tf_coap_endpoint_config config = {.requests = 1, .path_size = 4};
    struct app app = {.body = "v"};
    struct rig rig;

    (void)state;
    rig_init(&rig, 7);
    struct rig_node *node = rig_add(&rig, &config, on_event);
    node->user = &app;
    rig_inject_hex(&rig, node, STRANGER, "41010001 aa b161");
    rig_expect_hex(&rig, "61450001 aa ff76");
    rig_inject_hex(&rig, node, STRANGER, "51010001 aa b161");
    rig_expect_hex(&rig, "5145???? aa ff76");
    rig_inject_hex(&rig, node, STRANGER, "41030002 aa b161 ff31");
    rig_expect_hex(&rig, "61450002 aa ff76");
    rig_inject_hex(&rig, node, STRANGER, "41030002 aa b161 ff31");
    rig_expect_hex(&rig, "61450002 aa ff76");
    app.hold = true;
    rig_inject_hex(&rig, node, STRANGER, "41010003 aa b161");
    rig_expect_hex(&rig, "");
    rig_inject_hex(&rig, node, STRANGER, "40000004"); /* the next input ends it */
    rig_expect_hex(&rig, "70000004");
    respond(&rig, node, &app);
    assert_int_equal(app.err, TF_NOT_FOUND);
    assert_int_equal(tf_coap_endpoint_deadline(node->endpoint), TF_TIME_NEVER);
    rig_release(&rig);
}

static void configs(void **state)
{
    struct tf_coap_endpoint_config good = rig_config(), config = good;
    struct tf_coap_endpoint *endpoint = NULL;
    uint8_t memory[64];

    (void)state;
    assert_int_equal(tf_coap_endpoint_size(NULL), 0);
    config.random = NULL;
    assert_int_equal(tf_coap_endpoint_size(&config), 0);
    config = good;
    config.requests = 0;
    assert_int_equal(tf_coap_endpoint_size(&config), 0);
    config = good;
    config.block_szx = 7;
    assert_int_equal(tf_coap_endpoint_size(&config), 0);
    config = good;
    config.features.separate = NULL;
    assert_int_equal(tf_coap_endpoint_size(&config), 0);
    config = good;
    assert_int_equal(tf_coap_endpoint_init(&endpoint, memory, sizeof(memory), &config, 0),
                     TF_NO_MEMORY);
    config.peers = 0;
    assert_int_equal(tf_coap_endpoint_init(&endpoint, memory, sizeof(memory), &config, 0),
                     TF_MISUSE);
    assert_null(endpoint);
}

static void known_options_pass(void **state)
{
    static const uint16_t known[] = {65001};
    struct tf_coap_endpoint_config config = rig_config();
    struct app app = {.body = NULL};
    struct rig rig;

    (void)state;
    config.features = (struct tf_coap_features){.deduplication = NULL};
    config.known_options = known;
    config.known_option_count = 1;
    rig_init(&rig, 7);
    struct rig_node *node = rig_add(&rig, &config, on_event);
    node->user = &app;
    rig_inject_hex(&rig, node, STRANGER, "41010001 aa e1fcdc00"); /* 269 + 0xfcdc = 65001 */
    rig_expect_hex(&rig, "61450001 aa");
    rig_inject_hex(&rig, node, STRANGER, "41010002 aa e1fcde00");
    rig_expect_hex(&rig, "61820002 aa");
    rig_release(&rig);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(get_is_answered_in_the_ack),
        TEST(non_is_answered_by_a_non),
        TEST(bad_datagrams),
        TEST(refused_requests),
        TEST(accept_twice_is_refused),
        TEST(duplicates),
        TEST(ignored_requests),
        TEST(an_etag_that_is_held),
        TEST(no_response),
        TEST(misuse),
        TEST(multicasts_are_ignored_without_the_feature),
        cmocka_unit_test(a_server_without_features),
        cmocka_unit_test(configs),
        cmocka_unit_test(known_options_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
