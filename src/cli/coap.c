/*
 * `trefoil coap`: requests of any method, observation, discovery and ping.
 *
 * All requests of a command line are begun at once, and each answer is printed when it is complete;
 * how many are under way to one server at a time is the standard's NSTART (RFC 7252 4.7).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "cli/cli.h"
#include "cli/coap_answer.h"
#include "cli/coap_body.h"
#include "cli/coap_run.h"
#include "cli/coap_trace.h"
#include "cli/help.h"
#include "cli/options.h"
#include "port/terminal.h"

#define STDOUT 1
#define NON_TIMEOUT_MS 10000u /* of an answer to a NON, unless -W says another */
#define PING_INTERVAL TF_SECOND
#define WELL_KNOWN "/.well-known/core"

enum key {
    KEY_IF_MATCH = TF_CLI_KEY_OWN + 1,
    KEY_IF_NONE_MATCH,
    KEY_ETAG,
    KEY_PRETTY,
    KEY_ACK_TIMEOUT,
    KEY_RETRANSMIT,
    KEY_NSTART,
    KEY_FROM
};

enum kind { KIND_REQUEST, KIND_OBSERVE, KIND_DISCOVER, KIND_PING };

struct verb {
    const char *name;
    enum kind kind;
    uint8_t method;
    bool body; /* there may be one */
};

static const struct verb verbs[] = {
    {"get", KIND_REQUEST, TF_COAP_GET, false},
    {"put", KIND_REQUEST, TF_COAP_PUT, true},
    {"post", KIND_REQUEST, TF_COAP_POST, true},
    {"delete", KIND_REQUEST, TF_COAP_DELETE, false},
    {"fetch", KIND_REQUEST, TF_COAP_FETCH, true},
    {"patch", KIND_REQUEST, TF_COAP_PATCH, true},
    {"ipatch", KIND_REQUEST, TF_COAP_IPATCH, true},
    {"observe", KIND_OBSERVE, TF_COAP_GET, true},
    {"discover", KIND_DISCOVER, TF_COAP_GET, false},
    {"ping", KIND_PING, TF_COAP_EMPTY, false},
};

struct coap {
    const struct verb *verb;
    struct tf_cli_coap_options options;
    struct tf_cli_coap_source source;
    struct tf_cli_coap_style style;
    struct tf_coap_transmission transmission;
    struct tf_cli_coap_run run;
    struct tf_cli_coap_target *targets;
    struct tf_cli_coap_call *calls;
    size_t count;
    uint8_t *memory; /* of the body */
    struct tf_bytes body;
    uint64_t wanted; /* answers, or pings of each URL; 0: not given */
    uint64_t printed;
    uint64_t rounds; /* of pings that were begun */
    tf_time timeout_us;
    uint16_t block_size, nstart;
    bool non, verbose, url, time, pretty;
};

/* ---- the manual ---- */

static const struct tf_cli_option request_options[] = {
    {'m', "message", "TEXT", "the body"},
    {'f', "file", "FILE", "the body is what FILE holds"},
    {'s', "stdin", NULL, "the body is all of standard input"},
    {'t', "type", "FORMAT",
     "its content format: a media type, a short form such as json, or a number"},
    {'A', "accept", "FORMAT", "the content format that the answer is to have"},
    {'O', "option", "NAME=VALUE",
     "any option, by name or number; text as it is, numbers in decimal, opaque values in "
     "hexadecimal digits, blocks as NUMBER/MORE/SIZE, which ask for one block; may be repeated"},
    {KEY_IF_MATCH, "if-match", "ETAG",
     "only if the resource has this ETag; with an empty one, if it exists; may be repeated"},
    {KEY_IF_NONE_MATCH, "if-none-match", NULL, "only if the resource does not exist"},
    {KEY_ETAG, "etag", "ETAG", "2.03 instead of the body will do if it has this ETag"},
    {'N', "non", NULL, "send it as NON: once, without acknowledgement"},
    {'b', "block-size", "SIZE", "bytes of a block, 16 to 1024, a power of two; by default 1024"},
};

static const struct tf_cli_option answer_options[] = {
    {'o', "output", "text|json|raw|hex",
     "text (default): the body and a newline; json: an object a line; raw: the body only; hex: its "
     "hexadecimal digits"},
    {KEY_PRETTY, "pretty", NULL,
     "JSON indented, links a line each, as text has them on a terminal by itself"},
    {'u', "url", NULL,
     "print the URL before the body; on a terminal that is done by itself if there are several"},
    {'T', "timestamp", NULL, "print the time before the body"},
    {'n', "count", "COUNT", "observe: end after COUNT representations; ping: so many of each URL"},
    {'W', "timeout", "SECONDS",
     "give up when it is not done after that time; by default a CON is given up after 247, a NON "
     "after 10, and members of a group may take 6"},
    {'v', "verbose", NULL,
     "show each message with its time, its options, retransmissions and round-trip time"},
};

static const struct tf_cli_option transmission_options[] = {
    {KEY_ACK_TIMEOUT, "ack-timeout", "SECONDS",
     "ACK_TIMEOUT: a CON is first repeated after that and up to half as much again; by default 2"},
    {KEY_RETRANSMIT, "max-retransmit", "COUNT", "MAX_RETRANSMIT, 0 to 20; by default 4"},
    {KEY_FROM, "from", "ADDRESS",
     "ask groups from this address of this machine, and so on its interface"},
    {KEY_NSTART, "nstart", "COUNT",
     "NSTART: so many requests are under way to one server at a time; by default 1"},
};

static const struct tf_cli_group request_group = {"Request", request_options,
                                                  TF_COUNT(request_options)};
static const struct tf_cli_group answer_group = {"Answer", answer_options,
                                                 TF_COUNT(answer_options)};
static const struct tf_cli_group transmission_group = {
    "Transmission (RFC 7252 4.8)", transmission_options, TF_COUNT(transmission_options)};
static const struct tf_cli_group *const groups[] = {&request_group, &answer_group,
                                                    &transmission_group};

static const struct tf_cli_example examples[] = {
    {"trefoil coap get coap://localhost/home/kitchen/temperature", "Prints 21.5, if that is it."},
    {"trefoil coap put coap://localhost/lamp -m '{\"on\":true}' -t json",
     "Sets a value, as application/json."},
    {"trefoil coap observe coap://sensor.local/temperature -T", "Each new value, with its time."},
    {"trefoil coap discover coap://224.0.1.187", "Who is there, and with which resources."},
    {"trefoil coap get coap://device/firmware -o raw -b 512 > firmware.bin",
     "A large body, in blocks of 512 bytes."},
    {"trefoil coap get coap://device/a coap://device/b -o json | jq .round_trip_ms",
     "For another program."},
    {"trefoil coap patch coap://localhost/lamp -m '{\"on\":false}' -t merge-patch+json",
     "Changes a part of a JSON value."},
};

static const char text[] =
    "VERB is get, put, post, delete, fetch, patch or ipatch for a request of that method; observe, "
    "which prints each new representation until it is interrupted (with a body by FETCH); "
    "discover, which lists the resources of a server, or of all members of a group; or ping.\n"
    "\n"
    "URL is coap://HOST[:PORT]/PATH[?QUERY], percent-encoded as URLs are; quote ? and & for your "
    "shell. For discover, PATH is /.well-known/core if it is left out, and QUERY filters, such as "
    "?rt=light*. If HOST has several addresses, they are tried in turn. A multicast address asks a "
    "group, by NON; each answer is printed with the member it is from.";

static const char after[] =
    "JSON objects have timestamp, url, from (of a group's member), code (\"2.05\"), code_name, "
    "content_format (a number), content_type, options (by name), round_trip_ms, retransmissions, "
    "observe (the sequence number of a notification), links (of discover), and the body: body_json "
    "if it is a JSON object or array, or JSON by its content format; body if it is text; else "
    "body_base64. Answers that refuse are printed, too.\n"
    "\n"
    "Exit: 0 done or interrupted; 1 internal; 2 command line; 3 network; 5 refused by the server "
    "(4.xx, 5.xx, reset), which says why; 6 no answer in time. Of several the first that is not 0.";

const struct tf_cli_manual tf_cli_coap_manual = {.name = "coap",
                                                 .usage = "VERB URL... [OPTION]...",
                                                 .summary = "speak CoAP to a server",
                                                 .text = text,
                                                 .groups = groups,
                                                 .group_count = TF_COUNT(groups),
                                                 .after = after,
                                                 .examples = examples,
                                                 .example_count = TF_COUNT(examples)};

#define MANUAL (&tf_cli_coap_manual)

/* ---- the command line ---- */

static int take_output(struct coap *coap, const char *value)
{
    static const char *const names[] = {
        [TF_CLI_TEXT] = "text", [TF_CLI_JSON] = "json", [TF_CLI_RAW] = "raw", [TF_CLI_HEX] = "hex"};
    for (size_t i = 0; i < TF_COUNT(names); i++) {
        if (strcmp(value, names[i]) == 0) {
            coap->style.output = (enum tf_cli_output)i;
            return -1;
        }
    }
    return tf_cli_misuse(MANUAL, "--output takes text, json, raw or hex, not \"%.40s\"", value);
}

static int take_number(struct coap *coap, int key, const char *value)
{
    unsigned long long number = 0;
    tf_time span = 0;
    int code;
    switch (key) {
    case 'b':
        code = tf_cli_number(MANUAL, "--block-size", value, 16, 1024, &number);
        if (code < 0 && (number & (number - 1))) {
            return tf_cli_misuse(MANUAL, "--block-size takes a power of two from 16 to 1024");
        }
        coap->block_size = (uint16_t)number;
        return code;
    case 'n':
        code = tf_cli_number(MANUAL, "--count", value, 1, UINT32_MAX, &number);
        coap->wanted = number;
        return code;
    case KEY_RETRANSMIT:
        code = tf_cli_number(MANUAL, "--max-retransmit", value, 0, 20, &number);
        coap->transmission.max_retransmit =
            number ? (uint8_t)number : (uint8_t)TF_COAP_NO_RETRANSMIT;
        return code;
    case KEY_NSTART:
        code = tf_cli_number(MANUAL, "--nstart", value, 1, 1000, &number);
        coap->nstart = (uint16_t)number;
        return code;
    case KEY_ACK_TIMEOUT:
        code = tf_cli_seconds(MANUAL, "--ack-timeout", value, &span);
        if (code < 0 && (span < TF_MILLISECOND || span > 3600 * TF_SECOND)) {
            return tf_cli_misuse(MANUAL, "--ack-timeout takes 0.001 to 3600 seconds");
        }
        coap->transmission.ack_timeout_ms = (uint32_t)(span / TF_MILLISECOND);
        return code;
    default:
        return tf_cli_seconds(MANUAL, "--timeout", value, &coap->timeout_us);
    }
}

static int take_option(struct coap *coap, int key, const char *value)
{
    char why[TF_CLI_COAP_WHY];
    enum tf_err err;
    switch (key) {
    case 't':
        err = tf_cli_coap_format_take(&coap->options, TF_COAP_CONTENT_FORMAT, value, why);
        break;
    case 'A':
        err = tf_cli_coap_format_take(&coap->options, TF_COAP_ACCEPT, value, why);
        break;
    case KEY_IF_MATCH:
        err = tf_cli_coap_opaque_take(&coap->options, TF_COAP_IF_MATCH, value, why);
        break;
    case KEY_ETAG:
        err = tf_cli_coap_opaque_take(&coap->options, TF_COAP_ETAG, value, why);
        break;
    case KEY_IF_NONE_MATCH:
        err = tf_cli_coap_option_add(&coap->options, TF_COAP_IF_NONE_MATCH, tf_bytes_of(NULL, 0),
                                     why);
        break;
    default:
        err = tf_cli_coap_option_take(&coap->options, value, why);
    }
    return err ? tf_cli_misuse(MANUAL, "%s", why) : -1;
}

static int take_from(struct coap *coap, const char *value)
{
    size_t count;
    if (!value[0] || tf_socket_resolve(value, 0, false, &coap->run.from, 1, &count)) {
        return tf_cli_misuse(MANUAL, "--from takes an address of this machine, not \"%.60s\"",
                             value);
    }
    return -1;
}

static int take(void *ctx, int key, const char *value)
{
    struct coap *coap = ctx;
    switch (key) {
    case 'm':
    case 'f':
    case 's':
        return tf_cli_coap_source_take(&coap->source, MANUAL, key, value);
    case 't':
    case 'A':
    case 'O':
    case KEY_IF_MATCH:
    case KEY_IF_NONE_MATCH:
    case KEY_ETAG:
        return take_option(coap, key, value);
    case 'o':
        return take_output(coap, value);
    case 'N':
        coap->non = true;
        return -1;
    case 'u':
        coap->url = true;
        return -1;
    case 'T':
        coap->time = true;
        return -1;
    case 'v':
        coap->verbose = true;
        return -1;
    case KEY_FROM:
        return take_from(coap, value);
    case KEY_PRETTY:
        coap->pretty = true;
        return -1;
    default:
        return take_number(coap, key, value);
    }
}

static const struct verb *find_verb(const char *name, const char **ret_near)
{
    size_t longest = 1;
    *ret_near = NULL;
    for (size_t i = 0; i < TF_COUNT(verbs); i++) {
        size_t same = 0;
        if (strcmp(name, verbs[i].name) == 0) {
            return &verbs[i];
        }
        while (name[same] && name[same] == verbs[i].name[same]) {
            same++;
        }
        if (same > longest) {
            longest = same;
            *ret_near = verbs[i].name;
        }
    }
    return NULL;
}

static int take_verb(struct coap *coap, int count, char **arguments)
{
    const char *near;
    if (count == 0) {
        return tf_cli_misuse(MANUAL, "a verb and a URL are needed: trefoil coap get "
                                     "coap://localhost/PATH");
    }
    coap->verb = find_verb(arguments[0], &near);
    if (!coap->verb) {
        return tf_cli_misuse(MANUAL, "there is no verb \"%.40s\"%s%s%s", arguments[0],
                             near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    }
    if (count == 1) {
        return tf_cli_misuse(MANUAL, "the URL is missing, such as coap://localhost/PATH");
    }
    return -1;
}

static int check(const struct coap *coap)
{
    const struct verb *verb = coap->verb;
    if (!verb->body && tf_cli_coap_source_given(&coap->source)) {
        return tf_cli_misuse(MANUAL, "%s sends no body", verb->name);
    }
    if (coap->wanted && verb->kind != KIND_OBSERVE && verb->kind != KIND_PING) {
        return tf_cli_misuse(MANUAL, "--count is for observe and ping");
    }
    if (verb->kind == KIND_PING && (coap->options.count || coap->non)) {
        return tf_cli_misuse(MANUAL, "a ping has no options, and is always a CON");
    }
    if (tf_cli_coap_option_has(&coap->options, TF_COAP_OBSERVE)) {
        return tf_cli_misuse(MANUAL, "the option Observe is observe's own: trefoil coap observe");
    }
    return -1;
}

static int take_urls(struct coap *coap, int count, char **urls)
{
    char why[TF_CLI_COAP_WHY];
    const char *path = coap->verb->kind == KIND_DISCOVER ? WELL_KNOWN : NULL;
    coap->targets = calloc((size_t)count, sizeof(*coap->targets));
    coap->calls = calloc((size_t)count, sizeof(*coap->calls));
    if (!coap->targets || !coap->calls) {
        tf_cli_run_say(&coap->run.base, "no memory");
        return TF_EXIT_INTERNAL;
    }
    for (int i = 0; i < count; i++) {
        enum tf_err err =
            tf_cli_coap_target_init(&coap->targets[i], urls[i], path, &coap->options, why);
        if (err) {
            return tf_cli_misuse(MANUAL, "%s", why);
        }
        coap->count++;
    }
    return -1;
}

static void complete_style(struct coap *coap)
{
    struct tf_cli_coap_style *style = &coap->style;
    style->terminal = tf_terminal_is(STDOUT);
    style->colour = tf_terminal_colour(STDOUT);
    style->pretty = coap->pretty || style->terminal;
    style->links = coap->verb->kind == KIND_DISCOVER;
    style->url = coap->url || (style->terminal && coap->count > 1);
    style->time = coap->time;
}

/* ---- requests ---- */

static void make_call(struct coap *coap, size_t i)
{
    const struct verb *verb = coap->verb;
    const struct tf_cli_coap_options *options = &coap->options;
    struct tf_cli_coap_call *call = &coap->calls[i];
    bool body = tf_cli_coap_source_given(&coap->source);
    bool observe = verb->kind == KIND_OBSERVE;
    *call = (struct tf_cli_coap_call){
        .target = &coap->targets[i],
        .ping = verb->kind == KIND_PING,
        .silent = tf_cli_coap_option_has(options, TF_COAP_NO_RESPONSE),
        .body = coap->body,
        .request = {.method = observe && body ? (uint8_t)TF_COAP_FETCH : verb->method,
                    .non = coap->non,
                    .observe = observe,
                    .raw_blocks = tf_cli_coap_option_has(options, TF_COAP_BLOCK1) ||
                                  tf_cli_coap_option_has(options, TF_COAP_BLOCK2),
                    .block_size = coap->block_size,
                    .timeout_ms = coap->non && !observe && !coap->timeout_us ? NON_TIMEOUT_MS : 0}};
}

static void begin(struct coap *coap, size_t i)
{
    make_call(coap, i);
    if (tf_cli_coap_run_call(&coap->run, &coap->calls[i])) {
        tf_cli_run_say(&coap->run.base, "%s: no memory", coap->targets[i].text);
        tf_cli_run_finish(&coap->run.base, TF_EXIT_INTERNAL);
    }
}

/* All pings of a round have been answered, or failed: the next round is due. */
static void next_round(struct coap *coap)
{
    if (coap->run.hold && tf_cli_coap_run_open(&coap->run) == 0 &&
        coap->run.base.timer_at == TF_TIME_NEVER) {
        tf_cli_run_timer(&coap->run.base, tf_time_add(coap->run.base.now, PING_INTERVAL));
    }
}

static void on_timer(void *ctx)
{
    struct coap *coap = ctx;
    coap->rounds++;
    coap->run.hold = coap->rounds < coap->wanted;
    for (size_t i = 0; i < coap->count; i++) {
        begin(coap, i);
    }
}

/* ---- answers ---- */

static void tell_summary(const struct tf_cli_coap_answer *answer)
{
    fputs("* ", stderr);
    fprintf(stderr, "%u.%02u, %zu bytes in %u message%s, ", tf_coap_class(answer->code),
            answer->code & 31u, answer->body.length, answer->messages,
            answer->messages == 1 ? "" : "s");
    tf_cli_coap_span_write(answer->round_trip_us, stderr);
    fprintf(stderr, ", %u retransmission%s\n", answer->retransmissions,
            answer->retransmissions == 1 ? "" : "s");
}

static void on_answer(void *ctx, struct tf_cli_coap_call *call,
                      const struct tf_cli_coap_answer *answer)
{
    struct coap *coap = ctx;
    bool observing = coap->verb->kind == KIND_OBSERVE;
    bool refused = tf_coap_class(answer->code) >= 4;
    if (coap->verbose) {
        tell_summary(answer);
    }
    if (tf_cli_coap_answer_print(&coap->style, call->target, answer, stdout)) {
        tf_cli_run_say(&coap->run.base, "no memory");
        tf_cli_run_finish(&coap->run.base, TF_EXIT_INTERNAL);
        return;
    }
    coap->printed++;
    if (refused) {
        tf_cli_coap_answer_refusal("coap", call->target, answer);
        tf_cli_run_code(&coap->run.base, TF_EXIT_REFUSED);
    }
    if (observing && coap->printed == coap->wanted) {
        tf_cli_run_finish(&coap->run.base, TF_EXIT_DONE);
    } else if (observing && !refused && answer->last) {
        tf_cli_run_say(&coap->run.base, "%s: the server does not let it be observed",
                       call->target->text);
        tf_cli_run_code(&coap->run.base, TF_EXIT_REFUSED);
    }
}

static void on_pong(void *ctx, struct tf_cli_coap_call *call, uint32_t round_trip_us)
{
    struct coap *coap = ctx;
    if (coap->style.output == TF_CLI_JSON) {
        json_t *object = json_object();
        json_object_set_new(object, "url", json_string(call->target->text));
        json_object_set_new(object, "round_trip_ms", json_real((double)round_trip_us / 1000));
        char *line = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(12));
        puts(line ? line : "{}");
        free(line);
        json_decref(object);
    } else {
        printf("%s ", call->target->text);
        tf_cli_coap_span_write(round_trip_us, stdout);
        putchar('\n');
    }
    next_round(coap);
}

static void on_failed(void *ctx, struct tf_cli_coap_call *call)
{
    struct coap *coap = ctx;
    (void)call;
    if (coap->verb->kind == KIND_PING) {
        next_round(coap);
    }
}

/* ---- the command ---- */

static int run(struct coap *coap)
{
    coap->run.task = (struct tf_cli_coap_task){
        .answer = on_answer, .pong = on_pong, .failed = on_failed, .timer = on_timer, .ctx = coap};
    coap->run.transmission = coap->transmission;
    coap->run.nstart = coap->nstart;
    coap->run.trace = coap->verbose;
    coap->run.base.timeout_us = coap->timeout_us;
    if (tf_cli_coap_run_init(&coap->run)) {
        tf_cli_run_say(&coap->run.base, "the system has no event loop to give: %s",
                       strerror(errno));
        return TF_EXIT_INTERNAL;
    }
    on_timer(coap);
    int code = tf_cli_run_loop(&coap->run.base);
    tf_cli_coap_run_release(&coap->run);
    return code;
}

int tf_cli_coap(int argc, char **argv)
{
    struct coap *coap = calloc(1, sizeof(*coap));
    int first = 0;
    if (!coap) {
        fputs("trefoil coap: no memory\n", stderr);
        return TF_EXIT_INTERNAL;
    }
    coap->run.base.command = "coap";
    int code = tf_cli_manual_parse(MANUAL, argc, argv, take, coap, &first);
    if (code < 0) {
        code = take_verb(coap, argc - first, argv + first);
    }
    if (code < 0) {
        code = check(coap);
    }
    if (code < 0) {
        code = take_urls(coap, argc - first - 1, argv + first + 1);
    }
    if (code < 0) {
        code = tf_cli_coap_source_read(&coap->source, MANUAL, &coap->memory, &coap->body);
    }
    if (code < 0) {
        complete_style(coap);
        code = run(coap);
    }
    for (size_t i = 0; i < coap->count; i++) {
        tf_cli_coap_target_release(&coap->targets[i]);
    }
    free(coap->targets);
    free(coap->calls);
    free(coap->memory);
    free(coap);
    return code;
}
