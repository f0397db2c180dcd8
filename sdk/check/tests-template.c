/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Templates. The expressions are those of the scenario:
 * {"expressions": [{"expression", "variables": {...}, "value": ...}], "wrong": [{"expression", "code": 1}],
 * "endless": ["..."]}.
 */
#include "inside.h"

#include <pthread.h>

enum { RANDOM_EXPRESSIONS = 60 };

static int32_t evaluate(struct act *a, const char *expression, size_t n, const json_t *variables)
{
        char *text = variables ? json_dumps(variables, JSON_COMPACT) : strdup("{}");
        int32_t answer;

        a->what = "evaluate";
        a->result = SINK(&a->reply.result, 16 << 20);
        a->call.reply = &a->reply;
        check_step(a->s->check, "evaluate() of %.200s", expression);
        answer = a->s->template_.evaluate(a->s->instance, &a->call.pub, expression, n, text, strlen(text),
                                          &a->result);
        a->answer = answer;
        act_judge(a, answer);
        free(text);
        return answer;
}

static void test_expressions(struct check *c)
{
        const json_t *e;
        struct subject s;
        size_t i;

        subject_start_live(c, &s);
        if (json_array_size(scenario_get(c, "expressions")) == 0)
                check_skip(c, "the scenario has no \"expressions\"");
        json_array_foreach (scenario_get(c, "expressions"), i, e) {
                const char *text = json_get_string(e, "expression", "");
                json_t *o = NULL;
                struct act a;

                act_init(&a, &s, NULL, 1, 20000);
                if (evaluate(&a, text, strlen(text), json_object_get(e, "variables")) == PRVNG_UNSUPPORTED)
                        check_skip(c, "the plugin cannot work here: %s", a.reply.message ?: "");
                if (a.answer != PRVNG_DONE)
                        check_fail(c, "%s is answered %s: %s", text, class_name(a.answer), a.reply.message ?: "");
                else if (json_parse(a.reply.result.data, a.reply.result.n, &o, NULL) < 0 ||
                         !json_object_get(o, "value"))
                        check_fail(c, "%s gives no \"value\": %s", text, buf_str(&a.reply.result));
                else if (!json_equal(json_object_get(o, "value"), json_object_get(e, "value")))
                        check_fail(c, "%s gives %s", text, buf_str(&a.reply.result));
                else if (!json_is_object(json_object_get(o, "seen")))
                        check_fail(c, "%s gives no \"seen\"", text);
                json_decref(o);
                act_deinit(&a);
        }
        subject_stop(&s);
}

static void test_wrong(struct check *c)
{
        const json_t *e;
        struct subject s;
        size_t i;

        subject_start_live(c, &s);
        if (json_array_size(scenario_get(c, "wrong")) == 0)
                check_skip(c, "the scenario has no \"wrong\"");
        json_array_foreach (scenario_get(c, "wrong"), i, e) {
                const char *text = json_get_string(e, "expression", "");
                struct act a;

                act_init(&a, &s, NULL, 1, 20000);
                evaluate(&a, text, strlen(text), json_object_get(e, "variables"));
                if (a.answer == PRVNG_UNSUPPORTED)
                        check_skip(c, "the plugin cannot work here: %s", a.reply.message ?: "");
                if (a.answer != PRVNG_PERMANENT)
                        check_fail(c, "%s is answered %s, it should be PERMANENT", text, class_name(a.answer));
                else if (json_get_int(e, "code", a.reply.code) != a.reply.code)
                        check_fail(c, "%s is answered with code %d: %s", text, a.reply.code, a.reply.message ?: "");
                act_deinit(&a);
        }
        subject_stop(&s);
}

/* What never ends, ends: by its deadline, by cancellation, by a limit of the plugin's own. */
static void test_endless(struct check *c)
{
        int64_t allowed = 1000 * scenario_limit(c, "cancel_s", 3) * MAX(c->options->slow, 1u);
        const json_t *e;
        struct subject s;
        size_t i;

        subject_start_live(c, &s);
        if (json_array_size(scenario_get(c, "endless")) == 0)
                check_skip(c, "the scenario has no \"endless\"");
        json_array_foreach (scenario_get(c, "endless"), i, e)
                for (int cancelled = 0; cancelled < 2; cancelled++) {
                        int64_t begun = check_now_ms();
                        pthread_t thread;
                        struct act a;

                        act_init(&a, &s, NULL, 1, cancelled ? 600000 : ACT_SOON_MS);
                        if (cancelled && pthread_create(&thread, NULL, act_cancel_soon, &a) != 0)
                                check_stop(c, "no thread");
                        evaluate(&a, json_string_value(e), json_string_length(e), NULL);
                        if (cancelled)
                                pthread_join(thread, NULL);
                        if (a.answer >= 0)
                                check_fail(c, "%s is answered %s", json_string_value(e), class_name(a.answer));
                        if (check_now_ms() - begun > ACT_SOON_MS + allowed)
                                check_fail(c, "%s comes back %lld ms after its %s", json_string_value(e),
                                           (long long)(check_now_ms() - begun - ACT_SOON_MS),
                                           cancelled ? "cancellation" : "deadline");
                        act_deinit(&a);
                }
        subject_stop(&s);
}

static void test_random(struct check *c)
{
        const json_t *first = json_array_get(scenario_get(c, "expressions"), 0);
        const char *from = json_get_string(first, "expression", "(a.b + 1) == '2' and not [c, {'d': 3}][0]");
        _cleanup_(cleanup_buf) struct buf text = BUF_NULL;
        struct subject s;

        subject_start_live(c, &s);
        for (unsigned int i = 0; i < RANDOM_EXPRESSIONS; i++) {
                struct act a;

                check_mutate(c, from, strlen(from), &text);
                for (size_t k = 0; k < text.n; k++) /* the core hands over UTF-8 without NUL */
                        if (!text.data[k] || text.data[k] & 0x80)
                                text.data[k] = '?';
                act_init(&a, &s, NULL, 1, 5000);
                evaluate(&a, buf_str(&text), text.n, json_object_get(first, "variables"));
                act_deinit(&a);
        }
        subject_stop(&s);
}

/* The worker behind it, if there is one, goes with the instance. */
static void test_unchanged(struct check *c)
{
        struct trace *before;
        struct subject s;
        struct act a;

        if (c->scenario)
                scenario_start(c);
        before = trace_take(c);
        subject_start(c, &s);
        act_init(&a, &s, NULL, 1, 20000);
        evaluate(&a, "1", 1, NULL);
        act_deinit(&a);
        subject_stop(&s);
        trace_compare(c, before, "evaluate()");
}

const struct test template_tests[] = {
        {"template/expressions", "template", "computes what is written", test_expressions, 120, 0},
        {"template/wrong", "template", "says what is wrong with an expression", test_wrong, 120, 0},
        {"template/endless", "template", "bears what never ends", test_endless, 120, 0},
        {"template/random", "template", "survives random expressions", test_random, 120, 0},
        {"template/process-unchanged", "template", "leaves its process as it was after real work", test_unchanged,
         60, 0},
        {0},
};
