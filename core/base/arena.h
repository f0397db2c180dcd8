/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bump allocator: many small things that are freed together. Structs are taken from the front of a
 * block, aligned; text from its back, without gaps. One thread at a time.
 */
#ifndef PRVNG_BASE_ARENA_H
#define PRVNG_BASE_ARENA_H

#include "base/util.h"

struct arena_block;

struct arena {
        struct arena_block *blocks; /* the first is the one that is filled */
        char *front, *back;         /* what is free of it */
        size_t n_bytes;             /* of all blocks */
};

#define ARENA_NULL ((struct arena){0})

void arena_deinit(struct arena *a);

/* n zeroed bytes, aligned for any struct of pointers and numbers; NULL: out of memory. */
void *arena_alloc(struct arena *a, size_t n);

/* Room for n characters and a NUL, which is set; the rest is not initialised. NULL: out of memory. */
char *arena_room(struct arena *a, size_t n);

/* A copy of n characters, ended with a NUL. NULL: out of memory. */
char *arena_copy(struct arena *a, const void *text, size_t n);

static inline char *arena_strdup(struct arena *a, const char *s)
{
        return arena_copy(a, s, strlen(s));
}

static inline void cleanup_arena(struct arena *a)
{
        arena_deinit(a);
}

#endif
