/*
 * Bodies to send.
 */
#include "cli/coap_body.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "cli/cli.h"

#define READ_SIZE ((size_t)64 * 1024)
/* RFC 7959 2.2: so many blocks of 1,024 bytes are all that can be numbered. */
#define BODY_MAX ((size_t)1024 * 1024 * 1024)

bool tf_cli_coap_source_given(const struct tf_cli_coap_source *source)
{
    return source->text || source->file || source->input || source->empty;
}

int tf_cli_coap_source_take(struct tf_cli_coap_source *source, const struct tf_cli_manual *manual,
                            int key, const char *value)
{
    if (tf_cli_coap_source_given(source)) {
        return tf_cli_misuse(manual, "only one of -m, -f and -s says what the body is");
    }
    source->text = key == 'm' ? value : NULL;
    source->file = key == 'f' ? value : NULL;
    source->input = key == 's';
    source->empty = key == 'n';
    return -1;
}

static int read_all(FILE *file, const char *name, const struct tf_cli_manual *manual,
                    uint8_t **ret_memory, size_t *ret_length)
{
    size_t length = 0, size = 0;
    uint8_t *memory = NULL;
    int code = -1;
    while (!feof(file) && code < 0) {
        if (size - length < READ_SIZE) {
            size = TF_MAX(2 * size, 2 * READ_SIZE);
            uint8_t *more = size <= BODY_MAX ? realloc(memory, size) : NULL;
            if (!more) {
                code = tf_cli_misuse(manual, "%.200s is too large for a body", name);
                break;
            }
            memory = more;
        }
        length += fread(memory + length, 1, size - length, file);
        if (ferror(file)) {
            code = tf_cli_misuse(manual, "cannot read %.200s: %s", name, strerror(errno));
        }
    }
    if (code >= 0) {
        free(memory);
        return code;
    }
    *ret_memory = memory;
    *ret_length = length;
    return code;
}

int tf_cli_coap_source_read(const struct tf_cli_coap_source *source,
                            const struct tf_cli_manual *manual, uint8_t **ret_memory,
                            struct tf_bytes *ret_body)
{
    size_t length = 0;
    int code = -1;
    *ret_memory = NULL;
    *ret_body = tf_bytes_of(NULL, 0);
    if (source->text) {
        *ret_body = tf_bytes_str(source->text);
        return code;
    }
    if (source->input) {
        code = read_all(stdin, "standard input", manual, ret_memory, &length);
    } else if (source->file) {
        FILE *file = fopen(source->file, "rb");
        if (!file) {
            return tf_cli_misuse(manual, "cannot read %.200s: %s", source->file, strerror(errno));
        }
        code = read_all(file, source->file, manual, ret_memory, &length);
        fclose(file);
    }
    if (code < 0) {
        *ret_body = tf_bytes_of(*ret_memory, length);
    }
    return code;
}
