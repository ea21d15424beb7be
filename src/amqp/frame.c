/*
 * The heads of frames (2.3.1). What is in them is not known here.
 */
#include <trefoil/amqp_performative.h>

#include "amqp/codec.h"

#define HEAD 8u

enum tf_err tf_amqp_frame_read(struct tf_bytes in, uint32_t max_size, struct tf_amqp_frame *ret,
                               size_t *ret_need)
{
    struct tf_reader reader = tf_reader_of(in);
    struct tf_amqp_frame frame = {.size = tf_read_u32(&reader)};

    if (reader.failed) {
        *ret_need = HEAD;
        return TF_MORE;
    }
    if (frame.size < HEAD)
        return TF_PROTOCOL;
    if (frame.size > max_size)
        return TF_LIMIT;
    size_t offset = 4 * (size_t)tf_read_u8(&reader);
    frame.type = tf_read_u8(&reader);
    frame.channel = tf_read_u16(&reader);
    if (in.length > 4 && (offset < HEAD || offset > frame.size))
        return TF_PROTOCOL;
    if (in.length < frame.size) {
        *ret_need = reader.failed ? HEAD : frame.size;
        return TF_MORE;
    }
    frame.body = tf_bytes_of(in.data + offset, frame.size - offset);
    *ret = frame;
    return TF_OK;
}

void tf_amqp_frame_write_empty(struct tf_writer *writer)
{
    static const uint8_t alive[HEAD] = {0, 0, 0, HEAD, 2};

    tf_write_bytes(writer, tf_bytes_of(alive, sizeof(alive)));
}
