/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wrong with something that a user wrote: collected, all of it, and shown together.
 *
 * Shown as   FILE:LINE:COLUMN: PATH: MESSAGE   with the offending value, what is accepted and a "did
 * you mean" inside the message; as JSON: {"file", "line", "column", "path", "message", "snippet"}.
 */
#ifndef PRVNG_BASE_PROBLEM_H
#define PRVNG_BASE_PROBLEM_H

#include "base/buf.h"
#include <jansson.h>

struct position {
        const char *file; /* interned by its owner; NULL if unknown */
        uint32_t line;    /* from 1; 0 if unknown */
        uint32_t column;  /* from 1, in bytes; 0 if unknown */
};

struct problem {
        char *file; /* NULL if unknown */
        uint32_t line;
        uint32_t column;
        char *path;    /* in the document, e.g. "operations[2].depends_on[0]", or "" */
        char *message; /* one or more sentences */
        char *snippet; /* lines of the source, or NULL */
};

struct problems {
        struct problem *list;
        size_t n;
        size_t cap;
};

#define PROBLEMS_NULL ((struct problems){0})

void problems_deinit(struct problems *p);

/* Adds one. Out of memory: the problem is dropped but n counts nothing wrong, so the last resort is a
 * line on stderr. `at` and `path` may be NULL. */
void problems_add(struct problems *p, const struct position *at, const char *path,
                  const char *format, ...) _printf_(4, 5);
void problems_add_snippet(struct problems *p, const struct position *at, const char *path,
                          const char *snippet, const char *message);

void problems_print(const struct problems *p, FILE *f);
json_t *problems_json(const struct problems *p); /* new reference, an array; NULL: no memory */
int problems_from_json(struct problems *p, const json_t *array);

/* The candidate nearest to `word` by edit distance, if it is near enough to be meant; else NULL. */
const char *did_you_mean(const char *word, const char *const *candidates, size_t n_candidates);

static inline void cleanup_problems(struct problems *p)
{
        problems_deinit(p);
}

#endif
