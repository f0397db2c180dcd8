/* SPDX-License-Identifier: Apache-2.0 */
/* The engine over the fake driver: rollback, checkpoints, pause, retry, surplus, conditions. */
#include "engine/test-fake.h"

static enum plan_verb verb_of(struct engine_call c)
{
        return streq(c.verb, "create")   ? PLAN_CREATE
               : streq(c.verb, "delete") ? PLAN_DELETE
               : streq(c.verb, "update") ? PLAN_UPDATE
                                         : PLAN_CHECK;
}

#define FAILS PRVNG_PERMANENT, PRVNG_EFFECT_NONE, 0, 0, NULL, "no"

/* Takes the run up after its end. */
static void reopen(struct fake *f)
{
        const struct resource *claimed = NULL;

        cr_assert_eq(engine_reopen(f->engine, f->run, "{}", &claimed), 0);
}

Test(rollback, undoes_in_reverse_order_what_was_made)
{
        struct engine_call c;
        struct fake f;

        fake_init(&f);
        submit(&f, 3, true, ON_FAILURE_ROLLBACK, 0);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        answer(&f, CALL_BEGIN, FAILS);
        cr_assert_eq(f.run->status, RUN_ROLLING_BACK);
        cr_assert_eq(f.n_calls, 1, "one after another, as they were made");
        c = answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_str_eq(c.task, "op/t1");
        cr_assert_eq(verb_of(c), PLAN_DELETE);
        cr_assert_eq(status(&f, 1), TASK_UNDONE);
        cr_assert_eq(status(&f, 0), TASK_UNDOING);
        c = answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_str_eq(c.task, "op/t0");
        cr_assert_eq(f.run->status, RUN_ROLLED_BACK);
        cr_assert_eq(status(&f, 2), TASK_FAILED);
        cr_assert_null(inventory_get(&f.site.inventory, "server.t0"));
        cr_assert_null(inventory_get(&f.site.inventory, "server.t1"));
        fake_deinit(&f);
}

Test(rollback, undoes_at_once_what_does_not_depend_on_each_other)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 4, false, ON_FAILURE_ROLLBACK, 0);
        for (unsigned i = 0; i < 3; i++)
                answer(&f, CALL_BEGIN, PRVNG_DONE);
        answer(&f, CALL_BEGIN, FAILS);
        cr_assert_eq(f.n_calls, 3);
        for (unsigned i = 0; i < 3; i++)
                cr_assert_eq(verb_of(answer(&f, CALL_BEGIN, PRVNG_DONE)), PLAN_DELETE);
        cr_assert_eq(f.run->status, RUN_ROLLED_BACK);
        fake_deinit(&f);
}

/* What is in flight comes to its end first, and is undone too. */
Test(rollback, waits_for_what_is_in_flight)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 2, false, ON_FAILURE_ROLLBACK, 0);
        answer(&f, CALL_BEGIN, FAILS);
        cr_assert_eq(f.n_calls, 1, "the other create");
        answer(&f, CALL_BEGIN, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN);
        answer(&f, CALL_OBSERVE, PRVNG_OBSERVED_DONE);
        cr_assert_eq(verb_of(answer(&f, CALL_BEGIN, PRVNG_DONE)), PLAN_DELETE);
        cr_assert_eq(f.run->status, RUN_ROLLED_BACK);
        fake_deinit(&f);
}

/* Promise 5: only what an op id of ours caused. */
Test(rollback, leaves_what_was_found_unchanged)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 3, true, ON_FAILURE_ROLLBACK, 0);
        answer(&f, CALL_BEGIN, PRVNG_UNCHANGED);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        answer(&f, CALL_BEGIN, FAILS);
        cr_assert_str_eq(answer(&f, CALL_BEGIN, PRVNG_DONE).task, "op/t1");
        cr_assert_eq(f.run->status, RUN_ROLLED_BACK);
        cr_assert_eq(status(&f, 0), TASK_UNCHANGED);
        cr_assert(inventory_get(&f.site.inventory, "server.t0")->workflow);
        fake_deinit(&f);
}

Test(rollback, removes_what_a_failed_create_left)
{
        struct engine_call c;
        struct fake f;

        fake_init(&f);
        submit(&f, 1, false, ON_FAILURE_ROLLBACK, 0);
        answer(&f, CALL_BEGIN, PRVNG_PERMANENT, PRVNG_EFFECT_PARTIAL, 0, 0, NULL, "half");
        c = answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(verb_of(c), PLAN_DELETE);
        cr_assert_eq(f.run->status, RUN_ROLLED_BACK);
        cr_assert_eq(status(&f, 0), TASK_UNDONE);
        cr_assert_null(inventory_get(&f.site.inventory, "server.t0"));
        fake_deinit(&f);
}

Test(rollback, nothing_to_undo_is_a_failure)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 1, false, ON_FAILURE_ROLLBACK, 0);
        answer(&f, CALL_BEGIN, FAILS);
        cr_assert_eq(f.run->status, RUN_FAILED);
        fake_deinit(&f);
}

Test(rollback, the_strategy_may_say_no)
{
        for (unsigned i = 0; i < 2; i++) {
                struct fake f;

                fake_init(&f);
                f.no_rollback = i == 0;
                f.some_is_enough = i == 1;
                submit(&f, 2, false, ON_FAILURE_ROLLBACK, 0);
                answer(&f, CALL_BEGIN, PRVNG_DONE);
                answer(&f, CALL_BEGIN, FAILS);
                cr_assert_eq(f.run->status, RUN_FAILED);
                cr_assert(inventory_get(&f.site.inventory, "server.t0")->workflow);
                fake_deinit(&f);
        }
}

Test(rollback, preserves_operations_that_succeeded)
{
        struct fake f;

        fake_init(&f);
        f.preserve = true;
        f.n_per_operation = 2;
        submit(&f, 4, true, ON_FAILURE_ROLLBACK, 0);
        for (unsigned i = 0; i < 3; i++)
                answer(&f, CALL_BEGIN, PRVNG_DONE);
        answer(&f, CALL_BEGIN, FAILS);
        cr_assert_str_eq(answer(&f, CALL_BEGIN, PRVNG_DONE).task, "op/t2");
        cr_assert_eq(f.run->status, RUN_ROLLED_BACK);
        cr_assert_eq(status(&f, 0), TASK_SUCCEEDED);
        cr_assert_eq(status(&f, 2), TASK_UNDONE);
        fake_deinit(&f);
}

/* Promise 5: never started twice. The undo's intent is in the journal, so it is observed. */
Test(rollback, an_undo_survives_a_crash)
{
        struct engine_call first, second;
        struct fake f;

        fake_init(&f);
        submit(&f, 2, true, ON_FAILURE_ROLLBACK, 0);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        answer(&f, CALL_BEGIN, FAILS);
        first = taken(&f, CALL_BEGIN);
        crash(&f);
        cr_assert_eq(f.run->status, RUN_ROLLING_BACK);
        second = answer(&f, CALL_OBSERVE, PRVNG_OBSERVED_IN_PROGRESS, 0, 0, 500, "1 job");
        cr_assert_eq(memcmp(&first.op_id, &second.op_id, sizeof(first.op_id)), 0);
        cr_assert_eq(verb_of(second), PLAN_DELETE);
        crash(&f);
        tick(&f, 1);
        answer(&f, CALL_POLL, PRVNG_DONE);
        cr_assert_eq(f.run->status, RUN_ROLLED_BACK);
        cr_assert_null(inventory_get(&f.site.inventory, "server.t0"));
        fake_deinit(&f);
}

Test(rollback, an_undo_is_retried_and_what_fails_is_told)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 3, true, ON_FAILURE_ROLLBACK, 0);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        answer(&f, CALL_BEGIN, FAILS);
        answer(&f, CALL_BEGIN, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, 0, 0, NULL, "later");
        tick(&f, 10000);
        answer(&f, CALL_BEGIN, FAILS);
        cr_assert_eq(status(&f, 1), TASK_UNDO_FAILED);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(status(&f, 0), TASK_UNDONE, "the rest goes on");
        cr_assert_eq(f.run->status, RUN_ROLLBACK_INCOMPLETE);
        cr_assert(inventory_get(&f.site.inventory, "server.t1")->workflow, "it is still ours");

        reopen(&f);
        cr_assert_eq(engine_rollback(f.engine, f.run, 0, "{}"), 0);
        engine_schedule(f.engine);
        cr_assert_str_eq(answer(&f, CALL_BEGIN, PRVNG_DONE).task, "op/t1", "what was left, no more");
        cr_assert_eq(f.run->status, RUN_ROLLED_BACK);
        fake_deinit(&f);
}

Test(rollback, of_a_run_that_succeeded_and_through_a_crash)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 2, true, ON_FAILURE_ROLLBACK, 0);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(f.run->status, RUN_SUCCEEDED);
        reopen(&f);
        cr_assert_str_eq(inventory_get(&f.site.inventory, "server.t0")->claim, f.run->id_text);
        cr_assert_eq(engine_rollback(f.engine, f.run, 0, "{}"), 0);
        engine_schedule(f.engine);
        crash(&f);
        cr_assert_str_eq(answer(&f, CALL_OBSERVE, PRVNG_OBSERVED_DONE).task, "op/t1");
        cr_assert_str_eq(answer(&f, CALL_BEGIN, PRVNG_DONE).task, "op/t0");
        cr_assert_eq(f.run->status, RUN_ROLLED_BACK);
        cr_assert_null(inventory_get(&f.site.inventory, "server.t0"));
        fake_deinit(&f);
}

Test(rollback, to_a_checkpoint)
{
        struct fake f;

        fake_init(&f);
        f.n_per_operation = 1;
        f.interval = 1;
        submit(&f, 3, true, ON_FAILURE_ROLLBACK, 0);
        for (unsigned i = 0; i < 3; i++)
                answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(f.run->n_checkpoints, 2, "none at the very end");
        reopen(&f);
        cr_assert_eq(engine_rollback(f.engine, f.run, 3, "{}"), -EINVAL);
        cr_assert_eq(engine_rollback(f.engine, f.run, 1, "{}"), 0);
        engine_schedule(f.engine);
        cr_assert_str_eq(answer(&f, CALL_BEGIN, PRVNG_DONE).task, "op/t2");
        cr_assert_str_eq(answer(&f, CALL_BEGIN, PRVNG_DONE).task, "op/t1");
        cr_assert_eq(f.run->status, RUN_ROLLED_BACK);
        cr_assert_eq(status(&f, 0), TASK_SUCCEEDED);
        fake_deinit(&f);
}

/* Another run of the workflow changed the resource since. */
Test(rollback, what_another_run_changed_is_a_conflict)
{
        struct record r = {.type = RECORD_RESOURCE, .key = span_of("server.t0"),
                           .workflow = span_of("w"), .plugin = span_of("provider/x"),
                           .spec = span_of("{\"cpu\":2}"), .outputs = span_of("{}"),
                           .run = {.bytes = {1}}, .changed = 5};
        struct fake f;

        fake_init(&f);
        submit(&f, 1, false, ON_FAILURE_ROLLBACK, 0);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        engine_append_site(f.engine, &r);
        reopen(&f);
        engine_rollback(f.engine, f.run, 0, "{}");
        engine_schedule(f.engine);
        cr_assert_eq(f.n_calls, 0, "nothing is asked");
        cr_assert_eq(f.run->status, RUN_ROLLBACK_INCOMPLETE);
        cr_assert_eq(run_note(f.run, 0)->answer, PRVNG_CONFLICT);
        cr_assert_str_eq(inventory_get(&f.site.inventory, "server.t0")->spec, "{\"cpu\":2}");
        fake_deinit(&f);
}

/* An update: the former state is read and journaled, and restored unless somebody changed what we left. */
static void update_and_roll_back(struct fake *f, const char *now)
{
        struct op_reply reply = OP_REPLY_NULL;
        struct record r = {.type = RECORD_RESOURCE, .key = span_of("server.t0"),
                           .workflow = span_of("w"), .plugin = span_of("provider/x"),
                           .spec = span_of("{\"cpu\":7}"), .outputs = span_of("{\"cpu\":7}"),
                           .run = {.bytes = {1}}, .changed = 5};
        struct engine_call c;

        fake_init(f);
        engine_append_site(f->engine, &r);
        f->verb = PLAN_UPDATE;
        submit(f, 1, false, ON_FAILURE_ROLLBACK, 0);
        c = taken(f, CALL_READ);
        reply.answer = PRVNG_DONE;
        buf_puts(&reply.result, "{\"cpu\":7}");
        engine_answer(f->engine, c.flight, &reply);
        c = taken(f, CALL_BEGIN);
        buf_clear(&reply.result);
        buf_puts(&reply.result, "{\"cpu\":1}");
        engine_answer(f->engine, c.flight, &reply);
        engine_schedule(f->engine);
        cr_assert_eq(f->run->status, RUN_SUCCEEDED);
        reopen(f);
        engine_rollback(f->engine, f->run, 0, "{}");
        engine_schedule(f->engine);
        c = taken(f, CALL_READ);
        buf_clear(&reply.result);
        buf_puts(&reply.result, now);
        engine_answer(f->engine, c.flight, &reply);
        engine_schedule(f->engine);
        op_reply_deinit(&reply);
}

Test(rollback, an_update_is_put_back)
{
        struct engine_call c;
        struct fake f;

        update_and_roll_back(&f, "{\"cpu\":1.0,\"uptime\":5}");
        c = taken(&f, CALL_BEGIN);
        cr_assert_eq(verb_of(c), PLAN_UPDATE);
        cr_assert(strstr(c.request, "\"spec\":{\"cpu\":7}"), "%s", c.request);
        f.calls[f.n_calls++] = c;
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(f.run->status, RUN_ROLLED_BACK);
        cr_assert_str_eq(inventory_get(&f.site.inventory, "server.t0")->spec, "{\"cpu\":7}");
        fake_deinit(&f);
}

Test(rollback, an_update_that_somebody_changed_is_a_conflict)
{
        struct fake f;

        update_and_roll_back(&f, "{\"cpu\":3}");
        cr_assert_eq(f.n_calls, 0);
        cr_assert_eq(f.run->status, RUN_ROLLBACK_INCOMPLETE);
        cr_assert_str_eq(run_note(f.run, 0)->message, "somebody changed it since: cpu is 3, this run left 1");
        fake_deinit(&f);
}

Test(rollback, cancel_ends_it_and_it_can_go_on)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 3, true, ON_FAILURE_ROLLBACK, 0);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        answer(&f, CALL_BEGIN, FAILS);
        cr_assert_eq(engine_cancel(f.engine, f.run, "{}"), 0);
        cr_assert_eq(f.run->status, RUN_ROLLING_BACK, "one undo is running");
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(f.run->status, RUN_ROLLBACK_INCOMPLETE);
        crash(&f);
        reopen(&f);
        cr_assert_eq(engine_rollback(f.engine, f.run, 0, "{}"), 0);
        engine_schedule(f.engine);
        cr_assert_str_eq(answer(&f, CALL_BEGIN, PRVNG_DONE).task, "op/t0");
        cr_assert_eq(f.run->status, RUN_ROLLED_BACK);
        fake_deinit(&f);
}

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

/* An update that failed half-way: the inventory still names who made the resource, and that is no conflict. */
Test(rollback, puts_back_what_a_failed_update_left)
{
        struct record r = {.type = RECORD_RESOURCE, .key = span_of("server.t0"),
                           .workflow = span_of("w"), .plugin = span_of("provider/x"),
                           .spec = span_of("{\"cpu\":7}"), .outputs = span_of("{\"cpu\":7}"),
                           .run = {.bytes = {1}}, .changed = 5};
        struct engine_call c;
        struct fake f;

        fake_init(&f);
        engine_append_site(f.engine, &r);
        f.verb = PLAN_UPDATE;
        submit(&f, 1, false, ON_FAILURE_ROLLBACK, 0);
        answer(&f, CALL_READ, PRVNG_DONE);
        answer(&f, CALL_BEGIN, PRVNG_PERMANENT, PRVNG_EFFECT_PARTIAL, 0, 0, NULL, "half");
        cr_assert_eq(f.run->status, RUN_ROLLING_BACK);
        c = answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(verb_of(c), PLAN_UPDATE);
        cr_assert_eq(f.run->status, RUN_ROLLED_BACK);
        cr_assert_str_eq(inventory_get(&f.site.inventory, "server.t0")->spec, "{\"cpu\":7}");
        fake_deinit(&f);
}

Test(rollback, puts_back_what_a_failed_delete_left)
{
        struct record r = {.type = RECORD_RESOURCE, .key = span_of("server.t0"),
                           .workflow = span_of("w"), .plugin = span_of("provider/x"),
                           .spec = span_of("{\"cpu\":7}"), .outputs = span_of("{\"cpu\":7}"),
                           .run = {.bytes = {1}}, .changed = 5};
        struct fake f;

        fake_init(&f);
        engine_append_site(f.engine, &r);
        f.verb = PLAN_DELETE;
        submit(&f, 1, false, ON_FAILURE_ROLLBACK, 0);
        answer(&f, CALL_READ, PRVNG_DONE);
        answer(&f, CALL_BEGIN, PRVNG_PERMANENT, PRVNG_EFFECT_PARTIAL, 0, 0, NULL, "half");
        cr_assert_eq(f.run->status, RUN_ROLLING_BACK);
        cr_assert_eq(verb_of(answer(&f, CALL_BEGIN, PRVNG_DONE)), PLAN_CREATE);
        cr_assert_eq(f.run->status, RUN_ROLLED_BACK);
        fake_deinit(&f);
}

/* Another run changed it since: then it is a conflict all the same. */
Test(rollback, of_a_failed_update_that_another_run_did_over_is_a_conflict)
{
        struct record r = {.type = RECORD_RESOURCE, .key = span_of("server.t0"),
                           .workflow = span_of("w"), .plugin = span_of("provider/x"),
                           .spec = span_of("{\"cpu\":7}"), .outputs = span_of("{}"),
                           .run = {.bytes = {1}}, .changed = 5};
        struct fake f;

        fake_init(&f);
        engine_append_site(f.engine, &r);
        f.verb = PLAN_UPDATE;
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        answer(&f, CALL_READ, PRVNG_DONE);
        answer(&f, CALL_BEGIN, PRVNG_PERMANENT, PRVNG_EFFECT_PARTIAL, 0, 0, NULL, "half");
        cr_assert_eq(f.run->status, RUN_FAILED);
        r.spec = span_of("{\"cpu\":9}");
        r.run.bytes[0] = 2;
        engine_append_site(f.engine, &r);
        reopen(&f);
        engine_rollback(f.engine, f.run, 0, "{}");
        engine_schedule(f.engine);
        cr_assert_eq(f.n_calls, 0);
        cr_assert_eq(run_note(f.run, 0)->answer, PRVNG_CONFLICT);
        cr_assert_eq(f.run->status, RUN_ROLLBACK_INCOMPLETE);
        fake_deinit(&f);
}

/* retry was asked for, but what the failed attempt left is not removed yet when a rollback is. */
Test(rollback, of_what_was_to_be_done_again)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        answer(&f, CALL_BEGIN, PRVNG_PERMANENT, PRVNG_EFFECT_PARTIAL, 0, 0, NULL, "half");
        reopen(&f);
        engine_retry(f.engine, f.run, NULL, "{}");
        engine_rollback(f.engine, f.run, 0, "{}");
        engine_schedule(f.engine);
        cr_assert_eq(f.n_calls, 1, "what is left of it");
        crash(&f);
        answer(&f, CALL_OBSERVE, PRVNG_OBSERVED_NOT_STARTED);
        cr_assert_eq(verb_of(answer(&f, CALL_BEGIN, PRVNG_DONE)), PLAN_DELETE);
        cr_assert_eq(f.run->status, RUN_ROLLED_BACK);
        cr_assert_null(inventory_get(&f.site.inventory, "server.t0"));
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

/* Promise 4: where the API keeps no key of ours, two begins may have made two. */
static struct uid make_twice(struct fake *f)
{
        struct op_reply reply = OP_REPLY_NULL;
        struct engine_call c;

        fake_init(f);
        f->plugin->descriptor.settle_ms = 1000;
        submit(f, 1, false, ON_FAILURE_ROLLBACK, 0);
        answer(f, CALL_BEGIN, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE);
        tick(f, 60000);
        c = taken(f, CALL_BEGIN);
        reply.answer = PRVNG_DONE;
        buf_puts(&reply.result, "{\"id\":\"b\",\"state\":\"on\"}");
        engine_answer(f->engine, c.flight, &reply);
        op_reply_deinit(&reply);
        return c.op_id;
}

static void list(struct fake *f, const char *resources)
{
        struct op_reply reply = OP_REPLY_NULL;
        struct engine_call c;

        if (!f->n_calls)
                tick(f, 1000); /* to settle */
        c = taken(f, CALL_LIST);
        reply.answer = PRVNG_DONE;
        buf_puts(&reply.result, resources);
        engine_answer(f->engine, c.flight, &reply);
        op_reply_deinit(&reply);
        engine_schedule(f->engine);
}

#define ONE "{\"resources\":[{\"identity\":{\"id\":\"b\"}}]}"
#define TWO "{\"resources\":[{\"identity\":{\"id\":\"a\"}},{\"identity\":{\"id\":\"b\"}}]}"

Test(surplus, is_found_and_deleted)
{
        struct engine_call c;
        struct uid made;
        char op_id[UID_TEXT];
        struct fake f;

        made = make_twice(&f);
        tick(&f, 999);
        cr_assert_eq(f.n_calls, 0, "not before the settling time is over");
        tick(&f, 1);
        list(&f, TWO);
        c = taken(&f, CALL_BEGIN);
        cr_assert_eq(verb_of(c), PLAN_DELETE);
        cr_assert(strstr(c.request, "\"identity\":{\"id\":\"a\"}"), "%s", c.request);
        f.calls[f.n_calls++] = c;
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(f.run->status, RUN_RUNNING, "it looks once more");
        list(&f, ONE);
        cr_assert_eq(f.run->status, RUN_SUCCEEDED);
        cr_assert_str_eq(inventory_get(&f.site.inventory, "server.t0")->outputs,
                         "{\"id\":\"b\",\"state\":\"on\"}");
        uid_text(&made, op_id);
        cr_assert_str_eq(inventory_get(&f.site.inventory, "server.t0")->op_id, op_id,
                         "what made it, not what deleted the other one");
        fake_deinit(&f);
}

Test(surplus, is_looked_for_again_after_a_crash)
{
        struct fake f;

        make_twice(&f);
        crash(&f);
        list(&f, TWO);
        taken(&f, CALL_BEGIN);
        crash(&f);
        answer(&f, CALL_OBSERVE, PRVNG_OBSERVED_DONE);
        list(&f, ONE);
        cr_assert_eq(f.run->status, RUN_SUCCEEDED);
        cr_assert_str_eq(inventory_get(&f.site.inventory, "server.t0")->outputs,
                         "{\"id\":\"b\",\"state\":\"on\"}");
        fake_deinit(&f);
}

/* An undo of a delete is a create. */
Test(surplus, of_what_an_undo_made_again)
{
        struct record r = {.type = RECORD_RESOURCE, .key = span_of("server.t0"),
                           .workflow = span_of("w"), .plugin = span_of("provider/x"),
                           .spec = span_of("{\"cpu\":7}"), .outputs = span_of("{\"id\":\"z\"}"),
                           .run = {.bytes = {1}}, .changed = 5};
        struct op_reply reply = OP_REPLY_NULL;
        struct engine_call c;
        struct fake f;

        fake_init(&f);
        f.plugin->descriptor.settle_ms = 1000;
        engine_append_site(f.engine, &r);
        f.verb = PLAN_DELETE;
        submit(&f, 1, false, ON_FAILURE_ROLLBACK, 0);
        answer(&f, CALL_READ, PRVNG_NOT_FOUND);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        reopen(&f);
        engine_rollback(f.engine, f.run, 0, "{}");
        engine_schedule(f.engine);
        answer(&f, CALL_BEGIN, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE);
        tick(&f, 60000);
        c = taken(&f, CALL_BEGIN);
        cr_assert_eq(verb_of(c), PLAN_CREATE);
        reply.answer = PRVNG_DONE;
        buf_puts(&reply.result, "{\"id\":\"b\"}");
        engine_answer(f.engine, c.flight, &reply);
        op_reply_deinit(&reply);
        list(&f, TWO);
        taken(&f, CALL_BEGIN);
        crash(&f);
        answer(&f, CALL_OBSERVE, PRVNG_OBSERVED_DONE);
        list(&f, ONE);
        cr_assert_eq(f.run->status, RUN_ROLLED_BACK);
        cr_assert_eq(status(&f, 0), TASK_UNDONE);
        cr_assert_str_eq(inventory_get(&f.site.inventory, "server.t0")->spec, "{\"cpu\":7}");
        cr_assert_str_eq(inventory_get(&f.site.inventory, "server.t0")->outputs, "{\"id\":\"b\"}");
        fake_deinit(&f);
}

/* A list that lags behind shows the other one first. */
Test(surplus, is_not_taken_for_what_was_made)
{
        struct fake f;

        make_twice(&f);
        list(&f, "{\"resources\":[{\"identity\":{\"id\":\"a\"}}]}");
        cr_assert_eq(f.run->status, RUN_RUNNING);
        tick(&f, 29000);
        list(&f, TWO);
        cr_assert_eq(verb_of(answer(&f, CALL_BEGIN, PRVNG_DONE)), PLAN_DELETE);
        list(&f, ONE);
        cr_assert_eq(f.run->status, RUN_SUCCEEDED);
        fake_deinit(&f);
}

Test(surplus, is_the_operators_question_if_it_cannot_be_told)
{
        struct fake f;

        make_twice(&f);
        for (unsigned i = 0; i < 6; i++) {
                cr_assert_neq(status(&f, 0), TASK_PARKED, "a list may lag behind");
                list(&f, "{\"resources\":[{\"identity\":{\"id\":\"x\"}},{\"identity\":{\"id\":\"y\"}}]}");
                tick(&f, 29000);
        }
        cr_assert_eq(status(&f, 0), TASK_PARKED);
        cr_assert_eq(engine_resolve(f.engine, f.run, 0, true, "{}", "{}"), 0);
        list(&f, ONE);
        cr_assert_eq(f.run->status, RUN_SUCCEEDED);
        fake_deinit(&f);
}

/* Promise 6: a limit that one task hears of holds all of the account. */
Test(limits, a_rate_limit_holds_the_lane)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 4, false, ON_FAILURE_FAIL, 1);
        answer(&f, CALL_BEGIN, PRVNG_RATE_LIMITED, PRVNG_EFFECT_NONE, 30000);
        cr_assert_eq(f.n_calls, 0);
        tick(&f, 29999);
        cr_assert_eq(f.n_calls, 0);
        tick(&f, 1);
        cr_assert_eq(f.n_calls, 1);
        while (f.n_calls)
                answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(f.run->status, RUN_SUCCEEDED);
        fake_deinit(&f);
}

/* Conditions */

static void judged(struct fake *f, bool value)
{
        struct op_reply reply = OP_REPLY_NULL;
        struct engine_call c = taken(f, CALL_EVALUATE);

        cr_assert_str_eq(c.token, "outputs.state == 'on'");
        cr_assert(strstr(c.request, "\"outputs\":{\"state\":"), "%s", c.request);
        reply.answer = PRVNG_DONE;
        buf_puts(&reply.result, value ? "{\"value\":true,\"seen\":{\"outputs.state\":\"on\"}}"
                                      : "{\"value\":false,\"seen\":{\"outputs.state\":\"off\"}}");
        engine_answer(f->engine, c.flight, &reply);
        op_reply_deinit(&reply);
        engine_schedule(f->engine);
}

static void seen(struct fake *f, const char *state)
{
        struct op_reply reply = OP_REPLY_NULL;
        struct engine_call c = taken(f, CALL_READ);

        reply.answer = PRVNG_DONE;
        buf_printf(&reply.result, "{\"state\":\"%s\"}", state);
        engine_answer(f->engine, c.flight, &reply);
        op_reply_deinit(&reply);
}

static void wait_for_it(struct fake *f)
{
        fake_init(f);
        f->waits = "[{\"on\":\"server.t0\",\"until\":\"outputs.state == 'on'\"}]";
        submit(f, 2, true, ON_FAILURE_FAIL, 1);
        answer(f, CALL_BEGIN, PRVNG_DONE);
        seen(f, "off");
        judged(f, false);
}

Test(wait, until_the_condition_is_true)
{
        struct fake f;

        wait_for_it(&f);
        cr_assert_eq(f.n_calls, 0);
        cr_assert_str_eq(run_note(f.run, 1)->message,
                         "outputs.state == 'on' of server.t0; last seen: outputs.state = \"off\"");
        tick(&f, 1000);
        seen(&f, "off");
        judged(&f, false);
        crash(&f);
        seen(&f, "on");
        judged(&f, true);
        cr_assert_str_eq(answer(&f, CALL_BEGIN, PRVNG_DONE).task, "op/t1");
        cr_assert_eq(f.run->status, RUN_SUCCEEDED);
        fake_deinit(&f);
}

Test(wait, no_longer_than_the_timeout)
{
        struct fake f;

        wait_for_it(&f);
        for (unsigned i = 0; i < 20 && f.run->status == RUN_RUNNING; i++) {
                tick(&f, 1000);
                if (f.n_calls) {
                        seen(&f, "off");
                        judged(&f, false);
                }
        }
        cr_assert_eq(f.run->status, RUN_FAILED);
        cr_assert_str_eq(run_note(f.run, 1)->message,
                         "timed out after 10 s waiting for outputs.state == 'on' of server.t0; last seen: "
                         "outputs.state = \"off\"");
        fake_deinit(&f);
}

/* The time that it is held does not count. */
Test(wait, a_pause_costs_no_time)
{
        struct fake f;

        wait_for_it(&f);
        engine_pause(f.engine, f.run, "{}");
        tick(&f, 2000);
        tick(&f, 3600000);
        engine_resume(f.engine, f.run, "{}");
        tick(&f, 1);
        seen(&f, "off");
        judged(&f, false);
        cr_assert_eq(f.run->status, RUN_RUNNING, "%s", run_note(f.run, 1)->message);
        tick(&f, 60000);
        seen(&f, "off");
        judged(&f, false);
        cr_assert_eq(f.run->status, RUN_FAILED, "but what is not held does");
        fake_deinit(&f);
}

Test(wait, ends_with_the_run)
{
        struct fake f;

        wait_for_it(&f);
        engine_cancel(f.engine, f.run, "{}");
        tick(&f, 1);
        cr_assert_eq(f.run->status, RUN_CANCELLED);
        cr_assert_eq(status(&f, 1), TASK_SKIPPED);
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
        struct submission s = {.kind = "batch", .store = "file", .who = "{}", .max_attempts = 3,
                               .initial_delay_s = 5, .max_delay_s = 300, .backoff = "exponential",
                               .logging = "{}", .rollback = true, .on_partial = true};
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

/* A question that never comes back does not hold its task for ever. Its late answer is nobody's. */
Test(questions, are_given_up_when_they_do_not_come_back)
{
        struct engine_call late;
        struct fake f;

        fake_init(&f);
        f.verb = PLAN_UPDATE;
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        late = taken(&f, CALL_READ);
        tick(&f, 60000);
        cr_assert_eq(f.n_cancels, 1);
        tick(&f, 30000);
        tick(&f, 5000);
        answer(&f, CALL_READ, PRVNG_NOT_FOUND);
        cr_assert_eq(f.n_calls, 1);
        f.calls[f.n_calls++] = late;
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(f.run->status, RUN_SUCCEEDED);
        cr_assert_str_eq(f.calls[0].task, "op/t0", "what the call was given outlives the run");
        answer(&f, CALL_READ, PRVNG_DONE);
        fake_deinit(&f);
}

Test(questions, end_a_task_if_none_is_answered)
{
        struct engine_call late[3];
        struct fake f;

        fake_init(&f);
        f.verb = PLAN_DELETE;
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        for (unsigned i = 0; i < 3; i++) {
                late[i] = taken(&f, CALL_READ);
                tick(&f, 60000);
                tick(&f, 30000);
                tick(&f, 20000);
        }
        cr_assert_eq(f.run->status, RUN_FAILED);
        cr_assert_str_eq(run_note(f.run, 0)->message,
                         "the plugin did not come back from a call that was cancelled");
        f.calls[f.n_calls++] = late[1];
        answer(&f, CALL_READ, PRVNG_DONE);
        fake_deinit(&f);
}

/* The simulator found the bugs behind the tests of this name. */
Test(simulated, a_rollback_that_never_began_is_incomplete)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 2, false, ON_FAILURE_ROLLBACK, 0);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        engine_rollback(f.engine, f.run, 0, "{}");
        engine_cancel(f.engine, f.run, "{}");
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(f.run->status, RUN_ROLLBACK_INCOMPLETE);
        cr_assert(inventory_get(&f.site.inventory, "server.t0"));
        fake_deinit(&f);
}

Test(simulated, what_could_not_be_undone_and_is_found_again_is_still_undone)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 2, true, ON_FAILURE_ROLLBACK, 0);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        answer(&f, CALL_BEGIN, FAILS);
        answer(&f, CALL_BEGIN, FAILS); /* the undo */
        cr_assert_eq(f.run->status, RUN_ROLLBACK_INCOMPLETE);
        reopen(&f);
        engine_retry(f.engine, f.run, NULL, "{}");
        engine_schedule(f.engine);
        answer(&f, CALL_BEGIN, PRVNG_UNCHANGED);
        crash(&f);
        answer(&f, CALL_OBSERVE, PRVNG_OBSERVED_FAILED, PRVNG_EFFECT_NONE, 0, 0, NULL, "no", PRVNG_AUTH);
        cr_assert_eq(verb_of(answer(&f, CALL_BEGIN, PRVNG_DONE)), PLAN_DELETE);
        cr_assert_eq(f.run->status, RUN_ROLLED_BACK);
        cr_assert_null(inventory_get(&f.site.inventory, "server.t0"));
        fake_deinit(&f);
}

/* Its part is removed for the next attempt, which is not made: the site stream must know. */
Test(simulated, what_a_retry_removed_is_gone_for_the_site_stream)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        answer(&f, CALL_BEGIN, PRVNG_PERMANENT, PRVNG_EFFECT_PARTIAL, 0, 0, NULL, "half");
        reopen(&f);
        engine_retry(f.engine, f.run, NULL, "{}");
        engine_schedule(f.engine);
        engine_cancel(f.engine, f.run, "{}");
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(f.run->status, RUN_CANCELLED);
        cr_assert_null(inventory_get(&f.site.inventory, "server.t0"));
        cr_assert(strstr(strstr(buf_str(&f.site_lines), "\"reopened\""),
                         "\"type\":\"gone\",\"key\":\"server.t0\""));
        fake_deinit(&f);
}

Test(simulated, what_a_retry_could_not_remove_is_not_forgotten)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        answer(&f, CALL_BEGIN, PRVNG_PERMANENT, PRVNG_EFFECT_PARTIAL, 0, 0, NULL, "half");
        reopen(&f);
        engine_retry(f.engine, f.run, NULL, "{}");
        engine_schedule(f.engine);
        answer(&f, CALL_BEGIN, FAILS); /* the undo */
        cr_assert_eq(f.run->status, RUN_FAILED);
        reopen(&f);
        cr_assert_eq(engine_rollback(f.engine, f.run, 0, "{}"), 0);
        engine_schedule(f.engine);
        cr_assert_eq(verb_of(answer(&f, CALL_BEGIN, PRVNG_DONE)), PLAN_DELETE);
        cr_assert_eq(f.run->status, RUN_ROLLED_BACK);
        fake_deinit(&f);
}

Test(simulated, a_retry_that_leaves_tasks_undone_is_no_success)
{
        struct fake f;

        fake_init(&f);
        f.n_per_operation = 1;
        submit(&f, 2, true, ON_FAILURE_ROLLBACK, 0);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        answer(&f, CALL_BEGIN, FAILS);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(f.run->status, RUN_ROLLED_BACK);
        reopen(&f);
        engine_retry(f.engine, f.run, "op2", "{}");
        engine_schedule(f.engine);
        cr_assert_eq(f.n_calls, 0, "it depends on what was undone");
        cr_assert_eq(f.run->status, RUN_FAILED);
        fake_deinit(&f);
}

Test(simulated, a_resume_does_not_cut_patience_short)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        answer(&f, CALL_BEGIN, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, 60000);
        engine_pause(f.engine, f.run, "{}");
        engine_resume(f.engine, f.run, "{}");
        tick(&f, 59999);
        cr_assert_eq(f.n_calls, 0);
        tick(&f, 1);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(f.run->status, RUN_SUCCEEDED);
        fake_deinit(&f);
}

Test(simulated, a_pause_holds_what_is_being_read)
{
        struct fake f;

        fake_init(&f);
        f.verb = PLAN_UPDATE;
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        engine_pause(f.engine, f.run, "{}");
        answer(&f, CALL_READ, PRVNG_UNSUPPORTED);
        cr_assert_eq(f.n_calls, 0);
        engine_resume(f.engine, f.run, "{}");
        tick(&f, 0);
        answer(&f, CALL_READ, PRVNG_UNSUPPORTED);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(f.run->status, RUN_SUCCEEDED);
        fake_deinit(&f);
}

Test(simulated, a_paused_run_that_is_cancelled_ends)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 2, true, ON_FAILURE_FAIL, 0);
        engine_pause(f.engine, f.run, "{}");
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(f.run->status, RUN_PAUSED);
        engine_cancel(f.engine, f.run, "{}");
        engine_schedule(f.engine);
        cr_assert_eq(f.run->status, RUN_CANCELLED);
        fake_deinit(&f);
}
