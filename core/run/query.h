/* SPDX-License-Identifier: Apache-2.0 */
/* What query.c and query-status.c share: members of a JSON object, each with a comma in front. */
#ifndef PRVNG_RUN_QUERY_H
#define PRVNG_RUN_QUERY_H

#include "run/site.h"

void query_time(struct buf *b, const char *name, int64_t wall_ms);            /* 0: null */
void query_string(struct buf *b, const char *name, const char *value);        /* NULL: null */
void query_json(struct buf *b, const char *name, const char *value, const char *fallback);

/* Opens the object: what a list of runs says of one. */
void query_head(struct buf *b, const struct run *run);

#endif
