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
static void definition(struct buf *b, enum shape shape, unsigned n, unsigned repeat)
{
        unsigned seed = 12345;

        BUF_LIT(b, "{\"id\":null,\"definition\":{\"name\":\"bench\",\"type\":\"parallel\","
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

static double wait_for_end(struct bench *b)
{
        double duration = 0;
        const char *p;

        for (;;) {
                struct timespec pause = {.tv_nsec = 2000000};

                if (ask(b, "GET", "/workflows", NULL) != 200)
                        exit(1);
                if (strstr(buf_str(&b->answer), "\"exit_code\":0"))
                        break;
                if (!strstr(buf_str(&b->answer), "\"exit_code\":null")) {
                        fprintf(stderr, "bench: the run failed\n");
                        exit(1);
                }
                nanosleep(&pause, NULL);
        }
        p = strstr(buf_str(&b->answer), "\"duration_ms\":");
        if (p)
                duration = strtod(p + strlen("\"duration_ms\":"), NULL);
        return duration;
}

/* Seconds that a run took from its complete plan to its end, as its records say. */
static double run_once(enum shape shape, unsigned n, double *ret_bytes)
{
        struct buf body = BUF_NULL;
        struct bench b;
        size_t before, after;
        double s;

        open_bench(&b);
        start_engine(&b);
        definition(&body, shape, n, 0);
        malloc_trim(0);
        before = mallinfo2().uordblks + mallinfo2().hblkhd;
        if (ask(&b, "POST", "/workflows/batch", &body) != 202) {
                fprintf(stderr, "bench: %s\n", buf_str(&b.answer));
                exit(1);
        }
        after = mallinfo2().uordblks + mallinfo2().hblkhd;
        if (ret_bytes)
                *ret_bytes = ((double)after - (double)before) / n;
        wait_for_end(&b);
        s = 0;
        {
                const char *from, *to;
                struct tm tm = {0};
                double t[2] = {0};

                if (ask(&b, "GET", "/workflows/bench/status", NULL) != 200)
                        exit(1);
                from = strstr(buf_str(&b.answer), "\"duration_ms\":");
                s = strtod(from + strlen("\"duration_ms\":"), NULL) / 1e3;
                (void)to;
                (void)tm;
                (void)t;
        }
        stop_engine(&b);
        close_bench(&b);
        buf_deinit(&body);
        return s;
}

int main(int argc, char **argv)
{
        double syncs = disk_syncs_per_s("/tmp", 4000), bytes;

        print("disk.fdatasyncs_per_s", syncs, "1/s");
        print("engine.file.independent_100k.tasks_per_s", 1e5 / run_once(INDEPENDENT, 100000, NULL), "1/s");
        print("engine.file.dag_100k.tasks_per_s", 1e5 / run_once(DAG, 100000, &bytes), "1/s");
        print("engine.bytes_per_task", bytes, "B");
        print("engine.file.chain.ratio_to_fdatasync", 5000 / run_once(CHAIN, 5000, NULL) / syncs, "1");
        return 0;
}
