/* SPDX-License-Identifier: Apache-2.0 */
/* Networks and security groups that servers share. */
#include "base/json.h"
#include "plan/test-plan-stage.h"

#include <criterion/criterion.h>

#define WORKFLOW(items, more)                                                                      \
        "{'name':'shop','operations':[{'id':'c','type':'create','target':'server','items':[" items \
        "]}]" more "}"

#define RULES "\"rules\":[{\"action\":\"accept\",\"direction\":\"in\",\"port\":22,\"protocol\":\"tcp\"},"     \
              "{\"action\":\"accept\",\"direction\":\"in\",\"protocol\":\"icmp\"}]"

static struct stage *cloud_stage(void)
{
        struct stage *s = stage_new();

        stage_plugin(s, "provider", "cloud",
                     "{'requires_network':true,'network_before_servers':true,"
                     "'shared_resources':['private_network','security_group']}");
        stage_plugin(s, "provider", "other", "{}");
        free(s->config.provider);
        s->config.provider = strdup("cloud");
        return s;
}

static const char *spec_of(const struct plan *p, const char *id)
{
        const struct plan_task *t = task_by_id(p, id);

        cr_assert_not_null(t, "there is no task %s", id);
        return t->spec;
}

/* Keys that a task uses, each followed by a space. */
static const char *uses(const struct plan *p, const char *id)
{
        static char text[512];
        const struct plan_task *t = task_by_id(p, id);

        text[0] = 0;
        for (uint32_t i = 0; i < t->n_uses; i++) {
                strcat(text, p->uses[t->first_use + i]);
                strcat(text, " ");
        }
        return text;
}

#define NETWORK "(implied)/network.private@cloud"
#define GROUP "(implied)/security_group.default@cloud"

Test(shared, without_a_definition)
{
        _cleanup_(cleanup_stage) struct stage *s = cloud_stage();
        struct plan *p = stage_plan(s, WORKFLOW("'a','b'", ",'servers':[{'name':'a','zone':'z1'},"
                                                           "{'name':'b','zone':'z1'}]"));

        cr_assert_str_eq(spec_of(p, NETWORK), "{\"name\":\"private\",\"zone\":\"z1\"}");
        cr_assert_str_eq(spec_of(p, GROUP), "{\"name\":\"default\"," RULES "}");
        p = stage_plan(s, WORKFLOW("'a','b','d'", ",'servers':[{'name':'a','zone':'z2'},"
                                                  "{'name':'b','zone':'z1'}]"));
        cr_assert_str_eq(spec_of(p, NETWORK), "{\"name\":\"private\",\"zones\":[\"z1\",\"z2\"]}");
        p = stage_plan(s, WORKFLOW("'a'", ""));
        cr_assert_str_eq(spec_of(p, NETWORK), "{\"name\":\"private\"}");
}

/* What the definition says of the shared ones, and its own blocks of other providers left out. */
Test(shared, defined)
{
        _cleanup_(cleanup_stage) struct stage *s = cloud_stage();
        struct plan *p = stage_plan(
                s, WORKFLOW("'a'", ",'servers':[{'name':'a','zone':'z1'}],'networks':["
                                   "{'name':'private','address':'10.1.0.0/24','provider':'other'},"
                                   "{'name':'private','address':'10.8.0.0/22','zone':'z9','other':{'x':1},"
                                   "'cloud':{'router':true}}],"
                                   "'security_groups':[{'name':'default','rules':[]}]"));

        cr_assert_str_eq(spec_of(p, NETWORK), "{\"name\":\"private\",\"zone\":\"z9\","
                                              "\"address\":\"10.8.0.0/22\",\"cloud\":{\"router\":true}}");
        cr_assert_str_eq(spec_of(p, GROUP), "{\"name\":\"default\",\"rules\":[]}");
}

Test(shared, servers_name_more_of_them)
{
        _cleanup_(cleanup_stage) struct stage *s = cloud_stage();
        struct plan *p;

        stage_resource(s, "network.backbone@cloud", "infra", "provider/cloud", "{'name':'backbone'}");
        p = stage_plan(s, WORKFLOW("'a','b'",
                                   ",'servers':[{'name':'a','zone':'z1','networks':['db','backbone','isp'],"
                                   "'security_groups':['web']},{'name':'b','zone':'z2'}],"
                                   "'networks':[{'name':'db'},{'name':'unused'}],"
                                   "'security_groups':[{'name':'web','rules':[{'port':443}]}]"));
        cr_assert_str_eq(stage_order(s), NETWORK " (implied)/network.db@cloud " GROUP
                                         " (implied)/security_group.web@cloud c/a c/b");
        cr_assert_str_eq(spec_of(p, "(implied)/network.db@cloud"), "{\"name\":\"db\",\"zone\":\"z1\"}");
        cr_assert_str_eq(task_by_id(p, "(implied)/network.db@cloud")->reason, "networks of server a");
        cr_assert_str_eq(uses(p, "c/a"),
                         "network.private@cloud security_group.default@cloud network.db@cloud "
                         "network.backbone@cloud security_group.web@cloud ");
        cr_assert_str_eq(uses(p, "c/b"), "network.private@cloud security_group.default@cloud ");
        cr_assert(task_after(p, "c/a", "(implied)/network.db@cloud"));
}

Test(shared, a_plugin_that_has_none)
{
        _cleanup_(cleanup_stage) struct stage *s = cloud_stage();
        struct plan *p;

        s->list[3].describe = json_pack("{s:[{s:s}]}", "resources", "kind", "server");
        cr_assert_str_eq(s->list[3].name, "other");
        p = stage_plan(s, WORKFLOW("'a'", ",'servers':[{'name':'a','provider':'other','networks':['db']}],"
                                          "'networks':[{'name':'db'}]"));
        cr_assert_str_eq(stage_order(s), "c/a");
        cr_assert_eq(p->n_notices, 1);
        HAS(p->notices[0], "network.db@other is left out: provider other has no networks");
}

/* The next run: equal is looked at, what differs is updated; what was not said stays as it is. */
Test(shared, the_next_run)
{
        _cleanup_(cleanup_stage) struct stage *s = cloud_stage();
        const struct plan_task *t;
        struct plan *p;

        stage_resource(s, "network.private@cloud", "shop", "provider/cloud",
                       "{'name':'private','address':'10.3.0.0/24','zone':'z1'}");
        stage_resource(s, "security_group.default@cloud", "shop", "provider/cloud",
                       "{'name':'default','rules':[]}");
        p = stage_plan(s, WORKFLOW("'a'", ",'servers':[{'name':'a','zone':'z1'}]"));
        t = task_by_id(p, NETWORK);
        cr_assert_eq(t->verb, PLAN_CREATE);
        cr_assert_null(t->difference, "%s", t->difference);
        t = task_by_id(p, GROUP);
        cr_assert_eq(t->verb, PLAN_UPDATE);
        HAS(t->difference, "{\"path\":\"rules[0]\",\"from\":null,");
        /* Another zone is added, none is taken away while servers may be there. */
        p = stage_plan(s, WORKFLOW("'b'", ",'servers':[{'name':'b','zone':'z0'}]"));
        HAS(spec_of(p, NETWORK), "\"zones\":[\"z0\",\"z1\"]");
        p = stage_plan(s, WORKFLOW("'b'", ",'servers':[{'name':'b','zone':'z2'}]"));
        HAS(spec_of(p, NETWORK), "\"zones\":[\"z1\",\"z2\"]");
}

Test(shared, another_workflow_s_is_used_as_it_stands)
{
        _cleanup_(cleanup_stage) struct stage *s = cloud_stage();
        struct resource *r = stage_resource(s, "network.private@cloud", "infra", "provider/cloud",
                                            "{'name':'private','address':'10.3.0.0/24'}");
        const char *text;

        stage_plan(s, WORKFLOW("'a'", ",'networks':[{'name':'private'}]"));
        LACKS(stage_order(s), "network.private");
        HAS(uses(s->plan, "c/a"), "network.private@cloud ");
        text = stage_problems(s, WORKFLOW("'a'", ",'networks':[{'name':'private','address':'10.4.0.0/24'}]"));
        HAS(text, "networks[0].address: network.private@cloud belongs to workflow \"infra\", and its address "
                  "is not the one given here");
        r->claim = strdup("01RUN");
        r->claim_workflow = strdup("infra");
        HAS(stage_problems(s, WORKFLOW("'a'", "")),
            "network.private@cloud is needed, and claimed by run 01RUN of workflow \"infra\", which may "
            "change or delete it: wait for it");
}
