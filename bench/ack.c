/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long it takes until a result is durable: from the moment when the plugin returns it (the provider
 * `noopclock` writes that into its result) until the record is published to followers, with 64 tasks in
 * flight. Compared with the bare sync of the same disk in the same round.
 */
#include "bench.h"

#include <time.h>

#define N 20000u

struct ack {
        double took[N];
        unsigned n;
};

/* [loop] */
static void on_record(void *userdata, const char *run, uint64_t seq, const char *line, size_t n_line)
{
        static const char member[] = "\"answered_ns\":";
        struct ack *ack = userdata;
        const char *p = memmem(line, n_line, member, sizeof(member) - 1);
        struct timespec ts;

        if (!p || ack->n == N)
                return;
        clock_gettime(CLOCK_MONOTONIC, &ts);
        ack->took[ack->n++] = (double)(ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec -
                                       strtoll(p + sizeof(member) - 1, NULL, 10)) / 1e9;
}

static double once(double *ret_sync_p50)
{
        struct ack *ack = calloc(1, sizeof(*ack));
        struct buf body = BUF_NULL;
        struct bench b;
        double p50;

        if (!ack)
                bench_fail("no memory");
        bench_open(&b, "file", "noopclock");
        b.hooks.on_record = on_record;
        b.hooks.userdata = ack;
        bench_start(&b);
        *ret_sync_p50 = disk_measure(b.store_folder, 3000).p50_s;
        graph_request(&body, INDEPENDENT, N);
        bench_submit(&b, &body);
        bench_wait_for_end(&b);
        bench_stop(&b);
        bench_close(&b);
        buf_deinit(&body);
        if (ack->n != N)
                bench_fail("%u results of %u were published", ack->n, N);
        p50 = median(ack->took, N);
        free(ack);
        return p50;
}

void bench_ack(void)
{
        double acks[ROUNDS], syncs[ROUNDS], ratios[ROUNDS];

        for (unsigned i = 0; i < ROUNDS; i++) {
                acks[i] = once(&syncs[i]);
                ratios[i] = acks[i] / syncs[i];
        }
        print("disk.fdatasync_p50_us", median(syncs, ROUNDS) * 1e6, "us");
        print("engine.file.ack_p50_us", median(acks, ROUNDS) * 1e6, "us");
        print("engine.file.ack_p50_over_fdatasync_p50", median(ratios, ROUNDS), "1");
}
