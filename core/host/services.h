/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of core/host: its object, and the tables that get_interface() hands out. */
#ifndef PRVNG_HOST_SERVICES_H
#define PRVNG_HOST_SERVICES_H

#include "base/strmap.h"
#include "host/call.h"
#include "host/host.h"
#include <prvng/host/http.h>
#include <prvng/host/rate.h>
#include <prvng/host/remote.h>
#include <prvng/host/spawn.h>
#include <prvng/host/workdir.h>

#include <pthread.h>

/* The table that one plugin sees; the plugin's pointer leads back here. */
struct host_table {
        struct prvng_host pub; /* first */
        struct host *host;
        char *plugin;
        int64_t rate_limit; /* -1: was not set */
        struct host_table *next;
};

struct host_provided {
        const char *id;
        const void *table;
};

struct http_loop; /* host/http.h */
struct http_tape; /* host/http-tape.h */

struct host {
        const struct config *config;
        struct host_hooks hooks;
        struct host_table core; /* for the core itself, plugin "" */
        struct host_table *tables;
        struct host_provided *provided;
        size_t n_provided;
        host_secret_f secrets; /* NULL: none */
        void *secrets_userdata;

        pthread_mutex_t intern_lock;
        struct strmap interned; /* key = the string = the value */

        pthread_mutex_t rate_lock;
        struct strmap rates; /* struct account */

        pthread_mutex_t http_lock;
        struct http_loop *http; /* NULL until the first request leaves */
        struct http_tape *http_tape;
        bool http_tape_known; /* with the first session */
};

static inline struct host_table *host_table_of(const struct prvng_host *pub)
{
        return (struct host_table *)(uintptr_t)pub;
}

extern const struct prvng_host_workdir host_workdir;
extern const struct prvng_host_http host_http;
extern const struct prvng_host_rate host_rate;
extern const struct prvng_host_remote host_remote;
extern const struct prvng_host_spawn host_spawn;

void host_log(const struct prvng_host *host, int32_t level, const char *topic, const char *message);
const char *host_intern(const struct prvng_host *host, const char *string);
void rate_deinit(struct host *h);
void http_loop_free(struct http_loop *l); /* ends what is under way, joins */
void http_tape_free(struct host *h);

/* Makes folder and all above it that are missing, mode 0700. */
int host_make_folder(const char *path);

#endif
