/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions of prvng.host.http/1: what their options may say, and whose turn it is. */
#include "host/http-tape.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/eventfd.h>

enum { CONCURRENCY = 16, CONCURRENCY_MAX = 1024 };
#define REPLY_MAX (UINT64_C(16) << 20)
#define REPLY_MAX_EVER (UINT64_C(1) << 30)

/* The options while they are read; the first complaint counts. */
struct options {
        struct prvng_http_session *session;
        const json_t *json;
        struct buf wrong;
};

#define WRONG(o, ...) ((o)->wrong.n ? (void)0 : buf_printf(&(o)->wrong, __VA_ARGS__))

static void only(struct options *o, const json_t *object, const char *of, const char *known)
{
        const char *key;
        json_t *value;

        json_object_foreach ((json_t *)(uintptr_t)object, key, value) {
                const char *at = strstr(known, key);
                size_t n = strlen(key);

                while (at && !((at == known || at[-1] == ' ') && (at[n] == ' ' || !at[n])))
                        at = strstr(at + 1, key);
                if (!n || !at)
                        WRONG(o, "%s: unknown member \"%s\"; known are: %s", of, key, known);
        }
}

static bool is_loopback(const char *host, bool *ret_named)
{
        struct in_addr four;

        *ret_named = strcasecmp(host, "localhost") == 0;
        return *ret_named || streq(host, "[::1]") ||
               (inet_pton(AF_INET, host, &four) == 1 && ntohl(four.s_addr) >> 24 == 127);
}

/* Where clouds tell a machine about itself: plain http there is, to an address that no router passes
 * on. */
static bool is_metadata(const char *host)
{
        return streq(host, "169.254.169.254") || streq(host, "[fd00:ec2::254]");
}

static void read_url(struct options *o, CURLU *u)
{
        struct prvng_http_session *s = o->session;
        const char *url = json_string_value(json_object_get(o->json, "base_url"));
        char *scheme = NULL, *host = NULL, *port = NULL, *extra = NULL;
        bool named = false, loopback;
        CURLUcode c;
        size_t n;

        if (!url)
                return WRONG(o, "base_url: a string such as \"https://api.example.net/1.3\" is needed");
        c = curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME);
        if (c)
                return WRONG(o, "base_url: no URL: %s", curl_url_strerror(c));
        if (curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) ||
            curl_url_get(u, CURLUPART_HOST, &host, 0) ||
            curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT))
                WRONG(o, "base_url: \"%s\" has no scheme or no host; it must begin with https://", url);
        for (const char *p = url; *p; p++)
                if ((uint8_t)*p <= ' ' || (uint8_t)*p >= 0x7f)
                        WRONG(o, "base_url: byte %zu is no printable ASCII character",
                              (size_t)(p - url) + 1);
        if (curl_url_get(u, CURLUPART_USER, &extra, 0) == 0)
                WRONG(o, "base_url: it holds a user; credentials go into \"auth\"");
        curl_free(extra);
        if (strpbrk(url, "?#"))
                WRONG(o, "base_url: it holds a query or a fragment; a query goes into each target");
        if (!o->wrong.n) {
                loopback = is_loopback(host, &named);
                s->direct = loopback || is_metadata(host);
                if (streq(scheme, "http") && !loopback &&
                    !(is_metadata(host) && s->auth == HTTP_AUTH_NONE))
                        WRONG(o, "base_url: http is accepted for loopback addresses only, not for "
                                 "\"%s\"; use https", host);
                else if (!streq(scheme, "http") && !streq(scheme, "https"))
                        WRONG(o, "base_url: scheme \"%s\"; accepted are https, and http for loopback "
                                 "addresses", scheme);
        }
        if (named && asprintf(&s->resolve, "localhost:%s:127.0.0.1,[::1]", port) < 0)
                s->resolve = NULL, WRONG(o, "no memory");
        curl_free(scheme);
        curl_free(host);
        curl_free(port);
        n = strlen(url);
        while (n > 0 && url[n - 1] == '/')
                n--;
        s->base = strndup(url, n);
        if (!s->base)
                WRONG(o, "no memory");
}

static void read_ref(struct options *o, const json_t *auth, const char *name, struct http_ref *ret)
{
        static const char *const sources[] = {[HTTP_ENV] = "env", [HTTP_FILE] = "file",
                                              [HTTP_SECRET] = "secret", [HTTP_SET] = "set"};
        const json_t *json = json_object_get(auth, name);

        for (size_t i = HTTP_ENV; i <= HTTP_SET && json_object_size(json) == 1; i++) {
                const char *value = json_string_value(json_object_get(json, sources[i]));

                if (!value || !value[0])
                        continue;
                if (i == HTTP_FILE && value[0] != '/')
                        return WRONG(o, "auth.%s.file: \"%s\" is not absolute", name, value);
                if (i == HTTP_SECRET && !startswith(value, "secret://"))
                        return WRONG(o, "auth.%s.secret: a reference is needed: "
                                        "\"secret://BACKEND/PATH#KEY\"", name);
                *ret = (struct http_ref){(enum http_source)i, strdup(value)};
                if (!ret->name)
                        WRONG(o, "no memory");
                return;
        }
        /* The value is not repeated: somebody may have written the secret itself here. */
        WRONG(o, "auth.%s: a reference is needed: {\"env\": NAME}, {\"file\": \"/path\"}, "
                 "{\"secret\": \"secret://...\"} or {\"set\": NAME}", name);
}

static void read_sigv4(struct options *o, const json_t *auth)
{
        const char *region = json_get_string(auth, "region", ""),
                   *service = json_get_string(auth, "service", "");
        static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-";

        only(o, auth, "auth", "type region service access_key secret_key session_token");
        /* libcurl takes them apart at colons. */
        if (!region[0] || region[strspn(region, letters)])
                WRONG(o, "auth.region: a name such as \"eu-north-1\" is needed");
        if (!service[0] || service[strspn(service, letters)])
                WRONG(o, "auth.service: a name such as \"ec2\" is needed");
        read_ref(o, auth, "access_key", &o->session->ref[0]);
        read_ref(o, auth, "secret_key", &o->session->ref[1]);
        if (json_object_get(auth, "session_token"))
                read_ref(o, auth, "session_token", &o->session->ref[2]);
        if (asprintf(&o->session->sigv4, "aws:amz:%s:%s", region, service) < 0)
                o->session->sigv4 = NULL, WRONG(o, "no memory");
}

static void read_auth(struct options *o)
{
        const json_t *auth = json_object_get(o->json, "auth");
        const char *type = json_get_string(auth, "type", auth ? "" : "none");
        struct prvng_http_session *s = o->session;

        if (streq(type, "none")) {
                only(o, auth, "auth", "type");
                s->auth = HTTP_AUTH_NONE;
        } else if (streq(type, "bearer")) {
                only(o, auth, "auth", "type token");
                s->auth = HTTP_AUTH_BEARER;
                read_ref(o, auth, "token", &s->ref[0]);
        } else if (streq(type, "basic")) {
                only(o, auth, "auth", "type user password");
                s->auth = HTTP_AUTH_BASIC;
                read_ref(o, auth, "user", &s->ref[0]);
                read_ref(o, auth, "password", &s->ref[1]);
        } else if (streq(type, "sigv4")) {
                s->auth = HTTP_AUTH_SIGV4;
                read_sigv4(o, auth);
        } else {
                WRONG(o, "auth.type: \"%s\"; known are none, bearer, basic and sigv4", type);
        }
}

static void read_headers(struct options *o)
{
        json_t *headers = json_object_get(o->json, "headers"), *value;
        size_t n = 0;
        const char *name, *wrong;

        o->session->headers = calloc(json_object_size(headers) + 1, sizeof(char *));
        if (!o->session->headers)
                return WRONG(o, "no memory");
        if (headers && !json_is_object(headers))
                WRONG(o, "headers: an object of strings is needed");
        json_object_foreach (headers, name, value) {
                char *line = NULL;

                if (!json_is_string(value))
                        return WRONG(o, "headers.%s: a string is needed", name);
                if (asprintf(&line, "%s: %s", name, json_string_value(value)) < 0)
                        return WRONG(o, "no memory");
                o->session->headers[n++] = line;
                wrong = http_header_wrong(line);
                if (wrong)
                        WRONG(o, "headers.%s: %s", name, wrong);
        }
}

static uint64_t read_number(struct options *o, const char *name, uint64_t otherwise, uint64_t max)
{
        const json_t *value = json_object_get(o->json, name);

        if (!value)
                return otherwise;
        if (!json_is_integer(value) || json_integer_value(value) < 1 ||
            (uint64_t)json_integer_value(value) > max)
                WRONG(o, "%s: a whole number from 1 to %llu is needed", name,
                      (unsigned long long)max);
        return (uint64_t)json_integer_value(value);
}

static void read_options(struct options *o, const void *options, uint64_t n_options)
{
        struct prvng_http_session *s = o->session;
        _cleanup_(cleanup_json_decref) json_t *json = NULL;
        CURLU *u = curl_url();
        const char *account;
        char why[JSON_PARSE_ERROR];

        if (!u)
                return WRONG(o, "no memory");
        if (!options || json_parse(options, n_options, &json, why) < 0) {
                WRONG(o, "no JSON: %s", options ? why : "nothing there");
        } else if (!json_is_object(json)) {
                WRONG(o, "one JSON object is needed");
        } else {
                o->json = json;
                only(o, json, "options", "base_url account auth concurrency max_reply headers");
                read_auth(o); /* before the URL, which plain http depends on */
                read_url(o, u);
                read_headers(o);
                s->concurrency = (uint32_t)read_number(o, "concurrency", CONCURRENCY,
                                                       CONCURRENCY_MAX);
                s->max_reply = read_number(o, "max_reply", REPLY_MAX, REPLY_MAX_EVER);
                if (json_object_get(json, "account") &&
                    !json_is_string(json_object_get(json, "account")))
                        WRONG(o, "account: a string is needed");
                account = json_get_string(json, "account", "");
                s->account = strdup(account);
                if (!s->account)
                        WRONG(o, "no memory");
        }
        curl_url_cleanup(u);
}

int32_t http_session_new(const struct prvng_host *host, const void *options, uint64_t n_options,
                         struct prvng_http_session **ret_session)
{
        const struct host_table *t = host_table_of(host);
        _cleanup_(cleanup_buf) struct buf text = BUF_NULL;
        struct prvng_http_session *s = calloc(1, sizeof(*s));
        struct options o = {.session = s};
        struct http_tape *tape;

        if (!s) {
                host_log(host, PRVNG_LOG_ERROR, "http", "no memory for an HTTP session");
                return PRVNG_PERMANENT;
        }
        pthread_mutex_init(&s->lock, NULL);
        s->host = t->host;
        s->pub = host;
        s->plugin = strdup(t->plugin);
        if (!s->plugin || http_library_init() < 0)
                WRONG(&o, "no memory");
        read_options(&o, options, n_options);
        if (!o.wrong.n && http_tape_get(t->host, &tape, &o.wrong) < 0)
                WRONG(&o, "no memory");
        if (o.wrong.n || o.wrong.error) {
                buf_printf(&text, "no HTTP session: %s", buf_str(&o.wrong));
                host_log(host, PRVNG_LOG_ERROR, "http", buf_str(&text));
                buf_deinit(&o.wrong);
                http_session_free(s);
                return PRVNG_PERMANENT;
        }
        *ret_session = s;
        return PRVNG_DONE;
}

void http_session_free(struct prvng_http_session *s)
{
        if (!s)
                return;
        assert(s->busy == 0 && !s->first);
        while (s->given) {
                struct http_given *g = s->given;

                s->given = g->next;
                locked_deinit(&g->value);
                free(g->name);
                free(g);
        }
        for (size_t i = 0; i < HTTP_SECRETS; i++) {
                free(s->ref[i].name);
                locked_deinit(&s->ref[i].kept);
        }
        for (char **h = s->headers; h && *h; h++)
                free(*h);
        free(s->headers);
        free(s->sigv4);
        free(s->account);
        free(s->resolve);
        free(s->base);
        free(s->plugin);
        pthread_mutex_destroy(&s->lock);
        free(s);
}

const char *http_header_wrong(const char *line)
{
        static const char token[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                                    "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
        static const char *const ours[] = {"authorization", "host", "content-length",
                                           "transfer-encoding", "connection", "expect",
                                           "proxy-authorization", "proxy-connection", "te",
                                           "upgrade", "trailer", "accept-encoding", "traceparent"};
        size_t n = strspn(line, token);

        if (n == 0 || line[n] != ':')
                return "it must read \"Name: value\"";
        for (size_t i = 0; i < N_ELEMENTS(ours); i++)
                if (strlen(ours[i]) == n && strncasecmp(line, ours[i], n) == 0)
                        return "this header is set by the core";
        for (const char *p = line + n; *p; p++)
                if (((uint8_t)*p < ' ' && *p != '\t') || *p == 0x7f)
                        return "it holds a control character";
        if (!line[n + 1 + strspn(line + n + 1, " \t")])
                return "it has no value";
        return NULL;
}

/* --- turns --- */

/* In poll() a descriptor that is not there is ignored; then the flag is looked at now and then. */
int http_wait(struct op_call *call, int fd, int64_t deadline_ms)
{
        const struct prvng_host *pub = &call->host->core.pub;
        struct pollfd fds[2] = {{.fd = fd, .events = POLLIN},
                                {.fd = pub->cancel_fd(&call->pub), .events = POLLIN}};

        for (;;) {
                int64_t left = deadline_ms == INT64_MAX ? 60000
                                                        : deadline_ms - clock_boot_ms();

                if (fds[1].fd < 0)
                        left = MIN(left, 50);
                if (poll(fds, 2, (int)MAX(MIN(left, INT64_C(60000)), INT64_C(0))) < 0 &&
                    errno != EINTR)
                        return -errno;
                if (fds[0].revents) {
                        eventfd_t value;

                        eventfd_read(fd, &value);
                        return 0;
                }
                if (pub->is_cancelled(&call->pub))
                        return -ECANCELED;
                if (clock_boot_ms() >= deadline_ms)
                        return -ETIMEDOUT;
        }
}

void http_wait_done(int fd)
{
        struct pollfd pollfd = {.fd = fd, .events = POLLIN};

        while (poll(&pollfd, 1, -1) < 0)
                assert(errno == EINTR || errno == ENOMEM);
}

int http_turn_wait(struct prvng_http_session *s, struct op_call *call, int fd, int64_t deadline_ms)
{
        struct http_turn turn = {.fd = fd};
        struct http_turn *last = NULL;
        bool at_once;
        int r;

        pthread_mutex_lock(&s->lock);
        at_once = s->busy < s->concurrency; /* then nobody waits */
        if (at_once) {
                s->busy++;
        } else {
                if (s->last)
                        s->last->next = &turn;
                else
                        s->first = &turn;
                s->last = &turn;
        }
        pthread_mutex_unlock(&s->lock);
        if (at_once)
                return 0;

        r = http_wait(call, fd, deadline_ms);
        pthread_mutex_lock(&s->lock);
        for (struct http_turn **p = &s->first; *p && !turn.mine;) {
                if (*p == &turn) { /* it did not come */
                        *p = turn.next;
                } else {
                        last = *p;
                        p = &(*p)->next;
                }
        }
        if (!turn.mine && s->last == &turn)
                s->last = last;
        pthread_mutex_unlock(&s->lock);
        if (turn.mine && r < 0)
                http_turn_end(s); /* it came at the last moment: the next one's */
        return r;
}

void http_turn_end(struct prvng_http_session *s)
{
        struct http_turn *next;

        pthread_mutex_lock(&s->lock);
        next = s->first;
        if (next) { /* hands its own over: `busy` stays */
                s->first = next->next;
                if (!s->first)
                        s->last = NULL;
                next->mine = true;
                eventfd_write(next->fd, 1); /* with the lock: its owner may be gone after it */
        } else {
                s->busy--;
        }
        pthread_mutex_unlock(&s->lock);
}
