/*
 * The resource server on an endpoint: which resource a path leads to, and what is answered before a
 * handler runs and from what it returns.
 */
#include "unit/coap/serving.h"

#include <stdio.h>

#include "base/util.h"

static struct {
    unsigned calls;
    struct tf_coap_resource *resource;
    uint8_t method;
    int32_t accept, format;
    char sub[128];
    char body[64];
    uint64_t handle;
} last;

static void start(struct serving *serving)
{
    memset(&last, 0, sizeof last);
    serving_start(serving, NULL);
}

/* Remembers what it was asked; answers with the resource's name. */
static uint8_t seen(const struct tf_coap_server_request *request, struct tf_coap_answer *answer)
{
    struct tf_coap_cursor sub = request->sub;
    struct tf_bytes segment;

    last.calls++;
    last.resource = request->resource;
    last.method = request->method;
    last.accept = request->accept;
    last.format = request->format;
    last.handle = request->handle;
    last.sub[0] = 0;
    while (tf_coap_path_next(&sub, &segment))
        snprintf(last.sub + strlen(last.sub), sizeof last.sub - strlen(last.sub), "/%.*s",
                 (int)segment.length, (const char *)segment.data);
    snprintf(last.body, sizeof last.body, "%.*s", (int)request->body.length,
             (const char *)request->body.data);
    tf_coap_answer_text(
        answer, tf_bytes_str(request->resource->name ? request->resource->name : "nameless"));
    return TF_COAP_CONTENT;
}

static const struct tf_coap_resource_type get_type = {.handlers[TF_COAP_GET] = seen},
                                          subtree_type = {.handlers[TF_COAP_GET] = seen,
                                                          .flags = TF_COAP_SUBTREE},
                                          all_type = {.handlers[TF_COAP_GET] = seen,
                                                      .handlers[TF_COAP_POST] = seen,
                                                      .handlers[TF_COAP_PUT] = seen,
                                                      .handlers[TF_COAP_DELETE] = seen,
                                                      .handlers[TF_COAP_FETCH] = seen,
                                                      .handlers[TF_COAP_PATCH] = seen,
                                                      .handlers[TF_COAP_IPATCH] = seen};

/* True if GET of a path comes to this resource, with this rest of the path. */
static bool leads_to(struct serving *serving, const char *path,
                     const struct tf_coap_resource *resource, const char *sub)
{
    last.resource = NULL;
    return ask(serving, TF_COAP_GET, path) == TF_COAP_CONTENT && last.resource == resource &&
           !strcmp(last.sub, sub);
}

/* ---- paths ---- */

static void test_paths(void **state)
{
    (void)state;
    struct serving f;
    struct tf_coap_resource a = node("a", &get_type), b = node("b", &get_type);
    struct tf_coap_resource way = node("way", NULL), slash = node("", &get_type);
    struct tf_coap_resource ab = node("ab", &get_type), odd = node("\xC3\xA9 /", &get_type);

    start(&f);
    assert_int_equal(ask(&f, TF_COAP_GET, ""), TF_COAP_NOT_FOUND);
    f.root.type = &get_type;
    add(&f.root, &a);
    add(&f.root, &ab);
    add(&f.root, &way);
    add(&f.root, &odd);
    add(&way, &b);
    assert_true(leads_to(&f, "", &f.root, ""));
    assert_true(leads_to(&f, "/", &f.root, "")); /* one empty segment: RFC 7252 6.5 */
    assert_int_equal(ask(&f, TF_COAP_GET, "//"), TF_COAP_NOT_FOUND);
    assert_int_equal(ask(&f, TF_COAP_GET, "//a"), TF_COAP_NOT_FOUND);
    assert_true(leads_to(&f, "/a", &a, ""));
    assert_true(leads_to(&f, "/ab", &ab, ""));
    assert_true(leads_to(&f, "/way/b", &b, ""));
    assert_int_equal(ask(&f, TF_COAP_GET, "/way"), TF_COAP_NOT_FOUND);
    assert_int_equal(ask(&f, TF_COAP_GET, "/b"), TF_COAP_NOT_FOUND);
    assert_int_equal(ask(&f, TF_COAP_GET, "/abc"), TF_COAP_NOT_FOUND);
    assert_int_equal(ask(&f, TF_COAP_GET, "/A"), TF_COAP_NOT_FOUND);
    assert_int_equal(ask(&f, TF_COAP_GET, "/a/.."), TF_COAP_NOT_FOUND);
    /* A slash at the end makes another resource. */
    assert_int_equal(ask(&f, TF_COAP_GET, "/a/"), TF_COAP_NOT_FOUND);
    add(&a, &slash);
    assert_true(leads_to(&f, "/a/", &slash, ""));
    assert_true(leads_to(&f, "/a", &a, ""));

    /* A slash in a segment parts nothing. */
    struct packet packet;
    packet_start(f.probe, &packet, TF_COAP_CON, TF_COAP_GET, 1);
    packet_text(&packet, TF_COAP_URI_PATH, "\xC3\xA9 /");
    assert_int_equal(feed(&f, &packet), TF_COAP_CONTENT);
    assert_ptr_equal(last.resource, &odd);
    packet_start(f.probe, &packet, TF_COAP_CON, TF_COAP_GET, 1);
    packet_text(&packet, TF_COAP_URI_PATH, "way/b");
    assert_int_equal(feed(&f, &packet), TF_COAP_NOT_FOUND);
    serving_end(&f);
}

static void test_tree(void **state)
{
    (void)state;
    struct tf_coap_resource root = node(NULL, NULL), a = node("a", NULL), again = node("a", NULL);
    struct tf_coap_resource b = node("b", NULL), any = node(NULL, NULL), any2 = node(NULL, NULL);
    struct tf_coap_resource empty = node("", NULL);

    add(&root, &a);
    add(&root, &b);
    assert_int_equal(tf_coap_resource_add(&root, &again), TF_EXISTS);
    assert_int_equal(tf_coap_resource_add(&b, &a), TF_MISUSE);
    assert_int_equal(tf_coap_resource_add(&again, &again), TF_MISUSE);
    add(&b, &any);
    assert_int_equal(tf_coap_resource_add(&b, &any2), TF_EXISTS);
    add(&b, &again);
    add(&again, &empty);
    assert_ptr_equal(root.child, &a);
    assert_ptr_equal(a.next, &b);

    assert_ptr_equal(tf_coap_resource_find(&root, tf_bytes_str("")), &root);
    assert_ptr_equal(tf_coap_resource_find(&root, tf_bytes_str("a")), &a);
    assert_ptr_equal(tf_coap_resource_find(&root, tf_bytes_str("b/a")), &again);
    assert_null(tf_coap_resource_find(&root, tf_bytes_str("b/c")));
    assert_null(tf_coap_resource_find(&root, tf_bytes_str("b/a/x")));
    assert_null(tf_coap_resource_find(&root, tf_bytes_str("/a")));

    tf_coap_resource_remove(&a);
    assert_null(tf_coap_resource_find(&root, tf_bytes_str("a")));
    assert_ptr_equal(root.child, &b);
    tf_coap_resource_remove(&a); /* it is in none: nothing */
    tf_coap_resource_remove(&root);
    add(&root, &a);
    assert_ptr_equal(b.next, &a);
}

/* A hundred levels, and one more than there are. */
static void test_deep(void **state)
{
    (void)state;
    struct serving f;
    static struct tf_coap_resource nodes[100];
    char path[256] = "";

    start(&f);
    for (size_t i = 0; i < TF_COUNT(nodes); i++) {
        nodes[i] = node("x", i + 1 == TF_COUNT(nodes) ? &get_type : NULL);
        add(i ? &nodes[i - 1] : &f.root, &nodes[i]);
    }
    for (size_t i = 0; i < TF_COUNT(nodes) - 1; i++)
        strcat(path, "/x");
    assert_int_equal(ask(&f, TF_COAP_GET, path), TF_COAP_NOT_FOUND);
    strcat(path, "/x");
    assert_true(leads_to(&f, path, &nodes[99], ""));
    strcat(path, "/x");
    assert_int_equal(ask(&f, TF_COAP_GET, path), TF_COAP_NOT_FOUND);
    serving_end(&f);
}

static void test_subtrees(void **state)
{
    (void)state;
    struct serving f;
    struct tf_coap_resource files = node("files", &subtree_type), own = node("own", &get_type);
    struct tf_coap_resource inner = node("inner", &subtree_type), way = node("way", NULL);
    struct tf_coap_resource any = node(NULL, &get_type), below = node("below", &get_type);

    start(&f);
    add(&f.root, &files);
    add(&files, &own);
    add(&files, &way);
    add(&way, &inner);
    assert_true(leads_to(&f, "/files", &files, ""));
    assert_true(leads_to(&f, "/files/a/b/c", &files, "/a/b/c"));
    assert_true(leads_to(&f, "/files/", &files, "/"));
    assert_true(leads_to(&f, "/files/own", &own, ""));
    assert_true(leads_to(&f, "/files/own/x", &files, "/own/x"));
    assert_true(leads_to(&f, "/files/way", &files, "/way"));
    assert_true(leads_to(&f, "/files/way/x", &files, "/way/x"));
    assert_true(leads_to(&f, "/files/way/inner/x", &inner, "/x"));
    assert_true(leads_to(&f, "/files/way/inner", &inner, ""));
    assert_int_equal(ask(&f, TF_COAP_GET, "/filesx/a"), TF_COAP_NOT_FOUND);
    /* Nothing that a handler could take for another path. */
    assert_int_equal(ask(&f, TF_COAP_GET, "/files/.."), TF_COAP_BAD_REQUEST);
    assert_int_equal(ask(&f, TF_COAP_GET, "/files/a/./b"), TF_COAP_BAD_REQUEST);
    assert_true(leads_to(&f, "/files/...", &files, "/..."));
    assert_true(leads_to(&f, "/files/.a", &files, "/.a"));
    assert_true(leads_to(&f, "/files/a.", &files, "/a."));
    const char *bad[] = {"a/b", "/", "../x"};
    for (size_t i = 0; i < TF_COUNT(bad); i++) {
        struct packet packet;
        packet_start(f.probe, &packet, TF_COAP_CON, TF_COAP_GET, 1);
        packet_text(&packet, TF_COAP_URI_PATH, "files");
        packet_text(&packet, TF_COAP_URI_PATH, bad[i]);
        assert_int_equal(feed(&f, &packet), TF_COAP_BAD_REQUEST);
    }
    struct packet packet;
    packet_start(f.probe, &packet, TF_COAP_CON, TF_COAP_GET, 1);
    packet_text(&packet, TF_COAP_URI_PATH, "files");
    tf_coap_encode_option(&packet.encoder, TF_COAP_URI_PATH, tf_bytes_of("a\0b", 3));
    assert_int_equal(feed(&f, &packet), TF_COAP_BAD_REQUEST);

    /* A nameless one stands for any single segment, unless there is one of that name. */
    add(&f.root, &any);
    add(&any, &below);
    assert_true(leads_to(&f, "/whatever", &any, ""));
    assert_true(leads_to(&f, "/files", &files, ""));
    assert_true(leads_to(&f, "/whatever/below", &below, ""));
    assert_int_equal(ask(&f, TF_COAP_GET, "/whatever/else"), TF_COAP_NOT_FOUND);

    /* A whole server as one subtree. */
    f.root.type = &subtree_type;
    assert_true(leads_to(&f, "/whatever/else", &f.root, "/whatever/else"));
    serving_end(&f);
}

/* ---- methods, formats, conditions ---- */

static void test_methods(void **state)
{
    (void)state;
    struct serving f;
    struct tf_coap_resource all = node("all", &all_type), get = node("get", &get_type);

    start(&f);
    add(&f.root, &all);
    add(&f.root, &get);
    for (uint8_t method = TF_COAP_GET; method <= TF_COAP_IPATCH; method++) {
        assert_int_equal(ask(&f, method, "/all"), TF_COAP_CONTENT);
        assert_int_equal(last.method, method);
        unsigned calls = last.calls;
        assert_int_equal(ask(&f, method, "/get"),
                         method == TF_COAP_GET ? TF_COAP_CONTENT : TF_COAP_METHOD_NOT_ALLOWED);
        assert_int_equal(last.calls, calls + (method == TF_COAP_GET));
    }
    assert_int_equal(ask(&f, 8, "/all"), TF_COAP_METHOD_NOT_ALLOWED);
    serving_end(&f);
}

static void test_formats(void **state)
{
    (void)state;
    static const uint16_t formats[] = {TF_COAP_FORMAT_JSON, 65535};
    static const struct tf_coap_resource_type type = {
        .handlers[TF_COAP_PUT] = seen, .formats = formats, .format_count = TF_COUNT(formats)};
    static const struct {
        int32_t format;
        uint8_t code;
    } rows[] = {{-1, TF_COAP_CONTENT},
                {TF_COAP_FORMAT_JSON, TF_COAP_CONTENT},
                {65535, TF_COAP_CONTENT},
                {TF_COAP_FORMAT_TEXT, TF_COAP_UNSUPPORTED_FORMAT},
                {TF_COAP_FORMAT_CBOR, TF_COAP_UNSUPPORTED_FORMAT}};
    struct serving f;
    struct tf_coap_resource resource = node("r", &type);
    struct packet packet;

    start(&f);
    add(&f.root, &resource);
    for (size_t i = 0; i < TF_COUNT(rows); i++) {
        unsigned calls = last.calls;
        packet_start(f.probe, &packet, TF_COAP_CON, TF_COAP_PUT, 1);
        packet_text(&packet, TF_COAP_URI_PATH, "r");
        if (rows[i].format >= 0)
            packet_uint(&packet, TF_COAP_CONTENT_FORMAT, (uint32_t)rows[i].format);
        packet_payload(&packet, "{}", 2);
        assert_int_equal(feed(&f, &packet), rows[i].code);
        assert_int_equal(last.calls, calls + (rows[i].code == TF_COAP_CONTENT));
        if (rows[i].code == TF_COAP_CONTENT) {
            assert_int_equal(last.format, rows[i].format);
            assert_int_equal(last.accept, -1);
            assert_string_equal(last.body, "{}");
        }
    }
    /* One that is too long is not understood, and elective: as if it were not there. */
    packet_start(f.probe, &packet, TF_COAP_CON, TF_COAP_PUT, 1);
    packet_text(&packet, TF_COAP_URI_PATH, "r");
    packet_text(&packet, TF_COAP_CONTENT_FORMAT, "abc");
    assert_int_equal(feed(&f, &packet), TF_COAP_CONTENT);
    assert_int_equal(last.format, -1);
    /* The first of two. */
    packet_start(f.probe, &packet, TF_COAP_CON, TF_COAP_PUT, 1);
    packet_text(&packet, TF_COAP_URI_PATH, "r");
    packet_uint(&packet, TF_COAP_CONTENT_FORMAT, TF_COAP_FORMAT_JSON);
    packet_uint(&packet, TF_COAP_CONTENT_FORMAT, TF_COAP_FORMAT_TEXT);
    packet_uint(&packet, TF_COAP_ACCEPT, TF_COAP_FORMAT_TEXT);
    assert_int_equal(feed(&f, &packet), TF_COAP_CONTENT);
    assert_int_equal(last.format, TF_COAP_FORMAT_JSON);
    assert_int_equal(last.accept, TF_COAP_FORMAT_TEXT);
    serving_end(&f);
}

static bool is_there;
static const char *etag_now;

static bool exists(const struct tf_coap_server_request *request, struct tf_bytes *ret_etag)
{
    assert_non_null(request->resource);
    *ret_etag = tf_bytes_str(etag_now);
    return is_there;
}

/* RFC 7252 5.10.8: what a condition is made of, and whether the handler runs. */
static void test_conditions(void **state)
{
    (void)state;
    static const struct tf_coap_resource_type with = {.handlers[TF_COAP_PUT] = seen,
                                                      .exists = exists},
                                              without = {.handlers[TF_COAP_PUT] = seen};
    static const struct {
        bool there;
        const char *etag, *match[2]; /* "*": an empty If-Match */
        bool none_match, runs, runs_without;
    } rows[] = {
        {true, "ab", {NULL, NULL}, false, true, true},
        {true, "ab", {"ab", NULL}, false, true, false},
        {true, "ab", {"abc", NULL}, false, false, false},
        {true, "ab", {"a", NULL}, false, false, false},
        {true, "ab", {"x", "ab"}, false, true, false},
        {true, "ab", {"ab", "x"}, false, true, false},
        {true, "ab", {"*", NULL}, false, true, true},
        {true, "ab", {"x", "*"}, false, true, true},
        {true, "", {"*", NULL}, false, true, true},
        {false, "ab", {"ab", NULL}, false, false, false},
        {false, "ab", {"*", NULL}, false, false, true},
        {true, "ab", {NULL, NULL}, true, false, false},
        {false, "ab", {NULL, NULL}, true, true, false},
        {false, "ab", {"ab", NULL}, true, false, false},
        {true, "ab", {"ab", NULL}, true, false, false},
    };
    struct serving f;
    struct tf_coap_resource a = node("with", &with), b = node("without", &without);

    start(&f);
    add(&f.root, &a);
    add(&f.root, &b);
    for (size_t i = 0; i < 2 * TF_COUNT(rows); i++) {
        size_t row = i / 2;
        bool runs = i % 2 ? rows[row].runs_without : rows[row].runs;
        unsigned calls = last.calls;
        struct packet packet;
        is_there = rows[row].there;
        etag_now = rows[row].etag;
        packet_start(f.probe, &packet, TF_COAP_CON, TF_COAP_PUT, 1);
        for (size_t k = 0; k < 2 && rows[row].match[k]; k++)
            packet_text(&packet, TF_COAP_IF_MATCH,
                        rows[row].match[k][0] == '*' ? "" : rows[row].match[k]);
        if (rows[row].none_match)
            packet_text(&packet, TF_COAP_IF_NONE_MATCH, "");
        packet_text(&packet, TF_COAP_URI_PATH, i % 2 ? "without" : "with");
        assert_int_equal(feed(&f, &packet), runs ? TF_COAP_CONTENT : TF_COAP_PRECONDITION_FAILED);
        assert_int_equal(last.calls, calls + runs);
    }
    serving_end(&f);
}

/* What comes first: 4.04, 4.05, 4.15, 4.12. */
static void test_order(void **state)
{
    (void)state;
    static const uint16_t formats[] = {TF_COAP_FORMAT_JSON};
    static const struct tf_coap_resource_type type = {.handlers[TF_COAP_PUT] = seen,
                                                      .formats = formats,
                                                      .format_count = TF_COUNT(formats),
                                                      .exists = exists};
    static const struct {
        const char *name;
        uint8_t method, format, code;
    } rows[] = {
        {"x", TF_COAP_POST, TF_COAP_FORMAT_TEXT, TF_COAP_NOT_FOUND},
        {"r", TF_COAP_POST, TF_COAP_FORMAT_TEXT, TF_COAP_METHOD_NOT_ALLOWED},
        {"r", TF_COAP_PUT, TF_COAP_FORMAT_TEXT, TF_COAP_UNSUPPORTED_FORMAT},
        {"r", TF_COAP_PUT, TF_COAP_FORMAT_JSON, TF_COAP_PRECONDITION_FAILED},
    };
    struct serving f;
    struct tf_coap_resource resource = node("r", &type);

    start(&f);
    is_there = true;
    etag_now = "";
    add(&f.root, &resource);
    for (size_t i = 0; i < TF_COUNT(rows); i++) {
        struct packet packet;
        packet_start(f.probe, &packet, TF_COAP_CON, rows[i].method, 1);
        packet_text(&packet, TF_COAP_IF_NONE_MATCH, "");
        packet_text(&packet, TF_COAP_URI_PATH, rows[i].name);
        packet_uint(&packet, TF_COAP_CONTENT_FORMAT, rows[i].format);
        assert_int_equal(feed(&f, &packet), rows[i].code);
    }
    assert_int_equal(last.calls, 0);
    serving_end(&f);
}

/* ---- answers ---- */

static unsigned option_count;

/* Adds options out of order, as many as it is told. */
static uint8_t many_options(const struct tf_coap_server_request *request,
                            struct tf_coap_answer *answer)
{
    static const uint16_t numbers[] = {TF_COAP_MAX_AGE_OPTION, TF_COAP_CONTENT_FORMAT};

    (void)request;
    for (unsigned i = 0; i < option_count; i++) {
        if (i < 2)
            tf_coap_answer_uint(answer, numbers[i], 60 + i);
        else
            tf_coap_answer_option(answer, TF_COAP_LOCATION_PATH,
                                  tf_bytes_of(&"abcdefgh"[i % 8], 1));
    }
    if (option_count > TF_COAP_ANSWER_OPTIONS)
        tf_coap_answer_uint(answer, TF_COAP_MAX_AGE_OPTION, 1);
    answer->body = tf_bytes_str("body");
    return TF_COAP_CREATED;
}

static void test_answer_options(void **state)
{
    (void)state;
    static const struct tf_coap_resource_type type = {.handlers[TF_COAP_POST] = many_options};
    struct serving f;
    struct tf_coap_resource resource = node("r", &type);
    struct tf_coap_option option;
    char path[16] = "";

    start(&f);
    add(&f.root, &resource);
    option_count = TF_COAP_ANSWER_OPTIONS;
    assert_int_equal(ask(&f, TF_COAP_POST, "/r"), TF_COAP_CREATED);
    const struct tf_coap_message *message = &probe_only(f.probe)->message;
    assert_int_equal(probe_uint(message, TF_COAP_MAX_AGE_OPTION), 60);
    assert_int_equal(probe_uint(message, TF_COAP_CONTENT_FORMAT), 61);
    assert_memory_equal(message->payload.data, "body", 4);
    struct tf_coap_cursor cursor = tf_coap_options(message->options);
    while (tf_coap_option_next(&cursor, &option)) {
        if (option.number == TF_COAP_LOCATION_PATH)
            strncat(path, (const char *)option.value.data, 1);
    }
    assert_string_equal(path, "cdefgh"); /* those of one number stay in their order */
    option_count++;
    assert_int_equal(ask(&f, TF_COAP_POST, "/r"), TF_COAP_INTERNAL_ERROR);
    assert_int_equal(probe_only(f.probe)->message.payload.length, 0);
    serving_end(&f);
}

static uint8_t later(const struct tf_coap_server_request *request, struct tf_coap_answer *answer)
{
    (void)answer;
    last.handle = request->handle;
    return TF_COAP_LATER;
}

static void test_later(void **state)
{
    (void)state;
    static const struct tf_coap_resource_type type = {.handlers[TF_COAP_GET] = later};
    struct serving f;
    struct tf_coap_resource resource = node("r", &type);
    struct tf_coap_answer answer;
    struct packet packet;

    start(&f);
    add(&f.root, &resource);
    packet_start(f.probe, &packet, TF_COAP_CON, TF_COAP_GET, 9);
    packet_text(&packet, TF_COAP_URI_PATH, "r");
    packet_feed(f.probe, PEER, &packet);
    probe_pass(f.probe, TF_SECOND);
    assert_int_equal(probe_only(f.probe)->message.code, TF_COAP_EMPTY);
    assert_int_equal(probe_only(f.probe)->message.type, TF_COAP_ACK);
    probe_clear(f.probe);

    tf_coap_answer_init(&answer);
    tf_coap_answer_text(&answer, tf_bytes_str("at last"));
    assert_int_equal(
        tf_coap_server_answer(&f.server, last.handle, TF_COAP_CONTENT, &answer, f.probe->now),
        TF_OK);
    probe_run(f.probe);
    const struct tf_coap_message *message = &probe_only(f.probe)->message;
    assert_int_equal(message->type, TF_COAP_CON);
    assert_int_equal(message->code, TF_COAP_CONTENT);
    assert_true(tf_bytes_equal(message->token, tf_bytes_of((const uint8_t[]){9}, 1)));
    assert_memory_equal(message->payload.data, "at last", 7);
    probe_feed_empty(f.probe, PEER, TF_COAP_ACK, message->message_id);
    assert_int_equal(
        tf_coap_server_answer(&f.server, last.handle, TF_COAP_CONTENT, &answer, f.probe->now),
        TF_NOT_FOUND);
    answer.failed = true;
    assert_int_equal(
        tf_coap_server_answer(&f.server, last.handle, TF_COAP_CONTENT, &answer, f.probe->now),
        TF_MISUSE);
    serving_end(&f);
}

/* An answer that does not fit into a datagram, or is none at all, must not leave the client alone.
 */
static uint8_t broken(const struct tf_coap_server_request *request, struct tf_coap_answer *answer)
{
    static const uint8_t body[2000];

    if (request->method == TF_COAP_POST)
        return 0x20; /* 1.00 */
    answer->body = tf_bytes_of(body, sizeof body);
    if (request->method == TF_COAP_PUT)
        answer->owner = 1; /* but no parts that stay */
    return TF_COAP_CHANGED;
}

static void test_broken_handlers(void **state)
{
    (void)state;
    static const struct tf_coap_resource_type type = {.handlers[TF_COAP_POST] = broken,
                                                      .handlers[TF_COAP_PUT] = broken,
                                                      .handlers[TF_COAP_DELETE] = broken};
    struct serving f;
    struct tf_coap_resource resource = node("r", &type);

    start(&f);
    add(&f.root, &resource);
    assert_int_equal(ask(&f, TF_COAP_POST, "/r"), TF_COAP_INTERNAL_ERROR);
    assert_int_equal(ask(&f, TF_COAP_PUT, "/r"), TF_COAP_INTERNAL_ERROR);
    assert_int_equal(ask(&f, TF_COAP_DELETE, "/r"), TF_COAP_INTERNAL_ERROR);
    serving_end(&f);
}

/* ---- bodies that are made run by run ---- */

#define WHOLE 3000u

static unsigned made; /* the most bytes that were made for one answer */

static uint8_t run_get(const struct tf_coap_server_request *request, struct tf_coap_answer *answer)
{
    static uint8_t block[1024];
    struct tf_coap_run run = tf_coap_run_wanted(request);
    uint32_t length = run.offset < WHOLE ? TF_MIN(run.length, WHOLE - run.offset) : 0;

    assert_true(length <= sizeof block);
    for (uint32_t i = 0; i < length; i++)
        block[i] = (uint8_t)((run.offset + i) * 7 + (run.offset + i) / 256);
    made = TF_MAX(made, length);
    answer->body = tf_bytes_of(block, length);
    answer->offset = run.offset;
    answer->total = WHOLE;
    return TF_COAP_CONTENT;
}

static void test_runs(void **state)
{
    (void)state;
    static const struct tf_coap_resource_type type = {.handlers[TF_COAP_GET] = run_get};
    struct serving f;
    struct tf_coap_resource resource = node("r", &type);
    struct packet packet;

    start(&f);
    add(&f.root, &resource);
    for (unsigned szx = 0; szx <= TF_COAP_BLOCK_SZX_MAX; szx++) {
        uint32_t size = 16u << szx, got = 0;
        made = 0;
        for (uint32_t number = 0; got < WHOLE; number++) {
            struct tf_coap_block block;
            packet_start(f.probe, &packet, TF_COAP_CON, TF_COAP_GET, 3);
            packet_text(&packet, TF_COAP_URI_PATH, "r");
            if (number || szx < TF_COAP_BLOCK_SZX_MAX) /* the largest is what comes unasked */
                packet_block(&packet, TF_COAP_BLOCK2, number, false, szx);
            assert_int_equal(feed(&f, &packet), TF_COAP_CONTENT);
            const struct tf_coap_message *message = &probe_only(f.probe)->message;
            assert_true(tf_coap_block_read(probe_option(message, TF_COAP_BLOCK2), &block));
            assert_int_equal(block.number, number);
            assert_int_equal(block.szx, szx);
            assert_int_equal(message->payload.length, TF_MIN(size, WHOLE - got));
            for (size_t i = 0; i < message->payload.length; i++)
                assert_int_equal(message->payload.data[i],
                                 (uint8_t)((got + i) * 7 + (got + i) / 256));
            got += (uint32_t)message->payload.length;
            assert_int_equal(block.more, got < WHOLE);
        }
        assert_int_equal(made, size);
    }
    /* Behind the end there is nothing (RFC 7959 2.4: 4.00 or another error). */
    packet_start(f.probe, &packet, TF_COAP_CON, TF_COAP_GET, 3);
    packet_text(&packet, TF_COAP_URI_PATH, "r");
    packet_block(&packet, TF_COAP_BLOCK2, 1000, false, 6);
    assert_int_equal(tf_coap_class(feed(&f, &packet)), 4);
    packet_start(f.probe, &packet, TF_COAP_CON, TF_COAP_GET, 3);
    packet_text(&packet, TF_COAP_URI_PATH, "r");
    packet_block(&packet, TF_COAP_BLOCK2, TF_COAP_BLOCK_NUM_MAX, false, 6);
    assert_int_equal(tf_coap_class(feed(&f, &packet)), 4);
    serving_end(&f);
}

/* ---- an answer that is lent ---- */

static bool lent;

static uint8_t lend(const struct tf_coap_server_request *request, struct tf_coap_answer *answer)
{
    static uint8_t bytes[600];
    static struct tf_bytes parts[2];

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 3);
    parts[0] = tf_bytes_of(bytes, request->body.length); /* as much as it is asked for */
    parts[1] = tf_bytes_of(bytes, 0);
    answer->parts = parts;
    answer->part_count = 2;
    answer->owner = 77;
    answer->borrowed = &lent;
    return TF_COAP_CHANGED;
}

static void test_lent_answers(void **state)
{
    (void)state;
    static const struct tf_coap_resource_type type = {.handlers[TF_COAP_POST] = lend};
    static const uint8_t body[600];
    struct serving f;
    struct tf_coap_resource resource = node("r", &type);
    struct packet packet;
    size_t got = 0;

    start(&f);
    add(&f.root, &resource);
    /* One that fits is copied, and was never lent. */
    lent = true;
    packet_start(f.probe, &packet, TF_COAP_CON, TF_COAP_POST, 1);
    packet_path(&packet, "/r");
    packet_payload(&packet, body, 20);
    assert_int_equal(feed(&f, &packet), TF_COAP_CHANGED);
    assert_false(lent);
    assert_int_equal(probe_only(f.probe)->message.payload.length, 20);
    assert_int_equal(f.left, 0);

    /* One that does not is, until nobody asks for the rest any more. */
    for (uint32_t number = 0; got < sizeof body; number++) {
        packet_start(f.probe, &packet, TF_COAP_CON, TF_COAP_POST, 1);
        packet_path(&packet, "/r");
        packet_block(&packet, TF_COAP_BLOCK2, number, false, 3);
        if (!number)
            packet_payload(&packet, body, sizeof body);
        assert_int_equal(feed(&f, &packet), TF_COAP_CHANGED);
        assert_true(lent);
        struct tf_bytes block = probe_only(f.probe)->message.payload;
        for (size_t i = 0; i < block.length; i++)
            assert_int_equal(block.data[i], (uint8_t)((got + i) * 3));
        got += block.length;
    }
    assert_int_equal(got, sizeof body);
    probe_pass(f.probe, 300 * TF_SECOND);
    assert_int_equal(f.left, 1); /* the program gets it */
    assert_int_equal(probe_event(f.probe, TF_COAP_EVENT_RETURNED)->owner, 77);
    serving_end(&f);
}

/* On an endpoint without any feature: the smallest server there is. */
static void test_small(void **state)
{
    (void)state;
    static const struct tf_coap_resource_type later_type = {.handlers[TF_COAP_GET] = later};
    struct tf_coap_endpoint_config config = {.path_size = sizeof(uint32_t), .requests = 1};
    struct serving f;
    struct tf_coap_resource all = node("all", &all_type), slow = node("slow", &later_type);
    struct packet packet;

    serving_start(&f, &config);
    add(&f.root, &all);
    add(&f.root, &slow);
    assert_int_equal(ask(&f, TF_COAP_GET, "/all"), TF_COAP_CONTENT);
    assert_string_equal(answer_text(&f), "all");
    assert_int_equal(ask(&f, TF_COAP_PUT, "/all"), TF_COAP_CONTENT);
    assert_int_equal(ask(&f, TF_COAP_GET, "/none"), TF_COAP_NOT_FOUND);
    /* Blocks and observing are not understood: 4.02, and a plain answer. */
    packet_start(f.probe, &packet, TF_COAP_CON, TF_COAP_GET, 1);
    packet_uint(&packet, TF_COAP_OBSERVE, 0);
    packet_path(&packet, "/all");
    assert_int_equal(feed(&f, &packet), TF_COAP_CONTENT);
    assert_int_equal(probe_uint(&probe_only(f.probe)->message, TF_COAP_OBSERVE), -1);
    packet_start(f.probe, &packet, TF_COAP_CON, TF_COAP_PUT, 1);
    packet_path(&packet, "/all");
    packet_block(&packet, TF_COAP_BLOCK1, 0, true, 0);
    packet_payload(&packet, "0123456789abcdef", 16);
    assert_int_equal(feed(&f, &packet), TF_COAP_BAD_OPTION);
    /* Nobody can answer later here; the next request finds its place all the same. */
    packet_start(f.probe, &packet, TF_COAP_CON, TF_COAP_GET, 1);
    packet_path(&packet, "/slow");
    probe_clear(f.probe);
    packet_feed(f.probe, PEER, &packet);
    assert_int_equal(f.probe->sent_count, 0);
    assert_int_equal(ask(&f, TF_COAP_GET, "/all"), TF_COAP_CONTENT);
    serving_end(&f);
}

/* Events that are the program's own are left to it. */
static void test_events_left(void **state)
{
    (void)state;
    static const enum tf_coap_event_type types[] = {
        TF_COAP_EVENT_CANCELLED,     TF_COAP_EVENT_OBSERVER_READY,
        TF_COAP_EVENT_OBSERVER_GONE, TF_COAP_EVENT_RETURNED,
        TF_COAP_EVENT_RESPONSE,      TF_COAP_EVENT_FAILED,
        TF_COAP_EVENT_RETRANSMITTED, TF_COAP_EVENT_PONG};
    struct serving f;

    start(&f);
    for (size_t i = 0; i < TF_COUNT(types); i++) {
        struct tf_coap_event event = {.type = types[i], .handle = 5};
        assert_false(tf_coap_server_event(&f.server, &event, 0));
    }
    serving_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_tree),
        cmocka_unit_test(test_deep),
        cmocka_unit_test(test_subtrees),
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_answer_options),
        cmocka_unit_test(test_later),
        cmocka_unit_test(test_broken_handlers),
        cmocka_unit_test(test_runs),
        cmocka_unit_test(test_lent_answers),
        cmocka_unit_test(test_small),
        cmocka_unit_test(test_events_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
