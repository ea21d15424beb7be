/*
 * Watchers, and the cell that all of one address in a shard share. See value_access.h; what the
 * home does is in watched.c.
 *
 *   watching shard                           home
 *       |---- WATCH ---------------------------->|  binds the address in every shard, if this is
 *       |                                        |  the first; when it stands:
 *       |<--------------------------------- TOLD |  the present value; again for each newer one
 *       |---- UNWATCH -------------------------->|  the last watcher has gone
 *
 * A watcher is in one list of its cell:
 *
 *             newer value              TF_AGAIN
 *     TOLD ----------------> BEHIND ----------------> WAITING
 *       ^                     |  ^                       |
 *       +------ deliver ------+  +---- tf_watcher_ready -+
 *
 * A newer value moves the told behind those that are still behind, in one step; who waits has
 * nothing to lose but the values between. A cell is in access.walking while anybody is behind a
 * value that has come, or is to hear that none will.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "route/internal.h"

#define WALK_BUDGET 1024u /* watchers told in one turn, */
#define WALK_RUN 64u      /* and of one cell before the next has its turn */

void tf_watch_cell_unref(struct tf_watch_cell *cell)
{
    if (atomic_fetch_sub_explicit(&cell->refs, 1, memory_order_acq_rel) == 1) {
        if (cell->message) {
            tf_message_unref(cell->message);
        }
        cell->alloc->free(cell->alloc->ctx, cell, cell->size);
    }
}

static void schedule(struct tf_shard *shard, struct tf_watch_cell *cell)
{
    if ((cell->version || cell->failed) && !tf_list_empty(&cell->behind) &&
        !tf_list_linked(&cell->walking)) {
        tf_list_push_back(&shard->access.walking, &cell->walking);
    }
}

static struct tf_watch_cell *find_cell(const struct tf_shard *shard, struct tf_bytes address,
                                       uint64_t hash)
{
    struct tf_map_node *node = tf_map_find(&shard->access.cells, hash);
    for (; node; node = tf_map_find_next(node)) {
        struct tf_watch_cell *cell = tf_container_of(node, struct tf_watch_cell, node);
        if (tf_bytes_equal(cell->address, address)) {
            return cell;
        }
    }
    return NULL;
}

/* A cell that is in the map, with two counts: the shard's, and one for the WATCH. */
static struct tf_watch_cell *new_cell(struct tf_shard *shard, struct tf_bytes address,
                                      uint64_t hash)
{
    const struct tf_alloc *alloc = shard->config.alloc;
    size_t size = sizeof(struct tf_watch_cell) + address.length;
    struct tf_watch_cell *cell = alloc->alloc(alloc->ctx, size);
    if (!cell) {
        return NULL;
    }
    memset(cell, 0, sizeof(*cell));
    memcpy(cell + 1, address.data, address.length);
    atomic_init(&cell->refs, 2);
    cell->alloc = alloc;
    cell->size = size;
    cell->hash = hash;
    cell->shard = shard->config.number;
    cell->home = tf_shard_home(shard, address);
    cell->address = tf_bytes_of(cell + 1, address.length);
    tf_list_init(&cell->behind);
    tf_list_init(&cell->told);
    tf_list_init(&cell->waiting);
    tf_map_insert(&shard->access.cells, &cell->node, hash);
    return cell;
}

static void leave(struct tf_watcher *watcher)
{
    tf_list_remove(&watcher->node);
    watcher->cell = NULL;
    watcher->version = 0;
    watcher->waiting = false;
}

enum tf_err tf_shard_watch(struct tf_shard *shard, struct tf_watcher *watcher,
                           struct tf_bytes address)
{
    uint64_t hash = tf_hash(address, &shard->values.key);
    struct tf_watch_cell *cell = find_cell(shard, address, hash);
    bool fresh = !cell;
    tf_assert(!watcher->cell);
    if (fresh) {
        cell = new_cell(shard, address, hash);
        if (!cell) {
            return TF_NO_MEMORY;
        }
    }
    watcher->cell = cell;
    watcher->version = 0;
    watcher->waiting = false;
    tf_list_push_back(&cell->behind, &watcher->node);
    schedule(shard, cell);
    struct tf_mail mail = {.type = TF_MAIL_WATCH, .object = cell};
    if (fresh && !tf_shard_post(shard, cell->home, &mail)) {
        leave(watcher);
        tf_map_remove(&shard->access.cells, &cell->node);
        tf_watch_cell_unref(cell);
        tf_watch_cell_unref(cell);
        return TF_NO_MEMORY;
    }
    return TF_OK;
}

/* The cell's last watcher may have left: then its home is told, unless it knows the cell no more.
 */
static void end_if_empty(struct tf_shard *shard, struct tf_watch_cell *cell)
{
    if (cell->gone || !tf_list_empty(&cell->behind) || !tf_list_empty(&cell->told) ||
        !tf_list_empty(&cell->waiting)) {
        return;
    }
    cell->gone = true;
    tf_list_unlink(&cell->walking);
    if (cell->failed) {
        tf_watch_cell_unref(cell);
        return;
    }
    tf_map_remove(&shard->access.cells, &cell->node);
    struct tf_mail mail = {.type = TF_MAIL_UNWATCH, .object = cell};
    tf_access_post(shard, cell->home, &mail, &cell->unwatch);
}

void tf_shard_unwatch(struct tf_shard *shard, struct tf_watcher *watcher)
{
    struct tf_watch_cell *cell = watcher->cell;
    if (!cell) {
        return;
    }
    if (shard->access.telling == watcher) {
        shard->access.telling = NULL;
    }
    leave(watcher);
    if (tf_list_empty(&cell->behind)) {
        tf_list_unlink(&cell->walking);
    }
    end_if_empty(shard, cell);
}

void tf_watcher_ready(struct tf_shard *shard, struct tf_watcher *watcher)
{
    if (shard->access.telling == watcher) {
        shard->access.telling_ready = true;
    }
    if (watcher->waiting) {
        watcher->waiting = false;
        tf_list_remove(&watcher->node);
        tf_list_push_back(&watcher->cell->behind, &watcher->node);
        schedule(shard, watcher->cell);
    }
}

void tf_watch_told(struct tf_shard *shard, struct tf_watch_cell *cell, struct tf_message *message,
                   uint64_t version)
{
    if (!cell->gone && version > cell->version) {
        struct tf_message *old = cell->message;
        cell->message = message;
        cell->version = version;
        message = old;
        tf_list_splice_back(&cell->behind, &cell->told);
        schedule(shard, cell);
    }
    if (message) {
        tf_message_unref(message);
    }
    tf_watch_cell_unref(cell);
}

void tf_watch_refused(struct tf_shard *shard, struct tf_watch_cell *cell)
{
    if (!cell->gone) {
        cell->failed = true;
        tf_map_remove(&shard->access.cells, &cell->node); /* who comes now begins anew */
        schedule(shard, cell);
    }
    tf_watch_cell_unref(cell);
}

/* Tells one watcher, who is the first behind. False: nobody else has room in this turn. */
static bool tell(struct tf_shard *shard, struct tf_watch_cell *cell, struct tf_watcher *watcher)
{
    struct tf_value_access *access = &shard->access;
    uint64_t before = watcher->version;
    if (cell->failed) {
        leave(watcher);
        end_if_empty(shard, cell);
        watcher->ops->failed(watcher);
        return true;
    }
    tf_list_remove(&watcher->node);
    tf_list_push_back(&cell->told, &watcher->node);
    watcher->version = cell->version;
    access->telling = watcher;
    access->telling_ready = false;
    enum tf_err err = watcher->ops->deliver(watcher, cell->message, cell->version);
    if (access->telling != watcher) {
        return true; /* it has left, and may be no more */
    }
    access->telling = NULL;
    if (err == TF_OK) {
        return true;
    }
    watcher->version = before;
    tf_list_remove(&watcher->node);
    if (err == TF_LIMIT) {
        tf_list_push_front(&cell->behind, &watcher->node);
        return false;
    }
    watcher->waiting = !access->telling_ready;
    tf_list_push_back(watcher->waiting ? &cell->waiting : &cell->behind, &watcher->node);
    return true;
}

void tf_watch_walk(struct tf_shard *shard)
{
    struct tf_list_node *node;
    unsigned left = WALK_BUDGET;
    bool room = true;
    while (left && room && (node = tf_list_pop_front(&shard->access.walking))) {
        struct tf_watch_cell *cell = tf_container_of(node, struct tf_watch_cell, walking);
        unsigned run = TF_MIN(left, WALK_RUN);
        left -= run;
        /* counted: its last watcher may leave meanwhile */
        atomic_fetch_add_explicit(&cell->refs, 1, memory_order_relaxed);
        while (run && room && (node = tf_list_first(&cell->behind))) {
            room = tell(shard, cell, tf_container_of(node, struct tf_watcher, node));
            run--;
        }
        left += run;
        if (!tf_list_empty(&cell->behind)) {
            tf_list_unlink(&cell->walking); /* whoever came meanwhile may have linked it */
            if (room) {
                tf_list_push_back(&shard->access.walking, &cell->walking);
            } else {
                tf_list_push_front(&shard->access.walking, &cell->walking);
            }
        } else {
            tf_list_unlink(&cell->walking);
        }
        tf_watch_cell_unref(cell);
    }
}

/* Counts the watchers of a list; *good turns false if one does not belong there. */
static size_t check_list(const struct tf_watch_cell *cell, const struct tf_list *list, bool *good)
{
    size_t count = 0;
    struct tf_list_node *node = tf_list_first(list);
    for (; node; node = tf_list_next(list, node)) {
        const struct tf_watcher *watcher = tf_container_of(node, struct tf_watcher, node);
        *good &= watcher->cell == cell && watcher->waiting == (list == &cell->waiting);
        if (list == &cell->told) {
            *good &= watcher->version == cell->version;
        } else {
            *good &= watcher->version < cell->version || !cell->version;
        }
        count++;
    }
    return count;
}

bool tf_watch_cell_check(const struct tf_watch_cell *cell)
{
    bool good = true;
    size_t behind = check_list(cell, &cell->behind, &good);
    size_t others = check_list(cell, &cell->told, &good) + check_list(cell, &cell->waiting, &good);
    return good && !cell->gone && !cell->failed && behind + others > 0 &&
           (cell->version || others == 0) &&
           tf_list_linked(&cell->walking) == (cell->version && behind);
}
