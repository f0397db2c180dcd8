/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng-job: keeps one job of prvng.host.spawn/1 alive beside the engine and writes down its end.
 *
 *      prvng-job FOLDER CGROUP ARGV...
 *
 * ARGV is the command; it gets this program's environment, working folder and stdin. Files in
 * FOLDER:
 *
 *      lock      held (flock) by the keeper as long as it lives: the one test whether a job runs,
 *                which neither a crash nor a restart of the machine can leave wrong
 *      started   "PID BOOT-ID ID\n": written and synced before the command may start, so it starts
 * at most once; ID is new for each start output    stdout and stderr of the command status "exited
 * CODE\n" or "killed SIGNAL\n", renamed into place and synced
 *
 * A folder with `started`, without `status` and with a free lock is a job whose keeper died: it was
 * killed. A folder without `started` never ran anything and may be taken over by calling this
 * again.
 *
 * The program answers as soon as the job is started, or found to be there: exit code 0. 1 with a
 * sentence on stderr: it could not be. It forks, the child lives on in its own session and cgroup.
 * As subreaper it stays the ancestor of everything the command makes; SIGTERM ends all of it:
 * SIGTERM to the command's processes, SIGKILL to what is left after GRACE_S.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/magic.h>

#define GRACE_S 5

static volatile sig_atomic_t ending;

static void on_term(int signal)
{
        ending = 1;
}

static _Noreturn void fail(const char *what)
{
        fprintf(stderr, "prvng-job: %s: %s\n", what, strerror(errno));
        exit(1);
}

/* Writes a file of the folder so that after a crash it is there whole or not at all. */
static int write_file(int folder, const char *name, const char *text)
{
        char temporary[64];
        ssize_t n = (ssize_t)strlen(text);
        int fd, r;

        snprintf(temporary, sizeof(temporary), "%s.new", name);
        fd = openat(folder, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0)
                return -1;
        r = write(fd, text, (size_t)n) == n && fsync(fd) == 0 ? 0 : -1;
        close(fd);
        if (r == 0)
                r = renameat(folder, temporary, folder, name);
        return r == 0 ? fsync(folder) : r;
}

static void read_line(const char *path, char *ret_line, size_t n_line)
{
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? 0 : read(fd, ret_line, n_line - 1);

        ret_line[n > 0 ? n : 0] = 0;
        ret_line[strcspn(ret_line, "\n")] = 0;
        if (fd >= 0)
                close(fd);
}

/* mkdir -p below `hierarchy`. */
static bool cgroup_make(const char *hierarchy, char *path)
{
        for (char *p = path + strlen(hierarchy) + 1; *p; p++) {
                if (*p != '/')
                        continue;
                *p = 0;
                if (mkdir(path, 0755) < 0 && errno != EEXIST)
                        return false;
                *p = '/';
        }
        return mkdir(path, 0755) == 0 || errno == EEXIST;
}

/* Makes HIERARCHY/prvng-jobs/CGROUP and moves into it. Without the right to do so the job stays in
 * the cgroup of its caller: it is still found and ended, but a service manager that ends the
 * engine's cgroup ends the job too. */
static void cgroup_enter(const char *hierarchy, const char *cgroup)
{
        char path[PATH_MAX];
        int fd = -1, n;

        n = snprintf(path, sizeof(path), "%s/prvng-jobs/%s", hierarchy, cgroup);
        if (n < 0 || (size_t)n + sizeof("/cgroup.procs") > sizeof(path))
                return;
        /* The last job of a site removes the folders above its own, perhaps just now. */
        for (int i = 0; i < 10 && fd < 0; i++) {
                if (!cgroup_make(hierarchy, path) && errno != ENOENT)
                        return;
                strcat(path, "/cgroup.procs");
                fd = open(path, O_WRONLY | O_CLOEXEC);
                path[n] = 0;
        }
        if (fd < 0)
                return;
        if (write(fd, "0", 1) != 1)
                rmdir(path);
        close(fd);
}

static void cgroups_enter(const char *cgroup)
{
        struct statfs s;

        if (statfs("/sys/fs/cgroup", &s) < 0)
                return;
        if ((unsigned long)s.f_type == CGROUP2_SUPER_MAGIC) {
                cgroup_enter("/sys/fs/cgroup", cgroup);
        } else { /* hybrid: service managers look at these */
                cgroup_enter("/sys/fs/cgroup/systemd", cgroup);
                cgroup_enter("/sys/fs/cgroup/pids", cgroup);
        }
}

static void cgroup_leave_one(const char *hierarchy, const char *cgroup)
{
        char path[PATH_MAX];
        int fd;

        snprintf(path, sizeof(path), "%s/cgroup.procs", hierarchy);
        fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0)
                return;
        if (write(fd, "0", 1) == 1) {
                snprintf(path, sizeof(path), "%s/prvng-jobs/%s", hierarchy, cgroup);
                /* EBUSY: something of the job lives on, e.g. a daemon it started, or another job
                 * of the site does. */
                while (strlen(path) > strlen(hierarchy) && rmdir(path) == 0)
                        *strrchr(path, '/') = 0;
        }
        close(fd);
}

/* The folders of cgroups are not removed by anybody else. */
static void cgroups_leave(const char *cgroup)
{
        struct statfs s;

        if (statfs("/sys/fs/cgroup", &s) < 0)
                return;
        if ((unsigned long)s.f_type == CGROUP2_SUPER_MAGIC) {
                cgroup_leave_one("/sys/fs/cgroup", cgroup);
        } else {
                cgroup_leave_one("/sys/fs/cgroup/systemd", cgroup);
                cgroup_leave_one("/sys/fs/cgroup/pids", cgroup);
        }
}

/* In the child between fork and exec. */
static _Noreturn void command(int folder, pid_t keeper, char **argv)
{
        sigset_t none;
        int out = openat(folder, "output", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

        if (out >= 0 && dup2(out, 1) == 1 && dup2(out, 2) == 2) {
                signal(SIGTERM, SIG_DFL);
                signal(SIGPIPE, SIG_DFL);
                sigemptyset(&none);
                sigprocmask(SIG_SETMASK, &none, NULL);
                setpgid(0, 0);
                /* A command without its keeper could neither be found nor ended. */
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (getppid() != keeper)
                        _exit(127);
                execvp(argv[0], argv);
                dprintf(2, "prvng-job: %s: %s\n", argv[0], strerror(errno));
        }
        _exit(127);
}

/* Kills the children we have; those they leave behind become ours, so this is called until there
 * are none. */
static void kill_children(void)
{
        char path[64], text[65536];
        FILE *f;

        snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
        f = fopen(path, "re");
        if (!f)
                return;
        while (fscanf(f, "%65535s", text) == 1) {
                long pid = strtol(text, NULL, 10);

                if (pid > 1)
                        kill((pid_t)pid, SIGKILL);
        }
        fclose(f);
}

static void end_all(pid_t pid, int *ret_status, bool *ret_reaped)
{
        struct timespec now, start;
        int status;
        pid_t r;

        kill(-pid, SIGTERM);
        clock_gettime(CLOCK_MONOTONIC, &start);
        for (;;) {
                r = waitpid(-1, &status, WNOHANG);
                if (r < 0 && errno == ECHILD)
                        return;
                if (r == pid) {
                        *ret_status = status;
                        *ret_reaped = true;
                }
                if (r > 0)
                        continue;
                clock_gettime(CLOCK_MONOTONIC, &now);
                if (now.tv_sec - start.tv_sec >= GRACE_S || *ret_reaped)
                        kill_children();
                nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
        }
}

/* Waits for the command; SIGTERM ends it and all it made. Other children (orphans of the command)
 * are reaped on the way. */
static void keep(pid_t pid, const sigset_t *waiting, int *ret_status)
{
        bool reaped = false;
        int status = 0;

        while (!reaped && !ending) {
                pid_t r = waitpid(-1, &status, WNOHANG);

                if (r == pid) {
                        *ret_status = status;
                        reaped = true;
                } else if (r == 0) {
                        sigsuspend(waiting); /* SIGCHLD or SIGTERM */
                }
        }
        if (!reaped)
                end_all(pid, ret_status, &reaped);
}

static void on_child(int signal)
{
}

/* The keeper: never returns. `ack` gets one byte once the start is durable. */
static _Noreturn void keeper(int folder, int ack, const char *cgroup, char **argv)
{
        char text[160], boot[64], id[64];
        sigset_t blocked, waiting;
        int status = 0;
        pid_t pid;

        sigemptyset(&blocked);
        sigaddset(&blocked, SIGTERM);
        sigaddset(&blocked, SIGCHLD);
        sigprocmask(SIG_BLOCK, &blocked, &waiting);
        sigdelset(&waiting, SIGTERM);
        sigdelset(&waiting, SIGCHLD);
        sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_term}, NULL);
        sigaction(SIGCHLD, &(struct sigaction){.sa_handler = on_child}, NULL);
        sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        cgroups_enter(cgroup);
        read_line("/proc/sys/kernel/random/boot_id", boot, sizeof(boot));
        read_line("/proc/sys/kernel/random/uuid", id, sizeof(id));
        snprintf(text, sizeof(text), "%d %s %s\n", (int)getpid(), boot, id);
        if (write_file(folder, "started", text) < 0)
                fail("cannot write `started`");
        pid = fork();
        if (pid == 0)
                command(folder, getppid(), argv);
        if (pid < 0) {
                unlinkat(folder, "started", 0);
                fail("cannot start a process");
        }
        setpgid(pid, pid); /* both sides do it, so that SIGTERM cannot come too early */
        if (write(ack, "", 1) < 0)
                errno = 0; /* the caller is gone; the job goes on */
        close(ack);
        dup2(open("/dev/null", O_RDWR), 0);
        dup2(0, 1);
        dup2(0, 2);
        keep(pid, &waiting, &status);
        if (WIFEXITED(status))
                snprintf(text, sizeof(text), "exited %d\n", WEXITSTATUS(status));
        else
                snprintf(text, sizeof(text), "killed %d\n", WTERMSIG(status));
        write_file(folder, "status", text);
        cgroups_leave(cgroup);
        _exit(0);
}

int main(int argc, char **argv)
{
        int folder, lock, ack[2];
        char byte;
        pid_t pid;

        if (argc < 4) {
                fprintf(stderr, "usage: prvng-job FOLDER CGROUP ARGV...\n");
                return 2;
        }
        folder = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (folder < 0)
                fail(argv[1]);
        lock = openat(folder, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (lock < 0)
                fail("lock");
        if (flock(lock, LOCK_EX | LOCK_NB) < 0) {
                if (errno != EWOULDBLOCK)
                        fail("lock");
                return 0; /* it runs, or another one is starting it */
        }
        if (faccessat(folder, "started", F_OK, 0) == 0)
                return 0; /* it ran */
        if (pipe2(ack, O_CLOEXEC) < 0)
                fail("pipe");
        /* The lock belongs to the open file, which the child shares. */
        pid = fork();
        if (pid < 0)
                fail("cannot start a process");
        if (pid == 0) {
                setsid();
                close(ack[0]);
                keeper(folder, ack[1], argv[2], argv + 3);
        }
        close(ack[1]);
        return read(ack[0], &byte, 1) == 1 ? 0 : 1;
}
