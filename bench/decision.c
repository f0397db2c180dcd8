/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What deciding costs, beside the bare limit, which is to drain the same graph in arrays: for each edge one
 * counter, for each task one place in a ring. Twice, without journal and without plugins:
 *
 *  decision   what may start next and what an end makes ready: the engine's own queues, counters, limits of
 *             lanes and counts of states and operations, by its own functions; no records, requests or flights
 *  whole      all of the engine: with those, op ids, timers and the inventory
 */
#include "engine/flight.h"
#include "journal/fold.h"
#include "local.h"

#include <time.h>

#define N 100000u

/* The plan's graph by successors. */
struct bare {
        uint32_t n;
        uint32_t *first, *successors; /* those of i: successors[first[i]] ... [first[i + 1]] */
        uint32_t *waits_for, *ring;
};

static void bare_build(struct bare *b, const struct plan *plan)
{
        uint32_t *at;

        b->n = plan->n_tasks;
        b->first = calloc(b->n + 1, sizeof(uint32_t));
        b->successors = calloc(plan->n_deps + 1, sizeof(uint32_t));
        b->waits_for = calloc(b->n, sizeof(uint32_t));
        b->ring = calloc(b->n, sizeof(uint32_t));
        at = calloc(b->n + 1, sizeof(uint32_t));
        if (!b->first || !b->successors || !b->waits_for || !b->ring || !at)
                bench_fail("no memory");
        for (uint32_t i = 0; i < plan->n_deps; i++)
                b->first[plan->deps[i] + 1]++;
        for (uint32_t i = 0; i < b->n; i++)
                b->first[i + 1] += b->first[i];
        memcpy(at, b->first, b->n * sizeof(uint32_t));
        for (uint32_t i = 0; i < b->n; i++) {
                const struct plan_task *t = &plan->tasks[i];

                b->waits_for[i] = t->n_deps;
                for (uint32_t k = 0; k < t->n_deps; k++)
                        b->successors[at[plan->deps[t->first_dep + k]]++] = i;
        }
        free(at);
}

static void bare_free(struct bare *b)
{
        free(b->first);
        free(b->successors);
        free(b->waits_for);
        free(b->ring);
}

static void bare_drain(struct bare *b)
{
        uint32_t head = 0, tail = 0;

        for (uint32_t i = 0; i < b->n; i++)
                if (b->waits_for[i] == 0)
                        b->ring[tail++] = i;
        while (head < tail) {
                uint32_t i = b->ring[head++];

                for (uint32_t k = b->first[i]; k < b->first[i + 1]; k++)
                        if (--b->waits_for[b->successors[k]] == 0)
                                b->ring[tail++] = b->successors[k];
        }
        if (tail != b->n)
                bench_fail("the graph has a circle");
}

/* Of this thread: nothing here waits, and others may use the machine. */
static double cpu_seconds(void)
{
        struct timespec ts;

        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
        return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static double bare_once(const struct plan *plan)
{
        struct bare b;
        double start;

        bare_build(&b, plan);
        start = cpu_seconds();
        bare_drain(&b);
        start = cpu_seconds() - start;
        bare_free(&b);
        return start;
}

/* A site for a definition that is drained without an engine process. */
static void site_new(struct test_site *site)
{
        const struct test_plugin plugins[] = {
                {.name = "noop"},
                {.name = "json", .file = getenv("PRVNG_TEST_JSON")},
        };

        test_site_new(site, plugins, N_ELEMENTS(plugins), "provider = \"noop\";");
}

/* In rounds, as the engine does it: all that may start does, then all that started ends. */
static void decide(struct local *l)
{
        struct engine *e = l->engine;
        struct run *run = l->run;
        uint32_t *started = calloc(N, sizeof(*started)), n;

        if (!started)
                bench_fail("no memory");
        do {
                n = 0;
                for (uint32_t i = 0; i < run->n_lanes; i++)
                        for (uint32_t task; (task = engine_next(e, run, i)) != TASK_NONE; n++) {
                                started[n] = task;
                                lane_enter(e, engine_run_lane(run, i));
                                set_status(run, &run->tasks[task], TASK_RUNNING);
                        }
                for (uint32_t i = 0; i < n; i++) {
                        struct task *t = &run->tasks[started[i]];

                        if (i + 4 * RUN_FETCH_APART < n) {
                                run_fetch_end(run, started[i + RUN_FETCH_APART], 0);
                                run_fetch_end(run, started[i + 2 * RUN_FETCH_APART], 1);
                                run_fetch_end(run, started[i + 3 * RUN_FETCH_APART], 2);
                                run_fetch_end(run, started[i + 4 * RUN_FETCH_APART], 3);
                        }
                        lane_leave(e, engine_run_lane(run, t->lane));
                        set_status(run, t, TASK_SUCCEEDED);
                        if (settle(run, started[i]))
                                bench_fail("no memory");
                        l->n_done++;
                }
        } while (n > 0);
        free(started);
}

static double timed(void (*drain)(struct local *l), const char *conf, const struct buf *text,
                    double *ret_bare)
{
        struct local l;
        double start, took, before;

        local_load(&l, conf, NULL, text);
        before = bare_once(l.plan);
        local_submit(&l);
        start = cpu_seconds();
        drain(&l);
        took = cpu_seconds() - start;
        *ret_bare = (before + bare_once(l.plan)) / 2;
        if (l.n_done != N)
                bench_fail("%llu tasks were done", (unsigned long long)l.n_done);
        local_deinit(&l);
        return took;
}

static void whole(struct local *l)
{
        engine_schedule(l->engine);
        local_drain(l);
}

void bench_decision(void)
{
        double decisions[ROUNDS], engines[ROUNDS], bares[2 * ROUNDS];
        double decision_ratios[ROUNDS], whole_ratios[ROUNDS];
        struct buf text = BUF_NULL;
        struct test_site site;

        site_new(&site);
        graph_definition(&text, DAG, N);
        for (unsigned i = 0; i < ROUNDS; i++) {
                decisions[i] = timed(decide, site.conf, &text, &bares[2 * i]);
                decision_ratios[i] = decisions[i] / bares[2 * i];
                engines[i] = timed(whole, site.conf, &text, &bares[2 * i + 1]);
                whole_ratios[i] = engines[i] / bares[2 * i + 1];
        }
        print("engine.bare_drain_ns_per_task", median(bares, 2 * ROUNDS) / N * 1e9, "ns");
        print("engine.decision_ns_per_task", median(decisions, ROUNDS) / N * 1e9, "ns");
        print("engine.decision_over_bare_drain", median(decision_ratios, ROUNDS), "1");
        print("engine.whole_ns_per_task", median(engines, ROUNDS) / N * 1e9, "ns");
        print("engine.whole_over_bare_drain", median(whole_ratios, ROUNDS), "1");
        buf_deinit(&text);
        test_site_remove(&site);
}

/* For scripts that time this program as a whole beside another one: a definition, from its file to the
 * end of its run, the plugin asked for every task, nothing journaled. */
int load_and_drain(const char *conf, const char *definition)
{
        struct local l;

        local_load(&l, conf, definition, NULL);
        l.ask_plugins = true;
        local_submit(&l);
        local_drain(&l);
        return 0; /* as every program does, this one leaves its memory to the system */
}

static void write_file(const char *folder, const char *name, const struct buf *b)
{
        char path[512];
        FILE *f;

        snprintf(path, sizeof(path), "%s/%s", folder, name);
        f = fopen(path, "we");
        if (!f || fwrite(b->data, 1, b->n, f) != b->n || fclose(f) != 0)
                bench_fail("%s: %s", path, strerror(errno));
}

/* FOLDER/graph.json and the same graph as FOLDER/build.ninja. */
void write_graph(const char *folder, unsigned n)
{
        struct buf json = BUF_NULL, ninja = BUF_NULL;

        graph_definition(&json, DAG, n);
        graph_ninja(&ninja, n);
        write_file(folder, "graph.json", &json);
        write_file(folder, "build.ninja", &ninja);
        buf_deinit(&json);
        buf_deinit(&ninja);
}
