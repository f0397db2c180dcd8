/* SPDX-License-Identifier: Apache-2.0 */
/* The helper behind the core's border, with this machine as the server and scripts that only touch a
 * throw-away folder. */
#include "taskserv.h"

#include "base/clock.h"
#include "base/json.h"
#include "host/child.h"
#include "host/host.h"
#include "plugin/border.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>

#define RESULT_OF(r) buf_str(&(r)->result)

static const struct taskserv_parameter parameters[] = {
        {"folder", TASKSERV_TEXT, "", NULL, "a folder"},
        {"mode", TASKSERV_TEXT, "good", "[a-z' ]*", "lower case words"},
        {"words", TASKSERV_LIST, "one two", "[a-z]+", "words"},
        {"flag", TASKSERV_BOOLEAN, "no", NULL, "true or false"},
        {"count", TASKSERV_INTEGER, "3", NULL, "a number"},
};

static const struct taskserv taskserv = {
        .name = "fake",
        .version = "1",
        .digest = "d",
        .dependencies = "{\"health_check\":{\"command\":\"! test -e $(cat /proc/self/environ | "
                        "tr '\\\\0' '\\\\n' | sed -n 's/^FOLDER=//p')/sick\",\"timeout\":5,"
                        "\"retries\":2}}",
        .parameters = parameters,
        .n_parameters = N_ELEMENTS(parameters),
        .check = "[ -e \"$p_folder/installed\" ] || absent\npresent\n"
                 "same words \"$p_words\" \"$(cat \"$p_folder/installed\")\"\n"
                 "result kind checked\n",
        .install = "progress 300 'putting it there'\n"
                   "echo run >>\"$p_folder/times\"\n"
                   "case $p_mode in\n"
                   "slow) [ -e \"$p_folder/half\" ] || { touch \"$p_folder/half\"; sleep 1000; } ;;\n"
                   "bad) echo 'first line'; echo 'disk is on fire' >&2; exit 42 ;;\n"
                   "said) fail 'the moon is in the way' ;;\n"
                   "mirror) [ -e \"$p_folder/half\" ] || { touch \"$p_folder/half\";"
                   " transient 'no mirror answers'; } ;;\n"
                   "long) head -c 700000 /dev/zero | tr '\\0' x | fold -w 70; echo ;;\n"
                   "esac\n"
                   "echo \"$p_words\" >\"$p_folder/installed\"\n"
                   "version fake 7\nresult kind \"it's \\\"$p_flag\\\" $p_count\"\n",
        .remove = "rm \"$p_folder/installed\"\n",
};

static struct {
        char folder[64];
        struct config config;
        struct host *host;
        struct plugin plugin;
        struct buf log;
        struct op_reply reply;
        char message[256]; /* of the last progress */
        struct buf request;
        struct buf token;
} t;

static void on_output(void *userdata, const char *run, const char *task, const void *data, size_t n)
{
        buf_append(&t.log, data, n);
}

static void on_log(void *userdata, int32_t level, const char *plugin, const char *topic,
                   const char *run, const char *task, const char *message)
{
}

static void on_progress(struct op_call *call, uint32_t permille, const char *message)
{
        snprintf(t.message, sizeof(t.message), "%u %s", permille, message);
}

static void setup(void)
{
        static struct host_hooks hooks = {.output = on_output, .log = on_log};

        snprintf(t.folder, sizeof(t.folder), "/tmp/prvng-taskserv-test-XXXXXX");
        cr_assert(mkdtemp(t.folder));
        t.config.state = t.folder;
        t.reply = OP_REPLY_NULL;
        cr_assert_eq(host_new(&t.config, &hooks, &t.host), 0);
        t.plugin = (struct plugin){.state = PLUGIN_READY, .name = strdup("fake"), .host = t.host};
        cr_assert_eq(taskserv_create(&taskserv, host_table(t.host), "{}", 2, &t.plugin.instance),
                     PRVNG_DONE);
        t.plugin.op = *(const struct prvng_op *)taskserv_get_interface(t.plugin.instance, PRVNG_OP);
}

static void teardown(void)
{
        const char *const argv[] = {"rm", "-rf", t.folder, NULL};
        struct child_result result = CHILD_RESULT_NULL;

        taskserv_destroy(t.plugin.instance);
        free(t.plugin.name);
        host_free(t.host);
        op_reply_deinit(&t.reply);
        buf_deinit(&t.log);
        buf_deinit(&t.request);
        buf_deinit(&t.token);
        child_run(&(struct child_spec){.argv = argv, .deadline_ms = INT64_MAX, .cancel_fd = -1},
                  &result);
        child_result_deinit(&result);
}

TestSuite(taskserv, .init = setup, .fini = teardown, .timeout = 60);

static void put(const char *name)
{
        char path[128];
        FILE *f;

        snprintf(path, sizeof(path), "%s/%s", t.folder, name);
        f = fopen(path, "we");
        cr_assert(f);
        fclose(f);
}

static size_t size_of(const char *name)
{
        char path[128];
        size_t n = 0;
        FILE *f;

        snprintf(path, sizeof(path), "%s/%s", t.folder, name);
        f = fopen(path, "re");
        while (f && fgetc(f) != EOF)
                n++;
        if (f)
                fclose(f);
        return n;
}

static const char *task(const char *spec)
{
        static char text[2048];

        snprintf(text, sizeof(text),
                 "{\"kind\":\"taskserv\",\"name\":\"fake\",\"server\":\"web-0\","
                 "\"spec\":{\"folder\":\"%s\"%s},\"inputs\":{\"server.web-0\":{\"addresses\":[],"
                 "\"reach\":{\"method\":\"exec\",\"argv\":[\"/usr/bin/env\",\"-i\",\"FOLDER=%s\","
                 "\"PATH=/usr/sbin:/usr/bin:/sbin:/bin\"],\"jobs\":\"%s/remote\"}}}}",
                 t.folder, spec, t.folder, t.folder);
        return text;
}

static void call_init(struct op_call *call, const char *op)
{
        op_call_init(call, &t.plugin, op, 1, clock_boot_ms() + 30000, 1, "R1", "base/fake@web-0");
        call->on_progress = on_progress;
}

static int32_t prepare(const char *verb, const char *spec)
{
        struct op_call call;

        call_init(&call, "");
        op_prepare(&call, verb, task(spec), strlen(task(spec)), &t.reply);
        op_call_deinit(&call);
        buf_clear(&t.request);
        buf_append(&t.request, t.reply.result.data, t.reply.result.n);
        return t.reply.answer;
}

static int32_t begin(const char *op, const char *verb, const char *spec)
{
        struct op_call call;

        cr_assert_eq(prepare(verb, spec), PRVNG_DONE, "%s", t.reply.message);
        call_init(&call, op);
        op_begin(&call, verb, t.request.data, t.request.n, &t.reply);
        op_call_deinit(&call);
        buf_clear(&t.token);
        buf_append(&t.token, t.reply.token.data, t.reply.token.n);
        return t.reply.answer;
}

static int32_t poll_once(const char *op, const char *verb)
{
        struct op_call call;

        call_init(&call, op);
        op_poll(&call, verb, t.request.data, t.request.n, t.token.data, t.token.n, &t.reply);
        op_call_deinit(&call);
        if (t.reply.token.n) {
                buf_clear(&t.token);
                buf_append(&t.token, t.reply.token.data, t.reply.token.n);
        }
        return t.reply.answer;
}

static int32_t finish(const char *op, const char *verb)
{
        int32_t r = poll_once(op, verb);

        for (int i = 0; i < 1000 && r == PRVNG_PENDING; i++) {
                poll(NULL, 0, 10);
                r = poll_once(op, verb);
        }
        return r;
}

static int32_t observe(const char *op, const char *verb)
{
        struct op_call call;

        call_init(&call, op);
        op_observe(&call, verb, t.request.data, t.request.n, NULL, 0, &t.reply);
        op_call_deinit(&call);
        return t.reply.answer;
}

static int32_t create(const char *op, const char *spec)
{
        int32_t r = begin(op, "create", spec);

        return r == PRVNG_PENDING ? finish(op, "create") : r;
}

static bool said(const char *what)
{
        return t.reply.message && strstr(t.reply.message, what);
}

Test(taskserv, create_then_unchanged_then_update_then_delete)
{
        cr_assert_eq(create("OP1", ""), PRVNG_DONE, "%s", t.reply.message);
        cr_assert(strstr(RESULT_OF(&t.reply), "\"versions\":{\"fake\":\"7\"}"), "%s",
                  RESULT_OF(&t.reply));
        cr_assert(strstr(RESULT_OF(&t.reply), "it's \\\"no\\\" 3"), "%s", RESULT_OF(&t.reply));
        cr_assert_eq(create("OP2", ""), PRVNG_UNCHANGED);
        cr_assert_eq(begin("OP3", "check", ""), PRVNG_UNCHANGED);
        cr_assert_eq(begin("OP4", "check", ",\"words\":[\"three\"]"), PRVNG_DONE);
        cr_assert(strstr(RESULT_OF(&t.reply), "\"found\":\"one two\",\"wanted\":\"three\""), "%s",
                  RESULT_OF(&t.reply));
        cr_assert_eq(begin("OP5", "update", ",\"words\":[\"three\"]"), PRVNG_PENDING);
        cr_assert_eq(finish("OP5", "update"), PRVNG_DONE);
        cr_assert_eq(begin("OP6", "check", ",\"words\":[\"three\"]"), PRVNG_UNCHANGED);
        cr_assert_eq(begin("OP7", "delete", ""), PRVNG_PENDING);
        cr_assert_eq(finish("OP7", "delete"), PRVNG_DONE);
        cr_assert_eq(begin("OP8", "delete", ""), PRVNG_UNCHANGED);
        cr_assert_eq(begin("OP9", "check", ""), PRVNG_DONE);
        cr_assert(strstr(RESULT_OF(&t.reply), "\"attribute\":\"installed\""));
        cr_assert_eq(size_of("times"), 8, "installed twice");
}

Test(taskserv, crash_after_begin_and_before_the_end)
{
        cr_assert_eq(prepare("create", ""), PRVNG_DONE);
        cr_assert_eq(observe("OP1", "create"), PRVNG_OBSERVED_NOT_STARTED);
        cr_assert_eq(begin("OP1", "create", ""), PRVNG_PENDING);
        cr_assert_eq(begin("OP1", "create", ""), PRVNG_PENDING, "the token was lost");
        cr_assert_eq(observe("OP1", "create"), PRVNG_OBSERVED_IN_PROGRESS);
        cr_assert_gt(t.reply.token.n, 0);
        cr_assert_eq(finish("OP1", "create"), PRVNG_DONE, "%s", t.reply.message);
        /* the result was lost: it is still ours, not UNCHANGED */
        cr_assert_eq(observe("OP1", "create"), PRVNG_OBSERVED_IN_PROGRESS);
        cr_assert_eq(finish("OP1", "create"), PRVNG_DONE, "%s", t.reply.message);
        cr_assert_eq(size_of("times"), 4, "the script ran once");
        cr_assert_eq(t.log.n, size_of("remote/OP1/output"), "each byte is logged once: %s",
                     buf_str(&t.log));
}

Test(taskserv, killed_job_is_partial_and_begun_again)
{
        char path[128];
        int pid = 0;
        FILE *f;

        cr_assert_eq(begin("OP1", "create", ",\"mode\":\"slow\""), PRVNG_PENDING);
        for (int i = 0; i < 500 && !t.message[0]; i++) {
                cr_assert_eq(poll_once("OP1", "create"), PRVNG_PENDING);
                poll(NULL, 0, 10);
        }
        cr_assert_str_eq(t.message, "300 putting it there");
        snprintf(path, sizeof(path), "%s/remote/OP1/started", t.folder);
        f = fopen(path, "re");
        cr_assert(f && fscanf(f, "%d", &pid) == 1 && pid > 1);
        fclose(f);
        kill(pid, SIGKILL); /* as a restart of the server does */
        cr_assert_eq(finish("OP1", "create"), PRVNG_TRANSIENT);
        cr_assert_eq(t.reply.effect, PRVNG_EFFECT_PARTIAL);
        cr_assert_eq(observe("OP1", "create"), PRVNG_OBSERVED_PARTIAL);
        cr_assert_eq(create("OP1", ",\"mode\":\"slow\""), PRVNG_DONE, "%s", t.reply.message);
        cr_assert_eq(size_of("times"), 8);
}

Test(taskserv, failure_says_all_that_helps)
{
        char rerun[256];

        cr_assert_eq(create("OP1", ",\"mode\":\"bad\""), PRVNG_PERMANENT);
        cr_assert_eq(t.reply.effect, PRVNG_EFFECT_PARTIAL);
        cr_assert(said("fake on web-0"));
        cr_assert(said("\"putting it there\" failed with exit code 42"));
        cr_assert(said("first line\ndisk is on fire"), "%s", t.reply.message);
        cr_assert(said("prvng batch logs R1 base/fake@web-0"));
        snprintf(rerun, sizeof(rerun), "prvng server exec web-0 -- %s/remote/OP1/run", t.folder);
        cr_assert(said(rerun), "%s", t.reply.message);
        cr_assert_gt(size_of("remote/OP1/run"), 100, "the folder is kept");
        cr_assert(strstr(buf_str(&t.log), "disk is on fire"));
        cr_assert_eq(observe("OP1", "create"), PRVNG_OBSERVED_FAILED);
}

Test(taskserv, rerun_by_hand_does_the_same)
{
        char path[128];
        struct child_result result = CHILD_RESULT_NULL;
        const char *const argv[] = {path, NULL};

        snprintf(path, sizeof(path), "%s/remote/OP1/run", t.folder);
        cr_assert_eq(create("OP1", ",\"mode\":\"bad\""), PRVNG_PERMANENT);
        cr_assert_eq(child_run(&(struct child_spec){.argv = argv, .deadline_ms = INT64_MAX,
                                                    .cancel_fd = -1, .max_output = 4096},
                               &result),
                     0);
        cr_assert_eq(result.status, 42);
        child_result_deinit(&result);
}

Test(taskserv, what_the_script_says_of_its_failure)
{
        cr_assert_eq(create("OP1", ",\"mode\":\"said\""), PRVNG_PERMANENT);
        cr_assert(said("exit code 1: the moon is in the way"), "%s", t.reply.message);
        cr_assert_eq(create("OP2", ",\"mode\":\"mirror\""), PRVNG_TRANSIENT);
        cr_assert_eq(t.reply.effect, PRVNG_EFFECT_PARTIAL);
        cr_assert(said("no mirror answers"));
        cr_assert_eq(observe("OP2", "create"), PRVNG_OBSERVED_PARTIAL, "begin completes it");
        cr_assert_eq(create("OP2", ",\"mode\":\"mirror\""), PRVNG_DONE);
}

Test(taskserv, service_that_does_not_answer)
{
        put("sick");
        cr_assert_eq(create("OP1", ""), PRVNG_PERMANENT);
        cr_assert_eq(t.reply.effect, PRVNG_EFFECT_PARTIAL);
        cr_assert(said("failed 3 times"), "%s", t.reply.message);
        /* what is there but does not work is not UNCHANGED */
        cr_assert_eq(begin("OP2", "create", ""), PRVNG_PENDING);
}

Test(taskserv, long_output)
{
        cr_assert_eq(create("OP1", ",\"mode\":\"long\""), PRVNG_DONE, "%s", t.reply.message);
        cr_assert(strstr(RESULT_OF(&t.reply), "\"versions\""));
        cr_assert_eq(t.log.n, size_of("remote/OP1/output"));
        cr_assert_gt(t.log.n, 700000);
}

Test(taskserv, cancel)
{
        struct op_call call;

        cr_assert_eq(begin("OP1", "create", ",\"mode\":\"slow\""), PRVNG_PENDING);
        call_init(&call, "OP1");
        op_cancel(&call, "create", t.request.data, t.request.n, t.token.data, t.token.n, &t.reply);
        cr_assert_eq(t.reply.answer, PRVNG_CANCELLED);
        cr_assert_eq(t.reply.effect, PRVNG_EFFECT_PARTIAL);
        op_cancel(&call, "create", t.request.data, t.request.n, t.token.data, t.token.n, &t.reply);
        cr_assert_eq(t.reply.answer, PRVNG_CANCELLED, "idempotent");
        op_call_deinit(&call);
        cr_assert_eq(observe("OP1", "create"), PRVNG_OBSERVED_PARTIAL);
        cr_assert_eq(size_of("installed"), 0);
}

Test(taskserv, foreign_tokens_are_rejected)
{
        static const char *const bad[] = {"", "2 OP1 0 0", "1 OP2 0 0", "1 OP1 0", "1 OP1 0 0 ",
                                          "1 OP1 -1 0", "1 OP1 01 0", "1 ../x 0 0"};

        cr_assert_eq(prepare("create", ""), PRVNG_DONE);
        for (size_t k = 0; k < N_ELEMENTS(bad); k++) {
                buf_clear(&t.token);
                buf_puts(&t.token, bad[k]);
                cr_assert_eq(poll_once("OP1", "create"), PRVNG_TOKEN_REJECTED, "'%s'", bad[k]);
        }
}

Test(taskserv, parameters_are_checked_before_anything_runs)
{
        cr_assert_eq(prepare("create", ",\"words\":[\"a b\"]"), PRVNG_PERMANENT);
        cr_assert_str_eq(t.reply.field, "spec.words");
        cr_assert(said("[\"a b\"]"), "%s", t.reply.message);
        cr_assert_eq(prepare("create", ",\"fake\":{\"mode\":\"BAD\"}"), PRVNG_PERMANENT);
        cr_assert_str_eq(t.reply.field, "spec.fake.mode");
        cr_assert_eq(prepare("create", ",\"fake\":{\"mood\":\"x\"}"), PRVNG_PERMANENT);
        cr_assert(said("knows no attribute 'mood'"));
        cr_assert_eq(prepare("create", ",\"flag\":\"yes\""), PRVNG_PERMANENT);
        cr_assert_eq(prepare("create", ",\"others\":1,\"fake\":{\"flag\":true}"), PRVNG_DONE);
        cr_assert(strstr(buf_str(&t.request), "\"flag\":\"yes\""));
}

Test(taskserv, request_is_always_the_same_and_values_are_quoted)
{
        _cleanup_(cleanup_buf) struct buf first = BUF_NULL;

        cr_assert_eq(prepare("create", ",\"mode\":\"it's $(touch x)\""), PRVNG_PERMANENT);
        cr_assert_eq(prepare("create", ",\"mode\":\"'; exit '\""), PRVNG_PERMANENT);
        cr_assert_eq(prepare("create", ",\"mode\":\"it's\",\"count\":4"), PRVNG_DONE);
        buf_puts(&first, t.request.data);
        cr_assert_eq(prepare("create", ",\"count\":4,\"mode\":\"it's\""), PRVNG_DONE);
        cr_assert_str_eq(t.request.data, first.data);
        cr_assert_eq(create("OP1", ",\"mode\":\"it's\",\"count\":4"), PRVNG_DONE, "%s",
                     t.reply.message);
}

Test(taskserv, read)
{
        struct op_call call;

        call_init(&call, "");
        op_read(&call, task(""), strlen(task("")), &t.reply);
        cr_assert_eq(t.reply.answer, PRVNG_NOT_FOUND);
        cr_assert_eq(create("OP1", ""), PRVNG_DONE);
        op_read(&call, task(""), strlen(task("")), &t.reply);
        cr_assert_eq(t.reply.answer, PRVNG_DONE);
        cr_assert(strstr(RESULT_OF(&t.reply), "\"drift\":[]"));
        op_call_deinit(&call);
}

Test(taskserv, unreachable_server_leaves_the_task_in_doubt)
{
        struct op_call call;
        char *at;

        cr_assert_eq(begin("OP1", "create", ""), PRVNG_PENDING);
        at = strstr(t.request.data, "/usr/bin/env");
        memcpy(at, "/bin/false//", 12); /* ends with 1 */
        call_init(&call, "OP1");
        op_poll(&call, "create", t.request.data, t.request.n, t.token.data, t.token.n, &t.reply);
        cr_assert_lt(t.reply.answer, 0);
        op_call_deinit(&call);
}
