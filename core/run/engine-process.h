/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine as a process (or as threads of `prvng batch submit --foreground`): the loop thread owns
 * store, fold and engine; workers make the plugin calls; the HTTP thread (daemon/http.c) posts requests
 * and gets told what happened.
 */
#ifndef PRVNG_RUN_ENGINE_PROCESS_H
#define PRVNG_RUN_ENGINE_PROCESS_H

#include "run/site.h"

struct engine_process;

struct engine_process_hooks {
        /* [loop] A durable record of a run's stream, as its line (with newline), in order. */
        void (*on_record)(void *userdata, const char *run, uint64_t seq, const char *line,
                          size_t n_line);
        /* [any] Progress that is not journaled. */
        void (*on_progress)(void *userdata, const char *run, const char *task, uint32_t permille,
                            const char *message);
        /* [loop] The answer to a posted request. `body` is valid during the call. */
        void (*on_answer)(void *userdata, void *request, int status, const char *body,
                          size_t n_body);
        /* [loop], also while it starts: something that the operator should know. */
        void (*on_notice)(void *userdata, const char *message);
        void *userdata;
};

/* Opens the store for writing, replays, and goes on with every run in flight. Returns 0, or the exit
 * code 7 with *ret_message saying why (store in use: by which pid on which host; damage: where).
 * The hooks are called from engine_process_run on. */
int engine_process_new(const struct context *c, const struct engine_process_hooks *hooks,
                       struct engine_process **ret_process, char **ret_message);

/* Runs the loop until stopped. idle_s > 0: also ends when there was nothing in flight and no
 * engine_process_busy() for that long. Returns 0, or 7 with *ret_message (disk full, failed sync). */
int engine_process_run(struct engine_process *p, uint32_t idle_s, char **ret_message);

/* [any] Asks the loop to end; what is in flight is picked up at the next start. */
void engine_process_stop(struct engine_process *p);

/* [any] Asks the loop to end once no plugin has a call any more, and to start none until then: nothing
 * comes to be in doubt. A call that does not come back within a minute is left behind, as at the end. */
void engine_process_drain(struct engine_process *p);

/* [any] Somebody is connected: +1, -1. Keeps an engine started on demand alive. */
void engine_process_busy(struct engine_process *p, int delta);

/* [any] Posts a request of docs/http-api.md; method "GET" or "POST"; all strings are copied. Answered
 * once through on_answer, after what it changed is durable. The event stream and log following are
 * the HTTP thread's business: GET /workflows/{id}/events?from=N&follow=0 answers the lines so far (as
 * JSON lines), and on_record gives what comes behind. */
int engine_process_post(struct engine_process *p, void *request, const char *method,
                        const char *path, const void *body, size_t n_body);

/* After the loop has ended: waits for the calls that plugins still have. False: one did not come back
 * in time. It may use its request, the hooks, the plugins and the host for ever, so nothing of them may
 * be released any more; what is left to do is _exit(). */
bool engine_process_end_calls(struct engine_process *p);

/* NULL; or `p` as it was, if a call did not come back. */
struct engine_process *engine_process_free(struct engine_process *p);

#endif
