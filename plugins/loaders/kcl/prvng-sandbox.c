/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a program that may read what it is given, write one folder, and nothing else.
 *
 *      prvng-sandbox [--read PATH]... [--write FOLDER] [--errors FILE] [--seconds N] [--memory MIB]
 *                    [--stdio] [--no-namespaces] -- PROGRAM [ARGUMENT]...
 *
 * In namespaces of its own: a root made of the paths given, read-only; an empty network; no other
 * process. Where the kernel gives no namespaces, Landlock restricts the file system instead; where it
 * has neither, a line "prvng-sandbox: warning: ..." is written first. In any case: no new privileges, no
 * capabilities but to read, no sockets and no system calls that change the system, resource limits, a
 * scrubbed environment, no inherited file descriptors. stdout goes nowhere, stderr to FILE.
 *
 * With --stdio it is for a program that lives on and is asked again and again: stdin and stdout stay as
 * they are, there is no limit of time unless one is given, and the program is killed once nobody holds
 * the other end of stdin any more.
 *
 * Exits as the program does, 128 + the signal that ended it, 124 after N seconds (processor time and
 * wall clock each), 125 if the sandbox could not be made.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <poll.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXIT_TIMEOUT 124
#define EXIT_SANDBOX 125
#define READ_MAX 64
#define FILE_SIZE_MAX (256u << 20)

/* Where a system keeps programs and libraries. */
static const char *const system_paths[] = { "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64",
                                            "/libx32", "/etc/ld.so.cache", "/etc/alternatives" };
static const char *const devices[] = { "/dev/null", "/dev/zero", "/dev/urandom", "/dev/random" };

static struct options {
        const char *read[READ_MAX];
        size_t n_read;
        const char *write;
        const char *errors;
        unsigned int seconds; /* 0: no limit */
        unsigned int memory; /* MiB */
        bool stdio;
        bool no_namespaces;
        char **command;
} options = { .memory = 2048 };

static _Noreturn void die(const char *what, const char *path)
{
        dprintf(2, "prvng-sandbox: %s%s%s: %s\n", what, path ? " " : "", path ? path : "",
                strerror(errno));
        _exit(EXIT_SANDBOX);
}

/* --- a root of its own --- */

struct piece {
        const char *path;
        char link[256]; /* target, if it is a symbolic link */
        int tree;       /* a detached copy of the mount, or -1 */
        bool folder;
        bool writable;
        bool device;
};

static struct piece pieces[READ_MAX + 32];
static size_t n_pieces;

/* Paths that do not exist are left out: not every system has a /lib32. */
static void add_piece(const char *path, bool writable, bool device)
{
        struct piece *p = &pieces[n_pieces];
        struct stat st;
        ssize_t n;

        if (n_pieces == sizeof(pieces) / sizeof(pieces[0]) || lstat(path, &st) < 0)
                return;
        *p = (struct piece){ .path = path, .tree = -1, .writable = writable, .device = device };
        if (S_ISLNK(st.st_mode)) {
                n = readlink(path, p->link, sizeof(p->link) - 1);
                if (n <= 0)
                        return;
                p->link[n] = 0;
        } else {
                p->folder = S_ISDIR(st.st_mode);
                p->tree = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
                if (p->tree < 0)
                        die("cannot take", path);
        }
        n_pieces++;
}

/* The folders above a path, below the present folder. */
static void make_parents(const char *path)
{
        char copy[4096];

        if (strlen(path) >= sizeof(copy)) {
                errno = ENAMETOOLONG;
                die("cannot use", path);
        }
        strcpy(copy, path);
        for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
                *slash = 0;
                if (mkdir(copy + 1, 0755) < 0 && errno != EEXIST && errno != EROFS)
                        die("cannot make", copy);
                *slash = '/';
        }
}

static void put_piece(struct piece *p)
{
        struct mount_attr attr = { .attr_set = MOUNT_ATTR_NOSUID };
        const char *at = p->path + 1; /* the present folder becomes the root */
        struct stat st;
        int fd;

        make_parents(p->path);
        if (p->link[0]) {
                if (symlink(p->link, at) < 0 && errno != EEXIST)
                        die("cannot link", p->path);
                return;
        }
        if (stat(at, &st) < 0) {
                if (p->folder) {
                        if (mkdir(at, 0755) < 0)
                                die("cannot make", p->path);
                } else {
                        fd = open(at, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
                        if (fd < 0)
                                die("cannot make", p->path);
                        close(fd);
                }
        }
        if (!p->device)
                attr.attr_set |= MOUNT_ATTR_NODEV;
        if (!p->writable)
                attr.attr_set |= MOUNT_ATTR_RDONLY;
        if (mount_setattr(p->tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) < 0)
                die("cannot protect", p->path);
        if (move_mount(p->tree, "", AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH) < 0)
                die("cannot show", p->path);
        close(p->tree);
}

static void make_root(void)
{
        struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };

        for (size_t i = 0; i < sizeof(system_paths) / sizeof(system_paths[0]); i++)
                add_piece(system_paths[i], false, false);
        for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++)
                add_piece(devices[i], false, true);
        for (size_t i = 0; i < options.n_read; i++)
                add_piece(options.read[i], false, false);
        if (options.write)
                add_piece(options.write, true, false);
        if (mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755") < 0 ||
            chdir("/tmp") < 0)
                die("cannot make a root", NULL);
        for (size_t i = 0; i < n_pieces; i++)
                put_piece(&pieces[i]);
        if (mount_setattr(AT_FDCWD, ".", 0, &attr, sizeof(attr)) < 0)
                die("cannot protect the root", NULL);
        if (syscall(SYS_pivot_root, ".", ".") == 0) {
                if (umount2(".", MNT_DETACH) < 0)
                        die("cannot leave the old root", NULL);
        } else if (mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0) {
                die("cannot enter the root", NULL); /* the way for a root that is an initramfs */
        }
        if (chdir(options.write ? options.write : "/") < 0)
                die("cannot enter", options.write);
}

static bool write_file(const char *path, const char *text)
{
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

        if (fd >= 0)
                close(fd);
        return ok;
}

/* True if this process and its children to come have namespaces of their own. */
static bool enter_namespaces(void)
{
        int flags = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWPID;
        uid_t uid = geteuid();
        gid_t gid = getegid();
        char map[64];

        if (options.no_namespaces)
                return false;
        if (unshare(flags) < 0) {
                if (unshare(flags | CLONE_NEWUSER) < 0)
                        return false;
                write_file("/proc/self/setgroups", "deny");
                snprintf(map, sizeof(map), "%u %u 1\n", gid, gid);
                if (!write_file("/proc/self/gid_map", map))
                        die("cannot map the group", NULL);
                snprintf(map, sizeof(map), "%u %u 1\n", uid, uid);
                if (!write_file("/proc/self/uid_map", map))
                        die("cannot map the user", NULL);
        }
        if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                die("cannot separate mounts", NULL);
        return true;
}

/* --- without namespaces --- */

static bool landlock_allow(int ruleset, const char *path, uint64_t access)
{
        struct landlock_path_beneath_attr rule = { .allowed_access = access };
        struct stat st;
        bool ok;

        rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
        if (rule.parent_fd < 0)
                return true; /* what is not there needs no rule */
        if (fstat(rule.parent_fd, &st) == 0 && !S_ISDIR(st.st_mode))
                rule.allowed_access &= LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |
                                       LANDLOCK_ACCESS_FS_READ_FILE;
        ok = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
        close(rule.parent_fd);
        return ok;
}

static bool enter_landlock(void)
{
        const uint64_t all = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1; /* the thirteen of its first version */
        const uint64_t reading = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE |
                                 LANDLOCK_ACCESS_FS_READ_DIR;
        struct landlock_ruleset_attr attr = { .handled_access_fs = all };
        int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
        bool ok = ruleset >= 0;

        for (size_t i = 0; ok && i < sizeof(system_paths) / sizeof(system_paths[0]); i++)
                ok = landlock_allow(ruleset, system_paths[i], reading);
        for (size_t i = 0; ok && i < sizeof(devices) / sizeof(devices[0]); i++)
                ok = landlock_allow(ruleset, devices[i], reading | LANDLOCK_ACCESS_FS_WRITE_FILE);
        for (size_t i = 0; ok && i < options.n_read; i++)
                ok = landlock_allow(ruleset, options.read[i], reading);
        if (ok && options.write)
                ok = landlock_allow(ruleset, options.write, all);
        ok = ok && syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
        if (ruleset >= 0)
                close(ruleset);
        return ok;
}

/* --- in any case --- */

/* Reading may go past permissions (a user's file, read by root), nothing else may. */
static void drop_capabilities(void)
{
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[2] = { 0 };

        for (int c = 0; c <= 63; c++)
                if (c != CAP_DAC_READ_SEARCH)
                        prctl(PR_CAPBSET_DROP, c, 0, 0, 0); /* fails for those that do not exist */
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        data[0].effective = data[0].permitted = 0;
        if (syscall(SYS_capset, &header, data) < 0)
                die("cannot drop capabilities", NULL);
}

static void limit(int resource, rlim_t value)
{
        struct rlimit l = { value, value };
        struct rlimit now;

        if (getrlimit(resource, &now) == 0 && now.rlim_max < value)
                l.rlim_cur = l.rlim_max = now.rlim_max;
        if (setrlimit(resource, &l) < 0)
                die("cannot set limits", NULL);
}

static void set_limits(void)
{
        if (options.seconds)
                limit(RLIMIT_CPU, options.seconds);
        limit(RLIMIT_AS, (rlim_t)options.memory << 20);
        limit(RLIMIT_FSIZE, FILE_SIZE_MAX);
        limit(RLIMIT_NOFILE, 256);
        limit(RLIMIT_CORE, 0);
}

static void forbid_system_calls(void)
{
        static const int forbidden[] = {
                /* network */
                SCMP_SYS(socket), SCMP_SYS(connect), SCMP_SYS(bind), SCMP_SYS(io_uring_setup),
                /* the way out of a root, and into other processes */
                SCMP_SYS(open_by_handle_at), SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(open_tree),
                SCMP_SYS(move_mount), SCMP_SYS(fsopen), SCMP_SYS(fsmount), SCMP_SYS(mount_setattr),
                SCMP_SYS(pivot_root), SCMP_SYS(chroot), SCMP_SYS(setns), SCMP_SYS(unshare),
                SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev),
                SCMP_SYS(pidfd_getfd), SCMP_SYS(kcmp),
                /* the kernel's own */
                SCMP_SYS(bpf), SCMP_SYS(perf_event_open), SCMP_SYS(userfaultfd), SCMP_SYS(keyctl),
                SCMP_SYS(add_key), SCMP_SYS(request_key), SCMP_SYS(init_module),
                SCMP_SYS(finit_module), SCMP_SYS(delete_module), SCMP_SYS(kexec_load),
                SCMP_SYS(kexec_file_load), SCMP_SYS(reboot), SCMP_SYS(swapon), SCMP_SYS(swapoff),
                SCMP_SYS(settimeofday), SCMP_SYS(clock_settime), SCMP_SYS(sethostname),
                SCMP_SYS(setdomainname), SCMP_SYS(acct), SCMP_SYS(syslog), SCMP_SYS(quotactl),
        };
        scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

        if (!filter)
                die("cannot make a filter", NULL);
        for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++)
                if (seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), forbidden[i], 0) < 0)
                        die("cannot make a filter", NULL);
        if (seccomp_load(filter) < 0)
                die("cannot forbid system calls", NULL);
        seccomp_release(filter);
}

static _Noreturn void run(bool namespaces)
{
        const char *home = options.write ? options.write : "/";
        char home_text[4200], temporary[4200];
        char *environment[] = { (char[]){ "PATH=/usr/local/bin:/usr/bin:/bin" },
                                (char[]){ "LANG=C.UTF-8" }, (char[]){ "PYTHONDONTWRITEBYTECODE=1" },
                                home_text, temporary, NULL };

        snprintf(home_text, sizeof(home_text), "HOME=%s", home);
        snprintf(temporary, sizeof(temporary), "TMPDIR=%s", home);
        if (namespaces) {
                make_root();
        } else if (chdir(home) < 0) {
                die("cannot enter", home);
        }
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                die("cannot forbid privileges", NULL);
        if (!namespaces && !enter_landlock())
                dprintf(2, "prvng-sandbox: warning: this kernel gives neither namespaces nor Landlock: "
                        "the program can read and write all files of this user\n");
        drop_capabilities();
        set_limits();
        forbid_system_calls();
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        execvpe(options.command[0], options.command, environment);
        die("cannot run", options.command[0]);
}

static pid_t child;

static _Noreturn void on_alarm(int number __attribute__((unused)))
{
        kill(child, SIGKILL);
        _exit(EXIT_TIMEOUT);
}

static bool parse(int argc, char **argv)
{
        for (int i = 1; i < argc; i++) {
                const char *word = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;

                if (strcmp(word, "--") == 0) {
                        options.command = argv + i + 1;
                        return value;
                }
                if (strcmp(word, "--no-namespaces") == 0 || strcmp(word, "--stdio") == 0) {
                        options.no_namespaces |= word[2] == 'n';
                        options.stdio |= word[2] == 's';
                        continue;
                }
                if (!value)
                        return false;
                i++;
                if (strcmp(word, "--read") == 0 && *value == '/' && options.n_read < READ_MAX)
                        options.read[options.n_read++] = value;
                else if (strcmp(word, "--write") == 0 && *value == '/')
                        options.write = value;
                else if (strcmp(word, "--errors") == 0)
                        options.errors = value;
                else if (strcmp(word, "--seconds") == 0 && atol(value) > 0)
                        options.seconds = (unsigned int)atol(value);
                else if (strcmp(word, "--memory") == 0 && atol(value) > 0)
                        options.memory = (unsigned int)atol(value);
                else
                        return false;
        }
        return false;
}

static void redirect(void)
{
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        int errors = 2;

        if (options.errors)
                errors = open(options.errors, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (null < 0 || errors < 0)
                die("cannot open", null < 0 ? "/dev/null" : options.errors);
        if (!options.stdio) {
                dup2(null, 0);
                dup2(null, 1);
        }
        dup2(errors, 2);
        close_range(3, ~0U, 0);
}

/* Until the child has ended, or whoever asks it is gone. Not PR_SET_PDEATHSIG: that is sent when the
 * thread that started us ends, which is any worker of the engine. */
static void watch(void)
{
        struct pollfd fds[] = { { .fd = (int)syscall(SYS_pidfd_open, child, 0), .events = POLLIN },
                                { .fd = 0 } };

        if (fds[0].fd < 0) {
                kill(child, SIGKILL);
                die("cannot watch the program", NULL);
        }
        while (!fds[0].revents && !fds[1].revents)
                if (poll(fds, 2, -1) < 0 && errno != EINTR)
                        break;
        if (!fds[0].revents)
                kill(child, SIGKILL);
        close(fds[0].fd);
}

int main(int argc, char **argv)
{
        bool namespaces;
        int status;

        if (!parse(argc, argv)) {
                dprintf(2, "usage: prvng-sandbox [--read PATH]... [--write FOLDER] [--errors FILE] "
                        "[--seconds N] [--memory MIB] [--stdio] [--no-namespaces] -- PROGRAM "
                        "[ARGUMENT]...\n");
                return EXIT_SANDBOX;
        }
        if (!options.seconds && !options.stdio)
                options.seconds = 60;
        redirect();
        if (!options.stdio)
                prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        namespaces = enter_namespaces();
        child = fork(); /* the first process of the new namespace, gone with all others of it */
        if (child < 0)
                die("cannot fork", NULL);
        if (child == 0)
                run(namespaces);
        signal(SIGALRM, on_alarm);
        alarm(options.seconds);
        if (options.stdio)
                watch();
        while (waitpid(child, &status, 0) < 0)
                if (errno != EINTR)
                        die("cannot wait", NULL);
        if (WIFEXITED(status))
                return WEXITSTATUS(status);
        return WTERMSIG(status) == SIGXCPU ? EXIT_TIMEOUT : 128 + WTERMSIG(status);
}
