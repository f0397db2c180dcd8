/* SPDX-License-Identifier: Apache-2.0 */
/* A site with its plugins loaded, for the tests of this folder. */
#ifndef PRVNG_TESTS_LOADED_H
#define PRVNG_TESTS_LOADED_H

#include "host/host.h"
#include "plugin/plugin.h"
#include "support/site.h"

struct loaded {
        struct test_site site;
        struct config *config;
        struct host *host;
        struct plugins *plugins;
};

void loaded_new(struct loaded *l, const struct test_plugin *list, size_t n,
                const struct host_hooks *hooks);
void loaded_end(struct loaded *l);

#endif
