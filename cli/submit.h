/* SPDX-License-Identifier: Apache-2.0 */
/* From a file to a checked definition and its plan; from an answer of the engine to a followed run. */
#ifndef PRVNG_CLI_SUBMIT_H
#define PRVNG_CLI_SUBMIT_H

#include "client.h"
#include "definition/definition.h"
#include "look.h"
#include "plan/plan.h"

struct source {
        struct document *document;
        uint32_t top;
        struct definition *definition;
        struct plan *plan;
        char *path;   /* absolute */
        char *folder;
};

void source_deinit(struct source *s);

/* Loads and checks a file, with the command's options --workflow, --env and --define. Problems are
 * printed; EXIT_DEFINITION then. */
int source_load(struct source *s, const struct cli *cli, const char *file,
                const struct context *context);

/* Plans it against the inventory, with --only. */
int source_plan(struct source *s, struct look *look);

void print_plan(const struct cli *cli, const struct plan *plan);

/* Prints what is wrong with a definition; the exit code for that. */
int print_problems(const struct cli *cli, const struct problems *problems);

/* Asks the providers about the plan (submit-online.c): 0, or an exit code after it was printed what they have
 * against it. */
int source_ask(struct source *s, struct look *look);

/* What the plan would change of what is there; nothing if it changes nothing. To stderr. */
void print_differences(const struct cli *cli, const struct plan *plan);

/* Appends the members "folder", "file", "who", "only", "replace", "prune" and "definition" of a body. */
void put_source(struct buf *b, const struct cli *cli, const struct source *s);

/* Posts a request that makes a run. Its id was made by us, so that repeating it is harmless. 422 is
 * printed with the places in `source` (may be NULL). 409, what cannot be now, is EXIT_RUN_FAILED. */
int submit_post(struct client *client, const char *path, const struct buf *body,
                const struct source *source, json_t **ret_answer);

/* Makes an id for a new run. */
int new_run_id(const struct cli *cli, char ret_id[UID_TEXT]);

/* Appends {"user", "host"} of who asks. */
void put_who(struct buf *b);

/* Says what was accepted, and follows it if asked to. Exit code. */
int after_submit(struct client *client, const char *id, const json_t *answer, bool follow,
                 unsigned flags);

static inline void cleanup_source(struct source *s)
{
        source_deinit(s);
}

#endif
