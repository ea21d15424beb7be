/*
 * CoAP messages as lines.
 */
#include "cli/coap_trace.h"

#include <string.h>

#include <trefoil/coap_names.h>
#include <trefoil/coap_uri.h>

#include "base/util.h"
#include "cli/body.h"
#include "port/clock.h"

#define TEXT_MAX 1024

/* ---- pieces ---- */

void tf_cli_coap_span_write(tf_time span, FILE *out)
{
    if (span < TF_SECOND) {
        fprintf(out, "%.*f ms", span < 100 * TF_MILLISECOND ? 1 : 0, (double)span / 1e3);
    } else {
        fprintf(out, "%.*f s", span < 100 * TF_SECOND ? 2 : 0, (double)span / 1e6);
    }
}

void tf_cli_coap_path_write(struct tf_bytes options, FILE *out)
{
    struct tf_coap_cursor cursor = tf_coap_options(options);
    struct tf_coap_option option;
    bool path = false, query = false;
    while (tf_coap_option_next(&cursor, &option)) {
        uint8_t text[3 * 255 + 1];
        struct tf_writer writer = tf_writer_of(text, sizeof(text));
        if (option.number == TF_COAP_URI_PATH) {
            tf_coap_segment_write(&writer, option.value);
            path = true;
        } else if (option.number == TF_COAP_URI_QUERY) {
            if (!path) {
                fputc('/', out);
                path = true;
            }
            fputc(query ? '&' : '?', out);
            query = true;
            tf_write_bytes(&writer, option.value);
        }
        tf_cli_body_shown(tf_bytes_of(text, tf_writer_length(&writer)), out);
    }
    if (!path) {
        fputc('/', out);
    }
}

/* Every option but those that path and query are made of in a request. */
static void write_options(const struct tf_coap_message *message, FILE *out)
{
    struct tf_coap_cursor cursor = tf_coap_options(message->options);
    struct tf_coap_option option;
    const char *between = "; ";
    while (tf_coap_option_next(&cursor, &option)) {
        uint8_t text[TEXT_MAX];
        struct tf_writer writer = tf_writer_of(text, sizeof(text));
        const char *name = tf_coap_option_name(option.number);
        if (tf_coap_class(message->code) == 0 &&
            (option.number == TF_COAP_URI_PATH || option.number == TF_COAP_URI_QUERY)) {
            continue;
        }
        tf_coap_option_write(&writer, &option);
        if (name) {
            fprintf(out, "%s%s", between, name);
        } else {
            fprintf(out, "%soption %u", between, option.number);
        }
        if (tf_writer_length(&writer)) {
            fputs(": ", out);
            tf_cli_body_shown(tf_bytes_of(text, tf_writer_length(&writer)), out);
        }
        between = ", ";
    }
}

static void write_text(struct tf_bytes text, FILE *out)
{
    if (text.length) {
        fwrite(text.data, 1, text.length, out);
    }
}

static void write_message(const struct tf_coap_message *message, FILE *out)
{
    uint8_t text[64];
    struct tf_writer writer = tf_writer_of(text, sizeof(text));
    bool request = tf_coap_class(message->code) == 0 && message->code;
    fputs(tf_coap_type_name((enum tf_coap_type)message->type), out);
    if (message->code) {
        tf_coap_code_write(&writer, message->code);
        fputc(' ', out);
        write_text(tf_bytes_of(text, tf_writer_length(&writer)), out);
    } else if (message->type == TF_COAP_CON) {
        fputs(" ping", out); /* RFC 7252 4.3 */
    }
    if (request) {
        fputc(' ', out);
        tf_cli_coap_path_write(message->options, out);
    }
    write_options(message, out);
    if (message->payload.length) {
        fprintf(out, "; %zu bytes", message->payload.length);
    }
    fprintf(out, "; id %04x", message->message_id);
    if (message->token.length) {
        fputs(", token ", out);
        tf_cli_body_hex(message->token, false, out);
    }
}

/* ---- what was sent ---- */

/* What `message` repeats if it is `outgoing`, else what it answers; NULL: nothing that is known. */
static struct tf_cli_coap_trace_sent *find(struct tf_cli_coap_trace *trace, bool outgoing,
                                           const struct tf_coap_message *message)
{
    bool by_id = outgoing || message->type == TF_COAP_ACK || message->type == TF_COAP_RST;
    for (size_t i = 1; i <= TF_CLI_COAP_TRACE_SENT; i++) {
        size_t at = (trace->next + TF_CLI_COAP_TRACE_SENT - i) % TF_CLI_COAP_TRACE_SENT;
        struct tf_cli_coap_trace_sent *sent = &trace->sent[at];
        bool same_id = sent->message_id == message->message_id;
        bool same_token =
            tf_bytes_equal(tf_bytes_of(sent->token, sent->token_length), message->token);
        bool same = outgoing ? same_id && same_token : by_id ? same_id : same_token;
        if (sent->times && same) {
            return sent;
        }
    }
    return NULL;
}

/* A request, or a ping, goes out. */
static void remember(struct tf_cli_coap_trace *trace, const struct tf_coap_message *message,
                     tf_time now)
{
    struct tf_cli_coap_trace_sent *sent = &trace->sent[trace->next];
    trace->next = (trace->next + 1) % TF_CLI_COAP_TRACE_SENT;
    *sent = (struct tf_cli_coap_trace_sent){.at = now,
                                            .times = 1,
                                            .message_id = message->message_id,
                                            .token_length = (uint8_t)message->token.length};
    if (message->token.length) {
        memcpy(sent->token, message->token.data, message->token.length);
    }
}

static void write_times(struct tf_cli_coap_trace *trace, bool outgoing,
                        const struct tf_coap_message *message, tf_time now, FILE *out)
{
    struct tf_cli_coap_trace_sent *sent = find(trace, outgoing, message);
    bool asks = message->type == TF_COAP_CON || message->type == TF_COAP_NON;
    if (outgoing && sent && asks) {
        fprintf(out, "; retransmission %u", sent->times++);
    } else if (outgoing && asks) {
        remember(trace, message, now);
    } else if (!outgoing && sent && !sent->answered) { /* what comes later is a notification */
        sent->answered = message->code != TF_COAP_EMPTY;
        fputs("; ", out);
        tf_cli_coap_span_write(now - sent->at, out);
        if (sent->times > 1) {
            fprintf(out, ", %u retransmission%s", sent->times - 1, sent->times > 2 ? "s" : "");
        }
    }
}

void tf_cli_coap_trace_line(struct tf_cli_coap_trace *trace, bool outgoing,
                            struct tf_bytes datagram, const char *peer, tf_time now,
                            uint64_t wall_us, FILE *out)
{
    struct tf_coap_message message;
    char time[TF_CLOCK_TEXT];
    tf_clock_format(time, wall_us);
    time[23] = 0; /* of day, without the letter of the zone */
    fprintf(out, "%c %s ", outgoing ? '>' : '<', time + 11);
    if (peer) {
        fprintf(out, "%s %s ", outgoing ? "to" : "from", peer);
    }
    if (tf_coap_decode(&message, datagram)) {
        fputs("no CoAP message: ", out);
        tf_cli_body_hex(tf_bytes_of(datagram.data, TF_MIN(datagram.length, 64u)), false, out);
    } else {
        write_message(&message, out);
        write_times(trace, outgoing, &message, now, out);
    }
    fputc('\n', out);
}
