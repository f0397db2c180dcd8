/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process that only looks needs: the folded journal of a site, and the answers of the API made
 * from it. The engine answers the same questions with the same functions from its own fold.
 */
#ifndef PRVNG_RUN_SITE_H
#define PRVNG_RUN_SITE_H

#include "config/config.h"
#include "journal/journal.h"
#include "journal/state.h"
#include "plugin/plugin.h"
#include "run/journals.h"

/* Configuration, host and plugins of a site, opened together. */
struct context {
        struct config *config;
        struct host *host;
        struct plugins *plugins;
};

/* Reads the configuration and loads the plugins of the given kinds (NULL: all, "": none). Problems are
 * printed to stderr; returns 0 or the exit code of design.md §6 (3: configuration not valid, 7: not
 * usable). */
int context_open(const char *config_path, const char *kinds, struct context *ret_context);
/* -ENOEXEC with a sentence (caller frees) if a plugin that its drop-in calls critical was refused. */
int context_check_critical(const struct context *c, char **ret_message);

void context_close(struct context *c);

/* Opens the home store read only and folds the site stream. A site without a store yet is an empty
 * site. Streams of runs that have not ended are folded too. -EBADMSG: damaged, *ret_message (caller
 * frees) says where. */
int site_read(const struct context *c, struct journals **ret_journals, struct site **ret_site,
              char **ret_message);
void site_close(struct journals *journals, struct site *site);

/* Folds the stream of a run that ended (runs in flight are folded already). */
int site_load_run(struct journals *journals, struct site *site, struct run *run, char **ret_message);

/* Answers a GET of docs/http-api.md (path with query): the status code and the body. Follow and event
 * streams are not answered here. */
int query(const struct context *c, struct journals *journals, struct site *site, const char *path,
          struct buf *body, char **ret_message);

/* The parts of it. */
int query_status(const struct context *c, const struct run *run, struct buf *json);
int query_runs(const struct site *site, const char *name, struct buf *json);
int query_resources(const struct site *site, struct buf *json);
int query_resource(const struct resource *r, struct buf *json);

/* 0 succeeded, 1 failed, 4, 5, 6, 8 drift (design.md §6); -1: has not ended. */
int run_exit_code(const struct run *run);

/* Makes a folder of the site, and those above it. 0 or -errno. */
int site_make_folder(const char *path);

/* The records of a run as raw lines behind `from` (a seq; 0: all), each ending with a newline. */
int site_events(struct journals *journals, const struct run *run, uint64_t from, struct buf *lines,
                char **ret_message);

#endif
