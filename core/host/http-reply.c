/* SPDX-License-Identifier: Apache-2.0 */
/* The header of a reply: kept as lines, and the few of them that mean something here. */
#include "host/http.h"

#include <ctype.h>

enum { HEADERS_MAX = 262144 };
#define WAIT_MAX_MS (INT64_C(7) * 86400 * 1000)

void http_reply_deinit(struct http_reply *r)
{
        buf_deinit(&r->headers);
        buf_deinit(&r->body);
}

bool http_reply_header(struct http_reply *r, const char *line, size_t n)
{
        const char *colon, *value;

        while (n > 0 && strchr("\r\n \t", line[n - 1]))
                n--;
        if (n >= 5 && strncasecmp(line, "HTTP/", 5) == 0) { /* another one after a 1xx */
                buf_clear(&r->headers);
                r->headers_end = false;
                return true;
        }
        if (n == 0 || r->headers_end) {
                r->headers_end = true;
                return true;
        }
        if (r->headers.n + n > HEADERS_MAX)
                return false;
        if ((line[0] == ' ' || line[0] == '\t') && r->headers.n) { /* goes on with the last one */
                r->headers.data[r->headers.n - 1] = ' ';
                value = line;
        } else {
                colon = memchr(line, ':', n);
                if (!colon)
                        return true;
                for (const char *p = line; p < colon; p++)
                        buf_putc(&r->headers, (char)tolower((uint8_t)*p));
                BUF_LIT(&r->headers, ": ");
                value = colon + 1;
        }
        n -= (size_t)(value - line);
        while (n > 0 && (*value == ' ' || *value == '\t'))
                value++, n--;
        for (size_t i = 0; i < n; i++) /* what follows must stay one line */
                buf_putc(&r->headers, value[i] == '\n' || value[i] == '\r' || !value[i] ? ' '
                                                                                        : value[i]);
        BUF_LIT(&r->headers, "\n");
        return true;
}

const char *http_reply_find(const struct http_reply *r, const char *name, size_t *ret_n)
{
        const char *line = buf_str(&r->headers), *end;
        size_t n = strlen(name);

        for (; *line; line = end + 1) {
                end = strchrnul(line, '\n');
                if ((size_t)(end - line) >= n + 2 && memcmp(line, name, n) == 0 &&
                    memcmp(line + n, ": ", 2) == 0) {
                        *ret_n = (size_t)(end - line) - n - 2;
                        return line + n + 2;
                }
                if (!*end)
                        break;
        }
        return NULL;
}

/* -1: no date. */
static int64_t date_of(const char *value, size_t n)
{
        _cleanup_(cleanup_free) char *text = value ? strndup(value, n) : NULL;
        time_t t = text ? curl_getdate(text, NULL) : -1;

        return t < 0 ? -1 : (int64_t)t * 1000;
}

/* Seconds, or a date; the date is compared with the server's own clock where it tells it. */
static int64_t retry_after(const char *value, size_t n, int64_t now_ms)
{
        int64_t seconds = 0, date;
        size_t i = 0;

        for (; i < n && isdigit((uint8_t)value[i]); i++)
                seconds = MIN(seconds * 10 + value[i] - '0', WAIT_MAX_MS);
        if (i > 0) { /* some servers write fractions */
                if (i < n && value[i] != '.' && value[i] != ' ')
                        return -1;
                return MIN((seconds + (i < n && value[i] == '.' ? 1 : 0)) * 1000, WAIT_MAX_MS);
        }
        date = date_of(value, n);
        return date < 0 ? -1 : MIN(MAX(date - now_ms, (int64_t)0), WAIT_MAX_MS);
}

void http_reply_meaning(const struct http_reply *r, int64_t now_ms, struct prvng_http_response *ret)
{
        size_t n;
        const char *value = http_reply_find(r, "date", &n);

        ret->status = r->status;
        ret->date_ms = date_of(value, value ? n : 0);
        value = http_reply_find(r, "retry-after", &n);
        ret->retry_after_ms = value ? retry_after(value, n, ret->date_ms >= 0 ? ret->date_ms
                                                                              : now_ms)
                                    : -1;
}
