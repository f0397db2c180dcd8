/* SPDX-License-Identifier: Apache-2.0 */
#include "simulate/random.h"

static uint64_t splitmix(uint64_t *x)
{
        uint64_t z = *x += 0x9e3779b97f4a7c15u;

        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        return z ^ z >> 31;
}

void random_seed(struct random *r, uint64_t seed, uint64_t name)
{
        uint64_t x = seed * 0xd1342543de82ef95u + name;

        for (size_t i = 0; i < N_ELEMENTS(r->s); i++)
                r->s[i] = splitmix(&x);
}

static uint64_t rotl(uint64_t x, int k)
{
        return x << k | x >> (64 - k);
}

uint64_t random_next(struct random *r)
{
        uint64_t *s = r->s, result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;

        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = rotl(s[3], 45);
        return result;
}

uint64_t digest_bytes(uint64_t digest, const void *data, size_t n)
{
        const uint8_t *p = data;
        uint64_t v;

        for (; n >= sizeof(v); p += sizeof(v), n -= sizeof(v)) {
                memcpy(&v, p, sizeof(v));
                digest = digest_add(digest, v);
        }
        v = n;
        memcpy(&v, p, n < 7 ? n : 7);
        return digest_add(digest, v);
}
