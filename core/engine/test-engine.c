/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine alone, over a fake driver: what each answer of a plugin leads to, what stands in the
 * journal at that moment, and how a second engine over the same records goes on.
 */
#include "engine/test-fake.h"

Test(engine, runs_a_chain_in_order)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 3, true, ON_FAILURE_FAIL, 0);
        for (uint32_t i = 0; i < 3; i++) {
                cr_assert_eq(f.n_calls, 1, "one after another");
                cr_assert_eq(status(&f, i), TASK_RUNNING);
                answer(&f, CALL_BEGIN, PRVNG_DONE);
                cr_assert_eq(status(&f, i), TASK_SUCCEEDED);
        }
        cr_assert_eq(f.run->status, RUN_SUCCEEDED);
        cr_assert_eq(f.n_ended, 1);
        cr_assert(inventory_get(&f.site.inventory, "server.t2"));
        cr_assert_null(inventory_get(&f.site.inventory, "server.t2")->claim);
        fake_deinit(&f);
}

/* Promise 1: the intent, with the request and the op id of the call, is in the journal before it. */
Test(engine, journals_the_intent_before_the_call)
{
        char op_id[UID_TEXT];
        struct fake f;

        fake_init(&f);
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        uid_text(&f.calls[0].op_id, op_id);
        cr_assert(strstr(buf_str(&f.run_lines), "\"type\":\"intent\",\"task\":0,\"op_id\":\""));
        cr_assert(strstr(strstr(buf_str(&f.run_lines), "\"type\":\"intent\""), op_id));
        fake_deinit(&f);
}

/* Promise 6. */
Test(engine, keeps_to_the_batch_size_over_all_runs)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 10, false, ON_FAILURE_FAIL, 3);
        cr_assert_eq(f.n_calls, 3);
        for (unsigned left = 10; left > 0; left--) {
                cr_assert_eq(f.n_calls, MIN(left, 3u));
                answer(&f, CALL_BEGIN, PRVNG_DONE);
        }
        cr_assert_eq(f.run->status, RUN_SUCCEEDED);
        fake_deinit(&f);
}

Test(engine, retries_with_the_same_op_id_and_no_sooner_than_asked)
{
        struct engine_call first, second;
        struct fake f;

        fake_init(&f);
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        first = answer(&f, CALL_BEGIN, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, 60000);
        cr_assert_eq(status(&f, 0), TASK_RETRYING);
        tick(&f, 59999);
        cr_assert_eq(f.n_calls, 0, "retry_after_ms is honoured");
        tick(&f, 1);
        second = answer(&f, CALL_BEGIN, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE);
        cr_assert_eq(memcmp(&first.op_id, &second.op_id, sizeof(first.op_id)), 0);
        cr_assert_eq(second.attempt, 2);
        tick(&f, 10000); /* full jitter: at most 5 s * 2 */
        answer(&f, CALL_BEGIN, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, 0, 0, NULL, "still broken");
        cr_assert_eq(status(&f, 0), TASK_FAILED, "three attempts are all");
        cr_assert_str_eq(run_note(f.run, 0)->message, "still broken");
        cr_assert_eq(f.run->status, RUN_FAILED);
        fake_deinit(&f);
}

/* Found by the simulator: max_delay, which is 300 s here, cut what the plugin had asked for. */
Test(engine, waits_as_long_as_asked_also_after_a_restart)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        answer(&f, CALL_BEGIN, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, 600000);
        tick(&f, 100000);
        crash(&f);
        tick(&f, 499999);
        cr_assert_eq(f.n_calls, 0);
        tick(&f, 1);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(f.run->status, RUN_SUCCEEDED);
        fake_deinit(&f);
}

/* Promise 4: an unknown effect is never tried again blindly. */
Test(engine, observes_before_it_tries_again)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        answer(&f, CALL_BEGIN, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN);
        cr_assert_eq(status(&f, 0), TASK_IN_DOUBT);
        answer(&f, CALL_OBSERVE, PRVNG_OBSERVED_UNCERTAIN, 0, 0, 700);
        tick(&f, 699);
        cr_assert_eq(f.n_calls, 0);
        tick(&f, 1);
        answer(&f, CALL_OBSERVE, PRVNG_OBSERVED_DONE);
        cr_assert_eq(status(&f, 0), TASK_SUCCEEDED);
        fake_deinit(&f);
}

Test(engine, not_started_counts_only_after_the_settling_time)
{
        struct fake f;

        fake_init(&f);
        f.plugin->descriptor.settle_ms = 5000;
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        answer(&f, CALL_BEGIN, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN);
        tick(&f, 1000);
        answer(&f, CALL_OBSERVE, PRVNG_OBSERVED_NOT_STARTED);
        tick(&f, 3999);
        cr_assert_eq(f.n_calls, 0);
        tick(&f, 1);
        answer(&f, CALL_OBSERVE, PRVNG_OBSERVED_NOT_STARTED);
        tick(&f, 5000);
        cr_assert_eq(answer(&f, CALL_BEGIN, PRVNG_DONE).attempt, 2);
        fake_deinit(&f);
}

Test(engine, journals_a_token_once_and_polls_when_told)
{
        const char *first;
        struct fake f;

        fake_init(&f);
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        answer(&f, CALL_BEGIN, PRVNG_PENDING, 0, 0, 300, "1 job");
        first = strstr(buf_str(&f.run_lines), "\"type\":\"token\"");
        cr_assert(first && strstr(first, "\"token\":\"1 job\""));
        tick(&f, 300);
        cr_assert_str_eq(answer(&f, CALL_POLL, PRVNG_PENDING, 0, 0, 300, "1 job").token, "1 job");
        first = strstr(buf_str(&f.run_lines), "\"type\":\"token\"");
        cr_assert_null(strstr(first + 1, "\"type\":\"token\""), "unchanged: not written again");
        tick(&f, 300);
        /* The server is away: nothing changes but the time of the next question. */
        answer(&f, CALL_POLL, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN);
        cr_assert_eq(status(&f, 0), TASK_PENDING);
        tick(&f, 1000);
        answer(&f, CALL_POLL, PRVNG_DONE);
        cr_assert_eq(status(&f, 0), TASK_SUCCEEDED);
        fake_deinit(&f);
}

Test(engine, a_rejected_token_leads_to_observe)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        answer(&f, CALL_BEGIN, PRVNG_PENDING, 0, 0, 1, "old");
        tick(&f, 1);
        answer(&f, CALL_POLL, PRVNG_TOKEN_REJECTED, PRVNG_EFFECT_UNKNOWN);
        answer(&f, CALL_OBSERVE, PRVNG_OBSERVED_IN_PROGRESS, 0, 0, 1, "new");
        tick(&f, 1);
        cr_assert_str_eq(answer(&f, CALL_POLL, PRVNG_DONE).token, "new");
        fake_deinit(&f);
}

Test(engine, a_timeout_cancels_and_then_tries_again)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        answer(&f, CALL_BEGIN, PRVNG_PENDING, 0, 0, 60000, "1");
        tick(&f, 10000);
        answer(&f, CALL_CANCEL, PRVNG_CANCELLED, PRVNG_EFFECT_PARTIAL);
        cr_assert_eq(status(&f, 0), TASK_RETRYING);
        cr_assert(strstr(run_note(f.run, 0)->message, "timed out after 10 s"));
        tick(&f, 5000);
        cr_assert_eq(taken(&f, CALL_BEGIN).attempt, 2);
        fake_deinit(&f);
}

Test(engine, a_call_that_does_not_come_back_is_parked_and_its_late_answer_counts)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        tick(&f, 10000);
        cr_assert_eq(f.n_cancels, 1);
        tick(&f, 30000);
        cr_assert_eq(status(&f, 0), TASK_PARKED);
        cr_assert(strstr(run_note(f.run, 0)->message, "prvng batch resolve"));
        cr_assert_eq(f.n_calls, 1, "never begun again in this process");
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(status(&f, 0), TASK_SUCCEEDED);
        fake_deinit(&f);
}

Test(engine, the_operator_resolves_what_no_plugin_can_tell)
{
        struct fake f;

        fake_init(&f);
        f.plugin->descriptor.flags = PRVNG_PLUGIN_BEGIN_NOT_IDEMPOTENT;
        submit(&f, 2, false, ON_FAILURE_FAIL, 0);
        answer(&f, CALL_BEGIN, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN);
        answer(&f, CALL_BEGIN, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN);
        cr_assert_eq(status(&f, 0), TASK_PARKED);
        cr_assert_eq(f.n_calls, 0);
        cr_assert_eq(engine_resolve(f.engine, f.run, 0, true, "{\"id\":7}", "{}"), 0);
        cr_assert_eq(status(&f, 0), TASK_SUCCEEDED);
        cr_assert_eq(engine_resolve(f.engine, f.run, 0, true, "{}", "{}"), -ENOENT);
        cr_assert_eq(engine_resolve(f.engine, f.run, 1, false, "{}", "{}"), 0);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(f.run->status, RUN_SUCCEEDED);
        cr_assert_str_eq(inventory_get(&f.site.inventory, "server.t0")->outputs, "{\"id\":7}");
        fake_deinit(&f);
}

Test(engine, fail_starts_nothing_more_but_lets_what_runs_end)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 4, false, ON_FAILURE_FAIL, 2);
        answer(&f, CALL_BEGIN, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, 0, 0, NULL, "no");
        cr_assert_eq(f.n_calls, 1);
        cr_assert_eq(f.run->status, RUN_RUNNING);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(f.run->status, RUN_FAILED);
        cr_assert_eq(f.run->n_by_status[TASK_SKIPPED], 2);
        cr_assert_eq(f.run->n_by_status[TASK_SUCCEEDED], 1);
        fake_deinit(&f);
}

Test(engine, continue_goes_on_with_what_does_not_depend_on_it)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 3, false, ON_FAILURE_CONTINUE, 1);
        answer(&f, CALL_BEGIN, PRVNG_QUOTA, PRVNG_EFFECT_NONE);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(f.run->status, RUN_FAILED);
        cr_assert_eq(f.run->n_by_status[TASK_SUCCEEDED], 2);
        fake_deinit(&f);
}

Test(engine, cancel_starts_nothing_more)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 3, true, ON_FAILURE_FAIL, 0);
        cr_assert_eq(engine_cancel(f.engine, f.run, "{\"user\":\"me\"}"), 0);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(f.run->status, RUN_CANCELLED);
        cr_assert_eq(f.n_calls, 0);
        fake_deinit(&f);
}

/* A crash at each point of a task's life: the next engine asks what abi.md says. */
Test(engine, goes_on_after_a_crash)
{
        struct engine_call before, after;
        struct fake f;

        fake_init(&f);
        submit(&f, 2, true, ON_FAILURE_FAIL, 0);
        before = f.calls[0];
        crash(&f); /* only the intent is known */
        after = answer(&f, CALL_OBSERVE, PRVNG_OBSERVED_NOT_STARTED);
        cr_assert_eq(memcmp(&before.op_id, &after.op_id, sizeof(before.op_id)), 0);
        after = answer(&f, CALL_BEGIN, PRVNG_PENDING, 0, 0, 100, "1 token");
        cr_assert_eq(after.attempt, 1, "a crash of ours is not counted against the task");
        crash(&f); /* the token is known */
        tick(&f, 0);
        cr_assert_str_eq(answer(&f, CALL_POLL, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, 500).token, "1 token");
        crash(&f); /* a retry is due */
        cr_assert_eq(f.n_calls, 0);
        tick(&f, 300000);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        crash(&f); /* the second task's intent became durable with the first one's result */
        cr_assert_eq(status(&f, 0), TASK_SUCCEEDED);
        answer(&f, CALL_OBSERVE, PRVNG_OBSERVED_DONE);
        cr_assert_eq(f.run->status, RUN_SUCCEEDED);
        crash(&f);
        cr_assert_eq(f.run->status, RUN_SUCCEEDED);
        cr_assert(inventory_get(&f.site.inventory, "server.t1"));
        fake_deinit(&f);
}

/* What becomes of the strategy is for the rollback's tests; here it only has to arrive. */
Test(engine, journals_the_rollback_strategy_of_the_run)
{
        struct plan plan = {.name = "w", .type = "batch"};
        struct submission s = {.kind = "batch", .store = "file", .who = "{}", .max_attempts = 3,
                               .initial_delay_s = 5, .max_delay_s = 300, .backoff = "exponential",
                               .logging = "{}", .rollback = true, .preserve = true,
                               .checkpoint_interval = 7};
        struct run *run;
        struct fake f;

        fake_init(&f);
        fake_ops.entropy(&f, &s.run, sizeof(s.run));
        cr_assert_eq(engine_submit(f.engine, &s, &plan, &run), 0);
        cr_assert(run->strategy.enabled && run->strategy.preserve && !run->strategy.on_partial);
        cr_assert_eq(run->strategy.interval, 7);
        f.run_seq = 0;
        s = (struct submission){.kind = "check", .store = "file", .who = "{}", .max_attempts = 3,
                                .initial_delay_s = 5, .max_delay_s = 300,
                                .backoff = "exponential", .logging = "{}"};
        fake_ops.entropy(&f, &s.run, sizeof(s.run));
        cr_assert_eq(engine_submit(f.engine, &s, &plan, &run), 0);
        cr_assert(!run->strategy.enabled && !run->strategy.preserve && !run->strategy.on_partial);
        cr_assert_eq(run->strategy.interval, 0);
        fake_deinit(&f);
}

/* The plan's first record names the run again: what claims point to must stay. */
Test(engine, claims_name_the_workflow_that_holds_them)
{
        const struct resource *r;
        struct fake f;

        fake_init(&f);
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        r = inventory_get(&f.site.inventory, "server.t0");
        cr_assert(r && r->claim);
        cr_assert_eq(r->claim_workflow, f.run->name, "not a copy that was freed");
        fake_deinit(&f);
}

/* Promise 4: a begin may have sent its request at the last moment before it came back. */
Test(engine, settling_counts_from_the_return_of_begin)
{
        struct fake f;

        fake_init(&f);
        f.plugin->descriptor.settle_ms = 5000;
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        tick(&f, 4000);
        answer(&f, CALL_BEGIN, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN);
        answer(&f, CALL_OBSERVE, PRVNG_OBSERVED_NOT_STARTED);
        tick(&f, 4999);
        cr_assert_eq(f.n_calls, 0);
        tick(&f, 1);
        answer(&f, CALL_OBSERVE, PRVNG_OBSERVED_NOT_STARTED);
        cr_assert_eq(status(&f, 0), TASK_RETRYING);
        fake_deinit(&f);
}

Test(engine, a_poll_that_hangs_after_one_that_could_not_ask_is_cancelled)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        answer(&f, CALL_BEGIN, PRVNG_PENDING, 0, 0, 1, "1");
        tick(&f, 1);
        answer(&f, CALL_POLL, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN);
        tick(&f, 500);
        cr_assert_eq(f.n_calls, 1);
        tick(&f, 60000);
        cr_assert_eq(f.n_cancels, 1);
        fake_deinit(&f);
}

Test(engine, a_cancelled_run_begins_nothing_again_after_a_crash)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        crash(&f);
        cr_assert_eq(engine_cancel(f.engine, f.run, "{}"), 0);
        answer(&f, CALL_OBSERVE, PRVNG_OBSERVED_NOT_STARTED);
        cr_assert_eq(f.n_calls, 0);
        cr_assert_eq(status(&f, 0), TASK_FAILED);
        cr_assert_eq(f.run->status, RUN_CANCELLED);
        fake_deinit(&f);
}

Test(engine, a_cancelled_run_does_not_wait_for_the_next_attempt)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 2, false, ON_FAILURE_FAIL, 0);
        answer(&f, CALL_BEGIN, PRVNG_RATE_LIMITED, PRVNG_EFFECT_NONE, 3600000, 0, NULL, "slow");
        cr_assert_eq(status(&f, 0), TASK_RETRYING);
        cr_assert_eq(engine_cancel(f.engine, f.run, "{}"), 0);
        answer(&f, CALL_BEGIN, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, 3600000, 0, NULL, "broken");
        tick(&f, 0);
        cr_assert_eq(f.run->status, RUN_CANCELLED);
        cr_assert_eq(f.n_calls, 0);
        fake_deinit(&f);
}

Test(engine, a_failed_run_does_not_wait_for_the_next_attempt)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 2, false, ON_FAILURE_FAIL, 0);
        answer(&f, CALL_BEGIN, PRVNG_RATE_LIMITED, PRVNG_EFFECT_NONE, 3600000, 0, NULL, "slow");
        answer(&f, CALL_BEGIN, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, 0, 0, NULL, "no");
        tick(&f, 0);
        cr_assert_eq(f.run->status, RUN_FAILED);
        fake_deinit(&f);
}

Test(engine, what_is_resolved_as_not_started_stays_so_in_a_cancelled_run)
{
        struct fake f;

        fake_init(&f);
        f.plugin->descriptor.flags = PRVNG_PLUGIN_BEGIN_NOT_IDEMPOTENT;
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        answer(&f, CALL_BEGIN, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN);
        cr_assert_eq(engine_cancel(f.engine, f.run, "{}"), 0);
        cr_assert_eq(engine_resolve(f.engine, f.run, 0, false, "{}", "{}"), 0);
        engine_schedule(f.engine);
        cr_assert_eq(f.n_calls, 0);
        cr_assert_eq(f.run->status, RUN_CANCELLED);
        fake_deinit(&f);
}

Test(engine, what_was_only_read_is_not_begun_in_a_cancelled_run)
{
        struct fake f;

        fake_init(&f);
        f.verb = PLAN_UPDATE;
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        cr_assert_eq(engine_cancel(f.engine, f.run, "{}"), 0);
        answer(&f, CALL_READ, PRVNG_DONE);
        cr_assert_eq(f.n_calls, 0);
        cr_assert_eq(status(&f, 0), TASK_SKIPPED);
        cr_assert_eq(f.run->status, RUN_CANCELLED);
        fake_deinit(&f);
}

/* A server that is gone for good cannot be observed: the operator's word must be able to end it. */
Test(engine, the_operator_resolves_what_stays_in_doubt)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 2, false, ON_FAILURE_CONTINUE, 0);
        answer(&f, CALL_BEGIN, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN);
        answer(&f, CALL_BEGIN, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN);
        cr_assert_eq(engine_resolve(f.engine, f.run, 0, false, "{}", "{}"), -ENOENT, "it is being asked");
        answer(&f, CALL_OBSERVE, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN);
        answer(&f, CALL_OBSERVE, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN);
        cr_assert_eq(engine_resolve(f.engine, f.run, 0, false, "{}", "{}"), 0);
        cr_assert_eq(engine_resolve(f.engine, f.run, 1, true, "{}", "{}"), 0);
        tick(&f, 1000); /* the next observe is not due any more */
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(f.run->status, RUN_SUCCEEDED);
        fake_deinit(&f);
}

Test(engine, nothing_is_begun_without_its_plugin)
{
        struct fake f;

        fake_init(&f);
        f.plugin->descriptor.flags = PRVNG_PLUGIN_BEGIN_NOT_IDEMPOTENT;
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        answer(&f, CALL_BEGIN, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN);
        f.plugins.n = 0;
        crash(&f);
        cr_assert_eq(engine_resolve(f.engine, f.run, 0, false, "{}", "{}"), -ENOENT);
        cr_assert_eq(f.n_calls, 0);
        cr_assert_eq(engine_resolve(f.engine, f.run, 0, true, "{}", "{}"), 0);
        engine_schedule(f.engine);
        cr_assert_eq(f.run->status, RUN_SUCCEEDED);
        fake_deinit(&f);
}

Test(engine, a_late_answer_says_that_the_task_goes_on)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        answer(&f, CALL_BEGIN, PRVNG_PENDING, 0, 0, 1, "1");
        tick(&f, 1);
        tick(&f, 70000);
        tick(&f, 30000);
        cr_assert_eq(status(&f, 0), TASK_PARKED);
        answer(&f, CALL_POLL, PRVNG_PENDING, 0, 0, 1);
        cr_assert_eq(status(&f, 0), TASK_PENDING, "with the token it has");
        cr_assert_eq(engine_resolve(f.engine, f.run, 0, false, "{}", "{}"), -ENOENT);
        fake_deinit(&f);
}

Test(engine, what_went_on_after_the_timeout_of_its_begin_is_cancelled)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        tick(&f, 10000);
        answer(&f, CALL_BEGIN, PRVNG_PENDING, 0, 0, 60000, "1");
        tick(&f, 0);
        answer(&f, CALL_CANCEL, PRVNG_CANCELLED, PRVNG_EFFECT_NONE);
        cr_assert(strstr(run_note(f.run, 0)->message, "timed out after 10 s"));
        fake_deinit(&f);
}

Test(engine, reads_the_former_state_again_if_that_may_help)
{
        struct fake f;

        fake_init(&f);
        f.verb = PLAN_UPDATE;
        submit(&f, 2, false, ON_FAILURE_CONTINUE, 1);
        answer(&f, CALL_READ, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, 700);
        cr_assert_eq(f.n_calls, 0);
        tick(&f, 699);
        cr_assert_eq(f.n_calls, 0);
        tick(&f, 5000);
        answer(&f, CALL_READ, PRVNG_DONE);
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        cr_assert_eq(status(&f, 0), TASK_SUCCEEDED);
        for (unsigned i = 0; i < 3; i++) {
                answer(&f, CALL_READ, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, 1, 0, NULL, "away");
                tick(&f, 300000);
        }
        cr_assert_eq(status(&f, 1), TASK_FAILED, "three attempts are all");
        cr_assert_eq(f.run->status, RUN_FAILED);
        fake_deinit(&f);
}

/* The call that never came back ended with its process: the next engine can ask. */
Test(engine, asks_again_after_a_restart_what_was_parked)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        tick(&f, 10000);
        tick(&f, 30000);
        cr_assert_eq(status(&f, 0), TASK_PARKED);
        crash(&f);
        tick(&f, 0);
        answer(&f, CALL_OBSERVE, PRVNG_UNSUPPORTED, PRVNG_EFFECT_NONE);
        cr_assert_eq(status(&f, 0), TASK_PARKED);
        crash(&f);
        tick(&f, 0);
        answer(&f, CALL_OBSERVE, PRVNG_OBSERVED_DONE);
        cr_assert_eq(f.run->status, RUN_SUCCEEDED);
        fake_deinit(&f);
}

/* Found by the simulator: parked tasks were all asked about at once. */
Test(engine, asks_about_parked_tasks_within_the_limit_after_a_restart)
{
        struct fake f;

        fake_init(&f);
        f.plugin->op.observe = NULL;
        submit(&f, 3, false, ON_FAILURE_FAIL, 1);
        for (uint32_t i = 0; i < 3; i++) {
                answer(&f, CALL_BEGIN, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN);
                answer(&f, CALL_OBSERVE, PRVNG_UNSUPPORTED, PRVNG_EFFECT_NONE);
                cr_assert_eq(status(&f, i), TASK_PARKED);
        }
        crash(&f);
        tick(&f, 0);
        cr_assert_eq(f.n_calls, 1);
        answer(&f, CALL_OBSERVE, PRVNG_OBSERVED_DONE);
        cr_assert_eq(f.n_calls, 0);
        tick(&f, 500);
        cr_assert_eq(f.n_calls, 1);
        fake_deinit(&f);
}

/* Found by the simulator: it was begun again, and where the API keeps no key of ours, made twice. */
Test(engine, observes_what_failed_after_it_did_everything)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        answer(&f, CALL_BEGIN, PRVNG_TRANSIENT, PRVNG_EFFECT_COMPLETE);
        answer(&f, CALL_OBSERVE, PRVNG_OBSERVED_DONE);
        cr_assert_eq(status(&f, 0), TASK_SUCCEEDED);
        fake_deinit(&f);
}

/* Found by the simulator: the last attempt failed without an effect, and the server that an earlier one
 * had made in part was forgotten. */
Test(engine, remembers_what_an_earlier_attempt_left)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        answer(&f, CALL_BEGIN, PRVNG_TRANSIENT, PRVNG_EFFECT_PARTIAL);
        tick(&f, 10000);
        answer(&f, CALL_BEGIN, PRVNG_PERMANENT, PRVNG_EFFECT_NONE);
        cr_assert_eq(status(&f, 0), TASK_FAILED);
        cr_assert_eq(run_note(f.run, 0)->effect, PRVNG_EFFECT_PARTIAL);
        cr_assert(inventory_get(&f.site.inventory, "server.t0"));
        fake_deinit(&f);
}

/* Found by the simulator: an observe that took longer than the settling time was believed, and so was
 * the part that the attempt before the last one had left. */
Test(engine, settling_counts_to_when_the_question_left)
{
        struct fake f;

        fake_init(&f);
        f.plugin->descriptor.settle_ms = 5000;
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        answer(&f, CALL_BEGIN, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN);
        tick(&f, 6000);
        answer(&f, CALL_OBSERVE, PRVNG_OBSERVED_NOT_STARTED);
        tick(&f, 0);
        answer(&f, CALL_OBSERVE, PRVNG_OBSERVED_NOT_STARTED);
        tick(&f, 5000);
        answer(&f, CALL_BEGIN, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN);
        answer(&f, CALL_OBSERVE, PRVNG_OBSERVED_PARTIAL);
        tick(&f, 5000);
        answer(&f, CALL_OBSERVE, PRVNG_OBSERVED_PARTIAL);
        tick(&f, 20000);
        cr_assert_eq(answer(&f, CALL_BEGIN, PRVNG_DONE).attempt, 3);
        fake_deinit(&f);
}

/* What a failed create left behind has an owner: a rerun may complete it, destroy deletes it. */
Test(engine, a_server_that_was_made_in_part_is_in_the_inventory)
{
        const struct resource *r;
        struct fake f;

        fake_init(&f);
        submit(&f, 2, false, ON_FAILURE_CONTINUE, 0);
        answer(&f, CALL_BEGIN, PRVNG_PERMANENT, PRVNG_EFFECT_PARTIAL);
        answer(&f, CALL_BEGIN, PRVNG_PERMANENT, PRVNG_EFFECT_NONE);
        cr_assert_eq(f.run->status, RUN_FAILED);
        for (unsigned i = 0; i < 2; i++) {
                r = inventory_get(&f.site.inventory, "server.t0");
                cr_assert(r && r->workflow);
                cr_assert_str_eq(r->workflow, "w");
                cr_assert_str_eq(r->plugin, "provider/x");
                cr_assert(*r->op_id && strstr(r->outputs, r->op_id), "what is known of it");
                cr_assert_null(inventory_get(&f.site.inventory, "server.t1"));
                buf_clear(&f.run_lines); /* once more from the site's stream alone */
                if (i == 0)
                        crash(&f);
        }
        fake_deinit(&f);
}

Test(engine, a_plugin_that_asks_for_ever_gets_a_month)
{
        struct fake f;

        fake_init(&f);
        submit(&f, 2, false, ON_FAILURE_FAIL, 0);
        answer(&f, CALL_BEGIN, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, INT64_MAX);
        answer(&f, CALL_BEGIN, PRVNG_PENDING, 0, 0, INT64_MAX, "1");
        tick(&f, 0);
        cr_assert_eq(f.n_calls, 0, "neither is due: no time ran over");
        crash(&f);
        tick(&f, 0);
        cr_assert_eq(taken(&f, CALL_POLL).attempt, 1);
        cr_assert_eq(f.n_calls, 0);
        fake_deinit(&f);
}

/* It may wait for days: neither its run's other tasks nor other runs wait with it. */
Test(engine, a_parked_task_gives_its_place_to_others)
{
        struct fake f;

        fake_init(&f);
        f.plugin->descriptor.flags = PRVNG_PLUGIN_BEGIN_NOT_IDEMPOTENT;
        submit(&f, 2, false, ON_FAILURE_CONTINUE, 1);
        answer(&f, CALL_BEGIN, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN);
        cr_assert_eq(status(&f, 0), TASK_PARKED);
        cr_assert_eq(f.n_calls, 1);
        crash(&f);
        cr_assert_eq(status(&f, 1), TASK_PARKED, "observe cannot help this plugin");
        cr_assert_eq(engine_resolve(f.engine, f.run, 1, false, "{}", "{}"), 0);
        tick(&f, 0);
        cr_assert_eq(f.n_calls, 1);
        cr_assert_eq(engine_resolve(f.engine, f.run, 0, false, "{}", "{}"), 0);
        tick(&f, 1000);
        cr_assert_eq(f.n_calls, 1, "promise 6");
        answer(&f, CALL_BEGIN, PRVNG_DONE);
        tick(&f, 1000);
        cr_assert_eq(answer(&f, CALL_BEGIN, PRVNG_DONE).attempt, 1);
        cr_assert_eq(f.run->status, RUN_SUCCEEDED);
        cr_assert_eq(f.engine->in_flight, 0);
        fake_deinit(&f);
}

/* The end of a long message would fall into a character, and the journal be no UTF-8. */
Test(engine, cuts_no_message)
{
        char message[1500 * 2 + 1] = "";
        struct fake f;

        for (unsigned i = 0; i < 1500; i++)
                memcpy(message + 2 * i, "\xc3\xa9", 3);
        fake_init(&f);
        submit(&f, 2, false, ON_FAILURE_CONTINUE, 0);
        tick(&f, 10000);
        answer(&f, CALL_BEGIN, PRVNG_CANCELLED, PRVNG_EFFECT_NONE, 0, 0, NULL, message);
        cr_assert(strstr(run_note(f.run, 0)->message, message));
        answer(&f, CALL_BEGIN, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN);
        answer(&f, CALL_OBSERVE, PRVNG_UNSUPPORTED, PRVNG_EFFECT_NONE, 0, 0, NULL, message);
        cr_assert(strstr(run_note(f.run, 1)->message, message));
        cr_assert(strstr(run_note(f.run, 1)->message, "prvng batch resolve"));
        fake_deinit(&f);
}

/* It changes nothing, so that there is nothing to ask the operator. */
Test(engine, a_check_in_doubt_is_made_again)
{
        struct fake f;

        fake_init(&f);
        f.verb = PLAN_CHECK;
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        crash(&f);
        answer(&f, CALL_OBSERVE, PRVNG_UNSUPPORTED, PRVNG_EFFECT_NONE);
        cr_assert_eq(taken(&f, CALL_BEGIN).attempt, 1);
        f.plugin->descriptor.flags = PRVNG_PLUGIN_BEGIN_NOT_IDEMPOTENT;
        crash(&f);
        answer(&f, CALL_OBSERVE, PRVNG_UNSUPPORTED, PRVNG_EFFECT_NONE);
        answer(&f, CALL_BEGIN, PRVNG_UNCHANGED);
        cr_assert_eq(f.run->status, RUN_SUCCEEDED);
        fake_deinit(&f);
}

/* Neither for ever nor blindly: what goes on after it was cancelled ends up with the operator. */
Test(engine, what_cannot_be_stopped_is_parked)
{
        struct fake f;
        unsigned n = 0;

        fake_init(&f);
        submit(&f, 1, false, ON_FAILURE_FAIL, 0);
        answer(&f, CALL_BEGIN, PRVNG_PENDING, 0, 0, 600000, "1");
        tick(&f, 10000);
        answer(&f, CALL_CANCEL, PRVNG_PENDING, 0, 0, 600000);
        for (; status(&f, 0) != TASK_PARKED && n < 20; n++) {
                tick(&f, 30000);
                if (f.n_calls)
                        answer(&f, CALL_OBSERVE, PRVNG_OBSERVED_IN_PROGRESS, 0, 0, 600000, "1");
        }
        cr_assert_eq(status(&f, 0), TASK_PARKED);
        cr_assert_lt(n, 20);
        fake_deinit(&f);
}

Test(timers, fire_in_order)
{
        struct timers t = {0};
        struct timer timers[200] = {{0}};
        int64_t last = INT64_MIN;
        unsigned seed = 1, n = 0;

        for (unsigned i = 0; i < 200; i++)
                cr_assert_eq(timers_set(&t, &timers[i], rand_r(&seed) % 1000), 0);
        for (unsigned i = 0; i < 200; i += 3)
                timers_unset(&t, &timers[i]);
        for (unsigned i = 1; i < 200; i += 3)
                cr_assert_eq(timers_set(&t, &timers[i], rand_r(&seed) % 1000), 0);
        for (struct timer *due; (due = timers_due(&t, 1000)); n++) {
                cr_assert_geq(due->at, last);
                last = due->at;
        }
        cr_assert_eq(n, 200 - 67);
        timers_deinit(&t);
}
