/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRVNG_LOADER_KCL_H
#define PRVNG_LOADER_KCL_H

#include <prvng/prvng.h>

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#define SECONDS "60" /* an evaluation may take */
#define ARGUMENTS_MAX 256

struct instance {
        json_t *config;
};

/* One load. */
struct load {
        struct prvng_call *call;
        const struct instance *instance;
        const struct prvng_host_document *table;
        const struct prvng_host_spawn *spawn;
        struct prvng_document *document;
        json_t *arguments;
        char libexec[PATH_MAX];
        char schemas[PATH_MAX];
        char folder[PATH_MAX]; /* temporary: view/ is read, out/ is written */
        char view[PATH_MAX];
        char out[PATH_MAX];
        char path[PATH_MAX];   /* the user's file, absolute */
        char root[PATH_MAX];   /* of the user's package */
        char entry[PATH_MAX];  /* what is evaluated: path, or its copy in view */
        bool viewed;
        const char *argv[ARGUMENTS_MAX];
        size_t n_argv;
        char *owned[ARGUMENTS_MAX]; /* those of argv that were made here */
        size_t n_owned;
        bool failed; /* argv is full or memory is short */
};

/* Sets argv to what evaluates l->entry: by `kcl_command` of the site's sources (a list of words, or one
 * text of words between blanks), by our helper in that Python, or by KCL's own program. */
void kcl_command_configured(struct load *l, const json_t *command);
void kcl_command_helper(struct load *l, const char *python);
void kcl_command_kcl(struct load *l, const char *kcl);
void kcl_command_clear(struct load *l);

bool kcl_find_on_path(const char *name, char ret_path[PATH_MAX]);

/* Which Python runs the helper; false if none was found. `ret_chosen`: by the user, so that nothing else
 * is tried. */
bool kcl_find_python(const struct load *l, char ret_python[PATH_MAX], bool *ret_chosen);

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
