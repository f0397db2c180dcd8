/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config.h"

#include "base/json.h"
#include "../../tests/support/site.h"

#include <criterion/criterion.h>

/* Loads a site; the problems as one text, "" if there are none. */
struct loading {
        struct test_site site;
        struct problems problems;
        struct config *config;
        char *text;
        size_t n_text;
};

static void load(struct loading *l)
{
        FILE *f;

        l->config = config_free(l->config);
        problems_deinit(&l->problems);
        free(l->text);
        f = open_memstream(&l->text, &l->n_text);
        cr_assert_eq(config_load(l->site.conf, &l->problems, &l->config), 0);
        problems_print(&l->problems, f);
        fclose(f);
        cr_assert_eq(l->problems.n == 0, l->config != NULL, "%s", l->text);
}

static void end(struct loading *l)
{
        config_free(l->config);
        problems_deinit(&l->problems);
        free(l->text);
        test_site_remove(&l->site);
}

static void says(const struct loading *l, const char *what)
{
        cr_assert_not_null(strstr(l->text, what), "\"%s\" is missing in:\n%s", what, l->text);
}

Test(config, defaults)
{
        struct loading l = {0};
        _cleanup_(cleanup_free) char *state = NULL, *socket = NULL;

        test_site_new(&l.site, NULL, 0, NULL);
        load(&l);
        state = test_site_path(&l.site, "state/prvng");
        socket = test_site_path(&l.site, "state/prvng/prvngd.sock");
        cr_assert_str_eq(l.config->state, state);
        cr_assert_str_eq(l.config->socket, socket);
        cr_assert_str_eq(l.config->store, "file");
        cr_assert_str_eq(l.config->provider, "local");
        cr_assert_eq(l.config->workers, 8);
        cr_assert_eq(l.config->taskserv_batch, 16);
        cr_assert_eq(l.config->idle_s, 60);
        cr_assert_eq(json_get_int(l.config->server, "memory", 0), 1024);
        cr_assert_eq(l.config->n_plugins, 0);
        end(&l);
}

static void stored(struct loading *l, const char *store, bool notice)
{
        l->config = config_free(l->config);
        load(l);
        cr_assert_str_eq(l->config->store, store);
        cr_assert_eq(l->config->store_notice != NULL, notice, "%s", l->config->store_notice);
}

/* rkvs, unless the site has begun with another one, or has no rkvs. */
Test(config, home_store_of_a_site_that_names_none)
{
        static const char on[] = "plugin: { name = \"rkvs\"; file = \"stores/rkvs.so\"; };";
        static const char off[] = "plugin: { name = \"rkvs\"; file = \"stores/rkvs.so\"; enabled = false; };";
        struct loading l = {0};

        test_site_new(&l.site, NULL, 0, NULL);
        stored(&l, "file", false);
        test_site_write(&l.site, "plugins.d/rkvs.conf", off);
        stored(&l, "file", false);
        test_site_write(&l.site, "plugins.d/rkvs.conf", on);
        stored(&l, "rkvs", false);
        test_site_write(&l.site, "state/prvng/stores/rkvs/journal.mdb", "");
        test_site_write(&l.site, "plugins.d/rkvs.conf", off);
        stored(&l, "rkvs", false); /* and the engine will say that it cannot be used */
        test_site_write(&l.site, "plugins.d/rkvs.conf", on);
        test_site_write(&l.site, "state/prvng/stores/file/streams/run-1/00000001.jsonl", "");
        stored(&l, "rkvs", false); /* a run has chosen it, no more */
        test_site_write(&l.site, "state/prvng/stores/file/streams/site/00000001.jsonl", "");
        stored(&l, "file", true);
        cr_assert_not_null(strstr(l.config->store_notice, "store = \"file\""));
        end(&l);
}

Test(config, all_keys)
{
        struct loading l = {0};
        json_t *mirrors;

        test_site_new(&l.site, NULL, 0,
                 "state = \"/srv/state\"; cache = \"~/c\"; socket = \"/run/x.sock\"; store = \"rkvs\";\n"
                 "provider = \"upcloud\"; workers = 256; taskserv_batch_size = 3; idle_timeout = 5;\n"
                 "server: { cpu = 2; labels: { team = \"a\"; }; upcloud: { tier = \"maxiops\"; }; };\n"
                 "sources: { apt_mirror = \"http://m/debian\"; kcl_command = [ \"kcl\", \"run\" ];\n"
                 "  git_mirrors = ( { from = \"https://a/\"; to = \"https://b/\"; } ); };\n");
        setenv("HOME", "/home/somebody", 1);
        load(&l);
        cr_assert_str_eq(l.text, "");
        cr_assert_str_eq(l.config->state, "/srv/state");
        cr_assert_str_eq(l.config->cache, "/home/somebody/c");
        cr_assert_str_eq(l.config->socket, "/run/x.sock");
        cr_assert_str_eq(l.config->provider, "upcloud");
        cr_assert_eq(l.config->workers, 256);
        cr_assert_eq(json_get_int(l.config->server, "cpu", 0), 2);
        cr_assert_eq(json_get_int(l.config->server, "disk", 0), 10, "defaults stay");
        cr_assert_str_eq(json_get_string(json_object_get(l.config->server, "upcloud"), "tier", ""),
                         "maxiops");
        mirrors = json_object_get(l.config->sources, "git_mirrors");
        cr_assert_str_eq(json_get_string(json_array_get(mirrors, 0), "to", ""), "https://b/");
        end(&l);
}

Test(config, every_problem_with_its_line)
{
        struct loading l = {0};

        test_site_new(&l.site, NULL, 0,
                 "worker = 4;\nworkers = 0;\nidle_timeout = \"long\";\nstate = \"here\";\n"
                 "server: { memry = 5; cpu = -1; };\nsources: { aptmirror = \"x\"; no_proxy = 1; };\n"
                 "plugin: { name = \"x\"; };\nworkers_of_the_world = 1;\ntaskserv_batch_size = 1.5;\n");
        load(&l);
        says(&l, "prvng.conf:1: worker: unknown key; did you mean \"workers\"?");
        says(&l, "prvng.conf:2: workers: 0; accepted are 1 to 256");
        says(&l, "prvng.conf:3: idle_timeout: a string where a whole number");
        says(&l, "prvng.conf:4: state: \"here\" is not a path");
        says(&l, "prvng.conf:5: server.memry: unknown key; did you mean \"memory\"?");
        says(&l, "prvng.conf:5: server.cpu: -1; it must be more than 0");
        says(&l, "prvng.conf:6: sources.aptmirror: unknown key; did you mean \"apt_mirror\"?");
        says(&l, "prvng.conf:6: sources.no_proxy: a whole number where a string");
        says(&l, "prvng.conf:7: plugin: a plugin is enabled by a file of its own");
        says(&l, "prvng.conf:8: workers_of_the_world: unknown key");
        says(&l, "prvng.conf:9: taskserv_batch_size: a number with a fraction where");
        cr_assert_eq(l.problems.n, 11);
        end(&l);
}

Test(config, syntax_and_files)
{
        struct loading l = {0};

        test_site_new(&l.site, NULL, 0, "workers = 4;\nstore = ;\n");
        test_site_write(&l.site, "plugins.d/a.conf", "plugin: {\n name = \"a\";");
        test_site_write(&l.site, "plugins.d/b.conf/x", ""); /* a folder */
        load(&l);
        says(&l, "prvng.conf:2: syntax error");
        says(&l, "a.conf:2: syntax error");
        says(&l, "b.conf: is not a file");
        cr_assert_eq(l.problems.n, 3);
        unlink(l.site.conf);
        test_site_write(&l.site, "plugins.d/a.conf", "");
        load(&l);
        says(&l, "prvng.conf: there is no such file");
        end(&l);
}

Test(dropin, gets_the_site_in_its_config)
{
        struct loading l = {0};
        _cleanup_(cleanup_json_decref) json_t *json = NULL;
        struct config_plugin *p;

        test_site_new(&l.site, NULL, 0, "sources: { image_registry = \"r.example\"; };");
        test_site_write(&l.site, "plugins.d/cloud.conf",
                   "# comment\nplugin: { name = \"cloud\"; file = \"providers/cloud.so\"; critical = "
                   "true;\n config: { zone = \"z\"; list = [1, 2]; big = 5000000000L; }; };");
        setenv("PRVNG_LIBEXEC_PATH", "/opt/libexec", 1);
        load(&l);
        cr_assert_str_eq(l.text, "");
        cr_assert_eq(l.config->n_plugins, 1);
        p = &l.config->plugins[0];
        cr_assert(p->enabled && p->critical && !p->process && !p->sha256);
        cr_assert_str_eq(strrchr(p->from, '/'), "/cloud.conf:2");
        cr_assert_eq(json_parse(p->config, strlen(p->config), &json, NULL), 0);
        cr_assert_str_eq(json_get_string(json, "libexec", ""), "/opt/libexec");
        cr_assert_str_eq(json_get_string(json_object_get(json, "sources"), "image_registry", ""),
                         "r.example");
        cr_assert_eq(json_get_int(json, "big", 0), 5000000000);

        json_decref(steal(&json));
        test_site_write(&l.site, "plugins.d/cloud.conf",
                        "plugin: { name = \"cloud\"; file = \"cloud.so\"; config: { libexec = "
                        "\"/own\"; }; };");
        load(&l);
        p = &l.config->plugins[0];
        cr_assert_eq(json_parse(p->config, strlen(p->config), &json, NULL), 0);
        cr_assert_str_eq(json_get_string(json, "libexec", ""), "/own");
        end(&l);
}

Test(dropin, limits)
{
        struct loading l = {0};
        const struct config_plugin *p;

        test_site_new(&l.site, NULL, 0, NULL);
        test_site_write(&l.site, "plugins.d/a.conf",
                        "plugin: { name = \"a\"; file = \"a.so\"; api_rate_limit = 7; batch_size = 0; };");
        test_site_write(&l.site, "plugins.d/b.conf", "plugin: { name = \"b\"; file = \"b.so\"; };");
        load(&l);
        cr_assert_str_eq(l.text, "");
        p = l.config->plugins;
        cr_assert(p[0].rate_limit.given && p[0].rate_limit.n == 7);
        cr_assert(p[0].batch_size.given && p[0].batch_size.n == 0);
        cr_assert_not(p[1].rate_limit.given || p[1].batch_size.given);
        test_site_write(&l.site, "plugins.d/a.conf",
                        "plugin: { name = \"a\"; file = \"a.so\";\napi_rate_limit = -1;\n"
                        "batch_size = \"many\";\nbatchsize = 3; };");
        load(&l);
        says(&l, "a.conf:2: plugin.api_rate_limit: -1 is out of range; expected 0 (no limit) to 100000");
        says(&l, "a.conf:3: plugin.batch_size: a string where a whole number from 0 (no limit)");
        says(&l, "a.conf:4: plugin.batchsize: unknown key; did you mean \"batch_size\"?");
        end(&l);
}

Test(dropin, problems)
{
        struct loading l = {0};

        test_site_new(&l.site, NULL, 0, NULL);
        test_site_write(&l.site, "plugins.d/a.conf", "plugin: { file = \"x.so\"; };");
        test_site_write(&l.site, "plugins.d/b.conf", "plugin: { name = \"b\"; };");
        test_site_write(&l.site, "plugins.d/c.conf",
                   "plugin: { name = \"c\"; file = \"c.so\"; isolation = \"proces\"; enable = false; };");
        test_site_write(&l.site, "plugins.d/d.conf",
                   "plugin: { name = \"D/d\"; file = \"d.so\"; sha256 = \"beef\"; };");
        test_site_write(&l.site, "plugins.d/e.conf", "plugins: { };");
        test_site_write(&l.site, "plugins.d/f.conf",
                   "plugin: { name = \"f\"; file = \"f.so\"; config: { sources: { }; }; };");
        test_site_write(&l.site, "plugins.d/ignored.conf.bak", "nonsense");
        load(&l);
        says(&l, "a.conf:1: plugin: has no \"name\"");
        says(&l, "b.conf:1: plugin: has no \"file\"");
        says(&l, "plugin.isolation: \"proces\"; did you mean \"process\"?");
        says(&l, "plugin.enable: unknown key; did you mean \"enabled\"?");
        says(&l, "plugin.name: \"D/d\"; names of plugins");
        says(&l, "plugin.sha256: is not a SHA-256 digest");
        says(&l, "e.conf:1: plugins: unknown key; did you mean \"plugin\"?");
        says(&l, "f.conf:1: plugin.config.sources: this name is taken");
        cr_assert_eq(l.problems.n, 8, "%s", l.text);
        end(&l);
}

Test(dropin, allows_more_to_an_isolated_plugin)
{
        struct loading l = {0};

        test_site_new(&l.site, NULL, 0, NULL);
        test_site_write(&l.site, "plugins.d/a.conf",
                        "plugin: { name = \"a\"; file = \"a.so\"; isolation = \"process\"; memory = 64;\n"
                        "capabilities: { hosts = [\"127.0.0.1:80\"]; paths: { read = [\"~/.a\"]; }; sockets = true; }; };");
        load(&l);
        cr_assert_eq(l.config->plugins[0].memory, 64);
        cr_assert_str_eq(json_string_value(json_array_get(json_object_get(l.config->plugins[0].capabilities, "hosts"), 0)),
                         "127.0.0.1:80");
        test_site_write(&l.site, "plugins.d/a.conf",
                        "plugin: { name = \"a\"; file = \"a.so\"; memory = 1;\ncapabilities: { hosts = [\"a\"]; }; };");
        load(&l);
        says(&l, "a.conf:2: plugin.capabilities: hosts[0]: \"a\" is not accepted; accepted are \"HOST:PORT\"");
        says(&l, "plugin.memory: 1");
        end(&l);
}

Test(dropin, override_file_by_file)
{
        struct loading l = {0};
        _cleanup_(cleanup_free) _unused_ char *user = NULL;

        test_site_new(&l.site, NULL, 0, NULL);
        test_site_write(&l.site, "packaged/a.conf", "plugin: { name = \"a\"; file = \"packaged\"; };");
        test_site_write(&l.site, "packaged/b.conf", "plugin: { name = \"b\"; file = \"packaged\"; };");
        test_site_write(&l.site, "packaged/c.conf", "plugin: { name = \"c\"; file = \"packaged\"; };");
        test_site_write(&l.site, "packaged/d.conf", "plugin: { name = \"d\"; file = \"packaged\"; };");
        test_site_write(&l.site, "xdg/prvng/plugins.d/a.conf",
                   "plugin: { name = \"a\"; file = \"user\"; };");
        test_site_write(&l.site, "xdg/prvng/plugins.d/b.conf",
                   "plugin: { name = \"b\"; file = \"user\"; };");
        test_site_write(&l.site, "plugins.d/b.conf", "plugin: { name = \"b\"; enabled = false; };");
        test_site_write(&l.site, "plugins.d/c.conf", ""); /* hides it */
        load(&l);
        cr_assert_str_eq(l.text, "");
        cr_assert_eq(l.config->n_plugins, 3);
        cr_assert_str_eq(l.config->plugins[0].file, "user");
        cr_assert(!l.config->plugins[1].enabled && !l.config->plugins[1].file);
        cr_assert_str_eq(l.config->plugins[2].name, "d");
        end(&l);
}

Test(config, later_files_override)
{
        struct loading l = {0};
        size_t n = 0;

        test_site_new(&l.site, NULL, 0, "workers = 3;");
        test_site_write(&l.site, "xdg/prvng/prvng.conf",
                   "workers = 5; store = \"x\"; sources: { no_proxy = \"a\"; };");
        load(&l);
        cr_assert_eq(l.config->workers, 3);
        cr_assert_str_eq(l.config->store, "file", "--config stands instead of the others");
        while (l.config->files[n])
                n++;
        cr_assert_eq(n, 1);
        config_free(l.config);
        cr_assert_eq(config_load(NULL, &l.problems, &l.config), 0);
        cr_assert_eq(l.config->workers, 5);
        cr_assert_str_eq(l.config->store, "x");
        end(&l);
}

Test(config, paths_of_the_environment)
{
        struct loading l = {0};

        test_site_new(&l.site, NULL, 0, NULL);
        setenv("PRVNG_PLUGIN_PATH", "/a::/b/c:", 1);
        setenv("PRVNG_SCHEMA_PATH", "/schemas", 1);
        load(&l);
        cr_assert_str_eq(l.config->plugin_path[0], "/a");
        cr_assert_str_eq(l.config->plugin_path[1], "/b/c");
        cr_assert_null(l.config->plugin_path[2]);
        cr_assert_str_eq(l.config->schemas, "/schemas");
        cr_assert_eq(l.config->libexec[0], '/', "the built-in one");
        end(&l);
}

Test(config, files_of_authorities_and_exchanges)
{
        struct loading l = {0};

        test_site_new(&l.site, NULL, 0, "sources: { ca_file = \"/etc/ca.pem\"; };\n"
                                        "http: { record = \"~/exchanges.jsonl\"; };\n");
        setenv("HOME", "/home/me", 1);
        load(&l);
        cr_assert_str_eq(json_get_string(l.config->sources, "ca_file", ""), "/etc/ca.pem");
        cr_assert_str_eq(json_get_string(l.config->http, "record", ""), "/home/me/exchanges.jsonl");
        cr_assert_null(json_object_get(l.config->http, "replay"));
        test_site_write(&l.site, "prvng.conf", "sources: { ca_file = \"ca.pem\"; };\n"
                                               "http: { record = 1; reply = \"/x\"; };\n");
        load(&l);
        says(&l, "\"ca.pem\" is not absolute");
        says(&l, "prvng.conf:2");
        says(&l, "a string is expected");
        says(&l, "did you mean \"replay\"");
        test_site_write(&l.site, "prvng.conf", "http = 1;\n");
        load(&l);
        says(&l, "a group { ... } is expected");
        end(&l);
}
