/* SPDX-License-Identifier: Apache-2.0 */
/* Expressions by the real Jinja2, through the real border; and what becomes of its process. */
#include "base/clock.h"
#include "plugin/border.h"
#include "plugins/loaded.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/* An expression that takes minutes, in one instruction of Python, and little memory. */
#define LONG "9 ** (9 ** 8) > 0"
#define PATIENCE_MS 30000

struct fixture {
        struct loaded l;
        struct plugin *p;
        struct op_reply reply;
};

static void link_helper(const struct test_site *site, const char *variable)
{
        _cleanup_(cleanup_free) char *path = NULL, *link = NULL;
        const char *file = getenv(variable);

        cr_assert_not_null(file, "%s is set by meson test", variable);
        cr_assert_geq(asprintf(&link, "libexec/%s", strrchr(file, '/') + 1), 0);
        path = test_site_path(site, link);
        unlink(path);
        cr_assert_eq(symlink(file, path), 0);
}

static void fixture_new(struct fixture *f, const char *config)
{
        struct test_plugin plugin = {
                .name = "jinja2", .file = getenv("PRVNG_TEST_JINJA2"), .config = config};
        struct problems problems = PROBLEMS_NULL;
        _cleanup_(cleanup_free) char *libexec = NULL;

        *f = (struct fixture){.reply = OP_REPLY_NULL};
        test_site_new(&f->l.site, &plugin, 1, NULL);
        test_site_write(&f->l.site, "libexec/empty", "");
        link_helper(&f->l.site, "PRVNG_TEST_SANDBOX");
        link_helper(&f->l.site, "PRVNG_TEST_JINJA2_HELPER");
        libexec = test_site_path(&f->l.site, "libexec");
        setenv("PRVNG_LIBEXEC_PATH", libexec, 1);
        cr_assert_eq(config_load(f->l.site.conf, &problems, &f->l.config), 0);
        cr_assert_eq(problems.n, 0);
        cr_assert_eq(host_new(f->l.config, NULL, &f->l.host), 0);
        cr_assert_eq(plugins_load(f->l.config, f->l.host, NULL, 0, &f->l.plugins), 0);
        f->p = &f->l.plugins->list[0];
        if (f->p->state == PLUGIN_READY)
                cr_assert_eq(plugins_find_template(f->l.plugins), f->p);
}

static void fixture_end(struct fixture *f)
{
        op_reply_deinit(&f->reply);
        loaded_end(&f->l);
}

static int32_t evaluate_n(struct fixture *f, const char *expression, const void *variables,
                          size_t n)
{
        struct op_call call;

        op_call_init(&call, f->p, "", 1, INT64_MAX, 1, "", "");
        op_evaluate(&call, expression, variables, n, &f->reply);
        op_call_deinit(&call);
        cr_assert_eq(f->reply.effect, PRVNG_EFFECT_NONE);
        return f->reply.answer;
}

static int32_t evaluate(struct fixture *f, const char *expression, const char *outputs)
{
        _cleanup_(cleanup_buf) struct buf b = BUF_NULL;

        buf_printf(&b, "{\"outputs\":%s,\"resource\":\"server.a\"}", outputs);
        return evaluate_n(f, expression, b.data, b.n);
}

static void expect(struct fixture *f, const char *expression, const char *outputs,
                   const char *result)
{
        cr_assert_eq(evaluate(f, expression, outputs), PRVNG_DONE, "%s: %s", expression,
                     f->reply.message);
        cr_assert_str_eq(buf_str(&f->reply.result), result);
}

static void expect_wrong(struct fixture *f, const char *expression, const char *outputs,
                         int32_t code, const char *message)
{
        cr_assert_eq(evaluate(f, expression, outputs), PRVNG_PERMANENT, "%s: %s", expression,
                     op_class_name(f->reply.answer));
        cr_assert_str_eq(f->reply.message, message);
        cr_assert_eq(f->reply.code, code);
        cr_assert_eq(f->reply.result.n, 0);
}

/* The child of `parent` whose command has that name, or 0. */
static pid_t child_of(pid_t parent, const char *name)
{
        char path[300], stat[512];
        struct dirent *e;
        pid_t found = 0;
        DIR *d = opendir("/proc");

        while (d && !found && (e = readdir(d))) {
                char *end, comm[64] = "";
                int ppid = 0;
                FILE *f;

                snprintf(path, sizeof(path), "/proc/%s/stat", e->d_name);
                f = e->d_name[0] >= '1' && e->d_name[0] <= '9' ? fopen(path, "re") : NULL;
                if (!f)
                        continue;
                if (fgets(stat, sizeof(stat), f) && (end = strrchr(stat, ')')) &&
                    sscanf(stat, "%*d (%60[^)]", comm) == 1 &&
                    sscanf(end, ") %*c %d", &ppid) == 1 && ppid == parent &&
                    strncmp(comm, name, strlen(name)) == 0)
                        found = atoi(e->d_name);
                fclose(f);
        }
        if (d)
                closedir(d);
        return found;
}

static pid_t worker_of(pid_t engine)
{
        pid_t sandbox = child_of(engine, "prvng-sandbox");

        return sandbox ? child_of(sandbox, "python3") : 0;
}

static bool is_gone(pid_t pid)
{
        char path[64], text[512] = "";
        FILE *f;
        char *end;

        snprintf(path, sizeof(path), "/proc/%d/stat", pid);
        f = fopen(path, "re");
        if (!f)
                return true;
        end = fgets(text, sizeof(text), f) ? strrchr(text, ')') : NULL;
        fclose(f);
        return !end || end[2] == 'Z' || end[2] == 'X';
}

/* Waits until it is gone; false if it stays. */
static bool waited_for(pid_t pid)
{
        int64_t until = clock_boot_ms() + PATIENCE_MS;

        while (!is_gone(pid)) {
                if (clock_boot_ms() > until)
                        return false;
                usleep(1000);
        }
        return true;
}

/* --- what it computes --- */

Test(jinja2, evaluates_what_the_outputs_say)
{
        struct fixture f;

        fixture_new(&f, NULL);
        expect(&f, "outputs.state == 'running'", "{\"state\":\"starting\"}",
               "{\"value\":false,\"seen\":{\"outputs.state\":\"starting\"}}");
        expect(&f, "outputs.state == 'running'", "{\n  \"state\":\n\"running\"}",
               "{\"value\":true,\"seen\":{\"outputs.state\":\"running\"}}");
        expect(&f, "outputs['größe'] ~ ' €' ~ '\U0001f600'", "{\"größe\":\"ä\\u0000b\"}",
               "{\"value\":\"ä\\u0000b €\U0001f600\",\"seen\":{\"outputs.größe\":\"ä\\u0000b\"}}");
        expect(&f,
               "outputs.nodes | selectattr('ready') | list | length >= 2 and resource == "
               "'server.a'",
               "{\"nodes\":[{\"ready\":true},{\"ready\":false}]}",
               "{\"value\":false,\"seen\":{\"outputs.nodes\":[{\"ready\":true},{\"ready\":false}],"
               "\"resource\":\"server.a\"}}");
        expect(&f, "outputs.ip is defined and outputs.ip", "{}", "{\"value\":false,\"seen\":{}}");
        expect(&f, "outputs.list[1].x", "{\"list\":[1,{\"x\":1.5}]}",
               "{\"value\":1.5,\"seen\":{\"outputs.list[1].x\":1.5}}");
        expect(&f, "none", "{}", "{\"value\":null,\"seen\":{}}");
        fixture_end(&f);
}

Test(jinja2, tells_where_an_expression_is_wrong)
{
        struct fixture f;

        fixture_new(&f, NULL);
        expect_wrong(&f, "outputs.state ==", "{}", PRVNG_TEMPLATE_SYNTAX,
                     "unexpected 'end of expression', line 1, column 17");
        expect_wrong(&f, "outputs.a and\n  outputs..b", "{}", PRVNG_TEMPLATE_SYNTAX,
                     "expected name or number, line 2, column 11");
        expect_wrong(&f, "outputs.a outputs.b", "{}", PRVNG_TEMPLATE_SYNTAX,
                     "unexpected 'outputs' behind the expression, line 1, column 11");
        expect_wrong(&f, "outputs.a @ 1", "{}", PRVNG_TEMPLATE_SYNTAX,
                     "unexpected char '@', line 1, column 11");
        expect_wrong(&f, "{{ outputs.a }}", "{}", PRVNG_TEMPLATE_SYNTAX,
                     "an expression stands without {{ and }}, line 1, column 1");
        expect_wrong(&f, "outputs.a | shout", "{\"a\":1}", PRVNG_TEMPLATE_SYNTAX,
                     "No filter named 'shout', line 1, column 13");
        expect_wrong(&f, "", "{}", PRVNG_TEMPLATE_SYNTAX,
                     "unexpected 'end of expression', line 1, column 1");
        expect_wrong(&f, "\xff", "{}", PRVNG_TEMPLATE_SYNTAX, "the expression is not UTF-8");
        fixture_end(&f);
}

Test(jinja2, tells_what_is_not_defined)
{
        struct fixture f;

        fixture_new(&f, NULL);
        expect_wrong(&f, "outptus.state", "{}", PRVNG_TEMPLATE_UNDEFINED,
                     "outptus is not defined, line 1, column 1");
        expect_wrong(&f, "1 == 1 and outputs.state", "{}", PRVNG_TEMPLATE_UNDEFINED,
                     "outputs.state is not defined, line 1, column 20");
        expect_wrong(&f, "[outputs.a.b]", "{\"a\":{}}", PRVNG_TEMPLATE_UNDEFINED,
                     "outputs.a.b is not defined, line 1, column 12");
        expect_wrong(&f, "outputs.a + 'b'", "{\"a\":1}", PRVNG_TEMPLATE_FAILED,
                     "TypeError: unsupported operand type(s) for +: 'int' and 'str'");
        expect_wrong(&f, "10 ** 30", "{}", PRVNG_TEMPLATE_FAILED,
                     "the value is a number beyond 64 bits");
        fixture_end(&f);
}

Test(jinja2, lets_nothing_out_of_its_sandbox)
{
        static const char *const escapes[] = {
                "''.__class__.__mro__",
                "''['__class__']",
                "'' | attr('__class__')",
                "'{0.__class__.__mro__}'.format(1)",
                "outputs.get.__self__",
                "dict.mro()",
                "range.__init__.__globals__",
                "outputs.update(a=1)",
                "outputs.clear()",
        };
        static const char *const missing[] = {"self.__init__", "cycler",   "lipsum()",
                                              "namespace()",   "joiner()", "outputs | random"};
        struct fixture f;

        fixture_new(&f, NULL);
        for (size_t i = 0; i < N_ELEMENTS(escapes); i++) {
                cr_assert_eq(evaluate(&f, escapes[i], "{\"a\":1}"), PRVNG_PERMANENT, "%s gives %s",
                             escapes[i], buf_str(&f.reply.result));
                cr_assert_eq(f.reply.code, PRVNG_TEMPLATE_FAILED, "%s: %s", escapes[i],
                             f.reply.message);
        }
        for (size_t i = 0; i < N_ELEMENTS(missing); i++)
                cr_assert_eq(evaluate(&f, missing[i], "{\"a\":1}"), PRVNG_PERMANENT, "%s gives %s",
                             missing[i], buf_str(&f.reply.result));
        fixture_end(&f);
}

Test(jinja2, checks_without_values)
{
        static const struct {
                const char *expression, *names;
                int32_t code;
                const char *message;
        } cases[] = {
                {"outputs.state == 'x'", "[\"outputs\",\"resource\"]", 0, NULL},
                {"outputs.state == 'x'", NULL, 0, NULL},
                {"anything.at(all)", NULL, 0, NULL},
                {LONG, "[]", 0, NULL}, /* is not computed */
                {"(outputs.a", "[\"outputs\"]", PRVNG_TEMPLATE_SYNTAX,
                 "unexpected end of expression, expected ')', line 1, column 11"},
                {"outputs.a is odder", "[\"outputs\"]", PRVNG_TEMPLATE_SYNTAX,
                 "No test named 'odder', line 1, column 14"},
                {"not output.a", "[\"outputs\",\"resource\"]", PRVNG_TEMPLATE_UNDEFINED,
                 "there is no variable \"output\" here, only outputs, resource, line 1, column 5"},
        };
        struct fixture f;

        fixture_new(&f, NULL);
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                struct op_call call;

                op_call_init(&call, f.p, "", 1, INT64_MAX, 1, "", "");
                op_check_expression(&call, cases[i].expression, cases[i].names, &f.reply);
                op_call_deinit(&call);
                cr_assert_eq(f.reply.answer, cases[i].code ? PRVNG_PERMANENT : PRVNG_DONE, "%s: %s",
                             cases[i].expression, f.reply.message);
                if (cases[i].code) {
                        cr_assert_str_eq(f.reply.message, cases[i].message);
                        cr_assert_eq(f.reply.code, cases[i].code);
                }
        }
        fixture_end(&f);
}

/* --- limits --- */

Test(jinja2, ends_what_takes_too_long)
{
        struct fixture f;
        pid_t before;

        fixture_new(&f, "timeout = 1;");
        expect(&f, "1", "{}", "{\"value\":1,\"seen\":{}}");
        before = worker_of(getpid());
        cr_assert_gt(before, 0);
        cr_assert_eq(evaluate(&f, LONG, "{}"), PRVNG_TRANSIENT);
        cr_assert_str_eq(f.reply.message, "the evaluation took longer than 1 s and was ended");
        cr_assert(waited_for(before));
        expect(&f, "2", "{}", "{\"value\":2,\"seen\":{}}");
        cr_assert_neq(worker_of(getpid()), before);
        cr_assert_eq(evaluate(&f, "range(10 ** 9) | sum", "{}"), PRVNG_PERMANENT);
        cr_assert_not_null(strstr(f.reply.message, "Range too big"), "%s", f.reply.message);
        fixture_end(&f);
}

Test(jinja2, ends_what_needs_too_much_memory)
{
        struct fixture f;

        fixture_new(&f, "memory = 128;");
        cr_assert_eq(evaluate(&f, "('x' * 2 ** 30) | length", "{}"), PRVNG_TRANSIENT);
        cr_assert_str_eq(f.reply.message, "the evaluation needed more than 128 MiB of memory");
        expect(&f, "('x' * 2 ** 20) | length", "{}", "{\"value\":1048576,\"seen\":{}}");
        fixture_end(&f);
}

Test(jinja2, takes_and_gives_much)
{
        _cleanup_(cleanup_buf) struct buf b = BUF_NULL;
        struct fixture f;

        BUF_LIT(&b, "{\"text\":\"");
        for (unsigned i = 0; i < 500000; i++)
                BUF_LIT(&b, "0123456\xc3\xa4");
        BUF_LIT(&b, "\"}");
        fixture_new(&f, NULL);
        cr_assert_eq(evaluate(&f, "outputs.text | length", buf_str(&b)), PRVNG_DONE, "%s",
                     f.reply.message);
        cr_assert_not_null(strstr(buf_str(&f.reply.result),
                                  "{\"value\":4000000,\"seen\":{\"outputs.text\":\""));
        cr_assert_lt(f.reply.result.n, 1000, "what is seen is short");
        cr_assert_eq(evaluate(&f, "outputs.text", buf_str(&b)), PRVNG_DONE, "%s", f.reply.message);
        cr_assert_gt(f.reply.result.n, 4500000);
        cr_assert_eq(evaluate(&f, "outputs.text * 4", buf_str(&b)), PRVNG_PERMANENT);
        cr_assert_str_eq(f.reply.message, "the value is longer than 16 MiB");
        fixture_end(&f);
}

struct other {
        struct op_call call;
        struct fixture *f;
        pid_t kill;
        pthread_t thread;
};

/* Waits until the worker computes, then cancels or kills. */
static void *interfere(void *userdata)
{
        struct other *o = userdata;
        char path[64], text[512];
        unsigned long before = 0, used = 0;

        for (int64_t until = clock_boot_ms() + PATIENCE_MS; clock_boot_ms() < until; usleep(1000)) {
                FILE *f;
                char *end;

                snprintf(path, sizeof(path), "/proc/%d/stat", o->kill);
                f = fopen(path, "re");
                end = f && fgets(text, sizeof(text), f) ? strrchr(text, ')') : NULL;
                if (f)
                        fclose(f);
                if (!end ||
                    sscanf(end, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu", &used) != 1)
                        continue;
                if (!before)
                        before = used + 1;
                else if (used > before + 5) /* ticks of processor time: it is at it */
                        break;
        }
        if (o->f)
                op_call_cancel(&o->call);
        else
                kill(o->kill, SIGKILL);
        return NULL;
}

static void evaluate_with(struct fixture *f, struct other *o)
{
        expect(f, "1", "{}", "{\"value\":1,\"seen\":{}}");
        o->kill = worker_of(getpid());
        cr_assert_gt(o->kill, 0);
        op_call_init(&o->call, f->p, "", 1, INT64_MAX, 1, "", "");
        cr_assert_eq(pthread_create(&o->thread, NULL, interfere, o), 0);
        op_evaluate(&o->call, LONG, "{}", 2, &f->reply);
        pthread_join(o->thread, NULL);
        op_call_deinit(&o->call);
        cr_assert(waited_for(o->kill));
}

Test(jinja2, can_be_cancelled)
{
        struct fixture f;
        struct other o = {.f = &f};

        fixture_new(&f, "timeout = 600;");
        evaluate_with(&f, &o);
        cr_assert_eq(f.reply.answer, PRVNG_CANCELLED);
        expect(&f, "3", "{}", "{\"value\":3,\"seen\":{}}");
        fixture_end(&f);
}

Test(jinja2, keeps_the_deadline_of_the_call)
{
        struct op_call call;
        struct fixture f;

        fixture_new(&f, "timeout = 600;");
        expect(&f, "1", "{}", "{\"value\":1,\"seen\":{}}");
        op_call_init(&call, f.p, "", 1, clock_boot_ms() + 200, 1, "", "");
        op_evaluate(&call, LONG, "{}", 2, &f.reply);
        op_call_deinit(&call);
        cr_assert_eq(f.reply.answer, PRVNG_TRANSIENT);
        cr_assert_str_eq(f.reply.message, "not evaluated before the deadline");
        fixture_end(&f);
}

/* --- its process --- */

Test(jinja2, one_process_evaluates_all)
{
        struct fixture f;
        pid_t first;

        fixture_new(&f, NULL);
        expect(&f, "1", "{}", "{\"value\":1,\"seen\":{}}");
        first = worker_of(getpid());
        for (unsigned i = 0; i < 1000; i++) {
                char expression[64], result[64];

                snprintf(expression, sizeof(expression), "%u + 1", i % 100);
                snprintf(result, sizeof(result), "{\"value\":%u,\"seen\":{}}", i % 100 + 1);
                expect(&f, expression, "{}", result);
        }
        expect_wrong(&f, "1 +", "{}", PRVNG_TEMPLATE_SYNTAX,
                     "unexpected 'end of expression', line 1, column 4");
        cr_assert_eq(worker_of(getpid()), first);
        fixture_end(&f);
        cr_assert(is_gone(first), "the process outlives the plugin's instance");
        cr_assert_eq(child_of(getpid(), "prvng-sandbox"), 0);
}

Test(jinja2, is_started_again_where_it_was_killed)
{
        struct other o = {.f = NULL};
        struct fixture f;
        pid_t first;

        fixture_new(&f, "timeout = 600;");
        expect(&f, "1", "{}", "{\"value\":1,\"seen\":{}}");
        first = worker_of(getpid());
        cr_assert_gt(first, 0);
        cr_assert_eq(kill(first, SIGKILL), 0);
        cr_assert(waited_for(child_of(getpid(), "prvng-sandbox")));
        expect(&f, "2", "{}", "{\"value\":2,\"seen\":{}}"); /* nobody notices */
        cr_assert_neq(worker_of(getpid()), first);
        evaluate_with(&f, &o);
        cr_assert_eq(f.reply.answer, PRVNG_TRANSIENT);
        cr_assert_str_eq(f.reply.message,
                         "the process that evaluates Jinja2 was killed by signal 9; "
                         "another one is started");
        expect(&f, "3", "{}", "{\"value\":3,\"seen\":{}}");
        fixture_end(&f);
}

static void *evaluate_some(void *userdata)
{
        const struct fixture *f = userdata;
        struct op_reply reply = OP_REPLY_NULL;
        struct op_call call;
        intptr_t wrong = 0;

        for (unsigned i = 0; i < 50; i++) {
                char variables[64], result[64];

                snprintf(variables, sizeof(variables), "{\"x\":%u}", i);
                snprintf(result, sizeof(result), "{\"value\":%u,\"seen\":{\"x\":%u}}", i, i);
                op_call_init(&call, f->p, "", 1, INT64_MAX, 1, "", "");
                op_evaluate(&call, "x", variables, strlen(variables), &reply);
                wrong += reply.answer != PRVNG_DONE || !streq(buf_str(&reply.result), result);
                op_call_deinit(&call);
        }
        op_reply_deinit(&reply);
        return (void *)wrong;
}

/* The process must not be tied to the thread that happened to start it. */
Test(jinja2, serves_threads_that_come_and_go)
{
        struct fixture f;
        pid_t first = 0;

        fixture_new(&f, NULL);
        for (unsigned round = 0; round < 3; round++) {
                pthread_t threads[4];
                void *wrong;

                for (size_t i = 0; i < N_ELEMENTS(threads); i++)
                        cr_assert_eq(pthread_create(&threads[i], NULL, evaluate_some, &f), 0);
                for (size_t i = 0; i < N_ELEMENTS(threads); i++) {
                        cr_assert_eq(pthread_join(threads[i], &wrong), 0);
                        cr_assert_null(wrong);
                }
                if (!first)
                        first = worker_of(getpid());
                cr_assert_eq(worker_of(getpid()), first);
        }
        fixture_end(&f);
}

Test(jinja2, sees_no_file_and_no_network)
{
        char path[64], ours[128] = "", theirs[128] = "";
        struct fixture f;
        pid_t worker;

        fixture_new(&f, NULL);
        expect(&f, "1", "{}", "{\"value\":1,\"seen\":{}}");
        worker = worker_of(getpid());
        snprintf(path, sizeof(path), "/proc/%d/root/usr", worker);
        cr_assert_eq(access(path, F_OK), 0);
        snprintf(path, sizeof(path), "/proc/%d/root/etc/passwd", worker);
        cr_assert_eq(access("/etc/passwd", F_OK), 0);
        cr_assert_neq(access(path, F_OK), 0);
        snprintf(path, sizeof(path), "/proc/%d/ns/net", worker);
        cr_assert_gt(readlink(path, theirs, sizeof(theirs) - 1), 0);
        cr_assert_gt(readlink("/proc/self/ns/net", ours, sizeof(ours) - 1), 0);
        cr_assert_str_neq(ours, theirs);
        fixture_end(&f);
}

/* An engine that is killed while an expression is computed. */
Test(jinja2, ends_with_the_engine)
{
        pid_t engine, worker = 0, sandbox;
        int64_t until = clock_boot_ms() + PATIENCE_MS;
        int status;

        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        engine = fork();
        cr_assert_geq(engine, 0);
        if (engine == 0) {
                struct fixture f;

                setpgid(0, 0);
                fixture_new(&f, "timeout = 600;");
                evaluate(&f, LONG, "{}");
                _exit(1);
        }
        while (!(worker = worker_of(engine)) && clock_boot_ms() < until)
                usleep(1000);
        cr_assert_gt(worker, 0);
        sandbox = child_of(engine, "prvng-sandbox");
        cr_assert_eq(kill(engine, SIGKILL), 0);
        cr_assert_eq(waitpid(engine, &status, 0), engine);
        cr_assert(WIFSIGNALED(status));
        cr_assert(waited_for(worker));
        cr_assert(waited_for(sandbox));
}

Test(jinja2, says_what_is_missing)
{
        struct op_call call;
        struct fixture f;

        fixture_new(&f, "python = \"/nowhere/bin/python3\";");
        cr_assert_eq(evaluate(&f, "1", "{}"), PRVNG_UNSUPPORTED);
        cr_assert_not_null(strstr(f.reply.message,
                                  "there is no /nowhere/bin/python3: install it with "
                                  "`apt-get install python3-jinja2`"),
                           "%s", f.reply.message);
        op_call_init(&call, f.p, "", 1, INT64_MAX, 1, "", "");
        op_self_test(&call, &f.reply);
        op_call_deinit(&call);
        cr_assert_eq(f.reply.answer, PRVNG_DONE);
        cr_assert_not_null(strstr(buf_str(&f.reply.result), "\"ok\":false"));
        cr_assert_not_null(strstr(buf_str(&f.reply.result), "apt-get install python3-jinja2"));
        fixture_end(&f);
        fixture_new(&f, "timeout = 0;");
        cr_assert_eq(f.p->state, PLUGIN_REFUSED);
        cr_assert_not_null(strstr(f.p->reason, "timeout must be 1 to 3600, in seconds"));
        fixture_end(&f);
}

Test(jinja2, tests_itself)
{
        struct op_call call;
        struct fixture f;

        fixture_new(&f, NULL);
        op_call_init(&call, f.p, "", 1, INT64_MAX, 1, "", "");
        op_self_test(&call, &f.reply);
        op_call_deinit(&call);
        cr_assert_eq(f.reply.answer, PRVNG_DONE);
        cr_assert_null(strstr(buf_str(&f.reply.result), "\"ok\":false"), "%s",
                       buf_str(&f.reply.result));
        cr_assert_not_null(strstr(buf_str(&f.reply.result), "Jinja2 "));
        fixture_end(&f);
}
