/*
 * `sub`, `get` and `queues peek` of amqp:// URLs: links that receive.
 *
 * URLs of one broker and one user are links of one connection; other brokers have their own. Credit
 * is given by batches, and never more than is still wanted. A message is settled once its output
 * has been handed over; what comes too late is released.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "cli/amqp_plain.h"
#include "cli/amqp_print.h"
#include "cli/cli.h"

#define BATCH 1000u /* of credit */

enum purpose { SUBSCRIBE, FETCH, PEEK };

/* One broker. */
struct target {
    struct receiver *receiver;
    struct tf_cli_amqp_client *client;
    const struct tf_cli_url *url; /* the first of them */
};

/* One address. */
struct source {
    struct target *target;
    const char *address;
    struct tf_cli_amqp_link *link;
    bool second; /* its sender settles (2.6.12) */
};

struct receiver {
    const struct tf_cli_amqp_plain *plain;
    const struct tf_cli_style *style;
    enum purpose purpose;
    struct tf_cli_run run;
    struct tf_cli_url *urls;
    struct target *targets;
    struct source *sources; /* one for each URL */
    size_t url_count, target_count;
    char *address;                       /* malloc: the one that is not a URL's as it is */
    uint64_t wanted, printed, unsettled; /* `wanted` 0: no limit */
    uint64_t batch;                      /* PEEK: printed when the credit was given */
    tf_time wait_us;                     /* FETCH */
};

const char *tf_cli_amqp_lacks(const struct tf_cli_connection_options *options)
{
    return options->will_given      ? "a will"
           : options->version_given ? "--mqtt-version"
           : options->expiry_given  ? "--session-expiry"
                                    : NULL;
}

/* ---- credit ---- */

static uint32_t credit_of(const struct receiver *receiver)
{
    uint64_t left = receiver->wanted ? receiver->wanted - receiver->printed : BATCH;
    return (uint32_t)TF_MIN(left, (uint64_t)BATCH);
}

/*
 * More credit, once all of it is used: rabbitmq-server 3.10 does not count what is on its way when
 * it is told of new credit, and then sends more than it may (2.6.7).
 */
static void top_up(const struct source *source)
{
    if (tf_cli_amqp_credit_left(source->link) == 0) {
        tf_cli_amqp_credit(source->link, credit_of(source->target->receiver), false);
    }
}

/* ---- what comes ---- */

static void on_up(struct tf_cli_amqp_client *client)
{
    struct target *target = tf_cli_amqp_ctx(client);
    struct receiver *receiver = target->receiver;
    const struct tf_cli_amqp_plain *plain = receiver->plain;
    bool unsettled = plain->qos > 0 && receiver->purpose != PEEK;
    for (size_t i = 0; i < receiver->url_count; i++) {
        struct source *source = &receiver->sources[i];
        const struct tf_cli_amqp_terms terms = {
            .name = plain->connection->keep_session ? source->address : NULL,
            .address = source->address,
            .role = TF_AMQP_RECEIVER,
            .snd_settle_mode = unsettled ? TF_AMQP_SND_UNSETTLED : TF_AMQP_SND_SETTLED,
            .rcv_settle_mode = plain->qos == 2 ? TF_AMQP_RCV_SECOND : TF_AMQP_RCV_FIRST,
            .copy = receiver->purpose == PEEK,
            .durable = plain->connection->keep_session,
            .ctx = source};
        if (source->target != target) {
            continue;
        }
        if (tf_cli_amqp_attach(client, &terms, &source->link)) {
            tf_cli_run_fail(&receiver->run, TF_EXIT_INTERNAL, "no memory");
            return;
        }
        tf_cli_amqp_credit(source->link, credit_of(receiver), receiver->purpose == PEEK);
    }
}

static void on_attached(struct tf_cli_amqp_link *link, const struct tf_amqp_attach *attach)
{
    struct source *source = tf_cli_amqp_link_ctx(link);
    struct receiver *receiver = source->target->receiver;
    source->second = receiver->plain->qos == 2 && attach->rcv_settle_mode == TF_AMQP_RCV_SECOND;
    if (receiver->purpose == FETCH) {
        tf_cli_run_timer(&receiver->run, tf_time_add(receiver->run.now, receiver->wait_us));
    }
}

/* All that was wanted is there, and both sides have done with it. */
static void look_at_count(struct receiver *receiver)
{
    if (receiver->wanted && receiver->printed == receiver->wanted && receiver->unsettled == 0) {
        tf_cli_run_finish(&receiver->run, TF_EXIT_DONE);
    }
}

/* Says what became of a message. */
static void settle(struct source *source, const struct tf_cli_amqp_delivery *delivery, bool good)
{
    struct receiver *receiver = source->target->receiver;
    struct tf_amqp_state state = {.type = TF_AMQP_STATE_ACCEPTED};
    if (receiver->purpose == PEEK) {
        state.type = TF_AMQP_STATE_RELEASED;
    } else if (!good) {
        state.type = TF_AMQP_STATE_REJECTED;
        state.error = tf_amqp_error_of(TF_AMQP_DECODE_ERROR, "the message cannot be read");
    }
    if (!delivery->settled) {
        tf_cli_amqp_dispose(source->target->client, delivery->number, &state, !source->second);
        receiver->unsettled += source->second;
    }
}

static void on_message(struct tf_cli_amqp_link *link, const struct tf_cli_amqp_delivery *delivery)
{
    struct source *source = tf_cli_amqp_link_ctx(link);
    struct receiver *receiver = source->target->receiver;
    const struct tf_cli_amqp_incoming incoming = {.bytes = delivery->message,
                                                  .address = tf_cli_amqp_link_address(link),
                                                  .qos = delivery->settled ? 0
                                                         : source->second  ? 2
                                                                           : 1};
    if (receiver->wanted && receiver->printed == receiver->wanted) {
        static const struct tf_amqp_state released = {.type = TF_AMQP_STATE_RELEASED};
        tf_cli_amqp_dispose(source->target->client, delivery->number, &released, true);
        return;
    }
    enum tf_err err = tf_cli_amqp_print(receiver->style, &incoming, stdout);
    if (err == TF_PROTOCOL) {
        tf_cli_run_say(&receiver->run, "%s: a message that cannot be read was left out",
                       tf_cli_amqp_link_address(link));
    } else if (err) {
        tf_cli_run_fail(&receiver->run, TF_EXIT_INTERNAL, "no memory");
        return;
    }
    receiver->printed += err == TF_OK;
    settle(source, delivery, err == TF_OK);
    if (receiver->purpose != PEEK) {
        top_up(source);
    }
    look_at_count(receiver);
}

static void on_settled(struct tf_cli_amqp_link *link)
{
    struct source *source = tf_cli_amqp_link_ctx(link);
    struct receiver *receiver = source->target->receiver;
    receiver->unsettled -= receiver->unsettled > 0;
    look_at_count(receiver);
}

/* PEEK: the credit was used up, so there may be more; or given back, so there is not (2.6.7). */
static void on_flow(struct tf_cli_amqp_link *link, uint32_t credit)
{
    struct source *source = tf_cli_amqp_link_ctx(link);
    struct receiver *receiver = source->target->receiver;
    if (receiver->purpose != PEEK || credit) {
        return;
    }
    uint64_t got = receiver->printed - receiver->batch;
    receiver->batch = receiver->printed;
    if (got < BATCH || (receiver->wanted && receiver->printed == receiver->wanted)) {
        tf_cli_run_finish(&receiver->run, TF_EXIT_DONE);
    } else {
        tf_cli_amqp_credit(link, credit_of(receiver), true);
    }
}

/* FETCH: nothing came. */
static void on_timer(void *ctx)
{
    struct receiver *receiver = ctx;
    tf_cli_run_fail(&receiver->run, TF_EXIT_REFUSED, "%s has no value at %s",
                    tf_cli_amqp_peer(receiver->targets[0].client), receiver->urls[0].address);
}

/* ---- the commands ---- */

/* The connection for a URL: one that there is already, or the next. */
static struct target *target_of(struct receiver *receiver, const struct tf_cli_url *url)
{
    for (size_t i = 0; i < receiver->target_count; i++) {
        if (tf_cli_url_same_broker(receiver->targets[i].url, url)) {
            return &receiver->targets[i];
        }
    }
    struct target *target = &receiver->targets[receiver->target_count++];
    *target = (struct target){.receiver = receiver, .url = url};
    return target;
}

static int no_memory(const struct receiver *receiver)
{
    tf_cli_say(receiver->plain->manual->name, "no memory");
    return TF_EXIT_INTERNAL;
}

static int make_room(struct receiver *receiver, size_t count)
{
    receiver->urls = calloc(count, sizeof(*receiver->urls));
    receiver->targets = calloc(count, sizeof(*receiver->targets));
    receiver->sources = calloc(count, sizeof(*receiver->sources));
    return receiver->urls && receiver->targets && receiver->sources ? -1 : no_memory(receiver);
}

static int take_urls(struct receiver *receiver, int count, char **texts)
{
    char why[TF_CLI_URL_WHY];
    const struct tf_cli_manual *manual = receiver->plain->manual;
    int code = make_room(receiver, (size_t)count);
    for (int i = 0; i < count && code < 0; i++) {
        struct tf_cli_url *url = &receiver->urls[i];
        if (tf_cli_url_parse_amqp(texts[i], url, why)) {
            return tf_cli_misuse(manual, "%s", why);
        }
        receiver->url_count++;
        if (!url->address[0]) {
            return tf_cli_misuse(manual, "the URL has no address: amqp://HOST/ADDRESS");
        }
        receiver->sources[i].target = target_of(receiver, url);
        receiver->sources[i].address = url->address;
    }
    return code;
}

static int run(struct receiver *receiver)
{
    static const struct tf_cli_amqp_handler handler = {.up = on_up,
                                                       .attached = on_attached,
                                                       .flow = on_flow,
                                                       .message = on_message,
                                                       .settled = on_settled};
    const struct tf_cli_task task = {.timer = on_timer, .ctx = receiver};
    const struct tf_cli_connection_options *options = receiver->plain->connection;
    const char *name = receiver->plain->manual->name;
    int code = TF_EXIT_DONE;
    if (tf_cli_run_init(&receiver->run, name, &task,
                        receiver->purpose == FETCH ? 0 : options->timeout_us)) {
        tf_cli_say(name, "the system has no event loop to give: %s", strerror(errno));
        return TF_EXIT_INTERNAL;
    }
    for (size_t i = 0; i < receiver->target_count && code == TF_EXIT_DONE; i++) {
        struct target *target = &receiver->targets[i];
        const struct tf_cli_amqp_client_config config = {.run = &receiver->run,
                                                         .url = target->url,
                                                         .options = options,
                                                         .handler = &handler,
                                                         .ctx = target};
        if (tf_cli_amqp_client_new(&target->client, &config)) {
            code = no_memory(receiver);
        }
    }
    if (code == TF_EXIT_DONE) {
        code = tf_cli_run_loop(&receiver->run);
    }
    for (size_t i = 0; i < receiver->target_count; i++) {
        tf_cli_amqp_client_free(receiver->targets[i].client);
    }
    tf_cli_run_release(&receiver->run);
    return code;
}

static void release(struct receiver *receiver)
{
    for (size_t i = 0; i < receiver->url_count; i++) {
        tf_cli_url_release(&receiver->urls[i]);
    }
    free(receiver->urls);
    free(receiver->targets);
    free(receiver->sources);
    free(receiver->address);
}

int tf_cli_amqp_subscribe(const struct tf_cli_amqp_subscribe *subscribe, int count, char **urls)
{
    struct receiver receiver = {.plain = &subscribe->plain,
                                .style = subscribe->style,
                                .purpose = SUBSCRIBE,
                                .wanted = subscribe->count};
    int code = take_urls(&receiver, count, urls);
    if (code < 0) {
        code = run(&receiver);
    }
    release(&receiver);
    return code;
}

/* The address of a topic or queue, in the form that says which. */
static int take_address(struct receiver *receiver, const char *form, const char *name)
{
    size_t size = strlen(form) + strlen(name) + 1;
    receiver->address = malloc(size);
    if (!receiver->address) {
        return no_memory(receiver);
    }
    snprintf(receiver->address, size, "%s%s", form, name);
    receiver->sources[0].address = receiver->address;
    return -1;
}

/* True if an address says by itself what it names. */
static bool is_explicit(const char *address)
{
    static const char *const forms[] = {"topic://", "queue://", "/topics/", "/queues/"};
    bool is = false;
    for (size_t i = 0; i < TF_COUNT(forms); i++) {
        is = is || strncmp(address, forms[i], strlen(forms[i])) == 0;
    }
    return is;
}

int tf_cli_amqp_fetch(const struct tf_cli_amqp_plain *plain, const struct tf_cli_style *style,
                      tf_time wait_us, const char *url)
{
    struct receiver receiver = {
        .plain = plain, .style = style, .purpose = FETCH, .wanted = 1, .wait_us = wait_us};
    char *urls[] = {(char *)url, NULL};
    int code = take_urls(&receiver, 1, urls);
    if (code < 0 && !is_explicit(receiver.urls[0].address)) {
        code = take_address(&receiver, "topic://", receiver.urls[0].address);
    }
    if (code < 0) {
        code = run(&receiver);
    }
    release(&receiver);
    return code;
}

int tf_cli_amqp_peek(const struct tf_cli_amqp_plain *plain, const struct tf_cli_style *style,
                     uint64_t limit, const char *queue, const struct tf_cli_url *url)
{
    struct receiver receiver = {.plain = plain, .style = style, .purpose = PEEK, .wanted = limit};
    int code = make_room(&receiver, 1);
    if (code < 0) {
        code = take_address(&receiver, is_explicit(queue) ? "" : "queue://", queue);
    }
    if (code < 0) {
        receiver.sources[0].target = target_of(&receiver, url);
        receiver.url_count = 1; /* its URL is the caller's */
        code = run(&receiver);
    }
    release(&receiver);
    return code;
}
