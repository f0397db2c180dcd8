/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seeds over the processors: each worker is a process of its own, so that an assertion which fails ends
 * one seed and not the whole.
 *
 *      simulate [--first-seed S] [--seeds N] [--minutes M] [--jobs J] [--no-shrink]
 *      simulate --seed S [--history] [--tasks N] [--runs N] [--off KIND,...] [--skip KIND:N,...]
 */
#include "run/process.h"
#include "simulate/shrink.h"

#include <getopt.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define MAX_JOBS 64
#define SEED_SECONDS 30 /* real ones, after which a seed counts as one that hangs */

struct total {
        uint64_t seeds, steps, tasks, runs, engines, faults[N_FAULTS], digest;
        double cpu_s;
        uint32_t n_failed;
};

struct arguments {
        uint64_t first, n_seeds;
        double minutes;
        unsigned jobs;
        bool shrink, one;
        uint32_t stop_at; /* so many failures */
        struct options options;
};

/* What a worker tells after each seed. */
struct message {
        uint64_t seed;
        bool began; /* else it is over */
        struct result result;
};

struct worker {
        pid_t pid;
        int fd;
        uint64_t seed; /* that it is at */
        bool busy;
};

static double cpu_seconds(int who)
{
        struct rusage u;

        getrusage(who, &u);
        return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
               (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static bool write_all(int fd, const void *data, size_t n)
{
        return write(fd, data, n) == (ssize_t)n;
}

/* Seeds first, first + step, ...: until the end or until the pipe is closed. */
static void work(const struct arguments *a, uint64_t first, uint64_t step, int fd)
{
        for (uint64_t seed = first; a->n_seeds == 0 || seed < a->first + a->n_seeds; seed += step) {
                struct message m = {.seed = seed, .began = true};

                if (!write_all(fd, &m, sizeof(m)))
                        break;
                m.began = false;
                alarm(SEED_SECONDS);
                simulate(seed, &a->options, &m.result);
                if (!write_all(fd, &m, sizeof(m)))
                        break;
        }
        close(fd);
}

static void start_worker(const struct arguments *a, struct worker *w, uint64_t first)
{
        int fds[2];

        if (pipe(fds) < 0)
                abort();
        fflush(stdout);
        w->pid = fork();
        if (w->pid == 0) {
                close(fds[0]);
                signal(SIGPIPE, SIG_IGN);
                work(a, first, a->jobs, fds[1]);
                _exit(0);
        }
        close(fds[1]);
        w->fd = fds[0];
        w->seed = first;
        w->busy = false;
}

static void count(struct total *t, const struct result *r)
{
        t->seeds++;
        t->steps += r->steps;
        t->tasks += r->n_tasks;
        t->runs += r->n_runs;
        t->engines += r->n_engines;
        t->digest += r->digest; /* in whatever order the workers finish */
        for (unsigned i = 0; i < N_FAULTS; i++)
                t->faults[i] += r->n_faults[i];
}

static void report(const struct arguments *a, uint64_t seed, const char *name, const char *why)
{
        printf("seed %llu: %s: %s\n", (unsigned long long)seed, name, why);
        fflush(stdout);
        if (a->shrink)
                shrink(seed, &a->options, name);
        else
                printf("repeat: scripts/simulate --seed %llu --history\n", (unsigned long long)seed);
        fflush(stdout);
}

/* One message, or the end of the worker. */
static bool listen_to(const struct arguments *a, struct worker *w, struct total *t)
{
        struct message m;
        ssize_t n = read(w->fd, &m, sizeof(m));
        int status;

        if (n == (ssize_t)sizeof(m)) {
                w->seed = m.seed;
                w->busy = m.began;
                if (m.began)
                        return true;
                count(t, &m.result);
                if (*m.result.failure) {
                        t->n_failed++;
                        report(a, m.seed, m.result.failure, m.result.why);
                }
                return true;
        }
        close(w->fd);
        waitpid(w->pid, &status, 0);
        w->fd = -1;
        if (!w->busy)
                return false;
        t->n_failed++;
        t->seeds++;
        report(a, w->seed, "crash", WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "it ended");
        if (t->n_failed < a->stop_at)
                start_worker(a, w, w->seed + a->jobs);
        return t->n_failed < a->stop_at;
}

static double now_s(void)
{
        struct timespec ts;

        timespec_get(&ts, TIME_UTC);
        return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void run_all(const struct arguments *a, struct total *t)
{
        struct worker workers[MAX_JOBS];
        double end = now_s() + a->minutes * 60;
        bool any = true;

        for (unsigned i = 0; i < a->jobs; i++)
                start_worker(a, &workers[i], a->first + i);
        while (any) {
                bool stop = t->n_failed >= a->stop_at || (a->minutes > 0 && now_s() > end);

                any = false;
                for (unsigned i = 0; i < a->jobs; i++) {
                        if (workers[i].fd < 0)
                                continue;
                        if (stop) {
                                close(workers[i].fd);
                                kill(workers[i].pid, SIGKILL);
                                waitpid(workers[i].pid, NULL, 0);
                                workers[i].fd = -1;
                                continue;
                        }
                        any |= listen_to(a, &workers[i], t);
                }
        }
        t->cpu_s = cpu_seconds(RUSAGE_CHILDREN) + cpu_seconds(RUSAGE_SELF);
}

static int run_one(const struct arguments *a)
{
        struct result r;

        simulate(a->first, &a->options, &r);
        printf("seed %llu: %u runs, %u tasks, %u engines, %llu steps, history %016llx\n",
               (unsigned long long)a->first, r.n_runs, r.n_tasks, r.n_engines,
               (unsigned long long)r.steps, (unsigned long long)r.digest);
        if (*r.failure)
                printf("%s: %s\n", r.failure, r.why);
        return *r.failure != 0;
}

static int usage(void)
{
        fprintf(stderr, "simulate [--first-seed S] [--seeds N] [--minutes M] [--jobs J] [--no-shrink]\n"
                        "simulate --seed S [--history] [--tasks N] [--runs N] [--off KIND,...] "
                        "[--skip KIND:N,...]\n");
        return 2;
}

static bool parse(int argc, char **argv, struct arguments *a)
{
        static const struct option options[] = {
                {"first-seed", required_argument, NULL, 'f'}, {"seeds", required_argument, NULL, 'n'},
                {"minutes", required_argument, NULL, 'm'},    {"jobs", required_argument, NULL, 'j'},
                {"stop-at", required_argument, NULL, 'S'},
                {"no-shrink", no_argument, NULL, 'N'},        {"seed", required_argument, NULL, 's'},
                {"history", no_argument, NULL, 'h'},          {"tasks", required_argument, NULL, 't'},
                {"runs", required_argument, NULL, 'r'},       {"off", required_argument, NULL, 'o'},
                {"skip", required_argument, NULL, 'k'},       {0},
        };
        int c;

        while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
                switch (c) {
                case 's':
                        a->one = true;
                        __attribute__((fallthrough));
                case 'f':
                        a->first = strtoull(optarg, NULL, 10);
                        break;
                case 'n':
                        a->n_seeds = strtoull(optarg, NULL, 10);
                        break;
                case 'm':
                        a->minutes = strtod(optarg, NULL);
                        break;
                case 'j':
                        a->jobs = (unsigned)strtoul(optarg, NULL, 10);
                        break;
                case 'S':
                        a->stop_at = (uint32_t)strtoul(optarg, NULL, 10);
                        break;
                case 'N':
                        a->shrink = false;
                        break;
                case 'h':
                        a->options.print = true;
                        break;
                case 't':
                        a->options.max_tasks = (uint32_t)strtoul(optarg, NULL, 10);
                        break;
                case 'r':
                        a->options.max_runs = (uint32_t)strtoul(optarg, NULL, 10);
                        break;
                case 'o':
                        if (!options_off(&a->options, optarg))
                                return false;
                        break;
                case 'k':
                        if (!options_skip(&a->options, optarg))
                                return false;
                        break;
                default:
                        return false;
                }
        }
        return optind == argc && a->jobs > 0 && a->jobs <= MAX_JOBS && a->options.max_tasks > 0 &&
               a->options.max_runs > 0;
}

int main(int argc, char **argv)
{
        struct arguments a = {.first = 1, .jobs = (unsigned)sysconf(_SC_NPROCESSORS_ONLN),
                              .shrink = true, .stop_at = 5,
                              .options = {.max_tasks = 2000, .max_runs = 16}};
        struct strmap any = STRMAP_NULL;
        struct total t = {0};

        strmap_add(&any, "", 0); /* draws the start of its hash now, the same for every seed */
        strmap_deinit(&any);
        snapshot_tuning.worth = 1024; /* histories here are short */
        snapshot_tuning.step = 5;
        snapshot_tuning.part = 700;
        if (!parse(argc, argv, &a))
                return usage();
        if (a.one)
                return run_one(&a);
        if (!a.n_seeds && a.minutes <= 0)
                a.n_seeds = 100;
        run_all(&a, &t);
        printf("faults:");
        for (unsigned i = 0; i < N_FAULTS; i++)
                printf(" %s %llu", fault_names[i], (unsigned long long)t.faults[i]);
        printf("\n%llu runs, %llu tasks, %llu engines, %llu steps, history %016llx\n",
               (unsigned long long)t.runs, (unsigned long long)t.tasks, (unsigned long long)t.engines,
               (unsigned long long)t.steps, (unsigned long long)t.digest);
        printf("sim.steps_per_s %.0f\n", t.cpu_s > 0 ? (double)t.steps / t.cpu_s : 0);
        printf("%llu seeds, %u failed\n", (unsigned long long)t.seeds, t.n_failed);
        return t.n_failed > 0;
}
