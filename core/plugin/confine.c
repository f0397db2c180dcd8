/* SPDX-License-Identifier: Apache-2.0 */
/* What crosses from an isolated plugin to the host's services, judged by its capabilities. */
#include "plugin/confine.h"

#include "base/json.h"
#include "host/host.h"

#include <curl/curl.h>

/* --- what the site names --- */

typedef bool (*visit_f)(const char *key, const char *text, const void *wanted);

/* True as soon as `visit` says so of one text in it. */
static bool any_text(const json_t *j, const char *key, visit_f visit, const void *wanted)
{
        const char *name;
        json_t *value;
        size_t i;

        if (json_is_string(j))
                return visit(key, json_string_value(j), wanted);
        if (json_is_array(j)) {
                json_array_foreach (j, i, value)
                        if (any_text(value, key, visit, wanted))
                                return true;
        } else if (json_is_object(j)) {
                json_object_foreach ((json_t *)(uintptr_t)j, name, value)
                        if (any_text(value, name, visit, wanted))
                                return true;
        }
        return false;
}

static bool site_names(const struct plugin *p, visit_f visit, const void *wanted)
{
        _cleanup_(cleanup_json_decref) json_t *config = NULL;
        const json_t *e;
        size_t i;

        if (p->config && p->config->config)
                config = json_loads(p->config->config, 0, NULL);
        if (any_text(config, "", visit, wanted))
                return true;
        json_array_foreach (json_object_get(p->capabilities, "environment"), i, e) {
                const char *value = getenv(json_string_value(e));

                if (value && visit("", value, wanted))
                        return true;
        }
        return false;
}

static bool has(const json_t *list, const char *text)
{
        const json_t *e;
        size_t i;

        json_array_foreach (list, i, e)
                if (streq(json_string_value(e), text))
                        return true;
        return false;
}

/* "~/x" below the home folder, in `ret`; else as it is. */
static const char *expanded(const char *path, char ret[4096])
{
        const char *home = getenv("HOME");

        if (path[0] != '~' || !home)
                return path;
        snprintf(ret, 4096, "%s%s", home, path + 1);
        return ret;
}

static bool is_below(const char *path, const char *folder)
{
        size_t n = strlen(folder);

        while (n > 1 && folder[n - 1] == '/')
                n--;
        return strncmp(path, folder, n) == 0 && (path[n] == '/' || !path[n] || folder[n - 1] == '/');
}

static bool is_below_one(const char *path, const json_t *list)
{
        char text[4096];
        const json_t *e;
        size_t i;

        if (strstr(path, "/../"))
                return false;
        json_array_foreach (list, i, e)
                if (is_below(path, expanded(json_string_value(e), text)))
                        return true;
        return false;
}

/* --- hosts --- */

/* "host:port" of a URL, in small letters; false: it is none. */
static bool place_of(const char *url, char ret[512])
{
        char *host = NULL, *port = NULL;
        CURLU *u = curl_url();
        bool ok;

        ok = u && strstr(url, "://") && curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) == 0 &&
             curl_url_get(u, CURLUPART_HOST, &host, 0) == 0 &&
             curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == 0 &&
             snprintf(ret, 512, "%s:%s", host, port) < 512;
        for (char *c = ret; ok && *c; c++)
                if (*c >= 'A' && *c <= 'Z')
                        *c = (char)(*c - 'A' + 'a');
        curl_free(host);
        curl_free(port);
        curl_url_cleanup(u);
        return ok;
}

static bool is_place(const char *key, const char *text, const void *wanted)
{
        char place[512];

        return place_of(text, place) && streq(place, wanted);
}

static bool is_declared(const json_t *hosts, const char *place)
{
        const json_t *e;
        size_t i;

        json_array_foreach (hosts, i, e) {
                const char *host = json_string_value(e), *end = startswith(host, "*");
                size_t n = strlen(place), m = end ? strlen(end) : 0;

                if (end ? n > m && strcasecmp(place + n - m, end) == 0 : strcasecmp(host, place) == 0)
                        return true;
        }
        return false;
}

static void say_names(struct buf *out, const json_t *list)
{
        const json_t *e;
        size_t i;

        json_array_foreach (list, i, e)
                buf_printf(out, "%s%s", i ? ", " : "", json_string_value(e));
}

static void refuse(const struct plugin *p, struct buf *why, const char *what, const char *member, const json_t *list,
                   const char *value)
{
        buf_printf(why, "%s is isolated and %s, which it does not declare (", p->name, what);
        if (json_array_size(list))
                say_names(why, list);
        else
                buf_printf(why, "it declares no %s", member);
        buf_printf(why, "); if it shall, write capabilities: { %s = [ \"%s\" ]; }; into %s", member, value,
                   p->config ? p->config->from : "its drop-in");
}

/* --- secrets --- */

struct reference {
        const char *source, *name;
};

static bool is_reference(const char *key, const char *text, const void *wanted)
{
        const struct reference *r = wanted;
        char path[4096];

        /* By whatever key: token_file = "/x", token = "secret://x/y". */
        if (streq(r->source, "file") || streq(r->source, "secret"))
                return streq(expanded(text, path), r->name);
        return streq(key, r->source) && streq(text, r->name);
}

static bool may_use(const struct plugin *p, const struct reference *r, struct buf *why)
{
        const json_t *secrets = json_object_get(p->capabilities, "secrets");
        char what[1200];

        if (streq(r->source, "set") || has(secrets, r->name))
                return true;
        if (streq(r->source, "file") &&
            (is_below_one(r->name, secrets) ||
             is_below_one(r->name, json_object_get(json_object_get(p->capabilities, "paths"), "read"))))
                return true;
        if (site_names(p, is_reference, r))
                return true;
        snprintf(what, sizeof(what), "asks for the secret %.1000s", r->name);
        refuse(p, why, what, "secrets", secrets, r->name);
        return false;
}

bool confine_session(const struct plugin *p, const void *options, uint64_t n_options, struct buf *why)
{
        const json_t *hosts = json_object_get(p->capabilities, "hosts");
        _cleanup_(cleanup_json_decref) json_t *json = NULL;
        const char *url, *member, *source;
        char place[512], what[600];
        json_t *value, *name;

        if (!options || json_parse(options, n_options, &json, NULL) < 0)
                return true;
        url = json_get_string(json, "base_url", NULL);
        if (!url || !place_of(url, place))
                return true;
        if (!is_declared(hosts, place) && !site_names(p, is_place, place)) {
                snprintf(what, sizeof(what), "asks for %s", place);
                refuse(p, why, what, "hosts", hosts, place);
                return false;
        }
        json_object_foreach (json_object_get(json, "auth"), member, value)
                json_object_foreach (value, source, name)
                        if (json_is_string(name) &&
                            !may_use(p, &(struct reference){source, json_string_value(name)}, why))
                                return false;
        return true;
}

const char *confine_unseal(const struct plugin *p, const void *value, uint64_t n_value)
{
        size_t n = strlen(CONFINE_SEALED);
        char name[1024];

        if (!value || n_value <= n || n_value - n >= sizeof(name) || memcmp(value, CONFINE_SEALED, n) != 0)
                return NULL;
        memcpy(name, (const char *)value + n, n_value - n);
        name[n_value - n] = 0;
        return has(json_object_get(p->capabilities, "secrets"), name) ? getenv(name) : NULL;
}

/* --- programs --- */

static bool is_helper(const struct plugin *p, const char *program, const char **ret_name)
{
        const char *slash = strrchr(program, '/');
        _cleanup_(cleanup_free) char *named = slash ? strndup(program, (size_t)(slash - program)) : NULL,
                                     *folder = named ? realpath(named, NULL) : NULL,
                                     *helpers = realpath(host_config(p->host)->libexec, NULL);

        *ret_name = slash ? slash + 1 : program;
        return !slash || (folder && helpers && streq(folder, helpers));
}

bool confine_program(const struct plugin *p, const char *program, struct buf *why)
{
        const json_t *programs = json_object_get(p->capabilities, "programs");
        const char *name;
        char what[1200];

        if (!program || has(programs, program) || (is_helper(p, program, &name) && has(programs, name)))
                return true;
        snprintf(what, sizeof(what), "asks for the program %.1000s", program);
        refuse(p, why, what, "programs", programs, program);
        return false;
}

bool confine_reach(const struct plugin *p, const void *server, uint64_t n_server, struct buf *why)
{
        _cleanup_(cleanup_json_decref) json_t *json = NULL;
        const char *program, *name;

        if (!server || json_parse(server, n_server, &json, NULL) < 0)
                return true;
        program = json_string_value(
                json_array_get(json_object_get(json_object_get(json, "reach"), "argv"), 0));
        /* What enters a server is a helper program of the site: the definition's own server could be no other. */
        if (!program || (strchr(program, '/') && is_helper(p, program, &name)))
                return true;
        return confine_program(p, program, why);
}

/* --- its environment --- */

static char *variable(const char *name, bool is_secret)
{
        const char *value = getenv(name);
        char *text = NULL;

        if (asprintf(&text, "%s=%s%s", name, is_secret ? CONFINE_SEALED : "", is_secret ? name : value) < 0)
                return NULL;
        return text;
}

static int add_variables(const json_t *names, bool secret, char **environment, size_t *n)
{
        const json_t *e;
        size_t i;

        json_array_foreach (names, i, e) {
                const char *name = json_string_value(e);

                if (name[0] == '/' || name[0] == '~' || !getenv(name) || !*getenv(name))
                        continue;
                environment[*n] = variable(name, secret);
                if (!environment[*n])
                        return error_origin(-ENOMEM);
                *n += 1;
        }
        return 0;
}

char **confine_environment(const struct plugin *p)
{
        const json_t *secrets = json_object_get(p->capabilities, "secrets"),
                     *plain = json_object_get(p->capabilities, "environment");
        char **environment = calloc(json_array_size(secrets) + json_array_size(plain) + 1, sizeof(*environment));
        size_t n = 0;

        if (environment && (add_variables(secrets, true, environment, &n) < 0 ||
                            add_variables(plain, false, environment, &n) < 0)) {
                confine_environment_free(environment);
                environment = NULL;
        }
        return environment;
}

void confine_environment_free(char **environment)
{
        for (char **e = environment; e && *e; e++)
                free(*e);
        free(environment);
}

/* --- in words --- */

static void part(struct buf *out, size_t from, const char *what, const json_t *list)
{
        if (json_array_size(list) == 0)
                return;
        buf_printf(out, "%s%s", out->n > from ? ", " : "", what);
        say_names(out, list);
}

void confine_describe(const struct plugin *p, struct buf *out)
{
        const json_t *c = p->capabilities, *paths = json_object_get(c, "paths");
        size_t from;

        buf_puts(out, "may reach ");
        from = out->n;
        part(out, from, "", json_object_get(c, "hosts"));
        if (json_get_bool(c, "sockets", false))
                buf_printf(out, "%sany host by connections of its own", out->n > from ? ", " : "");
        if (has(json_object_get(p->note, "requires"), "prvng.host.remote/1"))
                buf_printf(out, "%sservers of workflows", out->n > from ? ", " : "");
        part(out, from, "secrets ", json_object_get(c, "secrets"));
        part(out, from, "variables ", json_object_get(c, "environment"));
        part(out, from, "files to read ", json_object_get(paths, "read"));
        part(out, from, "files to write ", json_object_get(paths, "write"));
        part(out, from, "programs outside of its process ", json_object_get(c, "programs"));
        if (json_get_bool(c, "processes", false))
                buf_printf(out, "%sprograms inside of its sandbox", out->n > from ? ", " : "");
        if (out->n == from)
                buf_puts(out, "nothing but the host's services");
}
