/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng.host.rate/1: the rate limit of a provider account, for plugins that reach their API by other
 * means than prvng.host.http/1. Counted over all runs of the site.
 */
#ifndef PRVNG_HOST_RATE_H
#define PRVNG_HOST_RATE_H

#include <prvng/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PRVNG_HOST_RATE "prvng.host.rate/1"

/* All functions [any]. */
struct prvng_host_rate {
        uint32_t struct_size;
        uint32_t reserved;

        /* Waits until one more request may leave for `account` (any stable name; requests_per_second
         * as declared in the plugin's dependencies: what the site's drop-in says comes first). DONE; CANCELLED; TRANSIENT with effect NONE if
         * the call's deadline comes first. */
        int32_t (*acquire)(struct prvng_call *call, const char *account,
                           uint32_t requests_per_second);

        /* The API asked for fewer requests: halves the rate, and lets none leave for that long. It
         * recovers slowly by itself. */
        void (*back_off)(struct prvng_call *call, const char *account, int64_t retry_after_ms);
        /* members above: 1.0 */
};
#define PRVNG_HOST_RATE_BASELINE PRVNG_SIZE_UP_TO(struct prvng_host_rate, back_off)

#ifdef __cplusplus
}
#endif

#endif
