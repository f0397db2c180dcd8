/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An isolated plugin as the rest of the core sees it: started, given channels for calls, asked how it is,
 * ended. What happens to its process stands in isolate-owner.c, on the thread that owns it.
 */
#include "plugin/isolate-inside.h"

#include "base/clock.h"
#include "host/host.h"
#include "plugin/confine.h"
#include "plugin/load.h"

#include <signal.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

static void wake(struct isolated *i)
{
        eventfd_write(i->wake, 1);
}

/* Waits for a change, at most that long. */
static void wait_changed(struct isolated *i, int64_t ms)
{
        struct timespec until;

        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += ms / 1000;
        until.tv_nsec += ms % 1000 * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        pthread_cond_timedwait(&i->changed, &i->lock, &until);
}

enum { PREPARE_WAITS_MS = 2000 };

/* --- channels --- */

static int channel_new(struct isolated *i, struct channel **ret_channel)
{
        const struct timeval tick = {.tv_usec = ISOLATE_TICK_MS * 1000};
        struct channel *c = NULL;
        int fds[2], r;

        if (i->n_channels >= ISOLATE_CHANNELS_MAX)
                return -EAGAIN;
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
                return error_origin(-errno);
        setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &tick, sizeof(tick));
        setsockopt(fds[0], SOL_SOCKET, SO_SNDTIMEO, &tick, sizeof(tick));
        c = calloc(1, sizeof(*c));
        if (!c) {
                close(fds[0]);
                close(fds[1]);
                return error_origin(-ENOMEM);
        }
        *c = (struct channel){.wire = WIRE_INIT(fds[0], WIRE_IN_MAX), .generation = i->generation,
                              .number = i->n_channels};
        c->wire.in.wipes = c->wire.out.wipes = streq(i->kind, "secret");
        pthread_mutex_lock(&i->control_lock);
        wire_begin(&i->control, WIRE_CHANNEL);
        wire_put_u32(&i->control, c->number);
        wire_end(&i->control);
        r = wire_flush_with(&i->control, fds[1]);
        pthread_mutex_unlock(&i->control_lock);
        close(fds[1]);
        if (r < 0) {
                wire_deinit(&c->wire);
                free(c);
                return r;
        }
        i->n_channels++;
        c->next_of_all = i->all_channels;
        i->all_channels = c;
        *ret_channel = c;
        return 0;
}

/* The plugin is not up. False: not now, and *ret_r says so. The engine asks begin() again; a prepare() that
 * fails fails its task, so it waits for a start that is near. */
static bool want(struct isolated *i, const struct op_call *call, const char *function, int64_t since, int *ret_r,
                 int64_t *ret_retry_ms)
{
        int64_t now = clock_boot_ms(), patience = streq(function, "prepare") ? PREPARE_WAITS_MS : 0;

        if (i->state.quarantined || i->quit) {
                *ret_r = -ESHUTDOWN;
        } else if (i->phase == ISOLATE_DOWN && now + patience < i->state.next_start_ms) {
                *ret_retry_ms = i->state.next_start_ms - now;
                *ret_r = -EAGAIN;
        } else if (call && op_call_is_cancelled(call)) {
                *ret_r = -ECANCELED;
        } else if (now - since > ISOLATE_START_MS + ISOLATE_GRACE_MS || (call && now > call->pub.deadline_ms)) {
                *ret_r = -ETIMEDOUT;
        } else {
                if (i->phase == ISOLATE_DOWN && !i->wanted && now >= i->state.next_start_ms) {
                        i->wanted = true;
                        pthread_cond_broadcast(&i->changed);
                }
                return true;
        }
        return false;
}

int isolate_channel_take(struct isolated *i, const struct op_call *call, const char *function,
                         struct channel **ret_channel, char **ret_why, int64_t *ret_retry_ms)
{
        struct channel *c = NULL;
        int64_t since = 0;
        int r = 0;

        *ret_retry_ms = -1;
        pthread_mutex_lock(&i->lock);
        while (_unlikely_(i->phase != ISOLATE_UP)) {
                since = since ?: clock_boot_ms();
                if (!want(i, call, function, since, &r, ret_retry_ms))
                        break;
                wait_changed(i, 50);
        }
        if (r == 0) {
                c = i->free_channels;
                if (_likely_(c))
                        i->free_channels = c->next;
                else
                        r = channel_new(i, &c);
        }
        if (_likely_(r == 0)) {
                c->function = function;
                c->serial++;
                *ret_channel = c;
        } else {
                *ret_why = strdup(i->end);
        }
        pthread_mutex_unlock(&i->lock);
        return r;
}

static void channel_free(struct isolated *i, struct channel *c)
{
        struct channel **at = &i->all_channels;

        while (*at && *at != c)
                at = &(*at)->next_of_all;
        if (*at)
                *at = c->next_of_all;
        wire_deinit(&c->wire);
        free(c);
}

void isolate_channel_give(struct isolated *i, struct channel *c)
{
        pthread_mutex_lock(&i->lock);
        c->function = NULL;
        if (_likely_(c->generation == i->generation)) {
                c->next = i->free_channels;
                i->free_channels = c;
        } else {
                channel_free(i, c);
        }
        pthread_mutex_unlock(&i->lock);
}

void isolate_condemn(struct isolated *i, uint64_t generation, const char *why)
{
        pthread_mutex_lock(&i->lock);
        if (i->generation == generation && i->pidfd >= 0) {
                if (!i->condemned)
                        i->condemned = strdup(why);
                pidfd_send_signal(i->pidfd, SIGKILL, NULL, 0);
        }
        pthread_mutex_unlock(&i->lock);
}

void isolate_channel_lost(struct isolated *i, const struct channel *c, const char *why, char *ret_end,
                          size_t n_end)
{
        int64_t since = clock_boot_ms();
        bool killed = false;

        pthread_mutex_lock(&i->lock);
        while (i->generation == c->generation) {
                if (!killed && clock_boot_ms() - since > 1000) {
                        pthread_mutex_unlock(&i->lock);
                        isolate_condemn(i, c->generation, why);
                        pthread_mutex_lock(&i->lock);
                        killed = true;
                        continue;
                }
                wait_changed(i, 50);
        }
        snprintf(ret_end, n_end, "%s", i->end);
        pthread_mutex_unlock(&i->lock);
}

void isolate_tell_cancelled(struct isolated *i, uint32_t channel, uint32_t serial)
{
        pthread_mutex_lock(&i->control_lock);
        if (i->control.fd >= 0) {
                wire_begin(&i->control, WIRE_CANCEL);
                wire_put_u32(&i->control, channel);
                wire_put_u32(&i->control, serial);
                wire_end(&i->control);
                wire_flush(&i->control); /* one that does not read is ended when its time is over */
        }
        pthread_mutex_unlock(&i->control_lock);
}

void isolate_cancel(struct isolated *i, const struct op_call *call)
{
        uint64_t ticket = __atomic_load_n(&call->ticket, __ATOMIC_ACQUIRE);

        isolate_tell_cancelled(i, (uint32_t)(ticket >> 32), (uint32_t)ticket);
}

/* --- how it is --- */

static int64_t n_recent(const struct isolated *i, int64_t now)
{
        int64_t n = 0;

        for (size_t k = 0; k < N_ELEMENTS(i->crashes); k++)
                n += i->crashes[k] && now - i->crashes[k] < ISOLATE_WINDOW_MS;
        return n;
}

bool isolate_state(const struct plugin *p, struct isolate_state *ret_state)
{
        struct isolated *i = p->isolated;

        *ret_state = (struct isolate_state){0};
        if (!i)
                return false;
        pthread_mutex_lock(&i->lock);
        *ret_state = i->state;
        ret_state->n_in_window = (uint32_t)n_recent(i, clock_boot_ms());
        pthread_mutex_unlock(&i->lock);
        return true;
}

const json_t *isolate_sandbox_of(const struct plugin *p)
{
        return p->isolated ? p->isolated->sandbox : NULL;
}

void isolate_release(struct plugin *p)
{
        struct isolated *i = p->isolated;

        if (!i)
                return;
        pthread_mutex_lock(&i->lock);
        memset(i->crashes, 0, sizeof(i->crashes));
        i->state.quarantined = false;
        i->state.next_start_ms = 0;
        i->state.n_in_window = 0;
        pthread_cond_broadcast(&i->changed);
        pthread_mutex_unlock(&i->lock);
}

/* --- its life --- */

static const void *proxy_get_interface(void *instance, const char *id)
{
        const struct isolated *i = instance;

        for (size_t n = 0; n < wire_n_interfaces; n++)
                if (streq(wire_interfaces[n].id, id))
                        return i->has_table[n] ? &i->tables[n] : NULL;
        return NULL;
}

/* Never called: isolate_create() is, which knows what for. */
static int32_t proxy_create(const struct prvng_host *host, const void *config, uint64_t n_config,
                            void **ret_instance)
{
        return PRVNG_INTERNAL;
}

static void proxy_destroy(void *instance)
{
        struct isolated *i = instance;
        int64_t since = clock_boot_ms();

        if (!i)
                return;
        pthread_mutex_lock(&i->lock);
        i->destroy_wanted = true;
        wake(i);
        while (!i->destroyed && i->phase == ISOLATE_UP && clock_boot_ms() - since < ISOLATE_GRACE_MS)
                wait_changed(i, 50);
        pthread_mutex_unlock(&i->lock);
}

/* The descriptor that the helper reported, with proxies where the plugin has functions. */
static void make_descriptor(struct isolated *i)
{
        struct prvng_plugin *d = &i->descriptor;
        struct wire_message m = {.at = (const uint8_t *)i->opened.data,
                                 .end = (const uint8_t *)i->opened.data + i->opened.n};
        uint32_t has;

        *d = (struct prvng_plugin){.struct_size = wire_get_u32(&m)};
        d->reserved = wire_get_u32(&m);
        d->struct_size = (uint32_t)MIN((size_t)d->struct_size, sizeof(*d));
        if (d->struct_size < PRVNG_PLUGIN_BASELINE)
                return;
        d->abi_minor = wire_get_u32(&m);
        d->min_host_minor = wire_get_u32(&m);
        d->id = wire_get_text(&m);
        d->name = wire_get_text(&m);
        d->kind = wire_get_text(&m);
        d->version = wire_get_text(&m);
        d->description = wire_get_text(&m);
        d->licence = wire_get_text(&m);
        d->threads = wire_get_u32(&m);
        d->flags = wire_get_u32(&m);
        d->settle_ms = wire_get_i64(&m);
        d->dependencies = wire_get_text(&m);
        has = wire_get_u32(&m);
        if (!wire_done(&m)) {
                d->struct_size = 0;
                return;
        }
        d->create = has & WIRE_HAS_CREATE ? proxy_create : NULL;
        d->destroy = has & WIRE_HAS_DESTROY ? proxy_destroy : NULL;
        d->get_interface = has & WIRE_HAS_GET_INTERFACE ? proxy_get_interface : NULL;
        d->self_test = has & WIRE_HAS_SELF_TEST ? isolate_self_test : NULL;
}

static int copy_text(char **ret, const char *text)
{
        *ret = strdup(text ? text : "");
        return *ret ? 0 : error_origin(-ENOMEM);
}

static void sync_init(struct isolated *i)
{
        pthread_condattr_t attr;

        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&i->changed, &attr);
        pthread_condattr_destroy(&attr);
        pthread_mutex_init(&i->lock, NULL);
        pthread_mutex_init(&i->control_lock, NULL);
        pthread_mutex_init(&i->session_lock, NULL);
}

/* Without its thread. */
static struct isolated *free_parts(struct isolated *i)
{
        isolate_sessions_end(i);
        while (i->all_channels)
                channel_free(i, i->all_channels);
        wire_deinit(&i->control);
        wire_deinit(&i->outside);
        cleanup_close(&i->wake);
        buf_deinit(&i->opened);
        buf_deinit(&i->tables_text);
        buf_deinit(&i->config);
        buf_deinit(&i->sentence);
        buf_deinit(&i->said);
        buf_deinit(&i->lines[0]);
        buf_deinit(&i->lines[1]);
        free(i->condemned);
        free(i->kind);
        free(i->name);
        free(i->path);
        free(i->sha256);
        free(i->program);
        json_decref(i->sandbox);
        pthread_cond_destroy(&i->changed);
        pthread_mutex_destroy(&i->lock);
        pthread_mutex_destroy(&i->control_lock);
        pthread_mutex_destroy(&i->session_lock);
        free(i);
        return NULL;
}

DEFINE_CLEANUP(struct isolated *, free_parts)

static int isolated_new(struct plugin *p, const struct prvng_host *table, struct isolated **ret_isolated)
{
        _cleanup_(cleanup_free_parts) struct isolated *i = calloc(1, sizeof(*i));
        int r;

        if (!i)
                return error_origin(-ENOMEM);
        i->table = table;
        i->control = i->outside = WIRE_INIT(-1, WIRE_IN_MAX);
        i->view = *p;
        i->pidfd = i->outputs[0] = i->outputs[1] = i->wake = -1;
        sync_init(i);
        r = copy_text(&i->kind, p->kind);
        r = r ?: copy_text(&i->name, p->name);
        r = r ?: copy_text(&i->path, p->path);
        r = r ?: copy_text(&i->sha256, p->sha256);
        if (r == 0 && asprintf(&i->program, "%s/prvng-plugin-host", host_config(p->host)->libexec) < 0) {
                i->program = NULL;
                r = -ENOMEM;
        }
        r = r ?: confine_sandbox(p, &i->sandbox);
        if (r < 0)
                return error_fold(r);
        i->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (i->wake < 0)
                return error_origin(-errno);
        *ret_isolated = steal(&i);
        return 0;
}

void *isolate_own(void *isolated); /* isolate-owner.c */

static int start_owner(struct isolated *i)
{
        sigset_t all, before;
        int r;

        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        r = pthread_create(&i->owner, NULL, isolate_own, i);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        return r ? error_origin(-r) : 0;
}

int isolate_start(struct plugin *p, const struct prvng_host *table, const struct prvng_plugin **ret_descriptor)
{
        _cleanup_(cleanup_free_parts) struct isolated *i = NULL;
        int r = isolated_new(p, table, &i);

        *ret_descriptor = NULL;
        if (r == 0)
                r = start_owner(i);
        if (r < 0)
                return error_fold(r);
        p->isolated = i;
        pthread_mutex_lock(&i->lock);
        i->wanted = true;
        pthread_cond_broadcast(&i->changed);
        while (i->wanted || i->phase == ISOLATE_STARTING)
                wait_changed(i, 1000);
        if (i->phase == ISOLATE_OPENED) {
                make_descriptor(i);
                *ret_descriptor = &i->descriptor;
        } else {
                plugin_refuse(p, "%s", i->sentence.n ? buf_str(&i->sentence) : i->end);
        }
        pthread_mutex_unlock(&i->lock);
        i = NULL; /* the plugin's */
        return 0;
}

int32_t isolate_create(struct isolated *i, const void *config, uint64_t n_config, void **ret_instance)
{
        int32_t answer;

        pthread_mutex_lock(&i->lock);
        buf_append(&i->config, config, n_config);
        buf_clear(&i->sentence);
        i->create_wanted = true;
        wake(i);
        while (i->phase == ISOLATE_OPENED || i->phase == ISOLATE_CREATING)
                wait_changed(i, 1000);
        answer = i->phase == ISOLATE_UP ? PRVNG_DONE : i->created < 0 ? i->created : PRVNG_INTERNAL;
        if (answer != PRVNG_DONE)
                i->table->log(i->table, PRVNG_LOG_ERROR, "create",
                              i->sentence.n ? buf_str(&i->sentence) : i->end);
        else
                *ret_instance = i;
        pthread_mutex_unlock(&i->lock);
        return answer;
}

struct isolated *isolate_free(struct isolated *i)
{
        if (!i)
                return NULL;
        pthread_mutex_lock(&i->lock);
        i->quit = true;
        wake(i);
        pthread_cond_broadcast(&i->changed);
        pthread_mutex_unlock(&i->lock);
        pthread_join(i->owner, NULL);
        return free_parts(i);
}
