/*
 * Transfers from the peer; see connection.h.
 *
 * A frame is an event: its payload is passed on as it lies, and only an unsettled delivery leaves a
 * record, made with its first frame, so that the application may answer when it pulls the last.
 * Delivery-ids are a sequence of the session; frames that are dropped, because their link is
 * failing, count in it too.
 */
#include "amqp/connection.h"

/* The frame begins a delivery and needs a record for which there is no memory. */
static bool needs_memory(const struct tf_amqp_session *session,
                         const struct tf_amqp_transfer *transfer)
{
    const struct tf_amqp_session_deliveries *all = &session->deliveries;

    return tf_amqp_deliveries_full(&all->tables[TF_AMQP_RECEIVER]) && !transfer->settled &&
           transfer->has_delivery_id &&
           (!all->received || transfer->delivery_id == all->next_incoming) &&
           tf_amqp_session_deliveries_need(session, TF_AMQP_PART_INCOMING) > 0;
}

/* A frame that is dropped: the sequence goes on. */
static enum tf_err pass_over(struct tf_amqp_session *session,
                             const struct tf_amqp_transfer *transfer)
{
    struct tf_amqp_session_deliveries *all = &session->deliveries;

    if (transfer->has_delivery_id &&
        (!all->received || transfer->delivery_id == all->next_incoming)) {
        all->received = true;
        all->next_incoming = transfer->delivery_id + 1;
    }
    return TF_OK;
}

/* A digest of a tag, to see that it does not change: no more hangs on it. */
static uint32_t tag_digest(struct tf_bytes tag)
{
    uint32_t digest = (uint32_t)tag.length;

    for (size_t i = 0; i < tag.length; i++)
        digest = (digest ^ tag.data[i]) * UINT32_C(0x01000193);
    return digest;
}

/* What the first frame of a delivery says that it may not; NO_ERROR: nothing. */
static enum tf_amqp_condition fault_of(const struct tf_amqp_link *link,
                                       const struct tf_amqp_transfer *transfer)
{
    if (!transfer->has_delivery_tag || transfer->delivery_tag.length > TF_AMQP_TAG_MAX) /* 2.7.5 */
        return TF_AMQP_INVALID_FIELD;
    if (transfer->has_rcv_settle_mode && transfer->rcv_settle_mode == TF_AMQP_RCV_SECOND &&
        link->rcv_settle_mode == TF_AMQP_RCV_FIRST) /* 2.7.5 */
        return TF_AMQP_INVALID_FIELD;
    if (transfer->resume && !link->resumable) /* 2.6.13: there is nothing to be gone on with */
        return TF_AMQP_NOT_IMPLEMENTED;
    if (transfer->state.type == TF_AMQP_STATE_TRANSACTIONAL) /* no transaction was declared */
        return TF_AMQP_TRANSACTION_UNKNOWN_ID;
    return TF_AMQP_NO_ERROR;
}

/* A delivery begins. *ret_failed: it was against the rules, and that is dealt with. */
static enum tf_err begin(struct tf_amqp_link *link, const struct tf_amqp_transfer *transfer,
                         bool *ret_failed)
{
    struct tf_amqp_session *session = link->session;
    struct tf_amqp_session_deliveries *all = &session->deliveries;
    struct tf_amqp_deliveries *table = &all->tables[TF_AMQP_RECEIVER];
    struct tf_amqp_link_deliveries *own = &link->deliveries;
    uint32_t id = transfer->delivery_id;
    enum tf_amqp_condition fault;

    *ret_failed = true;
    if (!transfer->has_delivery_id)
        return tf_amqp_session_fail(session, TF_AMQP_INVALID_FIELD, "a delivery without an id");
    if (all->received && id != all->next_incoming) /* 2.8.9: one after the other */
        return tf_amqp_session_fail(session, TF_AMQP_INVALID_FIELD, "delivery-id out of sequence");
    all->received = true;
    all->next_incoming = id + 1;
    fault = fault_of(link, transfer);
    if (fault != TF_AMQP_NO_ERROR)
        return tf_amqp_link_fail(link, fault, "a transfer that can't be taken");
    if (!tf_amqp_link_received(link)) /* 2.6.7 */
        return tf_amqp_link_fail(link, TF_AMQP_TRANSFER_LIMIT_EXCEEDED, "no credit");
    own->id = id;
    own->left = 0;
    own->tag = transfer->more ? tag_digest(transfer->delivery_tag) : 0;
    own->settled = transfer->settled || transfer->aborted; /* 2.7.5: aborted is settled */
    if (!own->settled) {
        if (tf_amqp_deliveries_full(table) || tf_amqp_deliveries_wrapped(table, id))
            return tf_amqp_session_fail(session, TF_AMQP_RESOURCE_LIMIT_EXCEEDED,
                                        "too many unsettled deliveries");
        tf_amqp_deliveries_add(table, id, link, 0);
        own->live++;
    }
    *ret_failed = false;
    return TF_OK;
}

/* A delivery goes on; *ret_failed as above. */
static enum tf_err go_on(struct tf_amqp_link *link, const struct tf_amqp_transfer *transfer,
                         bool *ret_failed)
{
    struct tf_amqp_link_deliveries *own = &link->deliveries;
    struct tf_amqp_delivery *record;

    *ret_failed = true;
    if (transfer->has_delivery_id && transfer->delivery_id != own->id) /* 2.7.5 */
        return tf_amqp_session_fail(link->session, TF_AMQP_INVALID_FIELD,
                                    "delivery-id changes within a delivery");
    if (transfer->has_delivery_tag && tag_digest(transfer->delivery_tag) != own->tag) /* 2.7.5 */
        return tf_amqp_link_fail(link, TF_AMQP_INVALID_FIELD,
                                 "delivery-tag changes within a delivery");
    *ret_failed = false;
    if (own->settled || !(transfer->settled || transfer->aborted))
        return TF_OK;
    own->settled = true;
    record = tf_amqp_deliveries_find(&link->session->deliveries.tables[TF_AMQP_RECEIVER], own->id);
    if (record)
        tf_amqp_deliveries_drop(link->session, TF_AMQP_RECEIVER, record);
    return TF_OK;
}

/* A frame for a link where we receive. */
static enum tf_err receive(struct tf_amqp_link *link, const struct tf_amqp_transfer *transfer,
                           struct tf_bytes payload)
{
    struct tf_amqp_link_deliveries *own = &link->deliveries;
    struct tf_amqp_session *session = link->session;
    struct tf_amqp_slot *slot;
    bool first = !own->partial, failed;
    enum tf_err err = first ? begin(link, transfer, &failed) : go_on(link, transfer, &failed);

    if (failed)
        return err;
    own->left += payload.length;
    if (link->max_message_size && own->left > link->max_message_size && !transfer->aborted)
        return tf_amqp_link_fail(link, TF_AMQP_MESSAGE_SIZE_EXCEEDED,
                                 "larger than max-message-size");
    session->deliveries.partials -= own->partial;
    own->partial = transfer->more && !transfer->aborted;
    session->deliveries.partials += own->partial;
    tf_amqp_session_replenish(session);
    slot = tf_amqp_tell(session->connection, TF_AMQP_TRANSFER, session, link);
    slot->delivery = tf_amqp_delivery_number(session, own->id, true);
    slot->first = first;
    slot->resume = first && transfer->resume;
    slot->more = own->partial;
    slot->aborted = transfer->aborted;
    slot->settled = own->settled;
    slot->body = transfer->aborted ? (struct tf_bytes){0} : payload;
    if (first) {
        slot->tag = transfer->delivery_tag;
        slot->message_format = transfer->message_format;
    }
    return TF_OK;
}

enum tf_err tf_amqp_on_transfer(struct tf_amqp_session *session,
                                const struct tf_amqp_transfer *transfer, struct tf_bytes payload)
{
    struct tf_amqp_link *link;
    enum tf_err err;

    if (needs_memory(session, transfer))
        return tf_amqp_need(session->connection, session, TF_AMQP_PART_INCOMING);
    if (!tf_amqp_session_received(session)) /* 2.5.6 */
        return tf_amqp_session_fail(session, TF_AMQP_WINDOW_VIOLATION, "more than the window");
    err = tf_amqp_session_link(session, transfer->handle, &link);
    if (err || !link)
        return err ? err : pass_over(session, transfer);
    if (link->role != TF_AMQP_RECEIVER) {
        pass_over(session, transfer);
        return tf_amqp_link_fail(link, TF_AMQP_NOT_ALLOWED, "a transfer to a sender");
    }
    return receive(link, transfer, payload);
}

void tf_amqp_transfer_tell(const struct tf_amqp_connection *connection, struct tf_amqp_event *ret)
{
    const struct tf_amqp_slot *slot = &connection->slot;

    ret->delivery = slot->delivery;
    ret->message_format = slot->message_format;
    ret->first = slot->first;
    ret->resume = slot->resume;
    ret->more = slot->more;
    ret->aborted = slot->aborted;
    ret->settled = slot->settled;
    ret->payload = slot->body;
    ret->tag = slot->tag;
}
