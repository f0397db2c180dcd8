/* SPDX-License-Identifier: Apache-2.0 */
/* A library that happens to export the entry symbol, as a plugin used as a library does. */
#include <prvng/plugin.h>

PRVNG_EXPORT extern const char prvng_test_dependency[];
const char prvng_test_dependency[] = "";

int32_t prvng_plugin_v1(const struct prvng_host *host, const struct prvng_plugin **ret_plugin)
{
        return PRVNG_INTERNAL;
}
