/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's outputs in the real world: records to streams, calls to workers, commits between them. */
#include "run/process.h"

#include "base/clock.h"

#include <sys/random.h>

void process_fail(struct engine_process *p, int condition, const char *message)
{
        if (p->error)
                return;
        p->error = condition;
        free(p->message);
        p->message = strdup(message ?: strerror(condition < 0 ? -condition : EIO));
}

/* Streams */

static struct run_stream *stream_of(struct engine_process *p, const struct run *run)
{
        for (uint32_t i = p->n_streams; i-- > 0;)
                if (p->streams[i].run == run)
                        return &p->streams[i];
        return NULL;
}

int driver_open_run(struct engine_process *p, struct run *run, struct stream *stream)
{
        if (p->n_streams == p->cap_streams) {
                uint32_t cap = p->cap_streams ? p->cap_streams * 2 : 8;
                struct run_stream *streams = realloc(p->streams, cap * sizeof(*streams));

                if (!streams)
                        return error_origin(-ENOMEM);
                p->streams = streams;
                p->cap_streams = cap;
        }
        p->streams[p->n_streams++] = (struct run_stream){.run = run, .stream = stream};
        return 0;
}

/* Makes the stream of a new run, in the store that it chose. */
static int open_new(struct engine_process *p, struct run *run)
{
        _cleanup_(cleanup_free) char *message = NULL;
        struct journal *journal;
        struct stream *fresh;
        int r;

        r = process_journal(p, run->store, &journal, &message);
        if (r) {
                process_fail(p, r, message);
                return r;
        }
        r = stream_open(journal, run->stream, NULL, NULL, &fresh);
        r = r ?: driver_open_run(p, run, fresh);
        if (r)
                process_fail(p, r, journal->message);
        return r;
}

static void append(void *userdata, struct run *run, struct record *r)
{
        struct engine_process *p = userdata;
        struct run_stream *s = run ? stream_of(p, run) : NULL;

        if (run && !s) { /* a new run: its first record */
                if (open_new(p, run))
                        return;
                s = stream_of(p, run);
        }
        stream_append(s ? s->stream : p->site_stream, r);
        if (!s)
                return;
        if (!s->log && r->type != RECORD_RUN)
                s->log = run_log_open(p->context->config, run);
        run_log_record(s->log, run, r);
}

static int commit_run(struct engine_process *p, struct run_stream *s)
{
        if (!s->stream->n_pending)
                return 0;
        s->first_seq = s->stream->seq - s->stream->n_pending + 1;
        if (p->hooks.on_record)
                buf_append(&s->lines, s->stream->pending.data, s->stream->pending.n);
        return stream_commit(s->stream);
}

/* Only what is sealed has a digest. No sync more than without: the stream is to be committed anyway. */
static void head(void *userdata, struct run *run, char ret_head[65])
{
        static const uint8_t none[32];
        struct engine_process *p = userdata;
        struct run_stream *s = stream_of(p, run);
        int r = s && !p->error ? commit_run(p, s) : 0;

        if (r)
                process_fail(p, r, s->stream->journal->message);
        hex_text(s ? s->stream->digest : none, 32, ret_head);
        ret_head[64] = 0;
}

static void ended(void *userdata, struct run *run)
{
        struct run_stream *s = stream_of(userdata, run);

        if (s)
                s->ended = true;
}

static void entropy(void *userdata, void *bytes, size_t n)
{
        struct engine_process *p = userdata;

        assert(n <= sizeof(p->random));
        if (p->n_random < n) {
                for (size_t got = 0; got < sizeof(p->random); got += 256) /* never cut short */
                        if (getrandom(p->random + got, 256, 0) != 256)
                                process_fail(p, -errno, "no random numbers");
                p->n_random = sizeof(p->random);
        }
        p->n_random -= n;
        memcpy(bytes, p->random + p->n_random, n);
        explicit_bzero(p->random + p->n_random, n);
}

/* Calls */

/* https://www.w3.org/TR/trace-context/: "00-" trace "-" span "-01" */
static void set_trace(struct job *job)
{
        char *p = mempcpy(job->trace, "00-", 3);

        hex_text(job->run_id.bytes, 16, p);
        p[32] = '-';
        hex_text(job->request_id.bytes, 8, p + 33);
        memcpy(p + 49, "-01", 4);
}

static void run_job(struct job *job)
{
        struct op_call *c = &job->call;
        struct op_reply *r = &job->reply;

        if (c->pub.attempt) /* here, and not on the loop's time */
                uid_text(&job->request_id, job->op_id);
        set_trace(job);
        switch ((enum engine_call_kind)job->kind) {
        case CALL_READ:
                op_read(c, job->request, job->n_request, r);
                break;
        case CALL_BEGIN:
                op_begin(c, job->verb, job->request, job->n_request, r);
                break;
        case CALL_POLL:
                op_poll(c, job->verb, job->request, job->n_request, job->token, job->n_token, r);
                break;
        case CALL_OBSERVE:
                op_observe(c, job->verb, job->request, job->n_request, job->token, job->n_token, r);
                break;
        case CALL_LIST:
                op_list(c, job->request, job->n_request, r);
                break;
        case CALL_EVALUATE:
                op_evaluate(c, job->token, job->request, job->n_request, r);
                break;
        case CALL_CANCEL:
                op_cancel(c, job->verb, job->request, job->n_request, job->token, job->n_token, r);
                break;
        }
}

static void on_progress(struct op_call *call, uint32_t permille, const char *message)
{
        struct engine_process *p = call->userdata;

        if (p->hooks.on_progress)
                p->hooks.on_progress(p->hooks.userdata, call->run, call->task, permille, message);
}

static struct job *job_new(struct engine_process *p, const struct engine_call *c)
{
        struct job *job = p->free_jobs;
        struct op_reply reply = OP_REPLY_NULL;

        if (job) {
                p->free_jobs = job->next;
                reply.result = job->reply.result; /* its memory is used again */
                reply.token = job->reply.token;
        } else {
                job = malloc(sizeof(*job));
        }
        if (!job)
                return NULL;
        *job = (struct job){
                .run = run_job,
                .owner = c->flight,
                .kind = (int)c->kind,
                .reply = reply,
                .verb = c->verb,
                .request = c->request,
                .n_request = c->n_request,
                .token = c->token,
                .n_token = c->token ? strlen(c->token) : 0,
                .run_id = c->run_id,
                .request_id = c->op_id,
        };
        op_call_init(&job->call, c->plugin, job->op_id, c->attempt, c->deadline_ms,
                     p->epoch, c->run, c->task);
        job->call.pub.trace_parent = job->trace;
        job->call.on_progress = on_progress;
        job->call.userdata = p;
        return job;
}

/* Until the next commit. */
static void hold(struct engine_process *p, struct job *job)
{
        p->n_jobs++;
        *p->held_last = job;
        p->held_last = &job->next;
}

static void call(void *userdata, const struct engine_call *c)
{
        struct engine_process *p = userdata;
        struct job *job = job_new(p, c);

        if (!job) {
                process_fail(p, -ENOMEM, NULL);
                return;
        }
        hold(p, job);
        engine_call_set_handle(c->flight, job);
}

struct job *driver_ask(struct engine_process *p, const struct engine_call *c,
                       void (*answered)(struct engine_process *p, struct job *job), void *owner)
{
        struct job *job = job_new(p, c);

        if (!job) {
                process_fail(p, -ENOMEM, NULL);
                return NULL;
        }
        job->answered = answered;
        job->owner = owner;
        hold(p, job);
        return job;
}

/* All workers were busy with other calls for all of its time: the plugin knows nothing of this one. It
 * is no failure of the task, hence the class of which many more tries are allowed. */
static void not_asked(struct job *job)
{
        bool begun = job->kind == CALL_POLL || job->kind == CALL_OBSERVE || job->kind == CALL_CANCEL;

        job->reply.answer = PRVNG_RATE_LIMITED;
        job->reply.effect = begun ? PRVNG_EFFECT_UNKNOWN : PRVNG_EFFECT_NONE;
        job->reply.message = strdup("all workers were busy; the site's configuration says how many "
                                    "there are (workers)");
}

static void cancel(void *userdata, struct flight *flight)
{
        struct engine_process *p = userdata;
        struct job *job = engine_call_handle(flight);

        if (!job)
                return;
        if (workers_withdraw(p->workers, job))
                not_asked(job);
        else
                op_call_cancel(&job->call);
}

static void prepare(void *userdata, const struct engine_call *c, struct op_reply *reply)
{
        struct engine_process *p = userdata;
        struct op_call op;

        op_call_init(&op, c->plugin, "", 1, c->deadline_ms, p->epoch, c->run, c->task);
        op_prepare(&op, c->verb, c->request, c->n_request, reply);
        op_call_deinit(&op);
}

const struct engine_ops driver_ops = {
        .prepare = prepare,
        .append = append,
        .call = call,
        .cancel = cancel,
        .entropy = entropy,
        .head = head,
        .ended = ended,
};

/* Keeps what memory is worth keeping for the next call. */
static void forget_reply(struct op_reply *r)
{
        free(steal(&r->message));
        free(steal(&r->field));
        buf_clear(&r->result);
        buf_clear(&r->token);
        if (r->result.cap + r->token.cap > 4096)
                op_reply_deinit(r);
}

/* The jobs that so many others, and more, come before. */
static void look_ahead(struct job *job, struct job *ret_ahead[RUN_FETCH_STEPS])
{
        for (unsigned step = 0; step < RUN_FETCH_STEPS; step++) {
                for (unsigned i = 0; i < RUN_FETCH_APART && job; i++)
                        job = job->next;
                ret_ahead[step] = job;
        }
}

static inline void fetch_ahead(struct job *ahead[RUN_FETCH_STEPS])
{
        for (unsigned step = 0; step < RUN_FETCH_STEPS; step++) {
                struct job *job = ahead[step];

                if (!job)
                        return;
                if (!job->answered)
                        engine_answer_soon(job->owner, step);
                ahead[step] = job->next;
        }
}

static bool take_answers(struct engine_process *p)
{
        struct job *job = workers_collect(p->workers), *next, *ahead[RUN_FETCH_STEPS];
        bool any = job != NULL;

        look_ahead(job, ahead);
        for (; job; job = next) {
                next = job->next;
                fetch_ahead(ahead);
                if (job->answered) {
                        job->answered(p, job);
                } else {
                        engine_call_set_handle(job->owner, NULL);
                        engine_answer(p->engine, job->owner, &job->reply);
                }
                op_call_deinit(&job->call);
                forget_reply(&job->reply);
                job->next = p->free_jobs;
                p->free_jobs = job;
                p->n_jobs--;
        }
        return any;
}

/* Answers that come one after another belong into one commit: who misses it waits for all of the next one. But
 * not for long: those that are here wait meanwhile. */
bool driver_collect(struct engine_process *p)
{
        int64_t until = 0;
        bool any = false;

        while (take_answers(p)) {
                any = true;
                if (!until)
                        until = clock_tick_us() + p->commit_us / 2;
                if (!workers_linger(p->workers, until))
                        break;
        }
        return any;
}

static void drop(struct job *job, bool with_call)
{
        for (struct job *next; job; job = next) {
                next = job->next;
                if (with_call)
                        op_call_deinit(&job->call);
                op_reply_deinit(&job->reply);
                free(job);
        }
}

void driver_drop_jobs(struct engine_process *p)
{
        drop(p->held, true);
        drop(p->left, true);
        drop(p->free_jobs, false);
        p->held = p->left = p->free_jobs = NULL;
        p->held_last = &p->held;
}

/* Committing */

/* Tells followers what became durable: the lines of the batch. */
static void publish(struct engine_process *p, const struct run *run, uint64_t first_seq,
                    const struct buf *lines)
{
        const char *line = buf_str(lines), *nl;

        for (uint64_t seq = first_seq; (nl = strchr(line, '\n')); seq++) {
                p->hooks.on_record(p->hooks.userdata, run->id_text, seq, line,
                                   (size_t)(nl + 1 - line));
                line = nl + 1;
        }
}

/* After all streams were committed: who reads that a run has ended finds its claims free. */
static void publish_all(struct engine_process *p)
{
        for (uint32_t i = 0; i < p->n_streams; i++) {
                struct run_stream *s = &p->streams[i];

                run_log_flush(s->log);
                if (s->lines.n)
                        publish(p, s->run, s->first_seq, &s->lines);
                buf_deinit(&s->lines);
        }
}

static void close_ended(struct engine_process *p)
{
        for (uint32_t i = p->n_streams; i-- > 0;) {
                if (!p->streams[i].ended)
                        continue;
                driver_snapshot_forget(p, p->streams[i].stream);
                stream_close(p->streams[i].stream);
                run_log_close(p->streams[i].log);
                run_unload(p->streams[i].run);
                p->streams[i] = p->streams[--p->n_streams];
        }
}

/* Makes everything appended so far durable, run streams before the site stream: a run that the site
 * stream names has its plan, an end that it names has happened. Then the calls that waited for it are
 * made. */
int driver_commit(struct engine_process *p)
{
        int64_t start = clock_tick_us();
        int r = p->error;

        /* For one job alone it does not pay: who waits beside a sync makes it slower. */
        if (p->held && p->held->next && r == 0)
                workers_expect(p->workers, p->commit_us);
        for (uint32_t i = 0; i < p->n_streams && r == 0; i++) {
                r = commit_run(p, &p->streams[i]);
                if (r)
                        process_fail(p, r, p->streams[i].stream->journal->message);
        }
        r = r ?: stream_commit(p->site_stream);
        if (r) {
                process_fail(p, r, p->journal->message);
                return r;
        }
        workers_submit(p->workers, p->held);
        if (p->held)
                p->commit_us = clock_tick_us() - start;
        p->held = NULL;
        p->held_last = &p->held;
        publish_all(p);
        close_ended(p);
        return 0;
}
