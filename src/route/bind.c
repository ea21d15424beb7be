/*
 * Binding a filter to a queue, and reading the values it matches: the protocol between shards.
 *
 *   binding shard Q          every shard P                   home H (all of them for a wildcard)
 *       |---- BIND ------------->|  notes Q in its routes         |
 *       |<------------- MARK ----|                                |
 *       |                        |---- BOUND -------------------->|  notes its version for P
 *       |<--------------------------------------------- READY ----|  when it has heard from all,
 *       |  owner->bound; tf_bind_draw: the first values           |  with the first page of values
 *       |---- READ ---------------------------------------------->|
 *       |<-------------------------------------------- VALUES ----|  a page; again until the end
 *
 * MARK takes the same way as P's publications to Q: what came before it was not published for this
 * binding, even if another one brought it here. BOUND takes the same way as those to H, so what P
 * wrote before it was not sent to Q by P, and what P wrote after it was. A value is given to Q if
 * its version is not above the one that H noted for its writer; all others are on their way to Q
 * already, or there. So each value of that moment comes once.
 * What P publishes after MARK may overtake VALUES. Q notes the addresses of it while values are to
 * come (tf_bind_saw), and passes over a value of the same address and writer: it is older. So no
 * value comes after a newer one of the same publisher.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "route/internal.h"

#define PAGE_MAX 32u
#define READ_BUDGET 512u /* addresses looked at for one page */
#define WORK_BUDGET 64u  /* pages asked for in one turn */
#define LIVE_MAX 65536u  /* what one bind notes of live publications while its values come */

/* Some values on their way from a home. */
struct tf_bind_page {
    struct tf_bind_page *next; /* bind->pages */
    struct tf_bind *bind;
    uint32_t count;
    uint32_t pushed; /* of these, into the queue */
    bool end;
    struct tf_message *messages[PAGE_MAX];
    uint8_t writers[PAGE_MAX];
};

/* A live publication that makes values stale; its hash is that of its address and shard. */
struct tf_bind_live {
    struct tf_map_node node;
};

static struct tf_bind *ref(struct tf_bind *bind)
{
    atomic_fetch_add_explicit(&bind->refs, 1, memory_order_relaxed);
    return bind;
}

static void unref(struct tf_bind *bind)
{
    if (atomic_fetch_sub_explicit(&bind->refs, 1, memory_order_acq_rel) == 1) {
        for (unsigned i = 0; i < bind->home_count; i++) {
            tf_value_cursor_release(&bind->homes[i].cursor, bind->alloc);
            if (bind->homes[i].made_last) {
                tf_message_unref(bind->homes[i].made_last);
            }
        }
        bind->alloc->free(bind->alloc->ctx, bind, bind->size);
    }
}

/* True for filters that every shard may have values of: wildcards, and what is made when read. */
static bool everywhere(struct tf_bytes filter)
{
    return tf_filter_wild(filter) || (filter.length > 5 && memcmp(filter.data, "$SYS/", 5) == 0);
}

static struct tf_bind *new_bind(struct tf_shard *shard, struct tf_bytes filter, bool homes)
{
    unsigned count = !homes ? 0 : everywhere(filter) ? shard->count : 1;
    unsigned failures = homes ? shard->count : 0;
    size_t size = sizeof(struct tf_bind) + count * sizeof(struct tf_bind_home) +
                  failures * sizeof(struct tf_unsent) +
                  (size_t)count * shard->count * sizeof(uint64_t) + filter.length;
    const struct tf_alloc *alloc = shard->config.alloc;
    struct tf_bind *bind = alloc->alloc(alloc->ctx, size);
    if (!bind) {
        return NULL;
    }
    memset(bind, 0, size);
    atomic_init(&bind->refs, 1);
    bind->alloc = alloc;
    bind->size = size;
    bind->shard = shard->config.number;
    bind->home_count = count;
    bind->first_home = count == 1 ? tf_shard_home(shard, filter) : 0;
    bind->homes = (struct tf_bind_home *)(bind + 1);
    bind->failures = (struct tf_unsent *)(bind->homes + count);
    uint64_t *versions = (uint64_t *)(bind->failures + failures);
    uint8_t *text = (uint8_t *)(versions + (size_t)count * shard->count);
    memcpy(text, filter.data, filter.length);
    bind->filter = tf_bytes_of(text, filter.length);
    for (unsigned i = 0; i < count; i++) {
        bind->homes[i].bound_versions = versions + (size_t)i * shard->count;
        bind->homes[i].cursor.filter = bind->filter;
    }
    return bind;
}

/* Mails a counted bind; the mail takes over the count even if it cannot be sent (false). */
static bool post(struct tf_shard *shard, unsigned to, uint8_t type, struct tf_bind *bind,
                 uint32_t count, uint8_t flags)
{
    struct tf_mail mail = {.type = type, .flags = flags, .count = count, .object = bind};
    if (!tf_shard_post(shard, to, &mail)) {
        unref(bind);
        return false;
    }
    return true;
}

static uint64_t binding_hash(const struct tf_route *route, const struct tf_queue *queue)
{
    return tf_hash_mix((uint64_t)(uintptr_t)route ^ tf_hash_mix((uint64_t)(uintptr_t)queue));
}

static struct tf_binding *find_binding(struct tf_shard *shard, const struct tf_route *route,
                                       const struct tf_queue *queue)
{
    struct tf_map_node *node = tf_map_find(&shard->bindings, binding_hash(route, queue));
    for (; node; node = tf_map_find_next(node)) {
        struct tf_binding *binding = tf_container_of(node, struct tf_binding, node);
        if (binding->route == route && binding->queue == queue) {
            return binding;
        }
    }
    return NULL;
}

struct tf_binding *tf_shard_binding(struct tf_shard *shard, const struct tf_queue *queue,
                                    struct tf_bytes filter)
{
    struct tf_route *route = tf_route_find(&shard->routes, filter);
    return route ? find_binding(shard, route, queue) : NULL;
}

/* Room for the identifiers of all bindings of one queue, so that publishing need not allocate. */
static bool reserve_ids(struct tf_shard *shard, size_t count)
{
    const struct tf_alloc *alloc = shard->config.alloc;
    if (count <= shard->id_capacity) {
        return true;
    }
    size_t capacity = TF_MAX(16u, 2 * count);
    uint32_t *ids = alloc->alloc(alloc->ctx, capacity * sizeof(*ids));
    if (!ids) {
        return false;
    }
    if (shard->ids) {
        alloc->free(alloc->ctx, shard->ids, shard->id_capacity * sizeof(*ids));
    }
    shard->ids = ids;
    shard->id_capacity = capacity;
    return true;
}

/*
 * Makes a binding; *ret is NULL if there is one already and only its options changed, from
 * *ret_former.
 */
static enum tf_err add_binding(struct tf_shard *shard, struct tf_queue *queue,
                               struct tf_bytes filter, const struct tf_binding_options *options,
                               struct tf_binding **ret, struct tf_binding_options *ret_former)
{
    const struct tf_alloc *alloc = shard->config.alloc;
    struct tf_route *route = tf_route_get(&shard->routes, filter);
    if (!route) {
        return TF_NO_MEMORY;
    }
    struct tf_binding *binding = find_binding(shard, route, queue);
    if (binding) {
        *ret_former = binding->options;
        binding->options = *options;
        *ret = NULL;
        return TF_OK;
    }
    binding = reserve_ids(shard, queue->binding_count + 1u)
                  ? alloc->alloc(alloc->ctx, sizeof(*binding))
                  : NULL;
    if (!binding) {
        tf_route_unused(&shard->routes, route);
        return TF_NO_MEMORY;
    }
    memset(binding, 0, sizeof(*binding));
    binding->route = route;
    binding->queue = queue;
    binding->options = *options;
    tf_list_push_back(&route->bindings, &binding->in_route);
    tf_list_push_back(&queue->bindings, &binding->in_queue);
    tf_map_insert(&shard->bindings, &binding->node, binding_hash(route, queue));
    route->binding_count++;
    queue->binding_count++;
    shard->routes.binding_count++;
    *ret = binding;
    return TF_OK;
}

/* Strings a new binding and its bind together until every other shard has sent its MARK. */
static void await_marks(struct tf_shard *shard, struct tf_binding *binding, struct tf_bind *bind)
{
    uint64_t all = shard->count == TF_SHARDS_MAX ? UINT64_MAX : (UINT64_C(1) << shard->count) - 1;
    binding->awaited = all & ~(UINT64_C(1) << shard->config.number);
    if (binding->awaited) {
        binding->bind = ref(bind);
        bind->binding = binding;
    }
}

static void await_no_more(struct tf_binding *binding)
{
    struct tf_bind *bind = binding->bind;
    if (bind) {
        bind->binding = NULL;
        binding->bind = NULL;
        unref(bind);
    }
}

static void stop_reading(struct tf_shard *shard, struct tf_bind *bind)
{
    const struct tf_alloc *alloc = shard->config.alloc;
    struct tf_map_cursor cursor;
    struct tf_map_node *node;
    if (!bind->reads_for) {
        return;
    }
    struct tf_bind **at = &bind->reads_for->readers;
    while (*at != bind) {
        at = &(*at)->next_reader;
    }
    *at = bind->next_reader;
    bind->reads_for = NULL;
    for (node = tf_map_first(&bind->live, &cursor); node;
         node = tf_map_next(&bind->live, &cursor)) {
        tf_map_remove(&bind->live, node);
        alloc->free(alloc->ctx, tf_container_of(node, struct tf_bind_live, node),
                    sizeof(struct tf_bind_live));
    }
    tf_map_release(&bind->live);
}

/*
 * Values are to come for a binding: what comes live meanwhile is noted. An earlier bind that still
 * reads for it stops, since all of its values come again: so thousands for one filter cost no more
 * than one.
 */
static void start_reading(struct tf_shard *shard, struct tf_binding *binding, struct tf_bind *bind)
{
    while (binding->readers) {
        stop_reading(shard, binding->readers);
    }
    tf_map_init(&bind->live, shard->config.alloc);
    bind->reads_for = binding;
    bind->next_reader = binding->readers;
    binding->readers = bind;
}

static uint64_t live_hash(const struct tf_shard *shard, struct tf_bytes address, unsigned writer)
{
    return tf_hash_mix(tf_hash(address, &shard->config.key) + writer);
}

void tf_bind_saw(struct tf_shard *shard, struct tf_binding *binding,
                 const struct tf_publication *publication, unsigned from)
{
    const struct tf_alloc *alloc = shard->config.alloc;
    uint64_t hash = live_hash(shard, publication->envelope.address, from);
    for (struct tf_bind *bind = binding->readers; bind; bind = bind->next_reader) {
        if (bind->live.count >= LIVE_MAX || tf_map_find(&bind->live, hash)) {
            continue;
        }
        struct tf_bind_live *live = alloc->alloc(alloc->ctx, sizeof(*live));
        if (live) { /* else a stale value may come, which is better than none */
            tf_map_insert(&bind->live, &live->node, hash);
        }
    }
}

static void remove_binding(struct tf_shard *shard, struct tf_binding *binding)
{
    struct tf_route *route = binding->route;
    await_no_more(binding);
    while (binding->readers) {
        stop_reading(shard, binding->readers);
    }
    tf_list_remove(&binding->in_route);
    tf_list_remove(&binding->in_queue);
    tf_map_remove(&shard->bindings, &binding->node);
    binding->queue->binding_count--;
    shard->routes.binding_count--;
    shard->config.alloc->free(shard->config.alloc->ctx, binding, sizeof(*binding));
    if (--route->binding_count == 0) {
        tf_bind_withdraw(shard, route->filter);
        tf_route_unused(&shard->routes, route);
    }
}

void tf_bind_withdraw(struct tf_shard *shard, struct tf_bytes filter)
{
    if (shard->count == 1 || shard->ending) {
        return;
    }
    struct tf_bind *bind = new_bind(shard, filter, false);
    if (!bind) {
        return; /* others go on sending what nobody here takes: correct, if wasteful */
    }
    for (unsigned to = 0; to < shard->count; to++) {
        if (to != shard->config.number) {
            post(shard, to, TF_MAIL_UNBIND, ref(bind), 0, 0);
        }
    }
    unref(bind);
}

static void free_page(struct tf_bind_page *page)
{
    const struct tf_alloc *alloc = page->bind->alloc;
    for (uint32_t i = 0; i < page->count; i++) {
        tf_message_unref(page->messages[i]);
    }
    unref(page->bind);
    alloc->free(alloc->ctx, page, sizeof(*page));
}

/* The owner's count goes; homes that still hold values for it are told. */
static void end_bind(struct tf_shard *shard, struct tf_bind *bind)
{
    bind->owner = NULL;
    stop_reading(shard, bind);
    tf_list_unlink(&bind->node);
    tf_list_unlink(&bind->drawing);
    while (bind->pages) {
        struct tf_bind_page *page = bind->pages;
        bind->pages = page->next;
        free_page(page);
    }
    /* at its end a shard tells nobody: the others may have ended */
    for (uint64_t open = shard->ending ? 0 : bind->open; open; open &= open - 1) {
        post(shard, (unsigned)__builtin_ctzll(open), TF_MAIL_CANCEL, ref(bind), 0, 0);
    }
    bind->open = 0;
    unref(bind);
}

enum tf_err tf_shard_bind(struct tf_shard *shard, struct tf_queue *queue, struct tf_bytes filter,
                          const struct tf_binding_options *options, bool values,
                          struct tf_bind_owner *owner, uint64_t tag)
{
    struct tf_bind *bind = new_bind(shard, filter, true);
    if (!bind) {
        return TF_NO_MEMORY;
    }
    struct tf_binding_options former;
    struct tf_binding *binding;
    enum tf_err err = add_binding(shard, queue, filter, options, &binding, &former);
    if (err) {
        unref(bind);
        return err;
    }
    if (binding) {
        await_marks(shard, binding, bind);
    }
    if (values) {
        start_reading(shard, binding ? binding : tf_shard_binding(shard, queue, filter), bind);
    }
    bind->values = values;
    bind->owner = owner;
    bind->queue = queue;
    bind->tag = tag;
    bind->waiting = bind->home_count;
    tf_list_push_back(&owner->binds, &bind->node);
    ref(bind);
    for (unsigned to = 0; to < shard->count && !err; to++) {
        bool sent = post(shard, to, TF_MAIL_BIND, ref(bind), 0, 0);
        err = sent && !bind->lost ? TF_OK : TF_NO_MEMORY;
    }
    if (err) { /* there is another shard, so `bound` has not been called */
        if (binding) {
            remove_binding(shard, binding);
        } else {
            tf_shard_binding(shard, queue, filter)->options = former;
        }
        end_bind(shard, bind);
    }
    unref(bind);
    return err;
}

bool tf_shard_unbind(struct tf_shard *shard, struct tf_queue *queue, struct tf_bytes filter)
{
    struct tf_binding *binding = tf_shard_binding(shard, queue, filter);
    if (!binding) {
        return false;
    }
    remove_binding(shard, binding);
    return true;
}

void tf_shard_unbind_all(struct tf_shard *shard, struct tf_queue *queue)
{
    struct tf_list_node *node;
    while ((node = tf_list_first(&queue->bindings))) {
        remove_binding(shard, tf_container_of(node, struct tf_binding, in_queue));
    }
}

void tf_bind_owner_release(struct tf_shard *shard, struct tf_bind_owner *owner)
{
    struct tf_list_node *node;
    while ((node = tf_list_first(&owner->binds))) {
        struct tf_bind *bind = tf_container_of(node, struct tf_bind, node);
        uint64_t tag = bind->tag;
        bool waiting = bind->waiting != 0;
        end_bind(shard, bind);
        if (waiting) {
            owner->bound(owner, tag, TF_CLOSED);
        }
    }
}

/* It can no longer come to stand: the binding is removed and the owner is told. */
static void fail_bind(struct tf_shard *shard, struct tf_bind *bind)
{
    struct tf_bind_owner *owner = bind->owner;
    uint64_t tag = bind->tag;
    tf_shard_unbind(shard, bind->queue, bind->filter);
    end_bind(shard, bind);
    owner->bound(owner, tag, TF_NO_MEMORY);
}

/* Tells the binding shard, sooner or later, that this one could not mail what it had to. */
static void post_failure(struct tf_shard *shard, struct tf_bind *bind)
{
    struct tf_unsent *failure = &bind->failures[shard->config.number];
    struct tf_mail mail = {.type = TF_MAIL_MARK, .flags = TF_MAIL_FAILED, .object = bind};
    if (!tf_list_linked(&failure->node)) {
        ref(bind);
        tf_access_post(shard, bind->shard, &mail, failure);
    }
}

/* BIND, in every shard. Takes over the mail's count. */
static void on_bind(struct tf_shard *shard, struct tf_bind *bind)
{
    bool own = bind->shard == shard->config.number;
    bool lost = false;
    uint8_t flags = 0;
    if (!own && tf_route_add_shard(&shard->routes, bind->filter, bind->shard)) {
        flags = TF_MAIL_FAILED;
    }
    if (!own && !post(shard, bind->shard, TF_MAIL_MARK, ref(bind), 0, 0)) {
        flags = TF_MAIL_FAILED;
        lost = true;
    }
    for (unsigned i = 0; i < bind->home_count; i++) {
        lost |= !post(shard, bind->first_home + i, TF_MAIL_BOUND, ref(bind), 0, flags);
    }
    if (lost && own) {
        bind->lost = true; /* the binding shard's own: tf_shard_bind looks */
    } else if (lost) {
        post_failure(shard, bind);
    }
    unref(bind);
}

/* MARK, back in the binding shard: what comes from that shard now was published for the binding. */
static void on_mark(struct tf_shard *shard, struct tf_bind *bind, unsigned from, uint8_t flags)
{
    struct tf_binding *binding = bind->binding;
    if (flags & TF_MAIL_FAILED) {
        if (bind->owner && bind->waiting) {
            fail_bind(shard, bind);
        }
    } else if (binding) {
        binding->awaited &= ~(UINT64_C(1) << from);
        if (!binding->awaited) {
            await_no_more(binding);
        }
    }
    unref(bind);
}

static struct tf_bind_home *home_of(const struct tf_shard *shard, struct tf_bind *bind)
{
    return &bind->homes[shard->config.number - bind->first_home];
}

/* Adds to the page what the home has, stored values first, then those made when read. */
static bool fill_page(struct tf_shard *shard, struct tf_bind *bind, struct tf_bind_page *page,
                      uint32_t limit)
{
    struct tf_bind_home *home = home_of(shard, bind);
    bool more = true;
    for (unsigned steps = 0; more && page->count < limit && steps < READ_BUDGET; steps++) {
        const struct tf_value *value =
            tf_values_next(&shard->values, &home->cursor, READ_BUDGET, &more);
        if (value && value->version <= home->bound_versions[value->writer]) {
            page->writers[page->count] = value->writer;
            page->messages[page->count++] = tf_message_ref(value->message);
        } else if (!value) {
            break;
        }
    }
    if (more || !home->cursor.end) {
        return true;
    }
    if (!shard->config.virtual_next || !everywhere(bind->filter)) {
        return false;
    }
    while (page->count < limit) {
        struct tf_bytes last = {NULL, 0};
        if (home->made_last) {
            last = home->made_last->publication.envelope.address;
        }
        struct tf_message *made = shard->config.virtual_next(shard->config.ctx, bind->filter, last);
        if (!made) {
            return false;
        }
        page->writers[page->count] = (uint8_t)shard->config.number;
        page->messages[page->count++] = tf_message_ref(made);
        if (home->made_last) {
            tf_message_unref(home->made_last);
        }
        home->made_last = made;
    }
    return true;
}

/* A page of what a home has for a bind, with a count of the bind; NULL: no memory. */
static struct tf_bind_page *read_page(struct tf_shard *shard, struct tf_bind *bind, uint32_t limit)
{
    struct tf_bind_home *home = home_of(shard, bind);
    const struct tf_alloc *alloc = shard->config.alloc;
    struct tf_bind_page *page = alloc->alloc(alloc->ctx, sizeof(*page));
    if (page) {
        page->next = NULL;
        page->bind = ref(bind);
        page->count = page->pushed = 0;
        page->end = !fill_page(shard, bind, page, TF_MIN(limit, PAGE_MAX));
        home->open = !page->end;
    }
    return page;
}

/* BOUND, in a home. */
static void on_bound(struct tf_shard *shard, struct tf_bind *bind, unsigned from, uint8_t flags)
{
    struct tf_bind_home *home = home_of(shard, bind);
    home->bound_versions[from] = shard->values.version;
    home->failed |= (flags & TF_MAIL_FAILED) != 0;
    if (++home->bound_count < shard->count) {
        unref(bind);
        return;
    }
    home->open = bind->values && !home->failed;
    struct tf_bind_page *page = home->open ? read_page(shard, bind, PAGE_MAX) : NULL;
    struct tf_mail mail = {.type = TF_MAIL_READY,
                           .flags = home->failed ? TF_MAIL_FAILED : 0,
                           .count = home->open,
                           .object = bind,
                           .value = (uint64_t)(uintptr_t)page};
    if (!tf_shard_post(shard, bind->shard, &mail)) {
        home->open = false;
        post_failure(shard, bind);
        tf_mail_discard(&mail);
    }
}

/* READ, in a home. Takes over the mail's count. */
static void on_read(struct tf_shard *shard, struct tf_bind *bind, uint32_t limit)
{
    struct tf_bind_page *page = home_of(shard, bind)->open ? read_page(shard, bind, limit) : NULL;
    if (page) {
        struct tf_mail mail = {.type = TF_MAIL_VALUES, .object = page};
        if (!tf_shard_post(shard, bind->shard, &mail)) {
            tf_mail_discard(&mail);
        }
    }
    unref(bind);
}

/* READY, back in the binding shard. */
static void on_ready(struct tf_shard *shard, const struct tf_mail *mail, unsigned from)
{
    struct tf_bind *bind = mail->object;
    struct tf_bind_page *page = (struct tf_bind_page *)(uintptr_t)mail->value;
    bind->failed |= (mail->flags & TF_MAIL_FAILED) != 0;
    bind->waiting--;
    if (!bind->owner) {
        if (mail->count) {
            post(shard, from, TF_MAIL_CANCEL, ref(bind), 0, 0);
        }
        if (page) {
            free_page(page);
        }
        unref(bind);
        return;
    }
    if (mail->count) {
        bind->open |= UINT64_C(1) << from;
    }
    if (page) {
        page->next = bind->pages;
        bind->pages = page;
    }
    if (bind->waiting == 0 && bind->failed) {
        fail_bind(shard, bind);
    } else if (bind->waiting == 0) {
        struct tf_bind_owner *owner = bind->owner;
        uint64_t tag = bind->tag;
        if (!bind->open && !bind->pages) {
            end_bind(shard, bind);
        }
        owner->bound(owner, tag, TF_OK);
    }
    unref(bind);
}

/* How many values the queue of a bind can take at this moment. */
static uint32_t room_of(const struct tf_queue *queue)
{
    return queue->count < queue->limits->entries ? queue->limits->entries - queue->count : 0;
}

/* True while values may go into a queue: somebody is there to take them, and there is room. */
static bool takes_values(const struct tf_queue *queue)
{
    return !tf_list_empty(&queue->consumers) && room_of(queue) &&
           (tf_list_empty(&queue->available) || queue->bytes < queue->limits->bytes / 2);
}

static void push_value(struct tf_shard *shard, const struct tf_bind *bind,
                       const struct tf_binding_options *options, struct tf_message *message,
                       unsigned writer)
{
    struct tf_publication *publication = &message->publication;
    if (bind->live.count &&
        tf_map_find(&bind->live, live_hash(shard, publication->envelope.address, writer))) {
        return; /* a newer one has come live */
    }
    struct tf_subscription_ids ids = {&options->subscription_id, options->subscription_id != 0};
    if (publication->envelope.expires > shard->now) {
        tf_queue_push(bind->queue, publication, &ids,
                      tf_binding_qos(options, publication->envelope.qos), true, shard->now);
    }
}

/*
 * Puts the values that have come into the queue, as far as it has room; the others wait for the
 * next draw. False: the binding is gone meanwhile.
 */
static bool push_pages(struct tf_shard *shard, struct tf_bind *bind)
{
    const struct tf_binding *binding = bind->reads_for;
    struct tf_bind_page *page;
    while (binding && (page = bind->pages)) {
        while (page->pushed < page->count) {
            if (!takes_values(bind->queue)) {
                return true;
            }
            push_value(shard, bind, &binding->options, page->messages[page->pushed],
                       page->writers[page->pushed]);
            page->pushed++;
        }
        bind->pages = page->next;
        free_page(page);
    }
    return binding != NULL;
}

/* VALUES, back in the binding shard. */
static void on_values(struct tf_shard *shard, struct tf_bind_page *page, unsigned from)
{
    struct tf_bind *bind = page->bind;
    struct tf_queue *queue = bind->queue;
    bind->reading = false;
    if (!bind->owner) {
        free_page(page);
        return;
    }
    if (page->end) {
        bind->open &= ~(UINT64_C(1) << from);
    }
    page->next = bind->pages;
    bind->pages = page;
    if (!push_pages(shard, bind) || (!bind->open && !bind->pages)) {
        end_bind(shard, bind);
    } else if (!bind->pages && tf_list_empty(&queue->available) &&
               !tf_list_empty(&queue->consumers) && !tf_list_linked(&bind->drawing)) {
        tf_list_push_back(&shard->drawing, &bind->drawing);
    }
    if (queue->ops) {
        queue->ops->drawn(queue);
    }
}

bool tf_bind_draw(struct tf_shard *shard, struct tf_bind_owner *owner)
{
    bool left = false;
    struct tf_list_node *node = tf_list_first(&owner->binds);
    while (node) {
        struct tf_bind *bind = tf_container_of(node, struct tf_bind, node);
        node = tf_list_next(&owner->binds, node);
        if (bind->waiting) {
            left = true;
        } else if (!push_pages(shard, bind) || (!bind->open && !bind->pages)) {
            end_bind(shard, bind);
        } else {
            if (!bind->pages && !bind->reading && !tf_list_linked(&bind->drawing)) {
                tf_list_push_back(&shard->drawing, &bind->drawing);
            }
            left = true;
        }
    }
    return left;
}

bool tf_bind_work(struct tf_shard *shard)
{
    struct tf_list_node *node;
    for (unsigned i = 0; i < WORK_BUDGET && (node = tf_list_pop_front(&shard->drawing)); i++) {
        struct tf_bind *bind = tf_container_of(node, struct tf_bind, drawing);
        uint32_t room = room_of(bind->queue);
        if (room && bind->open) {
            bind->reading = true;
            post(shard, (unsigned)__builtin_ctzll(bind->open), TF_MAIL_READ, ref(bind), room, 0);
        }
    }
    return !tf_list_empty(&shard->drawing);
}

void tf_bind_mail(struct tf_shard *shard, const struct tf_mail *mail, unsigned from)
{
    struct tf_bind *bind = mail->object;
    switch (mail->type) {
    case TF_MAIL_BIND:
        on_bind(shard, bind);
        return;
    case TF_MAIL_BOUND:
        on_bound(shard, bind, from, mail->flags);
        return;
    case TF_MAIL_MARK:
        on_mark(shard, bind, from, mail->flags);
        return;
    case TF_MAIL_READY:
        on_ready(shard, mail, from);
        return;
    case TF_MAIL_READ:
        on_read(shard, bind, mail->count);
        return;
    case TF_MAIL_VALUES:
        on_values(shard, mail->object, from);
        return;
    case TF_MAIL_CANCEL:
        home_of(shard, bind)->open = false;
        break;
    default: /* UNBIND */
        tf_route_remove_shard(&shard->routes, bind->filter, bind->shard);
        break;
    }
    unref(bind);
}

void tf_mail_discard(const struct tf_mail *mail)
{
    switch (mail->type) {
    case TF_MAIL_MESSAGE:
        tf_message_unref(mail->object);
        return;
    case TF_MAIL_TICKET:
        return;
    case TF_MAIL_VALUES:
        free_page(mail->object);
        return;
    case TF_MAIL_READY:
        if (mail->value) {
            free_page((struct tf_bind_page *)(uintptr_t)mail->value);
        }
        unref(mail->object);
        return;
    default:
        if (mail->type <= TF_MAIL_UNBIND) {
            unref(mail->object);
        } else if (mail->type <= TF_MAIL_UNWATCH) {
            tf_access_discard(mail);
        } else if (mail->type < TF_MAIL_BROKER) {
            tf_named_discard(mail);
        }
    }
}
