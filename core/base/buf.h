/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing byte buffer that remembers being out of memory: append as often as wanted, ask once.
 *
 * After a failed append the buffer stays as it was, further appends do nothing, and buf_error() is
 * -ENOMEM. The content always has a NUL behind it, which is not counted.
 *
 * One that `wipes` leaves none of its bytes in memory that it gave back: for what may hold a secret.
 */
#ifndef PRVNG_BASE_BUF_H
#define PRVNG_BASE_BUF_H

#include "base/util.h"
#include <stdarg.h>

struct buf {
        char *data; /* NULL while nothing was appended */
        size_t n;
        size_t cap;
        int error;
        bool wipes;
};

#define BUF_NULL  ((struct buf){0})
#define BUF_WIPES ((struct buf){.wipes = true})

void buf_deinit(struct buf *b); /* it wipes no more */
void buf_clear(struct buf *b); /* keeps the memory; forgets the error */
int buf_error(const struct buf *b);
const char *buf_str(const struct buf *b); /* never NULL */
char *buf_steal(struct buf *b);           /* caller frees; NULL if out of memory */

/* Room for n more bytes at the end, to be written by the caller and taken with buf_advance. */
char *buf_grow(struct buf *b, size_t n);
static inline char *buf_reserve(struct buf *b, size_t n)
{
        return _likely_(b->cap > b->n && b->cap - b->n > n && !b->error) ? b->data + b->n
                                                                       : buf_grow(b, n);
}
static inline void buf_advance(struct buf *b, size_t n)
{
        b->n += n;
        b->data[b->n] = 0;
}

static inline void buf_append(struct buf *b, const void *data, size_t n)
{
        char *p = buf_reserve(b, n);

        if (_unlikely_(!p))
                return;
        if (n)
                memcpy(p, data, n);
        buf_advance(b, n);
}
static inline void buf_putc(struct buf *b, char c)
{
        buf_append(b, &c, 1);
}
void buf_puts(struct buf *b, const char *s);
#define U64_TEXT 20
size_t u64_text(uint64_t v, char *ret_text); /* decimal, without a NUL; its length, up to U64_TEXT */
void buf_u64(struct buf *b, uint64_t v);
void buf_i64(struct buf *b, int64_t v);
/* n bytes as 2n lower-case hex digits, without a NUL. */
void hex_text(const void *data, size_t n, char *ret_text);

/* The n bytes of exactly 2n hex digits; upper case is accepted. False: it is something else. */
bool hex_read(const char *text, size_t n_text, uint8_t *ret, size_t n);

void buf_hex(struct buf *b, const void *data, size_t n); /* lower case */
void buf_printf(struct buf *b, const char *format, ...) _printf_(2, 3);

/* A JSON string with its quotes; s is UTF-8. */
void buf_json(struct buf *b, const char *s);
void buf_json_n(struct buf *b, const char *s, size_t n);
size_t buf_json_plain(const char *s, size_t n); /* how many bytes from the start on need no escape */

#define BUF_LIT(b, literal) buf_append((b), (literal), sizeof(literal) - 1)

static inline void cleanup_buf(struct buf *b)
{
        buf_deinit(b);
}

#endif
