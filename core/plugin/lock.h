/* SPDX-License-Identifier: Apache-2.0 */
/* What a plugin's declared thread model asks for. Inside core/plugin only. */
#ifndef PRVNG_PLUGIN_LOCK_H
#define PRVNG_PLUGIN_LOCK_H

#include "host/call.h"

struct plugin_lock;

/* The lock for one more instance of the object that was opened as `handle`; NULL in *ret_lock for
 * PARALLEL. SERIAL_PROCESS gives all instances of the object one lock. [main] */
int plugin_lock_new(uint32_t threads, const void *handle, struct plugin_lock **ret_lock);
struct plugin_lock *plugin_lock_free(struct plugin_lock *l);

/* Waits for its turn: 0, -ECANCELED if the call is cancelled before, -ETIMEDOUT if its deadline
 * comes before. NULL: at once. */
int plugin_lock_enter(struct plugin_lock *l, const struct op_call *call);
void plugin_lock_leave(struct plugin_lock *l);

#endif
