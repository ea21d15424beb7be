/*
 * The path of a datagram over IP: whom it is from or for, and by which of our addresses.
 *
 * In a header of its own because whoever handles paths need not know sockets: fronts and the
 * simulator have this, and no more of this layer.
 */
#ifndef TF_PORT_DATAGRAM_PATH_H
#define TF_PORT_DATAGRAM_PATH_H

#include <stdint.h>

/* Compared and kept byte by byte, so every byte is set. IPv4 addresses are mapped ones. */
struct tf_datagram_path {
    uint8_t peer[16];
    uint8_t local[16]; /* replies leave from here; zero: the system chooses */
    uint32_t scope;    /* interface of a link-local peer; 0: none */
    uint16_t port;     /* the peer's, in host order */
    uint16_t family;   /* 4 or 6, as its socket; 0, as all is then: the connected peer */
};

_Static_assert(sizeof(struct tf_datagram_path) == 40, "there is no padding");

#endif
