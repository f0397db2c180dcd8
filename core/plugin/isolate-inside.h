/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of core/plugin/isolate*.c: one isolated plugin, on the core's side. */
#ifndef PRVNG_PLUGIN_ISOLATE_INSIDE_H
#define PRVNG_PLUGIN_ISOLATE_INSIDE_H

#include "host/call.h"
#include "plugin/isolate-wire.h"
#include "plugin/isolate.h"

#include <pthread.h>

enum {
        ISOLATE_TICK_MS = 200,    /* how often a call that waits looks at its deadline */
        ISOLATE_SESSIONS_MAX = 1024,
        ISOLATE_CHANNELS_MAX = 1024,
};

enum isolate_phase {
        ISOLATE_DOWN,
        ISOLATE_STARTING, /* until OPENED came */
        ISOLATE_OPENED,   /* waits for isolate_create(), the first time only */
        ISOLATE_CREATING,
        ISOLATE_UP,
};

/* A socket to one thread of the helper. */
struct channel {
        struct wire wire;
        uint64_t generation;
        uint32_t number;
        uint32_t serial;      /* of the call */
        const char *function; /* of the call under way, else NULL; under isolated.lock */
        struct channel *next; /* that are free */
        struct channel *next_of_all;
};

/* A session of prvng.host.http/1 that the helper knows by its number. */
struct isolate_session {
        struct prvng_http_session *session; /* NULL: none */
        uint32_t users;
        bool ended; /* freed by whoever uses it last */
};

union isolate_table {
        struct prvng_op op;
        struct prvng_loader loader;
        struct prvng_template template_;
        struct prvng_secret secret;
        struct prvng_provider_precheck precheck;
        struct prvng_provider_inventory inventory;
};

enum { ISOLATE_TABLES = 16 }; /* at least wire_n_interfaces */

struct isolated {
        /* constant */
        const struct prvng_host *table;
        char *kind, *name, *path, *sha256, *program;
        struct plugin view; /* shallow: what it is, for confine.h; the list of plugins is sorted after its start */
        json_t *sandbox;
        pthread_t owner;
        int wake; /* eventfd */

        /* what the plugin presents; written before the first UP, constant afterwards */
        struct buf opened, tables_text; /* the messages, where the texts stand */
        struct prvng_plugin descriptor;
        union isolate_table tables[ISOLATE_TABLES];
        bool has_table[ISOLATE_TABLES];

        pthread_mutex_t lock;
        pthread_cond_t changed;
        enum isolate_phase phase;
        uint64_t generation;   /* counts the ends of helpers */
        bool wanted;           /* to be started */
        bool create_wanted;    /* OPENED, go on */
        bool destroy_wanted, destroyed;
        bool quit;
        bool tables_known;
        int32_t created;       /* what create() answered */
        struct buf config;
        struct buf sentence;   /* why it is not up, for isolate_start and isolate_create */
        struct buf said;       /* errors logged during entry and create */
        char *condemned;       /* why we killed it */
        char end[256];         /* how the helper of the last generation ended */
        int64_t crashes[ISOLATE_CRASHES_MAX]; /* clock_boot_ms(), a ring */
        struct isolate_state state;
        struct channel *free_channels, *all_channels;
        uint32_t n_channels;
        int pidfd;

        pthread_mutex_t control_lock; /* for writing to control */
        struct wire control;

        /* the owner's */
        struct wire outside;
        int outputs[2];
        struct buf lines[2];
        uint32_t n_lines, n_lines_lost;
        int64_t lines_since_ms;
        bool destroy_sent;

        pthread_mutex_t session_lock;
        struct isolate_session sessions[ISOLATE_SESSIONS_MAX];
};

/* --- isolate.c --- */

/* A channel for one call: 0; or the reason why there is none in *ret_why (caller frees, may be NULL) and when
 * to come again: -EAGAIN (later), -ESHUTDOWN (quarantined), -ECANCELED, -ETIMEDOUT. [any] */
int isolate_channel_take(struct isolated *i, const struct op_call *call, const char *function,
                         struct channel **ret_channel, char **ret_why, int64_t *ret_retry_ms);
void isolate_channel_give(struct isolated *i, struct channel *c);
/* After EOF or a failure on a channel: waits until its helper's end is known, ends it if need be. Writes
 * how it ended. */
void isolate_channel_lost(struct isolated *i, const struct channel *c, const char *why,
                          char *ret_end, size_t n_end);
/* Kills the helper of that generation. `why` goes on after "its process ". */
void isolate_condemn(struct isolated *i, uint64_t generation, const char *why);
/* Tells the helper that a call is cancelled. */
void isolate_tell_cancelled(struct isolated *i, uint32_t channel, uint32_t serial);

/* --- isolate-call.c --- */

/* The proxies of wire_interfaces[n], and of the descriptor. */
const void *isolate_proxies(size_t n);
int32_t isolate_self_test(void *instance, struct prvng_call *call, struct prvng_sink *report);

/* --- isolate-serve.c --- */

/* Does what a message of the helper asks, and writes the answer into `w` if there is one. `call` is NULL outside
 * of calls, `document` outside of load(). False: it is rubbish. */
bool isolate_serve(struct isolated *i, struct wire *w, struct wire_message *m, struct prvng_call *call,
                   struct prvng_document *document);
void isolate_sessions_end(struct isolated *i);

#endif
