/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng-local-base CACHE DIGEST: builds the base image whose recipe is CACHE/recipes/DIGEST.json, as
 * CACHE/base/DIGEST/root. The folder appears when it is complete, by a rename.
 */
#include "helper.h"

#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* Run by mmdebstrap at the end, with the new root as $1. */
static const char hook[] =
        "set -e\n"
        /* Each server makes its own. */
        ": > \"$1/etc/machine-id\"\n"
        "rm -f \"$1/var/lib/dbus/machine-id\" \"$1\"/etc/ssh/ssh_host_* \"$1/etc/hostname\"\n"
        "rm -f \"$1/etc/resolv.conf\"\n"
        /* What is lost when the machine loses power is made again anyway. */
        "echo force-unsafe-io > \"$1/etc/dpkg/dpkg.cfg.d/prvng\"\n"
        /* apt in the background would hold the lock that an installation needs; the others have
         * nothing to act on in a server. */
        "for unit in console-getty.service getty@tty1.service apt-daily.timer"
        " apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer"
        " systemd-udevd.service systemd-udev-trigger.service dev-hugepages.mount"
        " sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount"
        " sys-fs-fuse-connections.mount; do\n"
        " ln -sf /dev/null \"$1/etc/systemd/system/$unit\"\n"
        "done\n"
        "for k in /etc/apt/keyrings /usr/share/keyrings /etc/apt/trusted.gpg.d; do\n"
        " [ -d \"$k\" ] || continue\n"
        " mkdir -p \"$1$k\"\n"
        " cp -rn \"$k/.\" \"$1$k/\"\n"
        "done\n";

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

        json_array_foreach(strings, i, s) {
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

        json_array_foreach(json_object_get(recipe, "sources"), i, s) {
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

static void run_mmdebstrap(const json_t *recipe, const char *work, const char *root)
{
        _cleanup_(cleanup_free) char *packages = joined(json_object_get(recipe, "packages"));
        _cleanup_(cleanup_free) char *include = local_format("--include=%s", packages);
        _cleanup_(cleanup_free) char *apt = local_format("--aptopt=%s/90prvng", work);
        _cleanup_(cleanup_free) char *customize = local_format("--customize-hook=%s", hook);
        const char *argv[32] = { "mmdebstrap", "--variant=minbase", "--mode=root",
                                 "--skip=cleanup/apt/lists", include, apt, customize,
                                 local_string(recipe, "suite", ""), root };
        char *files[16];
        size_t n = 9, n_files = 0, i;
        json_t *s;

        json_array_foreach(json_object_get(recipe, "sources"), i, s)
                if (n_files < N_ELEMENTS(files)) {
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
                /* Mounts of its own: they go with it, however it ends. Where that is forbidden, so are
                 * mounts, and mmdebstrap does without. */
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

/* What is said from here on, by us and by mmdebstrap, is read by the plugin. */
static void keep_log(const char *cache, const char *digest)
{
        _cleanup_(cleanup_free) char *path = local_format("%s/recipes/%s.log", cache, digest);
        int fd = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644) : -1;

        if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
                fail("%s: %s", path, strerror(errno));
        setvbuf(stdout, NULL, _IOLBF, 0);
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
        puts("I: base image ready");
        return 0;
}
