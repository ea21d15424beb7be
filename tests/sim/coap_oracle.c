/*
 * The CoAP oracle: what must hold of each answer, given what clients did before.
 *
 * It sees requests begin and end, at which time, and what answers say; never the broker. The
 * versions (ETags) order the writes of an address, so that a history is judged answer by answer:
 * each is at least as new as whatever had been answered when its request began. Where an outcome
 * is unknown (no answer; a client that changed its address, so that a request may have come twice)
 * the bounds are widened, never the rule bent.
 *
 * At one address MQTT publishes what is not retained, too. Such a message is the value for as long
 * as somebody observes the address, which no client can know of the others: there only what does
 * not depend on order is judged, and that observers end with what is read.
 */
#include "sim/coap.h"

#include "base/assert.h"

#include <string.h>

#define REORDER (128 * TF_SECOND) /* RFC 7641 3.4 */
#define RECORDED (10 * TF_SECOND) /* within which what can be read is on disk */

void tf_sim_coap_oracle_init(struct tf_sim_coap_oracle *oracle)
{
    memset(oracle, 0, sizeof(*oracle));
    for (unsigned i = 0; i < TF_SIM_COAP_ADDRESSES; i++) {
        oracle->subscribed[i] = i != TF_SIM_COAP_LOG;
    }
}

void tf_sim_coap_wrong(struct tf_sim_coap_oracle *oracle, const char *format, ...)
{
    va_list arguments;
    if (oracle->failed) {
        return;
    }
    oracle->failed = true;
    va_start(arguments, format);
    vsnprintf(oracle->failure, sizeof(oracle->failure), format, arguments);
    va_end(arguments);
}

bool tf_sim_coap_changes(const struct tf_sim_coap_op *op)
{
    return op->kind != TF_SIM_COAP_READ && op->kind != TF_SIM_COAP_OBSERVE;
}

tf_time tf_sim_coap_known(const struct tf_sim_coap_op *op)
{
    return TF_MIN(op->done ? op->end : TF_TIME_NEVER, op->seen);
}

tf_time tf_sim_coap_latest(const struct tf_sim_coap_op *op)
{
    return op->paths > 1 || op->ephemeral ? TF_TIME_NEVER : tf_sim_coap_known(op);
}

/* ---- what was possible ---- */

/* True if the value of an address can have been absent at some time from `from` to `to`. */
static bool absence_possible(const struct tf_sim_coap_oracle *oracle, uint32_t self,
                             unsigned address, tf_time from, tf_time to)
{
    tf_time cleared = 0;
    for (uint32_t i = 0; i < oracle->count; i++) {
        const struct tf_sim_coap_op *op = &oracle->ops[i];
        if (op->address == address && op->kind == TF_SIM_COAP_CLEAR && i != self && !op->refused &&
            op->start <= to) {
            cleared = TF_MAX(cleared, tf_sim_coap_latest(op));
        }
    }
    for (uint32_t i = 0; i < oracle->count; i++) {
        const struct tf_sim_coap_op *op = &oracle->ops[i];
        if (op->address == address && op->kind == TF_SIM_COAP_WRITE && i != self &&
            tf_sim_coap_known(op) < from && op->start > cleared) {
            return false;
        }
    }
    return true;
}

/* True if there can have been a value before `to` that `self` did not write. */
static bool presence_possible(const struct tf_sim_coap_oracle *oracle, uint32_t self,
                              unsigned address, tf_time to)
{
    for (uint32_t i = 0; i < oracle->count; i++) {
        const struct tf_sim_coap_op *op = &oracle->ops[i];
        if (op->address == address && op->kind == TF_SIM_COAP_WRITE && op->start <= to &&
            (i != self ? !op->refused : op->paths > 1)) {
            return true;
        }
    }
    return false;
}

static struct tf_sim_coap_op *writer_of(struct tf_sim_coap_oracle *oracle, uint32_t message)
{
    uint32_t op = message < TF_SIM_MESSAGES ? oracle->by_message[message] : 0;
    return op ? &oracle->ops[op - 1] : NULL;
}

static struct tf_sim_coap_op *version_of(struct tf_sim_coap_oracle *oracle, unsigned address,
                                         uint64_t version)
{
    for (uint32_t i = 0; i < oracle->count; i++) {
        struct tf_sim_coap_op *op = &oracle->ops[i];
        if (op->address == address && op->kind == TF_SIM_COAP_WRITE && op->version == version) {
            return op;
        }
    }
    return NULL;
}

/* ---- what an answer says ---- */

static bool is_loose(const struct tf_sim_coap_op *op)
{
    return op->address == TF_SIM_COAP_LOOSE;
}

/* A version is that of what `writer` wrote: one of each. */
static void bind_version(struct tf_sim_coap_oracle *oracle, struct tf_sim_coap_op *writer,
                         uint64_t version)
{
    const struct tf_sim_coap_op *other = version_of(oracle, writer->address, version);
    if (version == 0) {
        tf_sim_coap_wrong(oracle, "m%u has no version", writer->message);
    } else if (other && other != writer) {
        tf_sim_coap_wrong(oracle, "version %llx is that of m%u and of m%u", version + 0ull,
                          other->message, writer->message);
    } else if (writer->version && writer->version != version && writer->paths < 2) {
        tf_sim_coap_wrong(oracle, "m%u was written twice: versions %llx and %llx", writer->message,
                          writer->version + 0ull, version + 0ull);
    } else {
        writer->version = TF_MAX(writer->version, version);
    }
}

/* A value was seen in answer to a request that began at op->start. */
static void see_value(struct tf_sim_coap_oracle *oracle, const struct tf_sim_coap_op *op,
                      const struct tf_sim_coap_answer *answer, tf_time now)
{
    struct tf_sim_coap_op *writer = writer_of(oracle, answer->message);
    if (answer->strange || !writer) {
        tf_sim_coap_wrong(oracle, "client %u got a body that nobody wrote", op->client);
        return;
    }
    if (writer->address != op->address) {
        tf_sim_coap_wrong(oracle, "client %u asked for %s and got m%u, which is of %s", op->client,
                          tf_sim_topics[op->address], answer->message,
                          tf_sim_topics[writer->address]);
        return;
    }
    if (writer->refused) {
        tf_sim_coap_wrong(oracle, "client %u got m%u, which was refused", op->client,
                          answer->message);
        return;
    }
    if (!op->crossed) {
        writer->seen = TF_MIN(writer->seen, now);
        writer->shaky = false;
    }
    if (is_loose(op)) {
        return;
    }
    bind_version(oracle, writer, answer->version);
    if (answer->version < op->floor) {
        tf_sim_coap_wrong(oracle, "client %u got m%u, older than what had been seen before it",
                          op->client, answer->message);
    }
    tf_time latest = tf_sim_coap_latest(writer);
    for (uint32_t i = 0; i < oracle->count; i++) {
        const struct tf_sim_coap_op *x = &oracle->ops[i];
        if (x != writer && x->address == op->address && tf_sim_coap_changes(x) && !x->ephemeral &&
            x->start > latest && tf_sim_coap_known(x) < op->start) {
            tf_sim_coap_wrong(oracle,
                              "client %u got m%u, which operation %u of client %u had replaced",
                              op->client, answer->message, i, x->client);
        }
    }
    if (!op->crossed) {
        oracle->floor[op->address] = TF_MAX(oracle->floor[op->address], answer->version);
    }
    oracle->top[op->address] = TF_MAX(oracle->top[op->address], answer->version);
}

static void see_absence(struct tf_sim_coap_oracle *oracle, uint32_t number, tf_time now)
{
    const struct tf_sim_coap_op *op = &oracle->ops[number];
    if (!is_loose(op) && !absence_possible(oracle, number, op->address, op->start, now)) {
        tf_sim_coap_wrong(oracle, "client %u was told that %s has no value, and it has", op->client,
                          tf_sim_topics[op->address]);
    }
}

static void read_answered(struct tf_sim_coap_oracle *oracle, uint32_t number,
                          const struct tf_sim_coap_answer *answer, tf_time now)
{
    struct tf_sim_coap_op *op = &oracle->ops[number];
    struct tf_sim_coap_final *final = &oracle->final[op->address];
    if (answer->code == TF_COAP_CONTENT || answer->code == TF_COAP_VALID) {
        see_value(oracle, op, answer, now);
    } else if (answer->code == TF_COAP_NOT_FOUND) {
        see_absence(oracle, number, now);
    } else {
        return;
    }
    *final = (struct tf_sim_coap_final){true, answer->code, answer->version};
}

static bool serial_after(uint32_t a, uint32_t b)
{
    return a != b && ((a - b) & 0xFFFFFF) < 0x800000; /* RFC 7641 3.4 */
}

/* True if somebody can have cleared the address after that. */
static bool cleared_since(const struct tf_sim_coap_oracle *oracle, unsigned address, tf_time since)
{
    for (uint32_t i = 0; i < oracle->count; i++) {
        const struct tf_sim_coap_op *op = &oracle->ops[i];
        if (op->address == address && op->kind == TF_SIM_COAP_CLEAR && !op->refused &&
            tf_sim_coap_latest(op) >= since) {
            return true;
        }
    }
    return false;
}

static void observed(struct tf_sim_coap_oracle *oracle, uint32_t number,
                     const struct tf_sim_coap_answer *answer, tf_time now)
{
    struct tf_sim_coap_op *op = &oracle->ops[number];
    if (answer->code == TF_COAP_NOT_FOUND) {
        if (op->told) { /* then there was a value, and it must have been cleared since */
            const struct tf_sim_coap_op *writer = writer_of(oracle, op->told_message);
            tf_time since = answer->separate || !writer ? op->start : writer->start;
            bool early = answer->separate &&
                         absence_possible(oracle, number, op->address, op->start, op->start);
            bool undone = op->crossed && (!writer || writer->shaky);
            if (!early && !undone && !is_loose(op) && !cleared_since(oracle, op->address, since)) {
                tf_sim_coap_wrong(oracle, "client %u was told that %s is gone: nobody cleared it",
                                  op->client, tf_sim_topics[op->address]);
            }
            return;
        }
        see_absence(oracle, number, now);
        return;
    }
    if (answer->code != TF_COAP_CONTENT && answer->code != TF_COAP_VALID) {
        return;
    }
    /* the next broker's numbers begin anew, and those of the former may still be on their way */
    bool anew = op->crashed_at && answer->begun <= op->crashed_at + REORDER;
    const struct tf_sim_coap_op *last = op->told ? writer_of(oracle, op->told_message) : NULL;
    bool undone = op->crossed && last && last->shaky;
    if (op->told && !op->told_newer && !anew && !undone && !is_loose(op) &&
        answer->version < op->told_version) {
        tf_sim_coap_wrong(oracle, "client %u, who observes %s, went back from %llx to %llx",
                          op->client, tf_sim_topics[op->address], op->told_version + 0ull,
                          answer->version + 0ull);
    }
    bool fresh = answer->begun - op->told_at <= REORDER; /* later any number is a newer one */
    if (op->told && answer->notification && answer->sequence != op->sequence && fresh && !anew &&
        !serial_after(answer->sequence, op->sequence)) {
        tf_sim_coap_wrong(oracle, "client %u, who observes %s, got number %u after %u", op->client,
                          tf_sim_topics[op->address], answer->sequence, op->sequence);
    }
    struct tf_sim_coap_op bounds = *op;
    if (op->told) {
        bounds.start = 0; /* what is told later may have waited: it need not be the newest */
        bounds.floor = 0;
    }
    see_value(oracle, &bounds, answer, now);
    op->told = true;
    op->told_newer = answer->newer;
    op->told_version = answer->version;
    op->told_message = answer->message;
    op->sequence = answer->notification ? answer->sequence : op->sequence;
    op->told_at = answer->begun;
}

/* A condition failed: somebody must have had a hand in that. */
static void condition_failed(struct tf_sim_coap_oracle *oracle, uint32_t number, tf_time now)
{
    struct tf_sim_coap_op *op = &oracle->ops[number];
    if (op->paths > 1) {
        return; /* its own first execution may have been it */
    }
    if (op->condition == TF_SIM_COAP_ABSENT) {
        if (!presence_possible(oracle, number, op->address, now)) {
            tf_sim_coap_wrong(oracle, "4.12 for m%u, though there was no value", op->message);
        }
        return;
    }
    if (op->condition != TF_SIM_COAP_MATCH) {
        tf_sim_coap_wrong(oracle, "4.12 for m%u, which has no condition", op->message);
        return;
    }
    const struct tf_sim_coap_op *writer = version_of(oracle, op->address, op->match);
    if (!writer || writer->shaky) {
        return; /* written twice, and known under the other version; or undone by a crash */
    }
    for (uint32_t i = 0; i < oracle->count; i++) {
        const struct tf_sim_coap_op *x = &oracle->ops[i];
        if (i != number && x->address == op->address && tf_sim_coap_changes(x) && !x->refused &&
            (x != writer || x->paths > 1) && x->start <= now &&
            (x->version == 0 || x->version > op->match) && tf_sim_coap_latest(x) >= writer->start) {
            return;
        }
    }
    tf_sim_coap_wrong(oracle, "4.12 for m%u, though nobody else wrote to %s", op->message,
                      tf_sim_topics[op->address]);
}

static void write_answered(struct tf_sim_coap_oracle *oracle, uint32_t number,
                           const struct tf_sim_coap_answer *answer, tf_time now)
{
    struct tf_sim_coap_op *op = &oracle->ops[number];
    if (is_loose(op)) {
        return;
    }
    switch (answer->code) {
    case 0: /* of MQTT: no more is known */
        return;
    case TF_COAP_PRECONDITION_FAILED:
        condition_failed(oracle, number, now);
        return;
    case TF_COAP_CREATED:
        if (!absence_possible(oracle, number, op->address, op->start, now)) {
            tf_sim_coap_wrong(oracle, "2.01 for m%u, though %s had a value", op->message,
                              tf_sim_topics[op->address]);
        }
        break;
    case TF_COAP_CHANGED:
        if (op->condition == TF_SIM_COAP_ABSENT && op->paths < 2) {
            tf_sim_coap_wrong(oracle, "2.04 for m%u, which was to be the first", op->message);
        }
        if (!presence_possible(oracle, number, op->address, now)) {
            tf_sim_coap_wrong(oracle, "2.04 for m%u, though %s had no value", op->message,
                              tf_sim_topics[op->address]);
        }
        break;
    default:
        return;
    }
    bind_version(oracle, op, answer->version);
    if (answer->version <= op->top) {
        tf_sim_coap_wrong(oracle, "m%u got version %llx, not above what had been seen before it",
                          op->message, answer->version + 0ull);
    }
    if (op->done) {
        oracle->floor[op->address] = TF_MAX(oracle->floor[op->address], answer->version);
    }
    oracle->top[op->address] = TF_MAX(oracle->top[op->address], answer->version);
}

/* ---- what happens ---- */

uint32_t tf_sim_coap_begin(struct tf_sim_coap_oracle *oracle, const struct tf_sim_coap_op *op,
                           tf_time now)
{
    if (oracle->count == TF_SIM_COAP_OPS) {
        return TF_SIM_NONE;
    }
    struct tf_sim_coap_op *record = &oracle->ops[oracle->count];
    *record = *op;
    record->open = true;
    record->paths = 1;
    record->start = now;
    record->end = record->seen = TF_TIME_NEVER;
    record->floor = oracle->floor[op->address];
    record->top = oracle->top[op->address];
    if (op->kind == TF_SIM_COAP_WRITE && op->message < TF_SIM_MESSAGES) {
        oracle->by_message[op->message] = oracle->count + 1;
    }
    return oracle->count++;
}

void tf_sim_coap_answered(struct tf_sim_coap_oracle *oracle, uint32_t number,
                          const struct tf_sim_coap_answer *answer, tf_time now)
{
    struct tf_sim_coap_op *op = &oracle->ops[number];
    uint8_t code = answer->code;
    if (!op->open) {
        tf_sim_coap_wrong(oracle, "client %u got a second answer to operation %u", op->client,
                          number);
        return;
    }
    if (op->kind != TF_SIM_COAP_OBSERVE || answer->last) {
        op->open = false;
        op->end = now;
        op->code = code;
        op->done = tf_sim_coap_changes(op) && code >> 5 <= 2 && (op->confirmable || !op->crossed);
        op->refused = tf_sim_coap_changes(op) && code >> 5 > 2 && op->paths < 2;
    }
    bool usual = code == 0 || code >> 5 == 2 || code == TF_COAP_UNAVAILABLE ||
                 (code == TF_COAP_NOT_FOUND && op->kind != TF_SIM_COAP_WRITE) ||
                 (code == TF_COAP_PRECONDITION_FAILED && op->condition) ||
                 code == TF_COAP_INCOMPLETE ||
                 (code == TF_COAP_NOT_ACCEPTABLE && op->kind == TF_SIM_COAP_OBSERVE) ||
                 (code == TF_COAP_CONFLICT && op->kind == TF_SIM_COAP_APPEND);
    if (!usual) {
        tf_sim_coap_wrong(oracle, "client %u got %u.%02u to operation %u", op->client, code >> 5,
                          code & 31, number);
    } else if (op->kind == TF_SIM_COAP_READ) {
        read_answered(oracle, number, answer, now);
    } else if (op->kind == TF_SIM_COAP_OBSERVE) {
        observed(oracle, number, answer, now);
    } else if (op->kind == TF_SIM_COAP_WRITE) {
        write_answered(oracle, number, answer, now);
    }
}

void tf_sim_coap_lost(struct tf_sim_coap_oracle *oracle, uint32_t number, tf_time now)
{
    oracle->ops[number].open = false;
    oracle->ops[number].end = now;
}

void tf_sim_coap_moved(struct tf_sim_coap_oracle *oracle, unsigned client)
{
    for (uint32_t i = 0; i < oracle->count; i++) {
        oracle->ops[i].paths += oracle->ops[i].client == client && oracle->ops[i].open;
    }
}

/* What a crash may undo: what was not confirmed, and what need not be on disk to be so. */
static bool may_be_undone(const struct tf_sim_coap_op *op, tf_time since)
{
    bool safe = op->confirmable &&
                (op->done || (op->seen != TF_TIME_NEVER && op->seen + RECORDED <= since));
    return tf_sim_coap_changes(op) && !op->ephemeral && !op->refused && !safe;
}

void tf_sim_coap_crashed(struct tf_sim_coap_oracle *oracle, tf_time since, tf_time now)
{
    uint64_t floors[TF_SIM_COAP_ADDRESSES] = {0};
    for (uint32_t i = 0; i < oracle->count; i++) {
        struct tf_sim_coap_op *op = &oracle->ops[i];
        op->paths += op->open;
        op->crossed |= op->open;
        if (op->open && op->kind == TF_SIM_COAP_OBSERVE) {
            op->crashed_at = now;
        }
        if (may_be_undone(op, since)) {
            op->shaky = true;
            op->done = false;
            op->seen = TF_TIME_NEVER;
        } else if (op->kind == TF_SIM_COAP_WRITE) {
            floors[op->address] = TF_MAX(floors[op->address], op->version);
        }
    }
    for (unsigned i = 0; i < TF_SIM_COAP_ADDRESSES; i++) {
        oracle->floor[i] = TF_MIN(oracle->floor[i], floors[i]);
    }
    for (uint32_t i = 0; i < oracle->count; i++) {
        struct tf_sim_coap_op *op = &oracle->ops[i];
        op->floor = op->open ? TF_MIN(op->floor, oracle->floor[op->address]) : op->floor;
    }
}

void tf_sim_coap_delivered(struct tf_sim_coap_oracle *oracle, uint32_t message, unsigned address,
                           bool again)
{
    if (message == TF_SIM_NONE) {
        oracle->emptied[address] += !again;
        oracle->emptied_again[address] += again;
        return;
    }
    struct tf_sim_coap_op *writer = writer_of(oracle, message);
    if (!writer || writer->address != address) {
        tf_sim_coap_wrong(oracle, "the subscriber got m%u by %s, where nobody wrote it", message,
                          tf_sim_topics[address]);
    } else if (again && writer->delivered) {
        return;
    } else if (++writer->delivered > writer->paths) {
        tf_sim_coap_wrong(oracle, "m%u was published %u times", message, writer->delivered);
    }
}

void tf_sim_coap_log_read(struct tf_sim_coap_oracle *oracle, uint32_t number,
                          const uint32_t *entries, size_t count, tf_time now)
{
    const struct tf_sim_coap_op *read = &oracle->ops[number];
    unsigned found[TF_SIM_COAP_OPS] = {0};
    for (size_t i = 0; i < count; i++) {
        struct tf_sim_coap_op *op = entries[i] < oracle->count ? &oracle->ops[entries[i]] : NULL;
        if (!op || op->kind != TF_SIM_COAP_APPEND || op->refused) {
            tf_sim_coap_wrong(oracle, "the log has entry %u, which nobody made", entries[i]);
            return;
        }
        if (++found[entries[i]] > op->paths) {
            tf_sim_coap_wrong(oracle, "the log has entry %u %u times", entries[i],
                              found[entries[i]]);
        }
        if (!read->crossed) {
            op->seen = TF_MIN(op->seen, now);
        }
    }
    for (uint32_t i = 0; i < oracle->count; i++) {
        const struct tf_sim_coap_op *op = &oracle->ops[i];
        if (op->kind == TF_SIM_COAP_APPEND && tf_sim_coap_known(op) < read->start && !found[i]) {
            tf_sim_coap_wrong(oracle, "the log has lost entry %u", i);
        }
    }
}
