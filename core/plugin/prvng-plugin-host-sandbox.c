/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/confine.h"
#include "plugin/prvng-plugin-host.h"

int plugin_host_sandbox(const json_t *sandbox, int *ret_listener, struct buf *ret_missing)
{
        *ret_listener = -1;
        return error_fold(confine_enter(sandbox, ret_missing));
}
