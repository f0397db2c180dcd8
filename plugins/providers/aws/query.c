/* SPDX-License-Identifier: Apache-2.0 */
#include "query.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void query_deinit(struct query *q)
{
        free(q->text);
        *q = QUERY_NULL;
}

static void put(struct query *q, const char *s, size_t n)
{
        if (!q->error && q->size - q->n <= n) {
                size_t size = (q->n + n + 256) * 2;
                char *p = realloc(q->text, size);

                if (!p) {
                        q->error = -ENOMEM;
                        return;
                }
                q->text = p;
                q->size = size;
        }
        if (q->error)
                return;
        memcpy(q->text + q->n, s, n);
        q->n += n;
        q->text[q->n] = '\0';
}

/* All but the unreserved of RFC 3986; a space is a plus, as in any form. */
static void put_encoded(struct query *q, const char *s)
{
        static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

        while (*s && !q->error) {
                size_t n = strspn(s, plain);
                char hex[4];

                put(q, s, n);
                s += n;
                if (!*s)
                        break;
                if (*s == ' ')
                        snprintf(hex, sizeof(hex), "+");
                else
                        snprintf(hex, sizeof(hex), "%%%02X", (unsigned)(unsigned char)*s);
                s++;
                put(q, hex, strlen(hex));
        }
}

void query_begin(struct query *q, const char *action, const char *version)
{
        q->n = 0;
        q->error = 0;
        query_add(q, action, "Action");
        query_add(q, version, "Version");
}

void query_add(struct query *q, const char *value, const char *name, ...)
{
        char text[256];
        va_list ap;
        int n;

        va_start(ap, name);
        n = vsnprintf(text, sizeof(text), name, ap);
        va_end(ap);
        if (n < 0 || (size_t)n >= sizeof(text)) {
                q->error = -EINVAL;
                return;
        }
        if (q->n > 0)
                put(q, "&", 1);
        put_encoded(q, text);
        put(q, "=", 1);
        put_encoded(q, value);
}

void query_filter(struct query *q, size_t i, const char *name, const char *value)
{
        query_add(q, name, "Filter.%zu.Name", i);
        query_add(q, value, "Filter.%zu.Value.1", i);
}

static int by_name(const void *a, const void *b)
{
        return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void query_object(struct query *q, const json_t *object)
{
        size_t n = json_object_size(object), i = 0;
        const char **names = calloc(n + 1, sizeof(*names)), *name;
        json_t *value;

        if (!names) {
                q->error = -ENOMEM;
                return;
        }
        json_object_foreach ((json_t *)(uintptr_t)object, name, value)
                names[i++] = name;
        qsort(names, n, sizeof(*names), by_name);
        for (i = 0; i < n; i++) {
                const char *text = json_string_value(json_object_get(object, names[i]));

                query_add(q, text ? text : "", "%s", names[i]);
        }
        free(names);
}

const char *query_text(const struct query *q)
{
        return q->error ? NULL : q->text;
}
