/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/border.h"

#include "base/clock.h"
#include "loaded.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <pthread.h>

/* The plugin "misbehaves" answers what the request says. */
struct border {
        struct loaded l;
        struct plugin *p;
        struct op_reply reply;
};

static void border_new(struct border *b, const char *name)
{
        *b = (struct border){.reply = OP_REPLY_NULL};
        loaded_new(&b->l, &(struct test_plugin){.name = name}, 1, NULL);
        b->p = &b->l.plugins->list[0];
        cr_assert_eq(b->p->state, PLUGIN_READY, "%s", b->p->reason);
}

static void border_end(struct border *b)
{
        op_reply_deinit(&b->reply);
        loaded_end(&b->l);
}

static int32_t begin(struct border *b, const char *request)
{
        struct op_call call;

        op_call_init(&call, b->p, "0", 1, INT64_MAX, 1, "run", "task");
        op_begin(&call, "create", request, strlen(request), &b->reply);
        op_call_deinit(&call);
        return b->reply.answer;
}

static int32_t observe(struct border *b, const char *request, const char *token)
{
        struct op_call call;

        op_call_init(&call, b->p, "0", 1, INT64_MAX, 1, "run", "task");
        op_observe(&call, "create", request, strlen(request), token, strlen(token), &b->reply);
        op_call_deinit(&call);
        return b->reply.answer;
}

Test(border, noop_answers)
{
        struct border b;

        border_new(&b, "noop");
        cr_assert_str_eq(b.p->id, "org.prvng.test.noop");
        cr_assert_eq(json_integer_value(json_object_get(b.p->dependencies, "batch_size")), 1000);
        cr_assert_eq(begin(&b, "{}"), PRVNG_DONE);
        cr_assert_eq(b.reply.effect, PRVNG_EFFECT_COMPLETE);
        cr_assert_str_eq(buf_str(&b.reply.result), "{}");
        border_end(&b);
}

Test(border, failures_keep_their_record)
{
        struct border b;

        border_new(&b, "misbehaves");
        cr_assert_eq(begin(&b, "answer=-1 error=-1 effect=0"), PRVNG_TRANSIENT);
        cr_assert_eq(b.reply.effect, PRVNG_EFFECT_NONE);
        cr_assert_eq(b.reply.retry_after_ms, 5);
        cr_assert_str_eq(b.reply.message, "said so");
        cr_assert_eq(begin(&b, "answer=-9 error=-9 effect=2"), PRVNG_QUOTA);
        cr_assert_eq(b.reply.effect, PRVNG_EFFECT_PARTIAL);
        cr_assert_eq(begin(&b, "answer=-9 error=-9 effect=9"), PRVNG_QUOTA);
        cr_assert_eq(b.reply.effect, PRVNG_EFFECT_UNKNOWN, "no such effect");
        border_end(&b);
}

Test(border, in_doubt_the_effect_is_unknown)
{
        struct border b;

        border_new(&b, "misbehaves");
        cr_assert_eq(begin(&b, "answer=-1"), PRVNG_TRANSIENT, "no record");
        cr_assert_eq(b.reply.effect, PRVNG_EFFECT_UNKNOWN);
        cr_assert_not_null(strstr(b.reply.message, "misbehaves"));
        cr_assert_eq(begin(&b, "answer=-1 error=-1 effect=0 small_error=1"), PRVNG_TRANSIENT);
        cr_assert_eq(b.reply.effect, PRVNG_EFFECT_UNKNOWN, "a record below the baseline");
        cr_assert_eq(begin(&b, "answer=-1 error=-3 effect=0"), PRVNG_TRANSIENT);
        cr_assert_eq(b.reply.effect, PRVNG_EFFECT_UNKNOWN, "a record of another failure");
        cr_assert_eq(begin(&b, "answer=-77 error=-77 effect=0"), PRVNG_PERMANENT);
        cr_assert_eq(b.reply.effect, PRVNG_EFFECT_UNKNOWN, "an unknown class");
        cr_assert_eq(begin(&b, "answer=77"), PRVNG_INTERNAL);
        cr_assert_eq(b.reply.effect, PRVNG_EFFECT_UNKNOWN);
        cr_assert_not_null(b.reply.message);
        border_end(&b);
}

Test(border, a_recovered_failure_leaves_no_trace)
{
        struct border b;

        border_new(&b, "misbehaves");
        cr_assert_eq(begin(&b, "answer=0 error=-1 effect=2 |{\"a\":1}"), PRVNG_DONE);
        cr_assert_eq(b.reply.effect, PRVNG_EFFECT_COMPLETE);
        cr_assert_null(b.reply.message);
        cr_assert_eq(b.reply.retry_after_ms, -1);
        cr_assert_str_eq(buf_str(&b.reply.result), "{\"a\":1}");
        border_end(&b);
}

Test(border, results_become_one_line_or_an_error)
{
        struct border b;

        border_new(&b, "misbehaves");
        cr_assert_eq(begin(&b, "|{ \"a\" :\n [1, 2 ],\t\"\u00e4\": \"\\u00e9\" }\n"), PRVNG_DONE);
        cr_assert_str_eq(buf_str(&b.reply.result), "{\"a\":[1,2],\"\u00e4\":\"\u00e9\"}");
        cr_assert_eq(begin(&b, "|{oops"), PRVNG_INTERNAL);
        cr_assert_eq(b.reply.effect, PRVNG_EFFECT_COMPLETE, "it said that it was done");
        cr_assert_not_null(strstr(b.reply.message, "not one JSON object"));
        cr_assert_eq(b.reply.result.n, 0);
        cr_assert_eq(begin(&b, "|[1]"), PRVNG_INTERNAL);
        cr_assert_eq(begin(&b, "|{} {}"), PRVNG_INTERNAL);
        cr_assert_eq(begin(&b, "|{\"a\":1,\"a\":2}"), PRVNG_INTERNAL, "duplicate members");
        cr_assert_eq(begin(&b, "result_blocks=4097 "), PRVNG_INTERNAL);
        cr_assert_not_null(strstr(b.reply.message, "longer than 16 MiB"));
        cr_assert_eq(begin(&b, ""), PRVNG_DONE, "no result is fine");
        cr_assert_eq(b.reply.result.n, 0);
        border_end(&b);
}

Test(border, tokens_have_a_limit)
{
        struct border b;

        border_new(&b, "misbehaves");
        cr_assert_eq(begin(&b, "answer=1 token=4096 "), PRVNG_PENDING);
        cr_assert_eq(b.reply.token.n, 4096);
        cr_assert_eq(b.reply.effect, PRVNG_EFFECT_UNKNOWN);
        cr_assert_eq(begin(&b, "answer=1 token=4097 "), PRVNG_INTERNAL);
        cr_assert_eq(b.reply.effect, PRVNG_EFFECT_UNKNOWN);
        cr_assert_not_null(strstr(b.reply.message, "longer than 4096 bytes"));
        cr_assert_eq(begin(&b, "answer=1 "), PRVNG_INTERNAL, "PENDING needs a token");
        border_end(&b);
}

Test(border, observations)
{
        struct border b;

        border_new(&b, "misbehaves");
        cr_assert_eq(observe(&b, "answer=2", ""), PRVNG_OBSERVED_NOT_STARTED);
        cr_assert_eq(b.reply.effect, PRVNG_EFFECT_NONE);
        cr_assert_eq(observe(&b, "answer=4 error=-3 effect=2", ""), PRVNG_OBSERVED_FAILED);
        cr_assert_eq(b.reply.effect, PRVNG_EFFECT_PARTIAL);
        cr_assert_str_eq(b.reply.message, "said so");
        cr_assert_eq(observe(&b, "answer=1", ""), PRVNG_INTERNAL, "no token, and there was none");
        cr_assert_eq(observe(&b, "answer=1", "old"), PRVNG_OBSERVED_IN_PROGRESS);
        cr_assert_eq(observe(&b, "answer=6", ""), PRVNG_INTERNAL);
        cr_assert_eq(b.reply.effect, PRVNG_EFFECT_UNKNOWN);
        border_end(&b);
}

Test(border, missing_functions_are_unsupported)
{
        struct border b;
        struct op_call call;

        border_new(&b, "misbehaves"); /* it has no poll, cancel, read, list */
        op_call_init(&call, b.p, "0", 1, INT64_MAX, 1, NULL, NULL);
        op_cancel(&call, "create", "", 0, "t", 1, &b.reply);
        cr_assert_eq(b.reply.answer, PRVNG_UNSUPPORTED);
        cr_assert_eq(b.reply.effect, PRVNG_EFFECT_NONE);
        op_list(&call, "{}", 2, &b.reply);
        cr_assert_eq(b.reply.answer, PRVNG_UNSUPPORTED);
        op_call_deinit(&call);
        border_end(&b);
}

Test(border, check_has_no_effect)
{
        struct border b;
        struct op_call call;

        border_new(&b, "misbehaves");
        op_call_init(&call, b.p, "0", 1, INT64_MAX, 1, NULL, NULL);
        op_begin(&call, "check", "answer=-1", 9, &b.reply);
        cr_assert_eq(b.reply.answer, PRVNG_TRANSIENT);
        cr_assert_eq(b.reply.effect, PRVNG_EFFECT_NONE);
        op_begin(&call, "check", "answer=2", 8, &b.reply);
        cr_assert_eq(b.reply.answer, PRVNG_UNCHANGED);
        op_call_deinit(&call);
        border_end(&b);
}

static void *hold(void *data)
{
        struct op_call *call = data;
        struct op_reply reply = OP_REPLY_NULL;

        op_begin(call, "create", "wait=1 ", 7, &reply); /* until cancelled */
        op_reply_deinit(&reply);
        return NULL;
}

static void *cancel_soon(void *call)
{
        usleep(20000);
        op_call_cancel(call);
        return NULL;
}

Test(border, one_call_at_a_time_but_prepare)
{
        struct border b;
        struct op_call holder, call;
        pthread_t thread, canceller;

        border_new(&b, "misbehaves");
        op_call_init(&holder, b.p, "0", 1, INT64_MAX, 1, NULL, NULL);
        pthread_create(&thread, NULL, hold, &holder);

        op_call_init(&call, b.p, "1", 1, clock_boot_ms() + 10, 1, NULL, NULL);
        do /* until the holder is inside */
                op_begin(&call, "create", "", 0, &b.reply);
        while (b.reply.answer == PRVNG_DONE);
        cr_assert_eq(b.reply.answer, PRVNG_TRANSIENT);
        cr_assert_eq(b.reply.effect, PRVNG_EFFECT_NONE, "it was never asked");

        op_prepare(&call, "create", "{}", 2, &b.reply);
        cr_assert_eq(b.reply.answer, PRVNG_DONE, "prepare takes no lock");
        op_call_deinit(&call);

        op_call_init(&call, b.p, "1", 1, INT64_MAX, 1, NULL, NULL);
        pthread_create(&canceller, NULL, cancel_soon, &call);
        op_observe(&call, "create", "", 0, "", 0, &b.reply);
        cr_assert_eq(b.reply.answer, PRVNG_CANCELLED);
        cr_assert_eq(b.reply.effect, PRVNG_EFFECT_UNKNOWN, "it may have begun long ago");
        pthread_join(canceller, NULL);
        op_call_deinit(&call);

        op_call_cancel(&holder);
        pthread_join(thread, NULL);
        op_call_deinit(&holder);
        border_end(&b);
}

Test(border, names_of_classes)
{
        int32_t answer;

        for (int32_t c = PRVNG_TOKEN_REJECTED; c <= PRVNG_UNCHANGED; c++) {
                const char *name = op_class_name(c);

                cr_assert(op_class_from_name(name, strlen(name), &answer));
                cr_assert_eq(answer, c);
        }
        cr_assert_str_eq(op_class_name(PRVNG_RATE_LIMITED), "RATE_LIMITED");
        cr_assert_str_eq(op_class_name(-99), "PERMANENT");
        cr_assert_str_eq(op_class_name(99), "INTERNAL");
        cr_assert_not(op_class_from_name("DON", 3, &answer));
        cr_assert_str_eq(op_effect_name(PRVNG_EFFECT_COMPLETE), "COMPLETE");
}

/* What Jinja2 takes for true, whatever the plugin spells. */
Test(border, truth_of_an_evaluated_value)
{
        static const struct {
                const char *result;
                bool is_true;
        } cases[] = {
                {"{\"value\":true}", true},     {"{\"value\":false}", false},
                {"{\"value\":null}", false},    {"{\"value\":0}", false},
                {"{\"value\":-0.0}", false},    {"{\"value\":0.1}", true},
                {"{\"value\":-3}", true},       {"{\"value\":\"\"}", false},
                {"{\"value\":\"false\"}", true}, {"{\"value\":[]}", false},
                {"{\"value\":[0]}", true},      {"{\"value\":{}}", false},
                {"{\"value\":{\"a\":0}}", true},
        };
        struct op_reply reply = OP_REPLY_NULL;
        bool is_true;

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                buf_clear(&reply.result);
                buf_puts(&reply.result, cases[i].result);
                is_true = !cases[i].is_true;
                cr_assert_eq(op_evaluated_true(&reply, &is_true), 0);
                cr_assert_eq(is_true, cases[i].is_true, "%s", cases[i].result);
        }
        buf_clear(&reply.result);
        buf_puts(&reply.result, "{}");
        cr_assert_eq(op_evaluated_true(&reply, &is_true), -EBADMSG);
        op_reply_deinit(&reply);
}

Test(border, a_provider_evaluates_nothing)
{
        struct op_call call;
        struct border b;

        border_new(&b, "noop");
        cr_assert_null(plugins_find_template(b.l.plugins));
        op_call_init(&call, b.p, "", 1, INT64_MAX, 1, "", "");
        op_evaluate(&call, "1", "{}", 2, &b.reply);
        cr_assert_eq(b.reply.answer, PRVNG_UNSUPPORTED);
        cr_assert_str_eq(b.reply.message, "plugin noop has no evaluate function");
        op_call_deinit(&call);
        border_end(&b);
}
