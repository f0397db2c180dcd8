/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Test taskservs; scripted.h says what they do. Built more than once: TESTSERV_NAME is the short
 * name, TESTSERV_REQUIRES the taskserv that it requires, if any.
 */
#include "scripted.h"

#include <string.h>

#ifdef TESTSERV_REQUIRES
#define REQUIRES "\"" TESTSERV_REQUIRES "\""
#else
#define REQUIRES ""
#endif
#define ID "org.prvng.test." TESTSERV_NAME

PRVNG_PLUGIN_NOTE("taskserv", ID, TESTSERV_NAME, "1.0", "[\"prvng.host.workdir/1\"]", "none");

static void add_result(json_t *result, const json_t *request)
{
        json_object_set(result, "server", json_object_get(request, "server"));
        json_object_set_new(result, "state", json_string("installed"));
}

static const struct scripted what = {
        .name = TESTSERV_NAME,
        .describe = "{\"resources\":[{\"kind\":\"taskserv\",\"verbs\":[\"create\",\"update\","
                    "\"delete\",\"check\"],\"undo\":[\"create\"],\"spec\":{\"type\":\"object\"},"
                    "\"update\":{\"version\":\"live\"}}]}",
        .add_result = add_result,
};

static int32_t create(const struct prvng_host *host, const void *config, uint64_t n_config,
                      void **ret_instance)
{
        return scripted_create(&what, host, config, n_config, ret_instance);
}

static const void *get_interface(void *instance, const char *id)
{
        return strcmp(id, PRVNG_OP) == 0 || strcmp(id, PRVNG_TASKSERV) == 0 ? &scripted_op : NULL;
}

static const struct prvng_plugin plugin = {
        .struct_size = sizeof(plugin),
        .abi_minor = PRVNG_ABI_MINOR,
        .id = ID,
        .name = TESTSERV_NAME,
        .kind = "taskserv",
        .version = "1.0",
        .description = "a service that is only written down",
        .licence = "Apache-2.0",
        .threads = PRVNG_THREADS_PARALLEL,
        .dependencies = "{\"requires\":[" REQUIRES "],\"conflicts_with\":[],"
                        "\"minimum_resources\":{\"cpu\":1,\"memory\":64,\"disk\":1},"
                        "\"health_check\":{\"command\":\"true\",\"timeout\":5,\"retries\":1}}",
        .create = create,
        .destroy = scripted_destroy,
        .get_interface = get_interface,
};

int32_t prvng_plugin_v1(const struct prvng_host *host, const struct prvng_plugin **ret_plugin)
{
        *ret_plugin = &plugin;
        return PRVNG_DONE;
}
