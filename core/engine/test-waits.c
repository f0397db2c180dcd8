/* SPDX-License-Identifier: Apache-2.0 */
/* The engine over the fake driver: surplus, limits, conditions, and questions that are never answered. */
#include "engine/test-fake.h"

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

/* Starts run ahead of the rate by a second's worth at most, over all runs; what was started may be polled
 * as it likes: the host counts requests. */
Test(limits, starts_keep_pace)
{
        struct fake f;

        fake_init(&f);
        f.rate_limit = 10;
        submit(&f, 30, false, ON_FAILURE_FAIL, 0);
        cr_assert_eq(f.n_calls, 11);
        for (int i = 0; i < 11; i++)
                answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(f.n_calls, 0, "ends start nothing early");
        tick(&f, 99);
        cr_assert_eq(f.n_calls, 0);
        cr_assert_eq(engine_deadline(f.engine), f.now + 1, "it wakes up by itself");
        tick(&f, 1);
        cr_assert_eq(f.n_calls, 1);
        tick(&f, 1000);
        cr_assert_eq(f.n_calls, 11);
        for (int i = 0; i < 11; i++)
                answer(&f, CALL_BEGIN, PRVNG_PENDING, 0, 0, 10, "1");
        tick(&f, 50);
        cr_assert_eq(f.n_calls, 11, "polls are not held");
        while (f.n_calls)
                answer(&f, CALL_POLL, PRVNG_DONE);
        tick(&f, 5000);
        cr_assert_eq(f.n_calls, 8);
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
