/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Benchmarks of the engine. Prints one JSON object a line; durable figures also as a share of what this
 * disk can do in the same run.
 *
 *      bench-engine NAME...                    what has one of these in a name below
 *      bench-engine --write-graph FOLDER N     a graph for the two programs that peers.py compares
 *      bench-engine --load-and-drain CONF FILE
 *      bench-engine --chain N                  the same: tasks a second of a chain
 *      bench-engine --spawn N AT_ONCE          the same: runs /bin/true N times and nothing else
 *      bench-engine --resume CONF              (used by engine.resume_1m_tasks)
 */
#include "bench.h"

#include <stdarg.h>

void print(const char *name, double value, const char *unit)
{
        printf("{\"name\": \"%s\", \"value\": %.6g, \"unit\": \"%s\"}\n", name, value, unit);
        fflush(stdout);
}

void print_absent(const char *name, const char *reason)
{
        printf("{\"name\": \"%s\", \"value\": null, \"absent\": \"%s\"}\n", name, reason);
        fflush(stdout);
}

void bench_fail(const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        fprintf(stderr, "bench: ");
        vfprintf(stderr, format, ap);
        fprintf(stderr, "\n");
        va_end(ap);
        exit(1);
}

#define RATE(name) name ".tasks_per_s", name ".with_plan.tasks_per_s", name ".tasks_per_fdatasync"

/* What each prints. */
static const struct {
        void (*run)(void);
        const char *names[6];
} benches[] = {
        {bench_independent, {"engine.file.independent_100k.tasks_per_s"}},
        {bench_dag,
         {"engine.file.dag_100k.tasks_per_s", "engine.file.dag_100k.loop_cpu_us_per_task",
          "engine.bytes_per_task"}},
        {bench_chain,
         {"disk.fdatasyncs_per_s", "engine.file.chain.tasks_per_s",
          "engine.file.chain.ratio_to_fdatasync"}},
        {bench_inflight_64, {RATE("engine.file.inflight_64")}},
        {bench_inflight_1024, {RATE("engine.file.inflight_1024")}},
        {bench_ack,
         {"disk.fdatasync_p50_us", "engine.file.ack_p50_us",
          "engine.file.ack_p50_over_fdatasync_p50"}},
        {bench_rkvs_chain, {RATE("engine.rkvs.chain")}},
        {bench_rkvs_inflight_64, {RATE("engine.rkvs.inflight_64")}},
        {bench_rkvs_inflight_1024, {RATE("engine.rkvs.inflight_1024")}},
        {bench_decision,
         {"engine.bare_drain_ns_per_task", "engine.decision_ns_per_task",
          "engine.decision_over_bare_drain", "engine.whole_ns_per_task",
          "engine.whole_over_bare_drain"}},
        {bench_cost_ratio,
         {"engine.cost_us_per_task_1k", "engine.cost_us_per_task_1m",
          "engine.cost_ratio_1m_over_1k"}},
        {bench_command, {"engine.command_ms"}},
        {bench_command_during_snapshot, {"engine.command_p99_ms_during_snapshot"}},
        {bench_history, {"engine.resume_snapshot_10x_ratio"}},
        {bench_ended_runs, {"engine.resume_10k_ended_runs.ms"}},
        {bench_plugin_call, {"plugin.bare_vtable_ns", "plugin.call_ns", "plugin.call_over_bare_vtable"}},
        {bench_plugin_isolated,
         {"plugin.bare_socketpair_us", "plugin.isolated_call_us", "plugin.isolated_over_bare_socketpair"}},
        {bench_plugin_windowed, {"plugin.isolated_windowed.us"}},
        {bench_plugin_start, {"plugin.isolated_start.ms"}},
        {bench_plugin_scan, {"plugin.scan_200_notes.ms"}},
        {bench_restart, {"engine.restart_100k.ms"}},
        {bench_resume_1m, {"engine.resume_1m_tasks.ms", "engine.resume_1m_tasks_snapshot.ms"}},
};

static bool wanted(const char *const *names, char **words, int n_words)
{
        for (; *names; names++)
                for (int i = 0; i < n_words; i++)
                        if (strstr(*names, words[i]))
                                return true;
        return n_words == 0;
}

int main(int argc, char **argv)
{
        if (argc == 3 && streq(argv[1], "--resume"))
                return resume_once(argv[2]);
        if (argc == 4 && streq(argv[1], "--load-and-drain"))
                return load_and_drain(argv[2], argv[3]);
        if (argc == 3 && streq(argv[1], "--chain")) {
                printf("%.1f\n", chain_rate((unsigned)strtoul(argv[2], NULL, 10)));
                return 0;
        }
        if (argc == 4 && streq(argv[1], "--spawn"))
                return spawn_bare((unsigned)strtoul(argv[2], NULL, 10),
                                  (unsigned)strtoul(argv[3], NULL, 10));
        if (argc == 4 && streq(argv[1], "--write-graph")) {
                write_graph(argv[2], (unsigned)strtoul(argv[3], NULL, 10));
                return 0;
        }
        for (unsigned i = 0; i < N_ELEMENTS(benches); i++)
                if (wanted(benches[i].names, argv + 1, argc - 1))
                        benches[i].run();
        return 0;
}
