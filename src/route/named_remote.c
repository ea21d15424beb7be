/*
 * Consumers and producers of queues in other shards: the mail between a link and its member.
 *
 *      link                                          member, in the home of the queue
 *        |---- ATTACH ------------------------------->|  enters the queue, perhaps declares it
 *        |<------------------------------- ATTACHED --|  or why not
 *        |---- CREDIT: parcels ever ----------------->|  how many it may have sent, all in all
 *        |<--------------------------------- PARCEL --|  the entry is acquired
 *        |---- SETTLE: the same parcel -------------->|
 *        |---- CREDIT with a drain's number --------->|
 *        |<-------------------------------- DRAINED --|  nothing is left; its credit is 0
 *        |<--------------------- ROOM, DELETED -------|
 *        |---- DETACH ------------------------------->|  what it holds is released; freed
 *        |<----------------------------------- GONE --|  freed
 *
 * Credit is the consumer's own number; the home is told a part ahead, as a count of parcels since
 * the beginning, so that what crosses on the way cannot be counted twice. A parcel for which there
 * is no credit any more goes back untouched. What a consumer refuses by TF_AGAIN waits in the link.
 * `settled` consumers settle when the parcel has been taken: what is on its way when they leave is
 * not lost.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "base/views.h"
#include "route/named_internal.h"

#define AHEAD_MAX 256u /* parcels that a home may send ahead to one link */

static struct tf_named_parcel *parcel_of(struct tf_list_node *node)
{
    return tf_container_of(node, struct tf_named_parcel, node);
}

void tf_named_post(struct tf_shard *shard, unsigned to, const struct tf_mail *mail,
                   struct tf_unsent *unsent)
{
    *unsent = (struct tf_unsent){
        .object = mail->object, .type = mail->type, .flags = mail->flags, .to = (uint8_t)to};
    /* behind what waits, or DETACH would overtake a settlement; once it is sent the object may be
     * another thread's */
    if (!tf_list_empty(&shard->named.unsent) || !tf_shard_post(shard, to, mail)) {
        tf_list_push_back(&shard->named.unsent, &unsent->node);
    }
}

/* ---- parcels ---- */

static void free_outcome(struct tf_named_parcel *parcel)
{
    struct tf_bytes *annotations = &parcel->outcome.annotations;
    if (annotations->length) {
        parcel->alloc->free(parcel->alloc->ctx, (void *)(uintptr_t)annotations->data,
                            annotations->length);
    }
}

void tf_named_parcel_free(struct tf_named_parcel *parcel)
{
    free_outcome(parcel);
    tf_message_unref(parcel->message);
    parcel->alloc->free(parcel->alloc->ctx, parcel, parcel->size);
}

enum tf_err tf_named_send(struct tf_named_member *member, struct tf_named_entry *entry,
                          bool acquired_before)
{
    const struct tf_named_queue *named = member->queue;
    struct tf_shard *shard = member->base.shard;
    const struct tf_alloc *alloc = shard->config.alloc;
    struct tf_bytes annotations = {NULL, 0};
    if (entry->extra) {
        annotations = entry->extra->annotations;
    }
    size_t size = sizeof(struct tf_named_parcel) + annotations.length;
    struct tf_named_parcel *parcel = alloc->alloc(alloc->ctx, size);
    if (!parcel) {
        return TF_NO_MEMORY;
    }
    *parcel = (struct tf_named_parcel){.alloc = alloc,
                                       .size = size,
                                       .link = member->link,
                                       .entry = member->browse ? NULL : entry,
                                       .message = tf_message_ref(entry->entry.message),
                                       .annotations = {(uint8_t *)(parcel + 1), annotations.length},
                                       .attempts = entry->entry.attempts,
                                       .acquired_before = acquired_before,
                                       .retain = entry->entry.retain};
    if (annotations.length) {
        memcpy(parcel + 1, annotations.data, annotations.length);
    }
    struct tf_mail mail = {
        .type = TF_MAIL_PARCEL, .count = named->queue.count - named->acquired, .object = parcel};
    if (!tf_shard_post(shard, member->link->shard, &mail)) {
        tf_named_parcel_free(parcel);
        return TF_NO_MEMORY;
    }
    member->sent++;
    return TF_OK;
}

/* Sends a parcel home with its outcome. */
static void settle(struct tf_named_link *link, struct tf_named_parcel *parcel)
{
    struct tf_mail mail = {.type = TF_MAIL_SETTLE, .object = parcel};
    tf_named_post(link->base.shard, link->home, &mail, &parcel->unsent);
}

/* Sends it home as it came. */
static void give_back(struct tf_named_link *link, struct tf_named_parcel *parcel)
{
    parcel->untouched = true;
    parcel->outcome = (struct tf_outcome){.type = TF_OUTCOME_RELEASED};
    settle(link, parcel);
}

/* ---- the link ---- */

/* How many parcels the home should be allowed to have on their way. */
static uint32_t wanted(const struct tf_named_link *link)
{
    uint32_t most = TF_MIN(link->credit, AHEAD_MAX); /* with what waits here */
    return most > link->waiting_count ? most - link->waiting_count : 0;
}

static void make_stale(struct tf_named_link *link)
{
    if (link->attached && !tf_list_linked(&link->stale)) {
        tf_list_push_back(&link->base.shard->named.stale, &link->stale);
    }
}

/* The home is told when it has too much credit, or only half. */
static void update(struct tf_named_link *link)
{
    uint64_t ahead = link->told > link->received ? link->told - link->received : 0;
    uint64_t want = wanted(link);
    if (want < ahead || (want > ahead && ahead <= want / 2)) {
        make_stale(link);
    }
}

/* Offers one parcel. False: it waits. */
static bool offer(struct tf_named_link *link, struct tf_named_parcel *parcel)
{
    bool handle = !link->settled && !link->browse;
    struct tf_named_delivery delivery = {.publication = &parcel->message->publication,
                                         .handle = handle ? (uint64_t)(uintptr_t)parcel : 0,
                                         .annotations = parcel->annotations,
                                         .attempts = parcel->attempts,
                                         .acquired_before = parcel->acquired_before,
                                         .retain = parcel->retain};
    tf_list_push_back(&link->held, &parcel->node); /* it may be settled from within */
    link->credit--;
    enum tf_err err = link->consumer->ops->deliver(link->consumer, &delivery);
    if (err == TF_OK && handle) {
        return true;
    }
    tf_list_remove(&parcel->node);
    link->credit += err != TF_OK;
    if (err != TF_OK && err != TF_LIMIT) {
        tf_list_push_front(&link->waiting, &parcel->node);
        link->waiting_count++;
        return false;
    }
    if (link->browse) {
        tf_named_parcel_free(parcel);
    } else {
        parcel->outcome.type = err ? TF_OUTCOME_MODIFIED : TF_OUTCOME_ACCEPTED;
        parcel->outcome.undeliverable_here = parcel->untouched = err != TF_OK;
        settle(link, parcel);
    }
    return true;
}

/* A drain is over when the home has nothing left and all that came has been taken. */
static void end_drain(struct tf_named_link *link)
{
    if (link->draining && (link->credit == 0 || (link->home_drained && !link->waiting_count))) {
        link->draining = false;
        link->credit = 0;
        make_stale(link);
        link->consumer->ops->drained(link->consumer);
    }
}

/* Offers what waits. Without credit it goes back; but what is browsed stays. */
static void offer_waiting(struct tf_named_link *link)
{
    struct tf_list_node *node;
    if (link->offering) {
        return;
    }
    link->offering = true;
    while ((node = tf_list_first(&link->waiting)) && (link->credit || !link->browse)) {
        tf_list_remove(node);
        link->waiting_count--;
        if (link->credit == 0) {
            give_back(link, parcel_of(node));
        } else if (!offer(link, parcel_of(node))) {
            break;
        }
    }
    end_drain(link);
    link->offering = false;
    update(link);
}

void tf_named_link_credit(struct tf_named_link *link, uint32_t credit)
{
    link->credit = credit;
    offer_waiting(link);
}

void tf_named_link_drain(struct tf_named_link *link)
{
    link->draining = true;
    link->home_drained = false;
    link->drain++;
    make_stale(link);
    offer_waiting(link);
}

void tf_named_link_ready(struct tf_named_link *link)
{
    offer_waiting(link);
}

void tf_named_link_settle(struct tf_named_link *link, uint64_t handle,
                          const struct tf_outcome *outcome)
{
    struct tf_named_parcel *parcel = (struct tf_named_parcel *)(uintptr_t)handle;
    size_t length = outcome->type == TF_OUTCOME_MODIFIED ? outcome->annotations.length : 0;
    uint8_t *copy = length ? parcel->alloc->alloc(parcel->alloc->ctx, length) : NULL;
    tf_assert(parcel->link == link);
    tf_list_remove(&parcel->node);
    parcel->outcome = *outcome;
    parcel->outcome.annotations = tf_bytes_of(copy, copy ? length : 0);
    if (copy) {
        memcpy(copy, outcome->annotations.data, length);
    }
    settle(link, parcel);
}

enum tf_err tf_named_link_open(struct tf_shard *shard, struct tf_named_consumer *consumer,
                               struct tf_named_producer *producer,
                               const struct tf_queue_declaration *declaration)
{
    const struct tf_alloc *alloc = shard->config.alloc;
    const struct tf_queue_spec *spec = declaration->spec;
    size_t size = sizeof(struct tf_named_link) + declaration->name.length +
                  declaration->filter.length + (spec ? spec->dead_letter.length : 0);
    struct tf_named_link *link = alloc->alloc(alloc->ctx, size);
    if (!link) {
        return TF_NO_MEMORY;
    }
    memset(link, 0, sizeof(*link));
    link->base = (struct tf_named_attachment){shard, true};
    link->alloc = alloc;
    link->size = size;
    link->shard = shard->config.number;
    link->home = tf_shard_home(shard, declaration->name);
    link->consumer = consumer;
    link->producer = producer;
    link->producing = producer != NULL;
    link->browse = consumer && consumer->browse;
    link->settled = consumer && consumer->settled;
    link->exclusive = consumer && consumer->exclusive;
    uint8_t *next = (uint8_t *)(link + 1);
    link->declaration = *declaration;
    link->declaration.name = tf_bytes_put(&next, declaration->name);
    link->declaration.filter = tf_bytes_put(&next, declaration->filter);
    if (spec) {
        link->spec = *spec;
        link->spec.dead_letter = tf_bytes_put(&next, spec->dead_letter);
        link->declaration.spec = &link->spec;
    }
    tf_list_init(&link->waiting);
    tf_list_init(&link->held);
    struct tf_mail mail = {.type = TF_MAIL_ATTACH, .object = link};
    if (!tf_shard_post(shard, link->home, &mail)) {
        alloc->free(alloc->ctx, link, size);
        return TF_NO_MEMORY;
    }
    tf_list_push_back(&shard->named.links, &link->in_shard);
    *(consumer ? &consumer->attachment : &producer->attachment) = &link->base;
    return TF_AGAIN;
}

static void free_link(struct tf_named_link *link)
{
    struct tf_list_node *node;
    while ((node = tf_list_pop_front(&link->waiting)) || (node = tf_list_pop_front(&link->held))) {
        tf_named_parcel_free(parcel_of(node));
    }
    tf_list_unlink(&link->in_shard);
    tf_list_unlink(&link->stale);
    link->alloc->free(link->alloc->ctx, link, link->size);
}

void tf_named_link_leave(struct tf_named_link *link, bool lost)
{
    struct tf_list_node *node;
    link->consumer = NULL;
    link->producer = NULL;
    link->attached = false;
    tf_list_unlink(&link->stale);
    while ((node = tf_list_pop_front(&link->waiting))) { /* nobody has seen it */
        if (link->browse) {
            tf_named_parcel_free(parcel_of(node));
        } else {
            give_back(link, parcel_of(node));
        }
    }
    while ((node = tf_list_pop_front(&link->held))) { /* DETACH releases what they are for */
        tf_named_parcel_free(parcel_of(node));
    }
    link->seen = link->received;
    struct tf_mail mail = {.type = TF_MAIL_DETACH, .flags = lost, .object = link};
    tf_named_post(link->base.shard, link->home, &mail, &link->leave);
}

static void on_attached(struct tf_named_link *link, enum tf_err err, uint64_t known)
{
    struct tf_named_consumer *consumer = link->consumer;
    struct tf_named_producer *producer = link->producer;
    if (!consumer && !producer) {
        return;
    }
    if (err == TF_OK) {
        link->attached = true;
        link->known = (uint32_t)TF_MIN(known, UINT32_MAX);
        update(link); /* credit that was given meanwhile */
    } else {
        *(consumer ? &consumer->attachment : &producer->attachment) = NULL;
        tf_named_link_leave(link, false);
    }
    if (consumer) {
        consumer->ops->attached(consumer, err);
    } else {
        producer->ops->attached(producer, err);
    }
}

static void on_parcel(struct tf_named_parcel *parcel, uint32_t available)
{
    struct tf_named_link *link = parcel->link;
    link->received++;
    link->known = available;
    if (!link->consumer) { /* DETACH has released its entry, or will */
        tf_named_parcel_free(parcel);
        return;
    }
    bool blocked = link->waiting_count != 0;
    tf_list_push_back(&link->waiting, &parcel->node);
    link->waiting_count++;
    if (!blocked) {
        offer_waiting(link);
    }
}

static void on_deleted(struct tf_named_link *link)
{
    struct tf_named_consumer *consumer = link->consumer;
    struct tf_named_producer *producer = link->producer;
    bool attached = link->attached;
    if (!consumer && !producer) {
        return;
    }
    *(consumer ? &consumer->attachment : &producer->attachment) = NULL;
    tf_named_link_leave(link, false);
    if (consumer && attached) {
        consumer->ops->deleted(consumer);
    } else if (consumer) {
        consumer->ops->attached(consumer, TF_NOT_FOUND);
    } else if (attached) {
        producer->ops->deleted(producer);
    } else {
        producer->ops->attached(producer, TF_NOT_FOUND);
    }
}

static void on_drained(struct tf_named_link *link, uint64_t drain)
{
    if (link->consumer && link->draining && drain == link->drain) {
        link->home_drained = true;
        link->known = 0;
        offer_waiting(link);
    }
}

static void on_room(struct tf_named_link *link, uint64_t room)
{
    struct tf_named_producer *producer = link->producer;
    link->known = (uint32_t)TF_MIN(room, UINT32_MAX);
    if (producer && link->attached) {
        producer->ops->room(producer, link->known);
    }
}

/* Mails the credit of links in which it has changed. */
static void tell_credit(struct tf_shard *shard)
{
    struct tf_list_node *node;
    while ((node = tf_list_first(&shard->named.stale))) {
        struct tf_named_link *link = tf_container_of(node, struct tf_named_link, stale);
        uint64_t told = link->received + wanted(link);
        struct tf_mail mail = {.type = TF_MAIL_CREDIT,
                               .object = link,
                               .value = told,
                               .tag = link->draining ? link->drain : 0};
        if (!tf_shard_post(shard, link->home, &mail)) {
            return;
        }
        link->told = told;
        tf_list_remove(node);
    }
}

/* ---- the home ---- */

/* Mails what a member's link has not been told. False: no memory. */
static bool tell(struct tf_named_member *member)
{
    static const struct {
        uint8_t bit, type;
    } all[] = {{TF_TELL_ATTACHED, TF_MAIL_ATTACHED},
               {TF_TELL_ROOM, TF_MAIL_ROOM},
               {TF_TELL_DRAINED, TF_MAIL_DRAINED},
               {TF_TELL_DELETED, TF_MAIL_DELETED}};
    const struct tf_named_queue *named = member->queue;
    for (size_t i = 0; i < TF_COUNT(all); i++) {
        struct tf_mail mail = {
            .type = all[i].type, .object = member->link, .tag = member->drain_tag};
        if (!(member->tell & all[i].bit)) {
            continue;
        }
        if (all[i].bit == TF_TELL_ATTACHED) {
            mail.flags = (uint8_t)-member->err;
        }
        if (named) {
            mail.value = member->producing ? tf_named_queue_room(named)
                                           : named->queue.count - named->acquired;
        }
        if (!tf_shard_post(member->base.shard, member->link->shard, &mail)) {
            return false;
        }
        member->tell &= (uint8_t)~all[i].bit;
    }
    return true;
}

void tf_named_tell(struct tf_named_member *member, unsigned what)
{
    member->tell |= (uint8_t)what;
    if (!tf_list_linked(&member->telling) && !tell(member)) {
        tf_list_push_back(&member->base.shard->named.telling, &member->telling);
    }
}

static void on_attach(struct tf_shard *shard, struct tf_named_link *link)
{
    struct tf_named_member *member = tf_named_member_new(shard, NULL, NULL, link);
    if (!member) {
        struct tf_mail mail = {
            .type = TF_MAIL_ATTACHED, .flags = (uint8_t)-TF_NO_MEMORY, .object = link};
        tf_named_post(shard, link->shard, &mail, &link->answer);
        return;
    }
    link->member = member;
    enum tf_err err = tf_named_enter(shard, member, &link->declaration);
    if (err != TF_AGAIN) {
        member->err = err;
        tf_named_tell(member, TF_TELL_ATTACHED);
    }
}

static void on_credit(struct tf_named_link *link, uint64_t allowed, uint64_t drain)
{
    struct tf_named_member *member = link->member;
    if (!member || !member->queue) {
        return;
    }
    uint64_t credit = allowed > member->sent ? allowed - member->sent : 0;
    member->credit = (uint32_t)TF_MIN(credit, UINT32_MAX);
    member->blocked = false;
    tf_named_ready_again(member);
    tf_list_unlink(&member->draining);
    if (drain) {
        member->drain_tag = drain;
        tf_list_push_back(&member->queue->draining, &member->draining);
    }
    tf_named_pump(member->queue);
}

static void on_settle(struct tf_named_parcel *parcel)
{
    struct tf_named_member *member = parcel->link->member;
    struct tf_named_entry *entry = parcel->entry;
    if (member && member->queue) {
        entry->entry.acquired_before |= !parcel->untouched;
        if (parcel->untouched && parcel->outcome.type == TF_OUTCOME_RELEASED) {
            tf_named_return(member->queue, entry);
        } else {
            tf_named_outcome(member, entry, &parcel->outcome);
        }
    }
    tf_named_parcel_free(parcel);
}

static void on_detach(struct tf_shard *shard, struct tf_named_link *link, bool lost)
{
    struct tf_named_member *member = link->member;
    link->member = NULL;
    if (member) {
        /* what is on its way to the link nobody has seen: the last that it was sent */
        uint64_t unseen = member->browse ? 0 : member->sent - link->seen;
        while (member->queue && unseen) {
            struct tf_list_node *node = tf_list_last(&member->acquired);
            tf_named_return(member->queue,
                            tf_container_of(node, struct tf_named_entry, entry.node));
            unseen--;
        }
        tf_named_leave(member, lost);
    }
    if (tf_list_linked(&link->answer.node)) {
        link->answer.type = TF_MAIL_GONE; /* instead of an ATTACHED that has not gone out */
        return;
    }
    struct tf_mail mail = {.type = TF_MAIL_GONE, .object = link};
    tf_named_post(shard, link->shard, &mail, &link->answer);
}

static void on_produce(struct tf_shard *shard, struct tf_message *message,
                       struct tf_named_queue *named, uint64_t ticket, unsigned from)
{
    struct tf_published result = {0};
    if (named && tf_named_put(named, &message->publication, &result) == TF_NO_MEMORY) {
        result.refused = true;
    }
    tf_message_unref(message);
    if (ticket) {
        tf_shard_reply(shard, from, ticket, &result);
    }
}

/* ---- all mail ---- */

static void link_mail(struct tf_shard *shard, const struct tf_mail *mail)
{
    struct tf_named_link *link = mail->object;
    switch (mail->type) {
    case TF_MAIL_ATTACH:
        on_attach(shard, link);
        return;
    case TF_MAIL_ATTACHED:
        on_attached(link, (enum tf_err) - (int)mail->flags, mail->value);
        return;
    case TF_MAIL_CREDIT:
        on_credit(link, mail->value, mail->tag);
        return;
    case TF_MAIL_DRAINED:
        on_drained(link, mail->tag);
        return;
    case TF_MAIL_ROOM:
        on_room(link, mail->value);
        return;
    case TF_MAIL_DELETED:
        on_deleted(link);
        return;
    case TF_MAIL_DETACH:
        on_detach(shard, link, mail->flags);
        return;
    default: /* GONE */
        free_link(link);
        return;
    }
}

void tf_named_mail(struct tf_shard *shard, const struct tf_mail *mail, unsigned from)
{
    struct tf_named_link *link;
    struct tf_named_letter *letter;
    struct tf_message *message;
    switch (mail->type) {
    case TF_MAIL_PARCEL:
        on_parcel(mail->object, mail->count);
        return;
    case TF_MAIL_SETTLE:
        on_settle(mail->object);
        return;
    case TF_MAIL_PRODUCE:
        link = (struct tf_named_link *)(uintptr_t)mail->value;
        on_produce(shard, mail->object, link->member ? link->member->queue : NULL, mail->tag, from);
        return;
    case TF_MAIL_ENQUEUE:
        letter = mail->object;
        message = tf_message_ref(letter->message);
        on_produce(shard, message, tf_named_queue_find(shard, letter->name), mail->tag, from);
        tf_named_letter_free(letter);
        return;
    case TF_MAIL_COMMAND:
    case TF_MAIL_DONE:
    case TF_MAIL_MOVE:
    case TF_MAIL_MOVED:
        tf_queue_work_mail(shard, mail);
        return;
    default:
        link_mail(shard, mail);
        return;
    }
}

void tf_named_discard(const struct tf_mail *mail)
{
    switch (mail->type) {
    case TF_MAIL_PARCEL:
    case TF_MAIL_SETTLE:
        tf_named_parcel_free(mail->object);
        return;
    case TF_MAIL_PRODUCE:
        tf_message_unref(mail->object);
        return;
    case TF_MAIL_ENQUEUE:
        tf_named_letter_free(mail->object);
        return;
    case TF_MAIL_COMMAND:
    case TF_MAIL_DONE:
    case TF_MAIL_MOVE:
    case TF_MAIL_MOVED:
        tf_queue_work_free(mail->object);
        return;
    default: /* a link: its own shard frees it */
        return;
    }
}

void tf_named_remote_work(struct tf_shard *shard)
{
    struct tf_named_shard *all = &shard->named;
    struct tf_list_node *node;
    while ((node = tf_list_pop_front(&all->unsent))) {
        struct tf_unsent *unsent = tf_container_of(node, struct tf_unsent, node);
        struct tf_mail mail = {
            .type = unsent->type, .flags = unsent->flags, .object = unsent->object};
        if (!tf_shard_post(shard, unsent->to, &mail)) {
            tf_list_push_front(&all->unsent, node);
            break;
        }
    }
    while ((node = tf_list_first(&all->telling))) {
        if (!tell(tf_container_of(node, struct tf_named_member, telling))) {
            break;
        }
        tf_list_remove(node);
    }
    tell_credit(shard);
}

void tf_named_remote_release(struct tf_shard *shard)
{
    struct tf_list_node *node;
    while ((node = tf_list_pop_front(&shard->named.unsent))) {
        struct tf_unsent *unsent = tf_container_of(node, struct tf_unsent, node);
        struct tf_mail mail = {.type = unsent->type, .object = unsent->object};
        tf_named_discard(&mail);
    }
    while ((node = tf_list_first(&shard->named.links))) {
        free_link(tf_container_of(node, struct tf_named_link, in_shard));
    }
}
