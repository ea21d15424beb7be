/*
 * The bad inputs that any endpoint must bear, from tests/vectors/coap-bad-inputs.txt (its head
 * tells the form), against the machine with an application that has one resource, /good.
 */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STRANGER 99u

struct app {
    bool done; /* a request was run that changes something */
};

static bool is_good(struct tf_bytes options)
{
    struct tf_bytes path;

    return tf_coap_option_find(options, TF_COAP_URI_PATH, &path) &&
           tf_bytes_equal(path, tf_bytes_str("good"));
}

static void respond(struct rig *rig, struct rig_node *node, const struct tf_coap_event *event)
{
    struct app *app = node->user;
    struct tf_bytes body = tf_bytes_str("good value");
    struct tf_coap_option etag = {TF_COAP_ETAG, tf_bytes_str("e")};
    struct tf_coap_response response = {.code = TF_COAP_NOT_FOUND};
    uint8_t method = event->message.code;

    if (method == TF_COAP_GET && is_good(event->message.options)) {
        response = (struct tf_coap_response){.code = TF_COAP_CONTENT,
                                             .options = &etag,
                                             .option_count = 1,
                                             .body = &body,
                                             .body_count = 1};
    } else if (method != TF_COAP_GET && method != TF_COAP_FETCH) {
        app->done = true;
        response.code = TF_COAP_CREATED;
    }
    assert_int_equal(
        tf_coap_respond(node->endpoint, event->handle, &response, NULL, NULL, rig->now), TF_OK);
}

static void on_event(struct rig *rig, struct rig_node *node, const struct tf_coap_event *event)
{
    if (event->type == TF_COAP_EVENT_REQUEST || event->type == TF_COAP_EVENT_BODY) {
        if (!event->more)
            respond(rig, node, event);
    }
}

/* ---- the file ---- */

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 87 : -1;
}

/* What one item of a text stands for: bytes with a mask; true for a star. */
static bool item(const char **at, uint8_t *ret, uint8_t *mask, size_t *length)
{
    const char *text = *at;
    char *end;
    unsigned long times = strtoul(text, &end, 10);

    if (*end == '*' && end > text) { /* 16*61 */
        memset(ret + *length, digit(end[1]) << 4 | digit(end[2]), times);
        memset(mask + *length, 0xFF, times);
        *length += times;
        *at = end + 3;
    } else if (*text == '"') {
        for (text++; *text != '"'; text++) {
            mask[*length] = 0xFF;
            ret[(*length)++] = (uint8_t)*text;
        }
        *at = text + 1;
    } else if (*text == '*') {
        *at = text + 1;
        return true;
    } else {
        assert_true(text[0] == '?' || (digit(text[0]) >= 0 && digit(text[1]) >= 0));
        mask[*length] = text[0] == '?' ? 0 : 0xFF;
        ret[(*length)++] = text[0] == '?' ? 0 : (uint8_t)(digit(text[0]) << 4 | digit(text[1]));
        *at = text + 2;
    }
    return false;
}

/* True if `got` (NULL: silence) is what one of the alternatives says. */
static bool matches(const char *pattern, const struct rig_captured *got)
{
    while (pattern) {
        uint8_t bytes[2048], mask[2048];
        size_t length = 0, star = SIZE_MAX;
        bool same = true;
        const char *next = strchr(pattern, '|');
        const char *end = next ? next : pattern + strlen(pattern);
        while (pattern < end && *pattern == ' ')
            pattern++;
        if (strncmp(pattern, "silence", 7) == 0) {
            same = !got;
            pattern = end;
        } else {
            same = got != NULL;
        }
        while (pattern < end) {
            if (*pattern == ' ')
                pattern++;
            else if (item(&pattern, bytes, mask, &length))
                star = length;
        }
        if (same && got && length) {
            size_t head = star == SIZE_MAX ? length : star, tail = length - head;
            same = star == SIZE_MAX ? got->length == length : got->length >= length;
            for (size_t i = 0; same && i < head; i++)
                same = (got->bytes[i] & mask[i]) == bytes[i];
            for (size_t i = 0; same && i < tail; i++)
                same = (got->bytes[got->length - tail + i] & mask[head + i]) == bytes[head + i];
        }
        if (same)
            return true;
        pattern = next ? next + 1 : NULL;
    }
    return false;
}

static void inject(struct rig *rig, struct rig_node *node, const char *text)
{
    uint8_t bytes[2048], mask[2048];
    size_t length = 0;

    while (*text && *text != '\n' && *text != '-') {
        if (*text == ' ')
            text++;
        else
            (void)item(&text, bytes, mask, &length);
    }
    rig_inject(rig, node, STRANGER, bytes, length);
}

static void good_client(struct rig *rig, struct rig_node *node)
{
    static uint16_t id;
    uint8_t ping[] = {0x40, 0, (uint8_t)(0x80 | id >> 8), (uint8_t)id};
    const struct rig_captured *got;

    id++;
    rig_inject(rig, node, 98, ping, 4);
    got = rig_take(rig);
    assert_non_null(got);
    assert_int_equal(got->bytes[0], 0x70);
    rig_inject_hex(rig, node, 98, "41010001 bb b4 676f6f64");
    rig_expect_hex(rig, "61450001 bb 4165 ff 676f6f642076616c7565");
    rig_expect_hex(rig, "");
}

static void every_row(void **state)
{
    struct tf_coap_endpoint_config config = rig_config();
    struct rig rig;
    struct app app = {.done = false};
    char line[4096], name[256] = "";
    FILE *file = fopen(TF_VECTORS_DIR "/coap-bad-inputs.txt", "r");
    unsigned rows = 0;
    bool machine = false, may_change = false;

    (void)state;
    assert_non_null(file);
    rig_init(&rig, 1);
    rig.flags = TF_DATAGRAM_TRUSTED;
    struct rig_node *node = rig_add(&rig, &config, on_event);
    node->user = &app;
    for (bool more = true; more;) {
        more = fgets(line, sizeof(line), file) != NULL;
        line[more ? strcspn(line, "\n") : 0] = 0;
        if ((!more || !*line) && machine) { /* the end of a row */
            if (app.done && !may_change)
                fail_msg("%s: it was run", name);
            good_client(&rig, node);
            machine = app.done = may_change = false;
        }
        if (strncmp(line, "row ", 4) == 0) {
            machine = strstr(line, " machine ") != NULL;
            rows += machine;
            snprintf(name, sizeof(name), "%.200s", line);
        } else if (machine && line[0] == '>') {
            inject(&rig, node, line + 2);
        } else if (machine && line[0] == '+') {
            may_change = true;
        } else if (machine && line[0] == '<') {
            const struct rig_captured *got = rig_take(&rig);
            if (!matches(line + 2, got))
                fail_msg("%s: %s: got code %02x, %zu bytes", name, line, got ? got->bytes[1] : 0,
                         got ? got->length : 0);
        }
    }
    fclose(file);
    assert_true(rows > 100);
    rig_release(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_row)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
