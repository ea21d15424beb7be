/*
 * Types, codes and options by name; values of options as text. Content formats are in format.c.
 */
#include <trefoil/coap_names.h>

#include "base/utf8.h"
#include "base/util.h"
#include "coap/text.h"

/* A number and its name. */
struct name {
    uint16_t number;
    const char *text;
};

/* RFC 7252 12.1, 7959, 8132, 8323, 8516, 8768. */
static const struct name codes[] = {
    {TF_COAP_EMPTY, "Empty"},
    {TF_COAP_GET, "GET"},
    {TF_COAP_POST, "POST"},
    {TF_COAP_PUT, "PUT"},
    {TF_COAP_DELETE, "DELETE"},
    {TF_COAP_FETCH, "FETCH"},
    {TF_COAP_PATCH, "PATCH"},
    {TF_COAP_IPATCH, "iPATCH"},
    {TF_COAP_CREATED, "Created"},
    {TF_COAP_DELETED, "Deleted"},
    {TF_COAP_VALID, "Valid"},
    {TF_COAP_CHANGED, "Changed"},
    {TF_COAP_CONTENT, "Content"},
    {TF_COAP_CONTINUE, "Continue"},
    {TF_COAP_BAD_REQUEST, "Bad Request"},
    {TF_COAP_UNAUTHORIZED, "Unauthorized"},
    {TF_COAP_BAD_OPTION, "Bad Option"},
    {TF_COAP_FORBIDDEN, "Forbidden"},
    {TF_COAP_NOT_FOUND, "Not Found"},
    {TF_COAP_METHOD_NOT_ALLOWED, "Method Not Allowed"},
    {TF_COAP_NOT_ACCEPTABLE, "Not Acceptable"},
    {TF_COAP_INCOMPLETE, "Request Entity Incomplete"},
    {TF_COAP_CONFLICT, "Conflict"},
    {TF_COAP_PRECONDITION_FAILED, "Precondition Failed"},
    {TF_COAP_TOO_LARGE, "Request Entity Too Large"},
    {TF_COAP_UNSUPPORTED_FORMAT, "Unsupported Content-Format"},
    {TF_COAP_UNPROCESSABLE, "Unprocessable Entity"},
    {TF_COAP_TOO_MANY_REQUESTS, "Too Many Requests"},
    {TF_COAP_INTERNAL_ERROR, "Internal Server Error"},
    {TF_COAP_NOT_IMPLEMENTED, "Not Implemented"},
    {TF_COAP_BAD_GATEWAY, "Bad Gateway"},
    {TF_COAP_UNAVAILABLE, "Service Unavailable"},
    {TF_COAP_GATEWAY_TIMEOUT, "Gateway Timeout"},
    {TF_COAP_PROXYING_NOT_SUPPORTED, "Proxying Not Supported"},
    {TF_COAP_HOP_LIMIT_REACHED, "Hop Limit Reached"},
    {TF_COAP_CODE(7, 1), "CSM"},
    {TF_COAP_CODE(7, 2), "Ping"},
    {TF_COAP_CODE(7, 3), "Pong"},
    {TF_COAP_CODE(7, 4), "Release"},
    {TF_COAP_CODE(7, 5), "Abort"},
};

/* The registry "CoAP Option Numbers". */
static const struct name options[] = {
    {TF_COAP_IF_MATCH, "If-Match"},
    {TF_COAP_URI_HOST, "Uri-Host"},
    {TF_COAP_ETAG, "ETag"},
    {TF_COAP_IF_NONE_MATCH, "If-None-Match"},
    {TF_COAP_OBSERVE, "Observe"},
    {TF_COAP_URI_PORT, "Uri-Port"},
    {TF_COAP_LOCATION_PATH, "Location-Path"},
    {TF_COAP_OSCORE, "OSCORE"},
    {TF_COAP_URI_PATH, "Uri-Path"},
    {TF_COAP_CONTENT_FORMAT, "Content-Format"},
    {TF_COAP_MAX_AGE_OPTION, "Max-Age"},
    {TF_COAP_URI_QUERY, "Uri-Query"},
    {TF_COAP_HOP_LIMIT, "Hop-Limit"},
    {TF_COAP_ACCEPT, "Accept"},
    {TF_COAP_Q_BLOCK1, "Q-Block1"},
    {TF_COAP_LOCATION_QUERY, "Location-Query"},
    {TF_COAP_EDHOC, "EDHOC"},
    {TF_COAP_BLOCK2, "Block2"},
    {TF_COAP_BLOCK1, "Block1"},
    {TF_COAP_SIZE2, "Size2"},
    {TF_COAP_Q_BLOCK2, "Q-Block2"},
    {TF_COAP_PROXY_URI, "Proxy-Uri"},
    {TF_COAP_PROXY_SCHEME, "Proxy-Scheme"},
    {TF_COAP_SIZE1, "Size1"},
    {TF_COAP_ECHO, "Echo"},
    {TF_COAP_NO_RESPONSE, "No-Response"},
    {TF_COAP_REQUEST_TAG, "Request-Tag"},
    {2049, "OCF-Accept-Content-Format-Version"},
    {2053, "OCF-Content-Format-Version"},
};

/* ---- small text ---- */

/* The name of a number in a table; NULL: none. */
static const char *name_of(const struct name *names, size_t count, unsigned number)
{
    for (size_t i = 0; i < count; i++) {
        if (names[i].number == number)
            return names[i].text;
    }
    return NULL;
}

/* The number of a name in a table. */
static bool number_of(const struct name *names, size_t count, struct tf_bytes text, uint16_t *ret)
{
    for (size_t i = 0; i < count; i++) {
        if (tf_coap_same_text(text, tf_bytes_str(names[i].text))) {
            *ret = names[i].number;
            return true;
        }
    }
    return false;
}

/* Writes a byte as two hexadecimal digits. */
static void hex_write(struct tf_writer *out, uint8_t byte)
{
    static const char digits[] = "0123456789abcdef";

    tf_write_u8(out, (uint8_t)digits[byte >> 4]);
    tf_write_u8(out, (uint8_t)digits[byte & 15]);
}

/* ---- messages ---- */

const char *tf_coap_type_name(enum tf_coap_type type)
{
    static const char *const names[] = {"CON", "NON", "ACK", "RST"};

    return names[type & 3];
}

const char *tf_coap_code_name(uint8_t code)
{
    return name_of(codes, TF_COUNT(codes), code);
}

void tf_coap_code_write(struct tf_writer *out, uint8_t code)
{
    const char *name = tf_coap_code_name(code);
    bool method = name && code != TF_COAP_EMPTY && tf_coap_class(code) == 0;

    if (!method) {
        tf_write_u8(out, (uint8_t)('0' + tf_coap_class(code)));
        tf_write_u8(out, '.');
        tf_write_u8(out, (uint8_t)('0' + (code & 31) / 10));
        tf_write_u8(out, (uint8_t)('0' + (code & 31) % 10));
        if (name)
            tf_write_u8(out, ' ');
    }
    if (name)
        tf_write_bytes(out, tf_bytes_str(name));
}

bool tf_coap_code_find(struct tf_bytes text, uint8_t *ret)
{
    uint32_t class, detail;
    uint16_t number;

    if (number_of(codes, TF_COUNT(codes), text, &number)) {
        *ret = (uint8_t)number;
        return true;
    }
    if (text.length < 4 || text.data[1] != '.' || (text.length > 4 && text.data[4] != ' '))
        return false;
    if (!tf_coap_decimal_read(tf_bytes_of(text.data, 1), 7, &class) ||
        !tf_coap_decimal_read(tf_bytes_of(text.data + 2, 2), 31, &detail))
        return false;
    *ret = TF_COAP_CODE(class, detail);
    return true;
}

/* ---- options ---- */

const char *tf_coap_option_name(uint16_t number)
{
    return name_of(options, TF_COUNT(options), number);
}

bool tf_coap_option_number(struct tf_bytes text, uint16_t *ret)
{
    uint32_t number;

    if (number_of(options, TF_COUNT(options), text, ret))
        return true;
    if (!tf_coap_decimal_read(text, UINT16_MAX, &number))
        return false;
    *ret = (uint16_t)number;
    return true;
}

/* How a value stands in text. */
enum form { FORM_HEX, FORM_EMPTY, FORM_UINT, FORM_TEXT, FORM_BLOCK, FORM_FORMAT };

/* The form of an option's value. */
static enum form form_of(uint16_t number)
{
    const struct tf_coap_option_rule *rule = tf_coap_option_rule(number);

    if (!rule)
        return FORM_HEX;
    switch (number) {
    case TF_COAP_BLOCK1:
    case TF_COAP_BLOCK2:
    case TF_COAP_Q_BLOCK1:
    case TF_COAP_Q_BLOCK2:
        return FORM_BLOCK;
    case TF_COAP_CONTENT_FORMAT:
    case TF_COAP_ACCEPT:
        return FORM_FORMAT;
    }
    switch (rule->kind) {
    case TF_COAP_OPTION_EMPTY:
        return FORM_EMPTY;
    case TF_COAP_OPTION_UINT:
        return FORM_UINT;
    case TF_COAP_OPTION_STRING:
        return FORM_TEXT;
    default:
        return FORM_HEX;
    }
}

/* Writes text, with \xHH for what a terminal must not see. */
static void text_write(struct tf_writer *out, struct tf_bytes text)
{
    bool utf8 = tf_utf8_valid(text);

    for (size_t i = 0; i < text.length; i++) {
        uint8_t c = text.data[i];
        /* U+0080 to U+009F are control characters too. */
        bool c1 = utf8 && c == 0xC2 && text.data[i + 1] < 0xA0;

        if (c < 0x20 || c == 0x7F || (c >= 0x80 && !utf8) || c1) {
            tf_write_bytes(out, tf_bytes_str("\\x"));
            hex_write(out, c);
            if (c1) {
                tf_write_bytes(out, tf_bytes_str("\\x"));
                hex_write(out, text.data[++i]);
            }
        } else {
            tf_write_u8(out, c);
        }
    }
}

/* Writes a block as number/more/size. */
static void block_write(struct tf_writer *out, struct tf_bytes value)
{
    struct tf_coap_block block = {0};

    (void)tf_coap_block_read(value, &block); /* the length was looked at */
    tf_coap_decimal_write(out, block.number);
    tf_write_u8(out, '/');
    tf_coap_decimal_write(out, block.more);
    tf_write_u8(out, '/');
    tf_coap_decimal_write(out, 16u << block.szx);
}

void tf_coap_option_write(struct tf_writer *out, const struct tf_coap_option *option)
{
    struct tf_bytes value = option->value;
    const char *name, *coding = NULL;

    switch (tf_coap_option_valid(option, false) ? form_of(option->number) : FORM_HEX) {
    case FORM_EMPTY:
        break;
    case FORM_UINT:
        tf_coap_decimal_write(out, tf_coap_uint(value));
        break;
    case FORM_TEXT:
        text_write(out, value);
        break;
    case FORM_BLOCK:
        block_write(out, value);
        break;
    case FORM_FORMAT:
        name = tf_coap_format_name((uint16_t)tf_coap_uint(value), &coding);
        if (name && !coding) /* with a coding, the name would be another format's */
            tf_write_bytes(out, tf_bytes_str(name));
        else
            tf_coap_decimal_write(out, tf_coap_uint(value));
        break;
    case FORM_HEX:
        for (size_t i = 0; i < value.length; i++)
            hex_write(out, value.data[i]);
    }
}

/* Reads hexadecimal digits into `memory`. */
static bool hex_read(struct tf_writer *memory, struct tf_bytes text)
{
    size_t at = 0;

    if (text.length >= 2 && text.data[0] == '0' && tf_coap_lower(text.data[1]) == 'x')
        at = 2;
    for (; text.length - at >= 2; at += 2) {
        unsigned high = tf_coap_hex(text.data[at]), low = tf_coap_hex(text.data[at + 1]);

        if (high > 15 || low > 15)
            return false;
        tf_write_u8(memory, (uint8_t)(high << 4 | low));
    }
    return at == text.length;
}

/* Cuts `text` at the first slash and takes what is before it as a number. */
static bool part_read(struct tf_bytes *text, uint32_t most, uint32_t *ret)
{
    size_t at = 0;

    while (at < text->length && text->data[at] != '/')
        at++;
    if (!tf_coap_decimal_read(tf_bytes_of(text->data, at), most, ret))
        return false;
    at += at < text->length;
    *text = tf_bytes_of(text->data + at, text->length - at);
    return true;
}

/* Reads number/more/size into the number that stands in the option. */
static bool block_text_read(struct tf_bytes text, uint32_t *ret)
{
    struct tf_coap_block block;
    uint32_t more, size;

    if (!part_read(&text, TF_COAP_BLOCK_NUM_MAX, &block.number) || !part_read(&text, 1, &more) ||
        !part_read(&text, 2048, &size) || text.length)
        return false;
    block.more = more != 0;
    for (block.szx = 0; block.szx < 8; block.szx++) {
        if (size == 16u << block.szx) {
            *ret = tf_coap_block_value(&block);
            return true;
        }
    }
    return false;
}

enum tf_err tf_coap_option_read(struct tf_bytes *ret, uint16_t number, struct tf_bytes text,
                                struct tf_writer *memory)
{
    struct tf_coap_option option = {number, text};
    enum form form = form_of(number);
    uint8_t *start = memory->next;
    uint32_t value = 0;
    uint16_t format;
    uint8_t buffer[4];
    bool valid = true;

    if (form == FORM_HEX) {
        valid = hex_read(memory, text);
    } else if (form == FORM_UINT) {
        valid = tf_coap_decimal_read(text, UINT32_MAX, &value);
    } else if (form == FORM_BLOCK) {
        valid = block_text_read(text, &value);
    } else if (form == FORM_FORMAT) {
        valid = tf_coap_format_find(text, &format);
        value = valid ? format : 0;
    } else if (form == FORM_TEXT) {
        valid = tf_utf8_valid(text);
    }
    if (!valid)
        return TF_PROTOCOL;
    if (form != FORM_TEXT && form != FORM_EMPTY) {
        if (form != FORM_HEX)
            tf_write_bytes(memory, tf_coap_uint_value(value, buffer));
        if (memory->failed)
            return TF_NO_MEMORY;
        option.value = tf_bytes_of(start, (size_t)(memory->next - start));
    }
    if (tf_coap_option_rule(number) && !tf_coap_option_valid(&option, false))
        return TF_PROTOCOL;
    *ret = option.value;
    return TF_OK;
}
