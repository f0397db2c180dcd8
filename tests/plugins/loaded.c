/* SPDX-License-Identifier: Apache-2.0 */
#include "loaded.h"

#include <criterion/criterion.h>

void loaded_new(struct loaded *l, const struct test_plugin *list, size_t n,
                const struct host_hooks *hooks)
{
        struct problems problems = PROBLEMS_NULL;

        test_site_new(&l->site, list, n, NULL);
        cr_assert_eq(config_load(l->site.conf, &problems, &l->config), 0);
        problems_print(&problems, stderr);
        cr_assert_eq(problems.n, 0);
        cr_assert_eq(host_new(l->config, hooks, &l->host), 0);
        cr_assert_eq(plugins_load(l->config, l->host, NULL, 0, &l->plugins), 0);
}

void loaded_end(struct loaded *l)
{
        plugins_free(l->plugins);
        host_free(l->host);
        config_free(l->config);
        test_site_remove(&l->site);
}
