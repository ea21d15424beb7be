/*
 * Two machines whose applications remember what has arrived and what they were told: for tests of
 * deliveries from the client to the server.
 */
#ifndef TESTS_UNIT_AMQP_SEEN_H
#define TESTS_UNIT_AMQP_SEEN_H

#include "rig.h"

/* What has arrived at an end, and what was told of what it sent. */
struct seen {
    uint8_t *body;
    size_t length;
    unsigned runs, begun, complete, aborted, settled, outcomes, returned, resumed;
    unsigned opened; /* FLOW of the session */
    uint64_t delivery, owner;
    struct tf_amqp_state state;
    bool outcome_settled, last_settled;
    uint8_t tag[TF_AMQP_TAG_MAX];
    size_t tag_length;
    uint32_t message_format;
};

/* What an end has seen. */
struct seen *seen_of(struct rig *rig, const struct rig_end *end);

/* As rig_join and rig_release, with applications that remember. */
void seen_open(struct rig *rig, enum rig_way way, size_t buffer_size);
void seen_close(struct rig *rig);

/* Attaches a link on which the client sends, with this credit. */
void seen_sender(struct rig *rig, uint32_t credit);

/* A message of these pieces, unsettled, to be copied; its handle is 77. */
struct tf_amqp_sending seen_sending(const struct tf_bytes *body, size_t count);

/* Sends on a link of the client's; runs the rig while it can't be. Returns the delivery. */
uint64_t seen_send(struct rig *rig, unsigned link, const struct tf_amqp_sending *sending,
                   bool *ret_borrowed);

#endif
