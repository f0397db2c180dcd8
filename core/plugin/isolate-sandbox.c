/* SPDX-License-Identifier: Apache-2.0 */
/* What the helper of an isolated plugin is told to confine itself to. */
#include "plugin/isolate.h"

#include "plugin/confine.h"

int isolate_sandbox(const struct plugin *p, json_t **ret_sandbox)
{
        return error_fold(confine_sandbox(p, ret_sandbox));
}

/* Nobody is asked: what may not be fails in the plugin's process. */
void isolate_notified(const char *name, const json_t *sandbox, int listener)
{
}
