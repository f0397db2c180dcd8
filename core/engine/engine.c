/* SPDX-License-Identifier: Apache-2.0 */
/* Lanes, flights and the round of scheduling. */
#include "engine/flight.h"

#include "plan/plan.h"

#define MAX_IN_FLIGHT 4096
#define PACE_AHEAD_US 1000000

int engine_new(const struct engine_ops *ops, void *userdata, struct site *site,
               const struct plugins *plugins, struct engine **ret_engine)
{
        struct engine *e = calloc(1, sizeof(*e));

        if (!e)
                return error_origin(-ENOMEM);
        e->ops = ops;
        e->userdata = userdata;
        e->site = site;
        e->plugins = plugins;
        e->max_in_flight = MAX_IN_FLIGHT;
        *ret_engine = e;
        return 0;
}

/* What the engine keeps beside a run: the site-wide lane of each of its lanes. */
struct running {
        struct engine_lane **lanes;
        struct flight **flights; /* in flight, in no order */
        uint32_t n_flights, cap_flights;
};

static void forget_run(struct run *run)
{
        struct running *running = run->userdata;

        if (!running)
                return;
        free(running->lanes);
        free(running->flights);
        free(running);
        run->userdata = NULL;
}

static void end_flights(struct run *run)
{
        struct running *running = run->userdata;

        while (running && running->n_flights > 0)
                flight_end(running->flights[0]);
}

struct engine *engine_free(struct engine *e)
{
        struct flight *f;

        if (!e)
                return NULL;
        for (uint32_t i = 0; i < e->n_running; i++) {
                end_flights(e->running[i]);
                forget_run(e->running[i]);
        }
        while (e->abandoned)
                flight_take_back(e, e->abandoned);
        while ((f = e->free)) {
                e->free = f->next_free;
                buf_deinit(&f->document);
                free(f);
        }
        strmap_foreach (entry, &e->lanes)
                free(entry->value.pointer);
        strmap_deinit(&e->lanes);
        op_reply_deinit(&e->prepared);
        timers_deinit(&e->timers);
        free(e->running);
        free(e);
        return NULL;
}

/* The record becomes part of the journal and of the state, in this order. */
void engine_append(struct engine *e, struct run *run, struct record *r)
{
        int q;

        r->at = e->wall_ms;
        e->ops->append(e->userdata, run, r);
        q = run ? run_apply(run, e->site, r) : site_apply(e->site, r);
        if (q)
                e->error = error_fold(q);
}

void engine_append_site(struct engine *e, struct record *r)
{
        engine_append(e, NULL, r);
}

void engine_call_set_handle(struct flight *f, void *handle)
{
        f->handle = handle;
}

void *engine_call_handle(const struct flight *f)
{
        return f->handle;
}

/* Lanes */

struct plugin *engine_find_plugin(const struct engine *e, const char *lane)
{
        char kind[32];
        const char *slash = strchr(lane, '/');
        struct plugin *p;

        if (!slash || (size_t)(slash - lane) >= sizeof(kind))
                return NULL;
        memcpy(kind, lane, (size_t)(slash - lane));
        kind[slash - lane] = 0;
        p = plugins_find(e->plugins, kind, slash + 1);
        return p && p->state == PLUGIN_READY && p->op.struct_size ? p : NULL;
}

static struct engine_lane *lane_of(struct engine *e, const struct lane *lane)
{
        struct engine_lane *l = strmap_get(&e->lanes, lane->plugin);
        struct strmap_entry *entry;

        if (!l) {
                l = calloc(1, sizeof(*l) + strlen(lane->plugin) + 1);
                if (!l)
                        return NULL;
                l->name = strcpy((char *)(l + 1), lane->plugin);
                entry = strmap_add(&e->lanes, l->name, strlen(l->name));
                if (!entry) {
                        free(l);
                        return NULL;
                }
                entry->value.pointer = l;
                l->hold.kind = TIMER_LANE;
                l->hold.owner = l;
                l->pace.kind = TIMER_LANE;
                l->pace.owner = l;
                l->plugin = engine_find_plugin(e, l->name);
        }
        l->batch_size = lane->batch_size; /* the newest run knows the newest limits */
        l->rate_limit = lane->rate_limit;
        return l;
}

int engine_run_start(struct engine *e, struct run *run)
{
        struct running *running = calloc(1, sizeof(*running));

        run->userdata = running;
        if (!running)
                return error_origin(-ENOMEM);
        running->lanes = calloc(run->n_lanes + 1, sizeof(struct engine_lane *));
        if (e->n_running == e->cap_running) {
                uint32_t cap = e->cap_running ? e->cap_running * 2 : 8;
                struct run **list = realloc(e->running, cap * sizeof(struct run *));

                if (list) {
                        e->running = list;
                        e->cap_running = cap;
                }
        }
        if (!running->lanes || e->n_running == e->cap_running) {
                forget_run(run);
                return error_origin(-ENOMEM);
        }
        for (uint32_t i = 0; i < run->n_lanes; i++) {
                running->lanes[i] = lane_of(e, &run->lanes[i]);
                if (!running->lanes[i]) {
                        forget_run(run);
                        return error_origin(-ENOMEM);
                }
        }
        e->running[e->n_running++] = run;
        return 0;
}

void engine_run_stop(struct engine *e, struct run *run)
{
        end_flights(run);
        for (uint32_t i = 0; i < e->n_running; i++)
                if (e->running[i] == run) {
                        e->running[i] = e->running[--e->n_running];
                        break;
                }
        forget_run(run);
}

uint32_t engine_run_flights(const struct run *run)
{
        const struct running *running = run->userdata;

        return running->n_flights;
}

struct flight *engine_find_flight(const struct run *run, uint32_t task)
{
        const struct running *running = run->userdata;

        for (uint32_t i = 0; running && i < running->n_flights; i++)
                if (running->flights[i]->task == task)
                        return running->flights[i];
        return NULL;
}

struct engine_lane *engine_run_lane(const struct run *run, uint32_t i)
{
        const struct running *running = run->userdata;

        return running->lanes[i];
}

bool engine_run_is_calling(const struct run *run)
{
        const struct running *running = run->userdata;

        for (uint32_t i = 0; i < running->n_flights; i++)
                if (running->flights[i]->calling)
                        return true;
        return false;
}

bool engine_is_asked(const struct run *run, uint32_t task)
{
        const struct flight *f = run->userdata ? engine_find_flight(run, task) : NULL;

        return f && f->calling;
}

static bool engine_run_is_busy(const struct run *run)
{
        const struct running *running = run->userdata;

        for (uint32_t i = 0; i < running->n_flights; i++)
                if (running->flights[i]->calling || timer_is_set(&running->flights[i]->next) ||
                    timer_is_set(&running->flights[i]->limit))
                        return true;
        return false;
}

/* Nothing more starts in the run: what waits for its next attempt need not wait any longer. Or it is
 * resumed: what came to its time meanwhile goes on; what is to be patient still is. */
void engine_run_hurry(struct engine *e, const struct run *run)
{
        const struct running *running = run->userdata;

        for (uint32_t i = 0; i < running->n_flights; i++) {
                struct flight *f = running->flights[i];

                if ((f->phase == PHASE_DELAYED || f->phase == PHASE_WATCHING ||
                     f->phase == PHASE_SHARING) &&
                    (!timer_is_set(&f->next) || !flight_may_begin(f)) &&
                    timers_set(&e->timers, &f->next, e->boot_ms))
                        e->error = -ENOMEM;
        }
}

/* Flights */

struct flight *flight_new(struct engine *e, struct run *run, uint32_t task)
{
        struct running *running = run->userdata;
        struct flight *f = e->free;
        struct timer next, limit;
        struct buf document;

        if (running->n_flights == running->cap_flights) {
                uint32_t cap = running->cap_flights ? running->cap_flights * 2 : 64;
                struct flight **list = realloc(running->flights, cap * sizeof(struct flight *));

                if (!list)
                        return NULL;
                running->flights = list;
                running->cap_flights = cap;
        }
        if (f)
                e->free = f->next_free;
        else
                f = calloc(1, sizeof(*f));
        if (!f)
                return NULL;
        next = f->next; /* not set, but they may still have their place among the timers */
        limit = f->limit;
        document = f->document; /* its memory is used again */
        *f = (struct flight){.engine = e, .run = run, .task = task, .next = next, .limit = limit,
                             .document = document};
        if (run->tasks[task].attempt) {
                f->role = run->tasks[task].attempt->role;
                f->verb = run->tasks[task].attempt->verb;
        }
        f->place = running->n_flights;
        running->flights[running->n_flights++] = f;
        f->lane = running->lanes[run->tasks[task].lane];
        f->next.owner = f->limit.owner = f;
        f->next.kind = TIMER_NEXT;
        f->limit.kind = TIMER_LIMIT;
        lane_enter(e, f->lane);
        f->has_place = true;
        run->tasks[task].in_flight = 1;
        return f;
}

void flight_leave_place(struct flight *f)
{
        if (!f->has_place)
                return;
        f->has_place = false;
        lane_leave(f->engine, f->lane);
}

/* Questions change nothing, so one that never comes back need not hold its task for ever: the call keeps
 * the flight, which owns all that it was asked, and the task goes on with another one, returned. */
struct flight *flight_abandon(struct flight *f)
{
        struct engine *e = f->engine;
        struct running *running = f->run->userdata;
        struct flight *n = flight_new(e, f->run, f->task);

        if (!n)
                return NULL;
        n->phase = f->phase;
        n->role = f->role;
        n->verb = f->verb;
        n->deadline_ms = f->deadline_ms;
        n->left_ms = f->left_ms;
        n->n_failures = f->n_failures;
        n->recovered = f->recovered;
        n->waiting = steal(&f->waiting);
        n->former = f->former;
        f->former = BUF_NULL;
        flight_leave_place(f->has_place ? f : n);
        timers_unset(&e->timers, &f->next);
        timers_unset(&e->timers, &f->limit);
        running->flights[f->place] = running->flights[--running->n_flights];
        running->flights[f->place]->place = f->place;
        f->abandoned = true;
        f->next_free = e->abandoned;
        e->abandoned = f;
        return n;
}

void flight_take_back(struct engine *e, struct flight *f)
{
        struct flight **at = &e->abandoned;

        while (*at != f)
                at = &(*at)->next_free;
        *at = f->next_free;
        f->next_free = e->free;
        e->free = f;
}

bool flight_take_place(struct flight *f)
{
        struct engine_lane *lane = f->lane;

        if (f->has_place)
                return true;
        if (lane->batch_size && lane->in_flight >= lane->batch_size)
                return false;
        f->has_place = true;
        lane_enter(f->engine, lane);
        return true;
}

void flight_end(struct flight *f)
{
        struct engine *e = f->engine;
        struct running *running = f->run->userdata;

        timers_unset(&e->timers, &f->next);
        timers_unset(&e->timers, &f->limit);
        buf_clear(&f->document);
        if (f->document.cap > 4096)
                buf_deinit(&f->document);
        buf_deinit(&f->former);
        wait_free(f);
        flight_task(f)->in_flight = 0;
        flight_leave_place(f);
        running->flights[f->place] = running->flights[--running->n_flights];
        running->flights[f->place]->place = f->place;
        f->next_free = e->free;
        e->free = f;
}

static void call(struct flight *f, enum phase phase, struct engine_call *call)
{
        assert(!f->calling); /* E1 */
        call->flight = f;
        call->run_id = f->run->id;
        call->run = f->run->id_text;
        call->task = call->task ?: task_id(f->run, flight_task(f));
        call->verb = plan_verb_name((enum plan_verb)f->verb);
        f->calling = true;
        f->cancel_sent = false;
        f->phase = phase;
        f->engine->ops->call(f->engine->userdata, call);
}

void engine_call(struct flight *f, enum engine_call_kind kind, enum phase phase, int64_t deadline_ms)
{
        const struct attempt *a = flight_task(f)->attempt;

        assert(a && a->role == f->role && a->verb == f->verb); /* E2 */
        call(f, phase, &(struct engine_call){.kind = kind,
                                             .plugin = f->lane->plugin,
                                             .deadline_ms = deadline_ms,
                                             .op_id = a->op_id,
                                             .attempt = a->number,
                                             .request = a->request,
                                             .n_request = a->n_request,
                                             .token = a->token});
}

void engine_ask(struct flight *f, enum engine_call_kind kind, enum phase phase, struct plugin *plugin)
{
        int64_t deadline_ms = f->engine->boot_ms + CALL_MS;
        const char *id = task_id(f->run, flight_task(f)), *text;
        size_t n = f->document.n;

        /* Behind the document, out of its sight: a call that is abandoned needs them longer than the
         * run may be there. */
        buf_putc(&f->document, 0);
        buf_append(&f->document, id, strlen(id) + 1);
        if (kind == CALL_EVALUATE)
                buf_puts(&f->document, wait_expression(f));
        text = buf_str(&f->document);
        if (buf_error(&f->document)) {
                f->engine->error = -ENOMEM;
                return;
        }
        f->document.n = n;
        call(f, phase, &(struct engine_call){.kind = kind,
                                             .task = text + n + 1,
                                             .plugin = plugin,
                                             .deadline_ms = deadline_ms,
                                             .request = text,
                                             .n_request = n,
                                             .token = kind == CALL_EVALUATE
                                                              ? text + n + 1 + strlen(id) + 1
                                                              : NULL});
        if (timers_set(&f->engine->timers, &f->limit, deadline_ms))
                f->engine->error = -ENOMEM;
}

/* Time */

void engine_time(struct engine *e, int64_t boot_ms, int64_t wall_ms)
{
        struct timer *timer;

        e->boot_ms = boot_ms;
        e->wall_ms = wall_ms;
        while ((timer = timers_due(&e->timers, boot_ms)))
                if (timer->kind != TIMER_LANE) /* that one only wakes the scheduler */
                        attempt_timer(timer->owner, timer->kind);
}

int64_t engine_deadline(struct engine *e)
{
        return timers_next(&e->timers);
}

/* Scheduling */

/* Requests are counted where they leave, by the host, and nowhere else (promise 6): it knows all of them,
 * those of polls and observes too. What starts here is only kept from running ahead of that by more than a
 * second's worth: else the calls of one lane would fill the queue of the workers, and their time would run
 * while they wait. */
static bool is_ahead(struct engine *e, struct engine_lane *lane)
{
        int64_t ahead_us = lane->paced_us - e->boot_ms * 1000 - PACE_AHEAD_US;

        if (!lane->rate_limit || ahead_us <= 0)
                return false;
        if (!timer_is_set(&lane->pace) &&
            timers_set(&e->timers, &lane->pace, e->boot_ms + (ahead_us + 999) / 1000))
                e->error = -ENOMEM;
        return true;
}

static void count_start(const struct engine *e, struct engine_lane *lane)
{
        if (lane->rate_limit)
                lane->paced_us = MAX(lane->paced_us, e->boot_ms * 1000) + 1000000 / lane->rate_limit;
}

static bool may_start(const struct engine *e, const struct engine_lane *lane)
{
        return e->in_flight < e->max_in_flight && !timer_is_set(&lane->hold) &&
               (!lane->batch_size || lane->in_flight < lane->batch_size);
}

static void start(struct engine *e, struct run *run, uint32_t task)
{
        if (run->unwinding)
                undo_start(e, run, task);
        else
                task_start(e, run, task);
}

static bool may_start_any(const struct run *run)
{
        if (run->status == RUN_ROLLING_BACK)
                return run->unwinding && !run->stopped;
        return run->status == RUN_RUNNING && !run->halted;
}

/* What is known of a task stands in several places, and waiting for memory costs more than all decisions about
 * it. This is for one that starts soon and ends some time later. */
static _prefetches_ void fetch_ahead(const struct run *run, const struct lane *lane)
{
        const struct task *t;

        if (lane->n_ready - lane->next_ready <= 24)
                return;
        __builtin_prefetch(&run->tasks[lane->ready[lane->next_ready + 24]], 1);
        t = &run->tasks[lane->ready[lane->next_ready + 6]];
        __builtin_prefetch(&run->operations[t->operation]);
        __builtin_prefetch(&run->first_next[t - run->tasks]);
}

/* And what its request is made of. */
static _prefetches_ void fetch_request(const struct run *run, const struct lane *lane)
{
        const struct task *t;

        if (lane->n_ready - lane->next_ready <= 6)
                return;
        t = &run->tasks[lane->ready[lane->next_ready + 6]];
        __builtin_prefetch(run->text + t->text);
        if (t->resource) {
                __builtin_prefetch(t->resource);
                __builtin_prefetch((const char *)t->resource + 64);
        }
}

/* After a restart the queue also names what had been started. */
uint32_t engine_next(struct engine *e, struct run *run, uint32_t i)
{
        const struct running *running = run->userdata;
        struct engine_lane *l = running->lanes[i];
        struct lane *lane = &run->lanes[i];

        while (lane->next_ready < lane->n_ready && may_start_any(run) && may_start(e, l) && !is_ahead(e, l)) {
                uint32_t task = lane->ready[lane->next_ready++];

                fetch_ahead(run, lane);
                if (run->tasks[task].in_flight || !startable(run, &run->tasks[task]))
                        continue;
                count_start(e, l);
                return task;
        }
        return TASK_NONE;
}

/* What starts may end at once, without a call, and make others ready, in lanes that were looked at: there is
 * no answer to come that would wake the loop for them. */
void engine_schedule_run(struct engine *e, struct run *run)
{
        struct running *running = run->userdata;
        bool any = true;

        while (any) {
                any = false;
                for (uint32_t i = 0; i < run->n_lanes; i++) {
                        uint32_t task;

                        while (e->error == 0 && (task = engine_next(e, run, i)) != TASK_NONE) {
                                fetch_request(run, &run->lanes[i]);
                                start(e, run, task);
                                assert(!running->lanes[i]->batch_size ||
                                       running->lanes[i]->in_flight <=
                                               running->lanes[i]->batch_size); /* E3 */
                                any = i > 0;
                        }
                }
        }
}

/* The runs take turns at being first, so that none starves where a lane is shared. */
void engine_schedule(struct engine *e)
{
        uint32_t n = e->n_running, first = n ? e->next_running++ % n : 0;

        for (uint32_t i = 0; i < n && e->error == 0; i++)
                engine_schedule_run(e, e->running[(first + i) % n]);
        for (uint32_t i = e->n_running; i-- > 0 && e->error == 0;)
                run_check_end(e, e->running[i]);
}

bool engine_is_idle(const struct engine *e)
{
        for (uint32_t i = 0; i < e->n_running; i++)
                if (e->running[i]->status != RUN_PAUSED || engine_run_is_busy(e->running[i]))
                        return false;
        return true;
}
