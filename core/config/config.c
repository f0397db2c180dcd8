/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config.h"

#include "base/json.h"
#include "config/dropin.h"
#include "config/paths.h"
#include "config/setting.h"

static int apply_server(struct reader *r, const struct key *key, const config_setting_t *s);
static int apply_sources(struct reader *r, const struct key *key, const config_setting_t *s);
static int apply_http(struct reader *r, const struct key *key, const config_setting_t *s);
static int apply_plugin(struct reader *r, const struct key *key, const config_setting_t *s);

#define MEMBER(m) offsetof(struct config, m)

static const struct key site_keys[] = {
        {"state", setting_path, MEMBER(state)},
        {"cache", setting_path, MEMBER(cache)},
        {"socket", setting_path, MEMBER(socket)},
        {"store", setting_string, MEMBER(store)},
        {"provider", setting_string, MEMBER(provider)},
        {"server", apply_server, MEMBER(server)},
        {"workers", setting_u32, MEMBER(workers), 1, 256},
        {"taskserv_batch_size", setting_u32, MEMBER(taskserv_batch), 1, 10000},
        {"idle_timeout", setting_u32, MEMBER(idle_s), 1, 7 * 86400},
        {"keyring", setting_path, MEMBER(keyring)},
        {"require_signatures", setting_bool, MEMBER(require_signatures)},
        {"sources", apply_sources, MEMBER(sources)},
        {"http", apply_http, MEMBER(http)},
        {"plugin", apply_plugin},
};

/* Merges one member of the groups `server` and `sources` into the object made so far: a later file
 * changes what it names and keeps the rest. */
static int merge(struct reader *r, const struct key *key, const config_setting_t *s)
{
        json_t *value;
        int k;

        k = setting_json(r, s, &value);
        if (k < 0)
                return error_fold(k);
        if (value && json_object_set_new(r->target, config_setting_name(s), value) < 0)
                return error_origin(-ENOMEM);
        return 0;
}

static int merge_string(struct reader *r, const struct key *key, const config_setting_t *s)
{
        if (config_setting_type(s) == CONFIG_TYPE_STRING)
                return merge(r, key, s);
        setting_problem(r, s, "%s where a string is expected", setting_type(s));
        return 0;
}

/* The path of a file; "~/x" is below the home folder. */
static int merge_path(struct reader *r, const struct key *key, const config_setting_t *s)
{
        _cleanup_(cleanup_free) char *path = NULL;

        if (config_setting_type(s) != CONFIG_TYPE_STRING)
                return merge_string(r, key, s);
        path = setting_expand(config_setting_get_string(s));
        if (!path && errno == EINVAL) {
                setting_problem(r, s, "\"%s\" is not absolute", config_setting_get_string(s));
                return 0;
        }
        if (!path || json_object_set_new(r->target, config_setting_name(s), json_string(path)) < 0)
                return error_origin(-ENOMEM);
        return 0;
}

static int merge_number(struct reader *r, const struct key *key, const config_setting_t *s)
{
        double v = config_setting_type(s) == CONFIG_TYPE_INT ? config_setting_get_int(s)
                   : config_setting_type(s) == CONFIG_TYPE_INT64
                           ? (double)config_setting_get_int64(s)
                           : config_setting_get_float(s);

        if (!config_setting_is_number(s))
                setting_problem(r, s, "%s where a number is expected", setting_type(s));
        else if (!(v > 0))
                setting_problem(r, s, "%g; it must be more than 0", v);
        else
                return merge(r, key, s);
        return 0;
}

static bool is_strings(const config_setting_t *s)
{
        if (config_setting_type(s) != CONFIG_TYPE_ARRAY &&
            config_setting_type(s) != CONFIG_TYPE_LIST)
                return false;
        for (int i = 0; i < config_setting_length(s); i++)
                if (config_setting_type(config_setting_get_elem(s, (unsigned int)i)) !=
                    CONFIG_TYPE_STRING)
                        return false;
        return true;
}

static int merge_strings(struct reader *r, const struct key *key, const config_setting_t *s)
{
        if (is_strings(s))
                return merge(r, key, s);
        setting_problem(r, s, "%s where an array of strings, [ \"a\", \"b\" ], is expected",
                        setting_type(s));
        return 0;
}

static int merge_command(struct reader *r, const struct key *key, const config_setting_t *s)
{
        if (config_setting_type(s) == CONFIG_TYPE_STRING ||
            (is_strings(s) && config_setting_length(s) > 0))
                return merge(r, key, s);
        setting_problem(r, s, "%s where a program, \"kcl\", or its arguments too, "
                              "[ \"kcl\", \"run\" ], are expected", setting_type(s));
        return 0;
}

static int merge_group(struct reader *r, const struct key *key, const config_setting_t *s)
{
        if (config_setting_type(s) == CONFIG_TYPE_GROUP)
                return merge(r, key, s);
        setting_problem(r, s, "%s where a group { ... } is expected", setting_type(s));
        return 0;
}

/* Mirrors as ( { from = "https://a/"; to = "https://b/"; }, ... ): names of settings cannot hold
 * URLs. */
static int merge_mirrors(struct reader *r, const struct key *key, const config_setting_t *s)
{
        bool good = config_setting_type(s) == CONFIG_TYPE_LIST;

        for (int i = 0; good && i < config_setting_length(s); i++) {
                config_setting_t *e = config_setting_get_elem(s, (unsigned int)i);
                const char *from, *to;

                good = config_setting_type(e) == CONFIG_TYPE_GROUP &&
                       config_setting_length(e) == 2 &&
                       config_setting_lookup_string(e, "from", &from) &&
                       config_setting_lookup_string(e, "to", &to);
        }
        if (good)
                return merge(r, key, s);
        setting_problem(r, s, "expected is a list of mirrors: ( { from = \"https://a/\"; to = "
                              "\"https://b/\"; } )");
        return 0;
}

static const struct key server_keys[] = {
        {"provider", merge_string}, {"cpu", merge_number},       {"memory", merge_number},
        {"disk", merge_number},     {"plan", merge_string},      {"image", merge_string},
        {"zone", merge_string},     {"networks", merge_strings}, {"labels", merge_group},
        {"ssh_keys", merge_strings},
};

/* The default server definition; blocks of providers, which only they know, are groups. */
static int apply_server(struct reader *r, const struct key *key, const config_setting_t *s)
{
        struct config *c = r->target;
        struct reader inner = {r->problems, r->file, "server", c->server};

        if (config_setting_type(s) != CONFIG_TYPE_GROUP)
                return merge_group(r, key, s);
        for (int i = 0; i < config_setting_length(s); i++) {
                const config_setting_t *m = config_setting_get_elem(s, (unsigned int)i);
                const char *names[N_ELEMENTS(server_keys)], *name = config_setting_name(m), *meant;
                size_t k = 0;
                int n;

                for (size_t j = 0; j < N_ELEMENTS(server_keys); j++)
                        names[j] = server_keys[j].name;
                while (k < N_ELEMENTS(server_keys) && !streq(names[k], name))
                        k++;
                if (k < N_ELEMENTS(server_keys)) {
                        n = server_keys[k].apply(&inner, &server_keys[k], m);
                } else if (config_setting_type(m) == CONFIG_TYPE_GROUP) {
                        n = merge(&inner, NULL, m);
                } else {
                        meant = did_you_mean(name, names, N_ELEMENTS(names));
                        setting_problem(r, m, "unknown key%s%s%s; what only a provider knows goes "
                                              "into a group of the provider's name",
                                        meant ? "; did you mean \"" : "", meant ? meant : "",
                                        meant ? "\"?" : "");
                        n = 0;
                }
                if (n < 0)
                        return error_fold(n);
        }
        return 0;
}

static const struct key sources_keys[] = {
        {"apt_mirror", merge_string},   {"http_proxy", merge_string},
        {"https_proxy", merge_string},  {"no_proxy", merge_string},
        {"git_mirrors", merge_mirrors}, {"image_registry", merge_string},
        {"kcl_command", merge_command}, {"kcl_python", merge_string},
        {"ca_file", merge_path},
};

static const struct key http_keys[] = {
        {"record", merge_path}, {"replay", merge_path},
};

static int apply_sources(struct reader *r, const struct key *key, const config_setting_t *s)
{
        struct config *c = r->target;
        struct reader inner = {r->problems, r->file, "sources", c->sources};

        if (config_setting_type(s) != CONFIG_TYPE_GROUP)
                return merge_group(r, key, s);
        return error_fold(setting_apply(&inner, s, sources_keys, N_ELEMENTS(sources_keys)));
}

static int apply_http(struct reader *r, const struct key *key, const config_setting_t *s)
{
        struct config *c = r->target;
        struct reader inner = {r->problems, r->file, "http", c->http};

        if (config_setting_type(s) != CONFIG_TYPE_GROUP)
                return merge_group(r, key, s);
        return error_fold(setting_apply(&inner, s, http_keys, N_ELEMENTS(http_keys)));
}

static int apply_plugin(struct reader *r, const struct key *key, const config_setting_t *s)
{
        setting_problem(r, s, "a plugin is enabled by a file of its own: put this into "
                              "plugins.d/NAME.conf beside this file");
        return 0;
}

/* base, or the environment's absolute folder, with /prvng: the rule of the XDG base directories. */
static char *user_folder(const char *variable, const char *system, const char *in_home)
{
        const char *dir = getenv(variable);
        char *folder;

        if (dir && dir[0] == '/')
                return asprintf(&folder, "%s/prvng", dir) < 0 ? NULL : folder;
        if (system && geteuid() == 0)
                return strdup(system);
        return setting_expand(in_home);
}

/* A relative path of the environment means the present folder. */
static char *absolute(const char *path)
{
        _cleanup_(cleanup_free) char *cwd = NULL;
        char *full;

        if (path[0] == '/')
                return strdup(path);
        cwd = getcwd(NULL, 0);
        return !cwd || asprintf(&full, "%s/%s", cwd, path) < 0 ? NULL : full;
}

static int split(const char *list, char ***ret_folders)
{
        size_t n = 2;
        char **folders;

        for (const char *p = list; *p; p++)
                n += *p == ':';
        folders = calloc(n, sizeof(*folders));
        if (!folders)
                return error_origin(-ENOMEM);
        n = 0;
        while (*list) {
                size_t len = strcspn(list, ":");
                _cleanup_(cleanup_free) char *one = strndup(list, len);

                if (len && (!one || !(folders[n++] = absolute(one)))) {
                        for (size_t i = 0; i < n; i++)
                                free(folders[i]);
                        free(folders);
                        return error_origin(-ENOMEM);
                }
                list += len + (list[len] == ':');
        }
        *ret_folders = folders;
        return 0;
}

static int from_environment(const char *variable, const char *built_in, char **ret_folder)
{
        const char *value = getenv(variable);
        char *folder = value && value[0] ? absolute(value) : strdup(built_in);

        if (!folder)
                return error_origin(-ENOMEM);
        *ret_folder = folder;
        return 0;
}

static int defaults(struct config *c)
{
        const char *plugins = getenv("PRVNG_PLUGIN_PATH");
        int r;

        c->state = user_folder("XDG_STATE_HOME", "/var/lib/prvng", "~/.local/state/prvng");
        c->cache = user_folder("XDG_CACHE_HOME", "/var/cache/prvng", "~/.cache/prvng");
        c->provider = strdup("local");
        c->server = json_pack("{s:i, s:i, s:i}", "cpu", 1, "memory", 1024, "disk", 10);
        c->sources = json_object();
        c->http = json_object();
        c->workers = 8;
        c->taskserv_batch = 16;
        c->idle_s = 60;
        c->files = calloc(1, sizeof(*c->files));
        if (!c->state || !c->cache || !c->provider || !c->server || !c->sources ||
            !c->http || !c->files)
                return error_origin(-ENOMEM);
        r = split(plugins && plugins[0] ? plugins : CONFIG_PLUGINS, &c->plugin_path);
        if (r == 0)
                r = from_environment("PRVNG_SCHEMA_PATH", CONFIG_SCHEMAS, &c->schemas);
        if (r == 0)
                r = from_environment("PRVNG_LIBEXEC_PATH", CONFIG_LIBEXEC, &c->libexec);
        return error_fold(r);
}

int config_add_file(struct config *c, const char *path)
{
        size_t n = 0;
        char **files;

        while (c->files[n])
                n++;
        files = realloc(c->files, (n + 2) * sizeof(*files));
        if (!files)
                return error_origin(-ENOMEM);
        c->files = files;
        files[n + 1] = NULL;
        files[n] = strdup(path);
        return files[n] ? 0 : error_origin(-ENOMEM);
}

static int read_site(struct config *c, const char *path, bool required, struct problems *problems)
{
        struct reader r = {problems, path, "", c};
        struct position at = {.file = path};
        const config_setting_t *root;
        size_t before = problems->n;
        config_t config;
        int k;

        if (access(path, F_OK) < 0 && errno == ENOENT) {
                if (required)
                        problems_add(problems, &at, NULL, "there is no such file");
                return 0;
        }
        config_init(&config);
        k = setting_read(&r, &config, &root);
        if (k == 0 && (root || problems->n > before))
                k = config_add_file(c, path);
        if (k == 0 && root)
                k = setting_apply(&r, root, site_keys, N_ELEMENTS(site_keys));
        config_destroy(&config);
        return error_fold(k);
}

/* FOLDER/prvng.conf if `site`, and the drop-ins of FOLDER/plugins.d. */
static int read_folder(struct config *c, const char *folder, bool site, struct dropins *d,
                       struct problems *problems)
{
        _cleanup_(cleanup_free) char *conf = NULL, *dropins = NULL;
        int r = 0;

        if (asprintf(&conf, "%s/prvng.conf", folder) < 0 ||
            asprintf(&dropins, "%s/plugins.d", folder) < 0)
                return error_origin(-ENOMEM);
        if (site)
                r = read_site(c, conf, false, problems);
        if (r == 0)
                r = dropins_scan(d, dropins, problems);
        return error_fold(r);
}

/* All files in their order; the drop-ins are only found here, and read once it is known which
 * count. */
static int read_files(struct config *c, const char *path, struct dropins *d,
                      struct problems *problems)
{
        _cleanup_(cleanup_free) char *user = NULL, *full = NULL;
        const char *xdg = getenv("XDG_CONFIG_HOME"), *packaged = getenv("PRVNG_DROPIN_PATH");
        char **folders;
        int r;

        r = split(packaged && packaged[0] ? packaged : CONFIG_DROPINS, &folders);
        for (size_t i = 0; r == 0 && folders[i]; i++) {
                r = dropins_scan(d, folders[i], problems);
                free(folders[i]);
        }
        if (r < 0)
                return error_fold(r);
        free(folders);

        r = read_folder(c, CONFIG_ETC, !path, d, problems);
        if (r == 0 && ((xdg && xdg[0] == '/') || geteuid() != 0)) {
                user = user_folder("XDG_CONFIG_HOME", NULL, "~/.config/prvng");
                r = user ? read_folder(c, user, !path, d, problems) : error_origin(-ENOMEM);
                c->folder = steal(&user);
        }
        if (r == 0 && path) {
                full = absolute(path);
                r = full ? read_site(c, full, true, problems) : error_origin(-ENOMEM);
                if (r == 0) {
                        *strrchr(full, '/') = 0;
                        r = read_folder(c, full, false, d, problems);
                        free(c->folder);
                        c->folder = steal(&full);
                }
        }
        if (r == 0 && !c->folder && !(c->folder = strdup(CONFIG_ETC)))
                r = error_origin(-ENOMEM);
        return error_fold(r);
}

static bool is_there(const struct config *c, const char *path)
{
        _cleanup_(cleanup_free) char *full = NULL;

        return asprintf(&full, "%s/stores/%s", c->state, path) >= 0 && access(full, F_OK) == 0;
}

/* The home store of a site whose configuration names none. What a site has begun with it keeps: another
 * store would be empty. */
static int default_store(struct config *c)
{
        bool rkvs = is_there(c, "rkvs"), began = is_there(c, "file/streams/site");

        for (size_t i = 0; i < c->n_plugins; i++)
                rkvs |= streq(c->plugins[i].name, "rkvs") && c->plugins[i].enabled;
        c->store = strdup(rkvs && !began ? "rkvs" : "file");
        if (!c->store)
                return error_origin(-ENOMEM);
        if (rkvs && began &&
            asprintf(&c->store_notice,
                     "the configuration names no store: this site goes on with \"file\", where its "
                     "journal is (%s/stores/file); sites begin with \"rkvs\" now. To say so, write store = "
                     "\"file\"; to move the site: prvng store migrate", c->state) < 0) {
                c->store_notice = NULL;
                return error_origin(-ENOMEM);
        }
        return 0;
}

/* Every plugin gets the site's sources and the folder of helper programs inside its configuration.
 */
static int complete(struct config *c)
{
        if (!c->socket && asprintf(&c->socket, "%s/prvngd.sock", c->state) < 0) {
                c->socket = NULL;
                return error_origin(-ENOMEM);
        }
        if (!c->keyring && asprintf(&c->keyring, "%s/keys.d", c->folder) < 0) {
                c->keyring = NULL;
                return error_origin(-ENOMEM);
        }
        if (!c->store && default_store(c))
                return error_origin(-ENOMEM);
        for (size_t i = 0; i < c->n_plugins; i++) {
                struct config_plugin *p = &c->plugins[i];
                _cleanup_(cleanup_json_decref) json_t *json = json_loads(p->config, 0, NULL);
                char *text;

                if (!json || json_object_set(json, "sources", c->sources) < 0 ||
                    (!json_object_get(json, "libexec") && /* a drop-in may name its own */
                     json_object_set_new(json, "libexec", json_string(c->libexec)) < 0))
                        return error_origin(-ENOMEM);
                text = json_dumps(json, JSON_COMPACT);
                if (!text)
                        return error_origin(-ENOMEM);
                free(p->config);
                p->config = text;
        }
        return 0;
}

DEFINE_CLEANUP(struct config *, config_free)

int config_load(const char *path, struct problems *problems, struct config **ret_config)
{
        _cleanup_(cleanup_config_free) struct config *c = calloc(1, sizeof(*c));
        struct dropins d = {0};
        size_t before = problems->n;
        int r;

        if (!c)
                return error_origin(-ENOMEM);
        r = defaults(c);
        if (r == 0)
                r = read_files(c, path, &d, problems);
        if (r == 0)
                r = dropins_read(&d, problems, c);
        dropins_deinit(&d);
        if (r == 0 && problems->n == before)
                r = complete(c);
        if (r < 0)
                return error_fold(r);
        if (problems->n == before)
                *ret_config = steal(&c);
        return 0;
}

struct config *config_free(struct config *c)
{
        if (!c)
                return NULL;
        free(c->state);
        free(c->cache);
        free(c->socket);
        free(c->store);
        free(c->store_notice);
        free(c->folder);
        free(c->keyring);
        free(c->provider);
        json_decref(c->server);
        for (char **p = c->plugin_path; p && *p; p++)
                free(*p);
        free(c->plugin_path);
        free(c->schemas);
        free(c->libexec);
        json_decref(c->sources);
        json_decref(c->http);
        for (size_t i = 0; i < c->n_plugins; i++)
                config_plugin_deinit(&c->plugins[i]);
        free(c->plugins);
        for (char **p = c->files; p && *p; p++)
                free(*p);
        free(c->files);
        free(c);
        return NULL;
}
