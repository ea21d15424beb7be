/*
 * A datagram on a path, as every machine over datagrams takes and gives them.
 *
 * A path is where a datagram came from and which local address it came to. The machine cannot read
 * it: it compares and keeps `path_size` bytes, which its config names, and hands them back with
 * each datagram that is to go the other way. So a path may be an IPv6 address pair, a number of a
 * radio neighbour, or nothing at all where there is one peer only. Two paths are the same when
 * all their bytes are: fill padding with zeros.
 */
#ifndef TREFOIL_DATAGRAM_H
#define TREFOIL_DATAGRAM_H

#include <trefoil/bytes.h>

/* What a transport knows of a datagram that has arrived; bits of tf_datagram.flags. */
enum tf_datagram_flag {
    TF_DATAGRAM_MULTICAST = 1, /* it was sent to a group */
    TF_DATAGRAM_TRUSTED = 2    /* its source address cannot have been forged (loopback, a wire) */
};

/* One datagram; whoever hands it over says for how long path and bytes stay. */
struct tf_datagram {
    const void *path;
    struct tf_bytes bytes;
    uint8_t flags; /* of enum tf_datagram_flag; 0 for output */
};

#endif
