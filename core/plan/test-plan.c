/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/test-plan-shop.h"

#include <criterion/criterion.h>

Test(plan, the_example_of_the_project)
{
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
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

Test(operations, circle_is_told_with_its_path_and_place)
{
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
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
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
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
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
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
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
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
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
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
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();

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
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
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
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
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
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();

        HAS(stage_problems(s, WORKFLOW(SERVERS("one", "'a'") "," SERVERS("two", "'a'"), "")),
            "operations[1].items[0]: operations \"one\" and \"two\" both work on server.a, and "
            "neither waits for the other");
}

Test(plugins, missing_refused_and_disabled)
{
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
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
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
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
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
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
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
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
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
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
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
        struct plan *p = stage_plan(s, WORKFLOW(
                SERVERS("c", "'a'") "," TASKSERVS("t", "'os'", ",'depends_on':['c'],"
                                                  "'vars':{'b':2,'a':3}"),
                ",'vars':{'b':1,'z':0}"));

        cr_assert_str_eq(task_by_id(p, "t/os@a")->spec, "{\"a\":3,\"b\":2,\"z\":0}");
}

Test(servers, a_taskserv_needs_a_server)
{
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();

        HAS(stage_problems(s, WORKFLOW(TASKSERVS("t", "'os'", ",'servers':['web']"),
                                      ",'servers':[{'name':'web'}]")),
            "operations[0].servers[0]: operation \"t\" works on server \"web\", which is not in the "
            "inventory, and no operation of the plan creates it");
        HAS(stage_problems(s, WORKFLOW(TASKSERVS("t", "'os'", ""), "")),
            "operation \"t\" has no server to work on");
}

Test(clusters, are_their_taskservs)
{
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
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

#define STORED(store) WORKFLOW(SERVERS("c", "'a'"), ",'monitoring':{'state_store':'" store "'}")

Test(stores, are_chosen_among_those_that_the_site_has)
{
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
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

Test(plan, outlives_its_definition)
{
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
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
