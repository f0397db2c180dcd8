/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plugin "isolated" in a process of its own, doing what each request says: all that crosses the border,
 * and all that can go wrong on the other side of it.
 */
#include "plugin/border.h"
#include "plugin/isolate.h"

#include "base/clock.h"
#include "base/json.h"
#include "loaded.h"
#include "support/web.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>

struct stage {
        struct loaded l;
        struct plugin *p;
        struct op_reply reply;
        json_t *result;

        pthread_mutex_t lock;
        struct buf log;
        struct buf progress;
};

static void log_line(void *userdata, int32_t level, const char *plugin, const char *topic, const char *run,
                     const char *task, const char *message)
{
        struct stage *s = userdata;

        pthread_mutex_lock(&s->lock);
        buf_printf(&s->log, "%d %s [%s] %s %s %s\n", level, plugin, topic, run, task, message);
        pthread_mutex_unlock(&s->lock);
}

static void on_progress(struct op_call *call, uint32_t permille, const char *message)
{
        struct stage *s = call->userdata;

        if (s->progress.n < 1000)
                buf_printf(&s->progress, "%u %s\n", permille, message);
}

static bool logged(struct stage *s, const char *text)
{
        bool found;

        pthread_mutex_lock(&s->lock);
        found = strstr(buf_str(&s->log), text) != NULL;
        pthread_mutex_unlock(&s->lock);
        return found;
}

/* What another process does comes when it comes: waits, up to the test's own time limit. */
#define WAIT_FOR(condition)                                                                        \
        do                                                                                         \
                usleep(1000);                                                                      \
        while (!(condition))

static void stage_new(struct stage *s, const char *config)
{
        const struct test_plugin plugin = {"isolated", NULL, config,
                                           "isolation = \"process\"; "
                                           "capabilities = { programs = [\"/bin/sh\", \"/usr/bin/env\"]; };"};

        *s = (struct stage){.reply = OP_REPLY_NULL, .lock = PTHREAD_MUTEX_INITIALIZER};
        loaded_new(&s->l, &plugin, 1, &(struct host_hooks){.log = log_line, .userdata = s});
        s->p = &s->l.plugins->list[0];
}

static void stage_ready(struct stage *s, const char *config)
{
        stage_new(s, config);
        cr_assert_eq(s->p->state, PLUGIN_READY, "%s", s->p->reason);
}

static void stage_end(struct stage *s)
{
        json_decref(s->result);
        op_reply_deinit(&s->reply);
        loaded_end(&s->l);
        buf_deinit(&s->log);
        buf_deinit(&s->progress);
}

static void op_call_for(struct stage *s, struct op_call *call, int64_t deadline_ms)
{
        op_call_init(call, s->p, "01JDABCDEFGHJKMNPQRSTVWXYZ", 3, deadline_ms, 9, "RUN", "op/web-0");
        call->on_progress = on_progress;
        call->userdata = s;
}

static void took(struct stage *s, struct op_call *call)
{
        op_call_deinit(call);
        json_decref(s->result);
        s->result = s->reply.result.n ? json_loads(buf_str(&s->reply.result), 0, NULL) : NULL;
}

#define LITERAL(text) (text), strlen(text)

static int32_t begin_until(struct stage *s, const char *request, int64_t deadline_ms)
{
        struct op_call call;

        op_call_for(s, &call, deadline_ms);
        op_begin(&call, "create", LITERAL(request), &s->reply);
        took(s, &call);
        return s->reply.answer;
}

static int32_t begin(struct stage *s, const char *request)
{
        return begin_until(s, request, INT64_MAX);
}

static const char *result(const struct stage *s, const char *path, const char *member)
{
        return json_get_string(json_object_get(s->result, path), member, "");
}

static int64_t number(const struct stage *s, const char *path, const char *member)
{
        return json_get_int(json_object_get(s->result, path), member, -1);
}

static struct isolate_state state(const struct stage *s)
{
        struct isolate_state i;

        cr_assert(isolate_state(s->p, &i));
        return i;
}

/* --- a sound plugin --- */

Test(isolated, presents_itself)
{
        struct isolate_state i;
        struct stage s;

        stage_ready(&s, NULL);
        cr_assert_str_eq(s.p->descriptor.id, "org.prvng.test.isolated");
        cr_assert_str_eq(s.p->descriptor.description, "does what a test says");
        cr_assert_eq(s.p->descriptor.threads, PRVNG_THREADS_PARALLEL);
        cr_assert_eq(s.p->descriptor.settle_ms, 1234);
        cr_assert_eq(json_get_int(s.p->dependencies, "batch_size", 0), 8);
        cr_assert_not_null(json_object_get(s.p->describe, "resources"));
        cr_assert_not_null(s.p->precheck.check);
        i = state(&s);
        cr_assert(i.running && i.pid > 0 && i.n_starts == 1 && i.n_crashes == 0 && !i.quarantined);
        WAIT_FOR(logged(&s, "2 isolated [thread]   from a thread of the plugin\n"));
        stage_end(&s);
}

Test(isolated, is_in_a_process_of_its_own)
{
        struct stage s;

        stage_ready(&s, NULL);
        cr_assert_eq(begin(&s, "{\"do\": [[\"where\"]]}"), PRVNG_DONE);
        cr_assert_neq(number(&s, "where", "pid"), getpid());
        cr_assert_eq(number(&s, "where", "pid"), state(&s).pid);
        cr_assert_eq(number(&s, "where", "group_leader"), 1);
        cr_assert_eq(number(&s, "where", "no_new_privs"), 1);
        cr_assert_eq(number(&s, "where", "environment"), 0);
        cr_assert_eq(number(&s, "where", "inherited"), 3, "0, 1 and 2");
        cr_assert_str_eq(result(&s, "where", "folder"), "/");
        stage_end(&s);
}

Test(isolated, is_gone_when_the_plugins_are)
{
        struct stage s;
        pid_t pid;

        stage_ready(&s, NULL);
        pid = state(&s).pid;
        plugins_free(s.l.plugins);
        s.l.plugins = NULL;
        cr_assert_eq(kill(pid, 0), -1, "it is reaped");
        cr_assert(logged(&s, "[destroy]   destroyed"));
        stage_end(&s);
}

Test(isolated, every_function_crosses)
{
        static const char empty[] = "{}";
        struct op_call call;
        struct stage s;

        stage_ready(&s, NULL);
#define FUNCTION(name, verb, token, ...)                                                           \
        do {                                                                                       \
                op_call_for(&s, &call, INT64_MAX);                                                 \
                __VA_ARGS__;                                                                       \
                took(&s, &call);                                                                   \
                cr_assert_eq(s.reply.answer, 0, name ": %s", s.reply.message);                     \
                cr_assert_str_eq(json_get_string(s.result, "function", ""), name);                 \
                cr_assert_str_eq(json_get_string(s.result, "verb", ""), verb);                     \
                cr_assert_str_eq(json_get_string(s.result, "token", ""), token);                   \
        } while (0)
        FUNCTION("prepare", "create", "", op_prepare(&call, "create", empty, 2, &s.reply));
        FUNCTION("begin", "update", "", op_begin(&call, "update", empty, 2, &s.reply));
        FUNCTION("poll", "create", "t1", op_poll(&call, "create", empty, 2, "t1", 2, &s.reply));
        FUNCTION("cancel", "create", "t1", op_cancel(&call, "create", empty, 2, "t1", 2, &s.reply));
        FUNCTION("observe", "delete", "t2", op_observe(&call, "delete", empty, 2, "t2", 2, &s.reply));
        FUNCTION("observe", "delete", "", op_observe(&call, "delete", empty, 2, NULL, 0, &s.reply));
        FUNCTION("read", "", "", op_read(&call, empty, 2, &s.reply));
        FUNCTION("list", "", "", op_list(&call, empty, 2, &s.reply));
        FUNCTION("precheck", "", "", op_precheck(&call, empty, 2, &s.reply));
        FUNCTION("i-1", "server", "", op_find(&call, "server", "i-1", &s.reply));
        op_call_for(&s, &call, INT64_MAX);
        op_self_test(&call, &s.reply);
        took(&s, &call);
        cr_assert_str_eq(buf_str(&s.reply.result), "{\"checks\":[]}");
        stage_end(&s);
}

Test(isolated, what_a_call_says_crosses)
{
        struct stage s;

        stage_ready(&s, NULL);
        cr_assert_eq(begin(&s, "{\"do\": [[\"call\"], [\"say\", \"hello\"], [\"progress\", \"half\"], "
                               "[\"ask_again\", 77], [\"token\", \"1 t\"], [\"answer\", 1]]}"), PRVNG_PENDING);
        cr_assert_eq(s.reply.ask_again_ms, 77);
        cr_assert_str_eq(buf_str(&s.reply.token), "1 t");
        cr_assert(logged(&s, "2 isolated [say] RUN op/web-0 hello\n"), "%s", buf_str(&s.log));
        cr_assert_str_eq(buf_str(&s.progress), "500 half\n");
        cr_assert_eq(begin(&s, "{\"do\": [[\"call\"]]}"), PRVNG_DONE);
        cr_assert_str_eq(result(&s, "call", "op_id"), "01JDABCDEFGHJKMNPQRSTVWXYZ");
        cr_assert_eq(number(&s, "call", "attempt"), 3);
        cr_assert_eq(number(&s, "call", "epoch"), 9);
        cr_assert_str_eq(result(&s, "call", "run"), "RUN");
        cr_assert_str_eq(result(&s, "call", "task"), "op/web-0");
        stage_end(&s);
}

Test(isolated, error_records_cross)
{
        struct stage s;

        stage_ready(&s, NULL);
        cr_assert_eq(begin(&s, "{\"do\": [[\"error\", [-1, 0]]]}"), PRVNG_TRANSIENT);
        cr_assert_eq(s.reply.effect, PRVNG_EFFECT_NONE);
        cr_assert_str_eq(s.reply.message, "said so");
        cr_assert_str_eq(s.reply.field, "spec.size");
        cr_assert_eq(s.reply.retry_after_ms, 7);
        cr_assert_eq(s.reply.code, 42);
        cr_assert_eq(s.reply.status, 503);
        cr_assert_eq(begin(&s, "{\"do\": [[\"error\", [-9, 2]]]}"), PRVNG_QUOTA);
        cr_assert_eq(s.reply.effect, PRVNG_EFFECT_PARTIAL);
        cr_assert_eq(begin(&s, "{\"do\": [[\"answer\", -1]]}"), PRVNG_TRANSIENT);
        cr_assert_eq(s.reply.effect, PRVNG_EFFECT_UNKNOWN, "no record");
        stage_end(&s);
}

Test(isolated, sinks_keep_their_limits)
{
        _cleanup_(cleanup_free) char *request = NULL;
        char token[4200];
        struct stage s;

        stage_ready(&s, NULL);
        memset(token, 't', 4097);
        token[4097] = 0;
        cr_assert_geq(asprintf(&request, "{\"do\": [[\"token\", \"%s\"], [\"answer\", 1]]}", token), 0);
        cr_assert_eq(begin(&s, request), PRVNG_INTERNAL);
        cr_assert_not_null(strstr(s.reply.message, "longer than 4096 bytes"), "%s", s.reply.message);
        cr_assert_eq(begin(&s, "{\"do\": [[\"bytes\", 1000000]]}"), PRVNG_DONE);
        cr_assert_gt(s.reply.result.n, 1000000);
        cr_assert_eq(begin(&s, "{\"do\": [[\"bytes\", 17000000]]}"), PRVNG_INTERNAL);
        cr_assert_not_null(strstr(s.reply.message, "longer than 16 MiB"), "%s", s.reply.message);
        cr_assert_eq(begin(&s, "{}"), PRVNG_DONE, "it goes on after that");
        stage_end(&s);
}

static void web_answer(void *userdata, const struct web_request *request, struct web_reply *ret)
{
        ret->status = web_has(request->headers, "Authorization", "Bearer s3cret") ? 201 : 401;
        ret->headers = "Retry-After: 3\r\nX-Reply: here\r\n";
        ret->body = request->n_body ? "posted" : "got";
}

Test(isolated, http_crosses)
{
        struct web *web = web_new(&(struct web_options){.answer = web_answer});
        char config[200];
        struct stage s;

        snprintf(config, sizeof(config), "url = \"http://127.0.0.1:%d/base\";", web_port(web));
        stage_ready(&s, config);
        cr_assert_eq(begin(&s, "{\"do\": [[\"http\", [\"/x\"]]]}"), PRVNG_DONE, "%s", s.reply.message);
        cr_assert_eq(number(&s, "http", "status"), 201);
        cr_assert_eq(number(&s, "http", "retry_after_ms"), 3000);
        cr_assert_str_eq(result(&s, "http", "body"), "got");
        cr_assert_not_null(strstr(result(&s, "http", "headers"), "x-reply: here\n"));
        cr_assert_eq(begin(&s, "{\"do\": [[\"http\", [\"/y\", \"text\"]]]}"), PRVNG_DONE);
        cr_assert_str_eq(result(&s, "http", "body"), "posted");
        stage_end(&s);
        web_free(web);
}

/* What a host service fails with is the call's record, as inside of the engine. */
Test(isolated, failures_of_services_cross)
{
        struct web *web = web_new(&(struct web_options){.answer = web_answer});
        char config[200];
        struct stage s;

        snprintf(config, sizeof(config), "url = \"http://127.0.0.1:%d\";", web_port(web));
        web_free(web);
        stage_ready(&s, config);
        cr_assert_eq(begin(&s, "{\"do\": [[\"http\", [\"/x\"]]]}"), PRVNG_TRANSIENT);
        cr_assert_eq(s.reply.effect, PRVNG_EFFECT_NONE, "nobody listens: nothing had left");
        cr_assert_not_null(s.reply.message);
        stage_end(&s);
}

Test(isolated, children_and_servers_are_reached)
{
        struct stage s;

        stage_ready(&s, NULL);
        cr_assert_eq(begin(&s, "{\"do\": [[\"spawn\", \"cat; echo no >&2; exit 5\"]]}"), PRVNG_DONE, "%s", s.reply.message);
        cr_assert_eq(number(&s, "spawn", "code"), 5);
        cr_assert_str_eq(result(&s, "spawn", "out"), "input");
        cr_assert_str_eq(result(&s, "spawn", "err"), "no\n");
        cr_assert_eq(begin(&s, "{\"do\": [[\"remote\", \"cat; exit 6\"]]}"), PRVNG_DONE, "%s", s.reply.message);
        cr_assert_eq(number(&s, "remote", "code"), 6);
        cr_assert_str_eq(result(&s, "remote", "out"), "in");
        stage_end(&s);
}

Test(isolated, folders_rate_and_what_there_is_not)
{
        struct stage s;

        stage_ready(&s, NULL);
        cr_assert_eq(begin(&s, "{\"do\": [[\"folders\"], [\"teleport\"], [\"rate\"]]}"), PRVNG_DONE, "%s",
                     s.reply.message);
        cr_assert_not_null(strstr(result(&s, "folders", "state"), "/plugins/isolated"));
        cr_assert_not_null(strstr(result(&s, "folders", "cache"), "/isolated"));
        cr_assert_not_null(strstr(result(&s, "folders", "task"), "/runs/RUN/op:web-0"));
        cr_assert(json_is_false(json_object_get(s.result, "teleport")));
        stage_end(&s);
}

/* --- several at once, and cancelled --- */

struct caller {
        pthread_t thread;
        struct stage *s;
        struct op_call call;
        struct op_reply reply;
        const char *request;
};

static void *call_it(void *userdata)
{
        struct caller *c = userdata;

        op_begin(&c->call, "create", LITERAL(c->request), &c->reply);
        return NULL;
}

static void caller_start(struct caller *c, struct stage *s, const char *request, int64_t deadline_ms)
{
        *c = (struct caller){.s = s, .reply = OP_REPLY_NULL, .request = request};
        op_call_for(s, &c->call, deadline_ms);
        cr_assert_eq(pthread_create(&c->thread, NULL, call_it, c), 0);
}

static void caller_end(struct caller *c)
{
        pthread_join(c->thread, NULL);
        op_call_deinit(&c->call);
}

Test(isolated, calls_run_beside_each_other_and_are_cancelled)
{
        struct caller c[3];
        struct stage s;

        stage_ready(&s, NULL);
        caller_start(&c[0], &s, "{\"do\": [[\"progress\", \"there\"], [\"spawn\", \"exec sleep 20\"]]}", INT64_MAX);
        caller_start(&c[1], &s, "{\"do\": [[\"say\", \"waits 1\"], [\"remote\", \":\"], [\"wait\"]]}", INT64_MAX);
        caller_start(&c[2], &s, "{\"do\": [[\"say\", \"waits 2\"], [\"remote\", \":\"], [\"wait_fd\"]]}", INT64_MAX);
        WAIT_FOR(logged(&s, "waits 1") && logged(&s, "waits 2"));
        cr_assert_eq(begin(&s, "{}"), PRVNG_DONE, "while the others wait: %s", s.reply.message);
        for (int k = 0; k < 3; k++)
                op_call_cancel(&c[k].call);
        for (int k = 0; k < 3; k++) {
                caller_end(&c[k]);
                cr_assert_eq(c[k].reply.answer, PRVNG_CANCELLED, "%d: %d %s", k, c[k].reply.answer,
                             c[k].reply.message);
                op_reply_deinit(&c[k].reply);
        }
        cr_assert_eq(begin(&s, "{}"), PRVNG_DONE, "a channel forgets that its last call was cancelled");
        cr_assert_eq(state(&s).n_crashes, 0);
        stage_end(&s);
}

Test(isolated, cancelled_before_it_begins)
{
        struct op_call call;
        struct stage s;

        stage_ready(&s, NULL);
        for (int k = 0; k < 20; k++) {
                op_call_for(&s, &call, INT64_MAX);
                op_call_cancel(&call);
                op_begin(&call, "create", LITERAL("{\"do\": [[\"wait\"]]}"), &s.reply);
                cr_assert_eq(s.reply.answer, PRVNG_CANCELLED);
                op_call_deinit(&call);
        }
        stage_end(&s);
}

/* --- what goes wrong --- */

/* It is started again at the next call, not before its time. */
static void works_again(struct stage *s)
{
        int32_t r;

        WAIT_FOR((r = begin(s, "{}")) != PRVNG_RATE_LIMITED || s->reply.effect != PRVNG_EFFECT_NONE);
        cr_assert_eq(r, PRVNG_DONE, "%s", s->reply.message);
}

Test(isolated, a_crash_costs_the_call)
{
        static const char crash[] = "{\"do\": [[\"fault\"]]}";
        struct op_call call;
        struct stage s;
        pid_t first;

        stage_ready(&s, NULL);
        first = state(&s).pid;
        cr_assert_eq(begin(&s, crash), PRVNG_TRANSIENT);
        cr_assert_eq(s.reply.effect, PRVNG_EFFECT_UNKNOWN);
        cr_assert_not_null(strstr(s.reply.message, "plugin isolated"), "%s", s.reply.message);
#ifndef __SANITIZE_ADDRESS__ /* which ends it in its own way */
        cr_assert_not_null(strstr(s.reply.message, "was ended by SIGSEGV in begin"), "%s", s.reply.message);
#endif
        cr_assert(!state(&s).running && state(&s).n_crashes == 1 && state(&s).last_reason[0]);
        works_again(&s);
        cr_assert_neq(state(&s).pid, first);

        op_call_for(&s, &call, INT64_MAX);
        op_poll(&call, "create", LITERAL(crash), "t", 1, &s.reply);
        op_call_deinit(&call);
        cr_assert_eq(s.reply.answer, PRVNG_TRANSIENT);
        cr_assert_eq(s.reply.effect, PRVNG_EFFECT_UNKNOWN);
        op_call_for(&s, &call, INT64_MAX);
        op_observe(&call, "create", "{}", 2, NULL, 0, &s.reply);
        op_call_deinit(&call);
        cr_assert_eq(s.reply.answer, PRVNG_RATE_LIMITED, "it is too soon to be asked");
        cr_assert_eq(s.reply.effect, PRVNG_EFFECT_UNKNOWN);
        cr_assert_gt(s.reply.retry_after_ms, 0);
        works_again(&s);

        op_call_for(&s, &call, INT64_MAX);
        op_prepare(&call, "create", LITERAL(crash), &s.reply);
        op_call_deinit(&call);
        cr_assert_eq(s.reply.answer, PRVNG_TRANSIENT);
        cr_assert_eq(s.reply.effect, PRVNG_EFFECT_NONE);
        stage_end(&s);
}

Test(isolated, ended_from_outside)
{
        struct caller c;
        struct stage s;

        stage_ready(&s, NULL);
        caller_start(&c, &s, "{\"do\": [[\"say\", \"here\"], [\"remote\", \":\"], [\"hang\"]]}", INT64_MAX);
        WAIT_FOR(logged(&s, "here"));
        cr_assert_eq(kill(state(&s).pid, SIGKILL), 0);
        caller_end(&c);
        cr_assert_eq(c.reply.answer, PRVNG_TRANSIENT);
        cr_assert_eq(c.reply.effect, PRVNG_EFFECT_UNKNOWN);
        cr_assert_not_null(strstr(c.reply.message, "SIGKILL in begin"), "%s", c.reply.message);
        op_reply_deinit(&c.reply);
        works_again(&s);
        cr_assert_eq(begin(&s, "{\"do\": [[\"exit\", 3]]}"), PRVNG_TRANSIENT);
        cr_assert_not_null(strstr(s.reply.message, "exit code 3 in begin"), "%s", s.reply.message);
        stage_end(&s);
}

Test(isolated, one_that_hangs_is_ended)
{
        struct stage s;

        stage_ready(&s, NULL);
        cr_assert_eq(begin_until(&s, "{\"do\": [[\"hang\"]]}", clock_boot_ms() + 100), PRVNG_TRANSIENT);
        cr_assert_eq(s.reply.effect, PRVNG_EFFECT_UNKNOWN);
        cr_assert_not_null(strstr(s.reply.message, "did not come back in time"), "%s", s.reply.message);
        works_again(&s);
        stage_end(&s);
}

Test(isolated, one_that_floods_is_ended)
{
        struct stage s;

        stage_ready(&s, NULL);
        cr_assert_eq(begin_until(&s, "{\"do\": [[\"flood\"]]}", clock_boot_ms() + 100), PRVNG_TRANSIENT);
        cr_assert_eq(s.reply.effect, PRVNG_EFFECT_UNKNOWN);
        stage_end(&s);
}

#ifndef __SANITIZE_ADDRESS__
Test(isolated, one_that_eats_memory_is_ended)
{
        struct stage s;

        stage_ready(&s, NULL);
        cr_assert_eq(begin(&s, "{\"do\": [[\"eat\"]]}"), PRVNG_TRANSIENT);
        cr_assert_eq(s.reply.effect, PRVNG_EFFECT_UNKNOWN);
        cr_assert_not_null(strstr(s.reply.message, "SIGABRT"), "%s", s.reply.message);
        works_again(&s);
        stage_end(&s);
}
#endif

Test(isolated, rubbish_on_the_sockets)
{
        static const char *const rubbish[] = {
                "ffffffff22000000",                 /* a frame of 4 GiB */
                "000000007f000000",                 /* of a type that there is not */
                "0400000023000000ff000000",         /* such a question */
                "0800000022000000ffffffff00000000", /* the reply to another call */
        };
        struct stage s;

        stage_ready(&s, NULL);
        for (size_t k = 0; k < N_ELEMENTS(rubbish); k++) {
                _cleanup_(cleanup_free) char *request = NULL;

                cr_assert_geq(asprintf(&request, "{\"do\": [[\"garbage\", \"%s\"]]}", rubbish[k]), 0);
                cr_assert_eq(begin(&s, request), PRVNG_TRANSIENT, "%d", s.reply.answer);
                cr_assert_eq(s.reply.effect, PRVNG_EFFECT_UNKNOWN);
                cr_assert_not_null(strstr(s.reply.message, "what is no message"), "%s", s.reply.message);
                works_again(&s);
                isolate_release(s.p); /* the last ones count no more */
        }
        cr_assert_eq(begin(&s, "{\"do\": [[\"close\"]]}"), PRVNG_TRANSIENT);
        cr_assert_eq(s.reply.effect, PRVNG_EFFECT_UNKNOWN);
        works_again(&s);
        stage_end(&s);
}

Test(isolated, what_it_prints_is_logged_and_harmless)
{
        struct stage s;

        stage_ready(&s, NULL);
        cr_assert_eq(begin(&s, "{\"do\": [[\"print\", 3]]}"), PRVNG_DONE);
        WAIT_FOR(logged(&s, "1 isolated [output]   rubbish ?[31m 1\n"));
        cr_assert_eq(begin(&s, "{\"do\": [[\"print\", 100000]]}"), PRVNG_DONE, "it is no reason to wait");
        WAIT_FOR(logged(&s, "more than is worth a log"));
        stage_end(&s);
}

Test(isolated, too_many_crashes_are_the_end_of_it)
{
        struct op_call call;
        struct stage s;

        stage_ready(&s, NULL);
        for (int k = 0; k < ISOLATE_CRASHES_MAX; k++) {
                WAIT_FOR(begin(&s, "{\"do\": [[\"exit\", 1]]}") == PRVNG_TRANSIENT &&
                         s.reply.effect == PRVNG_EFFECT_UNKNOWN);
                cr_assert_eq(state(&s).n_in_window, k + 1);
        }
        cr_assert(state(&s).quarantined);
        cr_assert_eq(begin(&s, "{}"), PRVNG_PERMANENT);
        cr_assert_eq(s.reply.effect, PRVNG_EFFECT_NONE);
        cr_assert_not_null(strstr(s.reply.message, "quarantined"), "%s", s.reply.message);
        cr_assert_not_null(strstr(s.reply.message, "exit code 1 in begin"), "%s", s.reply.message);
        op_call_for(&s, &call, INT64_MAX);
        op_observe(&call, "create", "{}", 2, NULL, 0, &s.reply);
        op_call_deinit(&call);
        cr_assert_eq(s.reply.answer, PRVNG_UNSUPPORTED, "which parks it for the operator");
        isolate_release(s.p);
        cr_assert_eq(begin(&s, "{}"), PRVNG_DONE);
        cr_assert(!state(&s).quarantined);
        stage_end(&s);
}

/* --- its start --- */

static void refused(const char *config, const char *reason)
{
        struct stage s;

        stage_new(&s, config);
        cr_assert_eq(s.p->state, PLUGIN_REFUSED);
        cr_assert_not_null(strstr(s.p->reason, reason), "%s", s.p->reason);
        stage_end(&s);
}

Test(isolated, that_cannot_start_says_why)
{
        refused("create = \"fail\";", "no account: set config.account");
#ifndef __SANITIZE_ADDRESS__
        refused("create = \"fault\";", "SIGSEGV");
#endif
        setenv("PRVNG_LIBEXEC_PATH", "/nonexistent", 1);
        refused(NULL, "/nonexistent/prvng-plugin-host cannot be started: No such file or directory");
}

Test(isolated, that_cannot_start_again_is_tried_again)
{
        struct stage s;

        stage_ready(&s, "create = \"fail\"; if_there = \"@SITE@/broken\";");
        test_site_write(&s.l.site, "broken", "");
        cr_assert_eq(begin(&s, "{\"do\": [[\"exit\", 1]]}"), PRVNG_TRANSIENT);
        WAIT_FOR(begin(&s, "{}") == PRVNG_RATE_LIMITED && strstr(s.reply.message, "no account"));
        cr_assert_eq(s.reply.effect, PRVNG_EFFECT_NONE);
        test_site_write(&s.l.site, "unused", "");
        {
                _cleanup_(cleanup_free) char *path = test_site_path(&s.l.site, "broken");

                cr_assert_eq(unlink(path), 0);
        }
        works_again(&s);
        stage_end(&s);
}
