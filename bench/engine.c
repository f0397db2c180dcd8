/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Benchmarks of the engine: the real loop, journal, store `file`, border and workers, with the in-tree
 * provider `noop`. One JSON object a line; durable figures also as a share of what this disk can do in
 * the same run.
 *
 *      bench-engine NAME...      names as in main()
 */
#include "base/clock.h"
#include "run/engine-process.h"
#include "support/site.h"

#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <time.h>

static double seconds(void)
{
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void print(const char *name, double value, const char *unit)
{
        printf("{\"name\": \"%s\", \"value\": %.6g, \"unit\": \"%s\"}\n", name, value, unit);
        fflush(stdout);
}

/* What this disk can do: 4 KiB appends with fdatasync to a zero-filled file, a second. */
static double disk_syncs_per_s(const char *folder, unsigned n)
{
        char path[512], block[4096] = {1};
        double start;
        int fd;

        snprintf(path, sizeof(path), "%s/sync", folder);
        fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        memset(block, 0, sizeof(block));
        for (unsigned i = 0; i < n; i++)
                if (write(fd, block, sizeof(block)) < 0)
                        abort();
        fsync(fd);
        memset(block, 'x', sizeof(block));
        start = seconds();
        for (unsigned i = 0; i < n; i++)
                if (pwrite(fd, block, sizeof(block), (off_t)i * 4096) < 0 || fdatasync(fd) < 0)
                        abort();
        start = seconds() - start;
        close(fd);
        unlink(path);
        return n / start;
}

/* Definitions */

enum shape { INDEPENDENT, DAG, CHAIN };

/* n operations of one server each; DAG: three edges to random earlier operations. */
static void definition(struct buf *b, enum shape shape, unsigned n)
{
        unsigned seed = 12345;

        BUF_LIT(b, "{\"definition\":{\"name\":\"bench\",\"type\":\"parallel\","
                   "\"operations\":[");
        if (shape == INDEPENDENT) {
                BUF_LIT(b, "{\"id\":\"all\",\"type\":\"create\",\"target\":\"server\",\"items\":[");
                for (unsigned i = 0; i < n; i++)
                        buf_printf(b, "%s\"s%u\"", i ? "," : "", i);
                BUF_LIT(b, "]}");
        }
        for (unsigned i = 0; i < n && shape != INDEPENDENT; i++) {
                buf_printf(b, "%s{\"id\":\"o%u\",\"type\":\"create\",\"target\":\"server\",\"items\":"
                              "[\"s%u\"],\"depends_on\":[",
                           i ? "," : "", i, i);
                if (shape == CHAIN && i)
                        buf_printf(b, "\"o%u\"", i - 1);
                for (unsigned k = 0, last[3]; shape == DAG && k < 3 && k < i; k++) {
                        bool again = false;

                        last[k] = (unsigned)(rand_r(&seed) % (int)i);
                        for (unsigned j = 0; j < k; j++)
                                again |= last[j] == last[k];
                        if (!again)
                                buf_printf(b, "%s\"o%u\"", k ? "," : "", last[k]);
                }
                BUF_LIT(b, "]}");
        }
        BUF_LIT(b, "]}}");
}

/* Engines */

struct bench {
        struct test_site site;
        struct context context;
        struct engine_process *process;
        pthread_t thread;
        pthread_mutex_t lock;
        pthread_cond_t answered;
        struct buf answer;
        int status;
};

static void on_answer(void *userdata, void *request, int status, const char *body, size_t n_body)
{
        struct bench *b = userdata;

        pthread_mutex_lock(&b->lock);
        buf_clear(&b->answer);
        buf_append(&b->answer, body, n_body);
        b->status = status;
        pthread_cond_signal(&b->answered);
        pthread_mutex_unlock(&b->lock);
}

static int ask(struct bench *b, const char *method, const char *path, const struct buf *body)
{
        int status;

        pthread_mutex_lock(&b->lock);
        b->status = 0;
        engine_process_post(b->process, NULL, method, path, body ? body->data : "",
                            body ? body->n : 0);
        while (!b->status)
                pthread_cond_wait(&b->answered, &b->lock);
        status = b->status;
        pthread_mutex_unlock(&b->lock);
        return status;
}

static void *loop(void *argument)
{
        struct bench *b = argument;
        char *message = NULL;

        pthread_setname_np(pthread_self(), "loop");
        if (engine_process_run(b->process, 0, &message))
                fprintf(stderr, "bench: the engine stopped: %s\n", message);
        return NULL;
}

static void start_engine(struct bench *b)
{
        struct engine_process_hooks hooks = {.on_answer = on_answer, .userdata = b};
        char *message = NULL;

        if (engine_process_new(&b->context, &hooks, &b->process, &message)) {
                fprintf(stderr, "bench: %s\n", message);
                exit(1);
        }
        pthread_create(&b->thread, NULL, loop, b);
}

static void stop_engine(struct bench *b)
{
        engine_process_stop(b->process);
        pthread_join(b->thread, NULL);
        b->process = engine_process_free(b->process);
}

static void open_bench(struct bench *b)
{
        static const char more[] = "provider = \"noop\";";
        const struct test_plugin plugins[] = {
                {.name = "noop"},
                {.name = "testcloud"},
                {.name = "file", .file = getenv("PRVNG_TEST_STORE")},
                {.name = "json", .file = getenv("PRVNG_TEST_JSON")},
        };

        *b = (struct bench){.lock = PTHREAD_MUTEX_INITIALIZER,
                            .answered = PTHREAD_COND_INITIALIZER};
        test_site_new(&b->site, plugins, N_ELEMENTS(plugins), more);
        if (context_open(b->site.conf, NULL, &b->context))
                exit(1);
}

static void close_bench(struct bench *b)
{
        context_close(&b->context);
        buf_deinit(&b->answer);
        test_site_remove(&b->site);
}

/* A member of the last answer that is a number. */
static double number(struct bench *b, const char *name)
{
        const char *p = strstr(buf_str(&b->answer), name);

        if (!p) {
                fprintf(stderr, "bench: no %s in: %.200s\n", name, buf_str(&b->answer));
                exit(1);
        }
        return strtod(p + strlen(name), NULL);
}

static void submit(struct bench *b, const struct buf *body)
{
        if (ask(b, "POST", "/workflows/batch", body) == 202)
                return;
        fprintf(stderr, "bench: %.2000s\n", buf_str(&b->answer));
        exit(1);
}

static void wait_for_end(struct bench *b)
{
        struct timespec pause = {.tv_nsec = 2000000};

        for (;; nanosleep(&pause, NULL)) {
                ask(b, "GET", "/workflows", NULL);
                if (strstr(buf_str(&b->answer), "\"exit_code\":0"))
                        return;
                if (!strstr(buf_str(&b->answer), "\"exit_code\":null")) {
                        fprintf(stderr, "bench: the run failed: %s\n", buf_str(&b->answer));
                        exit(1);
                }
        }
}

static double heap(void)
{
        struct mallinfo2 m = mallinfo2();

        return (double)m.uordblks + (double)m.hblkhd;
}

struct result {
        double seconds;        /* from the complete plan to the end, as the records say */
        double loop_cpu_seconds; /* of the loop's thread in that time, waiting by spinning included */
        double bytes_per_task; /* of the heap, when the run is planned and runs */
};

static struct result run_once(enum shape shape, unsigned n)
{
        struct buf body = BUF_NULL;
        struct timespec from, to;
        struct result result;
        struct bench b;
        double before;
        clockid_t clock;

        open_bench(&b);
        start_engine(&b);
        before = heap();
        definition(&body, shape, n);
        submit(&b, &body);
        buf_deinit(&body);
        ask(&b, "GET", "/healthz", NULL); /* the request is forgotten by then */
        result.bytes_per_task = (heap() - before) / n;
        pthread_getcpuclockid(b.thread, &clock);
        clock_gettime(clock, &from);
        wait_for_end(&b);
        clock_gettime(clock, &to);
        result.loop_cpu_seconds = (double)(to.tv_sec - from.tv_sec) +
                                  (double)(to.tv_nsec - from.tv_nsec) / 1e9;
        ask(&b, "GET", "/workflows/bench/status", NULL);
        result.seconds = number(&b, "\"duration_ms\":") / 1e3;
        stop_engine(&b);
        close_bench(&b);
        return result;
}

/* The figures */

static void bench_independent(void)
{
        print("engine.file.independent_100k.tasks_per_s", 1e5 / run_once(INDEPENDENT, 100000).seconds,
              "1/s");
}

static void bench_dag(void)
{
        struct result r = run_once(DAG, 100000);

        print("engine.file.dag_100k.tasks_per_s", 1e5 / r.seconds, "1/s");
        print("engine.file.dag_100k.loop_cpu_us_per_task", r.loop_cpu_seconds * 10, "us");
        print("engine.bytes_per_task", r.bytes_per_task, "B");
}

static void bench_chain(void)
{
        double before = disk_syncs_per_s("/tmp", 4000), rate = 5000 / run_once(CHAIN, 5000).seconds;
        double syncs = (before + disk_syncs_per_s("/tmp", 4000)) / 2;

        print("disk.fdatasyncs_per_s", syncs, "1/s");
        print("engine.file.chain.tasks_per_s", rate, "1/s");
        print("engine.file.chain.ratio_to_fdatasync", rate / syncs, "1");
}

static void bench_cost_ratio(void)
{
        double small = 0, large;

        for (unsigned i = 0; i < 5; i++)
                small += run_once(DAG, 1000).seconds / 5 / 1e3;
        large = run_once(DAG, 1000000).seconds / 1e6;
        print("engine.cost_us_per_task_1k", small * 1e6, "us");
        print("engine.cost_us_per_task_1m", large * 1e6, "us");
        print("engine.cost_ratio_1m_over_1k", large / small, "1");
}

/* 100,000 finished tasks and 10,000 that wait for one that is pending when the engine ends. */
static void restart_definition(struct buf *b)
{
        BUF_LIT(b, "{\"definition\":{\"name\":\"bench\",\"type\":\"parallel\",\"servers\":[{\"name\":"
                   "\"hold\",\"provider\":\"testcloud\",\"testcloud\":{\"pending_ms\":3600000}}],"
                   "\"operations\":[");
        for (unsigned i = 0; i < 2; i++) {
                buf_printf(b, "{\"id\":\"%s\",\"type\":\"create\",\"target\":\"server\",%s\"items\":[",
                           i ? "open" : "finished", i ? "\"depends_on\":[\"hold\"]," : "");
                for (unsigned k = 0; k < (i ? 10000u : 100000u); k++)
                        buf_printf(b, "%s\"%c%u\"", k ? "," : "", i ? 'o' : 'f', k);
                BUF_LIT(b, "]},");
        }
        BUF_LIT(b, "{\"id\":\"hold\",\"type\":\"create\",\"target\":\"server\",\"timeout\":7200,"
                   "\"items\":[\"hold\"]}]}}");
}

static void bench_restart(void)
{
        struct timespec pause = {.tv_nsec = 20000000};
        struct buf body = BUF_NULL;
        struct bench b;
        double start;

        open_bench(&b);
        start_engine(&b);
        restart_definition(&body);
        submit(&b, &body);
        do {
                nanosleep(&pause, NULL);
                ask(&b, "GET", "/workflows/bench/status", NULL);
        } while (number(&b, "\"succeeded\":") < 100000);
        stop_engine(&b);
        start = seconds();
        start_engine(&b);
        ask(&b, "GET", "/healthz", NULL); /* answered when the first calls have left */
        print("engine.restart_100k.ms", (seconds() - start) * 1e3, "ms");
        stop_engine(&b);
        close_bench(&b);
        buf_deinit(&body);
}

static const struct {
        const char *name;
        void (*run)(void);
} benches[] = {
        {"engine.file.independent_100k", bench_independent},
        {"engine.file.dag_100k engine.bytes_per_task", bench_dag},
        {"engine.file.chain disk", bench_chain},
        {"engine.cost", bench_cost_ratio},
        {"engine.restart_100k", bench_restart},
};

int main(int argc, char **argv)
{
        for (unsigned i = 0; i < N_ELEMENTS(benches); i++) {
                bool wanted = argc == 1;

                for (int k = 1; k < argc; k++)
                        wanted |= strstr(benches[i].name, argv[k]) != NULL ||
                                  startswith(argv[k], benches[i].name) != NULL;
                if (wanted)
                        benches[i].run();
        }
        return 0;
}
