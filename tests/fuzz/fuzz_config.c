/*
 * Fuzzes the configuration: any bytes as a file, twice over, and any text as a URL.
 *
 * Beyond not crashing: a file that is refused has an error with a place in it and changes nothing;
 * a file that is taken reads the same a second time, and differs in nothing from itself.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "broker/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FOLDERS_MAX 8 /* so that an input costs milliseconds, not seconds */

/* Every file of every folder is the input itself: includes that include. */
struct input {
    const char *text;
    size_t length;
    size_t folders; /* listed so far */
};

static enum tf_err input_read(void *context, const char *path, char **ret_text, size_t *ret_length)
{
    const struct input *input = context;
    char *copy = malloc(input->length + 1);

    (void)path;
    if (!copy)
        return TF_NO_MEMORY;
    memcpy(copy, input->text, input->length);
    *ret_text = copy;
    *ret_length = input->length;
    return TF_OK;
}

static enum tf_err input_list(void *context, const char *path,
                              enum tf_err (*each)(void *each_context, const char *name),
                              void *each_context)
{
    struct input *input = context;
    enum tf_err err;

    if (path[0] == '0' || input->folders >= FOLDERS_MAX)
        return TF_NOT_FOUND;
    input->folders++;
    err = each(each_context, "b.conf");
    return err ? err : each(each_context, "a.conf");
}

/* Reads the input as a file, through all steps. True: it was taken. */
static bool parse(struct input *input, struct tf_config *config)
{
    const struct tf_config_io io = {input, input_read, input_list};
    struct tf_config_report report;
    struct tf_config before;
    enum tf_err err;

    input->folders = 0;
    tf_config_init_default(config);
    config->data_default = strdup("data"); /* as the command line does */
    before = *config;
    tf_config_report_init(&report);
    err = tf_config_parse_text(config, "input", input->text, input->length, &io, &report);
    if (err) {
        tf_assert(err == TF_NO_MEMORY || (err == TF_PROTOCOL && report.errors > 0));
        tf_assert(memcmp(config, &before, sizeof(before)) == 0);
    } else {
        tf_assert(report.errors == 0);
        tf_assert(tf_config_finish(config, &report) == TF_OK);
        tf_assert(config->listener_count > 0 && config->listener_count <= TF_CONFIG_LISTENER_MAX);
        tf_config_check(config, &report);
        tf_assert(report.errors == 0);
    }
    for (size_t i = 0; i < report.count; i++)
        tf_assert(report.items[i].text && report.items[i].text[0]);
    tf_assert(report.count <= TF_CONFIG_ERROR_MAX + TF_CONFIG_REMARK_MAX);
    tf_config_report_release(&report);
    return !err;
}

static void fuzz_url(const struct input *input)
{
    struct tf_config config;
    struct tf_config_report report;
    char *url = malloc(input->length + 1);
    enum tf_err err;

    tf_assert(url);
    memcpy(url, input->text, input->length);
    url[input->length] = '\0';
    tf_config_init_default(&config);
    tf_config_report_init(&report);
    err = tf_config_add_url(&config, url, &report);
    tf_assert((config.listener_count == 1) == (err == TF_OK));
    tf_assert((report.errors == 0) == (err == TF_OK));
    tf_config_report_release(&report);
    tf_config_release(&config);
    free(url);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {size ? (const char *)data : "", size, 0};
    struct tf_config_change change;
    struct tf_config first, second;
    bool taken = parse(&input, &first);

    tf_assert(parse(&input, &second) == taken);
    if (taken) {
        tf_assert(tf_config_diff(&first, &second, &change, 1) == 0);
        tf_assert(tf_config_keep(&second, &first) == TF_OK);
        tf_assert(tf_config_diff(&first, &second, &change, 1) == 0);
    }
    tf_config_release(&first);
    tf_config_release(&second);
    fuzz_url(&input);
    return 0;
}
