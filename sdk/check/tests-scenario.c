/* SPDX-License-Identifier: Apache-2.0 */
/* Providers and taskservs against the world of their scenario. */
#include "drive.h"

#include "plugin/border.h"

#include <fcntl.h>
#include <pthread.h>

#define KINDS "provider taskserv"

static const json_t *entry_of(struct check *c, size_t i)
{
        const json_t *e = json_array_get(scenario_get(c, "tasks"), i);

        if (!e)
                check_skip(c, "the scenario has no %s", i ? "such task" : "\"tasks\"");
        return e;
}

static void count_is(struct check *c, int64_t want, const char *after)
{
        int64_t n = scenario_count(c);

        if (n != want)
                check_fail(c, "after %s there are %lld resources, there should be %lld", after, (long long)n,
                           (long long)want);
}

static void must_be(struct check *c, int32_t answer, int32_t want, const char *what)
{
        if (answer != want)
                check_fail(c, "%s is answered %s, it should be %s", what, class_name(answer), class_name(want));
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

        must_be(c, run_operation(s, l, "create", task_create(c, e, "")), PRVNG_DONE, "create");
        count_is(c, base + task_counts(e), "create");
        check_marks(s, l);
        made = strdup(l->result);
        must_be(c, run_operation(s, l, "create", task_known(c, e, "", made)), PRVNG_UNCHANGED,
                "create of what is there");
        count_is(c, base + task_counts(e), "a second create");
        must_be(c, run_operation(s, l, "check", task_known(c, e, "", made)), PRVNG_UNCHANGED,
                "check of what is as it should be");
        if (s->op.read)
                must_be(c, read_state(s, task_known(c, e, "", made)), PRVNG_DONE, "read of what is there");
        if (json_object_get(e, "update")) {
                run_operation(s, l, "update", task_update(c, e, "", made));
                count_is(c, base + task_counts(e), "update");
                must_be(c, run_operation(s, l, "check", task_update(c, e, "", made)), PRVNG_UNCHANGED,
                        "check after an update");
                run_operation(s, l, "check", task_known(c, e, "", made));
                if (!has_drift(l))
                        check_fail(c, "check does not tell that an update changed the resource: \"drift\" is empty");
        }
        must_be(c, run_operation(s, l, "delete", task_known(c, e, "", made)), PRVNG_DONE, "delete");
        count_is(c, base, "delete");
        must_be(c, run_operation(s, l, "delete", task_known(c, e, "", made)), PRVNG_UNCHANGED,
                "delete of what is gone");
        if (s->op.read)
                must_be(c, read_state(s, task_known(c, e, "", made)), PRVNG_NOT_FOUND, "read of what is gone");
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
        entry_of(c, 0);
        base = scenario_count(c);
        subject_start(c, &s);
        for (size_t i = 0; i < json_array_size(scenario_get(c, "tasks")); i++)
                live(&s, l, entry_of(c, i), base);
        subject_stop(&s);
}

static void test_unchanged(struct check *c)
{
        struct ledger *l = ledger_new(c);
        struct trace *before;
        struct subject s;

        scenario_start(c);
        entry_of(c, 0);
        before = trace_take(c);
        subject_start(c, &s);
        run_operation(&s, l, "create", task_create(c, entry_of(c, 0), ""));
        run_operation(&s, l, "delete", task_known(c, entry_of(c, 0), "", l->result));
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

        scenario_start(c);
        e = entry_of(c, 0);
        base = scenario_count(c);
        subject_start(c, &s);
        run_operation(&s, l, "create", task_create(c, e, ""));
        made = strdup(l->result);
        if (json_object_get(e, "update")) {
                run_operation(&s, l, "update", task_update(c, e, "", made));
                run_operation(&s, l, "update", task_known(c, e, "", l->result)); /* back */
                must_be(c, run_operation(&s, l, "check", task_known(c, e, "", made)), PRVNG_UNCHANGED,
                        "check after an update was undone");
        }
        run_operation(&s, l, "delete", task_known(c, e, "", made));
        count_is(c, base, "everything was undone");
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

        scenario_start(c);
        e = entry_of(c, 0);
        base = scenario_count(c);
        subject_start(c, &s);
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
        count_is(c, base + task_counts(e), "two begin() with one op id");
        run_operation(&s, l, "delete", task_known(c, e, "", l->result));
        count_is(c, base, "delete of what two begin() made");
        subject_stop(&s);
}

/* --- killed anywhere --- */

static void act_on(struct check *c, void *userdata)
{
        struct ledger *l = userdata;
        struct subject s;

        subject_start(c, &s);
        ledger_drive(&s, l);
        subject_stop(&s);
}

/* One operation, killed at boundary `at` (0: not) or after `us` (-1: not), then carried on with. True: it
 * was killed. */
static bool killed_and_resumed(struct check *c, struct ledger *l, uint32_t at, int64_t us)
{
        bool killed;

        c->shared->kill_at = at;
        killed = !in_child(c, us, act_on, l);
        c->shared->kill_at = 0;
        if (killed)
                in_child(c, -1, act_on, l);
        if (l->answer != PRVNG_DONE && l->answer != PRVNG_UNCHANGED)
                check_stop(c, "killed at boundary %u and carried on with, %s ended with %s: %s", at, l->verb,
                           class_name(l->answer), l->message);
        return killed;
}

/* create and delete, each killed at that place. Without one: how many boundaries the longer has; else 0: there
 * are fewer. */
static uint32_t kill_round(struct check *c, struct ledger *l, const json_t *e, uint32_t at, int64_t us, int64_t base)
{
        uint32_t n;
        char what[128];
        bool killed;

        ledger_start(c, l, "create", task_create(c, e, ""));
        killed = killed_and_resumed(c, l, at, us);
        n = c->shared->boundary;
        snprintf(what, sizeof(what), us < 0 ? "a create that was killed at boundary %u" :
                                              "a create that was killed at a moment of its own (%u)", at);
        count_is(c, base + task_counts(e), what);
        ledger_start(c, l, "delete", task_known(c, e, "", l->result));
        killed = killed_and_resumed(c, l, at, us) || killed;
        snprintf(what, sizeof(what), us < 0 ? "a delete that was killed at boundary %u" :
                                              "a delete that was killed at a moment of its own (%u)", at);
        count_is(c, base, what);
        if (at == 0 && us < 0)
                return MAX(n, c->shared->boundary);
        return killed && !c->failed;
}

/* All boundaries, or as many as are allowed, spread over them: others with another seed. */
static void kill_everywhere(struct check *c, struct ledger *l, const json_t *e, int64_t base)
{
        uint32_t most = (uint32_t)scenario_limit(c, "boundaries", 60), at, n;
        const char *kind = json_get_string(json_object_get(e, "task"), "kind", "");
        int64_t took = check_now_ms();

        n = kill_round(c, l, e, 0, -1, base);
        took = (check_now_ms() - took) / 2;
        if (n <= most) {
                for (at = 1; kill_round(c, l, e, at, -1, base) && at < 2 * most; at++)
                        ;
                check_remark(c, "%s: killed at each of %u boundaries", kind, at - 1);
        } else {
                for (uint32_t i = 0; i < most && !c->failed; i++)
                        kill_round(c, l, e, 1 + i * n / most + (uint32_t)check_below(c, n / most), -1, base);
                check_remark(c, "%s: killed at %u of %u boundaries (limits.boundaries)", kind, most, n);
        }
        for (int64_t i = scenario_limit(c, "random_kills", 6); i > 0 && !c->failed; i--)
                kill_round(c, l, e, 0, (int64_t)check_below(c, (size_t)MAX(took * 1000, INT64_C(2000))), base);
}

static void test_kill(struct check *c)
{
        struct ledger *l = ledger_new(c);
        int64_t base;

        scenario_start(c);
        entry_of(c, 0);
        base = scenario_count(c);
        for (size_t i = 0; i < json_array_size(scenario_get(c, "tasks")) && !c->failed; i++)
                kill_everywhere(c, l, entry_of(c, i), base);
}

/* --- cancelling --- */

static void *cancel_later(void *userdata)
{
        struct act *a = userdata;

        check_sleep_ms(a->call.pub.epoch == 1 ? 0 : (int64_t)a->call.pub.epoch);
        op_call_cancel(&a->call);
        return NULL;
}

/* After a cancelled begin(): what was begun is found out, ended, removed. */
static void clean_up(struct subject *s, struct ledger *l, const json_t *e, int64_t base, const char *after)
{
        struct check *c = s->check;

        if (l->state == LEDGER_ENDED && l->answer == PRVNG_CANCELLED && l->effect == PRVNG_EFFECT_NONE) {
                count_is(c, base, after);
                return;
        }
        if (l->state == LEDGER_ENDED && l->answer == PRVNG_CANCELLED) {
                l->state = LEDGER_INTENT;
                ledger_drive(s, l);
        } else if (l->state != LEDGER_ENDED) {
                ledger_drive(s, l);
        }
        if (l->answer == PRVNG_DONE || l->answer == PRVNG_UNCHANGED)
                run_operation(s, l, "delete", task_known(c, e, "", l->result));
        count_is(c, base, after);
}

/* begin() with the flag set before (ms 0) or so much later. */
static void cancel_begin(struct subject *s, struct ledger *l, const json_t *e, int64_t ms, int64_t base)
{
        struct check *c = s->check;
        int64_t allowed = 1000 * scenario_limit(c, "cancel_s", 3) * MAX(c->options->slow, 1u), begun, wait;
        pthread_t thread;
        char what[80];
        struct act a;

        ledger_start(c, l, "create", task_create(c, e, ""));
        ledger_step(s, l, &wait); /* prepare */
        act_init(&a, s, l->op_id, 1, 600000);
        a.call.pub.epoch = (uint64_t)MAX(ms, INT64_C(1));
        if (ms == 0)
                op_call_cancel(&a.call);
        l->state = LEDGER_INTENT;
        l->attempt = 1;
        l->left_ms = begun = check_now_ms();
        if (ms > 0 && pthread_create(&thread, NULL, cancel_later, &a) != 0)
                check_stop(c, "no thread");
        act_begin(&a, l->verb, l->request, l->n_request);
        if (ms > 0)
                pthread_join(thread, NULL);
        if (check_now_ms() - begun > ms + allowed)
                check_fail(c, "begin() came back %lld ms after it was cancelled, %lld are allowed",
                           (long long)(check_now_ms() - begun - ms), (long long)allowed);
        if (a.answer == PRVNG_PENDING) {
                l->state = LEDGER_TOKEN;
                l->n_token = (uint32_t)a.reply.token.n;
                memcpy(l->token, a.reply.token.data, a.reply.token.n);
        } else if (a.answer != PRVNG_TRANSIENT) {
                l->state = LEDGER_ENDED;
                l->answer = a.answer;
                l->effect = a.call.said ? a.reply.effect : PRVNG_EFFECT_UNKNOWN;
                snprintf(l->result, sizeof(l->result), "%s", buf_str(&a.reply.result));
        }
        act_deinit(&a);
        snprintf(what, sizeof(what), "a create that was cancelled after %lld ms", (long long)ms);
        clean_up(s, l, e, base, what);
}

/* cancel() of what is PENDING, twice, until it has ended. */
static void cancel_pending(struct subject *s, struct ledger *l, const json_t *e, int64_t base)
{
        struct check *c = s->check;
        int64_t wait;
        struct act a;
        int32_t answer = PRVNG_PENDING;

        ledger_start(c, l, "create", task_create(c, e, ""));
        ledger_step(s, l, &wait);
        ledger_step(s, l, &wait);
        if (l->state == LEDGER_TOKEN && s->op.cancel) {
                for (int i = 0; i < 2; i++) { /* idempotent */
                        act_init(&a, s, l->op_id, 1, 30000);
                        answer = act_cancel(&a, l->verb, l->request, l->n_request, l->token, l->n_token);
                        if (answer != PRVNG_DONE && answer != PRVNG_CANCELLED && answer != PRVNG_PENDING &&
                            answer != PRVNG_UNSUPPORTED && answer != PRVNG_TRANSIENT && !(i && answer < 0))
                                check_fail(c, "cancel() of pending work is answered %s", class_name(answer));
                        if (i == 0 && answer != PRVNG_PENDING && answer != PRVNG_UNSUPPORTED &&
                            answer != PRVNG_TRANSIENT) {
                                l->state = LEDGER_ENDED;
                                l->answer = answer;
                                l->effect = a.call.said ? a.reply.effect : PRVNG_EFFECT_UNKNOWN;
                                snprintf(l->result, sizeof(l->result), "%s", buf_str(&a.reply.result));
                        }
                        act_deinit(&a);
                }
        }
        clean_up(s, l, e, base, "a create whose pending work was cancelled");
}

static void test_cancel(struct check *c)
{
        struct ledger *l = ledger_new(c);
        const json_t *e;
        struct subject s;
        int64_t base;

        scenario_start(c);
        e = entry_of(c, 0);
        base = scenario_count(c);
        subject_start(c, &s);
        for (int64_t i = 0, ms = 0; i < scenario_limit(c, "cancels", 5) && !c->failed; i++, ms = ms * 3 + 2)
                cancel_begin(&s, l, e, ms, base);
        if (!c->failed)
                cancel_pending(&s, l, e, base);
        subject_stop(&s);
}

/* --- pending work --- */

/* Begins a create; skips the test if the plugin is never PENDING. */
static void begin_pending(struct subject *s, struct ledger *l, const json_t *e)
{
        struct check *c = s->check;
        int64_t wait;

        ledger_start(c, l, "create", task_create(c, e, ""));
        for (int i = 0; i < 100 && l->state != LEDGER_TOKEN && ledger_step(s, l, &wait); i++)
                check_sleep_ms(wait);
        if (l->state == LEDGER_TOKEN)
                return;
        if (l->state == LEDGER_ENDED && l->answer >= 0)
                run_operation(s, l, "delete", task_known(c, e, "", l->result));
        check_skip(c, "create is not PENDING here");
}

static void test_poll_twice(struct check *c)
{
        struct ledger *l = ledger_new(c);
        char token[PRVNG_TOKEN_MAX];
        uint32_t n_token;
        const json_t *e;
        struct subject s;
        struct act a;
        int64_t base;

        scenario_start(c);
        e = entry_of(c, 0);
        base = scenario_count(c);
        subject_start(c, &s);
        begin_pending(&s, l, e);
        n_token = l->n_token;
        memcpy(token, l->token, n_token);
        for (int i = 0; i < 3; i++) {
                act_init(&a, &s, l->op_id, 1, 30000);
                if (act_poll(&a, l->verb, l->request, l->n_request, token, n_token) == PRVNG_TOKEN_REJECTED)
                        check_fail(c, "poll() rejects a token that begin() wrote, the time number %d", i + 1);
                act_deinit(&a);
        }
        ledger_drive(&s, l);
        must_be(c, l->answer, PRVNG_DONE, "create");
        l->state = LEDGER_TOKEN; /* the engine may have died before it heard of the end */
        l->n_token = n_token;
        memcpy(l->token, token, n_token);
        ledger_drive(&s, l);
        if (l->answer != PRVNG_UNCHANGED)
                must_be(c, l->answer, PRVNG_DONE, "poll() of what is finished, with its first token,");
        count_is(c, base + task_counts(e), "poll() of what is finished");
        run_operation(&s, l, "delete", task_known(c, e, "", l->result));
        count_is(c, base, "delete");
        subject_stop(&s);
}

static void test_destroy_pending(struct check *c)
{
        struct ledger *l = ledger_new(c);
        struct world *w;
        const json_t *e;
        struct subject s;
        int64_t base;

        scenario_start(c);
        e = entry_of(c, 0);
        base = scenario_count(c);
        subject_start(c, &s);
        begin_pending(&s, l, e);
        w = s.world;
        subject_destroy(&s);
        if (!subject_create(&s, check_config(c)))
                check_stop(c, "create() failed after a destroy() with work pending: %s", buf_str(&w->log));
        ledger_drive(&s, l);
        must_be(c, l->answer, PRVNG_DONE, "create, carried on with by another instance");
        run_operation(&s, l, "delete", task_known(c, e, "", l->result));
        count_is(c, base, "delete");
        subject_stop(&s);
}

struct step {
        struct subject *s;
        struct ledger *l;
        bool more;
        int64_t wait;
};

static void *one_step(void *userdata)
{
        struct step *t = userdata;

        t->more = ledger_step(t->s, t->l, &t->wait);
        return NULL;
}

/* Every call on a thread of its own, as workers take them. */
static void test_two_workers(struct check *c)
{
        struct ledger *l = ledger_new(c);
        const json_t *e;
        struct subject s;
        struct step t = {&s, l, true, 0};
        int64_t base;

        scenario_start(c);
        e = entry_of(c, 0);
        base = scenario_count(c);
        subject_start(c, &s);
        for (int round = 0; round < 2; round++) {
                ledger_start(c, l, round ? "delete" : "create",
                             round ? task_known(c, e, "", l->result) : task_create(c, e, ""));
                for (t.more = true; t.more; check_sleep_ms(t.wait)) {
                        pthread_t thread;

                        if (pthread_create(&thread, NULL, one_step, &t) != 0)
                                check_stop(c, "no thread");
                        pthread_join(thread, NULL);
                }
                must_be(c, l->answer, PRVNG_DONE, l->verb);
                count_is(c, base + (round ? 0 : task_counts(e)), l->verb);
        }
        subject_stop(&s);
}

struct job {
        struct subject *s;
        const json_t *entry;
        char suffix[24];
        struct ledger *l;
};

static void *whole_life(void *userdata)
{
        struct job *j = userdata;

        ledger_drive(j->s, j->l);
        return NULL;
}

/* The lifes of several resources at once, in one instance. */
static void test_parallel(struct check *c)
{
        enum { MOST = 16 };
        size_t n = (size_t)MIN(scenario_limit(c, "parallel", 6), (int64_t)MOST);
        struct job jobs[MOST];
        pthread_t threads[MOST];
        const json_t *e;
        struct subject s;
        int64_t base;

        scenario_start(c);
        e = entry_of(c, 0);
        base = scenario_count(c);
        subject_start(c, &s);
        if (s.plugin->threads != PRVNG_THREADS_PARALLEL)
                check_skip(c, "does not declare PARALLEL: the engine makes one call at a time");
        if (!streq(CHECK_SANITIZER, "thread"))
                check_remark(c, "this checker is built without TSan: races are found by luck only; build it and the "
                                "plugin with -Dsanitize=thread");
        for (size_t i = 0; i < n; i++) {
                jobs[i] = (struct job){&s, e, "", ledger_new(c)};
                snprintf(jobs[i].suffix, sizeof(jobs[i].suffix), "-p%u", (unsigned)i & 0xffff);
        }
        for (int round = 0; round < 2; round++) {
                for (size_t i = 0; i < n; i++)
                        ledger_start(c, jobs[i].l, round ? "delete" : "create",
                                     round ? task_known(c, e, jobs[i].suffix, jobs[i].l->result)
                                           : task_create(c, e, jobs[i].suffix));
                for (size_t i = 0; i < n; i++)
                        if (pthread_create(&threads[i], NULL, whole_life, &jobs[i]) != 0)
                                check_stop(c, "no thread");
                for (size_t i = 0; i < n; i++)
                        pthread_join(threads[i], NULL);
                for (size_t i = 0; i < n; i++)
                        if (jobs[i].l->answer != PRVNG_DONE)
                                check_fail(c, "%s beside %zu others ended with %s: %s", jobs[i].l->verb, n - 1,
                                           class_name(jobs[i].l->answer), jobs[i].l->message);
                count_is(c, base + (round ? 0 : (int64_t)n * task_counts(e) - ((int64_t)n - 1) * task_shared(e)),
                         round ? "deletes at once" : "creates at once");
        }
        subject_stop(&s);
}

/* --- releases --- */

static void begin_only(struct check *c, void *userdata)
{
        struct subject s;

        subject_start(c, &s);
        begin_pending(&s, userdata, entry_of(c, 0));
        subject_stop(&s);
}

static void test_previous_tokens(struct check *c)
{
        struct ledger *l = ledger_new(c);
        struct options old = *c->options;
        const struct options *now = c->options;
        const json_t *e;

        if (!c->options->previous)
                check_skip(c, "needs --previous, the plugin as it was released before");
        scenario_start(c);
        e = entry_of(c, 0);
        old.plugin = c->options->previous;
        c->options = &old;
        in_child(c, -1, begin_only, l);
        c->options = now;
        if (l->state != LEDGER_TOKEN)
                check_skip(c, "create of the previous release is not PENDING");
        in_child(c, -1, act_on, l);
        if (l->rejections > 0)
                check_fail(c, "rejects a token of the previous release");
        must_be(c, l->answer, PRVNG_DONE, "a create that the previous release began");
        ledger_start(c, l, "delete", task_known(c, e, "", l->result));
        in_child(c, -1, act_on, l);
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
        e = entry_of(c, 0);
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
        {"scenario/killed-anywhere", KINDS, "killed at every boundary: no duplicate, no leak", test_kill, 1200,
         TEST_SCENARIO},
        {"scenario/cancel", KINDS, "ends in time when it is cancelled, before and during", test_cancel, 300,
         TEST_SCENARIO},
        {"scenario/poll-twice", KINDS, "may be asked twice with one token", test_poll_twice, 300, TEST_SCENARIO},
        {"scenario/destroy-pending", KINDS, "is destroyed with work pending, and carries on", test_destroy_pending,
         300, TEST_SCENARIO},
        {"scenario/two-workers", KINDS, "is called from one thread after another", test_two_workers, 300,
         TEST_SCENARIO},
        {"scenario/parallel", KINDS, "bears as many calls at once as it declares", test_parallel, 300,
         TEST_SCENARIO},
        {"scenario/previous-tokens", KINDS, "takes over from its previous release", test_previous_tokens, 300,
         TEST_SCENARIO},
        {"scenario/secrets", KINDS, "keeps secrets to itself", test_secrets, 300, TEST_SCENARIO},
        {"scenario/process-unchanged", KINDS, "leaves its process as it was after real work", test_unchanged, 300,
         TEST_SCENARIO},
        {0},
};
