/* SPDX-License-Identifier: Apache-2.0 */
/* A plugin in strict ISO C11: the headers ask for no extension of the language but attributes. */
#include <prvng/prvng.h>

#include <string.h>

PRVNG_PLUGIN_NOTE("provider", "org.prvng.test.strict", "strict", "1.0", "[]", "none");

static const struct prvng_host *host;

/* There is nothing that begin() would have to know. */
static int32_t prepare(void *instance, struct prvng_call *call, const char *verb, const void *task,
                       uint64_t n_task, struct prvng_sink *request)
{
        (void)instance, (void)call, (void)verb, (void)task, (void)n_task;
        return host->sink_write(request, "{}", 2) == 0 ? PRVNG_DONE : PRVNG_INTERNAL;
}

static int32_t begin(void *instance, struct prvng_call *call, const char *verb, const void *request,
                     uint64_t n_request, struct prvng_sink *token, struct prvng_sink *result)
{
        (void)instance, (void)call, (void)verb, (void)request, (void)n_request, (void)token;
        (void)result;
        return PRVNG_UNCHANGED;
}

static int32_t create(const struct prvng_host *h, const void *config, uint64_t n_config,
                      void **ret_instance)
{
        static char instance;

        (void)h, (void)config, (void)n_config;
        *ret_instance = &instance;
        return PRVNG_DONE;
}

static void destroy(void *instance)
{
        (void)instance;
}

static const void *get_interface(void *instance, const char *id)
{
        static const struct prvng_op op = {
                .struct_size = sizeof(struct prvng_op), .prepare = prepare, .begin = begin};

        (void)instance;
        return strcmp(id, PRVNG_OP) == 0 || strcmp(id, PRVNG_PROVIDER) == 0 ? &op : NULL;
}

int32_t prvng_plugin_v1(const struct prvng_host *h, const struct prvng_plugin **ret_plugin)
{
        static const struct prvng_plugin plugin = {
                .struct_size = sizeof(struct prvng_plugin),
                .id = "org.prvng.test.strict",
                .name = "strict",
                .kind = "provider",
                .version = "1.0",
                .description = "strict ISO C11",
                .licence = "Apache-2.0",
                .threads = PRVNG_THREADS_SERIAL_PROCESS,
                .create = create,
                .destroy = destroy,
                .get_interface = get_interface,
        };

        host = h;
        *ret_plugin = &plugin;
        return PRVNG_DONE;
}
