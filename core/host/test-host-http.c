/* SPDX-License-Identifier: Apache-2.0 */
/* prvng.host.http/1 against a server that this test makes, on loopback. */
#include "host/host.h"

#include "base/clock.h"
#include "host/services.h"
#include "../../tests/support/site.h"
#include "support/web.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

struct fixture {
        struct test_site site;
        struct config *config;
        struct host *host;
        const struct prvng_host *table;
        const struct prvng_host_http *http;
        struct op_reply reply;
        struct op_call call;
        pthread_mutex_t log_lock;
        struct buf log;
        struct web *web;
        struct prvng_http_session *session;
        struct prvng_http_response response;
        struct prvng_sink *headers, *body;
};

static void log_line(void *data, int32_t level, const char *plugin, const char *topic,
                     const char *run, const char *task, const char *message)
{
        struct fixture *f = data;

        pthread_mutex_lock(&f->log_lock);
        buf_printf(&f->log, "%d %s %s %s %s %s\n", level, plugin, topic, run, task, message);
        pthread_mutex_unlock(&f->log_lock);
}

static struct op_call call_of(struct fixture *f, struct op_reply *reply)
{
        return (struct op_call){.pub = {.struct_size = sizeof(f->call.pub), .attempt = 1,
                                        .op_id = "01JDABCDEFGHJKMNPQRSTVWXYZ",
                                        .deadline_ms = INT64_MAX},
                                .host = f->host, .plugin_name = "cloud", .run = "RUN",
                                .task = "op/web-0", .cancel_fd = -1, .reply = reply};
}

static void setup(struct fixture *f, web_f answer, void *userdata, const char *conf)
{
        struct host_hooks hooks = {.log = log_line, .userdata = f};
        struct problems problems = PROBLEMS_NULL;
        struct web_options web = {.answer = answer, .userdata = userdata};

        *f = (struct fixture){.reply = OP_REPLY_NULL, .response = {.struct_size = sizeof(f->response)}};
        pthread_mutex_init(&f->log_lock, NULL);
        test_site_new(&f->site, NULL, 0, conf);
        cr_assert_eq(config_load(f->site.conf, &problems, &f->config), 0);
        cr_assert_eq(problems.n, 0);
        cr_assert_eq(host_new(f->config, &hooks, &f->host), 0);
        f->table = host_table_for(f->host, "cloud");
        f->http = f->table->get_interface(f->table, PRVNG_HOST_HTTP);
        cr_assert_not_null(f->http);
        f->call = call_of(f, &f->reply);
        f->headers = f->table->sink_new(1 << 20);
        f->body = f->table->sink_new(UINT64_C(1) << 30);
        f->web = answer ? web_new(&web) : NULL;
}

static void end(struct fixture *f)
{
        f->http->session_free(f->session);
        f->table->sink_free(f->headers);
        f->table->sink_free(f->body);
        web_free(f->web);
        if (f->call.cancel_fd >= 0)
                close(f->call.cancel_fd);
        free(f->reply.message);
        free(f->reply.field);
        buf_deinit(&f->log);
        host_free(f->host);
        config_free(f->config);
        test_site_remove(&f->site);
        pthread_mutex_destroy(&f->log_lock);
}

static int32_t open_text(struct fixture *f, const char *options)
{
        f->http->session_free(f->session);
        f->session = NULL;
        return f->http->session_new(f->table, options, strlen(options), &f->session);
}

/* A session at the fixture's server; `more` are further members, ",..." */
static void open_session(struct fixture *f, const char *more)
{
        _cleanup_(cleanup_buf) struct buf o = BUF_NULL;

        buf_printf(&o, "{\"base_url\":\"http://127.0.0.1:%d/1.3/\"%s}", web_port(f->web), more);
        cr_assert_eq(open_text(f, buf_str(&o)), PRVNG_DONE, "%s", buf_str(&f->log));
}

static struct prvng_http_request request_of(const char *method, const char *target, const char *body)
{
        return (struct prvng_http_request){.struct_size = sizeof(struct prvng_http_request),
                                           .method = method, .target = target, .body = body,
                                           .n_body = body ? strlen(body) : 0};
}

static int32_t ask(struct fixture *f, const char *method, const char *target, const char *body)
{
        struct prvng_http_request q = request_of(method, target, body);

        f->table->sink_free(f->headers);
        f->table->sink_free(f->body);
        f->headers = f->table->sink_new(1 << 20);
        f->body = f->table->sink_new(UINT64_C(1) << 30);
        return f->http->send(&f->call.pub, f->session, &q, &f->response, f->headers, f->body);
}

static const char *body(struct fixture *f)
{
        return f->table->sink_data(f->body, NULL);
}

static const char *headers(struct fixture *f)
{
        return f->table->sink_data(f->headers, NULL);
}

#define ENDS(f, class_, effect_)                                                                   \
        do {                                                                                       \
                cr_assert_eq((f)->call.said_class, (class_));                                      \
                cr_assert_eq((f)->reply.effect, (effect_), "%s", (f)->reply.message);              \
        } while (0)

static void echo(void *userdata, const struct web_request *q, struct web_reply *ret)
{
        _cleanup_(cleanup_buf) struct buf b = BUF_NULL;

        buf_printf(&b, "%s %s|%.*s|%u", q->method, q->target, (int)q->n_body, q->body, q->connection);
        ret->headers = "Content-Type: text/plain\r\nX-Thing:  a  b \r\n";
        ret->body = ret->free_me = buf_steal(&b);
}

Test(host_http, sends_and_brings_back)
{
        struct fixture f;

        setup(&f, echo, NULL, NULL);
        open_session(&f, "");
        cr_assert_eq(ask(&f, "POST", "/server/?label=a%3Db", "{\"a\":1}"), PRVNG_DONE);
        cr_assert_eq(f.response.status, 200);
        cr_assert_eq(f.response.retry_after_ms, -1);
        cr_assert_eq(f.response.date_ms, -1);
        cr_assert_str_eq(body(&f), "POST /1.3/server/?label=a%3Db|{\"a\":1}|1");
        cr_assert_not_null(strstr(headers(&f), "x-thing: a  b\n"), "%s", headers(&f));
        cr_assert_eq(ask(&f, "GET", "/x", NULL), PRVNG_DONE);
        cr_assert_str_eq(body(&f), "GET /1.3/x||1", "the connection is kept");
        cr_assert_eq(ask(&f, "DELETE", "/x", NULL), PRVNG_DONE);
        cr_assert_str_eq(body(&f), "DELETE /1.3/x||1");
        cr_assert_eq(ask(&f, "PUT", "/x", "y"), PRVNG_DONE);
        cr_assert_str_eq(body(&f), "PUT /1.3/x|y|1");
        cr_assert_eq(ask(&f, "PATCH", "/x", ""), PRVNG_DONE);
        cr_assert_str_eq(body(&f), "PATCH /1.3/x||1");
        cr_assert_eq(ask(&f, "HEAD", "/x", NULL), PRVNG_DONE);
        cr_assert_str_eq(body(&f), "");
        end(&f);
}

Test(host_http, adds_credentials)
{
        _cleanup_(cleanup_free) char *log = NULL;
        struct fixture f;

        setup(&f, echo, NULL, NULL);
        setenv("TEST_TOKEN", "t0ken", 1);
        setenv("TEST_USER", "me", 1);
        open_session(&f, ",\"auth\":{\"type\":\"bearer\",\"token\":{\"env\":\"TEST_TOKEN\"}}");
        cr_assert_eq(ask(&f, "GET", "/bearer", NULL), PRVNG_DONE);
        open_session(&f, ",\"auth\":{\"type\":\"basic\",\"user\":{\"env\":\"TEST_USER\"},"
                         "\"password\":{\"set\":\"pw\"}}");
        cr_assert_eq(ask(&f, "GET", "/early", NULL), PRVNG_AUTH);
        ENDS(&f, PRVNG_AUTH, PRVNG_EFFECT_NONE);
        cr_assert_eq(f.http->secret_set(f.session, "pw", "open sesame", 11), PRVNG_DONE);
        cr_assert_eq(ask(&f, "GET", "/basic", NULL), PRVNG_DONE);
        cr_assert_eq(f.http->secret_set(f.session, "pw", NULL, 0), PRVNG_DONE);
        cr_assert_eq(ask(&f, "GET", "/late", NULL), PRVNG_AUTH);
        log = web_log(f.web);
        cr_assert_eq(web_requests(f.web), 2, "%s", log);
        cr_assert(web_has(log, "Authorization", "Bearer t0ken"));
        cr_assert(web_has(log, "Authorization", "Basic bWU6b3BlbiBzZXNhbWU="));
        end(&f);
}

static void busy(void *userdata, const struct web_request *q, struct web_reply *ret)
{
        ret->status = 429;
        ret->headers = "Retry-After: 7\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
}

Test(host_http, tells_when_to_come_back)
{
        struct fixture f;

        setup(&f, busy, NULL, NULL);
        open_session(&f, "");
        cr_assert_eq(ask(&f, "GET", "/", NULL), PRVNG_DONE);
        cr_assert_eq(f.response.status, 429);
        cr_assert_eq(f.response.retry_after_ms, 7000, "%lld: %s",
                     (long long)f.response.retry_after_ms, headers(&f));
        cr_assert_eq(f.response.date_ms, INT64_C(784111777000));
        f.call.pub.deadline_ms = clock_boot_ms() + 3000;
        cr_assert_eq(ask(&f, "GET", "/", NULL), PRVNG_TRANSIENT, "none leaves for 7 s");
        ENDS(&f, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE);
        cr_assert_eq(web_requests(f.web), 1);
        end(&f);
}
