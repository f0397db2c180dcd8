/* SPDX-License-Identifier: Apache-2.0 */
/* From a trusted file to an instance. Inside core/plugin only. */
#ifndef PRVNG_PLUGIN_LOAD_H
#define PRVNG_PLUGIN_LOAD_H

#include "plugin/plugin.h"

/* Sets state and reason, once: the first reason is the one that counts. */
void plugin_refuse(struct plugin *p, const char *format, ...) _printf_(2, 3);

/* Opens p->path, negotiates and makes the instance; p is READY or REFUSED afterwards. -errno only
 * if memory is short. [main] */
int plugin_open(struct plugin *p);

/* The kinds this core has a use for. */
bool plugin_kind_known(const char *kind);

#endif
