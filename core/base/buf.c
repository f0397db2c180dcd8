/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <endian.h>

void buf_deinit(struct buf *b)
{
        if (b->wipes && b->data)
                explicit_bzero(b->data, b->cap);
        free(b->data);
        *b = BUF_NULL;
}

void buf_clear(struct buf *b)
{
        if (b->wipes && b->data)
                explicit_bzero(b->data, b->cap);
        b->n = 0;
        b->error = 0;
        if (b->data)
                b->data[0] = 0;
}

int buf_error(const struct buf *b)
{
        return b->error ? error_origin(b->error) : 0;
}

const char *buf_str(const struct buf *b)
{
        return b->data ? b->data : "";
}

char *buf_steal(struct buf *b)
{
        char *data;

        if (!buf_reserve(b, 0) || b->error)
                return NULL;
        data = b->data;
        *b = BUF_NULL;
        return data;
}

/* As realloc(), which may leave the bytes behind. */
static char *move(struct buf *b, size_t cap)
{
        char *data = malloc(cap);

        if (data && b->data) {
                memcpy(data, b->data, b->n);
                explicit_bzero(b->data, b->cap);
                free(b->data);
        }
        return data;
}

char *buf_grow(struct buf *b, size_t n)
{
        size_t cap;
        char *data;

        if (b->error)
                return NULL;
        cap = MAX(b->cap * 2, b->n + n + 1);
        cap = MAX(cap, (size_t)64);
        data = b->wipes ? move(b, cap) : realloc(b->data, cap);
        if (!data) {
                b->error = -ENOMEM;
                return NULL;
        }
        b->data = data;
        b->cap = cap;
        b->data[b->n] = 0;
        return b->data + b->n;
}

void buf_puts(struct buf *b, const char *s)
{
        buf_append(b, s, strlen(s));
}

size_t u64_text(uint64_t v, char *ret_text)
{
        static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                                    "25262728293031323334353637383940414243444546474849"
                                    "50515253545556575859606162636465666768697071727374"
                                    "75767778798081828384858687888990919293949596979899";
        char text[U64_TEXT];
        size_t i = sizeof(text);

        for (; v >= 100; v /= 100)
                memcpy(text + (i -= 2), pairs + v % 100 * 2, 2);
        if (v >= 10)
                memcpy(text + (i -= 2), pairs + v * 2, 2);
        else
                text[--i] = (char)('0' + v);
        memcpy(ret_text, text + i, sizeof(text) - i);
        return sizeof(text) - i;
}

void buf_u64(struct buf *b, uint64_t v)
{
        char *p = buf_reserve(b, U64_TEXT);

        if (p)
                buf_advance(b, u64_text(v, p));
}

void buf_i64(struct buf *b, int64_t v)
{
        if (v < 0)
                buf_putc(b, '-');
        buf_u64(b, v < 0 ? -(uint64_t)v : (uint64_t)v);
}

void hex_text(const void *data, size_t n, char *ret_text)
{
        static const char digits[] = "0123456789abcdef";
        const uint8_t *d = data;

        for (size_t i = 0; i < n; i++) {
                ret_text[2 * i] = digits[d[i] >> 4];
                ret_text[2 * i + 1] = digits[d[i] & 15];
        }
}

bool hex_read(const char *text, size_t n_text, uint8_t *ret, size_t n)
{
        if (n_text != 2 * n)
                return false;
        for (size_t i = 0; i < n_text; i++) {
                char c = text[i];
                int digit = c >= '0' && c <= '9'   ? c - '0'
                            : c >= 'a' && c <= 'f' ? c - 'a' + 10
                            : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                   : -1;

                if (digit < 0)
                        return false;
                ret[i / 2] = (uint8_t)(i % 2 ? ret[i / 2] | digit : digit << 4);
        }
        return true;
}

void buf_hex(struct buf *b, const void *data, size_t n)
{
        char *p = buf_reserve(b, 2 * n);

        if (!p)
                return;
        hex_text(data, n, p);
        buf_advance(b, 2 * n);
}

void buf_printf(struct buf *b, const char *format, ...)
{
        size_t room;
        va_list ap;
        char *p;
        int n;

        p = buf_reserve(b, 128); /* mostly enough: formatting twice costs more */
        if (!p)
                return;
        room = b->cap - b->n;
        va_start(ap, format);
        n = vsnprintf(p, room, format, ap);
        va_end(ap);
        if (n >= 0 && (size_t)n >= room) {
                p = buf_reserve(b, (size_t)n + 1);
                if (!p) {
                        b->data[b->n] = 0;
                        return;
                }
                va_start(ap, format);
                vsnprintf(p, (size_t)n + 1, format, ap);
                va_end(ap);
        }
        if (n >= 0)
                buf_advance(b, (size_t)n);
        else
                *p = 0;
}

void buf_json(struct buf *b, const char *s)
{
        buf_json_n(b, s, strlen(s));
}

/* Eight at a time. A byte of `v` that is less than n shows as its top bit; bits above the first one may
 * be wrong (https://graphics.stanford.edu/~seander/bithacks.html#HasLessInWord). */
#define EACH(byte)   (UINT64_C(0x0101010101010101) * (byte))
#define LESS(v, n)   (((v) - EACH(n)) & ~(v) & EACH(0x80))
#define EQUALS(v, c) LESS((v) ^ EACH(c), 1)

static inline uint64_t special(uint64_t v)
{
        v = le64toh(v);
        return LESS(v, 0x20) | EQUALS(v, '"') | EQUALS(v, '\\');
}

size_t buf_json_plain(const char *s, size_t n)
{
        size_t i = 0;
        uint64_t v;

        for (; i + 8 <= n; i += 8) {
                memcpy(&v, s + i, 8);
                v = special(v);
                if (v)
                        return i + (size_t)__builtin_ctzll(v) / 8;
        }
        if (n >= 8 && i < n) { /* the last eight: some were looked at */
                memcpy(&v, s + n - 8, 8);
                v = special(v);
                return v ? n - 8 + (size_t)__builtin_ctzll(v) / 8 : n;
        }
        for (; i < n && (uint8_t)s[i] >= 0x20 && s[i] != '"' && s[i] != '\\'; i++)
                ;
        return i;
}

void buf_json_n(struct buf *b, const char *s, size_t n)
{
        static const char hex[] = "0123456789abcdef";
        size_t from = 0;

        buf_putc(b, '"');
        for (size_t i = 0; i < n; i++) {
                char escaped[7] = "\\u00";
                uint8_t c;

                i += buf_json_plain(s + i, n - i);
                if (i == n)
                        break;
                c = (uint8_t)s[i];
                buf_append(b, s + from, i - from);
                from = i + 1;
                switch (c) {
                case '"':
                        BUF_LIT(b, "\\\"");
                        break;
                case '\\':
                        BUF_LIT(b, "\\\\");
                        break;
                case '\n':
                        BUF_LIT(b, "\\n");
                        break;
                case '\t':
                        BUF_LIT(b, "\\t");
                        break;
                default:
                        escaped[4] = hex[c >> 4];
                        escaped[5] = hex[c & 15];
                        buf_append(b, escaped, 6);
                }
        }
        buf_append(b, s + from, n - from);
        buf_putc(b, '"');
}
