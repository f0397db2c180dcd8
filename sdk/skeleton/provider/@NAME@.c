/*
 * The provider @NAME@. Its servers are files in a folder ("folder" in the configuration): named by the
 * server, holding the op id that made them. Replace read_one(), write_one() and remove_one() by requests to
 * your API, and send the op id with them (client token, label): it is what makes a second begin() harmless
 * and lets observe() find out what became of the first.
 */
#include <prvng/prvng.h>

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

PRVNG_PLUGIN_NOTE("provider", "org.example.prvng.@NAME@", "@NAME@", "0.1.0", "[]", "none");

static const struct prvng_host *host; /* given by the entry, valid for ever */

struct instance {
        char *folder;
};

/* --- small things --- */

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

/* What the core keeps of a server, and hands to what builds on it. */
static int32_t put_result(struct prvng_sink *sink, const json_t *o)
{
        return put(sink, json_pack("{s:O, s:O, s:s, s:[]}", "name", json_object_get(o, "name"), "id",
                                   json_object_get(o, "op_id"), "state", "running", "addresses"));
}

/* --- the API: replace these --- */

static json_t *read_one(const struct instance *i, const char *name)
{
        char path[4096];

        snprintf(path, sizeof(path), "%s/%s.json", i->folder, name);
        return json_load_file(path, 0, NULL);
}

static bool write_one(const struct instance *i, const json_t *o)
{
        char path[4096], temporary[4096], *s = json_dumps(o, JSON_COMPACT);
        int fd, n;
        bool ok;

        snprintf(path, sizeof(path), "%s/%s.json", i->folder, text(o, "name"));
        n = snprintf(temporary, sizeof(temporary), "%s/.%s", i->folder, text(o, "name"));
        fd = n < (int)sizeof(temporary) ? open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
        ok = s && fd >= 0 && write(fd, s, strlen(s)) == (ssize_t)strlen(s) && fsync(fd) == 0;
        if (fd >= 0)
                close(fd);
        free(s);
        return ok && rename(temporary, path) == 0;
}

static bool remove_one(const struct instance *i, const char *name)
{
        char path[4096];

        snprintf(path, sizeof(path), "%s/%s.json", i->folder, name);
        return unlink(path) == 0;
}

/* --- operations --- */

/* The request holds all that begin() needs; the core journals it before begin() may act. */
static int32_t prepare(void *instance, struct prvng_call *call, const char *verb, const void *task, uint64_t n,
                       struct prvng_sink *request)
{
        static const char *const copied[] = {"kind", "name", "workflow", "site", "spec"};
        static const char *const verbs[] = {"create", "update", "delete", "check"};
        json_t *o = json_loadb(task, n, JSON_REJECT_DUPLICATES, NULL), *q;
        bool known = false;

        for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
                known = known || strcmp(verbs[i], verb) == 0;
        if (!known || !*text(o, "name") || strchr(text(o, "name"), '/') || text(o, "name")[0] == '.' ||
            !json_is_object(json_object_get(o, "spec"))) {
                json_decref(o);
                return known ? fail(call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, "a task has a name and a spec")
                             : fail(call, PRVNG_UNSUPPORTED, PRVNG_EFFECT_NONE,
                                    "the verbs are create, update, delete and check");
        }
        q = json_pack("{s:i}", "format", 1);
        for (size_t i = 0; i < sizeof(copied) / sizeof(copied[0]); i++)
                if (json_object_get(o, copied[i]))
                        json_object_set(q, copied[i], json_object_get(o, copied[i]));
        json_decref(o);
        return put(request, q);
}

static int32_t check(const json_t *q, const json_t *there, struct prvng_sink *result)
{
        if (there && json_equal(json_object_get(there, "spec"), json_object_get(q, "spec")))
                return put_result(result, there) == PRVNG_DONE ? PRVNG_UNCHANGED : PRVNG_INTERNAL;
        return put(result, json_pack("{s:[{s:s, s:b}]}", "drift", "attribute", there ? "spec" : "", "found",
                                     there != NULL));
}

static int32_t act(struct instance *i, struct prvng_call *call, const char *verb, json_t *q, json_t *there,
                   struct prvng_sink *result)
{
        bool create = strcmp(verb, "create") == 0;

        if (strcmp(verb, "delete") == 0) {
                if (!there)
                        return put(result, json_object()) == PRVNG_DONE ? PRVNG_UNCHANGED : PRVNG_INTERNAL;
                if (!remove_one(i, text(q, "name")))
                        return fail(call, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN, "the file cannot be removed");
                return put(result, json_object());
        }
        if (!there && !create)
                return fail(call, PRVNG_NOT_FOUND, PRVNG_EFFECT_NONE, "there is no such server to update");
        if (there && json_equal(json_object_get(there, "spec"), json_object_get(q, "spec")))
                return put_result(result, there) != PRVNG_DONE ? PRVNG_INTERNAL
                       : create && strcmp(text(there, "op_id"), call->op_id) == 0 ? PRVNG_DONE
                                                                                 : PRVNG_UNCHANGED;
        if (there && create)
                return fail(call, PRVNG_CONFLICT, PRVNG_EFFECT_NONE, "a server of this name is there, and another");
        json_object_set_new(q, "op_id", there ? json_incref(json_object_get(there, "op_id"))
                                              : json_string(call->op_id));
        if (!write_one(i, q))
                return fail(call, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN, "the file cannot be written");
        return put_result(result, q);
}

/* Acts. What takes longer than a second is PENDING: write a token, and answer poll(). */
static int32_t begin(void *instance, struct prvng_call *call, const char *verb, const void *request, uint64_t n,
                     struct prvng_sink *token, struct prvng_sink *result)
{
        json_t *q = json_loadb(request, n, 0, NULL), *there;
        int32_t r;

        if (json_integer_value(json_object_get(q, "format")) != 1 || !*text(q, "name")) {
                json_decref(q);
                return fail(call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, "not a request of this plugin");
        }
        if (host->is_cancelled(call)) {
                json_decref(q);
                return fail(call, PRVNG_CANCELLED, PRVNG_EFFECT_NONE, "cancelled before anything was done");
        }
        there = read_one(instance, text(q, "name"));
        r = strcmp(verb, "check") == 0 ? check(q, there, result) : act(instance, call, verb, q, there, result);
        json_decref(there);
        json_decref(q);
        return r;
}

/* What became of this op id? Asked after a crash, before anything is begun again. */
static int32_t observe(void *instance, struct prvng_call *call, const char *verb, const void *request, uint64_t n,
                       const void *token, uint64_t n_token, struct prvng_sink *new_token,
                       struct prvng_sink *result)
{
        json_t *q = json_loadb(request, n, 0, NULL), *there = *text(q, "name") ? read_one(instance, text(q, "name")) : NULL;
        bool gone = strcmp(verb, "delete") == 0, done;
        int32_t r;

        if (!*text(q, "name"))
                r = fail(call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, "not a request of this plugin");
        else {
                done = gone ? !there : there && json_equal(json_object_get(there, "spec"), json_object_get(q, "spec"));
                r = !done ? PRVNG_OBSERVED_NOT_STARTED
                    : (gone ? put(result, json_object()) : put_result(result, there)) == PRVNG_DONE
                            ? PRVNG_OBSERVED_DONE
                            : PRVNG_INTERNAL;
        }
        json_decref(there);
        json_decref(q);
        return r;
}

static int32_t read_state(void *instance, struct prvng_call *call, const void *task, uint64_t n,
                          struct prvng_sink *result)
{
        json_t *q = json_loadb(task, n, 0, NULL), *there = read_one(instance, text(q, "name"));
        int32_t r = there ? put_result(result, there)
                          : fail(call, PRVNG_NOT_FOUND, PRVNG_EFFECT_NONE, "there is no such server");

        json_decref(there);
        json_decref(q);
        return r;
}

static bool carries(const json_t *o, const json_t *filter, const char *mark)
{
        return !*text(filter, mark) || strcmp(text(filter, mark), text(o, mark)) == 0;
}

/* All that carries our marks: how orphans and surplus are found. */
static int32_t list(void *instance, struct prvng_call *call, const void *filter, uint64_t n,
                    struct prvng_sink *result)
{
        json_t *f = json_loadb(filter, n, 0, NULL), *all = json_array();
        struct instance *i = instance;
        DIR *d = opendir(i->folder);

        for (const struct dirent *e; d && (e = readdir(d));) {
                char name[300];
                json_t *o;

                snprintf(name, sizeof(name), "%s", e->d_name);
                if (name[0] == '.' || !strstr(name, ".json"))
                        continue;
                *strstr(name, ".json") = 0;
                o = read_one(i, name);
                if (o && carries(o, f, "op_id") && carries(o, f, "workflow") && carries(o, f, "site") &&
                    carries(o, f, "kind"))
                        json_array_append_new(all, json_pack("{s:O?, s:O?, s:O?, s:O?, s:{s:s}}", "kind",
                                                             json_object_get(o, "kind"), "name",
                                                             json_object_get(o, "name"), "op_id",
                                                             json_object_get(o, "op_id"), "workflow",
                                                             json_object_get(o, "workflow"), "identity", "id",
                                                             text(o, "op_id")));
                json_decref(o);
        }
        if (d)
                closedir(d);
        json_decref(f);
        return put(result, json_pack("{s:o}", "resources", all));
}

static int32_t describe(void *instance, struct prvng_sink *result)
{
        return put(result, json_loads("{\"resources\": [{\"kind\": \"server\", \"verbs\": [\"create\", \"update\","
                                      " \"delete\", \"check\"], \"undo\": [\"create\", \"update\"], \"spec\":"
                                      " {\"type\": \"object\"}, \"update\": {\"cpu\": \"live\"}}]}", 0, NULL));
}

static const struct prvng_op op = {
        .struct_size = sizeof(op), .prepare = prepare, .begin = begin, .observe = observe, .read = read_state,
        .list = list, .describe = describe};

/* --- instances --- */

static int32_t create(const struct prvng_host *h, const void *config, uint64_t n, void **ret_instance)
{
        json_t *o = json_loadb(config, n, 0, NULL);
        struct instance *i;

        if (text(o, "folder")[0] != '/') {
                h->log(h, PRVNG_LOG_ERROR, "config", "@NAME@: set config.folder to an absolute path");
                json_decref(o);
                return PRVNG_PERMANENT;
        }
        i = calloc(1, sizeof(*i));
        if (i)
                i->folder = strdup(text(o, "folder"));
        json_decref(o);
        if (!i || !i->folder) {
                free(i);
                return PRVNG_INTERNAL;
        }
        mkdir(i->folder, 0700);
        *ret_instance = i;
        return PRVNG_DONE;
}

static void destroy(void *instance)
{
        struct instance *i = instance;

        if (i)
                free(i->folder);
        free(i);
}

static const void *get_interface(void *instance, const char *id)
{
        return strcmp(id, PRVNG_OP) == 0 || strcmp(id, PRVNG_PROVIDER) == 0 ? &op : NULL;
}

static const struct prvng_plugin plugin = {
        .struct_size = sizeof(plugin),
        .abi_minor = PRVNG_ABI_MINOR,
        .id = "org.example.prvng.@NAME@",
        .name = "@NAME@",
        .kind = "provider",
        .version = "0.1.0",
        .description = "Servers of @NAME@",
        .licence = "Apache-2.0",
        .threads = PRVNG_THREADS_SERIAL_INSTANCE,
        .dependencies = "{\"requires_network\": false, \"network_before_servers\": false, \"shared_resources\": [],"
                        " \"api_rate_limit\": 10, \"batch_size\": 4}",
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
