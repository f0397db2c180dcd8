/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Test provider "spawner": making a server means to run /bin/true through prvng.host.spawn/1. For
 * benchmarks. Built twice: as "spawner" it waits for the child (run); as "spawnerjob", with
 * SPAWNER_JOB, the child is a job named by the op id, which would outlive the engine.
 */
#include <prvng/prvng.h>

#include <poll.h>
#include <string.h>

#ifdef SPAWNER_JOB
#define NAME "spawnerjob"
#else
#define NAME "spawner"
#endif

PRVNG_PLUGIN_NOTE("provider", "org.prvng.test." NAME, NAME, "1.0", "[\"prvng.host.spawn/1\"]", "none");

static const struct prvng_host *host;
static const struct prvng_host_spawn *children;

static int32_t write_empty(struct prvng_sink *sink)
{
        return host->sink_write(sink, "{}", 2) == 0 ? PRVNG_DONE : PRVNG_INTERNAL;
}

static int32_t prepare(void *instance, struct prvng_call *call, const char *verb, const void *task,
                       uint64_t n_task, struct prvng_sink *request)
{
        return write_empty(request);
}

#ifdef SPAWNER_JOB
static int32_t run(struct prvng_call *call, const struct prvng_spawn *spawn, int32_t *ret_code)
{
        struct prvng_job_status status = {.struct_size = sizeof(status)};
        int32_t r = children->job_start(call, call->op_id, spawn);

        while (r == PRVNG_DONE) {
                r = children->job_status(call, call->op_id, 0, NULL, &status);
                if (r != PRVNG_DONE || status.state == PRVNG_JOB_EXITED)
                        break;
                if (status.state != PRVNG_JOB_RUNNING)
                        return PRVNG_PERMANENT;
                poll(NULL, 0, 1);
        }
        *ret_code = status.exit_code;
        return r == PRVNG_DONE ? children->job_forget(call, call->op_id) : r;
}
#else
static int32_t run(struct prvng_call *call, const struct prvng_spawn *spawn, int32_t *ret_code)
{
        return children->run(call, spawn, NULL, NULL, ret_code);
}
#endif

static int32_t begin(void *instance, struct prvng_call *call, const char *verb, const void *request,
                     uint64_t n_request, struct prvng_sink *token, struct prvng_sink *result)
{
        static const char *const argv[] = {"/bin/true", NULL};
        const struct prvng_spawn spawn = {.struct_size = sizeof(spawn), .argv = argv};
        int32_t code = -1, r = run(call, &spawn, &code);

        if (r != PRVNG_DONE)
                return r;
        return code == 0 ? write_empty(result) : PRVNG_PERMANENT;
}

static int32_t not_pending(void *instance, struct prvng_call *call, const char *verb,
                           const void *request, uint64_t n_request, const void *token,
                           uint64_t n_token, struct prvng_sink *new_token,
                           struct prvng_sink *result)
{
        return PRVNG_TOKEN_REJECTED;
}

static int32_t cancel(void *instance, struct prvng_call *call, const char *verb,
                      const void *request, uint64_t n_request, const void *token, uint64_t n_token,
                      struct prvng_sink *result)
{
        return PRVNG_UNSUPPORTED;
}

static int32_t observe(void *instance, struct prvng_call *call, const char *verb,
                       const void *request, uint64_t n_request, const void *token,
                       uint64_t n_token, struct prvng_sink *new_token, struct prvng_sink *result)
{
        return PRVNG_OBSERVED_NOT_STARTED; /* /bin/true may run twice */
}

static int32_t read_state(void *instance, struct prvng_call *call, const void *task, uint64_t n_task,
                          struct prvng_sink *result)
{
        return write_empty(result);
}

static int32_t list(void *instance, struct prvng_call *call, const void *filter, uint64_t n_filter,
                    struct prvng_sink *result)
{
        static const char none[] = "{\"resources\":[]}";

        return host->sink_write(result, none, sizeof(none) - 1) == 0 ? PRVNG_DONE : PRVNG_INTERNAL;
}

static int32_t describe(void *instance, struct prvng_sink *result)
{
        static const char text[] =
                "{\"resources\":[{\"kind\":\"server\",\"verbs\":[\"create\",\"delete\"],\"undo\":["
                "\"create\"],\"spec\":{\"type\":\"object\"},\"update\":{}}]}";

        return host->sink_write(result, text, sizeof(text) - 1) == 0 ? PRVNG_DONE : PRVNG_INTERNAL;
}

static const struct prvng_op op = {
        .struct_size = sizeof(op),
        .prepare = prepare,
        .begin = begin,
        .poll = not_pending,
        .cancel = cancel,
        .observe = observe,
        .read = read_state,
        .list = list,
        .describe = describe,
};

static int32_t create(const struct prvng_host *h, const void *config, uint64_t n_config,
                      void **ret_instance)
{
        static char instance; /* it has no state */

        children = h->get_interface(h, PRVNG_HOST_SPAWN);
        *ret_instance = &instance;
        return children ? PRVNG_DONE : PRVNG_UNSUPPORTED;
}

static void destroy(void *instance)
{
}

static const void *get_interface(void *instance, const char *id)
{
        return strcmp(id, PRVNG_OP) == 0 || strcmp(id, PRVNG_PROVIDER) == 0 ? &op : NULL;
}

static const struct prvng_plugin plugin = {
        .struct_size = sizeof(plugin),
        .abi_minor = PRVNG_ABI_MINOR,
        .id = "org.prvng.test." NAME,
        .name = NAME,
        .kind = "provider",
        .version = "1.0",
        .description = "runs /bin/true",
        .licence = "Apache-2.0",
        .threads = PRVNG_THREADS_PARALLEL,
        .dependencies = "{\"requires_network\":false,\"network_before_servers\":false,"
                        "\"shared_resources\":[],\"api_rate_limit\":0,\"batch_size\":1000}",
        .create = create,
        .destroy = destroy,
        .get_interface = get_interface,
};

int32_t prvng_plugin_v1(const struct prvng_host *h, const struct prvng_plugin **ret_plugin)
{
        host = h;
        *ret_plugin = &plugin;
        return PRVNG_DONE;
}
