/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng.host.workdir/1: folders that a plugin may write to, and nothing else on the machine.
 */
#ifndef PRVNG_HOST_WORKDIR_H
#define PRVNG_HOST_WORKDIR_H

#include <prvng/host.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PRVNG_HOST_WORKDIR "prvng.host.workdir/1"

/* All functions [any]. Paths are absolute, the folders exist with mode 0700. The strings are interned
 * by the host (valid until the process ends). */
struct prvng_host_workdir {
        uint32_t struct_size;
        uint32_t reserved;

        /* The plugin's own lasting folder in the site's state. NULL if it cannot be made. */
        const char *(*state)(const struct prvng_host *host, const char *plugin_name);

        /* The plugin's folder for what can be made again (downloads, base images); shared by all
         * sites of the user, so take a lock in it. NULL if it cannot be made. */
        const char *(*cache)(const struct prvng_host *host, const char *plugin_name);

        /* The folder of the call's task, kept after a failure for the operator to look at, removed
         * with the run. NULL if the call has no task. */
        const char *(*task)(struct prvng_call *call);
        /* members above: 1.0 */
};
#define PRVNG_HOST_WORKDIR_BASELINE PRVNG_SIZE_UP_TO(struct prvng_host_workdir, task)

#ifdef __cplusplus
}
#endif

#endif
