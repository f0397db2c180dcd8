/* SPDX-License-Identifier: Apache-2.0 */
#include "base/strmap.h"

#include <sys/random.h>

static uint32_t hash_of(const char *key, size_t n)
{
        static uint64_t seed;
        uint64_t h;

        if (_unlikely_(!seed)) {
                uint64_t s = 0;

                if (getrandom(&s, sizeof(s), GRND_NONBLOCK) != sizeof(s))
                        s = (uintptr_t)&seed;
                __atomic_store_n(&seed, s | 1, __ATOMIC_RELAXED);
        }
        h = 0xcbf29ce484222325u ^ seed;
        for (size_t i = 0; i < n; i++)
                h = (h ^ (uint8_t)key[i]) * 0x100000001b3u;
        return (uint32_t)(h ^ h >> 32);
}

void strmap_deinit(struct strmap *m)
{
        free(m->entries);
        *m = STRMAP_NULL;
}

static struct strmap_entry *slot(const struct strmap *m, const char *key, size_t n, uint32_t hash)
{
        for (size_t i = hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
                struct strmap_entry *e = &m->entries[i];

                if (!e->key || (e->hash == hash && e->n_key == n && memcmp(e->key, key, n) == 0))
                        return e;
        }
}

int strmap_reserve(struct strmap *m, size_t n)
{
        struct strmap bigger = {.cap = MAX(m->cap, (size_t)8)};

        while (bigger.cap * 7 / 8 < n)
                bigger.cap *= 2;
        if (bigger.cap == m->cap)
                return 0;
        bigger.entries = calloc(bigger.cap, sizeof(*bigger.entries));
        if (!bigger.entries)
                return error_origin(-ENOMEM);
        strmap_foreach (e, m)
                *slot(&bigger, e->key, e->n_key, e->hash) = *e;
        bigger.n = m->n;
        free(m->entries);
        *m = bigger;
        return 0;
}

struct strmap_entry *strmap_find(const struct strmap *m, const char *key, size_t n_key)
{
        struct strmap_entry *e;

        if (!m->cap)
                return NULL;
        e = slot(m, key, n_key, hash_of(key, n_key));
        return e->key ? e : NULL;
}

struct strmap_entry *strmap_add(struct strmap *m, const char *key, size_t n_key)
{
        uint32_t hash = hash_of(key, n_key);
        struct strmap_entry *e;

        if (strmap_reserve(m, m->n + 1))
                return NULL;
        e = slot(m, key, n_key, hash);
        if (!e->key) {
                *e = (struct strmap_entry){.key = key, .n_key = (uint32_t)n_key, .hash = hash};
                m->n++;
        }
        return e;
}

void strmap_remove(struct strmap *m, const char *key, size_t n_key)
{
        struct strmap_entry *e = strmap_find(m, key, n_key);
        size_t hole, mask = m->cap - 1;

        if (!e)
                return;
        /* Close the gap: move back what was pushed past it (no tombstones). */
        hole = (size_t)(e - m->entries);
        for (size_t i = (hole + 1) & mask; m->entries[i].key; i = (i + 1) & mask) {
                size_t home = m->entries[i].hash & mask;

                if (((i - home) & mask) >= ((i - hole) & mask)) {
                        m->entries[hole] = m->entries[i];
                        hole = i;
                }
        }
        m->entries[hole] = (struct strmap_entry){0};
        m->n--;
}
