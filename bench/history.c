/* SPDX-License-Identifier: Apache-2.0 */
/* What a restart costs must not grow with what once happened: the same state behind ten times the history, and
 * a site where ten thousand runs have ended. */
#include "bench.h"

#include <time.h>

#define N_TASKS 1000u
#define N_WHO 4000u
#define N_COMMANDS 5000u /* 20 MB */
#define N_ENDED 10000u

/* In a process of its own, from the disk, with the snapshots that the engine left. */
static double restart(struct bench *b)
{
        double took[ROUNDS];

        for (unsigned i = 0; i < ROUNDS; i++) {
                disk_forget_cache(b->store_folder);
                took[i] = bench_resume_in_child(b->site.conf);
        }
        return median(took, ROUNDS);
}

/* So many commands that change nothing in the end, each with `N_WHO` bytes. */
static void commands(struct bench *b, unsigned n)
{
        static const char *const paths[] = {"/workflows/bench/pause", "/workflows/bench/resume"};
        struct buf body = BUF_NULL;

        BUF_LIT(&body, "{\"who\":{\"user\":\"");
        for (unsigned i = 0; i < N_WHO; i++)
                buf_putc(&body, 'x');
        BUF_LIT(&body, "\"}}");
        for (unsigned i = 0; i < n; i += 2) {
                for (unsigned k = 0; k < 2; k++)
                        engine_process_post(b->process, NULL, "POST", paths[k], body.data, body.n);
                if (i % 64 == 0) /* not all of them into one batch */
                        bench_ask(b, "GET", "/healthz", NULL);
        }
        bench_ask(b, "GET", "/healthz", NULL);
        buf_deinit(&body);
}

/* A run with one task that is pending, and the rest done. What is read behind a snapshot and copied is never more
 * than a segment of 16 MiB: its last one is about as full in both cases. */
void bench_history(void)
{
        struct bench b;
        double once;

        bench_prepare(&b, N_TASKS, 0);
        bench_start(&b);
        commands(&b, N_COMMANDS);
        bench_stop(&b);
        once = restart(&b);
        bench_start(&b);
        commands(&b, 9 * N_COMMANDS);
        bench_stop(&b);
        print("engine.resume_snapshot_10x_ratio", restart(&b) / once, "1");
        bench_close(&b);
}

/* [loop] */
static void count_end(void *userdata, const char *run, uint64_t seq, const char *line, size_t n_line)
{
        if (memmem(line, MIN(n_line, (size_t)100), "\"type\":\"end\"", 12))
                __atomic_add_fetch((unsigned *)userdata, 1, __ATOMIC_RELAXED);
}

/* Each has one task, which is unchanged from the second run on. */
void bench_ended_runs(void)
{
        struct timespec pause = {.tv_nsec = 50000};
        struct buf body = BUF_NULL;
        unsigned n_ended = 0;
        struct bench b;

        graph_request(&body, INDEPENDENT, 1);
        if (bench_store_absent("rkvs")) {
                print_absent("engine.resume_10k_ended_runs.ms", bench_store_absent("rkvs"));
                buf_deinit(&body);
                return;
        }
        bench_open(&b, "rkvs", "noop"); /* the default of new sites */
        b.hooks.on_record = count_end;
        b.hooks.userdata = &n_ended;
        bench_start(&b);
        for (unsigned i = 0; i < N_ENDED; i++) {
                bench_submit(&b, &body);
                while (__atomic_load_n(&n_ended, __ATOMIC_RELAXED) <= i)
                        nanosleep(&pause, NULL);
        }
        bench_stop(&b);
        b.hooks = (struct engine_process_hooks){0};
        print("engine.resume_10k_ended_runs.ms", restart(&b), "ms");
        bench_close(&b);
        buf_deinit(&body);
}
