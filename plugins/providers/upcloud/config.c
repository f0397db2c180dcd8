/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the site says, and with which credentials the API is asked: those of the official tools.
 * They are looked for when the first call is made, so that a site without them starts, and says
 * what is missing where it is needed. Their values never come here: the host puts them into what
 * leaves.
 */
#include "upcloud.h"

#include <stdarg.h>

static int32_t refuse(const struct prvng_host *host, const char *format, ...) _printf_(2, 3);
static int32_t refuse(const struct prvng_host *host, const char *format, ...)
{
        char text[512];
        va_list ap;

        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        host->log(host, PRVNG_LOG_ERROR, "config", text);
        return PRVNG_PERMANENT;
}

void config_deinit(struct config *c)
{
        free(c->base_url);
        free(c->token_file);
        free(c->token);
        free(c->zone);
        free(c->image);
        free(c->user);
        free(c->key);
        free(c->tier);
}

static int32_t read_key(struct upcloud *u, const char *key, const json_t *value)
{
        struct config *c = &u->config;
        const struct {
                const char *name;
                char **text;
                bool *truth;
        } known[] = {{"base_url", &c->base_url, NULL}, {"token_file", &c->token_file, NULL},
                     {"token", &c->token, NULL},
                     {"zone", &c->zone, NULL},         {"image", &c->image, NULL},
                     {"user", &c->user, NULL},         {"key", &c->key, NULL},
                     {"tier", &c->tier, NULL},         {"utility", NULL, &c->utility},
                     {"ipv6", NULL, &c->ipv6}};

        for (size_t i = 0; i < N_ELEMENTS(known); i++) {
                if (!streq(key, known[i].name))
                        continue;
                if (known[i].truth ? !json_is_boolean(value)
                                   : !json_is_string(value) || !*json_string_value(value))
                        return refuse(u->host, "upcloud: %s in the configuration must be %s", key,
                                      known[i].truth ? "true or false" : "a string in quotes");
                if (known[i].truth)
                        *known[i].truth = json_is_true(value);
                else if (!(*known[i].text = strdup(json_string_value(value))))
                        return PRVNG_INTERNAL;
                return PRVNG_DONE;
        }
        return refuse(u->host,
                      "upcloud: unknown key %s in the configuration; there are token, token_file,"
                      " zone, image, user, key, tier, utility, ipv6 and base_url",
                      key);
}

int32_t config_read(struct upcloud *u, const json_t *config)
{
        const char *key;
        json_t *value;

        u->config.utility = true;
        json_object_foreach ((json_t *)(uintptr_t)config, key, value) {
                int32_t r = streq(key, "sources") || streq(key, "libexec")
                                    ? PRVNG_DONE
                                    : read_key(u, key, value);
                if (r < 0)
                        return r;
        }
        if (u->config.token_file && *u->config.token_file != '/')
                return refuse(u->host,
                              "upcloud: token_file = \"%s\" is not accepted; write an"
                              " absolute path",
                              u->config.token_file);
        /* Not repeated: somebody may have written the token itself here. */
        if (u->config.token && strncmp(u->config.token, "secret://", 9) != 0)
                return refuse(u->host, "upcloud: token must be a reference to a secret, "
                                       "\"secret://BACKEND/PATH#KEY\", never the token itself");
        if (u->config.token && u->config.token_file)
                return refuse(u->host, "upcloud: token and token_file are both set; remove one, so that it "
                                       "is clear which counts");
        return PRVNG_DONE;
}

static const char *environment(const char *name)
{
        const char *s = getenv(name);

        return s && *s ? s : NULL;
}

/* The member "auth" of a session's options. NULL: the error record is set. */
static json_t *choose_auth(struct upcloud *u, struct prvng_call *call)
{
        bool token = environment("UPCLOUD_TOKEN");
        bool user = environment("UPCLOUD_USERNAME"), password = environment("UPCLOUD_PASSWORD");

        if (u->config.token)
                return json_pack("{s:s, s:{s:s}}", "type", "bearer", "token", "secret",
                                 u->config.token);
        if (u->config.token_file)
                return json_pack("{s:s, s:{s:s}}", "type", "bearer", "token", "file",
                                 u->config.token_file);
        if (token && (user || password))
                up_fail(u, call, PRVNG_AUTH, PRVNG_EFFECT_NONE, NULL,
                        "upcloud: UPCLOUD_TOKEN and %s are both set; unset one kind of "
                        "credentials, so"
                        " that it is clear whose account is meant",
                        user ? "UPCLOUD_USERNAME" : "UPCLOUD_PASSWORD");
        else if (token)
                return json_pack("{s:s, s:{s:s}}", "type", "bearer", "token", "env",
                                 "UPCLOUD_TOKEN");
        else if (user && password)
                return json_pack("{s:s, s:{s:s}, s:{s:s}}", "type", "basic", "user", "env",
                                 "UPCLOUD_USERNAME", "password", "env", "UPCLOUD_PASSWORD");
        else if (user || password)
                up_fail(u, call, PRVNG_AUTH, PRVNG_EFFECT_NONE, NULL,
                        "upcloud: %s is set, but not %s",
                        user ? "UPCLOUD_USERNAME" : "UPCLOUD_PASSWORD",
                        user ? "UPCLOUD_PASSWORD" : "UPCLOUD_USERNAME");
        else
                up_fail(u, call, PRVNG_AUTH, PRVNG_EFFECT_NONE, NULL,
                        "upcloud: there are no credentials; set UPCLOUD_TOKEN in the engine's"
                        " environment, or UPCLOUD_USERNAME and UPCLOUD_PASSWORD, or token_file or token in "
                        "the"
                        " plugin's configuration");
        return NULL;
}

/* Only this machine may stand in for the API: elsewhere the credentials would leave for anybody. */
static bool is_loopback(const char *url)
{
        static const char *const hosts[] = {"127.", "localhost", "[::1]"};
        const char *rest = strncmp(url, "http://", 7) == 0    ? url + 7
                           : strncmp(url, "https://", 8) == 0 ? url + 8
                                                              : "";

        if (strchr(rest, '@'))
                return false;
        for (size_t i = 0; i < N_ELEMENTS(hosts); i++) {
                size_t n = strlen(hosts[i]);

                if (strncmp(rest, hosts[i], n) != 0)
                        continue;
                if (i == 0) /* an address, and no name that begins like one */
                        n = strspn(rest, "0123456789.");
                if (rest[n] == 0 || rest[n] == ':' || rest[n] == '/')
                        return true;
        }
        return false;
}

/* To be freed. NULL: the error record is set. */
static char *choose_base(struct upcloud *u, struct prvng_call *call)
{
        const char *debug = environment("UPCLOUD_DEBUG_API_BASE_URL");
        const char *url = debug ? debug : u->config.base_url ? u->config.base_url : UPCLOUD_BASE;
        size_t n = strlen(url);
        char *base;

        if ((debug || u->config.base_url) && !is_loopback(url)) {
                up_fail(u, call, PRVNG_AUTH, PRVNG_EFFECT_NONE, NULL,
                        "upcloud: %s is \"%.200s\", and only this machine may stand in for the "
                        "API; write"
                        " e.g. http://127.0.0.1:8080",
                        debug ? "UPCLOUD_DEBUG_API_BASE_URL" : "base_url of the configuration",
                        url);
                return NULL;
        }
        while (n > 0 && url[n - 1] == '/')
                n--;
        base = up_format("%.*s" UPCLOUD_VERSION, (int)n, url);
        if (!base)
                up_fail(u, call, PRVNG_INTERNAL, PRVNG_EFFECT_NONE, NULL, "upcloud: no memory");
        return base;
}

static struct prvng_http_session *open_session(struct upcloud *u, struct prvng_call *call)
{
        _cleanup_(cleanup_json) json_t *options = NULL, *auth = NULL;
        _cleanup_(cleanup_free) char *base = NULL, *text = NULL;
        struct prvng_http_session *session = NULL;

        auth = choose_auth(u, call);
        base = auth ? choose_base(u, call) : NULL;
        if (!base)
                return NULL;
        options =
                json_pack("{s:s, s:s, s:O, s:i, s:{s:s}}", "base_url", base, "account", "", "auth",
                          auth, "concurrency", 64, "headers", "Accept", "application/json");
        text = json_dumps(options, JSON_COMPACT);
        if (!text || u->http->session_new(u->host, text, strlen(text), &session) != PRVNG_DONE) {
                up_fail(u, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, NULL,
                        "upcloud: there is no way to %s; the log says why", base);
                return NULL;
        }
        return session;
}

struct prvng_http_session *config_session(struct upcloud *u, struct prvng_call *call)
{
        struct prvng_http_session *session;

        pthread_mutex_lock(&u->lock);
        if (!u->session)
                u->session = open_session(u, call);
        session = u->session;
        pthread_mutex_unlock(&u->lock);
        return session;
}
