/*
 * `sub` and `get` of coap:// URLs.
 */
#include "cli/coap_plain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <trefoil/mqtt_property.h>

#include "base/util.h"
#include "cli/cli.h"
#include "cli/coap_answer.h"

#define PROPERTIES_MAX 256
#define NON_TIMEOUT_MS 10000u

/* ---- printing ---- */

/* The path without its first slash, segments as they are meant; malloc. NULL: no memory. */
static char *address_of(const struct tf_cli_coap_target *target, size_t *ret_length)
{
    char *address = malloc(strlen(target->text) + 2);
    size_t length = 0;
    bool first = true;
    for (size_t i = 0; address && i < target->option_count; i++) {
        const struct tf_coap_option *option = &target->options[i];
        if (option->number != TF_COAP_URI_PATH) {
            continue;
        }
        if (!first) {
            address[length++] = '/';
        }
        first = false;
        memcpy(address + length, option->value.data, option->value.length);
        length += option->value.length;
    }
    *ret_length = length;
    return address;
}

enum tf_err tf_cli_coap_message_print(const struct tf_cli_style *style,
                                      const struct tf_cli_coap_call *call,
                                      const struct tf_cli_coap_answer *answer, bool retain,
                                      FILE *out)
{
    uint8_t memory[PROPERTIES_MAX];
    struct tf_writer properties = tf_writer_of(memory, sizeof(memory));
    const char *type = tf_cli_coap_media_type(answer->options, NULL);
    struct tf_bytes max_age;
    size_t length;
    char *address = address_of(call->target, &length);
    if (!address) {
        return TF_NO_MEMORY;
    }
    if (type) {
        const struct tf_mqtt_property property = {.id = TF_MQTT_CONTENT_TYPE,
                                                  .value = tf_bytes_str(type)};
        tf_mqtt_property_write(&properties, &property);
    }
    if (tf_coap_option_find(answer->options, TF_COAP_MAX_AGE_OPTION, &max_age)) {
        const struct tf_mqtt_property property = {.id = TF_MQTT_MESSAGE_EXPIRY,
                                                  .number = tf_coap_uint(max_age)};
        tf_mqtt_property_write(&properties, &property);
    }
    const struct tf_cli_message message = {.address = tf_bytes_of(address, length),
                                           .body = answer->body,
                                           .properties =
                                               tf_bytes_of(memory, tf_writer_length(&properties)),
                                           .wall_us = answer->wall_us,
                                           .qos = !call->request.non,
                                           .retain = retain};
    enum tf_err err = tf_cli_message_print(style, &message, out);
    free(address);
    return err;
}

/* ---- both ---- */

struct reader {
    const struct tf_cli_coap_plain *plain;
    const struct tf_cli_style *style;
    struct tf_cli_coap_run run;
    struct tf_cli_coap_options options; /* none */
    struct tf_cli_coap_target *targets;
    struct tf_cli_coap_call *calls;
    size_t count;
    uint64_t wanted, printed;
    bool observe, new_only;
};

static void on_answer(void *ctx, struct tf_cli_coap_call *call,
                      const struct tf_cli_coap_answer *answer)
{
    struct reader *reader = ctx;
    struct tf_cli_coap_run *run = &reader->run;
    bool first = call->answered == 1;
    if (tf_coap_class(answer->code) >= 4) {
        tf_cli_coap_answer_refusal(run->base.command, call->target, answer);
        tf_cli_run_code(&run->base, TF_EXIT_REFUSED);
        return;
    }
    if (!reader->new_only || !first) {
        if (tf_cli_coap_message_print(reader->style, call, answer, first, stdout)) {
            tf_cli_run_say(&run->base, "no memory");
            tf_cli_run_finish(&run->base, TF_EXIT_INTERNAL);
            return;
        }
        reader->printed++;
    }
    if (reader->observe && reader->printed == reader->wanted) {
        tf_cli_run_finish(&run->base, TF_EXIT_DONE);
    } else if (reader->observe && answer->last) {
        tf_cli_run_say(&run->base, "%s: the server does not let it be observed",
                       call->target->text);
        tf_cli_run_code(&run->base, TF_EXIT_REFUSED);
    }
}

static int take_urls(struct reader *reader, int count, char **urls)
{
    char why[TF_CLI_COAP_WHY];
    for (int i = 0; i < count; i++) {
        if (tf_cli_coap_target_init(&reader->targets[i], urls[i], NULL, &reader->options, why)) {
            return tf_cli_misuse(reader->plain->manual, "%s", why);
        }
        reader->count++;
    }
    return -1;
}

static int run_reader(struct reader *reader)
{
    struct tf_cli_coap_run *run = &reader->run;
    const struct tf_cli_coap_plain *plain = reader->plain;
    run->task = (struct tf_cli_coap_task){.answer = on_answer, .ctx = reader};
    run->base.timeout_us = plain->timeout_us;
    run->trace = plain->trace;
    if (tf_cli_coap_run_init(run)) {
        tf_cli_run_say(&run->base, "the system has no event loop to give: %s", strerror(errno));
        return TF_EXIT_INTERNAL;
    }
    for (size_t i = 0; i < reader->count; i++) {
        bool timed = plain->non && !reader->observe && !plain->timeout_us;
        reader->calls[i] =
            (struct tf_cli_coap_call){.target = &reader->targets[i],
                                      .request = {.method = TF_COAP_GET,
                                                  .non = plain->non,
                                                  .observe = reader->observe,
                                                  .timeout_ms = timed ? NON_TIMEOUT_MS : 0}};
        if (tf_cli_coap_run_call(run, &reader->calls[i])) {
            tf_cli_run_say(&run->base, "%s: no memory", reader->targets[i].text);
            tf_cli_run_finish(&run->base, TF_EXIT_INTERNAL);
        }
    }
    int code = tf_cli_run_loop(&run->base);
    tf_cli_coap_run_release(run);
    return code;
}

static int read_urls(struct reader *reader, int count, char **urls)
{
    int code = TF_EXIT_INTERNAL;
    reader->run.base.command = reader->plain->manual->name;
    reader->targets = calloc((size_t)count, sizeof(*reader->targets));
    reader->calls = calloc((size_t)count, sizeof(*reader->calls));
    if (reader->targets && reader->calls) {
        code = take_urls(reader, count, urls);
    } else {
        tf_cli_run_say(&reader->run.base, "no memory");
    }
    if (code < 0) {
        code = run_reader(reader);
    }
    for (size_t i = 0; i < reader->count; i++) {
        tf_cli_coap_target_release(&reader->targets[i]);
    }
    free(reader->targets);
    free(reader->calls);
    free(reader);
    return code;
}

/* ---- the commands ---- */

static struct reader *reader_new(const struct tf_cli_coap_plain *plain,
                                 const struct tf_cli_style *style)
{
    struct reader *reader = calloc(1, sizeof(*reader));
    if (!reader) {
        fprintf(stderr, "trefoil %s: no memory\n", plain->manual->name);
        return NULL;
    }
    reader->plain = plain;
    reader->style = style;
    return reader;
}

int tf_cli_coap_subscribe(const struct tf_cli_coap_subscribe *subscribe, int count, char **urls)
{
    struct reader *reader = reader_new(&subscribe->plain, subscribe->style);
    if (!reader) {
        return TF_EXIT_INTERNAL;
    }
    reader->observe = true;
    reader->new_only = subscribe->new_only;
    reader->wanted = subscribe->count;
    return read_urls(reader, count, urls);
}

int tf_cli_coap_fetch(const struct tf_cli_coap_plain *plain, const struct tf_cli_style *style,
                      const char *url)
{
    struct reader *reader = reader_new(plain, style);
    char *urls[1] = {(char *)(uintptr_t)url};
    return reader ? read_urls(reader, 1, urls) : TF_EXIT_INTERNAL;
}
