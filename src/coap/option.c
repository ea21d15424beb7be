/*
 * What is registered of each CoAP option: kind, length, repeatability (RFC 7252 5.10 and the IANA
 * registry "CoAP Option Numbers"). A table and its look-up; whether an option is understood is the
 * business of who handles the message.
 */
#include <trefoil/coap_message.h>

#include "base/util.h"

/* Ascending. */
static const struct tf_coap_option_rule rules[] = {
    {TF_COAP_IF_MATCH, TF_COAP_OPTION_OPAQUE, true, 0, 8},
    {TF_COAP_URI_HOST, TF_COAP_OPTION_STRING, false, 1, 255},
    {TF_COAP_ETAG, TF_COAP_OPTION_OPAQUE, true, 1, 8},
    {TF_COAP_IF_NONE_MATCH, TF_COAP_OPTION_EMPTY, false, 0, 0},
    {TF_COAP_OBSERVE, TF_COAP_OPTION_UINT, false, 0, 3},
    {TF_COAP_URI_PORT, TF_COAP_OPTION_UINT, false, 0, 2},
    {TF_COAP_LOCATION_PATH, TF_COAP_OPTION_STRING, true, 0, 255},
    {TF_COAP_OSCORE, TF_COAP_OPTION_OPAQUE, false, 0, 255},
    {TF_COAP_URI_PATH, TF_COAP_OPTION_STRING, true, 0, 255},
    {TF_COAP_CONTENT_FORMAT, TF_COAP_OPTION_UINT, false, 0, 2},
    {TF_COAP_MAX_AGE_OPTION, TF_COAP_OPTION_UINT, false, 0, 4},
    {TF_COAP_URI_QUERY, TF_COAP_OPTION_STRING, true, 0, 255},
    {TF_COAP_HOP_LIMIT, TF_COAP_OPTION_UINT, false, 1, 1},
    {TF_COAP_ACCEPT, TF_COAP_OPTION_UINT, false, 0, 2},
    {TF_COAP_Q_BLOCK1, TF_COAP_OPTION_UINT, false, 0, 3},
    {TF_COAP_LOCATION_QUERY, TF_COAP_OPTION_STRING, true, 0, 255},
    {TF_COAP_EDHOC, TF_COAP_OPTION_EMPTY, false, 0, 0},
    {TF_COAP_BLOCK2, TF_COAP_OPTION_UINT, false, 0, 3},
    {TF_COAP_BLOCK1, TF_COAP_OPTION_UINT, false, 0, 3},
    {TF_COAP_SIZE2, TF_COAP_OPTION_UINT, false, 0, 4},
    {TF_COAP_Q_BLOCK2, TF_COAP_OPTION_UINT, true, 0, 3},
    {TF_COAP_PROXY_URI, TF_COAP_OPTION_STRING, false, 1, 1034},
    {TF_COAP_PROXY_SCHEME, TF_COAP_OPTION_STRING, false, 1, 255},
    {TF_COAP_SIZE1, TF_COAP_OPTION_UINT, false, 0, 4},
    {TF_COAP_ECHO, TF_COAP_OPTION_OPAQUE, false, 1, TF_COAP_ECHO_MAX},
    {TF_COAP_NO_RESPONSE, TF_COAP_OPTION_UINT, false, 0, 1},
    {TF_COAP_REQUEST_TAG, TF_COAP_OPTION_OPAQUE, true, 0, TF_COAP_REQUEST_TAG_MAX},
};

const struct tf_coap_option_rule *tf_coap_option_rule(uint16_t number)
{
    for (size_t i = 0; i < TF_COUNT(rules) && rules[i].number <= number; i++) {
        if (rules[i].number == number)
            return &rules[i];
    }
    return NULL;
}

bool tf_coap_option_valid(const struct tf_coap_option *option, bool repeated)
{
    const struct tf_coap_option_rule *rule = tf_coap_option_rule(option->number);

    if (!rule)
        return false;
    if (option->value.length < rule->min || option->value.length > rule->max)
        return false;                     /* RFC 7252 5.4.3 */
    return rule->repeatable || !repeated; /* 5.4.5 */
}
