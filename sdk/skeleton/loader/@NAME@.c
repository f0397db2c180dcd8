/*
 * The loader @NAME@. As it stands it reads JSON, in files called *.@NAME@, and says line 1 of everything: put
 * your format's parser in the place of jansson, and emit its events with the positions it knows.
 */
#include <prvng/prvng.h>

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

PRVNG_PLUGIN_NOTE("loader", "org.example.prvng.@NAME@", "@NAME@", "0.1.0", "[]", "none");

static const struct prvng_host *host;

static int32_t fail(struct prvng_call *call, int32_t class, int32_t code, const char *message)
{
        host->error(call, &(struct prvng_error){.struct_size = sizeof(struct prvng_error), .error_class = class,
                                                .code = code, .retry_after_ms = -1, .message = message});
        return class;
}

static const struct prvng_host_document *to;

static int32_t emit(struct prvng_document *d, const json_t *v)
{
        const struct prvng_position at = {NULL, 1, 1};
        const char *key;
        int32_t r = 0;
        json_t *e;
        size_t i;

#define STEP(call) if (r = (call), r < 0) return r
        if (json_is_object(v)) {
                STEP(to->map_begin(d, &at));
                json_object_foreach ((json_t *)(uintptr_t)v, key, e) {
                        STEP(to->key(d, key, strlen(key), &at));
                        STEP(emit(d, e));
                }
                return to->end(d, &at);
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
                return to->integer(d, json_integer_value(v), &at);
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

        to = host->get_interface(host, PRVNG_HOST_DOCUMENT);
        if (!to)
                return fail(call, PRVNG_UNSUPPORTED, 0, "this core builds no documents");
        if (!source->data && access(source->path, R_OK) != 0)
                return fail(call, PRVNG_PERMANENT, 0, "there is no such file");
        v = source->data ? json_loadb(source->data, source->n_data, 0, &error)
                         : json_load_file(source->path, 0, &error);
        if (!v)
                to->problem(document, &(struct prvng_position){NULL, (uint32_t)(error.line > 0 ? error.line : 1), 1},
                            error.text, NULL);
        if (!v)
                return PRVNG_PERMANENT;
        r = emit(document, v);
        json_decref(v);
        return r;
}

static const struct prvng_loader table = {.struct_size = sizeof(table), .extensions = "@NAME@", .load = load};
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
        return strcmp(id, PRVNG_LOADER) == 0 ? &table : NULL;
}

static const struct prvng_plugin plugin = {
        .struct_size = sizeof(plugin), .abi_minor = PRVNG_ABI_MINOR, .id = "org.example.prvng.@NAME@",
        .name = "@NAME@", .kind = "loader", .version = "0.1.0", .description = "Reads definitions in the format @NAME@",
        .licence = "Apache-2.0", .create = create, .destroy = destroy, .get_interface = get_interface};

int32_t prvng_plugin_v1(const struct prvng_host *h, const struct prvng_plugin **ret_plugin)
{
        host = h;
        *ret_plugin = &plugin;
        return PRVNG_DONE;
}
