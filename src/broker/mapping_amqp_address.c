/*
 * Addresses of AMQP 1.0: the forms that say what kind of node they name. See mapping.h.
 */
#include "broker/mapping.h"

#include "broker/address.h"

/* The forms that are more than a name. */
static const struct {
    const char *head;
    enum tf_mapping_node node;
    bool encoded; /* what follows is percent-encoded */
} forms[] = {{"queue://", TF_NODE_QUEUE, false},
             {"topic://", TF_NODE_TOPIC, false},
             {"/queues/", TF_NODE_QUEUE, true},
             {"/topics/", TF_NODE_TOPIC, true}};

/* Takes `head` off the front of *text; false: it is not there. */
static bool take(struct tf_bytes *text, const char *head)
{
    struct tf_bytes wanted = tf_bytes_str(head);
    if (text->length < wanted.length ||
        !tf_bytes_equal(tf_bytes_of(text->data, wanted.length), wanted)) {
        return false;
    }
    *text = tf_bytes_of(text->data + wanted.length, text->length - wanted.length);
    return true;
}

/* The value of a hexadecimal digit; 16: it is none. */
static unsigned digit_of(uint8_t byte)
{
    if (byte >= '0' && byte <= '9') {
        return byte - (unsigned)'0';
    }
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - (unsigned)'a' + 10 : 16;
}

/* Decodes RFC 3986 2.1 into `buffer`. False: a `%` without two digits. */
static bool decode(struct tf_bytes *text, uint8_t *buffer)
{
    size_t length = 0;
    for (size_t i = 0; i < text->length; i++) {
        uint8_t byte = text->data[i];
        if (byte == '%') {
            unsigned high = i + 1 < text->length ? digit_of(text->data[i + 1]) : 16;
            unsigned low = i + 2 < text->length ? digit_of(text->data[i + 2]) : 16;
            if (high > 15 || low > 15) {
                return false;
            }
            byte = (uint8_t)(high << 4 | low);
            i += 2;
        }
        buffer[length++] = byte;
    }
    *text = tf_bytes_of(buffer, length);
    return true;
}

enum tf_err tf_mapping_amqp_address(struct tf_bytes text, bool filter, uint8_t *buffer,
                                    enum tf_mapping_node *ret_node, struct tf_bytes *ret_address)
{
    enum tf_mapping_node node = TF_NODE_PLAIN;
    size_t i = 0;
    while (i < sizeof(forms) / sizeof(forms[0]) && !take(&text, forms[i].head)) {
        i++;
    }
    if (i < sizeof(forms) / sizeof(forms[0])) {
        node = forms[i].node;
        if (forms[i].encoded && !decode(&text, buffer)) {
            return TF_PROTOCOL;
        }
    } else {
        /* clients that make it of a URL's path leave the path's slash on */
        (void)take(&text, "/");
    }
    if (filter && node != TF_NODE_QUEUE ? !tf_filter_valid(text) : !tf_address_valid(text)) {
        return TF_PROTOCOL;
    }
    *ret_node = node;
    *ret_address = text;
    return TF_OK;
}

void tf_mapping_amqp_name(enum tf_mapping_node node, struct tf_bytes address,
                          struct tf_writer *writer)
{
    if (node != TF_NODE_PLAIN) {
        tf_write_bytes(writer, tf_bytes_str(node == TF_NODE_QUEUE ? "queue://" : "topic://"));
    }
    tf_write_bytes(writer, address);
}
