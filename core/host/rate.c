/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng.host.rate/1: at most so many requests a second leave for an account.
 *
 * A token bucket of one token, that is, requests leave evenly spaced: any deeper bucket would let
 * more than the limit leave within one second after a pause. Each waiter takes the next free slot,
 * so they go in the order in which they came. After back_off() the slots taken before it are void:
 * their waiters, as they wake, see a new generation and queue again.
 *
 * The limit is the one that the site's drop-in gives the plugin, where it gives one; else what the
 * plugin's dependencies declare; a plugin without a table asks for its own.
 *
 * back_off() halves the rate, at most once a second, since all calls in flight hear of one overload
 * at once; the rate recovers by 1/60 of its full value a second.
 */
#include "host/services.h"

#include <prvng/prvng.h>

#include <poll.h>
#include <time.h>

#define NS_PER_S INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)
#define RATE_RECOVERY 60 /* seconds from nothing to full */
#define RATE_LEAST 64    /* the rate never falls below its full value by more than this factor */

struct account {
        char *key; /* plugin and account */
        double full;
        double rate;         /* requests per second now */
        int64_t next_ns;     /* first free slot */
        int64_t changed_ns;  /* when `rate` was last computed */
        int64_t halved_ns;
        uint64_t generation; /* counts the back-offs */
};

static int64_t now_ns(void)
{
        struct timespec ts;

        clock_gettime(CLOCK_BOOTTIME, &ts);
        return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

/* Called with the lock; NULL: out of memory. */
static struct account *find(struct host *h, const char *plugin, const char *name)
{
        _cleanup_(cleanup_free) char *key = NULL;
        struct strmap_entry *e;
        struct account *a;
        size_t n;

        if (asprintf(&key, "%s/%s", plugin, name) < 0)
                return key = NULL, NULL;
        n = strlen(key);
        e = strmap_find(&h->rates, key, n);
        if (e)
                return e->value.pointer;
        a = calloc(1, sizeof(*a));
        e = a ? strmap_add(&h->rates, key, n) : NULL;
        if (!e)
                return free(a), NULL;
        a->key = steal(&key);
        e->key = a->key;
        e->value.pointer = a;
        a->changed_ns = a->halved_ns = INT64_MIN / 2;
        return a;
}

static void recover(struct account *a, double full, int64_t now)
{
        if (a->full != full) { /* first use, or the declaration changed */
                a->rate = a->full > 0 ? a->rate * full / a->full : full;
                a->full = full;
        } else if (now > a->changed_ns) {
                a->rate += full * ((double)(now - a->changed_ns) / NS_PER_S) / RATE_RECOVERY;
        }
        a->rate = MIN(a->rate, full);
        a->changed_ns = MAX(a->changed_ns, now);
}

/* Sleeps until then; false if the call was cancelled. */
static bool sleep_until(struct prvng_call *call, const struct prvng_host *host, int64_t until)
{
        struct pollfd fd = {.fd = -1, .events = POLLIN};

        for (;;) {
                int64_t left = until - now_ns();
                struct timespec ts = {left / NS_PER_S, left % NS_PER_S};

                if (host->is_cancelled(call))
                        return false;
                if (left <= 0)
                        return true;
                if (fd.fd < 0)
                        fd.fd = host->cancel_fd(call);
                if (fd.fd < 0) /* no descriptors left: look at the flag now and then */
                        ts = (struct timespec){0, MIN(left, 50 * NS_PER_MS)};
                ppoll(&fd, 1, &ts, NULL);
        }
}

static int32_t rate_acquire(struct prvng_call *pub, const char *name, uint32_t requests_per_second)
{
        struct op_call *call = op_call_of(pub);
        struct host *h = call->host;
        double full = host_rate_limit_of(h, call->plugin_name, requests_per_second);
        int64_t deadline = pub->deadline_ms > INT64_MAX / NS_PER_MS ? INT64_MAX
                                                                    : pub->deadline_ms * NS_PER_MS;

        name = name ? name : "";
        for (;;) {
                int64_t now = now_ns(), slot;
                uint64_t generation;
                struct account *a;
                bool late = false;

                pthread_mutex_lock(&h->rate_lock);
                a = find(h, call->plugin_name, name);
                if (!a) {
                        pthread_mutex_unlock(&h->rate_lock);
                        return op_call_fail(pub, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, ENOMEM,
                                            "no memory for the rate limit of \"%s\"", name);
                }
                if (full > 0)
                        recover(a, full, now);
                slot = MAX(a->next_ns, now);
                generation = a->generation;
                late = slot > deadline;
                if (!late && full > 0) /* 0: no limit of its own, but back-offs count */
                        a->next_ns = slot + (int64_t)((double)NS_PER_S / a->rate);
                pthread_mutex_unlock(&h->rate_lock);

                if (late)
                        return op_call_fail(pub, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, ETIMEDOUT,
                                            "the rate limit of account \"%s\" leaves no request "
                                            "before the deadline", name);
                if (!sleep_until(pub, &h->core.pub, slot))
                        return op_call_fail(pub, PRVNG_CANCELLED, PRVNG_EFFECT_NONE, ECANCELED,
                                            "cancelled while waiting for the rate limit of "
                                            "account \"%s\"", name);
                pthread_mutex_lock(&h->rate_lock);
                generation -= a->generation;
                pthread_mutex_unlock(&h->rate_lock);
                if (generation == 0)
                        return PRVNG_DONE;
        }
}

static void rate_back_off(struct prvng_call *pub, const char *name, int64_t retry_after_ms)
{
        struct op_call *call = op_call_of(pub);
        struct host *h = call->host;
        int64_t now = now_ns();
        struct account *a;

        retry_after_ms = MIN(MAX(retry_after_ms, (int64_t)0), (int64_t)86400000);
        pthread_mutex_lock(&h->rate_lock);
        a = find(h, call->plugin_name, name ? name : "");
        if (a) {
                if (a->full > 0 && now - a->halved_ns >= NS_PER_S) {
                        recover(a, a->full, now);
                        a->rate = MAX(a->rate / 2, a->full / RATE_LEAST);
                        a->halved_ns = now;
                }
                /* Recovery starts when the pause ends; of two pauses the longer counts. */
                a->changed_ns = MAX(a->changed_ns, now + retry_after_ms * NS_PER_MS);
                a->next_ns = a->changed_ns;
                if (a->full > 0)
                        a->next_ns = MAX(a->next_ns, now + (int64_t)((double)NS_PER_S / a->rate));
                a->generation++;
        }
        pthread_mutex_unlock(&h->rate_lock);
}

void rate_deinit(struct host *h)
{
        strmap_foreach (e, &h->rates) {
                struct account *a = e->value.pointer;

                free(a->key);
                free(a);
        }
        strmap_deinit(&h->rates);
}

const struct prvng_host_rate host_rate = {
        .struct_size = sizeof(struct prvng_host_rate),
        .acquire = rate_acquire,
        .back_off = rate_back_off,
};
