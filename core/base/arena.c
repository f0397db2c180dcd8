/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#define ARENA_ALIGN 8u
#define ARENA_BLOCK_MIN ((size_t)4096)
#define ARENA_BLOCK_MAX ((size_t)1 << 20)

struct arena_block {
        struct arena_block *next;
        size_t n;
};

void arena_deinit(struct arena *a)
{
        while (a->blocks) {
                struct arena_block *b = a->blocks;

                a->blocks = b->next;
                free(b);
        }
        *a = ARENA_NULL;
}

/* A zeroed block with room for n bytes. What is large gets a block of its own behind the one that is
 * being filled, so that the rest of that one is not lost. */
static char *block_add(struct arena *a, size_t n)
{
        size_t usual = MIN(MAX(a->n_bytes, ARENA_BLOCK_MIN), ARENA_BLOCK_MAX);
        bool own = n > usual / 4;
        size_t size = own ? n : usual;
        struct arena_block *b;

        if (size > SIZE_MAX - sizeof(*b))
                return NULL;
        b = calloc(1, sizeof(*b) + size);
        if (!b)
                return NULL;
        b->n = size;
        a->n_bytes += size;
        if (own && a->blocks) {
                b->next = a->blocks->next;
                a->blocks->next = b;
        } else {
                b->next = a->blocks;
                a->blocks = b;
                a->front = (char *)(b + 1) + (own ? size : 0);
                a->back = (char *)(b + 1) + size;
        }
        return own ? (char *)(b + 1) : NULL;
}

void *arena_alloc(struct arena *a, size_t n)
{
        char *p;

        if (n > SIZE_MAX - ARENA_ALIGN)
                return NULL;
        n = (MAX(n, (size_t)1) + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
        if (_unlikely_((size_t)(a->back - a->front) < n)) {
                p = block_add(a, n);
                if (p || (size_t)(a->back - a->front) < n)
                        return p;
        }
        p = a->front;
        a->front += n;
        return p;
}

char *arena_room(struct arena *a, size_t n)
{
        char *p;

        if (n == SIZE_MAX)
                return NULL;
        if (_unlikely_((size_t)(a->back - a->front) < n + 1)) {
                p = block_add(a, n + 1);
                if (p || (size_t)(a->back - a->front) < n + 1)
                        return p;
        }
        a->back -= n + 1;
        a->back[n] = 0;
        return a->back;
}

char *arena_copy(struct arena *a, const void *text, size_t n)
{
        char *p = arena_room(a, n);

        if (p && n)
                memcpy(p, text, n);
        return p;
}
