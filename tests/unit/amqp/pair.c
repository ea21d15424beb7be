/*
 * Two machines that talk; see pair.h.
 */
#include "pair.h"

#include "base/random.h"

enum { WIRE = 1 << 21 };

static struct side *other(struct pair *pair, struct side *side)
{
    return side == &pair->a ? &pair->b : &pair->a;
}

struct tf_amqp_config pair_config(void)
{
    return (struct tf_amqp_config){.max_frame_size = 4096,
                                   .channel_max = 7,
                                   .handle_max = 63,
                                   .max_links = 100,
                                   .max_unsettled = 1000,
                                   .incoming_window = 1000};
}

unsigned pair_index(const struct side *side, const struct tf_amqp_link *link)
{
    for (unsigned i = 0; i < side->link_count; i++) {
        if (side->links[i] == link)
            return i;
    }
    fail_msg("an event of an unknown link");
    return 0;
}

static void *block(size_t size)
{
    void *memory = malloc(size);

    assert_non_null(memory);
    return memset(memory, 0xa5, size);
}

static void give(struct side *side, const struct tf_amqp_event *event)
{
    void *old = NULL;

    side->needs++;
    if (side->refuse_needs)
        return;
    assert_int_equal(tf_amqp_give(side->machine, event->session, event->part, block(event->size),
                                  event->size, &old),
                     TF_OK);
    free(old);
}

static void free_links(struct side *side)
{
    for (unsigned i = 0; i < side->link_count; i++) {
        free(side->links[i]);
        side->links[i] = NULL;
    }
}

static void free_session(struct side *side)
{
    void *memory;

    if (!side->session)
        return;
    free_links(side);
    while ((memory = tf_amqp_session_reclaim(side->session)) != NULL)
        free(memory);
    free(side->session);
    side->session = NULL;
}

static void accept_link(struct side *side, const struct tf_amqp_event *event)
{
    size_t size = tf_amqp_link_size(&side->config);
    struct tf_amqp_attach reply = event->attach;
    struct tf_amqp_link *link;

    reply.unsettled = (struct tf_bytes){0};
    assert_int_equal(tf_amqp_link_accept(event->session, block(size), size, NULL, &link), TF_OK);
    assert_int_equal(tf_amqp_link_attach_reply(link, &reply), TF_OK);
    side->links[side->link_count++] = link;
}

static void on_detached(struct side *side, const struct tf_amqp_event *event)
{
    side->detached++;
    side->error = event->error;
    if (!event->gone) {
        tf_amqp_link_detach(event->link, event->closed, NULL);
        return;
    }
    side->links[pair_index(side, event->link)] = NULL;
    free(event->link);
}

static void answer(struct pair *pair, struct side *side, const struct tf_amqp_event *event)
{
    const struct tf_amqp_open open = {.container_id = tf_bytes_str("b")};
    size_t size = tf_amqp_session_size(&side->config);

    switch (event->type) {
    case TF_AMQP_OPENED:
        if (side == &pair->b)
            assert_int_equal(tf_amqp_open(side->machine, &open), TF_OK);
        break;
    case TF_AMQP_BEGIN:
        assert_int_equal(
            tf_amqp_session_accept(side->machine, block(size), size, NULL, &side->session), TF_OK);
        break;
    case TF_AMQP_ATTACH:
        accept_link(side, event);
        break;
    case TF_AMQP_NEEDS:
        give(side, event);
        break;
    case TF_AMQP_BEGUN:
    case TF_AMQP_ATTACHED:
        break;
    case TF_AMQP_CLOSED:
        side->closed++;
        break;
    case TF_AMQP_ENDED:
        if (side->on_event)
            side->on_event(pair, side, event);
        side->ended++;
        side->error = event->error;
        free_session(side);
        break;
    case TF_AMQP_DETACHED:
        if (side->on_event)
            side->on_event(pair, side, event);
        on_detached(side, event);
        break;
    default:
        if (side->on_event)
            side->on_event(pair, side, event);
    }
}

static bool tell(struct pair *pair, struct side *side)
{
    struct tf_amqp_event event;
    bool any = false;

    while (tf_amqp_event(side->machine, &event)) {
        any = true;
        answer(pair, side, &event);
        assert_true(tf_amqp_check(side->machine));
    }
    return any;
}

static size_t some(struct pair *pair, size_t most)
{
    return pair->split == PAIR_WHOLE   ? most
           : pair->split == PAIR_BYTES ? 1
                                       : 1 + tf_random_split(&pair->seed) % most;
}

void pair_flush(struct pair *pair, struct side *side)
{
    struct side *to = other(pair, side);
    struct tf_bytes spans[4];
    size_t count = tf_amqp_output(side->machine, spans, 4), sum = 0;

    for (size_t i = 0; i < count; i++) {
        size_t step = spans[i].length;
        if (step > WIRE - to->wire_length)
            step = WIRE - to->wire_length;
        if (pair->split != PAIR_WHOLE && step > 0)
            step = 1 + tf_random_split(&pair->seed) % step;
        memcpy(to->wire + to->wire_length, spans[i].data, step);
        to->wire_length += step;
        sum += step;
        if (step < spans[i].length)
            break;
    }
    tf_amqp_sent(side->machine, sum, pair->now);
    assert_true(tf_amqp_check(side->machine));
}

bool pair_take(struct pair *pair, struct side *side)
{
    bool any = tell(pair, side);

    while (side->wire_length > 0) {
        size_t used = 0, need = 0;
        enum tf_err err;
        if (side->wire_seen == 0)
            side->wire_seen = some(pair, side->wire_length);
        err = tf_amqp_input(side->machine, tf_bytes_of(side->wire, side->wire_seen), &used, &need,
                            pair->now);
        if (err == TF_MORE && side->wire_seen < side->wire_length) {
            side->wire_seen += some(pair, side->wire_length - side->wire_seen);
            continue;
        }
        assert_true(tf_amqp_check(side->machine));
        if (err == TF_CLOSED || err == TF_PROTOCOL)
            used = side->wire_length;
        any = tell(pair, side) || used > 0 || any;
        memmove(side->wire, side->wire + used, side->wire_length - used);
        side->wire_length -= used;
        side->wire_seen -= used < side->wire_seen ? used : side->wire_seen;
        if (used == 0)
            break;
    }
    return any;
}

void pair_run(struct pair *pair)
{
    for (;;) {
        size_t moved = pair->a.wire_length + pair->b.wire_length;
        bool any;
        pair_flush(pair, &pair->a);
        pair_flush(pair, &pair->b);
        any = pair->a.wire_length + pair->b.wire_length != moved;
        any = pair_take(pair, &pair->a) || any;
        any = pair_take(pair, &pair->b) || any;
        if (!any)
            return;
    }
}

static void start(struct pair *pair, struct side *side, enum tf_amqp_end end, size_t buffer_size)
{
    static const struct tf_amqp_open open = {.container_id = {(const uint8_t *)"a", 1}};

    if (side->config.max_frame_size == 0)
        side->config = pair_config();
    side->config.end = end;
    side->buffer = malloc(buffer_size);
    side->buffer_size = buffer_size;
    side->wire = malloc(WIRE);
    assert_true(side->buffer && side->wire);
    assert_int_equal(tf_amqp_init(&side->machine, block(tf_amqp_size(&side->config)),
                                  tf_amqp_size(&side->config), &side->config,
                                  end == TF_AMQP_CLIENT ? &open : NULL, pair->now),
                     TF_OK);
    assert_int_equal(tf_amqp_lend(side->machine, side->buffer, buffer_size), TF_OK);
}

void pair_open(struct pair *pair, enum pair_split split, size_t buffer_size)
{
    size_t size;
    void *memory;

    pair->split = split;
    start(pair, &pair->a, TF_AMQP_CLIENT, buffer_size);
    start(pair, &pair->b, TF_AMQP_SERVER, buffer_size);
    pair_run(pair);
    size = tf_amqp_session_size(&pair->a.config);
    memory = block(size);
    while (tf_amqp_session_begin(pair->a.machine, memory, size, NULL, &pair->a.session) == TF_AGAIN)
        pair_run(pair);
    pair_run(pair);
    assert_non_null(pair->b.session);
}

unsigned pair_attach(struct pair *pair, enum tf_amqp_role role, enum tf_amqp_rcv_settle_mode mode)
{
    struct side *side = &pair->a;
    size_t size = tf_amqp_link_size(&side->config);
    char name[3] = {'l', (char)('0' + side->link_count), 0};
    struct tf_amqp_attach attach = {.name = tf_bytes_str(name),
                                    .role = role,
                                    .snd_settle_mode = TF_AMQP_SND_MIXED,
                                    .rcv_settle_mode = mode,
                                    .source = {.type = TF_AMQP_SOURCE},
                                    .target = {.type = TF_AMQP_TARGET}};
    void *memory = block(size);
    struct tf_amqp_link *link;

    while (tf_amqp_link_attach(side->session, memory, size, NULL, &attach, &link))
        pair_run(pair);
    side->links[side->link_count++] = link;
    pair_run(pair);
    assert_int_equal(pair->b.link_count, side->link_count);
    return side->link_count - 1;
}

static void stop(struct side *side)
{
    void *memory;

    assert_true(tf_amqp_check(side->machine));
    free_session(side);
    while ((memory = tf_amqp_reclaim(side->machine)) != NULL)
        free(memory);
    free(side->machine);
    free(side->buffer);
    free(side->wire);
}

void pair_close(struct pair *pair)
{
    stop(&pair->a);
    stop(&pair->b);
    memset(pair, 0, sizeof(*pair));
}
