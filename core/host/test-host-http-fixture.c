/* SPDX-License-Identifier: Apache-2.0 */
#include "host/test-host-http.h"

#include <sys/eventfd.h>

static void log_line(void *data, int32_t level, const char *plugin, const char *topic,
                     const char *run, const char *task, const char *message)
{
        struct fixture *f = data;

        pthread_mutex_lock(&f->log_lock);
        buf_printf(&f->log, "%d %s %s %s %s %s\n", level, plugin, topic, run, task, message);
        pthread_mutex_unlock(&f->log_lock);
}

struct op_call call_of(struct fixture *f, struct op_reply *reply)
{
        return (struct op_call){.pub = {.struct_size = sizeof(f->call.pub), .attempt = 1,
                                        .op_id = "01JDABCDEFGHJKMNPQRSTVWXYZ",
                                        .deadline_ms = INT64_MAX},
                                .host = f->host, .plugin_name = "cloud", .run = "RUN",
                                .task = "op/web-0", .cancel_fd = -1, .reply = reply};
}

void cancel(struct op_call *call)
{
        /* as op_call_cancel() does, which stands in a module above */
        __atomic_store_n(&call->cancelled, 1, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&call->cancel_fd, __ATOMIC_SEQ_CST) >= 0)
                eventfd_write(call->cancel_fd, 1);
}

void call_deinit(struct op_call *call, struct op_reply *reply)
{
        if (call->cancel_fd >= 0)
                close(call->cancel_fd);
        free(reply->message);
        free(reply->field);
        *reply = OP_REPLY_NULL;
}

static void start(struct fixture *f)
{
        struct host_hooks hooks = {.log = log_line, .userdata = f};
        struct problems problems = PROBLEMS_NULL;

        cr_assert_eq(config_load(f->site.conf, &problems, &f->config), 0);
        cr_assert_eq(problems.n, 0);
        cr_assert_eq(host_new(f->config, &hooks, &f->host), 0);
        f->table = host_table_for(f->host, "cloud");
        f->http = f->table->get_interface(f->table, PRVNG_HOST_HTTP);
        cr_assert_not_null(f->http);
        f->call = call_of(f, &f->reply);
        f->headers = f->table->sink_new(1 << 20);
        f->body = f->table->sink_new(UINT64_C(1) << 30);
}

static void stop(struct fixture *f)
{
        f->http->session_free(f->session);
        f->session = NULL;
        f->table->sink_free(f->headers);
        f->table->sink_free(f->body);
        call_deinit(&f->call, &f->reply);
        f->host = host_free(f->host);
        f->config = config_free(f->config);
}

void setup(struct fixture *f, web_f answer, void *userdata, const char *conf)
{
        struct web_options web = {.answer = answer, .userdata = userdata};

        *f = (struct fixture){.reply = OP_REPLY_NULL, .response = {.struct_size = sizeof(f->response)}};
        pthread_mutex_init(&f->log_lock, NULL);
        test_site_new(&f->site, NULL, 0, conf);
        start(f);
        f->web = answer ? web_new(&web) : NULL;
}

void restart(struct fixture *f)
{
        stop(f);
        start(f);
}

void end(struct fixture *f)
{
        stop(f);
        web_free(f->web);
        buf_deinit(&f->log);
        test_site_remove(&f->site);
        pthread_mutex_destroy(&f->log_lock);
}

int32_t open_text(struct fixture *f, const char *options)
{
        f->http->session_free(f->session);
        f->session = NULL;
        return f->http->session_new(f->table, options, strlen(options), &f->session);
}

/* A session at the fixture's server; `more` are further members, ",..." */
void open_session(struct fixture *f, const char *more)
{
        _cleanup_(cleanup_buf) struct buf o = BUF_NULL;

        buf_printf(&o, "{\"base_url\":\"http://127.0.0.1:%d/1.3/\"%s}", web_port(f->web), more);
        cr_assert_eq(open_text(f, buf_str(&o)), PRVNG_DONE, "%s", buf_str(&f->log));
}

struct prvng_http_request request_of(const char *method, const char *target, const char *text)
{
        return (struct prvng_http_request){.struct_size = sizeof(struct prvng_http_request),
                                           .method = method, .target = target, .body = text,
                                           .n_body = text ? strlen(text) : 0};
}

int32_t ask_with(struct fixture *f, const char *method, const char *target, const char *text,
                 const char *header)
{
        struct prvng_http_request q = request_of(method, target, text);
        const char *const lines[] = {header, NULL};

        q.headers = lines;
        f->table->sink_free(f->headers);
        f->table->sink_free(f->body);
        f->headers = f->table->sink_new(1 << 20);
        f->body = f->table->sink_new(UINT64_C(1) << 30);
        f->call.said = false;
        f->call.said_class = 0;
        return f->http->send(&f->call.pub, f->session, &q, &f->response, f->headers, f->body);
}

int32_t ask(struct fixture *f, const char *method, const char *target, const char *text)
{
        return ask_with(f, method, target, text, NULL);
}

const char *body(struct fixture *f)
{
        return f->table->sink_data(f->body, NULL);
}

const char *headers(struct fixture *f)
{
        return f->table->sink_data(f->headers, NULL);
}

void echo(void *userdata, const struct web_request *q, struct web_reply *ret)
{
        _cleanup_(cleanup_buf) struct buf b = BUF_NULL;

        buf_printf(&b, "%s %s|%.*s|%u", q->method, q->target, (int)q->n_body, q->body, q->connection);
        ret->headers = "Content-Type: text/plain\r\nX-Thing:  a  b \r\n";
        ret->body = ret->free_me = buf_steal(&b);
}

