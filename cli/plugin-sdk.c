/* SPDX-License-Identifier: Apache-2.0 */
/* prvng plugin check, new: for those who write plugins. */
#include "cli.h"

#include "base/buf.h"
#include "config/paths.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

/* Beside this very program, else by the path. */
int plugin_check(struct cli *cli)
{
        _cleanup_(cleanup_free) const char **argv = calloc((size_t)cli->n_args + 3, sizeof(*argv));
        char self[4096];
        ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 32);
        size_t k = 0;

        if (!argv)
                return EXIT_UNUSABLE;
        argv[k++] = "prvng-plugin-check";
        for (int i = 1; i < cli->n_args; i++)
                argv[k++] = cli->args[i];
        argv[k++] = cli->args[0];
        fflush(stdout);
        if (n > 0) {
                self[n] = 0;
                strcpy(strrchr(self, '/') + 1, "prvng-plugin-check");
                execv(self, (char *const *)(uintptr_t)argv);
        }
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        complain(cli, "prvng-plugin-check is not installed: install the package prvng-plugin-check, or put the "
                      "program into the path");
        return EXIT_UNUSABLE;
}

/* --- new --- */

/* The text with @NAME@ and @KIND@ replaced; other words between @ stay. */
static void fill_in(struct buf *out, const char *text, size_t n, const char *kind, const char *name)
{
        for (size_t i = 0; i < n;) {
                const char *value = i + 6 <= n && memcmp(text + i, "@NAME@", 6) == 0   ? name
                                    : i + 6 <= n && memcmp(text + i, "@KIND@", 6) == 0 ? kind
                                                                                       : NULL;

                if (value)
                        buf_puts(out, value);
                else
                        buf_putc(out, text[i]);
                i += value ? 6 : 1;
        }
}

static int read_whole(const char *path, struct buf *ret)
{
        _cleanup_(cleanup_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
        char chunk[4096];
        ssize_t n = -1;

        while (fd >= 0 && (n = read(fd, chunk, sizeof(chunk))) > 0)
                buf_append(ret, chunk, (size_t)n);
        return n < 0 ? -errno : 0;
}

static int write_new(const char *path, const struct buf *text)
{
        _cleanup_(cleanup_close) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

        return fd >= 0 && write(fd, text->data, text->n) == (ssize_t)text->n ? 0 : -errno;
}

/* All files of a folder of the skeleton. Exit code. */
static int copy_folder(const struct cli *cli, const char *from, const char *kind, const char *name)
{
        DIR *d = opendir(from);
        int code = 0;

        if (!d) {
                complain(cli, "the skeletons of plugins are not installed (%s: %s): install the package "
                              "libprvng-dev", from, strerror(errno));
                return EXIT_UNUSABLE;
        }
        for (const struct dirent *e; code == 0 && (e = readdir(d));) {
                _cleanup_(cleanup_buf) struct buf source = BUF_NULL, path = BUF_NULL, text = BUF_NULL, in = BUF_NULL;
                int r;

                if (e->d_name[0] == '.')
                        continue;
                buf_printf(&in, "%s/%s", from, e->d_name);
                r = read_whole(buf_str(&in), &source);
                buf_printf(&path, "%s/", name);
                fill_in(&path, e->d_name, strlen(e->d_name), kind, name);
                fill_in(&text, buf_str(&source), source.n, kind, name);
                r = r ?: buf_error(&text) ?: buf_error(&path) ?: write_new(buf_str(&path), &text);
                if (r < 0) {
                        complain(cli, "%s: %s", buf_str(&path), strerror(-r));
                        code = EXIT_UNUSABLE;
                }
        }
        closedir(d);
        return code;
}

int plugin_new(struct cli *cli)
{
        static const char *const kinds[] = {"provider", "taskserv", "secret", "store", "loader", "template"};
        const char *kind = option_value(cli, "kind") ?: "", *name = cli->args[0];
        const char *base = getenv("PRVNG_SKELETON_PATH") ?: CONFIG_SKELETONS;
        char from[4096];
        bool known = false;
        int code;

        for (size_t i = 0; i < N_ELEMENTS(kinds); i++)
                known = known || streq(kinds[i], kind);
        if (!known) {
                complain(cli, "--kind is provider, taskserv, secret, store, loader or template%s%s%s", *kind ? ", not \"" : "",
                         kind, *kind ? "\"" : "");
                return EXIT_USAGE;
        }
        if (strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789") != strlen(name) || strlen(name) > 40 || !*name ||
            (name[0] >= '0' && name[0] <= '9')) {
                complain(cli, "a plugin's name is up to 40 small letters and digits, first a letter: not \"%s\"", name);
                return EXIT_USAGE;
        }
        if (mkdir(name, 0777) < 0) {
                complain(cli, "the folder %s cannot be made: %s", name, strerror(errno));
                return EXIT_USAGE;
        }
        snprintf(from, sizeof(from), "%s/common", base);
        code = copy_folder(cli, from, kind, name);
        if (code == 0) {
                snprintf(from, sizeof(from), "%s/%s", base, kind);
                code = copy_folder(cli, from, kind, name);
        }
        if (code == 0 && cli->format == FORMAT_TABLE)
                printf("Made %s: a %s that is sound as it stands. Next:\n\n  cd %s\n  meson setup build\n"
                       "  meson compile -C build\n  meson test -C build\n\n%s/README.md goes on from there.\n",
                       name, kind, name, name);
        return code;
}
