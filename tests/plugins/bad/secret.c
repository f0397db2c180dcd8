/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A secret backend with a few secrets of its own, and "slow#value", which it never gets an answer about:
 * sound, and with -DBAD=N with one flaw.
 */
#include <prvng/prvng.h>

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
        GOOD, LOGS_VALUE, TELLS_VALUE, WRONG_VALUE, NO_FIELD, KNOWS_ALL, IGNORES_SINK, CHECK_REVEALS, CHECK_LIES,
        RACES, CRASHES, NEVER_ENDS, LEAVES_FD, LIST_LIES, KEEPS_VALUE, ODD_EXPIRES, NO_RECORD, TAKES_PREFIX,
};

#define IS(flaw) (BAD == (flaw))

PRVNG_PLUGIN_NOTE("secret", "org.prvng.test." BAD_NAME, BAD_NAME, "1.0", "[]", "none");

static const struct prvng_host *host;

static const struct {
        const char *reference, *value;
} kept[] = {
        {"api#old/token", "an older token of the same"},
        {"api#token", "t0ken-of-the-api"},
        {"db#password", "correct horse\nbattery staple"},
        {"one-line", "x"},
};
enum { N_KEPT = sizeof(kept) / sizeof(kept[0]) };

static int32_t fail(struct prvng_call *call, int32_t class, const char *field, const char *message)
{
        if (!IS(NO_RECORD))
                host->error(call, &(struct prvng_error){.struct_size = sizeof(struct prvng_error),
                                                        .error_class = class, .retry_after_ms = -1,
                                                        .message = message,
                                                        .field = IS(NO_FIELD) ? NULL : field});
        return class;
}

/* The number of the secret, or a negative class. */
static int32_t find(struct prvng_call *call, const char *reference)
{
        size_t n = strcspn(reference, "#");

        if (strcmp(reference, "slow#value") == 0) {
                int turns = 0;

                while ((!host->is_cancelled(call) && host->monotonic_ms() < call->deadline_ms) ||
                       (IS(NEVER_ENDS) && turns++ < 6000))
                        usleep(1000);
                return host->is_cancelled(call)
                               ? fail(call, PRVNG_CANCELLED, NULL, "cancelled")
                               : fail(call, PRVNG_TRANSIENT, NULL, "there was no answer in time");
        }
        for (int32_t i = 0; i < N_KEPT; i++)
                if (strcmp(kept[i].reference, reference) == 0)
                        return i;
        if (IS(CRASHES) && strchr(reference, '%'))
                abort();
        if (IS(KNOWS_ALL))
                return 0;
        for (int32_t i = 0; i < N_KEPT; i++) {
                if (IS(TAKES_PREFIX) && strncmp(kept[i].reference, reference, strlen(kept[i].reference)) == 0)
                        return i;
                if (strncmp(kept[i].reference, reference, n) == 0 && kept[i].reference[n] == '#')
                        return fail(call, PRVNG_NOT_FOUND, "key",
                                    IS(TELLS_VALUE) ? "it has only t0ken-of-the-api" : "it has no such key");
        }
        return fail(call, PRVNG_NOT_FOUND, "path", "there is no such secret");
}

static int32_t resolve(void *instance, struct prvng_call *call, const char *reference,
                       struct prvng_sink *value)
{
        static char shared[64];
        const char *text;
        int32_t i = find(call, reference);

        if (i < 0)
                return i;
        text = kept[i].value;
        if (IS(LOGS_VALUE))
                host->log(host, PRVNG_LOG_DEBUG, "secret", text);
        if (IS(RACES)) {
                snprintf(shared, sizeof(shared), "%s", text);
                usleep(2000);
                text = shared;
        }
        if (IS(LEAVES_FD))
                (void)!open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (IS(KEEPS_VALUE)) {
                static char *last;

                free(last);
                last = strdup(text);
        }
        if (host->sink_write(value, text, strlen(text)) < 0 && !IS(IGNORES_SINK))
                return fail(call, PRVNG_INTERNAL, NULL, "the sink refused it");
        if (IS(WRONG_VALUE))
                host->sink_write(value, "\n", 1);
        return PRVNG_DONE;
}

static int32_t check(void *instance, struct prvng_call *call, const char *reference,
                     struct prvng_sink *result)
{
        char out[200] = "{\"expires\":null,\"changed\":\"2026-11-01T08:00:00Z\",\"encrypted\":false}";
        int32_t i = IS(CHECK_LIES) ? 0 : find(call, reference);

        if (i < 0)
                return i;
        if (IS(CHECK_REVEALS))
                snprintf(out, sizeof(out), "{\"version\":\"%s\"}", kept[1].value);
        if (IS(ODD_EXPIRES))
                snprintf(out, sizeof(out), "{\"expires\":\"next year\"}");
        return host->sink_write(result, out, strlen(out)) == 0
                       ? PRVNG_DONE
                       : fail(call, PRVNG_INTERNAL, NULL, "the sink refused it");
}

static int32_t list(void *instance, struct prvng_call *call, const char *prefix, struct prvng_sink *result)
{
        char out[400] = "{\"references\":[";
        size_t n = strlen(out);

        for (size_t i = 0; i < N_KEPT; i++)
                if (strncmp(kept[i].reference, prefix, strlen(prefix)) == 0)
                        n += (size_t)snprintf(out + n, sizeof(out) - n, "%s\"%s%s\"",
                                              out[n - 1] == '[' ? "" : ",", kept[i].reference,
                                              IS(LIST_LIES) ? "?" : "");
        n += (size_t)snprintf(out + n, sizeof(out) - n, "]}");
        return host->sink_write(result, out, n) == 0 ? PRVNG_DONE
                                                     : fail(call, PRVNG_INTERNAL, NULL, "the sink refused it");
}

static const struct prvng_secret table = {.struct_size = sizeof(table), .resolve = resolve, .check = check,
                                          .list = list};

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
        return strcmp(id, PRVNG_SECRET) == 0 ? &table : NULL;
}

static const struct prvng_plugin plugin = {
        .struct_size = sizeof(plugin), .abi_minor = PRVNG_ABI_MINOR, .id = "org.prvng.test." BAD_NAME,
        .name = BAD_NAME, .kind = "secret", .version = "1.0", .description = "sound, or nearly",
        .licence = "Apache-2.0", .threads = PRVNG_THREADS_PARALLEL, .create = create, .destroy = destroy,
        .get_interface = get_interface};

int32_t prvng_plugin_v1(const struct prvng_host *h, const struct prvng_plugin **ret_plugin)
{
        host = h;
        *ret_plugin = &plugin;
        return PRVNG_DONE;
}
