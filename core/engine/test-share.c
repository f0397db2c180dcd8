/* SPDX-License-Identifier: Apache-2.0 */
/* Runs in flight that share what servers stand on: one makes it, the others wait for it and use it. */
#include "engine/test-fake.h"

#define N_RUNS 3
#define NET "network.net@x"
#define SPEC "{\"address\":\"10.0.0.0/24\"}"

/* A fake with several runs: each has lines of its own. */
struct many {
        struct fake f; /* first: what the engine is given is this */
        struct run *runs[N_RUNS];
        char ids[N_RUNS][UID_TEXT];
        struct buf lines[N_RUNS];
        uint64_t seq[N_RUNS];
        unsigned n;
};

static void append(void *userdata, struct run *run, struct record *r)
{
        struct many *m = userdata;
        unsigned i = 0;

        if (!run) {
                r->seq = ++m->f.site_seq;
                record_write(&m->f.site_lines, r);
                return;
        }
        while (i < m->n && !streq(m->ids[i], run->id_text))
                i++;
        cr_assert_lt(i, N_RUNS);
        if (i == m->n) {
                memcpy(m->ids[i], run->id_text, UID_TEXT);
                m->runs[m->n++] = run;
        }
        r->seq = ++m->seq[i];
        record_write(&m->lines[i], r);
}

static struct engine_ops ops;

static void many_init(struct many *m)
{
        memset(m, 0, sizeof(*m));
        fake_init(&m->f);
        engine_free(m->f.engine);
        ops = fake_ops;
        ops.append = append;
        cr_assert_eq(engine_new(&ops, m, &m->f.site, &m->f.plugins, &m->f.engine), 0);
        engine_time(m->f.engine, m->f.now, m->f.now);
}

static void many_deinit(struct many *m)
{
        fake_deinit(&m->f);
        for (unsigned i = 0; i < N_RUNS; i++)
                buf_deinit(&m->lines[i]);
}

/* The network, and a server that stands on it; and one more behind that, to fail if need be. */
static struct run *start(struct many *m, const char *name, const char *spec)
{
        const struct resource *there = inventory_get(&m->f.site.inventory, NET);
        struct plan_lane lane = {.plugin = "provider/x"};
        struct plan_operation operation = {.id = "op", .on_failure = ON_FAILURE_ROLLBACK, .timeout_s = 10};
        const char *uses[] = {NET, NET};
        uint32_t deps[] = {0, 1};
        char doc[128], server[32], last[32];
        struct plan_task tasks[] = {
                {.id = "op/net", .resource = NET, .item = NET, .server = "", .doc = doc, .spec = spec,
                 .shared = there && there->claim},
                {.id = "op/a", .resource = server, .item = "a", .server = "", .spec = "{}", .n_deps = 1,
                 .doc = "{\"kind\":\"server\",\"spec\":{}}", .n_uses = 1},
                {.id = "op/b", .resource = last, .item = "b", .server = "", .spec = "{}", .n_deps = 1,
                 .doc = "{\"kind\":\"server\",\"spec\":{}}", .n_uses = 1, .first_dep = 1, .first_use = 1}};
        struct plan plan = {.name = name, .type = "batch", .lanes = &lane, .n_lanes = 1,
                            .operations = &operation, .n_operations = 1, .tasks = tasks, .n_tasks = 3,
                            .deps = deps, .n_deps = 2, .uses = uses, .n_uses = 2};
        struct submission s = {.kind = "batch", .store = "file", .who = "{}", .max_attempts = 1,
                               .initial_delay_s = 1, .max_delay_s = 1, .backoff = "linear", .logging = "{}",
                               .rollback = true, .on_partial = true};
        struct run *run = NULL;

        snprintf(doc, sizeof(doc), "{\"kind\":\"network\",\"spec\":%s}", spec);
        snprintf(server, sizeof(server), "server.%s-a", name);
        snprintf(last, sizeof(last), "server.%s-b", name);
        ops.entropy(&m->f, &s.run, sizeof(s.run));
        cr_assert_eq(engine_submit(m->f.engine, &s, &plan, &run), 0);
        engine_schedule(m->f.engine);
        return run;
}

/* The engine dies, and another one reads what there is: the site's records, then those of the runs. */
static void die(struct many *m)
{
        struct record_scratch scratch = RECORD_SCRATCH_NULL;
        struct record r;

        m->f.engine = engine_free(m->f.engine);
        site_deinit(&m->f.site);
        m->f.n_calls = 0;
        for (unsigned i = 0; i <= m->n; i++) {
                const char *p = buf_str(i ? &m->lines[i - 1] : &m->f.site_lines), *nl;

                for (; (nl = strchr(p, '\n')); p = nl + 1) {
                        cr_assert_eq(record_read(p, (size_t)(nl - p), &scratch, &r, NULL), 0);
                        cr_assert_eq(i ? run_apply(m->runs[i - 1], &m->f.site, &r) : site_apply(&m->f.site, &r),
                                     0);
                        record_scratch_clear(&scratch);
                }
                for (unsigned k = 0; !i && k < m->n; k++)
                        m->runs[k] = site_run(&m->f.site, m->ids[k]);
        }
        record_scratch_deinit(&scratch);
        cr_assert_eq(engine_new(&ops, m, &m->f.site, &m->f.plugins, &m->f.engine), 0);
        engine_time(m->f.engine, m->f.now, m->f.now);
        for (unsigned k = 0; k < m->n; k++)
                m->runs[k]->loaded = true;
        for (unsigned k = 0; k < m->n; k++)
                if (!run_status_ended(m->runs[k]->status))
                        cr_assert_eq(engine_adopt(m->f.engine, m->runs[k]), 0);
        engine_schedule(m->f.engine);
}

static const struct resource *net(const struct many *m)
{
        return inventory_get(&m->f.site.inventory, NET);
}

static const char *message(const struct many *m, unsigned run, uint32_t task)
{
        const struct task_note *note = run_note(m->runs[run], task);

        return note ? note->message : "";
}

#define STATUS(m, run, task, wanted)                                                               \
        cr_assert_eq((m)->runs[run]->tasks[task].status, wanted, "it is %s",                       \
                     task_status_name((enum task_status)(m)->runs[run]->tasks[task].status))

/* Answers the call that waits for that task of that run. */
static struct engine_call reply_to(struct many *m, unsigned run, const char *task, int32_t answer,
                                   uint32_t effect)
{
        struct op_reply reply = OP_REPLY_NULL;
        struct engine_call c;
        unsigned i = 0;

        while (i < m->f.n_calls && !(streq(m->f.calls[i].run, m->ids[run]) && streq(m->f.calls[i].task, task)))
                i++;
        cr_assert_lt(i, m->f.n_calls, "nothing is asked for %s of run %u", task, run);
        c = m->f.calls[i];
        memmove(m->f.calls + i, m->f.calls + i + 1, (--m->f.n_calls - i) * sizeof(c));
        reply.answer = c.kind == CALL_OBSERVE && answer == PRVNG_DONE ? PRVNG_OBSERVED_DONE : answer;
        if (c.kind == CALL_OBSERVE && answer < 0) {
                reply.answer = PRVNG_OBSERVED_FAILED;
                reply.error_class = answer;
        }
        reply.effect = effect;
        reply.retry_after_ms = reply.ask_again_ms = -1;
        if (answer >= 0)
                buf_printf(&reply.result, "{\"id\":\"%s\"}", task);
        else
                reply.message = strdup("no");
        engine_answer(m->f.engine, c.flight, &reply);
        op_reply_deinit(&reply);
        engine_schedule(m->f.engine);
        return c;
}

#define DONE_(m, run, task) reply_to((m), (run), (task), PRVNG_DONE, 0)
#define FAILS_(m, run, task) reply_to((m), (run), (task), PRVNG_PERMANENT, PRVNG_EFFECT_NONE)

static bool asked(const struct many *m, unsigned run, const char *task)
{
        for (unsigned i = 0; i < m->f.n_calls; i++)
                if (streq(m->f.calls[i].run, m->ids[run]) && streq(m->f.calls[i].task, task))
                        return true;
        return false;
}

static void finish(struct many *m, unsigned run)
{
        DONE_(m, run, "op/a");
        DONE_(m, run, "op/b");
        cr_assert_eq(m->runs[run]->status, RUN_SUCCEEDED, "it is %s", run_status_name(m->runs[run]->status));
}

static void two(struct many *m)
{
        many_init(m);
        start(m, "one", SPEC);
        start(m, "two", SPEC);
}

Test(share, the_second_waits_and_uses_it)
{
        struct many m;

        for (unsigned crash_at = 0; crash_at < 6; crash_at++) {
                two(&m);
                for (unsigned step = 0; step < 5; step++) {
                        if (step == crash_at)
                                die(&m);
                        if (step == 0) {
                                STATUS(&m, 1, 0, TASK_READY);
                                cr_assert(!asked(&m, 1, "op/net"), "it is made once");
                                cr_assert(strstr(message(&m, 1, 0), NET ", which run"), "%s",
                                          message(&m, 1, 0));
                                cr_assert(strstr(message(&m, 1, 0), m.ids[0]));
                                tick(&m.f, 1000);
                                STATUS(&m, 1, 0, TASK_READY);
                        } else if (step == 1) {
                                DONE_(&m, 0, "op/net");
                                tick(&m.f, 500);
                                STATUS(&m, 1, 0, TASK_UNCHANGED);
                                cr_assert_str_eq(net(&m)->workflow, "one");
                                cr_assert_str_eq(net(&m)->claim, m.ids[0]);
                        } else if (step == 2) {
                                finish(&m, 0);
                                cr_assert_str_eq(net(&m)->claim, m.ids[1], "it comes next");
                                cr_assert_eq(net(&m)->n_sharers, 0);
                        } else if (step == 3) {
                                finish(&m, 1);
                                cr_assert_null(net(&m)->claim);
                        } else {
                                cr_assert_str_eq(net(&m)->workflow, "one", "who made it has it");
                                cr_assert_str_eq(net(&m)->outputs, "{\"id\":\"op/net\"}");
                                cr_assert_eq(net(&m)->n_on, 4);
                        }
                }
                many_deinit(&m);
        }
}

/* Promise 5, and: a rollback leaves what another run in flight is about to build on. */
Test(share, a_rollback_leaves_it)
{
        struct many m;

        for (unsigned crash_at = 0; crash_at < 5; crash_at++) {
                two(&m);
                for (unsigned step = 0; step < 4; step++) {
                        if (step == crash_at)
                                die(&m);
                        if (step == 0) {
                                DONE_(&m, 0, "op/net");
                        } else if (step == 1) {
                                DONE_(&m, 0, "op/a");
                                FAILS_(&m, 0, "op/b");
                                cr_assert_eq(m.runs[0]->status, RUN_ROLLING_BACK);
                        } else if (step == 2) {
                                DONE_(&m, 0, "op/a");
                                cr_assert_eq(m.runs[0]->status, RUN_ROLLED_BACK, "it is %s",
                                             run_status_name(m.runs[0]->status));
                                cr_assert(strstr(message(&m, 0, 0), "stays: run "), "%s", message(&m, 0, 0));
                        } else {
                                tick(&m.f, 500);
                                STATUS(&m, 1, 0, TASK_UNCHANGED);
                                finish(&m, 1);
                                cr_assert_str_eq(net(&m)->workflow, "one");
                        }
                }
                many_deinit(&m);
        }
}

/* Who ends without having made it hands it on, in the order of acceptance; who waits makes it then. */
Test(share, the_next_makes_it)
{
        struct many m;

        for (unsigned crash_at = 0; crash_at < 5; crash_at++) {
                two(&m);
                start(&m, "three", SPEC);
                for (unsigned step = 0; step < 4; step++) {
                        if (step == crash_at)
                                die(&m);
                        if (step == 0) {
                                cr_assert_eq(net(&m)->n_sharers, 2);
                                FAILS_(&m, 0, "op/net");
                                cr_assert_eq(m.runs[0]->status, RUN_FAILED, "it is %s",
                                             run_status_name(m.runs[0]->status));
                                cr_assert_str_eq(net(&m)->claim, m.ids[1]);
                                cr_assert_eq(net(&m)->n_sharers, 1);
                                tick(&m.f, 500);
                        } else if (step == 1) {
                                cr_assert(!asked(&m, 2, "op/net"));
                                cr_assert(strstr(message(&m, 2, 0), m.ids[1]), "%s", message(&m, 2, 0));
                                DONE_(&m, 1, "op/net");
                                STATUS(&m, 1, 0, TASK_SUCCEEDED);
                                cr_assert_str_eq(net(&m)->workflow, "two");
                                tick(&m.f, 500);
                        } else if (step == 2) {
                                STATUS(&m, 2, 0, TASK_UNCHANGED);
                                finish(&m, 2);
                        } else {
                                finish(&m, 1);
                                cr_assert_str_eq(net(&m)->workflow, "two");
                                cr_assert_null(net(&m)->claim);
                        }
                }
                many_deinit(&m);
        }
}

/* What a create that failed left is not used: it goes with the rollback first, or is completed. */
Test(share, what_a_failure_left_is_not_used)
{
        struct many m;

        two(&m);
        reply_to(&m, 0, "op/net", PRVNG_PERMANENT, PRVNG_EFFECT_PARTIAL);
        cr_assert_eq(m.runs[0]->status, RUN_ROLLING_BACK);
        tick(&m.f, 500);
        STATUS(&m, 1, 0, TASK_READY);
        cr_assert(asked(&m, 0, "op/net"), "it is taken away first");
        die(&m);
        STATUS(&m, 1, 0, TASK_READY);
        DONE_(&m, 0, "op/net");
        cr_assert(run_status_ended(m.runs[0]->status));
        tick(&m.f, 500);
        cr_assert(asked(&m, 1, "op/net"), "%s", message(&m, 1, 0));
        DONE_(&m, 1, "op/net");
        cr_assert_str_eq(net(&m)->workflow, "two");
        finish(&m, 1);
        many_deinit(&m);
}

Test(share, what_is_not_alike_is_a_conflict)
{
        struct many m;

        many_init(&m);
        start(&m, "one", SPEC);
        start(&m, "two", "{\"address\":\"10.9.0.0/24\"}");
        DONE_(&m, 0, "op/net");
        tick(&m.f, 500);
        STATUS(&m, 1, 0, TASK_FAILED);
        cr_assert(strstr(message(&m, 1, 0), "\"one\" made " NET ", but not as this run would"), "%s",
                  message(&m, 1, 0));
        cr_assert(strstr(message(&m, 1, 0), "10.9.0.0/24"));
        finish(&m, 0);
        cr_assert_str_eq(net(&m)->spec, SPEC);
        many_deinit(&m);
}

Test(share, who_waits_can_be_cancelled_and_paused)
{
        struct many m;

        two(&m);
        cr_assert_eq(engine_pause(m.f.engine, m.runs[1], "{}"), 0);
        DONE_(&m, 0, "op/net");
        tick(&m.f, 5000);
        STATUS(&m, 1, 0, TASK_READY);
        die(&m);
        tick(&m.f, 5000);
        STATUS(&m, 1, 0, TASK_READY);
        cr_assert_eq(engine_resume(m.f.engine, m.runs[1], "{}"), 0);
        tick(&m.f, 500);
        STATUS(&m, 1, 0, TASK_UNCHANGED);
        many_deinit(&m);

        two(&m);
        cr_assert_eq(engine_cancel(m.f.engine, m.runs[1], "{}"), 0);
        tick(&m.f, 500);
        cr_assert_eq(m.runs[1]->status, RUN_CANCELLED, "it is %s", run_status_name(m.runs[1]->status));
        cr_assert_eq(net(&m)->n_sharers, 0);
        DONE_(&m, 0, "op/net");
        finish(&m, 0);
        many_deinit(&m);
}

/* Who ended is taken up again beside the one that has the claim now. */
Test(share, a_run_that_is_taken_up_again)
{
        const struct resource *claimed = NULL;
        struct many m;

        two(&m);
        DONE_(&m, 0, "op/net");
        tick(&m.f, 500);
        finish(&m, 0);
        cr_assert_str_eq(net(&m)->claim, m.ids[1]);
        cr_assert_eq(engine_reopen(m.f.engine, m.runs[0], "{}", &claimed), 0);
        cr_assert_eq(net(&m)->n_sharers, 1);
        cr_assert_eq(engine_rollback(m.f.engine, m.runs[0], 0, "{}"), 0);
        engine_schedule(m.f.engine);
        DONE_(&m, 0, "op/b");
        die(&m);
        DONE_(&m, 0, "op/a");
        cr_assert_eq(m.runs[0]->status, RUN_ROLLED_BACK);
        cr_assert_str_eq(net(&m)->workflow, "one", "the other run builds on it");
        finish(&m, 1);
        many_deinit(&m);
}
