/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deliberately bad plugins, one for each way to be refused: built once for each BAD_x below 100,
 * which replaces one sound part. BAD_NAME is the short name.
 */
#include <prvng/prvng.h>

#include <string.h>

#define KIND_NOTE        1  /* note says another kind than the descriptor */
#define SMALL_DESCRIPTOR 2
#define NEW_HOST         3  /* wants a later minor */
#define VERSION_NOTE     4  /* note says another version */
#define CREATE_FAILS     5
#define NULL_TABLE       6
#define SMALL_TABLE      7
#define NO_BEGIN         8
#define GARBAGE_DESCRIBE 9
#define REFUSES          10
#define NO_DESCRIPTOR    11
#define UNKNOWN_KIND     12
#define NEEDS_INTERFACE  13
#define RESERVED_SET     14
#define BAD_DEPENDENCIES 15
#define NO_CREATE        16
#define ODD_THREADS      17
#define MISBEHAVES       100 /* is loaded, and answers what the request says */

#if BAD == KIND_NOTE
#define NOTE_KIND "taskserv"
#elif BAD == UNKNOWN_KIND
#define NOTE_KIND "teapot"
#else
#define NOTE_KIND "provider"
#endif
#if BAD == NEEDS_INTERFACE
#define NOTE_REQUIRES "[\"prvng.host.workdir/1\",\"prvng.host.teleport/1\"]"
#else
#define NOTE_REQUIRES "[]"
#endif
#if BAD == VERSION_NOTE
#define NOTE_VERSION "0.9"
#else
#define NOTE_VERSION "1.0"
#endif
#define ID "org.prvng.test." BAD_NAME

PRVNG_PLUGIN_NOTE(NOTE_KIND, ID, BAD_NAME, NOTE_VERSION, NOTE_REQUIRES, "none");

static const struct prvng_host *host;

static int32_t prepare(void *instance, struct prvng_call *call, const char *verb, const void *task,
                       uint64_t n_task, struct prvng_sink *request)
{
        return host->sink_write(request, task, n_task) == 0 ? PRVNG_DONE : PRVNG_INTERNAL;
}

/* A number in the request: "answer=-77;" */
static int64_t number(const char *request, uint64_t n_request, const char *key, int64_t fallback)
{
        char copy[256];
        const char *at;
        int64_t v = 0, sign = 1;

        if (n_request >= sizeof(copy))
                return fallback;
        memcpy(copy, request, n_request);
        copy[n_request] = 0;
        at = strstr(copy, key);
        if (!at)
                return fallback;
        at += strlen(key);
        if (*at == '-')
                sign = -1, at++;
        while (*at >= '0' && *at <= '9')
                v = v * 10 + (*at++ - '0');
        return sign * v;
}

static int32_t answer(struct prvng_call *call, const void *request, uint64_t n_request,
                      struct prvng_sink *token, struct prvng_sink *result)
{
        static const char block[4096];
        struct prvng_error e = {
                .struct_size = sizeof(e), .message = "said so", .retry_after_ms = 5};
        int64_t n = number(request, n_request, "result_blocks=", 0);
        const char *text = memchr(request, '|', n_request);

        e.error_class = (int32_t)number(request, n_request, "error=", 0);
        e.effect = (uint32_t)number(request, n_request, "effect=", 0);
        if (number(request, n_request, "small_error=", 0))
                e.struct_size = PRVNG_ERROR_BASELINE - 1;
        if (e.error_class)
                host->error(call, &e);
        for (int64_t i = 0; i < n; i++)
                host->sink_write(result, block, sizeof(block));
        if (text) /* what stands after the bar is the result */
                host->sink_write(result, text + 1,
                                 n_request - (uint64_t)(text + 1 - (const char *)request));
        n = number(request, n_request, "token=", 0);
        for (int64_t i = 0; token && i < n; i++)
                host->sink_write(token, "t", 1);
        if (number(request, n_request, "wait=", 0))
                while (!host->is_cancelled(call))
                        ;
        return (int32_t)number(request, n_request, "answer=", 0);
}

static int32_t begin(void *instance, struct prvng_call *call, const char *verb, const void *request,
                     uint64_t n_request, struct prvng_sink *token, struct prvng_sink *result)
{
        return answer(call, request, n_request, token, result);
}

static int32_t observe(void *instance, struct prvng_call *call, const char *verb,
                       const void *request, uint64_t n_request, const void *token, uint64_t n_token,
                       struct prvng_sink *new_token, struct prvng_sink *result)
{
        return answer(call, request, n_request, new_token, result);
}

static int32_t describe(void *instance, struct prvng_sink *result)
{
        const char *text = BAD == GARBAGE_DESCRIBE ? "{\"resources\": [" : "{}";

        return host->sink_write(result, text, strlen(text)) == 0 ? PRVNG_DONE : PRVNG_INTERNAL;
}

static const struct prvng_op op = {
        .struct_size = BAD == SMALL_TABLE ? PRVNG_OP_BASELINE - 1 : sizeof(op),
        .prepare = prepare,
        .begin = BAD == NO_BEGIN ? NULL : begin,
        .observe = observe,
        .describe = describe,
};

static int32_t create(const struct prvng_host *h, const void *config, uint64_t n_config,
                      void **ret_instance)
{
        static char instance;

        if (BAD == CREATE_FAILS) {
                h->log(h, PRVNG_LOG_ERROR, "create", "no account: set config.account");
                *ret_instance = (void *)1; /* must not be destroyed */
                return PRVNG_AUTH;
        }
        *ret_instance = &instance;
        return PRVNG_DONE;
}

static void destroy(void *instance)
{
}

static const void *get_interface(void *instance, const char *id)
{
        if (BAD == NULL_TABLE)
                return NULL;
        return strcmp(id, PRVNG_OP) == 0 || strcmp(id, PRVNG_PROVIDER) == 0 ? &op : NULL;
}

static const struct prvng_plugin plugin = {
        .struct_size = BAD == SMALL_DESCRIPTOR ? 16 : sizeof(plugin),
        .reserved = BAD == RESERVED_SET,
        .abi_minor = PRVNG_ABI_MINOR,
        .min_host_minor = BAD == NEW_HOST ? PRVNG_ABI_MINOR + 1 : 0,
        .id = ID,
        .name = BAD_NAME,
        .kind = "provider",
        .version = "1.0",
        .description = "bad",
        .licence = "Apache-2.0",
        .threads = BAD == ODD_THREADS ? 9 : PRVNG_THREADS_SERIAL_INSTANCE,
        .dependencies = BAD == BAD_DEPENDENCIES ? "[]" : "{}",
        .create = BAD == NO_CREATE ? NULL : create,
        .destroy = destroy,
        .get_interface = get_interface,
};

int32_t prvng_plugin_v1(const struct prvng_host *h, const struct prvng_plugin **ret_plugin)
{
        host = h;
        if (BAD == REFUSES) {
                h->log(h, PRVNG_LOG_ERROR, "entry", "the moon is not full");
                return PRVNG_UNSUPPORTED;
        }
        if (BAD != NO_DESCRIPTOR)
                *ret_plugin = &plugin;
        return PRVNG_DONE;
}
