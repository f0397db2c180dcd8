/* SPDX-License-Identifier: Apache-2.0 */
#include "xml.h"

#include <errno.h>
#include <expat.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 32768u

/* Memory that is given back all at once. */
struct block {
        struct block *next;
        size_t n, size;
        char data[];
};

struct xml {
        struct block *blocks;
        struct xml_node *root, *here;
        char *text; /* of the element that is open */
        size_t n_text, n_nodes, depth;
        int error;
        const char *why;
        XML_Parser parser;
};

static void *take(struct xml *x, size_t n)
{
        struct block *b = x->blocks;

        n = (n + 7) & ~(size_t)7;
        if (!b || b->size - b->n < n) {
                size_t size = n > BLOCK ? n : BLOCK;

                b = malloc(sizeof(*b) + size);
                if (!b)
                        return NULL;
                *b = (struct block){.next = x->blocks, .size = size};
                x->blocks = b;
        }
        b->n += n;
        return b->data + b->n - n;
}

static void stop(struct xml *x, int error, const char *why)
{
        if (x->error == 0) {
                x->error = error;
                x->why = why;
        }
        XML_StopParser(x->parser, XML_FALSE);
}

static char *copy(struct xml *x, const char *s, size_t n)
{
        char *p = take(x, n + 1);

        if (!p)
                return NULL;
        if (n > 0)
                memcpy(p, s, n);
        p[n] = '\0';
        return p;
}

static void on_start(void *user, const char *name, const char **attributes)
{
        struct xml *x = user;
        const char *colon = strrchr(name, ':');
        struct xml_node *node;

        if (x->error)
                return;
        if (++x->depth > XML_DEPTH_MAX) {
                stop(x, -E2BIG, "it is nested too deeply");
                return;
        }
        if (++x->n_nodes > XML_NODES_MAX) {
                stop(x, -E2BIG, "it has too many elements");
                return;
        }
        name = colon ? colon + 1 : name;
        node = take(x, sizeof(*node));
        if (!node) {
                stop(x, -ENOMEM, "there is no memory");
                return;
        }
        *node = (struct xml_node){.parent = x->here, .name = copy(x, name, strlen(name)), .text = copy(x, "", 0)};
        if (!node->name || !node->text) {
                stop(x, -ENOMEM, "there is no memory");
                return;
        }
        if (!x->here)
                x->root = node;
        else if (x->here->last)
                x->here->last->next = node;
        else
                x->here->child = node;
        if (x->here)
                x->here->last = node;
        x->here = node;
        x->n_text = 0;
}

static int is_space(char c)
{
        return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static void on_end(void *user, const char *name)
{
        struct xml *x = user;
        size_t from = 0, to = x->n_text;

        if (x->error)
                return;
        while (from < to && is_space(x->text[from]))
                from++;
        while (to > from && is_space(x->text[to - 1]))
                to--;
        if (!x->here->child && to > from) {
                x->here->text = copy(x, x->text + from, to - from);
                if (!x->here->text) {
                        stop(x, -ENOMEM, "there is no memory");
                        return;
                }
        }
        x->n_text = 0;
        x->here = x->here->parent;
        x->depth--;
}

static void on_text(void *user, const char *s, int n)
{
        struct xml *x = user;

        if (x->error || n <= 0)
                return;
        if (x->n_text + (size_t)n > XML_TEXT_MAX) {
                stop(x, -E2BIG, "an element has too much text");
                return;
        }
        if (!x->text)
                x->text = malloc(XML_TEXT_MAX);
        if (!x->text) {
                stop(x, -ENOMEM, "there is no memory");
                return;
        }
        memcpy(x->text + x->n_text, s, (size_t)n);
        x->n_text += (size_t)n;
}

/* Entities can only be declared here: no AWS API sends any, and a bomb is made of them. */
static void on_doctype(void *user, const char *name, const char *sysid, const char *pubid, int internal)
{
        stop(user, -E2BIG, "it declares a document type");
}

static int read_all(struct xml *x, const char *data, size_t n)
{
        enum XML_Status status = XML_STATUS_OK;
        size_t chunk = 1u << 20;

        for (size_t at = 0; status == XML_STATUS_OK && at < n; at += chunk)
                status = XML_Parse(x->parser, data + at, (int)(n - at < chunk ? n - at : chunk), 0);
        if (status == XML_STATUS_OK)
                status = XML_Parse(x->parser, "", 0, 1);
        if (x->error)
                return x->error;
        if (status == XML_STATUS_OK && x->root)
                return 0;
        x->why = "it is not XML";
        return XML_GetErrorCode(x->parser) == XML_ERROR_NO_MEMORY ? -ENOMEM : -EBADMSG;
}

int xml_parse(const void *data, size_t n, struct xml **ret, const char **ret_why)
{
        struct xml *x = calloc(1, sizeof(*x));
        int r = -ENOMEM;

        if (!x)
                return r;
        x->parser = XML_ParserCreate(NULL);
        if (x->parser) {
                XML_SetUserData(x->parser, x);
                XML_SetElementHandler(x->parser, on_start, on_end);
                XML_SetCharacterDataHandler(x->parser, on_text);
                XML_SetStartDoctypeDeclHandler(x->parser, on_doctype);
                r = read_all(x, data, n);
                XML_ParserFree(x->parser);
        }
        if (ret_why)
                *ret_why = x->why ? x->why : "";
        free(x->text);
        x->text = NULL;
        if (r < 0) {
                xml_free(x);
                return r;
        }
        *ret = x;
        return 0;
}

void xml_free(struct xml *x)
{
        if (!x)
                return;
        while (x->blocks) {
                struct block *b = x->blocks;

                x->blocks = b->next;
                free(b);
        }
        free(x);
}

const struct xml_node *xml_root(const struct xml *x)
{
        return x->root;
}

static const struct xml_node *named(const struct xml_node *node, const char *name, size_t n)
{
        while (node && (strncmp(node->name, name, n) != 0 || node->name[n] != '\0'))
                node = node->next;
        return node;
}

const struct xml_node *xml_child(const struct xml_node *node, const char *name)
{
        return node ? named(node->child, name, strlen(name)) : NULL;
}

const struct xml_node *xml_find(const struct xml_node *node, const char *path)
{
        while (node && *path) {
                size_t n = strcspn(path, "/");

                node = named(node->child, path, n);
                path += n;
                path += *path == '/';
        }
        return node;
}

const char *xml_text(const struct xml_node *node, const char *path)
{
        const struct xml_node *found = xml_find(node, path);

        return found ? found->text : "";
}

const struct xml_node *xml_next(const struct xml_node *node)
{
        return named(node->next, node->name, strlen(node->name));
}
