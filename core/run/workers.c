/* SPDX-License-Identifier: Apache-2.0 */
#include "run/workers.h"

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <time.h>

#define SPIN_US 20

struct workers {
        pthread_mutex_t lock;
        pthread_cond_t work;  /* the queue is not empty, or the end */
        pthread_cond_t ended; /* a worker ended */
        struct job *first, **last;   /* the queue */
        struct job *done, **done_last;
        uint32_t n_queued, n_done;   /* also read without the lock, as a hint */
        uint32_t n_awake, n_idle, n_alive;
        uint32_t n_running;   /* jobs being run */
        uint64_t n_taken, n_taken_seen;
        bool end;
        bool loop_sleeps;
        int wake_fd;
        pthread_t threads[];
};

static int64_t now_us(void)
{
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* True if *hint became non-zero in time. */
static bool spin(const uint32_t *hint, int64_t us)
{
        int64_t end = now_us() + us;

        do {
                for (int i = 0; i < 50; i++) {
                        if (__atomic_load_n(hint, __ATOMIC_RELAXED))
                                return true;
                        __builtin_ia32_pause();
                }
        } while (now_us() < end);
        return false;
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
        __atomic_store_n(&w->n_running, w->n_running + 1, __ATOMIC_RELAXED);
        return job;
}

static void give_back(struct workers *w, struct job *job)
{
        job->next = NULL;
        *w->done_last = job;
        w->done_last = &job->next;
        __atomic_store_n(&w->n_running, w->n_running - 1, __ATOMIC_RELAXED);
        __atomic_store_n(&w->n_done, w->n_done + 1, __ATOMIC_RELAXED);
        if (w->loop_sleeps) {
                w->loop_sleeps = false;
                eventfd_write(w->wake_fd, 1);
        }
}

static void *work(void *argument)
{
        struct workers *w = argument;
        struct job *job;

        pthread_mutex_lock(&w->lock);
        w->n_awake++;
        while (!w->end) {
                job = take(w);
                if (job) {
                        pthread_mutex_unlock(&w->lock);
                        job->run(job);
                        pthread_mutex_lock(&w->lock);
                        give_back(w, job);
                        continue;
                }
                pthread_mutex_unlock(&w->lock);
                spin(&w->n_queued, SPIN_US);
                pthread_mutex_lock(&w->lock);
                if (w->first || w->end)
                        continue;
                w->n_awake--;
                w->n_idle++;
                pthread_cond_wait(&w->work, &w->lock);
                w->n_idle--;
                w->n_awake++;
        }
        w->n_awake--;
        w->n_alive--;
        pthread_cond_broadcast(&w->ended);
        pthread_mutex_unlock(&w->lock);
        return NULL;
}

int workers_new(uint32_t n_threads, int wake_fd, struct workers **ret_workers)
{
        struct workers *w = calloc(1, sizeof(*w) + n_threads * sizeof(pthread_t));
        sigset_t all, before;

        if (!w)
                return error_origin(-ENOMEM);
        pthread_mutex_init(&w->lock, NULL);
        pthread_cond_init(&w->work, NULL);
        pthread_cond_init(&w->ended, NULL);
        w->last = &w->first;
        w->done_last = &w->done;
        w->wake_fd = wake_fd;
        sigfillset(&all); /* signals belong to the loop */
        pthread_sigmask(SIG_BLOCK, &all, &before);
        for (uint32_t i = 0; i < n_threads; i++) {
                w->n_alive++;
                if (pthread_create(&w->threads[i], NULL, work, w)) {
                        w->n_alive--;
                        break;
                }
                pthread_detach(w->threads[i]);
        }
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (!w->n_alive) {
                free(w);
                return error_origin(-EAGAIN);
        }
        *ret_workers = w;
        return 0;
}

struct workers *workers_free(struct workers *w, int64_t wait_ms)
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
        pthread_cond_broadcast(&w->work);
        while (w->n_alive > 0 && pthread_cond_timedwait(&w->ended, &w->lock, &until) == 0)
                ;
        alive = w->n_alive > 0;
        pthread_mutex_unlock(&w->lock);
        if (!alive) /* else a plugin still runs and will come back to this memory */
                free(w);
        return NULL;
}

void workers_submit(struct workers *w, struct job *job)
{
        pthread_mutex_lock(&w->lock);
        job->next = NULL;
        *w->last = job;
        w->last = &job->next;
        __atomic_store_n(&w->n_queued, w->n_queued + 1, __ATOMIC_RELAXED);
        if (w->n_awake == w->n_running && w->n_idle > 0 && w->n_queued == 1)
                pthread_cond_signal(&w->work);
        pthread_mutex_unlock(&w->lock);
}

struct job *workers_collect(struct workers *w)
{
        struct job *done = NULL;

        if (!__atomic_load_n(&w->n_done, __ATOMIC_RELAXED) &&
            !__atomic_load_n(&w->n_queued, __ATOMIC_RELAXED))
                return NULL;
        pthread_mutex_lock(&w->lock);
        done = w->done;
        w->done = NULL;
        w->done_last = &w->done;
        __atomic_store_n(&w->n_done, 0, __ATOMIC_RELAXED);
        if (w->n_queued && w->n_idle && w->n_taken == w->n_taken_seen)
                pthread_cond_signal(&w->work);
        w->n_taken_seen = w->n_taken;
        pthread_mutex_unlock(&w->lock);
        return done;
}

bool workers_may_sleep(struct workers *w, int64_t spin_us)
{
        bool may;

        if (__atomic_load_n(&w->n_running, __ATOMIC_RELAXED) ||
            __atomic_load_n(&w->n_queued, __ATOMIC_RELAXED))
                if (spin(&w->n_done, spin_us))
                        return false;
        pthread_mutex_lock(&w->lock);
        may = !w->done;
        w->loop_sleeps = may;
        pthread_mutex_unlock(&w->lock);
        return may;
}

void workers_awake(struct workers *w)
{
        pthread_mutex_lock(&w->lock);
        w->loop_sleeps = false;
        pthread_mutex_unlock(&w->lock);
}

bool workers_backlog(struct workers *w)
{
        return __atomic_load_n(&w->n_queued, __ATOMIC_RELAXED) > 0;
}
