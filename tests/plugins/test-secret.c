/* SPDX-License-Identifier: Apache-2.0 */
/* Secret backends: references, values, and what of them must not be seen. */
#include "plugin/secret.h"

#include "base/clock.h"
#include "base/locked.h"
#include "loaded.h"
#include "plugin/border.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <pthread.h>

struct vault {
        struct loaded l;
        struct plugin *p;
        struct op_call call;
        struct op_reply reply;
        struct locked value;
        struct buf why;
};

static void vault_new_as(struct vault *v, const char *isolation)
{
        const struct test_plugin list[] = {{.name = "vault", .more = isolation}, {.name = "noop"},
                                           {.name = "secret-off", .file = "/nowhere/secret-off.so",
                                            .more = "enabled = false;"}};

        *v = (struct vault){.reply = OP_REPLY_NULL};
        loaded_new(&v->l, list, N_ELEMENTS(list), NULL);
        v->p = plugins_find(v->l.plugins, "secret", "vault");
        cr_assert(v->p && v->p->state == PLUGIN_READY, "%s", v->p ? v->p->reason : "it is not there");
        op_call_init(&v->call, v->p, "", 1, INT64_MAX, 1, "RUN", "op/web-0");
}

static void vault_new(struct vault *v)
{
        vault_new_as(v, NULL);
}

static void vault_end(struct vault *v)
{
        locked_deinit(&v->value);
        op_call_deinit(&v->call);
        op_reply_deinit(&v->reply);
        buf_deinit(&v->why);
        loaded_end(&v->l);
}

Test(secret, values_come_back_by_the_sink_only)
{
        struct vault v;

        vault_new(&v);
        secret_resolve(&v.call, "db#password", &v.value, &v.reply);
        cr_assert_eq(v.reply.answer, PRVNG_DONE, "%s", v.reply.message);
        cr_assert_str_eq(v.value.data, "correct horse\nbattery staple");
        cr_assert_eq(v.value.n, strlen(v.value.data));
        cr_assert_eq(v.reply.result.n, 0);
        cr_assert_eq(v.reply.effect, PRVNG_EFFECT_NONE);
        secret_check(&v.call, "db#password", &v.reply);
        cr_assert_eq(v.reply.answer, PRVNG_DONE);
        cr_assert_not_null(strstr(buf_str(&v.reply.result), "\"encrypted\":false"));
        secret_list(&v.call, "api#", &v.reply);
        cr_assert_str_eq(buf_str(&v.reply.result), "{\"references\":[\"api#old/token\",\"api#token\"]}");
        vault_end(&v);
}

Test(secret, what_is_not_there_is_said_to_the_part)
{
        struct vault v;

        vault_new(&v);
        secret_resolve(&v.call, "db#nothing", &v.value, &v.reply);
        cr_assert_eq(v.reply.answer, PRVNG_NOT_FOUND);
        cr_assert_eq(v.reply.effect, PRVNG_EFFECT_NONE);
        cr_assert_str_eq(v.reply.field, "key");
        cr_assert_null(v.value.data);
        secret_check(&v.call, "nowhere", &v.reply);
        cr_assert_eq(v.reply.answer, PRVNG_NOT_FOUND);
        cr_assert_str_eq(v.reply.field, "path");
        vault_end(&v);
}

/* Three answers that a plugin may give to any reference: no value, and two that are too long. */
static int32_t writes(void *instance, struct prvng_call *call, const char *reference, struct prvng_sink *value)
{
        static const char piece[4096] = {[0 ... 4095] = 'a'};
        const struct prvng_host *host = host_table(op_call_of(call)->host);
        unsigned int n = (unsigned int)atoi(reference), r = 0;

        for (; n >= sizeof(piece) && r == 0; n -= (unsigned int)sizeof(piece))
                r = (unsigned int)host->sink_write(value, piece, sizeof(piece));
        host->sink_write(value, piece, n);
        return PRVNG_DONE;
}

Test(secret, a_value_has_1_to_65536_bytes)
{
        struct vault v;

        vault_new(&v);
        v.p->secret.resolve = writes;
        secret_resolve(&v.call, "65536", &v.value, &v.reply);
        cr_assert_eq(v.reply.answer, PRVNG_DONE, "%s", v.reply.message);
        cr_assert_eq(v.value.n, 65536);
        locked_deinit(&v.value);
        secret_resolve(&v.call, "65537", &v.value, &v.reply);
        cr_assert_eq(v.reply.answer, PRVNG_INTERNAL);
        cr_assert_not_null(strstr(v.reply.message, "longer than 65536 bytes"), "%s", v.reply.message);
        cr_assert_null(v.value.data);
        secret_resolve(&v.call, "0", &v.value, &v.reply);
        cr_assert_eq(v.reply.answer, PRVNG_INTERNAL);
        cr_assert_not_null(strstr(v.reply.message, "without writing a value"), "%s", v.reply.message);
        cr_assert_null(v.value.data);
        vault_end(&v);
}

static int32_t look_up(struct vault *v, const char *reference)
{
        struct op_call outer;
        int32_t answer;

        locked_deinit(&v->value);
        buf_clear(&v->why);
        op_call_init(&outer, plugins_find(v->l.plugins, "provider", "noop"), "0", 1, INT64_MAX, 1, "RUN", "op/a");
        answer = plugins_resolve(v->l.plugins, &outer, reference, &v->value, &v->why);
        op_call_deinit(&outer);
        return answer;
}

Test(secret, references_lead_to_their_backend)
{
        struct vault v;

        vault_new(&v);
        cr_assert_eq(look_up(&v, "secret://vault/api#token"), PRVNG_DONE, "%s", buf_str(&v.why));
        cr_assert_str_eq(v.value.data, "t0ken-of-the-api");
        cr_assert_eq(look_up(&v, "secret://vault/one-line"), PRVNG_DONE);
        cr_assert_str_eq(v.value.data, "x");
        cr_assert_eq(look_up(&v, "secret://vault/api#no"), PRVNG_NOT_FOUND);
        cr_assert_str_eq(buf_str(&v.why), "secret://vault/api#no: it has no such key");
        cr_assert_eq(look_up(&v, "secret://safe/api#token"), PRVNG_PERMANENT);
        cr_assert_not_null(strstr(buf_str(&v.why), "no secret backend \"safe\""), "%s", buf_str(&v.why));
        cr_assert_eq(look_up(&v, "secret://noop/api#token"), PRVNG_PERMANENT, "a provider is none");
        cr_assert_eq(look_up(&v, "secret://secret-off/x"), PRVNG_PERMANENT);
        cr_assert_not_null(strstr(buf_str(&v.why), "secret-off"), "%s", buf_str(&v.why));
        vault_end(&v);
}

Test(secret, what_is_no_reference_is_not_repeated)
{
        static const char *const wrong[] = {"hunter2", "secret:/vault/hunter2", "secret://hunter2", "secret:///hunter2",
                                            "secret://Vault/hunter2", "", "secret://vault/", "secret://vault/#hunter2",
                                            "secret://vault/hun\nter2"};
        char longest[2000] = "secret://vault/", backend[SECRET_BACKEND_MAX];
        const char *rest;
        struct vault v;

        vault_new(&v);
        for (size_t i = 0; i < N_ELEMENTS(wrong); i++) {
                cr_assert_eq(look_up(&v, wrong[i]), PRVNG_PERMANENT, "%s", wrong[i]);
                cr_assert_not_null(strstr(buf_str(&v.why), "PATH#KEY"), "%s", buf_str(&v.why));
                cr_assert_null(strstr(buf_str(&v.why), "ter2"), "%s", buf_str(&v.why));
        }
        memset(longest + 15, 'a', 1024);
        cr_assert(secret_reference_split(longest, backend, &rest, &v.why));
        cr_assert_str_eq(backend, "vault");
        cr_assert_eq(strlen(rest), 1024);
        strcat(longest, "a");
        cr_assert_not(secret_reference_split(longest, backend, &rest, &v.why));
        vault_end(&v);
}

/* A backend that asks for a secret while it is asked for one would wait for itself. */
Test(secret, no_backend_needs_itself)
{
        struct vault v;

        vault_new(&v);
        cr_assert_eq(plugins_resolve(v.l.plugins, &v.call, "secret://vault/one-line", &v.value, &v.why),
                     PRVNG_PERMANENT);
        cr_assert_not_null(strstr(buf_str(&v.why), "of its own"), "%s", buf_str(&v.why));
        vault_end(&v);
}

static void *cancel_outer(void *userdata)
{
        struct timespec t = {0, 20000000};

        nanosleep(&t, NULL);
        op_call_cancel(userdata);
        return NULL;
}

/* "slow#value" never comes. */
static void ends_when_cancelled(struct vault *v)
{
        struct op_call outer;
        pthread_t thread;

        op_call_init(&outer, plugins_find(v->l.plugins, "provider", "noop"), "0", 1, INT64_MAX, 1, "RUN", "op/a");
        cr_assert_eq(pthread_create(&thread, NULL, cancel_outer, &outer), 0);
        cr_assert_eq(plugins_resolve(v->l.plugins, &outer, "secret://vault/slow#value", &v->value, &v->why),
                     PRVNG_CANCELLED, "%s", buf_str(&v->why));
        pthread_join(thread, NULL);
        op_call_deinit(&outer);
}

Test(secret, a_lookup_ends_with_the_call_it_is_for, .timeout = 60)
{
        struct op_call outer;
        struct vault v;

        vault_new(&v);
        ends_when_cancelled(&v);
        buf_clear(&v.why);
        op_call_init(&outer, plugins_find(v.l.plugins, "provider", "noop"), "0", 1, clock_boot_ms() + 20, 1, "RUN", "op/a");
        cr_assert_eq(plugins_resolve(v.l.plugins, &outer, "secret://vault/slow#value", &v.value, &v.why),
                     PRVNG_TRANSIENT, "%s", buf_str(&v.why));
        op_call_deinit(&outer);
        vault_end(&v);
}

Test(secret, backends_come_with_the_providers)
{
        struct plugins *again = NULL;
        struct vault v;

        vault_new(&v);
        cr_assert_eq(plugins_load(v.l.config, v.l.host, "provider", 0, &again), 0);
        cr_assert_not_null(plugins_find(again, "secret", "vault")->instance);
        plugins_free(again);
        cr_assert_eq(plugins_load(v.l.config, v.l.host, "store", 0, &again), 0);
        cr_assert_null(plugins_find(again, "secret", "vault")->instance);
        plugins_free(again);
        vault_end(&v);
}

/* The value crosses from the helper's memory into ours. */
Test(secret, a_backend_in_a_process_of_its_own, .timeout = 60)
{
        struct vault v;

        vault_new_as(&v, "isolation = \"process\";");
        cr_assert_not_null(v.p->isolated);
        cr_assert_eq(look_up(&v, "secret://vault/db#password"), PRVNG_DONE, "%s", buf_str(&v.why));
        cr_assert_str_eq(v.value.data, "correct horse\nbattery staple");
        cr_assert_eq(look_up(&v, "secret://vault/api#no"), PRVNG_NOT_FOUND);
        cr_assert_str_eq(buf_str(&v.why), "secret://vault/api#no: it has no such key");
        secret_check(&v.call, "api#token", &v.reply);
        cr_assert_eq(v.reply.answer, PRVNG_DONE, "%s", v.reply.message);
        secret_list(&v.call, "one", &v.reply);
        cr_assert_str_eq(buf_str(&v.reply.result), "{\"references\":[\"one-line\"]}");
        ends_when_cancelled(&v);
        vault_end(&v);
}
