/* SPDX-License-Identifier: Apache-2.0 */
/* Drop-ins: which plugins a site has. Inside core/config only. */
#ifndef PRVNG_CONFIG_DROPIN_H
#define PRVNG_CONFIG_DROPIN_H

#include "config/config.h"

/* The drop-ins found so far; a later file replaces an earlier one of the same file name. */
struct dropins {
        struct dropin_file {
                char *name; /* file name, "providers-local.conf" */
                char *path;
        } * list; /* sorted by name */
        size_t n;
};

void dropins_deinit(struct dropins *d);

/* Adds the *.conf of a folder; one that is not there adds none. */
int dropins_scan(struct dropins *d, const char *folder, struct problems *problems);

/* Reads them all into c->plugins; adds each to c->files. */
int dropins_read(const struct dropins *d, struct problems *problems, struct config *c);

void config_plugin_deinit(struct config_plugin *p);
int config_add_file(struct config *c, const char *path);

#endif
