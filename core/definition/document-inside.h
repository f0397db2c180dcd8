/* SPDX-License-Identifier: Apache-2.0 */
/* What a document is made of: for document.c, which builds it, and document-read.c. */
#ifndef PRVNG_DEFINITION_DOCUMENT_INSIDE_H
#define PRVNG_DEFINITION_DOCUMENT_INSIDE_H

#include "definition/document.h"

#define DEPTH_MAX 64

struct frame {
        uint32_t node;
        uint32_t last; /* child, or DOC_NONE */
};

struct document {
        struct doc_node *nodes;
        uint32_t n_nodes;
        uint32_t cap_nodes;
        struct buf text;
        uint32_t *keys; /* open addressing: places in the text, 0 is free */
        uint32_t n_keys;
        uint32_t cap_keys;
        char **files;
        uint32_t n_files;
        struct frame stack[DEPTH_MAX];
        uint32_t depth;
        uint32_t key; /* waits for its value, or DOC_NONE */
        uint32_t n_key;
        uint32_t key_line, key_column;
        int32_t failed;         /* class, sticky */
        struct problems *problems;
};

#endif
