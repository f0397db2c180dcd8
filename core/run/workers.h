/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool of threads that make plugin calls, which may block; the loop never does.
 *
 * Waking a thread costs more than a quick call (tens of microseconds on a virtual machine), so workers
 * are woken sparingly: one when there is work and none is awake, one more whenever the loop looks and
 * finds that nothing was taken from the queue since it looked last. A worker that runs dry spins for
 * some microseconds before it sleeps, and so does the loop. While the loop waits for the disk, it lets
 * a worker wake up for the calls that will leave afterwards, unless the machine is busy: a worker that is put
 * aside while it only waits tells.
 */
#ifndef PRVNG_RUN_WORKERS_H
#define PRVNG_RUN_WORKERS_H

#include "base/uid.h"
#include "plugin/border.h"

struct workers;
struct engine_process;

/* One call: made by the loop, done by a worker, given back. The loop may cancel it meanwhile. */
struct job {
        struct job *next;
        void (*run)(struct job *job); /* [worker] */
        void *owner;
        void (*answered)(struct engine_process *p, struct job *job); /* [loop] NULL: the owner is a flight */
        int kind;
        struct op_call call;
        struct op_reply reply;
        struct uid run_id, request_id;
        char op_id[UID_TEXT]; /* text of request_id; "" if it is no request */
        char trace[56]; /* W3C traceparent: the run is the trace, the request the span */
        const char *verb;
        const void *request;
        size_t n_request;
        const void *token;
        size_t n_token;
};

/* `wake_fd` (an eventfd of the loop) is written to when a job is done and the loop sleeps. */
int workers_new(uint32_t n_threads, int wake_fd, struct workers **ret_workers);

/* Waits until the jobs that are being run return, at most that long. If one does not, `w` is returned:
 * the job is left to the end of the process. *ret_left: the jobs that nobody began or collected. */
struct workers *workers_free(struct workers *w, int64_t wait_ms, struct job **ret_left);

/* Queues a list of jobs, linked by `next`. */
void workers_submit(struct workers *w, struct job *first);

/* Jobs will be queued in about that time, when a commit returns. If that is soon, a worker that sleeps
 * wakes up meanwhile and stays awake for them: the wake-up costs no time after the commit. [loop] */
void workers_expect(struct workers *w, int64_t us);

/* Takes a job that no worker has begun out of the queue: it counts as done, its reply is the caller's
 * to fill before the next workers_collect. False: a worker has it. [loop] */
bool workers_withdraw(struct workers *w, struct job *job);

/* The jobs that are done, about oldest first; NULL: none. Wakes another worker if the queue stands
 * still. */
struct job *workers_collect(struct workers *w);

/* True if another answer comes very soon, and before that time (clock_tick_us()). [loop] */
bool workers_linger(struct workers *w, int64_t until_us);

/* The loop is about to sleep: false if there is something to collect (do not sleep then). Spins for
 * up to `spin_us` first if work is under way. */
bool workers_may_sleep(struct workers *w, int64_t spin_us);
void workers_awake(struct workers *w);

bool workers_backlog(struct workers *w); /* something waits in the queue, and a worker sleeps */

#endif
