/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash map from strings to pointers or numbers: open addressing, linear probing, keys not copied
 * (they must outlive the map or their entry). Hash: FNV-1a with a random start per process, so that
 * nobody can choose colliding names.
 */
#ifndef PRVNG_BASE_STRMAP_H
#define PRVNG_BASE_STRMAP_H

#include "base/util.h"

struct strmap_entry {
        const char *key; /* NULL: free */
        uint32_t n_key;
        uint32_t hash;
        union {
                void *pointer;
                uint64_t number;
        } value;
};

struct strmap {
        struct strmap_entry *entries;
        size_t n;
        size_t cap; /* a power of two, or 0 */
};

#define STRMAP_NULL ((struct strmap){0})

void strmap_deinit(struct strmap *m);
int strmap_reserve(struct strmap *m, size_t n);

/* The entry of that key, or NULL. Valid until the next change of the map. */
struct strmap_entry *strmap_find(const struct strmap *m, const char *key, size_t n_key);

/* The entry of that key, made if need be (value 0); NULL: out of memory. */
struct strmap_entry *strmap_add(struct strmap *m, const char *key, size_t n_key);

void strmap_remove(struct strmap *m, const char *key, size_t n_key);

static inline void *strmap_get(const struct strmap *m, const char *key)
{
        struct strmap_entry *e = strmap_find(m, key, strlen(key));
        return e ? e->value.pointer : NULL;
}

#define strmap_foreach(e, m)                                                                       \
        for (struct strmap_entry *e = (m)->entries; e < (m)->entries + (m)->cap; e++)              \
                if (e->key)

#endif
