/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng-local-base CACHE DIGEST: builds the base image whose recipe is CACHE/recipes/DIGEST.json,
 * as CACHE/base/DIGEST/root. The folder appears when it is complete, by a rename.
 */
#include "helper.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define PRUNE_S (7 * 24 * 3600)

static _Noreturn _printf_(1, 2) void fail(const char *format, ...)
{
        va_list ap;

        fputs("cannot build the base image: ", stdout);
        va_start(ap, format);
        vprintf(format, ap);
        va_end(ap);
        fputc('\n', stdout);
        exit(1);
}

static char *joined(const json_t *strings)
{
        char *text = strdup("");
        size_t i;
        json_t *s;

        json_array_foreach(strings, i, s)
        {
                char *more = text ? local_format("%s%s%s", text, i ? "," : "", json_string_value(s))
                                  : NULL;
                free(text);
                text = more;
        }
        return text;
}

/* Writes the package sources and apt's settings into the folder `work`. */
static void write_inputs(const json_t *recipe, const char *work)
{
        _cleanup_(cleanup_free) char *conf = local_format("%s/90prvng", work);
        size_t i;
        json_t *s;
        int r = local_make_folders(work, 0755);

        json_array_foreach(json_object_get(recipe, "sources"), i, s)
        {
                _cleanup_(cleanup_free) char *path =
                        local_format("%s/%s", work, local_string(s, "name", "sources.list"));
                if (r == 0)
                        r = path ? local_write_text(path, local_string(s, "text", ""), 0644, false)
                                 : -ENOMEM;
        }
        if (r == 0)
                r = conf ? local_write_text(conf, local_string(recipe, "apt_conf", ""), 0644, false)
                         : -ENOMEM;
        if (r < 0)
                fail("%s: %s", work, strerror(-r));
}

static _Noreturn void run_mmdebstrap(const json_t *recipe, const char *work, const char *root)
{
        _cleanup_(cleanup_free) char *packages = joined(json_object_get(recipe, "packages"));
        _cleanup_(cleanup_free) char *include = local_format("--include=%s", packages);
        _cleanup_(cleanup_free) char *apt = local_format("--aptopt=%s/90prvng", work);
        _cleanup_(cleanup_free) char *customize =
                local_format("--customize-hook=%s", local_string(recipe, "hook", "true"));
        const char *argv[32] = {"mmdebstrap",  "--variant=minbase",
                                "--mode=root", "--skip=cleanup/apt/lists",
                                include,       apt,
                                customize,     local_string(recipe, "suite", ""),
                                root};
        char *files[16];
        size_t n = 9, n_files = 0, i;
        json_t *s;

        json_array_foreach(json_object_get(recipe, "sources"), i,
                           s) if (n_files < N_ELEMENTS(files))
        {
                files[n_files] = local_format("%s/%s", work, local_string(s, "name", ""));
                argv[n++] = files[n_files++];
        }
        if (!packages || !include || !apt || !customize)
                fail("out of memory");
        fflush(stdout);
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        fail("mmdebstrap: %s (apt-get install -y mmdebstrap)", strerror(errno));
}

static void build(const json_t *recipe, const char *temporary)
{
        _cleanup_(cleanup_free) char *work = local_format("%s/inputs", temporary);
        _cleanup_(cleanup_free) char *root = local_format("%s/root", temporary);
        int r = local_remove_tree(temporary), status = 0;

        if (r < 0 || !work || !root)
                fail("%s: %s", temporary, strerror(r < 0 ? -r : ENOMEM));
        write_inputs(recipe, work);
        pid_t pid = fork();
        if (pid == 0) {
                /* Mounts of its own: they go with it, however it ends. Where that is forbidden, so
                 * are mounts, and mmdebstrap does without. */
                if (unshare(CLONE_NEWNS) == 0 &&
                    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                        fail("making the mounts private: %s", strerror(errno));
                run_mmdebstrap(recipe, work, root);
        }
        while ((r = waitpid(pid, &status, 0)) < 0 && errno == EINTR)
                ;
        if (r < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
                local_remove_tree(temporary);
                fail("mmdebstrap did not succeed, see above");
        }
        local_remove_tree(work);
}

/* The bases that servers of any site lie on. */
static json_t *bases_in_use(const char *cache)
{
        _cleanup_(cleanup_free) char *registry = local_format("%s/subnets", cache);
        DIR *d = registry ? opendir(registry) : NULL;
        json_t *used = json_object();

        for (struct dirent *e; d && (e = readdir(d));) {
                _cleanup_(cleanup_free) char *path = local_format("%s/%s", registry, e->d_name);
                _cleanup_(cleanup_json) json_t *j = NULL, *names = NULL;
                size_t i;
                json_t *name;

                if (e->d_name[0] == '.' || !path || local_read_json(path, &j) < 0)
                        continue;
                struct site site = {.folder = (char *)(uintptr_t)local_string(j, "site", "")};
                if (site_servers(&site, &names) < 0)
                        continue;
                json_array_foreach(names, i, name)
                {
                        _cleanup_(cleanup_json) json_t *made = NULL;
                        _cleanup_(cleanup_free) char *server = local_format(
                                "%s/servers/%s/server.json", site.folder, json_string_value(name));

                        if (server && local_read_json(server, &made) == 0)
                                json_object_set_new(used, local_string(made, "base", ""),
                                                    json_true());
                }
        }
        if (d)
                closedir(d);
        return used;
}

/* Removes images of former recipes that no server lies on and that nobody asked for in a week:
 * image.c touches an image whenever it is asked for. With the folder locked. */
static void prune(const char *cache, const char *folder)
{
        _cleanup_(cleanup_json) json_t *used = bases_in_use(cache);
        DIR *d = opendir(folder);

        for (struct dirent *e; d && (e = readdir(d));) {
                _cleanup_(cleanup_free) char *path = local_format("%s/%s", folder, e->d_name);
                _cleanup_(cleanup_free) char *root = local_format("%s/%s/root", folder, e->d_name);
                struct stat st;

                if (e->d_name[0] == '.' || !path || !root || stat(path, &st) < 0 ||
                    st.st_mtime > time(NULL) - PRUNE_S || json_object_get(used, root))
                        continue;
                printf("I: removing %s, unused for a week\n", path);
                local_remove_tree(path);
        }
        if (d)
                closedir(d);
}

/* What is said from here on, by us and by mmdebstrap, is read by the plugin. */
static void keep_log(const char *cache, const char *digest)
{
        _cleanup_(cleanup_free) char *path = local_format("%s/recipes/%s.log", cache, digest);
        int fd = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644) : -1;

        if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
                fail("%s: %s", path, strerror(errno));
        setvbuf(stdout, NULL, _IOLBF, 0);
}

/* A user's images belong to the ids that servers have in the user's namespaces. */
static void become_root(void)
{
        _cleanup_(cleanup_free) char *error = NULL, *cure = NULL;

        if (geteuid() != 0 && userns_enter(&error, &cure) < 0)
                fail("%s%s%s", error ? error : "no user namespace", cure ? "; " : "",
                     cure ? cure : "");
}

int main(int argc, char **argv)
{
        _cleanup_(cleanup_json) json_t *recipe = NULL;
        _cleanup_(cleanup_close) int lock = -1;

        if (argc != 3) {
                fputs("usage: prvng-local-base CACHE DIGEST\n", stderr);
                return 2;
        }
        umask(022);
        become_root();
        _cleanup_(cleanup_free) char *file = local_format("%s/recipes/%s.json", argv[1], argv[2]);
        _cleanup_(cleanup_free) char *folder = local_format("%s/base", argv[1]);
        _cleanup_(cleanup_free) char *final = local_format("%s/base/%s", argv[1], argv[2]);
        _cleanup_(cleanup_free) char *temporary = local_format("%s/base/%s.new", argv[1], argv[2]);
        if (!file || !folder || !final || !temporary)
                fail("out of memory");
        int r = local_read_json(file, &recipe);
        if (r < 0)
                fail("%s: %s", file, strerror(-r));
        r = local_make_folders(folder, 0755);
        if (r == 0)
                r = local_lock_folder(folder, &lock);
        if (r < 0)
                fail("%s: %s", folder, strerror(-r));
        if (access(final, F_OK) == 0)
                return 0; /* another was faster */
        keep_log(argv[1], argv[2]);
        build(recipe, temporary);
        if (rename(temporary, final) < 0)
                fail("%s: %s", final, strerror(errno));
        prune(argv[1], folder);
        puts("I: base image ready");
        return 0;
}
