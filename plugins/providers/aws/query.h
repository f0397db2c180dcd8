/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies of requests: name=value pairs, form-encoded, in the order they were added. The same calls give
 * the same bytes. After an error all further calls do nothing; query_text tells.
 */
#ifndef PRVNG_AWS_QUERY_H
#define PRVNG_AWS_QUERY_H

#include <jansson.h>
#include <stddef.h>

struct query {
        char *text;
        size_t n, size;
        int error;
};

#define QUERY_NULL ((struct query){.text = NULL})

void query_deinit(struct query *q);

/* Starts anew with Action and Version. */
void query_begin(struct query *q, const char *action, const char *version);

/* `name` is a printf format for what counts: query_add(q, value, "Filter.%zu.Name", i). */
void query_add(struct query *q, const char *value, const char *name, ...)
        __attribute__((format(printf, 3, 4)));

/* Filter.I.Name and Filter.I.Value.1; `i` counts from 1. */
void query_filter(struct query *q, size_t i, const char *name, const char *value);

/* All members of an object, sorted by name; their values are strings. */
void query_object(struct query *q, const json_t *object);

/* The body; NULL after an error (memory). Valid until the next call. */
const char *query_text(const struct query *q);

#endif
