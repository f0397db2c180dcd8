/* SPDX-License-Identifier: Apache-2.0 */
/* What jobs on this machine (spawn.c) and jobs in servers (remote.c) share. */
#ifndef PRVNG_HOST_JOB_H
#define PRVNG_HOST_JOB_H

#include "host/services.h"
#include <prvng/host/remote.h>

#define JOB_OUTPUT_MAX 262144u /* bytes of output that one job_status() hands out */

static inline const struct config *call_config(struct prvng_call *call)
{
        return host_config(op_call_of(call)->host);
}

static inline int call_cancel_fd(struct prvng_call *call)
{
        return host_table(op_call_of(call)->host)->cancel_fd(call);
}

/* Appends to a sink; a NULL sink takes everything. DONE or INTERNAL, with the error said. [any] */
int32_t job_write(struct prvng_call *call, struct prvng_sink *sink, const void *data,
                  size_t n_data);

/* True if `name` may name a job: it becomes a folder and part of a unit's name. */
bool job_name_ok(const char *name);

/*
 * The job's output from `offset` on was read: what of it is not in the task's log yet goes there.
 * `id` tells starts of one job name apart (a job may be forgotten and started again). How far the
 * log is stands in a file of the run's folder, so that an engine that starts again repeats at most
 * what was logged last. Without a run or task nothing is done. Failures cost log lines, never the
 * call. [any], not for one job at once.
 */
void job_log(struct prvng_call *call, const char *job, const char *id, uint64_t offset,
             const void *data, size_t n_data);

#endif
