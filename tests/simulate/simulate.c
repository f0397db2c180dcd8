/* SPDX-License-Identifier: Apache-2.0 */
/* One seed: its world, the lives of its engines, its end. */
#include "simulate/calls.h"
#include "simulate/cloud.h"
#include "simulate/plugins.h"
#include "simulate/witness.h"

#define END_MS (INT64_C(20) * 86400 * 1000) /* every run must have ended by then after the faults */

struct sim *sim;

const char *const fault_names[N_FAULTS] = {
#define X(name, text) [FAULT_##name] = text,
        FAULTS(X)
#undef X
};

/* The history */

void history(const char *tag, uint64_t a, uint64_t b)
{
        sim->digest = digest_add(digest_add(digest_add(sim->digest, (uint64_t)sim->now), a), b);
        sim->digest = digest_add(sim->digest, (uint64_t)tag[0] << 8 | (uint64_t)tag[1]);
}

void history_print(const char *tag, const char *format, ...)
{
        va_list ap;

        printf("%10lld.%03lld %-10s ", (long long)(sim->now / 1000), (long long)(sim->now % 1000), tag);
        va_start(ap, format);
        vprintf(format, ap);
        va_end(ap);
        putchar('\n');
}

void violated(const char *name, const char *format, ...)
{
        char why[1000];
        va_list ap;

        if (*sim->failure)
                return;
        snprintf(sim->failure, sizeof(sim->failure), "%s", name);
        va_start(ap, format);
        vsnprintf(why, sizeof(why), format, ap);
        va_end(ap);
        buf_puts(&sim->why, why);
        HISTORY("VIOLATED", 0, 0, "%s: %s", name, why);
        engine_kill("an invariant does not hold");
}

/* Faults */

static bool skipped(enum fault kind, uint32_t instance)
{
        const struct options *o = sim->options;

        for (uint32_t i = 0; i < o->n_skips; i++)
                if (o->skips[i].fault == kind && o->skips[i].instance == instance)
                        return true;
        return false;
}

bool fault(enum fault kind)
{
        uint64_t draw = random_below(&sim->fault_random[kind], 1000000);
        uint32_t instance;

        if (sim->quiet || sim->looking || draw >= sim->fault_rate[kind])
                return false;
        instance = sim->n_faults[kind]++;
        if (sim->options->off[kind] || skipped(kind, instance))
                return false;
        HISTORY("fault", kind, instance, "%s:%u", fault_names[kind], instance);
        return true;
}

/* Each seed has its own mixture: many faults are off, some are frequent. */
static void draw_rates(void)
{
        static const uint32_t usual[N_FAULTS] = {
                [FAULT_CRASH] = 5000,     [FAULT_STOP] = 300000,     [FAULT_POWER] = 500000,
                [FAULT_TEAR] = 700000,    [FAULT_SYNC] = 2000,       [FAULT_FULL] = 500,
                [FAULT_STORE] = 20000,    [FAULT_DISK] = 20000,      [FAULT_WALL] = 500000,
                [FAULT_ERROR] = 50000,    [FAULT_UNKNOWN] = 50000,   [FAULT_PARTIAL] = 30000,
                [FAULT_COMPLETE] = 20000, [FAULT_LOST] = 50000,      [FAULT_LATE] = 500000,
                [FAULT_DUPLICATE] = 50000, [FAULT_SLOW] = 30000,     [FAULT_HANG] = 10000,
                [FAULT_DEAF] = 300000,    [FAULT_NONSENSE] = 10000,  [FAULT_FAILS] = 100000,
                [FAULT_TOKEN] = 30000,    [FAULT_POLL] = 50000,      [FAULT_OBSERVE] = 100000,
                [FAULT_UNCERTAIN] = 100000, [FAULT_READ] = 50000,    [FAULT_CANCEL] = 150000,
                [FAULT_CONDITION] = 400000, [FAULT_PAUSE] = 200000,  [FAULT_ROLLBACK] = 300000,
                [FAULT_RETRY] = 400000,   [FAULT_REPLAN] = 250000,
                [FAULT_COMPACT] = 400000, [FAULT_ROT] = 200000,      [FAULT_KEY] = 30000,
                [FAULT_ORPHAN] = 500000,  [FAULT_SWEEP] = 400000,    [FAULT_ADOPT] = 300000,
        };

        for (unsigned i = 0; i < N_FAULTS; i++) {
                uint64_t way = random_below(&sim->random, 100);

                sim->fault_rate[i] = way < 40 ? 0 : way < 85 ? usual[i] : MIN(usual[i] * 5, 900000u);
        }
}

/* Events: a binary heap */

static bool before(const struct event *a, const struct event *b)
{
        return a->at < b->at || (a->at == b->at && a->number < b->number);
}

void event_add(int64_t after_ms, enum event_kind kind, uint64_t what)
{
        struct event e = {.at = sim->now + after_ms, .number = sim->next_event++, .kind = kind,
                          .what = what};
        uint32_t i;

        if (sim->n_events == sim->cap_events) {
                sim->cap_events = sim->cap_events ? sim->cap_events * 2 : 256;
                sim->events = realloc(sim->events, sim->cap_events * sizeof(e));
        }
        for (i = sim->n_events++; i > 0 && before(&e, &sim->events[(i - 1) / 2]); i = (i - 1) / 2)
                sim->events[i] = sim->events[(i - 1) / 2];
        sim->events[i] = e;
}

static struct event event_take(void)
{
        struct event first = sim->events[0], last = sim->events[--sim->n_events];
        uint32_t i = 0, child;

        while ((child = 2 * i + 1) < sim->n_events) {
                if (child + 1 < sim->n_events && before(&sim->events[child + 1], &sim->events[child]))
                        child++;
                if (!before(&sim->events[child], &last))
                        break;
                sim->events[i] = sim->events[child];
                i = child;
        }
        if (sim->n_events)
                sim->events[i] = last;
        return first;
}

/* The world */

void engine_kill(const char *where)
{
        if (sim->dead)
                return;
        sim->dead = true;
        HISTORY("killed", 0, 0, "%s", where);
        if (sim->process)
                engine_process_stop(sim->process);
}

static void wall_jumps(void)
{
        static const int64_t far[] = {2000, 3600000, INT64_C(400) * 86400000};
        int64_t by = far[random_below(&sim->random, N_ELEMENTS(far))];

        if (fault(FAULT_WALL)) {
                sim->wall_ahead += random_between(&sim->random, -by, by);
                sim->wall_ahead = MAX(sim->wall_ahead, INT64_C(86400000) * 3650);
                witness_forget_pace();
                HISTORY("wall clock", sim->wall_ahead, 0, "%lld ms ahead", (long long)sim->wall_ahead);
        }
        if (!sim->quiet)
                event_add(random_between(&sim->random, 1, 200000), EVENT_WALL, 0);
}

/* Things that may happen to an engine that has nothing to do. */
static void strikes(void)
{
        if (sim->quiet || !sim->process)
                return;
        if (fault(FAULT_STOP)) {
                if (sim->process && !sim->dead) {
                        fold_compare("at a stop");
                        fold_audit("at a stop");
                }
                HISTORY("stop", 0, 0, "the engine is asked to end");
                engine_process_stop(sim->process);
        }
        event_add(random_between(&sim->random, 1, 100000), EVENT_KILL, 0);
}

static bool all_done(void)
{
        return clients_done() && witness_all_ended();
}

static void happen(const struct event *e)
{
        switch (e->kind) {
        case EVENT_ARRIVE:
                calls_arrive(e->what);
                break;
        case EVENT_RETURN:
                calls_returned(e->what);
                break;
        case EVENT_SUBMIT:
                clients_submit((uint32_t)e->what);
                break;
        case EVENT_COMMAND:
                clients_command((uint32_t)e->what);
                break;
        case EVENT_OPERATOR:
                clients_operator();
                break;
        case EVENT_KILL:
                strikes();
                break;
        case EVENT_APPEAR:
                cloud_appears();
                break;
        case EVENT_WALL:
                wall_jumps();
                break;
        case EVENT_COMPARE:
                if (sim->process && !sim->dead)
                        fold_compare("while it runs");
                break;
        }
}

/* A call that will never come back keeps its task until the engine is started anew; the operator does
 * that once nothing else is left. */
static void look_for_the_end(void)
{
        if (!sim->process || sim->dead)
                return;
        if (all_done()) {
                fold_compare("at the end");
                fold_audit("at the end");
                engine_process_stop(sim->process);
        } else if (sim->quiet && calls_hanging() && sim->now > sim->quiet_at + 600000) {
                HISTORY("stop", 1, 0, "the operator restarts the engine: a call hangs");
                engine_process_stop(sim->process);
        } else if (sim->now > sim->end_at) {
                witness_check();
                violated("every-run-ends", "a submission was never answered");
        }
}

void world_step(int64_t until)
{
        struct event e;

        if (!sim->n_events || sim->events[0].at > until) {
                sim->now = until;
        } else {
                e = event_take();
                sim->now = MAX(sim->now, e.at);
                happen(&e);
        }
        if (!sim->quiet && sim->now >= sim->quiet_at) {
                sim->quiet = true;
                HISTORY("quiet", 0, 0, "no more faults");
        }
        if (sim->quiet)
                look_for_the_end();
}

void world_goes_on(int64_t ms)
{
        int64_t end = sim->now + ms;

        while (sim->n_events && sim->events[0].at <= end) {
                struct event e = event_take();

                sim->now = MAX(sim->now, e.at);
                if (e.kind == EVENT_ARRIVE || e.kind == EVENT_RETURN)
                        happen(&e);
                else /* what looks at the engine has to wait */
                        event_add(end + 1 - sim->now, e.kind, e.what);
        }
        sim->now = MAX(sim->now, end);
}

/* The lives of the engines */

static void engine_gone(void)
{
        bool power = fault(FAULT_POWER);
        int64_t down = random_between(&sim->random, 1, 60000), end = sim->now + down;

        HISTORY("gone", power, down, "%s, for %lld ms", power ? "with the machine" : "the engine only",
                (long long)down);
        calls_crash();
        witness_engine_gone();
        cloud_engine_gone();
        clients_engine_gone();
        for (unsigned i = 0; i < N_DISKS; i++)
                disk_crash(sim->disks[i], power);
        if (fault(FAULT_KEY))
                buf_clear(&sim->key);
        sim->dead = false;
        while (sim->n_events && sim->events[0].at <= end && !*sim->failure)
                world_step(end);
        sim->now = MAX(sim->now, end);
        if (power)
                sim->boot_at = sim->now - random_between(&sim->random, 1, 60000);
}

static void engine_live(void)
{
        const struct engine_process_hooks hooks = {.on_answer = clients_answer};
        char *message = NULL;

        sim->n_engines++;
        HISTORY("engine", sim->n_engines, 0, "%u starts", sim->n_engines);
        sim->failing = false;
        witness_forget_pace();
        if (engine_process_new(&sim->context, &hooks, &sim->process, &message)) {
                sim->process = NULL;
                HISTORY("refused", sim->dead, 0, "%s", message);
                if (!sim->dead && !sim->failing)
                        violated("start-refused", "the engine does not start: %s", message);
        } else {
                witness_started();
                clients_started();
                if (engine_process_run(sim->process, 0, &message)) {
                        HISTORY("ended", sim->dead, 0, "%s", message);
                        if (!sim->dead && !sim->failing)
                                violated("engine-ended", "the engine ended: %s", message);
                }
                sim->process = engine_process_free(sim->process);
        }
        free(message);
        engine_gone();
}

static void sim_open(uint64_t seed, const struct options *options)
{
        sim = calloc(1, sizeof(*sim));
        sim->seed = seed;
        sim->options = options;
        random_seed(&sim->random, seed, 1);
        random_seed(&sim->machine, seed, 2);
        for (unsigned i = 0; i < N_FAULTS; i++)
                random_seed(&sim->fault_random[i], seed, 100 + i);
        sim->now = 1000000;
        sim->wall_ahead = INT64_C(1700000000000);
        for (unsigned i = 0; i < N_DISKS; i++)
                sim->disks[i] = disk_new(i ? "sim2" : "sim");
        sim->cloud = cloud_new();
        sim->calls = calls_new();
        sim->witness = witness_new();
        draw_rates();
        generate_site();
        sim->context = (struct context){.config = &sim->config, .plugins = &sim->plugins};
        sim->clients = clients_new();
        sim->quiet_at = sim->now + random_between(&sim->random, 1000, 400000);
        sim->end_at = sim->quiet_at + END_MS;
        event_add(sim->quiet_at - sim->now, EVENT_COMPARE, 0);
        event_add(1, EVENT_OPERATOR, 0);
        event_add(random_between(&sim->random, 1, 100000), EVENT_KILL, 0);
        event_add(random_between(&sim->random, 1, 100000), EVENT_WALL, 0);
}

static void sim_close(void)
{
        clients_free(sim->clients);
        calls_free(sim->calls);
        cloud_free(sim->cloud);
        witness_free(sim->witness);
        for (unsigned i = 0; i < N_DISKS; i++)
                disk_free(sim->disks[i]);
        for (unsigned i = 0; i < sim->n_anchors; i++)
                free(sim->anchors[i]);
        buf_deinit(&sim->key);
        plugins_forget();
        json_decref(sim->config.server);
        buf_deinit(&sim->why);
        free(sim->events);
        free(sim);
        sim = NULL;
}

void simulate(uint64_t seed, const struct options *options, struct result *ret_result)
{
        sim_open(seed, options);
        while (!*sim->failure && !(sim->quiet && all_done()))
                engine_live();
        if (!*sim->failure)
                cloud_check();
        *ret_result = (struct result){.digest = sim->digest, .steps = sim->n_steps};
        witness_count(&ret_result->n_runs, &ret_result->n_tasks);
        memcpy(ret_result->n_faults, sim->n_faults, sizeof(sim->n_faults));
        memcpy(ret_result->failure, sim->failure, sizeof(sim->failure));
        snprintf(ret_result->why, sizeof(ret_result->why), "%s", buf_str(&sim->why));
        ret_result->n_engines = sim->n_engines;
        sim_close();
}
