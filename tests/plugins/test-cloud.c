/* SPDX-License-Identifier: Apache-2.0 */
/* The test world itself: what tests of the engine rest on must be right first. */
#include "loaded.h"
#include "plugin/border.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

static const char op_1[] = "0123456789ABCDEFGHJKMNPQRS";
static const char op_2[] = "1123456789ABCDEFGHJKMNPQRS";

/* A site with testcloud, and one call at a time. */
struct cloud {
        struct loaded l;
        struct plugin *p;
        struct op_call call;
        struct op_reply reply;
        char *request;
        size_t n_request;
};

static void cloud_new(struct cloud *c)
{
        *c = (struct cloud){.reply = OP_REPLY_NULL};
        loaded_new(&c->l, (struct test_plugin[]){{"testcloud", NULL, "folder = \"@SITE@/world\";"}}, 1,
                   NULL);
        c->p = plugins_find(c->l.plugins, "provider", "testcloud");
        cr_assert(c->p && c->p->state == PLUGIN_READY, "%s", c->p ? c->p->reason : "not there");
}

static void cloud_end(struct cloud *c)
{
        op_reply_deinit(&c->reply);
        free(c->request);
        loaded_end(&c->l);
}

/* Prepares server web-0 with that script. */
static void prepare(struct cloud *c, const char *script)
{
        _cleanup_(cleanup_free) char *task = NULL;

        cr_assert(asprintf(&task, "{\"kind\":\"server\",\"name\":\"web-0\",\"workflow\":\"w\",\"site\":"
                           "\"s\",\"spec\":{\"cpu\":1,\"testcloud\":%s}}", script) > 0);
        op_call_init(&c->call, c->p, "", 1, INT64_MAX, 1, "run", "t/web-0");
        op_prepare(&c->call, "create", task, strlen(task), &c->reply);
        cr_assert_eq(c->reply.answer, PRVNG_DONE, "%s", c->reply.message);
        op_call_deinit(&c->call);
        free(c->request);
        c->n_request = c->reply.result.n;
        c->request = buf_steal(&c->reply.result);
}

static int32_t begin(struct cloud *c, const char *verb, const char *op, uint32_t attempt)
{
        op_call_init(&c->call, c->p, op, attempt, INT64_MAX, 1, "run", "t/web-0");
        op_begin(&c->call, verb, c->request, c->n_request, &c->reply);
        op_call_deinit(&c->call);
        return c->reply.answer;
}

static int32_t observe(struct cloud *c, const char *op)
{
        op_call_init(&c->call, c->p, op, 1, INT64_MAX, 1, "run", "t/web-0");
        op_observe(&c->call, "create", c->request, c->n_request, NULL, 0, &c->reply);
        op_call_deinit(&c->call);
        return c->reply.answer;
}

static int32_t poll_token(struct cloud *c, const char *op, const char *token)
{
        op_call_init(&c->call, c->p, op, 1, INT64_MAX, 1, "run", "t/web-0");
        op_poll(&c->call, "create", c->request, c->n_request, token, strlen(token), &c->reply);
        op_call_deinit(&c->call);
        return c->reply.answer;
}

Test(testcloud, a_server_lives_and_ends)
{
        struct cloud c;

        cloud_new(&c);
        prepare(&c, "{}");
        cr_assert_eq(observe(&c, op_1), PRVNG_OBSERVED_NOT_STARTED);
        cr_assert_eq(begin(&c, "check", op_1, 1), PRVNG_DONE);
        cr_assert_not_null(strstr(buf_str(&c.reply.result), "\"drift\":[{"));
        cr_assert_eq(begin(&c, "create", op_1, 1), PRVNG_DONE);
        cr_assert_not_null(strstr(buf_str(&c.reply.result), "\"method\":\"exec\""));
        cr_assert_eq(observe(&c, op_1), PRVNG_OBSERVED_DONE);
        cr_assert_eq(begin(&c, "check", op_2, 1), PRVNG_UNCHANGED);
        cr_assert_eq(begin(&c, "create", op_2, 1), PRVNG_UNCHANGED);
        cr_assert_eq(test_site_count(&c.l.site, "world/effects"), 1);
        cr_assert_eq(begin(&c, "delete", op_2, 1), PRVNG_DONE);
        cr_assert_eq(test_site_count(&c.l.site, "world/resources"), 0);
        cr_assert_eq(test_site_count(&c.l.site, "world/violations"), 0);
        cloud_end(&c);
}

Test(testcloud, a_second_begin_is_noticed)
{
        struct cloud c;

        cloud_new(&c);
        prepare(&c, "{}");
        cr_assert_eq(begin(&c, "create", op_1, 1), PRVNG_DONE);
        cr_assert_eq(begin(&c, "create", op_1, 2), PRVNG_DONE, "idempotent all the same");
        cr_assert_eq(test_site_count(&c.l.site, "world/effects"), 1);
        cr_assert_eq(test_site_count(&c.l.site, "world/violations"), 1);
        cloud_end(&c);
}

Test(testcloud, fails_as_told)
{
        struct cloud c;

        cloud_new(&c);
        prepare(&c, "{\"fail\":[{\"attempt\":1,\"class\":\"TRANSIENT\",\"effect\":\"NONE\","
                    "\"retry_after_ms\":7},{\"attempt\":2,\"class\":\"TRANSIENT\",\"effect\":"
                    "\"PARTIAL\"}]}");
        cr_assert_eq(begin(&c, "create", op_1, 1), PRVNG_TRANSIENT);
        cr_assert_eq(c.reply.effect, PRVNG_EFFECT_NONE);
        cr_assert_eq(c.reply.retry_after_ms, 7);
        cr_assert_eq(test_site_count(&c.l.site, "world/effects"), 0);
        cr_assert_eq(begin(&c, "create", op_1, 2), PRVNG_TRANSIENT);
        cr_assert_eq(c.reply.effect, PRVNG_EFFECT_PARTIAL);
        cr_assert_eq(observe(&c, op_1), PRVNG_OBSERVED_PARTIAL);
        cr_assert_eq(begin(&c, "create", op_1, 3), PRVNG_DONE);
        cr_assert_eq(test_site_count(&c.l.site, "world/violations"), 0);
        cloud_end(&c);
}

Test(testcloud, a_lost_reply_is_found_by_observe)
{
        struct cloud c;

        cloud_new(&c);
        prepare(&c, "{\"uncertain\":1,\"fail\":[{\"class\":\"TRANSIENT\",\"effect\":\"UNKNOWN\"}]}");
        cr_assert_eq(begin(&c, "create", op_1, 1), PRVNG_TRANSIENT);
        cr_assert_eq(c.reply.effect, PRVNG_EFFECT_UNKNOWN);
        cr_assert_eq(observe(&c, op_1), PRVNG_OBSERVED_UNCERTAIN);
        cr_assert_eq(c.reply.ask_again_ms, 5);
        cr_assert_eq(observe(&c, op_1), PRVNG_OBSERVED_DONE);
        cloud_end(&c);
}

Test(testcloud, pending_work_is_polled)
{
        struct cloud c;
        char token[64];

        cloud_new(&c);
        prepare(&c, "{\"pending_ms\":150,\"reject_token\":true}");
        cr_assert_eq(begin(&c, "create", op_1, 1), PRVNG_PENDING);
        cr_assert(c.reply.token.n < sizeof(token));
        strcpy(token, buf_str(&c.reply.token));
        cr_assert_eq(test_site_count(&c.l.site, "world/resources"), 0);
        cr_assert_eq(poll_token(&c, op_1, token), PRVNG_TOKEN_REJECTED);
        cr_assert_eq(poll_token(&c, op_1, "nonsense"), PRVNG_TOKEN_REJECTED);
        while (poll_token(&c, op_1, token) == PRVNG_PENDING)
                usleep((useconds_t)c.reply.ask_again_ms * 1000);
        cr_assert_eq(c.reply.answer, PRVNG_DONE, "%s", c.reply.message);
        cr_assert_eq(test_site_count(&c.l.site, "world/resources"), 1);
        cloud_end(&c);
}

Test(testcloud, pending_work_is_cancelled)
{
        struct cloud c;

        cloud_new(&c);
        prepare(&c, "{\"pending_ms\":3600000}");
        cr_assert_eq(begin(&c, "create", op_1, 1), PRVNG_PENDING);
        cr_assert_eq(observe(&c, op_1), PRVNG_OBSERVED_IN_PROGRESS);
        op_call_init(&c.call, c.p, op_1, 1, INT64_MAX, 1, "run", "t");
        op_cancel(&c.call, "create", c.request, c.n_request, "x", 1, &c.reply);
        op_call_deinit(&c.call);
        cr_assert_eq(c.reply.answer, PRVNG_CANCELLED);
        cr_assert_eq(c.reply.effect, PRVNG_EFFECT_NONE);
        cr_assert_eq(observe(&c, op_1), PRVNG_OBSERVED_NOT_STARTED);
        cloud_end(&c);
}

Test(testcloud, lists_what_it_has)
{
        static const char filter[] = "{\"workflow\":\"w\",\"op_id\":\"0123456789ABCDEFGHJKMNPQRS\"}";
        struct cloud c;

        cloud_new(&c);
        prepare(&c, "{}");
        cr_assert_eq(begin(&c, "create", op_1, 1), PRVNG_DONE);
        op_call_init(&c.call, c.p, "", 1, INT64_MAX, 1, "", "");
        op_list(&c.call, filter, sizeof(filter) - 1, &c.reply);
        cr_assert_not_null(strstr(buf_str(&c.reply.result), "\"identity\":{\"name\":\"web-0\""));
        op_list(&c.call, "{\"workflow\":\"other\"}", 20, &c.reply);
        cr_assert_str_eq(buf_str(&c.reply.result), "{\"resources\":[]}");
        op_read(&c.call, c.request, c.n_request, &c.reply);
        cr_assert_eq(c.reply.answer, PRVNG_DONE);
        op_call_deinit(&c.call);
        cloud_end(&c);
}

static void *cancel_soon(void *call)
{
        usleep(20000);
        op_call_cancel(call);
        return NULL;
}

Test(testcloud, what_hangs_is_cancelled)
{
        static const char *const scripts[] = {"{\"hang\":true}", "{\"begin_ms\":3600000}"};

        for (size_t i = 0; i < N_ELEMENTS(scripts); i++) {
                struct cloud c;
                pthread_t thread;

                cloud_new(&c);
                prepare(&c, scripts[i]);
                op_call_init(&c.call, c.p, op_1, 1, INT64_MAX, 1, "run", "t");
                pthread_create(&thread, NULL, cancel_soon, &c.call);
                op_begin(&c.call, "create", c.request, c.n_request, &c.reply);
                pthread_join(thread, NULL);
                op_call_deinit(&c.call);
                cr_assert_eq(c.reply.answer, PRVNG_CANCELLED);
                cr_assert_eq(c.reply.effect, PRVNG_EFFECT_NONE);
                cr_assert_eq(test_site_count(&c.l.site, "world/effects"), 0);
                cloud_end(&c);
        }
}

/* The engine dies inside begin(), before or after the effect; the next one asks. */
Test(testcloud, a_killed_engine_finds_out)
{
        static const struct {
                const char *script;
                int32_t observed;
        } cases[] = {{"{\"kill\":\"before\"}", PRVNG_OBSERVED_NOT_STARTED},
                     {"{\"kill\":\"after\"}", PRVNG_OBSERVED_DONE}};

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                struct cloud c;
                int status;
                pid_t pid;

                cloud_new(&c);
                prepare(&c, cases[i].script);
                pid = fork();
                if (pid == 0) {
                        begin(&c, "create", op_1, 1);
                        _exit(0); /* it should not come to this */
                }
                cr_assert_eq(waitpid(pid, &status, 0), pid);
                cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
                cr_assert_eq(observe(&c, op_1), cases[i].observed);
                if (cases[i].observed == PRVNG_OBSERVED_NOT_STARTED)
                        cr_assert_eq(begin(&c, "create", op_1, 2), PRVNG_DONE, "once only");
                cr_assert_eq(test_site_count(&c.l.site, "world/effects"), 1);
                cr_assert_eq(test_site_count(&c.l.site, "world/violations"), 0);
                cloud_end(&c);
        }
}

Test(testserv, is_two_taskservs)
{
        struct loaded l;
        struct plugin *p;

        loaded_new(&l, (struct test_plugin[]){{"testserv"}, {"testtop"}}, 2, NULL);
        p = plugins_find(l.plugins, "taskserv", "testserv");
        cr_assert(p && p->state == PLUGIN_READY, "%s", p->reason);
        p = plugins_find(l.plugins, "taskserv", "testtop");
        cr_assert(p && p->state == PLUGIN_READY, "%s", p->reason);
        cr_assert_str_eq(json_string_value(json_array_get(json_object_get(p->dependencies, "requires"),
                                                          0)), "testserv");
        loaded_end(&l);
}
