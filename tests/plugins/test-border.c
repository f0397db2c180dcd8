/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/border.h"

#include "host/host.h"
#include "support/site.h"

#include <criterion/criterion.h>
#include <limits.h>

/* A site with its plugins loaded. */
struct loaded {
        struct site site;
        struct config *config;
        struct host *host;
        struct plugins *plugins;
};

static void load(struct loaded *l, const struct site_plugin *list, size_t n)
{
        struct problems problems = PROBLEMS_NULL;

        site_new(&l->site, list, n, NULL);
        cr_assert_eq(config_load(l->site.conf, &problems, &l->config), 0);
        problems_print(&problems, stderr);
        cr_assert_eq(problems.n, 0);
        cr_assert_eq(host_new(l->config, NULL, &l->host), 0);
        cr_assert_eq(plugins_load(l->config, l->host, NULL, 0, &l->plugins), 0);
}

static void unload(struct loaded *l)
{
        plugins_free(l->plugins);
        host_free(l->host);
        config_free(l->config);
        site_remove(&l->site);
}

Test(noop, is_ready_and_answers)
{
        struct loaded l;
        struct op_reply reply = OP_REPLY_NULL;
        struct op_call call;
        struct plugin *p;

        load(&l, (struct site_plugin[]){{"noop"}}, 1);
        p = plugins_find(l.plugins, "provider", "noop");
        cr_assert_not_null(p);
        cr_assert_eq(p->state, PLUGIN_READY, "%s", p->reason);
        cr_assert_str_eq(p->id, "org.prvng.test.noop");
        cr_assert_eq(json_integer_value(json_object_get(p->dependencies, "batch_size")), 1000);
        op_call_init(&call, p, "0", 1, INT64_MAX, 1, "run", "task");
        op_begin(&call, "create", "{}", 2, &reply);
        cr_assert_eq(reply.answer, PRVNG_DONE);
        cr_assert_eq(reply.effect, PRVNG_EFFECT_COMPLETE);
        cr_assert_str_eq(buf_str(&reply.result), "{}");
        op_call_deinit(&call);
        op_reply_deinit(&reply);
        unload(&l);
}
