/* SPDX-License-Identifier: Apache-2.0 */
/* prvng plugin trust: takes a plugin's file as it is, or the key of who signs plugins. */
#include "cli.h"

#include "config/config.h"
#include "plugin/note.h"
#include "plugin/signature.h"
#include "plugin/trust.h"

#include <fcntl.h>
#include <sys/stat.h>

struct plugin_file {
        char *path; /* without links */
        char sha256[TRUST_DIGEST];
        json_t *note;
        char *signer;
};

static void plugin_file_deinit(struct plugin_file *f)
{
        free(f->path);
        json_decref(f->note);
        free(f->signer);
}

static int refuse(const struct cli *cli, const char *path, const char *reason)
{
        complain(cli, "%s is not trusted: %s", path, reason);
        return EXIT_RUN_FAILED;
}

/* All folders above a file; what cannot be made is told when the file is written. */
static void make_folders(char *path)
{
        for (char *p = path + 1; (p = strchr(p, '/')); *p++ = '/') {
                *p = '\0';
                mkdir(path, 0755);
        }
}

/* Whole or not at all, readable by everybody. Exit code. */
static int write_file(const struct cli *cli, const char *folder, const char *name, const void *data, size_t n)
{
        _cleanup_(cleanup_free) char *path = NULL, *new = NULL;
        FILE *f;
        bool ok;

        if (asprintf(&path, "%s/%s", folder, name) < 0 || asprintf(&new, "%s/.%s.new", folder, name) < 0) {
                path = new = NULL;
                return EXIT_UNUSABLE;
        }
        make_folders(path);
        f = fopen(new, "we");
        ok = f && fwrite(data, 1, n, f) == n && fflush(f) == 0 && fchmod(fileno(f), 0644) == 0 &&
             fsync(fileno(f)) == 0;
        if (f)
                ok &= fclose(f) == 0;
        if (ok && rename(new, path) == 0)
                return 0;
        complain(cli, "%s cannot be written: %s", path, strerror(errno));
        unlink(new);
        return EXIT_UNUSABLE;
}

static int look(const struct cli *cli, const struct config *config, const char *name, struct plugin_file *f)
{
        _cleanup_(cleanup_free) char *full = realpath(name, NULL), *reason = NULL;
        _cleanup_(cleanup_close) int fd = -1;
        int r;

        if (!full) {
                complain(cli, "%s: %s", name, strerror(errno));
                return EXIT_USAGE;
        }
        r = trust_check(full, &f->path, &reason);
        if (r < 0 || reason)
                return refuse(cli, full, reason ? reason : strerror(-r));
        fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
                return refuse(cli, full, strerror(errno));
        r = trust_digest(fd, f->sha256);
        r = r ?: note_read(fd, &f->note, &reason);
        if (r < 0 || !f->note) {
                complain(cli, "%s %s", full, reason ? reason : strerror(-r));
                return EXIT_RUN_FAILED;
        }
        r = signature_check(fd, f->path, config->keyring, &f->signer, &reason);
        if (r < 0 || reason)
                return refuse(cli, full, reason ? reason : strerror(-r));
        return 0;
}

static bool agreed(const struct cli *cli, const struct plugin_file *f, const char *folder)
{
        char answer[8] = "";

        fprintf(stderr, "%s\n  plugin     %s %s %s (%s)\n  sha256     %s\n  signed by  %s\n", f->path,
                json_get_string(f->note, "kind", ""), json_get_string(f->note, "name", ""),
                json_get_string(f->note, "version", ""), json_get_string(f->note, "id", ""), f->sha256,
                f->signer ? f->signer : "nobody in the keyring");
        if (option_given(cli, "yes"))
                return true;
        if (!isatty(STDIN_FILENO)) {
                complain(cli, "its code will run with all rights of the engine; say --yes to enable it");
                return false;
        }
        fprintf(stderr, "Its code will run with all rights of the engine. Enable it, pinned to this file, in "
                        "%s? [y/N] ", folder);
        return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

/* Another drop-in has a configuration that must not be lost: it is told what to add there. */
static int already_enabled(const struct cli *cli, const struct config *config, const struct plugin_file *f)
{
        const char *name = json_get_string(f->note, "name", "");

        for (size_t i = 0; i < config->n_plugins; i++)
                if (streq(config->plugins[i].name, name)) {
                        complain(cli, "%s has a plugin %s already; write there: file = \"%s\"; sha256 = \"%s\"; "
                                 "or put a changed copy of it into %s/plugins.d",
                                 config->plugins[i].from, name, f->path, f->sha256, config->folder);
                        return EXIT_RUN_FAILED;
                }
        return 0;
}

static int trust_plugin(const struct cli *cli, const struct config *config)
{
        struct plugin_file f = {0};
        _cleanup_(cleanup_buf) struct buf text = BUF_NULL;
        _cleanup_(cleanup_free) char *folder = NULL, *name = NULL;
        int r;

        if (asprintf(&folder, "%s/plugins.d", config->folder) < 0)
                return EXIT_UNUSABLE;
        r = look(cli, config, cli->args[0], &f);
        r = r ?: already_enabled(cli, config, &f);
        if (r == 0 && !agreed(cli, &f, folder))
                r = EXIT_RUN_FAILED;
        if (r == 0) {
                buf_printf(&text, "# Written by prvng plugin trust.\nplugin: {\n        name = \"%s\";\n"
                           "        file = \"%s\";\n        sha256 = \"%s\";\n        config: { };\n};\n",
                           json_get_string(f.note, "name", ""), f.path, f.sha256);
                if (buf_error(&text) ||
                    asprintf(&name, "%ss-%s.conf", json_get_string(f.note, "kind", ""),
                             json_get_string(f.note, "name", "")) < 0)
                        r = EXIT_UNUSABLE;
                else
                        r = write_file(cli, folder, name, text.data, text.n);
        }
        if (r == 0 && cli->format == FORMAT_TABLE)
                printf("enabled in %s/%s; a running engine takes it up on SIGHUP\n", folder, name);
        plugin_file_deinit(&f);
        return r;
}

static int trust_key(const struct cli *cli, const struct config *config, const char *path)
{
        _cleanup_(cleanup_free) char *reason = NULL;
        const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
        char text[4096];
        size_t n;
        FILE *f;
        int r = signature_check_key(path, &reason);

        if (r < 0 || reason) {
                complain(cli, "%s", reason ? reason : strerror(-r));
                return EXIT_RUN_FAILED;
        }
        if (strlen(base) < 5 || !streq(base + strlen(base) - 4, ".pem") || base[0] == '.') {
                complain(cli, "%s: the name of a key ends in .pem; what is in front of it names who signs", base);
                return EXIT_USAGE;
        }
        f = fopen(path, "re");
        n = f ? fread(text, 1, sizeof(text), f) : 0;
        if (f)
                fclose(f);
        if (n == 0 || n == sizeof(text)) {
                complain(cli, "%s cannot be read, or is too long for a key", path);
                return EXIT_RUN_FAILED;
        }
        r = write_file(cli, config->keyring, base, text, n);
        if (r == 0 && cli->format == FORMAT_TABLE)
                printf("plugins that %.*s signed are accepted from now on (%s/%s)\n", (int)strlen(base) - 4, base,
                       config->keyring, base);
        return r;
}

int plugin_trust(struct cli *cli)
{
        _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;
        _cleanup_(cleanup_config) struct config *config = NULL;
        const char *key = option_value(cli, "key");
        int r = config_load(cli->config, &problems, &config);

        if (r < 0 || problems.n) {
                problems_print(&problems, stderr);
                complain(cli, "the site's configuration is not valid");
                return EXIT_DEFINITION;
        }
        if (!key == !cli->n_args) {
                complain(cli, "say which FILE.so, or which --key");
                return EXIT_USAGE;
        }
        return key ? trust_key(cli, config, key) : trust_plugin(cli, config);
}
