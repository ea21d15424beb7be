/*
 * Requests to $management in runs with AMQP: queues are purged, moved, deleted and looked at while
 * others use them.
 */
#include "sim/amqp.h"

#include <string.h>

static struct tf_sim_amqp_link *link_of(struct tf_sim_amqp_client *client, bool receive)
{
    for (unsigned i = 0; i < TF_SIM_AMQP_LINKS; i++) {
        struct tf_sim_amqp_link *link = &client->links[i];
        if (link->machine && link->attached && !link->leaving &&
            (receive ? link->wish.dynamic : link->wish.management)) {
            return link;
        }
    }
    return NULL;
}

static void write_text(struct tf_writer *writer, const char *key, const char *text)
{
    tf_amqp_write_string(writer, tf_bytes_str(key));
    tf_amqp_write_string(writer, tf_bytes_str(text));
}

void tf_sim_amqp_ask(struct tf_sim_amqp_client *client, const char *operation,
                     enum tf_sim_amqp_place place, enum tf_sim_amqp_place to)
{
    struct tf_sim *sim = client->sim;
    struct tf_sim_amqp_link *sender = link_of(client, false), *receiver = link_of(client, true);
    bool move = !strcmp(operation, "MOVE"), takes = strcmp(operation, "READ") != 0;
    uint8_t memory[512], id[16];
    struct tf_writer writer = tf_writer_of(memory, sizeof(memory));
    struct tf_writer encoded = tf_writer_of(id, sizeof(id));
    if (!sender || !receiver) {
        return;
    }
    tf_amqp_write_ulong(&encoded, ((uint64_t)place << 8) + (move ? to : place) + (takes << 16));
    struct tf_amqp_properties properties = {.message_id =
                                                tf_bytes_of(id, tf_writer_length(&encoded)),
                                            .has_reply_to = true,
                                            .reply_to = tf_bytes_str(receiver->address)};
    tf_amqp_write_properties(&writer, &properties);
    tf_amqp_write_section(&writer, TF_AMQP_APPLICATION_PROPERTIES);
    size_t begin = tf_amqp_write_map_begin(&writer);
    write_text(&writer, "operation", operation);
    write_text(&writer, "type", "queue");
    write_text(&writer, "name", tf_sim_amqp_nodes[place].name);
    if (move) {
        write_text(&writer, "to", tf_sim_amqp_nodes[to].name);
        tf_amqp_write_string(&writer, tf_bytes_str("limit"));
        tf_amqp_write_uint(&writer, (uint32_t)tf_sim_draw(sim, 1, 30));
    }
    tf_amqp_write_map_end(&writer, begin, move ? 10 : 6);
    tf_amqp_write_value_string(&writer, tf_bytes_str(""));
    if (tf_sim_amqp_link_put(sender, tf_bytes_of(memory, tf_writer_length(&writer)), 0, false)) {
        tf_sim_trace(sim, "k%u asks for %s of %s", client->number, operation,
                     tf_sim_amqp_nodes[place].name);
        client->asked++;
        sim->amqp->oracle.moved |= move;
        if (takes) {
            client->taking |= 1u << place;
            tf_sim_amqp_purged(&sim->amqp->oracle, place);
        }
    }
    tf_sim_amqp_client_flush(client);
}

void tf_sim_amqp_asked(struct tf_sim_amqp_client *client, struct tf_bytes in)
{
    struct tf_sim *sim = client->sim;
    struct tf_amqp_message message;
    enum tf_amqp_condition condition;
    struct tf_amqp_value code, id;
    if (tf_amqp_message_read(in, &message, &condition) ||
        !tf_amqp_map_find(message.application_properties, tf_bytes_str("statusCode"), &code) ||
        tf_amqp_value_of(message.properties.correlation_id, &id) || client->asked == 0) {
        tf_sim_blame(sim, "client %u: a strange answer comes from $management", client->number);
        return;
    }
    unsigned place = (unsigned)(id.number >> 8) & 0xFF;
    bool takes = id.number >> 16 & 1;
    tf_sim_trace(sim, "k%u is answered %d of %s", client->number, (int)code.integer,
                 place < TF_SIM_AMQP_PLACES ? tf_sim_amqp_nodes[place].name : "?");
    client->asked--;
    client->taking = client->asked ? client->taking : 0;
    if (place >= TF_SIM_AMQP_PLACES) {
        tf_sim_blame(sim, "client %u: the answer to another request", client->number);
        return;
    }
    if (takes) { /* what has come since it was asked may have gone, too */
        tf_sim_amqp_purged(&sim->amqp->oracle, place);
    }
    sim->seen[TF_SIM_AMQP_MANAGED] += code.integer == 200;
    if (code.integer != 200 &&
        !(code.integer == 404 && (place < TF_SIM_AMQP_WORK || place == TF_SIM_AMQP_SPARE))) {
        tf_sim_blame(sim, "client %u: $management answers %d about %s", client->number,
                     (int)code.integer, tf_sim_amqp_nodes[place].name);
    }
}
