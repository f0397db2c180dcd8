/* SPDX-License-Identifier: Apache-2.0 */
#include "local.h"

#include "base/clock.h"
#include "plugin/border.h"

#define MAX_CALLS 8192u /* more than an engine has in flight; a power of two */

/* The driver */

static void prepare(void *userdata, const struct engine_call *c, struct op_reply *reply)
{
        struct local *l = userdata;
        struct op_call op;

        if (!l->ask_plugins) {
                reply->answer = PRVNG_DONE;
                buf_append(&reply->result, "{}", 2);
                return;
        }
        op_call_init(&op, c->plugin, "", 1, c->deadline_ms, 1, c->run, c->task);
        op_prepare(&op, c->verb, c->request, c->n_request, reply);
        op_call_deinit(&op);
}

static void append(void *userdata, struct run *run, struct record *r)
{
        struct local *l = userdata;

        r->seq = run ? ++l->run_seq : ++l->site_seq;
}

static void call(void *userdata, const struct engine_call *call)
{
        struct local *l = userdata;

        if (l->n_calls == MAX_CALLS)
                bench_fail("more than %u calls in flight", MAX_CALLS);
        l->calls[(l->first_call + l->n_calls++) % MAX_CALLS] = *call;
}

static void cancel(void *userdata, struct flight *flight)
{
}

static void entropy(void *userdata, void *bytes, size_t n)
{
        struct local *l = userdata;

        for (uint8_t *p = bytes; n > 0;) {
                size_t chunk = MIN(n, sizeof(l->random));

                l->random ^= l->random << 13; /* xorshift64: Marsaglia, "Xorshift RNGs", 2003 */
                l->random ^= l->random >> 7;
                l->random ^= l->random << 17;
                memcpy(p, &l->random, chunk);
                p += chunk;
                n -= chunk;
        }
}

static void head(void *userdata, struct run *run, char ret_head[65])
{
        memset(ret_head, '0', 64);
        ret_head[64] = 0;
}

static void ended(void *userdata, struct run *run)
{
}

static const struct engine_ops ops = {
        .prepare = prepare,
        .append = append,
        .call = call,
        .cancel = cancel,
        .entropy = entropy,
        .head = head,
        .ended = ended,
};

/* The way of a definition */

static _Noreturn void refused(const struct problems *problems, int r)
{
        problems_print(problems, stderr);
        bench_fail("the definition is refused: %s", strerror(r < 0 ? -r : EINVAL));
}

void local_load(struct local *l, const char *conf, const char *file, const struct buf *text)
{
        _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;
        struct plan_request request;
        uint32_t top;
        int r;

        *l = (struct local){.random = 88172645463325252u};
        l->calls = calloc(MAX_CALLS, sizeof(*l->calls));
        if (!l->calls || context_open(conf, NULL, &l->context))
                bench_fail("the site cannot be used");
        if (file)
                r = definition_load(l->context.plugins, file, NULL, &problems, &l->document);
        else
                r = definition_load_json(l->context.plugins, "bench", text->data, text->n, &problems,
                                         &l->document);
        if (r || !l->document)
                refused(&problems, r);
        r = definition_find(l->document, NULL, &problems, &top);
        r = r ?: definition_check(l->document, top, "", &problems, &l->definition);
        if (r || !l->definition)
                refused(&problems, r);
        request = (struct plan_request){.config = l->context.config,
                                        .plugins = l->context.plugins,
                                        .inventory = &l->site.inventory,
                                        .site = "",
                                        .definition = l->definition};
        r = plan_make(&request, &problems, &l->plan);
        if (r || !l->plan)
                refused(&problems, r);
}

void local_submit(struct local *l)
{
        struct submission s = {.kind = "parallel", .store = "none", .who = "{}", .folder = "",
                               .max_attempts = 1, .backoff = "linear", .logging = "{}"};

        if (engine_new(&ops, l, &l->site, l->context.plugins, &l->engine))
                bench_fail("no memory");
        engine_time(l->engine, clock_boot_ms(), clock_wall_ms());
        entropy(l, &s.run, sizeof(s.run));
        if (engine_submit(l->engine, &s, l->plan, &l->run))
                bench_fail("the run is not accepted");
}

static void answer(struct local *l, const struct engine_call *c, struct op_reply *reply)
{
        buf_clear(&reply->result);
        if (l->ask_plugins) {
                struct op_call op;

                op_call_init(&op, c->plugin, "", c->attempt, c->deadline_ms, 1, c->run, c->task);
                op_begin(&op, c->verb, c->request, c->n_request, reply);
                op_call_deinit(&op);
        } else {
                reply->answer = PRVNG_DONE;
                buf_append(&reply->result, "{}", 2);
        }
        engine_answer(l->engine, c->flight, reply);
        l->n_done++;
}

void local_drain(struct local *l)
{
        struct op_reply reply = OP_REPLY_NULL;

        do {
                uint32_t n = l->n_calls;

                for (; n > 0; n--) {
                        struct engine_call c = l->calls[l->first_call];

                        l->first_call = (l->first_call + 1) % MAX_CALLS;
                        l->n_calls--;
                        answer(l, &c, &reply);
                }
                engine_schedule(l->engine);
        } while (l->n_calls > 0);
        op_reply_deinit(&reply);
        if (l->engine->error || l->run->status != RUN_SUCCEEDED)
                bench_fail("the run did not succeed");
}

void local_deinit(struct local *l)
{
        engine_free(l->engine);
        plan_free(l->plan);
        definition_free(l->definition);
        document_free(l->document);
        site_deinit(&l->site);
        context_close(&l->context);
        free(l->calls);
}
