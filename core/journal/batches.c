/* SPDX-License-Identifier: Apache-2.0 */
#include "journal/batches.h"

#include <sched.h>
#include <signal.h>

#define THREAD_MIN (1u << 20)   /* bytes, from which a thread is worth it */
#define TELL       (256u << 10) /* bytes, after which who waits is told of what was found */

/* The seal that closes the batch at `p`. Counts the lines before it. */
static bool find_seal(const char *p, const char *end, struct batch *ret_batch)
{
        struct batch b = {.lines = p};

        for (const char *nl; p < end && (nl = memchr(p, '\n', (size_t)(end - p))); p = nl + 1) {
                if (nl - p <= 8 || memcmp(p, "{\"seal\":", 8) != 0) {
                        b.n_lines++;
                        continue;
                }
                b.line = p;
                b.end = nl + 1;
                if (!seal_read(p, (size_t)(nl - p), &b.seal))
                        return false;
                *ret_batch = b;
                return true;
        }
        return false;
}

/* The next batch whose seal holds in itself: it names the digest before it. 0, BATCHES_E_END, -errno. */
static int look(struct batches *b, struct batch *ret_batch)
{
        struct batch batch;
        uint8_t digest[32];
        int q;

        if (!find_seal(b->p, b->end, &batch))
                return BATCHES_E_END;
        q = seal_digest(batch.seal.after, b->salt, b->segment, batch.seal.number, batch.lines,
                        (size_t)(batch.line - batch.lines), digest);
        if (q)
                return error_fold(q);
        if (memcmp(digest, batch.seal.digest, 32) != 0)
                return BATCHES_E_END;
        b->p = batch.end;
        *ret_batch = batch;
        return 0;
}

static int add(struct batches *b, const struct batch *batch)
{
        if (b->n == b->cap) {
                size_t cap = b->cap ? b->cap * 2 : 64;
                struct batch *list = realloc(b->list, cap * sizeof(*list));

                if (!list)
                        return error_origin(-ENOMEM);
                b->list = list;
                b->cap = cap;
        }
        b->list[b->n++] = *batch;
        return 0;
}

static void *run(void *argument)
{
        struct batches *b = argument;
        const char *told = b->p;
        struct batch batch;
        bool goes_on = true;

        while (goes_on) {
                int q = look(b, &batch);

                pthread_mutex_lock(&b->lock);
                if (q == 0)
                        q = add(b, &batch);
                b->error = q < 0 ? q : 0;
                b->ended = q != 0;
                goes_on = q == 0 && !b->stop;
                if (!goes_on || b->p - told >= (ptrdiff_t)TELL) {
                        pthread_cond_signal(&b->changed);
                        told = b->p;
                }
                pthread_mutex_unlock(&b->lock);
        }
        return NULL;
}

static bool several_cpus(void)
{
        cpu_set_t cpus;

        return sched_getaffinity(0, sizeof(cpus), &cpus) == 0 && CPU_COUNT(&cpus) > 1;
}

void batches_begin(struct batches *b, const uint8_t salt[16], uint32_t segment, const char *data,
                   size_t n)
{
        sigset_t all, before;

        *b = (struct batches){.p = data, .end = data + n, .segment = segment,
                              .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
        memcpy(b->salt, salt, sizeof(b->salt));
        if (n < THREAD_MIN || !several_cpus())
                return;
        sigfillset(&all); /* signals are for those who expect them */
        pthread_sigmask(SIG_BLOCK, &all, &before);
        b->threaded = pthread_create(&b->thread, NULL, run, b) == 0;
        pthread_sigmask(SIG_SETMASK, &before, NULL);
}

int batches_next(struct batches *b, struct batch *ret_batch)
{
        int q = 0;

        if (!b->threaded)
                return look(b, ret_batch);
        pthread_mutex_lock(&b->lock);
        while (b->taken == b->n && !b->ended)
                pthread_cond_wait(&b->changed, &b->lock);
        if (b->taken < b->n)
                *ret_batch = b->list[b->taken++];
        else
                q = b->error ? b->error : BATCHES_E_END;
        pthread_mutex_unlock(&b->lock);
        return q;
}

void batches_end(struct batches *b)
{
        if (b->threaded) {
                pthread_mutex_lock(&b->lock);
                b->stop = true;
                pthread_mutex_unlock(&b->lock);
                pthread_join(b->thread, NULL);
        }
        free(b->list);
        b->list = NULL;
}
