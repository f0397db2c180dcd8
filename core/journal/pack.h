/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of snapshots: numbers of seven bits a byte, lowest first; signed ones folded (0, -1, 1, -2
 * ...); strings behind their length plus one, 0 for NULL. Reading past the end gives zeros and is
 * remembered in `bad`: ask once. Internal to core/journal.
 */
#ifndef PRVNG_JOURNAL_PACK_H
#define PRVNG_JOURNAL_PACK_H

#include "base/buf.h"
#include "journal/record.h"

static inline char *pack_number(char *p, uint64_t v)
{
        for (; v >= 0x80; v >>= 7)
                *p++ = (char)(v | 0x80);
        *p++ = (char)v;
        return p;
}

static inline uint64_t pack_fold(int64_t v)
{
        return (uint64_t)v << 1 ^ (uint64_t)(v >> 63);
}

static inline void pack_u64(struct buf *b, uint64_t v)
{
        char *p = buf_reserve(b, 10);

        if (p)
                buf_advance(b, (size_t)(pack_number(p, v) - p));
}

static inline void pack_i64(struct buf *b, int64_t v)
{
        pack_u64(b, pack_fold(v));
}

static inline void pack_span(struct buf *b, struct span s)
{
        pack_u64(b, (uint64_t)s.n + 1);
        if (s.n)
                buf_append(b, s.p, s.n);
}

static inline void pack_string(struct buf *b, const char *s)
{
        if (s)
                pack_span(b, span_of(s));
        else
                pack_u64(b, 0);
}

static inline void pack_uid(struct buf *b, const struct uid *u)
{
        buf_append(b, u->bytes, sizeof(u->bytes));
}

struct unpack {
        const char *p, *end;
        bool bad;
};

static inline uint64_t unpack_u64(struct unpack *u)
{
        uint64_t v = 0;

        for (unsigned shift = 0; u->p < u->end && shift < 64; shift += 7) {
                uint8_t c = (uint8_t)*u->p++;

                v |= (uint64_t)(c & 0x7f) << shift;
                if (c < 0x80)
                        return v;
        }
        u->bad = true;
        u->p = u->end;
        return 0;
}

/* A number that must be below or equal to `max`. */
static inline uint32_t unpack_max(struct unpack *u, uint32_t max)
{
        uint64_t v = unpack_u64(u);

        u->bad |= v > max;
        return v > max ? 0 : (uint32_t)v;
}

static inline uint32_t unpack_u32(struct unpack *u)
{
        return unpack_max(u, UINT32_MAX);
}

static inline int64_t unpack_i64(struct unpack *u)
{
        uint64_t v = unpack_u64(u);

        return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

static inline void unpack_bytes(struct unpack *u, void *ret, size_t n)
{
        if ((size_t)(u->end - u->p) < n) {
                u->bad = true;
                memset(ret, 0, n);
                return;
        }
        memcpy(ret, u->p, n);
        u->p += n;
}

static inline uint8_t unpack_byte(struct unpack *u)
{
        uint8_t c;

        unpack_bytes(u, &c, 1);
        return c;
}

/* Points into what is unpacked; p is NULL for NULL. */
static inline struct span unpack_span(struct unpack *u)
{
        uint64_t n = unpack_u64(u);
        struct span s = {0};

        if (n == 0)
                return s;
        if (n - 1 > (uint64_t)(u->end - u->p)) {
                u->bad = true;
                return s;
        }
        s = span_n(u->p, (size_t)(n - 1));
        u->p += s.n;
        return s;
}

/* A copy that the caller frees, or NULL. Out of memory is bad too. */
static inline char *unpack_string(struct unpack *u)
{
        struct span s = unpack_span(u);
        char *copy = s.p ? strndup(s.p, s.n) : NULL;

        u->bad |= s.p && !copy;
        return copy;
}

#endif
