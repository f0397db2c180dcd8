/* SPDX-License-Identifier: Apache-2.0 */
#include "base/problem.h"

void problems_deinit(struct problems *p)
{
        for (size_t i = 0; i < p->n; i++) {
                free(p->list[i].file);
                free(p->list[i].path);
                free(p->list[i].message);
                free(p->list[i].snippet);
        }
        free(p->list);
        *p = PROBLEMS_NULL;
}

static void add(struct problems *p, const struct position *at, const char *path, char *message,
                const char *snippet)
{
        if (p->n == p->cap) {
                size_t cap = p->cap ? p->cap * 2 : 8;
                struct problem *list = realloc(p->list, cap * sizeof(*list));

                if (!list) {
                        fprintf(stderr, "prvng: out of memory at: %s\n", message);
                        free(message);
                        return;
                }
                p->list = list;
                p->cap = cap;
        }
        p->list[p->n++] = (struct problem){
                .file = at && at->file ? strdup(at->file) : NULL,
                .line = at ? at->line : 0,
                .column = at ? at->column : 0,
                .path = strdup(path ? path : ""),
                .message = message,
                .snippet = snippet ? strdup(snippet) : NULL,
        };
}

void problems_add(struct problems *p, const struct position *at, const char *path,
                  const char *format, ...)
{
        char *message = NULL;
        va_list ap;

        va_start(ap, format);
        if (vasprintf(&message, format, ap) < 0)
                message = NULL;
        va_end(ap);
        if (message)
                add(p, at, path, message, NULL);
}

void problems_add_snippet(struct problems *p, const struct position *at, const char *path,
                          const char *snippet, const char *message)
{
        char *copy = strdup(message);

        if (copy)
                add(p, at, path, copy, snippet);
}

void problems_print(const struct problems *p, FILE *f)
{
        for (size_t i = 0; i < p->n; i++) {
                const struct problem *q = &p->list[i];

                if (q->file)
                        fputs(q->file, f);
                if (q->file && q->line)
                        fprintf(f, ":%u", q->line);
                if (q->file && q->line && q->column)
                        fprintf(f, ":%u", q->column);
                if (q->file)
                        fputs(": ", f);
                if (q->path && q->path[0])
                        fprintf(f, "%s: ", q->path);
                fprintf(f, "%s\n", q->message);
                if (q->snippet)
                        fprintf(f, "%s\n", q->snippet);
        }
}

json_t *problems_json(const struct problems *p)
{
        json_t *array = json_array();

        for (size_t i = 0; array && i < p->n; i++) {
                const struct problem *q = &p->list[i];
                json_t *o = json_pack("{s:s?, s:I, s:I, s:s?, s:s, s:s?}", "file", q->file, "line",
                                      (json_int_t)q->line, "column", (json_int_t)q->column, "path",
                                      q->path, "message", q->message, "snippet", q->snippet);

                if (!o || json_array_append_new(array, o) < 0) {
                        json_decref(array);
                        return NULL;
                }
        }
        return array;
}

int problems_from_json(struct problems *p, const json_t *array)
{
        size_t i;
        json_t *o;

        json_array_foreach (array, i, o) {
                const char *file = json_string_value(json_object_get(o, "file"));
                const char *path = json_string_value(json_object_get(o, "path"));
                const char *message = json_string_value(json_object_get(o, "message"));
                const char *snippet = json_string_value(json_object_get(o, "snippet"));
                struct position at = {
                        .file = file,
                        .line = (uint32_t)json_integer_value(json_object_get(o, "line")),
                        .column = (uint32_t)json_integer_value(json_object_get(o, "column")),
                };

                if (!message)
                        return error_origin(-EBADMSG);
                problems_add_snippet(p, &at, path, snippet, message);
        }
        return 0;
}

/* Optimal string alignment distance, given up beyond `limit`. */
static size_t distance(const char *a, const char *b, size_t limit)
{
        size_t n = strlen(a), m = strlen(b);
        size_t rows[3][65];

        if (n > 64 || m > 64 || (n > m ? n - m : m - n) > limit)
                return limit + 1;
        for (size_t j = 0; j <= m; j++)
                rows[0][j] = j;
        for (size_t i = 1; i <= n; i++) {
                size_t *row = rows[i % 3], *up = rows[(i + 2) % 3], *up2 = rows[(i + 1) % 3];

                row[0] = i;
                for (size_t j = 1; j <= m; j++) {
                        size_t d = up[j - 1] + (a[i - 1] != b[j - 1]);

                        d = MIN(d, up[j] + 1);
                        d = MIN(d, row[j - 1] + 1);
                        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                                d = MIN(d, up2[j - 2] + 1);
                        row[j] = d;
                }
        }
        return rows[n % 3][m];
}

const char *did_you_mean(const char *word, const char *const *candidates, size_t n_candidates)
{
        size_t limit = MAX((strlen(word) + 1) / 3, (size_t)1);
        const char *best = NULL;

        for (size_t i = 0; i < n_candidates; i++) {
                size_t d = distance(word, candidates[i], limit);

                if (d <= limit && (!best || d < limit)) {
                        best = candidates[i];
                        limit = d;
                }
        }
        return best;
}
