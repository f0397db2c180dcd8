/* SPDX-License-Identifier: Apache-2.0 */
#include "scripted.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* One call with its request parsed. */
struct act {
        struct world *w;
        struct prvng_call *call;
        const char *verb;
        json_t *request;
        const json_t *script;
        char resource[512]; /* path of its file */
        char effect[64];
        struct prvng_sink *result;
};

static const char *text(const json_t *o, const char *key, const char *fallback)
{
        const char *s = json_string_value(json_object_get(o, key));
        return s ? s : fallback;
}

static int64_t wall_ms(void)
{
        struct timespec ts;

        clock_gettime(CLOCK_REALTIME, &ts);
        return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

/* True the first time only, over all processes. */
static bool first_time(const struct act *a, const char *what)
{
        char path[128];
        int fd;

        snprintf(path, sizeof(path), "once/%s.%s", a->call->op_id, what);
        fd = openat(a->w->folder, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd >= 0)
                close(fd);
        return fd >= 0;
}

static int32_t fail(const struct act *a, int32_t error_class, uint32_t effect, int64_t retry_after,
                    const char *message)
{
        struct prvng_error e = {.struct_size = sizeof(e), .error_class = error_class,
                                .retry_after_ms = retry_after, .effect = effect,
                                .message = message};

        a->w->host->error(a->call, &e);
        return error_class;
}

static int32_t write_json(const struct act *a, struct prvng_sink *sink, const json_t *o)
{
        char *s = json_dumps(o, JSON_COMPACT);
        int32_t r = s ? a->w->host->sink_write(sink, s, strlen(s)) : -ENOMEM;

        free(s);
        return r == 0 ? PRVNG_DONE : PRVNG_INTERNAL;
}

static void note_call(const struct act *a, const char *function)
{
        char line[1024];
        int n = snprintf(line, sizeof(line), "%s %s %s %s %s %u\n", function,
                         a->verb[0] ? a->verb : "-", text(a->request, "kind", "-"),
                         text(a->request, "name", "-"),
                         a->call->op_id[0] ? a->call->op_id : "-", a->call->attempt);
        int fd = openat(a->w->folder, "calls.log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

        if (fd >= 0 && write(fd, line, (size_t)n) != n)
                a->w->host->log(a->w->host, PRVNG_LOG_WARN, "calls", "calls.log is not whole");
        if (fd >= 0)
                close(fd);
}

/* Parses task or request (they have the same members). False: the call has failed. */
static bool start(struct act *a, struct world *w, struct prvng_call *call, const char *function,
                  const char *verb, const void *data, uint64_t n_data)
{
        const char *server;

        *a = (struct act){.w = w, .call = call, .verb = verb};
        a->request = json_loadb(data, n_data, 0, NULL);
        if (!json_is_object(a->request)) {
                fail(a, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, -1, "the task is no JSON object");
                json_decref(a->request);
                return false;
        }
        a->script = json_object_get(json_object_get(a->request, "spec"), w->what->name);
        server = text(a->request, "server", NULL);
        snprintf(a->resource, sizeof(a->resource), "resources/%s.%s%s%s",
                 text(a->request, "kind", "unknown"), text(a->request, "name", "unknown"),
                 server ? "@" : "", server ? server : "");
        for (char *p = a->resource + sizeof("resources/") - 1; *p; p++)
                if (*p == '/')
                        *p = ':';
        snprintf(a->effect, sizeof(a->effect), "effects/%s.json", call->op_id);
        note_call(a, function);
        return true;
}

static int32_t finish(struct act *a, int32_t answer)
{
        json_decref(a->request);
        return answer;
}

/* What the script wants to go wrong in this function at this attempt. */
static const json_t *scripted_failure(const struct act *a, const char *function)
{
        const json_t *list = json_object_get(a->script, "fail");
        size_t i;
        json_t *f;

        json_array_foreach (list, i, f) {
                const json_t *attempt = json_object_get(f, "attempt");

                if (strcmp(text(f, "in", "begin"), function) == 0 &&
                    world_applies(a->w, f, a->verb) &&
                    (!attempt || json_integer_value(attempt) == a->call->attempt))
                        return f;
        }
        return NULL;
}

static uint32_t effect_of(const json_t *failure)
{
        static const char *const names[] = {"NONE", "UNKNOWN", "PARTIAL", "COMPLETE"};
        const char *name = text(failure, "effect", "NONE");

        for (uint32_t i = 0; i < 4; i++)
                if (strcmp(names[i], name) == 0)
                        return i;
        return PRVNG_EFFECT_UNKNOWN;
}

static int32_t fail_as(const struct act *a, const json_t *failure)
{
        static const char *const names[] = {"",        "TRANSIENT", "RATE_LIMITED", "PERMANENT",
                                            "AUTH",    "CONFLICT",  "NOT_FOUND",    "CANCELLED",
                                            "UNSUPPORTED", "QUOTA", "INTERNAL", "TOKEN_REJECTED"};
        const char *name = text(failure, "class", "PERMANENT");
        const json_t *after = json_object_get(failure, "retry_after_ms");
        int32_t error_class = PRVNG_INTERNAL;

        for (int32_t i = 1; i < 12; i++)
                if (strcmp(names[i], name) == 0)
                        error_class = -i;
        return fail(a, error_class, effect_of(failure), after ? json_integer_value(after) : -1,
                    text(failure, "message", "the script says so"));
}

/* Sleeps; false if the call was cancelled meanwhile. ms < 0: for ever. */
static bool wait_ms(const struct act *a, int64_t ms)
{
        struct pollfd fd = {.fd = a->w->host->cancel_fd(a->call), .events = POLLIN};
        int64_t end = a->w->host->monotonic_ms() + ms, left;

        while (!a->w->host->is_cancelled(a->call)) {
                left = ms < 0 ? 1000 : end - a->w->host->monotonic_ms();
                if (left <= 0)
                        return true;
                poll(&fd, 1, (int)left);
        }
        return false;
}

static json_t *result_of(const struct act *a)
{
        json_t *result = json_object();

        json_object_set(result, "name", json_object_get(a->request, "name"));
        a->w->what->add_result(result, a->request);
        if (json_is_object(json_object_get(a->script, "result")))
                json_object_update(result, json_object_get(a->script, "result"));
        return result;
}

/* The state of the op id's effect; NULL if it never acted. */
static const char *effect_state(const struct act *a, int64_t *ret_started, char state[16])
{
        json_t *e = world_get(a->w, a->effect);

        if (!e)
                return NULL;
        snprintf(state, 16, "%s", text(e, "state", ""));
        if (ret_started)
                *ret_started = json_integer_value(json_object_get(e, "started"));
        json_decref(e);
        return state;
}

static int set_effect(const struct act *a, const char *state, bool once)
{
        int64_t started = wall_ms();
        char old[16];
        json_t *e;
        int r;

        if (!once)
                effect_state(a, &started, old);
        e = json_pack("{s:s, s:s, s:O?, s:O?, s:O?, s:I, s:I, s:s}", "op_id", a->call->op_id,
                      "verb", a->verb, "kind", json_object_get(a->request, "kind"), "name",
                      json_object_get(a->request, "name"), "server",
                      json_object_get(a->request, "server"), "attempt",
                      (json_int_t)a->call->attempt, "started", (json_int_t)started, "state", state);
        r = e ? world_put(a->w, a->effect, e, once) : -ENOMEM;
        json_decref(e);
        return r;
}

/* Makes the change visible; any number of times. */
static int32_t complete(struct act *a)
{
        json_t *result = result_of(a), *o;
        int r = 0;

        if (strcmp(a->verb, "delete") == 0) {
                if (unlinkat(a->w->folder, a->resource, 0) < 0 && errno != ENOENT)
                        r = -errno;
                json_object_clear(result);
        } else {
                o = json_pack("{s:O?, s:O?, s:O?, s:s, s:O?, s:O?, s:O?, s:O}", "kind",
                              json_object_get(a->request, "kind"), "name",
                              json_object_get(a->request, "name"), "server",
                              json_object_get(a->request, "server"), "op_id", a->call->op_id,
                              "workflow", json_object_get(a->request, "workflow"), "site",
                              json_object_get(a->request, "site"), "spec",
                              json_object_get(a->request, "spec"), "result", result);
                r = o ? world_put(a->w, a->resource, o, false) : -ENOMEM;
                json_decref(o);
        }
        if (r == 0)
                r = set_effect(a, "done", false);
        if (r < 0) {
                json_decref(result);
                return fail(a, PRVNG_INTERNAL, PRVNG_EFFECT_UNKNOWN, -1, strerror(-r));
        }
        r = json_is_true(json_object_get(a->script, "garbage"))
                    ? a->w->host->sink_write(a->result, "{oops", 5)
                    : write_json(a, a->result, result);
        json_decref(result);
        return r == 0 ? PRVNG_DONE : PRVNG_INTERNAL;
}

static void maybe_die(const struct act *a, const char *when)
{
        if (strcmp(text(a->script, "kill", ""), when) == 0 && first_time(a, "kill"))
                kill(getpid(), SIGKILL);
}

static int32_t write_token(const struct act *a, struct prvng_sink *token, int64_t left)
{
        char t[64];
        int n = snprintf(t, sizeof(t), "1:%s", a->call->op_id);

        a->w->host->ask_again(a->call, left);
        return a->w->host->sink_write(token, t, (uint64_t)n) == 0 ? PRVNG_PENDING : PRVNG_INTERNAL;
}

/* Milliseconds until pending work is done. */
static int64_t left_ms(const struct act *a, int64_t started)
{
        int64_t ms = json_integer_value(json_object_get(a->script, "pending_ms"));
        int64_t left = started + ms - wall_ms();

        return left > 0 ? left : 0;
}

/* create, update or delete of what is already so; 0 if there is something to do, else the answer.
 */
static int32_t already(struct act *a)
{
        json_t *there = world_get(a->w, a->resource);
        bool equal = there && json_equal(json_object_get(there, "spec"),
                                         json_object_get(a->request, "spec"));
        int32_t answer = 0;

        if (strcmp(text(a->request, "kind", ""), "credential") == 0) {
                answer = 0; /* always another one */
        } else if (strcmp(a->verb, "delete") == 0) {
                answer = there ? 0 : PRVNG_UNCHANGED;
        } else if (equal) {
                answer = write_json(a, a->result, json_object_get(there, "result")) == PRVNG_DONE
                                 ? PRVNG_UNCHANGED : PRVNG_INTERNAL;
        } else if (strcmp(a->verb, "create") == 0 && there) {
                answer = fail(a, PRVNG_CONFLICT, PRVNG_EFFECT_NONE, -1,
                              "something else of this name is there already");
        } else if (strcmp(a->verb, "update") == 0 && !there) {
                answer = fail(a, PRVNG_NOT_FOUND, PRVNG_EFFECT_NONE, -1,
                              "there is nothing to update");
        }
        json_decref(there);
        return answer;
}

/* UNCHANGED, or DONE with what differs. */
static int32_t check(struct act *a)
{
        json_t *there = world_get(a->w, a->resource), *drift = json_array(), *result, *value;
        const json_t *was = json_object_get(there, "spec");
        const char *key;
        int32_t answer;

        if (!there)
                json_array_append_new(drift, json_pack("{s:s, s:s, s:s}", "attribute", "state",
                                                       "wanted", "present", "found", "absent"));
        json_object_foreach (json_object_get(a->request, "spec"), key, value) {
                json_t *is = json_object_get(was, key);

                if (there && !json_equal(value, is))
                        json_array_append_new(drift, json_pack("{s:s, s:O, s:O?}", "attribute", key,
                                                               "wanted", value, "found", is));
        }
        result = there ? json_incref(json_object_get(there, "result")) : json_object();
        answer = json_array_size(drift) ? PRVNG_DONE : PRVNG_UNCHANGED;
        if (answer == PRVNG_DONE)
                json_object_set(result, "drift", drift);
        if (write_json(a, a->result, result) != PRVNG_DONE)
                answer = PRVNG_INTERNAL;
        json_decref(result);
        json_decref(drift);
        json_decref(there);
        return answer;
}

static int32_t prepare(void *instance, struct prvng_call *call, const char *verb, const void *task,
                       uint64_t n_task, struct prvng_sink *request)
{
        static const char *const kept[] = {"kind", "name", "server", "workflow", "site", "spec"};
        const json_t *failure;
        struct act a;
        json_t *o;
        int32_t answer;

        if (!start(&a, instance, call, "prepare", verb, task, n_task))
                return PRVNG_PERMANENT;
        failure = scripted_failure(&a, "prepare");
        if (failure)
                return finish(&a, fail_as(&a, failure));
        o = json_object();
        for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
                if (json_object_get(a.request, kept[i]))
                        json_object_set(o, kept[i], json_object_get(a.request, kept[i]));
        answer = write_json(&a, request, o);
        json_decref(o);
        return finish(&a, answer);
}

/* Leaves in the world what a scripted failure of begin() says it did. */
static int32_t fail_begin(struct act *a, const json_t *failure)
{
        uint32_t effect = effect_of(failure);

        if (effect != PRVNG_EFFECT_NONE && set_effect(a, "started", true) == 0) {
                if (effect == PRVNG_EFFECT_PARTIAL)
                        set_effect(a, "partial", false);
                else
                        complete(a);
        }
        maybe_die(a, "after");
        return fail_as(a, failure);
}

/* A file gates/KIND holds all begin() of that kind while it is there. */
static bool is_shut(const struct act *a)
{
        char path[128];

        snprintf(path, sizeof(path), "gates/%s", text(a->request, "kind", ""));
        return faccessat(a->w->folder, path, F_OK, 0) == 0;
}

/* False if begin() has nothing more to do than to return *ret_answer. */
static bool may_act(struct act *a, int32_t *ret_answer)
{
        const json_t *failure = scripted_failure(a, "begin"), *hang;
        char state[16];

        if (!effect_state(a, NULL, state)) {
                *ret_answer = already(a);
                if (*ret_answer)
                        return false;
        } else if (strcmp(state, "partial") != 0) {
                char path[128];

                snprintf(path, sizeof(path), "violations/%s.%u", a->call->op_id, a->call->attempt);
                world_put(a->w, path, a->request, false);
                *ret_answer = complete(a);
                return false;
        }
        if (!wait_ms(a, json_integer_value(json_object_get(a->script, "begin_ms")))) {
                *ret_answer = fail(a, PRVNG_CANCELLED, PRVNG_EFFECT_NONE, -1, "cancelled");
                return false;
        }
        while (world_applies(a->w, json_object_get(a->script, "gate"), a->verb) || is_shut(a))
                if (!wait_ms(a, 10)) {
                        *ret_answer = fail(a, PRVNG_CANCELLED, PRVNG_EFFECT_NONE, -1, "cancelled");
                        return false;
                }
        hang = json_object_get(a->script, "hang");
        while (json_is_string(hang)) /* as a plugin does that ignores cancellation */
                pause();
        if (json_is_true(hang)) {
                wait_ms(a, -1);
                *ret_answer =
                        fail(a, PRVNG_CANCELLED, PRVNG_EFFECT_NONE, -1, "hung until cancelled");
                return false;
        }
        maybe_die(a, "before");
        if (failure) {
                *ret_answer = fail_begin(a, failure);
                return false;
        }
        return true;
}

static int32_t begin(void *instance, struct prvng_call *call, const char *verb, const void *request,
                     uint64_t n_request, struct prvng_sink *token, struct prvng_sink *result)
{
        const json_t *odd;
        struct act a;
        int32_t answer;
        int r;

        if (!start(&a, instance, call, "begin", verb, request, n_request))
                return PRVNG_PERMANENT;
        a.result = result;
        if (strcmp(verb, "check") == 0)
                return finish(&a, check(&a));
        if (!may_act(&a, &answer))
                return finish(&a, answer);
        r = set_effect(&a, "started", true);
        if (r < 0 && r != -EEXIST) /* it is there if a part was */
                return finish(&a, fail(&a, PRVNG_INTERNAL, PRVNG_EFFECT_UNKNOWN, -1, strerror(-r)));
        if (r == -EEXIST)
                set_effect(&a, "started", false);
        if (json_object_get(a.script, "pending_ms"))
                answer = write_token(&a, token, left_ms(&a, wall_ms()));
        else
                answer = complete(&a);
        maybe_die(&a, "after");
        odd = json_object_get(a.script, "answer");
        return finish(&a, odd ? (int32_t)json_integer_value(odd) : answer);
}

/* The token is "1:OPID": its own format number, then the operation. */
static bool token_is_ours(const struct act *a, const char *token, uint64_t n_token)
{
        return n_token == 2 + strlen(a->call->op_id) && memcmp(token, "1:", 2) == 0 &&
               memcmp(token + 2, a->call->op_id, n_token - 2) == 0;
}

static int32_t poll_(void *instance, struct prvng_call *call, const char *verb, const void *request,
                     uint64_t n_request, const void *token, uint64_t n_token,
                     struct prvng_sink *new_token, struct prvng_sink *result)
{
        const json_t *failure;
        char state[16];
        int64_t started = 0;
        struct act a;

        if (!start(&a, instance, call, "poll", verb, request, n_request))
                return PRVNG_PERMANENT;
        a.result = result;
        if (!token_is_ours(&a, token, n_token) ||
            (json_is_true(json_object_get(a.script, "reject_token")) && first_time(&a, "reject")) ||
            !effect_state(&a, &started, state))
                return finish(&a, fail(&a, PRVNG_TOKEN_REJECTED, PRVNG_EFFECT_UNKNOWN, -1,
                                       "this token is not known"));
        if (strcmp(state, "cancelled") == 0)
                return finish(&a, fail(&a, PRVNG_CANCELLED, PRVNG_EFFECT_NONE, -1, "cancelled"));
        failure = scripted_failure(&a, "poll");
        if (failure) {
                if (strcmp(text(failure, "class", ""), "TRANSIENT") != 0)
                        set_effect(&a, "failed", false);
                return finish(&a, fail_as(&a, failure));
        }
        if (left_ms(&a, started) > 0) {
                a.w->host->ask_again(call, left_ms(&a, started));
                return finish(&a, PRVNG_PENDING);
        }
        return finish(&a, complete(&a));
}

static int32_t cancel(void *instance, struct prvng_call *call, const char *verb,
                      const void *request, uint64_t n_request, const void *token, uint64_t n_token,
                      struct prvng_sink *result)
{
        char state[16] = "";
        int64_t started = 0;
        struct act a;

        if (!start(&a, instance, call, "cancel", verb, request, n_request))
                return PRVNG_PERMANENT;
        a.result = result;
        if (effect_state(&a, &started, state) &&
            (strcmp(state, "done") == 0 ||
             (strcmp(state, "started") == 0 && left_ms(&a, started) == 0)))
                return finish(&a, complete(&a));
        if (state[0])
                set_effect(&a, "cancelled", false);
        return finish(&a, fail(&a, PRVNG_CANCELLED, PRVNG_EFFECT_NONE, -1, "cancelled"));
}

/* observe() with what is in the world. */
static int32_t look(struct act *a, struct prvng_sink *new_token)
{
        int64_t started = 0;
        char state[16];

        if (!effect_state(a, &started, state) || strcmp(state, "cancelled") == 0)
                return PRVNG_OBSERVED_NOT_STARTED;
        if (strcmp(state, "partial") == 0)
                return PRVNG_OBSERVED_PARTIAL;
        if (strcmp(state, "failed") == 0) {
                fail(a, PRVNG_PERMANENT, PRVNG_EFFECT_PARTIAL, -1, "it had failed");
                return PRVNG_OBSERVED_FAILED;
        }
        if (strcmp(state, "started") == 0 && left_ms(a, started) > 0)
                return write_token(a, new_token, left_ms(a, started)) == PRVNG_PENDING
                               ? PRVNG_OBSERVED_IN_PROGRESS : PRVNG_INTERNAL;
        return complete(a) == PRVNG_DONE ? PRVNG_OBSERVED_DONE : PRVNG_INTERNAL;
}

static int32_t observe(void *instance, struct prvng_call *call, const char *verb,
                       const void *request, uint64_t n_request, const void *token, uint64_t n_token,
                       struct prvng_sink *new_token, struct prvng_sink *result)
{
        const json_t *failure;
        json_int_t uncertain;
        char what[32];
        struct act a;

        if (!start(&a, instance, call, "observe", verb, request, n_request))
                return PRVNG_PERMANENT;
        a.result = result;
        if (json_is_true(json_object_get(a.script, "no_observe")))
                return finish(&a, fail(&a, PRVNG_UNSUPPORTED, PRVNG_EFFECT_UNKNOWN, -1,
                                       "nothing here keeps an op id"));
        failure = scripted_failure(&a, "observe");
        if (failure)
                return finish(&a, fail_as(&a, failure));
        uncertain = json_integer_value(json_object_get(a.script, "uncertain"));
        for (json_int_t i = 0; i < uncertain; i++) {
                snprintf(what, sizeof(what), "uncertain.%d", (int)i);
                if (first_time(&a, what)) {
                        a.w->host->ask_again(call, 5);
                        return finish(&a, PRVNG_OBSERVED_UNCERTAIN);
                }
        }
        return finish(&a, look(&a, new_token));
}

static int32_t read_(void *instance, struct prvng_call *call, const void *task, uint64_t n_task,
                     struct prvng_sink *result)
{
        const json_t *failure;
        json_t *there;
        struct act a;
        int32_t answer;

        if (!start(&a, instance, call, "read", "", task, n_task))
                return PRVNG_PERMANENT;
        failure = scripted_failure(&a, "read");
        there = failure ? NULL : world_get(a.w, a.resource);
        if (failure)
                answer = fail_as(&a, failure);
        else if (!there)
                answer = fail(&a, PRVNG_NOT_FOUND, PRVNG_EFFECT_NONE, -1, "there is none");
        else
                answer = write_json(&a, result, json_object_get(there, "result"));
        json_decref(there);
        return finish(&a, answer);
}

static int32_t describe(void *instance, struct prvng_sink *result)
{
        const struct world *w = instance;

        return w->host->sink_write(result, w->what->describe, strlen(w->what->describe)) == 0
                       ? PRVNG_DONE : PRVNG_INTERNAL;
}

const struct prvng_op scripted_op = {
        .struct_size = sizeof(scripted_op),
        .prepare = prepare,
        .begin = begin,
        .poll = poll_,
        .cancel = cancel,
        .observe = observe,
        .read = read_,
        .list = world_list,
        .describe = describe,
};
