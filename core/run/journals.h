/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journals of a site: the home store's, which holds the site stream, and those of the other stores in
 * which runs keep their streams, opened when they are first needed.
 *
 * The journal of store NAME is in STATE/stores/NAME. Each has a lock and epochs of its own; the epoch that
 * calls of plugins carry is the home store's. Threads: one, the loop's.
 */
#ifndef PRVNG_RUN_JOURNALS_H
#define PRVNG_RUN_JOURNALS_H

#include "config/config.h"
#include "journal/journal.h"
#include "journal/state.h"

struct context;

struct journals {
        const struct context *context;
        bool read_only;
        struct journal *home;
        struct journal **list; /* all that are open, the home store's first */
        uint32_t n;
        bool in_full; /* none uses snapshots */
};

/* Opens the home store's journal. For writing its folder is made; read only the site must have one. 0, or a
 * condition of journal.h or -errno, with *ret_message (caller frees). */
int journals_open(const struct context *c, bool read_only, struct journals **ret_journals,
                  char **ret_message);
struct journals *journals_close(struct journals *js);

/* The journal of a store, opened now if it is not yet. Returns as journals_open; the message says which
 * store, and what to do. */
int journals_get(struct journals *js, const char *store, struct journal **ret_journal,
                 char **ret_message);

/* From now on everything is read, since a snapshot did not fit. */
void journals_read_in_full(struct journals *js);

/* The one that is open, or NULL. */
struct journal *journals_find(const struct journals *js, const char *store);

/* The journal that holds the stream of a run which the site stream names: that of its store, or the home
 * store's, if the site was moved there after the run. */
int journals_of_run(struct journals *js, const struct run *run, struct journal **ret_journal,
                    char **ret_message);

/* Stores other than the home store that have a folder in this site and a plugin that is ready. Calls `f`
 * with each name until it returns other than 0. */
int journals_others(const struct context *c, int (*f)(void *userdata, const char *store),
                    void *userdata);

/* STATE/stores/NAME; the caller frees. */
char *journals_folder(const struct config *config, const char *store);

#endif
