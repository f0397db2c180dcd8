/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng.host.remote/1. Everything in a server is done by the small shell scripts of scripts/, one
 * round trip for each call; the server needs a POSIX shell and what every Debian has (coreutils,
 * diffutils, findutils, grep, util-linux). Reach method "exec" only.
 *
 * A member of "reach" beside those in prvng/host/remote.h: "jobs", the folder for jobs in the
 * server (default REMOTE_JOBS).
 */
#include "base/clock.h"
#include "base/json.h"
#include "host/child.h"
#include "host/job.h"
#include "host/remote-scripts.h"

#define REMOTE_JOBS "/var/lib/prvng/jobs"
#define MAX_ARGV 256
#define MAX_RUN_OUTPUT (1024u * 1024u)
#define SCRIPT_MS 60000 /* for one of our own scripts, whatever the call's deadline */
#define JOB_HEADER_MAX 256u

#define EXIT_INCOMPLETE 74
#define EXIT_RUNS_STILL 16

/* How a server is reached; argv points into json. */
struct reach {
        json_t *json;
        const char *argv[MAX_ARGV];
        size_t n_argv;
        const char *server; /* for messages */
        const char *jobs;
};

static void reach_deinit(struct reach *reach)
{
        json_decref(reach->json);
}

/* What a call does, for messages, and what it leaves behind if the server cannot be reached. */
struct action {
        const char *what;
        uint32_t effect;
};

static int32_t reach_bad(struct prvng_call *call, const char *why)
{
        return op_call_fail(call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, 0,
                            "the server's result does not say how it is reached: %s", why);
}

static int32_t reach_parse(struct prvng_call *call, const void *server, uint64_t n_server,
                           struct reach *r)
{
        char error[JSON_PARSE_ERROR];
        const json_t *reach, *argv, *v;
        const char *method;
        size_t i;

        *r = (struct reach){.server = "the server"};
        if (json_parse(server, n_server, &r->json, error) != 0)
                return reach_bad(call, error);
        reach = json_object_get(r->json, "reach");
        method = json_get_string(reach, "method", NULL);
        if (!method)
                return reach_bad(call, "it has no \"reach\" with a \"method\"");
        r->server = json_get_string(r->json, "name", r->server);
        r->jobs = json_get_string(reach, "jobs", REMOTE_JOBS);
        if (streq(method, "ssh"))
                return op_call_fail(call, PRVNG_UNSUPPORTED, PRVNG_EFFECT_NONE, 0,
                                    "%s is reached by ssh, which this version of prvng "
                                    "cannot do; accepted is the method \"exec\"",
                                    r->server);
        if (!streq(method, "exec"))
                return reach_bad(call, "its \"method\" is neither \"exec\" nor \"ssh\"");
        argv = json_object_get(reach, "argv");
        if (json_array_size(argv) == 0 || json_array_size(argv) > MAX_ARGV / 2)
                return reach_bad(call, "\"argv\" is no list of 1 to 128 strings");
        json_array_foreach(argv, i, v)
        {
                if (!json_is_string(v))
                        return reach_bad(call, "\"argv\" is no list of 1 to 128 strings");
                r->argv[r->n_argv++] = json_string_value(v);
        }
        return PRVNG_DONE;
}

/* The last line of what a command said, for a message. */
static const char *last_line(struct buf *text)
{
        char *line;

        while (text->n > 0 && (text->data[text->n - 1] == '\n' || text->data[text->n - 1] == ' '))
                text->data[--text->n] = 0;
        line = text->n ? strrchr(text->data, '\n') : NULL;
        return line ? line + 1 : buf_str(text);
}

static int32_t unreachable(struct prvng_call *call, const struct reach *reach,
                           const struct action *action, const char *why)
{
        return op_call_fail(call, PRVNG_TRANSIENT, action->effect, 0,
                            "%s could not be reached to %s: %s", reach->server, action->what,
                            *why ? why : "no reason given");
}

/* Runs a command in the server. DONE: it was run, or its reach ended with 255, see reach_failed. */
static int32_t reach_exec(struct prvng_call *call, struct reach *reach, const struct action *action,
                          const char *const *argv, const void *input, size_t n_input,
                          int64_t deadline_ms, struct child_result *result)
{
        struct child_spec spec = {.argv = reach->argv,
                                  .input = input,
                                  .n_input = n_input,
                                  .max_output = MAX_RUN_OUTPUT,
                                  .deadline_ms = deadline_ms,
                                  .cancel_fd = call_cancel_fd(call)};
        size_t n = reach->n_argv;
        int r;

        while (*argv && n + 1 < MAX_ARGV)
                reach->argv[n++] = *argv++;
        if (*argv)
                return op_call_fail(call, PRVNG_INTERNAL, PRVNG_EFFECT_NONE, E2BIG,
                                    "a command of more than %d words", MAX_ARGV);
        reach->argv[n] = NULL;
        switch (r = child_run(&spec, result)) {
        case 0:
                return PRVNG_DONE;
        case CHILD_E_NOT_STARTED:
                return op_call_fail(call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, result->status,
                                    "%s cannot be reached: cannot run %s: %s", reach->server,
                                    reach->argv[0], strerror(result->status));
        case CHILD_E_TIMEOUT:
                return op_call_fail(call, PRVNG_TRANSIENT, action->effect, ETIMEDOUT,
                                    "%s did not answer in time to %s", reach->server, action->what);
        case CHILD_E_CANCELLED:
                return op_call_fail(call, PRVNG_CANCELLED, action->effect, 0,
                                    "cancelled while waiting for %s to %s", reach->server,
                                    action->what);
        default:
                return op_call_fail(call, PRVNG_TRANSIENT, action->effect, -r,
                                    "cannot start a process to reach %s: %s", reach->server,
                                    strerror(-r));
        }
}

/* Runs one of our own scripts. They never end with 255 and say what is wrong on stderr. DONE with
 * an exit code that is 0 or `accepted`, else the failure is said. */
static int32_t reach_script(struct prvng_call *call, struct reach *reach,
                            const struct action *action, const char *script,
                            const char *const *arguments, const void *input, size_t n_input,
                            int accepted, struct child_result *result)
{
        const char *argv[12] = {"/bin/sh", "-c", script, "prvng"};
        size_t n = 4;
        int32_t r;

        while (*arguments && n + 1 < N_ELEMENTS(argv))
                argv[n++] = *arguments++;
        assert(!*arguments);
        r = reach_exec(call, reach, action, argv, input, n_input,
                       MIN(call->deadline_ms, clock_boot_ms() + SCRIPT_MS), result);
        if (r != PRVNG_DONE || result->status == 0 || result->status == accepted)
                return r;
        if (result->status == 255 || result->signal)
                return unreachable(call, reach, action, last_line(&result->errors));
        return op_call_fail(call, PRVNG_TRANSIENT, action->effect, result->status,
                            "%s could not %s (exit code %d): %s", reach->server, action->what,
                            result->status, last_line(&result->errors));
}

/* 255 may be the exit code of a command too. If it is that of the reach, then the last line on stderr
 * comes from the program that reaches: "PROGRAM: why", or it holds the word "unreachable". */
static bool reach_said(const struct reach *reach, struct buf *errors)
{
        const char *line = last_line(errors), *slash = strrchr(reach->argv[0], '/');
        const char *rest = startswith(line, slash ? slash + 1 : reach->argv[0]);

        return (rest && *rest == ':') || strstr(line, "unreachable");
}

static int32_t remote_run(struct prvng_call *call, const void *server, uint64_t n_server,
                          const char *const *argv, const void *input, uint64_t n_input,
                          struct prvng_sink *output, struct prvng_sink *errors,
                          int32_t *ret_exit_code)
{
        _cleanup_(cleanup_child_result) struct child_result result = CHILD_RESULT_NULL;
        _cleanup_(reach_deinit) struct reach reach;
        const struct action action = {"run a command", PRVNG_EFFECT_UNKNOWN};
        const struct action not_begun = {"run a command", PRVNG_EFFECT_NONE};
        int32_t r;

        r = reach_parse(call, server, n_server, &reach);
        if (r == PRVNG_DONE)
                r = reach_exec(call, &reach, &action, argv, input, n_input, call->deadline_ms,
                               &result);
        if (r != PRVNG_DONE)
                return r;
        if (result.status == 255 && reach_said(&reach, &result.errors))
                return unreachable(call, &reach, &not_begun, last_line(&result.errors));
        r = job_write(call, output, result.output.data, result.output.n);
        if (r == PRVNG_DONE)
                r = job_write(call, errors, result.errors.data, result.errors.n);
        if (r == PRVNG_DONE)
                *ret_exit_code = result.status;
        return r;
}

static int32_t job_prepare(struct prvng_call *call, const void *server, uint64_t n_server,
                           const char *job, struct reach *reach)
{
        *reach = (struct reach){0};
        if (!job_name_ok(job))
                return op_call_fail(call, PRVNG_INTERNAL, PRVNG_EFFECT_NONE, EINVAL,
                                    "remote: bad name of a job: '%s'", job);
        return reach_parse(call, server, n_server, reach);
}

static int32_t remote_job_start(struct prvng_call *call, const void *server, uint64_t n_server,
                                const char *job, const void *script, uint64_t n_script)
{
        _cleanup_(cleanup_child_result) struct child_result result = CHILD_RESULT_NULL;
        _cleanup_(cleanup_buf) struct buf text = BUF_NULL;
        _cleanup_(reach_deinit) struct reach reach;
        const struct action action = {"start a job", PRVNG_EFFECT_UNKNOWN};
        char size[24];
        int32_t r;

        r = job_prepare(call, server, n_server, job, &reach);
        if (r != PRVNG_DONE)
                return r;
        /* So that the file can be run by hand as it was run by us. */
        if (n_script < 2 || memcmp(script, "#!", 2) != 0)
                BUF_LIT(&text, "#!/bin/sh -e\n");
        buf_append(&text, script, n_script);
        if (buf_error(&text) < 0)
                return op_call_fail(call, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, ENOMEM,
                                    "out of memory");
        snprintf(size, sizeof(size), "%zu", text.n);
        return reach_script(call, &reach, &action, script_job_start,
                            (const char *[]){reach.jobs, job, size, script_job_keep, NULL},
                            text.data, text.n, 0, &result);
}

/* Reads the line "STATE CODE ID" that stands before the output. */
static bool header_parse(const struct buf *b, struct prvng_job_status *ret, char ret_id[64],
                         size_t *ret_n)
{
        const char *end = b->n ? memchr(b->data, '\n', MIN(b->n, (size_t)JOB_HEADER_MAX)) : NULL;
        char state[16];
        int code;

        if (!end || sscanf(b->data, "%15s %d %63s\n", state, &code, ret_id) != 3)
                return false;
        if (streq(state, "unknown"))
                ret->state = PRVNG_JOB_UNKNOWN;
        else if (streq(state, "running"))
                ret->state = PRVNG_JOB_RUNNING;
        else if (streq(state, "exited"))
                ret->state = PRVNG_JOB_EXITED;
        else if (streq(state, "killed"))
                ret->state = PRVNG_JOB_KILLED;
        else
                return false;
        ret->exit_code = code;
        *ret_n = (size_t)(end - b->data) + 1;
        return true;
}

static int32_t remote_job_status(struct prvng_call *call, const void *server, uint64_t n_server,
                                 const char *job, uint64_t offset, struct prvng_sink *output,
                                 struct prvng_job_status *ret_status)
{
        _cleanup_(cleanup_child_result) struct child_result result = CHILD_RESULT_NULL;
        _cleanup_(reach_deinit) struct reach reach;
        const struct action action = {"ask for a job", PRVNG_EFFECT_NONE};
        struct prvng_job_status status = {.struct_size = ret_status->struct_size};
        char from[24], max[24], id[64];
        size_t n = 0;
        int32_t r;

        r = job_prepare(call, server, n_server, job, &reach);
        if (r != PRVNG_DONE)
                return r;
        if (ret_status->struct_size < PRVNG_JOB_STATUS_BASELINE)
                return op_call_fail(call, PRVNG_INTERNAL, PRVNG_EFFECT_NONE, EINVAL,
                                    "remote: a job status below the baseline");
        snprintf(from, sizeof(from), "%llu", (unsigned long long)offset);
        snprintf(max, sizeof(max), "%u", JOB_OUTPUT_MAX);
        r = reach_script(call, &reach, &action, script_job_status,
                         (const char *[]){reach.jobs, job, from, max, NULL}, NULL, 0, 0, &result);
        if (r != PRVNG_DONE)
                return r;
        if (!header_parse(&result.output, &status, id, &n))
                return unreachable(call, &reach, &action, "it gave an answer that is none");
        status.output_offset = offset + result.output.n - n;
        job_log(call, job, id, offset, result.output.data + n, result.output.n - n);
        r = job_write(call, output, result.output.data + n, result.output.n - n);
        if (r == PRVNG_DONE)
                memcpy(ret_status, &status, MIN((size_t)status.struct_size, sizeof(status)));
        return r;
}

static int32_t remote_job_end(struct prvng_call *call, const void *server, uint64_t n_server,
                              const char *job)
{
        _cleanup_(cleanup_child_result) struct child_result result = CHILD_RESULT_NULL;
        _cleanup_(reach_deinit) struct reach reach;
        const struct action action = {"end a job", PRVNG_EFFECT_NONE};
        int32_t r;

        r = job_prepare(call, server, n_server, job, &reach);
        if (r != PRVNG_DONE)
                return r;
        return reach_script(call, &reach, &action, script_job_end,
                            (const char *[]){reach.jobs, job, NULL}, NULL, 0, 0, &result);
}

static int32_t remote_job_forget(struct prvng_call *call, const void *server, uint64_t n_server,
                                 const char *job)
{
        _cleanup_(cleanup_child_result) struct child_result result = CHILD_RESULT_NULL;
        _cleanup_(reach_deinit) struct reach reach;
        const struct action action = {"remove a job's files", PRVNG_EFFECT_NONE};
        int32_t r;

        r = job_prepare(call, server, n_server, job, &reach);
        if (r != PRVNG_DONE)
                return r;
        r = reach_script(call, &reach, &action, script_job_forget,
                         (const char *[]){reach.jobs, job, NULL}, NULL, 0, EXIT_RUNS_STILL,
                         &result);
        if (r == PRVNG_DONE && result.status == EXIT_RUNS_STILL)
                return op_call_fail(call, PRVNG_CONFLICT, PRVNG_EFFECT_NONE, 0,
                                    "job %s runs still in %s; end it first", job, reach.server);
        return r;
}

static int32_t remote_put_file(struct prvng_call *call, const void *server, uint64_t n_server,
                               const char *path, uint32_t mode, const void *data, uint64_t n_data)
{
        _cleanup_(cleanup_child_result) struct child_result result = CHILD_RESULT_NULL;
        _cleanup_(reach_deinit) struct reach reach = {0};
        const struct action action = {"write a file", PRVNG_EFFECT_NONE};
        char octal[16], size[24];
        int32_t r;

        if (path[0] != '/' || mode > 07777)
                return op_call_fail(call, PRVNG_INTERNAL, PRVNG_EFFECT_NONE, EINVAL,
                                    "remote: put_file: '%s' is no absolute path, or %o is "
                                    "no mode",
                                    path, mode);
        r = reach_parse(call, server, n_server, &reach);
        if (r != PRVNG_DONE)
                return r;
        snprintf(octal, sizeof(octal), "%o", mode);
        snprintf(size, sizeof(size), "%llu", (unsigned long long)n_data);
        r = reach_script(call, &reach, &action, script_put_file,
                         (const char *[]){path, octal, size, NULL}, data, n_data, 0, &result);
        if (r != PRVNG_DONE)
                return r;
        return streq(buf_str(&result.output), "unchanged\n") ? PRVNG_UNCHANGED : PRVNG_DONE;
}

const struct prvng_host_remote host_remote = {
        .struct_size = sizeof(struct prvng_host_remote),
        .run = remote_run,
        .job_start = remote_job_start,
        .job_status = remote_job_status,
        .job_end = remote_job_end,
        .job_forget = remote_job_forget,
        .put_file = remote_put_file,
};
