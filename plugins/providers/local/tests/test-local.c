/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local provider from end to end, on this machine and with real servers. Needs root and the
 * programs that the probe asks for; skips otherwise, and says why. Output: TAP.
 *
 *      test-local PLUGIN LIBEXEC CACHE DEPENDENCIES.k
 */
#include "host.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <ifaddrs.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define OP(n) "01JD0000000000000000000" n /* three digits more */

static const struct prvng_host *host;
static const struct prvng_plugin *plugin;
static const struct prvng_op *op;
static void *instance;
static char folder[256], libexec[1024], cache[1024];
static int n_tests, n_failed;

static bool check(bool good, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool check(bool good, const char *format, ...)
{
        va_list ap;

        printf("%s %d - ", good ? "ok" : "not ok", ++n_tests);
        va_start(ap, format);
        vprintf(format, ap);
        va_end(ap);
        printf("\n");
        if (!good) {
                n_failed++;
                printf("# last error: %s [%s]\n", said.message, said.field);
        }
        fflush(stdout);
        return good;
}

/* A task; `spec` and `identity` are JSON texts. To be freed. */
static json_t *task(const char *name, const char *workflow, const char *spec, const char *identity)
{
        json_t *j =
                json_pack("{s:s, s:s, s:s, s:s, s:o}", "kind", "server", "name", name, "workflow",
                          workflow, "site", "site-1", "spec", json_loads(spec, 0, NULL));
        if (identity)
                json_object_set_new(j, "identity", json_pack("{s:s}", "op_id", identity));
        return j;
}

/* One operation from prepare to its end. */
static int32_t act(const char *verb, const char *op_id, const char *name, const char *spec,
                   const char *identity, json_t **ret)
{
        json_t *t = task(name, "shop", spec, identity), *result = NULL;
        int32_t r = drive(op, instance, verb, op_id, t, &result);

        json_decref(t);
        if (ret)
                *ret = result;
        else
                json_decref(result);
        return r;
}

/* What a shell command prints (both streams), without its last newline; its exit code. */
static int shell(char *out, size_t n_out, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
static int shell(char *out, size_t n_out, const char *format, ...)
{
        char command[4096];
        va_list ap;

        va_start(ap, format);
        vsnprintf(command, sizeof(command), format, ap);
        va_end(ap);
        FILE *f = popen(command, "re");
        size_t n = f ? fread(out, 1, n_out - 1, f) : 0;
        while (n > 0 && out[n - 1] == '\n')
                n--;
        out[n] = '\0';
        int status = f ? pclose(f) : -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* Runs a script in a server; it may hold no single quotes. */
static int inside(const char *name, const char *script, char *out, size_t n_out)
{
        return shell(out, n_out, "%s/prvng-local-enter %s/state %s -- bash -c '%s' 2>&1", libexec,
                     folder, name, script);
}

static long state_number(const char *name, const char *process)
{
        char path[512];

        snprintf(path, sizeof(path), "%s/state/servers/%s/state.json", folder, name);
        json_t *j = json_load_file(path, 0, NULL);
        long n = (long)json_integer_value(json_object_get(json_object_get(j, process), "pid"));
        json_decref(j);
        return n;
}

static bool monitored(const char *name)
{
        char out[64];

        return shell(out, sizeof(out), "pgrep -f '^[^ ]*prvng-local-monitor %s/state %s$'", folder,
                     name) == 0;
}

/* Waits until a shell command succeeds, ten seconds at most. */
static bool soon(const char *command)
{
        char out[256];

        for (int i = 0; i < 500; i++) {
                if (shell(out, sizeof(out), "%s", command) == 0)
                        return true;
                usleep(20000);
        }
        return false;
}

/* --- the tests --- */

static void test_create_three(void)
{
        static const char *const names[] = {"web-0", "web-1", "web-2"};
        static const char *const ops[] = {OP("100"), OP("101"), OP("102")};
        char *requests[3], *tokens[3], address[3][32] = {"", "", ""}, out[256];
        int32_t r[3];

        for (int i = 0; i < 3; i++) {
                json_t *t = task(names[i], "shop", "{\"cpu\": 1, \"memory\": 512}", NULL);
                drive_prepare(op, instance, "create", t, &requests[i]);
                r[i] = drive_begin(op, instance, "create", ops[i], requests[i], &tokens[i], NULL);
                json_decref(t);
                check(r[i] == PRVNG_PENDING, "create of %s is pending", names[i]);
        }
        shell(out, sizeof(out), "ls %s/jobs/base.*.pid 2>/dev/null | wc -l", folder);
        check(atoi(out) <= 1, "at most one base image is built (%s)", out);
        for (int left = 3, rounds = 0; left > 0 && rounds < 6000; rounds++)
                for (int i = 0; i < 3; i++) {
                        json_t *result = NULL;

                        if (r[i] != PRVNG_PENDING)
                                continue;
                        usleep(10000);
                        r[i] = drive_poll(op, instance, "create", ops[i], requests[i], tokens[i],
                                          &result);
                        if (r[i] == PRVNG_PENDING)
                                continue;
                        left--;
                        check(r[i] == PRVNG_DONE, "%s is up", names[i]);
                        snprintf(address[i], sizeof(address[i]), "%s",
                                 json_string_value(
                                         json_array_get(json_object_get(result, "addresses"), 0)));
                        printf("# %s at %s, systemd up after %lld ms\n", names[i], address[i],
                               (long long)json_integer_value(json_object_get(result, "start_ms")));
                        check(json_array_size(json_object_get(result, "notices")) == 0,
                              "%s runs with all its limits", names[i]);
                        json_decref(result);
                }
        check(strcmp(address[0], address[1]) && strcmp(address[1], address[2]) &&
                      strcmp(address[0], address[2]),
              "each has an address of its own");
        for (int i = 0; i < 3; i++) {
                free(requests[i]);
                free(tokens[i]);
        }
}

static void test_inside(void)
{
        char out[4096];
        int r = inside("web-0", "systemctl is-system-running", out, sizeof(out));

        check(r == 0 && strcmp(out, "running") == 0, "systemd inside is running (%s)", out);
        inside("web-0", "hostname; cat /etc/hostname", out, sizeof(out));
        check(strcmp(out, "web-0\nweb-0") == 0, "it has its host name");
        check(inside("web-0", "exit 7", out, sizeof(out)) == 7, "exit codes are passed on");
        shell(out, sizeof(out), "echo hallo | %s/prvng-local-enter %s/state web-0 -- cat", libexec,
              folder);
        check(strcmp(out, "hallo") == 0, "input and output are passed on");
        setenv("PRVNG_SECRET_OF_CALLER", "x", 1);
        inside("web-0", "env | grep -c -e SECRET_OF_CALLER -e XDG", out, sizeof(out));
        check(strcmp(out, "0") == 0, "the caller's environment stays outside");
        check(inside("web-9", "true", out, sizeof(out)) == 255, "255: no such server");
        check(inside("web-0", "touch /proc/sys/vm/x; echo 1 > /proc/sys/vm/drop_caches", out,
                     sizeof(out)) != 0,
              "settings of the machine are out of reach");
        inside("web-0",
               "echo > /dev/null && echo a > /dev/shm/a && mktemp -d && ls -d /sys/fs/cgroup/*",
               out, sizeof(out));
        check(strstr(out, "/tmp/"), "devices and temporary folders work");
}

static void test_names(void)
{
        char out[4096];

        inside("web-0", "getent hosts web-1 web-2 prvng-host | wc -l", out, sizeof(out));
        check(strcmp(out, "3") == 0, "the names of the others and of the host are known");
        inside("web-0",
               "for i in web-1 web-2 prvng-host; do timeout 5 bash -c \"exec 3<>/dev/tcp/$i/9\";"
               " done",
               out, sizeof(out));
        int refused = 0;
        for (const char *p = out; (p = strstr(p, "refused")); p++)
                refused++;
        check(refused >= 3, "and they answer");
        int r = inside("web-1",
                       "apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq"
                       " iputils-ping > /dev/null && ping -c1 -W3 web-2 && ping -c1 prvng-host",
                       out, sizeof(out));
        if (!check(r == 0, "packages can be installed, and what was installed works"))
                printf("# %s\n", out);
}

static void test_idempotent(void)
{
        char out[64];
        json_t *result = NULL;

        check(act("create", OP("100"), "web-0", "{\"cpu\": 1, \"memory\": 512}", NULL, &result) ==
                      0,
              "a second begin of one op id is done at once");
        json_decref(result);
        shell(out, sizeof(out), "ls %s/state/servers | wc -l", folder);
        check(strcmp(out, "3") == 0, "and makes no second server");
        check(act("create", OP("110"), "web-0", "{\"cpu\": 1, \"memory\": 512}", OP("100"), NULL) ==
                      PRVNG_UNCHANGED,
              "a new create of what is ours and equal changes nothing");
        json_t *t = task("web-0", "blog", "{\"cpu\": 1, \"memory\": 512}", NULL);
        int32_t r = drive(op, instance, "create", OP("111"), t, &result);
        check(r == PRVNG_CONFLICT && strstr(said.message, "shop"),
              "another workflow does not get it, and is told the owner");
        r = drive(op, instance, "delete", OP("112"), t, &result);
        check(r == PRVNG_CONFLICT, "nor may it delete it");
        json_decref(t);
}

static void test_limits(void)
{
        char out[4096];
        int r = act("update", OP("120"), "web-2",
                    "{\"cpu\": 0.5, \"memory\": 256, \"local\": {\"pids\":"
                    " 100}}",
                    OP("102"), NULL);

        check(r == PRVNG_DONE, "limits are changed while the server runs");
        inside("web-2", "TIMEFORMAT=%U; time timeout 2 bash -c \"while :; do :; done\"", out,
               sizeof(out));
        double seconds = atof(out);
        check(seconds > 0.1 && seconds < 1.4, "half a core is not exceeded (%.2f s of 2 s)",
              seconds);
        r = inside("web-2", "timeout 30 tail /dev/zero", out, sizeof(out));
        check(r == 137, "more memory than there is gets the process killed (%d)", r);
        r = inside("web-2",
                   "systemd-run -q --wait -p OOMPolicy=continue sh -c \"exec tail /dev/zero\"", out,
                   sizeof(out));
        check(r != 0, "also for what systemd starts inside");
        r = inside("web-2", "for i in $(seq 150); do sleep 5 & done", out, sizeof(out));
        check(strstr(out, "Resource temporarily unavailable") || strstr(out, "fork"),
              "no more processes than allowed");
        inside("web-2", "pkill sleep", out, sizeof(out));
        r = act("update", OP("121"), "web-2", "{\"cpu\": 1, \"memory\": 1024}", OP("102"), NULL);
        check(r == PRVNG_DONE, "limits are raised again");
        r = inside("web-2", "head -c 300M /dev/zero | tail -c 300M | wc -c", out, sizeof(out));
        check(r == 0 && strcmp(out, "314572800") == 0, "what did not fit before fits now (%s)",
              out);
        r = act("update", OP("122"), "web-2",
                "{\"cpu\": 1, \"memory\": 1024, \"image\": \"bookworm\"}", OP("102"), NULL);
        check(r == PRVNG_PERMANENT && strcmp(said.field, "spec.image") == 0 &&
                      strstr(said.message, "replacement"),
              "another image needs a replacement");
}

static void test_life(void)
{
        static const char spec[] = "{\"cpu\": 1, \"memory\": 512}";
        char out[256], command[512];

        inside("web-1", "echo kept > /root/file", out, sizeof(out));
        check(act("update", OP("130"), "web-1",
                  "{\"cpu\": 1, \"memory\": 512, \"state\": \"stopped\"}", OP("101"),
                  NULL) == PRVNG_DONE,
              "stop");
        check(inside("web-1", "true", out, sizeof(out)) == 255,
              "a stopped server cannot be entered");
        check(act("check", OP("131"), "web-1", spec, OP("101"), NULL) == PRVNG_DONE,
              "check tells that it does not run");
        check(act("create", OP("132"), "web-1", spec, OP("101"), NULL) == PRVNG_DONE,
              "create starts it again");
        inside("web-1", "cat /root/file", out, sizeof(out));
        check(strcmp(out, "kept") == 0, "its files are kept");
        check(act("check", OP("133"), "web-1", spec, OP("101"), NULL) == PRVNG_UNCHANGED,
              "check finds no drift");
        long before = state_number("web-1", "init");
        check(act("update", OP("134"), "web-1",
                  "{\"cpu\": 1, \"memory\": 512, \"state\": \"restarted\"}", OP("101"),
                  NULL) == PRVNG_DONE &&
                      state_number("web-1", "init") != before,
              "restart");
        before = state_number("web-1", "init");
        inside("web-1", "systemctl reboot", out, sizeof(out));
        snprintf(command, sizeof(command),
                 "test $(jq .init.pid %s/state/servers/web-1/state.json) != %ld"
                 " && jq -e .ready %s/state/servers/web-1/state.json",
                 folder, before, folder);
        check(soon(command), "a reboot inside starts it again");
        inside("web-1", "systemctl poweroff", out, sizeof(out));
        snprintf(command, sizeof(command), "jq -e .powered_off %s/state/servers/web-1/state.json",
                 folder);
        check(soon(command), "a power-off inside ends it");
        check(act("create", OP("135"), "web-1", spec, OP("101"), NULL) == PRVNG_DONE,
              "and the next create starts it");
}

static void test_monitor_dies(void)
{
        long init = state_number("web-0", "init"), monitor = state_number("web-0", "monitor");
        char out[256], *request;
        json_t *t = task("web-0", "shop", "{\"cpu\": 1, \"memory\": 512}", NULL), *result = NULL;

        kill((pid_t)monitor, SIGKILL);
        snprintf(out, sizeof(out), "! kill -0 %ld 2>/dev/null", monitor);
        soon(out);
        check(inside("web-0", "true", out, sizeof(out)) == 0, "a server outlives its monitor");
        drive_prepare(op, instance, "create", t, &request);
        check(drive_observe(op, instance, "create", OP("100"), request, NULL, NULL, &result) ==
                      PRVNG_OBSERVED_DONE,
              "it is found by its op id");
        json_decref(result);
        check(act("create", OP("140"), "web-0", "{\"cpu\": 1, \"memory\": 512}", OP("100"), NULL) ==
                      PRVNG_UNCHANGED,
              "the next create finds it unchanged");
        for (int i = 0; i < 500 && !monitored("web-0"); i++)
                usleep(20000);
        check(monitored("web-0") && state_number("web-0", "init") == init,
              "and gives it a new monitor without disturbing it");
        for (int i = 0; i < 500 && state_number("web-0", "monitor") == monitor; i++)
                usleep(20000);
        inside("web-0", "systemctl reboot", out, sizeof(out));
        for (int i = 0; i < 500 && state_number("web-0", "init") == init; i++)
                usleep(20000);
        check(state_number("web-0", "init") != init, "which starts it again after a reboot inside");
        json_decref(t);
        free(request);
}

static void test_engine_dies(void)
{
        char *request, *token = NULL;
        json_t *t = task("db-0", "shop", "{}", NULL), *result = NULL;

        drive_prepare(op, instance, "create", t, &request);
        check(drive_observe(op, instance, "create", OP("150"), request, NULL, NULL, NULL) ==
                      PRVNG_OBSERVED_NOT_STARTED,
              "no trace of an op id that never began");
        pid_t pid = fork();
        if (pid == 0) {
                drive_begin(op, instance, "create", OP("150"), request, &token, NULL);
                kill(getpid(), SIGKILL);
        }
        waitpid(pid, NULL, 0);
        int32_t r = drive_observe(op, instance, "create", OP("150"), request, NULL, &token, NULL);
        check(r == PRVNG_OBSERVED_IN_PROGRESS || r == PRVNG_OBSERVED_PARTIAL,
              "after a crash of the engine it is found under way (%d)", r);
        /* The monitor dies as well, at whatever point it is. */
        long monitor = state_number("db-0", "monitor");
        if (monitor > 0)
                kill((pid_t)monitor, SIGKILL);
        for (int i = 0; i < 500 && r != PRVNG_OBSERVED_PARTIAL && r != PRVNG_OBSERVED_DONE; i++) {
                usleep(10000);
                free(token);
                r = drive_observe(op, instance, "create", OP("150"), request, NULL, &token,
                                  &result);
                json_decref(result);
                result = NULL;
        }
        check(act("create", OP("150"), "db-0", "{}", NULL, &result) == PRVNG_DONE,
              "begin again completes it");
        json_decref(result);
        char out[64];
        shell(out, sizeof(out), "pgrep -fc '^[^ ]*prvng-local-monitor %s/state db-0$'", folder);
        check(strcmp(out, "1") == 0, "with one monitor (%s)", out);
        json_decref(t);
        free(request);
        free(token);
}

/* The monitor dies while it removes a server. */
static void test_removal_dies(void)
{
        char *request, *token = NULL, out[256], command[512];
        json_t *t = task("db-0", "shop", "{}", OP("150")), *result = NULL;
        long monitor = state_number("db-0", "monitor");

        /* Stopped first, so that it cannot be faster than we are. */
        kill((pid_t)monitor, SIGSTOP);
        drive_prepare(op, instance, "delete", t, &request);
        int32_t r = drive_begin(op, instance, "delete", OP("155"), request, &token, &result);
        check(r == PRVNG_PENDING, "delete is pending");
        check(drive_observe(op, instance, "delete", OP("155"), request, NULL, NULL, NULL) ==
                      PRVNG_OBSERVED_IN_PROGRESS,
              "and seen to be");
        kill((pid_t)monitor, SIGKILL);
        snprintf(command, sizeof(command), "! kill -0 %ld 2>/dev/null", monitor);
        soon(command);
        check(drive_observe(op, instance, "delete", OP("155"), request, NULL, NULL, NULL) ==
                      PRVNG_OBSERVED_PARTIAL,
              "a removal whose monitor died is unfinished");
        json_decref(result);
        check(act("create", OP("156"), "db-0", "{}", NULL, NULL) == PRVNG_TRANSIENT,
              "and its name not free yet");
        check(act("delete", OP("155"), "db-0", "{}", OP("150"), NULL) == PRVNG_DONE,
              "begin again completes it");
        check(drive_observe(op, instance, "delete", OP("155"), request, token, NULL, &result) ==
                      PRVNG_OBSERVED_DONE,
              "and it is seen to be done");
        shell(out, sizeof(out), "ls %s/state/servers", folder);
        check(!strstr(out, "db-0"), "nothing is left of it");
        check(act("create", OP("157"), "db-0", "{}", NULL, NULL) == PRVNG_DONE,
              "the name can be taken again");
        json_decref(result);
        json_decref(t);
        free(request);
        free(token);
}

static size_t listed(const char *filter)
{
        struct prvng_sink sink = {0};
        struct prvng_call call;

        call_init(&call, "");
        int32_t r = op->list(instance, &call, filter, strlen(filter), &sink);
        json_t *j = r == 0 ? json_loads(sink.data, 0, NULL) : NULL;
        size_t n = json_array_size(json_object_get(j, "resources"));
        json_decref(j);
        sink_clear(&sink);
        return n;
}

static void test_small(void)
{
        char *request = NULL;
        json_t *t = task("web-0", "shop", "{}", NULL), *bad;

        check(listed("{}") == 4 && listed("{\"workflow\": \"blog\"}") == 0 &&
                      listed("{\"op_id\": \"" OP("101") "\"}") == 1,
              "list finds by workflow and by op id");
        drive_prepare(op, instance, "create", t, &request);
        check(drive_poll(op, instance, "create", OP("100"), request, "2 create", NULL) ==
                      PRVNG_TOKEN_REJECTED,
              "a foreign token is rejected");
        free(request);
        bad = task("web-0", "shop", "{\"memory\": 7}", NULL);
        check(drive_prepare(op, instance, "create", bad, &request) == PRVNG_PERMANENT &&
                      strcmp(said.field, "spec.memory") == 0,
              "too little memory is refused by its path");
        free(request);
        json_decref(bad);
        bad = task("Web_0", "shop", "{}", NULL);
        check(drive_prepare(op, instance, "create", bad, &request) == PRVNG_PERMANENT &&
                      strcmp(said.field, "name") == 0,
              "what is no host name is refused");
        free(request);
        json_decref(bad);
        check(act("create", OP("160"), "x", "{\"image\": \"plan9\"}", NULL, NULL) ==
                              PRVNG_PERMANENT &&
                      strcmp(said.field, "spec.image") == 0,
              "an image that cannot be had is refused");
        json_decref(t);
}

/* A configured subnet that is the machine's own. */
static void test_collision(void)
{
        char config[1200] = "", other[300];
        struct ifaddrs *list = NULL;
        void *second = NULL;

        getifaddrs(&list);
        for (struct ifaddrs *a = list; a && !*config; a = a->ifa_next) {
                if (!a->ifa_addr || a->ifa_addr->sa_family != AF_INET)
                        continue;
                uint32_t n = ntohl(((struct sockaddr_in *)(void *)a->ifa_addr)->sin_addr.s_addr);
                if (n >> 24 == 127)
                        continue;
                snprintf(config, sizeof(config),
                         "{\"libexec\": \"%s\", \"subnet\": \"%u.%u.%u.0/24\"}", libexec, n >> 24,
                         (n >> 16) & 255, (n >> 8) & 255);
        }
        freeifaddrs(list);
        snprintf(other, sizeof(other), "%s/other", folder);
        test_host(other, cache);
        check(plugin->create(host, config, strlen(config), &second) == 0,
              "a site with a given subnet");
        json_t *t = task("web-0", "shop", "{}", NULL), *result = NULL;
        check(drive(op, second, "create", OP("170"), t, &result) == PRVNG_CONFLICT &&
                      strstr(said.message, "subnet"),
              "a subnet that the machine uses is refused");
        json_decref(t);
        plugin->destroy(second);
        test_host(folder, cache);
}

/* A second site beside the first, with the driver of last resort. */
static void test_second_site(void)
{
        static const char format[] = "{\"libexec\": \"%s\", \"driver\": \"chroot\"}";
        char config[1200], other[300], first[64], second_subnet[64], out[256];
        json_t *t = task("web-0", "blog", "{}", NULL), *result = NULL;
        void *second = NULL;

        snprintf(config, sizeof(config), format, libexec);
        snprintf(other, sizeof(other), "%s/second", folder);
        test_host(other, cache);
        check(plugin->create(host, config, strlen(config), &second) == 0,
              "a second site, with chroot");
        check(drive(op, second, "create", OP("190"), t, &result) == PRVNG_DONE,
              "a server of the same name in another site");
        check(json_array_size(json_object_get(result, "notices")) == 1, "it says what it is not");
        json_decref(result);
        shell(first, sizeof(first), "jq -r .subnet %s/state/site.json", folder);
        shell(second_subnet, sizeof(second_subnet), "jq -r .subnet %s/state/site.json", other);
        check(*first && *second_subnet && strcmp(first, second_subnet),
              "the sites have different subnets (%s, %s)", first, second_subnet);
        int r = shell(out, sizeof(out), "%s/prvng-local-enter %s/state web-0 -- cat /etc/hostname",
                      libexec, other);
        check(r == 0 && strcmp(out, "web-0") == 0, "commands run in the folder");
        check(drive(op, second, "create", OP("190"), t, &result) == PRVNG_DONE,
              "it is found again");
        json_decref(result);
        check(drive(op, second, "delete", OP("191"), t, &result) == PRVNG_DONE, "and removed");
        json_decref(result);
        shell(out, sizeof(out), "find %s/state -mindepth 1", other);
        check(*out == '\0', "without leaving a file");
        json_decref(t);
        plugin->destroy(second);
        test_host(folder, cache);
}

/* kcl/dependencies.k says what the plugin says. */
static void test_dependencies(const char *file)
{
        json_t *says = json_loads(plugin->dependencies, 0, NULL), *value;
        const char *key;
        char out[256];

        check(json_object_size(says) == 5, "the plugin tells its dependencies");
        json_object_foreach(says, key, value)
        {
                char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

                if (json_is_boolean(value))
                        text[0] = (char)(text[0] - 'a' + 'A');
                shell(out, sizeof(out), "sed -n 's/^%s = //p' %s", key, file);
                check(strcmp(out, text) == 0, "%s = %s in dependencies.k too (%s)", key, text, out);
                free(text);
        }
        json_decref(says);
}

static void test_delete(void)
{
        static const char *const names[] = {"web-0", "web-1", "web-2", "db-0"};
        static const char *const ops[] = {OP("180"), OP("181"), OP("182"), OP("183")};
        static const char *const made[] = {OP("100"), OP("101"), OP("102"), OP("157")};
        char out[4096];

        inside("web-1", "getent hosts web-0", out, sizeof(out));
        check(*out, "a name is known as long as its server is there");
        for (int i = 0; i < 4; i++) {
                check(act("delete", ops[i], names[i], "{}", made[i], NULL) == PRVNG_DONE,
                      "delete %s", names[i]);
                if (i == 0) {
                        char command[2048];
                        snprintf(command, sizeof(command),
                                 "! %s/prvng-local-enter %s/state web-1 --"
                                 " getent hosts web-0",
                                 libexec, folder);
                        check(soon(command), "and no longer");
                }
        }
        check(act("delete", OP("184"), "web-0", "{}", made[0], NULL) == PRVNG_UNCHANGED,
              "delete of what is absent changes nothing");
        shell(out, sizeof(out), "grep -c %s /proc/self/mountinfo", folder);
        check(strcmp(out, "0") == 0, "no mount is left");
        shell(out, sizeof(out), "find %s/state %s/jobs -mindepth 1 -not -name 'base.*'", folder,
              folder);
        if (!check(*out == '\0', "no file is left"))
                printf("# %s\n", out);
        shell(out, sizeof(out), "pgrep -fa '^[^ ]*prvng-local-monitor %s'", folder);
        check(*out == '\0', "no process is left");
}

/* The names that follow from the site's folder. */
static void remember_names(char *out, size_t n)
{
        shell(out, n, "jq -r .hash %s/state/site.json", folder);
}

static void test_nothing_left(const char *hash)
{
        char out[4096];

        check(strlen(hash) == 6, "the site has a name (%s)", hash);
        shell(out, sizeof(out), "ip -br link | grep -e prvng-%s -e pv%s", hash, hash);
        check(*out == '\0', "no interface is left");
        shell(out, sizeof(out), "nft list tables | grep %s", hash);
        check(*out == '\0', "no rule is left");
        shell(out, sizeof(out), "find /sys/fs/cgroup -maxdepth 2 -name 'prvng-%s*'", hash);
        check(*out == '\0', "no control group is left");
        shell(out, sizeof(out), "ls %s/subnets | grep %s", cache, hash);
        check(*out == '\0', "the subnet is free again");
}

static bool open_plugin(const char *path)
{
        int32_t (*entry)(const struct prvng_host *, const struct prvng_plugin **);
        char config[1200];
        void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);

        if (!object) {
                printf("Bail out! %s\n", dlerror());
                return false;
        }
        entry = (int32_t(*)(const struct prvng_host *, const struct prvng_plugin **))dlsym(
                object, "prvng_plugin_v1");
        snprintf(config, sizeof(config), "{\"libexec\": \"%s\", \"sources\": {}}", libexec);
        host = test_host(folder, cache);
        if (!entry || entry(host, &plugin) != 0 ||
            plugin->create(host, config, strlen(config), &instance) != 0) {
                puts("Bail out! the plugin does not start");
                return false;
        }
        op = plugin->get_interface(instance, PRVNG_OP);
        return op && !plugin->get_interface(instance, PRVNG_OP "0");
}

/* Why servers cannot be made here; false if they can. */
static bool must_skip(void)
{
        struct prvng_sink sink = {0};
        struct prvng_call call;
        bool skip = false;
        size_t i;
        json_t *c;

        call_init(&call, "");
        int32_t r = plugin->self_test(instance, &call, &sink);
        json_t *j = r == 0 ? json_loads(sink.data, 0, NULL) : NULL;
        json_array_foreach(json_object_get(j, "checks"), i,
                           c) if (!skip && !json_is_true(json_object_get(c, "ok")))
        {
                printf("1..0 # SKIP %s; %s\n", json_string_value(json_object_get(c, "message")),
                       json_string_value(json_object_get(c, "cure")));
                skip = true;
        }
        json_decref(j);
        sink_clear(&sink);
        return skip || !j;
}

int main(int argc, char **argv)
{
        char hash[64], out[256];

        if (argc != 5)
                return 2;
        snprintf(libexec, sizeof(libexec), "%s", argv[2]);
        snprintf(cache, sizeof(cache), "%s", argv[3]);
        strcpy(folder, "/var/tmp/prvng-test-local.XXXXXX");
        if (geteuid() != 0) {
                puts("1..0 # SKIP servers are made by root only");
                return 0;
        }
        if (!mkdtemp(folder) || !open_plugin(argv[1]))
                return 1;
        if (!must_skip()) {
                test_create_three();
                test_inside();
                test_names();
                test_idempotent();
                test_limits();
                test_life();
                test_monitor_dies();
                test_engine_dies();
                test_removal_dies();
                test_small();
                test_collision();
                test_second_site();
                test_dependencies(argv[4]);
                remember_names(hash, sizeof(hash));
                test_delete();
                test_nothing_left(hash);
                printf("1..%d\n", n_tests);
        }
        plugin->destroy(instance);
        shell(out, sizeof(out), "rm -rf %s", folder);
        return n_failed ? 1 : 0;
}
