/*
 * What a front keeps of a connection's input: the bytes of a packet whose end has not come, or that
 * its machine cannot take yet. A connection without such bytes has no memory here.
 */
#ifndef TF_BROKER_FRONT_INPUT_H
#define TF_BROKER_FRONT_INPUT_H

#include "base/alloc.h"

#include <trefoil/bytes.h>

/* Starts zero. */
struct tf_front_input {
    uint8_t *data; /* NULL: nothing is kept */
    uint32_t length, capacity;
    uint32_t need; /* bytes in all that the machine wants before it looks again; 0: any */
};

/* How bytes get into a machine. */
struct tf_front_feeder {
    /* Gives it what it takes of `in`; how much that was. Sets *ret_need (0 before the call). */
    size_t (*feed)(void *ctx, struct tf_bytes in, uint32_t *ret_need);
    /* True while bytes that arrive can only be kept. */
    bool (*waits)(const void *ctx);
};

/*
 * Feeds what has arrived, behind what is kept, and keeps what is left of it. Only one packet is
 * completed by copying; what follows it is fed as it is. False: no memory, bytes are lost.
 */
bool tf_front_input_take(struct tf_front_input *input, const struct tf_alloc *alloc,
                         struct tf_bytes in, const struct tf_front_feeder *feeder, void *ctx);

/* Feeds what is kept; what the machine leaves stays. */
void tf_front_input_again(struct tf_front_input *input, const struct tf_alloc *alloc,
                          const struct tf_front_feeder *feeder, void *ctx);

/* Forgets what is kept. */
void tf_front_input_drop(struct tf_front_input *input, const struct tf_alloc *alloc);

#endif
