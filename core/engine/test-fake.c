/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/test-fake.h"

static void prepare(void *userdata, const struct engine_call *call, struct op_reply *reply)
{
        reply->answer = PRVNG_DONE;
        buf_append(&reply->result, call->request, call->n_request);
}

static void append(void *userdata, struct run *run, struct record *r)
{
        struct fake *f = userdata;

        r->seq = run ? ++f->run_seq : ++f->site_seq;
        record_write(run ? &f->run_lines : &f->site_lines, r);
}

static void call(void *userdata, const struct engine_call *call)
{
        struct fake *f = userdata;

        cr_assert_lt(f->n_calls, MAX_CALLS);
        f->calls[f->n_calls++] = *call;
}

static void cancel(void *userdata, struct flight *flight)
{
        ((struct fake *)userdata)->n_cancels++;
}

static void entropy(void *userdata, void *bytes, size_t n)
{
        struct fake *f = userdata;

        for (uint8_t *p = bytes; n-- > 0;)
                *p++ = (uint8_t)((f->random = f->random * 6364136223846793005u + 1442695040888963407u) >> 56);
}

static void head(void *userdata, struct run *run, char ret_head[65])
{
        memset(ret_head, '0', 64);
        ret_head[64] = 0;
}

static void ended(void *userdata, struct run *run)
{
        ((struct fake *)userdata)->n_ended++;
}

const struct engine_ops fake_ops = {prepare, append, call, cancel, entropy, head, ended};

static char provider[] = "provider", name[] = "x", template[] = "template", evaluator[] = "y";

void fake_init(struct fake *f)
{
        *f = (struct fake){.now = 1000000};
        f->plugin = &f->both[0];
        f->both[0] = (struct plugin){.state = PLUGIN_READY, .name = name, .kind = provider};
        f->both[0].op.struct_size = sizeof(f->both[0].op);
        f->both[1] = (struct plugin){.state = PLUGIN_READY, .name = evaluator, .kind = template};
        f->both[1].template_.struct_size = sizeof(f->both[1].template_);
        f->plugins = (struct plugins){.list = f->both, .n = 2};
        cr_assert_eq(engine_new(&fake_ops, f, &f->site, &f->plugins, &f->engine), 0);
        engine_time(f->engine, f->now, f->now);
}

void fake_deinit(struct fake *f)
{
        engine_free(f->engine);
        site_deinit(&f->site);
        buf_deinit(&f->site_lines);
        buf_deinit(&f->run_lines);
}

void submit(struct fake *f, uint32_t n, bool chain, enum on_failure on_failure, uint32_t batch_size)
{
        struct plan_lane lane = {.plugin = "provider/x", .batch_size = batch_size,
                                 .rate_limit = f->rate_limit};
        uint32_t per = f->n_per_operation ?: n;
        struct plan_operation operations[64] = {{0}};
        struct plan_task tasks[64] = {{0}};
        uint32_t deps[64], n_deps = 0;
        char ids[64][24], keys[64][24];
        struct plan plan = {.name = "w", .type = "batch", .lanes = &lane, .n_lanes = 1,
                            .operations = operations, .n_operations = (n + per - 1) / per, .tasks = tasks,
                            .n_tasks = n, .deps = deps};
        struct submission s = {.kind = "batch", .store = "file", .who = "{}", .max_attempts = 3,
                               .initial_delay_s = 5, .max_delay_s = 300, .backoff = "exponential",
                               .logging = "{}", .rollback = !f->no_rollback,
                               .on_partial = !f->some_is_enough, .preserve = f->preserve,
                               .checkpoint_interval = f->interval};

        for (uint32_t i = 0; i < plan.n_operations; i++)
                operations[i] = (struct plan_operation){.id = i ? "op2" : "op", .on_failure = on_failure,
                                                        .timeout_s = 10};
        for (uint32_t i = 0; i < n; i++) {
                snprintf(ids[i], sizeof(ids[i]), "op/t%u", i);
                snprintf(keys[i], sizeof(keys[i]), "server.t%u", i);
                tasks[i] = (struct plan_task){.id = ids[i], .resource = keys[i], .item = ids[i] + 3,
                                              .server = "", .verb = f->verb,
                                              .doc = "{\"kind\":\"server\",\"spec\":{\"cpu\":1}}",
                                              .spec = "{\"cpu\":1}", .operation = i / per,
                                              .waits = i == n - 1 ? f->waits : NULL};
                if (f->anew && i < 2) {
                        tasks[i].verb = i ? PLAN_CREATE : PLAN_DELETE;
                        tasks[i].resource = keys[0];
                }
                if (chain && i) {
                        tasks[i].first_dep = n_deps;
                        tasks[i].n_deps = 1;
                        deps[n_deps++] = i - 1;
                }
        }
        plan.n_deps = n_deps;
        entropy(f, &s.run, sizeof(s.run));
        cr_assert_eq(engine_submit(f->engine, &s, &plan, &f->run), 0);
        engine_schedule(f->engine);
}

void tick(struct fake *f, int64_t ms)
{
        f->now += ms;
        engine_time(f->engine, f->now, f->now);
        engine_schedule(f->engine);
}

struct engine_call taken(struct fake *f, enum engine_call_kind kind)
{
        struct engine_call c = f->calls[0];

        cr_assert_gt(f->n_calls, 0, "no call is waiting");
        cr_assert_eq(c.kind, kind, "call of kind %d instead of %d", c.kind, kind);
        memmove(f->calls, f->calls + 1, --f->n_calls * sizeof(*f->calls));
        return c;
}

struct engine_call answer_(struct fake *f, enum engine_call_kind kind, struct answer a)
{
        static char token[64]; /* the engine frees its own with the answer */
        struct engine_call c = taken(f, kind);
        struct op_reply reply = OP_REPLY_NULL;

        snprintf(token, sizeof(token), "%s", c.token ?: "");
        c.token = token;

        reply.answer = a.answer;
        reply.effect = a.effect;
        reply.retry_after_ms = a.retry_after_ms ?: -1;
        reply.ask_again_ms = a.ask_again_ms ?: -1;
        reply.error_class = a.error_class;
        reply.message = a.message ? strdup(a.message) : NULL;
        buf_puts(&reply.token, a.token ?: "");
        engine_answer(f->engine, c.flight, &reply);
        op_reply_deinit(&reply);
        engine_schedule(f->engine);
        return c;
}

enum task_status status(const struct fake *f, uint32_t task)
{
        return f->run->tasks[task].status;
}

void crash(struct fake *f)
{
        struct record_scratch scratch = RECORD_SCRATCH_NULL;
        struct record r;

        f->engine = engine_free(f->engine);
        site_deinit(&f->site);
        f->n_calls = 0;
        for (unsigned i = 0; i < 2; i++) {
                const char *p = buf_str(i ? &f->run_lines : &f->site_lines), *nl;

                for (; (nl = strchr(p, '\n')); p = nl + 1) {
                        cr_assert_eq(record_read(p, (size_t)(nl - p), &scratch, &r, NULL), 0);
                        cr_assert_eq(i ? run_apply(f->run, &f->site, &r) : site_apply(&f->site, &r), 0);
                        record_scratch_clear(&scratch);
                }
                if (!i)
                        f->run = f->site.runs[0];
        }
        record_scratch_deinit(&scratch);
        f->run->loaded = true;
        cr_assert_eq(engine_new(&fake_ops, f, &f->site, &f->plugins, &f->engine), 0);
        engine_time(f->engine, f->now, f->now);
        if (!run_status_ended(f->run->status))
                cr_assert_eq(engine_adopt(f->engine, f->run), 0);
        engine_schedule(f->engine);
}

enum plan_verb verb_of(struct engine_call c)
{
        return streq(c.verb, "create")   ? PLAN_CREATE
               : streq(c.verb, "delete") ? PLAN_DELETE
               : streq(c.verb, "update") ? PLAN_UPDATE
                                         : PLAN_CHECK;
}

void reopen(struct fake *f)
{
        const struct resource *claimed = NULL;

        cr_assert_eq(engine_reopen(f->engine, f->run, "{}", &claimed), 0);
}
