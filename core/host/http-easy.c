/* SPDX-License-Identifier: Apache-2.0 */
/* One request as libcurl wants it. All on the loop's thread. */
#include "host/http.h"

#include <sys/socket.h>

enum { CONNECT_MS = 15000, IDLE_S = 50, BUFFER = 16384 };

static size_t on_header(char *data, size_t size, size_t n, void *userdata)
{
        struct http_exchange *x = userdata;

        if (!http_reply_header(&x->reply, data, size * n)) {
                x->reply.too_large = true;
                return 0;
        }
        return size * n;
}

/* Here the body is decompressed already, in pieces of 16 KiB at most: a bomb ends here. */
static size_t on_body(char *data, size_t size, size_t n, void *userdata)
{
        struct http_exchange *x = userdata;

        n *= size;
        if (n > x->session->max_reply - x->reply.body.n) {
                x->reply.too_large = true;
                return CURL_WRITEFUNC_ERROR;
        }
        buf_append(&x->reply.body, data, n);
        return x->reply.body.error ? CURL_WRITEFUNC_ERROR : n;
}

static curl_socket_t on_socket(void *userdata, curlsocktype purpose, struct curl_sockaddr *a)
{
        return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

/*
 * The connection stands, TLS included, and the next thing is to write the request: from here on it may
 * arrive. libcurl sends a request a second time, by itself, where a kept connection ends without a
 * byte of a reply; but the server may have done what it was asked and died then. So only what changes
 * nothing goes out again.
 */
static int on_start(void *userdata, char *remote, char *local, int remote_port, int local_port)
{
        struct http_exchange *x = userdata;
        const char *method = x->request->method;

        if (x->starts > 0 && !streq(method, "GET") && !streq(method, "HEAD")) {
                x->aborted = true;
                return CURL_PREREQFUNC_ABORT;
        }
        x->starts++;
        return CURL_PREREQFUNC_OK;
}

/* Method and body. Bodies go by POSTFIELDS whatever the method: it is what the signer looks at. */
static CURLcode set_request(CURL *c, const struct prvng_http_request *q)
{
        CURLcode k = CURLE_OK;
        bool get = streq(q->method, "GET"), head = streq(q->method, "HEAD");

        if (head)
                return curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
        if (get)
                return curl_easy_setopt(c, CURLOPT_HTTPGET, 1L);
        if (q->n_body || streq(q->method, "POST") || streq(q->method, "PUT") ||
            streq(q->method, "PATCH")) {
                k = k ?: curl_easy_setopt(c, CURLOPT_POST, 1L);
                k = k ?: curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->n_body);
                k = k ?: curl_easy_setopt(c, CURLOPT_POSTFIELDS, q->n_body ? q->body : "");
        }
        return k ?: curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, q->method);
}

static CURLcode set_auth(CURL *c, const struct prvng_http_session *s,
                         const struct http_credentials *have)
{
        CURLcode k = CURLE_OK;

        switch (s->auth) {
        case HTTP_AUTH_BEARER:
                k = curl_easy_setopt(c, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
                return k ?: curl_easy_setopt(c, CURLOPT_XOAUTH2_BEARER, have->secret[0].data);
        case HTTP_AUTH_BASIC:
                k = curl_easy_setopt(c, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
                break;
        case HTTP_AUTH_SIGV4:
                k = curl_easy_setopt(c, CURLOPT_AWS_SIGV4, s->sigv4);
                k = k ?: curl_easy_setopt(c, CURLOPT_USERAGENT, "prvng/" PRVNG_VERSION); /* not signed */
                break;
        case HTTP_AUTH_NONE:
        default:
                return CURLE_OK;
        }
        k = k ?: curl_easy_setopt(c, CURLOPT_USERNAME, have->secret[0].data);
        return k ?: curl_easy_setopt(c, CURLOPT_PASSWORD, have->secret[1].data);
}

/* libcurl reads a bundle once for all connections, but only where no folder of authorities is named as
 * well; else each connection parses 140 of them, which takes a megabyte and 10 ms. */
static CURLcode set_authorities(CURL *c, const char *ca_file)
{
        char *bundle = NULL;
        CURLcode k = CURLE_OK;

        if (ca_file)
                k = curl_easy_setopt(c, CURLOPT_CAINFO, ca_file);
        k = k ?: curl_easy_getinfo(c, CURLINFO_CAINFO, &bundle);
        return k || !bundle ? k : curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
}

/* Where to, and by what way. Nothing of the process's environment counts. */
static CURLcode set_route(struct http_exchange *x, CURL *c)
{
        const struct prvng_http_session *s = x->session;
        const json_t *sources = s->host->config ? s->host->config->sources : NULL;
        const char *proxy = "", *none = json_get_string(sources, "no_proxy", ""),
                   *ca = json_get_string(sources, "ca_file", NULL);
        CURLcode k = CURLE_OK;
        bool tls = strncasecmp(s->base, "https:", 6) == 0;

        if (!s->direct)
                proxy = json_get_string(sources, tls ? "https_proxy" : "http_proxy", "");
        if (s->resolve) {
                x->resolve = curl_slist_append(NULL, s->resolve);
                if (!x->resolve)
                        return CURLE_OUT_OF_MEMORY;
                k = curl_easy_setopt(c, CURLOPT_RESOLVE, x->resolve);
        }
        k = k ?: curl_easy_setopt(c, CURLOPT_URL, x->url);
        k = k ?: curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L);
        k = k ?: curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
        k = k ?: curl_easy_setopt(c, CURLOPT_PROXY, proxy);
        k = k ?: curl_easy_setopt(c, CURLOPT_NOPROXY, none);
        k = k ?: curl_easy_setopt(c, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
        k = k ?: curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
        k = k ?: curl_easy_setopt(c, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
        k = k ?: curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
        k = k ?: curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L);
        k = k ?: curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L);
        /* Over TLS the handshake tells whether a connection can be shared, which is worth waiting for;
         * without, only the first reply would, and one slow request would hold up all others. */
        k = k ?: curl_easy_setopt(c, CURLOPT_HTTP_VERSION, tls ? (long)CURL_HTTP_VERSION_2TLS
                                                               : (long)CURL_HTTP_VERSION_1_1);
        k = k ?: curl_easy_setopt(c, CURLOPT_PIPEWAIT, (long)tls);
        return k ?: set_authorities(c, ca);
}

static CURLcode set_callbacks(struct http_exchange *x, CURL *c)
{
        CURLcode k = CURLE_OK;

        k = k ?: curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
        k = k ?: curl_easy_setopt(c, CURLOPT_HEADERDATA, x);
        k = k ?: curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
        k = k ?: curl_easy_setopt(c, CURLOPT_WRITEDATA, x);
        k = k ?: curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, on_socket);
        k = k ?: curl_easy_setopt(c, CURLOPT_PREREQFUNCTION, on_start);
        k = k ?: curl_easy_setopt(c, CURLOPT_PREREQDATA, x);
        k = k ?: curl_easy_setopt(c, CURLOPT_ERRORBUFFER, x->error);
        k = k ?: curl_easy_setopt(c, CURLOPT_PRIVATE, x);
        return k;
}

int http_easy_init(struct http_exchange *x, CURLSH *share)
{
        CURL *c = curl_easy_init();
        CURLcode k = c ? CURLE_OK : CURLE_OUT_OF_MEMORY;

        x->easy = c;
        k = k ?: curl_easy_setopt(c, CURLOPT_SHARE, share);
        k = k ?: curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
        /* A name server that does not answer must not hold up the loop at the end. */
        k = k ?: curl_easy_setopt(c, CURLOPT_QUICK_EXIT, 1L);
        k = k ?: set_callbacks(x, c);
        k = k ?: set_route(x, c);
        k = k ?: set_request(c, x->request);
        k = k ?: set_auth(c, x->session, x->credentials);
        k = k ?: curl_easy_setopt(c, CURLOPT_HTTPHEADER, x->headers);
        k = k ?: curl_easy_setopt(c, CURLOPT_ACCEPT_ENCODING, "gzip, deflate");
        k = k ?: curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)x->timeout_ms);
        k = k ?: curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
        /* Load balancers drop what is idle for a minute; a request must not run into that. */
        k = k ?: curl_easy_setopt(c, CURLOPT_MAXAGE_CONN, (long)IDLE_S);
        k = k ?: curl_easy_setopt(c, CURLOPT_BUFFERSIZE, (long)BUFFER);
        k = k ?: curl_easy_setopt(c, CURLOPT_UPLOAD_BUFFERSIZE, (long)BUFFER);
        k = k ?: curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
        if (!k)
                return 0;
        x->code = k;
        http_easy_deinit(x);
        return error_origin(k == CURLE_OUT_OF_MEMORY ? -ENOMEM : -EINVAL);
}

void http_easy_deinit(struct http_exchange *x)
{
        if (x->easy)
                curl_easy_cleanup(x->easy);
        curl_slist_free_all(x->resolve);
        x->easy = NULL;
        x->resolve = NULL;
}
