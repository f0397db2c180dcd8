/* SPDX-License-Identifier: Apache-2.0 */
/* What is there already: owners, claims, changes, and the end of it. */
#include "base/json.h"
#include "plan/test-plan-shop.h"

#include <criterion/criterion.h>

Test(inventory, owners_and_claims)
{
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
        struct resource *r;
        const char *text;

        stage_resource(s, "server.a", "other", "provider/local", "{}");
        r = stage_resource(s, "server.b", NULL, "provider/local", "{}");
        r->claim = strdup("01RUN");
        r->claim_workflow = strdup("third");
        text = stage_problems(s, WORKFLOW(SERVERS("c", "'a','b'"), ""));
        HAS(text, "operations[0].items[0]: server.a belongs to workflow \"other\"; workflow "
                  "\"shop\" may not create it");
        HAS(text, "operations[0].items[1]: server.b is claimed by run 01RUN of workflow \"third\", "
                  "which has not ended: wait for it, or end it with `prvng batch cancel 01RUN`");
        HAS(stage_problems(s, WORKFLOW(TASKSERVS("t", "'os'", ",'servers':['a']"),
                                      ",'servers':[{'name':'a'}]")),
            "server.a belongs to workflow \"other\"; workflow \"shop\" may not create "
            "taskserv.os@a on it");
}

/* A server is not taken away under another run, and nothing is made on one that another run is at. */
Test(inventory, servers_that_another_run_is_at)
{
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
        struct resource *r;

        stage_resource(s, "server.a", "shop", "provider/local", "{}");
        r = stage_resource(s, "taskserv.os@a", NULL, "taskserv/os", "{}");
        r->claim = strdup("01RUN");
        r->claim_workflow = strdup("shop");
        HAS(stage_problems(s, "{'name':'shop','operations':[{'id':'d','type':'delete','target':'server',"
                              "'items':['a']}]}"),
            "operations[0].items[0]: taskserv.os@a is claimed by run 01RUN");
        r = stage_resource(s, "server.b", "shop", "provider/local", "{}");
        r->claim = strdup("01RUN");
        r->claim_workflow = strdup("shop");
        HAS(stage_problems(s, WORKFLOW(TASKSERVS("t", "'os'", ",'servers':['b']"), ",'servers':[{'name':'b'}]")),
            "server.b is claimed by run 01RUN");
}

Test(inventory, verbs_and_differences)
{
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
        struct plan *p;

        stage_resource(s, "server.a", "shop", "provider/local",
                      "{'name':'a','cpu':1,'memory':1024,'disk':10}");
        stage_resource(s, "server.b", "shop", "provider/local",
                      "{'name':'b','cpu':1,'memory':512,'disk':10,'labels':{'x':'1'},"
                      "'networks':['n','m']}");
        p = stage_plan(s, WORKFLOW(SERVERS("c", "'a','b','d'"), ",'servers':[{'name':'b',"
                                  "'networks':['n','o']}]"));
        cr_assert_str_eq(verb_of(p, "c/a"), "create");
        cr_assert_null(task_by_id(p, "c/a")->difference);
        cr_assert_str_eq(verb_of(p, "c/b"), "update");
        cr_assert_str_eq(task_by_id(p, "c/b")->difference,
                         "[{\"path\":\"memory\",\"from\":512,\"to\":1024},"
                         "{\"path\":\"networks[1]\",\"from\":\"m\",\"to\":\"o\"},"
                         "{\"path\":\"labels\",\"from\":{\"x\":\"1\"},\"to\":null}]");
        cr_assert_str_eq(verb_of(p, "c/d"), "create");
        HAS(stage_problems(s, WORKFLOW(
                "{'id':'u','type':'update','target':'server','items':['a','z']}", "")),
            "operations[0].items[1]: server.z cannot be updated: it is not there yet; create it "
            "first");
        cr_assert_eq(s->problems.n, 1);
        p = stage_plan(s, WORKFLOW(
                "{'id':'k','type':'check','target':'server','items':['z']},"
                "{'id':'r','type':'delete','target':'server','items':['a','y']}", ""));
        cr_assert_str_eq(verb_of(p, "k/z"), "check");
        cr_assert_str_eq(verb_of(p, "r/y"), "delete");
        cr_assert(task_by_id(p, "r/a")->irreversible);
        cr_assert_not(task_by_id(p, "k/z")->irreversible);
}

Test(inventory, what_the_plan_did_before_counts)
{
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
        struct plan *p = stage_plan(s, WORKFLOW(
                SERVERS("c", "'a'") ","
                "{'id':'u','type':'update','target':'server','items':['a'],'depends_on':['c']},"
                "{'id':'d','type':'delete','target':'server','items':['a'],'depends_on':['u']}", ""));

        cr_assert_str_eq(stage_order(s), "c/a u/a d/a");
        cr_assert_str_eq(verb_of(p, "u/a"), "update");
}

Test(inventory, servers_do_not_move)
{
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();

        stage_resource(s, "server.a", "shop", "provider/cloud", "{'name':'a'}");
        HAS(stage_problems(s, WORKFLOW(SERVERS("c", "'a'"),
                                      ",'servers':[{'name':'a','provider':'local'}]")),
            "servers[0].provider: server \"a\" stands at provider/cloud; the definition says "
            "\"local\", but a server does not move");
        stage_plan(s, WORKFLOW(SERVERS("c", "'a'"), ",'servers':[{'name':'a'}]"));
        cr_assert_str_eq(s->plan->lanes[task_by_id(s->plan, "c/a")->lane].plugin, "provider/cloud");
}

Test(inventory, describe_says_what_can_be_done_and_undone)
{
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
        char error[JSON_PARSE_ERROR];
        static const char describe[] = "{\"resources\":[{\"kind\":\"server\",\"verbs\":[\"create\","
                                       "\"delete\"],\"undo\":[\"delete\"]}]}";

        cr_assert_eq(json_parse(describe, strlen(describe), &s->list[1].describe, error), 0);
        stage_plan(s, WORKFLOW(SERVERS("c", "'a'"), ""));
        cr_assert(task_by_id(s->plan, "c/a")->irreversible);
        HAS(stage_problems(s, WORKFLOW("{'id':'k','type':'check','target':'server','items':['a']}",
                                      "")),
            "operations[0].items[0]: provider \"local\" cannot check server.a");
}

static void builds_on(struct resource *r, const char *keys)
{
        free((void *)(uintptr_t)r->builds_on);
        r->builds_on = strdup(keys);
}

Test(destroy, deletes_all_that_is_owned)
{
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
        struct resource *r;

        stage_resource(s, "network.private@cloud", "shop", "provider/cloud", "{}");
        stage_resource(s, "security_group.default@cloud", "shop", "provider/cloud", "{}");
        r = stage_resource(s, "server.a", "shop", "provider/cloud", "{'name':'a'}");
        builds_on(r, "network.private@cloud security_group.default@cloud");
        r = stage_resource(s, "taskserv.os@a", "shop", "taskserv/os", "{}");
        builds_on(r, "server.a");
        r = stage_resource(s, "server.z", "other", "provider/cloud", "{}");
        builds_on(r, "security_group.default@cloud");
        cr_assert_eq(plan_destroy(stage_request(s), "shop", &s->problems, &s->plan), 0);
        cr_assert_not_null(s->plan);
        cr_assert_str_eq(stage_order(s), "destroy/a destroy/network.private@cloud");
        cr_assert(task_after(s->plan, "destroy/network.private@cloud", "destroy/a"));
        cr_assert_str_eq(verb_of(s->plan, "destroy/a"), "delete");
        cr_assert(noticed(s->plan, "security_group.default@cloud stays: server.z of workflow "
                                   "\"other\" stands on it"));
        s->plan = plan_free(s->plan);
        cr_assert_eq(plan_destroy(stage_request(s), "shp", &s->problems, &s->plan), 0);
        cr_assert_null(s->plan);
        HAS(s->problems.list[0].message, "workflow \"shp\" owns nothing (did you mean \"shop\"?)");
}

Test(destroy, a_server_takes_along_what_stands_on_it)
{
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
        const struct plan_task *t;
        struct resource *server;
        struct plan *p;

        server = stage_resource(s, "server.a", "shop", "provider/local", "{'name':'a'}");
        builds_on(stage_resource(s, "taskserv.os@a", "shop", "taskserv/os", "{}"), "server.a");
        builds_on(stage_resource(s, "taskserv.resolv@a", "shop", "taskserv/resolv", "{}"), "server.a");
        server->n_on = 2;
        p = stage_plan(s, WORKFLOW(
                "{'id':'s','type':'delete','target':'server','items':['a']},"
                "{'id':'t','type':'delete','target':'taskserv','items':['os'],"
                "'servers':['a']}", ",'servers':[{'name':'a'}]"));
        t = task_by_id(p, "s/a");
        cr_assert_str_eq(t->takes, "taskserv.resolv@a", "what another task deletes is its own");
        cr_assert_null(task_by_id(p, "t/os@a")->takes);
        HAS(stage_json(s), "\"takes\":[\"taskserv.resolv@a\"]");
}

Test(inventory, taskservs_of_a_server_that_is_gone)
{
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();

        stage_resource(s, "taskserv.os@a", "other", "taskserv/os", "{'x':1}");
        stage_plan(s, WORKFLOW(SERVERS("c", "'a'") ","
                               TASKSERVS("t", "'resolv'", ",'depends_on':['c']"), ""));
        cr_assert_str_eq(stage_order(s), "c/a t/os@a t/resolv@a");
        cr_assert_null(task_by_id(s->plan, "t/os@a")->difference);
}

Test(owned, check_looks_at_all_and_changes_nothing)
{
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
        const struct plan_task *t;

        stage_resource(s, "taskserv.os@a", "shop", "taskserv/os", "{'x':1}");
        builds_on(stage_resource(s, "server.a", "shop", "provider/cloud", "{'name':'a'}"),
                  "network.private@cloud");
        stage_resource(s, "server.z", "other", "provider/cloud", "{}");
        cr_assert_eq(plan_check(stage_request(s), "shop", &s->problems, &s->plan), 0);
        cr_assert_not_null(s->plan);
        cr_assert_str_eq(stage_order(s), "check/a check/os@a");
        t = task_by_id(s->plan, "check/os@a");
        cr_assert_eq(t->verb, PLAN_CHECK);
        cr_assert_str_eq(t->spec, "{\"x\":1}");
        cr_assert_str_eq(s->plan->uses[t->first_use], "server.a");
        t = task_by_id(s->plan, "check/a");
        cr_assert_str_eq(s->plan->uses[t->first_use], "network.private@cloud");
        cr_assert_not(t->irreversible);
}
