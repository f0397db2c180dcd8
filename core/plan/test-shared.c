/* SPDX-License-Identifier: Apache-2.0 */
/* Networks and security groups that servers share. */
#include "base/json.h"
#include "journal/state.h"
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

/* A run in flight, from its records: one task on the network. */
static void fly(struct site *site, const char *verb, const char *status, const char *spec)
{
        static char doc[256];
        struct record accepted = {.type = RECORD_ACCEPTED, .run = {.bytes = {7}}, .name = span_of("infra"),
                                  .kind = span_of("batch"), .store = span_of("file"),
                                  .stream = span_of("run-x"), .who = span_of("{}"),
                                  .claims = span_of("[\"network.private@cloud\"]")};
        struct record records[] = {
                {.type = RECORD_RUN, .run = {.bytes = {7}}, .name = span_of("infra"), .kind = span_of("batch"),
                 .who = span_of("{}"), .logging = span_of("{}"), .options = span_of("{}"),
                 .notices = span_of("[]"), .backoff = span_of("linear"), .max_attempts = 1},
                {.type = RECORD_LANE, .plugin = span_of("provider/cloud")},
                {.type = RECORD_OPERATION, .id = span_of("o"), .verb = span_of(verb),
                 .target = span_of("server"), .on_failure = span_of("fail"), .timeout = 10},
                {.type = RECORD_TASK, .id = span_of("o/n"), .verb = span_of(verb),
                 .key = span_of("network.private@cloud"), .doc = span_of(doc)},
                {.type = RECORD_PLANNED, .n_tasks = 1},
                {.type = RECORD_INTENT, .op_id = {.bytes = {9}}, .request = span_of("{}")},
                {.type = RECORD_DONE, .answer = 0, .outputs = span_of("{}")},
        };
        struct run *run;

        snprintf(doc, sizeof(doc), "{\"kind\":\"network\",\"name\":\"private\",\"spec\":%s}", spec);
        records[3].doc = span_of(doc);
        cr_assert_eq(site_apply(site, &accepted), 0);
        run = site->runs[0];
        run->loaded = true;
        for (size_t i = 0; i < N_ELEMENTS(records) - (streq(status, "running") ? 1 : 0); i++) {
                records[i].seq = i + 1;
                cr_assert_eq(run_apply(run, site, &records[i]), 0, "%zu", i);
        }
}

#define SAME "{\"name\":\"private\",\"zone\":\"z1\"}"
#define SHOP WORKFLOW("'a'", ",'servers':[{'name':'a','zone':'z1'}]")

static struct resource *claimed_by(struct stage *s, struct site *site, const char *workflow, const char *spec)
{
        struct resource *r = stage_resource(s, "network.private@cloud", workflow, "provider/cloud", spec);

        r->claim = strdup(site->runs[0]->id_text);
        r->claim_workflow = strdup("infra");
        s->runs = site;
        return r;
}

/* What a run in flight makes is used by another one that wants the same. */
Test(shared, with_a_run_in_flight)
{
        _cleanup_(cleanup_stage) struct stage *s = cloud_stage();
        struct site site = SITE_NULL;
        const struct plan_task *t;
        const char *text;
        struct plan *p;

        fly(&site, "create", "running", SAME);
        claimed_by(s, &site, NULL, "{}");
        p = stage_plan(s, SHOP);
        t = task_by_id(p, NETWORK);
        cr_assert(t && t->shared && t->verb == PLAN_CREATE);
        cr_assert(!task_by_id(p, GROUP)->shared, "nobody claims that");
        cr_assert_eq(p->n_notices, 1);
        HAS(p->notices[0], "network.private@cloud is shared with run ");
        HAS(p->notices[0], site.runs[0]->id_text);
        text = stage_problems(s, WORKFLOW("'a'", ",'servers':[{'name':'a','zone':'z2'}]"));
        HAS(text, "network.private@cloud is needed by workflow \"shop\", but run ");
        HAS(text, "of workflow \"infra\", which has not ended, makes another one of that name (zone: there "
                  "\"z1\", here \"z2\")");
        HAS(text, "prvng batch cancel");
        site_deinit(&site);
}

/* What it changes or deletes cannot be shared; what it is done with is used as it stands. */
Test(shared, with_a_run_in_flight_that_does_something_else)
{
        static const struct {
                const char *verb, *status, *problem;
        } cases[] = {{"delete", "running", "is needed, and claimed by run"},
                     {"update", "done", "is needed, and claimed by run"},
                     {"create", "running", "is needed, and claimed by run"},
                     {"create", "done", NULL}};

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                _cleanup_(cleanup_stage) struct stage *s = cloud_stage();
                struct site site = SITE_NULL;

                fly(&site, cases[i].verb, cases[i].status, SAME);
                claimed_by(s, &site, "infra", SAME);
                if (cases[i].problem) {
                        HAS(stage_problems(s, SHOP), cases[i].problem);
                } else {
                        stage_plan(s, SHOP);
                        LACKS(stage_order(s), "network.private");
                        HAS(uses(s->plan, "c/a"), "network.private@cloud ");
                }
                site_deinit(&site);
        }
}

/* Two runs of one workflow: alike, or an update, which has to wait. */
Test(shared, with_another_run_of_the_same_workflow)
{
        _cleanup_(cleanup_stage) struct stage *s = cloud_stage();
        struct site site = SITE_NULL;
        struct plan *p;

        fly(&site, "create", "done", SAME);
        claimed_by(s, &site, "shop", SAME);
        p = stage_plan(s, SHOP);
        cr_assert(task_by_id(p, NETWORK)->shared);
        HAS(stage_problems(s, WORKFLOW("'a'", ",'servers':[{'name':'a','zone':'z1'}],'networks':[{'name':'private',"
                                              "'address':'10.4.0.0/24'}]")),
            "address: there null, here \"10.4.0.0/24\"");
        site_deinit(&site);
}

/* The claim is a run's that waited for it; destroy of the owner leaves it, and says why. */
Test(shared, destroy_leaves_what_a_run_in_flight_has_the_claim_of)
{
        _cleanup_(cleanup_stage) struct stage *s = cloud_stage();
        struct site site = SITE_NULL;
        struct plan *p = NULL;

        fly(&site, "create", "done", SAME);
        claimed_by(s, &site, "shop", SAME);
        stage_resource(s, "server.a", "shop", "provider/cloud", "{}");
        cr_assert_eq(plan_destroy(stage_request(s), "shop", &s->problems, &p), 0);
        cr_assert_eq(s->problems.n, 0);
        cr_assert_eq(p->n_tasks, 1);
        cr_assert_str_eq(p->tasks[0].resource, "server.a");
        HAS(p->notices[0], "network.private@cloud stays: run ");
        HAS(p->notices[0], "of workflow \"infra\", which has not ended, uses it");
        plan_free(p);
        site_deinit(&site);
}
