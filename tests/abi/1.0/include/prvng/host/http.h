/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng.host.http/1: HTTP for plugins whose API speaks it. The core owns the library, the connections
 * (kept alive, HTTP/2 where the server offers it), TLS (at least 1.2, always verified), proxies, the
 * rate limit of the account, tracing with secrets blanked, and the credentials: it adds them to what
 * leaves for the session's own host, and to nothing else. Redirects are not followed.
 *
 * A session is one API at one base address with one set of credentials. Sessions with the same
 * "account" of one plugin share its rate limit, which is the api_rate_limit of the plugin's
 * dependencies unless the site's configuration lowers it. A reply of 429, and of 503 with Retry-After,
 * lowers the rate by itself.
 *
 * Where tests record or replay exchanges, this interface does it and plugins do not notice: see
 * docs/http-service.md of the sources.
 */
#ifndef PRVNG_HOST_HTTP_H
#define PRVNG_HOST_HTTP_H

#include <prvng/abi.h>
#include <prvng/host.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PRVNG_HOST_HTTP "prvng.host.http/1"

struct prvng_http_session;

/* One request. The same request sent twice is two requests: nothing is retried here. */
struct prvng_http_request {
        uint32_t struct_size;
        uint32_t reserved;
        const char *method; /* "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD" */
        const char *target; /* what is put behind the base address: "/server/?label=a%3Db"; already
                             * percent-encoded */
        const char *const *headers; /* "Name: value", ends with NULL; may be NULL. Authorization, Host,
                                     * Content-Length and others that belong to the core are refused;
                                     * with sigv4 no name may be the beginning of another */
        const void *body;   /* none with GET and HEAD; at most 64 MiB */
        uint64_t n_body;
        int64_t timeout_ms; /* from when it leaves, 0: 60 s; the call's deadline counts too */
        /* members above: 1.0 */
};
#define PRVNG_HTTP_REQUEST_BASELINE PRVNG_SIZE_UP_TO(struct prvng_http_request, timeout_ms)

/* What came back. The caller sets struct_size. */
struct prvng_http_response {
        uint32_t struct_size;
        uint32_t reserved;
        int32_t status;         /* 100..599 */
        int32_t reserved2;
        int64_t retry_after_ms; /* from Retry-After, in seconds or as a date; -1: none */
        int64_t date_ms;        /* from Date, milliseconds since 1970; -1: none */
        /* members above: 1.0 */
};
#define PRVNG_HTTP_RESPONSE_BASELINE PRVNG_SIZE_UP_TO(struct prvng_http_response, date_ms)

struct prvng_host_http {
        uint32_t struct_size;
        uint32_t reserved;

        /* [any] Opens a session. `options` is a JSON object:
         *
         *      base_url     "https://api.example.net/1.3"; http is accepted for loopback (127/8, ::1,
         *                   localhost), and without credentials for 169.254.169.254 and
         *                   fd00:ec2::254, where clouds tell a machine about itself
         *      account      names what the rate limit counts for; default ""
         *      auth         {"type": "none"}
         *                   {"type": "bearer", "token": SECRET}
         *                   {"type": "basic", "user": SECRET, "password": SECRET}
         *                   {"type": "sigv4", "region", "service", "access_key": SECRET,
         *                    "secret_key": SECRET, "session_token": SECRET (optional)}
         *      concurrency  requests at once; default 16
         *      max_reply    bytes; default 16 MiB
         *      headers      {"Accept": "application/json"}, sent with every request
         *
         * A SECRET is {"env": "NAME"}, {"file": "/absolute/path"} (its first line, read anew when the
         * file changes; refused if others may read it), {"secret": "secret://BACKEND/PATH#KEY"} (a
         * secret backend of the site, prvng/kind/secret.h; asked again after a minute, and after a reply
         * of 401 or 403) or {"set": "name"} (given by secret_set). They are looked up when a request
         * leaves; one that is missing gives AUTH there, a backend that may answer later TRANSIENT.
         * DONE, or PERMANENT after host->log said why. The session lives until session_free. */
        int32_t (*session_new)(const struct prvng_host *host, const void *options, uint64_t n_options,
                               struct prvng_http_session **ret_session);

        /* [any] Requests under way must have come back. NULL does nothing. */
        void (*session_free)(struct prvng_http_session *session);

        /* [any] Gives or replaces the secret {"set": name}, copied into locked memory; n_value 0 wipes
         * it. For credentials that the plugin was handed by an API (an assumed role). */
        int32_t (*secret_set)(struct prvng_http_session *session, const char *name, const void *value,
                              uint64_t n_value);

        /* [any] Sends a request, waits for the rate limit and for the whole reply, the call's deadline
         * or its cancellation. DONE with any status: what it means is the plugin's business. `headers`
         * (may be NULL) gets those of the reply as lines "name: value\n", names in small letters;
         * `body` (may be NULL) gets its body, after decompression.
         *
         * Without a whole reply, with the error record set: TRANSIENT with effect NONE (nothing had
         * left: no address, no connection, TLS refused, no slot before the deadline) or UNKNOWN
         * (the request may have arrived); CANCELLED with NONE or UNKNOWN; PERMANENT with UNKNOWN if the
         * reply is larger than max_reply; AUTH with NONE if a credential is missing. For GET and HEAD
         * UNKNOWN is as good as NONE. */
        int32_t (*send)(struct prvng_call *call, struct prvng_http_session *session,
                        const struct prvng_http_request *request,
                        struct prvng_http_response *ret_response, struct prvng_sink *headers,
                        struct prvng_sink *body);
        /* members above: 1.0 */
};
#define PRVNG_HOST_HTTP_BASELINE PRVNG_SIZE_UP_TO(struct prvng_host_http, send)

#ifdef __cplusplus
}
#endif

#endif
