/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRVNG_SIMULATE_PLUGINS_H
#define PRVNG_SIMULATE_PLUGINS_H

#include "simulate/calls.h"

/* `service` may be NULL: a store or a loader. `dependencies` is JSON or NULL. */
void plugin_add(const char *kind, const char *name, const char *dependencies,
                struct service *service);
void plugins_forget(void);

#endif
