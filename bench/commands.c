/* SPDX-License-Identifier: Apache-2.0 */
/* How long a command takes until it is durable and obeyed: at full work, and while snapshots are written. */
#include "bench.h"

#include "run/process.h"

#include <time.h>

#define N_COMMANDS 200u

static double command(struct bench *b, const char *word)
{
        struct buf body = BUF_NULL;
        char path[64];
        double start;

        BUF_LIT(&body, "{}");
        snprintf(path, sizeof(path), "/workflows/bench/%s", word);
        start = seconds();
        if (bench_ask(b, "POST", path, &body) >= 300)
                bench_fail("%s: %s", word, buf_str(&b->answer));
        buf_deinit(&body);
        return seconds() - start;
}

static int compare(const void *a, const void *b)
{
        double x = *(const double *)a, y = *(const double *)b;

        return (x > y) - (x < y);
}

static double p99(double *values, unsigned n)
{
        qsort(values, n, sizeof(*values), compare);
        return values[n - 1 - n / 100];
}

static void nap(unsigned *seed, unsigned max_ms)
{
        struct timespec pause = {.tv_nsec = (long)(rand_r(seed) % max_ms) * 1000000};

        nanosleep(&pause, NULL);
}

/* Pause and resume in turn, and cancel at the end, with 64 calls in flight. */
void bench_command(void)
{
        double took[N_COMMANDS + 1];
        struct buf body = BUF_NULL;
        unsigned seed = 1, n = 0;
        struct bench b;

        bench_open(&b, "file", "noop64");
        bench_start(&b);
        graph_request(&body, INDEPENDENT, 1000000);
        bench_submit(&b, &body);
        for (; n < N_COMMANDS / 2; n++) {
                took[n] = command(&b, n % 2 ? "resume" : "pause");
                nap(&seed, 15);
        }
        took[n++] = command(&b, "cancel");
        print("engine.command_ms", p99(took, n) * 1e3, "ms");
        bench_stop(&b);
        bench_close(&b);
        buf_deinit(&body);
}

/* Of a run of a million tasks that are done, and one that goes on; a snapshot follows the other. */
void bench_command_during_snapshot(void)
{
        struct snapshot_tuning tuning = snapshot_tuning;
        double took[N_COMMANDS];
        unsigned seed = 1;
        struct bench b;

        bench_prepare(&b, 1000000, 0);
        snapshot_tuning.worth = snapshot_tuning.share = snapshot_tuning.rest = 0;
        snapshot_tuning.again_ms = 0;
        bench_start(&b);
        for (unsigned i = 0; i < N_COMMANDS; i++) {
                nap(&seed, 400);
                took[i] = command(&b, i % 2 ? "resume" : "pause");
        }
        print("engine.command_p99_ms_during_snapshot", p99(took, N_COMMANDS) * 1e3, "ms");
        snapshot_tuning = tuning;
        bench_stop(&b);
        bench_close(&b);
}
