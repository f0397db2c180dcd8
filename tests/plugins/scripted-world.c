/* SPDX-License-Identifier: Apache-2.0 */
#include "scripted.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool world_applies(const struct world *w, const json_t *entry, const char *verb)
{
        const char *only = json_string_value(json_object_get(entry, "verb"));
        const char *unless = json_string_value(json_object_get(entry, "unless"));

        return entry && (!only || strcmp(only, verb) == 0) &&
               (!unless || faccessat(w->folder, unless, F_OK, 0) < 0);
}

json_t *world_get(const struct world *w, const char *path)
{
        int fd = openat(w->folder, path, O_RDONLY | O_CLOEXEC);
        json_t *o = fd < 0 ? NULL : json_loadfd(fd, 0, NULL);

        if (fd >= 0)
                close(fd);
        return o;
}

int world_put(const struct world *w, const char *path, const json_t *o, bool once)
{
        static unsigned int counter;
        char temporary[64];
        int fd, r;

        snprintf(temporary, sizeof(temporary), "tmp/%d.%u", (int)getpid(),
                 __atomic_add_fetch(&counter, 1, __ATOMIC_RELAXED));
        fd = openat(w->folder, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;
        r = json_dumpfd(o, fd, JSON_COMPACT) < 0 ? -EIO : 0;
        close(fd);
        if (r == 0 && once)
                r = linkat(w->folder, temporary, w->folder, path, 0) < 0 ? -errno : 0;
        else if (r == 0)
                r = renameat(w->folder, temporary, w->folder, path) < 0 ? -errno : 0;
        if (r < 0 || once)
                unlinkat(w->folder, temporary, 0);
        return r;
}

/* True if the resource has all that the filter names. */
static bool passes(const json_t *resource, const json_t *filter)
{
        static const char *const members[] = {"kind", "op_id", "workflow", "site"};

        for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
                const json_t *wanted = json_object_get(filter, members[i]);

                if (wanted && !json_equal(wanted, json_object_get(resource, members[i])))
                        return false;
        }
        return true;
}

int32_t world_list(void *instance, struct prvng_call *call, const void *filter, uint64_t n_filter,
                   struct prvng_sink *result)
{
        struct world *w = instance;
        json_t *wanted = json_loadb(filter, n_filter, 0, NULL), *list = json_array(), *o;
        int fd = openat(w->folder, "resources", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *e;
        char path[320], *s;
        int log = openat(w->folder, "calls.log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        int32_t r = -EIO;

        if (log < 0 || dprintf(log, "list - - - epoch-%llu -\n", (unsigned long long)call->epoch) < 0)
                w->host->log(w->host, PRVNG_LOG_WARN, "calls", "calls.log is not whole");
        if (log >= 0)
                close(log);

        while (dir && (e = readdir(dir))) {
                json_t *resource;

                snprintf(path, sizeof(path), "resources/%s", e->d_name);
                resource = e->d_name[0] == '.' ? NULL : world_get(w, path);
                if (resource && passes(resource, wanted)) {
                        json_object_set(resource, "identity", json_object_get(resource, "result"));
                        json_object_del(resource, "result");
                        json_object_del(resource, "spec");
                        json_array_append(list, resource);
                }
                json_decref(resource);
        }
        if (dir)
                closedir(dir);
        o = json_pack("{s:o}", "resources", list);
        s = json_dumps(o, JSON_COMPACT);
        if (s)
                r = w->host->sink_write(result, s, strlen(s));
        free(s);
        json_decref(o);
        json_decref(wanted);
        return r == 0 ? PRVNG_DONE : PRVNG_INTERNAL;
}

/* The folder of the configuration, else the plugin's own. */
static int open_folder(const struct prvng_host *host, const char *name, const char *folder)
{
        static const char *const parts[] = {"effects", "resources", "violations", "once", "tmp"};
        const struct prvng_host_workdir *workdir = host->get_interface(host, PRVNG_HOST_WORKDIR);
        int fd;

        if (!folder)
                folder = workdir->state(host, name);
        if (!folder || (mkdir(folder, 0700) < 0 && errno != EEXIST))
                return -1;
        fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        for (size_t i = 0; fd >= 0 && i < sizeof(parts) / sizeof(parts[0]); i++)
                if (mkdirat(fd, parts[i], 0700) < 0 && errno != EEXIST)
                        return close(fd), -1;
        return fd;
}

int32_t scripted_create(const struct scripted *what, const struct prvng_host *host,
                        const void *config, uint64_t n_config, void **ret_instance)
{
        json_t *c = json_loadb(config, n_config, 0, NULL);
        struct world *w = malloc(sizeof(*w));

        if (w)
                *w = (struct world){what, host, -1};
        if (w && c)
                w->folder = open_folder(host, what->name,
                                        json_string_value(json_object_get(c, "folder")));
        json_decref(c);
        if (!w || w->folder < 0) {
                host->log(host, PRVNG_LOG_ERROR, "create",
                          "the folder for the test world cannot be "
                          "made; name one by config.folder");
                free(w);
                return PRVNG_PERMANENT;
        }
        *ret_instance = w;
        return PRVNG_DONE;
}

void scripted_destroy(void *instance)
{
        struct world *w = instance;

        if (w)
                close(w->folder);
        free(w);
}
