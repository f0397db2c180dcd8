/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng.op/1 for taskservs made of scripts.
 *
 * The job of an operation is named by its op id, so observe() needs no token. The token,
 * "1 JOB OFFSET TRIES", says from where the job's output is read, and how often the health check has
 * failed. OFFSET stays WINDOW bytes behind the end of the output: each poll reads the last lines again,
 * which costs little and means that nothing has to be remembered between polls; most jobs say less
 * than WINDOW, and their token never changes.
 */
#include "internal.h"

#include <inttypes.h>
#include <stdio.h>

#define TOKEN_FORMAT "1"
#define WINDOW 65536u
#define CHUNK 262144u /* what job_status() hands out at most */
#define SINK_MAX (2u * 1024u * 1024u)
#define POLL_MS 300
#define HEALTH_AGAIN_MS 1000
#define JOBS "/var/lib/prvng/jobs"

/* One call into an operation. */
struct operation {
        const struct instance *i;
        struct prvng_call *call;
        const char *verb;
        struct request request;
};

/* How the job is, with the end of its output. */
struct job {
        struct prvng_job_status status;
        uint64_t from; /* where what was read begins */
        struct said said;
};

struct token {
        uint64_t offset;
        uint64_t tries; /* of the health check */
};

#define JOB_NULL ((struct job){.status = {.struct_size = sizeof(struct prvng_job_status)}})

static void operation_deinit(struct operation *o)
{
        request_deinit(&o->request);
}

static void job_deinit(struct job *j)
{
        said_deinit(&j->said);
}

static int32_t operation_init(struct operation *o, struct instance *i, struct prvng_call *call,
                              const char *verb, const void *request, uint64_t n_request)
{
        static const char *const verbs[] = {"create", "update", "delete", "check"};

        *o = (struct operation){.i = i, .call = call, .verb = verb};
        for (size_t k = 0; k < N_ELEMENTS(verbs); k++) {
                if (strcmp(verb, verbs[k]) == 0)
                        return request_parse(i, call, request, n_request, &o->request);
        }
        return failure(i, call, PRVNG_UNSUPPORTED, PRVNG_EFFECT_NONE, NULL,
                       "taskserv %s cannot '%s'; it can create, update, delete and check",
                       i->taskserv->name, verb);
}

static bool is(const struct operation *o, const char *verb)
{
        return strcmp(o->verb, verb) == 0;
}

/* ---- tokens ---- */

static void token_text(const struct operation *o, const struct token *token, char ret_text[256])
{
        snprintf(ret_text, 256, TOKEN_FORMAT " %.120s %" PRIu64 " %" PRIu64, o->call->op_id,
                 token->offset, token->tries);
}

/* Only what token_text() writes is a token: so it is parsed, and written again. */
static bool token_parse(const struct operation *o, const void *data, uint64_t n_data,
                        struct token *ret_token)
{
        char text[256], again[256];
        struct token token;

        if (n_data == 0 || n_data >= sizeof(text))
                return false;
        memcpy(text, data, n_data);
        text[n_data] = 0;
        if (sscanf(text, TOKEN_FORMAT " %*s %" SCNu64 " %" SCNu64, &token.offset, &token.tries) != 2)
                return false;
        token_text(o, &token, again);
        if (strlen(again) != n_data || memcmp(again, data, n_data) != 0)
                return false;
        *ret_token = token;
        return true;
}

static int32_t pending(const struct operation *o, struct prvng_sink *sink,
                       const struct token *token, int64_t again_ms)
{
        char text[256];

        token_text(o, token, text);
        if (o->i->host->sink_write(sink, text, strlen(text)) < 0)
                return failure(o->i, o->call, PRVNG_INTERNAL, PRVNG_EFFECT_UNKNOWN, NULL,
                               "the token could not be written");
        o->i->host->ask_again(o->call, again_ms);
        return PRVNG_PENDING;
}

/* ---- jobs ---- */

/* Asks once, from `offset` on. */
static int32_t job_ask(const struct operation *o, uint64_t offset, struct job *j)
{
        struct prvng_sink *sink = o->i->host->sink_new(SINK_MAX);
        const char *output;
        uint64_t n = 0;
        int32_t r;

        if (!sink)
                return out_of_memory(o->i, o->call);
        r = o->i->remote.job_status(o->call, o->request.server, strlen(o->request.server),
                                    o->call->op_id, offset, sink, &j->status);
        output = o->i->host->sink_data(sink, &n);
        if (r == PRVNG_DONE) {
                said_deinit(&j->said);
                j->from = offset;
                r = said_parse(output, n, &j->said) == 0 ? PRVNG_DONE : out_of_memory(o->i, o->call);
        }
        o->i->host->sink_free(sink);
        return r;
}

/* True if there may be more output behind what was read. */
static bool job_more(const struct job *j)
{
        return j->status.output_offset - j->from >= CHUNK;
}

/* Asks until the end of the output is read. */
static int32_t job_ask_all(const struct operation *o, uint64_t offset, struct job *j)
{
        int32_t r = job_ask(o, offset, j);

        while (r == PRVNG_DONE && job_more(j) && j->status.state != PRVNG_JOB_RUNNING)
                r = job_ask(o, j->status.output_offset - WINDOW, j);
        return r;
}

static int32_t job_start(const struct operation *o, struct prvng_sink *token)
{
        const struct taskserv *t = o->i->taskserv;
        const char *script = is(o, "delete")                 ? t->remove
                             : is(o, "update") && t->update ? t->update
                                                            : t->install;
        _cleanup_(cleanup_free) char *text = script_make(o->i, &o->request, script);
        int32_t r;

        if (!text)
                return out_of_memory(o->i, o->call);
        r = o->i->remote.job_start(o->call, o->request.server, strlen(o->request.server),
                                   o->call->op_id, text, strlen(text));
        if (r != PRVNG_DONE)
                return r;
        return pending(o, token, &(struct token){0}, POLL_MS);
}

/* Says why a job that ended did not do its work. */
static int32_t job_failed(const struct operation *o, const struct job *j)
{
        const struct said *s = &j->said;
        const char *why = s->error ? s->error : s->transient;
        bool killed = j->status.state == PRVNG_JOB_KILLED;
        bool transient = killed || s->transient || j->status.exit_code == 75;
        const json_t *jobs = json_object_get(
                json_object_get(json_object_get(o->request.json, "reach"), "reach"), "jobs");
        char how[128];

        if (killed && j->status.exit_code > 0)
                snprintf(how, sizeof(how), "was killed by signal %d", j->status.exit_code);
        else if (killed)
                snprintf(how, sizeof(how), "was killed, or the server was restarted");
        else
                snprintf(how, sizeof(how), "failed with exit code %d", j->status.exit_code);
        return failure(o->i, o->call, transient ? PRVNG_TRANSIENT : PRVNG_PERMANENT,
                       PRVNG_EFFECT_PARTIAL, NULL,
                       "taskserv %s on %s: step \"%s\" %s%s%s\n%s\n"
                       "The whole log: prvng batch logs %s %s\n"
                       "To run just this step again: prvng server exec %s -- %s/%s/run",
                       o->i->taskserv->name, o->request.server_name, s->step ? s->step : o->verb,
                       how, why ? ": " : ". It said last:", why ? why : "", s->tail,
                       o->call->run, o->call->task, o->request.server_name,
                       json_is_string(jobs) ? json_string_value(jobs) : JOBS, o->call->op_id);
}

/* ---- looking ---- */

/* Runs a command of ours in the server. Output (stdout) is parsed. */
static int32_t run(const struct operation *o, const char *const *argv, const char *input,
                   struct said *ret_said, int32_t *ret_code, char **ret_errors)
{
        const struct prvng_host *host = o->i->host;
        struct prvng_sink *output = host->sink_new(SINK_MAX), *errors = host->sink_new(SINK_MAX);
        const char *text;
        uint64_t n = 0;
        int32_t r;

        if (!output || !errors) {
                r = out_of_memory(o->i, o->call);
        } else {
                r = o->i->remote.run(o->call, o->request.server, strlen(o->request.server), argv,
                                     input, strlen(input), output, errors, ret_code);
                text = host->sink_data(output, &n);
                if (r == PRVNG_DONE && said_parse(text, n, ret_said) < 0)
                        r = out_of_memory(o->i, o->call);
                text = host->sink_data(errors, &n);
                if (r == PRVNG_DONE && ret_errors && !(*ret_errors = strdup(text)))
                        r = out_of_memory(o->i, o->call);
        }
        host->sink_free(output);
        host->sink_free(errors);
        return r;
}

/* Runs the check script. It comes on stdin, so that parameters are in no process list. */
static int32_t look(const struct operation *o, struct said *ret_said)
{
        static const char *const argv[] = {
                "/bin/sh", "-ec", "script=$(cat); exec </dev/null; eval \"$script\"", NULL};
        _cleanup_(cleanup_free) char *text =
                script_make(o->i, &o->request, o->i->taskserv->check);
        _cleanup_(cleanup_free) char *errors = NULL;
        int32_t r, code = 0;

        if (!text)
                return out_of_memory(o->i, o->call);
        r = run(o, argv, text, ret_said, &code, &errors);
        if (r == PRVNG_DONE && (code != 0 || (!ret_said->absent && !ret_said->present)))
                return failure(o->i, o->call, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, NULL,
                               "taskserv %s on %s: it could not be found out how it is: the check "
                               "ended with exit code %d. %.1000s",
                               o->i->taskserv->name, o->request.server_name, code,
                               ret_said->error ? ret_said->error : errors);
        return r;
}

/* DONE if the health check succeeds (or there is none), PENDING if it fails, with what it said. */
static int32_t health(const struct operation *o, char **ret_why)
{
        _cleanup_(cleanup_free) char *errors = NULL;
        char timeout[32];
        const char *const argv[] = {"timeout", "-k", "5", timeout, "/bin/sh", "-c",
                                    o->i->health_command, NULL};
        struct said said = {0};
        int32_t r, code = 0;

        if (!o->i->health_command)
                return PRVNG_DONE;
        snprintf(timeout, sizeof(timeout), "%" PRId64, o->i->health_timeout_s);
        r = run(o, argv, "", &said, &code, &errors);
        if (r == PRVNG_DONE && code != 0) {
                r = PRVNG_PENDING;
                if (ret_why && asprintf(ret_why, "exit code %d: %.600s%s%.600s", code,
                                        said.tail ? said.tail : "", *errors ? "\n" : "",
                                        errors) < 0)
                        *ret_why = NULL;
        }
        said_deinit(&said);
        return r;
}

/* ---- results ---- */

static json_t *result_new(const struct operation *o, const struct said *said)
{
        json_t *result = json_pack("{s:s, s:s}", "name", o->i->taskserv->name, "server",
                                   o->request.server_name);

        if (!result)
                return NULL;
        if (!is(o, "delete"))
                json_object_set(result, "parameters", o->request.parameters);
        json_object_update_missing(result, said->result);
        return result;
}

static int32_t finish(const struct operation *o, const struct said *said, int32_t answer,
                      struct prvng_sink *sink)
{
        _cleanup_(cleanup_json) json_t *result = result_new(o, said);
        int32_t r = reply_json(o->i, o->call, sink, result);

        return r == PRVNG_DONE ? answer : r;
}

/* The verb check, and read(): the present state with its drift. */
static int32_t report(const struct operation *o, const struct said *said, struct prvng_sink *sink)
{
        _cleanup_(cleanup_json) json_t *result = result_new(o, said);
        int32_t r;

        if (result && said->absent)
                json_array_append_new(said->drift,
                                      json_pack("{s:s, s:b, s:b}", "attribute", "installed",
                                                "wanted", 1, "found", 0));
        if (result)
                json_object_set(result, "drift", said->drift);
        r = reply_json(o->i, o->call, sink, result);
        if (r != PRVNG_DONE)
                return r;
        return json_array_size(said->drift) == 0 ? PRVNG_UNCHANGED : PRVNG_DONE;
}

/* ---- prvng.op/1 ---- */

static int32_t op_prepare(void *instance, struct prvng_call *call, const char *verb,
                          const void *task, uint64_t n_task, struct prvng_sink *sink)
{
        struct instance *i = instance;
        _cleanup_(cleanup_json) json_t *request = NULL;
        int32_t r = request_make(i, call, verb, task, n_task, &request);

        return r == PRVNG_DONE ? reply_json(i, call, sink, request) : r;
}

/* No trace of the job: is there anything to do at all? */
static int32_t begin_fresh(const struct operation *o, struct prvng_sink *token,
                           struct prvng_sink *result)
{
        struct said said = {0};
        bool as_wanted;
        int32_t r;

        r = look(o, &said);
        as_wanted = is(o, "delete") ? said.absent
                                    : said.present && json_array_size(said.drift) == 0;
        /* What is there but does not work is installed again. */
        if (r == PRVNG_DONE && as_wanted && !is(o, "delete"))
                r = health(o, NULL);
        if (r == PRVNG_DONE)
                r = as_wanted ? finish(o, &said, PRVNG_UNCHANGED, result) : job_start(o, token);
        else if (r == PRVNG_PENDING)
                r = job_start(o, token);
        said_deinit(&said);
        return r;
}

static int32_t begin_check(const struct operation *o, struct prvng_sink *result)
{
        struct said said = {0};
        int32_t r = look(o, &said);

        if (r == PRVNG_DONE)
                r = report(o, &said, result);
        said_deinit(&said);
        return r;
}

static int32_t op_begin(void *instance, struct prvng_call *call, const char *verb,
                        const void *request, uint64_t n_request, struct prvng_sink *token,
                        struct prvng_sink *result)
{
        _cleanup_(operation_deinit) struct operation o = {0};
        _cleanup_(job_deinit) struct job job = JOB_NULL;
        int32_t r = operation_init(&o, instance, call, verb, request, n_request);

        if (r != PRVNG_DONE)
                return r;
        if (is(&o, "check"))
                return begin_check(&o, result);
        r = job_ask(&o, 0, &job);
        if (r != PRVNG_DONE)
                return r;
        switch (job.status.state) {
        case PRVNG_JOB_UNKNOWN:
                return begin_fresh(&o, token, result);
        case PRVNG_JOB_RUNNING:
                return pending(&o, token, &(struct token){0}, POLL_MS);
        case PRVNG_JOB_EXITED:
                if (job.status.exit_code == 0)
                        return pending(&o, token, &(struct token){0}, 0);
                break;
        default:
                break;
        }
        /* It failed or was killed, the core knows, and wants it done again: the scripts complete
         * what they find. */
        r = o.i->remote.job_forget(call, o.request.server, strlen(o.request.server), call->op_id);
        return r == PRVNG_DONE ? job_start(&o, token) : r;
}

/* The job ended well: the service must answer, too. */
static int32_t poll_health(const struct operation *o, const struct job *j,
                           const struct token *token, struct prvng_sink *new_token,
                           struct prvng_sink *result)
{
        _cleanup_(cleanup_free) char *why = NULL;
        struct token next = *token;
        int32_t r;

        if (is(o, "delete"))
                return finish(o, &j->said, j->said.unchanged ? PRVNG_UNCHANGED : PRVNG_DONE, result);
        o->i->host->progress(o->call, 950, "waiting until it answers");
        r = health(o, &why);
        if (r == PRVNG_DONE)
                return finish(o, &j->said, j->said.unchanged ? PRVNG_UNCHANGED : PRVNG_DONE, result);
        if (r != PRVNG_PENDING)
                return r;
        if (next.tries++ < (uint64_t)o->i->health_retries)
                return pending(o, new_token, &next, HEALTH_AGAIN_MS);
        return failure(o->i, o->call, PRVNG_PERMANENT, PRVNG_EFFECT_PARTIAL, NULL,
                       "taskserv %s on %s is installed but does not answer: \"%s\" failed %" PRIu64
                       " times, last with %s\n"
                       "The whole log: prvng batch logs %s %s\n"
                       "To look for yourself: prvng server shell %s",
                       o->i->taskserv->name, o->request.server_name, o->i->health_command,
                       next.tries, why ? why : "?", o->call->run, o->call->task,
                       o->request.server_name);
}

static int32_t op_poll(void *instance, struct prvng_call *call, const char *verb,
                       const void *request, uint64_t n_request, const void *token,
                       uint64_t n_token, struct prvng_sink *new_token, struct prvng_sink *result)
{
        _cleanup_(operation_deinit) struct operation o = {0};
        _cleanup_(job_deinit) struct job job = JOB_NULL;
        struct token at = {0};
        int32_t r = operation_init(&o, instance, call, verb, request, n_request);

        if (r != PRVNG_DONE)
                return r;
        if (!token_parse(&o, token, n_token, &at))
                return failure(o.i, call, PRVNG_TOKEN_REJECTED, PRVNG_EFFECT_UNKNOWN, NULL,
                               "this is no token of taskserv %s", o.i->taskserv->name);
        r = job_ask_all(&o, at.offset, &job);
        if (r != PRVNG_DONE)
                return r;
        if (job.said.step)
                o.i->host->progress(call, job.said.permille, job.said.step);
        if (job.status.output_offset > at.offset + 2 * WINDOW)
                at.offset = job.status.output_offset - WINDOW;
        switch (job.status.state) {
        case PRVNG_JOB_RUNNING:
                return pending(&o, new_token, &at, POLL_MS);
        case PRVNG_JOB_UNKNOWN:
                return failure(o.i, call, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN, NULL,
                               "taskserv %s on %s: the server knows nothing of job %s (any more)",
                               o.i->taskserv->name, o.request.server_name, call->op_id);
        case PRVNG_JOB_EXITED:
                if (job.status.exit_code == 0)
                        return poll_health(&o, &job, &at, new_token, result);
                return job_failed(&o, &job);
        default:
                return job_failed(&o, &job);
        }
}

static int32_t op_cancel(void *instance, struct prvng_call *call, const char *verb,
                         const void *request, uint64_t n_request, const void *token,
                         uint64_t n_token, struct prvng_sink *result)
{
        _cleanup_(operation_deinit) struct operation o = {0};
        _cleanup_(job_deinit) struct job job = JOB_NULL;
        int32_t r = operation_init(&o, instance, call, verb, request, n_request);

        if (r == PRVNG_DONE && !is(&o, "check"))
                r = o.i->remote.job_end(call, o.request.server, strlen(o.request.server),
                                        call->op_id);
        if (r == PRVNG_DONE)
                r = job_ask(&o, 0, &job);
        if (r != PRVNG_DONE)
                return r;
        if (job.status.state == PRVNG_JOB_UNKNOWN)
                return failure(o.i, call, PRVNG_CANCELLED, PRVNG_EFFECT_NONE, NULL,
                               "cancelled before anything was done");
        if (job.status.state == PRVNG_JOB_EXITED && job.status.exit_code == 0)
                return PRVNG_PENDING; /* too late: poll() says how it ended */
        return failure(o.i, call, PRVNG_CANCELLED, PRVNG_EFFECT_PARTIAL, NULL,
                       "taskserv %s on %s: cancelled in step \"%s\"", o.i->taskserv->name,
                       o.request.server_name, job.said.step ? job.said.step : verb);
}

static int32_t op_observe(void *instance, struct prvng_call *call, const char *verb,
                          const void *request, uint64_t n_request, const void *token,
                          uint64_t n_token, struct prvng_sink *new_token,
                          struct prvng_sink *result)
{
        _cleanup_(operation_deinit) struct operation o = {0};
        _cleanup_(job_deinit) struct job job = JOB_NULL;
        struct token at = {0};
        int32_t r = operation_init(&o, instance, call, verb, request, n_request);

        if (r != PRVNG_DONE)
                return r;
        if (is(&o, "check"))
                return PRVNG_OBSERVED_NOT_STARTED;
        if (!token_parse(&o, token, n_token, &at))
                at = (struct token){0};
        r = job_ask_all(&o, at.offset, &job);
        if (r != PRVNG_DONE)
                return r;
        if (job.status.state == PRVNG_JOB_UNKNOWN)
                return PRVNG_OBSERVED_NOT_STARTED;
        if (job.status.state == PRVNG_JOB_RUNNING ||
            (job.status.state == PRVNG_JOB_EXITED && job.status.exit_code == 0)) {
                r = pending(&o, new_token, &at, 0); /* poll() does the rest */
                return r == PRVNG_PENDING ? PRVNG_OBSERVED_IN_PROGRESS : r;
        }
        return job_failed(&o, &job) == PRVNG_TRANSIENT ? PRVNG_OBSERVED_PARTIAL
                                                        : PRVNG_OBSERVED_FAILED;
}

static int32_t op_read(void *instance, struct prvng_call *call, const void *task, uint64_t n_task,
                       struct prvng_sink *result)
{
        struct instance *i = instance;
        _cleanup_(cleanup_json) json_t *json = NULL;
        _cleanup_(cleanup_free) char *text = NULL;
        _cleanup_(operation_deinit) struct operation o = {0};
        struct said said = {0};
        int32_t r = request_make(i, call, "check", task, n_task, &json);

        if (r == PRVNG_DONE && !(text = json_dumps(json, JSON_COMPACT)))
                r = out_of_memory(i, call);
        if (r == PRVNG_DONE)
                r = operation_init(&o, i, call, "check", text, strlen(text));
        if (r == PRVNG_DONE)
                r = look(&o, &said);
        if (r == PRVNG_DONE && said.absent)
                r = failure(i, call, PRVNG_NOT_FOUND, PRVNG_EFFECT_NONE, NULL,
                            "taskserv %s is not on %s", i->taskserv->name, o.request.server_name);
        else if (r == PRVNG_DONE && (r = report(&o, &said, result)) == PRVNG_UNCHANGED)
                r = PRVNG_DONE;
        said_deinit(&said);
        return r;
}

/* The marks of a taskserv are in the servers, and which servers there are only the core knows; it asks
 * with read(). */
static int32_t op_list(void *instance, struct prvng_call *call, const void *filter,
                       uint64_t n_filter, struct prvng_sink *result)
{
        const struct instance *i = instance;
        static const char none[] = "{\"resources\":[]}";

        return i->host->sink_write(result, none, sizeof(none) - 1) < 0 ? PRVNG_INTERNAL : PRVNG_DONE;
}

static int32_t op_describe(void *instance, struct prvng_sink *result)
{
        const struct instance *i = instance;
        _cleanup_(cleanup_json) json_t *update = json_object();
        _cleanup_(cleanup_json) json_t *all = NULL;
        _cleanup_(cleanup_free) char *text = NULL;

        for (size_t k = 0; k < i->taskserv->n_parameters; k++)
                json_object_set_new(update, i->taskserv->parameters[k].name, json_string("live"));
        all = json_pack("{s:[{s:s, s:[ssss], s:[sss], s:o, s:O}]}", "resources", "kind", "taskserv",
                        "verbs", "create", "update", "delete", "check", "undo", "create", "update",
                        "delete", "spec", spec_schema(i->taskserv), "update", update);
        text = all ? json_dumps(all, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
        return text && i->host->sink_write(result, text, strlen(text)) == 0 ? PRVNG_DONE
                                                                             : PRVNG_INTERNAL;
}

const struct prvng_op taskserv_op = {
        .struct_size = sizeof(struct prvng_op),
        .prepare = op_prepare,
        .begin = op_begin,
        .poll = op_poll,
        .cancel = op_cancel,
        .observe = op_observe,
        .read = op_read,
        .list = op_list,
        .describe = op_describe,
};
