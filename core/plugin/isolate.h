/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plugins in a process of their own: `isolation = "process"` in the drop-in.
 *
 * The same file, not rebuilt, is opened by a helper program (prvng-plugin-host). On this side the plugin's
 * descriptor and tables are proxies and its `instance` is a struct isolated: border and engine call them as
 * they call any plugin. docs/isolation.md says more.
 *
 * A thread of this module owns the helper: it starts it (at plugin_open, and again when a call wants it),
 * reads what it prints, serves the host functions that its plugin calls outside of any call (create,
 * threads of the plugin), and notices its end. Calls are made on the caller's thread, over a channel that
 * nobody else uses meanwhile; so are the host functions that the plugin calls inside of them.
 *
 * A helper that dies, hangs past its deadline, or says what the protocol does not know costs the calls that
 * it was in: TRANSIENT with effect UNKNOWN, so that the engine observes them. It is started again at the
 * next call, after a delay that doubles; ISOLATE_CRASHES_MAX ends within ISOLATE_WINDOW_MS, and the plugin
 * is quarantined: calls are answered without it until isolate_release() or the next engine.
 *
 * What it may do is core/plugin/confine.h's: the helper enters its sandbox before it opens the plugin, and what
 * the plugin asks of host services is held against its capabilities on this side.
 */
#ifndef PRVNG_PLUGIN_ISOLATE_H
#define PRVNG_PLUGIN_ISOLATE_H

#include "plugin/plugin.h"

struct isolated;
struct op_call;

enum {
        ISOLATE_CRASHES_MAX = 5,
        ISOLATE_WINDOW_MS = 600000,
        ISOLATE_BACKOFF_MIN_MS = 100, /* doubles with each end ... */
        ISOLATE_BACKOFF_MAX_MS = 30000,
        ISOLATE_START_MS = 10000,     /* from its start to the end of create() */
        ISOLATE_GRACE_MS = 5000,      /* how long a call may go on after its deadline or cancellation */
};

/* How an isolated plugin is, for `prvng plugin list` and logs. */
struct isolate_state {
        bool running;
        pid_t pid;               /* 0 if it is not running */
        uint32_t n_starts;       /* how often it was started */
        uint32_t n_crashes;      /* how often it ended without being asked to, in this engine */
        uint32_t n_in_window;    /* of them, within the last ISOLATE_WINDOW_MS */
        bool quarantined;        /* until isolate_release() */
        int64_t next_start_ms;   /* clock_boot_ms() before which it is not started again; 0: at once */
        int64_t last_crash_wall_ms; /* 0: never */
        char last_reason[256];   /* "its process was ended by SIGSEGV in begin", or "" */
        char confinement[256];   /* what its sandbox lacks, "" if it is whole or the helper has not said */
};

/* Reads the present state; false (and zeroes) if the plugin runs inside of this process. [any] */
bool isolate_state(const struct plugin *p, struct isolate_state *ret_state);

/* The sandbox that its process is given (confine_sandbox()), or NULL. Lives as long as the plugin. [any] */
const json_t *isolate_sandbox_of(const struct plugin *p);

/* Called after each start, each end and each quarantine, on the owning thread, without locks: whoever writes
 * quarantines down does it here. One function for the process, set in [main] before plugins_load. */
typedef void (*isolate_changed_f)(void *userdata, const char *kind, const char *name,
                                  const struct isolate_state *s);
void isolate_on_change(isolate_changed_f changed, void *userdata);

/* Ends a quarantine and forgets the crashes: the next call starts the plugin again. [any] */
void isolate_release(struct plugin *p);

/* --- inside core/plugin --- */

/* Starts the helper and lets it open the plugin up to its entry. 0 with *ret_descriptor, whose functions are
 * proxies and which lives as long as p->isolated; 0 with NULL and p refused; -errno if memory is short.
 * [main] */
int isolate_start(struct plugin *p, const struct prvng_host *table,
                  const struct prvng_plugin **ret_descriptor);

/* As the descriptor's create(): makes the instance in the helper. [main] */
int32_t isolate_create(struct isolated *i, const void *config, uint64_t n_config, void **ret_instance);

/* Ends helper and thread; after destroy(), no call under way. [main] */
struct isolated *isolate_free(struct isolated *i);

/* op_call_cancel() of a call that is inside of the helper. [any] */
void isolate_cancel(struct isolated *i, const struct op_call *call);

#endif
