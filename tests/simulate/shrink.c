/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a history shorter: fewer tasks and runs, whole kinds of faults off, single faults left out; what
 * still fails in the same way is kept. Each try is a process, because it may end in an assertion.
 */
#include "simulate/shrink.h"

#include <signal.h>
#include <sys/wait.h>

#define TRY_SECONDS 20

static bool find_fault(const char *name, size_t n, enum fault *ret)
{
        for (unsigned i = 0; i < N_FAULTS; i++)
                if (strlen(fault_names[i]) == n && memcmp(fault_names[i], name, n) == 0) {
                        *ret = i;
                        return true;
                }
        return false;
}

bool options_off(struct options *o, const char *list)
{
        enum fault kind;

        for (const char *p = list; *p; p += *p == ',') {
                size_t n = strcspn(p, ",");

                if (!find_fault(p, n, &kind))
                        return false;
                o->off[kind] = true;
                p += n;
        }
        return true;
}

bool options_skip(struct options *o, const char *list)
{
        enum fault kind;

        for (const char *p = list; *p; p += *p == ',') {
                size_t n = strcspn(p, ":");
                char *end;

                if (!p[n] || !find_fault(p, n, &kind) || o->n_skips == SKIPS_MAX)
                        return false;
                o->skips[o->n_skips].fault = (uint8_t)kind;
                o->skips[o->n_skips++].instance = (uint32_t)strtoul(p + n + 1, &end, 10);
                p = end;
        }
        return true;
}

/* Runs the seed in a process of its own. False if it could not, or takes too long. */
static bool try(uint64_t seed, const struct options *o, struct result *ret)
{
        int fds[2], status;
        pid_t pid;
        bool told;

        if (pipe(fds) < 0)
                return false;
        fflush(stdout);
        pid = fork();
        if (pid == 0) {
                struct result r;

                close(fds[0]);
                alarm(TRY_SECONDS);
                if (!freopen("/dev/null", "w", stderr))
                        _exit(1);
                simulate(seed, o, &r);
                fflush(stdout);
                _exit(write(fds[1], &r, sizeof(r)) != sizeof(r));
        }
        close(fds[1]);
        told = read(fds[0], ret, sizeof(*ret)) == sizeof(*ret);
        close(fds[0]);
        waitpid(pid, &status, 0);
        if (told)
                return true;
        *ret = (struct result){0};
        snprintf(ret->failure, sizeof(ret->failure), "crash");
        return WIFSIGNALED(status) && WTERMSIG(status) != SIGALRM;
}

struct search {
        uint64_t seed;
        const char *failure;
        struct options best;
        struct result result; /* of the best */
        unsigned n_tries;
};

/* Takes the candidate if it fails in the same way. */
static bool consider(struct search *s, const struct options *candidate)
{
        struct result r;

        if (s->n_tries++ > 400 || !try(s->seed, candidate, &r) || !streq(r.failure, s->failure))
                return false;
        s->best = *candidate;
        s->result = r;
        return true;
}

static void fewer_tasks(struct search *s)
{
        for (uint32_t runs = 1; runs < 4; runs++) {
                struct options o = s->best;

                o.max_runs = runs;
                if (consider(s, &o))
                        break;
        }
        for (uint32_t tasks = 1; tasks < 2000 && tasks < s->best.max_tasks; tasks *= 2) {
                struct options o = s->best;

                o.max_tasks = tasks;
                if (consider(s, &o))
                        break;
        }
}

static void fewer_kinds(struct search *s)
{
        for (unsigned i = 0; i < N_FAULTS; i++) {
                struct options o = s->best;

                o.off[i] = true;
                if (!s->best.off[i])
                        consider(s, &o);
        }
}

static void skip(struct options *o, unsigned kind, uint32_t from, uint32_t to)
{
        for (uint32_t i = from; i < to && o->n_skips < SKIPS_MAX; i++) {
                o->skips[o->n_skips].fault = (uint8_t)kind;
                o->skips[o->n_skips++].instance = i;
        }
}

/* Single faults of a kind, in ever smaller pieces (Zeller's ddmin, without its second half). */
static void fewer_faults(struct search *s, unsigned kind)
{
        for (uint32_t size = s->result.n_faults[kind]; size >= 1; size /= 2)
                for (uint32_t at = 0; at < s->result.n_faults[kind]; at += size) {
                        struct options o = s->best;

                        skip(&o, kind, at, MIN(at + size, s->result.n_faults[kind]));
                        consider(s, &o);
                }
}

static bool skips(const struct options *o, unsigned kind, uint32_t instance)
{
        for (uint32_t i = 0; i < o->n_skips; i++)
                if (o->skips[i].fault == kind && o->skips[i].instance == instance)
                        return true;
        return false;
}

static void print_command(const struct search *s)
{
        const struct options *o = &s->best;
        const char *comma = " --off ";

        printf("repeat: scripts/simulate --seed %llu --history --tasks %u --runs %u",
               (unsigned long long)s->seed, o->max_tasks, o->max_runs);
        for (unsigned i = 0; i < N_FAULTS; i++)
                if (o->off[i]) {
                        printf("%s%s", comma, fault_names[i]);
                        comma = ",";
                }
        comma = " --skip ";
        for (unsigned i = 0; i < N_FAULTS; i++)
                for (uint32_t k = 0; !o->off[i] && k < s->result.n_faults[i]; k++)
                        if (skips(o, i, k)) {
                                printf("%s%s:%u", comma, fault_names[i], k);
                                comma = ",";
                        }
        printf("\n");
}

void shrink(uint64_t seed, const struct options *options, const char *failure)
{
        struct search s = {.seed = seed, .failure = failure, .best = *options};
        struct result r;

        if (!consider(&s, options)) {
                printf("it does not fail a second time\n");
                return;
        }
        fewer_tasks(&s);
        fewer_kinds(&s);
        for (unsigned i = 0; i < N_FAULTS; i++)
                if (!s.best.off[i] && s.result.n_faults[i])
                        fewer_faults(&s, i);
        fewer_tasks(&s);
        s.best.print = true;
        printf("-- the shortest history found, of %u tried\n", s.n_tries);
        try(seed, &s.best, &r);
        print_command(&s);
}
