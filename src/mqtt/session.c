/*
 * The tables of an MQTT session; see session.h.
 */
#include "mqtt/session.h"

#include "base/assert.h"
#include "base/mem.h"

void tf_mqtt_session_init(struct tf_mqtt_session *session)
{
    *session = (struct tf_mqtt_session){0};
}

/* --- outbound ------------------------------------------------------------------------------------
 */

size_t tf_mqtt_session_sent_size(uint16_t capacity)
{
    return capacity * sizeof(struct tf_mqtt_sent);
}

enum tf_err tf_mqtt_session_give_sent(struct tf_mqtt_session *session, void *memory, size_t length,
                                      void **ret_old)
{
    size_t capacity = length / sizeof(struct tf_mqtt_sent);

    if (!memory || capacity == 0 || capacity < session->sent_capacity)
        return TF_MISUSE;
    if (session->sent_fresh > 0)
        memcpy(memory, session->sent, tf_mqtt_session_sent_size(session->sent_fresh));
    *ret_old = session->sent;
    session->sent = memory;
    session->sent_capacity = capacity < UINT16_MAX ? (uint16_t)capacity : UINT16_MAX;
    return TF_OK;
}

void *tf_mqtt_session_take_sent(struct tf_mqtt_session *session)
{
    void *memory = session->sent;

    if (session->sent_count > 0)
        return NULL;
    session->sent = NULL;
    session->sent_capacity = session->sent_free = session->sent_fresh = 0;
    return memory;
}

/* Uses a slot that is in no list, as the youngest. */
static void use_slot(struct tf_mqtt_session *session, uint16_t packet_id, uint64_t handle,
                     enum tf_mqtt_sent_state state)
{
    session->sent[packet_id - 1] =
        (struct tf_mqtt_sent){.handle = handle, .prev = session->sent_last, .state = state};
    if (session->sent_last)
        session->sent[session->sent_last - 1].next = packet_id;
    else
        session->sent_first = packet_id;
    session->sent_last = packet_id;
    session->sent_count++;
}

uint16_t tf_mqtt_session_sent_add(struct tf_mqtt_session *session, uint64_t handle,
                                  enum tf_mqtt_sent_state state)
{
    uint16_t packet_id = session->sent_free;

    tf_assert(!tf_mqtt_session_sent_full(session));
    if (packet_id)
        session->sent_free = session->sent[packet_id - 1].next;
    else
        packet_id = ++session->sent_fresh;
    use_slot(session, packet_id, handle, state);
    return packet_id;
}

/* Makes all ids below one that was never used free ones, the lowest first. */
static void free_gap(struct tf_mqtt_session *session, uint16_t packet_id)
{
    for (uint16_t id = packet_id - 1; id > session->sent_fresh; id--) {
        session->sent[id - 1] =
            (struct tf_mqtt_sent){.next = session->sent_free, .state = TF_MQTT_SENT_FREE};
        if (session->sent_free)
            session->sent[session->sent_free - 1].prev = id;
        session->sent_free = id;
    }
    session->sent_fresh = packet_id;
}

/*
 * Takes one id out of the list of free ones. What is before it there is known if that was made by
 * free_gap; else it has to be looked for.
 */
static void take_free(struct tf_mqtt_session *session, uint16_t packet_id)
{
    const struct tf_mqtt_sent *slot = session->sent + packet_id - 1;
    uint16_t before = slot->prev;

    if (session->sent_free == packet_id) {
        session->sent_free = slot->next;
        return;
    }
    if (before == 0 || before > session->sent_fresh ||
        session->sent[before - 1].state != TF_MQTT_SENT_FREE ||
        session->sent[before - 1].next != packet_id) {
        before = session->sent_free;
        while (session->sent[before - 1].next != packet_id)
            before = session->sent[before - 1].next;
    }
    session->sent[before - 1].next = slot->next;
    if (slot->next)
        session->sent[slot->next - 1].prev = before;
}

enum tf_err tf_mqtt_session_restore_sent(struct tf_mqtt_session *session, uint16_t packet_id,
                                         uint64_t handle, enum tf_mqtt_sent_state state)
{
    if (packet_id == 0 || tf_mqtt_session_sent(session, packet_id) ||
        (state != TF_MQTT_SENT_PUBACK && state != TF_MQTT_SENT_PUBREC &&
         state != TF_MQTT_SENT_PUBCOMP))
        return TF_MISUSE;
    if (packet_id > session->sent_capacity)
        return TF_NO_MEMORY;
    if (packet_id > session->sent_fresh)
        free_gap(session, packet_id);
    else
        take_free(session, packet_id);
    use_slot(session, packet_id, handle, state);
    return TF_OK;
}

uint16_t tf_mqtt_session_youngest(const struct tf_mqtt_session *session)
{
    return session->sent_last;
}

void tf_mqtt_session_sent_remove(struct tf_mqtt_session *session, uint16_t packet_id)
{
    struct tf_mqtt_sent *slot = tf_mqtt_session_sent(session, packet_id);

    tf_assert(slot);
    if (slot->prev)
        session->sent[slot->prev - 1].next = slot->next;
    else
        session->sent_first = slot->next;
    if (slot->next)
        session->sent[slot->next - 1].prev = slot->prev;
    else
        session->sent_last = slot->prev;
    slot->state = TF_MQTT_SENT_FREE;
    slot->next = session->sent_free;
    session->sent_free = packet_id;
    session->sent_count--;
}

bool tf_mqtt_session_sent_next(const struct tf_mqtt_session *session, uint32_t *cursor,
                               uint64_t *ret_handle, enum tf_mqtt_sent_state *ret_state)
{
    const struct tf_mqtt_sent *slot;
    uint16_t packet_id = session->sent_first;

    /* The cursor is the id that was given last, above bit 16 so that 0 is the start. */
    if (*cursor) {
        slot = tf_mqtt_session_sent(session, (uint16_t)*cursor);
        packet_id = slot ? slot->next : 0;
    }
    if (!packet_id)
        return false;
    slot = session->sent + packet_id - 1;
    *cursor = packet_id | UINT32_C(0x10000);
    *ret_handle = slot->handle;
    *ret_state = slot->state;
    return true;
}

/* --- inbound -------------------------------------------------------------------------------------
 */

size_t tf_mqtt_session_received_size(uint16_t capacity)
{
    size_t slots = 2;

    while (slots / 2 < capacity && slots < 65536)
        slots *= 2;
    return slots * sizeof(struct tf_mqtt_received);
}

/* The slot where an id is, or else the free one where it would be. There is always a free one. */
static struct tf_mqtt_received *received_slot(struct tf_mqtt_received *table, uint32_t slots,
                                              uint16_t packet_id)
{
    /* Clients count their ids up, so the low bits spread them better than a hash would. */
    uint32_t i = packet_id & (slots - 1);

    while (table[i].state != TF_MQTT_RECEIVED_FREE && table[i].packet_id != packet_id)
        i = (i + 1) & (slots - 1);
    return table + i;
}

enum tf_err tf_mqtt_session_give_received(struct tf_mqtt_session *session, void *memory,
                                          size_t length, void **ret_old)
{
    struct tf_mqtt_received *table = memory;
    uint32_t slots = 2;

    while (slots < 65536 && length / sizeof *table >= slots * 2)
        slots *= 2;
    if (!memory || length / sizeof *table < slots ||
        (slots < 65536 && session->received_count > slots / 2))
        return TF_MISUSE;
    memset(table, 0, slots * sizeof *table);
    for (uint32_t i = 0; i < session->received_slots; i++) {
        const struct tf_mqtt_received *entry = session->received + i;
        if (entry->state != TF_MQTT_RECEIVED_FREE)
            *received_slot(table, slots, entry->packet_id) = *entry;
    }
    *ret_old = session->received;
    session->received = table;
    session->received_slots = slots;
    return TF_OK;
}

void *tf_mqtt_session_take_received(struct tf_mqtt_session *session)
{
    void *memory = session->received;

    if (session->received_count > 0)
        return NULL;
    session->received = NULL;
    session->received_slots = 0;
    return memory;
}

struct tf_mqtt_received *tf_mqtt_session_received(const struct tf_mqtt_session *session,
                                                  uint16_t packet_id)
{
    struct tf_mqtt_received *entry;

    if (session->received_count == 0)
        return NULL;
    entry = received_slot(session->received, session->received_slots, packet_id);
    return entry->state != TF_MQTT_RECEIVED_FREE ? entry : NULL;
}

struct tf_mqtt_received *tf_mqtt_session_received_add(struct tf_mqtt_session *session,
                                                      uint16_t packet_id)
{
    struct tf_mqtt_received *entry;

    tf_assert(!tf_mqtt_session_received_full(session));
    entry = received_slot(session->received, session->received_slots, packet_id);
    tf_assert(entry->state == TF_MQTT_RECEIVED_FREE);
    *entry = (struct tf_mqtt_received){packet_id, TF_MQTT_RECEIVED_PENDING, false};
    session->received_count++;
    return entry;
}

void tf_mqtt_session_received_remove(struct tf_mqtt_session *session,
                                     struct tf_mqtt_received *entry)
{
    struct tf_mqtt_received *table = session->received;
    uint32_t mask = session->received_slots - 1;
    uint32_t hole = (uint32_t)(entry - table);

    /* Closes the gap: whatever lies behind it and could not be found past a hole moves into it. */
    for (uint32_t i = (hole + 1) & mask; table[i].state != TF_MQTT_RECEIVED_FREE;
         i = (i + 1) & mask) {
        uint32_t home = table[i].packet_id & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            table[hole] = table[i];
            hole = i;
        }
    }
    table[hole].state = TF_MQTT_RECEIVED_FREE;
    session->received_count--;
}

void tf_mqtt_session_published(struct tf_mqtt_session *session, uint16_t packet_id, uint8_t reason)
{
    struct tf_mqtt_received *entry = tf_mqtt_session_received(session, packet_id);

    if (!entry || entry->state != TF_MQTT_RECEIVED_PENDING)
        return;
    if (reason < TF_MQTT_UNSPECIFIED_ERROR)
        entry->state = TF_MQTT_RECEIVED_DONE;
    else
        tf_mqtt_session_received_remove(session, entry); /* MQTT 5.0 4.3.3, figure 4.3 */
}

enum tf_err tf_mqtt_session_restore_received(struct tf_mqtt_session *session, uint16_t packet_id)
{
    if (packet_id == 0 || tf_mqtt_session_received(session, packet_id))
        return TF_MISUSE;
    if (tf_mqtt_session_received_full(session))
        return TF_NO_MEMORY;
    tf_mqtt_session_received_add(session, packet_id)->state = TF_MQTT_RECEIVED_DONE;
    return TF_OK;
}

bool tf_mqtt_session_received_next(const struct tf_mqtt_session *session, uint32_t *cursor,
                                   uint16_t *ret_packet_id)
{
    while (*cursor < session->received_slots) {
        const struct tf_mqtt_received *entry = session->received + (*cursor)++;
        if (entry->state != TF_MQTT_RECEIVED_FREE) {
            *ret_packet_id = entry->packet_id;
            return true;
        }
    }
    return false;
}

void tf_mqtt_session_received_clear(struct tf_mqtt_session *session)
{
    if (session->received_count > 0)
        memset(session->received, 0, session->received_slots * sizeof *session->received);
    session->received_count = 0;
}

/* --- both ----------------------------------------------------------------------------------------
 */

void tf_mqtt_session_clear(struct tf_mqtt_session *session)
{
    session->sent_count = session->sent_first = session->sent_last = 0;
    session->sent_free = session->sent_fresh = 0;
    tf_mqtt_session_received_clear(session);
}

void tf_mqtt_session_reconnect(struct tf_mqtt_session *session)
{
    for (uint16_t id = session->sent_first; id; id = session->sent[id - 1].next)
        session->sent[id - 1].counted = session->sent[id - 1].passed = false;
    for (uint32_t i = 0; session->received_count > 0 && i < session->received_slots; i++) {
        session->received[i].counted = false;
        if (session->received[i].state == TF_MQTT_RECEIVED_RELEASED)
            session->received[i].state = TF_MQTT_RECEIVED_DONE;
    }
}

/* Both lists of the outbound table hold each id up to `sent_fresh` once. */
static bool check_sent(const struct tf_mqtt_session *session)
{
    uint32_t used = 0, unused = 0;
    uint16_t prev = 0;

    if (session->sent_fresh > session->sent_capacity || session->sent_count > session->sent_fresh)
        return false;
    for (uint16_t id = session->sent_first; id; id = session->sent[id - 1].next) {
        const struct tf_mqtt_sent *slot = session->sent + id - 1;
        if (id > session->sent_fresh || slot->prev != prev || slot->state == TF_MQTT_SENT_FREE ||
            slot->state > TF_MQTT_SENT_UNSUBACK || ++used > session->sent_count)
            return false;
        prev = id;
    }
    for (uint16_t id = session->sent_free; id; id = session->sent[id - 1].next) {
        if (id > session->sent_fresh || session->sent[id - 1].state != TF_MQTT_SENT_FREE ||
            ++unused > session->sent_fresh)
            return false;
    }
    return prev == session->sent_last && used == session->sent_count &&
           used + unused == session->sent_fresh;
}

/* Each inbound id is found where it is looked for, so it is there once. */
static bool check_received(const struct tf_mqtt_session *session)
{
    uint32_t used = 0;

    for (uint32_t i = 0; i < session->received_slots; i++) {
        const struct tf_mqtt_received *entry = session->received + i;
        if (entry->state == TF_MQTT_RECEIVED_FREE)
            continue;
        used++;
        if (entry->packet_id == 0 || entry->state > TF_MQTT_RECEIVED_RELEASED ||
            tf_mqtt_session_received(session, entry->packet_id) != entry)
            return false;
    }
    return used == session->received_count && used < (session->received_slots | 1) &&
           (session->received_slots & (session->received_slots - 1)) == 0;
}

bool tf_mqtt_session_check(const struct tf_mqtt_session *session)
{
    return check_sent(session) && check_received(session);
}
