/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of what runs: how they are applied, servers made anew, and what is no longer defined. */
#include "base/json.h"
#include "plan/test-plan-stage.h"

#include <criterion/criterion.h>

#define WORKFLOW(operations, more) "{'name':'shop','operations':[" operations "]" more "}"
#define SERVERS(items) "{'id':'c','type':'create','target':'server','items':[" items "]}"
#define OS ",{'id':'t','type':'create','target':'taskserv','items':['os'],'depends_on':['c']}"

static struct stage *cloud_stage(void)
{
        struct stage *s = stage_new();
        struct plugin *p = stage_plugin(s, "provider", "cloud", "{'shared_resources':['security_group']}");

        p->describe = json_pack(
                "{s:[{s:s, s:[s,s,s,s], s:[s,s], s:{s:s, s:s, s:s, s:s}}, {s:s, s:{s:s}}, {s:s}]}", "resources",
                "kind", "server", "verbs", "create", "update", "delete", "check", "undo", "create",
                "update", "update", "labels", "live", "disk", "restart", "image", "replace", "cloud.tier",
                "replace", "kind", "security_group", "update", "rules", "replace", "kind",
                "network");
        cr_assert_not_null(p->describe);
        stage_plugin(s, "taskserv", "os", "{}");
        free(s->config.provider);
        s->config.provider = strdup("cloud");
        return s;
}

/* A server of ours, as the default definition makes it. */
static struct resource *server(struct stage *s, const char *key, const char *spec)
{
        struct resource *r = stage_resource(s, key, "shop", "provider/cloud", spec);

        strcpy(r->op_id, "0123456789ABCDEFGHJKMNPQRS");
        return r;
}

static void builds_on(struct resource *r, const char *keys)
{
        free((void *)(uintptr_t)r->builds_on);
        r->builds_on = strdup(keys);
        strcpy(r->op_id, "0123456789ABCDEFGHJKMNPQRS");
}

#define SIZE "'cpu':1,'memory':1024"
#define GROUP "security_group.default@cloud"

static struct stage *running_stage(void)
{
        struct stage *s = cloud_stage();

        server(s, "server.a", "{'name':'a'," SIZE ",'disk':10,'image':'deb12','labels':{'x':'1'},"
                              "'cloud':{'tier':'a','note':'x'}}");
        return s;
}

#define DEFINED(disk, image, label, tier, note)                                                    \
        ",'servers':[{'name':'a','disk':" disk ",'image':'" image "','labels':{'x':'" label "'},"   \
        "'cloud':{'tier':'" tier "','note':'" note "'}}]"

Test(changes, say_how_they_are_applied)
{
        _cleanup_(cleanup_stage) struct stage *s = running_stage();
        const struct plan_task *t;
        struct plan *p;

        p = stage_plan(s, WORKFLOW(SERVERS("'a'"), DEFINED("20", "deb12", "2", "a", "y")));
        t = task_by_id(p, "c/a");
        cr_assert_eq(t->verb, PLAN_UPDATE);
        cr_assert_eq(t->impact, PLAN_RESTART);
        HAS(t->difference, "{\"path\":\"disk\",\"from\":10,\"to\":20,\"how\":\"restart\"}");
        HAS(t->difference, "{\"path\":\"labels.x\",\"from\":\"1\",\"to\":\"2\",\"how\":\"live\"}");
        HAS(t->difference, "\"path\":\"cloud.note\",\"from\":\"x\",\"to\":\"y\",\"how\":\"live\"");
        HAS(stage_json(s), "\"impact\":\"restart\"");
        p = stage_plan(s, WORKFLOW(SERVERS("'a'"), DEFINED("10", "deb12", "2", "a", "x")));
        cr_assert_eq(task_by_id(p, "c/a")->impact, PLAN_LIVE);
}

Test(changes, a_replacement_must_be_asked_for)
{
        _cleanup_(cleanup_stage) struct stage *s = running_stage();

        HAS(stage_problems(s, WORKFLOW(SERVERS("'a'"), DEFINED("10", "deb13", "1", "b", "x"))),
            "servers[0].image: image, cloud cannot be changed on server.a, which is there: it would have to "
            "be replaced, that is deleted with all that is on it and made anew. Say so with --replace "
            "server.a, or leave it as it was\n");
        cr_assert_eq(s->problems.n, 1);
        stage_resource(s, GROUP, "shop", "provider/cloud", "{'name':'default','rules':[]}");
        HAS(stage_problems(s, WORKFLOW(SERVERS("'a'"), DEFINED("10", "deb12", "1", "a", "x"))),
            "rules cannot be changed on " GROUP ", which is there: delete what stands on it and then it "
            "itself");
}

Test(changes, a_server_is_replaced)
{
        _cleanup_(cleanup_stage) struct stage *s = running_stage();
        const char *names[] = {"server.a", NULL};
        const struct plan_task *old;
        struct plan *p;

        builds_on(stage_resource(s, "taskserv.os@a", "shop", "taskserv/os", "{'v':1}"), "server.a");
        s->replace = names;
        p = stage_plan(s, WORKFLOW(SERVERS("'a','b'") OS, DEFINED("10", "deb13", "1", "a", "x")));
        cr_assert_str_eq(stage_order(s), "(implied)/" GROUP " c/a~old c/a c/b t/os@a t/os@b");
        old = task_by_id(p, "c/a~old");
        cr_assert_eq(old->verb, PLAN_DELETE);
        cr_assert_eq(old->impact, PLAN_REPLACE);
        cr_assert(old->irreversible, "the plugin cannot make it again");
        HAS(old->difference, "\"path\":\"image\",\"from\":\"deb12\",\"to\":\"deb13\",\"how\":\"replace\"");
        HAS(old->spec, "deb12");
        HAS(task_by_id(p, "c/a")->spec, "deb13");
        cr_assert_eq(task_by_id(p, "c/a")->verb, PLAN_CREATE);
        cr_assert_null(task_by_id(p, "c/a")->difference);
        cr_assert(task_after(p, "c/a", "c/a~old"));
        cr_assert(task_after(p, "t/os@a", "c/a"));
        cr_assert_eq(task_by_id(p, "t/os@a")->verb, PLAN_CREATE, "it went along, whatever its spec was");
        cr_assert_null(task_by_id(p, "t/os@a")->difference);
        /* Not for nothing, and not for somebody else. */
        p = stage_plan(s, WORKFLOW(SERVERS("'a'"), DEFINED("10", "deb12", "1", "a", "x")));
        cr_assert_str_eq(stage_order(s), "(implied)/" GROUP " c/a");
        HAS(p->notices[1], "server.a is not replaced: nothing that changes needs it");
        names[0] = "zz";
        HAS(stage_problems(s, WORKFLOW(SERVERS("'a'"), DEFINED("10", "deb12", "1", "a", "x"))),
            "--replace: no operation of the plan creates or updates a server \"zz\"");
}

static struct stage *shrunk_stage(void)
{
        struct stage *s = cloud_stage();

        builds_on(server(s, "server.a", "{'name':'a'," SIZE ",'disk':10}"), GROUP);
        builds_on(server(s, "server.b", "{'name':'b'," SIZE ",'disk':10}"), GROUP " network.db@cloud");
        builds_on(stage_resource(s, "taskserv.os@b", "shop", "taskserv/os", "{}"), "server.b");
        builds_on(stage_resource(s, "taskserv.os@a", "shop", "taskserv/os", "{}"), "server.a");
        server(s, "network.db@cloud", "{'name':'db'}");
        server(s, "server.z", "{'name':'z'}");
        s->resources[s->n_resources - 1]->op_id[0] = 0; /* adopted */
        builds_on(stage_resource(s, "server.other", "else", "provider/cloud", "{}"), "network.wan@cloud");
        server(s, "network.wan@cloud", "{'name':'wan'}");
        return s;
}

Test(prune, what_is_no_longer_defined_is_told)
{
        _cleanup_(cleanup_stage) struct stage *s = shrunk_stage();
        const char *only[] = {"c", NULL};
        struct plan *p = stage_plan(s, WORKFLOW(SERVERS("'a'"), ""));

        cr_assert_str_eq(stage_order(s), "(implied)/" GROUP " c/a");
        cr_assert_eq(p->n_notices, 1);
        cr_assert_str_eq(p->notices[0], "no longer defined, and left as they are: network.db@cloud, "
                                        "network.wan@cloud, server.b, server.z, taskserv.os@a; --prune "
                                        "deletes them");
        HAS(stage_json(s), "\"undefined\":[\"network.db@cloud\",\"network.wan@cloud\",\"server.b\",\"server.z\","
                           "\"taskserv.os@a\"]");
        s->only = only;
        cr_assert_eq(stage_plan(s, NULL)->n_notices, 0, "the whole of it is not known");
        s->only = NULL;
        p = stage_plan(s, WORKFLOW(SERVERS("'a'") OS, ",'servers':[{'name':'b'},{'name':'z',"
                                                      "'networks':['db','wan']}]"));
        cr_assert_eq(p->n_undefined, 1);
        cr_assert_str_eq(p->undefined[0], "taskserv.os@b", "its operation is about a only");
}

Test(prune, deletes_it_when_all_else_is_done)
{
        _cleanup_(cleanup_stage) struct stage *s = shrunk_stage();
        const char *only[] = {"c", NULL};
        struct plan *p;

        s->prune = true;
        p = stage_plan(s, WORKFLOW(SERVERS("'a'"), ""));
        cr_assert_str_eq(stage_order(s), "(implied)/" GROUP " c/a (prune)/b (prune)/network.db@cloud "
                                         "(prune)/os@a");
        cr_assert(task_after(p, "(prune)/network.db@cloud", "(prune)/b"));
        cr_assert(task_after(p, "(prune)/b", "c/a"));
        cr_assert_str_eq(task_by_id(p, "(prune)/b")->reason, "no longer defined");
        cr_assert_eq(p->n_notices, 2);
        HAS(p->notices[0], "network.wan@cloud stays: server.other stands on it");
        HAS(p->notices[1], "server.z stays: it was adopted or found, not made here");
        s->only = only;
        HAS(stage_problems(s, NULL), "--prune: what is no longer defined can only be told from the whole");
}
