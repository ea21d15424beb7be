/*
 * How much memory a CoAP endpoint takes, as constants, so that a firmware can set it aside in
 * static arrays (aligned as uint64_t):
 *
 *     static uint64_t memory[(TF_COAP_ENDPOINT_SIZE + 2 * TF_COAP_REQUEST_SIZE(PATH_SIZE) +
 *                             4 * TF_COAP_PEER_SIZE(PATH_SIZE)) / 8];
 *
 * Each is a bound, a little above what the machine takes: the sum for the counts of a config is
 * never below tf_coap_endpoint_size. The exact number is that function's.
 */
#ifndef TREFOIL_COAP_SIZE_H
#define TREFOIL_COAP_SIZE_H

/* The one or the other by the size of a pointer. */
#define TF_COAP_SIZE_BY_POINTER(small, large) (sizeof(void *) > 4 ? (large) : (small))

/* A path of `path_size` bytes behind an item. */
#define TF_COAP_PATH_ROOM(path_size) (((path_size) + 7u) / 8u * 8u)

/* The endpoint itself, without any of what follows. */
#define TF_COAP_ENDPOINT_SIZE TF_COAP_SIZE_BY_POINTER(624u, 896u)

/* One each of what the config counts in fields of these names. */
#define TF_COAP_REQUEST_SIZE(path_size) \
    (TF_COAP_SIZE_BY_POINTER(192u, 248u) + TF_COAP_PATH_ROOM(path_size))
#define TF_COAP_PEER_SIZE(path_size) \
    (TF_COAP_SIZE_BY_POINTER(104u, 144u) + TF_COAP_PATH_ROOM(path_size))
#define TF_COAP_EXCHANGE_SIZE TF_COAP_SIZE_BY_POINTER(96u, 144u)
#define TF_COAP_CALL_SIZE TF_COAP_SIZE_BY_POINTER(272u, 352u)
#define TF_COAP_OBSERVER_SIZE TF_COAP_SIZE_BY_POINTER(112u, 152u)
#define TF_COAP_TRANSFER_SIZE TF_COAP_SIZE_BY_POINTER(168u, 224u)
#define TF_COAP_REPLY_SIZE TF_COAP_SIZE_BY_POINTER(72u, 96u)
#define TF_COAP_BUFFER_SIZE 128u

/* What the feature tf_coap_client takes besides; `datagram_max` as in the config, not 0. */
#define TF_COAP_CLIENT_SIZE(datagram_max) (((datagram_max) + 7u) / 8u * 8u)

/* A buffer for the output of `count` datagrams; never below tf_coap_output_min. */
#define TF_COAP_OUTPUT_SIZE(path_size, datagram_max, count) \
    ((count) * (8u + TF_COAP_PATH_ROOM(path_size) + TF_COAP_CLIENT_SIZE(datagram_max)) + 8u)

#endif
