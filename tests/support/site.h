/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A site of its own for a test: a temporary folder with prvng.conf, drop-ins for the plugins asked
 * for, state and cache. Nothing of the machine's own configuration is seen.
 *
 * The in-tree test plugins are found by the environment variable PRVNG_TEST_PLUGINS (their folder
 * in the build), which the meson tests set.
 */
#ifndef PRVNG_TESTS_SITE_H
#define PRVNG_TESTS_SITE_H

#include "base/util.h"

struct test_plugin {
        const char *name;
        const char *file;   /* NULL: NAME.so of the test plugins; else absolute */
        const char *config; /* inside of the drop-in's `config: { }`, libconfig; may be NULL.
                             * "@SITE@" stands for the site's folder */
        const char *more;   /* further keys of the drop-in, "isolation = \"process\";", or NULL */
};

struct test_site {
        char *folder;
        char *conf; /* FOLDER/prvng.conf, for config_load() and --config */
};

/* Makes it, and sets the environment (XDG_*, PRVNG_DROPIN_PATH) so that it is all there is. `more`
 * is text for prvng.conf or NULL. Ends the process on failure: a test without a site says nothing.
 */
void test_site_new(struct test_site *s, const struct test_plugin *plugins, size_t n_plugins,
                   const char *more);
void test_site_remove(struct test_site *s); /* with all that is in it */

char *test_site_path(const struct test_site *s, const char *relative); /* caller frees */
void test_site_write(const struct test_site *s, const char *relative, const char *text);
size_t test_site_count(const struct test_site *s,
                       const char *relative); /* entries of a folder; 0: none */

#endif
