// SPDX-License-Identifier: Apache-2.0
/* A plugin in C++11: what the headers must allow. (Shipped ones in C++ run in a helper process.) */
#include <prvng/prvng.h>

#include <cstring>

PRVNG_PLUGIN_NOTE("provider", "org.prvng.test.cplusplus", "cplusplus", "1.0", "[]", "process");

namespace {

const prvng_host *the_host;

/* There is nothing that begin() would have to know. */
int32_t prepare(void *, prvng_call *, const char *, const void *, uint64_t, prvng_sink *request)
{
        return the_host->sink_write(request, "{}", 2) == 0 ? PRVNG_DONE : PRVNG_INTERNAL;
}

int32_t begin(void *, prvng_call *, const char *, const void *, uint64_t, prvng_sink *,
              prvng_sink *)
{
        return PRVNG_UNCHANGED;
}

int32_t create(const prvng_host *, const void *, uint64_t, void **ret_instance)
{
        static char instance;

        *ret_instance = &instance;
        return PRVNG_DONE;
}

void destroy(void *)
{
}

const void *get_interface(void *, const char *id)
{
        static prvng_op op;

        op.struct_size = sizeof(op);
        op.prepare = prepare;
        op.begin = begin;
        return std::strcmp(id, PRVNG_OP) == 0 || std::strcmp(id, PRVNG_PROVIDER) == 0 ? &op
                                                                                      : nullptr;
}

} // namespace

int32_t prvng_plugin_v1(const prvng_host *host, const prvng_plugin **ret_plugin)
{
        static prvng_plugin plugin;

        the_host = host;
        plugin.struct_size = sizeof(plugin);
        plugin.id = "org.prvng.test.cplusplus";
        plugin.name = "cplusplus";
        plugin.kind = "provider";
        plugin.version = "1.0";
        plugin.description = "C++11";
        plugin.licence = "Apache-2.0";
        plugin.create = create;
        plugin.destroy = destroy;
        plugin.get_interface = get_interface;
        *ret_plugin = &plugin;
        return PRVNG_DONE;
}
