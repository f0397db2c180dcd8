/* SPDX-License-Identifier: Apache-2.0 */
#include "run/workers.h"

#include "base/clock.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>

#define SPIN_US   20
#define LINGER_US 10
#define EXPECT_US 500 /* the longest that a worker stays awake for jobs that were announced */
#define TAKEN_US  100 /* a gap of that much while it does: somebody else needs the processor */
#define NEAR_US   1000 /* a gap of that much until a call that was handed over begins: the same */
#define REST_US   100000 /* nobody stays awake for so long then */

struct worker {
        struct workers *pool;
        struct worker *next_idle;
        pthread_cond_t wake;
        pid_t tid;
        bool idle;   /* waits for `wake` */
        bool pinned; /* to the processor of who woke it: its own to undo */
};

struct workers {
        pthread_mutex_t lock;
        struct worker *idle;  /* a stack: whoever fell asleep last finds most of what it needs in the caches */
        pthread_cond_t ended; /* a worker ended */
        struct job *first, **last;   /* the queue */
        uint32_t n_queued;    /* also read without the lock, as a hint */
        struct job *done;     /* a stack that workers push to and the loop takes whole, lock-free */
        uint32_t n_awake, n_idle, n_alive;
        uint32_t n_running;   /* jobs being run */
        uint64_t n_taken, n_taken_seen;
        int64_t expect_us;    /* atomic: jobs were announced and have not come yet */
        int64_t rest_until;   /* atomic: the processors are busy; by clock_tick_us() */
        int waits;            /* atomic: a worker stays awake for them */
        bool end;
        bool one_cpu;         /* nobody spins: the other side could not run meanwhile */
        bool near;            /* the loop's: the last call went to its own processor */
        int64_t near_us;      /* atomic: when; 0: has begun */
        cpu_set_t cpus;       /* where all of us may run; written while nobody runs a job */
        pid_t loop;
        int loop_sleeps;      /* atomic */
        int loop_pinned;      /* atomic: to the processor of who woke it: its own to undo */
        int wake_fd;
        struct worker threads[];
};

/* Waking a thread that sleeps on another processor takes tens of microseconds on a virtual machine, where
 * that one has halted; handing over on the same processor takes three. So for one call alone, which the
 * loop only waits for, whoever wakes keeps the other one to its own processor for as long as it takes to get
 * up. Who got up may run where it likes at once: nothing that it starts inherits anything. */
static void keep_here(pid_t tid)
{
        cpu_set_t here;
        int cpu = sched_getcpu();

        CPU_ZERO(&here);
        if (cpu < 0 || cpu >= CPU_SETSIZE)
                return;
        CPU_SET(cpu, &here);
        (void)sched_setaffinity(tid, sizeof(here), &here);
}

static void loose(const struct workers *w)
{
        (void)sched_setaffinity(0, sizeof(w->cpus), &w->cpus);
}

/* The loop. */
static void take_loose(struct workers *w)
{
        if (__atomic_load_n(&w->loop_pinned, __ATOMIC_RELAXED) &&
            __atomic_exchange_n(&w->loop_pinned, 0, __ATOMIC_ACQUIRE))
                loose(w);
}

/* The loop, for answers: true if there was something to take in time. */
static bool spin_for_answers(struct job *const *done, int64_t us)
{
        int64_t end = clock_tick_us() + us;

        do {
                for (int i = 0; i < 50; i++) {
                        if (__atomic_load_n(done, __ATOMIC_RELAXED))
                                return true;
                        __builtin_ia32_pause();
                }
        } while (clock_tick_us() < end);
        return false;
}

/* A worker, for jobs; one of them longer if the loop said that some will come. Whoever is put aside while
 * he only waits should not wait like that: the processor is wanted. */
static void spin_for_jobs(struct workers *w)
{
        bool first = !__atomic_exchange_n(&w->waits, 1, __ATOMIC_RELAXED);
        int64_t start = clock_tick_us(), now = start, before, most;

        do {
                for (int i = 0; i < 50; i++) {
                        if (__atomic_load_n(&w->n_queued, __ATOMIC_RELAXED))
                                goto end;
                        __builtin_ia32_pause();
                }
                before = now;
                now = clock_tick_us();
                if (now - before > TAKEN_US) {
                        __atomic_store_n(&w->rest_until, now + REST_US, __ATOMIC_RELAXED);
                        goto end;
                }
                most = first ? __atomic_load_n(&w->expect_us, __ATOMIC_RELAXED) : 0;
        } while (now - start < MAX(most, (int64_t)SPIN_US));
end:
        if (first)
                __atomic_store_n(&w->waits, 0, __ATOMIC_RELAXED);
}

/* A call was sent to the loop's own processor. If that took long, somebody else needs it. */
static void note_near(struct workers *w)
{
        int64_t since = __atomic_exchange_n(&w->near_us, 0, __ATOMIC_RELAXED), now;

        if (!since)
                return;
        now = clock_tick_us();
        if (now - since > NEAR_US)
                __atomic_store_n(&w->rest_until, now + REST_US, __ATOMIC_RELAXED);
}

static struct job *take(struct workers *w)
{
        struct job *job = w->first;

        if (!job)
                return NULL;
        w->first = job->next;
        if (!w->first)
                w->last = &w->first;
        __atomic_store_n(&w->n_queued, w->n_queued - 1, __ATOMIC_RELAXED);
        w->n_taken++;
        note_near(w);
        __atomic_store_n(&w->n_running, w->n_running + 1, __ATOMIC_RELAXED);
        return job;
}

/* Sequentially consistent with workers_may_sleep: either the loop sees the job, or we see it asleep. */
static void give_back(struct workers *w, struct job *job, bool near)
{
        job->next = __atomic_load_n(&w->done, __ATOMIC_RELAXED);
        while (!__atomic_compare_exchange_n(&w->done, &job->next, job, true, __ATOMIC_SEQ_CST,
                                            __ATOMIC_RELAXED))
                ;
        if (!__atomic_exchange_n(&w->loop_sleeps, 0, __ATOMIC_SEQ_CST))
                return;
        if (near) {
                keep_here(w->loop);
                __atomic_store_n(&w->loop_pinned, 1, __ATOMIC_RELEASE);
        }
        eventfd_write(w->wake_fd, 1);
}

/* The worker that fell asleep last, to be woken; NULL: none sleeps. It counts as awake from now on. */
static struct worker *pop_idle(struct workers *w)
{
        struct worker *me = w->idle;

        if (!me)
                return NULL;
        w->idle = me->next_idle;
        w->n_idle--;
        w->n_awake++;
        me->idle = false;
        return me;
}

/* If nobody who is awake would come to take a job. */
static struct worker *pop_if_needed(struct workers *w)
{
        return w->n_awake == w->n_running ? pop_idle(w) : NULL;
}

static void sleep_until_woken(struct worker *me)
{
        struct workers *w = me->pool;

        me->next_idle = w->idle;
        me->idle = true;
        w->idle = me;
        w->n_awake--;
        w->n_idle++;
        while (me->idle)
                pthread_cond_wait(&me->wake, &w->lock);
}

static void *work(void *argument)
{
        struct worker *me = argument;
        struct workers *w = me->pool;
        bool near = false, spins = true;
        struct job *job;

        pthread_mutex_lock(&w->lock);
        me->tid = gettid();
        w->n_awake++;
        while (!w->end) {
                job = take(w);
                if (job) {
                        pthread_mutex_unlock(&w->lock);
                        job->run(job);
                        give_back(w, job, near);
                        pthread_mutex_lock(&w->lock);
                        __atomic_store_n(&w->n_running, w->n_running - 1, __ATOMIC_RELAXED);
                        spins = !near; /* the loop has this processor now */
                        near = false;
                        continue;
                }
                if (spins) {
                        pthread_mutex_unlock(&w->lock);
                        spin_for_jobs(w);
                        pthread_mutex_lock(&w->lock);
                        if (w->first || w->end)
                                continue;
                }
                sleep_until_woken(me);
                near = me->pinned;
                spins = true;
                me->pinned = false;
                if (near)
                        loose(w);
        }
        w->n_awake--;
        w->n_alive--;
        pthread_cond_broadcast(&w->ended);
        pthread_mutex_unlock(&w->lock);
        return NULL;
}

int workers_new(uint32_t n_threads, int wake_fd, struct workers **ret_workers)
{
        struct workers *w = calloc(1, sizeof(*w) + n_threads * sizeof(struct worker));
        sigset_t all, before;
        pthread_t thread;

        if (!w)
                return error_origin(-ENOMEM);
        pthread_mutex_init(&w->lock, NULL);
        pthread_cond_init(&w->ended, NULL);
        w->last = &w->first;
        w->wake_fd = wake_fd;
        w->one_cpu = sched_getaffinity(0, sizeof(w->cpus), &w->cpus) == 0 && CPU_COUNT(&w->cpus) < 2;
        sigfillset(&all); /* signals belong to the loop */
        pthread_sigmask(SIG_BLOCK, &all, &before);
        for (uint32_t i = 0; i < n_threads; i++) {
                struct worker *worker = &w->threads[i];

                worker->pool = w;
                pthread_cond_init(&worker->wake, NULL);
                pthread_mutex_lock(&w->lock);
                w->n_alive++;
                pthread_mutex_unlock(&w->lock);
                if (pthread_create(&thread, NULL, work, worker)) {
                        pthread_mutex_lock(&w->lock);
                        w->n_alive--;
                        pthread_mutex_unlock(&w->lock);
                        break;
                }
                pthread_detach(thread);
        }
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (!w->n_alive) {
                free(w);
                return error_origin(-EAGAIN);
        }
        *ret_workers = w;
        return 0;
}

struct workers *workers_free(struct workers *w, int64_t wait_ms, struct job **ret_left)
{
        struct timespec until;
        bool alive;

        if (!w)
                return NULL;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += wait_ms / 1000;
        until.tv_nsec += wait_ms % 1000 * 1000000;
        if (until.tv_nsec >= 1000000000) {
                until.tv_sec++;
                until.tv_nsec -= 1000000000;
        }
        pthread_mutex_lock(&w->lock);
        w->end = true;
        for (struct worker *me; (me = pop_idle(w));)
                pthread_cond_signal(&me->wake);
        while (w->n_alive > 0 && pthread_cond_timedwait(&w->ended, &w->lock, &until) == 0)
                ;
        alive = w->n_alive > 0;
        pthread_mutex_unlock(&w->lock);
        if (alive) /* a plugin still runs and will come back to this memory */
                return w;
        *w->last = w->done;
        *ret_left = w->first;
        free(w);
        return NULL;
}

/* One call alone, while nothing else is under way: the loop will only wait for it. */
static bool is_near(struct workers *w, const struct job *first)
{
        return !first->next && !w->n_running && clock_tick_us() >= __atomic_load_n(&w->rest_until, __ATOMIC_RELAXED);
}

void workers_submit(struct workers *w, struct job *first)
{
        struct job *last = first;
        struct worker *worker;
        uint32_t n = 1;

        if (!first)
                return;
        for (; last->next; last = last->next)
                n++;
        pthread_mutex_lock(&w->lock);
        __atomic_store_n(&w->expect_us, 0, __ATOMIC_RELAXED);
        *w->last = first;
        w->last = &last->next;
        __atomic_store_n(&w->n_queued, w->n_queued + n, __ATOMIC_RELAXED);
        worker = pop_if_needed(w);
        w->near = worker && is_near(w, first);
        if (w->near) {
                take_loose(w); /* else we would take that for where we may run */
                worker->pinned = true;
                w->loop = gettid();
                __atomic_store_n(&w->near_us, clock_tick_us(), __ATOMIC_RELAXED);
                if (sched_getaffinity(0, sizeof(w->cpus), &w->cpus) == 0) /* may have been changed */
                        keep_here(worker->tid);
        }
        pthread_mutex_unlock(&w->lock);
        if (worker)
                pthread_cond_signal(&worker->wake);
}

void workers_expect(struct workers *w, int64_t us)
{
        struct worker *worker;

        if (w->one_cpu || us > EXPECT_US ||
            clock_tick_us() < __atomic_load_n(&w->rest_until, __ATOMIC_RELAXED))
                return;
        pthread_mutex_lock(&w->lock);
        __atomic_store_n(&w->expect_us, MIN(2 * us + SPIN_US, (int64_t)EXPECT_US), __ATOMIC_RELAXED);
        worker = pop_if_needed(w);
        pthread_mutex_unlock(&w->lock);
        if (worker)
                pthread_cond_signal(&worker->wake);
}

bool workers_withdraw(struct workers *w, struct job *job)
{
        struct job **at;
        bool found;

        pthread_mutex_lock(&w->lock);
        for (at = &w->first; *at && *at != job; at = &(*at)->next)
                ;
        found = *at != NULL;
        if (found) {
                *at = job->next;
                if (!*at)
                        w->last = at;
                __atomic_store_n(&w->n_queued, w->n_queued - 1, __ATOMIC_RELAXED);
        }
        pthread_mutex_unlock(&w->lock);
        if (found)
                give_back(w, job, false);
        return found;
}

/* The one call in the queue is being handed over, on this processor: nobody can have taken it yet. */
static bool is_under_way(const struct workers *w)
{
        int64_t since = __atomic_load_n(&w->near_us, __ATOMIC_RELAXED);

        return since && clock_tick_us() - since < NEAR_US;
}

struct job *workers_collect(struct workers *w)
{
        struct job *newest, *next, *oldest = NULL;
        struct worker *worker = NULL;

        take_loose(w);
        if (__atomic_load_n(&w->n_queued, __ATOMIC_RELAXED)) {
                pthread_mutex_lock(&w->lock);
                if (w->n_queued && w->n_taken == w->n_taken_seen && !is_under_way(w))
                        worker = pop_idle(w);
                w->n_taken_seen = w->n_taken;
                pthread_mutex_unlock(&w->lock);
        }
        if (worker)
                pthread_cond_signal(&worker->wake);
        newest = __atomic_exchange_n(&w->done, NULL, __ATOMIC_ACQUIRE);
        for (; newest; newest = next) {
                next = newest->next;
                newest->next = oldest;
                oldest = newest;
        }
        return oldest;
}

bool workers_linger(struct workers *w, int64_t until_us)
{
        int64_t left = until_us - clock_tick_us();

        return left > 0 && !w->one_cpu &&
               (__atomic_load_n(&w->n_running, __ATOMIC_RELAXED) ||
                __atomic_load_n(&w->n_queued, __ATOMIC_RELAXED)) &&
               spin_for_answers(&w->done, MIN(left, (int64_t)LINGER_US));
}

bool workers_may_sleep(struct workers *w, int64_t spin_us)
{
        if (!w->near && !w->one_cpu && (__atomic_load_n(&w->n_running, __ATOMIC_RELAXED) ||
                         __atomic_load_n(&w->n_queued, __ATOMIC_RELAXED)))
                if (spin_for_answers(&w->done, spin_us))
                        return false;
        __atomic_store_n(&w->loop_sleeps, 1, __ATOMIC_SEQ_CST);
        if (!__atomic_load_n(&w->done, __ATOMIC_SEQ_CST))
                return true;
        __atomic_store_n(&w->loop_sleeps, 0, __ATOMIC_SEQ_CST);
        return false;
}

void workers_awake(struct workers *w)
{
        __atomic_store_n(&w->loop_sleeps, 0, __ATOMIC_SEQ_CST);
        take_loose(w);
}

bool workers_backlog(struct workers *w)
{
        bool backlog;

        if (!__atomic_load_n(&w->n_queued, __ATOMIC_RELAXED))
                return false;
        pthread_mutex_lock(&w->lock);
        backlog = w->n_queued > 0 && w->n_idle > 0; /* else one that comes back takes the next */
        pthread_mutex_unlock(&w->lock);
        return backlog;
}
