/*
 * Transfers to the peer; see connection.h.
 *
 * A delivery that fits goes out in one frame at once. Of a longer one the link keeps where its
 * bytes lie; links with such deliveries take turns, a frame each, whenever there is room and
 * window. The first frame always holds all of the head, so what is kept is the owner's and nothing
 * is copied twice. A frame that is not the last is as long as the peer allows, unless the output
 * has no more room even when it is empty.
 *
 * Bytes go by reference when there is an owner and a piece of at least config.reference_from is in
 * one frame; the owner's name is on the last reference of the delivery. So the last piece of a
 * delivery that has references is one too. A delivery without references is done with when its last
 * byte is copied.
 */
#include "amqp/connection.h"

#include "base/mem.h"
#include "base/util.h"

/* The most of tf_amqp_sending.head: with its performative it always fits into the first frame. */
enum { HEAD_MAX = 256 };

/* What a frame is made of. */
struct source {
    struct tf_bytes head; /* copied */
    struct tf_bytes piece;
    const struct tf_bytes *next;
    size_t next_count;
    uint64_t left;       /* bytes of all of these */
    uint64_t owner;      /* 0: all is copied */
    uint32_t refer_from; /* 0: never */
    bool referred;       /* a reference was made already */
};

/* How much of it goes into one. */
struct plan {
    size_t payload; /* bytes of the source */
    size_t front;   /* bytes of the output's front, with the frame's head */
    size_t refs;
};

/* The next piece of a walk over a source that has got to `at`. */
static struct tf_bytes piece_at(const struct source *source, size_t at)
{
    return at == 0 ? source->head : at == 1 ? source->piece : source->next[at - 2];
}

/* True if `take` bytes that end `done` bytes into the source go by reference. */
static bool refers(const struct source *source, size_t at, size_t take, uint64_t done, size_t refs)
{
    if (at == 0 || take == 0 || source->refer_from == 0 || source->owner == 0)
        return false;
    return take >= source->refer_from || (done == source->left && (source->referred || refs > 0));
}

/* How much of at most `budget` bytes finds room behind a head of `head` bytes. */
static struct plan plan_frame(const struct tf_output *output, const struct source *source,
                              size_t head, size_t budget)
{
    struct plan plan = {.front = head};

    for (size_t at = 0; plan.payload < budget; at++) {
        struct tf_bytes piece = piece_at(source, at);
        size_t take = TF_MIN(piece.length, budget - plan.payload);
        bool refer = refers(source, at, take, plan.payload + take, plan.refs);
        size_t room = tf_amqp_patient_room(output, plan.refs + refer);

        if (room < plan.front)
            break;
        if (refer) {
            plan.refs++;
        } else if (take > room - plan.front) {
            plan.payload += room - plan.front;
            plan.front = room;
            break;
        } else {
            plan.front += take;
        }
        plan.payload += take;
    }
    return plan;
}

/* Moves a source past its next `length` bytes. */
static void pass(struct source *source, size_t length)
{
    size_t step = TF_MIN(length, source->head.length);

    source->left -= length;
    if (step > 0) {
        source->head = tf_bytes_of(source->head.data + step, source->head.length - step);
        length -= step;
    }
    while (length >= source->piece.length && source->next_count > 0) {
        length -= source->piece.length;
        source->piece = *source->next++;
        source->next_count--;
    }
    if (length > 0)
        source->piece = tf_bytes_of(source->piece.data + length, source->piece.length - length);
}

/* Puts a planned frame, whose head of `head` bytes stands at the output's next byte already. */
static void put_planned(struct tf_output *output, struct source *source, size_t head,
                        const struct plan *plan, uint64_t *ret_reference)
{
    uint8_t *start = tf_output_next(output), *from = start, *to = start + head;
    struct tf_writer size = tf_writer_of(start, 4);
    size_t done = 0, refs = 0;

    tf_write_u32(&size, (uint32_t)(head + plan->payload));
    for (size_t at = 0; done < plan->payload; at++) {
        struct tf_bytes piece = piece_at(source, at);
        size_t take = TF_MIN(piece.length, plan->payload - done);

        done += take;
        if (refers(source, at, take, done, refs)) {
            output->used += (uint32_t)(to - from);
            from = to;
            tf_output_refer(output, tf_bytes_of(piece.data, take),
                            done == source->left ? source->owner : 0);
            *ret_reference = tf_output_newest(output);
            refs++;
        } else if (take > 0) {
            memcpy(to, piece.data, take);
            to += take;
        }
    }
    tf_output_wrote(output, (size_t)(to - from));
    source->referred |= refs > 0;
    pass(source, plan->payload);
}

/* ---- the head of a frame ---- */

/* What is said in it. */
struct head {
    uint32_t handle, id;
    struct tf_bytes tag; /* of the first frame; empty: of another */
    uint32_t message_format;
    bool settled, more, batchable;
};

/* The most that a head takes. */
enum { FRAME_HEAD_MAX = 8 + 3 + 3 + 3 * 5 + 2 + TF_AMQP_TAG_MAX + 7 };

/* Appends an unsigned int in its shortest form. */
static uint8_t *put_uint(uint8_t *to, uint32_t value)
{
    if (value == 0) {
        *to++ = 0x43;
    } else if (value < 256) {
        *to++ = 0x52;
        *to++ = (uint8_t)value;
    } else {
        *to++ = 0x70;
        *to++ = (uint8_t)(value >> 24);
        *to++ = (uint8_t)(value >> 16);
        *to++ = (uint8_t)(value >> 8);
        *to++ = (uint8_t)value;
    }
    return to;
}

/*
 * Writes a frame's head where the output goes on, but for its size: the bytes that
 * tf_amqp_frame_write would write, in less time, because this is done for each message.
 * Returns its length; 0: there is no room.
 */
static size_t write_head(const struct tf_amqp_connection *connection, uint16_t channel,
                         const struct head *head)
{
    uint8_t *start = tf_output_next(&connection->output), *to = start + 14;
    uint8_t count = 5;

    if (tf_amqp_room(connection) < FRAME_HEAD_MAX)
        return 0;
    start[4] = 2; /* 2.3.1 */
    start[5] = TF_AMQP_FRAME;
    start[6] = (uint8_t)(channel >> 8);
    start[7] = (uint8_t)channel;
    start[8] = 0x00;
    start[9] = 0x53;
    start[10] = TF_AMQP_TRANSFER_FRAME;
    start[11] = 0xc0;
    to = put_uint(to, head->handle);
    to = put_uint(to, head->id);
    if (head->tag.length > 0) {
        *to++ = 0xa0;
        *to++ = (uint8_t)head->tag.length;
        memcpy(to, head->tag.data, head->tag.length);
        to = put_uint(to + head->tag.length, head->message_format);
    } else {
        *to++ = 0x40;
        *to++ = 0x40;
    }
    *to++ = head->settled ? 0x41 : 0x42;
    if (head->more || head->batchable) {
        *to++ = head->more ? 0x41 : 0x40;
        count = 6;
    }
    if (head->batchable) {
        memcpy(to, "\x40\x40\x40\x40\x41", 5);
        to += 5;
        count = 11;
    }
    start[12] = (uint8_t)(to - start - 13);
    start[13] = count;
    return (size_t)(to - start);
}

/*
 * Puts the next frame of a source, as much as a frame takes. `whole`: all or nothing. TF_AGAIN:
 * there is no room now. TF_NO_MEMORY: the output is too small even when it is empty. TF_LIMIT: it
 * is not a whole frame's.
 */
static enum tf_err put_frame(struct tf_amqp_link *link, struct source *source, struct head *said,
                             bool whole, uint64_t *ret_reference)
{
    struct tf_amqp_connection *connection = link->session->connection;
    struct tf_output *output = &connection->output;
    bool alone = output->buffer && output->used == 0 && output->refs == 0;
    uint32_t max = connection->peer_max_frame_size;
    uint16_t channel = link->session->local;
    size_t head, budget;
    struct plan plan;

    if (!output->buffer)
        return TF_AGAIN;
    said->more = false;
    head = write_head(connection, channel, said);
    if (head > 0 && source->left > max - head) {
        if (whole)
            return TF_LIMIT;
        said->more = true;
        head = write_head(connection, channel, said);
    }
    if (head == 0)
        return alone ? TF_NO_MEMORY : TF_AGAIN;
    budget = (size_t)TF_MIN(source->left, max - head);
    plan = plan_frame(output, source, head, budget);
    if (plan.payload < budget) {
        if (!alone)
            return TF_AGAIN;
        said->more = true;
        head = write_head(connection, channel, said);
        plan = plan_frame(output, source, head, (size_t)TF_MIN(source->left - 1, max - head));
        if (whole || plan.payload == 0)
            return TF_NO_MEMORY;
    }
    put_planned(output, source, head, &plan, ret_reference);
    tf_amqp_session_sent(link->session);
    return TF_OK;
}

/* ---- deliveries on their way ---- */

/* Notes what is left of a delivery with the link. */
static void keep(struct tf_amqp_link *link, const struct source *source)
{
    struct tf_amqp_link_deliveries *own = &link->deliveries;

    tf_assert(source->head.length == 0); /* it is shorter than any frame and any output */
    own->piece = source->piece;
    own->next = source->next;
    own->next_count = source->next_count;
    own->left = source->left;
    own->referred = source->referred;
}

/* The delivery on its way is over; its owner is told now, unless the output does. */
static void finish(struct tf_amqp_link *link, bool told)
{
    struct tf_amqp_link_deliveries *own = &link->deliveries;

    own->partial = false;
    tf_list_remove(&own->node);
    if (told)
        own->owner = 0;
    else
        tf_list_push_back(&link->session->connection->deliveries.returned, &own->node);
}

/* Sends the next frame of a delivery on its way. TF_AGAIN: no room. */
static enum tf_err go_on(struct tf_amqp_link *link)
{
    struct tf_amqp_link_deliveries *own = &link->deliveries;
    struct head head = {.handle = link->local, .id = own->id, .settled = own->settled};
    struct source source = {.piece = own->piece,
                            .next = own->next,
                            .next_count = own->next_count,
                            .left = own->left,
                            .owner = own->owner,
                            .refer_from = link->session->connection->config->reference_from,
                            .referred = own->referred};
    enum tf_err err;

    err = put_frame(link, &source, &head, false, &own->reference);
    if (err)
        return TF_AGAIN;
    keep(link, &source);
    if (source.left == 0)
        finish(link, source.referred);
    return TF_OK;
}

bool tf_amqp_transfer_pump(struct tf_amqp_session *session)
{
    struct tf_list *sending = &session->deliveries.sending;
    struct tf_list_node *node;

    while (session->remote_incoming_window > 0 && (node = tf_list_first(sending)) != NULL) {
        struct tf_amqp_link *link = tf_container_of(node, struct tf_amqp_link, deliveries.node);

        if (go_on(link))
            return false;
        if (link->deliveries.partial) { /* the next one's turn */
            tf_list_remove(node);
            tf_list_push_back(sending, node);
        }
    }
    return true;
}

void tf_amqp_transfer_cut(struct tf_amqp_link *link)
{
    struct tf_amqp_link_deliveries *own = &link->deliveries;
    struct tf_output *output = &link->session->connection->output;

    if (!own->partial)
        return;
    finish(link, own->referred && tf_output_adopt(output, own->reference, own->owner));
}

bool tf_amqp_deliveries_returned(struct tf_amqp_connection *connection, uint64_t *ret_owner)
{
    struct tf_list_node *node = tf_list_pop_front(&connection->deliveries.returned);
    struct tf_amqp_link *link;

    if (!node)
        return false;
    link = tf_container_of(node, struct tf_amqp_link, deliveries.node);
    *ret_owner = link->deliveries.owner;
    link->deliveries.owner = 0;
    return true;
}

/* ---- the call ---- */

/* True if the connection, the session and the link still are. */
static bool is_open(const struct tf_amqp_link *link)
{
    return link->session->connection->state <= TF_AMQP_CONNECTION_UP &&
           link->session->state <= TF_AMQP_SESSION_MAPPED && link->state <= TF_AMQP_LINK_ATTACHED;
}

/* Room in the table for one more. */
static enum tf_err make_room(struct tf_amqp_session *session)
{
    const struct tf_amqp_deliveries *table = &session->deliveries.tables[TF_AMQP_SENDER];

    if (tf_amqp_deliveries_full(table)) {
        if (!tf_amqp_session_deliveries_need(session, TF_AMQP_PART_OUTGOING))
            return TF_AGAIN;
        return tf_amqp_need(session->connection, session, TF_AMQP_PART_OUTGOING);
    }
    return tf_amqp_deliveries_wrapped(table, session->deliveries.next_outgoing) ? TF_AGAIN : TF_OK;
}

/* All that stands against sending it, but for room. */
static enum tf_err may_send(struct tf_amqp_link *link, const struct tf_amqp_sending *sending,
                            uint64_t length)
{
    if (link->role != TF_AMQP_SENDER || sending->tag.length == 0 ||
        sending->tag.length > TF_AMQP_TAG_MAX || sending->head.length > HEAD_MAX)
        return TF_MISUSE;
    if (!is_open(link))
        return TF_CLOSED;
    if (link->max_message_size && length > link->max_message_size)
        return TF_LIMIT;
    if (!tf_amqp_link_may_send(link) || link->session->remote_incoming_window == 0 ||
        link->deliveries.partial || link->deliveries.owner)
        return TF_AGAIN;
    return sending->settled ? TF_OK : make_room(link->session);
}

/*
 * The first frame is in the output: counts, records, and goes on with what is left. True: the owner
 * is in use.
 */
static bool begun(struct tf_amqp_link *link, const struct tf_amqp_sending *sending,
                  const struct source *source)
{
    struct tf_amqp_session_deliveries *all = &link->session->deliveries;
    struct tf_amqp_link_deliveries *own = &link->deliveries;
    uint32_t id = all->next_outgoing++;

    tf_amqp_link_began(link);
    if (!sending->settled) {
        tf_amqp_deliveries_add(&all->tables[TF_AMQP_SENDER], id, link, sending->handle);
        own->live++;
    }
    if (source->left == 0)
        return source->referred;
    keep(link, source);
    own->owner = source->owner;
    own->id = id;
    own->settled = sending->settled;
    own->partial = true;
    tf_list_push_back(&all->sending, &own->node);
    while (own->partial && link->session->remote_incoming_window > 0 && !go_on(link))
        ;
    if (!own->partial && own->owner) { /* all was copied: it need not be told */
        own->owner = 0;
        tf_list_remove(&own->node);
        return false;
    }
    if (own->partial)
        tf_amqp_session_due(link->session, TF_AMQP_SESSION_DUE_DELIVERIES);
    return true;
}

enum tf_err tf_amqp_send(struct tf_amqp_link *link, const struct tf_amqp_sending *sending,
                         bool *ret_borrowed, uint64_t *ret_delivery)
{
    struct source source = {.head = sending->head,
                            .piece = sending->prefix,
                            .next = sending->body,
                            .next_count = sending->body_count,
                            .left = sending->head.length + (uint64_t)sending->prefix.length,
                            .owner = sending->owner,
                            .refer_from = link->session->connection->config->reference_from};
    struct head head = {.handle = link->local,
                        .id = link->session->deliveries.next_outgoing,
                        .tag = sending->tag,
                        .message_format = sending->message_format,
                        .settled = sending->settled,
                        .batchable = sending->batchable};
    enum tf_err err;
    bool borrowed;

    for (size_t i = 0; i < sending->body_count; i++)
        source.left += sending->body[i].length;
    err = may_send(link, sending, source.left);
    if (err)
        return err;
    err = put_frame(link, &source, &head, sending->owner == 0, &link->deliveries.reference);
    if (err)
        return err;
    borrowed = begun(link, sending, &source);
    if (ret_borrowed)
        *ret_borrowed = borrowed;
    if (ret_delivery)
        *ret_delivery = tf_amqp_delivery_number(link->session, head.id, false);
    return TF_OK;
}
