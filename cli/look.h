/* SPDX-License-Identifier: Apache-2.0 */
/* The site as a command sees it that only looks: its folded journal. Starts nothing. */
#ifndef PRVNG_CLI_LOOK_H
#define PRVNG_CLI_LOOK_H

#include "cli.h"
#include "run/site.h"

struct look {
        const struct cli *cli;
        struct context context;
        struct journals *journals; /* NULL: nothing has run here yet */
        struct site *site;
};

/* Opens the site and reads its journal; `kinds` are the plugins needed beside the store. 0, or an exit
 * code after a complaint. */
int look_open(struct look *l, const struct cli *cli, const char *kinds);
void look_close(struct look *l);

/* Answers a GET of the API: the status, body in *ret. */
int look_query(struct look *l, const char *path, struct buf *ret);

/* The same, as a document; an answer other than 200 is a complaint and an exit code. */
int look_document(struct look *l, const char *path, json_t **ret);

/* A run by id or name (NULL: the latest), with its own stream read if `whole`. NULL after a complaint. */
struct run *look_run(struct look *l, const char *id_or_name, bool whole);

static inline void cleanup_look(struct look *l)
{
        look_close(l);
}

#endif
