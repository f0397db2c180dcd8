/* SPDX-License-Identifier: Apache-2.0 */
/* Providers and taskservs whose work goes on between calls: by token, by other threads, by other instances. */
#include "scenario-tests.h"

#include <pthread.h>

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

        e = scenario_stage(c, &s, &base);
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
        answer_must_be(c, l->answer, PRVNG_DONE, "create");
        l->state = LEDGER_TOKEN; /* the engine may have died before it heard of the end */
        l->n_token = n_token;
        memcpy(l->token, token, n_token);
        ledger_drive(&s, l);
        if (l->answer != PRVNG_UNCHANGED)
                answer_must_be(c, l->answer, PRVNG_DONE, "poll() of what is finished, with its first token,");
        scenario_count_is(c, base + task_counts(e), "poll() of what is finished");
        run_operation(&s, l, "delete", task_known(c, e, "", l->result));
        scenario_count_is(c, base, "delete");
        subject_stop(&s);
}

static void test_destroy_pending(struct check *c)
{
        struct ledger *l = ledger_new(c);
        struct world *w;
        const json_t *e;
        struct subject s;
        int64_t base;

        e = scenario_stage(c, &s, &base);
        begin_pending(&s, l, e);
        w = s.world;
        subject_destroy(&s);
        if (!subject_create(&s, check_config(c)))
                check_stop(c, "create() failed after a destroy() with work pending: %s", buf_str(&w->log));
        ledger_drive(&s, l);
        answer_must_be(c, l->answer, PRVNG_DONE, "create, carried on with by another instance");
        run_operation(&s, l, "delete", task_known(c, e, "", l->result));
        scenario_count_is(c, base, "delete");
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

        e = scenario_stage(c, &s, &base);
        for (int round = 0; round < 2; round++) {
                ledger_start(c, l, round ? "delete" : "create",
                             round ? task_known(c, e, "", l->result) : task_create(c, e, ""));
                for (t.more = true; t.more; check_sleep_ms(t.wait)) {
                        pthread_t thread;

                        if (pthread_create(&thread, NULL, one_step, &t) != 0)
                                check_stop(c, "no thread");
                        pthread_join(thread, NULL);
                }
                answer_must_be(c, l->answer, PRVNG_DONE, l->verb);
                scenario_count_is(c, base + (round ? 0 : task_counts(e)), l->verb);
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

        e = scenario_stage(c, &s, &base);
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
                scenario_count_is(c, base + (round ? 0 : (int64_t)n * task_counts(e) - ((int64_t)n - 1) * task_shared(e)),
                         round ? "deletes at once" : "creates at once");
        }
        subject_stop(&s);
}

/* --- releases --- */

static void begin_only(struct check *c, void *userdata)
{
        struct subject s;

        subject_start(c, &s);
        begin_pending(&s, userdata, scenario_entry(c, 0));
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
        e = scenario_entry(c, 0);
        old.plugin = c->options->previous;
        c->options = &old;
        in_child(c, -1, begin_only, l);
        c->options = now;
        if (l->state != LEDGER_TOKEN)
                check_skip(c, "create of the previous release is not PENDING");
        in_child(c, -1, drive_in_child, l);
        if (l->rejections > 0)
                check_fail(c, "rejects a token of the previous release");
        answer_must_be(c, l->answer, PRVNG_DONE, "a create that the previous release began");
        ledger_start(c, l, "delete", task_known(c, e, "", l->result));
        in_child(c, -1, drive_in_child, l);
}

const struct test pending_tests[] = {
        {"scenario/poll-twice", KINDS, "may be asked twice with one token", test_poll_twice, 300, TEST_SCENARIO},
        {"scenario/destroy-pending", KINDS, "is destroyed with work pending, and carries on", test_destroy_pending,
         300, TEST_SCENARIO},
        {"scenario/two-workers", KINDS, "is called from one thread after another", test_two_workers, 300,
         TEST_SCENARIO},
        {"scenario/parallel", KINDS, "bears as many calls at once as it declares", test_parallel, 300,
         TEST_SCENARIO},
        {"scenario/previous-tokens", KINDS, "takes over from its previous release", test_previous_tokens, 300,
         TEST_SCENARIO},
        {0},
};
