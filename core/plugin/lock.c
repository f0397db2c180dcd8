/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call at a time. Not a bare mutex, because a call that waits for its turn must still be
 * cancellable: a plugin that hangs must not take the calls behind it along.
 */
#include "plugin/lock.h"

#include "base/clock.h"
#include <prvng/plugin.h>

#include <pthread.h>
#include <time.h>

enum { LOOK_MS = 50 }; /* how often a waiting call looks whether it was cancelled */

struct plugin_lock {
        pthread_mutex_t mutex;
        pthread_cond_t free;
        bool taken;
        const void *handle; /* SERIAL_PROCESS */
        unsigned int n_users;
        struct plugin_lock *next;
};

static struct plugin_lock *shared; /* of SERIAL_PROCESS; [main] only */

static struct plugin_lock *make(const void *handle)
{
        struct plugin_lock *l = calloc(1, sizeof(*l));
        pthread_condattr_t attr;

        if (!l)
                return NULL;
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&l->free, &attr);
        pthread_condattr_destroy(&attr);
        pthread_mutex_init(&l->mutex, NULL);
        l->handle = handle;
        l->n_users = 1;
        return l;
}

int plugin_lock_new(uint32_t threads, const void *handle, struct plugin_lock **ret_lock)
{
        bool process = threads == PRVNG_THREADS_SERIAL_PROCESS;
        struct plugin_lock *l = process ? shared : NULL;

        if (threads == PRVNG_THREADS_PARALLEL) {
                *ret_lock = NULL;
                return 0;
        }
        while (l && l->handle != handle)
                l = l->next;
        if (l) {
                l->n_users++;
        } else {
                l = make(handle);
                if (!l)
                        return error_origin(-ENOMEM);
                if (process) {
                        l->next = shared;
                        shared = l;
                }
        }
        *ret_lock = l;
        return 0;
}

struct plugin_lock *plugin_lock_free(struct plugin_lock *l)
{
        if (!l || --l->n_users > 0)
                return NULL;
        for (struct plugin_lock **p = &shared; *p; p = &(*p)->next) {
                if (*p == l) {
                        *p = l->next;
                        break;
                }
        }
        pthread_cond_destroy(&l->free);
        pthread_mutex_destroy(&l->mutex);
        free(l);
        return NULL;
}

int plugin_lock_enter(struct plugin_lock *l, const struct op_call *call)
{
        struct timespec until;
        int r = 0;

        if (!l)
                return 0;
        pthread_mutex_lock(&l->mutex);
        while (l->taken && r == 0) {
                if (op_call_is_cancelled(call)) {
                        r = -ECANCELED;
                } else if (clock_boot_ms() >= call->pub.deadline_ms) {
                        r = -ETIMEDOUT;
                } else {
                        clock_gettime(CLOCK_MONOTONIC, &until);
                        until.tv_nsec += LOOK_MS * 1000000L;
                        until.tv_sec += until.tv_nsec / 1000000000L;
                        until.tv_nsec %= 1000000000L;
                        pthread_cond_timedwait(&l->free, &l->mutex, &until);
                }
        }
        if (r == 0)
                l->taken = true;
        pthread_mutex_unlock(&l->mutex);
        return r;
}

void plugin_lock_leave(struct plugin_lock *l)
{
        if (!l)
                return;
        pthread_mutex_lock(&l->mutex);
        assert(l->taken);
        l->taken = false;
        pthread_cond_signal(&l->free);
        pthread_mutex_unlock(&l->mutex);
}
