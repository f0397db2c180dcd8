/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/prvng-plugin-host.h"

#include <sys/prctl.h>
#include <sys/resource.h>

/* At most that much, and never more than before. */
static void limit(int what, rlim_t n)
{
        struct rlimit old;

        if (getrlimit(what, &old) == 0 && old.rlim_max < n)
                n = old.rlim_max;
        setrlimit(what, &(struct rlimit){n, n});
}

int plugin_host_sandbox(const json_t *sandbox, int *ret_listener, struct buf *ret_missing)
{
        *ret_listener = -1;
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return error_origin(-errno);
        limit(RLIMIT_CORE, 0);
        limit(RLIMIT_NOFILE, 4096);
#ifndef __SANITIZE_ADDRESS__ /* which needs terabytes */
        limit(RLIMIT_DATA, UINT64_C(2) << 30);
#endif
        return 0;
}
