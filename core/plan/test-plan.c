/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include "plan/test-plan-stage.h"
#include "plugin/border.h"

#include <criterion/criterion.h>

#define HAS(text, part) cr_assert_not_null(strstr((text), (part)), "no \"%s\" in: %s", part, text)
#define LACKS(text, part) cr_assert_null(strstr((text), (part)), "\"%s\" is in: %s", part, text)

#define SERVERS(id, items) "{'id':'" id "','type':'create','target':'server','items':[" items "]}"
#define TASKSERVS(id, items, more)                                                                 \
        "{'id':'" id "','type':'create','target':'taskserv','items':[" items "]" more "}"
#define WORKFLOW(operations, more) "{'name':'shop','operations':[" operations "]" more "}"

static struct stage *base_stage(void)
{
        struct stage *s = stage_new();

        stage_plugin(s, "provider", "cloud",
                    "{'requires_network':true,'network_before_servers':true,"
                    "'shared_resources':['private_network','security_group'],"
                    "'api_rate_limit':10,'batch_size':2}");
        stage_plugin(s, "taskserv", "os", "{}");
        stage_plugin(s, "taskserv", "resolv", "{'requires':['os']}");
        stage_plugin(s, "taskserv", "containerd", "{'requires':['os']}");
        stage_plugin(s, "taskserv", "docker", "{'conflicts_with':['containerd']}");
        stage_plugin(s, "taskserv", "kubernetes",
                    "{'requires':['containerd','resolv'],'conflicts_with':['docker'],"
                    "'minimum_resources':{'cpu':2,'memory':4096,'disk':20}}");
        return s;
}

Test(plan, the_example_of_the_project)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
        struct plan *p = stage_plan(s, WORKFLOW(
                SERVERS("create-servers", "'a','b'") ","
                TASKSERVS("install-base", "'containerd','os','resolv'",
                          ",'depends_on':['create-servers']"), ""));

        cr_assert_str_eq(stage_order(s),
                         "create-servers/a create-servers/b install-base/os@a "
                         "install-base/containerd@a install-base/os@b install-base/containerd@b "
                         "install-base/resolv@a install-base/resolv@b");
        cr_assert(task_after(p, "install-base/containerd@b", "install-base/os@b"));
        cr_assert_not(task_after(p, "install-base/containerd@b", "install-base/os@a"));
        cr_assert(task_after(p, "install-base/os@a", "create-servers/b"));
        cr_assert_str_eq(task_by_id(p, "install-base/os@a")->doc,
                         "{\"kind\":\"taskserv\",\"name\":\"os\",\"workflow\":\"shop\","
                         "\"site\":\"SITE\",\"server\":\"a\",\"spec\":{}}");
        cr_assert_str_eq(task_by_id(p, "create-servers/a")->doc,
                         "{\"kind\":\"server\",\"name\":\"a\",\"workflow\":\"shop\","
                         "\"site\":\"SITE\",\"spec\":{\"name\":\"a\",\"cpu\":1,\"memory\":1024,"
                         "\"disk\":10}}");
        cr_assert_str_eq(p->uses[task_by_id(p, "install-base/os@b")->first_use], "server.b");
        cr_assert_eq(p->n_lanes, 4);
}

static const char *verb_of(const struct plan *p, const char *id)
{
        const struct plan_task *t = task_by_id(p, id);

        cr_assert_not_null(t, "there is no task %s", id);
        return plan_verb_name(t->verb);
}

static uint32_t count_verb(const struct plan *p, enum plan_verb verb)
{
        uint32_t n = 0;

        for (uint32_t i = 0; i < p->n_tasks; i++)
                n += p->tasks[i].verb == verb;
        return n;
}

static bool noticed(const struct plan *p, const char *part)
{
        for (uint32_t i = 0; i < p->n_notices; i++)
                if (strstr(p->notices[i], part))
                        return true;
        return false;
}

Test(operations, circle_is_told_with_its_path_and_place)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
        const char *text = stage_problems(s, WORKFLOW(
                "{'id':'x','type':'create','target':'server','items':['a']},"
                "{'id':'a','type':'create','target':'server','items':['b'],'depends_on':['c','x']},"
                "{'id':'b','type':'create','target':'server','items':['c'],'depends_on':['a']},"
                "{'id':'c','type':'create','target':'server','items':['d'],'depends_on':['b']}", ""));

        HAS(text, "operations[1].depends_on: operations depend on each other in a circle: "
                  "a -> c -> b -> a; a line 10, c line 27, b line 19");
        cr_assert_eq(s->problems.n, 1);
        cr_assert_gt(s->problems.list[0].line, 0);
}

Test(operations, only_takes_what_they_need_and_knows_misspellings)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
        const char *only[] = {"install", NULL}, *wrong[] = {"instal", "create", NULL};
        static const char text[] = WORKFLOW(
                SERVERS("create", "'a'") "," SERVERS("more", "'b'") ","
                TASKSERVS("install", "'os'", ",'depends_on':['create']"), "");

        s->only = only;
        stage_plan(s, text);
        cr_assert_str_eq(stage_order(s), "create/a install/os@a");
        s->only = wrong;
        HAS(stage_problems(s, text), "--only: there is no operation \"instal\" (did you mean "
            "\"install\"?); there are: create, more, install");
}

Test(operations, sequential_runs_as_written)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
        struct plan *p = stage_plan(s, WORKFLOW(SERVERS("one", "'a','b'") "," SERVERS("two", "'c'")
                                               "," SERVERS("three", "'d'"),
                                               ",'type':'sequential'"));

        cr_assert_str_eq(p->type, "sequential");
        cr_assert(task_after(p, "two/c", "one/a") && task_after(p, "two/c", "one/b"));
        cr_assert(task_after(p, "three/d", "two/c"));
        cr_assert_eq(task_by_id(p, "two/c")->n_soft, 1, "order alone must not be a hard dependency");
        cr_assert_eq(task_by_id(p, "two/c")->n_deps, 1);
        HAS(stage_problems(s, WORKFLOW(
                "{'id':'one','type':'create','target':'server','items':['a'],'depends_on':['two']},"
                SERVERS("two", "'b'"), ",'type':'sequential'")),
            "operation \"one\" depends on \"two\", which stands after it");
}

static bool waits_itself(const struct plan *p, const char *id, const char *other)
{
        const struct plan_task *t = task_by_id(p, id);

        for (uint32_t i = 0; i < t->n_deps; i++)
                if (streq(p->tasks[p->deps[t->first_dep + i]].id, other))
                        return true;
        return false;
}

/* Else a retry, which does the first one again and not what lies between them, would run them at once. */
Test(operations, tasks_of_one_resource_wait_for_each_other_themselves)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
        struct plan *p = stage_plan(s, WORKFLOW(
                SERVERS("one", "'a'") "," SERVERS("two", "'b'") "," SERVERS("three", "'a'"),
                ",'type':'sequential'"));

        cr_assert(waits_itself(p, "three/a", "one/a"));
        cr_assert_eq(task_by_id(p, "three/a")->n_soft, task_by_id(p, "three/a")->n_deps);
        p = stage_plan(s, WORKFLOW(
                SERVERS("one", "'a'") ","
                "{'id':'two','type':'create','target':'server','items':['b'],'depends_on':['one']},"
                "{'id':'three','type':'update','target':'server','items':['a'],'depends_on':['two']}", ""));
        cr_assert(waits_itself(p, "three/a", "one/a"));
}

Test(operations, items_one_after_another)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
        struct plan *p = stage_plan(s, WORKFLOW(
                SERVERS("c", "'a','b'") ","
                TASKSERVS("i", "'os','resolv','containerd'",
                          ",'depends_on':['c'],'parallel':false"), ""));

        cr_assert(task_after(p, "i/resolv@a", "i/os@b"));
        cr_assert(task_after(p, "i/containerd@b", "i/resolv@a"));
        cr_assert_not(task_after(p, "i/resolv@a", "i/resolv@b"));
        HAS(stage_problems(s, WORKFLOW(
                SERVERS("c", "'a'") "," TASKSERVS("i", "'containerd','os'",
                                                  ",'depends_on':['c'],'parallel':false"), "")),
            "operations[1].items[0]: \"containerd\" requires \"os\", which stands after it; but "
            "with parallel = False items run one after another as written: write \"os\" before");
}

Test(operations, taskservs_go_to_the_servers_of_what_they_depend_on)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();

        stage_plan(s, WORKFLOW(
                SERVERS("one", "'a','b'") "," SERVERS("two", "'c'") ","
                TASKSERVS("x", "'os'", ",'depends_on':['one']") ","
                TASKSERVS("y", "'resolv'", ",'depends_on':['x']") ","
                TASKSERVS("z", "'os'", ",'servers':['c'],'depends_on':['two']"), ""));
        cr_assert_str_eq(stage_order(s), "one/a one/b two/c x/os@a x/os@b y/resolv@a y/resolv@b "
                                        "z/os@c");
        stage_plan(s, WORKFLOW(SERVERS("one", "'a','b'") "," TASKSERVS("x", "'os'", ""), ""));
        cr_assert_str_eq(stage_order(s), "one/a one/b x/os@a x/os@b");
        cr_assert(task_after(s->plan, "x/os@b", "one/b"));
        cr_assert_not(task_after(s->plan, "x/os@b", "one/a"));
}

Test(operations, providers_filter_items)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
        static const char servers[] = ",'servers':[{'name':'a','provider':'local'},"
                                      "{'name':'b','provider':'cloud'}]";
        char text[1000];

        snprintf(text, sizeof(text), "{'name':'shop','operations':[{'id':'c','type':'create',"
                 "'target':'server','items':['a','b'],'providers':['local']},"
                 "{'id':'n','type':'create','target':'server','items':['a'],'providers':['cloud']}]"
                 "%s}", servers);
        stage_plan(s, text);
        cr_assert_str_eq(stage_order(s), "c/a");
        cr_assert(noticed(s->plan, "operation \"n\" has nothing to do"));
        snprintf(text, sizeof(text), "{'name':'shop','operations':[{'id':'c','type':'create',"
                 "'target':'server','items':['a'],'providers':['clou']}]%s}", servers);
        HAS(stage_problems(s, text), "operations[0].providers[0]: this site has no provider \"clou\" "
            "(did you mean \"cloud\"?); there are: local, cloud");
}

Test(operations, one_without_tasks_hands_its_dependencies_on)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
        struct plan *p = stage_plan(s, WORKFLOW(
                SERVERS("one", "'a'") ","
                "{'id':'none','type':'create','target':'server','items':['b'],"
                "'providers':['cloud'],'depends_on':['one']},"
                "{'id':'two','type':'create','target':'server','items':['c'],"
                "'depends_on':['none']}", ""));

        cr_assert(task_after(p, "two/c", "one/a"));
}

Test(operations, a_resource_in_two_unordered_operations)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();

        HAS(stage_problems(s, WORKFLOW(SERVERS("one", "'a'") "," SERVERS("two", "'a'"), "")),
            "operations[1].items[0]: operations \"one\" and \"two\" both work on server.a, and "
            "neither waits for the other");
}

Test(taskservs, missing_requirements_are_implied_once_and_all_the_way)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
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
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
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
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
        struct plan *p = stage_plan(s, WORKFLOW(
                SERVERS("c", "'a'") "," TASKSERVS("one", "'resolv'", ",'depends_on':['c']") ","
                TASKSERVS("two", "'os'", ",'depends_on':['one']"), ""));

        cr_assert_str_eq(stage_order(s), "c/a one/os@a one/resolv@a two/os@a");
        cr_assert(task_by_id(p, "one/os@a")->implied);
}

Test(taskservs, conflicts_in_plan_and_inventory)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
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
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
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
        _cleanup_(cleanup_stage) struct stage *s = base_stage();

        stage_plugin(s, "taskserv", "x", "{'requires':['y']}");
        stage_plugin(s, "taskserv", "y", "{'requires':['z']}");
        stage_plugin(s, "taskserv", "z", "{'requires':['x']}");
        HAS(stage_problems(s, WORKFLOW(SERVERS("c", "'a'") ","
                                      TASKSERVS("t", "'os','y'", ",'depends_on':['c']"), "")),
            "operations[1].items[1]: taskservs require each other in a circle: y -> z -> x -> y");
        cr_assert_eq(s->problems.n, 1, "%s", s->shown);
}

Test(plugins, missing_refused_and_disabled)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
        struct plugin *p;
        const char *text;

        p = stage_plugin(s, "taskserv", "cilium", "{}");
        p->state = PLUGIN_REFUSED;
        p->reason = strdup("its file is writable by others: chmod o-w it");
        p = stage_plugin(s, "taskserv", "rook", "{'requires':['cilium']}");
        text = stage_problems(s, WORKFLOW(
                SERVERS("c", "'a','b'") ","
                TASKSERVS("t", "'kuberntes','rook'", ",'depends_on':['c']"), ""));
        HAS(text, "operations[1].items[0]: this site has no taskserv plugin \"kuberntes\" (did you "
                  "mean \"kubernetes\"?); because of it these tasks cannot run: t/kuberntes@a, "
                  "t/kuberntes@b;");
        HAS(text, "operations[1].items[1]: taskserv \"cilium\" (required by taskserv rook) cannot "
                  "be used: its plugin is refused: its file is writable by others: chmod o-w it; "
                  "because of it these tasks cannot run: t/cilium@a, t/cilium@b");
        p->state = PLUGIN_DISABLED;
        HAS(stage_problems(s, NULL), "taskserv \"rook\" cannot be used: its plugin is disabled: the "
                                    "site's configuration says so");
        HAS(stage_problems(s, WORKFLOW(SERVERS("c", "'a'"),
                                      ",'servers':[{'name':'a','provider':'clud'}]")),
            "servers[0].provider: this site has no provider plugin \"clud\" (did you mean \"cloud\"?)");
}

Test(servers, shared_resources_come_once_and_first)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
        struct plan *p;
        const struct plan_task *t;

        free(s->config.provider);
        s->config.provider = strdup("cloud");
        p = stage_plan(s, WORKFLOW(SERVERS("c", "'a','b','d'"), ",'type':'parallel'"));
        cr_assert_str_eq(stage_order(s), "(implied)/network.private@cloud "
                                        "(implied)/security_group.default@cloud c/a c/b c/d");
        t = task_by_id(p, "(implied)/network.private@cloud");
        cr_assert(t->implied && p->operations[t->operation].implied);
        cr_assert_str_eq(t->reason, "shared_resources of provider cloud");
        HAS(t->doc, "{\"kind\":\"network\",\"name\":\"private\",");
        cr_assert(task_after(p, "c/b", "(implied)/network.private@cloud"));
        cr_assert_eq(task_by_id(p, "c/d")->n_uses, 2);
        cr_assert_eq(p->lanes[t->lane].rate_limit, 10);
        cr_assert_eq(p->lanes[t->lane].batch_size, 2);
        /* Somebody else's network serves as well. */
        stage_resource(s, "network.private@cloud", "other", "provider/cloud", "{}");
        p = stage_plan(s, NULL);
        LACKS(stage_order(s), "network.private");
        cr_assert_str_eq(p->uses[task_by_id(p, "c/a")->first_use], "network.private@cloud");
}

Test(servers, the_site_sets_other_limits)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
        struct plan *p;

        free(s->config.provider);
        s->config.provider = strdup("cloud");
        for (size_t i = 0; i < s->plugins.n; i++)
                if (streq(s->list[i].name, "cloud") || streq(s->list[i].name, "os"))
                        s->dropins[i] = (struct config_plugin){.rate_limit = {true, 3}, .batch_size = {true, 0}};
        p = stage_plan(s, WORKFLOW(SERVERS("c", "'a','b','d'") ","
                                   TASKSERVS("t", "'os','resolv'", ",'depends_on':['c']"), ""));
        cr_assert_eq(p->lanes[task_by_id(p, "c/a")->lane].rate_limit, 3);
        cr_assert_eq(p->lanes[task_by_id(p, "c/a")->lane].batch_size, 0);
        cr_assert_not(task_after(p, "c/d", "c/a"), "no barrier without a batch_size");
        cr_assert_eq(p->lanes[task_by_id(p, "t/os@a")->lane].batch_size, 0);
        cr_assert_eq(p->lanes[task_by_id(p, "t/os@a")->lane].rate_limit, 3);
        cr_assert_eq(p->lanes[task_by_id(p, "t/resolv@a")->lane].batch_size, 16);
        stage_resource(s, "server.x", "old", "provider/cloud", "{}");
        s->plan = plan_free(s->plan);
        cr_assert_eq(plan_destroy(stage_request(s), "old", &s->problems, &s->plan), 0);
        cr_assert_eq(s->plan->lanes[0].rate_limit, 3);
        cr_assert_eq(s->plan->lanes[0].batch_size, 0);
}

Test(servers, batches_have_barriers)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
        struct plan *p;

        free(s->config.provider);
        s->config.provider = strdup("cloud");
        p = stage_plan(s, WORKFLOW(SERVERS("c", "'a','b','d','e','f'"), ",'type':'batch'"));
        cr_assert(task_after(p, "c/d", "c/a") && task_after(p, "c/e", "c/b"));
        cr_assert(task_after(p, "c/f", "c/d"));
        cr_assert_not(task_after(p, "c/b", "c/a"));
        p = stage_plan(s, WORKFLOW(SERVERS("c", "'a','b','d','e','f'"), ",'type':'parallel'"));
        cr_assert_not(task_after(p, "c/f", "c/a"));
}

Test(servers, specs_are_canonical)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
        _cleanup_(cleanup_free) char *first = NULL;
        struct plan *p;

        p = stage_plan(s, WORKFLOW(SERVERS("c", "'a'"), ",'servers':[{'labels':{'y':'1','x':'2'},"
                                  "'cpu':2.0,'name':'a','cloud':{'t':1},'local':{'b':1,'a':2}}]"));
        first = strdup(task_by_id(p, "c/a")->spec);
        cr_assert_str_eq(first, "{\"name\":\"a\",\"cpu\":2,\"memory\":1024,\"disk\":10,"
                                "\"labels\":{\"x\":\"2\",\"y\":\"1\"},"
                                "\"local\":{\"a\":2,\"b\":1}}");
        p = stage_plan(s, WORKFLOW(SERVERS("c", "'a'"), ",'servers':[{'name':'a','local':{'a':2,"
                                  "'b':1},'cpu':2,'labels':{'x':'2','y':'1'}}]"));
        cr_assert_str_eq(task_by_id(p, "c/a")->spec, first);
}

Test(servers, operation_vars_win)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
        struct plan *p = stage_plan(s, WORKFLOW(
                SERVERS("c", "'a'") "," TASKSERVS("t", "'os'", ",'depends_on':['c'],"
                                                  "'vars':{'b':2,'a':3}"),
                ",'vars':{'b':1,'z':0}"));

        cr_assert_str_eq(task_by_id(p, "t/os@a")->spec, "{\"a\":3,\"b\":2,\"z\":0}");
}

Test(servers, a_taskserv_needs_a_server)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();

        HAS(stage_problems(s, WORKFLOW(TASKSERVS("t", "'os'", ",'servers':['web']"),
                                      ",'servers':[{'name':'web'}]")),
            "operations[0].servers[0]: operation \"t\" works on server \"web\", which is not in the "
            "inventory, and no operation of the plan creates it");
        HAS(stage_problems(s, WORKFLOW(TASKSERVS("t", "'os'", ""), "")),
            "operation \"t\" has no server to work on");
}

Test(clusters, are_their_taskservs)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
        struct plan *p = stage_plan(s, WORKFLOW(
                SERVERS("c", "'a','b'") ",{'id':'k','type':'create','target':'cluster',"
                "'items':['blue'],'depends_on':['c']}",
                ",'clusters':[{'name':'blue','servers':['b'],'taskservs':['containerd']}]"));

        cr_assert_str_eq(stage_order(s), "c/a c/b k/os@b k/containerd@b");
        cr_assert_str_eq(task_by_id(p, "k/containerd@b")->item, "blue");
        HAS(stage_problems(s, WORKFLOW(
                SERVERS("c", "'a'") ",{'id':'k','type':'create','target':'cluster',"
                "'items':['blue'],'depends_on':['c']}",
                ",'clusters':[{'name':'blue','servers':['a'],'taskservs':['os'],"
                "'manifests':['x.yaml']}]")),
            "clusters[0].manifests: manifests of a cluster cannot be applied yet");
}

Test(inventory, owners_and_claims)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
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
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
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
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
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
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
        struct plan *p = stage_plan(s, WORKFLOW(
                SERVERS("c", "'a'") ","
                "{'id':'u','type':'update','target':'server','items':['a'],'depends_on':['c']},"
                "{'id':'d','type':'delete','target':'server','items':['a'],'depends_on':['u']}", ""));

        cr_assert_str_eq(stage_order(s), "c/a u/a d/a");
        cr_assert_str_eq(verb_of(p, "u/a"), "update");
}

Test(inventory, servers_do_not_move)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();

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
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
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

Test(dependencies, between_resources)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
        struct plan *p;
        static const char operations[] = "'operations':[" SERVERS("c", "'a','b','d'") "]";
        char text[1000];

        snprintf(text, sizeof(text), "{'name':'shop',%s,'dependencies':["
                 "{'source':'server.a','target':'server.b','type':'hard'},"
                 "{'source':'server.b','target':'server.d','type':'soft'},"
                 "{'source':'server.b','target':'taskserv.none@a','type':'optional'}]}", operations);
        p = stage_plan(s, text);
        cr_assert_str_eq(stage_order(s), "c/d c/b c/a");
        cr_assert_eq(task_by_id(p, "c/a")->n_soft, 0);
        cr_assert_eq(task_by_id(p, "c/b")->n_soft, 1);
        snprintf(text, sizeof(text), "{'name':'shop',%s,'dependencies':["
                 "{'source':'server.a','target':'server.b'},"
                 "{'source':'server.a','target':'taskserv.q@a'}]}", operations);
        stage_problems(s, text);
        HAS(s->shown, "dependencies[1].target: there is no resource \"taskserv.q@a\"");
        snprintf(text, sizeof(text), "{'name':'shop',%s,'dependencies':["
                 "{'source':'server.a','target':'server.b'},"
                 "{'source':'server.b','target':'server.a'}]}", operations);
        HAS(stage_problems(s, text), "operations[0].items[0]: tasks wait for each other in a circle: "
                                    "c/a -> c/b -> c/a");
}

/* Knows one mistake: an expression that ends in ==. */
static int32_t check_fake(void *instance, struct prvng_call *call, const void *expression,
                          uint64_t n_expression, const void *names, uint64_t n_names)
{
        const char *end = (const char *)expression + n_expression;
        int32_t *asked = instance;
        struct op_reply *reply = op_call_of(call)->reply;

        (*asked)++;
        if (n_expression == 4 && memcmp(expression, "slow", 4) == 0) {
                reply->message = strdup("it took too long");
                return PRVNG_TRANSIENT;
        }
        cr_assert_eq(n_names, strlen("[\"outputs\",\"resource\"]"));
        cr_assert_eq(memcmp(names, "[\"outputs\",\"resource\"]", n_names), 0);
        if (n_expression < 2 || memcmp(end - 2, "==", 2) != 0)
                return PRVNG_DONE;
        reply->message = strdup("unexpected end, line 1, column 9");
        return PRVNG_PERMANENT;
}

static int32_t evaluate_fake(void *instance, struct prvng_call *call, const void *expression,
                             uint64_t n_expression, const void *variables, uint64_t n_variables,
                             struct prvng_sink *result)
{
        cr_assert_fail("a plan evaluates nothing");
        return PRVNG_INTERNAL;
}

static struct plugin *evaluator(struct stage *s, int32_t *asked)
{
        struct plugin *p = stage_plugin(s, "template", "fake", NULL);

        p->instance = asked;
        p->template_ = (struct prvng_template){.struct_size = sizeof(p->template_),
                                               .evaluate = evaluate_fake, .check = check_fake};
        return p;
}

#define SOURCE(s, t, more) "{'source':'" s "','target':'" t "'" more "}"
#define UNTIL(text) ",'wait_condition':'" text "'"

Test(conditions, are_what_tasks_wait_for)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
        _cleanup_(cleanup_buf) struct buf b = BUF_NULL;
        int32_t asked = 0;
        struct plan *p;
        static const char operations[] =
                "'operations':[" SERVERS("c", "'a','b'") ","
                TASKSERVS("t", "'os'", ",'servers':['a','b']") ",{'id':'d','type':'delete',"
                "'target':'taskserv','items':['docker'],'servers':['a']}]";
        char text[2000];

        evaluator(s, &asked);
        stage_resource(s, "taskserv.docker@a", "shop", "taskserv/docker", "{}");
        stage_resource(s, "server.old", "shop", "provider/local", "{'name':'old'}");
        snprintf(text, sizeof(text), "{'name':'shop',%s,'servers':[{'name':'a'},{'name':'b'},"
                 "{'name':'old'}],'dependencies':["
                 SOURCE("server.b", "server.a", UNTIL("outputs.state == \\\"up\\\"")) ","
                 SOURCE("server.b", "server.old", ",'type':'soft'" UNTIL("outputs.ip")) ","
                 SOURCE("server.b", "server.a", UNTIL("outputs.state == \\\"up\\\"")) ","
                 SOURCE("server.a", "server.old", UNTIL("")) ","
                 SOURCE("taskserv.docker@a", "server.b", UNTIL("outputs.ip")) ","
                 SOURCE("taskserv.os", "server.old", UNTIL("outputs.ip")) "]}", operations);
        p = stage_plan(s, text);
        cr_assert_str_eq(task_by_id(p, "c/b")->waits,
                         "[{\"on\":\"server.a\",\"until\":\"outputs.state == \\\"up\\\"\"},"
                         "{\"on\":\"server.old\",\"until\":\"outputs.ip\"}]");
        cr_assert_null(task_by_id(p, "c/a")->waits);
        cr_assert_null(task_by_id(p, "d/docker@a")->waits, "what goes waits for nothing");
        for (char server = 'a'; server <= 'b'; server++) {
                char id[] = "t/os@?";

                id[5] = server;
                cr_assert_str_eq(task_by_id(p, id)->waits,
                                 "[{\"on\":\"server.old\",\"until\":\"outputs.ip\"}]");
        }
        cr_assert_eq(asked, 2, "each text is checked once, not %d times in all", asked);
        cr_assert(task_after(p, "c/b", "c/a"));
        cr_assert_eq(plan_text(p, &b), 0);
        HAS(buf_str(&b), "\n                 waits until outputs.state == \"up\" on server.a\n"
                         "                 waits until outputs.ip on server.old\n");
        HAS(stage_json(s), "\"waits\":[{\"on\":\"server.old\",\"until\":\"outputs.ip\"}]");
        HAS(s->shown, "\"waits\":[],");
}

Test(conditions, of_a_taskserv_wherever_it_goes)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
        int32_t asked = 0;
        struct plan *p;

        evaluator(s, &asked);
        p = stage_plan(s, WORKFLOW(SERVERS("c", "'a','b','z'") ","
                                   TASKSERVS("t", "'resolv'", ",'servers':['a','b']"),
                                   ",'dependencies':[" SOURCE("taskserv.resolv", "server.z", "")
                                   "," SOURCE("taskserv.os", "server.z", UNTIL("outputs.ok")) "]"));
        cr_assert(task_after(p, "t/resolv@a", "c/z"));
        cr_assert(task_after(p, "t/resolv@b", "c/z"));
        cr_assert_null(task_by_id(p, "t/resolv@a")->waits);
        cr_assert_not_null(task_by_id(p, "t/os@a")->waits, "an implied task has conditions too");
        HAS(stage_problems(s, WORKFLOW(SERVERS("c", "'a'"), ",'dependencies':["
                                       SOURCE("taskserv.nothing", "server.a", "") "]")),
            "dependencies[0].source: there is no resource \"taskserv.nothing\"");
        stage_resource(s, "taskserv.docker@b", "shop", "taskserv/docker", "{}");
        stage_plan(s, WORKFLOW(SERVERS("c", "'a'"), ",'dependencies':["
                               SOURCE("taskserv.docker", "server.a", "") "]"));
}

Test(conditions, are_checked_before_anything_runs)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
        int32_t asked = 0;
        struct plugin *fake;
        static const char wrong[] = WORKFLOW(SERVERS("c", "'a','b'"), ",'dependencies':["
                SOURCE("server.a", "server.b", UNTIL("outputs ==")) "]");

        HAS(stage_problems(s, wrong), "dependencies[0].wait_condition: a condition needs a plugin that "
                                      "evaluates expressions, such as jinja2, and there is none");
        fake = evaluator(s, &asked);
        HAS(stage_problems(s, wrong), "dependencies[0].wait_condition: no condition that could become "
                                      "true: unexpected end, line 1, column 9 of the expression\n");
        cr_assert_gt(s->problems.list[0].line, 1);
        stage_plan(s, WORKFLOW(SERVERS("c", "'a','b'"), ",'dependencies':["
                               SOURCE("server.a", "server.b", UNTIL("slow")) "]"));
        cr_assert(noticed(s->plan, "the condition \"slow\" could not be checked: it took too long"));
        fake->template_.struct_size = 0; /* as in a program that did not load it */
        stage_plan(s, wrong);
        fake->state = PLUGIN_REFUSED;
        fake->reason = strdup("its file is not there");
        HAS(stage_problems(s, wrong), "such as jinja2, which is refused: its file is not there; see");
}

#define STORED(store) WORKFLOW(SERVERS("c", "'a'"), ",'monitoring':{'state_store':'" store "'}")

Test(stores, are_chosen_among_those_that_the_site_has)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
        struct plugin *rkvs;

        cr_assert_null(stage_plan(s, WORKFLOW(SERVERS("c", "'a'"), ""))->store);
        cr_assert_eq(s->plan->n_notices, 0, "the default of the schema is not missed");
        cr_assert_null(stage_plan(s, STORED("file"))->store, "it is the home store");
        HAS(stage_problems(s, STORED("rkvs")), "monitoring.state_store: this site has no store \"rkvs\" that "
                                               "could be used; it has: file");
        rkvs = stage_plugin(s, "store", "rkvs", NULL);
        cr_assert_str_eq(stage_plan(s, STORED("rkvs"))->store, "rkvs");
        cr_assert_null(stage_plan(s, WORKFLOW(SERVERS("c", "'a'"), ""))->store);
        HAS(stage_problems(s, STORED("postgres")), "no store \"postgres\" that could be used; it has: file, "
                                                   "rkvs");
        rkvs->state = PLUGIN_DISABLED;
        HAS(stage_problems(s, STORED("rkvs")), "\"rkvs\" that could be used, it is disabled; it has: file");
        rkvs->state = PLUGIN_REFUSED;
        rkvs->reason = strdup("its file is gone");
        HAS(stage_problems(s, STORED("rkvs")), "could be used (its file is gone); it has: file");
}

Test(taskservs, removing_goes_the_other_way_round)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
        struct plan *p;

        stage_resource(s, "server.a", "shop", "provider/local", "{'name':'a'}");
        p = stage_plan(s, WORKFLOW(
                "{'id':'s','type':'delete','target':'server','items':['a']},"
                "{'id':'t','type':'delete','target':'taskserv','items':['os','resolv'],"
                "'servers':['a']}", ",'servers':[{'name':'a'}]"));
        cr_assert_str_eq(stage_order(s), "t/resolv@a t/os@a s/a");
        cr_assert(task_after(p, "s/a", "t/os@a"));
}

static void builds_on(struct resource *r, const char *keys)
{
        free((void *)(uintptr_t)r->builds_on);
        r->builds_on = strdup(keys);
}

Test(destroy, deletes_all_that_is_owned)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
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
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
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

Test(taskservs, size_from_a_plan_is_not_guessed)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
        struct plan *p = stage_plan(s, WORKFLOW(
                SERVERS("c", "'a'") "," TASKSERVS("k", "'kubernetes'", ",'depends_on':['c']"),
                ",'servers':[{'name':'a','plan':'4xCPU-8GB'}]"));

        cr_assert(noticed(p, "where its size comes from `plan`: a for taskserv kubernetes"));
        cr_assert_str_eq(task_by_id(p, "c/a")->spec, "{\"name\":\"a\",\"plan\":\"4xCPU-8GB\"}");
}

Test(inventory, taskservs_of_a_server_that_is_gone)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();

        stage_resource(s, "taskserv.os@a", "other", "taskserv/os", "{'x':1}");
        stage_plan(s, WORKFLOW(SERVERS("c", "'a'") ","
                               TASKSERVS("t", "'resolv'", ",'depends_on':['c']"), ""));
        cr_assert_str_eq(stage_order(s), "c/a t/os@a t/resolv@a");
        cr_assert_null(task_by_id(s->plan, "t/os@a")->difference);
}

Test(plan, outlives_its_definition)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
        _cleanup_(cleanup_buf) struct buf b = BUF_NULL;

        stage_plan(s, WORKFLOW(SERVERS("c", "'a','b'") ","
                               TASKSERVS("t", "'resolv'", ",'depends_on':['c']") ","
                               "{'id':'k','type':'create','target':'cluster','items':['blue'],"
                               "'depends_on':['t']}",
                               ",'clusters':[{'name':'blue','servers':['b'],"
                               "'taskservs':['containerd']}]"));
        s->definition = definition_free(s->definition);
        s->document = document_free(s->document);
        cr_assert_eq(plan_text(s->plan, &b), 0);
        HAS(stage_json(s), "\"item\":\"blue\"");
}

/* Showing */

static void shown(struct stage *s, const char *format, struct buf *b)
{
        cr_assert_eq(plan_graph(s->plan, format, b), 0);
}

Test(show, json_resolves_joins)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
        _cleanup_(cleanup_json_decref) json_t *json = NULL;
        char error[JSON_PARSE_ERROR] = "";
        const json_t *task;
        const char *text;

        stage_plan(s, WORKFLOW(SERVERS("c", "'a','b'") "," SERVERS("d", "'e'") ","
                              TASKSERVS("t", "'os','resolv'", ",'depends_on':['c','d']"), ""));
        text = stage_json(s);
        cr_assert_eq(json_parse(text, strlen(text), &json, error), 0, "%s", error);
        cr_assert_eq(json_array_size(json_object_get(json, "tasks")), 9);
        task = json_array_get(json_object_get(json, "tasks"), 6);
        cr_assert_str_eq(json_get_string(task, "id", ""), "t/resolv@a");
        cr_assert_str_eq(json_get_string(task, "operation", ""), "t");
        cr_assert_str_eq(json_get_string(task, "target", ""), "taskserv");
        cr_assert_str_eq(json_get_string(task, "item", ""), "resolv");
        cr_assert_str_eq(json_get_string(task, "server", ""), "a");
        cr_assert_str_eq(json_get_string(task, "plugin", ""), "taskserv/resolv");
        HAS(text, "{\"id\":\"t/resolv@a\",\"operation\":\"t\",\"item\":\"resolv\",");
        HAS(text, "\"depends_on\":[\"t/os@a\",\"c/a\",\"c/b\",\"d/e\"]");
        HAS(text, "\"forecast\":{\"calls\":[{\"plugin\":\"provider/local\",\"calls\":3,");
        LACKS(text, "(end)");
        LACKS(text, "(start)");
}

Test(show, json_names_operations_where_tasks_are_many)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
        _cleanup_(cleanup_buf) struct buf b = BUF_NULL;

        BUF_LIT(&b, "{'name':'shop','operations':[{'id':'c','type':'create','target':'server',"
                    "'items':[");
        for (int i = 0; i < 70; i++)
                buf_printf(&b, "%s'n%d'", i ? "," : "", i);
        BUF_LIT(&b, "]}," TASKSERVS("t", "'os'", ",'servers':['n1'],'depends_on':['c']") "]}");
        stage_plan(s, b.data);
        HAS(stage_json(s), "\"depends_on\":[\"c/*\"]");
}

Test(show, text_for_people)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
        _cleanup_(cleanup_buf) struct buf b = BUF_NULL;

        stage_resource(s, "server.a", "shop", "provider/local",
                      "{'name':'a','cpu':1,'memory':512,'disk':10}");
        stage_plan(s, WORKFLOW(SERVERS("create", "'a','b'") ","
                              TASKSERVS("install", "'resolv'", ",'depends_on':['create']") ","
                              "{'id':'remove','type':'delete','target':'server','items':['x']}",
                              ""));
        cr_assert_eq(plan_text(s->plan, &b), 0);
        HAS(b.data, "workflow shop (batch): 7 tasks in 3 operations, 3 steps\n");
        HAS(b.data, "  step 1    ~ server.a           provider/local\n"
                    "                 memory: 512 -> 1024\n");
        HAS(b.data, "install  create taskservs, after create\n");
        HAS(b.data, "  step 2    + taskserv.os@a      taskserv/os      implied: required by "
                    "taskserv resolv\n");
        HAS(b.data, "point of no return: step 1, delete server.x\ncannot be undone: server.x\n");
        HAS(b.data, "taskserv/os                    at least 2 calls, 16 at once\n");
        LACKS(b.data, "(end)");
}

Test(show, graphs)
{
        static const char *const formats[] = {"dot", "mermaid", "svg"};
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
        _cleanup_(cleanup_buf) struct buf none = BUF_NULL;

        stage_plan(s, WORKFLOW(SERVERS("create", "'a','b'") ","
                              TASKSERVS("install", "'resolv'", ",'depends_on':['create']"), ""));
        s->plan->name = "<shop & co>";
        for (size_t i = 0; i < N_ELEMENTS(formats); i++) {
                _cleanup_(cleanup_buf) struct buf b = BUF_NULL;

                shown(s, formats[i], &b);
                HAS(b.data, "create");
                HAS(b.data, "taskserv.os@a");
                LACKS(b.data, "(end)");
                if (i == 2) {
                        HAS(b.data, "&lt;shop &amp; co&gt;");
                        HAS(b.data, "marker-end");
                }
        }
        cr_assert_eq(plan_graph(s->plan, "png", &none), -EINVAL);
}

Test(owned, check_looks_at_all_and_changes_nothing)
{
        _cleanup_(cleanup_stage) struct stage *s = base_stage();
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
