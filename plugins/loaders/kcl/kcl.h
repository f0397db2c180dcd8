/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRVNG_LOADER_KCL_H
#define PRVNG_LOADER_KCL_H

#include <prvng/prvng.h>

#include <stdbool.h>
#include <stddef.h>

/* How names inside of the evaluation become the user's names again. */
struct kcl_names {
        const char *path;  /* of the user's file, for messages: NULL for the source's own */
        const char *entry; /* what was evaluated in its place, absolute */
        const char *view;  /* the folder that was evaluated in place of `root`, or NULL */
        const char *root;
};

/* Reports what KCL wrote to stderr: each error once, at its place. Returns how many. */
size_t kcl_report(const struct prvng_host_document *table, struct prvng_document *d, const char *text,
                  const struct kcl_names *names);

/* A folder `view` with the KCL files of `root`, but for a module `workflows` of its own; the file
 * `entry` of root becomes prvng-entry.k. 0 or -errno. */
int kcl_make_view(const char *root, const char *entry, const char *view);

/* True if `root` has a module `workflows` that hides ours. */
bool kcl_hides_schemas(const char *root);

/* Removes a folder with all that is in it. */
void kcl_remove(const char *folder);

/* The folder that imports start from: the nearest one above the file with a kcl.mod, else its own. */
void kcl_root(const char *path, char *ret_root, size_t size);

#endif
