/*
 * The small resources of the ETSI plugtests. Those that are only values or texts need no handler of
 * their own and stand in the table at the end.
 */
#include "etsi.h"

#include "value.h"

void etsi_locate(struct tf_coap_answer *answer, const char *const *segments, size_t count)
{
    for (size_t i = 0; i < count; i++)
        tf_coap_answer_option(answer, TF_COAP_LOCATION_PATH, tf_bytes_str(segments[i]));
}

/* A row of the table below. */
struct row {
    const char *parent; /* its path */
    const char *text;
    struct tf_coap_resource resource;
};

/* GET of the text in the row that is the resource's `user`. */
static uint8_t text_get(const struct tf_coap_server_request *request, struct tf_coap_answer *answer)
{
    const struct row *row = request->resource->user;

    tf_coap_answer_text(answer, tf_bytes_str(row->text));
    return TF_COAP_CONTENT;
}

/* ---- /test ---- */

static uint8_t test_post(const struct tf_coap_server_request *request,
                         struct tf_coap_answer *answer)
{
    static const char *const location[] = {"location1", "location2", "location3"};

    (void)request;
    etsi_locate(answer, location, 3);
    return TF_COAP_CREATED;
}

/* Gives the request's body back (RFC 8132 2). */
static uint8_t test_fetch(const struct tf_coap_server_request *request,
                          struct tf_coap_answer *answer)
{
    if (request->format >= 0)
        tf_coap_answer_uint(answer, TF_COAP_CONTENT_FORMAT, (uint32_t)request->format);
    answer->body = request->body;
    return TF_COAP_CONTENT;
}

/* ---- /query, /location-query, /multi-format ---- */

static uint8_t query_get(const struct tf_coap_server_request *request,
                         struct tf_coap_answer *answer)
{
    static char text[512];
    struct tf_coap_cursor cursor = tf_coap_options(request->options);
    struct tf_coap_option option;
    struct tf_writer out = tf_writer_of(text, sizeof text);

    while (tf_coap_option_next(&cursor, &option)) {
        if (option.number != TF_COAP_URI_QUERY)
            continue;
        if (tf_writer_length(&out))
            tf_write_u8(&out, '&');
        tf_write_bytes(&out, option.value);
    }
    if (!tf_writer_length(&out))
        tf_write_bytes(&out, tf_bytes_str("none"));
    tf_coap_answer_text(answer, tf_bytes_of(text, tf_writer_length(&out)));
    return TF_COAP_CONTENT;
}

static uint8_t location_query_post(const struct tf_coap_server_request *request,
                                   struct tf_coap_answer *answer)
{
    (void)request;
    tf_coap_answer_option(answer, TF_COAP_LOCATION_PATH, tf_bytes_str("location-query"));
    tf_coap_answer_option(answer, TF_COAP_LOCATION_QUERY, tf_bytes_str("first=1"));
    tf_coap_answer_option(answer, TF_COAP_LOCATION_QUERY, tf_bytes_str("second=2"));
    return TF_COAP_CREATED;
}

/* Two formats; the endpoint refuses what is neither (4.06). */
static uint8_t multi_format_get(const struct tf_coap_server_request *request,
                                struct tf_coap_answer *answer)
{
    tf_coap_answer_text(answer, tf_bytes_str("twenty-one"));
    if (request->accept == TF_COAP_FORMAT_XML) {
        tf_coap_answer_init(answer);
        tf_coap_answer_uint(answer, TF_COAP_CONTENT_FORMAT, TF_COAP_FORMAT_XML);
        answer->body = tf_bytes_str("<value>21</value>");
    }
    return TF_COAP_CONTENT;
}

/* ---- /path: links to what is below it ---- */

static uint8_t path_get(const struct tf_coap_server_request *request, struct tf_coap_answer *answer)
{
    (void)request;
    tf_coap_answer_uint(answer, TF_COAP_CONTENT_FORMAT, TF_COAP_FORMAT_LINK);
    answer->body = tf_bytes_str("</path/sub1>,</path/sub2>,</path/sub3>");
    return TF_COAP_CONTENT;
}

/* ---- types, and the table ---- */

static const struct tf_coap_link_attributes text_link = {.ct = "0"}, links_link = {.ct = "40"},
                                            multi_link = {.ct = "0 41"},
                                            link1 = {.rt = "Type1 Type2", .iface = "If1"},
                                            link2 = {.rt = "Type2 Type3", .iface = "If2"},
                                            link3 = {.rt = "Type1 Type3", .iface = "foo"},
                                            link4 = {.rt = ""};

static const struct tf_coap_resource_type
    test_type = {.handlers[TF_COAP_GET] = value_get,
                 .handlers[TF_COAP_PUT] = value_put,
                 .handlers[TF_COAP_POST] = test_post,
                 .handlers[TF_COAP_DELETE] = value_delete,
                 .handlers[TF_COAP_FETCH] = test_fetch,
                 .handlers[TF_COAP_PATCH] = value_patch,
                 .handlers[TF_COAP_IPATCH] = value_patch,
                 .exists = value_exists},
    value_type = {.handlers[TF_COAP_GET] = value_get,
                  .handlers[TF_COAP_PUT] = value_put,
                  .handlers[TF_COAP_DELETE] = value_delete,
                  .exists = value_exists},
    validate_type = {.handlers[TF_COAP_GET] = value_get,
                     .handlers[TF_COAP_PUT] = value_put,
                     .exists = value_exists},
    text_type = {.handlers[TF_COAP_GET] = text_get, .link = &text_link},
    hidden_type = {.handlers[TF_COAP_GET] = text_get, .flags = TF_COAP_HIDDEN},
    path_type = {.handlers[TF_COAP_GET] = path_get, .link = &links_link},
    query_type = {.handlers[TF_COAP_GET] = query_get, .link = &text_link},
    location_query_type = {.handlers[TF_COAP_POST] = location_query_post},
    multi_format_type = {.handlers[TF_COAP_GET] = multi_format_get, .link = &multi_link},
    link1_type = {.handlers[TF_COAP_GET] = text_get, .link = &link1},
    link2_type = {.handlers[TF_COAP_GET] = text_get, .link = &link2},
    link3_type = {.handlers[TF_COAP_GET] = text_get, .link = &link3},
    link4_type = {.handlers[TF_COAP_GET] = text_get, .link = &link4},
    link5_type = {.handlers[TF_COAP_GET] = text_get};

static struct value test, validate, create1;

static struct row table[] = {
    {"", NULL, {.name = "test", .type = &test_type, .user = &test}},
    {"", NULL, {.name = "seg1"}},
    {"seg1", NULL, {.name = "seg2"}},
    {"seg1/seg2", "three segments", {.name = "seg3", .type = &text_type}},
    {"", NULL, {.name = "query", .type = &query_type}},
    {"", NULL, {.name = "location-query", .type = &location_query_type}},
    {"", NULL, {.name = "multi-format", .type = &multi_format_type}},
    {"", NULL, {.name = "validate", .type = &validate_type, .user = &validate}},
    {"", NULL, {.name = "create1", .type = &value_type, .user = &create1}},
    {"", "link 1", {.name = "link1", .type = &link1_type}},
    {"", "link 2", {.name = "link2", .type = &link2_type}},
    {"", "link 3", {.name = "link3", .type = &link3_type}},
    {"", "link 4", {.name = "link4", .type = &link4_type}},
    {"", "link 5", {.name = "link5", .type = &link5_type}},
    {"", NULL, {.name = "path", .type = &path_type}},
    {"path", "/path/sub1", {.name = "sub1", .type = &hidden_type}},
    {"path", "/path/sub2", {.name = "sub2", .type = &hidden_type}},
    {"path", "/path/sub3", {.name = "sub3", .type = &hidden_type}},
};

bool etsi_add(struct tf_coap_resource *root)
{
    bool added = true;

    value_set_text(&test, "a resource to test with");
    value_set_text(&validate, "as yet unchanged");
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct tf_coap_resource *parent =
            tf_coap_resource_find(root, tf_bytes_str(table[i].parent));
        if (table[i].text)
            table[i].resource.user = &table[i];
        added &= parent && !tf_coap_resource_add(parent, &table[i].resource);
    }
    return added && etsi_add_large(root) && etsi_add_obs(root);
}
