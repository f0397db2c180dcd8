/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A loader for JSON without positions, or with -DTEMPLATE a language of expressions that knows whole numbers
 * and the word "endless": sound, and with -DBAD=N with one flaw.
 */
#include <prvng/prvng.h>

#include <errno.h>
#include <jansson.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
        GOOD, CRASHES, GOES_ON, UNBALANCED, NO_PROBLEM, FILE_OF_AIR, WRONG_PLACE, WRONG_VALUE, /* loader */
        GARBAGE_RESULT, NEVER_ENDS, WRONG_CODE, NO_RECORD, LEAVES_CHILD, NO_VALUE,             /* template */
        RACES,                                                                                 /* loader */
};

#define IS(flaw) (BAD == (flaw))
#ifdef TEMPLATE
#define KIND "template"
#else
#define KIND "loader"
#endif

PRVNG_PLUGIN_NOTE(KIND, "org.prvng.test." BAD_NAME, BAD_NAME, "1.0", "[]", "none");

static const struct prvng_host *host;

static int32_t fail(struct prvng_call *call, int32_t class, int32_t code, const char *message)
{
        if (!IS(NO_RECORD))
                host->error(call, &(struct prvng_error){.struct_size = sizeof(struct prvng_error),
                                                        .error_class = class, .code = code, .retry_after_ms = -1,
                                                        .message = message});
        return class;
}

#ifndef TEMPLATE
static const struct prvng_host_document *to;

static int32_t emit(struct prvng_document *d, const json_t *v)
{
        const struct prvng_position at = {NULL, IS(WRONG_PLACE) ? 4711 : 1, 1};
        const char *key;
        int32_t r = 0;
        json_t *e;
        size_t i;

#define STEP(call) if (r = (call), r < 0 && !IS(GOES_ON)) return r
        if (json_is_object(v)) {
                STEP(to->map_begin(d, &at));
                json_object_foreach ((json_t *)(uintptr_t)v, key, e) {
                        STEP(to->key(d, key, strlen(key), &at));
                        STEP(emit(d, e));
                }
                return IS(UNBALANCED) ? 0 : to->end(d, &at);
        }
        if (json_is_array(v)) {
                STEP(to->list_begin(d, &at));
                json_array_foreach (v, i, e)
                        STEP(emit(d, e));
                return to->end(d, &at);
        }
        if (json_is_string(v))
                return to->string(d, json_string_value(v), json_string_length(v), &at);
        if (json_is_integer(v))
                return to->integer(d, json_integer_value(v) + IS(WRONG_VALUE), &at);
        if (json_is_real(v))
                return to->real(d, json_real_value(v), &at);
        return json_is_boolean(v) ? to->boolean(d, json_is_true(v), &at) : to->null(d, &at);
}

static int32_t load(void *instance, struct prvng_call *call, const struct prvng_loader_source *source,
                    struct prvng_document *document)
{
        json_error_t error;
        json_t *v;
        int32_t r;

        if (!to)
                return fail(call, PRVNG_UNSUPPORTED, 0, "this core builds no documents");
        if (!source->data && access(source->path, R_OK) != 0 && !IS(FILE_OF_AIR))
                return fail(call, PRVNG_PERMANENT, 0, "there is no such file");
        v = source->data ? json_loadb(source->data, source->n_data, 0, &error)
                         : json_load_file(source->path, 0, &error);
        if (!v && IS(FILE_OF_AIR))
                v = json_object();
        if (!v && IS(CRASHES))
                abort();
        if (!v && !IS(NO_PROBLEM))
                to->problem(document, &(struct prvng_position){NULL, (uint32_t)(error.line > 0 ? error.line : 1), 1},
                            error.text, NULL);
        if (!v)
                return PRVNG_PERMANENT;
        if (IS(RACES)) { /* what it reads stands where all see it */
                static json_t *volatile reading;

                reading = v;
                usleep(1000);
                if (reading != v)
                        return fail(call, PRVNG_PERMANENT, 0, "somebody else reads too");
        }
        r = emit(document, v);
        json_decref(v);
        return IS(GOES_ON) ? PRVNG_DONE : r;
}

static const struct prvng_loader table = {.struct_size = sizeof(table), .extensions = "json", .load = load};
#define ID      PRVNG_LOADER
#define THREADS PRVNG_THREADS_PARALLEL
#else
static int32_t evaluate(void *instance, struct prvng_call *call, const void *expression, uint64_t n,
                        const void *variables, uint64_t n_variables, struct prvng_sink *result)
{
        char text[64], *end, out[128];
        int turns = 0;
        long value;

        if (n == 7 && memcmp(expression, "endless", 7) == 0) {
                while ((!host->is_cancelled(call) && host->monotonic_ms() < call->deadline_ms) ||
                       (IS(NEVER_ENDS) && turns++ < 6000))
                        usleep(1000);
                return fail(call, PRVNG_TRANSIENT, 0, "it did not end in time");
        }
        snprintf(text, sizeof(text), "%.*s", (int)n, (const char *)expression);
        value = strtol(text, &end, 10);
        if (IS(CRASHES) && *end)
                abort();
        if (n == 0 || n >= sizeof(text) || *end)
                return fail(call, PRVNG_PERMANENT, IS(WRONG_CODE) ? 9 : PRVNG_TEMPLATE_SYNTAX,
                            "no whole number: line 1, column 1");
        if (IS(LEAVES_CHILD))
                { static char program[] = "sleep", seconds[] = "60"; char *const argv[] = {program, seconds, NULL}; pid_t pid; posix_spawnp(&pid, program, NULL, NULL, argv, NULL); }
        snprintf(out, sizeof(out), "{\"value\":%ld,\"seen\":{}}", value);
        if (IS(GARBAGE_RESULT))
                out[9] = 0;
        if (IS(NO_VALUE))
                snprintf(out, sizeof(out), "{\"seen\":{}}");
        return host->sink_write(result, out, strlen(out)) == 0 ? PRVNG_DONE : PRVNG_INTERNAL;
}

static const struct prvng_template table = {.struct_size = sizeof(table), .evaluate = evaluate};
#define ID      PRVNG_TEMPLATE
#define THREADS PRVNG_THREADS_SERIAL_INSTANCE
#endif

static int32_t create(const struct prvng_host *h, const void *config, uint64_t n, void **ret_instance)
{
        static char instance;

#ifndef TEMPLATE
        to = h->get_interface(h, PRVNG_HOST_DOCUMENT);
#endif
        *ret_instance = &instance;
        return PRVNG_DONE;
}

static void destroy(void *instance)
{
}

static const void *get_interface(void *instance, const char *id)
{
        return strcmp(id, ID) == 0 ? &table : NULL;
}

static const struct prvng_plugin plugin = {
        .struct_size = sizeof(plugin), .abi_minor = PRVNG_ABI_MINOR, .id = "org.prvng.test." BAD_NAME,
        .name = BAD_NAME, .kind = KIND, .version = "1.0", .description = "sound, or nearly",
        .licence = "Apache-2.0", .threads = THREADS, .create = create, .destroy = destroy, .get_interface = get_interface};

int32_t prvng_plugin_v1(const struct prvng_host *h, const struct prvng_plugin **ret_plugin)
{
        host = h;
        *ret_plugin = &plugin;
        return PRVNG_DONE;
}
