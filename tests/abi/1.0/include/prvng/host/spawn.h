/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng.host.spawn/1: children of the engine. Plugins never fork; children are made by posix_spawn in
 * the core, with a scrubbed environment and no file descriptors but those named here.
 *
 * run() is for short programs that end with the call. job_*() is for programs that outlive the
 * engine: each is named by an op id, starts in its own session (and its own cgroup where the machine
 * allows), writes its output to a file, and is found again by name after a crash. Starting a job
 * that exists does not start a second one.
 */
#ifndef PRVNG_HOST_SPAWN_H
#define PRVNG_HOST_SPAWN_H

#include <prvng/abi.h>
#include <prvng/host/remote.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PRVNG_HOST_SPAWN "prvng.host.spawn/1"

struct prvng_spawn {
        uint32_t struct_size;
        uint32_t reserved;
        const char *const *argv;        /* ends with NULL; argv[0] is looked up in the default path
                                         * unless it holds a slash */
        const char *const *environment; /* "K=V", ends with NULL; NULL: PATH, LANG=C.UTF-8 and HOME
                                         * only */
        const char *folder;             /* working folder, NULL: "/" */
        const void *input;              /* for stdin */
        uint64_t n_input;
        uint64_t max_output;            /* bytes kept of stdout and of stderr each; 0: 1 MiB */
        int64_t timeout_ms;             /* 0: until the call's deadline */
        /* members above: 1.0 */
};
#define PRVNG_SPAWN_BASELINE PRVNG_SIZE_UP_TO(struct prvng_spawn, timeout_ms)

/* All functions [any]; they block until done, the deadline or cancellation (which kills the child). */
struct prvng_host_spawn {
        uint32_t struct_size;
        uint32_t reserved;

        /* Runs to the end. DONE and the exit code (128+n if ended by signal n); stdout to `output`,
         * stderr to `errors` (either may be NULL). PERMANENT if it cannot be started; TRANSIENT with
         * effect UNKNOWN if it was killed by timeout or deadline, CANCELLED if cancelled. */
        int32_t (*run)(struct prvng_call *call, const struct prvng_spawn *spawn,
                       struct prvng_sink *output, struct prvng_sink *errors,
                       int32_t *ret_exit_code);

        /* Starts a job that outlives the engine. DONE also if it is there already. */
        int32_t (*job_start)(struct prvng_call *call, const char *job,
                             const struct prvng_spawn *spawn);

        /* As prvng.host.remote/1. */
        int32_t (*job_status)(struct prvng_call *call, const char *job, uint64_t offset,
                              struct prvng_sink *output, struct prvng_job_status *ret_status);

        /* Ends the job with all its processes; DONE also if it has ended or never was. */
        int32_t (*job_end)(struct prvng_call *call, const char *job);

        /* Removes what is kept of an ended job. */
        int32_t (*job_forget)(struct prvng_call *call, const char *job);
        /* members above: 1.0 */
};
#define PRVNG_HOST_SPAWN_BASELINE PRVNG_SIZE_UP_TO(struct prvng_host_spawn, job_forget)

#ifdef __cplusplus
}
#endif

#endif
