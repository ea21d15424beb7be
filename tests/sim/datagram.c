/*
 * The network of datagrams: each is lost, doubled, late, by chance, and so overtakes others.
 *
 * A client has one path at a time, as behind a translating router: what is sent to a path that it
 * had before is lost. The shard that a datagram reaches follows from its path alone, as the kernel
 * does it for sockets that share a port.
 */
#include "sim/coap.h"

#include "base/assert.h"
#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

static void put(struct tf_sim *sim, struct tf_list *inbox, const struct tf_datagram_path *path,
                struct tf_bytes bytes, const struct tf_sim_weather *weather)
{
    struct tf_sim_packet *packet = malloc(sizeof(*packet) + bytes.length);
    struct tf_list_node *before = tf_list_last(inbox);
    tf_assert(packet);
    *packet = (struct tf_sim_packet){.path = *path, .length = bytes.length};
    packet->arrives = sim->now + tf_sim_draw(sim, weather->delay_least, weather->delay_most);
    packet->flags = sim->coap->trusted ? TF_DATAGRAM_TRUSTED : 0;
    if (weather->late && tf_sim_chance(sim, weather->late, 1000)) {
        packet->arrives += tf_sim_draw(sim, 0, weather->late_most);
        sim->seen[TF_SIM_COAP_LATE]++;
    }
    memcpy(packet->data, bytes.data, bytes.length);
    while (before &&
           tf_container_of(before, struct tf_sim_packet, node)->arrives > packet->arrives) {
        before = tf_list_prev(inbox, before);
    }
    if (before) {
        tf_list_insert_after(before, &packet->node);
    } else {
        tf_list_push_front(inbox, &packet->node);
    }
}

static void carry(struct tf_sim *sim, struct tf_list *inbox, const struct tf_datagram_path *path,
                  struct tf_bytes bytes, const struct tf_sim_weather *weather)
{
    if (weather->lost && tf_sim_chance(sim, weather->lost, 1000)) {
        sim->seen[TF_SIM_COAP_LOST]++;
        return;
    }
    put(sim, inbox, path, bytes, weather);
    if (weather->doubled && tf_sim_chance(sim, weather->doubled, 1000)) {
        sim->seen[TF_SIM_COAP_DOUBLED]++;
        put(sim, inbox, path, bytes, weather);
    }
}

void tf_sim_datagram_up(struct tf_sim *sim, struct tf_sim_coap_client *client,
                        struct tf_bytes bytes)
{
    struct tf_bytes path = tf_bytes_of(&client->path, sizeof(client->path));
    unsigned shard = tf_hash_shard(tf_hash_home(path), sim->shards);
    if (client->dark_until > sim->now) {
        return;
    }
    carry(sim, &sim->nodes[shard].inbox, &client->path, bytes, &sim->coap->up);
}

void tf_sim_datagram_down(struct tf_sim *sim, const struct tf_datagram_path *path,
                          struct tf_bytes bytes)
{
    for (unsigned i = 0; i < sim->coap->client_count; i++) {
        struct tf_sim_coap_client *client = &sim->coap->clients[i];
        if (memcmp(&client->path, path, sizeof(*path)) == 0 && client->dark_until <= sim->now) {
            carry(sim, &client->inbox, path, bytes, &sim->coap->down);
            return;
        }
    }
    sim->seen[TF_SIM_COAP_NOBODY]++;
}

tf_time tf_sim_inbox_next(const struct tf_list *inbox)
{
    struct tf_list_node *first = tf_list_first(inbox);
    return first ? tf_container_of(first, struct tf_sim_packet, node)->arrives : TF_TIME_NEVER;
}

struct tf_sim_packet *tf_sim_inbox_pop(struct tf_sim *sim, struct tf_list *inbox)
{
    if (tf_sim_inbox_next(inbox) > sim->now) {
        return NULL;
    }
    return tf_container_of(tf_list_pop_front(inbox), struct tf_sim_packet, node);
}

void tf_sim_inbox_clear(struct tf_list *inbox)
{
    struct tf_list_node *node;
    while ((node = tf_list_pop_front(inbox))) {
        free(tf_container_of(node, struct tf_sim_packet, node));
    }
}
