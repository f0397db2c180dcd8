/*
 * The template language @NAME@. As it stands its expressions are whole numbers, and the word "endless", which
 * ends by deadline or cancellation: put your language in their place, in a process of its own if it could
 * reach or hold anything.
 */
#include <prvng/prvng.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

PRVNG_PLUGIN_NOTE("template", "org.example.prvng.@NAME@", "@NAME@", "0.1.0", "[]", "none");

static const struct prvng_host *host;

static int32_t fail(struct prvng_call *call, int32_t class, int32_t code, const char *message)
{
        host->error(call, &(struct prvng_error){.struct_size = sizeof(struct prvng_error), .error_class = class,
                                                .code = code, .retry_after_ms = -1, .message = message});
        return class;
}

static int32_t evaluate(void *instance, struct prvng_call *call, const void *expression, uint64_t n,
                        const void *variables, uint64_t n_variables, struct prvng_sink *result)
{
        char text[64], *end, out[128];
        long value;

        if (n == 7 && memcmp(expression, "endless", 7) == 0) {
                while (!host->is_cancelled(call) && host->monotonic_ms() < call->deadline_ms)
                        usleep(1000);
                return fail(call, PRVNG_TRANSIENT, 0, "it did not end in time");
        }
        snprintf(text, sizeof(text), "%.*s", (int)n, (const char *)expression);
        value = strtol(text, &end, 10);
        if (n == 0 || n >= sizeof(text) || *end)
                return fail(call, PRVNG_PERMANENT, PRVNG_TEMPLATE_SYNTAX,
                            "no whole number: line 1, column 1");
        snprintf(out, sizeof(out), "{\"value\":%ld,\"seen\":{}}", value);
        return host->sink_write(result, out, strlen(out)) == 0 ? PRVNG_DONE : PRVNG_INTERNAL;
}

static const struct prvng_template table = {.struct_size = sizeof(table), .evaluate = evaluate};
static int32_t create(const struct prvng_host *h, const void *config, uint64_t n, void **ret_instance)
{
        static char instance;

        *ret_instance = &instance;
        return PRVNG_DONE;
}

static void destroy(void *instance)
{
}

static const void *get_interface(void *instance, const char *id)
{
        return strcmp(id, PRVNG_TEMPLATE) == 0 ? &table : NULL;
}

static const struct prvng_plugin plugin = {
        .struct_size = sizeof(plugin), .abi_minor = PRVNG_ABI_MINOR, .id = "org.example.prvng.@NAME@",
        .name = "@NAME@", .kind = "template", .version = "0.1.0", .description = "Evaluates expressions",
        .licence = "Apache-2.0", .create = create, .destroy = destroy, .get_interface = get_interface};

int32_t prvng_plugin_v1(const struct prvng_host *h, const struct prvng_plugin **ret_plugin)
{
        host = h;
        *ret_plugin = &plugin;
        return PRVNG_DONE;
}
