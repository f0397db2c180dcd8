/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The taskservs os, resolv and containerd on three real servers of the provider `local`, through the
 * core's own plugin loading and border. Needs root, the network and what the provider needs; skips
 * otherwise and says why. Output: TAP, with times.
 *
 *      test-servers PLUGINS CACHE HELPERS...         (folders of the build)
 */
#include "base/clock.h"
#include "base/json.h"
#include "base/uid.h"
#include "host/services.h"
#include "plugin/border.h"
#include "support/site.h"

#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <sys/stat.h>

#define N_SERVERS 3

static const char *const taskservs[] = {"os", "resolv", "containerd"};

static struct host *host;
static struct plugins *plugins;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int n_tests, n_failed;
static int64_t started_ms;

static bool check(bool good, const char *format, ...) _printf_(2, 3);
static bool check(bool good, const char *format, ...)
{
        va_list ap;

        pthread_mutex_lock(&lock);
        printf("%s %d - ", good ? "ok" : "not ok", ++n_tests);
        n_failed += !good;
        va_start(ap, format);
        vprintf(format, ap);
        va_end(ap);
        printf(" (at %.1f s)\n", (double)(clock_boot_ms() - started_ms) / 1000);
        fflush(stdout);
        pthread_mutex_unlock(&lock);
        return good;
}

struct server {
        char name[16];
        pthread_t thread;
        json_t *result; /* what the provider says of it */
};

static int32_t wait_done(struct op_call *call, const char *verb, const struct buf *request,
                         struct op_reply *reply)
{
        _cleanup_(cleanup_buf) struct buf token = BUF_NULL;

        while (reply->answer == PRVNG_PENDING) {
                if (reply->token.n) {
                        buf_clear(&token);
                        buf_append(&token, reply->token.data, reply->token.n);
                }
                poll(NULL, 0, (int)MAX(reply->ask_again_ms, (int64_t)20));
                op_poll(call, verb, request->data, request->n, token.data, token.n, reply);
        }
        return reply->answer;
}

/* One operation from prepare to its end, as the engine does it. `lose_token`: the engine dies after
 * begin, and the next one asks observe(). */
static int32_t act(struct plugin *p, const char *verb, const char *task, bool lose_token,
                   struct op_reply *reply)
{
        _cleanup_(cleanup_buf) struct buf request = BUF_NULL;
        struct op_call call;
        struct uid uid;
        char op_id[UID_TEXT];

        uid_random(&uid);
        uid_text(&uid, op_id);
        op_call_init(&call, p, op_id, 1, clock_boot_ms() + 300000, 1, "RUN", "test/task");
        op_prepare(&call, verb, task, strlen(task), reply);
        if (reply->answer == PRVNG_DONE) {
                buf_append(&request, reply->result.data, reply->result.n);
                op_begin(&call, verb, request.data, request.n, reply);
                if (lose_token && reply->answer == PRVNG_PENDING) {
                        op_observe(&call, verb, request.data, request.n, NULL, 0, reply);
                        check(reply->answer == PRVNG_OBSERVED_IN_PROGRESS,
                              "a new engine finds the job: %d", reply->answer);
                        reply->answer = PRVNG_PENDING;
                }
                wait_done(&call, verb, &request, reply);
        }
        op_call_deinit(&call);
        return reply->answer;
}

static int32_t server_act(struct server *s, const char *verb, struct op_reply *reply)
{
        _cleanup_(cleanup_json_decref) json_t *task =
                json_pack("{s:s, s:s, s:s, s:s, s:{s:f, s:i, s:i}, s:{}}", "kind", "server", "name",
                          s->name, "workflow", "test", "site", "test", "spec", "cpu", 1.0, "memory",
                          1024, "disk", 10, "inputs");
        _cleanup_(cleanup_free) char *text = NULL;

        if (s->result)
                json_object_set(task, "identity", s->result);
        text = json_dumps(task, 0);
        return act(plugins_find(plugins, "provider", "local"), verb, text, false, reply);
}

static int32_t taskserv_act(struct server *s, const char *name, const char *verb, bool lose_token,
                            struct op_reply *reply)
{
        char key[32];
        snprintf(key, sizeof(key), "server.%s", s->name);
        _cleanup_(cleanup_json_decref) json_t *task =
                json_pack("{s:s, s:s, s:s, s:s, s:s, s:{}, s:{s:O}}", "kind", "taskserv", "name",
                          name, "server", s->name, "workflow", "test", "site", "test", "spec",
                          "inputs", key, s->result);
        _cleanup_(cleanup_free) char *text = json_dumps(task, 0);

        return act(plugins_find(plugins, "taskserv", name), verb, text, lose_token, reply);
}

/* Runs a shell command in the server; its exit code. */
static int inside(struct server *s, const char *command)
{
        _cleanup_(cleanup_free) char *server = json_dumps(s->result, 0);
        const char *const argv[] = {"/bin/sh", "-c", command, NULL};
        struct op_reply reply = OP_REPLY_NULL;
        struct op_call call = {.pub = {.struct_size = sizeof(call.pub),
                                       .op_id = "",
                                       .deadline_ms = clock_boot_ms() + 60000,
                                       .run = "",
                                       .task = ""},
                               .host = host,
                               .cancel_fd = -1,
                               .reply = &reply};
        int32_t code = -1;

        if (host_remote.run(&call.pub, server, strlen(server), argv, NULL, 0, NULL, NULL, &code) !=
            PRVNG_DONE)
                code = -1;
        op_call_deinit(&call);
        op_reply_deinit(&reply);
        return code;
}

static void *install(void *userdata)
{
        struct server *s = userdata;
        struct op_reply reply = OP_REPLY_NULL;

        if (check(server_act(s, "create", &reply) == PRVNG_DONE, "%s is created: %s", s->name,
                  reply.message ? reply.message : "")) {
                s->result = json_loads(buf_str(&reply.result), 0, NULL);
                for (size_t k = 0; k < N_ELEMENTS(taskservs); k++) {
                        int32_t r = taskserv_act(s, taskservs[k], "create", true, &reply);

                        check(r == PRVNG_DONE, "%s on %s: %s %s", taskservs[k], s->name,
                              op_class_name(r),
                              reply.message ? reply.message : buf_str(&reply.result));
                }
        }
        op_reply_deinit(&reply);
        return NULL;
}

static void *again(void *userdata)
{
        struct server *s = userdata;
        struct op_reply reply = OP_REPLY_NULL;

        for (size_t k = 0; s->result && k < N_ELEMENTS(taskservs); k++) {
                int64_t start = clock_boot_ms();
                int32_t r = taskserv_act(s, taskservs[k], "create", false, &reply);

                check(r == PRVNG_UNCHANGED, "%s on %s again: %s in %d ms", taskservs[k], s->name,
                      op_class_name(r), (int)(clock_boot_ms() - start));
                r = taskserv_act(s, taskservs[k], "check", false, &reply);
                check(r == PRVNG_UNCHANGED, "%s on %s has no drift: %s", taskservs[k], s->name,
                      buf_str(&reply.result));
        }
        op_reply_deinit(&reply);
        return NULL;
}

static void *drop(void *userdata)
{
        struct server *s = userdata;
        struct op_reply reply = OP_REPLY_NULL;

        check(server_act(s, "delete", &reply) == PRVNG_DONE, "%s is deleted: %s", s->name,
              reply.message ? reply.message : "");
        json_decref(s->result);
        op_reply_deinit(&reply);
        return NULL;
}

static void on_all(struct server *servers, void *(*work)(void *))
{
        for (int i = 0; i < N_SERVERS; i++)
                pthread_create(&servers[i].thread, NULL, work, &servers[i]);
        for (int i = 0; i < N_SERVERS; i++)
                pthread_join(servers[i].thread, NULL);
}

static void really_works(struct server *s)
{
        struct op_reply reply = OP_REPLY_NULL;

        check(inside(s, "systemctl -q is-active containerd && ctr version") == 0,
              "containerd answers");
        check(inside(s, "resolvectl query \"$(hostname)\"") == 0, "the own name is resolved");
        /* Needs no network. resolved looks for a new /etc/hosts every two seconds only. */
        check(inside(s, "grep -q 127.0.0.53 /etc/resolv.conf && "
                        "echo 192.0.2.7 probe.example >>/etc/hosts && "
                        "for i in 1 2 3 4 5 6 7 8; do resolvectl query probe.example | "
                        "grep -q 192.0.2.7 && exit 0; sleep 1; done; exit 1") == 0,
              "a name of /etc/hosts is resolved through resolved");
        check(inside(s, "systemctl stop containerd") == 0, "containerd is stopped");
        check(taskserv_act(s, "containerd", "check", false, &reply) == PRVNG_DONE &&
                      strstr(buf_str(&reply.result), "stopped"),
              "the check says so: %s", buf_str(&reply.result));
        check(taskserv_act(s, "containerd", "create", false, &reply) == PRVNG_DONE,
              "create mends it: %s", reply.message ? reply.message : "");
        check(taskserv_act(s, "containerd", "delete", false, &reply) == PRVNG_DONE,
              "containerd is removed: %s", reply.message ? reply.message : "");
        check(taskserv_act(s, "containerd", "delete", false, &reply) == PRVNG_UNCHANGED,
              "once only");
        check(taskserv_act(s, "resolv", "delete", false, &reply) == PRVNG_DONE,
              "resolv is removed: %s", reply.message ? reply.message : "");
        check(inside(s, "grep -q ^nameserver /etc/resolv.conf && ! test -L /etc/resolv.conf") == 0,
              "the server keeps its name servers");
        check(taskserv_act(s, "resolv", "create", false, &reply) == PRVNG_DONE,
              "resolv is installed again: %s", reply.message ? reply.message : "");
        op_reply_deinit(&reply);
}

/* A job that the server's own service manager runs: a restart of the server kills it. */
static void restart_kills_jobs(struct server *s)
{
        _cleanup_(cleanup_free) char *server = json_dumps(s->result, 0);
        struct prvng_job_status status = {.struct_size = sizeof(status)};
        struct op_reply reply = OP_REPLY_NULL;
        struct op_call call = {.pub = {.struct_size = sizeof(call.pub),
                                       .op_id = "",
                                       .deadline_ms = clock_boot_ms() + 60000,
                                       .run = "",
                                       .task = ""},
                               .host = host,
                               .cancel_fd = -1,
                               .reply = &reply};
        const uint64_t n = strlen(server);
        int32_t r;

        r = host_remote.job_start(&call.pub, server, n, "LONG", "sleep 1000", 10);
        check(r == PRVNG_DONE, "a job is started: %s", reply.message ? reply.message : "");
        check(inside(s, "systemctl -q is-active prvng-job-LONG.service") == 0, "as a unit");
        host_remote.job_status(&call.pub, server, n, "LONG", 0, NULL, &status);
        check(status.state == PRVNG_JOB_RUNNING, "it runs");
        inside(s, "systemctl reboot --no-block --force");
        poll(NULL, 0, 500);
        for (int i = 0; i < 200; i++) {
                r = host_remote.job_status(&call.pub, server, n, "LONG", 0, NULL, &status);
                if (r == PRVNG_DONE && status.state != PRVNG_JOB_RUNNING)
                        break;
                poll(NULL, 0, 100);
        }
        check(status.state == PRVNG_JOB_KILLED, "after a restart of the server it was killed: %u",
              status.state);
        op_call_deinit(&call);
        op_reply_deinit(&reply);
}

static void job_in_a_unit_ends(struct server *s)
{
        _cleanup_(cleanup_free) char *server = json_dumps(s->result, 0);
        struct prvng_job_status status = {.struct_size = sizeof(status)};
        struct op_reply reply = OP_REPLY_NULL;
        struct op_call call = {.pub = {.struct_size = sizeof(call.pub),
                                       .op_id = "",
                                       .deadline_ms = clock_boot_ms() + 60000,
                                       .run = "",
                                       .task = ""},
                               .host = host,
                               .cancel_fd = -1,
                               .reply = &reply};
        static const char script[] = "setsid sh -c 'trap \"\" TERM; exec sleep 4711' & wait";
        const uint64_t n = strlen(server);

        host_remote.job_start(&call.pub, server, n, "ENDS", script, sizeof(script) - 1);
        check(host_remote.job_end(&call.pub, server, n, "ENDS") == PRVNG_DONE, "a job is ended");
        host_remote.job_status(&call.pub, server, n, "ENDS", 0, NULL, &status);
        check(status.state == PRVNG_JOB_KILLED, "it was killed");
        check(inside(s, "ps ax -o args | grep -q '[s]leep 4711'") == 1, "with all its processes");
        check(host_remote.job_forget(&call.pub, server, n, "ENDS") == PRVNG_DONE, "and forgotten");
        op_call_deinit(&call);
        op_reply_deinit(&reply);
}

static _Noreturn void skip(const char *why)
{
        printf("1..0 # SKIP %s\n", why);
        exit(0);
}

/* Helper programs stand in several folders of the build, and in one when installed. */
static void gather_helpers(const struct test_site *site, char **folders)
{
        _cleanup_(cleanup_free) char *libexec = test_site_path(site, "libexec");

        mkdir(libexec, 0700);
        for (; *folders; folders++) {
                DIR *d = opendir(*folders);
                struct dirent *e;

                while (d && (e = readdir(d))) {
                        char from[1024], to[1024];

                        snprintf(from, sizeof(from), "%s/%s", *folders, e->d_name);
                        snprintf(to, sizeof(to), "%s/%s", libexec, e->d_name);
                        if (startswith(e->d_name, "prvng-") && access(from, X_OK) == 0 &&
                            !strstr(e->d_name, ".p") && symlink(from, to) < 0)
                                perror(to);
                }
                if (d)
                        closedir(d);
        }
        setenv("PRVNG_LIBEXEC_PATH", libexec, 1);
}

int main(int argc, char **argv)
{
        struct server servers[N_SERVERS] = {0};
        struct problems problems = PROBLEMS_NULL;
        struct test_plugin list[4];
        struct config *config = NULL;
        struct test_site site;
        char files[4][1024], more[1100];
        int64_t installed_ms;

        if (argc < 4)
                return 2;
        if (geteuid() != 0)
                skip("needs root");
        for (size_t k = 0; k < 4; k++) {
                const char *name = k ? taskservs[k - 1] : "local";

                snprintf(files[k], sizeof(files[k]), "%s/%s.so", argv[1], name);
                list[k] = (struct test_plugin){.name = name, .file = files[k]};
        }
        if (access(files[0], R_OK) != 0)
                skip("the provider local was not built");
        snprintf(more, sizeof(more), "cache = \"%s\";\n", argv[2]);
        test_site_new(&site, list, 4, more);
        gather_helpers(&site, argv + 3);
        if (config_load(site.conf, &problems, &config) != 0 || problems.n || !config) {
                problems_print(&problems, stdout);
                return 1;
        }
        if (host_new(config, NULL, &host) < 0 ||
            plugins_load(config, host, NULL, 0, &plugins) < 0)
                return 1;
        for (size_t k = 0; k < 4; k++) {
                struct plugin *p = plugins_find(plugins, k ? "taskserv" : "provider", list[k].name);

                if (!p || p->state != PLUGIN_READY) {
                        printf("1..0 # SKIP plugin %s: %s\n", list[k].name,
                               p ? p->reason : "not found");
                        return 0;
                }
        }
        for (int i = 0; i < N_SERVERS; i++)
                snprintf(servers[i].name, sizeof(servers[i].name), "ts-%d", i);
        started_ms = clock_boot_ms();
        on_all(servers, install);
        installed_ms = clock_boot_ms() - started_ms;
        printf("# three servers with os, resolv and containerd: %.1f s\n",
               (double)installed_ms / 1000);
        on_all(servers, again);
        if (servers[0].result && servers[1].result) {
                really_works(&servers[0]);
                job_in_a_unit_ends(&servers[1]);
                restart_kills_jobs(&servers[1]);
        }
        on_all(servers, drop);
        printf("1..%d\n", n_tests);
        plugins_free(plugins);
        host_free(host);
        config_free(config);
        test_site_remove(&site);
        return n_failed ? 1 : 0;
}
