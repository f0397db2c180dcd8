/* SPDX-License-Identifier: Apache-2.0 */
/* Saying what is wrong: where it stands, the value, what is accepted. */
#include "definition/schema.h"

#include <stdarg.h>

#define SHOWN_MAX (CHECK_SHOWN - 8)
#define PROBLEMS_MAX 1000 /* shown; more are counted: their paths cost a walk each */

static const char *const type_names[] = {
        [DOC_NULL] = "null",   [DOC_BOOL] = "a boolean", [DOC_INTEGER] = "a number",
        [DOC_REAL] = "a number", [DOC_STRING] = "a text",  [DOC_LIST] = "a list",
        [DOC_MAP] = "a map",
};

static void report(struct check *c, struct position at, uint32_t node, const char *member,
                   const char *format, va_list ap) _printf_(5, 0);

static void report(struct check *c, struct position at, uint32_t node, const char *member,
                   const char *format, va_list ap)
{
        _cleanup_(cleanup_free) char *path = NULL, *message = NULL, *full = NULL;

        if (c->problems->n - c->n_before >= PROBLEMS_MAX) {
                c->n_more++;
                return;
        }
        path = document_path(c->d, c->top, node);

        if (vasprintf(&message, format, ap) < 0) {
                message = NULL;
                c->no_memory = true;
                return;
        }
        if (member && asprintf(&full, "%s%s%s", path ? path : "", path && *path ? "." : "", member) < 0)
                full = NULL;
        for (char *p = message; *p; p++) /* names of attributes are the user's: not to his terminal */
                if ((uint8_t)*p < 0x20 || *p == 0x7f)
                        *p = '?';
        problems_add(c->problems, &at, full ? full : path, "%s", message);
}

void check_problem(struct check *c, uint32_t node, const char *member, const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        report(c, document_position(c->d, node), node, member, format, ap);
        va_end(ap);
}

/* The same at the value's key. */
void check_key_problem(struct check *c, uint32_t node, const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        report(c, document_key_position(c->d, node), node, NULL, format, ap);
        va_end(ap);
}

/* The value as the user would write it, cut to a bearable length. */
const char *check_show(struct check *c, uint32_t node, char ret_text[CHECK_SHOWN])
{
        const struct doc_node *n = document_node(c->d, node);
        _cleanup_(cleanup_buf) struct buf b = BUF_NULL;
        size_t cut = SHOWN_MAX;

        if (n->type == DOC_MAP || n->type == DOC_LIST) {
                snprintf(ret_text, SHOWN_MAX, "%s", type_names[n->type]);
                return ret_text;
        }
        if (n->type == DOC_STRING && n->v.string.n > 4 * SHOWN_MAX)
                buf_json_n(&b, document_string(c->d, node), 4 * SHOWN_MAX);
        else
                document_json(c->d, node, &b);
        if (b.n <= SHOWN_MAX) {
                snprintf(ret_text, CHECK_SHOWN, "%s", buf_str(&b));
                return ret_text;
        }
        while (cut > 0 && ((uint8_t)b.data[cut] & 0xc0) == 0x80)
                cut--; /* not inside of a character */
        snprintf(ret_text, CHECK_SHOWN, "%.*s...\"", (int)cut, b.data);
        return ret_text;
}

void check_wrong(struct check *c, uint32_t node, const char *accepted)
{
        char text[CHECK_SHOWN];

        check_problem(c, node, NULL, "%s is not accepted here; expected %s", check_show(c, node, text),
                      accepted);
}

const char *check_similar(struct check *c, const char *word, const char *const *list, size_t n)
{
        if (n > c->budget)
                return NULL;
        c->budget -= n;
        return did_you_mean(word, list, n);
}

uint32_t check_child(const struct check *c, uint32_t map, const char *key, uint32_t i)
{
        uint32_t list = document_get(c->d, map, key), child;

        if (list == DOC_NONE || document_node(c->d, list)->type != DOC_LIST)
                return map;
        child = document_node(c->d, list)->v.children.first;
        for (; i > 0 && child != DOC_NONE; i--)
                child = document_node(c->d, child)->next;
        return child == DOC_NONE ? list : child;
}

static int problem_compare(const void *a, const void *b)
{
        const struct problem *p = a, *q = b;
        int r = strcmp(p->file ? p->file : "", q->file ? q->file : "");

        if (r == 0)
                r = (p->line > q->line) - (p->line < q->line);
        if (r == 0)
                r = (p->column > q->column) - (p->column < q->column);
        return r;
}

/* As a person reads the file: from its top. */
void check_sort(struct check *c)
{
        qsort(c->problems->list + c->n_before, c->problems->n - c->n_before,
              sizeof(*c->problems->list), problem_compare);
        if (c->n_more)
                problems_add(c->problems, NULL, NULL, "and %zu more problems", c->n_more);
}
