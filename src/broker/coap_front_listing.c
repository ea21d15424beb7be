/*
 * /.well-known/core: which addresses have a value, as links (RFC 6690, RFC 7252 7.2).
 *
 * The addresses of all shards are gathered into one listing, a part from each, so many a turn. A
 * listing that is longer than one block is kept for the blocks that its reader will ask for next:
 * a transfer sees one snapshot. Observers of it get a new one when the set of addresses changes,
 * at most once a second.
 *
 *   request --> GATHERING --all parts are there--> answer --short, or not asked for--> gone
 *                                                    |
 *                                                    +--> KEPT, for its blocks --time--> gone
 */
#include "base/assert.h"
#include "base/mem.h"
#include "broker/coap_front_internal.h"

#include <trefoil/coap_link.h>
#include <trefoil/coap_uri.h>

#define LOOK_BUDGET 2048u     /* addresses that are looked at in a turn, for all parts */
#define GATHERING_MAX 4u      /* of these: were it all, all would be in memory half made */
#define LISTINGS_MAX 256u     /* gathered or kept at once in a shard */
#define OBSERVERS_MAX 64u     /* of a shard */
#define KEEP (60 * TF_SECOND) /* a listing for its next block */
#define QUIET TF_SECOND       /* between two notices of change */

/* An observer of the listing, with what it asked for. */
struct core_observer {
    struct coap_observer base;
    struct tf_list_node in_front; /* front->core_observers */
    struct tf_message *pending;   /* a listing it has no credit for yet, or that found no room */
    uint64_t version;             /* of it */
    struct tf_datagram_path path;
    bool gathering;
    bool again; /* has changed since the gathering was begun */
    bool waits; /* for credit */
    size_t query_length;
    uint8_t query[];
};

/* A listing, gathered or being gathered. */
struct coap_listing {
    struct tf_list_node node; /* front->listings */
    struct coap_front *front;
    struct tf_front_timer timer;
    uint64_t id;
    struct coap_channel *channel; /* of the request */
    struct coap_work *work;       /* who waits; NULL: nobody any more, or an observer */
    struct core_observer *observer;
    struct tf_datagram_path path; /* whose it is */
    struct tf_message *text;      /* the whole, when all parts are there */
    uint64_t version;
    unsigned waiting; /* parts that are not there */
    bool queued;      /* it is to be gathered when fewer are */
    bool gathering;
    bool failed;
    bool charged; /* with `text`, which several may share */
    bool kept;    /* nobody waits for it any more */
    size_t query_length;
    struct tf_message *parts[TF_SHARDS_MAX];
    uint8_t query[];
};

/* ---- listings ---- */

static void drop_parts(struct coap_listing *listing)
{
    struct coap_front *front = listing->front;
    for (unsigned i = 0; i < front->shard->count; i++) {
        if (listing->parts[i]) {
            front->listing_bytes -= tf_publication_length(&listing->parts[i]->publication);
            tf_message_unref(listing->parts[i]);
            listing->parts[i] = NULL;
        }
    }
}

/* Another listing of the same text, or of the same version; NULL: none. */
static struct coap_listing *same(const struct coap_listing *listing)
{
    struct tf_list_node *node = tf_list_first(&listing->front->listings);
    for (; node; node = tf_list_next(&listing->front->listings, node)) {
        struct coap_listing *other = tf_container_of(node, struct coap_listing, node);
        if (other != listing && other->text && !other->failed &&
            (listing->text ? other->text == listing->text : other->version == listing->version)) {
            return other;
        }
    }
    return NULL;
}

static void listing_free(struct coap_listing *listing)
{
    struct coap_front *front = listing->front;
    front->gathering -= listing->gathering;
    front->front.again |= listing->gathering; /* another's turn */
    tf_timers_cancel(&front->shard->timers, &listing->timer.timer);
    tf_list_remove(&listing->node);
    front->listing_count--;
    drop_parts(listing);
    if (listing->text) {
        struct coap_listing *heir = listing->charged ? same(listing) : NULL;
        if (heir) {
            heir->charged = true;
        } else if (listing->charged) {
            front->listing_bytes -= tf_publication_length(&listing->text->publication);
        }
        tf_message_unref(listing->text);
    }
    if (listing->work) {
        tf_coap_front_work_free(listing->work);
    }
    tf_coap_front_free(front, listing, sizeof(*listing) + listing->query_length);
}

bool tf_coap_front_listing_drop(struct coap_front *front)
{
    struct tf_list_node *node = tf_list_first(&front->listings);
    for (; node; node = tf_list_next(&front->listings, node)) {
        struct coap_listing *listing = tf_container_of(node, struct coap_listing, node);
        if (listing->kept) {
            listing_free(listing);
            return true;
        }
    }
    return false;
}

static struct coap_listing *listing_new(struct coap_front *front, struct tf_bytes query)
{
    bool room = front->listing_count < LISTINGS_MAX || tf_coap_front_listing_drop(front);
    struct coap_listing *listing =
        room ? tf_coap_front_alloc(front, sizeof(*listing) + query.length) : NULL;
    if (!listing) {
        return NULL;
    }
    memset(listing, 0, sizeof(*listing));
    listing->front = front;
    listing->id = ++front->listing_id;
    listing->timer.front = &front->front;
    listing->timer.kind = COAP_TIMER_LISTING;
    listing->query_length = query.length;
    if (query.length) {
        memcpy(listing->query, query.data, query.length);
    }
    tf_list_push_back(&front->listings, &listing->node);
    front->listing_count++;
    return listing;
}

/* Many read at once what is the same: one text is for all. False: there is none yet. */
static bool share(struct coap_listing *listing)
{
    struct coap_listing *other = same(listing);
    listing->text = other ? tf_message_ref(other->text) : NULL;
    return other != NULL;
}

/* Puts the parts together, in the order of the shards. */
static void join(struct coap_listing *listing)
{
    struct coap_front *front = listing->front;
    listing->version = 1;
    for (unsigned i = 0; i < front->shard->count; i++) {
        const struct tf_message *part = listing->parts[i];
        for (size_t j = 0; part && j < part->publication.body_count; j++) {
            listing->version = tf_hash_mix(listing->version) +
                               tf_hash(part->publication.body[j], &front->shard->config.key);
        }
    }
    listing->version += listing->version == 0;
    if (!listing->failed && share(listing)) {
        drop_parts(listing);
        return;
    }
    listing->text = tf_coap_front_listing_text(front);
    listing->failed |= !listing->text;
    for (unsigned i = 0; i < front->shard->count && !listing->failed; i++) {
        const struct tf_message *part = listing->parts[i];
        bool first = tf_publication_length(&listing->text->publication) == 0;
        if (part && !first && tf_message_append(listing->text, tf_bytes_str(","))) {
            listing->failed = true;
        }
        for (size_t j = 0; part && j < part->publication.body_count && !listing->failed; j++) {
            listing->failed |= tf_message_append(listing->text, part->publication.body[j]) != TF_OK;
        }
    }
    drop_parts(listing);
    if (listing->text) {
        listing->charged = true;
        front->listing_bytes += tf_publication_length(&listing->text->publication);
    }
}

static struct coap_result result_of(const struct coap_listing *listing)
{
    if (listing->failed) {
        return (struct coap_result){.code = TF_COAP_UNAVAILABLE};
    }
    return (struct coap_result){
        .code = TF_COAP_CONTENT, .version = listing->version, .message = listing->text};
}

/* Sends an observer its pending listing, as answer to its request or as a notification. */
static void observer_send(struct core_observer *observer)
{
    struct coap_observer *base = &observer->base;
    struct coap_channel *channel = base->channel;
    struct coap_front *front = channel->front;
    struct coap_result result = {
        .code = TF_COAP_CONTENT, .version = observer->version, .message = observer->pending};
    struct coap_reply reply;
    enum tf_err err;
    if (!observer->pending || observer->waits) {
        return;
    }
    if (!tf_coap_front_lend(channel)) {
        return;
    }
    tf_coap_front_reply(front, &result, &reply);
    reply.response.observe = true;
    reply.response.sequence = tf_coap_front_sequence(base);
    reply.response.user = base;
    if (base->request) {
        err = tf_coap_respond(channel->endpoint, base->request, &reply.response, &base->observer,
                              NULL, coap_now(front));
        err = err == TF_AGAIN ? TF_LIMIT : err;
    } else {
        err = tf_coap_notify(channel->endpoint, base->observer, &reply.response, coap_now(front));
    }
    tf_channel_touch(&channel->channel);
    if (err == TF_LIMIT) {
        return; /* the next turn tries again */
    }
    observer->waits = err == TF_AGAIN;
    if (err == TF_AGAIN) {
        return;
    }
    bool first = base->request != 0;
    base->request = 0;
    tf_message_unref(observer->pending);
    observer->pending = NULL;
    if (first && (err || base->observer == 0)) { /* else its event, if it has ended, will free it */
        tf_coap_front_core_free(base);
    }
}

/* There is no listing for an observer's request: it becomes none. */
static void observer_refuse(struct core_observer *observer)
{
    struct coap_observer *base = &observer->base;
    struct coap_channel *channel = base->channel;
    struct coap_result result = {.code = TF_COAP_UNAVAILABLE};
    if (tf_coap_front_respond(channel, base->request, &result)) {
        tf_coap_ignore(channel->endpoint, base->request, coap_now(channel->front));
    }
    tf_coap_front_core_free(base);
}

/* Gives an observer the listing that has been gathered for it; may free the observer. */
static void observer_take(struct core_observer *observer, struct coap_listing *listing)
{
    listing->observer = NULL;
    observer->gathering = false;
    if (listing->failed && observer->base.request) {
        observer_refuse(observer);
        return;
    }
    if (!listing->failed) { /* else it hears of the next change */
        if (observer->pending) {
            tf_message_unref(observer->pending);
        }
        observer->pending = tf_message_ref(listing->text);
        observer->version = listing->version;
    }
    observer_send(observer);
}

/* All parts are there: answers who waits, and keeps the listing if its blocks will be wanted. */
static void listing_done(struct coap_listing *listing)
{
    struct coap_front *front = listing->front;
    struct core_observer *observer = listing->observer;
    front->gathering--;
    listing->gathering = false;
    front->front.again = true; /* for the next one */
    join(listing);
    struct coap_work *work = listing->work;
    listing->work = NULL;
    if (work) {
        work->state = COAP_WORK_ANSWER;
        work->result = result_of(listing);
        if (work->result.message) {
            tf_message_ref(work->result.message);
        }
        tf_coap_front_work_answer(work);
    }
    if (observer) {
        observer_take(observer, listing);
    }
    if (listing->failed ||
        tf_publication_length(&listing->text->publication) <= 16) { /* the smallest block */
        listing_free(listing);
        return;
    }
    listing->kept = true;
    tf_timers_arm(&front->shard->timers, &listing->timer.timer, tf_time_add(coap_now(front), KEEP));
    while (front->listing_bytes > COAP_LISTING_BYTES_MAX && tf_coap_front_listing_drop(front)) {
    }
}

/* Keeps a part's text, if there is room for it. */
static void take_part(struct coap_listing *listing, struct coap_gather *gather, unsigned from)
{
    struct coap_front *front = listing->front;
    while (front->listing_bytes + gather->length > COAP_LISTING_BYTES_MAX &&
           tf_coap_front_listing_drop(front)) {
    }
    listing->failed |=
        gather->failed || front->listing_bytes + gather->length > COAP_LISTING_BYTES_MAX;
    if (!listing->failed) {
        listing->parts[from] = gather->text;
        gather->text = NULL;
        front->listing_bytes += gather->length;
    }
}

/* Takes a part; frees it. */
static void part_arrived(struct coap_front *front, struct coap_gather *gather, unsigned from)
{
    struct tf_list_node *node = tf_list_last(&front->listings);
    for (; node; node = tf_list_prev(&front->listings, node)) {
        struct coap_listing *listing = tf_container_of(node, struct coap_listing, node);
        if (listing->id == gather->listing) {
            take_part(listing, gather, from);
            tf_coap_front_gather_free(front, gather);
            if (--listing->waiting == 0) {
                listing_done(listing);
            }
            return;
        }
    }
    tf_coap_front_gather_free(front, gather);
}

/* Asks every shard for its part; this one's own is listed in the turns that follow. */
static void listing_begin(struct coap_listing *listing)
{
    struct coap_front *front = listing->front;
    unsigned self = front->shard->config.number;
    listing->gathering = true;
    front->gathering++;
    listing->waiting = 1; /* until all have been asked */
    for (unsigned i = 0; i < front->shard->count; i++) {
        struct coap_gather *gather = tf_coap_front_gather_new(
            front, listing->id, tf_bytes_of(listing->query, listing->query_length));
        struct tf_mail mail = {.type = TF_MAIL_COAP_LIST, .object = gather};
        if (!gather) {
            listing->failed = true;
        } else if (i == self) {
            listing->waiting++;
            tf_list_push_back(&front->gathers, &gather->node);
            front->front.again = true;
        } else if (tf_mail_send(front->shard->config.office, self, i, &mail)) {
            listing->failed = true;
            tf_coap_front_gather_free(front, gather);
        } else {
            listing->waiting++;
        }
    }
    if (--listing->waiting == 0) {
        listing_done(listing);
    }
}

/* Gathers it in a turn, after those that came before. */
static void listing_start(struct coap_listing *listing)
{
    listing->queued = true;
    listing->front->front.again = true;
}

/* Begins with those that wait for it, as many as may be gathered at once. */
static void listings_begin(struct coap_front *front)
{
    struct tf_list_node *node = tf_list_first(&front->listings), *next;
    for (; node && front->gathering < GATHERING_MAX; node = next) {
        struct coap_listing *listing = tf_container_of(node, struct coap_listing, node);
        next = tf_list_next(&front->listings, node);
        if (listing->queued) {
            listing->queued = false;
            listing_begin(listing);
        }
    }
}

/* ---- requests ---- */

/* The Uri-Query options of a request, encoded by themselves, in the front's scratch. */
static struct tf_bytes query_of(struct coap_front *front, struct tf_bytes options)
{
    struct tf_coap_cursor cursor = tf_coap_options(options);
    struct tf_coap_option option;
    struct tf_coap_encoder encoder;
    tf_coap_encode(&encoder, front->scratch, COAP_SCRATCH_SIZE, TF_COAP_NON, TF_COAP_GET, 0,
                   tf_bytes_of(NULL, 0));
    while (tf_coap_option_next(&cursor, &option)) {
        if (option.number == TF_COAP_URI_QUERY) {
            tf_coap_encode_option(&encoder, option.number, option.value);
        }
    }
    struct tf_bytes all = tf_coap_encoded(&encoder);
    return tf_bytes_of(all.data + TF_COAP_HEADER, all.length - TF_COAP_HEADER);
}

/* The snapshot that a reader has begun with; NULL: none. */
static struct coap_listing *kept(struct coap_front *front, const void *path, struct tf_bytes query)
{
    struct tf_list_node *node = tf_list_last(&front->listings);
    for (; node; node = tf_list_prev(&front->listings, node)) {
        struct coap_listing *listing = tf_container_of(node, struct coap_listing, node);
        if (listing->kept && memcmp(&listing->path, path, sizeof(listing->path)) == 0 &&
            tf_bytes_equal(tf_bytes_of(listing->query, listing->query_length), query)) {
            return listing;
        }
    }
    return NULL;
}

static bool later_block(struct tf_bytes options)
{
    struct tf_bytes value;
    struct tf_coap_block block;
    return tf_coap_option_find(options, TF_COAP_BLOCK2, &value) &&
           tf_coap_block_read(value, &block) && block.number > 0;
}

static struct core_observer *observer_new(struct coap_channel *channel,
                                          const struct tf_coap_event *event, struct tf_bytes query)
{
    struct coap_front *front = channel->front;
    struct core_observer *observer =
        front->core_count < OBSERVERS_MAX
            ? tf_coap_front_alloc(front, sizeof(*observer) + query.length)
            : NULL;
    if (!observer) {
        return NULL;
    }
    memset(observer, 0, sizeof(*observer));
    observer->base.channel = channel;
    observer->base.request = event->handle;
    observer->base.core = true;
    memcpy(&observer->path, event->path, sizeof(observer->path));
    observer->query_length = query.length;
    if (query.length) {
        memcpy(observer->query, query.data, query.length);
    }
    tf_list_push_back(&channel->observers, &observer->base.in_channel);
    tf_list_push_back(&front->core_observers, &observer->in_front);
    front->core_count++;
    return observer;
}

/* Tells every shard whether this one wants to hear of changes. */
static void listen(struct coap_front *front, bool wanted)
{
    unsigned self = front->shard->config.number;
    for (unsigned i = 0; i < front->shard->count; i++) {
        struct tf_mail mail = {.type = TF_MAIL_COAP_LISTEN, .count = wanted};
        if (i == self) {
            tf_coap_front_mail(front, &mail, self);
        } else if (tf_mail_send(front->shard->config.office, self, i, &mail)) {
            tf_log_text(front->context.log, TF_LOG_WARN, "coap",
                        "no memory: observers of /.well-known/core may miss changes");
        }
    }
}

void tf_coap_front_core(struct coap_channel *channel, const struct tf_coap_event *event)
{
    struct coap_front *front = channel->front;
    struct tf_bytes query = query_of(front, event->message.options);
    struct coap_listing *listing =
        later_block(event->message.options) ? kept(front, event->path, query) : NULL;
    if (listing) {
        struct coap_result result = result_of(listing);
        enum tf_err err = tf_coap_front_respond(channel, event->handle, &result);
        tf_assert(!err);
        tf_timers_arm(&front->shard->timers, &listing->timer.timer,
                      tf_time_add(coap_now(front), KEEP));
        return;
    }
    struct core_observer *observer =
        event->observe ? observer_new(channel, event, query) : NULL; /* none left: a plain GET */
    struct coap_work *work = observer ? NULL : tf_coap_front_work_new(channel, event);
    listing = observer || work ? listing_new(front, query) : NULL;
    if (!listing) {
        if (observer) {
            tf_coap_front_core_free(&observer->base);
        }
        if (work) {
            tf_coap_front_work_free(work);
        }
        tf_coap_front_refuse(channel, event->handle, TF_COAP_UNAVAILABLE);
        return;
    }
    memcpy(&listing->path, event->path, sizeof(listing->path));
    listing->channel = channel;
    listing->observer = observer;
    if (observer) {
        observer->gathering = true;
        if (front->core_count == 1) {
            listen(front, true);
        }
    } else {
        work->state = COAP_WORK_WAITING;
        listing->work = work;
    }
    listing_start(listing);
}

/* ---- observers ---- */

/* Gathers a listing for an observer, if it needs one and none is under way; may free it. */
static void observer_gather(struct core_observer *observer)
{
    struct coap_front *front = observer->base.channel->front;
    if (!observer->again || observer->gathering) {
        return;
    }
    struct coap_listing *listing =
        listing_new(front, tf_bytes_of(observer->query, observer->query_length));
    if (!listing) {
        return; /* in a later turn */
    }
    observer->again = false;
    memcpy(&listing->path, &observer->path, sizeof(listing->path));
    listing->channel = observer->base.channel;
    listing->observer = observer;
    observer->gathering = true;
    listing_start(listing);
}

void tf_coap_front_core_ready(struct coap_observer *base)
{
    struct core_observer *observer = tf_container_of(base, struct core_observer, base);
    observer->waits = false;
    observer_send(observer);
}

void tf_coap_front_core_free(struct coap_observer *base)
{
    struct core_observer *observer = tf_container_of(base, struct core_observer, base);
    struct coap_front *front = base->channel->front;
    struct tf_list_node *node = tf_list_first(&front->listings);
    for (; node; node = tf_list_next(&front->listings, node)) {
        struct coap_listing *listing = tf_container_of(node, struct coap_listing, node);
        if (listing->observer == observer) {
            listing->observer = NULL;
        }
    }
    if (observer->pending) {
        tf_message_unref(observer->pending);
    }
    tf_list_remove(&base->in_channel);
    tf_list_remove(&observer->in_front);
    tf_coap_front_free(front, observer, sizeof(*observer) + observer->query_length);
    if (--front->core_count == 0) {
        listen(front, false);
    }
}

/* ---- mail, turns, timers ---- */

/* The set of addresses is another: the observers are seen to in this turn. */
static void changed(struct coap_front *front)
{
    struct tf_list_node *node = tf_list_first(&front->core_observers);
    for (; node; node = tf_list_next(&front->core_observers, node)) {
        tf_container_of(node, struct core_observer, in_front)->again = true;
    }
}

bool tf_coap_front_mail(struct coap_front *front, const struct tf_mail *mail, unsigned from)
{
    struct coap_gather *gather = mail->object;
    uint64_t bit = UINT64_C(1) << from;
    switch (mail->type) {
    case TF_MAIL_COAP_LIST:
        tf_list_push_back(&front->gathers, &gather->node);
        front->front.again = true;
        return true;
    case TF_MAIL_COAP_LISTED:
        part_arrived(front, gather, from);
        return true;
    case TF_MAIL_COAP_LISTEN:
        if (!front->core_watchers) {
            front->listing_told = front->shard->values.listing;
        }
        front->core_watchers =
            mail->count ? front->core_watchers | bit : front->core_watchers & ~bit;
        return true;
    case TF_MAIL_COAP_CHANGED:
        changed(front);
        return true;
    default:
        return false;
    }
}

/* Tells those who listen that the set of addresses has changed, unless they were told just now. */
static void tell(struct coap_front *front)
{
    unsigned self = front->shard->config.number;
    struct tf_mail mail = {.type = TF_MAIL_COAP_CHANGED};
    if (!front->core_watchers || front->listing_told == front->shard->values.listing ||
        tf_timer_armed(&front->tell.timer)) {
        return;
    }
    front->listing_told = front->shard->values.listing;
    tf_timers_arm(&front->shard->timers, &front->tell.timer, tf_time_add(coap_now(front), QUIET));
    for (unsigned i = 0; i < front->shard->count; i++) {
        if (!(front->core_watchers >> i & 1)) {
            continue;
        }
        if (i == self) {
            changed(front);
        } else if (tf_mail_send(front->shard->config.office, self, i, &mail)) {
            front->listing_told--; /* when it is quiet again, once more */
        }
    }
}

/* Goes on with the parts that are to be listed here, each in its turn. */
static void gather_turn(struct coap_front *front)
{
    unsigned self = front->shard->config.number;
    size_t budget = LOOK_BUDGET;
    const struct tf_list_node *last = tf_list_last(&front->gathers);
    bool more = last != NULL;
    while (more && budget) {
        struct tf_list_node *node = tf_list_pop_front(&front->gathers);
        struct coap_gather *gather = tf_container_of(node, struct coap_gather, node);
        struct tf_mail mail = {.type = TF_MAIL_COAP_LISTED, .object = gather};
        more = node != last;
        if (!tf_coap_front_gather_some(front, gather, &budget)) {
            tf_list_push_back(&front->gathers, node);
            continue;
        }
        front->listing_bytes -= gather->length;
        if (gather->from == self) {
            part_arrived(front, gather, self);
        } else if (tf_mail_send(front->shard->config.office, self, gather->from, &mail)) {
            front->listing_bytes += gather->length;
            tf_list_push_back(&front->gathers, node); /* again, when there is memory */
        }
    }
}

void tf_coap_front_list(struct coap_front *front)
{
    struct tf_list_node *node, *next;
    listings_begin(front);
    gather_turn(front);
    tell(front);
    for (node = tf_list_first(&front->core_observers); node; node = next) {
        struct core_observer *observer = tf_container_of(node, struct core_observer, in_front);
        next = tf_list_next(&front->core_observers, node);
        observer_gather(observer);
    }
    for (node = tf_list_first(&front->core_observers); node; node = next) {
        struct core_observer *observer = tf_container_of(node, struct core_observer, in_front);
        next = tf_list_next(&front->core_observers, node);
        observer_send(observer);
    }
    front->front.again |= !tf_list_empty(&front->gathers);
}

void tf_coap_front_listing_timer(struct coap_front *front, struct tf_front_timer *timer)
{
    (void)front; /* for COAP_TIMER_TELL the turn that follows does what there is to do */
    if (timer->kind == COAP_TIMER_LISTING) {
        listing_free(tf_container_of(timer, struct coap_listing, timer));
    }
}

/* ---- the end ---- */

void tf_coap_front_listing_detach(struct coap_channel *channel)
{
    struct coap_front *front = channel->front;
    struct tf_list_node *node, *next;
    for (node = tf_list_first(&front->listings); node; node = next) {
        struct coap_listing *listing = tf_container_of(node, struct coap_listing, node);
        next = tf_list_next(&front->listings, node);
        if (listing->channel == channel) {
            listing_free(listing);
        }
    }
}

void tf_coap_front_listing_release(struct coap_front *front)
{
    struct tf_list_node *node;
    tf_timers_cancel(&front->shard->timers, &front->tell.timer);
    while ((node = tf_list_first(&front->listings))) {
        listing_free(tf_container_of(node, struct coap_listing, node));
    }
    while ((node = tf_list_pop_front(&front->gathers))) {
        tf_coap_front_gather_free(front, tf_container_of(node, struct coap_gather, node));
    }
}
