/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an isolated plugin asks of the core, on whatever thread waits for it. Nothing that comes is believed:
 * fields are read by wire_get_*, numbers are looked up, and what does not fit is rubbish.
 *
 * It works with the same host table that the plugin would have inside of the engine, so that limits, logs,
 * credentials and error records are the same.
 */
#include "plugin/isolate-inside.h"

#include "plugin/confine.h"

struct serving {
        struct isolated *i;
        struct wire *w;
        struct wire_message *m;
        struct prvng_call *call;
        struct prvng_document *document;
};

static const void *interface(const struct serving *s, const char *id)
{
        return s->i->table->get_interface(s->i->table, id);
}

/* The size of a struct as its writer knew it, of which we know that much. */
static uint32_t get_size(struct wire_message *m, size_t ours)
{
        uint32_t theirs = wire_get_u32(m);

        return theirs < ours ? theirs : (uint32_t)ours;
}

/* --- sinks: a limit comes with the question, what was written goes back with the answer --- */

struct host_sink {
        struct prvng_sink sink;
        struct buf buf;
        bool given;
};

static void cleanup_host_sink(struct host_sink *s)
{
        buf_deinit(&s->buf);
}

static struct prvng_sink *get_sink(struct wire_message *m, struct host_sink *s)
{
        uint64_t limit;

        *s = (struct host_sink){.buf = BUF_WIPES, .given = wire_get_u32(m) != 0};
        limit = wire_get_u64(m);
        s->sink = SINK(&s->buf, MIN(limit, WIRE_SINK_MAX));
        return s->given ? &s->sink : NULL;
}

static void put_sink(struct wire *w, const struct host_sink *s)
{
        if (!s->given)
                return;
        wire_put_i32(w, s->sink.error);
        wire_put_bytes(w, s->buf.data ?: "", s->buf.n);
}

static void answer_begin(struct serving *s, int32_t answer)
{
        wire_begin(s->w, WIRE_ANSWER);
        wire_put_i32(s->w, answer);
}

static bool answer(struct serving *s, int32_t class_)
{
        answer_begin(s, class_);
        wire_end(s->w);
        return true;
}

/* --- prvng.host.http/1 --- */

static struct prvng_http_session *session_get(struct isolated *i, uint32_t number)
{
        struct isolate_session *e = number && number <= ISOLATE_SESSIONS_MAX ? &i->sessions[number - 1] : NULL;
        struct prvng_http_session *session = NULL;

        pthread_mutex_lock(&i->session_lock);
        if (e && e->session && !e->ended) {
                session = e->session;
                e->users++;
        }
        pthread_mutex_unlock(&i->session_lock);
        return session;
}

/* Of whom nobody uses any more. Under the lock. */
static void session_end(struct isolated *i, struct isolate_session *e)
{
        const struct prvng_host_http *http = i->table->get_interface(i->table, PRVNG_HOST_HTTP);

        if (e->session && e->ended && e->users == 0) {
                http->session_free(e->session);
                *e = (struct isolate_session){0};
        }
}

static void session_put(struct isolated *i, uint32_t number)
{
        struct isolate_session *e = &i->sessions[number - 1];

        pthread_mutex_lock(&i->session_lock);
        e->users--;
        session_end(i, e);
        pthread_mutex_unlock(&i->session_lock);
}

void isolate_sessions_end(struct isolated *i)
{
        pthread_mutex_lock(&i->session_lock);
        for (size_t k = 0; k < N_ELEMENTS(i->sessions); k++) {
                i->sessions[k].ended = i->sessions[k].session != NULL;
                session_end(i, &i->sessions[k]);
        }
        pthread_mutex_unlock(&i->session_lock);
}

static uint32_t session_add(struct isolated *i, struct prvng_http_session *session)
{
        uint32_t number = 0;

        pthread_mutex_lock(&i->session_lock);
        for (uint32_t k = 0; !number && k < N_ELEMENTS(i->sessions); k++) {
                if (i->sessions[k].session)
                        continue;
                i->sessions[k].session = session;
                number = k + 1;
        }
        pthread_mutex_unlock(&i->session_lock);
        return number;
}

static bool http_session_new(struct serving *s)
{
        const struct prvng_host_http *http = interface(s, PRVNG_HOST_HTTP);
        _cleanup_(cleanup_buf) struct buf why = BUF_NULL;
        struct prvng_http_session *session = NULL;
        uint32_t number = 0;
        uint64_t n;
        const void *options = wire_get_bytes(s->m, &n);
        int32_t r;

        if (!wire_done(s->m) || !options)
                return false;
        if (!confine_session(&s->i->view, options, n, &why)) {
                s->i->table->log(s->i->table, PRVNG_LOG_ERROR, "http", buf_str(&why));
                r = PRVNG_PERMANENT;
        } else {
                r = http->session_new(s->i->table, options, n, &session);
        }
        if (r == PRVNG_DONE && !(number = session_add(s->i, session))) {
                http->session_free(session);
                s->i->table->log(s->i->table, PRVNG_LOG_ERROR, "http", "more sessions than 1024 at once");
                r = PRVNG_PERMANENT;
        }
        answer_begin(s, r);
        wire_put_u32(s->w, number);
        wire_end(s->w);
        return true;
}

static bool http_session_free(struct serving *s)
{
        uint32_t number = wire_get_u32(s->m);
        struct isolate_session *e;

        if (!wire_done(s->m) || !session_get(s->i, number))
                return false;
        e = &s->i->sessions[number - 1];
        pthread_mutex_lock(&s->i->session_lock);
        e->ended = true;
        pthread_mutex_unlock(&s->i->session_lock);
        session_put(s->i, number);
        return answer(s, PRVNG_DONE);
}

static bool http_secret_set(struct serving *s)
{
        const struct prvng_host_http *http = interface(s, PRVNG_HOST_HTTP);
        uint32_t number = wire_get_u32(s->m);
        const char *name = wire_get_text(s->m), *sealed;
        uint64_t n;
        const void *value = wire_get_bytes(s->m, &n);
        struct prvng_http_session *session;
        int32_t r;

        if (!wire_done(s->m) || !name || !(session = session_get(s->i, number)))
                return false;
        sealed = confine_unseal(&s->i->view, value, n);
        r = http->secret_set(session, name, sealed ?: value, sealed ? strlen(sealed) : n);
        session_put(s->i, number);
        explicit_bzero((void *)(uintptr_t)(value ?: name), n); /* where it lay in the frame */
        return answer(s, r);
}

static bool http_send(struct serving *s)
{
        const struct prvng_host_http *http = interface(s, PRVNG_HOST_HTTP);
        struct prvng_http_request q = {0};
        struct prvng_http_response response = {0};
        _cleanup_(cleanup_host_sink) struct host_sink headers = {0}, body = {0};
        _cleanup_(cleanup_free) const char **list = NULL;
        struct prvng_http_session *session;
        struct prvng_sink *to_headers, *to_body;
        uint32_t number = wire_get_u32(s->m);
        int32_t r;

        q.struct_size = get_size(s->m, sizeof(q));
        q.reserved = wire_get_u32(s->m);
        q.method = wire_get_text(s->m);
        q.target = wire_get_text(s->m);
        q.headers = list = wire_get_list(s->m);
        q.body = wire_get_bytes(s->m, &q.n_body);
        q.timeout_ms = wire_get_i64(s->m);
        response.struct_size = get_size(s->m, sizeof(response));
        to_headers = get_sink(s->m, &headers);
        to_body = get_sink(s->m, &body);
        if (!wire_done(s->m) || !s->call || !(session = session_get(s->i, number)))
                return false;
        r = http->send(s->call, session, &q, &response, to_headers, to_body);
        session_put(s->i, number);
        answer_begin(s, r);
        wire_put_i32(s->w, response.status);
        wire_put_i64(s->w, response.retry_after_ms);
        wire_put_i64(s->w, response.date_ms);
        put_sink(s->w, &headers);
        put_sink(s->w, &body);
        wire_end(s->w);
        return true;
}

/* --- prvng.host.remote/1 --- */

/* False, with the answer: the plugin may not. */
static bool may_reach(struct serving *s, const void *server, uint64_t n_server, int32_t *ret_answer)
{
        _cleanup_(cleanup_buf) struct buf why = BUF_NULL;

        if (confine_reach(&s->i->view, server, n_server, &why))
                return true;
        *ret_answer = op_call_fail(s->call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, EACCES, "%s", buf_str(&why));
        return false;
}

static bool remote_run(struct serving *s)
{
        const struct prvng_host_remote *remote = interface(s, PRVNG_HOST_REMOTE);
        _cleanup_(cleanup_host_sink) struct host_sink output = {0}, errors = {0};
        _cleanup_(cleanup_free) const char **argv = NULL;
        struct prvng_sink *to_output, *to_errors;
        uint64_t n_server, n_input;
        const void *server = wire_get_bytes(s->m, &n_server), *input;
        int32_t r, exit_code = 0;

        argv = wire_get_list(s->m);
        input = wire_get_bytes(s->m, &n_input);
        to_output = get_sink(s->m, &output);
        to_errors = get_sink(s->m, &errors);
        if (!wire_done(s->m) || !s->call || !server || !argv || !argv[0])
                return false;
        if (may_reach(s, server, n_server, &r))
                r = remote->run(s->call, server, n_server, argv, input, n_input, to_output, to_errors,
                                &exit_code);
        answer_begin(s, r);
        wire_put_i32(s->w, exit_code);
        put_sink(s->w, &output);
        put_sink(s->w, &errors);
        wire_end(s->w);
        return true;
}

static bool remote_job_start(struct serving *s)
{
        const struct prvng_host_remote *remote = interface(s, PRVNG_HOST_REMOTE);
        uint64_t n_server, n_script;
        const void *server = wire_get_bytes(s->m, &n_server), *script;
        const char *job = wire_get_text(s->m);
        int32_t r;

        script = wire_get_bytes(s->m, &n_script);
        if (!wire_done(s->m) || !s->call || !server || !job || !script)
                return false;
        return answer(s, may_reach(s, server, n_server, &r)
                                 ? remote->job_start(s->call, server, n_server, job, script, n_script)
                                 : r);
}

static void answer_status(struct serving *s, int32_t r, const struct prvng_job_status *status,
                          const struct host_sink *output)
{
        answer_begin(s, r);
        wire_put_u32(s->w, status->state);
        wire_put_i32(s->w, status->exit_code);
        wire_put_u64(s->w, status->output_offset);
        put_sink(s->w, output);
        wire_end(s->w);
}

static bool remote_job_status(struct serving *s)
{
        const struct prvng_host_remote *remote = interface(s, PRVNG_HOST_REMOTE);
        _cleanup_(cleanup_host_sink) struct host_sink output = {0};
        struct prvng_job_status status = {0};
        struct prvng_sink *to_output;
        uint64_t n_server, offset;
        const void *server = wire_get_bytes(s->m, &n_server);
        const char *job = wire_get_text(s->m);
        int32_t r;

        offset = wire_get_u64(s->m);
        status.struct_size = get_size(s->m, sizeof(status));
        to_output = get_sink(s->m, &output);
        if (!wire_done(s->m) || !s->call || !server || !job)
                return false;
        if (may_reach(s, server, n_server, &r))
                r = remote->job_status(s->call, server, n_server, job, offset, to_output, &status);
        answer_status(s, r, &status, &output);
        return true;
}

static bool remote_job(struct serving *s, bool end)
{
        const struct prvng_host_remote *remote = interface(s, PRVNG_HOST_REMOTE);
        uint64_t n_server;
        const void *server = wire_get_bytes(s->m, &n_server);
        const char *job = wire_get_text(s->m);
        int32_t r;

        if (!wire_done(s->m) || !s->call || !server || !job)
                return false;
        if (may_reach(s, server, n_server, &r))
                r = end ? remote->job_end(s->call, server, n_server, job)
                        : remote->job_forget(s->call, server, n_server, job);
        return answer(s, r);
}

static bool remote_put_file(struct serving *s)
{
        const struct prvng_host_remote *remote = interface(s, PRVNG_HOST_REMOTE);
        uint64_t n_server, n;
        const void *server = wire_get_bytes(s->m, &n_server), *data;
        const char *path = wire_get_text(s->m);
        uint32_t mode = wire_get_u32(s->m);
        int32_t r;

        data = wire_get_bytes(s->m, &n);
        if (!wire_done(s->m) || !s->call || !server || !path)
                return false;
        return answer(s, may_reach(s, server, n_server, &r)
                                 ? remote->put_file(s->call, server, n_server, path, mode, data, n)
                                 : r);
}

/* --- prvng.host.spawn/1 --- */

struct spawning {
        struct prvng_spawn spawn;
        const char **argv, **environment;
};

static void cleanup_spawning(struct spawning *s)
{
        free(s->argv);
        free(s->environment);
}

static bool get_spawn(struct wire_message *m, struct spawning *s)
{
        *s = (struct spawning){0};
        s->spawn.struct_size = get_size(m, sizeof(s->spawn));
        s->spawn.reserved = wire_get_u32(m);
        s->spawn.argv = s->argv = wire_get_list(m);
        s->spawn.environment = s->environment = wire_get_list(m);
        s->spawn.folder = wire_get_text(m);
        s->spawn.input = wire_get_bytes(m, &s->spawn.n_input);
        s->spawn.max_output = wire_get_u64(m);
        s->spawn.max_output = MIN(s->spawn.max_output, WIRE_SINK_MAX);
        s->spawn.timeout_ms = wire_get_i64(m);
        return !m->bad && s->argv && s->argv[0];
}

/* False, with the answer: the plugin may not. */
static bool may_run(struct serving *s, const char *program, int32_t *ret_answer)
{
        _cleanup_(cleanup_buf) struct buf why = BUF_NULL;

        if (confine_program(&s->i->view, program, &why))
                return true;
        *ret_answer = op_call_fail(s->call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, EACCES, "%s", buf_str(&why));
        return false;
}

static bool spawn_run(struct serving *s)
{
        const struct prvng_host_spawn *spawn = interface(s, PRVNG_HOST_SPAWN);
        _cleanup_(cleanup_host_sink) struct host_sink output = {0}, errors = {0};
        _cleanup_(cleanup_spawning) struct spawning q;
        bool ok = get_spawn(s->m, &q);
        struct prvng_sink *to_output = get_sink(s->m, &output), *to_errors = get_sink(s->m, &errors);
        int32_t r, exit_code = 0;

        if (!ok || !wire_done(s->m) || !s->call)
                return false;
        if (may_run(s, q.argv[0], &r))
                r = spawn->run(s->call, &q.spawn, to_output, to_errors, &exit_code);
        answer_begin(s, r);
        wire_put_i32(s->w, exit_code);
        put_sink(s->w, &output);
        put_sink(s->w, &errors);
        wire_end(s->w);
        return true;
}

static bool spawn_job_start(struct serving *s)
{
        const struct prvng_host_spawn *spawn = interface(s, PRVNG_HOST_SPAWN);
        _cleanup_(cleanup_spawning) struct spawning q = {0};
        const char *job = wire_get_text(s->m);
        bool ok = get_spawn(s->m, &q);
        int32_t r;

        if (!ok || !wire_done(s->m) || !s->call || !job)
                return false;
        return answer(s, may_run(s, q.argv[0], &r) ? spawn->job_start(s->call, job, &q.spawn) : r);
}

static bool spawn_job_status(struct serving *s)
{
        const struct prvng_host_spawn *spawn = interface(s, PRVNG_HOST_SPAWN);
        _cleanup_(cleanup_host_sink) struct host_sink output = {0};
        struct prvng_job_status status = {0};
        const char *job = wire_get_text(s->m);
        uint64_t offset = wire_get_u64(s->m);
        struct prvng_sink *to_output;
        int32_t r;

        status.struct_size = get_size(s->m, sizeof(status));
        to_output = get_sink(s->m, &output);
        if (!wire_done(s->m) || !s->call || !job)
                return false;
        r = spawn->job_status(s->call, job, offset, to_output, &status);
        answer_status(s, r, &status, &output);
        return true;
}

static bool spawn_job(struct serving *s, bool end)
{
        const struct prvng_host_spawn *spawn = interface(s, PRVNG_HOST_SPAWN);
        const char *job = wire_get_text(s->m);

        if (!wire_done(s->m) || !s->call || !job)
                return false;
        return answer(s, end ? spawn->job_end(s->call, job) : spawn->job_forget(s->call, job));
}

/* --- prvng.host.workdir/1 and prvng.host.rate/1 --- */

static bool workdir(struct serving *s, enum wire_question question)
{
        const struct prvng_host_workdir *w = interface(s, PRVNG_HOST_WORKDIR);
        const char *name = question == WIRE_WORKDIR_TASK ? "" : wire_get_text(s->m), *path;

        if (!wire_done(s->m) || (question == WIRE_WORKDIR_TASK && !s->call) || !name)
                return false;
        path = question == WIRE_WORKDIR_TASK    ? w->task(s->call)
               : question == WIRE_WORKDIR_STATE ? w->state(s->i->table, name)
                                                : w->cache(s->i->table, name);
        answer_begin(s, PRVNG_DONE);
        wire_put_text(s->w, path);
        wire_end(s->w);
        return true;
}

static bool rate_acquire(struct serving *s)
{
        const struct prvng_host_rate *rate = interface(s, PRVNG_HOST_RATE);
        const char *account = wire_get_text(s->m);
        uint32_t n = wire_get_u32(s->m);

        if (!wire_done(s->m) || !s->call || !account)
                return false;
        return answer(s, rate->acquire(s->call, account, n));
}

static bool rate_back_off(struct serving *s)
{
        const struct prvng_host_rate *rate = interface(s, PRVNG_HOST_RATE);
        const char *account = wire_get_text(s->m);
        int64_t ms = wire_get_i64(s->m);

        if (!wire_done(s->m) || !s->call || !account || !rate)
                return false;
        rate->back_off(s->call, account, ms);
        return true;
}

/* --- prvng.host.document/1 --- */

static int32_t value(const struct prvng_host_document *table, struct prvng_document *d, uint8_t event,
                     struct wire_message *m, const struct prvng_position *at)
{
        const void *data;
        uint64_t n, bits;
        double real;

        switch (event) {
        case WIRE_MAP_BEGIN:
                return table->map_begin(d, at);
        case WIRE_LIST_BEGIN:
                return table->list_begin(d, at);
        case WIRE_END:
                return table->end(d, at);
        case WIRE_KEY:
                data = wire_get_bytes(m, &n);
                return data ? table->key(d, data, n, at) : (m->bad = true);
        case WIRE_STRING:
                data = wire_get_bytes(m, &n);
                return data ? table->string(d, data, n, at) : (m->bad = true);
        case WIRE_INTEGER:
                return table->integer(d, wire_get_i64(m), at);
        case WIRE_REAL:
                bits = wire_get_u64(m);
                memcpy(&real, &bits, sizeof(real));
                return table->real(d, real, at);
        case WIRE_BOOLEAN:
                return table->boolean(d, wire_get_i32(m), at);
        case WIRE_NULL:
                return table->null(d, at);
        default:
                m->bad = true;
                return PRVNG_INTERNAL;
        }
}

/* A batch of events; answers with the builder's last word. */
static bool document(struct serving *s)
{
        const struct prvng_host_document *table = interface(s, PRVNG_HOST_DOCUMENT);
        struct wire_message *m = s->m;
        const char *file = NULL;
        int32_t r = PRVNG_DONE, k;

        if (!s->document)
                return false;
        while (!m->bad && m->at < m->end) {
                uint8_t event = wire_get_u8(m), which;
                struct prvng_position at = {.line = wire_get_u32(m)};

                at.column = wire_get_u32(m);
                which = wire_get_u8(m);
                if (which == 2)
                        file = wire_get_text(m);
                at.file = which ? file : NULL;
                if (m->bad || (which == 2 && !file))
                        return false;
                if (event == WIRE_PROBLEM) {
                        const char *message = wire_get_text(m), *snippet = wire_get_text(m);

                        if (m->bad || !message)
                                return false;
                        table->problem(s->document, &at, message, snippet);
                        continue;
                }
                k = value(table, s->document, event, m, &at);
                r = r < 0 ? r : k;
        }
        return !m->bad && answer(s, MIN(r, 0));
}

/* --- what has no answer --- */

static bool log_(struct serving *s)
{
        int32_t level = wire_get_i32(s->m);
        const char *topic = wire_get_text(s->m), *message = wire_get_text(s->m);

        if (!wire_done(s->m))
                return false;
        s->i->table->log(s->i->table, level, topic, message);
        return true;
}

static bool error(struct serving *s)
{
        struct prvng_error e = {.struct_size = sizeof(e)};

        e.error_class = wire_get_i32(s->m);
        e.code = wire_get_i32(s->m);
        e.retry_after_ms = wire_get_i64(s->m);
        e.effect = wire_get_u32(s->m);
        e.status = wire_get_i32(s->m);
        e.message = wire_get_text(s->m);
        e.field = wire_get_text(s->m);
        if (!wire_done(s->m) || !s->call)
                return false;
        s->i->table->error(s->call, &e);
        return true;
}

static bool progress(struct serving *s)
{
        uint32_t permille = wire_get_u32(s->m);
        const char *message = wire_get_text(s->m);

        if (!wire_done(s->m) || !s->call)
                return false;
        s->i->table->progress(s->call, permille, message);
        return true;
}

static bool ask_again(struct serving *s)
{
        int64_t ms = wire_get_i64(s->m);

        if (!wire_done(s->m) || !s->call)
                return false;
        s->i->table->ask_again(s->call, ms);
        return true;
}

static bool ask(struct serving *s)
{
        uint32_t question = wire_get_u32(s->m);
        const enum wire_host host = question <= WIRE_HTTP_SEND           ? WIRE_HOST_HTTP
                                    : question <= WIRE_REMOTE_PUT_FILE   ? WIRE_HOST_REMOTE
                                    : question <= WIRE_SPAWN_JOB_FORGET  ? WIRE_HOST_SPAWN
                                    : question <= WIRE_WORKDIR_TASK      ? WIRE_HOST_WORKDIR
                                    : question == WIRE_RATE_ACQUIRE      ? WIRE_HOST_RATE
                                                                         : WIRE_HOST_DOCUMENT;

        if (!interface(s, wire_hosts[host])) /* the plugin was told that there is none */
                return false;
        switch (question) {
        case WIRE_HTTP_SESSION_NEW:
                return http_session_new(s);
        case WIRE_HTTP_SESSION_FREE:
                return http_session_free(s);
        case WIRE_HTTP_SECRET_SET:
                return http_secret_set(s);
        case WIRE_HTTP_SEND:
                return http_send(s);
        case WIRE_REMOTE_RUN:
                return remote_run(s);
        case WIRE_REMOTE_JOB_START:
                return remote_job_start(s);
        case WIRE_REMOTE_JOB_STATUS:
                return remote_job_status(s);
        case WIRE_REMOTE_JOB_END:
        case WIRE_REMOTE_JOB_FORGET:
                return remote_job(s, question == WIRE_REMOTE_JOB_END);
        case WIRE_REMOTE_PUT_FILE:
                return remote_put_file(s);
        case WIRE_SPAWN_RUN:
                return spawn_run(s);
        case WIRE_SPAWN_JOB_START:
                return spawn_job_start(s);
        case WIRE_SPAWN_JOB_STATUS:
                return spawn_job_status(s);
        case WIRE_SPAWN_JOB_END:
        case WIRE_SPAWN_JOB_FORGET:
                return spawn_job(s, question == WIRE_SPAWN_JOB_END);
        case WIRE_WORKDIR_STATE:
        case WIRE_WORKDIR_CACHE:
        case WIRE_WORKDIR_TASK:
                return workdir(s, (enum wire_question)question);
        case WIRE_RATE_ACQUIRE:
                return rate_acquire(s);
        case WIRE_DOCUMENT:
                return document(s);
        default:
                return false;
        }
}

bool isolate_serve(struct isolated *i, struct wire *w, struct wire_message *m, struct prvng_call *call,
                   struct prvng_document *d)
{
        struct serving s = {i, w, m, call, d};

        switch (m->type) {
        case WIRE_ASK:
                return ask(&s);
        case WIRE_LOG:
                return log_(&s);
        case WIRE_ERROR:
                return error(&s);
        case WIRE_PROGRESS:
                return progress(&s);
        case WIRE_ASK_AGAIN:
                return ask_again(&s);
        case WIRE_BACK_OFF:
                return rate_back_off(&s);
        default:
                return false;
        }
}
