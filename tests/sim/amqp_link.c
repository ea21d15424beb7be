/*
 * Links of a client of AMQP: what they send, what comes, and how it is answered: accepted, or one
 * of the other outcomes, at once or late, out of order and many at a time.
 */
#include "sim/amqp.h"

#include "base/assert.h"

#include <stdlib.h>
#include <string.h>

static struct tf_sim_amqp_oracle *oracle_of(const struct tf_sim_amqp_client *client)
{
    return &client->sim->amqp->oracle;
}

/* ---- attach and detach ---- */

static void fill_address(struct tf_sim_amqp_link *link)
{
    const struct tf_sim_amqp_wish *wish = &link->wish;
    struct tf_sim *sim = link->client->sim;
    link->address[0] = 0;
    if (wish->management) {
        snprintf(link->address, sizeof(link->address), "$management");
    } else if (wish->place < TF_SIM_AMQP_PLACES) {
        const struct tf_sim_amqp_node *node = &tf_sim_amqp_nodes[wish->place];
        if (node->topic < 0 && tf_sim_chance(sim, 1, 3)) {
            snprintf(link->address, sizeof(link->address), "/queues/%s", node->name);
        } else {
            snprintf(link->address, sizeof(link->address), "%s", node->address);
        }
    } else if (wish->receive && wish->filter) {
        snprintf(link->address, sizeof(link->address), "topic://%s", wish->filter);
    } else if (wish->topic >= 0) {
        snprintf(link->address, sizeof(link->address), "topic://%s", tf_sim_topics[wish->topic]);
    }
}

static void fill_attach(const struct tf_sim_amqp_link *link, struct tf_amqp_attach *ret)
{
    const struct tf_sim_amqp_wish *wish = &link->wish;
    struct tf_amqp_terminus node = {.type = wish->receive ? TF_AMQP_SOURCE : TF_AMQP_TARGET,
                                    .has_address = link->address[0] != 0,
                                    .address = tf_bytes_str(link->address),
                                    .dynamic = wish->dynamic};
    *ret = (struct tf_amqp_attach){
        .name = tf_bytes_str(link->name),
        .role = wish->receive ? TF_AMQP_RECEIVER : TF_AMQP_SENDER,
        .snd_settle_mode = wish->settled ? TF_AMQP_SND_SETTLED : TF_AMQP_SND_MIXED,
        .rcv_settle_mode = wish->second ? TF_AMQP_RCV_SECOND : TF_AMQP_RCV_FIRST,
        .source = {.type = TF_AMQP_SOURCE},
        .target = {.type = TF_AMQP_TARGET}};
    if (wish->receive) {
        node.distribution = wish->browse ? TF_AMQP_DISTRIBUTION_COPY : TF_AMQP_DISTRIBUTION_NONE;
        ret->source = node;
    } else {
        ret->target = node;
    }
}

/* What the oracle has to know of a link that has been attached. */
static void enter(struct tf_sim_amqp_link *link)
{
    struct tf_sim_amqp_oracle *oracle = oracle_of(link->client);
    const struct tf_sim_amqp_wish *wish = &link->wish;
    struct tf_sim_amqp_receiver receiver = {.client = link->client->number,
                                            .place = wish->place,
                                            .filter = wish->filter,
                                            .browse = wish->browse,
                                            .settled = wish->settled};
    link->instance = TF_SIM_NONE;
    if (wish->dynamic || wish->management) {
        return;
    }
    if (wish->receive) {
        link->instance = tf_sim_amqp_receiver_new(oracle, &receiver);
    } else if (oracle->sender_count < TF_SIM_AMQP_INSTANCES) {
        link->instance = oracle->sender_count++;
    }
}

/* A link of this name, in a client of the same container, is stolen by this one. */
static void steal(struct tf_sim_amqp_link *link)
{
    struct tf_sim_amqp *amqp = link->client->sim->amqp;
    for (unsigned i = 0; i < amqp->client_count; i++) {
        struct tf_sim_amqp_client *other = &amqp->clients[i];
        for (unsigned j = 0; j < TF_SIM_AMQP_LINKS; j++) {
            struct tf_sim_amqp_link *old = &other->links[j];
            if (old != link && old->machine && !strcmp(old->name, link->name) &&
                !strcmp(other->container, link->client->container) && old->wish.receive &&
                old->instance != TF_SIM_NONE) {
                link->client->sim->seen[TF_SIM_AMQP_STOLEN]++;
                tf_sim_amqp_receiver_loosen(&amqp->oracle, old->instance);
                if (link->wish.receive && link->instance != TF_SIM_NONE) {
                    /* which of the two attaches arrives first nobody knows */
                    tf_sim_amqp_receiver_loosen(&amqp->oracle, link->instance);
                }
            }
        }
    }
}

static struct tf_sim_amqp_link *free_place(struct tf_sim_amqp_client *client)
{
    for (unsigned i = 0; i < TF_SIM_AMQP_LINKS; i++) {
        if (!client->links[i].machine) {
            return &client->links[i];
        }
    }
    return NULL;
}

struct tf_sim_amqp_link *tf_sim_amqp_link_attach(struct tf_sim_amqp_client *client,
                                                 unsigned session,
                                                 const struct tf_sim_amqp_wish *wish)
{
    struct tf_sim_amqp_link *link = free_place(client);
    struct tf_amqp_attach attach;
    enum tf_err err = TF_AGAIN;
    if (!link || !client->sessions[session] || client->ending[session] ||
        client->state == TF_SIM_AMQP_LEAVING) {
        return NULL;
    }
    *link = (struct tf_sim_amqp_link){.client = client, .session = session, .wish = *wish};
    snprintf(link->name, sizeof(link->name), "%c%u", wish->receive ? 'r' : 's',
             (unsigned)(link - client->links));
    fill_address(link);
    fill_attach(link, &attach);
    size_t size = tf_amqp_link_size(&client->config);
    void *memory = malloc(size);
    tf_assert(memory);
    for (unsigned i = 0; i < 2 && err == TF_AGAIN && client->sessions[session]; i++) {
        err = tf_amqp_link_attach(client->sessions[session], memory, size, link, &attach,
                                  &link->machine);
        if (err == TF_AGAIN) { /* it may want a table first */
            link->machine = NULL;
            tf_sim_amqp_client_pull(client);
        }
    }
    if (err) {
        link->machine = NULL;
        free(memory);
        return NULL;
    }
    enter(link);
    steal(link);
    tf_sim_trace(client->sim, "k%u attaches %s (%s%d) to %s%s%s%s", client->number, link->name,
                 wish->receive ? "receiver " : "sender ", (int)link->instance, link->address,
                 wish->browse ? " to browse" : "", wish->settled ? " settled" : "",
                 wish->second ? " second" : "");
    tf_sim_amqp_client_flush(client);
    return link;
}

void tf_sim_amqp_link_detach(struct tf_sim_amqp_link *link, bool closed)
{
    if (link->leaving) {
        return;
    }
    tf_sim_trace(link->client->sim, "k%u detaches %s%s", link->client->number, link->name,
                 closed ? " for good" : "");
    link->leaving = true;
    if (link->wish.receive && link->instance != TF_SIM_NONE) {
        tf_sim_amqp_receiver_end(oracle_of(link->client), link->instance, true);
    }
    tf_amqp_link_detach(link->machine, closed, NULL);
    tf_sim_amqp_client_flush(link->client);
}

void tf_sim_amqp_link_gone(struct tf_sim_amqp_link *link, bool told)
{
    struct tf_sim_amqp_client *client = link->client;
    for (unsigned i = 0; i < TF_SIM_AMQP_HELD; i++) {
        if (client->held[i].link == link) {
            client->held[i].link = NULL;
        }
    }
    if (link->wish.receive && link->instance != TF_SIM_NONE) {
        tf_sim_amqp_receiver_end(oracle_of(client), link->instance, told);
        if (told) {
            tf_sim_amqp_receiver_sure(oracle_of(client), link->instance);
        }
    }
    free(link->in);
    free(link->machine);
    link->in = NULL;
    link->machine = NULL;
}

/* ---- sending ---- */

bool tf_sim_amqp_link_put(struct tf_sim_amqp_link *link, struct tf_bytes bytes, uint64_t handle,
                          bool settled)
{
    struct tf_sim *sim = link->client->sim;
    struct tf_bytes *owner = malloc(sizeof(*owner) + bytes.length);
    uint8_t tag[8];
    struct tf_writer writer = tf_writer_of(tag, sizeof(tag));
    bool borrowed = false, refer = bytes.length > 300 || tf_sim_chance(sim, 1, 2);
    uint64_t delivery;
    enum tf_err err = TF_AGAIN;
    tf_assert(owner);
    uint8_t *copy = (uint8_t *)(owner + 1);
    size_t half = bytes.length / 2;
    memcpy(copy, bytes.data, bytes.length);
    *owner = tf_bytes_of(copy + half, bytes.length - half);
    tf_write_u64(&writer, link->next_tag);
    struct tf_amqp_sending sending = {.handle = handle,
                                      .tag = tf_bytes_of(tag, sizeof(tag)),
                                      .head = tf_bytes_of(copy, TF_MIN(half, 10u)),
                                      .settled = settled,
                                      .batchable = tf_sim_chance(sim, 1, 2)};
    sending.prefix = tf_bytes_of(copy + sending.head.length, half - sending.head.length);
    sending.body = owner;
    sending.body_count = 1;
    for (unsigned i = 0;
         i < 3 && link->machine && (err == TF_AGAIN || err == TF_NO_MEMORY || err == TF_LIMIT);
         i++) {
        sending.owner = refer || i ? (uint64_t)(uintptr_t)owner : 0;
        err = tf_amqp_send(link->machine, &sending, &borrowed, &delivery);
        if (err == TF_AGAIN) { /* it may want a table first */
            tf_sim_amqp_client_pull(link->client);
        }
    }
    if (err || !borrowed) {
        free(owner);
    }
    if (err && err != TF_AGAIN && err != TF_CLOSED) {
        tf_sim_blame(sim, "client %u: its machine will not send %zu bytes: %s",
                     link->client->number, bytes.length, tf_err_name(err));
    }
    link->next_tag += err == TF_OK;
    link->untold += err == TF_OK && !settled;
    return err == TF_OK;
}

/* What the oracle is told of a message that this link sends. */
static struct tf_sim_amqp_track track_of(const struct tf_sim_amqp_link *link,
                                         const struct tf_sim_message *message, bool settled,
                                         uint8_t place, int topic)
{
    bool anonymous = link->wish.place == TF_SIM_AMQP_NOWHERE && link->wish.topic < 0;
    return (struct tf_sim_amqp_track){.settled = settled,
                                      .expires = message->expiry_s != UINT32_MAX,
                                      .place = place,
                                      .topic = topic,
                                      .sender = anonymous ? TF_SIM_NONE : link->instance};
}

bool tf_sim_amqp_link_send(struct tf_sim_amqp_link *link, const struct tf_sim_message *message,
                           bool settled)
{
    struct tf_sim *sim = link->client->sim;
    size_t room = message->length + TF_SIM_AMQP_MESSAGE_ROOM;
    uint8_t place = link->wish.place;
    int topic = place < TF_SIM_AMQP_PLACES ? tf_sim_amqp_nodes[place].topic : link->wish.topic;
    char to[80] = "";
    if (place == TF_SIM_AMQP_NOWHERE && topic < 0) { /* each message says where */
        place = (uint8_t)tf_sim_draw(sim, 0, TF_SIM_AMQP_DEAD - 1);
        topic = tf_sim_amqp_nodes[place].topic;
        snprintf(to, sizeof(to), "%s", tf_sim_amqp_nodes[place].address);
    } else if (place == TF_SIM_AMQP_NOWHERE) { /* a queue of that name has a copy */
        for (unsigned i = 0; i < TF_SIM_AMQP_WORK; i++) {
            place = tf_sim_amqp_nodes[i].topic == topic ? (uint8_t)i : place;
        }
    }
    uint8_t *memory = malloc(room);
    tf_assert(memory);
    struct tf_writer writer = tf_writer_of(memory, room);
    tf_sim_amqp_message_write(&writer, message, to[0] ? to : NULL);
    struct tf_sim_amqp_track track = track_of(link, message, settled, place, topic);
    if (link->wish.place == TF_SIM_AMQP_NOWHERE) {
        track.doubtful = true; /* whether the queue was there nobody knows */
    }
    tf_sim_trace(sim, "k%u sends m%u by %s to %s%s%s", link->client->number, message->number,
                 link->name, link->address, to, settled ? " settled" : "");
    bool sent = tf_sim_amqp_link_put(link, tf_bytes_of(memory, tf_writer_length(&writer)),
                                     message->number + 1, settled);
    if (sent) {
        tf_sim_amqp_sent(oracle_of(link->client), message->number, &track);
    }
    free(memory);
    tf_sim_amqp_client_flush(link->client);
    return sent;
}

/* What became of a message of ours. */
static void on_outcome(struct tf_sim_amqp_link *link, const struct tf_amqp_event *event)
{
    struct tf_sim_amqp_client *client = link->client;
    bool accepted = event->state.type == TF_AMQP_STATE_ACCEPTED;
    bool released = event->state.type == TF_AMQP_STATE_RELEASED;
    uint32_t message = (uint32_t)(event->handle - 1);
    tf_sim_trace(client->sim, "k%u hears that m%d is %s%s", client->number, (int)message,
                 accepted   ? "accepted"
                 : released ? "released"
                            : "rejected",
                 event->settled ? "" : ", not settled");
    link->untold--;
    if (!event->settled) {
        (void)tf_amqp_settle(client->machine, event->delivery, &event->state);
    }
    if (event->handle == 0) {
        return; /* a request */
    }
    client->sim->seen[TF_SIM_AMQP_REFUSAL] += !accepted;
    if (released && link->wish.place < TF_SIM_AMQP_PLACES &&
        link->wish.place != TF_SIM_AMQP_SPARE) {
        tf_sim_blame(client->sim, "m%u is released, but its sender keeps the queue there", message);
    }
    tf_sim_amqp_told(oracle_of(client), message,
                     accepted ? TF_SIM_AMQP_ACCEPTED : TF_SIM_AMQP_REFUSED);
}

/* ---- receiving ---- */

void tf_sim_amqp_link_credit(struct tf_sim_amqp_link *link, uint32_t credit, bool drain)
{
    tf_sim_trace(link->client->sim, "k%u gives %s %u credits%s", link->client->number, link->name,
                 credit, drain ? " and drains" : "");
    link->draining |= drain;
    tf_amqp_link_credit(link->machine, credit, drain);
    tf_sim_amqp_client_flush(link->client);
}

static void hold(struct tf_sim_amqp_link *link, uint64_t delivery, uint32_t message)
{
    struct tf_sim_amqp_client *client = link->client;
    struct tf_sim *sim = client->sim;
    unsigned i = 0;
    while (i < TF_SIM_AMQP_HELD && client->held[i].link) {
        i++;
    }
    if (i == TF_SIM_AMQP_HELD) { /* never answered */
        tf_sim_amqp_client_drop(client, true);
        return;
    }
    tf_time due = sim->now;
    if (!link->patient && tf_sim_chance(sim, 1, 2)) {
        due += tf_sim_draw(sim, 1, 3000) * TF_MILLISECOND;
    }
    client->held[i] = (struct tf_sim_amqp_held){
        .link = link, .delivery = delivery, .message = message, .due = due};
}

/* A message has come whole. */
static void on_message(struct tf_sim_amqp_link *link, const struct tf_amqp_event *event)
{
    struct tf_sim_amqp_client *client = link->client;
    struct tf_bytes in = tf_bytes_of(link->in, link->in_length);
    struct tf_sim_amqp_delivery delivery;
    static const struct tf_amqp_state accepted = {.type = TF_AMQP_STATE_ACCEPTED};
    if (link->wish.dynamic) {
        tf_sim_amqp_asked(client, in);
        (void)tf_amqp_dispose(client->machine, event->delivery, &accepted, true);
        return;
    }
    tf_sim_amqp_message_read(client->sim, in, &delivery);
    tf_sim_trace(client->sim, "k%u gets m%d by %s (receiver %d) d%u n%u%s%s", client->number,
                 (int)delivery.message, link->name, (int)link->instance, delivery.delivery_count,
                 delivery.note, delivery.first_acquirer ? "" : " again",
                 event->settled ? " settled" : "");
    client->sim->seen[TF_SIM_AMQP_AGAIN] += delivery.delivery_count != 0;
    client->sim->seen[TF_SIM_AMQP_LETTER] += link->wish.place == TF_SIM_AMQP_DEAD;
    client->sim->seen[TF_SIM_AMQP_BROWSED] += link->wish.browse;
    if (client->sim->options.starve == 0 && link->instance != TF_SIM_NONE && !link->leaving) {
        tf_sim_amqp_delivered(oracle_of(client), link->instance, &delivery);
    }
    if (!event->settled && !link->leaving) {
        hold(link, event->delivery, delivery.message);
    } else if (event->settled != (link->wish.settled || link->wish.browse)) {
        tf_sim_blame(client->sim, "m%u comes settled on a link where it should not",
                     delivery.message);
    }
}

static void on_transfer(struct tf_sim_amqp_link *link, const struct tf_amqp_event *event)
{
    size_t length = link->in_length + event->payload.length;
    if (event->first || event->aborted) {
        length -= link->in_length;
        link->in_length = 0;
    }
    if (event->aborted) {
        return;
    }
    if (length > link->in_capacity) {
        link->in_capacity = 2 * length;
        link->in = realloc(link->in, link->in_capacity);
        tf_assert(link->in);
    }
    if (event->payload.length) {
        memcpy(link->in + link->in_length, event->payload.data, event->payload.length);
    }
    link->in_length = length;
    link->client->sim->seen[TF_SIM_AMQP_FRAMES] += event->more;
    if (!event->more) {
        on_message(link, event);
    }
}

/* The broker has settled what we accepted. */
static void on_settled(struct tf_sim_amqp_link *link, const struct tf_amqp_event *event)
{
    struct tf_sim_amqp_client *client = link->client;
    for (unsigned i = 0; i < TF_SIM_AMQP_HELD; i++) {
        struct tf_sim_amqp_held *held = &client->held[i];
        if (held->link == link && held->delivery == event->delivery) {
            held->link = NULL;
            if (held->answered && held->message < TF_SIM_MESSAGES &&
                link->instance != TF_SIM_NONE && link->wish.place < TF_SIM_AMQP_PLACES) {
                client->sim->seen[TF_SIM_AMQP_SECOND]++;
                tf_sim_amqp_settled(oracle_of(client), link->instance, held->message);
            }
            return;
        }
    }
    tf_sim_blame(client->sim, "client %u: the broker settles what it did not have", client->number);
}

/* ---- answers ---- */

static void draw_state(struct tf_sim_amqp_link *link, uint8_t *memory, size_t size,
                       struct tf_amqp_state *state, uint32_t *note)
{
    struct tf_sim *sim = link->client->sim;
    unsigned which = link->patient ? 0 : (unsigned)tf_sim_draw(sim, 0, 99);
    *state = (struct tf_amqp_state){.type = TF_AMQP_STATE_ACCEPTED};
    *note = 0;
    if (which < 60) {
        return;
    }
    if (which < 68) {
        state->type = TF_AMQP_STATE_REJECTED;
        state->error = tf_amqp_error_of(TF_AMQP_PRECONDITION_FAILED, "not good");
        return;
    }
    if (which < 82) {
        state->type = TF_AMQP_STATE_RELEASED;
        return;
    }
    state->type = TF_AMQP_STATE_MODIFIED;
    state->delivery_failed = tf_sim_chance(sim, 1, 2);
    state->undeliverable_here = tf_sim_chance(sim, 1, 4);
    if (tf_sim_chance(sim, 1, 2)) {
        struct tf_writer writer = tf_writer_of(memory, size);
        *note = (uint32_t)tf_sim_draw(sim, 1, 1000000);
        size_t begin = tf_amqp_write_map_begin(&writer);
        tf_amqp_write_symbol(&writer, tf_bytes_str("x-opt-note"));
        tf_amqp_write_uint(&writer, *note);
        tf_amqp_write_map_end(&writer, begin, 2);
        state->annotations = tf_bytes_of(memory, tf_writer_length(&writer));
    }
}

static void answer(struct tf_sim_amqp_client *client, struct tf_sim_amqp_held *held)
{
    static const char *const names[] = {"nothing",  "received", "accepted",
                                        "rejected", "released", "modified"};
    struct tf_sim_amqp_link *link = held->link;
    struct tf_amqp_state state;
    uint8_t memory[64];
    uint32_t note;
    draw_state(link, memory, sizeof(memory), &state, &note);
    enum tf_err err = tf_amqp_dispose(client->machine, held->delivery, &state, !link->wish.second);
    tf_sim_trace(client->sim, "k%u says that m%d is %s%s%s n%u", client->number, (int)held->message,
                 names[state.type], state.delivery_failed ? " failed" : "",
                 state.undeliverable_here ? " not-here" : "", note);
    if (err == TF_AGAIN) { /* no room for its annotations */
        held->due = client->sim->now + TF_MILLISECOND;
        return;
    }
    client->sim->seen[TF_SIM_AMQP_OUTCOMES] += state.type != TF_AMQP_STATE_ACCEPTED;
    held->answered = true;
    held->due = TF_TIME_NEVER;
    if (err && err != TF_NOT_FOUND) {
        tf_sim_blame(client->sim, "client %u: its machine will not answer: %s", client->number,
                     tf_err_name(err));
    }
    if (held->message < TF_SIM_MESSAGES && link->instance != TF_SIM_NONE && !err) {
        tf_sim_amqp_answered(oracle_of(client), link->instance, held->message, &state, note);
    }
    if (!link->wish.second || err) {
        held->link = NULL;
    }
}

void tf_sim_amqp_answer(struct tf_sim_amqp_client *client, bool all)
{
    for (unsigned i = 0; i < TF_SIM_AMQP_HELD; i++) {
        struct tf_sim_amqp_held *held = &client->held[i];
        if (held->link && !held->answered && !held->link->leaving &&
            (all || held->due <= client->sim->now)) {
            answer(client, held);
        }
    }
}

tf_time tf_sim_amqp_answer_next(const struct tf_sim_amqp_client *client)
{
    tf_time at = TF_TIME_NEVER;
    for (unsigned i = 0; i < TF_SIM_AMQP_HELD; i++) {
        const struct tf_sim_amqp_held *held = &client->held[i];
        if (held->link && !held->answered && !held->link->leaving) {
            at = TF_MIN(at, held->due);
        }
    }
    return at;
}

/* ---- events ---- */

static void on_attached(struct tf_sim_amqp_link *link, const struct tf_amqp_event *event)
{
    const struct tf_amqp_terminus *node =
        link->wish.receive ? &event->attach.source : &event->attach.target;
    link->refused = node->type == TF_AMQP_TERMINUS_NONE;
    link->attached = !link->refused;
    if (link->refused) {
        return;
    }
    if (link->wish.dynamic && node->address.length < sizeof(link->address)) {
        memcpy(link->address, node->address.data, node->address.length);
        link->address[node->address.length] = 0;
    }
    if (link->wish.receive && link->instance != TF_SIM_NONE) {
        tf_sim_amqp_receiver_attached(oracle_of(link->client), link->instance);
    }
}

static void on_detached(struct tf_sim_amqp_link *link, const struct tf_amqp_event *event)
{
    struct tf_sim_amqp_client *client = link->client;
    enum tf_amqp_condition why = event->error.condition;
    bool expected =
        why == TF_AMQP_NO_ERROR || why == TF_AMQP_RESOURCE_DELETED || why == TF_AMQP_STOLEN;
    struct tf_bytes symbol = tf_amqp_condition_symbol(why);
    tf_sim_trace(client->sim, "k%u hears that %s is detached%s %.*s", client->number, link->name,
                 event->gone ? "" : " by the broker", (int)symbol.length,
                 symbol.length ? (const char *)symbol.data : "");
    client->sim->seen[TF_SIM_AMQP_DELETED] += why == TF_AMQP_RESOURCE_DELETED;
    if (((event->local && why != TF_AMQP_NO_ERROR) || !expected) && !client->silenced) {
        tf_sim_blame(
            client->sim, "client %u: %s %s is detached: %.*s: %.*s", client->number,
            event->local ? "for what the broker did," : "link", link->name, (int)symbol.length,
            symbol.length ? (const char *)symbol.data : "", (int)event->error.description.length,
            event->error.description.length ? (const char *)event->error.description.data : "");
    }
    if (event->gone) {
        tf_sim_amqp_link_gone(link, true);
        return;
    }
    link->leaving = true;
    if (link->wish.receive && link->instance != TF_SIM_NONE) {
        tf_sim_amqp_receiver_end(oracle_of(client), link->instance, true);
    }
    tf_amqp_link_detach(link->machine, event->closed, NULL);
}

void tf_sim_amqp_link_event(struct tf_sim_amqp_link *link, const struct tf_amqp_event *event)
{
    switch (event->type) {
    case TF_AMQP_ATTACHED:
        on_attached(link, event);
        break;
    case TF_AMQP_DETACHED:
        on_detached(link, event);
        break;
    case TF_AMQP_FLOW:
        if (link->wish.receive && link->draining && event->credit == 0) {
            link->client->sim->seen[TF_SIM_AMQP_DRAINED]++;
            link->draining = false;
        } else if (!link->wish.receive && event->drain) {
            tf_amqp_link_drained(link->machine);
        }
        break;
    case TF_AMQP_TRANSFER:
        on_transfer(link, event);
        break;
    case TF_AMQP_OUTCOME:
        on_outcome(link, event);
        break;
    case TF_AMQP_SETTLED:
        on_settled(link, event);
        break;
    default:
        break;
    }
}
