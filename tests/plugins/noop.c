/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Test provider "noop": everything is DONE at once. For tests of the engine and for benchmarks,
 * where the plugin must cost nothing. Built under several names: NOOP_BATCH_SIZE says how many tasks
 * it takes at once; with NOOP_CLOCK its results say when they left, {"answered_ns": N} of
 * CLOCK_MONOTONIC; with NOOP_MESSAGES=N each begin() tells N times how far it is.
 */
#include <prvng/prvng.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

#ifndef NOOP_NAME
#define NOOP_NAME "noop"
#endif
#ifndef NOOP_BATCH_SIZE
#define NOOP_BATCH_SIZE "1000"
#endif

PRVNG_PLUGIN_NOTE("provider", "org.prvng.test." NOOP_NAME, NOOP_NAME, "1.0", "[]", "none");

static const struct prvng_host *host;

static int32_t write_empty(struct prvng_sink *sink)
{
        return host->sink_write(sink, "{}", 2) == 0 ? PRVNG_DONE : PRVNG_INTERNAL;
}

#ifdef NOOP_CLOCK
static int32_t write_result(struct prvng_sink *sink)
{
        struct timespec ts;
        char text[64];
        int n;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        n = snprintf(text, sizeof(text), "{\"answered_ns\":%lld%09ld}", (long long)ts.tv_sec,
                     ts.tv_nsec);
        return host->sink_write(sink, text, (uint64_t)n) == 0 ? PRVNG_DONE : PRVNG_INTERNAL;
}
#else
#define write_result write_empty
#endif

static int32_t noop_prepare(void *instance, struct prvng_call *call, const char *verb,
                            const void *task, uint64_t n_task, struct prvng_sink *request)
{
        return write_empty(request);
}

static int32_t noop_begin(void *instance, struct prvng_call *call, const char *verb,
                          const void *request, uint64_t n_request, struct prvng_sink *token,
                          struct prvng_sink *result)
{
#ifdef NOOP_MESSAGES
        for (uint32_t i = 0; i < NOOP_MESSAGES; i++)
                host->progress(call, i * 1000 / NOOP_MESSAGES, "one of many");
#endif
        return write_result(result);
}

static int32_t noop_poll(void *instance, struct prvng_call *call, const char *verb,
                         const void *request, uint64_t n_request, const void *token,
                         uint64_t n_token, struct prvng_sink *new_token, struct prvng_sink *result)
{
        return write_empty(result);
}

static int32_t noop_cancel(void *instance, struct prvng_call *call, const char *verb,
                           const void *request, uint64_t n_request, const void *token,
                           uint64_t n_token, struct prvng_sink *result)
{
        return write_empty(result);
}

/* Nothing is ever lost, so nothing is ever in doubt: as if it had been done. */
static int32_t noop_observe(void *instance, struct prvng_call *call, const char *verb,
                            const void *request, uint64_t n_request, const void *token,
                            uint64_t n_token, struct prvng_sink *new_token,
                            struct prvng_sink *result)
{
        return write_empty(result) == PRVNG_DONE ? PRVNG_OBSERVED_DONE : PRVNG_INTERNAL;
}

static int32_t noop_read(void *instance, struct prvng_call *call, const void *task, uint64_t n_task,
                         struct prvng_sink *result)
{
        return write_empty(result);
}

static int32_t noop_list(void *instance, struct prvng_call *call, const void *filter,
                         uint64_t n_filter, struct prvng_sink *result)
{
        static const char none[] = "{\"resources\":[]}";

        return host->sink_write(result, none, sizeof(none) - 1) == 0 ? PRVNG_DONE : PRVNG_INTERNAL;
}

static int32_t noop_describe(void *instance, struct prvng_sink *result)
{
        static const char text[] =
                "{\"resources\":[{\"kind\":\"server\",\"verbs\":[\"create\",\"update\",\"delete\","
                "\"check\"],\"undo\":[\"create\",\"update\"],\"spec\":{\"type\":\"object\"},"
                "\"update\":{\"cpu\":\"live\",\"memory\":\"live\",\"disk\":\"live\"}}]}";

        return host->sink_write(result, text, sizeof(text) - 1) == 0 ? PRVNG_DONE : PRVNG_INTERNAL;
}

static const struct prvng_op op = {
        .struct_size = sizeof(op),
        .prepare = noop_prepare,
        .begin = noop_begin,
        .poll = noop_poll,
        .cancel = noop_cancel,
        .observe = noop_observe,
        .read = noop_read,
        .list = noop_list,
        .describe = noop_describe,
};

static int32_t noop_create(const struct prvng_host *h, const void *config, uint64_t n_config,
                           void **ret_instance)
{
        static char instance; /* it has no state */

        *ret_instance = &instance;
        return PRVNG_DONE;
}

static void noop_destroy(void *instance)
{
}

static const void *noop_get_interface(void *instance, const char *id)
{
        return strcmp(id, PRVNG_OP) == 0 || strcmp(id, PRVNG_PROVIDER) == 0 ? &op : NULL;
}

static const struct prvng_plugin plugin = {
        .struct_size = sizeof(plugin),
        .abi_minor = PRVNG_ABI_MINOR,
        .id = "org.prvng.test." NOOP_NAME,
        .name = NOOP_NAME,
        .kind = "provider",
        .version = "1.0",
        .description = "does nothing, at once",
        .licence = "Apache-2.0",
        .threads = PRVNG_THREADS_PARALLEL,
        .dependencies = "{\"requires_network\":false,\"network_before_servers\":false,"
                        "\"shared_resources\":[],\"api_rate_limit\":0,\"batch_size\":" NOOP_BATCH_SIZE
                        "}",
        .create = noop_create,
        .destroy = noop_destroy,
        .get_interface = noop_get_interface,
};

int32_t prvng_plugin_v1(const struct prvng_host *h, const struct prvng_plugin **ret_plugin)
{
        host = h;
        *ret_plugin = &plugin;
        return PRVNG_DONE;
}
