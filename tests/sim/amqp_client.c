/*
 * A client of AMQP: a connection on the library's machine, as a program would drive it, on a
 * simulated link. Gives the machine memory and bytes, begins and ends sessions, and hands the
 * events of links to amqp_link.c.
 *
 * What the machine says is wrong with the broker (a window or credit exceeded, a bad frame) ends
 * the connection with an error of ours; that must never happen.
 */
#include "sim/amqp.h"

#include "base/assert.h"

#include <stdlib.h>
#include <string.h>

static const struct tf_amqp_sasl_mechanism *const mechanisms[] = {&tf_amqp_sasl_anonymous,
                                                                  &tf_amqp_sasl_plain};

void tf_sim_amqp_client_init(struct tf_sim *sim, struct tf_sim_amqp_client *client, unsigned number)
{
    memset(client, 0, sizeof(*client));
    client->sim = sim;
    client->number = number;
}

static void *block(size_t size)
{
    void *memory = malloc(size);
    tf_assert(memory);
    return memset(memory, 0xA5, size);
}

/* ---- the end of things ---- */

/* A session's memory, and that of its links, whose events come no more. */
static void free_session(struct tf_sim_amqp_client *client, unsigned session, bool told)
{
    void *part;
    for (unsigned i = 0; i < TF_SIM_AMQP_LINKS; i++) {
        struct tf_sim_amqp_link *link = &client->links[i];
        if (link->machine && link->session == session) {
            tf_sim_amqp_link_gone(link, told);
        }
    }
    while ((part = tf_amqp_session_reclaim(client->sessions[session]))) {
        free(part);
    }
    free(client->sessions[session]);
    client->sessions[session] = NULL;
    client->begun[session] = client->ending[session] = false;
}

/* The machine goes with all that it has. `told`: every answer has been dealt with. */
static void free_machine(struct tf_sim_amqp_client *client, bool told)
{
    struct tf_amqp_event event;
    void *part;
    if (!client->machine) {
        return;
    }
    tf_amqp_abandon(client->machine);
    while (tf_amqp_event(client->machine, &event)) {
        if (event.type == TF_AMQP_RETURNED) {
            free((void *)(uintptr_t)event.owner);
        }
    }
    if (told) {
        tf_sim_amqp_closed(&client->sim->amqp->oracle, client->number);
    }
    for (unsigned i = 0; i < TF_SIM_AMQP_SESSIONS; i++) {
        if (client->sessions[i]) {
            free_session(client, i, told);
        }
    }
    if (!told) {
        tf_sim_amqp_broke(&client->sim->amqp->oracle, client->number);
    }
    while ((part = tf_amqp_reclaim(client->machine))) {
        free(part);
    }
    free(client->memory);
    free(client->buffer);
    client->memory = client->buffer = NULL;
    client->machine = NULL;
    client->in_length = 0;
    client->asked = 0;
}

/* The client's end of the link is no more. */
static void leave_link(struct tf_sim_amqp_client *client, bool told)
{
    struct tf_sim_link *link = client->link;
    client->link = NULL;
    client->state = TF_SIM_AMQP_OFF;
    client->silent_until = client->read_after = 0;
    client->silenced = client->wants = false;
    if (!link) {
        return;
    }
    if (told) {
        tf_sim_pipe_end(client->sim, &link->up);
    } else {
        link->up.hole = true;
    }
    link->down.refused = told;
    link->down.hole = true;
    link->amqp = NULL;
    tf_sim_link_unused(client->sim, link);
}

void tf_sim_amqp_client_drop(struct tf_sim_amqp_client *client, bool told)
{
    tf_sim_trace(client->sim, "k%u drops its connection%s", client->number, told ? "" : " unheard");
    free_machine(client, false);
    leave_link(client, told);
}

void tf_sim_amqp_client_release(struct tf_sim_amqp_client *client)
{
    free_machine(client, false);
    leave_link(client, true);
    free(client->in);
    client->in = NULL;
}

/* Something that must not be. */
static void blame(struct tf_sim_amqp_client *client, const char *what,
                  const struct tf_amqp_error *error)
{
    struct tf_bytes symbol = error->condition == TF_AMQP_OTHER_ERROR
                                 ? error->symbol
                                 : tf_amqp_condition_symbol(error->condition);
    if (client->silenced || client->sim->amqp->ended) {
        return;
    }
    tf_sim_blame(client->sim, "client %u: %s with %.*s: %.*s", client->number, what,
                 (int)symbol.length, symbol.length ? (const char *)symbol.data : "",
                 (int)error->description.length,
                 error->description.length ? (const char *)error->description.data : "");
}

/* ---- a connection ---- */

static void draw_config(struct tf_sim_amqp_client *client)
{
    static const uint32_t frames[] = {512, 600, 4096, 65536};
    static const uint32_t windows[] = {1, 3, 50, 2000};
    static const uint32_t references[] = {0, 64, 1024};
    struct tf_sim *sim = client->sim;
    client->config = (struct tf_amqp_config){
        .end = TF_AMQP_CLIENT,
        .max_frame_size = frames[tf_sim_draw(sim, 0, 3)],
        .channel_max = 3,
        .handle_max = 31,
        .max_links = 40,
        .max_unsettled = tf_sim_chance(sim, 1, 4) ? (uint32_t)tf_sim_draw(sim, 1, 8) : 1000,
        .incoming_window = windows[tf_sim_draw(sim, 0, 3)],
        .idle_timeout_ms = tf_sim_chance(sim, 1, 2) ? 15000 : 0,
        .reference_from = references[tf_sim_draw(sim, 0, 2)],
        .max_message_size = 0};
    client->sasl = (struct tf_amqp_sasl){.mechanisms = mechanisms + tf_sim_draw(sim, 0, 1),
                                         .mechanism_count = 1,
                                         .user = tf_bytes_str("user"),
                                         .password = tf_bytes_str("password")};
    client->config.sasl = tf_sim_chance(sim, 1, 3) ? NULL : &client->sasl;
}

void tf_sim_amqp_client_connect(struct tf_sim_amqp_client *client)
{
    static const size_t buffers[] = {2048, 4096, 65536};
    struct tf_sim *sim = client->sim;
    size_t buffer = buffers[tf_sim_draw(sim, 0, 2)];
    draw_config(client);
    /* two of them are one container, and steal each other's links */
    snprintf(client->container, sizeof(client->container), "k%u",
             client->number == 3 ? 2 : client->number);
    client->open = (struct tf_amqp_open){.container_id = tf_bytes_str(client->container),
                                         .hostname = tf_bytes_str("trefoil")};
    size_t size = tf_amqp_size(&client->config);
    tf_assert(size);
    client->memory = block(size);
    client->buffer = block(buffer);
    enum tf_err err = tf_amqp_init(&client->machine, client->memory, size, &client->config,
                                   &client->open, sim->now);
    tf_assert(err == TF_OK);
    err = tf_amqp_lend(client->machine, client->buffer, buffer);
    tf_assert(err == TF_OK);
    client->link = tf_sim_link_open(sim, NULL);
    client->link->amqp = client;
    client->link->is_amqp = true;
    /* through less a large frame takes longer than the broker waits for one */
    client->link->up.window = TF_MAX(client->link->up.window, 8192u);
    client->link->down.window = TF_MAX(client->link->down.window, 8192u);
    client->state = TF_SIM_AMQP_OPENING;
    tf_sim_trace(sim, "k%u connects by link%u", client->number, client->link->number);
    tf_sim_amqp_client_flush(client);
}

/* What receivers hold is the queue's again as soon as the broker hears of their end. */
static void end_receivers(struct tf_sim_amqp_client *client, unsigned session)
{
    for (unsigned i = 0; i < TF_SIM_AMQP_LINKS; i++) {
        const struct tf_sim_amqp_link *link = &client->links[i];
        if (link->machine && link->session == session && link->wish.receive &&
            link->instance != TF_SIM_NONE) {
            tf_sim_amqp_receiver_end(&client->sim->amqp->oracle, link->instance, true);
        }
    }
}

void tf_sim_amqp_client_close(struct tf_sim_amqp_client *client)
{
    if (client->state == TF_SIM_AMQP_ON) {
        tf_sim_trace(client->sim, "k%u closes", client->number);
        client->state = TF_SIM_AMQP_LEAVING;
        for (unsigned i = 0; i < TF_SIM_AMQP_SESSIONS; i++) {
            end_receivers(client, i);
        }
        tf_amqp_close(client->machine, NULL);
        tf_sim_amqp_client_flush(client);
    }
}

bool tf_sim_amqp_client_begin(struct tf_sim_amqp_client *client, unsigned session)
{
    size_t size = tf_amqp_session_size(&client->config);
    enum tf_err err = TF_AGAIN;
    if (client->sessions[session]) {
        return !client->ending[session];
    }
    void *memory = block(size);
    for (unsigned i = 0; err == TF_AGAIN && i < 2 && client->machine; i++) {
        err =
            tf_amqp_session_begin(client->machine, memory, size, NULL, &client->sessions[session]);
        if (err == TF_AGAIN) { /* it may want a table first */
            tf_sim_amqp_client_pull(client);
        }
    }
    if (err) {
        client->sessions[session] = NULL;
        free(memory);
        return false;
    }
    tf_sim_trace(client->sim, "k%u begins session %u", client->number, session);
    tf_sim_amqp_client_flush(client);
    return true;
}

void tf_sim_amqp_client_end(struct tf_sim_amqp_client *client, unsigned session)
{
    if (!client->sessions[session] || client->ending[session]) {
        return;
    }
    tf_sim_trace(client->sim, "k%u ends session %u", client->number, session);
    client->ending[session] = true;
    end_receivers(client, session);
    tf_amqp_session_end(client->sessions[session], NULL);
    tf_sim_amqp_client_flush(client);
}

/* ---- events ---- */

static unsigned session_of(const struct tf_sim_amqp_client *client,
                           const struct tf_amqp_session *session)
{
    unsigned i = 0;
    while (client->sessions[i] != session) {
        i++;
        tf_assert(i < TF_SIM_AMQP_SESSIONS);
    }
    return i;
}

static void on_needs(struct tf_sim_amqp_client *client, const struct tf_amqp_event *event)
{
    void *old = NULL;
    enum tf_err err = tf_amqp_give(client->machine, event->session, event->part, block(event->size),
                                   event->size, &old);
    tf_assert(err == TF_OK);
    free(old);
}

static void on_event(struct tf_sim_amqp_client *client, const struct tf_amqp_event *event)
{
    switch (event->type) {
    case TF_AMQP_OPENED:
        tf_sim_trace(client->sim, "k%u is let in", client->number);
        client->state = TF_SIM_AMQP_ON;
        break;
    case TF_AMQP_CLOSED:
        if (event->error.condition != TF_AMQP_NO_ERROR) {
            blame(client, "the broker closes the connection", &event->error);
        }
        break;
    case TF_AMQP_BEGUN:
        client->begun[session_of(client, event->session)] = true;
        break;
    case TF_AMQP_ENDED:
        if (event->error.condition != TF_AMQP_NO_ERROR) {
            blame(client,
                  event->local ? "the session ends for what the broker did"
                               : "the broker ends a session",
                  &event->error);
        }
        free_session(client, session_of(client, event->session), true);
        break;
    case TF_AMQP_NEEDS:
        on_needs(client, event);
        break;
    case TF_AMQP_RETURNED:
        free((void *)(uintptr_t)event->owner);
        break;
    case TF_AMQP_AUTHENTICATE:
    case TF_AMQP_BEGIN:
    case TF_AMQP_ATTACH:
        tf_sim_blame(client->sim, "client %u: the broker begins something: %d", client->number,
                     (int)event->type);
        tf_sim_amqp_client_drop(client, true);
        break;
    default:
        if (event->link) {
            tf_sim_amqp_link_event(tf_amqp_link_user(event->link), event);
        }
        break;
    }
}

void tf_sim_amqp_client_pull(struct tf_sim_amqp_client *client)
{
    struct tf_amqp_event event;
    while (client->machine && !client->sim->failed && tf_amqp_event(client->machine, &event)) {
        on_event(client, &event);
    }
}

/* ---- bytes ---- */

static bool has_output(const struct tf_sim_amqp_client *client)
{
    struct tf_bytes span;
    return tf_amqp_output(client->machine, &span, 1) > 0;
}

void tf_sim_amqp_client_flush(struct tf_sim_amqp_client *client)
{
    struct tf_bytes spans[3];
    size_t count;
    bool full = false;
    while (client->link && client->machine && !full &&
           (count = tf_amqp_output(client->machine, spans, TF_COUNT(spans)))) {
        size_t sum = 0;
        for (size_t i = 0; i < count && !full; i++) {
            size_t written;
            if (!tf_sim_pipe_write(client->sim, &client->link->up, spans[i], &written)) {
                written = spans[i].length; /* the end is on its way here */
            }
            sum += written;
            full = written < spans[i].length;
        }
        tf_amqp_sent(client->machine, sum, client->sim->now);
        tf_sim_amqp_client_pull(client);
    }
}

/* What the machine thinks of the broker; and the end of a connection that is over. */
static void check(struct tf_sim_amqp_client *client)
{
    const struct tf_amqp_error *error = NULL;
    struct tf_bytes span;
    if (!client->machine || client->sim->failed) {
        return;
    }
    if (!tf_amqp_check(client->machine)) {
        tf_sim_fail(client->sim, "client %u: an invariant of its machine is broken",
                    client->number);
        return;
    }
    if (!tf_amqp_closing(client->machine, &error)) {
        return;
    }
    if (error && error->condition != TF_AMQP_NO_ERROR) {
        blame(client, "its machine gives the connection up", error);
    }
    if (!tf_amqp_output(client->machine, &span, 1) || client->link->up.refused) {
        bool graceful = client->state == TF_SIM_AMQP_LEAVING && !client->silenced &&
                        (!error || error->condition == TF_AMQP_NO_ERROR);
        tf_sim_trace(client->sim, "k%u is out%s", client->number, graceful ? " as it wished" : "");
        free_machine(client, graceful);
        leave_link(client, true);
    }
}

static void feed(struct tf_sim_amqp_client *client)
{
    size_t done = 0;
    unsigned stuck = 0;
    client->wants = false;
    while (client->machine && done < client->in_length && !client->sim->failed) {
        size_t used = 0, need = 0;
        struct tf_bytes in = tf_bytes_of(client->in + done, client->in_length - done);
        enum tf_err err = tf_amqp_input(client->machine, in, &used, &need, client->sim->now);
        tf_sim_amqp_client_pull(client);
        if (err == TF_PROTOCOL || err == TF_CLOSED) {
            done = client->in_length;
            break;
        }
        tf_sim_amqp_client_flush(client);
        if (err == TF_MORE) {
            break;
        }
        if (err == TF_AGAIN && client->machine && has_output(client)) {
            client->wants = true;
            break; /* goes on when the link has taken it */
        }
        if (err == TF_AGAIN && ++stuck == 3) {
            tf_sim_fail(client->sim, "client %u: its machine takes no input, and wants nothing",
                        client->number);
        }
        stuck = err == TF_AGAIN ? stuck : 0;
        done += used;
    }
    if (!client->machine) {
        client->in_length = 0;
        return;
    }
    client->in_length -= done;
    memmove(client->in, client->in + done, client->in_length);
}

/* Reads what has come. */
static void read_link(struct tf_sim_amqp_client *client)
{
    bool end = false;
    size_t most = 65536;
    if (client->in_capacity < client->in_length + most) {
        client->in_capacity = client->in_length + 2 * most;
        client->in = realloc(client->in, client->in_capacity);
        tf_assert(client->in);
    }
    size_t length = tf_sim_pipe_read(client->sim, &client->link->down,
                                     client->in + client->in_length, most, &end);
    client->in_length += length;
    if (length) {
        tf_sim_trace(client->sim, "k%u reads %zu", client->number, length);
        feed(client);
    }
    check(client);
    if (end && !length && client->machine) {
        if (client->state != TF_SIM_AMQP_LEAVING && !client->silenced &&
            !client->sim->amqp->ended) {
            tf_sim_blame(client->sim, "client %u: the broker closes the link", client->number);
        }
        tf_sim_amqp_client_drop(client, true);
    }
}

/* ---- time ---- */

tf_time tf_sim_amqp_client_next(const struct tf_sim_amqp_client *client)
{
    tf_time at;
    if (!client->machine) {
        return TF_TIME_NEVER;
    }
    at = TF_MIN(tf_amqp_deadline(client->machine), tf_sim_amqp_answer_next(client));
    if (!client->wants) {
        at = TF_MIN(at, TF_MAX(tf_sim_pipe_next(&client->link->down), client->read_after));
    }
    if (has_output(client) ? tf_sim_pipe_writable(&client->link->up) : client->wants) {
        at = client->sim->now;
    }
    return TF_MAX(at, client->silent_until);
}

void tf_sim_amqp_client_step(struct tf_sim_amqp_client *client)
{
    struct tf_sim *sim = client->sim;
    if (tf_amqp_deadline(client->machine) <= sim->now) {
        tf_amqp_tick(client->machine, sim->now);
        tf_sim_amqp_client_pull(client);
    }
    tf_sim_amqp_client_flush(client);
    if (client->machine && client->wants) {
        feed(client);
    }
    if (client->machine && !client->wants && client->read_after <= sim->now &&
        tf_sim_pipe_next(&client->link->down) <= sim->now) {
        read_link(client);
    }
    if (client->machine) {
        tf_sim_amqp_answer(client, false);
        tf_sim_amqp_client_flush(client);
    }
    check(client);
    tf_sim_amqp_judge(sim);
}
