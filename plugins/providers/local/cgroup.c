/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's control groups, on machines with v1, v2, and v1 with an unused v2 beside it.
 */
#include "helper.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>

#define CPU_PERIOD_US 100000

/* The controllers of a v1 hierarchy stand among its mount options. */
static void controllers_of(char *options, char *ret, size_t n_ret)
{
        static const char *const not [] = {"rw",
                                           "ro",
                                           "xattr",
                                           "clone_children",
                                           "noprefix",
                                           "none",
                                           "cpuset_v2_mode",
                                           "nsdelegate",
                                           "memory_recursiveprot"};
        char *save = NULL;

        ret[0] = '\0';
        for (char *o = strtok_r(options, ",", &save); o; o = strtok_r(NULL, ",", &save)) {
                bool skip = strncmp(o, "release_agent=", 14) == 0;

                for (size_t i = 0; i < N_ELEMENTS(not ); i++)
                        skip = skip || streq(o, not [i]);
                if (skip || strlen(ret) + strlen(o) + 2 > n_ret)
                        continue;
                if (*ret)
                        strcat(ret, ",");
                strcat(ret, o);
        }
}

/* Who is not root has at most a v2 group that was handed over: the topmost of those we are in that
 * we may write to. False if there is none. */
static bool find_delegated(struct hierarchy *h)
{
        _cleanup_(cleanup_fclose) FILE *f = fopen("/proc/self/cgroup", "re");
        size_t n = strlen(h->path), best = 0;
        char line[512], path[sizeof(h->path)] = "";

        while (f && fgets(line, sizeof(line), f))
                if (strncmp(line, "0::", 3) == 0) {
                        line[strcspn(line, "\n")] = '\0';
                        if ((size_t)snprintf(path, sizeof(path), "%s%s", h->path, line + 3) >=
                            sizeof(path))
                                return false;
                }
        for (size_t k = strlen(path); k > n; k--) {
                char procs[sizeof(path) + 16];

                if (path[k] != '/' && path[k] != '\0')
                        continue;
                snprintf(procs, sizeof(procs), "%.*s/cgroup.procs", (int)k, path);
                if (access(procs, W_OK) < 0)
                        break;
                best = k;
        }
        if (best == 0)
                return false;
        memcpy(h->path, path, best);
        h->path[best] = '\0';
        return true;
}

int cgroups_find(struct cgroups *c, const char *site, const char *name)
{
        _cleanup_(cleanup_fclose) FILE *f = fopen("/proc/self/mountinfo", "re");
        char line[4096], path[1024], type[64], options[1024];

        memset(c, 0, sizeof(*c));
        snprintf(c->site, sizeof(c->site), "%s", site);
        snprintf(c->name, sizeof(c->name), "%s", name);
        if (!f)
                return -errno;
        while (c->n < CGROUP_MAX && fgets(line, sizeof(line), f)) {
                struct hierarchy *h = &c->list[c->n];
                const char *tail = strstr(line, " - ");

                if (!tail || sscanf(line, "%*s %*s %*s %*s %1023s", path) != 1 ||
                    sscanf(tail, " - %63s %*s %1023s", type, options) != 2 ||
                    strncmp(path, "/sys/fs/cgroup", 14) != 0 || strlen(path) >= sizeof(h->path))
                        continue;
                if (!streq(type, "cgroup") && !streq(type, "cgroup2"))
                        continue;
                memcpy(h->path, path, strlen(path) + 1);
                h->v2 = streq(type, "cgroup2");
                h->controllers[0] = '\0';
                if (helper_rootless && (!h->v2 || !find_delegated(h)))
                        continue;
                if (!h->v2)
                        controllers_of(options, h->controllers, sizeof(h->controllers));
                c->n++;
        }
        return 0;
}

static _printf_(3, 4) int write_in(const char *folder, const char *file, const char *format, ...)
{
        char path[512], text[64];
        va_list ap;

        snprintf(path, sizeof(path), "%s/%s", folder, file);
        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        return local_write_proc(path, text);
}

static bool has(const struct hierarchy *h, const char *controller)
{
        size_t n = strlen(controller);

        for (const char *p = h->controllers; *p;) {
                size_t k = strcspn(p, ",");
                if (k == n && memcmp(p, controller, n) == 0)
                        return true;
                p += k + (p[k] == ',');
        }
        return false;
}

/* A new cpuset group is empty until it is filled, and nothing can run in it. */
static void fill_cpuset(const char *parent, const char *group)
{
        static const char *const files[] = {"cpuset.cpus", "cpuset.mems"};

        write_in(group, "cgroup.clone_children", "1");
        for (size_t i = 0; i < N_ELEMENTS(files); i++) {
                _cleanup_(cleanup_free) char *from = local_format("%s/%s", parent, files[i]);
                _cleanup_(cleanup_free) char *to = local_format("%s/%s", group, files[i]);
                _cleanup_(cleanup_free) char *text = NULL;

                if (from && to && local_read_text(from, &text) == 0)
                        local_write_proc(to, text);
        }
}

/* Gives a v2 group's children what can be had; each alone, as one that is missing spoils all.
 * -EBUSY if there are processes in the group itself. */
static int delegate(const char *group)
{
        static const char *const controllers[] = {"+cpu", "+memory", "+pids",
                                                  "+io",  "+cpuset", "+hugetlb"};
        int r = 0;

        for (size_t i = 0; i < N_ELEMENTS(controllers); i++)
                if (write_in(group, "cgroup.subtree_control", "%s", controllers[i]) == -EBUSY)
                        r = -EBUSY;
        return r;
}

/* The group that was handed over to a service holds the service itself; that goes into a group
 * below, as the kernel gives controllers to the children of empty groups only. */
static void move_engine(const char *group)
{
        _cleanup_(cleanup_free) char *leaf = local_format("%s/prvng-engine", group);
        _cleanup_(cleanup_free) char *path = local_format("%s/cgroup.procs", group);
        _cleanup_(cleanup_free) char *list = NULL;

        if (!leaf || !path || (mkdir(leaf, 0755) < 0 && errno != EEXIST) ||
            local_read_text(path, &list) < 0)
                return;
        for (char *save = NULL, *pid = strtok_r(list, "\n", &save); pid;
             pid = strtok_r(NULL, "\n", &save))
                write_in(leaf, "cgroup.procs", "%s", pid);
}

static int make_in(const struct cgroups *c, const struct hierarchy *h)
{
        const char *parts[] = {c->site, c->name, "pay"};
        char path[512];
        size_t n = (size_t)snprintf(path, sizeof(path), "%s", h->path);

        for (size_t i = 0; i < N_ELEMENTS(parts); i++) {
                char parent[512];

                memcpy(parent, path, n + 1);
                if (h->v2 && delegate(parent) == -EBUSY && helper_rootless && i == 0) {
                        move_engine(parent);
                        delegate(parent);
                }
                n += (size_t)snprintf(path + n, sizeof(path) - n, "/%s", parts[i]);
                if (n >= sizeof(path))
                        return -ENAMETOOLONG;
                if (mkdir(path, 0755) < 0 && errno != EEXIST)
                        return -errno;
                if (!h->v2 && has(h, "cpuset"))
                        fill_cpuset(parent, path);
        }
        return 0;
}

int cgroups_make(struct cgroups *c)
{
        int r = 0;

        for (size_t i = 0; i < c->n;) {
                int k = make_in(c, &c->list[i]);

                /* What cannot be used is left out, here and inside; the limits say what is missing.
                 */
                if (k < 0) {
                        r = k;
                        memmove(&c->list[i], &c->list[i + 1], (--c->n - i) * sizeof(c->list[0]));
                        continue;
                }
                i++;
        }
        return c->n > 0 ? 0 : (r < 0 ? r : -ENOENT);
}

/* Calls it missing unless some hierarchy took the value. */
static void set(const struct cgroups *c, const char *controller, const char *v1, const char *v2,
                const char *value1, const char *value2, FILE *missing)
{
        int r = -ENOENT;

        for (size_t i = 0; i < c->n && r != 0; i++) {
                const struct hierarchy *h = &c->list[i];
                char group[512];

                snprintf(group, sizeof(group), "%s/%s/%s", h->path, c->site, c->name);
                if (h->v2)
                        r = write_in(group, v2, "%s", value2);
                else if (has(h, controller))
                        r = write_in(group, v1, "%s", value1);
        }
        if (r < 0)
                fprintf(missing, "%s%s (%s)", ftell(missing) > 0 ? ", " : "", controller,
                        r == -ENOENT || r == -EACCES ? "no such controller to write to"
                                                     : strerror(-r));
}

int cgroups_limit(const struct cgroups *c, const struct limits *limits, char **ret_missing)
{
        char one[64], two[64];
        char *text = NULL;
        size_t n = 0;
        FILE *f = open_memstream(&text, &n);
        long long quota = (long long)(limits->cpu * CPU_PERIOD_US);

        if (!f)
                return -ENOMEM;
        snprintf(one, sizeof(one), "%lld", quota);
        snprintf(two, sizeof(two), "%lld %d", quota, CPU_PERIOD_US);
        set(c, "cpu", "cpu.cfs_quota_us", "cpu.max", one, two, f);
        snprintf(one, sizeof(one), "%lld", (long long)limits->memory * 1024 * 1024);
        set(c, "memory", "memory.limit_in_bytes", "memory.max", one, one, f);
        snprintf(one, sizeof(one), "%lld", (long long)limits->pids);
        set(c, "pids", "pids.max", "pids.max", one, one, f);
        fclose(f);
        if (n == 0) {
                free(text);
                text = NULL;
        }
        *ret_missing = text;
        return 0;
}

int cgroups_join(const struct cgroups *c, pid_t pid)
{
        int r = 0;

        for (size_t i = 0; i < c->n; i++) {
                char group[512];

                snprintf(group, sizeof(group), "%s/%s/%s/pay", c->list[i].path, c->site, c->name);
                int k = write_in(group, "cgroup.procs", "%d", (int)pid);
                if (k < 0)
                        r = k;
        }
        return r;
}

static void kill_in(const char *group)
{
        _cleanup_(cleanup_free) char *path = local_format("%s/cgroup.procs", group);
        _cleanup_(cleanup_fclose) FILE *f = path ? fopen(path, "re") : NULL;
        int pid;

        while (f && fscanf(f, "%d", &pid) == 1)
                if (pid > 1)
                        kill(pid, SIGKILL);
}

/* Depth first. */
static int remove_group(const char *group)
{
        DIR *d = opendir(group);
        int r = 0;

        if (!d)
                return errno == ENOENT ? 0 : -errno;
        for (struct dirent *e; (e = readdir(d));) {
                if (e->d_type != DT_DIR || streq(e->d_name, ".") || streq(e->d_name, ".."))
                        continue;
                _cleanup_(cleanup_free) char *path = local_format("%s/%s", group, e->d_name);
                int k = path ? remove_group(path) : -ENOMEM;
                if (k < 0)
                        r = k;
        }
        closedir(d);
        if (r == 0 && rmdir(group) < 0 && errno != ENOENT) {
                r = -errno;
                kill_in(group);
        }
        return r;
}

int cgroups_remove(const struct cgroups *c)
{
        int64_t until = helper_now() + 5000;
        int result = 0;

        for (size_t i = 0; i < c->n; i++) {
                char group[512], site[512];
                int r;

                snprintf(site, sizeof(site), "%s/%s", c->list[i].path, c->site);
                snprintf(group, sizeof(group), "%s/%s/%s", c->list[i].path, c->site, c->name);
                /* A process that was just killed holds its group for a moment. */
                while ((r = remove_group(group)) == -EBUSY && helper_now() < until)
                        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
                if (r < 0)
                        result = r;
                rmdir(site); /* fails while it has others */
        }
        return result;
}

static int mount_v1(const struct hierarchy *h, const char *to)
{
        char path[512];
        const char *last = strrchr(h->path, '/') + 1;

        snprintf(path, sizeof(path), "%s/%s", to, last);
        if (mkdir(path, 0755) < 0)
                return -errno;
        if (mount("cgroup", path, h->v2 ? "cgroup2" : "cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC,
                  h->v2 ? NULL : h->controllers) < 0)
                return -errno;
        /* "cpu,cpuacct" is also looked for under the name of each. */
        for (const char *p = h->controllers; strchr(h->controllers, ',') && *p;) {
                char link[512];
                size_t k = strcspn(p, ",");

                snprintf(link, sizeof(link), "%s/%.*s", to, (int)k, p);
                if (symlink(last, link) < 0 && errno != EEXIST)
                        return -errno;
                p += k + (p[k] == ',');
        }
        return 0;
}

int cgroups_mount(const struct cgroups *c, const char *root)
{
        _cleanup_(cleanup_free) char *to = local_format("%s/sys/fs/cgroup", root);
        const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;

        if (!to)
                return -ENOMEM;
        if (c->n == 1 && c->list[0].v2)
                return mount("cgroup2", to, "cgroup2", flags, NULL) < 0 ? -errno : 0;
        if (c->n == 0)
                return 0;
        if (mount("tmpfs", to, "tmpfs", flags, "mode=755,size=64k") < 0)
                return -errno;
        for (size_t i = 0; i < c->n; i++) {
                int r = mount_v1(&c->list[i], to);
                if (r < 0)
                        return r;
        }
        return 0;
}
