/* SPDX-License-Identifier: Apache-2.0 */
/* A note, but no entry of its own: with bad-dependency.c linked, dlsym() finds that one's. */
#include <prvng/plugin.h>

PRVNG_PLUGIN_NOTE("provider", "org.prvng.test." BAD_NAME, BAD_NAME, "1.0", "[]", "none");

PRVNG_EXPORT const void *bad_entry_keep(void);
extern const char prvng_test_dependency[];

#ifdef BAD_DEPENDENCY
#define KEEP prvng_test_dependency /* or --as-needed drops the library */
#else
#define KEEP NULL
#endif

const void *bad_entry_keep(void)
{
        return KEEP;
}
