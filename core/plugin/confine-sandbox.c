/* SPDX-License-Identifier: Apache-2.0 */
/* The sandbox of an isolated plugin, decided on the engine's side. */
#include "plugin/confine.h"

#include "base/json.h"
#include "host/host.h"
#include <prvng/host/workdir.h>

#include <dirent.h>
#include <sys/stat.h>

/*
 * Where the engine is root, a plugin that needs no files has a user of its own, by its name, out of a range
 * that no distribution hands out (systemd's table of users: "unused"). Two names may share one; each is in its
 * sandbox besides.
 */
enum { OWN_USERS = 60706, N_OWN_USERS = 478 };
enum { FILES_MAX = 1024 };

static uid_t own_user(const char *name)
{
        uint32_t h = 2166136261u; /* FNV-1a */

        for (const char *p = name; *p; p++)
                h = (h ^ (uint8_t)*p) * 16777619u;
        return OWN_USERS + h % N_OWN_USERS;
}

/* May a user that is neither owner nor in the group open the file? */
static bool all_may_read(const char *path)
{
        char part[4096];
        struct stat st;

        if (!path || strlen(path) >= sizeof(part) || stat(path, &st) < 0 || !(st.st_mode & S_IROTH))
                return false;
        strcpy(part, path);
        for (char *slash; (slash = strrchr(part, '/')) && slash > part;) {
                *slash = 0;
                if (stat(part, &st) < 0 || !(st.st_mode & S_IXOTH))
                        return false;
        }
        return true;
}

static bool requires(const struct plugin *p, const char *id)
{
        const json_t *e;
        size_t i;

        json_array_foreach (json_object_get(p->note, "requires"), i, e)
                if (streq(json_string_value(e), id))
                        return true;
        return false;
}

/* Absolute, with "~/" expanded; what cannot be is left out. */
static int add_path(json_t *list, const char *path)
{
        const char *home = getenv("HOME");
        _cleanup_(cleanup_free) char *text = NULL;

        if (path[0] == '~' && (!home || path[1] != '/'))
                return 0;
        if (path[0] == '~' && asprintf(&text, "%s%s", home, path + 1) < 0) {
                text = NULL;
                return error_origin(-ENOMEM);
        }
        path = text ? text : path;
        if (path[0] != '/')
                return 0;
        return json_array_append_new(list, json_string(path)) < 0 ? error_origin(-ENOMEM) : 0;
}

/* What the site's configuration and the plugin's variables name. A URL is no path. */
static int add_named(json_t *list, const json_t *j)
{
        const char *key;
        json_t *value;
        size_t i;
        int r = 0;

        if (json_is_string(j))
                return strlen(json_string_value(j)) > 1 ? add_path(list, json_string_value(j)) : 0;
        if (json_is_array(j))
                json_array_foreach (j, i, value)
                        r = r ?: add_named(list, value);
        if (json_is_object(j))
                json_object_foreach ((json_t *)(uintptr_t)j, key, value)
                        r = r ?: add_named(list, value);
        return r;
}

static int remark(json_t *sandbox, const char *text)
{
        return json_array_append_new(json_object_get(sandbox, "remarks"), json_string(text)) < 0
                       ? error_origin(-ENOMEM)
                       : 0;
}

/* Its folders of prvng.host.workdir/1. */
static int add_folders(const struct plugin *p, json_t *sandbox, json_t *write)
{
        const struct prvng_host *host = host_table(p->host);
        const struct prvng_host_workdir *workdir = host->get_interface(host, PRVNG_HOST_WORKDIR);
        const char *state = workdir ? workdir->state(host, p->name) : NULL;
        const char *cache = workdir ? workdir->cache(host, p->name) : NULL;

        if (state && json_object_set_new(sandbox, "folder", json_string(state)) < 0)
                return error_origin(-ENOMEM);
        return cache ? add_path(write, cache) : 0;
}

static int add_declared(const struct plugin *p, json_t *read, json_t *write)
{
        const json_t *paths = json_object_get(p->capabilities, "paths"), *e;
        size_t i;
        int r = 0;

        json_array_foreach (json_object_get(paths, "read"), i, e)
                r = r ?: add_path(read, json_string_value(e));
        json_array_foreach (json_object_get(paths, "write"), i, e) {
                _cleanup_(cleanup_free) char *runs = NULL;

                if (!streq(json_string_value(e), "@task")) {
                        r = r ?: add_path(write, json_string_value(e));
                        continue;
                }
                if (asprintf(&runs, "%s/runs", host_config(p->host)->state) < 0) {
                        runs = NULL;
                        return error_origin(-ENOMEM);
                }
                mkdir(runs, 0700); /* it is there, or the first task's folder makes it anew without us */
                r = r ?: add_path(write, runs);
        }
        return r;
}

/* Helper programs may be links to elsewhere, as in a build folder. */
static int add_links(json_t *read, const char *folder)
{
        DIR *dir = opendir(folder);
        int r = add_path(read, folder);

        for (const struct dirent *e; r == 0 && dir && (e = readdir(dir));) {
                char path[4096];
                char *real;

                if (e->d_type != DT_LNK ||
                    (size_t)snprintf(path, sizeof(path), "%s/%s", folder, e->d_name) >= sizeof(path))
                        continue;
                real = realpath(path, NULL);
                r = real ? add_path(read, real) : 0;
                free(real);
        }
        if (dir)
                closedir(dir);
        return error_fold(r);
}

static int add_site(const struct plugin *p, json_t *read, size_t *ret_own)
{
        _cleanup_(cleanup_json_decref) json_t *config = NULL, *common = json_object();
        const json_t *e;
        size_t i;
        int r;

        if (p->config && p->config->config)
                config = json_loads(p->config->config, 0, NULL);
        for (i = 0; config && common && i < 2; i++) { /* every plugin has these of the core */
                const char *key = i ? "sources" : "libexec";

                json_object_set(common, key, json_object_get(config, key));
                json_object_del(config, key);
        }
        r = add_named(read, config);
        json_array_foreach (json_object_get(p->capabilities, "environment"), i, e)
                if (r == 0 && !streq(json_string_value(e), "HOME") && getenv(json_string_value(e)))
                        r = add_path(read, getenv(json_string_value(e)));
        *ret_own = json_array_size(read);
        r = r ?: add_named(read, common);
        if (json_get_bool(p->capabilities, "processes", false))
                r = r ?: add_links(read, json_get_string(common, "libexec", host_config(p->host)->libexec));
        return r;
}

static int choose_user(const struct plugin *p, json_t *sandbox, bool has_files)
{
        if (geteuid() != 0)
                return remark(sandbox, "it has the engine's user, who is not root and cannot give it another");
        if (has_files || json_get_bool(p->capabilities, "processes", false))
                return remark(sandbox, "it has the engine's user, whose files or programs it needs");
        if (!all_may_read(p->path))
                return remark(sandbox, "it has the engine's user, since no other may read its file");
        return json_object_set_new(sandbox, "uid", json_integer((json_int_t)own_user(p->name))) < 0
                       ? error_origin(-ENOMEM)
                       : 0;
}

int confine_sandbox(const struct plugin *p, json_t **ret_sandbox)
{
        json_t *read = json_array(), *write = json_array();
        _cleanup_(cleanup_json_decref) json_t *sandbox =
                json_pack("{s:o, s:o, s:[], s:b, s:b, s:I, s:i}", "read", read, "write", write, "remarks",
                          "processes", json_get_bool(p->capabilities, "processes", false), "sockets",
                          json_get_bool(p->capabilities, "sockets", false), "memory",
                          (json_int_t)(p->config ? p->config->memory : 512) << 20, "files", FILES_MAX);
        bool has_workdir = requires(p, PRVNG_HOST_WORKDIR);
        size_t n_own = 0;
        int r = sandbox ? 0 : error_origin(-ENOMEM);

        r = r ?: add_declared(p, read, write);
        r = r ?: add_site(p, read, &n_own);
        r = r ?: choose_user(p, sandbox, n_own > 0 || json_array_size(write) > 0 || has_workdir);
        if (!json_object_get(sandbox, "uid"))
                r = r ?: add_folders(p, sandbox, write);
        r = r ?: p->path ? add_path(read, p->path) : 0;
        if (r < 0)
                return error_fold(r);
        *ret_sandbox = steal(&sandbox);
        return 0;
}
