/* SPDX-License-Identifier: Apache-2.0 */
/* Providers and taskservs against the world of their scenario: what an operation must come to. */
#include "scenario-tests.h"

const json_t *scenario_entry(struct check *c, size_t i)
{
        const json_t *e = json_array_get(scenario_get(c, "tasks"), i);

        if (!e)
                check_skip(c, "the scenario has no %s", i ? "such task" : "\"tasks\"");
        return e;
}

void scenario_count_is(struct check *c, int64_t want, const char *after)
{
        int64_t n = scenario_count(c);

        if (n != want)
                check_fail(c, "after %s there are %lld resources, there should be %lld", after, (long long)n,
                           (long long)want);
}

void answer_must_be(struct check *c, int32_t answer, int32_t want, const char *what)
{
        if (answer != want)
                check_fail(c, "%s is answered %s, it should be %s", what, class_name(answer), class_name(want));
}

const json_t *scenario_stage(struct check *c, struct subject *ret_s, int64_t *ret_base)
{
        const json_t *e;

        scenario_start(c);
        e = scenario_entry(c, 0);
        *ret_base = scenario_count(c);
        subject_start(c, ret_s);
        return e;
}

void drive_in_child(struct check *c, void *userdata)
{
        struct ledger *l = userdata;
        struct subject s;

        subject_start(c, &s);
        ledger_drive(&s, l);
        subject_stop(&s);
}

/* --- the life of a resource --- */

/* list() must find by each mark, and not by another's. */
static void check_marks(struct subject *s, const struct ledger *l)
{
        struct check *c = s->check;
        char filter[256];
        json_t *o, *task = json_loads(l->task, 0, NULL);
        const json_t *first;

        if (!s->op.list) {
                check_remark(c, "has no list(): orphans and surplus are never found");
                json_decref(task);
                return;
        }
        snprintf(filter, sizeof(filter), "{\"op_id\":\"%s\"}", l->op_id);
        list_by(s, filter, &o);
        first = json_array_get(json_object_get(o, "resources"), 0);
        if (json_array_size(json_object_get(o, "resources")) != 1)
                check_fail(c, "list() by op id finds %zu resources, there is one",
                           json_array_size(json_object_get(o, "resources")));
        else if (!streq(json_get_string(first, "name", ""), json_get_string(task, "name", "")) ||
                 !streq(json_get_string(first, "kind", ""), json_get_string(task, "kind", "")) ||
                 !json_object_get(first, "identity"))
                check_fail(c, "list() finds a resource without its kind, name or identity");
        json_decref(o);
        list_by(s, "{\"workflow\":\"no-such-workflow\"}", &o);
        if (json_array_size(json_object_get(o, "resources")) != 0)
                check_fail(c, "list() finds resources of a workflow that made none");
        json_decref(o);
        json_decref(task);
}

static int32_t read_state(struct subject *s, json_t *task)
{
        char *text = json_dumps(task, JSON_COMPACT);
        struct act a;
        int32_t answer;

        act_init(&a, s, NULL, 1, 30000);
        answer = act_read(&a, text, strlen(text));
        act_deinit(&a);
        free(text);
        json_decref(task);
        return answer;
}

static bool has_drift(const struct ledger *l)
{
        json_t *o = json_loads(l->result, 0, NULL);
        bool yes = json_array_size(json_object_get(o, "drift")) > 0;

        json_decref(o);
        return yes;
}

static void live(struct subject *s, struct ledger *l, const json_t *e, int64_t base)
{
        struct check *c = s->check;
        char *made;

        answer_must_be(c, run_operation(s, l, "create", task_create(c, e, "")), PRVNG_DONE, "create");
        scenario_count_is(c, base + task_counts(e), "create");
        check_marks(s, l);
        made = strdup(l->result);
        answer_must_be(c, run_operation(s, l, "create", task_known(c, e, "", made)), PRVNG_UNCHANGED,
                "create of what is there");
        scenario_count_is(c, base + task_counts(e), "a second create");
        answer_must_be(c, run_operation(s, l, "check", task_known(c, e, "", made)), PRVNG_UNCHANGED,
                "check of what is as it should be");
        if (s->op.read)
                answer_must_be(c, read_state(s, task_known(c, e, "", made)), PRVNG_DONE, "read of what is there");
        if (json_object_get(e, "update")) {
                run_operation(s, l, "update", task_update(c, e, "", made));
                scenario_count_is(c, base + task_counts(e), "update");
                answer_must_be(c, run_operation(s, l, "check", task_update(c, e, "", made)), PRVNG_UNCHANGED,
                        "check after an update");
                run_operation(s, l, "check", task_known(c, e, "", made));
                if (!has_drift(l))
                        check_fail(c, "check does not tell that an update changed the resource: \"drift\" is empty");
        }
        answer_must_be(c, run_operation(s, l, "delete", task_known(c, e, "", made)), PRVNG_DONE, "delete");
        scenario_count_is(c, base, "delete");
        answer_must_be(c, run_operation(s, l, "delete", task_known(c, e, "", made)), PRVNG_UNCHANGED,
                "delete of what is gone");
        if (s->op.read)
                answer_must_be(c, read_state(s, task_known(c, e, "", made)), PRVNG_NOT_FOUND, "read of what is gone");
        run_operation(s, l, "check", task_known(c, e, "", made));
        if (!has_drift(l))
                check_fail(c, "check does not tell that the resource is gone: \"drift\" is empty");
        free(made);
}

static void test_life(struct check *c)
{
        struct ledger *l = ledger_new(c);
        struct subject s;
        int64_t base;

        scenario_start(c);
        scenario_entry(c, 0);
        base = scenario_count(c);
        subject_start(c, &s);
        for (size_t i = 0; i < json_array_size(scenario_get(c, "tasks")); i++)
                live(&s, l, scenario_entry(c, i), base);
        subject_stop(&s);
}

static void test_unchanged(struct check *c)
{
        struct ledger *l = ledger_new(c);
        struct trace *before;
        struct subject s;

        scenario_start(c);
        scenario_entry(c, 0);
        before = trace_take(c);
        subject_start(c, &s);
        run_operation(&s, l, "create", task_create(c, scenario_entry(c, 0), ""));
        run_operation(&s, l, "delete", task_known(c, scenario_entry(c, 0), "", l->result));
        subject_stop(&s);
        trace_compare(c, before, "create and delete of a resource");
}

static void test_undo(struct check *c)
{
        struct ledger *l = ledger_new(c);
        const json_t *e;
        struct subject s;
        int64_t base;
        char *made;

        e = scenario_stage(c, &s, &base);
        run_operation(&s, l, "create", task_create(c, e, ""));
        made = strdup(l->result);
        if (json_object_get(e, "update")) {
                run_operation(&s, l, "update", task_update(c, e, "", made));
                run_operation(&s, l, "update", task_known(c, e, "", l->result)); /* back */
                answer_must_be(c, run_operation(&s, l, "check", task_known(c, e, "", made)), PRVNG_UNCHANGED,
                        "check after an update was undone");
        }
        run_operation(&s, l, "delete", task_known(c, e, "", made));
        scenario_count_is(c, base, "everything was undone");
        free(made);
        subject_stop(&s);
}

/* --- once only --- */

static void test_same_op_id(struct check *c)
{
        struct ledger *l = ledger_new(c);
        const json_t *e;
        struct subject s;
        struct act a;
        int64_t base, wait;

        e = scenario_stage(c, &s, &base);
        if (s.plugin->flags & PRVNG_PLUGIN_BEGIN_NOT_IDEMPOTENT)
                check_skip(c, "declares that a second begin() may act twice");
        ledger_start(c, l, "create", task_create(c, e, ""));
        ledger_step(&s, l, &wait);
        ledger_step(&s, l, &wait);
        if (s.plugin->settle_ms > 0) { /* then nobody begins again who has not asked, and waited */
                check_sleep_ms(settle_of(&s));
                act_init(&a, &s, l->op_id, 1, 30000);
                act_observe(&a, l->verb, l->request, l->n_request, NULL, 0);
                if (a.answer == PRVNG_OBSERVED_NOT_STARTED && l->state >= LEDGER_TOKEN)
                        check_fail(c, "observe() does not find what begin() began, %lld ms (settle_ms) later",
                                   (long long)settle_of(&s));
                act_deinit(&a);
        } else {
                act_init(&a, &s, l->op_id, 2, 30000);
                act_begin(&a, l->verb, l->request, l->n_request);
                act_deinit(&a);
        }
        ledger_drive(&s, l);
        scenario_count_is(c, base + task_counts(e), "two begin() with one op id");
        run_operation(&s, l, "delete", task_known(c, e, "", l->result));
        scenario_count_is(c, base, "delete of what two begin() made");
        subject_stop(&s);
}

/* --- secrets --- */

static void test_secrets(struct check *c)
{
        struct ledger *l = ledger_new(c);
        const json_t *e;
        char path[256];
        struct subject s;

        if (!json_array_size(scenario_get(c, "secrets")))
                check_skip(c, "the scenario names no \"secrets\"");
        scenario_start(c);
        e = scenario_entry(c, 0);
        subject_start(c, &s);
        run_operation(&s, l, "create", task_create(c, e, "")); /* the host looks at all that passes */
        run_operation(&s, l, "check", task_known(c, e, "", l->result));
        run_operation(&s, l, "delete", task_known(c, e, "", l->result));
        subject_stop(&s);
        snprintf(path, sizeof(path), "%s/state", c->folder);
        world_look_into(c, path);
}

const struct test scenario_tests[] = {
        {"scenario/life", KINDS, "makes, checks, changes, lists and deletes a resource", test_life, 300,
         TEST_SCENARIO},
        {"scenario/undo", KINDS, "leaves nothing behind when everything is undone", test_undo, 300,
         TEST_SCENARIO},
        {"scenario/same-op-id", KINDS, "makes one resource of one op id", test_same_op_id, 300, TEST_SCENARIO},
        {"scenario/secrets", KINDS, "keeps secrets to itself", test_secrets, 300, TEST_SCENARIO},
        {"scenario/process-unchanged", KINDS, "leaves its process as it was after real work", test_unchanged, 300,
         TEST_SCENARIO},
        {0},
};
