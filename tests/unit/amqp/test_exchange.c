/*
 * Client and server against each other with random frame sizes, windows, buffers, credit, lengths,
 * settlement and delays. Every message arrives once, whole and in the order of its link; each
 * unsettled one gets the outcome that was said of it, once; bodies are returned once and are freed
 * then; in the end nothing is left. More than the credit or the window would end link or session.
 */
#include "rig.h"

#include <stdlib.h>
#include <string.h>

#include "amqp/connection.h"
#include "base/random.h"
#include "base/util.h"

enum { LINKS = 4, MESSAGES = 24, LONGEST = 9000 };

struct message {
    uint8_t *body; /* until it is returned */
    struct tf_bytes pieces[3];
    size_t length;
    uint64_t sent, arrived; /* numbers on either side */
    bool settled;           /* by the sender, from the start */
    bool borrowed, returned;
    bool waiting;   /* arrived, not disposed of */
    bool disposed;  /* the receiver has said its word */
    bool to_settle; /* the sender has heard it, and has to settle */
    bool final;     /* the sender knows, or has settled */
    bool forgotten; /* the receiver has settled, or knows */
    uint8_t word;   /* enum tf_amqp_state_type that was said */
};

/* One link, whichever way: the sending end's, and the receiving end's. */
struct line {
    struct rig_end *from, *to;
    struct message messages[MESSAGES];
    unsigned next;    /* to be sent */
    unsigned arrived; /* complete ones */
    size_t got;       /* bytes of the one that comes */
    bool second;      /* rcv-settle-mode */
};

struct world {
    struct rig rig;
    struct line lines[LINKS];
    uint64_t seed;
    bool over;
};

static uint32_t roll(struct world *world, uint32_t below)
{
    return (uint32_t)(tf_random_split(&world->seed) % below);
}

static uint8_t byte_of(unsigned line, unsigned number, size_t at)
{
    return (uint8_t)(line * 31 + number * 7 + at + at / 255);
}

static struct line *line_of(struct world *world, const struct rig_end *end,
                            const struct tf_amqp_link *link)
{
    return &world->lines[rig_index(end, link)];
}

static void on_transfer(struct world *world, struct line *line, const struct tf_amqp_event *event)
{
    unsigned index = (unsigned)(line - world->lines);
    struct message *message = &line->messages[line->arrived];

    assert_true(line->arrived < line->next);
    assert_int_equal(event->first, line->got == 0 && event->first);
    if (event->first)
        line->got = 0;
    for (size_t i = 0; i < event->payload.length; i++) {
        if (event->payload.data[i] != byte_of(index, line->arrived, line->got + i))
            fail_msg("link %u, message %u: wrong from byte %zu", index, line->arrived,
                     line->got + i);
    }
    line->got += event->payload.length;
    assert_false(event->aborted);
    if (event->more)
        return;
    assert_int_equal(line->got, message->length);
    if (event->settled != message->settled)
        assert_true(event->settled && message->final); /* settled by the sender on its way */
    message->arrived = event->delivery;
    message->waiting = !event->settled;
    message->forgotten = event->settled;
    message->final = message->final || event->settled;
    line->arrived++;
    line->got = 0;
}

static void on_outcome(struct line *line, const struct tf_amqp_event *event)
{
    struct message *message = &line->messages[event->handle];

    assert_int_equal(event->delivery, message->sent);
    assert_true(message->disposed && !message->final);
    assert_int_equal(event->state.type, message->word);
    message->final = event->settled;
    message->to_settle = !event->settled;
}

static void on_settled(struct line *line, const struct tf_amqp_event *event)
{
    for (unsigned i = 0; i < line->arrived; i++) {
        struct message *message = &line->messages[i];
        if (message->arrived != event->delivery)
            continue;
        assert_true(!message->forgotten && message->final);
        message->forgotten = true;
        message->waiting = false;
        return;
    }
    fail_msg("settled, what never was");
}

static void on_returned(struct world *world, uint64_t owner)
{
    struct message *message = &world->lines[owner >> 32].messages[(uint32_t)owner - 1];

    assert_true(message->borrowed && !message->returned);
    message->returned = true;
    free(message->body);
    message->body = NULL;
}

static bool on_event(struct rig *rig, struct rig_end *end, const struct tf_amqp_event *event)
{
    struct world *world = rig->user;

    switch (event->type) {
    case TF_AMQP_TRANSFER:
        on_transfer(world, line_of(world, end, event->link), event);
        break;
    case TF_AMQP_OUTCOME:
        on_outcome(line_of(world, end, event->link), event);
        break;
    case TF_AMQP_SETTLED:
        on_settled(line_of(world, end, event->link), event);
        break;
    case TF_AMQP_RETURNED:
        on_returned(world, event->owner);
        break;
    case TF_AMQP_FLOW:
    case TF_AMQP_NEEDS:
        break;
    case TF_AMQP_CLOSED: /* when the machines are abandoned */
        assert_true(world->over);
        break;
    default:
        fail_msg("event %d of seed, error %d", (int)event->type, (int)event->error.condition);
    }
    return false;
}

/* A message of some length in three pieces, in memory of its own. */
static void write_message(struct world *world, struct line *line, struct message *message)
{
    unsigned index = (unsigned)(line - world->lines), number = line->next;
    size_t cut;

    message->length = 1 + roll(world, roll(world, 4) ? 300 : LONGEST);
    message->settled = roll(world, 4) == 0;
    message->body = malloc(message->length);
    assert_non_null(message->body);
    for (size_t i = 0; i < message->length; i++)
        message->body[i] = byte_of(index, number, i);
    cut = roll(world, (uint32_t)message->length);
    message->pieces[0] = tf_bytes_of(message->body, cut);
    message->pieces[1] = tf_bytes_of(NULL, 0);
    message->pieces[2] = tf_bytes_of(message->body + cut, message->length - cut);
}

static void send_next(struct world *world, unsigned index)
{
    struct line *line = &world->lines[index];
    struct message *message = &line->messages[line->next];
    struct tf_amqp_sending sending = {.handle = line->next,
                                      .tag = tf_bytes_of(&line->next, sizeof(line->next)),
                                      .body = message->pieces,
                                      .body_count = 3,
                                      .owner = (uint64_t)index << 32 | (line->next + 1)};
    enum tf_err err;

    if (line->next == MESSAGES)
        return;
    if (!message->body)
        write_message(world, line, message);
    sending.settled = message->settled;
    if (message->length < 300 && line->next % 2)
        sending.owner = 0;
    if (message->pieces[0].length <= 256 && line->next % 3 == 0) {
        sending.head = message->pieces[0];
        sending.body++;
        sending.body_count--;
    }
    err = tf_amqp_send(line->from->links[index], &sending, &message->borrowed, &message->sent);
    if (err) {
        assert_int_equal(err, TF_AGAIN);
        return;
    }
    line->next++;
    if (!message->borrowed) {
        free(message->body);
        message->body = NULL;
    }
}

/* The receiver's word on something that has arrived. */
static void dispose_some(struct world *world, struct line *line)
{
    static const uint8_t words[] = {TF_AMQP_STATE_ACCEPTED, TF_AMQP_STATE_ACCEPTED,
                                    TF_AMQP_STATE_RELEASED, TF_AMQP_STATE_REJECTED,
                                    TF_AMQP_STATE_MODIFIED};
    struct message *message;
    struct tf_amqp_state state = {.type = TF_AMQP_STATE_NONE};
    bool settled;

    if (line->arrived == 0)
        return;
    message = &line->messages[roll(world, line->arrived)];
    if (!message->waiting)
        return;
    message->waiting = false;
    message->disposed = true;
    message->word = words[roll(world, TF_COUNT(words))];
    state.type = (enum tf_amqp_state_type)message->word;
    if (state.type == TF_AMQP_STATE_REJECTED)
        state.error = tf_amqp_error_of(TF_AMQP_NOT_ALLOWED, roll(world, 2) ? "text" : "");
    settled = !line->second || roll(world, 4) == 0;
    assert_int_equal(tf_amqp_dispose(line->to->connection, message->arrived, &state, settled),
                     TF_OK);
    message->forgotten = settled;
}

/* The sender settles what it has heard of, or perhaps what it has not. */
static void settle_some(struct world *world, struct line *line, bool early)
{
    struct message *message;

    if (line->next == 0)
        return;
    message = &line->messages[roll(world, line->next)];
    if (message->settled || message->final || !(message->to_settle || early))
        return;
    assert_int_equal(tf_amqp_settle(line->from->connection, message->sent, NULL), TF_OK);
    message->final = true;
    message->to_settle = false;
}

static void step(struct world *world)
{
    struct rig *rig = &world->rig;
    unsigned index = roll(world, LINKS);
    struct line *line = &world->lines[index];
    struct rig_end *end = roll(world, 2) ? &rig->client : &rig->server;

    end->ignore_needs = roll(world, 5) == 0;
    switch (roll(world, 12)) {
    case 0:
    case 1:
    case 2:
        send_next(world, index);
        break;
    case 3:
        tf_amqp_link_credit(line->to->links[index], roll(world, 5), false);
        break;
    case 4:
        tf_amqp_session_window(end->session, roll(world, end->config.incoming_window + 1));
        break;
    case 5:
    case 6:
        dispose_some(world, line);
        break;
    case 7:
        settle_some(world, line, roll(world, 40) == 0);
        break;
    case 8:
    case 9:
        rig_flush(rig, end);
        break;
    default:
        rig_take(rig, end);
    }
    assert_true(tf_amqp_check(rig->client.connection) && tf_amqp_check(rig->server.connection));
}

static bool all_done(const struct world *world)
{
    for (unsigned l = 0; l < LINKS; l++) {
        for (unsigned m = 0; m < MESSAGES; m++) {
            const struct message *message = &world->lines[l].messages[m];
            if (m >= world->lines[l].arrived || !message->final || !message->forgotten ||
                message->borrowed != message->returned)
                return false;
        }
    }
    return true;
}

/* With all the credit and window that there can be everything comes to its end. */
static void finish(struct world *world)
{
    struct rig *rig = &world->rig;

    rig->client.ignore_needs = rig->server.ignore_needs = false;
    for (unsigned round = 0; round < 3000 && !all_done(world); round++) {
        unsigned index = round % LINKS;
        struct line *line = &world->lines[index];
        tf_amqp_session_window(rig->client.session, UINT32_MAX);
        tf_amqp_session_window(rig->server.session, UINT32_MAX);
        tf_amqp_link_credit(line->to->links[index], 10, false);
        send_next(world, index);
        for (unsigned i = 0; i < 10; i++) {
            dispose_some(world, line);
            settle_some(world, line, false);
        }
        rig_run(rig);
    }
    assert_true(all_done(world));
    for (unsigned role = 0; role < 2; role++) {
        assert_int_equal(rig->client.session->deliveries.tables[role].live, 0);
        assert_int_equal(rig->server.session->deliveries.tables[role].live, 0);
    }
    rig_expect_idle(&rig->client);
    rig_expect_idle(&rig->server);
    world->over = true;
}

static struct tf_amqp_config any_config(struct world *world)
{
    static const uint32_t references[] = {0, 1, 64, 500};
    struct tf_amqp_config config = rig_config();

    config.max_frame_size = 512 + roll(world, roll(world, 2) ? 100 : 8000);
    config.incoming_window = 1 + roll(world, 30);
    config.max_unsettled = 1 + roll(world, 60);
    config.reference_from = references[roll(world, TF_COUNT(references))];
    return config;
}

static void run(uint64_t seed)
{
    struct world *world = calloc(1, sizeof(*world));

    assert_non_null(world);
    world->seed = seed * UINT64_C(0x9e3779b97f4a7c15);
    world->rig.seed = seed;
    world->rig.user = world;
    world->rig.client.config = any_config(world);
    world->rig.server.config = any_config(world);
    rig_join(&world->rig, (enum rig_way)(seed % 3), 1024 + roll(world, 4000));
    for (unsigned i = 0; i < LINKS; i++) {
        struct line *line = &world->lines[i];
        bool from_a = i < LINKS / 2;
        line->from = from_a ? &world->rig.client : &world->rig.server;
        line->to = from_a ? &world->rig.server : &world->rig.client;
        line->second = i % 2 == 1;
        rig_line(&world->rig, from_a ? TF_AMQP_SENDER : TF_AMQP_RECEIVER,
                 line->second ? TF_AMQP_RCV_SECOND : TF_AMQP_RCV_FIRST);
    }
    world->rig.client.on_event = world->rig.server.on_event = on_event;
    if (roll(world, 2)) { /* pass 2^32 */
        world->rig.client.session->deliveries.next_outgoing = UINT32_MAX - roll(world, 40);
        world->rig.server.session->deliveries.next_outgoing = UINT32_MAX - roll(world, 40);
    }
    for (unsigned i = 0; i < 1500; i++)
        step(world);
    finish(world);
    rig_release(&world->rig);
    free(world);
}

static void random_exchanges(void **state)
{
    const char *one = getenv("TF_SEED");

    (void)state;
    if (one) {
        run(strtoull(one, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= 120; seed++)
        run(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_exchanges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
