/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng.host.remote/1: reaching a server. The provider says how ("reach" in the server's result);
 * taskservs use it and never know which provider they stand on.
 *
 * "reach" is a JSON object:
 *      {"method": "exec", "argv": ["/usr/libexec/prvng/enter", "web-0", "--"]}
 *              argv followed by a command runs that command in the server, with stdin, stdout and
 *              stderr connected and the exit code passed on (255: the server could not be reached)
 *      {"method": "ssh", "host", "port", "user", "key": "<secret reference>", "host_key"}
 *
 * A job is a command that outlives us on purpose: it is named by an op id, runs under the server's
 * own service manager (a transient systemd unit, else a wrapper with a status file), and is found
 * again by that name after a crash of the engine. Starting a job that exists does not start a second
 * one. Its output is kept in the server, and by the core in the task's log as it is read.
 *
 * `server` is always the server's result as found in the task's inputs (JSON bytes).
 * A server that cannot be reached gives TRANSIENT with effect UNKNOWN (start) or NONE (all others).
 */
#ifndef PRVNG_HOST_REMOTE_H
#define PRVNG_HOST_REMOTE_H

#include <prvng/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PRVNG_HOST_REMOTE "prvng.host.remote/1"

#define PRVNG_JOB_UNKNOWN 0u /* no trace of it in the server */
#define PRVNG_JOB_RUNNING 1u
#define PRVNG_JOB_EXITED  2u /* exit_code is set */
#define PRVNG_JOB_KILLED  3u /* ended by a signal, a limit or a restart of the server */

struct prvng_job_status {
        uint32_t struct_size;
        uint32_t reserved;
        uint32_t state;         /* PRVNG_JOB_* */
        int32_t exit_code;      /* with EXITED; with KILLED the signal, 0 if unknown */
        uint64_t output_offset; /* where reading should go on: behind what this call handed out */
        /* members above: 1.0 */
};
#define PRVNG_JOB_STATUS_BASELINE PRVNG_SIZE_UP_TO(struct prvng_job_status, output_offset)

/* All functions [any]; they block until done, the call's deadline or its cancellation. */
struct prvng_host_remote {
        uint32_t struct_size;
        uint32_t reserved;

        /* Runs a short command and waits for it. `argv` ends with NULL. stdin gets `input`. stdout
         * goes to `output` and stderr to `errors` (either may be NULL: thrown away; at most 1 MiB
         * each is kept). DONE and the exit code, whatever it is. */
        int32_t (*run)(struct prvng_call *call, const void *server, uint64_t n_server,
                       const char *const *argv, const void *input, uint64_t n_input,
                       struct prvng_sink *output, struct prvng_sink *errors,
                       int32_t *ret_exit_code);

        /* Starts a shell script (run by /bin/sh -e) as the job named `job`: call->op_id, optionally
         * with ".<step>". DONE also if it is there already. */
        int32_t (*job_start)(struct prvng_call *call, const void *server, uint64_t n_server,
                             const char *job, const void *script, uint64_t n_script);

        /* How the job is. Output from `offset` on goes to `output` (may be NULL) and to the task's
         * log; at most 256 KiB a call. Sets ret_status->output_offset to where reading should go on. */
        int32_t (*job_status)(struct prvng_call *call, const void *server, uint64_t n_server,
                              const char *job, uint64_t offset, struct prvng_sink *output,
                              struct prvng_job_status *ret_status);

        /* Ends the job with all its processes; DONE also if it has ended or never was. */
        int32_t (*job_end)(struct prvng_call *call, const void *server, uint64_t n_server,
                           const char *job);

        /* Removes what is kept of an ended job in the server. */
        int32_t (*job_forget)(struct prvng_call *call, const void *server, uint64_t n_server,
                              const char *job);

        /* Writes a file in the server, atomically, with that mode and owner root. DONE, or UNCHANGED
         * if it is there with this content and mode. Folders on the way are made. */
        int32_t (*put_file)(struct prvng_call *call, const void *server, uint64_t n_server,
                            const char *path, uint32_t mode, const void *data, uint64_t n_data);
        /* members above: 1.0 */
};
#define PRVNG_HOST_REMOTE_BASELINE PRVNG_SIZE_UP_TO(struct prvng_host_remote, put_file)

#ifdef __cplusplus
}
#endif

#endif
