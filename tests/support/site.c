/* SPDX-License-Identifier: Apache-2.0 */
#include "site.h"

#include "base/buf.h"

#include <dirent.h>
#include <ftw.h>
#include <sys/stat.h>

static _Noreturn void fail(const char *what)
{
        fprintf(stderr, "test site: %s: %s\n", what, strerror(errno));
        abort();
}

char *test_site_path(const struct test_site *s, const char *relative)
{
        char *path;

        if (asprintf(&path, "%s/%s", s->folder, relative) < 0)
                fail(relative);
        return path;
}

void test_site_write(const struct test_site *s, const char *relative, const char *text)
{
        _cleanup_(cleanup_free) char *path = test_site_path(s, relative);
        FILE *f;

        for (char *p = path + strlen(s->folder) + 1; *p; p++) {
                if (*p != '/')
                        continue;
                *p = 0;
                if (mkdir(path, 0700) < 0 && errno != EEXIST)
                        fail(path);
                *p = '/';
        }
        f = fopen(path, "we");
        if (!f || fputs(text, f) < 0 || fclose(f) != 0)
                fail(path);
}

size_t test_site_count(const struct test_site *s, const char *relative)
{
        _cleanup_(cleanup_free) char *path = test_site_path(s, relative);
        struct dirent *e;
        size_t n = 0;
        DIR *d = opendir(path);

        while (d && (e = readdir(d)))
                n += e->d_name[0] != '.';
        if (d)
                closedir(d);
        return n;
}

/* Appends text with @SITE@ replaced. */
static void expand(struct buf *b, const struct test_site *s, const char *text)
{
        const char *at;

        while ((at = strstr(text, "@SITE@"))) {
                buf_append(b, text, (size_t)(at - text));
                buf_puts(b, s->folder);
                text = at + strlen("@SITE@");
        }
        buf_puts(b, text);
}

static void write_dropin(const struct test_site *s, size_t i, const struct test_plugin *p)
{
        const char *plugins = getenv("PRVNG_TEST_PLUGINS");
        _cleanup_(cleanup_buf) struct buf b = BUF_NULL;
        char name[256];

        if (!p->file && !plugins)
                errno = ENOENT, fail("PRVNG_TEST_PLUGINS is not set; run this by `meson test`");

        buf_printf(&b, "plugin: { name = \"%s\"; ", p->name);
        if (p->file)
                buf_printf(&b, "file = \"%s\"; ", p->file);
        else
                buf_printf(&b, "file = \"%s/%s.so\"; ", plugins, p->name);
        if (p->more)
                expand(&b, s, p->more);
        BUF_LIT(&b, "\n        config: { ");
        if (p->config)
                expand(&b, s, p->config);
        BUF_LIT(&b, " }; };\n");
        snprintf(name, sizeof(name), "plugins.d/%zu-%s.conf", i, p->name);
        test_site_write(s, name, buf_str(&b));
}

static void set(const struct test_site *s, const char *variable, const char *relative)
{
        _cleanup_(cleanup_free) char *path = test_site_path(s, relative);

        setenv(variable, path, 1);
}

void test_site_new(struct test_site *s, const struct test_plugin *plugins, size_t n_plugins,
                   const char *more)
{
        const char *tmp = getenv("TMPDIR");

        if (asprintf(&s->folder, "%s/prvng-test-XXXXXX", tmp && tmp[0] == '/' ? tmp : "/tmp") < 0 ||
            !mkdtemp(s->folder))
                fail("mkdtemp");
        s->conf = test_site_path(s, "prvng.conf");
        set(s, "XDG_CONFIG_HOME", "xdg");
        set(s, "XDG_STATE_HOME", "state");
        set(s, "XDG_CACHE_HOME", "cache");
        set(s, "PRVNG_DROPIN_PATH", "packaged");
        test_site_write(s, "prvng.conf", more ? more : "");
        for (size_t i = 0; i < n_plugins; i++)
                write_dropin(s, i, &plugins[i]);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        return remove(path);
}

void test_site_remove(struct test_site *s)
{
        if (s->folder)
                nftw(s->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
        free(s->folder);
        free(s->conf);
        *s = (struct test_site){0};
}
