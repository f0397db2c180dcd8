/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng.host.http/1: one send, from its checks to its error record.
 *
 * The effect of a request without a whole reply is NONE until libcurl was about to write it, and UNKNOWN
 * from then on: a connection that broke proves nothing about what the server read before.
 */
#include "host/http-tape.h"

#include "base/clock.h"

#include <sys/eventfd.h>

enum { TIMEOUT_MS = 60000, TARGET_MAX = 65536, HEADERS_SENT_MAX = 128 };
#define BODY_MAX (UINT64_C(64) << 20)

/* A send under way. */
struct sending {
        struct prvng_call *call;
        struct prvng_http_session *session;
        struct prvng_http_request request; /* private copy */
        struct http_credentials credentials;
        struct http_exchange exchange;
        char *url;
        int64_t left_us, took_us; /* left_us 0: it did not */
};

static int32_t internal(struct sending *s, const char *what)
{
        return op_call_fail(s->call, PRVNG_INTERNAL, PRVNG_EFFECT_NONE, EINVAL,
                            "%s was asked for an impossible HTTP request: %s", s->session->plugin,
                            what);
}

static int32_t check_request(struct sending *s, const struct prvng_http_request *request)
{
        static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"};
        struct prvng_http_request *q = &s->request;
        const char *wrong;
        size_t i = 0;

        if (!request || request->struct_size < PRVNG_HTTP_REQUEST_BASELINE)
                return internal(s, "struct_size is too small");
        memcpy(q, request, MIN((size_t)request->struct_size, sizeof(*q)));
        while (i < N_ELEMENTS(methods) && !(q->method && streq(q->method, methods[i])))
                i++;
        if (i == N_ELEMENTS(methods))
                return internal(s, "the method must be GET, POST, PUT, PATCH, DELETE or HEAD");
        if (!q->target || q->target[0] != '/' || strlen(q->target) > TARGET_MAX)
                return internal(s, "the target must begin with '/' and have at most 65536 bytes");
        for (const char *p = q->target; *p; p++)
                if ((uint8_t)*p <= ' ' || (uint8_t)*p >= 0x7f || *p == '#')
                        return internal(s, "the target must be percent-encoded");
        if ((q->n_body && !q->body) || q->n_body > BODY_MAX)
                return internal(s, "the body is missing, or larger than 64 MiB");
        if (q->n_body && (streq(q->method, "GET") || streq(q->method, "HEAD")))
                return internal(s, "GET and HEAD have no body");
        if (q->timeout_ms < 0)
                return internal(s, "timeout_ms is negative");
        for (i = 0; q->headers && q->headers[i]; i++) {
                wrong = i < HEADERS_SENT_MAX ? http_header_wrong(q->headers[i])
                                             : "there are more than 128";
                if (wrong)
                        return op_call_fail(s->call, PRVNG_INTERNAL, PRVNG_EFFECT_NONE, EINVAL,
                                            "%s was asked to send a header that it may not: %.*s: %s",
                                            s->session->plugin,
                                            (int)strcspn(q->headers[i], ":"), q->headers[i], wrong);
        }
        return PRVNG_DONE;
}

static bool has_header(const struct sending *s, const char *name)
{
        size_t n = strlen(name);

        for (size_t i = 0; s->request.headers && s->request.headers[i]; i++)
                if (strncasecmp(s->request.headers[i], name, n) == 0 &&
                    s->request.headers[i][n] == ':')
                        return true;
        for (char **h = s->session->headers; *h; h++)
                if (strncasecmp(*h, name, n) == 0 && (*h)[n] == ':')
                        return true;
        return false;
}

static bool add_header(struct http_exchange *x, const char *line)
{
        struct curl_slist *list = curl_slist_append(x->headers, line);

        if (list)
                x->headers = list;
        return list;
}

/* As an API reads it: 00-TRACE-SPAN-FLAGS. */
static bool is_trace_parent(const char *text)
{
        return text && strlen(text) == 55 && text[2] == '-' && text[35] == '-' && text[52] == '-' &&
               strspn(text, "0123456789abcdef-") == 55;
}

/* A signature covers all headers of this list; an empty one, which tells libcurl not to send its own, it
 * would cover too, and the server would not see it. So none of those for sigv4. User-Agent is left to
 * set_auth() there: proxies change it, so that checkers of AWS leave it out of what
 * they compute; and traceparent, for which the same holds, is not sent. */
static bool make_headers(struct sending *s)
{
        struct http_exchange *x = &s->exchange;
        bool signs = s->session->auth == HTTP_AUTH_SIGV4, good = true;
        _cleanup_(cleanup_buf) struct buf line = BUF_NULL;
        char name[128];

        for (char **h = s->session->headers; *h && good; h++) {
                snprintf(name, sizeof(name), "%.*s", (int)strcspn(*h, ":"), *h);
                for (size_t i = 0; s->request.headers && s->request.headers[i]; i++)
                        if (startswith(s->request.headers[i], name) &&
                            s->request.headers[i][strlen(name)] == ':')
                                name[0] = 0; /* the request's own counts */
                good = !name[0] || add_header(x, *h);
        }
        for (size_t i = 0; s->request.headers && s->request.headers[i] && good; i++)
                good = add_header(x, s->request.headers[i]);
        if (good && !signs && !has_header(s, "User-Agent")) {
                buf_printf(&line, "User-Agent: prvng/%s (%s)", PRVNG_VERSION, s->session->plugin);
                good = !line.error && add_header(x, line.data);
        }
        if (good && !signs && is_trace_parent(s->call->trace_parent)) {
                buf_clear(&line);
                buf_printf(&line, "traceparent: %s", s->call->trace_parent);
                good = !line.error && add_header(x, line.data);
        }
        if (good && !signs)
                good = add_header(x, "Expect:");
        if (good && !signs && s->request.n_body && !has_header(s, "Content-Type"))
                good = add_header(x, "Content-Type:");
        return good;
}

/* The session token is a header; it is put together where it may stand. */
static bool add_session_token(struct sending *s)
{
        static const char name[] = "x-amz-security-token: ";
        const struct locked *token = &s->credentials.secret[2];
        struct locked line = {0};
        bool good;

        if (s->session->auth != HTTP_AUTH_SIGV4 || !token->data)
                return true;
        if (locked_init(&line, NULL, sizeof(name) - 1 + token->n) < 0)
                return false;
        memcpy(line.data, name, sizeof(name) - 1);
        memcpy(line.data + sizeof(name) - 1, token->data, token->n);
        good = add_header(&s->exchange, line.data);
        locked_deinit(&line);
        return good;
}

static int32_t no_memory(struct sending *s)
{
        return op_call_fail(s->call, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, ENOMEM,
                            "no memory for %s %s", s->request.method, s->session->base);
}

static int32_t find_credentials(struct sending *s)
{
        _cleanup_(cleanup_buf) struct buf why = BUF_NULL;
        int r = http_credentials_find(s->session, op_call_of(s->call), &s->credentials, &why);

        if (r == -ENOMEM)
                return no_memory(s);
        if (r < 0)
                return op_call_fail(s->call, r == -EAGAIN      ? PRVNG_TRANSIENT
                                             : r == -ECANCELED ? PRVNG_CANCELLED
                                                               : PRVNG_AUTH, PRVNG_EFFECT_NONE, -r,
                                    "no credentials for %s: %s", s->session->base, buf_str(&why));
        return PRVNG_DONE;
}

static int32_t prepare(struct sending *s)
{
        struct http_exchange *x = &s->exchange;
        int32_t answer = find_credentials(s);

        if (answer != PRVNG_DONE)
                return answer;
        if (asprintf(&s->url, "%s%s", s->session->base, s->request.target) < 0)
                return s->url = NULL, no_memory(s);
        if (!make_headers(s) || !add_session_token(s))
                return no_memory(s);
        x->session = s->session;
        x->request = &s->request;
        x->credentials = &s->credentials;
        x->url = s->url;
        return PRVNG_DONE;
}

static int32_t cancelled(struct sending *s, uint32_t effect)
{
        return op_call_fail(s->call, PRVNG_CANCELLED, effect, ECANCELED, "cancelled %s %s %s",
                            effect == PRVNG_EFFECT_NONE ? "before it left:" : "on its way:",
                            s->request.method, s->session->base);
}

/* The errno behind it; where libcurl did not just ask the system, what it keeps is an old one. */
static int32_t errno_of(const struct http_exchange *x)
{
        if (x->code == CURLE_OPERATION_TIMEDOUT)
                return ETIMEDOUT;
        return x->code == CURLE_COULDNT_CONNECT || x->code == CURLE_SEND_ERROR ||
                               x->code == CURLE_RECV_ERROR
                       ? (int32_t)x->os_error : 0;
}

/* Why there is no whole reply. */
static int32_t explain(struct sending *s)
{
        struct http_exchange *x = &s->exchange;
        uint32_t effect = x->starts ? PRVNG_EFFECT_UNKNOWN : PRVNG_EFFECT_NONE;
        const char *path = s->request.target, *what = x->error[0] ? x->error
                                                                  : curl_easy_strerror(x->code);
        int n = (int)strcspn(path, "?");

        if (x->unwanted)
                return cancelled(s, effect);
        if (x->reply.too_large)
                return op_call_fail(s->call, PRVNG_PERMANENT, PRVNG_EFFECT_UNKNOWN, EMSGSIZE,
                                    "%s %s%.*s: the reply is larger than the %llu bytes that are "
                                    "accepted here", s->request.method, s->session->base, n, path,
                                    (unsigned long long)s->session->max_reply);
        if (x->code == CURLE_OK)
                what = x->reply.headers_end ? "the reply has a status that is none"
                                            : "the reply breaks off in its head";
        else if (x->aborted)
                what = "the connection ended before the reply";
        else if (x->code == CURLE_ABORTED_BY_CALLBACK)
                what = "the engine stops";
        return op_call_fail(s->call, PRVNG_TRANSIENT, effect, errno_of(x), "%s %s%.*s: %s%s",
                            s->request.method, s->session->base, n, path, what,
                            x->code == CURLE_PEER_FAILED_VERIFICATION
                                    ? "; a private certificate authority is named by sources.ca_file "
                                      "of the site's configuration" : "");
}

/* From the loop and back. */
static int32_t exchange(struct sending *s)
{
        struct http_exchange *x = &s->exchange;
        struct op_call *call = op_call_of(s->call);
        struct http_loop *l = http_loop_get(s->session->host);
        int64_t now = clock_boot_ms();

        if (!l)
                return op_call_fail(s->call, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, errno,
                                    "HTTP cannot be started here: %s", strerror(errno));
        x->timeout_ms = s->request.timeout_ms ? s->request.timeout_ms : TIMEOUT_MS;
        if (s->call->deadline_ms < now + x->timeout_ms)
                x->timeout_ms = s->call->deadline_ms - now;
        if (x->timeout_ms <= 0)
                return op_call_fail(s->call, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, ETIMEDOUT,
                                    "no time is left for %s %s", s->request.method,
                                    s->session->base);
        s->left_us = clock_tick_us();
        http_loop_post(l, x);
        if (http_wait(call, x->done_fd, INT64_MAX) < 0) {
                http_loop_cancel(l, x);
                http_wait_done(x->done_fd);
        }
        http_loop_take(l, x);
        s->took_us = clock_tick_us() - s->left_us;
        /* libcurl takes a head that breaks off for a whole one. */
        if (x->code != CURLE_OK || !x->reply.headers_end || x->reply.status < 100 ||
            x->reply.status > 599)
                return explain(s);
        return PRVNG_DONE;
}

/* Turn, rate, exchange, in this order: what holds a slot of the rate limit leaves at once. */
static int32_t in_turn(struct sending *s)
{
        struct op_call *call = op_call_of(s->call);
        int r = http_turn_wait(s->session, call, s->exchange.done_fd, s->call->deadline_ms);
        int32_t answer;

        if (r == -ECANCELED)
                return cancelled(s, PRVNG_EFFECT_NONE);
        if (r < 0)
                return op_call_fail(s->call, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, -r,
                                    "%u requests to %s are under way, and none came back before the "
                                    "deadline", (unsigned int)s->session->concurrency,
                                    s->session->base);
        answer = host_rate.acquire(s->call, s->session->account, 0);
        if (answer == PRVNG_DONE)
                answer = prepare(s);
        if (answer == PRVNG_DONE)
                answer = exchange(s);
        http_turn_end(s->session);
        return answer;
}

/* Taken from a recording, or from the world and perhaps recorded. */
static int32_t find_reply(struct sending *s)
{
        struct host *h = s->session->host;
        struct op_call *call = op_call_of(s->call);
        struct http_tape *tape = h->http_tape; /* for ever the same since the first session */
        struct http_event e = {call, s->session, &s->request, &s->credentials, &s->exchange.reply, 0};
        _cleanup_(cleanup_buf) struct buf why = BUF_NULL;
        int32_t answer;

        if (tape && http_tape_plays(tape)) {
                /* Nobody has to have any; those that are there are blanked. */
                http_credentials_find(s->session, op_call_of(s->call), &s->credentials, &why);
                return http_tape_play(tape, &e);
        }
        answer = in_turn(s);
        e.ms = s->took_us / 1000;
        if (tape && s->left_us)
                http_tape_write(tape, &e, answer);
        return answer;
}

/* One line for each exchange. The query stays out: what is in it is the plugin's business. */
static void log_exchange(const struct sending *s, int32_t answer)
{
        _cleanup_(cleanup_buf) struct buf b = BUF_NULL;
        const struct prvng_call *c = s->call;
        const char *path = s->request.target;

        buf_printf(&b, "%s %s%.*s: ", s->request.method, s->session->base, (int)strcspn(path, "?"), path);
        if (answer == PRVNG_DONE)
                buf_printf(&b, "status %d", s->exchange.reply.status);
        else
                BUF_LIT(&b, "no reply");
        buf_printf(&b, ", %lld ms, attempt %u", (long long)(s->took_us / 1000), c->attempt);
        if (c->op_id && c->op_id[0])
                buf_printf(&b, ", op %s", c->op_id);
        if (is_trace_parent(c->trace_parent))
                buf_printf(&b, ", trace %.32s", c->trace_parent + 3);
        if (!b.error)
                host_log(s->session->pub, PRVNG_LOG_DEBUG, "http", b.data);
}

static int32_t hand_over(struct sending *s, struct prvng_http_response *ret_response,
                         struct prvng_sink *headers, struct prvng_sink *body)
{
        const struct prvng_host *pub = s->session->pub;
        struct http_reply *r = &s->exchange.reply;
        struct prvng_http_response response = {0};
        uint32_t size = ret_response->struct_size;

        http_reply_meaning(r, clock_wall_ms(), &response);
        if (r->status == 401 || r->status == 403)
                http_credentials_refused(s->session);
        if (s->left_us && (r->status == 429 || (r->status == 503 && response.retry_after_ms >= 0)))
                host_rate.back_off(s->call, s->session->account, response.retry_after_ms);
        if ((headers && pub->sink_write(headers, buf_str(&r->headers), r->headers.n) < 0) ||
            (body && pub->sink_write(body, buf_str(&r->body), r->body.n) < 0) ||
            r->headers.error || r->body.error)
                return op_call_fail(s->call, PRVNG_PERMANENT, PRVNG_EFFECT_UNKNOWN, EMSGSIZE,
                                    "%s %s: the reply is larger than its reader takes",
                                    s->request.method, s->session->base);
        response.struct_size = size;
        memcpy(ret_response, &response, MIN((size_t)size, sizeof(response)));
        return PRVNG_DONE;
}

static void sending_deinit(struct sending *s)
{
        curl_slist_free_all(s->exchange.headers);
        http_reply_deinit(&s->exchange.reply);
        http_credentials_deinit(&s->credentials);
        if (s->exchange.done_fd >= 0)
                close(s->exchange.done_fd);
        free(s->url);
}

static int32_t http_send(struct prvng_call *call, struct prvng_http_session *session,
                         const struct prvng_http_request *request,
                         struct prvng_http_response *ret_response, struct prvng_sink *headers,
                         struct prvng_sink *body)
{
        struct sending s = {.call = call, .session = session,
                            .exchange = {.done_fd = -1, .reply = {.body = BUF_WIPES}}};
        int32_t answer;

        if (!call || !session)
                return PRVNG_INTERNAL;
        if (!ret_response || ret_response->struct_size < PRVNG_HTTP_RESPONSE_BASELINE)
                return internal(&s, "the response's struct_size is too small");
        answer = check_request(&s, request);
        if (answer != PRVNG_DONE)
                return answer;
        s.exchange.done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (s.exchange.done_fd < 0)
                return op_call_fail(call, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, errno,
                                    "no file descriptor for an HTTP request: %s", strerror(errno));
        answer = find_reply(&s);
        log_exchange(&s, answer);
        if (answer == PRVNG_DONE)
                answer = hand_over(&s, ret_response, headers, body);
        sending_deinit(&s);
        return answer;
}

const struct prvng_host_http host_http = {
        .struct_size = sizeof(struct prvng_host_http),
        .session_new = http_session_new,
        .session_free = http_session_free,
        .secret_set = http_secret_set,
        .send = http_send,
};
