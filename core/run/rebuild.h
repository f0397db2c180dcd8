/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A site's stores made anew from copies of their segments, beside the present ones, and put in their place
 * in one step: what `prvng store import` and `migrate` do while no engine runs.
 *
 *      STATE/stores.building           is filled, and verified
 *      STATE/stores.replaced-WHEN      the same under the name that the old stores will have
 *      STATE/stores                    exchanged with it by one rename
 *
 * Whenever the process dies, STATE/stores is whole: the old or the new one. What it leaves behind is
 * removed by the next rebuild (building), or stays for people to remove (replaced).
 */
#ifndef PRVNG_RUN_REBUILD_H
#define PRVNG_RUN_REBUILD_H

#include "journal/backup.h"
#include "run/site.h"

struct rebuild;

/* `home`: the store of the site's stream in the new stores; what was copied from the store `from` goes
 * there. The context must outlive it. As journals_open. */
int rebuild_new(const struct context *c, const char *from, const char *home, struct rebuild **ret_rebuild,
                char **ret_message);

/* copy_f: adds a segment. */
int rebuild_add(void *rebuild, const struct copied *c);

/* Adds records to the site's stream, then verifies all that was made: every seal, and the heads of the
 * anchor. */
int rebuild_finish(struct rebuild *rb, struct record *records, size_t n_records, const char *anchor,
                   char **ret_message);

/* Puts the new stores in the place of the old ones. *ret_aside: where those are now (caller frees), NULL if
 * there were none. The caller holds the old home store's lock. */
int rebuild_swap(struct rebuild *rb, int64_t wall_ms, char **ret_aside, char **ret_message);

/* Without a swap: removes what was made. */
struct rebuild *rebuild_free(struct rebuild *rb);

/* Removes a folder with all that is in it, if there is one. 0 or -errno. */
int rebuild_remove(const char *path);

const char *rebuild_message(const struct rebuild *rb); /* of what rebuild_add refused, or NULL */

static inline void cleanup_rebuild(struct rebuild **rb)
{
        rebuild_free(*rb);
}

#endif
