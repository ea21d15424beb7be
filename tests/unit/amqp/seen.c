/*
 * Applications that remember what they were told; see seen.h.
 */
#include "seen.h"

#include <stdlib.h>
#include <string.h>

enum { BODY = 12 << 20 };

struct both {
    struct seen a, b;
};

struct seen *seen_of(struct rig *rig, const struct rig_end *end)
{
    struct both *both = rig->user;

    return end == &rig->client ? &both->a : &both->b;
}

static void on_transfer(struct seen *seen, const struct tf_amqp_event *event)
{
    seen->runs++;
    seen->resumed += event->resume;
    if (event->first) {
        seen->begun++;
        seen->length = 0;
        seen->message_format = event->message_format;
        seen->tag_length = event->tag.length;
        memcpy(seen->tag, event->tag.data, event->tag.length);
    }
    assert_true(seen->length + event->payload.length <= BODY);
    if (event->payload.length > 0)
        memcpy(seen->body + seen->length, event->payload.data, event->payload.length);
    seen->length += event->payload.length;
    seen->aborted += event->aborted;
    seen->complete += !event->more && !event->aborted;
    seen->delivery = event->delivery;
    seen->last_settled = event->settled;
}

static bool on_event(struct rig *rig, struct rig_end *end, const struct tf_amqp_event *event)
{
    struct seen *seen = seen_of(rig, end);

    switch (event->type) {
    case TF_AMQP_TRANSFER:
        on_transfer(seen, event);
        break;
    case TF_AMQP_OUTCOME:
        seen->outcomes++;
        seen->state = event->state;
        seen->outcome_settled = event->settled;
        break;
    case TF_AMQP_SETTLED:
        seen->settled++;
        break;
    case TF_AMQP_FLOW:
        seen->opened += event->link == NULL;
        break;
    case TF_AMQP_RETURNED:
        seen->returned++;
        seen->owner = event->owner;
        break;
    default:
        break;
    }
    return false;
}

void seen_open(struct rig *rig, enum rig_way way, size_t buffer_size)
{
    struct both *both = calloc(1, sizeof(*both));

    assert_non_null(both);
    both->a.body = malloc(BODY);
    both->b.body = malloc(BODY);
    rig->user = both;
    rig->client.on_event = rig->server.on_event = on_event;
    rig_join(rig, way, buffer_size);
}

void seen_close(struct rig *rig)
{
    struct both *both = rig->user;

    rig_release(rig);
    free(both->a.body);
    free(both->b.body);
    free(both);
}

void seen_sender(struct rig *rig, uint32_t credit)
{
    rig_line(rig, TF_AMQP_SENDER, TF_AMQP_RCV_FIRST);
    tf_amqp_link_credit(rig->server.links[0], credit, false);
    rig_run(rig);
    assert_int_equal(tf_amqp_link_credit_left(rig->client.links[0]), credit);
}

struct tf_amqp_sending seen_sending(const struct tf_bytes *body, size_t count)
{
    return (struct tf_amqp_sending){.handle = 77,
                                    .tag = tf_bytes_str("tag"),
                                    .body = body,
                                    .body_count = count,
                                    .message_format = 9};
}

uint64_t seen_send(struct rig *rig, unsigned link, const struct tf_amqp_sending *sending,
                   bool *ret_borrowed)
{
    uint64_t delivery = 0;
    enum tf_err err;

    for (unsigned tries = 0;; tries++) {
        err = tf_amqp_send(rig->client.links[link], sending, ret_borrowed, &delivery);
        assert_true(tf_amqp_check(rig->client.connection));
        if (err != TF_AGAIN)
            break;
        assert_true(tries < 4);
        rig_run(rig);
    }
    assert_int_equal(err, TF_OK);
    return delivery;
}
