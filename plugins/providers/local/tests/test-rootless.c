/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local provider of a user who is not root, with real servers. Output: TAP.
 *
 *      test-rootless PLUGIN LIBEXEC CACHE
 *
 * Started by root, it makes a user that lives as long as the test, and starts itself as that user
 * in a mount namespace where /dev/net/tun is open to all; then once more, with that device as it
 * is, in a control group that was handed over, as in a user's systemd session.
 */
#include "host.h"

#include <dlfcn.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define OP(n) "01JD0000000000000000000" n /* three digits more */
#define SPEC "{\"cpu\": 1, \"memory\": 512}"

static const struct prvng_op *op;
static const struct prvng_plugin *plugin;
static void *instance;
static char folder[256], libexec[1024];
static int n_tests, n_failed;

static bool check(bool good, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool check(bool good, const char *format, ...)
{
        char text[4096];
        va_list ap;

        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        for (char *p = text; *p; p++)
                if (*p == '\n')
                        *p = ' ';
        printf("%s %d - %s\n", good ? "ok" : "not ok", ++n_tests, text);
        if (!good) {
                n_failed++;
                printf("# last error: %s [%s]\n", said.message, said.field);
        }
        fflush(stdout);
        return good;
}

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

/* --- as a user --- */

static int inside(const char *name, const char *script, char *out, size_t n_out)
{
        return shell(out, n_out, "%s/prvng-local-enter %s/state %s -- bash -c '%s' 2>&1", libexec,
                     folder, name, script);
}

static int32_t act(const char *verb, const char *op_id, const char *name, const char *spec,
                   const char *made, json_t **ret)
{
        json_t *result = NULL;
        json_t *t =
                json_pack("{s:s, s:s, s:s, s:s, s:o}", "kind", "server", "name", name, "workflow",
                          "shop", "site", "site-1", "spec", json_loads(spec, 0, NULL));

        if (made)
                json_object_set_new(t, "identity", json_pack("{s:s}", "op_id", made));
        int32_t r = drive(op, instance, verb, op_id, t, &result);
        json_decref(t);
        if (ret)
                *ret = result;
        else
                json_decref(result);
        return r;
}

static bool noticed(const json_t *result, const char *part)
{
        size_t i;
        json_t *n;

        json_array_foreach(json_object_get(result, "notices"), i,
                           n) if (strstr(json_string_value(n), part)) return true;
        return false;
}

static long pid_of(const char *file, const char *process)
{
        char out[64];

        shell(out, sizeof(out), "jq .%s.pid %s/state/%s", process, folder, file);
        return atol(out);
}

static void test_create(bool uplink)
{
        json_t *result = NULL;
        char out[4096];

        check(act("create", OP("100"), "web-0", SPEC, NULL, &result) == PRVNG_DONE,
              "a user creates a server");
        check(noticed(result, "without root"), "who is told how far its address reaches");
        check(noticed(result, "no service manager"), "that there is no systemd");
        check(noticed(result, "cpu") && noticed(result, "memory"), "that there are no limits");
        check(noticed(result, "no way to the outside") == !uplink,
              "and only if there is no way to the outside, that");
        json_decref(result);
        check(act("create", OP("101"), "web-1", SPEC, NULL, NULL) == PRVNG_DONE, "and another");
        check(inside("web-0", "id -u; hostname; cat /proc/1/comm", out, sizeof(out)) == 0 &&
                      strcmp(out, "0\nweb-0\nprvng-local-ini") == 0,
              "in which it is root");
        shell(out, sizeof(out),
              "nsenter -U --preserve-credentials -t %ld %s/prvng-local-enter %s/state web-0 --"
              " hostname 2>&1",
              pid_of("pod.json", "holder"), libexec, folder);
        check(strcmp(out, "web-0") == 0, "which its monitor can enter too (%s)", out);
        check(inside("web-0", "exit 7", out, sizeof(out)) == 7, "exit codes are passed on");
        inside("web-0", "touch /root/a; chown 33:33 /root/a; stat -c %u /root/a; echo > /dev/null",
               out, sizeof(out));
        check(strcmp(out, "33") == 0, "there are other users, and devices (%s)", out);
        inside("web-0", "timeout 5 bash -c \"exec 3<>/dev/tcp/web-1/9\"", out, sizeof(out));
        check(strstr(out, "refused"), "servers reach each other by name");
        inside("web-0", "(setsid sleep 0.1 &); sleep 0.5; ps -eo stat | grep -c Z", out,
               sizeof(out));
        check(strcmp(out, "0") == 0, "nothing dead is left lying about (%s)", out);
        check(act("create", OP("110"), "web-0", SPEC, OP("100"), NULL) == PRVNG_UNCHANGED,
              "an equal create changes nothing");
}

static void test_outside(void)
{
        char out[4096];
        int r = inside("web-1",
                       "apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq"
                       " less > /dev/null && command -v less",
                       out, sizeof(out));

        if (!check(r == 0, "packages can be installed"))
                printf("# %s\n", out);
}

static void test_life(void)
{
        char out[4096];

        inside("web-1", "echo kept > /root/file", out, sizeof(out));
        check(act("update", OP("130"), "web-1",
                  "{\"cpu\": 1, \"memory\": 512, \"state\": \"stopped\"}", OP("101"),
                  NULL) == PRVNG_DONE,
              "stop");
        check(inside("web-1", "true", out, sizeof(out)) == 255, "which cannot be entered then");
        check(act("create", OP("131"), "web-1", SPEC, OP("101"), NULL) == PRVNG_DONE, "start");
        inside("web-1", "cat /root/file", out, sizeof(out));
        check(strcmp(out, "kept") == 0, "its files are kept");
        long monitor = pid_of("servers/web-0/state.json", "monitor");
        long init = pid_of("servers/web-0/state.json", "init");
        long holder = pid_of("pod.json", "holder");
        kill((pid_t)monitor, SIGKILL);
        kill((pid_t)holder, SIGKILL);
        shell(out, sizeof(out),
              "for i in $(seq 200); do kill -0 %ld || kill -0 %ld || exit 0; sleep 0.02; done"
              " 2>/dev/null",
              monitor, holder);
        check(inside("web-0", "true", out, sizeof(out)) == 0,
              "a server outlives its monitor and the holder of its namespaces");
        check(act("update", OP("132"), "web-0", "{\"cpu\": 1, \"memory\": 600}", OP("100"), NULL) ==
                      PRVNG_DONE,
              "which the next operation replaces");
        check(pid_of("servers/web-0/state.json", "init") == init &&
                      pid_of("pod.json", "holder") != holder && pid_of("pod.json", "holder") > 0,
              "without disturbing the server");
        check(act("update", OP("133"), "web-0",
                  "{\"cpu\": 1, \"memory\": 600, \"state\": \"restarted\"}", OP("100"),
                  NULL) == PRVNG_DONE &&
                      pid_of("servers/web-0/state.json", "init") != init,
              "restart");
        inside("web-0", "timeout 5 bash -c \"exec 3<>/dev/tcp/web-1/9\"", out, sizeof(out));
        check(strstr(out, "refused"), "and it still reaches the others (%s)", out);
}

/* What a systemd session of the user would give. */
static void test_delegated(const char *group)
{
        json_t *result = NULL;
        char out[4096];

        check(act("create", OP("140"), "db-0", SPEC, NULL, &result) == PRVNG_DONE,
              "a server in a control group that was handed over");
        check(!noticed(result, "no service manager"), "has a service manager");
        json_decref(result);
        inside("db-0", "cat /proc/1/comm; systemctl is-system-running", out, sizeof(out));
        check(strcmp(out, "systemd\nrunning") == 0 || strcmp(out, "systemd\ndegraded") == 0,
              "which runs (%s)", out);
        check(inside("db-0", "systemd-run -q --wait true", out, sizeof(out)) == 0,
              "and starts services (%s)", out);
        check(act("delete", OP("141"), "db-0", "{}", OP("140"), NULL) == PRVNG_DONE, "delete db-0");
        shell(out, sizeof(out), "find %s -mindepth 2 -type d", group);
        check(strcmp(out, "") == 0, "its groups are removed (%s)", out);
        /* Where there are controllers to hand on, the engine had to make room. */
        shell(out, sizeof(out), "cat %s/cgroup.controllers", group);
        if (*out)
                check(shell(out, sizeof(out), "grep -q prvng-engine /proc/%d/cgroup",
                            (int)getpid()) == 0,
                      "the engine has a group of its own");
}

/* Gone, or as good as: who reaps it is not ours to say. */
static bool ended(long pid)
{
        char out[64];

        return shell(out, sizeof(out),
                     "grep -q '^State:[[:space:]]*[A-WYa-wy]' /proc/%ld/status 2>&1", pid) != 0;
}

static void test_delete(const char *cache)
{
        char out[4096];

        long holder = pid_of("pod.json", "holder"), slirp = pid_of("pod.json", "slirp");
        check(act("delete", OP("150"), "web-0", "{}", OP("100"), NULL) == PRVNG_DONE,
              "delete web-0");
        check(!ended(holder), "the namespaces stay for the other");
        check(act("delete", OP("151"), "web-1", "{}", OP("101"), NULL) == PRVNG_DONE,
              "delete web-1");
        check(ended(holder) && (slirp <= 0 || ended(slirp)), "and go with it");
        shell(out, sizeof(out), "find %s/state %s/jobs -mindepth 1 -not -name 'base.*'", folder,
              folder);
        check(*out == '\0', "no file is left (%s)", out);
        shell(out, sizeof(out),
              "pgrep -r R,S,D,T -fa '^[^ ]*(prvng-local-[a-z]+ .*%s|slirp4netns)' -u %u", folder,
              (unsigned)getuid());
        check(*out == '\0', "no process is left (%s)", out);
        shell(out, sizeof(out), "ls %s/subnets", cache);
        check(*out == '\0', "the subnet is free again");
}

static bool open_plugin(const char *path, const char *cache)
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
        const struct prvng_host *host = test_host(folder, cache);
        if (!entry || entry(host, &plugin) != 0 ||
            plugin->create(host, config, strlen(config), &instance) != 0) {
                puts("Bail out! the plugin does not start");
                return false;
        }
        op = plugin->get_interface(instance, PRVNG_OP);
        return op != NULL;
}

/* Says why servers cannot be made here; ret_uplink: they will have a way to the outside. */
static bool must_skip(bool *ret_uplink)
{
        struct prvng_sink sink = {0};
        struct prvng_call call;
        bool skip = false;
        size_t i;
        json_t *c;

        call_init(&call, "");
        int32_t r = plugin->self_test(instance, &call, &sink);
        json_t *j = r == 0 ? json_loads(sink.data, 0, NULL) : NULL;
        json_array_foreach(json_object_get(j, "checks"), i, c)
        {
                const char *name = json_string_value(json_object_get(c, "name"));
                bool ok = json_is_true(json_object_get(c, "ok"));

                if (strcmp(name, "uplink") == 0)
                        *ret_uplink = ok;
                if (ok)
                        continue;
                printf("# %s: %s\n", name, json_string_value(json_object_get(c, "message")));
                if (!skip && json_is_true(json_object_get(c, "needed"))) {
                        printf("1..0 # SKIP %s; %s\n",
                               json_string_value(json_object_get(c, "message")),
                               json_string_value(json_object_get(c, "cure")));
                        skip = true;
                }
        }
        json_decref(j);
        sink_clear(&sink);
        return skip || !j;
}

static int run_as_user(char **argv)
{
        const char *group = getenv("PRVNG_TEST_GROUP"), *count = getenv("PRVNG_TEST_COUNT");
        bool uplink = false;
        FILE *f = count ? fopen(count, "re") : NULL;

        if (f && fscanf(f, "%d", &n_tests) != 1)
                n_tests = 0;
        if (f)
                fclose(f);
        char out[256];

        snprintf(libexec, sizeof(libexec), "%s", argv[2]);
        strcpy(folder, "/var/tmp/prvng-test-user.XXXXXX");
        if (!mkdtemp(folder) || !open_plugin(argv[1], argv[3]))
                return 1;
        if (!must_skip(&uplink)) {
                if (group) {
                        test_delegated(group);
                } else {
                        test_create(uplink);
                        if (uplink)
                                test_outside();
                        else
                                puts("# SKIP installing packages: there is no uplink");
                        test_life();
                        test_delete(argv[3]);
                }
                if (!count)
                        printf("1..%d\n", n_tests);
                else if ((f = fopen(count, "we"))) {
                        fprintf(f, "%d\n", n_tests);
                        fclose(f);
                }
        }
        plugin->destroy(instance);
        shell(out, sizeof(out), "rm -rf %s", folder);
        return n_failed ? 1 : 0;
}

/* --- as root --- */

static char user[32], home[64], group_path[128];

static void make_group(const struct passwd *p)
{
        static const char *const places[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
        char out[256];

        for (size_t i = 0; i < 2; i++) {
                snprintf(group_path, sizeof(group_path), "%s/cgroup.procs", places[i]);
                if (shell(out, sizeof(out), "test \"$(stat -fc %%T %s)\" = cgroup2fs", places[i]) !=
                    0)
                        continue;
                snprintf(group_path, sizeof(group_path), "%s/%s", places[i], user);
                if (shell(out, sizeof(out), "mkdir -p %1$s && chown -R %2$u:%3$u %1$s", group_path,
                          (unsigned)p->pw_uid, (unsigned)p->pw_gid) == 0)
                        return;
        }
        group_path[0] = '\0';
}

static bool join_group(void)
{
        char path[200];

        snprintf(path, sizeof(path), "%s/cgroup.procs", group_path);
        FILE *f = fopen(path, "we");
        bool good = f && fputs("0", f) >= 0;

        return f && fclose(f) == 0 && good;
}

/* In the child. */
static _Noreturn void become_user(const struct passwd *p, bool in_group)
{
        char self[128], plugin_path[128], cache[128], tun[128];
        char *args[] = {self, plugin_path, home, cache, NULL};

        snprintf(self, sizeof(self), "%s/test-rootless", home);
        snprintf(plugin_path, sizeof(plugin_path), "%s/local.so", home);
        snprintf(cache, sizeof(cache), "%s/cache", home);
        snprintf(tun, sizeof(tun), "%s/tun", home);
        umask(0);
        if (!in_group &&
            (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
             mknod(tun, S_IFCHR | 0666, makedev(10, 200)) < 0 ||
             mount(tun, "/dev/net/tun", NULL, MS_BIND, NULL) < 0))
                puts("# /dev/net/tun stays as it is");
        umask(022);
        fflush(stdout);
        if (in_group) {
                if (!join_group())
                        _exit(1);
                setenv("PRVNG_TEST_GROUP", group_path, 1);
        }
        snprintf(tun, sizeof(tun), "%s/count", home);
        setenv("PRVNG_TEST_COUNT", tun, 1);
        setenv("HOME", home, 1);
        unsetenv("XDG_RUNTIME_DIR");
        if (chdir(home) < 0 || initgroups(user, p->pw_gid) < 0 ||
            setresgid(p->pw_gid, p->pw_gid, p->pw_gid) < 0 ||
            setresuid(p->pw_uid, p->pw_uid, p->pw_uid) < 0)
                _exit(1);
        execv(self, args);
        _exit(1);
}

static void remove_user(void)
{
        char out[256];

        /* Nobody else has that id. */
        shell(out, sizeof(out), "for p in $(pgrep -u %s); do kill -9 $p; done 2>/dev/null", user);
        if (*group_path)
                shell(out, sizeof(out), "find %s -depth -type d -exec rmdir {} + 2>&1", group_path);
        shell(out, sizeof(out), "userdel %s 2>&1", user);
        if (*out)
                printf("# userdel: %s\n", out);
        shell(out, sizeof(out), "rm -rf %s", home);
}

static int run_child(const struct passwd *p, bool in_group)
{
        int status = 1;
        pid_t pid = fork();

        if (pid == 0)
                become_user(p, in_group);
        while (pid > 0 && waitpid(pid, &status, 0) < 0)
                ;
        return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int run_as_root(char **argv)
{
        char out[1024];
        int r = 1;

        if (access("/usr/bin/newuidmap", X_OK) < 0 || access("/usr/sbin/useradd", X_OK) < 0) {
                puts("1..0 # SKIP newuidmap is missing; apt-get install -y uidmap");
                return 0;
        }
        snprintf(user, sizeof(user), "prvng-t%d", (int)getpid());
        strcpy(home, "/var/tmp/prvng-test-home.XXXXXX");
        if (!mkdtemp(home))
                return 1;
        if (shell(out, sizeof(out),
                  "useradd --no-create-home --home-dir %1$s %2$s 2>&1 && grep -q ^%2$s: /etc/subuid"
                  " && cp %3$s %5$s %1$s 2>&1 && find %4$s -maxdepth 1 -type f -name"
                  " 'prvng-local-*' -exec cp {} %1$s \\; 2>&1 && chown -R %2$s %1$s",
                  home, user, argv[0], argv[2], argv[1]) != 0) {
                printf("1..0 # SKIP no user with subordinate ids can be made: %s\n", out);
                remove_user();
                return 0;
        }
        const struct passwd *p = getpwnam(user);
        if (p) {
                make_group(p);
                r = run_child(p, false);
                /* Nothing was counted: it was skipped. */
                bool counted = shell(out, sizeof(out), "cat %s/count 2>/dev/null", home) == 0;
                if (counted && *group_path)
                        r |= run_child(p, true);
                else if (counted)
                        puts("# SKIP systemd: there is no v2 hierarchy of control groups");
                if (counted && shell(out, sizeof(out), "cat %s/count", home) == 0)
                        printf("1..%s\n", out);
        }
        remove_user();
        return r;
}

int main(int argc, char **argv)
{
        if (argc != 4)
                return 2;
        return geteuid() == 0 ? run_as_root(argv) : run_as_user(argv);
}
