/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon.h"

#include "http.h"

struct daemon {
        struct http *http;
        struct engine_process *process;
};

static void notice(void *userdata, const char *message)
{
        fprintf(stderr, "prvng: %s\n", message);
}

int daemon_new(const struct context *c, struct daemon **ret_daemon, char **ret_message)
{
        struct daemon *d = calloc(1, sizeof(*d));
        struct engine_process_hooks hooks;
        int r = 7;

        *ret_message = NULL;
        if (!d || http_new(c->config, &d->http) < 0)
                goto failed;
        if (c->config->store_notice)
                notice(NULL, c->config->store_notice);
        http_hooks(d->http, &hooks);
        hooks.on_notice = notice;
        r = engine_process_new(c, &hooks, &d->process, ret_message);
        if (r != 0)
                goto failed;
        r = 7;
        if (http_start(d->http, d->process, ret_message) < 0)
                goto failed;
        *ret_daemon = d;
        return 0;

failed:
        if (!*ret_message)
                *ret_message = strdup("out of memory");
        daemon_free(d);
        return r;
}

int daemon_run(struct daemon *d, uint32_t idle_s, char **ret_message)
{
        *ret_message = NULL;
        return engine_process_run(d->process, idle_s, ret_message);
}

void daemon_stop(struct daemon *d)
{
        engine_process_stop(d->process);
}

void daemon_drain(struct daemon *d)
{
        engine_process_drain(d->process);
}

struct daemon *daemon_free(struct daemon *d)
{
        if (!d)
                return NULL;
        /* Calls report their progress to the HTTP thread until they end. */
        if (d->process && !engine_process_end_calls(d->process))
                return d;
        /* The socket goes first, while the store's lock is held: the next engine's is not removed. */
        http_free(d->http);
        engine_process_free(d->process);
        free(d);
        return NULL;
}
