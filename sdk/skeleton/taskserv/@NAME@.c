/*
 * The taskserv @NAME@: one file on a server ("path" and "text" in the vars). It works through
 * prvng.host.remote/1 only and never knows which provider the server is of. What takes longer than a second
 * is started as a job (job_start) and followed by poll().
 */
#include <prvng/prvng.h>

#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

PRVNG_PLUGIN_NOTE("taskserv", "org.example.prvng.@NAME@", "@NAME@", "0.1.0", "[\"prvng.host.remote/1\"]", "none");

static const struct prvng_host *host;
static const struct prvng_host_remote *remote;

static int32_t fail(struct prvng_call *call, int32_t error_class, uint32_t effect, const char *message)
{
        struct prvng_error e = {.struct_size = sizeof(e), .error_class = error_class, .retry_after_ms = -1,
                                .effect = effect, .message = message};

        host->error(call, &e);
        return error_class;
}

static const char *text(const json_t *o, const char *key)
{
        const char *s = json_string_value(json_object_get(o, key));

        return s ? s : "";
}

static int32_t put(struct prvng_sink *sink, json_t *o)
{
        char *s = o ? json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
        int32_t r = s && host->sink_write(sink, s, strlen(s)) == 0 ? PRVNG_DONE : PRVNG_INTERNAL;

        free(s);
        json_decref(o);
        return r;
}

/* The request: what is wanted, and how the server is reached. */
static int32_t prepare(void *instance, struct prvng_call *call, const char *verb, const void *task, uint64_t n,
                       struct prvng_sink *request)
{
        json_t *o = json_loadb(task, n, JSON_REJECT_DUPLICATES, NULL), *q = NULL, *server = NULL, *spec;
        const char *key;
        json_t *v;

        json_object_foreach (json_object_get(o, "inputs"), key, v)
                if (strncmp(key, "server.", 7) == 0 && strcmp(key + 7, text(o, "server")) == 0)
                        server = v;
        spec = json_object_get(o, "spec");
        if (strcmp(verb, "create") && strcmp(verb, "update") && strcmp(verb, "delete") && strcmp(verb, "check"))
                fail(call, PRVNG_UNSUPPORTED, PRVNG_EFFECT_NONE, "the verbs are create, update, delete and check");
        else if (!server || !*text(o, "name"))
                fail(call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, "the task has no name, or no server to stand on");
        else
                q = json_pack("{s:i, s:O, s:s, s:s}", "format", 1, "server", server, "path",
                              *text(spec, "path") ? text(spec, "path") : "/etc/@NAME@.txt", "text",
                              text(spec, "text"));
        json_decref(o);
        if (!q)
                return strcmp(verb, "create") && strcmp(verb, "update") && strcmp(verb, "delete") &&
                                       strcmp(verb, "check")
                               ? PRVNG_UNSUPPORTED
                               : PRVNG_PERMANENT;
        return put(request, q);
}

/* Runs a script on the server; its exit code, or a negative class. */
static int32_t run(struct prvng_call *call, const json_t *q, const char *script, const char *input)
{
        const char *const argv[] = {"sh", "-c", script, "sh", text(q, "path"), input, NULL};
        char *server = json_dumps(json_object_get(q, "server"), JSON_COMPACT);
        int32_t code = -1, r = PRVNG_INTERNAL;

        if (server)
                r = remote->run(call, server, strlen(server), argv, NULL, 0, NULL, NULL, &code);
        free(server);
        return r == PRVNG_DONE ? code : r;
}

static int32_t find(struct prvng_call *call, const json_t *q)
{
        return run(call, q, "test -f \"$1\" || exit 2; test \"$(cat \"$1\")\" = \"$2\" || exit 1", text(q, "text"));
}

static int32_t begin(void *instance, struct prvng_call *call, const char *verb, const void *request, uint64_t n,
                     struct prvng_sink *token, struct prvng_sink *result)
{
        bool delete = strcmp(verb, "delete") == 0;
        json_t *q = json_loadb(request, n, 0, NULL);
        int32_t r;

        if (json_integer_value(json_object_get(q, "format")) != 1) {
                json_decref(q);
                return fail(call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, "not a request of this plugin");
        }
        if (host->is_cancelled(call)) {
                json_decref(q);
                return fail(call, PRVNG_CANCELLED, PRVNG_EFFECT_NONE, "cancelled before anything was done");
        }
        r = find(call, q); /* 0: as wanted, 1: otherwise, 2: not there */
        if (strcmp(verb, "check") == 0 && r > 0)
                r = put(result, json_pack("{s:[{s:s}]}", "drift", "attribute", r == 2 ? "" : "text"));
        else if (r == (delete ? 2 : 0))
                r = put(result, json_object()) == PRVNG_DONE ? PRVNG_UNCHANGED : PRVNG_INTERNAL;
        else if (r >= 0) {
                r = run(call, q, delete ? "rm -f \"$1\"" : "printf '%s\\n' \"$2\" > \"$1.new\" && mv \"$1.new\" \"$1\"",
                        text(q, "text"));
                r = r > 0 ? fail(call, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN, "the file cannot be written there")
                    : r == 0 ? put(result, json_object())
                             : r;
        }
        json_decref(q);
        return r;
}

static int32_t observe(void *instance, struct prvng_call *call, const char *verb, const void *request, uint64_t n,
                       const void *token, uint64_t n_token, struct prvng_sink *new_token,
                       struct prvng_sink *result)
{
        json_t *q = json_loadb(request, n, 0, NULL);
        int32_t r;

        if (json_integer_value(json_object_get(q, "format")) != 1) {
                json_decref(q);
                return fail(call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, "not a request of this plugin");
        }
        r = find(call, q);
        json_decref(q);
        if (r < 0)
                return r;
        if (r != (strcmp(verb, "delete") == 0 ? 2 : 0))
                return PRVNG_OBSERVED_NOT_STARTED;
        return put(result, json_object()) == PRVNG_DONE ? PRVNG_OBSERVED_DONE : PRVNG_INTERNAL;
}

static int32_t describe(void *instance, struct prvng_sink *result)
{
        return put(result, json_loads("{\"resources\": [{\"kind\": \"taskserv\", \"verbs\": [\"create\", \"update\","
                                      " \"delete\", \"check\"], \"undo\": [\"create\"], \"spec\": {\"type\":"
                                      " \"object\"}}]}", 0, NULL));
}

static const struct prvng_op op = {.struct_size = sizeof(op), .prepare = prepare, .begin = begin,
                                   .observe = observe, .describe = describe};

static int32_t create(const struct prvng_host *h, const void *config, uint64_t n, void **ret_instance)
{
        static char instance; /* it has no state */

        remote = h->get_interface(h, PRVNG_HOST_REMOTE);
        if (!remote) {
                h->log(h, PRVNG_LOG_ERROR, "create", "@NAME@ needs " PRVNG_HOST_REMOTE);
                return PRVNG_UNSUPPORTED;
        }
        *ret_instance = &instance;
        return PRVNG_DONE;
}

static void destroy(void *instance)
{
}

static const void *get_interface(void *instance, const char *id)
{
        return strcmp(id, PRVNG_OP) == 0 || strcmp(id, PRVNG_TASKSERV) == 0 ? &op : NULL;
}

static const struct prvng_plugin plugin = {
        .struct_size = sizeof(plugin),
        .abi_minor = PRVNG_ABI_MINOR,
        .id = "org.example.prvng.@NAME@",
        .name = "@NAME@",
        .kind = "taskserv",
        .version = "0.1.0",
        .description = "A file on a server",
        .licence = "Apache-2.0",
        .threads = PRVNG_THREADS_PARALLEL,
        .dependencies = "{\"requires\": [], \"conflicts_with\": []}",
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
