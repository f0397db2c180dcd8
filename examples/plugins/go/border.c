/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the core sees of this plugin, in C because tables of C functions must lie in C's memory: the note, the
 * descriptor, the entry, and one step from each function into Go. An instance is a handle (runtime/cgo.Handle):
 * no pointer of Go's crosses the border.
 */
#include "border.h"

#include "_cgo_export.h"

#include <string.h>

/* A process of its own: Go's run time starts threads, takes signals, and cannot be unloaded. */
PRVNG_PLUGIN_NOTE("provider", "org.example.prvng.files-go", "files-go", "0.1.0", "[]", "process");

const struct prvng_host *files_host;

static int32_t prepare(void *instance, struct prvng_call *call, const char *verb, const void *task, uint64_t n,
                       struct prvng_sink *request)
{
        (void)instance;
        return goPrepare(call, (char *)verb, (void *)task, n, request);
}

static int32_t begin(void *instance, struct prvng_call *call, const char *verb, const void *request, uint64_t n,
                     struct prvng_sink *token, struct prvng_sink *result)
{
        (void)token;
        return goBegin((uintptr_t)instance, call, (char *)verb, (void *)request, n, result);
}

static int32_t observe(void *instance, struct prvng_call *call, const char *verb, const void *request, uint64_t n,
                       const void *token, uint64_t n_token, struct prvng_sink *new_token,
                       struct prvng_sink *result)
{
        (void)token, (void)n_token, (void)new_token;
        return goObserve((uintptr_t)instance, call, (char *)verb, (void *)request, n, result);
}

static int32_t read_state(void *instance, struct prvng_call *call, const void *task, uint64_t n,
                          struct prvng_sink *result)
{
        return goRead((uintptr_t)instance, call, (void *)task, n, result);
}

static int32_t list(void *instance, struct prvng_call *call, const void *filter, uint64_t n,
                    struct prvng_sink *result)
{
        return goList((uintptr_t)instance, call, (void *)filter, n, result);
}

static int32_t describe(void *instance, struct prvng_sink *result)
{
        static const char text[] =
                "{\"resources\": [{\"kind\": \"server\", \"verbs\": [\"create\", \"update\", \"delete\", \"check\"],"
                " \"undo\": [\"create\", \"update\"], \"spec\": {\"type\": \"object\"},"
                " \"update\": {\"cpu\": \"live\", \"memory\": \"live\"}}]}";

        (void)instance;
        return files_host->sink_write(result, text, sizeof(text) - 1) == 0 ? PRVNG_DONE : PRVNG_INTERNAL;
}

static int32_t create(const struct prvng_host *host, const void *config, uint64_t n, void **ret_instance)
{
        uintptr_t handle = 0;
        int32_t answer = goCreate((struct prvng_host *)host, (void *)config, n, &handle);

        if (answer == PRVNG_DONE)
                *ret_instance = (void *)handle;
        return answer;
}

static void destroy(void *instance)
{
        if (instance)
                goDestroy((uintptr_t)instance);
}

static const void *get_interface(void *instance, const char *id)
{
        static const struct prvng_op op = {.struct_size = sizeof(op), .prepare = prepare, .begin = begin,
                                           .observe = observe, .read = read_state, .list = list,
                                           .describe = describe};

        (void)instance;
        return strcmp(id, PRVNG_OP) == 0 || strcmp(id, PRVNG_PROVIDER) == 0 ? &op : NULL;
}

int32_t prvng_plugin_v1(const struct prvng_host *host, const struct prvng_plugin **ret_plugin)
{
        static const struct prvng_plugin plugin = {
                .struct_size = sizeof(plugin),
                .abi_minor = PRVNG_ABI_MINOR,
                .id = "org.example.prvng.files-go",
                .name = "files-go",
                .kind = "provider",
                .version = "0.1.0",
                .description = "Servers that are files; an example in Go",
                .licence = "Apache-2.0",
                .threads = PRVNG_THREADS_PARALLEL, /* an instance is never changed; each server has its own file */
                .dependencies = "{\"requires_network\": false, \"network_before_servers\": false,"
                                " \"shared_resources\": [], \"api_rate_limit\": 0, \"batch_size\": 8}",
                .create = create,
                .destroy = destroy,
                .get_interface = get_interface,
        };

        files_host = host;
        *ret_plugin = &plugin;
        return PRVNG_DONE;
}
