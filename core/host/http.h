/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of prvng.host.http/1 (sdk/include/prvng/host/http.h says what it promises).
 *
 *      http.c          the interface: one send from its checks to its error record
 *      http-session.c  options, and turns: at most `concurrency` requests, first come first served
 *      http-secret.c   credentials in locked memory
 *      http-loop.c     the thread that owns libcurl's connections
 *      http-easy.c     one request as libcurl wants it
 *      http-reply.c    header lines and what they mean
 *      http-tape.h     exchanges as files
 *
 * libcurl runs on a thread of its own, "prvng-http", started when the first request leaves. It cannot
 * run on the engine's loop, although that has an epoll too: the loop thread blocks in fdatasync at each
 * commit, and a disk that takes 30 ms to sync would stretch every reply, and every TLS handshake by
 * several times that. Callers are workers, which may block: they hand an exchange over and wait.
 */
#ifndef PRVNG_HOST_HTTP_INSIDE_H
#define PRVNG_HOST_HTTP_INSIDE_H

#include "base/json.h"
#include "base/locked.h"
#include "host/services.h"
#include <prvng/host/http.h>

#include <curl/curl.h>

/* Where a secret is found: {"env": NAME}, {"file": PATH}, {"secret": REFERENCE} or {"set": NAME}. */
enum http_source { HTTP_NOWHERE, HTTP_ENV, HTTP_FILE, HTTP_SECRET, HTTP_SET };

struct http_ref {
        enum http_source source;
        char *name;
        struct locked kept; /* HTTP_SECRET: the value, with the session's lock */
        int64_t kept_until_ms;
};

/* A secret that the plugin gave. */
struct http_given {
        char *name;
        struct locked value;
        struct http_given *next;
};

enum http_auth { HTTP_AUTH_NONE, HTTP_AUTH_BEARER, HTTP_AUTH_BASIC, HTTP_AUTH_SIGV4 };

/* By type: bearer has token in [0]; basic user and password; sigv4 the access key, the secret key and
 * perhaps a session token. */
enum { HTTP_SECRETS = 3 };

struct http_credentials {
        struct locked secret[HTTP_SECRETS];
};

void http_credentials_deinit(struct http_credentials *c);

/* One that waits. */
struct http_turn {
        int fd; /* readable once it is its turn */
        bool mine;
        struct http_turn *next;
};

struct prvng_http_session {
        struct host *host;
        const struct prvng_host *pub; /* the plugin's table, for the log */
        char *plugin;
        char *base;    /* without a slash at its end */
        char *resolve; /* "localhost:PORT:127.0.0.1,::1", or NULL */
        bool direct;   /* never through a proxy */
        char *account;
        enum http_auth auth;
        struct http_ref ref[HTTP_SECRETS];
        char *sigv4; /* "aws:amz:REGION:SERVICE", or NULL */
        uint32_t concurrency;
        uint64_t max_reply;
        char **headers; /* "Name: value", ends with NULL */

        pthread_mutex_t lock;
        struct http_given *given;
        uint32_t busy;                  /* requests under way */
        struct http_turn *first, *last; /* those that wait for one of them to come back */
};

int32_t http_session_new(const struct prvng_host *host, const void *options, uint64_t n_options,
                         struct prvng_http_session **ret_session);
void http_session_free(struct prvng_http_session *s);
int32_t http_secret_set(struct prvng_http_session *s, const char *name, const void *value,
                        uint64_t n_value);

/* Looks the session's secrets up. 0, or -errno with a sentence in `why`, which names no value: -EAGAIN if
 * it may work later, -ECANCELED. */
int http_credentials_find(struct prvng_http_session *s, struct op_call *call,
                          struct http_credentials *ret, struct buf *why);

/* They were refused: what is kept of them is not used again. */
void http_credentials_refused(struct prvng_http_session *s);

/* One header line that a plugin may send. NULL, or what is wrong with it. */
const char *http_header_wrong(const char *line);

/* Waits for a turn; `fd` is an eventfd that the turn may use meanwhile. 0, -ECANCELED, -ETIMEDOUT. */
int http_turn_wait(struct prvng_http_session *s, struct op_call *call, int fd, int64_t deadline_ms);
void http_turn_end(struct prvng_http_session *s);

/* Waits until fd is readable: 0, -ECANCELED if the call is cancelled before, -ETIMEDOUT at the
 * deadline, on the clock of clock_boot_ms. */
int http_wait(struct op_call *call, int fd, int64_t deadline_ms);

/* The same, come what may. */
void http_wait_done(int fd);

/* What came back, as far as it came. */
struct http_reply {
        int32_t status;
        struct buf headers; /* lines "name: value\n", names in small letters */
        struct buf body;
        bool headers_end;   /* the blank line was seen: what follows are trailers */
        bool too_large;
};

void http_reply_deinit(struct http_reply *r);

/* Takes a header line as libcurl hands it over; false if there are too many. */
bool http_reply_header(struct http_reply *r, const char *line, size_t n);

/* The value of the first header of that name, in small letters; it ends at the newline. NULL: none. */
const char *http_reply_find(const struct http_reply *r, const char *name, size_t *ret_n);
void http_reply_meaning(const struct http_reply *r, int64_t now_ms, struct prvng_http_response *ret);

/* One request under way. The caller makes it and keeps it until it is done. */
struct http_exchange {
        const struct prvng_http_session *session;
        const struct prvng_http_request *request;
        const struct http_credentials *credentials;
        const char *url;
        struct curl_slist *headers;
        int64_t timeout_ms;

        struct http_reply reply;
        CURLcode code;
        long os_error;
        char error[CURL_ERROR_SIZE];
        unsigned int starts; /* how often libcurl was about to write the request */
        bool aborted;        /* it wanted to write it again, or the host ends */

        /* with the loop's lock */
        int done_fd;
        bool done;
        bool unwanted;
        struct http_exchange *next;

        /* of the loop's thread */
        CURL *easy;
        struct curl_slist *resolve;
};

struct http_loop;

/* Makes x->easy ready to go; the connections' TLS sessions are shared by `share`. */
int http_easy_init(struct http_exchange *x, CURLSH *share);
void http_easy_deinit(struct http_exchange *x);

/* The loop of the host, started if need be; NULL: that failed, errno says why. [any] */
struct http_loop *http_loop_get(struct host *h);

/* Hands an exchange over. x->done_fd becomes readable once it has ended, with x->done. */
void http_loop_post(struct http_loop *l, struct http_exchange *x);
/* Ends it soon; its end is told in the same way. */
void http_loop_cancel(struct http_loop *l, struct http_exchange *x);
/* After done_fd was readable: takes the exchange back. */
void http_loop_take(struct http_loop *l, struct http_exchange *x);

#endif
