/* SPDX-License-Identifier: Apache-2.0 */
/* What an isolated plugin may ask of the host, and what its process is given. */
#include "plugin/confine.h"

#include "base/json.h"
#include "config/capability.h"
#include "host/host.h"
#include "../../tests/support/site.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* --- capabilities --- */

static void wrong(const char *text, const char *reason)
{
        _cleanup_(cleanup_json_decref) json_t *j = json_loads(text, JSON_DECODE_ANY, NULL);
        _cleanup_(cleanup_free) char *why = NULL;

        cr_assert(j, "%s", text);
        cr_assert_eq(capability_check(j, &why), 0);
        if (reason)
                cr_expect(why && strstr(why, reason), "\"%s\" does not say \"%s\"", why ? why : "", reason);
        else
                cr_expect(!why, "%s: %s", text, why);
}

Test(capability, is_checked)
{
        wrong("{}", NULL);
        wrong("{\"hosts\":[\"api.example.net:443\",\"*.example.net:1\",\"[::1]:65535\",\"127.0.0.1:80\"]}", NULL);
        wrong("{\"secrets\":[\"A_1\",\"/etc/x\",\"~/x\"],\"paths\":{\"read\":[\"/\"],\"write\":[\"@task\"]}}", NULL);
        wrong("{\"programs\":[\"helper\",\"/bin/sh\"],\"processes\":true,\"sockets\":false}", NULL);
        wrong("[]", "an object is expected");
        wrong("{\"host\":[]}", "there is no \"host\", did you mean \"hosts\"?");
        wrong("{\"hosts\":\"a:1\"}", ".hosts: a list of at most");
        wrong("{\"hosts\":[\"a:1\",\"api.example.net\"]}", ".hosts[1]: \"api.example.net\" is not accepted");
        wrong("{\"hosts\":[\"a:0\"]}", ".hosts[0]");
        wrong("{\"hosts\":[\"a:65536\"]}", ".hosts[0]");
        wrong("{\"hosts\":[\"a:1 \"]}", ".hosts[0]");
        wrong("{\"hosts\":[\"*:1\"]}", ".hosts[0]");
        wrong("{\"hosts\":[\"*.*.x:1\"]}", ".hosts[0]");
        wrong("{\"hosts\":[1]}", "what is no string");
        wrong("{\"secrets\":[\"A-B\"]}", ".secrets[0]: \"A-B\"");
        wrong("{\"environment\":[\"1A\"]}", ".environment[0]");
        wrong("{\"paths\":{\"read\":[\"relative\"]}}", ".paths.read[0]: \"relative\"");
        wrong("{\"paths\":{\"read\":[\"/a/../b\"]}}", ".paths.read[0]");
        wrong("{\"paths\":{\"read\":[\"@task\"]}}", ".paths.read[0]");
        wrong("{\"paths\":{\"reads\":[]}}", ".paths: there is no \"reads\", did you mean \"read\"?");
        wrong("{\"paths\":[]}", ".paths: an object is expected");
        wrong("{\"programs\":[\"a/b\"]}", ".programs[0]");
        wrong("{\"sockets\":1}", ".sockets: true or false");
}

Test(capability, adds_what_the_site_allows)
{
        _cleanup_(cleanup_json_decref) json_t *a = json_loads("{\"hosts\":[\"a:1\"]}", 0, NULL),
                                              *b = json_loads("{\"hosts\":[\"a:1\",\"b:2\"],\"sockets\":true}", 0, NULL),
                                              *all = capability_merge(a, b), *none = capability_merge(NULL, NULL);
        _cleanup_(cleanup_free) char *text = json_dumps(all, JSON_COMPACT | JSON_SORT_KEYS);

        cr_assert_str_eq(text, "{\"environment\":[],\"hosts\":[\"a:1\",\"b:2\"],\"paths\":{\"read\":[],\"write\":[]},"
                               "\"processes\":false,\"programs\":[],\"secrets\":[],\"sockets\":true}");
        cr_assert_eq(json_array_size(json_object_get(none, "hosts")), 0);
}

/* --- one plugin --- */

static struct test_site site;
static struct problems problems;
static struct config *config;
static struct host *host;
static struct config_plugin dropin;
static struct plugin plugin;
static char own_name[] = "p", own_from[] = "p.conf:1";

static void setup(void)
{
        test_site_new(&site, NULL, 0, NULL);
        cr_assert_eq(config_load(site.conf, &problems, &config), 0);
        cr_assert_eq(host_new(config, NULL, &host), 0);
        dropin = (struct config_plugin){.name = own_name, .from = own_from, .memory = 512};
        plugin = (struct plugin){.name = dropin.name, .config = &dropin, .host = host};
}

static void teardown(void)
{
        json_decref(plugin.capabilities);
        json_decref(plugin.note);
        host_free(host);
        config_free(config);
        problems_deinit(&problems);
        test_site_remove(&site);
}

TestSuite(confine, .init = setup, .fini = teardown);

static void declare(const char *capabilities)
{
        _cleanup_(cleanup_json_decref) json_t *j = json_loads(capabilities, 0, NULL);
        _cleanup_(cleanup_free) char *why = NULL;

        cr_assert(j && capability_check(j, &why) == 0 && !why, "%s: %s", capabilities, why);
        json_decref(plugin.capabilities);
        plugin.capabilities = capability_merge(j, NULL);
}

static void session(const char *options, const char *reason)
{
        _cleanup_(cleanup_buf) struct buf why = BUF_NULL;
        bool ok = confine_session(&plugin, options, strlen(options), &why);

        cr_expect_eq(ok, !reason, "%s: %s", options, buf_str(&why));
        cr_expect(!reason || strstr(buf_str(&why), reason), "\"%s\" does not say \"%s\"", buf_str(&why), reason);
}

Test(confine, holds_sessions_to_declared_hosts)
{
        declare("{\"hosts\":[\"api.example.net:443\",\"*.example.org:8443\"]}");
        session("{\"base_url\":\"https://api.example.net/1.3\"}", NULL);
        session("{\"base_url\":\"HTTPS://API.example.NET\"}", NULL);
        session("{\"base_url\":\"https://eu.example.org:8443\"}", NULL);
        session("{\"base_url\":\"https://example.org:8443\"}", "asks for example.org:8443");
        session("{\"base_url\":\"https://api.example.net:444\"}", "asks for api.example.net:444");
        session("{\"base_url\":\"https://api.example.net.evil.example\"}", "asks for api.example.net.evil.example:443");
        session("{\"base_url\":\"https://evilexample.org:8443\"}", "evilexample.org");
        session("{\"base_url\":\"https://api.example.net@evil.example/\"}", "asks for evil.example:443");
        session("{\"base_url\":\"http://127.0.0.1:80\"}",
                "p is isolated and asks for 127.0.0.1:80, which it does not declare (api.example.net:443, "
                "*.example.org:8443); if it shall, write capabilities: { hosts = [ \"127.0.0.1:80\" ]; }; into p.conf:1");
        declare("{}");
        session("{\"base_url\":\"https://api.example.net\"}", "(it declares no hosts)");
        session("no JSON", NULL);
}

Test(confine, takes_what_the_site_names)
{
        declare("{\"environment\":[\"PRVNG_TEST_URL\"]}");
        session("{\"base_url\":\"http://127.0.0.1:8080/v1\"}", "asks for 127.0.0.1:8080");
        dropin.config = (char[]){"{\"endpoint\":\"http://127.0.0.1:8080\",\"token_file\":\"/etc/t\","
                                 "\"token\":{\"env\":\"T2\"}}"};
        session("{\"base_url\":\"http://127.0.0.1:8080/v1\"}", NULL);
        session("{\"base_url\":\"http://127.0.0.1:8080\",\"auth\":{\"token\":{\"file\":\"/etc/t\"}}}", NULL);
        session("{\"base_url\":\"http://127.0.0.1:8080\",\"auth\":{\"token\":{\"env\":\"T2\"}}}", NULL);
        session("{\"base_url\":\"http://127.0.0.1:8080\",\"auth\":{\"token\":{\"file\":\"/etc/u\"}}}", "/etc/u");
        session("{\"base_url\":\"http://127.0.0.1:8081\"}", "asks for 127.0.0.1:8081");
        dropin.config = (char[]){"{\"endpoint\":\"http://127.0.0.1:8080\",\"token\":\"secret://vault/a#b\"}"};
        session("{\"base_url\":\"http://127.0.0.1:8080\",\"auth\":{\"token\":{\"secret\":\"secret://vault/a#b\"}}}",
                NULL);
        session("{\"base_url\":\"http://127.0.0.1:8080\",\"auth\":{\"token\":{\"secret\":\"secret://vault/a#c\"}}}",
                "asks for the secret secret://vault/a#c");
        setenv("PRVNG_TEST_URL", "http://127.0.0.1:8081/", 1);
        session("{\"base_url\":\"http://127.0.0.1:8081\"}", NULL);
}

Test(confine, holds_secrets_to_declared_ones)
{
        declare("{\"hosts\":[\"a:443\"],\"secrets\":[\"TOKEN\",\"/etc/keys\"],\"paths\":{\"read\":[\"/srv/x\"]}}");
        session("{\"base_url\":\"https://a\",\"auth\":{\"type\":\"bearer\",\"token\":{\"env\":\"TOKEN\"}}}", NULL);
        session("{\"base_url\":\"https://a\",\"auth\":{\"type\":\"bearer\",\"token\":{\"set\":\"x\"}}}", NULL);
        session("{\"base_url\":\"https://a\",\"auth\":{\"type\":\"bearer\",\"token\":{\"file\":\"/etc/keys/a\"}}}", NULL);
        session("{\"base_url\":\"https://a\",\"auth\":{\"type\":\"bearer\",\"token\":{\"file\":\"/srv/x\"}}}", NULL);
        session("{\"base_url\":\"https://a\",\"auth\":{\"type\":\"bearer\",\"token\":{\"file\":\"/etc/keys/../a\"}}}",
                "asks for the secret /etc/keys/../a");
        session("{\"base_url\":\"https://a\",\"auth\":{\"type\":\"bearer\",\"token\":{\"file\":\"/etc/keysx\"}}}",
                "asks for the secret /etc/keysx");
        session("{\"base_url\":\"https://a\",\"auth\":{\"type\":\"bearer\",\"token\":{\"env\":\"OTHER\"}}}",
                "asks for the secret OTHER, which it does not declare (TOKEN, /etc/keys)");
}

Test(confine, seals_secrets)
{
        char **environment;

        declare("{\"secrets\":[\"PRVNG_TEST_TOKEN\",\"PRVNG_TEST_ABSENT\"],\"environment\":[\"PRVNG_TEST_REGION\"]}");
        unsetenv("PRVNG_TEST_ABSENT");
        setenv("PRVNG_TEST_TOKEN", "very secret", 1);
        setenv("PRVNG_TEST_REGION", "north", 1);
        setenv("PRVNG_TEST_OTHER", "other", 1);
        environment = confine_environment(&plugin);
        cr_assert_str_eq(environment[0], "PRVNG_TEST_TOKEN=prvng-sealed:PRVNG_TEST_TOKEN");
        cr_assert_str_eq(environment[1], "PRVNG_TEST_REGION=north");
        cr_assert_null(environment[2]);
        confine_environment_free(environment);
        cr_assert_str_eq(confine_unseal(&plugin, "prvng-sealed:PRVNG_TEST_TOKEN", 29), "very secret");
        cr_assert_null(confine_unseal(&plugin, "prvng-sealed:PRVNG_TEST_OTHER", 29), "it is not declared");
        cr_assert_null(confine_unseal(&plugin, "prvng-sealed:", 13));
        cr_assert_null(confine_unseal(&plugin, "very secret", 11));
}

static void program(const char *name, bool allowed)
{
        _cleanup_(cleanup_buf) struct buf why = BUF_NULL;

        cr_expect_eq(confine_program(&plugin, name, &why), allowed, "%s: %s", name, buf_str(&why));
        cr_expect(allowed || strstr(buf_str(&why), "which it does not declare"));
}

static void reach(const char *argv0, bool allowed)
{
        _cleanup_(cleanup_buf) struct buf why = BUF_NULL;
        char text[300];
        int n = snprintf(text, sizeof(text), "{\"reach\":{\"method\":\"exec\",\"argv\":[\"%s\",\"x\"]}}", argv0);

        cr_expect_eq(confine_reach(&plugin, text, (uint64_t)n, &why), allowed, "%s: %s", argv0, buf_str(&why));
}

Test(confine, holds_programs_to_declared_ones)
{
        char helpers[] = "/tmp/prvng-confine-XXXXXX", path[64];

        cr_assert_not_null(mkdtemp(helpers));
        free(config->libexec);
        config->libexec = strdup(helpers);
        declare("{\"programs\":[\"helper\",\"/usr/bin/env\"]}");
        program("helper", true);
        program("/usr/bin/env", true);
        program("sh", false);
        program("/bin/helper", false);
        snprintf(path, sizeof(path), "%s/helper", helpers);
        program(path, true);
        reach(path, true);
        snprintf(path, sizeof(path), "%s/enter", helpers);
        program(path, false);
        reach(path, true);
        reach("/usr/bin/env", true);
        reach("/bin/sh", false);
        reach("enter", false);
        rmdir(helpers);
}

/* --- its sandbox --- */

static int in_sandbox(const json_t *sandbox, int (*try)(void))
{
        int status;
        pid_t pid = fork();

        if (pid == 0) {
                _cleanup_(cleanup_buf) struct buf missing = BUF_NULL;

                _exit(confine_enter(sandbox, &missing) < 0 ? 255 : strstr(buf_str(&missing), "Landlock") ? 77 : try());
        }
        cr_assert(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
        return WEXITSTATUS(status);
}

static int write_state(void)
{
        char path[4096];
        int fd;

        snprintf(path, sizeof(path), "%s/plugins/p/f", config->state);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        return fd < 0 ? errno : unlink(path) < 0 ? errno : 0;
}

static int read_site(void)
{
        int fd = open(site.conf, O_RDONLY | O_CLOEXEC);

        return fd < 0 ? errno : 0;
}

static int look_round(void)
{
        int r = write_state();

        return r ? r : read_site() == EACCES ? 0 : 78;
}

Test(confine, makes_a_sandbox)
{
        _cleanup_(cleanup_json_decref) json_t *sandbox = NULL, *nothing = json_object();
        int r;

        declare("{}");
        plugin.note = json_pack("{s:[s]}", "requires", "prvng.host.workdir/1");
        cr_assert_eq(confine_sandbox(&plugin, &sandbox), 0);
        cr_assert_eq(json_get_int(sandbox, "memory", 0), INT64_C(512) << 20);
        cr_assert_null(json_object_get(sandbox, "uid"), "it needs its folder, which is the engine's");
        cr_assert_eq(json_array_size(json_object_get(sandbox, "remarks")), 1);
        r = in_sandbox(sandbox, look_round);
        cr_assert(r == 0 || r == 77, "%d", r);
        cr_assert_eq(in_sandbox(nothing, look_round), 255, "no list of paths is not a list of all");
}

Test(confine, gives_a_user_of_its_own_where_it_can)
{
        _cleanup_(cleanup_json_decref) json_t *sandbox = NULL;
        int64_t uid;

        declare("{}");
        plugin.note = json_pack("{s:[]}", "requires");
        plugin.path = (char[]){"/usr/bin/env"};
        cr_assert_eq(confine_sandbox(&plugin, &sandbox), 0);
        uid = json_get_int(sandbox, "uid", 0);
        if (geteuid() == 0)
                cr_assert(uid >= 60706 && uid < 61184, "%lld", (long long)uid);
        else
                cr_assert(uid == 0 && json_array_size(json_object_get(sandbox, "remarks")) == 1);
        json_decref(steal(&sandbox));
        plugin.path = site.conf; /* below a folder that is closed to others */
        cr_assert_eq(confine_sandbox(&plugin, &sandbox), 0);
        cr_assert_null(json_object_get(sandbox, "uid"));
}

Test(confine, says_what_it_may)
{
        _cleanup_(cleanup_buf) struct buf a = BUF_NULL, b = BUF_NULL;

        declare("{\"hosts\":[\"a:1\",\"b:2\"],\"secrets\":[\"T\"],\"programs\":[\"h\"],\"processes\":true}");
        confine_describe(&plugin, &a);
        cr_assert_str_eq(buf_str(&a), "may reach a:1, b:2, secrets T, programs outside of its process h, "
                                      "programs inside of its sandbox");
        declare("{}");
        confine_describe(&plugin, &b);
        cr_assert_str_eq(buf_str(&b), "may reach nothing but the host's services");
}
