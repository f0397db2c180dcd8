/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only source of chance: xoshiro256** (Blackman and Vigna, https://prng.di.unimi.it/), seeded by
 * splitmix64. Streams of the same seed with different names are independent of each other, so that
 * leaving out one draw changes nothing in the others.
 */
#ifndef PRVNG_SIMULATE_RANDOM_H
#define PRVNG_SIMULATE_RANDOM_H

#include "base/util.h"

struct random {
        uint64_t s[4];
};

void random_seed(struct random *r, uint64_t seed, uint64_t name);
uint64_t random_next(struct random *r);

static inline uint64_t random_below(struct random *r, uint64_t n) /* n > 0 */
{
        return random_next(r) % n;
}

/* From `least` to `most`, both included. */
static inline int64_t random_between(struct random *r, int64_t least, int64_t most)
{
        return least + (int64_t)random_below(r, (uint64_t)(most - least) + 1);
}

static inline bool random_chance(struct random *r, unsigned permille)
{
        return random_below(r, 1000) < permille;
}

/* Stirs a value into a digest. */
static inline uint64_t digest_add(uint64_t digest, uint64_t v)
{
        digest = (digest ^ v) * 0x9e3779b97f4a7c15u;
        return digest ^ digest >> 29;
}

uint64_t digest_bytes(uint64_t digest, const void *data, size_t n);

#endif
