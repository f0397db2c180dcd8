/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the benchmarks share: the real loop, journal, stores, border and workers over a site in a
 * temporary folder, with the in-tree provider `noop`; and the same graphs for all of them.
 *
 * Whatever fails ends the program with a message: a figure that was not measured is not printed.
 */
#ifndef PRVNG_BENCH_H
#define PRVNG_BENCH_H

#include "base/buf.h"
#include "run/engine-process.h"
#include "support/site.h"

#include <pthread.h>

#define ROUNDS 5 /* of what is compared with a limit, each beside its own measurement of the limit */

/* main.c: one JSON object a line */
void print(const char *name, double value, const char *unit);
void print_absent(const char *name, const char *reason);
_Noreturn void bench_fail(const char *format, ...) _printf_(1, 2);

/* disk.c: what the disk can do, and the clock */
double seconds(void);
double median(double *values, unsigned n); /* sorts them */
struct disk {
        double syncs_per_s, p50_s;
};
struct disk disk_measure(const char *folder, unsigned n); /* in a file of its own there */
void disk_forget_cache(const char *folder); /* what is below it is read from the disk next time */

/* graph.c */
enum shape { INDEPENDENT, DAG, CHAIN };
/* n operations of one server each (INDEPENDENT: one operation of n servers); DAG: up to three edges to
 * random earlier operations. The definition as JSON. */
void graph_definition(struct buf *b, enum shape shape, unsigned n);
void graph_request(struct buf *b, enum shape shape, unsigned n); /* the body that submits it */
void graph_ninja(struct buf *b, unsigned n); /* the DAG as phony targets of ninja */

/* site.c: an engine in this process, and its client */
struct bench {
        struct test_site site;
        struct context context;
        struct engine_process *process;
        struct engine_process_hooks hooks; /* on_answer is taken; the rest may be set before starting */
        pthread_t thread;
        pthread_mutex_t lock;
        pthread_cond_t answered;
        struct buf answer;
        int status;
        double answered_s; /* when it was answered last, by seconds() */
        char *store_folder;
};
/* A new site. `store`: "file" or "rkvs"; `provider`: "noop" or another of tests/plugins. */
void bench_open(struct bench *b, const char *store, const char *provider);
/* Why that store cannot be used here, or NULL. */
const char *bench_store_absent(const char *store);
void bench_start(struct bench *b); /* the engine; returns when it has taken up what there is */
void bench_stop(struct bench *b);
void bench_close(struct bench *b);
int bench_ask(struct bench *b, const char *method, const char *path, const struct buf *body);
double bench_number(struct bench *b, const char *name); /* of the last answer; name as `"x":` */
void bench_submit(struct bench *b, const struct buf *body);
void bench_wait_for_end(struct bench *b);

/* The figures */
void bench_independent(void); /* throughput.c */
void bench_dag(void);
void bench_chain(void);
double chain_rate(unsigned n);
void bench_inflight_64(void);
void bench_inflight_1024(void);
void bench_cost_ratio(void);
void bench_rkvs_chain(void);
void bench_rkvs_inflight_64(void);
void bench_rkvs_inflight_1024(void);
void bench_ack(void);      /* ack.c */
void bench_decision(void); /* decision.c */
/* A run with `n_finished` tasks that are done, one that is pending, and `n_open` that wait for it; its
 * engine is stopped. */
void bench_prepare(struct bench *b, unsigned n_finished, unsigned n_open); /* resume.c */
double bench_resume_in_child(const char *conf); /* ms, in a process whose memory was never touched */
void bench_history(void);  /* history.c */
void bench_ended_runs(void);
void bench_command(void);  /* commands.c */
void bench_command_during_snapshot(void);
void bench_restart(void);  /* resume.c */
void bench_resume_1m(void);
void bench_plugin_call(void); /* plugin.c */
void bench_plugin_isolated(void);
void bench_plugin_windowed(void);
void bench_plugin_start(void);
void bench_plugin_scan(void);
int resume_once(const char *conf);
int load_and_drain(const char *conf, const char *definition); /* decision.c */
void write_graph(const char *folder, unsigned n);
int spawn_bare(unsigned n, unsigned at_once); /* spawn.c */

#endif
