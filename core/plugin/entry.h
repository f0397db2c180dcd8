/* SPDX-License-Identifier: Apache-2.0 */
/* dlopen, and the one symbol of a plugin: for the core and for the helper of isolated plugins. */
#ifndef PRVNG_PLUGIN_ENTRY_H
#define PRVNG_PLUGIN_ENTRY_H

#include <prvng/plugin.h>

typedef int32_t (*plugin_entry_f)(const struct prvng_host *host, const struct prvng_plugin **ret_plugin);

/* Opens the object. 0 with its entry; 0 with NULL in *ret_entry and a sentence (caller frees); -ENOMEM. The
 * object is never closed. [main] */
int entry_open(const char *path, plugin_entry_f *ret_entry, void **ret_handle, char **ret_why);

#endif
