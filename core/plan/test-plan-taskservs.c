/* SPDX-License-Identifier: Apache-2.0 */
/* What taskservs require, what they stand in the way of, and in which order they come and go. */
#include "plan/test-plan-shop.h"

#include <criterion/criterion.h>

Test(taskservs, missing_requirements_are_implied_once_and_all_the_way)
{
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
        struct plan *p;
        const struct plan_task *t;

        p = stage_plan(s, WORKFLOW(
                SERVERS("c", "'a'") "," TASKSERVS("k", "'kubernetes'", ",'depends_on':['c']") ","
                "{'id':'after','type':'create','target':'server','items':['z'],'depends_on':['k']}",
                ",'servers':[{'name':'a','cpu':4,'memory':8192,'disk':40}]"));
        cr_assert_str_eq(stage_order(s), "c/a k/os@a k/containerd@a k/resolv@a k/kubernetes@a "
                                        "after/z");
        t = task_by_id(p, "k/containerd@a");
        cr_assert(t->implied);
        cr_assert_str_eq(t->reason, "required by taskserv kubernetes");
        cr_assert_not(task_by_id(p, "k/kubernetes@a")->implied);
        cr_assert(task_after(p, "after/z", "k/resolv@a"));
        cr_assert(task_after(p, "k/os@a", "c/a"));
        cr_assert_eq(count_verb(p, PLAN_JOIN), 1);
}

Test(taskservs, requirements_that_others_bring_or_that_are_there)
{
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
        struct plan *p;

        p = stage_plan(s, WORKFLOW(
                SERVERS("c", "'a'") "," TASKSERVS("one", "'os'", ",'depends_on':['c']") ","
                TASKSERVS("two", "'resolv'", ",'depends_on':['c']"), ""));
        cr_assert_str_eq(stage_order(s), "c/a one/os@a two/resolv@a");
        cr_assert(task_after(p, "two/resolv@a", "one/os@a"));
        stage_resource(s, "server.a", "shop", "provider/local", "{'name':'a'}");
        stage_resource(s, "taskserv.os@a", "shop", "taskserv/os", "{}");
        stage_plan(s, WORKFLOW(TASKSERVS("x", "'resolv'", ",'servers':['a']"),
                              ",'servers':[{'name':'a'}]"));
        cr_assert_str_eq(stage_order(s), "x/resolv@a");
}

Test(taskservs, what_a_later_operation_brings_is_implied_before)
{
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
        struct plan *p = stage_plan(s, WORKFLOW(
                SERVERS("c", "'a'") "," TASKSERVS("one", "'resolv'", ",'depends_on':['c']") ","
                TASKSERVS("two", "'os'", ",'depends_on':['one']"), ""));

        cr_assert_str_eq(stage_order(s), "c/a one/os@a one/resolv@a two/os@a");
        cr_assert(task_by_id(p, "one/os@a")->implied);
}

Test(taskservs, conflicts_in_plan_and_inventory)
{
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
        static const char big[] = ",'servers':[{'name':'a','cpu':4,'memory':8192,'disk':40}]";
        char text[1000];

        snprintf(text, sizeof(text), "{'name':'shop','operations':[%s,%s,%s]%s}",
                 SERVERS("c", "'a'"), TASKSERVS("d", "'docker'", ",'depends_on':['c']"),
                 TASKSERVS("k", "'kubernetes'", ",'depends_on':['d']"), big);
        HAS(stage_problems(s, text), "operations[1].items[0]: taskserv \"docker\" cannot be on the "
            "same server as \"containerd\", which operation \"k\" brings, required by taskserv "
            "kubernetes: on a; remove one of them");
        HAS(s->shown, "taskserv \"kubernetes\" cannot be on the same server as \"docker\"");
        cr_assert_eq(s->problems.n, 2, "%s", s->shown);

        stage_resource(s, "server.a", "shop", "provider/local", "{'name':'a'}");
        stage_resource(s, "taskserv.containerd@a", "shop", "taskserv/containerd", "{}");
        HAS(stage_problems(s, WORKFLOW(TASKSERVS("d", "'docker'", ",'servers':['a']"),
                                      ",'servers':[{'name':'a'}]")),
            "which stands there already (workflow \"shop\"): on a");
        stage_plan(s, WORKFLOW("{'id':'r','type':'delete','target':'taskserv',"
                              "'items':['containerd'],'servers':['a']},"
                              TASKSERVS("d", "'docker'", ",'servers':['a'],'depends_on':['r']"),
                              ",'servers':[{'name':'a'}]"));
        cr_assert_str_eq(stage_order(s), "r/containerd@a d/docker@a");
}

Test(taskservs, servers_too_small)
{
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
        const char *text = stage_problems(s, WORKFLOW(
                SERVERS("c", "'a','b'") "," TASKSERVS("k", "'kubernetes'", ",'depends_on':['c']"),
                ",'servers':[{'name':'a','cpu':4,'memory':8192,'disk':10}]"));

        HAS(text, "operations[1].items[0]: server \"a\" is too small for taskserv \"kubernetes\"; "
                  "disk: it has 10 GiB, 20 needed; define it larger");
        HAS(text, "server \"b\" is too small for taskserv \"kubernetes\"; cpu: it has 1, 2 needed; "
                  "memory: it has 1024 MiB, 4096 needed; disk: it has 10 GiB, 20 needed");
}

Test(taskservs, circle_of_requirements)
{
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();

        stage_plugin(s, "taskserv", "x", "{'requires':['y']}");
        stage_plugin(s, "taskserv", "y", "{'requires':['z']}");
        stage_plugin(s, "taskserv", "z", "{'requires':['x']}");
        HAS(stage_problems(s, WORKFLOW(SERVERS("c", "'a'") ","
                                      TASKSERVS("t", "'os','y'", ",'depends_on':['c']"), "")),
            "operations[1].items[1]: taskservs require each other in a circle: y -> z -> x -> y");
        cr_assert_eq(s->problems.n, 1, "%s", s->shown);
}

Test(taskservs, removing_goes_the_other_way_round)
{
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
        struct plan *p;

        stage_resource(s, "server.a", "shop", "provider/local", "{'name':'a'}");
        p = stage_plan(s, WORKFLOW(
                "{'id':'s','type':'delete','target':'server','items':['a']},"
                "{'id':'t','type':'delete','target':'taskserv','items':['os','resolv'],"
                "'servers':['a']}", ",'servers':[{'name':'a'}]"));
        cr_assert_str_eq(stage_order(s), "t/resolv@a t/os@a s/a");
        cr_assert(task_after(p, "s/a", "t/os@a"));
}

Test(taskservs, size_from_a_plan_is_not_guessed)
{
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
        struct plan *p = stage_plan(s, WORKFLOW(
                SERVERS("c", "'a'") "," TASKSERVS("k", "'kubernetes'", ",'depends_on':['c']"),
                ",'servers':[{'name':'a','plan':'4xCPU-8GB'}]"));

        cr_assert(noticed(p, "where its size comes from `plan`: a for taskserv kubernetes"));
        cr_assert_str_eq(task_by_id(p, "c/a")->spec, "{\"name\":\"a\",\"plan\":\"4xCPU-8GB\"}");
}
