/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secret backends. What there is to be found says the scenario:
 * {"references": [{"reference": "db#password", "value": "..."}],
 *  "unknown": [{"reference": "db#no", "field": "key"}], "endless": ["slow#x"]}.
 * The values are looked for in everything that passes, as those of "secrets" are.
 */
#include "inside.h"

#include "plugin/border.h"

#include <pthread.h>

enum { RANDOM_REFERENCES = 200, THREADS = 8, ROUNDS = 20, CALL_MS = 20000, LISTED = 50 };

/* The member of the scenario, with its words put in; skips the test where it has none. Caller decrefs. */
static json_t *wanted(struct check *c, const char *member)
{
        json_t *list = scenario_expand(c, scenario_get(c, member));

        if (json_array_size(list) == 0)
                check_skip(c, "the scenario has no \"%s\"", member);
        return list;
}

static const char *name_of(const json_t *e)
{
        return json_get_string(e, "reference", json_string_value(e) ?: "");
}

static int32_t resolve(struct act *a, const char *reference, struct buf *value)
{
        struct check *c = a->s->check;

        a->what = "resolve";
        a->result = SINK(value, PRVNG_SECRET_MAX);
        a->call.reply = &a->reply;
        a->call.said = false;
        check_step(c, "resolve() of %.200s", reference);
        a->answer = a->s->secret.resolve(a->s->instance, &a->call.pub, reference, &a->result);
        if (a->answer != PRVNG_DONE)
                act_judge(a, a->answer);
        else if (a->s->world->sink_refused)
                ;
        else if (a->result.error)
                check_fail(c, "the value of %s is longer than %u bytes", reference, PRVNG_SECRET_MAX);
        else if (value->n == 0)
                check_fail(c, "resolve() of %s answered DONE and wrote no value", reference);
        return a->answer;
}

static int32_t check_one(struct act *a, const char *reference)
{
        a->what = "check";
        a->result = SINK(&a->reply.result, 1 << 20);
        a->call.reply = &a->reply;
        a->call.said = false;
        check_step(a->s->check, "check() of %.200s", reference);
        a->answer = a->s->secret.check(a->s->instance, &a->call.pub, reference, &a->result);
        act_judge(a, a->answer);
        return a->answer;
}

/* One call of resolve(), compared with what the scenario says; `at` for the message. */
static void resolves(struct subject *s, const json_t *e, const char *at)
{
        const char *reference = name_of(e), *value = json_get_string(e, "value", "");
        struct buf got = BUF_WIPES;
        struct act a;

        act_init(&a, s, NULL, 1, CALL_MS);
        if (resolve(&a, reference, &got) == PRVNG_UNSUPPORTED)
                check_skip(s->check, "the plugin cannot work here: %s", a.reply.message ?: "");
        if (a.answer != PRVNG_DONE)
                check_fail(s->check, "%s%s is answered %s: %s", reference, at, class_name(a.answer),
                           a.reply.message ?: "");
        else if (got.n != strlen(value) || memcmp(buf_str(&got), value, got.n) != 0)
                check_fail(s->check, "%s%s gives another value than the scenario says, of %zu bytes instead of %zu",
                           reference, at, got.n, strlen(value));
        buf_deinit(&got);
        act_deinit(&a);
}

static void test_resolve(struct check *c)
{
        const json_t *e;
        struct subject s;
        char path[256];
        json_t *list;
        size_t i;

        subject_start_live(c, &s);
        list = wanted(c, "references");
        json_array_foreach (list, i, e)
                resolves(&s, e, "");
        json_array_foreach (list, i, e)
                resolves(&s, e, ", asked again,");
        subject_stop(&s);
        snprintf(path, sizeof(path), "%s/state", c->folder);
        world_look_into(c, path);
        json_decref(list);
}

/* What every answer to a reference that names nothing must be. */
static void must_be_unknown(struct act *a, const char *reference, const char *field)
{
        struct check *c = a->s->check;
        const char *said = a->reply.field ?: "";

        if (a->answer != PRVNG_NOT_FOUND)
                check_fail(c, "%s() of %s is answered %s, it should be NOT_FOUND", a->what, reference,
                           class_name(a->answer));
        else if (a->reply.effect != PRVNG_EFFECT_NONE)
                check_fail(c, "%s() of %s: the effect of an error is NONE here", a->what, reference);
        else if (field ? !streq(field, said) : !streq(said, "path") && !streq(said, "key"))
                check_fail(c, "%s() of %s is answered with the field \"%s\", it should be \"%s\"", a->what, reference,
                           said, field ?: "path or key");
}

static void test_unknown(struct check *c)
{
        json_t *list, *known = scenario_expand(c, scenario_get(c, "references"));
        const json_t *e;
        struct subject s;
        struct act a;
        size_t i;

        subject_start_live(c, &s);
        list = wanted(c, "unknown");
        json_array_foreach (list, i, e) {
                struct buf got = BUF_WIPES;

                act_init(&a, &s, NULL, 1, CALL_MS);
                if (resolve(&a, name_of(e), &got) == PRVNG_UNSUPPORTED)
                        check_skip(c, "the plugin cannot work here: %s", a.reply.message ?: "");
                must_be_unknown(&a, name_of(e), json_get_string(e, "field", NULL));
                act_deinit(&a);
                buf_deinit(&got);
        }
        json_array_foreach (known, i, e) {
                struct buf got = BUF_WIPES;
                char longer[256];

                snprintf(longer, sizeof(longer), "%.200s-nobody-has-this", name_of(e));
                act_init(&a, &s, NULL, 1, CALL_MS);
                if (resolve(&a, longer, &got) >= 0)
                        check_fail(c, "%s has a value, as if the end of a reference did not count", longer);
                act_deinit(&a);
                buf_deinit(&got);
        }
        subject_stop(&s);
        json_decref(known);
        json_decref(list);
}

static bool is_time(const json_t *v)
{
        const char *t = json_string_value(v);
        int used = 0, part[6];

        if (!t || sscanf(t, "%4d-%2d-%2dT%2d:%2d:%2d%n", &part[0], &part[1], &part[2], &part[3], &part[4], &part[5],
                         &used) != 6 || used != 19)
                return false;
        if (t[used] == '.')
                used += 1 + (int)strspn(t + used + 1, "0123456789");
        return streq(t + used, "Z") || sscanf(t + used, "%*1[+-]%2d:%2d%n", &part[0], &part[1], &used) == 2;
}

static void judge_known(struct check *c, const char *reference, const struct buf *result)
{
        static const char *const times[] = {"expires", "changed"};
        json_t *o = NULL;

        if (json_parse(result->data, result->n, &o, NULL) < 0)
                return; /* was said */
        for (size_t i = 0; i < N_ELEMENTS(times); i++) {
                const json_t *v = json_object_get(o, times[i]);

                if (v && !json_is_null(v) && !is_time(v))
                        check_fail(c, "check() of %s writes \"%s\" that is no time as in RFC 3339", reference,
                                   times[i]);
        }
        if (json_object_get(o, "version") && !json_is_string(json_object_get(o, "version")))
                check_fail(c, "check() of %s writes a \"version\" that is no string", reference);
        if (json_object_get(o, "encrypted") && !json_is_boolean(json_object_get(o, "encrypted")))
                check_fail(c, "check() of %s writes \"encrypted\" that is neither true nor false", reference);
        json_decref(o);
}

static void test_check(struct check *c)
{
        json_t *known, *unknown;
        const json_t *e;
        struct subject s;
        struct act a;
        size_t i;

        subject_start_live(c, &s);
        known = wanted(c, "references");
        unknown = scenario_expand(c, scenario_get(c, "unknown"));
        json_array_foreach (known, i, e) {
                act_init(&a, &s, NULL, 1, CALL_MS);
                if (check_one(&a, name_of(e)) == PRVNG_UNSUPPORTED)
                        check_skip(c, "the plugin cannot work here: %s", a.reply.message ?: "");
                if (a.answer != PRVNG_DONE)
                        check_fail(c, "check() of %s is answered %s: %s", name_of(e), class_name(a.answer),
                                   a.reply.message ?: "");
                else
                        judge_known(c, name_of(e), &a.reply.result);
                act_deinit(&a);
        }
        json_array_foreach (unknown, i, e) {
                act_init(&a, &s, NULL, 1, CALL_MS);
                check_one(&a, name_of(e));
                must_be_unknown(&a, name_of(e), json_get_string(e, "field", NULL));
                act_deinit(&a);
        }
        subject_stop(&s);
        json_decref(known);
        json_decref(unknown);
}

/* --- names --- */

/* A new array of what list() names. */
static json_t *listed(struct subject *s, const char *prefix)
{
        struct check *c = s->check;
        json_t *o = NULL, *list;
        const json_t *e;
        struct act a;
        size_t i;

        act_init(&a, s, NULL, 1, CALL_MS);
        a.what = "list";
        a.result = SINK(&a.reply.result, 16 << 20);
        a.call.reply = &a.reply;
        check_step(c, "list() of \"%s\"", prefix);
        a.answer = s->secret.list(s->instance, &a.call.pub, prefix, &a.result);
        act_judge(&a, a.answer);
        if (a.answer == PRVNG_UNSUPPORTED)
                check_skip(c, "the plugin cannot list: %s", a.reply.message ?: "");
        if (a.answer != PRVNG_DONE || json_parse(a.reply.result.data, a.reply.result.n, &o, NULL) < 0)
                check_stop(c, "list() of \"%s\" is answered %s: %s", prefix, class_name(a.answer),
                           a.reply.message ?: "");
        list = json_incref(json_object_get(o, "references"));
        json_array_foreach (list, i, e) {
                const char *name = json_string_value(e), *next = json_string_value(json_array_get(list, i + 1));

                if (!name || !startswith(name, prefix))
                        check_fail(c, "list() of \"%s\" names %s", prefix, name ?: "what is no string");
                if (name && next && strcmp(name, next) >= 0)
                        check_fail(c, "list() names %s after %s: they are sorted, and each stands once", next, name);
        }
        if (!json_is_array(list))
                check_stop(c, "list() writes no array \"references\"");
        json_decref(o);
        act_deinit(&a);
        return list;
}

static bool has(const json_t *list, const char *name)
{
        const json_t *e;
        size_t i;

        json_array_foreach (list, i, e)
                if (streq(json_string_value(e) ?: "", name))
                        return true;
        return false;
}

static void test_list(struct check *c)
{
        json_t *known, *all, *some;
        struct subject s;
        const json_t *e;
        struct act a;
        size_t i;

        subject_start_live(c, &s);
        if (!s.secret.list)
                check_skip(c, "has no list()");
        known = wanted(c, "references");
        all = listed(&s, "");
        json_array_foreach (known, i, e) {
                some = listed(&s, name_of(e));
                if (!has(some, name_of(e)) || !has(all, name_of(e)))
                        check_fail(c, "list() does not name %s", name_of(e));
                json_decref(some);
        }
        for (i = 0; i < MIN(json_array_size(all), (size_t)LISTED); i++) {
                act_init(&a, &s, NULL, 1, CALL_MS);
                if (check_one(&a, json_string_value(json_array_get(all, i)) ?: "") == PRVNG_NOT_FOUND)
                        check_fail(c, "list() names %s, which check() does not find",
                                   json_string_value(json_array_get(all, i)) ?: "");
                act_deinit(&a);
        }
        subject_stop(&s);
        json_decref(known);
        json_decref(all);
}

/* --- the worst --- */

static void test_failing_sinks(struct check *c)
{
        const json_t *e;
        struct subject s;
        json_t *list;
        size_t i;

        subject_start_live(c, &s);
        list = wanted(c, "references");
        json_array_foreach (list, i, e) {
                size_t n = strlen(json_get_string(e, "value", ""));
                size_t limits[] = {0, n / 2, n - 1};

                for (size_t k = 0; n > 0 && k < N_ELEMENTS(limits); k++) {
                        struct buf got = BUF_WIPES;
                        struct act a;

                        act_init(&a, &s, NULL, 1, CALL_MS);
                        s.world->sink_left = (int64_t)limits[k];
                        s.world->sink_refused = false;
                        resolve(&a, name_of(e), &got);
                        if (a.answer == PRVNG_UNSUPPORTED)
                                check_skip(c, "the plugin cannot work here: %s", a.reply.message ?: "");
                        if (a.answer >= 0)
                                check_fail(c, "resolve() of %s answered %s although the sink refused the value",
                                           name_of(e), class_name(a.answer));
                        s.world->sink_left = -1;
                        s.world->sink_refused = false;
                        buf_deinit(&got);
                        act_deinit(&a);
                }
        }
        subject_stop(&s);
        json_decref(list);
}

/* As the core hands them over: UTF-8 without control characters, not too long, not empty. */
static void make_legal(struct buf *text)
{
        for (size_t k = 0; k < text->n; k++)
                if ((uint8_t)text->data[k] < 0x20 || (uint8_t)text->data[k] >= 0x7f)
                        text->data[k] = '%';
        if (text->n > PRVNG_SECRET_REFERENCE_MAX)
                text->n = PRVNG_SECRET_REFERENCE_MAX, text->data[text->n] = 0;
        if (text->n == 0)
                buf_putc(text, '%');
}

static void test_random(struct check *c)
{
        static const char *const odd[] = {"../../etc/passwd#root", "/etc/passwd#root", "%", "##", "a#", "a#b#c",
                                          "a//b#c", ".#x", "a/../b#c", "{{ a }}#b", "$HOME#x", "`id`#x", "a;b#c"};
        json_t *list = scenario_expand(c, scenario_get(c, "references"));
        const char *from = json_array_size(list) ? name_of(json_array_get(list, 0)) : "dir/file.yaml#some/key";
        _cleanup_(cleanup_buf) struct buf text = BUF_NULL;
        struct subject s;

        subject_start_live(c, &s);
        for (unsigned int i = 0; i < RANDOM_REFERENCES; i++) {
                struct buf got = BUF_WIPES;
                struct act a;

                buf_clear(&text);
                if (i < N_ELEMENTS(odd))
                        buf_puts(&text, odd[i]);
                else if (i == N_ELEMENTS(odd))
                        for (unsigned int k = 0; k < PRVNG_SECRET_REFERENCE_MAX; k++)
                                buf_putc(&text, "a/#"[k % 3]);
                else
                        check_mutate(c, from, strlen(from), &text);
                make_legal(&text);
                act_init(&a, &s, NULL, 1, 5000);
                resolve(&a, buf_str(&text), &got);
                if (i < N_ELEMENTS(odd) && a.answer == PRVNG_DONE && startswith(odd[i], "../"))
                        check_fail(c, "%s leads out of the backend's own folder", odd[i]);
                check_one(&a, buf_str(&text));
                act_deinit(&a);
                buf_deinit(&got);
        }
        subject_stop(&s);
        json_decref(list);
}

/* --- at once --- */

struct team {
        struct subject *s;
        const json_t *list;
        unsigned int next;
};

static void *ask_all(void *userdata)
{
        struct team *t = userdata;
        size_t first = __atomic_fetch_add(&t->next, 1, __ATOMIC_RELAXED), n = json_array_size(t->list);

        for (size_t i = 0; i < n * ROUNDS; i++)
                resolves(t->s, json_array_get(t->list, (first + i) % n), ", asked beside others,");
        return NULL;
}

static void test_parallel(struct check *c)
{
        pthread_t threads[THREADS];
        struct subject s;
        struct team t = {.s = &s};
        json_t *list;

        subject_start_live(c, &s);
        if (s.plugin->threads != PRVNG_THREADS_PARALLEL)
                check_skip(c, "does one call at a time: the host sees to it");
        list = wanted(c, "references");
        t.list = list;
        for (size_t i = 0; i < THREADS; i++)
                if (pthread_create(&threads[i], NULL, ask_all, &t) != 0)
                        check_stop(c, "no thread");
        for (size_t i = 0; i < THREADS; i++)
                pthread_join(threads[i], NULL);
        if (!streq(CHECK_SANITIZER, "thread"))
                check_remark(c, "a stress test only: a build with -Dsanitize=thread would prove it");
        subject_stop(&s);
        json_decref(list);
}

/* `when`: 0 its deadline is over, 1 cancelled before, 2 the deadline comes, 3 cancelled meanwhile. */
static void ends_in_time(struct subject *s, const char *reference, int when)
{
        static const char *const what[] = {"its deadline was over", "it was cancelled before", "its deadline",
                                           "its cancellation"};
        struct check *c = s->check;
        int64_t allowed = 1000 * scenario_limit(c, "cancel_s", 3) * MAX(c->options->slow, 1u);
        int64_t begun = check_now_ms(), took;
        struct buf got = BUF_WIPES;
        pthread_t thread;
        struct act a;

        act_init(&a, s, NULL, 1, when == 0 ? -1000 : when == 2 ? ACT_SOON_MS : 600000);
        if (when == 1)
                op_call_cancel(&a.call);
        if (when == 3 && pthread_create(&thread, NULL, act_cancel_soon, &a) != 0)
                check_stop(c, "no thread");
        resolve(&a, reference, &got);
        took = check_now_ms() - begun - (when > 1 ? ACT_SOON_MS : 0);
        if (when == 3)
                pthread_join(thread, NULL);
        if (when > 1 && a.answer >= 0)
                check_fail(c, "%s is answered %s", reference, class_name(a.answer));
        if (took > allowed)
                check_fail(c, "%s comes back %lld ms after %s", reference, (long long)took, what[when]);
        act_deinit(&a);
        buf_deinit(&got);
}

static void test_cancel(struct check *c)
{
        const json_t *e;
        struct subject s;
        json_t *known, *endless;
        size_t i;

        subject_start_live(c, &s);
        known = wanted(c, "references");
        endless = scenario_expand(c, scenario_get(c, "endless"));
        json_array_foreach (known, i, e)
                for (int when = 0; when < 2; when++)
                        ends_in_time(&s, name_of(e), when);
        json_array_foreach (endless, i, e)
                for (int when = 0; when < 4; when++)
                        ends_in_time(&s, name_of(e), when);
        subject_stop(&s);
        json_decref(known);
        json_decref(endless);
}

/* --- what stays --- */

static void test_unchanged(struct check *c)
{
        struct trace *before;
        const json_t *e;
        struct subject s;
        json_t *list;
        size_t i;

        if (c->scenario)
                scenario_start(c);
        before = trace_take(c);
        subject_start(c, &s);
        list = wanted(c, "references");
        json_array_foreach (list, i, e)
                resolves(&s, e, "");
        subject_stop(&s);
        trace_compare(c, before, "resolve()");
        json_decref(list);
}

/* What was freed unwiped is still there, and so is what the plugin keeps: more of it than before the call is
 * a copy too many. A library may be to blame, hence only a remark. */
static void test_memory(struct check *c)
{
        enum { SHORTEST = 8 };
        struct subject s;
        json_t *list;
        const json_t *e;
        size_t i;

        subject_start_live(c, &s);
        list = wanted(c, "references");
        json_array_foreach (list, i, e) {
                const char *value = json_get_string(e, "value", "");
                size_t n = strlen(value);
                int64_t before = n < SHORTEST ? -1 : memory_count(value, n), after;

                if (before < 0)
                        continue;
                resolves(&s, e, "");
                after = memory_count(value, n);
                if (after > before)
                        check_remark(c, "after resolve() of %s its value stands %lld times more in the plugin's process: "
                                        "wipe what you copy (explicit_bzero)", name_of(e), (long long)(after - before));
        }
        subject_stop(&s);
        json_decref(list);
}

const struct test secret_tests[] = {
        {"secret/resolve", "secret", "gives values by the sink, and nowhere else", test_resolve, 120, 0},
        {"secret/unknown", "secret", "says which part of a reference names nothing", test_unknown, 120, 0},
        {"secret/check", "secret", "knows what there is without showing it", test_check, 120, 0},
        {"secret/list", "secret", "names what it has", test_list, 120, 0},
        {"secret/failing-sinks", "secret", "notices a sink that takes no more", test_failing_sinks, 120, 0},
        {"secret/random", "secret", "survives random references", test_random, 120, TEST_MAY_TRY},
        {"secret/parallel", "secret", "bears as many calls at once as it declares", test_parallel, 120, 0},
        {"secret/cancel", "secret", "ends in time when it is late or cancelled", test_cancel, 120, 0},
        {"secret/memory", "secret", "leaves no value in memory", test_memory, 120, 0},
        {"secret/process-unchanged", "secret", "leaves its process as it was after real work", test_unchanged, 60,
         0},
        {0},
};
