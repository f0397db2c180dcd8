/* SPDX-License-Identifier: Apache-2.0 */
#include "config/setting.h"

#include <pwd.h>
#include <sys/stat.h>

enum { KEYS_MAX = 32 };

/* The setting's path, "plugin.isolation" or "sources.git_mirrors[1].from". */
static void path_of(struct buf *b, const config_setting_t *s)
{
        const config_setting_t *parent = config_setting_parent(s);

        if (!parent)
                return;
        path_of(b, parent);
        if (config_setting_name(s)) {
                if (b->n)
                        buf_putc(b, '.');
                buf_puts(b, config_setting_name(s));
        } else {
                buf_printf(b, "[%d]", config_setting_index(s));
        }
}

void setting_problem(struct reader *r, const config_setting_t *s, const char *format, ...)
{
        _cleanup_(cleanup_buf) struct buf path = BUF_NULL;
        _cleanup_(cleanup_free) char *message = NULL;
        const char *file = config_setting_source_file(s);
        struct position at = {.file = file ? file : r->file,
                              .line = config_setting_source_line(s)};
        va_list ap;

        path_of(&path, s);
        va_start(ap, format);
        if (vasprintf(&message, format, ap) < 0)
                message = NULL;
        va_end(ap);
        problems_add(r->problems, &at, buf_str(&path), "%s", message ? message : "out of memory");
}

const char *setting_type(const config_setting_t *s)
{
        switch (config_setting_type(s)) {
        case CONFIG_TYPE_GROUP:
                return "a group";
        case CONFIG_TYPE_INT:
        case CONFIG_TYPE_INT64:
                return "a whole number";
        case CONFIG_TYPE_FLOAT:
                return "a number with a fraction";
        case CONFIG_TYPE_STRING:
                return "a string";
        case CONFIG_TYPE_BOOL:
                return "true or false";
        case CONFIG_TYPE_ARRAY:
                return "an array";
        case CONFIG_TYPE_LIST:
                return "a list";
        default:
                return "nothing";
        }
}

int setting_read(struct reader *r, config_t *config, const config_setting_t **ret_root)
{
        struct position at = {.file = r->file};
        struct stat st;
        FILE *f;

        *ret_root = NULL;
        if (stat(r->file, &st) < 0 && errno == ENOENT)
                return 0;
        f = fopen(r->file, "re");
        if (!f || fstat(fileno(f), &st) < 0) {
                problems_add(r->problems, &at, NULL, "cannot be read: %s", strerror(errno));
        } else if (!S_ISREG(st.st_mode)) { /* libconfig's scanner ends the process on a folder */
                problems_add(r->problems, &at, NULL, "is not a file");
        } else if (!config_read_file(config, r->file)) {
                if (config_error_file(config))
                        at.file = config_error_file(config);
                at.line = (uint32_t)MAX(config_error_line(config), 0);
                problems_add(r->problems, &at, NULL, "%s", config_error_text(config));
        } else {
                *ret_root = config_root_setting(config);
        }
        if (f)
                fclose(f);
        return 0;
}

int setting_apply(struct reader *r, const config_setting_t *group, const struct key *keys,
                  size_t n_keys)
{
        const char *names[KEYS_MAX];
        int k;

        assert(n_keys <= KEYS_MAX);
        for (size_t i = 0; i < n_keys; i++)
                names[i] = keys[i].name;
        for (int m = 0; m < config_setting_length(group); m++) {
                const config_setting_t *s = config_setting_get_elem(group, (unsigned int)m);
                const char *name = config_setting_name(s), *meant;
                size_t i = 0;

                while (i < n_keys && !streq(names[i], name))
                        i++;
                if (i < n_keys) {
                        k = keys[i].apply(r, &keys[i], s);
                        if (k < 0)
                                return error_fold(k);
                        continue;
                }
                meant = did_you_mean(name, names, n_keys);
                if (meant)
                        setting_problem(r, s, "unknown key; did you mean \"%s\"?", meant);
                else if (r->group[0])
                        setting_problem(r, s, "unknown key of \"%s\"", r->group);
                else
                        setting_problem(r, s, "unknown key");
        }
        return 0;
}

static int replace(struct reader *r, const struct key *key, char *value)
{
        char **member = (char **)((char *)r->target + key->offset);

        free(*member);
        *member = value;
        return 0;
}

int setting_string(struct reader *r, const struct key *key, const config_setting_t *s)
{
        const char *text = config_setting_get_string(s);
        char *copy;

        if (config_setting_type(s) != CONFIG_TYPE_STRING || !text[0]) {
                setting_problem(r, s, "%s where a string is expected",
                                text ? "an empty string" : setting_type(s));
                return 0;
        }
        copy = strdup(text);
        return copy ? replace(r, key, copy) : error_origin(-ENOMEM);
}

int setting_path(struct reader *r, const struct key *key, const config_setting_t *s)
{
        const char *text = config_setting_get_string(s);
        char *path;

        if (config_setting_type(s) != CONFIG_TYPE_STRING) {
                setting_problem(r, s, "%s where a path is expected", setting_type(s));
                return 0;
        }
        path = setting_expand(text);
        if (!path && errno == ENOMEM)
                return error_origin(-ENOMEM);
        if (!path) {
                setting_problem(r, s, "\"%s\" is not a path that starts with \"/\" or \"~/\"",
                                text);
                return 0;
        }
        return replace(r, key, path);
}

int setting_bool(struct reader *r, const struct key *key, const config_setting_t *s)
{
        if (config_setting_type(s) != CONFIG_TYPE_BOOL) {
                setting_problem(r, s, "%s where true or false is expected", setting_type(s));
                return 0;
        }
        *(bool *)((char *)r->target + key->offset) = config_setting_get_bool(s);
        return 0;
}

int setting_u32(struct reader *r, const struct key *key, const config_setting_t *s)
{
        int type = config_setting_type(s);
        long long v = config_setting_get_int64(s);

        if (type != CONFIG_TYPE_INT && type != CONFIG_TYPE_INT64) {
                setting_problem(r, s, "%s where a whole number from %lld to %lld is expected",
                                setting_type(s), (long long)key->min, (long long)key->max);
                return 0;
        }
        if (type == CONFIG_TYPE_INT)
                v = config_setting_get_int(s);
        if (v < key->min || v > key->max) {
                setting_problem(r, s, "%lld; accepted are %lld to %lld", v, (long long)key->min,
                                (long long)key->max);
                return 0;
        }
        *(uint32_t *)((char *)r->target + key->offset) = (uint32_t)v;
        return 0;
}

static int aggregate(struct reader *r, const config_setting_t *s, json_t **ret_json)
{
        bool group = config_setting_type(s) == CONFIG_TYPE_GROUP;
        _cleanup_(cleanup_json_decref) json_t *json = group ? json_object() : json_array();
        bool whole = true;
        int k;

        if (!json)
                return error_origin(-ENOMEM);
        for (int i = 0; i < config_setting_length(s); i++) {
                const config_setting_t *e = config_setting_get_elem(s, (unsigned int)i);
                json_t *value;

                k = setting_json(r, e, &value);
                if (k < 0)
                        return error_fold(k);
                if (!value)
                        whole = false;
                else if ((group ? json_object_set_new(json, config_setting_name(e), value)
                                : json_array_append_new(json, value)) < 0)
                        return error_origin(-ENOMEM);
        }
        *ret_json = whole ? steal(&json) : NULL;
        return 0;
}

int setting_json(struct reader *r, const config_setting_t *s, json_t **ret_json)
{
        switch (config_setting_type(s)) {
        case CONFIG_TYPE_GROUP:
        case CONFIG_TYPE_ARRAY:
        case CONFIG_TYPE_LIST:
                return aggregate(r, s, ret_json);
        case CONFIG_TYPE_INT:
                *ret_json = json_integer(config_setting_get_int(s));
                break;
        case CONFIG_TYPE_INT64:
                *ret_json = json_integer(config_setting_get_int64(s));
                break;
        case CONFIG_TYPE_BOOL:
                *ret_json = json_boolean(config_setting_get_bool(s));
                break;
        case CONFIG_TYPE_FLOAT:
                *ret_json = json_real(config_setting_get_float(s));
                if (!*ret_json)
                        setting_problem(r, s, "is not a finite number");
                return 0;
        case CONFIG_TYPE_STRING:
                *ret_json = json_string(config_setting_get_string(s));
                if (!*ret_json)
                        setting_problem(r, s, "is not valid UTF-8");
                return 0;
        default:
                *ret_json = json_null();
        }
        return *ret_json ? 0 : error_origin(-ENOMEM);
}

char *setting_expand(const char *path)
{
        const char *home = getenv("HOME");
        struct passwd *pw;
        char *full;

        if (path[0] == '/')
                return strdup(path);
        if (path[0] != '~' || path[1] != '/') {
                errno = EINVAL;
                return NULL;
        }
        if (!home || home[0] != '/') { /* [main] only, so getpwuid may be used */
                pw = getpwuid(geteuid());
                home = pw ? pw->pw_dir : "/";
        }
        if (asprintf(&full, "%s/%s", streq(home, "/") ? "" : home, path + 2) < 0) {
                errno = ENOMEM;
                return NULL;
        }
        return full;
}
