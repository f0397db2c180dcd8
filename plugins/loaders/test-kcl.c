/* SPDX-License-Identifier: Apache-2.0 */
/* KCL by the real KCL, its sandbox, and the example in its three forms. */
#include "test-host.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

/* The environment in which the loader finds what this build made; NULL if KCL is not here. */
static const char *kcl_python(void)
{
        static char helper[4096];
        const char *python = getenv("PRVNG_KCL_PYTHON"), *root = getenv("PRVNG_TEST_SOURCE");
        char command[8192];

        snprintf(helper, sizeof(helper), "%s/kcl", getenv("PRVNG_TEST_BUILD"));
        setenv("PRVNG_LIBEXEC_PATH", helper, 1);
        snprintf(helper, sizeof(helper), "%s/kcl", root);
        setenv("PRVNG_SCHEMA_PATH", helper, 1);
        if (!python)
                python = "python3";
        snprintf(command, sizeof(command), "%s -I -c 'import importlib.util, sys; "
                 "sys.exit(importlib.util.find_spec(\"kcl_lib\") is None)' 2>/dev/null", python);
        return system(command) == 0 ? python : NULL;
}

/* criterion shows the reason of a skip only when it is verbose. */
#define SKIP(reason)                                                                               \
        do {                                                                                       \
                fprintf(stderr, "skipped: %s\n", reason);                                          \
                cr_skip_test("%s", reason);                                                        \
        } while (0)

#define NEED_KCL()                                                                                 \
        do {                                                                                       \
                if (!kcl_python())                                                                 \
                        SKIP("no kcl_lib: set PRVNG_KCL_PYTHON to a python3 that has it");         \
        } while (0)

/* A folder for one test. */
static char *new_folder(void)
{
        char *folder = strdup("/tmp/prvng-test-kcl-XXXXXX");

        cr_assert_not_null(mkdtemp(folder));
        return folder;
}

static void cleanup_folder(char **folder)
{
        char command[256];

        snprintf(command, sizeof(command), "rm -r '%s'", *folder);
        cr_expect_eq(system(command), 0);
        free(*folder);
}

static char *put(const char *folder, const char *name, const char *text)
{
        char *path = NULL;
        FILE *f;

        cr_assert_geq(asprintf(&path, "%s/%s", folder, name), 0);
        f = fopen(path, "we");
        cr_assert_not_null(f);
        fputs(text, f);
        fclose(f);
        return path;
}

Test(example, is_the_same_in_json_and_yaml)
{
        _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;
        _cleanup_(cleanup_free) char *json_path = test_example("workflows.json");
        _cleanup_(cleanup_free) char *yaml_path = test_example("workflows.yaml");
        _cleanup_(cleanup_free) char *json =
                test_canonical(plugin_json, json_path, NULL, NULL, NULL, &problems);
        _cleanup_(cleanup_free) char *yaml =
                test_canonical(plugin_yaml, yaml_path, NULL, NULL, NULL, &problems);
        _cleanup_(cleanup_free) char *printed = test_print(&problems);

        cr_assert(json && yaml, "%s", printed);
        cr_assert_str_eq(json, yaml);
        expect(json, "\"age_key_file\":\"~/.config/sops/age/keys.txt\"");
        expect(json, "\"checkpoint_interval\":2");
}

Test(example, is_the_same_in_kcl)
{
        _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;
        _cleanup_(cleanup_free) char *json_path = test_example("workflows.json");
        _cleanup_(cleanup_free) char *kcl_path = test_example("workflows.k");
        _cleanup_(cleanup_free) char *json = NULL, *kcl = NULL, *printed = NULL;

        NEED_KCL();
        json = test_canonical(plugin_json, json_path, NULL, NULL, NULL, &problems);
        kcl = test_canonical(plugin_kcl, kcl_path, NULL, NULL, NULL, &problems);
        printed = test_print(&problems);
        cr_assert(json && kcl, "%s%s", printed, test_message);
        cr_assert_str_eq(json, kcl);
}

static const char workflow[] = "import workflows\n"
                               "w = workflows.WorkflowDef {\n"
                               "    name = \"w\"\n"
                               "    operations = [{id = \"a\", type = \"create\", target = \"server\", "
                               "items = [\"s\"]}]\n";

Test(kcl, imports_of_the_user_work_beside_a_file_called_workflows)
{
        NEED_KCL();
        static const char *const names[] = { "workflows.k", "main.k" };
        _cleanup_(cleanup_folder) char *folder = new_folder();

        for (size_t i = 0; i < N_ELEMENTS(names); i++) {
                _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;
                _cleanup_(cleanup_free) char *sub = NULL, *path = NULL, *more = NULL, *near = NULL;
                _cleanup_(cleanup_free) char *canonical = NULL, *printed = NULL, *text = NULL;

                cr_assert_geq(asprintf(&sub, "%s/sub", folder), 0);
                mkdir(sub, 0700);
                more = put(sub, "more.k", "import workflows\nx = workflows.ServerDef {name = \"x\"}\n");
                near = put(folder, "near.k", "import workflows\ns = workflows.ServerDef {name = \"s\"}\n");
                cr_assert_geq(asprintf(&text, "import near\nimport .sub\n%s    servers = [near.s, sub.x]\n"
                                       "    vars = {env = option(\"env\"), n = 1.0}\n}\n"
                                       "print(\"noise {\")\n_hidden = 1\n", workflow), 0);
                path = put(folder, names[i], text);
                canonical = test_canonical(plugin_kcl, path, NULL, NULL, "{\"D\":{\"env\":\"prod\"}}",
                                           &problems);
                printed = test_print(&problems);
                cr_assert_not_null(canonical, "%s: %s%s", names[i], printed, test_message);
                expect(canonical, "\"servers\":[{\"name\":\"s\"},{\"name\":\"x\"}]");
                expect(canonical, "\"vars\":{\"env\":\"prod\",\"n\":1.0}");
        }
}

/* What a schema of KCL fills in is no choice: the site decides, as where nothing is written in JSON. */
Test(kcl, defaults_are_no_choice_of_a_store)
{
        static const struct { const char *monitoring; bool chosen; } cases[] = {
                { "", false },
                { "    monitoring = workflows.MonitoringConfig {}\n", false },
                { "    monitoring.enabled = False\n", false },
                { "    monitoring = workflows.MonitoringConfig {state_store = \"rkvs\"}\n", true },
                { "    monitoring.state_store = \"file\"\n", true },
        };
        NEED_KCL();
        _cleanup_(cleanup_folder) char *folder = new_folder();

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;
                _cleanup_(cleanup_free) char *path = NULL, *text = NULL, *canonical = NULL, *printed = NULL;

                cr_assert_geq(asprintf(&text, "%s%s}\n", workflow, cases[i].monitoring), 0);
                path = put(folder, "w.k", text);
                canonical = test_canonical(plugin_kcl, path, NULL, NULL, NULL, &problems);
                printed = test_print(&problems);
                cr_assert_not_null(canonical, "%s%s%s", text, printed, test_message);
                cr_assert_eq(strstr(canonical, "state_store") != NULL, cases[i].chosen, "%s\n%s", text,
                             canonical);
        }
}

Test(kcl, errors_have_their_place)
{
        NEED_KCL();
        _cleanup_(cleanup_folder) char *folder = new_folder();
        _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;
        _cleanup_(cleanup_free) char *path = NULL, *printed = NULL, *wanted = NULL;

        path = put(folder, "workflows.k",
                   "import workflows\nw = workflows.WorkflowDef {\n    nam = \"n\"\n"
                   "    operations = [{id = \"a\", type = \"creat\", target = \"server\", items = [\"s\"]}]\n"
                   "}\ny = foo\n");
        cr_assert_null(test_canonical(plugin_kcl, path, NULL, NULL, NULL, &problems));
        cr_assert_eq(test_answer, PRVNG_PERMANENT);
        printed = test_print(&problems);
        cr_assert_geq(asprintf(&wanted, "%s:3:5: Cannot add member 'nam'", path), 0);
        expect(printed, wanted);
        expect(printed, ":2:27: attribute 'name' of WorkflowDef is required");
        expect(printed, ":4:30: expected str(create) | str(update)");
        expect(printed, ":6:5: name 'foo' is not defined");
        expect(printed, "    y = foo");
        cr_assert_eq(problems.n, 4, "each once: %s", printed);
}

Test(kcl, problems_of_the_definition_have_their_place)
{
        NEED_KCL();
        _cleanup_(cleanup_folder) char *folder = new_folder();
        _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;
        _cleanup_(cleanup_free) char *path = NULL, *printed = NULL, *text = NULL, *wanted = NULL;

        cr_assert_geq(asprintf(&text, "%s    retry_policy = {\n        max_attempts = 0\n    }\n"
                               "    servers = [\n        {name = \"s\"}\n        {name = \"t\", tier = 1}\n"
                               "    ]\n}\n", workflow), 0);
        path = put(folder, "workflows.k", text);
        cr_assert_null(test_canonical(plugin_kcl, path, NULL, NULL, NULL, &problems));
        printed = test_print(&problems);
        cr_assert_geq(asprintf(&wanted, "%s:6:24: retry_policy.max_attempts: 0 is out of range", path), 0);
        expect(printed, wanted);
        expect(printed, ":10:22: servers[1].tier: unknown attribute \"tier\" of ServerDef");
}

Test(kcl, a_missing_one_is_said_with_the_cure)
{
        _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;
        _cleanup_(cleanup_free) char *path = test_example("workflows.k");

        kcl_python();
        setenv("PRVNG_KCL_PYTHON", "/nonexistent/python3", 1);
        cr_assert_null(test_canonical(plugin_kcl, path, NULL, NULL, NULL, &problems));
        cr_assert_eq(test_answer, PRVNG_UNSUPPORTED);
        expect(test_message, "pip install kcl-lib");
}

/* A version manager's shim for python3 needs more of the machine than the sandbox shows. */
Test(kcl, one_that_cannot_be_started_is_a_missing_one)
{
        _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;
        _cleanup_(cleanup_folder) char *folder = new_folder();
        _cleanup_(cleanup_free) char *path = test_example("workflows.k");
        _cleanup_(cleanup_free) char *shim = put(folder, "python3", "#!/bin/sh\nexec /nonexistent/pyenv\n");

        kcl_python();
        cr_assert_eq(chmod(shim, 0755), 0);
        setenv("PRVNG_KCL_PYTHON", shim, 1);
        cr_assert_null(test_canonical(plugin_kcl, path, NULL, NULL, NULL, &problems));
        cr_assert_eq(test_answer, PRVNG_UNSUPPORTED, "%s", test_message);
        expect(test_message, "KCL is not installed here");
}

Test(kcl, cannot_write_nor_read_what_is_not_its_own)
{
        NEED_KCL();
        _cleanup_(cleanup_folder) char *folder = new_folder(), *secrets = new_folder();
        _cleanup_(cleanup_free) char *secret = put(secrets, "key", "TOPSECRET"), *target = NULL;
        static const struct { const char *before, *after; } attempts[] = {
                { "file.write(\"", "/made\", \"x\")" },
                { "file.append(\"", "/key\", \"x\")" },
                { "file.delete(\"", "/key\")" },
                { "file.mkdir(\"", "/made\")" },
                { "file.write(\"", "/../../usr/prvng-made\", \"x\")" },
                { "_s = file.read(\"", "/key\")\nprint(_s)" },
        };

        setenv("PRVNG_TEST_SECRET", "TOPSECRET", 1);
        for (size_t i = 0; i < N_ELEMENTS(attempts); i++) {
                _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;
                _cleanup_(cleanup_free) char *path = NULL, *text = NULL, *attempt = NULL;
                _cleanup_(cleanup_free) char *canonical = NULL, *printed = NULL, *content = NULL;

                cr_assert_geq(asprintf(&attempt, "%s%s%s", attempts[i].before, secrets,
                                       attempts[i].after), 0);
                cr_assert_geq(asprintf(&text, "import file\n%s}\n%s\n", workflow, attempt), 0);
                path = put(folder, "main.k", text);
                canonical = test_canonical(plugin_kcl, path, NULL, NULL, NULL, &problems);
                printed = test_print(&problems);
                cr_assert_null(canonical, "%s: went through", attempt);
                cr_assert_null(strstr(printed, "TOPSECRET"));
                content = test_read(secret);
                cr_assert_str_eq(content, "TOPSECRET", "%s", attempt);
                cr_assert_geq(asprintf(&target, "%s/made", secrets), 0);
                cr_assert_neq(access(target, F_OK), 0, "%s", attempt);
                free(target);
                target = NULL;
                cr_assert_neq(access("/usr/prvng-made", F_OK), 0);
        }
}

Test(kcl, sees_no_environment)
{
        NEED_KCL();
        _cleanup_(cleanup_folder) char *folder = new_folder();
        _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;
        _cleanup_(cleanup_free) char *path = NULL, *text = NULL, *canonical = NULL, *printed = NULL;

        setenv("PRVNG_TEST_SECRET", "TOPSECRET", 1);
        cr_assert_geq(asprintf(&text, "import file\n%s    vars = {s = file.read_env(\"PRVNG_TEST_SECRET\"), "
                               "p = file.read_env(\"PATH\")}\n}\n", workflow), 0);
        path = put(folder, "main.k", text);
        canonical = test_canonical(plugin_kcl, path, NULL, NULL, NULL, &problems);
        printed = test_print(&problems);
        cr_assert_not_null(canonical, "%s%s", printed, test_message);
        cr_assert_null(strstr(canonical, "TOPSECRET"));
        expect(canonical, "\"p\":\"/usr/local/bin:/usr/bin:/bin\"");
}

/* --- the sandbox itself --- */

static int sandbox(const char *options, const char *command)
{
        char line[8192];
        int status;

        snprintf(line, sizeof(line), "%s/kcl/prvng-sandbox %s -- /bin/sh -c '%s' 2>/dev/null",
                 getenv("PRVNG_TEST_BUILD"), options, command);
        status = system(line);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool can_sandbox(void)
{
        return sandbox("", "exit 7") == 7;
}

#define NEED_SANDBOX()                                                                             \
        do {                                                                                       \
                if (!can_sandbox())                                                                \
                        SKIP("no namespaces can be made here");                                    \
        } while (0)

Test(sandbox, shows_only_what_it_is_given)
{
        NEED_SANDBOX();
        _cleanup_(cleanup_folder) char *own = new_folder(), *other = new_folder();
        _cleanup_(cleanup_free) char *file = put(other, "file", "x"), *options = NULL, *command = NULL;

        cr_assert_geq(asprintf(&options, "--write %s", own), 0);
        cr_assert_geq(asprintf(&command, "echo x > %s/made && test ! -e %s && test ! -e /proc/1 && "
                               "test ! -e /etc/passwd && ! touch /usr/made && ! touch /made && "
                               "test $(ls / | wc -l) -lt 14", own, file), 0);
        cr_assert_eq(sandbox(options, command), 0);
        free(options);
        options = NULL;
        cr_assert_geq(asprintf(&options, "--read %s", other), 0);
        free(command);
        command = NULL;
        cr_assert_geq(asprintf(&command, "cat %s && ! rm -f %s && ! touch %s/made", file, file, other), 0);
        cr_assert_eq(sandbox(options, command), 0);
        cr_assert_eq(access(file, F_OK), 0);
}

Test(sandbox, reaches_no_network)
{
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct pollfd waiting = { .fd = fd, .events = POLLIN };
        socklen_t n = sizeof(address);
        char command[512], line[1024];

        NEED_SANDBOX();
        cr_assert_eq(bind(fd, (struct sockaddr *)&address, n), 0);
        cr_assert_eq(listen(fd, 1), 0);
        cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &n), 0);
        snprintf(command, sizeof(command), "exec python3 -I -c \"import socket; "
                 "socket.create_connection((\\\"127.0.0.1\\\", %d), 2)\"", ntohs(address.sin_port));
        snprintf(line, sizeof(line), "/bin/sh -c '%s'", command);
        cr_assert_eq(system(line), 0, "outside of the sandbox it connects");
        cr_assert_eq(poll(&waiting, 1, 1000), 1);
        close(accept(fd, NULL, NULL));
        cr_assert_neq(sandbox("", command), 0);
        cr_assert_eq(poll(&waiting, 1, 0), 0, "nothing came");
        close(fd);
}

Test(sandbox, ends_what_does_not_end)
{
        int64_t before = time(NULL);

        NEED_SANDBOX();
        cr_assert_eq(sandbox("--seconds 1", "while :; do :; done"), 124);
        cr_assert_eq(sandbox("--seconds 1", "sleep 60"), 124);
        cr_assert_lt(time(NULL) - before, 20);
}

Test(sandbox, without_namespaces_still_forbids)
{
        NEED_SANDBOX();
        _cleanup_(cleanup_folder) char *own = new_folder();
        _cleanup_(cleanup_free) char *options = NULL;

        cr_assert_geq(asprintf(&options, "--no-namespaces --write %s", own), 0);
        cr_assert_neq(sandbox(options, "exec python3 -I -c \"import socket; socket.socket()\""), 0);
        cr_assert_neq(sandbox(options, "exec mount -t tmpfs none /mnt"), 0);
        cr_assert_eq(sandbox(options, "touch here"), 0);
}
