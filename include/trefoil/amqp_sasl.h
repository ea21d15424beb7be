/*
 * SASL for AMQP (part 5): who the peer is, before open.
 *
 * A connection's config points to one struct tf_amqp_sasl; what it lists is offered or used, so a
 * firmware links only the mechanisms that it names. Each mechanism is a small machine of steps
 * without memory of its own beyond what the connection lends it.
 */
#ifndef TREFOIL_AMQP_SASL_H
#define TREFOIL_AMQP_SASL_H

#include <trefoil/amqp.h>

/* What a server is asked by AUTHENTICATE. Views. */
struct tf_amqp_sasl_request {
    struct tf_bytes mechanism; /* ANONYMOUS, PLAIN */
    struct tf_bytes hostname;
    struct tf_bytes authorization; /* PLAIN: who to act for; mostly empty. ANONYMOUS: trace */
    struct tf_bytes user;          /* PLAIN */
    struct tf_bytes password;      /* PLAIN: wipe what is copied of it */
};

struct tf_amqp_sasl_mechanism;

extern const struct tf_amqp_sasl_mechanism tf_amqp_sasl_anonymous; /* RFC 4505 */
extern const struct tf_amqp_sasl_mechanism tf_amqp_sasl_plain;     /* RFC 4616 */

/* What an end of a connection offers (server) or can use (client), in the order of preference. */
struct tf_amqp_sasl {
    const struct tf_amqp_sasl_mechanism *const *mechanisms;
    size_t mechanism_count;
    bool optional; /* server: peers that go on without SASL are taken too */
    /* client alone; must last until the outcome */
    struct tf_bytes user, password, authorization, hostname;
};

#endif
