/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the configuration to the list of plugins. Cheap checks come before expensive ones, and no
 * code of a plugin runs before the file is trusted and its note fits.
 */
#include "plugin/plugin.h"

#include "base/json.h"
#include "config/capability.h"
#include "host/host.h"
#include "plugin/isolate.h"
#include "plugin/load.h"
#include "plugin/lock.h"
#include "plugin/note.h"
#include "plugin/secret.h"
#include "plugin/signature.h"
#include "plugin/trust.h"

#include <fcntl.h>

/* Where the file is: absolute, or in the folders of plugin_path, under its relative name or, in
 * builds that are not installed, flat. NULL: nowhere, or out of memory (errno). */
static char *locate(const struct config *config, const char *file)
{
        const char *base = strrchr(file, '/');
        char *path;

        if (file[0] == '/')
                return access(file, F_OK) == 0 ? strdup(file) : NULL;
        for (char **folder = config->plugin_path; *folder; folder++) {
                const char *const names[] = {file, base ? base + 1 : NULL};

                for (size_t i = 0; i < N_ELEMENTS(names) && names[i]; i++) {
                        if (asprintf(&path, "%s/%s", *folder, names[i]) < 0)
                                return errno = ENOMEM, NULL;
                        if (access(path, F_OK) == 0)
                                return path;
                        free(path);
                }
        }
        errno = ENOENT;
        return NULL;
}

static int find_file(struct plugin *p, const struct config *config)
{
        _cleanup_(cleanup_free) char *path = locate(config, p->config->file);
        _cleanup_(cleanup_free) char *reason = NULL;
        _cleanup_(cleanup_buf) struct buf folders = BUF_NULL;
        int r;

        if (!path && errno == ENOMEM)
                return error_origin(-ENOMEM);
        if (!path) {
                for (char **f = config->plugin_path; *f && p->config->file[0] != '/'; f++)
                        buf_printf(&folders, "%s%s", folders.n ? " and " : " in ", *f);
                plugin_refuse(p,
                              "there is no file %s%s: install its package, or set enabled = false "
                              "(%s)",
                              p->config->file, buf_str(&folders), p->config->from);
                return 0;
        }
        r = trust_check(path, &p->path, &reason);
        if (r < 0)
                return error_fold(r);
        if (!p->path) {
                plugin_refuse(p, "%s is not trusted: %s", path, reason);
                p->path = steal(&path);
        }
        return 0;
}

/* Where signatures are required, a pin in a drop-in says as much. */
static int check_signature(struct plugin *p, const struct config *config, int fd)
{
        _cleanup_(cleanup_free) char *reason = NULL;
        int r = signature_check(fd, p->path, config->keyring, &p->signer, &reason);

        if (r < 0)
                return error_fold(r);
        if (reason && !p->config->sha256)
                plugin_refuse(p, "%s", reason);
        if (!p->signer && !p->config->sha256 && config->require_signatures)
                plugin_refuse(p, "%s is not signed, and the site's configuration says require_signatures: "
                              "prvng plugin trust %s pins it as it is", p->path, p->path);
        return 0;
}

static int open_file(const struct plugin *p)
{
        return open(p->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

/* -ENOMEM, or another -errno of reading the file. */
static int take_digest(struct plugin *p, int fd)
{
        char digest[TRUST_DIGEST];
        int r = trust_digest(fd, digest);

        if (r < 0)
                return error_fold(r);
        p->sha256 = strdup(digest);
        return p->sha256 ? 0 : error_origin(-ENOMEM);
}

void plugin_digest(struct plugin *p)
{
        _cleanup_(cleanup_close) int fd = p->path && !p->sha256 ? open_file(p) : -1;

        if (fd >= 0)
                take_digest(p, fd);
}

/* Digest, signature and note. Whoever only looks at notes reads whole files only where a pin or a signature
 * is to be checked. */
static int look_inside(struct plugin *p, const struct config *config, uint32_t flags)
{
        _cleanup_(cleanup_free) char *reason = NULL;
        _cleanup_(cleanup_close) int fd = open_file(p);
        bool whole = p->config->sha256 || !(flags & PLUGINS_NOTES_ONLY);
        int r;

        r = fd < 0 ? -errno : whole ? take_digest(p, fd) : 0;
        if (r == -ENOMEM)
                return error_fold(r);
        if (r < 0) {
                plugin_refuse(p, "%s cannot be read: %s", p->path, strerror(-r));
                return 0;
        }
        if (p->config->sha256 && strcasecmp(p->config->sha256, p->sha256) != 0)
                plugin_refuse(p,
                              "%s is not the file that %s pins: its SHA-256 is %s, pinned is %s; "
                              "if the new file is wanted, change the pin",
                              p->path, p->config->from, p->sha256, p->config->sha256);
        r = check_signature(p, config, fd);
        r = r ?: note_build_id(fd, &p->build_id);
        r = r ?: note_read(fd, &p->note, &reason);
        if (r < 0)
                return error_fold(r);
        if (!p->note) {
                plugin_refuse(p, "%s %s", p->path, reason);
                return 0;
        }
        p->capabilities = capability_merge(json_object_get(p->note, "capabilities"), p->config->capabilities);
        return p->capabilities ? 0 : error_origin(-ENOMEM);
}

static int take(char **member, const char *value)
{
        char *copy = strdup(value);

        if (!copy)
                return error_origin(-ENOMEM);
        free(*member);
        *member = copy;
        return 0;
}

static int check_note(struct plugin *p)
{
        const char *abi = json_get_string(p->note, "abi", ""), *id;
        const char *minor = startswith(abi, PRVNG_STR(PRVNG_ABI_MAJOR) ".");
        const char *name = json_get_string(p->note, "name", "");
        size_t i;
        json_t *e;
        int r;

        r = take(&p->kind, json_get_string(p->note, "kind", ""));
        if (r == 0)
                r = take(&p->id, json_get_string(p->note, "id", ""));
        if (r == 0)
                r = take(&p->version, json_get_string(p->note, "version", ""));
        if (r < 0)
                return error_fold(r);
        if (!minor)
                plugin_refuse(p, "%s is made for plugin interface %s, this core has %d.%d: install "
                              "the plugin for this version of prvng", p->path, abi, PRVNG_ABI_MAJOR,
                              PRVNG_ABI_MINOR);
        if (!plugin_kind_known(p->kind))
                plugin_refuse(p, "%s is of the kind \"%s\", which this core has no use for",
                              p->path, p->kind);
        if (!streq(name, p->name))
                plugin_refuse(p, "%s is the plugin \"%s\", not \"%s\" as %s says: correct the name "
                              "or the file there", p->path, name, p->name, p->config->from);
        json_array_foreach (json_object_get(p->note, "requires"), i, e) {
                const struct prvng_host *table = host_table(p->host);

                id = json_string_value(e);
                if (!table->get_interface(table, id))
                        plugin_refuse(p, "%s needs the host interface %s, which this core does not "
                                      "offer", p->path, id);
        }
        return 0;
}

/* True if `kinds` is NULL or has the word. */
static bool has_kind(const char *kinds, const char *kind)
{
        size_t n = strlen(kind);

        for (const char *k = kinds; k && *k; k += strspn(k, " ")) {
                size_t len = strcspn(k, " ");

                if (len == n && memcmp(k, kind, n) == 0)
                        return true;
                k += len;
        }
        return !kinds;
}

/* The credentials of providers may stand in a secret backend. */
static bool is_asked_for(const struct plugin *p, const char *kinds)
{
        return has_kind(kinds, p->kind) || (streq(p->kind, "secret") && has_kind(kinds, "provider"));
}

/* A name that several drop-ins give to enabled plugins names none of them: which one a definition
 * means must not hang on the order of files. */
static void check_unique(struct plugin *p, const struct config *config)
{
        for (size_t i = 0; i < config->n_plugins; i++) {
                const struct config_plugin *other = &config->plugins[i];

                if (other != p->config && other->enabled && streq(other->name, p->name))
                        plugin_refuse(p,
                                      "two drop-ins enable a plugin named \"%s\", %s and %s: set "
                                      "enabled = false in one of them",
                                      p->name, p->config->from, other->from);
        }
}

/* Before the note is read, and for a file that is not there: what the folder in "providers/x.so"
 * says, so that whoever needs provider x finds the reason why there is none. */
static int guess_kind(struct plugin *p)
{
        const char *file = p->config->file ? p->config->file : "", *slash = strchr(file, '/');
        _cleanup_(cleanup_free) char *kind = NULL;

        if (!slash || slash - file < 2 || slash[-1] != 's')
                return 0;
        kind = strndup(file, (size_t)(slash - file - 1));
        if (!kind)
                return error_origin(-ENOMEM);
        return plugin_kind_known(kind) ? take(&p->kind, kind) : 0;
}

bool plugin_isolation(const struct plugin *p)
{
        if (p->config->isolation_given)
                return p->config->process;
        return p->note && streq(json_get_string(p->note, "isolation", ""), "process");
}

static int load_one(struct plugin *p, const struct config *config, const char *kinds,
                    uint32_t flags)
{
        int r;

        r = guess_kind(p);
        if (r < 0)
                return error_fold(r);
        if (!p->config->enabled)
                p->state = PLUGIN_DISABLED;
        else
                check_unique(p, config);
        if (p->state == PLUGIN_DISABLED && !p->config->file)
                return 0;
        r = find_file(p, config);
        if (r == 0 && p->path)
                r = look_inside(p, config, flags);
        if (r == 0 && p->note)
                r = check_note(p);
        if (r < 0)
                return error_fold(r);
        if (!p->config->enabled) { /* what was found is shown, but it is no reason */
                free(p->reason);
                p->reason = NULL;
                p->state = PLUGIN_DISABLED;
                return 0;
        }
        if (p->state == PLUGIN_READY && streq(p->kind, "store") && plugin_isolation(p))
                plugin_refuse(p, "%s is a store, and stores run inside the engine by contract: %s", p->path,
                              p->config->process
                                      ? "remove isolation = \"process\" from its drop-in"
                                      : "its note asks for a process of its own, which isolation = \"none\" in "
                                        "its drop-in overrides");
        if (p->state != PLUGIN_READY || flags & PLUGINS_NOTES_ONLY || !is_asked_for(p, kinds))
                return 0;
        return error_fold(plugin_open(p));
}

static int by_kind(const void *a, const void *b)
{
        const struct plugin *x = a, *y = b;
        int c = strcmp(x->kind, y->kind);

        if (c == 0)
                c = strcmp(x->name, y->name);
        return c ? c : strcmp(x->config->from, y->config->from);
}

DEFINE_CLEANUP(struct plugins *, plugins_free)

int plugins_load(const struct config *config, struct host *host, const char *kinds, uint32_t flags,
                 struct plugins **ret_plugins)
{
        _cleanup_(cleanup_plugins_free) struct plugins *all = calloc(1, sizeof(*all));
        int r;

        if (!all)
                return error_origin(-ENOMEM);
        all->host = host;
        all->list = calloc(config->n_plugins + 1, sizeof(*all->list));
        if (!all->list)
                return error_origin(-ENOMEM);
        for (size_t i = 0; i < config->n_plugins; i++) {
                struct plugin *p = &all->list[all->n++];

                p->config = &config->plugins[i];
                p->host = host;
                p->name = strdup(p->config->name);
                p->kind = strdup("");
                p->id = strdup("");
                p->version = strdup("");
                if (!p->name || !p->kind || !p->id || !p->version)
                        return error_origin(-ENOMEM);
                r = load_one(p, config, kinds, flags);
                if (r < 0)
                        return error_fold(r);
        }
        qsort(all->list, all->n, sizeof(*all->list), by_kind);
        host_set_secrets(host, plugins_resolve, all);
        *ret_plugins = steal(&all);
        return 0;
}

struct plugins *plugins_free(struct plugins *all)
{
        if (!all)
                return NULL;
        host_set_secrets(all->host, NULL, NULL);
        for (size_t i = 0; i < all->n; i++) {
                struct plugin *p = &all->list[i];

                if (p->instance)
                        p->descriptor.destroy(p->instance);
                isolate_free(p->isolated);
                plugin_lock_free(p->lock);
                json_decref(p->note);
                json_decref(p->capabilities);
                json_decref(p->dependencies);
                json_decref(p->describe);
                free(p->reason);
                free(p->name);
                free(p->kind);
                free(p->id);
                free(p->version);
                free(p->path);
                free(p->sha256);
                free(p->build_id);
                free(p->signer);
        }
        free(all->list);
        free(all);
        return NULL;
}

static uint32_t declared(const struct plugin *p, const char *member, uint32_t otherwise)
{
        int64_t n = json_get_int(p->dependencies, member, otherwise);

        return (uint32_t)MIN(MAX(n, INT64_C(0)), (int64_t)UINT32_MAX);
}

uint32_t plugin_rate_limit(const struct plugin *p)
{
        if (p->config && p->config->rate_limit.given)
                return p->config->rate_limit.n;
        return declared(p, "api_rate_limit", 0);
}

uint32_t plugin_batch_size(const struct plugin *p, uint32_t otherwise)
{
        if (p->config && p->config->batch_size.given)
                return p->config->batch_size.n;
        return declared(p, "batch_size", otherwise);
}

struct plugin *plugins_find(const struct plugins *all, const char *kind, const char *name)
{
        for (size_t i = 0; i < all->n; i++)
                if (streq(all->list[i].kind, kind) && streq(all->list[i].name, name))
                        return &all->list[i];
        /* One that was refused before its kind was known may be the one that is meant: its reason
         * helps more than that there is none. */
        for (size_t i = 0; i < all->n; i++)
                if (!*all->list[i].kind && streq(all->list[i].name, name))
                        return &all->list[i];
        return NULL;
}

struct plugin *plugins_find_template(const struct plugins *all)
{
        for (size_t i = 0; i < all->n; i++)
                if (all->list[i].state == PLUGIN_READY && all->list[i].template_.struct_size > 0)
                        return &all->list[i];
        return NULL;
}

struct plugin *plugins_find_loader(const struct plugins *all, const char *path)
{
        const char *base = strrchr(path, '/'), *dot = strrchr(base ? base : path, '.');

        for (size_t i = 0; dot && i < all->n; i++) {
                struct plugin *p = &all->list[i];

                if (p->state == PLUGIN_READY && p->loader.struct_size > 0 &&
                    has_kind(p->loader.extensions, dot + 1))
                        return p;
        }
        return NULL;
}
