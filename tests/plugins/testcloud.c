/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Test provider "testcloud"; scripted.h says what it does. Its servers are this very machine. Built a
 * second time as "testback", which can make again what was deleted.
 */
#include "scripted.h"

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
                    KIND("network", "{}") "," KIND("security_group", "{}") "]}",
        .add_result = add_result,
};

static int32_t create(const struct prvng_host *host, const void *config, uint64_t n_config,
                      void **ret_instance)
{
        return scripted_create(&what, host, config, n_config, ret_instance);
}

static const void *get_interface(void *instance, const char *id)
{
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
        .dependencies = "{\"requires_network\":false,\"network_before_servers\":false,"
                        "\"shared_resources\":[],\"api_rate_limit\":1000,\"batch_size\":50}",
        .create = create,
        .destroy = scripted_destroy,
        .get_interface = get_interface,
};

int32_t prvng_plugin_v1(const struct prvng_host *host, const struct prvng_plugin **ret_plugin)
{
        *ret_plugin = &plugin;
        return PRVNG_DONE;
}
