/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng.provider.inventory/1: what is there that nobody made with prvng, for
 * `prvng resource adopt PROVIDER KIND ID`.
 */
#ifndef PRVNG_EXT_INVENTORY_H
#define PRVNG_EXT_INVENTORY_H

#include <prvng/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PRVNG_PROVIDER_INVENTORY "prvng.provider.inventory/1"

struct prvng_provider_inventory {
        uint32_t struct_size;
        uint32_t reserved;

        /* [worker] Finds one thing of `kind` ("server", "network", "security_group") by the provider's
         * own id of it, or by a name that only one has. Writes {"name", "kind", "spec": {...}, "outputs":
         * {...}}: the spec that a definition would have to say to get exactly this (so that the next run
         * finds no difference), and the outputs as the result of a create. DONE; NOT_FOUND; CONFLICT if
         * several have the name (the message lists their ids). Changes nothing. */
        int32_t (*find)(void *instance, struct prvng_call *call, const char *kind, const char *id,
                        struct prvng_sink *result);
        /* members above: 1.0 */
};
#define PRVNG_PROVIDER_INVENTORY_BASELINE PRVNG_SIZE_UP_TO(struct prvng_provider_inventory, find)

#ifdef __cplusplus
}
#endif

#endif
