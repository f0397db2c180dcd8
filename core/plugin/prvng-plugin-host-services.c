/* SPDX-License-Identifier: Apache-2.0 */
/* The core's services as an isolated plugin sees them: each function is one question. */
#include "plugin/prvng-plugin-host.h"

struct prvng_http_session {
        uint32_t number; /* the core's */
};

/* What the plugin handed over is smaller than 1.0 knew it. */
static int32_t below_baseline(struct prvng_call *call, const char *what)
{
        table_get()->error(call, &(struct prvng_error){
                .struct_size = sizeof(struct prvng_error), .error_class = PRVNG_INTERNAL, .retry_after_ms = -1,
                .effect = PRVNG_EFFECT_NONE, .message = what});
        return PRVNG_INTERNAL;
}

static void put_sink(struct wire *w, const struct prvng_sink *s)
{
        wire_put_u32(w, s != NULL);
        wire_put_u64(w, s && !s->error ? s->limit - MIN(s->limit, (uint64_t)s->buf->n) : 0);
}

static void get_sink(struct wire_message *m, struct prvng_sink *s)
{
        int32_t error;
        const void *data;
        uint64_t n;

        if (!s)
                return;
        error = wire_get_i32(m);
        data = wire_get_bytes(m, &n);
        if (data)
                table_get()->sink_write(s, data, n);
        s->error = s->error ?: error;
}

static int32_t plain_answer(struct line *l)
{
        struct wire_message m;
        int32_t r = wire_get_i32(line_answer(l, &m));

        line_over(l);
        return r;
}

/* --- prvng.host.http/1 --- */

static int32_t http_session_new(const struct prvng_host *host, const void *options, uint64_t n_options,
                                struct prvng_http_session **ret_session)
{
        struct prvng_http_session *session = calloc(1, sizeof(*session));
        struct line *l = line_of(NULL);
        struct wire_message m;
        int32_t r;

        if (!session)
                return PRVNG_TRANSIENT;
        wire_put_bytes(line_ask(l, WIRE_HTTP_SESSION_NEW), options ?: "", n_options);
        r = wire_get_i32(line_answer(l, &m));
        session->number = wire_get_u32(&m);
        line_over(l);
        if (r == PRVNG_DONE)
                *ret_session = session;
        else
                free(session);
        return r;
}

static void http_session_free(struct prvng_http_session *session)
{
        struct line *l = line_of(NULL);

        if (!session)
                return;
        wire_put_u32(line_ask(l, WIRE_HTTP_SESSION_FREE), session->number);
        plain_answer(l);
        free(session);
}

static int32_t http_secret_set(struct prvng_http_session *session, const char *name, const void *value,
                               uint64_t n_value)
{
        struct line *l = line_of(NULL);
        struct wire *w = line_ask(l, WIRE_HTTP_SECRET_SET);
        size_t from = w->out.n;
        struct wire_message m;
        int32_t r;

        wire_put_u32(w, session->number);
        wire_put_text(w, name);
        wire_put_bytes(w, value, n_value);
        r = wire_get_i32(line_answer(l, &m));
        if (w->out.cap > from) /* sent, but not yet written over */
                explicit_bzero(w->out.data + from, w->out.cap - from);
        line_over(l);
        return r;
}

static int32_t http_send(struct prvng_call *call, struct prvng_http_session *session,
                         const struct prvng_http_request *request, struct prvng_http_response *ret_response,
                         struct prvng_sink *headers, struct prvng_sink *body)
{
        struct prvng_http_request q = {0};
        struct prvng_http_response response = {0};
        struct line *l = line_of(call);
        struct wire_message m;
        struct wire *w;
        int32_t r;

        if (!request || request->struct_size < PRVNG_HTTP_REQUEST_BASELINE || !ret_response ||
            ret_response->struct_size < PRVNG_HTTP_RESPONSE_BASELINE)
                return below_baseline(call, "http: the struct_size of request or response is too small");
        memcpy(&q, request, MIN((size_t)request->struct_size, sizeof(q)));
        w = line_ask(l, WIRE_HTTP_SEND);
        wire_put_u32(w, session->number);
        wire_put_u32(w, q.struct_size);
        wire_put_u32(w, q.reserved);
        wire_put_text(w, q.method);
        wire_put_text(w, q.target);
        wire_put_list(w, q.headers);
        wire_put_bytes(w, q.body, q.n_body);
        wire_put_i64(w, q.timeout_ms);
        wire_put_u32(w, ret_response->struct_size);
        put_sink(w, headers);
        put_sink(w, body);
        line_answer(l, &m);
        r = wire_get_i32(&m);
        response.struct_size = ret_response->struct_size;
        response.status = wire_get_i32(&m);
        response.retry_after_ms = wire_get_i64(&m);
        response.date_ms = wire_get_i64(&m);
        get_sink(&m, headers);
        get_sink(&m, body);
        line_over(l);
        if (r == PRVNG_DONE)
                memcpy(ret_response, &response, MIN((size_t)response.struct_size, sizeof(response)));
        return r;
}

const struct prvng_host_http service_http = {
        .struct_size = sizeof(service_http),
        .session_new = http_session_new,
        .session_free = http_session_free,
        .secret_set = http_secret_set,
        .send = http_send,
};

/* --- prvng.host.remote/1 --- */

static int32_t run_answer(struct line *l, struct prvng_sink *output, struct prvng_sink *errors,
                          int32_t *ret_exit_code)
{
        struct wire_message m;
        int32_t r = wire_get_i32(line_answer(l, &m)), exit_code = wire_get_i32(&m);

        get_sink(&m, output);
        get_sink(&m, errors);
        line_over(l);
        if (r == PRVNG_DONE)
                *ret_exit_code = exit_code;
        return r;
}

static int32_t remote_run(struct prvng_call *call, const void *server, uint64_t n_server, const char *const *argv,
                          const void *input, uint64_t n_input, struct prvng_sink *output,
                          struct prvng_sink *errors, int32_t *ret_exit_code)
{
        struct line *l = line_of(call);
        struct wire *w = line_ask(l, WIRE_REMOTE_RUN);

        wire_put_bytes(w, server ?: "", n_server);
        wire_put_list(w, argv);
        wire_put_bytes(w, input, n_input);
        put_sink(w, output);
        put_sink(w, errors);
        return run_answer(l, output, errors, ret_exit_code);
}

static int32_t remote_job_start(struct prvng_call *call, const void *server, uint64_t n_server, const char *job,
                                const void *script, uint64_t n_script)
{
        struct line *l = line_of(call);
        struct wire *w = line_ask(l, WIRE_REMOTE_JOB_START);

        wire_put_bytes(w, server ?: "", n_server);
        wire_put_text(w, job ?: "");
        wire_put_bytes(w, script ?: "", n_script);
        return plain_answer(l);
}

static int32_t status_answer(struct line *l, struct prvng_sink *output, struct prvng_job_status *ret_status)
{
        struct prvng_job_status status = {.struct_size = ret_status->struct_size};
        struct wire_message m;
        int32_t r = wire_get_i32(line_answer(l, &m));

        status.state = wire_get_u32(&m);
        status.exit_code = wire_get_i32(&m);
        status.output_offset = wire_get_u64(&m);
        get_sink(&m, output);
        line_over(l);
        if (r == PRVNG_DONE)
                memcpy(ret_status, &status, MIN((size_t)status.struct_size, sizeof(status)));
        return r;
}

static int32_t remote_job_status(struct prvng_call *call, const void *server, uint64_t n_server, const char *job,
                                 uint64_t offset, struct prvng_sink *output, struct prvng_job_status *ret_status)
{
        struct line *l = line_of(call);
        struct wire *w;

        if (ret_status->struct_size < PRVNG_JOB_STATUS_BASELINE)
                return below_baseline(call, "remote: a job status below the baseline");
        w = line_ask(l, WIRE_REMOTE_JOB_STATUS);
        wire_put_bytes(w, server ?: "", n_server);
        wire_put_text(w, job ?: "");
        wire_put_u64(w, offset);
        wire_put_u32(w, ret_status->struct_size);
        put_sink(w, output);
        return status_answer(l, output, ret_status);
}

static int32_t remote_job(struct prvng_call *call, const void *server, uint64_t n_server, const char *job,
                          uint32_t question)
{
        struct line *l = line_of(call);
        struct wire *w = line_ask(l, question);

        wire_put_bytes(w, server ?: "", n_server);
        wire_put_text(w, job ?: "");
        return plain_answer(l);
}

static int32_t remote_job_end(struct prvng_call *call, const void *server, uint64_t n_server, const char *job)
{
        return remote_job(call, server, n_server, job, WIRE_REMOTE_JOB_END);
}

static int32_t remote_job_forget(struct prvng_call *call, const void *server, uint64_t n_server, const char *job)
{
        return remote_job(call, server, n_server, job, WIRE_REMOTE_JOB_FORGET);
}

static int32_t remote_put_file(struct prvng_call *call, const void *server, uint64_t n_server, const char *path,
                               uint32_t mode, const void *data, uint64_t n_data)
{
        struct line *l = line_of(call);
        struct wire *w = line_ask(l, WIRE_REMOTE_PUT_FILE);

        wire_put_bytes(w, server ?: "", n_server);
        wire_put_text(w, path ?: "");
        wire_put_u32(w, mode);
        wire_put_bytes(w, data, n_data);
        return plain_answer(l);
}

const struct prvng_host_remote service_remote = {
        .struct_size = sizeof(service_remote),
        .run = remote_run,
        .job_start = remote_job_start,
        .job_status = remote_job_status,
        .job_end = remote_job_end,
        .job_forget = remote_job_forget,
        .put_file = remote_put_file,
};

/* --- prvng.host.spawn/1 --- */

/* False: it is none, and the call's record says so. */
static bool spawn_ok(struct prvng_call *call, const struct prvng_spawn *spawn)
{
        if (spawn && spawn->struct_size >= PRVNG_SPAWN_BASELINE && spawn->argv && spawn->argv[0])
                return true;
        below_baseline(call, "spawn: no argv, or its struct_size is too small");
        return false;
}

static void put_spawn(struct wire *w, const struct prvng_spawn *given)
{
        struct prvng_spawn s = {0};

        memcpy(&s, given, MIN((size_t)given->struct_size, sizeof(s)));
        wire_put_u32(w, s.struct_size);
        wire_put_u32(w, s.reserved);
        wire_put_list(w, s.argv);
        wire_put_list(w, s.environment);
        wire_put_text(w, s.folder);
        wire_put_bytes(w, s.input, s.n_input);
        wire_put_u64(w, s.max_output);
        wire_put_i64(w, s.timeout_ms);
}

static int32_t spawn_run(struct prvng_call *call, const struct prvng_spawn *spawn, struct prvng_sink *output,
                         struct prvng_sink *errors, int32_t *ret_exit_code)
{
        struct line *l = line_of(call);
        struct wire *w;

        if (!spawn_ok(call, spawn))
                return PRVNG_INTERNAL;
        w = line_ask(l, WIRE_SPAWN_RUN);
        put_spawn(w, spawn);
        put_sink(w, output);
        put_sink(w, errors);
        return run_answer(l, output, errors, ret_exit_code);
}

static int32_t spawn_job_start(struct prvng_call *call, const char *job, const struct prvng_spawn *spawn)
{
        struct line *l = line_of(call);
        struct wire *w;

        if (!spawn_ok(call, spawn))
                return PRVNG_INTERNAL;
        w = line_ask(l, WIRE_SPAWN_JOB_START);
        wire_put_text(w, job ?: "");
        put_spawn(w, spawn);
        return plain_answer(l);
}

static int32_t spawn_job_status(struct prvng_call *call, const char *job, uint64_t offset,
                                struct prvng_sink *output, struct prvng_job_status *ret_status)
{
        struct line *l = line_of(call);
        struct wire *w;

        if (ret_status->struct_size < PRVNG_JOB_STATUS_BASELINE)
                return below_baseline(call, "spawn: a job status below the baseline");
        w = line_ask(l, WIRE_SPAWN_JOB_STATUS);
        wire_put_text(w, job ?: "");
        wire_put_u64(w, offset);
        wire_put_u32(w, ret_status->struct_size);
        put_sink(w, output);
        return status_answer(l, output, ret_status);
}

static int32_t spawn_job_end(struct prvng_call *call, const char *job)
{
        struct line *l = line_of(call);

        wire_put_text(line_ask(l, WIRE_SPAWN_JOB_END), job ?: "");
        return plain_answer(l);
}

static int32_t spawn_job_forget(struct prvng_call *call, const char *job)
{
        struct line *l = line_of(call);

        wire_put_text(line_ask(l, WIRE_SPAWN_JOB_FORGET), job ?: "");
        return plain_answer(l);
}

const struct prvng_host_spawn service_spawn = {
        .struct_size = sizeof(service_spawn),
        .run = spawn_run,
        .job_start = spawn_job_start,
        .job_status = spawn_job_status,
        .job_end = spawn_job_end,
        .job_forget = spawn_job_forget,
};

/* --- prvng.host.workdir/1 and prvng.host.rate/1 --- */

static const char *workdir_answer(struct line *l)
{
        struct wire_message m;
        const char *path, *copy;

        line_answer(l, &m);
        wire_get_i32(&m);
        path = wire_get_text(&m);
        copy = path ? table_get()->intern(table_get(), path) : NULL;
        line_over(l);
        return copy;
}

static const char *workdir_state(const struct prvng_host *host, const char *plugin_name)
{
        struct line *l = line_of(NULL);

        wire_put_text(line_ask(l, WIRE_WORKDIR_STATE), plugin_name ?: "");
        return workdir_answer(l);
}

static const char *workdir_cache(const struct prvng_host *host, const char *plugin_name)
{
        struct line *l = line_of(NULL);

        wire_put_text(line_ask(l, WIRE_WORKDIR_CACHE), plugin_name ?: "");
        return workdir_answer(l);
}

static const char *workdir_task(struct prvng_call *call)
{
        struct line *l = line_of(call);

        line_ask(l, WIRE_WORKDIR_TASK);
        return workdir_answer(l);
}

const struct prvng_host_workdir service_workdir = {
        .struct_size = sizeof(service_workdir),
        .state = workdir_state,
        .cache = workdir_cache,
        .task = workdir_task,
};

static int32_t rate_acquire(struct prvng_call *call, const char *account, uint32_t requests_per_second)
{
        struct line *l = line_of(call);
        struct wire *w = line_ask(l, WIRE_RATE_ACQUIRE);

        wire_put_text(w, account ?: "");
        wire_put_u32(w, requests_per_second);
        return plain_answer(l);
}

static void rate_back_off(struct prvng_call *call, const char *account, int64_t retry_after_ms)
{
        struct line *l = line_of(call);
        struct wire *w = line_say(l, WIRE_BACK_OFF);

        wire_put_text(w, account ?: "");
        wire_put_i64(w, retry_after_ms);
        line_said(l);
}

const struct prvng_host_rate service_rate = {
        .struct_size = sizeof(service_rate),
        .acquire = rate_acquire,
        .back_off = rate_back_off,
};
