/*
 * A run with AMQP: clients that send, receive, browse and manage the same queues and topics over a
 * bad network, while MQTT clients publish to some of the addresses.
 *
 * Phases: operations with faults; calm, in which receivers take all that they may; everybody
 * leaves; a new client empties every queue, and the oracle judges the whole; the broker ends, in
 * some runs with links attached; nothing must be left.
 */
#include "sim/amqp.h"
#include "sim/store.h"

#include "base/assert.h"

#include <stdlib.h>
#include <string.h>

#define IDLE_S 20u             /* a silent connection is over for the broker */
#define QUIET (60 * TF_SECOND) /* within which such a one has gone */
#define CREDIT 2000u           /* of a receiver that takes all */

const struct tf_sim_amqp_node tf_sim_amqp_nodes[TF_SIM_AMQP_PLACES] = {
    [TF_SIM_AMQP_PLAIN_A] = {"a", "a", 0, false, true},
    [TF_SIM_AMQP_PLAIN_B] = {"a/b", "a/b", 1, false, true},
    [TF_SIM_AMQP_PLAIN_C] = {"b/x", "b/x", 3, false, true},
    [TF_SIM_AMQP_WORK] = {"queue://work", "work", -1, true, true},
    [TF_SIM_AMQP_RING] = {"queue://ring", "ring", -1, true, false},
    [TF_SIM_AMQP_LOOSE] = {"queue://loose", "loose", -1, false, false},
    [TF_SIM_AMQP_SHORT] = {"queue://short", "short", -1, true, true},
    [TF_SIM_AMQP_TRIES] = {"queue://tries", "tries", -1, true, true},
    [TF_SIM_AMQP_SPARE] = {"queue://spare", "spare", -1, false, true},
    [TF_SIM_AMQP_DEAD] = {"queue://dead", "dead", -1, false, true}};

static const char *const filters[] = {"#", "a/#", "b/+", "a/b", "+/x", "dead"};

/* ---- beginning and end ---- */

bool tf_sim_amqp_configure(struct tf_sim *sim, struct tf_config_report *report)
{
    char text[800];
    snprintf(text, sizeof(text),
             "queue work\nqueue_max_messages %u\nqueue_dead_letter dead\n"
             "queue ring\nqueue_max_messages %u\nqueue_overflow drop_old\nqueue_dead_letter dead\n"
             "queue loose\nqueue_max_messages %u\nqueue_overflow drop_new\n"
             "queue short\nqueue_message_ttl %u\nqueue_dead_letter dead\n"
             "queue tries\nqueue_max_attempts %u\nqueue_dead_letter dead\n"
             "queue dead\nqueue_bind dead\n",
             (unsigned)tf_sim_draw(sim, 1, 25), (unsigned)tf_sim_draw(sim, 1, 25),
             (unsigned)tf_sim_draw(sim, 1, 25), (unsigned)tf_sim_draw(sim, 1, 8),
             (unsigned)tf_sim_draw(sim, 1, 4));
    return !tf_config_parse_text(&sim->config, "simulated", text, strlen(text), NULL, report) &&
           !tf_config_add_url(&sim->config, "amqp://127.0.0.1:5672", report);
}

void tf_sim_amqp_start(struct tf_sim *sim)
{
    struct tf_sim_amqp *amqp = calloc(1, sizeof(*amqp));
    tf_assert(amqp);
    sim->amqp = amqp;
    tf_sim_amqp_oracle_init(&amqp->oracle);
    sim->client_count = TF_SIM_AMQP_MQTT;
    sim->config.queue_idle_timeout_s = tf_sim_chance(sim, 1, 3) ? 15 : 3600;
    sim->config.listeners[TF_SIM_AMQP_LISTENER].amqp_idle_timeout_s = IDLE_S;
    amqp->client_count = (unsigned)tf_sim_draw(sim, 5, TF_SIM_AMQP_CLIENTS);
    for (unsigned i = 0; i < TF_SIM_AMQP_PLACES; i++) {
        amqp->lossy[i] = tf_sim_chance(sim, 1, 4);
    }
    for (unsigned i = 0; i < amqp->client_count; i++) {
        tf_sim_amqp_client_init(sim, &amqp->clients[i], i);
    }
}

void tf_sim_amqp_end(struct tf_sim *sim)
{
    if (sim->amqp) {
        tf_sim_amqp_oracle_release(&sim->amqp->oracle);
    }
    free(sim->amqp);
    sim->amqp = NULL;
}

void tf_sim_amqp_crash(struct tf_sim *sim, tf_time since)
{
    struct tf_sim_amqp *amqp = sim->amqp;
    amqp->oracle.now = sim->now;
    for (unsigned i = 0; i < amqp->client_count; i++) {
        struct tf_sim_amqp_client *client = &amqp->clients[i];
        for (unsigned place = 0; place < TF_SIM_AMQP_PLACES; place++) {
            if (client->taking >> place & 1) { /* it may have been done, unanswered */
                tf_sim_amqp_purged(&amqp->oracle, place);
            }
        }
        client->taking = 0;
        if (client->link) {
            tf_sim_pipe_lose(sim, &client->link->up);
            tf_sim_amqp_client_drop(client, true);
        }
    }
    tf_sim_amqp_crashed(&amqp->oracle, since);
}

void tf_sim_amqp_judge(struct tf_sim *sim)
{
    sim->amqp->oracle.now = sim->now;
    if (sim->amqp->oracle.failed && !sim->options.starve) {
        tf_sim_fail(sim, "%s", sim->amqp->oracle.failure);
    }
}

void tf_sim_amqp_hear(struct tf_sim *sim, const struct tf_sim_event *event)
{
    if (event->kind == TF_SIM_PUBLISH && !event->info) {
        tf_sim_amqp_repeated(&sim->amqp->oracle, event->message);
    }
    if (event->kind != TF_SIM_PUBLISH || !event->info) {
        return;
    }
    struct tf_sim_amqp_track track = {.settled = true,
                                      .expires = event->info->expiry_s != UINT32_MAX,
                                      .place = TF_SIM_AMQP_NOWHERE,
                                      .topic = event->topic,
                                      .sender = TF_SIM_NONE};
    for (unsigned i = 0; i < TF_SIM_AMQP_WORK; i++) {
        track.place = tf_sim_amqp_nodes[i].topic == event->topic ? (uint8_t)i : track.place;
    }
    tf_sim_amqp_sent(&sim->amqp->oracle, event->message, &track);
}

/* ---- operations ---- */

static struct tf_sim_message draw_message(struct tf_sim *sim)
{
    struct tf_sim_message message = {.length = (uint32_t)tf_sim_draw(sim, 8, 60),
                                     .expiry_s = UINT32_MAX,
                                     .topic = (uint8_t)tf_sim_draw(sim, 0, tf_sim_topic_count - 1),
                                     .qos = (uint8_t)tf_sim_draw(sim, 0, 2)};
    if (tf_sim_chance(sim, 1, 10)) {
        message.length = (uint32_t)tf_sim_draw(sim, 500, 5000);
    } else if (tf_sim_chance(sim, 1, 80)) {
        message.length = (uint32_t)tf_sim_draw(sim, 60000, 150000);
    }
    if (tf_sim_chance(sim, 1, 8)) {
        message.expiry_s = (uint32_t)tf_sim_draw(sim, 1, 20);
    }
    return message;
}

static void mqtt_connect(struct tf_sim_client *client)
{
    struct tf_sim_connect c = {.version = TF_MQTT_5,
                               .clean = true,
                               .receive_maximum = UINT16_MAX,
                               .max_packet = UINT32_MAX,
                               .will = TF_SIM_NONE};
    tf_sim_client_connect(client, &c);
}

static void mqtt_publish(struct tf_sim *sim)
{
    struct tf_sim_client *client = &sim->clients[tf_sim_draw(sim, 0, sim->client_count - 1)];
    if (client->state == TF_SIM_OFFLINE) { /* after a crash */
        mqtt_connect(client);
    } else if (client->state == TF_SIM_ONLINE && tf_sim_client_can_publish(client)) {
        struct tf_sim_message message = draw_message(sim);
        message.topic = tf_sim_chance(sim, 1, 2) ? (uint8_t)tf_sim_draw(sim, 0, 1) : message.topic;
        tf_sim_client_publish(client, message);
    }
}

/* Any of a client's links that is attached; NULL: it draws none. */
static struct tf_sim_amqp_link *draw_link(struct tf_sim_amqp_client *client, bool receive)
{
    unsigned begin = (unsigned)tf_sim_draw(client->sim, 0, TF_SIM_AMQP_LINKS - 1);
    for (unsigned i = 0; i < TF_SIM_AMQP_LINKS; i++) {
        struct tf_sim_amqp_link *link = &client->links[(begin + i) % TF_SIM_AMQP_LINKS];
        if (link->machine && link->wish.receive == receive && !link->leaving &&
            !link->wish.dynamic && !link->wish.management) {
            return link;
        }
    }
    return NULL;
}

static void attach_receiver(struct tf_sim_amqp_client *client, unsigned session)
{
    struct tf_sim *sim = client->sim;
    struct tf_sim_amqp_wish wish = {.receive = true,
                                    .place = (uint8_t)tf_sim_draw(sim, 0, TF_SIM_AMQP_PLACES - 1),
                                    .second = tf_sim_chance(sim, 1, 4),
                                    .browse = tf_sim_chance(sim, 1, 7)};
    wish.settled = !wish.browse && sim->amqp->lossy[wish.place] && tf_sim_chance(sim, 1, 2);
    if (tf_sim_chance(sim, 1, 4)) {
        wish.place = TF_SIM_AMQP_NOWHERE;
        wish.filter = filters[tf_sim_draw(sim, 0, TF_COUNT(filters) - 1)];
        wish.settled = tf_sim_chance(sim, 1, 4);
        wish.browse = false;
    }
    struct tf_sim_amqp_link *link = tf_sim_amqp_link_attach(client, session, &wish);
    if (link && tf_sim_chance(sim, 2, 3)) {
        tf_sim_amqp_link_credit(link, (uint32_t)tf_sim_draw(sim, 1, 40), false);
    }
}

static void attach_sender(struct tf_sim_amqp_client *client, unsigned session)
{
    struct tf_sim *sim = client->sim;
    struct tf_sim_amqp_wish wish = {.place = (uint8_t)tf_sim_draw(sim, 0, TF_SIM_AMQP_DEAD - 1),
                                    .topic = -1,
                                    .second = tf_sim_chance(sim, 1, 4)};
    if (tf_sim_chance(sim, 1, 4)) {
        bool anonymous = tf_sim_chance(sim, 1, 3);
        wish.place = TF_SIM_AMQP_NOWHERE;
        wish.topic = anonymous ? -1 : (int)tf_sim_draw(sim, 0, 6);
    }
    (void)tf_sim_amqp_link_attach(client, session, &wish);
}

static void send_some(struct tf_sim_amqp_client *client, unsigned count)
{
    struct tf_sim *sim = client->sim;
    struct tf_sim_amqp_link *link = draw_link(client, false);
    bool settled = tf_sim_chance(sim, 1, 5);
    while (link && link->machine && count-- && sim->message_count < TF_SIM_MESSAGES &&
           link->instance != TF_SIM_NONE && tf_amqp_link_credit_left(link->machine)) {
        struct tf_sim_message message = draw_message(sim);
        message.number = sim->message_count++;
        sim->messages[message.number] = message;
        if (!tf_sim_amqp_link_send(link, &message, settled)) {
            sim->message_count--;
            return;
        }
    }
}

static void give_credit(struct tf_sim_amqp_client *client)
{
    static const uint32_t credits[] = {0, 1, 2, 5, 10, 30, 100};
    struct tf_sim *sim = client->sim;
    struct tf_sim_amqp_link *link = draw_link(client, true);
    if (!link || link->draining) {
        return;
    }
    uint32_t credit = credits[tf_sim_draw(sim, 0, TF_COUNT(credits) - 1)];
    uint32_t left = tf_amqp_link_credit_left(link->machine);
    sim->seen[TF_SIM_AMQP_CREDIT_BACK] += credit < left;
    tf_sim_amqp_link_credit(link, credit, credit && tf_sim_chance(sim, 1, 5));
}

static void fault(struct tf_sim_amqp_client *client, unsigned which)
{
    struct tf_sim *sim = client->sim;
    struct tf_sim_link *link = client->link;
    if (which < 3) {
        sim->seen[TF_SIM_AMQP_CUT]++;
        tf_sim_trace(sim, "link%u is cut", link->number);
        tf_sim_pipe_lose(sim, &link->up);
        tf_sim_amqp_client_drop(client, true);
    } else if (which == 3) {
        sim->seen[TF_SIM_AMQP_HALF_OPEN]++;
        tf_sim_amqp_client_drop(client, false);
    } else if (which == 4) {
        sim->seen[TF_SIM_AMQP_SILENT]++;
        tf_sim_trace(sim, "k%u falls silent", client->number);
        client->silenced = true;
        client->silent_until = sim->now + 3 * IDLE_S * TF_SECOND;
        for (unsigned i = 0; i < TF_SIM_AMQP_LINKS; i++) {
            const struct tf_sim_amqp_link *mine = &client->links[i];
            if (mine->machine && mine->wish.receive && mine->instance != TF_SIM_NONE) {
                tf_sim_amqp_receiver_loosen(&sim->amqp->oracle, mine->instance);
            }
        }
    } else if (which < 7) {
        sim->seen[TF_SIM_AMQP_SLOW]++;
        client->read_after = sim->now + tf_sim_draw(sim, 1, 2500) * TF_MILLISECOND;
    } else {
        bool up = tf_sim_chance(sim, 1, 2);
        sim->seen[TF_SIM_AMQP_STALL]++;
        tf_sim_trace(sim, "link%u stalls %s", link->number, up ? "up" : "down");
        tf_sim_pipe_stall(sim, up ? &link->up : &link->down,
                          sim->now + tf_sim_draw(sim, 1, 2000) * TF_MILLISECOND);
    }
}

static void detach(struct tf_sim_amqp_client *client)
{
    struct tf_sim_amqp_link *link = draw_link(client, tf_sim_chance(client->sim, 2, 3));
    if (link) {
        client->sim->seen[TF_SIM_AMQP_DETACHED]++;
        tf_sim_amqp_link_detach(link, tf_sim_chance(client->sim, 1, 2));
    }
}

static void act(struct tf_sim_amqp_client *client)
{
    struct tf_sim *sim = client->sim;
    unsigned session = tf_sim_chance(sim, 1, 4);
    unsigned which = (unsigned)tf_sim_draw(sim, 0, 99);
    if (which < 16 && tf_sim_amqp_client_begin(client, session)) {
        attach_receiver(client, session);
    } else if (which < 26 && tf_sim_amqp_client_begin(client, session)) {
        attach_sender(client, session);
    } else if (which < 58) {
        send_some(client, tf_sim_chance(sim, 1, 3) ? (unsigned)tf_sim_draw(sim, 2, 15) : 2);
    } else if (which < 78) {
        give_credit(client);
    } else if (which < 85) {
        detach(client);
    } else if (which < 87) {
        sim->seen[TF_SIM_AMQP_SESSION_ENDED] += client->sessions[session] != NULL;
        tf_sim_amqp_client_end(client, session);
    } else if (which < 89) {
        tf_sim_amqp_client_close(client);
    } else {
        fault(client, (unsigned)tf_sim_draw(sim, 0, 10));
    }
}

/* The first client comes back after a crash, with its links. */
static void tend_admin(struct tf_sim_amqp_client *admin)
{
    struct tf_sim_amqp_wish requests = {.place = TF_SIM_AMQP_NOWHERE, .management = true};
    struct tf_sim_amqp_wish answers = {
        .receive = true, .place = TF_SIM_AMQP_NOWHERE, .dynamic = true};
    struct tf_sim_amqp_link *receiver = NULL, *sender = NULL;
    if (admin->state == TF_SIM_AMQP_OFF) {
        tf_sim_amqp_client_connect(admin);
    }
    if (admin->state != TF_SIM_AMQP_ON || !tf_sim_amqp_client_begin(admin, 0)) {
        return;
    }
    for (unsigned i = 0; i < TF_SIM_AMQP_LINKS; i++) {
        struct tf_sim_amqp_link *link = &admin->links[i];
        receiver = link->machine && link->wish.dynamic ? link : receiver;
        sender = link->machine && link->wish.management ? link : sender;
    }
    if (!receiver) {
        receiver = tf_sim_amqp_link_attach(admin, 0, &answers);
    }
    if (!sender) {
        (void)tf_sim_amqp_link_attach(admin, 0, &requests);
    }
    if (receiver && receiver->attached && !tf_amqp_link_credit_left(receiver->machine)) {
        tf_sim_amqp_link_credit(receiver, CREDIT, false);
    }
}

static void manage(struct tf_sim *sim)
{
    static const char *const operations[] = {"READ", "READ", "PURGE", "MOVE"};
    struct tf_sim_amqp_client *admin = &sim->amqp->clients[0];
    enum tf_sim_amqp_place place =
        (enum tf_sim_amqp_place)tf_sim_draw(sim, 0, TF_SIM_AMQP_PLACES - 1);
    enum tf_sim_amqp_place to =
        (enum tf_sim_amqp_place)tf_sim_draw(sim, TF_SIM_AMQP_WORK, TF_SIM_AMQP_DEAD - 1);
    const char *operation = operations[tf_sim_draw(sim, 0, TF_COUNT(operations) - 1)];
    if (place == TF_SIM_AMQP_SPARE && tf_sim_chance(sim, 1, 2)) {
        operation = "DELETE";
    }
    if (!strcmp(operation, "MOVE") && (place < TF_SIM_AMQP_WORK || to == TF_SIM_AMQP_SPARE ||
                                       place == TF_SIM_AMQP_DEAD || sim->options.seed % 2)) {
        operation = "READ";
    }
    tf_sim_amqp_ask(admin, operation, place, to);
}

static void operate(struct tf_sim *sim)
{
    struct tf_sim_amqp_client *client =
        &sim->amqp->clients[tf_sim_draw(sim, 1, sim->amqp->client_count - 2)];
    sim->amqp->oracle.now = sim->now;
    if (tf_sim_store_operate(sim)) {
        return;
    }
    if (sim->store && sim->store->crashes) {
        tend_admin(&sim->amqp->clients[0]);
    }
    if (tf_sim_chance(sim, 1, 40)) {
        struct tf_sim_node *node = &sim->nodes[tf_sim_draw(sim, 0, sim->shards - 1)];
        node->paused_until =
            TF_MAX(node->paused_until, sim->now + tf_sim_draw(sim, 1, 100) * TF_MILLISECOND);
    }
    if (!tf_sim_store_doomed(sim) && tf_sim_chance(sim, 1, 60)) {
        tf_sim_run_for(sim, tf_sim_draw(sim, 1, 60) * TF_SECOND);
    }
    if (tf_sim_chance(sim, 1, 8)) {
        mqtt_publish(sim);
    } else if (tf_sim_chance(sim, 1, 16)) {
        manage(sim);
    } else if (client->state == TF_SIM_AMQP_OFF) {
        tf_sim_amqp_client_connect(client);
    } else if (client->silent_until <= sim->now && !client->silenced &&
               client->state != TF_SIM_AMQP_LEAVING) {
        act(client);
    }
    tf_sim_amqp_judge(sim);
}

/* ---- the end of a run ---- */

/* What a client still waits for, though all is calm. */
static void check_quiet(struct tf_sim_amqp_client *client)
{
    struct tf_sim *sim = client->sim;
    if (client->state == TF_SIM_AMQP_OPENING || client->state == TF_SIM_AMQP_LEAVING) {
        tf_sim_blame(sim, "client %u is not let %s", client->number,
                     client->state == TF_SIM_AMQP_OPENING ? "in" : "go");
    }
    for (unsigned i = 0; i < TF_SIM_AMQP_LINKS; i++) {
        const struct tf_sim_amqp_link *link = &client->links[i];
        if (link->machine && (link->leaving || !link->attached || link->draining || link->untold)) {
            tf_sim_blame(sim, "client %u: %s of %s waits for %s", client->number, link->name,
                         link->address,
                         link->leaving     ? "its end"
                         : !link->attached ? "its answer"
                         : link->draining  ? "the end of a drain"
                                           : "outcomes");
        }
    }
    for (unsigned i = 0; i < TF_SIM_AMQP_HELD; i++) {
        if (client->held[i].link) {
            tf_sim_blame(sim, "client %u: m%d is not settled", client->number,
                         (int)client->held[i].message);
        }
    }
    if (client->asked && client->machine) {
        tf_sim_blame(sim, "client %u: $management owes %u answers", client->number, client->asked);
    }
}

/* Receivers take all they can, and accept it. */
static void take_all(struct tf_sim_amqp_client *client)
{
    for (unsigned i = 0; i < TF_SIM_AMQP_LINKS && client->machine; i++) {
        struct tf_sim_amqp_link *link = &client->links[i];
        if (link->machine && link->wish.receive && !link->leaving && !link->draining) {
            link->patient = true;
            tf_sim_amqp_link_credit(link, CREDIT, false);
        }
    }
    if (client->machine) {
        tf_sim_amqp_answer(client, true);
        tf_sim_amqp_client_flush(client);
    }
}

static void all_take_all(struct tf_sim *sim)
{
    for (unsigned i = 0; i < sim->amqp->client_count && !sim->failed; i++) {
        take_all(&sim->amqp->clients[i]);
    }
    tf_sim_amqp_judge(sim);
}

static void calm(struct tf_sim *sim)
{
    struct tf_sim_amqp *amqp = sim->amqp;
    tf_sim_calm(sim);
    for (unsigned i = 0; i < amqp->client_count; i++) {
        amqp->clients[i].read_after = 0;
        if (amqp->clients[i].silenced) {
            tf_sim_amqp_client_drop(&amqp->clients[i], true);
        }
    }
    all_take_all(sim);
    tf_sim_run_for(sim, QUIET);
    all_take_all(sim);
    tf_sim_run_for(sim, 10 * TF_SECOND);
    for (unsigned i = 0; i < amqp->client_count && !sim->failed; i++) {
        check_quiet(&amqp->clients[i]);
    }
    for (unsigned i = 0; i < sim->shards && !sim->failed; i++) {
        tf_sim_amqp_node_check_rest(&sim->nodes[i]);
    }
    for (uint32_t i = 0; i < amqp->oracle.receiver_count; i++) {
        tf_sim_amqp_complete(&amqp->oracle, i);
    }
    tf_sim_amqp_judge(sim);
}

/* Everybody goes, in one way or another. */
static void leave(struct tf_sim *sim)
{
    for (unsigned i = 0; i < sim->amqp->client_count && !sim->failed; i++) {
        struct tf_sim_amqp_client *client = &sim->amqp->clients[i];
        if (client->state == TF_SIM_AMQP_ON && tf_sim_chance(sim, 1, 2)) {
            tf_sim_amqp_client_end(client, 0);
        }
        if (sim->options.starve && client->machine) {
            tf_sim_amqp_client_drop(client, true);
        }
        tf_sim_amqp_client_close(client);
    }
    tf_sim_run_for(sim, sim->options.starve ? QUIET : 10 * TF_SECOND);
    for (unsigned i = 0; i < sim->amqp->client_count && !sim->failed; i++) {
        if (sim->amqp->clients[i].machine) {
            tf_sim_fail(sim, "client %u cannot leave", i);
        }
    }
}

/* A new client takes what is left of every queue. */
static void empty_queues(struct tf_sim *sim)
{
    struct tf_sim_amqp_client *reader = &sim->amqp->clients[sim->amqp->client_count - 1];
    tf_sim_amqp_client_connect(reader);
    tf_sim_run_for(sim, 2 * TF_SECOND);
    if (sim->failed || !reader->machine || !tf_sim_amqp_client_begin(reader, 0)) {
        tf_sim_fail(sim, "a new client is not let in");
        return;
    }
    tf_sim_run_for(sim, TF_SECOND);
    for (unsigned i = 0; i < TF_SIM_AMQP_PLACES && !sim->failed; i++) {
        struct tf_sim_amqp_wish wish = {.receive = true, .place = (uint8_t)i};
        if (!tf_sim_amqp_link_attach(reader, 0, &wish)) {
            tf_sim_fail(sim, "a new client cannot attach to %s", tf_sim_amqp_nodes[i].name);
            return;
        }
        take_all(reader);
        tf_sim_run_for(sim, TF_SECOND);
    }
    for (unsigned i = 0; i < 6 && !sim->failed; i++) {
        tf_sim_run_for(sim, 10 * TF_SECOND);
        take_all(reader);
    }
    tf_sim_run_for(sim, 10 * TF_SECOND);
    check_quiet(reader);
    tf_sim_amqp_judge(sim);
    leave(sim);
    if (!sim->failed) {
        tf_sim_amqp_audit(&sim->amqp->oracle);
        tf_sim_amqp_judge(sim);
    }
}

/* The broker says goodbye to whoever is there. */
static void end_busy(struct tf_sim *sim)
{
    for (unsigned i = 1; i < sim->amqp->client_count; i++) {
        struct tf_sim_amqp_client *client = &sim->amqp->clients[i];
        tf_sim_amqp_client_connect(client);
        tf_sim_run_for(sim, tf_sim_draw(sim, 1, 2 * TF_SECOND));
        if (client->machine && tf_sim_amqp_client_begin(client, 0)) {
            attach_receiver(client, 0);
            attach_sender(client, 0);
        }
    }
    sim->seen[TF_SIM_AMQP_ENDED_BUSY]++;
    tf_sim_trace(sim, "the broker ends");
    sim->amqp->ended = true;
    for (unsigned i = 0; i < sim->shards && !sim->failed; i++) {
        sim->nodes[i].amqp->ops->drain(sim->nodes[i].amqp);
        tf_sim_run_for(sim, tf_sim_draw(sim, 1, TF_MILLISECOND));
    }
    tf_sim_run_for(sim, QUIET);
    for (unsigned i = 1; i < sim->amqp->client_count && !sim->failed; i++) {
        if (sim->amqp->clients[i].machine) {
            tf_sim_fail(sim, "client %u is still there, though the broker has ended", i);
        }
    }
}

/* ---- a run ---- */

static void start_clients(struct tf_sim *sim)
{
    struct tf_sim_amqp_client *admin = &sim->amqp->clients[0];
    struct tf_sim_amqp_wish requests = {.place = TF_SIM_AMQP_NOWHERE, .management = true};
    struct tf_sim_amqp_wish answers = {
        .receive = true, .place = TF_SIM_AMQP_NOWHERE, .dynamic = true};
    for (unsigned i = 0; i < sim->client_count; i++) {
        mqtt_connect(&sim->clients[i]);
    }
    tf_sim_amqp_client_connect(admin);
    tf_sim_run_for(sim, 8 * TF_SECOND);
    bool good = admin->state == TF_SIM_AMQP_ON && tf_sim_amqp_client_begin(admin, 0);
    struct tf_sim_amqp_link *receiver = good ? tf_sim_amqp_link_attach(admin, 0, &answers) : NULL;
    if (!receiver || !tf_sim_amqp_link_attach(admin, 0, &requests)) {
        tf_sim_fail(sim, "the first client is not let in");
        return;
    }
    tf_sim_run_for(sim, 8 * TF_SECOND);
    tf_sim_amqp_link_credit(receiver, CREDIT, false);
}

static void operations(struct tf_sim *sim)
{
    unsigned count = (unsigned)tf_sim_draw(sim, 150, 400);
    count = sim->options.operations ? sim->options.operations : count;
    sim->memory.starving = sim->options.starve != 0;
    while (count-- && !sim->failed) {
        tf_time most = tf_sim_chance(sim, 1, 10) ? 2 * TF_SECOND : 30 * TF_MILLISECOND;
        tf_sim_run_for(sim, tf_sim_chance(sim, 1, 3) ? 1 : tf_sim_draw(sim, 1, most));
        operate(sim);
    }
    sim->memory.starving = false;
}

void tf_sim_amqp_run(struct tf_sim *sim)
{
    start_clients(sim);
    operations(sim);
    tf_sim_store_calm(sim);
    if (!sim->failed && !sim->options.starve) {
        calm(sim);
    }
    tf_sim_calm(sim);
    if (!sim->failed) {
        leave(sim);
    }
    if (!sim->failed) {
        empty_queues(sim);
    }
    if (!sim->failed && tf_sim_chance(sim, 1, 4)) {
        end_busy(sim);
    }
    if (sim->options.starve) {
        tf_sim_drop_all(sim);
    }
    if (!sim->failed) {
        tf_sim_end_sessions(sim);
    }
    if (!sim->failed) {
        tf_sim_run_for(sim, TF_SECOND);
        tf_sim_nodes_check_empty(sim);
    }
}
