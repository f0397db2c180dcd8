/* SPDX-License-Identifier: Apache-2.0 */
/* prvng.host.workdir/1: STATE/plugins/NAME, CACHE/NAME and STATE/runs/RUN/TASK. */
#include "host/services.h"

#include <prvng/prvng.h>

#include <sys/stat.h>

int host_make_folder(const char *path)
{
        _cleanup_(cleanup_free) char *copy = strdup(path);
        struct stat st;

        if (!copy)
                return error_origin(-ENOMEM);
        for (char *p = copy + 1; *p; p++) {
                if (*p != '/')
                        continue;
                *p = 0;
                if (mkdir(copy, 0700) < 0 && errno != EEXIST)
                        return error_origin(-errno);
                *p = '/';
        }
        if (mkdir(copy, 0700) < 0 && errno != EEXIST)
                return error_origin(-errno);
        if (stat(copy, &st) < 0)
                return error_origin(-errno);
        return S_ISDIR(st.st_mode) ? 0 : error_origin(-ENOTDIR);
}

/* One component of a path: no name of ours may lead out of its folder. */
static bool is_component(const char *name)
{
        return name[0] && !streq(name, ".") && !streq(name, "..") && !strchr(name, '/');
}

char *host_run_folder(const struct config *config, const char *run, const char *task)
{
        _cleanup_(cleanup_free) char *name = task ? strdup(task) : NULL, *path = NULL;

        if ((task && !name) || !is_component(run))
                return NULL;
        for (char *p = name; p && *p; p++)
                if (*p == '/')
                        *p = ':';
        if (name && !is_component(name))
                return NULL;
        if (asprintf(&path, "%s/runs/%s%s%s", config->state, run, name ? "/" : "",
                     name ? name : "") < 0) {
                path = NULL;
                return NULL;
        }
        return host_make_folder(path) < 0 ? NULL : steal(&path);
}

static const char *plugin_folder(const struct prvng_host *host, const char *base,
                                 const char *middle, const char *plugin_name)
{
        _cleanup_(cleanup_free) char *path = NULL;

        if (!plugin_name || !is_component(plugin_name) ||
            asprintf(&path, "%s%s/%s", base, middle, plugin_name) < 0)
                return NULL;
        return host_make_folder(path) < 0 ? NULL : host_intern(host, path);
}

static const char *workdir_state(const struct prvng_host *host, const char *plugin_name)
{
        return plugin_folder(host, host_table_of(host)->host->config->state, "/plugins",
                             plugin_name);
}

static const char *workdir_cache(const struct prvng_host *host, const char *plugin_name)
{
        return plugin_folder(host, host_table_of(host)->host->config->cache, "", plugin_name);
}

static const char *workdir_task(struct prvng_call *pub)
{
        struct op_call *call = op_call_of(pub);
        _cleanup_(cleanup_free) char *path = NULL;

        if (!call->run[0] || !call->task[0])
                return NULL;
        path = host_run_folder(call->host->config, call->run, call->task);
        return path ? host_intern(&call->host->core.pub, path) : NULL;
}

const struct prvng_host_workdir host_workdir = {
        .struct_size = sizeof(struct prvng_host_workdir),
        .state = workdir_state,
        .cache = workdir_cache,
        .task = workdir_task,
};
