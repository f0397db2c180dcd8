/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng-local-probe STATE OUTPUT: finds out what this machine lets us do, by doing each step in a
 * child that is thrown away, never by looking at user ids or versions. Writes to OUTPUT
 *
 *      {"checks": [{"name", "ok", "needed", "message", "cure"}]}
 */
#include "helper.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define DOCKER                                                                                     \
        "in Docker add: --cap-add SYS_ADMIN --cap-add NET_ADMIN --security-opt seccomp=unconfined" \
        " --security-opt systempaths=unconfined -v prvng:/var/lib/prvng"
#define NAMESPACES (CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET)

static const char *folder; /* of ours in the state, for the overlay */
static int told = -1;      /* in a child: where the reason goes */

static _Noreturn _printf_(1, 2) void cannot(const char *format, ...)
{
        char text[512];
        va_list ap;

        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        _exit(write(told, text, strlen(text)) < 0 ? 2 : 1);
}

/* Runs `step` in a child in namespaces of its own; NULL if it went well, else why it did not. */
static char *in_child(uint64_t namespaces, void (*step)(void))
{
        struct clone_args args = {.flags = namespaces, .exit_signal = SIGCHLD};
        char text[512];
        int pipes[2], status = 0;

        if (pipe2(pipes, O_CLOEXEC) < 0)
                return strdup(strerror(errno));
        pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
        if (pid < 0) {
                int e = errno;
                close(pipes[0]);
                close(pipes[1]);
                return local_format("clone3 with new namespaces: %s", strerror(e));
        }
        if (pid == 0) {
                told = pipes[1];
                if (namespaces && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                        cannot("making the mounts private: %s", strerror(errno));
                step();
                _exit(0);
        }
        close(pipes[1]);
        ssize_t n = read(pipes[0], text, sizeof(text) - 1);
        close(pipes[0]);
        waitpid(pid, &status, 0);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
                return NULL;
        text[n > 0 ? n : 0] = '\0';
        return strdup(n > 0 ? text : "the child ended without a word");
}

static void step_namespaces(void)
{
        if (unshare(CLONE_NEWCGROUP) < 0)
                cannot("unshare(CLONE_NEWCGROUP): %s", strerror(errno));
}

static void step_proc(void)
{
        if (chdir(folder) < 0 || mount("proc", "root", "proc", 0, NULL) < 0)
                cannot("mounting proc: %s", strerror(errno));
}

static void step_overlay(void)
{
        const char *options = helper_rootless
                                      ? "lowerdir=lower,upperdir=upper,workdir=work,userxattr"
                                      : "lowerdir=lower,upperdir=upper,workdir=work";

        if (chdir(folder) < 0 || mount("overlay", "root", "overlay", 0, options) < 0)
                cannot("mounting an overlay in %s: %s", folder, strerror(errno));
}

static void step_devices(void)
{
        if (chdir(folder) < 0 || mount("tmpfs", "root", "tmpfs", 0, NULL) < 0)
                cannot("mounting tmpfs: %s", strerror(errno));
        if (helper_rootless) {
                int made = open("root/null", O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
                if (made < 0 || mount("/dev/null", "root/null", NULL, MS_BIND, NULL) < 0)
                        cannot("binding a device: %s", strerror(errno));
                close(made);
        } else if (mknod("root/null", S_IFCHR | 0666, 0x103) < 0) {
                cannot("making a device: %s", strerror(errno));
        }
        int fd = open("root/null", O_WRONLY | O_CLOEXEC);
        if (fd < 0)
                cannot("opening a device that was made: %s", strerror(errno));
        close(fd);
}

static void step_network(void)
{
        static const char *const ip[] = {"ip", "-batch", "-", NULL};
        static const char *const nft[] = {"nft", "-f", "-", NULL};
        char *text = NULL;

        if (run_program(ip,
                        "link add name prvng0 type bridge\n"
                        "link add prvng1 type veth peer name prvng2\n"
                        "link set prvng1 master prvng0 up\n",
                        &text) != 0)
                cannot("a bridge with a cable: %s", text ? text : "?");
        if (run_program(nft,
                        "table ip prvng { chain postr { type nat hook postrouting priority srcnat;"
                        " masquerade; }\n chain forw { type filter hook forward priority filter;"
                        " ct state established accept; }\n }\n",
                        &text) != 0)
                cannot("address translation: nft: %s", text ? text : "?");
}

static void step_forwarding(void)
{
        int fd = open("/proc/sys/net/ipv4/ip_forward", O_WRONLY | O_CLOEXEC);

        if (fd < 0)
                cannot("/proc/sys/net/ipv4/ip_forward: %s", strerror(errno));
        close(fd);
}

static void step_limits(void)
{
        struct limits l = {.cpu = 1, .memory = 64, .pids = 32};
        struct cgroups c;
        char name[64], *missing = NULL;

        if (helper_rootless && cgroups_find(&c, "prvng-probe", "x") == 0 && c.n == 0)
                cannot("no control group is ours, so servers run without limits and without a"
                       " service manager");
        snprintf(name, sizeof(name), "probe-%d", (int)getpid());
        int r = cgroups_find(&c, "prvng-probe", name);
        if (r == 0)
                r = cgroups_make(&c);
        if (r == 0)
                cgroups_limit(&c, &l, &missing);
        cgroups_remove(&c);
        if (r < 0)
                cannot("making a control group: %s", strerror(-r));
        if (missing)
                cannot("setting limits: %s", missing);
}

static char *missing_programs(void)
{
        static const struct {
                const char *program, *package;
        } list[] = {{"mmdebstrap", "mmdebstrap"}, {"ip", "iproute2"}, {"nft", "nftables"}};
        static const char *const folders[] = {"/usr/sbin", "/usr/bin", "/sbin", "/bin"};
        char *names = NULL;

        for (size_t i = 0; i < N_ELEMENTS(list); i++) {
                bool found = false;

                for (size_t k = 0; k < N_ELEMENTS(folders) && !found; k++) {
                        char path[64];
                        snprintf(path, sizeof(path), "%s/%s", folders[k], list[i].program);
                        found = access(path, X_OK) == 0;
                }
                if (found)
                        continue;
                char *more = local_format("%s%s%s", names ? names : "", names ? " " : "",
                                          list[i].package);
                free(names);
                names = more;
        }
        return names;
}

static void add(json_t *checks, const char *name, bool needed, char *why, const char *cure)
{
        json_array_append_new(checks, json_pack("{s:s, s:b, s:b, s:s, s:s}", "name", name, "ok",
                                                !why, "needed", needed, "message", why ? why : "ok",
                                                "cure", why ? cure : ""));
        free(why);
}

/* False if there is no way to be root, not even in a namespace. */
static bool become_root(json_t *checks)
{
        _cleanup_(cleanup_free) char *cure = NULL, *tun = NULL;
        char *why = NULL;

        if (geteuid() == 0)
                return true;
        tun = pod_cannot_uplink();
        userns_enter(&why, &cure);
        add(checks, "user namespace", true, why, cure ? cure : "run prvng as root");
        add(checks, "uplink", false,
            tun ? local_format("servers have no way to the outside: %s", tun) : NULL,
            "as root: apt-get install -y slirp4netns, and chmod 0666 /dev/net/tun (to keep that: a"
            " udev rule KERNEL==\"tun\", MODE=\"0666\")");
        add(checks, "addresses", false,
            strdup("without root the addresses of servers are reached from the servers of their"
                   " site only"),
            "run prvng as root");
        return helper_rootless;
}

static void probe(json_t *checks, bool root)
{
        char *packages = missing_programs();
        _cleanup_(cleanup_free) char *cure =
                local_format("apt-get install -y %s", packages ? packages : "");
        char *why = root ? in_child(NAMESPACES, step_namespaces) : NULL;
        bool go_on = root && !why;

        if (root)
                add(checks, "namespaces", true, why, DOCKER);
        if (go_on) {
                add(checks, "proc", true, in_child(NAMESPACES, step_proc), DOCKER);
                add(checks, "overlay", true, in_child(NAMESPACES, step_overlay),
                    "put the state on a file system that can carry an overlay (ext4, xfs, btrfs), "
                    "in"
                    " Docker on a volume: -v prvng:/var/lib/prvng");
                add(checks, "devices", true, in_child(NAMESPACES, step_devices), DOCKER);
        }
        if (go_on && !packages) {
                add(checks, "network", true, in_child(NAMESPACES, step_network), DOCKER);
                add(checks, "forwarding", true,
                    in_child(helper_rootless ? NAMESPACES : 0, step_forwarding), DOCKER);
        }
        add(checks, "programs", true,
            packages ? local_format("missing packages: %s", packages) : NULL, cure);
        if (root)
                add(checks, "limits", false, in_child(0, step_limits),
                    helper_rootless
                            ? "loginctl enable-linger USER, and start prvngd as a service of that"
                              " user with Delegate=yes"
                            : "in Docker add: -v /sys/fs/cgroup:/sys/fs/cgroup:rw"
                              " --cgroupns=host");
        free(packages);
}

int main(int argc, char **argv)
{
        static const char *const parts[] = {"lower", "upper", "work", "root"};
        _cleanup_(cleanup_json) json_t *report = json_pack("{s:[]}", "checks");

        if (argc != 3 || !report) {
                fputs("usage: prvng-local-probe STATE-FOLDER OUTPUT-FILE\n", stderr);
                return 2;
        }
        umask(022);
        _cleanup_(cleanup_free) char *own = local_format("%s/probe.%d", argv[1], (int)getpid());
        int r = own ? 0 : -ENOMEM;
        for (size_t i = 0; r == 0 && i < N_ELEMENTS(parts); i++) {
                _cleanup_(cleanup_free) char *path = local_format("%s/%s", own, parts[i]);
                r = path ? local_make_folders(path, 0755) : -ENOMEM;
        }
        if (r == 0) {
                folder = own;
                probe(json_object_get(report, "checks"),
                      become_root(json_object_get(report, "checks")));
                r = local_write_json(argv[2], report, false);
        }
        if (own)
                local_remove_tree(own);
        if (r < 0)
                fprintf(stderr, "prvng-local-probe: %s\n", strerror(-r));
        return r < 0 ? 1 : 0;
}
