/*
 * The parameters of transmission and the times that follow from them (RFC 7252 4.8).
 */
#include "coap/endpoint.h"

void tf_coap_transmission_fill(struct tf_coap_transmission *ret,
                               const struct tf_coap_transmission *from)
{
    *ret = *from;
    if (!ret->ack_timeout_ms)
        ret->ack_timeout_ms = 2000;
    if (ret->ack_random_percent < 100)
        ret->ack_random_percent = 150;
    if (!ret->max_retransmit)
        ret->max_retransmit = 4;
    if (!ret->max_latency_ms)
        ret->max_latency_ms = 100000;
    if (!ret->processing_delay_ms)
        ret->processing_delay_ms = ret->ack_timeout_ms;
}

/* 4.8.2: MAX_TRANSMIT_SPAN, from the first sending of a CON to the last. */
tf_time tf_coap_transmit_span(const struct tf_coap_transmission *transmission)
{
    unsigned times = transmission->max_retransmit == TF_COAP_NO_RETRANSMIT
                         ? 0
                         : TF_MIN(transmission->max_retransmit, 20u);
    uint32_t timeout = transmission->ack_timeout_ms, percent = transmission->ack_random_percent;
    /* in two parts, so that small processors need no long division */
    tf_time most = (tf_time)(timeout / 100) * percent + timeout % 100 * percent / 100;

    return most * ((UINT32_C(1) << times) - 1) * TF_MILLISECOND;
}

/* 4.8.2: MAX_TRANSMIT_SPAN + MAX_LATENCY. */
tf_time tf_coap_non_lifetime(const struct tf_coap_transmission *transmission)
{
    return tf_coap_transmit_span(transmission) +
           (tf_time)transmission->max_latency_ms * TF_MILLISECOND;
}

tf_time tf_coap_exchange_lifetime(const struct tf_coap_transmission *transmission)
{
    return tf_coap_non_lifetime(transmission) +
           ((tf_time)transmission->max_latency_ms + transmission->processing_delay_ms) *
               TF_MILLISECOND;
}
