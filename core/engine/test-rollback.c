/* SPDX-License-Identifier: Apache-2.0 */
/* The engine over the fake driver: rollback, and what the simulator found. */
#include "engine/test-fake.h"

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

/* A server with two services. */
static void serve(struct fake *f)
{
        struct record r = {.type = RECORD_RESOURCE, .key = span_of("server.t0"),
                           .workflow = span_of("w"), .plugin = span_of("provider/x"),
                           .spec = span_of("{\"cpu\":7}"), .outputs = span_of("{\"cpu\":7}"),
                           .run = {.bytes = {1}}, .changed = 5};

        fake_init(f);
        engine_append_site(f->engine, &r);
        r.builds_on = span_of("server.t0");
        r.plugin = span_of("taskserv/y");
        r.key = span_of("taskserv.a@t0");
        engine_append_site(f->engine, &r);
        r.key = span_of("taskserv.b@t0");
        engine_append_site(f->engine, &r);
}

/* It is deleted by a run and put back. */
static void delete_and_roll_back(struct fake *f)
{
        serve(f);
        f->verb = PLAN_DELETE;
        submit(f, 2, true, ON_FAILURE_ROLLBACK, 0); /* t1 is not there: nobody restores it */
        answer(f, CALL_READ, PRVNG_DONE);
        answer(f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_null(inventory_get(&f->site.inventory, "taskserv.a@t0"));
        answer(f, CALL_READ, PRVNG_DONE);
        answer(f, CALL_BEGIN, FAILS);
        cr_assert_eq(verb_of(answer(f, CALL_BEGIN, PRVNG_DONE)), PLAN_CREATE);
}

Test(rollback, names_what_a_server_came_back_without)
{
        struct fake f;

        delete_and_roll_back(&f);
        for (unsigned i = 0; i < 2; i++) {
                cr_assert_eq(f.run->status, RUN_ROLLBACK_INCOMPLETE);
                cr_assert_eq(status(&f, 0), TASK_UNDO_FAILED);
                cr_assert_str_eq(run_note(f.run, 0)->message,
                                 "server.t0 is there again, but what stood on it is not: taskserv.a@t0, "
                                 "taskserv.b@t0. A workflow that installs it brings it back");
                cr_assert(inventory_get(&f.site.inventory, "server.t0")->workflow);
                cr_assert_null(inventory_get(&f.site.inventory, "taskserv.a@t0"));
                crash(&f);
        }
        fake_deinit(&f);
}

/* A server that a run makes anew is there at the end, but not what stood on the old one. */
Test(replace, says_what_went_with_the_old_server)
{
        struct fake f;

        serve(&f);
        f.anew = true;
        submit(&f, 2, true, ON_FAILURE_FAIL, 0);
        answer(&f, CALL_READ, PRVNG_DONE);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        for (unsigned i = 0; i < 2; i++) {
                const struct resource *server = inventory_get(&f.site.inventory, "server.t0");

                cr_assert_eq(f.run->status, RUN_SUCCEEDED);
                cr_assert(server && server->workflow);
                cr_assert_eq(server->n_on, 0);
                cr_assert_null(inventory_get(&f.site.inventory, "taskserv.a@t0"));
                cr_assert_null(inventory_get(&f.site.inventory, "taskserv.b@t0"));
                buf_clear(&f.run_lines); /* the stream of a run that ended is not read */
                crash(&f);
        }
        fake_deinit(&f);
}

/* The first attempt left half a server; another run put something on it, before the retry made it anew. */
Test(retry, says_what_went_with_what_a_failed_attempt_left)
{
        struct record r = {.type = RECORD_RESOURCE, .key = span_of("taskserv.a@t0"),
                           .workflow = span_of("w"), .plugin = span_of("taskserv/y"),
                           .spec = span_of("{}"), .outputs = span_of("{}"), .builds_on = span_of("server.t0"),
                           .run = {.bytes = {1}}, .changed = 5};
        struct fake f;

        fake_init(&f);
        submit(&f, 1, true, ON_FAILURE_FAIL, 0);
        answer(&f, CALL_BEGIN, PRVNG_PERMANENT, PRVNG_EFFECT_PARTIAL, 0, 0, NULL, "half");
        cr_assert_eq(f.run->status, RUN_FAILED);
        engine_append_site(f.engine, &r);
        reopen(&f);
        cr_assert_eq(engine_retry(f.engine, f.run, NULL, "{}"), 0);
        engine_schedule(f.engine);
        cr_assert_eq(verb_of(answer(&f, CALL_BEGIN, PRVNG_DONE)), PLAN_DELETE);
        cr_assert_eq(verb_of(answer(&f, CALL_BEGIN, PRVNG_DONE)), PLAN_CREATE);
        for (unsigned i = 0; i < 2; i++) {
                cr_assert_eq(f.run->status, RUN_SUCCEEDED);
                cr_assert(inventory_get(&f.site.inventory, "server.t0")->workflow);
                cr_assert_null(inventory_get(&f.site.inventory, "taskserv.a@t0"));
                buf_clear(&f.run_lines);
                crash(&f);
        }
        fake_deinit(&f);
}

/* The rollback that goes on finds them there, and the end of the run does not take them away once more. */
Test(rollback, is_complete_when_what_was_lost_is_back)
{
        struct record r = {.type = RECORD_RESOURCE, .workflow = span_of("w"),
                           .plugin = span_of("taskserv/y"), .spec = span_of("{}"),
                           .outputs = span_of("{}"), .builds_on = span_of("server.t0"),
                           .run = {.bytes = {2}}, .changed = 9};
        struct fake f;

        delete_and_roll_back(&f);
        r.key = span_of("taskserv.b@t0");
        engine_append_site(f.engine, &r);
        reopen(&f);
        engine_rollback_again(f.engine, f.run, "{}");
        engine_schedule(f.engine);
        cr_assert_eq(f.run->status, RUN_ROLLBACK_INCOMPLETE);
        cr_assert(strstr(run_note(f.run, 0)->message, "is not: taskserv.a@t0."));
        r.key = span_of("taskserv.a@t0");
        engine_append_site(f.engine, &r);
        reopen(&f);
        engine_rollback_again(f.engine, f.run, "{}");
        engine_schedule(f.engine);
        cr_assert_eq(f.n_calls, 0);
        cr_assert_eq(f.run->status, RUN_ROLLED_BACK);
        for (unsigned i = 0; i < 2; i++) {
                cr_assert(inventory_get(&f.site.inventory, "taskserv.a@t0")->workflow);
                cr_assert(inventory_get(&f.site.inventory, "taskserv.b@t0")->workflow);
                crash(&f);
        }
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
