/* SPDX-License-Identifier: Apache-2.0 */
/* What `prvng plugin list` and GET /plugins tell of a plugin. */
#ifndef PRVNG_PLUGIN_DESCRIBE_H
#define PRVNG_PLUGIN_DESCRIBE_H

#include "plugin/plugin.h"

/* "enabled", "isolated", "disabled", "refused", "quarantined". The last only in the process that runs it. */
const char *plugin_state_text(const struct plugin *p);

/* docs/http-api.md, GET /plugins. Caller frees; NULL: out of memory. [any] */
json_t *plugin_describe(const struct plugin *p);

#endif
