/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In the place of core/run/workers.c: no threads. A call is planned when a worker would begin it, and
 * the plugin's function runs at the moment it returns.
 */
#include "simulate/calls.h"

#include "simulate/witness.h"

struct workers {
        uint32_t n_threads, n_running;
        struct call *queue, **queue_last;
        struct job *done, **done_last;
};

/* Requests may be under way longer than the engine that sent them. */
struct calls {
        struct workers workers;
        struct call *all;
        uint64_t next_number;
};

struct call *current_call;

void __real_op_call_cancel(struct op_call *c);
void __wrap_op_call_cancel(struct op_call *c);

struct calls *calls_new(void)
{
        return calloc(1, sizeof(struct calls));
}

struct calls *calls_free(struct calls *c)
{
        for (struct call *call = c ? c->all : NULL, *next; call; call = next) {
                next = call->next;
                free(call);
        }
        free(c);
        return NULL;
}

struct call *call_find(uint64_t number)
{
        struct call *c = sim->calls->all;

        while (c && c->number != number)
                c = c->next;
        return c;
}

/* NULL: it waits for its commit. */
static struct call *call_of(const struct job *job)
{
        struct call *c = sim->calls->all;

        while (c && c->job != job)
                c = c->next;
        return c;
}

static void forget(struct call *c)
{
        struct call **p = &sim->calls->all;

        while (*p != c)
                p = &(*p)->next;
        *p = c->next;
        free(c);
}

int workers_new(uint32_t n_threads, int wake_fd, struct workers **ret_workers)
{
        struct workers *w = &sim->calls->workers;

        *w = (struct workers){.n_threads = n_threads};
        w->queue_last = &w->queue;
        w->done_last = &w->done;
        *ret_workers = w;
        return 0;
}

static void start_queued(struct workers *w)
{
        while (w->queue && w->n_running < w->n_threads) {
                struct call *c = w->queue;

                w->queue = c->next_queued;
                if (!w->queue)
                        w->queue_last = &w->queue;
                c->phase = CALL_RUNNING;
                w->n_running++;
                plan_call(c);
        }
}

void workers_submit(struct workers *w, struct job *first)
{
        struct job *next;

        if (!sim->dead)
                witness_committed();
        for (struct job *job = first; job; job = next) {
                struct call *c = calloc(1, sizeof(*c));

                next = job->next;
                if (job->call.pub.attempt) /* real workers make the text of it when they run the job */
                        uid_text(&job->request_id, job->op_id);
                c->number = ++sim->calls->next_number;
                c->job = job;
                c->next = sim->calls->all;
                sim->calls->all = c;
                *w->queue_last = c;
                w->queue_last = &c->next_queued;
                sim->n_steps++;
                if (!sim->dead)
                        witness_call(c, job);
        }
        if (!sim->dead)
                start_queued(w);
}

static void unqueue(struct workers *w, struct call *c)
{
        struct call **p = &w->queue;

        while (*p != c)
                p = &(*p)->next_queued;
        *p = c->next_queued;
        if (w->queue_last == &c->next_queued)
                w->queue_last = p;
}

static void done(struct workers *w, struct call *c)
{
        c->phase = CALL_RETURNED;
        c->job->next = NULL;
        *w->done_last = c->job;
        w->done_last = &c->job->next;
        machine_wake();
}

bool workers_withdraw(struct workers *w, struct job *job)
{
        struct call *c = call_of(job);

        if (!c || c->phase != CALL_QUEUED)
                return false;
        unqueue(w, c);
        c->withdrawn = true;
        done(w, c);
        return true;
}

struct job *workers_collect(struct workers *w)
{
        struct job *first = w->done;

        w->done = NULL;
        w->done_last = &w->done;
        for (struct job *job = first; job; job = job->next) {
                struct call *c = call_of(job);

                sim->n_steps++;
                witness_call_ended(c);
                HISTORY("answer", c->number, job->reply.answer, "#%llu %s, effect %s%s%s",
                        (unsigned long long)c->number,
                        job->kind == CALL_OBSERVE && job->reply.answer >= 0
                                ? ((const char *const[]){"DONE", "IN_PROGRESS", "NOT_STARTED", "PARTIAL",
                                                         "FAILED", "UNCERTAIN"})[job->reply.answer]
                                : op_class_name(job->reply.answer),
                        op_effect_name(job->reply.effect), job->reply.message ? ": " : "",
                        job->reply.message ?: "");
                if (c->arrives) /* the request is still under way */
                        c->dropped = true, c->job = NULL;
                else
                        forget(c);
        }
        return first;
}

struct workers *workers_free(struct workers *w, int64_t wait_ms, struct job **ret_left)
{
        struct job *left = NULL;

        for (struct call *c = sim->calls->all; c; c = c->next)
                if (c->job) {
                        c->job->next = left;
                        left = c->job;
                }
        *ret_left = left;
        return NULL;
}

bool workers_may_sleep(struct workers *w, int64_t spin_us)
{
        return true;
}

void workers_awake(struct workers *w)
{
}

bool workers_linger(struct workers *w, int64_t until_us)
{
        return false;
}

void workers_expect(struct workers *w, int64_t us)
{
}

bool workers_backlog(struct workers *w)
{
        return false;
}

/* The plugin's function runs and its answer goes back. */
void calls_returned(uint64_t number)
{
        struct call *c = call_find(number);

        if (!c || c->dropped || c->phase != CALL_RUNNING || c->returns_at > sim->now)
                return;
        current_call = c;
        c->job->run(c->job);
        current_call = NULL;
        sim->calls->workers.n_running--;
        done(&sim->calls->workers, c);
        start_queued(&sim->calls->workers);
}

/* The engine asks a call to end early. Most plugins notice. */
void __wrap_op_call_cancel(struct op_call *op)
{
        struct call *c = sim->calls->all;

        __real_op_call_cancel(op);
        sim->n_steps++;
        while (c && (!c->job || &c->job->call != op))
                c = c->next;
        if (!c || c->phase != CALL_RUNNING || sim->dead)
                return;
        HISTORY("end early", c->number, c->deaf, "#%llu", (unsigned long long)c->number);
        if (c->deaf) { /* a question that never comes back is asked once more, and need not hold its task */
                if (c->kind == CALL_READ || c->kind == CALL_LIST || c->kind == CALL_EVALUATE)
                        witness_call_given_up(c);
                return;
        }
        if (c->returns_at > sim->now + 1000) {
                int64_t after = random_between(&sim->random, 1, 1000);

                c->returns_at = sim->now + after;
                plan_early_end(c);
                event_add(after, EVENT_RETURN, c->number);
        }
}

/* The engine is gone. Requests that were to arrive are lost, or arrive within the settling time. */
void calls_crash(void)
{
        for (struct call *c = sim->calls->all, *next; c; c = next) {
                next = c->next;
                if (c->dropped)
                        continue;
                c->job = NULL;
                c->dropped = true;
                if (c->op && c->kind == CALL_BEGIN && c->phase == CALL_RUNNING)
                        c->op->left_at = sim->now;
                if (c->op && c->kind == CALL_BEGIN)
                        c->op->n_begins--;
                if (!c->arrives)
                        forget(c);
                else if (random_chance(&sim->random, 500))
                        plan_last_arrival(c);
                else
                        c->arrives = false;
        }
}

void calls_arrive(uint64_t number)
{
        struct call *c = call_find(number);

        if (!c || !c->arrives || c->arrives_at > sim->now)
                return;
        c->arrives = false;
        cloud_arrive(c);
        if (c->dropped)
                forget(c);
}

bool calls_hanging(void)
{
        for (const struct call *c = sim->calls->all; c; c = c->next)
                if (!c->dropped && c->phase == CALL_RUNNING && c->returns_at == INT64_MAX)
                        return true;
        return false;
}
