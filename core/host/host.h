/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Services given to plugins: the host table of prvng/host.h and the interfaces behind
 * get_interface(). Made once in [main], lives as long as the process.
 */
#ifndef PRVNG_HOST_HOST_H
#define PRVNG_HOST_HOST_H

#include "base/buf.h"
#include "config/config.h"
#include <prvng/host.h>

struct host;

/* A line of a plugin's log; `run` and `task` are "" outside a call. [any] */
typedef void (*host_log_f)(void *userdata, int32_t level, const char *plugin, const char *topic,
                           const char *run, const char *task, const char *message);

/* New output of a task's job in a server: appended to the task's log. [any] */
typedef void (*host_output_f)(void *userdata, const char *run, const char *task, const void *data,
                              size_t n_data);

struct host_hooks {
        host_log_f log;       /* NULL: warnings and errors go to stderr */
        host_output_f output; /* NULL: appended to STATE/runs/RUN/TASK/output.log with '/' in the
                               * task id written as ':' */
        void *userdata;
};

int host_new(const struct config *config, const struct host_hooks *hooks, struct host **ret_host);
struct host *host_free(struct host *h);
const struct prvng_host *host_table(struct host *h);

/* The table handed to that plugin: as host_table(), and its log lines carry the plugin's name. Lives as
 * long as the host; NULL: out of memory. [main] */
const struct prvng_host *host_table_for(struct host *h, const char *plugin);

/* Requests a second that may leave for one account of the plugin with that table: what its drop-in says,
 * else what it declares; 0: no limit. Set before the plugin's create(). [main]; read by [any] */
void host_set_rate_limit(const struct prvng_host *table, uint32_t requests_per_second);
uint32_t host_rate_limit(const struct prvng_host *table);

/* The same for the plugin's name. Of one that the host does not know, or of which nothing was set:
 * `otherwise`. [any] */
uint32_t host_rate_limit_of(const struct host *h, const char *plugin, uint32_t otherwise);

const struct config *host_config(const struct host *h);

/* Output of a task's job, for prvng.host.remote/1 and prvng.host.spawn/1: to the hook, else to the
 * task's file. [any] */
void host_output(struct host *h, const char *run, const char *task, const void *data, size_t n_data);

/* Log lines with PRVNG_LOG_ERROR that this thread's plugin code writes from now on go into `sentences`
 * instead of the log: why it refused to start. NULL ends that. */
void host_capture_errors(struct buf *sentences);

/* Adds an interface to what get_interface() finds, before any plugin is loaded. For tables that live in
 * modules above this one (the document builder). */
int host_provide(struct host *h, const char *id, const void *table);

/* Looks up {"secret": REFERENCE} of HTTP sessions, for a call that is under way: DONE and the value, or a
 * negative class with a sentence in `why`. Any thread; of modules above this one (core/plugin/secret.c). */
struct locked;
struct op_call;
typedef int32_t (*host_secret_f)(void *userdata, struct op_call *call, const char *reference,
                                 struct locked *ret_value, struct buf *why);

/* [main], before any call; NULL: nobody does. */
void host_set_secrets(struct host *h, host_secret_f resolve, void *userdata);

/* libcurl's own beginning, once in the process and without an end: for all that uses libcurl. Its memory is
 * wiped when freed. 0, or -ENOMEM. [any]: libcurl's initialisation knows threads since 7.84 */
int http_library_init(void);

/* STATE/runs/RUN[/TASK], made if need be; task ids as in host_output_f. Caller frees. */
char *host_run_folder(const struct config *config, const char *run, const char *task);

static inline void cleanup_host(struct host **h)
{
        host_free(*h);
}

#endif
