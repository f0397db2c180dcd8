/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The start of a server: a child in namespaces of its own, with the base image under an overlay as
 * its root, and systemd as its first process.
 */
#include "helper.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>

/* What containers in the server put overlays of their own on: an overlay cannot lie on an overlay.
 */
static const char *const data_folders[] = {"var/lib/containerd", "var/lib/kubelet",
                                           "var/lib/docker", "var/lib/rook"};

static const struct {
        const char *name;
        unsigned major, minor;
} devices[] = {
        {"null", 1, 3},    {"zero", 1, 5}, {"full", 1, 7},    {"random", 1, 8},
        {"urandom", 1, 9}, {"tty", 5, 0},  {"fuse", 10, 229}, {"net/tun", 10, 200},
};

static const struct {
        const char *from, *to;
} links[] = {
        {"/proc/self/fd", "fd"},       {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"},
        {"/proc/self/fd/2", "stderr"}, {"pts/ptmx", "ptmx"},
};

/* In the child: the step that fails is told through the pipe, then it ends. */
static int failure_pipe = -1;

static _Noreturn _printf_(1, 2) void fail(const char *format, ...)
{
        char text[512];
        int e = errno;
        va_list ap;

        va_start(ap, format);
        int n = vsnprintf(text, sizeof(text) - 64, format, ap);
        va_end(ap);
        if (n < 0 || (size_t)n >= sizeof(text) - 64)
                n = (int)strlen(text);
        n += snprintf(text + n, sizeof(text) - (size_t)n, ": %s", strerror(e));
        if (write(failure_pipe, text, (size_t)n) < 0)
                _exit(121);
        _exit(120);
}

static void mount_or_fail(const char *from, const char *to, const char *type, unsigned long flags,
                          const char *data)
{
        if (mount(from, to, type, flags, data) < 0)
                fail("mounting %s on %s", type ? type : from, to);
}

/* Characters that mean something in the options of an overlay. */
static char *escape(const char *path)
{
        char *out = calloc(2, strlen(path) + 1), *o = out;

        for (; out && *path; path++) {
                if (strchr("\\:,", *path))
                        *o++ = '\\';
                *o++ = *path;
        }
        return out;
}

/* Relative to the server's folder. */
static void mount_root(const struct boot *b)
{
        _cleanup_(cleanup_free) char *lower = escape(b->base);
        _cleanup_(cleanup_free) char *options =
                lower ? local_format("lowerdir=%s,upperdir=upper,workdir=work%s", lower,
                                     helper_rootless ? ",userxattr" : "")
                      : NULL;

        if (!options)
                fail("memory");
        mount_or_fail("overlay", "root", "overlay", 0, options);
}

static void mount_read_only(const char *path)
{
        mount_or_fail(path, path, NULL, MS_BIND, NULL);
        mount_or_fail(NULL, path, NULL,
                      MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

static void mount_kernel(const struct boot *b)
{
        const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;

        mount_or_fail("proc", "root/proc", "proc", flags, NULL);
        /* Settings of the whole machine stay out of reach; those of the network are the server's.
         */
        mount_read_only("root/proc/sys");
        mount_or_fail("root/proc/sys/net", "root/proc/sys/net", NULL, MS_BIND, NULL);
        mount_or_fail(NULL, "root/proc/sys/net", NULL, MS_BIND | MS_REMOUNT | flags, NULL);
        if (access("root/proc/sysrq-trigger", F_OK) == 0)
                mount_read_only("root/proc/sysrq-trigger");
        /* Read-only, which also keeps udev from starting. */
        mount_or_fail("sysfs", "root/sys", "sysfs", flags | MS_RDONLY, NULL);
        int r = cgroups_mount(b->cgroups, "root");
        if (r < 0) {
                errno = -r;
                fail("mounting the control groups");
        }
}

/* In a user namespace no device can be made; the machine's own are as good. */
static void bind_device(const char *path, const char *name)
{
        _cleanup_(cleanup_free) char *from = local_format("/dev/%s", name);
        int fd = -1;

        if (!from)
                fail("memory");
        if (access(from, F_OK) < 0)
                return;
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
        if (fd < 0)
                fail("making %s", path);
        close(fd);
        mount_or_fail(from, path, NULL, MS_BIND, NULL);
}

static void make_devices(void)
{
        char path[64];

        umask(0);
        mount_or_fail("tmpfs", "root/dev", "tmpfs", MS_NOSUID, "mode=755,size=4m");
        if (mkdir("root/dev/net", 0755) < 0 || mkdir("root/dev/pts", 0755) < 0 ||
            mkdir("root/dev/shm", 01777) < 0 || mkdir("root/dev/mqueue", 0755) < 0)
                fail("making folders in /dev");
        for (size_t i = 0; i < N_ELEMENTS(devices); i++) {
                snprintf(path, sizeof(path), "root/dev/%s", devices[i].name);
                if (helper_rootless)
                        bind_device(path, devices[i].name);
                else if (mknod(path, S_IFCHR | 0666, makedev(devices[i].major, devices[i].minor)) <
                         0)
                        fail("making the device /dev/%s", devices[i].name);
        }
        for (size_t i = 0; i < N_ELEMENTS(links); i++) {
                snprintf(path, sizeof(path), "root/dev/%s", links[i].to);
                if (symlink(links[i].from, path) < 0)
                        fail("making /dev/%s", links[i].to);
        }
        mount_or_fail("devpts", "root/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
                      "newinstance,ptmxmode=0666,mode=620,gid=5");
        mount_or_fail("tmpfs", "root/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
        mount_or_fail("mqueue", "root/dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC,
                      NULL);
        umask(022);
}

static void mount_data(void)
{
        for (size_t i = 0; i < N_ELEMENTS(data_folders); i++) {
                _cleanup_(cleanup_free) char *to = local_format("root/%s", data_folders[i]);
                _cleanup_(cleanup_free) char *from =
                        local_format("data/%s", strrchr(data_folders[i], '/') + 1);

                if (!from || !to || local_make_folders(to, 0755) < 0 ||
                    (mkdir(from, 0711) < 0 && errno != EEXIST))
                        fail("making /%s", data_folders[i]);
                mount_or_fail(from, to, NULL, MS_BIND, NULL);
        }
}

static void enter_root(void)
{
        if (chdir("root") < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
                fail("changing the root");
        if (umount2(".", MNT_DETACH) < 0)
                fail("leaving the machine's root");
        /* systemd wants to hand mounts on to what it starts. */
        mount_or_fail(NULL, "/", NULL, MS_REC | MS_SHARED, NULL);
        if (chdir("/") < 0)
                fail("going to the root");
}

/* What would reach through to the whole machine. The server is no fence against its own root, see
 * the manual, but nothing inside needs these. */
static void drop_capabilities(void)
{
        static const int drop[] = {CAP_SYS_MODULE, CAP_SYS_TIME, CAP_SYS_RAWIO, CAP_WAKE_ALARM};

        for (size_t i = 0; i < N_ELEMENTS(drop); i++)
                if (prctl(PR_CAPBSET_READ, drop[i], 0, 0, 0) == 1 &&
                    prctl(PR_CAPBSET_DROP, drop[i], 0, 0, 0) < 0)
                        fail("dropping capability %d", drop[i]);
}

static void bind_notify(int fd)
{
        struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "/run/prvng/notify"};

        if (mkdir("/run/prvng", 0755) < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
                fail("binding %s", a.sun_path);
}

static _Noreturn void run_init(const struct boot *b)
{
        char *const argv[] = {(char[]){"/sbin/init"}, NULL};
        char *const own[] = {(char[]){"prvng-local-init"}, NULL};
        char *const environment[] = {
                (char[]){"container=prvng"},
                (char[]){"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
                (char[]){"NOTIFY_SOCKET=/run/prvng/notify"}, NULL};
        sigset_t none;

        int null = open("/dev/null", O_RDWR);
        for (int fd = 0; fd < 3; fd++)
                if (dup2(null, fd) < 0)
                        fail("giving it /dev/null");
        if (setsid() < 0)
                fail("setsid");
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        if (b->systemd)
                execve(argv[0], argv, environment);
        else
                syscall(SYS_execveat, b->init, "", own, environment, AT_EMPTY_PATH);
        fail("starting %s", b->systemd ? argv[0] : own[0]);
}

static _Noreturn void child(const struct boot *b, int go)
{
        const unsigned long flags = MS_NOSUID | MS_NODEV;
        char c;

        if (read(go, &c, 1) != 1)
                _exit(122); /* the monitor ended */
        /* Only now: the groups we are in become the root of what is seen inside. */
        if (unshare(CLONE_NEWCGROUP) < 0)
                fail("unshare(CLONE_NEWCGROUP)");
        int r = network_configure(b->site, b->index);
        if (r < 0) {
                errno = -r;
                fail("setting the address inside");
        }
        if (chdir(b->server) < 0)
                fail("%s", b->server);
        mount_or_fail(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
        mount_root(b);
        mount_kernel(b);
        make_devices();
        mount_or_fail("tmpfs", "root/run", "tmpfs", flags, "mode=755");
        mount_or_fail("tmpfs", "root/tmp", "tmpfs", flags, "mode=1777");
        mount_data();
        if (sethostname(b->name, strlen(b->name)) < 0)
                fail("sethostname");
        enter_root();
        bind_notify(b->notify);
        drop_capabilities();
        run_init(b);
}

/* 0 once the child is systemd; else what it said. */
static int read_failure(int fd, char **ret_error)
{
        char text[512];
        size_t n = 0;
        ssize_t k;

        while (n < sizeof(text) - 1 && (k = read(fd, text + n, sizeof(text) - 1 - n)) != 0)
                if (k > 0)
                        n += (size_t)k;
                else if (errno != EINTR)
                        break;
        text[n] = '\0';
        if (n == 0)
                return 0;
        *ret_error = strdup(text);
        return -EIO;
}

static void end_child(pid_t pid, int *pidfd)
{
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        close(*pidfd);
        *pidfd = -1;
}

int boot_server(const struct boot *b, pid_t *ret_pid, int *ret_pidfd, char **ret_error)
{
        _cleanup_(cleanup_close) int go_in = -1, go_out = -1, told_in = -1, told_out = -1;
        int a[2], pidfd = -1, r;
        struct clone_args args = {
                .flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET |
                         CLONE_PIDFD,
                .pidfd = (uint64_t)(uintptr_t)&pidfd,
                .exit_signal = SIGCHLD,
        };

        if (pipe2(a, O_CLOEXEC) < 0)
                return -errno;
        go_in = a[0], go_out = a[1];
        if (pipe2(a, O_CLOEXEC) < 0)
                return -errno;
        told_in = a[0], told_out = a[1];
        pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
        if (pid < 0) {
                r = -errno;
                *ret_error = local_format("clone3 with new namespaces: %s", strerror(-r));
                return r;
        }
        if (pid == 0) {
                close(go_out);
                close(told_in);
                failure_pipe = told_out;
                child(b, go_in);
        }
        close(told_out);
        told_out = -1;
        r = cgroups_join(b->cgroups, pid);
        if (r < 0 && helper_rootless) {
                *ret_error = local_format("joining the control group: %s", strerror(-r));
                end_child(pid, &pidfd);
                return r;
        }
        r = network_connect(b->site, b->index, pid, ret_error);
        if (r == 0 && write(go_out, "", 1) != 1)
                r = -errno;
        if (r == 0)
                r = read_failure(told_in, ret_error);
        if (r < 0) {
                end_child(pid, &pidfd);
                return r;
        }
        *ret_pid = pid;
        *ret_pidfd = pidfd;
        return 0;
}
