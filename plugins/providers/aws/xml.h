/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replies as a tree. Read by expat, with limits: a reply that is deeper, larger or has a document type
 * (and so could declare entities) is refused. Names are taken as they stand, without their prefix;
 * attributes and comments are left out.
 */
#ifndef PRVNG_AWS_XML_H
#define PRVNG_AWS_XML_H

#include <stddef.h>

#define XML_DEPTH_MAX 32
#define XML_NODES_MAX 1000000
#define XML_TEXT_MAX  (1u << 20) /* bytes of text in one element */

struct xml_node {
        struct xml_node *parent, *child, *last, *next;
        char *name, *text; /* text: never NULL, without space at its ends; "" in what has children */
};

struct xml;

/* 0; -ENOMEM; -EBADMSG: it is no XML; -E2BIG: it is beyond the limits, or declares a document type.
 * `why` (may be NULL) gets a static sentence. The tree lives until xml_free. */
int xml_parse(const void *data, size_t n, struct xml **ret, const char **ret_why);
void xml_free(struct xml *x); /* NULL does nothing */
const struct xml_node *xml_root(const struct xml *x);

/* The first child of that name, or NULL. `node` may be NULL. */
const struct xml_node *xml_child(const struct xml_node *node, const char *name);

/* Follows "a/b/c"; NULL if there is none. */
const struct xml_node *xml_find(const struct xml_node *node, const char *path);

/* The text there, or "". */
const char *xml_text(const struct xml_node *node, const char *path);

/* Goes over the children called `item` of what stands at `path`. */
#define xml_foreach(it, node, path)                                                                \
        for (const struct xml_node *it = xml_child(xml_find((node), (path)), "item"); it;          \
             it = xml_next(it))

/* The next one of the same name beside it, or NULL. */
const struct xml_node *xml_next(const struct xml_node *node);

#endif
