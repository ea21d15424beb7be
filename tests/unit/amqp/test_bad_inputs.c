/*
 * The bad inputs that any server must bear, from tests/vectors/amqp-bad-inputs.txt (its head tells
 * the form), against the machine with the least application that can answer them: it takes every
 * link, gives credit, and accepts messages that can be read. Each case runs whole and byte by byte.
 */
#include "frames_text.h"
#include "rig.h"

#include <stdlib.h>
#include <string.h>

#include <stdio.h>

#include <trefoil/amqp_message.h>

enum { BYTES = 1 << 16, FRAMES = 128, LINKS = 16, BLOCKS = 64 };

/* A server, and what it has said. */
struct host {
    struct tf_amqp_config config;
    struct tf_amqp_connection *machine;
    struct tf_amqp_link *links[LINKS];
    struct {
        char name[16];
        enum tf_amqp_role role;
    } named[LINKS];
    unsigned link_count;
    uint8_t buffer[8192], message[BYTES], out[BYTES];
    size_t message_length, out_length;
    void *blocks[BLOCKS];
    unsigned block_count;
    bool over;
};

/* What one frame of the server's was. */
struct said {
    enum tf_amqp_performative_type type;
    enum tf_amqp_condition condition; /* of its error, or of a rejection */
    enum tf_amqp_state_type state;
    bool settled;
    unsigned code; /* of a SASL outcome */
};

static void *block(struct host *host, size_t size)
{
    void *memory = malloc(size);

    assert_true(memory && host->block_count < BLOCKS);
    host->blocks[host->block_count++] = memory;
    return memory;
}

/* ---- the application ---- */

static void on_attach(struct host *host, const struct tf_amqp_event *event)
{
    const struct tf_amqp_error refusal = tf_amqp_error_of(TF_AMQP_NOT_IMPLEMENTED, "no"),
                               stolen = tf_amqp_error_of(TF_AMQP_STOLEN, "attached again");
    size_t size = tf_amqp_link_size(&host->config), length = event->attach.name.length;
    bool coordinator = event->attach.target.type == TF_AMQP_COORDINATOR;
    struct tf_amqp_attach reply = event->attach;
    struct tf_amqp_link *link;
    unsigned i;

    assert_true(length < 16 && host->link_count < LINKS);
    for (i = 0; i < host->link_count; i++) {
        if (host->links[i] && host->named[i].role == event->attach.role &&
            strlen(host->named[i].name) == length &&
            memcmp(host->named[i].name, event->attach.name.data, length) == 0)
            tf_amqp_link_detach(host->links[i], true, &stolen);
    }
    assert_int_equal(tf_amqp_link_accept(event->session, block(host, size), size, NULL, &link),
                     TF_OK);
    host->links[i] = link;
    host->named[i].role = event->attach.role;
    memcpy(host->named[i].name, event->attach.name.data, length);
    host->named[i].name[length] = 0;
    host->link_count++;
    if (coordinator)
        reply.target = (struct tf_amqp_terminus){.type = TF_AMQP_TERMINUS_NONE};
    assert_int_equal(tf_amqp_link_attach_reply(link, &reply), TF_OK);
    if (coordinator)
        tf_amqp_link_detach(link, true, &refusal);
    else
        tf_amqp_link_credit(link, 10, false);
}

static void on_transfer(struct host *host, const struct tf_amqp_event *event)
{
    struct tf_amqp_state state = {.type = TF_AMQP_STATE_ACCEPTED};
    struct tf_amqp_message message;

    if (event->first)
        host->message_length = 0;
    if (event->payload.length > 0)
        memcpy(host->message + host->message_length, event->payload.data, event->payload.length);
    host->message_length += event->payload.length;
    if (event->more || event->aborted || event->settled)
        return;
    if (tf_amqp_message_read(tf_bytes_of(host->message, host->message_length), &message,
                             &state.error.condition))
        state.type = TF_AMQP_STATE_REJECTED;
    assert_int_equal(tf_amqp_dispose(host->machine, event->delivery, &state, true), TF_OK);
}

static void answer(struct host *host, const struct tf_amqp_event *event)
{
    const struct tf_amqp_open open = {.container_id = tf_bytes_str("server")};
    size_t size = tf_amqp_session_size(&host->config);
    struct tf_amqp_session *session;
    void *old;

    switch (event->type) {
    case TF_AMQP_AUTHENTICATE:
        tf_amqp_authenticated(host->machine, true);
        break;
    case TF_AMQP_OPENED:
        assert_int_equal(tf_amqp_open(host->machine, &open), TF_OK);
        break;
    case TF_AMQP_BEGIN:
        assert_int_equal(
            tf_amqp_session_accept(host->machine, block(host, size), size, NULL, &session), TF_OK);
        break;
    case TF_AMQP_ATTACH:
        on_attach(host, event);
        break;
    case TF_AMQP_DETACHED:
        if (!event->gone)
            tf_amqp_link_detach(event->link, event->closed, NULL);
        for (unsigned i = 0; i < host->link_count; i++) {
            if (host->links[i] == event->link)
                host->links[i] = NULL;
        }
        break;
    case TF_AMQP_ENDED:
        memset(host->links, 0, sizeof(host->links));
        break;
    case TF_AMQP_TRANSFER:
        on_transfer(host, event);
        break;
    case TF_AMQP_NEEDS:
        assert_int_equal(tf_amqp_give(host->machine, event->session, event->part,
                                      block(host, event->size), event->size, &old),
                         TF_OK);
        break;
    default:
        break;
    }
}

/* ---- the wire ---- */

static void drain(struct host *host)
{
    struct tf_amqp_event event;
    struct tf_bytes spans[4];
    size_t count;

    for (;;) {
        bool any = false;
        while (tf_amqp_event(host->machine, &event)) {
            answer(host, &event);
            any = true;
        }
        count = tf_amqp_output(host->machine, spans, 4);
        for (size_t i = 0; i < count; i++) {
            assert_true(host->out_length + spans[i].length <= BYTES);
            memcpy(host->out + host->out_length, spans[i].data, spans[i].length);
            host->out_length += spans[i].length;
            tf_amqp_sent(host->machine, spans[i].length, 0);
            any = true;
        }
        assert_true(tf_amqp_check(host->machine));
        if (!any)
            break;
    }
    host->over = tf_amqp_closing(host->machine, NULL);
}

/* The server gets bytes, `step` at a time. */
static void send(struct host *host, const uint8_t *data, size_t length, size_t step)
{
    size_t seen = 0, done = 0;

    drain(host);
    while (!host->over && (seen < length || done < seen)) {
        size_t used = 0, need = 0;
        enum tf_err err;
        if (seen < length)
            seen += step < length - seen ? step : length - seen;
        do {
            err = tf_amqp_input(host->machine, tf_bytes_of(data + done, seen - done), &used, &need,
                                0);
            drain(host);
            done += used;
        } while (!host->over && done < seen && err != TF_MORE);
        if (err == TF_MORE && seen == length)
            break;
    }
}

static void send_text(struct host *host, const char *text)
{
    uint8_t data[4096];

    send(host, data, frames_text(text, data, 0, sizeof(data)), sizeof(data));
    assert_false(host->over);
}

/* ---- states ---- */

static const struct tf_amqp_sasl_mechanism *const mechanisms[] = {&tf_amqp_sasl_anonymous,
                                                                  &tf_amqp_sasl_plain};
static const struct tf_amqp_sasl sasl = {
    .mechanisms = mechanisms, .mechanism_count = 2, .optional = true};

static void start(struct host *host, const char *state)
{
    static const struct {
        const char *state, *text;
    } steps[] = {
        {"fresh", ""},
        {"sasl", "\"AMQP\" 03010000"},
        {"header", "\"AMQP\" 00010000"},
        {"open", "[0 open {1 s\"bad\"} ]"},
        {"begun", "[0 begin {4 null =0 =100 =100} ]"},
        {"sender", "[0 attach {10 s\"bad\" =0 false null null source {1 s\"bad\"} "
                   "target {1 s\"bad/queue\"} null null =0} ]"},
        {"receiver", "[0 attach {7 s\"bad\" =0 true null null source {1 s\"bad/queue\"} "
                     "target {1 s\"bad\"} } ]"},
    };
    size_t last = 0;

    host->config = rig_config();
    host->config.end = TF_AMQP_SERVER;
    host->config.sasl = &sasl;
    host->config.max_frame_size = 65536;
    host->machine = block(host, tf_amqp_size(&host->config));
    assert_int_equal(tf_amqp_init(&host->machine, host->machine, tf_amqp_size(&host->config),
                                  &host->config, NULL, 0),
                     TF_OK);
    assert_int_equal(tf_amqp_lend(host->machine, host->buffer, sizeof(host->buffer)), TF_OK);
    while (last < sizeof(steps) / sizeof(*steps) && strcmp(steps[last].state, state) != 0)
        last++;
    assert_true(last < sizeof(steps) / sizeof(*steps));
    if (last <= 2) {
        send_text(host, steps[last].text);
    } else {
        for (size_t i = 2; i <= last; i++) {
            if (i < 5 || i == last)
                send_text(host, steps[i].text);
        }
    }
    host->out_length = 0;
}

/* ---- what it said ---- */

static struct said said_of(const struct tf_amqp_performative *performative)
{
    struct said said = {.type = performative->type};

    switch (said.type) {
    case TF_AMQP_DETACH:
        said.condition = performative->detach.error.condition;
        break;
    case TF_AMQP_END:
    case TF_AMQP_CLOSE:
        said.condition = performative->ending.error.condition;
        break;
    case TF_AMQP_DISPOSITION:
        said.state = performative->disposition.state.type;
        said.settled = performative->disposition.settled;
        if (said.state == TF_AMQP_STATE_REJECTED)
            said.condition = performative->disposition.state.error.condition;
        break;
    case TF_AMQP_SASL_OUTCOME:
        said.code = performative->result.code;
        break;
    default:
        break;
    }
    return said;
}

static size_t read_all(const struct host *host, struct said *ret)
{
    struct tf_bytes out = tf_bytes_of(host->out, host->out_length), payload;
    size_t count = 0, need;

    while (out.length > 0) {
        struct tf_amqp_performative performative;
        enum tf_amqp_condition condition;
        struct tf_amqp_frame frame;
        if (memcmp(out.data, "AMQP", 4) == 0) {
            frame.size = 8;
        } else {
            assert_int_equal(tf_amqp_frame_read(out, BYTES, &frame, &need), TF_OK);
            assert_int_equal(tf_amqp_performative_read(frame.body, frame.type, &performative,
                                                       &payload, &condition),
                             TF_OK);
            assert_true(count < FRAMES);
            ret[count++] = said_of(&performative);
        }
        out = tf_bytes_of(out.data + frame.size, out.length - frame.size);
    }
    return count;
}

/* The first frame of a type from `*at` on; NULL: none. */
static const struct said *find(const struct said *said, size_t count, size_t *at,
                               enum tf_amqp_performative_type type)
{
    for (; *at < count; (*at)++) {
        if (said[*at].type == type)
            return &said[(*at)++];
    }
    return NULL;
}

static bool any_error(const struct said *said, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (said[i].type == TF_AMQP_CLOSE || said[i].type == TF_AMQP_END ||
            (said[i].type == TF_AMQP_DETACH && said[i].condition != TF_AMQP_NO_ERROR))
            return true;
    }
    return false;
}

/* True if one alternative of an answer is what came, behind `*at`. */
static bool matches(const struct host *host, const char *kind, const char *what,
                    const struct said *said, size_t count, size_t *at)
{
    static const struct {
        const char *kind;
        enum tf_amqp_performative_type type;
        bool over;
    } kinds[] = {
        {"close", TF_AMQP_CLOSE, true},           {"end", TF_AMQP_END, false},
        {"detach", TF_AMQP_DETACH, false},        {"rejected", TF_AMQP_DISPOSITION, false},
        {"accepted", TF_AMQP_DISPOSITION, false}, {"attach", TF_AMQP_ATTACH_FRAME, false},
        {"begin", TF_AMQP_BEGIN_FRAME, false},    {"outcome", TF_AMQP_SASL_OUTCOME, true},
    };
    const struct said *found;
    size_t i = 0;

    if (strcmp(kind, "closed") == 0)
        return host->over && count == 0;
    if (strcmp(kind, "header") == 0)
        return host->over && host->out_length >= 8 &&
               memcmp(host->out, strcmp(what, "sasl") == 0 ? "AMQP\3\1\0\0" : "AMQP\0\1\0\0", 8) ==
                   0;
    if (strcmp(kind, "lives") == 0)
        return !host->over && !any_error(said, count);
    while (i < sizeof(kinds) / sizeof(*kinds) && strcmp(kinds[i].kind, kind) != 0)
        i++;
    assert_true(i < sizeof(kinds) / sizeof(*kinds));
    found = find(said, count, at, kinds[i].type);
    if (!found || host->over != kinds[i].over)
        return false;
    if (strcmp(kind, "outcome") == 0)
        return found->code == (unsigned)atoi(what);
    if (strcmp(kind, "accepted") == 0)
        return found->state == TF_AMQP_STATE_ACCEPTED && found->settled;
    if (strcmp(kind, "rejected") == 0 &&
        !(found->state == TF_AMQP_STATE_REJECTED && found->settled))
        return false;
    return *what == 0 || found->condition == tf_amqp_condition_of(tf_bytes_str(what));
}

/* One line of alternatives, parted by bars. */
static bool line_matches(const struct host *host, const char *line, const struct said *said,
                         size_t count, size_t *at)
{
    while (*line) {
        char kind[32] = "", what[64] = "";
        size_t length = strcspn(line, "|"), from = *at;
        char alternative[128];
        snprintf(alternative, sizeof(alternative), "%.*s", (int)length, line);
        sscanf(alternative, " %31s %63s", kind, what);
        if (matches(host, kind, what, said, count, &from)) {
            *at = from;
            return true;
        }
        line += length + (line[length] == '|');
    }
    return false;
}

/* ---- the file ---- */

struct row {
    char head[256], state[32];
    uint8_t bytes[BYTES];
    size_t length;
    char answers[4][512];
    unsigned answer_count;
};

static void release(struct host *host)
{
    for (unsigned i = 0; i < host->block_count; i++)
        free(host->blocks[i]);
    free(host);
}

/* Runs a case; false: the answer was another. */
static bool run(const struct row *row, size_t step)
{
    struct host *host = calloc(1, sizeof(*host));
    struct said said[FRAMES];
    size_t count, at = 0;
    bool good = true;

    assert_non_null(host);
    start(host, row->state);
    send(host, row->bytes, row->length, step);
    count = read_all(host, said);
    for (unsigned i = 0; i < row->answer_count && good; i++)
        good = line_matches(host, row->answers[i], said, count, &at);
    if (!good) {
        print_error("%s, %s: over %d,", row->head, step == 1 ? "bytes" : "whole", host->over);
        for (size_t i = 0; i < count; i++)
            print_error(" %02x/%d/%d", said[i].type, said[i].condition, said[i].state);
        print_error(" (type/condition/state)\n");
    }
    release(host);
    return good;
}

static unsigned run_both(const struct row *row)
{
    if (row->answer_count == 0)
        return 0;
    return !run(row, BYTES) + !run(row, 1);
}

static void every_row(void **state)
{
    struct row *row = calloc(1, sizeof(*row));
    FILE *file = fopen(TF_VECTORS_DIR "/amqp-bad-inputs.txt", "r");
    char *line = NULL;
    size_t size = 0;
    unsigned rows = 0, wrong = 0;

    (void)state;
    assert_true(row && file);
    while (getline(&line, &size, file) > 0) {
        line[strcspn(line, "\n")] = 0;
        if (strncmp(line, "row ", 4) == 0) {
            wrong += run_both(row);
            memset(row, 0, sizeof(*row));
            rows++;
            snprintf(row->head, sizeof(row->head), "%s", line);
            assert_int_equal(sscanf(line, "row %*d %31s", row->state), 1);
        } else if (line[0] == '>') {
            row->length = frames_text(line + 1, row->bytes, row->length, BYTES);
        } else if (line[0] == '<') {
            assert_true(row->answer_count < 4);
            snprintf(row->answers[row->answer_count++], sizeof(row->answers[0]), "%s", line + 1);
        }
    }
    wrong += run_both(row);
    free(line);
    free(row);
    fclose(file);
    assert_true(rows > 100);
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
