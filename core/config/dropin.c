/* SPDX-License-Identifier: Apache-2.0 */
#include "config/dropin.h"

#include "config/capability.h"
#include "config/setting.h"

#include <dirent.h>
#include <inttypes.h>
#include <sys/stat.h>

void dropins_deinit(struct dropins *d)
{
        for (size_t i = 0; i < d->n; i++) {
                free(d->list[i].name);
                free(d->list[i].path);
        }
        free(d->list);
        *d = (struct dropins){0};
}

static int add_file(struct dropins *d, const char *folder, const char *name)
{
        struct dropin_file *list;
        size_t i = 0;
        char *path;

        if (asprintf(&path, "%s/%s", folder, name) < 0)
                return error_origin(-ENOMEM);
        while (i < d->n && strcmp(d->list[i].name, name) < 0)
                i++;
        if (i < d->n && streq(d->list[i].name, name)) {
                free(d->list[i].path);
                d->list[i].path = path;
                return 0;
        }
        list = realloc(d->list, (d->n + 1) * sizeof(*list));
        if (list)
                d->list = list;
        if (!list || !(name = strdup(name))) {
                free(path);
                return error_origin(-ENOMEM);
        }
        memmove(list + i + 1, list + i, (d->n - i) * sizeof(*list));
        list[i] = (struct dropin_file){.name = (char *)(uintptr_t)name, .path = path};
        d->n++;
        return 0;
}

int dropins_scan(struct dropins *d, const char *folder, struct problems *problems)
{
        struct position at = {.file = folder};
        struct dirent *e;
        DIR *dir;
        int r = 0;

        dir = opendir(folder);
        if (!dir) {
                if (errno != ENOENT && errno != ENOTDIR)
                        problems_add(problems, &at, NULL, "cannot be read: %s", strerror(errno));
                return 0;
        }
        while (r == 0 && (e = readdir(dir))) {
                size_t n = strlen(e->d_name);

                if (e->d_name[0] != '.' && n > 5 && streq(e->d_name + n - 5, ".conf"))
                        r = add_file(d, folder, e->d_name);
        }
        closedir(dir);
        return error_fold(r);
}

static int apply_isolation(struct reader *r, const struct key *key, const config_setting_t *s)
{
        static const char *const known[] = {"none", "process"};
        struct config_plugin *p = r->target;
        const char *text = config_setting_get_string(s), *meant;

        if (config_setting_type(s) != CONFIG_TYPE_STRING) {
                setting_problem(r, s, "%s where \"none\" or \"process\" is expected",
                                setting_type(s));
        } else if (streq(text, "none") || streq(text, "process")) {
                p->process = streq(text, "process");
                p->isolation_given = true;
        } else if ((meant = did_you_mean(text, known, N_ELEMENTS(known)))) {
                setting_problem(r, s, "\"%s\"; did you mean \"%s\"?", text, meant);
        } else {
                setting_problem(r, s, "\"%s\"; accepted are \"none\" and \"process\"", text);
        }
        return 0;
}

static int apply_sha256(struct reader *r, const struct key *key, const config_setting_t *s)
{
        const char *text = config_setting_get_string(s);

        if (config_setting_type(s) != CONFIG_TYPE_STRING ||
            strspn(text, "0123456789abcdefABCDEF") != 64 || strlen(text) != 64) {
                setting_problem(r, s, "is not a SHA-256 digest of 64 hexadecimal digits, as "
                                      "`sha256sum FILE` prints it");
                return 0;
        }
        return setting_string(r, key, s);
}

static int apply_name(struct reader *r, const struct key *key, const config_setting_t *s)
{
        const char *text = config_setting_get_string(s);

        if (config_setting_type(s) == CONFIG_TYPE_STRING &&
            strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-_") != strlen(text)) {
                setting_problem(r, s, "\"%s\"; names of plugins hold a-z, 0-9, '-' and '_' only",
                                text);
                return 0;
        }
        return setting_string(r, key, s);
}

static int apply_config(struct reader *r, const struct key *key, const config_setting_t *s)
{
        struct config_plugin *p = r->target;
        _cleanup_(cleanup_json_decref) json_t *json = NULL;
        const config_setting_t *taken;
        int k;

        if (config_setting_type(s) != CONFIG_TYPE_GROUP) {
                setting_problem(r, s, "%s where a group { ... } is expected", setting_type(s));
                return 0;
        }
        taken = config_setting_get_member(s, "sources");
        if (taken)
                setting_problem(r, taken, "this name is taken: the core hands the site's own "
                                          "\"sources\" to every plugin");
        k = setting_json(r, s, &json);
        if (k < 0 || !json)
                return error_fold(k);
        free(p->config);
        p->config = json_dumps(json, JSON_COMPACT);
        return p->config ? 0 : error_origin(-ENOMEM);
}

static int apply_capabilities(struct reader *r, const struct key *key, const config_setting_t *s)
{
        struct config_plugin *p = r->target;
        _cleanup_(cleanup_json_decref) json_t *json = NULL;
        _cleanup_(cleanup_free) char *reason = NULL;
        int k = setting_json(r, s, &json);

        if (k < 0 || !json)
                return error_fold(k);
        k = capability_check(json, &reason);
        if (k < 0)
                return error_fold(k);
        if (reason) {
                setting_problem(r, s, "%s", reason + (*reason == ':' ? 2 : 1));
                return 0;
        }
        json_decref(p->capabilities);
        p->capabilities = steal(&json);
        return 0;
}

static int apply_limit(struct reader *r, const struct key *key, const config_setting_t *s)
{
        struct config_limit *limit = (struct config_limit *)(void *)((char *)r->target + key->offset);
        int64_t value;

        if (config_setting_type(s) != CONFIG_TYPE_INT && config_setting_type(s) != CONFIG_TYPE_INT64) {
                setting_problem(r, s, "%s where a whole number from 0 (no limit) to %" PRId64
                                      " is expected", setting_type(s), key->max);
                return 0;
        }
        value = config_setting_get_int64(s);
        if (value < 0 || value > key->max)
                setting_problem(r, s, "%" PRId64 " is out of range; expected 0 (no limit) to %" PRId64,
                                value, key->max);
        else
                *limit = (struct config_limit){true, (uint32_t)value};
        return 0;
}

#define MEMBER(m) offsetof(struct config_plugin, m)

static const struct key plugin_keys[] = {
        {"name", apply_name, MEMBER(name)},
        {"file", setting_string, MEMBER(file)},
        {"enabled", setting_bool, MEMBER(enabled)},
        {"isolation", apply_isolation},
        {"capabilities", apply_capabilities},
        {"memory", setting_u32, MEMBER(memory), 16, 1 << 20},
        {"critical", setting_bool, MEMBER(critical)},
        {"sha256", apply_sha256, MEMBER(sha256)},
        {"config", apply_config},
        {"api_rate_limit", apply_limit, MEMBER(rate_limit), 0, CONFIG_RATE_LIMIT_MAX},
        {"batch_size", apply_limit, MEMBER(batch_size), 0, CONFIG_BATCH_SIZE_MAX},
};

static int apply_plugin(struct reader *r, const struct key *key, const config_setting_t *s)
{
        struct config_plugin *p = r->target;
        struct reader inner = {r->problems, r->file, "plugin", p};
        size_t before = r->problems->n;
        int k;

        if (config_setting_type(s) != CONFIG_TYPE_GROUP) {
                setting_problem(r, s, "%s where a group { ... } is expected", setting_type(s));
                return 0;
        }
        k = setting_apply(&inner, s, plugin_keys, N_ELEMENTS(plugin_keys));
        if (k < 0)
                return error_fold(k);
        if (r->problems->n > before)
                return 0;
        if (!p->name)
                setting_problem(r, s, "has no \"name\"");
        else if (!p->file && p->enabled)
                setting_problem(r, s, "has no \"file\"");
        free(p->from);
        if (asprintf(&p->from, "%s:%u", r->file, config_setting_source_line(s)) < 0) {
                p->from = NULL;
                return error_origin(-ENOMEM);
        }
        return 0;
}

static const struct key dropin_keys[] = {{"plugin", apply_plugin}};

void config_plugin_deinit(struct config_plugin *p)
{
        free(p->name);
        free(p->file);
        free(p->sha256);
        free(p->config);
        free(p->from);
        json_decref(p->capabilities);
        *p = (struct config_plugin){0};
}

/* Reads one; *ret_plugin stays without a name if there is nothing or a problem. */
static int read_one(const char *path, struct problems *problems, struct config_plugin *ret_plugin)
{
        struct config_plugin p = {.enabled = true, .memory = 512};
        struct reader r = {problems, path, "", &p};
        struct position at = {.file = path};
        const config_setting_t *root;
        size_t before = problems->n;
        config_t config;
        int k;

        config_init(&config);
        k = setting_read(&r, &config, &root);
        if (k == 0 && root)
                k = setting_apply(&r, root, dropin_keys, N_ELEMENTS(dropin_keys));
        config_destroy(&config);
        if (k == 0 && problems->n == before && !p.from)
                problems_add(problems, &at, NULL, "has no group \"plugin\"");
        if (k == 0 && problems->n == before && !p.config && !(p.config = strdup("{}")))
                k = error_origin(-ENOMEM);
        if (k < 0 || problems->n > before)
                config_plugin_deinit(&p);
        else
                *ret_plugin = p;
        return error_fold(k);
}

static int by_name(const void *a, const void *b)
{
        const struct config_plugin *x = a, *y = b;
        int c = strcmp(x->name, y->name);

        return c ? c : strcmp(x->from, y->from);
}

/* An empty file or a link to /dev/null hides the drop-in of that name. */
static bool masked(const char *path)
{
        struct stat st;

        return stat(path, &st) == 0 &&
               (S_ISCHR(st.st_mode) || (S_ISREG(st.st_mode) && !st.st_size));
}

int dropins_read(const struct dropins *d, struct problems *problems, struct config *c)
{
        int r;

        c->plugins = calloc(d->n + 1, sizeof(*c->plugins));
        if (!c->plugins)
                return error_origin(-ENOMEM);
        for (size_t i = 0; i < d->n; i++) {
                struct config_plugin *p = &c->plugins[c->n_plugins];

                r = config_add_file(c, d->list[i].path);
                if (r == 0 && !masked(d->list[i].path))
                        r = read_one(d->list[i].path, problems, p);
                if (r < 0)
                        return error_fold(r);
                if (p->name)
                        c->n_plugins++;
        }
        qsort(c->plugins, c->n_plugins, sizeof(*c->plugins), by_name);
        return 0;
}
