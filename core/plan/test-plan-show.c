/* SPDX-License-Identifier: Apache-2.0 */
/* A plan as text, JSON and pictures. */
#include "base/json.h"
#include "plan/test-plan-shop.h"

#include <criterion/criterion.h>

static void shown(struct stage *s, const char *format, struct buf *b)
{
        cr_assert_eq(plan_graph(s->plan, format, b), 0);
}

Test(show, json_resolves_joins)
{
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
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
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
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
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
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
        _cleanup_(cleanup_stage) struct stage *s = stage_shop();
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
