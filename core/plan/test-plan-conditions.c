/* SPDX-License-Identifier: Apache-2.0 */
/* Dependencies between resources and the conditions that tasks wait for. */
#include "plan/test-plan-shop.h"
#include "plugin/border.h"

#include <criterion/criterion.h>

Test(dependencies, between_resources)
{
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
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
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
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
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
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
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
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
