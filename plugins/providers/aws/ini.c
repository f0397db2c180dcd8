/* SPDX-License-Identifier: Apache-2.0 */
#include "ini.h"
#include "aws.h"

#include <fcntl.h>
#include <sys/stat.h>

#define INI_MAX (1u << 20)

/* The whole file; *ret NULL: there is none. */
static int read_file(const char *path, char **ret, size_t *ret_n)
{
        _cleanup_(cleanup_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
        size_t n = 0;
        ssize_t got = 1;
        char *text;

        *ret = NULL;
        *ret_n = 0;
        if (fd < 0)
                return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
        text = malloc(INI_MAX + 1);
        if (!text)
                return -ENOMEM;
        while (n < INI_MAX && (got = read(fd, text + n, INI_MAX - n)) > 0)
                n += (size_t)got;
        if (got != 0) {
                int r = got < 0 ? -errno : -EFBIG;

                aws_wipe(text, n);
                free(text);
                return r;
        }
        text[n] = '\0';
        *ret = text;
        *ret_n = n;
        return 0;
}

static char *trim(char *s)
{
        size_t n;

        s += strspn(s, " \t\r");
        n = strlen(s);
        while (n > 0 && strchr(" \t\r", s[n - 1]))
                s[--n] = '\0';
        return s;
}

/* "[profile dev]" -> "profile dev"; NULL: no such line. */
static char *section_of(char *line)
{
        char *end = line[0] == '[' ? strchr(line, ']') : NULL;

        if (!end)
                return NULL;
        *end = '\0';
        return trim(line + 1);
}

static void add_line(json_t *all, json_t **section, char *line)
{
        bool nested = line[0] == ' ' || line[0] == '\t';
        char *name, *equals;

        line = trim(line);
        if (!*line || *line == '#' || *line == ';' || nested)
                return;
        name = section_of(line);
        if (name) {
                *section = json_object_get(all, name);
                if (!*section) {
                        *section = json_object();
                        json_object_set_new(all, name, *section);
                }
                return;
        }
        equals = strchr(line, '=');
        if (!equals || !*section)
                return;
        *equals = '\0';
        json_object_set_new(*section, trim(line), json_string(trim(equals + 1)));
}

int ini_read(const char *path, json_t **ret)
{
        json_t *all = json_object(), *section = NULL;
        char *text, *rest, *line;
        size_t n;
        int r = read_file(path, &text, &n);

        if (r < 0 || !all) {
                json_decref(all);
                free(text);
                return r < 0 ? r : -ENOMEM;
        }
        rest = text;
        while (rest && (line = strsep(&rest, "\n")))
                add_line(all, &section, line);
        if (text)
                aws_wipe(text, n);
        free(text);
        *ret = all;
        return 0;
}

int ini_write(const char *path, const char *text)
{
        _cleanup_(cleanup_free) char *other = aws_format("%s.prvng-XXXXXX", path);
        _cleanup_(cleanup_free) char *folder = strdup(path);
        _cleanup_(cleanup_close) int fd = -1, dir = -1;
        char *slash = folder ? strrchr(folder, '/') : NULL;
        size_t n = strlen(text);

        if (!other || !slash)
                return other ? -EINVAL : -ENOMEM;
        *slash = '\0';
        fd = mkostemp(other, O_CLOEXEC); /* 0600 */
        if (fd < 0)
                return -errno;
        if (write(fd, text, n) != (ssize_t)n || fsync(fd) < 0 || rename(other, path) < 0) {
                int r = -errno;

                unlink(other);
                return r < 0 ? r : -EIO;
        }
        dir = open(*folder ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return dir >= 0 && fsync(dir) == 0 ? 0 : -errno;
}

static void put_keys(FILE *out, const json_t *keys)
{
        const char *name;
        json_t *value;

        json_object_foreach ((json_t *)(uintptr_t)keys, name, value)
                if (json_is_string(value))
                        fprintf(out, "%s = %s\n", name, json_string_value(value));
}

static bool replaces(const char *line, const json_t *keys)
{
        _cleanup_(cleanup_free) char *own = strdup(line);
        char *equals = own ? strchr(own, '=') : NULL;
        bool found;

        if (!equals)
                return false;
        *equals = '\0';
        found = json_object_get(keys, trim(own)) != NULL;
        aws_wipe(equals, strlen(line) - (size_t)(equals - own));
        return found;
}

static void copy_lines(FILE *out, char *text, const char *section, const json_t *keys)
{
        bool inside = false, done = false;
        char *rest = text, *line;

        while (rest && (line = strsep(&rest, "\n"))) {
                _cleanup_(cleanup_free) char *own = line[0] == '[' ? strdup(line) : NULL;
                const char *name = own ? section_of(own) : NULL;

                if (name)
                        inside = streq(name, section);
                if (inside && !name && replaces(line, keys))
                        continue;
                if (rest || *line) /* the last one has no end of line */
                        fprintf(out, "%s\n", line);
                if (name && inside && !done) {
                        put_keys(out, keys);
                        done = true;
                }
        }
        if (!done) {
                fprintf(out, "[%s]\n", section);
                put_keys(out, keys);
        }
}

int ini_replace(const char *path, const char *section, const json_t *keys, char **ret_text)
{
        char *text, *copy = NULL;
        size_t n, n_copy = 0;
        int r = read_file(path, &text, &n);
        FILE *out;

        if (r < 0)
                return r;
        out = open_memstream(&copy, &n_copy);
        if (out) {
                copy_lines(out, text, section, keys);
                r = ferror(out) ? -ENOMEM : 0;
                if (fclose(out) != 0)
                        r = -ENOMEM;
        } else
                r = -ENOMEM;
        if (text)
                aws_wipe(text, n);
        free(text);
        if (r < 0) {
                free(copy);
                return r;
        }
        *ret_text = copy;
        return 0;
}
