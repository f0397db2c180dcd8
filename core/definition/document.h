/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A document with positions: what loaders build, through prvng.host.document/1, and the checker reads.
 *
 * Nodes live in one array in document order; strings in one arena. A map's children are its values,
 * each with its key. Duplicate keys are reported as problems while building.
 */
#ifndef PRVNG_DEFINITION_DOCUMENT_H
#define PRVNG_DEFINITION_DOCUMENT_H

#include "base/problem.h"
#include <prvng/host/document.h>

enum doc_type { DOC_NULL, DOC_BOOL, DOC_INTEGER, DOC_REAL, DOC_STRING, DOC_LIST, DOC_MAP };

#define DOC_NONE UINT32_MAX

struct doc_node {
        uint8_t type;    /* enum doc_type */
        uint32_t file;   /* index into files */
        uint32_t line, column;
        uint32_t key;    /* offset in text, DOC_NONE outside maps */
        uint32_t n_key;
        uint32_t key_line, key_column;
        uint32_t parent; /* DOC_NONE for the top */
        uint32_t next;   /* next sibling, DOC_NONE at the end */
        union {
                struct {
                        uint32_t first; /* first child, DOC_NONE if empty */
                        uint32_t n;     /* number of children */
                } children;
                struct {
                        uint64_t offset; /* in text; NUL-terminated there */
                        uint32_t n;
                } string;
                int64_t integer;
                double real;
                bool boolean;
        } v;
};

struct document; /* complete struct in document.c; also is the struct prvng_document of the ABI */

int document_new(const char *path, struct problems *problems, struct document **ret_document);
struct document *document_free(struct document *d);

/* The table behind prvng.host.document/1 and the builder to hand to a loader. */
const struct prvng_host_document *document_interface(void);
struct prvng_document *document_builder(struct document *d);

/* Top node, DOC_NONE while empty. Nodes by number; valid until document_free. */
uint32_t document_root(const struct document *d);
const struct doc_node *document_node(const struct document *d, uint32_t node);
const char *document_string(const struct document *d, uint32_t node); /* of a DOC_STRING */
const char *document_key(const struct document *d, uint32_t node);    /* NULL outside maps */
uint32_t document_get(const struct document *d, uint32_t map, const char *key); /* or DOC_NONE */
struct position document_position(const struct document *d, uint32_t node);
struct position document_key_position(const struct document *d, uint32_t node); /* of a value: its key */

/* "operations[2].depends_on[0]"; caller frees. `top` is where the path starts. */
char *document_path(const struct document *d, uint32_t top, uint32_t node);

/* The node at such a path below `top`, or the deepest one on the way: for problems that come back
 * from elsewhere with a path only. */
uint32_t document_at(const struct document *d, uint32_t top, const char *path);

/* Appends the subtree as compact JSON, member order kept. */
int document_json(const struct document *d, uint32_t node, struct buf *json);

static inline void cleanup_document(struct document **d)
{
        document_free(*d);
}

#endif
