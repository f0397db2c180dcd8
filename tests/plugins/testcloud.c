/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Test provider "testcloud"; scripted.h says what it does. Its servers are this very machine. Built a
 * second time as "testback", which can make again what was deleted, and a third time as "testnet", whose
 * servers share a network and a security group, and which has all optional interfaces: it looks for the
 * zone "nowhere" in the precheck, finds what is in its folder, and renews its credential.
 */
#include "scripted.h"

#include <stdio.h>
#include <string.h>

#ifndef TESTCLOUD_NAME
#define TESTCLOUD_NAME   "testcloud"
#define TESTCLOUD_UNDOES "\"create\",\"update\""
#else
#define TESTCLOUD_UNDOES "\"create\",\"update\",\"delete\""
#endif
#define ID "org.prvng.test." TESTCLOUD_NAME

PRVNG_PLUGIN_NOTE("provider", ID, TESTCLOUD_NAME, "1.0",
                  "[\"prvng.host.workdir/1\"]", "none");

static void add_result(json_t *result, const json_t *request)
{
        static const char *const copied[] = {"cpu", "memory", "disk"};
        const json_t *spec = json_object_get(request, "spec");

        for (size_t i = 0; i < sizeof(copied) / sizeof(copied[0]); i++)
                if (json_object_get(spec, copied[i]))
                        json_object_set(result, copied[i], json_object_get(spec, copied[i]));
        json_object_set_new(result, "state", json_string("running"));
        if (strcmp(json_string_value(json_object_get(request, "kind")), "credential") == 0) {
                json_object_set_new(result, "id", json_string("key-2"));
                json_object_set_new(result, "valid_until", json_string("2027-01-31T00:00:00Z"));
        } else {
                json_object_set_new(result, "id", json_sprintf("id-%s", json_string_value(
                                                                     json_object_get(request, "name"))));
        }
        if (strcmp(json_string_value(json_object_get(request, "kind")), "server") != 0)
                return;
        json_object_set(result, "hostname", json_object_get(request, "name"));
        json_object_set_new(result, "addresses", json_pack("[s]", "127.0.0.1"));
        json_object_set_new(result, "reach",
                            json_pack("{s:s, s:[s,s,s]}", "method", "exec", "argv", "/usr/bin/env",
                                      "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"));
}

#define KIND(name, update)                                                                         \
        "{\"kind\":\"" name "\",\"verbs\":[\"create\",\"update\",\"delete\",\"check\"],\"undo\":["   \
        TESTCLOUD_UNDOES "],\"spec\":{\"type\":\"object\"},\"update\":" update "}"

static const struct scripted what = {
        .name = TESTCLOUD_NAME,
        .describe = "{\"resources\":["
                    KIND("server", "{\"cpu\":\"live\",\"memory\":\"live\",\"labels\":\"live\","
                                   "\"disk\":\"restart\",\"image\":\"replace\"}") ","
                    KIND("network", "{\"address\":\"replace\"}") ","
                    KIND("security_group", "{\"rules\":\"live\"}") ","
                    "{\"kind\":\"credential\",\"verbs\":[\"update\"],\"undo\":[]}]}",
        .add_result = add_result,
};

static int32_t create(const struct prvng_host *host, const void *config, uint64_t n_config,
                      void **ret_instance)
{
        return scripted_create(&what, host, config, n_config, ret_instance);
}

#ifdef TESTCLOUD_SHARED
#include <stdlib.h>

#define DEPENDENCIES                                                                               \
        "{\"requires_network\":true,\"network_before_servers\":true,"                              \
        "\"shared_resources\":[\"private_network\",\"security_group\"],\"api_rate_limit\":0,"        \
        "\"batch_size\":50}"

static int32_t fail(const struct world *w, struct prvng_call *call, int32_t error_class,
                    const char *message)
{
        struct prvng_error e = {.struct_size = sizeof(e), .error_class = error_class,
                                .retry_after_ms = -1, .effect = PRVNG_EFFECT_NONE, .message = message};

        w->host->error(call, &e);
        return error_class;
}

static int32_t write_json(const struct world *w, struct prvng_sink *sink, json_t *o)
{
        char *s = json_dumps(o, JSON_COMPACT);
        int32_t r = s && w->host->sink_write(sink, s, strlen(s)) == 0 ? PRVNG_DONE : PRVNG_INTERNAL;

        free(s);
        json_decref(o);
        return r;
}

/* A file "offline" in the folder: it cannot be asked. */
static bool is_offline(const struct world *w)
{
        json_t *always = json_pack("{s:s}", "unless", "offline");
        bool offline = !world_applies(w, always, "");

        json_decref(always);
        return offline;
}

static int32_t precheck(void *instance, struct prvng_call *call, const void *tasks, uint64_t n_tasks,
                        struct prvng_sink *result)
{
        struct world *w = instance;
        json_t *all, *problems, *t;
        size_t i;

        if (is_offline(w))
                return fail(w, call, PRVNG_TRANSIENT, "it does not answer");
        all = json_loadb(tasks, n_tasks, 0, NULL);
        problems = json_array();
        json_array_foreach (json_object_get(all, "tasks"), i, t) {
                const json_t *spec = json_object_get(json_object_get(t, "task"), "spec");
                const char *zone = json_string_value(json_object_get(spec, "zone"));
                const json_t *own = json_object_get(spec, "testnet");

                if (zone && strcmp(zone, "nowhere") == 0)
                        json_array_append_new(problems, json_pack(
                                "{s:i, s:s, s:s}", "task", (int)i, "field", "spec.zone", "message",
                                "there is no zone nowhere; there are here, there"));
                if (json_object_get(own, "quota"))
                        json_array_append_new(problems, json_pack("{s:s}", "message",
                                                                  "the quota is used up"));
        }
        json_decref(all);
        return write_json(w, result, json_pack("{s:o, s:[s]}", "problems", problems, "notices",
                                               "prices are not looked at"));
}

/* An id is id-NAME; "twins" are two. */
static int32_t find(void *instance, struct prvng_call *call, const char *kind, const char *id,
                    struct prvng_sink *result)
{
        struct world *w = instance;
        const char *name = strncmp(id, "id-", 3) == 0 ? id + 3 : id;
        char path[300];
        json_t *there;

        if (strcmp(id, "twins") == 0)
                return fail(w, call, PRVNG_CONFLICT, "two have that name: id-a, id-b");
        snprintf(path, sizeof(path), "resources/%s.%s", kind, name);
        there = strchr(id, '/') ? NULL : world_get(w, path);
        if (!there)
                return fail(w, call, PRVNG_NOT_FOUND, "there is none with that id or name");
        json_object_set(there, "outputs", json_object_get(there, "result"));
        return write_json(w, result, there);
}

static const void *more(const char *id)
{
        static const struct prvng_provider_precheck prechecks = {.struct_size = sizeof(prechecks),
                                                                 .check = precheck};
        static const struct prvng_provider_inventory inventory = {.struct_size = sizeof(inventory),
                                                                  .find = find};

        if (strcmp(id, PRVNG_PROVIDER_PRECHECK) == 0)
                return &prechecks;
        return strcmp(id, PRVNG_PROVIDER_INVENTORY) == 0 ? &inventory : NULL;
}
#else
#define DEPENDENCIES                                                                               \
        "{\"requires_network\":false,\"network_before_servers\":false,"                            \
        "\"shared_resources\":[],\"api_rate_limit\":1000,\"batch_size\":50}"

static const void *more(const char *id)
{
        return NULL;
}
#endif

static const void *get_interface(void *instance, const char *id)
{
        if (more(id))
                return more(id);
        return strcmp(id, PRVNG_OP) == 0 || strcmp(id, PRVNG_PROVIDER) == 0 ? &scripted_op : NULL;
}

static const struct prvng_plugin plugin = {
        .struct_size = sizeof(plugin),
        .abi_minor = PRVNG_ABI_MINOR,
        .id = ID,
        .name = TESTCLOUD_NAME,
        .kind = "provider",
        .version = "1.0",
        .description = "a cloud in a folder that does what a script says",
        .licence = "Apache-2.0",
        .threads = PRVNG_THREADS_PARALLEL,
        .dependencies = DEPENDENCIES,
        .create = create,
        .destroy = scripted_destroy,
        .get_interface = get_interface,
};

int32_t prvng_plugin_v1(const struct prvng_host *host, const struct prvng_plugin **ret_plugin)
{
        *ret_plugin = &plugin;
        return PRVNG_DONE;
}
