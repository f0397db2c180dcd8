/* SPDX-License-Identifier: Apache-2.0 */
/* prvng.op/1 without a world to act on: descriptions, requests, tokens, sinks that fail, nonsense. */
#include "inside.h"

#include "plugin/border.h"

enum { RANDOM_TASKS = 300, RANDOM_TOKENS = 150 };

#define OP_KINDS "provider taskserv secret"
#define CALL_MS 5000

/* A secret backend may have none of it. */
static void start(struct check *c, struct subject *s)
{
        subject_start(c, s);
        if (streq(c->kind, "secret") && !s->op.struct_size)
                check_skip(c, "has no " PRVNG_OP ": it only reads");
}

/* --- tasks --- */

/* The first task of the scenario, else one that the plugin's description makes likely; text. */
static char *a_task(struct subject *s)
{
        struct check *c = s->check;
        const json_t *first = json_object_get(json_array_get(scenario_get(c, "tasks"), 0), "task");
        bool taskserv = streq(c->kind, "taskserv");
        json_t *task = first ? scenario_expand(c, first) : NULL;
        char *text;

        if (!task && taskserv)
                task = json_pack("{s:s, s:s, s:s, s:s, s:s, s:{}, s:{s:{s:s, s:s, s:{s:s, s:[s]}}}}", "kind",
                                 "taskserv", "name", s->plugin->name, "server", "web-0", "workflow", "check",
                                 "site", "check", "spec", "inputs", "server.web-0", "name", "web-0", "state",
                                 "running", "reach", "method", "exec", "argv", "/bin/false");
        else if (!task)
                task = json_pack("{s:s, s:s, s:s, s:s, s:{s:s, s:i, s:i, s:i}}", "kind", "server", "name",
                                 "web-0", "workflow", "check", "site", "check", "spec", "name", "web-0", "cpu", 1,
                                 "memory", 512, "disk", 10);
        text = json_dumps(task, JSON_COMPACT);
        json_decref(task);
        if (!text)
                check_stop(c, "no memory");
        return text;
}

/* A request for that task; false: prepare refuses it, as it may without a scenario. */
static bool a_request(struct subject *s, const char *task, struct buf *ret)
{
        struct act a;
        bool ok;

        act_init(&a, s, NULL, 1, CALL_MS);
        ok = act_prepare(&a, "create", task, strlen(task)) == PRVNG_DONE;
        if (ok)
                buf_append(ret, a.reply.result.data, a.reply.result.n);
        else
                check_remark(s->check, "prepare() refuses the task that is tried: %s (a scenario would name a better "
                                       "one)", a.reply.message ?: "");
        act_deinit(&a);
        return ok;
}

/* --- describe --- */

static int32_t describe(struct subject *s, struct buf *ret)
{
        struct prvng_sink sink = SINK(ret, 4 << 20);

        check_step(s->check, "describe()");
        return s->op.describe(s->instance, &sink);
}

static void check_words(struct check *c, const json_t *resource, const char *member)
{
        static const char *const verbs[] = {"create", "update", "delete", "check"};
        const json_t *e;
        size_t i;

        json_array_foreach (json_object_get(resource, member), i, e) {
                bool known = false;

                for (size_t k = 0; k < N_ELEMENTS(verbs); k++)
                        known = known || streq(json_string_value(e) ?: "", verbs[k]);
                if (!known)
                        check_fail(c, "describe(): \"%s\" of %s names the verb \"%s\", which there is not", member,
                                   json_get_string(resource, "kind", "?"), json_string_value(e) ?: "?");
        }
}

static void check_resource(struct check *c, const json_t *resource)
{
        const char *kind = json_get_string(resource, "kind", "?"), *attribute;
        const json_t *spec = json_object_get(resource, "spec");
        json_t *v;

        if (!json_is_string(json_object_get(resource, "kind")) ||
            !json_is_array(json_object_get(resource, "verbs")))
                check_fail(c, "describe(): a resource needs \"kind\" and \"verbs\"");
        check_words(c, resource, "verbs");
        check_words(c, resource, "undo");
        if (spec && !json_is_object(spec))
                check_fail(c, "describe(): \"spec\" of %s is no JSON Schema", kind);
        json_object_foreach (json_object_get(resource, "update"), attribute, v) {
                const char *how = json_string_value(v) ?: "";

                if (!streq(how, "live") && !streq(how, "restart") && !streq(how, "replace"))
                        check_fail(c, "describe(): an update of %s is live, restart or replace, not \"%s\"",
                                   attribute, how);
        }
}

static void test_describe(struct check *c)
{
        _cleanup_(cleanup_buf) struct buf text = BUF_NULL, again = BUF_NULL;
        char why[JSON_PARSE_ERROR] = "";
        struct subject s;
        const json_t *e;
        json_t *o = NULL;
        size_t i;

        start(c, &s);
        if (!s.op.describe)
                check_skip(c, "has no describe(): nothing is checked before a run");
        if (describe(&s, &text) != PRVNG_DONE)
                check_stop(c, "describe() does not answer DONE");
        describe(&s, &again);
        if (!streq(buf_str(&text), buf_str(&again)))
                check_fail(c, "describe() says something else the second time");
        if (json_parse(buf_str(&text), text.n, &o, why) < 0 || !json_is_object(o))
                check_stop(c, "what describe() writes is not one JSON object: %s", why);
        if (!json_is_array(json_object_get(o, "resources")))
                check_fail(c, "describe() has no array \"resources\"");
        json_array_foreach (json_object_get(o, "resources"), i, e)
                check_resource(c, e);
        json_decref(o);
        subject_stop(&s);
}

/* --- prepare --- */

static void test_prepare(struct check *c)
{
        _cleanup_(cleanup_buf) struct buf first = BUF_NULL, second = BUF_NULL;
        _cleanup_(cleanup_free) char *task = NULL;
        struct trace *before;
        struct subject s;

        start(c, &s);
        task = a_task(&s);
        before = trace_take(c);
        s.world->is_pure = true;
        s.world->pure_what = "prepare()";
        if (a_request(&s, task, &first)) {
                a_request(&s, task, &second);
                if (!streq(buf_str(&first), buf_str(&second)))
                        check_fail(c, "prepare() makes another request of the same task: %s and %s", first.data,
                                   buf_str(&second));
        }
        s.world->is_pure = false;
        trace_compare(c, before, "prepare()");
        subject_stop(&s);
}

/* A sink that takes only the first bytes, at every size that matters. */
static void test_failing_sinks(struct check *c)
{
        _cleanup_(cleanup_buf) struct buf whole = BUF_NULL;
        _cleanup_(cleanup_free) char *task = NULL;
        struct subject s;

        start(c, &s);
        task = a_task(&s);
        if (!a_request(&s, task, &whole))
                check_skip(c, "prepare() refuses the task that is tried");
        for (size_t left = 0; left < whole.n; left = left < 8 ? left + 1 : left + 1 + whole.n / 8) {
                struct act a;
                int32_t answer;

                act_init(&a, &s, NULL, 1, CALL_MS);
                s.world->sink_left = (int64_t)left;
                s.world->sink_refused = false;
                a.what = "prepare";
                a.result = SINK(&a.reply.result, 16 << 20);
                a.call.reply = &a.reply;
                check_step(c, "prepare() with a sink that takes %zu bytes", left);
                answer = s.op.prepare(s.instance, &a.call.pub, "create", task, strlen(task), &a.result);
                s.world->sink_left = -1;
                if (s.world->sink_refused && answer != PRVNG_INTERNAL)
                        check_fail(c, "prepare() answered %s although the sink refused what came after %zu bytes: it "
                                      "answers INTERNAL then", class_name(answer), left);
                act_deinit(&a);
        }
        if (s.op.describe) {
                struct buf text = BUF_NULL;

                s.world->sink_left = 3;
                s.world->sink_refused = false;
                if (describe(&s, &text) == PRVNG_DONE && s.world->sink_refused)
                        check_fail(c, "describe() answered DONE although the sink refused what came after 3 bytes");
                s.world->sink_left = -1;
                buf_deinit(&text);
        }
        subject_stop(&s);
}

static void test_random_tasks(struct check *c)
{
        static const char *const verbs[] = {"create", "update", "delete", "check"};
        _cleanup_(cleanup_buf) struct buf text = BUF_NULL;
        _cleanup_(cleanup_free) char *task = NULL;
        struct subject s;

        start(c, &s);
        task = a_task(&s);
        for (unsigned int i = 0; i < RANDOM_TASKS; i++) {
                struct act a;

                check_mutate(c, task, strlen(task), &text);
                act_init(&a, &s, NULL, 1, CALL_MS);
                a.what = "prepare";
                a.result = SINK(&a.reply.result, 16 << 20);
                a.call.reply = &a.reply;
                check_step(c, "prepare() of a random task, number %u with --seed %llu: %.250s", i,
                           (unsigned long long)c->options->seed, buf_str(&text));
                a.answer = s.op.prepare(s.instance, &a.call.pub, verbs[i % 4], buf_str(&text), text.n, &a.result);
                act_judge(&a, a.answer);
                act_deinit(&a);
        }
        subject_stop(&s);
}

static void test_unknown_verb(struct check *c)
{
        static const char *const verbs[] = {"", "explode", "creat", "create ", "CREATE"};
        _cleanup_(cleanup_free) char *task = NULL;
        struct subject s;

        start(c, &s);
        task = a_task(&s);
        for (size_t i = 0; i < N_ELEMENTS(verbs); i++) {
                struct act a;

                act_init(&a, &s, NULL, 1, CALL_MS);
                if (act_prepare(&a, verbs[i], task, strlen(task)) == PRVNG_DONE)
                        check_remark(c, "prepare() takes the verb \"%s\"", verbs[i]);
                act_deinit(&a);
        }
        subject_stop(&s);
}

/* --- tokens --- */

/* One token that cannot be the plugin's. */
static void poll_foreign(struct subject *s, const struct buf *request, const void *token, size_t n,
                         const char *what)
{
        struct check *c = s->check;
        char *copy = malloc(n + 1), op_id[27];
        struct act a;
        int32_t answer;

        memcpy(copy, token, n);
        copy[n] = 0;
        op_id_new(c, op_id);
        act_init(&a, s, op_id, 1, CALL_MS);
        answer = act_poll(&a, "create", request->data, request->n, copy, n);
        if (answer != PRVNG_TOKEN_REJECTED)
                check_fail(c, "poll() answered %s to %s (%zu bytes: %.60s): TOKEN_REJECTED leads to observe()",
                           class_name(answer), what, n, copy);
        act_deinit(&a);
        if (s->op.cancel) {
                act_init(&a, s, op_id, 1, CALL_MS);
                act_cancel(&a, "create", request->data, request->n, copy, n);
                act_deinit(&a);
        }
        free(copy);
}

static void test_foreign_tokens(struct check *c)
{
        static const char *const foreign[] = {"", "x", "999999 of a later version", "999999", "{}", "[]",
                                              "{\"v\":999999}", "null", "\xff\xff\xff\xff", "-1 -1 -1 -1 -1",
                                              "999999:%s%s%n", "18446744073709551616"};
        _cleanup_(cleanup_buf) struct buf request = BUF_NULL, token = BUF_NULL;
        _cleanup_(cleanup_free) char *task = NULL;
        struct subject s;

        start(c, &s);
        if (!s.op.poll)
                check_skip(c, "has no poll(): nothing of it is ever PENDING");
        task = a_task(&s);
        if (!a_request(&s, task, &request))
                check_skip(c, "prepare() refuses the task that is tried");
        for (size_t i = 0; i < N_ELEMENTS(foreign); i++)
                poll_foreign(&s, &request, foreign[i], strlen(foreign[i]), "a foreign token");
        for (unsigned int i = 0; i < RANDOM_TOKENS; i++) {
                buf_clear(&token);
                buf_puts(&token, "999999 ");
                for (size_t n = check_below(c, i % 10 ? 60 : PRVNG_TOKEN_MAX - 7); n > 0; n--)
                        buf_putc(&token, (char)(' ' + check_below(c, 95)));
                poll_foreign(&s, &request, token.data, token.n, "a random token");
        }
        subject_stop(&s);
}

/* A request is journaled and comes back unchanged; but a newer version may have to read it. */
static void test_random_requests(struct check *c)
{
        _cleanup_(cleanup_buf) struct buf request = BUF_NULL, text = BUF_NULL;
        _cleanup_(cleanup_free) char *task = NULL;
        struct subject s;

        if (json_is_string(json_object_get(scenario_get(c, "sandbox"), "off")))
                check_skip(c, "nonsense is begun in the sandbox only");
        start(c, &s);
        task = a_task(&s);
        if (!a_request(&s, task, &request))
                check_skip(c, "prepare() refuses the task that is tried");
        for (unsigned int i = 0; i < 60; i++) {
                char op_id[27];
                struct act a;

                check_mutate(c, request.data, MIN(request.n, (size_t)1 + check_below(c, request.n)), &text);
                op_id_new(c, op_id);
                act_init(&a, &s, op_id, 1, 1000);
                op_call_cancel(&a.call); /* nothing of it is meant */
                check_step(c, "begin() and observe() of a random request, number %u with --seed %llu: %.250s", i,
                           (unsigned long long)c->options->seed, buf_str(&text));
                a.what = "observe";
                a.token = SINK(&a.reply.token, PRVNG_TOKEN_MAX);
                a.result = SINK(&a.reply.result, 16 << 20);
                a.call.reply = &a.reply;
                if (s.op.observe)
                        act_judge_observed(&a, s.op.observe(s.instance, &a.call.pub, "create", buf_str(&text),
                                                            text.n, "", 0, &a.token, &a.result));
                act_deinit(&a);
        }
        subject_stop(&s);
}

/* Everything that needs no world, and then the process as it was. */
static void test_unchanged(struct check *c)
{
        _cleanup_(cleanup_buf) struct buf request = BUF_NULL;
        struct trace *before;
        struct subject s;

        s = (struct subject){0};
        before = trace_take(c);
        subject_start(c, &s);
        if (s.op.describe) {
                struct buf text = BUF_NULL;

                describe(&s, &text);
                buf_deinit(&text);
        }
        if (s.op.prepare) {
                _cleanup_(cleanup_free) char *task = a_task(&s);

                a_request(&s, task, &request);
        }
        subject_stop(&s);
        trace_compare(c, before, "the life of an instance");
        fflush(stdout);
}

const struct test op_tests[] = {
        {"instance/process-unchanged", NULL, "leaves descriptors, threads, signals, environment as they were",
         test_unchanged, 60, 0},
        {"op/describe", OP_KINDS, "says what it can do, always the same", test_describe, 30, 0},
        {"op/prepare-is-pure", OP_KINDS, "makes the same request of the same task, and touches nothing",
         test_prepare, 30, 0},
        {"op/failing-sinks", OP_KINDS, "notices a sink that takes no more", test_failing_sinks, 60, 0},
        {"op/random-tasks", OP_KINDS, "survives random tasks", test_random_tasks, 120, TEST_MAY_TRY},
        {"op/random-requests", OP_KINDS, "survives random requests", test_random_requests, 120,
         TEST_MAY_TRY},
        {"op/unknown-verb", OP_KINDS, "survives verbs that there are not", test_unknown_verb, 30, 0},
        {"op/foreign-tokens", OP_KINDS, "rejects tokens that are not its own", test_foreign_tokens, 120, 0},
        {0},
};
