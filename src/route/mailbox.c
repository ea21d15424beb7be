/*
 * Mail between shards. See mailbox.h.
 *
 * A ring's indexes only grow; `head` belongs to the reader, `tail` to the writer, each on a cache
 * line of its own. The writer keeps the last head it saw, so that it touches the reader's line only
 * when the ring looks full. Sleeping is the waking side's affair (config.wake), which coalesces.
 */
#include "route/mailbox.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/util.h"

struct ring {
    _Alignas(64) atomic_size_t head;
    _Alignas(64) atomic_size_t tail;
    size_t head_seen;      /* the writer's */
    struct tf_mail *spill; /* the writer's list: a growable array used as a queue */
    size_t spill_first, spill_count, spill_capacity;
    bool unflushed;       /* the writer's: mail since the last wake-up */
    atomic_bool stranded; /* the writer has spilled: wake it when there is room */
    struct tf_mail *records;
};

struct tf_post_office {
    const struct tf_alloc *alloc;
    struct tf_wake wake;
    size_t capacity;
    size_t size;
    unsigned count;
    struct {
        _Alignas(64) unsigned turn; /* where shard n goes on reading */
    } readers[TF_SHARDS_MAX];
    struct ring rings[]; /* from * count + to */
};

static struct ring *ring_of(const struct tf_post_office *office, unsigned from, unsigned to)
{
    return (struct ring *)(uintptr_t)&office->rings[from * office->count + to];
}

struct tf_post_office *tf_post_office_new(unsigned count, size_t capacity, struct tf_wake wake,
                                          const struct tf_alloc *alloc)
{
    tf_assert(count >= 1 && count <= TF_SHARDS_MAX && capacity && !(capacity & (capacity - 1)));
    size_t rings = (size_t)count * count;
    size_t size = sizeof(struct tf_post_office) + rings * sizeof(struct ring) +
                  rings * capacity * sizeof(struct tf_mail) + 64;
    void *memory = alloc->alloc(alloc->ctx, size);
    if (!memory) {
        return NULL;
    }
    /* cache lines: the allocator aligns to 16; what is skipped is found again by tf_..._free */
    struct tf_post_office *office =
        (struct tf_post_office *)(((uintptr_t)memory + 64) & ~(uintptr_t)63);
    memset(office, 0, sizeof(*office) + rings * sizeof(struct ring));
    ((void **)office)[-1] = memory;
    office->alloc = alloc;
    office->wake = wake;
    office->capacity = capacity;
    office->count = count;
    office->size = size;
    struct tf_mail *records = (struct tf_mail *)&office->rings[rings];
    for (size_t i = 0; i < rings; i++) {
        office->rings[i].records = records + i * capacity;
    }
    return office;
}

void tf_post_office_free(struct tf_post_office *office)
{
    const struct tf_alloc *alloc = office->alloc;
    for (size_t i = 0; i < (size_t)office->count * office->count; i++) {
        struct ring *ring = &office->rings[i];
        if (ring->spill) {
            alloc->free(alloc->ctx, ring->spill, ring->spill_capacity * sizeof(*ring->spill));
        }
    }
    alloc->free(alloc->ctx, ((void **)office)[-1], office->size);
}

unsigned tf_post_office_count(const struct tf_post_office *office)
{
    return office->count;
}

static bool push(const struct tf_post_office *office, struct ring *ring, const struct tf_mail *mail)
{
    size_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    if (tail - ring->head_seen == office->capacity) {
        ring->head_seen = atomic_load_explicit(&ring->head, memory_order_acquire);
        if (tail - ring->head_seen == office->capacity) {
            return false;
        }
    }
    ring->records[tail & (office->capacity - 1)] = *mail;
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
    ring->unflushed = true;
    return true;
}

static enum tf_err spill(const struct tf_post_office *office, struct ring *ring,
                         const struct tf_mail *mail)
{
    if (ring->spill_count == ring->spill_capacity) {
        const struct tf_alloc *alloc = office->alloc;
        size_t capacity = ring->spill_capacity ? 2 * ring->spill_capacity : 64;
        struct tf_mail *list = alloc->alloc(alloc->ctx, capacity * sizeof(*list));
        if (!list) {
            return TF_NO_MEMORY;
        }
        for (size_t i = 0; i < ring->spill_count; i++) {
            list[i] = ring->spill[(ring->spill_first + i) & (ring->spill_capacity - 1)];
        }
        if (ring->spill) {
            alloc->free(alloc->ctx, ring->spill, ring->spill_capacity * sizeof(*list));
        }
        ring->spill = list;
        ring->spill_first = 0;
        ring->spill_capacity = capacity;
    }
    ring->spill[(ring->spill_first + ring->spill_count++) & (ring->spill_capacity - 1)] = *mail;
    return TF_OK;
}

enum tf_err tf_mail_send(struct tf_post_office *office, unsigned from, unsigned to,
                         const struct tf_mail *mail)
{
    struct ring *ring = ring_of(office, from, to);
    if (ring->spill_count == 0 && push(office, ring, mail)) {
        return TF_OK;
    }
    return spill(office, ring, mail);
}

bool tf_mail_receive(struct tf_post_office *office, unsigned to, struct tf_mail *ret,
                     unsigned *ret_from)
{
    for (unsigned tried = 0; tried < office->count; tried++) {
        unsigned from = office->readers[to].turn;
        struct ring *ring = ring_of(office, from, to);
        size_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
        if (head != atomic_load_explicit(&ring->tail, memory_order_acquire)) {
            *ret = ring->records[head & (office->capacity - 1)];
            *ret_from = from;
            atomic_store_explicit(&ring->head, head + 1, memory_order_release);
            return true;
        }
        /* seq_cst: either this sees `stranded`, or the writer sees the room (tf_mail_flush) */
        atomic_thread_fence(memory_order_seq_cst);
        if (atomic_load_explicit(&ring->stranded, memory_order_relaxed) &&
            atomic_exchange_explicit(&ring->stranded, false, memory_order_relaxed)) {
            office->wake.wake(office->wake.ctx, from);
        }
        office->readers[to].turn = (from + 1) % office->count;
    }
    return false;
}

/* Moves spilled mail into the ring. True: some is left. */
static bool unspill(const struct tf_post_office *office, struct ring *ring)
{
    while (ring->spill_count && push(office, ring, &ring->spill[ring->spill_first])) {
        ring->spill_first = (ring->spill_first + 1) & (ring->spill_capacity - 1);
        ring->spill_count--;
    }
    return ring->spill_count != 0;
}

bool tf_mail_flush(struct tf_post_office *office, unsigned from)
{
    bool spilled = false;
    for (unsigned to = 0; to < office->count; to++) {
        struct ring *ring = ring_of(office, from, to);
        if (unspill(office, ring)) {
            atomic_store_explicit(&ring->stranded, true, memory_order_relaxed);
            atomic_thread_fence(memory_order_seq_cst);
            spilled |= unspill(office, ring);
        }
        if (ring->unflushed) {
            ring->unflushed = false;
            office->wake.wake(office->wake.ctx, to);
        }
    }
    return spilled;
}

size_t tf_mail_spilled(const struct tf_post_office *office, unsigned from)
{
    size_t bytes = 0;
    for (unsigned to = 0; to < office->count; to++) {
        bytes += ring_of(office, from, to)->spill_count * sizeof(struct tf_mail);
    }
    return bytes;
}
