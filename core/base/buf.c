/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

void buf_deinit(struct buf *b)
{
        free(b->data);
        *b = BUF_NULL;
}

void buf_clear(struct buf *b)
{
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

char *buf_grow(struct buf *b, size_t n)
{
        size_t cap;
        char *data;

        if (b->error)
                return NULL;
        cap = MAX(b->cap * 2, b->n + n + 1);
        cap = MAX(cap, (size_t)64);
        data = realloc(b->data, cap);
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

void buf_json_n(struct buf *b, const char *s, size_t n)
{
        static const char hex[] = "0123456789abcdef";
        size_t from = 0;

        buf_putc(b, '"');
        for (size_t i = 0; i < n; i++) {
                uint8_t c = (uint8_t)s[i];
                char escaped[7] = "\\u00";

                if (_likely_(c >= 0x20 && c != '"' && c != '\\'))
                        continue;
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
