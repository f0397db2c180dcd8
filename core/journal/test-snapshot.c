/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots against the records: an engine lives through long histories made from a seed, over a store in
 * memory. At every record the state as all records make it is compared with the one that snapshots of
 * that moment, or older ones, make with the records behind them.
 */
#include "engine/engine.h"
#include "journal/snapshot.h"

#include <criterion/criterion.h>
#include <signal.h>

/* A store in memory */

#define N_STREAMS  16
#define N_SEGMENTS 8

struct memory_stream {
        char name[64];
        struct buf segments[N_SEGMENTS];
        uint32_t last;
        struct buf snapshot;
        bool has_snapshot;
};

static struct memory {
        struct memory_stream streams[N_STREAMS];
        unsigned n, n_lists;
        int32_t snapshots; /* what snapshot_put and _get answer if it is no success */
} memory;

static int32_t memory_open(void *instance, struct prvng_call *call, const char *location,
                           uint32_t flags, uint64_t *ret_epoch)
{
        *ret_epoch = 1;
        return PRVNG_DONE;
}

static struct memory_stream *stream_named(const char *name, bool make)
{
        for (unsigned i = 0; i < memory.n; i++)
                if (streq(memory.streams[i].name, name))
                        return &memory.streams[i];
        if (!make)
                return NULL;
        cr_assert_lt(memory.n, N_STREAMS);
        snprintf(memory.streams[memory.n].name, 64, "%s", name);
        return &memory.streams[memory.n++];
}

static int32_t memory_append(void *instance, struct prvng_call *call, const char *stream,
                             uint32_t segment, const void *data, uint64_t n_data, uint64_t epoch)
{
        struct memory_stream *s = stream_named(stream, true);

        cr_assert(segment == s->last || segment == s->last + 1);
        cr_assert_lt(segment, N_SEGMENTS);
        s->last = segment;
        buf_append(&s->segments[segment], data, n_data);
        return PRVNG_DONE;
}

static int32_t memory_read(void *instance, struct prvng_call *call, const char *stream,
                           uint32_t segment, uint64_t offset, struct prvng_sink *data)
{
        const struct memory_stream *s = stream_named(stream, false);

        if (!s || segment == 0 || segment > s->last)
                return PRVNG_NOT_FOUND;
        if (offset < s->segments[segment].n)
                buf_append(data->buf, s->segments[segment].data + offset,
                           s->segments[segment].n - offset);
        return PRVNG_DONE;
}

static int32_t memory_recover(void *instance, struct prvng_call *call, const char *stream,
                              uint32_t segment, uint64_t n_data, uint64_t epoch)
{
        stream_named(stream, false)->segments[segment].n = n_data;
        return PRVNG_DONE;
}

static int32_t memory_streams(void *instance, struct prvng_call *call, struct prvng_sink *result)
{
        memory.n_lists++;
        BUF_LIT(result->buf, "{\"streams\":[");
        for (unsigned i = 0; i < memory.n; i++)
                buf_printf(result->buf, "%s{\"name\":\"%s\",\"first\":1,\"last\":%u,\"bytes\":1}",
                           i ? "," : "", memory.streams[i].name, memory.streams[i].last);
        BUF_LIT(result->buf, "]}");
        return PRVNG_DONE;
}

static int32_t memory_put(void *instance, struct prvng_call *call, const char *stream,
                          const void *data, uint64_t n_data, uint64_t epoch)
{
        struct memory_stream *s = stream_named(stream, false);

        if (memory.snapshots)
                return memory.snapshots;
        buf_clear(&s->snapshot);
        buf_append(&s->snapshot, data, n_data);
        s->has_snapshot = true;
        return PRVNG_DONE;
}

static int32_t memory_get(void *instance, struct prvng_call *call, const char *stream,
                          struct prvng_sink *data)
{
        const struct memory_stream *s = stream_named(stream, false);

        if (memory.snapshots)
                return memory.snapshots;
        if (!s || !s->has_snapshot)
                return PRVNG_NOT_FOUND;
        buf_append(data->buf, s->snapshot.data, s->snapshot.n);
        return PRVNG_DONE;
}

static void memory_close(void *instance)
{
}

static void memory_clear(void)
{
        for (unsigned i = 0; i < memory.n; i++) {
                buf_deinit(&memory.streams[i].snapshot);
                for (unsigned k = 0; k < N_SEGMENTS; k++)
                        buf_deinit(&memory.streams[i].segments[k]);
        }
        memory = (struct memory){0};
}

static char store_name[] = "memory";
static struct plugin store = {
        .name = store_name,
        .store = {.struct_size = sizeof(struct prvng_store), .open = memory_open,
                  .append = memory_append, .read = memory_read, .recover = memory_recover,
                  .streams = memory_streams, .snapshot_put = memory_put, .snapshot_get = memory_get,
                  .close = memory_close},
};

static struct journal *opened(bool read_only)
{
        _cleanup_(cleanup_free) char *message = NULL;
        struct journal *j = NULL;

        cr_assert_eq(journal_open(&store, "", read_only, &j, &message), 0);
        return j;
}

static void place_snapshot(const char *stream, const struct buf *b)
{
        struct memory_stream *s = stream_named(stream, true);

        buf_clear(&s->snapshot);
        if (b)
                buf_append(&s->snapshot, b->data, b->n);
        s->has_snapshot = b != NULL;
}

/* An engine that lives through something */

#define MAX_CALLS 256
#define N_RUNS    4
#define N_OLD     2048

struct old { /* snapshots of one stream, in order */
        struct buf list[N_OLD];
        unsigned n;
};

struct world {
        struct engine *engine;
        struct site site;
        struct journal *journal;
        struct stream *site_stream, *streams[N_RUNS];
        struct run *runs[N_RUNS];
        unsigned n_runs;
        struct plugin both[2];
        struct plugins plugins;
        struct engine_call calls[MAX_CALLS];
        unsigned n_calls;
        uint64_t random;
        int64_t now;
        struct old old_site, old_runs[N_RUNS];
        bool ending;
        unsigned n_compared, n_by_type[N_RECORD_TYPES];
};

static uint64_t draw(struct world *w)
{
        w->random = w->random * 6364136223846793005u + 1442695040888963407u;
        return w->random >> 33;
}

static bool one_in(struct world *w, unsigned n)
{
        return draw(w) % n == 0;
}

static unsigned number_of(const struct world *w, const struct run *run)
{
        for (unsigned i = 0; i < w->n_runs; i++)
                if (w->runs[i] == run)
                        return i;
        return UINT32_MAX;
}

static void dump(const struct site *site, struct buf *b)
{
        cr_assert_eq(dump_site(site, b), 0);
        for (uint32_t i = 0; i < site->n_runs; i++)
                if (!site->runs[i]->closed)
                        cr_assert_eq(dump_run(site->runs[i], b), 0);
}

static int read_all(struct journal *j, struct site *site)
{
        int q = site_replay(j, site);

        for (uint32_t i = 0; i < site->n_runs && q == 0; i++)
                if (!site->runs[i]->closed)
                        q = run_replay(j, site, site->runs[i]);
        return q;
}

/* The state as the store tells it. */
static void told(bool in_full, struct buf *ret)
{
        struct journal *j = opened(true);
        struct site site = SITE_NULL;
        int q;

        j->in_full = in_full;
        q = read_all(j, &site);
        cr_assert_eq(q, 0, "%d: %s", q, j->message ?: "");
        dump(&site, ret);
        site_deinit(&site);
        journal_close(j);
}

static void same(const struct buf *a, const struct buf *b, const char *what)
{
        const char *p = buf_str(a), *q = buf_str(b);

        if (a->n == b->n && memcmp(p, q, a->n) == 0)
                return;
        if (getenv("PRVNG_TEST_SEED"))
                fprintf(stderr, "%s:\n%s\nis not\n%s\n", what, p, q);
        for (;;) {
                size_t n = strcspn(p, "\n"), m = strcspn(q, "\n");

                if (n != m || memcmp(p, q, n) != 0)
                        cr_assert(false, "%s:\n  %.*s\nis not\n  %.*s", what, (int)n, p, (int)m, q);
                cr_assert(p[n], "%s", what);
                p += n + 1;
                q += n + 1;
        }
}

static void keep(struct old *old, int q, struct buf *snapshot)
{
        cr_assert_eq(q, 0);
        cr_assert_lt(old->n, N_OLD);
        old->list[old->n++] = *snapshot;
}

static void choose_snapshots(struct world *w, bool newest)
{
        const struct old *o = &w->old_site;

        place_snapshot("site", !o->n || (!newest && one_in(w, 4))
                                       ? NULL
                                       : &o->list[newest ? o->n - 1 : draw(w) % o->n]);
        for (unsigned i = 0; i < w->n_runs; i++) {
                o = &w->old_runs[i];
                place_snapshot(w->runs[i]->stream,
                               !o->n || (!newest && one_in(w, 4))
                                       ? NULL
                                       : &o->list[newest ? o->n - 1 : draw(w) % o->n]);
        }
}

/* Everything so far becomes durable and is compared: as it is here, as all records tell it, and as
 * snapshots and the records behind them do. */
static void compare(struct world *w)
{
        _cleanup_(cleanup_buf) struct buf live = BUF_NULL, full = BUF_NULL;

        for (unsigned i = 0; i < w->n_runs; i++) {
                struct buf b = BUF_NULL;

                cr_assert_eq(stream_commit(w->streams[i]), 0);
                if (w->runs[i]->planned && !w->runs[i]->closed)
                        keep(&w->old_runs[i],
                             snapshot_of_run(w->streams[i], &w->site, w->runs[i], &b), &b);
        }
        cr_assert_eq(stream_commit(w->site_stream), 0);
        if (w->site_stream->seq > 0) {
                struct buf b = BUF_NULL;

                keep(&w->old_site, snapshot_of_site(w->site_stream, &w->site, &b), &b);
        }
        dump(&w->site, &live);
        told(true, &full);
        same(&live, &full, "the live state and all records");
        for (unsigned i = 0; i < 4; i++) {
                _cleanup_(cleanup_buf) struct buf by = BUF_NULL;

                choose_snapshots(w, i == 0);
                told(false, &by);
                same(&full, &by, i ? "all records and older snapshots"
                                   : "all records and the snapshots of this moment");
        }
        w->n_compared++;
}

static void append(void *userdata, struct run *run, struct record *r)
{
        struct world *w = userdata;
        unsigned i;

        if (!w->ending)
                compare(w); /* before this record */
        /* What a run did and that it ended is one batch of the site's stream. */
        w->ending = r->type == RECORD_RESOURCE || r->type == RECORD_GONE;
        w->n_by_type[r->type]++;
        if (!run) {
                stream_append(w->site_stream, r);
                return;
        }
        i = number_of(w, run);
        if (i == UINT32_MAX) {
                i = w->n_runs++;
                w->runs[i] = run;
                cr_assert_eq(stream_open(w->journal, run->stream, NULL, NULL, &w->streams[i]), 0);
        }
        stream_append(w->streams[i], r);
}

static void prepare(void *userdata, const struct engine_call *call, struct op_reply *reply)
{
        reply->answer = PRVNG_DONE;
        buf_append(&reply->result, call->request, call->n_request);
}

static void call(void *userdata, const struct engine_call *c)
{
        struct world *w = userdata;

        cr_assert_lt(w->n_calls, MAX_CALLS);
        w->calls[w->n_calls++] = *c;
}

static void cancel(void *userdata, struct flight *flight)
{
}

static void entropy(void *userdata, void *bytes, size_t n)
{
        for (uint8_t *p = bytes; n-- > 0;)
                *p++ = (uint8_t)draw(userdata);
}

static void head(void *userdata, struct run *run, char ret_head[65])
{
        memset(ret_head, '0', 64);
        ret_head[64] = 0;
}

static void ended(void *userdata, struct run *run)
{
}

static const struct engine_ops ops = {prepare, append, call, cancel, entropy, head, ended};

static char provider[] = "provider", x[] = "x", template[] = "template", y[] = "y";

static void world_init(struct world *w, uint64_t seed)
{
        *w = (struct world){.random = seed * 7919 + 1, .now = 1000000};
        w->both[0] = (struct plugin){.state = PLUGIN_READY, .name = x, .kind = provider};
        w->both[0].op.struct_size = sizeof(w->both[0].op);
        w->both[0].descriptor.settle_ms = one_in(w, 2) ? 1000 : 0;
        w->both[1] = (struct plugin){.state = PLUGIN_READY, .name = y, .kind = template};
        w->both[1].template_.struct_size = sizeof(w->both[1].template_);
        w->plugins = (struct plugins){.list = w->both, .n = 2};
        w->journal = opened(false);
        cr_assert_eq(stream_open(w->journal, "site", NULL, NULL, &w->site_stream), 0);
        cr_assert_eq(engine_new(&ops, w, &w->site, &w->plugins, &w->engine), 0);
        engine_time(w->engine, w->now, w->now);
        engine_append_site(w->engine, &(struct record){.type = RECORD_SITE});
        engine_append_site(w->engine, &(struct record){.type = RECORD_ENGINE, .epoch = 1, .pid = 2,
                                                       .host = span_of("h"), .version = span_of("1")});
}

static void forget_old(struct old *o)
{
        while (o->n > 0)
                buf_deinit(&o->list[--o->n]);
}

static void world_deinit(struct world *w)
{
        engine_free(w->engine);
        for (unsigned i = 0; i < w->n_runs; i++) {
                stream_close(w->streams[i]);
                forget_old(&w->old_runs[i]);
        }
        forget_old(&w->old_site);
        stream_close(w->site_stream);
        site_deinit(&w->site);
        journal_close(w->journal);
        memory_clear();
}

static int32_t any(struct world *w, const int32_t *list, size_t n)
{
        return list[draw(w) % n];
}
#define ANY(w, ...)                                                                                \
        any((w), (const int32_t[]){__VA_ARGS__}, sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

/* Plans: servers, each with something that stands on it, in three operations that depend on each other
 * here and there. */

#define N_TASKS 12

struct draft {
        struct plan plan;
        struct plan_lane lane;
        struct plan_operation operations[3];
        struct plan_task tasks[N_TASKS];
        uint32_t deps[N_TASKS * 3];
        const char *uses[N_TASKS];
        char ids[N_TASKS][24], keys[N_TASKS][24], on[N_TASKS][24], docs[N_TASKS][64];
};

static const char *const operation_ids[] = {"a", "b", "c"};

/* What the runs of both workflows want to be there; not always alike. */
static void draft_shared(struct world *w, struct draft *d, const struct run *of)
{
        uint32_t i = N_TASKS - 1;
        struct plan_task *t = &d->tasks[i];
        const struct resource *r = inventory_get(&w->site.inventory, "network.n@x");

        snprintf(d->keys[i], sizeof(d->keys[i]), "network.n@x");
        snprintf(d->docs[i], sizeof(d->docs[i]), "{\"kind\":\"network\",\"spec\":{\"cpu\":%u}}", one_in(w, 8));
        t->verb = PLAN_CREATE;
        t->waits = NULL;
        t->shared = r && r->claim && (!of || !streq(r->claim, of->id_text));
        d->plan.n_deps -= t->n_deps;
        d->plan.n_uses -= t->n_uses;
        t->n_deps = t->n_uses = t->n_soft = 0;
}

/* What stands on a server is made behind it and deleted before it. */
static void draft_task(struct world *w, struct draft *d, uint32_t i, unsigned part, unsigned cpu,
                       bool deletes)
{
        struct plan_task *t = &d->tasks[i];
        unsigned server = part * N_TASKS + i / 2;
        bool stands = i % 2 != deletes;

        snprintf(d->on[i], sizeof(d->on[i]), "server.s%u", server);
        snprintf(d->keys[i], sizeof(d->keys[i]), stands ? "taskserv.t@s%u" : "server.s%u", server);
        snprintf(d->ids[i], sizeof(d->ids[i]), "%s/%u", operation_ids[i / 4], i);
        snprintf(d->docs[i], sizeof(d->docs[i]), "{\"kind\":\"server\",\"spec\":{\"cpu\":%u}}", cpu);
        *t = (struct plan_task){.id = d->ids[i], .resource = d->keys[i], .item = d->ids[i] + 2,
                                .server = "", .doc = d->docs[i], .spec = "{}", .operation = i / 4,
                                .first_dep = d->plan.n_deps, .first_use = d->plan.n_uses};
        if (stands) {
                d->uses[d->plan.n_uses++] = d->on[i];
                t->n_uses = 1;
        }
        if (i % 2) {
                d->deps[d->plan.n_deps++] = i - 1;
                if (one_in(w, 3))
                        t->waits = "[{\"on\":\"server.s0\",\"until\":\"outputs.on\"}]";
        } else if (i && one_in(w, 2)) {
                d->deps[d->plan.n_deps++] = (uint32_t)draw(w) % i;
                t->n_soft = one_in(w, 2);
        }
        t->n_deps = d->plan.n_deps - t->first_dep;
}

static void make_draft(struct world *w, struct draft *d, unsigned part, bool any_verb,
                       const struct run *of)
{
        unsigned cpu = (unsigned)draw(w) % 3;
        bool deletes = any_verb && one_in(w, 3);

        *d = (struct draft){.lane = {.plugin = "provider/x", .batch_size = 2 + (uint32_t)draw(w) % 4}};
        for (unsigned i = 0; i < 3; i++)
                d->operations[i] = (struct plan_operation){
                        .id = operation_ids[i], .on_failure = (enum on_failure)(draw(w) % 3),
                        .timeout_s = 5 + (uint32_t)draw(w) % 20};
        for (uint32_t i = 0; i < N_TASKS; i++) {
                draft_task(w, d, i, part, cpu, deletes);
                d->tasks[i].verb = (uint8_t)(deletes    ? PLAN_DELETE
                                             : any_verb ? ANY(w, PLAN_CREATE, PLAN_UPDATE, PLAN_CHECK)
                                                        : PLAN_CREATE);
        }
        draft_shared(w, d, of);
        d->plan.name = part ? "other" : "w";
        d->plan.type = "batch";
        d->plan.lanes = &d->lane;
        d->plan.operations = d->operations;
        d->plan.tasks = d->tasks;
        d->plan.deps = d->deps;
        d->plan.uses = d->uses;
        d->plan.n_lanes = 1;
        d->plan.n_operations = 3;
        d->plan.n_tasks = N_TASKS;
}

static struct submission submission(struct world *w)
{
        struct submission s = {.kind = "batch", .store = "memory", .who = "{}", .max_attempts = 3,
                               .initial_delay_s = 1, .max_delay_s = 3, .backoff = "exponential",
                               .logging = "{}", .rollback = true, .on_partial = one_in(w, 2),
                               .preserve = one_in(w, 3), .checkpoint_interval = 1,
                               .snapshot_every_s = 7};

        entropy(w, &s.run, sizeof(s.run));
        return s;
}

/* Answers and commands */

static void fill_reply(struct world *w, const struct engine_call *c, struct op_reply *r)
{
        unsigned id = (unsigned)draw(w) % 3;

        switch (c->kind) {
        case CALL_READ:
                r->answer = ANY(w, PRVNG_DONE, PRVNG_DONE, PRVNG_DONE, PRVNG_NOT_FOUND, PRVNG_TRANSIENT);
                buf_printf(&r->result, "{\"on\":%u}", id);
                break;
        case CALL_BEGIN:
                r->answer = ANY(w, PRVNG_DONE, PRVNG_DONE, PRVNG_DONE, PRVNG_UNCHANGED, PRVNG_PENDING,
                                PRVNG_PENDING, PRVNG_TRANSIENT, PRVNG_TRANSIENT, PRVNG_PERMANENT,
                                PRVNG_RATE_LIMITED);
                r->effect = (uint32_t)ANY(w, PRVNG_EFFECT_NONE, PRVNG_EFFECT_UNKNOWN,
                                          PRVNG_EFFECT_PARTIAL);
                break;
        case CALL_POLL:
                r->answer = ANY(w, PRVNG_DONE, PRVNG_PENDING, PRVNG_PENDING, PRVNG_TRANSIENT);
                r->effect = PRVNG_EFFECT_UNKNOWN;
                break;
        case CALL_OBSERVE:
                r->answer = ANY(w, PRVNG_OBSERVED_DONE, PRVNG_OBSERVED_NOT_STARTED,
                                PRVNG_OBSERVED_IN_PROGRESS, PRVNG_OBSERVED_UNCERTAIN,
                                PRVNG_UNSUPPORTED);
                break;
        case CALL_CANCEL:
                r->answer = PRVNG_DONE;
                break;
        case CALL_LIST:
                r->answer = PRVNG_DONE;
                buf_puts(&r->result, one_in(w, 2) ? "{\"resources\":[{\"identity\":{\"id\":\"0\"}}]}"
                                                  : "{\"resources\":[{\"identity\":{\"id\":\"0\"}},"
                                                    "{\"identity\":{\"id\":\"1\"}}]}");
                return;
        case CALL_EVALUATE:
                r->answer = PRVNG_DONE;
                buf_printf(&r->result, "{\"value\":%s,\"seen\":{\"outputs.on\":%u}}",
                           one_in(w, 2) ? "true" : "false", id);
                return;
        }
        if (r->answer == PRVNG_PENDING || r->answer == PRVNG_OBSERVED_IN_PROGRESS)
                buf_printf(&r->token, "t%u", id);
        if (r->answer < 0)
                r->message = strdup("it \"did not\" work");
        else if (c->kind != CALL_READ)
                buf_printf(&r->result, "{\"id\":\"%u\"}", id);
}

static void answer(struct world *w)
{
        unsigned i = (unsigned)draw(w) % w->n_calls;
        struct engine_call c = w->calls[i];
        struct op_reply r = OP_REPLY_NULL;

        w->calls[i] = w->calls[--w->n_calls];
        r.retry_after_ms = r.ask_again_ms = -1;
        fill_reply(w, &c, &r);
        engine_answer(w->engine, c.flight, &r);
        op_reply_deinit(&r);
}

static void command_on_ended(struct world *w, struct run *run)
{
        const struct resource *claimed;

        if (!one_in(w, 3) || engine_reopen(w->engine, run, "{}", &claimed) != 0)
                return;
        if (one_in(w, 2))
                engine_rollback(w->engine, run, 0, "{}");
        else
                engine_retry(w->engine, run, one_in(w, 2) ? "b" : NULL, "{}");
}

static void replan(struct world *w, struct run *run)
{
        struct submission s = submission(w);
        const char *task = NULL;
        struct draft d;

        make_draft(w, &d, run->name[0] == 'o', false, run);
        for (uint32_t i = 0; i < N_TASKS && i < run->n_tasks; i++) /* what has started stays */
                snprintf(d.docs[i], sizeof(d.docs[i]), "%s", task_doc(run, &run->tasks[i]));
        s.run = run->id;
        s.kind = "parallel";
        s.who = "{\"user\":\"another\"}";
        if (engine_replan_claim(w->engine, run, &d.plan, &task) == 0)
                engine_replan(w->engine, run, &s, &d.plan);
}

static void command(struct world *w)
{
        struct run *run = w->runs[draw(w) % w->n_runs];

        if (run->closed) {
                command_on_ended(w, run);
                return;
        }
        for (uint32_t i = 0; i < run->n_tasks; i++)
                if (run->tasks[i].status == TASK_PARKED) {
                        engine_resolve(w->engine, run, i, one_in(w, 2), "{\"by\":1}", "{}");
                        break;
                }
        switch (draw(w) % 12) {
        case 0:
                engine_cancel(w->engine, run, "{}");
                break;
        case 1:
                engine_rollback(w->engine, run, run->n_checkpoints && one_in(w, 2), "{}");
                break;
        case 2:
        case 3:
        case 4:
                engine_pause(w->engine, run, "{\"user\":\"u\"}");
                break;
        case 5:
                if (run->status == RUN_PAUSED)
                        replan(w, run);
                break;
        default:
                engine_resume(w->engine, run, "{}");
        }
}

static void start_run(struct world *w)
{
        unsigned part = (unsigned)draw(w) % 2;
        struct submission s = submission(w);
        struct draft d;

        for (unsigned i = 0; i < w->n_runs; i++)
                if (!w->runs[i]->closed && (w->runs[i]->name[0] == 'o') == part)
                        return; /* what it would claim is claimed */
        if (w->n_runs < N_RUNS) {
                struct run *run;

                make_draft(w, &d, part, w->n_runs > 1, NULL);
                cr_assert_eq(engine_submit(w->engine, &s, &d.plan, &run), 0);
        }
}

static void live(struct world *w, unsigned n_steps)
{
        for (unsigned i = 0; i < n_steps; i++) {
                if (w->n_calls && !one_in(w, 4)) {
                        answer(w);
                } else {
                        w->now += (int64_t)draw(w) % 2000;
                        engine_time(w->engine, w->now, w->now);
                }
                if (one_in(w, 10))
                        start_run(w);
                if (w->n_runs && one_in(w, 12))
                        command(w);
                engine_schedule(w->engine);
                cr_assert_eq(w->engine->error, 0);
        }
        compare(w);
}

/* What the histories of all seeds together must hold for the comparison to be worth something. */
static const enum record_type expected[] = {
        RECORD_RESOURCE, RECORD_GONE, RECORD_ENDED, RECORD_REOPENED, RECORD_CLAIM, RECORD_INTENT,
        RECORD_BEGIN, RECORD_TOKEN, RECORD_RETRY, RECORD_DOUBT, RECORD_DONE, RECORD_FAILED,
        RECORD_PARKED, RECORD_HALT, RECORD_CANCEL, RECORD_END, RECORD_CHECKPOINT, RECORD_PAUSE,
        RECORD_RESUME, RECORD_ROLLBACK, RECORD_UNWIND, RECORD_UNDO, RECORD_UNDONE,
        RECORD_UNDO_FAILED, RECORD_RERUN, RECORD_MADE, RECORD_SURPLUS, RECORD_REMOVED, RECORD_WAIT,
        RECORD_REPLAN,
};

Test(snapshot, is_worth_its_records_at_every_record)
{
        const char *only = getenv("PRVNG_TEST_SEED");
        unsigned n[N_RECORD_TYPES] = {0}, from = only ? (unsigned)atoi(only) : 1;
        static struct world w;

        for (unsigned seed = from; seed < (only ? from + 1 : 17); seed++) {
                world_init(&w, seed);
                live(&w, 220);
                fprintf(stderr, "seed %u: %u states compared\n", seed, w.n_compared);
                for (unsigned t = 0; t < N_RECORD_TYPES; t++)
                        n[t] += w.n_by_type[t];
                world_deinit(&w);
        }
        for (unsigned i = 0; i < N_ELEMENTS(expected) && !only; i++)
                cr_assert_gt(n[expected[i]], 0, "no history has a record %s",
                             record_type_name(expected[i]));
}

/* What does not fit is passed over. Leaves a site with a run, whose snapshots are of its last record. */
static void live_a_little(struct world *w)
{
        world_init(w, 3);
        while (w->n_runs == 0 || !w->old_runs[0].n)
                live(w, 20);
        choose_snapshots(w, true);
}

static void same_as_all_records(const char *what)
{
        _cleanup_(cleanup_buf) struct buf full = BUF_NULL, by = BUF_NULL;

        told(true, &full);
        told(false, &by);
        same(&full, &by, what);
}

/* Can the snapshot be used at all? Then nothing of the stream before its place is looked at. */
static bool is_used(const char *stream)
{
        struct memory_stream *s = stream_named(stream, false);
        struct journal *j = opened(true);
        struct site site = SITE_NULL;
        char *records = strchr(s->segments[1].data, '\n') + 1;
        int q;

        records[2] ^= 1;
        q = site_replay(j, &site);
        records[2] ^= 1;
        site_deinit(&site);
        journal_close(j);
        return q == 0;
}

Test(snapshot, that_is_damaged_is_passed_over)
{
        static struct world w;
        struct buf *b;

        live_a_little(&w);
        cr_assert(is_used("site"));
        for (unsigned run = 0; run < 2; run++) {
                b = &stream_named(run ? w.runs[0]->stream : "site", false)->snapshot;
                for (size_t i = 0; i < b->n; i += 1 + b->n / 97) {
                        b->data[i] ^= 0x10;
                        same_as_all_records("a changed byte");
                        cr_assert(run || !is_used("site"));
                        b->data[i] ^= 0x10;
                }
                for (size_t n = b->n; b->n > 0; b->n -= 1 + n / 31 < b->n ? 1 + n / 31 : b->n)
                        same_as_all_records("cut");
        }
        world_deinit(&w);
}

Test(snapshot, of_another_chain_is_passed_over)
{
        static struct world a, b;
        static struct buf site, run;

        live_a_little(&a);
        buf_append(&site, a.old_site.list[a.old_site.n - 1].data, a.old_site.list[a.old_site.n - 1].n);
        buf_append(&run, a.old_runs[0].list[0].data, a.old_runs[0].list[0].n);
        world_deinit(&a);
        live_a_little(&b); /* the same records under other salts */
        place_snapshot("site", &site);
        place_snapshot(b.runs[0]->stream, &run);
        cr_assert(!is_used("site"));
        same_as_all_records("another chain");
        world_deinit(&b);
        buf_deinit(&site);
        buf_deinit(&run);
}

/* An older copy of the store, or a tail that was lost. */
Test(snapshot, that_is_ahead_of_the_journal_is_passed_over)
{
        static struct world w;
        struct memory_stream *site;
        size_t seal;

        live_a_little(&w);
        site = stream_named("site", false);
        for (seal = site->segments[1].n - 1; site->segments[1].data[seal - 1] != '\n';)
                seal--;
        site->segments[1].n = seal;
        same_as_all_records("ahead");
        world_deinit(&w);
}

/* Of a run whose records end before those that the site's snapshot has in its inventory. */
Test(snapshot, of_a_site_does_not_outlive_records_of_its_runs)
{
        static struct world w;
        struct journal *j;
        struct site site = SITE_NULL;
        struct buf *b;
        size_t n;

        live_a_little(&w);
        cr_assert(!w.runs[0]->closed);
        place_snapshot(w.runs[0]->stream, NULL);
        b = &stream_named(w.runs[0]->stream, false)->segments[1];
        for (n = b->n - 1; b->data[n - 1] != '\n';)
                n--;
        b->n = n;
        j = opened(true);
        cr_assert_eq(read_all(j, &site), JOURNAL_E_SHORTCUT);
        site_deinit(&site);
        j->in_full = true;
        cr_assert_eq(read_all(j, &site), 0);
        site_deinit(&site);
        journal_close(j);
        world_deinit(&w);
}

/* Promise 2 behind a snapshot: a torn tail is cut, damage is refused, with its place. */
Test(snapshot, hides_no_damage_behind_it)
{
        static struct world w;
        struct site site = SITE_NULL;
        struct stream *s = NULL;
        struct journal *j;
        struct buf *b;
        size_t at;

        live_a_little(&w);
        place_snapshot("site", &w.old_site.list[0]);
        b = &stream_named("site", false)->segments[1];
        at = (size_t)(strstr(b->data, "\"type\":\"accepted\"") - b->data);
        b->data[at + 1] ^= 1;
        j = opened(true);
        cr_assert_eq(site_replay(j, &site), JOURNAL_E_SHORTCUT);
        site_deinit(&site);
        j->in_full = true;
        cr_assert_eq(site_replay(j, &site), JOURNAL_E_DAMAGED);
        cr_assert(strstr(j->message, "stream site, segment 1, byte "), "%s", j->message);
        site_deinit(&site);
        journal_close(j);
        b->data[at + 1] ^= 1;
        buf_append(b, "{\"seq\":9", 8);
        j = opened(false);
        cr_assert_eq(site_open_stream(j, &site, &s), 0);
        cr_assert_eq(s->seq, w.site_stream->seq);
        cr_assert_eq(memcmp(s->digest, w.site_stream->digest, 32), 0);
        cr_assert_eq(b->n, w.site_stream->n_segment);
        stream_close(s);
        site_deinit(&site);
        journal_close(j);
        world_deinit(&w);
}

Test(snapshot, is_not_needed)
{
        static struct world w;
        struct buf b = BUF_NULL;

        live_a_little(&w);
        memory.snapshots = PRVNG_UNSUPPORTED;
        same_as_all_records("a store without snapshots");
        cr_assert_eq(snapshot_of_site(w.site_stream, &w.site, &b), 0);
        cr_assert_gt(snapshot_put(w.site_stream, &b), 0);
        buf_deinit(&b);
        memory.snapshots = 0;
        world_deinit(&w);
}

/* One stream is not found by listing all of them. */
Test(snapshot, journals_list_their_streams_once)
{
        static struct world w;
        struct journal *j;
        struct site site = SITE_NULL;
        struct stream *s[N_RUNS + 1] = {NULL};
        unsigned n = 0;

        live_a_little(&w);
        j = opened(false);
        memory.n_lists = 0;
        cr_assert_eq(site_open_stream(j, &site, &s[n++]), 0);
        for (uint32_t i = 0; i < site.n_runs; i++)
                cr_assert_eq(run_open_stream(j, &site, site.runs[i], &s[n++]), 0);
        cr_assert_eq(memory.n_lists, 1);
        while (n > 0)
                stream_close(s[--n]);
        site_deinit(&site);
        journal_close(j);
        world_deinit(&w);
}
