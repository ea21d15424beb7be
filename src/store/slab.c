/*
 * The slab. Pages with room are linked by their numbers, newest first; a page's bits say which of
 * its items are in use.
 */
#include "store/slab.h"

#include <stdalign.h>
#include <string.h>

#include "base/assert.h"

#define WORDS (TF_SLAB_PAGE / 64)

struct tf_slab_page {
    uint32_t used;
    uint32_t prev, next; /* among the pages with room */
    uint64_t bits[WORDS];
    alignas(max_align_t) uint8_t items[];
};

static size_t page_size(const struct tf_slab *slab)
{
    return sizeof(struct tf_slab_page) + slab->item * TF_SLAB_PAGE;
}

void tf_slab_init(struct tf_slab *slab, const struct tf_alloc *alloc, size_t item)
{
    *slab = (struct tf_slab){.alloc = alloc, .item = (item + 7) & ~(size_t)7, .open = TF_SLAB_NONE};
}

void tf_slab_release(struct tf_slab *slab)
{
    for (uint32_t i = 0; i < slab->page_count; i++)
        if (slab->pages[i])
            slab->alloc->free(slab->alloc->ctx, slab->pages[i], page_size(slab));
    if (slab->pages)
        slab->alloc->free(slab->alloc->ctx, slab->pages,
                          slab->page_capacity * sizeof(*slab->pages));
    tf_slab_init(slab, slab->alloc, slab->item);
}

static void open_page(struct tf_slab *slab, uint32_t number)
{
    struct tf_slab_page *page = slab->pages[number];

    page->prev = TF_SLAB_NONE;
    page->next = slab->open;
    if (slab->open != TF_SLAB_NONE)
        slab->pages[slab->open]->prev = number;
    slab->open = number;
}

static void close_page(struct tf_slab *slab, uint32_t number)
{
    struct tf_slab_page *page = slab->pages[number];

    if (page->prev != TF_SLAB_NONE)
        slab->pages[page->prev]->next = page->next;
    else
        slab->open = page->next;
    if (page->next != TF_SLAB_NONE)
        slab->pages[page->next]->prev = page->prev;
}

static bool grow_directory(struct tf_slab *slab)
{
    uint32_t capacity = slab->page_capacity ? slab->page_capacity * 2 : 8;
    struct tf_slab_page **pages;

    if (slab->page_capacity >= TF_SLAB_NONE / TF_SLAB_PAGE / 2)
        return false;
    pages = slab->alloc->alloc(slab->alloc->ctx, capacity * sizeof(*pages));
    if (!pages)
        return false;
    if (slab->pages) {
        memcpy(pages, slab->pages, slab->page_count * sizeof(*pages));
        slab->alloc->free(slab->alloc->ctx, slab->pages,
                          slab->page_capacity * sizeof(*slab->pages));
    }
    slab->pages = pages;
    slab->page_capacity = capacity;
    return true;
}

static bool add_page(struct tf_slab *slab)
{
    uint32_t number = slab->hole;
    struct tf_slab_page *page;

    while (number < slab->page_count && slab->pages[number])
        number++;
    slab->hole = number;
    if (number == slab->page_capacity && !grow_directory(slab))
        return false;
    page = slab->alloc->alloc(slab->alloc->ctx, page_size(slab));
    if (!page)
        return false;
    memset(page, 0, sizeof(*page));
    slab->pages[number] = page;
    if (number == slab->page_count)
        slab->page_count++;
    slab->empties++;
    open_page(slab, number);
    return true;
}

void *tf_slab_take(struct tf_slab *slab, uint32_t *ret_number)
{
    struct tf_slab_page *page;
    uint32_t number, word = 0, bit;

    if (slab->open == TF_SLAB_NONE && !add_page(slab))
        return NULL;
    number = slab->open;
    page = slab->pages[number];
    while (page->bits[word] == UINT64_MAX)
        word++;
    bit = (uint32_t)__builtin_ctzll(~page->bits[word]);
    page->bits[word] |= UINT64_C(1) << bit;
    if (!page->used++)
        slab->empties--;
    if (page->used == TF_SLAB_PAGE)
        close_page(slab, number);
    slab->count++;
    *ret_number = number * TF_SLAB_PAGE + word * 64 + bit;
    return memset(page->items + slab->item * (word * 64 + bit), 0, slab->item);
}

void tf_slab_give(struct tf_slab *slab, uint32_t number)
{
    uint32_t at = number / TF_SLAB_PAGE, bit = number % TF_SLAB_PAGE;
    struct tf_slab_page *page = slab->pages[at];

    tf_assert(page->bits[bit / 64] >> (bit % 64) & 1);
    page->bits[bit / 64] &= ~(UINT64_C(1) << (bit % 64));
    if (page->used-- == TF_SLAB_PAGE)
        open_page(slab, at);
    slab->count--;
    if (page->used)
        return;
    if (!slab->empties) {
        slab->empties = 1;
        return;
    }
    close_page(slab, at);
    slab->alloc->free(slab->alloc->ctx, page, page_size(slab));
    slab->pages[at] = NULL;
    if (at < slab->hole)
        slab->hole = at;
}

void *tf_slab_at(const struct tf_slab *slab, uint32_t number)
{
    return slab->pages[number / TF_SLAB_PAGE]->items + slab->item * (number % TF_SLAB_PAGE);
}

uint32_t tf_slab_next(const struct tf_slab *slab, uint32_t from)
{
    uint32_t bit = from % TF_SLAB_PAGE;

    for (uint32_t at = from / TF_SLAB_PAGE; at < slab->page_count; at++, bit = 0) {
        const struct tf_slab_page *page = slab->pages[at];
        if (!page || !page->used)
            continue;
        for (uint32_t word = bit / 64; word < WORDS; word++) {
            uint64_t bits = page->bits[word];
            if (word == bit / 64)
                bits &= UINT64_MAX << (bit % 64);
            if (bits)
                return at * TF_SLAB_PAGE + word * 64 + (uint32_t)__builtin_ctzll(bits);
        }
    }
    return TF_SLAB_NONE;
}
