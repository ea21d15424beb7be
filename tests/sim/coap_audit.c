/*
 * The CoAP oracle at the end of a run: what can only be judged when all versions are known and all
 * is quiet.
 */
#include "sim/coap.h"

/* The write of this address with the largest version in between, both ends excluded, that no crash
 * can have undone. */
static const struct tf_sim_coap_op *between(const struct tf_sim_coap_oracle *oracle,
                                            unsigned address, uint64_t above, uint64_t below)
{
    const struct tf_sim_coap_op *found = NULL;
    for (uint32_t i = 0; i < oracle->count; i++) {
        const struct tf_sim_coap_op *op = &oracle->ops[i];
        if (op->kind == TF_SIM_COAP_WRITE && !op->shaky && op->address == address &&
            op->version > above && op->version < below &&
            (!found || op->version > found->version)) {
            found = op;
        }
    }
    return found;
}

/* Of all that wanted to replace one version, one has; and nobody wrote before it. */
static void audit_match(struct tf_sim_coap_oracle *oracle, const struct tf_sim_coap_op *op)
{
    const struct tf_sim_coap_op *other = between(oracle, op->address, op->match, op->version);
    if (op->version <= op->match) {
        tf_sim_coap_wrong(oracle, "m%u replaced version %llx by %llx", op->message,
                          op->match + 0ull, op->version + 0ull);
    } else if (other && other->paths < 2) {
        tf_sim_coap_wrong(oracle, "m%u replaced version %llx, which m%u had replaced", op->message,
                          op->match + 0ull, other->message);
    }
}

/* 2.01 says that there was no value: whatever was written before must have been cleared. */
static void audit_created(struct tf_sim_coap_oracle *oracle, const struct tf_sim_coap_op *op)
{
    const struct tf_sim_coap_op *before = between(oracle, op->address, 0, op->version);
    for (uint32_t i = 0; i < oracle->count && before; i++) {
        const struct tf_sim_coap_op *x = &oracle->ops[i];
        if (x->kind == TF_SIM_COAP_CLEAR && x->address == op->address && !x->refused &&
            x->start <= op->end && tf_sim_coap_latest(x) >= before->start) {
            return;
        }
    }
    if (before) {
        tf_sim_coap_wrong(oracle, "2.01 for m%u, though m%u was there", op->message,
                          before->message);
    }
}

/* What the subscriber has seen of what was written. */
static void audit_delivered(struct tf_sim_coap_oracle *oracle)
{
    unsigned cleared[TF_SIM_COAP_ADDRESSES] = {0}, possible[TF_SIM_COAP_ADDRESSES] = {0};
    for (uint32_t i = 0; i < oracle->count; i++) {
        const struct tf_sim_coap_op *op = &oracle->ops[i];
        if (!oracle->subscribed[op->address] || op->ephemeral) {
            continue;
        }
        if (op->kind == TF_SIM_COAP_CLEAR) {
            cleared[op->address] += op->done && op->confirmable;
            possible[op->address] += op->refused ? 0 : op->paths;
        } else if (op->kind == TF_SIM_COAP_WRITE && op->done && op->confirmable && !op->delivered) {
            tf_sim_coap_wrong(oracle, "m%u was accepted and never published", op->message);
        } else if (op->kind == TF_SIM_COAP_WRITE && op->refused && op->delivered) {
            tf_sim_coap_wrong(oracle, "m%u was refused and published", op->message);
        }
    }
    for (unsigned i = 0; i < TF_SIM_COAP_ADDRESSES; i++) {
        if (oracle->subscribed[i] && (oracle->emptied[i] + oracle->emptied_again[i] < cleared[i] ||
                                      oracle->emptied[i] > possible[i])) {
            tf_sim_coap_wrong(oracle, "%s was cleared %u times, at least %u and at most %u were",
                              tf_sim_topics[i], oracle->emptied[i], cleared[i], possible[i]);
        }
    }
}

static void audit_observer(struct tf_sim_coap_oracle *oracle, const struct tf_sim_coap_op *op)
{
    const struct tf_sim_coap_final *final = &oracle->final[op->address];
    const char *name = tf_sim_topics[op->address];
    if (!final->read) {
        tf_sim_coap_wrong(oracle, "%s was not read in the end", name);
    } else if (!op->told) {
        tf_sim_coap_wrong(oracle, "client %u, who observes %s, was told nothing", op->client, name);
    } else if (final->code == TF_COAP_NOT_FOUND) {
        tf_sim_coap_wrong(oracle, "client %u still observes %s, which is gone", op->client, name);
    } else if (final->version != op->told_version) {
        tf_sim_coap_wrong(oracle, "client %u, who observes %s, ends with version %llx, not %llx",
                          op->client, name, op->told_version + 0ull, final->version + 0ull);
    }
}

void tf_sim_coap_audit(struct tf_sim_coap_oracle *oracle)
{
    for (uint32_t i = 0; i < oracle->count; i++) {
        const struct tf_sim_coap_op *op = &oracle->ops[i];
        if (op->kind == TF_SIM_COAP_OBSERVE && op->open) {
            audit_observer(oracle, op);
        } else if (op->open && tf_sim_coap_known(op) == TF_TIME_NEVER && !op->ephemeral &&
                   op->client < TF_SIM_COAP_MQTT) {
            tf_sim_coap_wrong(oracle, "client %u still waits for operation %u", op->client, i);
        }
        if (op->kind != TF_SIM_COAP_WRITE || !op->done || op->paths > 1 || !op->code ||
            op->address == TF_SIM_COAP_LOOSE) {
            continue;
        }
        if (op->condition == TF_SIM_COAP_MATCH) {
            audit_match(oracle, op);
        }
        if (op->code == TF_COAP_CREATED) {
            audit_created(oracle, op);
        }
    }
    audit_delivered(oracle);
}

void tf_sim_coap_listed(struct tf_sim_coap_oracle *oracle, uint32_t addresses)
{
    for (unsigned i = 0; i < TF_SIM_COAP_ADDRESSES; i++) {
        bool listed = addresses >> i & 1;
        bool there = oracle->final[i].code == TF_COAP_CONTENT && oracle->subscribed[i];
        if (oracle->final[i].read && listed != there && i != TF_SIM_COAP_LOOSE) {
            tf_sim_coap_wrong(oracle, "/.well-known/core %s %s, which %s a value",
                              listed ? "lists" : "does not list", tf_sim_topics[i],
                              there ? "has" : "has not");
        }
    }
}
