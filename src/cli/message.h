/*
 * A message as the command line shows it: as text, JSON, raw bytes, hexadecimal digits, or by a
 * format like mosquitto_sub's.
 *
 * It must not know connections, nor what a message was asked for.
 */
#ifndef TF_CLI_MESSAGE_H
#define TF_CLI_MESSAGE_H

#include <stdio.h>

#include <jansson.h>

#include <trefoil/mqtt_property.h>

/* A message; the views are lent for the call. */
struct tf_cli_message {
    struct tf_bytes address;    /* UTF-8 */
    struct tf_bytes body;       /* anything */
    struct tf_bytes properties; /* a checked section of PUBLISH; empty below 5.0 */
    const json_t *more;         /* what else JSON tells, instead of what it would; NULL: nothing */
    uint64_t wall_us;           /* when it came */
    uint16_t packet_id;         /* 0 at QoS 0 */
    uint8_t qos;
    bool retain;
    bool dup;
    bool json; /* the body is JSON, whatever its content type says */
};

enum tf_cli_output {
    TF_CLI_TEXT,  /* the body and a newline */
    TF_CLI_JSON,  /* one object a line */
    TF_CLI_RAW,   /* the body, nothing else */
    TF_CLI_HEX,   /* the body's hexadecimal digits and a newline */
    TF_CLI_FORMAT /* as `format` says, and a newline */
};

/* How to show messages. */
struct tf_cli_style {
    enum tf_cli_output output;
    const char *format; /* of TF_CLI_FORMAT; checked by tf_cli_format_check */
    bool address;       /* text and hex: the address and a space before the body */
    bool no_newline;    /* text, hex and format: none at the end */
    bool terminal;      /* text: control characters of the body are shown, not sent */
    bool colour;        /* text: of the address */
};

#define TF_CLI_FORMAT_WHY 120

/*
 * True if `format` can be used; else ret_why says what is wrong with it. It consists of text, of
 * %-conversions, of @-conversions (strftime's, @N: nanoseconds) and of \-escapes, as
 * the manual of `sub` says.
 */
bool tf_cli_format_check(const char *format, char ret_why[TF_CLI_FORMAT_WHY]);

/*
 * Writes a message. TF_NO_MEMORY: nothing, or a part. Errors of `out` stay on it, for ferror.
 */
TF_MUST_USE enum tf_err tf_cli_message_print(const struct tf_cli_style *style,
                                             const struct tf_cli_message *message, FILE *out);

/* ---- the parts (message_json.c) ---- */

/*
 * Writes a message as one JSON object without a newline: address, qos, retain, what properties it
 * has, timestamp, and the body as `body_json` if it is a JSON object or array, or any JSON text
 * that its content type calls so; as `body` if it is UTF-8; else as `body_base64`. Numbers in
 * body_json are copied letter by letter. TF_NO_MEMORY.
 */
TF_MUST_USE enum tf_err tf_cli_message_json(const struct tf_cli_message *message, FILE *out);

#endif
