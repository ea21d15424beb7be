/*
 * A connection to a host.
 */
#include "cli/dial.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "cli/cli.h"
#include "port/clock.h"

#define READ_SIZE (64u * 1024u)
#define ADDRESS_TIMEOUT (5 * TF_SECOND) /* of an address, if there is another one */

void tf_cli_dial_init(struct tf_cli_dial *dial, struct tf_cli_run *run,
                      struct tf_loop_source *source, const struct tf_cli_url *url, bool debug)
{
    bool brackets = strchr(url->host, ':') != NULL;
    *dial = (struct tf_cli_dial){.run = run,
                                 .source = source,
                                 .end = TF_TIME_NEVER,
                                 .address_end = TF_TIME_NEVER,
                                 .fd = -1,
                                 .debug = debug};
    snprintf(dial->text, sizeof(dial->text), "%s%s%s:%u", brackets ? "[" : "", url->host,
             brackets ? "]" : "", url->port);
}

void tf_cli_dial_close(struct tf_cli_dial *dial)
{
    if (dial->fd >= 0) {
        tf_loop_remove(dial->run->loop, dial->source);
        tf_socket_close(dial->fd);
        dial->fd = -1;
    }
}

static enum tf_cli_dial_state fail(struct tf_cli_dial *dial, int code)
{
    tf_cli_dial_close(dial);
    dial->code = code;
    return TF_CLI_DIAL_FAILED;
}

enum tf_cli_dial_state tf_cli_dial_again(struct tf_cli_dial *dial, int number)
{
    struct tf_cli_run *run = dial->run;
    tf_cli_dial_close(dial);
    for (; dial->at < dial->count; dial->at++) {
        const struct tf_socket_address *address = &dial->addresses[dial->at];
        if (dial->debug) {
            char text[TF_SOCKET_TEXT];
            tf_socket_text(address, text);
            tf_cli_run_say(run, "%s: connecting to %s", dial->text, text);
        }
        if (!tf_socket_connect(address, &dial->fd)) {
            if (tf_loop_add(run->loop, dial->source, dial->fd, TF_LOOP_WRITE)) {
                tf_socket_close(dial->fd);
                dial->fd = -1;
                tf_cli_run_say(run, "no memory");
                return fail(dial, TF_EXIT_INTERNAL);
            }
            bool last = dial->at + 1 == dial->count;
            dial->address_end = last ? TF_TIME_NEVER : tf_time_add(run->now, ADDRESS_TIMEOUT);
            return TF_CLI_DIALING;
        }
        dial->fd = -1;
        number = errno;
    }
    tf_cli_run_say(
        run, "cannot connect to %s: %s%s", dial->text, strerror(number),
        number == ECONNREFUSED ? ". Is a broker running there? `trefoil serve` starts one" : "");
    return fail(dial, TF_EXIT_NETWORK);
}

enum tf_cli_dial_state tf_cli_dial_start(struct tf_cli_dial *dial, const struct tf_cli_url *url,
                                         bool timed)
{
    dial->end = timed ? tf_time_add(dial->run->now, TF_CLI_DIAL_TIMEOUT) : TF_TIME_NEVER;
    enum tf_err err = tf_socket_resolve(url->host, url->port, false, dial->addresses,
                                        TF_CLI_DIAL_ADDRESSES, &dial->count);
    if (err) {
        const char *why = err == TF_NOT_FOUND ? "there is no such host"
                          : err == TF_AGAIN   ? "the name server does not answer; try again"
                                              : "the name cannot be looked up";
        tf_cli_run_say(dial->run, "cannot connect to %s: %s", dial->text, why);
        return fail(dial, TF_EXIT_NETWORK);
    }
    dial->run->now = tf_clock_now(); /* the resolver may have taken its time */
    return tf_cli_dial_again(dial, 0);
}

enum tf_cli_dial_state tf_cli_dial_ready(struct tf_cli_dial *dial)
{
    enum tf_err err = tf_socket_connected(dial->fd);
    if (err == TF_AGAIN) {
        return TF_CLI_DIALING;
    }
    if (err) {
        int number = errno;
        dial->at++;
        return tf_cli_dial_again(dial, number);
    }
    tf_loop_change(dial->run->loop, dial->source, TF_LOOP_READ);
    return TF_CLI_DIALED;
}

enum tf_cli_dial_state tf_cli_dial_tick(struct tf_cli_dial *dial)
{
    if (dial->run->now < dial->address_end) {
        return TF_CLI_DIALING;
    }
    dial->at++;
    return tf_cli_dial_again(dial, ETIMEDOUT);
}

void tf_cli_dial_say_lost(struct tf_cli_dial *dial, int number)
{
    tf_cli_run_say(dial->run, "the connection to %s was lost: %s", dial->text,
                   number ? strerror(number) : "the peer has closed it");
}

void tf_cli_dial_say_late(struct tf_cli_dial *dial, const char *what)
{
    tf_cli_run_say(dial->run, "%s does not answer: no %s after %u s", dial->text, what,
                   (unsigned)(TF_CLI_DIAL_TIMEOUT / TF_SECOND));
}

/* ---- what arrives ---- */

static enum tf_err make_room(struct tf_cli_input *input)
{
    size_t size = TF_MAX(input->need, input->length + READ_SIZE / 2);
    if (size <= input->size) {
        return TF_OK;
    }
    size = TF_MAX(size, (size_t)READ_SIZE);
    uint8_t *bytes = realloc(input->bytes, size);
    if (!bytes) {
        return TF_NO_MEMORY;
    }
    input->bytes = bytes;
    input->size = size;
    return TF_OK;
}

enum tf_err tf_cli_dial_read(struct tf_cli_dial *dial, struct tf_cli_input *input)
{
    size_t got = 0;
    enum tf_err err = make_room(input);
    if (err) {
        return err;
    }
    err = tf_socket_read(dial->fd, input->bytes + input->length, input->size - input->length, &got);
    if (!err) {
        input->length += got;
    }
    return err;
}

void tf_cli_input_take(struct tf_cli_input *input, size_t length)
{
    memmove(input->bytes, input->bytes + length, input->length - length);
    input->length -= length;
}
