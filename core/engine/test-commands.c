/* SPDX-License-Identifier: Apache-2.0 */
/* The engine over the fake driver: pause, retry, and a changed definition. */
#include "engine/test-fake.h"

/* Promise 8. */
Test(pause, holds_what_has_not_started_and_survives_a_crash)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 3, true, ON_FAILURE_FAIL, 0);
        cr_assert_eq(engine_pause(f.engine, f.run, "{}"), 0);
        cr_assert_eq(engine_pause(f.engine, f.run, "{}"), -ENOENT);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(f.n_calls, 0);
        cr_assert_eq(f.run->status, RUN_PAUSED);
        cr_assert(engine_is_idle(f.engine));
        crash(&f);
        cr_assert_eq(f.n_calls, 0);
        cr_assert_eq(f.run->status, RUN_PAUSED);
        cr_assert_eq(engine_resume(f.engine, f.run, "{}"), 0);
        cr_assert_not(engine_is_idle(f.engine));
        engine_schedule(f.engine);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(f.run->status, RUN_SUCCEEDED);
        fake_deinit(&f);
}

Test(pause, holds_a_further_attempt)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        answer(&f, CALL_BEGIN, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, 1000);
        engine_pause(f.engine, f.run, "{}");
        tick(&f, 60000);
        cr_assert_eq(f.n_calls, 0);
        cr_assert(engine_is_idle(f.engine));
        engine_resume(f.engine, f.run, "{}");
        tick(&f, 1);
        cr_assert_eq(answer(&f, CALL_BEGIN, PRVNG_DONE).attempt, 2);
        cr_assert_eq(f.run->status, RUN_SUCCEEDED);
        fake_deinit(&f);
}

Test(pause, holds_a_rollback)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 2, true, ON_FAILURE_FAIL, 0);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(engine_rollback(f.engine, f.run, 0, "{}"), 0);
        cr_assert_eq(engine_pause(f.engine, f.run, "{}"), 0);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(f.n_calls, 0);
        crash(&f);
        cr_assert_eq(f.n_calls, 0);
        engine_resume(f.engine, f.run, "{}");
        cr_assert_eq(f.run->status, RUN_ROLLING_BACK);
        engine_schedule(f.engine);
        engine_schedule(f.engine);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(f.run->status, RUN_ROLLED_BACK);
        fake_deinit(&f);
}

/* It need not be resumed for that: nobody would expect it to start anything then. */
Test(pause, a_paused_run_that_is_cancelled_ends)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 3, true, ON_FAILURE_FAIL, 0);
        engine_pause(f.engine, f.run, "{}");
        cr_assert_eq(engine_cancel(f.engine, f.run, "{}"), 0);
        cr_assert_eq(f.run->status, RUN_PAUSED, "what is in flight comes to its end");
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(f.run->status, RUN_CANCELLED);
        cr_assert_eq(f.n_calls, 0);
        cr_assert_eq(f.n_ended, 1);
        fake_deinit(&f);
}

Test(pause, a_paused_rollback_that_is_cancelled_ends_incomplete)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 3, true, ON_FAILURE_FAIL, 0);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(engine_rollback(f.engine, f.run, 0, "{}"), 0);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        engine_schedule(f.engine);
        engine_pause(f.engine, f.run, "{}");
        answer(&f, CALL_BEGIN, PRVNG_DONE); /* the first undo */
        cr_assert_eq(f.run->status, RUN_PAUSED);
        crash(&f);
        cr_assert_eq(engine_cancel(f.engine, f.run, "{}"), 0);
        engine_schedule(f.engine);
        cr_assert_eq(f.run->status, RUN_ROLLBACK_INCOMPLETE);
        cr_assert_eq(f.n_calls, 0);
        fake_deinit(&f);
}

Test(retry, does_again_what_failed_and_what_was_skipped)
{
        struct engine_call first, again;
        struct fake f;

        fake_init(&f);
        submit(&f, 3, true, ON_FAILURE_FAIL, 0);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        first = answer(&f, CALL_BEGIN, FAILS);
        cr_assert_eq(f.run->status, RUN_FAILED);
        reopen(&f);
        cr_assert_eq(engine_retry(f.engine, f.run, "nonsense", "{}"), -EINVAL);
        cr_assert_eq(engine_retry(f.engine, f.run, NULL, "{}"), 0);
        engine_schedule(f.engine);
        again = answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_str_eq(again.task, "op/t1");
        cr_assert_neq(memcmp(&first.op_id, &again.op_id, sizeof(first.op_id)), 0,
                      "a rerun is a request of its own");
        crash(&f);
        answer(&f, CALL_OBSERVE, PRVNG_OBSERVED_DONE);
        cr_assert_eq(f.run->status, RUN_SUCCEEDED);
        cr_assert_eq(f.run->n_by_status[TASK_SUCCEEDED], 3);
        fake_deinit(&f);
}

/* A new op id only once the old one is undone. */
Test(retry, first_removes_what_the_failed_attempt_left)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        answer(&f, CALL_BEGIN, PRVNG_PERMANENT, PRVNG_EFFECT_PARTIAL, 0, 0, NULL, "half");
        cr_assert_eq(f.run->status, RUN_FAILED);
        reopen(&f);
        engine_retry(f.engine, f.run, NULL, "{}");
        engine_schedule(f.engine);
        cr_assert_eq(verb_of(taken(&f, CALL_BEGIN)), PLAN_DELETE);
        crash(&f);
        answer(&f, CALL_OBSERVE, PRVNG_OBSERVED_DONE);
        cr_assert_eq(verb_of(answer(&f, CALL_BEGIN, PRVNG_DONE)), PLAN_CREATE);
        cr_assert_eq(f.run->status, RUN_SUCCEEDED);
        fake_deinit(&f);
}

Test(retry, of_one_operation)
{
        struct fake f;

        fake_init(&f);
        f.n_per_operation = 2;
        submit(&f, 4, false, ON_FAILURE_CONTINUE, 0);
        answer(&f, CALL_BEGIN, FAILS);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        answer(&f, CALL_BEGIN, FAILS);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(f.run->status, RUN_FAILED);
        reopen(&f);
        engine_retry(f.engine, f.run, "op2", "{}");
        engine_schedule(f.engine);
        cr_assert_eq(f.n_calls, 1);
        cr_assert_str_eq(answer(&f, CALL_BEGIN, PRVNG_DONE).task, "op/t2");
        cr_assert_eq(f.run->status, RUN_FAILED, "the other one failed still");
        fake_deinit(&f);
}

Test(retry, of_a_run_that_was_rolled_back)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 2, true, ON_FAILURE_ROLLBACK, 0);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        answer(&f, CALL_BEGIN, FAILS);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(f.run->status, RUN_ROLLED_BACK);
        reopen(&f);
        engine_retry(f.engine, f.run, NULL, "{}");
        engine_schedule(f.engine);
        cr_assert_str_eq(answer(&f, CALL_BEGIN, PRVNG_DONE).task, "op/t0");
        cr_assert_str_eq(answer(&f, CALL_BEGIN, PRVNG_DONE).task, "op/t1");
        cr_assert_eq(f.run->status, RUN_SUCCEEDED);
        fake_deinit(&f);
}

/* The first former state is what a rollback restores, however often the update is done over. */
Test(retry, of_an_update_that_could_not_be_undone_keeps_its_former_state)
{
        struct record r = {.type = RECORD_RESOURCE, .key = span_of("server.t0"),
                           .workflow = span_of("w"), .plugin = span_of("provider/x"),
                           .spec = span_of("{\"cpu\":7}"), .outputs = span_of("{}"),
                           .run = {.bytes = {1}}, .changed = 5};
        struct engine_call c;
        struct fake f;

        fake_init(&f);
        engine_append_site(f.engine, &r);
        f.verb = PLAN_UPDATE;
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        answer(&f, CALL_READ, PRVNG_DONE);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        reopen(&f);
        engine_rollback(f.engine, f.run, 0, "{}");
        engine_schedule(f.engine);
        answer(&f, CALL_READ, PRVNG_DONE);
        answer(&f, CALL_BEGIN, FAILS);
        cr_assert_eq(f.run->status, RUN_ROLLBACK_INCOMPLETE);
        reopen(&f);
        engine_retry(f.engine, f.run, NULL, "{}");
        engine_schedule(f.engine);
        answer(&f, CALL_READ, PRVNG_DONE);
        answer(&f, CALL_BEGIN, PRVNG_UNCHANGED);
        cr_assert_eq(f.run->status, RUN_SUCCEEDED);
        reopen(&f);
        engine_rollback(f.engine, f.run, 0, "{}");
        engine_schedule(f.engine);
        answer(&f, CALL_READ, PRVNG_DONE);
        c = taken(&f, CALL_BEGIN);
        cr_assert(strstr(c.request, "\"spec\":{\"cpu\":7}"), "%s", c.request);
        f.calls[f.n_calls++] = c;
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_str_eq(inventory_get(&f.site.inventory, "server.t0")->spec, "{\"cpu\":7}");
        fake_deinit(&f);
}

/* A changed definition takes over a paused run: what has started keeps its state and its op id. */
static int replan(struct fake *f, unsigned n, const char *const *ids, const char *first_doc,
                  const char **ret_task)
{
        struct plan_lane lane = {.plugin = "provider/x"};
        struct plan_operation operation = {.id = "op", .on_failure = ON_FAILURE_ROLLBACK, .timeout_s = 10};
        struct plan_task tasks[8] = {{0}};
        char keys[8][24];
        struct plan plan = {.name = "w", .type = "batch", .lanes = &lane, .n_lanes = 1,
                            .operations = &operation, .n_operations = 1, .tasks = tasks, .n_tasks = n};
        struct submission s = {.kind = "parallel", .store = "file", .who = "{\"user\":\"another\"}",
                               .max_attempts = 3, .initial_delay_s = 5, .max_delay_s = 300,
                               .backoff = "exponential", .logging = "{}", .rollback = true,
                               .on_partial = true};
        int r;

        s.run = f->run->id;
        for (unsigned i = 0; i < n; i++) {
                snprintf(keys[i], sizeof(keys[i]), "server.%s", ids[i] + 3);
                tasks[i] = (struct plan_task){.id = ids[i], .resource = keys[i], .item = ids[i] + 3,
                                              .server = "", .verb = f->verb, .spec = "{\"cpu\":1}",
                                              .doc = i ? "{\"kind\":\"server\",\"spec\":{\"cpu\":2}}"
                                                       : first_doc};
        }
        r = engine_replan_claim(f->engine, f->run, &plan, ret_task);
        return r ?: engine_replan(f->engine, f->run, &s, &plan);
}

#define DOC "{\"kind\":\"server\",\"spec\":{\"cpu\":1}}"

Test(replan, keeps_what_has_started_and_changes_the_rest)
{
        static const char *const ids[] = {"op/t0", "op/t1", "op/new"};
        const char *task = NULL;
        struct fake f;

        fake_init(&f);
        submit(&f, 3, true, ON_FAILURE_ROLLBACK, 0);
        cr_assert_eq(replan(&f, 3, ids, DOC, &task), -ENOENT, "it is not paused");
        engine_pause(f.engine, f.run, "{}");
        cr_assert_eq(replan(&f, 3, ids, DOC, &task), -EBUSY);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(replan(&f, 2, ids + 1, DOC, &task), -EINVAL, "t0 has been made");
        cr_assert_str_eq(task, "op/t0");
        cr_assert_eq(replan(&f, 3, ids, "{\"kind\":\"server\",\"spec\":{\"cpu\":3}}", &task), -EINVAL);
        cr_assert_eq(replan(&f, 3, ids, DOC, &task), 0);
        cr_assert_str_eq(inventory_get(&f.site.inventory, "server.new")->claim, f.run->id_text);
        cr_assert_eq(status(&f, 0), TASK_SUCCEEDED);
        cr_assert_eq(f.run->status, RUN_PAUSED);
        crash(&f);
        cr_assert_eq(f.run->n_tasks, 3);
        cr_assert_eq(engine_resume(f.engine, f.run, "{}"), 0);
        engine_schedule(f.engine);
        cr_assert_eq(f.n_calls, 2);
        cr_assert_str_eq(answer(&f, CALL_BEGIN, PRVNG_DONE).task, "op/t1");
        cr_assert_str_eq(answer(&f, CALL_BEGIN, FAILS).task, "op/new");
        cr_assert_eq(f.run->status, RUN_ROLLING_BACK);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(f.run->status, RUN_ROLLED_BACK);
        cr_assert_eq(status(&f, 0), TASK_UNDONE);
        fake_deinit(&f);
}

/* Who submitted a run, and as what, is all that is known of it when it has ended: that stays. */
Test(replan, leaves_what_was_accepted)
{
        static const char *const ids[] = {"op/t0", "op/t1"};
        const char *task = NULL;
        struct fake f;

        fake_init(&f);
        submit(&f, 2, true, ON_FAILURE_ROLLBACK, 0);
        engine_pause(f.engine, f.run, "{}");
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(replan(&f, 2, ids, DOC, &task), 0);
        for (unsigned again = 0; again < 2; again++) {
                cr_assert_str_eq(f.run->type, "parallel");
                cr_assert_str_eq(f.run->kind, "batch");
                cr_assert_str_eq(f.run->who, "{}");
                crash(&f);
        }
        fake_deinit(&f);
}

Test(replan, an_attempt_goes_on_under_its_op_id)
{
        static const char *const ids[] = {"op/new", "op/t0"};
        struct engine_call first, second;
        const char *task = NULL;
        struct fake f;

        fake_init(&f);
        submit(&f, 1, false, ON_FAILURE_ROLLBACK, 0);
        first = answer(&f, CALL_BEGIN, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE);
        engine_pause(f.engine, f.run, "{}");
        cr_assert_eq(replan(&f, 2, ids, DOC, &task), -EINVAL, "t0 would get another spec");
        cr_assert_eq(replan(&f, 1, ids + 1, DOC, &task), 0);
        engine_resume(f.engine, f.run, "{}");
        tick(&f, 60000);
        second = answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(memcmp(&first.op_id, &second.op_id, sizeof(first.op_id)), 0);
        cr_assert_eq(second.attempt, 2);
        cr_assert_eq(f.run->status, RUN_SUCCEEDED);
        fake_deinit(&f);
}

/* What is gone has no spec in the inventory any more, so the new plan has another one for its delete. */
Test(replan, keeps_a_delete_that_is_done)
{
        static const char *const ids[] = {"op/t0", "op/t1"};
        const char *task = NULL;
        struct fake f;

        fake_init(&f);
        f.verb = PLAN_DELETE;
        submit(&f, 2, true, ON_FAILURE_ROLLBACK, 0);
        answer(&f, CALL_READ, PRVNG_DONE);
        engine_pause(f.engine, f.run, "{}");
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(replan(&f, 2, ids, "{\"kind\":\"server\",\"spec\":{}}", &task), 0);
        cr_assert_eq(status(&f, 0), TASK_SUCCEEDED);
        fake_deinit(&f);
}

/* What a failed attempt left is to be removed before it is done again: it has started. */
Test(replan, keeps_what_is_to_be_done_again)
{
        static const char *const ids[] = {"op/t0", "op/new"};
        const char *task = NULL;
        struct fake f;

        fake_init(&f);
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        answer(&f, CALL_BEGIN, PRVNG_PERMANENT, PRVNG_EFFECT_PARTIAL, 0, 0, NULL, "half");
        reopen(&f);
        engine_retry(f.engine, f.run, NULL, "{}");
        engine_pause(f.engine, f.run, "{}");
        engine_schedule(f.engine);
        cr_assert_eq(replan(&f, 1, ids + 1, DOC, &task), -EINVAL);
        cr_assert_eq(replan(&f, 2, ids, DOC, &task), 0);
        crash(&f);
        engine_resume(f.engine, f.run, "{}");
        engine_schedule(f.engine);
        cr_assert_eq(verb_of(answer(&f, CALL_BEGIN, PRVNG_DONE)), PLAN_DELETE);
        cr_assert_str_eq(answer(&f, CALL_BEGIN, PRVNG_DONE).task, "op/new");
        cr_assert_eq(verb_of(answer(&f, CALL_BEGIN, PRVNG_DONE)), PLAN_CREATE);
        cr_assert_eq(f.run->status, RUN_SUCCEEDED);
        fake_deinit(&f);
}

/* What was found and goes from the plan is in the inventory all the same, also after a restart. */
Test(replan, what_was_found_and_goes_stays_in_the_inventory)
{
        static const char *const ids[] = {"op/t1"};
        const char *task = NULL;
        struct fake f;

        fake_init(&f);
        submit(&f, 2, true, ON_FAILURE_FAIL, 0);
        engine_pause(f.engine, f.run, "{}");
        answer(&f, CALL_BEGIN, PRVNG_UNCHANGED);
        cr_assert_eq(replan(&f, 1, ids, DOC, &task), 0);
        engine_resume(f.engine, f.run, "{}");
        engine_schedule(f.engine);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(f.run->status, RUN_SUCCEEDED);
        cr_assert_not_null(inventory_get(&f.site.inventory, "server.t0"));
        f.run_lines.n = 0; /* an ended run's stream is not read */
        f.run_lines.data[0] = 0;
        crash(&f);
        cr_assert_not_null(inventory_get(&f.site.inventory, "server.t0"));
        cr_assert_str_eq(inventory_get(&f.site.inventory, "server.t0")->workflow, "w");
        fake_deinit(&f);
}

/* The same id, resource and spec; but what was made shall be deleted now. */
Test(replan, refuses_to_turn_what_was_made_into_a_delete)
{
        static const char *const ids[] = {"op/t0"};
        const char *task = NULL;
        struct fake f;

        fake_init(&f);
        submit(&f, 2, true, ON_FAILURE_ROLLBACK, 0);
        engine_pause(f.engine, f.run, "{}");
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        f.verb = PLAN_DELETE;
        cr_assert_eq(replan(&f, 1, ids, DOC, &task), -EINVAL);
        cr_assert_str_eq(task, "op/t0");
        f.verb = PLAN_UPDATE;
        cr_assert_eq(replan(&f, 1, ids, DOC, &task), 0, "the run made it: to update it is to create it");
        cr_assert_eq(f.run->tasks[0].verb, PLAN_CREATE);
        fake_deinit(&f);
}
