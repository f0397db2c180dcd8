/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks a second through the whole engine: journal, store, border and workers. */
#include "bench.h"

#include <malloc.h>
#include <time.h>

static double heap(void)
{
        struct mallinfo2 m = mallinfo2();

        return (double)m.uordblks + (double)m.hblkhd;
}

struct result {
        double seconds;          /* from the complete plan to the end, as the records say: journaling it included */
        double running_seconds;  /* from the first call's leave, the plan being durable, until a client saw the end */
        double loop_cpu_seconds; /* of the loop's thread in that time, waiting by spinning included */
        double bytes_per_task;   /* of the heap, when the run is planned and runs */
        double syncs_per_s;      /* of the store's disk, right before; 0: not measured */
};

struct load {
        const char *store, *provider;
        enum shape shape;
        unsigned n;
        unsigned n_syncs; /* to measure the disk with */
};

static struct result run_once(const struct load *l)
{
        struct buf body = BUF_NULL;
        struct timespec from, to;
        struct result result = {0};
        struct bench b;
        double before, accepted;
        clockid_t clock;

        bench_open(&b, l->store, l->provider);
        bench_start(&b);
        if (l->n_syncs)
                result.syncs_per_s = disk_measure(b.store_folder, l->n_syncs).syncs_per_s;
        before = heap();
        graph_request(&body, l->shape, l->n);
        bench_submit(&b, &body);
        accepted = b.answered_s;
        buf_deinit(&body);
        bench_ask(&b, "GET", "/healthz", NULL); /* the request is forgotten by then */
        result.bytes_per_task = (heap() - before) / l->n;
        pthread_getcpuclockid(b.thread, &clock);
        clock_gettime(clock, &from);
        bench_wait_for_end(&b);
        result.running_seconds = b.answered_s - accepted;
        clock_gettime(clock, &to);
        result.loop_cpu_seconds = (double)(to.tv_sec - from.tv_sec) +
                                  (double)(to.tv_nsec - from.tv_nsec) / 1e9;
        bench_ask(&b, "GET", "/workflows/bench/status", NULL);
        result.seconds = bench_number(&b, "\"duration_ms\":") / 1e3;
        bench_stop(&b);
        bench_close(&b);
        return result;
}

void bench_independent(void)
{
        struct result r = run_once(&(struct load){"file", "noop", INDEPENDENT, 100000});

        print("engine.file.independent_100k.tasks_per_s", 1e5 / r.seconds, "1/s");
}

void bench_dag(void)
{
        struct result r = run_once(&(struct load){"file", "noop", DAG, 100000});

        print("engine.file.dag_100k.tasks_per_s", 1e5 / r.seconds, "1/s");
        print("engine.file.dag_100k.loop_cpu_us_per_task", r.loop_cpu_seconds * 10, "us");
        print("engine.bytes_per_task", r.bytes_per_task, "B");
}

double chain_rate(unsigned n)
{
        return n / run_once(&(struct load){"file", "noop", CHAIN, n}).running_seconds;
}

/* Each round: the disk alone, then the chain in the same folder. */
void bench_chain(void)
{
        double syncs[ROUNDS], rates[ROUNDS], ratios[ROUNDS];

        for (unsigned i = 0; i < ROUNDS; i++) {
                struct result r = run_once(&(struct load){"file", "noop", CHAIN, 3000, 3000});

                syncs[i] = r.syncs_per_s;
                rates[i] = 3000 / r.running_seconds;
                ratios[i] = rates[i] / syncs[i];
        }
        print("disk.fdatasyncs_per_s", median(syncs, ROUNDS), "1/s");
        print("engine.file.chain.tasks_per_s", median(rates, ROUNDS), "1/s");
        print("engine.file.chain.ratio_to_fdatasync", median(ratios, ROUNDS), "1");
}

/* As many at once as the provider allows: noop64, noop1024; while they run, and (with_plan) with the time that
 * it takes to journal the plan before. Each round beside the disk alone: on a machine with other work, tasks
 * for each sync that the disk could have done say more than tasks a second. */
static void rate(const char *name, const struct load *l)
{
        const char *absent = bench_store_absent(l->store);
        double rates[ROUNDS], with_plan[ROUNDS], ratios[ROUNDS];
        char text[128];

        snprintf(text, sizeof(text), "%s.tasks_per_s", name);
        if (absent) {
                print_absent(text, absent);
                return;
        }
        for (unsigned i = 0; i < ROUNDS; i++) {
                struct result r = run_once(l);

                rates[i] = l->n / r.running_seconds;
                with_plan[i] = l->n / r.seconds;
                ratios[i] = rates[i] / r.syncs_per_s;
        }
        print(text, median(rates, ROUNDS), "1/s");
        snprintf(text, sizeof(text), "%s.with_plan.tasks_per_s", name);
        print(text, median(with_plan, ROUNDS), "1/s");
        snprintf(text, sizeof(text), "%s.tasks_per_fdatasync", name);
        print(text, median(ratios, ROUNDS), "1");
}

void bench_inflight_64(void)
{
        rate("engine.file.inflight_64",
             &(struct load){"file", "noop64", INDEPENDENT, 100000, 1000});
}

void bench_inflight_1024(void)
{
        rate("engine.file.inflight_1024",
             &(struct load){"file", "noop1024", INDEPENDENT, 200000, 1000});
}

void bench_rkvs_chain(void)
{
        rate("engine.rkvs.chain", &(struct load){"rkvs", "noop", CHAIN, 1000, 1000});
}

void bench_rkvs_inflight_64(void)
{
        rate("engine.rkvs.inflight_64",
             &(struct load){"rkvs", "noop64", INDEPENDENT, 50000, 1000});
}

void bench_rkvs_inflight_1024(void)
{
        rate("engine.rkvs.inflight_1024",
             &(struct load){"rkvs", "noop1024", INDEPENDENT, 200000, 1000});
}

void bench_cost_ratio(void)
{
        double small[ROUNDS], large;

        for (unsigned i = 0; i < ROUNDS; i++)
                small[i] = run_once(&(struct load){"file", "noop", DAG, 1000}).seconds / 1e3;
        large = run_once(&(struct load){"file", "noop", DAG, 1000000}).seconds / 1e6;
        median(small, ROUNDS);
        print("engine.cost_us_per_task_1k", small[ROUNDS / 2] * 1e6, "us");
        print("engine.cost_us_per_task_1m", large * 1e6, "us");
        print("engine.cost_ratio_1m_over_1k", large / small[ROUNDS / 2], "1");
}
