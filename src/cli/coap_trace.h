/*
 * Each CoAP message that goes out or comes in, as a line: for -v.
 *
 *     > 10:00:00.000 CON GET /a/b; id 1a2b, token 0102030405060708
 *     < 10:00:00.012 ACK 2.05 Content; 5 bytes; id 1a2b, token 0102030405060708; 12.1 ms
 *
 * It reads the datagrams themselves, so it shows what is on the wire, whoever wrote it. It must not
 * know sockets, calls, or the machine.
 */
#ifndef TF_CLI_COAP_TRACE_H
#define TF_CLI_COAP_TRACE_H

#include <stdio.h>

#include <trefoil/coap_message.h>
#include <trefoil/time.h>

#define TF_CLI_COAP_TRACE_SENT 64 /* messages that answers are still expected to */

/* One message that went out. */
struct tf_cli_coap_trace_sent {
    tf_time at; /* first */
    uint32_t times;
    uint16_t message_id;
    bool answered;
    uint8_t token_length;
    uint8_t token[TF_COAP_TOKEN_MAX];
};

/* What is remembered of a peer; zeroed at first. */
struct tf_cli_coap_trace {
    struct tf_cli_coap_trace_sent sent[TF_CLI_COAP_TRACE_SENT]; /* a ring */
    size_t next;
};

/*
 * Writes the line of a datagram. `peer`, if not NULL, is named in it. `now` is the time of the
 * machine, `wall_us` that of day.
 */
void tf_cli_coap_trace_line(struct tf_cli_coap_trace *trace, bool outgoing,
                            struct tf_bytes datagram, const char *peer, tf_time now,
                            uint64_t wall_us, FILE *out);

/* Writes a span of time as people read it: "12.3 ms", "2.51 s". */
void tf_cli_coap_span_write(tf_time span, FILE *out);

/* Writes path and query of a request: "/a/b?c=d". */
void tf_cli_coap_path_write(struct tf_bytes options, FILE *out);

#endif
