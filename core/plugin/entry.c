/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/entry.h"

#include "base/util.h"

#include <dlfcn.h>
#include <link.h>
#include <stdarg.h>

#define ENTRY "prvng_plugin_v1"

static int say(char **ret_why, const char *format, ...) _printf_(2, 3);
static int say(char **ret_why, const char *format, ...)
{
        va_list ap;
        int n;

        va_start(ap, format);
        n = vasprintf(ret_why, format, ap);
        va_end(ap);
        if (n >= 0)
                return 0;
        *ret_why = NULL;
        return error_origin(-ENOMEM);
}

int entry_open(const char *path, plugin_entry_f *ret_entry, void **ret_handle, char **ret_why)
{
        struct link_map *opened = NULL, *owner = NULL;
        Dl_info info;
        void *handle, *symbol;

        *ret_entry = NULL;
        handle = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
        if (!handle)
                return say(ret_why, "cannot be loaded: %s", dlerror());
        symbol = dlsym(handle, ENTRY);
        if (!symbol)
                return say(ret_why, "%s does not export " ENTRY ": it is not a plugin for this major "
                           "version, or was linked without the SDK's version script", path);
        /* dlsym() also looks into what the object links. */
        if (dlinfo(handle, RTLD_DI_LINKMAP, &opened) < 0 ||
            dladdr1(symbol, &info, (void **)&owner, RTLD_DL_LINKMAP) == 0 || opened != owner)
                return say(ret_why, "%s has no " ENTRY " of its own; the one that was found belongs to "
                           "its dependency %s", path, owner ? owner->l_name : "(unknown)");
        memcpy(ret_entry, &symbol, sizeof(*ret_entry)); /* ISO C knows no cast from object to function */
        *ret_handle = handle;
        return 0;
}
