/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a document: nodes, paths and JSON. */
#include "definition/document-inside.h"

uint32_t document_root(const struct document *d)
{
        return d->n_nodes ? 0 : DOC_NONE;
}

const struct doc_node *document_node(const struct document *d, uint32_t node)
{
        assert(node < d->n_nodes);
        return &d->nodes[node];
}

const char *document_string(const struct document *d, uint32_t node)
{
        assert(d->nodes[node].type == DOC_STRING);
        return d->text.data + d->nodes[node].v.string.offset;
}

const char *document_key(const struct document *d, uint32_t node)
{
        return d->nodes[node].key == DOC_NONE ? NULL : d->text.data + d->nodes[node].key;
}

uint32_t document_get(const struct document *d, uint32_t map, const char *name)
{
        size_t n = strlen(name);

        if (map == DOC_NONE || d->nodes[map].type != DOC_MAP)
                return DOC_NONE;
        for (uint32_t c = d->nodes[map].v.children.first; c != DOC_NONE; c = d->nodes[c].next)
                if (d->nodes[c].n_key == n && memcmp(d->text.data + d->nodes[c].key, name, n) == 0)
                        return c;
        return DOC_NONE;
}

struct position document_position(const struct document *d, uint32_t node)
{
        struct position p = { .file = d->files[0][0] ? d->files[0] : NULL };

        if (node != DOC_NONE && node < d->n_nodes) {
                const struct doc_node *n = &d->nodes[node];

                p.file = d->files[n->file][0] ? d->files[n->file] : NULL;
                p.line = n->line;
                p.column = n->column;
        }
        return p;
}

struct position document_key_position(const struct document *d, uint32_t node)
{
        struct position p = document_position(d, node);

        if (node != DOC_NONE && node < d->n_nodes && d->nodes[node].key_line) {
                p.line = d->nodes[node].key_line;
                p.column = d->nodes[node].key_column;
        }
        return p;
}

/* A number in its list: counts, because problems are rare and nodes are many. */
static uint32_t place_in_list(const struct document *d, uint32_t node)
{
        uint32_t i = 0, c = d->nodes[d->nodes[node].parent].v.children.first;

        for (; c != node && c != DOC_NONE; c = d->nodes[c].next)
                i++;
        return i;
}

static bool is_plain(const char *name)
{
        return *name && name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                          "0123456789_-")] == 0;
}

char *document_path(const struct document *d, uint32_t top, uint32_t node)
{
        uint32_t way[DEPTH_MAX + 1];
        struct buf b = BUF_NULL;
        size_t n = 0;

        for (; node != top && node != DOC_NONE && n < N_ELEMENTS(way); node = d->nodes[node].parent)
                way[n++] = node;
        while (n-- > 0) {
                const char *name = document_key(d, way[n]);

                if (d->nodes[way[n]].parent == DOC_NONE)
                        continue;
                if (!name) {
                        buf_printf(&b, "[%u]", place_in_list(d, way[n]));
                } else if (is_plain(name)) {
                        if (b.n)
                                buf_putc(&b, '.');
                        buf_puts(&b, name);
                } else {
                        buf_putc(&b, '[');
                        buf_json(&b, name);
                        buf_putc(&b, ']');
                }
        }
        return buf_steal(&b);
}

/* One step of a path: NAME, .NAME, [NUMBER] or ["NAME"]; the child, or DOC_NONE. */
static uint32_t step(const struct document *d, uint32_t node, const char **path)
{
        const char *p = *path + (**path == '.');
        const char *stop;
        uint32_t c = d->nodes[node].type == DOC_MAP || d->nodes[node].type == DOC_LIST
                             ? d->nodes[node].v.children.first
                             : DOC_NONE;

        if (p[0] == '[' && p[1] != '"') {
                char *after;
                unsigned long i = strtoul(p + 1, &after, 10);

                if (*after != ']' || d->nodes[node].type != DOC_LIST)
                        return DOC_NONE;
                for (; i > 0 && c != DOC_NONE; i--)
                        c = d->nodes[c].next;
                *path = after + 1;
                return c;
        }
        if (d->nodes[node].type != DOC_MAP)
                return DOC_NONE;
        if (p[0] == '[') {
                p += 2;
                stop = strstr(p, "\"]");
                *path = stop ? stop + 2 : p;
        } else {
                stop = p + strcspn(p, ".[");
                *path = stop;
        }
        if (!stop)
                return DOC_NONE;
        for (; c != DOC_NONE; c = d->nodes[c].next)
                if (d->nodes[c].n_key == (size_t)(stop - p) &&
                    memcmp(d->text.data + d->nodes[c].key, p, (size_t)(stop - p)) == 0)
                        break;
        return c;
}

uint32_t document_at(const struct document *d, uint32_t top, const char *path)
{
        uint32_t node = top;

        if (top == DOC_NONE || top >= d->n_nodes)
                return DOC_NONE;
        while (*path) {
                uint32_t child = step(d, node, &path);

                if (child == DOC_NONE)
                        break;
                node = child;
        }
        return node;
}

/* The shortest text that reads back as the same number, with a sign that it is no integer. */
static void real_text(struct buf *json, double value)
{
        char text[32];

        for (int precision = 15; precision <= 17; precision++) {
                snprintf(text, sizeof(text), "%.*g", precision, value);
                if (strtod(text, NULL) == value)
                        break;
        }
        buf_puts(json, text);
        if (!strpbrk(text, ".eEn"))
                BUF_LIT(json, ".0");
}

static void json_node(const struct document *d, uint32_t node, struct buf *json)
{
        const struct doc_node *n = &d->nodes[node];

        switch ((enum doc_type)n->type) {
        case DOC_NULL:
                BUF_LIT(json, "null");
                break;
        case DOC_BOOL:
                buf_puts(json, n->v.boolean ? "true" : "false");
                break;
        case DOC_INTEGER:
                buf_i64(json, n->v.integer);
                break;
        case DOC_REAL:
                real_text(json, n->v.real);
                break;
        case DOC_STRING:
                buf_json_n(json, d->text.data + n->v.string.offset, n->v.string.n);
                break;
        case DOC_LIST:
        case DOC_MAP:
                buf_putc(json, n->type == DOC_MAP ? '{' : '[');
                for (uint32_t c = n->v.children.first; c != DOC_NONE; c = d->nodes[c].next) {
                        if (c != n->v.children.first)
                                buf_putc(json, ',');
                        if (n->type == DOC_MAP) {
                                buf_json_n(json, d->text.data + d->nodes[c].key, d->nodes[c].n_key);
                                buf_putc(json, ':');
                        }
                        json_node(d, c, json); /* as deep as DEPTH_MAX */
                }
                buf_putc(json, n->type == DOC_MAP ? '}' : ']');
                break;
        }
}

int document_json(const struct document *d, uint32_t node, struct buf *json)
{
        json_node(d, node, json);
        return buf_error(json);
}
