/*
 * SASL (part 5; RFC 4505, RFC 4616): both ends, and what breaks the rules.
 */
#include "rig.h"

static const struct tf_amqp_sasl_mechanism *const both[] = {&tf_amqp_sasl_plain,
                                                            &tf_amqp_sasl_anonymous};
static const struct tf_amqp_sasl_mechanism *const only_anonymous[] = {&tf_amqp_sasl_anonymous};
static const struct tf_amqp_sasl server_both = {.mechanisms = both, .mechanism_count = 2};
static const struct tf_amqp_sasl server_optional = {
    .mechanisms = both, .mechanism_count = 2, .optional = true};
static const struct tf_amqp_sasl server_anonymous = {.mechanisms = only_anonymous,
                                                     .mechanism_count = 1};

static struct tf_amqp_sasl user(const char *name, const char *password)
{
    return (struct tf_amqp_sasl){.mechanisms = both,
                                 .mechanism_count = 2,
                                 .user = tf_bytes_str(name),
                                 .password = tf_bytes_str(password)};
}

static void plain(void **state)
{
    struct rig rig;
    struct tf_amqp_sasl sasl = user("u", "secret");

    rig_init(&rig, *(enum rig_way *)*state);
    rig.client.config.sasl = &sasl;
    rig.server.config.sasl = &server_both;
    rig_start(&rig, &rig.client);
    rig_start(&rig, &rig.server);
    rig_run(&rig);
    rig_expect(&rig.server, "authenticate mechanism=PLAIN user=u password=secret\n"
                            "opened container=client hostname=\n");
    rig_expect(&rig.client, "opened container=server hostname=\n");
    rig_begin(&rig, &rig.client);
    rig_expect(&rig.client, "begun\n");
    rig_release(&rig);
}

static void the_first_that_is_offered(void **state)
{
    struct rig rig;
    struct tf_amqp_sasl sasl = user("u", "secret");

    rig_init(&rig, *(enum rig_way *)*state);
    rig.client.config.sasl = &sasl;
    rig.server.config.sasl = &server_anonymous;
    rig_start(&rig, &rig.client);
    rig_start(&rig, &rig.server);
    rig_run(&rig);
    rig_expect(&rig.server, "authenticate mechanism=ANONYMOUS user= password=\n"
                            "opened container=client hostname=\n");
    rig_release(&rig);
}

static void refused(void **state)
{
    struct rig rig;
    struct tf_amqp_sasl sasl = user("u", "wrong");

    rig_init(&rig, *(enum rig_way *)*state);
    rig.client.config.sasl = &sasl;
    rig.server.config.sasl = &server_both;
    rig.server.reject = true;
    rig_start(&rig, &rig.client);
    rig_start(&rig, &rig.server);
    rig_run(&rig);
    rig_expect_closing(&rig.server, TF_AMQP_UNAUTHORIZED_ACCESS);
    rig_expect_closing(&rig.client, TF_AMQP_UNAUTHORIZED_ACCESS);
    rig_expect(&rig.client, "");
    rig_release(&rig);
}

static void nothing_before_the_answer(void **state)
{
    struct rig rig;
    struct tf_amqp_sasl sasl = user("u", "secret");

    rig_init(&rig, *(enum rig_way *)*state);
    rig.client.config.sasl = &sasl;
    rig.server.config.sasl = &server_both;
    rig.server.hold_authenticate = true;
    rig_start(&rig, &rig.client);
    rig_start(&rig, &rig.server);
    rig_run(&rig);
    rig_expect(&rig.client, "");
    rig_clear(&rig.server);
    tf_amqp_authenticated(rig.server.connection, true);
    tf_amqp_authenticated(rig.server.connection, false); /* too late: no effect */
    rig_run(&rig);
    rig_expect(&rig.server, "opened container=client hostname=\n");
    rig_release(&rig);
}

/* Proton sends all of it without waiting. */
#define SASL_HEADER "414d515003010000"
#define INIT_ANONYMOUS "0000001f02010000 005341c01202a309414e4f4e594d4f5553a00478787878"
#define AMQP_HEADER "414d515000010000"
#define OPEN "0000001102000000 005310c00401a10178"

static void pipelined(void **state)
{
    struct rig rig;

    rig_init(&rig, *(enum rig_way *)*state);
    rig.server.config.sasl = &server_both;
    rig_start(&rig, &rig.server);
    rig_send_hex(&rig, SASL_HEADER INIT_ANONYMOUS AMQP_HEADER OPEN);
    rig_expect(&rig.server, "authenticate mechanism=ANONYMOUS user= password=\n"
                            "opened container=x hostname=\n");
    rig_expect_frames(&rig, "header 3\nmechanisms\noutcome 0\nheader 0\n"
                            "open max=4096 channels=7 idle=0\n");
    rig_release(&rig);
}

static void optional(void **state)
{
    struct rig rig;

    rig_init(&rig, *(enum rig_way *)*state);
    rig.server.config.sasl = &server_optional;
    rig_start(&rig, &rig.server);
    rig_send_hex(&rig, AMQP_HEADER OPEN);
    rig_expect(&rig.server, "opened container=x hostname=\n");
    rig_release(&rig);
    rig_init(&rig, *(enum rig_way *)*state);
    rig.server.config.sasl = &server_both;
    rig_start(&rig, &rig.server);
    rig_send_hex(&rig, AMQP_HEADER OPEN);
    rig_expect(&rig.server, "");
    rig_expect_frames(&rig, "header 3\n");
    rig_expect_closing(&rig.server, TF_AMQP_FRAMING_ERROR);
    rig_release(&rig);
}

/* PLAIN's words as an init with `hex` of `length` bytes. */
static void send_plain(struct rig *rig, const char *hex)
{
    uint8_t word[64];
    struct tf_amqp_performative init = {
        .type = TF_AMQP_SASL_INIT,
        .init = {.mechanism = tf_bytes_str("PLAIN"), .has_initial_response = true}};

    init.init.initial_response = tf_bytes_of(word, rig_hex(hex, word, sizeof word));
    rig_send_hex(rig, SASL_HEADER);
    rig_clear(&rig->client);
    rig_send(rig, 0, &init);
}

static void words_of_plain(void **state)
{
    static const char *const bad[] = {
        "", "00", "0075", "000070", "00750070 00", "0000", "007500", "000070", "00ff0070", "757570",
    };
    struct rig rig;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rig_init(&rig, *(enum rig_way *)*state);
        rig.server.config.sasl = &server_both;
        rig_start(&rig, &rig.server);
        send_plain(&rig, bad[i]);
        rig_expect(&rig.server, "");
        rig_expect_frames(&rig, "outcome 1\n");
        rig_expect_closing(&rig.server, TF_AMQP_UNAUTHORIZED_ACCESS);
        rig_release(&rig);
    }
    rig_init(&rig, *(enum rig_way *)*state);
    rig.server.config.sasl = &server_both;
    rig_start(&rig, &rig.server);
    send_plain(&rig, "61007500c3a9");
    rig_expect(&rig.server, "authenticate mechanism=PLAIN user=u password=\xc3\xa9\n");
    rig_release(&rig);
}

static void plain_by_challenge(void **state)
{
    struct rig rig;
    struct tf_amqp_performative init = {.type = TF_AMQP_SASL_INIT,
                                        .init = {.mechanism = tf_bytes_str("PLAIN")}};
    struct tf_amqp_performative response = {.type = TF_AMQP_SASL_RESPONSE,
                                            .message = {.data = tf_bytes_of("\0u\0p", 4)}};

    rig_init(&rig, *(enum rig_way *)*state);
    rig.server.config.sasl = &server_both;
    rig_start(&rig, &rig.server);
    rig_send_hex(&rig, SASL_HEADER);
    rig_send(&rig, 0, &init);
    rig_expect_frames(&rig, "header 3\nmechanisms\nchallenge bytes=0\n");
    rig_send(&rig, 0, &response);
    rig_expect_frames(&rig, "outcome 0\n");
    rig_expect(&rig.server, "authenticate mechanism=PLAIN user=u password=p\n");
    rig_release(&rig);
}

static void orders_that_are_wrong(void **state)
{
    static const char *const bad[] = {
        OPEN,                                               /* AMQP before the outcome */
        "00000201 0201 0000",                               /* over 512 */
        "0000000802010000",                                 /* empty */
        "0000001002010000 005344c003015000",                /* outcome, of a client's */
        "0000001102010000 005343c00401a00178",              /* response before init */
        "0000001402010000 005341c00701a3044e4f4e45",        /* a mechanism that is not offered */
        INIT_ANONYMOUS AMQP_HEADER OPEN "0000000802010000", /* SASL after it */
    };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct rig rig;

        rig_init(&rig, *(enum rig_way *)*state);
        rig.server.config.sasl = &server_both;
        rig_start(&rig, &rig.server);
        rig_send_hex(&rig, SASL_HEADER);
        rig_send_hex(&rig, bad[i]);
        if (!tf_amqp_closing(rig.server.connection, NULL))
            fail_msg("%s was taken", bad[i]);
        rig_release(&rig);
    }
}

static void a_server_that_offers_nothing_of_ours(void **state)
{
    struct rig rig;
    struct tf_amqp_sasl sasl = user("u", "p");

    rig_init(&rig, *(enum rig_way *)*state);
    rig.client.config.sasl = &sasl;
    rig_start(&rig, &rig.client);
    rig_run(&rig);
    rig_expect_frames(&rig, "header 3\n");
    rig_send_hex(&rig, SASL_HEADER "0000001402010000 005340c00701a30447535349");
    rig_expect_closing(&rig.client, TF_AMQP_UNAUTHORIZED_ACCESS);
    rig_expect_frames(&rig, "");
    rig_release(&rig);
}

static void outcomes(void **state)
{
    for (int i = 0; i < 5; i++) {
        struct rig rig;
        struct tf_amqp_sasl sasl = user("u", "p");
        struct tf_amqp_performative outcome = {.type = TF_AMQP_SASL_OUTCOME,
                                               .result = {.code = (enum tf_amqp_sasl_code)i}};

        rig_init(&rig, *(enum rig_way *)*state);
        rig.client.config.sasl = &sasl;
        rig_start(&rig, &rig.client);
        rig_send_hex(&rig, SASL_HEADER "0000001502010000 005340c00801a305504c41494e");
        rig_expect_frames(&rig, "header 3\ninit mechanism=PLAIN bytes=4\n");
        rig_send(&rig, 0, &outcome);
        if (i == 0)
            rig_expect_frames(&rig, "header 0\nopen max=4096 channels=7 idle=0\n");
        else
            rig_expect_closing(&rig.client, TF_AMQP_UNAUTHORIZED_ACCESS);
        rig_release(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TESTS(plain),
        RIG_TESTS(the_first_that_is_offered),
        RIG_TESTS(refused),
        RIG_TESTS(nothing_before_the_answer),
        RIG_TESTS(pipelined),
        RIG_TESTS(optional),
        RIG_TESTS(words_of_plain),
        RIG_TESTS(plain_by_challenge),
        RIG_TESTS(orders_that_are_wrong),
        RIG_TESTS(a_server_that_offers_nothing_of_ours),
        RIG_TESTS(outcomes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
